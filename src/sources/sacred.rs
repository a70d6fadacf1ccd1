//! Sacred's file storage: a folder with a number for each run, with `run.json` (what ran, and how it
//! ended), `config.json`, `metrics.json` (all points, rewritten at each heartbeat) and `cout.txt`.

use super::parse::axis;
use super::parse::document::object;
use super::parse::json::{Json, flatten};
use super::parse::lines::each_printed;
use super::parse::rows::set_config;
use super::parse::words::{at, join, split, text_at, time_at};
use super::{InputKind, Log, LogFile, Origin, Resume, RunInput, RunLogs, Sink, Source, Verdict};
use crate::records::{Alert, End, Level, Point, Problem, RunFacts, Text};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Files of a run and how they change, in the order in which they are read.
const FILES: [(&str, InputKind); 4] = [
    ("config.json", InputKind::Document),
    // It holds the trace of a failure, which is told once.
    ("run.json", InputKind::Snapshot),
    ("metrics.json", InputKind::Snapshot),
    ("cout.txt", InputKind::Log),
];

/// Reader of Sacred's folders.
pub struct Sacred;

impl Source for Sacred {
    fn name(&self) -> &'static str {
        "sacred"
    }

    fn origin(&self) -> Origin {
        Origin::Tracker
    }

    /// `run.json` says how the run ended.
    fn writes_ends(&self, logs: &RunLogs) -> bool {
        logs.inputs.iter().any(|input| input.path.ends_with("run.json"))
    }

    fn may_claim(&self, path: &str) -> bool {
        let (folder, name) = split(path);
        let number = split(folder).1;
        FILES.iter().any(|(known, _)| *known == name)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        let has = |word: &str| memchr::memmem::find(head, word.as_bytes()).is_some();
        let is_object = head.trim_ascii_start().starts_with(b"{");
        let is_ours = match split(path).1 {
            "run.json" => is_object && has("\"experiment\"") && has("\"command\""),
            "metrics.json" => is_object && has("\"steps\""),
            "config.json" => is_object,
            _ => true,
        };
        match is_ours {
            true => Verdict::Log { marks: String::new() },
            false if head.len() < 8 => Verdict::TooEarly,
            false => Verdict::Other { reason: "not written by Sacred".into() },
        }
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        let mut folders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for file in files {
            let (folder, name) = split(&file.path);
            folders.entry(folder).or_default().push(name);
        }
        folders.retain(|_, names| names.contains(&"run.json") || names.contains(&"metrics.json"));
        folders.into_iter().map(|(folder, names)| run_logs(folder, &names)).collect()
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        let name = split(log.path).1;
        if name == "cout.txt" {
            return each_printed(log, &from, sink);
        }
        object(log, sink, &mut |document, sink| match name {
            "run.json" => run(&document, sink),
            "metrics.json" => metrics(document, sink),
            _ => config("", &plain(document), sink),
        })
    }
}

fn run_logs(folder: &str, names: &[&str]) -> RunLogs {
    let present = FILES.iter().filter(|(name, _)| names.contains(name));
    let inputs = present.map(|(name, kind)| RunInput::new(&join(folder, name), *kind));
    let producer_id = Some(split(folder).1.to_owned());
    RunLogs { producer_id, ..RunLogs::of_inputs(folder, inputs.collect()) }
}

