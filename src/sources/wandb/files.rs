//! Runs without a transaction log: what W&B leaves in `files/` (or, before 0.10, in the run
//! directory itself). Config, summary and metadata are documents; history, system events and the
//! console text are logs of lines.

use super::records::{Reader, State, filled, quoted, wall_time};
use super::value;
use super::{problem, split};
use crate::records::{ConsoleLine, Point, RunFacts};
use crate::sources::window::Window;
use crate::sources::{InputKind, Log, Resume, Sink};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

/// Documents beyond this are not read.
const MAX_DOCUMENT: usize = 64 << 20;
/// Lines beyond this are skipped.
const MAX_LINE: usize = 64 << 20;
/// YAML nested deeper is refused, as its tree would be walked by recursion.
const MAX_DEPTH: usize = 200;

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
        InputKind::Log => read_lines(log, from, segment, sink),
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
        "config.yaml" => yaml(&text),
        _ => value::parse(&text),
    };
    match document {
        Some(Value::Object(map)) => match name {
            "config.yaml" => config(&map, sink),
            "wandb-summary.json" => summary(Value::Object(map), sink),
            _ => metadata(&map, segment, sink),
        },
        _ if text.trim().is_empty() => {}
        _ => sink.problem(problem(0, format!("{name} is no readable document"))),
    }
    Ok(Resume { offset, state: String::new(), row_count: 1 })
}

/// `config.yaml`: each key holds `{value: X}`, older files with a `desc` beside it.
fn config(map: &Map<String, Value>, sink: &mut dyn Sink) {
    for (name, entry) in map {
        let Some(content) = entry.get("value").filter(|_| name != "_wandb") else { continue };
        value::config(content, &mut name.clone(), &mut |key, value| sink.config(key, value));
    }
}

fn summary(document: Value, sink: &mut dyn Sink) {
    let number = |pointer| document.pointer(pointer).and_then(Value::as_f64);
    let seconds = number("/_wandb/runtime").or_else(|| number("/_runtime"));
    let facts = RunFacts {
        updated_at: number("/_timestamp").and_then(wall_time),
        duration_s: seconds.filter(|seconds| *seconds > 0.0),
        ..RunFacts::default()
    };
    sink.facts(facts);
    let mut reader = Reader::new(sink, 0, State::default());
    reader.final_leaves(Some(&document), &mut String::new());
    reader.finish();
}

/// `wandb-metadata.json`. Its `state` is never updated and so says nothing.
fn metadata(map: &Map<String, Value>, segment: i32, sink: &mut dyn Sink) {
    let text = |key: &str| map.get(key).and_then(Value::as_str).and_then(filled);
    let git = |key: &str| map.get("git")?.get(key)?.as_str().and_then(filled);
    let args = map.get("args").and_then(Value::as_array);
    let args = args.map(|args| args.iter().filter_map(Value::as_str));
    let started = text("startedAt").filter(|_| segment == 0);
    sink.facts(RunFacts {
        created_at: started.and_then(|text| utc_millis(&text)),
        host: text("host"),
        user_name: text("username"),
        program: text("program"),
        args: args.and_then(quoted),
        git_commit: git("commit"),
        git_remote: git("remote"),
        ..RunFacts::default()
    });
}

/// Milliseconds from an ISO time; without a zone it is UTC.
fn utc_millis(text: &str) -> Option<i64> {
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    Some(time.and_utc().timestamp_millis())
}

/// The first document of a YAML text; `None` when it is none or too deep.
fn yaml(text: &str) -> Option<Value> {
    let mut depth = 0usize;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return None;
        }
    }
    from_yaml(Yaml::load_from_str(text).ok()?.first()?, MAX_DEPTH)
}

