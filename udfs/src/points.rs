//! The points of a series while an aggregate collects them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type, Int64Type};
use datafusion::common::cast::{as_float64_array, as_int64_array, as_list_array};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::utils::format_state_name;

use crate::kernels::nan_last;

/// What steps are: their SQL type, and how they are kept.
///
/// Every step is kept as an `i64` key of the same order: integers and timestamps as they are,
/// doubles as the bits of their total order. So one state serves all types.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepAxis(DataType);

impl StepAxis {
    /// The axis of a step argument, whose type is bigint, double or a timestamp by now.
    pub(crate) fn new(data_type: &DataType) -> Self {
        Self(data_type.clone())
    }

    fn is_float(&self) -> bool {
        self.0 == DataType::Float64
    }

    /// Keys of an array of steps; null where the step is null or not finite.
    pub(crate) fn keys(&self, steps: &ArrayRef) -> Result<Int64Array> {
        if self.is_float() {
            let steps = as_float64_array(steps)?;
            let finite = steps.iter().map(|step| step.filter(|step| step.is_finite()));
            return Ok(finite.map(|step| step.map(float_key)).collect());
        }
        Ok(cast(steps, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    }

    /// Steps of the axis' own type for an array of keys.
    pub(crate) fn steps(&self, keys: Int64Array) -> Result<ArrayRef> {
        if self.is_float() {
            let steps: Float64Array = keys.unary(float_of_key);
            return Ok(Arc::new(steps));
        }
        Ok(cast(&keys, &self.0)?)
    }

    /// One step, or null.
    pub(crate) fn step(&self, key: Option<i64>) -> Result<ScalarValue> {
        let steps = self.steps(Int64Array::from(vec![key]))?;
        ScalarValue::try_from_array(&steps, 0)
    }

    /// Distance of `key` from `origin` as a double, exact near `origin` for any unit.
    fn offset(&self, key: i64, origin: i64) -> f64 {
        if self.is_float() {
            float_of_key(key) - float_of_key(origin)
        } else {
            crate::kernels::align::offset(key, origin)
        }
    }
}

/// Order-preserving key of a double; both zeros have the same.
fn float_key(step: f64) -> i64 {
    flip((step + 0.0).to_bits() as i64)
}

fn float_of_key(key: i64) -> f64 {
    f64::from_bits(flip(key) as u64)
}

/// Turns the bits of a double into its place in the total order, and back.
fn flip(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// Points of one series: `(step, value)` with neither missing, in any order until sorted.
///
/// Memory: 16 bytes a point. The points of a group are the same whatever the order, the batches and
/// the partitions they came in, and [`Points::sort`] orders them fully (by step, then by the total order
/// of values), so whatever is computed from sorted points is the same as well.
#[derive(Debug, Clone)]
pub(crate) struct Points {
    axis: StepAxis,
    keys: Vec<i64>,
    values: Vec<f64>,
}

impl Points {
    pub(crate) fn new(step_type: &DataType) -> Self {
        Self { axis: StepAxis::new(step_type), keys: Vec::new(), values: Vec::new() }
    }

    pub(crate) fn axis(&self) -> &StepAxis {
        &self.axis
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn keys(&self) -> &[i64] {
        &self.keys
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    /// Adds the rows that have both a step and a value.
    pub(crate) fn extend(&mut self, steps: &ArrayRef, values: &ArrayRef) -> Result<()> {
        let keys = self.axis.keys(steps)?;
        let values = as_float64_array(values)?;
        if keys.null_count() == 0 && values.null_count() == 0 {
            self.keys.extend_from_slice(keys.values());
            self.values.extend_from_slice(values.values());
            return Ok(());
        }
        for (key, value) in keys.iter().zip(values) {
            if let (Some(key), Some(value)) = (key, value) {
                self.keys.push(key);
                self.values.push(value);
            }
        }
        Ok(())
    }

    /// Orders the points by step, and those at the same step by value (total order: NaN last).
    pub(crate) fn sort(&mut self) {
        let points = || self.keys.iter().zip(&self.values);
        let ordered = points().is_sorted_by(|left, right| {
            left.0 < right.0 || (left.0 == right.0 && nan_last(left.1, right.1).is_le())
        });
        if ordered {
            return;
        }
        let mut points: Vec<(i64, f64)> = points().map(|(&key, &value)| (key, value)).collect();
        points.sort_by(|left, right| left.0.cmp(&right.0).then(nan_last(&left.1, &right.1)));
        for (index, (key, value)) in points.into_iter().enumerate() {
            self.keys[index] = key;
            self.values[index] = value;
        }
    }

    /// Distances of the given points from the first one, for geometry.
    pub(crate) fn offsets(&self, indices: impl Iterator<Item = usize>) -> Vec<f64> {
        let origin = self.keys.first().copied().unwrap_or_default();
        indices.map(|index| self.axis.offset(self.keys[index], origin)).collect()
    }

    /// The chosen points as a list of struct(step, value).
    pub(crate) fn list(&self, indices: &[usize]) -> Result<ScalarValue> {
        let keys = indices.iter().map(|&index| self.keys[index]);
        let values = indices.iter().map(|&index| self.values[index]);
        let columns = vec![
            self.axis.steps(Int64Array::from_iter_values(keys))?,
            Arc::new(Float64Array::from_iter_values(values)) as ArrayRef,
        ];
        list_of_structs(point_fields(&self.axis.0), columns)
    }

    /// Bytes on the heap.
    fn heap_size(&self) -> usize {
        self.keys.capacity() * size_of::<i64>() + self.values.capacity() * size_of::<f64>()
    }

    /// Fields of the state: a list of keys and a list of values.
    pub(crate) fn state_fields(name: &str) -> Vec<FieldRef> {
        let list = |part, item| {
            let item = Field::new_list_field(item, true);
            let name = format_state_name(name, part);
            Arc::new(Field::new(name, DataType::List(Arc::new(item)), true))
        };
        vec![list("steps", DataType::Int64), list("values", DataType::Float64)]
    }

    /// Hands the points over as state and is empty afterwards.
    fn take_state(&mut self) -> Vec<ScalarValue> {
        let keys = Int64Array::from(std::mem::take(&mut self.keys));
        let values = Float64Array::from(std::mem::take(&mut self.values));
        vec![one_list(Arc::new(keys)), one_list(Arc::new(values))]
    }

    /// Adds the points of other states.
    fn merge(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [keys, values] = states else {
            return exec_err!("points: {} columns of state, not 2", states.len());
        };
        let (keys, values) = (as_list_array(keys)?, as_list_array(values)?);
        for (keys, values) in keys.iter().zip(values.iter()) {
            if let (Some(keys), Some(values)) = (keys, values) {
                self.keys.extend_from_slice(as_int64_array(&keys)?.values());
                self.values.extend_from_slice(values.as_primitive::<Float64Type>().values());
            }
        }
        Ok(())
    }
}

/// A list value that holds all of `items`.
fn one_list(items: ArrayRef) -> ScalarValue {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    ScalarValue::List(Arc::new(ListArray::new(field, offsets, items, None)))
}

/// A list value of structs, one for each row of `columns`.
pub(crate) fn list_of_structs(fields: Fields, columns: Vec<ArrayRef>) -> Result<ScalarValue> {
    let items = StructArray::try_new(fields, columns, None)?;
    Ok(one_list(Arc::new(items)))
}

/// Fields of a point.
fn point_fields(step_type: &DataType) -> Fields {
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

/// What a series aggregate makes of its points once all are there and sorted.
pub(crate) trait Finish: std::fmt::Debug + Send + Sync + 'static {
    /// Computes the result. May be called more than once as points are added.
    fn finish(&self, points: &Points) -> Result<ScalarValue>;
}

/// Accumulator of every aggregate over `(step, value)`: collects, merges, sorts, then finishes.
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
        self.points.sort();
        self.finish.finish(&self.points)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.points.heap_size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.points.take_state())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.points.merge(states)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(steps: Vec<Option<f64>>, values: Vec<f64>) -> Result<Points> {
        let mut points = Points::new(&DataType::Float64);
        let steps: ArrayRef = Arc::new(Float64Array::from(steps));
        let values: ArrayRef = Arc::new(Float64Array::from(values));
        points.extend(&steps, &values)?;
        Ok(points)
    }

    #[test]
    fn keys_keep_order_and_value() {
        let steps = [f64::MIN, -2.5, -0.0, 0.0, 1e-300, 3.0, f64::MAX];
        let keys: Vec<i64> = steps.iter().map(|&step| float_key(step)).collect();
        assert!(keys.is_sorted());
        assert_eq!(keys[2], keys[3]);
        for (key, step) in keys.into_iter().zip(steps) {
            assert_eq!(float_of_key(key), step);
        }
    }

    #[test]
    fn sorts_fully_and_drops_missing() -> Result<()> {
        let steps = vec![Some(2.0), None, Some(1.0), Some(2.0), Some(f64::NAN), Some(2.0)];
        let mut points = points(steps, vec![-f64::NAN, 9.0, 5.0, 7.0, 9.0, -1.0])?;
        points.sort();
        assert_eq!(points.offsets(0..4), vec![0.0, 1.0, 1.0, 1.0]);
        assert_eq!(points.values()[..3], [5.0, -1.0, 7.0]);
        assert!(points.values()[3].is_nan());
        Ok(())
    }

    #[test]
    fn size_counts_the_heap() -> Result<()> {
        #[derive(Debug)]
        struct Nothing;
        impl Finish for Nothing {
            fn finish(&self, _: &Points) -> Result<ScalarValue> {
                Ok(ScalarValue::Null)
            }
        }
        let mut accumulator = SeriesAccumulator::new(&DataType::Int64, Nothing);
        let steps: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        let values: ArrayRef = Arc::new(Float64Array::from(vec![1.0; 1000]));
        accumulator.update_batch(&[steps, values])?;
        assert!(accumulator.size() >= 16_000);
        let state = accumulator.state()?;
        assert_eq!(state.len(), 2);
        assert!(accumulator.size() < 1_000);
        Ok(())
    }
}
