//! Tests of the TensorBoard source: framing, values, folding, real logs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::sources::testing::*;
use serde_json::json;

const PLACE: (&str, &str) = ("run/events.out.tfevents.1795197393.demo-host.3445.0", "");
/// Size of the record with the version, the first of each file.
const VERSION_BYTES: usize = 31;

fn double_field(field: u32, value: f64) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::double::encode(field, &value, &mut out);
    out
}

fn float_field(field: u32, value: f32) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::float::encode(field, &value, &mut out);
    out
}

/// An event with a summary of values.
fn event(wall_time: f64, step: i64, values: &[Vec<u8>]) -> Vec<u8> {
    let summary: Vec<u8> = values.iter().flat_map(|value| bytes_field(1, value)).collect();
    [double_field(1, wall_time), int_field(2, step), bytes_field(5, &summary)].concat()
}

fn start(step: i64) -> Vec<u8> {
    [int_field(2, step), bytes_field(7, &int_field(1, 1))].concat()
}

fn simple(tag: &str, value: f32) -> Vec<u8> {
    [bytes_field(1, tag.as_bytes()), float_field(2, value)].concat()
}

fn plugin(name: &str, content: &[u8]) -> Vec<u8> {
    let data = [bytes_field(1, name.as_bytes()), bytes_field(2, content)].concat();
    bytes_field(9, &bytes_field(1, &data))
}

fn tensor(tag: &str, dtype: i64, parts: &[Vec<u8>]) -> Vec<u8> {
    let tensor = [int_field(1, dtype), parts.concat()].concat();
    [bytes_field(1, tag.as_bytes()), bytes_field(8, &tensor)].concat()
}

/// A shape of the given dimensions.
fn dims(sizes: &[i64]) -> Vec<u8> {
    let dims = sizes.iter().flat_map(|size| bytes_field(2, &int_field(1, *size)));
    bytes_field(2, &dims.collect::<Vec<_>>())
}

fn log(events: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    tf_record(&mut out, &bytes_field(3, b"brain.Event:2"));
    events.iter().for_each(|event| tf_record(&mut out, event));
    out
}

fn read(events: &[Vec<u8>]) -> Memory {
    read_whole(&TfEvents, PLACE, &log(events))
}

fn steps(count: i64) -> Vec<Vec<u8>> {
    (0..count).map(|step| event(1.7e9, step, &[simple("a", step as f32)])).collect()
}

#[test]
fn every_form_of_a_scalar() {
    let scalars = || plugin("scalars", b"");
    let packed = |field, bytes: &[u8]| bytes_field(field, bytes);
    let forms: Vec<(Vec<u8>, f64)> = vec![
        (tensor("x", 1, &[packed(5, &1.5f32.to_le_bytes())]), 1.5),
        (tensor("x", 1, &[float_field(5, 2.5)]), 2.5),
        (tensor("x", 2, &[packed(6, &0.1f64.to_le_bytes())]), 0.1),
        (tensor("x", 1, &[dims(&[]), bytes_field(4, &0.25f32.to_le_bytes())]), 0.25),
        (tensor("x", 2, &[bytes_field(4, &0.1f64.to_le_bytes())]), 0.1),
        (tensor("x", 19, &[packed(13, &[0x80, 0x78])]), 1.0),
        (tensor("x", 19, &[int_field(13, 0xc000)]), -2.0),
        (tensor("x", 19, &[bytes_field(4, &[0x01, 0x00])]), 2f64.powi(-24)),
        (tensor("x", 14, &[int_field(13, 0x3fc0)]), 1.5),
        (tensor("x", 9, &[int_field(10, -7)]), -7.0),
        (tensor("x", 9, &[bytes_field(4, &(-9i64).to_le_bytes())]), -9.0),
        (tensor("x", 3, &[packed(7, &[3])]), 3.0),
        (tensor("x", 4, &[bytes_field(4, &[200])]), 200.0),
        (tensor("x", 23, &[int_field(17, -1)]), u64::MAX as f64),
        (tensor("x", 10, &[int_field(11, 1)]), 1.0),
        (tensor("x", 10, &[bytes_field(4, &[1])]), 1.0),
        (tensor("x", 1, &[]), 0.0),
        (tensor("x", 1, &[dims(&[1, 1]), float_field(5, 4.0)]), 4.0),
    ];
    for (form, want) in forms {
        let sink = read(&[event(1.0, 3, &[[form.clone(), scalars()].concat()])]);
        assert_eq!(sink.line("x"), [(3, want)], "{form:?}");
    }
    let sink = read(&[event(1.0, 0, &[simple("x", 0.1)])]);
    assert_eq!(sink.line("x"), [(0, 0.10000000149011612)]);
    let sink = read(&[event(1.0, 0, &[[tensor("x", 19, &[int_field(13, 0x7c00)]), scalars()].concat()])]);
    assert_eq!(sink.line("x"), [(0, f64::INFINITY)]);
}

