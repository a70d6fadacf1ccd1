//! What a ranking by a metric looks at: the runs that logged it, its goal, and who was left out.

use super::args::Values;
use super::output;
use super::session::Session;
use crate::engine::canned::{ParamValue, told_goal};
use crate::error::UserError;
use crate::records::Goal;
use anyhow::Result;
use std::collections::BTreeMap;

/// The runs that logged a metric.
#[derive(Debug, Default)]
pub struct Field {
    metric: String,
    /// Spellings of it, and in how many runs.
    spellings: BTreeMap<String, u64>,
    /// What steps mean; one for metrics of one kind.
    axes: Vec<String>,
    /// By each spelling; empty where it has none.
    goals: Vec<String>,
    run_count: u64,
    finite_run_count: u64,
    /// Runs with several spellings of it, and not its name.
    unclear_run_count: u64,
    /// Runs there are, but for further formats of the same.
    all_run_count: u64,
    /// Whether the caller said which way is better.
    is_told: bool,
    why: &'static str,
    project: Option<String>,
}

impl Field {
    /// Looks at the runs that `values` select, by a metric that is there.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub async fn of(session: &Session, metric: &str, values: &Values) -> Result<Field> {
        let rows = output::collect(session.workspace.ranking_counts(metric, values).await?).await?;
        let project = text(values, "project").map(str::to_owned);
        let mut field = Field { metric: metric.to_owned(), project, ..Field::default() };
        let column = |name| output::texts(&rows, name);
        let (axes, goals) = (column("axis")?, column("goal")?);
        let (runs, finite) = (column("run_count")?, column("finite_run_count")?);
        let keys = column("key")?.into_iter().zip(axes).zip(goals);
        for (((what, logged), runs), finite) in column("what")?.iter().zip(keys).zip(runs).zip(finite) {
            let runs = runs.parse::<u64>().unwrap_or(0);
            match what.as_str() {
                "ranked" => field.add(logged, runs, finite.parse().unwrap_or(0)),
                "unclear" => field.unclear_run_count = runs,
                _ => field.all_run_count = runs,
            }
        }
        field.is_told = told_goal(values, metric).is_some();
        if let Some((key, goal)) = field.spellings.keys().next().zip(field.goal()) {
            field.why = session.workspace.goal_reason(key, goal);
        }
        Ok(field)
    }

    fn add(&mut self, ((key, axis), goal): ((String, String), String), runs: u64, finite_runs: u64) {
        if !self.axes.contains(&axis) {
            self.axes.push(axis);
        }
        if !self.goals.contains(&goal) {
            self.goals.push(goal);
        }
        *self.spellings.entry(key).or_default() += runs;
        self.run_count += runs;
        self.finite_run_count += finite_runs;
    }

    /// The goal that all spellings have.
    fn goal(&self) -> Option<Goal> {
        match self.goals.as_slice() {
            [goal] if goal == Goal::Min.as_str() => Some(Goal::Min),
            [goal] if goal == Goal::Max.as_str() => Some(Goal::Max),
            _ => None,
        }
    }

    /// Asks for a direction where none is known; `how` is told to do so.
    ///
    /// # Errors
    /// As wrong use.
    pub fn check_goal(&self, how: &str) -> Result<()> {
        match self.is_told || self.goals.is_empty() || self.goal().is_some() {
            true => Ok(()),
            false => {
                let message = format!("no goal known for \"{}\": {how}", self.metric);
                Err(UserError::usage(message).into())
            }
        }
    }

    /// Says why there is nothing to rank.
    ///
    /// # Errors
    /// When no run has a value.
    pub fn check_not_empty(&self) -> Result<()> {
        let message = match (self.run_count, self.finite_run_count, &self.project) {
            (0, ..) if self.unclear_run_count > 0 => {
                format!("more than one metric of each run is written like \"{}\"", self.metric)
            }
            (0, ..) if self.all_run_count == 0 => "no run is like that".to_owned(),
            (0, _, Some(project)) => format!("no run of project \"{project}\" logged \"{}\"", self.metric),
            (0, _, None) => format!("no run logged \"{}\"", self.metric),
            (_, 0, _) => format!("no run has a finite value of \"{}\"", self.metric),
            _ => return Ok(()),
        };
        Err(UserError::failed(message).into())
    }

    /// Which other names were taken, and in how many runs.
    fn other_spellings(&self) -> Option<String> {
        let others = self.spellings.iter().filter(|(key, _)| **key != self.metric);
        let named: Vec<String> =
            others.map(|(key, runs)| format!("\"{key}\" in {}", of_runs(*runs))).collect();
        (!named.is_empty()).then(|| format!("\"{}\" is {}", self.metric, named.join(", ")))
    }

    /// The goal and its reason, and which runs were left out and why.
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.goal_note().into_iter().chain(self.other_spellings()).collect();
        let left_out = self.run_count - self.finite_run_count.min(self.run_count);
        if left_out > 0 {
            notes.push(format!("{} left out: no finite value of {}", of_runs(left_out), self.metric));
        }
        if self.unclear_run_count > 0 {
            let runs = of_runs(self.unclear_run_count);
            notes.push(format!("{runs} left out: more than one metric is written like {}", self.metric));
        }
        let without = self.all_run_count.saturating_sub(self.run_count + self.unclear_run_count);
        if without > 0 {
            notes.push(format!("{} left out: {} was not logged", of_runs(without), self.metric));
        }
        if self.axes.len() > 1 {
            notes.push(format!("steps mean {} (column axis)", self.axes.join(" in some runs and ")));
        }
        notes
    }

    fn goal_note(&self) -> Option<String> {
        let smaller = match self.goal()? {
            Goal::Min => "smaller",
            Goal::Max => "larger",
        };
        (!self.is_told).then(|| format!("{smaller} is better for {}, {}", self.metric, self.why))
    }
}

