//! torchtune's DiskLogger, `log_<unix time>.txt`: `Step 12 | loss:1.234 lr:0.0003 `.

use super::dialect::{Dialect, Row, whole};

pub static DIALECT: Dialect = Dialect {
    name: "torchtune",
    read,
    samples: &[
        (
            "Step 12 | loss:1.234 lr:0.0003 tokens_per_second_per_gpu:123.4 ",
            r#"{"step": 12, "loss": 1.234, "lr": 0.0003, "tokens_per_second_per_gpu": 123.4}"#,
        ),
        ("Step 3 | num_tokens:1e6", r#"{"step": 3, "num_tokens": 1000000}"#),
    ],
};

fn read(line: &str) -> Option<Row<'_>> {
    let (step, rest) = line.strip_prefix("Step ")?.split_once(" | ")?;
    let mut row = Row::telling();
    row.number("step", whole(step)?);
    for word in rest.split_whitespace() {
        let (key, value) = word.rsplit_once(':').filter(|(key, _)| !key.is_empty())?;
        row.number(key, value).then_some(())?;
    }
    row.beyond(1)
}
