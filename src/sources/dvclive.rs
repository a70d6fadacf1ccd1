//! DVCLive: a folder (by default `dvclive`) with one table a metric in `plots/metrics`, the latest values
//! in `metrics.json` and the hyperparameters in `params.yaml`. Before version 1 the tables lay in
//! `scalars` or in the folder itself, and the latest values in `<folder>.json` beside it.

use super::parse::document::{mapping_of, object, whole};
use super::parse::json::{Json, flatten, parse_number_like, parse_whole, text_of};
use super::parse::lines::each_line;
use super::parse::rows::set_config;
use super::parse::words::{join, split};
use super::{InputKind, Log, LogFile, Origin, Resume, RunInput, RunLogs, Sink, Source, Verdict};
use crate::records::Point;
use std::collections::BTreeMap;

/// The folder if nothing else is asked for.
const FOLDER: &str = "dvclive";

/// Folders inside that of the run that hold tables.
const TABLES: [&str; 2] = ["/plots/metrics/", "/scalars/"];

/// Reader of DVCLive's folders.
pub struct DvcLive;

impl Source for DvcLive {
    fn name(&self) -> &'static str {
        "dvclive"
    }

    fn origin(&self) -> Origin {
        Origin::Tracker
    }

    fn may_claim(&self, path: &str) -> bool {
        let name = split(path).1;
        name.ends_with(".tsv") || ["metrics.json", "params.yaml", "dvclive.json"].contains(&name)
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        let is_in_folder = split(split(path).0).1 == FOLDER;
        let is_ours = match split(path).1 {
            name if name.ends_with(".tsv") => return sniff_table(path, head),
            // What is in it does not matter: it counts beside tables only.
            "params.yaml" => true,
            "metrics.json" if is_in_folder => true,
            "metrics.json" => is_latest(head),
            _ => true,
        };
        match is_ours {
            true => Verdict::Log { marks: String::new() },
            false => Verdict::Other { reason: "no latest values of DVCLive".into() },
        }
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        group(files)
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        match split(log.path).1 {
            name if name.ends_with(".tsv") => read_table(log, from, sink),
            name if name.ends_with(".yaml") => whole(log, sink, &mut read_config),
            _ => object(log, sink, &mut |document, sink| latest("", &document, sink)),
        }
    }
}

/// Whether a document is written as DVCLive does: a step, and otherwise numbers only.
fn is_latest(head: &[u8]) -> bool {
    let Some(document @ Json::Object(_)) = parse_whole(head) else { return false };
    let mut is_numeric = true;
    flatten("", &document, &mut |_, value| is_numeric &= value.as_metric().is_some());
    let is_step = |value: &Json<'_>| matches!(value, Json::Number(step, _) if step.fract() == 0.0);
    head.starts_with(b"{\n    \"") && is_numeric && document.get("step").is_some_and(is_step)
}

/// Folder of the run and name of the metric of a table.
fn place(path: &str) -> Option<(&str, &str)> {
    let stem = path.strip_suffix(".tsv")?;
    if let Some((folder, key)) = TABLES.iter().find_map(|tables| stem.rsplit_once(tables)) {
        return Some((folder, key));
    }
    let at_root = TABLES.iter().find_map(|tables| stem.strip_prefix(&tables[1..]));
    if let Some(key) = at_root {
        return Some(("", key));
    }
    // Lies a folder of this name above, the metric's own folders begin below it.
    let nested = format!("/{stem}");
    if let Some((above, key)) = nested.rsplit_once(&format!("/{FOLDER}/")) {
        return Some((stem.get(..above.len() + FOLDER.len())?, stem.get(stem.len() - key.len()..)?));
    }
    Some(split(stem))
}

/// Where the columns of a table are.
struct Columns {
    time: Option<usize>,
    step: usize,
    value: usize,
}

/// Columns by the header of a table, and the name of the value.
fn columns(header: &str) -> Option<(Columns, &str)> {
    let names: Vec<&str> = header.split('\t').map(str::trim).collect();
    match names.as_slice() {
        ["timestamp", "step", name] => Some((Columns { time: Some(0), step: 1, value: 2 }, name)),
        ["step", name] => Some((Columns { time: None, step: 0, value: 1 }, name)),
        _ => None,
    }
}

