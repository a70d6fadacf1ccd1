//! Real logs of trackers that keep a folder of files, held against what is known of them.

use crate::common::Project;
use crate::fixtures::{Tables, both_limits, check_config, check_metric, check_metrics, expected};
use serde_json::{Map, Value, json};

fn runs(expected: &Value) -> &Vec<Value> {
    expected["runs"].as_array().unwrap()
}

#[test]
fn exprag_runs_are_what_python_says() {
    let expected = expected("exprag");
    both_limits("exprag", |project| {
        let tables = Tables::of(project);
        assert_eq!(tables.runs.len(), runs(&expected).len());
        for wanted in runs(&expected) {
            let run = tables.run(wanted["path"].as_str().unwrap());
            let id = run["run_id"].as_str().unwrap();
            assert_eq!(run["run_id"], wanted["run_id"]);
            assert_eq!((&run["name"], &run["state"]), (&wanted["name"], &wanted["state"]));
            assert_eq!(run["git_commit"], wanted["git"]["commit"]);
            let mut metrics = wanted["metrics"].as_object().unwrap().clone();
            // Rows without a step follow the row that has one, where Python counts lines.
            metrics.remove("метрика");
            check_metrics(&tables, id, &metrics, &["метрика"]);
            let none = json!({});
            check_config(&tables, id, if wanted["config"].is_null() { &none } else { &wanted["config"] });
            let notes = project
                .ask(&format!("select count(*) as n from texts where run_id = '{id}' and key = 'note'"));
            assert_eq!(notes[0]["n"], wanted["notes"], "{id}");
        }
        assert!(project.ask("select * from problems").is_empty());
    });
}

#[test]
fn dvclive_folders_are_what_their_files_say() {
    let expected = expected("dvclive");
    both_limits("dvclive", |project| {
        let tables = Tables::of(project);
        assert_eq!(tables.runs.len(), runs(&expected).len());
        for wanted in runs(&expected) {
            let path = wanted["path"].as_str().unwrap();
            let run = tables.run(path);
            let id = tables.run_id(path);
            assert_eq!((&run["state"], &run["source"]), (&wanted["state"], &json!("dvclive")));
            for (key, metric) in wanted["metrics"].as_object().unwrap() {
                check_metric(&tables, &id, key, metric);
            }
            check_config(&tables, &id, &wanted["config"]);
            let last = &tables.summary[&(id.clone(), "train/loss".to_string())];
            assert_eq!(last["final"], last["last"], "{path}");
        }
        let only_final = project.ask(
            "select count, final from summary join runs using (run_id) where key = 'test/acc' and name = 'clean'",
        );
        assert_eq!(only_final, [json!({"count": 0, "final": 0.91})]);
        assert!(project.ask("select * from problems").is_empty());
    });
}

/// MLflow's words: a run that is killed stays RUNNING; nothing was written for a day, so it crashed.
fn mlflow_state(wanted: &Value) -> &'static str {
    match wanted["state"].as_str().unwrap() {
        "FINISHED" => "finished",
        "RUNNING" => "crashed",
        _ => "failed",
    }
}

#[test]
fn both_stores_of_mlflow_are_what_the_client_says() {
    let mut expected = expected("mlflow");
    expected["runs"].as_array_mut().unwrap().retain(|run| run["lifecycle"] == "active");
    both_limits("mlflow", |project| {
        let tables = Tables::of(project);
        let count = project.ask("select run_id from runs").len();
        assert_eq!(count, runs(&expected).len(), "deleted runs are left out");
        for wanted in runs(&expected) {
            let id = wanted["run_id"].as_str().unwrap();
            let run = &project.ask(&format!("select * from runs where run_id = '{id}'"))[0];
            let path = match wanted["backend"].as_str().unwrap() {
                "file" => format!("filestore/mlruns/{}/{id}", wanted["experiment_id"].as_str().unwrap()),
                _ => "sqlite/mlflow.db".to_string(),
            };
            assert_eq!(run["path"], path);
            for column in ["name", "project"] {
                assert_eq!(run[column], wanted[column], "{id} {column}");
            }
            assert_eq!(run["state"], mlflow_state(wanted), "{id}");
            for (column, tag) in [("parent_run_id", "mlflow.parentRunId"), ("notes", "mlflow.note.content")] {
                assert_eq!(run[column], wanted["tags"].get(tag).cloned().unwrap_or(Value::Null), "{id}");
            }
            let own =
                wanted["tags"].as_object().unwrap().iter().filter(|(key, _)| !key.starts_with("mlflow."));
            let mut tags: Vec<_> =
                own.map(|(key, value)| format!("{key}={}", value.as_str().unwrap())).collect();
            tags.sort();
            assert_eq!(run["tags"], json!(tags), "{id}");
            let mut metrics = wanted["metrics"].as_object().unwrap().clone();
            let infinite = without_infinite(&mut metrics);
            check_metrics(&tables, id, &metrics, &infinite.iter().map(String::as_str).collect::<Vec<_>>());
            check_config(&tables, id, &wanted["config"]);
        }
        let sql = "select count(*) as n from summary join runs using (run_id)
            where inf_count > 0 and path = 'sqlite/mlflow.db'";
        assert_eq!(project.ask(sql)[0]["n"], 2);
        assert!(project.ask("select * from problems").is_empty());
    });
}

