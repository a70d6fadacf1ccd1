//! The part of the engine that knows no DataFusion.

#[path = "../../../src/engine/canned.rs"]
pub mod canned;
