//! Every function through SQL: types, missing and non-finite values, short input, errors, laws.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use datafusion::arrow::array::{DictionaryArray, StringArray, new_null_array};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use proptest::prelude::*;
use runq_udfs::{History, ResolveRun, register_all, register_table_functions};

mod diagnosis;

// Helpers

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());

fn context(partitions: usize, batch_size: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(batch_size);
    let ctx = SessionContext::new_with_config(config);
    register_all(&ctx);
    ctx
}

/// Registers `batch` cut in batches of `batch_size` rows, dealt to the partitions by turns.
fn register(ctx: &SessionContext, name: &str, batch: &RecordBatch) {
    let config = ctx.copied_config();
    let (partitions, size) = (config.target_partitions(), config.batch_size());
    let mut parts = vec![Vec::new(); partitions];
    for (turn, start) in (0..batch.num_rows()).step_by(size).enumerate() {
        let rows = size.min(batch.num_rows() - start);
        parts[turn % partitions].push(batch.slice(start, rows));
    }
    let table = MemTable::try_new(batch.schema(), parts).unwrap();
    ctx.register_table(name, Arc::new(table)).unwrap();
}

type Point = (Option<i64>, Option<f64>);

/// Table `t(g, step, value)`; the group is `row % groups`.
fn series(points: &[Point], groups: i64) -> RecordBatch {
    let group = (0..points.len() as i64).map(|row| row % groups);
    RecordBatch::try_from_iter_with_nullable([
        ("g", Arc::new(Int64Array::from_iter_values(group)) as ArrayRef, true),
        ("step", Arc::new(points.iter().map(|p| p.0).collect::<Int64Array>()), true),
        ("value", Arc::new(points.iter().map(|p| p.1).collect::<Float64Array>()), true),
    ])
    .unwrap()
}

fn points(values: &[f64]) -> Vec<Point> {
    (0..).zip(values).map(|(step, value)| (Some(step), Some(*value))).collect()
}

fn with_points(points: &[Point]) -> SessionContext {
    let ctx = context(1, 8192);
    register(&ctx, "t", &series(points, 1));
    ctx
}

async fn try_run(ctx: &SessionContext, sql: &str) -> Result<RecordBatch> {
    let frame = ctx.sql(sql).await?;
    let schema = Arc::clone(frame.schema().inner());
    let batches = frame.collect().await?;
    let schema = batches.first().map_or(schema, RecordBatch::schema);
    Ok(concat_batches(&schema, &batches)?)
}

fn run(ctx: &SessionContext, sql: &str) -> RecordBatch {
    let result = RUNTIME.block_on(try_run(ctx, sql));
    result.unwrap_or_else(|error| panic!("{sql}\n{error}"))
}

