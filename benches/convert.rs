//! Conversion of a whole log, and what it becomes in bytes.

use crate::logs;
use crate::measure::{
    Figures, duckdb, head, in_turn, median, once, other, python, row, row_with, runq, size_bytes,
};
use std::path::Path;
use std::process::Command;

const TIMES: usize = 5;

/// JSON lines against Polars and DuckDB, `.wandb` against W&B's own reader, tfevents against
/// TensorBoard's data server, several logs on all cores.
pub fn run(folder: &Path) {
    jsonl(&folder.join("jsonl"));
    wandb(&folder.join("wandb"));
    tfevents(&folder.join("tfevents"));
    several(&folder.join("several"));
    diagnosis(&folder.join("diagnosis"));
    sizes(&folder.join("sizes"));
}

/// A first refresh, without a cache.
pub fn cold(root: &Path) -> Figures {
    let clean = || drop(std::fs::remove_dir_all(root.join(".runq")));
    median(TIMES, clean, || runq(root, &["refresh"]))
}

fn script(program: &str, name: &str, args: [&Path; 2]) -> Command {
    let mut command = Command::new(program);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare").join(name)).args(args);
    command
}

fn jsonl(root: &Path) {
    const STEPS: u64 = 1_000_000;
    let log = root.join("run/train.jsonl");
    logs::curves(&log, 0..STEPS, STEPS);
    let size_mb = std::fs::metadata(&log).unwrap().len() as f64 / 1e6;
    head(&format!("Conversion of JSON lines: {STEPS} lines, {size_mb:.0} MB"), "runq / it");
    let ours = cold(root);
    row("runq refresh", ours, None);
    println!(
        "| (points a second of CPU) | | {:.2} M | | |",
        logs::curve_points(STEPS) as f64 / ours.cpu_ms / 1e3
    );
    let target = root.join("other.parquet");
    let against = |name: &str, figures: Figures| {
        let Figures { wall_ms, cpu_ms, peak_mib } = figures;
        println!("| {name} | {wall_ms:.1} | {cpu_ms:.1} | {peak_mib:.0} | {:.2} |", ours.cpu_ms / cpu_ms);
    };
    if let Some(python) = python("polars") {
        let work = || script(&python, "polars_convert.py", [&log, &target]);
        against("Polars", median(TIMES, || {}, work));
    }
    if let Some(duckdb) = duckdb() {
        let sql = format!(
            "copy (unpivot (from read_ndjson('{}')) on columns(* exclude (step, time)) into name key value value \
             order by key, step) to '{}' (format parquet, compression zstd)",
            log.display(),
            target.display()
        );
        let work = || {
            let mut command = Command::new(&duckdb);
            command.args(["-c", &sql]);
            command
        };
        against("DuckDB", median(TIMES, || {}, work));
    }
}

fn wandb(root: &Path) {
    const ROWS: u64 = 200_000;
    let log = root.join("run-20261120_120000-bench001/run-bench001.wandb");
    logs::wandb(&log, ROWS);
    let size_mb = std::fs::metadata(&log).unwrap().len() as f64 / 1e6;
    head(&format!("Conversion of a .wandb log: {ROWS} rows of 8 metrics, {size_mb:.0} MB"), "runq / it");
    let ours = cold(root);
    row("runq refresh", ours, None);
    if let Some(wandb) = other("RUNQ_BENCH_WANDB", "wandb", &["leet", "inspect", "--help"]) {
        let mut command = Command::new(wandb);
        command.args(["leet", "inspect", "--json"]).arg(&log).env("WANDB_ERROR_REPORTING", "false");
        let theirs = once(&mut command);
        let Figures { wall_ms, cpu_ms, peak_mib } = theirs;
        println!(
            "| wandb leet inspect --json | {wall_ms:.1} | {cpu_ms:.1} | {peak_mib:.0} | {:.3} |",
            ours.cpu_ms / cpu_ms
        );
    }
}

