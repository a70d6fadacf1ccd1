//! SQL over the tables: what reaches the files, NaN, read-only, functions.

use crate::common::{Project, ask};
use runq::store::Limits;

fn plan(project: &Project, sql: &str) -> String {
    let rows = ask(&project.open(), &format!("explain {sql}")).unwrap();
    let physical = rows.iter().find(|row| row["plan_type"] == "physical_plan").unwrap();
    physical["plan"].as_str().unwrap().to_string()
}

fn curves(runs: usize, steps: i64) -> Project {
    let project =
        Project::empty().with_limits(Limits { partitions: Some(3), small_rows: 0, ..Limits::default() });
    for run in 0..runs {
        let line = |step: i64| {
            format!("{{\"step\": {step}, \"loss\": {}, \"acc\": {}}}\n", run as i64 + step, -step)
        };
        project.write(&format!("run_{run}/train.jsonl"), (0..steps).map(line).collect::<String>());
        project.refresh();
    }
    project
}

fn files_scanned(plan: &str) -> usize {
    plan.matches(".parquet").count()
}

#[test]
fn predicates_on_run_key_and_step_reach_the_files() {
    let project = curves(4, 300);
    let ids = project.column("select run_id from runs order by run_id");
    let all = plan(&project, "select value from metrics");
    assert_eq!(files_scanned(&all), 4, "{all}");
    let one = plan(&project, &format!("select value from metrics where run_id = '{}'", ids[0]));
    assert_eq!(files_scanned(&one), 1, "{one}");
    let none = plan(&project, "select value from metrics where step > 300");
    assert_eq!(files_scanned(&none), 0, "{none}");
    let key = plan(&project, "select value from metrics where key = 'loss' and step between 10 and 20");
    assert!(
        key.contains("predicate=key") || key.contains("predicate=") && key.contains("pruning_predicate="),
        "{key}"
    );
    let unknown = plan(&project, "select value from metrics where key = 'zzz'");
    assert_eq!(files_scanned(&unknown), 0, "{unknown}");
}

#[test]
fn files_without_rows_of_a_run_are_not_opened() {
    let project = Project::empty().with_limits(Limits { small_rows: 0, ..Limits::default() });
    for half in ["a", "b"] {
        (0..8).for_each(|run| {
            project.write(&format!("{half}_{run}/train.jsonl"), "{\"step\": 1, \"loss\": 2}\n")
        });
        project.refresh();
    }
    // Ids say nothing of the order in which the runs came: bounds on them rule out neither file.
    let ids = project.column("select run_id from runs order by path");
    let scanned =
        |filter: &str| files_scanned(&plan(&project, &format!("select value from metrics where {filter}")));
    ids.iter().for_each(|id| assert_eq!(scanned(&format!("run_id = '{id}'")), 1));
    assert_eq!(scanned(&format!("run_id in ('{}', '{}')", ids[0], ids[1])), 1);
    assert_eq!(scanned(&format!("run_id in ('{}', '{}')", ids[0], ids[15])), 2);
    assert_eq!(scanned(&format!("run_id <> '{}'", ids[0])), 2);
    assert_eq!(scanned("run_id = 'zzz'"), 0);
    let count = format!("select count(*) from metrics where run_id in ('{}', '{}')", ids[0], ids[15]);
    assert_eq!(project.column(&count), ["2"]);
}

