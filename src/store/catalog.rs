//! The catalog: which files count, what was read of which log. One SQLite transaction is the only
//! commit; a file that no committed row names does not exist.

use super::damage::Damage;
use super::members::Members;
use super::open::{self, Opened};
use super::rows::RowSet;
use super::siblings::{self, Position, SiblingRecord};
use super::sums::Sums;
use super::{FileClass, FileRecord, Snapshot, commit, layout, seal, sweep};
use crate::records::schema::Table;
use crate::records::{Problem, UNREADABLE};
use anyhow::Context;
use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What was read of a log file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputRecord {
    /// Path relative to the root.
    pub path: String,
    /// Source that reads it.
    pub source: String,
    /// Identity of the run logs it belongs to, unique within the source.
    pub identity: String,
    /// Which start of the run it is.
    pub segment: i32,
    /// See `sources::RunInput::role`.
    pub role: String,
    /// Size when last looked at.
    pub size_bytes: u64,
    /// Time of the last change when last looked at, nanoseconds since 1970.
    pub modified_ns: i64,
    /// Fingerprint of the first bytes and of those before `offset`: tells growth from rewriting.
    pub fingerprint: String,
    /// First byte not yet read.
    pub offset: u64,
    /// State of the reader at `offset`; left empty by [`Catalog::inputs`].
    pub state: String,
    /// Records read.
    pub row_count: u64,
    /// Arrival number of the next point.
    pub next_seq: i64,
    /// Problems met, more than are kept.
    pub problem_count: i64,
    /// Whether what was left unread at its end may be read once it is at rest.
    pub waits_for_rest: bool,
    /// Runs it feeds.
    pub runs: Vec<String>,
}

/// A run and what a refresh must know to continue it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Id in all tables.
    pub run_id: String,
    /// Source that read it.
    pub source: String,
    /// Identity of its logs, unique within the source.
    pub identity: String,
    /// Name inside the log, for logs that hold several runs.
    pub sub: String,
    /// State of the conversion (opaque to the store).
    pub state: Vec<u8>,
    /// By what the same training is known in another format (opaque to the store).
    pub likeness: Vec<u8>,
}

/// What discovery once decided about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictRecord {
    /// Path relative to the root.
    pub path: String,
    /// Size at that time.
    pub size_bytes: u64,
    /// Time of the last change at that time, nanoseconds since 1970.
    pub modified_ns: i64,
    /// Source that took it; `None`: left alone.
    pub source: Option<String>,
    /// The source's marks, or why it was left.
    pub text: String,
    /// What of the project's settings it depended on; empty where nothing is set.
    pub settings: String,
}

/// All that one commit changes. Applied whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Files that begin to count.
    pub new_files: Vec<FileRecord>,
    /// Files that cease to count.
    pub retired: Vec<i64>,
    /// Row sets of existing files, replacing the ones stored.
    pub hidden: Vec<(i64, HiddenKind, RowSet)>,
    /// (file, run): the run has no counting row in the file any more.
    pub left: Vec<(i64, String)>,
    /// Runs added or continued.
    pub runs: Vec<RunRecord>,
    /// Runs that are gone; their problems and inputs are told apart.
    pub gone_runs: Vec<String>,
    /// Inputs added or continued.
    pub inputs: Vec<InputRecord>,
    /// Inputs that are gone: source, identity, path.
    pub gone_inputs: Vec<(String, String, String)>,
    /// Inputs that were read: what kept them from being read before is none any more.
    pub readable: BTreeSet<String>,
    /// Problems found, by path of the input.
    pub problems: Vec<(String, Problem)>,
    /// Verdicts of discovery, replacing those stored for the same paths.
    pub verdicts: Vec<VerdictRecord>,
    /// Verdicts about files that are gone.
    pub gone_verdicts: Vec<String>,
    /// Runs that are others in another format, and those others; replaces all that were known.
    pub duplicates: Option<BTreeMap<String, String>>,
    /// What the look for logs saw; with it the tables are up to date.
    pub look: Option<Vec<u8>>,
    /// What the diagnosis keeps of runs; nothing in place of what it kept before.
    pub watches: Vec<(String, Option<Vec<u8>>)>,
    /// Runs as those of their circle see them, by id; none in place of one that has no circle any more.
    pub siblings: Vec<(String, Option<SiblingRecord>)>,
    /// What was owed up to this number is done: see [`Catalog::owed`].
    pub compared: Option<i64>,
    /// A hash of the rules that all runs were judged by.
    pub rules: Option<i64>,
    /// Number of the next alert, when it moved.
    pub next_alert_seq: Option<i64>,
    /// Time of the commit, milliseconds since 1970.
    pub now_ms: i64,
}

