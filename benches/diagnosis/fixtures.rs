//! The logs among the test data, which real trackers wrote, and what is known about them.

use super::score::Judge;
use runq_udfs::kernels::diagnosis::{Curve, Kind, Level, Role, Run};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A log below `tests/data`, what is wrong in it, and what may be reported as well.
struct Log {
    path: &'static str,
    wrong: &'static [Kind],
    may_also: &'static [Kind],
}

const fn log(path: &'static str, wrong: &'static [Kind], may_also: &'static [Kind]) -> Log {
    Log { path, wrong, may_also }
}

/// Losses that come to rest without a learning rate in the log may be called plateaus; eight points
/// or fewer may be called nothing.
const LOGS: &[Log] = &[
    log("jsonl/crash.jsonl", &[], &[]),
    log("jsonl/diverge.jsonl", &[Kind::Divergence], &[Kind::GradExplosion]),
    log("jsonl/interleaved.jsonl", &[], &[Kind::Plateau]),
    log("jsonl/long.jsonl", &[], &[Kind::Plateau]),
    log("jsonl/nan.jsonl", &[Kind::Nan], &[]),
    log("jsonl/nostep.jsonl", &[], &[Kind::Plateau]),
    log("jsonl/overfit.jsonl", &[Kind::Overfitting], &[]),
    log("jsonl/plateau.jsonl", &[Kind::Plateau], &[]),
    log("jsonl/resume.jsonl", &[], &[]),
    log("jsonl/running.jsonl", &[], &[]),
    log("exprag/repo/.exprag/runs/22f48bf8-ad49-4217-9ed4-40922dc3c58a.jsonl", &[Kind::Nan], &[]),
    log(
        "exprag/repo/.exprag/runs/282b546f-54a5-44db-8fef-42993f161f8c.jsonl",
        &[Kind::Divergence],
        &[Kind::GradExplosion],
    ),
    log("exprag/repo/.exprag/runs/2e7698d6-82bb-4fe6-8069-bb507b628cb3.jsonl", &[Kind::Plateau], &[]),
    log("exprag/repo/.exprag/runs/3e3c502d-f85a-4384-b640-13f5fc629096.jsonl", &[], &[Kind::Plateau]),
    log("exprag/repo/.exprag/runs/57536311-af96-4ba3-852f-7856b753123d.jsonl", &[], &[]),
    log("exprag/repo/.exprag/runs/86c69902-f5e9-4818-b70a-1078c79698a7.jsonl", &[], &[]),
    log("exprag/repo/.exprag/runs/bd2af34c-f196-4436-9415-f881f49a4567.jsonl", &[], &[]),
    log("exprag/repo/.exprag/runs/d34cc187-fff0-41e5-91fa-ed3b87bf6204.jsonl", &[], &[]),
    log("exprag/repo/.exprag/runs/d865c848-58f1-4b49-98f9-bd98cb9f732a.jsonl", &[Kind::Overfitting], &[]),
    log("hf_trainer/out/none_sweep2/trainer_state.json", &[], &[]),
    log("hf_trainer/out/none_sweep3/trainer_state.json", &[], &[]),
    log("hf_trainer/out/tb_clean/trainer_state.json", &[], &[]),
    log("hf_trainer/out/tb_overfit/trainer_state.json", &[Kind::Overfitting], &[]),
    log("hf_trainer/out/tb_resume/trainer_state.json", &[], &[]),
    log("keras/keras/clean/training.csv", &[], &[]),
    log("keras/keras/nan/training.csv", &[Kind::Nan], &[]),
    log("keras/keras/overfit/training.csv", &[Kind::Overfitting], &[]),
];

/// What a metric is called in these logs.
const ROLES: [(&str, Role); 7] = [
    ("loss", Role::Loss),
    ("val_loss", Role::ValLoss),
    ("eval_loss", Role::ValLoss),
    ("val_accuracy", Role::ValScore),
    ("grad_norm", Role::GradNorm),
    ("lr", Role::Lr),
    ("learning_rate", Role::Lr),
];

/// Prints a row for each judge.
pub fn print(judges: &[Judge]) {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    let logs: Vec<(&Log, Run)> =
        LOGS.iter().map(|log| (log, read(&Path::new(data).join(log.path)))).collect();
    let wrong: usize = LOGS.iter().map(|log| log.wrong.len()).sum();
    println!("| {} logs of real trackers | faults | found | false alarms |", LOGS.len());
    println!("|---|---|---|---|");
    for judge in judges {
        let (mut hits, mut alarms) = (0, Vec::new());
        for (log, run) in &logs {
            let found = (judge.diagnose)(run);
            let found: BTreeSet<Kind> = found
                .iter()
                .filter(|finding| finding.level >= Level::Warn)
                .map(|finding| finding.kind)
                .collect();
            hits += log.wrong.iter().filter(|kind| found.contains(kind)).count();
            let is_false = |kind: &&Kind| !log.wrong.contains(kind) && !log.may_also.contains(kind);
            alarms.extend(found.iter().filter(is_false).map(|kind| format!("{kind} on {}", log.path)));
        }
        println!("| {} | {wrong} | {hits} | {} |", judge.name, alarms.len());
        if std::env::var_os("RUNQ_BENCH_VERBOSE").is_some() {
            println!("\n{}\n", alarms.join(", "));
        }
    }
    println!();
}

/// Rows by step, the later one of two in the file first.
fn read(path: &Path) -> Run {
    let text = fs::read_to_string(path).unwrap();
    let rows = match path.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") => text.lines().filter_map(|line| serde_json::from_str(&worded(line)).ok()).collect(),
        Some("csv") => table(&text),
        _ => match serde_json::from_str::<Value>(&worded(&text)).unwrap()["log_history"].take() {
            Value::Array(rows) => rows,
            _ => Vec::new(),
        },
    };
    let mut curves: BTreeMap<&str, (Role, BTreeMap<i64, f64>)> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        let mut leaves = Map::new();
        flatten(row, &mut leaves);
        let step =
            leaves.get("step").or_else(|| leaves.get("epoch")).and_then(number).unwrap_or(place as f64);
        for (key, role) in &ROLES {
            if let Some(value) = leaves.get(*key).and_then(number) {
                curves.entry(key).or_insert((*role, BTreeMap::new())).1.insert(step as i64, value);
            }
        }
    }
    let curve = |(key, (role, rows)): (&str, (Role, BTreeMap<i64, f64>))| Curve {
        role,
        key: key.to_string(),
        steps: rows.keys().copied().collect(),
        values: rows.into_values().collect(),
        times_s: Vec::new(),
    };
    Run { curves: curves.into_iter().map(curve).collect(), ..Run::default() }
}

/// JSON has no word for what Python writes of numbers that are not finite.
fn worded(text: &str) -> String {
    text.replace(": NaN", ": \"nan\"").replace(":NaN", ":\"nan\"").replace(": Infinity", ": \"inf\"")
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// All numbers of a row by the last part of their name.
fn flatten(value: &Value, leaves: &mut Map<String, Value>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        flatten(value, leaves);
        if number(value).is_some() {
            leaves.insert(key.clone(), value.clone());
        }
    }
}

fn table(text: &str) -> Vec<Value> {
    let mut lines = text.lines().map(|line| line.split(','));
    let names: Vec<&str> = lines.next().into_iter().flatten().collect();
    let row = |cells: std::str::Split<'_, char>| {
        names
            .iter()
            .zip(cells)
            .map(|(name, cell)| (name.to_string(), Value::from(cell)))
            .collect::<Map<_, _>>()
    };
    lines.map(|cells| Value::Object(row(cells))).collect()
}
