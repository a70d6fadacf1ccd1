//! Every log format runq reads. A source recognises its files, groups them into runs and turns
//! bytes into [`crate::records`]; it knows nothing of the cache.
//!
//! To add a format: write its file here, add it to [`ALL`], put a sample into `tests/data` and a target
//! into `tests/fuzz`.

pub mod aim;
pub mod clearml;
pub mod comet;
pub mod console;
pub mod csv;
pub mod dvclive;
pub mod exprag;
pub mod find;
pub mod guild;
pub mod jsonl;
pub mod kept;
pub mod mlflow;
pub mod mmengine;
pub mod neptune;
pub mod parse;
pub mod sacred;
pub mod swanlab;
#[cfg(any(test, fuzzing))]
pub(crate) mod testing;
pub mod tfevents;
pub mod trackio;
pub mod trainer_state;
pub mod wandb;

use crate::records::{Alert, Axis, ConfigValue, ConsoleLine, Goal, Point, Problem, RunFacts, Text};
use std::io::{Read, Seek};
use std::path::Path;

/// All sources, in the order in which they may claim a file: exact marks first, content last.
pub static ALL: &[&dyn Source] = &[
    // Its folders have the names of W&B's.
    &swanlab::SwanLab,
    &wandb::Wandb,
    // Event files in its runs are its own.
    &guild::Guild,
    &tfevents::TfEvents,
    &mmengine::MmEngine,
    &trackio::Trackio,
    &exprag::Exprag,
    &mlflow::MlFlow,
    &sacred::Sacred,
    &clearml::ClearMl,
    &neptune::Neptune,
    &comet::Comet,
    &aim::Aim,
    &dvclive::DvcLive,
    &trainer_state::TrainerState,
    &jsonl::Jsonl,
    &csv::Csv,
    &console::PLAIN,
];

/// [`ALL`] with `own` in the place of the source of its name.
pub fn with(own: &dyn Source) -> Vec<&dyn Source> {
    let chosen = |source: &&'static dyn Source| if source.name() == own.name() { own } else { *source };
    ALL.iter().map(chosen).collect()
}

/// How many first bytes of a file a source sees to judge it.
pub const HEAD_BYTES: usize = 16 * 1024;

/// A log format.
pub trait Source: Send + Sync {
    /// Name in the column `source`: `wandb`, `tensorboard`, `jsonl`, ...
    fn name(&self) -> &'static str;

    /// Who writes such logs. Of one training in several formats the first kind is shown.
    fn origin(&self) -> Origin {
        Origin::Framework
    }

    /// What of the project's settings the source depends on; empty where nothing is set. Other
    /// settings have all files judged again.
    fn settings(&self) -> &str {
        ""
    }

    /// Whether the producer writes an end into these logs, so that its absence means a crash.
    fn writes_ends(&self, logs: &RunLogs) -> bool {
        let _ = logs;
        false
    }

    /// Whether a file may be one of ours by its path alone (relative to the root, `/` separated).
    /// Asked before the file is opened, for every file of the tree: it must be cheap.
    fn may_claim(&self, path: &str) -> bool;

    /// Folders inside the folder `name` that need no look, as `files` in it show that it is of this
    /// source and holds all of the run itself.
    fn keeps_apart(&self, name: &str, files: &[String]) -> &'static [&'static str] {
        let _ = (name, files);
        &[]
    }

    /// Judges a file by its first [`HEAD_BYTES`] bytes (`head` is the whole file when shorter).
    /// The verdict is remembered until the file changes identity, so it must depend on these bytes
    /// and the path only.
    fn sniff(&self, path: &str, head: &[u8]) -> Verdict;

    /// Judges a file that its first bytes do not tell apart: a database. `file` is where it is.
    fn sniff_file(&self, path: &str, head: &[u8], file: &Path, scratch: &Path) -> Verdict {
        let _ = (file, scratch);
        self.sniff(path, head)
    }

    /// Groups all files of this source under the root into runs. Pure: it sees every file each
    /// time, in path order, and must answer the same for the same files.
    fn group(&self, files: &[LogFile]) -> Vec<RunLogs>;

    /// Reads records from `log`, which stands at `from.offset`, into `sink`, and returns where the
    /// next call shall begin: the start of the first incomplete record. A torn tail is no problem
    /// and no error. Damage is told to the sink with its place and reading goes on after it where
    /// the format allows. An error is returned only when the file cannot be read at all.
    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume>;
}

/// Who writes a log, those first that know most of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A tracker: it knows configuration, state, notes.
    Tracker,
    /// A framework or a script: a file of its own.
    Framework,
    /// TensorBoard.
    Events,
    /// A script that prints.
    Console,
}

/// What a source says about a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is a log. `marks` is whatever [`Source::group`] needs to know of its content.
    Log {
        /// Free text, remembered with the verdict and handed to [`Source::group`].
        marks: String,
    },
    /// It is something else; the reason is shown by `refresh --explain`.
    Other {
        /// Why, in a few words.
        reason: String,
    },
    /// Too little content to tell (an empty or just created file): asked again next time. Where the
    /// head was not the whole file, asked again at once with a longer one.
    TooEarly,
}

/// A file some source has recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Path relative to the root, `/` separated.
    pub path: String,
    /// Size at discovery.
    pub size_bytes: u64,
    /// What [`Source::sniff`] noted.
    pub marks: String,
}

