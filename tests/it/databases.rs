//! Trackers that keep SQLite databases, read while their writers live.

use crate::common::{Project, read_at_once};
use rusqlite::{Connection, params};
use std::fs;
use std::path::Path;

/// A project's database as Trackio makes it, still open.
fn trackio(project: &Project, journal: &str) -> Connection {
    fs::create_dir_all(project.root().join("trackio")).unwrap();
    let connection = Connection::open(project.root().join("trackio/lm.db")).unwrap();
    connection.pragma_update(None, "journal_mode", journal).unwrap();
    let schema = "
        create table metrics (id integer primary key autoincrement, run_id text not null, timestamp text,
            run_name text, step integer, metrics text, log_id text);
        create table system_metrics (id integer primary key autoincrement, run_id text not null,
            timestamp text, run_name text, metrics text);
        create table configs (id integer primary key, run_id text unique, run_name text, config text);
        create table alerts (id integer primary key, run_id text, timestamp text, run_name text, title text,
            text text, level text, step integer, alert_id text);";
    connection.execute_batch(schema).unwrap();
    connection
}

fn log(connection: &Connection, run: &str, step: i64, json: &str) {
    let sql = "insert into metrics (run_id, timestamp, run_name, step, metrics) values (?1, ?2, ?1, ?3, ?4)";
    let time = format!("2026-11-20T17:52:{:02}.295332+00:00", step % 60);
    connection.execute(sql, params![run, time, step, json.as_bytes()]).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_live_database_gives_in_pieces_what_it_gives_at_once() {
    for journal in ["wal", "delete"] {
        let project = Project::empty();
        let connection = trackio(&project, journal);
        let folder = project.root().join("trackio");
        for piece in 0..12_i64 {
            for step in piece * 10..piece * 10 + 10 {
                log(
                    &connection,
                    "a",
                    step,
                    &format!(r#"{{"loss": {step}.5, "layer": {{"norm": "NaN"}}, "note": "s{step}"}}"#),
                );
                log(
                    &connection,
                    "b",
                    step % 7,
                    r#"{"loss": 1, "image": {"_type": "trackio.image", "w": 3}}"#,
                );
            }
            let system =
                "insert into system_metrics (run_id, run_name, metrics) values ('a', 'a', '{\"cpu\": 5}')";
            connection.execute_batch(system).unwrap();
            let config =
                format!(r#"{{"lr": {piece}, "_Group": "g", "_Created": "2026-11-20T17:00:00+00:00"}}"#);
            let sql = "insert or replace into configs (run_id, run_name, config) values ('a', 'first', ?1)";
            connection.execute(sql, [config]).unwrap();
            let before = names(&folder);
            project.refresh();
            assert_eq!(names(&folder), before, "{journal}: no file beside the database");
            assert_eq!(project.refresh().point_count, 0, "{journal}");
        }
        // Tables have no order among each other; that of each metric holds.
        let (now, at_once) = (project.everything(), read_at_once(&project));
        assert!(now == at_once, "{journal}: {now}\n{at_once}");
        let rows = project.ask("select name, run_group, point_count, path from runs order by run_id");
        assert_eq!(
            rows[0].to_string(),
            r#"{"name":"first","run_group":"g","point_count":252,"path":"trackio/lm.db"}"#
        );
        assert_eq!(project.column("select value from configs"), ["11"]);
        assert_eq!(project.column("select distinct key from texts"), ["note"]);
        let axis = project.ask("select axis, count, last_step from summary where key = 'system/cpu'");
        assert_eq!(axis[0].to_string(), r#"{"axis":"index","count":12,"last_step":11}"#);
    }
}

#[test]
fn many_rows_are_read_page_by_page() {
    let project = Project::empty();
    let mut connection = trackio(&project, "wal");
    let transaction = connection.transaction().unwrap();
    (0..25_000).for_each(|step| log(&transaction, "a", step, r#"{"loss": 0.5}"#));
    transaction.commit().unwrap();
    project.refresh();
    assert_eq!(project.ask("select count(*) as n from metrics")[0]["n"], 25_000);
    log(&connection, "a", 25_000, r#"{"loss": 0.25}"#);
    assert_eq!(project.refresh().point_count, 1);
}

#[test]
fn deleted_and_renamed_runs_are_followed() {
    let project = Project::empty();
    let connection = trackio(&project, "wal");
    for run in ["a", "b"] {
        (0..5).for_each(|step| log(&connection, run, step, r#"{"loss": 0.5}"#));
        let sql = "insert into configs (run_id, run_name, config) values (?1, ?1, '{}')";
        connection.execute(sql, [run]).unwrap();
    }
    project.refresh();
    connection
        .execute_batch(
            "update metrics set run_name = 'x'; update configs set run_name = 'x' where run_id = 'b'",
        )
        .unwrap();
    project.refresh();
    assert_eq!(project.column("select name from runs order by run_id"), ["a", "x"]);
    connection
        .execute_batch("delete from metrics where run_id = 'a'; delete from configs where run_id = 'a'")
        .unwrap();
    project.refresh();
    assert_eq!(project.column("select run_id from runs"), ["b"]);
    assert_eq!(project.column("select distinct run_id from metrics"), ["b"]);
    connection.execute_batch("delete from metrics").unwrap();
    project.refresh();
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn rows_that_wait_in_the_inbox_count_until_the_database_has_them() {
    let project = Project::empty();
    let row = |step: i64| {
        format!(
            r#"{{"v":1,"kind":"metric","project":"l m","run":"name","run_id":"a","metrics":{{"loss":{step}.5}},"step":{step},"timestamp":"2026-11-20T17:52:24+00:00","config":{{"lr":0.1}},"log_id":"x{step}"}}"#
        )
    };
    let alert = r#"{"v":1,"kind":"alert","project":"l m","run":"name","run_id":"a","title":"t","text":"u","level":"error","step":1,"alert_id":"q"}"#;
    project.write("trackio/inbox/w1/00000001.jsonl", format!("{}\n{}\n{alert}\n", row(0), row(1)));
    project.refresh();
    let runs = |project: &Project| project.ask("select run_id, name, project, path, point_count from runs");
    let waiting = r#"{"run_id":"a","name":"name","project":"lm","path":"trackio/lm.db","point_count":2}"#;
    assert_eq!(runs(&project)[0].to_string(), waiting);
    assert_eq!(project.column("select value from configs"), ["0.1"]);
    assert_eq!(project.column("select level from alerts"), ["error"]);
    let connection = trackio(&project, "wal");
    (0..3).for_each(|step| log(&connection, "a", step, &format!(r#"{{"loss": {step}.5}}"#)));
    fs::remove_file(project.root().join("trackio/inbox/w1/00000001.jsonl")).unwrap();
    project.refresh();
    assert_eq!(runs(&project)[0]["point_count"], 3);
    assert_eq!(project.everything(), read_at_once(&project));
}

#[test]
fn older_versions_are_read_by_their_columns() {
    let project = Project::empty();
    fs::create_dir_all(project.root().join("t")).unwrap();
    let connection = Connection::open(project.root().join("t/p.db")).unwrap();
    let schema = r#"create table metrics (id integer primary key, timestamp text, run_name text, step integer, metrics text);
        insert into metrics values (1, '2025-06-01T00:00:00', 'old', 0, '{"loss": NaN}');
        insert into metrics values (2, '2025-06-01T00:00:01', 'old', 1, '{"loss": 0.5}');
        create view configs as select 1"#;
    connection.execute_batch(schema).unwrap();
    project.refresh();
    let rows = project.ask("select run_id, name, nan_count, last from runs join summary using (run_id)");
    assert_eq!(rows[0].to_string(), r#"{"run_id":"old","name":"old","nan_count":1,"last":0.5}"#);
}

/// A database of something else is no log; a damaged one is told, and what can be read of it is kept.
#[test]
fn other_and_damaged_databases() {
    let project = Project::empty();
    let other = Connection::open(project.root().join("app.db")).unwrap();
    other.execute_batch("create table metrics (name text, value real); create table users (id)").unwrap();
    project.write("empty.db", "");
    assert_eq!(project.refresh().run_count, 0);
    let connection = trackio(&project, "delete");
    (0..2_000).for_each(|step| log(&connection, "a", step, r#"{"loss": 0.5}"#));
    drop(connection);
    let path = project.root().join("trackio/lm.db");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0xff);
    fs::write(&path, bytes).unwrap();
    project.refresh();
    let problems = project.column("select message from problems");
    assert!(problems.len() == 1 && problems[0].contains("malformed"), "{problems:?}");
    let kept = project.ask("select count(*) as n from metrics")[0]["n"].as_i64().unwrap();
    assert!((100..2_000).contains(&kept), "{kept}");
}

/// A database as MLflow makes it, with one experiment.
fn mlflow(project: &Project) -> Connection {
    let connection = Connection::open(project.root().join("mlflow.db")).unwrap();
    let schema = "
        create table experiments (experiment_id integer primary key, name text, lifecycle_stage text);
        create table runs (run_uuid text primary key, name text, status text, start_time bigint,
            end_time bigint, lifecycle_stage text, experiment_id integer);
        create table metrics (key text, value float not null, timestamp bigint, run_uuid text, step bigint, is_nan bool);
        create table params (key text, value text, run_uuid text);
        create table tags (key text, value text, run_uuid text);
        insert into experiments values (1, 'lm', 'active');";
    connection.execute_batch(schema).unwrap();
    connection
}

#[test]
fn runs_of_mlflow_go_on_end_are_deleted_and_restored() {
    let project = Project::empty();
    let connection = mlflow(&project);
    let run = |sql: &str| {
        connection.execute_batch(sql).unwrap();
        project.refresh();
    };
    let states = || {
        project.ask(
            "select run_id, state_detail, tags, runs.last_step, nan_count, inf_count from runs
        join summary using (run_id) order by run_id",
        )
    };
    run("insert into runs values ('a', 'first', 'RUNNING', 1795198945810, null, 'active', 1);
        insert into metrics values ('loss', 0, 1795198945966, 'a', 0, 1), ('loss', -1.7976931348623157e308, 1795198945967, 'a', 1, 0);
        insert into params values ('lr', '0.1', 'a'); insert into tags values ('team', 'lm', 'a')");
    assert_eq!(
        states()[0].to_string(),
        r#"{"run_id":"a","state_detail":null,"tags":["team=lm"],"last_step":1,"nan_count":1,"inf_count":1}"#
    );
    run("insert into metrics values ('loss', 0.5, 1795198945968, 'a', 2, 0);
        update runs set status = 'KILLED', end_time = 1795198950000; update tags set value = 'vision'");
    assert_eq!(
        states()[0].to_string(),
        r#"{"run_id":"a","state_detail":"KILLED","tags":["team=vision"],"last_step":2,"nan_count":1,"inf_count":1}"#
    );
    run("update runs set status = 'RUNNING', end_time = null");
    assert_eq!(states()[0]["state_detail"], serde_json::Value::Null);
    run("insert into runs values ('b', 'other', 'FINISHED', 1, 2, 'active', 1);
        insert into metrics values ('loss', 0.25, 3, 'b', 7, 0); update runs set lifecycle_stage = 'deleted' where run_uuid = 'a'");
    assert_eq!(project.column("select run_id from runs"), ["b"]);
    run("update runs set lifecycle_stage = 'active'");
    assert_eq!(states()[0]["last_step"], 2);
    run("delete from metrics where run_uuid = 'a'; delete from runs where run_uuid = 'a'; vacuum");
    run("insert into metrics values ('loss', 0.125, 4, 'b', 8, 0)");
    assert_eq!(project.column("select value from metrics order by step"), ["0.25", "0.125"]);
    assert_eq!(project.everything(), read_at_once(&project));
}

/// What is known of the runs is told with the first and the last page of a refresh.
#[test]
fn runs_of_mlflow_are_told_beside_pages_of_points() {
    let project = Project::empty();
    let connection = mlflow(&project);
    let log = |from: i64, to: i64| {
        let sql = "with recursive n(i) as (select ?1 union all select i + 1 from n where i + 1 < ?2)
            insert into metrics select 'loss', 0.5, 1795198945966, 'a', i, 0 from n";
        connection.execute(sql, params![from, to]).unwrap();
    };
    connection
        .execute_batch(
            "insert into runs values ('a', 'first', 'RUNNING', 1795198945810, null, 'active', 1);
            insert into params values ('lr', '0.1', 'a')",
        )
        .unwrap();
    log(0, 100_001);
    project.refresh();
    let told =
        "select concat(name, ' ', project, ' ', point_count, ' ', coalesce(state_detail, '-')) from runs";
    assert_eq!(project.column(told), ["first lm 100001 -"]);
    connection
        .execute_batch(
            "update runs set status = 'KILLED', name = 'second'; insert into params values ('seed', '3', 'a')",
        )
        .unwrap();
    log(100_001, 220_000);
    project.refresh();
    assert_eq!(project.column(told), ["second lm 220000 KILLED"]);
    assert_eq!(
        project.column("select concat(key, '=', value) from configs order by key"),
        ["lr=0.1", "seed=3"]
    );
    assert_eq!(project.refresh().written_files, 0);
}