#[test]
fn a_query_that_touches_no_overlap_has_no_extra_filter_or_sort() {
    let project = curves(1, 300);
    let id = &project.column("select run_id from runs")[0];
    let sql = format!("select step, value from metrics where run_id = '{id}' and key = 'loss' order by step");
    let clean = plan(&project, &sql);
    assert!(!clean.contains("SortExec") && !clean.contains("Window") && !clean.contains("Join"), "{clean}");
    let full = plan(&project, "select step, value from metrics");
    assert!(!full.contains("FilterExec"), "{full}");
    // After a resume the plan is the same: the rows that do not count are never read.
    project.append("run_0/train.jsonl", "{\"step\": 100, \"loss\": 0.5}\n{\"step\": 101, \"loss\": 0.25}\n");
    project.refresh();
    let resumed = plan(&project, &sql);
    assert!(
        !resumed.contains("Window") && !resumed.contains("Join") && !resumed.contains("Aggregate"),
        "{resumed}"
    );
    assert_eq!(project.column(&format!("select value from metrics where run_id = '{id}' and key = 'loss' and step in (100, 101) order by step")), ["0.5", "0.25"]);
    assert_eq!(project.column("select count(*) from metrics where key = 'loss'"), ["300"]);
}

#[test]
fn nan_is_never_lost_in_statistics() {
    let project = Project::empty();
    let values = ["1", "NaN", "1", "1", "Infinity", "-Infinity", "7"];
    let line = |(i, v): (usize, &&str)| format!("{{\"step\": {i}, \"loss\": {v}}}\n");
    project.write("train.jsonl", values.iter().enumerate().map(line).collect::<String>());
    project.refresh();
    let one = |sql: &str| project.column(sql)[0].clone();
    assert_eq!(
        project.column("select value from metrics order by step"),
        ["1", "NaN", "1", "1", "Infinity", "-Infinity", "7"]
    );
    assert_eq!(one("select count(*) from metrics where isnan(value)"), "1");
    assert_eq!(one("select count(*) from metrics where isnan(value) and step >= 1"), "1");
    assert_eq!(one("select max(value) from metrics"), "NaN");
    assert_eq!(one("select max(value) from metrics where step < 4"), "NaN");
    assert_eq!(one("select max(finite(value)) from metrics"), "7");
    assert_eq!(one("select min(finite(value)) from metrics where step > 0"), "1");
    assert_eq!(
        one("select count(*) from metrics where value > 5"),
        "3",
        "7, Infinity, and NaN which sorts last"
    );
    assert_eq!(one("select count(*) from metrics where value > 5 and step > 1"), "2");
    let summary =
        &project.ask("select count, nan_count, inf_count, min, max, best, mean, last from summary")[0];
    assert_eq!(summary["count"], 7);
    assert_eq!((&summary["nan_count"], &summary["inf_count"]), (&1.into(), &2.into()));
    assert_eq!(
        (&summary["min"], &summary["max"], &summary["best"], &summary["mean"]),
        (&1.into(), &7.into(), &1.into(), &2.5.into())
    );
}

#[test]
fn only_statements_that_read_are_run() {
    let project = curves(1, 10);
    let workspace = project.open();
    for sql in [
        "create table t as select 1",
        "create view v as select 1",
        "drop table metrics",
        "insert into runs values (1)",
        "delete from runs",
        "update runs set name = 'x'",
        "copy runs to 'x.csv'",
        "explain analyze copy runs to 'x.csv'",
        "set datafusion.execution.batch_size = 1",
        "create external table t stored as csv location 'x.csv'",
        "select 1; select 2",
    ] {
        assert!(ask(&workspace, sql).is_err(), "{sql}");
    }
    for sql in ["select * from '/etc/passwd'", "select input_file_name()", "select * from read_csv('x')"] {
        assert!(ask(&workspace, sql).is_err(), "{sql}");
    }
    for sql in [
        "select 1",
        "with t as (select 1 as x) select x from t",
        "explain select 1",
        "show tables",
        "describe runs",
    ] {
        assert!(!ask(&workspace, sql).unwrap().is_empty(), "{sql}");
    }
}