fn from_yaml(node: &Yaml<'_>, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    Some(match node {
        Yaml::Value(Scalar::Boolean(value)) => Value::from(*value),
        Yaml::Value(Scalar::Integer(value)) => Value::from(*value),
        Yaml::Value(Scalar::FloatingPoint(value)) => match value.into_inner() {
            value if value.is_finite() => Value::from(value),
            value if value.is_nan() => Value::from("NaN"),
            value if value > 0.0 => Value::from("Infinity"),
            _ => Value::from("-Infinity"),
        },
        Yaml::Value(Scalar::String(text)) => Value::from(text.as_ref()),
        Yaml::Representation(text, ..) => Value::from(text.as_ref()),
        Yaml::Sequence(items) => {
            Value::Array(items.iter().filter_map(|item| from_yaml(item, depth)).collect())
        }
        Yaml::Mapping(map) => Value::Object(
            map.iter().filter_map(|(key, value)| Some((yaml_key(key)?, from_yaml(value, depth)?))).collect(),
        ),
        Yaml::Tagged(_, inner) => from_yaml(inner, depth)?,
        _ => Value::Null,
    })
}

fn yaml_key(node: &Yaml<'_>) -> Option<String> {
    match from_yaml(node, 2)? {
        Value::String(text) => Some(text),
        value => Some(value.to_string()),
    }
}

/// Reads the complete lines of a log of lines.
fn read_lines(log: &mut Log<'_>, from: Resume, segment: i32, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let name = split(log.path).1;
    let state: State = serde_json::from_str(&from.state).unwrap_or_default();
    let mut reader = Reader::new(sink, if name == "wandb-history.jsonl" { segment } else { 0 }, state);
    let mut window = Window::new(&mut *log.bytes, from.offset, log.chunk_bytes);
    let mut row_count = from.row_count;
    while let Some(end) = line_end(&mut window)? {
        let at = window.offset();
        let line = String::from_utf8_lossy(window.view().get(..end).unwrap_or_default());
        let line = line.trim_end_matches(['\n', '\r']);
        let good = match name {
            _ if line.is_empty() && name != "output.log" => true,
            "wandb-history.jsonl" => history_line(&mut reader, line),
            "wandb-events.jsonl" => event_line(&mut reader, line, row_count),
            _ => {
                let text = super::console::clean(line);
                reader.sink().console(ConsoleLine { time: None, stream: None, text });
                true
            }
        };
        if !good {
            reader.sink().problem(problem(at, "the line is no JSON object".into()));
        }
        row_count += 1;
        window.advance(end);
    }
    let offset = window.offset();
    Ok(Resume { offset, state: serde_json::to_string(&reader.finish())?, row_count })
}

/// Bytes of the next complete line, its end included. A line beyond all measure is cut.
fn line_end(window: &mut Window<'_>) -> std::io::Result<Option<usize>> {
    let mut seen = 0;
    loop {
        let view = window.view();
        if let Some(at) = memchr::memchr(b'\n', view.get(seen..).unwrap_or_default()) {
            return Ok(Some(seen + at + 1));
        }
        seen = view.len();
        if seen >= MAX_LINE {
            return Ok(Some(seen));
        }
        if !window.fill(seen + 1)? {
            return Ok(None);
        }
    }
}

/// A row of very old versions: one JSON object with `_step`, `_timestamp` and the metrics.
fn history_line(reader: &mut Reader<'_>, line: &str) -> bool {
    let Some(row @ Value::Object(_)) = value::parse(line) else { return false };
    let step = row.get("_step").and_then(Value::as_i64);
    let time = row.get("_timestamp").and_then(Value::as_f64).and_then(wall_time);
    let at = reader.begin_row(step, time);
    value::leaves(&row, &mut String::new(), &mut |key, leaf| reader.leaf(key, leaf, at));
    true
}

/// A row of system statistics: keys begin with `system.`.
fn event_line(reader: &mut Reader<'_>, line: &str, index: u64) -> bool {
    let Some(row @ Value::Object(_)) = value::parse(line) else { return false };
    let time = row.get("_timestamp").and_then(Value::as_f64).and_then(wall_time);
    let step = i64::try_from(index).unwrap_or(i64::MAX);
    value::leaves(&row, &mut String::new(), &mut |key, leaf| {
        if let (Some(name), value::Leaf::Number(value)) = (key.strip_prefix("system."), leaf) {
            reader.system_point(name, Point { key: "", step, value, time });
        }
    });
    true
}