/// The logs of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLogs {
    /// What makes the run the same run next time: producer id scoped by folder, or a path.
    /// Unique within the source. Never size, time or order of discovery.
    pub identity: String,
    /// The producer's id, when it has one; becomes `run_id`.
    pub producer_id: Option<String>,
    /// Name to show until the log says another.
    pub name: Option<String>,
    /// Project to show until the log says another.
    pub project: Option<String>,
    /// Path of the run for the column `path` (a folder or a file), relative to the root.
    pub path: String,
    /// Files in the order in which their records count: later ones win where steps repeat.
    pub inputs: Vec<RunInput>,
}

/// One file of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunInput {
    /// Path relative to the root.
    pub path: String,
    /// How it changes.
    pub kind: InputKind,
    /// Text that [`Source::read`] gets back, such as a prefix for the keys of this file.
    pub role: String,
    /// Which start of the run the file belongs to, from 0.
    pub segment: i32,
}

impl RunLogs {
    /// A run (or a log of several) that is one file, or begins with one.
    pub fn of_file(path: &str, kind: InputKind) -> Self {
        Self::of_inputs(path, vec![RunInput::new(path, kind)])
    }

    /// A run of these inputs, known by its path.
    pub fn of_inputs(path: &str, inputs: Vec<RunInput>) -> Self {
        let (identity, path) = (path.to_owned(), path.to_owned());
        Self { identity, producer_id: None, name: None, project: None, path, inputs }
    }
}

impl RunInput {
    /// A file of the first start, without a role.
    pub fn new(path: &str, kind: InputKind) -> Self {
        Self { path: path.to_owned(), kind, role: String::new(), segment: 0 }
    }
}

/// How a file changes over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// Grows at its end; reading resumes where it stopped.
    Log,
    /// Rewritten whole (config, summary, metadata): read from its start after each change. It may
    /// only yield facts, config, final values and goals, never points.
    Document,
    /// Rewritten whole, and yields points (a JSON document with the whole history, an archive): when
    /// it changes, all that was read of the run is void and read anew. Problems in one that is not at
    /// rest mean that it is being written: what was read before stands until it is whole again.
    Snapshot,
    /// A database. It is read until a call brings neither rows nor another state; offsets are not
    /// asked for. Each call that tells facts or configuration of a run tells all of them.
    Database,
}

/// A reader over one input.
pub struct Log<'a> {
    /// Path relative to the root, for messages and for choices by name.
    pub path: &'a str,
    /// See [`RunInput::role`].
    pub role: &'a str,
    /// The file itself, for formats that a library opens.
    pub file: &'a Path,
    /// A folder for copies that are needed for the time of the call.
    pub scratch: &'a Path,
    /// The bytes. It may grow or shrink while it is read.
    pub bytes: &'a mut dyn ReadSeek,
    /// How many bytes to read at a time; tests turn it down.
    pub chunk_bytes: usize,
    /// Whether the bytes go to the end of the file, and nobody has written to it for a while: a last
    /// line without end may be a whole one then.
    pub is_at_rest: bool,
}

/// What was read of a log does not hold any more (rows of a database went away, a line went on): it
/// must be read from its start. Returned as the error of [`Source::read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartOver;

impl std::fmt::Display for StartOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what was read before does not hold any more")
    }
}

impl std::error::Error for StartOver {}

/// Both of them, as a trait object needs one name.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// Where reading stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resume {
    /// Byte offset of the first record not read.
    pub offset: u64,
    /// What the reader must remember besides (JSON of its own making); empty at the start.
    pub state: String,
    /// Records (lines, events) read so far.
    pub row_count: u64,
}

/// Takes what a source reads.
pub trait Sink {
    /// What follows belongs to the run of this name inside the log, for logs that hold several
    /// (`""`, the default, is the run of the [`RunLogs`] itself).
    fn select_run(&mut self, name: &str);
    /// Merges facts into the run.
    fn facts(&mut self, facts: RunFacts);
    /// Sets a hyperparameter; nested names are joined with `.`.
    fn config(&mut self, key: &str, value: ConfigValue);
    /// Removes a hyperparameter and everything nested under it.
    fn remove_config(&mut self, key: &str);
    /// Adds a point.
    fn point(&mut self, point: Point<'_>);
    /// Adds a point of a key that is the tracker's own (`_step`, `_runtime`): kept in
    /// `metrics_raw` only.
    fn internal_point(&mut self, point: Point<'_>);
    /// Says what the step of a metric means, where it is not the training step.
    fn axis(&mut self, key: &str, axis: Axis);
    /// Says which way a metric is better, by the word of the tracker.
    fn goal(&mut self, key: &str, goal: Goal);
    /// Sets the tracker's own final value of a metric; `None` removes it and everything nested under it.
    fn final_value(&mut self, key: &str, value: Option<f64>);
    /// Adds a string.
    fn text(&mut self, text: Text);
    /// Adds an alert.
    fn alert(&mut self, alert: Alert);
    /// Adds a line of console output.
    fn console(&mut self, line: ConsoleLine);
    /// What follows is a new start of the run inside the same file (steps begin again lower).
    fn restart(&mut self);
    /// The training began anew with this start: nothing of the starts before counts.
    fn begin_anew(&mut self);
    /// The producer takes back every earlier point whose step is `from_step` or more.
    fn rewind(&mut self, from_step: i64);
    /// Declares that this start began when the one before had ended, and continues the run where its
    /// first step is 0: its steps are shifted behind the last step so far. Called before the first
    /// point of such an input.
    fn continue_from_zero(&mut self);
    /// Reports something that could not be read.
    fn problem(&mut self, problem: Problem);
}
