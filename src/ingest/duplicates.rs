//! One training in several formats: a tracker, a framework's own file and TensorBoard hold the same
//! values. Of such runs one is shown, that of the origin that knows most, and the others say which
//! they are.
//!
//! Two runs of different sources are one training when a metric that people optimise begins or ends
//! with the same values in both, whatever it is called; or when they are alone in one folder and a metric
//! of one name has the few values of the shorter of them in both. Metrics that begin alike and have other
//! values at a later step are those of two trainings. Values are compared as a console prints them: to
//! four places.
//!
//! Of several candidates the pair counts that lies together, then one that ends with the same value, then
//! one that shares more values, lies nearer, or ends at the same step: a run that was resumed begins like
//! the one that was killed, and ends like itself.

use super::Refresh;
use super::load::Active;
use crate::records::TimeMs;
use crate::records::goal::goal_of;
use crate::records::names::normal_form;
use crate::sources::parse::axis::hash_of;
use crate::sources::{Origin, Source};
use crate::store::{Catalog, Changes, RunRecord};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Metrics looked at of a run.
const MAX_METRICS: usize = 32;

/// Values that make two metrics one.
const ENOUGH: usize = 3;

/// Runs so many folders apart are neighbours: `run` and `run/wandb/offline-run-...`.
const NEAR: usize = 2;

/// More runs than these with one pair of values: it tells none of them apart.
const MAX_BUCKET: usize = 64;

/// Last values that make two metrics differ where none of them is equal; a single one may have been
/// logged twice.
const AT_END: usize = 2;

/// Half of the last place that is printed.
const TOLERANCE: f32 = 6e-5;

/// By what a run is known in another format.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Likeness {
    folder: String,
    created_at: Option<TimeMs>,
    metrics: Vec<Metric>,
}

/// A metric with a goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Metric {
    /// Hash of the normal form of its name.
    name: u64,
    /// Its first values.
    early: Vec<f32>,
    /// Its last finite values, in their order.
    late: Vec<f32>,
    /// The step of its last value, finite or not.
    last_step: i64,
    /// Steps and values along the way.
    marks: Vec<(i64, f32)>,
}

impl Likeness {
    /// That of a run as it is.
    pub fn of(run: &Active) -> Self {
        let state = &run.state;
        let with_goal = state.keys.iter().filter(|(key, state)| {
            !state.internal && !key.starts_with("system/") && (state.goal.is_some() || goal_of(key).is_some())
        });
        let metrics = with_goal.filter_map(|(key, state)| {
            let (all, (last_step, _)) = (state.all(), state.last?);
            let name = hash_of(normal_form(key).as_bytes());
            let (early, marks) = (all.early().to_vec(), all.marks().to_vec());
            Some(Metric { name, early, late: all.late(), last_step, marks })
        });
        let metrics = metrics.take(MAX_METRICS).collect();
        let created_at = state.created_at();
        Self { folder: run.folder.clone(), created_at, metrics }
    }

    /// As the catalog keeps it.
    ///
    /// # Errors
    /// Never in practice: encoding in memory.
    pub fn to_bytes(&self) -> anyhow::Result<Vec<u8>> {
        Ok(postcard::to_stdvec(self)?)
    }
}

/// Finds out which runs are others in another format and stores it where it changed.
///
/// # Errors
/// When the catalog cannot be read or written.
pub fn settle(refresh: &Refresh<'_>) -> anyhow::Result<()> {
    let catalog: &dyn Catalog = refresh.catalog;
    let sources: BTreeSet<String> = catalog.runs()?.into_values().map(|run| run.source).collect();
    let runs = if sources.len() > 1 { catalog.likenesses()? } else { Vec::new() };
    let runs =
        runs.iter().map(|run| Run::new(run, refresh.settings.sources)).collect::<anyhow::Result<Vec<_>>>()?;
    let found = duplicates(&runs);
    if found != catalog.duplicates()? {
        let duplicates = Some(found);
        catalog.commit(&Changes { duplicates, now_ms: refresh.now_ms, ..Changes::default() })?;
    }
    Ok(())
}

