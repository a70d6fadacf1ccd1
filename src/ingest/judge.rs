//! The last word of the diagnosis on a run, once its log is read to the end: on the rows that count, in
//! whatever pieces they came.

use super::load::Active;
use super::overlap::{Overlap, Overlaps};
use super::settle::rewinds_of;
use super::siblings::{self, Place};
use super::state::RunState;
use super::verdict::Verdict;
use super::watch::{Roles, RunWatch};
use crate::records::roles::{MemoryUnit, Rules};
use crate::store::curves::{self, Point, Wanted};
use crate::store::rows::RowSet;
use crate::store::{FileRecord, Limits};
use runq_udfs::kernels::diagnosis::{Facts, Judgement, Monitor, Role, Watch, phases};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A run that did not grow for so long is taken to be over: an hour.
const YOUNG_MS: i64 = 60 * 60_000;

/// What a verdict depends on beside points, roles and rules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The length of the run by its own word, whether that can be or not.
    plan: Option<i64>,
    /// Memory of an accelerator.
    memory_bytes: Option<u64>,
    /// Where the run stands among its siblings.
    place: Option<Place>,
}

impl Terms {
    /// Those of a run as it is.
    pub fn of(state: &RunState) -> Self {
        Self { plan: state.planned(), memory_bytes: state.gpu_memory_bytes(), place: Place::of(state) }
    }
}

/// What a run is judged by.
#[derive(Debug, Clone, PartialEq)]
pub struct Grounds {
    terms: Terms,
    /// What is known beside its curves.
    pub facts: Facts,
    /// Its metrics that mean something, the plainest of each role first.
    pub curves: Vec<(Role, String)>,
}

impl Grounds {
    /// Those of a run as it is.
    pub fn of(state: &RunState, terms: Terms, roles: &mut Roles, rules: &Rules) -> Self {
        let counting = state.keys.iter().filter(|(_, state)| !state.internal && state.last.is_some());
        let metrics = counting.filter_map(|(key, _)| Some((key.as_str(), roles.of(key, rules)?)));
        let mut curves = rules.curves(metrics);
        let unit = MemoryUnit::keep_one(&mut curves);
        let last = |(_, key): &(Role, String)| state.keys.get(key)?.last.map(|(step, _)| step);
        let last = curves.iter().filter_map(last).max();
        let facts = Facts {
            // A plan that is over was none, or is in another unit.
            planned_steps: terms.plan.filter(|planned| last.is_some_and(|last| last <= *planned)),
            memory_capacity: unit.and_then(|unit| unit.capacity(terms.memory_bytes)),
            gpu_count: state.gpu_count(),
            resumed_at: state.starts.values().copied().collect(),
        };
        Self { terms, facts, curves }
    }
}

/// By what a run is to be judged (again); nothing where what was said of it holds.
pub fn due(state: &RunState, roles: &mut Roles, rules: &Rules) -> Option<Grounds> {
    let terms = Terms::of(state);
    let is_due = state.is_unjudged || state.judged_by != terms;
    is_due.then(|| Grounds::of(state, terms, roles, rules))
}

/// Judges a run by what is under watch, which is all of it. What is new gets the next numbers. What its
/// siblings say of it stands until it is compared with them again.
///
/// # Errors
/// Never in practice: encoding in memory.
pub fn judge(
    run: &mut Active,
    grounds: &Grounds,
    rules: &Rules,
    next_seq: &mut dyn FnMut() -> i64,
) -> anyhow::Result<()> {
    let resumed_at = &grounds.facts.resumed_at;
    let mut pace = None;
    let mut watches: Vec<Watch> = Vec::with_capacity(grounds.curves.len() + 1);
    for (_, key) in &grounds.curves {
        let Some((watch, own_pace)) = run.watch.take(key, resumed_at) else { continue };
        watches.push(watch);
        pace = pace.or(own_pace);
    }
    if !watches.iter().any(|watch| watch.role == Role::Throughput) {
        watches.extend(pace);
    }
    let monitor = Monitor { facts: grounds.facts.clone(), curves: watches };
    let judgement = Judgement::new(&monitor, &rules.limits);
    let findings = judgement.findings();
    let transitions = phases(&judgement, &findings, &rules.limits);
    let verdict = Verdict::new(&judgement, &findings, &transitions);
    let state = &mut run.state;
    let place = grounds.terms.place.clone();
    let sketch = place.as_ref().and_then(|place| Some((place, siblings::Sketch::of_loss(&judgement)?)));
    let told = state.verdict.of_siblings().filter(|_| sketch.is_some());
    let verdict = verdict.with_siblings(told.cloned());
    let sibling = |(place, sketch): (&Place, siblings::Sketch)| {
        sketch.record(place, &run.key.source, &run.run_id, told)
    };
    run.sibling = Some(sketch.map(sibling).transpose()?);
    let verdict = verdict.numbered(&state.verdict, next_seq);
    run.verdict_changed |= verdict != state.verdict;
    state.verdict = verdict;
    state.judged_by = grounds.terms.clone();
    state.is_unjudged = false;
    run.watch = RunWatch::default();
    Ok(())
}

