//! Losses as training makes them: a family's law in the learning rate spent so far, a schedule, noise.

use crate::random::Random;
use runq_udfs::kernels::diagnosis::{Curve, Facts, Role, Run};

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// A language model from scratch.
    Pretrain,
    /// A few epochs over little data: the loss drops where an epoch starts.
    Finetune,
    /// Classification, with validation loss and accuracy.
    Vision,
    /// Two losses that chase each other around a level.
    Gan,
    /// A policy: reward, KL, entropy, length; a policy loss around 0.
    Rl,
    /// A likelihood or a contrastive loss that goes below 0.
    Negative,
    /// A regression whose loss ends near 0, under a learning rate that decays.
    NearZero,
}

/// One metric on the grid of rows of the whole run.
pub struct Track {
    /// What it means.
    pub role: Role,
    /// Its name in the log.
    pub key: &'static str,
    /// Without noise, to the planned end.
    pub clean: Vec<f64>,
    /// As measured.
    pub values: Vec<f64>,
    /// Which rows are logged.
    pub logged: Vec<bool>,
    /// Decimals it is rounded to in the log.
    pub decimals: Option<i32>,
}

impl Track {
    /// A metric that is logged in each row, before any noise.
    pub fn new(role: Role, key: &'static str, clean: Vec<f64>) -> Self {
        let rows = clean.len();
        Self { role, key, values: clean.clone(), clean, logged: vec![true; rows], decimals: None }
    }

    /// Distance between start and best: what a relative change near 0 is measured against.
    pub fn range(&self) -> f64 {
        let start = mean(&self.clean[..self.clean.len().div_ceil(20)]);
        (start - self.clean.iter().copied().fold(f64::INFINITY, f64::min)).abs()
    }

    /// The least that a relative change is measured against.
    pub fn floor(&self) -> f64 {
        (0.1 * self.range()).max(1e-12)
    }

    /// What a relative change at this row is measured against.
    pub fn scale(&self, row: usize) -> f64 {
        self.clean[row].abs().max(self.floor())
    }

    /// The least that noise is relative to.
    fn least_unit(&self) -> f64 {
        // A loss that is never below 0 is not so by its noise either.
        let is_positive = self.clean.iter().all(|value| *value > 0.0);
        if is_positive { 0.0 } else { self.floor() }
    }

    /// Adds noise that is relative to the unit.
    pub fn disturb(&mut self, noise: &[f64]) {
        let least = self.least_unit();
        for ((value, clean), noise) in self.values.iter_mut().zip(&self.clean).zip(noise) {
            *value = clean + noise * clean.abs().max(least);
        }
    }

    /// Raises single rows to above their truth, by shares of the unit.
    pub fn raise(&mut self, rises: &[(usize, f64)]) {
        let least = self.least_unit();
        for (row, rise) in rises {
            self.values[*row] = self.clean[*row] + rise * self.clean[*row].abs().max(least);
        }
    }

    /// Adds noise that is relative to the value and keeps its sign: the logarithm is disturbed.
    pub fn disturb_log(&mut self, noise: &[f64]) {
        for ((value, clean), noise) in self.values.iter_mut().zip(&self.clean).zip(noise) {
            *value = clean * noise.exp();
        }
    }

    /// Adds to the truth and to the measurement alike.
    pub fn shift(&mut self, row: usize, by: f64) {
        self.clean[row] += by;
        self.values[row] += by;
    }

    /// Moves the truth of one row, and the measurement by as much.
    pub fn move_to(&mut self, row: usize, clean: f64) {
        self.shift(row, clean - self.clean[row]);
    }
}

/// Noise of a metric, in shares of its scale.
#[derive(Clone, Copy)]
pub struct Noise {
    /// Standard deviation over all rows.
    pub sd: f64,
    /// Correlation of neighbouring rows.
    pub phi: f64,
    /// Student's t with 3 degrees of freedom instead of a normal.
    pub heavy: bool,
    /// Batches of a second kind: how often, and how much higher.
    pub second: Option<(f64, f64)>,
    /// Standard deviation of slow waves, as the order of the data makes them.
    pub wander: f64,
    /// The most it is off.
    pub most: f64,
}

/// Share of the run after which a slow wave has forgotten where it was.
const WAVE: f64 = 0.03;

