//! What is kept of a curve: all rows of a short one, medians of blocks of a long one.

use super::columns::Columns;
use super::outline::Outline;
use super::robust::{median_of_few, medians_of_16};
use serde::{Deserialize, Serialize};

/// Rows up to which a curve is kept as it is.
const EXACT: usize = 2_048;
/// Rows of the smallest block, whose median is exact.
const LEAF: usize = 16;
/// Blocks at which neighbours are merged.
const BLOCKS: usize = 256;
/// Newest rows kept as they are.
pub const NEWEST: usize = 32;

/// A row of a curve, or a block of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Step of its last row.
    pub step: i64,
    /// Time of its last row in seconds, NaN where unknown.
    pub time_s: f64,
    /// Median of its rows.
    pub value: f64,
    /// Median distance of its rows from the row before them; NaN of the first row.
    pub change: f64,
}

impl Point {
    /// The block of two neighbours of equal length.
    fn join(self, next: Self) -> Self {
        let mean = |left: f64, right: f64| left + (right - left) / 2.0;
        let change = if self.change.is_nan() { next.change } else { mean(self.change, next.change) };
        Self { value: mean(self.value, next.value), change, ..next }
    }

    /// The block of the rows of a leaf, or of fewer; none of none.
    fn block(rows: &[Self]) -> Option<Self> {
        let last = rows.last()?;
        if let Some(rows) = rows.as_array::<LEAF>().filter(|rows| !rows[0].change.is_nan()) {
            let [value, change] = medians_of_16(rows.map(|row| [row.value, row.change]));
            return Some(Self { value, change, ..*last });
        }
        let median = |of: fn(&Self) -> f64| median_of_few(&rows.iter().map(of).collect::<Vec<f64>>());
        Some(Self { value: median(|row| row.value), change: median(|row| row.change), ..*last })
    }
}

/// A curve in bounded memory: exact up to 2,048 rows, from then on 128 to 256 blocks of equal row count.
///
/// Blocks of 16 rows hold the median of their rows; where neighbours are merged, the mean of
/// their medians. It is the same whether the rows came at once or one by one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(into = "Kept", from = "Kept")]
pub struct Trace {
    rows: u64,
    /// Rows in each of the blocks: 1, then [`LEAF`] times a power of two.
    points: Vec<Point>,
    rows_per_point: u64,
    /// Rows that fill no leaf yet.
    leaf: Vec<Point>,
    /// Merged leaves that fill no block yet, the largest first, each twice the size of the next.
    partial: Vec<(u64, Point)>,
    newest: Vec<Point>,
}

/// A trace as it is kept between two sittings.
#[derive(Serialize, Deserialize)]
struct Kept {
    rows: u64,
    rows_per_point: u64,
    points: Columns,
    leaf: Columns,
    partial_rows: Vec<u64>,
    partial: Columns,
    /// How many they are; of a short curve they are its last points.
    newest_rows: usize,
    newest: Columns,
}

impl From<Trace> for Kept {
    fn from(trace: Trace) -> Self {
        let is_exact = trace.rows_per_point <= 1;
        let partial: Vec<Point> = trace.partial.iter().map(|(_, block)| *block).collect();
        Self {
            rows: trace.rows,
            rows_per_point: trace.rows_per_point,
            points: if is_exact { Columns::of_first_rows(&trace.points) } else { Columns::of(&trace.points) },
            leaf: Columns::of(&trace.leaf),
            partial_rows: trace.partial.iter().map(|(rows, _)| *rows).collect(),
            partial: Columns::of(&partial),
            newest_rows: trace.newest.len(),
            newest: if is_exact { Columns::default() } else { Columns::of(&trace.newest) },
        }
    }
}

impl From<Kept> for Trace {
    fn from(kept: Kept) -> Self {
        let points = kept.points.into_points();
        let newest = if kept.rows_per_point <= 1 {
            points[points.len().saturating_sub(kept.newest_rows)..].to_vec()
        } else {
            kept.newest.into_points()
        };
        Self {
            rows: kept.rows,
            points,
            rows_per_point: kept.rows_per_point,
            leaf: kept.leaf.into_points(),
            partial: kept.partial_rows.into_iter().zip(kept.partial.into_points()).collect(),
            newest,
        }
    }
}

impl Trace {
    /// Takes a row. One that is not finite is passed over.
    pub fn push(&mut self, step: i64, time_s: f64, value: f64) {
        if !value.is_finite() {
            return;
        }
        let before = self.newest.last().map(|row| row.value);
        let change = before.map_or(f64::NAN, |before| (value - before).abs());
        let row = Point { step, time_s, value, change };
        self.rows += 1;
        self.keep_newest(row);
        if self.rows <= EXACT as u64 {
            self.rows_per_point = 1;
            self.points.push(row);
            return;
        }
        if self.rows_per_point == 1 {
            self.points = self.points.chunks(LEAF).filter_map(Point::block).collect();
            self.rows_per_point = LEAF as u64;
        }
        self.leaf.push(row);
        if self.leaf.len() == LEAF {
            self.carry();
        }
    }

