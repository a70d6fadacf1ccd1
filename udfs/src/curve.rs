//! The sorted points of a series, as kernels read them.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use datafusion::common::{Result, ScalarValue};

use crate::kernels::curve::{Curve, Values};
use crate::kernels::first_not_finite;
use crate::points::Chunk;
use crate::series::{list_of_structs, point_fields};
use crate::steps::StepAxis;

/// Points of one series in order of step, in chunks one behind the other; `x` is the distance from
/// the first step.
#[derive(Debug)]
pub(crate) struct SortedPoints<'a> {
    axis: &'a StepAxis,
    chunks: &'a [Chunk],
    /// Index of the first point of each chunk.
    starts: Vec<usize>,
    len: usize,
}

impl<'a> SortedPoints<'a> {
    /// The points of chunks of which none is empty, all sorted, each behind the one before it.
    pub(crate) fn new(axis: &'a StepAxis, chunks: &'a [Chunk]) -> Self {
        let mut starts = Vec::with_capacity(chunks.len());
        let mut len = 0;
        for chunk in chunks {
            starts.push(len);
            len += chunk.len();
        }
        Self { axis, chunks, starts, len }
    }

    pub(crate) fn axis(&self) -> &StepAxis {
        self.axis
    }

    /// Keys of the first and the last step; none of no points.
    pub(crate) fn ends(&self) -> Option<(i64, i64)> {
        let (first, last) = (self.chunks.first()?, self.chunks.last()?);
        Some((*first.keys().first()?, *last.keys().last()?))
    }

    /// Keys and values in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, f64)> {
        self.chunks.iter().flat_map(Chunk::iter)
    }

    /// Index of the first value that is NaN or infinite.
    pub(crate) fn first_not_finite(&self) -> Option<usize> {
        let broken = |(chunk, start): (&Chunk, &usize)| Some(start + first_not_finite(chunk.values())?);
        self.chunks.iter().zip(&self.starts).find_map(broken)
    }

    /// The chosen points as a list of struct(step, value).
    pub(crate) fn list(&self, indices: &[usize]) -> Result<ScalarValue> {
        let points = || indices.iter().filter_map(|&index| self.parts(index..index + 1).next());
        let keys = points().map(|(chunk, part)| chunk.keys()[part.start]);
        let values = points().map(|(chunk, part)| chunk.values()[part.start]);
        let columns = vec![
            self.axis.steps(Int64Array::from_iter_values(keys))?,
            Arc::new(Float64Array::from_iter_values(values)) as ArrayRef,
        ];
        list_of_structs(point_fields(self.axis.data_type()), columns)
    }

    /// The chunks that `range` touches, each with the part of it.
    fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (&Chunk, Range<usize>)> {
        let first = self.starts.partition_point(|&start| start <= range.start).saturating_sub(1);
        let chunks = self.chunks.iter().zip(&self.starts).skip(first);
        chunks.take_while(move |(_, start)| **start < range.end).map(move |(chunk, &start)| {
            (chunk, range.start.saturating_sub(start)..(range.end - start).min(chunk.len()))
        })
    }
}

impl Values for SortedPoints<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn values(&self, range: Range<usize>) -> Cow<'_, [f64]> {
        let len = range.len();
        let mut parts = self.parts(range).map(|(chunk, part)| &chunk.values()[part]);
        let first = parts.next().unwrap_or_default();
        if first.len() == len {
            return Cow::Borrowed(first);
        }
        let mut values = Vec::with_capacity(len);
        values.extend_from_slice(first);
        parts.for_each(|part| values.extend_from_slice(part));
        Cow::Owned(values)
    }
}

impl Curve for SortedPoints<'_> {
    fn x(&self, range: Range<usize>) -> Cow<'_, [f64]> {
        let origin = self.chunks.first().and_then(|chunk| chunk.keys().first()).copied().unwrap_or_default();
        let mut offsets = Vec::with_capacity(range.len());
        for (chunk, part) in self.parts(range) {
            self.axis.extend_offsets(&mut offsets, &chunk.keys()[part], origin);
        }
        Cow::Owned(offsets)
    }
}
