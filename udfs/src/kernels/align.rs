//! Several series on one axis: the union of their steps, and a sample of it.

use super::bucket_edge;
use super::curve::{Curve, Values};
use super::lttb::lttb;
use super::outstanding::outstanding;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

/// One series of an aligned table.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// Ascending steps, no two alike.
    pub steps: &'a [i64],
    /// The value at each step; may be NaN or infinite.
    pub values: &'a [f64],
}

/// Ascending union of the steps of several series; lent where one series has them all.
pub fn union<'a>(series: &[Series<'a>]) -> Cow<'a, [i64]> {
    let Some(longest) = series.iter().map(|part| part.steps).max_by_key(|steps| steps.len()) else {
        return Cow::Borrowed(&[]);
    };
    if series.iter().all(|part| part.steps.is_empty() || part.steps == longest) {
        return Cow::Borrowed(longest);
    }
    let mut steps = Vec::with_capacity(series.iter().map(|part| part.steps.len()).sum());
    for part in series {
        steps.extend_from_slice(part.steps);
    }
    // Sorted runs one behind the other: the stable sort finds and merges them.
    steps.sort();
    steps.dedup();
    Cow::Owned(steps)
}

/// Chooses exactly `min(n, union.len())` rows of a table of several series, whose union of steps is
/// `union`.
///
/// Returns ascending rows. Forced are, in this order for as long as `n` lasts: the first and the last
/// row; then by turns over the series the lowest value of each, the highest of each, the first NaN
/// or infinity of each, the first and the last point of each. What is left of `n` is shared
/// evenly among the series, each of which fills its share by LTTB over its finite points (a series
/// with fewer points leaves the rest to the others). What is left because series chose the
/// same rows is filled evenly from the rows not chosen.
pub fn choose_rows(union: &[i64], series: &[Series<'_>], n: usize) -> Vec<usize> {
    if union.len() <= n {
        return (0..union.len()).collect();
    }
    let mut choice = Choice { union, rows: BTreeSet::new(), left: n };
    let origin = choice.union.first().copied().unwrap_or_default();
    let mut finite: Vec<Finite<'_>> = series.iter().map(|part| Finite::of(part, origin)).collect();
    force(&mut choice, series);
    stand_out(&mut choice, &finite);
    finite.sort_by_key(Values::len);
    share(&mut choice, &finite);
    choice.fill();
    choice.rows.into_iter().collect()
}

/// A set of rows that never outgrows its budget.
struct Choice<'a> {
    union: &'a [i64],
    rows: BTreeSet<usize>,
    left: usize,
}

impl Choice<'_> {
    fn row_of(&self, step: i64) -> usize {
        self.union.partition_point(|other| *other < step)
    }

    fn add(&mut self, row: usize) {
        if self.left > 0 && self.rows.insert(row) {
            self.left -= 1;
        }
    }

    /// Spends what is left evenly over the rows not chosen.
    fn fill(&mut self) {
        let wanted = self.left;
        let free = self.union.len() - self.rows.len();
        let chosen: Vec<usize> = self.rows.iter().copied().collect();
        let mut before = 0;
        for part in 0..wanted.min(free) {
            let (start, end) = (bucket_edge(part, free, wanted), bucket_edge(part + 1, free, wanted));
            let place = start + (end - start) / 2;
            // The row before which `place` others are free.
            while chosen.get(before).is_some_and(|row| row - before <= place) {
                before += 1;
            }
            self.add(place + before);
        }
    }
}

fn force(choice: &mut Choice<'_>, series: &[Series<'_>]) {
    choice.add(0);
    choice.add(choice.union.len() - 1);
    let landmarks: Vec<[Option<i64>; 5]> = series.iter().map(landmarks).collect();
    for turn in 0..5 {
        for step in landmarks.iter().filter_map(|marks| marks[turn]) {
            choice.add(choice.row_of(step));
        }
    }
}

/// Steps of the lowest and highest value, the first that is not finite, the first and the last.
fn landmarks(series: &Series<'_>) -> [Option<i64>; 5] {
    let points = || series.steps.iter().copied().zip(series.values);
    let finite = || points().filter(|(_, value)| value.is_finite());
    let lowest = finite().reduce(|best, next| if next.1 < best.1 { next } else { best });
    let highest = finite().reduce(|best, next| if next.1 > best.1 { next } else { best });
    let onset = points().find(|(_, value)| !value.is_finite());
    [
        lowest.map(|point| point.0),
        highest.map(|point| point.0),
        onset.map(|point| point.0),
        series.steps.first().copied(),
        series.steps.last().copied(),
    ]
}

