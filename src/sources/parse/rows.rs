//! Turns rows of named values (a JSON object, a CSV line) into records: finds the step of each
//! row, notices restarts and counters that begin anew in each epoch, and remembers what it needs to
//! go on where it stopped.

use super::axis::{self, Kind, Role};
use super::json::{Fields, Json, flatten, nested};
use crate::records::{Axis, ConfigValue, End, Point, RunFacts, Text, TimeMs, goal};
use crate::sources::Sink;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Keys and runs beyond these are read like any other, but not remembered over a resume.
const MAX_SAVED_KEYS: usize = 20_000;
const MAX_SAVED_RUNS: usize = 1_000;

/// What is remembered of the keys of all runs together. Where a file has more, only the run at hand
/// is: of the others, the first values after are told as if they were new.
const MAX_REMEMBERED: usize = 1_000_000;

/// How the rows of a file are turned into records.
#[derive(Default)]
pub struct Tracker {
    state: State,
    slots: Vec<Slot>,
    by_key: HashMap<String, usize>,
    by_run: HashMap<String, usize>,
    /// Length of what is remembered of the keys of all runs together.
    remembered: usize,
    /// Slot that is likely next: rows repeat their keys in the same order.
    likely: usize,
    /// Metrics of the row at hand, as slots.
    metrics: Vec<(usize, f64)>,
    name: String,
}

/// What is remembered over a resume.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    axis: Chosen,
    /// Names behind the places of [`Track`]; the slots hold them while reading.
    keys: Vec<String>,
    /// The first is the run of the file itself.
    runs: Vec<Track>,
    current: usize,
    config_hash: u64,
    saw_row: bool,
    /// Names of runs are no more than words.
    one_run: bool,
    /// What the step of the file means, where its path says so.
    unit: Option<Axis>,
}

/// What the steps of the file are.
#[derive(Default, Serialize, Deserialize, Clone, PartialEq, Eq)]
enum Chosen {
    /// Order of arrival, so far.
    #[default]
    Index,
    /// Order of arrival, because epochs are fractions.
    NoEpoch,
    Epoch,
    /// The key that holds the step.
    Step(String),
}

/// What is known of one run of the file.
#[derive(Default, Serialize, Deserialize, Clone)]
#[serde(default)]
struct Track {
    name: String,
    last_step: Option<i64>,
    max_step: Option<i64>,
    row_count: i64,
    epoch: Option<f64>,
    /// Added to steps that begin anew in each epoch.
    offset: i64,
    /// The offset from each epoch on.
    offsets: Vec<(i64, i64)>,
    /// Last step of each key.
    steps: Vec<Option<i64>>,
    /// Hash of the last text of each key.
    texts: Vec<u64>,
    /// Axis told last for each key.
    axes: Vec<Axis>,
    /// Where the run began.
    first: Option<First>,
    /// Whether a start began when the training was well on its way: it may be another training.
    may_be_anew: bool,
    /// Step at which another training seems to begin, until it goes on.
    anew: Option<i64>,
}

/// The first row of a run.
#[derive(Serialize, Deserialize, Clone)]
struct First {
    step: i64,
    /// Slots of its metrics.
    slots: Vec<usize>,
}

/// Metrics that are remembered of the first row.
const MAX_FIRST: usize = 16;

struct Slot {
    key: String,
    role: Role,
}

/// What the special keys of a row say.
#[derive(Default)]
struct Place<'r> {
    step: Option<(u8, i64, usize)>,
    epoch: Option<(f64, usize)>,
    time: Option<(u8, TimeMs)>,
    run: Option<(u8, usize)>,
    split: Option<&'r str>,
    kind: Option<Kind>,
    /// Field whose object is the configuration.
    config: Option<usize>,
    /// Whether a step is a number that no step can be.
    has_huge_step: bool,
}

