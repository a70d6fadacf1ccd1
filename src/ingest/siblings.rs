//! A run against its siblings: the runs of its source, project and group that log the same loss and were
//! started shortly before or after it. What is said of a run depends on these alone, so that of all the
//! runs of a sweep only those near one that changed are compared again.
//!
//! Runs of several sources are not compared: they may be one training in several formats.

use super::Outcome;
use super::load::Active;
use super::look::Look;
use super::pass::Pass;
use super::state::RunState;
use super::verdict::Told;
use crate::records::TimeMs;
use crate::store::{Catalog, Position, SiblingRecord};
use runq_udfs::kernels::diagnosis::limits::BehindSiblings;
use runq_udfs::kernels::diagnosis::{Finding, Judgement, Kind, Outline, behind_siblings};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Runs before and after a run that it is compared with.
const NEAR: usize = 16;

/// Runs before and after a position that tell what changes by it: those that have it near, and theirs.
const REACH: usize = 2 * NEAR;

/// Runs of a circle in memory at a time.
const MAX_STRETCH: usize = 256;

/// Points of a metric that others are compared with.
const SKETCH_POINTS: usize = 64;

/// Comparisons in one refresh at most: telling what one says may open runs that changed otherwise.
const MAX_ROUNDS: usize = 3;

/// Where a run stands among its siblings, but for the metric it is judged by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    project: Option<String>,
    group: Option<String>,
    created_ms: TimeMs,
}

impl Place {
    /// That of a run; none where it has neither project nor group.
    pub fn of(state: &RunState) -> Option<Self> {
        let (project, group) = (state.project().clone(), state.group().cloned());
        let has_siblings = project.is_some() || group.is_some();
        let created_ms = state.created_at().unwrap_or_default();
        has_siblings.then_some(Self { project, group, created_ms })
    }
}

/// The course of a run's loss, as its siblings see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sketch {
    key: String,
    steps: Vec<i64>,
    values: Vec<f64>,
    /// None where no time was logged.
    times_s: Vec<f64>,
    rows: u64,
}

impl Sketch {
    /// That of the loss a run is judged by.
    pub fn of_loss(judgement: &Judgement<'_>) -> Option<Self> {
        let (place, loss) = judgement.loss()?;
        let Outline { steps, values, mut times_s, rows, .. } = loss.coarse(SKETCH_POINTS);
        if times_s.iter().all(|time_s| time_s.is_nan()) {
            times_s.clear();
        }
        Some(Self { key: judgement.key_of(place).to_owned(), steps, values, times_s, rows })
    }

    /// As the catalog keeps it, of a run at a place, with what is told of it.
    ///
    /// # Errors
    /// Never in practice: encoding in memory.
    pub fn record(
        &self,
        place: &Place,
        source: &str,
        run_id: &str,
        told: Option<&Told>,
    ) -> anyhow::Result<SiblingRecord> {
        let Place { project, group, created_ms } = place;
        let circle = serde_json::to_string(&(source, project, group, &self.key))?;
        let position = Position { circle, created_ms: *created_ms, run_id: run_id.to_owned() };
        Ok(SiblingRecord { position, sketch: postcard::to_stdvec(self)?, told: bytes_of(told)? })
    }

    fn outline(&self) -> Outline {
        let (steps, values) = (self.steps.clone(), self.values.clone());
        Outline { steps, values, rows: self.rows, ..Outline::default() }
    }

    /// What its siblings say of it.
    fn judge(&self, own: &Outline, others: &[&Outline], limits: &BehindSiblings) -> Option<Told> {
        let episode = behind_siblings(own, others, limits)?;
        let at = self.steps.partition_point(|step| *step < episode.step);
        let time_s = self.times_s.get(at).filter(|time_s| time_s.is_finite());
        let time = time_s.map(|time_s| (time_s * 1e3).round() as TimeMs);
        Some(Told::new(&Finding::new(Kind::BehindSiblings, 0, &episode), &self.key, time))
    }
}

fn bytes_of(told: Option<&Told>) -> anyhow::Result<Option<Vec<u8>>> {
    Ok(told.map(|told| postcard::to_stdvec(&told.without_number())).transpose()?)
}

/// A run of which its siblings say something else than before.
#[derive(Debug, Clone)]
pub struct Compared {
    record: SiblingRecord,
    told: Option<Told>,
}

impl Compared {
    /// Takes over what is said of the run.
    pub fn tell(&self, run: &mut Active, next_seq: &mut dyn FnMut() -> i64) {
        let before = std::mem::take(&mut run.state.verdict);
        let verdict = before.clone().with_siblings(self.told.clone()).numbered(&before, next_seq);
        run.verdict_changed |= verdict != before;
        run.state.verdict = verdict;
        run.sibling = Some(Some(self.record.clone()));
    }
}

