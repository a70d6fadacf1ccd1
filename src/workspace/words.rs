//! Words of users: which metrics and runs they mean, and what is told of how they were understood.

use super::Workspace;
use crate::engine::canned::{Canned, ParamType, ParamValue};
use crate::engine::hints::taken_for;
use crate::engine::runs::BEST;
use crate::records::Goal;
use crate::records::goal::goal_of;
use std::collections::BTreeMap;

impl Workspace {
    /// The metric that is shown where none is asked for, by the settings, where some run has it.
    pub async fn primary_metric(&self) -> Option<String> {
        let word = self.settings.primary_metric.as_deref()?;
        self.asked(async |engine| engine.resolve_form(word).await).await.ok()
    }

    /// The same of one run.
    pub async fn primary_metric_of(&self, run_id: &str) -> Option<String> {
        let words = [self.settings.primary_metric.clone()?];
        let found = self.asked(async |engine| engine.resolve_metrics_of(run_id, &words).await).await.ok()?;
        found.into_iter().next().map(|(_, key)| key)
    }

    /// Values of a canned query that mean the same to each part of a command: names are understood, and told,
    /// once.
    ///
    /// # Errors
    /// As [`Workspace::canned`].
    pub async fn named_values(
        &self,
        name: &str,
        params: &BTreeMap<String, ParamValue>,
    ) -> anyhow::Result<BTreeMap<String, ParamValue>> {
        self.with_names(self.query(name)?, params).await
    }

    /// Values in which metrics bear the names they were logged by, and conditions are the statements they
    /// stand for; how words were understood is told.
    pub(super) async fn with_names(
        &self,
        query: &Canned,
        params: &BTreeMap<String, ParamValue>,
    ) -> anyhow::Result<BTreeMap<String, ParamValue>> {
        let mut params = params.clone();
        for param in &query.params {
            let value = match (param.kind, params.get(&param.name)) {
                (ParamType::Metric, Some(ParamValue::Text(word))) => {
                    ParamValue::Text(self.resolve_metric(word).await?)
                }
                (ParamType::MetricForm | ParamType::Ranking, Some(ParamValue::Text(word))) => {
                    ParamValue::Text(self.resolve_form(word).await?)
                }
                (ParamType::Runs, Some(ParamValue::List(words))) => {
                    ParamValue::List(self.resolve_runs(words).await?)
                }
                (ParamType::Metrics, Some(ParamValue::List(words))) => {
                    let run = run_word(query, &params).unwrap_or_default();
                    ParamValue::List(self.resolve_metrics_of(&self.resolve_run(&run).await?, words).await?)
                }
                (kind @ (ParamType::Condition | ParamType::Order), Some(ParamValue::Text(text))) => {
                    let selection = self.asked(async |engine| engine.select_runs(kind, text).await).await?;
                    selection.notes.iter().for_each(|note| self.tell(note));
                    ParamValue::Query(selection.sql)
                }
                _ => continue,
            };
            params.insert(param.name.clone(), value);
        }
        Ok(params)
    }

    /// The metrics of a run that words name; those of another spelling are told.
    ///
    /// # Errors
    /// When the run has no such metric, or more than one of that spelling.
    pub async fn resolve_metrics_of(&self, run_id: &str, words: &[String]) -> anyhow::Result<Vec<String>> {
        let found = self.asked(async |engine| engine.resolve_metrics_of(run_id, words).await).await?;
        Ok(found.into_iter().map(|(word, key)| self.told(&word, key)).collect())
    }

    /// The metric a user means by `word`; one of another spelling is told.
    ///
    /// # Errors
    /// When there is none, or more than one of its normal form.
    pub async fn resolve_metric(&self, word: &str) -> anyhow::Result<String> {
        let metric = self.asked(async |engine| engine.resolve_metric(word).await).await?;
        Ok(self.told(word, metric))
    }

    /// As [`Workspace::resolve_metric`]; of several of the normal form, `word` stands for all.
    ///
    /// # Errors
    /// When there is none.
    pub async fn resolve_form(&self, word: &str) -> anyhow::Result<String> {
        let metric = self.asked(async |engine| engine.resolve_form(word).await).await?;
        Ok(self.told(word, metric))
    }

    fn told(&self, word: &str, metric: String) -> String {
        let word = self.settings.aliases.get(word).map_or(word, String::as_str);
        let is_called_so = self.settings.names.get(&metric).is_some_and(|name| name == word);
        if metric != word && !is_called_so {
            self.tell(&taken_for(word, &metric));
        }
        metric
    }

    /// From where the goal of a metric is known, as in `by its name`.
    pub fn goal_reason(&self, metric: &str, goal: Goal) -> &'static str {
        let by_settings = self.settings.goals.get(metric).copied().map(Goal::from);
        match () {
            () if by_settings == Some(goal) => "by runq.toml",
            () if goal_of(metric) == Some(goal) => "by its name",
            () => "by the tracker",
        }
    }

    /// The run a user means by `word`: id, unique prefix, name, `@latest`, `@latest~1`, `@best:METRIC`.
    ///
    /// # Errors
    /// When no run, or more than one, goes by that word.
    pub async fn resolve_run(&self, word: &str) -> anyhow::Result<String> {
        if let Some(metric) = word.strip_prefix(BEST) {
            let metric = self.resolve_form(metric).await?;
            return self.asked(async |engine| engine.resolve_run(&format!("{BEST}{metric}")).await).await;
        }
        self.asked(async |engine| engine.resolve_run(word).await).await
    }

    /// The runs a user means by `words`, as [`Workspace::resolve_run`].
    ///
    /// # Errors
    /// When no run, or more than one, goes by one of the words.
    pub async fn resolve_runs(&self, words: &[String]) -> anyhow::Result<Vec<String>> {
        let mut run_ids = Vec::with_capacity(words.len());
        for word in words {
            run_ids.push(self.resolve_run(word).await?);
        }
        Ok(run_ids)
    }
}

/// The word for the run that a query is about.
fn run_word(query: &Canned, params: &BTreeMap<String, ParamValue>) -> Option<String> {
    let param = query.params.iter().find(|param| param.kind == ParamType::Run)?;
    match params.get(&param.name).or(param.default.as_ref())? {
        ParamValue::Text(word) => Some(word.clone()),
        _ => None,
    }
}
