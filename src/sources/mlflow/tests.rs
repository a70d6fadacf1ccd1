#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use crate::records::End;
use crate::sources::testing::{
    self, assert_config, assert_metrics, assert_survives, assert_survives_rewriting, file, read_whole,
};

const RUN: &str = "mlruns/12/0123456789abcdef0123456789abcdef";

#[test]
fn real_runs_are_what_the_client_says() {
    let root = testing::samples("mlflow");
    let mut expected = testing::expected("mlflow");
    expected.retain(|run| run["backend"] == "file" && run["lifecycle"] == "active");
    let runs = testing::discover(&MlFlow, &root);
    assert_eq!(runs.len(), expected.len(), "deleted runs are left out");
    for wanted in &expected {
        let id = wanted["run_id"].as_str().unwrap();
        let run = runs.iter().find(|run| run.producer_id.as_deref() == Some(id)).unwrap();
        let sink = testing::read_run(&MlFlow, &root, run);
        assert!(sink.problems.is_empty());
        assert_metrics(&sink, wanted, "");
        assert_eq!(sink.keys().len(), wanted["metrics"].as_object().unwrap().len());
        assert_config(&sink, wanted);
        let facts = &sink.facts;
        assert_eq!(facts.name.as_deref(), wanted["name"].as_str());
        assert_eq!(facts.project.as_deref(), wanted["project"].as_str());
        assert_eq!(
            (facts.created_at, facts.updated_at),
            (wanted["start_time"].as_i64(), wanted["end_time"].as_i64())
        );
        let end = match wanted["state"].as_str().unwrap() {
            "FINISHED" => Some(End::Finished),
            "RUNNING" => None,
            _ => Some(End::Failed),
        };
        assert_eq!(facts.end, end);
        let tag = |key: &str| wanted["tags"][key].as_str();
        assert_eq!(facts.parent_run_id.as_deref(), tag("mlflow.parentRunId"));
        assert_eq!(facts.notes.as_deref(), tag("mlflow.note.content"));
        assert_eq!((facts.user_name.as_deref(), facts.program.as_deref()), (Some("demo"), Some("train.py")));
    }
}

#[test]
fn files_have_their_place() {
    let of = |rest: &str| {
        place(&format!("{RUN}/{rest}")).map(|(folder, part)| (folder == RUN, format!("{part:?}")))
    };
    assert_eq!(of("metrics/val/acc"), Some((true, "Metric(\"val/acc\")".into())));
    assert_eq!(of("tags/mlflow.user"), Some((true, "Tag(\"mlflow.user\")".into())));
    assert_eq!(of("meta.yaml"), Some((true, "Meta".into())));
    assert_eq!((of("artifacts/metrics/a"), of("metrics"), of("metrics/.DS_Store")), (None, None, None));
    assert_eq!(place("mlruns/12/meta.yaml"), Some(("mlruns/12", Part::Experiment)));
    assert_eq!(place("mlruns/models/m/meta.yaml"), None);
    assert_eq!(place("mlruns/12/traces/0123456789abcdef0123456789abcdef/tags/a"), None);
    assert!(MlFlow.may_claim("0123456789abcdef0123456789abcdef/params/a"));
}

#[test]
fn a_run_may_lack_what_describes_it() {
    let metric = format!("{RUN}/metrics/loss");
    let runs = MlFlow.group(&[file(&metric, 9, "")]);
    assert_eq!((runs.len(), MlFlow.writes_ends(&runs[0])), (1, false));
    assert_eq!(MlFlow.sniff(&format!("{RUN}/meta.yaml"), b""), Verdict::TooEarly);
    assert!(MlFlow.group(&[file("mlruns/12/meta.yaml", 9, "")]).is_empty());
    let deleted = [file(&metric, 9, ""), file("mlruns/12/meta.yaml", 9, DELETED)];
    assert!(MlFlow.group(&deleted).is_empty(), "the experiment was deleted");
}

#[test]
fn metrics_of_every_version() {
    let text = "1795198721645 1.5\n1795198721646 nan 1\n1795198721647 -inf -2 train abc\n";
    let path = format!("{RUN}/metrics/loss");
    let sink = read_whole(&MlFlow, (&path, "loss"), text.as_bytes());
    assert_eq!(sink.steps("loss"), [0, 1, -2]);
    assert_eq!(sink.points[2].value, f64::NEG_INFINITY);
    assert_survives(&MlFlow, (&path, "loss"), text.as_bytes());
    let bad = read_whole(&MlFlow, (&path, "loss"), b"1 2 3 4\n\nx\n5 6 7\n1 x 3\n");
    assert_eq!(bad.line("loss"), [(7, 6.0)]);
    let places: Vec<_> = bad.problems.iter().map(|problem| problem.position.as_str()).collect();
    assert_eq!(places, ["line 1", "line 3", "line 5"]);
}

#[test]
fn meta_tells_state_and_times() {
    let meta = format!("{RUN}/meta.yaml");
    let text = b"run_name: a\nuser_id: u\nstatus: 4\nstart_time: 1000\nend_time: 3500\n";
    let facts = read_whole(&MlFlow, (&meta, ""), text).facts;
    assert_eq!((facts.name.as_deref(), facts.user_name.as_deref()), (Some("a"), Some("u")));
    assert_eq!((facts.end, facts.state_detail.as_deref()), (Some(End::Failed), Some("FAILED")));
    assert_eq!(facts.duration_s, Some(2.5));
    assert_survives_rewriting(&MlFlow, (&meta, ""), text);
    assert_survives_rewriting(&MlFlow, (&format!("{RUN}/params/a"), "a"), b"{'a': 1}\n");
}

#[test]
fn parameters_are_text() {
    let read = |text: &str| read_whole(&MlFlow, (&format!("{RUN}/params/a"), "a"), text.as_bytes()).config;
    assert_eq!(read("1e-3")["a"].number, Some(1e-3));
    assert_eq!(read("two\nlines")["a"].text, "two\nlines");
    assert_eq!(read("")["a"].text, "");
}
