//! What the newest accepted rows of a run are like: their level, and how far rows lie from the level
//! that was known before them.

use super::super::LANES;
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
const MOST_ABOVE: usize = 6;
const SIGMAS_OF_UPPER: f64 = 2.2;

impl Ring<CHANGES> {
    /// Standard deviation of the noise by the median change, of two middle ones the greater; 0 of none.
    fn noise(&self) -> f64 {
        // Numbers that are not negative are in the order of their bits, which compare quicker.
        let mut bits = [0; CHANGES];
        bits.iter_mut().zip(&self.numbers).for_each(|(bits, number)| *bits = number.to_bits());
        let changes = &mut bits[..self.numbers.len()];
        if changes.is_empty() {
            return 0.0;
        }
        let middle = changes.len() / 2;
        robust::noise(&[f64::from_bits(*changes.select_nth_unstable(middle).1)])
    }
}

/// The newest accepted rows.
///
/// A row's distance is from the median of the rows *before* it, as is the distance of a row that is
/// judged: a trend, noise with a memory or a second mode show in both alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Window {
    recent: Rolling,
    distances: Ring<DISTANCES>,
    /// Distances of rows from the row before, and from the one before that.
    changes: Ring<CHANGES>,
    wider_changes: Ring<CHANGES>,
    last: Option<f64>,
    before_last: Option<f64>,
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
        Self {
            recent: Rolling::new(LEVEL_ROWS),
            distances: Ring::default(),
            changes: Ring::default(),
            wider_changes: Ring::default(),
            last: None,
            before_last: None,
            rows: 0,
        }
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
        if let Some(before_last) = self.before_last {
            self.wider_changes.push((value - before_last).abs());
        }
        self.before_last = self.last.replace(value);
        if let Some(last) = self.before_last {
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

    /// Robust standard deviation of the rows: by their changes from row to row or over two rows, which no
    /// trend moves, the lesser because rows may alternate; or by the upper tail of the distances where noise
    /// has a memory, a heavy tail, or a second mode.
    pub(super) fn spread(&self) -> f64 {
        let by_changes = self.changes.noise().min(self.wider_changes.noise());
        if !self.surely_spread(by_changes) {
            return by_changes;
        }
        let distances = &self.distances.numbers;
        nth_largest(distances, rank(distances.len())) / SIGMAS_OF_UPPER
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
    ((UPPER * count as f64) as usize).clamp(1, MOST_ABOVE)
}

/// The largest but so many, which are few; 0 where there are fewer.
fn nth_largest(numbers: &[f64], but: usize) -> f64 {
    let mut largest = [f64::NEG_INFINITY; MOST_ABOVE + 1];
    for chunk in numbers.chunks(LANES) {
        // Seldom one of them is among the largest.
        if chunk.iter().fold(false, |found, number| found | (*number > largest[but])) {
            chunk.iter().for_each(|&number| insert(&mut largest[..=but], number));
        }
    }
    if numbers.len() > but { largest[but] } else { 0.0 }
}

/// Puts a number among the largest, which are in descending order.
fn insert(largest: &mut [f64], number: f64) {
    let at = largest.partition_point(|&other| other > number);
    if let Some(smaller) = largest.get_mut(at..).filter(|smaller| !smaller.is_empty()) {
        smaller.rotate_right(1);
        smaller[0] = number;
    }
}
