//! What the fuzz targets share. The modules of runq that know no DataFusion are included by path,
//! so that a target builds in a minute. Each function takes an input, uses the code under test as
//! runq does, and panics where a promise is broken.
#![allow(dead_code, missing_docs)]

mod bounded;
mod engine;
#[path = "../../../src/error.rs"]
mod error;
mod invariants;
pub mod mutation;
#[path = "../../../src/records/mod.rs"]
mod records;
#[path = "../../../src/sources/mod.rs"]
mod sources;

pub use invariants::{
    console, csv, json, jsonl, mmengine, query_header, resume, sidecar, tfevents, trackers, wandb,
};
