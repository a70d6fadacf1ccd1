//! A policy that fell apart: its reward, divergence, entropy and length.

use super::finding::{Episode, Level};
use super::limits::Policy;
use super::outline::Outline;
use super::robust::{block_medians, median, theil_sen, trailing_medians};

/// Rows of the median that is looked at.
const SMOOTH: usize = 9;

/// The reward, smoothed over as many points as a collapse must last.
pub fn reward_collapse(reward: &Outline, limits: &Policy) -> Option<Episode> {
    let (points, lasting) = (reward.len(), lasting(reward, limits)?);
    let level = trailing_medians(&reward.values, lasting);
    let start = median(&reward.values[..lasting]);
    let levels = level.iter().copied().enumerate().skip(lasting - 1);
    let (best_at, best) =
        levels.max_by(|left, right| left.1.total_cmp(&right.1).then(right.0.cmp(&left.0)))?;
    let (rise, noise) = (best - start, reward.noise());
    let lost = (limits.reward_lost * rise).max(4.0 * noise);
    let smooth = trailing_medians(&reward.values, SMOOTH);
    let is_low = |value: f64| best - value > lost;
    // The rise itself must be clear, or there is nothing to lose.
    if rise <= 4.0 * noise || rise <= 0.0 || !smooth[points - lasting..].iter().all(|&value| is_low(value)) {
        return None;
    }
    let now = smooth[points - 1];
    let near = best - 0.15 * (best - now);
    let centred = super::robust::centred_medians(&reward.values, 2);
    let onset = centred[best_at..].iter().rposition(|&value| value > near);
    let onset = (best_at + onset.map_or(0, |last| last + 1)).min(points - 1);
    Episode::to_the_end(reward, onset, Level::Error, [now, best, (best - now) / rise])
}

/// The divergence from the reference policy, against a reference that may grow slowly.
pub fn kl_blowup(kl: &Outline, limits: &Policy) -> Option<Episode> {
    let lasting = lasting(kl, limits)?;
    let points = kl.len();
    let early = &kl.values[points / 20..points / 4];
    let reference = median(early);
    // A slow growth that was there early is expected to go on.
    let blocks = block_medians(early, 6);
    let slope = theil_sen(&blocks).max(0.0) * blocks.len() as f64 / early.len() as f64;
    let limit = |at: usize| {
        let grown = reference + slope * (at as f64 - 0.15 * points as f64).max(0.0);
        limits.kl.max(limits.kl_ratio * grown.min(3.0 * reference))
    };
    let (onset, now) = stretch(kl, lasting, |at, value| value > limit(at))?;
    Episode::to_the_end(kl, onset, Level::Error, [now, reference, now / reference])
}

/// The entropy, against the median of the first fifth.
pub fn entropy_collapse(entropy: &Outline, limits: &Policy) -> Option<Episode> {
    shrunk(entropy, 0.2, limits.entropy, limits)
}

/// The length of answers, against the median of the first quarter.
pub fn length_collapse(length: &Outline, limits: &Policy) -> Option<Episode> {
    shrunk(length, 0.25, limits.length, limits)
}

fn shrunk(curve: &Outline, early: f64, share: f64, limits: &Policy) -> Option<Episode> {
    let lasting = lasting(curve, limits)?;
    let before = median(&curve.values[..curve.share(early, 1)]);
    // Entropy of continuous actions may be below zero: a share of it says nothing.
    if before <= 0.0 {
        return None;
    }
    let (onset, now) = stretch(curve, lasting, |_, value| value < share * before)?;
    Episode::to_the_end(curve, onset, Level::Error, [now, before, before / now.max(f64::MIN_POSITIVE)])
}

/// Points that it must last; none of a short curve.
fn lasting(curve: &Outline, limits: &Policy) -> Option<usize> {
    let enough = curve.len() as f64 >= limits.min_rows;
    enough.then(|| curve.share(limits.share, limits.rows as usize))
}

/// The onset of the stretch of bad points that lasts to the newest one, and the newest median.
fn stretch(curve: &Outline, lasting: usize, is_bad: impl Fn(usize, f64) -> bool) -> Option<(usize, f64)> {
    let smooth = trailing_medians(&curve.values, SMOOTH);
    let last_good = smooth.iter().enumerate().rposition(|(at, &value)| !is_bad(at, value));
    let first_bad = last_good.map_or(0, |last| last + 1);
    if smooth.len() - first_bad < lasting {
        return None;
    }
    // The median follows half its width behind the rows.
    let raw = &curve.values[..=first_bad];
    let rows = raw.iter().enumerate().rev().take(SMOOTH);
    let onset = rows.take_while(|(at, value)| is_bad(*at, **value)).map(|(at, _)| at).last();
    Some((onset.unwrap_or(first_bad), smooth[smooth.len() - 1]))
}
