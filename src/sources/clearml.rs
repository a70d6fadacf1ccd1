//! ClearML without a server: a folder `offline-<id>` with `task.json`, `metrics.jsonl` and `log.jsonl` (each
//! line a list of events), which becomes an archive of that name when the task ends.

use super::parse::archive::{Archive, is_archive};
use super::parse::axis;
use super::parse::document::{object, object_of, read};
use super::parse::json::{Json, flatten, parse_number_like};
use super::parse::lines::each_value;
use super::parse::terminal::shown;
use super::parse::words::{at, join, split, strings, text_at, time_at};
use super::{InputKind, Log, LogFile, Origin, Resume, RunInput, RunLogs, Sink, Source, Verdict};
use crate::records::{ConfigValue, ConsoleLine, End, Point, Problem, RunFacts};
use std::collections::BTreeMap;

/// The step of a value that has none.
const NO_STEP: i64 = -2_147_483_648;

/// Titles of what ClearML measures of the machine begin with this.
const MONITOR: &str = ":monitor:";

const TASK: &str = "task.json";
const METRICS: &str = "metrics.jsonl";
const CONSOLE: &str = "log.jsonl";

/// Reader of ClearML's offline tasks.
pub struct ClearMl;

impl Source for ClearMl {
    fn name(&self) -> &'static str {
        "clearml"
    }

    fn origin(&self) -> Origin {
        Origin::Tracker
    }

    fn may_claim(&self, path: &str) -> bool {
        place(path).is_some()
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        let is_ours = match split(path).1 {
            name if name.ends_with(".zip") => is_archive(head),
            _ if head.trim_ascii().is_empty() => None,
            TASK => Some(head.trim_ascii_start().starts_with(b"{")),
            _ => Some(matches!(head.trim_ascii_start().first(), Some(b'[' | b'{'))),
        };
        match is_ours {
            Some(true) => Verdict::Log { marks: String::new() },
            Some(false) => Verdict::Other { reason: "not written by ClearML".into() },
            None => Verdict::TooEarly,
        }
    }

    /// An archive counts only where the folder it was made of is gone.
    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        let mut tasks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (folder, path) in files.iter().filter_map(|file| Some((place(&file.path)?, &file.path))) {
            tasks.entry(folder).or_default().push(path);
        }
        tasks.into_iter().map(|(folder, paths)| run_logs(folder, &paths)).collect()
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        let take = |name: &str| match name {
            METRICS => metric as fn(&Json<'_>, &mut dyn Sink),
            _ => console,
        };
        let name = split(log.path).1;
        if name.ends_with(".zip") {
            if let Err(error) = archive(log, sink) {
                sink.problem(Problem { position: "byte 0".into(), message: format!("{error:#}") });
            }
            return Ok(read());
        }
        if name == TASK {
            return object(log, sink, &mut |document, sink| task(&document, sink));
        }
        let take = take(name);
        let (offset, row_count) =
            each_value(log, &from, sink, &mut |value, sink| events(&value, take, sink))?;
        Ok(Resume { offset, state: String::new(), row_count })
    }
}

/// The folder of a task, `offline-<32 hexadecimal digits>`, which an archive stands for as well.
fn place(path: &str) -> Option<&str> {
    let (folder, name) = split(path);
    let folder = match name {
        TASK | METRICS | CONSOLE => folder,
        _ => path.strip_suffix(".zip")?,
    };
    let id = split(folder).1.strip_prefix("offline-")?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(folder)
}

fn run_logs(folder: &str, paths: &[&str]) -> RunLogs {
    let of_folder = [(TASK, InputKind::Document), (METRICS, InputKind::Log), (CONSOLE, InputKind::Log)];
    let mut inputs: Vec<RunInput> = of_folder
        .iter()
        .map(|(name, kind)| (join(folder, name), *kind))
        .filter(|(path, _)| paths.contains(&path.as_str()))
        .map(|(path, kind)| RunInput::new(&path, kind))
        .collect();
    if inputs.is_empty() {
        inputs.extend(paths.iter().map(|path| RunInput::new(path, InputKind::Snapshot)));
    }
    RunLogs {
        identity: folder.to_owned(),
        producer_id: split(folder).1.strip_prefix("offline-").map(str::to_owned),
        name: None,
        project: None,
        path: inputs.first().filter(|_| inputs.len() == 1).map_or(folder, |input| &input.path).to_owned(),
        inputs,
    }
}

