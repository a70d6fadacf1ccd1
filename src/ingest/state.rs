//! What is kept of a run between refreshes: enough to continue it without reading it again.

use super::judge::Terms;
use super::overlap::Rewind;
use super::settle::AxisHint;
use super::verdict::Verdict;
use crate::records::batch::{Cell, time_cell};
use crate::records::{Axis, ConfigValue, Goal, RunFacts, TimeMs};
use crate::sources::find::sidecar;
use crate::sources::parse::axis::planned_steps;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// State of a run. Stored with the catalog's row of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Facts by the word of the log, oldest first, later ones merged over.
    pub facts: RunFacts,
    /// Facts by the word of documents and databases, by path; under no path, what the grouping of the
    /// logs says.
    pub document_facts: BTreeMap<String, Box<RunFacts>>,
    /// Configuration by the log: text and number.
    pub config: Config,
    /// Configuration by the documents beside the log, by path.
    pub documents: BTreeMap<String, Config>,
    /// Metrics, by key.
    pub keys: BTreeMap<String, KeyState>,
    /// Starts so far.
    pub segment_count: i32,
    /// Whether each start begins when the one before has ended.
    pub in_turn: bool,
    /// Segment and shift of its steps, where a start at 0 continues the run.
    pub shifts: BTreeMap<i32, i64>,
    /// Largest step that counts, for the column `last_step`.
    pub last_step: Option<i64>,
    /// Largest training step logged so far and not taken back: where a start at 0 again goes on.
    pub train_step: Option<i64>,
    /// Points taken back: (segment, arrival, from step).
    pub rewinds: Vec<Rewind>,
    /// Earliest time logged: of a point, a text, an alert or a printed line.
    pub first_time: Option<TimeMs>,
    /// The latest times logged, ascending; the last [`GAPS`] gaps lie between them.
    pub last_times: VecDeque<TimeMs>,
    /// Latest change of a file, for logs without times.
    pub modified: Option<TimeMs>,
    /// Printed lines so far, by path of the log.
    pub console_lines: BTreeMap<String, i64>,
    /// Alerts so far.
    pub alert_count: i64,
    /// What is known of the axes of metrics beyond their points.
    pub hints: BTreeMap<String, AxisHint>,
    /// Starts inside a file so far, by path.
    pub restarts: BTreeMap<String, i32>,
    /// Wall time of each start by the word of the tracker, seconds.
    pub durations_s: BTreeMap<i32, f64>,
    /// Smallest step of the rewinds since the last commit.
    pub new_rewind: Option<i64>,
    /// First step of each start but the first, by the metrics that mean something to the diagnosis.
    pub starts: BTreeMap<i32, i64>,
    /// The last word of the diagnosis.
    pub verdict: Verdict,
    /// What it depends on besides.
    pub judged_by: Terms,
    /// Whether points that mean something to it changed since.
    pub is_unjudged: bool,
}

/// Hyperparameters: text and number by key.
pub type Config = BTreeMap<String, (String, Option<f64>)>;

/// How many first values tell a training from another.
pub const EARLY: usize = 4;

/// How many last values are kept besides.
pub const LATE: usize = 4;

/// How far two clocks of one place may differ, milliseconds.
const CLOCK_SKEW_MS: i64 = 5 * 60_000;

/// How many gaps the honest state looks at.
pub const GAPS: usize = 10;

/// State of one metric of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyState {
    /// A key of the tracker's own; kept out of `summary`.
    pub internal: bool,
    /// What the step means, if it was said.
    pub axis: Axis,
    /// The one step at which every point was logged, while that is so.
    pub constant_step: Option<i64>,
    /// Where a counter of the producer stands.
    pub counter: Counter,
    /// Points stored so far, superseded ones included.
    pub stored: i64,
    /// Points of databases among them.
    pub arrivals: i64,
    /// Smallest and largest step in stored files.
    pub stored_steps: Option<(i64, i64)>,
    /// Newest segment among stored points.
    pub stored_segment: i32,
    /// Statistics of all points that count but the one at the last step.
    pub stats: Stats,
    /// The point at the last step: a later arrival at the same step replaces it.
    pub last: Option<(i64, f64)>,
    /// The tracker's word on which way is better.
    pub goal: Option<Goal>,
    /// The tracker's own final value.
    pub final_value: Option<f64>,
}