/// A run among others.
struct Run {
    run_id: String,
    source: String,
    /// The smaller, the more it knows.
    rank: (Origin, usize),
    likeness: Likeness,
}

impl Run {
    fn new(run: &RunRecord, sources: &[&dyn Source]) -> anyhow::Result<Self> {
        let place = sources.iter().position(|source| source.name() == run.source);
        let origin = place.map_or(Origin::Console, |place| sources[place].origin());
        Ok(Self {
            run_id: run.run_id.clone(),
            source: run.source.clone(),
            rank: (origin, place.unwrap_or(usize::MAX)),
            likeness: postcard::from_bytes(&run.likeness)?,
        })
    }
}

/// Two runs that may be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    /// Whether they lie in different corners of the root: neighbours are paired first.
    is_far: bool,
    /// Whether no metric ends with the same value in both.
    ends_apart: bool,
    /// Equal values, negative: the best pair comes first.
    unequal: i64,
    /// Names in which their folders differ.
    distance: usize,
    /// Between the last steps of what begins alike.
    steps_apart: u64,
    /// Between their starts, milliseconds.
    apart_ms: u64,
    runs: (usize, usize),
}

fn duplicates(runs: &[Run]) -> BTreeMap<String, String> {
    let counts = Counts::of(runs);
    let candidates = candidates(runs).into_iter();
    let mut pairs: Vec<Pair> = candidates.filter_map(|pair| judge(runs, &counts, pair)).collect();
    pairs.sort_unstable();
    let mut groups: Vec<Vec<usize>> = (0..runs.len()).map(|run| vec![run]).collect();
    let mut group_of: Vec<usize> = (0..runs.len()).collect();
    for Pair { runs: (a, b), .. } in pairs {
        let (a, b) = (group_of[a], group_of[b]);
        let is_in = |group: usize, source: &str| groups[group].iter().any(|run| runs[*run].source == source);
        // Two runs of one source are two trainings.
        if a == b || groups[b].iter().any(|run| is_in(a, &runs[*run].source)) {
            continue;
        }
        let moved = std::mem::take(&mut groups[b]);
        moved.iter().for_each(|run| group_of[*run] = a);
        groups[a].extend(moved);
    }
    groups.iter().flat_map(|group| told(runs, group)).collect()
}

/// Each of a group but the one that is shown, with that one.
fn told(runs: &[Run], group: &[usize]) -> Vec<(String, String)> {
    let place = |run: &usize| (runs[*run].rank, runs[*run].run_id.clone());
    let Some(shown) = group.iter().copied().min_by_key(place) else { return Vec::new() };
    let others = group.iter().filter(|run| **run != shown);
    others.map(|run| (runs[*run].run_id.clone(), runs[shown].run_id.clone())).collect()
}

/// Pairs of runs of different sources that share values or a folder.
fn candidates(runs: &[Run]) -> BTreeSet<(usize, usize)> {
    let mut buckets: HashMap<(i64, i64), Vec<usize>> = HashMap::new();
    let mut folders: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, run) in runs.iter().enumerate() {
        folders.entry(&run.likeness.folder).or_default().push(index);
        for pair in run.likeness.metrics.iter().flat_map(Metric::steps) {
            let bucket = buckets.entry(pair).or_default();
            if bucket.last() != Some(&index) {
                bucket.push(index);
            }
        }
    }
    let mut found = BTreeSet::new();
    let mut add = |a: usize, b: usize| {
        if runs[a].source != runs[b].source {
            found.insert((a.min(b), a.max(b)));
        }
    };
    for (index, run) in runs.iter().enumerate() {
        for near in run.likeness.metrics.iter().flat_map(Metric::steps).flat_map(neighbours) {
            let alike = buckets.get(&near).filter(|bucket| bucket.len() <= MAX_BUCKET);
            alike.into_iter().flatten().for_each(|other| add(index, *other));
        }
        for above in above(&run.likeness.folder) {
            let beside = folders.get(above).filter(|beside| beside.len() <= MAX_BUCKET);
            beside.into_iter().flatten().for_each(|other| add(index, *other));
        }
    }
    found
}

/// A folder and the two above it, but for the root.
fn above(folder: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(folder), |folder| folder.rsplit_once('/').map(|(above, _)| above)).take(3)
}

