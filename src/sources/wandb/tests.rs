//! Tests of the W&B source: framing, records, real logs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::proto;
use super::*;
use crate::records::{Axis, End, Goal, Level, Stream};
use crate::sources::parse::frame::{Found, Frames};
use crate::sources::testing::*;
use serde_json::Value;

const PLACE: (&str, &str) = ("wandb/run-20261120_175106-a/run-a.wandb", "0");

fn record(field: u32, message: &[u8]) -> Vec<u8> {
    bytes_field(field, message)
}

/// An item named by `key` (field 1) or by a path (field 2), with a JSON value.
fn item(path: &[&str], json: &str) -> Vec<u8> {
    let mut out: Vec<u8> = path.iter().flat_map(|name| bytes_field(2, name.as_bytes())).collect();
    out.extend(bytes_field(16, json.as_bytes()));
    out
}

fn keyed(key: &str, json: &str) -> Vec<u8> {
    [bytes_field(1, key.as_bytes()), bytes_field(16, json.as_bytes())].concat()
}

fn history(step: Option<i64>, items: &[Vec<u8>]) -> Vec<u8> {
    let mut out: Vec<u8> = items.iter().flat_map(|item| bytes_field(1, item)).collect();
    out.extend(step.map(|step| bytes_field(2, &int_field(1, step))).unwrap_or_default());
    record(2, &out)
}

fn summary(updates: &[Vec<u8>], removals: &[Vec<u8>]) -> Vec<u8> {
    let mut out: Vec<u8> = updates.iter().flat_map(|item| bytes_field(1, item)).collect();
    out.extend(removals.iter().flat_map(|item| bytes_field(2, item)));
    record(3, &out)
}

fn run(run: proto::Run) -> Vec<u8> {
    record(17, &run.encode_to_vec())
}

fn log(records: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = WandbWriter::new(0);
    records.iter().for_each(|record| writer.record(record));
    writer.bytes
}

fn read(records: &[Vec<u8>]) -> Memory {
    read_whole(&Wandb, PLACE, &log(records))
}

/// Payloads and problems of a file.
fn frames(bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<(u64, String)>, u64) {
    let mut cursor = std::io::Cursor::new(bytes);
    let mut frames = Frames::new(Window::new(&mut cursor, 0, 100), &HEADER, Default::default());
    let (mut records, mut damage) = (Vec::new(), Vec::new());
    loop {
        match frames.next().unwrap() {
            Found::Record => records.push(frames.record().to_vec()),
            Found::Damage { at, message } => damage.push((at, message)),
            Found::End => return (records, damage, frames.resume()),
        }
    }
}

/// Payloads of pseudo-random lengths up to `longest`.
fn payloads(count: usize, longest: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    (0..count)
        .map(|_| {
            let length = next() % longest;
            (0..length).map(|_| next() as u8).collect()
        })
        .collect()
}

#[test]
fn empty_payload_has_the_known_checksum() {
    let mut writer = WandbWriter::new(0);
    writer.record(&[]);
    assert_eq!(writer.bytes[7..], [0x1b, 0xdf, 0x05, 0xa5, 0, 0, 1]);
    assert_eq!(frames(&writer.bytes).0, [Vec::<u8>::new()]);
}

#[test]
fn records_of_any_length_on_both_grids() {
    for base in [0, 7] {
        for seed in 0..24 {
            let longest = [50, 3000, 40_000, 110_000][seed as usize % 4];
            let records = payloads(300_000 / longest.max(3000), longest, seed);
            let mut writer = WandbWriter::new(base);
            records.iter().for_each(|record| writer.record(record));
            let (found, damage, end) = frames(&writer.bytes);
            assert_eq!(damage, []);
            assert_eq!(end, writer.bytes.len() as u64);
            assert!(found == records, "base {base} seed {seed}");
        }
    }
}

/// Every room from 0 to 20 bytes at the end of the first block, on both grids: zero padding, an
/// empty first chunk (7 left), a tiny one.
#[test]
fn every_end_of_the_first_block() {
    for base in [0, 7] {
        for left in 0..=20 {
            let mut writer = WandbWriter::new(base);
            let filler = vec![1u8; writer.room() - 7 - left];
            let records = [filler, b"short".to_vec(), vec![], b"a longer one behind".to_vec()];
            records.iter().for_each(|record| writer.record(record));
            let (found, damage, _) = frames(&writer.bytes);
            assert!(found == records, "base {base} left {left}");
            assert_eq!(damage, [], "base {base} left {left}");
        }
    }
}

