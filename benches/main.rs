//! What runq costs, side by side with its neighbours in one run.
//!
//! `cargo bench` runs everything; `cargo bench -- convert cold` just these parts. Every figure is of
//! a whole process, started anew, the median of at least 5 runs by CPU time. Neighbours are compared
//! with where they are installed; `benches/README.md` says which, and holds the figures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod convert;
mod fresh;
mod growth;
mod logs;
mod measure;
mod questions;

use logs::Random;
use std::time::Instant;

const PARTS: [&str; 5] = ["convert", "questions", "fresh", "growth", "kernels"];

/// Points of the largest log of the table of growth: 10 to this power.
const LARGEST: u32 = 8;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some(unknown) = asked.iter().find(|part| !PARTS.contains(&part.as_str())) {
        println!("no part \"{unknown}\"; there are {}", PARTS.join(", "));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for part in PARTS.iter().filter(|part| asked.is_empty() || asked.iter().any(|asked| asked == *part)) {
        match *part {
            "convert" => convert::run(folder.path()),
            "questions" => questions::run(folder.path()),
            "fresh" => fresh::run(folder.path()),
            "growth" => growth::run(folder.path(), LARGEST),
            _ => kernels(),
        }
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
