//! Values as W&B writes them: Python's JSON, with bare `NaN` and infinities, numbers beyond any
//! range and lone surrogates.

use crate::records::ConfigValue;
use serde_json::Value;

/// A leaf of a logged value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Leaf<'a> {
    /// A number, NaN and infinities included.
    Number(f64),
    /// A string.
    Text(&'a str),
}

/// The number a JSON text is, when it is one; bare `NaN` and infinities count.
pub(crate) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    match text.as_bytes() {
        [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..] => text.parse().ok(),
        _ if text.starts_with('"') => None,
        _ => spelled(text),
    }
}

/// NaN and the infinities in the spellings producers use.
pub(crate) fn spelled(text: &str) -> Option<f64> {
    match text {
        "NaN" | "nan" => Some(f64::NAN),
        "Infinity" | "inf" | "INF" => Some(f64::INFINITY),
        "-Infinity" | "-inf" | "-INF" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Parses JSON; bare NaN and infinities become strings of that spelling.
pub(crate) fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(&tolerant(text)).ok())
}

/// Rewrites what strict JSON forbids: bare tokens and overlong numbers are quoted, lone surrogates
/// replaced. Strings stay untouched otherwise.
fn tolerant(text: &str) -> String {
    let text = text.trim_start_matches('\u{feff}');
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = if first == '"' {
            string_end(rest)
        } else if is_token(first) {
            rest.find(|c| !is_token(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (piece, behind) = rest.split_at(taken);
        match number(piece) {
            _ if first == '"' => push_string(&mut out, piece),
            Some(value) if !value.is_finite() => {
                out.push_str(match value {
                    v if v.is_nan() => "\"NaN\"",
                    v if v > 0.0 => "\"Infinity\"",
                    _ => "\"-Infinity\"",
                });
            }
            _ => out.push_str(piece),
        }
        rest = behind;
    }
    out
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')
}

/// Bytes of the string `text` begins with, quotes included.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// Copies a JSON string; an escape of half a surrogate pair becomes U+FFFD.
fn push_string(out: &mut String, piece: &str) {
    let mut rest = piece;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            _ => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out.push_str(rest);
}

/// The UTF-16 unit of a `\uXXXX` escape at the beginning of `text`.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

/// Visits the numbers and strings of a value under `key`; nested names are joined with `.`. Media
/// (objects with `_type`), lists, booleans and nulls are no metrics and are left out.
pub(crate) fn leaves(value: &Value, key: &mut String, visit: &mut dyn FnMut(&str, Leaf<'_>)) {
    match value {
        Value::Number(number) => visit(key, Leaf::Number(number.as_f64().unwrap_or(f64::NAN))),
        Value::String(text) => match spelled(text) {
            Some(number) => visit(key, Leaf::Number(number)),
            None => visit(key, Leaf::Text(text)),
        },
        Value::Object(map) if !map.contains_key("_type") => {
            for (name, value) in map {
                let length = descend(key, name);
                leaves(value, key, visit);
                key.truncate(length);
            }
        }
        _ => {}
    }
}

/// Visits the hyperparameters of a value under `key`: objects are flattened, lists stay whole.
pub(crate) fn config(value: &Value, key: &mut String, visit: &mut dyn FnMut(&str, ConfigValue)) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                let length = descend(key, name);
                config(value, key, visit);
                key.truncate(length);
            }
        }
        value => visit(key, config_value(value)),
    }
}

/// Appends a name to a path; says how long the path was.
fn descend(key: &mut String, name: &str) -> usize {
    let length = key.len();
    if length > 0 {
        key.push('.');
    }
    key.push_str(name);
    length
}

fn config_value(value: &Value) -> ConfigValue {
    match value {
        Value::String(text) => ConfigValue { text: text.clone(), number: None },
        value => ConfigValue { text: value.to_string(), number: value.as_f64() },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn flat(text: &str) -> Vec<(String, f64)> {
        let mut found = Vec::new();
        leaves(&parse(text).unwrap(), &mut String::new(), &mut |key, leaf| {
            if let Leaf::Number(value) = leaf {
                found.push((key.to_owned(), value));
            }
        });
        found
    }

    #[test]
    fn tolerates_what_python_writes() {
        let found = flat(
            r#"{"a": NaN, "b": {"c": -Infinity, "d": "NaN"}, "e": 1e400, "f": 12345678901234567890123}"#,
        );
        assert!(found[0].1.is_nan());
        assert_eq!(found[1], ("b.c".into(), f64::NEG_INFINITY));
        assert!(found[2].1.is_nan());
        assert_eq!(found[3].1, f64::INFINITY);
        assert_eq!(found[4].1, 12345678901234567890123.0);
    }

    #[test]
    fn leaves_strings_alone_and_replaces_lone_surrogates() {
        let value = parse(r#"{"a": NaN, "t": "a NaN, \"-Infinity\" \ud800 \ud83d\ude00 \\"}"#).unwrap();
        assert_eq!(value["t"], "a NaN, \"-Infinity\" \u{fffd} \u{1f600} \\");
        assert!(parse("{\"a\": ").is_none());
        assert!(parse("\"\\ud8").is_none());
        assert_eq!(parse("\u{feff}[1]").unwrap().to_string(), "[1]");
    }

    #[test]
    fn media_and_lists_are_no_metrics() {
        assert_eq!(flat(r#"{"img": {"_type": "image-file", "width": 3}, "l": [1], "b": true}"#), []);
    }

    #[test]
    fn numbers_by_the_fast_path() {
        assert_eq!(number(" 1.7951965256070383e+09 "), Some(1795196525.6070383));
        assert_eq!(number("-Infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(number("1e400"), Some(f64::INFINITY));
        assert_eq!((number("true"), number("\"1\""), number("1x"), number("")), (None, None, None, None));
    }
}
