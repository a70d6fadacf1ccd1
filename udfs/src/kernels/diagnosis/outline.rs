//! A curve as whole-run rules see it.

use super::super::lesser;
use super::robust::{median, median_of_few, medians_of_5, noise};
use super::trace::Point;

/// Share of the rows that a run's start is.
const HEAD: f64 = 0.05;
/// Share of its range below which the level of a metric does not count.
const LEVEL_FLOOR: f64 = 0.1;

/// Share of its level that a curve comes down at least, if it moves at all.
const MOVED: f64 = 0.05;

/// A curve of at most 2,048 points: rows, or blocks of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outline {
    /// Step of each point's last row.
    pub steps: Vec<i64>,
    /// Median of each point's rows.
    pub values: Vec<f64>,
    /// Time of each point's last row in seconds, NaN where unknown.
    pub times_s: Vec<f64>,
    /// Median change from row to row within each point; NaN of the first row.
    pub changes: Vec<f64>,
    /// Finite rows of the curve.
    pub rows: u64,
    /// Its newest rows, oldest first.
    pub newest: Vec<Point>,
}

impl Outline {
    /// That of points in ascending order of step.
    pub fn new(points: &[Point], rows: u64, newest: &[Point]) -> Self {
        Self {
            steps: points.iter().map(|point| point.step).collect(),
            values: points.iter().map(|point| point.value).collect(),
            times_s: points.iter().map(|point| point.time_s).collect(),
            changes: points.iter().map(|point| point.change).collect(),
            rows,
            newest: newest.to_vec(),
        }
    }

    /// Takes one more point.
    pub(super) fn push(&mut self, point: Point) {
        self.steps.push(point.step);
        self.values.push(point.value);
        self.times_s.push(point.time_s);
        self.changes.push(point.change);
    }

    /// Points.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Rows that a point stands for.
    pub fn rows_per_point(&self) -> f64 {
        self.rows as f64 / self.len().max(1) as f64
    }

    /// Rows from a point to the end.
    pub fn rows_since(&self, point: usize) -> u64 {
        (self.len().saturating_sub(point) as f64 * self.rows_per_point()).round() as u64
    }

    /// Points of a share of the curve, at least `at_least`.
    pub fn share(&self, share: f64, at_least: usize) -> usize {
        ((self.len() as f64 * share) as usize).max(at_least)
    }

    /// The newest `points` of it.
    pub fn newest_points(&self, points: usize) -> &[f64] {
        &self.values[self.len().saturating_sub(points)..]
    }

    /// How far the curve has come: the distance between the median of its start and its best median
    /// of 5.
    pub fn range(&self) -> f64 {
        let head = &self.values[..self.share(HEAD, 5).min(self.len())];
        let best = medians_of_5(&self.values).fold(f64::INFINITY, |best, median| lesser(median, best));
        if best.is_finite() { (median(head) - best).abs() } else { 0.0 }
    }

    /// Whether it came down by more than a twentieth of its level.
    pub fn has_moved(&self) -> bool {
        self.values.last().is_some_and(|now| self.range() > MOVED * now.abs())
    }

    /// What a change from `value` is measured against: `max(|value|, 0.1 R)`.
    pub fn scale(&self, value: f64) -> f64 {
        value.abs().max(LEVEL_FLOOR * self.range())
    }

    /// Standard deviation of the noise from row to row.
    pub fn noise(&self) -> f64 {
        let changes: Vec<f64> = self.changes.iter().copied().filter(|change| !change.is_nan()).collect();
        noise(&changes)
    }

    /// The curve upside down, for a metric that is the better the higher it is.
    pub fn negated(&self) -> Self {
        let values = self.values.iter().map(|value| -value).collect();
        let newest = self.newest.iter().map(|row| Point { value: -row.value, ..*row }).collect();
        Self { values, newest, ..self.clone() }
    }

    /// The curve as it was at its first `points` points.
    pub fn prefix(&self, points: usize) -> Self {
        let points = points.min(self.len());
        let rows = (points as f64 * self.rows_per_point()).round() as u64;
        let newest = points.saturating_sub(super::trace::NEWEST)..points;
        Self {
            steps: self.steps[..points].to_vec(),
            values: self.values[..points].to_vec(),
            times_s: self.times_s[..points].to_vec(),
            changes: self.changes[..points].to_vec(),
            rows,
            newest: newest.map(|at| self.point(at)).collect(),
        }
    }

    /// The curve in at most `most` points, each the median of as many.
    pub fn coarse(&self, most: usize) -> Self {
        let width = self.len().div_ceil(most.max(1));
        if width <= 1 {
            return self.clone();
        }
        let mut blocks = Self { rows: self.rows, newest: self.newest.clone(), ..Self::default() };
        for from in (0..self.len()).step_by(width) {
            let to = (from + width).min(self.len());
            blocks.steps.push(self.steps[to - 1]);
            blocks.times_s.push(self.times_s[to - 1]);
            blocks.values.push(median_of_few(&self.values[from..to]));
            blocks.changes.push(median_of_few(&self.changes[from..to]));
        }
        blocks
    }

    fn point(&self, at: usize) -> Point {
        Point {
            step: self.steps[at],
            time_s: self.times_s[at],
            value: self.values[at],
            change: self.changes[at],
        }
    }

    /// The value at a step as a share of the highest up to there; none of a curve that is not above 0.
    pub fn share_of_peak(&self, step: i64) -> Option<f64> {
        let place = self.place(step)?;
        let peak = self.values[..=place].iter().copied().fold(0.0, f64::max);
        (peak > 0.0).then(|| self.values[place] / peak)
    }

    /// The place of the last point up to a step; none where it begins later.
    pub fn place(&self, step: i64) -> Option<usize> {
        self.steps.partition_point(|&other| other <= step).checked_sub(1)
    }
}
