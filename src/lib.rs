//! runq: training logs become columnar tables, SQL answers the questions.

pub mod engine;
pub mod error;
pub mod records;
pub mod report;
pub mod sources;
pub mod surfaces;
pub mod workspace;
