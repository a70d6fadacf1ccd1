//! What holds for every input.

use crate::bounded::bounded;
use crate::engine::canned::{self, ParamType, ParamValue};
use crate::sources::parse::json::{Fault, Json, parse, parse_whole};
use crate::sources::testing::{Memory, read_on};
use crate::sources::find::sidecar;
use crate::sources::{self, HEAD_BYTES, LogFile, Resume, Source, Verdict};
use std::collections::BTreeMap;

/// How many bytes readers take at a time where nothing else is said.
const CHUNK_BYTES: usize = 1 << 15;

/// A transaction log, or by the last byte one of the files beside it.
pub fn wandb(data: &[u8]) {
    let (path, role) = wandb_place(data);
    bounded(data.len(), || read(&sources::wandb::Wandb, (&path, role), data));
}

pub fn tfevents(data: &[u8]) {
    bounded(data.len(), || read(&sources::tfevents::TfEvents, tfevents_place(data), data));
}

/// A file of lines, or one whose values may span them.
pub fn jsonl(data: &[u8]) {
    bounded(data.len(), || read(&sources::jsonl::Jsonl, jsonl_place(data), data));
}

pub fn csv(data: &[u8]) {
    bounded(data.len(), || read(&sources::csv::Csv, csv_place(data), data));
}

/// What a script printed.
pub fn console(data: &[u8]) {
    bounded(data.len(), || read(&sources::console::PLAIN, console_place(data), data));
}

/// Lines of JSON of both versions, their text logs, or a configuration, by the last byte.
pub fn mmengine(data: &[u8]) {
    bounded(data.len(), || read(&sources::mmengine::MmEngine, mmengine_place(data), data));
}

fn console_place(data: &[u8]) -> (&'static str, &'static str) {
    ([("train.log", ""), ("job/rank1.log", "rank1/")])[last(data) % 2]
}

fn mmengine_place(data: &[u8]) -> (&'static str, &'static str) {
    const PLACES: [(&str, &str); 6] = [
        ("w/20260101_000000/vis_data/scalars.json", ""),
        ("w/20260101_000000/20260101_000000.log", "metrics"),
        ("w/20260101_000000/20260101_000000.log", ""),
        ("w/20260101_000000.log.json", ""),
        ("w/20260101_000000.log.json", "epoch 100"),
        ("w/20260101_000000/vis_data/config.py", ""),
    ];
    PLACES[last(data) % PLACES.len()]
}

/// A file of a tracker that keeps a folder of them, chosen by the last byte. Those that are rewritten
/// whole are only read.
pub fn trackers(data: &[u8]) {
    let (is_log, source, place) = tracker_place(data);
    bounded(data.len(), || match is_log {
        true => read(source, place, data),
        false => {
            let mut sink = Memory::default();
            read_on(source, place, data, CHUNK_BYTES, Resume::default(), &mut sink);
        }
    });
}

