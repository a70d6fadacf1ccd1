//! Opening a catalog: to write it, to read it even where nothing can be written, and anew when it
//! cannot be believed.

use super::catalog::SCHEMA;
use super::damage::Damage;
use super::merge::column;
use super::{layout, sweep};
use crate::records::schema::Table;
use anyhow::Context;
use arrow::datatypes::Int64Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait for another process in the midst of a commit.
const BUSY: Duration = Duration::from_secs(30);

/// Bytes of the write-ahead log that are kept for the next commits.
const WAL_BYTES: i64 = 16 << 20;

/// An open catalog, and what tells it from one made anew in its place.
pub struct Opened {
    /// To its database.
    pub connection: Connection,
    /// A name no other catalog bears.
    pub birth: String,
}

/// What a database file holds.
enum State {
    /// No table: new, or cut to nothing.
    Empty,
    /// A catalog of this version, with its birth.
    Current(String),
    /// Something else.
    Foreign(Damage),
}

/// Opens the catalog of a cache to write it; it must exist. Returns `Err` with the [`Damage`] when
/// what is there cannot be believed.
pub fn to_write(cache: &Path) -> anyhow::Result<Opened> {
    layout::create(cache)?;
    let path = layout::catalog(cache);
    let opened =
        connect(&path, OpenFlags::default()).and_then(|connection| Ok((state(&connection)?, connection)));
    let (state, connection) =
        opened.map_err(blame).with_context(|| format!("cannot open {}", path.display()))?;
    match state {
        State::Current(birth) => {
            settle(&connection).map_err(blame)?;
            Ok(Opened { connection, birth })
        }
        State::Empty => Err(Damage::catalog("is gone").into()),
        State::Foreign(damage) => Err(damage.into()),
    }
}

/// Opens the catalog of a cache to read it; `None` where there is none. Where not even the files
/// that SQLite needs for reading can be made (a full or read-only disk), what is there is copied
/// into memory.
pub fn to_read(cache: &Path) -> anyhow::Result<Option<Opened>> {
    let path = layout::catalog(cache);
    if !path.exists() {
        return Ok(None);
    }
    let plain = connect(&path, OpenFlags::default() & !OpenFlags::SQLITE_OPEN_CREATE);
    let opened = plain.and_then(|connection| Ok((state(&connection)?, connection)));
    let opened = match opened {
        Err(error) if is_unwritable(&error) => {
            in_memory(&path).and_then(|connection| Ok((state(&connection)?, connection))).map_err(|_| error)
        }
        other => other,
    };
    match opened.map_err(blame)? {
        (State::Current(birth), connection) => Ok(Some(Opened { connection, birth })),
        (State::Empty, _) => Ok(None),
        (State::Foreign(damage), _) => Err(damage.into()),
    }
}

/// Makes the catalog of a cache anew and removes all files: a cache is rebuilt, never repaired or
/// migrated. What other processes have open stays whole for them: the database is emptied by a
/// commit, in place. Only for the process that holds the refresh lock.
pub fn anew(cache: &Path) -> anyhow::Result<Opened> {
    layout::create(cache)?;
    let path = layout::catalog(cache);
    let next_alert_seq = next_alert_seq_of(&path).or_else(|| next_alert_seq_of_files(cache));
    let connection = emptied(&path).or_else(|_| replaced(&path))?;
    settle(&connection)?;
    let birth = create_tables(&connection, next_alert_seq).map_err(blame)?;
    sweep::remove_all(cache);
    Ok(Opened { connection, birth })
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // Pages are looked at more closely when they are first read.
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Sets how commits are made.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    Ok(())
}

fn state(connection: &Connection) -> rusqlite::Result<State> {
    let tables: i64 = connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(State::Empty);
    }
    let meta = |name: &str| -> rusqlite::Result<String> {
        connection.query_row("select value from meta where name = ?1", [name], |row| row.get(0))
    };
    let own = layout::FORMAT_VERSION.to_string();
    Ok(match meta("format_version") {
        Ok(version) if version == own => State::Current(meta("birth")?),
        Ok(version) => State::Foreign(Damage::catalog(format!("is of version {version}, not {own}"))),
        Err(error) if is_unwritable(&error) => return Err(error),
        // Without that table it is some other program's.
        Err(_) => State::Foreign(Damage::catalog("is a database of something else")),
    })
}

fn create_tables(connection: &Connection, next_alert_seq: Option<i64>) -> rusqlite::Result<String> {
    let birth = uuid::Uuid::now_v7().simple().to_string();
    let transaction = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    let mut put = transaction.prepare("insert into meta values (?1, ?2)")?;
    put.execute(["format_version", &layout::FORMAT_VERSION.to_string()])?;
    put.execute(["version", "0"])?;
    put.execute(["birth", &birth])?;
    if let Some(next) = next_alert_seq {
        put.execute(["next_alert_seq", &next.to_string()])?;
    }
    drop(put);
    transaction.commit()?;
    Ok(birth)
}