/// Outside of the known folders only tables with a time, whose value is named as the file is, are ours.
fn sniff_table(path: &str, head: &[u8]) -> Verdict {
    let Some(end) = memchr::memchr(b'\n', head) else { return Verdict::TooEarly };
    let header = text_of(head.get(..end).unwrap_or_default());
    let is_inside = TABLES.iter().any(|tables| format!("/{path}").contains(tables));
    let stem = split(path).1.trim_end_matches(".tsv");
    match columns(&header) {
        Some(_) if is_inside || path.split('/').any(|folder| folder == FOLDER) => {}
        Some((Columns { time: Some(_), .. }, name)) if name == stem => {}
        _ => return Verdict::Other { reason: "no table of DVCLive".into() },
    }
    Verdict::Log { marks: String::new() }
}

fn group(files: &[LogFile]) -> Vec<RunLogs> {
    let mut runs: BTreeMap<&str, Vec<RunInput>> = BTreeMap::new();
    for file in files {
        if let Some((folder, key)) = place(&file.path) {
            runs.entry(folder).or_default().push(input(&file.path, InputKind::Log, key));
        }
    }
    for file in files.iter().filter(|file| split(&file.path).1 == "metrics.json") {
        runs.entry(split(&file.path).0).or_default();
    }
    for file in files {
        let (folder, name) = split(&file.path);
        let beside = join(folder, FOLDER);
        let home = match name {
            "metrics.json" | "params.yaml" => runs.get_mut(folder),
            "dvclive.json" => runs.get_mut(beside.as_str()),
            _ => None,
        };
        if let Some(inputs) = home {
            inputs.insert(0, input(&file.path, InputKind::Document, ""));
        }
    }
    runs.into_iter().map(|(folder, inputs)| run_logs(folder, inputs)).collect()
}

fn input(path: &str, kind: InputKind, role: &str) -> RunInput {
    RunInput { path: path.to_owned(), kind, role: role.to_owned(), segment: 0 }
}

/// DVCLive names no run: the folder that holds its own does.
fn run_logs(folder: &str, inputs: Vec<RunInput>) -> RunLogs {
    let (above, own) = split(folder);
    let name = if own == FOLDER && !above.is_empty() { split(above).1 } else { own };
    let path = if folder.is_empty() { "." } else { folder };
    let name = Some(name.to_owned()).filter(|name| !name.is_empty());
    RunLogs { name, ..RunLogs::of_inputs(path, inputs) }
}

/// Reads a table; its role is the name of the metric. The state is its header.
fn read_table(log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let mut header: String = serde_json::from_str(&from.state).unwrap_or_default();
    let key = log.role;
    let (offset, row_count) = each_line(log, &from, sink, &mut |line: &[u8], sink: &mut dyn Sink| {
        let line = text_of(line);
        match columns(&header) {
            _ if columns(&line).is_some() => header = line.into_owned(),
            Some((columns, _)) => row(key, &columns, &line, sink)?,
            None if header.is_empty() => {
                header = "-".into();
                return Err("no header of a table of DVCLive".into());
            }
            None => {}
        }
        Ok(())
    })?;
    Ok(Resume { offset, state: serde_json::to_string(&header)?, row_count })
}

fn row(key: &str, columns: &Columns, line: &str, sink: &mut dyn Sink) -> Result<(), String> {
    let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
    let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
    if line.trim().is_empty() {
        return Ok(());
    }
    let step = cell(columns.step).parse().ok();
    let value = parse_number_like(cell(columns.value));
    let (Some(step), Some(value)) = (step, value) else {
        return Err("expected a step and a number".into());
    };
    let time = columns.time.and_then(|at| cell(at).parse().ok());
    sink.point(Point { key, step, value, time });
    Ok(())
}

fn read_config(bytes: &[u8], sink: &mut dyn Sink) {
    mapping_of(bytes, sink, &mut |document, sink| {
        flatten("", &document, &mut |key, value| set_config(key, value, sink));
    });
}