/// Every cell as text, rows by newline, cells by ` | `.
fn text(batch: &RecordBatch) -> String {
    let is_null = |column: &ArrayRef, row| column.logical_nulls().is_some_and(|nulls| nulls.is_null(row));
    let cell = |column: &ArrayRef, row| match is_null(column, row) {
        true => "null".to_owned(),
        false => array_value_to_string(column, row).unwrap(),
    };
    let rows = (0..batch.num_rows()).map(|row| {
        let cells: Vec<String> = batch.columns().iter().map(|column| cell(column, row)).collect();
        cells.join(" | ")
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn query(ctx: &SessionContext, sql: &str) -> String {
    text(&run(ctx, sql))
}

/// `select {expression} from t` over these points.
fn over(points: &[Point], expression: &str) -> String {
    query(&with_points(points), &format!("select {expression} from t"))
}

/// Error of planning alone: nothing is executed.
fn plan_error(ctx: &SessionContext, sql: &str) -> String {
    let planned = RUNTIME.block_on(async {
        let frame = ctx.sql(sql).await?;
        let plan = frame.into_optimized_plan()?;
        ctx.state().create_physical_plan(&plan).await.map(|_| ())
    });
    match planned.expect_err(sql).find_root() {
        DataFusionError::Plan(message) => message.clone(),
        other => panic!("{sql}: not a planning error: {other}"),
    }
}

/// Points of a list of struct(step, value) in row 0, column 0.
fn curve(batch: &RecordBatch) -> Vec<(i64, f64)> {
    let list = batch.column(0).as_list::<i32>().value(0);
    let items = list.as_struct();
    let steps = items.column(0).as_primitive::<Int64Type>().values();
    let values = items.column(1).as_primitive::<Float64Type>().values();
    steps.iter().copied().zip(values.iter().copied()).collect()
}

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// The aggregates over a series, with arguments that sample, and their answer to no points.
const AGGREGATES: [(&str, &str); 8] = [
    ("lttb(step, value, 5)", "[]"),
    ("minmax_lttb(step, value, 3)", "[]"),
    ("m4(step, value, 2)", "[]"),
    ("sparkline(step, value, 4)", "null"),
    ("first_nan(step, value)", "null"),
    ("loss_spike(step, value)", "[]"),
    ("arg_min(step, value)", "null"),
    ("arg_max(step, value)", "null"),
];

// Missing, short and hostile input

#[test]
fn no_points() {
    for (call, nothing) in AGGREGATES {
        assert_eq!(over(&[], call), nothing, "{call}, empty");
        let missing = [(Some(1), None), (None, Some(2.0)), (None, None)];
        assert_eq!(over(&missing, call), nothing, "{call}, all null");
        assert_eq!(over(&missing, &format!("{call} filter (where step > 5)")), nothing);
    }
    let ctx = with_points(&[]);
    let grouped = "select g, lttb(step, value, 3) from t group by g";
    assert_eq!(query(&ctx, grouped), "");
}

#[test]
fn no_points_in_a_correlated_subquery() {
    let ctx = with_points(&points(&[1.0]));
    let sql = "select u.g, (select lttb(step, value, 3) from t where t.g = u.g) as curve
               from (values (0), (9)) as u(g) order by u.g";
    assert_eq!(query(&ctx, sql), "0 | [{step: 0, value: 1.0}]\n9 | []");
}

#[test]
fn one_point() {
    let one = [(Some(7), Some(2.5))];
    for call in ["lttb(step, value, 3)", "minmax_lttb(step, value, 3)", "m4(step, value, 1)"] {
        assert_eq!(over(&one, call), "[{step: 7, value: 2.5}]");
    }
    assert_eq!(over(&one, "sparkline(step, value)"), "▄ →");
    assert_eq!(over(&one, "first_nan(step, value)"), "null");
    assert_eq!(over(&one, "loss_spike(step, value)"), "[]");
    assert_eq!(over(&one, "arg_min(step, value)"), "7");
    assert_eq!(over(&one, "ema(value, 0.5) over (order by step)"), "2.5");
    assert_eq!(over(&one, "spike_score(value) over (order by step)"), "null");
    assert_eq!(over(&one, "is_spike(value) over (order by step)"), "false");
}

#[test]
fn nothing_finite() {
    let broken = points(&[NAN, INF, -INF, NAN, NAN, INF, NAN]);
    assert_eq!(over(&broken, "lttb(step, value, 3)"), "[{step: 0, value: NaN}]");
    assert_eq!(over(&broken, "minmax_lttb(step, value, 3)"), "[{step: 0, value: NaN}]");
    assert_eq!(over(&broken, "m4(step, value, 1)"), "[{step: 0, value: NaN}]");
    assert_eq!(over(&broken, "sparkline(step, value, 4)"), "×××× →");
    assert_eq!(over(&broken, "first_nan(step, value)"), "0");
    assert_eq!(over(&broken, "loss_spike(step, value)"), "[]");
    assert_eq!(over(&broken, "arg_min(step, value), arg_max(step, value)"), "null | null");
    let ctx = with_points(&broken);
    let windows = "select count(spike_score), count(is_spike), count(*) from (
                   select spike_score(value) over (order by step) as spike_score,
                   is_spike(value) over (order by step) as is_spike from t)";
    assert_eq!(query(&ctx, windows), "0 | 0 | 7");
}

#[test]
fn the_first_value_that_is_not_finite_stays_in_a_sample() {
    let mut values: Vec<f64> = (0..100).map(f64::from).collect();
    values[40] = INF;
    values[41] = NAN;
    for call in ["lttb(step, value, 5)", "minmax_lttb(step, value, 5)"] {
        let sampled = curve(&run(&with_points(&points(&values)), &format!("select {call} from t")));
        assert_eq!(sampled.len(), 5, "{call}");
        assert!(sampled.contains(&(40, INF)), "{call}");
        assert_eq!(sampled.iter().filter(|point| !point.1.is_finite()).count(), 1);
        assert_eq!((sampled[0], sampled[4]), ((0, 0.0), (99, 99.0)));
    }
    let sampled = curve(&run(&with_points(&points(&values)), "select m4(step, value, 2) from t"));
    let steps: Vec<i64> = sampled.iter().map(|point| point.0).collect();
    assert_eq!(steps, vec![0, 40, 49, 50, 99]);
    let short = points(&[1.0, NAN, INF]);
    let whole = "[{step: 0, value: 1.0}, {step: 1, value: NaN}, {step: 2, value: inf}]";
    for call in ["lttb(step, value, 3)", "minmax_lttb(step, value, 3)", "m4(step, value, 1)"] {
        assert_eq!(over(&short, call), whole);
    }
}

#[test]
fn repeated_steps_are_ordered_by_value() {
    let repeated = [(Some(2), Some(NAN)), (Some(1), Some(4.0)), (Some(2), Some(-1.0)), (Some(2), Some(3.0))];
    let ordered =
        "[{step: 1, value: 4.0}, {step: 2, value: -1.0}, {step: 2, value: 3.0}, {step: 2, value: NaN}]";
    assert_eq!(over(&repeated, "lttb(step, value, 4)"), ordered);
    assert_eq!(over(&repeated, "m4(step, value, 1)"), ordered);
    assert_eq!(over(&repeated, "sparkline(step, value)"), "█▁▇× →");
    assert_eq!(over(&repeated, "first_nan(step, value)"), "2");
    assert_eq!(over(&repeated, "arg_max(step, value)"), "1");
}

// Types

#[test]
fn every_number_is_a_value() {
    let ctx = with_points(&points(&[3.0, 1.0, 2.0]));
    let types = [
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "UInt8",
        "UInt16",
        "UInt32",
        "UInt64",
        "Float16",
        "Float32",
        "Float64",
        "Decimal128(10, 2)",
        "Decimal256(40, 2)",
    ];
    for given in types {
        let sql = format!(
            "with t as (select step, arrow_cast(value, '{given}') as value from t)
             select lttb(step, value, 3), minmax_lttb(step, value, 3), m4(step, value, 2),
             sparkline(step, value), first_nan(step, value), loss_spike(step, value),
             arg_min(step, value), arg_max(step, value), max(finite(value)) from t"
        );
        let whole = "[{step: 0, value: 3.0}, {step: 1, value: 1.0}, {step: 2, value: 2.0}]";
        assert_eq!(
            query(&ctx, &sql),
            format!("{whole} | {whole} | {whole} | █▁▅ → | null | [] | 1 | 0 | 3.0"),
            "{given}"
        );
        let sql = format!(
            "with t as (select step, arrow_cast(value, '{given}') as value from t)
             select ema(value, 0.5) over (order by step), spike_score(value) over (order by step),
             is_spike(value) over (order by step) from t order by step"
        );
        let rows = "3.0 | null | false\n2.0 | null | false\n2.0 | null | false";
        assert_eq!(query(&ctx, &sql), rows, "{given}");
    }
}

#[test]
fn the_step_keeps_its_kind() {
    let ctx = with_points(&points(&[3.0, 1.0, 2.0]));
    let kinds = [
        ("Int8", "Int64"),
        ("Int32", "Int64"),
        ("UInt16", "Int64"),
        ("UInt64", "Int64"),
        ("Float16", "Float64"),
        ("Float32", "Float64"),
        ("Decimal128(10, 2)", "Float64"),
        ("Timestamp(Nanosecond, None)", "Timestamp(Nanosecond, None)"),
        ("Timestamp(Second, Some(\"UTC\"))", "Timestamp(Second, Some(\"UTC\"))"),
        ("Date32", "Timestamp(Millisecond, None)"),
    ];
    for (given, kept) in kinds {
        let step = if given == "Date32" { "arrow_cast(step, 'Int32')" } else { "step" };
        let sql = format!(
            "with t as (select arrow_cast({step}, '{given}') as step, value from t)
             select arrow_cast(lttb(step, value, 3)[2]['step'], '{kept}') =
                    lttb(step, value, 3)[2]['step'],
             arrow_typeof(lttb(step, value, 3)[2]['step']) as a,
             arrow_typeof(m4(step, value, 3)[1]['step']) as b,
             arrow_typeof(minmax_lttb(step, value, 3)[1]['step']) as c,
             arrow_typeof(loss_spike(step, value)[1]['step']) as d,
             arrow_typeof(first_nan(step, value / 0)) as e, sparkline(step, value) from t"
        );
        let batch = run(&ctx, &sql);
        let cells = text(&batch);
        let mut cells = cells.split(" | ");
        assert_eq!(cells.next(), Some("true"), "{given}");
        let kinds: BTreeSet<&str> = cells.by_ref().take(5).collect();
        assert_eq!(kinds.len(), 1, "{given}: {kinds:?}");
        let expected = query(&ctx, &format!("select arrow_typeof(arrow_cast(1, '{kept}'))"));
        assert_eq!(kinds.into_iter().next(), Some(expected.as_str()), "{given}");
        assert_eq!(cells.next(), Some("█▁▅ →"));
    }
}

#[test]
fn float_steps() {
    let ctx = with_points(&[]);
    let sql = "select lttb(step, value, 9), first_nan(step, value) from (values
               (0.5, 1.0), (-1.5, 2.0), (-0.0, 'NaN'::double), (0.0, 3.0),
               ('NaN'::double, 9.0), ('inf'::double, 9.0)) as t(step, value)";
    let expected = "[{step: -1.5, value: 2.0}, {step: 0.0, value: 3.0}, {step: 0.0, value: NaN}, \
                    {step: 0.5, value: 1.0}] | 0.0";
    assert_eq!(query(&ctx, sql), expected);
}

#[test]
fn neighbouring_nanoseconds_are_told_apart() {
    let start = 1_700_000_000_000_000_000_i64;
    let mut close: Vec<Point> = (0..50).map(|i| (Some(start + i), Some(0.0))).collect();
    close[20].1 = Some(8.0);
    let sampled = curve(&run(&with_points(&close), "select lttb(step, value, 5) from t"));
    assert!(sampled.contains(&(start + 20, 8.0)));
}

// arg_min, arg_max, finite

#[test]
fn arg_extremes_pass_over_what_is_no_number() {
    let values = points(&[NAN, 3.0, -INF, 1.0, INF, 9.0]);
    let calls = "arg_min(step, value), arg_max(step, value), min_by(step, value), max_by(step, value)";
    assert_eq!(over(&values, calls), "3 | 5 | 3 | 5");
}

#[test]
fn arg_extremes_break_ties_by_the_smaller_x() {
    let ctx = with_points(&[]);
    let sql = "select arg_min(x, y), arg_max(x, y) from (values
               ('c', 1.0), ('b', 2.0), (null, 1.0), ('a', 2.0), ('b', 1.0), ('z', null)) as t(x, y)";
    assert_eq!(query(&ctx, sql), "b | a");
    let zeros = "select arg_min(x, y), arg_max(x, y) from (values (2, -0.0), (1, 0.0)) as t(x, y)";
    assert_eq!(query(&ctx, zeros), "1 | 1");
    let null = "select arg_min(x, y) from (values (null, 1), (7, 2)) as t(x, y)";
    assert_eq!(query(&ctx, null), "null");
}

