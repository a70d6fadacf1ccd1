//! Statistics that one outlier cannot move.

use super::super::{greater, lesser};

/// Standard deviation of a normal distribution in median distances from its middle.
pub const SIGMA_OF_MEDIAN: f64 = 1.4826;

/// Median of finite numbers, which are reordered; NaN of none.
pub fn median_in_place(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return f64::NAN;
    }
    let is_even = values.len().is_multiple_of(2);
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    match below.iter().copied().max_by(f64::total_cmp) {
        Some(lower) if is_even => lower + (upper - lower) / 2.0,
        _ => upper,
    }
}

/// Median of finite numbers; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    median_in_place(&mut values.to_vec())
}

/// Numbers that are put in order one by one.
const FEW: usize = 16;

/// Median of numbers, NaN passed over; NaN of none. Quick where they are few.
pub(crate) fn median_of_few(values: &[f64]) -> f64 {
    if values.len() > FEW {
        return median(&values.iter().copied().filter(|value| !value.is_nan()).collect::<Vec<f64>>());
    }
    let (mut sorted, mut count) = ([f64::INFINITY; FEW], 0);
    for &value in values.iter().filter(|value| !value.is_nan()) {
        // Each takes its place without a branch: it goes up as far as it is the greater one.
        let mut carried = value;
        for place in &mut sorted[..=count] {
            (*place, carried) = (lesser(carried, *place), greater(carried, *place));
        }
        count += 1;
    }
    median_of_sorted(&sorted[..count])
}

/// Median of numbers in ascending order; NaN of none.
pub(crate) fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(lower), Some(upper)) if sorted.len().is_multiple_of(2) => lower + (upper - lower) / 2.0,
        (_, Some(&upper)) => upper,
        (_, None) => f64::NAN,
    }
}

/// Places that are compared, one pair after the other, until 16 numbers are in order (Batcher 1968).
const PAIRS_OF_16: [(usize, usize); 63] = {
    let (mut pairs, mut count, mut merged) = ([(0, 0); 63], 0, 1);
    while merged < FEW {
        let mut apart = merged;
        while apart > 0 {
            let mut left = 0;
            while left + apart < FEW {
                let is_in_step = left >= apart % merged && (left - apart % merged) % (2 * apart) < apart;
                if is_in_step && left / (2 * merged) == (left + apart) / (2 * merged) {
                    pairs[count] = (left, left + apart);
                    count += 1;
                }
                left += 1;
            }
            apart /= 2;
        }
        merged *= 2;
    }
    pairs
};

/// Medians of two lists of 16 numbers side by side.
pub(crate) fn medians_of_16(mut pairs: [[f64; 2]; FEW]) -> [f64; 2] {
    for (left, right) in PAIRS_OF_16 {
        let (one, other) = (pairs[left], pairs[right]);
        pairs[left] = [lesser(other[0], one[0]), lesser(other[1], one[1])];
        pairs[right] = [greater(one[0], other[0]), greater(one[1], other[1])];
    }
    let (lower, upper) = (pairs[FEW / 2 - 1], pairs[FEW / 2]);
    [0, 1].map(|list| lower[list] + (upper[list] - lower[list]) / 2.0)
}

/// The number below which a share of the finite numbers lies (nearest rank); NaN of none.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    let last = values.len().saturating_sub(1);
    let rank = (share * last as f64).round() as usize;
    if values.is_empty() {
        return f64::NAN;
    }
    *values.select_nth_unstable_by(rank.min(last), f64::total_cmp).1
}

/// Robust standard deviation around the median; 0 of none.
pub fn mad(values: &[f64]) -> f64 {
    let middle = median(values);
    let mut distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    spread(median_in_place(&mut distances))
}

/// Standard deviation of the noise of a curve by its changes from row to row: blind to a trend.
/// 0 of none.
pub fn noise(changes: &[f64]) -> f64 {
    spread(median(changes)) / std::f64::consts::SQRT_2
}

/// As [`noise`], of the values themselves.
pub fn noise_of(values: &[f64]) -> f64 {
    let changes: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    noise(&changes)
}

fn spread(median_distance: f64) -> f64 {
    if median_distance.is_nan() { 0.0 } else { SIGMA_OF_MEDIAN * median_distance }
}

/// Median of 3 finite numbers.
fn median_of_3([a, b, c]: [f64; 3]) -> f64 {
    greater(lesser(a, b), lesser(greater(a, b), c))
}

/// Median of 5 finite numbers.
pub(crate) fn median_of_5([a, b, c, d, e]: [f64; 5]) -> f64 {
    // Neither the lowest nor the highest of four can be the median of five.
    let low = greater(lesser(a, b), lesser(c, d));
    let high = lesser(greater(a, b), greater(c, d));
    median_of_3([low, high, e])
}

