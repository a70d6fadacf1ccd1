//! What the tests of sources share: a sink that keeps everything, readings whole and in pieces,
//! and writers of valid logs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Log, LogFile, Resume, RunLogs, Sink, Source, Verdict};
use crate::records::{Alert, Axis, ConfigValue, ConsoleLine, Goal, Point, Problem, RunFacts, Text, TimeMs};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A point as it was told. NaN equals NaN, and -0 is not 0.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// The run inside the log.
    pub run: String,
    /// How many restarts were told before.
    pub segment: i32,
    pub key: String,
    pub step: i64,
    pub value: f64,
    pub time: Option<TimeMs>,
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        fn parts(told: &Told) -> (&str, i32, &str, i64, u64, Option<TimeMs>) {
            let value = if told.value.is_nan() { f64::NAN } else { told.value };
            (&told.run, told.segment, &told.key, told.step, value.to_bits(), told.time)
        }
        parts(self) == parts(other)
    }
}

/// A sink that keeps everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Memory {
    pub run: String,
    pub segment: i32,
    pub points: Vec<Told>,
    pub internal: Vec<Told>,
    pub facts: RunFacts,
    pub config: BTreeMap<String, ConfigValue>,
    pub axes: BTreeMap<String, Axis>,
    pub goals: BTreeMap<String, Goal>,
    pub finals: BTreeMap<String, f64>,
    pub texts: Vec<Text>,
    pub alerts: Vec<Alert>,
    pub console: Vec<ConsoleLine>,
    pub rewinds: Vec<i64>,
    /// Starts with which the training began anew.
    pub anew: Vec<i32>,
    pub continues: bool,
    pub problems: Vec<Problem>,
}

impl Memory {
    /// The points of a key.
    pub(crate) fn of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Told> {
        self.points.iter().filter(move |point| point.key == key)
    }

    /// Steps and values of a key.
    pub(crate) fn line(&self, key: &str) -> Vec<(i64, f64)> {
        self.of(key).map(|point| (point.step, point.value)).collect()
    }

    /// Steps of a key.
    pub(crate) fn steps(&self, key: &str) -> Vec<i64> {
        self.of(key).map(|point| point.step).collect()
    }

    /// Keys of the points, each once.
    pub(crate) fn keys(&self) -> Vec<String> {
        let keys: BTreeSet<_> = self.points.iter().map(|point| point.key.clone()).collect();
        keys.into_iter().collect()
    }

    /// Everything as text, in which NaN equals NaN.
    pub(crate) fn text(&self) -> String {
        format!("{self:#?}")
    }

    fn told(&self, point: Point<'_>) -> Told {
        let Point { key, step, value, time } = point;
        Told { run: self.run.clone(), segment: self.segment, key: key.to_owned(), step, value, time }
    }
}

impl Sink for Memory {
    fn select_run(&mut self, name: &str) {
        self.run = name.to_owned();
    }
    fn facts(&mut self, facts: RunFacts) {
        self.facts.merge(facts);
    }
    fn config(&mut self, key: &str, value: ConfigValue) {
        self.config.insert(key.to_owned(), value);
    }
    fn remove_config(&mut self, key: &str) {
        let nested = format!("{key}.");
        self.config.retain(|name, _| name != key && !name.starts_with(&nested));
    }
    fn point(&mut self, point: Point<'_>) {
        self.points.push(self.told(point));
    }
    fn internal_point(&mut self, point: Point<'_>) {
        self.internal.push(self.told(point));
    }
    fn axis(&mut self, key: &str, axis: Axis) {
        self.axes.insert(key.to_owned(), axis);
    }
    fn goal(&mut self, key: &str, goal: Goal) {
        self.goals.insert(key.to_owned(), goal);
    }
    fn final_value(&mut self, key: &str, value: Option<f64>) {
        match value {
            Some(value) => self.finals.insert(key.to_owned(), value),
            None => self.finals.remove(key),
        };
    }
    fn text(&mut self, text: Text) {
        self.texts.push(text);
    }
    fn alert(&mut self, alert: Alert) {
        self.alerts.push(alert);
    }
    fn console(&mut self, line: ConsoleLine) {
        self.console.push(line);
    }
    fn restart(&mut self) {
        self.segment += 1;
    }
    fn begin_anew(&mut self) {
        self.anew.push(self.segment);
    }
    fn rewind(&mut self, from_step: i64) {
        self.rewinds.push(from_step);
    }
    fn continue_from_zero(&mut self) {
        self.continues = true;
    }
    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

/// A log whose bytes lie in memory.
pub(crate) fn in_memory<'a>(
    path: &'a str,
    role: &'a str,
    bytes: &'a mut Cursor<impl AsRef<[u8]> + Send>,
    chunk_bytes: usize,
) -> Log<'a> {
    let file = Path::new(path);
    Log { path, role, file, scratch: Path::new("."), bytes, chunk_bytes, is_at_rest: false }
}

