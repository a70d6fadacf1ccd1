//! Where the records of one input go: the run they speak of, its state, and the batch.

use super::ids::RunKey;
use super::load::{Active, Batch, Loader, Runs};
use super::plan::Stat;
use crate::records::batch::{Cell, time_cell};
use crate::records::columns::{NO_TIME, PointRow};
use crate::records::{Alert, Axis, ConfigValue, ConsoleLine, Goal, Point, Problem, RunFacts, Text, TimeMs};
use crate::sources::{InputKind, RunInput, Sink};
use crate::store::InputRecord;
use std::collections::{BTreeMap, BTreeSet};

/// Most problems kept of one input; all are counted.
const MAX_PROBLEMS: i64 = 100;

/// What is told where a log holds a second training.
const BEGAN_ANEW: &str = "a training begins again at the first step: what was logged before does not count";

/// Whether later reads go on where earlier ones ended, or the whole run is read anew: what is told is
/// never taken back then.
fn is_log(kind: InputKind) -> bool {
    matches!(kind, InputKind::Log | InputKind::Snapshot)
}

/// Takes what a reader tells of one input.
pub struct RunSink<'a, 'b> {
    loader: &'a Loader<'b>,
    runs: &'a mut dyn Runs,
    batch: &'a mut Batch,
    record: &'a mut InputRecord,
    stat: Stat,
    input: &'a RunInput,
    /// Index of the run that is spoken of, once it is open.
    run: Option<usize>,
    sub: String,
    open: BTreeMap<String, usize>,
    /// Path under which facts and configuration are kept, where later reads replace them.
    document: Option<String>,
    /// Runs of which this read has told facts or configuration.
    told: BTreeSet<usize>,
    segment: i32,
    begins: bool,
    may_shift: bool,
    /// How far the training steps of this start are shifted, once asked for.
    shift: Option<i64>,
    last_time: Option<TimeMs>,
    failed: Option<anyhow::Error>,
}

impl<'a, 'b> RunSink<'a, 'b> {
    /// A sink that continues `record`.
    pub fn new(
        loader: &'a Loader<'b>,
        input: &'a RunInput,
        stat: Stat,
        record: &'a mut InputRecord,
        batch: &'a mut Batch,
        runs: &'a mut dyn Runs,
    ) -> Self {
        let begins = record.offset == 0 && record.row_count == 0;
        Self {
            loader,
            runs,
            batch,
            stat,
            input,
            run: None,
            sub: String::new(),
            open: BTreeMap::new(),
            document: (!is_log(input.kind)).then(|| input.path.clone()),
            told: BTreeSet::new(),
            segment: input.segment,
            begins,
            may_shift: false,
            shift: None,
            last_time: None,
            failed: None,
            record,
        }
    }

    /// What follows is a whole document: what it told before is void.
    pub fn begin_document(&mut self) {
        self.void();
    }

    /// The first word on a run makes void what earlier reads of the document told of it.
    fn void(&mut self) {
        let Some(path) = self.document.clone() else { return };
        let Some(index) = self.index().filter(|index| !self.told.contains(index)) else { return };
        self.told.insert(index);
        let run = &mut self.batch.runs[index];
        run.config_changed |= run.state.documents.remove(&path).is_some();
        run.state.document_facts.remove(&path);
    }

    fn is_document(&self) -> bool {
        self.input.kind == InputKind::Document
    }

    /// Index of the run spoken of, opened when first needed.
    fn index(&mut self) -> Option<usize> {
        if self.run.is_none() {
            match self.open_run() {
                Ok(index) => self.run = Some(index),
                Err(error) => self.failed = Some(error),
            }
        }
        self.run
    }

    fn open_run(&mut self) -> anyhow::Result<usize> {
        if let Some(index) = self.open.get(&self.sub).copied() {
            self.turn_to(index);
            return Ok(index);
        }
        let found = &self.loader.job.run;
        let key = RunKey {
            source: found.source.to_string(),
            identity: found.logs.identity.clone(),
            sub: self.sub.clone(),
        };
        let index = match self.batch.find(&key) {
            Some(index) => index,
            None => self.batch.add_run(self.runs.open(
                found,
                &self.sub,
                self.loader.source.writes_ends(&found.logs),
            )?),
        };
        self.open.insert(self.sub.clone(), index);
        self.enter(index);
        Ok(index)
    }

