//! Several series on one axis: the union of their steps, and a sample of it.

use super::bucket_edge;
use super::curve::Slices;
use super::lttb::lttb;

/// Ascending union of the steps of several series.
pub fn union(series: &[&[i64]]) -> Vec<i64> {
    let mut steps = Vec::with_capacity(series.iter().map(|steps| steps.len()).sum());
    for part in series {
        steps.extend_from_slice(part);
    }
    // Sorted runs one behind the other: the stable sort finds and merges them.
    steps.sort();
    steps.dedup();
    steps
}

/// Row in `union` of each of `steps`; both ascend and the union holds all of them.
pub fn rows_of(union: &[i64], steps: &[i64]) -> Vec<usize> {
    let mut row = 0;
    steps
        .iter()
        .map(|step| {
            while union.get(row).is_some_and(|other| other < step) {
                row += 1;
            }
            row
        })
        .collect()
}

/// One series of an aligned table: its rows in the union, ascending, and the values there.
#[derive(Debug, Clone, Copy)]
pub struct Aligned<'a> {
    /// Rows of the union at which the series has a value.
    pub rows: &'a [usize],
    /// The values; may be NaN or infinite.
    pub values: &'a [f64],
}

/// Chooses exactly `min(n, union.len())` rows of a table of several series.
///
/// Returns ascending rows. Forced are, in this order for as long as `n` lasts: the first and the last
/// row; then by turns over the series the lowest value of each, the highest of each, the first NaN
/// or infinity of each, the first and the last point of each. What is left of `n` is shared
/// evenly among the series, each of which fills its share by LTTB over its finite points (a series
/// with fewer points leaves the rest to the others). What is left because series chose the
/// same rows is filled evenly from the rows not chosen.
pub fn choose_rows(union: &[i64], series: &[Aligned<'_>], n: usize) -> Vec<usize> {
    if union.len() <= n {
        return (0..union.len()).collect();
    }
    let mut choice = Choice::new(union.len(), n);
    force(&mut choice, series);
    share(&mut choice, union, series);
    choice.fill();
    choice.rows()
}

/// A set of rows that never outgrows its budget.
struct Choice {
    chosen: Vec<bool>,
    left: usize,
}

impl Choice {
    fn new(rows: usize, n: usize) -> Self {
        Self { chosen: vec![false; rows], left: n }
    }

    fn add(&mut self, row: usize) {
        if self.left > 0
            && let Some(chosen) = self.chosen.get_mut(row)
            && !*chosen
        {
            *chosen = true;
            self.left -= 1;
        }
    }

    /// Spends what is left evenly over the rows not chosen.
    fn fill(&mut self) {
        let wanted = self.left;
        let free: Vec<usize> = (0..self.chosen.len()).filter(|&row| !self.chosen[row]).collect();
        for part in 0..wanted.min(free.len()) {
            let start = bucket_edge(part, free.len(), wanted);
            let end = bucket_edge(part + 1, free.len(), wanted);
            self.add(free[start + (end - start) / 2]);
        }
    }

    fn rows(&self) -> Vec<usize> {
        let rows = self.chosen.iter().enumerate();
        rows.filter_map(|(row, &chosen)| chosen.then_some(row)).collect()
    }
}

fn force(choice: &mut Choice, series: &[Aligned<'_>]) {
    choice.add(0);
    choice.add(choice.chosen.len() - 1);
    let landmarks: Vec<[Option<usize>; 5]> = series.iter().map(landmarks).collect();
    for turn in 0..5 {
        for marks in &landmarks {
            if let Some(row) = marks[turn] {
                choice.add(row);
            }
        }
    }
}

/// Rows of the lowest and highest value, the first that is not finite, the first and the last.
fn landmarks(series: &Aligned<'_>) -> [Option<usize>; 5] {
    let points = || series.rows.iter().copied().zip(series.values);
    let finite = || points().filter(|(_, value)| value.is_finite());
    let lowest = finite().reduce(|best, next| if next.1 < best.1 { next } else { best });
    let highest = finite().reduce(|best, next| if next.1 > best.1 { next } else { best });
    let onset = points().find(|(_, value)| !value.is_finite());
    [
        lowest.map(|point| point.0),
        highest.map(|point| point.0),
        onset.map(|point| point.0),
        series.rows.first().copied(),
        series.rows.last().copied(),
    ]
}

/// Gives each series its part of the budget, the shortest first so that it can leave some.
fn share(choice: &mut Choice, union: &[i64], series: &[Aligned<'_>]) {
    let mut finite: Vec<Vec<(usize, f64)>> = series.iter().map(finite_points).collect();
    finite.sort_by_key(Vec::len);
    let mut budget = choice.left;
    for (index, points) in finite.iter().enumerate() {
        let part = (budget / (finite.len() - index)).min(points.len());
        budget -= part;
        if part > 0 {
            sample(choice, union, points, part);
        }
    }
}

fn finite_points(series: &Aligned<'_>) -> Vec<(usize, f64)> {
    let points = series.rows.iter().copied().zip(series.values.iter().copied());
    points.filter(|(_, value)| value.is_finite()).collect()
}

/// Adds `part` rows of one series by LTTB, not counting its ends where they are chosen already.
fn sample(choice: &mut Choice, union: &[i64], points: &[(usize, f64)], part: usize) {
    let origin = union.first().copied().unwrap_or_default();
    let x: Vec<f64> =
        points.iter().map(|&(row, _)| offset(union.get(row).copied().unwrap_or(origin), origin)).collect();
    let y: Vec<f64> = points.iter().map(|&(_, value)| value).collect();
    let ends = [points.first(), points.last()];
    let known = ends.iter().flatten().filter(|end| choice.chosen[end.0]);
    for index in lttb(&Slices::new(&x, &y), part + known.count()) {
        choice.add(points[index].0);
    }
}

/// Distance of a step from the first one; exact where the step itself would not fit a double.
pub(crate) fn offset(step: i64, origin: i64) -> f64 {
    step.wrapping_sub(origin) as u64 as f64
}

#[cfg(test)]
mod tests {
    use super::{Aligned, choose_rows, offset, rows_of, union};

    #[test]
    fn union_and_rows() {
        let steps = union(&[&[1, 3, 5], &[2, 3], &[]]);
        assert_eq!(steps, vec![1, 2, 3, 5]);
        assert_eq!(rows_of(&steps, &[1, 3, 5]), vec![0, 2, 3]);
        assert_eq!(rows_of(&steps, &[2, 3]), vec![1, 2]);
        assert_eq!(union(&[]), Vec::<i64>::new());
        assert_eq!(offset(i64::MAX, i64::MIN), u64::MAX as f64);
    }

    #[test]
    fn exact_count_and_landmarks() {
        let steps: Vec<i64> = (0..1000).collect();
        let rows: Vec<usize> = (0..1000).collect();
        let mut loss: Vec<f64> = (0..1000).map(|i| 3.0 - f64::from(i) * 0.001).collect();
        loss[417] = 99.0;
        loss[600] = f64::NAN;
        let sparse: Vec<usize> = (0..1000).step_by(100).collect();
        let val = vec![1.0; sparse.len()];
        let series = [Aligned { rows: &rows, values: &loss }, Aligned { rows: &sparse, values: &val }];
        for n in [1, 2, 3, 7, 50, 500, 999, 1000, 5000] {
            let chosen = choose_rows(&steps, &series, n);
            assert_eq!(chosen.len(), n.min(1000));
            assert!(chosen.is_sorted_by(|a, b| a < b));
        }
        let chosen = choose_rows(&steps, &series, 50);
        for row in [0, 417, 600, 999, 100, 900] {
            assert!(chosen.contains(&row), "{row} in {chosen:?}");
        }
    }

    #[test]
    fn no_series_fills_evenly() {
        let steps: Vec<i64> = (0..100).collect();
        assert_eq!(choose_rows(&steps, &[], 4), vec![0, 25, 74, 99]);
        assert_eq!(choose_rows(&[], &[], 4), Vec::<usize>::new());
        assert_eq!(choose_rows(&steps, &[], 0), Vec::<usize>::new());
    }
}
