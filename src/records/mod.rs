//! The words every layer speaks: what a log says about a run. No input, no output, no Parquet.

pub mod batch;
pub mod columns;
pub mod config_role;
pub mod goal;
pub mod names;
pub mod roles;
pub mod schema;
pub mod step_pattern;

use std::fmt;

/// Milliseconds since 1970-01-01 UTC.
pub type TimeMs = i64;

/// Facts about a run. Every field is optional: a log reveals them piece by piece and the later
/// non-empty word wins ([`RunFacts::merge`]).
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RunFacts {
    /// Human name.
    pub name: Option<String>,
    /// Project the tracker files the run under.
    pub project: Option<String>,
    /// Team or account.
    pub entity: Option<String>,
    /// How it ended; `None` while no end was logged.
    pub end: Option<End>,
    /// The tracker's own word for the state.
    pub state_detail: Option<String>,
    /// Exit code of the training process.
    pub exit_code: Option<i32>,
    /// When the run began.
    pub created_at: Option<TimeMs>,
    /// When the log last spoke, where the log says more than its points do.
    pub updated_at: Option<TimeMs>,
    /// Wall time the tracker recorded, in seconds.
    pub duration_s: Option<f64>,
    /// Steps the run means to make.
    pub planned_steps: Option<i64>,
    /// Group, as the tracker calls it.
    pub run_group: Option<String>,
    /// Job type, as the tracker calls it.
    pub job_type: Option<String>,
    /// Sweep the run belongs to.
    pub sweep_id: Option<String>,
    /// The run this one was started from or under.
    pub parent_run_id: Option<String>,
    /// Tags; an empty list is a fact too (all were removed).
    pub tags: Option<Vec<String>>,
    /// Notes of the user.
    pub notes: Option<String>,
    /// Host name.
    pub host: Option<String>,
    /// User name on that host.
    pub user_name: Option<String>,
    /// Training script.
    pub program: Option<String>,
    /// Arguments, shell-quoted into one text.
    pub args: Option<String>,
    /// Commit hash of the code.
    pub git_commit: Option<String>,
    /// Branch of the code.
    pub git_branch: Option<String>,
    /// Whether the work tree had uncommitted changes.
    pub git_dirty: Option<bool>,
    /// Remote of the code.
    pub git_remote: Option<String>,
    /// Accelerators it runs on.
    pub gpu_count: Option<u32>,
    /// Memory of each of them, of the smallest where they differ.
    pub gpu_memory_bytes: Option<u64>,
}

/// How a run ended, by the word of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum End {
    /// Ended well.
    Finished,
    /// Ended with an error, or was killed, preempted, interrupted, timed out.
    Failed,
}

impl End {
    /// The word in the column `state`.
    pub fn as_str(self) -> &'static str {
        match self {
            End::Finished => "finished",
            End::Failed => "failed",
        }
    }
}

macro_rules! take_newer {
    ($old:ident, $new:ident, $($field:ident),* $(,)?) => {
        $(if $new.$field.is_some() { $old.$field = $new.$field; })*
    };
}

impl RunFacts {
    /// Takes back what was said of an end: the run goes on.
    pub fn forget_end(&mut self) {
        self.end = None;
        self.state_detail = None;
        self.exit_code = None;
    }

    /// Takes over what another part of the same log knows: the earlier start counts.
    pub fn merge_parts(&mut self, newer: RunFacts) {
        let created_at = self.created_at;
        self.merge(newer);
        if let (Some(known), Some(new)) = (created_at, self.created_at) {
            self.created_at = Some(known.min(new));
        }
    }

    /// Overwrites what `newer` knows. Word and exit code of an end belong to it: a later end has its own.
    pub fn merge(&mut self, newer: RunFacts) {
        let old = self;
        if newer.end.is_some() {
            old.forget_end();
        }
        take_newer!(
            old,
            newer,
            name,
            project,
            entity,
            end,
            state_detail,
            exit_code,
            created_at,
            updated_at,
            duration_s,
            planned_steps,
            run_group,
            job_type,
            sweep_id,
            parent_run_id,
            tags,
            notes,
            host,
            user_name,
            program,
            args,
            git_commit,
            git_branch,
            git_dirty,
            git_remote,
            gpu_count,
            gpu_memory_bytes,
        );
    }
}

/// One logged value.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<'a> {
    /// Metric name as the producer wrote it; nested names joined with `.`.
    pub key: &'a str,
    /// Step; may be negative or repeat.
    pub step: i64,
    /// Value; NaN and infinities are kept.
    pub value: f64,
    /// Wall time, where the log has one.
    pub time: Option<TimeMs>,
}

/// A logged string or note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Name it was logged under.
    pub key: String,
    /// Step, where there was one.
    pub step: Option<i64>,
    /// Wall time, where there was one.
    pub time: Option<TimeMs>,
    /// The string.
    pub text: String,
}

/// An alert the run itself raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Severity.
    pub level: Level,
    /// Step it belongs to, where known.
    pub step: Option<i64>,
    /// Wall time, where known.
    pub time: Option<TimeMs>,
    /// Headline.
    pub title: String,
    /// Body.
    pub text: String,
}

/// Severity of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A fact worth a line.
    Info,
    /// Act; the run may be saved.
    Warn,
    /// Stop and change approach.
    Error,
}

impl Level {
    /// The word in the column `level`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// A line the run printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleLine {
    /// Wall time, where known.
    pub time: Option<TimeMs>,
    /// Which stream it came from; `None` where the log mixes them.
    pub stream: Option<Stream>,
    /// The line without its end, carriage returns resolved, escapes stripped.
    pub text: String,
}

/// Output stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The word in the column `stream`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// A hyperparameter's value. Lists stay one value; objects are flattened by the reader.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigValue {
    /// The bare string, anything else as JSON.
    pub text: String,
    /// The number, when it is one (booleans are not).
    pub number: Option<f64>,
}

/// Whether smaller or larger is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Goal {
    /// Smaller is better.
    Min,
    /// Larger is better.
    Max,
}

impl Goal {
    /// The word in the column `goal`.
    pub fn as_str(self) -> &'static str {
        match self {
            Goal::Min => "min",
            Goal::Max => "max",
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the step of a metric means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Axis {
    /// Training step.
    #[default]
    Step,
    /// Epoch.
    Epoch,
    /// Samples seen.
    Samples,
    /// Order of arrival: the producer logged no step.
    Index,
}

impl Axis {
    /// The word in the column `axis`.
    pub fn as_str(self) -> &'static str {
        match self {
            Axis::Step => "step",
            Axis::Epoch => "epoch",
            Axis::Samples => "samples",
            Axis::Index => "index",
        }
    }
}

/// What is said of a file or folder that cannot be looked into begins so.
pub const UNREADABLE: &str = "cannot read: ";

/// Something that could not be read; it never stops the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line (`line 12`) or byte (`byte 4096`).
    pub position: String,
    /// What was found and what was expected.
    pub message: String,
}