fn archive(log: &mut Log<'_>, sink: &mut dyn Sink) -> anyhow::Result<()> {
    let mut archive = Archive::open(log)?;
    let document = archive.whole(TASK)?.unwrap_or_default();
    object_of(TASK, &document, sink, &mut |document, sink| task(&document, sink));
    for (name, take) in [(METRICS, metric as fn(&Json<'_>, &mut dyn Sink)), (CONSOLE, console)] {
        archive.each_value(name, &mut |line, value| {
            let taken = match value {
                Some(value) => events(&value, take, sink),
                None => Err("the line is no JSON".into()),
            };
            if let Err(message) = taken {
                sink.problem(Problem { position: format!("{name} line {line}"), message });
            }
        })?;
    }
    Ok(())
}

/// The events of a line: a list, or a single one.
fn events(line: &Json<'_>, take: fn(&Json<'_>, &mut dyn Sink), sink: &mut dyn Sink) -> Result<(), String> {
    match line {
        Json::Array(events) => events.iter().for_each(|event| take(event, sink)),
        Json::Object(_) => take(line, sink),
        _ => return Err("expected a list of events".into()),
    }
    Ok(())
}

/// A scalar is named by its title and its series.
fn metric(event: &Json<'_>, sink: &mut dyn Sink) {
    let text = |key: &str| event.get(key).and_then(Json::as_str).unwrap_or_default();
    let value = event.get("value").and_then(Json::as_metric);
    let (Some(value), "training_stats_scalar") = (value, text("type")) else { return };
    let title = match text("metric").strip_prefix(MONITOR) {
        Some(title) => format!("system/{title}"),
        None => text("metric").to_owned(),
    };
    let key = if text("variant").is_empty() { title } else { join(&title, text("variant")) };
    match event.get("iter").and_then(axis::step_of).unwrap_or(0) {
        NO_STEP => sink.final_value(&key, Some(value)),
        step => sink.point(Point { key: &key, step, value, time: time_at(event, &["timestamp"]) }),
    }
}

fn console(event: &Json<'_>, sink: &mut dyn Sink) {
    let time = time_at(event, &["timestamp"]);
    let text = event.get("msg").and_then(Json::as_str).unwrap_or_default();
    for line in text.lines() {
        sink.console(ConsoleLine { time, stream: None, text: shown(line) });
    }
}

fn task(document: &Json<'_>, sink: &mut dyn Sink) {
    let text = |keys: &[&str]| text_at(document, keys);
    let time = |key: &str| time_at(document, &[key]);
    let tags = matches!(document.get("tags"), Some(Json::Array(_)));
    let tags = tags.then(|| strings(document.get("tags")).into_iter().map(str::to_owned).collect());
    let status = text(&["status"]);
    let end = match status.as_deref() {
        Some("completed" | "closed" | "published") => Some(End::Finished),
        Some("failed" | "stopped") => Some(End::Failed),
        _ => None,
    };
    sink.facts(RunFacts {
        name: text(&["name"]),
        project: text(&["project_name"]).or(text(&["project"])),
        end,
        state_detail: status.filter(|_| end.is_some()),
        created_at: time("started").or(time("created")),
        updated_at: time("completed"),
        job_type: text(&["type"]),
        parent_run_id: text(&["parent"]),
        tags,
        notes: text(&["comment"]),
        program: text(&["script", "entry_point"]),
        git_commit: text(&["script", "version_num"]),
        git_branch: text(&["script", "branch"]),
        git_remote: text(&["script", "repository"]),
        git_dirty: at(document, &["script", "diff"]).and_then(Json::as_str).map(|diff| !diff.is_empty()),
        ..RunFacts::default()
    });
    if let Some(Json::Object(sections)) = document.get("hyperparams") {
        for (section, entries) in sections {
            hyperparameters(section, entries, sink);
        }
    }
}

/// Values are text, with a type beside them.
fn hyperparameters(section: &str, entries: &Json<'_>, sink: &mut dyn Sink) {
    let Json::Object(entries) = entries else { return };
    for (name, entry) in entries {
        let key = format!("{section}.{name}");
        flatten(&key, entry.get("value").unwrap_or(entry), &mut |key, value| {
            let text = value.to_config().text;
            let number = parse_number_like(text.trim());
            if let Some(steps) = axis::planned_steps(key, number) {
                sink.facts(RunFacts { planned_steps: Some(steps), ..RunFacts::default() });
            }
            sink.config(key, ConfigValue { text, number });
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::testing::{assert_survives, assert_survives_rewriting, file, read_whole, zip_of};

    const FOLDER: &str = "offline/offline-0123456789abcdef0123456789abcdef";

    const METRIC_LINES: &str = concat!(
        r#"[{"timestamp": 1795198721645, "type": "training_stats_scalar", "task": "t", "iter": 3, "metric": "loss", "variant": "train", "value": 0.5}, {"type": "training_stats_scalar", "iter": 4, "metric": "loss", "variant": "train", "value": NaN}]"#,
        "\n",
        r#"[{"type": "training_stats_scalar", "iter": -2147483648, "metric": "Summary", "variant": "acc", "value": 0.9}, {"type": "plot", "iter": 1, "metric": "p", "value": 1}]"#,
        "\n",
        r#"[{"type": "training_stats_scalar", "iter": 1, "metric": ":monitor:gpu", "variant": "gpu_0_usage", "value": 50}]"#,
        "\n",
    );

    const TASK_TEXT: &str = r#"{"id": "x", "name": "n", "project_name": "p", "type": "training", "tags": ["a"],
        "status": "stopped", "hyperparams": {"Args": {"lr": {"type": "float", "value": "0.1"}, "max_steps": {"value": "50"}}},
        "script": {"repository": "r", "branch": "main", "version_num": "c", "diff": "d", "entry_point": "train.py"}}"#;

    fn of(name: &str, text: &str) -> crate::sources::testing::Memory {
        read_whole(&ClearMl, (&format!("{FOLDER}/{name}"), ""), text.as_bytes())
    }

    #[test]
    fn events_and_task_are_read() {
        let metrics = of(METRICS, METRIC_LINES);
        assert_eq!(metrics.steps("loss/train"), [3, 4]);
        assert_eq!((metrics.points[0].time, metrics.finals["Summary/acc"]), (Some(1_795_198_721_645), 0.9));
        assert_eq!(metrics.keys(), ["loss/train", "system/gpu/gpu_0_usage"]);
        let task = of(TASK, TASK_TEXT);
        assert_eq!((task.config["Args.lr"].number, task.facts.planned_steps), (Some(0.1), Some(50)));
        let facts = &task.facts;
        assert_eq!((facts.end, facts.state_detail.as_deref()), (Some(End::Failed), Some("stopped")));
        assert_eq!((facts.git_dirty, facts.project.as_deref()), (Some(true), Some("p")));
        let console =
            of(CONSOLE, "[{\"timestamp\": 1795198721645, \"type\": \"log\", \"msg\": \"a\\nb\\n\"}]\n")
                .console;
        assert_eq!(console.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn an_archive_holds_the_same() {
        let zip = zip_of(&[(TASK, TASK_TEXT), (METRICS, METRIC_LINES), (CONSOLE, "")]);
        let sink = read_whole(&ClearMl, (&format!("{FOLDER}.zip"), ""), &zip);
        assert!(sink.problems.is_empty(), "{:?}", sink.problems);
        assert_eq!(sink.points, of(METRICS, METRIC_LINES).points);
        assert_eq!(sink.facts, of(TASK, TASK_TEXT).facts);
        let both = [file(&format!("{FOLDER}.zip"), 9, ""), file(&format!("{FOLDER}/{METRICS}"), 9, "")];
        let runs = ClearMl.group(&both);
        assert_eq!((runs.len(), runs[0].inputs.len(), runs[0].inputs[0].kind), (1, 1, InputKind::Log));
        assert_eq!(ClearMl.group(&both[..1])[0].inputs[0].kind, InputKind::Snapshot);
        assert!(!ClearMl.may_claim("offline-1.zip") && !ClearMl.may_claim("a/task.json"));
    }

    #[test]
    fn damage_and_growth() {
        assert_survives(&ClearMl, (&format!("{FOLDER}/{METRICS}"), ""), METRIC_LINES.as_bytes());
        assert_survives_rewriting(&ClearMl, (&format!("{FOLDER}/{TASK}"), ""), TASK_TEXT.as_bytes());
        let zip = zip_of(&[(TASK, TASK_TEXT), (METRICS, METRIC_LINES)]);
        assert_survives_rewriting(&ClearMl, (&format!("{FOLDER}.zip"), ""), &zip);
        let sink = read_whole(&ClearMl, (&format!("{FOLDER}.zip"), ""), &zip[..zip.len() - 1]);
        assert_eq!(sink.problems.len(), 1);
    }
}