impl Noise {
    /// Noise of a training loss.
    pub fn of_loss(family: Family, random: &mut Random) -> Self {
        let (low, high) = match family {
            Family::Pretrain => (0.002, 0.03),
            Family::Finetune => (0.015, 0.12),
            Family::Vision | Family::NearZero => (0.005, 0.08),
            Family::Gan => (0.05, 0.2),
            Family::Negative | Family::Rl => (0.005, 0.05),
        };
        let phi = if random.chance(0.5) { 0.0 } else { random.pick(&[0.2, 0.4, 0.6, 0.8, 0.9, 0.95]) };
        let sd = random.log_between(low, high);
        // Who smooths a log sees less noise.
        let sd = if phi > 0.7 { sd.min(0.015) } else { sd };
        let wander = if random.chance(0.3) { random.log_between(0.001, 0.006) } else { 0.0 };
        let mixes = matches!(family, Family::Vision | Family::Pretrain) && phi < 0.3 && random.chance(0.2);
        let second = mixes.then(|| (random.between(0.12, 0.45), random.between(0.08, 0.35)));
        Self { sd, phi, heavy: random.chance(0.25), second, wander, most: 0.45 }
    }

    /// Noise of another metric.
    pub fn of(sd: f64, phi: f64, heavy: bool) -> Self {
        Self { sd, phi, heavy, second: None, wander: 0.0, most: 6.0 * sd }
    }

    /// One number a row.
    pub fn series(&self, rows: usize, random: &mut Random) -> Vec<f64> {
        let innovation = self.sd * (1.0 - self.phi * self.phi).sqrt();
        let kept = (-1.0 / (WAVE * rows as f64)).exp();
        let drift = self.wander * (1.0 - kept * kept).sqrt();
        let (mut state, mut wave) = (0.0, 0.0);
        let mut next = |random: &mut Random| {
            let drawn = if self.heavy { random.heavy().clamp(-6.0, 6.0) } else { random.normal() };
            state = self.phi * state + innovation * drawn;
            let second = self.second.map_or(0.0, |(often, high)| high * f64::from(random.chance(often)));
            if self.wander > 0.0 {
                wave = kept * wave + drift * random.normal();
            }
            (state + wave + second).clamp(-self.most, self.most)
        };
        (0..rows).map(|_| next(random)).collect()
    }

    /// Standard deviation with the second kind of batches in it.
    pub fn total_sd(&self) -> f64 {
        let second = self.second.map_or(0.0, |(often, high)| high * high * often * (1.0 - often));
        (self.sd * self.sd + second).sqrt()
    }

    /// Standard error of the mean of the last 30 % of so many rows, at least.
    pub fn standard_error(&self, rows: usize) -> f64 {
        let rows = rows * 3 / 10;
        let correlated = self.sd * ((1.0 + self.phi) / (1.0 - self.phi)).sqrt();
        let second = self.total_sd().powi(2) - self.sd * self.sd;
        let slow = self.wander * self.wander * (2.0 * WAVE / 0.3);
        ((correlated * correlated + second) / rows.max(1) as f64 + slow).sqrt()
    }
}

/// A run as it goes on to its planned end. What a log holds is the start of it.
pub struct Course {
    /// What is trained.
    pub family: Family,
    /// Steps of the rows.
    pub steps: Vec<i64>,
    /// The step at which it is to end.
    pub planned: i64,
    /// Rows that the log has.
    pub logged_rows: usize,
    /// Learning rate, as a share of its peak.
    pub lr: Vec<f64>,
    /// Noise of the training loss.
    pub noise: Noise,
    /// Steps a second in the interval that ends with the row.
    pub rate: Vec<f64>,
    /// Rows before which the run lay still, and for how many seconds.
    pub downtime: Vec<(usize, f64)>,
    /// Whether some batches are harder than others.
    pub has_hard_batches: bool,
    /// Whether rows have a time.
    pub is_timed: bool,
    /// Whether the log says the planned end.
    pub knows_plan: bool,
    /// Memory of the accelerator, where the log says it.
    pub capacity: Option<f64>,
    /// Memory of the accelerator.
    pub memory_size: f64,
    /// The metrics, each key once.
    pub tracks: Vec<Track>,
}

impl Course {
    /// Rows to the planned end.
    pub fn rows(&self) -> usize {
        self.steps.len()
    }

