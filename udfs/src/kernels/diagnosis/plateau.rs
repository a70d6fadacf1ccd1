//! No gain worth the compute.

use super::finding::{Hit, Level};
use super::limits::Plateau;
use super::outline::Outline;
use super::robust::{Line, block_medians, median, theil_sen, trailing_medians};

/// Share of the curve behind which an onset is as good as the start of the window.
const LATE: f64 = 0.78;

/// Least width of a median that a spike of some rows does not move.
const SPIKE_PROOF: usize = 9;

/// What the newest rows of a loss gained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// Over the window, as a share of the level.
    pub gain: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// The level: median of the window.
    pub level: f64,
    /// Points in the window.
    pub points: usize,
}

impl Gain {
    /// Over the newest `share` of the curve; none of fewer than 6 points, or where there is no scale.
    pub fn of(loss: &Outline, share: f64) -> Option<Self> {
        let points = loss.share(share, 6);
        let window = loss.newest_points(points);
        let blocks = block_medians(window, (points / 6).clamp(6, 20));
        let line = Line::through(&blocks)?;
        let level = median(&blocks);
        let scale = loss.scale(level);
        let over = (blocks.len() - 1) as f64 / scale;
        let gain = Self {
            gain: -theil_sen(&blocks) * over,
            standard_error: line.slope_se * over,
            level,
            points: window.len(),
        };
        (scale > 0.0 && window.len() == points).then_some(gain)
    }

    /// Whether it is small, and known to be small.
    pub fn is_none(&self, limits: &Plateau) -> bool {
        (-limits.loss..=limits.gain).contains(&self.gain)
            && self.gain + self.standard_error <= limits.sure_gain
    }
}

/// Whether a loss stands still at the end of what is there. `lr_share` is the learning rate as a share of
/// its peak, where it is known; `min_rows` what the curve must have.
pub fn plateau(loss: &Outline, lr_share: Option<f64>, min_rows: f64, limits: &Plateau) -> Option<Hit> {
    if (loss.len() as f64) < min_rows {
        return None;
    }
    let gain = Gain::of(loss, limits.window).filter(|gain| gain.is_none(limits))?;
    let onset = onset(loss, &gain);
    let has_decayed = lr_share.is_some_and(|share| share < limits.decayed_lr);
    Some(Hit {
        level: if has_decayed { Level::Info } else { Level::Warn },
        step: loss.steps[onset],
        value: gain.level,
        baseline: loss.values[onset],
        score: gain.gain,
        rows: ((loss.len() - onset) as f64 * loss.rows_per_point()).round() as u64,
    })
}

/// The last point at which the curve was clearly above its final level.
fn onset(loss: &Outline, gain: &Gain) -> usize {
    let points = loss.len();
    let start = points - gain.points;
    let width = (points / 40).max(SPIKE_PROOF);
    let smooth = trailing_medians(&loss.values, width);
    let (least, noise) = (0.012 * loss.scale(gain.level), 2.5 * loss.noise());
    let clear = gain.level + least.max(noise / (width as f64).sqrt());
    // Before it is full, the median is moved by a single row.
    let full = width.min(points) - 1;
    let down = smooth[full..].iter().rposition(|&value| value > clear).map_or(0, |last| full + last + 1);
    // The median of the newest `width` rows is down only after the rows are.
    let is_down = |value: &&f64| **value <= gain.level + least.max(noise);
    let onset = down - loss.values[..down].iter().rev().take(width).take_while(is_down).count();
    if onset as f64 > LATE * points as f64 { start } else { onset }
}
