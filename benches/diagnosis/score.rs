//! Scores judges on labelled runs, and prints the tables.

use super::faults::Label;
use super::{Family, Labelled, labelled};
use super::{fixtures, plain};
use runq_udfs::kernels::diagnosis::{Curve, Finding, Kind, Level, Role, Run};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a loss will be at the end.
pub struct Forecast {
    /// The best guess.
    pub point: f64,
    /// Lower end of the 80 % interval.
    pub low: f64,
    /// Upper end of the 80 % interval.
    pub high: f64,
}

/// How long a run will take, in seconds.
pub struct Eta {
    /// The best guess.
    pub eta_s: f64,
    /// Lower end of the 80 % interval.
    pub low_s: f64,
    /// Upper end of the 80 % interval.
    pub high_s: f64,
}

/// Says the final value of a loss from steps, values and the planned end.
type Forecaster = fn(&[i64], &[f64], i64) -> Option<Forecast>;

/// Says the time left from steps, times in seconds, steps of resumes and the planned end.
type Estimator = fn(&[i64], &[f64], &[i64], i64) -> Option<Eta>;

/// Somebody who reads logs.
pub struct Judge {
    /// As the tables name it.
    pub name: &'static str,
    /// What went wrong.
    pub diagnose: fn(&Run) -> Vec<Finding>,
    /// The final value of a loss.
    pub forecast: Option<Forecaster>,
    /// The time left.
    pub eta: Option<Estimator>,
    /// Whether to stop now.
    pub stop: Option<fn(&Run) -> bool>,
}

/// Who is compared; the first one is ours.
pub const JUDGES: [Judge; 4] = [super::ours::OURS, plain::TWICE_THE_MEDIAN, plain::SEVEN_SD, plain::EMA_Z];

/// Runs with more rows are not asked for advice to stop, which takes nineteen diagnoses.
const MOST_ROWS_TO_STOP: usize = 4_000;

/// False alarms of one kind on one run that count for its precision: a report prints no more.
const MOST_FALSE_ALARMS: usize = 5;

#[derive(Default)]
struct KindTally {
    labels: usize,
    hits: usize,
    false_alarms: usize,
    right_level: usize,
    /// Distance in rows, and whether the onset was sharp.
    onset_rows: Vec<(usize, bool)>,
}

impl KindTally {
    fn precision(&self) -> f64 {
        self.hits as f64 / (self.hits + self.false_alarms) as f64
    }

    fn recall(&self) -> f64 {
        self.hits as f64 / self.labels as f64
    }

    fn f1(&self) -> f64 {
        2.0 * self.hits as f64 / (self.labels + self.hits + self.false_alarms).max(1) as f64
    }
}

/// Guesses against what came: relative error, that of "stay", whether the interval held it.
#[derive(Default)]
struct Guesses {
    errors: Vec<f64>,
    stay_errors: Vec<f64>,
    covered: usize,
}

#[derive(Default)]
struct Stops {
    wasted: f64,
    saved: f64,
    healthy: usize,
    false_on_healthy: usize,
    broken: usize,
    false_on_broken: usize,
}

/// What one judge got right and wrong.
#[derive(Default)]
struct Tally {
    kinds: BTreeMap<Kind, KindTally>,
    healthy: usize,
    alarms_on_healthy: BTreeMap<(Kind, Family), usize>,
    /// Seeds by kind.
    runs_with_alarm: BTreeMap<Kind, Vec<u64>>,
    /// Seeds by kind.
    missed: BTreeMap<Kind, Vec<u64>>,
    forecasts: Guesses,
    etas: Guesses,
    stops: Stops,
}

