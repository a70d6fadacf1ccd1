//! Real logs of trackers that keep a folder of files, held against what is known of them.

use crate::fixtures::{Tables, both_limits, check_config, check_metric, check_metrics, expected};
use serde_json::{Value, json};

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
