//! The metrics of a run that mean something to the diagnosis, under its eyes while they are read: each row
//! is looked at once, when it is written, and not again as long as nothing before it changes.

use super::load::Active;
use super::overlap::Overlap;
use super::points::Group;
use super::settle::Settled;
use super::state::RunState;
use crate::records::Axis;
use crate::records::columns::{Columns, NO_TIME, PointRow};
use crate::records::roles::{MAX_CURVES, Rules};
use crate::store::curves::Point;
use runq_udfs::kernels::diagnosis::{Limits, Pace, Role, Watch};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Roles by key, as far as they were asked for: logs repeat their keys.
#[derive(Debug, Default)]
pub struct Roles(HashMap<String, Option<Role>>);

impl Roles {
    /// The role of a metric; none where it has none.
    pub fn of(&mut self, key: &str, rules: &Rules) -> Option<Role> {
        if let Some(role) = self.0.get(key) {
            return *role;
        }
        let role = rules.role(key);
        self.0.insert(key.to_string(), role);
        role
    }
}

/// A metric under watch. The newest row is held back, since a later arrival at the same step takes its
/// place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurveWatch {
    watch: Watch,
    /// How fast it goes, of metrics that are logged with the steps of the training.
    pace: Option<Pace>,
    held: Option<Point>,
}

impl CurveWatch {
    /// A metric of which no row was seen, in a run of so many steps where that is known; `is_timed` where
    /// its times may be all that tells how fast it goes.
    pub fn new(role: Role, key: &str, planned_steps: Option<i64>, limits: &Limits, is_timed: bool) -> Self {
        let is_timed = is_timed && Pace::is_told_by(role);
        Self {
            watch: Watch::new(role, key, planned_steps, limits),
            pace: is_timed.then(|| Pace::new(planned_steps, limits)),
            held: None,
        }
    }

    /// Takes the next row that counts; its step is at least that of the row before.
    pub fn push(&mut self, row: Point, resumed_at: &[i64]) {
        if let Some(held) = self.held.replace(row).filter(|held| held.0 < row.0) {
            self.look_at(held, resumed_at);
        }
    }

    fn look_at(&mut self, (step, time_ms, value): Point, resumed_at: &[i64]) {
        let time_s = if time_ms == NO_TIME { f64::NAN } else { time_ms as f64 / 1e3 };
        self.watch.push(step, time_s, value);
        if let Some(pace) = &mut self.pace {
            pace.push(step, time_s, resumed_at);
        }
    }

    /// Rows so far.
    fn rows(&self) -> u64 {
        self.watch.rows() + u64::from(self.held.is_some())
    }

    /// The metric with all its rows, and its pace where that can be told.
    pub fn finish(mut self, resumed_at: &[i64]) -> (Watch, Option<Watch>) {
        if let Some(held) = self.held.take() {
            self.look_at(held, resumed_at);
        }
        (self.watch, self.pace.and_then(Pace::told))
    }
}

/// A run under watch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunWatch {
    /// The length it is judged by.
    planned_steps: Option<i64>,
    /// Whether that was decided in this sitting.
    #[serde(skip)]
    has_plan: bool,
    /// Where it was resumed, as far as its paces know.
    starts: BTreeMap<i32, i64>,
    /// Whether a metric tells its throughput.
    has_throughput: bool,
    curves: BTreeMap<String, CurveWatch>,
}

impl RunWatch {
    /// Rows looked at.
    pub fn rows(&self) -> u64 {
        self.curves.values().map(CurveWatch::rows).sum()
    }

    /// Forgets a metric whose rows changed.
    pub fn forget(&mut self, key: &str) {
        self.curves.remove(key);
    }

    /// Makes ready to judge a run of so many steps by some metrics: forgets what was seen otherwise, and
    /// returns the metrics of which not all rows that count were seen.
    pub fn lacks(
        &mut self,
        state: &RunState,
        planned_steps: Option<i64>,
        wanted: &[(Role, String)],
    ) -> Vec<(Role, String)> {
        if self.planned_steps != planned_steps {
            self.curves.clear();
            self.planned_steps = planned_steps;
        }
        self.has_plan = true;
        self.heed(&state.starts);
        let count = |key: &str| state.keys.get(key).map_or(0, |state| state.all().count) as u64;
        self.has_throughput = wanted.iter().any(|(role, _)| *role == Role::Throughput);
        let is_timed = !self.has_throughput;
        let is_whole = |curve: &CurveWatch, role: Role, key: &str| {
            let has_pace = curve.pace.is_some() || !is_timed || !Pace::is_told_by(role);
            curve.watch.role == role && curve.rows() == count(key) && has_pace
        };
        let has = |(role, key): &&(Role, String)| {
            self.curves.get(key).is_some_and(|curve| is_whole(curve, *role, key))
        };
        wanted.iter().filter(|curve| !has(curve)).cloned().collect()
    }

