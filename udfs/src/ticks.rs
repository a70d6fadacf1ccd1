//! Steps as whole numbers that kernels may subtract.

use crate::curve::SortedPoints;
use crate::steps::StepAxis;

/// Whole numbers up to here are exact as doubles, and their distances as whole numbers.
const EXACT: i64 = 1 << 52;
/// Most a step that is planned may be away.
const FAR: f64 = (1_i64 << 60) as f64;

/// The steps of a run as whole numbers with the distances of the steps.
///
/// Steps that are whole numbers of a usual size stand for themselves. Others (floats, times in
/// nanoseconds) are counted from the first one, in units so small that all of the run is `2^52` of them.
#[derive(Debug)]
pub(crate) struct Ticks<'a> {
    axis: &'a StepAxis,
    /// Where steps do not stand for themselves.
    scale: Option<Scale>,
}

#[derive(Debug)]
struct Scale {
    /// Keys of all steps, ascending, no two alike.
    keys: Vec<i64>,
    per_step: f64,
}

impl Scale {
    fn of(axis: &StepAxis, curves: &[SortedPoints<'_>], first: i64, last: i64) -> Self {
        let mut keys: Vec<i64> = curves.iter().flat_map(|curve| curve.iter().map(|point| point.0)).collect();
        keys.sort();
        keys.dedup();
        let range = axis.distance(last, first);
        let per_step = if range > 0.0 { EXACT as f64 / range } else { 1.0 };
        Self { keys, per_step }
    }
}

impl<'a> Ticks<'a> {
    /// For the steps of some curves on one axis.
    pub(crate) fn of(curves: &'a [SortedPoints<'a>]) -> Option<Self> {
        let axis = curves.first()?.axis();
        let ends = curves.iter().filter_map(SortedPoints::ends);
        let (first, last) = ends.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))?;
        let is_plain = !axis.is_float() && first >= -EXACT && last <= EXACT;
        let scale = (!is_plain).then(|| Scale::of(axis, curves, first, last));
        Some(Self { axis, scale })
    }

    /// What stands for a step of the run, by its key.
    pub(crate) fn tick(&self, key: i64) -> i64 {
        match &self.scale {
            None => key,
            Some(Scale { keys, per_step }) => {
                let first = keys.first().copied().unwrap_or(key);
                (self.axis.distance(key, first) * per_step).round() as i64
            }
        }
    }

    /// What stands for a number on the axis, such as a step that is planned.
    pub(crate) fn tick_at(&self, step: f64) -> i64 {
        let step = match &self.scale {
            None => step,
            Some(Scale { keys, per_step }) => {
                let first = keys.first().map_or(0.0, |&key| self.axis.number(key));
                (step - first) * per_step
            }
        };
        step.clamp(-FAR, FAR) as i64
    }

    /// The key of the step that a tick stands for.
    pub(crate) fn key(&self, tick: i64) -> i64 {
        match &self.scale {
            None => tick,
            Some(Scale { keys, .. }) => {
                let place = keys.partition_point(|&key| self.tick(key) < tick);
                keys.get(place).or(keys.last()).copied().unwrap_or(tick)
            }
        }
    }

    /// Ticks in a step.
    pub(crate) fn per_step(&self) -> f64 {
        self.scale.as_ref().map_or(1.0, |scale| scale.per_step)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array};
    use arrow::datatypes::DataType;

    use super::*;
    use crate::points::Points;

    fn points(data_type: &DataType, steps: ArrayRef) -> Points {
        let mut points = Points::new(data_type);
        let values: ArrayRef = Arc::new(Float64Array::from(vec![1.0; steps.len()]));
        points.extend(&steps, &values).unwrap();
        points
    }

    #[test]
    fn whole_numbers_stand_for_themselves() {
        let mut points = points(&DataType::Int64, Arc::new(Int64Array::from(vec![5, -3, 900])));
        let curves = [points.sorted()];
        let ticks = Ticks::of(&curves).unwrap();
        assert_eq!((ticks.tick(-3), ticks.key(900), ticks.tick_at(1000.0)), (-3, 900, 1000));
        assert_eq!(ticks.per_step(), 1.0);
    }

    #[test]
    fn others_keep_their_distances_and_come_back() {
        let steps = [-0.5, 0.25, 1.0, 7.5];
        let mut floats = points(&DataType::Float64, Arc::new(Float64Array::from(steps.to_vec())));
        let curves = [floats.sorted()];
        let ticks = Ticks::of(&curves).unwrap();
        let keys: Vec<i64> = curves[0].iter().map(|point| point.0).collect();
        for (&key, step) in keys.iter().zip(steps) {
            assert_eq!(ticks.key(ticks.tick(key)), key);
            assert_eq!(ticks.tick(key), ticks.tick_at(step));
            assert_eq!(ticks.tick(key), ((step + 0.5) / 8.0 * EXACT as f64) as i64);
        }
    }

    #[test]
    fn no_distance_is_too_great() {
        let ends = vec![i64::MIN, 0, i64::MAX];
        let mut points = points(&DataType::Int64, Arc::new(Int64Array::from(ends.clone())));
        let curves = [points.sorted()];
        let ticks = Ticks::of(&curves).unwrap();
        assert!(ends.iter().all(|&key| ticks.key(ticks.tick(key)) == key));
        assert!(ticks.tick(i64::MAX) <= EXACT && ticks.tick_at(f64::MAX) > EXACT);
    }
}
