//! DataFusion over the store.

pub mod canned;
