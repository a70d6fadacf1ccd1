//! Memory that grows steadily, until it is full.

use super::finding::{Episode, Level};
use super::limits::MemoryLeak;
use super::outline::Outline;
use super::robust::{mann_kendall, quantile};

/// Share of the start that is left out: caches fill there.
const WARMUP: f64 = 0.06;
/// Most blocks.
const BLOCKS: usize = 48;
/// What a block counts as: below its middle, so that a peak does not show.
const PERCENTILE: f64 = 0.40;
/// Least share of the growth in each third of its stretch.
const THIRD: f64 = 0.12;
/// Largest share of the growth in one step: more is a new level, not a leak.
const ONE_STEP: f64 = 0.5;

/// A leak, and when memory will be full.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leak {
    /// The leak itself: the level at its start as baseline, the growth's share of the variance as score.
    pub episode: Episode,
    /// Growth for each step.
    pub per_step: f64,
    /// The step at which memory is full, where its capacity is known.
    pub full_step: Option<i64>,
    /// Whether it is about to be full, or will be before the run ends.
    pub is_urgent: bool,
}

/// Whether memory grows steadily at the end of what is there.
///
/// A hinge (flat, then a line) is fitted to the 40th percentiles of blocks; the stretch behind it must
/// grow by enough, evenly, and without one great step.
pub fn leak(
    memory: &Outline,
    capacity: Option<f64>,
    planned_steps: Option<i64>,
    limits: &MemoryLeak,
) -> Option<Leak> {
    if (memory.len() as f64) < limits.min_rows {
        return None;
    }
    let blocks = Blocks::of(memory);
    if mann_kendall(&blocks.values) < limits.trend {
        return None;
    }
    let hinge = Hinge::fit(&blocks.values)?;
    let largest = memory.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let growth = hinge.growth();
    let is_leak = growth > limits.growth * capacity.unwrap_or(largest)
        && hinge.fit >= limits.fit
        && is_even(&blocks.values[hinge.at..]);
    if !is_leak {
        return None;
    }
    let (onset, last) = (blocks.start_step(memory, hinge.at), *memory.steps.last()?);
    let per_step = growth / (last - onset).max(1) as f64;
    let now = hinge.base + growth;
    let full = |capacity: f64| last.saturating_add(((capacity - now) / per_step).max(0.0) as i64);
    let ends_full = |capacity: f64| {
        let left = planned_steps.map_or(0, |planned| (planned - last).max(0));
        now >= limits.nearly_full * capacity || now + per_step * left as f64 >= limits.full * capacity
    };
    let level = Level::Warn;
    let growing = Episode::to_the_end(memory, blocks.start(hinge.at), level, [now, hinge.base, hinge.fit])?;
    Some(Leak {
        episode: Episode { step: onset, ..growing },
        per_step,
        full_step: capacity.map(full),
        is_urgent: capacity.is_some_and(ends_full),
    })
}

/// 40th percentiles of blocks of nearly equal length.
struct Blocks {
    first: usize,
    points: usize,
    values: Vec<f64>,
}

impl Blocks {
    fn of(memory: &Outline) -> Self {
        let first = memory.share(WARMUP, 0);
        let rest = &memory.values[first..];
        let count = BLOCKS.min(memory.len() / 3).min(rest.len());
        let edge = |block| super::super::bucket_edge(block, rest.len(), count);
        let values =
            (0..count).map(|block| quantile(&rest[edge(block)..edge(block + 1)], PERCENTILE)).collect();
        Self { first, points: rest.len(), values }
    }

    /// The point at which a block begins.
    fn start(&self, block: usize) -> usize {
        self.first + super::super::bucket_edge(block, self.points, self.values.len())
    }

    fn start_step(&self, memory: &Outline, block: usize) -> i64 {
        let at = (self.start(block) + self.start(block + 1)) / 2;
        memory.steps[at.min(memory.len() - 1)]
    }
}

/// Flat up to `at`, then a line.
struct Hinge {
    at: usize,
    base: f64,
    slope: f64,
    blocks: usize,
    /// Share of the variance that it explains.
    fit: f64,
}

impl Hinge {
    /// The best of all hinges that leave at least 6 blocks to the line.
    fn fit(values: &[f64]) -> Option<Self> {
        let last = values.len().checked_sub(6)?;
        let hinges = (0..=last).filter_map(|at| Self::with(values, at));
        hinges.max_by(|left, right| left.fit.total_cmp(&right.fit))
    }

    /// Least squares of `base + slope * max(0, i - at)`.
    fn with(values: &[f64], at: usize) -> Option<Self> {
        let count = values.len() as f64;
        let ramp = |i: usize| i.saturating_sub(at) as f64;
        let mean_ramp = (0..values.len()).map(ramp).sum::<f64>() / count;
        let mean = values.iter().sum::<f64>() / count;
        let moment: f64 = (0..values.len()).map(|i| (ramp(i) - mean_ramp).powi(2)).sum();
        let product: f64 =
            values.iter().enumerate().map(|(i, value)| (ramp(i) - mean_ramp) * (value - mean)).sum();
        let variance: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        if moment <= 0.0 || variance <= 0.0 {
            return None;
        }
        let slope = product / moment;
        let fit = product * product / moment / variance;
        Some(Self { at, base: mean - slope * mean_ramp, slope, blocks: values.len(), fit })
    }

    fn growth(&self) -> f64 {
        self.slope * (self.blocks - 1 - self.at) as f64
    }
}

/// Whether the growth is in each third of the stretch, and not in one step.
fn is_even(stretch: &[f64]) -> bool {
    let last = stretch.len() - 1;
    let growth = stretch[last] - stretch[0];
    let edge = |third: usize| stretch[third * last / 3];
    let largest = stretch.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::NEG_INFINITY, f64::max);
    growth > 0.0
        && (0..3).all(|third| edge(third + 1) - edge(third) >= THIRD * growth)
        && largest <= ONE_STEP * growth
}
