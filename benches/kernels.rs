//! The kernels of the functions on slices, on one core, and the functions in SQL.
//!
//! Each with the limit it is held to. `RUNQ_BENCH_PYTHON` (by default `python3`) runs
//! `compare/tsdownsample.py` on such a curve, for the sampling.

use crate::measure::python;
use crate::random::Random;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use runq_udfs::kernels::curve::Slices;
use runq_udfs::kernels::spike::SpikeDetector;
use runq_udfs::kernels::{ema, lttb, minmax, sparkline};
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

/// Points of the curve.
const POINTS: usize = 10_000_000;
/// Points for what works on each at length.
const FEWER: usize = 1_000_000;
/// Points a sample keeps.
const SAMPLE: usize = 1_000;
/// Rows of a batch, as a scan gives them.
const BATCH: usize = 8_192;
/// Runs of which the median counts.
const TIMES: usize = 7;

/// Most that sampling may take, in times of what tsdownsample takes.
const RATIO_LIMIT: f64 = 1.5;

/// Measures all of it and prints three tables.
pub fn run() {
    let curve = Curve::new(POINTS);
    println!("\n### Kernels\n\n| one core, on slices | M points | CPU ms | M points/s | at least |");
    println!("|---|---|---|---|---|");
    on_slices(&curve);
    sampling(&curve);
    in_sql(&curve);
}

/// A loss as training makes it: decay, noise, seldom a spike.
struct Curve {
    steps: Vec<f64>,
    values: Vec<f64>,
}

impl Curve {
    fn new(points: usize) -> Self {
        let mut random = Random(7);
        let loss = |index: usize| {
            let progress = index as f64 / points as f64;
            let spike = if random.next() < 1e-5 { 3.0 } else { 0.0 };
            1.2 + 3.0 / (1.0 + 40.0 * progress).sqrt() + 0.05 * (random.next() - 0.5) + spike
        };
        Self {
            steps: (0..points).map(|index| index as f64).collect(),
            values: (0..points).map(loss).collect(),
        }
    }
}

/// Median of several runs of what measures itself.
fn median(mut work: impl FnMut() -> f64) -> f64 {
    let mut runs: Vec<f64> = (0..TIMES).map(|_| work()).collect();
    runs.sort_by(f64::total_cmp);
    runs[TIMES / 2]
}

/// Milliseconds of CPU: what else the machine does then counts less.
fn median_ms<T>(mut work: impl FnMut() -> T) -> f64 {
    median(|| {
        let before = process_cpu_ms();
        black_box(work());
        process_cpu_ms() - before
    })
}

/// A row: how many points a second, and how many it should be at least, in millions.
fn speed<T>(name: &str, points: usize, at_least: f64, work: impl FnMut() -> T) {
    let ms = median_ms(work);
    let (millions, per_second) = (points / 1_000_000, points as f64 / ms / 1e3);
    println!("| `{name}` | {millions} | {ms:.1} | {per_second:.1} | {at_least} |");
}

fn on_slices(Curve { values, .. }: &Curve) {
    let mut smooth = vec![0.0; values.len()];
    speed("ema", POINTS, 200.0, || ema::ema_into(values, 0.1, &mut smooth));
    speed("sparkline", POINTS, 50.0, || sparkline::sparkline(&values[..], 12));
    let values = &values[..FEWER];
    speed("loss_spike", FEWER, 8.0, || {
        let mut detector = SpikeDetector::new();
        values.iter().zip(0..).map(|(&value, step)| detector.push(step, value).len()).sum::<usize>()
    });
    speed("spike_score", FEWER, 1.0, || {
        let mut detector = SpikeDetector::new();
        let scores = values.iter().zip(0..).map(|(&value, step)| {
            let score = detector.score(value);
            detector.push(step, value);
            score
        });
        scores.flatten().fold(0.0, f64::max)
    });
}

