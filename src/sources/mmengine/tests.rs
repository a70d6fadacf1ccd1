#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use crate::records::RunFacts;
use crate::sources::InputKind;
use crate::sources::testing::{
    Memory, assert_config, assert_metrics, assert_survives, discover, file, read_run, read_whole, samples,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(samples("mmengine").join("expected.json")).unwrap()).unwrap()
}

/// The producer's reader takes the step of validation as it stands, which is an epoch or 0. Here
/// it is the iteration of the last line of training before it.
fn with_placed_steps(mut wanted: Value, text: &str) -> Value {
    for (key, metric) in wanted["metrics"].as_object_mut().unwrap() {
        let (mut last, mut steps) = (0, Vec::new());
        for line in text.lines() {
            if let Some((_, rest)) = line.split_once("\"iter\": ") {
                last = rest.split(',').next().unwrap().parse().unwrap();
            }
            if line.contains(&format!("\"{key}\":")) {
                steps.push(last);
            }
        }
        metric["first_step"] = json!(steps.iter().min());
        metric["last_step"] = json!(steps.iter().max());
    }
    wanted
}

#[test]
fn real_logs_are_what_the_producer_says() {
    let root = samples("mmengine");
    let runs = discover(&MmEngine, &root);
    let expected = expected();
    let mut folders = BTreeSet::new();
    for wanted in expected["runs"].as_array().unwrap() {
        let path = wanted["path"].as_str().unwrap();
        let folder = wanted["work_dir"].as_str().unwrap();
        folders.insert(folder);
        let run = runs.iter().find(|run| run.identity == folder).unwrap_or_else(|| panic!("{folder}"));
        assert_eq!((run.path.as_str(), run.name.as_deref()), (folder, folder.rsplit('/').next()));
        let mut start = run.clone();
        start.inputs.retain(|input| input.path.starts_with(path));
        assert_eq!(start.inputs.len(), 3, "the copy of the lines is left out: {:?}", start.inputs);
        let sink = read_run(&MmEngine, &root, &start);
        let scalars = std::fs::read_to_string(root.join(path).join("vis_data/scalars.json")).unwrap();
        assert_metrics(&sink, &with_placed_steps(wanted.clone(), &scalars), "");
        let metrics: BTreeSet<&String> = wanted["metrics"].as_object().unwrap().keys().collect();
        assert_eq!(sink.keys().iter().collect::<BTreeSet<_>>(), metrics, "{path}");
        assert_config(&sink, wanted);
        assert_eq!((sink.facts.end, &sink.problems), (None, &vec![]), "{path}");
        let stamps: BTreeSet<_> = sink.console.iter().filter_map(|line| line.time).collect();
        assert!(stamps.first().unwrap() > &1_795_198_000_000, "{path}");
        if let Some(name) = sink.texts.iter().find(|text| text.key == "exp_name") {
            assert_eq!(Some(name.text.as_str()), wanted["run_id"].as_str());
        }
    }
    assert_eq!(folders.len(), runs.len());
}

#[test]
fn resumed_starts_are_one_run() {
    let root = samples("mmengine");
    let runs = discover(&MmEngine, &root);
    let run = runs.iter().find(|run| run.identity == "work_dirs/resume").unwrap();
    let starts: Vec<_> = run.inputs.iter().map(|input| (input.segment, input.kind)).collect();
    use InputKind::{Document, Log};
    assert_eq!(starts, [(0, Document), (0, Log), (0, Log), (1, Document), (1, Log), (1, Log)]);
    let iterations = runs.iter().find(|run| run.identity == "work_dirs/iterbased").unwrap();
    let sink = read_run(&MmEngine, &root, iterations);
    assert_eq!(sink.facts, RunFacts::default());
    assert_eq!(sink.steps("mse")[..2], [20, 40], "its step is always 0");
    assert!(sink.line("epoch").iter().all(|point| point.1 == 1.0));
}

