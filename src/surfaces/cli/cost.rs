//! `cost`: hours by project, or by what else is asked for.

use super::args::Values;
use super::output;
use super::ranking::text;
use super::{canned, session::Session};
use crate::error::UserError;
use anyhow::Result;
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

const PROJECT: &str = "project";
const RUN: &str = "run";

/// What hours can be summed by.
const GROUPS: [&str; 12] = [
    PROJECT,
    RUN,
    "name",
    "run_group",
    "sweep_id",
    "job_type",
    "state",
    "source",
    "host",
    "user_name",
    "git_branch",
    "git_commit",
];

/// `cost`.
pub async fn run(session: &Session, values: Values) -> Result<()> {
    let group = text(&values, "group").unwrap_or(PROJECT);
    if !GROUPS.contains(&group) {
        let error = UserError::usage(format!("hours cannot be summed by \"{group}\""));
        return Err(error.hint(format!("--group is one of {}", GROUPS.join(", "))).into());
    }
    if session.globals.show_sql {
        return canned::show_sql(session, "cost", &values).await;
    }
    let rows = output::collect(session.workspace.canned("cost", &values).await?).await?;
    let rows = if group == RUN { rows } else { output::without(&rows, &["name"])? };
    output::emit_batch(session, &named(&rows, group)?)
}

/// The rows with the first column under the name of what is summed by.
fn named(rows: &RecordBatch, group: &str) -> Result<RecordBatch> {
    let schema = rows.schema();
    let name = if group == RUN { "run_id" } else { group };
    let fields = schema.fields().iter().enumerate().map(|(nth, field)| match nth {
        0 => Arc::new(Field::new(name, field.data_type().clone(), field.is_nullable())),
        _ => field.clone(),
    });
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), rows.columns().to_vec())?)
}
