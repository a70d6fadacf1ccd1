//! Settles the new points of one metric: their order, what their steps mean, which of them count.

use super::overlap::{self, Overlap, Rewind};
use super::state::{KeyState, RunState};
use crate::records::Axis;
use crate::records::columns::Columns;

/// What is known of the axis of a metric before its points are read (again).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum AxisHint {
    /// All points are at one step: index them by arrival, from the first one on.
    Indexed,
    /// It has steps after all.
    Stepped,
}

/// What became of the points.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Indices of the rows that do not count.
    pub superseded: Vec<usize>,
    /// Stored points that the new ones may touch.
    pub overlap: Option<Overlap>,
    /// The stored points do not fit the new ones: the log must be read again from its start.
    pub reread: bool,
}

/// How the steps of a metric are made.
enum Steps {
    /// As logged.
    Logged,
    /// Order of arrival, in place of the one step at which all points were logged.
    Arrival,
    /// A counter of the producer, which begins again with each start of the run.
    Counter,
}

/// Sorts the rows, decides which count among them, and continues the statistics of the metric.
/// What is found out of the axis goes into the hints of the run.
pub fn settle(key: &str, internal: bool, rows: &mut Columns, run: &mut RunState) -> Settled {
    let hint = run.hints.get(key).copied();
    let (rewinds, new_rewind) = (std::mem::take(&mut run.rewinds), run.new_rewind);
    let state = run.key(key);
    state.internal = internal;
    let mut settled = Settled::default();
    let (steps, found) = if internal { (Steps::Logged, None) } else { steps(rows, state, hint) };
    let earlier_start = rows.segment.iter().any(|segment| *segment < state.stored_segment);
    settled.reread = found.is_some() || earlier_start && !matches!(steps, Steps::Logged);
    number(rows, &steps, state);
    if !internal {
        let seen = rewinds_of(state, &rewinds);
        let new_rewind = new_rewind.and_then(|from_step| rewind_of(state, from_step));
        settled.superseded = overlap::superseded(rows, &seen);
        settled.overlap = overlap_with_stored(rows, state, new_rewind, &seen);
        if !settled.overlap.as_ref().is_some_and(|overlap| overlap.recompute) {
            push_live(rows, &settled.superseded, state);
        }
    }
    note_stored(rows, state);
    run.rewinds = rewinds;
    run.hints.extend(found.map(|hint| (key.to_string(), hint)));
    settled
}

/// How steps are made, and what is newly known when stored points were numbered otherwise.
fn steps(rows: &Columns, state: &KeyState, hint: Option<AxisHint>) -> (Steps, Option<AxisHint>) {
    let first_step = rows.step.first().copied().unwrap_or_default();
    let constant = rows.step.iter().all(|step| *step == first_step);
    let same_as_stored = state.stored_steps == Some((first_step, first_step));
    match (hint, state.constant_step) {
        (Some(AxisHint::Stepped), _) => (logged_or_counter(state), None),
        (_, Some(step)) if constant && step == first_step => (Steps::Arrival, None),
        (_, Some(_)) => (Steps::Logged, Some(AxisHint::Stepped)),
        _ if state.axis == Axis::Index => (Steps::Counter, None),
        (Some(AxisHint::Indexed), None) if state.stored == 0 && constant => (Steps::Arrival, None),
        (None, None) if state.stored == 0 && constant && rows.len() > 1 => (Steps::Arrival, None),
        (None, None) if state.stored == 1 && constant && same_as_stored => {
            (Steps::Logged, Some(AxisHint::Indexed))
        }
        _ => (Steps::Logged, None),
    }
}

fn logged_or_counter(state: &KeyState) -> Steps {
    if state.axis == Axis::Index { Steps::Counter } else { Steps::Logged }
}

fn number(rows: &mut Columns, steps: &Steps, state: &mut KeyState) {
    match steps {
        Steps::Logged => {}
        Steps::Arrival => {
            rows.sort_by_arrival();
            state.constant_step = rows.step.first().copied().or(state.constant_step);
            state.axis = Axis::Index;
            (state.stored..).zip(&mut rows.step).for_each(|(index, step)| *step = index);
        }
        Steps::Counter => {
            rows.sort_by_arrival();
            let places = rows.segment.iter().zip(&mut rows.step);
            places.for_each(|(segment, step)| *step = state.counter.place(*segment, *step));
        }
    }
    rows.sort_by_step();
}