/// Adds points that stand out, by turns over the series.
fn stand_out(choice: &mut Choice<'_>, series: &[Finite<'_>]) {
    let most = choice.left / 2;
    let peaks: Vec<Vec<usize>> = series.iter().map(|points| outstanding(&points.values, most)).collect();
    let kept = choice.left - most;
    for turn in 0..most {
        for (points, peaks) in series.iter().zip(&peaks) {
            if let Some(index) = peaks.get(turn).filter(|_| choice.left > kept) {
                choice.add(choice.row_of(points.steps[*index]));
            }
        }
    }
}

/// Gives each series its part of the budget, the shortest first so that it can leave some.
fn share(choice: &mut Choice<'_>, series: &[Finite<'_>]) {
    let mut budget = choice.left;
    for (index, points) in series.iter().enumerate() {
        let part = (budget / (series.len() - index)).min(points.len());
        budget -= part;
        if part > 0 {
            sample(choice, points, part);
        }
    }
}

/// Adds `part` rows of one series by LTTB, not counting its ends where they are chosen already.
fn sample(choice: &mut Choice<'_>, points: &Finite<'_>, part: usize) {
    let ends = [points.steps.first(), points.steps.last()];
    let known = ends.into_iter().flatten().filter(|step| choice.rows.contains(&choice.row_of(**step)));
    for index in lttb(points, part + known.count()) {
        choice.add(choice.row_of(points.steps[index]));
    }
}

/// The finite points of a series, as a curve over the distance from the first step of all.
struct Finite<'a> {
    steps: Cow<'a, [i64]>,
    values: Cow<'a, [f64]>,
    origin: i64,
}

impl<'a> Finite<'a> {
    fn of(series: &Series<'a>, origin: i64) -> Self {
        if series.values.iter().all(|value| value.is_finite()) {
            let (steps, values) = (Cow::Borrowed(series.steps), Cow::Borrowed(series.values));
            return Self { steps, values, origin };
        }
        let points = series.steps.iter().copied().zip(series.values.iter().copied());
        let (steps, values): (Vec<i64>, Vec<f64>) = points.filter(|(_, value)| value.is_finite()).unzip();
        Self { steps: steps.into(), values: values.into(), origin }
    }
}

impl Values for Finite<'_> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn values(&self, range: Range<usize>) -> Cow<'_, [f64]> {
        Cow::Borrowed(&self.values[range])
    }
}

impl Curve for Finite<'_> {
    fn x(&self, range: Range<usize>) -> Cow<'_, [f64]> {
        self.steps[range].iter().map(|step| offset(*step, self.origin)).collect()
    }
}

/// Distance of a step from the first one; exact where the step itself would not fit a double.
pub(crate) fn offset(step: i64, origin: i64) -> f64 {
    step.wrapping_sub(origin) as u64 as f64
}

#[cfg(test)]
mod tests {
    use super::{Series, choose_rows, offset, union};

    #[test]
    fn steps_of_all_series_once() {
        let union = |all: &[&[i64]]| {
            let series: Vec<Series<'_>> = all.iter().map(|steps| Series { steps, values: &[] }).collect();
            union(&series).into_owned()
        };
        assert_eq!(union(&[&[1, 3, 5], &[2, 3], &[]]), vec![1, 2, 3, 5]);
        assert_eq!(union(&[&[1, 3], &[], &[1, 3]]), vec![1, 3]);
        assert_eq!(union(&[&[], &[]]), Vec::<i64>::new());
        assert_eq!(union(&[]), Vec::<i64>::new());
        assert_eq!(offset(i64::MAX, i64::MIN), u64::MAX as f64);
    }

    #[test]
    fn exact_count_and_landmarks() {
        let steps: Vec<i64> = (0..1000).collect();
        let mut loss: Vec<f64> = (0..1000).map(|i| 3.0 - f64::from(i) * 0.001).collect();
        loss[417] = 99.0;
        loss[600] = f64::NAN;
        let sparse: Vec<i64> = (0..1000).step_by(100).collect();
        let val = vec![1.0; sparse.len()];
        let series = [Series { steps: &steps, values: &loss }, Series { steps: &sparse, values: &val }];
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
