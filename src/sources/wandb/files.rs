//! Runs without a transaction log: what W&B leaves in `files/` (or, before 0.10, in the run
//! directory itself). Config, summary and metadata are documents; history, system events and the
//! console text are logs of lines.

use super::problem;
use super::records::{Reader, State, wall_time};
use super::value::{Leaf, leaves};
use crate::records::{ConsoleLine, Point, RunFacts};
use crate::sources::parse::json::{Fields, Json, flatten, parse_whole};
use crate::sources::parse::lines::Lines;
use crate::sources::parse::terminal::shown;
use crate::sources::parse::window::Window;
use crate::sources::parse::words::split;
use crate::sources::parse::words::{filled, quoted};
use crate::sources::parse::{axis, yaml};
use crate::sources::{InputKind, Log, Resume, Sink};

/// Documents beyond this are not read.
const MAX_DOCUMENT: usize = 64 << 20;

const DOCUMENTS: [&str; 3] = ["config.yaml", "wandb-summary.json", "wandb-metadata.json"];
const LOGS: [&str; 3] = ["wandb-history.jsonl", "wandb-events.jsonl", "output.log"];

/// The run directory a file of this kind lies in, directly or in its `files`.
pub(super) fn run_directory(path: &str) -> Option<&str> {
    let (directory, name) = split(path);
    if !DOCUMENTS.contains(&name) && !LOGS.contains(&name) {
        return None;
    }
    let directory = directory.strip_suffix("/files").unwrap_or(directory);
    directory_id(split(directory).1).map(|_| directory)
}

/// The run id in the name of a run directory, `[offline-]run-<date>_<time>-<id>`.
pub(super) fn directory_id(name: &str) -> Option<&str> {
    let stamp = directory_stamp(name)?;
    let (_, id) = name.split_once(stamp)?;
    id.strip_prefix('-').filter(|id| !id.is_empty())
}

/// Date and time (local to the machine) in the name of a run directory.
pub(super) fn directory_stamp(name: &str) -> Option<&str> {
    let rest = ["run-", "offline-run-", "dryrun-"].iter().find_map(|mode| name.strip_prefix(mode))?;
    let stamp = rest.get(..15)?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (date, time) = stamp.split_once('_')?;
    (date.len() == 8 && digits(date) && digits(time)).then_some(stamp)
}

/// How a file changes.
pub(super) fn kind(path: &str) -> InputKind {
    if DOCUMENTS.contains(&split(path).1) { InputKind::Document } else { InputKind::Log }
}

/// Reads one of the files.
pub(super) fn read(
    log: &mut Log<'_>,
    from: Resume,
    segment: i32,
    sink: &mut dyn Sink,
) -> anyhow::Result<Resume> {
    match kind(log.path) {
        InputKind::Document => read_document(log, segment, sink),
        _ => read_lines(log, from, segment, sink),
    }
}

fn read_document(log: &mut Log<'_>, segment: i32, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let mut window = Window::new(&mut *log.bytes, 0, log.chunk_bytes);
    let whole = !window.fill(MAX_DOCUMENT)?;
    let text = String::from_utf8_lossy(window.view());
    let offset = window.view().len() as u64;
    let name = split(log.path).1;
    let document = match name {
        _ if !whole => None,
        "config.yaml" => yaml::parse(&text).ok(),
        _ => parse_whole(text.as_bytes()),
    };
    match document {
        Some(Json::Object(fields)) if name == "config.yaml" => config(&fields, sink),
        Some(document @ Json::Object(_)) if name == "wandb-summary.json" => summary(&document, sink),
        Some(document @ Json::Object(_)) => metadata(&document, segment, sink),
        _ if text.trim().is_empty() => {}
        _ => sink.problem(problem(0, format!("{name} is no readable document"))),
    }
    Ok(Resume { offset, state: String::new(), row_count: 1 })
}

/// `config.yaml`: each key holds `{value: X}`, older files with a `desc` beside it.
fn config(document: &Fields<'_>, sink: &mut dyn Sink) {
    for (name, entry) in document {
        let Some(content) = entry.get("value").filter(|_| name != "_wandb") else { continue };
        flatten(name, content, &mut |key, value| sink.config(key, value.to_compact_config()));
    }
}

fn summary(document: &Json<'_>, sink: &mut dyn Sink) {
    let number = |value: Option<&Json<'_>>| value.and_then(Json::as_metric);
    let own = document.get("_wandb").and_then(|own| own.get("runtime"));
    let seconds = number(own).or_else(|| number(document.get("_runtime")));
    let facts = RunFacts {
        updated_at: number(document.get("_timestamp")).and_then(wall_time),
        duration_s: seconds.filter(|seconds| *seconds > 0.0),
        ..RunFacts::default()
    };
    sink.facts(facts);
    let mut reader = Reader::new(sink, 0, State::default());
    reader.final_leaves(document, "");
    reader.finish();
}

