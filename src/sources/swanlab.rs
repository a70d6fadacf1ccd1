//! SwanLab: a folder `run-<date>_<time>-<id>` for each start of a run with `backup.swanlab`, a log of JSON
//! records framed as W&B's is, and `files/` with configuration and machine. Before 0.6 there was no
//! such log, but a folder of lines for each metric in `logs/`.

use super::parse::axis;
use super::parse::document::{mapping_of, object, whole};
use super::parse::frame::{Found, Frames, Header, Memory};
use super::parse::json::{Json, flatten, parse_whole};
use super::parse::lines::each_value;
use super::parse::rows::set_config;
use super::parse::terminal::shown;
use super::parse::window::Window;
use super::parse::words::{command, filled, join, split, strings, text_at, time_at};
use super::{InputKind, Log, LogFile, Origin, Resume, RunInput, RunLogs, Sink, Source, Verdict};
use crate::records::{Axis, ConsoleLine, End, Point, Problem, RunFacts, Stream, Text};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Version 1 added nothing that matters here.
const HEADER: Header = Header { magic: *b":SWL\xD6\xE1", last_version: 1, name: "a SwanLab log" };

const LOG: &str = "backup.swanlab";
const CONFIG: &str = "files/config.yaml";
const MACHINE: &str = "files/swanlab-metadata.json";

/// Metrics of the machine begin with this.
const SYSTEM: &str = "__swanlab__.";

/// System columns beyond these are not remembered.
const MAX_COLUMNS: usize = 10_000;

/// Reader of SwanLab's folders.
pub struct SwanLab;

/// What is remembered over a resume.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    frame: Memory,
    /// Metrics of the machine without the usual prefix.
    system: BTreeSet<String>,
}

/// What a file of a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'p> {
    Config,
    Machine,
    /// All records.
    Records,
    /// Values of one metric: where its slice begins, and the folder of the metric.
    Values(&'p str, u64),
}

/// Folder of the run a file belongs to, and what it is.
fn place(path: &str) -> Option<(&str, Part<'_>)> {
    let of = |end: &str| path.strip_suffix(end)?.strip_suffix('/').filter(|folder| id_of(folder).is_some());
    if let Some(folder) = of(LOG) {
        return Some((folder, Part::Records));
    }
    if let Some(folder) = of(CONFIG) {
        return Some((folder, Part::Config));
    }
    if let Some(folder) = of(MACHINE) {
        return Some((folder, Part::Machine));
    }
    let (rest, slice) = path.strip_suffix(".log")?.rsplit_once('/')?;
    let (rest, column) = rest.rsplit_once('/')?;
    let folder = rest.strip_suffix("/logs").filter(|folder| id_of(folder).is_some())?;
    Some((folder, Part::Values(column, slice.parse().ok()?)))
}

/// Stamp and id in the name of a folder, `run-<date>_<time>-<id>`.
fn id_of(folder: &str) -> Option<(&str, &str)> {
    let rest = split(folder).1.strip_prefix("run-")?;
    let (stamp, id) = (rest.get(..15)?, rest.get(15..)?.strip_prefix('-')?);
    let is_stamp = stamp.bytes().enumerate().all(|(at, byte)| match at {
        8 => byte == b'_',
        _ => byte.is_ascii_digit(),
    });
    (is_stamp && !id.is_empty()).then_some((stamp, id))
}