#[test]
fn tables_join() {
    let project = Project::of("jsonl");
    project.refresh();
    let rows = project.ask(
        "select r.name, c.number as lr, s.best, m.value, m.step
         from runs r
         join configs c on c.run_id = r.run_id and c.key = 'lr'
         join summary s on s.run_id = r.run_id and s.key = 'val_loss'
         join metrics m on m.run_id = r.run_id and m.key = s.key and m.step = s.best_step
         where starts_with(r.path, 'sweep/') order by s.best",
    );
    assert_eq!(rows.len(), 6);
    assert_eq!((&rows[0]["name"], &rows[0]["lr"]), (&"run_4".into(), &0.01.into()));
    assert!(rows.iter().all(|row| row["best"] == row["value"]));
}

#[test]
fn each_function_answers_over_real_curves() {
    let project = Project::of("jsonl");
    project.refresh();
    let one = |sql: &str| project.column(sql)[0].clone();
    let on = |name: &str, key: &str| {
        format!("from metrics join runs using (run_id) where runs.name = '{name}' and key = '{key}'")
    };
    let points = one(&format!("select cardinality(lttb(step, value, 100)) {}", on("long", "loss")));
    assert_eq!(points, "100");
    let m4: i64 =
        one(&format!("select cardinality(m4(step, value, 50)) {}", on("long", "loss"))).parse().unwrap();
    assert!((100..=201).contains(&m4), "{m4}");
    assert_eq!(
        one(&format!("select cardinality(minmax_lttb(step, value, 100)) {}", on("long", "loss"))),
        "100"
    );
    let spark = one(&format!("select sparkline(step, value, 8) {}", on("overfit", "loss")));
    assert!(spark.ends_with(" ↓") && spark.chars().count() == 10, "{spark}");
    assert!(one(&format!("select sparkline(step, value) {}", on("nan", "loss"))).contains('×'));
    let best = &project.ask(
        "select min_step from summary join runs using (run_id) where name = 'long' and key = 'val_loss'",
    )[0];
    assert_eq!(
        one(&format!("select arg_min(step, value) {}", on("long", "val_loss"))),
        best["min_step"].to_string()
    );
    assert_eq!(
        one(&format!("select min_by(step, value) {}", on("long", "val_loss"))),
        best["min_step"].to_string()
    );
    assert_eq!(
        one(&format!("select first_nan(step, value) {}", on("nan", "loss"))),
        one(&format!(
            "select min(step) {} and (isnan(value) or abs(value) = cast('Infinity' as double))",
            on("nan", "loss")
        ))
    );
    let smooth = project.ask(&format!(
        "select step, value, ema(value, 0.1) over (partition by run_id, key order by step) as smooth {} order by step limit 3",
        on("long", "loss")
    ));
    let (first, second) = (smooth[0]["value"].as_f64().unwrap(), smooth[1]["value"].as_f64().unwrap());
    assert_eq!(smooth[0]["smooth"], first);
    assert!((smooth[1]["smooth"].as_f64().unwrap() - (0.9 * first + 0.1 * second)).abs() < 1e-12);
    let spikes = one(&format!(
        "select count(*) from (select is_spike(value) over (partition by run_id, key order by step) as flag {}) as t where flag",
        on("plateau", "loss")
    ));
    assert_eq!(spikes, "0");
    let row = format!(
        "select max(abs(z)) as z from (select spike_score(value) over (partition by run_id, key order by step) as z {}) as t",
        on("plateau", "loss")
    );
    assert!(one(&row).parse::<f64>().unwrap() > 0.0);
    assert_eq!(one(&format!("select cardinality(loss_spike(step, value)) {}", on("plateau", "loss"))), "0");
}

#[test]
fn history_and_wide_align_metrics_on_one_step_column() {
    let project = Project::of("jsonl");
    project.refresh();
    let rows = project.ask("select * from history('long', 'loss,val_loss', 500)");
    assert_eq!(rows.len(), 500);
    let extremes = &project.ask("select min_step, max_step from summary join runs using (run_id) where name = 'long' and key = 'val_loss'")[0];
    for step in ["min_step", "max_step"] {
        assert!(rows.iter().any(|row| row["step"] == extremes[step] && !row["val_loss"].is_null()), "{step}");
    }
    assert_eq!(project.ask("select * from wide('long', 'loss,val_loss')").len(), 20_000);
    assert_eq!(project.ask("select * from history('@latest', 'loss', 5)").len(), 5);
    let error = ask(&project.open(), "select * from history('long', 'lss', 5)").unwrap_err();
    assert!(error.contains("no metric \"lss\""), "{error}");
}