fn tracker_place(data: &[u8]) -> (bool, &'static dyn Source, (&'static str, &'static str)) {
    use sources::{clearml::ClearMl, dvclive::DvcLive, exprag::Exprag, guild::Guild, mlflow::MlFlow};
    use sources::{neptune::Neptune, sacred::Sacred, swanlab::SwanLab};
    const EXPRAG: &str = ".exprag/runs/a.jsonl";
    const CLEARML: [&str; 2] = [
        "offline-0123456789abcdef0123456789abcdef/metrics.jsonl",
        "offline-0123456789abcdef0123456789abcdef/task.json",
    ];
    const GUILD: &str = ".guild/runs/0123456789abcdef0123456789abcdef/.guild/attrs/flags";
    const MLFLOW: [&str; 2] = [
        "mlruns/1/0123456789abcdef0123456789abcdef/metrics/loss",
        "mlruns/1/0123456789abcdef0123456789abcdef/meta.yaml",
    ];
    const SWANLAB: [&str; 2] = [
        "swanlog/run-20260520_180059-abc/backup.swanlab",
        "swanlog/run-20260520_180059-abc/files/config.yaml",
    ];
    match last(data) % 15 {
        0..4 => (true, &Exprag, (EXPRAG, "")),
        4 => (true, &DvcLive, ("dvclive/plots/metrics/loss.tsv", "loss")),
        5 => (false, &DvcLive, ("dvclive/metrics.json", "")),
        6 => (true, &MlFlow, (MLFLOW[0], "loss")),
        7 => (false, &MlFlow, (MLFLOW[1], "")),
        8 => (false, &Sacred, ("runs/1/metrics.json", "")),
        9 => (false, &Sacred, ("runs/1/run.json", "")),
        10 => (true, &SwanLab, (SWANLAB[0], "")),
        11 => (true, &ClearMl, (CLEARML[0], "")),
        12 => (false, &ClearMl, (CLEARML[1], "")),
        13 => (true, &Neptune, (".neptune/offline/run__a__b/data-1.log", "")),
        _ => (false, [&Guild as &dyn Source, &SwanLab][last(data) / 15 % 2], [(GUILD, ""), (SWANLAB[1], "")][last(data) / 15 % 2]),
    }
}

fn last(data: &[u8]) -> usize {
    data.last().map_or(0, |byte| usize::from(*byte))
}

fn wandb_place(data: &[u8]) -> (String, &'static str) {
    const FILES: [&str; 6] = [
        "config.yaml",
        "wandb-summary.json",
        "wandb-metadata.json",
        "wandb-history.jsonl",
        "wandb-events.jsonl",
        "output.log",
    ];
    let directory = "wandb/offline-run-20261120_175128-a";
    match data.starts_with(b":W&B") {
        true => (format!("{directory}/run-a.wandb"), ["0", "1"][last(data) % 2]),
        false => (format!("{directory}/files/{}", FILES[last(data) % 6]), "0"),
    }
}

fn tfevents_place(data: &[u8]) -> (&'static str, &'static str) {
    const ROLES: [&str; 3] = ["", r#"{"segment":1}"#, r#"{"segment":1,"prefix":"train/"}"#];
    ("runs/a/events.out.tfevents.1795197393.demo-host.1.0", ROLES[last(data) % 3])
}

fn jsonl_place(data: &[u8]) -> (&'static str, &'static str) {
    (["a.jsonl", "a.json", "a.log"][last(data) % 3], "")
}

fn csv_place(data: &[u8]) -> (&'static str, &'static str) {
    (["a.csv", "a/Train_Samples_loss.csv"][usize::from(last(data) == 0)], "")
}

/// Judges, groups and reads a file; reading on where it stopped tells nothing new.
fn read(source: &dyn Source, place: (&str, &str), data: &[u8]) {
    let path = place.0.to_string();
    assert!(source.may_claim(&path), "{path}");
    let head = data.get(..HEAD_BYTES).unwrap_or(data);
    if let Verdict::Log { marks } = source.sniff(&path, head) {
        let runs = source.group(&[LogFile { path, size_bytes: data.len() as u64, marks }]);
        assert!(runs.len() <= 1);
    }
    let mut sink = Memory::default();
    let resume = read_on(source, place, data, CHUNK_BYTES, Resume::default(), &mut sink);
    check_state(&resume);
    if is_document(place.0) {
        return;
    }
    let told = counts(&sink);
    let again = read_on(source, place, data, CHUNK_BYTES, resume.clone(), &mut sink);
    assert_eq!((again.offset, again.row_count), (resume.offset, resume.row_count));
    assert_eq!(counts(&sink), told);
}

fn is_document(path: &str) -> bool {
    path.ends_with("config.yaml") || path.ends_with("config.py") || path.ends_with("summary.json") || path.ends_with("metadata.json")
}

fn check_state(resume: &Resume) {
    let state = &resume.state;
    assert!(state.is_empty() || serde_json::from_str::<serde::de::IgnoredAny>(state).is_ok(), "{state}");
}

/// How much of what is only added to was told.
fn counts(sink: &Memory) -> [usize; 7] {
    let Memory { points, internal, texts, alerts, console, rewinds, problems, .. } = sink;
    let lists = [points.len(), internal.len(), texts.len(), alerts.len(), console.len()];
    let [a, b, c, d, e] = lists;
    [a, b, c, d, e, rewinds.len(), problems.len()]
}

/// The tolerant parser takes what `serde_json` takes, with the same value; text cut off waits; its
/// own text reads as the same value.
pub fn json(data: &[u8]) {
    bounded(data.len(), || {
        let ours = parse_whole(data);
        if let Ok(theirs) = serde_json::from_slice::<serde_json::Value>(data) {
            let ours = ours.as_ref().unwrap_or_else(|| panic!("{theirs} is refused"));
            assert!(is_same(ours, &theirs), "{ours:?} is not {theirs:?}");
        }
        if let Some(ours) = ours {
            own_text_reads_back(&ours);
        }
        cut_text_waits(data);
    });
}

fn is_same(ours: &Json<'_>, theirs: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (ours, theirs) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(ours), Value::Bool(theirs)) => ours == theirs,
        (Json::Number(ours, _), Value::Number(theirs)) => {
            theirs.as_f64().is_some_and(|theirs| theirs.to_bits() == ours.to_bits())
        }
        (Json::String(ours), Value::String(theirs)) => ours == theirs,
        (Json::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| is_same(a, b))
        }
        (Json::Object(ours), Value::Object(theirs)) => {
            let find = |key: &str| theirs.get(key);
            ours.len() == theirs.len() && ours.iter().all(|(k, v)| find(k).is_some_and(|w| is_same(v, w)))
        }
        _ => false,
    }
}

