//! Rows of the small tables as record batches.

use super::schema::{Table, list_item};
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray,
    StringBuilder, TimestampMillisecondArray,
};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use std::sync::Arc;

/// A cell of a row that is on its way into a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Cell {
    /// No value.
    #[default]
    Null,
    /// Text.
    Text(String),
    /// Whole number.
    Int(i64),
    /// Number.
    Double(f64),
    /// Yes or no.
    Bool(bool),
    /// Milliseconds since 1970.
    Time(i64),
    /// List of text.
    List(Vec<String>),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_string())
    }
}
impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}
impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Cell::Int(number)
    }
}
impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Cell::Double(number)
    }
}
impl From<bool> for Cell {
    fn from(flag: bool) -> Self {
        Cell::Bool(flag)
    }
}
impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

/// A time cell.
pub fn time_cell(time: Option<i64>) -> Cell {
    time.map_or(Cell::Null, Cell::Time)
}

/// Rows of a stored table, in the order of its schema, as one batch.
///
/// # Errors
/// When a row has another width than the schema or a null stands where none may.
pub fn rows_to_batch(table: Table, rows: &[Vec<Cell>]) -> Result<RecordBatch, ArrowError> {
    to_batch(table.stored_schema(), rows)
}

/// Rows in the order of `schema` as one batch; a cell of another type than its column is null.
///
/// # Errors
/// When a row has another width than the schema or a null stands where none may.
pub fn to_batch(schema: SchemaRef, rows: &[Vec<Cell>]) -> Result<RecordBatch, ArrowError> {
    if let Some(row) = rows.iter().find(|row| row.len() != schema.fields().len()) {
        return Err(ArrowError::SchemaError(format!(
            "{} cells in a row of {} columns",
            row.len(),
            schema.fields().len()
        )));
    }
    let columns = (0..schema.fields().len()).map(|i| column(&schema, i, rows)).collect();
    RecordBatch::try_new(schema, columns)
}

fn column(schema: &SchemaRef, i: usize, rows: &[Vec<Cell>]) -> ArrayRef {
    use arrow::datatypes::DataType::{Boolean, Float64, Int32, Int64, List, Timestamp};
    let cells = rows.iter().map(|row| &row[i]);
    match schema.field(i).data_type() {
        Boolean => Arc::new(cells.map(as_bool).collect::<BooleanArray>()),
        Float64 => Arc::new(cells.map(as_double).collect::<Float64Array>()),
        Int32 => {
            Arc::new(cells.map(|c| as_int(c).and_then(|n| i32::try_from(n).ok())).collect::<Int32Array>())
        }
        Int64 => Arc::new(cells.map(as_int).collect::<Int64Array>()),
        Timestamp(_, _) => {
            Arc::new(cells.map(as_time).collect::<TimestampMillisecondArray>().with_timezone("UTC"))
        }
        List(_) => lists(cells),
        _ => Arc::new(cells.map(as_text).collect::<StringArray>()),
    }
}

fn as_bool(cell: &Cell) -> Option<bool> {
    if let Cell::Bool(flag) = cell { Some(*flag) } else { None }
}

fn as_int(cell: &Cell) -> Option<i64> {
    if let Cell::Int(number) = cell { Some(*number) } else { None }
}

fn as_time(cell: &Cell) -> Option<i64> {
    if let Cell::Time(time) = cell { Some(*time) } else { None }
}

fn as_double(cell: &Cell) -> Option<f64> {
    if let Cell::Double(number) = cell { Some(*number) } else { None }
}

fn as_text(cell: &Cell) -> Option<&str> {
    if let Cell::Text(text) = cell { Some(text) } else { None }
}

fn lists<'a>(cells: impl Iterator<Item = &'a Cell>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new()).with_field(list_item());
    for cell in cells {
        if let Cell::List(items) = cell {
            items.iter().for_each(|item| lists.values().append_value(item));
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}