#[test]
fn arg_extremes_take_any_types() {
    let ctx = with_points(&[]);
    for y in [
        "1, 2",
        "1.5, 2.5",
        "'a', 'b'",
        "false, true",
        "date '2024-01-01', date '2024-01-02'",
        "timestamp '2024-01-01', timestamp '2024-01-02'",
        "1::decimal(5,2), 2::decimal(5,2)",
        "arrow_cast('a', 'Utf8View'), arrow_cast('b', 'Utf8View')",
        "arrow_cast('a', 'Dictionary(Int32, Utf8)'), arrow_cast('b', 'Dictionary(Int32, Utf8)')",
        "9007199254740992, 9007199254740993",
    ] {
        let sql = format!(
            "with y as (select {y}), t as (select * from y)
             select arg_min(x, y), arg_max(x, y) from (
             select 'low' as x, c1 as y from (select * from t) as t(c1, c2)
             union all select 'high', c2 from (select * from t) as t(c1, c2))"
        );
        assert_eq!(query(&ctx, &sql), "low | high", "{y}");
    }
    let lists = "select arg_min(x, y), arg_max(x, y) from (values
                 ([1, 2], 1.0), ([1, 1], 1.0), ([9], 2.0)) as t(x, y)";
    assert_eq!(query(&ctx, lists), "[1, 1] | [9]");
    let kept = "select arrow_typeof(arg_max(arrow_cast('a', 'Dictionary(Int32, Utf8)'), 1))";
    assert_eq!(query(&ctx, kept), "Dictionary(Int32, Utf8)");
    assert_eq!(query(&ctx, "select arg_max(null, 1), arg_max(1, null)"), "null | null");
}