impl Changes {
    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.new_files.is_empty()
            && self.retired.is_empty()
            && self.hidden.is_empty()
            && self.runs.is_empty()
            && self.gone_runs.is_empty()
            && self.inputs.is_empty()
            && self.gone_inputs.is_empty()
            && self.problems.is_empty()
            && self.verdicts.is_empty()
            && self.gone_verdicts.is_empty()
            && self.duplicates.is_none()
            && self.watches.is_empty()
            && self.siblings.is_empty()
            && self.compared.is_none()
            && self.rules.is_none()
            && self.look.is_none()
    }
}

/// Why rows of a file do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HiddenKind {
    /// A later arrival took their place; `metrics_raw` still shows them.
    Superseded,
    /// Their run was replaced, reset or is gone.
    Dropped,
}

impl HiddenKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            HiddenKind::Superseded => "superseded",
            HiddenKind::Dropped => "dropped",
        }
    }
}

/// A file that counts and is gone or not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedFile {
    /// Path relative to the cache folder.
    pub path: String,
    /// What is wrong with it.
    pub why: String,
    /// Runs that had rows in it and were not read anew yet.
    pub runs: Vec<String>,
}

/// Which files count and what was read: a snapshot to read, one commit to change it. An error that
/// comes from damage of the catalog is a [`Damage`].
pub trait Catalog: Send + Sync {
    /// The files that count now.
    fn snapshot(&self) -> anyhow::Result<Snapshot>;
    /// Applies all changes, or none.
    fn commit(&self, changes: &Changes) -> anyhow::Result<()>;
    /// All inputs without their state, by path, source and identity. One that feeds several logs (a
    /// configuration beside them) is there once a log.
    fn inputs(&self) -> anyhow::Result<Vec<InputRecord>>;
    /// State of the reader of an input.
    fn input_state(&self, input: &InputRecord) -> anyhow::Result<String>;
    /// All runs without their state but with their likeness, by id.
    fn likenesses(&self) -> anyhow::Result<Vec<RunRecord>>;
    /// Runs that are others in another format, and those others.
    fn duplicates(&self) -> anyhow::Result<BTreeMap<String, String>>;
    /// All runs without state and likeness, by id.
    fn runs(&self) -> anyhow::Result<BTreeMap<String, RunRecord>>;
    /// Numbers of input files and of runs.
    fn counts(&self) -> anyhow::Result<(u64, u64)>;
    /// State of a run.
    fn run_state(&self, run_id: &str) -> anyhow::Result<Option<Vec<u8>>>;
    /// What the diagnosis keeps of a run (opaque to the store).
    fn watch(&self, run_id: &str) -> anyhow::Result<Option<Vec<u8>>>;
    /// Positions in circles around which something changed since their runs were compared, each with a number
    /// that grows.
    fn owed(&self) -> anyhow::Result<Vec<(i64, Position)>>;
    /// Where all runs stand in their circles, in that order.
    fn positions(&self) -> anyhow::Result<Vec<Position>>;
    /// At most `before` runs of a circle before a position, and at most `after` from it on, in their order.
    fn near(&self, at: &Position, before: usize, after: usize) -> anyhow::Result<Vec<SiblingRecord>>;
    /// A hash of the rules that all runs were judged by; none before the first refresh.
    fn rules(&self) -> anyhow::Result<Option<i64>>;
    /// Files that hold counting rows of a run.
    fn files_of_run(&self, run_id: &str) -> anyhow::Result<Vec<i64>>;
    /// Runs with counting rows in a file.
    fn runs_of_file(&self, file_id: i64) -> anyhow::Result<Vec<String>>;
    /// Problems, by path of the input.
    fn problems(&self) -> anyhow::Result<Vec<(String, Problem)>>;
    /// What discovery decided, by path.
    fn verdicts(&self) -> anyhow::Result<BTreeMap<String, VerdictRecord>>;
    /// What the last look saw with which the tables are up to date (opaque to the store).
    fn look(&self) -> anyhow::Result<Option<Vec<u8>>>;
    /// Whether a later look may have to read more of an input that has not changed.
    fn has_unread_inputs(&self) -> anyhow::Result<bool>;
    /// Whether an input whose end was left unread until it is at rest did not change since an instant
    /// (nanoseconds since 1970).
    fn has_tail_at_rest(&self, since_ns: i64) -> anyhow::Result<bool>;
    /// Number for the next file.
    fn next_file_id(&self) -> anyhow::Result<i64>;
    /// Number for the next alert; grows for ever.
    fn next_alert_seq(&self) -> anyhow::Result<i64>;
    /// Files retired before an instant (milliseconds since 1970).
    fn retired_files(&self, before_ms: i64) -> anyhow::Result<Vec<String>>;
    /// Forgets a retired file that is gone from the disk.
    fn forget_file(&self, path: &str) -> anyhow::Result<()>;
    /// Paths of all files, retired ones included.
    fn all_paths(&self) -> anyhow::Result<HashSet<String>>;
    /// A number that moves with every commit.
    fn version(&self) -> anyhow::Result<i64>;
    /// Time of the last commit, milliseconds since 1970; `None` before the first.
    fn committed_ms(&self) -> anyhow::Result<Option<i64>>;
    /// What tells this catalog from one made anew in its place.
    fn birth(&self) -> &str;
    /// Damage of the catalog, as far as it was met.
    fn damage(&self) -> Option<Damage>;
    /// Notes that a file cannot be read: its runs are to be read anew, and until then nothing is
    /// answered. A file that does not count (any more) is left alone.
    fn mark_damaged(&self, path: &str, why: &str) -> anyhow::Result<()>;
    /// Files noted so.
    fn damaged(&self) -> anyhow::Result<Vec<DamagedFile>>;
}

