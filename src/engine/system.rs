//! The cache about itself: `inputs`, `run_inputs`, `problems`, read from the catalog.

use crate::records::batch::{Cell, to_batch};
use crate::records::schema::time_type;
use crate::store::{Catalog, InputRecord};
use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemTable {
    /// One row a log file.
    Inputs,
    /// One row a log file and run it feeds.
    RunInputs,
    /// One row something that could not be read.
    Problems,
}

impl SystemTable {
    /// All of them.
    pub const ALL: [SystemTable; 3] = [SystemTable::Inputs, SystemTable::RunInputs, SystemTable::Problems];

    /// Name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            SystemTable::Inputs => "inputs",
            SystemTable::RunInputs => "run_inputs",
            SystemTable::Problems => "problems",
        }
    }

    fn schema(self) -> SchemaRef {
        let field = |name: &str, kind: DataType| Field::new(name, kind, false);
        let text = |name: &str| field(name, DataType::Utf8);
        let int = |name: &str| field(name, DataType::Int64);
        Arc::new(Schema::new(match self {
            SystemTable::Inputs => vec![
                text("path"),
                text("source"),
                int("size_bytes"),
                int("read_bytes"),
                field("modified_at", time_type()),
                int("row_count"),
                int("problem_count"),
            ],
            SystemTable::RunInputs => vec![text("run_id"), text("path")],
            SystemTable::Problems => vec![text("path"), text("position"), text("message")],
        }))
    }

    /// Rows whose path is shown.
    fn rows(self, catalog: &dyn Catalog, is_shown: &dyn Fn(&str) -> bool) -> anyhow::Result<Vec<Vec<Cell>>> {
        if self == SystemTable::Problems {
            let problems = catalog.problems()?.into_iter().filter(|(path, _)| is_shown(path));
            let row = |(path, problem): (String, crate::records::Problem)| {
                vec![path.into(), problem.position.into(), problem.message.into()]
            };
            return Ok(problems.map(row).collect());
        }
        let mut inputs = catalog.inputs()?;
        inputs.retain(|input| is_shown(&input.path));
        if self == SystemTable::RunInputs {
            let pair = |path: &str, run: &str| vec![run.into(), path.into()];
            let pairs = inputs.iter().flat_map(|input| input.runs.iter().map(|run| pair(&input.path, run)));
            return Ok(pairs.collect());
        }
        let by_path: BTreeMap<&str, &InputRecord> = inputs.iter().map(|i| (i.path.as_str(), i)).collect();
        Ok(by_path.into_values().map(input_row).collect())
    }
}

fn input_row(input: &InputRecord) -> Vec<Cell> {
    vec![
        input.path.clone().into(),
        input.source.clone().into(),
        (input.size_bytes as i64).into(),
        (input.offset as i64).into(),
        Cell::Time(input.modified_ns / 1_000_000),
        (input.row_count as i64).into(),
        input.problem_count.into(),
    ]
}

/// A table that reads the catalog when it is asked, not before.
pub struct CatalogTable {
    table: SystemTable,
    catalog: Arc<dyn Catalog>,
    below: Option<String>,
}

impl CatalogTable {
    /// The rows of `table`; only what lies at or below `below`, where that is given.
    pub fn new(table: SystemTable, catalog: Arc<dyn Catalog>, below: Option<String>) -> Self {
        Self { table, catalog, below }
    }

    fn load(&self) -> anyhow::Result<MemTable> {
        let is_shown = |path: &str| self.below.as_deref().is_none_or(|below| is_below(path, below));
        let schema = self.table.schema();
        let batch = to_batch(schema.clone(), &self.table.rows(self.catalog.as_ref(), &is_shown)?)?;
        Ok(MemTable::try_new(schema, vec![vec![batch]])?)
    }
}

impl fmt::Debug for CatalogTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.table.name())
    }
}

#[async_trait]
impl TableProvider for CatalogTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let loaded = self.load().map_err(|error| DataFusionError::External(error.into()))?;
        loaded.scan(state, projection, filters, limit).await
    }
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
