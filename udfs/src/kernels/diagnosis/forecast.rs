//! Where a loss will end.

use super::outline::Outline;
use super::robust::median;

/// Share of the rows at the start that no power law describes.
const SKIPPED: f64 = 0.2;
/// Most blocks a shape is fitted to.
const BLOCKS: usize = 40;
/// Weight of the oldest block; that of the newest is 1.
const OLDEST: f64 = 0.4;
/// Points a curve must have.
const MIN_POINTS: usize = 12;
/// Share of the planned run that must be over.
const MIN_PROGRESS: f64 = 0.02;
/// Ends of the 80 % interval below and above the extrapolation, in units of the error's scale, and its
/// middle: quantiles of split-conformal errors (Lei et al. 2018) on the tuning seeds of the labelled runs,
/// wider below, because a learning rate that anneals pushes a loss below every power law.
const LOW: f64 = 2.3;
const MIDDLE: f64 = 0.1;
const HIGH: f64 = 0.95;
/// Share of its newest level that a loss which is always above 0 keeps at least.
const LEFT: f64 = 0.1;

/// Offsets and exponents of the power laws, time constants of the exponentials.
const OFFSETS: [f64; 5] = [0.0, 0.003, 0.01, 0.03, 0.08];
const EXPONENTS: [f64; 6] = [0.2, 0.35, 0.5, 0.75, 1.0, 1.5];
const TIME_CONSTANTS: [f64; 5] = [0.03, 0.06, 0.1, 0.2, 0.4];

/// What a loss will be at the planned end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// The value expected.
    pub point: f64,
    /// The 80 % interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// What it would be if nothing changed any more.
    pub stay: f64,
}

/// How a loss comes down, as a function of the share of the run that is over.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Power { offset: f64, exponent: f64 },
    Exponential { time_constant: f64 },
    Logarithm,
}

impl Shape {
    fn all() -> impl Iterator<Item = Self> {
        let powers = OFFSETS
            .into_iter()
            .flat_map(|offset| EXPONENTS.into_iter().map(move |exponent| Self::Power { offset, exponent }));
        let exponentials =
            TIME_CONSTANTS.into_iter().map(|time_constant| Self::Exponential { time_constant });
        powers.chain(exponentials).chain([Self::Logarithm])
    }

    fn at(self, share: f64) -> f64 {
        match self {
            Self::Power { offset, exponent } => (share + offset).powf(-exponent),
            Self::Exponential { time_constant } => (-share / time_constant).exp(),
            Self::Logarithm => -share.ln(),
        }
    }
}

/// A block of rows: the share of the run at its middle, its median, its weight.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Block {
    share: f64,
    value: f64,
    weight: f64,
}

impl Forecast {
    /// Of a curve that was forecast upside down.
    pub fn negated(self) -> Self {
        Self { point: -self.point, low: -self.high, high: -self.low, stay: -self.stay }
    }

    /// Of a curve that comes down and is to end at `planned_steps`. None of few rows, or where nothing
    /// is left to forecast.
    pub fn of(curve: &Outline, planned_steps: i64) -> Option<Self> {
        let (first, last) = (*curve.steps.first()?, *curve.steps.last()?);
        let planned = planned_steps.saturating_sub(first) as f64;
        let progress = last.saturating_sub(first) as f64 / planned;
        if curve.len() < MIN_POINTS || planned <= 0.0 || !(MIN_PROGRESS..1.0).contains(&progress) {
            return None;
        }
        let blocks = blocks(curve, |step| (step - first) as f64 / planned);
        let newest = blocks.last()?;
        let fits: Vec<Fit> = Shape::all().filter_map(|shape| Fit::of(shape, &blocks)).collect();
        let (mean, spread) = blend(&fits, blocks.len())?;
        let stay = median(curve.newest_points(curve.share(0.05, 3)));
        let drop = newest.value - mean;
        let error = (spread.powi(2)
            + (drop / 2.0).powi(2)
            + (0.05 * curve.scale(newest.value)).powi(2)
            + (0.3 * curve.noise()).powi(2))
        .sqrt();
        let best = blocks.iter().map(|block| block.value).fold(f64::INFINITY, f64::min);
        let least = least(&blocks);
        Some(Self {
            point: (mean - MIDDLE * error).min(best).max(least),
            low: (mean - LOW * error).max(if least > 0.0 { 0.0 } else { least }),
            high: (mean + HIGH * error).max(least),
            stay,
        })
    }
}

