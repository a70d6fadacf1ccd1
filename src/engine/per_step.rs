//! Metrics that are logged under a name for each step, as one curve.
//!
//! The files hold what was logged; `summary` and `metrics` show each pattern of the settings as one metric,
//! whose value at a step is the last one of the name that holds the step. Where the names were not logged at
//! the steps they hold, its axis is `index`. `metrics_raw` shows what was logged. A run that logs a metric of
//! that name itself is left as it is.

use super::canned::quoted;
use super::runs::texts;
use super::scalar::TextFunction;
use crate::records::step_pattern::StepPattern;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

/// Columns of `summary` as they are stored, but for the goal.
const SUMMARY: &str =
    "run_id, key, axis, count, nan_count, inf_count, first_step, last_step, first, last, min,
    min_step, max, max_step, mean, std, logged_goal, final";

/// Points of the patterns. Where `007` and `7` are both there, the second one in order of the names counts.
const POINTS: &str = "select run_id, key, step, last_value(value order by name) as value,
        last_value(logged_goal order by name) as logged_goal, bool_and(last_step = step) as is_at_step
    from (
        select run_id, per_step_metric(run_id, key) as key, cast(per_step_step(key) as bigint) as step, key as name,
            last as value, logged_goal, last_step
        from summary
        where count > 0 and per_step_metric(run_id, key) is not null
    )
    group by run_id, key, step";

/// What is neither NaN nor infinite: NaN is above infinity.
const IS_FINITE: &str = "abs(value) < cast('Infinity' as double)";

/// Sums are rounded: in one order they are the same, however the rows lie in files.
const IN_ORDER: &str =
    "over (partition by run_id, key order by step rows between unbounded preceding and unbounded following)";

/// The patterns of a project, and the runs that they do not hold for.
#[derive(Debug, Clone, Default)]
pub struct PerStep {
    patterns: Arc<Vec<StepPattern>>,
    /// Runs with a metric of the name of a pattern.
    own: Arc<OnceLock<HashSet<(String, String)>>>,
}

impl PerStep {
    /// The patterns, of a catalog that is not looked at yet.
    pub fn new(patterns: &[StepPattern]) -> Self {
        Self { patterns: Arc::new(patterns.to_vec()), own: Arc::default() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Finds the runs that log a metric of the name of a pattern; before anything else is asked.
    ///
    /// # Errors
    /// When the points cannot be read.
    pub async fn look(&self, ctx: &SessionContext) -> anyhow::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.patterns.iter().map(|pattern| quoted(&pattern.metric())).collect();
        let sql = format!("select distinct run_id, key from metrics_raw where key in ({})", names.join(", "));
        let mut own = HashSet::new();
        for batch in ctx.sql(&sql).await?.collect().await? {
            let runs = texts(&batch, 0).into_iter().flatten();
            own.extend(runs.zip(texts(&batch, 1).into_iter().flatten()));
        }
        // It is looked once.
        let _ = self.own.set(own);
        Ok(())
    }

    /// `per_step_metric(run_id, key)`: the metric that a name is a step of; `per_step_step(key)`: the step.
    pub fn functions(&self) -> [ScalarUDF; 2] {
        let (metrics, steps) = (self.clone(), Arc::clone(&self.patterns));
        let metric =
            TextFunction::new("per_step_metric", 2, move |texts| metrics.metric(texts[0]?, texts[1]?));
        let step = TextFunction::new("per_step_step", 1, move |texts| {
            let key = texts[0]?;
            steps.iter().find_map(|pattern| pattern.step(key)).map(|step| step.to_string())
        });
        [metric.into(), step.into()]
    }

    fn metric(&self, run_id: &str, key: &str) -> Option<String> {
        let metric = self.patterns.iter().find(|pattern| pattern.step(key).is_some())?.metric();
        let named = (run_id.to_owned(), metric);
        let is_own = self.own.get().is_some_and(|own| own.contains(&named));
        (!is_own).then_some(named.1)
    }

    /// What `summary` is made of.
    pub fn summary(&self) -> String {
        if self.is_empty() {
            return "summary".to_owned();
        }
        let finite = format!("filter (where {IS_FINITE})");
        let value = format!("case when {IS_FINITE} then value end");
        format!(
            "(select {SUMMARY} from summary where per_step_metric(run_id, key) is null
              union all
              select run_id, key, case when bool_and(is_at_step) then 'step' else 'index' end as axis, count(*) as count,
                count(*) filter (where isnan(value)) as nan_count,
                count(*) filter (where not isnan(value) and not {IS_FINITE}) as inf_count,
                min(step) as first_step, max(step) as last_step,
                first_value(value order by step) as first, last_value(value order by step) as last,
                min(value) {finite} as min, first_value(step order by value, step) {finite} as min_step,
                max(value) {finite} as max, first_value(step order by value desc, step) {finite} as max_step,
                max(mean) as mean, max(std) as std,
                max(logged_goal) as logged_goal, cast(null as double) as final
              from (select *, avg({value}) {IN_ORDER} as mean, stddev({value}) {IN_ORDER} as std
                    from ({POINTS}) as points) as points
              group by run_id, key) as summary"
        )
    }

    /// The statement of `metrics`.
    pub fn metrics(&self) -> String {
        let logged = "select run_id, key, step, value, time from metrics";
        match self.is_empty() {
            true => logged.to_owned(),
            false => format!(
                "{logged} where per_step_metric(run_id, key) is null
                 union all
                 select run_id, key, step, value, arrow_cast(null, 'Timestamp(Millisecond, Some(\"UTC\"))') as time
                 from ({POINTS}) as points"
            ),
        }
    }
}
