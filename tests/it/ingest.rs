//! A log that changes, and its tables: append, cut, rewrite, delete, resume, compaction.

use crate::common::{Project, ask, data, read_at_once, small_limits};
use runq::store::Limits;
use runq::workspace::Outcome;
use std::fs;

/// `{"step": i, "loss": ..., "lr": ...}` for a range of steps; a loss on a tenth of them is tagged.
fn lines(steps: std::ops::Range<i64>, offset: f64) -> String {
    let line = |step: i64| {
        let loss = offset + 4.0 / (1.0 + step as f64);
        let val = if step % 10 == 0 { format!(", \"val_loss\": {}", loss + 0.1) } else { String::new() };
        format!(
            "{{\"step\": {step}, \"loss\": {loss}, \"lr\": 0.001{val}, \"time\": {}}}\n",
            1_760_000_000 + step
        )
    };
    steps.map(line).collect()
}

#[test]
fn appending_in_pieces_gives_the_tables_of_reading_at_once() {
    let project = Project::empty();
    let text = lines(0..2_000, 1.0);
    let (mut at, mut piece) = (0, 1);
    while at < text.len() {
        let end = (at + piece).min(text.len());
        project.append("run/train.jsonl", &text[at..end]);
        project.refresh();
        (at, piece) = (end, piece * 3 + 7);
    }
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn a_refresh_reads_what_was_appended_and_rewrites_nothing() {
    let project = Project::empty().with_limits(Limits::default());
    project.write("train.jsonl", lines(0..5_000, 1.0));
    let first = project.refresh();
    assert_eq!(first.point_count, 5_000 * 2 + 500);
    assert_eq!(first.read_bytes, fs::metadata(project.root().join("train.jsonl")).unwrap().len());
    let files = |table: &str| -> Vec<_> {
        project.open().files(table).unwrap().into_iter().map(|file| file.path).collect()
    };
    let before = files("metrics");
    let none = project.refresh();
    assert_eq!((none.read_bytes, none.written_files, none.point_count), (0, 0, 0));
    let more = lines(5_000..5_010, 1.0);
    project.append("train.jsonl", &more);
    let second = project.refresh();
    assert_eq!(second.read_bytes, more.len() as u64);
    assert_eq!(second.point_count, 21);
    // One file of points, and the new rows of the run in `runs`, `summary`, `alerts` and `phases`.
    assert_eq!(second.written_files, 5);
    assert!(before.iter().all(|file| files("metrics").contains(file)), "no file of points was rewritten");
}

#[test]
fn a_resume_rewrites_no_file_and_the_last_arrival_counts() {
    let project = Project::empty().with_limits(Limits::default());
    project.write("train.jsonl", lines(0..1_000, 1.0));
    project.refresh();
    let before = project.open().files("metrics").unwrap();
    project.append("train.jsonl", lines(900..1_200, 2.0));
    project.refresh();
    let after = project.open().files("metrics").unwrap();
    assert_eq!(before[0].path, after[0].path);
    assert_eq!(after.len(), 2);
    assert_eq!(after[0].hidden_count, 100 * 2 + 10);
    let row = &project
        .ask("select count(*) as n, count(distinct step) as steps from metrics where key = 'loss'")[0];
    assert_eq!((&row["n"], &row["steps"]), (&1_200.into(), &1_200.into()));
    let values = project
        .ask("select step, value from metrics where key = 'loss' and step in (899, 900) order by step");
    assert_eq!(values[0]["value"], 1.0 + 4.0 / 900.0);
    assert_eq!(values[1]["value"], 2.0 + 4.0 / 901.0);
    let raw = &project.ask("select count(*) as n, count(*) filter (where superseded) as s, max(segment) as m from metrics_raw where key = 'loss'")[0];
    assert_eq!((&raw["n"], &raw["s"], &raw["m"]), (&1_300.into(), &100.into(), &1.into()));
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn overlaps_survive_flushes_and_compaction() {
    let project = Project::empty();
    for (start, offset) in [(0, 1.0), (700, 2.0), (300, 3.0), (1_100, 4.0), (1_150, 5.0), (1_199, 6.0)] {
        project.append("train.jsonl", lines(start..1_200, offset));
        project.refresh();
    }
    let row = &project
        .ask("select count(*) as n, min(value) as low from metrics where key = 'loss' and step >= 300")[0];
    assert_eq!(row["n"], 900);
    assert!(row["low"].as_f64().unwrap() >= 3.0);
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn a_step_logged_again_in_the_next_refresh_is_replaced() {
    let project = Project::empty();
    project.write("train.jsonl", lines(0..50, 1.0));
    for k in 0..30 {
        project.append("train.jsonl", format!("{{\"step\": 50, \"loss\": {k}}}\n"));
        project.refresh();
    }
    let row = &project.ask("select last, last_step, count, max from summary where key = 'loss'")[0];
    assert_eq!(
        (&row["last"], &row["last_step"], &row["count"], &row["max"]),
        (&29.into(), &50.into(), &51.into(), &29.into())
    );
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn a_truncated_a_rewritten_and_a_deleted_log() {
    let project = Project::empty();
    project.write("a/train.jsonl", lines(0..500, 1.0));
    project.write("b/train.jsonl", lines(0..500, 2.0));
    project.refresh();
    let count = |project: &Project| {
        project.column("select count(*) from metrics m join runs r using (run_id) where r.path like 'a/%'")[0]
            .clone()
    };
    assert_eq!(count(&project), "1050");
    project.write("a/train.jsonl", lines(0..100, 1.0));
    project.refresh();
    assert_eq!(count(&project), "210", "truncated");
    project.write("a/train.jsonl", lines(0..700, 5.0));
    project.refresh();
    assert_eq!(count(&project), "1470", "rewritten and longer");
    assert_eq!(project.everything(), read_at_once(&project));
    fs::remove_file(project.root().join("a/train.jsonl")).unwrap();
    project.refresh();
    assert_eq!(project.column("select path from runs"), ["b/train.jsonl"]);
    assert_eq!(count(&project), "0");
    assert_eq!(project.column("select count(*) from metrics"), ["1050"]);
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn many_refreshes_leave_few_files_and_lose_nothing() {
    let mut project = Project::empty();
    project.limits.grace_ms = 0;
    for k in 0..40 {
        for run in ["a", "b", "c"] {
            project.append(&format!("{run}/train.jsonl"), lines(k * 20..(k + 1) * 20, 1.0));
        }
        project.now_ms += 1_000;
        project.refresh();
    }
    for table in ["metrics", "runs", "summary"] {
        let files = project.open().files(table).unwrap();
        assert!(files.len() <= 12, "{table}: {} files", files.len());
    }
    let on_disk = walkdir(&project.root().join(".runq/metrics"));
    assert!(on_disk <= 14, "{on_disk} files on disk");
    assert_eq!(project.column("select count(*) from metrics"), [(3 * (800 * 2 + 80)).to_string()]);
    assert_eq!(project.everything(), read_at_once(&project));
}

fn walkdir(folder: &std::path::Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { walkdir(&entry.path()) } else { 1 }).sum()
}

#[test]
fn many_runs_in_one_refresh() {
    let project = Project::empty();
    for run in 0..300 {
        project.write(&format!("sweep/run_{run:03}/log.jsonl"), lines(0..20, f64::from(run)));
        project.write(&format!("sweep/run_{run:03}/config.json"), format!("{{\"lr\": {run}}}"));
    }
    let outcome = project.refresh();
    assert_eq!(outcome.run_count, 300);
    let row = &project.ask(
        "select r.name, s.min, c.number from summary s join runs r using (run_id) join configs c using (run_id)
         where s.key = 'loss' and c.key = 'lr' order by s.min desc limit 1",
    )[0];
    assert_eq!((&row["name"], &row["number"]), (&"run_299".into(), &299.into()));
    project.write("sweep/run_007/config.json", "{\"lr\": 0.5, \"wd\": 1}");
    assert!(project.refresh().read_bytes < 100);
    let configs =
        "select key, value from configs c join runs r using (run_id) where name = 'run_007' order by key";
    assert_eq!(project.ask(configs).len(), 2);
    assert_eq!(project.column("select count(*) from configs"), ["301"]);
}

#[test]
fn a_metric_without_steps_is_indexed_by_arrival_until_it_has_some() {
    let project = Project::empty();
    let row = |step: i64, k: i64| format!("{{\"step\": {step}, \"loss\": {k}.5}}\n");
    project.write("train.jsonl", (0..5).map(|k| row(0, k)).collect::<String>());
    project.refresh();
    let axis = |project: &Project| {
        project.ask("select axis, count, last_step from summary where key = 'loss'")[0].clone()
    };
    assert_eq!(axis(&project)["axis"], "index");
    assert_eq!(axis(&project)["count"], 5);
    project.append("train.jsonl", row(0, 5));
    project.refresh();
    assert_eq!((&axis(&project)["count"], &axis(&project)["last_step"]), (&6.into(), &5.into()));
    project.append("train.jsonl", row(1, 6));
    project.refresh();
    assert_eq!(axis(&project)["axis"], "step");
    assert_eq!((&axis(&project)["count"], &axis(&project)["last_step"]), (&2.into(), &1.into()));
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn ids_that_clash_bear_a_hash_and_do_not_depend_on_order() {
    let source = data("wandb/tiny-lm/wandb/offline-run-20261120_175130-pubsweep0");
    let project = Project::empty();
    let target =
        |team: &str| project.root().join(format!("{team}/wandb/offline-run-20261120_175130-pubsweep0"));
    for team in ["b", "a"] {
        fs::create_dir_all(target(team)).unwrap();
        crate::common::copy(&source, &target(team));
        project.refresh();
    }
    let ids = project.column("select run_id from runs order by path");
    assert_eq!(ids.len(), 2);
    assert!(
        ids.iter().all(|id| id.starts_with("pubsweep0~") && id.len() == "pubsweep0~".len() + 8),
        "{ids:?}"
    );
    assert_eq!(project.everything(), read_at_once(&project));
    fs::remove_dir_all(project.root().join("a")).unwrap();
    project.refresh();
    assert_eq!(project.column("select run_id from runs"), ["pubsweep0"]);
}

#[test]
fn a_bad_file_never_stops_the_others() {
    let project = Project::empty();
    project.write("good.jsonl", lines(0..20, 1.0));
    project.write("bad/run-x.wandb", b"\x3aW&B\xe1\xbe\x00garbage that is no record at all");
    project.write("bad/events.out.tfevents.1.host", [7u8; 4_000]);
    project.write(
        "bad/random.jsonl",
        (0..5_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<_>>(),
    );
    project.write("empty.jsonl", "");
    let outcome = project.refresh();
    assert_eq!(project.column("select count(*) from metrics where key = 'loss'"), ["20"], "{outcome:?}");
    assert_eq!(project.column("select name from runs where point_count > 0"), ["good"]);
}

#[test]
fn an_empty_folder_has_no_runs_and_says_so_without_an_error() {
    let project = Project::empty();
    assert_eq!(project.refresh().run_count, 0);
    assert!(ask(&project.open(), "select * from runs").unwrap().is_empty());
}

#[test]
fn a_cache_of_another_version_or_a_broken_one_is_rebuilt() {
    let project = Project::empty().with_limits(small_limits());
    project.write("train.jsonl", lines(0..100, 1.0));
    project.refresh();
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(project.root().join(format!(".runq/catalog.sqlite{suffix}")));
    }
    fs::write(
        project.root().join(".runq/catalog.sqlite"),
        "this is no database, but it is long enough to be read as one",
    )
    .unwrap();
    project.refresh();
    assert_eq!(project.column("select count(*) from metrics where key = 'loss'"), ["100"]);
}

#[test]
fn a_log_damaged_in_the_middle_is_read_up_to_there_and_told_once() {
    let source = data("tensorboard/runs/clean");
    let project = Project::empty();
    fs::create_dir_all(project.root().join("clean")).unwrap();
    crate::common::copy(&source, &project.root().join("clean"));
    let path = fs::read_dir(project.root().join("clean")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 400].fill(0xA5);
    fs::write(&path, &bytes).unwrap();
    let outcome = project.refresh();
    assert_eq!(outcome.notes.len(), 1, "{outcome:?}");
    let count: i64 = project.column("select count(*) from metrics")[0].parse().unwrap();
    assert!((100..700).contains(&count), "{count}");
    let problems = project.ask("select path, position, message from problems");
    assert!(!problems.is_empty() && problems.len() <= 3, "{problems:?}");
    assert_eq!(project.refresh().read_bytes, 0);
    assert_eq!(project.ask("select * from problems").len(), problems.len());
}

#[test]
fn an_event_file_that_ends_in_zeros_ends_there() {
    let source = data("tensorboard/runs/running");
    let project = Project::empty();
    crate::common::copy(&source, project.root());
    let name = fs::read_dir(&source).unwrap().next().unwrap().unwrap().file_name();
    project.append(name.to_str().unwrap(), vec![0; 40_000]);
    project.refresh();
    assert_eq!(project.column("select count(*) from metrics"), ["389"]);
}

#[test]
fn a_refresh_that_dies_between_two_commits_of_a_log_is_carried_on() {
    use runq::workspace::Progress;
    /// Dies once the first commit must have happened.
    struct Dies;
    impl Progress for Dies {
        fn advance(&self, read_bytes: u64) {
            assert!(read_bytes < 200_000, "killed");
        }
    }
    let project = Project::empty();
    project.write("train.jsonl", lines(0..6_000, 1.0));
    let workspace = project.open();
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| workspace.refresh(&Dies)));
    assert!(died.is_err());
    let count: i64 = project.column("select count(*) from metrics")[0].parse().unwrap();
    assert!(count > 0 && count < 12_600, "{count}");
    drop(workspace);
    project.refresh();
    assert_eq!(project.column("select count(*) from metrics"), ["12600"]);
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn a_moved_run_is_the_same_run_read_anew() {
    let project = Project::of("wandb");
    project.refresh();
    let before =
        project.ask("select run_id, key, axis, count, first_step, last from summary order by run_id, key");
    fs::rename(project.root().join("tiny-lm"), project.root().join("moved")).unwrap();
    project.refresh();
    let after =
        project.ask("select run_id, key, axis, count, first_step, last from summary order by run_id, key");
    assert_eq!(before, after);
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn a_log_that_became_a_data_set_is_no_log() {
    let project = Project::empty();
    let row = |i: i64| format!("{i},{}\n", 1.0 / (i + 1) as f64);
    project.write("data.csv", format!("step,loss\n{}", (0..4_000).map(row).collect::<String>()));
    project.refresh();
    assert_eq!(project.column("select count(*) from runs"), ["1"]);
    let row = |i: i64| format!("{i},{}.5,house,Berlin and its surroundings\n", i * 7);
    project.write("data.csv", format!("id,price,label,city\n{}", (0..6_000).map(row).collect::<String>()));
    project.refresh();
    assert_eq!(project.column("select count(*) from runs"), ["0"]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_read_is_a_problem_until_it_can() {
    let project = Project::empty();
    project.write("a/train.jsonl", lines(0..20, 1.0));
    let broken = project.root().join("b.jsonl");
    // Opens like any file, and fails when it is read.
    std::os::unix::fs::symlink("/proc/self/mem", &broken).unwrap();
    let notes = project.refresh().notes;
    assert!(notes.iter().any(|note| note.starts_with("b.jsonl: cannot read: ")), "{notes:?}");
    for _ in 0..2 {
        let problems = project.column("select path || ' ' || position || ' ' || message from problems");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("b.jsonl file cannot read: "), "{problems:?}");
        project.refresh();
    }
    fs::remove_file(&broken).unwrap();
    project.write("b.jsonl", lines(0..20, 1.0));
    project.refresh();
    assert!(project.column("select path from problems").is_empty());
    assert_eq!(project.column("select count(*) from runs"), ["2"]);
}

/// A row may be half written; after ten minutes of silence it is what there is.
#[test]
fn the_last_row_of_a_table_without_line_end_is_read_once_the_file_is_at_rest() {
    let mut project = Project::empty();
    project.write("metrics.csv", "step,loss\n0,3\n1,2.5\n2,0.5");
    let values = |project: &Project| {
        project.refresh();
        project.column("select value from metrics where key = 'loss' order by step")
    };
    let tomorrow_ms = project.now_ms;
    project.now_ms = tomorrow_ms - 24 * 3_600_000;
    assert_eq!(values(&project), ["3", "2.5"]);
    project.now_ms = tomorrow_ms;
    assert_eq!(values(&project), ["3", "2.5", "0.5"]);
    assert_eq!(project.refresh().written_files, 0, "it is read once");
    project.append("metrics.csv", "5\n3,0.25\n");
    assert_eq!(values(&project), ["3", "2.5", "0.55", "0.25"]);
    assert_eq!(project.column("select last_step || ' ' || point_count from runs"), ["3 4"]);
}

/// A document is read whole: no refresh waits for more of it, or none would ever be a mere look.
#[test]
fn what_is_left_of_a_broken_document_is_not_waited_for() {
    let mut project = Project::empty();
    project.write("train.jsonl", lines(0..20, 1.0));
    project.write("config.json", "{\"lr\": ");
    project.now_ms -= 24 * 3_600_000;
    project.refresh();
    assert!(!project.open().catalog().unwrap().has_tail_at_rest(i64::MAX).unwrap());
    project.append("train.jsonl", "{\"step\": 20, \"lo");
    project.refresh();
    assert!(project.open().catalog().unwrap().has_tail_at_rest(i64::MAX).unwrap());
    project.now_ms += 24 * 3_600_000;
    project.refresh();
    assert!(!project.open().catalog().unwrap().has_tail_at_rest(i64::MAX).unwrap());
}

#[test]
fn the_problem_of_a_document_goes_with_it() {
    let project = Project::empty();
    project.write("train.jsonl", lines(0..20, 1.0));
    project.write("config.json", "{\"lr\": ");
    assert_eq!(project.refresh().notes.len(), 1);
    assert_eq!(project.column("select path from problems"), ["config.json"]);
    project.write("config.json", "{\"lr\": 0.5}");
    project.refresh();
    assert!(project.column("select path from problems").is_empty());
    assert_eq!(project.column("select value from configs"), ["0.5"]);
}

#[test]
fn the_configuration_beside_a_log_of_many_runs_is_that_of_each() {
    let project = Project::empty();
    let row = |i: i64| {
        format!("{{\"run\": \"seed_{}\", \"step\": {}, \"loss\": {}}}\n", i % 3, i / 3, 1.0 / (i + 1) as f64)
    };
    project.write("sweep.jsonl", (0..60).map(row).collect::<String>());
    project.write("config.json", "{\"lr\": 0.1}");
    project.refresh();
    assert_eq!(project.column("select run_id from runs order by run_id"), ["seed_0", "seed_1", "seed_2"]);
    assert_eq!(project.column("select count(*) from configs where number = 0.1"), ["3"]);
    project.write("config.json", "{\"lr\": 0.25}");
    assert!(project.refresh().read_bytes < 20);
    assert_eq!(project.column("select count(*) from configs where number = 0.25"), ["3"]);
    project.append("sweep.jsonl", (60..90).map(row).collect::<String>());
    project.refresh();
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn event_files_that_grow_in_turns_give_the_tables_of_reading_at_once() {
    let folder = data("tensorboard/runs/resume-overlap");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let project = Project::empty();
    let contents: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let mut read = [0; 2];
    for round in 0..12 {
        let file = round % 2;
        let end = (read[file] + 4_000).min(contents[file].len());
        let name = format!("run/{}", files[file].file_name().unwrap().to_str().unwrap());
        project.append(&name, &contents[file][read[file]..end]);
        read[file] = end;
        project.refresh();
    }
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn an_offline_resume_that_begins_at_0_again_is_shifted_behind_the_start_before() {
    let source = data("wandb/tiny-lm/wandb/offline-run-20261120_175130-pubsweep0");
    let project = Project::empty();
    let start = |name: &str| {
        let target = project.root().join("wandb").join(name);
        fs::create_dir_all(&target).unwrap();
        crate::common::copy(&source, &target);
    };
    start("offline-run-20261120_175130-pubsweep0");
    project.refresh();
    start("offline-run-20261120_180000-pubsweep0");
    let outcome = project.refresh();
    assert!(outcome.notes.iter().any(|note| note.contains("shifted by 120")), "{outcome:?}");
    let row = &project.ask("select count, first_step, last_step from summary where key = 'train/loss'")[0];
    assert_eq!((&row["count"], &row["first_step"], &row["last_step"]), (&240.into(), &0.into(), &239.into()));
    let row = &project.ask("select run_id, segment_count, last_step, state from runs")[0];
    assert_eq!((&row["run_id"], &row["segment_count"]), (&"pubsweep0".into(), &2.into()));
    assert_eq!((&row["last_step"], &row["state"]), (&239.into(), &"finished".into()));
    assert_eq!(project.column("select count(*) from metrics_raw where superseded"), ["0"]);
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn a_step_beyond_64_bits_takes_no_other_rows_place() {
    let project = Project::empty();
    project
        .write("train.jsonl", lines(0..20, 1.0) + "{\"step\": 1e25, \"loss\": 9.5}\n" + &lines(20..21, 1.0));
    let outcome = project.refresh();
    assert_eq!(outcome.notes.len(), 1, "{outcome:?}");
    let row = &project.ask("select count, last_step, max from summary where key = 'loss'")[0];
    assert_eq!((&row["count"], &row["last_step"], &row["max"]), (&21.into(), &20.into(), &5.into()));
    assert_eq!(project.column("select message from problems"), ["the step is beyond 64 bits"]);
}

#[test]
fn logs_read_side_by_side_give_the_tables_of_reading_one_after_the_other() {
    let project = Project::empty();
    for run in 0..6 {
        project.write(&format!("{run}/train.jsonl"), lines(0..50 + 80 * run, run as f64));
    }
    // Two logs of one run each, with the same name inside; one with a damaged line; a start within a log.
    let named = |offset: f64| lines(0..40, offset).replace("{\"step\"", "{\"run_id\": \"same\", \"step\"");
    project.write("a.jsonl", named(0.0));
    project.write("b.jsonl", named(9.0));
    project.write("broken.jsonl", format!("{}{{\"step\": \n{}", lines(0..50, 0.0), lines(50..90, 0.0)));
    project.write("twice.jsonl", lines(0..100, 0.0) + &lines(50..80, 2.0));
    let notes_and_tables = |threads: usize| {
        let mut copy = Project::empty();
        crate::common::copy(project.root(), copy.root());
        copy.limits.threads = Some(threads);
        let first = copy.refresh();
        let tables = copy.everything();
        copy.append("0/train.jsonl", lines(40..300, 7.0));
        copy.append("twice.jsonl", lines(60..120, 3.0));
        fs::remove_file(copy.root().join("1/train.jsonl")).unwrap();
        fs::rename(copy.root().join("2"), copy.root().join("moved")).unwrap();
        let second = copy.refresh();
        let counts = |outcome: &Outcome| (outcome.input_count, outcome.run_count, outcome.point_count);
        let told = (first.notes.clone(), counts(&first), second.notes.clone(), counts(&second));
        (told, tables, copy.everything())
    };
    assert_eq!(notes_and_tables(4), notes_and_tables(1));
}