/// The database holds the largest number for an infinity, and the client gives it back so. runq reads
/// what was logged.
fn without_infinite(metrics: &mut Map<String, Value>) -> Vec<String> {
    let is_infinite = |metric: &Value| {
        ["min", "max"].iter().any(|name| metric[*name].as_f64().is_some_and(|value| value.abs() == f64::MAX))
    };
    let infinite: Vec<String> =
        metrics.iter().filter(|(_, metric)| is_infinite(metric)).map(|(key, _)| key.clone()).collect();
    infinite.iter().for_each(|key| drop(metrics.remove(key)));
    infinite
}

#[test]
fn a_run_of_mlflow_that_goes_on_loses_its_end_and_changes_its_tags() {
    let project = Project::of("mlflow");
    project.refresh();
    let id = "9b456e387264419ab9022c118d17e426";
    let folder = format!("filestore/mlruns/814353854449114722/{id}");
    let meta = format!("{folder}/meta.yaml");
    let text = std::fs::read_to_string(project.root().join(&meta)).unwrap();
    project.write(
        &meta,
        text.replace("status: 3", "status: 1").replace("end_time: 1795198721667", "end_time: null"),
    );
    project.write(&format!("{folder}/tags/team"), "vision");
    project.append(&format!("{folder}/metrics/lr"), "1795198721700 0.5 100\n");
    project.refresh();
    let run = &project.ask(&format!("select state, tags, last_step from runs where run_id = '{id}'"))[0];
    assert_eq!(*run, json!({"state": "crashed", "tags": ["team=vision", "v=1"], "last_step": 100}));
}

#[test]
fn sacred_folders_are_what_their_files_say() {
    let expected = expected("sacred");
    both_limits("sacred", |project| {
        let tables = Tables::of(project);
        assert_eq!(tables.runs.len(), runs(&expected).len());
        for wanted in runs(&expected) {
            let run = tables.run(wanted["path"].as_str().unwrap());
            let id = run["run_id"].as_str().unwrap();
            assert_eq!((&run["run_id"], &run["name"]), (&wanted["run_id"], &wanted["name"]));
            let (state, detail) = match wanted["state"].as_str().unwrap() {
                "COMPLETED" => ("finished", json!("COMPLETED")),
                // Killed: nothing was written for a day.
                "RUNNING" => ("crashed", Value::Null),
                word => ("failed", json!(word)),
            };
            assert_eq!((&run["state"], &run["state_detail"]), (&json!(state), &detail), "{id}");
            check_metrics(&tables, id, wanted["metrics"].as_object().unwrap(), &[]);
            check_config(&tables, id, &wanted["config"]);
            let alerts = project
                .ask(&format!("select title, level from alerts where run_id = '{id}' and origin = 'logged'"));
            match wanted["fail_trace_last"].as_str() {
                Some(line) => assert_eq!(alerts, [json!({"title": line.trim(), "level": "error"})]),
                None => assert!(alerts.is_empty()),
            }
        }
        assert!(project.ask("select * from problems").is_empty());
    });
}

