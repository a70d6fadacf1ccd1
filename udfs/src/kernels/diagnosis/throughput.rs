//! Fewer steps a second than before.

use super::super::lesser;
use super::finding::{Episode, Level};
use super::limits::ThroughputDrop;
use super::recent::Recent;
use super::robust::median_of_few;
use super::rolling::Rolling;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Healthy rows that a drop is measured against.
const WINDOW: usize = 200;
/// Healthy rows that are enough to measure against.
const ENOUGH: usize = 8;
/// Rows that are left out at the start in any case.
const WARMUP_ROWS: u64 = 4;
/// Share of the planned run that is left out at its start.
const WARMUP: f64 = 0.02;
/// Rows of the centred median.
const SMOOTH: usize = 5;
/// Episodes kept of one curve.
const MAX_EPISODES: usize = 1_000;

/// Finds lasting drops of a throughput, row by row, two rows behind the newest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drops {
    limits: ThroughputDrop,
    planned_steps: Option<i64>,
    from_step: Option<i64>,
    rows: u64,
    /// The newest rows, oldest first: (step, value).
    newest: VecDeque<(i64, f64)>,
    healthy: Recent,
    open: Option<Drop>,
    closed: Vec<Episode>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Drop {
    before: f64,
    step: i64,
    detected_step: Option<i64>,
    values: Rolling,
    rows: u64,
}

impl Drop {
    fn episode(&self, end_step: Option<i64>, limits: &ThroughputDrop) -> Option<Episode> {
        let now = self.values.median();
        let lost = 1.0 - now / self.before;
        Some(Episode {
            level: if lost >= limits.error_drop { Level::Error } else { Level::Warn },
            step: self.step,
            end_step,
            detected_step: self.detected_step?,
            value: now,
            baseline: self.before,
            score: lost,
            rows: self.rows,
        })
    }
}

impl Drops {
    /// For a run of so many steps, where that is known.
    pub fn new(planned_steps: Option<i64>, limits: &ThroughputDrop) -> Self {
        Self {
            limits: limits.clone(),
            planned_steps,
            from_step: None,
            rows: 0,
            newest: VecDeque::new(),
            healthy: Recent::new(WINDOW),
            open: None,
            closed: Vec::new(),
        }
    }

    /// Takes a row. What is not finite or below zero is passed over.
    pub fn push(&mut self, step: i64, value: f64) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        let planned = self.planned_steps.unwrap_or(0) as f64;
        let from = *self.from_step.get_or_insert_with(|| step.saturating_add((planned * WARMUP) as i64));
        self.rows += 1;
        if self.rows <= WARMUP_ROWS || step < from {
            return;
        }
        self.newest.push_back((step, value));
        if self.newest.len() < SMOOTH {
            return;
        }
        if self.newest.len() > SMOOTH {
            self.newest.pop_front();
        }
        let (centre, raw) = self.newest[SMOOTH / 2];
        self.judge(centre, raw, step);
    }

    /// Judges the row at `centre`, now that the row at `newest` is there.
    fn judge(&mut self, centre: i64, raw: f64, newest: i64) {
        if self.open.is_none() && !self.may_drop() {
            self.healthy.push(raw);
            return;
        }
        let now = median_of_few(&self.newest.iter().map(|row| row.1).collect::<Vec<_>>());
        if let Some(mut drop) = self.open.take() {
            if now > drop.before * (1.0 - self.limits.recovered) {
                self.end(&drop, centre);
                self.healthy.push(raw);
                return;
            }
            drop.rows += 1;
            drop.values.push(raw);
            let enough = self.limits.rows.max(self.limits.share * self.rows as f64);
            if drop.detected_step.is_none() && drop.rows as f64 >= enough {
                drop.detected_step = Some(newest);
            }
            self.open = Some(drop);
            return;
        }
        let before = self.healthy.median();
        if self.healthy.len() >= ENOUGH && now < before * (1.0 - self.limits.drop) {
            let mut values = Rolling::new(WINDOW);
            values.push(raw);
            self.open = Some(Drop { before, step: centre, detected_step: None, values, rows: 1 });
        } else {
            self.healthy.push(raw);
        }
    }

    /// Whether the newest rows may be a drop. No median of theirs is below the lowest, and no median of healthy
    /// rows above the highest: most rows need no more.
    fn may_drop(&mut self) -> bool {
        let lowest = self.newest.iter().fold(f64::INFINITY, |lowest, row| lesser(lowest, row.1));
        let kept = 1.0 - self.limits.drop;
        self.healthy.len() >= ENOUGH
            && lowest < self.healthy.greatest() * kept
            && lowest < self.healthy.median_at_most() * kept
    }

    fn end(&mut self, drop: &Drop, step: i64) {
        let episode = drop.episode(Some(step), &self.limits);
        self.closed.extend(episode.filter(|_| self.closed.len() < MAX_EPISODES));
    }

    /// The drops so far; one that is open has no end. None of a curve of few rows.
    pub fn episodes(&self) -> Vec<Episode> {
        if (self.rows as f64) < self.limits.min_rows {
            return Vec::new();
        }
        let open = self.open.as_ref().and_then(|drop| drop.episode(None, &self.limits));
        self.closed.iter().copied().chain(open).collect()
    }
}
