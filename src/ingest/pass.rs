//! One pass: plans against the catalog, reads what is to be read, commits.

use super::flush::Flush;
use super::ids::{Ids, RunKey, root_key};
use super::load::{self, Active, Batch, Loader, Runs};
use super::look::Look;
use super::plan::{self, FoundRun, Job, Plan, Stat};
use super::settle::AxisHint;
use super::state::RunState;
use super::{Outcome, Progress, Refresh};
use crate::records::Problem;
use crate::sources::{InputKind, RunInput, sidecar};
use crate::store::{Catalog, InputRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What is known of the axes of metrics, by run.
type Hints = BTreeMap<RunKey, BTreeMap<String, AxisHint>>;

/// What the next pass must read again.
#[derive(Debug, Default)]
pub struct Again {
    /// Runs whose logs are read anew.
    runs: BTreeSet<RunKey>,
    /// All that was learned in the passes so far.
    hints: Hints,
}

/// One pass over all logs.
pub struct Pass<'a> {
    /// Everything a refresh works with.
    pub refresh: &'a Refresh<'a>,
    /// Folder that paths are relative to.
    pub base: &'a Path,
    /// Logs that are there.
    pub found: &'a [FoundRun],
    /// State of their files.
    pub stats: &'a BTreeMap<String, Stat>,
    /// Told how it goes on.
    pub progress: &'a dyn Progress,
}

impl Pass<'_> {
    /// Returns whether another pass is needed.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn run(&self, look: &Look, again: &mut Again, outcome: &mut Outcome) -> anyhow::Result<bool> {
        let catalog = self.refresh.catalog;
        let mut ids = Ids::new(catalog, self.found)?;
        let known = catalog.inputs()?;
        let reread = ids.renamed().into_iter().chain(std::mem::take(&mut again.runs)).collect();
        let mut same_start = |record: &InputRecord| look.same_start(record);
        let plan = plan::plan(self.found.to_vec(), self.stats, &known, &reread, &mut same_start);
        if plan.jobs.is_empty() && plan.gone.is_empty() {
            return Ok(false);
        }
        let batch = Batch::new(catalog.next_alert_seq()?);
        let mut loading =
            Loading { pass: self, known: &known, ids: &mut ids, hints: &again.hints, batch, outcome };
        loading.run(plan)?;
        for (run, hints) in loading.batch.take_reread() {
            again.runs.insert(run.clone());
            again.hints.entry(run).or_default().extend(hints);
        }
        Ok(!again.runs.is_empty() || !Ids::new(catalog, self.found)?.renamed().is_empty())
    }
}

/// A pass at work.
struct Loading<'a> {
    pass: &'a Pass<'a>,
    known: &'a [InputRecord],
    ids: &'a mut Ids,
    hints: &'a Hints,
    batch: Batch,
    outcome: &'a mut Outcome,
}

