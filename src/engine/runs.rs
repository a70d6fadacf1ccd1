//! Naming a run: id, unique prefix, name, `@latest`, `@latest~1`, `@best:METRIC`.

use super::ranking::{NEWEST, Ranking};
use crate::error::{UserError, nearest};
use crate::records::Goal;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::prelude::SessionContext;
use std::collections::BTreeSet;

/// A run as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    run_id: String,
    name: Option<String>,
    is_duplicate: bool,
}

/// Best value of a metric in a run.
#[derive(Debug, Clone, PartialEq)]
struct Best {
    run_id: String,
    goal: Option<Goal>,
    value: Option<f64>,
}

/// The prefix of "the run with the best value of a metric".
pub const BEST: &str = "@best:";

/// The same with the metric that the settings name.
pub const BEST_OF_ALL: &str = "@best";

/// All runs, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunIndex {
    runs: Vec<Named>,
}

impl RunIndex {
    /// Reads the table `runs`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn load(ctx: &SessionContext) -> anyhow::Result<Self> {
        let runs = ctx
            .sql(&format!("select run_id, name, duplicate_of is not null from runs order by {NEWEST}"))
            .await?
            .collect()
            .await?;
        Ok(Self { runs: runs.iter().flat_map(named).collect() })
    }

    /// The id of the run a user means by anything but [`BEST`].
    ///
    /// # Errors
    /// When no run, or more than one, goes by that word.
    pub fn resolve(&self, word: &str) -> Result<String, UserError> {
        if let Some(back) = word.strip_prefix("@latest") {
            return self.latest(word, back);
        }
        let exact = self.runs.iter().find(|run| run.run_id == word);
        if let Some(run) = exact {
            return Ok(run.run_id.clone());
        }
        let named: Vec<&Named> = self.runs.iter().filter(|run| run.name.as_deref() == Some(word)).collect();
        let begun: Vec<&Named> =
            self.runs.iter().filter(|run| !word.is_empty() && run.run_id.starts_with(word)).collect();
        match (named.as_slice(), begun.as_slice()) {
            ([run], _) | ([], [run]) => Ok(run.run_id.clone()),
            ([], []) => Err(self.not_found(word)),
            ([], many) | (many, _) => Err(ambiguous(word, many)),
        }
    }

    fn latest(&self, word: &str, back: &str) -> Result<String, UserError> {
        let back: Option<usize> =
            if back.is_empty() { Some(0) } else { back.strip_prefix('~').and_then(|n| n.parse().ok()) };
        let Some(back) = back else {
            return Err(
                UserError::usage(format!("run \"{word}\" is no run")).hint("write @latest or @latest~1")
            );
        };
        let mut runs = self.runs.iter().filter(|run| !run.is_duplicate);
        let count = runs.clone().count();
        runs.nth(back)
            .map(|run| run.run_id.clone())
            .ok_or_else(|| UserError::failed(format!("run \"{word}\" not found: there are {count} runs")))
    }

    /// All run ids, newest first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.runs.iter().map(|run| run.run_id.as_str())
    }

    fn not_found(&self, word: &str) -> UserError {
        let known =
            self.runs.iter().flat_map(|run| [Some(run.run_id.as_str()), run.name.as_deref()]).flatten();
        let error = UserError::failed(format!("run \"{word}\" not found"));
        match nearest(word, known, 5).as_slice() {
            _ if self.runs.is_empty() => error.hint("no runs were found: give their folder with -C"),
            [] => error.hint(format!("runs: {}", list(self.ids(), 10))),
            near => error.hint(format!("did you mean {}?", list(near.iter().copied(), 5))),
        }
    }
}

/// The run with the best value of a metric: at equal values the one that had it at an earlier step.
///
/// # Errors
/// When no goal is known, or no run has a finite value.
pub async fn best_run(ctx: &SessionContext, metric: &str, ranking: &Ranking) -> anyhow::Result<String> {
    let sql = format!("select run_id, goal, best from ({}) order by best_step, run_id", ranking.sql());
    let rows = ctx.sql(&sql).await?.collect().await?;
    Ok(best_of(metric, &rows.iter().flat_map(bests).collect::<Vec<_>>())?)
}

