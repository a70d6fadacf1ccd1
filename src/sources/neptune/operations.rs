//! The queue of the client: one line for each operation on a field of the run.

use crate::records::{Axis, ConfigValue, ConsoleLine, End, Point, RunFacts, Stream, Text};
use crate::sources::parse::axis::{planned_steps, time_of};
use crate::sources::parse::json::Json;
use crate::sources::parse::lines::each_value;
use crate::sources::parse::terminal::shown;
use crate::sources::parse::words::text_at;
use crate::sources::{Log, Resume, Sink};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Metrics without steps beyond these begin at 0 again after a resume.
const MAX_COUNTED: usize = 20_000;

/// What is remembered over a resume.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    tags: BTreeSet<String>,
    /// Next index of metrics that are logged without a step.
    next: BTreeMap<String, i64>,
}

/// Reads the operations that are whole.
pub(super) fn read(log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let mut state: State = serde_json::from_str(&from.state).unwrap_or_default();
    let take = &mut |line: Json<'_>, sink: &mut dyn Sink| {
        let operation = line.get("obj").unwrap_or(&line);
        let path = match operation.get("path") {
            Some(Json::Array(parts)) => parts.iter().filter_map(Json::as_str).collect::<Vec<_>>(),
            Some(Json::String(path)) => path.split('/').collect(),
            _ => return Err("the operation has no path".to_owned()),
        };
        state.operation(operation, &path, line.get("at").and_then(time_of), sink);
        Ok(())
    };
    let (offset, row_count) = each_value(log, &from, sink, take)?;
    Ok(Resume { offset, state: serde_json::to_string(&state)?, row_count })
}

impl State {
    fn operation(&mut self, operation: &Json<'_>, path: &[&str], at: Option<i64>, sink: &mut dyn Sink) {
        let kind = operation.get("type").and_then(Json::as_str).unwrap_or_default();
        let none = Json::Null;
        let value = operation.get("value").unwrap_or(&none);
        let values = operation.get("values").unwrap_or(&none);
        match (kind, path) {
            ("AddStrings" | "RemoveStrings" | "ClearStringSet", ["sys", "tags"]) => {
                self.tags(kind, values, sink)
            }
            (_, ["sys", field]) => sys(field, value, at, sink),
            ("LogFloats", _) => self.floats(path, values, sink),
            ("LogStrings", _) => strings(path, values, sink),
            ("DeleteAttribute", _) => sink.remove_config(&path.join("/")),
            _ if kind.starts_with("Assign") && !is_internal(path) => assign(&path.join("/"), value, sink),
            _ => {}
        }
    }

    fn tags(&mut self, kind: &str, values: &Json<'_>, sink: &mut dyn Sink) {
        let Json::Array(values) = values else {
            self.tags.clear();
            return;
        };
        for tag in values.iter().filter_map(Json::as_str) {
            match kind {
                "AddStrings" => drop(self.tags.insert(tag.to_owned())),
                _ => drop(self.tags.remove(tag)),
            }
        }
        if kind == "ClearStringSet" {
            self.tags.clear();
        }
        let tags = Some(self.tags.iter().cloned().collect());
        sink.facts(RunFacts { tags, ..RunFacts::default() });
    }

    fn floats(&mut self, path: &[&str], values: &Json<'_>, sink: &mut dyn Sink) {
        let Json::Array(values) = values else { return };
        let key = match path {
            // The machine is watched under a hash of host and process.
            ["monitoring", _, rest @ ..] if !rest.is_empty() => format!("system/{}", rest.join("/")),
            _ => path.join("/"),
        };
        for entry in values {
            let Some(value) = entry.get("value").and_then(Json::as_metric) else { continue };
            let step = entry.get("step").and_then(Json::as_metric).filter(|step| step.is_finite());
            let step = match step {
                Some(step) => step.floor() as i64,
                None => self.index(&key, sink),
            };
            sink.point(Point { key: &key, step, value, time: entry.get("ts").and_then(time_of) });
        }
    }

    /// The next index of a metric that is logged without steps.
    fn index(&mut self, key: &str, sink: &mut dyn Sink) -> i64 {
        if let Some(next) = self.next.get_mut(key) {
            *next += 1;
            return *next - 1;
        }
        sink.axis(key, Axis::Index);
        if self.next.len() < MAX_COUNTED {
            self.next.insert(key.to_owned(), 1);
        }
        0
    }
}

/// Fields that Neptune itself assigns.
fn is_internal(path: &[&str]) -> bool {
    matches!(path.first(), Some(&("monitoring" | "source_code")))
}

