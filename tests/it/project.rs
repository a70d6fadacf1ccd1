//! What a project has of its own: settings, queries, a note for agents, completions and manual pages.

use crate::common::{Project, runq};
use runq::engine::canned::built_in;
use runq::store::Limits;
use std::path::Path;

pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

pub fn run(folder: &Path, args: &[&str]) -> Ran {
    let output = runq().current_dir(folder).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code().unwrap_or(-1) }
}

pub fn printed(folder: &Path, args: &[&str]) -> String {
    let ran = run(folder, args);
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
    ran.stdout
}

/// Tokens by the vocabulary that needs the most.
fn real_tokens(text: &str) -> usize {
    let of = |name: &str| tiktoken::get_encoding(name).unwrap().count(text);
    ["cl100k_base", "o200k_base", "llama3"].map(of).into_iter().max().unwrap()
}

#[test]
fn the_skill_is_small_and_every_line_of_it_runs() {
    let project = Project::of("wandb").with_limits(Limits::default());
    let skill = printed(project.root(), &["skill"]);
    assert!(real_tokens(&skill) < 700, "{} tokens", real_tokens(&skill));
    assert!(skill.starts_with("---\nname: runq\ndescription: "), "{skill}");
    project.refresh();
    let lines: Vec<&str> = skill.lines().filter(|line| line.starts_with("runq ")).collect();
    assert!(lines.len() >= 12, "{lines:?}");
    for line in &lines {
        let words = shlex::split(line).unwrap();
        let words: Vec<&str> =
            words.iter().skip(1).map(String::as_str).chain(["--agent", "--no-refresh"]).collect();
        let ran = run(project.root(), &words);
        assert!(ran.code == 0 && !ran.stdout.is_empty(), "{line}: {}", ran.stderr);
    }
    // The tables are there, with these columns.
    let tables = skill.split_once("## Tables\n").unwrap().1;
    for table in tables.split(") ").flat_map(|part| part.split(")\n")).filter(|part| part.contains('(')) {
        let Some((name, columns)) = table.split_once('(') else { continue };
        if !columns.contains("run_id") {
            continue;
        }
        project.ask(&format!("select {columns} from {name} limit 1"));
    }
}

#[test]
fn the_skill_is_written_once() {
    let project = Project::empty();
    let folder = project.root();
    let skill = printed(folder, &["skill"]);
    let write = |args: &[&str]| run(folder, &[&["skill", "--write", ".claude/skills/runq"], args].concat());
    let wrote = write(&[]);
    assert_eq!((wrote.code, wrote.stdout.as_str()), (0, ""));
    assert_eq!(wrote.stderr, "note: wrote .claude/skills/runq/SKILL.md\n");
    let file = folder.join(".claude/skills/runq/SKILL.md");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), skill);
    assert_eq!(write(&[]).stderr, "note: .claude/skills/runq/SKILL.md is up to date\n");
    std::fs::write(&file, "mine").unwrap();
    let refused = write(&[]);
    assert!(refused.code == 1 && refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(write(&["--force"]).code, 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), skill);
    assert!(!folder.join(".runq").exists());
}