/// Where a row has a `seal`, it is the checksum of the columns before it (see [`seal`]).
pub(super) const SCHEMA: &str = "
create table meta (name text primary key, value text not null) without rowid;
create table file (
    id integer primary key, tbl text not null, class text not null, path text not null unique, project text,
    size_bytes integer not null, row_count integer not null, run_min text, run_max text, key_min text, key_max text,
    step_min integer, step_max integer, created_ms integer not null, sums blob not null, members blob not null,
    seal integer not null);
create table retired (
    path text primary key, file_id integer not null, retired_ms integer not null) without rowid;
create table damaged (file_id integer primary key, why text not null);
create table file_run (run_id text not null, file_id integer not null, primary key (run_id, file_id)) without rowid;
create index file_run_file on file_run (file_id);
create table hidden (
    file_id integer not null, kind text not null, ranges blob not null, seal integer not null,
    primary key (file_id, kind)) without rowid;
create table run (
    run_id text primary key, source text not null, identity text not null, sub text not null, seal integer not null,
    state blob not null, state_seal integer not null, likeness blob not null, likeness_seal integer not null,
    unique (source, identity, sub));
create table watch (run_id text primary key, kept_ms integer not null, watch blob not null, seal integer not null);
create table sibling (
    circle text not null, created_ms integer not null, run_id text primary key, sketch blob not null, told blob,
    seal integer not null);
create index sibling_place on sibling (circle, created_ms, run_id);
create table owed (
    circle text not null, created_ms integer not null, run_id text not null, id integer primary key,
    seal integer not null);
create table duplicate (run_id text primary key, duplicate_of text not null, seal integer not null) without rowid;
create table input (
    path text not null, source text not null, identity text not null, segment integer not null, role text not null,
    size_bytes integer not null, modified_ns integer not null, fingerprint text not null, offset integer not null,
    row_count integer not null, next_seq integer not null, problem_count integer not null,
    waits_for_rest integer not null, seal integer not null, state text not null, state_seal integer not null,
    unique (path, source, identity));
