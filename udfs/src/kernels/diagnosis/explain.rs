//! Each kind in words: the rule, its thresholds, and where it comes from.

use super::finding::Kind;
use super::limits::{Limit, Limits};
use crate::kernels::spike::MIN_WINDOW;

impl Kind {
    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::every().find(|kind| kind.as_str() == name)
    }

    /// When it is found.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Nan => {
                "A loss or validation loss that is not finite, or a gradient norm that is not for 3 rows in a row; single rows of a gradient norm are a fact (a loss scaler tries out its scale)."
            }
            Self::LossSpike => {
                "A row far above the median of the 48 accepted rows before it, in standard deviations of how far rows usually lie from it, that comes back. Few rows that recur or are no higher than what is usual are a fact."
            }
            Self::Divergence => {
                "The newest level is far above the best one, has stayed there, and rises; or the newest 4 rows are a runaway. In a run of few rows: it has been far above the best, and above all before that, for the newest rows."
            }
            Self::Plateau => {
                "The loss gained nothing over the newest rows, and surely so. Where the learning rate has decayed, and the loss did not rest before, it is a fact."
            }
            Self::Overfitting => {
                "Validation is worse than its best, rises since, and the training loss did not rise as well. The onset is the checkpoint to keep."
            }
            Self::GradExplosion => {
                "The gradient norm is far above the median of the 96 accepted rows before it, on a logarithmic scale; or it has grown slowly without end."
            }
            Self::GradVanishing => "The gradient norm is as good as zero, next to what it was early on.",
            Self::ThroughputDrop => {
                "Throughput is lower than in the last 200 healthy rows, for longer than a checkpoint or an evaluation takes."
            }
            Self::MemoryLeak => {
                "Memory grows steadily: a flat line and then a rise fit it, the rise is spread evenly and has no great step."
            }
            Self::OomRisk => {
                "A leak with memory nearly full, or full before the planned end. Needs the planned length and the memory there is."
            }
            Self::RewardCollapse => "The reward lost much of what it had gained, to the newest row.",
            Self::KlBlowup => {
                "The divergence from the reference policy is large, and many times what it was, to the newest row."
            }
            Self::EntropyCollapse => {
                "The entropy of the policy is a fraction of what it was, to the newest row."
            }
            Self::LengthCollapse => "Answers are a fraction as long as they were, to the newest row.",
            Self::Resume => {
                "The run was resumed and its steps go back: later rows count. A fact, never an alarm."
            }
            Self::BehindSiblings => {
                "The best level of the training loss is worse than the median of the runs of the same project and group at the same step. A fact: some runs of a sweep are always behind."
            }
        }
    }

    /// The literature behind the rule.
    pub fn source(self) -> &'static str {
        match self {
            Self::Nan => "common practice; loss scaling: Micikevicius et al. 2018",
            Self::LossSpike => {
                "Chowdhery et al. 2022 (PaLM), OLMo 2 2025, ZClip 2025; robust scores: Hampel 1974"
            }
            Self::Divergence => {
                "Zhang et al. 2022 (OPT), Molybog et al. 2023; trend: Mann 1945, Kendall 1975"
            }
            Self::Plateau => "slope: Theil 1950, Sen 1968",
            Self::Overfitting => "Prechelt 1998; trend: Mann 1945, Kendall 1975",
            Self::GradExplosion => "Zeng et al. 2022 (GLM-130B), AdaGC 2025, SPAM 2025",
            Self::GradVanishing => "Hochreiter 1991; common practice",
            Self::ThroughputDrop | Self::MemoryLeak | Self::OomRisk => {
                "common practice; robust statistics: Hampel 1974"
            }
            Self::RewardCollapse | Self::KlBlowup => "Gao et al. 2022, Zheng et al. 2023",
            Self::EntropyCollapse | Self::LengthCollapse => "Yu et al. 2025 (DAPO), Cui et al. 2025",
            Self::Resume => "common practice",
            Self::BehindSiblings => "median rule: Golovin et al. 2017 (Vizier)",
        }
    }

    /// Its section in the configuration and the thresholds there.
    pub fn limits(self, limits: &Limits) -> (&'static str, Vec<Limit>) {
        match self {
            Self::Nan | Self::Resume => (self.as_str(), Vec::new()),
            Self::LossSpike => ("loss_spike", limits.loss_spike.list()),
            Self::Divergence => ("divergence", limits.divergence.list()),
            Self::Plateau => ("plateau", limits.plateau.list()),
            Self::Overfitting => ("overfitting", limits.overfitting.list()),
            Self::GradExplosion => ("grad_explosion", limits.grad_explosion.list()),
            Self::GradVanishing => ("grad_vanishing", limits.grad_vanishing.list()),
            Self::ThroughputDrop => ("throughput_drop", limits.throughput_drop.list()),
            Self::MemoryLeak | Self::OomRisk => ("memory_leak", limits.memory_leak.list()),
            Self::RewardCollapse | Self::KlBlowup | Self::EntropyCollapse | Self::LengthCollapse => {
                ("policy", limits.policy.list())
            }
            Self::BehindSiblings => ("behind_siblings", limits.behind_siblings.list()),
        }
    }

    /// The roles of which it needs one.
    pub fn roles(self) -> &'static [super::Role] {
        use super::Role;
        match self {
            Self::Nan => &[Role::Loss, Role::ValLoss, Role::GradNorm],
            Self::LossSpike | Self::Divergence | Self::BehindSiblings => &[Role::Loss],
            Self::Plateau => &[Role::Loss, Role::ValLoss],
            Self::Overfitting => &[Role::ValLoss, Role::ValScore],
            Self::GradExplosion | Self::GradVanishing => &[Role::GradNorm],
            Self::ThroughputDrop => &[Role::Throughput],
            Self::MemoryLeak | Self::OomRisk => &[Role::Memory],
            Self::RewardCollapse => &[Role::Reward],
            Self::KlBlowup => &[Role::Kl],
            Self::EntropyCollapse => &[Role::Entropy],
            Self::LengthCollapse => &[Role::Length],
            Self::Resume => &Role::ALL,
        }
    }

    /// Rows that a metric must have for it.
    pub fn min_rows(self, limits: &Limits) -> f64 {
        match self {
            Self::Nan | Self::Resume => 1.0,
            Self::BehindSiblings => limits.behind_siblings.min_rows,
            Self::LossSpike => 1.0 + MIN_WINDOW as f64,
            Self::Divergence => limits.divergence.short_min_rows,
            Self::Plateau => limits.plateau.min_validation_points,
            Self::Overfitting => limits.overfitting.min_points,
            Self::GradExplosion => limits.grad_explosion.min_rows,
            Self::GradVanishing => limits.grad_vanishing.min_rows,
            Self::ThroughputDrop => limits.throughput_drop.min_rows,
            Self::MemoryLeak | Self::OomRisk => limits.memory_leak.min_rows,
            _ => limits.policy.min_rows,
        }
    }
}
