//! Reads logs into a batch: points, rows of the small tables, and the state of each run.

use super::flush::AxisHint;
use super::ids::{self, RunKey};
use super::plan::{FoundRun, Job, Stat};
use super::points::{NO_TIME, PointRow, Points};
use super::state::RunState;
use crate::records::batch::{Cell, time_cell};
use crate::records::{Alert, Axis, ConfigValue, ConsoleLine, Goal, Point, Problem, RunFacts, Text, TimeMs};
use crate::sources::{InputKind, Log, Resume, RunInput, Sink, Source};
use crate::store::InputRecord;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Most problems noted of one input; more are only counted.
const MAX_PROBLEMS: u64 = 100;

/// A run at work.
#[derive(Debug, Clone)]
pub struct Active {
    /// What names it across refreshes.
    pub key: RunKey,
    /// Id in the tables.
    pub run_id: String,
    /// Path relative to the root.
    pub path: String,
    /// Whether its source writes ends.
    pub writes_ends: bool,
    /// State, up to date with the batch.
    pub state: RunState,
    /// Whether its configuration changed since the last commit.
    pub config_changed: bool,
    /// Whether the run is new or was reset: nothing of it is stored.
    pub fresh: bool,
}

/// What was read since the last commit.
#[derive(Debug, Default)]
pub struct Batch {
    /// Runs at work.
    pub runs: Vec<Active>,
    index: HashMap<RunKey, usize>,
    /// Their points.
    pub points: Points,
    /// Rows of `texts` with the index of their run.
    pub texts: Vec<(usize, Vec<Cell>)>,
    /// Rows of `alerts` with the index of their run.
    pub alerts: Vec<(usize, Vec<Cell>)>,
    /// Rows of `console` with the index of their run.
    pub console: Vec<(usize, Vec<Cell>)>,
    /// Inputs read.
    pub inputs: Vec<InputRecord>,
    /// Problems by path.
    pub problems: Vec<(String, Problem)>,
    /// Runs whose stored rows are void.
    pub dropped_runs: BTreeSet<String>,
    /// Runs of the catalog that are no more.
    pub gone_runs: Vec<String>,
    /// Inputs of the catalog that are no more.
    pub gone_inputs: Vec<(String, String, String)>,
    /// Runs to read anew, with what was learned of the axes of their metrics.
    pub reread: BTreeMap<RunKey, BTreeMap<String, AxisHint>>,
    /// Notes for stderr.
    pub notes: Vec<String>,
    /// Number of the next alert.
    pub next_alert_seq: i64,
}

impl Batch {
    /// Nothing yet; alerts are numbered from `next_alert_seq`.
    pub fn new(next_alert_seq: i64) -> Self {
        Self { next_alert_seq, ..Self::default() }
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
            && self.inputs.is_empty()
            && self.dropped_runs.is_empty()
            && self.gone_inputs.is_empty()
            && self.gone_runs.is_empty()
    }

    /// Index of a run at work.
    pub fn find(&self, key: &RunKey) -> Option<usize> {
        self.index.get(key).copied()
    }

    /// Adds a run at work.
    pub fn add_run(&mut self, run: Active) -> usize {
        self.index.insert(run.key.clone(), self.runs.len());
        self.runs.push(run);
        self.runs.len() - 1
    }

    /// Forgets what is committed; runs of the log at hand go on.
    pub fn after_commit(&mut self, current: Option<(&str, &str)>) {
        let is_current = |run: &Active| current == Some((run.key.source.as_str(), run.key.identity.as_str()));
        self.runs.retain(is_current);
        for run in &mut self.runs {
            run.fresh = false;
            run.config_changed = false;
        }
        self.index = self.runs.iter().enumerate().map(|(i, run)| (run.key.clone(), i)).collect();
        self.texts.clear();
        self.alerts.clear();
        self.console.clear();
        self.dropped_runs.clear();
    }