/// The first chunk that would tell the grid is damaged, and the next block is still being written.
#[test]
fn damage_before_the_grid_is_known_reads_the_same_in_pieces() {
    let mut writer = WandbWriter::new(7);
    writer.record(&history(Some(1), &[item(&["a"], "1")]));
    let damaged = writer.bytes.len() + 100;
    writer.record(&record(13, &[b'x'; 40_000]));
    writer.record(&history(Some(2), &[item(&["a"], "2")]));
    writer.bytes[damaged] ^= 1;
    let whole = read_whole(&Wandb, PLACE, &writer.bytes);
    assert_eq!(whole.line("a"), [(1, 1.0), (2, 2.0)]);
    for cut in (32_000..writer.bytes.len()).step_by(97) {
        let mut sink = Memory::default();
        let resume = read_on(&Wandb, PLACE, &writer.bytes[..cut], 1000, Resume::default(), &mut sink);
        read_on(&Wandb, PLACE, &writer.bytes, 1000, resume, &mut sink);
        assert_eq!(sink.text(), whole.text(), "{cut}");
    }
}

#[test]
fn nothing_yet_is_no_problem() {
    for size in 0..=7 {
        let sink = read_whole(&Wandb, PLACE, &WandbWriter::new(0).bytes[..size]);
        assert_eq!(sink, Memory::default());
    }
    assert_eq!(Wandb.sniff(PLACE.0, b""), Verdict::TooEarly);
    assert_eq!(Wandb.sniff(PLACE.0, b":W&B"), Verdict::TooEarly);
    assert!(matches!(Wandb.sniff(PLACE.0, b":W&B\xE1\xBE\x00"), Verdict::Log { .. }));
    assert!(matches!(Wandb.sniff(PLACE.0, b":W&B\xE1\xBE\x01"), Verdict::Other { .. }));
    assert!(matches!(Wandb.sniff(PLACE.0, b"SQLi"), Verdict::Other { .. }));
}

#[test]
fn seven_zeros_skip_to_the_next_block() {
    let mut writer = WandbWriter::new(0);
    writer.record(b"before");
    let at = writer.bytes.len() as u64;
    writer.bytes.resize(32768, 0);
    assert_eq!(frames(&writer.bytes), (vec![b"before".to_vec()], vec![], at));
    writer.record(b"behind");
    assert_eq!(frames(&writer.bytes).0, [b"before".to_vec(), b"behind".to_vec()]);
}

#[test]
fn damage_costs_one_record_and_is_told_once() {
    let records = payloads(400, 900, 5);
    let mut writer = WandbWriter::new(0);
    let mut starts = Vec::new();
    for record in &records {
        starts.push(writer.bytes.len());
        writer.record(record);
    }
    let hurt = (0..records.len()).find(|n| *n > 20 && records[*n].len() > 100).unwrap();
    let mut bytes = writer.bytes.clone();
    bytes[starts[hurt] + 50] ^= 1;
    let (found, damage, _) = frames(&bytes);
    let mut rest = records.clone();
    rest.remove(hurt);
    assert!(found == rest);
    assert_eq!(damage, [(starts[hurt] as u64, "checksum mismatch".to_owned())]);
    bytes[starts[hurt] + 6] = 9;
    assert_eq!(frames(&bytes).1[0].1, "impossible chunk type");
    bytes[starts[hurt] + 5] = 0xff;
    let (found, damage, _) = frames(&bytes);
    assert_eq!(damage[0], (starts[hurt] as u64, "impossible chunk type".to_owned()));
    assert!(found.len() > 300 && found[..hurt] == records[..hurt]);
}

#[test]
fn damage_at_the_tail_is_told_once_over_many_readings() {
    let mut bytes = log(&[history(Some(0), &[item(&["a"], "1")]), history(Some(1), &[item(&["a"], "2")])]);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let (mut sink, mut resume) = (Memory::default(), Resume::default());
    for _ in 0..3 {
        resume = read_on(&Wandb, PLACE, &bytes, 64, resume, &mut sink);
    }
    assert_eq!(sink.problems.len(), 1);
    assert_eq!(sink.line("a"), [(0, 1.0)]);
    bytes[last] ^= 1;
    read_on(&Wandb, PLACE, &bytes, 64, resume, &mut sink);
    assert_eq!(sink.line("a"), [(0, 1.0), (1, 2.0)]);
}