#[test]
fn finite_is_null_for_what_is_no_number() {
    let values = [(Some(0), Some(NAN)), (Some(1), Some(-INF)), (Some(2), None), (Some(3), Some(4.5))];
    assert_eq!(over(&values, "finite(value)"), "null\nnull\nnull\n4.5");
    assert_eq!(over(&values, "max(finite(value)), max(value)"), "4.5 | NaN");
    assert_eq!(over(&values[3..], "finite(value), finite(step)"), "4.5 | 3.0");
    let ctx = with_points(&[]);
    let scalars = "select finite(1), finite(null), finite('NaN'::double), finite('inf'::float),
                   arrow_typeof(finite(1::float)) as a, arrow_typeof(finite(1)) as b,
                   arrow_typeof(finite(arrow_cast(1.0, 'Float16'))) as c";
    let expected = "1.0 | null | null | null | Float32 | Float64 | Float32";
    assert_eq!(query(&ctx, scalars), expected);
    let floats = "select finite(x::float) from (values (1.5), ('NaN'::double)) as t(x)";
    assert_eq!(query(&ctx, floats), "1.5\nnull");
}

// Windows and spikes

fn jitter(i: i64) -> f64 {
    (7 * i % 5) as f64 - 2.0
}

/// Worked example 1: rows 40 to 42 are up.
fn spiky() -> Vec<Point> {
    let mut loss: Vec<f64> = (0..60).map(|i| 2.0 + 0.01 * jitter(i)).collect();
    loss[40..43].copy_from_slice(&[3.0, 2.7, 2.5]);
    points(&loss)
}

#[test]
fn loss_spike_tells_the_episode() {
    let ctx = with_points(&spiky());
    let sql = "select s['step'], s['end_step'], s['detected_step'], s['level'], s['value'],
               s['baseline'], round(s['score']), s['rows']
               from (select unnest(loss_spike(step, value)) as s from t)";
    assert_eq!(query(&ctx, sql), "40 | 42 | 45 | warn | 3.0 | 2.0 | 95.0 | 3");
    let broken: Vec<Point> = spiky().into_iter().take(41).collect();
    let open = query(&with_points(&broken), sql);
    assert_eq!(open, "40 | null | 40 | info | 3.0 | 2.0 | 95.0 | 1");
}

#[test]
fn is_spike_flags_the_episodes_of_loss_spike() {
    let mut loss = spiky();
    loss.insert(41, (Some(40), Some(NAN)));
    loss.insert(30, (Some(30), None));
    let ctx = with_points(&loss);
    let flagged = "select step, value from (
                   select *, is_spike(value) over (order by step, value) as spike from t)
                   where spike order by step";
    assert_eq!(query(&ctx, flagged), "40 | 3.0\n41 | 2.7\n42 | 2.5");
    let scores = "select step from (
                  select *, spike_score(value) over (order by step, value) as score from t)
                  where score > 5.5 order by step";
    assert_eq!(query(&ctx, scores), "40\n41\n42");
    let first = "select min(step) from (
                 select *, spike_score(value) over (order by step, value) as score from t)
                 where score is not null";
    assert_eq!(query(&ctx, first), "20");
}

#[test]
fn windows_begin_anew_in_each_partition() {
    let ctx = context(4, 3);
    let values: Vec<f64> = (0..6).map(f64::from).collect();
    register(&ctx, "t", &series(&points(&values), 2));
    let sql = "select g, step, ema(value, 0.5) over (partition by g order by step) from t order by g, step";
    let expected = "0 | 0 | 0.0\n0 | 2 | 1.0\n0 | 4 | 2.5\n1 | 1 | 1.0\n1 | 3 | 2.0\n1 | 5 | 3.5";
    assert_eq!(query(&ctx, sql), expected);
    let reversed = "select step, ema(value, 1) over (order by step desc) from t order by step limit 2";
    assert_eq!(query(&ctx, reversed), "0 | 0.0\n1 | 1.0");
}

#[test]
fn ema_lets_missing_and_broken_values_through() {
    let values = [
        (Some(0), None),
        (Some(1), Some(NAN)),
        (Some(2), Some(4.0)),
        (Some(3), Some(INF)),
        (Some(4), None),
        (Some(5), Some(8.0)),
    ];
    let smooth = over(&values, "ema(value, 0.5) over (order by step)");
    assert_eq!(smooth, "null\nNaN\n4.0\ninf\nnull\n6.0");
}

#[test]
fn series_aggregates_work_over_a_window() {
    let values = points(&[3.0, 2.0, 1.0]);
    let drawn = over(&values, "sparkline(step, value, 3) over (order by step)");
    assert_eq!(drawn, "▄ →\n█▁ ↓\n█▅▁ ↓");
    let sampled = over(&values, "array_length(lttb(step, value, 3) over (order by step))");
    assert_eq!(sampled, "1\n2\n3");
}