/// A counter of the producer that begins again with each start of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    segment: i32,
    offset: i64,
    last: Option<i64>,
}

impl Counter {
    /// Place of a count in the run: behind the start before, where it begins again.
    pub fn place(&mut self, segment: i32, count: i64) -> i64 {
        if segment > self.segment {
            self.segment = segment;
            self.offset = self.last.filter(|last| count <= *last).map_or(0, |last| last + 1);
        }
        let place = count.saturating_add(self.offset);
        self.last = self.last.max(Some(place));
        place
    }
}

/// Statistics of points in ascending step order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Points, NaN and infinities included.
    pub count: i64,
    /// NaN among them.
    pub nan_count: i64,
    /// Infinities among them.
    pub inf_count: i64,
    /// The point at the first step.
    pub first: Option<(i64, f64)>,
    /// The values at the first steps, as many as there are.
    early: [f32; EARLY],
    /// The finite values at the last steps: the one of number `n` stands at `n % LATE`.
    late: [f32; LATE],
    /// Points along the way: the first one, and the first at or behind each power of four.
    marks: Vec<(i64, f32)>,
    /// Smallest finite value and its first step.
    pub min: Option<(i64, f64)>,
    /// Largest finite value and its first step.
    pub max: Option<(i64, f64)>,
    /// The first finite value: mean and squares are those of the differences to it, which keeps
    /// their digits where values are large.
    pub pivot: Option<f64>,
    /// Mean of the differences (Welford 1962).
    pub mean: f64,
    /// Sum of squared deviations of the finite values (Welford 1962).
    pub m2: f64,
    /// Whether mean and squares are those of values times [`SHRINK`]: some were so large that their
    /// squares, or their difference to others, would be no numbers.
    pub is_shrunk: bool,
}

/// Values beyond this are shrunk.
const HUGE: f64 = 1e150;

/// 2 to the power of -600: exact, and brings every square into range.
const SHRINK: f64 = 2.409919865102884e-181;

impl Stats {
    /// Adds a point whose step is larger than all before.
    pub fn push(&mut self, step: i64, value: f64) {
        if let Some(early) = usize::try_from(self.count).ok().and_then(|place| self.early.get_mut(place)) {
            *early = value as f32;
        }
        self.count += 1;
        self.first.get_or_insert((step, value));
        if self.marks.last().is_none_or(|(last, _)| step >= power_of_four_behind(*last)) {
            self.marks.push((step, value as f32));
        }
        if value.is_nan() {
            self.nan_count += 1;
        } else if value.is_infinite() {
            self.inf_count += 1;
        } else {
            self.push_finite(step, value);
        }
    }

    fn push_finite(&mut self, step: i64, value: f64) {
        self.late[(self.finite_count() - 1) as usize % LATE] = value as f32;
        if self.min.is_none_or(|(_, min)| value < min) {
            self.min = Some((step, value));
        }
        if self.max.is_none_or(|(_, max)| value > max) {
            self.max = Some((step, value));
        }
        if value.abs() > HUGE && !self.is_shrunk {
            self.is_shrunk = true;
            self.mean *= SHRINK;
            self.m2 = self.m2 * SHRINK * SHRINK;
        }
        let pivot = *self.pivot.get_or_insert(value);
        let difference = value * self.scale() - pivot * self.scale();
        let delta = difference - self.mean;
        self.mean += delta / self.finite_count() as f64;
        self.m2 += delta * (difference - self.mean);
    }

    /// The first values.
    pub fn early(&self) -> &[f32] {
        &self.early[..EARLY.min(self.count as usize)]
    }

    /// The last finite values, in their order.
    pub fn late(&self) -> Vec<f32> {
        let count = self.finite_count() as usize;
        (count.saturating_sub(LATE)..count).map(|number| self.late[number % LATE]).collect()
    }

    /// Points along the way, by step: the same ones in any log with these steps.
    pub fn marks(&self) -> &[(i64, f32)] {
        &self.marks
    }

