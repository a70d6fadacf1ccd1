//! What commands print, in every format, against files that were read by a person.
//!
//! `RUNQ_BLESS=1 cargo test --workspace golden` writes them anew.

use crate::common::{Project, runq, shared_runtime};
use futures::TryStreamExt;
use runq::engine::canned::ParamValue;
use runq::report::brief::Brief;
use runq::report::{self, Format, Style};
use runq::store::Limits;
use runq::workspace::Workspace;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Holds a text against its file, or writes the file.
fn check(name: &str, got: &str, wrong: &mut Vec<String>) {
    let file = golden(name);
    if std::env::var_os("RUNQ_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        return std::fs::write(file, got).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    if got != expected {
        wrong.push(format!("== {name}\n-- expected\n{expected}-- got\n{got}"));
    }
}

type Values = BTreeMap<String, ParamValue>;

fn values(words: &[(&str, ParamValue)]) -> Values {
    words.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn text(word: &str) -> ParamValue {
    ParamValue::Text(word.to_string())
}

fn keys(words: &[&str]) -> ParamValue {
    ParamValue::List(words.iter().map(|word| word.to_string()).collect())
}

/// Queries with values that meet NaN, other spellings, several axes and failed runs.
fn cases() -> Vec<(&'static str, Values)> {
    let run = |id: &str| ("run", text(id));
    let number = ParamValue::Integer;
    vec![
        ("overview", values(&[])),
        ("runs", values(&[("where", text("lr < 0.01 and state = 'finished'")), ("sort", text("-val_loss"))])),
        ("find", values(&[("text", text("memory"))])),
        ("show", values(&[run("pubnan001")])),
        ("facts", values(&[run("pubcrash1")])),
        ("errors", values(&[run("pubcrash1")])),
        ("config", values(&[run("pubclean1")])),
        ("notes", values(&[run("pubtyped1"), ("limit", number(3))])),
        ("stats", values(&[run("pubnan001"), ("keys", keys(&["train_loss", "grad_norm"]))])),
        (
            "history",
            values(&[
                run("pubnan001"),
                ("keys", keys(&["train_loss,val_loss"])),
                ("around", number(180)),
                ("limit", number(5)),
            ]),
        ),
        (
            "points",
            values(&[
                run("pubresum1"),
                ("keys", keys(&["train/loss"])),
                ("from", number(149)),
                ("to", number(151)),
            ]),
        ),
        ("curve", values(&[run("pubnan001"), ("keys", keys(&["train_loss"])), ("limit", number(6))])),
        ("stability", values(&[run("pubnan001")])),
        ("at", values(&[run("pubnan001"), ("step", number(180))])),
        ("console", values(&[run("pubcrash1"), ("tail", number(4))])),
        ("phases", values(&[run("pubnan001")])),
        (
            "epochs",
            values(&[
                run("pubepoch1"),
                ("keys", keys(&["train/loss", "val/loss"])),
                ("steps", keys(&["30", "98"])),
            ]),
        ),
        ("findings", values(&[run("pubnan001")])),
        ("alerts", values(&[("limit", number(4))])),
        ("anomalies", values(&[])),
        ("diff", values(&[("a", text("pubclean1")), ("b", text("pubsweep5"))])),
        ("keys", values(&[("pattern", text("LOSS"))])),
        ("best", values(&[("metric", text("val_loss")), ("limit", number(3))])),
        (
            "at_best",
            values(&[
                ("runs", keys(&["pubsweep1", "pubdiverg"])),
                ("keys", keys(&["val/loss", "val/loss"])),
                ("steps", keys(&["119", "210"])),
            ]),
        ),
        (
            "compare",
            values(&[("runs", keys(&["pubsweep1", "pubsweep5", "pubnan001"])), ("at", text("best"))]),
        ),
        ("differences", values(&[("runs", keys(&["pubsweep1", "pubsweep5", "pubnan001"]))])),
        ("why_config", values(&[("a", text("pubclean1")), ("b", text("pubdiverg"))])),
        ("why_findings", values(&[("a", text("pubclean1")), ("b", text("pubdiverg"))])),
        (
            "why_ends",
            values(&[("a", text("pubclean1")), ("b", text("pubdiverg")), ("key", text("val_loss"))]),
        ),
        ("sweep", values(&[("metric", text("val_loss")), ("where", text("run_group = 'lr-sweep'"))])),
        ("seeds", values(&[("metric", text("val_loss"))])),
        (
            "pareto",
            values(&[
                ("first", text("val_loss")),
                ("second", text("perf/tokens_per_sec")),
                ("max", keys(&["perf/tokens_per_sec"])),
            ]),
        ),
        ("tried", values(&[("settings", keys(&["lr=0.002", "weight_decay=0.1"])), ("limit", number(4))])),
        ("cost", values(&[])),
    ]
}

const FORMATS: [Format; 6] =
    [Format::Table, Format::Csv, Format::Tsv, Format::Json, Format::Jsonl, Format::Md];

fn check_query(workspace: &Workspace, name: &str, values: &Values, wrong: &mut Vec<String>) {
    let batches: Vec<_> = shared_runtime().block_on(async {
        let answer = workspace.canned(name, values).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        answer.stream.try_collect().await.unwrap()
    });
    let schema = batches.first().unwrap_or_else(|| panic!("{name}: no rows")).schema();
    for format in FORMATS {
        let mut out = Vec::new();
        let mut render = report::open(format, Style::default(), &schema, &mut out).unwrap();
        batches.iter().for_each(|batch| render.write(batch).unwrap());
        render.finish().unwrap();
        check(&format!("{name}.{}", format.name()), &String::from_utf8(out).unwrap(), wrong);
    }
    let mut brief = Brief::new(&schema, 3_000).unwrap();
    batches.iter().for_each(|batch| brief.write(batch).unwrap());
    check(&format!("{name}.agent"), brief.text(), wrong);
    // What is no text holds the same: Parquet keeps the names and the values.
    let mut file = Vec::new();
    let batch = arrow::compute::concat_batches(&schema, &batches).unwrap();
    report::write_all(Format::Parquet, Style::default(), &batch, &mut file).unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file));
    let back: Vec<_> = reader.unwrap().build().unwrap().map(Result::unwrap).collect();
    let csv = |batch| {
        let mut out = Vec::new();
        report::write_all(Format::Csv, Style::default(), batch, &mut out).unwrap();
        out
    };
    let back = arrow::compute::concat_batches(&back[0].schema(), &back).unwrap();
    assert_eq!(csv(&back), csv(&batch), "{name} as Parquet");
}

