//! The sampling kernels by their definitions, a point at a time; what the fast ones are held to.

use super::bucket_edge;
use super::minmax::RATIO;

/// Largest-triangle-three-buckets for `2 <= n < x.len()`.
pub(crate) fn lttb(x: &[f64], y: &[f64], n: usize) -> Vec<usize> {
    let (last, buckets) = (x.len() - 1, n - 2);
    let edge = |bucket| 1 + bucket_edge(bucket, last - 1, buckets);
    let mut chosen = vec![0];
    for bucket in 0..buckets {
        let next = if bucket + 1 == buckets { last..last + 1 } else { edge(bucket + 1)..edge(bucket + 2) };
        let mean = |v: &[f64]| v[next.clone()].iter().sum::<f64>() / next.len() as f64;
        let (a, c) = (chosen[bucket], (mean(x), mean(y)));
        let area = |b: usize| ((c.0 - x[a]) * (y[b] - y[a]) - (c.1 - y[a]) * (x[b] - x[a])).abs();
        let bucket = edge(bucket)..edge(bucket + 1);
        let first = bucket.start;
        chosen.push(bucket.fold(first, |best, b| if area(b) > area(best) { b } else { best }));
    }
    chosen.push(last);
    chosen
}

/// LTTB over the ends and the lowest and highest point of each of `RATIO * n / 2` buckets, for
/// `3 <= n` and more points than these.
pub(crate) fn minmax_lttb(x: &[f64], y: &[f64], n: usize) -> Vec<usize> {
    let (inner, buckets) = (x.len() - 2, RATIO * n / 2);
    let mut kept = vec![0, x.len() - 1];
    for bucket in 0..buckets {
        let points = 1 + bucket_edge(bucket, inner, buckets)..1 + bucket_edge(bucket + 1, inner, buckets);
        kept.extend(points.clone().reduce(|best, i| if y[i] < y[best] { i } else { best }));
        kept.extend(points.reduce(|best, i| if y[i] > y[best] { i } else { best }));
    }
    kept.sort_unstable();
    kept.dedup();
    let of_kept = |v: &[f64]| kept.iter().map(|&index| v[index]).collect::<Vec<_>>();
    if n >= kept.len() {
        return kept;
    }
    lttb(&of_kept(x), &of_kept(y), n).into_iter().map(|index| kept[index]).collect()
}

/// Points whose sums are exact in any order, so that the lanes of a kernel give what one after the
/// other gives: eighths. Steps and values repeat, so that areas are equal.
pub(crate) fn curve(points: &[(u8, i16)]) -> (Vec<f64>, Vec<f64>) {
    let y = points.iter().map(|point| f64::from(point.1) / 8.0).collect();
    let steps = points.iter().scan(0.0, |step, point| {
        *step += f64::from(point.0) / 8.0;
        Some(*step)
    });
    (steps.collect(), y)
}
