//! Commands over several runs: their numbers against those computed by hand or anew.

use crate::commands::{column, rows, run};
use crate::common::Project;
use runq::store::Limits;
use serde_json::{Value, json};

/// A training of this configuration; rows of metrics, one a step.
fn training(config: Value, steps: impl IntoIterator<Item = Value>) -> String {
    let header = json!({ "config": config });
    std::iter::once(header).chain(steps).map(|row| format!("{row}\n")).collect()
}

fn number(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or_else(|| panic!("{name} of {row}"))
}

fn close(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-6 * want.abs().max(1e-3), "{got}, not {want}");
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| f(a - mean_a, b - mean_b)).sum()
    };
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

/// The first index from which the running medians of five stay more than twice the noise apart.
fn part(a: &[f64], b: &[f64]) -> Option<usize> {
    let noise = |x: &[f64]| {
        let jumps: Vec<f64> = x.windows(5).map(|w| (2.0 * w[2] - w[4] - w[0]).abs()).collect();
        1.4826 / 6.0_f64.sqrt() * median(&jumps)
    };
    let limit = 2.0 * noise(a).hypot(noise(b));
    let smooth = |x: &[f64], i: usize| median(&x[i.saturating_sub(4)..=i]);
    let is_near = |i: &usize| (smooth(a, *i) - smooth(b, *i)).abs() <= limit;
    let first = (0..a.len()).rev().find(is_near).map_or(0, |last| last + 1);
    (first < a.len()).then_some(first)
}

const STEPS: usize = 60;

/// Losses with a little noise; the second turns away at step 30.
fn losses() -> [Vec<f64>; 2] {
    let noise = |step: usize, factor: usize| 0.004 * ((step * step * factor + 3 * step) % 11) as f64;
    let a = (0..STEPS).map(|step| 3.0 - 0.02 * step as f64 + noise(step, 7)).collect();
    let away = |step: usize| if step < 30 { 0.0 } else { 0.5 };
    let b = (0..STEPS).map(|step| 3.0 - 0.02 * step as f64 + noise(step, 3) + away(step)).collect();
    [a, b]
}

fn two_runs() -> Project {
    let project = Project::empty();
    for (name, lr, loss, val) in [("a", 0.1, &losses()[0], "val_loss"), ("b", 0.2, &losses()[1], "eval/loss")]
    {
        let steps = loss.iter().enumerate().map(|(step, loss)| {
            let mut row =
                json!({"step": step, "loss": loss, "grad_norm": 1.5, "timestamp": 1_700_000_000 + 2 * step});
            if step % 10 == 0 {
                row[val] = json!((loss * 1000.0).round() / 1000.0 + 1.0);
            }
            row
        });
        let config = json!({"lr": lr, "depth": 4, "seed": 1});
        project.write(&format!("{name}.jsonl"), training(config, steps.collect::<Vec<_>>()));
    }
    project.refresh();
    project
}

#[test]
fn runs_are_compared_with_the_first() {
    let project = two_runs();
    let [a, b] = losses();
    let compared = |args: &[&str]| rows(&project, &[&["compare", "a", "b", "--no-refresh"], args].concat());
    let of = |rows: &[Value], key: &str| rows.iter().find(|row| row["key"] == key).unwrap().clone();
    let end = compared(&[]);
    assert_eq!(column(&end, "key"), ["val_loss", "loss"], "what is the same is left out");
    let loss = of(&end, "loss");
    close(number(&loss, "base"), a[STEPS - 1]);
    close(number(&loss, "value"), b[STEPS - 1]);
    close(number(&loss, "delta"), b[STEPS - 1] - a[STEPS - 1]);
    close(number(&loss, "percent"), 100.0 * (b[STEPS - 1] - a[STEPS - 1]) / a[STEPS - 1]);
    close(number(&loss, "correlation"), correlation(&a, &b));
    assert_eq!(loss["part_step"].as_u64().map(|step| step as usize), part(&a, &b));
    assert!((30..35).contains(&loss["part_step"].as_u64().unwrap()), "{loss}");
    assert_eq!(loss["verdict"], "worse");
    // Other spellings are the same metric; six points tell no noise.
    let val = of(&end, "val_loss");
    assert_eq!((number(&val, "base_step"), number(&val, "step")), (50.0, 50.0));
    assert_eq!(val["part_step"], Value::Null);
    let every = |x: &[f64]| x.iter().step_by(10).map(|x| (x * 1000.0).round() / 1000.0).collect::<Vec<_>>();
    close(number(&val, "correlation"), correlation(&every(&a), &every(&b)));
    let all = compared(&["--all"]);
    assert_eq!(of(&all, "grad_norm")["delta"], 0.0);
    // The other way round the first is worse.
    let turned = rows(&project, &["compare", "b", "a", "-k", "loss"]);
    assert_eq!((turned.len(), &turned[0]["verdict"]), (1, &json!("better")));
}