/// Reads on from `from` what `bytes` hold now.
pub(crate) fn read_on(
    source: &dyn Source,
    (path, role): (&str, &str),
    bytes: &[u8],
    chunk_bytes: usize,
    from: Resume,
    sink: &mut Memory,
) -> Resume {
    let mut cursor = Cursor::new(bytes);
    cursor.seek(SeekFrom::Start(from.offset)).unwrap();
    sink.run.clear();
    let mut log = in_memory(path, role, &mut cursor, chunk_bytes);
    let resume = source.read(&mut log, from.clone(), sink).unwrap();
    assert!(resume.offset >= from.offset && resume.offset <= bytes.len() as u64, "{resume:?}");
    resume
}

/// Reads all at once.
pub(crate) fn read_whole(source: &dyn Source, place: (&str, &str), bytes: &[u8]) -> Memory {
    let mut sink = Memory::default();
    read_on(source, place, bytes, 1 << 15, Resume::default(), &mut sink);
    sink
}

/// Reads a file that grows by `growth` bytes between readings, `chunk_bytes` at a time.
pub(crate) fn read_growing(
    source: &dyn Source,
    place: (&str, &str),
    bytes: &[u8],
    chunk_bytes: usize,
    growth: usize,
) -> Memory {
    let (mut sink, mut resume, mut size) = (Memory::default(), Resume::default(), 0);
    loop {
        resume = read_on(source, place, &bytes[..size], chunk_bytes, resume, &mut sink);
        if size == bytes.len() {
            return sink;
        }
        size = (size + growth).min(bytes.len());
    }
}

/// What holds for every log: read while it grows it tells what it tells at once; cut anywhere, or
/// with any byte changed, nothing panics and all before that place is told.
pub(crate) fn assert_survives(source: &dyn Source, place: (&str, &str), bytes: &[u8]) {
    let whole = read_whole(source, place, bytes);
    for (growth, chunk) in [(1, 1), (7, 5), (100, 16), (bytes.len().max(1), 3)] {
        let pieces = read_growing(source, place, bytes, chunk, growth);
        let (run, segment) = (whole.run.clone(), whole.segment);
        assert_eq!(Memory { run, segment, ..pieces }.text(), whole.text(), "grown by {growth}");
    }
    let mut before = Memory::default();
    for at in 0..bytes.len() {
        let cut = read_whole(source, place, &bytes[..at]);
        assert!(whole.points.starts_with(&cut.points), "cut at {at}");
        assert!(cut.points.starts_with(&before.points), "cut at {at}");
        assert!(cut.problems.len() <= whole.problems.len(), "cut at {at}: {:?}", cut.problems);
        for flip in [1, 0x10, 0x80, 0xff] {
            let mut changed = bytes.to_vec();
            changed[at] ^= flip;
            let sink = read_whole(source, place, &changed);
            assert!(sink.points.starts_with(&cut.points), "{flip} at {at}");
            source.sniff(place.0, &changed);
        }
        before = cut;
    }
}

/// The folder with samples of a source.
pub(crate) fn samples(source: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(source)
}

