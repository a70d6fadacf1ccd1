//! The newest values of a curve, in order of size.

use super::robust::median_of_sorted;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Values that are counted through.
const COUNTED: usize = 16;

/// The newest finite values, at most `width`, oldest first and sorted.
///
/// A value costs two binary searches and one move within the sorted values: at windows of some
/// hundred values nothing that is smarter is quicker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Kept", from = "Kept")]
pub struct Rolling {
    width: usize,
    newest: VecDeque<f64>,
    sorted: Vec<f64>,
}

/// A window as it is kept between two sittings.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) width: usize,
    pub(super) newest: VecDeque<f64>,
}

impl From<Rolling> for Kept {
    fn from(window: Rolling) -> Self {
        Self { width: window.width, newest: window.newest }
    }
}

impl From<Kept> for Rolling {
    fn from(kept: Kept) -> Self {
        let mut sorted: Vec<f64> = kept.newest.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Self { width: kept.width, newest: kept.newest, sorted }
    }
}

impl Rolling {
    /// An empty window for at least one value.
    pub fn new(width: usize) -> Self {
        Self { width: width.max(1), newest: VecDeque::new(), sorted: Vec::new() }
    }

    /// Values in it.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Takes a value, in place of the oldest one when it is full. A NaN is passed over.
    pub fn push(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        // Zero has one sign here, so that equal values are the same.
        let value = value + 0.0;
        if self.len() < self.width {
            let at = self.place(value);
            self.sorted.insert(at, value);
        } else if let Some(oldest) = self.newest.pop_front() {
            self.replace(oldest, value);
        }
        self.newest.push_back(value);
    }

    /// Puts a value in the place of another: only those between them move.
    fn replace(&mut self, oldest: f64, value: f64) {
        let (from, to) = (self.place(oldest), self.place(value));
        if from < to {
            self.sorted.copy_within(from + 1..to, from);
            self.sorted[to - 1] = value;
        } else {
            self.sorted.copy_within(to..from, to + 1);
            self.sorted[to] = value;
        }
    }

    /// Values below one: whole blocks of them, and those within the next. Counting takes no decision, and is
    /// done side by side.
    fn place(&self, value: f64) -> usize {
        let (blocks, _) = self.sorted.as_chunks::<COUNTED>();
        let below = blocks.iter().map(|block| usize::from(block[COUNTED - 1] < value)).sum::<usize>();
        let rest = &self.sorted[below * COUNTED..];
        let within = rest.iter().take(COUNTED).map(|&other| usize::from(other < value)).sum::<usize>();
        below * COUNTED + within
    }

    /// Median; NaN when it is empty.
    pub fn median(&self) -> f64 {
        median_of_sorted(&self.sorted)
    }

    /// Median distance from the median; NaN when it is empty.
    ///
    /// Of two sorted rows of distances, those below the median and those above, the middle one is
    /// found by merging them.
    pub fn median_distance(&self) -> f64 {
        let median = self.median();
        let split = self.place(median);
        let mut below = self.sorted[..split].iter().rev().map(|value| median - value).peekable();
        let mut above = self.sorted[split..].iter().map(|value| value - median).peekable();
        let mut next = || match (below.peek(), above.peek()) {
            (Some(left), Some(right)) if left <= right => below.next(),
            (Some(_), None) => below.next(),
            _ => above.next(),
        };
        let count = self.len();
        let skipped = (count.saturating_sub(1)) / 2;
        let mut distance = f64::NAN;
        for _ in 0..=skipped {
            distance = next().unwrap_or(distance);
        }
        match next() {
            Some(upper) if count.is_multiple_of(2) => distance + (upper - distance) / 2.0,
            _ => distance,
        }
    }

    /// The newest values, at most `count`, the newest first.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = f64> + '_ {
        self.newest.iter().rev().take(count).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::robust::median;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn says_what_sorting_anew_says(values in prop::collection::vec(-3_i8..3, 0..60), width in 1_usize..12) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let mut window = Rolling::new(width);
            for end in 0..values.len() {
                window.push(values[end]);
                let newest = &values[(end + 1).saturating_sub(width)..=end];
                let middle = median(newest);
                prop_assert_eq!(window.median(), middle);
                let distances: Vec<f64> = newest.iter().map(|value| (value - middle).abs()).collect();
                prop_assert_eq!(window.median_distance(), median(&distances));
            }
        }
    }

    #[test]
    fn nothing_in_it() {
        let window = Rolling::new(3);
        assert!(window.is_empty() && window.median().is_nan() && window.median_distance().is_nan());
    }
}