    /// Rough number of rows held in memory.
    pub fn len(&self) -> usize {
        self.points.len() + self.texts.len() + self.console.len() + self.alerts.len()
    }
}

/// Finds or makes the run of a name inside a log.
pub trait Runs {
    /// State and id of a run; a new run gets an id of its own.
    fn open(&mut self, found: &FoundRun, sub: &str, writes_ends: bool) -> anyhow::Result<Active>;
}

/// A log being read.
pub struct Loader<'a> {
    /// Where the logs lie.
    pub root: &'a Path,
    /// Source of the log.
    pub source: &'a dyn Source,
    /// The log.
    pub job: &'a Job,
    /// Bytes to read at a time.
    pub read_bytes: usize,
}

/// How far a slice got.
pub struct Slice {
    /// Bytes read.
    pub read_bytes: u64,
    /// Whether the input is read to its end.
    pub done: bool,
}

impl Loader<'_> {
    /// Reads one slice of one input into the batch. `record` is what was read before and is brought
    /// up to date.
    ///
    /// # Errors
    /// When the state of a run cannot be loaded. A file that cannot be read is a problem, no error.
    pub fn slice(
        &self,
        input: &RunInput,
        stat: Stat,
        record: &mut InputRecord,
        batch: &mut Batch,
        runs: &mut dyn Runs,
        slice_bytes: u64,
    ) -> anyhow::Result<Slice> {
        let path = self.root.join(&input.path);
        let from = Resume { offset: record.offset, state: record.state.clone(), row_count: record.row_count };
        let mut sink = RunSink::new(self, input, stat, record, batch, runs);
        let outcome = match input.kind {
            InputKind::Log => self.read_log(&path, input, from.clone(), slice_bytes, &mut sink),
            InputKind::Document => self.read_document(&path, input, &mut sink),
        };
        let (resume, read_bytes, done) = outcome.unwrap_or_else(|error| {
            sink.problem(Problem { position: "file".into(), message: format!("{error:#}") });
            (from, 0, true)
        });
        sink.finish()?;
        record.offset = resume.offset;
        record.state = resume.state;
        record.row_count = resume.row_count;
        record.size_bytes = stat.size_bytes;
        record.modified_ns = stat.modified_ns;
        if input.kind == InputKind::Log {
            record.fingerprint = fingerprint(&path, record.offset).unwrap_or_default();
        }
        Ok(Slice { read_bytes, done })
    }

    fn read_log(
        &self,
        path: &Path,
        input: &RunInput,
        from: Resume,
        slice_bytes: u64,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<(Resume, u64, bool)> {
        let mut file = File::open(path)?;
        let end = from.offset.saturating_add(slice_bytes);
        file.seek(SeekFrom::Start(from.offset))?;
        let mut bytes = Limited { file, at: from.offset, end, read_bytes: 0, met_end: false };
        let mut log =
            Log { path: &input.path, role: &input.role, bytes: &mut bytes, chunk_bytes: self.read_bytes };
        let resume = self.source.read(&mut log, from, sink)?;
        Ok((resume, bytes.read_bytes, bytes.met_end))
    }

    fn read_document(
        &self,
        path: &Path,
        input: &RunInput,
        sink: &mut RunSink<'_, '_>,
    ) -> anyhow::Result<(Resume, u64, bool)> {
        sink.begin_document(&input.path);
        if input.role != crate::sources::sidecar::ROLE {
            return self
                .read_log(path, input, Resume::default(), u64::MAX - 1, sink)
                .map(|(r, n, _)| (r, n, true));
        }
        let bytes = std::fs::read(path)?;
        for (key, value) in crate::sources::sidecar::read_config(&input.path, &bytes)? {
            sink.config(&key, value);
        }
        let resume = Resume { offset: bytes.len() as u64, state: String::new(), row_count: 1 };
        Ok((resume, bytes.len() as u64, true))
    }
}

