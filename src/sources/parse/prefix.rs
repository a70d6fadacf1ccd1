//! What stands before the message of a printed line: the time, the rank, the logger and its level.

use super::axis;
use super::json::Json;
use crate::records::TimeMs;

/// Prefixes beyond this many are part of the message.
const MAX_PREFIXES: usize = 6;

/// The name of a logger and its level end within so many bytes.
const MAX_LOGGER_BYTES: usize = 80;

const LEVELS: &[&str] = &["DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL"];

/// A printed line without what stands before its message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Message<'l> {
    /// When it was printed, where the line says so with a year.
    pub time: Option<TimeMs>,
    /// Which process of the job printed it.
    pub rank: Option<u32>,
    /// The message.
    pub text: &'l str,
}

/// Parts a line.
pub fn split(line: &str) -> Message<'_> {
    let mut message = Message { text: line.trim(), ..Message::default() };
    for turn in 0..MAX_PREFIXES {
        let text = message.text;
        if let Some((time, rest)) = time(text).filter(|_| message.time.is_none()) {
            (message.time, message.text) = (Some(time), rest);
        } else if let Some((rank, rest)) = rank(text, turn == 0).filter(|_| message.rank.is_none()) {
            (message.rank, message.text) = (Some(rank), rest);
        } else if let Some(rest) = process(text).or_else(|| glog(text)).or_else(|| level(text)) {
            message.text = rest;
        } else {
            break;
        }
        message.text = message.text.trim_start();
    }
    message
}

/// `2024-01-02 03:04:05,678`, with `/` or `T`, with a zone, in brackets.
fn time(text: &str) -> Option<(TimeMs, &str)> {
    let is_bracketed = text.starts_with('[');
    let inner = text.strip_prefix('[').unwrap_or(text);
    let at = |from: usize, shape: &str| {
        let bytes = inner.as_bytes().get(from..from + shape.len())?;
        let fits = |(byte, shape): (&u8, u8)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'-' => b"-/".contains(byte),
            b'T' => b" T".contains(byte),
            shape => *byte == shape,
        };
        bytes.iter().zip(shape.bytes()).all(fits).then_some(from + shape.len())
    };
    let mut end = at(0, "0000-00-00T00:00:00")?;
    let digits = |from: usize| inner.bytes().skip(from).take_while(u8::is_ascii_digit).count();
    if inner.get(end..).is_some_and(|rest| rest.starts_with(['.', ','])) && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    let zone =
        at(end, "Z").or_else(|| sign(inner, end).and_then(|from| at(from, "00:00").or(at(from, "0000"))));
    end = zone.unwrap_or(end);
    let time = axis::time_of(&Json::String(inner.get(..end)?.into()))?;
    let rest = inner.get(end..)?;
    let rest = if is_bracketed { rest.strip_prefix(']')? } else { rest };
    Some((time, rest.trim_start_matches([' ', ':', '-', '|', '\t'])))
}

fn sign(text: &str, at: usize) -> Option<usize> {
    text.get(at..)?.starts_with(['+', '-']).then_some(at + 1)
}

/// `[rank0]:`, `[default0]:`, and at the start of the line `0: ` as launchers write it.
fn rank(text: &str, is_start: bool) -> Option<(u32, &str)> {
    let number = |text: &str| text.parse().ok().filter(|_| text.len() <= 5 && !text.starts_with('+'));
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, rest) = rest.split_once(']')?;
        let digits =
            ["rank", "Rank ", "Rank", "rank ", "default"].iter().find_map(|p| inner.strip_prefix(p))?;
        return Some((number(digits)?, rest.strip_prefix(':').unwrap_or(rest)));
    }
    let (digits, rest) = text.split_once(": ").filter(|_| is_start)?;
    Some((number(digits)?, rest))
}

/// `(TaskRunner pid=123, ip=10.0.0.1)` of Ray.
fn process(text: &str) -> Option<&str> {
    let (inner, rest) = text.strip_prefix('(')?.split_once(')')?;
    inner.contains("pid=").then_some(rest)
}

