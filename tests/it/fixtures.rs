//! Real logs by the real producers, held against what the producers' own readers say of them.
//!
//! Where runq means another view than that reader, the test says which and why.

use crate::common::{Project, data};
use runq::store::Limits;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub fn expected(source: &str) -> Value {
    let text = std::fs::read_to_string(data(source).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every fixture is read with the limits of production and with limits that it meets.
pub fn both_limits(source: &str, check: impl Fn(&Project)) {
    for limits in [Limits::default(), crate::common::small_limits()] {
        let project = Project::of(source).with_limits(limits);
        let outcome = project.refresh();
        assert!(outcome.run_count > 0, "{source}: {outcome:?}");
        check(&project);
        assert_eq!(project.refresh().read_bytes, 0, "{source}: a second refresh reads nothing");
    }
}

pub struct Tables {
    pub runs: BTreeMap<String, Value>,
    pub summary: BTreeMap<(String, String), Value>,
    configs: BTreeMap<String, BTreeMap<String, String>>,
}

impl Tables {
    pub fn of(project: &Project) -> Self {
        let field = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_string();
        let runs = project.ask("select * from runs");
        let summary = project.ask("select * from summary");
        let mut configs: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for row in project.ask("select * from configs") {
            configs
                .entry(field(&row, "run_id"))
                .or_default()
                .insert(field(&row, "key"), field(&row, "value"));
        }
        Self {
            runs: runs.into_iter().map(|row| (field(&row, "path"), row)).collect(),
            summary: summary
                .into_iter()
                .map(|row| ((field(&row, "run_id"), field(&row, "key")), row))
                .collect(),
            configs,
        }
    }

    pub fn run(&self, path: &str) -> &Value {
        self.runs.get(path).unwrap_or_else(|| panic!("no run at {path}: {:?}", self.runs.keys()))
    }

    pub fn run_id(&self, path: &str) -> String {
        self.run(path)["run_id"].as_str().unwrap().to_string()
    }
}

pub fn same(context: &str, got: &Value, wanted: &Value) {
    let equal = match (got.as_f64(), wanted.as_f64()) {
        (Some(a), Some(b)) => a == b || (a - b).abs() <= 1e-15 * b.abs(),
        _ => got == wanted,
    };
    assert!(equal, "{context}: {got}, expected {wanted}");
}

/// One metric: counts, first, last, extremes with their steps, NaN and infinities.
///
/// The reader counts every point; where steps repeat, runq counts the last arrival at each
/// (`later_wins` in the expectation).
pub fn check_metric(tables: &Tables, run_id: &str, key: &str, wanted: &Value) {
    let context = format!("{run_id} {key}");
    let row = tables.summary.get(&(run_id.to_string(), key.to_string()));
    let row = row.unwrap_or_else(|| panic!("{context} is missing"));
    let wins = wanted.get("later_wins").filter(|wins| wins.is_object()).unwrap_or(wanted);
    let infinite = |wins: &Value| wins["pos_inf"].as_i64().unwrap() + wins["neg_inf"].as_i64().unwrap();
    same(&format!("{context} count"), &row["count"], &wins["n_points"]);
    same(&format!("{context} nan_count"), &row["nan_count"], &wins["nan"]);
    same(&format!("{context} inf_count"), &row["inf_count"], &infinite(wins).into());
    for (column, name) in
        [("last", "last"), ("min", "min"), ("min_step", "min_step"), ("max", "max"), ("max_step", "max_step")]
    {
        same(&format!("{context} {column}"), &row[column], wins.get(name).unwrap_or(&Value::Null));
    }
    same(&format!("{context} first_step"), &row["first_step"], &wanted["first_step"]);
    same(&format!("{context} last_step"), &row["last_step"], &wanted["max_step_seen"]);
    if wins == wanted {
        same(&format!("{context} first"), &row["first"], &wanted["first"]);
    }
}

pub fn check_metrics(tables: &Tables, run_id: &str, metrics: &Map<String, Value>, also: &[&str]) {
    for (key, wanted) in metrics {
        check_metric(tables, run_id, key, wanted);
    }
    let logged = |row: &Value| row["count"].as_i64().unwrap() > 0;
    let keys =
        tables.summary.iter().filter(|((run, _), row)| run == run_id && logged(row)).map(|((_, key), _)| key);
    for key in keys {
        let known = metrics.contains_key(key) || key.starts_with("system/") || also.contains(&key.as_str());
        assert!(known, "{run_id}: {key} is no metric by the producer's reader");
    }
}

fn config_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub fn check_config(tables: &Tables, run_id: &str, wanted: &Value) {
    let empty = BTreeMap::new();
    let got = tables.configs.get(run_id).unwrap_or(&empty);
    for (key, value) in wanted.as_object().unwrap() {
        let text = got.get(key).unwrap_or_else(|| panic!("{run_id}: config {key} is missing: {got:?}"));
        let equal = match (text.parse::<f64>(), value.as_f64()) {
            (Ok(a), Some(b)) => a == b,
            _ => {
                serde_json::from_str::<Value>(text).is_ok_and(|v| v == *value) || *text == config_text(value)
            }
        };
        assert!(equal, "{run_id}: config {key} is {text}, expected {value}");
    }
    assert_eq!(got.len(), wanted.as_object().unwrap().len(), "{run_id}: {got:?}");
}

#[test]
fn wandb_logs_are_what_the_producer_says() {
    let expected = expected("wandb");
    both_limits("wandb", |project| {
        let tables = Tables::of(project);
        let mut seen = 0;
        for wanted in expected["runs"].as_array().unwrap() {
            let id = wanted["run_id"].as_str().unwrap();
            if id == "pubresum1" {
                continue; // one run of two directories: see below
            }
            seen += 1;
            let run = tables.run(wanted["path"].as_str().unwrap());
            assert_eq!(run["run_id"], id);
            for (column, name) in [("name", "name"), ("project", "project"), ("host", "host")] {
                assert_eq!(run[column], wanted[name], "{id} {column}");
            }
            assert_eq!(run["state"], wandb_state(wanted), "{id}");
            assert_eq!(
                run["exit_code"],
                wanted["exit"].get("exit_code").cloned().unwrap_or(Value::Null),
                "{id}"
            );
            assert_eq!(run["tags"], wanted["tags"], "{id} tags");
            let none_if_empty = |value: &Value| if value == "" { Value::Null } else { value.clone() };
            assert_eq!(run["notes"], none_if_empty(&wanted["notes"]), "{id} notes");
            assert_eq!(run["run_group"], none_if_empty(&wanted["group"]), "{id} group");
            check_metrics(&tables, id, wanted["metrics"].as_object().unwrap(), &[]);
            check_config(&tables, id, &wanted["config"]);
            check_alerts(project, id, &wanted["alerts"]);
        }
        assert_eq!(seen + 1, tables.runs.len());
        check_resumed(&tables, &expected["resumed"][0]);
    });
}

/// The producer's word for an exit code other than 0 is "crashed", and where the exit record is
/// missing its reader cannot tell a killed run from a running one. runq calls the first `failed`;
/// of the second it knows by the last logged time that nothing was written for a day.
fn wandb_state(wanted: &Value) -> &'static str {
    match wanted["exit"].get("exit_code").and_then(Value::as_i64) {
        Some(0) => "finished",
        Some(_) => "failed",
        None => "crashed",
    }
}

fn check_alerts(project: &Project, id: &str, wanted: &Value) {
    let sql =
        format!("select title, text, upper(level) as level from alerts where run_id = '{id}' order by seq");
    let got: Vec<Value> = project.ask(&sql);
    assert_eq!(Value::Array(got), *wanted, "{id} alerts");
}

fn check_resumed(tables: &Tables, wanted: &Value) {
    let id = wanted["run_id"].as_str().unwrap();
    let run = tables.run(wanted["paths"].as_array().unwrap().last().unwrap().as_str().unwrap());
    assert_eq!(
        (&run["run_id"], &run["segment_count"], &run["state"]),
        (&id.into(), &2.into(), &"finished".into())
    );
    check_metrics(tables, id, wanted["metrics"].as_object().unwrap(), &[]);
}

#[test]
fn the_killed_run_was_running_until_its_silence_was_too_long() {
    let mut project = Project::of("wandb");
    project.refresh();
    let state =
        |project: &Project| project.column("select state from runs where run_id = 'pubkill'")[0].clone();
    let last_ms =
        project.ask("select cast(max(updated_at) as bigint) as t from runs where run_id = 'pubkill'");
    project.now_ms = last_ms[0]["t"].as_i64().unwrap() + 9 * 60_000;
    assert_eq!(state(&project), "running");
    project.now_ms += 2 * 60_000;
    assert_eq!(state(&project), "crashed");
}

/// Folders that TensorBoard shows as runs of their own and runq as part of another run: children
/// made by `add_scalars`, whose only tag becomes `tag/child`, and by `add_hparams`.
fn folded(path: &str) -> Option<(&str, Option<&str>)> {
    match path {
        "runs/multi/loss_train" => Some(("runs/multi", Some("loss/train"))),
        "runs/multi/loss_val" => Some(("runs/multi", Some("loss/val"))),
        "runs/tbx/sweep/trial_0/hp" => Some(("runs/tbx/sweep/trial_0", None)),
        "runs/tbx/sweep/trial_3/hp" => Some(("runs/tbx/sweep/trial_3", None)),
        _ => None,
    }
}

#[test]
fn event_files_are_what_tensorboard_says() {
    let expected = expected("tensorboard");
    both_limits("tensorboard", |project| {
        let tables = Tables::of(project);
        let mut paths = std::collections::BTreeSet::new();
        for wanted in expected["runs"].as_array().unwrap() {
            let path = wanted["path"].as_str().unwrap();
            let (parent, key) = folded(path).unwrap_or((path, None));
            paths.insert(parent);
            let id = tables.run_id(parent);
            assert_eq!(tables.run(parent)["state"], wanted["state"], "{path}");
            for (tag, metric) in wanted["metrics"].as_object().unwrap() {
                if path == "runs/no-step" && tag == "loss" {
                    check_indexed(&tables, &id, metric);
                } else {
                    check_metric(&tables, &id, key.unwrap_or(tag), metric);
                }
            }
            if !wanted["config"].as_object().unwrap().is_empty() {
                check_config(&tables, &id, &wanted["config"]);
            }
            for (tag, texts) in wanted["text_last"].as_object().unwrap() {
                check_text(project, &id, tag, texts.as_array().unwrap().last().unwrap());
            }
        }
        assert_eq!(paths.len(), tables.runs.len());
        check_purge(project, &tables, &expected);
    });
}

/// 40 values, all logged at step 0: indexed by arrival, where TensorBoard keeps one step.
fn check_indexed(tables: &Tables, id: &str, wanted: &Value) {
    let row = &tables.summary[&(id.to_string(), "loss".to_string())];
    assert_eq!((&row["axis"], &row["count"], &row["last_step"]), (&"index".into(), &40.into(), &39.into()));
    same("no-step first", &row["first"], &wanted["first"]);
    same("no-step last", &row["last"], &wanted["last"]);
}

fn check_text(project: &Project, id: &str, tag: &str, wanted: &Value) {
    let tag = tag.strip_suffix("/text_summary").unwrap_or(tag);
    let sql = format!(
        "select text from texts where run_id = '{id}' and key in ('{tag}', '{tag}/text_summary') order by step desc limit 1"
    );
    assert_eq!(project.column(&sql), [wanted.as_str().unwrap()], "{id} {tag}");
}

/// What a START event takes back is still in `metrics_raw`.
fn check_purge(project: &Project, tables: &Tables, expected: &Value) {
    let run =
        expected["runs"].as_array().unwrap().iter().find(|run| run["path"] == "runs/resume-purge").unwrap();
    let id = tables.run_id("runs/resume-purge");
    for (key, metric) in run["metrics_unpurged"].as_object().unwrap() {
        let sql = format!(
            "select count(*) as n, count(*) filter (where not superseded) as counting
             from metrics_raw where run_id = '{id}' and key = '{key}'"
        );
        let row = &project.ask(&sql)[0];
        same(&format!("{key} raw"), &row["n"], &metric["n_points"]);
        same(&format!("{key} counting"), &row["counting"], &run["metrics"][key]["n_points"]);
    }
}

#[test]
fn json_lines_are_what_python_says() {
    let expected = expected("jsonl");
    both_limits("jsonl", |project| {
        let tables = Tables::of(project);
        let mut seen = 0;
        for wanted in expected["runs"].as_array().unwrap() {
            let path = wanted["path"].as_str().unwrap();
            if path.ends_with(".log") {
                continue; // nanoGPT's console format is not read by this source
            }
            seen += 1;
            let id = tables.run_id(path);
            assert_eq!(tables.run(path)["state"], "unknown", "{path}");
            let mut metrics = wanted["metrics"].as_object().unwrap().clone();
            // Wall clock seconds: Python sees a number, runq the time of the row.
            metrics.remove("time");
            check_metrics(&tables, &id, &metrics, &[]);
            check_config(&tables, &id, &wanted["config"]);
        }
        assert_eq!(seen, tables.runs.len());
    });
}

#[test]
fn the_best_run_of_each_sweep_is_found() {
    for source in ["wandb", "tensorboard", "jsonl"] {
        let project = Project::of(source);
        project.refresh();
        for sweep in expected(source)["sweeps"].as_object().unwrap().values() {
            let best = &sweep["best"];
            let folder = best["path"].as_str().unwrap().rsplit_once('/').unwrap().0;
            let group = if source == "jsonl" { "sweep/" } else { folder };
            let name_filter = if source == "wandb" { "and runs.run_id like 'pubsweep%'" } else { "" };
            let sql = format!(
                "select path, min as best from summary join runs using (run_id)
                 where key = '{}' and starts_with(path, '{group}') {name_filter} order by min limit 1",
                best["key"].as_str().unwrap()
            );
            let row = &project.ask(&sql)[0];
            assert_eq!(row["path"], best["path"], "{source}");
            same(source, &row["best"], &best["min_val"]);
        }
    }
}