impl Source for SwanLab {
    fn name(&self) -> &'static str {
        "swanlab"
    }

    fn origin(&self) -> Origin {
        Origin::Tracker
    }

    /// The last record says how the run ended.
    fn writes_ends(&self, logs: &RunLogs) -> bool {
        logs.inputs.iter().any(|input| input.path.ends_with(LOG))
    }

    fn may_claim(&self, path: &str) -> bool {
        place(path).is_some() || split(path).1 == LOG
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        let is_inside = path.split('/').any(|folder| folder == "swanlog");
        let has = |word: &str| memchr::memmem::find(head, word.as_bytes()).is_some();
        let is_ours = match place(path).map(|(_, part)| part) {
            // W&B's folders have the same names; its configuration has no order.
            Some(Part::Config) => Some(is_inside || has("\n  sort:") && !has("wandb")),
            Some(Part::Machine) => Some(true),
            Some(Part::Values(..)) if is_inside || head.is_empty() => (!head.is_empty()).then_some(true),
            Some(Part::Values(..)) => Some(has("\"index\"") && has("\"data\"")),
            Some(Part::Records) | None => HEADER.is_of(head),
        };
        match is_ours {
            Some(true) => Verdict::Log { marks: String::new() },
            Some(false) => Verdict::Other { reason: "not written by SwanLab".into() },
            None => Verdict::TooEarly,
        }
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        group(files)
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        match place(log.path).map(|(_, part)| part) {
            Some(Part::Config) => whole(log, sink, &mut read_config),
            Some(Part::Machine) => {
                object(log, sink, &mut |machine, sink| sink.facts(machine_facts(&machine)))
            }
            Some(Part::Values(..)) => {
                let key = log.role;
                let take = &mut |value: Json<'_>, sink: &mut dyn Sink| match scalar(key, None, &value, sink) {
                    true => Ok(()),
                    false => Err("expected index and data".to_owned()),
                };
                let (offset, row_count) = each_value(log, &from, sink, take)?;
                Ok(Resume { offset, state: String::new(), row_count })
            }
            Some(Part::Records) | None => read_records(log, from, sink),
        }
    }
}

fn read_config(bytes: &[u8], sink: &mut dyn Sink) {
    mapping_of(bytes, sink, &mut |document, sink| {
        let Json::Object(fields) = document else { return };
        for (key, entry) in &fields {
            let value = entry.get("value").unwrap_or(entry);
            flatten(key, value, &mut |key, value| set_config(key, value, sink));
        }
    });
}

