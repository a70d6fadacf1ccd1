//! A rise that has not come back yet.

use std::collections::VecDeque;

use super::SpikeEvent;
use crate::kernels::diagnosis::Level;
use crate::kernels::diagnosis::limits::LossSpike;
use serde::{Deserialize, Serialize};

/// Rows below the limit that close an episode.
const CALM_ROWS: u64 = 3;
/// Newest rows that refill the window after an episode that did not come back.
const REFILL: usize = 20;

/// An open rise. Baseline, spread and level are those of the row that opened it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Episode {
    baseline: f64,
    spread: f64,
    level: f64,
    peak: f64,
    step: i64,
    /// Step and ordinal of the last elevated row.
    last_step: i64,
    first_row: u64,
    last_row: u64,
    newest_step: i64,
    elevated: u64,
    /// Rows below the limit since the last elevated one.
    calm: u64,
    /// Rows since it opened, the opening row included.
    length: u64,
    /// Newest rows, at most [`REFILL`].
    newest: VecDeque<f64>,
}

impl Episode {
    pub(super) fn open(step: i64, value: f64, row: u64, [baseline, spread, level]: [f64; 3]) -> Self {
        Self {
            baseline,
            spread,
            level,
            peak: value,
            step,
            last_step: step,
            first_row: row,
            last_row: row,
            newest_step: step,
            elevated: 1,
            calm: 0,
            length: 1,
            newest: VecDeque::from([value]),
        }
    }

    pub(super) fn push(&mut self, step: i64, value: f64, row: u64) {
        self.length += 1;
        self.newest_step = step;
        if self.newest.len() == REFILL {
            self.newest.pop_front();
        }
        self.newest.push_back(value);
        self.peak = self.peak.max(value);
        if value < self.limit() {
            self.calm += 1;
        } else {
            self.calm = 0;
            self.elevated += 1;
            self.last_step = step;
            self.last_row = row;
        }
    }

    fn limit(&self) -> f64 {
        self.baseline + (3.0 * self.spread).max(0.3 * (self.peak - self.baseline))
    }

    /// Rows since it opened, the opening row included.
    pub(super) fn rows(&self) -> u64 {
        self.length
    }

    /// The newest rows, oldest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = f64> {
        self.newest.iter().copied()
    }

    /// Whether the newest 3 rows, or all since the opening one, are below the limit.
    pub(super) fn is_back(&self) -> bool {
        self.calm >= CALM_ROWS.min(self.length - 1).max(1)
    }

    pub(super) fn score(&self, value: f64) -> f64 {
        (value - self.baseline) / self.spread
    }

    fn severity(&self, limits: &LossSpike) -> Level {
        let rise = self.peak - self.baseline;
        if rise > limits.error_rise * self.level {
            Level::Error
        } else if self.elevated == 1 && rise < limits.hard_batch_rise * self.level {
            Level::Info
        } else {
            Level::Warn
        }
    }

    /// What there is to say by the newest row; it has an end when the rise is back.
    pub(super) fn event(&self, limits: &LossSpike) -> SpikeEvent {
        SpikeEvent {
            step: self.step,
            end_step: self.is_back().then_some(self.last_step),
            detected_step: self.newest_step,
            level: self.severity(limits),
            peak: self.peak,
            baseline: self.baseline,
            score: self.score(self.peak),
            rows: self.elevated,
            first_row: self.first_row,
            last_row: self.last_row,
        }
    }
}
