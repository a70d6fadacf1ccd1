//! TensorBoard event files, by whichever writer: torch, tensorboardX, TensorFlow, Keras, Lightning,
//! Transformers. Format: TFRecords of `tensorboard.Event` messages.

mod event;
mod frame;
mod group;
#[cfg(test)]
mod tests;

use super::parse::json::{Json, flatten, parse_whole};
use super::parse::window::Window;
use super::parse::wire::{Broken, Fields};
use super::parse::words::split;
use super::{Log, LogFile, Origin, Resume, RunLogs, Sink, Source, Verdict};
use crate::records::{Point, Problem, RunFacts, Text, TimeMs};
use event::{Metadata, Value, What};
#[cfg(any(test, fuzzing))]
pub(super) use frame::masked_crc;
use frame::{Found, Frames};
use group::{Marks, Role};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How many tags of a file are noted for grouping.
const MARKED_TAGS: usize = 8;
/// Texts that hold the configuration as JSON, as Transformers writes them.
const CONFIG_TEXTS: [&str; 2] = ["args/text_summary", "model_config/text_summary"];
/// Plugins whose tensors are no scalars, whatever their shape.
const OTHER_PLUGINS: [&str; 12] = [
    "audio",
    "custom_scalars",
    "graph_keras_model",
    "graph_run_metadata",
    "graph_run_metadata_graph",
    "graphs",
    "histograms",
    "images",
    "mesh",
    "pr_curves",
    "projector",
    "__trace",
];

/// The source `tensorboard`.
pub struct TfEvents;

impl Source for TfEvents {
    fn name(&self) -> &'static str {
        "tensorboard"
    }

    fn origin(&self) -> Origin {
        Origin::Events
    }

    fn may_claim(&self, path: &str) -> bool {
        let name = split(path).1;
        let profile = path.starts_with("plugins/profile/") || path.contains("/plugins/profile/");
        name.contains("tfevents") && !name.ends_with(".profile-empty") && !profile
    }

    fn sniff(&self, _path: &str, head: &[u8]) -> Verdict {
        match head.get(..frame::HEADER_BYTES) {
            None => Verdict::TooEarly,
            Some(header) if frame::length(header).is_some() => Verdict::Log { marks: marks(head) },
            Some(header) if header.iter().all(|byte| *byte == 0) => Verdict::TooEarly,
            Some(_) => Verdict::Other { reason: "the first record's length is damaged".into() },
        }
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        group::group(files)
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        let state: State = serde_json::from_str(&from.state).unwrap_or_default();
        if state.stopped {
            return Ok(from);
        }
        let name = split(log.path).1;
        if let Some(host) = group::host(name).filter(|_| from.offset == 0) {
            sink.facts(RunFacts { host: Some(host), ..RunFacts::default() });
        }
        let role = serde_json::from_str(log.role).unwrap_or_default();
        let mut reader = Reader { sink, role, state };
        let mut frames = Frames::new(Window::new(&mut *log.bytes, from.offset, log.chunk_bytes));
        let row_count = from.row_count + reader.events(&mut frames)?;
        let state = serde_json::to_string(&reader.state)?;
        Ok(Resume { offset: frames.offset(), state, row_count })
    }
}

/// Notes tags and hyperparameters in the head of a file.
fn marks(head: &[u8]) -> String {
    let mut bytes = std::io::Cursor::new(head);
    let mut frames = Frames::new(Window::new(&mut bytes, 0, head.len()));
    let mut marks = Marks::default();
    while let Ok(Found::Record) = frames.next() {
        if let Ok(What::Summary(summary)) = event::event(frames.record()).map(|event| event.what) {
            // A broken summary in the head is told when the file is read.
            let _ = mark(summary, &mut marks);
        }
    }
    serde_json::to_string(&marks).unwrap_or_default()
}

fn mark(summary: &[u8], marks: &mut Marks) -> Result<(), Broken> {
    let mut fields = Fields(summary);
    while let Some((field, content)) = fields.next()? {
        if field == 1 {
            let value = event::value(content.bytes())?;
            let metadata = value.metadata.filter(|metadata| metadata.plugin == "hparams");
            if let Some(metadata) = metadata {
                marks.hparams |= event::session_hparams(metadata.content)?.is_some();
            }
            if marks.tags.len() < MARKED_TAGS {
                marks.tags.insert(value.tag.to_owned());
            }
        }
    }
    Ok(())
}

/// What the reader of one file remembers between readings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct State {
    /// A damaged length ended the file.
    stopped: bool,
    /// Sessions started so far.
    starts: u32,
    /// What the tags with tensors are: only the first value of a tag need say so.
    kinds: BTreeMap<String, Kind>,
}

/// What the values of a tag are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "s")]
    Scalar,
    #[serde(rename = "t")]
    Text,
    #[serde(rename = "h")]
    Hparams,
    #[serde(rename = "o")]
    Other,
    #[serde(rename = "?")]
    Unknown,
}

impl Kind {
    fn of(metadata: &Metadata<'_>) -> Kind {
        match (metadata.plugin, metadata.data_class) {
            ("scalars", _) => Kind::Scalar,
            ("text", _) => Kind::Text,
            ("hparams", _) => Kind::Hparams,
            (plugin, _) if OTHER_PLUGINS.contains(&plugin) => Kind::Other,
            (_, 1) => Kind::Scalar,
            (_, 2 | 3) => Kind::Other,
            _ => Kind::Unknown,
        }
    }
}