    /// The first metric of a role.
    pub fn find(&mut self, role: Role) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.role == role)
    }

    /// Seconds since the start in which the run was up, for each row.
    pub fn active_s(&self) -> Vec<f64> {
        let mut now = 0.0;
        let mut last = self.steps[0] - (self.steps.get(1).unwrap_or(&1) - self.steps[0]).max(1);
        let mut add = |(step, rate): (&i64, &f64)| {
            now += (step - last) as f64 / rate;
            last = *step;
            now
        };
        self.steps.iter().zip(&self.rate).map(&mut add).collect()
    }

    /// The log after so many rows.
    pub fn log(&self, rows: usize) -> Run {
        let mut times = self.active_s();
        for (row, seconds) in &self.downtime {
            times.iter_mut().skip(*row).for_each(|time| *time += seconds);
        }
        let curve = |track: &Track| {
            let kept: Vec<usize> = (0..rows).filter(|row| track.logged[*row]).collect();
            Curve {
                role: track.role,
                key: track.key.to_string(),
                steps: kept.iter().map(|row| self.steps[*row]).collect(),
                values: kept.iter().map(|row| rounded(track.values[*row], track.decimals)).collect(),
                times_s: if self.is_timed {
                    kept.iter().map(|row| times[*row]).collect()
                } else {
                    Vec::new()
                },
            }
        };
        let downtime = self.downtime.iter().filter(|(row, _)| *row < rows);
        let facts = Facts {
            planned_steps: self.knows_plan.then_some(self.planned),
            memory_capacity: self.capacity,
            gpu_count: None,
            resumed_at: downtime.map(|(row, _)| self.steps[*row]).collect(),
        };
        let curves = self.tracks.iter().map(curve).filter(|curve| !curve.steps.is_empty()).collect();
        Run { facts, curves }
    }
}

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn rounded(value: f64, decimals: Option<i32>) -> f64 {
    decimals.map_or(value, |decimals| (value * 10_f64.powi(decimals)).round() / 10_f64.powi(decimals))
}

/// How the learning rate goes after its warmup.
#[derive(Clone, Copy, PartialEq)]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls along a cosine to a share of the peak.
    Cosine(f64),
    /// Stays, then falls linearly to 0 over the last share of the run.
    StableDecay(f64),
    /// Falls linearly to 0.
    Linear,
    /// Falls to a tenth at two or three places.
    Steps(f64),
    /// So many cosines after each other (Loshchilov and Hutter 2017).
    Restarts(usize),
}

impl Schedule {
    /// One that a family is trained under.
    pub fn of(family: Family, random: &mut Random) -> Self {
        let floor = random.pick(&[0.0, 0.0, 0.01, 0.1]);
        let all = [
            Self::Constant,
            Self::Cosine(floor),
            Self::StableDecay(random.between(0.08, 0.3)),
            Self::Linear,
            Self::Steps(random.between(0.3, 0.55)),
            Self::Restarts(random.count(2, 5)),
        ];
        match family {
            Family::Pretrain => random.pick(&[all[0], all[1], all[1], all[2], all[2], all[3], all[4]]),
            Family::Finetune => random.pick(&[all[0], all[1], all[3], all[3]]),
            Family::Vision => random.pick(&[all[0], all[1], all[4], all[4], all[5]]),
            Family::NearZero => random.pick(&[all[1], all[3], all[4]]),
            Family::Gan | Family::Rl => random.pick(&[all[0], all[3]]),
            Family::Negative => random.pick(&all),
        }
    }

    /// Share of the peak at a share of the run.
    pub fn at(self, share: f64, warmup: f64) -> f64 {
        if share < warmup {
            return (share / warmup).max(1e-3);
        }
        let after = (share - warmup) / (1.0 - warmup);
        let cosine = |x: f64| 0.5 + 0.5 * (std::f64::consts::PI * x.min(1.0)).cos();
        match self {
            Self::Constant => 1.0,
            Self::Cosine(floor) => floor + (1.0 - floor) * cosine(after),
            Self::StableDecay(last) => ((1.0 - share) / last).clamp(0.0, 1.0),
            Self::Linear => 1.0 - after,
            Self::Steps(first) => 0.1_f64
                .powi([first, first + 0.25, first + 0.4].iter().filter(|at| share >= **at).count() as i32),
            Self::Restarts(cycles) => cosine((after * cycles as f64).fract()),
        }
    }
}

/// How the part of the loss that can be learned shrinks with the learning rate spent.
#[derive(Clone, Copy)]
enum Law {
    Power { offset: f64, exponent: f64 },
    Exponential { constant: f64 },
    Both { offset: f64, exponent: f64, constant: f64 },
}