/// A rewind tells steps as they were logged. Where points are indexed by arrival it takes back all
/// of them or none, by the one step at which they were logged; counters of the producer are no steps.
pub fn rewind_of(state: &KeyState, from_step: i64) -> Option<i64> {
    match state.constant_step {
        None if state.axis == Axis::Index => None,
        None => Some(from_step),
        Some(step) => (from_step <= step).then_some(i64::MIN),
    }
}

/// The rewinds as far as they concern a metric.
pub fn rewinds_of(state: &KeyState, rewinds: &[Rewind]) -> Vec<Rewind> {
    let concerns = |&(segment, seq, from_step): &Rewind| Some((segment, seq, rewind_of(state, from_step)?));
    rewinds.iter().filter_map(concerns).collect()
}

fn overlap_with_stored(
    rows: &Columns,
    state: &KeyState,
    new_rewind: Option<i64>,
    rewinds: &[Rewind],
) -> Option<Overlap> {
    let (_, stored_last) = state.stored_steps?;
    let first = *rows.step.first()?;
    let from_step = first.min(new_rewind.unwrap_or(i64::MAX));
    if from_step > stored_last {
        return None;
    }
    let is_newest = rows.segment.iter().all(|segment| *segment >= state.stored_segment);
    let only_last = is_newest && state.last.is_some_and(|(last, _)| first >= last);
    let is_rewound = new_rewind.is_some_and(|step| step <= stored_last);
    Some(Overlap { from_step, recompute: !only_last || is_rewound, rewinds: rewinds.to_vec() })
}

fn push_live(rows: &Columns, superseded: &[usize], state: &mut KeyState) {
    let mut skip = superseded.iter().peekable();
    for (i, (step, value)) in rows.step.iter().zip(&rows.value).enumerate() {
        if skip.next_if_eq(&&i).is_none() {
            state.push(*step, *value);
        }
    }
}

fn note_stored(rows: &Columns, state: &mut KeyState) {
    let (Some(first), Some(last)) = (rows.step.first(), rows.step.last()) else { return };
    let (low, high) = state.stored_steps.unwrap_or((*first, *last));
    state.stored_steps = Some((low.min(*first), high.max(*last)));
    state.stored += rows.len() as i64;
    state.stored_segment = rows.segment.iter().copied().fold(state.stored_segment, i32::max);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::columns::PointRow;

    fn rows(points: &[(i32, i64)]) -> Columns {
        let mut rows = Columns::default();
        for (seq, &(segment, step)) in (0..).zip(points) {
            rows.push(PointRow { step, value: seq as f64, time: 0, seq, segment });
        }
        rows
    }

    #[test]
    fn points_at_one_step_are_indexed_by_arrival() {
        let mut run = RunState::default();
        let mut points = rows(&[(0, 7), (0, 7), (0, 7)]);
        assert_eq!(settle("acc", false, &mut points, &mut run), Settled::default());
        assert_eq!(points.step, [0, 1, 2]);
        let mut more = rows(&[(0, 7)]);
        assert_eq!(settle("acc", false, &mut more, &mut run), Settled::default());
        assert_eq!(more.step, [3]);
        assert!(settle("acc", false, &mut rows(&[(0, 8)]), &mut run).reread);
        assert_eq!(run.hints["acc"], AxisHint::Stepped);
    }

    #[test]
    fn a_rewind_takes_back_indexed_points_by_the_step_they_were_logged_at() {
        for (from_step, live) in [(50, 5), (0, 2)] {
            let mut run = RunState { rewinds: vec![(1, 3, from_step)], ..RunState::default() };
            let mut points = rows(&[(0, 0), (0, 0), (0, 0), (1, 0), (1, 0)]);
            let settled = settle("acc", false, &mut points, &mut run);
            assert_eq!(points.len() - settled.superseded.len(), live);
        }
    }

    #[test]
    fn a_counter_that_begins_again_goes_on() {
        let mut run = RunState::default();
        run.key("system/cpu").axis = Axis::Index;
        let mut points = rows(&[(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]);
        assert_eq!(settle("system/cpu", false, &mut points, &mut run), Settled::default());
        assert_eq!(points.step, [0, 1, 2, 3, 4]);
        assert!(settle("system/cpu", false, &mut rows(&[(0, 3)]), &mut run).reread, "an earlier start grew");
    }
}
