//! How logs are found: the walk, which files are logs, which of them are one job's, and the
//! configuration beside them.

pub mod discover;
pub mod judge;
pub mod ranks;
pub mod sidecar;
pub mod tree;
