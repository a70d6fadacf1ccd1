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

/// Common steps from which on it is known what is noise (`queries/compare.sql`).
pub const ENOUGH_STEPS: u64 = 20;

/// Metrics that a note names.
const NAMED: usize = 4;

/// What tells noise apart is told in a note.
const COMMON_STEPS: &str = "common_steps";

/// Options that exclude each other; steps are written with the runs.
pub fn with_options(command: Command) -> Command {
    command
        .mut_arg("at", |at| at.conflicts_with_all(["at_step", "at_time"]))
        .mut_arg("at_step", |step| step.conflicts_with("at_time"))
        .mut_arg("steps", |steps| steps.hide(true))
}

/// `compare A B ...`.
pub async fn run(session: &Session, mut values: Values) -> Result<()> {
    name_metrics(session, &mut values).await?;
    take_steps(session, &mut values).await?;
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
    let notes: Vec<String> =
        left_out(session, &values, &rows).await?.into_iter().chain(unsure(&rows)?).collect();
    let is_agent = sink.tokens_left().is_some();
    notes.iter().for_each(|note| sink.remark(note.clone()));
    let is_read = is_agent || sink.format().is_for_people();
    sink.batch(&if is_read { output::without(&rows, &[COMMON_STEPS])? } else { rows })?;
    sink.finish()?;
    notes.iter().filter(|_| !is_agent).for_each(|note| session.terminal.note(note));
    Ok(())
}

/// Of RUN@STEP the run and the step; a run may be called so too.
async fn take_steps(session: &Session, values: &mut Values) -> Result<()> {
    let (mut runs, mut steps) = (Vec::new(), Vec::new());
    for word in list(values, "runs") {
        let of_run =
            word.rsplit_once('@').filter(|(run, step)| !run.is_empty() && step.parse::<u32>().is_ok());
        match of_run {
            Some((run, step)) if session.workspace.resolve_run(&word).await.is_err() => {
                runs.push(run.to_owned());
                steps.push(step.to_owned());
            }
            _ => {
                runs.push(word);
                steps.push(String::new());
            }
        }
    }
    if steps.iter().all(String::is_empty) {
        return Ok(());
    }
    if let Some(other) = ["at", "at_step", "at_time"].iter().find(|name| values.contains_key(**name)) {
        let other = other.replace('_', "-");
        return Err(UserError::usage(format!("RUN@STEP cannot be used with --{other}")).into());
    }
    values.insert("runs".to_owned(), ParamValue::List(runs));
    values.insert("steps".to_owned(), ParamValue::List(steps));
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
        (_, Some((_, run))) => Err(UserError::usage(format!("run \"{run}\" is given twice"))
            .hint(format!("two steps of one run: runq history {run} --from STEP --to STEP"))
            .into()),
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

/// Metrics of which it is not known whether the difference is noise.
fn unsure(rows: &RecordBatch) -> Result<Option<String>> {
    let column = |name| output::texts(rows, name);
    let rows = column("key")?.into_iter().zip(column("verdict")?).zip(column(COMMON_STEPS)?);
    let is_few = |count: &str| count.parse::<u64>().is_ok_and(|count| count < ENOUGH_STEPS);
    let is_unsure = |verdict: &str| matches!(verdict, "better" | "worse");
    let unsure = rows.filter(|((_, verdict), common)| is_unsure(verdict) && is_few(common));
    let mut keys: Vec<String> = unsure.map(|((key, _), _)| key).collect();
    keys.dedup();
    let more = keys.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named = keys.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    Ok((!keys.is_empty())
        .then(|| format!("fewer than {ENOUGH_STEPS} common steps are too few to tell noise: {named}{more}")))
}

/// How many metrics are not shown.
async fn left_out(session: &Session, values: &Values, rows: &RecordBatch) -> Result<Option<String>> {
    let is_early = ["steps", "at_step", "at_time"].iter().any(|name| values.contains_key(*name));
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
