//! Gradients that burst, grow without end, or vanish.

use super::super::lesser;
use super::finding::{Episode, Level};
use super::limits::{GradExplosion, GradVanishing};
use super::outline::Outline;
use super::recent::Recent;
use super::robust::{SIGMA_OF_MEDIAN, median, median_in_place, median_of_few, trailing_medians};
use super::rolling::Rolling;
use super::trace::Trace;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Accepted rows that a burst is measured against.
const WINDOW: usize = 96;
/// Least standard deviation of the logarithm: clipped norms are constant.
const SPREAD_FLOOR: f64 = 0.05;
/// Rows that are left out at the start in any case.
const WARMUP_ROWS: u64 = 12;
/// Rows that an onset is looked for before the row that opened a burst.
const WALK_BACK: usize = 12;
/// Calm rows that end a burst.
const CALM_ROWS: u64 = 3;
/// Rows a burst may last, at least and as a share of the rows so far, before its level is the new one.
const MAX_ROWS: f64 = 30.0;
const MAX_SHARE: f64 = 0.06;
/// Newest rows that make up the new level.
const REFILL: usize = 20;
/// Episodes kept of one curve.
const MAX_EPISODES: usize = 1_000;
/// Norm, in times of the one at which it has vanished, at which it is falling.
const FALLEN: f64 = 30.0;
/// Points before the fall that tell from which level.
const BEFORE: usize = 20;
/// Rows of the median by which a norm has vanished.
const SMOOTH: usize = 5;
/// A norm that is not there.
const NOTHING: f64 = 1e-12;

/// Finds bursts of a gradient norm, row by row. The state is some 2 KB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bursts {
    limits: GradExplosion,
    /// Steps before this one are left out.
    from_step: Option<i64>,
    planned_steps: Option<i64>,
    rows: u64,
    /// Logarithms of accepted rows.
    window: Recent,
    /// The newest rows, in order: (step, norm).
    newest: Vec<(i64, f64)>,
    open: Option<Burst>,
    closed: Vec<Episode>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Burst {
    /// Median and standard deviation of the logarithm before it.
    level: f64,
    spread: f64,
    opened_step: i64,
    onset: i64,
    peak: f64,
    /// Elevated rows, rows since the onset, calm rows at the end.
    elevated: u64,
    length: u64,
    calm: u64,
    last_step: i64,
    newest: Rolling,
}

impl Burst {
    fn push(&mut self, step: i64, norm: f64, calm_ratio: f64) {
        self.length += 1;
        self.newest.push(norm.ln());
        self.peak = self.peak.max(norm);
        if norm.ln() < self.level + calm_ratio.ln() {
            self.calm += 1;
        } else {
            (self.calm, self.last_step) = (0, step);
            self.elevated += 1;
        }
    }

    fn ratio(&self) -> f64 {
        (self.peak.ln() - self.level).exp()
    }

    fn episode(&self, is_sustained: bool, limits: &GradExplosion) -> Episode {
        let is_bad = is_sustained || self.ratio() > limits.error_ratio;
        Episode {
            level: if is_bad { Level::Error } else { Level::Warn },
            step: self.onset,
            end_step: (self.calm >= CALM_ROWS).then_some(self.last_step),
            detected_step: self.opened_step,
            value: self.peak,
            baseline: self.level.exp(),
            score: (self.peak.ln() - self.level) / self.spread,
            rows: self.elevated,
        }
    }
}

impl Bursts {
    /// For a run of so many steps, where that is known.
    pub fn new(planned_steps: Option<i64>, limits: &GradExplosion) -> Self {
        Self {
            limits: limits.clone(),
            from_step: None,
            planned_steps,
            rows: 0,
            window: Recent::new(WINDOW),
            newest: Vec::new(),
            open: None,
            closed: Vec::new(),
        }
    }

