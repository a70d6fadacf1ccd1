//! Questions to a warm cache, against DuckDB on one sorted Parquet file of the same points.

use crate::logs;
use crate::measure::{RUNQ, duckdb, head, once, row, runq, warm};
use std::path::{Path, PathBuf};
use std::process::Command;

const TIMES: usize = 7;

/// What is asked: its name, runq's statement, DuckDB's.
const QUESTIONS: [(&str, &str, &str); 6] = [
    (
        "one run's curve",
        "select step, value from metrics where run_id = '{run}' and key = 'train/loss' order by step",
        "",
    ),
    (
        "last value per run (summary)",
        "select run_id, last from summary where key = 'train/loss' order by run_id",
        "select run_id, arg_max(value, step) from metrics where key = 'train/loss' group by run_id order by run_id",
    ),
    (
        "best value per run (summary)",
        "select run_id, min, min_step from summary where key = 'train/loss' order by run_id",
        "select run_id, min(value), arg_min(step, value) from metrics where key = 'train/loss' group by run_id
         order by run_id",
    ),
    (
        "last value per run (points)",
        "select run_id, last_value(value order by step) from metrics where key = 'train/loss' group by run_id
         order by run_id",
        "select run_id, arg_max(value, step) from metrics where key = 'train/loss' group by run_id order by run_id",
    ),
    (
        "one key over all runs",
        "select run_id, count(*), avg(value), max(value) from metrics where key = 'train/loss' group by run_id
         order by run_id",
        "",
    ),
    (
        "all points by key",
        "select key, count(*), avg(value), max(value) from metrics group by key order by key",
        "",
    ),
];

/// Both shapes: many short runs, and fewer longer ones.
pub fn run(folder: &Path) {
    for (runs, steps) in [(10_000, 100), (1_000, 1_000)] {
        let root = folder.join(format!("mix-{runs}-{steps}"));
        if !root.exists() {
            logs::mix(&root, runs, steps);
        }
        head(&format!("Questions over {runs} runs x {steps} steps x 20 metrics"), "runq / DuckDB");
        row("first refresh", once(&mut runq(&root, &["refresh"])), None);
        let sorted = duckdb().map(|duckdb| (sorted_file(&root, &duckdb), duckdb));
        let ids =
            Command::new(RUNQ).args(["-C"]).arg(&root).args(["runs", "-n", "1", "--format", "csv"]).output();
        let ids = String::from_utf8(ids.unwrap().stdout).unwrap();
        let id = ids.lines().nth(1).unwrap().split(',').next().unwrap().to_string();
        for (name, ours, theirs) in QUESTIONS {
            let ours = ours.replace("{run}", &id);
            let theirs = if theirs.is_empty() { ours.clone() } else { theirs.to_string() };
            let baseline = sorted.as_ref().map(|(file, duckdb)| {
                let view = format!("create view metrics as from '{}'; {theirs}", file.display());
                warm(TIMES, || {
                    let mut command = Command::new(duckdb);
                    command.args(["-csv", "-c", &view]);
                    command
                })
            });
            let figures = warm(TIMES, || runq(&root, &["--no-refresh", "sql", "--format", "csv", &ours]));
            row(&format!("{name}: runq"), figures, baseline);
            if let Some(baseline) = baseline {
                row(&format!("{name}: DuckDB"), baseline, None);
            }
        }
    }
}

/// One Parquet file of all points in the order of the cache, written by DuckDB with zstd.
fn sorted_file(root: &Path, duckdb: &str) -> PathBuf {
    let file = root.join("sorted.parquet");
    if !file.exists() {
        let views = Command::new(RUNQ).arg("-C").arg(root).args(["files", "--duckdb"]).output().unwrap();
        let sql = format!(
            "{}; copy (select run_id, key, step, value, time from metrics order by key, run_id, step) to '{}'
             (format parquet, compression zstd)",
            String::from_utf8(views.stdout).unwrap(),
            file.display()
        );
        let mut command = Command::new(duckdb);
        once(command.args(["-c", &sql]));
    }
    file
}
