//! What is found in a run does not depend on how its log was read: in one piece or in a thousand, with
//! what was kept in between or without.

use crate::common::{Project, ask, cases, copy, findings, small_limits};
use proptest::prelude::*;
use proptest::sample::select;
use runq::ingest::Quiet;
use runq::store::Limits;
use std::fmt::Write;

/// What happens in a stretch of a training.
#[derive(Debug, Clone, Copy)]
enum Event {
    Calm,
    Spike,
    Rise,
    Rest,
    NotFinite,
    Slow,
    NoValidation,
}

/// A stretch of rows; it begins some rows before the end of the one before, as a resumed training does.
#[derive(Debug, Clone)]
struct Stretch {
    event: Event,
    rows: i64,
    back: i64,
}

fn stretches() -> impl Strategy<Value = Vec<Stretch>> {
    let event = select(vec![
        Event::Calm,
        Event::Calm,
        Event::Spike,
        Event::Rise,
        Event::Rest,
        Event::NotFinite,
        Event::Slow,
        Event::NoValidation,
    ]);
    let back = prop_oneof![4 => Just(0_i64), 1 => 1..12_i64];
    let stretch = (event, 5..90_i64, back).prop_map(|(event, rows, back)| Stretch { event, rows, back });
    prop::collection::vec(stretch, 1..8)
}

/// The log of a training, a row a line.
fn log(stretches: &[Stretch], seed: u64) -> Vec<String> {
    let (mut lines, mut next, mut clock) = (vec![header(stretches)], 0_i64, 1_760_000_000.0);
    let mut loss = 4.0;
    for stretch in stretches {
        let from = (next - stretch.back).max(1);
        for step in from..from + stretch.rows {
            let place = step - from;
            let noise = ((step as u64).wrapping_mul(seed | 1).wrapping_mul(0x9E37_79B9) >> 20 & 0xfff) as f64;
            let noise = noise / 4096.0 - 0.5;
            let (mut value, mut norm) = (loss * (1.0 + 0.02 * noise), 1.0 + 0.1 * noise);
            match stretch.event {
                Event::Spike if place % 40 == 30 => (value, norm) = (value * 3.0, 40.0),
                Event::Rise => loss *= 1.03,
                Event::Rest => {}
                _ => loss *= 0.995,
            }
            let is_lost = matches!(stretch.event, Event::NotFinite) && place > 3;
            clock += if matches!(stretch.event, Event::Slow) { 4.0 } else { 1.5 };
            lines.push(line(step, clock, if is_lost { f64::NAN } else { value }, norm));
            if step % 5 == 0 && !matches!(stretch.event, Event::NoValidation) {
                let _ =
                    write!(lines.last_mut().unwrap(), "\n{{\"step\": {step}, \"val_loss\": {}}}", loss * 1.1);
            }
        }
        next = from + stretch.rows;
    }
    lines
}

/// The planned length, which the run may exceed.
fn header(stretches: &[Stretch]) -> String {
    let rows: i64 = stretches.iter().map(|stretch| stretch.rows).sum();
    format!("{{\"config\": {{\"max_steps\": {}}}}}", if rows % 3 == 0 { rows / 2 } else { rows * 2 })
}

fn line(step: i64, clock: f64, loss: f64, norm: f64) -> String {
    let loss = if loss.is_nan() { "NaN".to_string() } else { loss.to_string() };
    let lr = 1e-3 * (1.0 - step as f64 / 2_000.0);
    format!(
        "{{\"step\": {step}, \"time\": {clock}, \"loss\": {loss}, \"grad_norm\": {norm}, \"lr\": {lr}, \"other\": {step}}}"
    )
}

/// From those under which every run keeps its state, to those under which none does.
fn limits() -> impl Strategy<Value = Limits> {
    let limits = |kept_watch_points, remembered_points, reread_points, flush_points| Limits {
        kept_watch_points,
        remembered_points,
        reread_points,
        flush_points,
        ..small_limits()
    };
    select(vec![
        limits(1, 0, 50, 100),
        limits(300, 400, 1_000_000, 10_000),
        limits(u64::MAX, u64::MAX, 1, 700),
        limits(u64::MAX, 1_000, 1_000_000, 200),
    ])
}

