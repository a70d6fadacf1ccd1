//! Reads logs one after the other and commits them; several work side by side.

use super::Refresh;
use super::flush::{Flush, Order, Written};
use super::ids::{Ids, RunKey, root_key};
use super::known::Known;
use super::load::{self, Active, Batch, Loader, Runs};
use super::pass::Pass;
use super::plan::{FoundRun, Job};
use super::remembered::Remembered;
use super::settle::AxisHint;
use super::siblings::Compared;
use super::state::RunState;
use super::watch::RunWatch;
use crate::records::{Problem, RunFacts};
use crate::sources::find::sidecar;
use crate::sources::{InputKind, RunInput};
use crate::store::{Catalog, InputRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What is known of the axes of metrics, by run.
pub type Hints = BTreeMap<RunKey, BTreeMap<String, AxisHint>>;

/// What is done with the runs of logs of which nothing is read.
#[derive(Debug, Clone, Copy)]
pub enum Idle<'a> {
    /// Nothing.
    Leave,
    /// They are judged anew, as are all others.
    JudgeAnew,
    /// Some, by id, are told what their siblings say of them.
    Tell(&'a BTreeMap<String, Compared>),
}

impl<'a> Idle<'a> {
    fn concerns(self, run_id: &str) -> bool {
        match self {
            Self::Leave => false,
            Self::JudgeAnew => true,
            Self::Tell(_) => self.compared(run_id).is_some(),
        }
    }

    fn compared(self, run_id: &str) -> Option<&'a Compared> {
        if let Self::Tell(compared) = self { compared.get(run_id) } else { None }
    }
}

/// What the workers of a pass share.
pub struct Shared<'a> {
    pass: &'a Pass<'a>,
    known: &'a Known,
    ids: &'a Ids,
    hints: &'a Hints,
    /// Logs that were written over while an earlier pass read them.
    torn: &'a BTreeSet<RunKey>,
    idle: Idle<'a>,
    order: Order,
    /// The next log to be read.
    next_job: AtomicUsize,
    /// Workers that still read.
    active: AtomicUsize,
    /// Bytes read by all of them.
    read_bytes: AtomicU64,
    failed: AtomicBool,
}

impl<'a> Shared<'a> {
    /// Nothing is read yet.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn new(
        pass: &'a Pass<'a>,
        known: &'a Known,
        ids: &'a Ids,
        (hints, torn): (&'a Hints, &'a BTreeSet<RunKey>),
        idle: Idle<'a>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            pass,
            known,
            ids,
            hints,
            torn,
            idle,
            order: Order::new(pass.refresh.catalog.next_alert_seq()?),
            next_job: AtomicUsize::new(0),
            active: AtomicUsize::new(1),
            read_bytes: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        })
    }

    /// Says how many workers there are.
    pub fn set_active(&self, count: usize) {
        self.active.store(count, Relaxed);
    }

    /// Whether a run of a log (source, identity) goes on in another log.
    pub fn is_wanted_elsewhere(&self, (source, identity): &(String, String)) -> bool {
        self.ids.of_log(source, identity).any(|(_, id)| self.ids.is_wanted(id))
    }

    /// Opens runs; `fresh` where what is stored of them is void.
    fn opener(&self, fresh: bool) -> Opener<'a> {
        let Refresh { catalog, remembered, .. } = *self.pass.refresh;
        let judge_anew = matches!(self.idle, Idle::JudgeAnew);
        Opener { catalog, ids: self.ids, fresh, hints: self.hints, judge_anew, remembered }
    }

    /// The part of a limit that each worker may use.
    fn share(&self, limit: u64) -> u64 {
        limit / self.active.load(Relaxed).max(1) as u64
    }
}

/// What a worker did.
#[derive(Default)]
pub struct Done {
    /// Bytes of logs.
    pub read_bytes: u64,
    /// Files and points.
    pub written: Written,
    /// Notes for stderr, by path of the input.
    pub notes: Vec<(String, String)>,
    /// Runs to read anew, with what was learned of the axes of their metrics.
    pub reread: Hints,
    /// Logs that were written over while they were read.
    pub torn: BTreeSet<RunKey>,
    /// What stopped it, by the number of the log.
    pub failed: Option<(usize, anyhow::Error)>,
}

/// A thread's work.
pub struct Worker<'a> {
    shared: &'a Shared<'a>,
    batch: Batch,
    done: Done,
}

impl<'a> Worker<'a> {
    /// A worker that has read nothing.
    pub fn new(shared: &'a Shared<'a>) -> Self {
        Self { shared, batch: Batch::default(), done: Done::default() }
    }

    /// Reads the next log until none is left.
    pub fn run(mut self, jobs: &[Job]) -> Done {
        let outcome = self.all(jobs);
        self.shared.active.fetch_sub(1, Relaxed);
        if let Err((job, error)) = outcome {
            self.shared.failed.store(true, Relaxed);
            self.done.failed = Some((job, error));
        }
        self.done.reread = self.batch.take_reread();
        self.done
    }

