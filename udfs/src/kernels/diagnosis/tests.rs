//! The worked examples of the contract, by their numbers.

use super::*;

/// The jitter -2, 0, 2, -1, 1, ...
fn jitter(i: usize) -> f64 {
    ((7 * i) % 5) as f64 - 2.0
}

fn rows(count: usize, value: impl FnMut(usize) -> f64) -> Vec<f64> {
    (0..count).map(value).collect()
}

fn curve(role: Role, values: &[f64]) -> Curve {
    every(1, role, values)
}

fn every(distance: i64, role: Role, values: &[f64]) -> Curve {
    let steps = (0..values.len() as i64).map(|row| row * distance).collect();
    Curve { role, key: format!("{role:?}"), steps, values: values.to_vec(), times_s: Vec::new() }
}

fn findings_of(run: &Run) -> Vec<Finding> {
    let limits = Limits::default();
    Monitor::of(run, &limits).findings(&limits)
}

fn findings(curves: Vec<Curve>) -> Vec<Finding> {
    findings_of(&Run { curves, ..Run::default() })
}

/// Kind, level and onset of all that is more than a fact.
fn alarms(findings: &[Finding]) -> Vec<(Kind, Level, i64)> {
    let alarms = findings.iter().filter(|finding| finding.level > Level::Info);
    alarms.map(|finding| (finding.kind, finding.level, finding.step)).collect()
}

#[track_caller]
fn only(findings: &[Finding], kind: Kind) -> Finding {
    let of_kind: Vec<&Finding> = findings.iter().filter(|finding| finding.kind == kind).collect();
    assert_eq!(of_kind.len(), 1, "{findings:#?}");
    of_kind[0].clone()
}

fn flat(count: usize) -> Vec<f64> {
    rows(count, |i| 2.0 + 0.01 * jitter(i))
}

#[test]
fn example_1_spike_beside_a_plateau() {
    let mut loss = flat(60);
    loss[40..43].copy_from_slice(&[3.0, 2.7, 2.5]);
    let found = findings(vec![curve(Role::Loss, &loss)]);
    assert_eq!(alarms(&found), [(Kind::Plateau, Level::Warn, 0), (Kind::LossSpike, Level::Warn, 40)]);
    let spike = only(&found, Kind::LossSpike);
    assert_eq!((spike.rows, spike.end_step), (3, Some(42)));
    assert!((spike.baseline - 2.0).abs() < 0.005 && spike.score > 60.0, "{spike:?}");
}

#[test]
fn example_2_single_rows() {
    let mut loss = flat(60);
    loss[40] = 2.6;
    let found = findings(vec![curve(Role::Loss, &loss)]);
    assert_eq!(only(&found, Kind::LossSpike).level, Level::Info);
    loss[40] = 4.5;
    let found = findings(vec![curve(Role::Loss, &loss)]);
    assert_eq!(only(&found, Kind::LossSpike).level, Level::Error);
}

#[test]
fn example_3_second_mode() {
    let loss = rows(200, |i| if i % 10 == 0 { 2.6 } else { 2.0 + 0.01 * jitter(i) });
    let found = findings(vec![curve(Role::Loss, &loss)]);
    assert_eq!(alarms(&found), [(Kind::Plateau, Level::Warn, 0)]);
    let fact = only(&found, Kind::LossSpike);
    assert!(fact.level == Level::Info && fact.rows >= 1, "{fact:?}");
}

#[test]
fn example_4_divergence() {
    let rise = |i: usize| if i < 100 { 0.0 } else { 0.02 * (i as f64 - 99.0) };
    let loss = rows(150, |i| 2.0 + 0.01 * jitter(i) + rise(i));
    let found = findings(vec![curve(Role::Loss, &loss)]);
    assert_eq!(found.len(), 1, "{found:?}");
    let divergence = only(&found, Kind::Divergence);
    assert_eq!(divergence.level, Level::Error);
    assert!((100..=110).contains(&divergence.step), "{divergence:?}");
    assert!((divergence.step..150).contains(&divergence.detected_step), "{divergence:?}");
}

