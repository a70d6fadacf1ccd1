//! Numbers as scripts print them: `1,024`, `0,6758`, `1.2B`, `900MB`, `12.30ms`, `1m 3s`. A metric
//! keeps one scale through the log: factors are multiplied out, sizes are bytes, durations seconds.

use crate::sources::parse::json::parse_number_like;
use std::borrow::Cow;

/// How a unit changes the number before it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Factor {
    /// Times a power of ten, done in text: `1.1k` is 1100 and nothing near it.
    Ten(i32),
    /// Times this.
    Times(f64),
}

/// Units of time, the longest first; each is shorter than the one before.
const DURATIONS: &[(&[&str], f64)] = &[
    (&["d", "day", "days"], 86_400.0),
    (&["h", "hr", "hrs", "hours"], 3_600.0),
    (&["m", "min", "mins"], 60.0),
    (&["s", "sec", "secs"], 1.0),
    (&["ms"], 0.001),
];

/// Words of names that hold durations, where `m` means minutes.
const TIME_WORDS: &[&str] =
    &["time", "elapsed", "eta", "duration", "wall", "took", "remaining", "dt", "secs", "seconds"];

/// Number and unit of a token: `12.30ms`, `5%`, `1,024`; the number is empty where there is none.
pub fn split(token: &str) -> (&str, &str) {
    if token.ends_with('∞') {
        return (token, "");
    }
    if !token.contains(|c: char| c.is_ascii_digit()) {
        let end = token.find(['%', ':']).unwrap_or(token.len());
        return token.split_at(end);
    }
    let bytes = token.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut end = token.len() - token.trim_start_matches(['+', '-', '−']).len();
    let mut seen_dot = false;
    while digit(end)
        || (!seen_dot && bytes.get(end) == Some(&b'.'))
        || (bytes.get(end) == Some(&b',') && digit(end + 1))
    {
        seen_dot |= bytes.get(end) == Some(&b'.');
        end += 1;
    }
    if bytes.get(end).is_some_and(|c| b"eE".contains(c)) {
        let sign = usize::from(bytes.get(end + 1).is_some_and(|c| b"+-".contains(c)));
        if digit(end + 1 + sign) {
            end += 1 + sign;
            while digit(end) {
                end += 1;
            }
        }
    }
    token.split_at(end)
}

/// Letters that say what is counted: `ms`, `%`, `it/s`, `K`. Digits make it something else.
pub fn is_unit(unit: &str) -> bool {
    let unit = unit.trim_end_matches(['.', ':']);
    unit.len() <= 12 && unit.chars().all(|c| c.is_alphabetic() || "%/µ".contains(c)) && !unit.starts_with('/')
}

/// Whether a word that stands apart behind a number of the name `key` is its unit.
pub fn is_apart_unit(word: &str, key: &str) -> bool {
    word.len() > 1 && factor(word, key).is_some() || word == "s"
}

/// The number of a step, which may be told in thousands and millions.
pub fn place(text: &str, unit: &str) -> Option<f64> {
    let is_factor = matches!(unit.trim_end_matches(['.', ':']), "k" | "K" | "M" | "m" | "B" | "G");
    number("", text, if is_factor { unit } else { "" })
}

/// Length of a duration of several parts at the start of `text`: `1h 2m 3s`, `1m3s`.
pub fn duration_len(text: &str) -> Option<usize> {
    let (parts, len, _) = duration(text);
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || "./:".contains(c));
    (parts > 1 && text.get(len..).is_some_and(ends)).then_some(len)
}

/// Parts, bytes and seconds of the duration at the start of `text`.
fn duration(text: &str) -> (usize, usize, f64) {
    let (mut parts, mut len, mut seconds, mut next) = (0, 0, 0.0, 0);
    loop {
        let rest = text.get(len..).unwrap_or_default();
        let part = rest.trim_start_matches(' ');
        let digits = part.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(part.len());
        let (number, behind) = part.split_at(digits);
        let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, _) = behind.split_at(letters);
        let known = DURATIONS.iter().enumerate().skip(next).find(|(_, (units, _))| units.contains(&unit));
        let (Ok(number), Some((at, (_, factor)))) = (number.parse::<f64>(), known) else {
            return (parts, len, seconds);
        };
        len += rest.len() - part.len() + digits + letters;
        (parts, next, seconds) = (parts + 1, at + 1, seconds + number * factor);
    }
}

/// The number that `text` and its unit stand for in an item of the name `key`.
pub fn number(key: &str, text: &str, unit: &str) -> Option<f64> {
    if unit.is_empty() && text.len() > 3 && duration_len(text) == Some(text.len()) {
        return Some(duration(text).2);
    }
    let text = plain(text)?;
    match factor(unit.trim_end_matches(['.', ':']), key) {
        Some(Factor::Ten(power)) if !text.contains(['e', 'E', 'n', 'N']) => {
            parse_number_like(&format!("{text}e{power}"))
        }
        Some(Factor::Ten(power)) => Some(parse_number_like(&text)? * 10f64.powi(power)),
        Some(Factor::Times(factor)) => Some(parse_number_like(&text)? * factor),
        None => parse_number_like(&text),
    }
}

