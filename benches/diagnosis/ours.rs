//! The detectors of `runq-udfs`.

use super::score::{Eta, Forecast, Judge};
use runq_udfs::kernels::diagnosis::{
    self, Curve, Finding, Judgement, Limits, Monitor, Outline, Role, Run, StopAdvice,
};

/// Ours.
pub const OURS: Judge =
    Judge { name: "runq", diagnose, forecast: Some(forecast), eta: Some(eta), stop: Some(stop) };

fn diagnose(run: &Run) -> Vec<Finding> {
    let limits = Limits::default();
    Monitor::of(run, &limits).findings(&limits)
}

fn outline(steps: &[i64], times_s: &[f64], values: &[f64]) -> Outline {
    let (steps, values, times_s) = (steps.to_vec(), values.to_vec(), times_s.to_vec());
    Curve { role: Role::Loss, key: String::new(), steps, values, times_s }.outline()
}

fn forecast(steps: &[i64], values: &[f64], planned: i64) -> Option<Forecast> {
    let forecast = diagnosis::Forecast::of(&outline(steps, &[], values), planned)?;
    Some(Forecast { point: forecast.point, low: forecast.low, high: forecast.high })
}

fn eta(steps: &[i64], times_s: &[f64], resumed_at: &[i64], planned: i64) -> Option<Eta> {
    let eta =
        diagnosis::Eta::of(&outline(steps, times_s, &vec![0.0; steps.len()]), Some(planned), resumed_at)?;
    let left = eta.left?;
    Some(Eta { eta_s: left.eta_s, low_s: left.low_s, high_s: left.high_s })
}

fn stop(run: &Run) -> bool {
    let limits = Limits::default();
    let monitor = Monitor::of(run, &limits);
    let judgement = Judgement::new(&monitor, &limits);
    StopAdvice::of(&judgement, &judgement.findings()).is_some()
}