#[test]
fn what_is_no_scalar_is_skipped() {
    let with = |value: Vec<u8>, name: &str| [value, plugin(name, b"")].concat();
    // A dimension behind the word that the rank is unknown.
    let unknown_rank = bytes_field(2, &[int_field(3, 1), bytes_field(2, &int_field(1, 1))].concat());
    let histogram = [bytes_field(1, b"h"), bytes_field(5, &[0; 5000])].concat();
    let sink = read(&[
        event(1.0, 0, &[histogram, simple("a", 1.0)]),
        event(1.0, 0, &[with(tensor("pr", 1, &[float_field(5, 1.0)]), "pr_curves")]),
        event(1.0, 0, &[with(tensor("vector", 1, &[dims(&[3])]), "scalars")]),
        event(1.0, 0, &[tensor("list", 1, &[dims(&[1])])]),
        event(1.0, 0, &[tensor("odd", 8, &[])]),
        event(1.0, 0, &[with(tensor("any", 1, &[unknown_rank, float_field(5, 1.0)]), "scalars")]),
        bytes_field(4, &[7; 100]),
    ]);
    assert_eq!(sink.points.len(), 1);
    assert_eq!(sink.problems, []);
}

#[test]
fn metadata_holds_for_later_values_over_readings() {
    let first = [tensor("t", 7, &[bytes_field(8, b"hello")]), plugin("text", b"")].concat();
    let shaped = |value| tensor("s", 1, &[dims(&[1]), float_field(5, value)]);
    let bytes = log(&[
        event(1.0, 0, &[first, [shaped(1.0), plugin("scalars", b"")].concat()]),
        event(1.0, 1, &[tensor("t", 7, &[bytes_field(8, b"again")]), shaped(2.0)]),
    ]);
    for sink in [read_whole(&TfEvents, PLACE, &bytes), read_growing(&TfEvents, PLACE, &bytes, 16, 5)] {
        assert_eq!(sink.line("s"), [(0, 1.0), (1, 2.0)]);
        let texts: Vec<_> = sink.texts.iter().map(|text| text.text.as_str()).collect();
        assert_eq!(texts, ["hello", "again"]);
    }
}

#[test]
fn times_and_host() {
    let sink = read(&[event(0.0, 0, &[simple("a", 1.0)]), event(1795197393.1234, 1, &[simple("a", 1.0)])]);
    let times: Vec<_> = sink.points.iter().map(|point| point.time).collect();
    assert_eq!(times, [None, Some(1_795_197_393_123)]);
    assert_eq!(sink.facts.host.as_deref(), Some("demo-host"));
}