/// Long batches are held where short ones are copied: the answers are the same.
#[test]
fn long_batches_give_what_short_ones_give() {
    let mut values: Vec<f64> = (0..20_000).map(|step| (f64::from(step) * 0.01).sin() + 2.0).collect();
    values[9_000] = 40.0;
    values[19_990] = NAN;
    let calls: Vec<&str> = AGGREGATES.iter().map(|(call, _)| *call).collect();
    let as_double = calls.iter().map(|call| call.replace("step", "step - 5000.5"));
    let sql = format!("select {}, {} from t", calls.join(", "), as_double.collect::<Vec<_>>().join(", "));
    let grouped = format!("select g, {} from t group by g order by g", calls.join(", "));
    let answers = |partitions, size| {
        let ctx = context(partitions, size);
        register(&ctx, "t", &series(&points(&values), 3));
        (query(&ctx, &sql), query(&ctx, &grouped))
    };
    let short = answers(1, 700);
    for (partitions, size) in [(1, 8192), (3, 2048), (2, 5000)] {
        assert_eq!(answers(partitions, size), short, "{partitions} partitions, batches of {size}");
    }
}

/// Where memory is short, what groups have collected goes to disk and comes back.
#[test]
fn spilled_groups_give_what_groups_in_memory_give() {
    let value = |row: i64| Some((row as f64 * 0.01).sin() + 2.0);
    let points: Vec<Point> = (0..60_000).map(|row| (Some(row), value(row))).collect();
    let table = series(&points, 1);
    let sql = "select step / 1500 as g, lttb(step, value, 5), sparkline(step, value), loss_spike(step, value)
               from t group by 1 order by 1";
    let whole = context(1, 8192);
    register(&whole, "t", &table);
    let memory = RuntimeEnvBuilder::new().with_memory_limit(1_500_000, 1.0).build_arc().unwrap();
    let config = SessionConfig::new().with_target_partitions(1).with_batch_size(4);
    let config = config.with_sort_spill_reservation_bytes(100_000);
    let short = SessionContext::new_with_config_rt(config, memory);
    register_all(&short);
    let batches = (0..15).map(|part| table.slice(part * 4000, 4000)).collect();
    let memory_table = MemTable::try_new(table.schema(), vec![batches]).unwrap();
    short.register_table("t", Arc::new(memory_table)).unwrap();
    let plan = query(&short, &format!("explain analyze {sql}"));
    let aggregate = plan.split("AggregateExec").nth(1).unwrap();
    assert!(aggregate.contains("spill_count=") && !aggregate.contains("spill_count=0"), "{plan}");
    assert_eq!(query(&short, sql), query(&whole, sql));
}

// Errors while planning

#[test]
fn wrong_arguments_are_planning_errors() {
    let ctx = with_points(&spiky());
    let cases = [
        ("lttb(step, value, 2)", "lttb: n must be at least 3, not 2"),
        ("lttb(step, value, -1)", "lttb: n must be at least 3, not -1"),
        ("lttb(step, value, null)", "lttb: n must be at least 3, not NULL"),
        ("lttb(step, value, g)", "lttb: n must be a literal"),
        ("lttb(step, value, 3.5)", "lttb: n must be a whole number, not Float64"),
        ("lttb(step, value)", "lttb takes 3 arguments, not 2"),
        ("lttb('a', value, 3)", "lttb: step must be a number or a timestamp, not Utf8"),
        ("lttb(step, 'a', 3)", "lttb: value must be a number, not Utf8"),
        ("lttb(distinct step, value, 3)", "lttb does not support DISTINCT"),
        ("sparkline(distinct step, value)", "sparkline does not support DISTINCT"),
        ("loss_spike(distinct step, value)", "loss_spike does not support DISTINCT"),
        ("minmax_lttb(step, value, 2)", "minmax_lttb: n must be at least 3, not 2"),
        ("m4(step, value, 0)", "m4: buckets must be at least 1, not 0"),
        ("m4(step, value, step)", "m4: buckets must be a literal"),
        ("sparkline(step, value, 0)", "sparkline: width must be between 1 and 1000, not 0"),
        ("sparkline(step)", "sparkline takes 2 or 3 arguments, not 1"),
        ("first_nan(value, 'x')", "first_nan: value must be a number, not Utf8"),
        ("arg_min(step)", "arg_min takes 2 arguments, not 1"),
        ("arg_max(step, [1])", "arg_max: y must have an order"),
        ("finite('x')", "finite: x must be a number, not Utf8"),
        ("ema(value, 0) over (order by step)", "ema: alpha must be above 0 and at most 1, not 0"),
        ("ema(value, 1.1) over (order by step)", "ema: alpha must be above 0 and at most 1, not 1.1"),
        ("ema(value, value) over (order by step)", "ema: alpha must be a literal"),
        ("is_spike('x') over (order by step)", "is_spike: value must be a number, not Utf8"),
    ];
    for (call, expected) in cases {
        let message = plan_error(&ctx, &format!("select {call} from t"));
        assert!(message.contains(expected), "{call}\n got: {message}\nwant: {expected}");
    }
}

/// DataFusion plans `over` without asking the aggregate, so the same error comes when it starts.
#[test]
fn wrong_arguments_over_a_window_are_errors_too() {
    let ctx = with_points(&spiky());
    for call in ["lttb(step, value, g)", "m4(step, value, 0)", "sparkline(step, value, 0)"] {
        let sql = format!("select {call} over (order by step) from t");
        let error = RUNTIME.block_on(try_run(&ctx, &sql)).expect_err(&sql);
        assert!(matches!(error.find_root(), DataFusionError::Plan(_)), "{error}");
    }
}