#[test]
fn files_make_starts() {
    let files = [
        "w/a/20260101_000000/20260101_000000.log",
        "w/a/20260101_000000/vis_data/20260101_000000.json",
        "w/a/20260102_000000/20260102_000000.log",
        "w/b/20260101_000000/vis_data/config.py",
        "w/c/vis_data/scalars.json",
        "20260101_000000/vis_data/scalars.json",
        "m/20260101_000000.log",
        "m/20260101_000000.log.json",
        "m/20260102_000000.log.json",
    ];
    assert!(files.iter().all(|path| MmEngine.may_claim(path)));
    for path in
        ["a/scalars.json", "train.log", "a/20260101_00000.log", "2026010a_000000.log", "vis_data/a.json"]
    {
        assert!(!MmEngine.may_claim(path), "{path}");
    }
    let marked = |path: &&str| file(path, 1, if *path == "m/20260101_000000.log" { "epoch 100" } else { "" });
    let runs = MmEngine.group(&files.iter().map(marked).collect::<Vec<_>>());
    let shown: Vec<String> = runs
        .iter()
        .map(|run| {
            let inputs = run.inputs.iter().map(|input| format!(" {}={}", input.segment, input.role));
            format!("{} {}{}", run.identity, run.name.clone().unwrap_or_default(), inputs.collect::<String>())
        })
        .collect();
    assert_eq!(
        shown,
        [". 20260101_000000 0=", "m m 0=epoch 100 0= 1=", "w/a a 0= 0= 1=metrics", "w/c c 0="],
        "a configuration alone is no run"
    );
}

fn read(path: &str, role: &str, text: &str) -> Memory {
    read_whole(&MmEngine, (path, role), text.as_bytes())
}

const SCALARS: &str = "w/20260101_000000/vis_data/scalars.json";
const PRINTED: &str = "w/20260101_000000/20260101_000000.log";
const MMCV: &str = "w/20260101_000000.log.json";

#[test]
fn validation_goes_to_the_step_before_it() {
    let sink = read(
        SCALARS,
        "",
        concat!(
            "{\"acc\": 0.1, \"step\": 0}\n",
            "{\"loss\": 2, \"epoch\": 1, \"iter\": 50, \"step\": 50}\n{\"acc\": 0.2, \"step\": 1}\n",
            "{\"loss\": NaN, \"epoch\": 3, \"iter\": 150, \"step\": 150}\n{\"acc\": 0.3, \"step\": 2}\n",
            "{\"acc\": 0.4, \"step\": 160}\n{\"test/acc\": 0.5, \"step\": 3}\n",
            "{\"train/loss\": 1, \"train/iter\": 200, \"step\": 200}\n{\"val/acc\": -Infinity, \"step\": 3}",
        ),
    );
    assert_eq!(sink.line("acc"), [(0, 0.1), (50, 0.2), (150, 0.3), (160, 0.4)]);
    assert_eq!(sink.line("epoch"), [(50, 1.0), (150, 3.0), (150, 2.0)]);
    assert_eq!((sink.line("test/acc"), sink.steps("val/acc")), (vec![(150, 0.5)], vec![200]));
}

#[test]
fn a_start_with_only_its_text_is_read_from_it() {
    let text = "\
2026/01/01 00:00:00 - mmengine - INFO - Config:
train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=1)
2026/01/01 00:00:10 - mmengine - INFO - Epoch(train)  [1][ 50/100]  lr: 1.0e-02  eta: 1 day, 0:10:20  loss: 2.5
2026/01/01 00:00:20 - mmengine - INFO - Exp name: toy_20260101_000000
2026/01/01 00:00:30 - mmengine - INFO - Epoch(val)  [1][ 5/20]    eta: 0:00:00  time: 0.1
2026/01/01 00:00:30 - mmengine - INFO - Epoch(val) [1][20/20]    coco/bbox_mAP: 0.3450
2026/01/01 00:00:40 - mmengine - INFO - Epoch(train)  [2][100/100]  lr: 1.0e-02  loss: nan
2026/01/01 00:00:50 - mmengine - INFO - Epoch(test) [20/20]    acc: 0.5
Traceback (most recent call last):
";
    assert_eq!(MmEngine.sniff(PRINTED, text.as_bytes()), log(""));
    let sink = read(PRINTED, "metrics", text);
    assert_eq!(sink.keys(), ["coco/bbox_mAP", "epoch", "iter", "loss", "lr", "test/acc"]);
    assert_eq!((sink.steps("loss"), sink.line("coco/bbox_mAP")), (vec![50, 200], vec![(50, 0.345)]));
    assert_eq!(sink.line("test/acc"), [(200, 0.5)]);
    assert_eq!(sink.points[0].time, Some(1_767_225_610_000));
    assert_eq!(sink.facts.planned_steps, Some(1200));
    assert_eq!((sink.texts[0].text.as_str(), sink.console.len()), ("toy_20260101_000000", 9));
    assert!(read(PRINTED, "", text).points.is_empty(), "the lines of JSON hold them");
    assert_survives(&MmEngine, (PRINTED, "metrics"), &text.as_bytes()[60..460]);
}

