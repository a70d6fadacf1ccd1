//! Reads logs into a batch: points, rows of the small tables, and the state of each run.

use super::ids::RunKey;
use super::plan::{FoundRun, Job, Stat};
use super::points::Points;
use super::settle::AxisHint;
use super::sink::RunSink;
use super::state::{Config, KeyState, RunState};
use super::watch::{Roles, RunWatch};
use crate::records::batch::Cell;
use crate::records::{Axis, Problem, UNREADABLE};
use crate::sources::find::sidecar;
use crate::sources::{InputKind, Log, Resume, RunInput, Sink, Source, StartOver};
use crate::store::{InputRecord, SiblingRecord};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// A run at work.
#[derive(Debug, Clone)]
pub struct Active {
    /// What names it across refreshes.
    pub key: RunKey,
    /// Id in the tables.
    pub run_id: String,
    /// Path relative to the root.
    pub path: String,
    /// The folder it is, or lies in.
    pub folder: String,
    /// Whether its source writes ends.
    pub writes_ends: bool,
    /// State, up to date with the batch.
    pub state: RunState,
    /// What the diagnosis saw of it, up to date with what is stored.
    pub watch: RunWatch,
    /// What its siblings see of it, where that may have changed since the last commit: none inside where
    /// that is nothing.
    pub sibling: Option<Option<SiblingRecord>>,
    /// Whether its configuration changed since the last commit.
    pub config_changed: bool,
    /// Whether what the diagnosis says of it changed since the last commit.
    pub verdict_changed: bool,
    /// Whether the run is new or was reset: nothing of it is stored.
    pub fresh: bool,
}

impl Active {
    /// Whether it is a run of a log (source, identity).
    pub fn is_of(&self, log: Option<(&str, &str)>) -> bool {
        log == Some((self.key.source.as_str(), self.key.identity.as_str()))
    }

    /// Takes over configuration that lies beside the log.
    pub fn apply(&mut self, configs: &BTreeMap<String, Config>) {
        for (path, config) in configs {
            if self.state.documents.get(path) != Some(config) {
                self.state.documents.insert(path.clone(), config.clone());
                self.config_changed = true;
            }
        }
    }
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
    /// Rows of `alerts` with the index of their run; they are numbered when they are written.
    pub alerts: Vec<(usize, Vec<Cell>)>,
    /// Rows of `console` with the index of their run.
    pub console: Vec<(usize, Vec<Cell>)>,
    /// Inputs read.
    pub inputs: Vec<InputRecord>,
    /// Problems by path.
    pub problems: Vec<(String, Problem)>,
    /// Logs that could be read.
    pub readable: BTreeSet<String>,
    /// Runs whose stored rows are void.
    pub dropped_runs: BTreeSet<String>,
    /// Runs of the catalog that are no more.
    pub gone_runs: Vec<String>,
    /// Inputs of the catalog that are no more.
    pub gone_inputs: Vec<(String, String, String)>,
    /// Runs to read anew, with what was learned of the axes of their metrics.
    pub reread: BTreeMap<RunKey, BTreeMap<String, AxisHint>>,
    /// Notes for stderr, by path of the input.
    pub notes: Vec<(String, String)>,
    /// Roles of metrics, as far as they were asked for.
    pub roles: Roles,
}

impl Batch {
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

    /// Number of the group of a metric, and whether its steps are training steps as far as its log has said.
    pub fn group(&mut self, run: usize, key: &str) -> (usize, bool) {
        let state = &self.runs[run].state;
        // What is indexed by arrival was logged at a training step, though always the same.
        let is_step = |key: &KeyState| key.axis == Axis::Step || key.constant_step.is_some();
        let known = || state.keys.get(key).map_or((true, 0), |key| (is_step(key), key.arrivals));
        self.points.group(run, key, known)
    }

    /// Notes how far an input was read.
    pub fn put_input(&mut self, record: &InputRecord) {
        let is_it = |known: &InputRecord| known.path == record.path && known.identity == record.identity;
        // The slices of one input come one after the other.
        self.inputs.pop_if(|last| is_it(last));
        self.inputs.push(record.clone());
    }

    /// Runs to read anew, with what was learned of the axes of their metrics.
    pub fn take_reread(&mut self) -> BTreeMap<RunKey, BTreeMap<String, AxisHint>> {
        std::mem::take(&mut self.reread)
    }

