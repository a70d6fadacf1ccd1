//! `schema`: tables, columns, types and row counts in few words.

use super::output;
use super::session::Session;
use crate::error::UserError;
use anyhow::Result;
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;
use clap::{Arg, ArgMatches, Command};
use std::fmt::Write;
use std::sync::Arc;

/// Its declaration.
pub fn command() -> Command {
    Command::new("schema")
        .about("Print tables, columns, types and row counts")
        .arg(Arg::new("table").value_name("TABLE").help("Only this table"))
        .after_help("Examples:\n  runq schema\n  runq schema metrics --format json")
}

/// `schema [TABLE]`.
pub async fn run(session: &Session, matches: &ArgMatches) -> Result<()> {
    session.refuse_show_sql("schema")?;
    describe(session, matches.get_one::<String>("table").map(String::as_str)).await
}

/// Prints one table or all: as a line each, or as rows where a format is asked for.
pub async fn describe(session: &Session, table: Option<&str>) -> Result<()> {
    let names: Vec<String> =
        session.workspace.names().await?.tables.into_iter().map(|(name, _)| name).collect();
    let names = match table {
        None => names,
        Some(table) => vec![known(table, &names)?],
    };
    let tables = tables(session, names).await?;
    match session.globals.asks_for_data() {
        true => output::emit_batch(session, &rows(&tables)?),
        false => output::emit_text(&session.globals, &lines(&tables)),
    }
}

fn known(table: &str, names: &[String]) -> Result<String> {
    if names.iter().any(|name| name == table) {
        return Ok(table.to_owned());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Err(UserError::failed(format!("no table \"{table}\"")).nearest_of(table, &names, "tables").into())
}

struct Table {
    name: String,
    schema: SchemaRef,
    row_count: i64,
}

async fn tables(session: &Session, names: Vec<String>) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for name in names {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let schema = session.workspace.sql(&format!("select * from {quoted} limit 0")).await?.schema;
        let count = session.workspace.sql(&format!("select count(*) as n from {quoted}")).await?;
        let count = output::texts(&output::collect(count).await?, "n")?;
        let row_count = count.first().and_then(|count| count.parse().ok()).unwrap_or(0);
        tables.push(Table { name, schema, row_count });
    }
    Ok(tables)
}

/// One line a table; text goes without saying, as most columns are.
fn lines(tables: &[Table]) -> String {
    let mut text = String::from("-- columns without a type are text; time is timestamp(ms, UTC)\n");
    for table in tables {
        let columns = table.schema.fields().iter().map(|field| match type_name(field.data_type()).as_str() {
            "text" => field.name().clone(),
            kind => format!("{} {kind}", field.name()),
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}({columns}) {} rows", table.name, table.row_count);
    }
    text
}

fn rows(tables: &[Table]) -> Result<RecordBatch> {
    let columns: Vec<(&Table, &FieldRef)> = tables
        .iter()
        .flat_map(|table| table.schema.fields().iter().map(move |field| (table, field)))
        .collect();
    let names = StringArray::from_iter_values(columns.iter().map(|(table, _)| &table.name));
    let fields = StringArray::from_iter_values(columns.iter().map(|(_, field)| field.name()));
    let types = StringArray::from_iter_values(columns.iter().map(|(_, field)| type_name(field.data_type())));
    let counts = Int64Array::from_iter_values(columns.iter().map(|(table, _)| table.row_count));
    Ok(RecordBatch::try_from_iter([
        ("table_name", Arc::new(names) as ArrayRef),
        ("column_name", Arc::new(fields) as ArrayRef),
        ("type", Arc::new(types) as ArrayRef),
        ("row_count", Arc::new(counts) as ArrayRef),
    ])?)
}

/// The SQL word for a type.
fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Dictionary(_, value) => type_name(value),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::UInt64 => "bigint unsigned".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Timestamp(..) => "time".to_owned(),
        DataType::List(item) | DataType::LargeList(item) => format!("{}[]", type_name(item.data_type())),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use arrow::datatypes::{Field, Schema, TimeUnit};

    #[test]
    fn a_table_is_a_line() {
        let list = DataType::new_list(DataType::Utf8, true);
        let fields = vec![
            Field::new("run_id", DataType::Utf8View, false),
            Field::new("step", DataType::Int64, false),
            Field::new("tags", list, false),
            Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        ];
        let tables =
            [Table { name: "metrics".to_owned(), schema: Arc::new(Schema::new(fields)), row_count: 7 }];
        let text = lines(&tables);
        assert!(text.ends_with("\nmetrics(run_id, step bigint, tags text[], time time) 7 rows\n"), "{text}");
        assert_eq!(rows(&tables).unwrap().num_rows(), 4);
    }
}
