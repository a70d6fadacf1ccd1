//! A cache that is damaged is noticed and made anew from the logs, with one line that says so.

use crate::common::{Project, all_files, ask, copy, runtime};
use runq::store::Limits;
use runq::workspace::{Options, Quiet, Workspace};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

fn lines(steps: std::ops::Range<i64>, start: i64) -> String {
    let line = |step: i64| {
        let note = if step % 40 == 7 { ", \"note\": \"a remark\"" } else { "" };
        format!("{{\"step\": {step}, \"loss\": {}, \"lr\": 0.5{note}}}\n", 1_000 * start + step)
    };
    steps.map(line).collect()
}

/// Three runs with configuration; one was resumed and logged some steps again.
fn project() -> Project {
    let project = Project::empty();
    for run in 0..3 {
        project.write(&format!("run_{run}/train.jsonl"), lines(0..120, run));
        project.write(&format!("run_{run}/config.json"), format!("{{\"lr\": {run}}}"));
    }
    project.refresh();
    project.append("run_0/train.jsonl", lines(100..200, 5));
    project.refresh();
    project
}

/// A workspace, and the lines it tells while it answers.
struct Asked {
    workspace: Workspace,
    told: Arc<Mutex<Vec<String>>>,
}

impl Asked {
    fn of(project: &Project, read_only: bool) -> Self {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let keep = Arc::clone(&told);
        let options = Options {
            root: Some(project.root().to_path_buf()),
            limits: project.limits,
            now_ms: Some(project.now_ms),
            read_only,
            ..Options::default()
        };
        let workspace = Workspace::open(options).unwrap();
        let workspace = workspace.on_note(move |line| keep.lock().unwrap().push(line.to_string()));
        Self { workspace, told }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// What a look for changes and a question say, and the answer.
    fn count(&self) -> (Value, Vec<String>) {
        let mut notes = self.workspace.refresh(&Quiet).unwrap().notes;
        let count = ask(&self.workspace, "select count(*) as n from metrics").unwrap().remove(0);
        notes.extend(self.told());
        (count["n"].clone(), notes)
    }

    /// All tables, as after a command that looks for changes first; and what there was to say.
    fn everything(&self) -> (String, Vec<String>) {
        let mut notes = self.workspace.refresh(&Quiet).unwrap().notes;
        let all = crate::common::everything(&self.workspace);
        notes.extend(self.told());
        (all, notes)
    }
}

/// Puts the cache back as it was saved.
fn restore(project: &Project, saved: &Path) {
    let cache = project.root().join(".runq");
    let _ = fs::remove_dir_all(&cache);
    fs::create_dir_all(&cache).unwrap();
    copy(saved, &cache);
}

fn save(project: &Project) -> tempfile::TempDir {
    let saved = tempfile::tempdir().unwrap();
    copy(&project.root().join(".runq"), saved.path());
    saved
}

fn files(project: &Project, table: &str) -> Vec<PathBuf> {
    project.open().files(table).unwrap().into_iter().map(|file| file.path).collect()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

type Harm = (&'static str, fn(&Path));

const HARMS: [Harm; 9] = [
    ("is gone", |path| fs::remove_file(path).unwrap()),
    ("bytes instead of", |path| change(path, |bytes| bytes.truncate(bytes.len() / 2))),
    ("has 0 bytes", |path| fs::write(path, "").unwrap()),
    ("bytes instead of", |path| fs::write(path, "a text in place of a table").unwrap()),
    ("is no file", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("not as it was written", |path| change(path, |bytes| bytes.fill(0))),
    ("not as it was written", |path| change(path, |bytes| bytes[40] ^= 1)),
    ("not as it was written", |path| {
        change(path, |bytes| {
            let footer = bytes.len() - 30;
            bytes[footer] ^= 4;
        })
    }),
    ("not as it was written", |path| {
        change(path, |bytes| {
            // As long, and of Parquet, but of another table.
            let foreign = b"PAR1".iter().chain(std::iter::repeat_n(&7, bytes.len() - 8)).chain(b"PAR1");
            *bytes = foreign.copied().collect();
        })
    }),
];

#[test]
fn a_damaged_file_is_noticed_and_its_runs_are_read_anew() {
    let project = project();
    let before = project.everything();
    let saved = save(&project);
    for (i, table) in ["metrics", "summary", "runs", "configs"].into_iter().enumerate() {
        // Every harm to points, some to each of the others.
        for (why, harm) in HARMS.iter().enumerate().filter(|(k, _)| i == 0 || k % 4 == i).map(|(_, h)| h) {
            restore(&project, saved.path());
            let file = files(&project, table).pop().unwrap();
            harm(&file);
            let (after, notes) = Asked::of(&project, false).everything();
            assert_eq!(notes.len(), 1, "{table} {why}: {notes:?}");
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(notes[0].contains(why) && notes[0].contains(name), "{table} {why}: {notes:?}");
            assert!(notes[0].contains("read anew from the logs"), "{table} {why}: {notes:?}");
            assert!(after == before, "{table} {why}");
            assert_eq!(
                Asked::of(&project, false).everything(),
                (before.clone(), Vec::new()),
                "{table} {why}"
            );
        }
    }
}

#[test]
fn damage_met_by_a_question_is_healed_before_it_is_answered() {
    let project = project();
    let sql =
        "select run_id, key, count(*) as n, sum(value) as s from metrics group by run_id, key order by 1, 2";
    let before = project.ask(sql);
    for table in ["metrics", "runs"] {
        change(&files(&project, table)[0], |bytes| bytes[40] ^= 1);
        let asked = Asked::of(&project, false);
        let sql = if table == "runs" { "select count(*) from runs where name <> ''" } else { sql };
        let answer = ask(&asked.workspace, sql).unwrap();
        assert!(table == "runs" || answer == before);
        assert_eq!(asked.told().len(), 1, "{:?}", asked.told());
    }
    change(&files(&project, "summary")[0], |bytes| bytes[40] ^= 1);
    let asked = Asked::of(&project, false);
    let names = runtime().block_on(asked.workspace.names()).unwrap();
    assert_eq!((names.runs.len(), asked.told().len()), (3, 1));
}

#[test]
fn only_the_runs_in_a_damaged_file_are_read_anew() {
    let project = Project::empty().with_limits(Limits::default());
    for run in 0..4 {
        project.write(&format!("run_{run}/train.jsonl"), lines(0..300, run));
        project.refresh();
    }
    let before = project.everything();
    fs::remove_file(&files(&project, "metrics")[2]).unwrap();
    let outcome = project.refresh();
    assert_eq!(outcome.read_bytes, fs::metadata(project.root().join("run_2/train.jsonl")).unwrap().len());
    assert!(outcome.notes[0].ends_with("is gone: 1 run read anew from the logs"), "{:?}", outcome.notes);
    assert_eq!(project.everything(), before);
}

#[test]
fn without_a_refresh_damage_is_told_and_nothing_is_answered() {
    let project = project();
    let saved = save(&project);
    let catalog = project.root().join(".runq/catalog.sqlite");
    for harm in [0, 1] {
        restore(&project, saved.path());
        match harm {
            0 => change(&files(&project, "metrics")[0], |bytes| bytes[40] ^= 1),
            _ => fs::write(&catalog, "this is no database, but it is long enough to be read as one").unwrap(),
        }
        let written = fs::read(&catalog).unwrap();
        let asked = Asked::of(&project, true);
        let error = ask(&asked.workspace, "select sum(value) from metrics").unwrap_err();
        assert!(error.contains("of the cache"), "{error}");
        let command = crate::common::runq()
            .arg("-C")
            .arg(project.root())
            .args(["--no-refresh", "sql", "select sum(value) from metrics"])
            .output()
            .unwrap();
        let told = String::from_utf8(command.stderr).unwrap();
        assert_eq!((command.status.code(), command.stdout.len()), (Some(1), 0), "{told}");
        assert!(told.starts_with("error: ") && told.contains("hint: leave out --no-refresh"), "{told}");
        assert!(fs::read(&catalog).unwrap() == written, "nothing was changed");
    }
}

#[test]
fn a_command_answers_over_a_damaged_cache_and_says_so_once() {
    let project = Project::of("jsonl").with_limits(Limits::default());
    let run = || {
        let output = crate::common::runq()
            .arg("-C")
            .arg(project.root())
            .args(["best", "val_loss", "-n", "3"])
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let before = run();
    assert_eq!(before.0, Some(0), "{}", before.2);
    for (table, flips) in [("metrics", false), ("summary", true), ("runs", true)] {
        let file = &files(&project, table)[0];
        if flips {
            change(file, |bytes| bytes[40] ^= 1)
        } else {
            fs::remove_file(file).unwrap()
        }
        let after = run();
        assert_eq!((after.0, &after.1), (Some(0), &before.1), "{}", after.2);
        let warnings: Vec<&str> = after.2.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert!(warnings.len() == 1 && warnings[0].contains("of the cache"), "{}", after.2);
        assert_eq!(run(), before);
    }
}

#[test]
fn damage_that_shows_behind_the_first_rows_is_told_and_healed_by_the_next_question() {
    let mut project = Project::empty();
    project.limits.flush_points = 1_000_000;
    project.limits.partitions = Some(1);
    project.write("train.jsonl", lines(0..40_000, 1));
    project.refresh();
    let file = &files(&project, "metrics")[0];
    let end = fs::metadata(file).unwrap().len() as usize;
    assert!(end > 200_000, "several blocks of checksums: {end}");
    change(file, |bytes| bytes[70_000] ^= 1);
    let sql = "select * from metrics_raw";
    let asked = Asked::of(&project, false);
    let error = runtime().block_on(async {
        use futures::TryStreamExt;
        let answer = asked.workspace.sql(sql).await.unwrap();
        let read = answer.stream.try_collect::<Vec<_>>().await;
        read.map(|batches| batches.len()).unwrap_err().to_string()
    });
    assert!(error.contains("not as it was written"), "{error}");
    assert_eq!(ask(&asked.workspace, sql).unwrap().len(), 80_000);
    assert_eq!(asked.told().len(), 1, "{:?}", asked.told());
}

#[test]
fn what_cannot_be_made_anew_is_said() {
    let project = project();
    let lost = project.column("select run_id from runs where path like 'run_1/%'");
    files(&project, "runs").iter().for_each(|file| fs::remove_file(file).unwrap());
    fs::remove_dir_all(project.root().join("run_1")).unwrap();
    let notes = project.refresh().notes;
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[1].contains("the logs are gone") && notes[1].contains(&lost[0]), "{notes:?}");
    assert_eq!(project.column("select count(*) from runs"), ["2"]);
}

fn sql(path: &Path, statement: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(statement).unwrap();
}

const CATALOG_HARMS: [Harm; 12] = [
    ("is no database", |path| {
        fs::write(path, "this is no database, but it is long enough to be one").unwrap()
    }),
    ("is no database", |path| fs::write(path, vec![b'x'; 100_000]).unwrap()),
    ("is damaged", |path| change(path, |bytes| bytes.truncate(bytes.len() / 2))),
    ("the catalog of the cache", |path| change(path, |bytes| bytes.truncate(100))),
    ("is gone", |path| fs::write(path, "").unwrap()),
    ("is gone", |path| fs::remove_file(path).unwrap()),
    ("is of version 1", |path| sql(path, "update meta set value = '1' where name = 'format_version'")),
    ("something else", |path| {
        fs::remove_file(path).unwrap();
        sql(path, "create table song (name text); insert into song values ('x')");
    }),
    ("is damaged", |path| sql(path, "drop table hidden")),
    ("is damaged", |path| sql(path, "update input set offset = offset + 1 where path like 'run_1%'")),
    ("is damaged", |path| sql(path, "update file set row_count = row_count + 1 where tbl = 'metrics'")),
    ("is damaged", |path| {
        change(path, |bytes| {
            let page = bytes.len() / 4096 / 2 * 4096;
            bytes[page..].fill(0);
        })
    }),
];

#[test]
fn a_catalog_that_cannot_be_believed_is_made_anew_with_the_whole_cache() {
    let project = project();
    let before = project.everything();
    let saved = save(&project);
    for (i, (why, harm)) in CATALOG_HARMS.iter().enumerate() {
        restore(&project, saved.path());
        harm(&project.root().join(".runq/catalog.sqlite"));
        let (after, notes) = Asked::of(&project, false).everything();
        assert_eq!(notes.len(), 1, "{i} {why}: {notes:?}");
        assert!(
            notes[0].contains(why) && notes[0].contains("made anew from the logs"),
            "{i} {why}: {notes:?}"
        );
        assert!(after == before, "{i} {why}");
        assert_eq!(crate::common::leftovers(&project), Vec::<String>::new(), "{i} {why}");
        assert_eq!(Asked::of(&project, false).count(), (880.into(), Vec::new()), "{i} {why}");
    }
}

#[test]
fn a_catalog_without_the_log_of_its_last_commits_goes_on_from_there() {
    let project = project();
    // As long as somebody has it open, the last commits are in the log beside it.
    let open = project.open();
    ask(&open, "select 1").unwrap();
    project.append("run_2/train.jsonl", lines(120..300, 7));
    project.refresh();
    assert!(fs::metadata(project.root().join(".runq/catalog.sqlite-wal")).unwrap().len() > 0);
    let before = project.everything();
    let bare = Project::empty();
    copy(project.root(), bare.root());
    for side in ["-wal", "-shm"] {
        fs::remove_file(bare.root().join(format!(".runq/catalog.sqlite{side}"))).unwrap();
    }
    bare.refresh();
    assert_eq!(bare.everything(), before);
    assert_eq!(crate::common::leftovers(&bare), Vec::<String>::new());
}

#[test]
fn damage_of_the_catalog_that_shows_only_in_a_question_is_healed_by_it() {
    let project = project();
    project.write("bad.jsonl", lines(0..20, 1) + "{\"step\": 1e25, \"loss\": 9.5}\n" + &lines(20..21, 1));
    project.refresh();
    let before = ask(&project.open(), "select * from problems").unwrap();
    assert_eq!(before.len(), 1);
    // Nothing but that table reads it.
    sql(&project.root().join(".runq/catalog.sqlite"), "update problem set message = x'ff00'");
    let asked = Asked::of(&project, false);
    assert_eq!(ask(&asked.workspace, "select * from problems").unwrap(), before);
    let told = asked.told();
    assert!(told.iter().any(|line| line.contains("the cache was made anew")), "{told:?}");
}

#[test]
fn changed_bytes_anywhere_never_give_a_wrong_answer() {
    let harms = std::env::var("RUNQ_TEST_HARMS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let project = project();
    let before = project.everything();
    let saved = save(&project);
    let names: Vec<PathBuf> =
        all_files(saved.path()).into_iter().filter(|path| !path.ends_with("refresh.lock")).collect();
    let mut random = crate::common::Random(2_463_534_242);
    let mut noticed = 0;
    for harm in 0..harms {
        restore(&project, saved.path());
        // The catalog is harmed as often as all tables.
        let catalog = saved.path().join("catalog.sqlite");
        let name = if harm % 2 == 0 { &catalog } else { &names[random.below(names.len() as u64) as usize] };
        let file = project.root().join(".runq").join(name.strip_prefix(saved.path()).unwrap());
        change(&file, |bytes| {
            let at = random.below(bytes.len() as u64) as usize;
            match harm % 4 / 2 {
                0 => bytes[at] ^= 1 << random.below(8),
                _ => bytes[at..].iter_mut().take(64).for_each(|byte| *byte = random.below(256) as u8),
            }
        });
        let (after, notes) = Asked::of(&project, false).everything();
        assert!(after == before, "harm {harm} of {}: {notes:?}", file.display());
        noticed += usize::from(!notes.is_empty());
    }
    eprintln!("{noticed} of {harms} harms were noticed, the others met nothing that is read");
}

#[test]
fn the_numbers_of_alerts_go_on_after_a_rebuild() {
    let project = Project::of("wandb");
    project.refresh();
    let seqs = || -> BTreeSet<i64> {
        project.column("select seq from alerts").iter().map(|seq| seq.parse().unwrap()).collect()
    };
    let before = seqs();
    assert!(!before.is_empty());
    fs::write(project.root().join(".runq/catalog.sqlite"), vec![1; 50_000]).unwrap();
    project.refresh();
    let after = seqs();
    assert_eq!(after.len(), before.len());
    assert!(after.first() > before.last(), "{before:?} {after:?}");
}

#[test]
fn what_is_not_of_the_cache_is_left_alone() {
    let project = Project::empty();
    project.write("runs/exp/train.jsonl", lines(0..50, 1));
    project.write("metrics/project=x/notes.parquet", "mine");
    let options = || Options {
        root: Some(project.root().to_path_buf()),
        cache: Some(project.root().to_path_buf()),
        ..Options::default()
    };
    Workspace::open(options()).unwrap().refresh(&Quiet).unwrap();
    fs::write(project.root().join("catalog.sqlite"), vec![1; 5_000]).unwrap();
    let workspace = Workspace::open(options()).unwrap();
    workspace.refresh(&Quiet).unwrap();
    assert_eq!(ask(&workspace, "select count(*) as n from metrics").unwrap()[0]["n"], 100);
    let left = all_files(project.root());
    for own in ["runs/exp/train.jsonl", "metrics/project=x/notes.parquet"] {
        assert!(left.contains(&project.root().join(own)), "{own}: {left:?}");
    }
}
