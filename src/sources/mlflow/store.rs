//! MLflow's SQLite store: one database with all experiments (`mlflow.db`). Deleted runs are left out.
//!
//! NaN is 0 with a flag, and the infinities are the largest numbers there are; the order of the rows is
//! that of their arrival.

use super::super::parse::axis::hash_of;
use super::super::parse::sqlite::{self, columns, has};
use super::super::{Log, Resume, Sink, StartOver, Verdict};
use super::{param, tags};
use crate::records::{Point, Problem, RunFacts};
use crate::sources::find::judge;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Rows read at a time. What is known of the runs is read with the first and the last of them.
const PAGE_ROWS: usize = 100_000;

/// Runs that are not deleted, with their experiments.
const FROM_RUNS: &str = "from runs r left join experiments e using (experiment_id)
    where coalesce(r.lifecycle_stage, '') <> 'deleted' and coalesce(e.lifecycle_stage, '') <> 'deleted'";

/// How far a database was read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct State {
    /// Number of the last row of `metrics`, and a hash of it: a table that was made anew has another.
    last: Option<(i64, u64)>,
    /// Hash of what was told of each run.
    runs: BTreeMap<String, u64>,
}

pub(super) fn may_claim(path: &str) -> bool {
    judge::has_extension(path, &["db", "sqlite", "sqlite3"])
}

pub(super) fn sniff(head: &[u8], file: &Path, scratch: &Path) -> Verdict {
    if !head.is_empty() && !head.starts_with(sqlite::MAGIC) {
        return judge::other("no database");
    }
    let known = sqlite::read(file, scratch, &mut |connection| {
        let knows = |table, name| anyhow::Ok(has(&columns(connection, table)?, name));
        Ok(knows("runs", "run_uuid")? && knows("metrics", "run_uuid")? && knows("experiments", "name")?)
    });
    match known {
        Ok(true) => Verdict::Log { marks: String::new() },
        Ok(false) => judge::other("no tables of MLflow"),
        Err(error) => judge::other(&format!("{error:#}")),
    }
}

pub(super) fn read(log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let before: State = serde_json::from_str(&from.state).unwrap_or_default();
    let page = sqlite::read(log.file, log.scratch, &mut |connection| Page::read(connection, &before))?;
    let row_count = from.row_count + page.points.len() as u64;
    let state = page.tell(before, sink);
    Ok(Resume { offset: from.offset, state: serde_json::to_string(&state)?, row_count })
}

/// What is known of a run besides its metrics.
#[derive(Debug, Default)]
struct About {
    facts: RunFacts,
    params: Vec<(String, String)>,
}

/// A row of `metrics`.
struct Logged {
    run: String,
    key: String,
    step: i64,
    value: f64,
    time: i64,
}

/// What one call reads of a database.
#[derive(Default)]
struct Page {
    /// Runs that are not deleted.
    runs: BTreeSet<String>,
    /// What is known of each, where it was asked for.
    about: BTreeMap<String, About>,
    points: Vec<Logged>,
    last: Option<(i64, u64)>,
    /// What kept it from reading on.
    damage: Option<String>,
}

impl Page {
    fn read(connection: &Connection, before: &State) -> anyhow::Result<Self> {
        let mut page = Self::default();
        page.read_runs(connection)?;
        if !page.goes_on(connection, before)? {
            return Err(StartOver.into());
        }
        let mut last = None;
        let outcome = page.read_points(connection, before, &mut last);
        if let Some(last) = last {
            page.last = row_hash(connection, last)?.map(|hash| (last, hash));
        }
        let is_last = page.points.len() < PAGE_ROWS;
        if is_last || page.runs.iter().any(|run| !before.runs.contains_key(run)) {
            page.read_facts(connection)?;
            page.read_pairs(connection)?;
        }
        // Points before damage count; it is met again by the next call, which tells it.
        if let Err(error) = outcome {
            page.damage = page.points.is_empty().then(|| format!("table metrics: {error}"));
        }
        Ok(page)
    }

    fn read_runs(&mut self, connection: &Connection) -> anyhow::Result<()> {
        let mut statement = connection.prepare(&format!("select r.run_uuid {FROM_RUNS}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.runs.insert(row.get(0)?);
        }
        Ok(())
    }

    fn read_facts(&mut self, connection: &Connection) -> anyhow::Result<()> {
        let known = columns(connection, "runs")?;
        let names = ["name", "user_id", "source_name", "source_version", "status", "start_time", "end_time"];
        let wanted = names.map(|name| match has(&known, name) {
            true => format!("r.{name}"),
            false => "null".to_string(),
        });
        let sql = format!("select r.run_uuid, e.name, {} {FROM_RUNS}", wanted.join(", "));
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let about = About { facts: facts(row)?, params: Vec::new() };
            self.about.insert(row.get(0)?, about);
        }
        Ok(())
    }

