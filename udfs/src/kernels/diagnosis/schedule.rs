//! The course of the learning rate.

use serde::{Deserialize, Serialize};

/// Rise from one row to the next that is a restart.
const RESTART: f64 = 3.0;
/// Share of the run before which a rise is part of the warmup.
const WARMUP: f64 = 0.04;
/// Rises kept.
const MAX_RISES: usize = 256;

/// What is kept of a learning rate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Schedule {
    first: Option<(i64, f64)>,
    last: Option<(i64, f64)>,
    peak: f64,
    /// Last step of the first ascent.
    first_peak_step: i64,
    is_ascending: bool,
    /// Steps at which it rose to 3 times the row before.
    rises: Vec<i64>,
}

impl Schedule {
    /// Takes a row. What is not finite is passed over.
    pub fn push(&mut self, step: i64, rate: f64) {
        if !rate.is_finite() {
            return;
        }
        match self.last {
            None => (self.first, self.is_ascending) = (Some((step, rate)), true),
            Some((_, before)) => {
                if before > 0.0 && rate >= RESTART * before && self.rises.len() < MAX_RISES {
                    self.rises.push(step);
                }
                self.is_ascending &= rate > before;
            }
        }
        if self.is_ascending {
            self.first_peak_step = step;
        }
        self.peak = self.peak.max(rate);
        self.last = Some((step, rate));
    }

    /// The newest rate as a share of the highest; none where there is none.
    pub fn share_of_peak(&self) -> Option<f64> {
        let (_, rate) = self.last?;
        (self.peak > 0.0).then_some(rate / self.peak)
    }

    /// Steps at which it was restarted, in a run that ends at `last_step`.
    pub fn restarts(&self, last_step: i64) -> impl Iterator<Item = i64> + '_ {
        let first = self.first.map_or(0, |(step, _)| step);
        let warmup = last_step.saturating_sub(first) as f64 * WARMUP;
        self.rises.iter().copied().filter(move |step| step.saturating_sub(first) as f64 > warmup)
    }

    /// Whether it was still on its first ascent at a step. A rate that begins at its peak has none.
    pub fn is_warming_up(&self, step: i64) -> bool {
        self.first.is_some_and(|(first, _)| first < self.first_peak_step) && step < self.first_peak_step
    }
}
