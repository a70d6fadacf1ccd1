//! From the records of W&B's transaction log to runq's. All of a file's state that outlives one
//! reading is in [`State`].

use super::console::Pending;
use super::proto::{self, Raw, payload};
use super::value::{Leaf, leaves};
use crate::records::{Alert, Axis, ConsoleLine, End, Goal, Level, Point, RunFacts, Stream, Text, TimeMs};
use crate::sources::Sink;
use crate::sources::parse::frame::Memory;
use crate::sources::parse::json::{self, Json, parse_non_finite, parse_number_like, parse_whole};
use crate::sources::parse::wire::{Broken, Fields, Wire};
use crate::sources::parse::words::{filled, quoted};
use prost::Message;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Unix seconds below this are no wall time: users may log a `_timestamp` of their own.
const PLAUSIBLE_TIME_S: f64 = 1e8;

/// What the reader of one file remembers between readings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    pub frame: Memory,
    /// Step of the last history row.
    step: Option<i64>,
    /// Last time any record gave.
    time: Option<TimeMs>,
    /// System statistics so far: the index of the next ones.
    stats: i64,
    /// Goals of metric names with a trailing `*`, in the order of their definition.
    globs: Vec<(String, Goal)>,
    /// Metrics with a goal under their own name, which globs do not override.
    named: BTreeSet<String>,
    /// Names with a dot that have a final value, so that one above them can be removed.
    nested_finals: BTreeSet<String>,
    /// Names of media, with a trailing dot: what is nested under them is no metric.
    media: BTreeSet<String>,
    /// Tags have been seen, so that a later record without any means they were removed.
    tagged: bool,
    /// The rewind of this start has been told.
    rewound: bool,
    stdout: Pending,
    stderr: Pending,
}

/// Turns records into calls of a sink, during one reading.
pub(super) struct Reader<'s> {
    sink: &'s mut dyn Sink,
    segment: i32,
    /// See [`State`].
    pub state: State,
    finals: BTreeMap<String, Option<f64>>,
    judged: HashSet<String>,
    indexed: HashSet<String>,
}

impl<'s> Reader<'s> {
    /// A reader of a file that belongs to start number `segment` of its run.
    pub(super) fn new(sink: &'s mut dyn Sink, segment: i32, state: State) -> Self {
        if segment > 0 && state.step.is_none() {
            sink.continue_from_zero();
        }
        Reader {
            sink,
            segment,
            state,
            finals: BTreeMap::new(),
            judged: HashSet::new(),
            indexed: HashSet::new(),
        }
    }

    /// The sink, for what is told beside records.
    pub(super) fn sink(&mut self) -> &mut dyn Sink {
        self.sink
    }

    /// Takes a `Record`.
    pub(super) fn record(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut fields = Fields(bytes);
        while let Some((field, content)) = fields.next()? {
            if let Wire::Bytes(bytes) = content {
                self.payload(field, bytes)?;
            }
        }
        Ok(())
    }

    /// Tells what is only known at the end of a reading: the final values.
    pub(super) fn finish(self) -> State {
        for (key, value) in &self.finals {
            self.sink.final_value(key, *value);
        }
        self.state
    }

    fn payload(&mut self, field: u32, bytes: &[u8]) -> Result<(), Broken> {
        match field {
            payload::HISTORY => self.history(bytes)?,
            payload::SUMMARY => self.summary(bytes)?,
            payload::CONFIG => self.config(&decode(bytes)?),
            payload::STATS => self.stats(&decode(bytes)?),
            payload::ALERT => self.alert(decode(bytes)?),
            payload::METRIC => self.metric(&decode(bytes)?),
            payload::OUTPUT_RAW => self.output(&decode(bytes)?),
            payload::RUN => self.run(&decode(bytes)?)?,
            payload::EXIT => self.exit(&decode(bytes)?),
            payload::PREEMPTING => self.sink.facts(RunFacts {
                end: Some(End::Failed),
                state_detail: Some("preempted".into()),
                ..RunFacts::default()
            }),
            payload::ENVIRONMENT => self.environment(decode(bytes)?),
            _ => {}
        }
        Ok(())
    }

