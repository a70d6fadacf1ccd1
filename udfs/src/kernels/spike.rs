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

use std::collections::VecDeque;

/// Accepted rows in the window.
const WINDOW: usize = 128;
/// Accepted rows from which on a row is judged.
const MIN_WINDOW: usize = 12;
/// Finite rows a run must have before an event is reported.
const MIN_ROWS: u64 = 20;
/// Score above which an episode opens.
const OPEN_SCORE: f64 = 5.5;
/// Rise, as a share of the level, above which an episode opens.
const OPEN_RISE: f64 = 0.09;
/// Share of the run's range below which the level of a loss does not count.
const LEVEL_FLOOR: f64 = 0.15;
/// Rise, as a share of the level, under which one elevated row is only a hard batch.
const HARD_BATCH_RISE: f64 = 0.6;
/// Rows below the limit that close an episode.
const CALM_ROWS: u64 = 3;
/// Rows an episode may always last.
const MAX_ROWS: f64 = 30.0;
/// Share of the run an episode may last.
const MAX_SHARE: f64 = 0.06;
/// Newest rows that refill the window after an episode that did not come back.
const REFILL: usize = 20;
/// Rows of the head of a run that are kept for its range.
const HEAD: usize = 256;

/// How bad a spike is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpikeLevel {
    /// One elevated row, less than 60 % above the level: a hard batch.
    Info,
    /// A rise that came back.
    Warn,
    /// The peak is above twice the level.
    Error,
}

impl SpikeLevel {
    /// The level as it is written in tables: `info`, `warn` or `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One spike. Steps are those given to [`SpikeDetector::push`].
#[derive(Debug, Clone, PartialEq)]
pub struct SpikeEvent {
    /// Step of the row that opened the episode.
    pub step: i64,
    /// Step of the last elevated row; none while the episode is open.
    pub end_step: Option<i64>,
    /// Step of the row that closed the episode, by which it was known to be a spike; while it is
    /// open, the newest row.
    pub detected_step: i64,
    /// How bad it is.
    pub level: SpikeLevel,
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

/// Streaming detector of loss spikes; state is about 5 KB and bounded.
///
/// With `m` the median of the window and `s` the largest of 1.4826 times the median residual from
/// the line through the medians of the window's halves, the upper 2.5 % residual over 2.2, and 0.2 % of
/// the level, a row's score is `(x - m) / s`. An episode opens above 5.5 when the rise is also over 9 %
/// of `max(|m|, 0.15 R)`; `R` is the distance between the median of the first 5 % of the rows so far (at
/// least 5, at most 256) and the best median of 5. It closes when the newest 3 rows, or all since it
/// opened, are below the limit. One that lasts over `max(30 rows, 6 % of the rows so far)` is no spike: it is
/// dropped and the window refilled with the newest 20 rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SpikeDetector {
    planned_rows: Option<u64>,
    /// Finite rows seen.
    rows: u64,
    /// Accepted rows, oldest first; at most [`WINDOW`].
    window: VecDeque<f64>,
    /// The same values in ascending order.
    sorted: Vec<f64>,
    range: RunningRange,
    episode: Option<Episode>,
    /// Events that closed before the run had [`MIN_ROWS`] rows.
    early: Vec<SpikeEvent>,
}

impl SpikeDetector {
    /// A detector for a run whose length is not known.
    pub fn new() -> Self {
        Self::default()
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
        if self.sorted.len() < MIN_WINDOW {
            return None;
        }
        let baseline = median_of_sorted(&self.sorted);
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
        let event = match self.episode.take() {
            Some(episode) => self.go_on(episode, step, value),
            None => {
                self.judge(step, value);
                None
            }
        };
        self.range.push(value);
        self.rows += 1;
        self.early.extend(event);
        if self.rows < MIN_ROWS {
            return Vec::new();
        }
        std::mem::take(&mut self.early)
    }

