//! `sweep`, `seeds` and `pareto`: rankings by a metric, with the goal that was used and who was left out.

use super::args::Values;
use super::output::{self, Sink};
use super::ranking::{Field, text};
use super::{canned, session::Session};
use crate::engine::canned::{Canned, ParamType, ParamValue};
use crate::error::UserError;
use anyhow::Result;
use arrow::datatypes::{Field as Column, Schema};
use arrow::record_batch::RecordBatch;
use clap::Command;
use std::sync::Arc;

/// The query of two or three metrics.
const PARETO: &str = "pareto";

/// The queries that rank, but for `best`.
const NAMES: [&str; 3] = ["sweep", "seeds", PARETO];

/// Whether the query is one of them.
pub fn is_one(query: &Canned) -> bool {
    query.built_in && NAMES.contains(&query.name.as_str())
}

/// Options that exclude each other.
pub fn with_options(query: &Canned, command: Command) -> Command {
    match query.name.as_str() {
        PARETO => command,
        _ => command.mut_arg("min", |min| min.conflicts_with("max")),
    }
}

/// Runs one of them.
pub async fn run(session: &Session, query: &Canned, mut values: Values) -> Result<()> {
    name_goals(session, &mut values).await?;
    if session.globals.show_sql {
        return canned::show_sql(session, &query.name, &values).await;
    }
    let values = session.workspace.named_values(&query.name, &values).await?;
    let metrics = metrics(query, &values);
    let mut notes = Vec::new();
    for metric in &metrics {
        let field = Field::of(session, metric, &values).await?;
        field.check_goal(&how_to_tell(query, metric))?;
        field.check_not_empty()?;
        notes.extend(field.notes());
    }
    let rows = output::collect(session.workspace.canned(&query.name, &values).await?).await?;
    let remark = remark(query, &rows)?;
    let rows = if query.name == PARETO { named(&rows, &metrics)? } else { rows };
    let mut sink = Sink::open(session)?;
    remark.iter().for_each(|remark| sink.remark(remark.clone()));
    let is_told = sink.tokens_left().is_some();
    sink.batch(&rows)?;
    sink.finish()?;
    notes.extend(remark.filter(|_| !is_told));
    notes.iter().for_each(|note| session.terminal.note(note));
    Ok(())
}

/// The metrics that are ranked by.
fn metrics(query: &Canned, values: &Values) -> Vec<String> {
    let rankings = query.params.iter().filter(|param| param.kind == ParamType::Ranking);
    rankings.filter_map(|param| text(values, &param.name)).map(str::to_owned).collect()
}

/// Has the metrics of `--min` and `--max` bear the names they were logged by.
async fn name_goals(session: &Session, values: &mut Values) -> Result<()> {
    for name in ["min", "max"] {
        let Some(ParamValue::List(words)) = values.get(name) else { continue };
        let mut metrics = Vec::with_capacity(words.len());
        for word in words {
            metrics.push(session.workspace.resolve_form(word).await?);
        }
        values.insert(name.to_owned(), ParamValue::List(metrics));
    }
    Ok(())
}

fn how_to_tell(query: &Canned, metric: &str) -> String {
    match query.name.as_str() {
        PARETO => format!("add --min {metric} or --max {metric}"),
        _ => "add --min or --max".to_owned(),
    }
}

/// What the rows say as a whole.
fn remark(query: &Canned, rows: &RecordBatch) -> Result<Option<String>> {
    let column = |name| output::texts(rows, name);
    Ok(match query.name.as_str() {
        "sweep" if rows.num_rows() == 0 => Some("no hyperparameter varies among these runs".to_owned()),
        "seeds" if rows.num_rows() == 0 => {
            Some("no two of these runs differ only in their seed: --all shows each".to_owned())
        }
        "seeds" => seeds_remark(&column("n")?, &column("seed_count")?, &column("verdict")?, &column("p")?),
        PARETO => {
            let all: usize = column("run_count")?.first().and_then(|n| n.parse().ok()).unwrap_or(0);
            Some(format!("{} of {all} runs with these metrics are beaten", all - rows.num_rows().min(all)))
        }
        _ => None,
    })
}

/// Whether the best two groups differ, and whether seeds were repeated.
fn seeds_remark(n: &[String], seeds: &[String], verdicts: &[String], p: &[String]) -> Option<String> {
    let number = |text: &String| text.parse::<u64>().unwrap_or(0);
    let next = verdicts.iter().zip(p).find(|(verdict, _)| !verdict.is_empty() && *verdict != "best");
    let p_of = |p: &String| match p.parse::<f64>() {
        Ok(p) if p < 0.01 => " (p < 0.01)".to_owned(),
        Ok(p) => format!(" (p = {p:.2})"),
        Err(_) => String::new(),
    };
    let between = next.map(|(verdict, p)| match verdict.as_str() {
        "worse" => format!("the best two groups differ beyond noise{}", p_of(p)),
        _ => format!("the best two groups differ within noise{}", p_of(p)),
    });
    let repeated = n.iter().zip(seeds).filter(|(n, seeds)| (1..number(n)).contains(&number(seeds))).count();
    let repeated = (repeated > 0).then(|| format!("{repeated} of {} groups repeat a seed", n.len()));
    let parts: Vec<String> = between.into_iter().chain(repeated).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The values under the names of their metrics, without what a note says.
fn named(rows: &RecordBatch, metrics: &[String]) -> Result<RecordBatch> {
    let left_out: &[&str] = if metrics.len() < 3 { &["run_count", "third"] } else { &["run_count"] };
    let rows = output::without(rows, left_out)?;
    let columns = ["first", "second", "third"];
    let fields = rows.schema_ref().fields().iter().map(|field| {
        let metric = columns.iter().position(|name| name == field.name()).and_then(|nth| metrics.get(nth));
        let name = metric.unwrap_or(field.name());
        Column::new(name, field.data_type().clone(), field.is_nullable())
    });
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    if names.iter().enumerate().any(|(nth, name)| names[..nth].contains(name)) {
        return Err(UserError::usage("a metric is given twice").into());
    }
    Ok(RecordBatch::try_new(Arc::new(schema), rows.columns().to_vec())?)
}
