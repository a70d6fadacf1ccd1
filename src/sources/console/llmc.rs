//! llm.c's `main.log`: `s:10 trl:4.1234 lr:0.000300 norm:1.23`, `s:250 tel:3.9876`, `s:250 eval:0.2900`.

use super::dialect::{Dialect, Row, whole};

pub static DIALECT: Dialect = Dialect {
    name: "llm.c",
    read,
    samples: &[
        (
            "s:10 trl:4.1234 lr:0.000300 norm:1.23",
            r#"{"step": 10, "trl": 4.1234, "lr": 0.0003, "norm": 1.23}"#,
        ),
        ("s:250 tel:3.9876", r#"{"step": 250, "tel": 3.9876}"#),
        ("s:250 eval:0.2900", r#"{"step": 250, "eval": 0.29}"#),
    ],
};

fn read(line: &str) -> Option<Row<'_>> {
    let (step, rest) = line.strip_prefix("s:")?.split_once(' ')?;
    let mut row = Row::telling();
    row.number("step", whole(step)?);
    for word in rest.split_whitespace() {
        let (key, value) = word.split_once(':')?;
        if !row.number(key, value) {
            return None;
        }
    }
    let is_ours = |key: &str| matches!(key, "trl" | "tel" | "eval");
    row.fields.iter().any(|(key, _)| is_ours(key)).then_some(row)
}
