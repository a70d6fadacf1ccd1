//! How far a run has come down.

use super::super::diagnosis::robust::median_of_5;
use super::super::lesser;
use serde::{Deserialize, Serialize};

/// Rows of the head of a run that are kept for its range.
const HEAD: usize = 256;

/// `R`: how far the run has come down from its head, over the rows so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Kept", from = "Kept")]
pub(super) struct RunningRange {
    rows: u64,
    /// First rows in order; at most [`HEAD`].
    head: Vec<f64>,
    /// The first 5 % of the rows (at least 5, at most [`HEAD`]) in ascending order.
    first: Vec<f64>,
    /// Newest 5 rows, as a ring.
    newest: [f64; 5],
    /// Lowest median of 5 consecutive rows.
    best: f64,
}

/// A range as it is kept between two sittings.
#[derive(Serialize, Deserialize)]
struct Kept {
    rows: u64,
    head: Vec<f64>,
    newest: [f64; 5],
    best: f64,
}

impl From<RunningRange> for Kept {
    fn from(range: RunningRange) -> Self {
        Self { rows: range.rows, head: range.head, newest: range.newest, best: range.best }
    }
}

impl From<Kept> for RunningRange {
    fn from(kept: Kept) -> Self {
        let mut range = Self {
            rows: kept.rows,
            head: kept.head,
            first: Vec::new(),
            newest: kept.newest,
            best: kept.best,
        };
        range.fill_first();
        range
    }
}

impl Default for RunningRange {
    fn default() -> Self {
        Self { rows: 0, head: Vec::new(), first: Vec::new(), newest: [0.0; 5], best: f64::INFINITY }
    }
}

impl RunningRange {
    pub(super) fn push(&mut self, value: f64) {
        self.newest[(self.rows % 5) as usize] = value;
        self.rows += 1;
        if self.rows >= 5 {
            self.best = lesser(median_of_5(self.newest), self.best);
        }
        if self.head.len() < HEAD {
            self.head.push(value);
        }
        self.fill_first();
    }

    fn fill_first(&mut self) {
        let wanted = (self.rows / 20).clamp(5, HEAD as u64) as usize;
        while self.first.len() < wanted.min(self.head.len()) {
            let next = self.head[self.first.len()];
            let at = self.first.partition_point(|&other| other < next);
            self.first.insert(at, next);
        }
    }

    pub(super) fn get(&self) -> f64 {
        if self.rows < 5 {
            return 0.0;
        }
        (median_of_sorted(&self.first) - self.best).abs()
    }
}

/// Median of values in ascending order; NaN of none.
fn median_of_sorted(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    match (values.get(middle.wrapping_sub(1)), values.get(middle)) {
        (Some(lower), Some(upper)) if values.len().is_multiple_of(2) => lower + (upper - lower) / 2.0,
        (_, Some(upper)) => *upper,
        (_, None) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_bounded() {
        let mut range = RunningRange::default();
        (0..5_000).for_each(|row| range.push(f64::from(row)));
        assert_eq!((range.head.len(), range.first.len()), (256, 250));
    }

    #[test]
    fn the_median_of_five_in_any_order() {
        let five = [-0.5, 1.0, 1.0, 2.0, 7.0];
        for order in 0..5_usize.pow(5) {
            let picked: [usize; 5] = std::array::from_fn(|place| order / 5_usize.pow(place as u32) % 5);
            let values = picked.map(|index| five[index]);
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            assert_eq!(median_of_5(values), sorted[2]);
        }
    }
}