/// What is said of the same log read at once, with the limits in use.
pub fn at_once(grown: &Project) -> String {
    let mut fresh = Project::in_memory().with_limits(Limits::default());
    fresh.now_ms = grown.now_ms;
    copy(grown.root(), fresh.root());
    std::fs::remove_dir_all(fresh.root().join(".runq")).unwrap();
    fresh.refresh();
    findings(&fresh.open())
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn findings_do_not_depend_on_the_pieces_a_log_was_read_in(
        runs in prop::collection::vec((stretches(), any::<u64>()), 1..4),
        pieces in prop::collection::vec((1..60_usize, any::<bool>()), 1..12),
        limits in limits(),
    ) {
        let mut grown = Project::in_memory().with_limits(limits);
        // The logs are young: what is kept of them is used.
        grown.now_ms = 1_760_000_000_000;
        let logs: Vec<Vec<String>> = runs.iter().map(|(stretches, seed)| log(stretches, *seed)).collect();
        // Which remembers what it saw; others come between.
        let staying = grown.open();
        let mut at = 0;
        for (piece, is_staying) in pieces.iter().cycle() {
            if logs.iter().all(|lines| at >= lines.len()) {
                break;
            }
            for (run, lines) in logs.iter().enumerate() {
                let text: String =
                    lines.iter().skip(at).take(*piece).map(|line| format!("{line}\n")).collect();
                grown.append(&format!("run{run}/train.jsonl"), text);
            }
            at += piece;
            match is_staying {
                true => staying.refresh(&Quiet).unwrap(),
                false => grown.refresh(),
            };
        }
        assert_eq!(findings(&grown.open()), at_once(&grown));
    }
}

#[test]
fn the_tables_hold_what_diagnose_says() {
    for source in ["jsonl", "wandb", "trackio"] {
        let project = Project::of(source);
        project.refresh();
        let workspace = project.open();
        for run_id in project.column("select run_id from runs order by run_id") {
            let case = crate::common::shared_runtime().block_on(workspace.diagnose(&run_id)).unwrap();
            let told: Vec<String> = case
                .findings
                .iter()
                .map(|finding| format!("{}; {}", finding.message(case.key(finding)), finding.advice()))
                .collect();
            let sql = format!(
                "select text from alerts where run_id = '{run_id}' and origin = 'detected' order by step, kind, text"
            );
            let mut sorted = told.clone();
            sorted.sort();
            let mut stored = project.column(&sql);
            stored.sort();
            assert_eq!(stored, sorted, "{source} {run_id}");
            let phases: Vec<String> = case.transitions.iter().map(|change| change.to.to_string()).collect();
            let sql = format!("select phase_to from phases where run_id = '{run_id}' order by step");
            assert_eq!(project.column(&sql), phases, "{source} {run_id}");
            let row =
                &project.ask(&format!("select phase, worst_level from runs where run_id = '{run_id}'"))[0];
            assert_eq!(row["phase"].as_str(), phases.last().map(String::as_str), "{source} {run_id}");
            let worst = case.findings.iter().map(|finding| finding.level).max();
            assert_eq!(row["worst_level"].as_str(), worst.map(|level| level.as_str()), "{source} {run_id}");
        }
    }
}

#[test]
fn other_thresholds_have_all_runs_judged_anew() {
    let project = Project::of("jsonl");
    project.refresh();
    let count = || project.column("select count(*) from alerts where kind = 'divergence'");
    assert_ne!(count(), ["0"]);
    project.write("runq.toml", "[thresholds.divergence]\nmin_rows = 1e9\n\n[roles]\nloss = \"none\"\n");
    let outcome = project.refresh();
    assert_eq!((outcome.read_bytes, outcome.point_count), (0, 0), "logs are not read again");
    assert_eq!(count(), ["0"]);
    assert_eq!(project.column("select count(*) from alerts where key = 'loss'"), ["0"]);
    project.write("runq.toml", "");
    project.refresh();
    assert_ne!(count(), ["0"]);
    assert!(!findings(&project.open()).is_empty());
}

#[test]
fn a_finding_bears_its_number_as_long_as_it_stands() {
    let project = Project::empty();
    let rows = |from: i64, to: i64| -> String {
        let loss =
            |step: i64| if step == 150 { 9.0 } else { 3.0 - step as f64 * 1e-3 + (step % 7) as f64 * 1e-2 };
        (from..to).map(|step| format!("{{\"step\": {step}, \"loss\": {}}}\n", loss(step))).collect()
    };
    let seqs = || project.column("select seq from alerts where kind = 'loss_spike'");
    project.append("run/train.jsonl", rows(0, 200));
    project.refresh();
    let first = seqs();
    assert_eq!(first.len(), 1, "{:?}", ask(&project.open(), "select * from alerts"));
    project.append("run/train.jsonl", rows(200, 260));
    project.refresh();
    assert_eq!(seqs(), first);
}
