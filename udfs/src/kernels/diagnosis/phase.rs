//! The phases of a run: one at a time, and why it changed.

use super::divergence::divergence;
use super::finding::{Finding, Kind, Level};
use super::limits::Limits;
use super::monitor::Judgement;
use super::outline::Outline;
use super::overfitting::overfitting;
use super::plateau::plateau;
use super::robust::{centred_medians, median, trailing_medians};
use super::run::Role;
use super::text::{digits, percent};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Too few rows to tell.
    Initializing,
    /// The learning rate rises to its first peak.
    Warmup,
    /// Much is gained.
    LearningFast,
    /// Something is gained.
    StableConvergence,
    /// Nothing worth the compute is gained.
    Plateau,
    /// Validation gets worse.
    OverfittingRisk,
    /// Spikes of the loss, bursts of the gradient.
    Unstable,
    /// The loss goes up for good, or is not finite.
    Diverging,
    /// The end is near, and nothing changes any more.
    Converged,
}

impl Phase {
    /// The phase as it is written in tables, such as `LEARNING_FAST`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "INITIALIZING",
            Self::Warmup => "WARMUP",
            Self::LearningFast => "LEARNING_FAST",
            Self::StableConvergence => "STABLE_CONVERGENCE",
            Self::Plateau => "PLATEAU",
            Self::OverfittingRisk => "OVERFITTING_RISK",
            Self::Unstable => "UNSTABLE",
            Self::Diverging => "DIVERGING",
            Self::Converged => "CONVERGED",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change of phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The step at which it was seen.
    pub step: i64,
    /// The phase before; none of the first.
    pub from: Option<Phase>,
    /// The phase from here on.
    pub to: Phase,
    /// Why, with its numbers.
    pub reason: String,
}

/// Share of the run between two evaluations.
const SPAN: f64 = 0.05;
/// Rows between two evaluations, at least.
const SPAN_ROWS: f64 = 10.0;
/// Points of the curve that phases are told by.
const COARSE: usize = 256;
/// Rows under which nothing is told.
const MIN_ROWS: f64 = 20.0;
/// Share of the planned run under which nothing is told.
const MIN_SHARE: f64 = 0.01;
/// Share of the planned run behind which it is converging.
const NEAR_END: f64 = 0.95;
/// Share of its peak under which the learning rate has decayed.
const DECAYED: f64 = 0.05;
/// Gain in a span, as a share of the level: of a run that learns fast, and that it is left at.
const FAST: f64 = 0.05;
const NO_LONGER_FAST: f64 = 0.04;
/// Gain in a span under which a run has converged.
const SLOW: f64 = 0.01;
/// Gain in a span over which it is off its plateau.
const OFF_PLATEAU: f64 = 0.015;
/// Share of the run that is looked at for episodes that follow each other, and how many are too many.
const RECENT: f64 = 0.10;
const MANY: usize = 3;
/// Calm rows after which a run is stable again.
const CALM_ROWS: f64 = 20.0;
/// Distance from its best at which validation is back.
const BACK: f64 = 0.01;
/// Rows, and share of the planned run, from which on a plateau is told.
const PLATEAU_ROWS: f64 = 200.0;
const PLATEAU_SHARE: f64 = 0.30;

/// The phases of a run, oldest first; none of a run without a loss or validation metric.
pub fn phases(run: &Judgement<'_>, findings: &[Finding], limits: &Limits) -> Vec<Transition> {
    let Some(course) = Course::of(run, findings, limits) else { return Vec::new() };
    let mut teller = Teller::default();
    let looks = course.evaluations().into_iter().filter_map(|points| Look::at(&course, points));
    looks.filter_map(|look| teller.tell(&look)).collect()
}

/// What phases are told by.
struct Course<'a> {
    run: &'a Judgement<'a>,
    limits: &'a Limits,
    /// The loss the run is judged by, and the validation beside it.
    loss: Outline,
    is_policy: bool,
    validation: Option<Outline>,
    /// Warnings and errors that are episodes.
    episodes: Vec<&'a Finding>,
    nan: Option<&'a Finding>,
    lr: Option<Outline>,
}

