//! A command and its output.

use crate::common::Project;
use std::process::{Command, Output, Stdio};

struct Ran {
    stdout: String,
    stderr: String,
    code: i32,
}

fn command(project: &Project, args: &[&str]) -> Command {
    let mut command = crate::common::runq();
    command.arg("-C").arg(project.root()).args(args);
    command.env_remove("RUNQ_CACHE").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn ran(output: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code().unwrap_or(-1) }
}

fn run(project: &Project, args: &[&str]) -> Ran {
    ran(command(project, args).output().unwrap())
}

fn lines(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().collect()
}

#[test]
fn best_ranks_runs_by_their_best_value() {
    let project = Project::of("jsonl");
    let best = run(&project, &["best", "val_loss", "-n", "3"]);
    assert_eq!(best.code, 0, "{}", best.stderr);
    let rows = lines(&best);
    assert!(rows[0].starts_with("run_id,name,metric,goal,best,best_step"), "{}", rows[0]);
    assert_eq!(rows.len(), 4, "{}", best.stdout);
    assert!(rows[1].contains(",run_4,val_loss,min,1.2343922027880803,"), "{}", best.stdout);
    let id = run(&project, &["best", "val_loss", "--id-only"]);
    assert_eq!(id.stdout.trim(), rows[1].split(',').next().unwrap());
    let wandb = Project::of("wandb");
    let acc = run(&wandb, &["best", "val/acc", "--max", "-n", "1", "--format", "jsonl"]);
    let row: serde_json::Value = serde_json::from_str(&acc.stdout).unwrap();
    let top = &wandb
        .ask("select run_id, max, max_step from summary where key = 'val/acc' order by max desc limit 1")[0];
    assert_eq!(
        (&row["run_id"], &row["best"], &row["best_step"]),
        (&top["run_id"], &top["max"], &top["max_step"])
    );
}

#[test]
fn nan_never_wins() {
    let project = Project::empty();
    project.write(
        "nan/train.jsonl",
        "{\"step\": 0, \"val_loss\": NaN}\n{\"step\": 1, \"val_loss\": -Infinity}\n",
    );
    project.write("late/train.jsonl", "{\"step\": 0, \"val_loss\": 0.5}\n{\"step\": 1, \"val_loss\": NaN}\n");
    project.write("good/train.jsonl", "{\"step\": 0, \"val_loss\": 0.9}\n{\"step\": 1, \"val_loss\": 0.4}\n");
    let best = run(&project, &["best", "val_loss"]);
    let rows = lines(&best);
    assert!(rows[1].contains(",good,") && rows[2].contains(",late,"), "{}", best.stdout);
    assert!(!best.stdout.contains("nan,val_loss"), "{}", best.stdout);
    assert!(best.stderr.contains('1'), "the run left out is counted: {}", best.stderr);
    let max = run(&project, &["sql", "select max(value) from metrics"]);
    assert!(
        max.stderr.contains("NaN in max(") && max.stderr.contains("max(finite(value))"),
        "{}",
        max.stderr
    );
}

#[test]
fn an_unknown_goal_asks_and_an_unknown_metric_names_the_nearest() {
    let project = Project::of("jsonl");
    let goal = run(&project, &["best", "grad_norm"]);
    assert_eq!(goal.code, 2);
    assert!(goal.stderr.contains("--min") && goal.stderr.contains("--max"), "{}", goal.stderr);
    let metric = run(&project, &["best", "val_los"]);
    assert_eq!(metric.code, 1);
    assert!(metric.stderr.starts_with("error: ") && metric.stderr.contains("val_loss"), "{}", metric.stderr);
    let run_id = run(&project, &["show", "ovrfit"]);
    assert_eq!(run_id.code, 1);
    assert!(
        run_id.stderr.contains("run \"ovrfit\" not found") && run_id.stderr.contains("overfit"),
        "{}",
        run_id.stderr
    );
}