fn best_of(metric: &str, rows: &[Best]) -> Result<String, UserError> {
    let goals: BTreeSet<Option<&str>> = rows.iter().map(|best| best.goal.map(Goal::as_str)).collect();
    let agreed = if goals.len() == 1 { rows.iter().find_map(|best| best.goal) } else { None };
    let Some(goal) = agreed else {
        return Err(UserError::usage(format!("no goal known for \"{metric}\""))
            .hint("set it in runq.toml, under [goals]"));
    };
    let better = |a: f64, b: f64| if goal == Goal::Min { a < b } else { a > b };
    let mut winner: Option<(&str, f64)> = None;
    for (run_id, value) in rows.iter().filter_map(|best| Some((best.run_id.as_str(), best.value?))) {
        if winner.is_none_or(|(_, known)| better(value, known)) {
            winner = Some((run_id, value));
        }
    }
    winner
        .map(|(run_id, _)| run_id.to_string())
        .ok_or_else(|| UserError::failed(format!("no run has a finite value of \"{metric}\"")))
}

/// All metrics, in order.
///
/// # Errors
/// When the table `summary` cannot be read.
pub async fn metrics(ctx: &SessionContext) -> anyhow::Result<Vec<String>> {
    names(ctx, "select distinct key from summary order by key").await
}

/// The first column of a statement, a text; nulls are left out.
///
/// # Errors
/// When it cannot be run.
pub async fn names(ctx: &SessionContext, sql: &str) -> anyhow::Result<Vec<String>> {
    let rows = ctx.sql(sql).await?.collect().await?;
    Ok(rows.iter().flat_map(|batch| texts(batch, 0)).flatten().collect())
}

/// Metrics of the runs that are shown, in order.
///
/// # Errors
/// When a table cannot be read.
pub async fn shown_metrics(ctx: &SessionContext) -> anyhow::Result<Vec<String>> {
    let sql = "select distinct summary.key from summary join runs on runs.run_id = summary.run_id
        where runs.duplicate_of is null order by summary.key";
    names(ctx, sql).await
}

/// What is told of a metric that no run that is shown has; `all` are those of any run.
pub fn no_such_metric(word: &str, shown: &[String], all: &[String]) -> UserError {
    match all.iter().any(|key| key == word) {
        true => only_hidden(word),
        false => no_metric(word, shown),
    }
}

fn only_hidden(word: &str) -> UserError {
    UserError::failed(format!("no run that is shown logged \"{word}\""))
        .hint("runs that say duplicate_of did: their points are in the table metrics")
}

fn no_metric(metric: &str, known: &[String]) -> UserError {
    let keys = || known.iter().map(String::as_str);
    let error = UserError::failed(format!("metric \"{metric}\" not found"));
    match nearest(metric, keys(), 5).as_slice() {
        _ if known.is_empty() => {
            error.hint("no metrics were found: `runq refresh --explain` tells why files were left")
        }
        [] => error.hint(format!("metrics: {}", list(keys(), 20))),
        near => error.hint(format!("did you mean {}?", list(near.iter().copied(), 5))),
    }
}

fn ambiguous(word: &str, runs: &[&Named]) -> UserError {
    let describe = |run: &&Named| match &run.name {
        Some(name) => format!("{} ({name})", run.run_id),
        None => run.run_id.clone(),
    };
    let candidates: Vec<String> = runs.iter().take(10).map(describe).collect();
    let more = if runs.len() > 10 { format!(" and {} more", runs.len() - 10) } else { String::new() };
    UserError::failed(format!("run \"{word}\" is ambiguous: {} runs", runs.len()))
        .hint(format!("it may be {}{more}", candidates.join(", ")))
}

