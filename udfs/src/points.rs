//! The points of a series while an aggregate collects them.

use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, ByteView, Float64Array, Int64Array,
    new_empty_array,
};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Field, FieldRef};
use datafusion::common::cast::{as_float64_array, as_int64_array, as_list_array};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::utils::format_state_name;

use crate::curve::SortedPoints;
use crate::kernels::nan_last;
use crate::series::one_list;
use crate::steps::StepAxis;

/// Points from which on a batch is held as it is; those of smaller ones are copied together.
const HELD: usize = 1024;
/// Most bytes of one view of the state; a multiple of 8.
const VIEW_BYTES: usize = 1 << 30;
/// Bytes up to which a view holds its bytes itself.
const INLINE_BYTES: u32 = 12;

/// Points in the order they came in, or sorted: keys of steps, and values. Shared, never changed.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    keys: ScalarBuffer<i64>,
    values: ScalarBuffer<f64>,
}

impl Chunk {
    /// A chunk of these points, in order.
    fn sorted(mut points: Vec<(i64, f64)>) -> Self {
        points.sort_by(compare);
        let keys = points.iter().map(|point| point.0).collect();
        Self { keys, values: points.iter().map(|point| point.1).collect() }
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, f64)> {
        self.keys.iter().copied().zip(self.values.iter().copied())
    }

    fn is_sorted(&self) -> bool {
        // Nearly every series has each step once, which is quick to see.
        self.keys.is_sorted_by(|left, right| left < right)
            || self.iter().is_sorted_by(|left, right| compare(left, right).is_le())
    }

    /// The first and the last point; of no points, the same made-up ones.
    fn ends(&self) -> [(i64, f64); 2] {
        let end = |key: Option<&i64>, value: Option<&f64>| {
            (key.copied().unwrap_or_default(), value.copied().unwrap_or_default())
        };
        [end(self.keys.first(), self.values.first()), end(self.keys.last(), self.values.last())]
    }
}

/// Order of points: by step, at the same step by value (total order: NaN last).
fn compare(left: &(i64, f64), right: &(i64, f64)) -> Ordering {
    left.0.cmp(&right.0).then_with(|| nan_last(&left.1, &right.1))
}

/// Points of one series: `(step, value)` with neither missing, in any order until sorted.
///
/// Memory: 16 bytes a point. Long batches are held, not copied, and so is what other accumulators
/// hand over. The points of a group are the same whatever the order, the batches and the partitions
/// they came in, and [`Points::sorted`] orders them fully, so whatever is computed from sorted points
/// is the same as well.
#[derive(Debug, Clone)]
pub(crate) struct Points {
    axis: StepAxis,
    /// None is empty.
    chunks: Vec<Chunk>,
    /// The newest points, not yet a chunk.
    keys: Vec<i64>,
    values: Vec<f64>,
}

impl Points {
    pub(crate) fn new(step_type: &DataType) -> Self {
        Self { axis: StepAxis::new(step_type), chunks: Vec::new(), keys: Vec::new(), values: Vec::new() }
    }

    /// Adds the rows that have both a step and a value.
    pub(crate) fn extend(&mut self, steps: &ArrayRef, values: &ArrayRef) -> Result<()> {
        let keys = self.axis.keys(steps)?;
        let values = as_float64_array(values)?;
        if keys.null_count() == 0 && values.null_count() == 0 {
            self.add(Chunk { keys: keys.values().clone(), values: values.values().clone() });
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

    fn add(&mut self, chunk: Chunk) {
        if chunk.len() < HELD {
            self.keys.extend_from_slice(&chunk.keys);
            self.values.extend_from_slice(&chunk.values);
        } else {
            self.close();
            self.chunks.push(chunk);
        }
    }

    /// Makes a chunk of the newest points.
    fn close(&mut self) {
        if !self.keys.is_empty() {
            let (keys, values) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.values));
            self.chunks.push(Chunk { keys: keys.into(), values: values.into() });
        }
    }

