//! The diagnosis through SQL: worked examples, laws, errors.

use super::*;

/// The aggregates of the diagnosis, and their answer to no points.
const DIAGNOSES: [(&str, &str); 20] = [
    ("nan(step, value)", "[]"),
    ("loss_spike(step, value)", "[]"),
    ("divergence(step, value)", "[]"),
    ("plateau(step, value)", "[]"),
    ("overfitting(step, value)", "[]"),
    ("overfitting(step, value, 'max')", "[]"),
    ("grad_explosion(step, value)", "[]"),
    ("grad_vanishing(step, value)", "[]"),
    ("throughput_drop(step, value)", "[]"),
    ("memory_leak(step, value, g + 7)", "[]"),
    ("oom_risk(step, value, 9, 300)", "[]"),
    ("reward_collapse(step, value)", "[]"),
    ("kl_blowup(step, value)", "[]"),
    ("entropy_collapse(step, value)", "[]"),
    ("length_collapse(step, value)", "[]"),
    ("diagnose(step, value, g + value, null, value / 2)", "[]"),
    ("trend(step, value)", "null"),
    ("mann_kendall(step, value)", "null"),
    ("forecast(step, value, 500)", "null"),
    ("eta(step, step + value, g + 700)", "null"),
];

const WINDOWS: &str = "grad_ratio(value) over w, robust_ema(value, 0.3) over w, roll_median(value, 5) over w,
    roll_mad(value, 5) over w, phase(value) over w, phase(value, value, value) over w";

fn calls() -> String {
    DIAGNOSES.map(|(call, _)| call).join(", ")
}

/// Table `t(step, loss, val_loss, grad_norm, lr, throughput, gpu_mem)`: a row a step, a metric by its place.
fn with_metrics_of(rows: usize, metric: impl Fn(usize, usize) -> Option<f64>) -> SessionContext {
    let steps = Int64Array::from_iter_values(0..rows as i64);
    let mut columns = vec![("step", Arc::new(steps) as ArrayRef, true)];
    let names = ["loss", "val_loss", "grad_norm", "lr", "throughput", "gpu_mem"];
    for (place, name) in names.into_iter().enumerate() {
        let values: Float64Array = (0..rows).map(|row| metric(place, row)).collect();
        columns.push((name, Arc::new(values), true));
    }
    let ctx = context(1, 8192);
    register(&ctx, "t", &RecordBatch::try_from_iter_with_nullable(columns).unwrap());
    ctx
}

/// Findings of one call over these values, a row each.
fn found(values: &[f64], call: &str, fields: &str) -> String {
    let ctx = with_points(&points(values));
    query(&ctx, &format!("select {fields} from (select unnest({call}) as f from t)"))
}

fn rows(count: i64, value: impl Fn(i64) -> f64) -> Vec<f64> {
    (0..count).map(value).collect()
}

const ONSET: &str = "f['level'], f['step'], f['end_step'], f['rows']";

// Worked examples

#[test]
fn example_1_loss_spike() {
    let ctx = with_points(&spiky());
    let sql = "select f['level'], f['step'], f['end_step'], f['detected_step'], f['value'], f['baseline'],
               f['score'] > 60, f['rows'] from (select unnest(loss_spike(step, value)) as f from t)";
    assert_eq!(query(&ctx, sql), "warn | 40 | 42 | 45 | 3.0 | 2.0 | true | 3");
    assert_eq!(over(&spiky(), "array_length(plateau(step, value)), divergence(step, value)"), "1 | []");
}

#[test]
fn example_4_divergence() {
    let rise = |i: i64| if i < 100 { 0.0 } else { 0.02 * (i as f64 - 99.0) };
    let loss = rows(150, |i| 2.0 + 0.01 * jitter(i) + rise(i));
    let fields = "f['level'], f['step'] between 100 and 110, f['end_step']";
    assert_eq!(found(&loss, "divergence(step, value)", fields), "error | true | null");
    assert_eq!(found(&loss, "loss_spike(step, value)", fields), "");
    assert_eq!(found(&loss, "plateau(step, value)", fields), "");
}

const TURNING: [f64; 12] = [1.0, 0.8, 0.7, 0.65, 0.63, 0.62, 0.63, 0.65, 0.68, 0.70, 0.72, 0.75];

