//! Values of a canned query as the engine takes them: defaults filled in, names resolved to what is there.

use super::canned::{self, Canned, ParamType, ParamValue};
use super::hints::several_metrics;
use super::ranking::Ranking;
use super::selection::{self, Selection};
use super::{Engine, Words, runs};
use crate::error::UserError;
use crate::records::names::{Meant, meant};
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use runq_udfs::kernels::diagnosis::{Kind, Level};
use std::collections::BTreeMap;

/// The states a run may be in.
const STATES: [&str; 5] = ["running", "finished", "failed", "crashed", "unknown"];

impl Engine {
    /// Values with defaults filled in, runs resolved to their ids, metrics to those that exist, conditions
    /// to the statements they stand for.
    ///
    /// # Errors
    /// When a value is missing or names what is not there.
    pub async fn checked_values(
        &self,
        query: &Canned,
        values: &BTreeMap<String, ParamValue>,
    ) -> anyhow::Result<BTreeMap<String, ParamValue>> {
        let mut values = canned::with_values(query, values)?;
        // What is asked of a run comes after the run, a ranking after what tells of which runs.
        let mut params: Vec<_> = query.params.iter().collect();
        params.sort_by_key(|param| match param.kind {
            ParamType::Run => 0,
            ParamType::Ranking => 2,
            _ => 1,
        });
        for param in params {
            let value = values.remove(&param.name).unwrap_or(ParamValue::Null);
            let value = match param.kind {
                ParamType::Ranking => self.ranked(value, &values).await?,
                kind => self.resolved(kind, value, run_of(query, &values)).await?,
            };
            values.insert(param.name.clone(), value);
        }
        Ok(values)
    }

    async fn ranked(
        &self,
        value: ParamValue,
        values: &BTreeMap<String, ParamValue>,
    ) -> anyhow::Result<ParamValue> {
        let ranking = match value {
            ParamValue::Null => Ranking::default(),
            ParamValue::Text(word) => self.ranking(&self.resolve_form(&word).await?).await?,
            value => return Ok(value),
        };
        Ok(ParamValue::Query(ranking.with_values(values).sql()))
    }

    async fn resolved(
        &self,
        kind: ParamType,
        value: ParamValue,
        run: Option<&str>,
    ) -> anyhow::Result<ParamValue> {
        let text = match (kind, value) {
            (ParamType::Condition, ParamValue::Null) => return Ok(ParamValue::Query(selection::every_run())),
            (ParamType::Order, ParamValue::Null) => return Ok(ParamValue::Query(selection::no_order())),
            (ParamType::Metrics, ParamValue::List(words)) => {
                let metrics = self.resolve_metrics_of(run.unwrap_or_default(), &words).await?;
                return Ok(ParamValue::List(metrics.into_iter().map(|(_, key)| key).collect()));
            }
            (ParamType::Runs, ParamValue::List(words)) => {
                let mut run_ids = Vec::with_capacity(words.len());
                for word in &words {
                    run_ids.push(self.resolve_run(word).await?);
                }
                return Ok(ParamValue::List(run_ids));
            }
            (_, ParamValue::Text(text)) => text,
            (_, value) => return Ok(value),
        };
        Ok(match kind {
            ParamType::Run => ParamValue::Text(self.resolve_run(&text).await?),
            ParamType::Metric => ParamValue::Text(self.resolve_metric(&text).await?),
            ParamType::MetricForm => ParamValue::Text(self.resolve_form(&text).await?),
            ParamType::Project => ParamValue::Text(self.known(&text, "project", "projects").await?),
            ParamType::Tag => ParamValue::Text(self.known(&text, "unnest(tags)", "tags").await?),
            ParamType::State => ParamValue::Text(one_of(text, &STATES, "state", "states")?),
            ParamType::Level => {
                ParamValue::Text(one_of(text, &Level::ALL.map(Level::as_str), "level", "levels")?)
            }
            ParamType::Kind => {
                let kinds: Vec<&str> = Kind::every().map(Kind::as_str).chain(["logged"]).collect();
                ParamValue::Text(one_of(text, &kinds, "kind", "kinds")?)
            }
            ParamType::Since => ParamValue::Integer(since(&text, self.now_ms)?),
            ParamType::Span => ParamValue::Integer(span_ms(&text).ok_or_else(|| no_span(&text))?),
            ParamType::Condition | ParamType::Order => {
                ParamValue::Query(self.select_runs(kind, &text).await?.sql)
            }
            _ => ParamValue::Text(text),
        })
    }

