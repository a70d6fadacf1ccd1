//! Commands about runs: their help, their answers, and what they say when they have none.

use crate::common::{Project, runq};
use runq::engine::canned::built_in;
use runq::store::Limits;
use serde_json::Value;
use std::process::Command;

pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

fn command(project: &Project, args: &[&str]) -> Command {
    let mut command = runq();
    command.current_dir(project.root()).args(args);
    command
}

pub fn run(project: &Project, args: &[&str]) -> Ran {
    let output = command(project, args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code().unwrap_or(-1) }
}

pub fn rows(project: &Project, args: &[&str]) -> Vec<Value> {
    let ran = run(project, &[args, &["--format", "jsonl"]].concat());
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn column(rows: &[Value], name: &str) -> Vec<String> {
    rows.iter().map(|row| crate::common::text(&row[name])).collect()
}

/// The lines below `Examples:` in the help of a command.
fn examples(project: &Project, command: &str) -> Vec<String> {
    let help = run(project, &[command, "--help"]).stdout;
    let below = help.split_once("Examples:\n").unwrap_or_else(|| panic!("no example: {help}")).1;
    let lines = below.lines().take_while(|line| line.starts_with("  "));
    lines.map(|line| line.trim().to_string()).collect()
}

#[test]
fn every_example_of_the_help_runs() {
    let project = Project::of("wandb").with_limits(Limits::default());
    let row = |step: i64| {
        format!(
            "{{\"step\": {step}, \"loss\": 2.5, \"val_loss\": 2.75, \"train/loss\": 1.5, \"grad_norm\": 1}}\n"
        )
    };
    project.write("training.jsonl", (0..120).map(row).collect::<String>());
    project.write("report.sql", "select count(*) from runs");
    project.refresh();
    let commands = built_in().iter().filter(|query| query.part_of.is_none()).map(|query| query.name.as_str());
    let others = [
        "schema",
        "sql",
        "plot",
        "code",
        "skill",
        "init",
        "completions",
        "man",
        "diagnose",
        "phases",
        "stop",
        "why",
    ];
    let all: Vec<String> = commands.chain(others).flat_map(|command| examples(&project, command)).collect();
    assert!(all.len() >= 30, "{all:?}");
    let tried = |example: &String| {
        let words = shlex::split(&example.replace("RUN", "pubclean1")).unwrap();
        let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let ran = run(&project, &words);
        (ran.code != 0).then(|| format!("{example}: {}", ran.stderr))
    };
    let (one, other) = all.split_at(all.len() / 2);
    let failed: Vec<String> = std::thread::scope(|scope| {
        let one = scope.spawn(|| one.iter().filter_map(tried).collect::<Vec<_>>());
        let other: Vec<String> = other.iter().filter_map(tried).collect();
        one.join().unwrap().into_iter().chain(other).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn runs_are_selected_by_columns_configuration_and_metrics() {
    let project = Project::of("wandb").with_limits(Limits::default());
    project.refresh();
    let ids = |args: &[&str]| column(&rows(&project, &[&["runs", "--no-refresh"], args].concat()), "run_id");
    assert_eq!(
        ids(&["--where", "lr >= 0.01 and state = 'finished'", "--sort", "lr"]),
        ["pubplatea", "puboverfi", "pubdiverg", "pubsweep4", "pubsweep5"]
    );
    assert_eq!(ids(&["--where", "val_loss < 1.3"]), ["pubsweep1"]);
    assert_eq!(ids(&["--where", "last(val/loss) > 3"]), ["pubdiverg"]);
    assert_eq!(ids(&["--sort", "-optim.lr", "-n", "1"]), ["pubsweep5"]);
    assert_eq!(ids(&["--tag", "baseline"]), ["pubclean1"]);
    // NaN is not above anything.
    assert!(
        !ids(&["--where", "last(train/loss) > 1000 or last(train/loss) < 1000"])
            .contains(&"pubnan001".to_string())
    );
    assert_eq!(ids(&["--since", "2026-11-20T17:55"]), ["publong01"]);
    assert_eq!(ids(&["--since", "2100-01-01"]), Vec::<String>::new());
    for (args, message, hint) in [
        (&["--where", "lrr < 1"][..], "no column of runs, configuration key or metric \"lrr\"", "\"lr\""),
        (&["--where", "lr <"], "cannot read \"lr <\"", ""),
        (&["--project", "tiny_lm"], "project \"tiny_lm\" not found", "\"tiny-lm\""),
        (&["--state", "finish"], "state \"finish\" not found", "\"finished\""),
        (&["--tag", "base"], "tag \"base\" not found", "\"baseline\""),
        (&["--since", "soon"], "\"soon\" is no time", "2d"),
        (&["-m", "acc"], "metric \"acc\" not found", "val/acc"),
    ] {
        let ran = run(&project, &[&["runs", "--no-refresh"], args].concat());
        assert!(
            ran.code > 0 && ran.stderr.contains(message) && ran.stderr.contains(hint),
            "{args:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn statistics_are_those_of_the_points() {
    let project = Project::empty();
    let row = |step: i64, value: String| format!("{{\"step\": {step}, \"loss\": {value}, \"lr\": 0.5}}\n");
    let line: String = (0..101).map(|step| row(step, format!("{}.0", 200 - step))).collect();
    project.write(
        "a.jsonl",
        line + &row(101, "NaN".into()) + &row(102, "Infinity".into()) + &row(103, "NaN".into()),
    );
    let stats = &rows(&project, &["stats", "a", "-k", "loss"])[0];
    for (name, want) in [
        ("count", 104.0),
        ("nan_count", 2.0),
        ("first_nan_step", 101.0),
        ("inf_count", 1.0),
        ("first_inf_step", 102.0),
        ("min", 100.0),
        ("p05", 105.0),
        ("p25", 125.0),
        ("median", 150.0),
        ("p75", 175.0),
        ("p95", 195.0),
        ("max", 200.0),
        ("mean", 150.0),
        ("slope", -1.0),
    ] {
        assert_eq!(stats[name].as_f64(), Some(want), "{name}: {stats}");
    }
    let all = rows(&project, &["stats", "a"]);
    assert_eq!(column(&all, "key"), ["loss", "lr"]);
    let unknown = run(&project, &["stats", "a", "-k", "los"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("did you mean \"loss\""), "{}", unknown.stderr);
}

#[test]
fn history_is_cut_out_in_many_ways() {
    let project = Project::empty();
    let row = |step: i64| {
        let val = if step % 10 == 0 { format!(", \"val_loss\": {step}.5") } else { String::new() };
        format!("{{\"step\": {step}, \"loss\": {step}.25{val}}}\n")
    };
    project.write("a.jsonl", (0..200).map(row).collect::<String>());
    let steps =
        |args: &[&str]| column(&rows(&project, &[&["history", "a"], args].concat()), "step").join(" ");
    assert_eq!(steps(&["--around", "50", "-n", "5"]), "48 49 50 51 52");
    assert_eq!(steps(&["--around", "0", "-n", "3"]), "0 1 2");
    assert_eq!(steps(&["--around", "50"]).split(' ').count(), 21);
    assert_eq!(steps(&["--tail", "3"]), "197 198 199");
    assert_eq!(steps(&["--every", "60"]), "0 60 120 180");
    assert_eq!(steps(&["--from", "5", "--to", "7"]), "5 6 7");
    assert_eq!(steps(&["--from", "5", "--to", "100", "--every", "50"]), "5 55");
    assert_eq!(steps(&["-k", "val_loss", "--tail", "2"]), "180 190");
    assert_eq!(steps(&["-n", "7"]).split(' ').count(), 7);
    assert_eq!(steps(&["--from", "11", "--to", "12", "-k", "val_loss,loss"]), "11 12");
    assert_eq!(steps(&["--from", "500"]), "");
    assert_eq!(run(&project, &["history", "a", "--tail", "3", "--every", "2"]).code, 2);
    let raw = rows(&project, &["history", "a", "--raw", "--to", "1"]);
    assert_eq!(column(&raw, "key"), ["loss", "loss", "val_loss"]);
    let named = Project::empty();
    named.write(
        "a.jsonl",
        "{\"step\": 1, \" nth\": 2.0, \"nth\": 3.0}\n{\"step\": 2, \" nth\": 2.0, \"nth\": 3.0}\n",
    );
    assert_eq!(run(&named, &["history", "a", "-k", "nth"]).stdout, "step,nth\n1,3\n2,3\n");
}

#[test]
fn points_of_an_earlier_start_are_there_with_raw() {
    let project = Project::of("wandb").with_limits(Limits::default());
    let raw = rows(&project, &["history", "pubresum1", "--raw", "-k", "train/loss"]);
    let superseded = raw.iter().filter(|row| row["superseded"] == true).count();
    let counts = rows(
        &project,
        &["sql", "select count(*) as n from metrics where run_id = 'pubresum1' and key = 'train/loss'"],
    );
    assert!(superseded > 0);
    assert_eq!(counts[0]["n"].as_u64(), Some((raw.len() - superseded) as u64));
}

#[test]
fn around_a_step_each_metric_shows_its_neighbours() {
    let project = Project::empty();
    project.write(
        "a.jsonl",
        "{\"step\": 1, \"loss\": 5, \"lr\": 1}\n{\"step\": 4, \"loss\": NaN}\n{\"step\": 6, \"loss\": 3}\n{\"step\": 9, \"lr\": 2}\n",
    );
    let at = rows(&project, &["at", "a", "5"]);
    let shown = |row: &Value| {
        ["key", "step", "value", "previous", "next_step", "next"]
            .map(|name| crate::common::text(&row[name]))
            .join(" ")
    };
    assert_eq!(at.iter().map(shown).collect::<Vec<_>>(), ["loss 4 NaN 5 6 3", "lr 1 1 null 9 2"]);
    assert_eq!(shown(&rows(&project, &["at", "a", "0", "-k", "lr"])[0]), "lr null null null 1 1");
    assert_eq!(run(&project, &["at", "a"]).code, 2);
}

#[test]
fn the_console_is_searched_and_cut() {
    let project = Project::of("wandb").with_limits(Limits::default());
    let lines = |args: &[&str]| column(&rows(&project, &[&["console", "pubcrash1"], args].concat()), "text");
    let all = lines(&[]);
    assert_eq!(lines(&["--tail", "2"]), all[all.len() - 2..]);
    assert_eq!(
        lines(&["--grep", "^runtimeERROR"]),
        ["RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB"]
    );
    let wrong = run(&project, &["console", "pubcrash1", "--grep", "E(R"]);
    assert!(wrong.code == 1 && wrong.stderr.to_lowercase().contains("regex"), "{}", wrong.stderr);
}

#[test]
fn a_text_is_found_wherever_it_is() {
    let project = Project::of("wandb").with_limits(Limits::default());
    let found = rows(&project, &["find", "OUT OF MEMORY", "-n", "1"]);
    assert_eq!(
        (column(&found, "run_id"), column(&found, "place")),
        (vec!["pubcrash1".into()], vec!["console".into()])
    );
    let adam = rows(&project, &["find", "adamw"]);
    assert_eq!(adam.len(), 20);
    assert!(column(&adam, "text").iter().all(|text| text == "optim.name = adamw"));
    assert_eq!(rows(&project, &["find", "no such thing"]).len(), 0);
}

#[test]
fn noise_that_grows_is_told() {
    let project = Project::empty();
    let noise =
        |step: i64| ((step * 7919 % 1000) as f64 / 1000.0 - 0.5) * if step < 200 { 0.01 } else { 1.0 };
    let row = |step: i64| {
        format!("{{\"step\": {step}, \"loss\": {}, \"flat\": 2.0, \"few\": NaN}}\n", 3.0 + noise(step))
    };
    project.write("a.jsonl", (0..400).map(row).collect::<String>());
    let stability = rows(&project, &["stability", "a"]);
    let verdicts: Vec<_> = column(&stability, "key").into_iter().zip(column(&stability, "verdict")).collect();
    assert_eq!(verdicts, [("flat".into(), "steady".into()), ("loss".into(), "noisier".to_string())]);
    assert!(stability[1]["noise_max_step"].as_i64() > Some(200), "{}", stability[1]);
    assert_eq!(run(&project, &["stability", "a", "-w", "0"]).code, 2);
}

/// The same questions where logs of many formats lie in one folder.
#[test]
fn commands_answer_over_a_folder_of_many_formats() {
    let project = crate::mixed::project().with_limits(Limits::default());
    project.refresh();
    let overview = rows(&project, &["overview", "--no-refresh"]);
    let value =
        |fact: &str| crate::common::text(&overview.iter().find(|row| row["fact"] == fact).unwrap()["value"]);
    let counted = &project.ask("select count(*) as n from runs where duplicate_of is null")[0]["n"];
    assert_eq!(value("runs"), counted.to_string());
    let listed = rows(&project, &["runs", "--no-refresh"]);
    let sql = "select run_id from runs where duplicate_of is null and run_id in (select run_id from summary where count > 0 and not starts_with(key, 'system/'))";
    let with_metric =
        listed.iter().filter(|row| !row["metric"].is_null() && !row["course"].is_null()).count();
    assert_eq!(with_metric, project.ask(sql).len());
    for source in
        ["wandb", "trackio", "mlflow", "exprag", "dvclive", "sacred", "mmengine", "csv", "jsonl", "console"]
    {
        let sql = format!(
            "select run_id from runs where source = '{source}' and metric_count > 1 and duplicate_of is null order by point_count desc limit 1"
        );
        let run_id = project.column(&sql).remove(0);
        let stats = rows(&project, &["stats", &run_id, "--no-refresh"]);
        let sql = format!("select count(*) as n from summary where run_id = '{run_id}' and count > 0");
        assert_eq!(stats.len() as u64, project.ask(&sql)[0]["n"].as_u64().unwrap(), "{source}");
        let history = run(&project, &["history", &run_id, "--agent", "--no-refresh"]);
        assert!(history.code == 0 && history.stdout.starts_with("step,"), "{source}: {}", history.stderr);
    }
}

#[test]
fn curves_are_drawn_into_files() {
    let project = Project::of("wandb").with_limits(Limits::default());
    project.refresh();
    let plot = |args: &[&str]| run(&project, &[&["plot", "--no-refresh"], args].concat());
    for (file, begin) in [("a.png", &b"\x89PNG"[..]), ("a.svg", b"<svg"), ("a.html", b"<!doctype html>")] {
        let drawn = plot(&["pubnan001", "pubclean1", "-k", "train_loss,val_loss", "--log", "-o", file]);
        assert_eq!((drawn.code, drawn.stdout.as_str()), (0, ""), "{}", drawn.stderr);
        assert!(std::fs::read(project.root().join(file)).unwrap().starts_with(begin), "{file}");
    }
    let svg = std::fs::read_to_string(project.root().join("a.svg")).unwrap();
    for label in ["pubnan001 train/loss", "pubclean1 val/loss", "step"] {
        assert!(svg.contains(label), "{label}");
    }
    let points = plot(&["pubclean1", "-k", "val_loss", "-o", "points.csv"]);
    let written = std::fs::read_to_string(project.root().join("points.csv")).unwrap();
    assert!(
        points.code == 0 && written.starts_with("run_id,key,step,value\npubclean1,val/loss,0,4.3158"),
        "{written}"
    );
    for (args, message) in [
        (&["pubclean1", "-k", "val_los"][..], "did you mean \"val/loss\""),
        (&["nobody"], "run \"nobody\" not found"),
        (&["pubclean1", "-k", "train/loss,system/cpu"], "the steps of these metrics mean index and step"),
        (&["pubclean1", "-o", "a.gif"], "tells no format"),
    ] {
        let failed = plot(args);
        assert!(failed.code > 0 && failed.stderr.contains(message), "{args:?}: {}", failed.stderr);
    }
}
