//! Many processes refresh and ask at once, while the logs grow, are cut, replaced and deleted.

use crate::common::{Project, all_files, ask, child, is_child, leftovers, seconds, small_limits};
use runq::store::Limits;
use runq::workspace::Quiet;
use serde_json::Value;
use std::fs;
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Every value tells which version of the log it is of.
const VERSION: i64 = 1_000_000;

fn lines(steps: std::ops::Range<i64>, version: i64) -> String {
    let line = |step: i64| {
        format!("{{\"step\": {step}, \"loss\": {}, \"acc\": {}}}\n", VERSION * version + step, -step)
    };
    steps.map(line).collect()
}

/// What a log held: its version, and how many steps at least and at most.
#[derive(Debug, Clone, Copy, PartialEq)]
struct State {
    version: i64,
    steps: i64,
}

/// The states of one log, in time.
struct Log {
    path: &'static str,
    states: Mutex<Vec<(Instant, State)>>,
}

impl Log {
    fn new(path: &'static str) -> Self {
        Self { path, states: Mutex::new(vec![(Instant::now(), State { version: 0, steps: 0 })]) }
    }

    fn now(&self, version: i64, steps: i64) {
        self.states.lock().unwrap().push((Instant::now(), State { version, steps }));
    }

    /// States it had between two instants.
    fn between(&self, from: Instant, to: Instant) -> Vec<State> {
        let states = self.states.lock().unwrap();
        let first = states.partition_point(|(at, _)| *at <= from).saturating_sub(1);
        states[first..].iter().take_while(|(at, _)| *at <= to).map(|(_, state)| *state).collect()
    }
}

/// The logs and whether they still change.
struct World {
    project: Project,
    grows: Log,
    cut: Log,
    replaced: Log,
    gone: Log,
    over: AtomicBool,
    answers: AtomicI64,
}

