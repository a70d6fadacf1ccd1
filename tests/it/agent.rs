//! What an agent reads: few tokens, nothing that matters lost, and the way to the rest.

use crate::common::{Project, data, runq};
use runq::report::tokens::estimate;
use runq::store::Limits;
use std::path::Path;
use std::process::Output;

fn agent(root: &Path, args: &[&str]) -> String {
    let output = runq().arg("-C").arg(root).args(args).arg("--agent").output().unwrap();
    text(output)
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Tokens of a text by the vocabulary that needs the most. (Those that have a token for each digit, as
/// Qwen's, need more.)
pub fn real(text: &str) -> usize {
    let of = |name: &str| tiktoken::get_encoding(name).unwrap().count(text);
    ["cl100k_base", "o200k_base", "llama3"].map(of).into_iter().max().unwrap()
}

/// Real tokens are at most 5 % more.
fn holds(text: &str) -> bool {
    real(text) as f64 <= 1.05 * estimate(text) as f64
}

#[test]
fn the_estimate_is_never_too_small() {
    let mut texts: Vec<(String, String)> = Vec::new();
    for folder in ["wandb", "jsonl", "mlflow", "trackio"] {
        let project = Project::of(folder).with_limits(Limits::default());
        project.refresh();
        for table in ["runs", "configs", "summary", "console", "texts", "inputs"] {
            let rows = project.ask(&format!("select * from {table} limit 200"));
            let lines: Vec<String> = rows.iter().map(|row| row.to_string()).collect();
            texts.push((format!("{folder} {table}"), lines.join("\n")));
        }
        let root = project.root();
        for args in [
            &["runs"][..],
            &["overview"],
            &["keys"],
            &["find", "a"],
            &["stats"],
            &["console"],
            &["show", "@latest"],
        ] {
            texts.push((format!("{folder} {args:?}"), agent(root, &[args, &["--no-refresh"]].concat())));
        }
    }
    for name in ["README.md", "Cargo.toml", "src/lib.rs", "tests/data/README.md"] {
        let file = data("..").join("..").join(name);
        texts.push((name.to_string(), std::fs::read_to_string(file).unwrap()));
    }
    let mut random = crate::common::Random(7);
    for alphabet in [
        "0123456789abcdef",
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "0123456789.,-e\n",
        "▁▂▃▄▅▆▇█ ↓↑→×",
        "的一是不了人我在有他这为之大来",
        "абвгдежзийклмн ",
        "{}[]()<>,;:!?'\"-_=+*&^%$#@~|\\/",
        "😀🚀🔥✨ 👩‍🔬",
        "éèüñçøåß ",
        "ابتثجح ",
    ] {
        let letters: Vec<char> = alphabet.chars().collect();
        let text: String = (0..2_000)
            .map(|i| if i % 9 == 8 { ',' } else { letters[random.below(letters.len() as u64) as usize] })
            .collect();
        texts.push((format!("letters of {alphabet}"), text));
    }
    let report = |(name, text): &(String, String)| {
        format!(
            "{:5} {:5} {:.2} {name}",
            real(text),
            estimate(text),
            estimate(text) as f64 / real(text).max(1) as f64
        )
    };
    let all: Vec<String> = texts.iter().map(report).collect();
    let wrong: Vec<String> = texts.iter().filter(|(_, text)| !holds(text)).map(report).collect();
    assert!(wrong.is_empty(), "real, estimated:\n{}\nof\n{}", wrong.join("\n"), all.join("\n"));
    let far: Vec<&String> = all
        .iter()
        .zip(&texts)
        .filter(|(_, (_, text))| text.len() > 500 && estimate(text) > 3 * real(text))
        .map(|(line, _)| line)
        .collect();
    assert!(far.is_empty(), "far too many: {far:?}");
}

#[test]
fn an_answer_stays_within_its_budget_and_says_what_was_cut() {
    let project = Project::of("wandb").with_limits(Limits::default());
    project.refresh();
    for tokens in ["100", "400", "3000"] {
        for args in [
            &["sql", "select * from metrics"][..],
            &["runs"],
            &["console", "pubcrash1"],
            &["history", "long-20k"],
            &["show", "pubclean1"],
            &["keys"],
        ] {
            let text = agent(project.root(), &[args, &["--no-refresh", "--max-tokens", tokens]].concat());
            assert!(
                real(&text) <= tokens.parse().unwrap(),
                "{args:?} {tokens}: {} tokens\n{text}",
                real(&text)
            );
        }
    }
    let cut = agent(project.root(), &["sql", "select * from metrics", "--no-refresh"]);
    let last = cut.lines().last().unwrap();
    let rows = project.ask("select count(*) as n from metrics")[0]["n"].to_string();
    assert!(
        last.starts_with(&format!("# {} of {rows} rows; all: runq -C ", cut.lines().count() - 2)),
        "{last}"
    );
    // The command that it names shows all.
    let command = last.split_once("all: runq ").unwrap().1;
    let output = runq().args(shlex::split(command).unwrap()).output().unwrap();
    assert_eq!(text(output).lines().count().to_string(), (rows.parse::<u64>().unwrap() + 1).to_string());
    let whole = agent(project.root(), &["config", "pubclean1", "--no-refresh"]);
    assert!(!whole.contains('#'), "{whole}");
}

#[test]
fn numbers_are_short_for_an_agent_and_exact_for_everybody_else() {
    let project = Project::empty();
    project.write("a.jsonl", "{\"step\": 0, \"loss\": 0.123456789}\n{\"step\": 1, \"loss\": 123456.789}\n{\"step\": 2, \"loss\": 1.23456e-9}\n");
    let brief = agent(project.root(), &["history", "a"]);
    assert_eq!(brief, "step,loss\n0,0.1235\n1,123457\n2,1.235e-09\n");
    let pipe = |set: bool, args: &[&str]| {
        let mut command = runq();
        if set {
            command.env("CLAUDECODE", "1");
        }
        text(command.arg("-C").arg(project.root()).args(["history", "a"]).args(args).output().unwrap())
    };
    let exact = "step,loss\n0,0.123456789\n1,123456.789\n2,1.23456e-09\n";
    assert_eq!(pipe(true, &[]), brief);
    assert_eq!(pipe(false, &[]), exact);
    assert_eq!(pipe(true, &["--no-agent"]), exact);
    assert_eq!(pipe(true, &["--format", "csv"]), exact);
    // A file is read by whom nobody knows.
    let file = project.root().join("out.txt");
    let mut command = runq();
    command.env("CLAUDECODE", "1").arg("-C").arg(project.root()).args(["history", "a"]);
    assert!(command.stdout(std::fs::File::create(&file).unwrap()).status().unwrap().success());
    assert_eq!(std::fs::read_to_string(file).unwrap(), exact);
}

#[test]
fn runs_that_are_seldom_meant_are_left_out_and_counted() {
    let project = Project::of("wandb").with_limits(Limits::default());
    project.write("short.jsonl", "{\"step\": 0, \"loss\": 2.5}\n{\"step\": 1, \"loss\": 1.5}\n");
    project.refresh();
    let runs = |args: &[&str]| agent(project.root(), &[&["runs", "--no-refresh"], args].concat());
    let brief = runs(&[]);
    assert!(brief.ends_with("# 4 crashed or very short left out: --all shows them\n"), "{brief}");
    assert_eq!(brief.lines().count(), 1 + 17 + 1);
    assert_eq!(runs(&["--all"]).lines().count(), 1 + 21);
    assert_eq!(runs(&["--state", "crashed"]).lines().count(), 1 + 3);
    let selected = runs(&["--where", "last_step < 10"]);
    assert_eq!(selected.lines().last(), Some("# 1 crashed or very short left out: --all shows them"));
}

#[test]
fn the_overview_is_small() {
    for folder in ["wandb", "mlflow", "exprag"] {
        let project = Project::of(folder).with_limits(Limits::default());
        let output = runq().arg("-C").arg(project.root()).output().unwrap();
        let text = text(output);
        assert!(text.starts_with("fact,value\nruns,"), "{text}");
        assert!(real(&text) < 300, "{} tokens\n{text}", real(&text));
    }
}

/// Two metrics of a million steps, with spikes of one step, some of them side by side.
#[test]
fn a_curve_of_a_million_steps_fits_and_shows_every_spike() {
    let project = Project::in_memory().with_limits(Limits::default());
    let spikes = [1_000, 123_456, 123_490, 123_999, 500_000, 500_100, 777_777, 999_000];
    let noise = |step: i64, salt: i64| ((step * 7919 + salt) % 1000) as f64 / 1000.0 - 0.5;
    let mut log = String::with_capacity(40 << 20);
    log.push_str("step,loss,val_loss\n");
    for step in 0..1_000_000_i64 {
        let level = 3.0 * (-(step as f64) / 300_000.0).exp() + 1.0;
        let loss = if spikes.contains(&step) { level + 4.0 } else { level + 0.1 * noise(step, 0) };
        let val = match step {
            640_000 => "NaN".to_string(),
            640_777 => "0.01".to_string(),
            _ => format!("{:.4}", level + 0.2 + 0.1 * noise(step, 77)),
        };
        log.push_str(&format!("{step},{loss:.4},{val}\n"));
    }
    project.write("train.csv", log);
    let text = agent(project.root(), &["history", "-k", "loss,val_loss"]);
    assert!(real(&text) <= 3_000 && real(&text) > 1_500, "{} tokens", real(&text));
    let shown: Vec<i64> = text.lines().filter_map(|line| line.split(',').next()?.parse().ok()).collect();
    for step in spikes.into_iter().chain([0, 640_000, 640_777, 999_999]) {
        assert!(shown.contains(&step), "step {step} is not among {} rows", shown.len());
    }
    assert!(
        text.ends_with(&format!(
            " of 1000000 steps; all: runq -C {} history -k 'loss,val_loss' --format csv\n",
            project.root().display()
        )),
        "{}",
        text.lines().last().unwrap()
    );
}
