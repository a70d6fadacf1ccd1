//! The one door: open a root, bring its cache up to date, ask.

use crate::engine::canned::{Canned, ParamValue};
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How to open a workspace. `Default` is what a plain `runq` in a folder means.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where to look for logs (`-C`); default: the nearest folder upwards with `.runq/` or
    /// `runq.toml`, else the working folder.
    pub root: Option<PathBuf>,
    /// Where the cache lies (`--cache`); default: `.runq/` beside the logs' root.
    pub cache: Option<PathBuf>,
    /// Memory of a query in bytes (`--memory`); default: half of the machine.
    pub memory_bytes: Option<usize>,
    /// Longest time for a query (`--timeout`).
    pub timeout: Option<Duration>,
    /// Show secrets instead of masking them (`--show-secrets`).
    pub show_secrets: bool,
}

/// A root with its cache. `Send + Sync`; clone-free sharing by reference or `Arc`.
pub struct Workspace {}

/// Told how a refresh goes on; all methods have empty defaults.
pub trait Progress: Sync {
    /// `found` entries were looked at so far.
    fn scanning(&self, found: u64) {
        let _ = found;
    }
    /// Reading begins: so many bytes are to be read.
    fn start(&self, total_bytes: u64) {
        let _ = total_bytes;
    }
    /// So many bytes were read so far.
    fn advance(&self, read_bytes: u64) {
        let _ = read_bytes;
    }
    /// Done.
    fn finish(&self) {}
}

/// No progress is shown.
pub struct Quiet;
impl Progress for Quiet {}

/// What a refresh did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Logs known after it.
    pub input_count: u64,
    /// Runs known after it.
    pub run_count: u64,
    /// Bytes of logs read by it.
    pub read_bytes: u64,
    /// Points stored by it.
    pub point_count: u64,
    /// Parquet files written by it.
    pub written_files: u64,
    /// Lines for stderr: problems found by this refresh, notes, hints.
    pub notes: Vec<String>,
}

/// An answer: a stream of record batches and what the reader should know besides.
pub struct Answer {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub stream: SendableRecordBatchStream,
    /// Lines for stderr (which run was meant, what was left out and why).
    pub notes: Vec<String>,
}

/// A file of a table, as `runq files` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile {
    /// Table it belongs to.
    pub table: String,
    /// Absolute path.
    pub path: PathBuf,
    /// Rows in the file.
    pub row_count: u64,
    /// Its size.
    pub size_bytes: u64,
}

/// What a REPL can complete.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Table name and its column names.
    pub tables: Vec<(String, Vec<String>)>,
    /// Functions of SQL, ours included.
    pub functions: Vec<String>,
    /// Metric keys.
    pub keys: Vec<String>,
    /// Run ids.
    pub runs: Vec<String>,
}

impl Workspace {
    /// Finds root and cache and opens the catalog.
    pub fn open(options: Options) -> anyhow::Result<Self> {
        let _ = options;
        Ok(Self {})
    }
    /// Looks for changes under the root and converts what is new. Blocking.
    pub fn refresh(&self, progress: &dyn Progress) -> anyhow::Result<Outcome> {
        let _ = progress;
        anyhow::bail!("not yet")
    }
    /// `refresh --explain [PATH]`: path, taken or left, and why, as a table of text columns.
    pub fn explain(&self, path: Option<&str>) -> anyhow::Result<Answer> {
        let _ = path;
        anyhow::bail!("not yet")
    }
    /// Runs one read-only statement.
    pub async fn sql(&self, text: &str) -> anyhow::Result<Answer> {
        let _ = text;
        anyhow::bail!("not yet")
    }
    /// Runs a canned query. Parameters not given take their defaults; `run` parameters take
    /// anything a user may call a run.
    pub async fn canned(&self, name: &str, params: &BTreeMap<String, ParamValue>) -> anyhow::Result<Answer> {
        let _ = (name, params);
        anyhow::bail!("not yet")
    }
    /// The SQL that answers a canned query, with its values in place, ready to run.
    pub async fn canned_sql(
        &self,
        name: &str,
        params: &BTreeMap<String, ParamValue>,
    ) -> anyhow::Result<String> {
        let _ = (name, params);
        anyhow::bail!("not yet")
    }
    /// All canned queries: the built-in ones, then the user's own.
    pub fn queries(&self) -> &[Canned] {
        &[]
    }
    /// The run a user means by `word`: id, unique prefix, name, `@latest`, `@latest~1`, `@best:METRIC`.
    pub async fn resolve_run(&self, word: &str) -> anyhow::Result<String> {
        let _ = word;
        anyhow::bail!("not yet")
    }
    /// The files of a table that count today.
    pub fn files(&self, table: &str) -> anyhow::Result<Vec<TableFile>> {
        let _ = table;
        anyhow::bail!("not yet")
    }
    /// `create view` statements with which DuckDB reads the cache.
    pub fn duckdb_views(&self) -> anyhow::Result<String> {
        anyhow::bail!("not yet")
    }
    /// Names for completion and hints.
    pub async fn names(&self) -> anyhow::Result<Names> {
        anyhow::bail!("not yet")
    }
}