impl Place<'_> {
    /// Whether the field `at` of a row tells its place, and so is no value of its own.
    fn holds(&self, role: Role, at: usize, value: &Json<'_>) -> bool {
        match role {
            Role::Step(_) | Role::Epoch | Role::Kind | Role::Logger => true,
            Role::Time(_) => axis::time_of(value).is_some(),
            Role::Run(_) => self.run.is_some_and(|(_, run)| run == at),
            Role::Config => self.config == Some(at),
            Role::Plan | Role::Metric => false,
        }
    }
}

/// Keys that rows repeat, with the slot of each.
pub struct Keys {
    names: Vec<(usize, Box<str>)>,
}

impl Keys {
    /// The keys in order.
    #[cfg(test)]
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(_, name)| name.as_ref())
    }
}

/// Fields of a row with the slot of each.
type Row<'r, 'a> = &'r [(usize, &'r str, &'r Json<'a>)];

impl Tracker {
    /// Goes on from what [`Tracker::save`] returned; empty text begins anew.
    pub fn load(saved: &str, sink: &mut dyn Sink) -> Self {
        let state: State = serde_json::from_str(saved).unwrap_or_default();
        let mut tracker = Self { state, ..Self::default() };
        for key in std::mem::take(&mut tracker.state.keys) {
            tracker.add_slot(&key);
        }
        if tracker.state.runs.is_empty() {
            tracker.state.runs.push(Track::default());
        }
        tracker.by_run = tracker.state.runs.iter().map(|run| run.name.clone()).zip(0..).collect();
        tracker.remembered = tracker.state.runs.iter().map(|run| run.steps.len()).sum();
        tracker.state.current = tracker.state.current.min(tracker.state.runs.len() - 1);
        if tracker.state.current > 0 {
            sink.select_run(&tracker.state.runs[tracker.state.current].name);
        }
        tracker
    }

    /// What to remember.
    pub fn save(mut self) -> String {
        self.state.keys = self.slots.into_iter().take(MAX_SAVED_KEYS).map(|slot| slot.key).collect();
        self.state.runs.truncate(MAX_SAVED_RUNS);
        for run in &mut self.state.runs {
            run.steps.truncate(MAX_SAVED_KEYS);
            run.texts.truncate(MAX_SAVED_KEYS);
            run.axes.truncate(MAX_SAVED_KEYS);
        }
        serde_json::to_string(&self.state).unwrap_or_default()
    }

    /// Says what the step of this file counts, where it is no training step.
    pub fn set_unit(&mut self, unit: Axis) {
        self.state.unit = Some(unit);
    }

    /// Says that all rows are of one run, whatever they name.
    pub fn expect_one_run(&mut self) {
        self.state.one_run = true;
    }

    /// The step of the row taken last.
    pub fn last_step(&self) -> Option<i64> {
        self.state.runs.get(self.state.current)?.last_step
    }

    /// Says that rows never hold hyperparameters.
    pub fn expect_no_config(&mut self) {
        self.state.saw_row = true;
    }

    /// Says that what follows is a new start of the run, whatever its steps are.
    pub fn restart(&mut self, sink: &mut dyn Sink) {
        let track = self.track();
        if track.last_step.is_some() && track.steps.iter().any(Option::is_some) {
            track.may_be_anew = track.is_on_its_way();
            track.restart(None);
            sink.restart();
        }
    }

    /// Takes a row.
    ///
    /// # Errors
    /// Why the row has no place: it is left out.
    pub fn row(&mut self, fields: &Fields<'_>, sink: &mut dyn Sink) -> Result<(), &'static str> {
        let row: Vec<_> = fields.iter().map(|(key, value)| (self.slot(key), key.as_ref(), value)).collect();
        self.take(&row, sink)
    }

    /// Takes a row with keys of [`Tracker::keys`].
    ///
    /// # Errors
    /// Why the row has no place: it is left out.
    pub fn row_of(
        &mut self,
        keys: &Keys,
        values: &[Json<'_>],
        sink: &mut dyn Sink,
    ) -> Result<(), &'static str> {
        let fields = keys.names.iter().zip(values);
        let row: Vec<_> = fields.map(|((slot, name), value)| (*slot, name.as_ref(), value)).collect();
        self.take(&row, sink)
    }

    /// Prepares keys that many rows have; they hold for this tracker only.
    pub fn keys<'k>(&mut self, names: impl Iterator<Item = &'k str>) -> Keys {
        Keys { names: names.map(|name| (self.slot(name), name.into())).collect() }
    }

