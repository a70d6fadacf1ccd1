//! Comet without its service: an archive `<key>.zip` that holds `experiment.json` and `messages.json`. Comet
//! fills it when the experiment ends; until then it is empty.

use super::parse::archive::{Archive, EMPTY, is_archive};
use super::parse::axis::{planned_steps, step_of};
use super::parse::document::{object_of, read};
use super::parse::json::{Json, parse_number_like};
use super::parse::terminal::shown;
use super::parse::words::{at, command, filled, split, strings, text_at, time_at};
use super::{InputKind, Log, LogFile, Origin, Resume, RunLogs, Sink, Source, Verdict};
use crate::records::{Axis, ConfigValue, ConsoleLine, Point, Problem, RunFacts, Stream, Text};
use anyhow::bail;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

/// Where Comet puts archives if nothing else is asked for.
const FOLDER: &str = ".cometml-runs";

const EXPERIMENT: &str = "experiment.json";
const MESSAGES: &str = "messages.json";

/// Reader of Comet's archives.
pub struct Comet;

impl Source for Comet {
    fn name(&self) -> &'static str {
        "comet"
    }

    fn origin(&self) -> Origin {
        Origin::Tracker
    }

    /// Keys have 32 to 50 letters and digits.
    fn may_claim(&self, path: &str) -> bool {
        let (folder, name) = split(path);
        let Some(key) = name.strip_suffix(".zip") else { return false };
        let is_key = (32..=50).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_key || split(folder).1 == FOLDER
    }

    fn sniff(&self, _path: &str, head: &[u8]) -> Verdict {
        match is_archive(head) {
            Some(true) => Verdict::Log { marks: String::new() },
            Some(false) => Verdict::Other { reason: "no archive".into() },
            None => Verdict::TooEarly,
        }
    }

    /// Of an archive the names of its members tell.
    fn sniff_file(&self, path: &str, head: &[u8], file: &Path, _scratch: &Path) -> Verdict {
        match self.sniff(path, head) {
            Verdict::Log { .. } if !head.starts_with(EMPTY) && !is_ours(file) => {
                Verdict::Other { reason: "no archive of Comet".into() }
            }
            verdict => verdict,
        }
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        files.iter().map(|file| run_logs(&file.path)).collect()
    }

    fn read(&self, log: &mut Log<'_>, _from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        if let Err(error) = archive(log, sink) {
            sink.problem(Problem { position: "file".into(), message: format!("{error:#}") });
        }
        Ok(read())
    }
}

fn is_ours(file: &Path) -> bool {
    let Ok(file) = File::open(file) else { return false };
    let Ok(zip) = zip::ZipArchive::new(std::io::BufReader::new(file)) else { return false };
    [EXPERIMENT, MESSAGES].iter().all(|name| zip.index_for_name(name).is_some())
}

fn run_logs(path: &str) -> RunLogs {
    let stem = split(path).1.trim_end_matches(".zip");
    RunLogs { producer_id: Some(stem.to_owned()), ..RunLogs::of_file(path, InputKind::Snapshot) }
}

fn archive(log: &mut Log<'_>, sink: &mut dyn Sink) -> anyhow::Result<()> {
    let mut archive = Archive::open(log)?;
    if archive.is_empty() {
        bail!("the archive is empty: Comet fills it when the experiment ends, so it goes on or was killed");
    }
    let document = archive.whole(EXPERIMENT)?.unwrap_or_default();
    object_of(EXPERIMENT, &document, sink, &mut |document, sink| experiment(&document, sink));
    let mut messages = Messages::default();
    archive.each_value(MESSAGES, &mut |line, value| match value {
        Some(value) => messages.take(&value, sink),
        None => sink.problem(Problem {
            position: format!("{MESSAGES} line {line}"),
            message: "the line is no JSON".into(),
        }),
    })
}

fn experiment(document: &Json<'_>, sink: &mut dyn Sink) {
    let text = |key: &str| text_at(document, &[key]);
    let tags = strings(document.get("tags")).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (start, stop) = (time_at(document, &["start_time"]), time_at(document, &["stop_time"]));
    let elapsed = start.zip(stop).map(|(start, stop)| (stop - start) as f64 / 1e3);
    sink.facts(RunFacts {
        project: text("project_name"),
        entity: text("workspace"),
        created_at: start,
        updated_at: stop,
        duration_s: elapsed.filter(|seconds| *seconds >= 0.0),
        tags: Some(tags).filter(|tags| !tags.is_empty()),
        ..RunFacts::default()
    });
}

