//! Statements that must not hurt: each is refused, or stopped within its limits, in one clear line.

use crate::common::{Project, data};
use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// A project whose cache is there already, and limits that are soon met.
fn project() -> Project {
    let project = Project::empty();
    project.write("overfit.jsonl", fs::read(data("jsonl/overfit.jsonl")).unwrap());
    project.refresh();
    fs::create_dir(project.root().join("tmp")).unwrap();
    project
}

fn command(project: &Project, args: &[&str]) -> Command {
    let mut command = crate::common::runq();
    command.arg("-C").arg(project.root()).args(["--no-refresh", "--memory", "32M"]).args(args);
    command.env_remove("RUNQ_CACHE").env("NO_COLOR", "1").env("TMPDIR", project.root().join("tmp"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn sql(project: &Project, timeout: &str, statement: &str) -> Output {
    command(project, &["--timeout", timeout, "sql", "--", statement]).output().unwrap()
}

/// What is wrong with the way a statement was turned down, if anything.
fn complaint(output: &Output, words: &str) -> Option<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let mut lines = stderr.lines().filter(|line| !line.is_empty());
    let is_one_line = lines.next().is_some_and(|line| line.starts_with("error: ") && line.contains(words))
        && lines.next().is_none_or(|line| line.starts_with("hint: "))
        && lines.next().is_none();
    let code = output.status.code();
    let is_clean = is_one_line && output.stdout.is_empty() && matches!(code, Some(1 | 2));
    (!is_clean).then(|| format!("wanted {words:?}, got {code:?}, {} bytes, {stderr}", output.stdout.len()))
}

/// Runs all, some at a time, and tells of each that was not turned down with these words. None is
/// stopped by the time, unless it is meant to be.
fn all_are_turned_down(statements: Vec<(String, &str)>) {
    let project = project();
    let (queue, complaints) = (Mutex::new(statements.into_iter()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let next = queue.lock().unwrap().next();
            let Some((statement, words)) = next else { break };
            let timeout = if [LATE, EITHER].contains(&words) { "300ms" } else { "60s" };
            if let Some(complaint) = complaint(&sql(&project, timeout, &statement), words) {
                let begin: String = statement.chars().take(120).collect();
                complaints.lock().unwrap().push(format!("{begin}\n  {complaint}"));
            }
        }
    };
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let complaints = complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_no_folder_left(&project);
}

/// Each worker has a folder for its temporary files, which goes with it.
fn assert_no_folder_left(project: &Project) {
    let left: Vec<_> = fs::read_dir(project.root().join("tmp")).unwrap().map(Result::unwrap).collect();
    assert!(left.is_empty(), "{left:?}");
}

const LATE: &str = "took longer than 0.3 s";

/// Stopped by the time or by the memory, whichever is over first.
const EITHER: &str = "";

fn each<'a>(words: &'a str, statements: &[&str]) -> Vec<(String, &'a str)> {
    statements.iter().map(|statement| ((*statement).to_owned(), words)).collect()
}

#[test]
fn nothing_is_written_and_nothing_is_set() {
    let reads = "only statements that read";
    let mut statements = each(
        reads,
        &[
            "create table t as select 1",
            "create table t (a int)",
            "create or replace view v as select * from runs",
            "create schema s",
            "create database d",
            "create function f(bigint) returns bigint return $1 + 1",
            "create external table t (line text) stored as csv location '/etc/passwd'",
            "create unbounded external table t stored as parquet location 's3://bucket/t'",
            "drop table runs",
            "drop view if exists runs",
            "drop schema public cascade",
            "alter table runs add column x int",
            "truncate table runs",
            "insert into runs (run_id) values ('x')",
            "insert into metrics select * from metrics",
            "update runs set name = 'x'",
            "delete from metrics",
            "merge into runs using runs r on runs.run_id = r.run_id when matched then delete",
            "copy runs to '/tmp/runs.csv'",
            "copy (select 1) to '/tmp/one.parquet' stored as parquet",
            "explain copy runs to '/tmp/runs.csv'",
            "explain analyze copy runs to '/tmp/runs.csv'",
            "explain insert into runs (run_id) values ('x')",
            "explain analyze insert into runs (run_id) values ('x')",
            "explain create table t as select 1",
            "set datafusion.execution.batch_size = 1",
            "set time zone = '+02:00'",
            "set datafusion.execution.enable_recursive_ctes = true",
            "reset datafusion.execution.batch_size",
            "prepare p as select 1",
            "prepare p(bigint) as select $1",
            "execute p(1)",
            "deallocate p",
            "begin",
            "start transaction",
            "commit",
            "rollback",
            "call f(1)",
            "attach database 'x.db' as x",
            "use other",
            "vacuum",
            "grant all on runs to public",
            "analyze table runs compute statistics",
            "declare c cursor for select 1",
            "/* select */ drop table runs",
            "drop/**/table/**/runs",
            "-- select\ndrop table runs",
        ],
    );
    statements.extend(each(
        "more than one statement",
        &[
            "select 1; select 2",
            "select 1; drop table runs",
            "select 1; -- done\n drop table runs",
            "select 1;/**/drop table runs;",
            "select ';'; select 2",
        ],
    ));
    statements
        .extend(each("syntax error", &["select 1 /* drop table runs", "select * frm runs", "select 'open"]));
    statements.extend(each(
        "error: ",
        &[
            "load 'x.so'",
            "install httpfs",
            "with t as (delete from runs) select 1",
            "select * into t from runs",
        ],
    ));
    all_are_turned_down(statements);
}

#[test]
fn no_file_can_be_named() {
    let mut statements = each(
        "no table",
        &[
            "select * from '/etc/passwd'",
            "select * from \"/etc/passwd\"",
            "select * from 'file:///etc/passwd'",
            "select * from 's3://bucket/key.parquet'",
            "select * from '../jsonl/clean/config.json'",
            "select * from \"runs.csv\"",
            "select * from (select * from '/etc/hostname')",
            "select (select count(*) from '/etc/passwd')",
            "explain select * from '/etc/passwd'",
        ],
    );
    statements.extend(each(
        "no function",
        &[
            "select * from read_csv('/etc/passwd')",
            "select * from read_parquet('x.parquet')",
            "select * from parquet_metadata('x.parquet')",
            "select read_text('/etc/passwd')",
            "select pg_read_file('/etc/passwd')",
            "select getenv('HOME')",
            "select load_extension('x.so')",
        ],
    ));
    statements.extend(each(
        "is left out",
        &["select input_file_name() from metrics", "select version()", "select uuid()"],
    ));
    all_are_turned_down(statements);
}

#[test]
fn statements_no_one_writes_are_refused_before_they_are_planned() {
    let nested = |open: &str, count: usize, close: &str| {
        format!("select {}1{}", open.repeat(count), close.repeat(count))
    };
    let chain = |link: &str, count: usize| format!("select {}", vec!["1"; count].join(link));
    let numbers = (0..12_000).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let subqueries = format!("{}select 1{}", "select * from (".repeat(200), ") t".repeat(200));
    let (depth, operators, tables) = ("nests more than 50 deep", "1000 operators", "500 unions and joins");
    all_are_turned_down(vec![
        (nested("(", 3_000, ")"), depth),
        (nested("[", 3_000, "]"), depth),
        (nested("abs(", 1_000, ")"), depth),
        (nested("case when true then ", 1_000, " end"), depth),
        (nested("{'a': ", 1_000, "}"), depth),
        (nested("not ", 5_000, ""), depth),
        (nested("- ", 5_000, ""), depth),
        (nested("interval ", 5_000, ""), depth),
        (format!("{}select 1", "explain ".repeat(5_000)), depth),
        (nested("exists (select ", 1_000, ")"), depth),
        (subqueries, depth),
        (chain("+", 20_000), operators),
        (chain("+", 2_000), operators),
        (chain(" and ", 2_000), operators),
        (chain(" || ", 4_000), operators),
        (format!("select 1{}", "::bigint".repeat(3_000)), operators),
        (format!("select null::int{}", "[]".repeat(4_000)), operators),
        (format!("select cast(null as {}int{})", "array<".repeat(2_000), ">".repeat(2_000)), operators),
        (vec!["select 1"; 1_000].join(" union all "), tables),
        (vec!["select 1, 2"; 1_000].join(" intersect "), tables),
        (format!("select 1 from runs {}", "cross join runs ".repeat(1_000)), tables),
        (format!("select 1 where 1 in ({numbers})"), "10000 words"),
        (chain(",", 12_000), "10000 words"),
        (format!("select '{}'", "x".repeat(100_000)), "64 KiB"),
        (format!("select 1 -- {}", "x".repeat(100_000)), "64 KiB"),
        (
            "with recursive t as (select 1 as a union all select a + 1 from t) select count(*) from t"
                .to_owned(),
            "recursive",
        ),
        (
            "with recursive t(a) as (values (1) union select a + 1 from t) select max(a) from t".to_owned(),
            "recursive",
        ),
        (
            "select * from (with recursive t as (select 1 as a union all select a from t) select * from t)"
                .to_owned(),
            "recursive",
        ),
    ]);
}

#[test]
fn what_grows_without_bound_is_stopped() {
    let (memory, bound, left_out) = ("memory", "() would come to", "is left out");
    let many = (0..20).map(|column| format!("{column} as c{column}")).collect::<Vec<_>>().join(", ");
    let names = (0..20).map(|column| format!("c{column}")).collect::<Vec<_>>().join(", ");
    let doubled = |from: usize| format!("c{} as (select x.a from c{from} x, c{from} y)", from + 1);
    let bomb = (0..40).map(doubled).collect::<Vec<_>>().join(", ");
    let mut statements = each(
        bound,
        &[
            "select length(repeat('x', 2000000000))",
            "select length(repeat(run_id, 100000000)) from metrics",
            "select length(repeat('x', 9223372036854775807))",
            "select length(lpad('x', 2000000000, 'y'))",
            "select length(rpad(run_id, 2000000000)) from metrics",
            "select levenshtein(repeat('a', 200000), repeat('b', 200000))",
            "select max(levenshtein(repeat('a', 30000), repeat('b', 30000))) from metrics",
            "select max(levenshtein(repeat('a', 20000), repeat(key, 20))) from metrics",
        ],
    );
    statements.extend(each(
        left_out,
        &[
            "select array_length(range(0, 500000000))",
            "select array_length(generate_series(0, 500000000))",
            "select array_length(array_repeat(1, 500000000))",
            "select array_length(list_repeat(1, 500000000))",
            "select array_length(array_resize([1], 500000000, 1))",
        ],
    ));
    statements.extend(each(
        memory,
        &[
            "select value from generate_series(1, 20000000) order by value desc limit 1 offset 19999999",
            "select array_length(array_agg(value)) from generate_series(1, 20000000)",
            "select median(value) from generate_series(1, 20000000)",
            "select count(*) from generate_series(1, 7000000) a join generate_series(1, 7000000) b on a.value = b.value",
            "select length(replace(repeat('a', 1000000), 'a', repeat('b', 1000000)))",
            "select length(array_to_string(array_agg(value), repeat('x', 1000000))) from generate_series(1, 100000)",
            "select count(a) from (select string_agg('x' || value, '') over (order by value rows unbounded preceding) from generate_series(1, 30000)) t(a)",
        ],
    ));
    statements.extend(each(
        LATE,
        &[
            "select count(*) from generate_series(1, 100000000000)",
            "select count(*) from range(1, 100000000000, 1)",
            "select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b where (a.value * b.value) % 7 = 3",
            "select count(*) from generate_series(1, 1000000) a join generate_series(1, 1000000) b on a.value + b.value = 1",
            "select count('k' || value) from generate_series(1, 100000000)",
            "select count(distinct value % 10) from generate_series(1, 100000000)",
            "select count(*) from generate_series(1, 1000000) a join generate_series(1, 1000000) b on a.value % 2 = b.value % 2",
        ],
    ));
    let glued = ["repeat('x', 60000000)"; 9].join(" || ");
    statements.push((format!("select length({glued})"), memory));
    statements.push((format!("select count(*) from (select {many}) t group by cube ({names})"), EITHER));
    statements.push((format!("with c0 as (select 1 as a), {bomb} select count(*) from c40"), EITHER));
    statements.extend(each(
        EITHER,
        &[
            "select count(*) from metrics a, metrics b, metrics c, metrics d where a.value + b.value < c.value + d.value - 1e9",
            "select count(*) from (select value, count(*) from generate_series(1, 20000000) group by value)",
            "select count(distinct a.value + b.value) from metrics a, metrics b, generate_series(1, 100000)",
        ],
    ));
    statements.extend(each("did not compile", &["select regexp_like('a', '(a{1,1000}){1,1000}')"]));
    let joined = "select length(string_agg(repeat('x', 1000000), ',')) from generate_series(1, 100000)";
    statements.extend(each("the engine gave up: offset overflow", &[joined]));
    all_are_turned_down(statements);
}

#[test]
fn harmless_statements_are_answered() {
    let project = project();
    for (statement, answer) in [
        ("select regexp_like(repeat('a', 1000000), '(a*)*b') as x", "x\nfalse\n"),
        ("select repeat('ab', 3) as x, lpad('7', 3, '0') as y", "x,y\nababab,007\n"),
        ("select levenshtein('val/loss', 'val_loss') as x", "x\n1\n"),
        ("select sum(value) as x from generate_series(1, 10)", "x\n55\n"),
        ("select count(*) as x from (values (1), (2)); -- done", "x\n2\n"),
    ] {
        let output = sql(&project, "60s", statement);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert_eq!(stdout, answer, "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for statement in ["show tables", "show all", "describe runs", "explain select * from runs", "values (1)"]
    {
        let output = sql(&project, "60s", statement);
        assert!(output.status.success() && !output.stdout.is_empty(), "{statement}: {output:?}");
    }
}

const TOO_LARGE: &str = "select length(replace(repeat('a', 1000000), 'a', repeat('b', 1000000)))";
const ENDLESS: &str = "select a.value from generate_series(1, 1000000) a, generate_series(1, 1000000) b";

#[test]
fn a_file_is_complete_or_not_there() {
    let project = project();
    let file = project.root().join("out.csv");
    let statement = format!("select 1 as a union all {TOO_LARGE}");
    let died = command(&project, &["-o", file.to_str().unwrap(), "sql", &statement]).output().unwrap();
    assert!(complaint(&died, "needed more than 32 MiB").is_none(), "{died:?}");
    let large = "select * from generate_series(1, 10000)";
    let large = command(&project, &["-o", file.to_str().unwrap(), "sql", "--max-output", "10k", large])
        .output()
        .unwrap();
    assert!(complaint(&large, "larger than it may be").is_none(), "{large:?}");
    let names = fs::read_dir(project.root()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with("out.csv")));
}

#[test]
fn a_reader_who_never_reads_is_not_waited_for() {
    let project = project();
    let everything = "select a.* from metrics a, metrics b";
    let mut child = command(&project, &["--timeout", "300ms", "sql", everything]).spawn().unwrap();
    // The pipe is full long before the answer ends, and nobody empties it.
    let stdout = child.stdout.take();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    drop(stdout);
    assert_no_folder_left(&project);
}

#[cfg(unix)]
#[test]
fn a_worker_does_not_outlive_the_one_who_asks() {
    let project = project();
    let file = project.root().join("out.csv");
    // The file is begun with the first rows.
    let mut child = command(&project, &["-o", file.to_str().unwrap(), "sql", ENDLESS]).spawn().unwrap();
    let files = |folder: &str, begin: &str| {
        let names =
            fs::read_dir(project.root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(begin)).count()
    };
    wait_until(|| files("", "out.csv") == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(|| files("tmp", "runq-worker-") == 0);
}

#[cfg(unix)]
#[test]
fn nobody_becomes_a_worker_by_chance() {
    let project = project();
    let output = command(&project, &["runs"]).env("RUNQ_WORKER", "/").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output, "RUNQ_WORKER is set").is_none(), "{output:?}");
}

fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain");
}