impl<'a> Course<'a> {
    fn of(run: &'a Judgement<'a>, findings: &'a [Finding], limits: &'a Limits) -> Option<Self> {
        let first =
            |role| run.curves(role).map(|(_, curve)| curve.coarse(COARSE)).find(|curve| !curve.is_empty());
        let score = |role| first(role).map(|curve| curve.negated());
        let reward = score(Role::Reward);
        let is_policy = reward.is_some();
        let validation = first(Role::ValLoss).or_else(|| score(Role::ValScore));
        let loss = reward.or_else(|| first(Role::Loss)).or_else(|| validation.clone())?;
        let is_episode = |finding: &&Finding| {
            finding.level > Level::Info && matches!(finding.kind, Kind::LossSpike | Kind::GradExplosion)
        };
        let is_nan = |finding: &&Finding| finding.kind == Kind::Nan && finding.level == Level::Error;
        Some(Self {
            run,
            limits,
            loss,
            is_policy,
            validation,
            episodes: findings.iter().filter(is_episode).collect(),
            nan: findings.iter().find(is_nan),
            lr: first(Role::Lr),
        })
    }

    fn first_step(&self) -> i64 {
        self.loss.steps[0]
    }

    /// Steps of the run as far as is known.
    fn length(&self) -> f64 {
        (self.run.end_step() - self.first_step()).max(1) as f64
    }

    /// Points of the curve that are there at each evaluation: once a span, or 10 rows where that is longer.
    fn evaluations(&self) -> Vec<usize> {
        let steps = &self.loss.steps;
        let mut all = Vec::new();
        let (mut last_step, mut last_points) = (self.first_step(), 0);
        for (at, &step) in steps.iter().enumerate() {
            let rows = (at + 1 - last_points) as f64 * self.loss.rows_per_point();
            if (step - last_step) as f64 >= SPAN * self.length() && rows >= SPAN_ROWS {
                all.push(at + 1);
                (last_step, last_points) = (step, at + 1);
            }
        }
        // What came after the last finite row is NaN.
        if last_points < steps.len() || self.nan.is_some() {
            all.push(steps.len());
        }
        all
    }
}

/// What is seen at an evaluation.
struct Look<'a> {
    course: &'a Course<'a>,
    /// The loss and the validation up to here.
    loss: Outline,
    validation: Option<Outline>,
    step: i64,
    /// Share of the planned run that is over.
    progress: Option<f64>,
    /// Share of the level gained in the newest span.
    rate: f64,
    /// Learning rate as a share of its peak so far.
    lr_share: Option<f64>,
}

/// Why a phase is the one, where it is.
type Rule<'a> = fn(&Look<'a>) -> Option<String>;

impl<'a> Look<'a> {
    fn at(course: &'a Course<'a>, points: usize) -> Option<Self> {
        let loss = course.loss.prefix(points);
        let is_end = points == course.loss.len();
        let step = if is_end { course.run.last_step } else { *loss.steps.last()? };
        let until = |curve: &Outline| curve.place(step).map(|place| curve.prefix(place + 1));
        let done = step.saturating_sub(course.first_step()) as f64 / course.length();
        Some(Self {
            validation: course.validation.as_ref().and_then(until),
            step,
            progress: course.run.facts().planned_steps.map(|_| done),
            rate: rate(&loss, SPAN * course.length()),
            lr_share: course.lr.as_ref().and_then(|lr| lr.share_of_peak(step)),
            loss,
            course,
        })
    }

