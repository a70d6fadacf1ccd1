//! A run as the detectors see it: the points that count of the metrics that mean something to them.

use super::Workspace;
use crate::engine::canned::quoted;
use crate::error::UserError;
use crate::ingest::judge::{Grounds, Terms};
use crate::ingest::state::RunState;
use crate::ingest::verdict::Told;
use crate::ingest::watch::Roles;
use anyhow::Context;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use futures::TryStreamExt;
use runq_udfs::kernels::diagnosis::{
    Curve, Eta, Finding, Forecast, Judgement, Kind, Limits, Monitor, Pace, Role, Run, StopAdvice, Transition,
    phases,
};

/// Share of the rows that an earlier look saw: advice to stop is given when two looks agree.
const EARLIER: f64 = 0.95;
/// A run with what is known of it, before and after it was judged.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its id.
    pub run_id: String,
    /// Its metrics and facts.
    pub run: Run,
    /// What was found, the earliest onset first.
    pub findings: Vec<Finding>,
    /// Changes of phase, oldest first.
    pub transitions: Vec<Transition>,
    /// Checks that could not run.
    pub not_checked: Vec<NotChecked>,
    /// How fast it goes, and when it will end.
    pub eta: Option<Eta>,
    /// Whether to stop it.
    pub stop: Option<StopAdvice>,
}

/// A check that could not run, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotChecked {
    /// What was not looked for.
    pub kind: Kind,
    /// What is missing.
    pub why: String,
}

impl Case {
    fn of(run_id: String, run: Run, by_siblings: Option<&Told>, limits: &Limits) -> Self {
        let monitor = Monitor::of(&run, limits);
        let judgement = Judgement::new(&monitor, limits);
        let mut findings = judgement.findings();
        let transitions = phases(&judgement, &findings, limits);
        let stop = StopAdvice::of(&judgement, &findings).filter(|_| stopped_earlier(&run, limits));
        if let Some(finding) = by_siblings.and_then(|told| finding_of_siblings(&run, told)) {
            let place = findings.partition_point(|other| other.step <= finding.step);
            findings.insert(place, finding);
        }
        let timed = run.curves.iter().position(|curve| !curve.times_s.is_empty());
        let eta = timed
            .and_then(|at| Eta::of(&judgement.outlines[at], run.facts.planned_steps, &run.facts.resumed_at));
        let not_checked = Kind::ALL.into_iter().filter_map(|kind| not_checked(kind, &run, limits)).collect();
        Self { run_id, run, findings, transitions, not_checked, eta, stop }
    }

    /// The name of a finding's metric.
    pub fn key(&self, finding: &Finding) -> &str {
        self.run.curves.get(finding.curve).map_or("", |curve| &curve.key)
    }

    /// Where a metric will be at the planned end.
    ///
    /// # Errors
    /// When that cannot be said, and why.
    pub fn forecast(&self, key: &str) -> Result<Forecast, UserError> {
        let curve = self.run.curves.iter().find(|curve| curve.key == key);
        let curve =
            curve.ok_or_else(|| UserError::failed(format!("\"{key}\" is no loss or validation metric")))?;
        let planned = self.run.facts.planned_steps.ok_or_else(|| {
            UserError::failed(format!("the planned length of run \"{}\" is not known", self.run_id))
                .hint("log max_steps in its configuration")
        })?;
        let is_bad = |finding: &&Finding| {
            matches!(finding.kind, Kind::Divergence | Kind::Nan) && finding.end_step.is_none()
        };
        if let Some(finding) = self.findings.iter().find(is_bad) {
            return Err(UserError::failed(format!("no forecast: {}", finding.message(self.key(finding)))));
        }
        let is_score = curve.role == Role::ValScore || curve.role == Role::Reward;
        let outline = curve.outline();
        let outline = if is_score { outline.negated() } else { outline };
        let forecast = Forecast::of(&outline, planned);
        let forecast = forecast.map(|forecast| if is_score { forecast.negated() } else { forecast });
        forecast.ok_or_else(|| {
            UserError::failed(format!(
                "no forecast of \"{key}\": too few rows, or nothing is left of the run"
            ))
        })
    }
}

/// What the run's siblings say of it: they were compared when the tables were brought up to date.
fn finding_of_siblings(run: &Run, told: &Told) -> Option<Finding> {
    let curve = run.curves.iter().position(|curve| curve.key == told.key())?;
    Some(told.finding(Kind::BehindSiblings, curve))
}

fn stopped_earlier(run: &Run, limits: &Limits) -> bool {
    let last = run.curves.iter().filter_map(|curve| curve.steps.last()).max().copied().unwrap_or(0);
    let first = run.curves.iter().filter_map(|curve| curve.steps.first()).min().copied().unwrap_or(0);
    let until = first + ((last - first) as f64 * EARLIER) as i64;
    let earlier = run.until(until);
    let monitor = Monitor::of(&earlier, limits);
    let judgement = Judgement::new(&monitor, limits);
    StopAdvice::of(&judgement, &judgement.findings()).is_some()
}

