//! MLflow's stores: a database ([`store`]), or files, `<experiment>/<run>/` with `meta.yaml` and one file a
//! metric, parameter and tag. Deleted runs are left out.

mod store;
mod tags;

use super::find::judge;
use super::parse::document::{mapping_of, whole};
use super::parse::json::{Json, parse_number_like, text_of};
use super::parse::lines::each_line;
use super::parse::words::{split, text_at};
use super::parse::{axis, yaml};
use super::{InputKind, Log, LogFile, Origin, Resume, RunInput, RunLogs, Sink, Source, Verdict};
use crate::records::{ConfigValue, Point, RunFacts};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Mark of what was deleted.
const DELETED: &str = "deleted";

/// Reader of MLflow's stores.
pub struct MlFlow;

/// What a file of the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'p> {
    /// Describes the experiment.
    Experiment,
    /// Describes the run.
    Meta,
    Metric(&'p str),
    Param(&'p str),
    Tag(&'p str),
}

/// Folder of the run (of the experiment, for a file that describes it) and the part of it.
fn place(path: &str) -> Option<(&str, Part<'_>)> {
    let mut begin = 0;
    let mut above = "";
    for name in path.split('/') {
        let end = begin + name.len();
        if is_run_id(name) && (above.is_empty() || is_experiment_id(above)) {
            return Some((path.get(..end)?, part(path.get(end + 1..)?)?));
        }
        (begin, above) = (end + 1, name);
    }
    let (folder, name) = split(path);
    let is_experiment = folder.is_empty() || is_experiment_id(split(folder).1);
    (name == "meta.yaml" && is_experiment).then_some((folder, Part::Experiment))
}

fn part(rest: &str) -> Option<Part<'_>> {
    if rest == "meta.yaml" {
        return Some(Part::Meta);
    }
    let (folder, key) = rest.split_once('/')?;
    if key.is_empty() || split(key).1.starts_with('.') {
        return None;
    }
    match folder {
        "metrics" => Some(Part::Metric(key)),
        "params" => Some(Part::Param(key)),
        "tags" => Some(Part::Tag(key)),
        _ => None,
    }
}

fn is_run_id(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_experiment_id(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

impl Source for MlFlow {
    fn name(&self) -> &'static str {
        "mlflow"
    }

    fn origin(&self) -> Origin {
        Origin::Tracker
    }

    /// The end is written to the file that describes the run.
    fn writes_ends(&self, logs: &RunLogs) -> bool {
        let tells = |path: &str| store::may_claim(path) || matches!(place(path), Some((_, Part::Meta)));
        logs.inputs.iter().any(|input| tells(&input.path))
    }

    fn may_claim(&self, path: &str) -> bool {
        place(path).is_some() || store::may_claim(path)
    }

    fn sniff_file(&self, path: &str, head: &[u8], file: &Path, scratch: &Path) -> Verdict {
        match place(path) {
            Some(_) => self.sniff(path, head),
            None => store::sniff(head, file, scratch),
        }
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        match place(path) {
            Some((_, Part::Experiment | Part::Meta)) => {}
            Some(_) => return Verdict::Log { marks: String::new() },
            None => return judge::other("no file of a store"),
        }
        let text = text_of(head);
        match yaml::parse(&text) {
            _ if text.trim().is_empty() => Verdict::TooEarly,
            Ok(meta) if meta.get("experiment_id").is_some() => {
                let is_deleted = text_at(&meta, &["lifecycle_stage"]).is_some_and(|stage| stage == DELETED);
                Verdict::Log { marks: if is_deleted { DELETED.to_owned() } else { String::new() } }
            }
            _ => Verdict::Other { reason: "describes nothing of MLflow".into() },
        }
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        let mut runs = group(files);
        // A database is one log; its runs have ids of their own.
        let databases = files.iter().filter(|file| place(&file.path).is_none());
        runs.extend(databases.map(|file| RunLogs::of_file(&file.path, InputKind::Database)));
        runs
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        let Some((_, part)) = place(log.path) else { return store::read(log, from, sink) };
        if let Part::Metric(key) = part {
            let take = &mut |line: &[u8], sink: &mut dyn Sink| metric(key, &text_of(line), sink);
            let (offset, row_count) = each_line(log, &from, sink, take)?;
            return Ok(Resume { offset, state: String::new(), row_count });
        }
        whole(log, sink, &mut |bytes, sink| match part {
            Part::Param(key) => param(key, &text_of(bytes), sink),
            Part::Tag(key) => sink.facts(tags::facts_of(key, &text_of(bytes))),
            Part::Meta => mapping_of(bytes, sink, &mut |meta, sink| run_facts(&meta, sink)),
            Part::Experiment => mapping_of(bytes, sink, &mut |meta, sink| {
                sink.facts(RunFacts { project: text_at(&meta, &["name"]), ..RunFacts::default() });
            }),
            Part::Metric(_) => {}
        })
    }
}

/// Files of one run.
#[derive(Default)]
struct Run<'f> {
    meta: Option<&'f str>,
    tags: Vec<(&'f str, &'f str)>,
    params: Vec<(&'f str, &'f str)>,
    metrics: Vec<(&'f str, &'f str)>,
}

fn group(files: &[LogFile]) -> Vec<RunLogs> {
    let mut runs: BTreeMap<&str, Run<'_>> = BTreeMap::new();
    let mut experiments: BTreeMap<&str, &str> = BTreeMap::new();
    let mut deleted: BTreeSet<&str> = BTreeSet::new();
    for file in files {
        let Some((folder, part)) = place(&file.path) else { continue };
        if file.marks == DELETED {
            deleted.insert(folder);
        }
        if part == Part::Experiment {
            experiments.insert(folder, &file.path);
            continue;
        }
        let run = runs.entry(folder).or_default();
        match part {
            Part::Meta => run.meta = Some(&file.path),
            Part::Tag(key) => run.tags.push((&file.path, key)),
            Part::Param(key) => run.params.push((&file.path, key)),
            Part::Metric(key) => run.metrics.push((&file.path, key)),
            Part::Experiment => {}
        }
    }
    let is_deleted = |folder: &str| deleted.contains(folder) || deleted.contains(split(folder).0);
    let kept = runs.into_iter().filter(|(folder, _)| !is_deleted(folder));
    kept.map(|(folder, run)| run_logs(folder, experiments.get(split(folder).0).copied(), &run)).collect()
}

fn run_logs(folder: &str, experiment: Option<&str>, run: &Run<'_>) -> RunLogs {
    let input =
        |path: &str, kind, role: &str| RunInput { role: role.to_owned(), ..RunInput::new(path, kind) };
    let document = |(path, key): &(&str, &str)| input(path, InputKind::Document, key);
    let states = |(_, key): &&(&str, &str)| tags::is_stating(key);
    let mut inputs: Vec<RunInput> = Vec::new();
    inputs.extend(experiment.map(|path| input(path, InputKind::Document, "")));
    inputs.extend(run.meta.map(|path| input(path, InputKind::Document, "")));
    // Behind what describes the run, and so with the last word where both say the same.
    inputs.extend(run.tags.iter().filter(states).map(document));
    inputs.extend(run.params.iter().map(document));
    inputs.extend(run.metrics.iter().map(|(path, key)| input(path, InputKind::Log, key)));
    let producer_id = Some(split(folder).1.to_owned());
    RunLogs { producer_id, ..RunLogs::of_inputs(folder, inputs) }
}

/// `<time> <value> [<step> [<data set> <digest>]]`; the oldest versions wrote no step.
fn metric(key: &str, line: &str, sink: &mut dyn Sink) -> Result<(), String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (time, value, step) = match fields.as_slice() {
        [] => return Ok(()),
        [time, value] => (time, value, &"0"),
        [time, value, step] | [time, value, step, _, _, ..] => (time, value, step),
        _ => return Err("expected time, value and step".into()),
    };
    match (time.parse().ok(), parse_number_like(value), step.parse().ok()) {
        (Some(time), Some(value), Some(step)) => {
            sink.point(Point { key, step, value, time: Some(time).filter(|time| *time > 0) });
            Ok(())
        }
        _ => Err("expected time, value and step".into()),
    }
}