#[test]
fn example_7_overfitting() {
    let fields = "f['level'], f['step'] in (4, 5), f['value'] / f['baseline'] between 1.14 and 1.16";
    assert_eq!(found(&TURNING, "overfitting(step, value)", fields), "warn | true | true");
    assert_eq!(found(&TURNING, "overfitting(step, value, 'min')", fields), "warn | true | true");
    assert_eq!(found(&TURNING, "overfitting(step, value, 'max')", fields), "");
    let score = TURNING.map(|value| -value);
    assert_eq!(found(&score, "overfitting(step, value, 'max')", fields), "warn | true | true");
    let run = |loss: fn(usize) -> f64| {
        let ctx = with_metrics_of(1101, |metric, row| match metric {
            0 => Some(loss(row)),
            1 if row % 100 == 0 => Some(TURNING[row / 100]),
            _ => None,
        });
        let sql = "select f['kind'], f['metric'], f['level'], f['step'] in (400, 500)
                   from (select unnest(diagnose(step, loss, val_loss)) as f from t)";
        query(&ctx, sql)
    };
    assert_eq!(run(|row| 0.9 - 0.6 * row as f64 / 1100.0), "overfitting | val_loss | warn | true");
    assert_eq!(run(|row| 0.5 + 0.4 * row as f64 / 1100.0), "divergence | loss | error | false");
}

#[test]
fn example_8_grad_explosion() {
    let norm = |peaks: &[(usize, f64)]| {
        let mut norm = rows(90, |i| 1.0 + 0.1 * jitter(i));
        peaks.iter().for_each(|&(row, value)| norm[row] = value);
        norm
    };
    let call = "grad_explosion(step, value)";
    let burst = norm(&[(60, 14.0), (61, 6.0)]);
    assert_eq!(found(&burst, call, ONSET), "warn | 60 | 61 | 2");
    assert_eq!(found(&burst, call, "round(f['value'] / f['baseline'])"), "14.0");
    assert_eq!(found(&norm(&[(60, 120.0)]), call, ONSET), "error | 60 | 60 | 1");
    assert_eq!(found(&norm(&[(60, 4.0)]), call, ONSET), "");
    let ratios =
        "select step, round(ratio) from (select step, grad_ratio(value) over (order by step) as ratio
                  from t) where ratio > 3 order by step";
    assert_eq!(query(&with_points(&points(&burst)), ratios), "60 | 14.0\n61 | 6.0");
}

#[test]
fn example_10_throughput_drop() {
    let slow = rows(100, |i| if i < 60 { 100.0 } else { 60.0 } + jitter(i));
    let fields = "f['level'], f['step'], f['end_step'], round(f['score'], 1)";
    assert_eq!(found(&slow, "throughput_drop(step, value)", fields), "warn | 60 | null | 0.4");
    let dips = rows(100, |i| if i % 10 == 0 { 20.0 } else { 100.0 });
    assert_eq!(found(&dips, "throughput_drop(step, value)", fields), "");
}

#[test]
fn example_11_memory() {
    let leaking = rows(300, |i| 20.0 + 0.05 * (i as f64 - 100.0).max(0.0));
    let fields = "f['level'], f['step'] between 90 and 110, round(f['value'] - f['baseline'])";
    for call in ["memory_leak(step, value)", "memory_leak(step, value, 40)"] {
        assert_eq!(found(&leaking, call, fields), "warn | true | 10.0");
    }
    assert_eq!(found(&leaking, "oom_risk(step, value, 40)", fields), "");
    assert_eq!(found(&leaking, "oom_risk(step, value, null, 600)", fields), "");
    assert_eq!(found(&leaking, "oom_risk(step, value, 40, 600)", fields), "error | true | 10.0");
    assert_eq!(found(&leaking, "oom_risk(step, value, 32.0)", fields), "error | true | 10.0");
    let step = rows(300, |i| if i < 100 { 20.0 } else { 24.0 });
    assert_eq!(found(&step, "memory_leak(step, value, 40)", fields), "");
}

