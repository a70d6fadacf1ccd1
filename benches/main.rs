//! What the main job costs: one log of a million steps converted, then asked.
//!
//! `cargo bench` runs everything; `cargo bench -- 100000` with another number of steps. Every figure
//! is of a whole process (this program calls itself), the median of several runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use runq::workspace::{Options, Quiet, Workspace};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const FIELDS: usize = 8;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["child", what, root] => child(what, Path::new(root)),
        [] => all(1_000_000),
        [steps] => all(steps.parse().expect("a number of steps")),
        _ => panic!("cargo bench -- [STEPS]"),
    }
}

fn all(steps: u64) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("run/train.jsonl");
    write_log(&log, steps);
    let log_bytes = std::fs::metadata(&log).unwrap().len();
    let points = steps * (FIELDS as u64 - 1) + steps.div_ceil(100);
    println!("log: {steps} lines of {FIELDS} fields, {:.1} MB, {points} points\n", log_bytes as f64 / 1e6);
    println!("{:<34}{:>10}{:>10}{:>12}", "", "wall ms", "CPU ms", "peak MiB");
    let clean = || drop(std::fs::remove_dir_all(folder.path().join(".runq")));
    let convert = measure("convert", 3, folder.path(), clean);
    report("convert (cold cache)", &convert);
    let stored = size_of(&folder.path().join(".runq/metrics"));
    let nothing = measure("refresh", 5, folder.path(), || {});
    report("refresh, nothing new", &nothing);
    let best = measure("best", 5, folder.path(), || {});
    report("best val_loss (warm, with refresh)", &best);
    let history = measure("history", 5, folder.path(), || {});
    report("history -k loss -n 500 (same)", &history);
    let raw = measure("scan", 3, folder.path(), || {});
    report("reading the log without a cache", &raw);
    println!();
    println!("conversion: {:.2} M points/s of CPU", points as f64 / convert.cpu_ms / 1e3);
    println!("size: {:.2} bytes a point ({:.1} MB)", stored as f64 / points as f64, stored as f64 / 1e6);
    println!("history against reading the log: {:.1} x less CPU", raw.cpu_ms / history.cpu_ms);
    kernels();
}

#[derive(Clone, Copy)]
struct Figures {
    wall_ms: f64,
    cpu_ms: f64,
    peak_mib: f64,
}

fn report(name: &str, figures: &Figures) {
    println!("{name:<34}{:>10.1}{:>10.1}{:>12.0}", figures.wall_ms, figures.cpu_ms, figures.peak_mib);
}

/// Median of several child processes by CPU time.
fn measure(what: &str, times: usize, root: &Path, before: impl Fn()) -> Figures {
    let mut runs: Vec<Figures> = (0..times)
        .map(|_| {
            before();
            let started = Instant::now();
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["child", what])
                .arg(root)
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let wall_ms = started.elapsed().as_secs_f64() * 1e3;
            let text = String::from_utf8(output.stdout).unwrap();
            let mut numbers = text.split_whitespace().map(|word| word.parse::<f64>().unwrap());
            Figures { wall_ms, cpu_ms: numbers.next().unwrap(), peak_mib: numbers.next().unwrap() }
        })
        .collect();
    runs.sort_by(|a, b| a.cpu_ms.total_cmp(&b.cpu_ms));
    runs[runs.len() / 2]
}

/// One measured piece of work; prints CPU milliseconds and peak MiB of this process.
fn child(what: &str, root: &Path) {
    if what == "scan" {
        scan(&root.join("run/train.jsonl"));
    } else {
        let workspace =
            Workspace::open(Options { root: Some(root.to_path_buf()), ..Options::default() }).unwrap();
        workspace.refresh(&Quiet).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_stack_size(16 << 20)
            .enable_all()
            .build()
            .unwrap();
        let sql = match what {
            "best" => {
                "select r.run_id, s.best, s.best_step from summary s join runs r using (run_id) where s.key = 'val_loss' order by s.best limit 10"
            }
            "history" => "select * from history('@latest', 'loss', 500)",
            _ => "",
        };
        if !sql.is_empty() {
            runtime.block_on(async {
                use futures::TryStreamExt;
                let rows: Vec<_> = workspace.sql(sql).await.unwrap().stream.try_collect().await.unwrap();
                assert!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>() > 0);
            });
        }
    }
    println!("{} {}", cpu_ms(), peak_mib());
}

/// What a script without a cache does for every question: parse the whole log.
fn scan(log: &Path) {
    use std::io::BufRead;
    let reader = std::io::BufReader::new(std::fs::File::open(log).unwrap());
    let mut best = f64::INFINITY;
    for line in reader.lines() {
        let row: BTreeMap<String, f64> = serde_json::from_str(&line.unwrap()).unwrap();
        best = best.min(row.get("loss").copied().unwrap_or(f64::INFINITY));
    }
    assert!(best.is_finite());
}

/// Fields 14 and 15 of /proc/self/stat, in ticks of 10 ms; finer from schedstat where there is one.
fn cpu_ms() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let live: f64 = tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .sum::<f64>()
        / 1e6;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    live.max(ticks * 10.0 - 10.0)
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    entries
        .map(
            |entry| {
                if entry.path().is_dir() { size_of(&entry.path()) } else { entry.metadata().unwrap().len() }
            },
        )
        .sum()
}

/// Curves as training makes them: decay, noise, spikes, a cosine schedule, times with jitter.
fn write_log(path: &Path, steps: u64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut time = 1_760_000_000.0;
    let mut line = String::new();
    for step in 0..steps {
        let progress = step as f64 / steps as f64;
        let spike = if random.next() < 1e-5 { 3.0 } else { 0.0 };
        let loss = 1.2 + 3.0 / (1.0 + 40.0 * progress).sqrt() + 0.05 * (random.next() - 0.5) + spike;
        let grad_norm = 0.8 + random.next() * 0.4 + spike;
        let lr = 3e-4 * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        time += 0.25 + 0.01 * random.next();
        line.clear();
        write!(line, "{{\"step\": {step}, \"loss\": {loss}, \"grad_norm\": {grad_norm}, \"lr\": {lr}, \"tokens_per_s\": {:.1}, \"gpu_mem\": {}, \"epoch\": {:.4}, \"acc\": {:.4}, \"time\": {time:.3}", 5e4 + 1e3 * random.next(), 21_474_836_480_u64, progress * 3.0, 0.9 - 0.5 * loss / 4.2).unwrap();
        if step % 100 == 0 {
            write!(line, ", \"val_loss\": {}", loss + 0.1).unwrap();
        }
        line.push_str("}\n");
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// SplitMix64 (Steele et al. 2014), in [0, 1).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    }
}

/// Kernels on slices, one core.
fn kernels() {
    use runq_udfs::kernels;
    let n = 5_000_000;
    let mut random = Random(7);
    let steps: Vec<f64> = (0..n).map(f64::from).collect();
    let values: Vec<f64> = (0..n).map(|i| 4.0 / f64::from(i + 1).sqrt() + random.next() * 0.1).collect();
    println!("\nkernels over {n} points, M points/s");
    let speed = |name: &str, work: &dyn Fn() -> usize| {
        let mut seconds: Vec<f64> = (0..5)
            .map(|_| {
                let started = Instant::now();
                assert!(std::hint::black_box(work()) > 0);
                started.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        println!("  {name:<16}{:>8.0}", f64::from(n) / seconds[2] / 1e6);
    };
    speed("lttb", &|| kernels::lttb::lttb(&steps, &values, 1_000).len());
    speed("minmax_lttb", &|| kernels::minmax::minmax_lttb(&steps, &values, 1_000).len());
}
