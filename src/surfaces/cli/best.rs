//! `best`: asks for a direction where none is known, and says which runs were left out.

use super::args::Values;
use super::output;
use super::ranking::{Field, check_config_key, text};
use super::{canned, session::Session};
use crate::engine::canned::ParamValue;
use crate::records::goal::{MAX_WORDS, MIN_WORDS, NEITHER_WORDS};
use anyhow::Result;
use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::sync::Arc;

/// Id of the switch that prints the words.
pub const EXPLAIN: &str = "explain";
const ID_ONLY: &str = "id-only";
const GROUP: &str = "group";

/// Columns of runs that they may be grouped by; anything else is a hyperparameter.
const GROUPS: [&str; 10] = [
    "project",
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
        values.insert("bare".to_owned(), ParamValue::Flag(true));
    }
    if session.globals.show_sql {
        return canned::show_sql(session, "best", &values).await;
    }
    let values = session.workspace.named_values("best", &values).await?;
    let group = text(&values, GROUP);
    if let Some(word) = group.filter(|word| !GROUPS.contains(word)) {
        check_config_key(session, word).await?;
    }
    let field = Field::of(session, text(&values, "metric").unwrap_or_default(), &values).await?;
    field.check_goal("add --min or --max")?;
    let rows = output::collect(session.workspace.canned("best", &values).await?).await?;
    field.check_not_empty()?;
    match (is_id_only, group) {
        (true, _) => print_ids(session, &rows)?,
        (false, Some(_)) => output::emit_batch(session, &rows)?,
        (false, None) => output::emit_batch(session, &output::without(&rows, &["grouped"])?)?,
    }
    field.notes().iter().for_each(|note| session.terminal.note(note));
    Ok(())
}

fn print_ids(session: &Session, rows: &RecordBatch) -> Result<()> {
    let ids: String = output::texts(rows, "run_id")?.iter().map(|id| format!("{id}\n")).collect();
    output::emit_text(&session.globals, &ids)
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