/// NaN and the infinities become words, so what is compared is text.
fn own_text_reads_back(value: &Json<'_>) {
    let text = value.to_text();
    let again = parse_whole(text.as_bytes()).unwrap_or_else(|| panic!("{text} is no JSON"));
    assert_eq!(again.to_text(), text);
    let compact = value.to_compact_config().text;
    if !matches!(value, Json::String(_)) {
        assert!(parse_whole(compact.as_bytes()).is_some(), "{compact} is no JSON");
    }
    sources::parse::json::flatten("", value, &mut |_, _| {});
}

fn cut_text_waits(data: &[u8]) {
    let Ok((Json::Object(_) | Json::Array(_) | Json::String(_), used)) = parse(data) else { return };
    let is_space = |bytes: &[u8]| bytes.trim_ascii_start().is_empty();
    for cut in [1, 3, used / 3, used / 2, used.saturating_sub(2), used - 1] {
        let cut = &data[..cut.min(used - 1)];
        if !is_space(cut) && !b"\xef\xbb\xbf".starts_with(cut) {
            assert_eq!(parse(cut).err(), Some(Fault::Incomplete), "{}", String::from_utf8_lossy(cut));
        }
    }
}

/// A configuration beside a log, as each of its formats.
pub fn sidecar(data: &[u8]) {
    for path in ["config.json", "config.yaml", "config.toml"] {
        bounded(data.len(), || {
            if let Ok(values) = sidecar::read_config(path, data) {
                assert!(values.iter().all(|(key, _)| !key.is_empty()));
            }
        });
    }
}

/// A canned query: what is accepted can be run with any values, and they end nothing early: the
/// statement with its values in place has no placeholder left, not even inside a value.
pub fn query_header(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    bounded(text.len(), || {
        let Ok(query) = canned::parse("query", &text, false) else { return };
        let values: BTreeMap<String, ParamValue> =
            query.params.iter().map(|param| (param.name.clone(), hostile(param.kind, data))).collect();
        let values = canned::with_values(&query, &values).expect("the values are of their types");
        assert_eq!(values.len(), query.params.len());
        let sql = canned::literal_sql(&query, &values);
        let bare = canned::parse("bare", &format!("-- summary: Bare\n\n{sql}"), false);
        assert!(bare.as_ref().is_ok_and(|bare| bare.params.is_empty()), "{bare:?} for {sql}");
    });
}