    /// The input begins to speak of a run, or goes on.
    fn enter(&mut self, index: usize) {
        self.shift = None;
        let is_new_log = self.begins && !self.is_document();
        let run = &mut self.batch.runs[index];
        let state = &mut run.state;
        if is_new_log && self.segment > 0 && state.segment_count > 0 {
            state.facts.forget_end();
        }
        self.turn_to(index);
        let run = &mut self.batch.runs[index];
        if run.state.in_turn && !self.begins && self.segment + 1 < run.state.segment_count {
            // What later starts made of this one (their steps, the last word on a name) is void.
            self.batch.reread.insert(run.key.clone(), run.state.hints.clone());
        }
        run.apply(&self.loader.configs);
        let state = &mut run.state;
        let modified = self.stat.modified_ns / 1_000_000;
        state.modified = Some(state.modified.map_or(modified, |known| known.max(modified)));
        if !self.record.runs.contains(&run.run_id) {
            self.record.runs.push(run.run_id.clone());
        }
    }

    /// Each run of the log has starts and a clock of its own.
    fn turn_to(&mut self, index: usize) {
        self.last_time = None;
        if !self.is_document() {
            let state = &mut self.batch.runs[index].state;
            let restarts = state.restarts.get(&self.input.path).copied().unwrap_or_default();
            self.segment = self.input.segment + restarts;
            state.segment_count = state.segment_count.max(self.segment + 1);
        }
    }

    fn note_time(&mut self, index: usize, time: Option<TimeMs>) {
        if let Some(time) = time.filter(|time| Some(*time) != self.last_time) {
            self.last_time = Some(time);
            self.batch.runs[index].state.note_time(time);
        }
    }

    fn active(&mut self) -> Option<&mut Active> {
        let index = self.index()?;
        self.batch.runs.get_mut(index)
    }

    /// How far the training steps of this start are shifted.
    fn shift(&mut self) -> i64 {
        if let Some(shift) = self.shift {
            return shift;
        }
        // Opening a run may tell which start it is.
        self.index();
        let segment = self.segment;
        let shift = self.active().and_then(|run| run.state.shifts.get(&segment).copied()).unwrap_or_default();
        self.shift = Some(shift);
        shift
    }

    /// The first training step of a start decides whether it continues the one before.
    fn decide_shift(&mut self, step: i64) {
        let segment = self.segment;
        let Some(run) = self.active().filter(|run| !run.state.shifts.contains_key(&segment)) else { return };
        let shift = run.state.train_step.filter(|_| step == 0).map_or(0, |last| last + 1);
        run.state.shifts.insert(segment, shift);
        self.shift = None;
        if shift > 0 {
            let note = format!("steps begin at 0 again, shifted by {shift} behind the start before");
            self.batch.notes.push((self.input.path.clone(), note));
        }
    }

    fn add_point(&mut self, point: &Point<'_>, internal: bool) {
        let Some(index) = self.index() else { return };
        let (group, is_training) = self.batch.group(index, point.key);
        let is_training = internal || is_training;
        if is_training && self.may_shift {
            self.decide_shift(point.step);
            self.may_shift = false;
        }
        let step = if is_training { point.step.saturating_add(self.shift()) } else { point.step };
        let seq = self.arrival(group);
        self.note_time(index, point.time);
        let state = &mut self.batch.runs[index].state;
        if is_training && !internal {
            state.train_step = state.train_step.max(Some(step));
        }
        let time = point.time.unwrap_or(NO_TIME);
        let row = PointRow { step, value: point.value, time, seq, segment: self.segment };
        self.batch.points.push(group, internal, row);
    }

    /// Place of a point in order of arrival: in its file, which has one order. A database has none over
    /// its tables, so that there it is the place among the points of its metric.
    fn arrival(&mut self, group: usize) -> i64 {
        if self.input.kind == InputKind::Database {
            return self.batch.points.arrival(group);
        }
        self.record.next_seq += 1;
        self.record.next_seq - 1
    }

    /// Ends the reading; `is_over` unless it stopped before the first record, for want of bytes.
    ///
    /// # Errors
    /// When the state of a run could not be loaded.
    pub fn finish(mut self, is_over: bool) -> anyhow::Result<()> {
        // A log that said nothing yet is still a run (an event file with only its header), and one that
        // said nothing new was still written to. A database without rows is none.
        let is_own_run = self.input.kind != InputKind::Database && self.record.runs.len() <= 1;
        if is_over && is_own_run && self.failed.is_none() {
            self.index();
        }
        self.failed.map_or(Ok(()), Err)
    }
}

impl Sink for RunSink<'_, '_> {
    fn select_run(&mut self, name: &str) {
        if self.sub != name {
            self.sub = name.to_string();
            self.run = None;
            self.shift = None;
        }
    }

    fn facts(&mut self, facts: RunFacts) {
        self.void();
        let (segment, document) = (self.segment, self.document.clone());
        if let Some(run) = self.active() {
            if let Some(duration_s) = facts.duration_s {
                run.state.durations_s.insert(segment, duration_s);
            }
            let known = match document {
                Some(path) => run.state.document_facts.entry(path).or_default(),
                None => &mut run.state.facts,
            };
            known.merge_parts(facts);
        }
    }

