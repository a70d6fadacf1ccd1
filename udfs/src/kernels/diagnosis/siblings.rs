//! A run that is behind those it was started with.

use super::finding::{Episode, Level};
use super::limits::BehindSiblings;
use super::outline::Outline;
use super::robust::{mad, median};

/// Points at which it is looked for since when it holds.
const COARSE: usize = 64;

/// Whether a metric, the lower the better, is behind that of the run's siblings at the same step.
///
/// Those count that came as far as it did: the best level it ever had is compared with the median of their
/// levels at its newest step (median rule: Golovin et al. 2017). It is a fact, no alarm: of a sweep some runs
/// are always behind, and that is what the sweep is for. Of a metric that is the better the higher it is, give
/// all [`negated`](Outline::negated).
pub fn behind_siblings(own: &Outline, siblings: &[&Outline], limits: &BehindSiblings) -> Option<Episode> {
    if (siblings.len() as f64) < limits.min_siblings {
        return None;
    }
    let newest = *own.steps.last()?;
    let siblings: Vec<Sibling<'_>> = siblings.iter().map(|other| Sibling::of(other)).collect();
    let now = Field::at(newest, &siblings, limits)?;
    let levels = (0..own.len()).filter_map(|at| level_at(own, own.steps[at], limits));
    let best = levels.min_by(f64::total_cmp)?;
    if best <= now.behind {
        return None;
    }
    let coarse = own.coarse(COARSE);
    let is_ahead = |step: i64| {
        let (field, level) = (Field::at(step, &siblings, limits), level_at(own, step, limits));
        field.zip(level).is_none_or(|(field, level)| level <= field.behind)
    };
    let last_ahead = coarse.steps.iter().rposition(|&step| is_ahead(step));
    let onset = coarse.steps.get(last_ahead.map_or(0, |last| last + 1)).or(coarse.steps.last())?;
    let level = level_at(own, now.step, limits)?;
    let score = (level - now.middle) / now.spread;
    Episode::to_the_end(own, own.place(*onset)?, Level::Info, [level, now.middle, score])
}

/// A curve to compare with.
struct Sibling<'a> {
    curve: &'a Outline,
    /// What counts of its level at least.
    floor: f64,
}

impl<'a> Sibling<'a> {
    fn of(curve: &'a Outline) -> Self {
        Self { curve, floor: curve.scale(0.0) }
    }

    fn came_to(&self, step: i64) -> bool {
        self.curve.steps.last().is_some_and(|&last| last >= step)
    }
}

/// Where the siblings are at a step.
struct Field {
    step: i64,
    middle: f64,
    spread: f64,
    /// The level from which a run is behind.
    behind: f64,
}

impl Field {
    fn at(step: i64, siblings: &[Sibling<'_>], limits: &BehindSiblings) -> Option<Self> {
        let came_so_far = siblings.iter().filter(|other| other.came_to(step));
        let others: Vec<(f64, f64)> = came_so_far
            .filter_map(|other| Some((level_at(other.curve, step, limits)?, other.floor)))
            .collect();
        if (others.len() as f64) < limits.min_siblings {
            return None;
        }
        let levels: Vec<f64> = others.iter().map(|(level, _)| *level).collect();
        let floors: Vec<f64> = others.iter().map(|(_, floor)| *floor).collect();
        let (middle, spread) = (median(&levels), mad(&levels));
        let enough = (limits.share * middle.abs().max(median(&floors))).max(limits.spreads * spread);
        Some(Self { step, middle, spread: spread.max(f64::MIN_POSITIVE), behind: middle + enough })
    }
}

/// The level of a curve at a step: the median of the points before it; none where there are few rows.
fn level_at(curve: &Outline, step: i64, limits: &BehindSiblings) -> Option<f64> {
    let points = curve.place(step)? + 1;
    let width = (points / 40).clamp(5, 25).min(points);
    let has_rows = points as f64 * curve.rows_per_point() >= limits.min_rows;
    has_rows.then(|| median(&curve.values[points - width..points]))
}
