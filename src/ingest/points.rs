//! Points on their way into a file, gathered by run and metric.

use crate::records::columns::{Columns, PointRow};
use std::collections::HashMap;

/// Columns of fewer points than this are not kept for the next ones.
const MIN_KEPT_POINTS: usize = 4096;

/// A metric of a run and its points in order of arrival.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Index of the run in the batch.
    pub run: usize,
    /// Metric.
    pub key: String,
    /// The tracker's own key.
    pub internal: bool,
    /// Its points.
    pub points: Columns,
    /// Points of databases so far, those of earlier batches included.
    pub arrivals: i64,
    /// Indices of those that do not count, once that is settled.
    pub superseded: Vec<usize>,
    /// Whether its steps are training steps.
    is_training: bool,
}

/// Points of many runs.
#[derive(Debug, Default)]
pub struct Points {
    groups: Vec<Group>,
    index: HashMap<(usize, String), usize>,
    /// The group that followed each group the last time: logs repeat their keys in one order.
    next: Vec<usize>,
    previous: usize,
    count: usize,
    /// Empty columns with room, by the key they were used for.
    kept: HashMap<String, Columns>,
}

impl Points {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of the group of a metric, and whether its steps are training steps; `find_out` is asked
    /// at its first point, and how many arrivals are known of the metric.
    pub fn group(&mut self, run: usize, key: &str, find_out: impl FnOnce() -> (bool, i64)) -> (usize, bool) {
        let guess = self.next.get(self.previous).copied().unwrap_or(usize::MAX);
        let at = match self.groups.get(guess) {
            Some(group) if group.run == run && group.key == key => guess,
            _ => self.look_up(run, key, find_out),
        };
        if let Some(next) = self.next.get_mut(self.previous) {
            *next = at;
        }
        self.previous = at;
        (at, self.groups[at].is_training)
    }

    fn look_up(&mut self, run: usize, key: &str, find_out: impl FnOnce() -> (bool, i64)) -> usize {
        let name = (run, key.to_string());
        if let Some(group) = self.index.get(&name) {
            return *group;
        }
        let at = self.groups.len();
        let points = self.kept.remove(key).unwrap_or_default();
        let (is_training, arrivals) = find_out();
        let key = name.1.clone();
        let superseded = Vec::new();
        self.groups.push(Group { run, key, internal: false, points, arrivals, superseded, is_training });
        self.next.push(usize::MAX);
        self.index.insert(name, at);
        at
    }

    /// Number of the next arrival in a group of [`Points::group`].
    pub fn arrival(&mut self, group: usize) -> i64 {
        self.groups.get_mut(group).map_or(0, |group| {
            group.arrivals += 1;
            group.arrivals - 1
        })
    }

    /// Adds a point to a group of [`Points::group`].
    pub fn push(&mut self, group: usize, internal: bool, row: PointRow) {
        if let Some(group) = self.groups.get_mut(group) {
            group.internal = internal;
            group.points.push(row);
            self.count += 1;
        }
    }

    /// Takes all points, metric by metric.
    pub fn take(&mut self) -> Vec<Group> {
        let kept = std::mem::take(&mut self.kept);
        let taken = std::mem::replace(self, Self { kept, ..Self::default() });
        taken.groups.into_iter().filter(|group| !group.points.is_empty()).collect()
    }

    /// Takes back columns that were read, for the next points of such a metric: memory that is used
    /// again need not be asked for.
    pub fn give_back(&mut self, key: &str, mut points: Columns) {
        if points.len() >= MIN_KEPT_POINTS {
            points.clear();
            self.kept.insert(key.to_string(), points);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::columns::NO_TIME;

    #[test]
    fn points_come_back_by_run_and_key_in_order_of_arrival() {
        let mut points = Points::default();
        let row = |step| PointRow { step, value: 0.0, time: NO_TIME, seq: step, segment: 0 };
        let add = |points: &mut Points, run, key, step| {
            let (group, _) = points.group(run, key, || (true, 0));
            points.push(group, false, row(step));
        };
        for step in 0..3 {
            for (run, key) in [(0, "a"), (0, "b"), (1, "a")] {
                add(&mut points, run, key, step);
            }
        }
        add(&mut points, 0, "b", 9);
        assert_eq!(points.len(), 10);
        let taken: Vec<_> =
            points.take().into_iter().map(|group| (group.run, group.key, group.points.step)).collect();
        let name = |text: &str| text.to_string();
        assert_eq!(
            taken,
            [(0, name("a"), vec![0, 1, 2]), (0, name("b"), vec![0, 1, 2, 9]), (1, name("a"), vec![0, 1, 2])]
        );
        assert!(points.is_empty());
    }
}