    /// The statement of a condition, or of an order.
    ///
    /// # Errors
    /// When it is none, or names what is not there.
    pub async fn select_runs(&self, kind: ParamType, text: &str) -> anyhow::Result<Selection> {
        let names = selection::Names::of(&self.small).await?.with_words(&self.words);
        Ok(match kind {
            ParamType::Order => selection::placed(text, &names)?,
            _ => selection::meeting(text, &names)?,
        })
    }

    /// The word itself, where some run has it.
    async fn known(&self, word: &str, expression: &str, plural: &str) -> anyhow::Result<String> {
        let sql = format!("select distinct {expression} as name from runs order by name");
        let known = runs::names(&self.small, &sql).await?;
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        Ok(one_of(word.to_owned(), &known, plural.trim_end_matches('s'), plural)?)
    }

    /// The metrics of a run that words name, each with its word: a word is the name of one in any spelling,
    /// or several of them parted by commas.
    ///
    /// # Errors
    /// When the run has no such metric, or more than one of that spelling.
    pub async fn resolve_metrics_of(
        &self,
        run_id: &str,
        words: &[String],
    ) -> anyhow::Result<Vec<(String, String)>> {
        let sql = format!(
            "select key from summary where run_id = {} and count > 0
             order by starts_with(key, 'system/'), key",
            canned::quoted(run_id)
        );
        Ok(chosen(words, run_id, &runs::names(&self.small, &sql).await?, &self.words)?)
    }
}

fn run_of<'v>(query: &Canned, values: &'v BTreeMap<String, ParamValue>) -> Option<&'v str> {
    let param = query.params.iter().find(|param| param.kind == ParamType::Run)?;
    match values.get(&param.name)? {
        ParamValue::Text(run_id) => Some(run_id),
        _ => None,
    }
}

fn one_of(word: String, known: &[&str], what: &str, plural: &str) -> Result<String, UserError> {
    if known.contains(&word.as_str()) {
        return Ok(word);
    }
    let error = UserError::failed(format!("{what} \"{word}\" not found"));
    Err(match known.is_empty() {
        true => error.hint(format!("no run has {plural}")),
        false => error.nearest_of(&word, known, plural),
    })
}

fn chosen(
    words: &[String],
    run_id: &str,
    known: &[String],
    own: &Words,
) -> Result<Vec<(String, String)>, UserError> {
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let mut wanted: Vec<&str> = Vec::new();
    for word in words {
        match names.contains(&word.as_str()) {
            true => wanted.push(word),
            false => wanted.extend(word.split(',').map(str::trim).filter(|key| !key.is_empty())),
        }
    }
    let one = |word: &str| {
        let meant = own.meant(word);
        let key = match (known_as(meant, run_id, &names), own.called(meant)) {
            (Err(_), Some(metric)) => known_as(metric, run_id, &names)?,
            (key, _) => key?,
        };
        Ok((word.to_owned(), key))
    };
    let mut found = Vec::new();
    for word in wanted {
        match own.groups.get(word).filter(|_| !names.contains(&word)) {
            None => found.push(one(word)?),
            // Few runs have all of a group.
            Some(group) => {
                let before = found.len();
                found.extend(group.iter().filter_map(|member| one(member).ok()));
                if found.len() == before {
                    let message = format!("run \"{run_id}\" has no metric of the group \"{word}\"");
                    return Err(UserError::failed(message).hint(format!("the group is {}", group.join(", "))));
                }
            }
        }
    }
    Ok(found)
}

/// The metric of the run that a word names.
fn known_as(word: &str, run_id: &str, names: &[&str]) -> Result<String, UserError> {
    match meant(word, names.iter().copied()) {
        Meant::One(key) => Ok(key.to_owned()),
        Meant::Several(keys) => Err(several_metrics(word, &keys)),
        Meant::Nothing => {
            let error = UserError::failed(format!("run \"{run_id}\" has no metric \"{word}\""));
            Err(error.nearest_of(word, names, "metrics"))
        }
    }
}

/// `2d`, `36h`, `90m`, `2w`, `30s`, in milliseconds.
fn span_ms(text: &str) -> Option<i64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let unit_s = match &text[end..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    let number = text[..end].parse::<f64>().ok().filter(|number| *number >= 0.0)?;
    // The cast of a float saturates.
    Some((number * f64::from(unit_s) * 1_000.0) as i64)
}