    fn keep_newest(&mut self, row: Point) {
        if self.newest.len() == 2 * NEWEST {
            self.newest.drain(..NEWEST);
        }
        self.newest.push(row);
    }

    /// Adds the full leaf as a binary counter adds one.
    fn carry(&mut self) {
        let Some(mut block) = Point::block(&self.leaf) else { return };
        let mut rows = LEAF as u64;
        self.leaf.clear();
        while let Some((size, before)) = self.partial.pop_if(|(size, _)| *size == rows) {
            block = before.join(block);
            rows += size;
        }
        if rows < self.rows_per_point {
            self.partial.push((rows, block));
            return;
        }
        self.points.push(block);
        if self.points.len() == BLOCKS {
            self.points = self.points.chunks_exact(2).map(|pair| pair[0].join(pair[1])).collect();
            self.rows_per_point *= 2;
        }
    }

    /// Finite rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Values of the points from a share of them to another, which lie before the newest one.
    pub(super) fn values_between(&self, from: f64, to: f64) -> Vec<f64> {
        let points = self.points.len() + usize::from(!self.partial.is_empty() || !self.leaf.is_empty());
        let place = |share: f64| (points as f64 * share) as usize;
        let to = place(to).clamp(1, self.points.len().max(1)).min(self.points.len());
        self.points[place(from).min(to)..to].iter().map(|point| point.value).collect()
    }

    /// Step of the first row, of a long curve that of the first block.
    pub fn first_step(&self) -> Option<i64> {
        self.points.first().map(|point| point.step)
    }

    /// The newest row.
    pub fn last(&self) -> Option<Point> {
        self.newest.last().copied()
    }

    /// The newest rows, oldest first, at most [`NEWEST`].
    pub fn newest(&self) -> &[Point] {
        &self.newest[self.newest.len().saturating_sub(NEWEST)..]
    }

    /// The curve as whole-run rules see it.
    pub fn outline(&self) -> Outline {
        let mut outline = Outline::new(&self.points, self.rows, self.newest());
        // The rows behind the last full block, as one more point.
        let merged =
            self.partial.iter().rev().map(|(_, block)| *block).reduce(|next, before| before.join(next));
        let tail = merged.or_else(|| Point::block(&self.leaf));
        tail.into_iter().for_each(|tail| outline.push(tail));
        let (step, time_s) = (outline.steps.last_mut(), outline.times_s.last_mut());
        if let (Some(step), Some(time_s), Some(newest)) = (step, time_s, self.last()) {
            (*step, *time_s) = (newest.step, newest.time_s);
        }
        outline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(rows: usize) -> Trace {
        let mut trace = Trace::default();
        (0..rows).for_each(|row| trace.push(row as i64, row as f64, row as f64));
        trace
    }

    #[test]
    fn a_short_curve_is_exact() {
        let outline = trace(EXACT).outline();
        assert_eq!((outline.len(), outline.rows), (EXACT, EXACT as u64));
        assert_eq!(outline.values[100], 100.0);
        assert!(outline.changes[0].is_nan());
        assert_eq!(outline.changes[1], 1.0);
    }

    #[test]
    fn a_long_curve_is_bounded_and_keeps_its_course() {
        for rows in [EXACT + 1, 4_095, 4_097, 100_000, 123_457] {
            let trace = trace(rows);
            let outline = trace.outline();
            assert!((128..=BLOCKS + 1).contains(&outline.len()), "{rows}: {}", outline.len());
            assert!(trace.partial.len() < 20 && trace.leaf.len() < LEAF && trace.newest.len() <= 2 * NEWEST);
            assert_eq!(*outline.steps.last().unwrap(), rows as i64 - 1);
            assert!(outline.values.is_sorted() && outline.steps.is_sorted());
            let per = trace.rows_per_point as f64;
            // A block of a straight line has its value in its middle.
            let middle = outline.steps[5] as f64 - (per - 1.0) / 2.0;
            assert!((outline.values[5] - middle).abs() < 1e-9, "{rows}");
            assert_eq!(outline.changes[5], 1.0);
        }
    }

    #[test]
    fn what_is_not_finite_is_passed_over() {
        let mut trace = trace(10);
        trace.push(10, 10.0, f64::NAN);
        trace.push(11, 11.0, f64::INFINITY);
        assert_eq!((trace.rows(), trace.last().unwrap().step), (10, 9));
    }
}