    fn all(&mut self, jobs: &[Job]) -> Result<(), (usize, anyhow::Error)> {
        while !self.shared.failed.load(Relaxed) {
            let number = self.shared.next_job.fetch_add(1, Relaxed);
            match jobs.get(number) {
                Some(job) => self.whole_job(job).map_err(|error| (number, error))?,
                None => return self.commit(None).map_err(|error| (number, error)),
            }
        }
        Ok(())
    }

    /// Everything read of a log is void.
    pub fn drop_log(&mut self, source: &str, identity: &str) {
        for (_, run_id) in self.shared.ids.of_log(source, identity) {
            self.batch.gone_runs.push(run_id.clone());
            self.batch.dropped_runs.insert(run_id.clone());
        }
        for record in self.shared.known.of_log(source, identity) {
            self.batch.gone_inputs.push((source.to_string(), identity.to_string(), record.path.clone()));
        }
    }

    /// Reads a log. Of one that is written over meanwhile none of the mix is stored, nor what else was
    /// read since the last commit: the next pass reads it all.
    fn whole_job(&mut self, job: &Job) -> anyhow::Result<()> {
        let log = root_key(&job.run);
        if self.shared.torn.contains(&log) {
            // It may be written over again: what was read of the others is safe from that.
            self.commit(None)?;
        }
        if !self.job(job)? {
            let reread = self.batch.take_reread();
            self.batch = Batch::default();
            self.batch.reread = reread;
            self.done.torn.insert(log);
        }
        Ok(())
    }