/// Medians of each 5 finite numbers that follow each other.
pub(crate) fn medians_of_5(values: &[f64]) -> impl Iterator<Item = f64> + '_ {
    values.array_windows().copied().map(median_of_5)
}

/// Medians of `blocks` blocks of nearly equal length; fewer where there are fewer values.
pub fn block_medians(values: &[f64], blocks: usize) -> Vec<f64> {
    let blocks = blocks.min(values.len());
    let edge = |block| super::super::bucket_edge(block, values.len(), blocks);
    let mut values = values.to_vec();
    (0..blocks).map(|block| median_in_place(&mut values[edge(block)..edge(block + 1)])).collect()
}

/// Median of each finite value and the `width - 1` before it, fewer at the start.
pub fn trailing_medians(values: &[f64], width: usize) -> Vec<f64> {
    if width == 5 && values.len() > 4 {
        let mut medians = rolling_medians(&values[..4], width);
        medians.extend(medians_of_5(values));
        return medians;
    }
    rolling_medians(values, width)
}

fn rolling_medians(values: &[f64], width: usize) -> Vec<f64> {
    let mut window = super::rolling::Rolling::new(width);
    let medians = values.iter().map(|&value| {
        window.push(value);
        window.median()
    });
    medians.collect()
}

/// Median of each finite value and `half` on either side, fewer at the ends (there as many on both sides).
pub fn centred_medians(values: &[f64], half: usize) -> Vec<f64> {
    if let ([first, .., last], 1) = (values, half) {
        let inner = values.array_windows().copied().map(median_of_3);
        return std::iter::once(*first).chain(inner).chain([*last]).collect();
    }
    let last = values.len().saturating_sub(1);
    let medians = (0..values.len()).map(|at| {
        let half = half.min(at).min(last - at);
        median(&values[at - half..=at + half])
    });
    medians.collect()
}

/// Slope of the line through evenly spaced values: the median of the slopes of all pairs (Theil
/// 1950, Sen 1968). NaN of fewer than two.
pub fn theil_sen(values: &[f64]) -> f64 {
    let mut slopes = Vec::with_capacity(values.len() * values.len() / 2);
    for (at, left) in values.iter().enumerate() {
        let later = values[at + 1..].iter().zip(1_u32..);
        slopes.extend(later.map(|(right, apart)| (right - left) / f64::from(apart)));
    }
    median_in_place(&mut slopes)
}

/// How surely finite values rise, as a standard score (Mann 1945, Kendall 1975), with ties counted. 0
/// of fewer than three.
pub fn mann_kendall(values: &[f64]) -> f64 {
    let pairs = |count: i64| count * (count - 1) / 2;
    let count = values.len() as i64;
    if count < 3 {
        return 0.0;
    }
    let mut sorted = values.to_vec();
    let falls = sort_counting_falls(&mut sorted, &mut Vec::with_capacity(values.len() / 2));
    let ties = || sorted.chunk_by(|left, right| left == right).map(|group| group.len() as i64);
    let score = pairs(count) - ties().map(pairs).sum::<i64>() - 2 * falls;
    let variance = (of_ties(count as f64) - ties().map(|ties| of_ties(ties as f64)).sum::<f64>()) / 18.0;
    // Half a step towards zero: the score is a whole number, the normal distribution is not.
    let towards_zero = (score.abs() - 1).max(0) * score.signum();
    if variance > 0.0 { towards_zero as f64 / variance.sqrt() } else { 0.0 }
}

fn of_ties(count: f64) -> f64 {
    count * (count - 1.0) * (2.0 * count + 5.0)
}

/// Puts values in ascending order, and counts the pairs of which the later was the lower (Knight 1966).
fn sort_counting_falls(values: &mut [f64], spare: &mut Vec<f64>) -> i64 {
    if values.len() <= FEW {
        return insert_counting_falls(values);
    }
    let (left, right) = values.split_at_mut(values.len() / 2);
    let mut falls = sort_counting_falls(left, spare) + sort_counting_falls(right, spare);
    spare.clear();
    spare.extend_from_slice(left);
    let (mut taken, mut next) = (0, spare.len());
    let mut at = 0;
    while let Some(&value) = spare.get(taken) {
        match values.get(next) {
            Some(&lower) if lower < value => {
                falls += (spare.len() - taken) as i64;
                values[at] = lower;
                next += 1;
            }
            _ => {
                values[at] = value;
                taken += 1;
            }
        }
        at += 1;
    }
    falls
}

fn insert_counting_falls(values: &mut [f64]) -> i64 {
    let mut falls = 0;
    for from in 1..values.len() {
        let mut at = from;
        while at > 0 && values[at] < values[at - 1] {
            values.swap(at, at - 1);
            at -= 1;
        }
        falls += (from - at) as i64;
    }
    falls
}

/// A line through evenly spaced values by least squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Its value at the first of them.
    pub start: f64,
    /// Its rise from one to the next.
    pub slope: f64,
    /// Standard error of the slope.
    pub slope_se: f64,
}