impl World {
    /// Changes the logs without a pause until it is over.
    fn write(&self) {
        let write = |path: &str, text: String| self.project.write(path, text);
        let mut grown = 20;
        for version in 1.. {
            if self.over.load(SeqCst) {
                return;
            }
            // What follows may be seen before it is noted: the larger state is noted first.
            self.grows.now(1, grown + 7);
            self.project.append(self.grows.path, lines(grown..grown + 7, 1));
            grown += 7;
            let steps = 200 + version * 37 % 300;
            self.cut.now(version, steps);
            write(self.cut.path, lines(0..steps / 2, version));
            self.project.append(self.cut.path, lines(steps / 2..steps, version));
            let aside = self.project.root().join("aside.tmp");
            fs::write(&aside, lines(0..steps + 50, version)).unwrap();
            self.replaced.now(version, steps + 50);
            fs::rename(&aside, self.project.root().join(self.replaced.path)).unwrap();
            if version % 3 == 0 {
                self.gone.now(version, 0);
                fs::remove_dir_all(self.project.root().join("gone")).unwrap();
            } else {
                self.gone.now(version, steps);
                write(self.gone.path, lines(0..steps, version));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn command(&self, args: &[&str]) -> Output {
        let mut command = crate::common::runq();
        command.arg("-C").arg(self.project.root()).args(args).stdin(Stdio::null());
        command.env_remove("RUNQ_CACHE").output().unwrap()
    }

    /// Runs a command until it is over and hands its answers to `check`.
    fn ask(&self, args: &[&str], check: impl Fn(&[Value], Instant, Instant)) {
        while !self.over.load(SeqCst) {
            let from = Instant::now();
            let output = self.command(args);
            let to = Instant::now();
            let stderr = String::from_utf8_lossy(&output.stderr);
            let bad = stderr.lines().find(|line| !line.starts_with("note: "));
            assert!(
                output.status.code() == Some(0) && bad.is_none(),
                "{args:?}: {:?} {stderr}",
                output.status
            );
            let stdout = String::from_utf8(output.stdout).unwrap();
            let rows: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            check(&rows, from, to);
            self.answers.fetch_add(1, SeqCst);
        }
    }

    /// Holds an answer to `COUNTS` against what the logs were meanwhile.
    fn check_counts(&self, rows: &[Value], from: Instant, to: Instant, is_fresh: bool) {
        for row in rows {
            let number = |name: &str| row[name].as_i64().unwrap();
            let told = || format!("{row} from a refreshed cache: {is_fresh}");
            let steps = number("n");
            assert_eq!((number("counted"), number("distinct_steps")), (steps, steps), "{}", told());
            assert_eq!((number("low"), number("high")), (0, steps - 1), "{}", told());
            // Rows of two versions are never mixed.
            assert_eq!(number("oldest"), number("newest"), "{}", told());
            let (version, path) = (number("newest"), row["path"].as_str().unwrap());
            let log = [&self.grows, &self.cut, &self.replaced, &self.gone];
            let log = log.into_iter().find(|log| log.path == path).unwrap();
            let earliest = if is_fresh { from } else { from - Duration::from_secs(3_600) };
            let states = log.between(earliest, to);
            let whole = path == self.replaced.path;
            let fits = |state: &State| {
                state.version == version && (if whole { steps == state.steps } else { steps <= state.steps })
            };
            assert!(states.iter().any(fits), "{}\n{states:?}", told());
            if path == self.grows.path && is_fresh {
                // The last line noted may not be written yet.
                assert!(steps >= states[0].steps - 7, "{}\n{states:?}", told());
            }
        }
    }
}

const COUNTS: &str = "
    select r.path, count(*) as n, count(distinct m.step) as distinct_steps, min(s.count) as counted,
        min(m.step) as low, max(m.step) as high,
        cast(min(m.value) / 1000000 as bigint) as oldest, cast(max(m.value) / 1000000 as bigint) as newest
    from metrics m join summary s using (run_id, key) join runs r using (run_id)
    where m.key = 'loss' group by r.path";

/// Compacts all the time, and removes files as soon as they are retired.
fn eager() -> Limits {
    Limits { compact_files: 3, grace_ms: 0, flush_points: 100_000, ..small_limits() }
}

/// A process that lives on, as a prompt does.
#[test]
fn refreshes_in_a_child() {
    let Some(mut project) = is_child() else { return };
    project.limits = eager();
    let workspace = project.open_now();
    for _ in 0..10 {
        workspace.refresh(&Quiet).unwrap();
        ask(&workspace, COUNTS).unwrap();
    }
}

#[test]
fn eight_processes_refresh_and_ask_while_the_logs_change() {
    let world = World {
        project: Project::in_memory(),
        grows: Log::new("grows/train.jsonl"),
        cut: Log::new("cut/train.jsonl"),
        replaced: Log::new("replaced/train.jsonl"),
        gone: Log::new("gone/train.jsonl"),
        over: AtomicBool::new(false),
        answers: AtomicI64::new(0),
    };
    world.project.write(world.grows.path, lines(0..20, 1));
    world.grows.now(1, 20);
    world.project.write(world.replaced.path, "");
    let counts = ["sql", COUNTS, "--format", "jsonl"];
    let stale = ["sql", COUNTS, "--format", "jsonl", "--no-refresh"];
    world.command(&["refresh"]);
    std::thread::scope(|scope| {
        let world = &world;
        let mut threads = vec![scope.spawn(|| world.write())];
        for _ in 0..2 {
            threads.push(scope.spawn(|| world.ask(&["refresh", "--format", "jsonl"], |_, _, _| {})));
        }
        for _ in 0..2 {
            threads.push(scope.spawn(|| {
                world.ask(&counts, |rows, from, to| world.check_counts(rows, from, to, true));
            }));
        }
        threads.push(scope.spawn(|| {
            world.ask(&stale, |rows, from, to| world.check_counts(rows, from, to, false));
        }));
        threads.push(scope.spawn(|| {
            world.ask(&["best", "acc", "--max", "--format", "jsonl"], |rows, _, _| assert!(!rows.is_empty()));
        }));
        threads.push(scope.spawn(|| {
            let history = ["history", "grows", "-k", "loss", "-n", "50", "--format", "jsonl"];
            world.ask(&history, |rows, _, _| assert!(rows.len() <= 50 && rows.len() >= 20));
        }));
        threads.push(scope.spawn(|| {
            while !world.over.load(SeqCst) {
                let output = child(&world.project, "concurrency::refreshes_in_a_child")
                    .stderr(Stdio::piped())
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }));
        let end = Instant::now() + Duration::from_secs(seconds(5));
        while Instant::now() < end && threads.iter().all(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
        }
        world.over.store(true, SeqCst);
    });
    eprintln!("{} answers", world.answers.load(SeqCst));
    check_the_end(&world.project);
}

/// All tables. A log without times bears that of its file, and the file may have been written to between
/// a look at it and its end being read.
fn without_file_times(project: &Project) -> Vec<String> {
    let all = project.everything();
    let lines = all.lines().map(|line| match line.split_once("\"updated_at\":") {
        Some((before, after)) => format!("{before}{}", after.split_once(',').unwrap().1),
        None => line.to_string(),
    });
    lines.collect()
}

/// What is left is what one reading of the logs gives, and no more files than that needs.
fn check_the_end(project: &Project) {
    let cache = project.root().join(".runq");
    let before_sweep = all_files(&cache).len();
    project.refresh();
    let undisturbed = Project::empty();
    crate::common::copy(project.root(), undisturbed.root());
    fs::remove_dir_all(undisturbed.root().join(".runq")).unwrap();
    undisturbed.refresh();
    assert!(without_file_times(project) == without_file_times(&undisturbed));
    let lock = fs::File::options().write(true).open(cache.join("refresh.lock")).unwrap();
    lock.try_lock().unwrap();
    drop(lock);
    // A day later all that was retired is past its grace.
    assert_eq!(leftovers(project), Vec::<String>::new());
    let files = all_files(&cache);
    assert!(files.len() < 120, "{} files of {before_sweep} are left", files.len());
    let side = files.iter().find(|file| file.to_string_lossy().ends_with("-wal"));
    assert!(side.is_none_or(|file| fs::metadata(file).unwrap().len() < 32 << 20));
}

#[test]
fn others_ask_while_the_cache_is_made_anew_again_and_again() {
    let project = Project::in_memory().with_limits(Limits { flush_points: 300, ..eager() });
    for run in 0..3 {
        project.write(&format!("run_{run}/train.jsonl"), lines(0..300, run));
    }
    project.refresh();
    let sql =
        "select run_id, count(*) as n, sum(value) as total from metrics group by run_id order by run_id";
    let expected = project.ask(sql);
    let (over, answers) = (AtomicBool::new(false), AtomicI64::new(0));
    let asks = || {
        while !over.load(SeqCst) {
            let workspace = project.open();
            workspace.refresh(&Quiet).unwrap();
            // A moment later another process may have begun to make it anew.
            let answer = ask(&workspace, sql).unwrap();
            let is_part =
                answer.iter().all(|row| expected.iter().any(|known| known["run_id"] == row["run_id"]));
            assert!(is_part && answer.len() <= expected.len(), "{answer:?}");
            answers.fetch_add(1, SeqCst);
        }
    };
    let harms = || {
        for harm in 0.. {
            if over.load(SeqCst) {
                return;
            }
            let cache = project.root().join(".runq");
            match harm % 3 {
                0 => {
                    let catalog = rusqlite::Connection::open(cache.join("catalog.sqlite")).unwrap();
                    catalog.busy_timeout(Duration::from_secs(30)).unwrap();
                    // Another process may be making it anew just now.
                    let _ =
                        catalog.execute_batch("update meta set value = '0' where name = 'format_version'");
                }
                1 => all_files(&cache.join("metrics")).iter().for_each(|file| drop(fs::remove_file(file))),
                _ => all_files(&cache.join("summary")).iter().for_each(|file| {
                    // It may be gone already.
                    let _ = fs::File::options().write(true).open(file).and_then(|file| file.set_len(100));
                }),
            }
            std::thread::sleep(Duration::from_millis(100));
            // Nobody is asked to mend it faster than it can be mended.
            let answered = answers.load(SeqCst);
            while answers.load(SeqCst) < answered + 3 && !over.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(asks), scope.spawn(asks), scope.spawn(asks), scope.spawn(harms)];
        let end = Instant::now() + Duration::from_secs(seconds(3));
        while Instant::now() < end && threads.iter().all(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
        }
        over.store(true, SeqCst);
    });
    eprintln!("{} answers", answers.load(SeqCst));
    project.refresh();
    assert_eq!(project.ask(sql), expected);
    check_the_end(&project);
}
