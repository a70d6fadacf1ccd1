//! Counts NaN cells: a NaN in an answer is mostly a NaN that slipped into an aggregate.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::record_batch::RecordBatch;

/// NaN cells of each column of an answer.
#[derive(Debug, Clone)]
pub struct NanCount {
    schema: SchemaRef,
    counts: Vec<u64>,
}

impl NanCount {
    /// Nothing counted yet.
    pub fn new(schema: &SchemaRef) -> Self {
        Self { schema: SchemaRef::clone(schema), counts: vec![0; schema.fields().len()] }
    }

    /// Counts the NaN cells of a batch.
    pub fn add(&mut self, batch: &RecordBatch) {
        for (count, column) in self.counts.iter_mut().zip(batch.columns()) {
            *count += match column.data_type() {
                DataType::Float64 => column.as_primitive::<Float64Type>().iter().filter(is_nan).count(),
                DataType::Float32 => column.as_primitive::<Float32Type>().iter().filter(is_nan).count(),
                _ => 0,
            } as u64;
        }
    }

    /// Names of the columns that held NaN.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let counted = self.counts.iter().zip(self.schema.fields());
        counted.filter(|(count, _)| **count > 0).map(|(_, field)| field.name().as_str())
    }

    /// The line for stderr, when there was a NaN: `NaN in max(value): use max(finite(value))`.
    pub fn note(&self) -> Option<String> {
        let names: Vec<String> = self.columns().map(without_qualifiers).collect();
        if names.is_empty() {
            return None;
        }
        let remedies: Vec<String> = names.iter().filter_map(|name| with_finite(name)).collect();
        let advice = match remedies.len() == names.len() {
            true => format!("use {}", remedies.join(", ")),
            false => "finite(x) is null for NaN and infinities".to_owned(),
        };
        Some(format!("NaN in {}: {advice}", names.join(", ")))
    }
}

fn is_nan<T: PartialOrd + Copy>(value: &Option<T>) -> bool {
    // Only NaN is not equal to itself.
    value.is_some_and(|value| value.partial_cmp(&value).is_none())
}

/// `max(value)` becomes `max(finite(value))`; `None` for anything but a call of one name.
fn with_finite(column: &str) -> Option<String> {
    let (function, rest) = column.split_once('(')?;
    let argument = rest.strip_suffix(')')?;
    let is_name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_name(function) && is_name(argument)).then(|| format!("{function}(finite({argument}))"))
}

/// `max(metrics.value)` becomes `max(value)`.
fn without_qualifiers(column: &str) -> String {
    let Some((function, rest)) = column.split_once('(') else {
        return column.to_owned();
    };
    match rest.rsplit_once('.') {
        Some((table, name)) if table.chars().all(|c| c.is_alphanumeric() || c == '_') => {
            format!("{function}({name}")
        }
        _ => column.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use arrow::array::{ArrayRef, Float64Array};
    use std::sync::Arc;

    fn note(column: &str, values: Vec<f64>) -> Option<String> {
        let array: ArrayRef = Arc::new(Float64Array::from(values));
        let batch = RecordBatch::try_from_iter([(column, array)]).unwrap();
        let mut count = NanCount::new(&batch.schema());
        count.add(&batch);
        count.add(&batch);
        count.note()
    }

    #[test]
    fn names_the_column_and_the_remedy() {
        let nan = || vec![1.0, f64::NAN];
        assert_eq!(note("max(metrics.value)", nan()).unwrap(), "NaN in max(value): use max(finite(value))");
        assert_eq!(note("worst", nan()).unwrap(), "NaN in worst: finite(x) is null for NaN and infinities");
        assert_eq!(note("max(value)", vec![1.0, f64::INFINITY]), None);
    }
}
