//! Tests in the user's language: a log and its tables, SQL and its answer, a command and its output.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cli;
mod common;
mod crash;
mod engine;
mod fixtures;
mod ingest;
mod readme;
mod repl;
mod tidy;
mod unsafe_sql;
