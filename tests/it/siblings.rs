//! A run that is behind its siblings says so in the tables, however these came to be.

use crate::common::{Project, cases, findings, shared_runtime, small_limits, text};
use crate::judged::at_once;
use proptest::prelude::*;
use proptest::sample::select;
use runq::workspace::Progress;
use rusqlite::{Connection, params};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn folder(experiment: usize, run: usize) -> String {
    format!("mlruns/{experiment}/{:032x}", 100 * experiment + run)
}

/// A run of an experiment as MLflow's file store describes it.
fn begin(project: &Project, experiment: usize, run: usize) {
    let path = format!("mlruns/{experiment}/meta.yaml");
    if !project.root().join(&path).exists() {
        project.write(
            &path,
            format!("experiment_id: '{experiment}'\nname: sweep-{experiment}\nlifecycle_stage: active\n"),
        );
    }
    let started_ms = 1_760_000_000_000_i64 + (run as i64 * 7_919 % 50) * 1_000;
    let meta = format!(
        "experiment_id: '{experiment}'\nlifecycle_stage: active\nrun_name: r{run}\nstart_time: {started_ms}\nstatus: 1\n"
    );
    project.write(&format!("{}/meta.yaml", folder(experiment, run)), meta);
}

/// Rows of a loss that comes down to a level and rests from a step on.
fn rows(steps: std::ops::Range<i64>, level: f64, rest: i64) -> String {
    let loss = |step: i64| level + 2.0 / (1.0 + step.min(rest) as f64 / 20.0);
    let jitter = |step: i64| (step * 7_919 % 13) as f64 / 1_300.0;
    let row = |step| format!("{} {} {step}\n", 1_760_000_000_000 + step * 1_000, loss(step) + jitter(step));
    steps.map(row).collect()
}

fn add_rows(project: &Project, experiment: usize, run: usize, rows: String) {
    project.append(&format!("{}/metrics/loss", folder(experiment, run)), rows);
}

/// Eight runs of an experiment, of which the fourth rests from step 60 on.
fn sweep(project: &Project, experiment: usize, runs: usize) {
    for run in 0..runs {
        begin(project, experiment, run);
        let (level, rest) = if run == 3 { (1.0, 60) } else { (1.0 + 0.02 * run as f64, 10_000) };
        add_rows(project, experiment, run, rows(0..200, level, rest));
    }
}

/// Runs that are behind, and since when; `diagnose` says the same.
fn behind(project: &Project) -> Vec<(String, i64)> {
    let sql = "select r.name, a.step, a.run_id, a.text, a.level, r.worst_level, a.key from alerts a
        join runs r on r.run_id = a.run_id where a.kind = 'behind_siblings' order by r.project, r.name";
    let workspace = project.open();
    let row = |row: serde_json::Value| {
        assert_eq!((&row["level"], &row["key"]), (&"info".into(), &"loss".into()));
        assert_ne!(row["worst_level"], serde_json::Value::Null);
        let case = shared_runtime().block_on(workspace.diagnose(&text(&row["run_id"]))).unwrap();
        let told: Vec<String> = case
            .findings
            .iter()
            .map(|finding| format!("{}; {}", finding.message(case.key(finding)), finding.advice()))
            .collect();
        assert!(told.contains(&text(&row["text"])), "{told:?} {row}");
        (text(&row["name"]), row["step"].as_i64().unwrap())
    };
    project.ask(sql).into_iter().map(row).collect()
}

#[test]
fn of_a_sweep_the_run_that_rests_is_behind_as_long_as_there_are_siblings() {
    let project = Project::in_memory();
    sweep(&project, 1, 8);
    // Too few of another project, and those of the first are none of theirs.
    sweep(&project, 2, 5);
    project.refresh();
    let told = behind(&project);
    // At step 155 it is as far above the median of the others as three of their standard deviations.
    assert!(matches!(&*told, [(name, 145..165)] if name == "r3"), "{told:?}");
    assert_eq!(project.refresh().written_files, 0);
    // One more comes as far.
    begin(&project, 2, 5);
    add_rows(&project, 2, 5, rows(0..150, 1.0, 10_000));
    project.refresh();
    assert_eq!(behind(&project).len(), 1, "it has not come as far");
    add_rows(&project, 2, 5, rows(150..210, 1.0, 10_000));
    project.refresh();
    assert_eq!(behind(&project).len(), 2);
    assert_eq!(findings(&project.open()), at_once(&project));
    (4..8).for_each(|run| fs::remove_dir_all(project.root().join(folder(1, run))).unwrap());
    project.refresh();
    assert_eq!(behind(&project).len(), 1);
    assert_eq!(findings(&project.open()), at_once(&project));
    let rules = "[thresholds.behind_siblings]\nmin_siblings = 3\n";
    project.write("runq.toml", rules);
    project.refresh();
    assert_eq!(behind(&project).len(), 2);
    project.write("runq.toml", "");
    project.refresh();
    assert_eq!(behind(&project).len(), 1);
}

#[test]
fn a_finding_of_siblings_bears_its_number_as_long_as_it_stands() {
    let project = Project::in_memory();
    for run in 0..8 {
        begin(&project, 1, run);
        add_rows(
            &project,
            1,
            run,
            rows(0..200, if run == 3 { 3.0 } else { 1.0 + 0.02 * run as f64 }, 10_000),
        );
    }
    project.refresh();
    let seqs = || project.column("select seq from alerts where kind = 'behind_siblings'");
    let baseline = || project.column("select baseline from alerts where kind = 'behind_siblings'");
    let (first, before) = (seqs(), baseline());
    // One sibling more, and with it another median.
    add_rows(&project, 1, 0, rows(200..320, 0.5, 10_000));
    begin(&project, 1, 8);
    add_rows(&project, 1, 8, rows(0..200, 1.0, 10_000));
    project.refresh();
    assert_eq!((first.len(), seqs()), (1, first));
    assert_ne!(baseline(), before);
}

