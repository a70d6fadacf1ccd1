//! How cost grows with the number of points.

use crate::logs;
use crate::measure::{once, runq, warm};
use std::path::Path;

/// A table over logs of 10^5 to `10^largest` points.
pub fn run(folder: &Path, largest: u32) {
    println!("\n### Growth: one log of 8 fields, CPU ms of whole processes\n");
    println!("| points | log MB | convert | peak MiB | refresh | best | curve of 500 rows | full scan |");
    println!("|---|---|---|---|---|---|---|---|");
    for exponent in 5..=largest {
        let root = folder.join(format!("growth-{exponent}"));
        let points = 10_u64.pow(exponent);
        let log = root.join("run/train.jsonl");
        logs::curves(&log, 0..points / 7, points / 7);
        let size_mb = std::fs::metadata(&log).unwrap().len() as f64 / 1e6;
        let convert = once(&mut runq(&root, &["refresh"]));
        let ask = |words: &[&str]| warm(5, || runq(&root, words)).cpu_ms;
        println!(
            "| 10^{exponent} | {size_mb:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} |",
            convert.cpu_ms,
            convert.peak_mib,
            ask(&["refresh"]),
            ask(&["best", "val_loss"]),
            ask(&["history", "-k", "loss", "-n", "500"]),
            ask(&["sql", "select key, count(*), avg(value) from metrics group by key"]),
        );
        std::fs::remove_dir_all(&root).unwrap();
    }
}
