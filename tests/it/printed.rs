//! Printed logs and work folders of MMEngine, from the files to the answers.

use crate::common::Project;
use runq::workspace::{Options, Workspace};

fn metric(project: &Project, key: &str) -> Vec<String> {
    let sql = format!("select concat(step, ' ', value) from metrics where key = '{key}' order by step");
    project.column(&sql)
}

#[test]
fn the_starts_of_a_work_folder_are_one_run() {
    let project = Project::of("mmengine");
    project.refresh();
    let runs = "select name from runs where source = 'mmengine' order by name";
    assert_eq!(project.column(runs).len(), 15, "two of the 16 starts are one run");
    let resumed = "from runs where name = 'resume'";
    assert_eq!(project.column(&format!("select segment_count {resumed}")), ["2"]);
    let times = format!("select concat(created_at, ' ', updated_at) {resumed}");
    let times = project.column(&times);
    assert!(times[0] == "2026-11-20T18:14:39Z 2026-11-20T18:14:41Z", "{times:?}");
    let last = "select concat(m.step, ' ', m.segment) from metrics_raw m join runs r using (run_id)
        where r.name = 'resume' and m.key = 'mse' and not superseded order by m.step";
    let steps = project.column(last);
    assert_eq!((steps.len(), steps.last().map(String::as_str)), (5, Some("58 1")));
    let printed = "select count(*) from console c join runs r using (run_id)
        where r.name = 'clean' and c.text like '%Saving checkpoint%' and c.time is not null";
    assert_eq!(project.column(printed), ["5"]);
    assert_eq!(project.refresh().read_bytes, 0);
}

#[test]
fn other_patterns_have_logs_judged_and_read_again() {
    let project = Project::empty();
    project.write("odd.log", "<1> L=2.5\n<2> L=1.5\n");
    project.write("train.log", "step 1: loss 2.5\n<9> L=1\nstep 2: loss 2.0\n");
    project.refresh();
    assert_eq!(project.column("select name from runs"), ["train"]);
    let settings = |group: &str| {
        format!(
            "[[console.patterns]]\nname = 'odd'\npattern = '<(?P<step>\\d+)> L=(?P<{group}>\\S+)'\nsample = '<1> L=2.5'\n"
        )
    };
    project.write("runq.toml", settings("score"));
    project.refresh();
    assert_eq!(project.column("select name from runs order by name"), ["odd", "train"]);
    assert_eq!(metric(&project, "score"), ["1 2.5", "2 1.5", "9 1.0"]);
    assert_eq!(project.refresh().read_bytes, 0);
    project.write("runq.toml", settings("points"));
    project.refresh();
    assert_eq!((metric(&project, "score").len(), metric(&project, "points").len()), (0, 3));
    project.write("runq.toml", "");
    project.refresh();
    assert_eq!(project.column("select name from runs"), ["train"]);
    assert_eq!(project.column("select distinct key from metrics"), ["loss"]);
}

#[test]
fn a_pattern_that_does_not_match_its_sample_is_one_clear_line() {
    let project = Project::empty();
    project.write(
        "runq.toml",
        "[[console.patterns]]\nname = 'odd'\npattern = 'L=(?P<loss>\\d+)'\nsample = 'x'\n",
    );
    let options = Options { root: Some(project.root().to_path_buf()), ..Options::default() };
    let Err(error) = Workspace::open(options) else { panic!("it was taken") };
    let message = error.to_string();
    assert!(message.ends_with("runq.toml: console pattern \"odd\": its sample does not match"), "{message}");
}

#[test]
fn the_ranks_of_a_job_are_one_run() {
    let project = Project::empty();
    for rank in 0..3 {
        let lines = |from: i64| {
            (from..from + 5).map(|step| format!("step {step}: loss {rank}.{step}\n")).collect::<String>()
        };
        project.write(&format!("job/rank{rank}.log"), lines(0));
    }
    project.write("job/rank3.log", "Traceback (most recent call last):\n");
    project.write("quiet/rank0.log", "nothing\n");
    project.write("job/metrics_rank0.jsonl", "{\"step\": 1, \"acc\": 0.5}\n{\"step\": 2, \"acc\": 0.75}\n");
    project.write("job/metrics_rank1.jsonl", "{\"step\": 1, \"acc\": 0.25}\n{\"step\": 2, \"acc\": 0.5}\n");
    project.refresh();
    let runs =
        project.column("select concat(source, ' ', name, ' ', segment_count) from runs order by source");
    assert_eq!(runs, ["console job 1", "jsonl job 1"]);
    let keys = project.column("select distinct key from metrics order by key");
    assert_eq!(keys, ["acc", "loss", "rank1/acc", "rank1/loss", "rank2/loss"]);
    assert_eq!(project.column("select count(*) from console"), ["16"]);
    project.append("job/rank1.log", "step 9: loss 9.5\n");
    project.refresh();
    assert_eq!(metric(&project, "rank1/loss").last().map(String::as_str), Some("9 9.5"));
    // Lines are numbered in their file, whichever grew first.
    project.append("job/rank0.log", "done\n");
    project.refresh();
    let last = "select concat(file, ':', line, ' ', text) from console where line > 5 order by file, line";
    assert_eq!(project.column(last), ["job/rank0.log:6 done", "job/rank1.log:6 step 9: loss 9.5"]);
}

/// A line may be half printed; after ten minutes of silence it is what there is.
#[test]
fn the_last_line_without_end_is_read_once_the_log_is_at_rest() {
    let mut project = Project::empty();
    project.write("train.log", "step 1: loss 2.5\nstep 2: loss 2.0\nstep 3: loss 1.5");
    let read = |project: &Project| {
        project.refresh();
        let printed = project.column("select text from console order by line");
        (metric(project, "loss").join(", "), printed.len())
    };
    let tomorrow_ms = project.now_ms;
    project.now_ms -= 24 * 3_600_000;
    assert_eq!(read(&project), ("1 2.5, 2 2.0".into(), 2));
    project.now_ms = tomorrow_ms;
    assert_eq!(read(&project), ("1 2.5, 2 2.0, 3 1.5".into(), 3));
    assert_eq!(project.refresh().written_files, 0, "it is read once");
    project.append("train.log", "5\nstep 4: loss 1.25");
    assert_eq!(read(&project), ("1 2.5, 2 2.0, 3 1.55, 4 1.25".into(), 4));
    project.append("train.log", "\nstep 5: loss 1.0\n");
    assert_eq!(read(&project), ("1 2.5, 2 2.0, 3 1.55, 4 1.25, 5 1.0".into(), 5));
    let at_once = crate::common::read_at_once(&project);
    assert_eq!(project.everything(), at_once);
}

#[test]
fn metrics_behind_a_long_preamble_are_found() {
    let project = Project::empty();
    let preamble = "    some_setting: 12345\n".repeat(4000);
    project.write("train_big.log", format!("{preamble}step 1: loss 2.5\nstep 2: loss 2.0\n"));
    project.write("install.log", "unpacking something\n".repeat(4000));
    project.refresh();
    assert_eq!(project.column("select name from runs"), ["train_big"]);
    assert_eq!(metric(&project, "loss"), ["1 2.5", "2 2.0"]);
}