/// A file that ends at a given offset, so that one read call does not run to the end of a large
/// log: the reader sees a torn tail and says where to go on.
struct Limited {
    file: File,
    at: u64,
    end: u64,
    read_bytes: u64,
    met_end: bool,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let room = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read(&mut buffer[..room])?;
        if room > 0 && n == 0 {
            self.met_end = true;
        }
        self.at += n as u64;
        self.read_bytes += n as u64;
        Ok(n)
    }
}

impl Seek for Limited {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let to = match to {
            // The end is not known to be the file's: a reader that asks for it sees the limit.
            SeekFrom::End(offset) => {
                let end = self.file.metadata()?.len().min(self.end);
                SeekFrom::Start(end.saturating_add_signed(offset))
            }
            other => other,
        };
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}

/// Tells growth from rewriting: a hash of the first bytes and of those before `offset`.
///
/// # Errors
/// When the file cannot be read up to there.
pub fn fingerprint(path: &Path, offset: u64) -> std::io::Result<String> {
    const BYTES: u64 = 4096;
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BYTES.min(offset) as usize];
    file.read_exact(&mut buffer)?;
    hasher.update(&buffer);
    file.seek(SeekFrom::Start(offset.saturating_sub(BYTES)))?;
    file.read_exact(&mut buffer)?;
    hasher.update(&buffer);
    Ok(hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// Where the records of one input go.
struct RunSink<'a, 'b> {
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
    document: Option<String>,
    segment: i32,
    begins: bool,
    may_shift: bool,
    last_time: Option<TimeMs>,
    problem_count: u64,
    failed: Option<anyhow::Error>,
}

impl<'a, 'b> RunSink<'a, 'b> {
    fn new(
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
            document: None,
            segment: input.segment,
            begins,
            may_shift: false,
            last_time: None,
            problem_count: 0,
            failed: None,
            record,
        }
    }

    fn begin_document(&mut self, path: &str) {
        self.document = Some(path.to_string());
        if let Some(run) = self.active() {
            run.config_changed |= run.state.documents.remove(path).is_some();
        }
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
        if let Some(index) = self.open.get(&self.sub) {
            return Ok(*index);
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
        let run = &mut self.batch.runs[index];
        let state = &mut run.state;
        if self.begins && self.document.is_none() && self.segment > 0 && state.segment_count > 0 {
            state.facts.end = None;
            state.facts.exit_code = None;
            state.facts.state_detail = None;
        }
        if self.document.is_none() {
            let restarts = state.restarts.get(&self.input.path).copied().unwrap_or_default();
            self.segment = self.input.segment + restarts;
            state.segment_count = state.segment_count.max(self.segment + 1);
        }
        let modified = self.stat.modified_ns / 1_000_000;
        state.modified = Some(state.modified.map_or(modified, |known| known.max(modified)));
        if !self.record.runs.contains(&run.run_id) {
            self.record.runs.push(run.run_id.clone());
        }
    }

    fn active(&mut self) -> Option<&mut Active> {
        let index = self.index()?;
        self.batch.runs.get_mut(index)
    }

    /// How far the steps of this input are shifted; decided at its first point.
    fn shift(&mut self, step: i64) -> i64 {
        let (segment, may_shift) = (self.segment, std::mem::take(&mut self.may_shift));
        let Some(index) = self.index() else { return 0 };
        let state = &mut self.batch.runs[index].state;
        if may_shift && self.record.next_seq == 0 && !state.shifts.contains_key(&segment) {
            let shift = state.last_step.filter(|_| step == 0).map_or(0, |last| last + 1);
            state.shifts.insert(segment, shift);
            if shift > 0 {
                let path = &self.input.path;
                self.batch.notes.push(format!(
                    "{path}: steps begin at 0 again, shifted by {shift} behind the start before"
                ));
            }
        }
        self.batch.runs[index].state.shifts.get(&segment).copied().unwrap_or_default()
    }

    fn add_point(&mut self, point: &Point<'_>, internal: bool) {
        let Some(index) = self.index() else { return };
        let step = point.step.saturating_add(self.shift(point.step));
        if let Some(time) = point.time.filter(|time| Some(*time) != self.last_time) {
            self.last_time = Some(time);
            self.batch.runs[index].state.note_time(time);
        }
        let seq = self.record.next_seq;
        self.record.next_seq += 1;
        let state = &mut self.batch.runs[index].state;
        if state.last_step.is_none_or(|last| step > last) && !internal {
            state.last_step = Some(step);
        }
        let time = point.time.unwrap_or(NO_TIME);
        let row = PointRow { step, value: point.value, time, seq, segment: self.segment };
        self.batch.points.push(index, point.key, internal, row);
    }

    fn finish(mut self) -> anyhow::Result<()> {
        if self.problem_count > MAX_PROBLEMS {
            let message = format!("{} more problems", self.problem_count - MAX_PROBLEMS);
            let problem = Problem { position: "file".into(), message };
            self.batch.problems.push((self.input.path.clone(), problem));
        }
        // A log that said nothing yet is still a run (an event file with only its header).
        if self.record.runs.is_empty() && self.failed.is_none() {
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
        }
    }

    fn facts(&mut self, facts: RunFacts) {
        let segment = self.segment;
        if let Some(run) = self.active() {
            if let Some(duration_s) = facts.duration_s {
                run.state.durations_s.insert(segment, duration_s);
            }
            let created_at = run.state.facts.created_at;
            run.state.facts.merge(facts);
            if let (Some(known), Some(new)) = (created_at, run.state.facts.created_at) {
                run.state.facts.created_at = Some(known.min(new));
            }
        }
    }

    fn config(&mut self, key: &str, value: ConfigValue) {
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
            run.state.key(key).final_value = value;
        }
    }

    fn text(&mut self, text: Text) {
        let step = text.step.map(|step| step.saturating_add(self.shift(step)));
        let Some(index) = self.index() else { return };
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
        let step = alert.step.map(|step| step.saturating_add(self.shift(step)));
        let Some(index) = self.index() else { return };
        let seq = self.batch.next_alert_seq;
        self.batch.next_alert_seq += 1;
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
            seq.into(),
        ];
        self.batch.alerts.push((index, row));
    }

    fn console(&mut self, line: ConsoleLine) {
        let Some(index) = self.index() else { return };
        let run = &mut self.batch.runs[index];
        run.state.console_lines += 1;
        let row = vec![
            run.run_id.clone().into(),
            run.state.console_lines.into(),
            time_cell(line.time),
            line.stream.map(crate::records::Stream::as_str).into(),
            line.text.into(),
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
            run.state.facts.end = None;
            self.segment = now;
        }
    }

    fn rewind(&mut self, from_step: i64) {
        let at = (self.segment, self.record.next_seq, from_step);
        if let Some(run) = self.active() {
            run.state.rewinds.push(at);
            run.state.new_rewind = Some(run.state.new_rewind.map_or(from_step, |step| step.min(from_step)));
            run.state.last_step = run.state.last_step.map(|last| last.min(from_step - 1));
        }
    }

    fn continue_from_zero(&mut self) {
        self.may_shift = true;
    }

    fn problem(&mut self, problem: Problem) {
        self.problem_count += 1;
        if self.problem_count <= MAX_PROBLEMS {
            self.batch.problems.push((self.input.path.clone(), problem));
        }
    }
}

/// Id for a run that was not known before: the producer's, unless another run bears it.
pub fn new_run_id(key: &RunKey, producer_id: Option<&str>, taken: impl Fn(&str) -> bool) -> String {
    match producer_id {
        Some(id) if !taken(id) => id.to_string(),
        Some(id) => format!("{id}~{}", ids::short_hash(key)),
        None => ids::short_hash(key),
    }
}