    /// Forgets what is committed; runs of the log at hand go on.
    pub fn after_commit(&mut self, current: Option<(&str, &str)>) {
        self.runs.retain(|run| run.is_of(current));
        for run in &mut self.runs {
            run.fresh = false;
            run.config_changed = false;
            run.verdict_changed = false;
        }
        self.index = self.runs.iter().enumerate().map(|(i, run)| (run.key.clone(), i)).collect();
        self.dropped_runs.clear();
    }

    /// Rough number of points that fit into the memory held.
    pub fn held_points(&self) -> usize {
        // A row of text takes about as much memory as that many points.
        const TEXT_POINTS: usize = 16;
        self.points.len() + TEXT_POINTS * (self.texts.len() + self.console.len() + self.alerts.len())
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
    /// Folder for files that are needed while a log is read.
    pub scratch: &'a Path,
    /// Configuration beside the log that was read anew, by path: it is that of each of its runs.
    pub configs: BTreeMap<String, Config>,
}

/// How far a slice got.
pub struct Slice {
    /// Bytes read.
    pub read_bytes: u64,
    /// Whether the input is read to its end.
    pub done: bool,
    /// Whether it got any further.
    pub advanced: bool,
    /// Whether the input was rewritten before or while it was read: what was read is a mix.
    pub torn: bool,
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
        let known = record.fingerprint.clone();
        let mut sink = RunSink::new(self, input, stat, record, batch, runs);
        if input.kind == InputKind::Document {
            sink.begin_document();
        }
        let end = if input.kind == InputKind::Log { slice_bytes } else { u64::MAX };
        let read = match input.kind {
            InputKind::Database => self.read_database(&path, input, from.clone(), stat, &mut sink),
            _ => self.read_log(&path, input, (from.clone(), &known), end, stat, &mut sink),
        };
        let read = read.unwrap_or_else(|error| ReadLog::failed(from.clone(), known, error));
        let advanced = read.resume != from;
        sink.finish(read.done || advanced)?;
        let failed = read.failure.is_some();
        match read.failure {
            // A log that was deleted since it was found is no problem: the next refresh knows.
            Some(error) if is_gone(&error) => {}
            Some(error) => {
                let problem = Problem { position: "file".into(), message: format!("{UNREADABLE}{error:#}") };
                batch.problems.push((input.path.clone(), problem));
            }
            None => drop(batch.readable.insert(input.path.clone())),
        }
        record.offset = read.resume.offset;
        record.state = read.resume.state;
        record.row_count = read.resume.row_count;
        let is_being_written = self.job.reset
            && input.kind == InputKind::Snapshot
            && record.problem_count > 0
            && !stat.is_at_rest;
        // What is not read to its end must look changed to the next refresh.
        let is_whole = read.done && !failed && !read.torn;
        record.size_bytes = if is_whole { stat.size_bytes } else { record.offset };
        record.modified_ns = if is_whole { stat.modified_ns } else { 0 };
        record.waits_for_rest = input.kind == InputKind::Log && !stat.is_at_rest;
        if input.kind == InputKind::Log {
            record.fingerprint = read.fingerprint;
        }
        let torn = read.torn || is_being_written;
        Ok(Slice { read_bytes: read.read_bytes, done: read.done, advanced, torn })
    }