/// A number that a statement counts as `n`.
///
/// # Errors
/// When it cannot be run.
pub async fn count(session: &Session, sql: &str) -> Result<u64> {
    let rows = output::collect(session.workspace.sql(sql).await?).await?;
    Ok(output::texts(&rows, "n")?.first().and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// `1 run`, `2 runs`.
pub fn of_runs(count: u64) -> String {
    format!("{count} {}", if count == 1 { "run" } else { "runs" })
}

/// The text of a value.
pub fn text<'a>(values: &'a Values, name: &str) -> Option<&'a str> {
    match values.get(name) {
        Some(ParamValue::Text(text)) => Some(text),
        _ => None,
    }
}

/// Says when no run has a hyperparameter of that name or last part.
///
/// # Errors
/// With the nearest names.
pub async fn check_config_key(session: &Session, word: &str) -> Result<()> {
    let rows = output::collect(session.workspace.sql("select distinct key from configs order by key").await?);
    let keys = output::texts(&rows.await?, "key")?;
    let is_it = |key: &String| key == word || key.strip_suffix(word).is_some_and(|rest| rest.ends_with('.'));
    if keys.iter().any(is_it) {
        return Ok(());
    }
    let error = UserError::failed(format!("no run has a hyperparameter \"{word}\""));
    let known: Vec<&str> = keys.iter().map(String::as_str).collect();
    let hinted = error.clone().nearest_of(word, &known, "");
    Err(match hinted.hint.as_deref().is_some_and(|hint| hint.starts_with("did you mean")) {
        true => hinted,
        // All names would be too many.
        false => error.hint("`runq config RUN` lists those of a run"),
    }
    .into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn field(run_count: u64, finite_run_count: u64, goal: &str) -> Field {
        let (metric, axes) = ("m".to_owned(), vec!["step".to_owned()]);
        let goals = vec![goal.to_owned()];
        let why = "by its name";
        Field { metric, axes, goals, run_count, finite_run_count, why, ..Field::default() }
    }

    #[test]
    fn a_goal_is_asked_for_where_none_is_known() {
        let error = field(2, 2, "").check_goal("add --min or --max").unwrap_err();
        let error = error.downcast_ref::<UserError>().unwrap();
        assert_eq!(error.message, "no goal known for \"m\": add --min or --max");
        assert_eq!(error.exit_code(), 2);
        Field { is_told: true, ..field(2, 2, "") }.check_goal("").unwrap();
        let torn = Field { goals: vec!["min".to_owned(), "max".to_owned()], ..field(2, 2, "") };
        assert!(torn.check_goal("").is_err());
    }

    #[test]
    fn runs_left_out_are_counted() {
        let goal = "smaller is better for m, by its name";
        assert_eq!(field(3, 2, "min").notes(), [goal, "1 run left out: no finite value of m"]);
        assert_eq!(field(3, 3, "min").notes(), [goal]);
        let without = Field { all_run_count: 5, is_told: true, ..field(3, 3, "min") };
        assert_eq!(without.notes(), ["2 runs left out: m was not logged"]);
        assert!(field(3, 0, "min").check_not_empty().is_err());
    }
}