/// Single points of long curves come near each other all the time.
#[test]
fn long_noisy_curves_part_where_one_turns() {
    let project = Project::empty();
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The mean of a few is nearly normal.
        (0..4).map(|part| (state >> (16 * part) & 0xffff) as f64 / 65_535.0 - 0.5).sum::<f64>() * 0.04
    };
    for (name, away) in [("a", 0.0), ("b", 0.1)] {
        let loss = |step: usize| 1.0 + if step < 1_000 { 0.0 } else { away };
        let rows: Vec<Value> = (0..2_000)
            .map(|step| json!({"step": step, "loss": loss(step) + noise(), "norm": noise()}))
            .collect();
        project.write(&format!("{name}.jsonl"), training(json!({"lr": 0.1}), rows));
    }
    let told = rows(&project, &["compare", "a", "b"]);
    assert_eq!(
        (column(&told, "key"), &told[0]["verdict"]),
        (vec!["loss".into(), "norm".into()], &json!("worse"))
    );
    // Two of 200 parts of ten steps later.
    assert_eq!(
        (told[0]["part_step"].as_u64(), &told[1]["part_step"]),
        (Some(1_020), &Value::Null),
        "{told:?}"
    );
}

#[test]
fn runs_are_compared_where_it_was_asked() {
    let project = two_runs();
    let [a, b] = losses();
    let loss = |args: &[&str]| {
        let all = [&["compare", "a", "b", "-k", "loss", "--no-refresh"], args].concat();
        let row = rows(&project, &all).remove(0);
        ["base", "value", "base_step", "step"].map(|name| number(&row, name))
    };
    let least = |x: &[f64]| (0..x.len()).min_by(|i, j| x[*i].total_cmp(&x[*j])).unwrap();
    let (best_a, best_b) = (least(&a), least(&b));
    assert_eq!(loss(&["--at", "best"]), [a[best_a], b[best_b], best_a as f64, best_b as f64]);
    assert_eq!(loss(&["--at-step", "25"]), [a[25], b[25], 25.0, 25.0]);
    // Two seconds a step.
    assert_eq!(loss(&["--at-time", "31s"]), [a[15], b[15], 15.0, 15.0]);
    let val_best = |x: &[f64]| 10 * least(&x.iter().copied().step_by(10).collect::<Vec<_>>());
    let (at_a, at_b) = (val_best(&a), val_best(&b));
    assert_eq!(loss(&["--at", "best:val_loss"]), [a[at_a], b[at_b], at_a as f64, at_b as f64]);
    let screen = run(&project, &["compare", "a", "b", "--format", "table"]);
    assert!(screen.stdout.contains("│ lr "), "{}", screen.stdout);
    assert!(!screen.stdout.contains("depth") && !screen.stdout.contains("seed"), "{}", screen.stdout);
    assert!(screen.stderr.contains("the machine's: 1 (--all)"), "{}", screen.stderr);
}

