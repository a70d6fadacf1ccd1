//! What `diagnose` and its neighbours say of the logs of real trackers.

use crate::common::{Project, copy, data, shared_runtime};
use runq::workspace::{Case, Workspace};
use runq_udfs::kernels::diagnosis::{Kind, Level, Phase};
use std::process::Output;

fn workspace(source: &str) -> (Project, Workspace) {
    let project = Project::empty();
    copy(&data(source), project.root());
    project.refresh();
    let workspace = project.open();
    (project, workspace)
}

fn case(workspace: &Workspace, name: &str) -> Case {
    shared_runtime().block_on(async {
        let run_id = workspace.resolve_run(name).await.unwrap();
        workspace.diagnose(&run_id).await.unwrap()
    })
}

/// Warnings and errors: kind, metric, onset.
fn alarms(case: &Case) -> Vec<(Kind, String, i64)> {
    let alarms = case.findings.iter().filter(|finding| finding.level > Level::Info);
    alarms.map(|finding| (finding.kind, case.key(finding).to_owned(), finding.step)).collect()
}

#[test]
fn runs_of_wandb_are_what_was_done_to_them() {
    let (_project, workspace) = workspace("wandb");
    let of = |name| alarms(&case(&workspace, name));
    let metric = |name: &str| name.to_owned();
    assert_eq!(
        of("diverge-lr1e-2"),
        [(Kind::GradExplosion, metric("grad_norm"), 210), (Kind::Divergence, metric("train/loss"), 214)]
    );
    assert_eq!(of("overfit"), [(Kind::Overfitting, metric("val/loss"), 120)]);
    assert_eq!(of("nan-at-180"), [(Kind::Nan, metric("train/loss"), 90)]);
    let plateau = of("plateau");
    assert_eq!(plateau.len(), 1, "{plateau:?}");
    assert!(plateau[0].0 == Kind::Plateau && (60..100).contains(&plateau[0].2), "{plateau:?}");
    for healthy in ["still-running", "resumed", "epoch-axis", "crash-oom", "killed-kill"] {
        assert_eq!(of(healthy), [], "{healthy}");
    }
}

#[test]
fn the_same_in_every_source() {
    for (source, diverging) in [("trackio", "diverge"), ("dvclive", "dvclive/runs/diverge/dvclive")] {
        let (_project, workspace) = workspace(source);
        let case = case(&workspace, diverging.rsplit('/').nth(1).unwrap_or(diverging));
        let kinds: Vec<Kind> = alarms(&case).into_iter().map(|alarm| alarm.0).collect();
        assert_eq!(kinds, [Kind::GradExplosion, Kind::Divergence], "{source}");
        assert_eq!(case.transitions.last().map(|change| change.to), Some(Phase::Diverging), "{source}");
    }
}