impl Tally {
    fn merge(&mut self, other: Self) {
        for (kind, tally) in other.kinds {
            let mine = self.kinds.entry(kind).or_default();
            mine.labels += tally.labels;
            mine.hits += tally.hits;
            mine.false_alarms += tally.false_alarms;
            mine.right_level += tally.right_level;
            mine.onset_rows.extend(tally.onset_rows);
        }
        self.healthy += other.healthy;
        for (whence, count) in other.alarms_on_healthy {
            *self.alarms_on_healthy.entry(whence).or_default() += count;
        }
        let seeds = [(&mut self.runs_with_alarm, other.runs_with_alarm), (&mut self.missed, other.missed)];
        for (mine, other) in seeds {
            other.into_iter().for_each(|(kind, seeds)| mine.entry(kind).or_default().extend(seeds));
        }
        for (mine, other) in [(&mut self.forecasts, other.forecasts), (&mut self.etas, other.etas)] {
            mine.errors.extend(other.errors);
            mine.stay_errors.extend(other.stay_errors);
            mine.covered += other.covered;
        }
        self.stops.wasted += other.stops.wasted;
        self.stops.saved += other.stops.saved;
        self.stops.healthy += other.stops.healthy;
        self.stops.false_on_healthy += other.stops.false_on_healthy;
        self.stops.broken += other.stops.broken;
        self.stops.false_on_broken += other.stops.false_on_broken;
    }

    fn macro_f1(&self) -> f64 {
        Kind::ALL.iter().map(|kind| self.kinds.get(kind).map_or(0.0, KindTally::f1)).sum::<f64>()
            / Kind::ALL.len() as f64
    }
}

/// Scores all judges on these seeds and prints the tables.
pub fn print(seeds: &Range<u64>) {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let score_part = |part: u64| {
        let mut tallies: Vec<Tally> = JUDGES.iter().map(|_| Tally::default()).collect();
        for seed in seeds.clone().filter(|seed| seed / 2 % threads == part) {
            let made = labelled(seed);
            JUDGES.iter().zip(&mut tallies).for_each(|(judge, tally)| score(judge, &made, tally));
        }
        tallies
    };
    let mut tallies: Vec<Tally> = JUDGES.iter().map(|_| Tally::default()).collect();
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|part| scope.spawn(move || score_part(part))).collect();
        for part in parts {
            tallies.iter_mut().zip(part.join().unwrap()).for_each(|(mine, other)| mine.merge(other));
        }
    });
    println!(
        "Seeds {}..{}: {} runs, {} of them healthy.\n",
        seeds.start,
        seeds.end,
        seeds.end - seeds.start,
        tallies[0].healthy
    );
    print_kinds(&tallies[0]);
    print_judges(&tallies);
    print_guesses(&tallies);
    print_stops(&tallies);
    fixtures::print(&JUDGES);
}

fn score(judge: &Judge, made: &Labelled, tally: &mut Tally) {
    let mut found = (judge.diagnose)(&made.run);
    found.retain(|finding| finding.level >= Level::Warn);
    let matched = matches(made, &found);
    for (label, hit) in made.truth.iter().zip(&matched) {
        let kind = tally.kinds.entry(label.kind).or_default();
        kind.labels += 1;
        match hit {
            Some((finding, rows)) => {
                kind.hits += 1;
                kind.right_level += usize::from(found[*finding].level >= label.level);
                kind.onset_rows.push((*rows, label.is_sharp));
            }
            None => tally.missed.entry(label.kind).or_default().push(made.seed),
        }
    }
    let is_hit = |place: usize| matched.iter().flatten().any(|(finding, _)| *finding == place);
    let hits: Vec<Option<&Finding>> = matched.iter().map(|hit| hit.map(|(place, _)| &found[place])).collect();
    let left = (0..found.len()).filter(|place| !is_hit(*place)).map(|place| &found[place]);
    let wrong: Vec<Kind> =
        left.filter(|finding| !is_excused(made, finding, &hits)).map(|finding| finding.kind).collect();
    score_alarms(made, &wrong, tally);
    if made.is_healthy() {
        tally.healthy += 1;
        score_forecast(judge, made, &mut tally.forecasts);
        score_eta(judge, made, &mut tally.etas);
    }
    score_stop(judge, made, &mut tally.stops);
}