impl Line {
    /// The line through at least three values.
    pub fn through(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        if values.len() < 3 {
            return None;
        }
        let (middle, mean) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count);
        let from_middle = |at: usize| at as f64 - middle;
        let moment: f64 = (0..values.len()).map(|at| from_middle(at).powi(2)).sum();
        let slope =
            values.iter().enumerate().map(|(at, value)| from_middle(at) * (value - mean)).sum::<f64>()
                / moment;
        let residual = |(at, value): (usize, &f64)| (value - mean - slope * from_middle(at)).powi(2);
        let squares: f64 = values.iter().enumerate().map(residual).sum();
        let slope_se = (squares / (count - 2.0) / moment).sqrt();
        Some(Self { start: mean - slope * middle, slope, slope_se })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn medians_of_few_are_medians(values in prop::collection::vec(-3_i8..3, 0..20), lists in prop::array::uniform16([-9_i8..9, -2_i8..2])) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            prop_assert!(median_of_few(&values).to_bits() == median(&values).to_bits());
            let lists = lists.map(|pair| pair.map(f64::from));
            let alone = [0, 1].map(|list| median(&lists.map(|pair| pair[list])));
            prop_assert_eq!(medians_of_16(lists), alone);
            for half in 0..3 {
                let slow = (0..values.len()).map(|at| {
                    let half = half.min(at).min(values.len() - 1 - at);
                    median(&values[at - half..=at + half])
                });
                prop_assert_eq!(centred_medians(&values, half), slow.collect::<Vec<f64>>());
            }
            prop_assert_eq!(trailing_medians(&values, 5), rolling_medians(&values, 5));
        }

        #[test]
        fn falls_are_the_pairs_of_which_the_later_is_the_lower(values in prop::collection::vec(-9_i8..9, 0..90)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let lower = |(at, left): (usize, &f64)| values[at + 1..].iter().filter(|right| *right < left).count();
            let by_pairs: usize = values.iter().enumerate().map(lower).sum();
            let (mut sorted, mut in_order) = (values.clone(), values.clone());
            in_order.sort_by(f64::total_cmp);
            prop_assert_eq!(sort_counting_falls(&mut sorted, &mut Vec::new()), by_pairs as i64);
            prop_assert_eq!(sorted, in_order);
        }
    }

    #[test]
    fn medians_of_odd_even_and_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
        assert_eq!(quantile(&[5.0, 1.0, 2.0, 3.0, 4.0], 0.4), 3.0_f64.min(2.6_f64.round()));
    }

    #[test]
    fn an_outlier_moves_no_spread() {
        let mut values: Vec<f64> = (0..101).map(|i| f64::from(i % 5)).collect();
        let (calm, steps) = (mad(&values), noise_of(&values));
        values[50] = 1e9;
        assert_eq!(mad(&values), calm);
        assert_eq!(noise_of(&values), steps);
        assert_eq!((mad(&[]), noise_of(&[1.0])), (0.0, 0.0));
    }

    #[test]
    fn noise_is_blind_to_a_trend() {
        let jitter = |i: i32| f64::from((7 * i) % 5 - 2);
        let flat: Vec<f64> = (0..200).map(jitter).collect();
        let steep: Vec<f64> = (0..200).map(|i| jitter(i) + 0.01 * f64::from(i)).collect();
        assert!((noise_of(&flat) - noise_of(&steep)).abs() < 0.02);
    }

    #[test]
    fn lines_and_trends() {
        let rising: Vec<f64> = (0..20).map(|i| 1.0 + 0.5 * f64::from(i)).collect();
        assert_eq!(theil_sen(&rising), 0.5);
        let line = Line::through(&rising).unwrap();
        assert!((line.slope - 0.5).abs() < 1e-12 && (line.start - 1.0).abs() < 1e-12 && line.slope_se < 1e-9);
        // n = 20: all 190 pairs rise, variance 950.
        assert!((mann_kendall(&rising) - 189.0 / 950_f64.sqrt()).abs() < 1e-12);
        let falling: Vec<f64> = rising.iter().map(|value| -value).collect();
        assert_eq!(mann_kendall(&falling), -mann_kendall(&rising));
        assert_eq!(mann_kendall(&[1.0; 30]), 0.0);
        assert_eq!(mann_kendall(&[1.0, 2.0]), 0.0);
    }

    #[test]
    fn blocks_and_windows() {
        assert_eq!(block_medians(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], 2), [2.0, 20.0]);
        assert_eq!(block_medians(&[1.0], 4), [1.0]);
        assert_eq!(trailing_medians(&[1.0, 9.0, 2.0, 3.0], 3), [1.0, 5.0, 2.0, 3.0]);
        assert_eq!(centred_medians(&[1.0, 9.0, 2.0, 3.0], 1), [1.0, 2.0, 3.0, 3.0]);
    }
}