/// Runs of all fixtures with warnings or errors: source, run, and kind, onset and metric of each. All were broken
/// on purpose, and are told as what `scenario` says in `expected.json`, but:
/// - the plateaus of `dvclive` and `exprag` are facts: too few rows lie before the decay of the learning rate to
///   be sure that the loss rested earlier;
/// - runs of `lightning` and `mmengine` that diverge end in NaN, and are told as that;
/// - `nan` is told from the first single NaN (`isolated_nan_step`) on, `overfitting` at the best point, which is the
///   validation before `val_turns_up_near_step`;
/// - plateaus begin where the loss is within 1.2 % of its last level, about 0.7 times `flat_from_step_about`.
const ALARMS: &[(&str, &str, &str)] = &[
    ("dvclive", "diverge", "grad_explosion 40 grad_norm, divergence 45 train/loss"),
    ("dvclive", "nan", "nan 17 train/loss"),
    ("dvclive", "overfit", "overfitting 21 val/loss"),
    ("exprag", "diverge", "grad_explosion 80 metrics.grad_norm, divergence 84 metrics.loss"),
    ("exprag", "overfit", "overfitting 45 metrics.val_loss"),
    ("hf_trainer", "tb_diverge", "divergence 35 train/loss"),
    ("hf_trainer", "out/tb_diverge/runs", "divergence 35 train/loss"),
    ("hf_trainer", "tb_nan", "nan 30 train/loss"),
    ("hf_trainer", "out/tb_nan/runs", "nan 30 train/loss"),
    ("hf_trainer", "tb_overfit", "overfitting 10 eval/loss"),
    ("hf_trainer", "out/tb_overfit/runs", "overfitting 10 eval/loss"),
    ("jsonl", "diverge", "grad_explosion 140 grad_norm, divergence 145 loss"),
    ("jsonl", "nan", "nan 60 loss"),
    ("jsonl", "overfit", "overfitting 80 val_loss"),
    ("jsonl", "plateau", "plateau 45 loss"),
    ("keras", "keras/nan/tb", "nan 3 train/epoch_loss"),
    ("keras", "nan", "nan 3 loss"),
    ("keras", "keras/overfit/tb", "overfitting 2 validation/epoch_loss"),
    ("keras", "overfit", "overfitting 2 val_loss"),
    ("lightning", "diverge", "nan 54 train_loss_step"),
    ("lightning", "nan", "nan 44 train_loss_step"),
    ("lightning", "logs/tb/lightning_logs/nan", "nan 44 train_loss_step"),
    ("mlflow", "overfit", "overfitting 35 val/loss"),
    ("mlflow", "nan", "nan 30 train/loss"),
    ("mlflow", "diverge", "grad_explosion 66 grad_norm, divergence 70 train/loss"),
    ("mlflow", "diverge", "grad_explosion 66 grad_norm, divergence 70 train/loss"),
    ("mlflow", "nan", "nan 30 train/loss"),
    ("mlflow", "overfit", "overfitting 35 val/loss"),
    ("mlflow", "plateau", "plateau 21 train/loss"),
    ("mmengine", "diverge", "nan 41 loss"),
    ("mmengine", "nan", "nan 41 loss"),
    ("sacred", "tiny", "grad_explosion 50 grad_norm, divergence 54 train.loss"),
    ("sacred", "tiny", "overfitting 25 val.loss"),
    ("sacred", "tiny", "plateau 17 train.loss"),
    ("sacred", "tiny", "nan 25 train.loss"),
    ("tensorboard", "runs/diverge", "grad_explosion 170 grad_norm, divergence 174 Loss/train"),
    ("tensorboard", "runs/nan", "nan 75 Loss/train"),
    ("tensorboard", "runs/overfit", "overfitting 90 Loss/val"),
    ("tensorboard", "runs/plateau", "plateau 63 Loss/train"),
    ("tensorboard", "runs/tbx/nan", "nan 75 Loss/train"),
    ("trackio", "diverge", "grad_explosion 130 grad_norm, divergence 133 train/loss"),
    ("trackio", "nan", "nan 60 train/loss"),
    ("trackio", "overfit", "overfitting 75 val/loss"),
    ("trackio", "plateau", "plateau 44 train/loss"),
    ("wandb", "nan-at-180", "nan 90 train/loss"),
    ("wandb", "diverge-lr1e-2", "grad_explosion 210 grad_norm, divergence 214 train/loss"),
    ("wandb", "overfit", "overfitting 120 val/loss"),
    ("wandb", "plateau", "plateau 78 train/loss"),
    ("wandb", "typed-values", "nan 20 train/loss"),
];

const SOURCES: [&str; 13] = [
    "dvclive",
    "exprag",
    "hf_trainer",
    "jsonl",
    "keras",
    "lightning",
    "mlflow",
    "mmengine",
    "sacred",
    "tensorboard",
    "trackio",
    "ultralytics",
    "wandb",
];

/// What is found beyond facts: a row a finding.
const FOUND: &str = "select coalesce(nullif(r.name, ''), r.path) as run, r.run_id,
        a.kind || ' ' || cast(a.step as varchar) || ' ' || a.key as alarm
    from alerts a join runs r on a.run_id = r.run_id
    where a.origin = 'detected' and a.level <> 'info'
    order by r.path, r.name, r.run_id, a.step, a.kind";

fn found(source: &str) -> Vec<(String, String)> {
    let project = Project::of(source);
    project.refresh();
    let rows = project.ask(FOUND);
    let of_runs = rows.chunk_by(|left, right| left["run_id"] == right["run_id"]);
    let told = |rows: &[serde_json::Value]| {
        let alarms: Vec<&str> = rows.iter().filter_map(|row| row["alarm"].as_str()).collect();
        (rows[0]["run"].as_str().unwrap_or_default().to_owned(), alarms.join(", "))
    };
    of_runs.map(told).collect()
}