    fn scale(&self) -> f64 {
        if self.is_shrunk { SHRINK } else { 1.0 }
    }

    fn finite_count(&self) -> i64 {
        self.count - self.nan_count - self.inf_count
    }

    /// Mean of the finite values.
    pub fn mean(&self) -> Option<f64> {
        self.pivot.map(|pivot| (pivot * self.scale() + self.mean) / self.scale())
    }

    /// Sample standard deviation of the finite values; needs two.
    pub fn std(&self) -> Option<f64> {
        let n = self.finite_count();
        (n > 1).then(|| (self.m2 / (n - 1) as f64).sqrt() / self.scale())
    }
}

/// The smallest power of four above `step`.
fn power_of_four_behind(step: i64) -> i64 {
    let digits = u64::BITS - step.max(0).unsigned_abs().leading_zeros();
    1_i64.checked_shl(digits.next_multiple_of(2)).filter(|power| *power > 0).unwrap_or(i64::MAX)
}

impl KeyState {
    /// Adds a point that counts; its step is at least the last one's.
    pub fn push(&mut self, step: i64, value: f64) {
        if let Some((last_step, last)) = self.last.filter(|(last_step, _)| *last_step < step) {
            self.stats.push(last_step, last);
        }
        self.last = Some((step, value));
    }

    /// Statistics of all points that count.
    pub fn all(&self) -> Stats {
        let mut all = self.stats.clone();
        if let Some((step, value)) = self.last {
            all.push(step, value);
        }
        all
    }

    /// Forgets all points; what was said of the metric stays.
    pub fn clear_points(&mut self) {
        self.stats = Stats::default();
        self.last = None;
    }
}

impl RunState {
    /// Number of the next line that the log at `path` printed, from 1.
    pub fn next_line(&mut self, path: &str) -> i64 {
        if !self.console_lines.contains_key(path) {
            self.console_lines.insert(path.to_string(), 0);
        }
        self.console_lines.get_mut(path).map_or(0, |lines| {
            *lines += 1;
            *lines
        })
    }

    /// State of a key, made when new.
    pub fn key(&mut self, key: &str) -> &mut KeyState {
        self.keys.entry(key.to_string()).or_default()
    }

    /// Project, as in [`RunState::all_facts`].
    pub fn project(&self) -> &Option<String> {
        let mut told = self.tellers().map(|facts| &facts.project);
        told.find(|project| project.is_some()).unwrap_or(&None)
    }

    /// Group, or else sweep, as in [`RunState::all_facts`].
    pub fn group(&self) -> Option<&String> {
        let group = self.tellers().find_map(|facts| facts.run_group.as_ref());
        group.or_else(|| self.tellers().find_map(|facts| facts.sweep_id.as_ref()))
    }

    /// Start, as in [`RunState::all_facts`], or else the first time that was logged.
    pub fn created_at(&self) -> Option<TimeMs> {
        self.tellers().filter_map(|facts| facts.created_at).min().or(self.first_time)
    }

    /// Accelerators, as in [`RunState::all_facts`].
    pub fn gpu_count(&self) -> Option<u32> {
        self.tellers().find_map(|facts| facts.gpu_count)
    }

    /// Memory of each accelerator, as in [`RunState::all_facts`].
    pub fn gpu_memory_bytes(&self) -> Option<u64> {
        self.tellers().find_map(|facts| facts.gpu_memory_bytes)
    }

    /// Who tells facts: the first that tells one has the last word.
    fn tellers(&self) -> impl Iterator<Item = &RunFacts> {
        std::iter::once(&self.facts).chain(self.document_facts.values().rev().map(Box::as_ref))
    }

    /// All facts; the log has the last word. Documents each tell tags of their own (a file a tag).
    pub fn all_facts(&self) -> RunFacts {
        let mut all = RunFacts::default();
        for facts in self.document_facts.values() {
            let mut tags = all.tags.take().unwrap_or_default();
            all.merge_parts((**facts).clone());
            for tag in all.tags.take().unwrap_or_default() {
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
            }
            all.tags = Some(tags);
        }
        all.merge_parts(self.facts.clone());
        all
    }

