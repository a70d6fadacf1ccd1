//! Validation turns up while training goes on.

use super::finding::{Episode, Level};
use super::limits::Overfitting;
use super::outline::Outline;
use super::robust::{centred_medians, mann_kendall, median, noise_of};

/// Whether a validation metric, the lower the better, got worse since its best, at the end of what is
/// there. The onset is the best point, which is also the checkpoint to keep.
///
/// `training` are the losses of the same run: where one of them rises as well, it is no overfitting.
pub fn overfitting(validation: &Outline, training: &[&Outline], limits: &Overfitting) -> Option<Episode> {
    let points = validation.len();
    if (points as f64) < limits.min_points {
        return None;
    }
    let smooth = centred_medians(&validation.values, 1);
    let (best_at, best) = first_lowest(&smooth)?;
    let now = median(validation.newest_points(3.max(points / 12)));
    let rise = now - best;
    let level = limits.rise * validation.scale(now);
    // The cheap tests first: few runs need the others.
    if ((points - 1 - best_at) as f64) < limits.points || rise <= level {
        return None;
    }
    let enough = level.max(limits.noise * noise_of(&validation.values));
    if rise <= enough
        || training.iter().any(|loss| rises(loss, validation, best_at, limits))
        || mann_kendall(&validation.values[best_at..]) < limits.trend
    {
        return None;
    }
    let is_bad = rise > limits.error_rise * validation.scale(best);
    let level = if is_bad { Level::Error } else { Level::Warn };
    let turned = Episode::to_the_end(validation, best_at, level, [now, best, rise / enough])?;
    Some(Episode { rows: (points - 1 - best_at) as u64, ..turned })
}

fn first_lowest(values: &[f64]) -> Option<(usize, f64)> {
    values.iter().copied().enumerate().min_by(|left, right| left.1.total_cmp(&right.1))
}

/// Whether a training loss rose since the validation was at its best.
fn rises(loss: &Outline, validation: &Outline, best_at: usize, limits: &Overfitting) -> bool {
    let (Some(&first), Some(&last)) = (loss.steps.first(), loss.steps.last()) else { return false };
    let (from, to) = (validation.steps[best_at], validation.steps[validation.len() - 1]);
    let place = |step: i64| {
        if is_alike(last - first, to - validation.steps[0]) {
            return loss.place(step).unwrap_or(0);
        }
        // Steps of validation may be epochs: both curves are of the whole run.
        let share = (step - validation.steps[0]) as f64 / (to - validation.steps[0]).max(1) as f64;
        ((loss.len() - 1) as f64 * share) as usize
    };
    let around = |step: i64| {
        let (place, half) = (place(step), loss.share(0.02, 1));
        median(&loss.values[place.saturating_sub(half)..(place + half + 1).min(loss.len())])
    };
    let (before, after) = (around(from), around(to));
    after - before > (limits.training_rise * loss.scale(before)).max(loss.noise())
}

/// Whether two lengths may be in one unit.
fn is_alike(one: i64, other: i64) -> bool {
    one <= other.saturating_mul(3) && other <= one.saturating_mul(3)
}
