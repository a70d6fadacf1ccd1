//! YAML as training scripts and trackers write it, with the tags of Python, as values of JSON.

use super::json::Json;
use anyhow::{Context, bail};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use std::borrow::Cow;

/// Nesting beyond this is cut off.
const MAX_DEPTH: usize = 100;

/// The first document of a text; null when there is none.
pub fn parse(text: &str) -> anyhow::Result<Json<'static>> {
    if nests_too_deeply(text) {
        bail!("nested too deeply");
    }
    // Python's own tags are not in the schema that `!!` stands for; as local tags they are ignored.
    let text = text.replace("!!python/", "!python/");
    let documents = Yaml::load_from_str(&text).context("no YAML")?;
    Ok(documents.first().map_or(Json::Null, |document| value_of(document, 0)))
}

/// Whether blocks nest beyond measure: the parser has no limit of its own for them. They nest by
/// their columns, and `- - - ...` or `? ? ? ...` opens one with each sign.
fn nests_too_deeply(text: &str) -> bool {
    let mut columns: Vec<usize> = Vec::new();
    text.lines().any(|line| {
        let line = line.as_bytes();
        let is_blank = |at: usize| line.get(at).is_some_and(|c| matches!(c, b' ' | b'\t'));
        for (column, byte) in line.iter().enumerate().filter(|(_, byte)| !matches!(byte, b' ' | b'\t')) {
            columns.truncate(columns.partition_point(|outer| *outer < column));
            columns.push(column);
            if !matches!(byte, b'-' | b'?' | b':') || !is_blank(column + 1) {
                break;
            }
        }
        columns.len() > MAX_DEPTH
    })
}

fn value_of(value: &Yaml<'_>, depth: usize) -> Json<'static> {
    match value {
        _ if depth > MAX_DEPTH => Json::Null,
        Yaml::Value(scalar) => scalar_of(scalar),
        Yaml::Sequence(items) => Json::Array(items.iter().map(|item| value_of(item, depth + 1)).collect()),
        Yaml::Mapping(fields) => Json::Object(
            fields
                .iter()
                .map(|(key, value)| (Cow::Owned(key_of(key, depth + 1)), value_of(value, depth + 1)))
                .collect(),
        ),
        Yaml::Tagged(tag, inner) => match value_of(inner, depth + 1) {
            // `!python/name:torch.nn.ReLU ''`: the name is the value.
            Json::String(text) if text.is_empty() => name_of_tag(&tag.suffix),
            Json::Null => name_of_tag(&tag.suffix),
            inner => inner,
        },
        Yaml::Representation(text, ..) => Json::String(Cow::Owned(text.to_string())),
        Yaml::Alias(_) | Yaml::BadValue => Json::Null,
    }
}

fn name_of_tag(suffix: &str) -> Json<'static> {
    let name = suffix.rsplit(':').next().unwrap_or(suffix);
    Json::String(Cow::Owned(name.to_string()))
}

fn key_of(key: &Yaml<'_>, depth: usize) -> String {
    match value_of(key, depth) {
        Json::String(text) => text.into_owned(),
        other => other.to_text(),
    }
}

fn scalar_of(scalar: &Scalar<'_>) -> Json<'static> {
    match scalar {
        Scalar::Null => Json::Null,
        Scalar::Boolean(flag) => Json::Bool(*flag),
        Scalar::Integer(number) => integer(*number),
        Scalar::FloatingPoint(number) => Json::Number(number.into_inner(), b""),
        Scalar::String(text) => Json::String(Cow::Owned(text.to_string())),
    }
}

/// Whole numbers that a double cannot hold stay exact as text.
pub fn integer(number: i64) -> Json<'static> {
    match number.unsigned_abs() <= 1 << 53 {
        true => Json::Number(number as f64, b""),
        false => Json::String(Cow::Owned(number.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn nesting_without_end_is_refused() {
        for text in ["- ", "? ", ": ", "-\t", "- ? ", "[", "{", "[{", "{? ", "a: ["] {
            assert!(parse(&text.repeat(100_000)).is_err(), "{text}");
        }
        for sign in ["a:", "?", "-", "- - - -"] {
            let lines = (0..3000).map(|column| format!("{}{sign}\n", " ".repeat(column)));
            assert!(parse(&lines.collect::<String>()).is_err(), "{sign}");
        }
    }

    #[test]
    fn the_deepest_nesting_that_is_read_fits_the_stack() {
        let lines = (0..99).map(|column| format!("{0}a:\n{0}-\n", " ".repeat(column)));
        let text = format!("{}{}{}", lines.collect::<String>(), " ".repeat(99), "[".repeat(250));
        assert!(parse(&format!("{text}{}", "]".repeat(250))).is_ok());
        assert!(parse("a: b - c - d\n# - - -\n---\n").is_ok());
    }
}
