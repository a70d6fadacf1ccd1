//! fairseq: `train_inner | {"loss": "3.21", "num_updates": "100"}`, and the older
//! `| epoch 001:    100 / 500 loss=5.2, num_updates=100` and `| epoch 001 | loss 5.2 | num_updates 100`.

use super::dialect::{Dialect, Row, item, whole};
use crate::sources::parse::json::{Json, parse_whole};

pub static DIALECT: Dialect = Dialect {
    name: "fairseq",
    read,
    samples: &[
        (
            r#"train_inner | {"epoch": 1, "update": 0.5, "loss": "3.21", "num_updates": "100", "lr": "5e-05"}"#,
            r#"{"epoch": 1, "update": 0.5, "loss": 3.21, "step": 100, "lr": 0.00005}"#,
        ),
        (
            r#"| valid | {"epoch": 1, "valid_loss": "4.5", "valid_num_updates": "500"}"#,
            r#"{"epoch": 1, "valid_loss": 4.5, "step": 500}"#,
        ),
        (
            "| epoch 001:    100 / 500 loss=5.2, nll_loss=nan, num_updates=100, wall=12",
            r#"{"epoch": 1, "loss": 5.2, "nll_loss": NaN, "step": 100, "wall": 12}"#,
        ),
        (
            "| epoch 002 | loss 5.2 | ppl 36.7 | num_updates 1000",
            r#"{"epoch": 2, "train/loss": 5.2, "train/ppl": 36.7, "step": 1000}"#,
        ),
        (
            "valid | epoch 002 | valid on 'valid' subset | loss 4.2 | num_updates 1000 | best_loss 4.2",
            r#"{"epoch": 2, "valid/loss": 4.2, "step": 1000, "valid/best_loss": 4.2}"#,
        ),
    ],
};

fn read(line: &str) -> Option<Row<'_>> {
    let text = line.trim_start_matches(['|', ' ']);
    let (label, rest) = match text.split_once(" | ") {
        Some((label, rest)) if matches!(label, "train" | "train_inner" | "valid" | "test") => (label, rest),
        _ => ("", text),
    };
    match rest.strip_prefix("epoch ") {
        Some(rest) => epoch(label, rest),
        None if rest.starts_with('{') && !label.is_empty() => object(rest),
        None => None,
    }
}

fn object(text: &str) -> Option<Row<'_>> {
    let Json::Object(fields) = parse_whole(text.as_bytes())? else { return None };
    let mut row = Row::telling();
    for (key, value) in fields {
        let key = if is_step(&key) { "step".into() } else { key };
        row.fields.extend(value.number_like().map(|number| (key, Json::Number(number, b""))));
    }
    row.fields.iter().any(|(key, _)| key == "step").then_some(row)
}

fn is_step(key: &str) -> bool {
    key == "num_updates" || key.ends_with("_num_updates")
}

/// Behind `epoch `: items after commas inside an epoch, after bars at its end.
fn epoch<'l>(label: &str, text: &'l str) -> Option<Row<'l>> {
    let end = text.find([':', ' '])?;
    let mut row = Row::telling();
    row.number("epoch", whole(text.get(..end)?)?);
    let rest = text.get(end..)?;
    if let Some(inner) = rest.strip_prefix(':') {
        let (_, total) = inner.split_once('/')?;
        let (_, items) = total.trim_start().split_once(' ')?;
        for (key, value) in items.split(", ").filter_map(|item| item.split_once('=')) {
            row.number(if is_step(key.trim()) { "step" } else { key.trim() }, value);
        }
    } else {
        let is_valid = label == "valid" || rest.contains(" subset |");
        let prefix = if is_valid { "valid/" } else { "train/" };
        for (key, value) in rest.split('|').filter_map(item) {
            if is_step(key) {
                row.number("step", value)
            } else {
                row.number(format!("{prefix}{key}"), value)
            };
        }
    }
    row.beyond(1).filter(|row| row.fields.iter().any(|(key, _)| key == "step"))
}