/// Compares runs with their siblings where these changed, or all runs, and stores what is said of them now.
/// Returns the number up to which what was owed is done (see [`Catalog::owed`]), and whether that is all.
///
/// # Errors
/// When the cache cannot be read or written.
pub fn settle(
    pass: &Pass<'_>,
    look: &Look,
    mut is_all: bool,
    outcome: &mut Outcome,
) -> anyhow::Result<(Option<i64>, bool)> {
    let catalog = pass.refresh.catalog;
    let limits = &pass.refresh.rules.limits.behind_siblings;
    let mut done = None;
    for _ in 0..MAX_ROUNDS {
        let owed: Vec<(i64, Position)> =
            catalog.owed()?.into_iter().filter(|(number, _)| Some(*number) > done).collect();
        let last = owed.last().map(|(number, _)| *number);
        let positions = if is_all { catalog.positions()? } else { positions_of(owed) };
        is_all = false;
        let compared = compare(catalog, limits, &positions)?;
        done = last.or(done);
        if compared.is_empty() {
            return Ok((done, true));
        }
        pass.tell(look, &compared, outcome)?;
    }
    Ok((done, false))
}

/// Each position once, in their order.
fn positions_of(owed: Vec<(i64, Position)>) -> Vec<Position> {
    let positions: BTreeSet<Position> = owed.into_iter().map(|(_, position)| position).collect();
    positions.into_iter().collect()
}

/// Compares the runs near positions, which are in order; returns those of which something else is to be
/// told than before.
fn compare(
    catalog: &dyn Catalog,
    limits: &BehindSiblings,
    positions: &[Position],
) -> anyhow::Result<BTreeMap<String, Compared>> {
    let mut compared = BTreeMap::new();
    let mut left = positions;
    while let Some(first) = left.first() {
        let of_circle = left.partition_point(|position| position.circle <= first.circle);
        let after = ((REACH + 1) * of_circle).min(MAX_STRETCH);
        let stretch = Stretch::new(catalog.near(first, REACH, after)?, after, first)?;
        let covered = left[..of_circle].partition_point(|position| stretch.covers(position)).max(1);
        stretch.compare(&left[..covered], limits, &mut compared)?;
        left = &left[covered..];
    }
    Ok(compared)
}

/// Runs of a circle that follow one another.
struct Stretch {
    records: Vec<SiblingRecord>,
    sketches: Vec<Sketch>,
    outlines: Vec<Outline>,
    /// Whether no run follows them.
    is_last: bool,
}

impl Stretch {
    /// Of records of which at most `after` were asked for from a position on.
    fn new(records: Vec<SiblingRecord>, after: usize, from: &Position) -> anyhow::Result<Self> {
        let sketches = records.iter().map(|record| Ok(postcard::from_bytes(&record.sketch)?));
        let sketches: Vec<Sketch> = sketches.collect::<anyhow::Result<_>>()?;
        let outlines = sketches.iter().map(Sketch::outline).collect();
        let before = records.partition_point(|record| record.position < *from);
        let is_last = records.len() - before < after;
        Ok(Self { records, sketches, outlines, is_last })
    }

    /// The first run at or behind a position.
    fn place(&self, position: &Position) -> usize {
        self.records.partition_point(|record| record.position < *position)
    }

    /// Whether all runs are among them that tell what changes by a position.
    fn covers(&self, position: &Position) -> bool {
        self.is_last || self.records.len() - self.place(position) > REACH
    }

    fn compare(
        &self,
        positions: &[Position],
        limits: &BehindSiblings,
        compared: &mut BTreeMap<String, Compared>,
    ) -> anyhow::Result<()> {
        let mut next = 0;
        for position in positions {
            let at = self.place(position);
            let is_there = self.records.get(at).is_some_and(|record| record.position == *position);
            let end = (at + NEAR + usize::from(is_there)).min(self.records.len());
            for place in next.max(at.saturating_sub(NEAR))..end {
                let record = &self.records[place];
                let told = self.judge(place, limits);
                let bytes = bytes_of(told.as_ref())?;
                if bytes != record.told {
                    let record = SiblingRecord { told: bytes, ..record.clone() };
                    compared.insert(record.position.run_id.clone(), Compared { record, told });
                }
            }
            next = end;
        }
        Ok(())
    }

