//! Times at the start of printed lines.

use super::axis;
use super::json::Json;
use crate::records::TimeMs;
use chrono::{NaiveDateTime, NaiveTime};

/// In brackets so much may stand behind the time: a level, a logger.
const MAX_BRACKET_BYTES: usize = 80;

/// Shapes of times beside those of ISO 8601: `0` is a digit, `_` a digit or a space, `A` a letter.
/// Without a format they tell no year, and so no time.
const SHAPES: &[(&str, &[&str])] = &[
    ("00/00/0000 00:00:00", &["%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S"]),
    ("00/00/00 00:00:00", &["%m/%d/%y %H:%M:%S", "%d/%m/%y %H:%M:%S"]),
    ("00.00.0000 00:00:00", &["%d.%m.%Y %H:%M:%S"]),
    ("AAA AAA _0 00:00:00 0000", &["%a %b %e %H:%M:%S %Y"]),
    ("00000000 00:00:00", &["%Y%m%d %H:%M:%S"]),
    ("00/00 00:00:00", &[]),
    ("AAA _0 00:00:00", &[]),
    ("00:00:00", &[]),
];

/// The time at the start of a line, if it tells one with a year, and what stands behind it.
pub fn stamp(text: &str) -> Option<(Option<TimeMs>, &str)> {
    match text.strip_prefix('[') {
        Some(inner) => {
            let (time, rest) = uptime(inner).or_else(|| bare(inner))?;
            let (behind, rest) = rest.split_once(']')?;
            (behind.len() <= MAX_BRACKET_BYTES && !behind.contains(['=', '[', '{'])).then_some((time, rest))
        }
        None => bare(text).filter(|(_, rest)| !rest.starts_with(|c: char| c.is_alphanumeric() || c == ':')),
    }
}

/// `2024-01-02 03:04:05,678`, with `/` or `T`, with a zone; other shapes; seconds since 1970.
pub fn bare(text: &str) -> Option<(Option<TimeMs>, &str)> {
    if let Some((time, rest)) = iso(text) {
        return Some((Some(time), rest));
    }
    if let Some(end) = fits(text, "0000000000.000") {
        let end = end + digits(text, end);
        let time = axis::time_of(&Json::String(text.get(..end)?.into()));
        return text
            .get(end..)
            .filter(|rest| time.is_some() && rest.starts_with(' '))
            .map(|rest| (time, rest));
    }
    let (end, formats) = SHAPES.iter().find_map(|(shape, formats)| Some((fits(text, shape)?, formats)))?;
    let told = text.get(..end)?;
    let time = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(told, format).ok());
    let clock = told.get(told.find(':')?.checked_sub(2)?..)?.get(..8)?;
    let is_time = time.is_some() || formats.is_empty();
    NaiveTime::parse_from_str(clock, "%H:%M:%S").ok().filter(|_| is_time)?;
    let (millis, end) = fraction(text, end);
    let time = time.map(|time| time.and_utc().timestamp_millis() + millis);
    Some((time, text.get(end..)?))
}

fn iso(text: &str) -> Option<(TimeMs, &str)> {
    let at = |from: usize, shape: &str| fits(text.get(from..)?, shape).map(|len| from + len);
    let mut end = at(0, "0000-00-00T00:00:00")?;
    (_, end) = fraction(text, end);
    let sign = || text.get(end..)?.starts_with(['+', '-']).then_some(end + 1);
    let zone = at(end, "Z").or_else(|| sign().and_then(|from| at(from, "00:00").or(at(from, "0000"))));
    end = zone.unwrap_or(end);
    let time = axis::time_of(&Json::String(text.get(..end)?.into()))?;
    Some((time, text.get(end..)?))
}

/// `   12.50s]`: seconds since the start.
fn uptime(inner: &str) -> Option<(Option<TimeMs>, &str)> {
    let text = inner.trim_start_matches(' ');
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
    let rest = text.get(end..)?.strip_prefix('s')?;
    rest.starts_with(']').then_some((None, rest))
}

/// Milliseconds of `.678` and `,678123`, and where they end.
fn fraction(text: &str, at: usize) -> (i64, usize) {
    let count = match text.get(at..) {
        Some(rest) if rest.starts_with(['.', ',']) => digits(text, at + 1),
        _ => 0,
    };
    let told = text.get(at + 1..at + 1 + count.min(3)).unwrap_or_default();
    let millis = format!("{told:0<3}").parse().unwrap_or(0);
    if count == 0 { (0, at) } else { (millis, at + 1 + count) }
}

fn digits(text: &str, from: usize) -> usize {
    text.bytes().skip(from).take_while(u8::is_ascii_digit).count()
}

/// Length of the start of `text` that has the shape.
fn fits(text: &str, shape: &str) -> Option<usize> {
    let bytes = text.as_bytes().get(..shape.len())?;
    let fits = |(byte, shape): (&u8, u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'_' => byte.is_ascii_digit() || *byte == b' ',
        b'A' => byte.is_ascii_alphabetic(),
        b'-' => b"-/".contains(byte),
        b'T' => b" T".contains(byte),
        shape => *byte == shape,
    };
    bytes.iter().zip(shape.bytes()).all(fits).then_some(shape.len())
}
