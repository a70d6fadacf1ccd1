//! Points on their way into a file: columns in memory, grouped by run and metric.

use std::collections::HashMap;

/// A time that was not logged.
pub const NO_TIME: i64 = i64::MIN;

/// A run and a metric, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Index of the run in the batch.
    pub run: usize,
    /// Metric.
    pub key: String,
    /// The tracker's own key.
    pub internal: bool,
    /// Whether its steps are training steps.
    is_training: bool,
}

/// Points of many runs, in order of arrival.
#[derive(Debug, Default)]
pub struct Points {
    /// What a point belongs to.
    pub groups: Vec<Group>,
    index: HashMap<(usize, String), u32>,
    /// The group that followed each group the last time: logs repeat their keys in one order.
    next: Vec<u32>,
    previous: u32,
    group: Vec<u32>,
    rows: Vec<PointRow>,
}

/// A point without its names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PointRow {
    /// Step.
    pub step: i64,
    /// Value.
    pub value: f64,
    /// Milliseconds since 1970, or [`NO_TIME`].
    pub time: i64,
    /// Arrival number within the input.
    pub seq: i64,
    /// Which start of the run.
    pub segment: i32,
}

impl PointRow {
    /// What decides which of two points at one step counts: the larger.
    pub fn arrival(&self) -> (i32, i64) {
        (self.segment, self.seq)
    }
}

impl Points {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a point.
    pub fn push(&mut self, run: usize, key: &str, internal: bool, row: PointRow) {
        let group = self.group_of(run, key, || true);
        if let Some(group) = self.groups.get_mut(group as usize) {
            group.internal = internal;
        }
        self.group.push(group);
        self.rows.push(row);
    }

    /// Whether the steps of a metric are training steps; `find_out` is asked at its first point.
    pub fn is_training(&mut self, run: usize, key: &str, find_out: impl FnOnce() -> bool) -> bool {
        let previous = self.previous;
        let group = self.group_of(run, key, find_out);
        self.previous = previous;
        self.groups.get(group as usize).is_none_or(|group| group.is_training)
    }

    fn group_of(&mut self, run: usize, key: &str, is_training: impl FnOnce() -> bool) -> u32 {
        let guess = self.next.get(self.previous as usize).copied().unwrap_or(u32::MAX);
        let group = match self.groups.get(guess as usize) {
            Some(group) if group.run == run && group.key == key => guess,
            _ => self.look_up(run, key, is_training),
        };
        if let Some(next) = self.next.get_mut(self.previous as usize) {
            *next = group;
        }
        self.previous = group;
        group
    }

    fn look_up(&mut self, run: usize, key: &str, is_training: impl FnOnce() -> bool) -> u32 {
        let name = (run, key.to_string());
        if let Some(group) = self.index.get(&name) {
            return *group;
        }
        let group = self.groups.len() as u32;
        self.groups.push(Group { run, key: name.1.clone(), internal: false, is_training: is_training() });
        self.next.push(u32::MAX);
        self.index.insert(name, group);
        group
    }

    /// Takes all points, group by group (in the order of [`Points::groups`]), arrival order kept.
    pub fn take(&mut self) -> Vec<(Group, Vec<PointRow>)> {
        let taken = std::mem::take(self);
        let mut counts = vec![0usize; taken.groups.len()];
        taken.group.iter().for_each(|group| counts[*group as usize] += 1);
        let mut rows: Vec<Vec<PointRow>> = counts.into_iter().map(Vec::with_capacity).collect();
        for (group, row) in taken.group.iter().zip(taken.rows) {
            rows[*group as usize].push(row);
        }
        taken.groups.into_iter().zip(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_come_back_by_run_and_key_in_order_of_arrival() {
        let mut points = Points::default();
        let row = |step| PointRow { step, value: 0.0, time: NO_TIME, seq: step, segment: 0 };
        for step in 0..3 {
            for (run, key) in [(0, "a"), (0, "b"), (1, "a")] {
                points.push(run, key, false, row(step));
            }
        }
        points.push(0, "b", false, row(9));
        let taken: Vec<_> = points
            .take()
            .into_iter()
            .map(|(group, rows)| (group.run, group.key, rows.iter().map(|r| r.step).collect::<Vec<_>>()))
            .collect();
        let name = |text: &str| text.to_string();
        assert_eq!(
            taken,
            [(0, name("a"), vec![0, 1, 2]), (0, name("b"), vec![0, 1, 2, 9]), (1, name("a"), vec![0, 1, 2])]
        );
        assert!(points.is_empty());
    }
}