/// Latest values: the parts of names stand inside each other.
fn latest(prefix: &str, document: &Json<'_>, sink: &mut dyn Sink) {
    let Json::Object(fields) = document else { return };
    for (name, value) in fields {
        let key = join(prefix, name);
        match value {
            Json::Object(_) if key.len() < 4096 => latest(&key, value, sink),
            _ if key == "step" => {}
            _ => {
                if let Some(value) = value.as_metric() {
                    sink.final_value(&key, Some(value));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::testing::{self, assert_config, assert_metrics, assert_survives, file, read_whole};

    #[test]
    fn real_runs_are_what_the_files_say() {
        let root = testing::samples("dvclive");
        let expected = testing::expected("dvclive");
        let runs = testing::discover(&DvcLive, &root);
        assert_eq!(runs.len(), expected.len());
        for (run, expected) in runs.iter().zip(testing::sorted_by_path(&expected)) {
            let path = expected["path"].as_str().unwrap();
            assert_eq!(run.path, path);
            assert_eq!(run.name.as_deref(), path.split('/').nth(1));
            let sink = testing::read_run(&DvcLive, &root, run);
            assert_metrics(&sink, expected, "");
            assert_eq!(sink.keys().len(), expected["metrics"].as_object().unwrap().len());
            assert_config(&sink, expected);
            assert!(sink.problems.is_empty());
            let mut summary = expected["summary"].as_object().unwrap().clone();
            summary.remove("step");
            assert_eq!(sink.finals.len(), summary.len());
            for (key, value) in &summary {
                let last = sink.finals[&key.replace('.', "/")];
                let want = value.as_f64().unwrap_or(f64::NAN);
                assert!(last == want || last.is_nan() && want.is_nan(), "{path} {key}");
            }
        }
    }

    #[test]
    fn older_folders_and_free_names() {
        let paths = |files: &[&str]| {
            let files: Vec<_> = files.iter().map(|path| file(path, 1, "")).collect();
            let runs = DvcLive.group(&files);
            runs.into_iter()
                .map(|run| (run.path, run.inputs.into_iter().map(|input| input.role).collect()))
                .collect::<Vec<(String, Vec<String>)>>()
        };
        let roles = |roles: &[&str]| roles.iter().map(|role| role.to_string()).collect::<Vec<_>>();
        assert_eq!(
            paths(&["a/dvclive.json", "a/dvclive/train/loss.tsv", "params.yaml"]),
            [("a/dvclive".to_owned(), roles(&["", "train/loss"]))]
        );
        assert_eq!(paths(&["x/scalars/loss.tsv"]), [("x".to_owned(), roles(&["loss"]))]);
        assert_eq!(paths(&["plots/metrics/a/b.tsv"]), [(".".to_owned(), roles(&["a/b"]))]);
        assert_eq!(
            paths(&["live/metrics.json", "live/params.yaml", "live/plots/metrics/b.tsv"]),
            [("live".to_owned(), roles(&["", "", "b"]))]
        );
    }

    #[test]
    fn only_what_dvclive_writes_is_claimed() {
        let is_log = |path: &str, head: &str| match DvcLive.sniff(path, head.as_bytes()) {
            Verdict::Log { .. } => true,
            Verdict::Other { .. } | Verdict::TooEarly => false,
        };
        assert!(is_log("a/plots/metrics/loss.tsv", "step\tloss\n"));
        assert!(!is_log("a/loss.tsv", "step\tloss\n"), "any table may look so");
        assert!(is_log("a/loss.tsv", "timestamp\tstep\tloss\n"));
        assert!(!is_log("a/table.tsv", "timestamp\tstep\tloss\n"));
        assert!(!is_log("a/plots/metrics/loss.tsv", "x\ty\n"));
        assert!(is_log("a/metrics.json", "{\n    \"loss\": 0.5,\n    \"step\": 3\n}"));
        assert!(!is_log("a/metrics.json", "{\"loss\": 0.5, \"step\": 3}"));
        assert!(!is_log("a/metrics.json", "{\n    \"loss\": {\n        \"steps\": [1]\n    }\n}"));
        assert_eq!(DvcLive.sniff("a/loss.tsv", b"step\tlo"), Verdict::TooEarly);
    }

    #[test]
    fn damage_and_growth() {
        let table =
            "timestamp\tstep\tloss\n1795198721447\t0\t1.5\n1795198721448\t1\tnan\r\n1795198721449\t2\t-inf\n";
        let place = ("dvclive/plots/metrics/loss.tsv", "loss");
        assert_survives(&DvcLive, place, table.as_bytes());
        let sink = read_whole(&DvcLive, place, table.as_bytes());
        assert_eq!(sink.steps("loss"), [0, 1, 2]);
        assert_eq!(sink.points[0].time, Some(1_795_198_721_447));
        let document = b"{\n    \"train\": {\n        \"loss\": \"nan\"\n    },\n    \"step\": 3\n}";
        testing::assert_survives_rewriting(&DvcLive, ("dvclive/metrics.json", ""), document);
        testing::assert_survives_rewriting(&DvcLive, ("dvclive/params.yaml", ""), b"lr: 0.1\nm: {a: [1]}\n");
    }

    #[test]
    fn bad_rows_are_told_and_left_out() {
        let table = "step\tloss\n0\t1.5\nx\ty\n1\t1.25\n";
        let sink = read_whole(&DvcLive, ("dvclive/plots/metrics/loss.tsv", "loss"), table.as_bytes());
        assert_eq!(sink.line("loss"), [(0, 1.5), (1, 1.25)]);
        assert_eq!(sink.problems.len(), 1);
        assert_eq!(sink.problems[0].position, "line 3");
    }
}
