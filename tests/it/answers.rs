//! The answer of each canned query, held against a naive computation over the model.

use crate::common::{Project, cases, rows, shared_runtime};
use crate::model::{Row, Run, number, row};
use crate::world::{Growth, World, label_ids, now_ms, same_rows, world};
use futures::TryStreamExt;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use runq::engine::Engine;
use runq::engine::canned::ParamValue;
use runq::records::names::normal_form;
use runq::workspace::Workspace;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A converted project, its runs by the model, and their ids.
struct Asked {
    project: Project,
    workspace: Workspace,
    /// The tables as of now: what the workspace makes anew for each question.
    engine: Engine,
    runs: Vec<Run>,
    ids: BTreeMap<String, String>,
    now_ms: i64,
}

impl Asked {
    fn new(world: &World) -> Self {
        let mut project = Project::in_memory();
        let mut growth = Growth::new(world, &project);
        growth.write_all();
        let (runs, _) = growth.meaning();
        drop(growth);
        let now_ms = now_ms(&runs, 40_000_000);
        project.now_ms = now_ms;
        project.refresh();
        let workspace = project.open();
        let engine = shared_runtime().block_on(workspace.engine()).unwrap();
        let ids = label_ids(&project);
        Self { project, workspace, engine, runs, ids, now_ms }
    }

    fn ask(&self, query: &str, params: &[(&str, ParamValue)]) -> Vec<Row> {
        let query = self.workspace.queries().iter().find(|known| known.name == query).unwrap();
        shared_runtime().block_on(async {
            let plan = self.engine.plan_canned(query, &values(params)).await.unwrap();
            let batches: Vec<_> = self.engine.execute(plan).await.unwrap().try_collect().await.unwrap();
            rows(&batches)
        })
    }

    /// The same by the one door.
    fn ask_workspace(&self, query: &str, params: &[(&str, ParamValue)]) -> Vec<Row> {
        shared_runtime().block_on(async {
            let answer = self.workspace.canned(query, &values(params)).await.unwrap();
            let batches: Vec<_> = answer.stream.try_collect().await.unwrap();
            rows(&batches)
        })
    }