#[test]
fn parts_without_beginning_or_end_are_told_and_dropped() {
    let mut writer = WandbWriter::new(0);
    writer.chunk(4, b"no beginning");
    writer.record(b"one");
    writer.chunk(2, b"no end");
    writer.record(b"two");
    let (found, damage, _) = frames(&writer.bytes);
    assert_eq!(found, [b"one".to_vec(), b"two".to_vec()]);
    assert_eq!(damage.len(), 2);
}

/// Cut at every byte: everything complete is there, nothing is told, reading on gives the rest.
#[test]
fn cut_at_every_byte() {
    for base in [0, 7] {
        let mut writer = WandbWriter::new(base);
        let mut ends = Vec::new();
        for step in 0..40 {
            let filler = format!("\"{}\"", "x".repeat(if step == 20 { 33_000 } else { 30 }));
            writer.record(&history(Some(step), &[item(&["a"], "0.5"), item(&["t"], &filler)]));
            ends.push(writer.bytes.len());
        }
        let whole = read_whole(&Wandb, PLACE, &writer.bytes);
        assert_eq!(whole.points.len(), 40);
        let dense = (0..3000).chain(32_700..32_900).chain(writer.bytes.len() - 600..writer.bytes.len());
        for cut in dense.chain((3000..writer.bytes.len()).step_by(997)) {
            let mut sink = Memory::default();
            let resume = read_on(&Wandb, PLACE, &writer.bytes[..cut], 4096, Resume::default(), &mut sink);
            assert_eq!(sink.points.len(), ends.iter().filter(|end| **end <= cut).count());
            assert_eq!(sink.problems, []);
            read_on(&Wandb, PLACE, &writer.bytes, 4096, resume, &mut sink);
            assert_eq!(sink.text(), whole.text(), "cut at {cut}");
        }
    }
}

/// A file that was cut below the point of resumption is the business of the caller.
#[test]
fn a_shorter_file_is_left_alone() {
    let from = Resume { offset: 5000, ..Resume::default() };
    let mut cursor = std::io::Cursor::new(vec![0; 100]);
    let mut log = in_memory(PLACE.0, "0", &mut cursor, 64);
    std::io::Seek::seek(&mut log.bytes, std::io::SeekFrom::Start(5000)).unwrap();
    let mut sink = Memory::default();
    let resume = Wandb.read(&mut log, from, &mut sink).unwrap();
    assert_eq!((resume.offset, sink), (5000, Memory::default()));
}

/// A flipped byte never panics and never costs what stands before it.
#[test]
fn flip_every_byte() {
    let records: Vec<_> = (0..60).map(|step| history(Some(step), &[item(&["a"], "0.5")])).collect();
    let bytes = log(&records);
    let size = (bytes.len() - 7) / 60;
    for at in 7..bytes.len() {
        let mut hurt = bytes.clone();
        hurt[at] ^= 1 << (at % 8);
        let sink = read_whole(&Wandb, PLACE, &hurt);
        let before = (at - 7) / size;
        assert!(sink.points.len() >= before && sink.points.len() < 60, "byte {at}");
        assert!(sink.points.iter().zip(0..).take(before).all(|(point, step)| point.step == step));
    }
}

/// A valid frame around garbage is told and stepped over.
#[test]
fn a_record_that_is_no_message_is_told() {
    let sink = read(&[vec![0xff; 20], history(Some(3), &[item(&["a"], "1")])]);
    assert_eq!(sink.problems[0].position, "byte 7");
    assert_eq!(sink.line("a"), [(3, 1.0)]);
}

