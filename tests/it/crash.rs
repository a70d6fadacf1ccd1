//! A refresh that is killed half way leaves the old state or the new one, and the next one carries on.

use crate::common::Project;
use runq::store::Limits;
use std::process::{Command, Stdio};
use std::time::Duration;

fn lines(steps: i64) -> String {
    (0..steps)
        .map(|step| {
            format!(
                "{{\"step\": {step}, \"loss\": {}, \"lr\": {}}}\n",
                4.0 / (1 + step) as f64,
                1e-3 / (1 + step) as f64
            )
        })
        .collect()
}

#[test]
fn killed_at_any_moment_nothing_is_lost_or_torn() {
    let project = Project::empty().with_limits(Limits::default());
    for run in 0..4 {
        project.write(&format!("run_{run}/train.jsonl"), lines(6_000));
    }
    for delay_ms in [5, 15, 30, 45, 60, 90, 120, 160, 220, 300] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_runq"))
            .args(["-C", project.root().to_str().unwrap(), "refresh"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        if !project.root().join(".runq/catalog.sqlite").exists() {
            continue;
        }
        // Whatever is committed is whole: each run has all points of each step it shows.
        let torn = project.ask(
            "select run_id from metrics group by run_id having count(*) filter (where key = 'loss') <> count(*) filter (where key = 'lr')",
        );
        assert!(torn.is_empty(), "{torn:?} after {delay_ms} ms");
        // Start over, so that each round may be killed in the middle of its work.
        if delay_ms % 2 == 0 {
            std::fs::remove_dir_all(project.root().join(".runq")).unwrap();
        }
    }
    project.refresh();
    assert_eq!(project.column("select count(*) from metrics"), ["48000"]);
    assert_eq!(project.column("select count(*) from runs"), ["4"]);
}

#[test]
fn two_refreshes_at_once_convert_once() {
    let project = Project::empty().with_limits(Limits::default());
    for run in 0..4 {
        project.write(&format!("run_{run}/train.jsonl"), lines(3_000));
    }
    let spawn = || {
        Command::new(env!("CARGO_BIN_EXE_runq"))
            .args(["-C", project.root().to_str().unwrap(), "sql", "select count(*) as n from metrics"])
            .stderr(Stdio::inherit())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children = [spawn(), spawn(), spawn()];
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "n\n24000\n");
    }
    assert_eq!(project.column("select count(*) from metrics_raw"), ["24000"]);
}
