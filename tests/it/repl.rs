//! The prompt, through a pseudo terminal: statements and commands in, answers out.

use crate::common::Project;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a session with these options prints for what is typed, one part after the other, a second
/// and a half between them; `script` gives it a terminal where the system has it.
fn session(project: &Project, options: &str, parts: &[&str]) -> Option<String> {
    let binary = env!("CARGO_BIN_EXE_runq");
    let line = format!("{binary} -C {} --color never {options}", project.root().display());
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "dumb")
        .env("XDG_STATE_HOME", project.root().join("state"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut typed = child.stdin.take()?;
    for (index, part) in parts.iter().enumerate() {
        std::thread::sleep(Duration::from_millis(if index == 0 { 0 } else { 1_500 }));
        typed.write_all(part.as_bytes()).ok()?;
    }
    drop(typed);
    let output = child.wait_with_output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a line is just this, the prompt aside.
fn says(out: &str, line: &str) -> bool {
    out.lines().any(|said| said.trim().trim_start_matches("runq> ") == line)
}

#[test]
fn statements_span_lines_and_commands_begin_with_a_backslash() {
    let project = Project::of("jsonl");
    project.refresh();
    let input = "select count(*) as many\nfrom runs;\n\\best val_loss -n 1\n\\d metrics\nselect nope from runs;\n\\q\n";
    // Systems without `script` have no terminal to give.
    let Some(out) = session(&project, "", &[input]) else { return };
    assert!(out.contains("many") && out.contains("21"), "{out}");
    assert!(out.contains("run_4"), "{out}");
    assert!(out.contains("value") && out.contains("step"), "{out}");
    assert!(out.contains("nope"), "{out}");
}

#[test]
fn the_prompt_outlives_its_worker() {
    let project = Project::of("jsonl");
    project.refresh();
    let input = "\\format csv\n\
                 select 11 as first;\n\
                 select length(replace(repeat('a', 1000000), 'a', repeat('b', 1000000)));\n\
                 select 22 as second;\n\
                 drop table runs;\n\
                 select count(*) from generate_series(1, 100000000000);\n\
                 \\sql --format jsonl \"select 33 as third\"\n\
                 \\keys val_los\n\
                 select value from generate_series(1, 10001);\n\
                 \\q\n";
    let Some(out) = session(&project, "--memory 32M --timeout 5s", &[input]) else { return };
    for line in [
        "11",
        "error: the query was stopped: it needed more than 32 MiB of memory",
        "22",
        "error: only statements that read are allowed",
        "error: the query took longer than 5 s",
        "{\"third\":33}",
        "10000",
        "note: the first 10000 rows; all of them: -o FILE, or in a pipe",
    ] {
        assert!(says(&out, line), "{line}:\n{out}");
    }
    assert!(out.contains("val_loss,step,min") && !says(&out, "10001"), "{out}");
}

#[test]
fn ctrl_c_stops_the_statement_and_not_the_prompt() {
    let project = Project::of("jsonl");
    project.refresh();
    let endless = "\\format csv\nselect count(*) from generate_series(1, 1000000) a, \
                   generate_series(1, 1000000) b where (a.value * b.value) % 7 = 3;\n";
    let parts = [endless, "\x03", "select 44 as fourth;\n\\q\n"];
    let Some(out) = session(&project, "--timeout 60s", &parts) else { return };
    assert!(says(&out, "error: interrupted") || out.contains("^Cerror: interrupted"), "{out}");
    assert!(says(&out, "44") && !out.contains("took longer"), "{out}");
}