    fn take(&mut self, row: Row<'_, '_>, sink: &mut dyn Sink) -> Result<(), &'static str> {
        if row.is_empty() {
            return Ok(());
        }
        let place = self.place(row);
        self.select_run(row, &place, sink);
        if place.has_huge_step && place.step.is_none() {
            // It would take the place of the row before.
            return Err("the step is beyond 64 bits");
        }
        if let Some(at) = place.config {
            self.config(row[at].2, sink);
        }
        let is_first = !std::mem::replace(&mut self.state.saw_row, true);
        match place.kind {
            Some(Kind::Start) => self.config_row(row, &place, sink),
            Some(kind @ (Kind::End | Kind::Failure | Kind::Summary)) => end_row(row, kind, &place, sink),
            _ if is_first && looks_like_config(row, &place) => self.config_row(row, &place, sink),
            _ => self.metrics_row(row, &place, sink),
        }
        Ok(())
    }

    fn metrics_row(&mut self, row: Row<'_, '_>, place: &Place<'_>, sink: &mut dyn Sink) {
        self.collect_metrics(row, place);
        let has_text = row.iter().any(|(.., value)| matches!(value, Json::String(_)));
        if !self.metrics.is_empty() || has_text {
            self.emit(row, place, sink);
        }
    }

    fn add_slot(&mut self, key: &str) -> usize {
        let at = self.slots.len();
        self.slots.push(Slot { key: key.to_string(), role: axis::role_of(key) });
        self.by_key.insert(key.to_string(), at);
        at
    }

    fn slot(&mut self, key: &str) -> usize {
        let at = match self.slots.get(self.likely) {
            Some(slot) if slot.key == key => self.likely,
            _ => self.by_key.get(key).copied().unwrap_or_else(|| self.add_slot(key)),
        };
        self.likely = at + 1;
        at
    }

    fn track(&mut self) -> &mut Track {
        &mut self.state.runs[self.state.current]
    }

    /// Makes the run at hand remember all keys so far.
    fn make_room(&mut self) {
        let State { runs, current, .. } = &mut self.state;
        self.remembered += runs[*current].grow(self.slots.len());
        if self.remembered > MAX_REMEMBERED {
            for (_, run) in runs.iter_mut().enumerate().filter(|(at, _)| at != current) {
                self.remembered = self.remembered.saturating_sub(run.forget());
            }
        }
    }

    fn place<'r>(&self, row: Row<'r, '_>) -> Place<'r> {
        let mut place = Place::default();
        for (at, (slot, key, value)) in row.iter().enumerate() {
            match self.slots[*slot].role {
                Role::Metric | Role::Plan | Role::Logger => {}
                Role::Step(rank) => self.note_step(&mut place, rank, at, key, value),
                Role::Epoch => place.epoch = place.epoch.or(axis::epoch_of(value).map(|epoch| (epoch, at))),
                Role::Time(rank) => {
                    if place.time.is_none_or(|(other, _)| rank < other) {
                        place.time = axis::time_of(value).map(|time| (rank, time)).or(place.time);
                    }
                }
                Role::Kind => note_kind(&mut place, key, value),
                Role::Run(rank) => {
                    let may_split = !self.state.one_run && run_name(value).is_some();
                    if may_split && place.run.is_none_or(|(other, _)| rank < other) {
                        place.run = Some((rank, at));
                    }
                }
                Role::Config if matches!(value, Json::Object(_)) => place.config = Some(at),
                Role::Config => {}
            }
        }
        place
    }

    /// The chosen step key wins; another one stands in for it, unless it may mean other things.
    fn note_step(&self, place: &mut Place<'_>, rank: u8, at: usize, key: &str, value: &Json<'_>) {
        let Some(step) = axis::step_of(value) else {
            place.has_huge_step |= axis::is_huge(value);
            return;
        };
        let rank = match &self.state.axis {
            Chosen::Step(chosen) if chosen == key => 0,
            Chosen::Step(_) if axis::is_weak_step(key) => return,
            _ => rank + 1,
        };
        if place.step.is_none_or(|(other, ..)| rank < other) {
            place.step = Some((rank, step, at));
        }
    }

    fn select_run(&mut self, row: Row<'_, '_>, place: &Place<'_>, sink: &mut dyn Sink) {
        let Some(name) = place.run.and_then(|(_, at)| run_name(row[at].2)) else { return };
        if self.track().name == name {
            return;
        }
        sink.select_run(&name);
        let known = self.by_run.get(&name).copied();
        self.state.current = known.unwrap_or(self.state.runs.len());
        if known.is_none() {
            self.by_run.insert(name.clone(), self.state.current);
            self.state.runs.push(Track { name, ..Track::default() });
        }
    }

    fn config(&mut self, value: &Json<'_>, sink: &mut dyn Sink) {
        let hash = axis::hash_of(value.to_text().as_bytes());
        if std::mem::replace(&mut self.state.config_hash, hash) != hash {
            flatten("", value, &mut |key, value| set_config(key, value, sink));
        }
    }

    /// A row whose plain values are the configuration.
    fn config_row(&mut self, row: Row<'_, '_>, place: &Place<'_>, sink: &mut dyn Sink) {
        for (at, (slot, key, value)) in row.iter().enumerate() {
            if !place.holds(self.slots[*slot].role, at, value) {
                flatten(key, value, &mut |key, value| set_config(key, value, sink));
            }
        }
    }

    fn collect_metrics(&mut self, row: Row<'_, '_>, place: &Place<'_>) {
        self.metrics.clear();
        let by_epoch = place.step.is_none() && matches!(self.state.axis, Chosen::Index | Chosen::Epoch);
        for (at, (slot, key, value)) in row.iter().enumerate() {
            let is_special = match self.slots[*slot].role {
                Role::Step(_) => place.step.is_some_and(|(.., step)| step == at),
                Role::Epoch => {
                    by_epoch && place.epoch.is_some_and(|(epoch, field)| field == at && epoch.fract() == 0.0)
                }
                Role::Kind => false,
                role => place.holds(role, at, value),
            };
            if !is_special {
                self.collect(*slot, key, value, place.split);
            }
        }
    }

    fn collect(&mut self, slot: usize, key: &str, value: &Json<'_>, split: Option<&str>) {
        if let Some(fields) = nested(key, value) {
            for (name, value) in fields {
                let full = format!("{key}.{name}");
                let slot = self.slot(&full);
                self.collect(slot, &full, value, split);
            }
            return;
        }
        let Some(number) = value.as_metric() else { return };
        let slot = match split {
            Some(split) if self.slots[slot].role != Role::Epoch && !axis::has_split(key) => {
                let mut name = std::mem::take(&mut self.name);
                name.clear();
                name.extend(split.trim().chars().map(|c| c.to_ascii_lowercase()).chain(['/']));
                name.push_str(key);
                let slot = self.slot(&name);
                self.name = name;
                slot
            }
            _ => slot,
        };
        self.metrics.push((slot, number));
    }

    fn emit(&mut self, row: Row<'_, '_>, place: &Place<'_>, sink: &mut dyn Sink) {
        let (step, axis) = self.settle(row, place, sink);
        let time = place.time.map(|(_, time)| time);
        self.make_room();
        let track = &mut self.state.runs[self.state.current];
        track.last_step = Some(step);
        if !self.metrics.is_empty() {
            track.max_step = track.max_step.max(Some(step));
            track.row_count += 1;
            let slots = self.metrics.iter().map(|(slot, _)| *slot);
            let slots =
                || slots.filter(|slot| self.slots[*slot].role != Role::Epoch).take(MAX_FIRST).collect();
            track.first.get_or_insert_with(|| First { step, slots: slots() });
        }
        for (slot, value) in self.metrics.iter().copied() {
            let key = self.slots[slot].key.as_str();
            if track.axes[slot] != axis {
                track.axes[slot] = axis;
                sink.axis(key, axis);
            }
            track.steps[slot] = Some(step);
            sink.point(Point { key, step, value, time });
            if self.slots[slot].role == Role::Plan && track.changed(slot, &value.to_le_bytes()) {
                let value = ConfigValue { text: String::new(), number: Some(value) };
                let planned_steps = axis::planned_steps(key, value.number);
                sink.facts(RunFacts { planned_steps, ..RunFacts::default() });
            }
        }
        for (at, (slot, key, value)) in row.iter().enumerate() {
            let may_hold_text = matches!(value, Json::String(_) | Json::Object(_));
            if may_hold_text && place.run.is_none_or(|(_, run)| run != at) {
                self.text(*slot, key, value, Some(step), time, sink);
            }
        }
    }

    /// Texts are told when they change: attributes repeated in every row would drown the rest.
    fn text(
        &mut self,
        slot: usize,
        key: &str,
        value: &Json<'_>,
        step: Option<i64>,
        time: Option<TimeMs>,
        sink: &mut dyn Sink,
    ) {
        let Json::String(text) = value else {
            if let Some(fields) = nested(key, value) {
                for (name, value) in
                    fields.iter().filter(|(_, v)| matches!(v, Json::String(_) | Json::Object(_)))
                {
                    let full = format!("{key}.{name}");
                    let slot = self.slot(&full);
                    self.text(slot, &full, value, step, time, sink);
                }
            }
            return;
        };
        let is_special = match self.slots[slot].role {
            Role::Step(_) | Role::Epoch => true,
            Role::Time(_) => axis::time_of(value).is_some(),
            Role::Kind => axis::kind_of(key, text) == Kind::Split,
            _ => false,
        };
        if is_special || text.is_empty() || axis::is_duration(text) || value.as_metric().is_some() {
            return;
        }
        self.make_room();
        if self.track().changed(slot, text.as_bytes()) {
            sink.text(Text { key: key.to_string(), step, time, text: text.to_string() });
        }
    }

    /// The step of the row and what it means; tells the sink of a restart.
    fn settle(&mut self, row: Row<'_, '_>, place: &Place<'_>, sink: &mut dyn Sink) -> (i64, Axis) {
        let unit = self.state.unit.unwrap_or_default();
        let epoch = place.epoch.map(|(epoch, _)| epoch);
        if let Some((_, step, at)) = place.step {
            if !matches!(self.state.axis, Chosen::Step(_)) {
                self.state.axis = Chosen::Step(row[at].1.to_string());
            }
            return (self.advance(step, epoch, sink), unit);
        }
        if self.state.axis == Chosen::Index && epoch.is_some() || self.state.axis == Chosen::Epoch {
            self.state.axis = match epoch {
                Some(epoch) if epoch.fract() != 0.0 => Chosen::NoEpoch,
                _ => Chosen::Epoch,
            };
        }
        let track = self.track();
        let last = track.last_step;
        let next = track.row_count.max(last.map_or(0, |last| last.saturating_add(1)));
        match (&self.state.axis, epoch) {
            (Chosen::Step(_), _) => (last.unwrap_or(0), unit),
            (Chosen::Epoch, Some(epoch)) => (self.advance(epoch as i64, None, sink), Axis::Epoch),
            (Chosen::Epoch, None) => (last.unwrap_or(0), Axis::Epoch),
            (Chosen::Index | Chosen::NoEpoch, _) => (next, Axis::Index),
        }
    }

    /// Places a step that the row itself names. A metric whose step goes back means a new start of
    /// the run, unless the epoch went on: then the counter begins anew in each epoch. There any step
    /// that falls tells it: the first row of an epoch may hold other metrics than the rows before.
    fn advance(&mut self, raw: i64, epoch: Option<f64>, sink: &mut dyn Sink) -> i64 {
        let track = &mut self.state.runs[self.state.current];
        let mut step = raw.saturating_add(track.offset);
        let latest = self
            .metrics
            .iter()
            .filter(|(slot, _)| self.slots[*slot].role != Role::Epoch)
            .filter_map(|(slot, _)| track.steps.get(*slot).copied().flatten())
            .max();
        let went_on =
            matches!((epoch, track.epoch), (Some(now), Some(before)) if now.floor() > before.floor());
        let falls = track.last_step.is_some_and(|last| last > step);
        if went_on && (falls || latest.is_some_and(|latest| latest >= step)) {
            let max = track.max_step.unwrap_or(0);
            track.offset = if raw <= 0 { max.saturating_add(1) } else { max };
            track.offsets.push((epoch.unwrap_or(0.0).floor() as i64, track.offset));
            step = raw.saturating_add(track.offset);
        } else if latest.is_some_and(|latest| latest > step) {
            let first = self.metrics.iter().map(|(slot, _)| *slot);
            track.may_be_anew = track.is_on_its_way() && track.begins_with(first);
            sink.restart();
            track.restart(epoch);
            step = raw.saturating_add(track.offset);
        }
        track.epoch = epoch.or(track.epoch);
        if !self.metrics.is_empty() && track.is_anew(step) {
            sink.begin_anew();
        }
        step
    }
}

