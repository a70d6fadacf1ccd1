//! What `runq.toml` says of metrics: names and formats for people, validation sets, names that hold a step.

use crate::common::{Project, read_at_once};
use crate::project::{printed, run};
use runq::store::Limits;

/// A project of one run, with these settings.
fn project(settings: &str) -> Project {
    let project = Project::empty().with_limits(Limits::default());
    let rows = (1..=40).map(|step: i32| {
        let (loss, acc, lr) = (2.0 / f64::from(step), f64::from(step) / 50.0, 1e-5 * f64::from(step));
        format!("{{\"step\": {step}, \"train/loss\": {loss}, \"val/acc\": {acc}, \"lr\": {lr}}}\n")
    });
    project.write("run/log.jsonl", rows.collect::<String>());
    project.write("run/config.json", "{\"lr\": 0.0003, \"seed\": 1}");
    project.write("runq.toml", settings);
    project
}

const LOOKS: &str = "[names]\n\"val/acc\" = \"share of right answers\"\nlr = \"learning rate of the optimizer\"\n\
     [formats]\n\"val/acc\" = \".1%\"\nlr = \".2e\"\n";

#[test]
fn people_see_the_names_and_formats_of_the_project() {
    let project = project(LOOKS);
    let table = |args: &[&str]| printed(project.root(), &[args, &["--format", "table"]].concat());
    let md = |args: &[&str]| printed(project.root(), &[args, &["--format", "md"]].concat());
    assert_eq!(
        md(&["history", "-k", "val/acc,lr,train/loss", "--tail", "2"]),
        "| step | share of right answers | learning rate of the optimizer | train/loss |\n\
         | ---: | ---: | ---: | ---: |\n\
         | 39 | 78.0% | 3.90e-04 | 0.0512821 |\n\
         | 40 | 80.0% | 4.00e-04 | 0.05 |\n"
    );
    let shown = table(&["show", "@latest"]);
    assert!(shown.contains("│ share of right answers") && shown.contains("┆ 80.0% ┆"), "{shown}");
    // The hyperparameter of that name is none.
    assert!(shown.contains("\nlr    0.0003\n"), "{shown}");
    assert!(md(&["config"]).contains("| lr | 0.0003 |"));
    let best = md(&["best", "val/acc"]);
    assert!(best.contains("| share of right answers | max | 80.0% | 40 |"), "{best}");
    let listed = md(&["runs", "-m", "val/acc"]);
    assert!(listed.contains("| share of right answers | 80.0% | 80.0% |"), "{listed}");
    let chart = table(&["plot", "-k", "val/acc"]);
    assert!(chart.contains(" share of right answers\n") && chart.contains("80.0%"), "{chart}");
    // What is read can be typed.
    let typed = run(project.root(), &["history", "-k", "share of right answers", "--tail", "1"]);
    assert_eq!((typed.stdout.as_str(), typed.stderr.as_str()), ("step,val/acc\n40,0.8\n", ""));
    let typed = printed(project.root(), &["best", "share of right answers", "--id-only"]);
    assert_eq!(typed, printed(project.root(), &["best", "val/acc", "--id-only"]));
    let meeting = |number: &str| format!("max(\"share of right answers\") > {number}");
    let runs = |number| printed(project.root(), &["runs", "--where", &meeting(number)]).lines().count();
    assert_eq!((runs("0.7"), runs("0.9")), (2, 1));
}

#[test]
fn programs_get_what_was_logged() {
    let (set, plain) = (project(LOOKS), project(""));
    let names = |text: &str| text.contains("right answers") || text.contains("of the optimizer");
    for args in [
        &["history", "-k", "val/acc,lr"][..],
        &["history", "-k", "val/acc,lr", "--format", "json"],
        &["history", "-k", "val/acc,lr", "--agent"],
        &["stats", "--format", "tsv"],
        &["best", "val/acc", "--agent", "--id-only"],
        &["sql", "select key, last from summary order by key", "--format", "md"],
        &["plot", "-k", "val/acc", "--format", "csv"],
    ] {
        let text = printed(set.root(), args);
        let same = printed(plain.root(), args);
        let ids = ["select run_id from runs"; 2].map(str::to_owned);
        let id = |project: &Project| project.column(&ids[0]).concat();
        assert!(!names(&text), "{args:?}: {text}");
        assert_eq!(text.replace(&id(&set), "RUN"), same.replace(&id(&plain), "RUN"), "{args:?}");
    }
    // Names that are there to be typed.
    let keys = printed(set.root(), &["keys", "--format", "md"]);
    assert!(keys.contains("| val/acc | step | max | 1 | 1 | 40 | 0 | 2.0% | 80.0% | 40 |"), "{keys}");
}

#[test]
fn settings_that_mean_nothing_are_told_by_their_line() {
    for (text, wrong) in [
        (
            "[formats]\nloss = \".4f\"\nlr = \"%.2e\"\n",
            "line 3: \"%.2e\" is no format of a number: write one like .4f",
        ),
        ("[formats]\nloss = 4\n", "line 2: invalid type: integer `4`"),
        (
            "ignore = []\nper_step = [\n  \"a_{i}\",\n  \"loss\",\n]\n",
            "\"loss\" is no pattern of names: write {i} once",
        ),
        ("per_step = [\"{i}\"]\n", "line 1: \"{i}\" leaves no name of a metric"),
        ("per_step = [\"a_{i}\", \"a/{i}\"]\n", "two patterns of per_step are \"a\""),
        ("validation_sets = [\"holdout\", \"/\"]\n", "\"/\" in validation_sets is no word of a name"),
        ("\n[nmaes]\n", "line 2: unknown field `nmaes`"),
    ] {
        let ran = run(project(text).root(), &["runs"]);
        let told = ran.stderr.lines().next().unwrap_or_default();
        assert!(
            ran.code == 1 && told.contains(&format!("runq.toml: {wrong}")) || told.contains(wrong),
            "{told}"
        );
    }
}