#[test]
fn a_comparison_that_is_none_is_told() {
    let project = two_runs();
    for (args, code, message, hint) in [
        (&["compare", "a"][..], 2, "compare needs two runs or more, got one: ", "runq compare"),
        (&["compare", "a", "a"], 2, "is given twice", ""),
        (&["compare", "a@5", "a@9"], 2, "is given twice", "--from STEP --to STEP"),
        (&["compare", "a@5", "b", "--at", "best"], 2, "RUN@STEP cannot be used with --at", ""),
        (&["compare", "a@", "b"], 1, "run \"a@\" not found", "a"),
        (&["compare", "a", "c"], 1, "run \"c\" not found", "\"a\"|a"),
        (&["compare", "a", "b", "--at", "start"], 2, "cannot compare at \"start\"", "--at best"),
        (&["compare", "a", "b", "-k", "los"], 1, "metric \"los\" not found", "loss"),
        (&["compare", "a", "b", "--at", "best:vall_loss"], 1, "metric \"vall_loss\" not found", "val_loss"),
        (&["compare", "a", "b", "--at-step", "1", "--at", "best"], 2, "cannot be used with", ""),
        (&["compare", "a", "b", "--at-time", "soon"], 2, "is no span of time", "30m"),
        (&["compare", "a", "b", "--at-step", "-1"], 0, "no metric has another value up to there", ""),
        (&["sweep", "los"], 1, "metric \"los\" not found", "loss"),
        (&["sweep", "grad_norm"], 2, "no goal known for \"grad_norm\"", "--min"),
        (&["pareto", "loss", "grad_norm"], 2, "no goal known for \"grad_norm\": add --min grad_norm", ""),
        (&["pareto", "loss", "loss"], 2, "a metric is given twice", ""),
        (&["tried", "lr"], 2, "\"lr\" is no key=value", "lr=0.001"),
        (&["tried", "dept=3"], 1, "no run has a hyperparameter \"dept\"", "depth"),
        (&["best", "loss", "--group", "dept"], 1, "no run has a hyperparameter \"dept\"", "depth"),
        (&["why", "a", "a"], 2, "is given twice", ""),
    ] {
        let ran = run(&project, &[args, &["--no-refresh"]].concat());
        let is_hinted = hint.split('|').any(|hint| ran.stderr.contains(hint));
        assert!(ran.code == code && ran.stderr.contains(message) && is_hinted, "{args:?}: {}", ran.stderr);
    }
}

const BEST: [f64; 8] = [1.3, 1.1, 1.2, 1.0, 1.4, 1.6, 1.5, 1.7];

/// Eight runs, the learning rate doubled in each; the best value is the second of three.
fn sweep() -> Project {
    let project = Project::empty();
    for (nth, best) in BEST.into_iter().enumerate() {
        let is_first = nth < 4;
        let config = json!({
            "optim": {"lr": 0.001 * f64::from(1 << nth), "name": if is_first { "adam" } else { "sgd" }},
            "sched": if is_first { "cosine" } else { "linear" },
            "seed": nth,
            "output_dir": format!("out/{nth}"),
            "remark": format!("try {nth}"),
            "width": 64,
        });
        let row = |step: i64, loss: f64| {
            let time = 1_700_000_000 + 1000 * nth as i64 + step;
            json!({"step": step, "val_loss": loss, "acc": 1.0 - loss / 10.0, "lr": 0.5, "timestamp": time})
        };
        let steps = [row(0, best + 1.0), row(10, best), row(20, best + 0.5)];
        project.write(&format!("r{nth}.jsonl"), training(config, steps));
    }
    project.refresh();
    project
}

#[test]
fn hyperparameters_that_matter_come_first() {
    let project = sweep();
    let told = rows(&project, &["sweep", "val_loss"]);
    assert_eq!(column(&told, "key"), ["optim.name", "sched", "optim.lr"], "no seed, label or constant");
    let of = |key: &str| told.iter().find(|row| row["key"] == key).unwrap();
    let lr = of("optim.lr");
    // Ranks 4 2 3 1 5 7 6 8: 1 - 6 * 20 / (8 * 63); t = 2.8815 with 6 degrees of freedom.
    close(number(lr, "spearman"), 1.0 - 120.0 / 504.0);
    assert!((number(lr, "p") - 0.028).abs() < 5e-4, "{lr}");
    // Terciles of 2, 3 and 3 runs, mean ranks 3, 3 and 7: 30 of 42.
    close(number(lr, "effect"), 30.0 / 42.0);
    assert_eq!((&lr["best_value"], &lr["best_region"]), (&json!("0.008"), &json!("0.002..0.008")));
    assert_eq!(lr["means"], "0.001..0.002: 1.2 (2); 0.004..0.016: 1.2 (3); 0.032..0.128: 1.6 (3)");
    assert_eq!((&lr["type"], &lr["varies_with"]), (&json!("number"), &Value::Null));
    // Mean ranks 2.5 and 6.5: 32 of 42.
    let optim = of("optim.name");
    close(number(optim, "effect"), 32.0 / 42.0);
    assert_eq!(
        (&optim["spearman"], &optim["means"]),
        (&Value::Null, &json!("adam: 1.15 (4); sgd: 1.55 (4)"))
    );
    assert_eq!((&optim["best_region"], &optim["varies_with"]), (&json!("adam"), &json!("sched")));
    // Larger is better turns the sign, not the best.
    let acc = rows(&project, &["sweep", "acc", "--where", "optim.name = 'adam'"]);
    assert_eq!(column(&acc, "key"), ["optim.lr"]);
    assert_eq!(acc[0]["best_value"], "0.008");
    close(number(&acc[0], "spearman"), 0.8);
    let one = run(&project, &["sweep", "val_loss", "--where", "lr = 0.001"]);
    assert!(one.code == 0 && one.stderr.contains("no hyperparameter varies"), "{}", one.stderr);
}