#[test]
fn example_12_nan() {
    let healthy = |i: i64| 3.0 * (i as f64 + 1.0).powf(-0.3) + 0.01 * jitter(i);
    let loss = rows(1000, |i| if i < 812 { healthy(i) } else { NAN });
    let fields = "f['level'], f['step'], f['end_step'], f['value'], f['baseline'], f['score'], f['rows']";
    assert_eq!(found(&loss, "nan(step, value)", fields), "error | 812 | null | NaN | null | null | 188");
    let once = rows(100, |i| if i == 5 { INF } else { healthy(i) });
    assert_eq!(found(&once, "nan(step, value)", ONSET), "error | 5 | 5 | 1");
    let ctx = with_metrics_of(1000, |metric, row| match metric {
        0 | 1 => Some(loss[row]),
        2 => Some(if row == 5 { INF } else { 1.0 + 0.1 * jitter(row as i64) }),
        _ => None,
    });
    let alarms = "select f['kind'], f['metric'], f['level'], f['step']
                  from (select unnest(diagnose(step, loss, val_loss, grad_norm)) as f from t)
                  where f['kind'] = 'nan'";
    assert_eq!(query(&ctx, alarms), "nan | loss | error | 812");
}

#[test]
fn example_13_forecast() {
    let loss = |count: i64| (1..=count).map(|step| (Some(step), Some(2.0 + 3.0 / (step as f64).sqrt())));
    let near = "(select forecast(step, value, 1000) as f from t)";
    let sql = format!(
        "select abs(f['point'] / 2.095 - 1) < 0.06, f['low'] < 2.095, f['high'] > 2.095, round(f['stay'], 2) from {near}"
    );
    let points: Vec<Point> = loss(300).collect();
    assert_eq!(query(&with_points(&points), &sql), "true | true | true | 2.18");
    for call in ["forecast(step, value, 300)", "forecast(step, value, null)", "forecast(step, value, 9e300)"]
    {
        assert_eq!(over(&points, call), "null", "{call}");
    }
    let epochs =
        "abs(forecast(step / 10.0, value, 100)['point'] / forecast(step, value, 1000)['point'] - 1) < 1e-9";
    assert_eq!(over(&points, epochs), "true");
    let broken: Vec<Point> = loss(200).chain((201..230).map(|step| (Some(step), Some(NAN)))).collect();
    assert_eq!(over(&broken, "forecast(step, value, 1000)"), "null");
}

#[test]
fn example_14_eta() {
    let steady: Vec<Point> = (0..1000).map(|i| (Some(i + 1), Some(0.5 * i as f64))).collect();
    let fields =
        "e['seconds_per_step'], e['steps_left'], round(e['eta_s']), e['low_s'] > 1960, e['high_s'] < 2040";
    let sql = format!("select {fields} from (select eta(step, value, 5000) as e from t)");
    let ctx = with_points(&steady);
    assert_eq!(query(&ctx, &sql), "0.5 | 4000 | 2000.0 | true | true");
    let paused: Vec<Point> =
        (0..1000).map(|i| (Some(i + 1), Some(0.5 * i as f64 + 10.0 * (i / 100) as f64))).collect();
    let interval = "select abs(e['eta_s'] / 2400 - 1) < 0.02, e['low_s'] < 2400, e['high_s'] > 2400
                    from (select eta(step, value, 5000) as e from t)";
    assert_eq!(query(&with_points(&paused), interval), "true | true | true");
    for (unit, per_second) in [("Second", 1), ("Millisecond", 1_000), ("Nanosecond", 1_000_000_000)] {
        let time = format!("arrow_cast((1700000000 + 2 * step) * {per_second}, 'Timestamp({unit}, None)')");
        let sql = format!(
            "select e['seconds_per_step'], e['steps_left'] from (select eta(step, {time}, 1100) as e from t)"
        );
        assert_eq!(query(&ctx, &sql), "2.0 | 100", "{unit}");
    }
    let unknown = "select e['seconds_per_step'], e['steps_left'], e['eta_s'] from (select eta(step, value) as e from t)";
    assert_eq!(query(&ctx, unknown), "0.5 | null | null");
    let epochs = "select round(e['seconds_per_step'], 6), e['steps_left'], round(e['eta_s'])
                  from (select eta(step / 100.0, value, 50) as e from t)";
    assert_eq!(query(&ctx, epochs), "50.0 | 40.0 | 2000.0");
}

