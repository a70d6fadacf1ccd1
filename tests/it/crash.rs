//! A refresh that is killed half way leaves the old state or the new one, and the next one carries on.

use crate::common::{Project, Random, ask, child, is_child, leftovers, small_limits};
use runq::store::Limits;
use runq::workspace::Progress;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// `loss` and `lr` of a range of steps; `start` is in every value.
fn lines(steps: std::ops::Range<i64>, start: i64) -> String {
    let line =
        |step: i64| format!("{{\"step\": {step}, \"loss\": {}, \"lr\": 0.{start}}}\n", 10_000 * start + step);
    steps.map(line).collect()
}

/// Limits at which a refresh of small logs flushes often and compacts.
fn limits() -> Limits {
    Limits { flush_points: 700, compact_files: 2, grace_ms: 0, ..small_limits() }
}

/// Whatever is committed is whole: steps without a gap or a repetition from 0 on, as many points of
/// each metric of a run, and `summary` says of them what they are.
fn check_whole(project: &Project) {
    let workspace = project.open();
    if workspace.as_of().is_none() {
        return;
    }
    let points = "select run_id, key, count(*) as n, count(distinct step) as steps, min(step) as low,
        max(step) as high, max(value) as top from metrics group by run_id, key order by run_id, key";
    let points = ask(&workspace, points).unwrap();
    let summary = "select run_id, key, count as n, count as steps, first_step as low, last_step as high,
        max as top from summary order by run_id, key";
    assert_eq!(ask(&workspace, summary).unwrap(), points);
    for metrics in points.chunks(2) {
        let number = |name: &str| metrics.iter().map(|row| row[name].as_i64().unwrap()).collect::<Vec<_>>();
        let (n, high) = (number("n"), number("high"));
        assert!(n.len() == 2 && n[0] == n[1] && number("low") == [0, 0], "{metrics:?}");
        assert_eq!((high[0], high[1]), (n[0] - 1, n[0] - 1), "{metrics:?}");
    }
}

/// The refresh that is killed: the test binary itself, as limits are no option of the command.
#[test]
fn refresh_in_a_child() {
    let Some(mut project) = is_child() else { return };
    project.limits = limits();
    project.open().refresh(&Marks(project.root().join(READ))).unwrap();
}

/// Leaves a file once all logs are read.
struct Marks(PathBuf);

impl Progress for Marks {
    fn finish(&self) {
        std::fs::write(&self.0, "").unwrap();
    }
}

const READ: &str = "read.tmp";

/// Three logs that grow from round to round.
struct Logs {
    project: Project,
    steps: i64,
    round: i64,
}

impl Logs {
    /// New work for a refresh: more steps, or a resume that logs some steps again.
    fn grow(&mut self) {
        let from = if self.round % 3 == 2 { (self.steps - 40).max(0) } else { self.steps };
        self.steps += 250;
        for run in 0..3 {
            self.project.append(&format!("run_{run}/train.jsonl"), lines(from..self.steps, self.round));
        }
        self.round += 1;
    }

    /// Other logs in place of those there were.
    fn begin_again(&mut self) {
        let _ = std::fs::remove_file(self.project.root().join(READ));
        (0..3).for_each(|run| self.project.write(&format!("run_{run}/train.jsonl"), ""));
        self.steps = 0;
        self.grow();
    }

    /// The next refresh completes what those that were killed left.
    fn complete(&self) {
        self.project.refresh();
        assert_eq!(self.project.column("select count(*) from metrics"), [(6 * self.steps).to_string()]);
        assert_eq!(leftovers(&self.project), Vec::<String>::new());
    }
}

/// What a refresh was at when it was killed.
#[derive(Debug, PartialEq, Eq)]
enum At {
    Reading,
    Compaction,
    /// It came too late.
    Done,
}

/// Kills a refresh some time after it began, or after it had read all logs.
fn kill(project: &Project, is_read: bool, after: Duration) -> At {
    let read = project.root().join(READ);
    let _ = std::fs::remove_file(&read);
    let mut child = child(project, "crash::refresh_in_a_child").spawn().unwrap();
    while is_read && !read.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(100));
    }
    std::thread::sleep(after);
    let is_done = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    match (is_done, read.exists()) {
        (true, _) => At::Done,
        (false, true) => At::Compaction,
        (false, false) => At::Reading,
    }
}

/// How long a refresh takes to read all logs, and then to its end.
fn measure(project: &Project) -> (Duration, Duration) {
    let begun = Instant::now();
    let mut child = child(project, "crash::refresh_in_a_child").spawn().unwrap();
    while !project.root().join(READ).exists() {
        std::thread::sleep(Duration::from_micros(100));
    }
    let read = begun.elapsed();
    child.wait().unwrap();
    (read, begun.elapsed() - read)
}

/// 40 kills, or as many as the environment says: `.ci/run` asks for 200.
#[test]
fn killed_at_random_instants_nothing_is_lost_or_torn() {
    let kills = std::env::var("RUNQ_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let mut logs = Logs { project: Project::in_memory().with_limits(limits()), steps: 0, round: 0 };
    let mut random = Random(88_172_645_463_325_252);
    let mut met: Vec<At> = Vec::new();
    let (mut reading, mut compaction) = (Duration::ZERO, Duration::ZERO);
    for round in 0..kills / 4 {
        // What the last rounds left undone is done.
        logs.complete();
        if round % 8 == 0 {
            logs.begin_again();
            logs.complete();
            logs.grow();
            (reading, compaction) = measure(&logs.project);
        }
        for is_read in [false, true, false, true] {
            logs.grow();
            let whole = if is_read { compaction } else { reading };
            let after = Duration::from_micros(random.below(whole.as_micros() as u64));
            met.push(kill(&logs.project, is_read, after));
            check_whole(&logs.project);
        }
    }
    let count = |at: At| met.iter().filter(|met| **met == at).count();
    eprintln!(
        "{} kills: {} met the reading, {} the compaction",
        met.len(),
        count(At::Reading),
        count(At::Compaction)
    );
    logs.complete();
    let undisturbed = Project::in_memory();
    crate::common::copy(logs.project.root(), undisturbed.root());
    std::fs::remove_dir_all(undisturbed.root().join(".runq")).unwrap();
    undisturbed.refresh();
    assert_eq!(logs.project.everything(), undisturbed.everything());
}

#[test]
fn two_refreshes_at_once_convert_once() {
    let project = Project::empty().with_limits(Limits::default());
    for run in 0..4 {
        project.write(&format!("run_{run}/train.jsonl"), lines(0..3_000, 1));
    }
    let spawn = || {
        crate::common::runq()
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
