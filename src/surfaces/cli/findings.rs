//! `alerts` and `anomalies`: an agent gets the columns it acts on, and of a finding what happened; what to do
//! about it is `diagnose`'s to tell.

use super::args::Values;
use super::output::{self, Plan, Sink};
use super::{canned, session::Session};
use anyhow::Result;
use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

/// Columns an agent gets, where the command has them.
const COLUMNS: [&str; 7] = ["level", "kind", "run_id", "key", "step", "events", "text"];

/// The kind of what the run itself logged.
const LOGGED: &str = "logged";

/// Whether a command is one of these.
pub fn is_one(name: &str) -> bool {
    matches!(name, "alerts" | "anomalies")
}

/// Runs one of them.
pub async fn run(session: &Session, name: &str, values: &Values) -> Result<()> {
    let is_agent = Plan::of(&session.globals, &session.terminal)?.most_tokens.is_some();
    if !is_agent || session.globals.show_sql {
        return canned::run(session, name, values).await;
    }
    let rows = output::collect(session.workspace.canned(name, values).await?).await?;
    let short = short(&rows)?;
    let mut sink = Sink::open(session)?;
    if rows.num_rows() > 0 {
        let (shown, all) = (short.num_columns(), rows.num_columns());
        sink.left_out(format!("{shown} of {all} columns, and no advice"));
    }
    sink.batch(&short)?;
    sink.finish()
}

/// The columns an agent gets, with short texts.
fn short(rows: &RecordBatch) -> Result<RecordBatch> {
    let kinds = output::texts(rows, "kind")?;
    let texts = output::texts(rows, "text")?;
    let titles =
        if rows.column_by_name("title").is_some() { output::texts(rows, "title")? } else { Vec::new() };
    let told = kinds.iter().zip(&texts).enumerate().map(|(row, (kind, text))| match titles.get(row) {
        // A finding says first what happened.
        _ if kind != LOGGED => text.split("; ").next().unwrap_or_default().to_owned(),
        Some(title) if !title.is_empty() && !text.starts_with(title.as_str()) => format!("{title}: {text}"),
        _ => text.clone(),
    });
    let told: ArrayRef = Arc::new(StringArray::from_iter_values(told));
    let columns = COLUMNS.iter().filter_map(|name| {
        let column = rows.column_by_name(name)?;
        Some((*name, if *name == "text" { Arc::clone(&told) } else { Arc::clone(column) }, true))
    });
    Ok(RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>())?)
}