/// Without marks of thousands, with a point for a decimal comma; `None` for a list of numbers.
fn plain(text: &str) -> Option<Cow<'_, str>> {
    if text.ends_with('∞') {
        return Some(if text.starts_with(['-', '−']) { "-inf" } else { "inf" }.into());
    }
    let text: Cow<'_, str> = if text.contains('−') { text.replace('−', "-").into() } else { text.into() };
    let Some((first, rest)) = text.split_once(',') else { return Some(text) };
    let whole = rest.split(['.', 'e', 'E']).next().unwrap_or_default();
    let first = first.trim_start_matches(['+', '-']);
    let is_group = |group: &str| group.len() == 3;
    if (1..=3).contains(&first.len()) && !first.starts_with('0') && whole.split(',').all(is_group) {
        return Some(text.replace(',', "").into());
    }
    let is_decimal = !rest.contains(',') && !text.contains('.');
    is_decimal.then(|| text.replace(',', ".").into())
}

/// What a unit does, unless the name says that the number stays in it (`time_ms`, `memory (GB)`).
fn factor(unit: &str, key: &str) -> Option<Factor> {
    if unit.is_empty() {
        return None;
    }
    let unit = unit.split('/').next().unwrap_or(unit);
    let mut words = key.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    if words.clone().any(|word| word.eq_ignore_ascii_case(unit)) {
        return None;
    }
    let mut is_time = || words.any(|word| TIME_WORDS.iter().any(|time| time.eq_ignore_ascii_case(word)));
    let factor = match unit {
        "k" | "K" | "KB" | "kB" | "kb" | "Kb" => Factor::Ten(3),
        "m" if is_time() => Factor::Times(60.0),
        "m" | "M" | "MB" | "Mb" | "mb" => Factor::Ten(6),
        "B" | "G" | "GB" | "Gb" | "gb" => Factor::Ten(9),
        "T" | "TB" | "Tb" | "tb" => Factor::Ten(12),
        "KiB" | "Ki" => Factor::Times(1024.0),
        "MiB" | "Mi" => Factor::Times(1_048_576.0),
        "GiB" | "Gi" => Factor::Times(1_073_741_824.0),
        "TiB" | "Ti" => Factor::Times(1_099_511_627_776.0),
        "ms" | "msec" => Factor::Ten(-3),
        "us" | "µs" | "μs" => Factor::Ten(-6),
        "ns" => Factor::Ten(-9),
        "min" | "mins" if is_time() => Factor::Times(60.0),
        "h" | "hr" | "hrs" | "hours" if is_time() => Factor::Times(3600.0),
        _ => return None,
    };
    Some(factor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_metric_keeps_one_scale() {
        for (key, token, wanted) in [
            ("tokens", "1.2B", Some(1.2e9)),
            ("tokens", "900K", Some(900e3)),
            ("tokens", "1.1M", Some(1.1e6)),
            ("tok/s", "1.2k", Some(1200.0)),
            ("mem", "900MB", Some(9e8)),
            ("mem", "1.1GB", Some(1.1e9)),
            ("mem", "1.5GiB", Some(1.5 * 1_073_741_824.0)),
            ("mem_gb", "1.5GB", Some(1.5)),
            ("bw", "1.5GB/s", Some(1.5e9)),
            ("time", "990ms", Some(0.99)),
            ("time", "1.1s", Some(1.1)),
            ("time_ms", "12.30ms", Some(12.3)),
            ("time (ms)", "12.5ms", Some(12.5)),
            ("t", "850us", Some(0.00085)),
            ("total time", "0.5m", Some(30.0)),
            ("params", "1.5m", Some(1.5e6)),
            ("loss", "0,6758", Some(0.6758)),
            ("loss", "0,675", Some(0.675)),
            ("loss", "2,07", Some(2.07)),
            ("tokens", "16,384", Some(16384.0)),
            ("loss", "12,345.68", Some(12345.68)),
            ("lr", "1,2,3", None),
            ("betas", "0.9,0.999", None),
            ("r2", "−0.5", Some(-0.5)),
            ("acc", "57.00%", Some(57.0)),
            ("loss", "nan", Some(f64::NAN)),
            ("loss", "-∞", Some(f64::NEG_INFINITY)),
        ] {
            let (text, unit) = split(token);
            let found = number(key, text, unit).filter(|_| is_unit(unit));
            assert_eq!(format!("{found:?}"), format!("{wanted:?}"), "{key} {token}");
        }
    }

    #[test]
    fn durations_of_several_parts_are_seconds() {
        for (text, wanted) in [
            ("1m 3s", Some(63.0)),
            ("1h 2m 3s rest", Some(3723.0)),
            ("0h 0m 100s", Some(100.0)),
            ("1m3s,", Some(63.0)),
            ("1min 3.5s", Some(63.5)),
            ("3s 1m", None),
            ("5m", None),
            ("1m 3steps", None),
            ("1m 300", None),
        ] {
            let found = duration_len(text).and_then(|len| number("time", &text[..len], ""));
            assert_eq!(found, wanted, "{text}");
        }
    }
}