    /// The same by the command line, in JSON.
    fn run(&self, args: &[&str]) -> Vec<Row> {
        let mut command = crate::common::runq();
        command
            .arg("-C")
            .arg(self.project.root())
            .args(args)
            .args(["--format", "json"])
            .env_remove("RUNQ_CACHE");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn id(&self, run: &Run) -> String {
        self.ids[&run.label()].clone()
    }

    /// Rows of `runs` with ids in place of labels, newest first.
    fn all_runs(&self) -> Vec<Row> {
        let with_id = |run: &Run| {
            let mut row = run.row(self.now_ms);
            row.insert("run_id".into(), json!(self.id(run)));
            row
        };
        let mut rows: Vec<Row> = self.runs.iter().map(with_id).collect();
        let begun =
            |row: &Row| row["created_at"].as_str().or(row["updated_at"].as_str()).unwrap().to_string();
        rows.sort_by_key(|row| (std::cmp::Reverse(begun(row)), text(row, "run_id")));
        rows
    }

    /// Each row of `summary` with the row of its run.
    fn summaries(&self) -> Vec<(Row, Row)> {
        let runs: BTreeMap<String, Row> =
            self.all_runs().into_iter().map(|row| (text(&row, "run_id"), row)).collect();
        let summary =
            self.runs.iter().flat_map(|run| run.summary().into_iter().map(|row| (self.id(run), row)));
        summary.map(|(id, row)| (row, runs[&id].clone())).collect()
    }

    fn keys(&self) -> BTreeSet<String> {
        self.summaries().iter().map(|(summary, _)| text(summary, "key")).collect()
    }
}

fn values(params: &[(&str, ParamValue)]) -> BTreeMap<String, ParamValue> {
    params.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn text(row: &Row, column: &str) -> String {
    row[column].as_str().unwrap().to_string()
}

fn of(word: &str) -> ParamValue {
    ParamValue::Text(word.to_string())
}

fn only(row: &Row, columns: &[&str]) -> Row {
    columns.iter().map(|column| (column.to_string(), row[*column].clone())).collect()
}

const LIST: [&str; 8] =
    ["run_id", "name", "project", "state", "last_step", "metric_count", "duration_s", "created_at"];

/// What is known of a run itself; the metric shown with it is that of its summary.
fn listed(asked: &Asked, rows: Vec<Row>) -> Vec<Row> {
    let summaries = asked.summaries();
    for row in rows.iter().filter(|row| !row["metric"].is_null()) {
        let is_it =
            |summary: &Row, run: &Row| run["run_id"] == row["run_id"] && summary["key"] == row["metric"];
        let (summary, _) = summaries.iter().find(|(summary, run)| is_it(summary, run)).unwrap();
        let values = |row: &Row| vec![only(row, &["best", "last"])];
        same_rows(&values(row), &values(summary), "runs");
        assert!(row["course"].is_string(), "{row:?}");
    }
    rows.iter().map(|row| only(row, &LIST)).collect()
}

fn check_runs(asked: &Asked) {
    let all: Vec<Row> = asked.all_runs().iter().map(|row| only(row, &LIST)).collect();
    same_rows(&listed(asked, asked.ask_workspace("runs", &[])), &all, "runs");
    let newest = listed(asked, asked.ask("runs", &[("limit", ParamValue::Integer(2))]));
    same_rows(&newest, &all[..all.len().min(2)], "runs -n 2");
    for state in ["running", "finished", "failed", "crashed", "unknown"] {
        let wanted: Vec<Row> = all.iter().filter(|row| row["state"] == state).cloned().collect();
        same_rows(&listed(asked, asked.ask("runs", &[("state", of(state))])), &wanted, state);
        let condition = format!("state = '{state}' and not last_step < 3");
        let wanted: Vec<Row> =
            wanted.into_iter().filter(|row| row["last_step"].as_i64() >= Some(3)).collect();
        same_rows(&listed(asked, asked.ask("runs", &[("where", of(&condition))])), &wanted, &condition);
    }
    let demo: Vec<Row> = all.iter().filter(|row| row["project"] == "demo").cloned().collect();
    if !demo.is_empty() {
        let shown = listed(asked, asked.ask_workspace("runs", &[("project", of("demo"))]));
        same_rows(&shown, &demo, "runs -p demo");
    }
}

/// `facts` by every way to name a run.
fn check_facts(asked: &Asked) {
    let all = asked.all_runs();
    for (n, run) in all.iter().enumerate().take(3) {
        let (id, name) = (text(run, "run_id"), text(run, "name"));
        let mut words = vec![id.clone(), format!("@latest~{n}")];
        let is_unique = |wanted: &dyn Fn(&Row) -> bool| all.iter().filter(|row| wanted(row)).count() == 1;
        if is_unique(&|row| text(row, "name") == name) && !asked.ids.values().any(|id| id.starts_with(&name))
        {
            words.push(name);
        }
        let prefix: String = id.chars().take(id.chars().count() - 1).collect();
        let is_name = all.iter().any(|row| text(row, "name") == prefix || text(row, "run_id") == prefix);
        if is_unique(&|row| text(row, "run_id").starts_with(&prefix)) && !is_name {
            words.push(prefix);
        }
        for word in words {
            let mut facts = asked.ask("facts", &[("run", of(&word))]);
            // What is found in a run is no word of its log.
            facts.iter_mut().for_each(|row| row.retain(|fact, _| fact != "phase" && fact != "worst_level"));
            same_rows(&facts, std::slice::from_ref(run), &word);
        }
    }
}

/// The ranking of the runs of a project by a metric: goal, best, and all that `best` shows.
fn ranking(asked: &Asked, key: &str, goal: Option<&str>, project: Option<&str>) -> Vec<Row> {
    let of_project = |run: &Row| project.is_none_or(|project| run["project"] == project);
    let summaries = asked.summaries();
    let is_spelled = |summary: &Row| {
        normal_form(key) == normal_form(summary["key"].as_str().unwrap()) && !normal_form(key).is_empty()
    };
    // A run without a metric of this name is ranked by the only one of another spelling.
    let is_only = |summary: &Row, run: &Row| {
        let of_run = summaries.iter().filter(|(_, other)| other["run_id"] == run["run_id"]);
        let spelled: Vec<&Row> = of_run.map(|(row, _)| row).filter(|row| is_spelled(row)).collect();
        is_spelled(summary) && spelled.len() == 1
    };
    let is_ranked =
        |(summary, run): &&(Row, Row)| (summary["key"] == key || is_only(summary, run)) && of_project(run);
    let rows: Vec<(Row, Row)> = summaries.iter().filter(is_ranked).cloned().collect();
    // Runs that disagree have no goal in common; those that know none have no say.
    let goals: BTreeSet<&str> = rows.iter().filter_map(|(summary, _)| summary["goal"].as_str()).collect();
    let Some(goal) = goal.or(goals.first().copied().filter(|_| goals.len() == 1)) else { return Vec::new() };
    let mut ranked: Vec<Row> = Vec::new();
    for (summary, run) in rows.iter().filter(|(summary, _)| !summary[goal].is_null()) {
        let step = &summary[&format!("{goal}_step")];
        ranked.push(row(json!({"run_id": run["run_id"], "name": run["name"], "metric": summary["key"], "goal": goal, "best": summary[goal],
            "best_step": step, "axis": summary["axis"], "last": summary["last"], "last_step": summary["last_step"], "state": run["state"]})));
    }
    let sign = if goal == "min" { 1.0 } else { -1.0 };
    ranked.sort_by(|a, b| {
        let place = |row: &Row| {
            (row["best"].as_f64().unwrap() * sign, row["best_step"].as_i64(), text(row, "run_id"))
        };
        let (a, b) = (place(a), place(b));
        a.0.partial_cmp(&b.0).unwrap().then((a.1, a.2).cmp(&(b.1, b.2)))
    });
    ranked
}

fn check_best(asked: &Asked) {
    // Those of several runs first: they have something to rank.
    let mut keys: Vec<String> = asked.keys().into_iter().collect();
    keys.sort_by_key(|key| {
        std::cmp::Reverse(asked.summaries().iter().filter(|(row, _)| row["key"] == key.as_str()).count())
    });
    for key in keys.into_iter().take(4) {
        let metric = ("metric", of(&key));
        for goal in [None, Some("min"), Some("max")] {
            let mut params = vec![metric.clone()];
            params.extend(goal.map(|goal| (goal, ParamValue::Flag(true))));
            params.push(("limit", ParamValue::Integer(3)));
            let ranked = ranking(asked, &key, goal, None);
            same_rows(
                &asked.ask("best", &params),
                &ranked[..ranked.len().min(3)],
                &format!("best {key} {goal:?}"),
            );
        }
        if !asked.all_runs().iter().any(|run| run["project"] == "demo") {
            continue;
        }
        let of_demo =
            asked.ask("best", &[metric.clone(), ("min", ParamValue::Flag(true)), ("project", of("demo"))]);
        same_rows(&of_demo, &ranking(asked, &key, Some("min"), Some("demo")), &format!("best {key} -p demo"));
    }
}

fn check_keys(asked: &Asked) {
    for pattern in [None, Some("LOSS"), Some("/"), Some("100%"), Some("ö")] {
        let mut groups: BTreeMap<(bool, String, String), Vec<Row>> = BTreeMap::new();
        for (summary, _) in asked.summaries() {
            let key = text(&summary, "key");
            if pattern.is_none_or(|pattern| key.to_lowercase().contains(&pattern.to_lowercase())) {
                let place = (key.starts_with("system/"), key, text(&summary, "axis"));
                groups.entry(place).or_default().push(summary);
            }
        }
        let wanted: Vec<Row> =
            groups.into_iter().map(|((_, key, axis), rows)| key_row(&key, &axis, &rows)).collect();
        let params: Vec<_> = pattern.map(|pattern| ("pattern", of(pattern))).into_iter().collect();
        same_rows(&asked.ask("keys", &params), &wanted, &format!("keys {pattern:?}"));
    }
}

fn key_row(key: &str, axis: &str, rows: &[Row]) -> Row {
    let goals: BTreeSet<&str> = rows.iter().filter_map(|row| row["goal"].as_str()).collect();
    let sum = |column: &str| rows.iter().filter_map(|row| row[column].as_i64()).sum::<i64>();
    let finite = |column: &str| rows.iter().filter_map(|row| row[column].as_f64()).collect::<Vec<_>>();
    let least = finite("min").into_iter().reduce(f64::min);
    let most = finite("max").into_iter().reduce(f64::max);
    row(
        json!({"key": key, "axis": axis, "goal": goals.first().filter(|_| goals.len() == 1), "run_count": rows.len(),
        "finite_run_count": finite("min").len(), "point_count": sum("count"), "nan_count": sum("nan_count"),
        "min": least, "max": most, "last_step": rows.iter().filter_map(|row| row["last_step"].as_i64()).max()}),
    )
}

const SHOW: [&str; 10] =
    ["key", "last", "best", "best_step", "min", "min_step", "max", "max_step", "count", "nan_count"];

fn check_show(asked: &Asked) {
    for run in &asked.runs {
        let mut wanted: Vec<Row> = run.summary().iter().map(|row| only(row, &SHOW)).collect();
        wanted.sort_by_key(|row| (text(row, "key").starts_with("system/"), text(row, "key")));
        let mut shown = asked.ask("show", &[("run", of(&asked.id(run)))]);
        for row in &mut shown {
            let points = run.counting(&text(row, "key"));
            let course = row.remove("course").unwrap();
            // As many characters as points, up to twelve, a space and an arrow.
            let width = course.as_str().map_or(0, |course| course.chars().count());
            assert_eq!(width, if points.is_empty() { 0 } else { points.len().min(12) + 2 }, "{course}");
            let breaks = points.iter().any(|point| !point.1.is_finite());
            assert_eq!(course.as_str().is_some_and(|course| course.contains('×')), breaks, "{course}");
        }
        same_rows(&shown, &wanted, &run.label());
    }
}

/// Every step of some metrics side by side.
fn aligned(run: &Run, keys: &[String]) -> BTreeMap<i64, Row> {
    let mut steps: BTreeMap<i64, Row> = BTreeMap::new();
    let empty: Row = keys.iter().map(|key| (key.clone(), Value::Null)).collect();
    for key in keys {
        for (step, value) in run.counting(key) {
            let row = steps.entry(step).or_insert_with(|| empty.clone());
            row.insert(key.clone(), number(value));
        }
    }
    for (step, row) in &mut steps {
        row.insert("step".into(), json!(step));
    }
    steps
}

fn check_history(asked: &Asked) {
    for run in asked.runs.iter().take(3) {
        let with_points = run.summary().into_iter().filter(|row| row["count"].as_i64() > Some(0));
        let keys: Vec<String> = with_points.map(|row| text(&row, "key")).take(3).collect();
        if keys.is_empty() {
            continue;
        }
        let all = aligned(run, &keys);
        for limit in [1, 2, 9, 1_000_000] {
            let params = [
                ("run", of(&asked.id(run))),
                ("keys", ParamValue::List(keys.clone())),
                ("limit", ParamValue::Integer(limit)),
            ];
            let rows = asked.ask("history", &params);
            let steps: BTreeSet<i64> = rows.iter().map(|row| row["step"].as_i64().unwrap()).collect();
            let wanted: Vec<Row> =
                all.iter().filter(|(step, _)| steps.contains(step)).map(|(_, row)| row.clone()).collect();
            same_rows(&rows, &wanted, &format!("history {} {keys:?} {limit}", run.label()));
            assert_eq!(rows.len(), all.len().min(limit as usize));
            for (n, mark) in landmarks(run, &keys, &all).into_iter().enumerate() {
                assert!(
                    n as i64 >= limit || steps.contains(&mark),
                    "step {mark} of {keys:?} in {limit} rows: {steps:?}"
                );
            }
        }
    }
}

/// Steps that stay in a sample, those that stay in the smallest first: the ends, then of each metric the
/// lowest and highest value and the first NaN or infinity.
fn landmarks(run: &Run, keys: &[String], all: &BTreeMap<i64, Row>) -> Vec<i64> {
    let mut marks: Vec<i64> =
        [all.keys().next(), all.keys().next_back()].into_iter().flatten().copied().collect();
    let summary = run.summary();
    let of_key = |key: &String| summary.iter().find(|row| row["key"] == key.as_str()).unwrap();
    marks.extend(keys.iter().filter_map(|key| of_key(key)["min_step"].as_i64()));
    marks.extend(keys.iter().filter_map(|key| of_key(key)["max_step"].as_i64()));
    let onset =
        |key: &String| run.counting(key).iter().find(|point| !point.1.is_finite()).map(|point| point.0);
    marks.extend(keys.iter().filter_map(onset));
    marks
}

proptest! {
    #![proptest_config(cases(3))]

    #[test]
    fn every_canned_query_answers_what_a_naive_computation_does(world in world()) {
        let asked = Asked::new(&world);
        check_runs(&asked);
        check_facts(&asked);
        check_best(&asked);
        check_keys(&asked);
        check_show(&asked);
        check_history(&asked);
    }
}

#[test]
fn the_command_line_gives_the_same_answers() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let asked = Asked::new(&world().new_tree(&mut runner).unwrap().current());
    let all: Vec<Row> = asked.all_runs().iter().map(|row| only(row, &LIST)).collect();
    same_rows(&listed(&asked, asked.run(&["runs"])), &all, "runs");
    let run = &asked.runs[0];
    let best = ranking(&asked, "train/loss", Some("min"), None);
    let key = if best.is_empty() { "loss" } else { "train/loss" };
    same_rows(&asked.run(&["best", key, "--min"]), &ranking(&asked, key, Some("min"), None), "best");
    let rows: Vec<Row> = aligned(run, &[key.to_string()]).into_values().collect();
    same_rows(&asked.run(&["history", &asked.id(run), "-k", key]), &rows, "history");
}