create index input_tail on input (modified_ns) where offset < size_bytes and waits_for_rest;
create table input_run (path text not null, run_id text not null, primary key (path, run_id)) without rowid;
create table problem (
    path text not null, position text not null, message text not null, unique (path, position, message));
create table verdict (
    path text primary key, size_bytes integer not null, modified_ns integer not null, source text, text text not null,
    settings text not null, seal integer not null) without rowid;
create table look (id integer primary key check (id = 1), seen blob not null, seal integer not null);
";

/// The catalog in an SQLite file (WAL).
pub struct SqliteCatalog {
    cache: PathBuf,
    connection: Mutex<Connection>,
    birth: String,
    damage: OnceLock<Damage>,
}

impl SqliteCatalog {
    /// Opens the catalog of a cache folder to write it, and creates both where they are missing. One
    /// that cannot be believed (damaged, gone, of another version) is made anew and all files are
    /// removed; then what was wrong is returned too. Only for the process that holds the refresh lock.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(cache: &Path) -> anyhow::Result<(Self, Option<Damage>)> {
        let size_bytes = layout::catalog(cache).metadata().map_or(0, |metadata| metadata.len());
        let is_first = size_bytes == 0 && sweep::is_new(cache);
        let opened = open::to_write(cache);
        match opened.as_ref().err().and_then(Damage::of) {
            Some(damage) => Ok((Self::anew(cache)?, Some(damage).filter(|_| !is_first))),
            None => Ok((Self::over(cache, opened?), None)),
        }
    }

    /// An empty catalog in place of the one of a cache folder, whose files are removed. Only for the
    /// process that holds the refresh lock.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn anew(cache: &Path) -> anyhow::Result<Self> {
        Ok(Self::over(cache, open::anew(cache)?))
    }

    /// Opens the catalog of a cache folder to read it; `None` where there is none. Nothing is written,
    /// and nothing need be writable.
    ///
    /// # Errors
    /// When it cannot be read; as a [`Damage`] when it cannot be believed.
    pub fn look(cache: &Path) -> anyhow::Result<Option<Self>> {
        let opened = open::to_read(cache)
            .with_context(|| format!("cannot read {}", layout::catalog(cache).display()))?;
        Ok(opened.map(|opened| Self::over(cache, opened)))
    }

    fn over(cache: &Path, open: Opened) -> Self {
        let connection = Mutex::new(open.connection);
        Self { cache: cache.to_path_buf(), connection, birth: open.birth, damage: OnceLock::new() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut connection).map_err(open::blame);
        if let Some(damage) = result.as_ref().err().and_then(Damage::of) {
            // The first word is kept.
            let _ = self.damage.set(damage);
        }
        result
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> anyhow::Result<Vec<T>> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_map(values, read)?.collect::<Result<_, _>>()?)
        })
    }

    /// The one row there is, or none.
    fn row<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        self.with(|connection| Ok(connection.prepare_cached(sql)?.query_row(values, read).optional()?))
    }

    fn meta(&self, name: &str) -> anyhow::Result<Option<i64>> {
        self.row("select cast(value as integer) from meta where name = ?1", [name], |row| row.get(0))
    }
}