impl Track {
    /// Makes room for keys; says for how many more than before.
    fn grow(&mut self, slots: usize) -> usize {
        let has = self.steps.len();
        if has.min(self.texts.len()).min(self.axes.len()) < slots {
            self.steps.resize(slots, None);
            self.texts.resize(slots, 0);
            self.axes.resize(slots, Axis::Step);
        }
        self.steps.len().saturating_sub(has)
    }

    /// Gives up what is remembered of keys; says of how many.
    fn forget(&mut self) -> usize {
        (self.texts, self.axes) = (Vec::new(), Vec::new());
        std::mem::take(&mut self.steps).len()
    }

    /// Whether what the run began with is nearly as far as anything: a part of it that is counted anew each
    /// time, a validation, is not.
    fn is_on_its_way(&self) -> bool {
        let Some(first) = &self.first else { return false };
        let latest = first.slots.iter().filter_map(|slot| self.steps.get(*slot).copied().flatten()).max();
        let way = |step: i64| step.saturating_sub(first.step);
        latest
            .is_some_and(|latest| way(latest) > 0 && way(latest) >= way(self.max_step.unwrap_or(latest)) / 2)
    }

    /// Whether a row holds one of the metrics that the run began with.
    fn begins_with(&self, mut slots: impl Iterator<Item = usize>) -> bool {
        self.first.as_ref().is_some_and(|first| slots.any(|slot| first.slots.contains(&slot)))
    }

