#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::engine::ranking::Ranking;

const GOOD: &str = "\
-- summary: Rank runs
-- description: First line.
-- description: Second line.
-- alias: top
-- param: metric metric positional  Metric to rank by
-- param: word text = 'it''s  two'  A word
-- param: limit integer -n = 10  Rows at most
-- param: project text optional  Only this project
-- param: min flag  Smaller is better
-- column: run_id  run
-- example: runq best val_loss

-- a comment with $nothing
select '$metric', \"$word\", $metric, $word, 1 -$limit /* $x */
where ($project is null or project = $project) and $min;
";

fn values(pairs: &[(&str, ParamValue)]) -> BTreeMap<String, ParamValue> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn text(text: &str) -> ParamValue {
    ParamValue::Text(text.to_owned())
}

#[test]
fn a_header_is_the_interface() {
    let query = parse("best", GOOD, true).unwrap();
    assert_eq!(query.summary, "Rank runs");
    assert_eq!(query.description, "First line. Second line.");
    assert_eq!(query.aliases, ["top"]);
    assert_eq!(query.columns, [("run_id".to_owned(), "run".to_owned())]);
    assert_eq!(query.examples, ["runq best val_loss"]);
    let metric = query.param("metric").unwrap();
    assert!(metric.positional && metric.default.is_none() && metric.kind == ParamType::Metric);
    assert_eq!(query.param("word").unwrap().default, Some(text("it's  two")));
    let limit = query.param("limit").unwrap();
    assert_eq!((limit.short, &limit.default), (Some('n'), &Some(ParamValue::Integer(10))));
    assert_eq!(query.param("project").unwrap().default, Some(ParamValue::Null));
    assert_eq!(query.param("min").unwrap().default, Some(ParamValue::Flag(false)));
    assert!(query.is_called("top") && query.is_called("best") && !query.is_called("bes"));
}

/// SQL has strings between dollars too; what they hold stays.
#[test]
fn dollar_quoted_strings_hold_no_placeholder() {
    let query = |sql: &str| parse("q", &format!("-- summary: A\n-- param: x integer  X\n\n{sql}"), true);
    let sql = literal_sql(
        &query("select $$ $x $$, $a$ $x $$ $x $a$, $x").unwrap(),
        &values(&[("x", ParamValue::Integer(1))]),
    );
    assert_eq!(sql, "select $$ $x $$, $a$ $x $$ $x $a$, 1");
    let error = query("select $$x").unwrap_err().to_string();
    assert_eq!(error, "q.sql:2: parameter \"x\" is not used");
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (file, want) in [
        ("select 1", "q.sql:1: no summary"),
        ("-- summary: A\n;\n;", "q.sql: no statement"),
        ("-- summary: A.\nselect 1", "q.sql:1: the summary ends with a full stop"),
        ("-- summary: A\n-- summry: B\nselect 1", "q.sql:2: unknown key \"summry\""),
        ("-- summary: A\n-- just words\nselect 1", "q.sql:2: expected \"-- key: value\""),
        ("-- summary: A\n\nselect $x", "q.sql:3: $x is not declared"),
        ("-- summary: A\n-- param: x text  X\nselect 1", "q.sql:2: parameter \"x\" is not used"),
        ("-- summary: A\n-- param: x txt  X\nselect $x", "q.sql:2: unknown type \"txt\""),
        ("-- summary: A\n-- param: x text\nselect $x", "q.sql:2: no help"),
        ("-- summary: A\n-- param: x text = y  X\nselect $x", "q.sql:2: a text stands in single quotes"),
        ("-- summary: A\n-- param: x integer = y  X\nselect $x", "q.sql:2: expected a whole number"),
        ("-- summary: A\n-- param: x text --y  X\nselect $x", "q.sql:2: unexpected \"--y\""),
        ("-- summary: A\n-- param: x flag positional  X\nselect $x", "q.sql:2: a flag has no position"),
        ("-- summary: A\n-- param: x text  X\n-- param: x text  X\nselect $x", "declared twice"),
        (
            "-- summary: A\n-- param: x text -n  X\n-- param: y text -n  Y\nselect $x, $y",
            "q.sql:3: parameter \"y\" has the letter",
        ),
        ("-- summary: A\n-- column: x\nselect 1", "q.sql:2: expected a name"),
        ("-- summary: A\n", "q.sql: no statement"),
    ] {
        let error = format!("{:#}", parse("q", file, false).expect_err(file));
        assert!(error.contains(want), "{file:?} gives {error:?}, not {want:?}");
    }
    assert!(parse("no name", "-- summary: A\nselect 1", false).is_err());
}

#[test]
fn values_are_put_in_place_as_literals() {
    let query = parse("best", GOOD, true).unwrap();
    let given = values(&[("metric", text("a'; drop table x; --")), ("limit", ParamValue::Integer(-5))]);
    let all = with_values(&query, &given).unwrap();
    let want = "-- a comment with $nothing\n\
        select '$metric', \"$word\", 'a''; drop table x; --', 'it''s  two', 1 - -5 /* $x */\n\
        where (null is null or project = null) and false";
    assert_eq!(literal_sql(&query, &all), want);
}

#[test]
fn literals_read_back() {
    for (value, want) in [
        (ParamValue::Number(1e-5), "1e-5"),
        (ParamValue::Number(3.0), "3.0"),
        (ParamValue::Number(f64::NAN), "cast('NaN' as double)"),
        (ParamValue::Flag(true), "true"),
        (ParamValue::Null, "null"),
        (text("O'Neil $x"), "'O''Neil $x'"),
    ] {
        assert_eq!(literal(&value), want);
    }
}