    /// A row. Two passes over its items: time and media first, as items come in random order.
    fn history(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut key = String::new();
        let (mut step, mut time) = (None, None);
        let mut fields = Fields(bytes);
        while let Some((field, content)) = fields.next()? {
            match field {
                1 => {
                    let raw = proto::item(content.bytes(), &mut key)?;
                    self.note_media(&key);
                    if key == "_timestamp" {
                        time = numeric(raw).and_then(wall_time);
                    }
                }
                2 => step = Some(step_number(content.bytes())?),
                _ => {}
            }
        }
        let row = self.begin_row(step, time);
        let mut fields = Fields(bytes);
        while let Some((field, content)) = fields.next()? {
            if field == 1 {
                let raw = proto::item(content.bytes(), &mut key)?;
                if !self.is_media(&key) {
                    self.value(raw, &key, row);
                }
            }
        }
        Ok(())
    }

    /// Fixes step and time of a row. Rows without a step (several writers share the run) are
    /// counted in order of arrival.
    pub(super) fn begin_row(&mut self, step: Option<i64>, time: Option<TimeMs>) -> Row {
        let indexed = step.is_none();
        let step = step.unwrap_or_else(|| self.state.step.map_or(0, |last| last.saturating_add(1)));
        self.state.step = Some(step);
        self.state.time = time.or(self.state.time);
        Row { step, time, indexed }
    }

    /// Emits a logged value under its name, flattened.
    fn value(&mut self, raw: Raw<'_>, key: &str, row: Row) {
        match raw {
            Raw::Number(number) => self.leaf(key, Leaf::Number(number), row),
            Raw::Text(text) => self.leaf(key, Leaf::Text(text), row),
            Raw::Nothing => {}
            Raw::Json(json) => match parse_number_like(json) {
                Some(number) => self.leaf(key, Leaf::Number(number), row),
                None if matches!(json, "true" | "false" | "null") => {}
                None => {
                    if let Some(value) = parse_whole(json.as_bytes()) {
                        leaves(&value, key, &mut |key, leaf| self.leaf(key, leaf, row));
                    }
                }
            },
        }
    }

    /// Emits one number or string of a row.
    pub(super) fn leaf(&mut self, key: &str, leaf: Leaf<'_>, row: Row) {
        let Row { step, time, indexed } = row;
        match leaf {
            Leaf::Number(value) if key.starts_with('_') => {
                self.sink.internal_point(Point { key, step, value, time });
            }
            Leaf::Number(value) => {
                self.announce(key, indexed);
                self.sink.point(Point { key, step, value, time });
            }
            Leaf::Text(_) if key.starts_with('_') => {}
            Leaf::Text(text) => {
                let (key, text) = (key.to_owned(), text.to_owned());
                self.sink.text(Text { key, step: Some(step), time, text });
            }
        }
    }

    /// Says what is known of a metric before its first point of this reading.
    fn announce(&mut self, key: &str, indexed: bool) {
        if indexed && self.indexed.insert(key.to_owned()) {
            self.sink.axis(key, Axis::Index);
        }
        if self.state.globs.is_empty() || self.judged.contains(key) {
            return;
        }
        self.judged.insert(key.to_owned());
        let matches = |glob: &str| glob.strip_suffix('*').is_some_and(|head| key.starts_with(head));
        let found = self.state.globs.iter().rev().find(|(glob, _)| matches(glob));
        if let Some((_, goal)) = found.filter(|_| !self.state.named.contains(key)) {
            self.sink.goal(key, *goal);
        }
    }

    fn note_media(&mut self, key: &str) {
        if let Some(name) = key.strip_suffix("_type").filter(|name| name.ends_with('.'))
            && !self.state.media.contains(name)
        {
            self.state.media.insert(name.to_owned());
        }
    }

    /// Whether a name is nested under one that is media.
    fn is_media(&self, key: &str) -> bool {
        !self.state.media.is_empty()
            && key.match_indices('.').any(|(at, _)| self.state.media.contains(&key[..=at]))
    }

    /// Changes of the summary. They are only collected: what counts is the last state. Items come
    /// in random order, so media are looked for first, in the few records that speak of a type.
    fn summary(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut key = String::new();
        if memchr::memmem::find(bytes, b"_type").is_some() {
            let mut fields = Fields(bytes);
            while let Some((_, content)) = fields.next()? {
                proto::item(content.bytes(), &mut key)?;
                self.note_media(&key);
            }
        }
        let mut fields = Fields(bytes);
        while let Some((field, content)) = fields.next()? {
            let raw = proto::item(content.bytes(), &mut key)?;
            if key.starts_with('_') || self.is_media(&key) {
                continue;
            }
            match field {
                1 => self.final_value(raw, &key),
                2 => self.remove_final(&key),
                _ => {}
            }
        }
        Ok(())
    }