/// What Neptune knows of the run.
fn sys(field: &str, value: &Json<'_>, at: Option<i64>, sink: &mut dyn Sink) {
    let text = value.as_str().map(str::to_owned).filter(|text| !text.is_empty());
    let none = RunFacts::default();
    sink.facts(match field {
        "name" => RunFacts { name: text, ..none },
        "description" => RunFacts { notes: text, ..none },
        "hostname" => RunFacts { host: text, ..none },
        "owner" => RunFacts { user_name: text, ..none },
        "creation_time" => RunFacts { created_at: time_of(value), ..none },
        "failed" if *value == Json::Bool(true) => RunFacts { end: Some(End::Failed), updated_at: at, ..none },
        _ => return,
    });
}

fn strings(path: &[&str], values: &Json<'_>, sink: &mut dyn Sink) {
    let Json::Array(values) = values else { return };
    let stream = match path {
        ["monitoring", .., "stdout"] => Some(Stream::Stdout),
        ["monitoring", .., "stderr"] => Some(Stream::Stderr),
        _ => None,
    };
    for entry in values {
        let Some(text) = text_at(entry, &["value"]) else { continue };
        let time = entry.get("ts").and_then(time_of);
        if stream.is_some() {
            sink.console(ConsoleLine { time, stream, text: shown(text.trim_end_matches('\n')) });
        } else if !is_internal(path) {
            let step = entry.get("step").and_then(Json::as_metric).filter(|step| step.is_finite());
            sink.text(Text { key: path.join("/"), step: step.map(|step| step.floor() as i64), time, text });
        }
    }
}

/// A single value is configuration: nothing tells a result from a parameter.
fn assign(key: &str, value: &Json<'_>, sink: &mut dyn Sink) {
    let value: ConfigValue = value.to_config();
    if let Some(steps) = planned_steps(key, value.number) {
        sink.facts(RunFacts { planned_steps: Some(steps), ..RunFacts::default() });
    }
    sink.config(key, value);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::Neptune;
    use super::*;
    use crate::sources::testing::{assert_survives, read_whole};

    const PLACE: (&str, &str) = (".neptune/offline/run__0b1c__e4/data-1.log", "");

    const LINES: &str = concat!(
        r#"{"obj": {"type": "AssignString", "path": ["sys", "name"], "value": "n"}, "version": 1, "at": 1795198721.5}"#,
        "\n",
        r#"{"obj": {"type": "AddStrings", "path": ["sys", "tags"], "values": ["a", "b"]}, "version": 2}"#,
        "\n",
        r#"{"obj": {"type": "RemoveStrings", "path": ["sys", "tags"], "values": ["b"]}, "version": 3}"#,
        "\n",
        r#"{"obj": {"type": "AssignFloat", "path": ["parameters", "lr"], "value": 0.1}, "version": 4}"#,
        "\n",
        r#"{"obj": {"type": "LogFloats", "path": ["train", "loss"], "values": [{"value": 0.5, "step": 3.0, "ts": 1795198721.5}, {"value": NaN, "step": 4, "ts": 1795198722}]}, "version": 5}"#,
        "\n",
        r#"{"obj": {"type": "LogFloats", "path": ["acc"], "values": [{"value": 1, "step": null}, {"value": 2, "step": null}]}, "version": 6}"#,
        "\n",
        r#"{"obj": {"type": "LogFloats", "path": ["acc"], "values": [{"value": 3, "step": null}]}, "version": 7}"#,
        "\n",
        r#"{"obj": {"type": "LogFloats", "path": ["monitoring", "1a2b", "cpu"], "values": [{"value": 50, "step": null}]}, "version": 8}"#,
        "\n",
        r#"{"obj": {"type": "LogStrings", "path": ["monitoring", "1a2b", "stdout"], "values": [{"value": "hi\n", "step": null, "ts": 1795198722}]}, "version": 9}"#,
        "\n",
        r#"{"obj": {"type": "AssignBool", "path": ["sys", "failed"], "value": true}, "version": 10, "at": 1795198730}"#,
        "\n",
    );

    #[test]
    fn every_operation_is_read() {
        let sink = read_whole(&Neptune, PLACE, LINES.as_bytes());
        assert!(sink.problems.is_empty());
        assert_eq!(sink.steps("train/loss"), [3, 4]);
        assert_eq!(sink.line("acc"), [(0, 1.0), (1, 2.0), (2, 3.0)]);
        assert_eq!((sink.axes["acc"], sink.line("system/cpu")), (Axis::Index, vec![(0, 50.0)]));
        assert_eq!(sink.config["parameters/lr"].number, Some(0.1));
        assert_eq!((sink.console[0].stream, sink.console[0].text.as_str()), (Some(Stream::Stdout), "hi"));
        let facts = &sink.facts;
        assert_eq!((facts.name.as_deref(), facts.end), (Some("n"), Some(End::Failed)));
        assert_eq!(facts.tags.as_deref(), Some(&["a".to_owned()][..]));
    }

    #[test]
    fn damage_and_growth() {
        assert_survives(&Neptune, PLACE, LINES.as_bytes());
        let sink = read_whole(&Neptune, PLACE, b"x\n{\"obj\": {}}\n");
        assert_eq!(sink.problems.len(), 2);
    }
}
