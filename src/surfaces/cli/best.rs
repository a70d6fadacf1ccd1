//! `best`: asks for a direction where none is known, and says which runs were left out.

use super::args::Values;
use super::output;
use super::{canned, session::Session};
use crate::engine::canned::ParamValue;
use crate::error::UserError;
use crate::records::goal::{MAX_WORDS, MIN_WORDS, NEITHER_WORDS};
use anyhow::Result;
use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Id of the switch that prints the words.
pub const EXPLAIN: &str = "explain";
const ID_ONLY: &str = "id-only";

/// The options the query itself has no use for.
pub fn with_options(command: Command) -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    command
        .mut_arg("min", |min| min.conflicts_with("max"))
        .mut_arg("metric", |metric| metric.required(false).required_unless_present(EXPLAIN))
        .arg(flag(ID_ONLY, "Print bare run ids; one unless -n says more"))
        .arg(flag(EXPLAIN, "Print the words in a metric's name that tell its goal"))
}

/// `best METRIC`.
pub async fn run(session: &Session, mut values: Values, matches: &ArgMatches) -> Result<()> {
    let is_id_only = matches.get_flag(ID_ONLY);
    if is_id_only {
        values.entry("limit".to_owned()).or_insert(ParamValue::Integer(1));
    }
    if session.globals.show_sql {
        return canned::show_sql(session, "best", &values).await;
    }
    if let Some(metric) = text(&values, "metric") {
        let metric = session.workspace.resolve_form(metric).await?;
        values.insert("metric".to_owned(), ParamValue::Text(metric));
    }
    let field = Field::of(session, &values).await?;
    field.check_goal(&values)?;
    let answer = session.workspace.canned("best", &values).await?;
    field.check_not_empty(&values)?;
    match is_id_only {
        true => print_ids(session, &output::collect(answer).await?)?,
        false => output::emit(session, answer).await.map(drop)?,
    }
    field.notes().iter().for_each(|note| session.terminal.note(note));
    Ok(())
}

fn print_ids(session: &Session, rows: &RecordBatch) -> Result<()> {
    let ids: String = output::texts(rows, "run_id")?.iter().map(|id| format!("{id}\n")).collect();
    output::emit_text(&session.globals, &ids)
}

/// The runs that logged the metric.
#[derive(Debug, Default)]
struct Field {
    metric: String,
    /// Spellings of it, and in how many runs.
    spellings: BTreeMap<String, u64>,
    /// What steps mean; one for metrics of one kind.
    axes: Vec<String>,
    has_goal: bool,
    run_count: u64,
    finite_run_count: u64,
    /// Runs with several spellings of it, and not its name.
    unclear_run_count: u64,
}

impl Field {
    async fn of(session: &Session, values: &Values) -> Result<Field> {
        let metric = text(values, "metric").unwrap_or_default();
        let answer = session.workspace.spellings(metric, text(values, "project")).await?;
        let rows = output::collect(answer).await?;
        let mut field = Field { metric: metric.to_owned(), has_goal: true, ..Field::default() };
        let column = |name| output::texts(&rows, name);
        let (axes, goals) = (column("axis")?, column("goal")?);
        let (runs, finite) = (column("run_count")?, column("finite_run_count")?);
        let keys = column("key")?.into_iter();
        for ((((key, axis), goal), runs), finite) in keys.zip(axes).zip(goals).zip(runs).zip(finite) {
            let runs = runs.parse::<u64>().unwrap_or(0);
            if key.is_empty() && axis.is_empty() {
                field.unclear_run_count = runs;
                continue;
            }
            if !field.axes.contains(&axis) {
                field.axes.push(axis);
            }
            field.has_goal &= !goal.is_empty();
            *field.spellings.entry(key).or_default() += runs;
            field.run_count += runs;
            field.finite_run_count += finite.parse::<u64>().unwrap_or(0);
        }
        Ok(field)
    }

