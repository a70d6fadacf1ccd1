//! Min-max preselection, alone and in front of LTTB.

use std::ops::Range;

use super::curve::{Curve, Slices, Values};
use super::lttb::lttb;
use super::{BLOCK, LANES, bucket_edge, greater, lesser};

/// How many points the preselection keeps for each point of the result; 4 is what the authors of
/// MinMaxLTTB recommend.
pub const RATIO: usize = 4;

/// Indices of the lowest and highest of each of `n / 2` buckets of equal count.
///
/// `y` holds finite numbers. Ascending, without repeats, at most `n`; all indices when `y` has at
/// most `n` values. Equal values: the earlier point.
pub fn minmax(y: &(impl Values + ?Sized), n: usize) -> Vec<usize> {
    minmax_within(y, 0..y.len(), n)
}

/// [`minmax`] over a stretch; the indices are those of `y`.
fn minmax_within(y: &(impl Values + ?Sized), within: Range<usize>, n: usize) -> Vec<usize> {
    if n >= within.len() {
        return within.collect();
    }
    let buckets = n / 2;
    let mut chosen = Vec::with_capacity(n);
    let mut start = within.start;
    for bucket in 0..buckets {
        let end = within.start + bucket_edge(bucket + 1, within.len(), buckets);
        let (low, high) = extremes(&y.values(start..end));
        chosen.push(start + low.min(high));
        if low != high {
            chosen.push(start + low.max(high));
        }
        start = end;
    }
    chosen
}

/// Indices of the first lowest and the first highest value.
///
/// Lowest and highest are found a block at a time, and only the best blocks are searched for them.
fn extremes(y: &[f64]) -> (usize, usize) {
    let (mut low, mut high) = ((f64::INFINITY, 0), (f64::NEG_INFINITY, 0));
    for (block, values) in y.chunks(BLOCK).enumerate() {
        let (lowest, highest) = range(values);
        if lowest < low.0 {
            low = (lowest, block * BLOCK);
        }
        if highest > high.0 {
            high = (highest, block * BLOCK);
        }
    }
    let first = |(value, start): (f64, usize)| {
        start + y[start..].iter().position(|&other| other == value).unwrap_or(0)
    };
    (first(low), first(high))
}

fn range(values: &[f64]) -> (f64, f64) {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let (mut low, mut high) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
    for chunk in chunks {
        for lane in 0..LANES {
            low[lane] = lesser(chunk[lane], low[lane]);
            high[lane] = greater(chunk[lane], high[lane]);
        }
    }
    let lowest = rest.iter().copied().chain(low).fold(f64::INFINITY, |best, value| lesser(value, best));
    let highest =
        rest.iter().copied().chain(high).fold(f64::NEG_INFINITY, |best, value| greater(value, best));
    (lowest, highest)
}

/// LTTB over a min-max preselection of [`RATIO`] times `n` points (Van Der Donckt, Van Der Donckt
/// and Van Hoecke 2023, *MinMaxLTTB: Leveraging MinMax-Preselection to Scale LTTB*).
///
/// The same contract as [`lttb`]; about as good, and bound by memory speed.
pub fn minmax_lttb(curve: &impl Curve, n: usize) -> Vec<usize> {
    let len = curve.len();
    if n < 3 || len <= n.saturating_mul(RATIO).saturating_add(2) {
        return lttb(curve, n);
    }
    let mut kept = Vec::with_capacity(n * RATIO + 2);
    kept.push(0);
    kept.extend(minmax_within(curve, 1..len - 1, n * RATIO));
    kept.push(len - 1);
    let x: Vec<f64> = kept.iter().map(|&index| curve.x(index..index + 1)[0]).collect();
    let y: Vec<f64> = kept.iter().map(|&index| curve.values(index..index + 1)[0]).collect();
    let chosen = lttb(&Slices::new(&x, &y), n);
    chosen.into_iter().map(|index| kept[index]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RATIO, Slices, extremes, minmax, minmax_lttb};
    use crate::kernels::reference;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn extremes_are_the_first_ones(
            y in prop::collection::vec(prop::sample::select(vec![-1.5, -0.0, 0.0, 2.0, f64::INFINITY, f64::NAN]), 1..3000),
        ) {
            let numbers = || (0..y.len()).filter(|&i| !y[i].is_nan());
            let low = numbers().reduce(|best, i| if y[i] < y[best] { i } else { best });
            let high = numbers().reduce(|best, i| if y[i] > y[best] { i } else { best });
            prop_assert_eq!(extremes(&y), (low.unwrap_or(0), high.unwrap_or(0)));
        }

        #[test]
        fn chooses_as_defined(
            few in prop::collection::vec((0_u8..3, -4_i16..4), 40..4000),
            many in prop::collection::vec((0_u8..20, -9999_i16..9999), 40..4000),
            n in 3_usize..200,
        ) {
            for points in [few, many] {
                let (x, y) = reference::curve(&points);
                let n = n.min((x.len() - 3) / RATIO);
                prop_assert_eq!(minmax_lttb(&Slices::new(&x, &y), n), reference::minmax_lttb(&x, &y, n));
            }
        }
    }

    #[test]
    fn minmax_keeps_extremes() {
        let y: Vec<f64> = (0..100).map(|i| f64::from(i * 37 % 100)).collect();
        let chosen = minmax(&y[..], 10);
        assert_eq!(chosen.len(), 10);
        assert!(chosen.iter().any(|&i| y[i] == 0.0));
        assert!(chosen.iter().any(|&i| y[i] == 99.0));
        assert_eq!(minmax(&y[..], 1), Vec::<usize>::new());
        assert_eq!(minmax(&[1.0; 9][..], 4), vec![0, 4]);
    }

    #[test]
    fn minmax_lttb_keeps_ends_and_peak() {
        let x: Vec<f64> = (0..10_000).map(f64::from).collect();
        let mut y: Vec<f64> = x.iter().map(|x| (x / 300.0).sin()).collect();
        y[7_777] = 30.0;
        let chosen = minmax_lttb(&Slices::new(&x, &y), 50);
        assert_eq!(chosen.len(), 50);
        assert_eq!((chosen[0], chosen[49]), (0, 9_999));
        assert!(chosen.contains(&7_777));
        assert!(chosen.is_sorted_by(|a, b| a < b));
        assert_eq!(minmax_lttb(&Slices::new(&x[..4], &y), 50), vec![0, 1, 2, 3]);
    }
}