#[test]
fn every_query_in_every_format() {
    let project = Project::of("wandb").with_limits(Limits::default());
    project.refresh();
    let workspace = project.open();
    let mut wrong = Vec::new();
    let cases = cases();
    for query in workspace.queries() {
        let (name, values) = cases
            .iter()
            .find(|(name, _)| *name == query.name)
            .unwrap_or_else(|| panic!("no case for {}", query.name));
        check_query(&workspace, name, values, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The code of a run, where no repository is around.
#[test]
fn code_in_every_format() {
    let project = Project::of("exprag").with_limits(Limits::default());
    project.refresh();
    let mut wrong = Vec::new();
    let run_id = "2e367da7-c37b-4be9-9ee3-b7eec9ff6cc6";
    for format in FORMATS.map(Format::name).into_iter().chain(["agent"]) {
        let form = if format == "agent" { vec!["--agent"] } else { vec!["--format", format] };
        let mut command = runq();
        command.current_dir(project.root()).args(["--no-refresh", "code", run_id]).args(form);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        check(&format!("code.{format}"), &String::from_utf8(output.stdout).unwrap(), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Commands that are more than a query.
#[test]
fn commands_of_several_parts() {
    let project = Project::of("wandb").with_limits(Limits::default());
    project.refresh();
    let mut wrong = Vec::new();
    for (name, args) in [
        ("show-failed.table", &["show", "pubcrash1", "--format", "table"][..]),
        ("show-failed.md", &["show", "pubcrash1", "--format", "md"]),
        ("show-failed.agent", &["show", "pubcrash1", "--agent"]),
        ("runs-state.agent", &["runs", "--agent", "--where", "lr > 0.001"]),
        ("history-sampled.agent", &["history", "long-20k", "--agent", "--max-tokens", "300"]),
        ("overview.pipe", &[]),
        ("alerts-brief.agent", &["alerts", "--agent"]),
        ("anomalies-brief.agent", &["anomalies", "--agent"]),
        ("plot.table", &["plot", "pubnan001", "-k", "train/loss", "--height", "12", "--width", "72"]),
        ("plot-runs.table", &["plot", "pubsweep1", "pubsweep5", "-k", "val_loss", "--height", "12", "--log"]),
        ("best.agent-mode", &["best", "val_loss", "-n", "3", "--agent"]),
        ("best-group.table", &["best", "val_loss", "-n", "3", "--group", "lr", "--format", "table"]),
        ("compare-two.table", &["compare", "pubsweep1", "pubsweep5", "--format", "table"]),
        ("compare-two.agent", &["compare", "pubsweep1", "pubsweep5", "--agent"]),
        ("compare-step.agent", &["compare", "pubsweep1", "pubnan001", "--at-step", "60", "--agent"]),
        ("compare-steps.agent", &["compare", "pubsweep1@60", "pubsweep5@100", "--agent"]),
        ("why.agent", &["why", "pubsweep1", "pubsweep5", "--agent"]),
        ("why.table", &["why", "pubdiverg", "pubclean1", "--format", "table"]),
        ("pareto.agent-mode", &["pareto", "val_loss", "grad_norm", "--min", "grad_norm", "--agent"]),
        ("seeds.agent-mode", &["seeds", "val_loss", "--agent"]),
        ("plot.csv", &["plot", "pubsweep1", "-k", "val_loss", "--format", "csv"]),
        (
            "plot.agent",
            &["plot", "pubsweep1", "pubsweep5", "-k", "val_loss", "--agent", "--max-tokens", "2000"],
        ),
    ] {
        // In the folder: the length of its name is not to count among the tokens.
        let mut command = runq();
        let output = command.current_dir(project.root()).arg("--no-refresh").args(args).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        check(name, &text, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