    /// Takes a row. What is not finite, or nothing at all, is passed over.
    pub fn push(&mut self, step: i64, norm: f64) {
        if !norm.is_finite() || norm <= NOTHING {
            return;
        }
        self.rows += 1;
        let warmup = self.limits.warmup;
        let from = *self.from_step.get_or_insert_with(|| {
            step.saturating_add((self.planned_steps.unwrap_or(0) as f64 * warmup) as i64)
        });
        if self.open.is_some() {
            self.go_on(step, norm);
        } else {
            let log = norm.ln();
            if self.rows > WARMUP_ROWS && step >= from && self.opens(log) {
                self.open(step, norm);
            } else {
                self.window.push(log);
            }
        }
        if self.newest.len() == 2 * WALK_BACK {
            self.newest.drain(..WALK_BACK);
        }
        self.newest.push((step, norm));
    }

    /// How many times its level a row would be as the next: the median of the last 96 accepted rows, in a
    /// burst that of the rows before it. None of the first 12 rows, and of what is not finite.
    pub fn ratio(&mut self, norm: f64) -> Option<f64> {
        let level = match &self.open {
            Some(burst) => burst.level,
            None => self.window.median(),
        };
        (self.rows >= WARMUP_ROWS && norm.is_finite()).then(|| norm / level.exp())
    }

    fn spread(&mut self) -> f64 {
        (SIGMA_OF_MEDIAN * self.window.median_distance()).max(SPREAD_FLOOR)
    }

    fn opens(&mut self, log: f64) -> bool {
        let least = self.limits.ratio.ln().max(SPREAD_FLOOR * self.limits.score);
        // The cheap tests first: few rows are above the lowest, or above what the median is not below, by even that.
        if log - self.window.least() <= least || log - self.window.median_at_least() <= least {
            return false;
        }
        let rise = log - self.window.median();
        rise > least && rise / self.spread() > self.limits.score
    }

    fn open(&mut self, step: i64, norm: f64) {
        let level = self.window.median();
        let above = |row: &&(i64, f64)| row.1.ln() > level + self.limits.calm_ratio.ln();
        let before: Vec<i64> =
            self.newest.iter().rev().take(WALK_BACK).take_while(above).map(|row| row.0).collect();
        let mut newest = Rolling::new(REFILL);
        newest.push(norm.ln());
        self.open = Some(Burst {
            level,
            spread: self.spread(),
            opened_step: step,
            onset: before.last().copied().unwrap_or(step),
            peak: norm,
            elevated: 1 + before.len() as u64,
            length: 1,
            calm: 0,
            last_step: step,
            newest,
        });
    }

    fn go_on(&mut self, step: i64, norm: f64) {
        let Some(mut burst) = self.open.take() else { return };
        burst.push(step, norm, self.limits.calm_ratio);
        if burst.calm >= CALM_ROWS {
            self.close(burst.episode(false, &self.limits));
        } else if burst.length as f64 > MAX_ROWS.max(MAX_SHARE * self.rows as f64) {
            self.close(burst.episode(true, &self.limits));
            self.window = Recent::new(WINDOW);
            let newest: Vec<f64> = burst.newest.newest(REFILL).collect();
            newest.into_iter().rev().for_each(|norm| self.window.push(norm));
        } else {
            self.open = Some(burst);
        }
    }

    fn close(&mut self, episode: Episode) {
        if self.closed.len() < MAX_EPISODES {
            self.closed.push(episode);
        }
    }

    /// The bursts so far; one that is open has no end. None of a curve of few rows.
    pub fn episodes(&self) -> Vec<Episode> {
        if (self.rows as f64) < self.limits.min_rows {
            return Vec::new();
        }
        let open = self.open.as_ref().map(|burst| burst.episode(false, &self.limits));
        self.closed.iter().copied().chain(open).collect()
    }
}

/// Whether a gradient norm grew slowly, but without end, at the end of what is there.
pub fn growth(norm: &Outline, limits: &GradExplosion) -> Option<Episode> {
    let lowest = norm.values.iter().copied().fold(f64::INFINITY, f64::min);
    // No median is below the lowest row: most runs need no more.
    if norm.len() < 50 || median(norm.newest_points(25)) <= limits.growth * lowest {
        return None;
    }
    let smooth = trailing_medians(&norm.values, 25);
    let (now, full) = (smooth[smooth.len() - 1], &smooth[24..]);
    let (lowest_at, lowest) =
        full.iter().copied().enumerate().min_by(|left, right| left.1.total_cmp(&right.1))?;
    let newest = norm.newest_points(norm.share(0.03, 3));
    let is_up = newest.iter().all(|&value| value > 8.0 * lowest);
    if lowest <= NOTHING || now <= limits.growth * lowest || !is_up {
        return None;
    }
    let onset = full[lowest_at..].iter().rposition(|&value| value < 2.0 * lowest).unwrap_or(0);
    let onset = (24 + lowest_at + onset).min(norm.len() - 1);
    Episode::to_the_end(norm, onset, Level::Error, [now, lowest, now / lowest])
}