impl Catalog for SqliteCatalog {
    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let (files, duplicates) = self.with(|connection| {
            let transaction = connection.transaction()?;
            Ok((live_files(&transaction)?, duplicates(&transaction)?))
        })?;
        Ok(Snapshot { cache: self.cache.clone(), files: Arc::new(files), duplicates: Arc::new(duplicates) })
    }

    fn commit(&self, changes: &Changes) -> anyhow::Result<()> {
        self.with(|connection| {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            commit::apply(&transaction, changes)?;
            transaction.commit().context("cannot commit to the catalog")
        })
    }

    fn inputs(&self) -> anyhow::Result<Vec<InputRecord>> {
        let sql =
            "select path, source, identity, segment, role, size_bytes, modified_ns, fingerprint, offset,
            row_count, next_seq, problem_count, waits_for_rest, seal from input order by path, source, identity";
        let mut inputs = self.rows(sql, [], read_input)?;
        // Joined here: a join would pass over rows that a broken page made null.
        let known = self.runs()?;
        let pairs: Vec<(String, String)> =
            self.rows("select path, run_id from input_run order by run_id", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let mut runs: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
        for (path, run_id) in pairs {
            let Some(run) = known.get(&run_id) else { continue };
            runs.entry((path, run.source.clone(), run.identity.clone())).or_default().push(run_id);
        }
        for input in &mut inputs {
            let key = (input.path.clone(), input.source.clone(), input.identity.clone());
            input.runs = runs.remove(&key).unwrap_or_default();
        }
        Ok(inputs)
    }

    fn input_state(&self, input: &InputRecord) -> anyhow::Result<String> {
        let sql = "select state, state_seal from input where path = ?1 and source = ?2 and identity = ?3";
        let state = self.row(sql, [&input.path, &input.source, &input.identity], |row| {
            seal::check(row, 0, 1)?;
            row.get(0)
        })?;
        state
            .ok_or_else(|| Damage::catalog(format!("is damaged (nothing is known of {})", input.path)).into())
    }

    fn likenesses(&self) -> anyhow::Result<Vec<RunRecord>> {
        let sql =
            "select run_id, source, identity, sub, seal, likeness, likeness_seal from run order by run_id";
        self.rows(sql, [], |row| {
            seal::check(row, 5, 6)?;
            Ok(RunRecord { likeness: row.get(5)?, ..read_run(row)? })
        })
    }

    fn duplicates(&self) -> anyhow::Result<BTreeMap<String, String>> {
        self.with(|connection| duplicates(connection))
    }

    fn runs(&self) -> anyhow::Result<BTreeMap<String, RunRecord>> {
        let runs = self.rows("select run_id, source, identity, sub, seal from run", [], read_run)?;
        Ok(runs.into_iter().map(|run| (run.run_id.clone(), run)).collect())
    }

    fn counts(&self) -> anyhow::Result<(u64, u64)> {
        let sql = "select (select count(*) from input), (select count(*) from run)";
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let (inputs, runs) = self.row(sql, [], read)?.unwrap_or_default();
        Ok((inputs.cast_unsigned(), runs.cast_unsigned()))
    }

    fn run_state(&self, run_id: &str) -> anyhow::Result<Option<Vec<u8>>> {
        self.row("select state, state_seal from run where run_id = ?1", [run_id], |row| {
            seal::check(row, 0, 1)?;
            row.get(0)
        })
    }

    fn watch(&self, run_id: &str) -> anyhow::Result<Option<Vec<u8>>> {
        self.row("select run_id, kept_ms, watch, seal from watch where run_id = ?1", [run_id], |row| {
            seal::check(row, 0, 3)?;
            row.get(2)
        })
    }

    fn owed(&self) -> anyhow::Result<Vec<(i64, Position)>> {
        self.with(|connection| siblings::owed(connection))
    }

    fn positions(&self) -> anyhow::Result<Vec<Position>> {
        self.with(|connection| siblings::positions(connection))
    }

    fn near(&self, at: &Position, before: usize, after: usize) -> anyhow::Result<Vec<SiblingRecord>> {
        self.with(|connection| siblings::near(connection, at, before, after))
    }

    fn rules(&self) -> anyhow::Result<Option<i64>> {
        self.meta("rules")
    }

    fn files_of_run(&self, run_id: &str) -> anyhow::Result<Vec<i64>> {
        self.rows("select file_id from file_run where run_id = ?1 order by file_id", [run_id], |row| {
            row.get(0)
        })
    }

    fn runs_of_file(&self, file_id: i64) -> anyhow::Result<Vec<String>> {
        self.rows("select run_id from file_run where file_id = ?1", [file_id], |row| row.get(0))
    }

    fn problems(&self) -> anyhow::Result<Vec<(String, Problem)>> {
        // What discovery could not look into is no input, but a problem all the same.
        let sql = format!(
            "select path, position, message, rowid as n from problem
             union all select path, 'file', text, 0 from verdict where source is null and text like '{UNREADABLE}%'
             order by path, n"
        );
        self.rows(&sql, [], |row| Ok((row.get(0)?, Problem { position: row.get(1)?, message: row.get(2)? })))
    }

    fn verdicts(&self) -> anyhow::Result<BTreeMap<String, VerdictRecord>> {
        let sql = "select path, size_bytes, modified_ns, source, text, settings, seal from verdict";
        let verdicts = self.rows(sql, [], |row| {
            seal::check(row, 0, 6)?;
            Ok(VerdictRecord {
                path: row.get(0)?,
                size_bytes: row.get::<_, i64>(1)?.cast_unsigned(),
                modified_ns: row.get(2)?,
                source: row.get(3)?,
                text: row.get(4)?,
                settings: row.get(5)?,
            })
        })?;
        Ok(verdicts.into_iter().map(|verdict| (verdict.path.clone(), verdict)).collect())
    }

    fn look(&self) -> anyhow::Result<Option<Vec<u8>>> {
        self.row("select seen, seal from look", [], |row| {
            seal::check(row, 0, 1)?;
            row.get(0)
        })
    }

    fn has_unread_inputs(&self) -> anyhow::Result<bool> {
        let sql = format!(
            "select exists (select 1 from input
                    where modified_ns = 0 or segment < 0)
                or exists (select 1 from verdict where source is null and text like '{UNREADABLE}%')"
        );
        Ok(self.row(&sql, [], |row| row.get(0))?.unwrap_or_default())
    }

    fn has_tail_at_rest(&self, since_ns: i64) -> anyhow::Result<bool> {
        let sql = "select exists (select 1 from input
            where offset < size_bytes and waits_for_rest and modified_ns < ?1)";
        Ok(self.row(sql, [since_ns], |row| row.get(0))?.unwrap_or_default())
    }

    fn next_file_id(&self) -> anyhow::Result<i64> {
        let sql = "select max(coalesce((select max(id) from file), 0), coalesce((select max(file_id) from retired), 0))";
        Ok(self.row(sql, [], |row| row.get::<_, i64>(0))?.unwrap_or_default() + 1)
    }

    fn next_alert_seq(&self) -> anyhow::Result<i64> {
        Ok(self.meta("next_alert_seq")?.unwrap_or(1))
    }

    fn retired_files(&self, before_ms: i64) -> anyhow::Result<Vec<String>> {
        self.rows("select path from retired where retired_ms <= ?1", [before_ms], |row| row.get(0))
    }

    fn forget_file(&self, path: &str) -> anyhow::Result<()> {
        self.with(|connection| {
            Ok(connection.execute("delete from retired where path = ?1", [path]).map(drop)?)
        })
    }

    fn all_paths(&self) -> anyhow::Result<HashSet<String>> {
        let sql = "select path from file union all select path from retired";
        Ok(self.rows(sql, [], |row| row.get(0))?.into_iter().collect())
    }

    fn version(&self) -> anyhow::Result<i64> {
        Ok(self.meta("version")?.unwrap_or_default())
    }

    fn committed_ms(&self) -> anyhow::Result<Option<i64>> {
        self.meta("committed_ms")
    }

    fn birth(&self) -> &str {
        &self.birth
    }

    fn damage(&self) -> Option<Damage> {
        self.damage.get().cloned()
    }

    fn mark_damaged(&self, path: &str, why: &str) -> anyhow::Result<()> {
        self.with(|connection| {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let sql = "insert or ignore into damaged select id, ?2 from file where path = ?1";
            transaction.execute(sql, [path, why])?;
            // There is work for the next refresh, whatever it sees of the logs.
            commit::forget_look(&transaction)?;
            Ok(transaction.commit()?)
        })
    }

    fn damaged(&self) -> anyhow::Result<Vec<DamagedFile>> {
        let sql = "select f.path, d.why, r.run_id from damaged d join file f on f.id = d.file_id
            left join file_run r on r.file_id = d.file_id order by d.file_id, r.run_id";
        let rows = self.rows(sql, [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?))
        })?;
        let mut files: Vec<DamagedFile> = Vec::new();
        for (path, why, run_id) in rows {
            match files.last_mut().filter(|file| file.path == path) {
                Some(file) => file.runs.extend(run_id),
                None => files.push(DamagedFile { path, why, runs: run_id.into_iter().collect() }),
            }
        }
        Ok(files)
    }
}

