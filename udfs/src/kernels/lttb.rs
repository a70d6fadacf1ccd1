//! Largest-triangle-three-buckets.

use super::bucket_edge;

/// Picks the `n` points that keep the look of a curve (Steinarsson 2013, *Downsampling Time
/// Series for Visual Representation*).
///
/// `x` is sorted; both slices hold finite numbers. Returns ascending indices: all of them when
/// there are at most `n` points, else exactly `n`, the first and the last among them (`n` of 1
/// gives the first, 0 none). The points between are cut in `n - 2` buckets of equal count; each
/// gives the point with the largest triangle between the point chosen before it and the mean of the
/// next bucket. Equal triangles: the earlier point.
pub fn lttb(x: &[f64], y: &[f64], n: usize) -> Vec<usize> {
    let len = x.len().min(y.len());
    if n >= len {
        return (0..len).collect();
    }
    match n {
        0 => Vec::new(),
        1 => vec![0],
        _ => triangles(&x[..len], &y[..len], n),
    }
}

/// The sampling proper, for `2 <= n < len`.
fn triangles(x: &[f64], y: &[f64], n: usize) -> Vec<usize> {
    let (last, buckets) = (x.len() - 1, n - 2);
    let edge = |bucket| 1 + bucket_edge(bucket, last - 1, buckets);
    let mut chosen = Vec::with_capacity(n);
    let mut previous = 0;
    chosen.push(previous);
    for bucket in 0..buckets {
        let (start, end) = (edge(bucket), edge(bucket + 1));
        let next = if bucket + 1 == buckets { last..last + 1 } else { end..edge(bucket + 2) };
        let target = (mean(&x[next.clone()]), mean(&y[next]));
        let anchor = (x[previous], y[previous]);
        previous = start + largest_triangle(anchor, &x[start..end], &y[start..end], target);
        chosen.push(previous);
    }
    chosen.push(last);
    chosen
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Index of the point that spans the largest triangle with `anchor` and `target`.
fn largest_triangle(anchor: (f64, f64), x: &[f64], y: &[f64], target: (f64, f64)) -> usize {
    let (width, height) = (target.0 - anchor.0, target.1 - anchor.1);
    let (mut best, mut best_area) = (0, -1.0);
    for (index, (x, y)) in x.iter().zip(y).enumerate() {
        let area = (width * (y - anchor.1) - height * (x - anchor.0)).abs();
        if area > best_area {
            (best, best_area) = (index, area);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::lttb;

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
