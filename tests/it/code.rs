//! The code of a run: what its log says, the commands that bring it back, and what differs.

use crate::common::{Project, all_files, runq};
use runq::report::tokens::estimate;
use runq::store::Limits;
use std::path::Path;
use std::process::Command;

struct Ran {
    stdout: String,
    stderr: String,
    code: i32,
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    // A signal is no wrong answer, and tells another story.
    let code = output.status.code().unwrap_or_else(|| panic!("{command:?}: {}", output.status));
    Ran { stdout: text(output.stdout), stderr: text(output.stderr), code }
}

fn run(folder: &Path, args: &[&str]) -> Ran {
    ran(runq().current_dir(folder).args(args))
}

fn printed(folder: &Path, args: &[&str]) -> String {
    let ran = run(folder, args);
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
    ran.stdout
}

pub fn git(folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(folder).args([
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t",
        "-c",
        "init.defaultBranch=main",
        // Nothing of git is to run on in the background.
        "-c",
        "gc.auto=0",
        "-c",
        "maintenance.auto=false",
    ]);
    let ran = ran(command.args(args).env("GIT_CONFIG_GLOBAL", "/dev/null"));
    assert_eq!(ran.code, 0, "git {args:?}: {}", ran.stderr);
    ran.stdout.trim().to_owned()
}

/// A repository with logs in it: `one` at a first commit, `two` at a second, `best` at a snapshot of
/// changes that exprag made.
fn repository() -> (Project, [String; 3]) {
    let project = Project::empty().with_limits(Limits::default());
    let folder = project.root().join("repo");
    project.write("repo/.gitignore", ".exprag\n.runq\nrunq.toml\n");
    project.write("repo/runq.toml", "");
    project.write("repo/train.py", "lr = 1\n");
    git(&folder, &["init", "-q"]);
    let commit = |text: &str| {
        project.write("repo/train.py", text);
        git(&folder, &["add", "-A"]);
        git(&folder, &["commit", "-q", "--allow-empty", "-m", "c"]);
        git(&folder, &["rev-parse", "HEAD"])
    };
    let one = commit("lr = 1\n");
    let two = commit("lr = 2\nwarmup = 10\n");
    let snapshot = commit("lr = 3\nwarmup = 10\n");
    git(&folder, &["branch", "run/best", &snapshot]);
    git(&folder, &["reset", "-q", "--hard", &two]);
    for (id, commit, branch, dirty, loss) in [
        ("one", &one, "main", false, 3.5),
        ("two", &two, "main", false, 2.5),
        ("best", &snapshot, "run/best", true, 1.5),
    ] {
        let start = serde_json::json!({
            "created_at": "2026-11-20T18:07:54.3+00:00", "exprag_version": "0.1.2", "kind": "run_start", "run_id": id,
            "value": {
                "git": {"branch": branch, "commit": commit, "dirty": dirty},
                "metadata": {"lr": loss, "seed": 1},
                "process": {"argv": ["python", "train.py", "--run", id], "cwd": "/nowhere/at/all"},
            },
        });
        let point = |step: u32| serde_json::json!({"kind": "track", "value": {"step": step, "loss": loss + 1.0 / f64::from(step + 1)}});
        project.write(
            &format!("repo/.exprag/runs/{id}.jsonl"),
            format!("{start}\n{}\n{}\n", point(0), point(1)),
        );
    }
    (project, [one, two, snapshot])
}

/// The lines of the commands in an answer for an agent.
pub fn commands(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("git ")).collect()
}

pub fn shell(folder: &Path, command: &str) {
    let ran = ran(Command::new("sh").current_dir(folder).args(["-c", command]));
    assert_eq!(ran.code, 0, "{command}: {}", ran.stderr);
}

