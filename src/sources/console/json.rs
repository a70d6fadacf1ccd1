//! A JSON object behind other words: `INFO:train:{"step": 1, "loss": 2.5}`.

use super::dialect::{Dialect, Row};
use crate::sources::parse::axis::{Role, role_of};
use crate::sources::parse::json::{Json, parse_whole};

pub static DIALECT: Dialect = Dialect {
    name: "json",
    read,
    samples: &[(r#"metrics: {"step": 3, "loss": 2.5, "val": {"acc": 0.5}}"#, {
        r#"{"step": 3, "loss": 2.5, "val": {"acc": 0.5}}"#
    })],
};

fn read(line: &str) -> Option<Row<'_>> {
    let text = line.get(line.find("{\"")?..)?;
    let Json::Object(fields) = parse_whole(text.as_bytes())? else { return None };
    let is_place = |key: &str| matches!(role_of(key), Role::Step(_) | Role::Epoch);
    let row = Row { fields, ..Row::default() };
    row.fields.iter().any(|(key, _)| is_place(key)).then_some(row)
}
