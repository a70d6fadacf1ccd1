//! nanoGPT: `step 1000: train loss 2.3456, val loss 2.4567` and `iter 1010: loss 2.3456, time 12.30ms, mfu 5.00%`.

use super::dialect::{Dialect, Row, item, whole};

pub static DIALECT: Dialect = Dialect {
    name: "nanogpt",
    read,
    samples: &[
        (
            "step 250: train loss 2.3456, val loss nan",
            r#"{"step": 250, "train/loss": 2.3456, "val/loss": NaN}"#,
        ),
        (
            "iter 10: loss 2.1428, time 15.30ms, mfu -100.00%",
            r#"{"step": 10, "loss": 2.1428, "time_ms": 15.3, "mfu": -100}"#,
        ),
    ],
};

fn read(line: &str) -> Option<Row<'_>> {
    let (word, rest) = line.split_once(' ')?;
    let (step, rest) = rest.split_once(": ")?;
    let mut row = Row::telling();
    row.number("step", whole(step)?);
    match word {
        "step" => {
            let (train, val) = rest.split_once(", ")?;
            row.number("train/loss", train.strip_prefix("train loss ")?);
            row.number("val/loss", val.strip_prefix("val loss ")?);
        }
        "iter" => {
            let mut items = rest.split(", ");
            row.number("loss", items.next()?.strip_prefix("loss ")?);
            let ms = items.next()?.strip_prefix("time ")?.strip_suffix("ms")?;
            row.number("time_ms", ms);
            for other in items {
                let (key, value) = item(other.trim_end().trim_end_matches('%'))?;
                row.number(key, value);
            }
        }
        _ => return None,
    }
    row.beyond(2)
}
