//! The newest values of a curve, put in order only when that is asked for.

use super::robust::{median_in_place, median_of_sorted};
use super::rolling::Kept;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Values that may be out of order before all are sorted anew.
const PENDING: usize = 32;

/// The newest finite values, at most `width`, as [`Rolling`](super::Rolling) has them. A value costs next to
/// nothing; bounds of the median are known at once, and the median itself when it is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "Kept", from = "Kept")]
pub struct Recent {
    width: usize,
    /// Oldest first.
    newest: VecDeque<f64>,
    /// Least and greatest since so many values, and of as many values as the window has before them.
    since: usize,
    now: (f64, f64),
    before: (f64, f64),
    /// The window in order, but for the newest values.
    sorted: Vec<f64>,
    /// Values that came since it was in order, each with the one it took the place of.
    pending: Vec<(Option<f64>, f64)>,
    is_sorted: bool,
}

impl From<Recent> for Kept {
    fn from(window: Recent) -> Self {
        Self { width: window.width, newest: window.newest }
    }
}

impl From<Kept> for Recent {
    fn from(kept: Kept) -> Self {
        let mut window = Self::new(kept.width);
        kept.newest.into_iter().for_each(|value| window.push(value));
        window
    }
}

impl PartialEq for Recent {
    fn eq(&self, other: &Self) -> bool {
        (self.width, &self.newest) == (other.width, &other.newest)
    }
}

const NOTHING: (f64, f64) = (f64::INFINITY, f64::NEG_INFINITY);

impl Recent {
    /// An empty window for at least one value.
    pub fn new(width: usize) -> Self {
        Self {
            width: width.max(1),
            newest: VecDeque::new(),
            since: 0,
            now: NOTHING,
            before: NOTHING,
            sorted: Vec::new(),
            pending: Vec::new(),
            is_sorted: true,
        }
    }

    /// Values in it.
    pub fn len(&self) -> usize {
        self.newest.len()
    }

    /// Takes a value, in place of the oldest one when it is full. A NaN is passed over.
    pub fn push(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        // Zero has one sign here, so that equal values are the same.
        let value = value + 0.0;
        let oldest = if self.len() == self.width { self.newest.pop_front() } else { None };
        self.newest.push_back(value);
        if self.since == self.width {
            (self.since, self.before, self.now) = (0, self.now, NOTHING);
        }
        self.since += 1;
        self.now = (self.now.0.min(value), self.now.1.max(value));
        if self.pending.len() == PENDING {
            self.is_sorted = false;
        }
        if self.is_sorted {
            self.pending.push((oldest, value));
        }
    }

    /// No value in it is less.
    pub fn least(&self) -> f64 {
        self.now.0.min(self.before.0)
    }

    /// No value in it is greater.
    pub fn greatest(&self) -> f64 {
        self.now.1.max(self.before.1)
    }

    /// What the median is not below: of a window in order but for some newest values, each of them moves it
    /// by one place at most.
    pub fn median_at_least(&mut self) -> f64 {
        self.put_in_order_if_lost();
        let place = (self.len().saturating_sub(1) / 2).checked_sub(self.pending.len());
        place.and_then(|place| self.sorted.get(place)).copied().unwrap_or(f64::NEG_INFINITY)
    }

    /// What the median is not above.
    pub fn median_at_most(&mut self) -> f64 {
        self.put_in_order_if_lost();
        let place = self.len() / 2 + self.pending.len();
        self.sorted.get(place).copied().unwrap_or(f64::INFINITY)
    }

    /// Median; NaN when it is empty.
    pub fn median(&mut self) -> f64 {
        self.put_in_order();
        median_of_sorted(&self.sorted)
    }

    /// Median distance from the median; NaN when it is empty.
    pub fn median_distance(&mut self) -> f64 {
        let median = self.median();
        let mut distances: Vec<f64> = self.sorted.iter().map(|value| (value - median).abs()).collect();
        median_in_place(&mut distances)
    }

    fn put_in_order_if_lost(&mut self) {
        if !self.is_sorted {
            self.put_in_order();
        }
    }

    fn put_in_order(&mut self) {
        if !self.is_sorted {
            self.sorted.clear();
            self.sorted.extend(&self.newest);
            self.sorted.sort_unstable_by(f64::total_cmp);
            (self.is_sorted, self.pending) = (true, Vec::with_capacity(PENDING));
            return;
        }
        for (oldest, value) in self.pending.drain(..) {
            if let Some(oldest) = oldest {
                let at = self.sorted.partition_point(|other| *other < oldest);
                self.sorted.remove(at);
            }
            let at = self.sorted.partition_point(|other| *other < value);
            self.sorted.insert(at, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rolling;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn says_what_a_window_in_order_says(
            values in prop::collection::vec((-9_i8..9, any::<bool>(), any::<bool>()), 0..300),
            width in 1_usize..80,
        ) {
            let (mut lazy, mut rolling) = (Recent::new(width), Rolling::new(width));
            for (value, is_bounded, is_asked) in values {
                lazy.push(f64::from(value));
                rolling.push(f64::from(value));
                let median = rolling.median();
                prop_assert!(lazy.least() <= median && median <= lazy.greatest());
                if is_bounded {
                    prop_assert!(lazy.median_at_least() <= median && median <= lazy.median_at_most());
                }
                if is_asked {
                    prop_assert_eq!(lazy.median(), median);
                    prop_assert_eq!(lazy.median_distance(), rolling.median_distance());
                }
            }
            prop_assert_eq!(lazy.len(), rolling.len());
        }
    }
}
