//! exprag: `.exprag/runs/<id>.jsonl`, one file a run, one JSON object a line. The first line describes
//! the run, each further one holds a value of any shape. exprag 0.1 writes no end.

use super::parse::json::{Fault, Fields, Json, flatten, parse};
use super::parse::lines::each_value;
use super::parse::rows::{Tracker, set_config};
use super::parse::words::{at, command, split, strings, text_at, time_at};
use super::{InputKind, Log, LogFile, Origin, Resume, RunLogs, Sink, Source, Verdict};
use crate::records::{End, RunFacts, Text};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Reader of exprag's files.
pub struct Exprag;

/// What is remembered over a resume.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    rows: String,
}

impl Source for Exprag {
    fn name(&self) -> &'static str {
        "exprag"
    }

    fn origin(&self) -> Origin {
        Origin::Tracker
    }

    fn may_claim(&self, path: &str) -> bool {
        let (folder, name) = split(path);
        let stem = name.strip_suffix(".jsonl");
        stem.is_some_and(|stem| is_uuid(stem) || folder.ends_with(".exprag/runs"))
    }

    fn sniff(&self, _path: &str, head: &[u8]) -> Verdict {
        for line in head.split_inclusive(|byte| *byte == b'\n') {
            match parse(line) {
                Ok((record, _)) if record.get("exprag_version").is_some() => {
                    let marks = text_at(&record, &["run_id"]).unwrap_or_default();
                    return Verdict::Log { marks };
                }
                Err(Fault::Incomplete) if !line.ends_with(b"\n") => return Verdict::TooEarly,
                _ => {}
            }
        }
        Verdict::Other { reason: "no line of exprag".into() }
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        files.iter().map(run_logs).collect()
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        let state: State = serde_json::from_str(&from.state).unwrap_or_default();
        let mut rows = Tracker::load(&state.rows, sink);
        rows.expect_no_config();
        rows.expect_one_run();
        let mut reader = Reader { rows, last: RunFacts::default() };
        let (offset, row_count) =
            each_value(log, &from, sink, &mut |record, sink| reader.record(record, sink))?;
        if reader.last != RunFacts::default() {
            sink.facts(reader.last);
        }
        let state = serde_json::to_string(&State { rows: reader.rows.save() })?;
        Ok(Resume { offset, state, row_count })
    }
}

/// `57536311-af96-4ba3-852f-7856b753123d`.
fn is_uuid(name: &str) -> bool {
    let is_part = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.len() == 36 && name.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && name.split('-').all(is_part)
}

fn run_logs(file: &LogFile) -> RunLogs {
    let producer_id = Some(file.marks.clone()).filter(|id| !id.is_empty());
    RunLogs { producer_id, ..RunLogs::of_file(&file.path, InputKind::Log) }
}

struct Reader {
    rows: Tracker,
    /// What the last record says of the run.
    last: RunFacts,
}

impl Reader {
    fn record(&mut self, record: Json<'_>, sink: &mut dyn Sink) -> Result<(), String> {
        let Json::Object(mut fields) = record else { return Err("the line is no JSON object".into()) };
        let value = fields.iter().position(|(key, _)| key == "value").map(|at| fields.swap_remove(at).1);
        let head = Json::Object(fields);
        self.last.updated_at = time_at(&head, &["created_at"]).or(self.last.updated_at);
        let value = value.unwrap_or(Json::Null);
        match head.get("kind").and_then(Json::as_str) {
            Some("run_start") => start(&head, &value, sink),
            Some("track") => return self.track(&head, value, sink),
            Some("run_end" | "end") => end(&head, &value, sink),
            Some(_) => {}
            None => return Err("the line has no kind".into()),
        }
        note(&head, None, sink);
        Ok(())
    }

    fn track(&mut self, head: &Json<'_>, value: Json<'_>, sink: &mut dyn Sink) -> Result<(), String> {
        let mut row = vec![];
        if let Some(time) = head.get("created_at") {
            row.push((Cow::Borrowed("_timestamp"), time.clone()));
        }
        row.extend(fields(value));
        let taken = self.rows.row(&row, sink);
        note(head, self.rows.last_step(), sink);
        taken.map_err(str::to_owned)
    }
}