/// A metric of which rows must be read from the store before its run can be judged.
#[derive(Debug)]
pub struct Missing {
    /// Index of the run.
    pub run: usize,
    /// Metric.
    pub key: String,
    /// What it means.
    pub role: Role,
}

/// Files of points, the rows of each that do not count, and whether it is part of the commit at hand.
pub type Files = Vec<(FileRecord, RowSet, bool)>;

/// Reads metrics that are missing and puts them under watch.
///
/// # Errors
/// When a file cannot be read.
pub fn read(
    cache: &Path,
    files: &Files,
    missing: &[Missing],
    runs: &mut [Active],
    rules: &Rules,
) -> anyhow::Result<()> {
    let stored = |curve: &Missing| runs[curve.run].state.keys.get(&curve.key).map_or(0, |key| key.stored);
    let mut points: Vec<Vec<Point>> =
        missing.iter().map(|curve| Vec::with_capacity(stored(curve).max(0) as usize)).collect();
    for (file, hidden, is_new) in files {
        let mut wanted = Wanted::new();
        // What is stored of a run that is read anew does not count.
        for (number, curve) in
            missing.iter().enumerate().filter(|(_, curve)| *is_new || !runs[curve.run].fresh)
        {
            wanted.entry(curve.key.clone()).or_default().insert(runs[curve.run].run_id.clone(), number);
        }
        curves::read(cache, file, hidden, &wanted, &mut |number, point| points[number].push(point))?;
    }
    for (curve, mut points) in missing.iter().zip(points) {
        // Each file has them in order, and each step is there once.
        if !points.is_sorted_by_key(|point| point.0) {
            points.sort_by_key(|point| point.0);
        }
        let run = &mut runs[curve.run];
        let resumed_at: Vec<i64> = run.state.starts.values().copied().collect();
        let mut watch = run.watch.curve(curve.role, &curve.key, &rules.limits);
        points.into_iter().for_each(|point| watch.push(point, &resumed_at));
        run.watch.put(curve.key.clone(), watch);
    }
    Ok(())
}

/// Runs that are judged together, so that each file is read once for all of them.
#[derive(Debug, Default)]
pub struct Portion {
    /// Runs by index, with what they are judged by.
    pub runs: Vec<(usize, Grounds)>,
    /// What they lack.
    pub missing: Vec<Missing>,
    /// Points to be read for it.
    pub point_count: u64,
}

impl Portion {
    /// Adds a run.
    pub fn add(&mut self, index: usize, run: &mut Active, grounds: Grounds) {
        for (role, key) in run.watch.lacks(&run.state, grounds.facts.planned_steps, &grounds.curves) {
            self.point_count += run.state.keys.get(&key).map_or(0, |state| state.stored) as u64;
            self.missing.push(Missing { run: index, key, role });
        }
        self.runs.push((index, grounds));
    }

    /// What is missing: metrics so long that they are settled anew on the way, since that reads them in
    /// little memory; and the others.
    pub fn split_missing(&mut self, runs: &[Active], limits: Limits) -> (Overlaps, Vec<Missing>) {
        let mut long = Overlaps::new();
        let mut short = std::mem::take(&mut self.missing);
        short.retain(|curve| {
            let state = &runs[curve.run].state;
            let Some(key) = state.keys.get(&curve.key) else { return false };
            let is_long = key.stored as u64 > limits.reread_points;
            if is_long {
                let rewinds = rewinds_of(key, &state.rewinds);
                let overlap = Overlap { from_step: i64::MIN, recompute: true, rewinds };
                long.entry(curve.run).or_default().insert(curve.key.clone(), overlap);
            }
            !is_long
        });
        (long, short)
    }
}

/// Whether more is to be expected of a run: it was written to not long ago.
pub fn is_growing(run: &Active, now_ms: i64) -> bool {
    let last = run.state.last_times.back().copied().max(run.state.modified);
    last.is_some_and(|last| now_ms.saturating_sub(last) < YOUNG_MS)
}

/// What is kept of a run under watch for the next refresh; nothing where it is quicker to read its points
/// again, or where it does not grow.
///
/// # Errors
/// Never in practice: encoding in memory.
pub fn to_keep(run: &Active, limits: Limits, now_ms: i64) -> anyhow::Result<Option<Vec<u8>>> {
    let is_worth_it = is_growing(run, now_ms) && run.watch.rows() >= limits.kept_watch_points;
    Ok(if is_worth_it { Some(postcard::to_stdvec(&run.watch)?) } else { None })
}