impl Loading<'_> {
    fn run(&mut self, plan: Plan) -> anyhow::Result<()> {
        self.pass.progress.start(self.bytes_to_read(&plan));
        for (source, identity) in &plan.gone {
            self.drop_log(source, identity);
        }
        for job in &plan.jobs {
            self.job(job)?;
        }
        self.commit(None)?;
        self.pass.progress.finish();
        Ok(())
    }

    fn bytes_to_read(&self, plan: &Plan) -> u64 {
        let left = |(input, from): &(RunInput, Option<InputRecord>)| {
            let size = self.pass.stats.get(&input.path).map_or(0, |stat| stat.size_bytes);
            size.saturating_sub(from.as_ref().map_or(0, |record| record.offset))
        };
        plan.jobs.iter().flat_map(|job| &job.inputs).map(left).sum()
    }

    /// Everything read of a log is void.
    fn drop_log(&mut self, source: &str, identity: &str) {
        let is_of_log = |key: &RunKey| key.source == source && key.identity == identity;
        let runs = self.ids.known.iter().filter(|(key, _)| is_of_log(key)).map(|(_, id)| id.clone());
        for run_id in runs {
            self.batch.gone_runs.push(run_id.clone());
            self.batch.dropped_runs.insert(run_id);
        }
        for record in self.known.iter().filter(|r| r.source == source && r.identity == identity) {
            self.batch.gone_inputs.push((source.to_string(), identity.to_string(), record.path.clone()));
        }
    }

    fn job(&mut self, job: &Job) -> anyhow::Result<()> {
        let refresh = self.pass.refresh;
        let is_its = |source: &&&dyn crate::sources::Source| source.name() == job.run.source;
        let Some(source) = refresh.settings.sources.iter().find(is_its) else { return Ok(()) };
        if job.reset {
            self.drop_log(job.run.source, &job.run.logs.identity);
        }
        let mut loader = Loader {
            root: self.pass.base,
            source: *source,
            job,
            read_bytes: refresh.limits.read_bytes,
            configs: BTreeMap::new(),
        };
        let (beside, own): (Vec<_>, Vec<_>) =
            job.inputs.iter().partition(|(input, _)| input.role == sidecar::ROLE);
        let mut configs: Vec<InputRecord> =
            beside.into_iter().map(|(input, _)| self.config(&mut loader, input)).collect();
        for kind in [InputKind::Document, InputKind::Log] {
            for (input, from) in own.iter().filter(|(input, _)| input.kind == kind) {
                self.input(&loader, input, from.clone())?;
            }
        }
        if !configs.is_empty() {
            let runs = self.apply_configs(&loader)?;
            configs.iter_mut().for_each(|record| record.runs.clone_from(&runs));
            self.batch.inputs.append(&mut configs);
        }
        Ok(())
    }

    /// Reads a configuration beside the log.
    fn config(&mut self, loader: &mut Loader<'_>, input: &RunInput) -> InputRecord {
        let mut record = self.begin(&loader.job.run, input);
        match load::read_config(&self.pass.base.join(&input.path), &input.path) {
            Ok((config, read_bytes)) => {
                self.outcome.read_bytes += read_bytes;
                record.row_count = 1;
                record.offset = read_bytes;
                loader.configs.insert(input.path.clone(), config);
            }
            Err(error) => {
                record.problem_count = 1;
                let problem = Problem { position: "file".into(), message: format!("{error:#}") };
                self.batch.problems.push((input.path.clone(), problem));
                loader.configs.insert(input.path.clone(), BTreeMap::new());
            }
        }
        if let Some(stat) = self.pass.stats.get(&input.path) {
            record.size_bytes = stat.size_bytes;
            record.modified_ns = stat.modified_ns;
        }
        record
    }

    /// Hands the configuration to the runs of the log that were not opened by reading it; returns
    /// the ids of all its runs.
    fn apply_configs(&mut self, loader: &Loader<'_>) -> anyhow::Result<Vec<String>> {
        let run = &loader.job.run;
        let is_of_log = |key: &&RunKey| key.source == run.source && key.identity == run.logs.identity;
        let known: Vec<RunKey> = match loader.job.reset {
            true => Vec::new(),
            false => self.ids.known.keys().filter(is_of_log).cloned().collect(),
        };
        for key in known {
            if self.batch.find(&key).is_none() {
                let writes_ends = loader.source.writes_ends(&run.logs);
                let catalog = self.pass.refresh.catalog;
                let mut opener = Opener { catalog, ids: self.ids, fresh: false, hints: self.hints };
                let mut opened = opener.open(run, &key.sub, writes_ends)?;
                opened.apply(&loader.configs);
                self.batch.add_run(opened);
            }
        }
        let of_log = self.batch.runs.iter().filter(|active| is_of_log(&&active.key));
        Ok(of_log.map(|active| active.run_id.clone()).collect())
    }

    /// The record of an input that is read from its start.
    fn begin(&mut self, run: &FoundRun, input: &RunInput) -> InputRecord {
        let key = (run.source.to_string(), run.logs.identity.clone(), input.path.clone());
        let is_it = |r: &InputRecord| r.source == key.0 && r.identity == key.1 && r.path == key.2;
        if self.known.iter().any(is_it) {
            // What was noted of it is void.
            self.batch.gone_inputs.push(key);
        }
        InputRecord {
            path: input.path.clone(),
            source: run.source.to_string(),
            identity: run.logs.identity.clone(),
            segment: input.segment,
            role: input.role.clone(),
            ..InputRecord::default()
        }
    }

    fn input(
        &mut self,
        loader: &Loader<'_>,
        input: &RunInput,
        from: Option<InputRecord>,
    ) -> anyhow::Result<()> {
        let Some(stat) = self.pass.stats.get(&input.path).copied() else { return Ok(()) };
        let limits = self.pass.refresh.limits;
        let run = &loader.job.run;
        let current = Some((run.source, run.logs.identity.as_str()));
        let mut record = match from {
            Some(record) => record,
            None => self.begin(run, input),
        };
        let mut slice_bytes = limits.slice_bytes;
        loop {
            let (before, problem_count) = (record.clone(), self.batch.problems.len());
            let mut opener = Opener {
                catalog: self.pass.refresh.catalog,
                ids: self.ids,
                fresh: loader.job.reset,
                hints: self.hints,
            };
            let slice = loader.slice(input, stat, &mut record, &mut self.batch, &mut opener, slice_bytes)?;
            self.outcome.read_bytes += slice.read_bytes;
            self.pass.progress.advance(self.outcome.read_bytes);
            if !slice.done && record.offset == before.offset {
                // A record larger than the slice: look further until it fits; this try said nothing.
                slice_bytes = slice_bytes.saturating_mul(2);
                self.batch.problems.truncate(problem_count);
                record = InputRecord { runs: record.runs, ..before };
                continue;
            }
            self.batch.put_input(&record);
            if self.batch.held_points() >= limits.flush_points {
                self.commit(current)?;
            }
            if slice.done {
                return Ok(());
            }
        }
    }

    fn commit(&mut self, current: Option<(&str, &str)>) -> anyhow::Result<()> {
        self.note_problems()?;
        let refresh = self.pass.refresh;
        let flush = Flush {
            cache: refresh.cache,
            catalog: refresh.catalog,
            limits: refresh.limits,
            now_ms: refresh.now_ms,
        };
        self.outcome.notes.append(&mut self.batch.notes);
        let written = flush.commit(&mut self.batch, current)?;
        self.outcome.written_files += written.file_count;
        self.outcome.point_count += written.point_count;
        Ok(())
    }

    /// One line for each input with new problems.
    fn note_problems(&mut self) -> anyhow::Result<()> {
        if self.batch.problems.is_empty() {
            return Ok(());
        }
        let known = self.pass.refresh.catalog.problems()?;
        let mut counts: BTreeMap<&str, (u64, String)> = BTreeMap::new();
        for (path, problem) in self.batch.problems.iter().filter(|new| !known.contains(new)) {
            let first = || (0, format!("{}: {}", problem.position, problem.message));
            counts.entry(path).or_insert_with(first).0 += 1;
        }
        for (path, (count, first)) in counts {
            let more = if count > 1 {
                format!(" (and {} more: select * from problems)", count - 1)
            } else {
                String::new()
            };
            self.outcome.notes.push(format!("{path}: {first}{more}"));
        }
        Ok(())
    }
}