    /// Forgets metrics whose pace did not know that the run was resumed before their newest row.
    fn heed(&mut self, starts: &BTreeMap<i32, i64>) {
        if self.starts == *starts {
            return;
        }
        let is_new = |(segment, step): &(&i32, &i64)| self.starts.get(segment) != Some(step);
        let changed = starts.iter().filter(is_new).map(|(_, step)| *step).min().unwrap_or(i64::MIN);
        let seen = |curve: &CurveWatch| curve.pace.as_ref().and_then(Pace::last_step);
        self.curves.retain(|_, curve| seen(curve).is_none_or(|last| last < changed));
        self.starts.clone_from(starts);
    }

    /// The length it is judged by, until it is known which one can be.
    fn begin(&mut self, state: &RunState) {
        if self.curves.is_empty() && !self.has_plan {
            self.planned_steps = state.planned();
            self.has_plan = true;
        }
    }

    /// A metric of which no row was seen.
    pub fn curve(&self, role: Role, key: &str, limits: &Limits) -> CurveWatch {
        CurveWatch::new(role, key, self.planned_steps, limits, !self.has_throughput)
    }

    /// Puts a metric of which all rows were seen.
    pub fn put(&mut self, key: String, curve: CurveWatch) {
        self.curves.insert(key, curve);
    }

    /// A metric with all its rows, as [`CurveWatch::finish`]; none that was not under watch.
    pub fn take(&mut self, key: &str, resumed_at: &[i64]) -> Option<(Watch, Option<Watch>)> {
        self.curves.remove(key).map(|curve| curve.finish(resumed_at))
    }

    /// Whether another metric of a role may be put under watch.
    fn has_room(&self, role: Role) -> bool {
        self.curves.values().filter(|curve| curve.watch.role == role).count() < 2 * MAX_CURVES
    }
}

/// Sees the points that count of metrics whose stored points are settled anew.
pub struct Eyes {
    curves: BTreeMap<String, CurveWatch>,
    resumed_at: Vec<i64>,
}

impl Eyes {
    /// On those of `keys` that mean something. What was seen of them before is forgotten.
    pub fn new(run: &mut Active, keys: &BTreeMap<String, Overlap>, roles: &mut Roles, rules: &Rules) -> Self {
        run.watch.begin(&run.state);
        let mut curves = BTreeMap::new();
        for (key, _) in keys.iter().filter(|(_, overlap)| overlap.recompute) {
            run.watch.forget(key);
            if let Some(role) = roles.of(key, rules) {
                run.state.is_unjudged = true;
                curves.insert(key.clone(), run.watch.curve(role, key, &rules.limits));
            }
        }
        Self { curves, resumed_at: run.state.starts.values().copied().collect() }
    }

    /// Sees the next point of a metric.
    pub fn see(&mut self, key: &str, row: PointRow) {
        if let Some(curve) = self.curves.get_mut(key) {
            curve.push((row.step, row.time, row.value), &self.resumed_at);
        }
    }

    /// Puts under watch what was seen.
    pub fn close(self, run: &mut Active) {
        run.watch.curves.extend(self.curves);
    }
}

/// Notes what the points of each metric tell of a run, before those of any are looked at: where it was
/// resumed, and whether its throughput was logged.
pub fn note(run: &mut Active, group: &Group, role: Role) {
    run.watch.has_throughput |= role == Role::Throughput;
    let state = &mut run.state;
    let is_step = state.keys.get(&group.key).is_none_or(|key| key.axis == Axis::Step);
    if state.segment_count < 2 || !is_step {
        return;
    }
    for (step, segment) in group.points.step.iter().zip(&group.points.segment).filter(|(_, of)| **of > 0) {
        let start = state.starts.entry(*segment).or_insert(*step);
        *start = (*start).min(*step);
    }
}

/// Looks at new points of a metric, settled and stored.
pub fn look_at(run: &mut Active, role: Role, group: &Group, settled: &Settled, rules: &Rules) {
    run.state.is_unjudged = true;
    if settled.overlap.as_ref().is_some_and(|overlap| overlap.recompute) {
        return run.watch.forget(&group.key);
    }
    run.watch.heed(&run.state.starts);
    let is_first = run.state.key(&group.key).stored == group.points.len() as i64;
    if is_first && run.watch.has_room(role) {
        run.watch.begin(&run.state);
        let curve = run.watch.curve(role, &group.key, &rules.limits);
        run.watch.put(group.key.clone(), curve);
    }
    let resumed_at: Vec<i64> = run.state.starts.values().copied().collect();
    if let Some(curve) = run.watch.curves.get_mut(&group.key) {
        rows(&group.points, &settled.superseded).for_each(|row| curve.push(row, &resumed_at));
    }
}

/// Rows but those that do not count.
fn rows<'a>(points: &'a Columns, superseded: &'a [usize]) -> impl Iterator<Item = Point> + 'a {
    let mut skip = superseded.iter().peekable();
    (0..points.len())
        .filter(move |at| skip.next_if_eq(&at).is_none())
        .map(|at| (points.step[at], points.time[at], points.value[at]))
}
