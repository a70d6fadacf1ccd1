//! The catalog: which files count, what was read of which log. One SQLite transaction is the only
//! commit; a file that no committed row names does not exist.

use super::rows::RowSet;
use super::{FileClass, FileRecord, Snapshot, layout};
use crate::records::schema::Table;
use crate::records::{Problem, UNREADABLE};
use anyhow::Context;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    /// State of the reader at `offset`.
    pub state: String,
    /// Records read.
    pub row_count: u64,
    /// Arrival number of the next point.
    pub next_seq: i64,
    /// Problems met, more than are kept.
    pub problem_count: i64,
    /// Whether it had been left alone for a while when it was read.
    pub was_at_rest: bool,
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
    /// What the look for logs saw; with it the tables are up to date.
    pub look: Option<Vec<u8>>,
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
    fn as_str(self) -> &'static str {
        match self {
            HiddenKind::Superseded => "superseded",
            HiddenKind::Dropped => "dropped",
        }
    }
}

/// Which files count and what was read: a snapshot to read, one commit to change it.
pub trait Catalog: Send + Sync {
    /// The files that count now.
    fn snapshot(&self) -> anyhow::Result<Snapshot>;
    /// Applies all changes, or none.
    fn commit(&self, changes: &Changes) -> anyhow::Result<()>;
    /// All inputs, by path. One that feeds several logs (a configuration beside them) is there once a log.
    fn inputs(&self) -> anyhow::Result<Vec<InputRecord>>;
    /// All runs without their state, by id.
    fn runs(&self) -> anyhow::Result<BTreeMap<String, RunRecord>>;
    /// Numbers of input files and of runs.
    fn counts(&self) -> anyhow::Result<(u64, u64)>;
    /// State of a run.
    fn run_state(&self, run_id: &str) -> anyhow::Result<Option<Vec<u8>>>;
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
}

const SCHEMA: &str = "
create table meta (name text primary key, value text not null) without rowid;
create table file (
    id integer primary key, tbl text not null, class text not null, path text not null unique, project text,
    size_bytes integer not null, row_count integer not null, run_min text, run_max text, key_min text, key_max text,
    step_min integer, step_max integer, created_ms integer not null, retired_ms integer);
create index file_live on file (retired_ms);
create table file_run (run_id text not null, file_id integer not null, primary key (run_id, file_id)) without rowid;
create index file_run_file on file_run (file_id);
create table hidden (
    file_id integer not null, kind text not null, ranges blob not null, primary key (file_id, kind)) without rowid;
create table run (
    run_id text primary key, source text not null, identity text not null, sub text not null, state blob not null,
    unique (source, identity, sub));
create table input (
    path text not null, source text not null, identity text not null, segment integer not null, role text not null,
    size_bytes integer not null, modified_ns integer not null, fingerprint text not null, offset integer not null,
    state text not null, row_count integer not null, next_seq integer not null, problem_count integer not null,
    was_at_rest integer not null, primary key (path, source, identity)) without rowid;
create table input_run (path text not null, run_id text not null, primary key (path, run_id)) without rowid;
create table problem (
    path text not null, position text not null, message text not null, unique (path, position, message));
create table verdict (
    path text primary key, size_bytes integer not null, modified_ns integer not null, source text, text text not null)
    without rowid;
create table look (id integer primary key check (id = 1), seen blob not null);
";

/// The catalog in an SQLite file (WAL).
pub struct SqliteCatalog {
    cache: PathBuf,
    connection: Mutex<Connection>,
}

impl SqliteCatalog {
    /// Opens the catalog of a cache folder and creates both where they are missing. A catalog of
    /// another format version, or one that is no database, is thrown away with all files: a cache
    /// is rebuilt, never migrated.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(cache: &Path) -> anyhow::Result<Self> {
        layout::create(cache)?;
        let connection = match open_current(cache) {
            Ok(Some(connection)) => connection,
            Ok(None) => rebuild(cache)?,
            Err(error) if is_no_database(&error) => rebuild(cache)?,
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot open {}", layout::catalog(cache).display()));
            }
        };
        Ok(Self { cache: cache.to_path_buf(), connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows<T>(
        &self,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> anyhow::Result<Vec<T>> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([], read)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }
}

fn connect(cache: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(layout::catalog(cache))?;
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// `None` when the catalog is of another version or not finished.
fn open_current(cache: &Path) -> rusqlite::Result<Option<Connection>> {
    let mut connection = connect(cache)?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Deferred)?;
    let tables: i64 = transaction.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
    let version = if tables == 0 {
        None
    } else {
        transaction
            .query_row("select value from meta where name = 'format_version'", [], |row| {
                row.get::<_, String>(0)
            })
            .optional()
            .unwrap_or_default()
    };
    transaction.finish()?;
    match (tables, version) {
        (0, _) => create_tables(&mut connection).map(|()| Some(connection)),
        (_, Some(version)) if version == layout::FORMAT_VERSION.to_string() => Ok(Some(connection)),
        _ => Ok(None),
    }
}

fn create_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let tables: i64 = transaction.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        transaction.execute_batch(SCHEMA)?;
        let version = layout::FORMAT_VERSION.to_string();
        transaction.execute("insert into meta values ('format_version', ?1), ('version', '0')", [version])?;
    }
    transaction.commit()
}

