//! Streaming detector of loss spikes: a rise that comes back.
//!
//! Robust z-scores by a running median. The newest 128 accepted rows are the window; what an
//! open episode holds never enters it, so a spike does not raise the level it is measured against.
//!
//! ```text
//!   value            peak
//!     |               *              limit = baseline + max(3 spread, 0.3 (peak - baseline))
//!     |             *   *
//!     | - - - - - - - - - - * - - - limit
//!     | * * * * * *           * * * baseline
//!     +-----------|-----------|--|-- row
//!                opens     closes, 3 rows below the limit
//! ```
//!
//! The state is bounded and does not know the future: a detector fed in two sittings says what one
//! fed at once says. Shares of the run therefore count the rows seen so far, unless the planned
//! length is given.

mod episode;
mod range;
mod window;

use super::diagnosis::limits::LossSpike;
use super::diagnosis::{self, Level};
use episode::Episode;
use range::RunningRange;
use serde::{Deserialize, Serialize};
use window::{Residuals, Window};

/// Accepted rows from which on a row is judged.
const MIN_WINDOW: usize = 12;
/// Finite rows a run must have before an event is reported.
const MIN_ROWS: u64 = 20;
/// Share of the baseline below which a spread does not count; of the level, where there is none.
const SPREAD_FLOOR: f64 = 0.002;
/// Share of the run's range below which the level of a loss does not count.
const LEVEL_FLOOR: f64 = 0.15;
/// One spike. Steps are those given to [`SpikeDetector::push`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpikeEvent {
    /// Step of the row that opened the episode.
    pub step: i64,
    /// Step of the last elevated row; none while the episode is open.
    pub end_step: Option<i64>,
    /// Step of the row that closed the episode, by which it was known to be a spike; while it is
    /// open, the newest row.
    pub detected_step: i64,
    /// How bad it is.
    pub level: Level,
    /// Highest value.
    pub peak: f64,
    /// Median of the window before the episode.
    pub baseline: f64,
    /// Score at the peak, in robust standard deviations.
    pub score: f64,
    /// Elevated rows.
    pub rows: u64,
    /// Ordinal of the opening row among the finite rows given, from 0.
    pub first_row: u64,
    /// Ordinal of the last elevated row.
    pub last_row: u64,
}

impl SpikeEvent {
    /// As a finding is made of it.
    pub fn episode(&self) -> diagnosis::Episode {
        diagnosis::Episode {
            level: self.level,
            step: self.step,
            end_step: self.end_step,
            detected_step: self.detected_step,
            value: self.peak,
            baseline: self.baseline,
            score: self.score,
            rows: self.rows,
        }
    }
}

/// Streaming detector of loss spikes; state is about 5 KB and bounded.
///
/// With `m` the median of the window and `s` the largest of 1.4826 times the median residual from
/// the line through the medians of the window's halves, the upper 2.5 % residual over 2.2, and 0.2 % of
/// the level, a row's score is `(x - m) / s`. An episode opens above 5.5 when the rise is also over 9 %
/// of `max(|m|, 0.15 R)`; `R` is the distance between the median of the first 5 % of the rows so far (at
/// least 5, at most 256) and the best median of 5. It closes when the newest 3 rows, or all since it
/// opened, are below the limit. One that lasts over `max(30 rows, 6 % of the rows so far)` is no spike: it is
/// dropped and the window refilled with the newest 20 rows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SpikeDetector {
    limits: LossSpike,
    planned_rows: Option<u64>,
    /// Finite rows seen.
    rows: u64,
    /// Accepted rows.
    window: Window,
    range: RunningRange,
    episode: Option<Episode>,
    /// Events not yet returned: those that closed before the run had [`MIN_ROWS`] rows.
    completed: Vec<SpikeEvent>,
}

impl SpikeDetector {
    /// A detector for a run whose length is not known.
    pub fn new() -> Self {
        Self::default()
    }