/// A project's database as Trackio makes it: a run a row of `configs`.
fn trackio(project: &Project) -> Connection {
    fs::create_dir_all(project.root().join("trackio")).unwrap();
    let connection = Connection::open(project.root().join("trackio/lm.db")).unwrap();
    let schema = "
        create table metrics (id integer primary key autoincrement, run_id text not null, timestamp text,
            run_name text, step integer, metrics text, log_id text);
        create table system_metrics (id integer primary key autoincrement, run_id text not null,
            timestamp text, run_name text, metrics text);
        create table configs (id integer primary key, run_id text unique, run_name text, config text);
        create table alerts (id integer primary key, run_id text, timestamp text, run_name text, title text,
            text text, level text, step integer, alert_id text);";
    connection.execute_batch(schema).unwrap();
    connection
}

#[test]
fn runs_of_another_group_are_no_siblings() {
    let project = Project::in_memory();
    let connection = trackio(&project);
    let put_group = |run: i64, group: &str| {
        let config = format!(r#"{{"_Group": "{group}", "_Created": "2026-11-20T17:00:0{run}+00:00"}}"#);
        let sql = "insert or replace into configs (run_id, run_name, config) values (?1, ?1, ?2)";
        connection.execute(sql, params![format!("r{run}"), config]).unwrap();
    };
    let begun = connection.unchecked_transaction().unwrap();
    for run in 0..8 {
        put_group(run, if run < 4 { "a" } else { "b" });
        for step in 0..200_i64 {
            let loss = 1.0
                + 0.02 * run as f64
                + 2.0 / (1.0 + step.min(if run == 3 { 60 } else { 200 }) as f64 / 20.0);
            let sql = "insert into metrics (run_id, timestamp, run_name, step, metrics)
                values (?1, '2026-11-20T17:52:00+00:00', ?1, ?2, ?3)";
            let row = format!("{{\"loss\": {loss}}}");
            connection.execute(sql, params![format!("r{run}"), step, row.as_bytes()]).unwrap();
        }
    }
    begun.commit().unwrap();
    project.refresh();
    assert_eq!(behind(&project), []);
    (4..8).for_each(|run| put_group(run, "a"));
    project.refresh();
    let told = behind(&project);
    assert!(matches!(&*told, [(name, _)] if name == "r3"), "{told:?}");
    put_group(3, "b");
    project.refresh();
    assert_eq!(behind(&project), []);
}

/// Stops a refresh when it has read, or told, so often.
struct Breaks(AtomicUsize);

impl Progress for Breaks {
    fn finish(&self) {
        assert!(self.0.fetch_sub(1, Relaxed) > 1, "stopped here on purpose");
    }
}

/// Runs of the experiment that changes.
const RUNS: usize = 12;

#[derive(Debug, Clone)]
enum Change {
    /// A run logs so many rows more.
    Grow(usize, i64),
    /// A run is deleted.
    Delete(usize),
    /// A run is written over by one with other values.
    Rewrite(usize, i64),
}

fn change() -> impl Strategy<Value = Change> {
    let run = 0..RUNS;
    prop_oneof![
        8 => (run.clone(), 5..120_i64).prop_map(|(run, rows)| Change::Grow(run, rows)),
        1 => run.clone().prop_map(Change::Delete),
        1 => (run, 30..200_i64).prop_map(|(run, rows)| Change::Rewrite(run, rows)),
    ]
}

fn apply(project: &Project, change: &Change, levels: &[f64], logged: &mut [i64]) {
    let (Change::Grow(run, _) | Change::Delete(run) | Change::Rewrite(run, _)) = *change;
    let log = |steps, level| {
        if !project.root().join(folder(1, run)).exists() {
            begin(project, 1, run);
        }
        add_rows(project, 1, run, rows(steps, level, if run == 0 { 50 } else { 10_000 }));
    };
    match change {
        Change::Grow(_, count) => {
            log(logged[run]..logged[run] + count, levels[run]);
            logged[run] += count;
        }
        Change::Delete(_) => {
            let _ = fs::remove_dir_all(project.root().join(folder(1, run)));
            logged[run] = 0;
        }
        Change::Rewrite(_, count) => {
            let _ = fs::remove_file(project.root().join(folder(1, run)).join("metrics/loss"));
            log(0..*count, levels[run] + 0.1);
            logged[run] = *count;
        }
    }
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn what_siblings_say_does_not_depend_on_how_they_grew(
        levels in prop::collection::vec(select(vec![1.0, 1.02, 1.04, 1.06, 1.08, 1.1, 1.2, 1.6]), RUNS),
        rounds in prop::collection::vec((prop::collection::vec(change(), 1..6), select(vec![0, 0, 1, 2])), 3..9),
    ) {
        let mut project = Project::in_memory().with_limits(small_limits());
        project.now_ms = 1_760_000_000_000;
        let mut logged = [0; RUNS];
        for run in 0..RUNS {
            apply(&project, &Change::Grow(run, 60 + 10 * run as i64), &levels, &mut logged);
        }
        project.refresh();
        for (changes, breaks_after) in &rounds {
            changes.iter().for_each(|change| apply(&project, change, &levels, &mut logged));
            if *breaks_after > 0 {
                let breaks = Breaks(AtomicUsize::new(*breaks_after));
                let _ = catch_unwind(AssertUnwindSafe(|| project.open().refresh(&breaks)));
            } else {
                project.refresh();
            }
        }
        project.refresh();
        assert_eq!(findings(&project.open()), at_once(&project));
    }
}