    /// Whether a training begins anew that began at the first step of the run and goes on now. A single row
    /// is none: a summary may name the first step.
    fn is_anew(&mut self, step: i64) -> bool {
        if std::mem::take(&mut self.may_be_anew) {
            self.anew = self.first.as_ref().is_some_and(|first| step <= first.step).then_some(step);
        }
        self.anew.take_if(|from| step > *from).is_some()
    }

    fn changed(&mut self, slot: usize, text: &[u8]) -> bool {
        let hash = axis::hash_of(text).max(1);
        self.texts.get_mut(slot).is_none_or(|last| std::mem::replace(last, hash) != hash)
    }

    fn restart(&mut self, epoch: Option<f64>) {
        self.steps.fill(None);
        let epoch = epoch.map_or(i64::MIN, |epoch| epoch.floor() as i64);
        self.offsets.retain(|(from, _)| *from <= epoch);
        self.offset = self.offsets.last().map_or(0, |(_, offset)| *offset);
        self.max_step = None;
    }
}

fn note_kind<'r>(place: &mut Place<'r>, key: &str, value: &'r Json<'_>) {
    let Some(word) = value.as_str() else { return };
    match axis::kind_of(key, word) {
        Kind::Split => place.split = place.split.or(Some(word)),
        Kind::Other => {}
        kind => place.kind = place.kind.or(Some(kind)),
    }
}

