//! From where on something is wrong: every threshold of the detectors, with its default.

use serde::{Deserialize, Serialize};

/// A threshold as it is shown: its name, its default and what it limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Its name in the configuration.
    pub name: &'static str,
    /// What it is.
    pub value: f64,
    /// What it limits.
    pub meaning: &'static str,
}

/// Declares the thresholds of one kind, their defaults and what they mean, once.
macro_rules! limits {
    ($(#[doc = $about:literal])+ $kind:ident { $(#[doc = $meaning:literal] $name:ident = $default:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $kind {
            $(#[doc = $meaning] pub $name: f64,)+
        }

        impl Default for $kind {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl $kind {
            /// The thresholds as they are.
            pub fn list(&self) -> Vec<Limit> {
                vec![$(Limit { name: stringify!($name), value: self.$name, meaning: $meaning.trim_ascii() },)+]
            }
        }
    };
}

limits! {
    /// A rise of the loss that comes back.
    LossSpike {
        /// Robust standard deviations above the level at which a rise begins.
        score = 5.5,
        /// Rise, as a share of the level, at which it begins.
        rise = 0.09,
        /// Rise, as a share of the level, up to which one row alone is a hard batch.
        hard_batch_rise = 0.6,
        /// Rise, as a share of the level, from which it is an error.
        error_rise = 1.0,
        /// Rows it may always last.
        max_rows = 30.0,
        /// Share of the rows so far that it may last.
        max_share = 0.06,
        /// Share of the run after a restart of the learning rate in which a rise is expected.
        after_restart = 0.10,
    }
}

limits! {
    /// A rise of the loss that does not come back.
    Divergence {
        /// Rows a loss must have; of fewer, only a runaway is told.
        min_rows = 40.0,
        /// Rows a loss must have in any case.
        short_min_rows = 8.0,
        /// Rows that a runaway must last in a run of fewer than `min_rows`.
        short_rows = 4.0,
        /// Rise over the best, in standard deviations of the noise.
        noise = 3.0,
        /// Rise over the best, as a share of it.
        rise = 0.10,
        /// Rise over the best, as a share of what the run had gained.
        of_range = 0.02,
        /// Rows since the best.
        rows = 15.0,
        /// Share of the rows since the best.
        share = 0.03,
        /// Standard score of the trend since the best.
        trend = 1.2,
        /// How far the newest 4 rows of a runaway are above the best, in times of it.
        runaway = 2.5,
    }
}

limits! {
    /// No gain worth the compute.
    Plateau {
        /// Rows a loss must have.
        min_rows = 50.0,
        /// Points a validation metric must have.
        min_validation_points = 8.0,
        /// Share of the rows that is looked at, the newest.
        window = 0.30,
        /// Share of a validation metric's points in which a gain tells that a training loss only seems to rest.
        validation_window = 0.40,
        /// Gain over the window, as a share of the level, that is too little.
        gain = 0.0095,
        /// The same with its standard error.
        sure_gain = 0.02,
        /// The same of a validation metric, of which there are few points.
        sure_validation_gain = 0.01,
        /// Loss over the window, as a share of the level, that is more than none.
        loss = 0.015,
        /// Share of its peak below which the learning rate has decayed, and a plateau is to be expected.
        decayed_lr = 0.05,
        /// Share of its peak from which a learning rate is high: a loss that rests then rests for another reason.
        high_lr = 0.5,
    }
}

limits! {
    /// Validation turns up while training goes on.
    Overfitting {
        /// Points a validation metric must have.
        min_points = 8.0,
        /// Points since the best.
        points = 4.0,
        /// Rise over the best, as a share of the level.
        rise = 0.03,
        /// Rise over the best, in standard deviations of the noise.
        noise = 2.5,
        /// Standard score of the trend since the best.
        trend = 2.0,
        /// Rise of the training loss, as a share of the level, from which it is no overfitting.
        training_rise = 0.05,
        /// Rise, as a share of the best, from which it is an error.
        error_rise = 0.20,
    }
}

limits! {
    /// A burst of the gradient norm, or growth without end.
    GradExplosion {
        /// Rows a gradient norm must have.
        min_rows = 25.0,
        /// Norm, in times of its median, at which a burst begins.
        ratio = 8.0,
        /// Standard deviations of its logarithm at which it begins.
        score = 5.0,
        /// Norm, in times of its median, below which it is over.
        calm_ratio = 3.0,
        /// Share of the planned run at its start that is left out.
        warmup = 0.03,
        /// Norm, in times of its median, from which it is an error.
        error_ratio = 100.0,
        /// Slow growth over its lowest level, in times of it.
        growth = 12.0,
    }
}

limits! {
    /// A gradient norm that is as good as zero.
    GradVanishing {
        /// Rows a gradient norm must have.
        min_rows = 30.0,
        /// Share of its early level below which it has vanished.
        share = 0.001,
        /// Norm below which it has vanished in any case.
        floor = 1e-7,
        /// Rows it must last.
        rows = 8.0,
        /// Share of the level before it at which the fall began, and at which it is over.
        onset_share = 0.4,
    }
}

limits! {
    /// Fewer steps a second than before.
    ThroughputDrop {
        /// Rows a throughput must have.
        min_rows = 20.0,
        /// Share lost at which it begins.
        drop = 0.22,
        /// Share lost up to which it goes on.
        recovered = 0.15,
        /// Rows it must last.
        rows = 8.0,
        /// Share of the rows so far that it must last.
        share = 0.03,
        /// Share lost from which it is an error.
        error_drop = 0.50,
    }
}

limits! {
    /// Memory that grows steadily, until it is full.
    MemoryLeak {
        /// Rows a memory must have.
        min_rows = 30.0,
        /// Growth, as a share of what there is (or of the most used).
        growth = 0.045,
        /// Share of the variance that the growth explains.
        fit = 0.85,
        /// Standard score of the trend.
        trend = 2.5,
        /// Share in use from which it is about to be full.
        nearly_full = 0.90,
        /// Share in use at which it counts as full.
        full = 0.97,
    }
}

limits! {
    /// A policy that fell apart.
    Policy {
        /// Rows a metric must have.
        min_rows = 40.0,
        /// Rows it must last.
        rows = 8.0,
        /// Share of the rows that it must last.
        share = 0.05,
        /// Share of the reward's rise that is lost.
        reward_lost = 0.45,
        /// Divergence from the reference policy that is always acceptable.
        kl = 0.5,
        /// Divergence, in times of its early level.
        kl_ratio = 3.5,
        /// Entropy, as a share of its early level.
        entropy = 0.22,
        /// Length, as a share of its early level.
        length = 0.40,
    }
}

limits! {
    /// A run that is behind those of its project and group.
    BehindSiblings {
        /// Siblings that came as far, at least.
        min_siblings = 5.0,
        /// Rows a metric must have.
        min_rows = 20.0,
        /// Distance from the median of the siblings, in robust standard deviations of theirs.
        spreads = 3.0,
        /// Distance from the median of the siblings, as a share of the level.
        share = 0.10,
    }
}

impl Plateau {
    /// Those of a validation metric.
    pub fn of_validation(&self) -> Self {
        Self { min_rows: self.min_validation_points, sure_gain: self.sure_validation_gain, ..self.clone() }
    }
}

/// All thresholds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Of [`Kind::LossSpike`](super::Kind::LossSpike).
    pub loss_spike: LossSpike,
    /// Of [`Kind::Divergence`](super::Kind::Divergence).
    pub divergence: Divergence,
    /// Of [`Kind::Plateau`](super::Kind::Plateau).
    pub plateau: Plateau,
    /// Of [`Kind::Overfitting`](super::Kind::Overfitting).
    pub overfitting: Overfitting,
    /// Of [`Kind::GradExplosion`](super::Kind::GradExplosion).
    pub grad_explosion: GradExplosion,
    /// Of [`Kind::GradVanishing`](super::Kind::GradVanishing).
    pub grad_vanishing: GradVanishing,
    /// Of [`Kind::ThroughputDrop`](super::Kind::ThroughputDrop).
    pub throughput_drop: ThroughputDrop,
    /// Of [`Kind::MemoryLeak`](super::Kind::MemoryLeak) and [`Kind::OomRisk`](super::Kind::OomRisk).
    pub memory_leak: MemoryLeak,
    /// Of the four kinds of a policy that fell apart.
    pub policy: Policy,
    /// Of [`Kind::BehindSiblings`](super::Kind::BehindSiblings).
    pub behind_siblings: BehindSiblings,
}