    /// What its siblings say of the run at a place.
    fn judge(&self, place: usize, limits: &BehindSiblings) -> Option<Told> {
        let before = &self.outlines[place.saturating_sub(NEAR)..place];
        let after = &self.outlines[place + 1..(place + 1 + NEAR).min(self.outlines.len())];
        let others: Vec<&Outline> = before.iter().chain(after).collect();
        self.sketches[place].judge(&self.outlines[place], &others, limits)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::{Changes, SqliteCatalog};
    use proptest::prelude::*;
    use proptest::sample::select;
    use proptest::test_runner::Config;

    /// Runs by number: circle, start, level, rows.
    type Runs = BTreeMap<usize, (usize, i64, f64, i64)>;

    fn record(run: usize, (circle, created_ms, level, rows): (usize, i64, f64, i64)) -> SiblingRecord {
        let steps: Vec<i64> = (0..rows).collect();
        let values = steps.iter().map(|step| level + 1.0 / (1.0 + *step as f64)).collect();
        let sketch = Sketch { key: "loss".into(), steps, values, times_s: Vec::new(), rows: rows as u64 };
        let place = Place { project: Some(circle.to_string()), group: None, created_ms };
        sketch.record(&place, "test", &format!("r{run}"), None).unwrap()
    }

    /// What its siblings say of each run, found out from all of them.
    fn expected(runs: &Runs) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut circles: BTreeMap<&str, Vec<&SiblingRecord>> = BTreeMap::new();
        let records: Vec<SiblingRecord> = runs.iter().map(|(run, what)| record(*run, *what)).collect();
        records.iter().for_each(|record| circles.entry(&record.position.circle).or_default().push(record));
        let mut told = BTreeMap::new();
        for circle in circles.values_mut() {
            circle.sort_by_key(|record| record.position.clone());
            let sketch = |record: &&SiblingRecord| postcard::from_bytes::<Sketch>(&record.sketch).unwrap();
            let outlines: Vec<Outline> = circle.iter().map(|record| sketch(record).outline()).collect();
            for (place, record) in circle.iter().enumerate() {
                let near = (0..circle.len()).filter(|other| *other != place && other.abs_diff(place) <= NEAR);
                let others: Vec<&Outline> = near.map(|other| &outlines[other]).collect();
                let judged = sketch(record).judge(&outlines[place], &others, &BehindSiblings::default());
                told.insert(record.position.run_id.clone(), bytes_of(judged.as_ref()).unwrap());
            }
        }
        told
    }

    /// Brings a catalog from some runs to others.
    fn commit(catalog: &SqliteCatalog, before: &Runs, after: &Runs) {
        let mut changes = Changes::default();
        let gone = before.keys().filter(|run| !after.contains_key(run));
        changes.gone_runs = gone.map(|run| format!("r{run}")).collect();
        for (run, what) in after.iter().filter(|(run, what)| before.get(run) != Some(what)) {
            changes.siblings.push((format!("r{run}"), Some(record(*run, *what))));
        }
        catalog.commit(&changes).unwrap();
    }

    fn told(catalog: &SqliteCatalog) -> BTreeMap<String, Option<Vec<u8>>> {
        let circles: BTreeSet<String> =
            catalog.positions().unwrap().into_iter().map(|position| position.circle).collect();
        let first = |circle| Position { circle, created_ms: i64::MIN, run_id: String::new() };
        let records = circles.into_iter().flat_map(|circle| catalog.near(&first(circle), 0, 10_000).unwrap());
        records.map(|record| (record.position.run_id, record.told)).collect()
    }

    fn compare_owed(catalog: &SqliteCatalog) {
        let owed = catalog.owed().unwrap();
        let compared = owed.last().map(|(number, _)| *number);
        let changed = compare(catalog, &BehindSiblings::default(), &positions_of(owed)).unwrap();
        let siblings = changed.into_iter().map(|(run_id, compared)| (run_id, Some(compared.record)));
        let siblings = siblings.collect();
        catalog.commit(&Changes { siblings, compared, ..Changes::default() }).unwrap();
        assert_eq!(catalog.owed().unwrap(), [], "what is told of a run changes nothing for others");
    }

    fn run() -> impl Strategy<Value = (usize, i64, f64, i64)> {
        (0..2_usize, 0..40_i64, select(vec![1.0, 1.01, 1.02, 1.3, 2.0]), 18..30_i64)
    }

    proptest! {
        #![proptest_config(Config { cases: 12, failure_persistence: None, ..Config::default() })]

        #[test]
        fn only_runs_near_a_change_need_be_compared(
            first in prop::collection::btree_map(0..400_usize, run(), 1..360),
            rounds in prop::collection::vec(
                prop::collection::vec((0..400_usize, prop::option::weighted(0.6, run())), 1..8), 1..6),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let (catalog, _) = SqliteCatalog::open(folder.path()).unwrap();
            commit(&catalog, &Runs::new(), &first);
            compare_owed(&catalog);
            assert_eq!(told(&catalog), expected(&first));
            let mut runs = first;
            for round in rounds {
                let before = runs.clone();
                for (run, what) in round {
                    match what {
                        Some(what) => drop(runs.insert(run, what)),
                        None => drop(runs.remove(&run)),
                    }
                }
                commit(&catalog, &before, &runs);
                compare_owed(&catalog);
                assert_eq!(told(&catalog), expected(&runs));
            }
        }
    }
}
