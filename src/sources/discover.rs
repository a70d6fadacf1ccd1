//! Walks a root.
