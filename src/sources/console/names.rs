//! Words of printed lines: those that say which split a row is of, those that count, and those of
//! sentences.

use crate::sources::parse::axis;
use std::borrow::Cow;

/// Words that name a split, as the first part of a metric's name says it.
const SPLITS: &[(&str, &str)] = &[
    ("train", "train"),
    ("training", "train"),
    ("val", "val"),
    ("validating", "val"),
    ("valid", "valid"),
    ("validation", "validation"),
    ("eval", "eval"),
    ("evaluating", "eval"),
    ("evaluation", "eval"),
    ("test", "test"),
    ("testing", "test"),
    ("dev", "dev"),
];

/// Words that may stand behind one: `Validation Results`, `Test set`.
const SPLIT_ENDS: &[&str] = &[
    "result",
    "results",
    "set",
    "error",
    "errors",
    "metrics",
    "stats",
    "statistics",
    "summary",
    "phase",
    "split",
    "data",
    "dataset",
    "performance",
    "report",
    "step",
    "epoch",
    "loop",
    "dataloader",
    "ds",
];

/// Words that count training, as the last word of a name, and what they mean.
const STEP_WORDS: &[(&str, &str)] = &[
    ("step", "step"),
    ("steps", "steps"),
    ("iter", "iter"),
    ("iters", "iter"),
    ("iteration", "iteration"),
    ("it", "it"),
    ("global_step", "global_step"),
    ("batch", "batch"),
    ("update", "update"),
    ("episode", "iter"),
    ("epoch", "epoch"),
    ("ep", "epoch"),
];

/// Words that may stand before them.
const STEP_LABELS: &[&str] = &[
    "global",
    "current",
    "completed",
    "finished",
    "done",
    "end",
    "of",
    "start",
    "starting",
    "beginning",
    "running",
    "optimizer",
];

/// Words of lines that tell what is done with a model: what follows is said of another step.
const VERBS: &[&str] = &[
    "restoring",
    "restored",
    "restore",
    "loading",
    "loaded",
    "reloading",
    "reloaded",
    "saving",
    "saved",
    "resuming",
    "resumed",
    "resume",
    "stopping",
    "stopped",
    "improve",
    "improved",
    "reached",
];

/// Words that join others and name nothing.
const JOINTS: &[&str] = &[
    "to", "of", "from", "at", "in", "after", "for", "since", "until", "by", "with", "than", "and", "@", "is",
];

/// Numbers that are no metrics.
const NOT_METRICS: &[&str] =
    &["v_num", "eta", "elapsed", "remaining", "pid", "port", "line", "seed", "rank", "took", "epochs"];

/// Endings of source files: `train.py:88` is where a line was printed.
const CODE: &[&str] = &["py", "cpp", "cc", "cu", "c", "h", "go", "rs", "jl"];

/// The split that a word names.
pub fn split_of(word: &str) -> Option<&'static str> {
    let word = word.trim_end_matches('.');
    let is_word = |known: &&(&str, &str)| known.0.eq_ignore_ascii_case(word);
    SPLITS.iter().find(is_word).map(|(_, split)| *split)
}

/// The split that words without a number name: `Validation Results`, not `training complete`.
pub fn split_of_words(words: &str) -> Option<&'static str> {
    let mut rest = words.split_whitespace();
    let split = split_of(rest.next()?)?;
    let is_end = |word: &str| SPLIT_ENDS.iter().any(|known| known.eq_ignore_ascii_case(word));
    (rest.clone().count() <= 2 && rest.all(is_end)).then_some(split)
}

/// The field in which a number of this name tells the place of a row: `global step`, `Train Epoch`.
pub fn place_of(name: &str) -> Option<&'static str> {
    if name.len() > 64 {
        return None;
    }
    let name = name.to_ascii_lowercase();
    if name.ends_with("global step") || name.ends_with("global_step") {
        return Some("global_step");
    }
    let known = |word: &str| STEP_WORDS.iter().find(|known| known.0 == word).map(|known| known.1);
    let mut words = name.split([' ', '_']).filter(|word| !word.is_empty()).rev();
    let field = words.next().and_then(known).or_else(|| known(&name))?;
    let is_label = |word: &str| {
        STEP_LABELS.contains(&word)
            || split_of(word).is_some()
            // `v1.2.3 epoch 1`: another thing stands before.
            || word.contains(|c: char| c.is_ascii_digit())
    };
    words.all(is_label).then_some(field)
}

/// Whether a word behind a count says what is counted: `200/ 2983 batches`, not `12/12 tok/s`.
pub fn is_counted(word: &str) -> bool {
    let known =
        ["batches", "batch", "steps", "step", "iters", "iter", "it", "iterations", "iteration", "updates"];
    known.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Whether words say that the rest of the line is about a model that is kept, or about another step.
pub fn is_aside(words: &str) -> bool {
    let may_be_verb =
        |word: &str| word.len() > 4 && word.starts_with(['r', 'l', 's', 'i', 'R', 'L', 'S', 'I']);
    let is_verb = |word: &str| {
        let word = word.trim_end_matches(['!', '.', ':']);
        VERBS.iter().any(|verb| verb.eq_ignore_ascii_case(word))
    };
    words.split_whitespace().filter(|word| may_be_verb(word)).any(is_verb)
}

/// Whether a name is about the best of all: as the first of a line it speaks of another step.
pub fn is_best(words: &str) -> bool {
    words.split([' ', '_']).any(|word| word.eq_ignore_ascii_case("best"))
}

/// Whether the words may name a metric.
pub fn is_metric_name(name: &str) -> bool {
    let words = || name.split_whitespace();
    let is_joint = |word: &str| JOINTS.iter().any(|joint| joint.eq_ignore_ascii_case(word));
    let ends = [words().next(), words().next_back()];
    !ends.into_iter().flatten().any(is_joint)
        && !NOT_METRICS.iter().any(|known| known.eq_ignore_ascii_case(name))
        && !is_code(name)
        && name.contains(char::is_alphabetic)
}

/// Whether a name is a source file: `train.py`.
pub fn is_code(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension).unwrap_or_default();
    CODE.contains(&extension)
}

/// The name of a metric of a split: `val/loss`; names that tell a split keep theirs.
pub fn of_split<'n>(split: Option<&str>, name: &'n str) -> Cow<'n, str> {
    match split {
        Some(split) if !axis::has_split(name) => format!("{split}/{name}").into(),
        _ => name.into(),
    }
}
