//! Patterns of the project for lines that no dialect knows: `[[console.patterns]]` in `runq.toml`.

use super::dialect::Row;
use crate::error::UserError;
use crate::sources::parse::axis;
use crate::sources::parse::json::{Json, parse_number_like};
use regex::{Captures, Regex, RegexBuilder};
use std::borrow::Cow;

/// A compiled pattern may take so much memory.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Patterns as they are written in `runq.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// In the order in which they are tried.
    pub patterns: Vec<Entry>,
}

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name, for messages.
    pub name: String,
    /// A regular expression. Its groups `step`, `epoch`, `time`, `split` and `run` have their
    /// meaning, each other named group is a metric; or groups `key` and `value`, which may match
    /// several times in a line.
    pub pattern: String,
    /// A line that it must match.
    pub sample: String,
}

/// A pattern, ready for use.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    has_keys: bool,
}

impl Pattern {
    /// Compiles and tries a pattern.
    ///
    /// # Errors
    /// When it is no regular expression, names no metric, or its sample tells none.
    pub fn new(entry: &Entry) -> Result<Self, UserError> {
        let failed = |why: &str| UserError::failed(format!("console pattern {:?}: {why}", entry.name));
        let regex = RegexBuilder::new(&entry.pattern).size_limit(MAX_REGEX_BYTES).build();
        let regex = regex.map_err(|error| {
            let text = error.to_string();
            let line = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            failed(&format!("no regular expression: {line}"))
        })?;
        let has = |name: &str| regex.capture_names().flatten().any(|group| group == name);
        let (has_key, has_value) = (has("key"), has("value"));
        if has_key != has_value {
            return Err(failed("groups `key` and `value` belong together"));
        }
        let has_metric = regex.capture_names().flatten().any(|group| !is_place(group));
        if !has_metric {
            return Err(failed("it has no group for a metric").hint("write one as (?P<loss>[0-9.]+)"));
        }
        let pattern = Self { regex, has_keys: has_key };
        match pattern.read(&entry.sample) {
            Some(_) => Ok(pattern),
            None if pattern.regex.is_match(&entry.sample) => {
                Err(failed("its sample matches, but no group of a metric holds a number"))
            }
            None => Err(failed("its sample does not match")),
        }
    }

    /// What a line says, where it matches.
    pub fn read<'l>(&self, line: &'l str) -> Option<Row<'l>> {
        let mut row = Row::telling();
        let mut metrics = 0;
        let most = if self.has_keys { usize::MAX } else { 1 };
        for captures in self.regex.captures_iter(line).take(most) {
            for group in self.regex.capture_names().flatten() {
                let Some(text) = captures.name(group).map(|found| found.as_str()) else { continue };
                metrics += add(&mut row, group, text, &captures);
            }
        }
        (metrics > 0).then_some(row)
    }
}

/// Whether a group says where the row belongs.
fn is_place(group: &str) -> bool {
    matches!(group, "step" | "epoch" | "time" | "split" | "run" | "key")
}

/// Adds a group to the row; returns how many metrics it was.
fn add<'l>(row: &mut Row<'l>, group: &str, text: &'l str, captures: &Captures<'l>) -> usize {
    let known = |row: &Row<'_>, key: &str| row.fields.iter().any(|(name, _)| name == key);
    let text_value = || Json::String(Cow::Borrowed(text));
    match group {
        "key" => {}
        "step" | "epoch" | "split" | "run" | "time" if known(row, place_key(group)) => {}
        "split" | "run" => row.fields.push((place_key(group).into(), text_value())),
        "time" => {
            if let Some(time) = axis::time_of(&text_value()) {
                row.fields.push((place_key(group).into(), Json::Number(time as f64, b"")));
            }
        }
        "step" | "epoch" => row.fields.extend(number(text).map(|number| (place_key(group).into(), number))),
        _ => {
            let key = match captures.name("key") {
                Some(key) if group == "value" => Cow::Borrowed(key.as_str().trim()),
                _ => Cow::Owned(group.to_string()),
            };
            let found = number(text).filter(|_| !key.is_empty());
            let count = usize::from(found.is_some());
            row.fields.extend(found.map(|number| (key, number)));
            return count;
        }
    }
    0
}

/// The key under which rows hold it.
fn place_key(group: &str) -> &'static str {
    match group {
        "step" => "step",
        "epoch" => "epoch",
        "split" => "split",
        "run" => "run",
        _ => "_timestamp",
    }
}

fn number(text: &str) -> Option<Json<'static>> {
    let text = text.trim();
    let number = parse_number_like(text).or_else(|| parse_number_like(&text.replace([',', '_'], "")))?;
    Some(Json::Number(number, b""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn pattern(pattern: &str, sample: &str) -> Result<Pattern, UserError> {
        Pattern::new(&Entry { name: "mine".into(), pattern: pattern.into(), sample: sample.into() })
    }

    fn shown(row: &Row<'_>) -> Vec<(String, String)> {
        let text = |value: &Json<'_>| match value {
            Json::Number(number, _) => number.to_string(),
            other => other.to_text(),
        };
        row.fields.iter().map(|(key, value)| (key.to_string(), text(value))).collect()
    }

    #[test]
    fn groups_have_their_meaning() {
        let line = "2024-01-02 03:04:05 <12,000> e=3 val L=2.5 A=nan";
        let found = pattern(
            r"(?P<time>\S+ \S+) <(?P<step>[\d,]+)> e=(?<epoch>\d+) (?P<split>\w+) L=(?P<loss>\S+) A=(?P<acc>\S+)",
            line,
        );
        let found = found.unwrap();
        let row = found.read(line).unwrap();
        let names: Vec<_> = shown(&row).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            names,
            ["_timestamp=1704164645000", "step=12000", "epoch=3", "split=\"val\"", "loss=2.5", "acc=NaN"]
        );
        assert!(found.read("another line").is_none());
        let pairs =
            pattern(r"(?:@(?P<step>\d+) )?(?P<key>\w+)->(?P<value>\S+)", "@3 loss->2.5 acc->0.5").unwrap();
        let row = pairs.read("@3 loss->2.5 acc->0.5 name->x").unwrap();
        assert_eq!(
            shown(&row).iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
            ["step", "loss", "acc"]
        );
    }

    #[test]
    fn mistakes_are_one_clear_line() {
        for (text, sample, wanted) in [
            ("(", "", "console pattern \"mine\": no regular expression: unclosed group"),
            (r"(?P<step>\d+)", "1", "it has no group for a metric"),
            (r"(?P<key>\w+)", "a", "groups `key` and `value` belong together"),
            (r"x=(?P<loss>\S+)", "y=1", "its sample does not match"),
            (r"x=(?P<loss>\S+)", "x=a", "no group of a metric holds a number"),
            (r"(?P<loss>(\w{100}){100}){100}", "", "no regular expression"),
        ] {
            let message = pattern(text, sample).unwrap_err().message;
            assert!(message.contains(wanted) && !message.contains('\n'), "{text}: {message}");
        }
    }
}