#[test]
fn the_best_runs_tell_what_else_they_reached() {
    let project = sweep();
    let best = |args: &[&str]| rows(&project, &[&["best", "val_loss", "--no-refresh"], args].concat());
    let name = |rows: &[Value]| column(rows, "name");
    let three = best(&["-n", "3"]);
    assert_eq!(name(&three), ["r3", "r1", "r2"]);
    assert_eq!((number(&three[0], "best"), number(&three[0], "best_step")), (1.0, 10.0));
    assert_eq!(three[0].get("at_best"), None, "a program asks for it");
    let agent = run(&project, &["best", "val_loss", "-n", "1", "--agent"]);
    assert!(agent.stdout.contains(",acc=0.9 lr=0.5\n"), "{}", agent.stdout);
    assert_eq!(name(&best(&["--newest", "4"])), ["r4", "r6", "r5", "r7"]);
    assert_eq!(name(&best(&["--where", "lr > 0.02"])), ["r6", "r5", "r7"]);
    let groups = best(&["--group", "sched"]);
    assert_eq!(
        (name(&groups), column(&groups, "grouped")),
        (vec!["r3".into(), "r4".into()], vec!["cosine".into(), "linear".into()])
    );
    assert_eq!(name(&best(&["--max", "-n", "1"])), ["r7"]);
    let ids = run(&project, &["best", "val_loss", "--id-only", "-n", "2"]);
    assert_eq!(ids.stdout.lines().count(), 2);
    assert!(
        ids.stdout.lines().all(|line| line == three[0]["run_id"] || line == three[1]["run_id"]),
        "{}",
        ids.stdout
    );
    assert!(ids.stderr.contains("smaller is better for val_loss, by its name"), "{}", ids.stderr);
    project.write("runq.toml", "[goals]\nlr = \"max\"\n");
    let set = run(&project, &["best", "lr"]);
    assert!(set.stderr.contains("larger is better for lr, by runq.toml"), "{}", set.stderr);
    let without = run(&project, &["best", "acc", "--where", "lr < 0.01"]);
    assert!(!without.stderr.contains("left out"), "{}", without.stderr);
}

/// Three groups of three seeds, and a run on its own.
fn seeds() -> Project {
    let project = Project::empty();
    let groups = [("a", 0.1, [1.0, 1.1, 1.2]), ("b", 0.2, [1.15, 1.25, 1.35]), ("c", 0.3, [2.0, 2.1, 2.2])];
    let write = |name: String, lr: f64, seed: usize, loss: f64| {
        let config =
            json!({"lr": lr, "seed": seed, "run_name": name, "note": format!("of {name}"), "depth": 2});
        let steps = [(0, loss + 1.0), (1, loss), (2, loss + 0.25)];
        let steps = steps.map(|(step, loss)| json!({"step": step, "loss": loss}));
        project.write(&format!("{name}.jsonl"), training(config, steps));
    };
    for (name, lr, losses) in groups {
        losses.iter().enumerate().for_each(|(seed, loss)| write(format!("{name}{seed}"), lr, seed, *loss));
    }
    write("d".into(), 0.4, 0, 0.5);
    project.refresh();
    project
}

