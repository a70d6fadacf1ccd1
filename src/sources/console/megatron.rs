//! Megatron-LM and its descendants: items between bars, the iteration first.

use super::dialect::{Dialect, Row, item, whole};

pub static DIALECT: Dialect = Dialect {
    name: "megatron",
    read,
    samples: &[
        (
            "iteration      100/  500000 | consumed samples:        25600 | elapsed time per iteration (ms): 123.4 | learning rate: 1.500000E-04 | lm loss: 2.345678E+00 | number of nan iterations:   0 |",
            r#"{"step": 100, "consumed samples": 25600, "elapsed time per iteration (ms)": 123.4, "learning rate": 0.00015, "lm loss": 2.345678, "number of nan iterations": 0}"#,
        ),
        (
            "iteration      100/  500000 | learning rate 1.500E-04 | lm loss 2.5E+00 |",
            r#"{"step": 100, "learning rate": 0.00015, "lm loss": 2.5}"#,
        ),
        (
            "validation loss at iteration 1000 | lm loss value: 2.345678E+00 | lm loss PPL: 1.043934E+01 |",
            r#"{"step": 1000, "validation/lm loss": 2.345678, "validation/lm loss PPL": 10.43934}"#,
        ),
        (
            "validation loss at iteration 1000 on test set | lm loss value: 2.5E+00 |",
            r#"{"step": 1000, "test/lm loss": 2.5}"#,
        ),
    ],
};

fn read(line: &str) -> Option<Row<'_>> {
    let (head, rest) = line.split_once('|')?;
    match head.trim_start().strip_prefix("iteration ").and_then(|counts| counts.split_once('/')) {
        Some((step, total)) => training(step, total, rest),
        None => validation(head, rest),
    }
}

fn training<'l>(step: &'l str, total: &str, rest: &'l str) -> Option<Row<'l>> {
    let mut row = Row::telling();
    row.number("step", whole(step)?);
    row.planned_steps = whole(total)?.parse().ok();
    for (key, value) in rest.split('|').filter_map(item) {
        row.number(key, value);
    }
    row.beyond(1)
}

/// `validation loss at iteration 1000`, with any words around it.
fn validation<'l>(head: &'l str, rest: &'l str) -> Option<Row<'l>> {
    let (before, after) = head.split_once("iteration ")?;
    let step = after.split_whitespace().next()?;
    let is_test = head.contains("test set") || head.contains("test data");
    if !is_test && !before.contains("validation") && !after.contains("validation") {
        return None;
    }
    let mut row = Row::telling();
    row.number("step", whole(step)?);
    let split = if is_test { "test" } else { "validation" };
    for (key, value) in rest.split('|').filter_map(item) {
        row.number(format!("{split}/{}", key.strip_suffix(" value").unwrap_or(key)), value);
    }
    row.beyond(1)
}
