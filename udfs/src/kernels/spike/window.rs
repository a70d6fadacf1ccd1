//! The newest accepted rows of a run: their median, and how far they spread around their drift.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Accepted rows in the window.
pub(super) const WINDOW: usize = 128;

/// A normal distribution's standard deviation in median distances from its middle.
const SIGMA_OF_MEDIAN: f64 = 1.4826;
/// The upper 2.5 % of a normal distribution, in standard deviations; a little wider than 1.96.
const SIGMAS_OF_UPPER: f64 = 2.2;
/// Room for the rounding of a comparison that need not be exact.
const SLACK: f64 = 1e-9;

/// The newest accepted rows, at most [`WINDOW`], in order of arrival and of size.
///
/// Nothing is sorted anew: a row costs three binary searches and one move within the sorted rows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Window {
    /// Rows, oldest first.
    rows: VecDeque<f64>,
    /// The same values in ascending order.
    sorted: Vec<f64>,
    /// Bit `i` says that `sorted[i]` is one of the older half of the rows. Which of several equal
    /// values bears the bit is open.
    older: u128,
}

impl Window {
    /// A window that holds `rows`, oldest first.
    pub(super) fn of(rows: impl Iterator<Item = f64>) -> Self {
        let mut window = Self::default();
        rows.for_each(|value| window.accept(value));
        window
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Median of the rows.
    pub(super) fn baseline(&self) -> f64 {
        median_of_sorted(&self.sorted)
    }

    /// Takes the newest row, in place of the oldest one when the window is full.
    pub(super) fn accept(&mut self, value: f64) {
        if self.len() < WINDOW {
            self.grow(value);
        } else {
            self.slide(value);
        }
    }

    fn grow(&mut self, value: f64) {
        let at = place(&self.sorted, value);
        self.sorted.insert(at, value);
        self.rows.push_back(value);
        self.older = with_bit(self.older, at);
        let older = self.older.count_ones() as usize;
        if older < self.len() / 2 {
            self.mark_older(place(&self.sorted, self.rows[older]));
        }
    }

    fn slide(&mut self, value: f64) {
        // A search in a known number of values is quicker.
        let Some(sorted) = self.sorted.first_chunk_mut::<WINDOW>() else { return };
        let oldest = self.rows.pop_front().unwrap_or(value);
        self.rows.push_back(value);
        let middle = self.rows[WINDOW / 2 - 1];
        // All three searches before the first change: none has to wait for another.
        let [gone, at, turned] = [oldest, value, middle].map(|value| place(sorted, value));
        let at = at - usize::from(oldest < value);
        let turned = turned - usize::from(oldest < middle) + usize::from(value < middle);
        replace(sorted, gone, at, value);
        let bit = (self.older & !below(gone)).trailing_zeros() as usize;
        self.older = with_bit(without_bit(self.older, bit), at);
        self.mark_older(turned);
    }

    /// Hands a row to the older half: the one at `place`, or an equal one behind it.
    fn mark_older(&mut self, place: usize) {
        let bit = (!self.older & !below(place)).trailing_zeros();
        self.older |= 1_u128.checked_shl(bit).unwrap_or_default();
    }

    /// Medians of the older and the newer half.
    fn half_medians(&self) -> (f64, f64) {
        let half = self.len() / 2;
        (self.median_of(self.older, half), self.median_of(!self.older, self.len() - half))
    }

    /// Median of the lowest `count` sorted rows whose bits are set.
    fn median_of(&self, bits: u128, count: usize) -> f64 {
        let place = nth_bit(bits, count / 2);
        let upper = self.sorted.get(place).copied().unwrap_or_default();
        if count % 2 == 1 {
            return upper;
        }
        let before = 127 - (bits & below(place)).leading_zeros().min(127) as usize;
        0.5 * self.sorted.get(before).copied().unwrap_or_default() + 0.5 * upper
    }

    /// Distances of the rows from the line through the medians of their halves.
    pub(super) fn residuals(&self) -> Residuals {
        let (older, newer) = self.half_medians();
        let half = self.len() / 2;
        let centre = (half as f64 - 1.0) / 2.0;
        let slope = (newer - older) / (self.len() as f64 / 2.0).max(1.0);
        let mut residuals = Residuals { values: [0.0; WINDOW], len: self.len() };
        let (front, back) = self.rows.as_slices();
        let (values, more) = residuals.values.split_at_mut(front.len());
        values.copy_from_slice(front);
        more[..back.len()].copy_from_slice(back);
        for (index, value) in (0_i32..).zip(&mut residuals.values) {
            *value -= older + slope * (f64::from(index) - centre);
        }
        residuals
    }
}

/// Distances of the rows of a window from its drift.
pub(super) struct Residuals {
    values: [f64; WINDOW],
    len: usize,
}

impl Residuals {
    /// Whether the rows surely spread by `sigmas` or more; much cheaper than [`Residuals::spread`].
    pub(super) fn surely_spread(&self, sigmas: f64) -> bool {
        let limit = sigmas / SIGMA_OF_MEDIAN * (1.0 + SLACK);
        let far = self.count(|residual| residual.abs() >= limit);
        far > self.len / 2
    }

