//! SQLite databases of other programs, read while these write: without a lock that could keep a
//! writer waiting, and without a file beside the database that was not there.
//!
//! - With `-wal` and `-shm` the database is opened read-only: readers of a write-ahead log block nobody.
//! - Without any file beside it, it is opened as immutable, which takes no lock; what was read counts
//!   only if the database did not change meanwhile.
//! - Else (a journal, or a write-ahead log that lost its index) a copy is read, where SQLite may
//!   recover what a killed writer left.

use anyhow::{Context, bail};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// First bytes of a database.
pub const MAGIC: &[u8] = b"SQLite format 3\0";

/// How often an unsteady database is tried in place, and then copied.
const TRIES: usize = 5;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// A value longer than this is refused.
const MAX_VALUE_BYTES: i32 = 64 << 20;

/// Files beside a database that belong to it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What needs an escape in the path of a URI.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// Runs `query` on one consistent state of the database `file`. It may be run several times, until
/// it met a state that did not change; so it must do nothing but read. `scratch` is a folder for a copy.
///
/// # Errors
/// When the database cannot be read, is damaged, or never rests; and those of `query`.
pub fn read<T>(
    file: &Path,
    scratch: &Path,
    query: &mut dyn FnMut(&Connection) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    for _ in 0..TRIES {
        let before = State::of(file)?;
        if before.has_index() {
            match open(file, "mode=ro").and_then(|connection| in_transaction(&connection, query)) {
                Err(error) if is_closed(&error) => break,
                answer => return answer,
            }
        }
        if !before.is_alone() {
            break;
        }
        let answer = open(file, "immutable=1").and_then(|connection| query(&connection));
        if State::of(file)? == before {
            return answer;
        }
        std::thread::sleep(PAUSE);
    }
    let copy = Copy::of(file, scratch)?;
    query(&open(&copy.file, "mode=rw")?)
}