#[test]
fn constants_and_parameters_are_literals() {
    let ctx = with_points(&spiky());
    assert_eq!(query(&ctx, "select array_length(lttb(step, value, 2 * 5)) from t"), "10");
    let bound = RUNTIME.block_on(async {
        let frame = ctx.sql("select array_length(lttb(step, value, $1)) from t").await?;
        frame.with_param_values(vec![ScalarValue::from(7_i64)])?.collect().await
    });
    assert_eq!(text(&bound.unwrap()[0]), "7");
}

// history and wide

/// Rows of a long table: run, key, step, value.
type Row = (&'static str, &'static str, i64, f64);

fn long(rows: &[Row]) -> RecordBatch {
    let runs = rows.iter().map(|row| row.0);
    let keys: DictionaryArray<Int32Type> = rows.iter().map(|row| row.1).collect();
    RecordBatch::try_from_iter([
        ("run_id", Arc::new(StringArray::from_iter_values(runs)) as ArrayRef),
        ("key", Arc::new(keys)),
        ("step", Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>())),
        ("value", Arc::new(rows.iter().map(|row| Some(row.3)).collect::<Float64Array>())),
        ("time", new_null_array(&DataType::Int64, rows.len())),
    ])
    .unwrap()
}

/// Knows every run by its id, and `a` by the name `first` as well.
fn resolver() -> ResolveRun {
    Arc::new(|word| match word {
        "first" => Ok("a".to_owned()),
        "nobody" => Err(DataFusionError::Plan("run \"nobody\" not found".to_owned())),
        other => Ok(other.to_owned()),
    })
}

fn with_metrics(partitions: usize, batch_size: usize, rows: &[Row]) -> SessionContext {
    let ctx = context(partitions, batch_size);
    register(&ctx, "metrics", &long(rows));
    let metrics = RUNTIME.block_on(ctx.table_provider("metrics")).unwrap();
    register_table_functions(&ctx, metrics, resolver());
    ctx
}

fn small() -> Vec<Row> {
    vec![
        ("a", "loss", 3, 1.0),
        ("a", "loss", 1, 3.0),
        ("b", "loss", 1, 99.0),
        ("a", "loss", 2, NAN),
        ("a", "val/loss", 2, 2.5),
        ("a", "lr", 4, 0.1),
        ("a", "lr", 1, 0.2),
    ]
}

#[test]
fn wide_has_every_row_of_the_union() {
    let ctx = with_metrics(1, 8192, &small());
    let expected = "1 | null | 3.0\n2 | 2.5 | NaN\n3 | null | 1.0";
    for run in ["a", "first"] {
        let sql = format!("select * from wide('{run}', 'val/loss, loss')");
        assert_eq!(query(&ctx, &sql), expected);
        let sql = format!("select * from history('{run}', 'val/loss,loss,,loss')");
        assert_eq!(query(&ctx, &sql), expected);
    }
    let batch = run(&ctx, "select * from wide('a', 'val/loss,loss')");
    let schema = batch.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["step", "val/loss", "loss"]);
    assert_eq!(schema.field(0).data_type(), &DataType::Int64);
    assert_eq!(schema.field(1).data_type(), &DataType::Float64);
}

#[test]
fn aligned_tables_compose() {
    let ctx = with_metrics(4, 2, &small());
    let sql = "select step, loss * lr as x from wide('a', 'loss,lr') where lr is not null order by step desc";
    assert_eq!(query(&ctx, sql), "4 | null\n1 | 0.6000000000000001");
    assert_eq!(query(&ctx, "select loss from wide('a', 'loss') limit 1"), "3.0");
    assert_eq!(query(&ctx, "select count(*) from wide('a', 'loss,lr')"), "4");
    let both = "select a.step, a.loss, b.loss from wide('a', 'loss') as a
                left join wide('b', 'loss') as b on a.step = b.step order by a.step";
    assert_eq!(query(&ctx, both), "1 | 3.0 | 99.0\n2 | NaN | null\n3 | 1.0 | null");
}

#[test]
fn a_step_logged_twice_shows_one_value() {
    let rows = [("a", "loss", 1, 5.0), ("a", "loss", 1, 7.0), ("a", "loss", 1, 6.0)];
    let ctx = with_metrics(2, 1, &rows);
    assert_eq!(query(&ctx, "select * from wide('a', 'loss')"), "1 | 7.0");
    assert_eq!(query(&ctx, "select * from history('a', 'loss', 1)"), "1 | 7.0");
}

#[test]
fn aligned_tables_say_what_is_wrong() {
    let ctx = with_metrics(1, 8192, &small());
    let cases = [
        ("wide('a', 'loss,acc')", "no metric \"acc\" in run \"a\""),
        ("history('first', 'acc', 5)", "no metric \"acc\" in run \"first\""),
        ("wide('c', 'loss')", "no metric \"loss\" in run \"c\""),
        ("wide('nobody', 'loss')", "run \"nobody\" not found"),
        ("wide('a')", "wide takes (run, 'key,key')"),
        ("wide('a', 'loss', 3)", "wide takes (run, 'key,key')"),
        ("history('a')", "history takes (run, 'key,key' [, n [, from, to]])"),
        ("history('a', 'loss', 0)", "history: n must be a literal whole number of at least 1"),
        ("history('a', 'loss', 'x')", "history: n must be a literal whole number of at least 1"),
        ("history('a', ' , ')", "history: keys names no metric"),
        ("history(3, 'loss')", "history: run must be a text literal"),
        ("wide('a', 'step')", "a metric named step"),
    ];
    for (call, expected) in cases {
        let message = plan_error(&ctx, &format!("select * from {call}"));
        assert!(message.contains(expected), "{call}\n got: {message}\nwant: {expected}");
    }
    assert_eq!(History::NAME, "history");
}