fn run_name(value: &Json<'_>) -> Option<String> {
    match value {
        Json::String(name) if !name.trim().is_empty() && name.len() <= 256 => Some(name.trim().to_string()),
        Json::Number(..) => axis::step_of(value).map(|number| number.to_string()),
        _ => None,
    }
}

/// Sets a hyperparameter; some say how many steps are planned.
pub(crate) fn set_config(key: &str, value: &Json<'_>, sink: &mut dyn Sink) {
    let value = value.to_config();
    if let Some(steps) = axis::planned_steps(key, value.number) {
        sink.facts(RunFacts { planned_steps: Some(steps), ..RunFacts::default() });
    }
    sink.config(key, value);
}

fn end_row(row: Row<'_, '_>, kind: Kind, place: &Place<'_>, sink: &mut dyn Sink) {
    let word = |keys: &[&str]| {
        row.iter().filter(|(_, key, _)| keys.contains(key)).find_map(|(.., value)| value.as_str())
    };
    let detail = word(&["status", "state", "reason"]);
    let failed = kind == Kind::Failure || detail.is_some_and(axis::is_failure);
    let end = match kind {
        Kind::Summary => None,
        _ if failed => Some(End::Failed),
        _ => Some(End::Finished),
    };
    let detail = detail.or(if failed { word(&["event", "type"]) } else { None });
    let updated_at = place.time.map(|(_, time)| time);
    let state_detail = detail.map(str::to_string);
    sink.facts(RunFacts { end, state_detail, updated_at, ..RunFacts::default() });
    for (at, (_, key, value)) in row.iter().enumerate() {
        if !place.holds(axis::role_of(key), at, value) {
            flatten(key, value, &mut |key, value| {
                if let Some(value) = value.as_metric() {
                    sink.final_value(key, Some(value));
                }
            });
        }
    }
}

