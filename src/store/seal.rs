//! Checksums of the rows of the catalog. SQLite notices a broken page, not a changed value in it.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Row, Statement, ToSql, ffi};

/// Runs an insert whose last value is the checksum of those before it.
///
/// # Errors
/// As the insert.
pub fn put(statement: &mut Statement<'_>, values: &[&dyn ToSql]) -> rusqlite::Result<usize> {
    let seal = of(values)?;
    let sealed: Vec<&dyn ToSql> = values.iter().copied().chain([&seal as &dyn ToSql]).collect();
    statement.execute(sealed.as_slice())
}

/// The checksum of values.
///
/// # Errors
/// When one is of no type that SQLite knows.
pub fn of(values: &[&dyn ToSql]) -> rusqlite::Result<u32> {
    let mut bytes = Vec::with_capacity(256);
    for value in values {
        match value.to_sql()? {
            ToSqlOutput::Borrowed(value) => add(&mut bytes, value),
            ToSqlOutput::Owned(value) => add(&mut bytes, ValueRef::from(&value)),
            _ => {}
        }
    }
    Ok(crc32fast::hash(&bytes))
}

/// Checks that the columns `from..to` of a row are as they were written; their checksum follows them.
///
/// # Errors
/// When they are not: the error SQLite gives for a broken page.
pub fn check(row: &Row<'_>, from: usize, to: usize) -> rusqlite::Result<()> {
    let mut bytes = Vec::with_capacity(256);
    for column in from..to {
        add(&mut bytes, row.get_ref(column)?);
    }
    match row.get_ref(to)? {
        ValueRef::Integer(seal) if seal == i64::from(crc32fast::hash(&bytes)) => Ok(()),
        _ => {
            let why = "a row is not as it was written".to_string();
            Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(why)))
        }
    }
}

fn add(bytes: &mut Vec<u8>, value: ValueRef<'_>) {
    let (kind, content): (u8, &[u8]) = match &value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(number) => (1, &number.to_le_bytes()),
        ValueRef::Real(number) => (2, &number.to_bits().to_le_bytes()),
        ValueRef::Text(text) => (3, text),
        ValueRef::Blob(blob) => (4, blob),
    };
    bytes.push(kind);
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rusqlite::{Connection, params};

    #[test]
    fn a_changed_value_is_noticed() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("create table t (a integer, b text, c blob, seal integer)").unwrap();
        let mut insert = connection.prepare("insert into t values (?1, ?2, ?3, ?4)").unwrap();
        put(&mut insert, params![7, "seven", None::<Vec<u8>>]).unwrap();
        let read = || connection.query_row("select * from t", [], |row| check(row, 0, 3));
        read().unwrap();
        for change in ["a = 6", "b = 'sevem'", "c = x'00'", "b = null", "seal = seal + 1"] {
            connection.execute_batch(&format!("begin; update t set {change}")).unwrap();
            let error = read().unwrap_err();
            assert!(error.to_string().contains("not as it was written"), "{change}: {error}");
            connection.execute_batch("rollback").unwrap();
        }
    }
}
