//! DataFusion over the store.

pub mod canned;
pub mod hints;