#[test]
fn example_15_policy() {
    let reward = rows(191, |i| if i < 150 { i as f64 - 50.0 } else { 100.0 - 3.0 * (i as f64 - 150.0) });
    let fields = "f['level'], f['step'] between 150 and 165";
    assert_eq!(found(&reward, "reward_collapse(step, value)", fields), "error | true");
    let kl = rows(240, |i| if i < 200 { 0.05 } else { 2.0 });
    assert_eq!(found(&kl, "kl_blowup(step, value)", "f['level'], f['step']"), "error | 200");
    let fallen = rows(240, |i| if i < 200 { 5.0 } else { 0.5 } + 0.001 * jitter(i));
    for call in ["entropy_collapse(step, value)", "length_collapse(step, value)"] {
        assert_eq!(found(&fallen, call, "f['level']"), "error", "{call}");
    }
    let norm = rows(90, |i| if i < 40 { 1.0 + 0.1 * jitter(i) } else { 1e-5 });
    assert_eq!(
        found(&norm, "grad_vanishing(step, value)", "f['level'], f['step'] between 40 and 44"),
        "error | true"
    );
}

// Trends, windows, phases

#[test]
fn trend_is_a_line_that_no_outlier_moves() {
    let mut values = rows(1000, |i| 3.0 - 0.002 * i as f64);
    (0..1000).step_by(10).for_each(|row| values[row] = 1e6);
    let sql = "select round(t['slope'], 4), round(t['start'], 1), round(t['end'], 1), t['z'] < -20
               from (select trend(step, value) as t from t)";
    assert_eq!(query(&with_points(&points(&values)), sql), "-0.002 | 3.0 | 1.0 | true");
    assert_eq!(
        over(&points(&[2.0, 4.0]), "trend(step, value)"),
        "{slope: 2.0, start: 2.0, end: 4.0, z: 0.0}"
    );
    assert_eq!(over(&points(&[2.0]), "trend(step, value), mann_kendall(step, value)"), "null | 0.0");
    let rising = rows(20, |i| i as f64);
    assert_eq!(over(&points(&rising), "round(mann_kendall(step, value), 2)"), "6.13");
    assert_eq!(over(&points(&[NAN, 1.0, NAN, 2.0, INF, 3.0]), "trend(step, value)['slope']"), "0.5");
}

#[test]
fn rolling_windows() {
    let values = [
        (Some(0), Some(1.0)),
        (Some(1), Some(9.0)),
        (Some(2), None),
        (Some(3), Some(2.0)),
        (Some(4), Some(NAN)),
        (Some(5), Some(3.0)),
    ];
    let medians = over(&values, "roll_median(value, 3) over (order by step)");
    assert_eq!(medians, "1.0\n5.0\nnull\n2.0\nnull\n3.0");
    let mads = over(&values, "round(roll_mad(value, 3) over (order by step), 4)");
    assert_eq!(mads, "0.0\n5.9304\nnull\n1.4826\nnull\n1.4826");
    let averages = over(&values, "robust_ema(value, 0.5) over (order by step)");
    assert_eq!(averages, "1.0\n5.0\nnull\n3.5\nnull\n3.25");
    let mut jump = rows(60, |i| 2.0 + 0.01 * jitter(i));
    jump[50] = 1e9;
    let most = "select max(s) < 2.1 from (select robust_ema(value, 0.5) over (order by step) as s from t)";
    assert_eq!(query(&with_points(&points(&jump)), most), "true");
}

#[test]
fn phases_of_a_run() {
    let loss = |i: usize| match i {
        0..600 => 2.0 + 3.0 / (1.0 + i as f64 / 20.0) + 0.01 * jitter(i as i64),
        _ => 2.1 + 0.01 * (i as f64 - 599.0) + 0.01 * jitter(i as i64),
    };
    let ctx = with_metrics_of(1000, |metric, row| match metric {
        0 => Some(loss(row)),
        3 => Some(if row < 100 { row as f64 / 100.0 } else { 1.0 }),
        _ => None,
    });
    let changes = |call: &str| {
        let sql = format!(
            "select phase from (select step, phase, lag(phase) over (order by step) as before
             from (select step, {call} over (order by step) as phase from t))
             where before is null or before <> phase order by step"
        );
        query(&ctx, &sql).replace('\n', " ")
    };
    let with_lr = changes("phase(loss, val_loss, lr)");
    assert_eq!(with_lr, "INITIALIZING WARMUP LEARNING_FAST STABLE_CONVERGENCE DIVERGING");
    assert_eq!(changes("phase(loss)"), "INITIALIZING LEARNING_FAST STABLE_CONVERGENCE DIVERGING");
    assert_eq!(query(&ctx, "select distinct phase(val_loss) over (order by step) from t"), "null");
}

// Short input, laws, errors