#[test]
fn secrets_are_masked_unless_asked_for() {
    let project = Project::empty();
    project.write("run/train.jsonl", "{\"step\": 0, \"loss\": 1}\n{\"step\": 1, \"loss\": 0.5}\n");
    project
        .write("run/config.json", "{\"lr\": 0.1, \"wandb\": {\"api_key\": \"abcdef\"}, \"max_tokens\": 7}");
    project.refresh();
    let config = project.ask("select key, value from configs order by key");
    assert_eq!(config[2]["value"], "***");
    assert_eq!((&config[0]["value"], &config[1]["value"]), (&"0.1".into(), &"7".into()));
}

#[test]
fn a_query_that_takes_too_long_is_stopped() {
    use runq::workspace::{Options, Workspace};
    let project = curves(1, 10);
    let options = Options {
        root: Some(project.root().to_path_buf()),
        timeout: Some(std::time::Duration::from_millis(200)),
        ..Options::default()
    };
    let workspace = Workspace::open(options).unwrap();
    let never_pauses = "select count(*) from generate_series(1, 3000) a
        cross join generate_series(1, 300000) b where (a.value * b.value) % 7 = 3";
    for sql in ["select count(*) from generate_series(1, 100000000000)", never_pauses] {
        let error = ask(&workspace, sql).unwrap_err();
        assert!(error.contains("longer than 0.2 s"), "{error}");
    }
}

#[test]
fn a_file_or_a_folder_below_narrows_the_view() {
    use runq::workspace::{Options, Quiet, Workspace};
    let project = curves(3, 5);
    let root = Some(project.root().join("run_1"));
    let workspace = Workspace::open(Options { root, ..Options::default() }).unwrap();
    workspace.refresh(&Quiet).unwrap();
    assert_eq!(ask(&workspace, "select path from runs").unwrap().len(), 1);
    assert_eq!(ask(&workspace, "select * from metrics where key = 'loss'").unwrap().len(), 5);
    assert_eq!(ask(&workspace, "select distinct run_id from summary").unwrap().len(), 1);
    let file = Some(project.root().join("run_2/train.jsonl"));
    let workspace = Workspace::open(Options { root: file, ..Options::default() }).unwrap();
    assert_eq!(ask(&workspace, "select name from runs").unwrap()[0]["name"], "run_2");
}

#[test]
fn groups_by_metric_are_those_of_any_other_grouping() {
    let project = curves(5, 400);
    project.write(
        "odd/train.jsonl",
        "{\"step\": 0, \"loss\": 2, \"only\": 1}\n{\"step\": 1, \"loss\": Infinity, \"only\": null}\n",
    );
    project.refresh();
    let aggregates = "count(*) as n, count(value) as c, sum(value) as s, avg(value) as a, min(step) as low, max(value) as high, \
         stddev(step) as d";
    let sorted = format!("select key, {aggregates} from metrics group by key order by key");
    // An expression in place of the column: the engine's own aggregation.
    let plain = format!("select key || '' as key, {aggregates} from metrics group by key || '' order by 1");
    assert!(plan(&project, &sorted).contains("SortedAggregateExec"), "{}", plan(&project, &sorted));
    assert!(!plan(&project, &plain).contains("SortedAggregateExec"));
    assert_eq!(ask(&project.open(), &sorted).unwrap(), ask(&project.open(), &plain).unwrap());
    let none = "select key, count(*) as n from metrics where step > 1000000 group by key";
    assert!(ask(&project.open(), none).unwrap().is_empty());
}