fn machine_facts(machine: &Json<'_>) -> RunFacts {
    let text = |key: &str| text_at(machine, &[key]);
    let git = strings(machine.get("git_info"));
    let words = text("command").and_then(|text| shlex::split(&text)).unwrap_or_default();
    RunFacts {
        host: text("hostname"),
        git_remote: text("git_remote"),
        git_branch: git.first().and_then(filled),
        git_commit: git.get(1).and_then(filled),
        ..command(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn read_records(log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let mut state: State = serde_json::from_str(&from.state).unwrap_or_default();
    let window = Window::new(&mut *log.bytes, from.offset, log.chunk_bytes);
    let mut frames = Frames::new(window, &HEADER, state.frame);
    let mut row_count = from.row_count;
    let problem = |at: u64, message: String| Problem { position: format!("byte {at}"), message };
    loop {
        match frames.next()? {
            Found::End => break,
            Found::Damage { at, message } => sink.problem(problem(at, message)),
            Found::Record => {
                row_count += 1;
                match parse_whole(frames.record()) {
                    Some(value) => record(&value, &mut state, sink),
                    None => sink.problem(problem(frames.found(), "the record is no JSON".into())),
                }
            }
        }
    }
    let offset = frames.resume();
    state.frame = frames.memory;
    Ok(Resume { offset, state: serde_json::to_string(&state)?, row_count })
}

fn record(record: &Json<'_>, state: &mut State, sink: &mut dyn Sink) {
    let none = RunFacts::default();
    let Some(data) = record.get("data") else { return };
    let text = |key: &str| text_at(data, &[key]);
    let time = time_at(data, &["create_time"]);
    match record.get("model_type").and_then(Json::as_str).unwrap_or_default() {
        "Header" => sink.facts(RunFacts { created_at: time, ..none }),
        "Project" => sink.facts(RunFacts { project: text("name"), entity: text("workspace"), ..none }),
        "Experiment" => {
            let tags = matches!(data.get("tags"), Some(Json::Array(_))).then(|| strings(data.get("tags")));
            let tags = tags.map(|tags| tags.into_iter().map(str::to_owned).collect());
            sink.facts(RunFacts { name: text("name"), notes: text("description"), tags, ..none });
        }
        "Column" => column(data, state, sink),
        "Scalar" => {
            if let (Some(key), Some(metric)) = (data.get("key").and_then(Json::as_str), data.get("metric")) {
                scalar(&name_of(key, state), data.get("step").and_then(axis::step_of), metric, sink);
            }
        }
        "Log" => {
            let stream = match data.get("level").and_then(Json::as_str) {
                Some("INFO") => Some(Stream::Stdout),
                Some("WARN") => Some(Stream::Stderr),
                _ => None,
            };
            let text = shown(data.get("message").and_then(Json::as_str).unwrap_or_default());
            sink.console(ConsoleLine { time, stream, text });
        }
        "Footer" => {
            let end = match data.get("success") {
                Some(Json::Bool(false)) => End::Failed,
                _ => End::Finished,
            };
            sink.facts(RunFacts { end: Some(end), updated_at: time, ..none });
        }
        _ => {}
    }
}

/// Remembers which metrics are of the machine: they are measured by the clock, not by steps.
fn column(data: &Json<'_>, state: &mut State, sink: &mut dyn Sink) {
    let is_system = text_at(data, &["cls"]).is_some_and(|class| class == "SYSTEM");
    if let Some(key) = text_at(data, &["key"]).filter(|_| is_system) {
        if !key.starts_with(SYSTEM) && state.system.len() < MAX_COLUMNS {
            state.system.insert(key.clone());
        }
        sink.axis(&name_of(&key, state), Axis::Index);
    }
}

fn name_of(key: &str, state: &State) -> String {
    match key.strip_prefix(SYSTEM) {
        Some(rest) => format!("system/{rest}"),
        None if state.system.contains(key) => format!("system/{key}"),
        None => key.to_owned(),
    }
}

/// A value with its step, which is also its index; says whether it is one.
fn scalar(key: &str, step: Option<i64>, metric: &Json<'_>, sink: &mut dyn Sink) -> bool {
    let Some(step) = step.or_else(|| metric.get("index").and_then(axis::step_of)) else { return false };
    let (Some(data), time) = (metric.get("data"), time_at(metric, &["create_time"])) else { return false };
    match data.as_metric() {
        Some(value) => sink.point(Point { key, step, value, time }),
        None => {
            if let Some(text) = data.as_str() {
                sink.text(Text { key: key.to_owned(), step: Some(step), time, text: text.to_owned() });
            }
        }
    }
    true
}

/// Folders with the same id beside each other are starts of one run.
fn group(files: &[LogFile]) -> Vec<RunLogs> {
    let mut folders: BTreeMap<&str, BTreeSet<(Part<'_>, &str)>> = BTreeMap::new();
    for file in files {
        match place(&file.path) {
            Some((folder, part)) => drop(folders.entry(folder).or_default().insert((part, &file.path))),
            // A log that lies alone.
            None => drop(folders.entry(&file.path).or_default().insert((Part::Records, &file.path))),
        }
    }
    let mut runs: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for folder in folders.keys().copied() {
        let (above, name) = split(folder);
        runs.entry((above, id_of(folder).map_or(name, |(_, id)| id))).or_default().push(folder);
    }
    let inputs = |starts: &[&str]| {
        let parts = starts.iter().zip(0..).filter_map(|(folder, at)| Some((folders.get(folder)?, at)));
        parts.flat_map(|(parts, segment)| inputs(parts, segment)).collect::<Vec<_>>()
    };
    let logs = runs.into_iter().map(|((above, id), starts)| RunLogs {
        identity: join(above, id),
        producer_id: starts.first().and_then(|folder| id_of(folder)).map(|(_, id)| id.to_owned()),
        name: None,
        project: None,
        path: starts.last().copied().unwrap_or_default().to_owned(),
        inputs: inputs(&starts),
    });
    logs.filter(|run| run.inputs.iter().any(|input| input.kind == InputKind::Log)).collect()
}

/// The values of metrics count only where there is no log of all records.
fn inputs(parts: &BTreeSet<(Part<'_>, &str)>, segment: i32) -> Vec<RunInput> {
    let has_records = parts.iter().any(|(part, _)| *part == Part::Records);
    let counts = |part: &Part<'_>| !has_records || !matches!(part, Part::Values(..));
    let used = parts.iter().filter(|(part, _)| counts(part));
    used.map(|(part, path)| {
        let (kind, role) = match part {
            Part::Config | Part::Machine => (InputKind::Document, String::new()),
            Part::Records => (InputKind::Log, String::new()),
            Part::Values(column, _) => {
                let key = percent_decode_str(column).decode_utf8_lossy();
                (InputKind::Log, name_of(&key, &State::default()))
            }
        };
        RunInput { path: (*path).to_owned(), kind, role, segment }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::testing::{
        WandbWriter, assert_survives, assert_survives_rewriting, file, read_whole,
    };

    const RUN: &str = "swanlog/run-20260520_180059-abc123";

    fn log() -> Vec<u8> {
        let mut log = WandbWriter::with_header(b":SWL\xD6\xE1\x00");
        for record in [
            r#"{"model_type": "Header", "data": {"backup_type": "DEFAULT", "create_time": "2026-05-20T18:00:59+00:00"}}"#,
            r#"{"model_type": "Project", "data": {"name": "p", "workspace": null, "public": null}}"#,
            r#"{"model_type": "Experiment", "data": {"name": "e", "description": "d", "tags": ["a"]}}"#,
            r#"{"model_type": "Column", "data": {"key": "__swanlab__.cpu.pct", "cls": "SYSTEM"}}"#,
            r#"{"model_type": "Scalar", "data": {"key": "loss", "step": 3, "epoch": 1, "metric": {"index": 3, "data": 0.5, "create_time": "2026-05-20T18:01:00+00:00"}}}"#,
            r#"{"model_type": "Scalar", "data": {"key": "loss", "step": 4, "epoch": 2, "metric": {"index": 4, "data": "INF"}}}"#,
            r#"{"model_type": "Scalar", "data": {"key": "__swanlab__.cpu.pct", "step": 0, "epoch": 1, "metric": {"index": 0, "data": 12}}}"#,
            r#"{"model_type": "Log", "data": {"level": "WARN", "message": "hi", "epoch": 1, "create_time": "2026-05-20T18:01:00+00:00"}}"#,
            r#"{"model_type": "Footer", "data": {"success": false, "create_time": "2026-05-20T18:02:00+00:00"}}"#,
        ] {
            log.record(format!("{record}\n").as_bytes());
        }
        log.bytes
    }

    #[test]
    fn every_record_is_read() {
        let place = format!("{RUN}/{LOG}");
        let sink = read_whole(&SwanLab, (&place, ""), &log());
        assert_eq!(sink.line("loss"), [(3, 0.5), (4, f64::INFINITY)]);
        assert_eq!(sink.points[0].time, Some(1_779_300_060_000));
        assert_eq!(
            (sink.line("system/cpu.pct"), sink.axes["system/cpu.pct"]),
            (vec![(0, 12.0)], Axis::Index)
        );
        assert_eq!((sink.console[0].stream, sink.console[0].text.as_str()), (Some(Stream::Stderr), "hi"));
        let facts = &sink.facts;
        assert_eq!((facts.name.as_deref(), facts.project.as_deref()), (Some("e"), Some("p")));
        assert_eq!((facts.notes.as_deref(), facts.tags.as_deref()), (Some("d"), Some(&["a".to_owned()][..])));
        assert_eq!(facts.end, Some(End::Failed));
        assert!(sink.problems.is_empty());
    }

    #[test]
    fn damage_and_growth() {
        assert_survives(&SwanLab, (&format!("{RUN}/{LOG}"), ""), &log());
        let values = b"{\"index\": 1, \"data\": 0.5, \"create_time\": \"2026-05-20T18:01:00+00:00\"}\n{\"index\": 2, \"data\": \"NaN\"}\n";
        assert_survives(&SwanLab, (&format!("{RUN}/logs/loss/1000.log"), "loss"), values);
        let config = b"lr:\n  value: 0.1\n  desc: ''\n  sort: 0\nm:\n  value: {a: [1]}\n";
        assert_survives_rewriting(&SwanLab, (&format!("{RUN}/{CONFIG}"), ""), config);
        let config = read_whole(&SwanLab, (&format!("{RUN}/{CONFIG}"), ""), config).config;
        assert_eq!((config["lr"].number, config["m.a"].text.as_str()), (Some(0.1), "[1]"));
    }

    #[test]
    fn the_machine_is_known() {
        let text = r#"{"hostname": "h", "command": "train.py --lr 1", "git_remote": "r", "git_info": ["main", "c0"]}"#;
        let facts = read_whole(&SwanLab, (&format!("{RUN}/{MACHINE}"), ""), text.as_bytes()).facts;
        assert_eq!((facts.host.as_deref(), facts.git_commit.as_deref()), (Some("h"), Some("c0")));
        assert_eq!((facts.program.as_deref(), facts.args.as_deref()), (Some("train.py"), Some("--lr 1")));
    }

    #[test]
    fn starts_of_one_run_and_old_folders() {
        let later = "swanlog/run-20260521_090000-abc123";
        let paths = [
            format!("{RUN}/{LOG}"),
            format!("{RUN}/{CONFIG}"),
            format!("{RUN}/logs/loss/1000.log"),
            format!("{later}/{LOG}"),
            "old/run-20240101_000000-x/logs/val%2Floss/1000.log".to_owned(),
            "old/run-20240101_000000-x/logs/val%2Floss/10000.log".to_owned(),
            "old/run-20240101_000000-x/logs/val%2Floss/2000.log".to_owned(),
        ];
        let mut files: Vec<_> = paths.iter().map(|path| file(path, 9, "")).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let runs = SwanLab.group(&files);
        assert_eq!(runs.len(), 2);
        let of = |at: usize| runs[at].inputs.iter().map(|input| (input.path.as_str(), input.segment));
        assert!(of(1).eq([(paths[1].as_str(), 0), (&paths[0], 0), (&paths[3], 1)]));
        assert!(of(0).eq([(paths[4].as_str(), 0), (&paths[6], 0), (&paths[5], 0)]));
        assert_eq!((runs[0].inputs[0].role.as_str(), runs[1].path.as_str()), ("val/loss", later));
        assert_eq!(runs[1].producer_id.as_deref(), Some("abc123"));
    }

    #[test]
    fn folders_of_others_are_left_alone() {
        let config = "wandb/run-20260520_180059-abc/files/config.yaml";
        let wandb = b"_wandb:\n  value: {}\nlr:\n  desc: null\n  value: 0.1\n";
        assert!(matches!(SwanLab.sniff(config, wandb), Verdict::Other { .. }));
        assert!(matches!(SwanLab.sniff(config, b"lr:\n  value: 1\n  sort: 0\n"), Verdict::Log { .. }));
        assert_eq!(SwanLab.sniff("a/backup.swanlab", b":SWL"), Verdict::TooEarly);
        assert!(matches!(SwanLab.sniff("a/backup.swanlab", b":W&B\xE1\xBE\x00"), Verdict::Other { .. }));
        assert!(!SwanLab.may_claim("logs/run-20260520_180059-abc/train.log"));
    }
}