fn hostile(kind: ParamType, data: &[u8]) -> ParamValue {
    match kind {
        ParamType::Text | ParamType::Run | ParamType::Metric => {
            ParamValue::Text(["'; $x --", "$x", "*/ $x", "\n$x\""][last(data) % 4].to_string())
        }
        ParamType::Integer => ParamValue::Integer(-(last(data) as i64)),
        ParamType::Number => ParamValue::Number([f64::NAN, -0.0, f64::NEG_INFINITY, 1e300][last(data) % 4]),
        ParamType::Flag => ParamValue::Flag(true),
    }
}

/// Reading a growing file in pieces tells what reading it at once tells. The last bytes say how it
/// is cut; its first ones, which format it is.
pub fn resume(data: &[u8]) {
    let Some((data, cuts)) = data.split_last_chunk::<5>() else { return };
    let (source, (path, role)) = source_of(data);
    if is_document(&path) {
        return;
    }
    bounded(data.len(), || {
        let chunk_bytes = 1 + usize::from(cuts[0]) * usize::from(cuts[0]);
        let mut whole = Memory::default();
        read_on(source, (&path, role), data, CHUNK_BYTES, Resume::default(), &mut whole);
        let mut pieces = Memory::default();
        let mut from = Resume::default();
        let sizes = sizes(data.len(), cuts);
        for size in sizes.iter().copied() {
            from = read_on(source, (&path, role), &data[..size], chunk_bytes, from, &mut pieces);
            check_state(&from);
        }
        whole.run.clear();
        pieces.run.clear();
        let what =
            format!("{path} by {chunk_bytes} bytes at {sizes:?}: {:?} {:?}", whole.problems, pieces.problems);
        assert_same(&whole, &pieces, &what);
    });
}

/// Sizes at which a growing file is read, ending with the whole.
fn sizes(size: usize, cuts: &[u8; 5]) -> Vec<usize> {
    let mut sizes: Vec<usize> =
        cuts[1..4].iter().map(|cut| size.saturating_mul(usize::from(*cut)) / 256).collect();
    // Tails are torn near the end more often than not.
    sizes.push(size.saturating_sub(usize::from(cuts[4] % 32)));
    sizes.push(size);
    sizes.sort_unstable();
    sizes
}

fn source_of(data: &[u8]) -> (&'static dyn Source, (String, &'static str)) {
    let is_tfevents = sources::tfevents::TfEvents.sniff("", data) != Verdict::TooEarly
        && matches!(sources::tfevents::TfEvents.sniff("", data), Verdict::Log { .. });
    let own = |(path, role): (&str, &'static str)| (path.to_string(), role);
    match data.first() {
        _ if is_tfevents => (&sources::tfevents::TfEvents, own(tfevents_place(data))),
        Some(b':') => (&sources::wandb::Wandb, wandb_place(data)),
        Some(b'{' | b'[') if last(data) % 7 == 0 => (&sources::wandb::Wandb, wandb_place(data)),
        _ if last(data) % 7 == 1 => (&sources::console::PLAIN, own(console_place(data))),
        _ if last(data) % 7 == 2 => (&sources::mmengine::MmEngine, own(mmengine_place(data))),
        Some(b'{' | b'[' | b' ') => (&sources::jsonl::Jsonl, own(jsonl_place(data))),
        _ => (&sources::csv::Csv, own(csv_place(data))),
    }
}

fn assert_same(whole: &Memory, pieces: &Memory, what: &str) {
    if whole != pieces && whole.text() != pieces.text() {
        let (whole, pieces) = (whole.text(), pieces.text());
        let first = whole.lines().zip(pieces.lines()).position(|(a, b)| a != b).unwrap_or_default();
        let around =
            |text: &str| text.lines().skip(first.saturating_sub(12)).take(24).collect::<Vec<_>>().join("\n");
        panic!("{what}\nat once:\n{}\nin pieces:\n{}", around(&whole), around(&pieces));
    }
}
