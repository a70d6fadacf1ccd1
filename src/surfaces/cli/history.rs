//! `history`: finds the run and the metrics worth seeing, and how many rows the reader can take.

use super::args::Values;
use super::output::{self, Plan, Sink};
use super::ranking::count;
use super::{canned, session::Session};
use crate::engine::canned::{ParamValue, literal, quoted};
use crate::error::UserError;
use crate::report::brief::Brief;
use crate::report::tokens::estimate;
use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// More metrics side by side than this are no table.
const KEY_LIMIT: usize = 8;

/// Metrics shown when none has a goal.
const FEW: usize = 4;

/// Every step, as far as a table can hold.
const ALL_ROWS: i64 = i32::MAX as i64;

/// A metric of a longer name is shown when it is asked for.
const NAME_LIMIT: usize = 200;

/// Rows around a step, with the step itself.
const ROWS_AROUND: i64 = 21;

/// How often a sample is made anew until it fits.
const TRIES: usize = 5;

const RAW: &str = "raw";
const LIMIT: &str = "limit";

/// The options the query itself has no use for, and those that exclude each other.
pub fn with_options(command: Command) -> Command {
    let raw = Arg::new(RAW)
        .long(RAW)
        .action(ArgAction::SetTrue)
        .help("Every logged point, one row each, also those that a later start took the place of");
    command
        .mut_arg("around", |around| around.conflicts_with_all(["tail", "every"]))
        .mut_arg("tail", |tail| tail.conflicts_with("every"))
        .arg(raw.conflicts_with_all(["around", "tail", "every"]))
}

/// `history [RUN]`.
pub async fn run(session: &Session, mut values: Values, matches: &ArgMatches) -> Result<()> {
    let word = text(&values, "run").unwrap_or("@latest");
    let run_id = session.workspace.resolve_run(word).await?;
    values.insert("run".to_owned(), ParamValue::Text(run_id.clone()));
    let is_raw = matches.get_flag(RAW);
    if !is_raw && !values.contains_key("keys") {
        values.insert(
            "keys".to_owned(),
            ParamValue::List(default_keys(&run_id, &metrics(session, &run_id).await?)?),
        );
    }
    let query = if is_raw { "points" } else { "history" };
    let mut values = session.workspace.named_values(query, &values).await?;
    if is_raw {
        check_logged(session, &values).await?;
        return canned::run(session, query, &values).await;
    }
    let asked = values.contains_key(LIMIT);
    if values.contains_key("around") {
        values.entry(LIMIT.to_owned()).or_insert(ParamValue::Integer(ROWS_AROUND));
    }
    let plan = Plan::of(&session.globals, &session.terminal)?;
    let is_on_screen = plan.is_on_screen(&session.terminal);
    if plan.most_tokens.is_some() && !session.globals.show_sql && !values.contains_key("every") {
        return fitted(session, values, asked).await;
    }
    if !is_on_screen {
        values.entry(LIMIT.to_owned()).or_insert(ParamValue::Integer(ALL_ROWS));
    }
    if session.globals.show_sql {
        return canned::show_sql(session, "history", &values).await;
    }
    let is_sampled = !["around", "tail", "every", LIMIT].iter().any(|name| values.contains_key(*name));
    let answer = session.workspace.canned("history", &values).await?;
    let written = output::emit(session, answer).await?;
    if is_sampled && Some(written.row_count) == default_limit(session) {
        session.terminal.note("steps were sampled for the screen; -n N shows more, a pipe or -o FILE all");
    }
    Ok(())
}

/// Says when a metric is made of names that hold a step: it was not logged as such.
async fn check_logged(session: &Session, values: &Values) -> Result<()> {
    let Some(ParamValue::List(keys)) = values.get("keys") else { return Ok(()) };
    let patterns = &session.workspace.settings().per_step;
    for key in keys.iter().filter(|key| patterns.iter().any(|pattern| pattern.metric() == **key)) {
        let run = quoted(text(values, "run").unwrap_or_default());
        let logged = quoted(key);
        let sql = format!("select count(*) as n from metrics_raw where run_id = {run} and key = {logged}");
        if count(session, &sql).await? == 0 {
            let message = format!(
                "{key} is made of names that hold a step (per_step in runq.toml), and was not logged"
            );
            return Err(UserError::failed(message).hint("their points are in the table metrics_raw").into());
        }
    }
    Ok(())
}

/// As many rows as an agent's budget holds: a sample is made for the budget, rather than cut.
async fn fitted(session: &Session, mut values: Values, is_asked: bool) -> Result<()> {
    let mut sink = Sink::open(session)?;
    let budget = sink.tokens_left().unwrap_or_default();
    let name = if values.contains_key("tail") { "tail" } else { LIMIT };
    let asked = integer(&values, name);
    // A row that is of few digits, so that the first try is seldom too small.
    let likely = budget / (5 + 4 * key_count(&values));
    let mut limit = asked.unwrap_or(i64::MAX).min(i64::try_from(likely).unwrap_or(i64::MAX)).max(1);
    for trial in 0..TRIES {
        values.insert(name.to_owned(), ParamValue::Integer(limit));
        let rows = output::collect(session.workspace.canned("history", &values).await?).await?;
        let mut brief = Brief::new(&rows.schema(), budget)?;
        brief.write(&rows)?;
        if brief.is_cut() && trial + 1 < TRIES {
            limit = (i64::try_from(brief.written_rows)? * 97 / 100).max(1);
            continue;
        }
        let used = estimate(brief.text()).max(1);
        let has_room = trial == 0 && asked.is_none_or(|asked| limit < asked) && used * 10 < budget * 8;
        if has_room && i64::try_from(rows.num_rows())? == limit {
            let larger = limit.saturating_mul(i64::try_from(budget)?) / i64::try_from(used)?;
            limit = asked.unwrap_or(i64::MAX).min(larger.max(limit));
            continue;
        }
        let is_as_asked = is_asked && asked == Some(limit) || name == "tail" && asked == Some(limit);
        if i64::try_from(rows.num_rows())? == limit && !is_as_asked {
            let steps = step_count(session, &values).await?;
            if steps > limit {
                sink.left_out(format!("{limit} of {steps} steps"));
            }
        }
        sink.brief(&brief)?;
        break;
    }
    sink.finish()
}

