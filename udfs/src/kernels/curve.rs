//! What kernels read: numbers that may lie in one piece or in several.

use std::borrow::Cow;
use std::ops::Range;

/// A sequence of numbers, read a stretch at a time.
///
/// A slice lends every stretch. A sequence in several pieces copies those that cross from one piece
/// to the next, so that no result depends on where the pieces end.
pub trait Values {
    /// How many numbers there are.
    fn len(&self) -> usize;

    /// The numbers in `range`, which lies within `0..len()`.
    fn values(&self, range: Range<usize>) -> Cow<'_, [f64]>;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Points `(x, y)` sorted by `x`; the values are `y`.
pub trait Curve: Values {
    /// The `x` in `range`, which lies within `0..len()`.
    fn x(&self, range: Range<usize>) -> Cow<'_, [f64]>;
}

impl Values for [f64] {
    fn len(&self) -> usize {
        <[f64]>::len(self)
    }

    fn values(&self, range: Range<usize>) -> Cow<'_, [f64]> {
        Cow::Borrowed(&self[range])
    }
}

/// A curve of two slices.
#[derive(Debug, Clone, Copy)]
pub struct Slices<'a> {
    x: &'a [f64],
    y: &'a [f64],
}

impl<'a> Slices<'a> {
    /// The points of two slices; where the lengths differ, the shorter one counts.
    pub fn new(x: &'a [f64], y: &'a [f64]) -> Self {
        let len = x.len().min(y.len());
        Self { x: &x[..len], y: &y[..len] }
    }
}

impl Values for Slices<'_> {
    fn len(&self) -> usize {
        self.y.len()
    }

    fn values(&self, range: Range<usize>) -> Cow<'_, [f64]> {
        Cow::Borrowed(&self.y[range])
    }
}

impl Curve for Slices<'_> {
    fn x(&self, range: Range<usize>) -> Cow<'_, [f64]> {
        Cow::Borrowed(&self.x[range])
    }
}
