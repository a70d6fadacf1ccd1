//! Aggregates over a whole series: what they do once all points are there, and lists as results.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use crate::curve::SortedPoints;
use crate::points::Points;

/// What a series aggregate makes of its points once all are there and sorted.
pub(crate) trait Finish: std::fmt::Debug + Send + Sync + 'static {
    /// Computes the result. May be called more than once as points are added.
    fn finish(&self, points: &SortedPoints<'_>) -> Result<ScalarValue>;
}

/// Accumulator of every aggregate over `(step, value)`: collects, merges, sorts, finishes.
#[derive(Debug)]
pub(crate) struct SeriesAccumulator<F> {
    points: Points,
    finish: F,
}

impl<F> SeriesAccumulator<F> {
    pub(crate) fn new(step_type: &DataType, finish: F) -> Self {
        Self { points: Points::new(step_type), finish }
    }
}

impl<F: Finish> Accumulator for SeriesAccumulator<F> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values {
            [steps, values, ..] => self.points.extend(steps, values),
            _ => exec_err!("points: {} arguments, not 2", values.len()),
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.finish.finish(&self.points.sorted())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.points.heap_size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.points.take_state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.points.merge(states)
    }
}

/// A list value that holds all of `items`.
pub(crate) fn one_list(items: ArrayRef) -> ScalarValue {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    ScalarValue::List(Arc::new(ListArray::new(field, offsets, items, None)))
}

/// A list value of structs, one for each row of `columns`.
pub(crate) fn list_of_structs(fields: Fields, columns: Vec<ArrayRef>) -> Result<ScalarValue> {
    let items = StructArray::try_new(fields, columns, None)?;
    Ok(one_list(Arc::new(items)))
}

/// A struct of these values, or null.
pub(crate) fn one_struct(fields: Fields, values: Option<Vec<ScalarValue>>) -> Result<ScalarValue> {
    let Some(values) = values else { return ScalarValue::try_from(&DataType::Struct(fields)) };
    let columns: Result<Vec<ArrayRef>> = values.iter().map(ScalarValue::to_array).collect();
    Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(fields, columns?, None)?)))
}

/// Fields of nullable doubles.
pub(crate) fn number_fields(names: &[&str]) -> Fields {
    names.iter().map(|name| Field::new(*name, DataType::Float64, true)).collect()
}

/// Fields of a point.
pub(crate) fn point_fields(step_type: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("step", step_type.clone(), true),
        Field::new("value", DataType::Float64, true),
    ])
}

/// SQL type of a list of structs with these fields.
pub(crate) fn list_type(fields: Fields) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields), true)))
}

/// SQL type of a list of points.
pub(crate) fn points_type(step_type: &DataType) -> DataType {
    list_type(point_fields(step_type))
}

/// The empty list of a list type, which is what a series aggregate gives for no points.
pub(crate) fn empty_list(list_type: &DataType) -> Result<ScalarValue> {
    match list_type {
        DataType::List(item) => {
            let items = arrow::array::new_empty_array(item.data_type());
            Ok(one_list(items))
        }
        other => exec_err!("not a list: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array};

    use super::*;

    #[test]
    fn size_counts_the_heap() -> Result<()> {
        #[derive(Debug)]
        struct Nothing;
        impl Finish for Nothing {
            fn finish(&self, _: &SortedPoints<'_>) -> Result<ScalarValue> {
                Ok(ScalarValue::Null)
            }
        }
        let mut accumulator = SeriesAccumulator::new(&DataType::Int64, Nothing);
        let steps: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        let values: ArrayRef = Arc::new(Float64Array::from(vec![1.0; 1000]));
        accumulator.update_batch(&[steps, values])?;
        assert!(accumulator.size() >= 16_000);
        let state = accumulator.state()?;
        assert_eq!(state.len(), 4);
        assert!(accumulator.size() < 1_000);
        Ok(())
    }
}