    fn count(&self, is_counted: impl Fn(f64) -> bool) -> usize {
        self.values[..self.len].iter().map(|&residual| u64::from(is_counted(residual))).sum::<u64>() as usize
    }

    /// Robust standard deviation: the larger of what the median distance and the upper 2.5 % say.
    pub(super) fn spread(&self) -> f64 {
        let values = &self.values[..self.len];
        let typical = SIGMA_OF_MEDIAN * median_distance(values);
        // Nearest rank: the smallest value with at least 97.5 % of all at or below it.
        let rank = (self.len * 39).div_ceil(40).saturating_sub(1);
        let limit = SIGMAS_OF_UPPER * typical * (1.0 - SLACK);
        let within = self.count(|residual| residual <= limit);
        match rank.checked_sub(within) {
            Some(rank) => typical.max(self.nth_above(limit, rank) / SIGMAS_OF_UPPER),
            None => typical,
        }
    }

    /// Value of rank `rank` (from 0) among those above `limit`, as far as there are so many.
    fn nth_above(&self, limit: f64, rank: usize) -> f64 {
        let mut above = [0.0; WINDOW];
        let mut count = 0;
        for &residual in &self.values[..self.len] {
            above[count] = residual;
            count += usize::from(residual > limit || residual.is_nan());
        }
        *above[..count].select_nth_unstable_by(rank, f64::total_cmp).1
    }
}

/// Median of the absolute values.
fn median_distance(values: &[f64]) -> f64 {
    let mut keys = [0_u64; WINDOW];
    let keys = &mut keys[..values.len()];
    // Bits of numbers without a sign have the order of the numbers.
    for (key, value) in keys.iter_mut().zip(values) {
        *key = value.abs().to_bits();
    }
    let len = keys.len();
    let (lower, &mut upper, _) = keys.select_nth_unstable(len / 2);
    let upper = f64::from_bits(upper);
    match lower.iter().max() {
        Some(&lower) if len % 2 == 0 => 0.5 * f64::from_bits(lower) + 0.5 * upper,
        _ => upper,
    }
}

/// Takes `sorted[gone]` out and puts `value` at `at`, moving what lies between.
fn replace(sorted: &mut [f64], gone: usize, at: usize, value: f64) {
    if gone < at {
        sorted.copy_within(gone + 1..=at, gone);
    } else {
        sorted.copy_within(at..gone, at + 1);
    }
    sorted[at] = value;
}

/// Values of an ascending slice that are less than `value`.
fn place(sorted: &[f64], value: f64) -> usize {
    sorted.partition_point(|&other| other < value)
}

/// All bits below `bit`.
fn below(bit: usize) -> u128 {
    (1_u128 << bit.min(127)) - 1
}

/// Puts a bit in that is not set and moves those from there on up.
fn with_bit(bits: u128, bit: usize) -> u128 {
    let low = below(bit);
    (bits & low) | ((bits & !low) << 1)
}

/// Takes a bit out and moves those above down.
fn without_bit(bits: u128, bit: usize) -> u128 {
    let low = below(bit);
    (bits & low) | ((bits >> 1) & !low)
}

/// Position of the set bit that has `n` set bits below it; past the last one when there is none.
fn nth_bit(bits: u128, n: usize) -> usize {
    let (low, n) = (bits as u64, n as u64);
    let count = u64::from(low.count_ones());
    if n < count { nth_bit_of_word(low, n) } else { 64 + nth_bit_of_word((bits >> 64) as u64, n - count) }
}

/// [`nth_bit`] by the numbers of set bits in ever smaller fields, all counted side by side.
fn nth_bit_of_word(word: u64, mut n: u64) -> usize {
    let twos = word - ((word >> 1) & 0x5555_5555_5555_5555);
    let fours = (twos & 0x3333_3333_3333_3333) + ((twos >> 2) & 0x3333_3333_3333_3333);
    let eights = (fours + (fours >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    let sixteens = (eights + (eights >> 8)) & 0x00ff_00ff_00ff_00ff;
    let thirty_twos = (sixteens + (sixteens >> 16)) & 0x0000_ffff_0000_ffff;
    let mut start = 0;
    for (width, counts) in [(32, thirty_twos), (16, sixteens), (8, eights), (4, fours), (2, twos), (1, word)]
    {
        let count = (counts >> start) & ((1 << width) - 1);
        if n >= count {
            n -= count;
            start += width;
        }
    }
    start
}

/// Median of an ascending slice; 0 for an empty one.
pub(super) fn median_of_sorted(values: &[f64]) -> f64 {
    let len = values.len();
    if len == 0 {
        return 0.0;
    }
    0.5 * values[(len - 1) / 2] + 0.5 * values[len / 2]
}

#[cfg(test)]
mod tests;
