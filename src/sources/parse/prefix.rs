//! What stands before the message of a printed line: the time, the rank, the logger and its level.

use super::stamp::{self, stamp};
use crate::records::TimeMs;

/// Prefixes beyond this many are part of the message.
const MAX_PREFIXES: usize = 6;

/// The name of a logger and its level end within so many bytes.
const MAX_LOGGER_BYTES: usize = 80;

/// What parts the time from the message.
const BETWEEN: [char; 5] = [' ', ':', '-', '|', '\t'];

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
        if let Some((time, rest)) = stamp(text).filter(|_| message.time.is_none()) {
            (message.time, message.text) = (time, rest.trim_start_matches(BETWEEN));
        } else if let Some((rank, rest)) = rank(text, turn == 0).filter(|_| message.rank.is_none()) {
            (message.rank, message.text) = (Some(rank), rest);
        } else if let Some(rest) = process(text).or_else(|| tag(text)) {
            message.text = rest;
        } else if let Some((time, rest)) = glog(text).or_else(|| level(text)) {
            (message.time, message.text) = (message.time.or(time), rest);
        } else if let Some(rest) = code(text) {
            message.text = rest;
        } else {
            break;
        }
        message.text = message.text.trim_start();
    }
    message
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

/// `I1120 18:13:17.123456 140 train.py:100] `, newer ones with a year.
fn glog(text: &str) -> Option<(Option<TimeMs>, &str)> {
    let inner = text.strip_prefix(['I', 'W', 'E', 'F'])?;
    let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
    if !matches!(digits, 4 | 8) || inner.as_bytes().get(digits) != Some(&b' ') {
        return None;
    }
    let time = stamp::bare(inner).and_then(|(time, _)| time);
    inner.split_once("] ").map(|(_, rest)| (time, rest))
}

/// `[node1] 2024-01-02 ...`: a word in brackets before the time, and `stdout F ` of containers.
fn tag(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix("stdout ").or_else(|| text.strip_prefix("stderr ")) {
        return rest.strip_prefix("F ").or_else(|| rest.strip_prefix("P "));
    }
    let (_, rest) = text.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim_start_matches([' ', ':']);
    stamp::bare(rest).is_some_and(|(time, _)| time.is_some()).then_some(rest)
}

/// Where in the code it was printed: `train.py:88] `, `[trainer.py:10:log] `, `__main__:train:41 - `,
/// `pkg.module:143 >> `.
fn code(text: &str) -> Option<&str> {
    let head = text.get(..text.floor_char_boundary(MAX_LOGGER_BYTES))?;
    let inner = head.strip_prefix('[').unwrap_or(head);
    let end = inner.find([' ', ']', '\t', '='])?;
    let (place, start) = (inner.get(..end)?, head.len() - inner.len());
    let rest = text.get(start + end..)?;
    let rest = match (start, rest.strip_prefix(']')) {
        (1, rest) => rest?,
        (_, Some(rest)) => rest,
        _ => [" - ", " >> ", " | "].iter().find_map(|mark| rest.strip_prefix(mark))?,
    };
    let parts: Vec<&str> = place.split(':').collect();
    let is_line = |part: &&str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    let lines = parts.iter().filter(|part| is_line(part)).count();
    let is_name =
        |part: &&str| part.starts_with(char::is_alphabetic) || part.starts_with(['_', '/', '.', '<']);
    let names: Vec<&str> = parts.iter().copied().filter(|part| is_name(part)).collect();
    let is_code = names.len() > 1
        || names.first().is_some_and(|name| name.contains(['.', '/']) || start == 1 && is_upper(name));
    (is_code && lines == 1 && lines + names.len() == parts.len()).then_some(rest)
}

fn is_upper(name: &str) -> bool {
    name.bytes().all(|c| c.is_ascii_uppercase())
}

