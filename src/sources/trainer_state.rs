//! `trainer_state.json` of the Hugging Face Trainer, and so of TRL, axolotl and LLaMA-Factory: the
//! whole history of a training, written with each checkpoint and once at the end. The one that got
//! furthest holds all the others hold. A folder that was used again holds checkpoints of another
//! training besides: their history begins with another row. They are a run of their own.
//!
//! Keys are named as the Trainer itself names them for TensorBoard and W&B: `eval_loss` is
//! `eval/loss`, `loss` is `train/loss` (`transformers.integrations.rewrite_logs`).

use super::find::judge;
use super::parse::json::{Json, flatten};
use super::parse::words::split;
use super::parse::{axis, document};
use super::{InputKind, Log, LogFile, Resume, RunLogs, Sink, Source, Verdict};
use crate::records::{End, Point, RunFacts, Text};
use std::collections::BTreeMap;

/// Name of the file.
const FILE: &str = "trainer_state.json";

/// Settings of the Trainer among the fields beside the history.
const CONFIG_KEYS: &[&str] =
    &["eval_steps", "logging_steps", "num_train_epochs", "save_steps", "train_batch_size"];

/// Reader of `trainer_state.json`.
pub struct TrainerState;

impl Source for TrainerState {
    fn name(&self) -> &'static str {
        "hf_trainer"
    }

    fn may_claim(&self, path: &str) -> bool {
        split(path).1 == FILE
    }

    fn sniff(&self, _: &str, head: &[u8]) -> Verdict {
        let text = String::from_utf8_lossy(head);
        match () {
            () if text.trim().is_empty() => Verdict::TooEarly,
            () if text.contains("\"log_history\"") || text.contains("\"global_step\"") => {
                let step = global_step(&text).unwrap_or_default();
                Verdict::Log { marks: format!("{step} {}", first_row(&text).unwrap_or_default()) }
            }
            () => judge::other("no state of a Trainer"),
        }
    }

    /// A run is a folder for output; the states of its checkpoints begin the one that got furthest. Of
    /// several trainings the folder is that of the state outside of the checkpoints, which is written at
    /// the end, or else of the one that got furthest.
    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        let mut outputs: BTreeMap<&str, Vec<&LogFile>> = BTreeMap::new();
        for file in files {
            outputs.entry(output_of(&file.path)).or_default().push(file);
        }
        outputs.into_iter().flat_map(|(output, files)| trainings(output, &files)).collect()
    }

    fn read(&self, log: &mut Log<'_>, _: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        document::object(log, sink, &mut |state, sink| read_state(&state, sink))
    }
}

/// The runs of a folder for output.
fn trainings(output: &str, files: &[&LogFile]) -> Vec<RunLogs> {
    let own = files.iter().max_by_key(|file| (checkpoint(split(&file.path).0).is_none(), progress(file)));
    let own = own.and_then(|file| beginning(file));
    let mut furthest: BTreeMap<&str, &LogFile> = BTreeMap::new();
    for file in files {
        // A state without rows yet is that of the training at hand.
        let beginning = beginning(file).filter(|beginning| own.is_some_and(|own| own != *beginning));
        let known = furthest.entry(beginning.unwrap_or_default()).or_insert(file);
        if progress(file) > progress(known) {
            *known = file;
        }
    }
    let runs = furthest.into_iter().map(|(beginning, file)| match beginning {
        "" => run(output, file),
        other => earlier_run(output, other, file),
    });
    runs.collect()
}

/// What the history of a state begins with, as its marks tell.
fn beginning(file: &LogFile) -> Option<&str> {
    file.marks.split(' ').nth(1).filter(|hash| !hash.is_empty())
}

/// Hash of the first row of the history, as it is written.
fn first_row(text: &str) -> Option<String> {
    let (_, history) = text.split_once("\"log_history\"")?;
    let (row, _) = history.split_once('{')?.1.split_once('}')?;
    let row: String = row.split_whitespace().collect();
    Some(format!("{:016x}", axis::hash_of(row.as_bytes())))
}

/// The folder that checkpoints lie in.
fn output_of(path: &str) -> &str {
    let folder = split(path).0;
    match checkpoint(folder) {
        Some(_) => split(folder).0,
        None => folder,
    }
}

/// The step of a folder `checkpoint-500`.
fn checkpoint(folder: &str) -> Option<i64> {
    split(folder).1.strip_prefix("checkpoint-")?.parse().ok()
}