/// Parameters are text, also where they spell a number.
fn param(key: &str, text: &str, sink: &mut dyn Sink) {
    let text = text.strip_suffix('\n').unwrap_or(text).to_owned();
    let number = parse_number_like(text.trim());
    if let Some(steps) = axis::planned_steps(key, number) {
        sink.facts(RunFacts { planned_steps: Some(steps), ..RunFacts::default() });
    }
    sink.config(key, ConfigValue { text, number });
}

/// What `meta.yaml` says of the run.
fn run_facts(meta: &Json<'_>, sink: &mut dyn Sink) {
    let text = |key: &str| text_at(meta, &[key]);
    let ms = |key: &str| meta.get(key).and_then(axis::step_of).filter(|ms| *ms > 0);
    let (start, end) = (ms("start_time"), ms("end_time"));
    let status = meta.get("status").map(|status| status.to_config().text).unwrap_or_default();
    sink.facts(RunFacts {
        name: text("run_name"),
        user_name: text("user_id"),
        program: text("source_name"),
        git_commit: text("source_version"),
        created_at: start,
        updated_at: end,
        duration_s: start.zip(end).map(|(start, end)| (end - start) as f64 / 1e3).filter(|s| *s >= 0.0),
        ..tags::end_of(&status)
    });
}

#[cfg(test)]
mod tests;