    /// Sets a hyperparameter by the word of the log, or of a document beside it.
    pub fn set_config(&mut self, document: Option<&str>, key: &str, value: ConfigValue) {
        let config = match document {
            Some(path) => self.documents.entry(path.to_string()).or_default(),
            None => &mut self.config,
        };
        config.insert(key.to_string(), (value.text, value.number));
    }

    /// All hyperparameters; the log has the last word, before it the documents in their order.
    pub fn all_config(&self) -> Config {
        self.configs().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// The hyperparameters that were told; of several by one key the last counts.
    fn configs(&self) -> impl Iterator<Item = (&String, &(String, Option<f64>))> {
        let mut documents: Vec<(&String, &Config)> = self.documents.iter().collect();
        documents.sort_by_key(|(path, _)| sidecar::rank(path));
        documents.into_iter().map(|(_, config)| config).chain([&self.config]).flatten()
    }

    /// Largest step that counts: on the training axis, else on any.
    pub fn settle_last_step(&mut self) {
        let last = |wanted: fn(&KeyState) -> bool| {
            let keys = self.keys.values().filter(|key| !key.internal && wanted(key));
            keys.filter_map(|key| key.last.map(|(step, _)| step)).max()
        };
        self.last_step = last(|key| key.axis == Axis::Step).or_else(|| last(|_| true));
    }

    /// Steps the run means to make, by its own word, else by its configuration.
    pub fn planned(&self) -> Option<i64> {
        let by_documents = || self.document_facts.values().rev().find_map(|facts| facts.planned_steps);
        self.facts.planned_steps.or_else(by_documents).or_else(|| {
            let config: BTreeMap<_, _> = self.configs().collect();
            config.into_iter().find_map(|(key, (_, number))| planned_steps(key, *number))
        })
    }

    /// Sets a final value, or removes it with what is nested under it.
    pub fn set_final(&mut self, key: &str, value: Option<f64>) {
        if value.is_none() {
            let nested = format!("{key}.");
            let below =
                self.keys.range_mut(nested.clone()..).take_while(|(name, _)| name.starts_with(&nested));
            below.for_each(|(_, state)| state.final_value = None);
        }
        self.key(key).final_value = value;
    }

    /// Removes a hyperparameter and what is nested under it.
    pub fn remove_config(&mut self, key: &str) {
        let nested = format!("{key}.");
        self.config.retain(|name, _| name != key && !name.starts_with(&nested));
    }

    /// Notes that something was logged at `time`. The order of the calls does not count: logs of
    /// several writers grow in turns.
    pub fn note_time(&mut self, time: TimeMs) {
        self.first_time = Some(self.first_time.map_or(time, |first| first.min(time)));
        match self.last_times.back() {
            Some(last) if time <= *last => {
                if let Err(at) = self.last_times.binary_search(&time) {
                    self.last_times.insert(at, time);
                }
            }
            _ => self.last_times.push_back(time),
        }
        if self.last_times.len() > GAPS + 1 {
            self.last_times.pop_front();
        }
    }

    /// Rows of `configs` for this run.
    pub fn config_rows(&self, run_id: &str, project: &Option<String>) -> Vec<Vec<Cell>> {
        let row = |(key, (text, number)): (&String, &(String, Option<f64>))| {
            vec![
                run_id.into(),
                key.clone().into(),
                text.clone().into(),
                (*number).into(),
                project.clone().into(),
            ]
        };
        self.all_config().iter().map(row).collect()
    }

    /// Rows of `summary` for this run, by key.
    pub fn summary_rows(&self, run_id: &str, project: &Option<String>) -> Vec<Vec<Cell>> {
        let known =
            |state: &KeyState| !state.internal && (state.last.is_some() || state.final_value.is_some());
        self.keys
            .iter()
            .filter(|(_, state)| known(state))
            .map(|(key, state)| summary_row(run_id, key, state, project))
            .collect()
    }
}

fn summary_row(run_id: &str, key: &str, state: &KeyState, project: &Option<String>) -> Vec<Cell> {
    let all = state.all();
    let step = |point: Option<(i64, f64)>| Cell::from(point.map(|(step, _)| step));
    let value = |point: Option<(i64, f64)>| Cell::from(point.map(|(_, value)| value));
    vec![
        run_id.into(),
        key.into(),
        state.axis.as_str().into(),
        all.count.into(),
        all.nan_count.into(),
        all.inf_count.into(),
        step(all.first),
        step(state.last),
        value(all.first),
        value(state.last),
        value(all.min),
        step(all.min),
        value(all.max),
        step(all.max),
        all.mean().into(),
        all.std().into(),
        state.goal.map(Goal::as_str).into(),
        state.final_value.into(),
        project.clone().into(),
    ]
}

/// What the row of `runs` needs besides the state.
pub struct RunPlace<'a> {
    /// Id.
    pub run_id: &'a str,
    /// Source.
    pub source: &'a str,
    /// Whether the source writes ends.
    pub writes_ends: bool,
    /// Path relative to the root.
    pub path: &'a str,
}