    fn check_goal(&self, values: &Values) -> Result<()> {
        let is_given = values.contains_key("min") || values.contains_key("max");
        match self.has_goal || is_given {
            true => Ok(()),
            false => {
                let message = format!("no goal known for \"{}\": add --min or --max", self.metric);
                Err(UserError::usage(message).into())
            }
        }
    }

    fn check_not_empty(&self, values: &Values) -> Result<()> {
        let message = match (self.run_count, self.finite_run_count, text(values, "project")) {
            (0, ..) if self.unclear_run_count > 0 => {
                format!("more than one metric of each run is written like \"{}\"", self.metric)
            }
            (0, _, Some(project)) => format!("no run of project \"{project}\" logged \"{}\"", self.metric),
            (0, _, None) => format!("no run logged \"{}\"", self.metric),
            (_, 0, _) => format!("no run has a finite value of \"{}\"", self.metric),
            _ => return Ok(()),
        };
        Err(UserError::failed(message).into())
    }

    /// Which other names were taken, and in how many runs.
    fn other_spellings(&self) -> Option<String> {
        let others = self.spellings.iter().filter(|(key, _)| **key != self.metric);
        let named: Vec<String> =
            others.map(|(key, runs)| format!("\"{key}\" in {}", of_runs(*runs))).collect();
        (!named.is_empty()).then(|| format!("\"{}\" is {}", self.metric, named.join(", ")))
    }

    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.other_spellings().into_iter().collect();
        let left_out = self.run_count - self.finite_run_count.min(self.run_count);
        if left_out > 0 {
            notes.push(format!("{} left out: no finite value of {}", of_runs(left_out), self.metric));
        }
        if self.unclear_run_count > 0 {
            let runs = of_runs(self.unclear_run_count);
            notes.push(format!("{runs} left out: more than one metric is written like {}", self.metric));
        }
        if self.axes.len() > 1 {
            notes.push(format!("steps mean {} (column axis)", self.axes.join(" in some runs and ")));
        }
        notes
    }
}

fn of_runs(count: u64) -> String {
    format!("{count} {}", if count == 1 { "run" } else { "runs" })
}

fn text<'a>(values: &'a Values, name: &str) -> Option<&'a str> {
    match values.get(name) {
        Some(ParamValue::Text(text)) => Some(text),
        _ => None,
    }
}

/// `best --explain`: the table of words.
pub async fn explain(session: &Session) -> Result<()> {
    let lists = [("min", MIN_WORDS), ("max", MAX_WORDS), ("none", NEITHER_WORDS)];
    let (goals, words): (Vec<&str>, Vec<&str>) =
        lists.iter().flat_map(|(goal, words)| words.iter().map(|word| (*goal, *word))).unzip();
    let column = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
    output::emit_batch(
        session,
        &RecordBatch::try_from_iter([("word", column(words)), ("goal", column(goals))])?,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn field(run_count: u64, finite_run_count: u64, has_goal: bool) -> Field {
        let (metric, axes) = ("m".to_owned(), vec!["step".to_owned()]);
        Field {
            metric,
            spellings: BTreeMap::new(),
            axes,
            has_goal,
            run_count,
            finite_run_count,
            unclear_run_count: 0,
        }
    }

    #[test]
    fn a_goal_is_asked_for_where_none_is_known() {
        let error = field(2, 2, false).check_goal(&Values::new()).unwrap_err();
        let error = error.downcast_ref::<UserError>().unwrap();
        assert_eq!(error.message, "no goal known for \"m\": add --min or --max");
        assert_eq!(error.exit_code(), 2);
        let given = Values::from([("min".to_owned(), ParamValue::Flag(true))]);
        field(2, 2, false).check_goal(&given).unwrap();
    }

    #[test]
    fn runs_left_out_are_counted() {
        assert_eq!(field(3, 2, true).notes(), ["1 run left out: no finite value of m"]);
        assert!(field(3, 3, true).notes().is_empty());
        assert!(field(3, 0, true).check_not_empty(&Values::new()).is_err());
    }
}