#[test]
fn names_and_values_of_every_writer() {
    let typed = |path: &str, field: Vec<u8>| {
        [bytes_field(2, path.as_bytes()), bytes_field(16, b"123"), field].concat()
    };
    let mut double = Vec::new();
    prost::encoding::double::encode(6, &0.25, &mut double);
    let mut integer = Vec::new();
    prost::encoding::sint64::encode(5, &-7, &mut integer);
    let sink = read(&[history(
        None,
        &[
            keyed("old", "1.0"),
            keyed("old_dict", r#"{"b": {"c": NaN}, "img": {"_type": "image-file", "width": 1}}"#),
            item(&["opt", "lr"], "1e-3"),
            item(&["dotted.key"], "2"),
            item(&["plot", "_type"], "\"histogram\""),
            item(&["plot", "width"], "5"),
            item(&["inf"], "-Infinity"),
            item(&["flag"], "true"),
            item(&["nothing"], "null"),
            item(&["list"], "[1, 2]"),
            item(&["word"], r#""a\"b""#),
            typed("t.double", double),
            typed("t.int", integer),
            typed("t.bool", int_field(4, 1)),
            typed("t.text", bytes_field(7, b"hi")),
            typed("t.json", bytes_field(8, b"{\"x\": 4}")),
            item(&["_timestamp"], "1.7951965256070383e+09"),
            item(&["_step"], "0"),
        ],
    )]);
    let keys: Vec<_> = sink.points.iter().map(|point| point.key.as_str()).collect();
    let want = ["old", "old_dict.b.c", "opt.lr", "dotted.key", "inf", "t.double", "t.int", "t.json.x"];
    assert_eq!(keys, want);
    assert!(sink.points[1].value.is_nan());
    assert_eq!(sink.points[4].value, f64::NEG_INFINITY);
    assert_eq!((sink.points[5].value, sink.points[6].value), (0.25, -7.0));
    assert!(sink.points.iter().all(|point| point.time == Some(1_795_196_525_607)));
    assert_eq!(sink.internal.len(), 2);
    let texts: Vec<_> = sink.texts.iter().map(|text| text.text.as_str()).collect();
    assert_eq!(texts, ["a\"b", "hi"]);
}

#[test]
fn missing_steps_are_counted_and_an_empty_step_is_zero() {
    let row = |step| history(step, &[item(&["a"], "1"), item(&["_timestamp"], "12")]);
    let sink = read(&[row(None), row(None), row(None)]);
    assert_eq!(sink.line("a"), [(0, 1.0), (1, 1.0), (2, 1.0)]);
    assert_eq!(sink.axes["a"], Axis::Index);
    assert_eq!(sink.points[0].time, None);
    let empty = [bytes_field(1, &item(&["a"], "1")), bytes_field(2, b"")].concat();
    let sink = read(&[record(2, &empty), row(Some(7))]);
    assert_eq!(sink.line("a"), [(0, 1.0), (7, 1.0)]);
    assert!(sink.axes.is_empty());
}

#[test]
fn summaries_keep_their_last_state() {
    let sink = read(&[
        summary(&[keyed("loss", r#"{"min": 0.1, "max": NaN}"#), item(&["acc"], "0.5")], &[]),
        summary(&[item(&["acc"], "0.6"), item(&["gone"], "1"), keyed("_runtime", "3")], &[]),
        summary(&[item(&["h", "size"], "3"), item(&["h", "_type"], "\"histogram\"")], &[]),
        summary(&[item(&["h", "size"], "4"), keyed("word", "\"x\""), keyed("ok", "true")], &[]),
        summary(&[], &[keyed("gone", "")]),
    ]);
    assert_eq!(sink.finals.keys().collect::<Vec<_>>(), ["acc", "loss.max", "loss.min"]);
    assert_eq!((sink.finals["acc"], sink.finals["loss.min"]), (0.6, 0.1));
    assert!(sink.finals["loss.max"].is_nan());
}

#[test]
fn a_run_record_that_changes_thrice() {
    let with = |name: &str, notes: &str, tags: &[&str], config: &str| {
        let item = proto::ConfigItem { key: "opt".into(), value_json: config.into(), ..Default::default() };
        let hidden = proto::ConfigItem { key: "_wandb".into(), ..item.clone() };
        run(proto::Run {
            run_id: "a".into(),
            display_name: name.into(),
            notes: notes.into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            start_time: Some(proto::Timestamp { seconds: 1_795_197_066, nanos: 830_051_000 }),
            config: Some(proto::Config { update: vec![item, hidden], remove: vec![] }),
            ..Default::default()
        })
    };
    let sink = read(&[
        with("first", "", &["x"], r#"{"lr": 3e-4, "betas": [0.9, 0.95], "a.b": null}"#),
        with("second", "note", &["x", "y"], r#"{"lr": 1, "name": "adam"}"#),
        with("", "", &[], r#"{"lr": 1, "name": "adam"}"#),
    ]);
    assert_eq!(sink.facts.name.as_deref(), Some("second"));
    assert_eq!(sink.facts.notes.as_deref(), Some("note"));
    assert_eq!(sink.facts.tags, Some(vec![]));
    assert_eq!(sink.facts.created_at, Some(1_795_197_066_830));
    assert_eq!(sink.facts.end, None);
    assert_eq!(sink.config.keys().collect::<Vec<_>>(), ["opt.lr", "opt.name"]);
    assert_eq!(sink.config["opt.name"].text, "adam");
    assert_eq!(sink.config["opt.lr"].number, Some(1.0));
}

#[test]
fn lists_in_the_config_are_json_with_integers_as_written() {
    let text = r#"{"list": [12345678901234567890123, 5.0, 1e-3, NaN, "x"], "seed": 12345678901234567890123, "lr": 3e-4}"#;
    let item = proto::ConfigItem { key: "c".into(), value_json: text.into(), ..Default::default() };
    let config = Some(proto::Config { update: vec![item], remove: vec![] });
    let sink = read(&[run(proto::Run { config, ..Default::default() })]);
    assert_eq!(sink.config["c.list"].text, r#"[12345678901234567890123,5.0,0.001,"NaN","x"]"#);
    assert_eq!(sink.config["c.seed"].text, "12345678901234567890123");
    assert_eq!((sink.config["c.lr"].text.as_str(), sink.config["c.lr"].number), ("0.0003", Some(3e-4)));
}

#[test]
fn an_exit_is_its_presence_and_not_the_last_record() {
    let exit = |exit_code| record(18, &proto::Exit { exit_code, runtime: 5 }.encode_to_vec());
    let sink = read(&[exit(0), history(Some(4), &[item(&["a"], "1")])]);
    assert_eq!((sink.facts.end, sink.facts.exit_code), (Some(End::Finished), Some(0)));
    assert_eq!(sink.facts.duration_s, Some(5.0));
    assert_eq!(sink.line("a"), [(4, 1.0)]);
    let sink = read(&[record(23, b""), exit(3)]);
    assert_eq!((sink.facts.end, sink.facts.exit_code), (Some(End::Failed), Some(3)));
    assert_eq!(sink.facts.state_detail.as_deref(), Some("failed"));
    let sink = read(&[record(23, b"")]);
    assert_eq!(sink.facts.state_detail.as_deref(), Some("preempted"));
}

/// What was told in an earlier reading is removed like what was told in this one.
#[test]
fn a_removed_final_value_takes_those_under_it_along() {
    let records =
        [summary(&[item(&["v", "min"], "1"), item(&["vv"], "2")], &[]), summary(&[], &[item(&["v"], "")])];
    let bytes = log(&records);
    assert_eq!(read(&records).finals.keys().collect::<Vec<_>>(), ["vv"]);
    assert_eq!(read_growing(&Wandb, PLACE, &bytes, 64, 5).finals.keys().collect::<Vec<_>>(), ["vv"]);
}

#[test]
fn system_statistics_are_counted_and_alerts_take_the_last_step() {
    let stats = |seconds| {
        let item = proto::StatsItem { key: "gpu.0.temp".into(), value_json: "61.5".into() };
        let timestamp = Some(proto::Timestamp { seconds, nanos: 0 });
        record(7, &proto::Stats { timestamp, item: vec![item] }.encode_to_vec())
    };
    let alert = proto::Alert { title: "t".into(), text: "x".into(), level: "WARN".into() };
    let sink = read(&[
        history(Some(9), &[item(&["a"], "1")]),
        stats(1_795_197_066),
        stats(1_795_197_067),
        record(10, &alert.encode_to_vec()),
    ]);
    assert_eq!(sink.line("system/gpu.0.temp"), [(0, 61.5), (1, 61.5)]);
    assert_eq!(sink.axes["system/gpu.0.temp"], Axis::Index);
    let alert = &sink.alerts[0];
    assert_eq!((alert.level, alert.step), (Level::Warn, Some(9)));
    assert_eq!(alert.time, Some(1_795_197_067_000));
}

#[test]
fn goals_by_name_and_by_glob() {
    let metric = |name: &str, glob_name: &str, goal| {
        let metric = proto::Metric { name: name.into(), glob_name: glob_name.into(), goal };
        record(12, &metric.encode_to_vec())
    };
    let row = history(Some(0), &[item(&["val/acc"], "1"), item(&["val/loss"], "1"), item(&["x"], "1")]);
    let sink = read(&[metric("val/loss", "", 1), metric("", "val/*", 2), metric("", "*", 0), row]);
    assert_eq!(sink.goals.len(), 2);
    assert_eq!((sink.goals["val/acc"], sink.goals["val/loss"]), (Goal::Max, Goal::Min));
}

#[test]
fn console_fragments_become_lines_and_the_rest_waits() {
    let write = |output_type, line: &str| {
        let timestamp = Some(proto::Timestamp { seconds: 1_795_197_066, nanos: 0 });
        let output = proto::OutputRaw { output_type, timestamp, line: line.into() };
        record(13, &output.encode_to_vec())
    };
    let mut records = vec![write(1, "ep"), write(0, "\r 10%"), write(1, "och 1"), write(0, "\r 99%")];
    records.extend([write(1, "\n"), write(0, "\n"), write(1, "rest")]);
    let told = |sink: &Memory| -> Vec<_> {
        sink.console.iter().map(|line| (line.stream, line.text.clone())).collect()
    };
    let want = [(Some(Stream::Stdout), "epoch 1".to_owned()), (Some(Stream::Stderr), " 99%".to_owned())];
    assert_eq!(told(&read(&records)), want);
    let pieces = read_growing(&Wandb, PLACE, &log(&records), 64, 3);
    assert_eq!(told(&pieces), want);
    records.push(record(18, b""));
    assert_eq!(told(&read(&records))[2], (Some(Stream::Stdout), "rest".to_owned()));
}

#[test]
fn a_rewind_is_told_once_and_a_fork_names_its_parent() {
    let branch = |of: &str| {
        let point = proto::BranchPoint { run: of.into(), value: 40.0, metric: "_step".into() };
        run(proto::Run { run_id: "a".into(), branch_point: Some(point), ..Default::default() })
    };
    let sink = read(&[branch("a"), branch("a")]);
    assert_eq!((sink.rewinds.as_slice(), &sink.facts.parent_run_id), ([41].as_slice(), &None));
    let sink = read(&[branch("b")]);
    assert_eq!((sink.rewinds.len(), sink.facts.parent_run_id.as_deref()), (0, Some("b")));
}

#[test]
fn environment_comes_in_parts() {
    let part = |environment: proto::Environment| record(26, &environment.encode_to_vec());
    let sink = read(&[
        part(proto::Environment { program: "train.py".into(), ..Default::default() }),
        part(proto::Environment {
            args: vec!["--name".into(), "two words".into()],
            username: "demo".into(),
            ..Default::default()
        }),
        part(proto::Environment { gpu_count: 2, ..Default::default() }),
        part(proto::Environment {
            gpu_nvidia: vec![proto::GpuNvidia { memory_total: 80 << 30 }; 2],
            ..Default::default()
        }),
    ]);
    assert_eq!((sink.facts.gpu_count, sink.facts.gpu_memory_bytes), (Some(2), Some(80 << 30)));
    assert_eq!(sink.facts.program.as_deref(), Some("train.py"));
    assert_eq!(sink.facts.args.as_deref(), Some("--name 'two words'"));
    assert_eq!(sink.facts.user_name.as_deref(), Some("demo"));
}

#[test]
fn starts_of_one_id_are_one_run_in_order_of_time() {
    let marks = |start: i64| format!("{{\"id\":\"a\",\"start\":{start}}}");
    let runs = Wandb.group(&[
        file("p/wandb/offline-run-20261120_175128-a/run-a.wandb", 900, &marks(1)),
        file("p/wandb/run-20261120_175126-a/run-a.wandb", 900, &marks(2)),
        file("q/wandb/run-20261120_175126-a/run-a.wandb", 900, &marks(3)),
    ]);
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].identity, "p/wandb/a");
    assert_eq!(runs[0].path, "p/wandb/run-20261120_175126-a");
    let order: Vec<_> = runs[0].inputs.iter().map(|input| (input.segment, input.role.as_str())).collect();
    assert_eq!(order, [(0, "0"), (1, "1")]);
    assert!(runs[0].inputs[0].path.contains("offline"));
    let runs = Wandb.group(&[
        file("wandb/offline-run-20261120_175128-a/run-a.wandb", 7, "{}"),
        file("wandb/run-20261120_175126-a/run-a.wandb", 900, &marks(9)),
        file("lone.wandb", 900, &marks(1)),
    ]);
    assert_eq!((runs[0].identity.as_str(), runs[0].path.as_str()), ("a", "lone.wandb"));
    assert_eq!(runs[1].path, "wandb/offline-run-20261120_175128-a");
}

#[test]
fn a_second_start_from_zero_continues() {
    let bytes = log(&[history(Some(0), &[item(&["a"], "1")])]);
    assert!(!read_whole(&Wandb, (PLACE.0, "0"), &bytes).continues);
    let sink = read_whole(&Wandb, (PLACE.0, "1"), &bytes);
    assert!(sink.continues);
}

#[test]
fn files_count_only_without_a_log() {
    let directory = "wandb/run-20261120_175126-b-c";
    let path = |name: &str| format!("{directory}/{name}");
    let list = |size| {
        vec![
            file(&path("files/config.yaml"), 10, ""),
            file(&path("files/wandb-history.jsonl"), 10, ""),
            file(&path("run-b-c.wandb"), size, "{}"),
        ]
    };
    assert_eq!(Wandb.group(&list(900))[0].inputs.len(), 1);
    let without = Wandb.group(&list(7));
    assert_eq!(without.len(), 1);
    assert_eq!(without[0].inputs.len(), 3);
    let bare = Wandb.group(&list(0)[..2]);
    assert_eq!(bare[0].producer_id.as_deref(), Some("b-c"));
    assert_eq!(bare[0].inputs[0].kind, InputKind::Document);
    assert_eq!(bare[0].inputs[1].kind, InputKind::Log);
    assert!(!Wandb.may_claim("src/config.yaml"));
    assert!(!Wandb.may_claim("wandb/run-20261120_175126-b/files/media/config.yaml"));
}

#[test]
fn old_runs_are_read_from_their_files() {
    let read = |name: &str, text: &str| {
        let path = format!("wandb/run-20200101_000000-x/files/{name}");
        read_whole(&Wandb, (&path, "0"), text.as_bytes())
    };
    let config = "wandb_version: 1\n_wandb:\n  value: {t: 1}\nopt:\n  desc: null\n  value:\n    lr: 0.001\n    betas: [0.9, 0.95]\nname:\n  value: x\nempty:\n  value: null\n";
    let sink = read("config.yaml", config);
    assert_eq!(sink.config.keys().collect::<Vec<_>>(), ["empty", "name", "opt.betas", "opt.lr"]);
    assert_eq!(sink.config["opt.betas"].text, "[0.9,0.95]");
    assert_eq!(sink.config["empty"].text, "null");

    let sink = read(
        "wandb-summary.json",
        r#"{"loss": NaN, "v": {"min": 1}, "_step": 3, "_wandb": {"runtime": 12}}"#,
    );
    assert_eq!(sink.finals.keys().collect::<Vec<_>>(), ["loss", "v.min"]);
    assert_eq!(sink.facts.duration_s, Some(12.0));

    let metadata = r#"{"startedAt": "2020-01-02T03:04:05.678", "args": ["--a", "b c"], "program": "t.py", "host": "h", "username": "u", "git": {"remote": "r", "commit": "c"}, "gpu_count": 2, "gpu_nvidia": [{"memory_total": "42949672960"}, {"memory_total": 85899345920}]}"#;
    let sink = read("wandb-metadata.json", metadata);
    assert_eq!(sink.facts.created_at, Some(1_577_934_245_678));
    assert_eq!(sink.facts.args.as_deref(), Some("--a 'b c'"));
    assert_eq!(sink.facts.git_commit.as_deref(), Some("c"));
    assert_eq!((sink.facts.gpu_count, sink.facts.gpu_memory_bytes), (Some(2), Some(40 << 30)));

    let rows = "{\"_step\": 0, \"_timestamp\": 1577934245.5, \"loss\": 2, \"d\": {\"e\": NaN}}\n{\"_step\": 5, \"loss\": 1}\n{\"_st";
    let sink = read("wandb-history.jsonl", rows);
    assert_eq!(sink.line("loss"), [(0, 2.0), (5, 1.0)]);
    assert!(sink.of("d.e").next().unwrap().value.is_nan());
    assert_eq!(sink.points[0].time, Some(1_577_934_245_500));
    assert_eq!(sink.problems, []);
    assert_eq!(read("wandb-history.jsonl", "[1]\n").problems.len(), 1);

    let sink = read("wandb-events.jsonl", "{\"system.cpu\": 3.5, \"_timestamp\": 1577934245}\n");
    assert_eq!(sink.line("system/cpu"), [(0, 3.5)]);
    let sink = read("output.log", "a\r b\nc");
    assert_eq!(sink.console.len(), 1);
    assert_eq!(sink.console[0].text, " b");
    for deep in ["[", "? ", "- "] {
        assert_eq!(read("config.yaml", &deep.repeat(100_000)).problems.len(), 1, "{deep}");
    }
    assert_eq!(read("config.yaml", "").problems, []);
}

fn expected() -> Value {
    let text = std::fs::read_to_string(samples("wandb").join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every real log agrees with W&B's own reader.
#[test]
fn real_logs_agree_with_their_producer() {
    let root = samples("wandb");
    let runs = discover(&Wandb, &root);
    let mut seen = 0;
    for want in expected()["runs"].as_array().unwrap() {
        let path = want["path"].as_str().unwrap();
        let file = format!("{path}/{}", want["file"].as_str().unwrap());
        let id = want["run_id"].as_str();
        let run = runs.iter().find(|run| run.producer_id.as_deref() == id).unwrap();
        assert!(run.inputs.iter().any(|input| input.path == file));
        let bytes = std::fs::read(root.join(&file)).unwrap();
        let sink = read_whole(&Wandb, (&file, "0"), &bytes);
        assert_metrics(&sink, want, "");
        assert_config(&sink, want);
        assert_run(&sink, want);
        seen += 1;
    }
    assert!(seen >= 20 && runs.len() == seen - 1, "{seen} starts, {} runs", runs.len());
}

fn assert_run(sink: &Memory, want: &Value) {
    assert_eq!(sink.problems, []);
    let text = |field: &str| want[field].as_str().filter(|text| !text.is_empty());
    assert_eq!(sink.facts.name.as_deref(), text("name"));
    assert_eq!(sink.facts.project.as_deref(), text("project"));
    assert_eq!(sink.facts.run_group.as_deref(), text("group"));
    assert_eq!(sink.facts.notes.as_deref(), text("notes"));
    assert_eq!(sink.facts.host.as_deref(), text("host"));
    let tags: Vec<_> = want["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(sink.facts.tags.clone().unwrap_or_default(), tags);
    assert_eq!(sink.facts.exit_code.map(i64::from), want["exit"]["exit_code"].as_i64());
    let metrics = want["metrics"].as_object().unwrap();
    let told: std::collections::BTreeSet<_> = sink
        .points
        .iter()
        .map(|point| point.key.as_str())
        .filter(|key| !key.starts_with("system/"))
        .collect();
    assert_eq!(told.len(), metrics.len(), "{told:?}");
    for (key, value) in want["summary"].as_object().unwrap() {
        let media = metrics.get(key).is_none() && key.contains('.') && !key.starts_with("val/");
        if let (Some(value), false) = (value.as_f64(), key.starts_with('_') || media) {
            assert_eq!(sink.finals.get(key), Some(&value), "{key}");
        }
    }
    let alerts = want["alerts"].as_array().unwrap();
    assert_eq!(sink.alerts.len(), alerts.len());
    for (got, want) in sink.alerts.iter().zip(alerts) {
        assert_eq!(Some(got.title.as_str()), want["title"].as_str());
        assert_eq!(Some(got.level.as_str().to_uppercase().as_str()), want["level"].as_str());
    }
}

#[test]
fn the_console_of_a_real_run_is_that_of_its_output_log() {
    let root = samples("wandb").join("tiny-lm/wandb/offline-run-20261120_175106-pubclean1");
    let bytes = std::fs::read(root.join("run-pubclean1.wandb")).unwrap();
    let sink = read_whole(&Wandb, PLACE, &bytes);
    let want = std::fs::read_to_string(root.join("files/output.log")).unwrap();
    let got: Vec<_> = sink.console.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(got, want.lines().collect::<Vec<_>>());
    assert!(sink.console.iter().all(|line| line.time.is_some()));
}

#[test]
fn reading_in_pieces_equals_reading_at_once() {
    let root = samples("wandb").join("tiny-lm/wandb");
    for name in [
        "offline-run-20261120_175106-pubclean1/run-pubclean1.wandb",
        "offline-run-20261120_175200-pubmixed1/run-pubmixed1.wandb",
    ] {
        let bytes = std::fs::read(root.join(name)).unwrap();
        let whole = read_whole(&Wandb, PLACE, &bytes).text();
        for (chunk, growth) in [(64, 5000), (4096, 777), (1 << 16, 32768)] {
            let pieces = read_growing(&Wandb, PLACE, &bytes, chunk, growth);
            assert!(pieces.text() == whole, "{name} {chunk} {growth}");
        }
    }
}
