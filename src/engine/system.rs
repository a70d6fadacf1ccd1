//! The cache about itself: `inputs`, `run_inputs`, `problems`, read from the catalog.

use crate::records::batch::{Cell, to_batch};
use crate::records::schema::time_type;
use crate::store::Catalog;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::MemTable;
use std::collections::BTreeMap;
use std::sync::Arc;

fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    let fields: Vec<Field> =
        fields.iter().map(|(name, kind, null)| Field::new(*name, kind.clone(), *null)).collect();
    Arc::new(Schema::new(fields))
}

fn table(schema: SchemaRef, rows: &[Vec<Cell>]) -> anyhow::Result<MemTable> {
    let batch = to_batch(schema.clone(), rows)?;
    Ok(MemTable::try_new(schema, vec![vec![batch]])?)
}

/// All tables of this kind, by name; only what lies at or below `below`, where that is given.
///
/// # Errors
/// When the catalog cannot be read.
pub fn tables(catalog: &dyn Catalog, below: Option<&str>) -> anyhow::Result<Vec<(&'static str, MemTable)>> {
    let is_shown = |path: &str| below.is_none_or(|below| is_below(path, below));
    let mut inputs = catalog.inputs()?;
    inputs.retain(|input| is_shown(&input.path));
    let mut problems = catalog.problems()?;
    problems.retain(|(path, _)| is_shown(path));
    let input = |input: &crate::store::InputRecord| {
        vec![
            input.path.clone().into(),
            input.source.clone().into(),
            (input.size_bytes as i64).into(),
            (input.offset as i64).into(),
            Cell::Time(input.modified_ns / 1_000_000),
            (input.row_count as i64).into(),
            input.problem_count.into(),
        ]
    };
    let by_path: BTreeMap<&str, &crate::store::InputRecord> =
        inputs.iter().map(|i| (i.path.as_str(), i)).collect();
    let rows: Vec<Vec<Cell>> = by_path.into_values().map(input).collect();
    let pair = |path: &str, run: &str| vec![run.into(), path.into()];
    let pairs: Vec<Vec<Cell>> =
        inputs.iter().flat_map(|input| input.runs.iter().map(|run| pair(&input.path, run))).collect();
    let found: Vec<Vec<Cell>> = problems
        .iter()
        .map(|(path, problem)| {
            vec![path.clone().into(), problem.position.clone().into(), problem.message.clone().into()]
        })
        .collect();
    let text = || DataType::Utf8;
    let inputs_schema = schema(&[
        ("path", text(), false),
        ("source", text(), false),
        ("size_bytes", DataType::Int64, false),
        ("read_bytes", DataType::Int64, false),
        ("modified_at", time_type(), false),
        ("row_count", DataType::Int64, false),
        ("problem_count", DataType::Int64, false),
    ]);
    let pairs_schema = schema(&[("run_id", text(), false), ("path", text(), false)]);
    let problems_schema =
        schema(&[("path", text(), false), ("position", text(), false), ("message", text(), false)]);
    Ok(vec![
        ("inputs", table(inputs_schema, &rows)?),
        ("run_inputs", table(pairs_schema, &pairs)?),
        ("problems", table(problems_schema, &found)?),
    ])
}

/// Whether a path is `folder` or lies in it; all do where `folder` is empty or `.`.
pub fn is_below(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    folder.is_empty()
        || folder == "."
        || path == folder
        || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lie_below_folders_by_whole_names() {
        assert!(is_below("a/b.jsonl", "a") && is_below("a/b.jsonl", "a/") && is_below("a", "a"));
        assert!(is_below("a", "") && is_below("a", "."));
        assert!(!is_below("ab/c", "a") && !is_below("a", "a/b"));
    }
}