    /// Reads from where the last read ended; `from` also bears the fingerprint up to there.
    fn read_log(
        &self,
        path: &Path,
        input: &RunInput,
        (from, known): (Resume, &str),
        slice_bytes: u64,
        stat: Stat,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<ReadLog> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let before = match fingerprint_of(&mut file, size) {
            // It shrank.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
            read => Some(read?),
        };
        let goes_on =
            from.offset == 0 || fingerprint_of(&mut file, from.offset).ok().as_deref() == Some(known);
        if before.is_none() || !goes_on {
            let fingerprint = String::new();
            let (read_bytes, done, torn, failure) = (0, false, true, None);
            return Ok(ReadLog { resume: from, read_bytes, done, torn, fingerprint, failure });
        }
        let end = from.offset.saturating_add(slice_bytes);
        file.seek(SeekFrom::Start(from.offset))?;
        let is_at_rest = stat.is_at_rest && stat.size_bytes <= end && size == stat.size_bytes;
        let mut bytes = Limited { file, at: from.offset, end, read_bytes: 0, met_end: false, failure: None };
        let mut log = Log {
            path: &input.path,
            role: &input.role,
            file: path,
            scratch: self.scratch,
            bytes: &mut bytes,
            chunk_bytes: self.read_bytes,
            is_at_rest,
        };
        let resume = self.source.read(&mut log, from.clone(), sink)?;
        // A reader that stops at damage never sees the end; with the whole rest in view it is done.
        let stuck = resume.offset <= from.offset && bytes.file.metadata()?.len() <= end;
        let is_log = input.kind == InputKind::Log;
        let done = bytes.met_end || stuck || !is_log || bytes.failure.is_some();
        let fingerprint = fingerprint_of(&mut bytes.file, resume.offset).unwrap_or_default();
        // Growth leaves what was there; anything else makes a mix of what was read.
        let torn = fingerprint_of(&mut bytes.file, size).ok() != before;
        let failure = bytes.failure.map(anyhow::Error::from);
        Ok(ReadLog { resume, read_bytes: bytes.read_bytes, done, torn, fingerprint, failure })
    }

    /// Reads the next part of a database; it is done when there is none.
    fn read_database(
        &self,
        path: &Path,
        input: &RunInput,
        from: Resume,
        stat: Stat,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<ReadLog> {
        let mut log = Log {
            path: &input.path,
            role: &input.role,
            file: path,
            scratch: self.scratch,
            bytes: &mut File::open(path)?,
            chunk_bytes: self.read_bytes,
            is_at_rest: stat.is_at_rest,
        };
        let mut resume = self.source.read(&mut log, from.clone(), sink)?;
        let done = resume == from;
        let read_bytes = if done { stat.size_bytes.saturating_sub(from.offset) } else { 0 };
        resume.offset = if done { stat.size_bytes } else { from.offset };
        Ok(ReadLog { resume, read_bytes, done, torn: false, fingerprint: String::new(), failure: None })
    }
}

/// What one call of a reader gave.
struct ReadLog {
    resume: Resume,
    read_bytes: u64,
    done: bool,
    /// Whether the log was rewritten before or while it was read: it must be read anew.
    torn: bool,
    /// Up to `resume.offset`.
    fingerprint: String,
    /// What kept it from more.
    failure: Option<anyhow::Error>,
}

impl ReadLog {
    /// Nothing was read, or nothing that counts.
    fn failed(resume: Resume, fingerprint: String, error: anyhow::Error) -> Self {
        // It must be read from its start, by the next pass.
        let torn = error.is::<StartOver>();
        let failure = (!torn).then_some(error);
        Self { resume, read_bytes: 0, done: true, torn, fingerprint, failure }
    }
}

fn is_gone(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::NotFound)
}

/// Reads a configuration beside a log.
///
/// # Errors
/// When it cannot be read or is none.
pub fn read_config(path: &Path, name: &str) -> anyhow::Result<(Config, u64)> {
    let mut bytes = Vec::new();
    File::open(path)?.take(sidecar::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let values = sidecar::read_config(name, &bytes)?;
    let config = values.into_iter().map(|(key, value)| (key, (value.text, value.number))).collect();
    Ok((config, bytes.len() as u64))
}

/// A file that ends at a given offset, so that one read call does not run to the end of a large
/// log: the reader sees a torn tail and says where to go on. Where the file cannot be read any further
/// it ends as well, so that what was read before counts.
struct Limited {
    file: File,
    at: u64,
    end: u64,
    read_bytes: u64,
    met_end: bool,
    failure: Option<std::io::Error>,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let room = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let n = match self.file.read(&mut buffer[..room]) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                self.failure = Some(error);
                return Ok(0);
            }
            read => read?,
        };
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
    fingerprint_of(&mut File::open(path)?, offset)
}

fn fingerprint_of(file: &mut File, offset: u64) -> std::io::Result<String> {
    const BYTES: u64 = 4096;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BYTES.min(offset) as usize];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut buffer)?;
    hasher.update(&buffer);
    file.seek(SeekFrom::Start(offset.saturating_sub(BYTES)))?;
    file.read_exact(&mut buffer)?;
    hasher.update(&buffer);
    Ok(hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}