fn tfevents(root: &Path) {
    const SCALARS: u64 = 1_000_000;
    logs::tfevents(&root.join("run"), SCALARS);
    head(&format!("Conversion of tfevents: {SCALARS} scalars"), "runq / it");
    let ours = cold(root);
    row("runq refresh", ours, None);
    if let Some(python) = python("tensorboard_data_server") {
        let load = || {
            let output = script(&python, "tensorboard_load.py", [root, root]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.trim().parse::<f64>().unwrap() * 1e3
        };
        let mut loads: Vec<f64> = (0..TIMES).map(|_| load()).collect();
        loads.sort_by(f64::total_cmp);
        let theirs = loads[TIMES / 2];
        println!("| TensorBoard's data server | | {theirs:.1} | | {:.2} |", ours.cpu_ms / theirs);
    }
}

/// Eight logs: wall time falls with the cores.
fn several(root: &Path) {
    const STEPS: u64 = 250_000;
    for run in 0..8 {
        logs::curves(&root.join(format!("run-{run}/train.jsonl")), 0..STEPS, STEPS);
    }
    head(&format!("Conversion of 8 logs of {STEPS} lines"), "CPU / wall");
    let Figures { wall_ms, cpu_ms, peak_mib } = cold(root);
    println!("| runq refresh | {wall_ms:.1} | {cpu_ms:.1} | {peak_mib:.0} | {:.2} |", cpu_ms / wall_ms);
}

/// Runs with the diagnosis, and as many without.
const PAIRS: usize = 9;

/// What the diagnosis adds: the same logs with no metric that means anything to it.
fn diagnosis(root: &Path) {
    head("Conversion with the diagnosis, and without", "with / without");
    let one = root.join("one");
    logs::curves(&one.join("run/train.jsonl"), 0..1_000_000, 1_000_000);
    with_and_without("one log of 1,000,000 lines", &one, &logs::CURVES);
    let wandb = root.join("wandb");
    logs::wandb(&wandb.join("run-20261120_120000-bench001/run-bench001.wandb"), 200_000);
    with_and_without("one .wandb log of 200,000 rows", &wandb, &logs::MIXED);
    let many = root.join("many");
    logs::mix(&many, 1_000, 200);
    with_and_without("1,000 logs of 200 lines, 20 metrics", &many, &logs::MIXED);
    let thousand = root.join("thousand");
    logs::mix(&thousand, 100, 2_000);
    with_and_without("100 logs of 2,000 lines, 20 metrics", &thousand, &logs::MIXED);
}

fn with_and_without(name: &str, root: &Path, keys: &[&str]) {
    let roles: String = keys.iter().map(|key| format!("\"{key}\" = \"none\"\n")).collect();
    let ([without, with], ratio) = in_turn(PAIRS, |is_with| {
        let settings = if is_with { String::new() } else { format!("[roles]\n{roles}") };
        std::fs::write(root.join("runq.toml"), settings).unwrap();
        let _ = std::fs::remove_dir_all(root.join(".runq"));
        once(&mut runq(root, &["refresh"]))
    });
    row(&format!("{name}, without"), without, None);
    row_with(&format!("{name}, with"), with, Some(ratio));
}

fn sizes(root: &Path) {
    println!("\n### Size\n\n| | points | bytes a point |\n|---|---|---|");
    let shown = |name: &str, root: &Path, points: u64| {
        once(&mut runq(root, &["refresh"]));
        let stored = size_bytes(&root.join(".runq/metrics"));
        println!("| {name} | {points} | {:.2} |", stored as f64 / points as f64);
    };
    logs::mix(&root.join("mix"), 150, 1000);
    shown("20 metrics, mixed", &root.join("mix"), 150 * 1000 * 20);
    logs::noise(&root.join("noise/run/train.jsonl"), 400_000);
    shown("float64 noise", &root.join("noise"), 400_000 * 8);
}
