//! The columns of every table: the only place where one is declared.
//!
//! A *stored* table is Parquet in the cache. A *public* table is what SQL sees; where both differ
//! the engine's view says how. Public columns are never renamed or retyped once released.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// A table of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// One row a run; replaced whole when the run changes.
    Runs,
    /// One row a hyperparameter; replaced whole when the run changes.
    Configs,
    /// One row a metric of a run; replaced whole when the run changes.
    Summary,
    /// One row a logged point.
    Metrics,
    /// One row a logged string.
    Texts,
    /// One row an alert.
    Alerts,
    /// One row a finding of the diagnosis, in the columns of `alerts`; replaced whole when the run changes.
    Findings,
    /// One row a phase transition; replaced whole when the run changes.
    Phases,
    /// One row a printed line.
    Console,
}

impl Table {
    /// All stored tables.
    pub const ALL: [Table; 9] = [
        Table::Runs,
        Table::Configs,
        Table::Summary,
        Table::Metrics,
        Table::Texts,
        Table::Alerts,
        Table::Findings,
        Table::Phases,
        Table::Console,
    ];

    /// Name in SQL and of the folder.
    pub fn name(self) -> &'static str {
        match self {
            Table::Runs => "runs",
            Table::Configs => "configs",
            Table::Summary => "summary",
            Table::Metrics => "metrics",
            Table::Texts => "texts",
            Table::Alerts => "alerts",
            Table::Findings => "findings",
            Table::Phases => "phases",
            Table::Console => "console",
        }
    }

    /// The table of that name.
    pub fn from_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Whether a changed run's rows are replaced (rather than added to).
    pub fn is_replaced(self) -> bool {
        matches!(self, Table::Runs | Table::Configs | Table::Summary | Table::Findings | Table::Phases)
    }

    /// Order of the rows in every file.
    pub fn sort_columns(self) -> &'static [&'static str] {
        match self {
            Table::Runs => &["run_id"],
            Table::Configs | Table::Summary => &["key", "run_id"],
            Table::Metrics => &["key", "run_id", "step", "segment", "seq"],
            Table::Texts => &["key", "run_id", "step"],
            Table::Alerts | Table::Findings => &["run_id", "seq"],
            Table::Phases => &["run_id", "step"],
            Table::Console => &["run_id", "file", "line"],
        }
    }

    /// Columns as stored in Parquet, `project` last.
    pub fn stored_schema(self) -> SchemaRef {
        let mut fields = match self {
            Table::Runs => runs(),
            Table::Configs => vec![text("run_id"), text("key"), text("value"), double_or_null("number")],
            Table::Summary => summary(),
            Table::Metrics => vec![
                text("run_id"),
                text("key"),
                int("step"),
                double("value"),
                time("time"),
                Field::new("segment", DataType::Int32, false),
                int("seq"),
            ],
            Table::Texts => {
                vec![text("run_id"), text("key"), int_or_null("step"), time("time"), text("text")]
            }
            Table::Alerts | Table::Findings => alerts(),
            Table::Phases => vec![
                text("run_id"),
                int("step"),
                time("time"),
                text_or_null("phase_from"),
                text("phase_to"),
                text_or_null("reason"),
            ],
            Table::Console => vec![
                text("run_id"),
                int("line"),
                time("time"),
                text_or_null("stream"),
                text("text"),
                text("file"),
            ],
        };
        if self != Table::Runs {
            fields.push(text_or_null("project"));
        }
        Arc::new(Schema::new(fields))
    }
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn text_or_null(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn int(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

fn int_or_null(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn double(name: &str) -> Field {
    Field::new(name, DataType::Float64, false)
}

fn double_or_null(name: &str) -> Field {
    Field::new(name, DataType::Float64, true)
}

/// `timestamp(ms, UTC)`, as all times.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn time(name: &str) -> Field {
    Field::new(name, time_type(), true)
}

/// Item field of a list of text.
pub fn list_item() -> Field {
    Field::new("item", DataType::Utf8, true)
}

/// What `runs` stores: the public columns but `state`, and what `state` is computed from.
fn runs() -> Vec<Field> {
    vec![
        text("run_id"),
        text_or_null("name"),
        text_or_null("project"),
        text_or_null("entity"),
        text("source"),
        text_or_null("logged_end"),
        Field::new("writes_ends", DataType::Boolean, false),
        time("last_seen_at"),
        int("silence_limit_ms"),
        text_or_null("state_detail"),
        Field::new("exit_code", DataType::Int32, true),
        time("created_at"),
        time("updated_at"),
        double_or_null("duration_s"),
        int_or_null("last_step"),
        int_or_null("planned_steps"),
        int("point_count"),
        int("metric_count"),
        int("segment_count"),
        text_or_null("run_group"),
        text_or_null("job_type"),
        text_or_null("sweep_id"),
        text_or_null("parent_run_id"),
        text_or_null("duplicate_of"),
        Field::new("tags", DataType::List(Arc::new(list_item())), false),
        text_or_null("notes"),
        text_or_null("host"),
        text_or_null("user_name"),
        text_or_null("program"),
        text_or_null("args"),
        text_or_null("git_commit"),
        text_or_null("git_branch"),
        Field::new("git_dirty", DataType::Boolean, true),
        text_or_null("git_remote"),
        text_or_null("phase"),
        text_or_null("worst_level"),
        text("path"),
    ]
}

/// What `summary` stores: the public columns but `goal`, `best` and `best_step`, which follow from
/// `key`, `logged_goal` and the settings when read.
fn summary() -> Vec<Field> {
    vec![
        text("run_id"),
        text("key"),
        text("axis"),
        int("count"),
        int("nan_count"),
        int("inf_count"),
        int_or_null("first_step"),
        int_or_null("last_step"),
        double_or_null("first"),
        double_or_null("last"),
        double_or_null("min"),
        int_or_null("min_step"),
        double_or_null("max"),
        int_or_null("max_step"),
        double_or_null("mean"),
        double_or_null("std"),
        text_or_null("logged_goal"),
        double_or_null("final"),
    ]
}

fn alerts() -> Vec<Field> {
    vec![
        text("alert_id"),
        text("run_id"),
        text_or_null("key"),
        text("kind"),
        text("level"),
        int_or_null("step"),
        int_or_null("end_step"),
        int_or_null("detected_step"),
        time("time"),
        double_or_null("value"),
        double_or_null("baseline"),
        double_or_null("score"),
        int_or_null("row_count"),
        text_or_null("title"),
        text_or_null("text"),
        text("origin"),
        int("seq"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_by_columns_they_have() {
        for table in Table::ALL {
            let schema = table.stored_schema();
            assert!(schema.field_with_name("project").is_ok(), "{table:?}");
            for column in table.sort_columns() {
                assert!(schema.field_with_name(column).is_ok(), "{table:?} {column}");
            }
            assert_eq!(Table::from_name(table.name()), Some(table));
        }
    }
}
