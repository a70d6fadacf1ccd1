//! Min-max preselection, alone and in front of LTTB.

use super::bucket_edge;
use super::lttb::lttb;

/// How many points the preselection keeps for each point of the result; 4 is what the authors of
/// MinMaxLTTB recommend.
pub const RATIO: usize = 4;

/// Indices of the lowest and highest of each of `n / 2` buckets of equal count.
///
/// `y` holds finite numbers. Ascending, without repeats, at most `n`; all indices when `y` has at
/// most `n` values. Equal values: the earlier point.
pub fn minmax(y: &[f64], n: usize) -> Vec<usize> {
    if n >= y.len() {
        return (0..y.len()).collect();
    }
    let buckets = n / 2;
    let mut chosen = Vec::with_capacity(n);
    for bucket in 0..buckets {
        let start = bucket_edge(bucket, y.len(), buckets);
        let end = bucket_edge(bucket + 1, y.len(), buckets);
        let (low, high) = extremes(&y[start..end]);
        chosen.push(start + low.min(high));
        if low != high {
            chosen.push(start + low.max(high));
        }
    }
    chosen
}

fn extremes(y: &[f64]) -> (usize, usize) {
    let (mut low, mut high) = (0, 0);
    let (mut lowest, mut highest) = (f64::INFINITY, f64::NEG_INFINITY);
    for (index, &value) in y.iter().enumerate() {
        if value < lowest {
            (low, lowest) = (index, value);
        }
        if value > highest {
            (high, highest) = (index, value);
        }
    }
    (low, high)
}

/// LTTB over a min-max preselection of [`RATIO`] times `n` points (Van Der Donckt, Van Der Donckt
/// and Van Hoecke 2023, *MinMaxLTTB: Leveraging MinMax-Preselection to Scale LTTB*).
///
/// The same contract as [`lttb`]; about as good, and bound by memory speed.
pub fn minmax_lttb(x: &[f64], y: &[f64], n: usize) -> Vec<usize> {
    let len = x.len().min(y.len());
    if n < 3 || len <= n.saturating_mul(RATIO).saturating_add(2) {
        return lttb(x, y, n);
    }
    let inner = minmax(&y[1..len - 1], n * RATIO);
    let mut kept = Vec::with_capacity(inner.len() + 2);
    kept.push(0);
    kept.extend(inner.iter().map(|index| index + 1));
    kept.push(len - 1);
    let kept_x: Vec<f64> = kept.iter().map(|&index| x[index]).collect();
    let kept_y: Vec<f64> = kept.iter().map(|&index| y[index]).collect();
    let chosen = lttb(&kept_x, &kept_y, n);
    chosen.into_iter().map(|index| kept[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::{minmax, minmax_lttb};

    #[test]
    fn minmax_keeps_extremes() {
        let y: Vec<f64> = (0..100).map(|i| f64::from(i * 37 % 100)).collect();
        let chosen = minmax(&y, 10);
        assert_eq!(chosen.len(), 10);
        assert!(chosen.iter().any(|&i| y[i] == 0.0));
        assert!(chosen.iter().any(|&i| y[i] == 99.0));
        assert_eq!(minmax(&y, 1), Vec::<usize>::new());
        assert_eq!(minmax(&[1.0; 9], 4), vec![0, 4]);
    }

    #[test]
    fn minmax_lttb_keeps_ends_and_peak() {
        let x: Vec<f64> = (0..10_000).map(f64::from).collect();
        let mut y: Vec<f64> = x.iter().map(|x| (x / 300.0).sin()).collect();
        y[7_777] = 30.0;
        let chosen = minmax_lttb(&x, &y, 50);
        assert_eq!(chosen.len(), 50);
        assert_eq!((chosen[0], chosen[49]), (0, 9_999));
        assert!(chosen.contains(&7_777));
        assert!(chosen.is_sorted_by(|a, b| a < b));
        assert_eq!(minmax_lttb(&x[..4], &y[..4], 50), vec![0, 1, 2, 3]);
    }
}