/// What is remembered from message to message.
#[derive(Default)]
struct Messages {
    /// Next index of metrics without a step.
    next: HashMap<String, i64>,
}

impl Messages {
    fn take(&mut self, message: &Json<'_>, sink: &mut dyn Sink) {
        let Some(payload) = message.get("payload") else { return };
        let text = |keys: &[&str]| text_at(payload, keys);
        let none = RunFacts::default();
        match message.get("type").and_then(Json::as_str).unwrap_or_default() {
            "metric_msg" => self.metric(payload, sink),
            "parameter_msg" => parameter(payload, sink),
            "log_other" => other(payload, sink),
            "standard_output" => output(payload, sink),
            "system_details" => sink.facts(RunFacts {
                host: text(&["hostname"]),
                user_name: text(&["user"]),
                ..command(&strings(payload.get("command")))
            }),
            "git_metadata" => {
                let git = |key: &str| text(&["git_metadata", key]).or(text(&[key]));
                sink.facts(RunFacts {
                    git_branch: git("branch"),
                    git_commit: git("parent"),
                    git_remote: git("origin"),
                    ..none
                });
            }
            _ => {}
        }
    }

    /// The context stands before the name, as Comet shows it.
    fn metric(&mut self, payload: &Json<'_>, sink: &mut dyn Sink) {
        let metric = payload.get("metric").unwrap_or(payload);
        let Some(name) = text_at(metric, &["metricName"]) else { return };
        let key = match (name.strip_prefix("sys."), text_at(payload, &["context"])) {
            (Some(rest), _) => format!("system/{rest}"),
            (None, Some(context)) => format!("{context}_{name}"),
            (None, None) => name,
        };
        let value = match metric.get("metricValue") {
            Some(Json::String(text)) => parse_number_like(text.trim()),
            value => value.and_then(Json::as_metric),
        };
        let time = time_at(payload, &["local_timestamp"]);
        let step = metric.get("step").and_then(step_of);
        let Some(value) = value else {
            if let Some(text) = text_at(metric, &["metricValue"]) {
                sink.text(Text { key, step, time, text });
            }
            return;
        };
        let step = step.unwrap_or_else(|| self.index(&key, sink));
        sink.point(Point { key: &key, step, value, time });
    }

    fn index(&mut self, key: &str, sink: &mut dyn Sink) -> i64 {
        if let Some(next) = self.next.get_mut(key) {
            *next += 1;
            return *next - 1;
        }
        sink.axis(key, Axis::Index);
        self.next.insert(key.to_owned(), 1);
        0
    }
}

/// Values are text, with numbers among them.
fn parameter(payload: &Json<'_>, sink: &mut dyn Sink) {
    let parameter = payload.get("param").unwrap_or(payload);
    let (Some(name), Some(value)) = (text_at(parameter, &["paramName"]), parameter.get("paramValue")) else {
        return;
    };
    // Where the training stands is no parameter.
    if ["curr_step", "curr_epoch"].contains(&name.as_str()) {
        return;
    }
    let value = value.to_config();
    let number = value.number.or_else(|| parse_number_like(value.text.trim()));
    if let Some(steps) = planned_steps(&name, number) {
        sink.facts(RunFacts { planned_steps: Some(steps), ..RunFacts::default() });
    }
    sink.config(&name, ConfigValue { number, ..value });
}

fn other(payload: &Json<'_>, sink: &mut dyn Sink) {
    let (Some(key), Some(value)) = (text_at(payload, &["key"]), payload.get("value")) else { return };
    let text = value.to_config().text;
    if key == "Name" {
        sink.facts(RunFacts { name: filled(text), ..RunFacts::default() });
    } else {
        sink.text(Text { key, step: None, time: time_at(payload, &["local_timestamp"]), text });
    }
}

