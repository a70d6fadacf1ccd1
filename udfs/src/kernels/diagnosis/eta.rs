//! When a run will end.

use super::outline::Outline;

/// Rows at the start that are left out: compilation, caches.
const WARMUP_ROWS: usize = 3;
/// Rows that are used at least.
const MIN_ROWS: usize = 20;
/// Blocks whose means tell how sure the rate is.
const BLOCKS: usize = 10;
/// Gap, in times of the median, that is downtime where a run was resumed.
const DOWNTIME: f64 = 20.0;
/// Half of the 80 % interval, in standard errors of the mean, with room for what is not random.
const WIDTH: f64 = 3.5;
/// Share of the ETA that is never certain.
const FLOOR: f64 = 0.015;

/// How fast a run goes, and when it will end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Eta {
    /// Seconds a step takes, pauses for checkpoints and evaluation included.
    pub seconds_per_step: f64,
    /// Time that was left out, because the run was down.
    pub downtime_s: f64,
    /// Steps to go; none where the planned length is unknown.
    pub left: Option<Left>,
}

/// What is left of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    /// Steps to go.
    pub steps: i64,
    /// Seconds to go.
    pub eta_s: f64,
    /// The 80 % interval.
    pub low_s: f64,
    /// Its upper end.
    pub high_s: f64,
}

impl Eta {
    /// From the times of a curve's rows; none where fewer than 4 are known or time stands still.
    pub fn of(curve: &Outline, planned_steps: Option<i64>, resumed_at: &[i64]) -> Option<Self> {
        let pace = Pace::of(curve, resumed_at)?;
        let (seconds, steps) = pace.total();
        let seconds_per_step = seconds / steps;
        let last = *curve.steps.last()?;
        let left = planned_steps.map(|planned| planned.saturating_sub(last).max(0));
        let left = left.map(|left| pace.left(left, seconds_per_step));
        (seconds_per_step > 0.0).then_some(Self { seconds_per_step, downtime_s: pace.downtime_s, left })
    }
}

/// What the newest half of the rows took: (seconds, steps) from row to row.
struct Pace {
    taken: Vec<(f64, f64)>,
    downtime_s: f64,
}

impl Pace {
    fn of(curve: &Outline, resumed_at: &[i64]) -> Option<Self> {
        let timed: Vec<(i64, f64)> = curve
            .steps
            .iter()
            .copied()
            .zip(curve.times_s.iter().copied())
            .filter(|(_, time)| time.is_finite())
            .collect();
        // As many gaps as half of the rows: pauses come every so many rows.
        let used = (timed.len() / 2 + 1).max(MIN_ROWS).min(timed.len().saturating_sub(WARMUP_ROWS));
        let newest = &timed[timed.len() - used..];
        let taken = |pair: &[(i64, f64)]| {
            let (from, to) = (pair[0], pair[1]);
            let is_resumed = resumed_at.iter().any(|step| (from.0..=to.0).contains(step));
            (to.1 - from.1, (to.0 - from.0) as f64, is_resumed)
        };
        let all: Vec<(f64, f64, bool)> = newest.windows(2).map(taken).collect();
        let spacing = super::robust::median(&all.iter().map(|(seconds, ..)| *seconds).collect::<Vec<_>>());
        let is_down =
            |(seconds, _, is_resumed): &&(f64, f64, bool)| *is_resumed && *seconds > DOWNTIME * spacing;
        let downtime_s = all.iter().filter(is_down).fold(0.0, |sum, (seconds, ..)| sum + seconds);
        let up = all.iter().filter(|gap| !is_down(gap) && gap.1 > 0.0 && gap.0 >= 0.0);
        let taken: Vec<(f64, f64)> = up.map(|(seconds, steps, _)| (*seconds, *steps)).collect();
        (!taken.is_empty()).then_some(Self { taken, downtime_s })
    }

    fn total(&self) -> (f64, f64) {
        sum(&self.taken)
    }

    /// The ETA as a mean times the steps left, with the spread of the means of 10 blocks.
    fn left(&self, steps: i64, seconds_per_step: f64) -> Left {
        let blocks = BLOCKS.min(self.taken.len());
        let edge = |block| super::super::bucket_edge(block, self.taken.len(), blocks);
        let means = (0..blocks).map(|block| {
            let (seconds, steps) = sum(&self.taken[edge(block)..edge(block + 1)]);
            seconds / steps
        });
        let means: Vec<f64> = means.collect();
        let error = deviation(&means) / (blocks as f64).sqrt();
        let (eta_s, used) = (seconds_per_step * steps as f64, self.total().1);
        let grows = (1.0 + used / (steps as f64).max(1.0)).sqrt();
        let half = steps as f64 * WIDTH * error * grows + FLOOR * eta_s;
        Left { steps, eta_s, low_s: (eta_s - half).max(0.0), high_s: eta_s + half }
    }
}

fn sum(taken: &[(f64, f64)]) -> (f64, f64) {
    taken.iter().fold((0.0, 0.0), |(seconds, steps), taken| (seconds + taken.0, steps + taken.1))
}

fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    if count > 1.0 { (squares / (count - 1.0)).sqrt() } else { 0.0 }
}