#[test]
fn broken_runs_of_every_source_and_no_others() {
    let found: Vec<(&str, String, String)> = std::thread::scope(|scope| {
        let sources = SOURCES.map(|source| (source, scope.spawn(move || found(source))));
        let of = |(source, found): (_, std::thread::ScopedJoinHandle<'_, Vec<(String, String)>>)| {
            found.join().unwrap().into_iter().map(move |(run, alarms)| (source, run, alarms))
        };
        sources.into_iter().flat_map(of).collect()
    });
    let expected = ALARMS.iter().map(|(source, run, alarms)| (*source, run.to_string(), alarms.to_string()));
    assert_eq!(found, expected.collect::<Vec<_>>(), "{found:#?}");
}

fn runq(project: &Project, args: &[&str]) -> Output {
    let mut runq = crate::common::runq();
    runq.arg("-C").arg(project.root()).args(args).env_remove("RUNQ_CACHE").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_commands_and_their_exit_codes() {
    let (project, _workspace) = workspace("jsonl");
    let diagnosed = runq(&project, &["diagnose", "diverge", "--format", "jsonl", "--fail-on", "error"]);
    assert_eq!(diagnosed.status.code(), Some(3));
    let first = stdout(&diagnosed).lines().next().unwrap_or_default().to_owned();
    assert!(first.contains("\"kind\":\"grad_explosion\"") && first.contains("\"step\":140"), "{first}");
    let healthy = runq(&project, &["diagnose", "resume", "--format", "table", "--fail-on", "warn"]);
    assert_eq!(healthy.status.code(), Some(0), "{healthy:?}");
    assert!(stdout(&healthy).contains("resumed at step"), "{healthy:?}");
    let silent = runq(&project, &["diagnose", "clean", "--format", "table", "--fail-on", "warn"]);
    assert_eq!((silent.status.code(), stdout(&silent).lines().count()), (Some(0), 1), "{silent:?}");
    let phases = stdout(&runq(&project, &["phases", "diverge"]));
    assert!(
        phases.starts_with("step,phase_from,phase_to,reason\n") && phases.contains("DIVERGING"),
        "{phases}"
    );
    let stop = stdout(&runq(&project, &["stop", "overfit"]));
    assert!(stop.contains(",stop,"), "{stop}");
    let evidence = stdout(&runq(&project, &["diagnose", "nan", "--evidence"]));
    assert!(evidence.contains("NaN"), "{evidence}");
    let none = runq(&project, &["forecast", "diverge", "loss"]);
    assert_eq!(none.status.code(), Some(1));
}

/// A run of W&B on two GPUs, 400 of 1000 steps of 36 seconds each, whose validation loss rises since step 150.
#[test]
fn stop_tells_the_hours_and_gpu_hours_it_saves() {
    let project = Project::empty();
    let folder = "wandb/run-20260102_030405-gpus/files";
    project.write(&format!("{folder}/config.yaml"), "max_steps:\n  value: 1000\n");
    project.write(&format!("{folder}/wandb-metadata.json"), "{\"gpu_count\": 2}");
    let row = |step: i32| {
        let noise = 0.01 * f64::from(step * 7 % 5 - 2);
        let loss = 1.0 + 2.0 * (-f64::from(step) / 100.0).exp() + noise;
        let val_loss = 1.2 + 0.004 * f64::from((step - 150).abs()) + noise;
        let time = 1_700_000_000 + 36 * step;
        format!("{{\"_step\":{step},\"_timestamp\":{time},\"loss\":{loss},\"val_loss\":{val_loss}}}\n")
    };
    project.write(&format!("{folder}/wandb-history.jsonl"), (0..=400).map(row).collect::<String>());
    let stop = stdout(&runq(&project, &["stop", "gpus", "--format", "json"]));
    let answer: serde_json::Value = serde_json::from_str(&stop).unwrap();
    assert_eq!(answer[0]["advice"], "stop", "{stop}");
    assert!(answer[0]["checkpoint_step"].as_i64().is_some_and(|step| (148..=152).contains(&step)), "{stop}");
    let hours = |name: &str| answer[0][name].as_f64().unwrap_or(f64::NAN);
    assert!((hours("saved_h") - 6.0).abs() < 0.01 && (hours("saved_gpu_h") - 12.0).abs() < 0.02, "{stop}");
}

#[test]
fn thresholds_and_roles_are_set_in_runq_toml() {
    let (project, _workspace) = workspace("jsonl");
    let explained = stdout(&runq(&project, &["diagnose", "--explain", "plateau"]));
    assert!(explained.contains("[thresholds.plateau]") && explained.contains("gain"), "{explained}");
    project.write(
        "runq.toml",
        "[roles]\nloss = \"none\"\nval_loss = \"none\"\n[thresholds.grad_explosion]\nratio = 1e6\ngrowth = 1e6\n",
    );
    let diagnosed = stdout(&runq(&project, &["diagnose", "diverge", "--format", "csv"]));
    assert_eq!(diagnosed.lines().count(), 1, "{diagnosed}");
    project.write("runq.toml", "[roles]\nloss = \"lost\"\n");
    let wrong = runq(&project, &["diagnose", "diverge"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("no role \"lost\""), "{wrong:?}");
    project.write("runq.toml", "[thresholds.plateau]\ngains = 1\n");
    assert!(!runq(&project, &["runs"]).status.success());
}

#[test]
fn eta_and_forecast_of_a_run_that_goes_on() {
    let project = Project::empty();
    let mut log = "{\"config\": {\"max_steps\": 1000}}\n".to_owned();
    for step in 1..=400 {
        let (loss, time) = (2.0 + 3.0 / f64::from(step).sqrt(), 1_760_000_000.0 + 0.5 * f64::from(step));
        log.push_str(&format!("{{\"step\": {step}, \"loss\": {loss}, \"time\": {time}}}\n"));
    }
    project.write("run/train.jsonl", &log);
    project.write("run/config.json", "{\"max_steps\": 1000}");
    project.refresh();
    let case = case(&project.open(), "@latest");
    assert_eq!(case.run.facts.planned_steps, Some(1000));
    let left = case.eta.unwrap().left.unwrap();
    assert!((left.eta_s - 300.0).abs() < 1.0 && left.low_s < 300.0 && 300.0 < left.high_s, "{left:?}");
    let forecast = case.forecast("loss").unwrap();
    assert!((forecast.point / 2.095 - 1.0).abs() < 0.06, "{forecast:?}");
    assert_eq!(case.stop, None);
}

/// A log of Trackio in which one of two accelerators of 40 GiB fills up.
fn leaking() -> Project {
    let project = Project::empty();
    std::fs::create_dir_all(project.root().join("trackio")).unwrap();
    let connection = rusqlite::Connection::open(project.root().join("trackio/lm.db")).unwrap();
    let schema = "
        create table metrics (id integer primary key autoincrement, run_id text not null, timestamp text,
            run_name text, step integer, metrics text);
        create table system_metrics (id integer primary key autoincrement, run_id text not null,
            timestamp text, run_name text, metrics text);
        begin;";
    connection.execute_batch(schema).unwrap();
    for step in 0..300_u32 {
        let used = 20.0 + 0.07 * f64::from(step.saturating_sub(40)) + 0.01 * f64::from(7 * step % 5);
        let metrics = format!(
            r#"{{"gpu/0/allocated_memory": 11.5, "gpu/1/allocated_memory": {used}, "gpu/1/total_memory": 40}}"#
        );
        let sql =
            "insert into system_metrics (run_id, timestamp, run_name, metrics) values ('a', ?1, 'a', ?2)";
        let time = format!("2026-11-20T17:{:02}:{:02}+00:00", step / 60, step % 60);
        connection.execute(sql, rusqlite::params![time, metrics.as_bytes()]).unwrap();
    }
    let row = "insert into metrics (run_id, timestamp, run_name, step, metrics) values ('a', '2026-11-20T17:00:00+00:00', 'a', 0, '{\"loss\": 1}'); commit;";
    connection.execute_batch(row).unwrap();
    drop(connection);
    project.refresh();
    project
}

#[test]
fn memory_is_held_against_what_there_is() {
    let project = leaking();
    let case = case(&project.open(), "a");
    assert_eq!((case.run.facts.gpu_count, case.run.facts.memory_capacity), (Some(2), Some(40.0)));
    let stored =
        project.column("select kind from alerts where origin = 'detected' and level <> 'info' order by kind");
    let mut told: Vec<String> = alarms(&case).into_iter().map(|alarm| alarm.0.to_string()).collect();
    told.sort();
    assert_eq!(stored, told);
    assert!(told.contains(&"memory_leak".to_owned()) && told.contains(&"oom_risk".to_owned()), "{told:?}");
}
