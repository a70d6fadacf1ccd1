//! Weights & Biases, local directories: the transaction log `run-<id>.wandb`, which holds all of a
//! run, and for runs without one the files beside it. Written for wandb 0.12 to 0.31; the layout
//! is that of W&B's own writer.

mod console;
mod files;
mod proto;
mod records;
mod value;

use super::parse::frame::{self, Found, Frames, Header};
use super::parse::window::Window;
use super::{InputKind, Log, LogFile, Origin, Resume, RunInput, RunLogs, Sink, Source, Verdict};
use crate::records::Problem;
use crate::sources::parse::words::split;
use prost::Message;
use records::{Reader, State};
use std::collections::BTreeMap;

/// The file header of the only version there is.
const HEADER: Header = Header { magic: *b":W&B\xE1\xBE", last_version: 0, name: "a W&B log (version 0)" };

/// The source `wandb`.
pub struct Wandb;

impl Source for Wandb {
    fn name(&self) -> &'static str {
        "wandb"
    }

    fn origin(&self) -> Origin {
        Origin::Tracker
    }

    /// Only the transaction log has an exit record; runs without one leave nothing to tell their end.
    fn writes_ends(&self, logs: &RunLogs) -> bool {
        logs.inputs.iter().any(|input| input.path.ends_with(".wandb"))
    }

    fn may_claim(&self, path: &str) -> bool {
        is_transaction_log(path) || files::run_directory(path).is_some()
    }

    /// Beside a transaction log lie copies of what is in it, of code, and of logs synced from elsewhere.
    fn keeps_apart(&self, name: &str, files: &[String]) -> &'static [&'static str] {
        let is_run = name.starts_with("run-") || name.starts_with("offline-run-");
        match is_run && files.iter().any(|file| is_transaction_log(file)) {
            true => &["files", "logs", "tmp"],
            false => &[],
        }
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        if !is_transaction_log(path) {
            return Verdict::Log { marks: String::new() };
        }
        match HEADER.is_of(head) {
            None => Verdict::TooEarly,
            Some(true) => Verdict::Log { marks: marks(head) },
            Some(false) => Verdict::Other { reason: "no header of a W&B log of version 0".into() },
        }
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        let mut runs: BTreeMap<(String, String), Vec<Start>> = BTreeMap::new();
        for start in starts(files) {
            runs.entry((start.folder.clone(), start.run_id.clone())).or_default().push(start);
        }
        runs.into_iter().map(|((folder, run_id), starts)| run_logs(&folder, run_id, starts)).collect()
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        let segment = log.role.parse().unwrap_or(0);
        if is_transaction_log(log.path) {
            read_log(log, from, segment, sink)
        } else {
            files::read(log, from, segment, sink)
        }
    }
}

fn is_transaction_log(path: &str) -> bool {
    path.ends_with(".wandb")
}

/// Reads a transaction log.
fn read_log(log: &mut Log<'_>, from: Resume, segment: i32, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let state: State = serde_json::from_str(&from.state).unwrap_or_default();
    let window = Window::new(&mut *log.bytes, from.offset, log.chunk_bytes);
    let mut frames = Frames::new(window, &HEADER, state.frame);
    let mut reader = Reader::new(sink, segment, state);
    let mut row_count = from.row_count;
    loop {
        match frames.next()? {
            Found::End => break,
            Found::Damage { at, message } => reader.sink().problem(problem(at, message)),
            Found::Record => {
                row_count += 1;
                if let Err(error) = reader.record(frames.record()) {
                    reader.sink().problem(problem(frames.found(), error.to_string()));
                }
            }
        }
    }
    let offset = frames.resume();
    let mut state = reader.finish();
    state.frame = frames.memory;
    Ok(Resume { offset, state: serde_json::to_string(&state)?, row_count })
}

fn problem(at: u64, message: String) -> Problem {
    Problem { position: format!("byte {at}"), message }
}

/// What grouping needs of a log's content.
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct Marks {
    id: Option<String>,
    start: Option<i64>,
}

/// Run id and start time from the first run record, where the head holds it whole.
fn marks(head: &[u8]) -> String {
    let mut bytes = std::io::Cursor::new(head);
    let mut frames = Frames::new(Window::new(&mut bytes, 0, head.len()), &HEADER, Default::default());
    let mut found = Marks::default();
    while let Ok(Found::Record) = frames.next() {
        if let Some(run) = run_record(frames.record()) {
            found.start = run.start_time.as_ref().and_then(proto::Timestamp::millis);
            found.id = super::parse::words::filled(run.run_id);
            break;
        }
    }
    serde_json::to_string(&found).unwrap_or_default()
}