    /// The episode that is open after the rows so far, if one is. Does not end anything: rows may
    /// follow.
    pub fn finish(&self) -> Option<SpikeEvent> {
        let episode = self.episode.as_ref()?;
        (self.rows >= MIN_ROWS).then(|| episode.event(None, episode.newest_step))
    }

    /// Opens an episode with the row or accepts it into the window.
    fn judge(&mut self, step: i64, value: f64) {
        match self.opens(step, value) {
            Some(episode) => self.episode = Some(episode),
            None => self.accept(value),
        }
    }

    fn opens(&self, step: i64, value: f64) -> Option<Episode> {
        if self.sorted.len() < MIN_WINDOW {
            return None;
        }
        let baseline = median_of_sorted(&self.sorted);
        let level = self.level(baseline);
        let rise = value - baseline;
        // The cheap test first: the spread costs a microsecond, and few rows need it.
        if level <= 0.0 || rise <= OPEN_RISE * level {
            return None;
        }
        let spread = self.spread(baseline);
        (rise > OPEN_SCORE * spread).then(|| Episode::open(step, value, self.rows, [baseline, spread, level]))
    }

    /// Feeds an open episode; gives it back to `self` unless it ended.
    fn go_on(&mut self, mut episode: Episode, step: i64, value: f64) -> Option<SpikeEvent> {
        episode.push(step, value, self.rows);
        if episode.is_back() {
            return Some(episode.event(Some(episode.last_step), step));
        }
        let run = self.planned_rows.unwrap_or(self.rows + 1) as f64;
        if episode.length as f64 > MAX_ROWS.max(MAX_SHARE * run) {
            self.refill(episode.newest);
        } else {
            self.episode = Some(episode);
        }
        None
    }

    fn accept(&mut self, value: f64) {
        if self.window.len() == WINDOW
            && let Some(oldest) = self.window.pop_front()
        {
            let at = self.sorted.partition_point(|&other| other < oldest);
            self.sorted.remove(at.min(self.sorted.len() - 1));
        }
        self.window.push_back(value);
        let at = self.sorted.partition_point(|&other| other < value);
        self.sorted.insert(at, value);
    }

    fn refill(&mut self, newest: VecDeque<f64>) {
        self.sorted = newest.iter().copied().collect();
        self.sorted.sort_unstable_by(f64::total_cmp);
        self.window = newest;
    }

    fn level(&self, baseline: f64) -> f64 {
        baseline.abs().max(LEVEL_FLOOR * self.range.get())
    }

    /// Robust standard deviation of the window around its own drift.
    fn spread(&self, baseline: f64) -> f64 {
        let mut residuals = [0.0; WINDOW];
        let residuals = self.residuals(&mut residuals);
        let len = residuals.len();
        // Nearest rank: the smallest value with at least 97.5 % of all at or below it.
        let rank = (len * 39).div_ceil(40).saturating_sub(1);
        let upper = select(residuals, rank);
        for residual in residuals.iter_mut() {
            *residual = residual.abs();
        }
        let typical = 1.4826 * median(residuals);
        let spread = typical.max(upper / 2.2).max(0.002 * baseline.abs());
        if spread > 0.0 { spread } else { 0.002 * self.level(baseline) }
    }

    /// Distances of the window from the line through the medians of its halves.
    fn residuals<'a>(&self, buffer: &'a mut [f64; WINDOW]) -> &'a mut [f64] {
        let len = self.window.len().min(WINDOW);
        let half = len / 2;
        let mut values = [0.0; WINDOW];
        for (slot, value) in values.iter_mut().zip(&self.window) {
            *slot = *value;
        }
        buffer[..len].copy_from_slice(&values[..len]);
        let older = median(&mut values[..half]);
        let newer = median(&mut values[half..len]);
        let centre = (half as f64 - 1.0) / 2.0;
        let slope = (newer - older) / (len as f64 / 2.0).max(1.0);
        for (index, value) in buffer[..len].iter_mut().enumerate() {
            *value -= older + slope * (index as f64 - centre);
        }
        &mut buffer[..len]
    }
}

