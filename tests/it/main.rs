//! Tests in the user's language: a log and its tables, SQL and its answer, a command and its output.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod agent;
mod anew;
mod answers;
mod cli;
mod code;
mod commands;
mod common;
mod concurrency;
mod crash;
mod damage;
mod databases;
mod diagnosis;
mod engine;
mod equality;
mod fixtures;
mod full;
mod golden;
mod growing;
mod hostile;
mod ingest;
mod judged;
mod mixed;
mod model;
mod printed;
mod project;
mod readme;
mod repl;
mod scripts;
mod settings;
mod several;
mod siblings;
mod tidy;
mod trackers;
mod unsafe_sql;
mod world;