fn run_record(record: &[u8]) -> Option<proto::Run> {
    let mut fields = super::parse::wire::Fields(record);
    while let Ok(Some((field, content))) = fields.next() {
        if field == proto::payload::RUN {
            return proto::Run::decode(content.bytes()).ok();
        }
    }
    None
}

/// Version of Python and folder of the run, where the first bytes of its log tell.
pub(super) fn surroundings(head: &[u8]) -> (Option<String>, Option<String>) {
    let mut bytes = std::io::Cursor::new(head);
    let mut frames = Frames::new(Window::new(&mut bytes, 0, head.len()), &HEADER, Default::default());
    let (mut python, mut root) = (None, None);
    while let (true, Ok(Found::Record)) = (python.is_none() || root.is_none(), frames.next()) {
        let mut fields = super::parse::wire::Fields(frames.record());
        while let Ok(Some((field, content))) = fields.next() {
            if field != proto::payload::ENVIRONMENT {
                continue;
            }
            // It comes in several records, each with a part.
            if let Ok(part) = proto::Environment::decode(content.bytes()) {
                python = python.or(super::parse::words::filled(part.python));
                root = root.or(super::parse::words::filled(part.root));
            }
        }
    }
    (python, root)
}

/// One start of a run: a run directory, or a log that lies alone.
struct Start {
    /// The folder that holds the run directories: ids are unique in it.
    folder: String,
    run_id: String,
    path: String,
    started: Option<i64>,
    inputs: Vec<(String, InputKind)>,
}

/// The starts among the files: a directory counts by its log; the files beside it only where the
/// log is missing or holds nothing yet.
fn starts(files: &[LogFile]) -> Vec<Start> {
    let mut found: BTreeMap<&str, Start> = BTreeMap::new();
    let mut usable = std::collections::HashSet::new();
    for file in files.iter().filter(|file| is_transaction_log(&file.path)) {
        let start = start_of_log(file);
        let place = log_place(&file.path);
        if file.size_bytes > frame::HEADER_BYTES as u64 {
            usable.insert(place);
        }
        let entry = found.entry(place).or_insert(start);
        entry.inputs.push((file.path.clone(), InputKind::Log));
    }
    for file in files.iter().filter(|file| !is_transaction_log(&file.path)) {
        let Some(directory) = files::run_directory(&file.path) else { continue };
        if !usable.contains(directory) {
            let entry = found.entry(directory).or_insert_with(|| start_of_directory(directory));
            entry.inputs.push((file.path.clone(), files::kind(&file.path)));
        }
    }
    found.into_values().collect()
}

/// What stands for the start a log belongs to: its run directory, else the log itself.
fn log_place(path: &str) -> &str {
    match split(path) {
        (directory, _) if files::directory_id(split(directory).1).is_some() => directory,
        _ => path,
    }
}

fn start_of_log(file: &LogFile) -> Start {
    let marks: Marks = serde_json::from_str(&file.marks).unwrap_or_default();
    let place = log_place(&file.path);
    let stem = split(&file.path).1.trim_end_matches(".wandb");
    let run_id = marks.id.unwrap_or_else(|| stem.strip_prefix("run-").unwrap_or(stem).to_owned());
    Start {
        folder: split(place).0.to_owned(),
        run_id,
        path: place.to_owned(),
        started: marks.start,
        inputs: Vec::new(),
    }
}

fn start_of_directory(directory: &str) -> Start {
    let (folder, name) = split(directory);
    Start {
        folder: folder.to_owned(),
        run_id: files::directory_id(name).unwrap_or(name).to_owned(),
        path: directory.to_owned(),
        started: None,
        inputs: Vec::new(),
    }
}

/// Puts the starts of one run in order: by the time they logged when all of them did, else by the
/// time in the directories' names.
fn run_logs(folder: &str, run_id: String, mut starts: Vec<Start>) -> RunLogs {
    let all_known = starts.iter().all(|start| start.started.is_some());
    starts.sort_by(|a, b| {
        let key = |start: &Start| {
            let stamp = files::directory_stamp(split(&start.path).1).unwrap_or_default().to_owned();
            if all_known { (start.started, String::new()) } else { (None, stamp) }
        };
        key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
    });
    let path = starts.last().map(|start| start.path.clone()).unwrap_or_default();
    let inputs = starts.into_iter().zip(0..).flat_map(|(start, segment)| {
        start.inputs.into_iter().map(move |(path, kind)| RunInput {
            path,
            kind,
            role: i32::to_string(&segment),
            segment,
        })
    });
    RunLogs {
        identity: if folder.is_empty() { run_id.clone() } else { format!("{folder}/{run_id}") },
        producer_id: Some(run_id),
        name: None,
        project: None,
        path,
        inputs: inputs.collect(),
    }
}

#[cfg(test)]
mod tests;
