//! Metrics as people read them: what a project calls them, and how it has their numbers written.
//!
//! An answer for people is changed before it is drawn, here and nowhere else. What programs read is never
//! changed: a name there can be typed back, a number is exact.

use super::cell::{Cells, Form, short_float};
use super::number::NumberFormat;
use anyhow::Result;
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use arrow::record_batch::RecordBatch;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Columns in which a row says which metric it is about.
const METRICS: [&str; 2] = ["metric", "key"];

/// Columns with a number in the unit of the metric of the row.
const VALUES: [&str; 22] = [
    "base",
    "baseline",
    "best",
    "delta",
    "first",
    "last",
    "max",
    "mean",
    "median",
    "min",
    "next",
    "noise_early",
    "noise_late",
    "noise_max",
    "p05",
    "p25",
    "p75",
    "p95",
    "previous",
    "std",
    "stderr",
    "value",
];

/// Marks a column of texts that are numbers.
const IS_NUMBER: &str = "runq:number";

/// Whether a column is aligned to the right.
pub fn is_number(field: &Field) -> bool {
    fn is_numeric(kind: &DataType) -> bool {
        match kind {
            DataType::Dictionary(_, value) => is_numeric(value),
            other => other.is_numeric(),
        }
    }
    is_numeric(field.data_type()) || field.metadata().contains_key(IS_NUMBER)
}

/// Names and formats of a project's metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Looks {
    /// What a metric is called.
    pub names: BTreeMap<String, String>,
    /// How its numbers are written.
    pub formats: BTreeMap<String, NumberFormat>,
}

impl Looks {
    /// What a metric is called; mostly its name.
    pub fn name<'n>(&'n self, metric: &'n str) -> &'n str {
        self.names.get(metric).map_or(metric, String::as_str)
    }

    /// A number of a metric: as it is set, else short.
    fn number(&self, metric: &str, value: f64) -> String {
        self.formats.get(metric).map_or_else(|| short_float(value), |format| format.text(value))
    }

    /// The rows as people read them. Two batches of one schema give two of one schema.
    ///
    /// # Errors
    /// When a column cannot be read.
    pub fn applied(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if self.names.is_empty() && self.formats.is_empty() {
            return Ok(batch.clone());
        }
        let columns = match metric_column(&batch.schema()) {
            Some(metric) => self.by_rows(batch, metric)?,
            None => self.by_columns(batch)?,
        };
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    /// Each row is about the metric that it names.
    fn by_rows(&self, batch: &RecordBatch, metric: usize) -> Result<Vec<(Field, ArrayRef)>> {
        let metrics = texts(batch.column(metric))?;
        let of = |(nth, (field, column)): (usize, (&Arc<Field>, &ArrayRef))| {
            if nth == metric {
                let names = metrics.iter().map(|metric| metric.as_deref().map(|metric| self.name(metric)));
                let names: ArrayRef = Arc::new(names.collect::<StringArray>());
                return Ok((Field::new(field.name(), DataType::Utf8, true), names));
            }
            match is_value(field) && !self.formats.is_empty() {
                true => {
                    let metric = |row: usize| metrics.get(row).and_then(|metric| metric.as_deref());
                    self.numbers(field, column, |row| metric(row).unwrap_or_default())
                }
                false => Ok((field.as_ref().clone(), ArrayRef::clone(column))),
            }
        };
        batch.schema().fields().iter().zip(batch.columns()).enumerate().map(of).collect()
    }

    /// A column of numbers may bear the name of a metric.
    fn by_columns(&self, batch: &RecordBatch) -> Result<Vec<(Field, ArrayRef)>> {
        let of = |(field, column): (&Arc<Field>, &ArrayRef)| {
            let (field, metric) = (field.as_ref().clone(), field.name());
            if !field.data_type().is_floating() {
                return Ok((field, ArrayRef::clone(column)));
            }
            let (field, column) = match self.formats.contains_key(metric) {
                true => self.numbers(&field, column, |_| metric)?,
                false => (field, ArrayRef::clone(column)),
            };
            Ok((field.with_name(self.name(metric)), column))
        };
        batch.schema().fields().iter().zip(batch.columns()).map(of).collect()
    }

    fn numbers<'m>(
        &self,
        field: &Field,
        column: &ArrayRef,
        metric: impl Fn(usize) -> &'m str,
    ) -> Result<(Field, ArrayRef)> {
        let numbers = cast(column, &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        let texts = (0..numbers.len())
            .map(|row| numbers.is_valid(row).then(|| self.number(metric(row), numbers.value(row))));
        let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
        let marks = HashMap::from([(IS_NUMBER.to_owned(), String::new())]);
        Ok((Field::new(field.name(), DataType::Utf8, true).with_metadata(marks), texts))
    }
}

/// The column that names the metric of a row: one of these names, beside numbers of it. (Rows of
/// hyperparameters have a key too, and no such number.)
fn metric_column(schema: &Schema) -> Option<usize> {
    let has_values = schema.fields().iter().any(|field| is_value(field));
    let place =
        |name: &&str| schema.index_of(name).ok().filter(|nth| !schema.field(*nth).data_type().is_numeric());
    METRICS.iter().find_map(place).filter(|_| has_values)
}

fn is_value(field: &Field) -> bool {
    field.data_type().is_floating() && VALUES.contains(&field.name().as_str())
}

fn texts(column: &ArrayRef) -> Result<Vec<Option<String>>> {
    let cells = Cells::of(column)?;
    let text = |row| {
        let mut text = String::new();
        cells.write_text(row, Form::Exact, &mut text);
        (!cells.is_null(row)).then_some(text)
    };
    Ok((0..column.len()).map(text).collect())
}