/// `lttb` and `minmax_lttb` beside the Python package `tsdownsample`, where there is a Python that
/// has it.
fn sampling(Curve { steps, values }: &Curve) {
    let curve = Slices::new(steps, values);
    let ours = [
        ("lttb", median_ms(|| lttb::lttb(&curve, SAMPLE))),
        ("minmax_lttb", median_ms(|| minmax::minmax_lttb(&curve, SAMPLE))),
    ];
    let theirs = python("tsdownsample").map(|python| tsdownsample_ms(&python)).unwrap_or_default();
    let millions = POINTS / 1_000_000;
    println!("\n| {millions} M points to {SAMPLE} | CPU ms | tsdownsample CPU ms | ratio | at most |");
    println!("|---|---|---|---|---|");
    for (index, (name, ms)) in ours.into_iter().enumerate() {
        let beside = theirs.get(index).map(|theirs| format!("{theirs:.1} | {:.2}", ms / theirs));
        println!("| `{name}` | {ms:.1} | {} | {RATIO_LIMIT} |", beside.unwrap_or("| ".to_owned()));
    }
}

/// Milliseconds of both by `tsdownsample`.
fn tsdownsample_ms(python: &str) -> Vec<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/tsdownsample.py");
    let args = [script.to_owned(), POINTS.to_string(), SAMPLE.to_string(), TIMES.to_string()];
    let output = Command::new(python).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

/// CPU of whole queries over a table in memory, planning included.
fn in_sql(curve: &Curve) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let ctx = SessionContext::new();
    runq_udfs::register_all(&ctx);
    ctx.register_table("curve", Arc::new(table(curve))).unwrap();
    println!("\n| SQL, {} M points in memory | wall ms | CPU ms | at most |", POINTS / 1_000_000);
    println!("|---|---|---|---|");
    for (call, at_most) in [
        ("lttb(step, value, 1000)", "150"),
        ("lttb(x, value, 1000)", "150"),
        ("minmax_lttb(step, value, 1000)", ""),
        ("sparkline(step, value)", ""),
        ("ema(value, 0.1) over (order by step)", ""),
        ("loss_spike(step, value)", ""),
        ("spike_score(value) over (order by step)", ""),
    ] {
        query(&runtime, &ctx, call, at_most);
    }
}

fn query(runtime: &tokio::runtime::Runtime, ctx: &SessionContext, call: &str, at_most: &str) {
    let sql = format!("select {call} from curve");
    let mut wall_ms = Vec::new();
    let cpu_ms = median(|| {
        let (started, before) = (Instant::now(), process_cpu_ms());
        let rows = runtime.block_on(async { ctx.sql(&sql).await.unwrap().collect().await.unwrap() });
        black_box(rows);
        wall_ms.push(started.elapsed().as_secs_f64() * 1e3);
        process_cpu_ms() - before
    });
    wall_ms.sort_by(f64::total_cmp);
    println!("| `{call}` | {:.0} | {cpu_ms:.0} | {at_most} |", wall_ms[TIMES / 2]);
}

/// User and system time of all threads of this process so far.
fn process_cpu_ms() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e3
}

/// The curve as batches: `step` bigint, `x` the same as double, `value` double.
fn table(Curve { steps, values }: &Curve) -> MemTable {
    let batches: Vec<RecordBatch> = steps
        .chunks(BATCH)
        .zip(values.chunks(BATCH))
        .map(|(steps, values)| {
            let columns = [
                (
                    "step",
                    Arc::new(Int64Array::from_iter_values(steps.iter().map(|&step| step as i64))) as ArrayRef,
                ),
                ("x", Arc::new(Float64Array::from_iter_values(steps.iter().copied()))),
                ("value", Arc::new(Float64Array::from_iter_values(values.iter().copied()))),
            ];
            RecordBatch::try_from_iter(columns).unwrap()
        })
        .collect();
    MemTable::try_new(batches[0].schema(), vec![batches]).unwrap()
}