#[test]
fn seeds_are_averaged_and_groups_tested() {
    let project = seeds();
    let told = rows(&project, &["seeds", "loss"]);
    assert_eq!(column(&told, "settings"), ["lr=0.1", "lr=0.2", "lr=0.3"]);
    assert_eq!(column(&told, "verdict"), ["best", "within noise", "worse"]);
    let [best, near, far] = &told[..] else { panic!("{told:?}") };
    assert_eq!((number(best, "n"), number(best, "seed_count")), (3.0, 3.0));
    close(number(best, "mean"), 1.1);
    close(number(best, "std"), 0.1);
    close(number(best, "stderr"), 0.1 / 3.0_f64.sqrt());
    assert_eq!((number(best, "min"), number(best, "max")), (1.0, 1.2));
    assert_eq!(best["p"], Value::Null);
    // t = 1.837117 and 12.247449 with 4 degrees of freedom, for which the distribution has a closed form.
    let p = |t: f64| {
        let x = t / (4.0 + t * t).sqrt();
        1.0 - 1.5 * (x - x.powi(3) / 3.0)
    };
    close(number(near, "p"), p(0.15 / (0.02_f64 / 3.0).sqrt()));
    close(number(far, "p"), p(1.0 / (0.02_f64 / 3.0).sqrt()));
    let screen = run(&project, &["seeds", "loss"]);
    assert!(
        screen.stderr.contains("the best two groups differ within noise (p = 0.14)"),
        "{}",
        screen.stderr
    );
    let last = rows(&project, &["seeds", "loss", "--last", "--all"]);
    assert_eq!(column(&last, "settings")[0], "lr=0.4");
    close(number(&last[1], "mean"), 1.35);
    let none = run(&project, &["seeds", "loss", "--where", "lr = 0.4"]);
    assert!(none.code == 0 && none.stderr.contains("no two of these runs"), "{}", none.stderr);
}

#[test]
fn no_run_beats_those_of_the_front() {
    let project = Project::empty();
    let point = |nth: u64| [nth * 7 % 10, nth * 3 % 8, nth * 5 % 6].map(|x| x as f64 + 1.0);
    for nth in 0..24 {
        let [loss, acc, norm] = point(nth);
        let steps = (0..3).map(|step| json!({"step": step, "loss": loss, "acc": acc, "norm": norm}));
        project.write(&format!("r{nth}.jsonl"), training(json!({"nth": nth}), steps));
    }
    project.refresh();
    let costs = |nth: u64, count: usize| {
        let [loss, acc, norm] = point(nth);
        [loss, -acc, norm][..count].to_vec()
    };
    let beats = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a <= b) && a != b;
    for (args, count) in
        [(&["pareto", "loss", "acc"][..], 2), (&["pareto", "loss", "acc", "norm", "--min", "norm"], 3)]
    {
        let is_beaten = |nth: &u64| (0..24).any(|other| beats(&costs(other, count), &costs(*nth, count)));
        let mut front: Vec<String> =
            (0..24).filter(|nth| !is_beaten(nth)).map(|nth| format!("r{nth}")).collect();
        front.sort();
        let told = rows(&project, args);
        let mut names = column(&told, "name");
        names.sort();
        assert_eq!(names, front, "{args:?}");
        for row in &told {
            let nth: u64 = row["name"].as_str().unwrap()[1..].parse().unwrap();
            let beaten = (0..24).filter(|other| beats(&costs(nth, count), &costs(*other, count))).count();
            assert_eq!((number(row, "loss"), number(row, "beaten")), (point(nth)[0], beaten as f64));
        }
        let note = format!("{} of 24 runs with these metrics are beaten", 24 - front.len());
        assert!(run(&project, args).stderr.contains(&note), "{args:?}");
    }
}

#[test]
fn what_was_tried_comes_nearest_first() {
    let project = sweep();
    let tried = |args: &[&str]| rows(&project, &[&["tried", "--no-refresh"], args].concat());
    let exact = tried(&["lr=0.004", "name=adam", "-n", "2"]);
    assert_eq!(column(&exact, "name")[0], "r2");
    assert_eq!((number(&exact[0], "distance"), number(&exact[0], "best")), (0.0, 1.2));
    assert_eq!(exact[0]["settings"], "lr=0.004 name=adam");
    // Twice the learning rate is nearer than another optimizer.
    close(number(&exact[1], "distance"), 2.0_f64.log10());
    let other = tried(&["lr=0.032", "name=adam", "-n", "8"]);
    assert_eq!(column(&other, "name")[..3], ["r3", "r2", "r5"]);
    close(number(&other[2], "distance"), 1.0);
    assert_eq!(column(&tried(&["lr=1", "-n", "1"]), "name"), ["r7"]);
    // The metric of that name is no hyperparameter.
    assert_eq!(run(&project, &["tried", "acc=1"]).code, 1);
}

