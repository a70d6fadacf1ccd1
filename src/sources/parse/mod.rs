//! What the readers of formats share: JSON, YAML, protobuf and lines, read so that a growing or damaged
//! file costs no more than what is missing of it, and rows of named values.

pub(super) mod archive;
pub mod axis;
pub(super) mod document;
pub(super) mod frame;
pub mod json;
pub mod lines;
pub(super) mod pattern;
pub mod prefix;
pub mod python;
pub mod rows;
pub mod sqlite;
mod stamp;
pub(super) mod terminal;
pub(super) mod window;
pub(super) mod wire;
pub(super) mod words;
pub mod yaml;