#[test]
fn only_a_later_start_takes_back() {
    let events = [start(0), event(1.0, 9, &[simple("a", 1.0)]), start(5)];
    assert_eq!(read(&events).rewinds, [5]);
    let read_as = |role: &str| read_whole(&TfEvents, (PLACE.0, role), &log(&events)).rewinds;
    assert_eq!(read_as(r#"{"segment":1}"#), [0, 5]);
    assert!(read_as(r#"{"segment":1,"prefix":"train/"}"#).is_empty());
}

#[test]
fn hparams_and_json_texts_are_config() {
    let entry = |name: &str, value: Vec<u8>| {
        bytes_field(1, &[bytes_field(1, name.as_bytes()), bytes_field(2, &value)].concat())
    };
    let list = bytes_field(
        6,
        &[bytes_field(1, &double_field(2, 1.0)), bytes_field(1, &double_field(2, 0.5))].concat(),
    );
    let inner = entry("b", bytes_field(3, b"x"));
    let session = [
        entry("lr", double_field(2, 3e-4)),
        entry("width", double_field(2, 64.0)),
        entry("amp", int_field(4, 0)),
        entry("opt/name", bytes_field(3, b"adamw")),
        entry("betas", list),
        entry("nested", bytes_field(5, &inner)),
        entry("none", int_field(1, 0)),
    ];
    let content = bytes_field(3, &session.concat());
    let value = |content: &[u8]| {
        [bytes_field(1, b"_hparams_/session_start_info"), plugin("hparams", content)].concat()
    };
    let text = |tag: &str, text: &str| {
        [tensor(tag, 7, &[bytes_field(8, text.as_bytes())]), plugin("text", b"")].concat()
    };
    let sink = read(&[
        event(1.0, 0, &[value(&content), simple("hp_metric", -1.0)]),
        event(1.0, 0, &[value(&bytes_field(4, &int_field(1, 1)))]),
        event(1.0, 0, &[text("args/text_summary", r#"{"seed": 42, "fp": NaN, "o": {"p": [1]}}"#)]),
        event(1.0, 0, &[text("notes/text_summary", "{}")]),
        event(1.0, 4, &[simple("hp_metric", -1.0)]),
    ]);
    let config: Vec<_> = sink.config.iter().map(|(key, value)| (key.as_str(), value.text.as_str())).collect();
    let want = [
        ("amp", "false"),
        ("betas", "[1,0.5]"),
        ("fp", "NaN"),
        ("lr", "0.0003"),
        ("nested.b", "x"),
        ("none", "null"),
        ("o.p", "[1]"),
        ("opt/name", "adamw"),
        ("seed", "42"),
        ("width", "64"),
    ];
    assert_eq!(config, want);
    assert_eq!(sink.config["width"].number, Some(64.0));
    assert_eq!(sink.line("hp_metric"), [(4, -1.0)]);
    assert_eq!(sink.texts.len(), 1);
}

#[test]
fn bad_data_costs_one_record_and_a_bad_length_the_rest() {
    let bytes = log(&steps(10));
    let size = (bytes.len() - VERSION_BYTES) / 10;
    let mut hurt = bytes.clone();
    hurt[VERSION_BYTES + 4 * size + 14] ^= 1;
    let sink = read_whole(&TfEvents, PLACE, &hurt);
    assert_eq!(sink.points.len(), 9);
    assert_eq!(sink.problems[0].position, format!("byte {}", VERSION_BYTES + 4 * size));
    let mut lost = bytes.clone();
    lost[VERSION_BYTES + 4 * size] ^= 1;
    let (mut sink, mut resume) = (Memory::default(), Resume::default());
    for _ in 0..3 {
        resume = read_on(&TfEvents, PLACE, &lost, 64, resume, &mut sink);
    }
    assert_eq!((sink.points.len(), sink.problems.len()), (4, 1));
    assert_eq!(resume.offset, (VERSION_BYTES + 4 * size) as u64);
}

#[test]
fn an_absurd_length_is_damage_and_a_long_one_a_torn_tail() {
    let with_length = |length: u64| {
        let mut bytes = log(&steps(2));
        let length = length.to_le_bytes();
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(&masked_crc(&length).to_le_bytes());
        bytes.extend_from_slice(&[0; 40]);
        read_whole(&TfEvents, PLACE, &bytes)
    };
    assert_eq!(with_length(1 << 63).problems.len(), 1);
    assert_eq!(with_length(u64::MAX).problems.len(), 1);
    assert_eq!(with_length(1 << 30).problems, []);
    assert_eq!(with_length(1000).problems, []);
    assert_eq!(with_length(1000).points.len(), 2);
    let mut zeros = log(&steps(2));
    zeros.resize(zeros.len() + 50, 0);
    assert_eq!(read_whole(&TfEvents, PLACE, &zeros).problems, []);
}

#[test]
fn a_record_too_long_to_hold_a_scalar_is_stepped_over() {
    let mut bytes = log(&steps(1));
    tf_record(&mut bytes, &vec![0; (64 << 20) + 1]);
    tf_record(&mut bytes, &event(1.0, 1, &[simple("a", 1.0)]));
    assert_eq!(read_whole(&TfEvents, PLACE, &bytes).points.len(), 2);
}

/// A record that is no event is told, its neighbours are kept.
#[test]
fn garbage_in_a_valid_frame() {
    let sink = read(&[vec![0xff; 12], event(1.0, 1, &[simple("a", 1.0)])]);
    assert_eq!(sink.problems[0].position, format!("byte {VERSION_BYTES}"));
    assert_eq!(sink.points.len(), 1);
}

#[test]
fn cut_at_every_byte() {
    let bytes = log(&steps(12));
    let whole = read_whole(&TfEvents, PLACE, &bytes);
    for cut in 0..bytes.len() {
        let mut sink = Memory::default();
        let resume = read_on(&TfEvents, PLACE, &bytes[..cut], 32, Resume::default(), &mut sink);
        assert_eq!(sink.problems, []);
        assert!(whole.points.starts_with(&sink.points));
        read_on(&TfEvents, PLACE, &bytes, 32, resume, &mut sink);
        assert_eq!(sink.text(), whole.text());
    }
    for growth in [1, 7, 100] {
        assert_eq!(read_growing(&TfEvents, PLACE, &bytes, 16, growth).text(), whole.text());
    }
}

#[test]
fn flip_every_byte() {
    let bytes = log(&steps(12));
    let size = (bytes.len() - VERSION_BYTES) / 12;
    for at in 0..bytes.len() {
        let mut hurt = bytes.clone();
        hurt[at] ^= 1 << (at % 8);
        let sink = read_whole(&TfEvents, PLACE, &hurt);
        assert_eq!(sink.problems.len(), 1, "byte {at}");
        let before = at.saturating_sub(VERSION_BYTES) / size;
        assert!(sink.points.len() >= before);
        assert!(sink.points.iter().zip(0..).take(before).all(|(point, step)| point.step == step));
    }
}

#[test]
fn judges_files_by_name_and_first_record() {
    for path in ["a/events.out.tfevents.1.h", "x.tfevents", "tfevents"] {
        assert!(TfEvents.may_claim(path), "{path}");
    }
    for path in ["a/b.tfevents.profile-empty", "plugins/profile/x/a.tfevents", "a.csv", "tfevents/a.csv"] {
        assert!(!TfEvents.may_claim(path), "{path}");
    }
    assert_eq!(TfEvents.sniff(PLACE.0, &log(&[])[..11]), Verdict::TooEarly);
    assert_eq!(TfEvents.sniff(PLACE.0, &[0; 64]), Verdict::TooEarly);
    assert!(matches!(TfEvents.sniff(PLACE.0, &[7; 64]), Verdict::Other { .. }));
    let Verdict::Log { marks } = TfEvents.sniff(PLACE.0, &log(&steps(3))) else { panic!() };
    assert_eq!(marks, r#"{"hparams":false,"tags":["a"]}"#);
}

/// Runs as (path, [(input, role)]).
fn grouped(files: &[(&str, &str)]) -> Vec<(String, Vec<(String, serde_json::Value)>)> {
    let files: Vec<_> = files
        .iter()
        .map(|(directory, marks)| file(&format!("{directory}events.out.tfevents.1.h.5.0"), 99, marks))
        .collect();
    let place = |path: &str| path.trim_end_matches("events.out.tfevents.1.h.5.0").to_owned();
    let role = |role: &str| serde_json::from_str(role).unwrap();
    TfEvents
        .group(&files)
        .into_iter()
        .map(|run| {
            let inputs = run.inputs.iter().map(|input| (place(&input.path), role(&input.role)));
            (run.path, inputs.collect())
        })
        .collect()
}

#[test]
fn a_run_is_a_directory_with_its_files_in_order() {
    let name = |rest: &str| file(&format!("a/b/events.out.tfevents.17.h.{rest}"), 99, "{}");
    let runs = TfEvents.group(&[name("9.10"), name("9.2"), file("x.tfevents", 99, "{}")]);
    assert_eq!((runs[0].path.as_str(), runs[0].name.as_deref()), (".", Some(".")));
    assert_eq!((runs[1].identity.as_str(), runs[1].producer_id.as_deref()), ("a/b", None));
    let order: Vec<_> = runs[1].inputs.iter().map(|input| (input.segment, &input.path[2..])).collect();
    assert_eq!(order, [(0, "b/events.out.tfevents.17.h.9.2"), (1, "b/events.out.tfevents.17.h.9.10")]);
}

#[test]
fn keras_children_are_one_run() {
    let runs = grouped(&[("k/tb/train/", "{}"), ("k/tb/validation/", "{}"), ("k/x/train/", "{}")]);
    let role = |prefix: &str| json!({"segment": 0, "prefix": prefix});
    let want = vec![
        ("k/tb/train/".to_owned(), role("train/")),
        ("k/tb/validation/".to_owned(), role("validation/")),
    ];
    assert_eq!(
        runs,
        [
            ("k/tb".to_owned(), want),
            ("k/x/train".to_owned(), vec![("k/x/train/".to_owned(), json!({"segment": 0}))])
        ]
    );
    assert_eq!(grouped(&[("train/", "{}"), ("validation/", "{}")])[0].0, ".");
}

#[test]
fn add_scalars_children_are_metrics_of_their_parent() {
    let loss = r#"{"tags":["val/loss"]}"#;
    let runs = grouped(&[
        ("r/", r#"{"tags":["lr"]}"#),
        ("r/val_loss_a/", loss),
        ("r/val/loss/b/c/", loss),
        ("r/val_loss_two/", r#"{"tags":["val/loss","more"]}"#),
        ("s/val_loss_a/", loss),
    ]);
    assert_eq!(runs.len(), 3);
    let roles: Vec<_> = runs[0].1.iter().map(|(_, role)| role.clone()).collect();
    let key = |key: &str| json!({"segment": 0, "key": key});
    assert_eq!(roles, [json!({"segment": 0}), key("val/loss/b/c"), key("val/loss/a")]);
    assert_eq!((runs[1].0.as_str(), runs[2].0.as_str()), ("r/val_loss_two", "s/val_loss_a"));
}

#[test]
fn hparams_children_belong_to_their_parent() {
    let session = r#"{"hparams":true,"tags":["_hparams_/session_start_info"]}"#;
    let runs = grouped(&[("r/", "{}"), ("r/1795197190.260469/", session), ("alone/hp/", session)]);
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1].1[1], ("r/1795197190.260469/".to_owned(), json!({"segment": 0})));
}

/// Every real log agrees with TensorBoard's own reader.
#[test]
fn real_logs_agree_with_tensorboard() {
    let root = samples("tensorboard");
    let expected = std::fs::read_to_string(root.join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    let runs = discover(&TfEvents, &root);
    let mut folded = 0;
    for want in expected["runs"].as_array().unwrap() {
        let path = want["path"].as_str().unwrap();
        if let Some(run) = runs.iter().find(|run| run.path == path) {
            let sink = read_run(&TfEvents, &root, run);
            assert_metrics(&sink, want, "");
            assert_eq!(sink.problems, []);
            assert_eq!(sink.facts.host.as_deref(), Some("demo-host"));
            if want["config"].as_object().is_some_and(|config| !config.is_empty()) {
                assert_config(&sink, want);
            }
            let texts = want["text_last"].as_object().unwrap();
            assert_eq!(sink.texts.len(), texts.len());
            assert!(sink.texts.iter().all(|text| texts[&text.key][0] == text.text));
        } else {
            folded += 1;
        }
    }
    assert_eq!((folded, runs.len()), (4, expected["runs"].as_array().unwrap().len() - 4));
}

#[test]
fn real_children_are_folded() {
    let root = samples("tensorboard");
    let runs = discover(&TfEvents, &root);
    let read = |path: &str| {
        let run = runs.iter().find(|run| run.path == path).unwrap();
        read_run(&TfEvents, &root, run)
    };
    let multi = read("runs/multi");
    assert_eq!((multi.line("loss/train").len(), multi.line("loss/val").len()), (83, 83));
    assert_eq!(multi.line("lr").len(), 83);
    let trial = read("runs/tbx/sweep/trial_0");
    assert_eq!(trial.config["amp"].text, "false");
    assert_eq!(trial.config["width"].number, Some(64.0));
    assert_eq!(trial.line("hparam/best_val")[0].0, 100);
    assert_eq!(read("runs/resume-purge").rewinds, [85]);
    assert!(read("runs/clean").rewinds.is_empty());
}
