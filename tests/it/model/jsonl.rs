//! Logs of JSON lines as hand-made loops write them: what they say, how it is written, what it means.

use super::{File, Input, Point, Run, row, time};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// A value under a key.
#[derive(Debug, Clone)]
pub enum Field {
    /// As written, and the number it is.
    Number(String, f64),
    Text(&'static str),
    Nested(Vec<(&'static str, Field)>),
    /// No metric: `null`, a flag, a list.
    Nothing(&'static str),
}

/// Something the log says.
#[derive(Debug, Clone)]
pub enum Entry {
    Row(Line),
    /// Hyperparameters.
    Config(Vec<(&'static str, Field)>),
    /// The end: its word for it, whether that is a failure, when, and a final `val_loss`.
    End {
        status: Option<&'static str>,
        time: Option<i64>,
        val_loss: Option<f64>,
    },
    /// A printed line that is no JSON.
    Printed(&'static str),
    /// A line that was torn when the writer died.
    Damage,
    /// A row whose step no step can be.
    HugeStep,
    /// An object without fields.
    Empty,
    Blank,
}

/// A row of metrics.
#[derive(Debug, Clone, Default)]
pub struct Line {
    step: Option<i64>,
    epoch: Option<i64>,
    time: Option<i64>,
    run: Option<&'static str>,
    split: Option<&'static str>,
    fields: Vec<(&'static str, Field)>,
    /// The next entry stands on the same line.
    joined: bool,
}

/// What places the rows of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    Step(&'static str),
    Epoch,
    /// A counter of batches that begins anew in each epoch of so many.
    Batch(i64),
    Nothing,
}

/// A log.
#[derive(Debug, Clone)]
pub struct Log {
    pub path: String,
    pub axis: Axis,
    pub entries: Vec<Entry>,
    pub crlf: bool,
    pub iso_times: bool,
}

const METRICS: [&str; 8] = ["loss", "val_loss", "lr", "grad/norm", "a,b", "größe \"x\"", "eval.acc", "fixed"];

fn number() -> impl Strategy<Value = Field> {
    let field = |text: String| Field::Number(text.clone(), text.parse().unwrap());
    let spelled = vec![
        ("NaN", f64::NAN),
        ("\"NaN\"", f64::NAN),
        ("\"nan\"", f64::NAN),
        ("Infinity", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        ("\"inf\"", f64::INFINITY),
        ("\"-INF\"", f64::NEG_INFINITY),
        ("1e999", f64::INFINITY),
    ];
    prop_oneof![
        10 => (-8.0..8.0).prop_map(move |x: f64| field(format!("{x}"))),
        3 => (-3i64..3).prop_map(move |x| field(x.to_string())),
        1 => any::<u64>().prop_map(move |x| field(x.to_string())),
        1 => any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(move |x| field(format!("{x:e}"))),
        1 => select(spelled).prop_map(|(text, value)| Field::Number(text.to_string(), value)),
    ]
}

fn field(key: &'static str) -> BoxedStrategy<(&'static str, Field)> {
    let eval = || {
        (number(), number()).prop_map(|(a, b)| {
            Field::Nested(vec![
                ("acc", a),
                ("deep", Field::Nested(vec![("f1", b), ("who", Field::Text("éva"))])),
            ])
        })
    };
    match key {
        "eval" => eval().prop_map(|field| ("eval", field)).boxed(),
        "note" => {
            select(vec!["warmup", "main", "a | b", ""]).prop_map(|text| ("note", Field::Text(text))).boxed()
        }
        "odd" => select(vec!["null", "true", "[1, 2]", "{}"])
            .prop_map(|text| ("odd", Field::Nothing(text)))
            .boxed(),
        key => number().prop_map(move |field| (key, field)).boxed(),
    }
}

/// A row before it knows its step.
#[derive(Debug, Clone)]
struct Draft {
    delta: i64,
    has_step: bool,
    gap_s: i64,
    run: usize,
    split: Option<&'static str>,
    fields: Vec<(&'static str, Field)>,
    joined: bool,
}

fn draft(plain: bool) -> impl Strategy<Value = Draft> {
    let keys: Vec<&str> =
        METRICS.iter().copied().chain(["eval", "note", "odd"].into_iter().filter(|_| !plain)).collect();
    let fields = proptest::sample::subsequence(keys, 0..5)
        .prop_flat_map(|keys| keys.into_iter().map(field).collect::<Vec<_>>())
        .prop_flat_map(|fields| (Just(fields), field("loss")))
        .prop_map(|(mut fields, loss)| {
            fields.retain(|(key, _)| *key != "loss");
            fields.push(loss);
            fields
        });
    let delta = prop_oneof![20 => 1i64..4, 2 => Just(0), 1 => -12i64..0, 1 => Just(5_000)];
    let gap = prop_oneof![8 => 0i64..3, 1 => 600i64..4_000];
    let split = prop_oneof![9 => Just(None), 1 => select(vec!["val", "Train"]).prop_map(Some)];
    let without_loss = prop::bool::weighted(0.3);
    (delta, prop::bool::weighted(0.9), gap, 0usize..3, split, fields, prop::bool::weighted(0.1), without_loss)
        .prop_map(|(delta, has_step, gap_s, run, split, mut fields, joined, without_loss)| {
            let says_more = fields.iter().any(|(key, field)| match field {
                Field::Number(..) | Field::Nested(_) => *key != "loss",
                Field::Text(text) => !text.is_empty(),
                Field::Nothing(_) => false,
            });
            fields.retain(|(key, _)| *key != "loss" || !(without_loss && says_more));
            Draft { delta, has_step, gap_s, run, split, fields, joined }
        })
}

#[derive(Debug, Clone)]
enum Piece {
    Row(Draft),
    Other(Entry),
}

fn other() -> impl Strategy<Value = Entry> {
    let time = prop::option::of(1_760_100_000_000i64..1_760_200_000_000);
    let val_loss = prop::option::of(-4.0..4.0f64);
    prop_oneof![
        2 => (number(), select(vec!["adam", "3"])).prop_map(|(lr, name)| config(lr, name)),
        1 => (select(vec![None, Some("ok"), Some("failed")]), time, val_loss)
            .prop_map(|(status, time, val_loss)| Entry::End { status, time, val_loss }),
        3 => select(vec!["loading data", "Traceback (most recent call last):"]).prop_map(Entry::Printed),
        1 => Just(Entry::Damage),
        1 => Just(Entry::HugeStep),
        1 => Just(Entry::Empty),
        2 => Just(Entry::Blank),
    ]
}

fn config(lr: Field, name: &'static str) -> Entry {
    let optimizer =
        Field::Nested(vec![("name", Field::Text(name)), ("betas", Field::Nothing("[0.9, 0.95]"))]);
    let steps = Field::Number("500".to_string(), 500.0);
    Entry::Config(vec![("lr", lr), ("optim", optimizer), ("max_steps", steps)])
}

/// A log at `path`.
pub fn log(path: String, runs: &'static [&'static str]) -> impl Strategy<Value = Log> {
    let axes = vec![
        Axis::Step("step"),
        Axis::Step("step"),
        Axis::Step("Global_Step"),
        Axis::Epoch,
        Axis::Batch(5),
        Axis::Nothing,
    ];
    (select(axes), any::<bool>(), any::<bool>(), any::<bool>(), 0..2usize).prop_flat_map(
        move |(axis, crlf, iso_times, has_times, several)| {
            let plain = axis == Axis::Nothing;
            let piece =
                prop_oneof![12 => draft(plain).prop_map(Piece::Row), 1 => other().prop_map(Piece::Other)];
            let named = several == 1 && matches!(axis, Axis::Step(_)) && !runs.is_empty();
            let path = path.clone();
            prop::collection::vec(piece, 5..70).prop_map(move |pieces| {
                let entries = entries(&pieces, axis, has_times || named, if named { runs } else { &[] });
                Log { path: path.clone(), axis, entries, crlf, iso_times }
            })
        },
    )
}

/// Gives every row its place. The first rows are plain ones, by which the log is told from data.
fn entries(pieces: &[Piece], axis: Axis, has_times: bool, runs: &[&'static str]) -> Vec<Entry> {
    let plain = |n: i64| {
        let loss = Field::Number(format!("{}.25", 90 - n), (90 - n) as f64 + 0.25);
        Draft {
            delta: 1,
            has_step: true,
            gap_s: 1,
            run: 0,
            split: None,
            fields: vec![("loss", loss)],
            joined: false,
        }
    };
    let mut entries = Vec::new();
    let (mut steps, mut clock, mut count) = (HashMap::new(), 1_760_000_000_000, 0);
    let mut fixed = HashMap::new();
    let pieces = (0..12).map(|n| Piece::Row(plain(n))).chain(pieces.iter().cloned());
    for piece in pieces {
        let mut draft = match piece {
            Piece::Row(draft) => draft,
            // Without an axis, a log must be nothing but numbers.
            Piece::Other(Entry::Blank) => {
                entries.push(Entry::Blank);
                continue;
            }
            Piece::Other(_) if axis == Axis::Nothing => continue,
            Piece::Other(entry) => {
                entries.push(entry);
                continue;
            }
        };
        if matches!(axis, Axis::Batch(_)) && !draft.fields.iter().any(|(key, _)| *key == "loss") {
            draft.fields.push(("loss", Field::Number("0.5".to_string(), 0.5)));
        }
        clock += draft.gap_s * 1_000 + 250;
        let run = runs.get(draft.run % runs.len().max(1)).copied();
        let step = steps.entry(run).or_insert(0i64);
        *step = (*step + draft.delta).max(0);
        count += 1;
        let (step, epoch) = match axis {
            Axis::Step(_) => (Some(*step).filter(|_| draft.has_step), None),
            Axis::Epoch => (None, Some(*step).filter(|_| draft.has_step)),
            Axis::Batch(size) => (Some((count - 1) % size), Some((count - 1) / size)),
            Axis::Nothing => (None, None),
        };
        // A metric of one step only, for most of the time.
        if draft.fields.iter().any(|(key, _)| *key == "fixed") {
            let at = *fixed.entry(run).or_insert((step, epoch));
            let stays = at == (step, epoch) || draft.gap_s > 1_000;
            draft.fields.retain(|(key, _)| stays || !["fixed", "loss"].contains(key));
            draft.fields.extend((!stays).then(|| ("loss", Field::Number("0.5".to_string(), 0.5))));
        }
        let split = draft.split.filter(|_| axis != Axis::Nothing);
        let time = has_times.then_some(clock);
        entries.push(Entry::Row(Line {
            step,
            epoch,
            time,
            run,
            split,
            fields: draft.fields,
            joined: draft.joined,
        }));
    }
    entries
}

// ---- How it is written ----

impl Field {
    fn json(&self) -> String {
        match self {
            Field::Number(text, _) => text.clone(),
            Field::Text(text) => json!(text).to_string(),
            Field::Nested(fields) => format!("{{{}}}", pairs(fields)),
            Field::Nothing(text) => text.to_string(),
        }
    }
}

fn pairs(fields: &[(&'static str, Field)]) -> String {
    let pair = |(key, field): &(&str, Field)| format!("{}: {}", json!(key), field.json());
    fields.iter().map(pair).collect::<Vec<_>>().join(", ")
}

impl Log {
    fn clock(&self, ms: i64) -> String {
        match self.iso_times {
            true => json!(time(Some(ms))).to_string(),
            false => format!("{}", ms as f64 / 1000.0),
        }
    }

    fn line(&self, line: &Line) -> String {
        let mut parts = Vec::new();
        if let Some(run) = line.run {
            parts.push(format!("\"run_id\": {}", json!(run)));
        }
        let step_key = if let Axis::Step(key) = self.axis { key } else { "batch" };
        parts.extend(line.epoch.map(|epoch| format!("\"epoch\": {epoch}")));
        parts.extend(line.step.map(|step| format!("\"{step_key}\": {step}")));
        parts.extend(line.split.map(|split| format!("\"split\": \"{split}\"")));
        parts.extend(Some(pairs(&line.fields)).filter(|pairs| !pairs.is_empty()));
        parts.extend(line.time.map(|ms| format!("\"time\": {}", self.clock(ms))));
        format!("{{{}}}", parts.join(", "))
    }

    fn text(&self, entry: &Entry) -> String {
        match entry {
            Entry::Row(line) => self.line(line),
            Entry::Config(fields) => format!("{{\"config\": {{{}}}}}", pairs(fields)),
            Entry::End { status, time, val_loss } => {
                let mut parts = vec!["\"event\": \"end\"".to_string()];
                parts.extend(status.map(|status| format!("\"status\": \"{status}\"")));
                parts.extend(time.map(|ms| format!("\"time\": {}", self.clock(ms))));
                parts.extend(val_loss.map(|value| format!("\"final\": {{\"val_loss\": {value}}}")));
                format!("{{{}}}", parts.join(", "))
            }
            Entry::Printed(text) => text.to_string(),
            Entry::Damage => "{\"step\": 4, \"lo".to_string(),
            Entry::HugeStep => "{\"step\": 1e25, \"loss\": 9.5}".to_string(),
            Entry::Empty => "{}".to_string(),
            Entry::Blank => String::new(),
        }
    }

    pub fn file(&self) -> File {
        let end_of_line = if self.crlf { "\r\n" } else { "\n" };
        let (mut bytes, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for entry in &self.entries {
            starts.push(bytes.len());
            bytes.extend(self.text(entry).bytes());
            let is_object = !matches!(entry, Entry::Printed(_) | Entry::Damage | Entry::Blank);
            let end = bytes.len();
            bytes.extend(if joins(entry) { " " } else { end_of_line }.bytes());
            ends.push(if is_object { end } else { bytes.len() });
        }
        File { path: self.path.clone(), bytes, starts, ends }
    }
}

fn joins(entry: &Entry) -> bool {
    matches!(entry, Entry::Row(Line { joined: true, .. }))
}

// ---- What it means ----

/// What a run of the log has said so far.
#[derive(Default)]
struct Track {
    run: Run,
    last_step: Option<i64>,
    row_count: i64,
    /// Last step of each metric since the last start.
    steps: HashMap<String, i64>,
    texts: HashMap<String, &'static str>,
    /// Step and metrics of the first row.
    first: Option<(i64, Vec<String>)>,
    /// Largest step since the last start.
    max_step: Option<i64>,
    /// Step at which another training seems to begin.
    anew: Option<i64>,
}

impl Track {
    /// Whether a start may be another training: it begins with what the run began with, which had come at
    /// least half as far as anything else.
    fn may_be_anew(&self, points: &[(String, f64)]) -> bool {
        let Some((first, keys)) = &self.first else { return false };
        let Some(latest) = keys.iter().filter_map(|key| self.steps.get(key)).max() else { return false };
        let half = (self.max_step.unwrap() - first) / 2;
        points.iter().any(|(key, _)| keys.contains(key)) && *latest > *first && latest - first >= half
    }
}

impl Log {
    /// The runs, as far as the first `said` entries go.
    pub fn runs(&self, said: usize, modified_ms: i64) -> Vec<Run> {
        let mut tracks: BTreeMap<&str, Track> = BTreeMap::new();
        let (mut current, mut seq) = ("", 0);
        for entry in self.entries.iter().take(said) {
            if let Entry::Row(Line { run: Some(name), .. }) = entry {
                current = name;
            }
            let track = tracks.entry(current).or_default();
            match entry {
                Entry::Row(line) => self.row(line, track, &mut seq),
                Entry::Config(fields) => {
                    track.run.planned_steps = Some(500);
                    flat("", fields, &mut |key, field| {
                        drop(track.run.config.insert(key, hyperparameter(field)))
                    });
                }
                Entry::End { status, time, val_loss } => {
                    let failed = *status == Some("failed");
                    track.run.end = Some(if failed { "failed" } else { "finished" });
                    track.run.facts.insert("state_detail".into(), json!(status));
                    track.run.ended_at = time.or(track.run.ended_at);
                    track.run.finals.extend(val_loss.map(|value| ("final.val_loss".to_string(), value)));
                }
                Entry::Printed(text) => track.run.console.push((None, None, text.to_string())),
                // Nothing of the run is said.
                Entry::Damage | Entry::HugeStep | Entry::Empty | Entry::Blank => {}
            }
        }
        // The log's own run is there where it said something, or where no other is.
        let is_silent = |track: &Track| {
            track.run.points.is_empty()
                && track.run.config.is_empty()
                && track.run.console.is_empty()
                && track.run.end.is_none()
        };
        if tracks.len() > 1 && tracks.get("").is_some_and(is_silent) {
            tracks.remove("");
        }
        tracks.into_iter().map(|(name, track)| self.run(name, track.run, modified_ms)).collect()
    }

    fn run(&self, name: &str, run: Run, modified_ms: i64) -> Run {
        let stem = self.path.rsplit('/').next().unwrap().split('.').next().unwrap();
        let folder = self.path.rsplit('/').nth(1).unwrap_or(stem);
        let own = if stem == "metrics" { folder } else { stem };
        let mut facts = run.facts.clone();
        facts.insert("name".into(), json!(if name.is_empty() { own } else { name }));
        Run {
            source: "jsonl",
            path: self.path.clone(),
            id: Some(name.to_string()).filter(|name| !name.is_empty()),
            facts,
            inputs: [self.path.clone()].into(),
            modified_ms,
            console_files: vec![self.path.clone(); run.console.len()],
            ..run
        }
    }

    /// The last step stands in for one that is missing; a metric whose step falls begins a new start.
    fn row(&self, line: &Line, track: &mut Track, seq: &mut i64) {
        let (mut points, texts) = line.values();
        if let (Axis::Batch(_), Some(epoch)) = (self.axis, line.epoch) {
            points.insert(0, ("epoch".to_string(), epoch as f64));
        }
        let told = match self.axis {
            Axis::Batch(size) => line.epoch.zip(line.step).map(|(epoch, batch)| epoch * size + batch),
            Axis::Epoch => line.epoch,
            _ => line.step,
        };
        let step = match self.axis {
            Axis::Nothing => track.row_count.max(track.last_step.map_or(0, |last| last + 1)),
            _ => told.or(track.last_step).unwrap_or(0),
        };
        if told.is_some()
            && points.iter().any(|(key, _)| track.steps.get(key).is_some_and(|last| *last > step))
        {
            if track.may_be_anew(&points) {
                track.anew = track.first.as_ref().is_some_and(|(first, _)| step <= *first).then_some(step);
            }
            track.max_step = None;
            track.run.segments = track.run.segments.max(1) + 1;
            track.steps.clear();
            track.run.end = None;
            track.run.facts.remove("state_detail");
        } else if told.is_some() && !points.is_empty() && track.anew.is_some_and(|from| step > from) {
            track.anew = None;
            track.run.rewinds.push((track.run.segments - 1, i64::MIN, i64::MIN));
        }
        if !points.is_empty() {
            track.max_step = track.max_step.max(Some(step));
            let keys = || points.iter().map(|(key, _)| key.clone()).filter(|key| key != "epoch").collect();
            track.first.get_or_insert_with(|| (step, keys()));
        }
        track.run.segments = track.run.segments.max(1);
        track.last_step = Some(step);
        track.row_count += i64::from(!points.is_empty());
        for (key, value) in points {
            match self.axis {
                Axis::Nothing => drop(track.run.axes.insert(key.clone(), "index")),
                Axis::Epoch => drop(track.run.axes.insert(key.clone(), "epoch")),
                _ => {}
            }
            if key != "epoch" {
                track.steps.insert(key.clone(), step);
            }
            let segment = track.run.segments - 1;
            track.run.points.push(Point {
                key,
                step,
                value,
                time: line.time,
                segment,
                seq: *seq,
                internal: false,
            });
            *seq += 1;
        }
        for (key, text) in texts {
            // Attributes that stay as they are said once.
            if track.texts.insert(key.clone(), text) != Some(text) {
                track.run.texts.push((key, Some(step), line.time, text.to_string()));
            }
        }
    }

    /// How far the file is read, and what of it could not be, as far as the first `said` entries go.
    pub fn input(&self, said: usize, size_bytes: usize, modified_ms: i64) -> Input {
        let file = self.file();
        let (mut line, mut problems) = (1, Vec::new());
        for entry in self.entries.iter().take(said) {
            problems.extend(matches!(entry, Entry::Damage | Entry::HugeStep).then(|| format!("line {line}")));
            line += usize::from(!joins(entry));
        }
        let read_bytes = match said.checked_sub(1) {
            None => 0,
            Some(last) => self.read_bytes(&file, last, size_bytes),
        };
        let lines = file.bytes[..read_bytes].iter().filter(|byte| **byte == b'\n').count();
        let is_open = file.bytes[..read_bytes].last().is_some_and(|byte| *byte != b'\n');
        let shown = row(
            json!({"path": self.path, "source": "jsonl", "size_bytes": size_bytes, "read_bytes": read_bytes,
            "modified_at": time(Some(modified_ms)), "row_count": lines + usize::from(is_open), "problem_count": problems.len()}),
        );
        Input { row: shown, problems }
    }
}

impl Log {
    /// White space behind the last value is read with it, unless a torn value follows on its line.
    fn read_bytes(&self, file: &File, last: usize, size_bytes: usize) -> usize {
        let end = file.ends[last];
        let next = file.starts.get(last + 1).copied().unwrap_or(file.bytes.len());
        let is_blank = file.bytes[end..size_bytes].iter().all(u8::is_ascii_whitespace);
        match joins(&self.entries[last]) {
            true if is_blank => size_bytes,
            true => end,
            false => size_bytes.min(next),
        }
    }
}

type Named<T> = (String, T);

impl Line {
    /// Numbers and texts of the row under their full names.
    fn values(&self) -> (Vec<Named<f64>>, Vec<Named<&'static str>>) {
        let (mut points, mut texts) = (Vec::new(), Vec::new());
        flat("", &self.fields, &mut |key, field| match field {
            Field::Number(_, value) => points.push((self.with_split(key), *value)),
            Field::Text(text) if !text.is_empty() => texts.push((key, *text)),
            _ => {}
        });
        (points, texts)
    }

    /// The split comes before names that do not tell one.
    fn with_split(&self, key: String) -> String {
        let tells_split = key == "val_loss" || key == "eval.acc" || key.starts_with("eval.");
        match self.split.filter(|_| !tells_split) {
            Some(split) => format!("{}/{key}", split.to_lowercase()),
            None => key,
        }
    }
}

fn flat<'f>(prefix: &str, fields: &'f [(&'static str, Field)], take: &mut dyn FnMut(String, &'f Field)) {
    for (key, field) in fields {
        let name = if prefix.is_empty() { key.to_string() } else { format!("{prefix}.{key}") };
        match field {
            Field::Nested(fields) => flat(&name, fields, take),
            field => take(name, field),
        }
    }
}

/// A hyperparameter: a bare text, or as the log has it; NaN and infinities under their one name.
fn hyperparameter(field: &Field) -> (String, Option<f64>) {
    match field {
        Field::Text(text) => (text.to_string(), None),
        Field::Nothing(text) => (text.to_string(), None),
        Field::Number(text, _) if text.starts_with('"') => (text.trim_matches('"').to_string(), None),
        Field::Number(text, value) => match super::number(*value) {
            Value::String(name) => (name, Some(*value)),
            _ => (text.clone(), Some(*value)),
        },
        Field::Nested(_) => unreachable!("flattened"),
    }
}