#[test]
fn nothing_and_little_is_no_error() {
    let missing = [(Some(1), None), (None, Some(2.0)), (None, None)];
    for (call, nothing) in DIAGNOSES {
        assert_eq!(over(&[], call), nothing, "{call}, empty");
        assert_eq!(over(&missing, call), nothing, "{call}, all null");
    }
    let detectors = DIAGNOSES.iter().filter(|(call, nothing)| *nothing == "[]" && !call.starts_with("nan"));
    for (call, nothing) in detectors {
        assert_eq!(over(&points(&[2.5]), call), *nothing, "{call}, one point");
        assert_eq!(over(&points(&[3.0, 2.5, 2.0, 2.2, 2.1]), call), *nothing, "{call}, five points");
    }
    for values in [vec![NAN, INF, -INF, NAN], vec![f64::MAX, f64::MIN, f64::MAX, f64::MIN_POSITIVE]] {
        let values: Vec<f64> = values.into_iter().cycle().take(100).collect();
        over(&points(&values), &calls());
        over(&points(&values), &calls().replace("step", "(step - 50.5) * 1e306"));
    }
    let far = [(Some(i64::MIN), Some(1.0)), (Some(0), Some(2.0)), (Some(i64::MAX), Some(3.0))];
    over(&far, &calls().replace("step +", ""));
    assert_eq!(query(&with_points(&[]), &format!("select {WINDOWS} from t window w as (order by step)")), "");
}

#[test]
fn steps_of_any_kind_come_back() {
    let ctx = with_points(&spiky());
    for (given, step) in [
        ("Float64", "40.0"),
        ("Timestamp(Nanosecond, None)", "1970-01-01T00:00:00.000000040"),
        ("Int32", "40"),
    ] {
        let sql = format!(
            "select loss_spike(arrow_cast(step, '{given}'), value)[1]['step'],
             diagnose(arrow_cast(step, '{given}'), value)[2]['step'] from t"
        );
        assert_eq!(query(&ctx, &sql), format!("{step} | {step}"));
    }
    let shifted =
        "loss_spike(arrow_cast(1700000000000000000 + step, 'Timestamp(Nanosecond, None)'), value)[1]";
    let sql = format!("select arrow_cast({shifted}['detected_step'], 'Int64') - 1700000000000000000 from t");
    assert_eq!(query(&ctx, &sql), "45");
    let quarters = "select loss_spike(step / 4.0 - 3, value)[1]['end_step'] from t";
    assert_eq!(query(&ctx, quarters), "7.5");
}

/// Long curves, in batches that are held, and in others.
#[test]
fn long_runs_give_the_same_however_they_come() {
    let mut values = rows(6_000, |i| 2.0 + 3.0 / (1.0 + i as f64 / 50.0) + 0.01 * jitter(i));
    values[4_000] = 40.0;
    let sql = "select diagnose(step, value, value + 1, value, null, 1 / value), forecast(step, value, 9000), trend(step, value),
               eta(step, step * 2, 9000), oom_risk(step, value, 50), loss_spike(step - 70.5, value) from t";
    let answer = |partitions, size| {
        let ctx = context(partitions, size);
        register(&ctx, "t", &series(&points(&values), 1));
        query(&ctx, sql)
    };
    let whole = answer(1, 8192);
    assert!(whole.contains("loss_spike") && whole.contains("4000"), "{whole}");
    assert_eq!(answer(3, 500), whole);
    assert_eq!(answer(2, 2048), whole);
}