/// Steps there are at which one of the metrics was logged.
async fn step_count(session: &Session, values: &Values) -> Result<i64> {
    let part = |name| values.get(name).map_or_else(|| "null".to_owned(), literal);
    let [run, keys, from, to] = ["run", "keys", "from", "to"].map(part);
    let sql = format!("select count(*) as n from history({run}, {keys}, null, {from}, {to})");
    let rows = output::collect(session.workspace.sql(&sql).await?).await?;
    Ok(output::texts(&rows, "n")?.first().and_then(|count| count.parse().ok()).unwrap_or(0))
}

fn key_count(values: &Values) -> usize {
    match values.get("keys") {
        Some(ParamValue::List(keys)) => keys.len(),
        _ => 1,
    }
}

fn integer(values: &Values, name: &str) -> Option<i64> {
    match values.get(name) {
        Some(ParamValue::Integer(number)) => Some(*number),
        _ => None,
    }
}

fn default_limit(session: &Session) -> Option<u64> {
    let query = session.queries().iter().find(|query| query.name == "history")?;
    match query.param(LIMIT)?.default {
        Some(ParamValue::Integer(limit)) => u64::try_from(limit).ok(),
        _ => None,
    }
}

fn text<'a>(values: &'a Values, name: &str) -> Option<&'a str> {
    match values.get(name) {
        Some(ParamValue::Text(text)) => Some(text),
        _ => None,
    }
}

/// A metric of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Metric {
    key: String,
    axis: String,
    has_goal: bool,
}

/// The metrics that are worth seeing unasked.
pub async fn default_keys_of(session: &Session, run_id: &str) -> Result<Vec<String>> {
    let mut known = metrics(session, run_id).await?;
    if let Some(primary) = session.workspace.primary_metric_of(run_id).await {
        known.iter_mut().filter(|metric| metric.key == primary).for_each(|metric| metric.has_goal = true);
        known.sort_by_key(|metric| metric.key != primary);
    }
    default_keys(run_id, &known)
}

async fn metrics(session: &Session, run_id: &str) -> Result<Vec<Metric>> {
    let sql = format!(
        "select key, axis, goal from summary where run_id = {} and count > 0 \
         order by starts_with(key, 'system/'), key",
        quoted(run_id)
    );
    let rows = output::collect(session.workspace.sql(&sql).await?).await?;
    let column = |name| output::texts(&rows, name);
    let rows = column("key")?.into_iter().zip(column("axis")?).zip(column("goal")?);
    Ok(rows.map(|((key, axis), goal)| Metric { key, axis, has_goal: !goal.is_empty() }).collect())
}

/// Those with a goal, else the first few; of one axis, as steps of two are no common row.
fn default_keys(run_id: &str, known: &[Metric]) -> Result<Vec<String>> {
    // The steps have a column of that name already.
    let fitting = || known.iter().filter(|metric| metric.key != "step" && metric.key.len() <= NAME_LIMIT);
    let with_goal: Vec<&Metric> = fitting().filter(|metric| metric.has_goal).collect();
    let (pool, limit) = match with_goal.is_empty() {
        true => (fitting().collect(), FEW),
        false => (with_goal, KEY_LIMIT),
    };
    let axis = pool.iter().find(|metric| metric.axis == "step").or(pool.first()).map(|metric| &metric.axis);
    let keys = pool.iter().filter(|metric| Some(&metric.axis) == axis).take(limit);
    let keys: Vec<String> = keys.map(|metric| metric.key.clone()).collect();
    match keys.is_empty() {
        true => Err(UserError::failed(format!("run \"{run_id}\" has no metrics to show unasked")).into()),
        false => Ok(keys),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn metric(key: &str, axis: &str, has_goal: bool) -> Metric {
        Metric { key: key.to_owned(), axis: axis.to_owned(), has_goal }
    }

    #[test]
    fn metrics_with_a_goal_come_first() {
        let known = [metric("acc", "epoch", true), metric("loss", "step", true), metric("lr", "step", false)];
        assert_eq!(default_keys("r", &known).unwrap(), ["loss"]);
        let bare: Vec<Metric> = (0..6).map(|n| metric(&format!("m{n}"), "step", false)).collect();
        assert_eq!(default_keys("r", &bare).unwrap(), ["m0", "m1", "m2", "m3"]);
        let odd = [
            metric("step", "step", false),
            metric(&"x".repeat(300), "step", false),
            metric("a", "step", false),
        ];
        assert_eq!(default_keys("r", &odd).unwrap(), ["a"]);
        assert!(default_keys("r", &[]).is_err());
    }
}
