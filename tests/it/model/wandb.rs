//! W&B run directories, several starts of a run among them: what they say, how it is written, what
//! it means.

use super::{File, Input, Point, Run, row, time};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A record of the transaction log.
#[derive(Debug, Clone)]
pub enum Entry {
    /// The run as a whole: name, tags, notes.
    Run(Option<&'static str>, Vec<&'static str>, Option<&'static str>),
    /// A row of the history: step, seconds since the record before, keys and JSON.
    History(i64, i64, Vec<(&'static str, String)>),
    /// A hyperparameter set, or removed.
    Config(&'static str, Option<&'static str>),
    /// A final value set, or removed.
    Summary(&'static str, Option<String>),
    /// System statistics.
    Stats(i64, f64),
    Alert(&'static str, &'static str),
    /// `define_metric(name, goal)`: 1 is min, 2 is max.
    Goal(&'static str, i64),
    /// What one `write` printed: 0 on stderr, 1 on stdout.
    Printed(i64, &'static str),
    /// The end: exit code and seconds.
    Exit(i64, i64),
}

/// One start of a run.
#[derive(Debug, Clone)]
pub struct Start {
    pub directory: String,
    started_ms: i64,
    /// The start goes back: everything behind this step is taken back.
    back_to: Option<i64>,
    entries: Vec<Entry>,
}

/// A run with all its starts.
#[derive(Debug, Clone)]
pub struct Log {
    pub id: String,
    pub starts: Vec<Start>,
}

fn scalar() -> impl Strategy<Value = String> {
    let odd = vec![
        "NaN",
        "\"NaN\"",
        "Infinity",
        "-Infinity",
        "9007199254740993",
        "1e999",
        "null",
        "true",
        "[1, 2]",
    ];
    prop_oneof![
        9 => (-8.0..8.0).prop_map(|x: f64| x.to_string()),
        2 => (-5i64..5).prop_map(|x| x.to_string()),
        2 => select(odd).prop_map(str::to_string),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let nested = || {
        (scalar(), scalar())
            .prop_map(|(a, b)| format!("{{\"acc\": {a}, \"by\": {{\"f1\": {b}, \"who\": \"éva\"}}}}"))
    };
    let text = select(vec!["\"warmup\"", "\"a | b\"", "{\"_type\": \"image-file\", \"width\": 3}"]);
    let items = (
        scalar(),
        prop::option::of(scalar()),
        prop::option::of(scalar()),
        prop::option::of(nested()),
        prop::option::weighted(0.2, text),
    );
    let history = (
        prop_oneof![9 => 1i64..3, 1 => 0i64..1, 1 => Just(40)],
        prop_oneof![9 => 0i64..20, 1 => 700i64..2_000],
        items,
    );
    let history = history.prop_map(|(delta, gap_s, (loss, val, lr, eval, note))| {
        let mut items = vec![("train/loss", loss)];
        items.extend(
            [("val_loss", val), ("lr", lr), ("eval", eval)]
                .into_iter()
                .filter_map(|(key, json)| Some((key, json?))),
        );
        items.extend(note.map(|note| ("note", note.to_string())));
        Entry::History(delta, gap_s, items)
    });
    let config = vec![
        Some("0.5"),
        Some("3"),
        Some("\"adam\""),
        Some("{\"a\": 1, \"b\": {\"c\": \"x\"}}"),
        Some("[1, 2]"),
        Some("null"),
        None,
    ];
    let summary = (
        select(vec!["train/loss", "lr", "eval", "only/final", "_runtime"]),
        prop::option::weighted(0.8, prop_oneof![scalar(), nested()]),
    );
    let printed = vec!["step 1\n", "half ", "line\nand more\n", "10%\r", "\x1b[31mred\x1b[0m\n"];
    prop_oneof![
        16 => history,
        2 => (select(vec!["optim", "lr"]), select(config)).prop_map(|(key, value)| Entry::Config(key, value)),
        2 => summary.prop_map(|(key, json)| Entry::Summary(key, json)),
        3 => (0i64..30, 0.0..100.0f64).prop_map(|(gap_s, cpu)| Entry::Stats(gap_s, cpu)),
        1 => select(vec![("WARN", "grad high"), ("ERROR", "nan")]).prop_map(|(level, title)| Entry::Alert(level, title)),
        1 => (select(vec!["train/loss", "lr"]), 1i64..3).prop_map(|(name, goal)| Entry::Goal(name, goal)),
        2 => (0i64..2, select(printed)).prop_map(|(stream, text)| Entry::Printed(stream, text)),
        1 => (select(vec![Some("renamed"), None]), select(vec![vec![], vec!["a", "b"]]), select(vec![Some("a note"), None]))
            .prop_map(|(name, tags, notes)| Entry::Run(name, tags, notes)),
    ]
}

/// How a start begins: at 0 as offline resumes do, behind the one before, or going back.
#[derive(Debug, Clone, Copy, PartialEq)]
enum From {
    Zero,
    Behind,
    Back(i64),
}

/// A run in `folder`.
pub fn log(folder: String, id: &'static str) -> impl Strategy<Value = Log> {
    let from =
        prop_oneof![3 => Just(From::Zero), 2 => Just(From::Behind), 2 => (1i64..20).prop_map(From::Back)];
    let exit = prop_oneof![3 => Just(None), 2 => (0i64..2, 0i64..90).prop_map(Some)];
    let start = (from, prop::collection::vec(entry(), 4..30), exit);
    prop::collection::vec(start, 1..4).prop_map(move |drafts| {
        let (mut starts, mut last, mut clock, mut was_shifted) =
            (Vec::new(), None, 1_760_000_000_000i64, false);
        for (n, (from, mut entries, exit)) in drafts.into_iter().enumerate() {
            let begin = match (from, last) {
                (From::Behind, Some(last)) => last + 1,
                (From::Back(by), Some(last)) if !was_shifted => i64::max(1, last - by),
                (_, Some(_)) => {
                    was_shifted = true;
                    0
                }
                (_, None) => 0,
            };
            let back_to = last.filter(|last| begin > 0 && begin <= *last).map(|_| begin - 1);
            clock += 100_000_000;
            let mut step = None;
            for entry in &mut entries {
                if let Entry::History(delta, ..) = entry {
                    *delta = step.map_or(begin, |step: i64| step + *delta);
                    step = Some(*delta);
                }
            }
            let so_far = if begin == 0 && was_shifted { last.map_or(0, |last: i64| last + 1) } else { 0 };
            last = step
                .map(|step| step + so_far)
                .max(last.filter(|last| back_to.is_none_or(|back| *last <= back)).or(back_to));
            entries.extend(exit.map(|(code, runtime)| Entry::Exit(code, runtime)));
            let directory = format!("{folder}/wandb/offline-run-20261120_17510{n}-{id}");
            starts.push(Start { directory, started_ms: clock, back_to, entries });
        }
        Log { id: id.to_string(), starts }
    })
}

// ---- How it is written: LevelDB framing around protobuf ----

pub fn bytes_field(field: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::bytes::encode(field, &content.to_vec(), &mut out);
    out
}

pub fn int_field(field: u32, value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::int64::encode(field, &value, &mut out);
    out
}

fn double_field(field: u32, value: f64) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::double::encode(field, &value, &mut out);
    out
}

fn timestamp(field: u32, ms: i64) -> Vec<u8> {
    bytes_field(field, &[int_field(1, ms / 1000), int_field(2, ms % 1000 * 1_000_000)].concat())
}

pub fn item(key: &str, json: &str) -> Vec<u8> {
    [bytes_field(1, key.as_bytes()), bytes_field(16, json.as_bytes())].concat()
}

/// Adds a record in as many chunks as the blocks of 32 KiB ask for.
pub fn frame(file: &mut Vec<u8>, mut record: &[u8]) {
    let mut is_first = true;
    loop {
        let room = 32_768 - file.len() % 32_768;
        if room < 7 {
            file.resize(file.len() + room, 0);
            continue;
        }
        let (part, rest) = record.split_at(record.len().min(room - 7));
        let kind = match (is_first, rest.is_empty()) {
            (true, true) => 1,
            (true, false) => 2,
            (false, false) => 3,
            (false, true) => 4,
        };
        let checked = [&[kind][..], part].concat();
        file.extend(crc32fast::hash(&checked).to_le_bytes());
        file.extend(u16::try_from(part.len()).unwrap().to_le_bytes());
        file.extend(checked);
        (is_first, record) = (false, rest);
        if record.is_empty() {
            return;
        }
    }
}

impl Log {
    fn path(&self, start: &Start) -> String {
        format!("{}/run-{}.wandb", start.directory, self.id)
    }

    pub fn files(&self) -> Vec<File> {
        self.starts.iter().map(|start| self.file(start)).collect()
    }

    fn file(&self, start: &Start) -> File {
        let mut bytes = b":W&B\xE1\xBE\x00".to_vec();
        frame(&mut bytes, &self.run_record(start));
        let mut ends = vec![bytes.len()];
        let mut clock = start.started_ms;
        for entry in &start.entries {
            frame(&mut bytes, &self.record(entry, &mut clock));
            ends.push(bytes.len());
        }
        File { path: self.path(start), bytes, starts: Vec::new(), ends }
    }

    /// The record that opens a file.
    fn run_record(&self, start: &Start) -> Vec<u8> {
        let branch = |step: i64| {
            [bytes_field(1, self.id.as_bytes()), double_field(2, step as f64), bytes_field(3, b"_step")]
                .concat()
        };
        let run = [
            bytes_field(1, self.id.as_bytes()),
            bytes_field(3, b"demo"),
            bytes_field(8, b"first-name"),
            bytes_field(13, b"host-1"),
            timestamp(17, start.started_ms),
            start.back_to.map_or(Vec::new(), |step| bytes_field(23, &branch(step))),
        ];
        bytes_field(17, &run.concat())
    }

    fn record(&self, entry: &Entry, clock: &mut i64) -> Vec<u8> {
        match entry {
            Entry::Run(name, tags, notes) => {
                let mut run = bytes_field(1, self.id.as_bytes());
                run.extend(name.map_or(Vec::new(), |name| bytes_field(8, name.as_bytes())));
                run.extend(notes.map_or(Vec::new(), |notes| bytes_field(9, notes.as_bytes())));
                tags.iter().for_each(|tag| run.extend(bytes_field(10, tag.as_bytes())));
                bytes_field(17, &run)
            }
            Entry::History(step, gap_s, items) => {
                *clock += gap_s * 1000 + 500;
                let mut row = bytes_field(1, &item("_step", &step.to_string()));
                row.extend(bytes_field(1, &item("_timestamp", &(*clock as f64 / 1000.0).to_string())));
                items.iter().for_each(|(key, json)| row.extend(bytes_field(1, &item(key, json))));
                row.extend(bytes_field(2, &int_field(1, *step)));
                bytes_field(2, &row)
            }
            Entry::Config(key, Some(json)) => bytes_field(5, &bytes_field(1, &item(key, json))),
            Entry::Config(key, None) => bytes_field(5, &bytes_field(2, &item(key, ""))),
            Entry::Summary(key, Some(json)) => bytes_field(3, &bytes_field(1, &item(key, json))),
            Entry::Summary(key, None) => bytes_field(3, &bytes_field(2, &item(key, ""))),
            Entry::Stats(gap_s, cpu) => {
                *clock += gap_s * 1000;
                bytes_field(
                    7,
                    &[timestamp(2, *clock), bytes_field(3, &item("cpu", &cpu.to_string()))].concat(),
                )
            }
            Entry::Alert(level, title) => bytes_field(
                10,
                &[
                    bytes_field(1, title.as_bytes()),
                    bytes_field(2, b"look"),
                    bytes_field(3, level.as_bytes()),
                ]
                .concat(),
            ),
            Entry::Goal(name, goal) => {
                bytes_field(12, &[bytes_field(1, name.as_bytes()), int_field(8, *goal)].concat())
            }
            Entry::Printed(stream, text) => {
                *clock += 10;
                bytes_field(
                    13,
                    &[int_field(1, *stream), timestamp(2, *clock), bytes_field(3, text.as_bytes())].concat(),
                )
            }
            Entry::Exit(code, runtime) => {
                bytes_field(18, &[int_field(1, *code), int_field(2, *runtime)].concat())
            }
        }
    }
}

// ---- What it means ----

/// What one start knows of itself while it is told.
struct Now {
    segment: i32,
    clock: i64,
    /// Last time that a record gave.
    time: i64,
    step: Option<i64>,
    shift: i64,
    seq: i64,
    stats: i64,
    tagged: bool,
    /// Unfinished lines on stderr and stdout.
    open: [String; 2],
}

impl Log {
    /// The run, as far as the first `said[n]` records of each start go; a file without any is not there.
    pub fn runs(&self, said: &[usize], modified_ms: i64) -> Vec<Run> {
        let there: Vec<(&Start, usize)> =
            self.starts.iter().zip(said.iter().copied()).filter(|(_, said)| *said > 0).collect();
        let Some((newest, _)) = there.last() else { return Vec::new() };
        let mut run = Run {
            source: "wandb",
            path: newest.directory.clone(),
            id: Some(self.id.clone()),
            writes_ends: true,
            modified_ms,
            ..Run::default()
        };
        run.segments = there.len() as i32;
        for (segment, (start, said)) in there.into_iter().enumerate() {
            run.inputs.insert(self.path(start));
            self.start(&mut run, segment as i32, start, said - 1);
        }
        vec![run]
    }

    fn start(&self, run: &mut Run, segment: i32, start: &Start, said: usize) {
        let started = start.started_ms;
        let mut now = Now {
            segment,
            clock: started,
            time: started,
            step: None,
            shift: 0,
            seq: 0,
            stats: 0,
            tagged: false,
            open: Default::default(),
        };
        run.created_at = run.created_at.or(Some(started));
        run.end = None;
        run.facts.insert("exit_code".into(), Value::Null);
        run.facts.insert("state_detail".into(), Value::Null);
        run.facts.extend(row(json!({"project": "demo", "name": "first-name", "host": "host-1"})));
        run.rewinds.extend(start.back_to.map(|step| (segment, 0, step + 1)));
        for entry in &start.entries[..said] {
            self.entry(run, &mut now, entry);
        }
        run.console_files.resize(run.console.len(), self.path(start));
    }

    fn entry(&self, run: &mut Run, now: &mut Now, entry: &Entry) {
        match entry {
            Entry::Run(name, tags, notes) => {
                now.tagged |= !tags.is_empty();
                run.facts.extend(name.map(|name| ("name".to_string(), json!(name))));
                run.facts.extend(notes.map(|notes| ("notes".to_string(), json!(notes))));
                run.facts.extend(now.tagged.then(|| ("tags".to_string(), json!(tags))));
            }
            Entry::History(step, gap_s, items) => history(run, now, *step, *gap_s, items),
            Entry::Config(key, json) => {
                run.config.retain(|name, _| name != key && !name.starts_with(&format!("{key}.")));
                if let Some(json) = json {
                    leaves(key, &serde_json::from_str(json).unwrap(), true, &mut |key, value| {
                        run.config.insert(key, hyperparameter(value));
                    });
                }
            }
            Entry::Summary(key, _) if key.starts_with('_') => {}
            Entry::Summary(key, None) => {
                run.finals.retain(|name, _| name != key && !name.starts_with(&format!("{key}.")))
            }
            Entry::Summary(key, Some(json)) => numbers(key, json, &mut |key, value| {
                run.finals.insert(key, value);
            }),
            Entry::Stats(gap_s, cpu) => {
                now.clock += gap_s * 1000;
                now.time = now.clock;
                run.axes.insert("system/cpu".into(), "index");
                push(run, now, "system/cpu", now.stats, *cpu, Some(now.clock));
                now.stats += 1;
            }
            Entry::Alert(level, title) => {
                let step = now.step.map(|step| step + now.shift);
                run.alerts.push(row(json!({"level": level.to_lowercase(), "title": title, "text": "look", "step": step, "ms": now.time})));
            }
            Entry::Goal(name, goal) => {
                run.goals.insert(name.to_string(), if *goal == 1 { "min" } else { "max" });
            }
            Entry::Printed(stream, text) => {
                now.clock += 10;
                now.time = now.clock;
                let stream = *stream as usize;
                now.open[stream].push_str(text);
                while let Some((line, rest)) = now.open[stream].clone().split_once('\n') {
                    run.console.push((Some(now.time), Some(STREAMS[stream]), shown(line)));
                    now.open[stream] = rest.to_string();
                }
            }
            Entry::Exit(code, runtime) => {
                run.end = Some(if *code == 0 { "finished" } else { "failed" });
                run.facts.extend(row(json!({"exit_code": code, "state_detail": run.end})));
                if *runtime > 0 {
                    run.duration_s = Some(run.duration_s.unwrap_or(0.0) + *runtime as f64);
                }
                for stream in [1, 0].into_iter().filter(|stream| !now.open[*stream].is_empty()) {
                    run.console.push((Some(now.time), Some(STREAMS[stream]), shown(&now.open[stream])));
                }
            }
        }
    }

    pub fn inputs(&self, said: &[usize], sizes: &[usize], modified_ms: &[i64]) -> Vec<Input> {
        let mut inputs = Vec::new();
        for (n, file) in self.files().into_iter().enumerate().filter(|(n, _)| said[*n] > 0) {
            let shown = row(
                json!({"path": file.path, "source": "wandb", "size_bytes": sizes[n], "read_bytes": file.ends[said[n] - 1],
                "modified_at": time(Some(modified_ms[n])), "row_count": said[n], "problem_count": 0}),
            );
            inputs.push(Input { row: shown, problems: Vec::new() });
        }
        inputs
    }
}

const STREAMS: [&str; 2] = ["stderr", "stdout"];

fn push(run: &mut Run, now: &mut Now, key: &str, step: i64, value: f64, at: Option<i64>) {
    let point = Point {
        key: key.into(),
        step,
        value,
        time: at,
        segment: now.segment,
        seq: now.seq,
        internal: key.starts_with('_'),
    };
    run.points.push(point);
    now.seq += 1;
}

/// A start whose first row is step 0 goes on behind the largest step that was not taken back.
fn history(run: &mut Run, now: &mut Now, step: i64, gap_s: i64, items: &[(&'static str, String)]) {
    now.clock += gap_s * 1000 + 500;
    now.time = now.clock;
    if now.step.is_none() && step == 0 && now.segment > 0 {
        let keys: BTreeSet<&str> =
            run.keys().into_iter().filter(|key| !run.axes.contains_key(*key)).collect();
        let is_training = |point: &&Point| keys.contains(point.key.as_str());
        let standing = |point: &&Point| {
            run.rewinds.iter().all(|(segment, seq, from)| {
                (point.segment, point.seq) >= (*segment, *seq) || point.step < *from
            })
        };
        let last = run.points.iter().filter(is_training).filter(standing).map(|point| point.step).max();
        now.shift = last.map_or(0, |last| last + 1);
    }
    now.step = Some(step);
    let at = Some(now.clock);
    push(run, now, "_step", step + now.shift, step as f64, at);
    push(run, now, "_timestamp", step + now.shift, now.clock as f64 / 1000.0, at);
    for (key, json) in items {
        numbers(key, json, &mut |key, value| push(run, now, &key, step + now.shift, value, at));
        leaves(key, &parsed(json), false, &mut |key, value| {
            if let Some(text) = value.as_str().filter(|text| !text.starts_with('#')) {
                run.texts.push((key, Some(step + now.shift), at, text.to_string()));
            }
        });
    }
}

/// JSON as Python writes it; the words that are no JSON become texts of their own.
fn parsed(json: &str) -> Value {
    let mut valid = json.replace("\"NaN\"", "NaN");
    for (word, name) in [("NaN", "#nan"), ("-Infinity", "#neg"), ("Infinity", "#inf"), ("1e999", "#inf")] {
        valid = valid.replace(word, &format!("\"{name}\""));
    }
    serde_json::from_str(&valid).unwrap_or_else(|error| panic!("{valid}: {error}"))
}

/// Numbers of a value, by their full names.
fn numbers(key: &str, json: &str, take: &mut dyn FnMut(String, f64)) {
    leaves(key, &parsed(json), false, &mut |key, value| match value {
        Value::String(text) if text == "#nan" => take(key, f64::NAN),
        Value::String(text) if text == "#neg" => take(key, f64::NEG_INFINITY),
        Value::String(text) if text == "#inf" => take(key, f64::INFINITY),
        Value::Number(number) => take(key, number.as_f64().unwrap()),
        _ => {}
    });
}

/// Media are no values; an empty object is one in a configuration only.
fn leaves(key: &str, value: &Value, config: bool, take: &mut dyn FnMut(String, &Value)) {
    match value {
        Value::Object(fields) if !config && fields.contains_key("_type") => {}
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| leaves(&format!("{key}.{name}"), value, config, take))
        }
        value => take(key.to_string(), value),
    }
}

fn hyperparameter(value: &Value) -> (String, Option<f64>) {
    match value {
        Value::String(text) => (text.clone(), None),
        value => (value.to_string(), value.as_f64()),
    }
}

/// The last state of a line, as a terminal shows it.
fn shown(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    line.rsplit('\r').next().unwrap().replace("\x1b[31m", "").replace("\x1b[0m", "")
}

/// Names of the runs that may be generated; the same id in two folders is a clash.
pub const IDS: [&str; 3] = ["abc12345", "seed_1", "x-y_z"];
