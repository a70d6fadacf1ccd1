//! `compare`: what differs between runs, then their metrics side by side.

use super::args::Values;
use super::output::{self, Sink};
use super::ranking::{count, text};
use super::{canned, session::Session};
use crate::engine::canned::{ParamValue, quoted};
use crate::error::UserError;
use anyhow::Result;
use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use clap::Command;
use std::sync::Arc;

/// Hyperparameters and facts that are shown; the rest is counted.
const DIFFERENCE_ROWS: usize = 30;

/// Before the metric whose best step is looked at.
const BEST_BY: &str = "best:";

/// Options that exclude each other.
pub fn with_options(command: Command) -> Command {
    command
        .mut_arg("at", |at| at.conflicts_with_all(["at_step", "at_time"]))
        .mut_arg("at_step", |step| step.conflicts_with("at_time"))
}

/// `compare A B ...`.
pub async fn run(session: &Session, mut values: Values) -> Result<()> {
    name_metrics(session, &mut values).await?;
    let values = session.workspace.named_values("compare", &values).await?;
    let runs = list(&values, "runs");
    check_runs(&runs)?;
    if session.globals.show_sql {
        return canned::show_sql(session, "compare", &values).await;
    }
    let mut sink = Sink::open(session)?;
    if sink.format().is_for_people() || sink.tokens_left().is_some() {
        write_differences(session, &mut sink, &runs).await?;
    }
    let rows = output::collect(session.workspace.canned("compare", &values).await?).await?;
    let note = left_out(session, &values, &rows).await?;
    let is_agent = sink.tokens_left().is_some();
    note.iter().for_each(|note| sink.remark(note.clone()));
    sink.batch(&rows)?;
    sink.finish()?;
    note.filter(|_| !is_agent).iter().for_each(|note| session.terminal.note(note));
    Ok(())
}

/// Has metrics bear the names they were logged by; `-k a,b` is two.
async fn name_metrics(session: &Session, values: &mut Values) -> Result<()> {
    if let Some(ParamValue::List(words)) = values.get("keys") {
        let mut keys = Vec::new();
        for word in words.iter().flat_map(|word| word.split(',')).map(str::trim).filter(|w| !w.is_empty()) {
            keys.push(session.workspace.resolve_form(word).await?);
        }
        values.insert("keys".to_owned(), ParamValue::List(keys));
    }
    let at = text(values, "at").map(str::to_owned);
    match at.as_deref() {
        None | Some("end" | "best") => Ok(()),
        Some(at) => match at.strip_prefix(BEST_BY) {
            Some(word) => {
                let metric = session.workspace.resolve_form(word).await?;
                values.insert("at".to_owned(), ParamValue::Text(format!("{BEST_BY}{metric}")));
                Ok(())
            }
            None => Err(UserError::usage(format!("cannot compare at \"{at}\""))
                .hint("write --at end, --at best, --at best:METRIC, --at-step N or --at-time 30m")
                .into()),
        },
    }
}

fn list(values: &Values, name: &str) -> Vec<String> {
    match values.get(name) {
        Some(ParamValue::List(words)) => words.clone(),
        _ => Vec::new(),
    }
}

fn check_runs(runs: &[String]) -> Result<()> {
    let repeated = runs.iter().enumerate().find(|(nth, run)| runs[..*nth].contains(run));
    match (runs, repeated) {
        ([run], _) => Err(UserError::usage(format!("compare needs two runs or more, got one: {run}"))
            .hint("runq compare @latest @latest~1")
            .into()),
        (_, Some((_, run))) => Err(UserError::usage(format!("run \"{run}\" is given twice")).into()),
        _ => Ok(()),
    }
}

/// Facts and hyperparameters that differ, a column a run.
async fn write_differences(session: &Session, sink: &mut Sink, runs: &[String]) -> Result<()> {
    let given = Values::from([("runs".to_owned(), ParamValue::List(runs.to_vec()))]);
    let rows = output::collect(session.workspace.canned("differences", &given).await?).await?;
    let keys = output::texts(&rows, "key")?;
    let values = output::texts(&rows, "value")?;
    // The rows of a key follow each other, one a run, in the order the runs were given.
    let of_run = |nth: usize| -> ArrayRef {
        let cells =
            values.iter().skip(nth).step_by(runs.len()).map(|value| Some(value).filter(|v| !v.is_empty()));
        Arc::new(cells.collect::<StringArray>())
    };
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(keys.iter().step_by(runs.len())));
    let columns = runs.iter().enumerate().map(|(nth, run)| (run.as_str(), of_run(nth), true));
    let table =
        RecordBatch::try_from_iter_with_nullable(std::iter::once(("differs", names, false)).chain(columns))?;
    if table.num_rows() == 0 {
        return Ok(());
    }
    sink.batch(&table.slice(0, table.num_rows().min(DIFFERENCE_ROWS)))?;
    if table.num_rows() > DIFFERENCE_ROWS {
        let more =
            format!("{} more hyperparameters differ: runq diff A B", table.num_rows() - DIFFERENCE_ROWS);
        sink.left_out(more.clone());
        session.terminal.note(&more);
    }
    sink.text("\n")
}

/// How many metrics are not shown.
async fn left_out(session: &Session, values: &Values, rows: &RecordBatch) -> Result<Option<String>> {
    let is_early = ["at_step", "at_time"].iter().any(|name| values.contains_key(*name));
    if is_early && rows.num_rows() == 0 {
        return Ok(Some("no metric has another value up to there; a log may hold no times".to_owned()));
    }
    let is_all = values.get("all") == Some(&ParamValue::Flag(true));
    if is_all || values.contains_key("keys") {
        return Ok((rows.num_rows() == 0).then(|| "no such metric differs".to_owned()));
    }
    let runs: Vec<String> = list(values, "runs").iter().map(|run| quoted(run)).collect();
    let sql = format!(
        "select count(distinct coalesce(nullif(normal_key(key), ''), key)) as n from summary where count > 0 and run_id in ({})",
        runs.join(", ")
    );
    let mut shown = output::texts(rows, "key")?;
    shown.dedup();
    let more = count(session, &sql).await?.saturating_sub(shown.len() as u64);
    Ok((more > 0)
        .then(|| format!("metrics left out as they do not differ or are the machine's: {more} (--all)")))
}