    fn final_value(&mut self, raw: Raw<'_>, key: &str) {
        let value = match raw {
            Raw::Json(json) => match numeric(raw) {
                Some(number) => Some(number),
                None => {
                    if json.starts_with(['{', '"'])
                        && let Some(value) = parse_whole(json.as_bytes())
                    {
                        self.final_leaves(&value, key);
                    }
                    return;
                }
            },
            raw => numeric(raw),
        };
        if let Some(value) = value {
            self.set_final(key, value);
        }
    }

    /// Sets the final values of the numbers in an object, such as `min` and `max` of a metric.
    pub(super) fn final_leaves(&mut self, value: &Json<'_>, key: &str) {
        leaves(value, key, &mut |key, leaf| {
            if let Leaf::Number(number) = leaf
                && !key.starts_with('_')
            {
                self.set_final(key, number);
            }
        });
    }

    fn set_final(&mut self, key: &str, value: f64) {
        if key.contains('.') && !self.state.nested_finals.contains(key) {
            self.state.nested_finals.insert(key.to_owned());
        }
        match self.finals.get_mut(key) {
            Some(slot) => *slot = Some(value),
            None => {
                self.finals.insert(key.to_owned(), Some(value));
            }
        }
    }

    fn remove_final(&mut self, key: &str) {
        let nested = format!("{key}.");
        let names = self.state.nested_finals.range(nested.clone()..);
        let names: Vec<String> = names.take_while(|name| name.starts_with(&nested)).cloned().collect();
        for name in names {
            self.state.nested_finals.remove(&name);
            self.finals.insert(name, None);
        }
        self.finals.insert(key.to_owned(), None);
    }

    fn config(&mut self, config: &proto::Config) {
        for item in config.update.iter().filter(|item| !item.is_internal()) {
            let key = item.name();
            self.sink.remove_config(&key);
            if let Some(value) = parse_whole(item.value_json.as_bytes()) {
                json::flatten(&key, &value, &mut |key, value| {
                    self.sink.config(key, value.to_compact_config());
                });
            }
        }
        for item in config.remove.iter().filter(|item| !item.is_internal()) {
            self.sink.remove_config(&item.name());
        }
    }

    /// System statistics. They have no step of their own and several may fall between two rows,
    /// where the rule "the last one of a step counts" would lose them: they are counted, and told
    /// to be on an axis of arrival.
    fn stats(&mut self, stats: &proto::Stats) {
        let time = stats.timestamp.as_ref().and_then(proto::Timestamp::millis);
        self.state.time = time.or(self.state.time);
        let step = self.state.stats;
        self.state.stats += 1;
        for item in &stats.item {
            if let Some(value) = parse_number_like(item.value_json.trim_matches('"')) {
                self.system_point(&item.key, Point { key: "", step, value, time });
            }
        }
    }

    /// Emits a point of the metric `system/<name>`.
    pub(super) fn system_point(&mut self, name: &str, point: Point<'_>) {
        let key = format!("system/{name}");
        if !self.indexed.contains(&key) {
            self.sink.axis(&key, Axis::Index);
            self.indexed.insert(key.clone());
        }
        self.sink.point(Point { key: &key, ..point });
    }

    /// An alert has neither step nor time: those of the records before it are taken.
    fn alert(&mut self, alert: proto::Alert) {
        let level = match alert.level.as_str() {
            "ERROR" => Level::Error,
            "WARN" => Level::Warn,
            _ => Level::Info,
        };
        let (step, time) = (self.state.step, self.state.time);
        self.sink.alert(Alert { level, step, time, title: alert.title, text: alert.text });
    }

    fn metric(&mut self, metric: &proto::Metric) {
        let goal = match metric.goal {
            1 => Goal::Min,
            2 => Goal::Max,
            _ => return,
        };
        if !metric.name.is_empty() {
            self.state.named.insert(metric.name.clone());
            self.sink.goal(&metric.name, goal);
        } else if metric.glob_name.ends_with('*') {
            self.judged.clear();
            self.state.globs.retain(|(glob, _)| *glob != metric.glob_name);
            self.state.globs.push((metric.glob_name.clone(), goal));
        }
    }

    fn output(&mut self, output: &proto::OutputRaw) {
        let time = output.timestamp.as_ref().and_then(proto::Timestamp::millis);
        self.state.time = time.or(self.state.time);
        let (stream, pending) = match output.output_type {
            1 => (Stream::Stdout, &mut self.state.stdout),
            _ => (Stream::Stderr, &mut self.state.stderr),
        };
        pending.push(&output.line, &mut |text| {
            self.sink.console(ConsoleLine { time, stream: Some(stream), text });
        });
    }