/// Finds and groups the logs under a folder as discovery would; symlinks are not followed.
pub(crate) fn discover(source: &dyn Source, root: &Path) -> Vec<RunLogs> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if !entry.file_type().is_file() || !source.may_claim(&path) {
            continue;
        }
        let bytes = std::fs::read(entry.path()).unwrap();
        let head = &bytes[..bytes.len().min(super::HEAD_BYTES)];
        if let Verdict::Log { marks } = source.sniff(&path, head) {
            files.push(LogFile { path, size_bytes: bytes.len() as u64, marks });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    source.group(&files)
}

/// Reads all inputs of a run in order into one sink.
pub(crate) fn read_run(source: &dyn Source, root: &Path, run: &RunLogs) -> Memory {
    let mut sink = Memory::default();
    for input in &run.inputs {
        let bytes = std::fs::read(root.join(&input.path)).unwrap();
        let place = (input.path.as_str(), input.role.as_str());
        read_on(source, place, &bytes, 1 << 20, Resume::default(), &mut sink);
    }
    sink
}

/// The runs in `expected.json` of a source.
pub(crate) fn expected(source: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(samples(source).join("expected.json")).unwrap();
    let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
    whole["runs"].as_array().unwrap().clone()
}

/// Expected runs in the order of their paths.
pub(crate) fn sorted_by_path(runs: &[serde_json::Value]) -> Vec<&serde_json::Value> {
    let mut runs: Vec<_> = runs.iter().collect();
    runs.sort_by_key(|run| run["path"].as_str().unwrap().to_owned());
    runs
}

/// Like [`assert_survives`] for a file that is rewritten whole: nothing panics, and what a cut or
/// changed file tells ends with the reading.
pub(crate) fn assert_survives_rewriting(source: &dyn Source, place: (&str, &str), bytes: &[u8]) {
    let read = |bytes: &[u8]| {
        let mut cursor = Cursor::new(bytes);
        let (path, role) = place;
        let mut log = in_memory(path, role, &mut cursor, 64);
        // A file that is half written may be an error: it is read again.
        let _ = source.read(&mut log, Resume::default(), &mut Memory::default());
    };
    for cut in 0..bytes.len() {
        read(&bytes[..cut]);
        for flip in [0xff, 0x01, 0x20] {
            let mut harmed = bytes.to_vec();
            harmed[cut] ^= flip;
            read(&harmed);
        }
    }
}