/// Kinds that were reported and are not there.
fn score_alarms(made: &Labelled, wrong: &[Kind], tally: &mut Tally) {
    let mut counted: BTreeMap<Kind, usize> = BTreeMap::new();
    for kind in wrong {
        *counted.entry(*kind).or_default() += 1;
    }
    for (kind, count) in counted {
        tally.kinds.entry(kind).or_default().false_alarms += count.min(MOST_FALSE_ALARMS);
        tally.runs_with_alarm.entry(kind).or_default().push(made.seed);
        if made.is_healthy() {
            *tally.alarms_on_healthy.entry((kind, made.family)).or_default() += count;
        }
    }
}

/// For each label the finding that meets it and how many rows off it is; the nearest pairs first.
fn matches(made: &Labelled, found: &[Finding]) -> Vec<Option<(usize, usize)>> {
    let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
    for (label, truth) in made.truth.iter().enumerate() {
        let near = |(place, finding): (usize, &Finding)| {
            rows_off(made, truth, finding).map(|rows| (rows, label, place))
        };
        pairs.extend(found.iter().enumerate().filter_map(near));
    }
    pairs.sort_unstable();
    let mut matched = vec![None; made.truth.len()];
    for (rows, label, place) in pairs {
        let is_taken = matched.iter().flatten().any(|(taken, _)| *taken == place);
        if matched[label].is_none() && !is_taken {
            matched[label] = Some((place, rows));
        }
    }
    matched
}

/// Rows between a finding and the onset; none where the finding is about something else.
fn rows_off(made: &Labelled, label: &Label, finding: &Finding) -> Option<usize> {
    let curve = made.run.curves.get(finding.curve)?;
    let is_its = label.keys.is_empty() || label.keys.contains(&curve.key.as_str());
    if label.kind != finding.kind || !is_its {
        return None;
    }
    let row = |step: i64| curve.steps.partition_point(|other| *other < step);
    let rows = row(finding.step).abs_diff(row(label.onset_step));
    let most = label.tolerance_rows.max((label.tolerance_share * curve.steps.len() as f64) as usize);
    (rows <= most).then_some(rows)
}

/// Whether nobody can object to a finding: undecided, a consequence, or an event that was found on
/// another of its metrics as well.
fn is_excused(made: &Labelled, finding: &Finding, hits: &[Option<&Finding>]) -> bool {
    let same_elsewhere = |(label, hit): (&Label, &Option<&Finding>)| {
        hit.is_some_and(|hit| hit.curve != finding.curve) && rows_off(made, label, finding).is_some()
    };
    made.undecided.contains(&finding.kind)
        || made.truth.iter().any(|label| label.may_also.contains(&finding.kind))
        || made.truth.iter().zip(hits).any(same_elsewhere)
}

