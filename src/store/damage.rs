//! Parts of the cache that are not as they were written. Whoever meets one reports it; the workspace
//! has it made anew from the logs.

use rusqlite::ErrorCode;
use std::fmt;
use std::io::ErrorKind;

/// A part of the cache that is gone or not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// A Parquet file.
    File {
        /// Path relative to the cache folder.
        path: String,
        /// What is wrong with it, as in "is gone".
        why: String,
    },
    /// The catalog.
    Catalog {
        /// What is wrong with it, as in "is no database".
        why: String,
    },
}

impl Damage {
    /// The damage behind an error, if that is what it is.
    pub fn of(error: &anyhow::Error) -> Option<Damage> {
        error.chain().find_map(|cause| cause.downcast_ref::<Damage>()).cloned()
    }

    /// Damage of the catalog.
    pub fn catalog(why: impl Into<String>) -> Damage {
        Damage::Catalog { why: why.into() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::File { path, why } => write!(f, "the file {path} of the cache {why}"),
            Damage::Catalog { why } => write!(f, "the catalog of the cache {why}"),
        }
    }
}

impl std::error::Error for Damage {}

/// Why the cache could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFailure {
    /// There is no room: the disk is full, or a limit is reached.
    Full,
    /// It may not be written.
    Denied,
}

impl WriteFailure {
    /// The failure behind an error, if that is what it is.
    pub fn of(error: &anyhow::Error) -> Option<WriteFailure> {
        error.chain().find_map(|cause| {
            let io = cause.downcast_ref::<std::io::Error>().and_then(|error| of_kind(error.kind()));
            io.or_else(|| of_code(cause.downcast_ref::<rusqlite::Error>()?))
        })
    }
}

fn of_kind(kind: ErrorKind) -> Option<WriteFailure> {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Some(WriteFailure::Full)
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Some(WriteFailure::Denied),
        _ => None,
    }
}

fn of_code(error: &rusqlite::Error) -> Option<WriteFailure> {
    use rusqlite::ffi::{SQLITE_IOERR_SHMOPEN, SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};
    let failure = error.sqlite_error()?;
    match failure.code {
        ErrorCode::DiskFull => Some(WriteFailure::Full),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => {
            Some(WriteFailure::Denied)
        }
        // A limit on the size of files, and a disk without room for the index of the log.
        ErrorCode::SystemIoFailure => {
            let no_room = [SQLITE_IOERR_WRITE, SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_SHMOPEN];
            no_room.contains(&failure.extended_code).then_some(WriteFailure::Full)
        }
        _ => None,
    }
}
