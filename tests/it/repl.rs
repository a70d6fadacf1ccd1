//! The prompt, through a pseudo terminal: statements and commands in, answers out.

use crate::common::Project;
use std::io::Write;
use std::process::{Command, Stdio};

/// What a session prints for these lines; `script` gives it a terminal where the system has it.
fn session(project: &Project, input: &str) -> Option<String> {
    let binary = env!("CARGO_BIN_EXE_runq");
    let line = format!("{binary} -C {} --color never", project.root().display());
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "dumb")
        .env("XDG_STATE_HOME", project.root().join("state"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(input.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn statements_span_lines_and_commands_begin_with_a_backslash() {
    let project = Project::of("jsonl");
    project.refresh();
    let input = "select count(*) as many\nfrom runs;\n\\best val_loss -n 1\n\\d metrics\nselect nope from runs;\n\\q\n";
    // Systems without `script` have no terminal to give.
    let Some(out) = session(&project, input) else { return };
    assert!(out.contains("many") && out.contains("19"), "{out}");
    assert!(out.contains("run_4"), "{out}");
    assert!(out.contains("value") && out.contains("step"), "{out}");
    assert!(out.contains("nope"), "{out}");
}