/// ` - name - INFO - `, `| INFO | `, `[name][INFO] - `, `INFO:root:`, `[INFO|trainer.py:3] `.
fn level(text: &str) -> Option<(Option<TimeMs>, &str)> {
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
    let (time, rest) = match rest.strip_prefix('|').and_then(|rest| rest.split_once(']')) {
        Some((inner, rest)) if before.ends_with('[') => (stamp::bare(inner).and_then(|(time, _)| time), rest),
        _ => (None, rest),
    };
    let rest = match rest.strip_prefix(':').and_then(|rest| rest.split_once(':')) {
        Some((name, rest)) if !name.contains(char::is_whitespace) && !name.is_empty() => rest,
        _ => rest,
    };
    Some((time, rest.trim_start_matches([' ', ':', '-', '|', ']', '\t', '>'])))
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
            ("[INFO|2024-01-02 03:04:05] a.b.callbacks:143 >> {'loss': 2}", TIME, None, "{'loss': 2}"),
            ("01/02/2024 03:04:05 - INFO - __main__ -   epoch 1", TIME, None, "__main__ -   epoch 1"),
            ("[01/02/24 03:04:05] INFO     Epoch 1", TIME, None, "Epoch 1"),
            ("[Tue Jan  2 03:04:05 2024] epoch 1", TIME, None, "epoch 1"),
            ("02.01.2024 03:04:05 epoch 1", TIME, None, "epoch 1"),
            ("1704164645.000 epoch 1", TIME, None, "epoch 1"),
            ("[2024-01-02 03:04:05,000 INFO] Step 5", TIME, None, "Step 5"),
            ("[2024-01-02 03:04:05 swin] (main.py 22): INFO Train: [0/3]", TIME, None, "Train: [0/3]"),
            ("[rank0]:[titan] 2024-01-02 03:04:05,000 - root - INFO - step: 1", TIME, Some(0), "step: 1"),
            ("[gpu01:0/1] 2024-01-02 03:04:05,000 (trainer:7) INFO: 1epoch", TIME, None, "1epoch"),
            ("2024-01-02 03:04:05.000 | INFO     | __main__:train:41 - Epoch 1", TIME, None, "Epoch 1"),
            ("2024-01-02 03:04:05 | INFO     | x.core.trainer:262 - epoch: 1", TIME, None, "epoch: 1"),
            ("[2024-01-02 03:04:05,000] [INFO] [timer.py:2:stop] epoch=0", TIME, None, "epoch=0"),
            ("INFO 2024-01-02 03:04:05,000 train.py:88] step: 1", TIME, None, "step: 1"),
            ("2024-01-02T03:04:05.000456789Z stdout F epoch 1", TIME, None, "epoch 1"),
            ("I20240102 03:04:05.000456 12 solver.cpp:218] Iteration 1", TIME, None, "Iteration 1"),
            ("I0102 03:04:05.123456 14 x.py:48] [100] loss=2", None, None, "[100] loss=2"),
            ("[01/02 03:04:05 d2.utils.events]:  eta: 0:09:00", None, None, "eta: 0:09:00"),
            ("[01/02 03:04:05] ppdet.engine INFO: Epoch: [0]", None, None, "Epoch: [0]"),
            ("00:13:20 | epoch 1", None, None, "epoch 1"),
            ("Jan  2 03:04:05 epoch 1", None, None, "epoch 1"),
            ("[   12.50s] epoch 1", None, None, "epoch 1"),
            ("step:7 - actor/loss:0.5", None, None, "step:7 - actor/loss:0.5"),
            ("[D loss: 2] [10/20]", None, None, "[D loss: 2] [10/20]"),
            ("01/05 loss: 3", None, None, "01/05 loss: 3"),
            ("0:01:02 loss", None, None, "0:01:02 loss"),
            ("2024-13-45 03:04:05 step", None, None, "2024-13-45 03:04:05 step"),
            ("loss is 3 INFO", None, None, "loss is 3 INFO"),
            ("[rank", None, None, "[rank"),
            ("é", None, None, "é"),
        ] {
            assert_eq!(split(line), Message { time, rank, text }, "{line}");
        }
    }
}