fn output(payload: &Json<'_>, sink: &mut dyn Sink) {
    let is_error = at(payload, &["stderr"]) == Some(&Json::Bool(true));
    let stream = Some(if is_error { Stream::Stderr } else { Stream::Stdout });
    let time = time_at(payload, &["local_timestamp"]);
    for line in payload.get("output").and_then(Json::as_str).unwrap_or_default().lines() {
        sink.console(ConsoleLine { time, stream, text: shown(line) });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::testing::{assert_survives_rewriting, read_whole, zip_of};

    const PLACE: (&str, &str) = (".cometml-runs/0123456789abcdef0123456789abcdef.zip", "");

    fn sample() -> Vec<u8> {
        let experiment = r#"{"offline_id": "x", "project_name": "p", "workspace": "w", "start_time": 1795198721000,
            "stop_time": 1795198723500, "tags": ["a"]}"#;
        let messages = [
            r#"{"type": "metric_msg", "payload": {"metric": {"metricName": "loss", "metricValue": 0.5, "step": 3, "epoch": 1}, "context": "train", "local_timestamp": 1795198721645}}"#,
            r#"{"type": "metric_msg", "payload": {"metric": {"metricName": "acc", "metricValue": "NaN", "step": null}, "context": null}}"#,
            r#"{"type": "metric_msg", "payload": {"metric": {"metricName": "acc", "metricValue": 2, "step": null}}}"#,
            r#"{"type": "metric_msg", "payload": {"metric": {"metricName": "sys.cpu", "metricValue": 2, "step": 1}}}"#,
            r#"{"type": "parameter_msg", "payload": {"param": {"paramName": "lr", "paramValue": "0.1", "step": null}}}"#,
            r#"{"type": "parameter_msg", "payload": {"param": {"paramName": "curr_step", "paramValue": 3}}}"#,
            r#"{"type": "log_other", "payload": {"key": "Name", "value": "n"}}"#,
            r#"{"type": "log_other", "payload": {"key": "k", "value": 1}}"#,
            r#"{"type": "standard_output", "payload": {"output": "a\nb\n", "stderr": true}}"#,
            r#"{"type": "git_metadata", "payload": {"git_metadata": {"branch": "main", "parent": "c0"}}}"#,
            r#"{"type": "system_details", "payload": {"hostname": "h", "command": ["train.py", "x"]}}"#,
        ]
        .join("\n");
        zip_of(&[(EXPERIMENT, experiment), (MESSAGES, &messages)])
    }

    #[test]
    fn every_message_is_read() {
        let sink = read_whole(&Comet, PLACE, &sample());
        assert!(sink.problems.is_empty(), "{:?}", sink.problems);
        assert_eq!((sink.line("train_loss"), sink.points[0].time), (vec![(3, 0.5)], Some(1_795_198_721_645)));
        assert_eq!((sink.steps("acc"), sink.axes["acc"]), (vec![0, 1], Axis::Index));
        assert_eq!(sink.line("system/cpu"), [(1, 2.0)]);
        assert_eq!((sink.config.len(), sink.config["lr"].number), (1, Some(0.1)));
        assert_eq!((sink.texts[0].key.as_str(), sink.texts[0].text.as_str()), ("k", "1"));
        assert_eq!((sink.console.len(), sink.console[1].stream), (2, Some(Stream::Stderr)));
        let facts = &sink.facts;
        assert_eq!((facts.name.as_deref(), facts.duration_s), (Some("n"), Some(2.5)));
        assert_eq!((facts.git_commit.as_deref(), facts.program.as_deref()), (Some("c0"), Some("train.py")));
    }

    #[test]
    fn an_empty_archive_is_one_clear_problem() {
        let empty = zip_of(&[]);
        assert_eq!(empty.len(), 22);
        assert_eq!(Comet.sniff(PLACE.0, &empty), Verdict::Log { marks: String::new() });
        let sink = read_whole(&Comet, PLACE, &empty);
        assert_eq!(sink.problems.len(), 1);
        assert!(sink.problems[0].message.contains("goes on or was killed"));
    }

    #[test]
    fn damage_is_told_and_other_archives_are_left_alone() {
        assert_survives_rewriting(&Comet, PLACE, &sample());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.zip");
        let verdict = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            Comet.sniff_file(PLACE.0, bytes, &file, folder.path())
        };
        assert_eq!(verdict(&sample()), Verdict::Log { marks: String::new() });
        assert!(matches!(verdict(&zip_of(&[("data.csv", "a,b\n")])), Verdict::Other { .. }));
        assert!(!Comet.may_claim("data/images.zip"));
    }
}