#[test]
fn a_short_run_that_blows_up() {
    // A run of the trainer of Hugging Face: every 5 steps, and the rate is raised at step 30.
    let loss = [3.269, 3.252, 3.16, 3.017, 2.898, 2.811, 2.701, 266.4, 434.1, 293.2, 258.4, 197.2, 147.9];
    let said = |rows: usize| alarms(&findings(vec![every(5, Role::Loss, &loss[..rows])]));
    for rows in 0..11 {
        assert_eq!(said(rows), [], "{rows}");
    }
    for rows in 11..=13 {
        assert_eq!(said(rows), [(Kind::Divergence, Level::Error, 35)], "{rows}");
    }
    // One that comes back.
    let loss = [3.269, 3.866, 9.2, 9.6, 7.6, 6.4, 6.2, 5.5, 4.6, 3.9, 3.8, 3.6, 3.4];
    assert_eq!(findings(vec![every(5, Role::Loss, &loss)]), []);
}

#[test]
fn a_short_run_that_is_noisy() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1_u64 << 31) as f64
    };
    for run in 0..20_000 {
        let (noise, gain, fast) = (0.6 * random(), 4.0 * random(), 30.0 * random());
        // A heavy tail: one row in ten is far off.
        let mut row = |i: usize| {
            let tail = if random() < 0.1 { 3.0 } else { 1.0 };
            let normal = random() + random() + random() + random() - 2.0;
            (1.0 + gain / (1.0 + fast * i as f64 / 40.0)) * (noise * tail * normal).exp()
        };
        let loss = rows(1 + run % 39, &mut row);
        let found = findings(vec![curve(Role::Loss, &loss)]);
        assert!(found.iter().all(|finding| finding.kind != Kind::Divergence), "{loss:?}");
    }
}

#[test]
fn example_5_drop_of_the_learning_rate() {
    let loss = rows(100, |i| if i < 50 { 1.0 } else { 0.6 } + 0.005 * jitter(i));
    let lr = rows(100, |i| if i < 50 { 0.1 } else { 0.01 });
    let found = findings(vec![curve(Role::Loss, &loss), curve(Role::Lr, &lr)]);
    assert_eq!(alarms(&found), [(Kind::Plateau, Level::Warn, 50)]);
}

#[test]
fn example_6_plateau() {
    let loss = rows(150, |i| if i < 50 { 3.0 - 0.02 * i as f64 } else { 2.0 } + 0.005 * jitter(i));
    let found = findings(vec![curve(Role::Loss, &loss)]);
    let plateau = only(&found, Kind::Plateau);
    assert_eq!((alarms(&found).len(), plateau.level), (1, Level::Warn));
    assert!((47..=53).contains(&plateau.step), "{plateau:?}");
    let slow = rows(150, |i| 3.0 * (i as f64 + 1.0).powf(-0.15));
    assert_eq!(findings(vec![curve(Role::Loss, &slow)]), []);
}

const TURNING: [f64; 12] = [1.0, 0.8, 0.7, 0.65, 0.63, 0.62, 0.63, 0.65, 0.68, 0.70, 0.72, 0.75];

#[test]
fn example_7_overfitting() {
    let falling = rows(111, |i| 0.9 - 0.6 * i as f64 / 110.0);
    let curves = vec![every(10, Role::Loss, &falling), every(100, Role::ValLoss, &TURNING)];
    let found = findings(curves);
    assert_eq!(alarms(&found).len(), 1, "{found:?}");
    let turned = only(&found, Kind::Overfitting);
    assert_eq!(turned.level, Level::Warn);
    assert!([400, 500].contains(&turned.step), "{turned:?}");
    let rise = turned.value / turned.baseline - 1.0;
    assert!((0.14..=0.16).contains(&rise), "{rise}");
}

#[test]
fn example_7_both_rise() {
    let rising = rows(111, |i| 0.5 + 0.4 * i as f64 / 110.0);
    let curves = vec![every(10, Role::Loss, &rising), every(100, Role::ValLoss, &TURNING)];
    let found = findings(curves);
    assert_eq!(alarms(&found).len(), 1, "{found:?}");
    assert_eq!(only(&found, Kind::Divergence).level, Level::Error);
}