#[test]
fn hours_are_summed_by_project_and_state() {
    let project = Project::of("wandb").with_limits(Limits::default());
    project.refresh();
    let runs = rows(&project, &["sql", "select state, duration_s from runs", "--no-refresh"]);
    let hours = |states: &[&str]| -> f64 {
        let is_it = |row: &&Value| states.contains(&row["state"].as_str().unwrap());
        runs.iter().filter(is_it).map(|row| number(row, "duration_s")).sum::<f64>() / 3600.0
    };
    let told = rows(&project, &["cost"]);
    assert_eq!((told.len(), number(&told[0], "runs")), (1, runs.len() as f64));
    let all = hours(&["finished", "failed", "crashed"]);
    close(number(&told[0], "hours"), all);
    close(number(&told[0], "finished_h"), hours(&["finished"]));
    close(number(&told[0], "failed_h"), hours(&["failed"]));
    close(number(&told[0], "crashed_h"), hours(&["crashed"]));
    close(number(&told[0], "wasted"), hours(&["failed", "crashed"]) / all);
    let gpus = Project::empty();
    for (name, config) in [("one", json!({"num_gpus": 2})), ("two", json!({"trainer": {"n_gpus": 4}}))] {
        let steps =
            (0..3).map(|step| json!({"step": step, "loss": 1, "timestamp": 1_700_000_000 + 1800 * step}));
        gpus.write(&format!("{name}.jsonl"), training(config, steps));
    }
    let told = rows(&gpus, &["cost"]);
    assert_eq!((number(&told[0], "hours"), number(&told[0], "gpu_hours")), (2.0, 6.0));
}

#[test]
fn a_reason_is_given_in_few_words() {
    let project = Project::of("wandb").with_limits(Limits::default());
    project.refresh();
    let why = |args: &[&str]| rows(&project, &[&["why", "--no-refresh"], args].concat());
    let told = why(&["pubsweep1", "pubsweep5"]);
    let text = column(&told, "text");
    assert!(
        text[0].starts_with("pubsweep1 is better than pubsweep5: best val/loss 1.228 at step 119"),
        "{text:?}"
    );
    assert_eq!(text[1], "last 1.228 against 2.153", "enough common steps");
    assert_eq!(text[2], "optim.lr: 0.03 -> 0.0003", "the largest ratio first");
    assert!(column(&told, "about").contains(&"curves".to_string()), "{told:?}");
    let told = why(&["pubdiverg", "pubclean1", "-m", "val_acc"]);
    let text = column(&told, "text");
    assert_eq!(
        text[..2],
        [
            "pubdiverg is worse than pubclean1: best val/acc 0.7265 at step 210 against 0.7339 at step 270, 1.016 % apart",
            "last 0 against 0.7333; 11 common steps are too few to tell noise"
        ]
    );
    assert!(text.iter().any(|text| text.starts_with("pubdiverg: error ")), "{text:?}");
    let agent = run(&project, &["why", "pubdiverg", "pubclean1", "--agent"]);
    assert!(agent.stdout.len() < 1200, "{}", agent.stdout);
}

#[test]
fn runs_of_several_formats_are_compared_by_what_their_metrics_mean() {
    let project = crate::mixed::project().with_limits(Limits::default());
    project.refresh();
    let of = |source: &str, key: &str| {
        let sql = format!(
            "select runs.run_id, summary.last from runs join summary on summary.run_id = runs.run_id
             where source = '{source}' and duplicate_of is null and key = '{key}' order by run_id limit 1"
        );
        rows(&project, &["sql", &sql, "--no-refresh"]).remove(0)
    };
    let (one, other) = (of("csv", "val_loss"), of("mlflow", "val/loss"));
    let id = |row: &Value| row["run_id"].as_str().unwrap().to_string();
    let told =
        rows(&project, &["compare", &id(&one), &id(&other), "-k", "val_loss", "--all", "--no-refresh"]);
    assert_eq!((told.len(), column(&told, "key")), (1, vec!["val_loss".to_string()]));
    assert_eq!(
        (number(&told[0], "base"), number(&told[0], "value")),
        (number(&one, "last"), number(&other, "last"))
    );
    for command in
        [&["sweep", "val_loss"][..], &["seeds", "val_loss"], &["pareto", "val_loss", "train_loss"], &["cost"]]
    {
        let ran = run(&project, &[command, &["--no-refresh"]].concat());
        assert!(ran.code == 0 && !ran.stdout.is_empty(), "{command:?}: {}", ran.stderr);
    }
    let best = rows(&project, &["best", "val_loss", "-n", "3", "--no-refresh"]);
    let values: Vec<f64> = best.iter().map(|row| number(row, "best")).collect();
    assert!(values.windows(2).all(|pair| pair[0] <= pair[1]), "{best:?}");
}