/// `I1120 18:13:17.123456 140 train.py:100] `.
fn glog(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let is_level = bytes.first().is_some_and(|c| b"IWEF".contains(c));
    let is_date = bytes.get(1..5).is_some_and(|date| date.iter().all(u8::is_ascii_digit));
    if !is_level || !is_date || bytes.get(5) != Some(&b' ') {
        return None;
    }
    text.split_once("] ").map(|(_, rest)| rest)
}

/// ` - name - INFO - `, `| INFO | `, `[name][INFO] - `, `INFO:root:`, `[INFO|trainer.py:3] `.
fn level(text: &str) -> Option<&str> {
    let head = text.get(..text.floor_char_boundary(MAX_LOGGER_BYTES))?;
    let (start, word) = LEVELS.iter().filter_map(|word| Some((head.find(word)?, *word))).min()?;
    let before = head.get(..start)?;
    // Sentences and numbers are no loggers.
    if before.split_whitespace().filter(|word| word.starts_with(char::is_alphanumeric)).count() > 2
        || before.contains(['=', '{'])
        || before.ends_with(char::is_alphanumeric)
    {
        return None;
    }
    let rest = text.get(start + word.len()..)?;
    if rest.starts_with(char::is_alphanumeric) {
        return None;
    }
    let rest = match rest.strip_prefix('|').and_then(|rest| rest.split_once(']')) {
        Some((_, rest)) if before.ends_with('[') => rest,
        _ => rest,
    };
    let rest = match rest.strip_prefix(':').and_then(|rest| rest.split_once(':')) {
        Some((name, rest)) if !name.contains(char::is_whitespace) && !name.is_empty() => rest,
        _ => rest,
    };
    Some(rest.trim_start_matches([' ', ':', '-', '|', ']', '\t', '>']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Option<TimeMs> = Some(1_704_164_645_000);

    #[test]
    fn what_stands_before_the_message_is_parted() {
        for (line, time, rank, text) in [
            ("step 10: loss 2", None, None, "step 10: loss 2"),
            ("2024-01-02 03:04:05,000 - mmdet - INFO - Epoch [1]", TIME, None, "Epoch [1]"),
            ("2024/01/02 03:04:05 - mmengine - INFO - Iter", TIME, None, "Iter"),
            (" [2024-01-02 03:04:05] iteration 1/ 2", TIME, None, "iteration 1/ 2"),
            ("7:  [2024-01-02 03:04:05.000000] iteration", TIME, Some(7), "iteration"),
            ("[rank0]: iteration 3", None, Some(0), "iteration 3"),
            ("[default12]:step 3", None, Some(12), "step 3"),
            ("2024-01-02 03:04:05 | INFO | train_inner | {}", TIME, None, "train_inner | {}"),
            ("[2024-01-02 03:04:05,000][__main__][INFO] - step 1", TIME, None, "step 1"),
            ("INFO:root:step 3", None, None, "step 3"),
            ("[INFO|trainer.py:12] 2024-01-02 03:04:05,000 >> step 3", TIME, None, ">> step 3"),
            ("2024-01-02T03:04:05Z INFO step 3", TIME, None, "step 3"),
            ("2024-01-02T04:04:05+01:00 step 3", TIME, None, "step 3"),
            ("I0102 03:04:05.123456 14 train.py:10] step 3", None, None, "step 3"),
            ("(TaskRunner pid=9) step:1 - loss:2", None, None, "step:1 - loss:2"),
            ("2024-13-45 03:04:05 step", None, None, "2024-13-45 03:04:05 step"),
            ("loss is 3 INFO", None, None, "loss is 3 INFO"),
            ("[rank", None, None, "[rank"),
            ("é", None, None, "é"),
        ] {
            assert_eq!(split(line), Message { time, rank, text }, "{line}");
        }
    }
}