#[test]
fn the_code_of_the_best_run_is_restored() {
    let (project, [_, two, snapshot]) = repository();
    let folder = project.root().join("repo");
    let text = printed(&folder, &["code", "@best:loss", "--agent"]);
    assert_eq!(commands(&text), [format!("git worktree add --detach ../run-best {snapshot}")], "{text}");
    assert!(text.contains(&format!("base,{two}\n")) && text.contains("in_repository,true\n"), "{text}");
    assert!(text.contains("command,train.py --run best\n"), "{text}");
    assert!(text.ends_with("its first parent is the commit they were made on\n"), "{text}");
    assert!(estimate(&text) < 300, "{} tokens", estimate(&text));
    shell(&folder, commands(&text)[0]);
    let restored = project.root().join("run-best/train.py");
    assert_eq!(std::fs::read_to_string(&restored).unwrap(), "lr = 3\nwarmup = 10\n");
    // From elsewhere the commands name the repository.
    let text = printed(project.root(), &["-C", "repo", "code", "one", "--agent"]);
    shell(project.root(), commands(&text)[0]);
    assert_eq!(std::fs::read_to_string(project.root().join("run-one/train.py")).unwrap(), "lr = 1\n");
    let json = printed(&folder, &["code", "two", "--format", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let restore = rows.iter().find(|row| row["fact"] == "restore").unwrap();
    assert_eq!(restore["value"], format!("git worktree add --detach ../run-two {two}"));
    let table = printed(&folder, &["code", "two", "--format", "table"]);
    assert!(table.contains(&format!("\n  git worktree add --detach ../run-two {two}\n")), "{table}");
}

#[test]
fn a_patch_that_wandb_kept_is_applied_on_top() {
    let project = Project::empty().with_limits(Limits::default());
    project.write("train.py", "lr = 1\n");
    git(project.root(), &["init", "-q"]);
    git(project.root(), &["add", "train.py"]);
    git(project.root(), &["commit", "-q", "-m", "c"]);
    let commit = git(project.root(), &["rev-parse", "HEAD"]);
    project.write("train.py", "lr = 7\n");
    let files = "wandb/run-20260102_030405-abc123/files";
    project.write(&format!("{files}/diff.patch"), git(project.root(), &["diff", "HEAD"]) + "\n");
    git(project.root(), &["checkout", "-q", "train.py"]);
    project.write(&format!("{files}/requirements.txt"), "numpy==2.1.0\ntorch==2.15.0\n");
    let metadata = serde_json::json!({
        "python": "3.12.1", "root": "/home/x", "host": "h", "program": "train.py", "args": ["--api-key", "hush"],
        "git": {"commit": commit, "remote": "https://u:pa55word@example.org/r.git"},
    });
    project.write(&format!("{files}/wandb-metadata.json"), metadata.to_string());
    project.write(&format!("{files}/wandb-summary.json"), r#"{"loss": 1.5}"#);
    let text = printed(project.root(), &["code", "abc123", "--agent"]);
    for line in [
        "dirty,true",
        "command,train.py --api-key '***'",
        "remote,https://u:***@example.org/r.git",
        "python,3.12.1",
        "packages,2",
        "host,h",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    let outside = tempfile::tempdir().unwrap();
    let parent = outside.path().canonicalize().unwrap();
    let moved = parent.join("r");
    std::fs::rename(project.root(), &moved).unwrap();
    let text = printed(&moved, &["code", "abc123", "--agent"]);
    commands(&text).iter().for_each(|command| shell(&moved, command));
    assert_eq!(std::fs::read_to_string(parent.join("run-abc123/train.py")).unwrap(), "lr = 7\n");
    std::fs::rename(&moved, project.root()).unwrap();
    let difference = run(project.root(), &["code", "abc123", "--diff"]);
    assert_eq!((difference.code, difference.stdout.as_str()), (0, ""));
    assert!(
        difference.stderr.contains("that are left out here:") && difference.stderr.contains("no difference")
    );
}

#[test]
fn a_commit_that_was_never_pushed_is_rebuilt_from_the_one_the_remote_had() {
    let project = Project::empty().with_limits(Limits::default());
    let (remote, theirs) = (project.root().join("remote"), project.root().join("theirs"));
    project.write("theirs/train.py", "lr = 1\n");
    git(&theirs, &["init", "-q"]);
    git(&theirs, &["add", "-A"]);
    git(&theirs, &["commit", "-q", "-m", "c"]);
    let upstream = git(&theirs, &["rev-parse", "HEAD"]);
    git(project.root(), &["clone", "-q", "--bare", "theirs", "remote"]);
    git(project.root(), &["clone", "-q", "remote", "mine"]);
    project.write("theirs/train.py", "lr = 5\n");
    git(&theirs, &["commit", "-q", "-a", "-m", "local"]);
    let local = git(&theirs, &["rev-parse", "HEAD"]);
    project.write("theirs/model.py", "depth = 3\n");
    git(&theirs, &["add", "-A"]);
    for (folder, id) in [("mine", "aaa111"), ("outside", "bbb222")] {
        let files = format!("wandb/run-20260102_030405-{id}/files");
        let write = |name: &str, text: String| project.write(&format!("{folder}/{files}/{name}"), text);
        write(&format!("upstream_diff_{upstream}.patch"), git(&theirs, &["diff", &upstream]) + "\n");
        write("diff.patch", git(&theirs, &["diff", "HEAD"]) + "\n");
        write("wandb-summary.json", r#"{"loss": 1.5}"#.to_owned());
        let git = serde_json::json!({"commit": local, "remote": remote});
        write("wandb-metadata.json", serde_json::json!({"git": git}).to_string());
    }
    // The repository around holds what the remote had; where none is around, it is cloned.
    for (folder, id, first) in [("mine", "aaa111", "git worktree add"), ("outside", "bbb222", "git clone")] {
        let folder = project.root().join(folder);
        let text = printed(&folder, &["-C", ".", "code", id, "--agent"]);
        assert!(commands(&text)[0].starts_with(first), "{text}");
        assert!(text.contains(&format!("upstream_commit,{upstream}\n")), "{text}");
        assert!(text.contains(&format!("the patch holds all changes since {upstream}")), "{text}");
        commands(&text).iter().for_each(|command| shell(&folder, command));
        let restored = folder.parent().unwrap().join(format!("run-{id}"));
        assert_eq!(std::fs::read_to_string(restored.join("train.py")).unwrap(), "lr = 5\n");
        assert_eq!(std::fs::read_to_string(restored.join("model.py")).unwrap(), "depth = 3\n");
        std::fs::remove_dir_all(restored).unwrap();
    }
    // With the commit at hand it is checked out, and just what was not committed is put on top.
    std::fs::rename(project.root().join("outside/wandb"), theirs.join("wandb")).unwrap();
    let text = printed(&theirs, &["-C", ".", "code", "bbb222", "--agent"]);
    assert!(commands(&text)[0].ends_with(&local) && commands(&text)[1].ends_with("diff.patch"), "{text}");
}

#[test]
fn differences_of_code_are_shown() {
    let (project, [one, two, _]) = repository();
    let folder = project.root().join("repo");
    let text = printed(&folder, &["code", "one", "--diff", "two"]);
    assert!(
        text.starts_with("diff --git a/train.py b/train.py\n") && text.contains("\n-lr = 1\n+lr = 2\n"),
        "{text}"
    );
    assert_eq!(
        printed(&folder, &["code", "one", "--diff", "two", "--stat"]),
        "path,added,deleted\ntrain.py,2,1\n"
    );
    let same = run(&folder, &["code", "two", "--diff"]);
    assert_eq!((same.stdout.as_str(), same.stderr.as_str()), ("", "note: no difference\n"));
    project.write("repo/train.py", "lr = 9\nwarmup = 10\n");
    let text = printed(&folder, &["code", "two", "--diff", "now"]);
    assert!(text.contains("\n-lr = 2\n+lr = 9\n"), "{text}");
    // An agent gets the files, the beginning, and the command for the rest.
    project.write("repo/train.py", (0..2_000).map(|line| format!("line = {line}\n")).collect::<String>());
    let text = printed(&folder, &["code", "two", "--diff", "--agent", "--max-tokens", "400"]);
    assert!(text.starts_with("path,added,deleted\ntrain.py,2000,2\ndiff --git "), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.ends_with(&format!(" of 2007 lines of the difference; all: git diff {two}")), "{last}");
    assert!(estimate(&text) <= 400, "{} tokens", estimate(&text));
    let none = run(&folder, &["code", "one", "--diff", "three"]);
    assert!(none.code == 1 && none.stderr.contains("run \"three\" not found"), "{}", none.stderr);
    assert_eq!(run(&folder, &["code", "one", "--stat"]).code, 2);
    let diff = printed(&folder, &["diff", "one", "two"]);
    assert_eq!(
        diff,
        format!(
            "part,key,a,b\nconfig,lr,3.5,2.5\ncommand,args,--run one,--run two\ncode,git_commit,{one},{two}\n"
        )
    );
    let diff = printed(&folder, &["diff", "one", "two", "--agent"]);
    assert_eq!(diff.lines().last().unwrap(), format!("# code: git diff {one} {two}"));
    let diff = printed(&folder, &["diff", "one", "two", "--code", "--agent"]);
    assert!(
        diff.contains("\n\npath,added,deleted\ntrain.py,2,1\ndiff --git ") && diff.contains("\n+lr = 2\n"),
        "{diff}"
    );
    let diff = printed(&folder, &["diff", "one", "two", "--code"]);
    assert!(diff.ends_with("\nfiles,train.py,1,2\n"), "{diff}");
    let same = printed(&folder, &["diff", "one", "one", "--agent"]);
    assert_eq!(same, "no difference between one and one\n");
    let same = run(&folder, &["diff", "one", "one"]);
    assert_eq!(
        (same.stdout.as_str(), same.stderr.as_str()),
        ("part,key,a,b\n", "note: no difference between one and one\n")
    );
}

#[test]
fn packages_that_differ_are_listed() {
    let project = Project::empty().with_limits(Limits::default());
    for (id, lr, packages) in
        [("aaa", "0.001", "numpy==1\ntorch==2\n"), ("bbb", "1e-3", "numpy==1\ntorch==3\nzstd==1\n")]
    {
        let files = format!("wandb/run-20260102_030405-{id}/files");
        project.write(&format!("{files}/requirements.txt"), packages);
        project.write(&format!("{files}/config.yaml"), format!("lr:\n  value: {lr}\n"));
        project.write(&format!("{files}/wandb-summary.json"), r#"{"loss": 1.5}"#);
    }
    let diff = printed(project.root(), &["diff", "aaa", "bbb"]);
    assert_eq!(diff, "part,key,a,b\npackages,torch,2,3\npackages,zstd,,1\n");
    let jsonl = printed(project.root(), &["diff", "aaa", "bbb", "--format", "jsonl"]);
    assert!(jsonl.ends_with("{\"part\":\"packages\",\"key\":\"zstd\",\"a\":null,\"b\":\"1\"}\n"), "{jsonl}");
}

#[test]
fn code_that_is_not_at_hand_is_asked_for() {
    let (project, [one, two, _]) = repository();
    let folder = project.root().join("repo");
    let empty = project.root().join("empty");
    std::fs::create_dir(&empty).unwrap();
    // Neither around the logs nor here is a repository: only the logs tell.
    std::fs::rename(folder.join(".git"), project.root().join("elsewhere")).unwrap();
    let text = run(&folder, &["code", "one", "--agent"]);
    assert!(
        text.stdout.contains("in_repository,false\n") && commands(&text.stdout).is_empty(),
        "{}",
        text.stdout
    );
    let last = text.stdout.lines().last().unwrap();
    assert_eq!(
        last,
        "# no repository is around the logs or the working folder; no remote is known: the run was started in /nowhere/at/all"
    );
    let failed = run(&folder, &["code", "one", "--diff", "two"]);
    assert_eq!(failed.code, 1);
    assert!(
        failed.stderr.contains(&format!("no repository is around that holds commit {one}")),
        "{}",
        failed.stderr
    );
    let diff = run(&folder, &["diff", "one", "two", "--agent"]);
    assert_eq!(diff.stdout.lines().last().unwrap(), format!("# code: git diff {one} {two}"));
    assert_eq!(diff.stderr, "note: no repository around holds both commits\n");
    assert_eq!(run(&folder, &["diff", "one", "two", "--code"]).code, 1);
    // A repository that lacks the commit, with a remote.
    git(&folder, &["init", "-q"]);
    git(&folder, &["remote", "add", "origin", "git@example.org:a/b.git"]);
    let text = printed(&folder, &["code", "one", "--agent"]);
    let wanted = [format!("git fetch origin {one}"), format!("git worktree add --detach ../run-one {one}")];
    assert_eq!(commands(&text), wanted, "{text}");
    // Without git the logs still tell.
    let text = ran(runq().current_dir(&folder).env("PATH", &empty).args(["code", "one", "--agent"]));
    assert!(text.stdout.contains(&format!("commit,{one}\n")), "{}", text.stdout);
    assert!(text.stdout.contains("# git is not installed here"), "{}", text.stdout);
    let failed = ran(runq().current_dir(&folder).env("PATH", &empty).args(["code", "one", "--diff"]));
    assert!(failed.code == 1 && failed.stderr.contains("git is not installed here"), "{}", failed.stderr);
}

/// Bytes and times of every file of a repository.
fn state_of(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>, std::time::SystemTime)> {
    let state = |file: std::path::PathBuf| {
        let modified = file.metadata().unwrap().modified().unwrap();
        (file.clone(), std::fs::read(file).unwrap(), modified)
    };
    let mut all: Vec<_> = all_files(folder).into_iter().map(state).collect();
    all.sort();
    all
}

#[test]
fn a_repository_is_only_looked_into_and_runs_nothing() {
    let (project, [_, two, _]) = repository();
    let folder = project.root().join("repo");
    // The files are as they were, with other times: git would like to write that down.
    project.write("repo/train.py", "lr = 2\nwarmup = 10\n");
    let pwned = project.root().join("pwned");
    let program = format!("touch {}; true", pwned.display());
    for setting in [
        "core.fsmonitor",
        "diff.external",
        "core.pager",
        "diff.x.textconv",
        "diff.x.command",
        "filter.f.clean",
        "filter.f.process",
    ] {
        git(&folder, &["config", setting, &program]);
    }
    project.write("repo/.git/info/attributes", "*.py diff=x filter=f\n");
    for hook in ["post-index-change", "post-checkout", "reference-transaction"] {
        project.write(&format!("repo/.git/hooks/{hook}"), format!("#!/bin/sh\n{program}\n"));
        shell(&folder, &format!("chmod +x .git/hooks/{hook}"));
    }
    let option = format!("--output={}", pwned.display());
    let line = format!(
        r#"{{"exprag_version":"0.1.2","kind":"run_start","run_id":"evil","value":{{"git":{{"branch":"\u001b]0;x","commit":"{option}","dirty":false}}}}}}"#
    );
    project.write(
        "repo/.exprag/runs/evil.jsonl",
        line + "\n{\"kind\":\"track\",\"value\":{\"step\":0,\"loss\":9.5}}\n",
    );
    let before = state_of(&folder.join(".git"));
    for args in [
        &["code", "two"][..],
        &["code", "one", "--diff"],
        &["code", "two", "--diff", "now"],
        &["code", "one", "--diff", "two", "--stat"],
        &["diff", "one", "two", "--code", "--agent"],
        &["code", "evil", "--agent"],
        &["diff", "evil", "two"],
    ] {
        printed(&folder, args);
    }
    assert_eq!(run(&folder, &["code", "evil", "--diff"]).code, 1);
    let text = printed(&folder, &["code", "evil", "--agent"]);
    assert!(commands(&text).is_empty() && text.contains("is no hash") && !text.contains('\u{1b}'), "{text}");
    let diff = run(&folder, &["diff", "evil", "two", "--agent"]);
    assert!(!diff.stdout.contains("# code") && !diff.stdout.contains('\u{1b}'), "{}", diff.stdout);
    assert_eq!(state_of(&folder.join(".git")), before);
    assert!(!pwned.exists());
    assert_eq!(git(&folder, &["rev-parse", "HEAD"]), two);
}