/// Names of the columns of a table; empty where there is no such table.
///
/// # Errors
/// When the schema cannot be read.
pub fn columns(connection: &Connection, table: &str) -> anyhow::Result<Vec<String>> {
    let sql = "select name from pragma_table_info(?1) \
               where exists (select 1 from sqlite_schema where type = 'table' and name = ?1)";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([table], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// Whether `name` is among the columns of a table.
pub fn has(columns: &[String], name: &str) -> bool {
    columns.iter().any(|column| column == name)
}

fn in_transaction<T>(
    connection: &Connection,
    query: &mut dyn FnMut(&Connection) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    connection.execute_batch("begin")?;
    query(connection)
}

/// Opens a database of a stranger: its schema may run nothing.
fn open(file: &Path, mode: &str) -> anyhow::Result<Connection> {
    let path = file.to_str().context("its name is no UTF-8")?.replace('\\', "/");
    let uri = format!("file:{}?{mode}", utf8_percent_encode(&path, ESCAPED));
    let access = match mode {
        "mode=rw" => OpenFlags::SQLITE_OPEN_READ_WRITE,
        _ => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let flags = access | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)?;
    connection.pragma_update(None, "query_only", true)?;
    // The first read finds out whether it can be read at all.
    connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// Whether the files beside the database may not be opened as reading needs them.
fn is_closed(error: &anyhow::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
    let code = error.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(CannotOpen | PermissionDenied | ReadOnly))
}

/// What tells whether a database changed.
#[derive(Debug, PartialEq, Eq)]
struct State {
    size_bytes: u64,
    modified: Option<SystemTime>,
    /// Counts the transactions (bytes 24 to 27 of the header).
    change_counter: [u8; 4],
    /// Sizes of the files of [`BESIDE`].
    beside: [Option<u64>; 3],
}

impl State {
    fn of(file: &Path) -> std::io::Result<Self> {
        let mut open = File::open(file)?;
        let metadata = open.metadata()?;
        let mut change_counter = [0; 4];
        if metadata.len() >= 28 {
            open.seek(SeekFrom::Start(24))?;
            open.read_exact(&mut change_counter)?;
        }
        let beside = BESIDE.map(|end| fs::metadata(beside(file, end)).ok().map(|metadata| metadata.len()));
        Ok(Self { size_bytes: metadata.len(), modified: metadata.modified().ok(), change_counter, beside })
    }

    /// Whether there is a write-ahead log with its index.
    fn has_index(&self) -> bool {
        matches!(self.beside, [Some(_), Some(_), _])
    }

    /// Whether all of the database is in its file. An empty journal or log holds nothing.
    fn is_alone(&self) -> bool {
        let [log, _, journal] = self.beside;
        log.unwrap_or(0) == 0 && journal.unwrap_or(0) == 0
    }
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(end);
    name.into()
}

/// A copy that goes away with its owner.
struct Copy {
    file: PathBuf,
}

impl Copy {
    fn of(file: &Path, scratch: &Path) -> anyhow::Result<Self> {
        let copy = Self { file: scratch.join(format!("{}.tmp", uuid::Uuid::now_v7().simple())) };
        for _ in 0..TRIES {
            let before = State::of(file)?;
            fs::copy(file, &copy.file).with_context(|| format!("cannot copy it to {}", scratch.display()))?;
            // The index of a log is made anew.
            for end in ["-wal", "-journal"] {
                let target = beside(&copy.file, end);
                match fs::copy(beside(file, end), &target) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        drop(fs::remove_file(target))
                    }
                    copied => drop(copied?),
                }
            }
            if State::of(file)? == before {
                return Ok(copy);
            }
            std::thread::sleep(PAUSE);
        }
        bail!("it is written to all the time; ask again in a moment")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let beside = BESIDE.map(|end| beside(&self.file, end));
        for file in beside.iter().chain([&self.file]) {
            // What is left is removed by the next sweep of the folder.
            let _ = fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use tempfile::TempDir;

    const INSERT: &str = "insert into points values (1.5)";

    /// A database of another program, still open.
    fn writer(folder: &TempDir, journal: &str) -> (PathBuf, Connection) {
        let file = folder.path().join("a b%20?#é.db");
        let connection = Connection::open(&file).unwrap();
        connection.pragma_update(None, "journal_mode", journal).unwrap();
        connection.execute_batch("create table points (value real)").unwrap();
        connection.execute_batch(INSERT).unwrap();
        (file, connection)
    }

    fn count(file: &Path, scratch: &Path) -> anyhow::Result<i64> {
        read(file, scratch, &mut |connection| {
            Ok(connection.query_row("select count(*) from points", [], |row| row.get(0))?)
        })
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_live_writer_committed_is_read_and_nothing_left_behind() {
        for journal in ["delete", "truncate", "persist", "wal"] {
            let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let (file, mut connection) = writer(&folder, journal);
            let before = names(folder.path());
            assert_eq!(count(&file, scratch.path()).unwrap(), 1, "{journal}");
            let transaction = connection.transaction().unwrap();
            transaction.execute_batch(INSERT).unwrap();
            assert_eq!(count(&file, scratch.path()).unwrap(), 1, "{journal}: not committed");
            transaction.commit().unwrap();
            assert_eq!(count(&file, scratch.path()).unwrap(), 2, "{journal}");
            assert_eq!(names(folder.path()), before, "{journal}");
            assert!(names(scratch.path()).is_empty(), "{journal}");
            drop(connection);
            let after = names(folder.path());
            assert_eq!(count(&file, scratch.path()).unwrap(), 2, "{journal}: closed");
            assert_eq!(names(folder.path()), after, "{journal}");
        }
    }

    #[test]
    fn what_a_killed_writer_left_is_recovered_in_a_copy() {
        for (journal, lost) in [("wal", "-shm"), ("delete", "-wal")] {
            let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let (file, mut connection) = writer(&folder, journal);
            connection.pragma_update(None, "cache_size", 1).unwrap();
            let transaction = connection.transaction().unwrap();
            let many = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) \
                        insert into points select i from n";
            transaction.execute_batch(many).unwrap();
            for name in names(folder.path()).iter().filter(|name| !name.ends_with(lost)) {
                fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
            }
            let (before, killed) = (names(copy.path()), copy.path().join(file.file_name().unwrap()));
            assert_eq!(count(&killed, folder.path()).unwrap(), 1, "{journal}");
            assert_eq!(names(copy.path()), before, "{journal}: nothing is added");
        }
    }

    #[test]
    fn what_is_no_database_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        fs::write(&file, [MAGIC, &[7; 4096]].concat()).unwrap();
        assert!(count(&file, folder.path()).is_err());
        assert!(count(&folder.path().join("none.db"), folder.path()).is_err());
        fs::write(&file, "").unwrap();
        assert!(read(&file, folder.path(), &mut |c| columns(c, "points")).unwrap().is_empty());
    }

    #[test]
    fn views_are_no_tables() {
        let folder = tempfile::tempdir().unwrap();
        let (file, connection) = writer(&folder, "delete");
        connection.execute_batch("create view metrics as select value from points").unwrap();
        let columns_of = |table| read(&file, folder.path(), &mut |c| columns(c, table)).unwrap();
        assert_eq!((columns_of("points"), columns_of("metrics")), (vec!["value".to_string()], Vec::new()));
    }
}