#[test]
fn wrong_values_are_wrong_use() {
    let query = parse("best", GOOD, true).unwrap();
    let missing = with_values(&query, &values(&[])).unwrap_err();
    assert_eq!(missing.message, "best needs METRIC: Metric to rank by");
    assert_eq!(missing.exit_code(), 2);
    let unknown = with_values(&query, &values(&[("limt", ParamValue::Null)])).unwrap_err();
    assert_eq!(unknown.hint.as_deref(), Some("did you mean \"limit\"?"));
    let kind = with_values(&query, &values(&[("metric", text("x")), ("limit", text("3"))])).unwrap_err();
    assert_eq!(kind.message, "limit of best takes a whole number");
}

#[test]
fn every_built_in_file_parses() {
    for (name, text) in FILES {
        let query = parse(name, text, true).unwrap();
        assert!(!query.columns.is_empty() || *name == "history", "{name}: no columns");
        assert!(!query.examples.is_empty(), "{name}: no example");
        assert!(query.examples.iter().all(|example| example.starts_with("runq ")), "{name}");
    }
    assert_eq!(built_in().len(), FILES.len());
}

#[test]
fn names_and_aliases_are_taken_once() {
    let mut words: Vec<&str> = Vec::new();
    for query in built_in() {
        words.push(&query.name);
        words.extend(query.aliases.iter().map(String::as_str));
    }
    let count = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), count);
}

#[test]
fn a_folder_gives_its_queries_by_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("b.sql"), "-- summary: B\nselect 1").unwrap();
    std::fs::write(folder.path().join("a.sql"), "-- summary: A\nselect 1").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no query").unwrap();
    let names: Vec<String> =
        load_folder(folder.path()).unwrap().into_iter().map(|query| query.name).collect();
    assert_eq!(names, ["a", "b"]);
    std::fs::write(folder.path().join("c.sql"), "select 1").unwrap();
    let error = format!("{:#}", load_folder(folder.path()).unwrap_err());
    assert!(error.contains("c.sql:1: no summary"), "{error}");
    assert_eq!(load_each(folder.path()).unwrap().iter().filter(|(_, query)| query.is_ok()).count(), 2);
    assert!(load_folder(&folder.path().join("none")).unwrap().is_empty());
}

/// The statements are planned over empty tables of the documented columns, so that a wrong name or
/// type shows here.
#[tokio::test]
async fn built_in_statements_run_over_empty_tables() {
    let context = datafusion::prelude::SessionContext::new();
    runq_udfs::register_all(&context);
    crate::engine::texts::functions(&Default::default())
        .into_iter()
        .for_each(|function| context.register_udf(function));
    for table in [
        "create table runs (run_id text, name text, project text, entity text, source text, state text, \
         state_detail text, exit_code int, created_at timestamp, updated_at timestamp, duration_s double, \
         last_step bigint, planned_steps bigint, point_count bigint, metric_count bigint, \
         segment_count bigint, run_group text, job_type text, sweep_id text, parent_run_id text, \
         duplicate_of text, tags text[], notes text, host text, user_name text, program text, args text, \
         git_commit text, git_branch text, git_dirty boolean, git_remote text, phase text, \
         worst_level text, path text)",
        "create table summary (run_id text, \"key\" text, axis text, count bigint, nan_count bigint, \
         inf_count bigint, first_step bigint, last_step bigint, first double, last double, min double, \
         min_step bigint, max double, max_step bigint, mean double, std double, goal text, best double, \
         best_step bigint, final double)",
        "create table metrics (run_id text, \"key\" text, step bigint, value double, time timestamp)",
        "create table metrics_raw (run_id text, \"key\" text, step bigint, value double, time timestamp, \
         segment int, seq bigint, superseded boolean)",
        "create table configs (run_id text, \"key\" text, value text, number double)",
        "create table texts (run_id text, \"key\" text, step bigint, time timestamp, text text)",
        "create table console (run_id text, line bigint, time timestamp, stream text, text text, file text)",
        "create table alerts (alert_id text, run_id text, \"key\" text, kind text, level text, step bigint, \
         end_step bigint, detected_step bigint, time timestamp, value double, baseline double, score double, \
         row_count bigint, title text, text text, origin text, seq bigint)",
        "create table phases (run_id text, step bigint, time timestamp, phase_from text, phase_to text, \
         reason text)",
    ] {
        context.sql(table).await.unwrap();
    }
    for query in built_in().iter().filter(|query| query.name != "history") {
        let value = |param: &Param| match param.kind {
            ParamType::Integer => Some(ParamValue::Integer(1)),
            ParamType::Condition => Some(ParamValue::Query("select run_id from runs".into())),
            ParamType::Ranking => {
                let ranking = Ranking::by("loss", ["loss", "Loss"]).with_values(&BTreeMap::new());
                Some(ParamValue::Query(ranking.sql()))
            }
            ParamType::Runs | ParamType::Texts if param.default.is_none() => {
                Some(ParamValue::List(vec!["x".into(), "y=1".into()]))
            }
            ParamType::Order => Some(ParamValue::Query("select run_id, 0 as place from runs".into())),
            _ => param.default.is_none().then(|| text("x")),
        };
        let given =
            query.params.iter().filter_map(|param| Some((param.name.clone(), value(param)?))).collect();
        let sql = literal_sql(query, &with_values(query, &given).unwrap());
        let frame = context.sql(&sql).await.unwrap_or_else(|error| panic!("{}: {error}\n{sql}", query.name));
        let columns: Vec<String> = frame.schema().fields().iter().map(|f| f.name().clone()).collect();
        let declared: Vec<&str> = query.columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(columns, declared, "{}", query.name);
        let rows = if query.name == "overview" { 2 } else { 0 };
        assert_eq!(frame.count().await.unwrap(), rows, "{}", query.name);
    }
}
