//! `files`: the Parquet files that count today, for other engines.

use super::output;
use super::session::Session;
use crate::error::UserError;
use crate::report::Format;
use crate::workspace::TableFile;
use anyhow::Result;
use arrow::array::{ArrayRef, StringArray, UInt64Array};
use arrow::record_batch::RecordBatch;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::sync::Arc;

/// Its declaration.
pub fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("files")
        .about("List the Parquet files of the cache that count today")
        .arg(Arg::new("table").value_name("TABLE").help("Only files of this table"))
        .arg(
            flag("duckdb")
                .conflicts_with_all(["table", "json"])
                .help("Print the views with which DuckDB reads the cache"),
        )
        .arg(flag("json").help("The same as --format json").conflicts_with("format"))
        .after_help("Examples:\n  runq files metrics\n  runq files --duckdb | duckdb -init /dev/stdin")
}

/// `files [TABLE]`.
pub async fn run(session: &Session, matches: &ArgMatches) -> Result<()> {
    session.refuse_show_sql("files")?;
    if matches.get_flag("duckdb") {
        let views = session.workspace.duckdb_views()?;
        return output::emit_text(&session.globals, &format!("{}\n", views.trim_end()));
    }
    let names: Vec<String> =
        session.workspace.names().await?.tables.into_iter().map(|(name, _)| name).collect();
    let files = match matches.get_one::<String>("table") {
        Some(table) => of_table(session, table, &names)?,
        None => of_all(session, &names),
    };
    let mut session = session.clone();
    if matches.get_flag("json") {
        session.globals.format = Some(Format::Json);
    }
    output::emit_batch(&session, &rows(&files)?)
}

fn of_table(session: &Session, table: &str, names: &[String]) -> Result<Vec<TableFile>> {
    match names.iter().any(|name| name == table) {
        true => session.workspace.files(table),
        false => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let error = UserError::failed(format!("no table \"{table}\""));
            Err(error.nearest_of(table, &names, "tables").into())
        }
    }
}

/// Tables that are computed when read have no files.
fn of_all(session: &Session, names: &[String]) -> Vec<TableFile> {
    names.iter().filter_map(|name| session.workspace.files(name).ok()).flatten().collect()
}

fn rows(files: &[TableFile]) -> Result<RecordBatch> {
    let tables = StringArray::from_iter_values(files.iter().map(|file| &file.table));
    let paths = StringArray::from_iter_values(files.iter().map(|file| file.path.to_string_lossy()));
    let counts = UInt64Array::from_iter_values(files.iter().map(|file| file.row_count));
    let hidden = UInt64Array::from_iter_values(files.iter().map(|file| file.hidden_count));
    let sizes = UInt64Array::from_iter_values(files.iter().map(|file| file.size_bytes));
    Ok(RecordBatch::try_from_iter([
        ("table_name", Arc::new(tables) as ArrayRef),
        ("path", Arc::new(paths) as ArrayRef),
        ("row_count", Arc::new(counts) as ArrayRef),
        ("hidden_count", Arc::new(hidden) as ArrayRef),
        ("size_bytes", Arc::new(sizes) as ArrayRef),
    ])?)
}
