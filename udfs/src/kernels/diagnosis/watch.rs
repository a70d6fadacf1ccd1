//! One curve under watch.

use super::finding::Episode;
use super::gradient::{Bursts, Vanishing};
use super::limits::Limits;
use super::nan::NonFinite;
use super::run::Role;
use super::schedule::Schedule;
use super::throughput::Drops;
use super::trace::Trace;
use crate::kernels::spike::{SpikeDetector, SpikeEvent};
use serde::{Deserialize, Serialize};

/// Spikes kept of one curve.
const MAX_SPIKES: usize = 1_000;

/// What is kept of a curve: its course, and the state of the rules that judge it row by row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// What the curve means.
    pub role: Role,
    /// Its name in the log.
    pub key: String,
    /// Its course.
    pub trace: Trace,
    rules: Rules,
    /// Rows that are not finite included.
    rows: u64,
    /// Step of the newest row, finite or not.
    last_step: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Rules {
    Loss { non_finite: NonFinite, detector: Box<SpikeDetector>, spikes: Vec<SpikeEvent> },
    Validation(NonFinite),
    GradNorm { non_finite: NonFinite, bursts: Box<Bursts>, vanishing: Box<Vanishing> },
    Lr(Schedule),
    Throughput(Box<Drops>),
    None,
}

impl Rules {
    fn of(role: Role, planned_steps: Option<i64>, limits: &Limits) -> Self {
        match role {
            Role::Loss => Self::Loss {
                non_finite: NonFinite::of_loss(),
                detector: Box::new(SpikeDetector::with_limits(&limits.loss_spike)),
                spikes: Vec::new(),
            },
            Role::ValLoss => Self::Validation(NonFinite::of_loss()),
            Role::GradNorm => Self::GradNorm {
                non_finite: NonFinite::of_grad_norm(),
                bursts: Box::new(Bursts::new(planned_steps, &limits.grad_explosion)),
                vanishing: Box::new(Vanishing::new(&limits.grad_vanishing)),
            },
            Role::Lr => Self::Lr(Schedule::default()),
            Role::Throughput => {
                Self::Throughput(Box::new(Drops::new(planned_steps, &limits.throughput_drop)))
            }
            _ => Self::None,
        }
    }
}

impl Watch {
    /// A curve of which nothing is known yet, in a run of so many steps where that is known.
    pub fn new(role: Role, key: &str, planned_steps: Option<i64>, limits: &Limits) -> Self {
        Self {
            role,
            key: key.to_owned(),
            trace: Trace::default(),
            rules: Rules::of(role, planned_steps, limits),
            rows: 0,
            last_step: None,
        }
    }

    /// Takes the next row, in ascending order of step; `time_s` is NaN where unknown.
    pub fn push(&mut self, step: i64, time_s: f64, value: f64) {
        self.rows += 1;
        self.last_step = Some(step);
        self.trace.push(step, time_s, value);
        match &mut self.rules {
            Rules::Loss { non_finite, detector, spikes } => {
                non_finite.push(step, value);
                let room = MAX_SPIKES.saturating_sub(spikes.len());
                spikes.extend(detector.push(step, value).into_iter().take(room));
            }
            Rules::Validation(non_finite) => non_finite.push(step, value),
            Rules::GradNorm { non_finite, bursts, vanishing } => {
                non_finite.push(step, value);
                bursts.push(step, value);
                if value.is_finite() {
                    vanishing.push(step, value, &self.trace);
                }
            }
            Rules::Lr(schedule) => schedule.push(step, value),
            Rules::Throughput(drops) => drops.push(step, value),
            Rules::None => {}
        }
    }

    /// Rows so far, those that are not finite included.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Step of the newest row, finite or not.
    pub fn last_step(&self) -> Option<i64> {
        self.last_step
    }

    /// Values that are not finite.
    pub fn non_finite(&self) -> Option<&NonFinite> {
        match &self.rules {
            Rules::Loss { non_finite, .. } | Rules::GradNorm { non_finite, .. } => Some(non_finite),
            Rules::Validation(non_finite) => Some(non_finite),
            _ => None,
        }
    }

    /// Spikes of a loss, those that are open included.
    pub fn spikes(&self) -> Vec<Episode> {
        match &self.rules {
            Rules::Loss { detector, spikes, .. } => {
                spikes.iter().cloned().chain(detector.finish()).map(|spike| spike.episode()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Bursts of a gradient norm.
    pub fn bursts(&self) -> Vec<Episode> {
        match &self.rules {
            Rules::GradNorm { bursts, .. } => bursts.episodes(),
            _ => Vec::new(),
        }
    }

    /// Stretches in which a gradient norm was as good as zero.
    pub fn vanishings(&self) -> Vec<Episode> {
        match &self.rules {
            Rules::GradNorm { vanishing, .. } => vanishing.episodes(),
            _ => Vec::new(),
        }
    }

    /// Drops of a throughput.
    pub fn drops(&self) -> Vec<Episode> {
        match &self.rules {
            Rules::Throughput(drops) => drops.episodes(),
            _ => Vec::new(),
        }
    }

    /// The course of a learning rate.
    pub fn schedule(&self) -> Option<&Schedule> {
        match &self.rules {
            Rules::Lr(schedule) => Some(schedule),
            _ => None,
        }
    }
}
