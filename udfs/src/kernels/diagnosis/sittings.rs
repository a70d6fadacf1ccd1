//! A run that is looked at in several sittings is judged as one that is looked at in one.

use super::*;
use proptest::prelude::*;

/// What happens to a curve.
#[derive(Debug, Clone)]
struct Course {
    role: Role,
    rows: usize,
    /// Noise as a share of the level.
    noise: f64,
    /// Share of the run from which it turns, and its level then, in times of that before.
    turn: f64,
    turned: f64,
    /// Distance of the rows that stand out, and how far.
    odd_every: usize,
    odd: f64,
    /// Distance of the rows that are not finite, and the row from which all are.
    nan_every: usize,
    nan_from: usize,
    is_timed: bool,
    seed: u64,
}

impl Course {
    fn value(&self, row: usize, random: f64) -> f64 {
        if row >= self.nan_from || row % self.nan_every == self.nan_every - 1 {
            return if row.is_multiple_of(2) { f64::NAN } else { f64::INFINITY };
        }
        let done = row as f64 / self.rows as f64;
        let level = 1.0 + 3.0 / (1.0 + 30.0 * done);
        let turned = if done > self.turn { self.turned } else { 1.0 };
        let odd = if row % self.odd_every == self.odd_every - 1 { self.odd } else { 1.0 };
        level * turned * odd * (1.0 + self.noise * random)
    }

    fn curve(&self) -> Curve {
        let mut state = self.seed;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / (1_u64 << 30) as f64 - 1.0
        };
        let rows = 0..self.rows;
        Curve {
            role: self.role,
            key: self.role.as_str().to_owned(),
            steps: rows.clone().map(|row| 3 * row as i64).collect(),
            values: rows.clone().map(|row| self.value(row, random())).collect(),
            times_s: if self.is_timed {
                rows.map(|row| 1.7e9 + 0.37 * row as f64).collect()
            } else {
                Vec::new()
            },
        }
    }
}

fn course() -> impl Strategy<Value = Course> {
    let role = prop::sample::select(&Role::ALL[..]);
    let rows = prop_oneof![0_usize..60, 60_usize..900, 2_000_usize..2_400, 4_000_usize..5_000];
    let noise = prop::sample::select(vec![0.0, 0.002, 0.03, 0.3]);
    let turn = (0.0..1.5, prop::sample::select(vec![1e-9, 0.1, 0.5, 0.7, 1.0, 1.1, 3.0, 200.0]));
    let odd = (20_usize..600, prop::sample::select(vec![0.2, 1.0, 1.6, 3.0, 500.0]));
    let nan = (prop_oneof![30_usize..400, Just(usize::MAX)], prop_oneof![0_usize..3_000, Just(usize::MAX)]);
    (role, rows, noise, turn, odd, nan, any::<(bool, u64)>()).prop_map(
        |(role, rows, noise, (turn, turned), (odd_every, odd), (nan_every, nan_from), (is_timed, seed))| {
            Course { role, rows, noise, turn, turned, odd_every, odd, nan_every, nan_from, is_timed, seed }
        },
    )
}

fn run() -> impl Strategy<Value = Run> {
    let planned = prop::option::of(1_i64..20_000);
    let courses = prop::collection::vec(course(), 1..5);
    (planned, prop::option::of(1.0..10.0), courses).prop_map(|(planned_steps, memory_capacity, courses)| {
        Run {
            facts: Facts { planned_steps, memory_capacity, ..Facts::default() },
            curves: courses.iter().map(Course::curve).collect(),
        }
    })
}

/// All that is said of a run, with each number to its last digit.
fn said(monitor: &Monitor, limits: &Limits) -> String {
    let judgement = Judgement::new(monitor, limits);
    let findings = judgement.findings();
    let phases = phases(&judgement, &findings, limits);
    let stop = StopAdvice::of(&judgement, &findings);
    format!("{findings:#?} {phases:#?} {stop:?} {:?}", judgement.outlines)
}

fn rest_of(monitor: &Monitor) -> Monitor {
    postcard::from_bytes(&postcard::to_stdvec(monitor).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_said_does_not_depend_on_the_sittings(run in run(), cuts in prop::collection::vec(0_usize..5_000, 0..6)) {
        let limits = Limits::default();
        let mut monitor = Monitor::of(&Run { facts: run.facts.clone(), curves: Vec::new() }, &limits);
        let new = |curve: &Curve| Watch::new(curve.role, &curve.key, run.facts.planned_steps, &limits);
        monitor.curves = run.curves.iter().map(new).collect();
        let mut edges = cuts;
        edges.extend([0, usize::MAX]);
        edges.sort_unstable();
        for edge in edges.windows(2) {
            for (watch, curve) in monitor.curves.iter_mut().zip(&run.curves) {
                let rows = curve.rows().skip(edge[0]).take(edge[1] - edge[0]);
                rows.for_each(|(step, time_s, value)| watch.push(step, time_s, value));
            }
            said(&monitor, &limits);
            monitor = rest_of(&monitor);
        }
        prop_assert_eq!(said(&monitor, &limits), said(&Monitor::of(&run, &limits), &limits));
    }
}
