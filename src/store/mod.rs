//! The cache on disk: Parquet files and the catalog that says which of them count. Knows no log
//! format and no SQL.

pub mod catalog;
mod chunk;
mod commit;
pub mod compact;
pub mod curves;
pub mod damage;
mod dictionary;
mod encode;
pub mod layout;
pub mod members;
pub mod merge;
mod open;
mod points;
pub mod rows;
mod seal;
pub mod siblings;
pub mod sums;
pub mod sweep;
mod words;
pub mod writer;

use crate::records::schema::Table;
use members::Members;
use rows::RowSet;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use sums::Sums;

pub use catalog::{Catalog, Changes, DamagedFile, InputRecord, RunRecord, SqliteCatalog, VerdictRecord};
pub use damage::{Damage, WriteFailure};
pub use siblings::{Position, SiblingRecord};

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
    /// Points from which on the diagnosis of a growing run goes on where it stood; it reads the points
    /// of shorter ones again.
    pub kept_watch_points: u64,
    /// Points of growing runs that a process which goes on remembers from one refresh to the next.
    pub remembered_points: u64,
    /// Points that the diagnosis reads again at a time.
    pub reread_points: u64,
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
            kept_watch_points: 16_384,
            remembered_points: 1 << 22,
            reread_points: 1 << 21,
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
#[derive(Debug, Clone)]
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
    /// Checksums; shared, so that damage met by one reader is known to all.
    pub sums: Arc<Sums>,
    /// Rows in the file, hidden ones included.
    pub row_count: u64,
    /// Runs that have rows in it. Filled for new files; the catalog keeps it.
    pub runs: BTreeSet<String>,
    /// The same as hashes, of all files.
    pub members: Members,
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
            sums: Arc::default(),
            row_count: 0,
            runs: BTreeSet::new(),
            members: Members::default(),
            run_bounds: None,
            key_bounds: None,
            step_bounds: None,
            superseded: RowSet::new(),
            dropped: RowSet::new(),
        }
    }

    /// What was found wrong with the file.
    pub fn damage(&self) -> Option<Damage> {
        let why = self.sums.damage()?.to_string();
        Some(Damage::File { path: self.path.clone(), why })
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
    /// Runs that are others in another format, and those others.
    pub duplicates: Arc<BTreeMap<String, String>>,
}

impl Snapshot {
    /// Files of a table.
    pub fn files_of(&self, table: Table) -> impl Iterator<Item = &FileRecord> {
        self.files.iter().filter(move |file| file.table == table)
    }

    /// Damage of a file, as far as it was met by whoever shares this snapshot or is noted in the
    /// catalog.
    pub fn damage(&self) -> Option<Damage> {
        self.files.iter().find_map(FileRecord::damage)
    }
}