#[test]
fn example_8_grad_explosion() {
    let norm = |peaks: &[(usize, f64)]| {
        let mut norm = rows(90, |i| 1.0 + 0.1 * jitter(i));
        peaks.iter().for_each(|&(row, value)| norm[row] = value);
        findings(vec![curve(Role::GradNorm, &norm)])
    };
    let burst = only(&norm(&[(60, 14.0), (61, 6.0)]), Kind::GradExplosion);
    assert_eq!((burst.level, burst.step, burst.rows), (Level::Warn, 60, 2));
    assert!((burst.value / burst.baseline - 14.0).abs() < 0.5, "{burst:?}");
    assert_eq!(only(&norm(&[(60, 120.0)]), Kind::GradExplosion).level, Level::Error);
    assert_eq!(norm(&[(60, 4.0)]), []);
}

#[test]
fn example_9_grad_vanishing() {
    let norm = rows(90, |i| if i < 40 { 1.0 + 0.1 * jitter(i) } else { 1e-5 });
    let found = findings(vec![curve(Role::GradNorm, &norm)]);
    assert_eq!(found.len(), 1, "{found:?}");
    let vanished = only(&found, Kind::GradVanishing);
    assert!(vanished.level == Level::Error && (40..=44).contains(&vanished.step), "{vanished:?}");
}

#[test]
fn example_10_throughput_drop() {
    let slow = rows(100, |i| if i < 60 { 100.0 } else { 60.0 } + jitter(i));
    let found = findings(vec![curve(Role::Throughput, &slow)]);
    let drop = only(&found, Kind::ThroughputDrop);
    assert_eq!((found.len(), drop.level, drop.step, drop.end_step), (1, Level::Warn, 60, None));
    assert!((drop.score - 0.40).abs() < 0.02, "{drop:?}");
    let dips = rows(100, |i| if i % 10 == 0 { 20.0 } else { 100.0 });
    assert_eq!(findings(vec![curve(Role::Throughput, &dips)]), []);
}

#[test]
fn example_11_memory_leak() {
    let run = |memory: &[f64]| Run {
        facts: Facts { memory_capacity: Some(40.0), planned_steps: Some(300), ..Facts::default() },
        curves: vec![curve(Role::Memory, memory)],
    };
    let leaking = rows(300, |i| 20.0 + 0.05 * (i as f64 - 100.0).max(0.0));
    let found = findings_of(&run(&leaking));
    assert_eq!(found.len(), 1, "{found:?}");
    let leak = only(&found, Kind::MemoryLeak);
    assert!(leak.level == Level::Warn && (90..=110).contains(&leak.step), "{leak:?}");
    assert!((leak.value - leak.baseline - 10.0).abs() < 0.5, "{leak:?}");
    let step = rows(300, |i| if i < 100 { 20.0 } else { 24.0 });
    assert_eq!(findings_of(&run(&step)), []);
}

#[test]
fn example_11_full_in_time() {
    let leaking = rows(300, |i| 20.0 + 0.05 * (i as f64 - 100.0).max(0.0));
    let run = |planned| Run {
        facts: Facts { memory_capacity: Some(40.0), planned_steps: Some(planned), ..Facts::default() },
        curves: vec![curve(Role::Memory, &leaking)],
    };
    assert_eq!(alarms(&findings_of(&run(450))).len(), 1);
    let found = findings_of(&run(600));
    assert_eq!(only(&found, Kind::OomRisk).level, Level::Error);
    let limits = Limits::default();
    let outline = Monitor::of(&run(600), &limits).curves[0].trace.outline();
    let leak = memory::leak(&outline, Some(40.0), Some(600), &limits.memory_leak).unwrap();
    assert!((490..=510).contains(&leak.full_step.unwrap()), "{leak:?}");
}

#[test]
fn example_12_nan() {
    let healthy = |i: usize| 3.0 * (i as f64 + 1.0).powf(-0.3) + 0.01 * jitter(i);
    let loss = rows(1000, |i| if i < 812 { healthy(i) } else { f64::NAN });
    let found = findings(vec![curve(Role::Loss, &loss), curve(Role::ValLoss, &loss)]);
    assert_eq!(alarms(&found), [(Kind::Nan, Level::Error, 812)]);
    assert_eq!(only(&found, Kind::Nan).end_step, None);
    let norm = rows(100, |i| if i == 5 { f64::INFINITY } else { 1.0 + 0.1 * jitter(i) });
    let found = findings(vec![curve(Role::GradNorm, &norm)]);
    assert_eq!(alarms(&found), []);
    let skip = only(&found, Kind::Nan);
    assert_eq!((skip.level, skip.step, skip.rows), (Level::Info, 5, 1));
    let broken = rows(100, |i| if i > 60 { f64::NAN } else { 1.0 + 0.1 * jitter(i) });
    let found = findings(vec![curve(Role::GradNorm, &broken)]);
    assert_eq!(alarms(&found), [(Kind::Nan, Level::Error, 61)]);
}

