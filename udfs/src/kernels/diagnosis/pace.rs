//! Steps a second, where only times are logged.

use super::limits::Limits;
use super::run::Role;
use super::watch::Watch;
use serde::{Deserialize, Serialize};

/// Seconds between most rows, at least, for a rate to be told from them: times have milliseconds, or only
/// seconds.
const LEAST_GAP_S: f64 = 0.2;
const LEAST_GAP_OF_SECONDS_S: f64 = 20.0;

/// Steps a second by the times of a curve's rows, as a throughput of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// The newest row: step and time in seconds.
    last: Option<(i64, f64)>,
    /// Times between neighbours that are known, and how many of them are long enough.
    gaps: u64,
    long: u64,
    long_for_seconds: u64,
    has_parts_of_seconds: bool,
    watch: Watch,
}

impl Pace {
    /// The metric that stands for it.
    pub const KEY: &'static str = "steps_per_s (from times)";

    /// Whether a metric that means this is logged with the steps of the training.
    pub fn is_told_by(role: Role) -> bool {
        matches!(role, Role::Loss | Role::Reward)
    }

    /// That of a curve without rows, in a run of so many steps where that is known.
    pub fn new(planned_steps: Option<i64>, limits: &Limits) -> Self {
        Self {
            last: None,
            gaps: 0,
            long: 0,
            long_for_seconds: 0,
            has_parts_of_seconds: false,
            watch: Watch::new(Role::Throughput, Self::KEY, planned_steps, limits),
        }
    }

    /// Takes the next row, `time_s` NaN where unknown. Returns the steps a second up to it; none where
    /// they cannot be told, or the run was down (`resumed_at` has the steps where it went on).
    pub fn push(&mut self, step: i64, time_s: f64, resumed_at: &[i64]) -> Option<f64> {
        let (from, since_s) = self.last.replace((step, time_s))?;
        let gap_s = time_s - since_s;
        if gap_s.is_finite() {
            self.gaps += 1;
            self.long += u64::from(gap_s >= LEAST_GAP_S);
            self.long_for_seconds += u64::from(gap_s >= LEAST_GAP_OF_SECONDS_S);
            self.has_parts_of_seconds |= gap_s.fract() != 0.0;
        }
        let is_down = resumed_at.iter().any(|resumed| (from..=step).contains(resumed));
        let rate = (gap_s > 0.0 && !is_down).then(|| (step - from) as f64 / gap_s)?;
        self.watch.push(step, f64::NAN, rate);
        Some(rate)
    }

    /// The rates; none where rows are too close for the resolution of their times.
    pub fn told(self) -> Option<Watch> {
        let long = if self.has_parts_of_seconds { self.long } else { self.long_for_seconds };
        (2 * long >= self.gaps && self.watch.rows() > 1).then_some(self.watch)
    }

    /// Step of the newest row.
    pub fn last_step(&self) -> Option<i64> {
        self.last.map(|(step, _)| step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_told(gap_s: f64, resumed_at: &[i64]) -> Option<u64> {
        let mut pace = Pace::new(None, &Limits::default());
        for row in 0..100 {
            pace.push(row * 10, row as f64 * gap_s, resumed_at);
        }
        pace.told().map(|watch| watch.rows())
    }

    #[test]
    fn rates_are_told_where_the_times_allow_it() {
        assert_eq!(rows_told(0.5, &[]), Some(99));
        assert_eq!(rows_told(0.05, &[]), None);
        assert_eq!(rows_told(1.0, &[]), None, "whole seconds are too coarse for gaps of one");
        assert_eq!(rows_told(30.0, &[]), Some(99));
        assert_eq!(rows_told(0.5, &[205]), Some(98), "the time it was down is no work");
    }

    #[test]
    fn a_rate_is_steps_by_seconds() {
        let mut pace = Pace::new(None, &Limits::default());
        assert_eq!(pace.push(0, 0.0, &[]), None);
        assert_eq!(pace.push(10, 2.5, &[]), Some(4.0));
        assert_eq!(pace.push(20, f64::NAN, &[]), None);
        assert_eq!(pace.push(30, 7.5, &[]), None);
        assert_eq!(pace.push(40, 10.0, &[]), Some(4.0));
    }
}