#[test]
fn sql_errors_name_the_nearest_and_exit_with_1() {
    let project = Project::of("jsonl");
    for (sql, message, hint) in [
        ("select * from metrcs", "metrcs", "metrics"),
        ("select stpe from metrics", "stpe", "step"),
        ("select lttbb(step, value, 3) from metrics", "lttbb", "lttb"),
    ] {
        let failed = run(&project, &["sql", sql]);
        assert_eq!(failed.code, 1, "{sql}");
        assert!(failed.stderr.contains(message) && failed.stderr.contains(hint), "{sql}: {}", failed.stderr);
        assert!(failed.stdout.is_empty());
    }
    let usage = run(&project, &["sql", "drop table runs"]);
    assert_eq!(usage.code, 2, "{}", usage.stderr);
    assert_eq!(run(&project, &["nonsense"]).code, 2);
}

#[test]
fn history_takes_a_run_keys_and_a_number_of_rows() {
    let project = Project::of("jsonl");
    let sampled = run(&project, &["history", "long", "-k", "loss", "-n", "500"]);
    assert_eq!(sampled.code, 0, "{}", sampled.stderr);
    assert_eq!(lines(&sampled)[0], "step,loss");
    assert_eq!(lines(&sampled).len(), 501);
    let whole = run(&project, &["history", "clean", "-k", "train_loss,val_loss"]);
    assert_eq!(lines(&whole).len(), 401, "{}", whole.stderr);
    assert_eq!(lines(&whole)[1], "0,3.1780538303239463,2.935068477905719");
    let single = project.root().join("overfit.jsonl");
    let output = crate::common::runq()
        .arg("-C")
        .arg(single)
        .args(["history", "-k", "loss", "-n", "5"])
        .output()
        .unwrap();
    assert_eq!(lines(&ran(output)).len(), 6);
}

#[test]
fn history_takes_names_that_hold_a_comma() {
    let project = Project::empty();
    let row = |step: i64| {
        format!("{{\"step\": {step}, \"loss\": 1.5, \"p,q\": {step}.5, \"p\": 0.25, \"\\\"r\\\"\": 2}}\n")
    };
    project.write("a/train.jsonl", (0..3).map(row).collect::<String>());
    for (keys, header) in [
        (&["-k", "p,q"][..], "step,\"p,q\""),
        (&["-k", "p,q", "-k", "loss,p"], "step,\"p,q\",loss,p"),
        (&["-k", "p", "-k", "\"r\""], "step,p,\"\"\"r\"\"\""),
    ] {
        let history = run(&project, &[&["history", "a"], keys].concat());
        assert_eq!(lines(&history)[0], header, "{}", history.stderr);
        assert_eq!(lines(&history).len(), 4);
        let shown = run(&project, &[&["history", "a"], keys, &["--show-sql"]].concat());
        let again = run(&project, &["sql", shown.stdout.trim().trim_end_matches(';')]);
        assert_eq!(again.stdout, history.stdout, "{}{}", shown.stdout, again.stderr);
    }
    let sql = "select * from history('a', '\"p,q\", loss', 2)";
    assert_eq!(lines(&run(&project, &["sql", sql]))[0], "step,\"p,q\",loss");
    assert_eq!(run(&project, &["history", "a", "-k", "q"]).code, 1);
}