    /// The points in order of step, and at the same step of value (total order: NaN last).
    pub(crate) fn sorted(&mut self) -> SortedPoints<'_> {
        self.close();
        for chunk in self.chunks.iter_mut().filter(|chunk| !chunk.is_sorted()) {
            *chunk = Chunk::sorted(chunk.iter().collect());
        }
        self.chunks.sort_by(|left, right| {
            let ([first, last], [other_first, other_last]) = (left.ends(), right.ends());
            compare(&first, &other_first).then_with(|| compare(&last, &other_last))
        });
        let is_behind = |left: &Chunk, right: &Chunk| compare(&left.ends()[1], &right.ends()[0]).is_le();
        if !self.chunks.is_sorted_by(is_behind) {
            let points = self.chunks.iter().flat_map(Chunk::iter).collect();
            self.chunks.clear();
            self.chunks.push(Chunk::sorted(points));
        }
        SortedPoints::new(&self.axis, &self.chunks)
    }

    /// Bytes of the points, also of those that are held, and of the lists of them.
    pub(crate) fn heap_size(&self) -> usize {
        let held: usize = self.chunks.iter().map(Chunk::len).sum();
        (held + self.keys.capacity()) * size_of::<i64>()
            + (held + self.values.capacity()) * size_of::<f64>()
            + self.chunks.capacity() * size_of::<Chunk>()
    }

    /// Fields of the state: lists of the keys and the values of a short series; of a long one the bytes
    /// of both, a view for each chunk. Lists are copied on their way, views are not, but a view costs
    /// more than a short list.
    pub(crate) fn state_fields(name: &str) -> Vec<FieldRef> {
        let list = |part, item| {
            let item = Field::new_list_field(item, true);
            let name = format_state_name(name, part);
            Arc::new(Field::new(name, DataType::List(Arc::new(item)), true))
        };
        vec![
            list("steps", DataType::Int64),
            list("values", DataType::Float64),
            list("held_steps", DataType::BinaryView),
            list("held_values", DataType::BinaryView),
        ]
    }

    /// Hands the points over as state and is empty afterwards.
    pub(crate) fn take_state(&mut self) -> Result<Vec<ScalarValue>> {
        if self.keys.len() >= HELD {
            self.close();
        }
        let keys = Int64Array::from(std::mem::take(&mut self.keys));
        let values = Float64Array::from(std::mem::take(&mut self.values));
        let held = std::mem::take(&mut self.chunks);
        Ok(vec![
            one_list(Arc::new(keys)),
            one_list(Arc::new(values)),
            views(held.iter().map(|chunk| chunk.keys.inner().clone()))?,
            views(held.iter().map(|chunk| chunk.values.inner().clone()))?,
        ])
    }

    /// Adds the points of other states.
    pub(crate) fn merge(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [keys, values, held_keys, held_values] = states else {
            return exec_err!("points: {} columns of state, not 4", states.len());
        };
        for (keys, values) in lists(keys, values)? {
            self.keys.extend_from_slice(as_int64_array(&keys)?.values());
            self.values.extend_from_slice(as_float64_array(&values)?.values());
        }
        for (keys, values) in lists(held_keys, held_values)? {
            let (keys, values) = (keys.as_binary_view(), values.as_binary_view());
            for index in 0..keys.len().min(values.len()) {
                self.add(Chunk { keys: numbers(keys, index), values: numbers(values, index) });
            }
        }
        Ok(())
    }
}

/// The lists in two columns side by side that are not empty.
fn lists<'a>(
    left: &'a ArrayRef,
    right: &'a ArrayRef,
) -> Result<impl Iterator<Item = (ArrayRef, ArrayRef)> + 'a> {
    let (left, right) = (as_list_array(left)?, as_list_array(right)?);
    let is_filled = move |&row: &usize| left.value_length(row) > 0 && right.value_length(row) > 0;
    Ok((0..left.len().min(right.len())).filter(is_filled).map(|row| (left.value(row), right.value(row))))
}

/// A list of views of all of `bytes`, which are not copied.
fn views(bytes: impl ExactSizeIterator<Item = Buffer>) -> Result<ScalarValue> {
    /// Every short series has this one; making it anew costs as much as the points.
    static NONE: LazyLock<ScalarValue> = LazyLock::new(|| one_list(new_empty_array(&DataType::BinaryView)));
    if bytes.len() == 0 {
        return Ok(NONE.clone());
    }
    let mut views = BinaryViewBuilder::with_capacity(bytes.len());
    for bytes in bytes {
        for start in (0..bytes.len()).step_by(VIEW_BYTES) {
            let len = VIEW_BYTES.min(bytes.len() - start);
            let block = views.append_block(bytes.slice_with_length(start, len));
            views.try_append_view(block, 0, len as u32)?;
        }
    }
    Ok(one_list(Arc::new(views.finish())))
}