#[test]
fn facts_of_a_run_may_be_columns() {
    let leaking = rows(300, |i| 20.0 + 0.05 * (i as f64 - 100.0).max(0.0));
    let ctx = context(4, 7);
    register(&ctx, "t", &series(&points(&leaking), 1));
    let sql = "select array_length(oom_risk(step, value, u.capacity)),
               array_length(oom_risk(step, value, u.capacity, u.planned))
               from t join (values (0, 40.0, 600)) as u(g, capacity, planned) on t.g = u.g";
    assert_eq!(query(&ctx, sql), "0 | 1");
    let some = "select array_length(oom_risk(step, value, case when step = 7 then 32 end)) from t";
    assert_eq!(query(&ctx, some), "1");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn diagnoses_do_not_depend_on_order_batches_or_partitions(
        (points, other) in shuffled(0..120),
        partitions in 1_usize..5,
        size in prop::sample::select(vec![1_usize, 3, 64]),
    ) {
        let sql = format!("select {} from t", calls());
        in_any_order(&sql, &points, &other, (partitions, size))?;
    }

    #[test]
    fn grouped_diagnoses_do_not_depend_on_batches_or_partitions(
        points in any_points(1..150),
        partitions in 2_usize..5,
        size in prop::sample::select(vec![1_usize, 3, 64]),
    ) {
        let sql = format!("select g, {} from t group by g order by g", calls());
        in_any_pieces(&sql, &points, (partitions, size))?;
    }

    #[test]
    fn windows_of_the_diagnosis_do_not_depend_on_order_batches_or_partitions(
        values in prop::collection::vec(any_value(), 1..120),
        partitions in 1_usize..5,
        size in prop::sample::select(vec![1_usize, 3, 64]),
    ) {
        let sql = format!(
            "select step, {WINDOWS} from t window w as (partition by step % 2 order by step) order by step"
        );
        in_reverse(&sql, values, (partitions, size))?;
    }

    #[test]
    fn missing_rows_change_nothing(points in any_points(0..120)) {
        let logged: Vec<Point> =
            points.iter().copied().filter(|point| point.0.is_some() && point.1.is_some()).collect();
        prop_assert_eq!(over(&points, &calls()), over(&logged, &calls()));
    }

    #[test]
    fn roll_median_is_the_median_of_the_newest(values in prop::collection::vec(-1e3..1e3, 1..40), w in 1_usize..9) {
        let ctx = with_points(&points(&values));
        let frame = format!("rows between {} preceding and current row", w - 1);
        let sql = format!(
            "select max(abs(a - b)) < 1e-9 from (select roll_median(value, {w}) over (order by step) as a,
             median(value) over (order by step {frame}) as b from t)"
        );
        prop_assert_eq!(query(&ctx, &sql), "true");
    }
}

#[test]
fn wrong_arguments_are_planning_errors() {
    let ctx = with_points(&spiky());
    let cases = [
        ("loss_spike(value)", "loss_spike takes 2 arguments, not 1"),
        ("nan(step, value, 1)", "nan takes 2 arguments, not 3"),
        ("plateau('x', value)", "plateau: step must be a number or a timestamp, not Utf8"),
        ("divergence(step, 'x')", "divergence: value must be a number, not Utf8"),
        ("divergence(distinct step, value)", "divergence does not support DISTINCT"),
        ("overfitting(step, value, 'up')", "overfitting: goal must be the literal 'min' or 'max'"),
        ("overfitting(step, value, null)", "overfitting: goal must be the literal 'min' or 'max'"),
        ("overfitting(step, value, 1)", "overfitting: goal must be the literal 'min' or 'max'"),
        ("overfitting(step, value, g::text)", "overfitting: goal must be the literal 'min' or 'max'"),
        ("oom_risk(step, value)", "oom_risk takes 3 or 4 arguments, not 2"),
        ("oom_risk(step, value, 'x')", "oom_risk: capacity must be a number, not Utf8"),
        ("diagnose(step)", "diagnose takes 2 to 7 arguments, not 1"),
        ("diagnose(step, value, value, 'x')", "diagnose: grad_norm must be a number, not Utf8"),
        ("trend(step)", "trend takes 2 arguments, not 1"),
        ("forecast(step, value)", "forecast takes 3 arguments, not 2"),
        ("forecast(step, value, 'x')", "forecast: planned_steps must be a number, not Utf8"),
        ("forecast(timestamp '2024-01-01', value, 3)", "forecast: step must be a number, not Timestamp"),
        ("eta(step, 'x')", "eta: time must be a timestamp or seconds, not Utf8"),
        ("grad_ratio('x') over (order by step)", "grad_ratio: value must be a number, not Utf8"),
        (
            "robust_ema(value, 2) over (order by step)",
            "robust_ema: alpha must be above 0 and at most 1, not 2",
        ),
        ("roll_median(value, 0) over (order by step)", "roll_median: w must be between 1 and 10000, not 0"),
        ("roll_mad(value, step) over (order by step)", "roll_mad: w must be a literal"),
        ("roll_mad(value, 1.5) over (order by step)", "roll_mad: w must be a whole number, not Float64"),
        ("phase('x') over (order by step)", "phase: loss must be a number, not Utf8"),
        ("phase() over (order by step)", "phase takes 1 to 3 arguments, not 0"),
    ];
    for (call, expected) in cases {
        let message = plan_error(&ctx, &format!("select {call} from t"));
        assert!(message.contains(expected), "{call}\n got: {message}\nwant: {expected}");
    }
}
