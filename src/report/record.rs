//! A row set on its side: one line a column. For rows too wide to read across.

use super::cell::{Cells, Form, for_people};
use anyhow::Result;
use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

/// Names and values as a batch of two text columns, `names` being theirs.
///
/// # Errors
/// When the columns are of one name.
pub fn pairs(pairs: &[(String, String)], names: (&str, &str)) -> Result<RecordBatch> {
    let column = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
    let keys = column(pairs.iter().map(|(key, _)| key.as_str()).collect());
    let values = column(pairs.iter().map(|(_, value)| value.as_str()).collect());
    Ok(RecordBatch::try_from_iter([(names.0, keys), (names.1, values)])?)
}

/// Column name and short text of each cell of the first row that holds something.
pub fn facts(batch: &RecordBatch) -> Result<Vec<(String, String)>> {
    let mut facts = Vec::new();
    if batch.num_rows() == 0 {
        return Ok(facts);
    }
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let mut text = String::new();
        Cells::of(&column.slice(0, 1))?.write_text(0, Form::Short, &mut text);
        if !text.is_empty() && text != "[]" {
            facts.push((for_people(field.name()), for_people(&text)));
        }
    }
    Ok(facts)
}