/// Turns events into calls of a sink, during one reading.
struct Reader<'s> {
    sink: &'s mut dyn Sink,
    role: Role,
    state: State,
}

impl Reader<'_> {
    /// Takes all complete events; says how many.
    fn events(&mut self, frames: &mut Frames<'_>) -> std::io::Result<u64> {
        let mut count = 0;
        loop {
            match frames.next()? {
                Found::End => return Ok(count),
                Found::Lost { at } => {
                    self.state.stopped = true;
                    self.problem(at, "damaged record length: the rest of the file is lost");
                    return Ok(count);
                }
                Found::Damage { at } => self.problem(at, "checksum mismatch: the record is skipped"),
                Found::Record => {
                    if let Err(error) = self.event(frames.record()) {
                        self.problem(frames.offset(), &error.to_string());
                    }
                }
            }
            count += 1;
        }
    }

    fn problem(&mut self, at: u64, message: &str) {
        self.sink.problem(Problem { position: format!("byte {at}"), message: message.into() });
    }

    fn event(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let event = event::event(bytes)?;
        let summary = match event.what {
            What::Summary(summary) => summary,
            What::Start => {
                self.start(event.step);
                return Ok(());
            }
            What::Other => return Ok(()),
        };
        let time = wall_time(event.wall_time);
        let mut fields = Fields(summary);
        while let Some((field, content)) = fields.next()? {
            if field == 1 {
                self.value(&event::value(content.bytes())?, event.step, time)?;
            }
        }
        Ok(())
    }

    /// A session starts: each but the first of a run takes back what was logged from its step on.
    /// Files under changed names hold one metric of a run, not the run, and say nothing of it.
    fn start(&mut self, step: i64) {
        self.state.starts = self.state.starts.saturating_add(1);
        let again = self.role.segment > 0 || self.state.starts > 1;
        if again && !self.role.is_renamed() {
            self.sink.rewind(step);
        }
    }

    fn value(&mut self, value: &Value<'_>, step: i64, time: Option<TimeMs>) -> Result<(), Broken> {
        if let Some(simple) = value.simple {
            self.scalar(value.tag, step, f64::from(simple), time);
            return Ok(());
        }
        let kind = self.kind(value);
        if let (Kind::Hparams, Some(metadata)) = (kind, value.metadata) {
            return self.hparams(metadata.content);
        }
        let Some(tensor) = value.tensor else { return Ok(()) };
        match kind {
            Kind::Scalar | Kind::Unknown => {
                let shape = event::shape(tensor)?;
                if shape.elements == Some(1)
                    && (kind == Kind::Scalar || shape.rank == 0)
                    && let Some(number) = event::number(tensor)?
                {
                    self.scalar(value.tag, step, number, time);
                }
            }
            Kind::Text => {
                if let Some(text) = event::text(tensor)? {
                    self.text(value.tag, step, text, time);
                }
            }
            Kind::Hparams | Kind::Other => {}
        }
        Ok(())
    }

    /// What a tag's values are, by this value's metadata or that of an earlier one.
    fn kind(&mut self, value: &Value<'_>) -> Kind {
        let known = self.state.kinds.get(value.tag).copied();
        let told = value.metadata.as_ref().map(Kind::of).filter(|kind| *kind != Kind::Unknown);
        let kind = told.or(known).unwrap_or(Kind::Unknown);
        if known != Some(kind) && kind != Kind::Unknown {
            self.state.kinds.insert(value.tag.to_owned(), kind);
        }
        kind
    }

    /// The name of a tag in the run.
    fn key<'t>(&self, tag: &'t str) -> Cow<'t, str> {
        match &self.role {
            Role { key: Some(key), .. } => Cow::Owned(key.clone()),
            Role { prefix, .. } if prefix.is_empty() => Cow::Borrowed(tag),
            Role { prefix, .. } => Cow::Owned(format!("{prefix}{tag}")),
        }
    }

    fn scalar(&mut self, tag: &str, step: i64, value: f64, time: Option<TimeMs>) {
        // Lightning's placeholder for a metric nobody logged.
        if tag == "hp_metric" && step == 0 && value == -1.0 {
            return;
        }
        let key = self.key(tag);
        self.sink.point(Point { key: &key, step, value, time });
    }

    fn text(&mut self, tag: &str, step: i64, text: String, time: Option<TimeMs>) {
        if CONFIG_TEXTS.contains(&tag)
            && let Some(config @ Json::Object(_)) = parse_whole(text.as_bytes())
        {
            return self.config("", &config);
        }
        let key = self.key(tag).into_owned();
        self.sink.text(Text { key, step: Some(step), time, text });
    }

    fn hparams(&mut self, content: &[u8]) -> Result<(), Broken> {
        for (name, value) in event::session_hparams(content)?.unwrap_or_default() {
            self.config(name, &value);
        }
        Ok(())
    }

    fn config(&mut self, key: &str, value: &Json<'_>) {
        flatten(key, value, &mut |key, value| self.sink.config(key, value.to_compact_config()));
    }
}

/// Milliseconds from an event's time; 0 means it has none.
fn wall_time(seconds: f64) -> Option<TimeMs> {
    let known = seconds.is_finite() && seconds > 0.0 && seconds < 1e12;
    known.then(|| (seconds * 1000.0).round() as TimeMs)
}
