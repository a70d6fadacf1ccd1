//! The rules people write themselves, to compare with: a multiple of the median, standard
//! deviations, an exponential mean, ratios, patience, shares of a first quarter.

use super::curves::mean;
use super::score::{Eta, Forecast, Judge};
use runq_udfs::kernels::diagnosis::{Curve, Finding, Kind, Level, Role, Run};

/// A rule for spikes with the plain rules for everything else: twice the median of 50 rows.
pub const TWICE_THE_MEDIAN: Judge = Judge {
    name: "2 x median",
    diagnose: |run| all(run, twice_the_median, exploded, val_ratio),
    forecast: Some(last_value),
    eta: Some(median_rate),
    stop: Some(|run| has_fatal(&all(run, twice_the_median, exploded, val_ratio))),
};

/// 7 standard deviations over 128 rows (OLMo 2).
pub const SEVEN_SD: Judge = Judge {
    name: "7 SD",
    diagnose: |run| all(run, seven_sd, seven_sd, patience),
    stop: Some(|run| has_fatal(&all(run, seven_sd, seven_sd, patience))),
    ..TWICE_THE_MEDIAN
};

/// z over 2.5 against exponential means with 0.97 (ZClip).
pub const EMA_Z: Judge = Judge {
    name: "EMA z",
    diagnose: |run| all(run, ema_z, ema_z, patience),
    stop: Some(|run| has_fatal(&all(run, ema_z, ema_z, patience))),
    ..TWICE_THE_MEDIAN
};

type Rows = fn(&[f64]) -> Vec<usize>;
type Overfitting = fn(&[f64], &[f64]) -> Option<usize>;

fn has_fatal(found: &[Finding]) -> bool {
    let fatal = [Kind::Nan, Kind::Divergence, Kind::Overfitting, Kind::GradVanishing, Kind::Plateau];
    found.iter().any(|finding| fatal.contains(&finding.kind))
}

fn all(run: &Run, spikes: Rows, bursts: Rows, overfitting: Overfitting) -> Vec<Finding> {
    let is_policy = run.curves.iter().any(|curve| curve.role == Role::Reward);
    let mut found = Vec::new();
    for (place, curve) in run.curves.iter().enumerate() {
        let finite = finite(curve);
        let mut add = |kind: Kind, at: usize, curve: &Curve| found.push(finding(kind, place, curve, at));
        if matches!(curve.role, Role::Loss | Role::ValLoss | Role::GradNorm) {
            let broken = curve.values.iter().position(|value| !value.is_finite());
            broken.into_iter().for_each(|at| add(Kind::Nan, at, curve));
        }
        match curve.role {
            // A policy's loss means nothing by itself, as everybody knows.
            Role::Loss if is_policy => {}
            Role::Loss => {
                groups(&spikes(&finite.values)).into_iter().for_each(|at| add(Kind::LossSpike, at, &finite));
                diverged(&finite.values).into_iter().for_each(|at| add(Kind::Divergence, at, &finite));
                flat(&finite.values).into_iter().for_each(|at| add(Kind::Plateau, at, &finite));
            }
            Role::ValLoss => {
                let train = run.curves.iter().find(|curve| curve.role == Role::Loss);
                let train = train.map(|curve| self::finite(curve).values).unwrap_or_default();
                overfitting(&finite.values, &train)
                    .into_iter()
                    .for_each(|at| add(Kind::Overfitting, at, &finite));
            }
            Role::GradNorm => {
                groups(&bursts(&finite.values))
                    .into_iter()
                    .for_each(|at| add(Kind::GradExplosion, at, &finite));
                below(&finite.values, 1e-6).into_iter().for_each(|at| add(Kind::GradVanishing, at, &finite));
            }
            _ => shares(run, &finite).into_iter().for_each(|(kind, at)| add(kind, at, &finite)),
        }
    }
    found
}

/// Rules on shares of a first part, for the metrics of machine and policy. Each begins in the first
/// row from which on it holds to the end.
fn shares(run: &Run, curve: &Curve) -> Vec<(Kind, usize)> {
    let values = &curve.values;
    let quarter = values.len() / 4;
    if quarter < 5 {
        return Vec::new();
    }
    let newest = mean(&values[values.len() - values.len() / 10..]);
    let first = mean(&values[..quarter]);
    let best = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let full = run.facts.memory_capacity.map_or(f64::INFINITY, |most| 0.9 * most);
    let rules: &[(Kind, f64, bool)] = match curve.role {
        Role::Throughput => &[(Kind::ThroughputDrop, 0.6 * first, false)],
        Role::Memory => &[(Kind::MemoryLeak, 1.1 * first, true), (Kind::OomRisk, full, true)],
        Role::Reward => &[(Kind::RewardCollapse, best - 0.5 * best.abs(), false)],
        Role::Kl => &[(Kind::KlBlowup, 0.5, true)],
        Role::Entropy => &[(Kind::EntropyCollapse, 0.1, false)],
        Role::Length => &[(Kind::LengthCollapse, 0.5 * first, false)],
        _ => &[],
    };
    let begins = |(kind, limit, is_above): &(Kind, f64, bool)| {
        let holds = |value: f64| (value > *limit) == *is_above;
        let before = values.iter().rposition(|value| !holds(*value));
        holds(newest).then_some((*kind, before.map_or(0, |last| last + 1).min(values.len() - 1)))
    };
    rules.iter().filter_map(begins).collect()
}