/// The numbers whose bytes a view shows; not copied, unless they have lost their alignment.
fn numbers<T: ArrowNativeType>(views: &BinaryViewArray, index: usize) -> ScalarBuffer<T> {
    let view = ByteView::from(views.views()[index]);
    if view.length > INLINE_BYTES {
        let buffer = &views.data_buffers()[view.buffer_index as usize];
        let bytes = buffer.slice_with_length(view.offset as usize, view.length as usize);
        if bytes.as_ptr().align_offset(align_of::<T>()) == 0 {
            return bytes.into();
        }
    }
    Buffer::from(views.value(index)).into()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::kernels::curve::{Curve, Values};

    /// Points that come in batches, each with the steps from one to before another.
    fn batches(ranges: &[(i64, i64)]) -> Points {
        let mut points = Points::new(&DataType::Int64);
        for &(start, end) in ranges {
            let steps: ArrayRef = Arc::new(Int64Array::from_iter_values(start..end));
            let values: ArrayRef =
                Arc::new(Float64Array::from_iter_values((start..end).map(|step| step as f64)));
            points.extend(&steps, &values).unwrap();
        }
        points
    }

    fn keys(points: &mut Points) -> Vec<i64> {
        points.sorted().iter().map(|point| point.0).collect()
    }

    #[test]
    fn sorts_fully_and_drops_missing() {
        let steps = vec![Some(2.0), None, Some(1.0), Some(2.0), Some(f64::NAN), Some(2.0)];
        let steps: ArrayRef = Arc::new(Float64Array::from(steps));
        let values: ArrayRef = Arc::new(Float64Array::from(vec![-f64::NAN, 9.0, 5.0, 7.0, 9.0, -1.0]));
        let mut points = Points::new(&DataType::Float64);
        points.extend(&steps, &values).unwrap();
        let sorted = points.sorted();
        assert_eq!(sorted.x(0..4).to_vec(), vec![0.0, 1.0, 1.0, 1.0]);
        assert_eq!(sorted.values(0..3).to_vec(), [5.0, -1.0, 7.0]);
        assert_eq!(sorted.first_not_finite(), Some(3));
    }

    #[test]
    fn long_batches_are_held_and_put_in_order() {
        let steps: ArrayRef = Arc::new(Int64Array::from_iter_values(0..4096));
        let values: ArrayRef = Arc::new(Float64Array::from(vec![1.0; 4096]));
        let mut points = Points::new(&DataType::Int64);
        points.extend(&steps, &values).unwrap();
        let given = steps.as_primitive::<Int64Type>().values();
        assert_eq!(points.chunks[0].keys().as_ptr(), given.as_ptr());
        let mut points = batches(&[(4000, 6000), (0, 10), (10, 20), (2000, 4000), (20, 2000)]);
        assert_eq!(keys(&mut points), (0..6000).collect::<Vec<_>>());
        assert_eq!(points.chunks.len(), 4);
        let mut overlapping = batches(&[(0, 3000), (1000, 4000)]);
        assert_eq!(keys(&mut overlapping).len(), 6000);
        assert!(keys(&mut overlapping).is_sorted());
        assert_eq!(overlapping.chunks.len(), 1);
    }

    #[test]
    fn a_stretch_is_the_same_however_the_points_came() {
        let mut whole = batches(&[(0, 9000)]);
        let mut pieces = batches(&[(0, 2000), (2000, 2003), (2003, 5000), (5000, 9000)]);
        let (whole, pieces) = (whole.sorted(), pieces.sorted());
        for range in [0..0, 0..1, 1999..2000, 1999..2004, 0..9000, 2000..5000, 8999..9000] {
            assert_eq!(whole.x(range.clone()), pieces.x(range.clone()));
            assert_eq!(whole.values(range.clone()), pieces.values(range.clone()));
            assert_eq!(whole.values(range.clone()).len(), range.len());
        }
    }

    #[test]
    fn a_state_goes_over_whole_and_is_not_copied() {
        let mut first = batches(&[(0, 3000), (3000, 3001)]);
        let held = first.chunks[0].keys().as_ptr();
        let state = first.take_state().unwrap();
        assert!(keys(&mut first).is_empty());
        let columns: Vec<ArrayRef> = state.iter().map(|column| column.to_array().unwrap()).collect();
        let mut second = batches(&[(3001, 3010)]);
        second.merge(&columns).unwrap();
        assert_eq!(keys(&mut second), (0..3010).collect::<Vec<_>>());
        assert_eq!(second.chunks[0].keys().as_ptr(), held);
    }

    #[test]
    fn bytes_without_alignment_are_copied() {
        let numbers_there: Vec<f64> = (0..2000).map(f64::from).collect();
        let mut bytes = vec![7_u8];
        numbers_there.iter().for_each(|number| bytes.extend(number.to_ne_bytes()));
        let mut views = BinaryViewBuilder::new();
        let block = views.append_block(Buffer::from_vec(bytes));
        views.try_append_view(block, 1, 16_000).unwrap();
        let views = views.finish();
        assert_eq!(&numbers::<f64>(&views, 0)[..], &numbers_there[..]);
    }
}
