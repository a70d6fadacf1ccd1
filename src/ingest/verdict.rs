//! What the diagnosis says of a run, as it stands in the tables `alerts` and `phases`.

use crate::records::TimeMs;
use crate::records::batch::{Cell, time_cell};
use runq_udfs::kernels::diagnosis::{Finding, Judgement, Kind, Level, Transition};
use serde::{Deserialize, Serialize};

/// The last word on a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Findings, the earliest onset first.
    pub findings: Vec<Told>,
    /// Changes of phase, oldest first.
    pub phases: Vec<Change>,
}

/// A finding as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    kind: String,
    level: Level,
    key: String,
    step: i64,
    end_step: Option<i64>,
    detected_step: i64,
    time: Option<TimeMs>,
    /// Null where not finite.
    value: Option<f64>,
    baseline: Option<f64>,
    score: Option<f64>,
    row_count: i64,
    text: String,
    /// Order in which the cache learned it.
    seq: i64,
}

/// A change of phase as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    step: i64,
    time: Option<TimeMs>,
    from: Option<String>,
    to: String,
    reason: String,
}

impl Verdict {
    /// What was found in a run, and how its phases changed.
    pub fn new(run: &Judgement<'_>, findings: &[Finding], transitions: &[Transition]) -> Self {
        let told = |finding: &Finding| Told::new(finding, run.key(finding), time_of(run, finding.step));
        let change = |transition: &Transition| Change {
            step: transition.step,
            time: time_of(run, transition.step),
            from: transition.from.map(|phase| phase.to_string()),
            to: transition.to.to_string(),
            reason: transition.reason.clone(),
        };
        Self {
            findings: findings.iter().map(told).collect(),
            phases: transitions.iter().map(change).collect(),
        }
    }

    /// The same, with the numbers that findings bore before; those that are new, or worse, get the next.
    pub fn numbered(mut self, before: &Self, next_seq: &mut dyn FnMut() -> i64) -> Self {
        for finding in &mut self.findings {
            let same = before.findings.iter().find(|known| known.is_same(finding));
            finding.seq = same.map_or_else(&mut *next_seq, |known| known.seq);
        }
        self
    }

    /// What its siblings say of the run.
    pub fn of_siblings(&self) -> Option<&Told> {
        self.findings.iter().find(|finding| finding.is_of_siblings())
    }

    /// The same with something else said by its siblings, or nothing.
    pub fn with_siblings(mut self, told: Option<Told>) -> Self {
        self.findings.retain(|finding| !finding.is_of_siblings());
        if let Some(told) = told {
            let place = self.findings.partition_point(|finding| finding.step <= told.step);
            self.findings.insert(place, told);
        }
        self
    }

    /// The worst level found.
    pub fn worst_level(&self) -> Option<&'static str> {
        self.findings.iter().map(|finding| finding.level).max().map(Level::as_str)
    }

    /// The phase the run is in.
    pub fn phase(&self) -> Option<String> {
        self.phases.last().map(|change| change.to.clone())
    }

    /// Rows of the stored findings.
    pub fn finding_rows(&self, run_id: &str, project: &Option<String>) -> Vec<Vec<Cell>> {
        self.findings.iter().map(|finding| finding.row(run_id, project)).collect()
    }

    /// Rows of `phases`.
    pub fn phase_rows(&self, run_id: &str, project: &Option<String>) -> Vec<Vec<Cell>> {
        let row = |change: &Change| {
            vec![
                run_id.into(),
                change.step.into(),
                time_cell(change.time),
                change.from.clone().into(),
                change.to.clone().into(),
                change.reason.clone().into(),
                project.clone().into(),
            ]
        };
        self.phases.iter().map(row).collect()
    }
}

impl Told {
    /// A finding in a metric, as it is told; it has no number yet.
    pub fn new(finding: &Finding, key: &str, time: Option<TimeMs>) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        Self {
            kind: finding.kind.to_string(),
            level: finding.level,
            key: key.to_owned(),
            step: finding.step,
            end_step: finding.end_step,
            detected_step: finding.detected_step,
            time,
            value: finite(finding.value),
            baseline: finite(finding.baseline),
            score: finite(finding.score),
            row_count: finding.rows as i64,
            text: format!("{}; {}", finding.message(key), finding.advice()),
            seq: 0,
        }
    }

    fn is_of_siblings(&self) -> bool {
        self.kind == Kind::BehindSiblings.as_str()
    }

    /// The metric it was found in.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The same without its number: what is said, not when the cache learned it.
    pub fn without_number(&self) -> Self {
        Self { seq: 0, ..self.clone() }
    }

    /// The finding of a kind behind it, in the curve at a place.
    pub fn finding(&self, kind: Kind, curve: usize) -> Finding {
        Finding {
            kind,
            level: self.level,
            curve,
            step: self.step,
            end_step: self.end_step,
            detected_step: self.detected_step,
            value: self.value.unwrap_or(f64::NAN),
            baseline: self.baseline.unwrap_or(f64::NAN),
            score: self.score.unwrap_or(f64::NAN),
            rows: self.row_count.cast_unsigned(),
        }
    }

    /// Whether both are told of one event, as bad as it was.
    fn is_same(&self, other: &Self) -> bool {
        let what = |told: &Self| (told.step, told.level);
        what(self) == what(other) && self.kind == other.kind && self.key == other.key
    }

    fn row(&self, run_id: &str, project: &Option<String>) -> Vec<Cell> {
        vec![
            format!("{run_id}-{}-{}-{}", self.kind, self.key, self.step).into(),
            run_id.into(),
            self.key.clone().into(),
            self.kind.clone().into(),
            self.level.as_str().into(),
            self.step.into(),
            self.end_step.into(),
            self.detected_step.into(),
            time_cell(self.time),
            self.value.into(),
            self.baseline.into(),
            self.score.into(),
            self.row_count.into(),
            self.kind.replace('_', " ").into(),
            self.text.clone().into(),
            "detected".into(),
            self.seq.into(),
            project.clone().into(),
        ]
    }
}

/// When a step was logged, as far as the run's curves tell: of a long one to the end of its block.
fn time_of(run: &Judgement<'_>, step: i64) -> Option<TimeMs> {
    run.outlines.iter().find_map(|curve| {
        let at = curve.steps.partition_point(|other| *other < step);
        let time_s = curve.times_s.get(at).filter(|time_s| time_s.is_finite())?;
        Some((time_s * 1e3).round() as TimeMs)
    })
}
