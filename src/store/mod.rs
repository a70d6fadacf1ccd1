//! The cache on disk: Parquet files and the catalog that says which of them count. Knows no log
//! format and no SQL.

pub mod catalog;
mod chunk;
pub mod compact;
mod dictionary;
mod encode;
pub mod layout;
pub mod merge;
mod points;
pub mod rows;
pub mod writer;

use crate::records::schema::Table;
use rows::RowSet;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use catalog::{Catalog, Changes, InputRecord, RunRecord, SqliteCatalog, VerdictRecord};

/// Sizes at which things happen. Tests turn them down to meet every path on small logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Points in memory at which they are written out.
    pub flush_points: usize,
    /// Files of like size in one table and project at which they are merged; also the ratio of the
    /// sizes that count as alike.
    pub compact_files: usize,
    /// Rows of a batch while merging.
    pub batch_rows: usize,
    /// Rows of a Parquet row group.
    pub row_group_rows: usize,
    /// Rows of a Parquet page.
    pub page_rows: usize,
    /// Bytes of a log read at a time.
    pub read_bytes: usize,
    /// Bytes of one log after which its state is saved, so that other logs and a crash lose no more.
    pub slice_bytes: u64,
    /// How long a retired file stays for the queries that still read it.
    pub grace_ms: i64,
    /// Partitions of a query; `None`: one a core.
    pub partitions: Option<usize>,
    /// Fewer rows than this are read on one partition.
    pub small_rows: u64,
    /// Threads that read logs, as far as there are logs; `None`: one a core, as far as there is much
    /// to read. They share `flush_points` and `slice_bytes`.
    pub threads: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flush_points: 1_500_000,
            compact_files: 48,
            batch_rows: 8192,
            row_group_rows: 1 << 20,
            page_rows: 16_384,
            read_bytes: 256 << 10,
            slice_bytes: 32 << 20,
            grace_ms: 10 * 60_000,
            partitions: None,
            small_rows: 500_000,
            threads: None,
        }
    }
}

/// What the rows of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileClass {
    /// Rows that count (but for those hidden).
    Live,
    /// Points that a later arrival took the place of: `metrics_raw` only.
    Superseded,
    /// Points of the tracker's own keys: `metrics_raw` only.
    Internal,
}

impl FileClass {
    /// The word in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            FileClass::Live => "live",
            FileClass::Superseded => "superseded",
            FileClass::Internal => "internal",
        }
    }

    fn from_name(name: &str) -> FileClass {
        match name {
            "superseded" => FileClass::Superseded,
            "internal" => FileClass::Internal,
            _ => FileClass::Live,
        }
    }
}

/// A Parquet file of the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct FileRecord {
    /// Number in the catalog; 0 until committed.
    pub id: i64,
    /// Table it belongs to.
    pub table: Table,
    /// What its rows are.
    pub class: FileClass,
    /// Path relative to the cache folder.
    pub path: String,
    /// Project of all its rows.
    pub project: Option<String>,
    /// Size.
    pub size_bytes: u64,
    /// Rows in the file, hidden ones included.
    pub row_count: u64,
    /// Runs that have rows in it. Filled for new files; the catalog keeps it.
    pub runs: BTreeSet<String>,
    /// Smallest and largest run id over the whole file.
    pub run_bounds: Option<(String, String)>,
    /// Smallest and largest key over the whole file.
    pub key_bounds: Option<(String, String)>,
    /// Smallest and largest step over the whole file.
    pub step_bounds: Option<(i64, i64)>,
    /// Rows a later arrival took the place of.
    pub superseded: RowSet,
    /// Rows of runs that were replaced or are gone.
    pub dropped: RowSet,
}

impl FileRecord {
    fn new(table: Table, class: FileClass, path: String, project: Option<&str>) -> Self {
        Self {
            id: 0,
            table,
            class,
            path,
            project: project.map(str::to_string),
            size_bytes: 0,
            row_count: 0,
            runs: BTreeSet::new(),
            run_bounds: None,
            key_bounds: None,
            step_bounds: None,
            superseded: RowSet::new(),
            dropped: RowSet::new(),
        }
    }

    /// Rows that do not count today.
    pub fn hidden(&self) -> RowSet {
        self.superseded.union(&self.dropped)
    }
}

/// The files that count at one instant. Cheap to share; files stay on disk for a grace period
/// after they are retired, so a snapshot can be read without a lock.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Cache folder.
    pub cache: PathBuf,
    /// All files, by table and id.
    pub files: Arc<Vec<FileRecord>>,
}

impl Snapshot {
    /// Files of a table.
    pub fn files_of(&self, table: Table) -> impl Iterator<Item = &FileRecord> {
        self.files.iter().filter(move |file| file.table == table)
    }
}

/// Removes retired files after their grace. Failing to remove one is no error: the next sweep
/// tries again.
///
/// # Errors
/// When the catalog cannot be read.
pub fn sweep_retired(cache: &Path, catalog: &dyn Catalog, retired_before_ms: i64) -> anyhow::Result<()> {
    for path in catalog.retired_files(retired_before_ms)? {
        let removed = std::fs::remove_file(cache.join(&path));
        if removed.is_ok() || removed.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            catalog.forget_file(&path)?;
        }
    }
    Ok(())
}

/// Removes files no catalog entry names (a crash between writing and committing leaves them),
/// once they are older than any refresh can last.
///
/// # Errors
/// When the catalog cannot be read.
pub fn sweep_orphans(
    cache: &Path,
    catalog: &dyn Catalog,
    min_age: std::time::Duration,
) -> anyhow::Result<()> {
    let known = catalog.all_paths()?;
    let tables = Table::ALL.into_iter().map(|table| cache.join(table.name()));
    let folders = tables.chain([layout::tmp(cache)]);
    for entry in folders.flat_map(|folder| walkdir::WalkDir::new(folder).into_iter().flatten()) {
        let relative =
            entry.path().strip_prefix(cache).unwrap_or(entry.path()).to_string_lossy().replace('\\', "/");
        let age = entry.metadata().ok().and_then(|m| m.modified().ok()).and_then(|t| t.elapsed().ok());
        if entry.file_type().is_file() && age.is_some_and(|age| age >= min_age) && !known.contains(&relative)
        {
            // Another process may have removed it first.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}
