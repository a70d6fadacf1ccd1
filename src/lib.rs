//! runq: training logs become columnar tables, SQL answers the questions.

pub mod engine;
pub mod error;
pub mod ingest;
pub mod records;
pub mod report;
pub mod settings;
pub mod sources;
pub mod store;
pub mod surfaces;
pub mod workspace;
