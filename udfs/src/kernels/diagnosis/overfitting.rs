//! Validation turns up while training goes on.

use super::finding::{Hit, Level};
use super::limits::Overfitting;
use super::outline::Outline;
use super::robust::{centred_medians, mann_kendall, median, noise_of};

/// Whether a validation metric, the lower the better, got worse since its best, at the end of what is
/// there. The onset is the best point, which is also the checkpoint to keep.
///
/// `training` are the losses of the same run: where one of them rises as well, it is no overfitting.
pub fn overfitting(validation: &Outline, training: &[&Outline], limits: &Overfitting) -> Option<Hit> {
    let points = validation.len();
    if (points as f64) < limits.min_points {
        return None;
    }
    let smooth = centred_medians(&validation.values, 1);
    let (best_at, best) = first_lowest(&smooth)?;
    let now = median(validation.newest_points(3.max(points / 12)));
    let rise = now - best;
    let noise = noise_of(&validation.values);
    let enough = (limits.rise * validation.scale(now)).max(limits.noise * noise);
    let since = &validation.values[best_at..];
    let is_turned = (points - 1 - best_at) as f64 >= limits.points
        && rise > enough
        && mann_kendall(since) >= limits.trend;
    let span = (validation.steps[best_at], validation.steps[points - 1]);
    if !is_turned || training.iter().any(|loss| rises(loss, span, limits)) {
        return None;
    }
    let is_bad = rise > limits.error_rise * validation.scale(best);
    Some(Hit {
        level: if is_bad { Level::Error } else { Level::Warn },
        step: validation.steps[best_at],
        value: now,
        baseline: best,
        score: rise / enough,
        rows: (points - 1 - best_at) as u64,
    })
}

fn first_lowest(values: &[f64]) -> Option<(usize, f64)> {
    values.iter().copied().enumerate().min_by(|left, right| left.1.total_cmp(&right.1))
}

/// Whether a training loss rose between two steps.
fn rises(loss: &Outline, (from, to): (i64, i64), limits: &Overfitting) -> bool {
    let around = |step: i64| {
        let place = loss.place(step).unwrap_or(0);
        let half = loss.share(0.02, 1);
        median(&loss.values[place.saturating_sub(half)..(place + half + 1).min(loss.len())])
    };
    if loss.is_empty() {
        return false;
    }
    let (before, after) = (around(from), around(to));
    after - before > (limits.training_rise * loss.scale(before)).max(loss.noise())
}