    /// A detector with thresholds of one's own.
    pub fn with_limits(limits: &LossSpike) -> Self {
        Self { limits: limits.clone(), ..Self::default() }
    }

    /// A detector for a run of `rows` planned rows, which is then what shares of the run mean.
    pub fn with_planned_rows(rows: u64) -> Self {
        Self { planned_rows: Some(rows), ..Self::default() }
    }

    /// Finite rows seen so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Score `value` would have as the next row, or none with fewer than 12 accepted rows, for a
    /// value that is not finite, and where the run has no scale at all (all zero).
    pub fn score(&self, value: f64) -> Option<f64> {
        if !value.is_finite() {
            return None;
        }
        if let Some(episode) = &self.episode {
            return Some(episode.score(value));
        }
        if self.window.len() < MIN_WINDOW {
            return None;
        }
        let baseline = self.window.baseline();
        let spread = self.spread(&self.window.residuals(), baseline);
        (spread > 0.0).then(|| (value - baseline) / spread)
    }

    /// Takes the next row and returns the spikes it completes, seldom one.
    ///
    /// Rows come in ascending order of step. A value that is not finite is passed over. `step` is
    /// only copied into events.
    pub fn push(&mut self, step: i64, value: f64) -> Vec<SpikeEvent> {
        if !value.is_finite() {
            return Vec::new();
        }
        if self.episode.is_some() {
            self.go_on(step, value);
        } else {
            self.judge(step, value);
        }
        self.range.push(value);
        self.rows += 1;
        if self.rows < MIN_ROWS {
            return Vec::new();
        }
        std::mem::take(&mut self.completed)
    }

    /// The episode that is open after the rows so far, if one is. Does not end anything: rows may
    /// follow.
    pub fn finish(&self) -> Option<SpikeEvent> {
        let episode = self.episode.as_ref()?;
        (self.rows >= MIN_ROWS).then(|| episode.event(&self.limits))
    }

    /// Opens an episode with the row or accepts it into the window.
    fn judge(&mut self, step: i64, value: f64) {
        match self.opens(step, value) {
            Some(episode) => self.episode = Some(episode),
            None => self.window.accept(value),
        }
    }

    fn opens(&self, step: i64, value: f64) -> Option<Episode> {
        if self.window.len() < MIN_WINDOW {
            return None;
        }
        let baseline = self.window.baseline();
        let level = self.level(baseline);
        let rise = value - baseline;
        // The cheap tests first: few rows need the spread itself.
        if level <= 0.0 || rise <= self.limits.rise * level {
            return None;
        }
        let residuals = self.window.residuals();
        if residuals.surely_spread(rise / self.limits.score) {
            return None;
        }
        let spread = self.spread(&residuals, baseline);
        (rise > self.limits.score * spread)
            .then(|| Episode::open(step, value, self.rows, [baseline, spread, level]))
    }

    /// Feeds the open episode, and ends it when it is back or has lasted too long.
    fn go_on(&mut self, step: i64, value: f64) {
        let Some(episode) = &mut self.episode else { return };
        episode.push(step, value, self.rows);
        let run = self.planned_rows.unwrap_or(self.rows + 1) as f64;
        if episode.is_back() {
            self.completed.push(episode.event(&self.limits));
            self.episode = None;
        } else if episode.rows() as f64 > self.limits.max_rows.max(self.limits.max_share * run) {
            self.window = Window::of(episode.newest());
            self.episode = None;
        }
    }

    fn level(&self, baseline: f64) -> f64 {
        baseline.abs().max(LEVEL_FLOOR * self.range.get())
    }

    /// Robust standard deviation of the window around its own drift.
    fn spread(&self, residuals: &Residuals, baseline: f64) -> f64 {
        let spread = residuals.spread().max(SPREAD_FLOOR * baseline.abs());
        if spread > 0.0 { spread } else { SPREAD_FLOOR * self.level(baseline) }
    }
}

#[cfg(test)]
mod tests;
