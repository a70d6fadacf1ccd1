//! A project folder as people have it: logs of ten and more formats side by side.

use crate::common::{Project, copy, data};
use std::process::Stdio;

/// Where in `tests/data` a log lies, and where in the project it is put.
const LOGS: &[(&str, &str)] = &[
    (
        "wandb/tiny-lm/wandb/offline-run-20261120_175110-pubcrash1",
        "wandb/offline-run-20261120_175110-pubcrash1",
    ),
    ("tensorboard/runs/long", "runs/long"),
    ("trackio/store_live", "trackio"),
    ("mlflow/filestore/mlruns", "mlruns"),
    ("exprag/repo", "."),
    ("dvclive/runs/overfit", "dvc/overfit"),
    ("sacred/runs", "sacred"),
    ("mmengine/work_dirs/tb", "work_dirs/tb"),
    ("hf_trainer/out/tb_clean", "out/clean"),
    ("hf_trainer/out/wandb_clean", "out/reported"),
    ("lightning/logs/csv/lightning_logs/clean", "lightning_logs"),
    ("keras/keras/clean", "keras"),
    ("ultralytics/runs/detect", "runs/detect"),
];

pub fn project() -> Project {
    let project = Project::empty();
    for (from, to) in LOGS {
        let to = project.root().join(to);
        std::fs::create_dir_all(&to).unwrap();
        copy(&data(from), &to);
    }
    for (from, to) in
        [("jsonl/nanogpt_stdout.log", "nanogpt/train.log"), ("jsonl/nested.jsonl", "sweep/nested.jsonl")]
    {
        project.write(to, std::fs::read(data(from)).unwrap());
    }
    project
}

#[test]
fn every_training_is_listed_once_without_any_option() {
    let project = project();
    let runq = || {
        let mut command = crate::common::runq();
        command.current_dir(project.root()).env_remove("RUNQ_CACHE").stdin(Stdio::null());
        command
    };
    let listed = runq().arg("runs").output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let trainings = [
        ("console", 1),
        ("csv", 5),
        ("dvclive", 1),
        ("exprag", 19),
        ("hf_trainer", 1),
        ("jsonl", 1),
        ("mlflow", 15),
        ("mmengine", 1),
        ("sacred", 13),
        ("tensorboard", 2),
        ("trackio", 1),
        ("wandb", 2),
    ];
    let shown = project
        .ask("select source, count(*) as n from runs where duplicate_of is null group by 1 order by 1");
    let shown: Vec<_> =
        shown.iter().map(|row| (row["source"].as_str().unwrap(), row["n"].as_i64().unwrap())).collect();
    assert_eq!(shown, trainings);
    assert_eq!(listed.lines().count() as i64, 1 + trainings.iter().map(|(_, count)| count).sum::<i64>());
    let twice = project.ask(
        "select d.source as format, r.source as shown, r.path from runs d join runs r on d.duplicate_of = r.run_id order by 3",
    );
    let twice: Vec<String> = twice.iter().map(|row| row.to_string()).collect();
    assert_eq!(
        twice,
        [
            r#"{"format":"tensorboard","shown":"csv","path":"keras/training.csv"}"#,
            r#"{"format":"tensorboard","shown":"hf_trainer","path":"out/clean"}"#,
            r#"{"format":"hf_trainer","shown":"wandb","path":"out/reported/wandb/offline-run-20261120_183351-oosdypft"}"#,
            r#"{"format":"tensorboard","shown":"mmengine","path":"work_dirs/tb"}"#,
        ]
    );
}
