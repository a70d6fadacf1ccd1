//! M4: first, last, lowest and highest point of each bucket.

use super::curve::Curve;

/// Indices of the first, last, lowest and highest point of each of `buckets` columns of equal
/// width in `x` (Jugel, Jerzak, Hackenbroich and Markl 2014, *M4: A Visualization-Oriented Time
/// Series Data Aggregation*).
///
/// `curve` holds finite numbers. Returns ascending indices without repeats, at
/// most `4 * buckets`; a line drawn through them at `buckets` pixels width has the same pixels as the
/// whole series. Equal values: the earlier point is lowest or highest. No buckets: nothing.
pub fn m4(curve: &impl Curve, buckets: usize) -> Vec<usize> {
    let len = curve.len();
    let (x, y) = (curve.x(0..len), curve.values(0..len));
    let mut chosen = Vec::with_capacity(buckets.saturating_mul(4).min(len));
    if buckets == 0 {
        return chosen;
    }
    let mut start = 0;
    while start < len {
        let column = column_of(&x, len, start, buckets);
        let mut bucket = Bucket::new(start);
        let mut end = start + 1;
        while end < len && column_of(&x, len, end, buckets) == column {
            bucket.offer(&y, end);
            end += 1;
        }
        bucket.emit(end - 1, &mut chosen);
        start = end;
    }
    chosen
}

/// Column of point `index`; all points are in column 0 when the series has no width.
fn column_of(x: &[f64], len: usize, index: usize, buckets: usize) -> usize {
    let width = x[len - 1] - x[0];
    let share = (x[index] - x[0]) / width;
    ((share * buckets as f64) as usize).min(buckets - 1)
}

struct Bucket {
    first: usize,
    lowest: usize,
    highest: usize,
}

impl Bucket {
    fn new(first: usize) -> Self {
        Self { first, lowest: first, highest: first }
    }

    fn offer(&mut self, y: &[f64], index: usize) {
        if y[index] < y[self.lowest] {
            self.lowest = index;
        }
        if y[index] > y[self.highest] {
            self.highest = index;
        }
    }

    fn emit(&self, last: usize, chosen: &mut Vec<usize>) {
        let between = if self.lowest < self.highest {
            [self.lowest, self.highest]
        } else {
            [self.highest, self.lowest]
        };
        chosen.push(self.first);
        for index in [between[0], between[1], last] {
            if chosen.last() != Some(&index) {
                chosen.push(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::kernels::curve::Slices;

    fn m4(x: &[f64], y: &[f64], buckets: usize) -> Vec<usize> {
        super::m4(&Slices::new(x, y), buckets)
    }

    #[test]
    fn four_points_a_bucket() {
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        let y = [3.0, 1.0, 5.0, 4.0, 3.5, 9.0, 2.0, 7.0, 8.0, 6.0];
        assert_eq!(m4(&x, &y, 2), vec![0, 1, 2, 4, 5, 6, 9]);
    }

    #[test]
    fn degenerate() {
        assert_eq!(m4(&[], &[], 3), Vec::<usize>::new());
        assert_eq!(m4(&[1.0], &[2.0], 3), vec![0]);
        assert_eq!(m4(&[1.0; 4], &[2.0, 1.0, 3.0, 2.0], 3), vec![0, 1, 2, 3]);
        assert_eq!(m4(&[1.0, 2.0], &[1.0, 2.0], 0), Vec::<usize>::new());
    }
}