    /// The candidate and why: the first rule that holds names it.
    fn judge(&self) -> (Phase, String) {
        let rules: [(Phase, Rule<'a>); 8] = [
            (Phase::Diverging, Self::diverges),
            (Phase::Unstable, Self::is_unstable),
            (Phase::Initializing, Self::begins),
            (Phase::Warmup, Self::warms_up),
            (Phase::OverfittingRisk, Self::overfits),
            (Phase::Converged, Self::has_converged),
            (Phase::Plateau, Self::is_flat),
            (Phase::LearningFast, Self::learns_fast),
        ];
        let mut named = rules.into_iter().filter_map(|(phase, rule)| Some((phase, rule(self)?)));
        named.next().unwrap_or_else(|| (Phase::StableConvergence, self.gain()))
    }

    fn gain(&self) -> String {
        format!("gain {} in 5 % of the run", percent(self.rate))
    }

    fn diverges(&self) -> Option<String> {
        let is_on = |nan: &&Finding| nan.step <= self.step && nan.end_step.is_none_or(|end| end >= self.step);
        if let Some(nan) = self.course.nan.filter(is_on) {
            return Some(format!("not finite since step {}", nan.step));
        }
        if self.course.is_policy {
            return None;
        }
        let rise = divergence(&self.loss, &self.course.limits.divergence)?;
        Some(format!(
            "loss {} after {} at best, up since step {}",
            digits(rise.value),
            digits(rise.baseline),
            rise.step
        ))
    }

    fn is_unstable(&self) -> Option<String> {
        let begun = || self.course.episodes.iter().filter(|episode| episode.step <= self.step);
        let is_open = |episode: &&&Finding| episode.end_step.is_none_or(|end| end >= self.step);
        if let Some(open) = begun().find(is_open) {
            return Some(format!("{} since step {}", open.kind, open.step));
        }
        let reach = (RECENT * self.course.length()) as i64;
        let recent = begun().filter(|episode| episode.step >= self.step.saturating_sub(reach)).count();
        (recent >= MANY).then(|| format!("{recent} spikes or bursts in 10 % of the run"))
    }

    fn begins(&self) -> Option<String> {
        let is_start =
            (self.loss.rows as f64) < MIN_ROWS || self.progress.is_some_and(|done| done < MIN_SHARE);
        is_start.then(|| format!("{} rows so far", self.loss.rows))
    }

    fn warms_up(&self) -> Option<String> {
        self.course.run.is_warming_up(self.step).then(|| "learning rate on its first ascent".to_owned())
    }

    fn overfits(&self) -> Option<String> {
        let training: Vec<&Outline> = if self.course.is_policy { Vec::new() } else { vec![&self.loss] };
        let turned = overfitting(self.validation.as_ref()?, &training, &self.course.limits.overfitting)?;
        let worse = percent(self.worse_than_best()?);
        Some(format!("validation {worse} since its best at step {}", turned.step))
    }

    /// How much worse validation is than at its best, as a share.
    fn worse_than_best(&self) -> Option<f64> {
        let validation = self.validation.as_ref()?;
        let smooth = centred_medians(&validation.values, 1);
        let best = smooth.iter().copied().min_by(f64::total_cmp)?;
        let now = median(validation.newest_points(3.max(validation.len() / 12)));
        Some((now - best) / validation.scale(best).max(f64::MIN_POSITIVE))
    }

    fn has_converged(&self) -> Option<String> {
        let is_near_end = self.progress.is_some_and(|progress| progress > NEAR_END);
        let has_decayed = self.lr_share.is_some_and(|share| share < DECAYED);
        let why = if is_near_end { "near the planned end" } else { "learning rate decayed" };
        ((is_near_end || has_decayed) && self.rate < SLOW).then(|| format!("{why}, {}", self.gain()))
    }

    fn is_flat(&self) -> Option<String> {
        let is_time = match self.progress {
            Some(progress) => progress >= PLATEAU_SHARE,
            None => self.loss.rows as f64 >= PLATEAU_ROWS,
        };
        let limits = &self.course.limits.plateau;
        let flat = is_time.then(|| plateau(&self.loss, self.course.lr.as_ref(), limits)).flatten()?;
        Some(format!("gain {} in the newest 30 %, flat since step {}", percent(flat.score), flat.step))
    }

    fn learns_fast(&self) -> Option<String> {
        (self.rate > FAST).then(|| self.gain())
    }

    /// Rows since the last episode was over.
    fn calm_rows(&self) -> f64 {
        let begun = self.course.episodes.iter().filter(|episode| episode.step <= self.step);
        let ends = begun.map(|episode| episode.end_step.unwrap_or(self.step).min(self.step));
        let Some(end) = ends.max() else { return f64::INFINITY };
        let since = self.loss.len() - self.loss.place(end).map_or(0, |place| place + 1);
        since as f64 * self.loss.rows_per_point()
    }

    /// Whether the newest 5 % of the run are near the best from before.
    fn is_back(&self) -> bool {
        let newest = self.newest_span(self.step, SPAN * self.course.length());
        let (before, newest) = self.loss.values.split_at(newest);
        let best = trailing_medians(before, 5).into_iter().skip(4).fold(f64::INFINITY, f64::min);
        !newest.is_empty() && median(newest) <= best + 0.02 * self.loss.scale(best)
    }

    /// The point at which the span of so many steps up to `step` begins.
    fn newest_span(&self, step: i64, span: f64) -> usize {
        self.loss.place(step.saturating_sub(span as i64)).map_or(0, |place| place + 1)
    }
}

/// Share of the level gained from one span of so many steps to the next, by the newest two; where only
/// one is there, by its halves.
fn rate(loss: &Outline, span: f64) -> f64 {
    let Some(&last) = loss.steps.last() else { return 0.0 };
    let first = loss.steps[0];
    let span = span.min((last - first) as f64 / 2.0);
    let begin =
        |spans: f64| loss.place(last.saturating_sub((spans * span) as i64)).map_or(0, |place| place + 1);
    let (before, now) = (&loss.values[begin(2.0).min(begin(1.0))..begin(1.0)], &loss.values[begin(1.0)..]);
    let scale = loss.scale(median(now));
    let gain = (median(before) - median(now)) / scale;
    if gain.is_finite() { gain } else { 0.0 }
}

/// The phase so far, with hysteresis.
#[derive(Default)]
struct Teller {
    phase: Option<Phase>,
    /// The candidate of the evaluation before.
    before: Option<Phase>,
}

impl Teller {
    fn tell(&mut self, look: &Look<'_>) -> Option<Transition> {
        let (candidate, reason) = look.judge();
        let candidate = if self.holds(look, candidate) { self.phase? } else { candidate };
        let is_sure = self.phase.is_none()
            || self.before == Some(candidate)
            || matches!(candidate, Phase::Diverging | Phase::Unstable);
        self.before = Some(candidate);
        if self.phase == Some(candidate) || !is_sure || self.is_past(candidate) {
            return None;
        }
        let from = self.phase.replace(candidate);
        Some(Transition { step: look.step, from, to: candidate, reason })
    }

    /// A run begins and warms up once.
    fn is_past(&self, candidate: Phase) -> bool {
        let is_start = |phase: Phase| matches!(phase, Phase::Initializing | Phase::Warmup);
        is_start(candidate) && self.phase.is_some_and(|phase| !is_start(phase))
    }

    /// Whether the phase is kept, because leaving it needs a clearer signal than entering it.
    fn holds(&self, look: &Look<'_>, candidate: Phase) -> bool {
        let is_calm = matches!(candidate, Phase::StableConvergence | Phase::LearningFast);
        match self.phase {
            Some(Phase::LearningFast) => candidate == Phase::StableConvergence && look.rate >= NO_LONGER_FAST,
            Some(Phase::Plateau) => is_calm && look.rate <= OFF_PLATEAU,
            Some(Phase::OverfittingRisk) => {
                (is_calm || candidate == Phase::Plateau)
                    && look.worse_than_best().is_some_and(|worse| worse > BACK)
            }
            Some(Phase::Unstable) => candidate != Phase::Diverging && look.calm_rows() < CALM_ROWS,
            Some(Phase::Diverging) => candidate != Phase::Unstable && !look.is_back(),
            _ => false,
        }
    }
}