/// `wandb-metadata.json`. Its `state` is never updated and so says nothing.
fn metadata(document: &Json<'_>, segment: i32, sink: &mut dyn Sink) {
    let text = |key: &str| document.get(key).and_then(Json::as_str).and_then(filled);
    let git = |key: &str| document.get("git")?.get(key)?.as_str().and_then(filled);
    let args = match document.get("args") {
        Some(Json::Array(args)) => quoted(args.iter().filter_map(Json::as_str)),
        _ => None,
    };
    let started = text("startedAt").filter(|_| segment == 0);
    sink.facts(RunFacts {
        created_at: started.and_then(|text| utc_millis(&text)),
        host: text("host"),
        user_name: text("username"),
        program: text("program"),
        args,
        git_commit: git("commit"),
        git_remote: git("remote"),
        gpu_count: whole(document.get("gpu_count")).and_then(|count| u32::try_from(count).ok()),
        gpu_memory_bytes: gpu_memory_bytes(document),
        ..RunFacts::default()
    });
}

/// A whole number above 0, which newer files write as text where it may be large.
fn whole(number: Option<&Json<'_>>) -> Option<u64> {
    let number = number?;
    let text = number.as_str().map_or_else(|| number.to_text(), str::to_owned);
    text.parse().ok().filter(|number| *number > 0)
}

/// Memory of the smallest accelerator.
fn gpu_memory_bytes(document: &Json<'_>) -> Option<u64> {
    let Some(Json::Array(gpus)) = document.get("gpu_nvidia") else { return None };
    gpus.iter().filter_map(|gpu| whole(gpu.get("memory_total"))).min()
}

/// Milliseconds from an ISO time; without a zone it is UTC.
fn utc_millis(text: &str) -> Option<i64> {
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    Some(time.and_utc().timestamp_millis())
}

/// Reads the complete lines of a log of lines.
fn read_lines(log: &mut Log<'_>, from: Resume, segment: i32, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let name = split(log.path).1;
    let state: State = serde_json::from_str(&from.state).unwrap_or_default();
    let mut reader = Reader::new(sink, if name == "wandb-history.jsonl" { segment } else { 0 }, state);
    let mut lines = Lines::new(&mut *log.bytes, from.offset, log.chunk_bytes);
    let mut row_count = from.row_count;
    while let Some(line) = lines.peek()?.filter(|line| line.ended) {
        let text = String::from_utf8_lossy(line.bytes);
        let text = text.trim_end_matches('\r');
        let good = match name {
            _ if line.too_long => false,
            _ if text.is_empty() && name != "output.log" => true,
            "wandb-history.jsonl" => history_line(&mut reader, text),
            "wandb-events.jsonl" => event_line(&mut reader, text, row_count),
            _ => {
                reader.sink().console(ConsoleLine { time: None, stream: None, text: shown(text) });
                true
            }
        };
        if !good {
            let message = if line.too_long { "the line is too long" } else { "the line is no JSON object" };
            reader.sink().problem(problem(line.offset, message.into()));
        }
        row_count += 1;
        lines.pass();
    }
    let offset = lines.offset();
    Ok(Resume { offset, state: serde_json::to_string(&reader.finish())?, row_count })
}

/// A row of very old versions: one JSON object with `_step`, `_timestamp` and the metrics.
fn history_line(reader: &mut Reader<'_>, line: &str) -> bool {
    let Some(row @ Json::Object(_)) = parse_whole(line.as_bytes()) else { return false };
    let step = row.get("_step").and_then(axis::step_of);
    let time = row.get("_timestamp").and_then(Json::as_metric).and_then(wall_time);
    let at = reader.begin_row(step, time);
    leaves(&row, "", &mut |key, leaf| reader.leaf(key, leaf, at));
    true
}

/// A row of system statistics: keys begin with `system.`.
fn event_line(reader: &mut Reader<'_>, line: &str, index: u64) -> bool {
    let Some(row @ Json::Object(_)) = parse_whole(line.as_bytes()) else { return false };
    let time = row.get("_timestamp").and_then(Json::as_metric).and_then(wall_time);
    let step = i64::try_from(index).unwrap_or(i64::MAX);
    leaves(&row, "", &mut |key, leaf| {
        if let (Some(name), Leaf::Number(value)) = (key.strip_prefix("system."), leaf) {
            reader.system_point(name, Point { key: "", step, value, time });
        }
    });
    true
}
