//! The files of the cache for other engines: lists, and views for DuckDB.

use crate::error::UserError;
use crate::records::schema::Table;
use crate::store::{FileClass, FileRecord, Snapshot};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use std::fmt::Write;
use std::path::PathBuf;

/// A file of a table, as `runq files` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile {
    /// Table it belongs to.
    pub table: String,
    /// Absolute path.
    pub path: PathBuf,
    /// Rows in the file.
    pub row_count: u64,
    /// Rows of it that do not count today.
    pub hidden_count: u64,
    /// Its size.
    pub size_bytes: u64,
}

/// The files of a table that count today; for `metrics` those with points that count.
///
/// # Errors
/// When no table of that name is stored.
pub fn list(snapshot: &Snapshot, table: &str) -> anyhow::Result<Vec<TableFile>> {
    let Some(table) = public().find(|known| known.name() == table) else {
        let names: Vec<&str> = public().map(Table::name).collect();
        let error = UserError::failed(format!("table \"{table}\" has no files"));
        return Err(error.hint(format!("tables with files: {}", names.join(", "))).into());
    };
    let entry = |file: &FileRecord| TableFile {
        table: table.name().to_string(),
        path: snapshot.cache.join(&file.path),
        row_count: file.row_count,
        hidden_count: file.hidden().len(),
        size_bytes: file.size_bytes,
    };
    Ok(counting(snapshot, table).map(entry).collect())
}

/// Tables that have a name of their own in SQL.
fn public() -> impl Iterator<Item = Table> {
    Table::ALL.into_iter().filter(|table| *table != Table::Findings)
}

/// Alerts are those that were logged, and findings.
fn counting(snapshot: &Snapshot, table: Table) -> impl Iterator<Item = &FileRecord> {
    let other = (table == Table::Alerts).then_some(Table::Findings);
    let files = snapshot.files_of(table).chain(other.into_iter().flat_map(|other| snapshot.files_of(other)));
    files.filter(|file| file.class == FileClass::Live)
}

/// One `create or replace view` a table. Rows that do not count are left out by their number in
/// the file, which is exact for as long as these files are the ones that count.
pub fn duckdb_views(snapshot: &Snapshot) -> String {
    let mut sql = String::new();
    for table in public() {
        let files: Vec<&FileRecord> = counting(snapshot, table).collect();
        let view = if files.is_empty() { empty_view(table) } else { duckdb_view(snapshot, table, &files) };
        // Writing to a string cannot fail.
        let _ = writeln!(sql, "{view}");
    }
    sql
}

/// A table without files is there, without rows.
fn empty_view(table: Table) -> String {
    let kind = |field: &FieldRef| match field.data_type() {
        DataType::Int64 => "bigint",
        DataType::Int32 => "integer",
        DataType::Float64 => "double",
        DataType::Boolean => "boolean",
        DataType::Timestamp(_, _) => "timestamptz",
        DataType::List(_) => "varchar[]",
        _ => "varchar",
    };
    let column = |field: &FieldRef| format!("null::{} as \"{}\"", kind(field), field.name());
    let columns: Vec<String> = table.stored_schema().fields().iter().map(column).collect();
    format!("create or replace view {} as\nselect {}\nwhere false;\n", table.name(), columns.join(", "))
}

fn duckdb_view(snapshot: &Snapshot, table: Table, files: &[&FileRecord]) -> String {
    let quoted = |file: &&FileRecord| quote(&snapshot.cache.join(&file.path).to_string_lossy());
    let list: Vec<String> = files.iter().map(quoted).collect();
    let hidden: Vec<String> = files.iter().filter_map(|file| duckdb_hidden(snapshot, file)).collect();
    let filter = match hidden.is_empty() {
        true => String::new(),
        false => format!("\nwhere not ({})", hidden.join("\n   or ")),
    };
    format!(
        "create or replace view {} as\nselect * exclude (filename, file_row_number)\nfrom read_parquet([\n  {}\n], \
         filename = true, file_row_number = true, hive_partitioning = false){filter};\n",
        table.name(),
        list.join(",\n  ")
    )
}

fn duckdb_hidden(snapshot: &Snapshot, file: &FileRecord) -> Option<String> {
    let hidden = file.hidden();
    let rows = |range: &(u64, u64)| format!("file_row_number between {} and {}", range.0, range.1 - 1);
    let rows: Vec<String> = hidden.ranges().iter().map(rows).collect();
    let path = quote(&snapshot.cache.join(&file.path).to_string_lossy());
    (!rows.is_empty()).then(|| format!("(filename = {path} and ({}))", rows.join(" or ")))
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
