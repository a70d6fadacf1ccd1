//! An axis with ticks of its own choice.

use plotters::coord::ranged1d::{BoldPoints, KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use std::ops::Range;

/// An even axis with given ticks.
pub struct Ticked {
    even: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ticked {
    /// The axis over `range` with these ticks.
    pub fn new(range: &Range<f64>, ticks: Vec<f64>) -> Self {
        Self { even: range.clone().into(), ticks }
    }
}

impl Ranged for Ticked {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.even.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.even.range()
    }
}

impl ValueFormatter<f64> for Ticked {
    fn format(value: &f64) -> String {
        RangedCoordf64::format(value)
    }
}

/// Round values at even distances, at most so many.
pub fn even_ticks(y: &Range<f64>, most: usize) -> Vec<f64> {
    RangedCoordf64::from(y.clone()).key_points(BoldPoints(most.max(2)))
}

/// Logarithms of round values: 1, 2 and 5 of each power of ten where there is room, else the powers alone, or
/// every other one and so on; even values within less than a power.
pub fn log_ticks(y: &Range<f64>, most: usize) -> Vec<f64> {
    let is_inside = |tick: &f64| *tick >= y.start && *tick <= y.end;
    let (first, last) = (y.start.floor() as i32, y.end.ceil() as i32);
    let of = |digits: &[f64], every: i32| -> Vec<f64> {
        let powers = (first..=last).filter(|power| power.rem_euclid(every) == 0);
        let ticks = powers.flat_map(|power| digits.iter().map(move |digit| f64::from(power) + digit.log10()));
        ticks.filter(is_inside).collect()
    };
    let fine = of(&[1.0, 2.0, 5.0], 1);
    match fine.len() {
        0 | 1 => {
            let even = even_ticks(&(10_f64.powf(y.start)..10_f64.powf(y.end)), most);
            even.into_iter().map(f64::log10).filter(is_inside).collect()
        }
        count if count <= most => fine,
        // A power of ten has at most 700 others below and above it.
        _ => (1..=700).map(|every| of(&[1.0], every)).find(|ticks| ticks.len() <= most).unwrap_or(fine),
    }
}