impl Law {
    fn of(family: Family, random: &mut Random) -> Self {
        let power = match family {
            Family::Pretrain => (random.log_between(0.0005, 0.02), random.between(0.3, 0.7)),
            _ => (random.log_between(0.002, 0.1), random.between(0.3, 1.0)),
        };
        let constant =
            if family == Family::NearZero { random.between(0.04, 0.12) } else { random.between(0.08, 0.45) };
        match (family, random.count(0, 2)) {
            (Family::NearZero, _) | (Family::Finetune | Family::Vision | Family::Negative, 0) => {
                Self::Exponential { constant }
            }
            (Family::Pretrain, _) | (_, 1) => Self::Power { offset: power.0, exponent: power.1 },
            _ => Self::Both { offset: power.0, exponent: power.1, constant },
        }
    }

    fn left(self, spent: f64) -> f64 {
        let power = |offset: f64, exponent: f64| (1.0 + spent / offset).powf(-exponent);
        match self {
            Self::Power { offset, exponent } => power(offset, exponent),
            Self::Exponential { constant } => (-spent / constant).exp(),
            Self::Both { offset, exponent, constant } => {
                0.6 * power(offset, exponent) + 0.4 * (-spent / constant).exp()
            }
        }
    }
}

/// A training loss without noise, and its learning rate.
pub struct Learning {
    /// Learning rate, as a share of its peak.
    pub lr: Vec<f64>,
    /// The loss.
    pub loss: Vec<f64>,
    /// The loss as fresh data sees it.
    pub fresh: Vec<f64>,
}

/// Start and lowest possible end of a family's loss.
fn ends(family: Family, random: &mut Random) -> (f64, f64) {
    match family {
        Family::Pretrain => (random.between(7.0, 11.5), random.between(1.4, 3.0)),
        Family::Finetune => {
            let start = random.log_between(0.6, 3.0);
            (start, start * random.between(0.25, 0.75))
        }
        Family::Vision => {
            let start = random.between(0.7, 7.0);
            (start, start * random.log_between(0.02, 0.5))
        }
        Family::Negative => (random.between(-0.5, 5.0), random.between(-9.0, -1.0)),
        Family::NearZero => {
            let start = random.log_between(1e-3, 10.0);
            (start, start * random.log_between(1e-4, 3e-3))
        }
        Family::Gan | Family::Rl => (1.0, 0.8),
    }
}

/// What a family learns in so many rows. Noise from the learning rate lies under the loss: it goes
/// when the rate falls, and comes back with a restart.
pub fn learn(family: Family, rows: usize, random: &mut Random) -> Learning {
    let schedule = Schedule::of(family, random);
    let warmup = if random.chance(0.6) { random.log_between(0.003, 0.08) } else { 0.0 };
    let lr: Vec<f64> = (0..rows).map(|row| schedule.at(row as f64 / rows as f64, warmup)).collect();
    let law = Law::of(family, random);
    let (start, end) = ends(family, random);
    let floor = match family {
        Family::Vision if matches!(schedule, Schedule::Steps(_)) => random.between(0.05, 0.5),
        _ if matches!(schedule, Schedule::Restarts(_)) => random.between(0.03, 0.3),
        Family::Vision | Family::Negative => random.between(0.0, 0.1),
        Family::NearZero => random.between(0.0, 0.5),
        _ => random.between(0.0, 0.06),
    };
    let lag = random.log_between(0.002, 0.02) * rows as f64;
    let late = if random.chance(0.1) { random.between(0.05, 0.25) } else { 0.0 };
    let (mut spent, mut heat) = (0.0, 1.0);
    let mut fresh = Vec::with_capacity(rows);
    for (row, lr) in lr.iter().enumerate() {
        let share = row as f64 / rows as f64;
        // Some runs sit still before they take off.
        spent += lr / rows as f64 * if share < late { 0.03 } else { 1.0 };
        let warm = if share < warmup { 1.0 } else { *lr };
        heat += (warm - heat) / (1.0 + lag);
        let level = end + (start - end) * law.left(spent);
        fresh.push(level + floor * heat * level.abs().max(0.1 * (start - end)) * 0.5);
    }
    let loss = sawtooth(family, &fresh, end, random);
    Learning { lr, loss, fresh }
}

/// Data seen again is known better: the loss drops where an epoch starts.
fn sawtooth(family: Family, fresh: &[f64], end: f64, random: &mut Random) -> Vec<f64> {
    let rows = fresh.len();
    let epochs = random.count(2, 8);
    if family != Family::Finetune || rows < 20 * epochs || random.chance(0.2) {
        return fresh.to_vec();
    }
    let drop = random.between(0.03, 0.15);
    let at = |row: usize| {
        let kept = (1.0 - drop).powi((row * epochs / rows) as i32);
        (fresh[row] - 0.5 * end) * kept + 0.5 * end
    };
    (0..rows).map(at).collect()
}