    /// The run itself. `created_at` is that of the first start; fields left empty say nothing.
    fn run(&mut self, run: &proto::Run) -> Result<(), Broken> {
        let started = run.start_time.as_ref().and_then(proto::Timestamp::millis);
        self.state.time = self.state.time.or(started);
        self.state.tagged |= !run.tags.is_empty();
        let branch = run.branch_point.as_ref();
        let parent = branch.map(|point| &point.run).filter(|id| **id != run.run_id);
        let git = run.git.as_ref();
        self.sink.facts(RunFacts {
            name: filled(&run.display_name),
            project: filled(&run.project),
            entity: filled(&run.entity),
            created_at: started.filter(|_| self.segment == 0),
            run_group: filled(&run.run_group),
            job_type: filled(&run.job_type),
            sweep_id: filled(&run.sweep_id),
            parent_run_id: parent.and_then(filled),
            tags: self.state.tagged.then(|| run.tags.clone()),
            notes: filled(&run.notes),
            host: filled(&run.host),
            git_commit: git.and_then(|git| filled(&git.commit)),
            git_remote: git.and_then(|git| filled(&git.remote_url)),
            ..RunFacts::default()
        });
        if let Some(point) = branch.filter(|point| point.run == run.run_id) {
            self.rewind(point.value);
        }
        if let Some(config) = &run.config {
            self.config(config);
        }
        run.summary.as_ref().map_or(Ok(()), |summary| self.summary(summary))
    }

    /// The run goes back to `last` and takes back every step behind it.
    fn rewind(&mut self, last: f64) {
        if last.is_finite() && !self.state.rewound {
            self.state.rewound = true;
            self.sink.rewind((last as i64).saturating_add(1));
        }
    }

    /// The end of the process. Records may still follow (older versions write the summary then).
    fn exit(&mut self, exit: &proto::Exit) {
        let (end, word) = match exit.exit_code {
            0 => (End::Finished, "finished"),
            _ => (End::Failed, "failed"),
        };
        self.sink.facts(RunFacts {
            end: Some(end),
            state_detail: Some(word.into()),
            exit_code: Some(exit.exit_code),
            // Whole seconds: 0 says nothing that the points' times do not say better.
            duration_s: Some(f64::from(exit.runtime)).filter(|seconds| *seconds > 0.0),
            ..RunFacts::default()
        });
        let (time, sink) = (self.state.time, &mut *self.sink);
        let streams = [(Stream::Stdout, &mut self.state.stdout), (Stream::Stderr, &mut self.state.stderr)];
        for (stream, pending) in streams {
            pending.finish(&mut |text| {
                sink.console(ConsoleLine { time, stream: Some(stream), text });
            });
        }
    }

    fn environment(&mut self, environment: proto::Environment) {
        let git = environment.git.unwrap_or_default();
        self.sink.facts(RunFacts {
            host: filled(&environment.host),
            user_name: filled(&environment.username),
            program: filled(&environment.program),
            args: quoted(environment.args.iter().map(String::as_str)),
            git_commit: filled(&git.commit),
            git_remote: filled(&git.remote_url),
            gpu_count: Some(environment.gpu_count).filter(|count| *count > 0),
            gpu_memory_bytes: environment
                .gpu_nvidia
                .iter()
                .map(|gpu| gpu.memory_total)
                .filter(|bytes| *bytes > 0)
                .min(),
            ..RunFacts::default()
        });
    }
}

/// Step and time of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Step.
    pub step: i64,
    /// Wall time, where plausible.
    pub time: Option<TimeMs>,
    /// Whether the step was counted here, as the producer gave none.
    pub indexed: bool,
}

/// Milliseconds from unix seconds, where they can be a wall time.
pub(super) fn wall_time(seconds: f64) -> Option<TimeMs> {
    (PLAUSIBLE_TIME_S..1e11).contains(&seconds).then(|| (seconds * 1000.0).round() as TimeMs)
}

fn numeric(raw: Raw<'_>) -> Option<f64> {
    match raw {
        Raw::Number(number) => Some(number),
        Raw::Json(json) => parse_number_like(json),
        Raw::Text(text) => parse_non_finite(text),
        Raw::Nothing => None,
    }
}

/// The number in a `HistoryStep`; an empty message is step 0.
fn step_number(bytes: &[u8]) -> Result<i64, Broken> {
    let mut step = 0;
    let mut fields = Fields(bytes);
    while let Some((field, content)) = fields.next()? {
        if field == 1 {
            step = content.int();
        }
    }
    Ok(step)
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Broken> {
    M::decode(bytes).map_err(|_| Broken)
}