fn neighbours((a, b): (i64, i64)) -> impl Iterator<Item = (i64, i64)> {
    (-1..=1).flat_map(move |x| (-1..=1).map(move |y| (a + x, b + y)))
}

impl Metric {
    /// Rough pairs of values that follow each other. The first value is left out where there are more:
    /// runs of a sweep share it.
    fn steps(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        let rough =
            |value: f32| (value.abs().max(1e-6).ln() * 500.0) as i64 * if value < 0.0 { -1 } else { 1 };
        let skipped = usize::from(self.early.len() > 2);
        let late = self.late.windows(2).filter(|pair| !is_same(pair[0], pair[1]));
        let pairs = self.early.windows(2).skip(skipped).chain(late);
        let pairs = pairs.filter(|pair| pair.iter().all(|v| v.is_finite()));
        pairs.map(move |pair| (rough(pair[0]), rough(pair[1])))
    }

    /// How many of the first values both have. What stays 0 or 1 says nothing.
    fn equal_early(&self, other: &Self) -> usize {
        let values = self.early.iter().filter(|value| tells(**value));
        values.filter(|a| other.early.iter().any(|b| is_same(**a, *b))).count()
    }

    /// How many of the first values tell it from others.
    fn telling(&self) -> usize {
        self.early.iter().filter(|value| tells(**value)).count()
    }

    /// How many values both end with; of those that repeat one counts.
    fn equal_late(&self, other: &Self) -> usize {
        let same = self.backwards().zip(other.backwards()).take_while(|(a, b)| is_same(*a, *b));
        let mut distinct: Vec<f32> = same.map(|(value, _)| value).filter(|value| tells(*value)).collect();
        distinct.dedup_by(|a, b| is_same(*a, *b));
        distinct.len()
    }

    /// The last values, the last one first.
    fn backwards(&self) -> impl Iterator<Item = f32> {
        self.late.iter().rev().copied()
    }

    fn begins_like(&self, other: &Self) -> bool {
        let least = self.early.len().max(other.early.len()).min(ENOUGH);
        self.equal_early(other) >= least
    }

    /// Whether the shorter of them begins or ends as the other one does.
    fn is_alike(&self, other: &Self) -> bool {
        let least = self.telling().min(other.telling()).clamp(1, ENOUGH);
        self.equal_early(other).max(self.equal_late(other)) >= least
    }

    /// Whether both have other values at a later step.
    fn contradicts(&self, other: &Self) -> bool {
        self.parts_from(other) || self.ends_unlike(other)
    }

    /// Whether both count steps alike, and the last mark at a step of both has other values.
    fn parts_from(&self, other: &Self) -> bool {
        let value_at = |step: i64| other.marks.iter().find(|(at, _)| *at == step);
        let shared = self.marks.iter().filter_map(|(step, value)| Some((*value, value_at(*step)?.1)));
        let shared: Vec<bool> = shared.map(|(a, b)| is_same(a, b) || a.is_nan() && b.is_nan()).collect();
        shared.len() > 2 && shared.starts_with(&[true, true]) && !shared.ends_with(&[true])
    }

    /// Whether both come to the same last step with other values.
    fn ends_unlike(&self, other: &Self) -> bool {
        let is_among = |a: f32| other.backwards().take(AT_END).any(|b| is_same(a, b));
        let is_told = !self.late.is_empty() && !other.late.is_empty();
        is_told && self.last_step == other.last_step && !self.backwards().take(AT_END).any(is_among)
    }
}

fn is_same(a: f32, b: f32) -> bool {
    (a - b).abs() <= TOLERANCE * (1.0 + a.abs().max(b.abs()))
}

fn tells(value: f32) -> bool {
    value.is_finite() && value != 0.0 && value != 1.0
}