#[test]
fn metrics_that_are_rewritten_are_read_anew() {
    let project = Project::empty();
    let metrics = |values: &str, steps: &str| {
        format!(r#"{{"loss": {{"steps": [{steps}], "timestamps": [], "values": [{values}]}}}}"#)
    };
    project
        .write("runs/1/run.json", r#"{"experiment": {"name": "e"}, "command": "main", "status": "RUNNING"}"#);
    project.write("runs/1/metrics.json", metrics("3.5, 2", "0, 1"));
    project.refresh();
    project.write("runs/1/metrics.json", metrics("3.5, 2.5, 1.5", "0, 1, 2"));
    project.refresh();
    let sql = "select step, value from metrics order by step";
    let row = |step: i64, value: f64| json!({"step": step, "value": value});
    assert_eq!(project.ask(sql), [row(0, 3.5), row(1, 2.5), row(2, 1.5)]);
    // Half written: what was read before stands.
    project.write("runs/1/metrics.json", r#"{"loss": {"steps": [0, 1, 2, 3], "val"#);
    project.open_now().refresh(&runq::workspace::Quiet).unwrap();
    assert_eq!(project.ask(sql).len(), 3);
}

/// An archive with these members.
/// What a killed run left of a file that is rewritten whole counts, and the damage is told with its place.
#[test]
fn what_stands_before_the_damage_of_a_document_counts() {
    let project = Project::empty();
    project
        .write("runs/1/run.json", r#"{"experiment": {"name": "e"}, "command": "main", "status": "FAILED", "#);
    project.write("runs/1/config.json", r#"{"lr": 0.5, "seed": 3, "la"#);
    project.write(
        "runs/1/metrics.json",
        r#"{"loss": {"steps": [0, 5], "timestamps": [], "values": [2.5, 1.5]}, "acc": {"steps": [0], "timestamps": [], "values": [0.25]}, "late": {"ste"#,
    );
    project.refresh();
    let points = project.column("select concat(key, ' ', step, ' ', value) from metrics order by key, step");
    assert_eq!(points, ["acc 0 0.25", "loss 0 2.5", "loss 5 1.5"]);
    assert_eq!(project.column("select concat(name, ' ', state) from runs"), ["e failed"]);
    assert_eq!(
        project.column("select concat(key, '=', number) from configs order by key"),
        ["lr=0.5", "seed=3.0"]
    );
    let problems =
        project.column("select concat(path, ' ', position, ': ', message) from problems order by path");
    let told = ["config.json byte 26", "metrics.json byte 140", "run.json byte 69"];
    let told = told.map(|at| format!("runs/1/{at}: the JSON value has no end"));
    assert_eq!(problems, told);
}

fn zip_of(members: &[(&str, &str)]) -> Vec<u8> {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A folder of each tracker of which no real log is at hand, written by the rules of its format.
fn written() -> Project {
    let project = Project::empty();
    let hex = "0123456789abcdef0123456789abcdef";
    let clearml = format!("cache/offline-{hex}");
    project.write(
        &format!("{clearml}/task.json"),
        r#"{"name": "c", "project_name": "p", "status": "completed"}"#,
    );
    let scalar = r#"[{"type": "training_stats_scalar", "iter": 1, "metric": "loss", "variant": "train", "value": 1.5}]"#;
    project.write(&format!("{clearml}/metrics.jsonl"), format!("{scalar}\n"));
    let queue = ".neptune/offline/run__0b1c__e4/data-1.log";
    let floats = r#"{"obj": {"type": "LogFloats", "path": ["loss"], "values": [{"value": 2.5, "step": 1}]}}"#;
    project.write(queue, format!("{floats}\n"));
    let metric = r#"{"type": "metric_msg", "payload": {"metric": {"metricName": "loss", "metricValue": 3.5, "step": 1}}}"#;
    let members = [("experiment.json", "{}"), ("messages.json", metric)];
    project.write(&format!(".cometml-runs/{hex}.zip"), zip_of(&members));
    project.write(".cometml-runs/fedcba9876543210fedcba9876543210.zip", zip_of(&[]));
    let guild = format!(".guild/runs/{hex}/.guild");
    project.write(&format!("{guild}/attrs/exit_status"), "1\n");
    project.write(&format!("{guild}/attrs/flags"), "lr: 0.1\n");
    let swanlab = "swanlog/run-20260520_180059-abc/logs/loss/1000.log";
    project.write(swanlab, "{\"index\": 1, \"data\": 4.5}\n");
    let events = crate::common::data("tensorboard").join("runs");
    let file =
        walkdir::WalkDir::new(events).into_iter().flatten().find(|file| file.file_type().is_file()).unwrap();
    project.write(&format!("{guild}/events.out.tfevents.1.h"), std::fs::read(file.path()).unwrap());
    project
}

/// Each is found, none is taken for a log of another kind, and what must not be read is told.
#[test]
fn trackers_are_found_beside_each_other() {
    let project = written();
    std::fs::create_dir_all(project.root().join(".aim")).unwrap();
    let database = rusqlite::Connection::open(project.root().join(".aim/run_metadata.sqlite")).unwrap();
    database
        .execute_batch("create table run (hash text, name text); insert into run values ('ab12', 'a')")
        .unwrap();
    project.refresh();
    let runs = project.ask("select source, run_id, state from runs order by source, run_id");
    let hex = "0123456789abcdef0123456789abcdef";
    let run = |source: &str, id: &str, state: &str| json!({"source": source, "run_id": id, "state": state});
    let comet = |id: &str| runs.iter().find(|run| run["run_id"].as_str().unwrap().starts_with(id)).unwrap();
    assert_eq!(comet("fedcba")["source"], "comet", "the empty archive is a run too");
    assert!(runs.contains(&run("aim", "ab12", "unknown")), "{runs:?}");
    assert!(runs.contains(&run("neptune", "0b1c", "unknown")));
    assert!(runs.contains(&run("swanlab", "abc", "unknown")));
    let state = |source: &str| runs.iter().find(|run| run["source"] == source).unwrap()["state"].clone();
    assert_eq!((state("clearml"), state("guild")), (json!("finished"), json!("failed")));
    assert!(runs.iter().all(|run| run["source"] != "tensorboard" && run["source"] != "jsonl"), "{runs:?}");
    assert_eq!(runs.len(), 7, "{hex}");
    let values = project.ask(
        "select source, value from metrics join runs using (run_id) where step = 1 and value in (1.5, 2.5, 3.5, 4.5)
         order by value",
    );
    let sources: Vec<_> = values.iter().map(|row| row["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["clearml", "neptune", "comet", "swanlab"]);
    let problems = project.column("select message from problems order by message");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("empty") && problems[1].contains("Python SDK"));
    assert_eq!(project.refresh().read_bytes, 0, "a second refresh reads nothing");
}
