//! What a whole process costs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use wait4::Wait4;

/// Cost of a process and of those it waited for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// From start to end.
    pub wall_ms: f64,
    /// User and system time of all threads.
    pub cpu_ms: f64,
    /// Largest resident set.
    pub peak_mib: f64,
}

/// This project's program.
pub const RUNQ: &str = env!("CARGO_BIN_EXE_runq");

/// `runq -C root words...`
pub fn runq(root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(RUNQ);
    // Whoever runs the benchmark, all of the answer is measured.
    command.arg("-C").arg(root).arg("--no-agent").args(words);
    command
}

/// Runs a program once; what it prints is not kept.
pub fn once(command: &mut Command) -> Figures {
    let started = Instant::now();
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let ended = quiet.spawn().unwrap().wait4().unwrap();
    assert!(ended.status.success(), "{command:?} failed");
    Figures {
        wall_ms: started.elapsed().as_secs_f64() * 1e3,
        cpu_ms: (ended.rusage.utime + ended.rusage.stime).as_secs_f64() * 1e3,
        peak_mib: ended.rusage.maxrss as f64 / (1 << 20) as f64,
    }
}

/// Median by CPU time of several runs, each after `before`.
pub fn median(times: usize, before: impl Fn(), command: impl Fn() -> Command) -> Figures {
    let mut figures: Vec<Figures> = (0..times)
        .map(|_| {
            before();
            once(&mut command())
        })
        .collect();
    middle(&mut figures)
}

fn middle(figures: &mut [Figures]) -> Figures {
    figures.sort_by(|a, b| a.cpu_ms.total_cmp(&b.cpu_ms));
    figures[figures.len() / 2]
}

/// Medians of two kinds of runs that are made in turn, and the median of the ratios of CPU time of each pair:
/// the speed of a shared machine changes while it is measured.
pub fn in_turn(pairs: usize, run: impl Fn(bool) -> Figures) -> ([Figures; 2], f64) {
    let (mut one, mut other): (Vec<Figures>, Vec<Figures>) =
        (0..pairs).map(|_| (run(false), run(true))).unzip();
    let mut ratios: Vec<f64> = one.iter().zip(&other).map(|(one, other)| other.cpu_ms / one.cpu_ms).collect();
    ratios.sort_by(f64::total_cmp);
    ([middle(&mut one), middle(&mut other)], ratios[pairs / 2])
}

/// Median of several runs with nothing between them.
pub fn warm(times: usize, command: impl Fn() -> Command) -> Figures {
    once(&mut command());
    median(times, || {}, command)
}

/// A row of a Markdown table: what, wall, CPU, peak, and how many times the CPU of `other` it took.
pub fn row(name: &str, figures: Figures, other: Option<Figures>) {
    row_with(name, figures, other.map(|other| figures.cpu_ms / other.cpu_ms));
}

/// The same with a ratio.
pub fn row_with(name: &str, figures: Figures, ratio: Option<f64>) {
    let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
    let Figures { wall_ms, cpu_ms, peak_mib } = figures;
    println!("| {name} | {wall_ms:.1} | {cpu_ms:.1} | {peak_mib:.0} | {ratio} |");
}

/// The head of such a table.
pub fn head(title: &str, ratio: &str) {
    println!("\n### {title}\n\n| | wall ms | CPU ms | peak MiB | {ratio} |\n|---|---|---|---|---|");
}

/// Bytes of all files in a folder and below.
pub fn size_bytes(folder: &Path) -> u64 {
    let files =
        walkdir::WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    files.map(|entry| entry.metadata().unwrap().len()).sum()
}

/// A program of another project, named by an environment variable or found on the path; `None`,
/// with a line that says so, where it cannot be started.
pub fn other(variable: &str, default: &str, probe: &[&str]) -> Option<String> {
    let program = std::env::var(variable).unwrap_or_else(|_| default.to_string());
    let started = Command::new(&program).args(probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = started.is_ok_and(|status| status.success());
    if !is_there {
        println!("\n({program} {} does not run: set {variable} to compare with it)", probe.join(" "));
    }
    is_there.then_some(program)
}

/// The DuckDB command line.
pub fn duckdb() -> Option<String> {
    other("RUNQ_BENCH_DUCKDB", "duckdb", &["-version"])
}

/// A Python with a module.
pub fn python(module: &str) -> Option<String> {
    other("RUNQ_BENCH_PYTHON", "python3", &["-c", &format!("import {module}")])
}
