//! Largest-triangle-three-buckets.

use std::borrow::Cow;
use std::ops::Range;

use super::curve::Curve;
use super::{BLOCK, LANES, bucket_edge, greater};

/// Picks the `n` points that keep the look of a curve (Steinarsson 2013, *Downsampling Time
/// Series for Visual Representation*).
///
/// `curve` holds finite numbers. Returns ascending indices: all of them when
/// there are at most `n` points, else exactly `n`, the first and the last among them (`n` of 1
/// gives the first, 0 none). The points between are cut in `n - 2` buckets of equal count; each
/// gives the point with the largest triangle between the point chosen before it and the mean of the
/// next bucket. Equal triangles: the earlier point.
pub fn lttb(curve: &impl Curve, n: usize) -> Vec<usize> {
    let len = curve.len();
    if n >= len {
        return (0..len).collect();
    }
    match n {
        0 => Vec::new(),
        1 => vec![0],
        _ => triangles(curve, n),
    }
}

/// The sampling proper, for `2 <= n < len`.
fn triangles(curve: &impl Curve, n: usize) -> Vec<usize> {
    let (last, buckets) = (curve.len() - 1, n - 2);
    let edge = |bucket| 1 + bucket_edge(bucket, last - 1, buckets);
    let read = |range: Range<usize>| (curve.x(range.clone()), curve.values(range));
    let corner = |(x, y): &(Cow<[f64]>, Cow<[f64]>), index: usize| (x[index], y[index]);
    let mut chosen = Vec::with_capacity(n);
    let (mut start, mut end) = (1, edge(1));
    let mut anchor = corner(&read(0..1), 0);
    let mut points = read(start..end);
    chosen.push(0);
    for bucket in 0..buckets {
        let after = if bucket + 1 == buckets { last + 1 } else { edge(bucket + 2) };
        let next = read(end..after);
        let triangle = Triangle { anchor, target: (mean(&next.0), mean(&next.1)) };
        let best = triangle.largest(&points.0, &points.1);
        chosen.push(start + best);
        anchor = corner(&points, best);
        (start, end, points) = (end, after, next);
    }
    chosen.push(last);
    chosen
}

/// Mean in lanes: the order of the additions is fixed, so the result is too.
fn mean(values: &[f64]) -> f64 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    (sums.iter().sum::<f64>() + rest.iter().sum::<f64>()) / values.len() as f64
}

/// Two corners of the triangles of a bucket; its points give the third.
struct Triangle {
    anchor: (f64, f64),
    target: (f64, f64),
}

impl Triangle {
    /// Twice the area with `(x, y)` as third corner.
    fn area(&self, x: f64, y: f64) -> f64 {
        let (width, height) = (self.target.0 - self.anchor.0, self.target.1 - self.anchor.1);
        (width * (y - self.anchor.1) - height * (x - self.anchor.0)).abs()
    }

    /// Index of the first of the points with the largest area; 0 when no area is a number.
    ///
    /// Largest areas are found a block at a time, and only the best block is searched for its point.
    fn largest(&self, x: &[f64], y: &[f64]) -> usize {
        let (mut best_area, mut best_start) = (-1.0, 0);
        for (block, (x, y)) in x.chunks(BLOCK).zip(y.chunks(BLOCK)).enumerate() {
            let area = self.largest_area(x, y);
            if area > best_area {
                (best_area, best_start) = (area, block * BLOCK);
            }
        }
        let points = x[best_start..].iter().zip(&y[best_start..]);
        let offset = points.map(|(&x, &y)| self.area(x, y)).position(|area| area == best_area);
        best_start + offset.unwrap_or(0)
    }

    fn largest_area(&self, x: &[f64], y: &[f64]) -> f64 {
        let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
        let mut areas = [-1.0; LANES];
        for (x, y) in x.iter().zip(y) {
            for lane in 0..LANES {
                areas[lane] = greater(self.area(x[lane], y[lane]), areas[lane]);
            }
        }
        let rest = x_rest.iter().zip(y_rest).map(|(&x, &y)| self.area(x, y));
        rest.chain(areas).fold(-1.0, |best, area| greater(area, best))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::kernels::curve::Slices;
    use crate::kernels::reference;

    fn lttb(x: &[f64], y: &[f64], n: usize) -> Vec<usize> {
        super::lttb(&Slices::new(x, y), n)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn chooses_as_defined(
            few in prop::collection::vec((0_u8..3, -4_i16..4), 10..4000),
            many in prop::collection::vec((0_u8..20, -9999_i16..9999), 10..4000),
            n in 2_usize..9,
            more in 9_usize..200,
        ) {
            for points in [few, many] {
                let (x, y) = reference::curve(&points);
                for n in [n, more.min(x.len() - 1)] {
                    prop_assert_eq!(lttb(&x, &y, n), reference::lttb(&x, &y, n));
                }
            }
        }
    }

    fn line(len: usize) -> Vec<f64> {
        (0..len).map(|i| i as f64).collect()
    }

    #[test]
    fn short_input_is_whole() {
        for len in 0..6 {
            assert_eq!(lttb(&line(len), &line(len), 5), (0..len.min(5)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn keeps_ends_and_peak() {
        let x = line(1000);
        let mut y = vec![1.0; 1000];
        y[613] = 50.0;
        let chosen = lttb(&x, &y, 20);
        assert_eq!(chosen.len(), 20);
        assert_eq!((chosen[0], chosen[19]), (0, 999));
        assert!(chosen.contains(&613));
        assert!(chosen.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn few_points_and_hostile_values() {
        let x = line(10);
        assert_eq!(lttb(&x, &x, 0), Vec::<usize>::new());
        assert_eq!(lttb(&x, &x, 1), vec![0]);
        assert_eq!(lttb(&x, &x, 2), vec![0, 9]);
        assert_eq!(lttb(&x, &[f64::NAN; 10], 4).len(), 4);
        assert_eq!(lttb(&x, &[f64::MAX; 10], 4).len(), 4);
        assert_eq!(lttb(&[0.0; 10], &x, 3).len(), 3);
    }
}