fn finite(curve: &Curve) -> Curve {
    let kept: Vec<usize> = (0..curve.values.len()).filter(|at| curve.values[*at].is_finite()).collect();
    Curve {
        steps: kept.iter().map(|at| curve.steps[*at]).collect(),
        values: kept.iter().map(|at| curve.values[*at]).collect(),
        times_s: Vec::new(),
        ..curve.clone()
    }
}

fn finding(kind: Kind, place: usize, curve: &Curve, at: usize) -> Finding {
    let at = at.min(curve.steps.len() - 1);
    Finding {
        kind,
        level: Level::Warn,
        curve: place,
        step: curve.steps[at],
        end_step: None,
        detected_step: curve.steps[at],
        value: curve.values[at],
        baseline: 0.0,
        score: 0.0,
        rows: 1,
    }
}

/// First rows of groups whose rows are less than 10 apart.
fn groups(rows: &[usize]) -> Vec<usize> {
    let starts = |at: &usize| *at == 0 || rows[*at] - rows[at - 1] >= 10;
    (0..rows.len()).filter(starts).map(|at| rows[at]).collect()
}

fn twice_the_median(values: &[f64]) -> Vec<usize> {
    let mut found = Vec::new();
    for at in 20..values.len() {
        let mut window = values[at.saturating_sub(50)..at].to_vec();
        let middle = window.len() / 2;
        let median = *window.select_nth_unstable_by(middle, f64::total_cmp).1;
        if values[at] > 2.0 * median {
            found.push(at);
        }
    }
    found
}

fn seven_sd(values: &[f64]) -> Vec<usize> {
    let outlies = |at: &usize| {
        let window = &values[at.saturating_sub(128)..*at];
        let mean = mean(window);
        let variance = window.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / window.len() as f64;
        values[*at] - mean > 7.0 * variance.sqrt()
    };
    (20..values.len()).filter(outlies).collect()
}

fn ema_z(values: &[f64]) -> Vec<usize> {
    let (mut level, mut variance) = (values.first().copied().unwrap_or(0.0), 0.0);
    let mut found = Vec::new();
    for (at, value) in values.iter().enumerate() {
        if at >= 20 && value - level > 2.5 * f64::sqrt(variance) {
            found.push(at);
        }
        level = 0.97 * level + 0.03 * value;
        variance = 0.97 * variance + 0.03 * (value - level).powi(2);
    }
    found
}

/// The newest tenth is 20 % above the best tenth.
fn diverged(values: &[f64]) -> Option<usize> {
    let size = values.len() / 10;
    if size < 3 {
        return None;
    }
    let tenths: Vec<f64> = values.chunks(size).filter(|tenth| tenth.len() == size).map(mean).collect();
    let best = (0..tenths.len()).min_by(|left, right| tenths[*left].total_cmp(&tenths[*right]))?;
    (*tenths.last()? > tenths[best] + 0.2 * tenths[best].abs()).then_some((best + 1) * size)
}

/// The newest quarter is within 1 % of the one before.
fn flat(values: &[f64]) -> Option<usize> {
    let quarter = values.len() / 4;
    if quarter < 5 {
        return None;
    }
    let newest = mean(&values[values.len() - quarter..]);
    let before = mean(&values[values.len() - 2 * quarter..values.len() - quarter]);
    ((newest - before).abs() < 0.01 * before.abs()).then_some(values.len() - 2 * quarter)
}

/// Validation loss over 1.5 times the training loss.
fn val_ratio(val: &[f64], train: &[f64]) -> Option<usize> {
    let train = *train.last()?;
    (val.len() >= 3 && *val.last()? > 1.5 * train).then_some(best(val))
}

/// No better validation loss in the newest three.
fn patience(val: &[f64], _: &[f64]) -> Option<usize> {
    (val.len() >= 4 && best(val) + 3 < val.len()).then_some(best(val))
}

fn best(values: &[f64]) -> usize {
    (0..values.len()).min_by(|left, right| values[*left].total_cmp(&values[*right])).unwrap_or(0)
}

/// Over 10 times the mean so far.
fn exploded(values: &[f64]) -> Vec<usize> {
    let mut sum = 0.0;
    let mut is_over = |(at, value): (usize, &f64)| {
        let over = at >= 20 && *value > 10.0 * sum / at as f64;
        sum += value;
        over.then_some(at)
    };
    values.iter().enumerate().filter_map(&mut is_over).collect()
}

fn below(values: &[f64], least: f64) -> Option<usize> {
    values.last().filter(|value| **value < least).and(values.iter().position(|value| *value < least))
}

/// Stays at today's value, give or take its noise.
fn last_value(_: &[i64], values: &[f64], _: i64) -> Option<Forecast> {
    let newest = &values[values.len() - values.len().div_ceil(20)..];
    let sd =
        newest.iter().map(|value| (value - mean(newest)).powi(2)).sum::<f64>() / newest.len().max(1) as f64;
    let (point, sd) = (mean(newest), sd.sqrt());
    Some(Forecast { point, low: point - 1.28 * sd, high: point + 1.28 * sd })
}

/// Steps left times the median interval.
fn median_rate(steps: &[i64], times: &[f64], _: &[i64], planned: i64) -> Option<Eta> {
    let mut per: Vec<f64> =
        (1..steps.len()).map(|at| (times[at] - times[at - 1]) / (steps[at] - steps[at - 1]) as f64).collect();
    per.sort_by(f64::total_cmp);
    let left = (planned - steps.last()?) as f64;
    let at = |share: f64| per.get((share * per.len() as f64) as usize).map(|per| per * left);
    Some(Eta { eta_s: at(0.5)?, low_s: at(0.4)?, high_s: at(0.6)? })
}
