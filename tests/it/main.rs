//! Tests in the user's language: a log and its tables, SQL and its answer, a command and its output.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod cli;
mod common;
mod crash;
mod engine;
mod equality;
mod fixtures;
mod hostile;
mod ingest;
mod model;
mod readme;
mod repl;
mod tidy;
mod unsafe_sql;
mod world;
