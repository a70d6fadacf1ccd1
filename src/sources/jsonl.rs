//! JSON lines: one object a line, written by hand-made training loops, possibly between lines of
//! other text; and `.json` files that hold an array of objects or several of them.

use super::find::{judge, ranks};
use super::parse::json::{Fault, Fields, Json, Marks, parse, parse_marked, parse_whole};
use super::parse::lines::{Lines, without_blank};
use super::parse::pattern::Patterns;
use super::parse::rows::Tracker;
use super::parse::terminal;
use super::parse::words::split;
use super::{Log, LogFile, Resume, RunLogs, Sink, Source, Verdict};
use crate::records::{ConsoleLine, Problem};
use serde::{Deserialize, Serialize};
use std::io;

/// A value longer than this is passed over.
const MAX_VALUE_BYTES: usize = 16 << 20;

/// Reader of JSON lines.
pub struct Jsonl;

/// What is remembered over a resume.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    rows: String,
    /// Values may span lines: the file is an array, or its objects are indented.
    spans_lines: Option<bool>,
    /// The line at the offset was begun already.
    in_line: bool,
}

impl Source for Jsonl {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn may_claim(&self, path: &str) -> bool {
        judge::has_extension(path, &["jsonl", "ndjson", "json", "log", "txt"]) && !judge::is_other(path)
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        sniff(path, head)
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        ranks::fold(files)
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        let state: State = serde_json::from_str(&from.state).unwrap_or_default();
        let sink = &mut ranks::Prefixed::new(sink, log.role);
        let is_json = judge::has_extension(log.path, &["json"]);
        let mut tracker = Tracker::load(&state.rows, sink);
        if is_trial(log.path) {
            tracker.expect_one_run();
        }
        let mut reader = Reader {
            lines: Lines::new(log.bytes, from.offset, log.chunk_bytes),
            rows: Rows { tracker, ..Rows::default() },
            sink,
            count: from.row_count,
            in_line: state.in_line,
        };
        let spans_lines = match state.spans_lines {
            None if is_json => reader.spans_lines()?,
            known => known.or(Some(false)),
        };
        match spans_lines {
            Some(true) => reader.values()?,
            Some(false) => reader.lines()?,
            None => {}
        }
        let (offset, row_count, in_line) = (reader.lines.offset(), reader.count, reader.in_line);
        if offset == 0 {
            return Ok(from);
        }
        let state = State { rows: reader.rows.tracker.save(), spans_lines, in_line };
        Ok(Resume { offset, state: serde_json::to_string(&state)?, row_count })
    }
}

/// Ray Tune's log of a trial. Each line names the trial, and more than one id of the run.
fn is_trial(path: &str) -> bool {
    split(path).1 == "result.json"
}

struct Reader<'l, 's> {
    lines: Lines<'l>,
    rows: Rows,
    sink: &'s mut dyn Sink,
    count: u64,
    in_line: bool,
}

/// Objects as rows.
#[derive(Default)]
struct Rows {
    tracker: Tracker,
    patterns: Patterns,
    marks: Marks,
}

