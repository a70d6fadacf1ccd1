//! `best`: asks for a direction where none is known, and says which runs were left out.

use super::args::Values;
use super::output::{self, Sink};
use super::ranking::{Field, check_config_key, text};
use super::{canned, session::Session};
use crate::engine::canned::{ParamValue, literal, quoted};
use crate::records::goal::{MAX_WORDS, MIN_WORDS, NEITHER_WORDS};
use anyhow::Result;
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field as Column, Schema};
use arrow::record_batch::RecordBatch;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::HashMap;
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
        .arg(Arg::new(GROUP).long(GROUP).short('g').value_name("WORD").help(
            "The best run of each value, in the column grouped: of a hyperparameter, also by its last part, or of \
             project, run_group, sweep_id, job_type, state, source, host, user_name, git_branch or git_commit",
        ))
        .arg(flag(ID_ONLY, "Print bare run ids; one unless -n says more"))
        .arg(flag(EXPLAIN, "Print the words in a metric's name that tell its goal"))
}

/// `best METRIC`.
pub async fn run(session: &Session, mut values: Values, matches: &ArgMatches) -> Result<()> {
    let is_id_only = matches.get_flag(ID_ONLY);
    if is_id_only {
        values.entry("limit".to_owned()).or_insert(ParamValue::Integer(1));
    }
    let values = session.workspace.named_values("best", &values).await?;
    let group = matches.get_one::<String>(GROUP);
    let sql = match group {
        Some(word) => Some(of_groups(session, &values, word).await?),
        None => None,
    };
    if session.globals.show_sql {
        return match sql {
            Some(sql) => output::emit_text(&session.globals, &format!("{sql};\n")),
            None => canned::show_sql(session, "best", &values).await,
        };
    }
    let field = Field::of(session, text(&values, "metric").unwrap_or_default(), &values).await?;
    field.check_goal("add --min or --max")?;
    let answer = match sql {
        Some(sql) => session.workspace.sql(&sql).await?,
        None => session.workspace.canned("best", &values).await?,
    };
    let rows = output::collect(answer).await?;
    field.check_not_empty()?;
    match is_id_only {
        true => print_ids(session, &rows)?,
        false => print(session, rows).await?,
    }
    field.notes().iter().for_each(|note| session.terminal.note(note));
    Ok(())
}

/// The statement of the best run of each value of a column of `runs` or of a hyperparameter.
async fn of_groups(session: &Session, values: &Values, word: &str) -> Result<String> {
    let (mut all, limit) = (values.clone(), values.get("limit").map_or_else(|| "10".to_owned(), literal));
    all.insert("limit".to_owned(), ParamValue::Integer(i64::from(i32::MAX)));
    let ranked = session.workspace.canned_sql("best", &all).await?;
    let groups = match GROUPS.contains(&word) {
        true => format!("select run_id, {word} as value from runs"),
        false => {
            check_config_key(session, word).await?;
            let (key, part) = (quoted(word), quoted(&format!(".{word}")));
            format!(
                "select run_id, min(value) as value from configs \
                 where key = {key} or ends_with(key, {part}) group by run_id"
            )
        }
    };
    let order = "case goal when 'min' then best else -best end, best_step, run_id";
    Ok(format!(
        "select * exclude (nth)\nfrom (\n  select ranked.*, grouped.value as grouped, \
         row_number() over (partition by grouped.value order by {order}) as nth\n  \
         from ({ranked}) as ranked\n  left join ({groups}) as grouped using (run_id)\n)\n\
         where nth = 1\norder by {order}\nlimit {limit}"
    ))
}

/// People and agents see what else the runs reached.
async fn print(session: &Session, rows: RecordBatch) -> Result<()> {
    let mut sink = Sink::open(session)?;
    let is_read = sink.format().is_for_people() || sink.tokens_left().is_some();
    match is_read && rows.num_rows() > 0 {
        true => sink.batch(&with_others(session, &rows).await?)?,
        false => sink.batch(&rows)?,
    }
    sink.finish()
}

async fn with_others(session: &Session, rows: &RecordBatch) -> Result<RecordBatch> {
    let runs = output::texts(rows, "run_id")?;
    let list = |texts: Vec<String>| ParamValue::List(texts);
    let asked = Values::from([
        ("runs".to_owned(), list(runs.clone())),
        ("keys".to_owned(), list(output::texts(rows, "metric")?)),
        ("steps".to_owned(), list(output::texts(rows, "best_step")?)),
    ]);
    let told = output::collect(session.workspace.canned("at_best", &asked).await?).await?;
    let told: HashMap<String, String> =
        output::texts(&told, "run_id")?.into_iter().zip(output::texts(&told, "at_best")?).collect();
    let others: ArrayRef = Arc::new(runs.iter().map(|run| told.get(run)).collect::<StringArray>());
    let schema = rows.schema();
    let fields = schema.fields().iter().map(|field| field.as_ref().clone());
    let fields: Vec<Column> = fields.chain([Column::new("at_best", DataType::Utf8, true)]).collect();
    let columns = rows.columns().iter().cloned().chain([others]).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
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
