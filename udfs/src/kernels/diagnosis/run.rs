//! A run as the detectors see it.

use super::outline::Outline;
use super::trace::Trace;
use serde::{Deserialize, Serialize};

/// What a metric means to the diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// A training loss.
    Loss,
    /// A validation metric, the lower the better.
    ValLoss,
    /// A validation metric, the higher the better.
    ValScore,
    /// The norm of the gradient.
    GradNorm,
    /// The learning rate.
    Lr,
    /// Work done in a second.
    Throughput,
    /// Memory of the accelerator, in any unit.
    Memory,
    /// The reward of a policy.
    Reward,
    /// Divergence of a policy from its reference.
    Kl,
    /// Entropy of a policy.
    Entropy,
    /// Length of a policy's answers.
    Length,
}

impl Role {
    /// All roles, those a run is judged by first.
    pub const ALL: [Self; 11] = [
        Self::Loss,
        Self::ValLoss,
        Self::ValScore,
        Self::GradNorm,
        Self::Lr,
        Self::Throughput,
        Self::Memory,
        Self::Reward,
        Self::Kl,
        Self::Entropy,
        Self::Length,
    ];

    /// Whether only a policy has it.
    pub fn is_of_policy(self) -> bool {
        matches!(self, Self::Reward | Self::Kl | Self::Entropy | Self::Length)
    }

    /// The role as it is written, such as `val_loss`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::ValLoss => "val_loss",
            Self::ValScore => "val_score",
            Self::GradNorm => "grad_norm",
            Self::Lr => "lr",
            Self::Throughput => "throughput",
            Self::Memory => "memory",
            Self::Reward => "reward",
            Self::Kl => "kl",
            Self::Entropy => "entropy",
            Self::Length => "length",
        }
    }
}

/// A metric: its rows in ascending order of step, each step once.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What it means.
    pub role: Role,
    /// Its name in the log.
    pub key: String,
    /// Steps of the rows.
    pub steps: Vec<i64>,
    /// Values of the rows, NaN and infinities as logged.
    pub values: Vec<f64>,
    /// Times of the rows in seconds since some instant, NaN where unknown; empty when none is known.
    pub times_s: Vec<f64>,
}

/// What is known of a run beside its curves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The step at which it is to end.
    pub planned_steps: Option<i64>,
    /// Memory of the accelerator, in the unit of the curves of [`Role::Memory`].
    pub memory_capacity: Option<f64>,
    /// Accelerators it runs on.
    pub gpu_count: Option<u32>,
    /// Steps at which it was resumed.
    pub resumed_at: Vec<i64>,
}

/// A run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// What is known beside the curves.
    pub facts: Facts,
    /// Its metrics.
    pub curves: Vec<Curve>,
}

impl Curve {
    /// Its rows: step, time in seconds (NaN where unknown), value.
    pub fn rows(&self) -> impl Iterator<Item = (i64, f64, f64)> + '_ {
        let times = self.times_s.iter().copied().chain(std::iter::repeat(f64::NAN));
        self.steps.iter().zip(times).zip(&self.values).map(|((step, time), value)| (*step, time, *value))
    }

    /// Its course.
    pub fn outline(&self) -> Outline {
        let mut trace = Trace::default();
        self.rows().for_each(|(step, time_s, value)| trace.push(step, time_s, value));
        trace.outline()
    }

    /// The rows up to a step.
    fn until(&self, step: i64) -> Self {
        let rows = self.steps.partition_point(|other| *other <= step);
        Self {
            role: self.role,
            key: self.key.clone(),
            steps: self.steps[..rows].to_vec(),
            values: self.values[..rows].to_vec(),
            times_s: self.times_s.iter().take(rows).copied().collect(),
        }
    }
}

impl Run {
    /// The run as it was at a step.
    pub fn until(&self, step: i64) -> Self {
        let mut facts = self.facts.clone();
        facts.resumed_at.retain(|other| *other <= step);
        Self { facts, curves: self.curves.iter().map(|curve| curve.until(step)).collect() }
    }
}
