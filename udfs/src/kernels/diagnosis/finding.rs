//! What a detector says.

use super::outline::Outline;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How bad a finding is; the worst compares greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// A fact worth a line.
    Info,
    /// Act; the run may be saved.
    Warn,
    /// Stop and change approach.
    Error,
}

impl Level {
    /// All levels, the mildest first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warn, Self::Error];

    /// The level as it is written in tables: `info`, `warn` or `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A loss or gradient norm that is not finite.
    Nan,
    /// A rise of the loss that comes back.
    LossSpike,
    /// A rise of the loss that does not come back.
    Divergence,
    /// No gain worth the compute.
    Plateau,
    /// Validation turns up while training goes on.
    Overfitting,
    /// A burst of the gradient norm, or growth without end.
    GradExplosion,
    /// A gradient norm that is as good as zero.
    GradVanishing,
    /// Fewer steps a second than before.
    ThroughputDrop,
    /// Memory that grows steadily.
    MemoryLeak,
    /// Memory that will be full before the run ends.
    OomRisk,
    /// A reward that lost what it had gained.
    RewardCollapse,
    /// A policy that ran away from its reference.
    KlBlowup,
    /// A policy that always does the same.
    EntropyCollapse,
    /// Answers that became short.
    LengthCollapse,
    /// A step that goes back: the run was resumed.
    Resume,
    /// A run that is behind those of its project and group.
    BehindSiblings,
}

impl Kind {
    /// The kinds that one curve tells of, in the order of the table of events.
    pub const ALL: [Self; 14] = [
        Self::Nan,
        Self::LossSpike,
        Self::Divergence,
        Self::Plateau,
        Self::Overfitting,
        Self::GradExplosion,
        Self::GradVanishing,
        Self::ThroughputDrop,
        Self::MemoryLeak,
        Self::OomRisk,
        Self::RewardCollapse,
        Self::KlBlowup,
        Self::EntropyCollapse,
        Self::LengthCollapse,
    ];

    /// The kinds that take more than one curve.
    pub const OF_RUNS: [Self; 2] = [Self::Resume, Self::BehindSiblings];

    /// Every kind there is.
    pub fn every() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().chain(Self::OF_RUNS)
    }

    /// The kind as it is written in tables, such as `loss_spike`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nan => "nan",
            Self::LossSpike => "loss_spike",
            Self::Divergence => "divergence",
            Self::Plateau => "plateau",
            Self::Overfitting => "overfitting",
            Self::GradExplosion => "grad_explosion",
            Self::GradVanishing => "grad_vanishing",
            Self::ThroughputDrop => "throughput_drop",
            Self::MemoryLeak => "memory_leak",
            Self::OomRisk => "oom_risk",
            Self::RewardCollapse => "reward_collapse",
            Self::KlBlowup => "kl_blowup",
            Self::EntropyCollapse => "entropy_collapse",
            Self::LengthCollapse => "length_collapse",
            Self::Resume => "resume",
            Self::BehindSiblings => "behind_siblings",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// How bad it is.
    pub level: Level,
    /// Place of its curve in the run's [`curves`](super::Run::curves).
    pub curve: usize,
    /// The onset.
    pub step: i64,
    /// Where it was over; none while it goes on.
    pub end_step: Option<i64>,
    /// The row at which the rule first held.
    pub detected_step: i64,
    /// The value that stands out: a peak, a lowest, what it is now. In the unit of the metric.
    pub value: f64,
    /// What it is measured against, in the unit of the metric.
    pub baseline: f64,
    /// How far beyond, in the unit of the kind's rule (mostly robust standard deviations).
    pub score: f64,
    /// Rows it lasted.
    pub rows: u64,
}

/// What a rule says of a stretch of rows of one curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// How bad it is.
    pub level: Level,
    /// The onset.
    pub step: i64,
    /// The last row of it; none while it goes on.
    pub end_step: Option<i64>,
    /// The row at which the rule first held.
    pub detected_step: i64,
    /// The value that stands out.
    pub value: f64,
    /// What it is measured against.
    pub baseline: f64,
    /// How far beyond.
    pub score: f64,
    /// Rows it lasted.
    pub rows: u64,
}

impl Episode {
    /// One that begins at a point of a curve and lasts to its end, with its value, what that is measured
    /// against, and how far beyond it is.
    pub fn to_the_end(
        curve: &Outline,
        onset: usize,
        level: Level,
        [value, baseline, score]: [f64; 3],
    ) -> Option<Self> {
        Some(Self {
            level,
            step: *curve.steps.get(onset)?,
            end_step: None,
            detected_step: *curve.steps.last()?,
            value,
            baseline,
            score,
            rows: curve.rows_since(onset),
        })
    }

    /// Of a curve that was judged upside down.
    pub fn negated(self) -> Self {
        Self { value: -self.value, baseline: -self.baseline, ..self }
    }
}

impl Finding {
    /// What a rule found in a curve.
    pub fn new(kind: Kind, curve: usize, episode: &Episode) -> Self {
        Self {
            kind,
            level: episode.level,
            curve,
            step: episode.step,
            end_step: episode.end_step,
            detected_step: episode.detected_step,
            value: episode.value,
            baseline: episode.baseline,
            score: episode.score,
            rows: episode.rows,
        }
    }

    /// Whether both go on at one step.
    pub fn overlaps(&self, other: &Self) -> bool {
        let end = |finding: &Self| finding.end_step.unwrap_or(i64::MAX);
        self.step <= end(other) && other.step <= end(self)
    }
}
