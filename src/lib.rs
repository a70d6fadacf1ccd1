//! runq: training logs become columnar tables, SQL answers the questions.
//!
//! ```text
//!  log files ──▶ sources ──▶ records ──▶ store ──▶ engine ──▶ report ──▶ surfaces
//!               discover,    neutral     Parquet   DataFusion   table csv    cli
//!               read         types       catalog   + udfs       json md      repl
//!                                                  + queries    arrow …
//!               └─────────── ingest ───────────┘
//!               └─────────────────── workspace ───────────────┘
//! ```
//!
//! | module | is | does not know |
//! |---|---|---|
//! | [`records`] | the words every layer speaks; table schemas | everything else |
//! | [`sources`] | every log format, and how logs are found | the tables, SQL over them, the cache |
//! | [`store`] | Parquet files and the catalog that says which count | formats, SQL |
//! | [`ingest`] | what changed, read just that, settle which points count, commit | SQL, printing |
//! | [`engine`] | the tables in DataFusion, canned queries, runs by name | formats, printing |
//! | [`report`] | batches become text | where they came from |
//! | [`workspace`] | the one door for surfaces and for programs | formats of output |
//! | [`surfaces`] | command line, prompt, the process of ad-hoc SQL; the only code that prints | how answers are made |
//!
//! [`error`] is open to all; [`settings`] is `runq.toml`. `tests/it/tidy.rs` keeps the table true.
//!
//! Invariants:
//!
//! - Nothing is ever written to a log or beside it, but for the cache folder.
//! - A Parquet file that the catalog does not name does not exist. One SQLite transaction commits
//!   new files and how far each log was read, together.
//! - The tables are a function of the logs: any sequence of refreshes ends where one conversion of
//!   the whole log ends. What depends on the clock or on `runq.toml` is computed when read; but for what
//!   the diagnosis finds, which is made anew when its rules change.
//! - Files are never changed. Rows that cease to count (a later arrival at the same step, a run read
//!   anew) are hidden by their number in the file, until a compaction leaves them out.
//! - Whatever is read of the cache was checked against what was written. Damage is never worked around:
//!   the workspace has the logs of what is damaged read anew, and asks again.
//! - Only the process that holds the refresh lock changes tables; others note damage at most.
//! - No statistics on columns that can hold NaN, and none narrower than what is read.
//! - Async begins at `engine`; everything below it is plain blocking code.

pub mod engine;
pub mod error;
pub mod ingest;
pub mod records;
pub mod report;
pub mod settings;
pub mod sources;
pub mod store;
pub mod surfaces;
pub mod workspace;