/// The step a state got to; where two got as far, the one outside of the checkpoints is the later one.
fn progress(file: &LogFile) -> (i64, bool) {
    let number = checkpoint(split(&file.path).0);
    let told = file.marks.split(' ').next().and_then(|step| step.parse().ok()).unwrap_or_default();
    (number.unwrap_or_default().max(told), number.is_none())
}

fn global_step(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once("\"global_step\":")?;
    let digits = rest.trim_start();
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn run(output: &str, file: &LogFile) -> RunLogs {
    let name = Some(split(output).1.to_string()).filter(|name| !name.is_empty());
    let path = if output.is_empty() { file.path.clone() } else { output.to_string() };
    let identity = output.to_string();
    RunLogs { identity, name, path, ..RunLogs::of_file(&file.path, InputKind::Snapshot) }
}

/// A training whose folder was used again: it goes by the checkpoint that is left of it.
fn earlier_run(output: &str, beginning: &str, file: &LogFile) -> RunLogs {
    let folder = split(&file.path).0;
    let name = [split(output).1, split(folder).1].map(str::to_string);
    let name = Some(name.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/"));
    let (identity, path) = (format!("{output}\n{beginning}"), folder.to_string());
    RunLogs { identity, name, path, ..RunLogs::of_file(&file.path, InputKind::Snapshot) }
}

fn read_state(state: &Json<'_>, sink: &mut dyn Sink) {
    let number = |key: &str| state.get(key).and_then(axis::step_of);
    let rows = match state.get("log_history") {
        Some(Json::Array(rows)) => rows.as_slice(),
        _ => &[],
    };
    let planned_steps = number("max_steps").filter(|steps| *steps > 0);
    let is_done = planned_steps.is_some_and(|planned| number("global_step") >= Some(planned));
    let is_over = is_done || rows.iter().any(|row| row.get("train_runtime").is_some());
    let end = is_over.then_some(End::Finished);
    sink.facts(RunFacts { planned_steps, end, ..RunFacts::default() });
    for key in CONFIG_KEYS {
        if let Some(value) = state.get(key).filter(|value| **value != Json::Null) {
            sink.config(key, value.to_config());
        }
    }
    if let Some(params @ Json::Object(_)) = state.get("trial_params") {
        flatten("", params, &mut |key, value| sink.config(key, value.to_config()));
    }
    rows.iter().for_each(|row| read_row(row, sink));
}

fn read_row(row: &Json<'_>, sink: &mut dyn Sink) {
    let Some(step) = row.get("step").and_then(axis::step_of) else { return };
    let Json::Object(fields) = row else { return };
    for (name, value) in fields.iter().filter(|(name, _)| name != "step") {
        flatten(&metric_name(name), value, &mut |key, value| match (value.as_metric(), value) {
            (Some(value), _) => sink.point(Point { key, step, value, time: None }),
            (None, Json::String(text)) => {
                let (key, text) = (key.to_string(), text.to_string());
                sink.text(Text { key, step: Some(step), time: None, text });
            }
            _ => {}
        });
    }
}

/// The name the Trainer gives a metric for other trackers.
pub fn metric_name(name: &str) -> String {
    let of_split = |split: &str| {
        let rest = name.strip_prefix(split)?.strip_prefix('_')?;
        Some(format!("{split}/{rest}"))
    };
    of_split("eval").or_else(|| of_split("test")).unwrap_or_else(|| format!("train/{name}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::testing::{Memory, discover, file, read_run, read_whole, samples};

    #[test]
    fn the_furthest_state_counts() {
        let files = [
            file("a/checkpoint-1000/trainer_state.json", 9, ""),
            file("a/checkpoint-500/trainer_state.json", 9, "500"),
            file("a/trainer_state.json", 9, "700"),
            file("b/checkpoint-60/trainer_state.json", 9, "60"),
            file("b/trainer_state.json", 9, "60"),
            file("trainer_state.json", 9, "3"),
        ];
        let runs = TrainerState.group(&files);
        let taken: Vec<_> = runs.iter().map(|run| (&*run.identity, &*run.inputs[0].path)).collect();
        assert_eq!(
            taken,
            [
                ("", "trainer_state.json"),
                ("a", "a/checkpoint-1000/trainer_state.json"),
                ("b", "b/trainer_state.json")
            ]
        );
        assert_eq!((runs[0].name.as_deref(), runs[1].name.as_deref()), (None, Some("a")));
    }

    #[test]
    fn checkpoints_of_another_training_are_a_run_of_their_own() {
        let state = |step: i64, loss: f64| {
            format!(
                "{{\"global_step\": {step},\n \"log_history\": [\n {{\"loss\": {loss},\n \"step\": 10}}]}}"
            )
        };
        let made = [
            ("out/checkpoint-100/trainer_state.json", state(100, 2.9)),
            ("out/checkpoint-300/trainer_state.json", state(300, 7.9)),
            ("out/trainer_state.json", state(100, 2.9)),
        ];
        let file = |(path, text): &(&str, String)| match TrainerState.sniff(path, text.as_bytes()) {
            Verdict::Log { marks } => file(path, 9, &marks),
            other => panic!("{other:?}"),
        };
        let taken = |files: &[LogFile]| -> Vec<(Option<String>, String)> {
            let runs = TrainerState.group(files).into_iter();
            runs.map(|run| (run.name, run.inputs[0].path.clone())).collect()
        };
        let files: Vec<LogFile> = made.iter().map(file).collect();
        let named = |name: &str, path: &str| (Some(name.to_string()), path.to_string());
        let earlier = named("out/checkpoint-300", "out/checkpoint-300/trainer_state.json");
        assert_eq!(taken(&files), [named("out", "out/trainer_state.json"), earlier]);
        // One training that was not finished yet.
        assert_eq!(taken(&files[1..2]), [named("out", "out/checkpoint-300/trainer_state.json")]);
    }

    #[test]
    fn names_as_the_trainer_reports_them() {
        for (name, reported) in [
            ("loss", "train/loss"),
            ("eval_loss", "eval/loss"),
            ("eval_squad_f1", "eval/squad_f1"),
            ("test_acc", "test/acc"),
            ("evaluation", "train/evaluation"),
            ("rewards/accuracies", "train/rewards/accuracies"),
        ] {
            assert_eq!(metric_name(name), reported);
        }
    }

    #[test]
    fn nan_words_and_nothing_else_are_numbers() {
        let text = r#"{"global_step": 2, "max_steps": 9, "log_history": [
            {"loss": NaN, "step": 1}, {"loss": "Infinity", "note": "ok", "step": 2}, {"loss": 1}, 7]}"#;
        let sink = read_whole(&TrainerState, ("a/trainer_state.json", ""), text.as_bytes());
        assert_eq!(sink.steps("train/loss"), [1, 2]);
        assert_eq!((sink.texts.len(), sink.facts.end, sink.facts.planned_steps), (1, None, Some(9)));
    }

    /// Rows before the cut are kept, whatever stands behind them.
    #[test]
    fn cut_and_flipped_anywhere() {
        let root = samples("hf_trainer");
        let path = "out/none_sweep0/checkpoint-20/trainer_state.json";
        let bytes = std::fs::read(root.join(path)).unwrap();
        let whole = read_whole(&TrainerState, (path, ""), &bytes);
        let rows_before = |at: usize| {
            let text = String::from_utf8_lossy(&bytes[..at]).into_owned();
            text.matches("\"loss\"").count().saturating_sub(1)
        };
        for at in 0..bytes.len() {
            let cut = read_whole(&TrainerState, (path, ""), &bytes[..at]);
            assert_eq!(cut.problems.is_empty(), at + 2 > bytes.len(), "cut at {at}");
            assert!(cut.steps("train/loss").len() >= rows_before(at), "cut at {at}");
            assert!(whole.points.starts_with(&cut.points), "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x15;
            let sink: Memory = read_whole(&TrainerState, (path, ""), &flipped);
            assert!(sink.steps("train/loss").len() >= rows_before(at), "flipped at {at}");
        }
    }

    #[test]
    fn a_run_is_a_folder_for_output() {
        let root = samples("hf_trainer");
        let runs = discover(&TrainerState, &root);
        let run = runs.iter().find(|run| run.identity == "out/tb_clean").unwrap();
        let sink = read_run(&TrainerState, &root, run);
        assert_eq!(sink.facts.end, Some(End::Finished));
        assert_eq!(sink.line("train/train_loss"), [(60, 2.747546867529551)]);
    }
}