/// Loads the state of runs, or makes new ones.
struct Opener<'a> {
    catalog: &'a dyn Catalog,
    ids: &'a mut Ids,
    /// Whether what is stored is void.
    fresh: bool,
    hints: &'a Hints,
}

impl Runs for Opener<'_> {
    fn open(&mut self, found: &FoundRun, sub: &str, writes_ends: bool) -> anyhow::Result<Active> {
        let key = RunKey { sub: sub.to_string(), ..root_key(found) };
        let run_id = self.ids.id(found, sub);
        // A run of another log may bear the id until its own log is found to be gone.
        let stored = match self.fresh || !self.ids.known.contains_key(&key) {
            true => None,
            false => self.catalog.run_state(&run_id)?,
        };
        let fresh = stored.is_none();
        let mut state: RunState = match stored {
            Some(bytes) => postcard::from_bytes(&bytes)?,
            None => {
                RunState { hints: self.hints.get(&key).cloned().unwrap_or_default(), ..RunState::default() }
            }
        };
        let name = if sub.is_empty() { found.logs.name.clone() } else { Some(sub.to_string()) };
        state.facts.name = state.facts.name.or(name);
        state.facts.project = state.facts.project.or_else(|| found.logs.project.clone());
        let path = found.logs.path.clone();
        Ok(Active { key, run_id, path, writes_ends, state, config_changed: fresh, fresh })
    }
}
