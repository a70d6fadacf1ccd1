//! What the newest accepted rows of a run are like: their level, and how far rows lie from the level
//! that was known before them.

use super::super::diagnosis::{Rolling, robust};
use serde::{Deserialize, Serialize};

/// Accepted rows whose median is the level.
const LEVEL_ROWS: usize = 48;
/// Rows from which on there is a level to measure a row against.
const FIRST_LEVEL: usize = 5;
/// Distances that are kept.
const DISTANCES: usize = 256;
/// Changes from row to row that are kept.
const CHANGES: usize = 64;
/// Share of the distances that the upper quantile leaves above it, and where that of a normal
/// distribution lies, in standard deviations, a little wider.
const UPPER: f64 = 0.025;
const SIGMAS_OF_UPPER: f64 = 2.2;

/// The newest accepted rows.
///
/// A row's distance is from the median of the rows *before* it, as is the distance of a row that is
/// judged: a trend, noise with a memory or a second mode show in both alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Window {
    recent: Rolling,
    distances: Ring<DISTANCES>,
    changes: Ring<CHANGES>,
    last: Option<f64>,
    /// Accepted rows.
    rows: u64,
}

/// The newest numbers, in no order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Ring<const SIZE: usize> {
    numbers: Vec<f64>,
    next: usize,
}

impl<const SIZE: usize> Ring<SIZE> {
    fn push(&mut self, number: f64) {
        match self.numbers.get_mut(self.next) {
            Some(oldest) => *oldest = number,
            None => self.numbers.push(number),
        }
        self.next = (self.next + 1) % SIZE;
    }
}

impl Default for Window {
    fn default() -> Self {
        let recent = Rolling::new(LEVEL_ROWS);
        Self { recent, distances: Ring::default(), changes: Ring::default(), last: None, rows: 0 }
    }
}

impl Window {
    /// Accepted rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Median of the newest rows.
    pub(super) fn baseline(&self) -> f64 {
        self.recent.median()
    }

    /// Takes the newest row.
    pub(super) fn accept(&mut self, value: f64) {
        if self.recent.len() >= FIRST_LEVEL {
            self.learn(value - self.baseline());
        }
        if let Some(last) = self.last.replace(value) {
            self.changes.push((value - last).abs());
        }
        self.recent.push(value);
        self.rows += 1;
    }

    /// Takes the distance of a row that does not change the level.
    pub(super) fn learn(&mut self, distance: f64) {
        self.distances.push(distance);
    }

    /// The level is that of these rows from here on; how far rows lie from it is still known.
    pub(super) fn refill(&mut self, rows: impl Iterator<Item = f64>) {
        self.recent = Rolling::new(LEVEL_ROWS);
        rows.for_each(|value| self.recent.push(value));
    }

    /// Robust standard deviation of the rows: by their changes, which no trend moves, or by their
    /// distances, which no alternation moves; or by the upper tail of the distances where noise has a
    /// memory, a heavy tail, or a second mode.
    pub(super) fn spread(&self) -> f64 {
        let distances = &self.distances.numbers;
        let by_tail = nth_largest(distances, rank(distances.len())) / SIGMAS_OF_UPPER;
        robust::noise(&self.changes.numbers).min(robust::mad(distances)).max(by_tail)
    }

    /// The largest distance but one, which may be an outlier.
    pub(super) fn usual_extreme(&self) -> f64 {
        nth_largest(&self.distances.numbers, 1)
    }

    /// Whether the spread is surely above `limit`, by a count that costs little.
    pub(super) fn surely_spread(&self, limit: f64) -> bool {
        let (distances, bound) = (&self.distances.numbers, limit * SIGMAS_OF_UPPER);
        let above = distances.iter().map(|&distance| usize::from(distance > bound)).sum::<usize>();
        above > rank(distances.len())
    }
}

/// How many distances lie above the upper quantile: one at least, which may be an outlier.
fn rank(count: usize) -> usize {
    ((UPPER * count as f64) as usize).max(1)
}

/// The largest but so many; 0 where there are fewer.
fn nth_largest(numbers: &[f64], but: usize) -> f64 {
    let Some(place) = numbers.len().checked_sub(but + 1) else { return 0.0 };
    *numbers.to_vec().select_nth_unstable_by(place, f64::total_cmp).1
}