fn not_checked(kind: Kind, run: &Run, limits: &Limits) -> Option<NotChecked> {
    let has_role = |curve: &&Curve| kind.roles().contains(&curve.role);
    let most = run.curves.iter().filter(has_role).map(|curve| curve.values.len()).max();
    let least = kind.min_rows(limits);
    let roles = || kind.roles().iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ");
    let is_policy = run.curves.iter().any(|curve| curve.role == Role::Reward);
    let is_of_policy = kind.roles().iter().all(|role| role.is_of_policy());
    let why = match most {
        // What nobody would look for in this run.
        None if is_of_policy && !is_policy => return None,
        None => format!("no {} logged", roles()),
        Some(rows) if (rows as f64) < least => format!("{rows} rows, needs {least}"),
        _ if is_policy && matches!(kind, Kind::LossSpike | Kind::Divergence | Kind::Plateau) => {
            "the loss of a policy has no meaning of its own".to_owned()
        }
        _ if kind == Kind::OomRisk && run.facts.memory_capacity.is_none() => {
            "the memory there is is not known".to_owned()
        }
        _ => return None,
    };
    Some(NotChecked { kind, why })
}

impl Workspace {
    /// Judges a run by all its points that count today.
    ///
    /// # Errors
    /// When there is no such run, or the cache cannot be read.
    pub async fn diagnose(&self, run_id: &str) -> anyhow::Result<Case> {
        let rules = self.settings.rules();
        let stored = self.catalog()?.run_state(run_id)?;
        let stored = stored.ok_or_else(|| UserError::failed(format!("run \"{run_id}\" not found")))?;
        let state: RunState = postcard::from_bytes(&stored)?;
        let grounds = Grounds::of(&state, Terms::of(&state), &mut Roles::default(), &rules);
        let curves = self.curves(run_id, &grounds.curves).await?;
        let mut run = Run { facts: grounds.facts, curves };
        if !run.curves.iter().any(|curve| curve.role == Role::Throughput) {
            run.curves.extend(pace(&run, &rules.limits));
        }
        Ok(Case::of(run_id.to_owned(), run, state.verdict.of_siblings(), &rules.limits))
    }

    /// The thresholds that hold here.
    pub fn thresholds(&self) -> &Limits {
        &self.settings.thresholds
    }

    /// The points that count, in order of the roles.
    async fn curves(&self, run_id: &str, roles: &[(Role, String)]) -> anyhow::Result<Vec<Curve>> {
        let new = |(role, key): &(Role, String)| Curve {
            role: *role,
            key: key.clone(),
            steps: Vec::new(),
            values: Vec::new(),
            times_s: Vec::new(),
        };
        let mut curves: Vec<Curve> = roles.iter().map(new).collect();
        if curves.is_empty() {
            return Ok(curves);
        }
        let keys: Vec<String> = roles.iter().map(|(_, key)| quoted(key)).collect();
        let sql = format!(
            "select key, step, value, cast(time as bigint) as time_ms from metrics \
             where run_id = {} and key in ({}) order by key, step",
            quoted(run_id),
            keys.join(", ")
        );
        for batch in self.batches(&sql).await? {
            take_points(&batch, &mut curves)?;
        }
        for curve in &mut curves {
            if curve.times_s.iter().all(|time| time.is_nan()) {
                curve.times_s.clear();
            }
        }
        Ok(curves)
    }

    async fn batches(&self, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
        Ok(self.sql(sql).await?.stream.try_collect().await?)
    }
}

fn take_points(batch: &RecordBatch, curves: &mut [Curve]) -> anyhow::Result<()> {
    let keys = cast(batch.column(0), &DataType::Utf8)?;
    let keys = keys.as_string::<i32>();
    let steps = batch.column(1).as_primitive::<Int64Type>();
    let values = batch.column(2).as_primitive::<Float64Type>();
    let times = batch.column(3).as_primitive_opt::<Int64Type>().context("times are no numbers")?;
    let mut at = 0;
    for row in 0..batch.num_rows() {
        let key = keys.value(row);
        if curves.get(at).is_none_or(|curve| curve.key != key) {
            let Some(place) = curves.iter().position(|curve| curve.key == key) else { continue };
            at = place;
        }
        let time = if times.is_valid(row) { times.value(row) as f64 / 1e3 } else { f64::NAN };
        curves[at].steps.push(steps.value(row));
        curves[at].values.push(values.value(row));
        curves[at].times_s.push(time);
    }
    Ok(())
}

/// Steps a second by the times of the first curve that tells them.
fn pace(run: &Run, limits: &Limits) -> Option<Curve> {
    let of = |curve: &Curve| {
        let mut pace = Pace::new(run.facts.planned_steps, limits);
        let mut rates = (Vec::new(), Vec::new());
        for (step, time_s, _) in curve.rows() {
            rates.extend(pace.push(step, time_s, &run.facts.resumed_at).map(|rate| (step, rate)));
        }
        let (steps, values) = rates;
        let key = Pace::KEY.to_owned();
        pace.told().map(|_| Curve { role: Role::Throughput, key, steps, values, times_s: Vec::new() })
    };
    run.curves.iter().filter(|curve| Pace::is_told_by(curve.role)).find_map(of)
}