#[test]
fn show_runs_keys_and_schema() {
    let project = Project::of("wandb");
    let runs = run(&project, &["runs", "--format", "jsonl"]);
    assert_eq!(lines(&runs).len(), 20, "{}", runs.stderr);
    let list = run(&project, &["list", "--state", "failed", "--format", "jsonl"]);
    assert_eq!(lines(&list).len(), 1, "{}{}", list.stdout, list.stderr);
    let show = run(&project, &["show", "pubclean1"]);
    assert!(show.stdout.contains("val/loss") && show.stdout.contains('↓'), "{}{}", show.stdout, show.stderr);
    let facts = run(&project, &["show", "pubclean1", "--format", "table"]);
    assert!(
        facts.stdout.contains("baseline-lr3e-4") && facts.stdout.contains("finished"),
        "{}",
        facts.stdout
    );
    let latest = run(&project, &["latest"]);
    assert_eq!(latest.code, 0, "{}", latest.stderr);
    let keys = run(&project, &["keys"]);
    assert!(keys.stdout.contains("train/loss"), "{}", keys.stdout);
    let schema = run(&project, &["schema"]);
    for table in [
        "runs",
        "configs",
        "metrics",
        "metrics_raw",
        "summary",
        "texts",
        "alerts",
        "phases",
        "console",
        "inputs",
        "run_inputs",
        "problems",
    ] {
        assert!(schema.stdout.lines().any(|line| line.starts_with(table)), "{table}: {}", schema.stdout);
    }
    // Roughly 4 bytes a token in text of this kind.
    assert!(schema.stdout.len() < 2_200, "{} bytes", schema.stdout.len());
}

#[test]
fn show_sql_prints_what_answers_ready_to_run() {
    let project = Project::of("jsonl");
    for args in [
        &["best", "val_loss", "-n", "3"][..],
        &["show", "overfit"],
        &["keys"],
        &["runs"],
        &["history", "long", "-k", "loss", "-n", "9"],
    ] {
        let plain = run(&project, args);
        let shown = run(&project, &[args, &["--show-sql"]].concat());
        assert_eq!(shown.code, 0, "{args:?}: {}", shown.stderr);
        let again = run(&project, &["sql", shown.stdout.trim().trim_end_matches(';')]);
        assert_eq!(again.stdout, plain.stdout, "{args:?}\n{}\n{}", shown.stdout, again.stderr);
    }
}

#[test]
fn every_format_holds_the_same_rows() {
    let project = Project::of("jsonl");
    let sql = ["sql", "select key, count(*) as n from metrics group by key order by key"];
    let rows = lines(&run(&project, &sql)).len() - 1;
    for format in ["table", "csv", "tsv", "json", "jsonl", "md"] {
        let out = run(&project, &[&sql[..], &["--format", format]].concat());
        assert_eq!(out.code, 0, "{format}: {}", out.stderr);
        assert!(out.stdout.matches("loss").count() >= 2, "{format}: {}", out.stdout);
    }
    let json = run(&project, &[&sql[..], &["--format", "json"]].concat());
    let parsed: Vec<serde_json::Value> = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(parsed.len(), rows);
    for (name, magic) in [("out.parquet", &b"PAR1"[..]), ("out.arrow", &b"\xff\xff\xff\xff"[..])] {
        let file = project.root().join(name);
        let out = run(&project, &[&sql[..], &["-o", file.to_str().unwrap()]].concat());
        assert_eq!((out.code, out.stdout.as_str()), (0, ""), "{}", out.stderr);
        assert!(std::fs::read(file).unwrap().starts_with(magic), "{name}");
    }
}

#[test]
fn no_refresh_does_not_look_and_says_when_there_is_no_cache() {
    let project = Project::of("jsonl");
    let none = run(&project, &["runs", "--no-refresh"]);
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("no cache") && none.stderr.contains("hint: "), "{}", none.stderr);
    assert!(!project.root().join(".runq").exists());
    let before = lines(&run(&project, &["runs"])).len();
    project.write("new/train.jsonl", "{\"step\": 0, \"loss\": 1}\n{\"step\": 1, \"loss\": 0.5}\n");
    assert_eq!(lines(&run(&project, &["runs", "--no-refresh"])).len(), before);
    assert_eq!(lines(&run(&project, &["runs"])).len(), before + 1);
}