/// Finds a gradient norm that is as good as zero, row by row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vanishing {
    limits: GradVanishing,
    /// Median of the rows from 5 % to 20 % of those so far, and the row at which it is taken anew.
    early: f64,
    next_look: u64,
    newest: VecDeque<f64>,
    low_rows: u64,
    open: Option<Episode>,
    closed: Vec<Episode>,
}

impl Vanishing {
    /// A detector that has seen nothing.
    pub fn new(limits: &GradVanishing) -> Self {
        Self {
            limits: limits.clone(),
            early: f64::NAN,
            next_look: limits.min_rows as u64,
            newest: VecDeque::with_capacity(SMOOTH),
            low_rows: 0,
            open: None,
            closed: Vec::new(),
        }
    }

    /// Takes a finite row, which `trace` holds already.
    pub fn push(&mut self, step: i64, norm: f64, trace: &Trace) {
        if self.newest.len() == SMOOTH {
            self.newest.pop_front();
        }
        self.newest.push_back(norm);
        if trace.rows() >= self.next_look && self.open.is_none() && self.low_rows == 0 {
            self.early = median_in_place(&mut trace.values_between(0.05, 0.20));
            self.next_look = trace.rows() + trace.rows() / 4;
        }
        let lowest = self.newest.iter().copied().fold(f64::INFINITY, lesser);
        // No median is below the lowest row: most runs need no more.
        if self.open.is_none() && !self.is_low(lowest) {
            self.low_rows = 0;
            return;
        }
        let now = median_of_few(self.newest.make_contiguous());
        match &mut self.open {
            Some(open) if now > self.limits.onset_share * self.early => {
                open.end_step = Some(step);
                self.closed.extend(self.open.take().filter(|_| self.closed.len() < MAX_EPISODES));
            }
            Some(open) => {
                open.rows += 1;
                open.value = now;
            }
            None => self.watch(step, now, trace),
        }
    }

    /// Norms that were never there cannot vanish.
    fn is_low(&self, norm: f64) -> bool {
        self.early > 10.0 * self.limits.floor
            && (norm < self.limits.share * self.early || norm < self.limits.floor)
    }

    fn watch(&mut self, step: i64, now: f64, trace: &Trace) {
        let is_low = self.is_low(now);
        self.low_rows = if is_low { self.low_rows + 1 } else { 0 };
        if !is_low || (self.low_rows as f64) < self.limits.rows {
            return;
        }
        let outline = trace.outline();
        let onset = self.onset(&outline.values);
        self.low_rows = 0;
        let score = self.early / now.max(NOTHING);
        self.open = Episode::to_the_end(&outline, onset, Level::Error, [now, self.early, score])
            .map(|open| Episode { detected_step: step, ..open });
    }

    /// The point behind the last that was near the level from which the norm fell: that of the rows before
    /// it was a few percent of the early one.
    fn onset(&self, norms: &[f64]) -> usize {
        let last_above =
            |limit: f64| norms.iter().rposition(|&norm| norm >= limit).map_or(0, |last| last + 1);
        let fallen = last_above(FALLEN * self.limits.share * self.early);
        let level = median(&norms[fallen.saturating_sub(BEFORE)..fallen]);
        let onset = if level.is_nan() { fallen } else { last_above(self.limits.onset_share * level) };
        onset.min(norms.len() - 1)
    }

    /// The stretches so far; one that is open has no end.
    pub fn episodes(&self) -> Vec<Episode> {
        self.closed.iter().copied().chain(self.open).collect()
    }
}
