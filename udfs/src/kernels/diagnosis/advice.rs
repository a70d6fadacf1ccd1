//! Whether to stop a run, and what that saves.

use super::finding::{Finding, Kind, Level};
use super::forecast::Forecast;
use super::monitor::Judgement;
use super::outline::Outline;
use super::run::Role;

/// Newest rows that are not finite after which a run is lost.
const NAN_ROWS: u64 = 6;
/// Gain over today's best that is worth going on for.
const WORTH: f64 = 0.01;

/// Why a run should be stopped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StopAdvice {
    /// The finding that says so.
    pub kind: Kind,
    /// Its onset.
    pub since_step: i64,
    /// The checkpoint to go back to: the best validation, or the last row before the onset.
    pub checkpoint_step: i64,
    /// The step at which the advice was given.
    pub step: i64,
}

impl StopAdvice {
    /// Whether to stop a run as it is, by what was found; the worst reason first.
    ///
    /// A single look may be hasty: act when two in a row say so.
    pub fn of(run: &Judgement<'_>, findings: &[Finding]) -> Option<Self> {
        let is_reason = |finding: &&Finding| {
            finding.end_step.is_none()
                && match finding.kind {
                    Kind::Nan => finding.level == Level::Error && run.trailing_nan_rows() >= NAN_ROWS,
                    Kind::Divergence | Kind::Overfitting | Kind::GradVanishing => true,
                    Kind::Plateau => finding.level > Level::Info && !is_worth_it(run, finding),
                    _ => false,
                }
        };
        let reason = findings.iter().filter(is_reason).min_by_key(|finding| (finding.kind, finding.step))?;
        Some(Self {
            kind: reason.kind,
            since_step: reason.step,
            checkpoint_step: checkpoint(run, reason),
            step: run.last_step,
        })
    }
}

/// Whether a run on a plateau may still gain enough.
fn is_worth_it(run: &Judgement<'_>, plateau: &Finding) -> bool {
    let loss = &run.outlines[plateau.curve];
    let best = loss.values.iter().copied().fold(f64::INFINITY, f64::min);
    let forecast = run.facts().planned_steps.and_then(|planned| Forecast::of(loss, planned));
    forecast.is_some_and(|forecast| best - forecast.low >= WORTH * loss.scale(best))
}

/// The best validation, or the last row before the onset.
fn checkpoint(run: &Judgement<'_>, reason: &Finding) -> i64 {
    if reason.kind == Kind::Overfitting {
        return reason.step;
    }
    let best = |curve: &Outline| {
        let until = curve.place(reason.step)?;
        let best =
            curve.values[..=until].iter().enumerate().min_by(|left, right| left.1.total_cmp(right.1))?;
        Some(curve.steps[best.0])
    };
    let validation = run.curves(Role::ValLoss).find_map(|(_, curve)| best(curve));
    validation.unwrap_or_else(|| {
        let curve = &run.outlines[reason.curve];
        curve.place(reason.step - 1).map_or(reason.step, |place| curve.steps[place])
    })
}