/// The least a curve is expected to come down to.
fn least(blocks: &[Block]) -> f64 {
    let is_positive = blocks.iter().all(|block| block.value > 0.0);
    blocks.last().filter(|_| is_positive).map_or(f64::NEG_INFINITY, |newest| LEFT * newest.value)
}

/// Medians of blocks whose edges are spaced geometrically.
fn blocks(curve: &Outline, share_of: impl Fn(i64) -> f64) -> Vec<Block> {
    let points = curve.len();
    let skipped = curve.share(SKIPPED, 1);
    let count = BLOCKS.min((points - skipped) / 3).max(1);
    let ratio = points as f64 / skipped as f64;
    let edge = |block: usize| (skipped as f64 * ratio.powf(block as f64 / count as f64)).round() as usize;
    let all = (0..count).filter_map(|block| {
        let (from, to) = (edge(block), edge(block + 1).min(points));
        let middle = curve.steps.get(usize::midpoint(from, to.saturating_sub(1)))?;
        let age = (block + 1) as f64 / count as f64;
        let rows = to.checked_sub(from).filter(|rows| *rows > 0)?;
        Some(Block {
            share: share_of(*middle),
            value: median(&curve.values[from..to]),
            weight: (rows as f64).sqrt() * (OLDEST + (1.0 - OLDEST) * age),
        })
    });
    all.filter(|block| block.share > 0.0).collect()
}

/// A shape fitted to the blocks.
struct Fit {
    /// Its value at the planned end, from the newest level on.
    end: f64,
    squares: f64,
}

impl Fit {
    /// Weighted least squares of level and gain, the gain never below zero.
    fn of(shape: Shape, blocks: &[Block]) -> Option<Self> {
        let total: f64 = blocks.iter().map(|block| block.weight).sum();
        let mean = |of: &dyn Fn(&Block) -> f64| {
            blocks.iter().map(|block| block.weight * of(block)).sum::<f64>() / total
        };
        let (mean_x, mean_y) = (mean(&|block| shape.at(block.share)), mean(&|block| block.value));
        let moment = mean(&|block| (shape.at(block.share) - mean_x).powi(2));
        let product = mean(&|block| (shape.at(block.share) - mean_x) * (block.value - mean_y));
        let gain = if moment > 0.0 { (product / moment).max(0.0) } else { 0.0 };
        let squares = mean(&|block| (block.value - mean_y - gain * (shape.at(block.share) - mean_x)).powi(2));
        let newest = blocks.last()?;
        let end = (newest.value + gain * (shape.at(1.0) - shape.at(newest.share))).max(least(blocks));
        (end.is_finite() && squares.is_finite()).then_some(Self { end, squares })
    }
}

/// Mean and spread of the shapes' ends, weighted by how well they fit.
fn blend(fits: &[Fit], blocks: usize) -> Option<(f64, f64)> {
    let best = fits.iter().map(|fit| fit.squares).min_by(f64::total_cmp)?;
    let weight = |fit: &Fit| {
        let excess = if best > 0.0 { fit.squares / best - 1.0 } else { fit.squares };
        (-(blocks as f64) / 6.0 * excess).exp()
    };
    let total: f64 = fits.iter().map(weight).sum();
    let mean = fits.iter().map(|fit| weight(fit) * fit.end).sum::<f64>() / total;
    let variance = fits.iter().map(|fit| weight(fit) * (fit.end - mean).powi(2)).sum::<f64>() / total;
    total.is_finite().then_some((mean, variance.sqrt()))
}
