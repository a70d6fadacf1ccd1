//! How well runs are diagnosed: a labelled set that no rule was made for, and its scores.
//!
//! `cargo bench -- diagnosis` prints the tables. Each seed is one run; every second one is healthy.
//! `RUNQ_BENCH_SEEDS=tuning` takes other seeds than [`UNSEEN`]: rules are tuned on [`TUNING`] only;
//! `RUNQ_BENCH_SEEDS=2800..5600` takes any.
//! `RUNQ_BENCH_DUMP=17` prints the run of a seed as JSON lines instead, its labels on stderr.

mod curves;
mod faults;
mod fixtures;
mod jobs;
mod oddities;
mod ours;
mod plain;
mod policies;
mod score;
mod truth;

use crate::random::Random;
use curves::{Course, Family};
use faults::Label;
use runq_udfs::kernels::diagnosis::{Kind, Role, Run};
use std::collections::BTreeMap;
use std::ops::Range;

/// Seeds that rules may be tuned on.
pub const TUNING: Range<u64> = 0..11_200;

/// Seeds that no rule was ever tuned on: these decide.
pub const UNSEEN: Range<u64> = 1_000_000..1_002_800;

/// A run and what is known about it because it was made so.
pub struct Labelled {
    /// The number it was made from.
    pub seed: u64,
    /// What is trained.
    pub family: Family,
    /// The log.
    pub run: Run,
    /// The log if nobody had stopped the run before its planned end.
    pub full: Run,
    /// The step at which it is to end, whether the log says so or not.
    pub planned: i64,
    /// What went wrong; empty for a healthy run.
    pub truth: Vec<Label>,
    /// Kinds nobody can decide on for this run.
    pub undecided: Vec<Kind>,
    /// The noise-free metric that the run is for, the lower the better, for each row of `full`;
    /// empty where there is none.
    pub goal: Vec<f64>,
    /// Steps of `goal`.
    pub goal_steps: Vec<i64>,
    /// Seconds without downtime since the start, for each row of `full`.
    pub active_s: Vec<f64>,
}

impl Labelled {
    /// Whether nothing went wrong.
    pub fn is_healthy(&self) -> bool {
        self.truth.is_empty()
    }
}

/// The run of a seed. Every second one is healthy, the others have the fourteen kinds in turn.
pub fn labelled(seed: u64) -> Labelled {
    let wanted = (seed % 2 == 1).then(|| Kind::ALL[(seed / 2 % 14) as usize]);
    let mut random = Random(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0x5bd1_e995);
    let mut last = None;
    // Runs that nobody can decide on are left out as long as that can be helped.
    for _ in 0..60 {
        match attempt(wanted, seed, &mut random) {
            Some((true, made)) => return made,
            made => last = made.map(|(_, made)| made).or(last),
        }
    }
    last.expect("one of many tries works")
}

/// Makes a run, and says whether it is to be kept; none where the fault would not be seen, or another
/// one came with it.
fn attempt(wanted: Option<Kind>, seed: u64, random: &mut Random) -> Option<(bool, Labelled)> {
    let mut course = jobs::job(wanted, random);
    oddities::add(&mut course, wanted, random);
    let rows = course.logged_rows;
    let truth = match wanted {
        Some(kind) => faults::inject(kind, &mut course, rows, random),
        None => Vec::new(),
    };
    let undecided = truth::undecided(&course, &truth);
    if (wanted.is_some() && truth.is_empty()) || !truth::is_all(&course, &truth) {
        return None;
    }
    // Where rest or rise lies in the nature of a run, more of its kind would be no clearer.
    let by_nature = course.family == Family::Gan
        || course.tracks.iter().any(|track| track.key == "loss_penalty")
        || (truth::restart(&course, rows).is_some() && random.chance(0.5));
    Some((undecided.is_empty() || by_nature, finish(course, rows, seed, truth, undecided)))
}

fn finish(course: Course, rows: usize, seed: u64, truth: Vec<Label>, undecided: Vec<Kind>) -> Labelled {
    let goal =
        |role: Role| course.tracks.iter().find(|track| track.role == role).map(|track| track.clean.clone());
    let reward = || goal(Role::Reward).map(|reward| reward.iter().map(|reward| -reward).collect());
    let goal = match course.family {
        Family::Gan => None,
        Family::Rl => reward(),
        _ => goal(Role::ValLoss).or_else(|| goal(Role::Loss)),
    };
    Labelled {
        seed,
        family: course.family,
        run: course.log(rows),
        full: course.log(course.rows()),
        planned: course.planned,
        truth,
        undecided,
        goal: goal.unwrap_or_default(),
        active_s: course.active_s(),
        goal_steps: course.steps,
    }
}

/// Prints the tables, or one run.
pub fn run() {
    if let Some(seed) = std::env::var("RUNQ_BENCH_DUMP").ok().and_then(|seed| seed.parse().ok()) {
        dump(&labelled(seed));
        return;
    }
    let asked = std::env::var("RUNQ_BENCH_SEEDS").ok();
    let seeds = asked.as_deref().and_then(parse_seeds).unwrap_or(UNSEEN);
    score::print(&seeds);
}

fn parse_seeds(text: &str) -> Option<Range<u64>> {
    if text == "tuning" {
        return Some(TUNING);
    }
    let (start, end) = text.split_once("..")?;
    Some(start.parse().ok()?..end.parse().ok()?)
}

/// A run as JSON lines on stdout, what is known of it on stderr.
#[allow(clippy::print_stderr)]
fn dump(made: &Labelled) {
    let mut rows: BTreeMap<i64, serde_json::Map<String, serde_json::Value>> = BTreeMap::new();
    for curve in &made.run.curves {
        for (place, (step, value)) in curve.steps.iter().zip(&curve.values).enumerate() {
            let row = rows.entry(*step).or_default();
            row.insert("step".to_string(), (*step).into());
            if let Some(time) = curve.times_s.get(place) {
                row.insert("_timestamp".to_string(), (1.76e9 + time).into());
            }
            let finite = serde_json::Number::from_f64(*value).map(serde_json::Value::Number);
            row.insert(curve.key.clone(), finite.unwrap_or_else(|| value.to_string().into()));
        }
    }
    for row in rows.into_values() {
        println!("{}", serde_json::Value::Object(row));
    }
    eprintln!("seed {} {:?}, undecided {:?}", made.seed, made.family, made.undecided);
    eprintln!("planned {:?}, capacity {:?}", made.run.facts.planned_steps, made.run.facts.memory_capacity);
    made.truth.iter().for_each(|label| eprintln!("{label:?}"));
}
