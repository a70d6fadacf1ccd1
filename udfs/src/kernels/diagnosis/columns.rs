//! Points of a curve as they are kept between two sittings: column by column, in few bytes.

use super::trace::Point;
use serde::{Deserialize, Serialize};

/// Points, each column as differences or in as few bytes as lose nothing.
///
/// A step or time is its distance from the one before. Whole numbers are written in as many bytes as they need.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Columns {
    steps: Vec<i64>,
    times: Times,
    values: Numbers,
    /// None where each is the distance of a value from the one before.
    changes: Option<Numbers>,
}

/// Times of points: none known, in whole microseconds as most are, or the bits of any.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
enum Times {
    #[default]
    None,
    Microseconds(Vec<i64>),
    Bits(Vec<u64>),
}

const MICROSECONDS: f64 = 1e6;

impl Times {
    fn of(points: &[Point]) -> Self {
        let times = points.iter().map(|point| point.time_s);
        if times.clone().all(f64::is_nan) {
            return Self::None;
        }
        let whole = |time_s: f64| {
            let microseconds = (time_s * MICROSECONDS).round() as i64;
            ((microseconds as f64 / MICROSECONDS).to_bits() == time_s.to_bits()).then_some(microseconds)
        };
        let whole: Option<Vec<i64>> = times.clone().map(whole).collect();
        whole.map_or_else(
            || Self::Bits(times.map(f64::to_bits).collect()),
            |whole| Self::Microseconds(distances(whole)),
        )
    }

    fn into_seconds(self) -> Vec<f64> {
        match self {
            Self::None => Vec::new(),
            Self::Microseconds(times) => {
                sums(times).into_iter().map(|time| time as f64 / MICROSECONDS).collect()
            }
            Self::Bits(times) => times.into_iter().map(f64::from_bits).collect(),
        }
    }
}

/// Each number's distance from the one before, that of the first from zero.
fn distances(mut numbers: Vec<i64>) -> Vec<i64> {
    let mut before = 0_i64;
    for number in &mut numbers {
        *number = number.wrapping_sub(std::mem::replace(&mut before, *number));
    }
    numbers
}

/// The numbers whose distances these are.
fn sums(mut distances: Vec<i64>) -> Vec<i64> {
    let mut sum = 0_i64;
    for number in &mut distances {
        sum = sum.wrapping_add(*number);
        *number = sum;
    }
    distances
}

/// Numbers that are all in single precision, as most losses are logged, or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Numbers {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl Default for Numbers {
    fn default() -> Self {
        Self::Single(Vec::new())
    }
}

impl Numbers {
    fn of(numbers: impl Iterator<Item = f64> + Clone) -> Self {
        if numbers.clone().all(|number| f64::from(number as f32) == number) {
            Self::Single(numbers.map(|number| number as f32).collect())
        } else {
            Self::Double(numbers.collect())
        }
    }

    fn into_doubles(self) -> Vec<f64> {
        match self {
            Self::Single(numbers) => numbers.into_iter().map(f64::from).collect(),
            Self::Double(numbers) => numbers,
        }
    }
}

/// How far each value is from the one before; NaN of the first.
fn changes(values: &[f64]) -> Vec<f64> {
    let first = values.first().map(|_| f64::NAN);
    first.into_iter().chain(values.windows(2).map(|pair| (pair[1] - pair[0]).abs())).collect()
}

impl Columns {
    /// Blocks, or rows that follow others.
    pub fn of(points: &[Point]) -> Self {
        let changes = Numbers::of(points.iter().map(|point| point.change));
        Self { changes: Some(changes), ..Self::of_first_rows(points) }
    }

    /// The first rows of a curve: their changes follow from their values.
    pub fn of_first_rows(points: &[Point]) -> Self {
        Self {
            steps: distances(points.iter().map(|point| point.step).collect()),
            times: Times::of(points),
            values: Numbers::of(points.iter().map(|point| point.value)),
            changes: None,
        }
    }

    /// The points again.
    pub fn into_points(self) -> Vec<Point> {
        let values = self.values.into_doubles();
        let changes = self.changes.map_or_else(|| changes(&values), Numbers::into_doubles);
        let times = self.times.into_seconds().into_iter();
        let rest = times.chain(std::iter::repeat(f64::NAN)).zip(values).zip(changes);
        let point = |(step, ((time_s, value), change))| Point { step, time_s, value, change };
        sums(self.steps).into_iter().zip(rest).map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(point: &Point) -> (i64, [u64; 3]) {
        let number = |number: f64| if number.is_nan() { u64::MAX } else { number.to_bits() };
        (point.step, [point.time_s, point.value, point.change].map(number))
    }

    proptest! {
        #[test]
        fn nothing_is_lost(
            steps in prop::collection::vec(any::<i64>(), 0..20),
            times in prop::collection::vec(prop_oneof![any::<f64>(), (0_i64..1 << 50).prop_map(|us| us as f64 / 1e6)], 20),
            values in prop::collection::vec(prop_oneof![any::<f32>().prop_map(f64::from), any::<f64>()], 20),
            (is_timed, is_single) in any::<(bool, bool)>(),
        ) {
            let value = |at: usize| if is_single { f64::from(values[at] as f32) } else { values[at] };
            let point = |(at, step): (usize, &i64)| {
                let time_s = if is_timed { times[at] } else { f64::NAN };
                Point { step: *step, time_s, value: value(at), change: times[at] }
            };
            let mut points: Vec<Point> = steps.iter().enumerate().map(point).collect();
            let again = Columns::of(&points).into_points();
            prop_assert!(points.iter().map(bits).eq(again.iter().map(bits)));
            let values: Vec<f64> = points.iter().map(|point| point.value).collect();
            points.iter_mut().zip(changes(&values)).for_each(|(point, change)| point.change = change);
            let again = Columns::of_first_rows(&points).into_points();
            prop_assert!(points.iter().map(bits).eq(again.iter().map(bits)));
        }
    }
}