fn read_run(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    seal::check(row, 0, 4)?;
    let (state, likeness) = (Vec::new(), Vec::new());
    Ok(RunRecord {
        run_id: row.get(0)?,
        source: row.get(1)?,
        identity: row.get(2)?,
        sub: row.get(3)?,
        state,
        likeness,
    })
}

fn duplicates(connection: &Connection) -> anyhow::Result<BTreeMap<String, String>> {
    let mut statement = connection.prepare_cached("select run_id, duplicate_of, seal from duplicate")?;
    let rows = statement.query_map([], |row| {
        seal::check(row, 0, 2)?;
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn live_files(transaction: &Transaction<'_>) -> anyhow::Result<Vec<FileRecord>> {
    let mut statement = transaction.prepare_cached(
        "select f.id, tbl, class, path, project, size_bytes, row_count, run_min, run_max, key_min, key_max, step_min,
            step_max, created_ms, sums, members, seal, why from file f left join damaged d on d.file_id = f.id order by tbl, f.id",
    )?;
    let mut files: Vec<FileRecord> =
        statement.query_map([], read_file)?.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    let place: BTreeMap<i64, usize> = files.iter().enumerate().map(|(i, file)| (file.id, i)).collect();
    let mut hidden = transaction.prepare_cached("select file_id, kind, ranges, seal from hidden")?;
    let mut rows = hidden.query([])?;
    while let Some(row) = rows.next()? {
        seal::check(row, 0, 3)?;
        let Some(file) = place.get(&row.get::<_, i64>(0)?).and_then(|i| files.get_mut(*i)) else { continue };
        let set = RowSet::from_bytes(&row.get::<_, Vec<u8>>(2)?);
        match row.get::<_, String>(1)?.as_str() {
            "dropped" => file.dropped = set,
            _ => file.superseded = set,
        }
    }
    Ok(files)
}

/// `None` for a table this version does not know.
fn read_file(row: &Row<'_>) -> rusqlite::Result<Option<FileRecord>> {
    seal::check(row, 0, 16)?;
    let Some(table) = Table::from_name(&row.get::<_, String>(1)?) else { return Ok(None) };
    let class = FileClass::from_name(&row.get::<_, String>(2)?);
    let project: Option<String> = row.get(4)?;
    let mut file = FileRecord::new(table, class, row.get(3)?, project.as_deref());
    file.id = row.get(0)?;
    file.size_bytes = row.get::<_, i64>(5)?.cast_unsigned();
    file.row_count = row.get::<_, i64>(6)?.cast_unsigned();
    file.run_bounds = row.get::<_, Option<String>>(7)?.zip(row.get(8)?);
    file.key_bounds = row.get::<_, Option<String>>(9)?.zip(row.get(10)?);
    file.step_bounds = row.get::<_, Option<i64>>(11)?.zip(row.get(12)?);
    file.sums = Arc::new(Sums::from_bytes(file.size_bytes, &row.get::<_, Vec<u8>>(14)?));
    file.members = Members::from_bytes(&row.get::<_, Vec<u8>>(15)?);
    if let Some(why) = row.get::<_, Option<String>>(17)? {
        file.sums.note_damage(why);
    }
    Ok(Some(file))
}

fn read_input(row: &Row<'_>) -> rusqlite::Result<InputRecord> {
    seal::check(row, 0, 13)?;
    Ok(InputRecord {
        path: row.get(0)?,
        source: row.get(1)?,
        identity: row.get(2)?,
        segment: row.get(3)?,
        role: row.get(4)?,
        size_bytes: row.get::<_, i64>(5)?.cast_unsigned(),
        modified_ns: row.get(6)?,
        fingerprint: row.get(7)?,
        offset: row.get::<_, i64>(8)?.cast_unsigned(),
        state: String::new(),
        row_count: row.get::<_, i64>(9)?.cast_unsigned(),
        next_seq: row.get(10)?,
        problem_count: row.get(11)?,
        waits_for_rest: row.get(12)?,
        runs: Vec::new(),
    })
}