#[test]
fn mmcv_counts_in_epochs() {
    let text = concat!(
        "{\"env_info\": \"sys.platform: linux\", \"config\": \"lr = 1\\nmodel = 2\", \"seed\": 7, \"exp_name\": \"toy.py\"}\n",
        "{\"mode\": \"train\", \"epoch\": 1, \"iter\": 50, \"lr\": {\"a\": 0.1}, \"loss\": 3}\n",
        "{\"mode\": \"train\", \"epoch\": 1, \"iter\": 100, \"loss\": 2}\n",
        "{\"mode\": \"val\", \"epoch\": 1, \"iter\": 20, \"bbox_mAP\": 0.5, \"lr\": 0.1}\n",
        "{\"mode\": \"train\", \"epoch\": 2, \"iter\": 50, \"loss\": NaN}\n",
        "{\"mode\": \"val\", \"epoch\": 2, \"iter\": 20, \"bbox_mAP\": 0.6}\n",
    );
    let alone = read(MMCV, "", text);
    assert_eq!(alone.steps("train/loss"), [50, 100, 150]);
    assert_eq!(alone.steps("val/bbox_mAP"), [100, 200], "an epoch has 100 iterations, as far as is known");
    let known = read(MMCV, "epoch 117", text);
    assert_eq!(
        (known.steps("train/loss"), known.steps("val/bbox_mAP")),
        (vec![50, 100, 167], vec![117, 234])
    );
    assert_eq!(known.line("train/lr.a"), [(50, 0.1)]);
    assert_eq!(known.config.keys().collect::<Vec<_>>(), ["exp_name", "seed"]);
    assert_eq!(known.texts.iter().map(|text| text.key.as_str()).collect::<Vec<_>>(), ["env_info", "config"]);
    let global = text.replace("\"epoch\": 2, \"iter\": 50", "\"epoch\": 2, \"iter\": 150");
    for role in ["", "iter 300"] {
        let sink = read(MMCV, role, &global);
        assert_eq!(
            (sink.steps("train/loss"), sink.steps("val/bbox_mAP")),
            (vec![50, 100, 150], vec![100, 150])
        );
        assert_eq!(sink.facts.planned_steps, Some(300).filter(|_| !role.is_empty()));
    }
    assert_survives(&MmEngine, (MMCV, ""), text.as_bytes());
}

#[test]
fn the_text_of_mmcv_tells_the_iterations() {
    let sniff = |text: &str| MmEngine.sniff("w/20260101_000000.log", text.as_bytes());
    let head = "2026-01-01 00:00:00,000 - mmdet - INFO - Environment info:\n";
    assert_eq!(sniff(head), Verdict::TooEarly);
    assert_eq!(
        sniff(&format!("{head}2026-01-01 00:00:00,000 - mmdet - INFO - Epoch [1][50/117]\tlr: 1, loss: 2\n")),
        log("epoch 117")
    );
    assert_eq!(
        sniff(&format!("{head}2026-01-01 00:00:00,000 - mmseg - INFO - Iter [50/3000]\tlr: 1, loss: 2\n")),
        log("iter 3000")
    );
    assert!(matches!(sniff("step 1: loss 2\n"), Verdict::Other { .. }));
    assert_eq!(sniff(""), Verdict::TooEarly);
    let flat = read(
        "w/20260101_000000.log",
        "metrics",
        "2026-01-01 00:00:01,500 - mmdet - INFO - Epoch [2][50/117]\tlr: 1, loss: 2\n",
    );
    assert_eq!((flat.line("loss"), flat.points[0].time), (vec![(167, 2.0)], Some(1_767_225_601_500)));
}

#[test]
fn lines_survive_damage() {
    let lines = concat!(
        "{\"lr\": 0.1, \"loss\": NaN, \"epoch\": 1, \"iter\": 5, \"step\": 5}\n\n",
        "{\"mse\": 0.5, \"step\": 1}\r\n{\"loss\": {\"a\": 1}, \"note\": \"\u{e9}\", \"iter\": 6, \"step\": 6}\n",
    );
    assert_survives(&MmEngine, (SCALARS, ""), lines.as_bytes());
    let sink = read(
        SCALARS,
        "",
        "{\"loss\": 1, \"iter\": 1, \"step\": 1}\n{\"loss\": 1, \"it\n[1]\n{\"loss\": 3, \"iter\": 2, \"step\": 2}",
    );
    assert_eq!((sink.steps("loss"), sink.problems.len()), (vec![1, 2], 2));
    assert_eq!(sink.problems[0].position, "byte 34");
}