/// An archive with these members.
pub(crate) fn zip_of(members: &[(&str, &str)]) -> Vec<u8> {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A file of a listing, for tests of grouping.
pub(crate) fn file(path: &str, size_bytes: u64, marks: &str) -> LogFile {
    LogFile { path: path.into(), size_bytes, marks: marks.into() }
}

/// Compares the points of a run with what the producer's own reader found. `keys` are the metrics
/// of `expected.json`; names get `prefix`.
pub(crate) fn assert_metrics(sink: &Memory, expected: &serde_json::Value, prefix: &str) {
    for (name, want) in expected["metrics"].as_object().unwrap() {
        let key = format!("{prefix}{name}");
        let line = sink.line(&key);
        let number = |field: &str| match &want[field] {
            serde_json::Value::String(text) => super::parse::json::parse_non_finite(text).unwrap(),
            value => value.as_f64().unwrap(),
        };
        let count = want.get("n_points_raw").unwrap_or(&want["n_points"]).as_u64().unwrap();
        assert_eq!(line.len() as u64, count, "{key}");
        if want.get("n_points_raw").is_some_and(|raw| *raw != want["n_points"]) {
            continue;
        }
        let (first, last) = (line.first().unwrap(), line.last().unwrap());
        assert_same(first.1, number("first"), &key);
        assert_same(last.1, number("last"), &key);
        let steps = |step: Option<i64>, field: &str| assert_eq!(step, want[field].as_i64(), "{key}");
        steps(line.iter().map(|point| point.0).min(), "first_step");
        steps(line.iter().map(|point| point.0).max(), "last_step");
        let count = |wanted: fn(f64) -> bool| line.iter().filter(|point| wanted(point.1)).count();
        assert_eq!(Some(count(f64::is_nan) as u64), want["nan"].as_u64(), "{key}");
        assert_eq!(Some(count(|v| v == f64::INFINITY) as u64), want["pos_inf"].as_u64(), "{key}");
        let finite = || line.iter().map(|point| point.1).filter(|value| value.is_finite());
        if want["min"].is_number() {
            assert_same(finite().fold(f64::INFINITY, f64::min), number("min"), &key);
            assert_same(finite().fold(f64::NEG_INFINITY, f64::max), number("max"), &key);
        }
    }
}

/// Compares a configuration with `expected.json`.
pub(crate) fn assert_config(sink: &Memory, expected: &serde_json::Value) {
    let want = expected["config"].as_object().unwrap();
    for (key, want) in want {
        let got = sink.config.get(key).unwrap_or_else(|| panic!("{key} in {:?}", sink.config));
        match want {
            serde_json::Value::String(text) => assert_eq!(&got.text, text, "{key}"),
            serde_json::Value::Number(number) => assert_eq!(got.number, number.as_f64(), "{key}"),
            value => assert_eq!(got.text, value.to_string(), "{key}"),
        }
    }
    assert_eq!(sink.config.len(), want.len());
}

fn assert_same(got: f64, want: f64, key: &str) {
    assert!(got == want || (got.is_nan() && want.is_nan()), "{key}: {got} is not {want}");
}

/// A protobuf field of bytes, text or a message.
pub(crate) fn bytes_field(field: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::bytes::encode(field, &content.to_vec(), &mut out);
    out
}

/// A protobuf field of an integer.
pub(crate) fn int_field(field: u32, value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::int64::encode(field, &value, &mut out);
    out
}

/// A `.wandb` file with blocks counted from `base` (0, or 7 as the early Go writers did).
pub(crate) struct WandbWriter {
    pub bytes: Vec<u8>,
    base: usize,
}

impl WandbWriter {
    pub(crate) fn new(base: usize) -> Self {
        WandbWriter { bytes: b":W&B\xE1\xBE\x00".to_vec(), base }
    }

    /// A log of the same framing behind another header.
    pub(crate) fn with_header(header: &[u8]) -> Self {
        WandbWriter { bytes: header.to_vec(), base: 0 }
    }

    /// Bytes left in the current block.
    pub(crate) fn room(&self) -> usize {
        32768 - (self.bytes.len() - self.base) % 32768
    }

    /// Appends a record, in as many chunks as it takes.
    pub(crate) fn record(&mut self, mut record: &[u8]) {
        let mut begun = false;
        loop {
            if self.room() < 7 {
                self.bytes.resize(self.bytes.len() + self.room(), 0);
            }
            let taken = record.len().min(self.room() - 7);
            let (part, rest) = record.split_at(taken);
            let kind = match (begun, rest.is_empty()) {
                (false, true) => 1,
                (false, false) => 2,
                (true, false) => 3,
                (true, true) => 4,
            };
            self.chunk(kind, part);
            begun = true;
            record = rest;
            if record.is_empty() {
                return;
            }
        }
    }

    /// Appends a chunk as it is.
    pub(crate) fn chunk(&mut self, kind: u8, part: &[u8]) {
        let mut checked = vec![kind];
        checked.extend_from_slice(part);
        self.bytes.extend_from_slice(&crc32fast::hash(&checked).to_le_bytes());
        self.bytes.extend_from_slice(&u16::try_from(part.len()).unwrap().to_le_bytes());
        self.bytes.extend_from_slice(&checked);
    }
}

/// Appends a TFRecord.
pub(crate) fn tf_record(out: &mut Vec<u8>, data: &[u8]) {
    let masked = |bytes: &[u8]| super::tfevents::masked_crc(bytes).to_le_bytes();
    let length = (data.len() as u64).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&masked(&length));
    out.extend_from_slice(data);
    out.extend_from_slice(&masked(data));
}
