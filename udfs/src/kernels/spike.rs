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
use episode::{Echo, Episode};
use range::RunningRange;
use serde::{Deserialize, Serialize};
use window::Window;

/// Accepted rows from which on a row is judged.
pub(super) const MIN_WINDOW: u64 = 20;
/// Rows that hard batches may make up together.
const FEW_ROWS: u64 = 4;
/// Rows within which one single row of like height is enough, and within which two are: the same batch in
/// each epoch.
const NEAR_ROWS: u64 = 256;
const FAR_ROWS: u64 = 1_024;
/// Ratio of heights that are alike.
const ALIKE: std::ops::Range<f64> = 0.6..1.7;
/// How much higher than before a rise of few rows must be, to be more than that.
const FAR: f64 = 2.5;
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
    /// The row that opened it, and its height.
    fn place(&self) -> (u64, f64) {
        (self.first_row, self.peak - self.baseline)
    }

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

/// Spikes that are no more than what recurs are [`Level::Info`]: those of few rows near which single rows
/// rise as high, again and again (a second mode, from mixed-up or hard batches).
///
/// `spikes` are those of one curve, in order.
pub fn settle(spikes: &mut [SpikeEvent]) {
    let singles: Vec<(u64, f64)> =
        spikes.iter().filter(|spike| spike.rows == 1).map(SpikeEvent::place).collect();
    for spike in spikes.iter_mut().filter(|spike| spike.level > Level::Info && spike.rows <= FEW_ROWS) {
        let (row, rise) = spike.place();
        let alike = |rows: u64| {
            let others = singles.iter().filter(|(other, _)| *other != row && other.abs_diff(row) <= rows);
            others.filter(|(_, height)| ALIKE.contains(&(height / rise))).count()
        };
        let recurs = spike.level == Level::Warn && alike(NEAR_ROWS) >= 1 || alike(FAR_ROWS) >= 2;
        if recurs {
            spike.level = Level::Info;
        }
    }
}

/// Streaming detector of loss spikes; state is about 5 KB and bounded.
///
/// `m` is the median of the last 48 accepted rows. A row's distance is that from the `m` before it; `s` is
/// the largest of 1.4826 times the median distance (from their middle) of the last 256 accepted rows, their
/// upper 2.5 % over 2.2, and 0.2 % of the level. A row's score is `(x - m) / s`. An episode opens above 5.5 when
/// the rise is also over 9 % of `max(|m|, 0.15 R)`; `R` is the distance between the median of the first 5 % of the
/// rows so far (at least 5, at most 256) and the best median of 5. It closes when the newest 3 rows, or all
/// since it opened, are below the limit; what is still up then and comes down is part of it. One that lasts
/// over `max(30 rows, 6 % of the rows so far)` is no spike: it is dropped and the level is that of the newest 20
/// rows.
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
    /// What is left of the last episode.
    echo: Option<Echo>,
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

    /// Score `value` would have as the next row, or none with fewer than 20 accepted rows, for a
    /// value that is not finite, and where the run has no scale at all (all zero).
    pub fn score(&self, value: f64) -> Option<f64> {
        if !value.is_finite() {
            return None;
        }
        if let Some(episode) = &self.episode {
            return Some(episode.score(value));
        }
        if self.window.rows() < MIN_WINDOW {
            return None;
        }
        let baseline = self.window.baseline();
        let spread = self.spread(baseline);
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
        if self.echo.as_mut().is_some_and(|echo| echo.goes_on(value)) {
            return;
        }
        self.echo = None;
        match self.opens(step, value) {
            Some(episode) => self.episode = Some(episode),
            None => self.window.accept(value),
        }
    }

    fn opens(&self, step: i64, value: f64) -> Option<Episode> {
        if self.window.rows() < MIN_WINDOW {
            return None;
        }
        let baseline = self.window.baseline();
        let level = self.level(baseline);
        let rise = value - baseline;
        // The cheap tests first: few rows need the spread itself.
        if level <= 0.0 || rise <= self.limits.rise * level {
            return None;
        }
        if self.window.surely_spread(rise / self.limits.score) {
            return None;
        }
        let spread = self.spread(baseline);
        (rise > self.limits.score * spread)
            .then(|| Episode::open(step, value, self.rows, [baseline, spread, level]))
    }

    /// Feeds the open episode, and ends it when it is back or has lasted too long.
    fn go_on(&mut self, step: i64, value: f64) {
        let Some(mut episode) = self.episode.take() else { return };
        episode.push(step, value, self.rows);
        let run = self.planned_rows.unwrap_or(self.rows + 1) as f64;
        if episode.is_back() {
            let mut event = episode.event(&self.limits);
            // Batches that are hard now and then are what rows of this run are like, also when two of them
            // follow each other.
            if event.rows <= FEW_ROWS && event.peak - event.baseline <= FAR * self.window.usual_extreme() {
                event.level = Level::Info;
            }
            if event.level == Level::Info {
                self.window.learn(event.peak - event.baseline);
            }
            self.echo = Some(episode.echo(&self.limits));
            self.completed.push(event);
        } else if episode.rows() as f64 > self.limits.max_rows.max(self.limits.max_share * run) {
            self.window.refill(episode.newest());
        } else {
            self.episode = Some(episode);
        }
    }

    fn level(&self, baseline: f64) -> f64 {
        baseline.abs().max(LEVEL_FLOOR * self.range.get())
    }

    /// Robust standard deviation of the rows around the level before them.
    fn spread(&self, baseline: f64) -> f64 {
        let spread = self.window.spread().max(SPREAD_FLOOR * baseline.abs());
        if spread > 0.0 { spread } else { SPREAD_FLOOR * self.level(baseline) }
    }
}

#[cfg(test)]
mod tests;