#[test]
fn history_has_500_rows_by_default() {
    let mut rows: Vec<Row> = (0..5_000).map(|step| ("a", "loss", step, 1.0)).collect();
    rows[1234].3 = 77.0;
    rows[3210].3 = NAN;
    let ctx = with_metrics(2, 512, &rows);
    let sql = "select count(*), max(finite(loss)), sum(isnan(loss)::int) from history('a', 'loss')";
    assert_eq!(query(&ctx, sql), "500 | 77.0 | 1");
}

// Laws

/// A number as a log may hold it: seldom missing or broken, often the same.
fn any_value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        8 => (-5_i32..5).prop_map(|value| Some(f64::from(value) / 2.0)),
        8 => (-1e3..1e3).prop_map(Some),
        1 => Just(None),
        1 => Just(Some(NAN)),
        1 => Just(Some(INF)),
        1 => Just(Some(-INF)),
    ]
}

fn any_points(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Point>> {
    let step = prop_oneof![20 => (0_i64..60).prop_map(Some), 1 => Just(None)];
    prop::collection::vec((step, any_value()), len)
}

/// The points and the same in another order.
fn shuffled(len: std::ops::Range<usize>) -> impl Strategy<Value = (Vec<Point>, Vec<Point>)> {
    any_points(len).prop_flat_map(|points| (Just(points.clone()), Just(points).prop_shuffle()))
}

fn finite_by_step(points: &[Point]) -> Vec<(i64, f64)> {
    let mut finite: Vec<(i64, f64)> = points
        .iter()
        .filter_map(|point| Some((point.0?, point.1?)))
        .filter(|point| point.1.is_finite())
        .collect();
    finite.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    finite
}

/// The answer does not depend on the order of the points, nor on batches and partitions.
fn in_any_order(
    sql: &str,
    points: &[Point],
    other: &[Point],
    (partitions, size): (usize, usize),
) -> Result<(), TestCaseError> {
    let ctx = context(partitions, size);
    register(&ctx, "t", &series(other, 1));
    prop_assert_eq!(query(&ctx, sql), query(&with_points(points), sql));
    Ok(())
}

/// The answer over three groups does not depend on batches and partitions.
fn in_any_pieces(
    sql: &str,
    points: &[Point],
    (partitions, size): (usize, usize),
) -> Result<(), TestCaseError> {
    let (whole, ctx) = (context(1, 8192), context(partitions, size));
    register(&whole, "t", &series(points, 3));
    register(&ctx, "t", &series(points, 3));
    prop_assert_eq!(query(&ctx, sql), query(&whole, sql));
    Ok(())
}

/// The answer over rows of ascending steps does not depend on the order in which they lie.
fn in_reverse(sql: &str, values: Vec<Option<f64>>, pieces: (usize, usize)) -> Result<(), TestCaseError> {
    let points: Vec<Point> = (0..).zip(values).map(|(step, value)| (Some(step), value)).collect();
    let reversed: Vec<Point> = points.iter().rev().copied().collect();
    in_any_order(sql, &points, &reversed, pieces)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn aggregates_do_not_depend_on_order_batches_or_partitions(
        (points, other) in shuffled(0..90),
        partitions in 1_usize..5,
        size in prop::sample::select(vec![1_usize, 3, 64]),
    ) {
        let calls: Vec<&str> = AGGREGATES.iter().map(|(call, _)| *call).collect();
        let sql = format!("select {} from t", calls.join(", "));
        in_any_order(&sql, &points, &other, (partitions, size))?;
    }

    #[test]
    fn grouped_aggregates_do_not_depend_on_batches_or_partitions(
        points in any_points(1..90),
        partitions in 2_usize..5,
        size in prop::sample::select(vec![1_usize, 3, 64]),
    ) {
        let calls: Vec<&str> = AGGREGATES.iter().map(|(call, _)| *call).collect();
        let sql = format!("select g, {} from t group by g order by g", calls.join(", "));
        in_any_pieces(&sql, &points, (partitions, size))?;
    }

    #[test]
    fn windows_do_not_depend_on_order_batches_or_partitions(
        values in prop::collection::vec(any_value(), 1..80),
        partitions in 1_usize..5,
        size in prop::sample::select(vec![1_usize, 3, 64]),
    ) {
        let sql = "select step % 2, step, ema(value, 0.3) over w, spike_score(value) over w, is_spike(value) over w
                   from t window w as (partition by step % 2 order by step) order by step";
        in_reverse(sql, values, (partitions, size))?;
    }

    #[test]
    fn samples_are_subsets_with_both_ends(points in any_points(1..200), n in 3_i64..40) {
        let ctx = with_points(&points);
        let finite = finite_by_step(&points);
        let logged = points.iter().filter(|point| point.0.is_some() && point.1.is_some()).count();
        for call in [format!("lttb(step, value, {n})"), format!("minmax_lttb(step, value, {n})")] {
            let sampled = curve(&run(&ctx, &format!("select {call} from t")));
            prop_assert!(sampled.len() <= n as usize);
            prop_assert!(sampled.is_sorted_by(|a, b| a.0 <= b.0));
            if logged <= n as usize {
                prop_assert_eq!(sampled.len(), logged);
            } else if let (Some(first), Some(last)) = (finite.first(), finite.last()) {
                prop_assert!(sampled.contains(first), "{} lost {:?}", call, first);
                prop_assert!(finite.len() == 1 || sampled.contains(last), "{} lost {:?}", call, last);
            }
            let kept = sampled.iter().filter(|point| point.1.is_finite());
            prop_assert!(kept.clone().all(|point| finite.contains(point)));
            if logged == finite.len() {
                prop_assert_eq!(sampled.len(), logged.min(n as usize));
            }
        }
    }

    #[test]
    fn m4_keeps_the_extremes(points in any_points(1..200), buckets in 1_i64..8) {
        let ctx = with_points(&points);
        let finite = finite_by_step(&points);
        let sampled = curve(&run(&ctx, &format!("select m4(step, value, {buckets}) from t")));
        prop_assert!(sampled.len() <= 4 * buckets as usize + 1);
        prop_assert!(sampled.is_sorted_by(|a, b| a.0 <= b.0));
        let extreme = |points: &[(i64, f64)]| {
            let finite = points.iter().map(|point| point.1).filter(|value| value.is_finite());
            finite.fold((INF, -INF), |(low, high), value| (low.min(value), high.max(value)))
        };
        prop_assert_eq!(extreme(&sampled), extreme(&finite));
    }

    #[test]
    fn arg_extremes_are_where_the_extremes_are(points in any_points(1..60)) {
        let finite = finite_by_step(&points);
        let best = |largest: bool| {
            let mut ranked = finite.clone();
            ranked.sort_by(|a, b| {
                let by_value = a.1.partial_cmp(&b.1).unwrap();
                let by_value = if largest { by_value.reverse() } else { by_value };
                by_value.then(a.0.cmp(&b.0))
            });
            ranked.first().map(|point| point.0)
        };
        // A row without a step can win: its step is null.
        let ctx = with_points(&points);
        let sql = "select arg_min(step, value), arg_max(step, value) from t where step is not null";
        let show = |step: Option<i64>| step.map_or("null".to_owned(), |step| step.to_string());
        prop_assert_eq!(query(&ctx, sql), format!("{} | {}", show(best(false)), show(best(true))));
    }

    #[test]
    fn history_has_exactly_n_rows_and_keeps_the_extremes(
        loss in prop::collection::btree_map(0_i64..400, any_value(), 1..120),
        val in prop::collection::btree_map(0_i64..400, any_value(), 1..30),
        n in 1_usize..150,
        partitions in 1_usize..4,
        size in prop::sample::select(vec![1_usize, 3, 64]),
        turn in 0_usize..100,
    ) {
        let logged = |key: &'static str, metric: &BTreeMap<i64, Option<f64>>| -> Vec<Row> {
            metric.iter().filter_map(|(step, value)| Some(("a", key, *step, (*value)?))).collect()
        };
        let metrics = [logged("loss", &loss), logged("val", &val)];
        prop_assume!(metrics.iter().all(|metric| !metric.is_empty()));
        let mut rows = metrics.concat();
        let union: BTreeSet<i64> = rows.iter().map(|row| row.2).collect();
        let sql = format!("select * from history('a', 'loss,val', {n})");
        let batch = run(&with_metrics(1, 8192, &rows), &sql);
        prop_assert_eq!(batch.num_rows(), n.min(union.len()));
        let middle = turn % rows.len();
        rows.rotate_left(middle);
        let again = query(&with_metrics(partitions, size, &rows), &sql);
        prop_assert_eq!(again, text(&batch));
        check_rows(&batch, &metrics)?;
        if n >= 12 {
            check_landmarks(&batch, &metrics)?;
        }
    }
}

