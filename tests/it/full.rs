//! A disk that is full, a limit on the size of files, a cache that may not be written: one clear
//! line, and the old state still answers.
#![cfg(unix)]

use crate::common::{Project, leftovers};
use std::process::{Command, Output};

fn lines(steps: std::ops::Range<i64>) -> String {
    steps.map(|step| format!("{{\"step\": {step}, \"loss\": {}}}\n", step * 7919 % 1009)).collect()
}

struct Ran {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code() }
    }

    /// The one line of stderr that begins so.
    fn only(&self, start: &str) -> &str {
        let lines: Vec<&str> = self.stderr.lines().filter(|line| !line.is_empty()).collect();
        let told: Vec<&&str> = lines.iter().filter(|line| line.starts_with(start)).collect();
        assert_eq!(told.len(), 1, "{start}: {}", self.stderr);
        assert!(
            lines.iter().all(|line| line.starts_with(start) || line.starts_with("hint: ")),
            "{}",
            self.stderr
        );
        told[0]
    }
}

/// Runs `runq` where no file may grow beyond `blocks` of 512 or 1024 bytes.
fn limited(project: &Project, blocks: u32, args: &[&str]) -> Ran {
    let script = format!("ulimit -f {blocks} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_runq"), "-C"]).arg(project.root()).args(args);
    Ran::of(command.env_remove("RUNQ_CACHE").output().unwrap())
}

fn plain(project: &Project, args: &[&str]) -> Ran {
    let mut command = crate::common::runq();
    Ran::of(command.arg("-C").arg(project.root()).args(args).env_remove("RUNQ_CACHE").output().unwrap())
}

const COUNT: [&str; 2] = ["sql", "select count(*) as n, max(step) as last from metrics"];

#[test]
fn without_room_for_more_the_old_state_answers() {
    let project = Project::empty();
    project.write("run/train.jsonl", lines(0..100));
    let old = plain(&project, &COUNT);
    assert_eq!((old.code, old.stdout.as_str()), (Some(0), "n,last\n100,99\n"), "{}", old.stderr);
    // Enough that the points do not fit into the largest file allowed.
    project.append("run/train.jsonl", lines(100..60_000));
    // Room for SQLite's files only; and for nothing at all.
    for blocks in [80, 0] {
        let refresh = limited(&project, blocks, &["refresh"]);
        assert_eq!((refresh.code, refresh.stdout.as_str()), (Some(1), ""), "{blocks}: {}", refresh.stderr);
        let line = refresh.only("error: ");
        assert!(line.contains("cannot write the cache in") && line.contains(".runq"), "{blocks}: {line}");
        assert!(refresh.stderr.contains("hint: free some space"), "{blocks}: {}", refresh.stderr);
        let answer = limited(&project, blocks, &COUNT);
        assert_eq!((answer.code, &answer.stdout), (Some(0), &old.stdout), "{blocks}: {}", answer.stderr);
        let line = answer.only("warning: ");
        assert!(line.contains("this answer is as of 20"), "{blocks}: {line}");
        for blocks in [blocks, 1_000_000] {
            let stale = limited(&project, blocks, &[&COUNT[..], &["--no-refresh"]].concat());
            assert_eq!(
                (stale.code, &stale.stdout, stale.stderr.as_str()),
                (Some(0), &old.stdout, ""),
                "{blocks}"
            );
        }
        assert_eq!(leftovers(&project), Vec::<String>::new(), "{blocks}");
    }
    let new = plain(&project, &COUNT);
    assert_eq!((new.code, new.stdout.as_str(), new.stderr.as_str()), (Some(0), "n,last\n60000,59999\n", ""));
}

#[test]
fn without_room_for_a_first_cache_there_is_one_clear_line() {
    let project = Project::empty();
    project.write("run/train.jsonl", lines(0..100));
    let failed = limited(&project, 0, &["best", "loss"]);
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""));
    assert!(failed.only("error: ").contains("cannot write the cache in"), "{}", failed.stderr);
    assert_eq!(plain(&project, &COUNT).stdout, "n,last\n100,99\n");
}

/// Runs a script as the root of a namespace of its own, where it may mount; `None` where that is
/// not allowed.
fn in_namespace(project: &Project, script: &str) -> Option<Ran> {
    let run = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", script, env!("CARGO_BIN_EXE_runq")]);
        command
            .arg(project.root())
            .env_remove("RUNQ_CACHE")
            .env("XDG_CACHE_HOME", project.root().join("home"));
        command.output().ok()
    };
    let may_mount = run("mount -t tmpfs -o size=1m none /tmp").is_some_and(|output| output.status.success());
    if !may_mount {
        eprintln!("skipped: this machine lets no test mount anything");
        return None;
    }
    run(script).map(Ran::of)
}

#[test]
fn a_full_disk_is_told_and_the_old_state_answers() {
    let project = Project::empty();
    project.write("logs/train.jsonl", lines(0..100));
    project.write("more.jsonl", lines(100..60_000));
    std::fs::create_dir(project.root().join("disk")).unwrap();
    let script = "
        cd $1 && mount -t tmpfs -o size=700k none disk || exit 9
        count() { $0 -C logs --cache disk/cache sql 'select count(*) as n from metrics' \"$@\"; echo \"code $?\"; }
        count
        cat more.jsonl >> logs/train.jsonl
        head -c 560k /dev/zero > disk/fill
        echo refresh; $0 -C logs --cache disk/cache refresh; echo \"code $?\"; count; count --no-refresh
        head -c 1m /dev/zero >> disk/fill 2>/dev/null
        echo full; $0 -C logs --cache disk/cache refresh; echo \"code $?\"; count; count --no-refresh
        rm disk/fill; mount -o remount,size=30m disk
        echo free; count; find disk/cache/tmp -type f; umount disk";
    let Some(ran) = in_namespace(&project, script) else { return };
    let old = "n\n100\ncode 0\n";
    let failed = format!("code 1\n{old}{old}");
    let expected = format!("{old}refresh\n{failed}full\n{failed}free\nn\n60000\ncode 0\n");
    assert_eq!(ran.stdout, expected, "{}", ran.stderr);
    let count = |start: &str| ran.stderr.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("error: "), count("warning: ")), (2, 2), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("there is no room left").count(), 4, "{}", ran.stderr);
}

#[test]
fn a_cache_that_may_not_be_written_still_answers() {
    let project = Project::empty();
    project.write("run/train.jsonl", lines(0..100));
    let script = "
        cd $1; count() { $0 sql 'select count(*) as n from metrics' \"$@\"; echo \"code $?\"; }
        count; echo '{\"step\": 100, \"loss\": 1}' >> run/train.jsonl
        mount --bind . . && mount -o remount,ro,bind . || exit 9
        cd .; cd $1
        echo given; count --cache .runq; count --cache .runq --no-refresh
        echo nowhere; XDG_CACHE_HOME=$1/none; export XDG_CACHE_HOME; count; count --no-refresh
        echo own; XDG_CACHE_HOME=$2; count; count --no-refresh";
    let own = tempfile::tempdir().unwrap();
    let script = script.replace("$2", own.path().to_str().unwrap());
    let Some(ran) = in_namespace(&project, &script) else { return };
    let old = "n\n100\ncode 0\n";
    let new = "n\n101\ncode 0\n";
    assert_eq!(
        ran.stdout,
        format!("{old}given\n{old}{old}nowhere\n{old}{old}own\n{new}{new}"),
        "{}",
        ran.stderr
    );
    let warnings: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 2, "{}", ran.stderr);
    assert!(warnings.iter().all(|line| line.contains("cannot write the cache") && line.contains("as of")));
}