    fn config(&mut self, key: &str, value: ConfigValue) {
        self.void();
        let document = self.document.clone();
        if let Some(run) = self.active() {
            run.state.set_config(document.as_deref(), key, value);
            run.config_changed = true;
        }
    }

    fn remove_config(&mut self, key: &str) {
        if let Some(run) = self.active() {
            run.state.remove_config(key);
            run.config_changed = true;
        }
    }

    fn point(&mut self, point: Point<'_>) {
        self.add_point(&point, false);
    }

    fn internal_point(&mut self, point: Point<'_>) {
        self.add_point(&point, true);
    }

    fn axis(&mut self, key: &str, axis: Axis) {
        if let Some(run) = self.active() {
            run.state.key(key).axis = axis;
        }
    }

    fn goal(&mut self, key: &str, goal: Goal) {
        if let Some(run) = self.active() {
            run.state.key(key).goal = Some(goal);
        }
    }

    fn final_value(&mut self, key: &str, value: Option<f64>) {
        if let Some(run) = self.active() {
            run.state.set_final(key, value);
        }
    }

    fn text(&mut self, text: Text) {
        let step = text.step.map(|step| step.saturating_add(self.shift()));
        let Some(index) = self.index() else { return };
        self.note_time(index, text.time);
        let row = vec![
            self.batch.runs[index].run_id.clone().into(),
            text.key.into(),
            step.into(),
            time_cell(text.time),
            text.text.into(),
        ];
        self.batch.texts.push((index, row));
    }

    fn alert(&mut self, alert: Alert) {
        let step = alert.step.map(|step| step.saturating_add(self.shift()));
        let Some(index) = self.index() else { return };
        self.note_time(index, alert.time);
        let run = &mut self.batch.runs[index];
        run.state.alert_count += 1;
        let row = vec![
            format!("{}-{}", run.run_id, run.state.alert_count).into(),
            run.run_id.clone().into(),
            Cell::Null,
            "logged".into(),
            alert.level.as_str().into(),
            step.into(),
            Cell::Null,
            Cell::Null,
            time_cell(alert.time),
            Cell::Null,
            Cell::Null,
            Cell::Null,
            Cell::Null,
            alert.title.into(),
            alert.text.into(),
            "logged".into(),
            Cell::Null,
        ];
        self.batch.alerts.push((index, row));
    }

    fn console(&mut self, line: ConsoleLine) {
        let Some(index) = self.index() else { return };
        self.note_time(index, line.time);
        let run = &mut self.batch.runs[index];
        let number = run.state.next_line(&self.input.path);
        let row = vec![
            run.run_id.clone().into(),
            number.into(),
            time_cell(line.time),
            line.stream.map(crate::records::Stream::as_str).into(),
            line.text.into(),
            self.input.path.clone().into(),
        ];
        self.batch.console.push((index, row));
    }

    fn restart(&mut self) {
        let path = self.input.path.clone();
        let segment = self.input.segment;
        if let Some(run) = self.active() {
            let restarts = run.state.restarts.entry(path).or_default();
            *restarts += 1;
            let now = segment + *restarts;
            run.state.segment_count = run.state.segment_count.max(now + 1);
            run.state.facts.forget_end();
            self.segment = now;
            self.shift = None;
        }
    }

    fn rewind(&mut self, from_step: i64) {
        let at = (self.segment, self.record.next_seq, from_step);
        if let Some(run) = self.active() {
            run.state.rewinds.push(at);
            run.state.new_rewind = Some(run.state.new_rewind.map_or(from_step, |step| step.min(from_step)));
            run.state.train_step = run.state.train_step.map(|last| last.min(from_step.saturating_sub(1)));
        }
    }

    fn begin_anew(&mut self) {
        let note = (self.input.path.clone(), BEGAN_ANEW.to_string());
        // Opening the run tells which start it is.
        self.index();
        let at = (self.segment, i64::MIN, i64::MIN);
        if let Some(run) = self.active() {
            run.state.rewinds.retain(|rewind| *rewind > at);
            run.state.rewinds.push(at);
            run.state.new_rewind = Some(i64::MIN);
            run.state.train_step = None;
        }
        if !self.batch.notes.contains(&note) {
            self.batch.notes.push(note);
        }
    }

    fn continue_from_zero(&mut self) {
        self.may_shift = true;
        if let Some(run) = self.active() {
            run.state.in_turn = true;
        }
    }

    fn problem(&mut self, problem: Problem) {
        self.record.problem_count += 1;
        if self.record.problem_count <= MAX_PROBLEMS {
            self.batch.problems.push((self.input.path.clone(), problem));
        }
    }
}
