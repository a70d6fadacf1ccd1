//! Ranking runs by a metric: which rows of `summary` count, and which way is better.

use super::canned::{ParamValue, quoted, told_goal};
use super::selection;
use crate::records::Goal;
use crate::records::names::normal_form;
use std::collections::BTreeMap;

/// The order of runs, newest first; a log without a beginning is placed by its end.
pub const NEWEST: &str = "coalesce(created_at, updated_at) desc nulls last, run_id";

/// Runs to rank by a metric. Each is ranked by the metric of that very name, or else by the only one of its
/// normal form that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranking {
    metric: String,
    /// Names of that normal form that runs logged.
    keys: Vec<String>,
    /// The statement of the ids of the runs to look at; `None`: all.
    among: Option<String>,
    /// Which way is better; `None`: by the goal that all runs share.
    aim: Option<Goal>,
}

impl Ranking {
    /// Of all runs by `metric`; `known` are the metrics there are.
    pub fn by<'k>(metric: &str, known: impl IntoIterator<Item = &'k str>) -> Ranking {
        let form = normal_form(metric);
        let is_one = |key: &&str| *key == metric || !form.is_empty() && normal_form(key) == form;
        let keys = known.into_iter().filter(is_one).map(str::to_owned).collect();
        Ranking { metric: metric.to_owned(), keys, ..Ranking::default() }
    }

    /// The same of the runs that the parameters `project`, `where` and `newest` select, with the direction
    /// that `min` and `max` give.
    pub fn with_values(self, values: &BTreeMap<String, ParamValue>) -> Ranking {
        let is_part = ["project", "where", "newest"].iter().any(|name| match values.get(*name) {
            None | Some(ParamValue::Null) => false,
            Some(ParamValue::Query(sql)) => *sql != selection::every_run(),
            Some(_) => true,
        });
        let aim = told_goal(values, &self.metric);
        Ranking { among: is_part.then(|| selected(values)), aim, ..self }
    }

    /// Whether no run has the metric.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The statement of the rows of `summary` that rank the runs, one a run at most, with the columns
    /// `project`, `run_name`, `state` and `aim` besides: `min`, `max`, or null where the runs that are looked
    /// at do not agree.
    pub fn sql(&self) -> String {
        let aim = match self.aim {
            Some(goal) => format!("'{}'", goal.as_str()),
            None => "case when min(goal) over () = max(goal) over () then min(goal) over () end".to_owned(),
        };
        format!("select *, {aim} as aim from ({}) where is_ranked", self.candidates())
    }

    /// The statement of all rows that may rank a run, and whether they do (`is_ranked`).
    fn candidates(&self) -> String {
        let metric = quoted(&self.metric);
        let is_ranked = match self.keys.len() {
            0 | 1 => "true".to_owned(),
            _ => format!(
                "s.key = {metric} or not bool_or(s.key = {metric}) over (partition by s.run_id) \
                 and count(*) over (partition by s.run_id) = 1"
            ),
        };
        let is_meant = match self.keys.as_slice() {
            [] => "false".to_owned(),
            [key] => format!("s.key = {}", quoted(key)),
            keys => {
                let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
                format!("s.key in ({})", keys.join(", "))
            }
        };
        let among = self.among.iter().map(|among| format!(" and s.run_id in ({among})")).collect::<String>();
        format!(
            "select s.*, runs.project, runs.name as run_name, runs.state, {is_ranked} as is_ranked \
             from summary s join runs on runs.run_id = s.run_id \
             where runs.duplicate_of is null and {is_meant}{among}"
        )
    }

    /// The statement that counts the runs, with the columns `what`, `key`, `axis`, `goal`, `run_count` and
    /// `finite_run_count`. By `what`: `ranked`, a row for each spelling and axis; `unclear`, those that have more
    /// than one spelling and not the name itself; `all` that are looked at.
    pub fn counts(&self) -> String {
        let unclear = match self.keys.len() {
            0 | 1 => String::new(),
            _ => format!(
                " union all select 'unclear', null, null, null, count(*), 0 from (\
                 select run_id from ({}) group by run_id having not bool_or(is_ranked))",
                self.candidates()
            ),
        };
        let among = self.among.as_deref().unwrap_or("select run_id from runs where duplicate_of is null");
        format!(
            "select 'ranked' as what, key, axis, case when min(goal) = max(goal) then min(goal) end as goal, \
             count(*) as run_count, count(min) as finite_run_count from ({}) where is_ranked group by key, axis\
             {unclear} union all select 'all', null, null, null, count(*), 0 from ({among}) order by key, axis",
            self.candidates()
        )
    }
}

/// The statement of the runs that project, condition and age select.
fn selected(values: &BTreeMap<String, ParamValue>) -> String {
    let mut sql = "select run_id from runs where duplicate_of is null".to_owned();
    if let Some(ParamValue::Text(project)) = values.get("project") {
        sql += &format!(" and project = {}", quoted(project));
    }
    if let Some(ParamValue::Query(meeting)) = values.get("where") {
        sql += &format!(" and run_id in ({meeting})");
    }
    if let Some(ParamValue::Integer(newest)) = values.get("newest") {
        sql += &format!(" order by {NEWEST} limit {newest}");
    }
    sql
}