    /// Returns whether the log stayed what it was while it was read.
    fn job(&mut self, job: &Job) -> anyhow::Result<bool> {
        let refresh = self.shared.pass.refresh;
        let is_its = |source: &&&dyn crate::sources::Source| source.name() == job.run.source;
        let Some(source) = refresh.settings.sources.iter().find(is_its) else { return Ok(true) };
        if job.reset {
            self.drop_log(job.run.source, &job.run.logs.identity);
        }
        let mut loader = Loader {
            root: self.shared.pass.base,
            source: *source,
            job,
            read_bytes: refresh.limits.read_bytes,
            scratch: &crate::store::layout::tmp(refresh.cache),
            configs: BTreeMap::new(),
        };
        let (beside, own): (Vec<_>, Vec<_>) =
            job.inputs.iter().partition(|(input, _)| input.role == sidecar::ROLE);
        let mut configs: Vec<InputRecord> =
            beside.into_iter().map(|(input, _)| self.config(&mut loader, input)).collect();
        let (documents, logs): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|(input, _)| input.kind == InputKind::Document);
        for (input, from) in documents.into_iter().chain(logs) {
            if !self.input(&loader, input, from.clone())? {
                return Ok(false);
            }
        }
        self.open_known(&loader, !configs.is_empty())?;
        let log = Some((job.run.source, job.run.logs.identity.as_str()));
        let of_log = self.batch.runs.iter().filter(|run| run.is_of(log));
        let runs: Vec<String> = of_log.map(|run| run.run_id.clone()).collect();
        configs.iter_mut().for_each(|record| record.runs.clone_from(&runs));
        self.batch.inputs.append(&mut configs);
        Ok(true)
    }

    /// Reads a configuration beside the log.
    fn config(&mut self, loader: &mut Loader<'_>, input: &RunInput) -> InputRecord {
        let mut record = self.begin(&loader.job.run, input);
        match load::read_config(&self.shared.pass.base.join(&input.path), &input.path) {
            Ok((config, read_bytes)) => {
                self.done.read_bytes += read_bytes;
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
        if let Some(stat) = self.shared.pass.stats.get(&input.path) {
            record.size_bytes = stat.size_bytes;
            record.modified_ns = stat.modified_ns;
        }
        record
    }

    /// Opens the runs of the log that were not opened by reading it, with the configuration beside it: all
    /// of them, or those with which something is done all the same.
    fn open_known(&mut self, loader: &Loader<'_>, is_all: bool) -> anyhow::Result<()> {
        let (run, idle) = (&loader.job.run, self.shared.idle);
        let ids = self.shared.ids;
        if loader.job.reset {
            return Ok(());
        }
        let known = ids.of_log(run.source, &run.logs.identity);
        for (key, run_id) in known.filter(|(_, run_id)| is_all || idle.concerns(run_id)) {
            if self.batch.find(key).is_none() {
                let writes_ends = loader.source.writes_ends(&run.logs);
                let mut opener = self.shared.opener(false);
                let mut opened = opener.open(run, &key.sub, writes_ends)?;
                opened.apply(&loader.configs);
                if let Some(compared) = idle.compared(run_id) {
                    compared.tell(&mut opened, &mut || self.shared.order.next_seq(1));
                }
                self.batch.add_run(opened);
            }
        }
        Ok(())
    }

    /// The record of an input that is read from its start.
    fn begin(&mut self, run: &FoundRun, input: &RunInput) -> InputRecord {
        let key = (run.source.to_string(), run.logs.identity.clone(), input.path.clone());
        if self.shared.known.of_log(&key.0, &key.1).iter().any(|record| record.path == key.2) {
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

    /// Returns whether the input stayed what it was while it was read.
    fn input(
        &mut self,
        loader: &Loader<'_>,
        input: &RunInput,
        from: Option<InputRecord>,
    ) -> anyhow::Result<bool> {
        let Some(stat) = self.shared.pass.stats.get(&input.path).copied() else { return Ok(true) };
        let limits = self.shared.pass.refresh.limits;
        let run = &loader.job.run;
        let current = Some((run.source, run.logs.identity.as_str()));
        let mut record = match from {
            Some(record) => {
                let state = self.shared.pass.refresh.catalog.input_state(&record)?;
                InputRecord { state, ..record }
            }
            None => self.begin(run, input),
        };
        let mut slice_bytes = self.shared.share(limits.slice_bytes).max(limits.read_bytes as u64);
        loop {
            let (before, problem_count) = (record.clone(), self.batch.problems.len());
            let mut opener = self.shared.opener(loader.job.reset);
            let slice = loader.slice(input, stat, &mut record, &mut self.batch, &mut opener, slice_bytes)?;
            self.done.read_bytes += slice.read_bytes;
            let read_bytes = self.shared.read_bytes.fetch_add(slice.read_bytes, Relaxed) + slice.read_bytes;
            self.shared.pass.progress.advance(read_bytes);
            if slice.torn {
                return Ok(false);
            }
            if !slice.done && !slice.advanced {
                // A record larger than the slice: look further until it fits; this try said nothing.
                slice_bytes = slice_bytes.saturating_mul(2);
                self.batch.problems.truncate(problem_count);
                record = InputRecord { runs: record.runs, ..before };
                continue;
            }
            self.batch.put_input(&record);
            if self.batch.held_points() as u64 >= self.shared.share(limits.flush_points as u64) {
                self.commit(current)?;
            }
            if slice.done {
                return Ok(true);
            }
        }
    }

    fn commit(&mut self, current: Option<(&str, &str)>) -> anyhow::Result<()> {
        self.note_problems()?;
        let refresh = self.shared.pass.refresh;
        let flush = Flush {
            cache: refresh.cache,
            catalog: refresh.catalog,
            limits: refresh.limits,
            now_ms: refresh.now_ms,
            order: &self.shared.order,
            rules: refresh.rules,
            remembered: refresh.remembered,
        };
        self.done.notes.append(&mut self.batch.notes);
        let written = flush.commit(&mut self.batch, current)?;
        self.done.written.file_count += written.file_count;
        self.done.written.point_count += written.point_count;
        Ok(())
    }

    /// One line for each input with new problems.
    fn note_problems(&mut self) -> anyhow::Result<()> {
        if self.batch.problems.is_empty() {
            return Ok(());
        }
        let known = self.shared.pass.refresh.catalog.problems()?;
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
            self.done.notes.push((path.to_string(), format!("{first}{more}")));
        }
        Ok(())
    }
}

/// Loads the state of runs, or makes new ones.
struct Opener<'a> {
    catalog: &'a dyn Catalog,
    ids: &'a Ids,
    /// Whether what is stored is void.
    fresh: bool,
    hints: &'a Hints,
    /// Whether it is judged anew, whatever was seen of it.
    judge_anew: bool,
    remembered: &'a Remembered,
}

impl Opener<'_> {
    /// What was seen of a run: by this process, else by the one that stored it.
    fn watch(&self, run_id: &str, state: &[u8]) -> anyhow::Result<RunWatch> {
        if let Some(watch) = self.remembered.take(run_id, state) {
            return Ok(watch);
        }
        let kept = self.catalog.watch(run_id)?;
        // One that cannot be read is made anew from the points.
        Ok(kept.and_then(|bytes| postcard::from_bytes(&bytes).ok()).unwrap_or_default())
    }
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
        let watch = match &stored {
            Some(state) if !self.judge_anew => self.watch(&run_id, state)?,
            _ => RunWatch::default(),
        };
        let mut state: RunState = match stored {
            Some(bytes) => postcard::from_bytes(&bytes)?,
            None => {
                RunState { hints: self.hints.get(&key).cloned().unwrap_or_default(), ..RunState::default() }
            }
        };
        state.is_unjudged |= self.judge_anew;
        let name = if sub.is_empty() { found.logs.name.clone() } else { Some(sub.to_string()) };
        let of_group = RunFacts { name, project: found.logs.project.clone(), ..RunFacts::default() };
        state.document_facts.insert(String::new(), Box::new(of_group));
        let path = found.logs.path.clone();
        let is_file = found.logs.inputs.iter().any(|input| input.path == path);
        let folder = if is_file { path.rsplit_once('/').map_or("", |(folder, _)| folder) } else { &path };
        let folder = folder.to_string();
        let changed = fresh;
        Ok(Active {
            sibling: None,
            key,
            run_id,
            path,
            folder,
            writes_ends,
            state,
            watch,
            config_changed: changed,
            verdict_changed: changed,
            fresh,
        })
    }
}
