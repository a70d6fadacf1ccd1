//! A log that holds a second training: what a script prints when it is started again into the same file.

use crate::common::{Project, read_at_once};
use serde_json::json;

/// A training and how far it went.
fn rows(row: impl Fn(usize, f64) -> String, steps: usize, base: f64) -> String {
    (1..=steps).map(|step| row(step, base - 0.1 * step as f64)).collect()
}

fn printed(step: usize, loss: f64) -> String {
    format!("epoch {step} loss {loss:.4}\n")
}

fn object(step: usize, loss: f64) -> String {
    format!("{{\"step\": {step}, \"loss\": {loss:.4}}}\n")
}

fn cells(step: usize, loss: f64) -> String {
    format!("{step},{loss:.4}\n")
}

/// Steps that count, with the best value, and the points read.
fn answer(project: &Project) -> serde_json::Value {
    let sql = "select s.count, s.first_step, s.last_step, round(s.max, 4) as max, r.segment_count,
        (select count(*) from metrics_raw) as points
        from summary s join runs r on r.run_id = s.run_id where s.key = 'loss'";
    project.ask(sql).remove(0)
}

#[test]
fn the_last_of_two_trainings_in_one_log_counts() {
    let logs = [
        ("train.log", String::new(), printed as fn(usize, f64) -> String),
        ("metrics.jsonl", String::new(), object),
        ("metrics.csv", "step,loss\n".to_string(), cells),
    ];
    for (path, head, row) in logs {
        let project = Project::empty();
        project.write(path, head + &rows(row, 10, 9.0) + &rows(row, 4, 2.0));
        let outcome = project.refresh();
        let expected = json!({"count": 4, "first_step": 1, "last_step": 4, "max": 1.9, "segment_count": 2, "points": 14});
        assert_eq!(answer(&project), expected, "{path}");
        let told = outcome.notes.iter().filter(|note| note.contains("a training begins again")).count();
        assert_eq!(told, 1, "{path}: {:?}", outcome.notes);
    }
}

#[test]
fn a_log_that_grows_into_a_second_training_says_the_same() {
    let project = Project::empty();
    for line in (rows(printed, 10, 9.0) + &rows(printed, 4, 2.0)).split_inclusive('\n') {
        project.append("train.log", line);
        project.refresh();
    }
    assert_eq!(project.everything(), read_at_once(&project));
    assert_eq!(answer(&project)["count"], 4);
}

#[test]
fn folds_in_one_log_are_those_of_the_last_one() {
    let project = Project::empty();
    let folds = [(10, 9.0), (5, 8.0), (5, 7.0)].map(|(steps, base)| rows(printed, steps, base));
    project.write("fold.log", folds.concat() + "CV score: 0.8123\n");
    project.refresh();
    assert_eq!(answer(&project)["count"], 5);
    assert_eq!(answer(&project)["max"], 6.9);
}

/// It goes on behind the first step, or is a line about it.
#[test]
fn a_resume_and_a_summary_are_no_new_training() {
    let project = Project::empty();
    let resumed = rows(printed, 10, 9.0) + &rows(printed, 14, 8.0)[rows(printed, 7, 8.0).len()..];
    project.write("resumed.log", resumed);
    project.refresh();
    assert_eq!(answer(&project)["count"], 14);
    let project = Project::empty();
    project.write("best.log", rows(printed, 10, 9.0) + "epoch 1 loss 5.0\n");
    project.refresh();
    assert_eq!(answer(&project)["count"], 10);
}

/// Each validation counts its batches from 0.
#[test]
fn a_validation_that_counts_its_own_batches_is_no_new_training() {
    let project = Project::empty();
    let validation: String =
        (0..4).map(|step| format!("{{\"step\": {step}, \"val_loss\": 1.5}}\n")).collect();
    let training = |from: usize| (from..from + 10).map(|step| object(step, 3.0)).collect::<String>();
    project.write("log.jsonl", [training(0), validation.clone(), training(10), validation].concat());
    project.refresh();
    assert_eq!(answer(&project)["count"], 20);
}

#[test]
fn each_run_of_a_log_begins_again_on_its_own() {
    let project = Project::empty();
    let row =
        |run: &str, step: usize| format!("{{\"run\": \"{run}\", \"step\": {step}, \"loss\": {step}.5}}\n");
    let alone = |run: &str| (1..=10).map(|step| row(run, step)).collect::<String>();
    let turns: String = (1..=3).map(|step| row("a", step) + &row("b", 10 + step)).collect();
    project.write("runs.jsonl", alone("a") + &alone("b") + &turns);
    project.refresh();
    let counts = "select concat(name, ' ', count) from summary s join runs r on r.run_id = s.run_id
        where key = 'loss' order by name";
    assert_eq!(project.column(counts), ["a 3", "b 13"]);
}