/// The fields of a tracked value; one that is no object has the name `value`.
fn fields(value: Json<'_>) -> Fields<'_> {
    let bare = match value {
        Json::Object(fields) => return fields,
        Json::Null => return Vec::new(),
        Json::Bool(_) | Json::Array(_) => Json::String(Cow::Owned(value.to_text())),
        value => value,
    };
    vec![(Cow::Borrowed("value"), bare)]
}

fn note(head: &Json<'_>, step: Option<i64>, sink: &mut dyn Sink) {
    if let Some(text) = text_at(head, &["note"]) {
        sink.text(Text { key: "note".into(), step, time: time_at(head, &["created_at"]), text });
    }
}

fn start(head: &Json<'_>, value: &Json<'_>, sink: &mut dyn Sink) {
    let text = |keys: &[&str]| text_at(value, keys);
    sink.facts(RunFacts {
        name: text_at(head, &["experiment_name"]),
        created_at: time_at(head, &["created_at"]),
        host: text(&["host", "hostname"]),
        user_name: text(&["host", "username"]),
        git_branch: text(&["git", "branch"]),
        git_commit: text(&["git", "commit"]),
        git_dirty: at(value, &["git", "dirty"]).and_then(|dirty| match dirty {
            Json::Bool(dirty) => Some(*dirty),
            _ => None,
        }),
        ..command(&strings(at(value, &["process", "argv"])))
    });
    if let Some(metadata) = value.get("metadata") {
        let name = if matches!(metadata, Json::Object(_)) { "" } else { "metadata" };
        flatten(name, metadata, &mut |key, value| {
            if !key.is_empty() {
                set_config(key, value, sink);
            }
        });
    }
}

/// No version so far writes an end; what one would say is plain.
fn end(head: &Json<'_>, value: &Json<'_>, sink: &mut dyn Sink) {
    let status = text_at(value, &["status"]);
    let error = value.get("error").filter(|error| **error != Json::Null);
    let failed = error.is_some() || status.as_deref().is_some_and(super::parse::axis::is_failure);
    sink.facts(RunFacts {
        end: Some(if failed { End::Failed } else { End::Finished }),
        state_detail: status.or_else(|| error.map(|error| error.to_config().text)),
        updated_at: time_at(head, &["created_at"]),
        ..RunFacts::default()
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::testing::{self, assert_config, assert_metrics, assert_survives, read_whole};

    const PLACE: (&str, &str) = (".exprag/runs/a.jsonl", "");

    const SAMPLE: &str = concat!(
        r#"{"created_at":"2026-11-20T18:07:54.3+00:00","elapsed_ms":33,"experiment_name":"e","exprag_version":"0.1.2","kind":"run_start","run_id":"r","value":{"git":{"branch":"main","commit":"c","dirty":true},"host":{"hostname":"h","username":null},"metadata":{"a":{"b":[1,2]},"c":"x"},"process":{"argv":["python","train.py","--lr","1"]}}}"#,
        "\n",
        r#"{"created_at":"2026-11-20T18:07:54.4+00:00","elapsed_ms":84,"kind":"track","note":"n","value":{"metrics":{"loss":1.5},"run":"same","step":0}}"#,
        "\n",
        r#"{"created_at":"2026-11-20T18:07:54.5+00:00","elapsed_ms":1500,"kind":"track","note":"n","value":{"metrics":{"loss":1.25},"run":"other","step":1}}"#,
        "\n",
        r#"{"kind":"track","value":[1,2]}"#,
        "\n",
        r#"{"created_at":"2026-11-20T18:07:55+00:00","kind":"run_end","value":{"status":"failed","error":"boom"}}"#,
        "\n",
    );

    #[test]
    fn every_kind_of_line_is_read() {
        let sink = read_whole(&Exprag, PLACE, SAMPLE.as_bytes());
        assert_eq!(sink.line("metrics.loss"), [(0, 1.5), (1, 1.25)]);
        assert!(sink.points.iter().all(|point| point.run.is_empty()), "a word for a run splits nothing");
        let texts: Vec<_> = sink.texts.iter().map(|t| (t.key.as_str(), t.step, t.text.as_str())).collect();
        let notes = |at| ("note", Some(at), "n");
        assert!([notes(0), notes(1), ("value", Some(1), "[1, 2]")].iter().all(|t| texts.contains(t)));
        assert_eq!(sink.config["a.b"].text, "[1, 2]");
        let facts = &sink.facts;
        assert_eq!((facts.end, facts.state_detail.as_deref()), (Some(End::Failed), Some("failed")));
        assert_eq!((facts.program.as_deref(), facts.args.as_deref()), (Some("train.py"), Some("--lr 1")));
        assert_eq!((facts.git_dirty, facts.updated_at), (Some(true), Some(1_795_198_075_000)));
        assert!(sink.problems.is_empty());
    }

    #[test]
    fn damage_and_growth() {
        assert_survives(&Exprag, PLACE, SAMPLE.as_bytes());
    }

    #[test]
    fn the_first_line_tells_and_may_be_late() {
        assert_eq!(Exprag.sniff("", b""), Verdict::Other { reason: "no line of exprag".into() });
        assert_eq!(Exprag.sniff("", b"{\"a\":"), Verdict::TooEarly);
        assert_eq!(Exprag.sniff("", SAMPLE.as_bytes()), Verdict::Log { marks: "r".into() });
        assert!(Exprag.may_claim("logs/runs/57536311-af96-4ba3-852f-7856b753123d.jsonl"));
        assert!(!Exprag.may_claim("logs/runs/train.jsonl"));
    }

    #[test]
    fn real_runs_are_what_python_says() {
        let root = testing::samples("exprag");
        let expected = testing::expected("exprag");
        let runs = testing::discover(&Exprag, &root);
        assert_eq!(runs.len(), expected.len());
        for (run, expected) in runs.iter().zip(testing::sorted_by_path(&expected)) {
            assert_eq!(run.producer_id.as_deref(), expected["run_id"].as_str());
            let sink = testing::read_run(&Exprag, &root, run);
            if expected["name"] == "mixed" {
                // Rows without a step follow the row that has one: Python counts lines.
                assert_eq!(sink.line("метрика"), [(5, 1e-320)]);
                assert_eq!(sink.texts.iter().filter(|text| text.key == "note").count(), 9);
            } else {
                assert_metrics(&sink, expected, "");
            }
            if expected["config"].is_object() {
                assert_config(&sink, expected);
            }
            assert!(sink.problems.is_empty());
            let notes = sink.texts.iter().filter(|text| text.key == "note").count();
            assert_eq!(notes as u64, expected["notes"].as_u64().unwrap());
            let facts = &sink.facts;
            assert_eq!(facts.name.as_deref(), expected["name"].as_str());
            let git = &expected["git"];
            assert_eq!(facts.git_commit.as_deref(), git["commit"].as_str());
            assert_eq!(facts.git_branch.as_deref(), git["branch"].as_str());
            assert_eq!(facts.git_dirty, git["dirty"].as_bool());
            assert_eq!(facts.host.as_deref(), expected["host"]["hostname"].as_str());
            assert_eq!(facts.user_name.as_deref(), expected["host"]["username"].as_str());
            assert_eq!((facts.program.as_deref(), facts.end), (Some("train.py"), None));
        }
    }
}