/// Whether two runs are one training, and how much speaks for it.
fn judge(runs: &[Run], counts: &Counts<'_>, (a, b): (usize, usize)) -> Option<Pair> {
    let (one, other) = (&runs[a].likeness, &runs[b].likeness);
    let alike = Alike::of(one, other);
    let distance = distance(&one.folder, &other.folder);
    let is_pair = alike.equal_early >= ENOUGH
        || alike.equal_late >= ENOUGH && !differ(one, other)
        || distance <= 1 && counts.are_alone(&runs[a], &runs[b]) && agree(one, other);
    if !is_pair || alike.is_contradicted {
        return None;
    }
    let apart_ms = match (one.created_at, other.created_at) {
        (Some(a), Some(b)) => a.abs_diff(b),
        _ => u64::MAX,
    };
    let unequal = -((alike.equal_early + alike.equal_late) as i64);
    let (is_far, ends_apart) = (distance > NEAR, alike.equal_late == 0);
    let steps_apart = alike.steps_apart.unwrap_or(u64::MAX);
    Some(Pair { is_far, ends_apart, unequal, distance, steps_apart, apart_ms, runs: (a, b) })
}

/// What the metrics of two runs have in common.
#[derive(Default)]
struct Alike {
    /// Equal values at the beginning.
    equal_early: usize,
    /// Equal values at the end.
    equal_late: usize,
    /// Between the last steps of metrics that begin alike.
    steps_apart: Option<u64>,
    /// Whether a metric begins alike and ends otherwise.
    is_contradicted: bool,
}

impl Alike {
    fn of(one: &Likeness, other: &Likeness) -> Self {
        let mut alike = Self::default();
        for metric in &one.metrics {
            let early = || other.metrics.iter().filter(|candidate| metric.begins_like(candidate));
            alike.equal_early += early().map(|candidate| metric.equal_early(candidate)).max().unwrap_or(0);
            let late = other.metrics.iter().map(|candidate| metric.equal_late(candidate));
            alike.equal_late += late.filter(|equal| *equal >= ENOUGH).max().unwrap_or(0);
            let apart = early().map(|candidate| metric.last_step.abs_diff(candidate.last_step));
            alike.steps_apart = alike.steps_apart.into_iter().chain(apart).min();
            let is_contradicted = early().all(|candidate| metric.contradicts(candidate));
            alike.is_contradicted |= is_contradicted && early().next().is_some();
        }
        alike
    }
}

/// Whether a metric of one name has no value in common.
fn differ(one: &Likeness, other: &Likeness) -> bool {
    let has_any = |a: &Metric, b: &Metric| a.equal_early(b) + a.equal_late(b) > 0;
    namesakes(one, other).any(|(metric, named)| !named.iter().any(|other| has_any(metric, other)))
}

/// Whether there are metrics of one name, and all of these are alike.
fn agree(one: &Likeness, other: &Likeness) -> bool {
    let are_alike =
        |(metric, named): (&Metric, Vec<&Metric>)| named.iter().any(|other| metric.is_alike(other));
    namesakes(one, other).next().is_some() && namesakes(one, other).all(are_alike)
}

/// Metrics with those of their name in the other run, where there are any whose values tell.
fn namesakes<'a>(
    one: &'a Likeness,
    other: &'a Likeness,
) -> impl Iterator<Item = (&'a Metric, Vec<&'a Metric>)> {
    let named = |metric: &Metric| -> Vec<&Metric> {
        other.metrics.iter().filter(|other| other.name == metric.name && other.telling() > 0).collect()
    };
    one.metrics
        .iter()
        .filter(|metric| metric.telling() > 0)
        .map(move |metric| (metric, named(metric)))
        .filter(|(_, named)| !named.is_empty())
}

/// Names in which two folders differ: `logs/csv/lr3` and `logs/tb/lr3` are as near as neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<&str>, Vec<&str>) = (names(a), names(b));
    let above = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let rest = a.len().min(b.len()) - above;
    let below = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    a.len() + b.len() - 2 * (above + below)
}

fn names(path: &str) -> Vec<&str> {
    path.split('/').filter(|name| !name.is_empty()).collect()
}

/// How many runs of a source lie in or below a folder.
struct Counts<'r>(HashMap<(&'r str, &'r str), usize>);

