//! The Trainer of Hugging Face prints its log entries as dictionaries of Python; newer versions
//! print the numbers as strings. The entries name no step.

use super::dialect::{Dialect, Row};
use crate::sources::parse::json::Json;
use crate::sources::parse::python;
use crate::sources::trainer_state::metric_name;

pub static DIALECT: Dialect = Dialect {
    name: "hf",
    read,
    samples: &[
        (
            "{'loss': '1.032', 'grad_norm': 'nan', 'learning_rate': 5e-05, 'epoch': '0.5'}",
            r#"{"train/loss": 1.032, "train/grad_norm": NaN, "train/learning_rate": 0.00005, "train/epoch": 0.5}"#,
        ),
        ("{'eval_loss': 1.5, 'eval_runtime': '2.0', 'epoch': 1.0}", {
            r#"{"eval/loss": 1.5, "eval/runtime": 2, "train/epoch": 1}"#
        }),
        (
            "{'train_runtime': 3.5, 'train_loss': 0.5}",
            r#"{"train/train_runtime": 3.5, "train/train_loss": 0.5}"#,
        ),
    ],
};

fn read(line: &str) -> Option<Row<'_>> {
    let text = line.get(line.find("{'")?..)?;
    let (Json::Object(fields), used) = python::literal(text)? else { return None };
    let is_entry = |key: &str| key == "epoch" || key == "loss" || key == "train_loss" || key == "eval_loss";
    // A bar of progress may stand around it; a dictionary in a sentence is none of ours.
    let around = [line.get(..line.len() - text.len())?, text.get(used..)?];
    let is_bar = |text: &str| text.trim().is_empty() || text.contains("%|");
    if !fields.iter().any(|(key, _)| is_entry(key)) || !around.into_iter().all(is_bar) {
        return None;
    }
    let mut row = Row::telling();
    for (key, value) in fields {
        if let Some(number) = value.number_like() {
            row.fields.push((name(&key).into(), Json::Number(number, b"")));
        }
    }
    row.fields.iter().any(|(key, _)| key != "train/epoch").then_some(row)
}

/// Named as the Trainer names them for trackers, but for the step.
fn name(key: &str) -> String {
    if matches!(key, "step" | "global_step") { key.to_string() } else { metric_name(key) }
}
