//! How logs are found: the walk, which files are logs, and the configuration beside them.

pub mod discover;
pub mod judge;
pub mod sidecar;
pub mod tree;