/// The numbers of alerts grow for ever, as far as the old catalog can still be read.
fn next_alert_seq_of(path: &Path) -> Option<i64> {
    let old = connect(path, OpenFlags::default() & !OpenFlags::SQLITE_OPEN_CREATE).ok()?;
    let sql = "select cast(value as integer) from meta where name = 'next_alert_seq'";
    old.query_row(sql, [], |row| row.get(0)).ok()
}

fn next_alert_seq_of_files(cache: &Path) -> Option<i64> {
    let last = |path: PathBuf| -> anyhow::Result<Option<i64>> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["seq"]);
        let batches = builder.with_projection(mask).build()?.collect::<Result<Vec<_>, _>>()?;
        let seqs = batches.iter().filter_map(|batch| column::<Int64Type>(batch, "seq"));
        Ok(seqs.flatten().max().copied())
    };
    let files = [Table::Alerts, Table::Findings].into_iter().flat_map(|table| sweep::files_of(cache, table));
    files.filter_map(|path| last(path).ok().flatten()).max().map(|last| last + 1)
}

/// Empties a database whatever is in it, as SQLite's documentation of `SQLITE_DBCONFIG_RESET_DATABASE`
/// says.
fn emptied(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::default())?;
    // The schema must have been asked for; whatever comes of it.
    let _ = connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(()));
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, true)?;
    let emptied = connection.execute_batch("vacuum");
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, false)?;
    emptied.map(|()| connection)
}

/// A new file in place of one that SQLite cannot even empty.
fn replaced(path: &Path) -> anyhow::Result<Connection> {
    for file in with_side_files(path) {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", file.display()));
            }
            _ => {}
        }
    }
    Ok(connect(path, OpenFlags::default())?)
}

fn with_side_files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

fn is_unwritable(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, DiskFull, PermissionDenied, ReadOnly, SystemIoFailure};
    let code = error.sqlite_error_code();
    matches!(code, Some(CannotOpen | DiskFull | PermissionDenied | ReadOnly | SystemIoFailure))
}

/// A copy that needs no file. Where the disk is full the database is read under its lock; where it
/// is read-only not even that can be had, and it is copied with its log to the temporary folder.
fn in_memory(path: &Path) -> rusqlite::Result<Connection> {
    if let Ok(copy) = exclusive(path).and_then(|source| loaded(&source)) {
        return Ok(copy);
    }
    // Nobody else may look into it: configuration may hold secrets.
    let folder = tempfile::Builder::new().prefix("runq-").tempdir();
    let copied = folder.as_ref().ok().and_then(|folder| copy_into(path, folder.path()).ok());
    let copied = copied.ok_or_else(|| rusqlite::Error::InvalidPath(path.to_path_buf()))?;
    loaded(&connect(&copied, OpenFlags::default())?)
}

/// In exclusive mode the index of the log is kept in memory.
fn exclusive(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::default() & !OpenFlags::SQLITE_OPEN_CREATE)?;
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    Ok(connection)
}

fn loaded(source: &Connection) -> rusqlite::Result<Connection> {
    let mut memory = Connection::open_in_memory()?;
    Backup::new(source, &mut memory)?.run_to_completion(i32::MAX, Duration::ZERO, None)?;
    Ok(memory)
}

fn copy_into(path: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    for file in with_side_files(path).iter().take(2).filter(|file| file.exists()) {
        std::fs::copy(file, folder.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

/// The damage behind an error of SQLite, if that is what it is.
pub fn blame(error: impl Into<anyhow::Error>) -> anyhow::Error {
    let error = error.into();
    let why = error.chain().find_map(|cause| cause.downcast_ref::<rusqlite::Error>()).and_then(reason);
    why.map_or(error, |why| Damage::catalog(why).into())
}

/// Why a catalog cannot be believed any more.
fn reason(error: &rusqlite::Error) -> Option<String> {
    use rusqlite::Error;
    let is_foreign = |text: &str| {
        ["no such table", "no such column", "table "].iter().any(|start| text.starts_with(start))
    };
    match error {
        Error::SqliteFailure(failure, text) => match failure.code {
            ErrorCode::DatabaseCorrupt => {
                Some(format!("is damaged ({})", text.as_deref().unwrap_or("a page is broken")))
            }
            ErrorCode::NotADatabase => Some("is no database".into()),
            _ => text.as_deref().filter(|text| is_foreign(text)).map(|text| format!("is damaged ({text})")),
        },
        Error::SqlInputError { msg, .. } if is_foreign(msg) => Some(format!("is damaged ({msg})")),
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::QueryReturnedNoRows
        | Error::Utf8Error(..) => Some(format!("is damaged ({error})")),
        _ => None,
    }
}