    /// Tags and parameters.
    fn read_pairs(&mut self, connection: &Connection) -> anyhow::Result<()> {
        let mut each = |table: &str, take: &mut dyn FnMut(&mut About, String, String)| {
            let sql =
                format!("select run_uuid, key, coalesce(value, '') from {table} order by run_uuid, key");
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let Some(about) = self.about.get_mut(&row.get::<_, String>(0)?) {
                    take(about, row.get(1)?, row.get(2)?);
                }
            }
            anyhow::Ok(())
        };
        each("tags", &mut |about, key, value| {
            let told = tags::facts_of(&key, &value);
            let mut all = about.facts.tags.take().unwrap_or_default();
            all.extend(told.tags.clone().unwrap_or_default());
            about.facts.merge(told);
            about.facts.tags = Some(all);
        })?;
        each("params", &mut |about, key, value| about.params.push((key, value)))
    }

    /// Whether all that was read still holds: no run was deleted or restored, no table made anew.
    fn goes_on(&self, connection: &Connection, before: &State) -> anyhow::Result<bool> {
        let Some((last, hash)) = before.last else { return Ok(true) };
        let is_same_row = row_hash(connection, last)? == Some(hash);
        let are_there = before.runs.keys().all(|run| self.runs.contains(run));
        let mut earlier =
            connection.prepare("select 1 from metrics where run_uuid = ?1 and rowid <= ?2 limit 1")?;
        for run in self.runs.iter().filter(|run| !before.runs.contains_key(*run)) {
            if earlier.exists((run, last))? {
                return Ok(false);
            }
        }
        Ok(is_same_row && are_there)
    }

    fn read_points(
        &mut self,
        connection: &Connection,
        before: &State,
        last: &mut Option<i64>,
    ) -> anyhow::Result<()> {
        let after = before.last.map_or(i64::MIN, |(last, _)| last);
        let sql = format!("{} where rowid > {after} order by rowid limit {PAGE_ROWS}", select(connection)?);
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let run: String = row.get(1)?;
            *last = Some(row.get(0)?);
            if self.runs.contains(&run) {
                self.points.push(point(run, row)?);
            }
        }
        Ok(())
    }

    /// Hands over what was read; returns how far that is.
    fn tell(self, mut state: State, sink: &mut dyn Sink) -> State {
        for (run, about) in &self.about {
            let hash = hash_of(format!("{about:?}").as_bytes());
            if state.runs.insert(run.clone(), hash) != Some(hash) {
                sink.select_run(run);
                sink.facts(about.facts.clone());
                about.params.iter().for_each(|(key, value)| param(key, value, sink));
            }
        }
        for Logged { run, key, step, value, time } in &self.points {
            sink.select_run(run);
            let time = Some(*time).filter(|time| *time > 0);
            sink.point(Point { key, step: *step, value: *value, time });
        }
        if let Some(message) = self.damage {
            sink.problem(Problem { position: "file".to_string(), message });
        }
        state.last = self.last.or(state.last);
        state
    }
}

/// Facts of the row of `runs`; its tags may say otherwise.
fn facts(row: &Row<'_>) -> rusqlite::Result<RunFacts> {
    let filled = |column: usize| -> rusqlite::Result<Option<String>> {
        Ok(row.get::<_, Option<String>>(column)?.filter(|text| !text.is_empty()))
    };
    let (start, end): (Option<i64>, Option<i64>) = (row.get(7)?, row.get(8)?);
    let duration_s = start.zip(end).map(|(start, end)| (end - start) as f64 / 1e3);
    Ok(RunFacts {
        project: filled(1)?,
        name: filled(2)?,
        user_name: filled(3)?,
        program: filled(4)?,
        git_commit: filled(5)?,
        created_at: start,
        updated_at: end,
        duration_s: duration_s.filter(|duration_s| *duration_s >= 0.0),
        ..tags::end_of(&filled(6)?.unwrap_or_default())
    })
}

/// The columns that [`point`] reads; older versions lack the last two.
fn select(connection: &Connection) -> anyhow::Result<String> {
    let known = columns(connection, "metrics")?;
    let or_zero = |name: &'static str| if has(&known, name) { name } else { "0" };
    let (step, is_nan) = (or_zero("step"), or_zero("is_nan"));
    Ok(format!("select rowid, run_uuid, key, value, timestamp, {step}, {is_nan} from metrics"))
}

fn point(run: String, row: &Row<'_>) -> rusqlite::Result<Logged> {
    let value = match (row.get::<_, Option<f64>>(3)?, row.get::<_, Option<i64>>(6)?) {
        (_, Some(1)) | (None, _) => f64::NAN,
        (Some(value), _) if value.abs() == f64::MAX => value.signum() * f64::INFINITY,
        (Some(value), _) => value,
    };
    let step = row.get::<_, Option<i64>>(5)?.unwrap_or_default();
    let time = row.get::<_, Option<i64>>(4)?.unwrap_or_default();
    Ok(Logged { run, key: row.get(2)?, step, value, time })
}

/// What tells a row from another of the same number; `None` where there is no such row.
fn row_hash(connection: &Connection, rowid: i64) -> anyhow::Result<Option<u64>> {
    let hash = |row: &Row<'_>| {
        let parts: Vec<Option<Value>> = (1..7).map(|column| row.get(column).ok()).collect();
        Ok(hash_of(format!("{parts:?}").as_bytes()))
    };
    let mut statement = connection.prepare(&format!("{} where rowid = ?1", select(connection)?))?;
    Ok(statement.query_row([rowid], hash).optional()?)
}