impl<'r> Counts<'r> {
    fn of(runs: &'r [Run]) -> Self {
        let mut counts = HashMap::new();
        for run in runs {
            let folder = run.likeness.folder.as_str();
            let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
            let above = ends.filter_map(|end| folder.get(..end)).filter(|folder| !folder.is_empty());
            for folder in above.chain([""]) {
                *counts.entry((run.source.as_str(), folder)).or_default() += 1;
            }
        }
        Self(counts)
    }

    /// Whether each of two runs is the only one of its source in the upper one of their folders.
    fn are_alone(&self, one: &Run, other: &Run) -> bool {
        let upper = [one, other].into_iter().min_by_key(|run| run.likeness.folder.len()).unwrap_or(one);
        let count = |run: &Run| self.0.get(&(run.source.as_str(), upper.likeness.folder.as_str())).copied();
        count(one) == Some(1) && count(other) == Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::Stats;
    use super::*;

    fn run(run_id: &str, source: &str, folder: &str, metrics: &[(&str, &[f32])]) -> Run {
        let origin = match source {
            "wandb" => Origin::Tracker,
            "tensorboard" => Origin::Events,
            _ => Origin::Framework,
        };
        let metric = |(name, values): &(&str, &[f32])| {
            let mut all = Stats::default();
            (0..).zip(*values).for_each(|(step, value)| all.push(step, f64::from(*value)));
            let name = hash_of(normal_form(name).as_bytes());
            let (early, marks) = (all.early().to_vec(), all.marks().to_vec());
            Metric { name, early, late: all.late(), last_step: values.len() as i64, marks }
        };
        let metrics = metrics.iter().map(metric).collect();
        let likeness = Likeness { folder: folder.into(), created_at: None, metrics };
        Run { run_id: run_id.into(), source: source.into(), rank: (origin, 0), likeness }
    }

    fn told(runs: &[Run]) -> Vec<(String, String)> {
        duplicates(runs).into_iter().collect()
    }

    fn pair(a: &str, b: &str) -> (String, String) {
        (a.to_string(), b.to_string())
    }

    #[test]
    fn equal_values_are_one_training_whatever_their_names() {
        let full: &[f32] = &[3.256_78, 2.912_34, 2.501_23, 2.1];
        let printed: &[f32] = &[3.2568, 2.9123, 2.5012, 2.1];
        let later: &[f32] = &[2.912_34, 2.501_23, 2.1, 2.05];
        let runs = [
            run("w", "wandb", "wandb/run-1", &[("train/loss", full)]),
            run("t", "tensorboard", "logs/a", &[("loss", printed)]),
            run("c", "csv", "out/csv", &[("Loss_train", later)]),
            run("other", "csv", "out/b", &[("loss", &[3.256_78, 2.8, 2.6, 2.4])]),
        ];
        assert_eq!(told(&runs), [pair("c", "w"), pair("t", "w")]);
    }

    #[test]
    fn a_sweep_that_shares_its_start_stays_apart() {
        let runs: Vec<Run> = (0..20)
            .flat_map(|i| {
                let early = [4.0, 3.0 - i as f32 * 0.01, 2.5 - i as f32 * 0.01, 2.0];
                let w = run(&format!("w{i}"), "wandb", &format!("wandb/{i}"), &[("loss", &early)]);
                [w, run(&format!("t{i}"), "tensorboard", &format!("tb/{i}"), &[("loss", &early)])]
            })
            .collect();
        let expected: BTreeMap<String, String> =
            (0..20).map(|i| (format!("t{i}"), format!("w{i}"))).collect();
        assert_eq!(duplicates(&runs), expected);
    }

    #[test]
    fn runs_alone_in_a_folder_are_one_where_they_share_a_metric() {
        let short: &[f32] = &[0.5];
        let runs = [
            run("a", "csv", "a", &[("loss", short)]),
            run("ta", "tensorboard", "a/runs", &[("Loss", short), ("reward", &[7.0])]),
            run("b", "csv", "b", &[("loss", short)]),
            run("tb", "tensorboard", "b", &[("loss", &[0.7])]),
            run("c1", "csv", "c", &[("loss", short)]),
            run("c2", "csv", "c", &[("loss", short)]),
            run("tc", "tensorboard", "c", &[("loss", short)]),
            run("d", "csv", "d", &[("mlm_loss", &[5.5, 5.0, 4.7])]),
            run("td", "tensorboard", "d", &[("cls_loss", &[2.4, 2.0, 1.7])]),
            run("e", "csv", "e", &[("loss", &[2.5, 2.0, 1.7, 1.6])]),
            run("te", "tensorboard", "e", &[("loss", &[2.5, 2.1, 1.9])]),
        ];
        assert_eq!(told(&runs), [pair("ta", "a")]);
    }

    /// A sweep over what tells late: the folders say which is which.
    #[test]
    fn of_equal_values_those_in_folders_of_one_name_are_one() {
        let early: &[f32] = &[3.2, 2.9, 2.5, 2.1];
        let make = |name: &str, source: &str, folder: &str| {
            run(&format!("{source}_{name}"), source, &format!("logs/{folder}/v/{name}"), &[("loss", early)])
        };
        let runs = [
            make("b", "csv", "csv"),
            make("a", "csv", "csv"),
            make("a", "tensorboard", "tb"),
            make("b", "tensorboard", "tb"),
        ];
        assert_eq!(told(&runs), [pair("tensorboard_a", "csv_a"), pair("tensorboard_b", "csv_b")]);
        assert_eq!((distance("a/b/c", "a/x/c"), distance("a/a", "a"), distance("", "a")), (2, 1, 1));
    }

    /// The resumed run's own table has lost its beginning, which is that of the run before.
    #[test]
    fn a_resumed_run_is_like_the_one_it_ends_like() {
        let whole: &[f32] = &[3.2, 2.9, 2.5, 2.1, 1.9, 1.8, 1.5, 1.4, 1.3, 1.2];
        let runs = [
            run("killed", "csv", "csv/a", &[("loss", &whole[..6])]),
            run("resumed", "csv", "csv/b", &[("loss", &whole[6..])]),
            run("t", "tensorboard", "tb/c", &[("loss", whole)]),
        ];
        assert_eq!(told(&runs), [pair("t", "resumed")]);
        assert_eq!(told(&runs[..1]), []);
    }

    #[test]
    fn runs_that_begin_alike_and_end_otherwise_are_two_trainings() {
        let begin = [3.2, 2.9, 2.5, 2.1];
        let with = |end: &[f32]| [&begin, end].concat();
        let (steady, diverged, longer) =
            (with(&[2.0, 1.9]), with(&[4.0, 9.0]), with(&[2.0, 1.9, 1.8, 1.7, 1.6, 1.5]));
        let runs = [
            run("w", "wandb", "wandb/1", &[("loss", &diverged)]),
            run("t", "tensorboard", "tb", &[("loss", &steady)]),
        ];
        assert_eq!(told(&runs), []);
        // One of them was read further than the other: nothing contradicts.
        let runs = [
            run("w", "wandb", "wandb/1", &[("loss", &longer)]),
            run("t", "tensorboard", "tb", &[("loss", &steady)]),
        ];
        assert_eq!(told(&runs), [pair("t", "w")]);
    }

    /// One seed, two settings, and one of the two went on for longer.
    #[test]
    fn runs_that_part_on_the_way_are_two_trainings() {
        let begin = [3.2, 2.9, 2.5, 2.1];
        let long = [&begin[..], &[2.0, 1.9, 1.8, 1.7, 1.6]].concat();
        let short = [&begin[..], &[0.9, 0.8, 0.7]].concat();
        let runs = [
            run("w", "wandb", "wandb/1", &[("loss", &long)]),
            run("t", "tensorboard", "tb", &[("loss", &short)]),
        ];
        assert_eq!(told(&runs), []);
    }

    #[test]
    fn two_runs_of_a_source_are_two_trainings() {
        let early: &[f32] = &[3.2, 2.9, 2.5, 2.1];
        let runs = [
            run("w1", "wandb", "x/wandb/1", &[("loss", early)]),
            run("w2", "wandb", "y/wandb/1", &[("loss", early)]),
            run("t1", "tensorboard", "x/tb", &[("loss", early)]),
            run("t2", "tensorboard", "y/tb", &[("loss", early)]),
        ];
        assert_eq!(told(&runs), [pair("t1", "w1"), pair("t2", "w2")]);
    }
}