/// Whether the first row of a file holds hyperparameters: no axis, mostly words and flags, and
/// neither a message nor a metric people name.
fn looks_like_config(row: Row<'_, '_>, place: &Place<'_>) -> bool {
    if place.step.is_some() || place.epoch.is_some() || place.split.is_some() {
        return false;
    }
    let (mut numbers, mut others, mut is_record) = (0, 0, false);
    for (_, key, value) in row {
        is_record |= ["level", "message", "msg", "event", "text", "loss"].contains(key);
        flatten(key, value, &mut |key, value| match value {
            Json::Number(..) if goal::goal_of(key).is_some() => is_record = true,
            Json::Number(..) => numbers += 1,
            Json::Null => {}
            _ => others += 1,
        });
    }
    !is_record && others > numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::parse::json::parse;
    use crate::sources::testing::Memory;

    /// 2000 runs with 2000 keys would be four million places.
    #[test]
    fn many_runs_with_keys_of_their_own_are_told_but_not_all_remembered() {
        let mut sink = Memory::default();
        let mut tracker = Tracker::load("", &mut sink);
        tracker.expect_no_config();
        for i in 0..2000 {
            let text = format!("{{\"run\":\"r{i}\",\"step\":0,\"k{i}\":{i}}}");
            if let Ok((Json::Object(fields), _)) = parse(text.as_bytes()) {
                assert_eq!(tracker.row(&fields, &mut sink), Ok(()));
            }
            assert!(tracker.remembered <= MAX_REMEMBERED + tracker.slots.len());
        }
        assert_eq!(sink.points.len(), 2000);
        assert_eq!(sink.points.last().map(|point| point.run.as_str()), Some("r1999"));
    }
}