fn list<'a>(names: impl Iterator<Item = &'a str>, most: usize) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(most).copied().collect::<Vec<_>>().join(", ");
    if names.len() > most { format!("{shown} and {} more", names.len() - most) } else { shown }
}

/// A column of a batch as texts.
pub fn texts(batch: &RecordBatch, column: usize) -> Vec<Option<String>> {
    let Ok(column) = cast(batch.column(column), &DataType::Utf8View) else {
        return vec![None; batch.num_rows()];
    };
    let Some(texts) = column.as_string_view_opt() else { return vec![None; batch.num_rows()] };
    texts.iter().map(|text| text.map(str::to_string)).collect()
}

fn named(batch: &RecordBatch) -> Vec<Named> {
    let duplicates = batch.column(2).as_boolean_opt();
    let rows = texts(batch, 0).into_iter().zip(texts(batch, 1)).enumerate();
    rows.filter_map(|(i, (run_id, name))| {
        Some(Named { run_id: run_id?, name, is_duplicate: duplicates.is_some_and(|d| d.value(i)) })
    })
    .collect()
}

fn bests(batch: &RecordBatch) -> Vec<Best> {
    let (runs, goals) = (texts(batch, 0), texts(batch, 1));
    let values = batch.column(2).as_primitive_opt::<Float64Type>();
    (0..batch.num_rows())
        .filter_map(|i| {
            let goal = match goals[i].as_deref() {
                Some("min") => Some(Goal::Min),
                Some("max") => Some(Goal::Max),
                _ => None,
            };
            let value = values.filter(|values| values.is_valid(i)).map(|values| values.value(i));
            Some(Best { run_id: runs[i].clone()?, goal, value })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn index() -> RunIndex {
        let run = |run_id: &str, name: &str| Named {
            run_id: run_id.into(),
            name: Some(name.into()),
            is_duplicate: false,
        };
        RunIndex { runs: vec![run("abx1", "newest"), run("abx2", "twin"), run("zz9", "twin")] }
    }

    #[test]
    fn runs_go_by_many_names() {
        let index = index();
        let resolve = |word: &str| index.resolve(word).map_err(|error| error.message);
        assert_eq!(resolve("zz9").unwrap(), "zz9");
        assert_eq!(resolve("zz").unwrap(), "zz9");
        assert_eq!(resolve("newest").unwrap(), "abx1");
        assert_eq!(resolve("@latest").unwrap(), "abx1");
        assert_eq!(resolve("@latest~2").unwrap(), "zz9");
        assert_eq!(resolve("abx").unwrap_err(), "run \"abx\" is ambiguous: 2 runs");
        assert_eq!(resolve("twin").unwrap_err(), "run \"twin\" is ambiguous: 2 runs");
        assert_eq!(resolve("@latest~3").unwrap_err(), "run \"@latest~3\" not found: there are 3 runs");
        let error = index.resolve("abx3x").unwrap_err();
        assert_eq!(error.message, "run \"abx3x\" not found");
        assert!(error.hint.unwrap().contains("abx1"));
        assert!(no_metric("val/loss", &["val_loss".into()]).hint.unwrap().contains("val_loss"));
    }

    #[test]
    fn the_best_run_has_a_finite_value_and_had_it_first() {
        let best = |run_id: &str, goal: Option<Goal>, value: Option<f64>| Best {
            run_id: run_id.into(),
            goal,
            value,
        };
        let min = Some(Goal::Min);
        let rows = [best("a", min, None), best("b", min, Some(0.5)), best("c", min, Some(0.5))];
        assert_eq!(best_of("loss", &rows).unwrap(), "b");
        let error = best_of("loss", &rows[..1]).unwrap_err();
        assert_eq!(error.message, "no run has a finite value of \"loss\"");
        let error = best_of("x", &[best("a", None, Some(1.0))]).unwrap_err();
        assert_eq!(error.message, "no goal known for \"x\"");
    }
}