fn no_span(text: &str) -> UserError {
    UserError::usage(format!("\"{text}\" is no span of time")).hint("write it as 30m, 2h or 1d")
}

/// `2d`, `36h`, `90m`, `2w` back from now, or a date with or without a time of day in UTC, as milliseconds
/// since 1970.
fn since(text: &str, now_ms: i64) -> Result<i64, UserError> {
    if let Some(span_ms) = span_ms(text) {
        return Ok(now_ms.saturating_sub(span_ms));
    }
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let time = || {
        let patterns = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
        let text = text.trim_end_matches('Z');
        patterns.iter().find_map(|pattern| NaiveDateTime::parse_from_str(text, pattern).ok())
    };
    let zoned = DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis());
    zoned.or_else(|| Some(date().or_else(time)?.and_utc().timestamp_millis())).ok_or_else(|| {
        let today = DateTime::from_timestamp_millis(now_ms).unwrap_or_default() - TimeDelta::days(2);
        UserError::usage(format!("\"{text}\" is no time"))
            .hint(format!("write it as 2d, 12h or 30m, or as {}", today.format("%Y-%m-%d")))
    })
}

/// A value as it is bound; one that is not given is null of its type.
pub fn scalar(kind: ParamType, value: Option<&ParamValue>) -> ScalarValue {
    match (kind, value) {
        (_, Some(ParamValue::Text(text))) => ScalarValue::Utf8(Some(text.clone())),
        (_, Some(ParamValue::Integer(number))) => ScalarValue::Int64(Some(*number)),
        (_, Some(ParamValue::Number(number))) => ScalarValue::Float64(Some(*number)),
        (_, Some(ParamValue::Flag(flag))) => ScalarValue::Boolean(Some(*flag)),
        (_, Some(ParamValue::List(texts))) => {
            let texts: Vec<ScalarValue> = texts.iter().map(|text| ScalarValue::from(text.as_str())).collect();
            ScalarValue::List(ScalarValue::new_list(&texts, &DataType::Utf8, true))
        }
        (ParamType::Integer | ParamType::Count | ParamType::Since | ParamType::Span, _) => {
            ScalarValue::Int64(None)
        }
        (ParamType::Number, _) => ScalarValue::Float64(None),
        (ParamType::Flag, _) => ScalarValue::Boolean(Some(false)),
        _ => ScalarValue::Utf8(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn keys(words: &[&str], known: &[&str]) -> Vec<String> {
        chosen(&texts(words), "r", &texts(known), &Words::default())
            .unwrap()
            .into_iter()
            .map(|(_, key)| key)
            .collect()
    }

    #[test]
    fn metrics_go_by_other_spellings_and_unknown_ones_bring_the_nearest() {
        assert_eq!(keys(&["lr, eval/loss"], &["lr", "val_loss"]), ["lr", "val_loss"]);
        let known = texts(&["lr", "val_loss"]);
        let error = chosen(&texts(&["val_los"]), "r", &known, &Words::default()).unwrap_err();
        assert_eq!(error.message, "run \"r\" has no metric \"val_los\"");
        assert_eq!(error.hint.as_deref(), Some("did you mean \"val_loss\"?"));
    }

    #[test]
    fn a_name_that_holds_a_comma_is_one_name() {
        let known = [" \"c\"", "a", "a,b"];
        assert_eq!(keys(&["a,b", "a", " \"c\""], &known), ["a,b", "a", " \"c\""]);
    }

    #[test]
    fn times_are_spans_or_dates() {
        let now_ms = 1_800_000_000_000;
        let day_ms = 86_400_000;
        for (text, want) in [
            ("2d", now_ms - 2 * day_ms),
            ("1.5h", now_ms - 5_400_000),
            ("0s", now_ms),
            ("1w", now_ms - 7 * day_ms),
            ("1970-01-02", day_ms),
            ("1970-01-02T01:00", day_ms + 3_600_000),
            ("1970-01-02 01:00:00.5", day_ms + 3_600_500),
            ("1970-01-02T01:00:00+01:00", day_ms),
            ("1970-01-02T00:00:00Z", day_ms),
        ] {
            assert_eq!(since(text, now_ms), Ok(want), "{text}");
        }
        for text in ["", "2", "d", "-2d", "2 fortnights", "2026-13-01", "yesterday", "é"] {
            let error = since(text, now_ms).unwrap_err();
            assert_eq!(error.hint.as_deref(), Some("write it as 2d, 12h or 30m, or as 2027-01-13"), "{text}");
        }
    }
}
