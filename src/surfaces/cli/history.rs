//! `history`: finds the run and the metrics worth seeing.

use super::args::Values;
use super::output::{self, Plan};
use super::{canned, session::Session};
use crate::engine::canned::{ParamValue, quoted};
use crate::engine::hints::{several_metrics, taken_for};
use crate::error::UserError;
use crate::records::names::{Meant, meant};
use anyhow::Result;
use clap::ArgMatches;

/// More metrics side by side than this are no table.
const KEY_LIMIT: usize = 8;

/// Metrics shown when none has a goal.
const FEW: usize = 4;

/// Every step, as far as a table can hold.
const ALL_ROWS: i64 = i32::MAX as i64;

/// A metric of a longer name is shown when it is asked for.
const NAME_LIMIT: usize = 200;

/// `history [RUN]`.
pub async fn run(session: &Session, mut values: Values, matches: &ArgMatches) -> Result<()> {
    let word = text(&values, "run").unwrap_or("@latest");
    let run_id = session.workspace.resolve_run(word).await?;
    let known = metrics(session, &run_id).await?;
    let keys = match matches.get_many::<String>("keys") {
        Some(wanted) => {
            let keys = checked(wanted.map(String::as_str), &run_id, &known)?;
            for (word, key) in keys.iter().filter(|(word, key)| word != key) {
                session.terminal.note(&taken_for(word, key));
            }
            keys.into_iter().map(|(_, key)| key).collect()
        }
        None => default_keys(&run_id, &known)?,
    };
    values.insert("run".to_owned(), ParamValue::Text(run_id));
    values.insert("keys".to_owned(), ParamValue::Text(listed(&keys)));
    let is_sampled = !values.contains_key("limit") && samples(session)?;
    if !is_sampled {
        values.entry("limit".to_owned()).or_insert(ParamValue::Integer(ALL_ROWS));
    }
    if session.globals.show_sql {
        return canned::show_sql(session, "history", &values).await;
    }
    let answer = session.workspace.canned("history", &values).await?;
    let written = output::emit(session, answer).await?;
    if is_sampled && Some(written.row_count) == default_limit(session) {
        session.terminal.note("steps were sampled for the screen; -n N shows more, a pipe or -o FILE all");
    }
    Ok(())
}

/// Whether the reader is a person at a screen, who gets a sample.
fn samples(session: &Session) -> Result<bool> {
    Ok(Plan::of(&session.globals, &session.terminal)?.is_on_screen(&session.terminal))
}

fn default_limit(session: &Session) -> Option<u64> {
    let query = session.queries().iter().find(|query| query.name == "history")?;
    match query.param("limit")?.default {
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
fn default_keys<'k>(run_id: &str, known: &'k [Metric]) -> Result<Vec<&'k str>> {
    // The steps have a column of that name already.
    let fitting = || known.iter().filter(|metric| metric.key != "step" && metric.key.len() <= NAME_LIMIT);
    let with_goal: Vec<&Metric> = fitting().filter(|metric| metric.has_goal).collect();
    let (pool, limit) = match with_goal.is_empty() {
        true => (fitting().collect(), FEW),
        false => (with_goal, KEY_LIMIT),
    };
    let axis = pool.iter().find(|metric| metric.axis == "step").or(pool.first()).map(|metric| &metric.axis);
    let keys = pool.iter().filter(|metric| Some(&metric.axis) == axis).take(limit);
    let keys: Vec<&str> = keys.map(|metric| metric.key.as_str()).collect();
    match keys.is_empty() {
        true => Err(UserError::failed(format!("run \"{run_id}\" has no metrics to show unasked")).into()),
        false => Ok(keys),
    }
}

/// The metrics that were asked for: each word is the name of one, or several names parted by commas.
fn checked<'w, 'k>(
    wanted: impl Iterator<Item = &'w str>,
    run_id: &str,
    known: &'k [Metric],
) -> Result<Vec<(&'w str, &'k str)>> {
    let names: Vec<&str> = known.iter().map(|metric| metric.key.as_str()).collect();
    let mut keys = Vec::new();
    for word in wanted {
        match names.contains(&word) {
            true => keys.push(word),
            false => keys.extend(word.split(',').map(str::trim).filter(|key| !key.is_empty())),
        }
    }
    keys.into_iter().map(|word| Ok((word, known_as(word, run_id, &names)?))).collect()
}

/// The metric of the run that a word names.
fn known_as<'k>(word: &str, run_id: &str, names: &[&'k str]) -> Result<&'k str> {
    match meant(word, names.iter().copied()) {
        Meant::One(key) => Ok(key),
        Meant::Several(keys) => Err(several_metrics(word, &keys).into()),
        Meant::Nothing => {
            let error = UserError::failed(format!("run \"{run_id}\" has no metric \"{word}\""));
            Err(error.nearest_of(word, names, "metrics").into())
        }
    }
}

/// Names as the function `history` takes them: in quotes where a name could be read as another.
fn listed(keys: &[&str]) -> String {
    let is_plain = |key: &str| !key.contains(',') && !key.starts_with('"') && key.trim() == key;
    let name = |key: &&str| match is_plain(key) {
        true => (*key).to_owned(),
        false => format!("\"{}\"", key.replace('"', "\"\"")),
    };
    keys.iter().map(name).collect::<Vec<_>>().join(",")
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

    #[test]
    fn unknown_metrics_bring_the_nearest() {
        let known = [metric("val_loss", "step", true), metric("lr", "step", false)];
        let keys = checked(["lr, eval/loss"].into_iter(), "r", &known).unwrap();
        assert_eq!(keys, [("lr", "lr"), ("eval/loss", "val_loss")]);
        let error = checked(["val_los"].into_iter(), "r", &known).unwrap_err();
        let error = error.downcast_ref::<UserError>().unwrap();
        assert_eq!(error.message, "run \"r\" has no metric \"val_los\"");
        assert_eq!(error.hint.as_deref(), Some("did you mean \"val_loss\"?"));
    }

    #[test]
    fn a_name_that_holds_a_comma_is_one_name() {
        let known =
            [metric("a,b", "step", false), metric("a", "step", false), metric(" \"c\"", "step", false)];
        let keys = checked(["a,b", "a", " \"c\""].into_iter(), "r", &known).unwrap();
        let keys: Vec<&str> = keys.into_iter().map(|(_, key)| key).collect();
        assert_eq!(keys, ["a,b", "a", " \"c\""]);
        assert_eq!(listed(&keys), "\"a,b\",a,\" \"\"c\"\"\"");
    }
}