#[test]
fn settings_are_written_once_with_everything_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let template = printed(folder.path(), &["init", "--print"]);
    assert!(!folder.path().join("runq.toml").exists());
    assert_eq!(run(folder.path(), &["init"]).code, 0);
    let file = folder.path().join("runq.toml");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), template);
    assert!(
        template.contains("\n#[thresholds.plateau]\n") && template.contains("\n#gain = 0.0095\n"),
        "{template}"
    );
    std::fs::write(&file, "ignore = []\n").unwrap();
    let again = run(folder.path(), &["init"]);
    assert!(again.code == 1 && again.stderr.contains("stays as it is"), "{}", again.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "ignore = []\n");
    // Taken at its word, it is accepted.
    let lines = template
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line));
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    assert_eq!(run(folder.path(), &["runs"]).code, 0);
    std::fs::write(&file, "ignroe = []\n").unwrap();
    let wrong = run(folder.path(), &["runs"]);
    assert!(
        wrong.stderr.contains("ignroe") && wrong.stderr.contains("primary_metric, goals"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn words_of_the_project_stand_for_metrics_and_runs() {
    let project = Project::of("wandb").with_limits(Limits::default());
    project.write(
        "runq.toml",
        "primary_metric = \"train_loss\"\n[groups]\nboth = [\"train/loss\", \"val/loss\", \"none\"]\nnone = [\"x\"]\n[aliases]\nvl = \"val/loss\"\nbase = \"pubclean1\"\nwinner = \"@best:vl\"\n[names]\n\"val/loss\" = \"validation loss\"\n",
    );
    let root = project.root();
    let first = |args: &[&str]| {
        let text = printed(root, args);
        text.lines().nth(1).unwrap_or_default().split(',').next().unwrap_or_default().to_owned()
    };
    assert_eq!(first(&["best", "vl"]), "pubsweep1");
    assert_eq!(first(&["runs", "--where", "vl < 1.3"]), "pubsweep1");
    assert_eq!(first(&["runs", "--where", "min(vl) < 1.3", "--sort", "-vl"]), "pubsweep1");
    assert_eq!(first(&["facts", "winner"]), "pubsweep1");
    assert_eq!(first(&["facts", "base"]), "pubclean1");
    let best = printed(root, &["best", "train/loss", "--id-only"]);
    assert_eq!(first(&["facts", "@best"]), best.trim());
    assert!(printed(root, &["history", "base", "-k", "vl", "-n", "3"]).starts_with("step,val/loss\n"));
    assert!(printed(root, &["history", "base", "-n", "3"]).starts_with("step,train/loss"));
    assert!(printed(root, &["sql", "select count(*) from history('base', 'val/loss')"]).ends_with("\n21\n"));
    assert!(printed(root, &["runs", "--project", "tiny-lm"]).contains(",train/loss,"));
    assert!(
        printed(root, &["plot", "base", "-k", "vl", "--format", "table"])
            .starts_with("pubclean1 validation loss\n")
    );
    assert!(
        printed(root, &["history", "base", "-k", "both,val/acc", "-n", "3"])
            .starts_with("step,train/loss,val/loss,val/acc\n")
    );
    let none = run(root, &["history", "base", "-k", "none"]);
    assert!(none.code == 1 && none.stderr.contains("has no metric of the group \"none\""), "{}", none.stderr);
    let other = Project::of("jsonl");
    let none = run(other.root(), &["facts", "@best"]);
    assert!(none.code == 2 && none.stderr.contains("primary_metric"), "{}", none.stderr);
}

#[test]
fn logs_are_looked_for_in_the_roots_alone() {
    let project = Project::empty();
    for file in ["a/b/x.jsonl", "a/y.jsonl", "c/z.jsonl", "top.jsonl"] {
        project.write(file, "{\"step\": 0, \"loss\": 2.5}\n{\"step\": 1, \"loss\": 1.5}\n");
    }
    let paths = || {
        project.refresh();
        project.column("select path from runs order by path").join(" ")
    };
    assert_eq!(paths(), "a/b/x.jsonl a/y.jsonl c/z.jsonl top.jsonl");
    project.write("runq.toml", "roots = [\"a/b\", \"c\"]\n");
    assert_eq!(paths(), "a/b/x.jsonl c/z.jsonl");
    project.write("runq.toml", "");
    assert_eq!(paths(), "a/b/x.jsonl a/y.jsonl c/z.jsonl top.jsonl");
}

const WORST: &str = "-- summary: Rank runs by their worst value
-- description: Of one metric.
-- alias: bottom
-- param: metric metric positional  Metric
-- param: limit count -n = 2  Rows
-- param: above number = 0.5  Only above
-- param: seen flag  Nothing
-- column: run_id  run
-- example: runq worst loss

select run_id, max, $seen as seen from summary
where key = $metric and max > $above
order by max desc, run_id limit $limit
";

#[test]
fn queries_of_ones_own_are_commands_everywhere() {
    let project = Project::of("jsonl").with_limits(Limits::default());
    project.write(".runq/queries/worst.sql", WORST);
    project.write("runq.toml", "queries = [\"sql\"]\n");
    project.write("sql/ids.sql", "-- summary: List ids\n\nselect run_id from runs order by run_id\n");
    project
        .write("deep/er/log.jsonl", "{\"step\": 0, \"val_loss\": 2.5}\n{\"step\": 1, \"val_loss\": 1.5}\n");
    let root = project.root();
    let deep = root.join("deep/er");
    let above = printed(root, &["worst", "val_loss"]);
    assert_eq!(above.lines().count(), 3);
    assert_eq!(printed(root, &["bottom", "val_loss", "-n", "1"]).lines().count(), 2);
    assert_eq!(printed(root, &["worst", "val_loss", "--above", "1e9"]), "run_id,max,seen\n");
    assert!(printed(root, &["worst", "val_loss", "--seen"]).contains(",true\n"));
    assert!(printed(root, &["worst", "val_loss", "--agent"]).starts_with("run_id,max,seen\n"));
    let sql = printed(root, &["worst", "val_loss", "--show-sql"]);
    assert!(sql.contains("key = 'val_loss' and max > 0.5"), "{sql}");
    for (args, wrong) in [
        (&["worst"][..], "<METRIC>"),
        (&["worst", "val_loss", "-n", "0"], "'0'"),
        (&["worst", "val_loss", "--above", "x"], "'x'"),
        (&["worst", "val_los"], "did you mean"),
    ] {
        let ran = run(root, args);
        assert!(ran.code > 0 && ran.stderr.contains(wrong), "{args:?}: {}", ran.stderr);
    }
    // `script` gives a terminal, where the system has it.
    let line = format!("{} --color never", env!("CARGO_BIN_EXE_runq"));
    let typed = std::process::Command::new("script")
        .current_dir(root)
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "dumb")
        .env("XDG_STATE_HOME", root.join("state"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    if let Ok(mut prompt) = typed {
        use std::io::Write;
        prompt.stdin.take().unwrap().write_all(b"\\worst val_loss --format csv -n 1\n\\?\n\\q\n").unwrap();
        let said = String::from_utf8_lossy(&prompt.wait_with_output().unwrap().stdout).into_owned();
        assert!(said.contains("run_id,max,seen") && said.contains("\\worst METRIC"), "{said}");
    }
    // From a folder below, before anything was read too.
    let fresh = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(fresh.path().join(".runq/queries")).unwrap();
    std::fs::create_dir_all(fresh.path().join("sub")).unwrap();
    std::fs::write(fresh.path().join(".runq/queries/one.sql"), "-- summary: One\n\nselect 1 as one\n")
        .unwrap();
    assert_eq!(printed(&fresh.path().join("sub"), &["one"]), "one\n1\n");
    assert!(printed(&deep, &["worst", "val_loss"]).starts_with("run_id,max,seen\n"));
    let help = printed(&deep, &["--help"]);
    let own = help.split_once("\nYour own queries:\n").unwrap().1;
    assert!(own.starts_with("  worst  Rank runs by their worst value\n  ids    List ids\n\n"), "{own}");
    let help = printed(&deep, &["worst", "--help"]);
    for line in ["Only above [default: 0.5]", "run_id  run", "runq worst loss", "Of one metric."] {
        assert!(help.contains(line), "{line}: {help}");
    }
}

#[test]
fn a_query_that_is_wrong_costs_only_itself() {
    let project = Project::of("jsonl").with_limits(Limits::default());
    project.write(".runq/queries/good.sql", "-- summary: One\n\nselect 1 as one\n");
    for (name, text) in [
        ("typo", "-- summary: x\n-- parm: a text  b\n\nselect 1\n"),
        ("best", "-- summary: x\n\nselect 1\n"),
        ("list", "-- summary: x\n\nselect 1\n"),
        ("plot", "-- summary: x\n\nselect 1\n"),
        ("opts", "-- summary: x\n-- param: format text  b\n\nselect $format\n"),
        ("letter", "-- summary: x\n-- param: quick count -q = 1  b\n\nselect $quick\n"),
        ("undeclared", "-- summary: x\n\nselect $nobody\n"),
        ("a b", "-- summary: x\n\nselect 1\n"),
    ] {
        project.write(&format!(".runq/queries/{name}.sql"), text);
    }
    project.write(".runq/queries/bytes.sql", [0xff, 0xfe, 0x00]);
    let ran = run(project.root(), &["good"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "one\n1\n"));
    let folder = project.root().canonicalize().unwrap().join(".runq/queries");
    let folder = folder.display();
    let wanted = [
        "a b.sql: a query is named by letters, digits, - and _".to_owned(),
        "best.sql: runq has a command \"best\" of its own".to_owned(),
        "letter.sql:2: parameter \"quick\" has the name or letter of an option of every command".to_owned(),
        "list.sql: runq has a command \"list\" of its own".to_owned(),
        "opts.sql:2: parameter \"format\" has the name or letter of an option of every command".to_owned(),
        "plot.sql: runq has a command \"plot\" of its own".to_owned(),
        "typo.sql:2: unknown key \"parm\"; known are summary, description, alias, part-of, param, column, example".to_owned(),
        "undeclared.sql:3: $nobody is not declared".to_owned(),
    ];
    for line in wanted {
        assert!(ran.stderr.contains(&format!("warning: {folder}/{line}\n")), "{line}: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("bytes.sql"), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 9, "{}", ran.stderr);
    // Built-in ones win.
    assert!(printed(project.root(), &["best", "val_loss", "-n", "1"]).starts_with("run_id,name,metric,"));
    // Who asks for one that is wrong is told why.
    let typo = run(project.root(), &["typo"]);
    assert!(typo.code == 2 && typo.stderr.contains("typo.sql:2: unknown key"), "{}", typo.stderr);
}

#[test]
fn shells_complete_commands_and_queries_of_ones_own() {
    let project = Project::empty();
    project.write(".runq/queries/worst.sql", WORST);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text = printed(project.root(), &["completions", shell]);
        for word in ["best", "history", "diagnose", "code", "worst", "max-tokens", "above"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    let script = project.root().join("runq.bash");
    std::fs::write(&script, printed(project.root(), &["completions", "bash"])).unwrap();
    let ask = ". ./runq.bash; COMP_WORDS=(runq wor); COMP_CWORD=1; _runq runq wor runq; echo ${COMPREPLY[@]}";
    if let Ok(output) =
        std::process::Command::new("bash").current_dir(project.root()).args(["-c", ask]).output()
    {
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "worst\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(run(project.root(), &["completions", "tcsh"]).code, 2);
}

#[test]
fn every_command_has_a_manual_page() {
    let project = Project::empty();
    project.write(".runq/queries/worst.sql", WORST);
    let page = printed(project.root(), &["man"]);
    assert!(
        page.contains(".TH runq 1") && page.contains("runq\\-best(1)") && page.contains("runq\\-worst(1)"),
        "{page}"
    );
    assert_eq!(run(project.root(), &["man", "--dir", "man"]).code, 0);
    let folder = project.root().join("man");
    let canned = built_in().iter().filter(|query| query.part_of.is_none()).map(|query| query.name.as_str());
    for name in canned.chain(["sql", "plot", "code", "diagnose", "skill", "init", "worst"]) {
        let page = std::fs::read_to_string(folder.join(format!("runq-{name}.1")))
            .unwrap_or_else(|_| panic!("{name}"));
        assert!(page.contains(".TH"), "{name}: {page}");
    }
    assert!(!project.root().join(".runq/catalog.sqlite").exists());
}