/// A value without the traces of jsonpickle: tuples and sets are lists, numbers of NumPy are numbers, and
/// of other objects the fields are kept.
fn plain(value: Json<'_>) -> Json<'_> {
    let fields = match value {
        Json::Array(items) => return Json::Array(items.into_iter().map(plain).collect()),
        Json::Object(fields) => fields,
        value => return value,
    };
    let is_numpy = fields.iter().any(|(key, value)| {
        key == "py/object" && value.as_str().is_some_and(|class| class.starts_with("numpy."))
    });
    let stands_for = |key: &str| matches!(key, "py/tuple" | "py/set") || is_numpy && key == "value";
    let at = fields.iter().position(|(key, _)| stands_for(key));
    let mut fields = fields;
    if let Some(at) = at {
        return plain(fields.swap_remove(at).1);
    }
    let own = fields.into_iter().filter(|(key, _)| !key.starts_with("py/"));
    Json::Object(own.map(|(key, value)| (key, plain(value))).collect())
}

fn config(name: &str, value: &Json<'_>, sink: &mut dyn Sink) {
    flatten(name, value, &mut |key, value| {
        if !key.is_empty() {
            set_config(key, value, sink);
        }
    });
}

fn run(document: &Json<'_>, sink: &mut dyn Sink) {
    let text = |keys: &[&str]| text_at(document, keys);
    let time = |key: &str| time_at(document, &[key]);
    let repository = match at(document, &["experiment", "repositories"]) {
        Some(Json::Array(all)) => all.first(),
        _ => None,
    };
    let (started, stopped) = (time("start_time"), time("stop_time"));
    let elapsed = started.zip(stopped).map(|(start, stop)| (stop - start) as f64 / 1e3);
    sink.facts(RunFacts {
        name: text(&["experiment", "name"]),
        created_at: started,
        updated_at: stopped.or(time("heartbeat")),
        duration_s: elapsed.filter(|seconds| *seconds >= 0.0),
        host: text(&["host", "hostname"]),
        program: text(&["experiment", "mainfile"]),
        args: text(&["command"]),
        notes: text(&["meta", "comment"]),
        git_remote: repository.and_then(|repository| text_at(repository, &["url"])),
        git_commit: repository.and_then(|repository| text_at(repository, &["commit"])),
        git_dirty: match repository.and_then(|repository| repository.get("dirty")) {
            Some(Json::Bool(dirty)) => Some(*dirty),
            _ => None,
        },
        ..end_of(text(&["status"]))
    });
    failure(document, sink);
    if let Some(result) = document.get("result") {
        flatten("result", &plain(result.clone()), &mut |key, value| {
            if let Some(value) = value.as_metric() {
                sink.final_value(key, Some(value));
            }
        });
    }
}

fn end_of(status: Option<String>) -> RunFacts {
    let end = match status.as_deref() {
        Some("COMPLETED") => Some(End::Finished),
        Some("FAILED" | "INTERRUPTED" | "TIMEOUT" | "TIMED_OUT" | "DIED") => Some(End::Failed),
        _ => None,
    };
    RunFacts { end, state_detail: status.filter(|_| end.is_some()), ..RunFacts::default() }
}

/// The trace of a failure is an alert; its last line says what it was.
fn failure(document: &Json<'_>, sink: &mut dyn Sink) {
    let lines: Vec<&str> = match document.get("fail_trace") {
        Some(Json::Array(lines)) => lines.iter().filter_map(Json::as_str).collect(),
        Some(Json::String(text)) => vec![text],
        _ => return,
    };
    let text = lines.concat();
    if let Some(title) = text.trim_end().lines().next_back() {
        let time = time_at(document, &["stop_time"]);
        let title = title.to_owned();
        sink.alert(Alert { level: Level::Error, step: None, time, title, text });
    }
}

fn metrics(document: Json<'_>, sink: &mut dyn Sink) {
    let Json::Object(fields) = document else { return };
    for (key, series) in fields {
        let Json::Object(columns) = series else {
            let message = format!("{key} has no steps and values");
            sink.problem(Problem { position: "byte 0".into(), message });
            continue;
        };
        let mut lists: BTreeMap<Cow<'_, str>, Vec<Json<'_>>> = BTreeMap::new();
        for (name, list) in columns {
            if let Json::Array(items) = list {
                lists.insert(name, items);
            }
        }
        let mut take = |name: &str| lists.remove(name).unwrap_or_default();
        let (steps, values, times) = (take("steps"), take("values"), take("timestamps"));
        for (index, value) in values.into_iter().enumerate() {
            let step = steps.get(index).and_then(axis::step_of).unwrap_or(index as i64);
            let time = times.get(index).and_then(axis::time_of);
            match plain(value) {
                value if value.as_metric().is_some() => {
                    let value = value.as_metric().unwrap_or_default();
                    sink.point(Point { key: &key, step, value, time });
                }
                Json::Null => {}
                value => {
                    let text = value.to_config().text;
                    sink.text(Text { key: key.to_string(), step: Some(step), time, text });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::testing::{
        self, assert_config, assert_metrics, assert_survives, assert_survives_rewriting, file, read_whole,
    };

    #[test]
    fn real_runs_are_what_the_files_say() {
        let root = testing::samples("sacred");
        let expected = testing::expected("sacred");
        let runs = testing::discover(&Sacred, &root);
        assert_eq!(runs.len(), expected.len());
        for wanted in &expected {
            let run = runs.iter().find(|run| run.path == wanted["path"].as_str().unwrap()).unwrap();
            assert_eq!(run.producer_id.as_deref(), wanted["run_id"].as_str());
            let sink = testing::read_run(&Sacred, &root, run);
            assert_metrics(&sink, wanted, "");
            assert_eq!(sink.keys().len(), wanted["metrics"].as_object().unwrap().len());
            assert_config(&sink, wanted);
            assert!(sink.problems.is_empty() && !sink.console.is_empty());
            assert_eq!(sink.finals.get("result").copied(), wanted["result"].as_f64());
            let facts = &sink.facts;
            assert_eq!(facts.name.as_deref(), wanted["name"].as_str());
            let end = match wanted["state"].as_str().unwrap() {
                "COMPLETED" => Some(End::Finished),
                "FAILED" => Some(End::Failed),
                _ => None,
            };
            assert_eq!(facts.end, end);
            let title = sink.alerts.first().map(|alert| format!("{}\n", alert.title));
            assert_eq!(title.as_deref(), wanted["fail_trace_last"].as_str());
            assert_eq!(
                (facts.program.as_deref(), facts.host.as_deref()),
                (Some("train.py"), Some("demo-host"))
            );
        }
    }

    #[test]
    fn pickled_values_are_plain() {
        let text = r#"{"t": {"py/tuple": [1, {"py/tuple": [2]}]}, "o": {"py/object": "a.B", "lr": 0.1},
            "n": {"py/object": "numpy.float64", "dtype": "float64", "value": 0.5}}"#;
        let config = read_whole(&Sacred, ("1/config.json", ""), text.as_bytes()).config;
        assert_eq!(config["t"].text, "[1, [2]]");
        assert_eq!((config["o.lr"].number, config["n"].number, config.len()), (Some(0.1), Some(0.5), 3));
    }

    #[test]
    fn values_of_any_kind() {
        let text = r#"{"a": {"steps": [0, 5], "timestamps": ["2026-11-20T18:20:14.091504"], "values": [NaN,
            {"py/object": "numpy.float64", "value": 2}]}, "b": {"steps": [], "values": ["x", null, 1]}, "c": 1}"#;
        let sink = read_whole(&Sacred, ("1/metrics.json", ""), text.as_bytes());
        assert_eq!(sink.steps("a"), [0, 5]);
        assert_eq!((sink.points[0].time, sink.points[1].value), (Some(1_795_198_814_091), 2.0));
        assert_eq!((sink.line("b"), sink.texts[0].text.as_str()), (vec![(2, 1.0)], "x"));
        assert_eq!(sink.problems.len(), 1);
        assert_survives_rewriting(&Sacred, ("1/metrics.json", ""), text.as_bytes());
        let run = br#"{"experiment": {"name": "e"}, "status": "FAILED", "fail_trace": ["a\n", "b\n"], "command": "m"}"#;
        assert_survives_rewriting(&Sacred, ("1/run.json", ""), run);
        assert_survives(&Sacred, ("1/cout.txt", ""), b"one\n\n10%\r20%\ntwo\r\n");
    }

    #[test]
    fn only_what_sacred_writes_is_claimed() {
        assert!(Sacred.may_claim("runs/12/run.json") && !Sacred.may_claim("runs/a/run.json"));
        assert!(!Sacred.may_claim("config.json"));
        let other = |path: &str, head: &[u8]| matches!(Sacred.sniff(path, head), Verdict::Other { .. });
        assert!(other("1/metrics.json", b"{\"step\": 3, \"loss\": 0.5}"));
        assert!(other("1/run.json", b"{\"name\": \"x\"}"));
        assert_eq!(Sacred.sniff("1/metrics.json", b"{}"), Verdict::TooEarly);
        assert!(Sacred.group(&[file("1/config.json", 9, ""), file("1/cout.txt", 9, "")]).is_empty());
    }
}