/// The row of `runs`.
pub fn run_row(place: &RunPlace<'_>, state: &RunState) -> Vec<Cell> {
    let facts = state.all_facts();
    let created_at = facts.created_at.or(state.first_time);
    let logged_at = state.last_times.back().copied().max(facts.updated_at);
    let updated_at = last_seen(logged_at, state.modified);
    let told_s = (!state.durations_s.is_empty()).then(|| state.durations_s.values().sum());
    let duration_s = told_s.or_else(|| Some((logged_at? - created_at?) as f64 / 1000.0));
    let metrics = state.keys.values().filter(|key| !key.internal);
    let counts: Vec<i64> = metrics.clone().map(|key| key.all().count).filter(|count| *count > 0).collect();
    vec![
        place.run_id.into(),
        facts.name.clone().into(),
        facts.project.clone().into(),
        facts.entity.clone().into(),
        place.source.into(),
        facts.end.map(crate::records::End::as_str).into(),
        place.writes_ends.into(),
        time_cell(updated_at),
        silence_limit_ms(&state.last_times).into(),
        facts.state_detail.clone().into(),
        facts.exit_code.map(i64::from).into(),
        time_cell(created_at),
        time_cell(updated_at),
        duration_s.into(),
        state.last_step.into(),
        state.planned().into(),
        counts.iter().sum::<i64>().into(),
        (counts.len() as i64).into(),
        i64::from(state.segment_count.max(1)).into(),
        facts.run_group.clone().into(),
        facts.job_type.clone().into(),
        facts.sweep_id.clone().into(),
        facts.parent_run_id.clone().into(),
        Cell::Null,
        Cell::List(facts.tags.clone().unwrap_or_default()),
        facts.notes.clone().into(),
        facts.host.clone().into(),
        facts.user_name.clone().into(),
        facts.program.clone().into(),
        facts.args.clone().into(),
        facts.git_commit.clone().into(),
        facts.git_branch.clone().into(),
        facts.git_dirty.into(),
        facts.git_remote.clone().into(),
        state.verdict.phase().into(),
        state.verdict.worst_level().into(),
        place.path.into(),
    ]
}

/// When a run was last written to. Times of files count where a log has none, or one that its file
/// contradicts: nothing is logged after the file was written, so that the log's clock is that of a zone.
fn last_seen(logged_at: Option<TimeMs>, modified: Option<TimeMs>) -> Option<TimeMs> {
    match (logged_at, modified) {
        (Some(logged_at), Some(modified)) if logged_at > modified.saturating_add(CLOCK_SKEW_MS) => {
            Some(modified)
        }
        _ => logged_at.or(modified),
    }
}

/// How long a run may be silent and still be running: 10 minutes, or three times the longest of
/// its last gaps.
fn silence_limit_ms(times: &VecDeque<TimeMs>) -> i64 {
    let gaps = times.iter().zip(times.iter().skip(1)).map(|(earlier, later)| later.saturating_sub(*earlier));
    gaps.max().map_or(0, |gap| gap.saturating_mul(3)).max(10 * 60_000)
}