/// Bytes of an object, and why it was left out.
type Taken = (usize, Result<(), &'static str>);

impl Rows {
    /// Takes the object at the start of `bytes`; returns how many bytes it took and why it has no
    /// place as a row, if it has none; `None` where there is another value.
    fn take(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Result<Option<Taken>, Fault> {
        if let Some(known) = self.patterns.read(bytes) {
            let outcome = self.tracker.row_of(known.keys, &known.values, sink);
            return Ok(Some((known.used, outcome)));
        }
        match parse_marked(bytes, &mut self.marks)? {
            (Json::Object(fields), used) => {
                self.patterns.learn(bytes, &fields, &self.marks, &mut self.tracker);
                Ok(Some((used, self.tracker.row(&fields, sink))))
            }
            _ => Ok(None),
        }
    }
}

impl Reader<'_, '_> {
    /// Looks at the start of the file: an array, or an object that goes on after its first line.
    /// `None` while there is too little to tell. A first line without end in sight is no line.
    fn spans_lines(&mut self) -> io::Result<Option<bool>> {
        let mut searched = 0;
        loop {
            let held = self.lines.window();
            let is_long = held.len() >= MAX_VALUE_BYTES;
            let window = without_blank(held.get(..MAX_VALUE_BYTES).unwrap_or(held));
            let new = window.get(searched..).unwrap_or_default();
            match (window.first(), memchr::memchr(b'\n', new).map(|end| searched + end)) {
                (Some(b'['), _) => return Ok(Some(true)),
                (Some(b'{'), Some(end)) => {
                    let line = window.get(..end).unwrap_or_default();
                    return Ok(Some(parse(line) == Err(Fault::Incomplete)));
                }
                (Some(b'{' | 0xef) | None, _) if is_long => return Ok(Some(true)),
                (Some(b'{'), None) => searched = window.len(),
                (Some(0xef) | None, _) => {}
                _ => return Ok(Some(false)),
            }
            if !self.lines.more()? {
                return Ok(None);
            }
        }
    }

    fn lines(&mut self) -> io::Result<()> {
        while let Some(line) = self.lines.peek()? {
            let number = self.count + u64::from(!self.in_line);
            if line.too_long {
                problem(self.sink, number, "the line is too long to be a record");
            } else {
                let done = line_values(line.bytes, line.ended, number, &mut self.rows, self.sink);
                if !line.ended {
                    // White space goes with the value before it, whenever it comes.
                    let is_rest = self.in_line && without_blank(line.bytes).is_empty();
                    let used = done.or(is_rest.then_some(0)).map_or(0, |rest| line.bytes.len() - rest);
                    self.in_line |= used > 0;
                    self.count = if used > 0 { number } else { self.count };
                    self.lines.advance(used);
                    return Ok(());
                }
            }
            self.count = number;
            self.in_line = false;
            self.lines.pass();
        }
        Ok(())
    }

    /// Values that may span lines, with commas and the brackets of an array between them.
    fn values(&mut self) -> io::Result<()> {
        loop {
            let window = self.lines.window();
            let between = |c: &u8| c.is_ascii_whitespace() || b"[],\0\xef\xbb\xbf".contains(c);
            let skipped = window.iter().take_while(|c| between(c)).count();
            self.lines.advance(skipped);
            let offset = self.lines.offset();
            let window = self.lines.window();
            let fault = match parse(window) {
                Ok((value, used)) if used < window.len() || matches!(value, Json::Object(_)) => {
                    if let Json::Object(fields) = &value
                        && let Err(message) = self.rows.tracker.row(fields, self.sink)
                    {
                        let position = format!("byte {offset}");
                        self.sink.problem(Problem { position, message: message.to_string() });
                    }
                    self.count += 1;
                    self.lines.advance(used);
                    continue;
                }
                Ok(_) => Fault::Incomplete,
                Err(fault) => fault,
            };
            let too_long = window.len() > MAX_VALUE_BYTES;
            match fault {
                Fault::Incomplete if !too_long && self.lines.more()? => {}
                Fault::Incomplete if !too_long => return Ok(()),
                fault if !self.pass_damage(fault)? => return Ok(()),
                _ => {}
            }
        }
    }

    /// Goes on behind the line that holds no value; false when its end is not written yet.
    fn pass_damage(&mut self, fault: Fault) -> io::Result<bool> {
        let Some(line) = self.lines.peek()?.filter(|line| line.ended) else { return Ok(false) };
        let position = format!("byte {}", line.offset);
        self.sink.problem(Problem { position, message: message(fault) });
        self.lines.pass();
        Ok(true)
    }
}

/// Reads the values of a line. Returns how many bytes at its end are left: 0, or the torn value of
/// a line that is not ended; `None` when nothing of it was taken.
fn line_values(line: &[u8], ended: bool, number: u64, rows: &mut Rows, sink: &mut dyn Sink) -> Option<usize> {
    let mut rest = line;
    let mut taken = None;
    loop {
        rest = without_blank(rest);
        if rest.is_empty() {
            return taken.map(|_| 0);
        }
        let fault = match rows.take(rest, sink) {
            Ok(Some((used, outcome))) => {
                if let Err(message) = outcome {
                    problem(sink, number, message);
                }
                rest = rest.get(used..).unwrap_or_default();
                taken = Some(rest.len());
                continue;
            }
            _ if !ended => return taken,
            Ok(None) => Fault::Invalid { at: 0, why: "" },
            Err(fault) => fault,
        };
        if rest.first() != Some(&b'{') {
            console(rest, sink);
            return Some(0);
        }
        problem(sink, number, &message(fault));
        let Some(next) = next_object(rest, fault) else { return Some(0) };
        rest = rest.get(next..).unwrap_or_default();
    }
}

/// Where a whole object begins after a torn one, if it fills the rest: `{"a": 1.3{"a": 1}`.
fn next_object(text: &[u8], fault: Fault) -> Option<usize> {
    let Fault::Invalid { at, .. } = fault else { return None };
    // The torn string may have swallowed the brace and the quote of the next object.
    let from = at.saturating_sub(2).max(1);
    let next = from + memchr::memmem::find(text.get(from..)?, b"{\"")?;
    let tail = text.get(next..)?.trim_ascii_end();
    matches!(parse_whole(tail), Some(Json::Object(_))).then_some(next)
}

fn problem(sink: &mut dyn Sink, line: u64, message: &str) {
    sink.problem(Problem { position: format!("line {line}"), message: message.to_string() });
}

fn message(fault: Fault) -> String {
    match fault {
        Fault::Incomplete => "the JSON object has no end".to_string(),
        Fault::Invalid { why, .. } => format!("no JSON: {why}"),
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    without_blank(bytes).trim_ascii_end()
}

fn console(bytes: &[u8], sink: &mut dyn Sink) {
    let text = terminal::shown(String::from_utf8_lossy(bytes).trim_end());
    if !text.is_empty() {
        sink.console(ConsoleLine { time: None, stream: None, text });
    }
}

fn sniff(path: &str, head: &[u8]) -> Verdict {
    let is_cut = head.len() >= super::HEAD_BYTES;
    let is_json = judge::has_extension(path, &["json"]);
    let sample = match trimmed(head).first() {
        None => return Verdict::TooEarly,
        Some(b'[') if is_json => spanning_rows(head),
        Some(b'{') if is_json && !first_line_is_whole(head) => spanning_rows(head),
        _ => line_rows(head, is_cut),
    };
    if is_json && sample.rows.len() < 2 && (!is_cut || sample.rows.is_empty()) {
        return judge::other("one JSON value");
    }
    if sample.rows.is_empty() {
        let may_come = !is_cut && sample.text_lines < 20 && !judge::has_extension(path, &["log", "txt"]);
        return if may_come { Verdict::TooEarly } else { judge::other("no JSON objects") };
    }
    let least = if judge::has_extension(path, &["log", "txt"]) { 1.0 } else { 0.3 };
    if (sample.rows.len() as f64) < least * sample.text_lines as f64 {
        return judge::other("mostly text");
    }
    judge::judge(&sample.rows, is_cut, judge::Shape::Objects)
}

struct Sample<'a> {
    rows: Vec<Fields<'a>>,
    text_lines: usize,
}

fn first_line_is_whole(head: &[u8]) -> bool {
    let text = trimmed(head);
    let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
    parse(text.get(..end).unwrap_or_default()) != Err(Fault::Incomplete)
}

fn line_rows(head: &[u8], is_cut: bool) -> Sample<'_> {
    let mut sample = Sample { rows: Vec::new(), text_lines: 0 };
    let end = match memchr::memrchr(b'\n', head) {
        Some(end) if is_cut => end,
        _ => head.len(),
    };
    for line in head.get(..end).unwrap_or_default().split(|c| *c == b'\n') {
        let mut rest = trimmed(line);
        while let Ok((Json::Object(fields), used)) = parse(rest) {
            sample.rows.push(fields);
            rest = trimmed(rest.get(used..).unwrap_or_default());
        }
        sample.text_lines += usize::from(!rest.is_empty());
    }
    sample
}

fn spanning_rows(head: &[u8]) -> Sample<'_> {
    let mut sample = Sample { rows: Vec::new(), text_lines: 0 };
    let mut rest = trimmed(head);
    loop {
        let skipped = rest.iter().take_while(|c| c.is_ascii_whitespace() || b"[],".contains(c)).count();
        rest = rest.get(skipped..).unwrap_or_default();
        match parse(rest) {
            Ok((Json::Object(fields), used)) => {
                sample.rows.push(fields);
                rest = rest.get(used..).unwrap_or_default();
            }
            _ => return sample,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::records::{Axis, End};
    use crate::sources::testing::{Memory, read_on, read_whole, samples};
    use proptest::prelude::*;
    use serde_json::Value;

    fn data(path: &str) -> Vec<u8> {
        std::fs::read(samples("jsonl").join(path)).unwrap()
    }

    fn read(text: &str) -> Memory {
        read_whole(&Jsonl, ("run.jsonl", ""), text.as_bytes())
    }

    fn number(value: &Value) -> f64 {
        match value {
            Value::String(text) => parse_text(text),
            other => other.as_f64().unwrap(),
        }
    }

    fn parse_text(text: &str) -> f64 {
        crate::sources::parse::json::parse_number_like(text).unwrap()
    }

    /// The parser that reads the expectations may be off by the last bit.
    fn same(a: f64, b: f64) -> bool {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 4.0 * f64::EPSILON * a.abs()
    }

    /// Holds a metric against what another reader found in the same file.
    fn check_metric(name: &str, points: &[(i64, f64)], expected: &Value) {
        let int = |key: &str| expected[key].as_i64().unwrap();
        assert_eq!(points.len() as i64, int("n_points"), "{name}");
        let (first, last) = (points.first().unwrap(), points.last().unwrap());
        assert_eq!((first.0, last.0), (int("first_step"), int("last_step")), "{name}");
        assert!(
            same(first.1, number(&expected["first"])) && same(last.1, number(&expected["last"])),
            "{name}"
        );
        let count = |f: fn(f64) -> bool| points.iter().filter(|(_, value)| f(*value)).count() as i64;
        assert_eq!(count(f64::is_nan), int("nan"), "{name}");
        assert_eq!(count(|value| value == f64::INFINITY), int("pos_inf"), "{name}");
        assert_eq!(count(|value| value == f64::NEG_INFINITY), int("neg_inf"), "{name}");
        let finite = || points.iter().copied().filter(|(_, value)| value.is_finite());
        let min = finite().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        let max = finite().rev().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert_eq!((min.0, max.0), (int("min_step"), int("max_step")), "{name}");
        assert!(same(min.1, number(&expected["min"])) && same(max.1, number(&expected["max"])), "{name}");
    }

    /// Neither a file of one line nor a damaged line is held in memory whole to find its end.
    #[test]
    fn lines_without_end_in_sight() {
        let read = |text: &[u8]| {
            let mut sink = Memory::default();
            let resume = read_on(&Jsonl, ("a.json", ""), text, 4 << 20, Resume::default(), &mut sink);
            (sink, resume.offset)
        };
        let long = "x".repeat(MAX_VALUE_BYTES * 2);
        let text = format!("[{{\"step\": 1, \"loss\": 3}} {long}\n{{\"step\": 2, \"loss\": 2}}]");
        let (sink, _) = read(text.as_bytes());
        assert_eq!(sink.line("loss"), [(1, 3.0), (2, 2.0)]);
        assert_eq!(sink.problems[0].position, "byte 24");
        let (torn, offset) = read(&text.as_bytes()[..MAX_VALUE_BYTES * 2]);
        assert_eq!((offset, torn.problems.len()), (24, 0));

        let note = "x".repeat(1 << 20);
        let row = |step| format!("{{\"step\": {step}, \"loss\": 1, \"note\": \"{note}\"}} ");
        let text: String = (0..20).map(row).collect();
        assert_eq!(read(text.as_bytes()).0.line("loss").len(), 20);
    }

    #[test]
    fn real_logs_read_as_python_reads_them() {
        let expected: Value = serde_json::from_slice(&data("expected.json")).unwrap();
        let mut count = 0;
        for run in expected["runs"].as_array().unwrap() {
            let path = run["path"].as_str().unwrap();
            let bytes = data(path);
            let head = &bytes[..bytes.len().min(crate::sources::HEAD_BYTES)];
            let is_ours = run["source"] == "jsonl";
            let verdict = Jsonl.sniff(path, head);
            assert_eq!(matches!(verdict, Verdict::Log { .. }), is_ours, "{path}: {verdict:?}");
            if !is_ours {
                continue;
            }
            let sink = read_whole(&Jsonl, (path, ""), &bytes);
            let metrics = run["metrics"].as_object().unwrap();
            // Python kept the wall clock as a metric; here it is the time of the points.
            let names: Vec<&String> = metrics.keys().filter(|key| *key != "time").collect();
            assert_eq!(sink.keys().len(), names.len(), "{path}: {:?}", sink.keys());
            assert_eq!(
                sink.points.iter().all(|point| point.time.is_some()),
                metrics.contains_key("time"),
                "{path}"
            );
            for name in names {
                check_metric(&format!("{path} {name}"), &sink.line(name), &metrics[name]);
            }
            assert!(sink.problems.is_empty(), "{path}: {:?}", sink.problems);
            count += 1;
        }
        assert_eq!(count, 19);
    }

    #[test]
    fn what_is_special_in_the_real_logs() {
        let config = read_whole(&Jsonl, ("a.jsonl", ""), &data("with_config_header.jsonl")).config;
        let values: Vec<_> =
            config.iter().map(|(key, value)| (key.as_str(), value.text.as_str(), value.number)).collect();
        assert_eq!(
            values,
            [("lr", "5.0", Some(5.0)), ("optim.name", "sgd", None), ("vocab", "24", Some(24.0))]
        );
        let crash = read_whole(&Jsonl, ("a.jsonl", ""), &data("crash.jsonl"));
        assert_eq!(
            crash.console.last().unwrap().text,
            "RuntimeError: CUDA error: device-side assert triggered"
        );
        assert_eq!(crash.console.len(), 4);
        assert_eq!(read_whole(&Jsonl, ("a.jsonl", ""), &data("resume.jsonl")).segment, 1);
        assert_eq!(read_whole(&Jsonl, ("a.jsonl", ""), &data("long.jsonl")).segment, 0);
        let nested = read_whole(&Jsonl, ("a.jsonl", ""), &data("nested.jsonl"));
        let phases: Vec<_> =
            nested.texts.iter().map(|text| (text.key.as_str(), text.text.as_str())).collect();
        assert_eq!(phases, [("phase", "warmup"), ("phase", "main")]);
        let nostep = read_whole(&Jsonl, ("a.jsonl", ""), &data("nostep.jsonl"));
        assert_eq!(nostep.axes.get("loss"), Some(&Axis::Index));
        let running = read_whole(&Jsonl, ("a.jsonl", ""), &data("running.jsonl"));
        assert_eq!(running.steps("loss").last(), Some(&119));
    }

    #[test]
    fn axis_follows_the_rows() {
        let epochs = read("{\"epoch\": 0, \"loss\": 3}\n{\"epoch\": 1, \"loss\": 2}\n{\"val_loss\": 2.5}\n");
        assert_eq!(epochs.steps("loss"), [0, 1]);
        assert_eq!(epochs.steps("val_loss"), [1]);
        assert_eq!(epochs.axes.get("val_loss"), Some(&Axis::Epoch));
        assert!(!epochs.keys().contains(&"epoch".to_string()));

        let fractions = read("{\"epoch\": 0.5, \"loss\": 3}\n{\"epoch\": 1.0, \"loss\": 2}\n");
        assert_eq!((fractions.steps("loss"), fractions.steps("epoch")), (vec![0, 1], vec![0, 1]));
        assert_eq!(fractions.axes.get("loss"), Some(&Axis::Index));

        let mixed = read(
            "{\"step\": 10, \"loss\": 3}\n{\"epoch\": 1, \"val_loss\": 2}\n{\"iteration\": 11, \"loss\": 1}\n{\"batch\": 3, \"test_loss\": 1}\n",
        );
        assert_eq!(
            (mixed.steps("val_loss"), mixed.steps("loss"), mixed.steps("test_loss")),
            (vec![10], vec![10, 11], vec![11])
        );
        assert_eq!(mixed.line("batch"), [(11, 3.0)]);
        assert_eq!(mixed.axes.get("loss"), None);

        let odd = read(
            "{\"Global_Step\": \"5\", \"loss\": \"NaN\", \"acc\": \"0.5\"}\n{\"Global_Step\": 6.0, \"loss\": \"-inf\"}\n",
        );
        assert_eq!(odd.steps("loss"), [5, 6]);
        assert!(odd.line("loss")[0].1.is_nan());
        assert_eq!(odd.texts[0].text, "0.5");
    }

    #[test]
    fn counters_that_begin_anew_in_each_epoch_go_on() {
        let mut text = String::new();
        for (epoch, batch) in (0..3).flat_map(|epoch| (0..4).map(move |batch| (epoch, batch))) {
            text += &format!("{{\"epoch\": {epoch}, \"batch\": {batch}, \"loss\": 1.5}}\n");
        }
        let sink = read(&text);
        assert_eq!(sink.steps("loss"), (0..12).collect::<Vec<_>>());
        assert_eq!(sink.segment, 0);
        let again = read(&format!(
            "{text}{{\"epoch\": 1, \"batch\": 0, \"loss\": 1}}\n{{\"epoch\": 1, \"batch\": 1, \"loss\": 1}}\n"
        ));
        assert_eq!(again.steps("loss")[12..], [4, 5]);
        assert_eq!(again.segment, 1);
    }

    #[test]
    fn restarts_are_told_once() {
        let sink = read(
            "{\"step\": 8, \"loss\": 1, \"val_loss\": 2}\n{\"step\": 9, \"loss\": 1}\n{\"step\": 8, \"eval\": 3}\n{\"step\": 9, \"loss\": 2}\n{\"step\": 5, \"loss\": 1}\n{\"step\": 6, \"val_loss\": 1}\n",
        );
        let segments: Vec<_> = sink.points.iter().map(|point| (point.key.as_str(), point.segment)).collect();
        assert_eq!(
            segments,
            [
                ("loss", 0),
                ("val_loss", 0),
                ("loss", 0),
                ("eval", 0),
                ("loss", 0),
                ("loss", 1),
                ("val_loss", 1)
            ]
        );
    }

    #[test]
    fn kinds_runs_config_and_end() {
        let sink = read(concat!(
            "{\"event\": \"start\", \"lr\": 0.1, \"max_steps\": 500, \"model\": {\"name\": \"m\"}, \"time\": 1760000000}\n",
            "{\"mode\": \"train\", \"step\": 1, \"loss\": 2, \"val_acc\": 1, \"epoch\": 0}\n",
            "{\"split\": \"VAL\", \"step\": 1, \"loss\": 3, \"note\": \"x\"}\n",
            "{\"split\": \"val\", \"step\": 2, \"loss\": 3, \"note\": \"x\", \"eta\": \"0:01:02\"}\n",
            "{\"event\": \"training_end\", \"best\": {\"val_loss\": 1.5}, \"status\": \"ok\"}\n",
        ));
        assert_eq!(sink.keys(), ["epoch", "train/loss", "val/loss", "val_acc"]);
        assert_eq!(sink.config.keys().collect::<Vec<_>>(), ["lr", "max_steps", "model.name"]);
        assert_eq!(sink.facts.planned_steps, Some(500));
        assert_eq!((sink.facts.end, sink.finals.get("best.val_loss")), (Some(End::Finished), Some(&1.5)));
        assert_eq!(sink.texts.len(), 1);
        let failed = read("{\"step\": 1, \"loss\": 2}\n{\"event\": \"end\", \"status\": \"failed\"}\n");
        assert_eq!(failed.facts.end, Some(End::Failed));
        let header =
            read("{\"model\": \"gpt\", \"data\": \"owt\", \"lr\": 0.1}\n{\"step\": 1, \"loss\": 2}\n");
        assert_eq!(header.config.len(), 3);

        let runs = read(
            "{\"run_id\": \"a\", \"step\": 5, \"loss\": 1}\n{\"run_id\": 7, \"step\": 1, \"loss\": 2}\n{\"run_id\": \"a\", \"step\": 6, \"loss\": 3}\n",
        );
        let names: Vec<_> = runs.points.iter().map(|point| (point.run.as_str(), point.step)).collect();
        assert_eq!(names, [("a", 5), ("7", 1), ("a", 6)]);
        assert_eq!((runs.segment, runs.texts.len()), (0, 0));
        let nested = read(
            "{\"config\": {\"lr\": 1}, \"step\": 1, \"loss\": 1}\n{\"config\": {\"lr\": 1}, \"step\": 2, \"loss\": 1}\n",
        );
        assert_eq!((nested.keys(), nested.config.len()), (vec!["loss".to_string()], 1));
    }

    #[test]
    fn empty_objects_say_nothing() {
        let rows = "{\"step\": 1, \"loss\": 2}\n{\"step\": 2, \"loss\": 1, \"a\": {}}\n";
        let full = read(&format!("{{\"config\": {{\"lr\": 0.1}}}}\n{rows}"));
        let text = format!("{{}}\n{{\"config\": {{\"lr\": 0.1}}}}\n{{}} {{ }}\n{rows}{{}}\n");
        assert_eq!(read(&text), full);
        in_pieces("a.jsonl", text.as_bytes());
        let header = "{}\n{\"model\": \"gpt\", \"data\": \"owt\", \"lr\": 0.1}\n{\"step\": 1, \"loss\": 2}\n";
        assert_eq!(read(header).config.len(), 3, "the first row that says something is the header");
        let many = "{}\n".repeat(100_000);
        assert_eq!(read(&many), Memory::default());
        let head = &many.as_bytes()[..crate::sources::HEAD_BYTES];
        assert!(!matches!(Jsonl.sniff("a.jsonl", head), Verdict::Log { .. }));
        assert!(matches!(Jsonl.sniff("a.jsonl", text.as_bytes()), Verdict::Log { .. }));
        let mut patterns = Patterns::default();
        let mut tracker = Tracker::load("", &mut Memory::default());
        patterns.learn(b"{}", &Vec::new(), &Marks::default(), &mut tracker);
        assert!(patterns.read(b"{}").is_none() && patterns.read(b"{\"step\": 1}").is_none());
    }

    #[test]
    fn a_head_without_line_end_is_judged_by_the_objects_in_it() {
        let row = "{\"step\": 1, \"loss\": 2.5} ";
        let many = row.repeat(crate::sources::HEAD_BYTES / row.len() + 1);
        let head = &many.as_bytes()[..crate::sources::HEAD_BYTES];
        assert!(matches!(Jsonl.sniff("a.jsonl", head), Verdict::Log { .. }), "many objects on a line");
        assert!(matches!(Jsonl.sniff("a.jsonl", row.trim().as_bytes()), Verdict::Log { .. }), "one row");
        assert_eq!(Jsonl.sniff("a.jsonl", &row.as_bytes()[..14]), Verdict::TooEarly, "a row in the making");
        let long = format!("{{\"step\": 1, \"note\": \"{many}");
        let long = &long.as_bytes()[..crate::sources::HEAD_BYTES];
        assert!(matches!(Jsonl.sniff("a.jsonl", long), Verdict::Other { .. }), "the head of one object");
        let text = "x".repeat(crate::sources::HEAD_BYTES);
        assert!(matches!(Jsonl.sniff("a.jsonl", text.as_bytes()), Verdict::Other { .. }));
    }

    #[test]
    fn damage_is_told_and_passed() {
        let sink = read(
            "\u{feff}{\"step\": 1, \"loss\": 1}\r\n\0\0{\"step\": 2, \"loss\": 1} {\"step\": 3, \"loss\": 1}\n{\"step\": 4, \"lo{\"step\": 5, \"loss\": 1}\n{\"step\": 6, \"loss\": 1.3{\"step\": 7, \"loss\": 1}\n{'step': 8}\n{\"step\": 9, \"a\": {\"loss\": 1, \"b\": 2}\n{\"step\": 10, \"loss\": 1}",
        );
        assert_eq!(sink.steps("loss"), [1, 2, 3, 5, 7, 10]);
        let places: Vec<_> = sink.problems.iter().map(|problem| problem.position.as_str()).collect();
        assert_eq!(places, ["line 3", "line 4", "line 5", "line 6"]);
        let bar = read("10%\r\u{1b}[31m 20%\u{1b}[0m\r\n");
        assert_eq!(bar.console[0].text, " 20%");
    }

    #[test]
    fn json_files_with_an_array_or_indented_objects() {
        let array = "[{\"step\": 1, \"loss\": 2.5},\n {\"step\": 2,\n  \"loss\": 2}\n]\n";
        let indented = "{\n \"step\": 1,\n \"loss\": 2.5\n}\n{\n \"step\": 2,\n \"loss\": 2\n}\n";
        let lines = "{\"step\": 1, \"loss\": 2.5}\n{\"step\": 2, \"loss\": 2}\n";
        for text in [array, indented, lines] {
            assert!(matches!(Jsonl.sniff("a/metrics.json", text.as_bytes()), Verdict::Log { .. }), "{text}");
            let sink = read_whole(&Jsonl, ("a/metrics.json", ""), text.as_bytes());
            assert_eq!(sink.line("loss"), [(1, 2.5), (2, 2.0)], "{text}");
            in_pieces("a/metrics.json", text.as_bytes());
        }
        assert!(matches!(Jsonl.sniff("a.json", b"{\"step\": 1, \"loss\": 2.5}"), Verdict::Other { .. }));
        let broken = "[{\"step\": 1, \"loss\": 2.5},\n {\"step\": oops},\n{\"step\": 3, \"loss\": 1}]";
        let sink = read_whole(&Jsonl, ("a.json", ""), broken.as_bytes());
        assert_eq!((sink.steps("loss"), sink.problems.len()), (vec![1, 3], 1));
        in_pieces("a.json", broken.as_bytes());
    }

    /// Reading in two pieces, cut anywhere and with chunks of any size, equals reading at once.
    fn in_pieces(path: &str, bytes: &[u8]) {
        let mut whole = Memory::default();
        let end = read_on(&Jsonl, (path, ""), bytes, 1 << 20, Resume::default(), &mut whole);
        for cut in 0..=bytes.len() {
            let mut pieces = Memory::default();
            let place = (path, "");
            let start = Resume::default();
            let middle = read_on(&Jsonl, place, &bytes[..cut], 1 + cut % 7, start, &mut pieces);
            assert!(middle.offset <= cut as u64);
            let last = read_on(&Jsonl, place, bytes, 1 + cut % 5, middle, &mut pieces);
            assert_eq!(pieces.facts, whole.facts, "cut at {cut}");
            assert_eq!(pieces.points, whole.points, "cut at {cut}");
            let (run, segment) = (whole.run.clone(), whole.segment);
            assert_eq!(Memory { run, segment, ..pieces.clone() }, whole, "cut at {cut}");
            assert_eq!((last.offset, last.row_count), (end.offset, end.row_count), "cut at {cut}");
        }
    }

    const SAMPLE: &str = concat!(
        "\u{feff}loading\n\n",
        "{\"config\": {\"lr\": 0.1}}\n",
        "{\"step\": 1, \"run_id\": \"a\", \"loss\": NaN, \"tag\": \"é\"} {\"step\": 2, \"loss\": 1e-3}\n",
        "{\"step\": 3, \"loss\": 1{\"step\": 3, \"loss\": 2}\r\n",
        "{\"run_id\": \"b\", \"epoch\": 1, \"val\": {\"loss\": 4}}\n",
        "{\"step\": 1, \"loss\": -Infinity, \"time\": \"2026-01-02T03:04:05Z\"} trailing\n",
        "{\"run_id\": \"a\", \"step\": 2, \"loss\": 5}\n\n",
        "{\"event\": \"done\"}\n",
        "Traceback\n{\"step\": 9, \"loss\": 1}",
    );

    #[test]
    fn pieces_equal_the_whole() {
        in_pieces("a.jsonl", SAMPLE.as_bytes());
        in_pieces("a.jsonl", &data("interleaved.jsonl")[..900]);
        let resume = data("resume.jsonl");
        in_pieces("a.jsonl", &resume[20_000..21_000]);
    }

    #[test]
    fn flipped_bytes_never_panic() {
        let bytes = SAMPLE.as_bytes();
        for at in 0..bytes.len() {
            for flip in [1, 0x20, 0x80, 0xff] {
                let mut bytes = bytes.to_vec();
                bytes[at] ^= flip;
                read_whole(&Jsonl, ("a.jsonl", ""), &bytes);
                read_whole(&Jsonl, ("a.json", ""), &bytes);
                Jsonl.sniff("a.jsonl", &bytes);
            }
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, saved in "\\PC*") {
            read_whole(&Jsonl, ("a.jsonl", ""), &bytes);
            read_whole(&Jsonl, ("a.json", ""), &bytes);
            Jsonl.sniff("a.json", &bytes);
            let from = Resume { state: saved, ..Resume::default() };
            read_on(&Jsonl, ("a.jsonl", ""), &bytes, 16, from, &mut Memory::default());
        }
    }

    #[test]
    fn runs_are_named() {
        let file = |path: &str| LogFile { path: path.into(), size_bytes: 1, marks: String::new() };
        let files = ["clean/metrics.jsonl", "crash.jsonl", "log.jsonl", "sweep/run_0/log.jsonl"].map(file);
        let names: Vec<_> = Jsonl.group(&files).into_iter().map(|run| run.name.unwrap()).collect();
        assert_eq!(names, ["clean", "crash", "log", "run_0"]);
    }
}
