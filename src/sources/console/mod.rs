//! What training scripts print: logs of text whose lines tell a step and metrics in one of many
//! dialects. Every line goes to the console, those of metrics become points as well.

mod bar;
pub mod custom;
mod dialect;
mod fairseq;
mod general;
mod hf;
mod json;
mod llmc;
mod megatron;
mod mm;
mod names;
mod nanogpt;
mod position;
mod scan;
mod sniff;
mod torchtune;
mod value;

use super::find::ranks;
use super::parse::json::{Fields, Json};
use super::parse::lines::{TakeLine, each_line};
use super::parse::prefix::{self, Message};
use super::parse::rows::Tracker;
use super::parse::{axis, terminal};
use super::{Log, LogFile, Origin, Resume, RunLogs, Sink, Source, Verdict};
use crate::error::UserError;
use crate::records::{ConsoleLine, RunFacts};
use custom::Pattern;
use dialect::Row;
use position::Position;
use serde::{Deserialize, Serialize};

/// Stands between the prefix and the patterns in the role of an input.
const ROLE_SEPARATOR: char = ';';

/// Lines beyond so many bytes are printed, but hold no metrics.
const MAX_ROW_BYTES: usize = 64 << 10;

/// Reader of printed logs.
pub struct Console {
    patterns: Vec<Pattern>,
    /// Which patterns these are; empty without any.
    fingerprint: String,
}

/// The reader without patterns of the project.
pub static PLAIN: Console = Console { patterns: Vec::new(), fingerprint: String::new() };

/// What is remembered over a resume.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    rows: String,
    position: Position,
    /// The process whose metrics bear their own names.
    rank: Option<u32>,
    planned_steps: Option<i64>,
}

impl Console {
    /// The reader with patterns of the project, which come before all dialects.
    ///
    /// # Errors
    /// When a pattern is wrong or does not match its sample.
    pub fn new(settings: &custom::Settings) -> Result<Self, UserError> {
        let patterns = settings.patterns.iter().map(Pattern::new).collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<&str> = settings.patterns.iter().map(|entry| entry.pattern.as_str()).collect();
        let fingerprint = match texts.is_empty() {
            true => String::new(),
            false => format!("patterns {:016x}", axis::hash_of(texts.join("\n").as_bytes())),
        };
        Ok(Self { patterns, fingerprint })
    }

    /// The row that a line holds, if it holds one.
    fn row<'l>(&self, line: &'l str, message: &Message<'l>) -> Option<Row<'l>> {
        if line.len() > MAX_ROW_BYTES {
            return None;
        }
        let own = self.patterns.iter().find_map(|pattern| pattern.read(line));
        own.or_else(|| dialect::ALL.iter().find_map(|dialect| (dialect.read)(message.text)))
    }
}

impl Source for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    fn origin(&self) -> Origin {
        Origin::Console
    }

    fn settings(&self) -> &str {
        &self.fingerprint
    }

    fn may_claim(&self, path: &str) -> bool {
        sniff::may_claim(path)
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        sniff::sniff(self, path, head)
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        let mut runs = ranks::fold(files);
        if !self.fingerprint.is_empty() {
            // Other patterns read other things: a log is read anew when they change.
            for input in runs.iter_mut().flat_map(|run| &mut run.inputs) {
                input.role = format!("{}{ROLE_SEPARATOR}{}", input.role, self.fingerprint);
            }
        }
        runs
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        let state: State = serde_json::from_str(&from.state).unwrap_or_default();
        let prefix = log.role.split(ROLE_SEPARATOR).next().unwrap_or_default();
        let sink = &mut ranks::Prefixed::new(sink, prefix);
        let mut tracker = Tracker::load(&state.rows, sink);
        tracker.expect_no_config();
        let mut reader = Reader { console: self, state, tracker };
        let (offset, row_count) = each_line(log, &from, sink, &mut reader)?;
        let Reader { mut state, tracker, .. } = reader;
        state.rows = tracker.save();
        Ok(Resume { offset, state: serde_json::to_string(&state)?, row_count })
    }
}

struct Reader<'c> {
    console: &'c Console,
    state: State,
    tracker: Tracker,
}

impl TakeLine for Reader<'_> {
    fn line(&mut self, line: &[u8], sink: &mut dyn Sink) -> Result<(), String> {
        let line = terminal::shown(String::from_utf8_lossy(line).trim_end());
        if line.trim().is_empty() {
            return Ok(());
        }
        let message = prefix::split(&line);
        sink.console(ConsoleLine { time: message.time, stream: None, text: line.to_string() });
        self.state.position.pass_line();
        let row = self.console.row(&line, &message);
        match row.and_then(|mut row| self.state.position.settle(&mut row).then_some(row)) {
            Some(row) => self.metrics(row, &message, sink),
            None => Ok(()),
        }
    }

    fn is_whole(&self, _: &[u8]) -> bool {
        true
    }
}

impl Reader<'_> {
    fn metrics(
        &mut self,
        mut row: Row<'_>,
        message: &Message<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), String> {
        if row.planned_steps.is_some() && row.planned_steps != self.state.planned_steps {
            self.state.planned_steps = row.planned_steps;
            sink.facts(RunFacts { planned_steps: row.planned_steps, ..RunFacts::default() });
        }
        if let Some(time) = message.time
            && !row.fields.iter().any(|(key, _)| key == "_timestamp")
        {
            row.fields.push(("_timestamp".into(), Json::Number(time as f64, b"")));
        }
        if let Some(rank) = message.rank {
            let first = *self.state.rank.get_or_insert(rank);
            if rank != first {
                name_rank(&mut row.fields, rank);
            }
        }
        self.tracker.row(&row.fields, sink).map_err(str::to_string)
    }
}

/// Several processes print to one log: those behind the first one bear their rank.
fn name_rank(fields: &mut Fields<'_>, rank: u32) {
    for (key, _) in fields.iter_mut().filter(|(key, _)| axis::role_of(key) == axis::Role::Metric) {
        *key = format!("rank{rank}/{key}").into();
    }
}

#[cfg(test)]
mod tests;