#[test]
fn validation_sets_of_a_project_come_first_and_are_judged_so() {
    let project = Project::empty();
    let rows = (1..=60).map(|step: i32| {
        let held = 1.0 / f64::from(step) + 0.02 * f64::from(step);
        format!("{{\"step\": {step}, \"train/loss\": {}, \"holdout/loss\": {held}}}\n", 2.0 / f64::from(step))
    });
    project.write("log.jsonl", rows.collect::<String>());
    project.refresh();
    let found = || project.column("select distinct key from alerts where kind = 'overfitting'");
    let shown = || printed(project.root(), &["runs", "--format", "md"]);
    assert!(found().is_empty() && shown().contains("| train/loss |"), "{}", shown());
    project.write("runq.toml", "validation_sets = [\"Holdout\"]\n");
    assert_eq!(project.refresh().read_bytes, 0, "logs are not read again");
    assert_eq!(found(), ["holdout/loss"]);
    assert!(shown().contains("| holdout/loss |"), "{}", shown());
    // Two sets are two metrics.
    assert_ne!(project.column("select normal_key('holdout/loss')"), ["val/loss"]);
    project.write("runq.toml", "");
    project.refresh();
    assert!(found().is_empty());
}

/// A row with a metric for each of these steps, of the value `factor * i`.
fn items(step: i32, steps: std::ops::Range<i32>, factor: f64) -> String {
    let items: String = steps.map(|i| format!(", \"loss_step_{i}\": {}", factor * f64::from(i))).collect();
    format!("{{\"step\": {step}, \"lr\": 0.5{items}}}\n")
}

#[test]
fn names_that_hold_a_step_are_one_metric() {
    let project = Project::empty();
    project.write("a.jsonl", items(1, 0..30, 3.0) + &items(2, 0..20, 2.0));
    project.write("own.jsonl", "{\"step\": 1, \"loss_step\": 7.5, \"loss_step_1\": 3}\n");
    project.refresh();
    let keys = |run: &str| {
        project.column(&format!(
            "select key from summary join runs using (run_id) where name = '{run}' order by key"
        ))
    };
    assert_eq!(keys("a").len(), 31);
    project.write("runq.toml", "per_step = [\"loss_step_{i}\"]\n");
    assert_eq!(project.refresh().read_bytes, 0, "logs are not read again");
    assert_eq!(keys("a"), ["loss_step", "lr"]);
    // A run that logs a metric of that name is left as it is.
    assert_eq!(keys("own"), ["loss_step", "loss_step_1"]);
    let row = &project.ask(
        "select count, first_step, summary.last_step, first, last, min, max, max_step, axis, goal, mean
         from summary join runs using (run_id) where name = 'a' and key = 'loss_step'",
    )[0];
    assert_eq!(
        row.to_string(),
        "{\"count\":30,\"first_step\":0,\"last_step\":29,\"first\":0,\"last\":87,\"min\":0,\"max\":87,\"max_step\":29,\
         \"axis\":\"index\",\"goal\":\"min\",\"mean\":37.166666666666664}"
    );
    let history = printed(project.root(), &["history", "a", "-k", "loss_step"]);
    assert!(
        history.starts_with("step,loss_step\n0,0\n1,2\n") && history.ends_with("\n28,84\n29,87\n"),
        "{history}"
    );
    assert!(
        printed(project.root(), &["plot", "a", "-k", "loss_step", "--format", "csv"])
            .contains(",loss_step,3,6\n")
    );
    let raw = run(project.root(), &["history", "a", "-k", "loss_step", "--raw"]);
    assert!(raw.code == 1 && raw.stderr.contains("was not logged"), "{}", raw.stderr);
    assert_eq!(printed(project.root(), &["history", "own", "-k", "loss_step", "--raw"]).lines().count(), 2);
    assert_eq!(project.column("select count(*) from metrics where key like 'loss_step%'"), ["32"]);
    assert_eq!(project.column("select count(*) from metrics_raw where key like 'loss_step%'"), ["52"]);
    project.append("a.jsonl", items(3, 5..6, 10.0));
    project.refresh();
    assert_eq!(project.column("select value from metrics where key = 'loss_step' and step = 5"), ["50"]);
    assert_eq!(project.everything(), read_at_once(&project));
    project.write("runq.toml", "");
    assert_eq!(keys("a").len(), 31);
}

#[test]
fn names_logged_at_the_step_they_hold_share_the_axis_of_the_others() {
    let project = Project::empty();
    let row = |i: i32| format!("{{\"step\": {i}, \"lr\": 0.5, \"loss/{i:03}/x\": {i}}}\n");
    project.write("a.jsonl", (1..=12).map(row).collect::<String>());
    project.write("runq.toml", "per_step = [\"loss/{i}/x\"]\n");
    project.refresh();
    let history = printed(project.root(), &["history", "-k", "lr,loss/x", "--tail", "2"]);
    assert_eq!(history, "step,lr,loss/x\n11,0.5,11\n12,0.5,12\n");
    assert_eq!(project.column("select axis from summary where key = 'loss/x'"), ["step"]);
}