#[test]
fn example_15_policy() {
    let reward = |i: usize| if i < 150 { -50.0 + i as f64 } else { 100.0 - 3.0 * (i as f64 - 150.0) };
    let found = findings(vec![curve(Role::Reward, &rows(191, reward))]);
    assert_eq!(found.len(), 1, "{found:?}");
    let collapse = only(&found, Kind::RewardCollapse);
    assert!(collapse.level == Level::Error && (150..=165).contains(&collapse.step), "{collapse:?}");
    let kl = rows(240, |i| if i < 200 { 0.05 } else { 2.0 });
    let found = findings(vec![curve(Role::Kl, &kl)]);
    assert_eq!(alarms(&found), [(Kind::KlBlowup, Level::Error, 200)]);
}

#[test]
fn example_16_healthy_short_and_empty() {
    let healthy = rows(30, |i| 3.0 * (i as f64 + 1.0).powf(-0.3) + 0.01 * jitter(i));
    assert_eq!(findings(vec![curve(Role::Loss, &healthy)]), []);
    for role in
        [Role::Loss, Role::ValLoss, Role::GradNorm, Role::Throughput, Role::Memory, Role::Reward, Role::Kl]
    {
        assert_eq!(findings(vec![curve(role, &healthy[..5])]), []);
        assert_eq!(findings(vec![curve(role, &[])]), []);
    }
    assert_eq!(findings(Vec::new()), []);
}

fn outline(values: &[f64], times_s: &[f64]) -> Outline {
    let steps = (1..=values.len() as i64).collect();
    Curve { steps, times_s: times_s.to_vec(), ..curve(Role::Loss, values) }.outline()
}

#[test]
fn example_13_forecast() {
    let loss = rows(300, |i| 2.0 + 3.0 / (i as f64 + 1.0).sqrt());
    let forecast = Forecast::of(&outline(&loss, &[]), 1000).unwrap();
    assert!((forecast.point / 2.095 - 1.0).abs() < 0.06, "{forecast:?}");
    assert!(forecast.low < 2.095 && 2.095 < forecast.high, "{forecast:?}");
    assert!((forecast.stay - 2.178).abs() < 0.003, "{forecast:?}");
}

#[test]
fn example_14_eta() {
    let eta = |times: &[f64]| {
        let outline = outline(&vec![1.0; times.len()], times);
        Eta::of(&outline, Some(5000), &[]).unwrap().left.unwrap()
    };
    let steady = eta(&rows(1000, |i| 0.5 * i as f64));
    assert!((steady.eta_s - 2000.0).abs() < 1.0, "{steady:?}");
    assert!(steady.high_s - steady.low_s <= 0.04 * steady.eta_s, "{steady:?}");
    let pauses = eta(&rows(1000, |i| 0.5 * i as f64 + 10.0 * (i / 100) as f64));
    assert!((pauses.eta_s / 2400.0 - 1.0).abs() < 0.02, "{pauses:?}");
    assert!(pauses.low_s < 2400.0 && 2400.0 < pauses.high_s, "{pauses:?}");
}

#[test]
fn the_rate_is_known_where_the_end_is_not() {
    let outline = outline(&[1.0; 100], &rows(100, |i| 2.0 * i as f64));
    let eta = Eta::of(&outline, None, &[]).unwrap();
    assert_eq!((eta.seconds_per_step, eta.left), (2.0, None));
}

#[test]
fn downtime_is_left_out() {
    let times = rows(200, |i| i as f64 + if i < 150 { 0.0 } else { 3600.0 });
    let outline = outline(&[1.0; 200], &times);
    let eta = Eta::of(&outline, Some(300), &[151]).unwrap();
    assert_eq!((eta.seconds_per_step, eta.downtime_s), (1.0, 3601.0));
}