/// The curve that stands for a run: its first loss, in RL its reward.
fn main_curve(run: &Run) -> Option<&Curve> {
    let of = |role: Role| run.curves.iter().find(|curve| curve.role == role);
    of(Role::Reward).or_else(|| of(Role::Loss))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

/// Of ascending values; NaN of none.
fn quantile(values: &[f64], share: f64) -> f64 {
    let last = values.len().saturating_sub(1);
    values.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The final loss, guessed after 30 % of the rows.
fn score_forecast(judge: &Judge, made: &Labelled, tally: &mut Guesses) {
    let (Some(forecast), Some(curve)) = (judge.forecast, main_curve(&made.full)) else { return };
    let rows = curve.steps.len();
    if rows < 70 || matches!(made.family, Family::Rl | Family::Gan) {
        return;
    }
    let (seen, part) = (rows * 3 / 10, rows.div_ceil(20));
    let Some(guess) = forecast(&curve.steps[..seen], &curve.values[..seen], made.planned) else { return };
    let end = median(curve.values[rows - part..].to_vec());
    let start = median(curve.values[..part].to_vec());
    let scale = end.abs().max(0.1 * (start - end).abs()).max(1e-12);
    let stay = median(curve.values[seen - seen.div_ceil(20)..seen].to_vec());
    tally.errors.push((guess.point - end).abs() / scale);
    tally.stay_errors.push((stay - end).abs() / scale);
    tally.covered += usize::from((guess.low..=guess.high).contains(&end));
}

/// The time left, guessed after 30 % and 60 % of the rows.
fn score_eta(judge: &Judge, made: &Labelled, tally: &mut Guesses) {
    let (Some(eta), Some(curve)) = (judge.eta, main_curve(&made.full)) else { return };
    if curve.times_s.is_empty() || curve.steps.len() < 70 {
        return;
    }
    for share in [0.3, 0.6] {
        let seen = (share * curve.steps.len() as f64) as usize;
        let resumed: Vec<i64> = made
            .full
            .facts
            .resumed_at
            .iter()
            .copied()
            .filter(|step| *step <= curve.steps[seen - 1])
            .collect();
        let Some(guess) = eta(&curve.steps[..seen], &curve.times_s[..seen], &resumed, made.planned) else {
            continue;
        };
        let now = made.goal_row(curve.steps[seen - 1]);
        let left = made.active_s[made.active_s.len() - 1] - made.active_s[now];
        tally.errors.push((guess.eta_s - left).abs() / left);
        tally.covered += usize::from((guess.low_s..=guess.high_s).contains(&left));
    }
}

/// A run as far as it had come at a step.
fn until(made: &Labelled, step: i64) -> Run {
    let mut run = made.full.until(step);
    run.facts.planned_steps = Some(made.planned);
    run.curves.retain(|curve| !curve.steps.is_empty());
    run
}

/// Advice to stop, asked for at each 5 % of the planned steps; it counts when given twice in a row.
fn score_stop(judge: &Judge, made: &Labelled, tally: &mut Stops) {
    let rows = made.goal_steps.len();
    let Some(stop) = judge.stop.filter(|_| (40..=MOST_ROWS_TO_STOP).contains(&rows)) else { return };
    let fatal =
        made.truth.iter().filter(|label| label.is_fatal).map(|label| made.goal_row(label.onset_step)).min();
    tally.healthy += usize::from(made.is_healthy());
    tally.broken += usize::from(!made.is_healthy());
    tally.wasted += fatal.map_or(0.0, |onset| 1.0 - onset as f64 / rows as f64);
    let mut in_a_row = 0;
    let at = (1..20).map(|part| rows * part / 20).find(|row| {
        in_a_row = if stop(&until(made, made.goal_steps[*row])) { in_a_row + 1 } else { 0 };
        in_a_row == 2
    });
    let Some(at) = at else { return };
    tally.saved += fatal.map_or(0.0, |onset| 1.0 - at.max(onset) as f64 / rows as f64);
    let is_false = usize::from(gained_after(made, at, fatal.unwrap_or(rows)));
    if made.is_healthy() {
        tally.false_on_healthy += is_false;
    } else {
        tally.false_on_broken += is_false;
    }
}

/// Whether the noise-free best after a row beats the best before it by more than 1 %.
fn gained_after(made: &Labelled, row: usize, end: usize) -> bool {
    if made.goal.is_empty() || row >= end {
        return false;
    }
    let best = |goal: &[f64]| goal.iter().copied().fold(f64::INFINITY, f64::min);
    let (before, after) = (best(&made.goal[..row]), best(&made.goal[row..end]));
    let range = (made.goal[0] - best(&made.goal)).abs();
    before - after > 0.01 * before.abs().max(0.1 * range)
}

impl Labelled {
    /// The row of a step.
    fn goal_row(&self, step: i64) -> usize {
        self.goal_steps.partition_point(|other| *other < step).min(self.goal_steps.len() - 1)
    }
}

fn print_kinds(tally: &Tally) {
    println!("{}:\n", JUDGES[0].name);
    println!(
        "| kind | labels | precision | recall | F1 | level right | onset: median rows | 95 % | sharp ones within 2 rows |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let none = KindTally::default();
    for kind in Kind::ALL {
        let tally = tally.kinds.get(&kind).unwrap_or(&none);
        let mut rows: Vec<f64> = tally.onset_rows.iter().map(|(rows, _)| *rows as f64).collect();
        rows.sort_by(f64::total_cmp);
        let sharp: Vec<usize> =
            tally.onset_rows.iter().filter(|(_, sharp)| *sharp).map(|(rows, _)| *rows).collect();
        let near = sharp.iter().filter(|rows| **rows <= 2).count() as f64 / sharp.len() as f64;
        let near = if sharp.is_empty() { String::new() } else { format!("{near:.3}") };
        println!(
            "| {kind} | {} | {:.3} | {:.3} | {:.3} | {:.3} | {} | {} | {near} |",
            tally.labels,
            tally.precision(),
            tally.recall(),
            tally.f1(),
            tally.right_level as f64 / tally.hits as f64,
            quantile(&rows, 0.5),
            quantile(&rows, 0.95),
        );
    }
    println!();
    if std::env::var_os("RUNQ_BENCH_VERBOSE").is_some() {
        let alarms = &tally.runs_with_alarm;
        alarms.iter().for_each(|(kind, seeds)| println!("Seeds with a false {kind}: {seeds:?}\n"));
        tally.missed.iter().for_each(|(kind, seeds)| println!("Seeds with a missed {kind}: {seeds:?}\n"));
    }
}

fn print_judges(tallies: &[Tally]) {
    let row = |name: &str, cell: &dyn Fn(&Tally) -> String| {
        println!("| {name} | {} |", tallies.iter().map(cell).collect::<Vec<_>>().join(" | "));
    };
    println!("| F1 | {} |", JUDGES.map(|judge| judge.name).join(" | "));
    println!("|---|{}", "---|".repeat(JUDGES.len()));
    for kind in Kind::ALL {
        row(kind.as_str(), &|tally| format!("{:.3}", tally.kinds.get(&kind).map_or(0.0, KindTally::f1)));
    }
    row("macro", &|tally| format!("{:.3}", tally.macro_f1()));
    let alarms =
        |tally: &Tally| tally.alarms_on_healthy.values().sum::<usize>() as f64 / tally.healthy as f64;
    row("false alarms a healthy run", &|tally| format!("{:.3}", alarms(tally)));
    println!();
    for (judge, tally) in JUDGES.iter().zip(tallies) {
        let mut whence: Vec<_> =
            tally.alarms_on_healthy.iter().map(|((kind, family), count)| (*count, kind, family)).collect();
        whence.sort_unstable_by_key(|(count, ..)| std::cmp::Reverse(*count));
        let whence: Vec<String> = whence
            .iter()
            .take(12)
            .map(|(count, kind, family)| format!("{kind} on {family:?} {count}"))
            .collect();
        println!("False alarms of {} on healthy runs: {}.\n", judge.name, whence.join(", "));
    }
}

fn print_guesses(tallies: &[Tally]) {
    println!(
        "| | forecasts at 30 % | median error % | of \"stay\" % | ratio | coverage | ETAs | median error % | coverage |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (judge, tally) in JUDGES.iter().zip(tallies) {
        let (forecasts, etas) = (&tally.forecasts, &tally.etas);
        let (error, stay) = (median(forecasts.errors.clone()), median(forecasts.stay_errors.clone()));
        println!(
            "| {} | {} | {:.2} | {:.2} | {:.2} | {:.3} | {} | {:.2} | {:.3} |",
            judge.name,
            forecasts.errors.len(),
            100.0 * error,
            100.0 * stay,
            error / stay,
            forecasts.covered as f64 / forecasts.errors.len() as f64,
            etas.errors.len(),
            100.0 * median(etas.errors.clone()),
            etas.covered as f64 / etas.errors.len() as f64,
        );
    }
    println!();
}

fn print_stops(tallies: &[Tally]) {
    println!("| | runs | wasted compute saved | false stops, healthy runs | false stops, broken runs |");
    println!("|---|---|---|---|---|");
    for (judge, tally) in JUDGES.iter().zip(tallies) {
        let stops = &tally.stops;
        println!(
            "| {} | {} | {:.3} | {:.3} | {:.3} |",
            judge.name,
            stops.healthy + stops.broken,
            stops.saved / stops.wasted,
            stops.false_on_healthy as f64 / stops.healthy as f64,
            stops.false_on_broken as f64 / stops.broken as f64,
        );
    }
    println!();
}