#[test]
fn a_missing_folder_and_an_empty_one() {
    let project = Project::empty();
    let missing = ran(crate::common::runq().args(["-C", "/no/such/folder", "runs"]).output().unwrap());
    assert_eq!(missing.code, 1);
    assert_eq!(
        missing.stderr.lines().filter(|line| line.starts_with("error")).count(),
        1,
        "{}",
        missing.stderr
    );
    let empty = run(&project, &["runs"]);
    assert_eq!(empty.code, 0, "{}", empty.stderr);
    let best = run(&project, &["best", "val_loss"]);
    assert_eq!(best.code, 1);
    assert!(best.stderr.contains("val_loss"), "{}", best.stderr);
}

#[test]
fn files_lists_what_counts_and_refresh_explains() {
    let project = Project::of("jsonl");
    let files = run(&project, &["files", "metrics", "--format", "jsonl"]);
    let rows: Vec<serde_json::Value> =
        files.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!rows.is_empty(), "{}", files.stderr);
    assert!(rows.iter().all(|row| std::path::Path::new(row["path"].as_str().unwrap()).is_file()));
    let views = run(&project, &["files", "--duckdb"]);
    assert!(views.stdout.contains("create or replace view metrics as"), "{}", views.stdout);
    project.write("prices.csv", "date,open,close\n2024-01-01,1,2\n2024-01-02,2,3\n");
    let explain = run(&project, &["refresh", "--explain", "--format", "csv"]);
    assert!(explain.stdout.contains("overfit.jsonl,taken"), "{}{}", explain.stdout, explain.stderr);
    assert!(explain.stdout.contains("prices.csv,left"), "{}", explain.stdout);
}

