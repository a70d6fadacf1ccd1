//! What runq costs, side by side with its neighbours in one run, and how well it diagnoses runs.
//!
//! `cargo bench` runs everything; `cargo bench -- convert fresh` just these parts. Every figure but
//! the functions' and the diagnosis' is of a whole process, started anew, the median of at least 5
//! runs by CPU time. Neighbours are compared with where they are installed; `benches/README.md` says
//! which, and holds the figures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod convert;
mod diagnosis;
mod fresh;
mod growth;
mod kernels;
mod logs;
mod measure;
mod questions;
mod random;

const PARTS: [&str; 6] = ["convert", "questions", "fresh", "growth", "kernels", "diagnosis"];

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
            "kernels" => kernels::run(),
            _ => diagnosis::run(),
        }
    }
}