/// An open rise. Baseline, spread and level are those of the row that opened it.
#[derive(Debug, Clone, PartialEq)]
struct Episode {
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
    fn open(step: i64, value: f64, row: u64, [baseline, spread, level]: [f64; 3]) -> Self {
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

    fn push(&mut self, step: i64, value: f64, row: u64) {
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

    /// Whether the newest 3 rows, or all since the opening one, are below the limit.
    fn is_back(&self) -> bool {
        self.calm >= CALM_ROWS.min(self.length - 1).max(1)
    }

    fn score(&self, value: f64) -> f64 {
        (value - self.baseline) / self.spread
    }

    fn severity(&self) -> SpikeLevel {
        let rise = self.peak - self.baseline;
        if rise > self.level {
            SpikeLevel::Error
        } else if self.elevated == 1 && rise < HARD_BATCH_RISE * self.level {
            SpikeLevel::Info
        } else {
            SpikeLevel::Warn
        }
    }

    fn event(&self, end_step: Option<i64>, detected_step: i64) -> SpikeEvent {
        SpikeEvent {
            step: self.step,
            end_step,
            detected_step,
            level: self.severity(),
            peak: self.peak,
            baseline: self.baseline,
            score: self.score(self.peak),
            rows: self.elevated,
            first_row: self.first_row,
            last_row: self.last_row,
        }
    }
}

/// `R`: how far the run has come down from its head, over the rows so far.
#[derive(Debug, Clone, PartialEq)]
struct RunningRange {
    rows: u64,
    /// First rows in order; at most [`HEAD`].
    head: Vec<f64>,
    /// The first 5 % of the rows (at least 5, at most [`HEAD`]) in ascending order.
    first: Vec<f64>,
    /// Newest 5 rows, as a ring.
    newest: [f64; 5],
    /// Lowest median of 5 consecutive rows.
    best: f64,
}

impl Default for RunningRange {
    fn default() -> Self {
        Self { rows: 0, head: Vec::new(), first: Vec::new(), newest: [0.0; 5], best: f64::INFINITY }
    }
}

impl RunningRange {
    fn push(&mut self, value: f64) {
        self.newest[(self.rows % 5) as usize] = value;
        self.rows += 1;
        if self.rows >= 5 {
            self.best = self.best.min(median(&mut self.newest.clone()));
        }
        if self.head.len() < HEAD {
            self.head.push(value);
        }
        let wanted = (self.rows / 20).clamp(5, HEAD as u64) as usize;
        while self.first.len() < wanted.min(self.head.len()) {
            let next = self.head[self.first.len()];
            let at = self.first.partition_point(|&other| other < next);
            self.first.insert(at, next);
        }
    }

    fn get(&self) -> f64 {
        if self.rows < 5 {
            return 0.0;
        }
        (median_of_sorted(&self.first) - self.best).abs()
    }
}

/// Value of rank `rank` (from 0) in ascending order; reorders the slice. 0 when there is none.
fn select(values: &mut [f64], rank: usize) -> f64 {
    if rank >= values.len() {
        return 0.0;
    }
    *values.select_nth_unstable_by(rank, f64::total_cmp).1
}

/// Median of an unordered slice, which it reorders; 0 for an empty one.
fn median(values: &mut [f64]) -> f64 {
    let len = values.len();
    let upper = select(values, len / 2);
    if len == 0 || len % 2 == 1 {
        return upper;
    }
    let lower = values[..len / 2].iter().copied().fold(f64::MIN, f64::max);
    0.5 * lower + 0.5 * upper
}

/// Median of an ascending slice; 0 for an empty one.
fn median_of_sorted(values: &[f64]) -> f64 {
    let len = values.len();
    if len == 0 {
        return 0.0;
    }
    0.5 * values[(len - 1) / 2] + 0.5 * values[len / 2]
}

#[cfg(test)]
mod tests;