fn is_no_database(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(NotADatabase | DatabaseCorrupt))
}

fn rebuild(cache: &Path) -> anyhow::Result<Connection> {
    let path = layout::catalog(cache);
    // The numbers of alerts grow for ever, as far as the old catalog can still be read.
    let next_alert_seq = connect(cache).ok().and_then(|old| next_alert_seq(&old).ok().flatten());
    for suffix in ["", "-wal", "-shm"] {
        let file = PathBuf::from(format!("{}{suffix}", path.display()));
        if file.exists() {
            std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    for table in Table::ALL {
        let folder = cache.join(table.name());
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
    }
    let mut connection = connect(cache)?;
    create_tables(&mut connection)?;
    if let Some(next) = next_alert_seq {
        put_next_alert_seq(&connection, next)?;
    }
    Ok(connection)
}

fn next_alert_seq(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "select cast(value as integer) from meta where name = 'next_alert_seq'";
    connection.query_row(sql, [], |row| row.get(0)).optional()
}

fn put_next_alert_seq(connection: &Connection, next: i64) -> rusqlite::Result<()> {
    let sql = "insert or replace into meta values ('next_alert_seq', ?1)";
    connection.execute(sql, [next.to_string()]).map(drop)
}

impl Catalog for SqliteCatalog {
    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let files = live_files(&transaction)?;
        Ok(Snapshot { cache: self.cache.clone(), files: Arc::new(files) })
    }

    fn commit(&self, changes: &Changes) -> anyhow::Result<()> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        commit_files(&transaction, changes)?;
        commit_runs(&transaction, changes)?;
        commit_inputs(&transaction, changes)?;
        commit_verdicts(&transaction, changes)?;
        // Any other change makes what the last look saw worthless until the refresh is done.
        match &changes.look {
            Some(look) => transaction.execute("insert or replace into look values (1, ?1)", [look])?,
            None => transaction.execute("delete from look", [])?,
        };
        transaction.execute("update meta set value = value + 1 where name = 'version'", [])?;
        transaction.commit().context("cannot commit to the catalog")
    }

    fn inputs(&self) -> anyhow::Result<Vec<InputRecord>> {
        let sql = "select path, source, identity, segment, role, size_bytes, modified_ns, fingerprint, offset, state,
            row_count, next_seq, problem_count, was_at_rest from input order by path, source, identity";
        let mut inputs = self.rows(sql, read_input)?;
        let pairs = self.rows(
            "select p.path, p.run_id, r.source, r.identity from input_run p join run r using (run_id) order by p.run_id",
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        let mut runs: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
        for (path, run_id, source, identity) in pairs {
            runs.entry((path, source, identity)).or_default().push(run_id);
        }
        for input in &mut inputs {
            let key = (input.path.clone(), input.source.clone(), input.identity.clone());
            input.runs = runs.remove(&key).unwrap_or_default();
        }
        Ok(inputs)
    }

    fn runs(&self) -> anyhow::Result<BTreeMap<String, RunRecord>> {
        let runs = self.rows("select run_id, source, identity, sub from run", |row| {
            Ok(RunRecord {
                run_id: row.get(0)?,
                source: row.get(1)?,
                identity: row.get(2)?,
                sub: row.get(3)?,
                state: Vec::new(),
            })
        })?;
        Ok(runs.into_iter().map(|run| (run.run_id.clone(), run)).collect())
    }

    fn counts(&self) -> anyhow::Result<(u64, u64)> {
        let sql = "select (select count(*) from input), (select count(*) from run)";
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let (inputs, runs) = self.connection().query_row(sql, [], read)?;
        Ok((inputs.cast_unsigned(), runs.cast_unsigned()))
    }

    fn run_state(&self, run_id: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("select state from run where run_id = ?1")?;
        Ok(statement.query_row([run_id], |row| row.get(0)).optional()?)
    }

    fn files_of_run(&self, run_id: &str) -> anyhow::Result<Vec<i64>> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("select file_id from file_run where run_id = ?1 order by file_id")?;
        Ok(statement.query_map([run_id], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    fn runs_of_file(&self, file_id: i64) -> anyhow::Result<Vec<String>> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("select run_id from file_run where file_id = ?1")?;
        Ok(statement.query_map([file_id], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    fn problems(&self) -> anyhow::Result<Vec<(String, Problem)>> {
        // What discovery could not look into is no input, but a problem all the same.
        let sql = format!(
            "select path, position, message, rowid as n from problem
             union all select path, 'file', text, 0 from verdict where source is null and text like '{UNREADABLE}%'
             order by path, n"
        );
        self.rows(&sql, |row| Ok((row.get(0)?, Problem { position: row.get(1)?, message: row.get(2)? })))
    }

    fn verdicts(&self) -> anyhow::Result<BTreeMap<String, VerdictRecord>> {
        let verdicts =
            self.rows("select path, size_bytes, modified_ns, source, text from verdict", |row| {
                Ok(VerdictRecord {
                    path: row.get(0)?,
                    size_bytes: row.get::<_, i64>(1)?.cast_unsigned(),
                    modified_ns: row.get(2)?,
                    source: row.get(3)?,
                    text: row.get(4)?,
                })
            })?;
        Ok(verdicts.into_iter().map(|verdict| (verdict.path.clone(), verdict)).collect())
    }

    fn look(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let connection = self.connection();
        Ok(connection.query_row("select seen from look", [], |row| row.get(0)).optional()?)
    }

    fn has_unread_inputs(&self) -> anyhow::Result<bool> {
        let sql = format!(
            "select exists (select 1 from input
                    where modified_ns = 0 or segment < 0 or (offset < size_bytes and not was_at_rest))
                or exists (select 1 from verdict where source is null and text like '{UNREADABLE}%')"
        );
        Ok(self.connection().query_row(&sql, [], |row| row.get(0))?)
    }

    fn next_file_id(&self) -> anyhow::Result<i64> {
        let last: i64 =
            self.connection().query_row("select coalesce(max(id), 0) from file", [], |row| row.get(0))?;
        Ok(last + 1)
    }

    fn next_alert_seq(&self) -> anyhow::Result<i64> {
        Ok(next_alert_seq(&self.connection())?.unwrap_or(1))
    }

    fn retired_files(&self, before_ms: i64) -> anyhow::Result<Vec<String>> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("select path from file where retired_ms <= ?1")?;
        Ok(statement.query_map([before_ms], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    fn forget_file(&self, path: &str) -> anyhow::Result<()> {
        self.connection().execute("delete from file where path = ?1 and retired_ms is not null", [path])?;
        Ok(())
    }

    fn all_paths(&self) -> anyhow::Result<HashSet<String>> {
        Ok(self.rows("select path from file", |row| row.get(0))?.into_iter().collect())
    }

    fn version(&self) -> anyhow::Result<i64> {
        let sql = "select cast(value as integer) from meta where name = 'version'";
        Ok(self.connection().query_row(sql, [], |row| row.get(0))?)
    }
}

fn live_files(transaction: &Transaction<'_>) -> anyhow::Result<Vec<FileRecord>> {
    let mut statement = transaction.prepare_cached(
        "select id, tbl, class, path, project, size_bytes, row_count, run_min, run_max, key_min, key_max, step_min,
            step_max from file where retired_ms is null order by tbl, id",
    )?;
    let mut files: Vec<FileRecord> =
        statement.query_map([], read_file)?.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    let place: BTreeMap<i64, usize> = files.iter().enumerate().map(|(i, file)| (file.id, i)).collect();
    let mut hidden = transaction.prepare_cached("select file_id, kind, ranges from hidden")?;
    let mut rows = hidden.query([])?;
    while let Some(row) = rows.next()? {
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
    Ok(Some(file))
}

fn read_input(row: &Row<'_>) -> rusqlite::Result<InputRecord> {
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
        state: row.get(9)?,
        row_count: row.get::<_, i64>(10)?.cast_unsigned(),
        next_seq: row.get(11)?,
        problem_count: row.get(12)?,
        was_at_rest: row.get(13)?,
        runs: Vec::new(),
    })
}

fn commit_files(transaction: &Transaction<'_>, changes: &Changes) -> anyhow::Result<()> {
    for file in &changes.new_files {
        insert_file(transaction, file, changes.now_ms)?;
    }
    for (file_id, kind, set) in &changes.hidden {
        put_hidden(transaction, *file_id, *kind, set)?;
    }
    for (file_id, run_id) in &changes.left {
        transaction
            .prepare_cached("delete from file_run where file_id = ?1 and run_id = ?2")?
            .execute(params![file_id, run_id])?;
    }
    for file_id in &changes.retired {
        let retired = transaction
            .prepare_cached("update file set retired_ms = ?2 where id = ?1 and retired_ms is null")?
            .execute(params![file_id, changes.now_ms])?;
        anyhow::ensure!(retired == 1, "file {file_id} was retired by another process");
        transaction.prepare_cached("delete from file_run where file_id = ?1")?.execute([file_id])?;
        transaction.prepare_cached("delete from hidden where file_id = ?1")?.execute([file_id])?;
    }
    if let Some(next) = changes.next_alert_seq {
        put_next_alert_seq(transaction, next)?;
    }
    Ok(())
}

fn insert_file(transaction: &Transaction<'_>, file: &FileRecord, now_ms: i64) -> anyhow::Result<()> {
    let (runs, keys) = (file.run_bounds.as_ref(), file.key_bounds.as_ref());
    transaction
        .prepare_cached("insert into file values (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,null)")?
        .execute(params![
            file.id,
            file.table.name(),
            file.class.as_str(),
            file.path,
            file.project,
            file.size_bytes.cast_signed(),
            file.row_count.cast_signed(),
            runs.map(|bounds| &bounds.0),
            runs.map(|bounds| &bounds.1),
            keys.map(|bounds| &bounds.0),
            keys.map(|bounds| &bounds.1),
            file.step_bounds.map(|bounds| bounds.0),
            file.step_bounds.map(|bounds| bounds.1),
            now_ms,
        ])?;
    let mut member = transaction.prepare_cached("insert into file_run values (?1, ?2)")?;
    for run_id in &file.runs {
        member.execute(params![run_id, file.id])?;
    }
    put_hidden(transaction, file.id, HiddenKind::Superseded, &file.superseded)?;
    put_hidden(transaction, file.id, HiddenKind::Dropped, &file.dropped)
}

fn put_hidden(
    transaction: &Transaction<'_>,
    file_id: i64,
    kind: HiddenKind,
    set: &RowSet,
) -> anyhow::Result<()> {
    if !set.is_empty() {
        transaction.prepare_cached("insert or replace into hidden values (?1, ?2, ?3)")?.execute(params![
            file_id,
            kind.as_str(),
            set.to_bytes()
        ])?;
    }
    Ok(())
}

fn commit_runs(transaction: &Transaction<'_>, changes: &Changes) -> anyhow::Result<()> {
    for run_id in &changes.gone_runs {
        transaction.prepare_cached("delete from run where run_id = ?1")?.execute([run_id])?;
        transaction.prepare_cached("delete from input_run where run_id = ?1")?.execute([run_id])?;
    }
    let mut put = transaction.prepare_cached("insert or replace into run values (?1, ?2, ?3, ?4, ?5)")?;
    for run in &changes.runs {
        put.execute(params![run.run_id, run.source, run.identity, run.sub, run.state])?;
    }
    Ok(())
}

fn commit_inputs(transaction: &Transaction<'_>, changes: &Changes) -> anyhow::Result<()> {
    for (source, identity, path) in &changes.gone_inputs {
        transaction
            .prepare_cached("delete from input where path = ?1 and source = ?2 and identity = ?3")?
            .execute(params![path, source, identity])?;
        transaction.prepare_cached("delete from problem where path = ?1")?.execute([path])?;
    }
    for input in &changes.inputs {
        put_input(transaction, input)?;
    }
    for path in &changes.readable {
        transaction
            .prepare_cached("delete from problem where path = ?1 and position = 'file'")?
            .execute([path])?;
    }
    let mut put = transaction.prepare_cached("insert or ignore into problem values (?1, ?2, ?3)")?;
    for (path, problem) in &changes.problems {
        put.execute(params![path, problem.position, problem.message])?;
    }
    Ok(())
}

fn put_input(transaction: &Transaction<'_>, input: &InputRecord) -> anyhow::Result<()> {
    transaction
        .prepare_cached(
            "insert or replace into input values (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)",
        )?
        .execute(params![
            input.path,
            input.source,
            input.identity,
            input.segment,
            input.role,
            input.size_bytes.cast_signed(),
            input.modified_ns,
            input.fingerprint,
            input.offset.cast_signed(),
            input.state,
            input.row_count.cast_signed(),
            input.next_seq,
            input.problem_count,
            input.was_at_rest,
        ])?;
    let mut pair = transaction.prepare_cached("insert or ignore into input_run values (?1, ?2)")?;
    for run_id in &input.runs {
        pair.execute(params![input.path, run_id])?;
    }
    Ok(())
}

fn commit_verdicts(transaction: &Transaction<'_>, changes: &Changes) -> anyhow::Result<()> {
    for path in &changes.gone_verdicts {
        transaction.prepare_cached("delete from verdict where path = ?1")?.execute([path])?;
    }
    let mut put = transaction.prepare_cached("insert or replace into verdict values (?1, ?2, ?3, ?4, ?5)")?;
    for verdict in &changes.verdicts {
        put.execute(params![
            verdict.path,
            verdict.size_bytes.cast_signed(),
            verdict.modified_ns,
            verdict.source,
            verdict.text
        ])?;
    }
    Ok(())
}
