//! Cold start and freshness: what the look for changes costs in each command.

use crate::logs;
use crate::measure::{Figures, head, median, once, row, runq, size_bytes, warm};
use std::path::Path;
use std::time::{Duration, Instant};

const TIMES: usize = 9;

/// All of them.
pub fn run(folder: &Path) {
    cold_start(folder);
    one_large_log(&folder.join("large"));
    many_live_logs(&folder.join("live"));
}

fn cold_start(folder: &Path) {
    head("Cold start: whole processes, run folders as W&B writes them", "");
    for runs in [1_000, 10_000] {
        let root = folder.join(format!("wandb-{runs}"));
        logs::wandb_runs(&root, runs, 10);
        row(&format!("first refresh, {runs} runs"), once(&mut runq(&root, &["refresh"])), None);
        // A folder written a moment ago is listed again: its time may stay while it changes.
        std::thread::sleep(Duration::from_secs(3));
        once(&mut runq(&root, &["refresh"]));
        row(&format!("refresh, nothing new, {runs} runs"), warm(TIMES, || runq(&root, &["refresh"])), None);
        row(&format!("best val_loss, {runs} runs"), warm(TIMES, || runq(&root, &["best", "val_loss"])), None);
    }
    row("runq --help", warm(TIMES, || runq(folder, &["--help"])), None);
}

fn one_large_log(root: &Path) {
    const STEPS: u64 = 9_500_000;
    let log = root.join("run/train.jsonl");
    logs::curves(&log, 0..STEPS, STEPS);
    let size_mb = std::fs::metadata(&log).unwrap().len() as f64 / 1e6;
    head(&format!("One log of {size_mb:.0} MB that grows"), "");
    row("first refresh", once(&mut runq(root, &["refresh"])), None);
    row("refresh, nothing new", warm(TIMES, || runq(root, &["refresh"])), None);
    let steps = std::cell::Cell::new(STEPS);
    let grow = || {
        logs::curves(&log, steps.get()..steps.get() + 1000, STEPS);
        steps.set(steps.get() + 1000);
    };
    row("refresh after 1,000 lines", median(TIMES, grow, || runq(root, &["refresh"])), None);
}

/// 200 logs grow by one line each before each of 120 refreshes.
fn many_live_logs(root: &Path) {
    const LOGS: usize = 200;
    const ROUNDS: u64 = 120;
    let log = |i: usize| root.join(format!("run-{i:03}/train.jsonl"));
    (0..LOGS).for_each(|i| logs::curves(&log(i), 0..1000, 2000));
    once(&mut runq(root, &["refresh"]));
    let (mut refreshes, mut files) = (Vec::new(), 0);
    let started = Instant::now();
    for round in 0..ROUNDS {
        (0..LOGS).for_each(|i| logs::curves(&log(i), 1000 + round..1001 + round, 2000));
        refreshes.push(once(&mut runq(root, &["refresh"])));
        files = files.max(counting_files(root));
        std::thread::sleep(
            Duration::from_millis(1000).saturating_sub(started.elapsed() / (round + 1) as u32),
        );
    }
    head(&format!("{LOGS} live logs, {ROUNDS} rounds of one new line each"), "live / compacted");
    refreshes.sort_by(|a, b| a.cpu_ms.total_cmp(&b.cpu_ms));
    row("refresh, median", refreshes[refreshes.len() / 2], None);
    row("refresh, slowest", refreshes[refreshes.len() - 1], None);
    let sql = "select key, count(*), avg(value) from metrics group by key";
    let one =
        "select run_id, last_value(value order by step) from metrics where key = 'loss' group by run_id";
    let ask = |root: &Path, sql: &str| -> Figures {
        let root = root.to_path_buf();
        warm(TIMES, || runq(&root, &["--no-refresh", "sql", "--format", "csv", sql]))
    };
    let live = [ask(root, sql), ask(root, one)];
    std::fs::remove_dir_all(root.join(".runq")).unwrap();
    once(&mut runq(root, &["refresh"]));
    let compacted = [ask(root, sql), ask(root, one)];
    row("all points by key", live[0], Some(compacted[0]));
    row("last value per run", live[1], Some(compacted[1]));
    println!(
        "\nMetrics files that count: at most {files}; {} bytes in all after a new conversion.",
        size_bytes(root)
    );
}

fn counting_files(root: &Path) -> usize {
    let output = runq(root, &["--no-refresh", "files", "metrics", "--format", "csv"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().count().saturating_sub(1)
}