fn phases_of(run: &Run) -> Vec<(Phase, i64)> {
    let limits = Limits::default();
    let monitor = Monitor::of(run, &limits);
    let judgement = Judgement::new(&monitor, &limits);
    let findings = judgement.findings();
    phases(&judgement, &findings, &limits).into_iter().map(|change| (change.to, change.step)).collect()
}

#[test]
fn phases_of_a_run_that_diverges() {
    let loss = rows(1000, |i| match i {
        0..600 => 2.0 + 3.0 / (1.0 + i as f64 / 20.0) + 0.01 * jitter(i),
        _ => 2.1 + 0.01 * (i as f64 - 599.0) + 0.01 * jitter(i),
    });
    let lr = rows(1000, |i| if i < 100 { i as f64 / 100.0 } else { 1.0 });
    let curves = vec![curve(Role::Loss, &loss), curve(Role::Lr, &lr)];
    let found = phases_of(&Run { facts: Facts { planned_steps: Some(1000), ..Facts::default() }, curves });
    let names: Vec<Phase> = found.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(
        names,
        [Phase::Warmup, Phase::LearningFast, Phase::StableConvergence, Phase::Diverging],
        "{found:?}"
    );
    assert!((600..720).contains(&found[3].1), "{found:?}");
}

#[test]
fn phases_of_short_and_empty_runs() {
    assert_eq!(phases_of(&Run::default()), []);
    assert_eq!(
        phases_of(&Run { curves: vec![curve(Role::Loss, &[1.0; 5])], ..Run::default() }),
        [(Phase::Initializing, 4)]
    );
}

#[test]
fn phases_of_nan() {
    let loss = rows(300, |i| if i < 200 { 2.0 + 3.0 / (1.0 + i as f64 / 5.0) } else { f64::NAN });
    let found = phases_of(&Run { curves: vec![curve(Role::Loss, &loss)], ..Run::default() });
    assert_eq!(found.last(), Some(&(Phase::Diverging, 299)), "{found:?}");
}

#[test]
fn example_17_resume() {
    // Rows 0 to 500, then 400 to 900 again: of those logged twice the later ones are there.
    let loss = rows(901, |i| 2.0 + 3.0 / (1.0 + i as f64 / 100.0) + 0.01 * jitter(i));
    let facts = Facts { resumed_at: vec![400], ..Facts::default() };
    let found = findings_of(&Run { facts, curves: vec![curve(Role::Loss, &loss)] });
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].kind, found[0].level, found[0].step), (Kind::Resume, Level::Info, 400));
    assert!(found[0].message("loss").starts_with("resumed at step 400"));
}

#[test]
fn behind_its_siblings() {
    let of = |level: f64, count: usize| {
        let values = rows(count, |i| level + 2.0 / (1.0 + i as f64 / 20.0) + 0.01 * jitter(i));
        curve(Role::Loss, &values).outline()
    };
    let limits = Limits::default().behind_siblings;
    let siblings: Vec<Outline> = (0..6).map(|sibling| of(1.0 + 0.02 * f64::from(sibling), 300)).collect();
    let siblings: Vec<&Outline> = siblings.iter().collect();
    let judge = |own: &Outline| behind_siblings(own, &siblings, &limits);
    assert_eq!(judge(&of(1.05, 200)), None);
    assert_eq!(judge(&of(1.5, 10)), None, "too few rows");
    assert_eq!(judge(&of(1.5, 400)), None, "no sibling came as far");
    assert_eq!(behind_siblings(&of(1.5, 200), &siblings[..4], &limits), None, "too few siblings");
    let behind = judge(&of(1.5, 200)).unwrap();
    assert_eq!((behind.level, behind.end_step), (Level::Info, None));
    assert!((behind.value - 1.69).abs() < 0.05 && (behind.baseline - 1.24).abs() < 0.05, "{behind:?}");
    // One that falls behind on its way.
    let stuck = rows(200, |i| 1.0 + 2.0 / (1.0 + i.min(60) as f64 / 20.0));
    let behind = judge(&curve(Role::Loss, &stuck).outline()).unwrap();
    assert!((100..120).contains(&behind.step), "{behind:?}");
}