#[test]
fn a_closed_pipe_is_success() {
    let project = Project::of("jsonl");
    let mut child = command(&project, &["sql", "select * from metrics"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn own_queries_become_commands() {
    let project = Project::of("jsonl");
    run(&project, &["refresh"]);
    project.write(
        ".runq/queries/worst.sql",
        "-- summary: Rank runs by their worst value\n-- param: metric metric positional  Metric\n-- param: limit integer -n = 2  Rows\n-- column: run_id  run\n-- column: max  worst value\n-- example: runq worst loss\n\nselect run_id, max from summary where key = $metric order by max desc, run_id limit $limit\n",
    );
    let worst = run(&project, &["worst", "val_loss"]);
    assert_eq!(worst.code, 0, "{}", worst.stderr);
    assert_eq!(lines(&worst).len(), 3);
    for help in [&["--help"][..], &["-h"], &["help"]] {
        let help = run(&project, help);
        assert_eq!(help.code, 0, "{}", help.stderr);
        assert!(
            help.stdout.contains("worst") && help.stdout.contains("Rank runs by their worst value"),
            "{}",
            help.stdout
        );
    }
    assert!(run(&project, &["worst", "--help"]).stdout.contains("runq worst loss"));
    assert!(run(&project, &["help", "worst"]).stdout.contains("runq worst loss"));
}

#[test]
fn help_names_every_command_and_its_example() {
    let project = Project::empty();
    let help = run(&project, &["--help"]);
    for command in ["runs", "show", "best", "history", "keys", "schema", "sql", "refresh", "files"] {
        assert!(help.stdout.contains(command), "{command}");
        let own = run(&project, &[command, "--help"]);
        assert!(own.code == 0 && own.stdout.contains("runq"), "{command}: {}", own.stdout);
    }
    assert!(!project.root().join(".runq").exists());
}

#[test]
fn mistakes_in_sql_keep_their_cause() {
    let project = Project::of("jsonl");
    for (sql, cause) in [
        ("select lttb(step, value, 2) from metrics", "at least 3"),
        ("select cast('a' as int)", "'a'"),
        ("select * from metrics where step > 'abc'", "abc"),
    ] {
        let failed = run(&project, &["sql", sql]);
        assert_eq!(failed.code, 1, "{sql}");
        assert!(
            failed.stderr.contains(cause) && !failed.stderr.contains("Optimizer rule"),
            "{sql}: {}",
            failed.stderr
        );
    }
    assert_eq!(run(&project, &["best", "val_loss", "-n", "-1"]).code, 2);
}

#[test]
fn the_best_run_is_the_same_by_every_way_to_ask() {
    let project = Project::empty();
    let row = |step: i64, loss: f64| format!("{{\"step\": {step}, \"loss\": {loss}}}\n");
    for (name, at) in [("late", 7), ("early", 3), ("later", 9)] {
        let rows: String = (0..10).map(|step| row(step, if step == at { 1.0 } else { 2.0 })).collect();
        project.write(&format!("{name}/train.jsonl"), rows);
    }
    let best = run(&project, &["best", "loss", "--id-only"]).stdout;
    let facts = run(&project, &["facts", "@best:loss", "--format", "jsonl"]);
    assert!(facts.stdout.contains(best.trim()) && facts.stdout.contains("early"), "{best}{}", facts.stdout);
    let first = run(&project, &["runs", "-n", "1"]);
    let latest = run(&project, &["facts", "@latest", "--format", "jsonl"]);
    assert!(
        latest.stdout.contains(lines(&first)[1].split(',').next().unwrap()),
        "{}{}",
        first.stdout,
        latest.stdout
    );
}

#[test]
fn logs_with_very_long_lines_are_read() {
    let project = Project::empty();
    let keys: String = (0..3_000).map(|key| format!(", \"layers.{key}.norm\": {key}.5")).collect();
    let row = |step: i64| format!("{{\"step\": {step}, \"loss\": 1.5{keys}}}\n");
    project.write("wide.jsonl", (0..4).map(row).collect::<String>());
    let counts = run(&project, &["sql", "select count(*) as n, count(distinct key) as k from metrics"]);
    assert_eq!(counts.stdout, "n,k\n12004,3001\n", "{}", counts.stderr);
}

#[test]
fn a_query_of_ones_own_that_is_wrong_is_told() {
    let project = Project::of("jsonl");
    project.write(".runq/queries/bad.sql", "-- summry: x\nselect 1\n");
    let runs = run(&project, &["runs"]);
    assert!(runs.code == 0 && runs.stderr.contains("bad.sql"), "{}", runs.stderr);
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_a_query_that_never_pauses() {
    let project = Project::of("jsonl");
    run(&project, &["refresh"]);
    let sql = "select count(*) from generate_series(1,1000000) a cross join generate_series(1,1000000) b where (a.value*b.value)%7=3";
    let mut child =
        command(&project, &["sql", sql]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_metric_may_be_asked_for_by_another_spelling() {
    let project = Project::of("wandb");
    let exact = run(&project, &["best", "val/loss", "-n", "1"]);
    for word in ["val_loss", "Loss.Valid", "eval/loss"] {
        let best = run(&project, &["best", word, "-n", "1"]);
        assert_eq!((best.code, &best.stdout), (0, &exact.stdout), "{}", best.stderr);
        assert!(
            best.stderr.contains(&format!("no metric \"{word}\": taken for \"val/loss\"")),
            "{}",
            best.stderr
        );
    }
    let same = run(&project, &["show", "@best:val_loss"]);
    assert!(same.code == 0 && same.stderr.contains("taken for \"val/loss\""), "{}", same.stderr);
    let history = run(&project, &["history", "@best:val/loss", "-k", "eval_loss"]);
    assert!(history.stdout.starts_with("step,val/loss\n"), "{}", history.stdout);
    assert!(history.stderr.contains("taken for \"val/loss\""), "{}", history.stderr);
    let forms = "select distinct key from summary where normal_key(key) = normal_key('loss_val')";
    assert_eq!(run(&project, &["sql", forms]).stdout, "key\nval/loss\n");
}

#[test]
fn each_run_is_ranked_by_its_own_spelling() {
    let project = Project::empty();
    let rows = |keys: &[&str], base: f64| -> String {
        let values =
            |i: usize| keys.iter().map(|key| format!(", \"{key}\": {}", base + i as f64)).collect::<String>();
        (0..3).map(|i| format!("{{\"step\": {i}{}}}\n", values(i))).collect()
    };
    project.write("a.jsonl", rows(&["val_loss"], 0.3));
    project.write("b.jsonl", rows(&["val/loss"], 0.2));
    project.write("c.jsonl", rows(&["eval_loss"], 0.1));
    project.write("both.jsonl", rows(&["eval_loss", "val/loss"], 0.05));
    let best = run(&project, &["best", "val_loss"]);
    let names: Vec<&str> = lines(&best)[1..].iter().map(|line| line.split(',').nth(2).unwrap()).collect();
    assert_eq!(names, ["eval_loss", "val/loss", "val_loss"], "{}", best.stderr);
    let note = "\"val_loss\" is \"eval_loss\" in 1 run, \"val/loss\" in 1 run";
    assert!(best.stderr.contains(note), "{}", best.stderr);
    assert!(best.stderr.contains("1 run left out: more than one metric is written like"), "{}", best.stderr);
    // The same where no run has it by this name, and by the run it names.
    let other = run(&project, &["best", "valid_loss", "--id-only"]);
    let shown = run(&project, &["runs", "--format", "csv"]);
    assert_eq!(other.stdout, run(&project, &["best", "val_loss", "--id-only"]).stdout, "{}", other.stderr);
    let facts = run(&project, &["facts", "@best:val_loss", "--format", "jsonl"]);
    assert!(facts.stdout.contains(other.stdout.trim()), "{}{}", facts.stdout, shown.stdout);
    // SQL keeps the names as they were written.
    let sql = "select count(*) from summary where key = 'val_loss'";
    assert_eq!(run(&project, &["sql", sql]).stdout.lines().last(), Some("1"));
}

#[test]
fn what_only_a_hidden_copy_logged_is_not_ranked_by() {
    let project = Project::empty();
    let value = |i: usize| 2.5 / (i + 1) as f64;
    let csv: String = (0..6).map(|i| format!("{i},{}\n", value(i))).collect();
    project.write("exp/metrics.csv", format!("step,val/loss\n{csv}"));
    let printed: String = (0..6).map(|i| format!("step {i} val_loss {:.4}\n", value(i))).collect();
    project.write("exp/out.log", printed);
    let best = run(&project, &["best", "val_loss"]);
    assert_eq!(best.code, 0, "{}", best.stderr);
    assert_eq!(lines(&best).len(), 2, "{}", best.stdout);
    assert!(best.stdout.contains(",val/loss,"), "{}", best.stdout);
    assert!(best.stderr.contains("taken for \"val/loss\""), "{}", best.stderr);
}

#[test]
fn a_spelling_that_two_metrics_share_names_both() {
    let project = Project::empty();
    let rows =
        |key: &str| (0..3).map(|i| format!("{{\"step\": {i}, \"{key}\": 0.{i}}}\n")).collect::<String>();
    project.write("a.jsonl", rows("val_loss"));
    project.write("b.jsonl", rows("val/loss"));
    project.write(".runq/queries/own.sql", "-- summary: One\n-- param: m metric positional  Metric\n-- column: n  n\nselect count(*) as n from summary where key = $m\n");
    let own = run(&project, &["own", "eval_loss"]);
    assert_eq!(own.code, 1, "{}", own.stdout);
    assert!(own.stderr.contains("metric \"eval_loss\" not found, and 2 are named so"), "{}", own.stderr);
    assert!(own.stderr.contains("it may be val/loss, val_loss"), "{}", own.stderr);
    assert_eq!(run(&project, &["own", "val_loss"]).stdout, "n\n1\n", "its own name is enough");
}
