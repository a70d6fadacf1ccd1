//! No gain worth the compute.

use super::finding::{Episode, Level};
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
        // The error of a line through few blocks is itself uncertain.
        let few = 1.0 + 4.0 / (blocks.len().saturating_sub(2).max(1)) as f64;
        let gain = Self {
            gain: -theil_sen(&blocks) * over,
            standard_error: few * line.slope_se * over,
            level,
            points: window.len(),
        };
        (scale > 0.0 && window.len() == points).then_some(gain)
    }

    /// Whether it is worth the compute, as far as can be told.
    pub fn is_some(&self, limits: &Plateau) -> bool {
        self.gain > limits.gain
    }

    /// Whether it is worth the compute, and known to be.
    pub fn is_sure(&self, limits: &Plateau) -> bool {
        self.gain - self.standard_error > limits.gain
    }

    /// Whether it is small, and known to be small.
    pub fn is_none(&self, limits: &Plateau) -> bool {
        (-limits.loss..=limits.gain).contains(&self.gain)
            && self.gain + self.standard_error <= limits.sure_gain
    }
}

/// Whether a loss stands still at the end of what is there. `lr` is the learning rate, where it is known.
///
/// Where the learning rate has decayed a loss is expected to rest, unless it did so long before.
pub fn plateau(loss: &Outline, lr: Option<&Outline>, limits: &Plateau) -> Option<Episode> {
    if (loss.len() as f64) < limits.min_rows {
        return None;
    }
    let gain = Gain::of(loss, limits.window).filter(|gain| gain.is_none(limits))?;
    let onset = onset(loss, &gain);
    let rested_before = |lr: &Outline| {
        let before = plateau(&before_decay(loss, lr, limits), None, limits)?;
        let gained = (before.value - gain.level) / loss.scale(gain.level);
        (gained <= limits.sure_gain).then_some(before)
    };
    let decayed = lr.filter(|lr| loss.steps.last().is_some_and(|&step| has_decayed(lr, step, limits)));
    let is_expected = decayed.is_some_and(|lr| rested_before(lr).is_none());
    let level = if is_expected { Level::Info } else { Level::Warn };
    Episode::to_the_end(loss, onset, level, [gain.level, loss.values[onset], gain.gain])
}

fn has_decayed(lr: &Outline, step: i64, limits: &Plateau) -> bool {
    lr.share_of_peak(step).is_some_and(|share| share < limits.decayed_lr)
}

/// The loss as long as the learning rate was high.
fn before_decay(loss: &Outline, lr: &Outline, limits: &Plateau) -> Outline {
    let peak = lr.values.iter().copied().fold(0.0, f64::max);
    let high = lr.values.iter().rposition(|&rate| rate >= limits.high_lr * peak);
    let points = high.and_then(|high| loss.place(lr.steps[high])).map_or(0, |place| place + 1);
    loss.prefix(points)
}

/// The last point at which the curve was clearly above its final level.
fn onset(loss: &Outline, gain: &Gain) -> usize {
    let points = loss.len();
    let start = points - gain.points;
    let width = (points / 40).max(SPIKE_PROOF);
    let smooth = trailing_medians(&loss.values, width);
    let (least, noise) = (0.012 * loss.scale(gain.level), 2.5 * loss.noise());
    let clear = gain.level + least.max(noise / (width as f64).sqrt());
    // Before it is full, the median is moved by a single row; and one among many medians is high by chance.
    let full = width.min(points) - 1;
    let is_up = |medians: &[f64]| medians.iter().all(|&median| median > clear);
    let lasting = width.div_ceil(2);
    let down = smooth[full..].windows(lasting).rposition(is_up).map_or(0, |first| full + first + lasting);
    // The median of the newest `width` rows is down only after the rows are.
    let is_down = |value: &&f64| **value <= gain.level + least.max(noise);
    let onset = down - loss.values[..down].iter().rev().take(width).take_while(is_down).count();
    if onset as f64 > LATE * points as f64 { start } else { onset }
}