/// Every row shows all metrics logged at its step, and nothing else.
fn check_rows(batch: &RecordBatch, metrics: &[Vec<Row>; 2]) -> Result<(), TestCaseError> {
    let steps = batch.column(0).as_primitive::<Int64Type>();
    prop_assert!(steps.values().is_sorted_by(|a, b| a < b));
    for (metric, column) in metrics.iter().zip(&batch.columns()[1..]) {
        let column = column.as_primitive::<Float64Type>();
        for (row, step) in steps.values().iter().enumerate() {
            let logged = metric.iter().find(|point| point.2 == *step).map(|point| point.3);
            let shown = column.is_valid(row).then(|| column.value(row));
            prop_assert_eq!(logged.map(f64::to_bits), shown.map(f64::to_bits));
        }
    }
    Ok(())
}

/// Lowest, highest, first and last value and the first that is not finite are all there.
fn check_landmarks(batch: &RecordBatch, metrics: &[Vec<Row>; 2]) -> Result<(), TestCaseError> {
    let steps = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    for metric in metrics {
        let finite = metric.iter().filter(|row| row.3.is_finite());
        let landmarks = [
            finite.clone().min_by(|a, b| a.3.total_cmp(&b.3).then(a.2.cmp(&b.2))),
            finite.clone().min_by(|a, b| b.3.total_cmp(&a.3).then(a.2.cmp(&b.2))),
            metric.iter().find(|row| !row.3.is_finite()),
            metric.first(),
            metric.last(),
        ];
        for row in landmarks.into_iter().flatten() {
            prop_assert!(steps.contains(&row.2), "{:?} is not in {:?}", row, steps);
        }
    }
    Ok(())
}

#[test]
fn partitions_really_merge_states() {
    let ctx = context(4, 3);
    register(&ctx, "t", &series(&spiky(), 2));
    let sql = "explain select g, lttb(step, value, 5), arg_min(step, value) from t group by g";
    let plan = query(&ctx, sql);
    assert!(plan.contains("mode=Partial") && plan.contains("mode=Final"), "{plan}");
}
