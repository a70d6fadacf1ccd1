//! A rise of the loss that does not come back.

use super::super::lesser;
use super::finding::{Episode, Level};
use super::limits::Divergence;
use super::outline::Outline;
use super::robust::{block_medians, centred_medians, mad, mann_kendall, median, noise_of, trailing_medians};
use super::trace::Point;

/// Newest rows of a runaway.
const RUNAWAY_ROWS: usize = 4;
/// Share of the run's start that a runaway is not measured against.
const RUNAWAY_FROM: f64 = 0.25;
/// Standard deviations of the noise that a runaway is above everything before it.
const RUNAWAY_NOISE: f64 = 6.0;
/// Share of the newest values that must be up.
const MOSTLY: f64 = 0.95;

/// Rows of the median in a run of few rows.
const SHORT_SMOOTH: usize = 3;
/// Share of the rise up to which a row is still near the best.
const NEAR: f64 = 0.15;

/// Whether the loss is going up for good, at the end of what is there.
///
/// The newest level is far above the best one, has stayed there and still rises; or the newest
/// rows are a runaway, which needs no waiting.
pub fn divergence(loss: &Outline, limits: &Divergence) -> Option<Episode> {
    if (loss.rows as f64) < limits.min_rows {
        return short(loss, limits);
    }
    if (loss.len() as f64) < limits.min_rows {
        return None;
    }
    if !may_be_up(loss, limits) {
        return None;
    }
    let rise = Rise::of(loss, limits)?;
    if !(rise.is_lasting(loss, limits) || is_runaway(loss, &rise, limits)) {
        return None;
    }
    let onset = rise.onset(loss);
    let score = (rise.now - rise.best) / rise.threshold;
    Episode::to_the_end(loss, onset, Level::Error, [rise.now, rise.best, score])
}

/// Whether it can be at all, told at little cost: neither level nor newest rows are above the lowest row by
/// enough in most runs.
fn may_be_up(loss: &Outline, limits: &Divergence) -> bool {
    let lowest = loss.values.iter().fold(f64::INFINITY, |lowest, &value| lesser(value, lowest));
    let is_level_up = || now(loss) > lowest + limits.rise * lowest;
    lowest <= 0.0 || is_level_up() || rising_rows(loss).is_some()
}

/// Rows of the trailing median.
fn width(loss: &Outline) -> usize {
    (loss.len() / 40).clamp(5, 25)
}

/// The newest level.
fn now(loss: &Outline) -> f64 {
    median(loss.newest_points(width(loss).max(loss.len() / 20)))
}

/// How far the newest level is above the best.
struct Rise {
    smooth: Vec<f64>,
    best: f64,
    best_at: usize,
    now: f64,
    noise: f64,
    threshold: f64,
}

impl Rise {
    fn of(loss: &Outline, limits: &Divergence) -> Option<Self> {
        let points = loss.len();
        let width = width(loss);
        let smooth = trailing_medians(&loss.values, width);
        let candidates = smooth.iter().copied().enumerate().skip(width.max(8));
        let (best_at, best) = candidates.min_by(|left, right| left.1.total_cmp(&right.1))?;
        let now = now(loss);
        let half = points / 2;
        let residuals: Vec<f64> =
            loss.values[half..].iter().zip(&smooth[half..]).map(|(value, smooth)| value - smooth).collect();
        let noise = loss.noise().max(mad(&residuals));
        let threshold =
            (limits.noise * noise).max(limits.rise * best.abs()).max(limits.of_range * loss.range());
        (threshold > 0.0).then_some(Self { smooth, best, best_at, now, noise, threshold })
    }

    fn is_lasting(&self, loss: &Outline, limits: &Divergence) -> bool {
        let points = loss.len();
        let since = points - 1 - self.best_at;
        let enough = limits.rows.max(limits.share * points as f64);
        if self.now - self.best <= self.threshold || (since as f64) < enough {
            return false;
        }
        let newest = &self.smooth[points - loss.share(0.04, 12).min(points)..];
        let up = newest.iter().filter(|&&value| value > self.best + 0.6 * self.threshold).count();
        up as f64 >= MOSTLY * newest.len() as f64 && self.rises_or_stays(&loss.values[self.best_at..], limits)
    }

    fn rises_or_stays(&self, since: &[f64], limits: &Divergence) -> bool {
        let blocks = block_medians(since, (since.len() / 6).clamp(6, 20));
        let later = &blocks[blocks.len() / 2..];
        mann_kendall(&blocks) >= limits.trend || later.iter().all(|&block| block > self.best + self.threshold)
    }

    /// The point behind the last that was still near the best.
    fn onset(&self, loss: &Outline) -> usize {
        let near = self.best + NEAR * (self.now - self.best);
        let smooth = centred_medians(&loss.values[self.best_at..], 2);
        let last = smooth.iter().rposition(|&value| value < near);
        (self.best_at + last.map_or(0, |last| last + 1)).min(loss.len() - 1)
    }
}

/// As [`divergence`], of a run of so few rows that neither its noise nor its trend is known: the newest rows,
/// all since one that was not, are far above the best and above all before that.
fn short(loss: &Outline, limits: &Divergence) -> Option<Episode> {
    let points = loss.len();
    let smooth = trailing_medians(&loss.values, SHORT_SMOOTH);
    let candidates = smooth.iter().copied().enumerate().skip(SHORT_SMOOTH - 1);
    let (best_at, best) = candidates.min_by(|left, right| left.1.total_cmp(&right.1))?;
    let before = &loss.values[..=best_at];
    let highest = before.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let level = best.abs().max(0.1 * loss.range());
    let limit = (limits.runaway * level).max(highest + RUNAWAY_NOISE * noise_of(before));
    let up = loss.values[best_at..].iter().rev().take_while(|value| **value > limit).count();
    if (points as f64) < limits.short_min_rows || (up as f64) < limits.short_rows {
        return None;
    }
    let now = median(loss.newest_points(SHORT_SMOOTH));
    let near = best + NEAR * (now - best);
    let last = loss.values[best_at..].iter().rposition(|&value| value < near);
    let onset = (best_at + last.map_or(0, |last| last + 1)).min(points - 1);
    Episode::to_the_end(loss, onset, Level::Error, [now, best, now / limit])
}

/// Whether the newest rows are far above everything since the first quarter, and growing.
fn is_runaway(loss: &Outline, rise: &Rise, limits: &Divergence) -> bool {
    let Some((before, newest)) = rising_rows(loss) else { return false };
    let from = loss.share(RUNAWAY_FROM, 0);
    let until = loss.len().saturating_sub(RUNAWAY_ROWS);
    let highest = loss.values.get(from..until).unwrap_or_default().iter().copied();
    let highest = highest.chain(before.iter().map(|row| row.value)).fold(f64::NEG_INFINITY, f64::max);
    let level = rise.best.abs().max(0.1 * loss.range());
    let limit = (limits.runaway * level).max(highest + RUNAWAY_NOISE * rise.noise);
    newest.iter().all(|row| row.value > limit)
}

/// The newest 4 rows, where they rise, and those before them.
fn rising_rows(loss: &Outline) -> Option<(&[Point], &[Point])> {
    let (before, newest) = loss.newest.split_at(loss.newest.len().checked_sub(RUNAWAY_ROWS)?);
    newest.is_sorted_by(|left, right| left.value <= right.value).then_some((before, newest))
}
