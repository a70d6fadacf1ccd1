//! One pass: plans against the catalog and has what is to be read read and committed, by a thread a core.

use super::ids::{Ids, RunKey};
use super::look::Look;
use super::plan::{self, FoundRun, Job, Plan, Stat};
use super::siblings::Compared;
use super::worker::{Done, Hints, Idle, Shared, Worker};
use super::{Outcome, Progress, Refresh};
use crate::sources::RunInput;
use crate::store::InputRecord;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Points in memory that are worth a thread of their own.
const MIN_SHARE_POINTS: usize = 100_000;

/// Bytes to read that are worth one.
const MIN_SHARE_BYTES: u64 = 4 << 20;

/// What the next pass must read again.
#[derive(Debug, Default)]
pub struct Again {
    /// Runs whose logs are read anew.
    runs: BTreeSet<RunKey>,
    /// Logs among them that were written over while they were read.
    torn: BTreeSet<RunKey>,
    /// All that was learned in the passes so far.
    hints: Hints,
    /// Whether all runs are judged anew.
    judge_all: bool,
}

impl Again {
    /// Nothing is known yet; all runs may have to be judged anew.
    pub fn new(judge_all: bool) -> Self {
        Self { judge_all, ..Self::default() }
    }
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
        let ids = Ids::new(catalog, self.found)?;
        let damaged: BTreeSet<String> = catalog.damaged()?.into_iter().flat_map(|file| file.runs).collect();
        let lost = ids.known.iter().filter(|(_, id)| damaged.contains(*id)).map(|(key, _)| key.clone());
        let reread = lost.chain(ids.renamed()).chain(std::mem::take(&mut again.runs)).collect();
        let mut same_start = |record: &InputRecord| look.same_start(record);
        let mut plan = plan::plan(self.found, self.stats, &look.known, &reread, &mut same_start);
        let judge_all = std::mem::take(&mut again.judge_all);
        if judge_all {
            plan.add_unchanged(self.found);
        }
        if plan.jobs.is_empty() && plan.gone.is_empty() {
            return Ok(false);
        }
        let torn = std::mem::take(&mut again.torn);
        let idle = if judge_all { Idle::JudgeAnew } else { Idle::Leave };
        let shared = Shared::new(self, &look.known, &ids, (&again.hints, &torn), idle)?;
        let (reread, torn) = self.load(&shared, &plan, outcome)?;
        again.runs.extend(torn.iter().cloned());
        again.torn = torn;
        for (run, hints) in reread {
            again.runs.insert(run.clone());
            again.hints.entry(run).or_default().extend(hints);
        }
        let may_clash = ids.have_changed() && !Ids::new(catalog, self.found)?.renamed().is_empty();
        Ok(!again.runs.is_empty() || may_clash)
    }

    /// Stores what is said now of runs that were compared with their siblings, by id. Nothing is read.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn tell(
        &self,
        look: &Look,
        compared: &BTreeMap<String, Compared>,
        outcome: &mut Outcome,
    ) -> anyhow::Result<()> {
        let ids = Ids::new(self.refresh.catalog, self.found)?;
        // Those are read anew by the next refresh.
        let renamed = ids.renamed();
        let is_meant = |(key, id): &(&RunKey, &String)| compared.contains_key(*id) && !renamed.contains(*key);
        let meant = ids.known.iter().filter(is_meant);
        let logs: BTreeSet<(&str, &str)> = meant.map(|(key, _)| (&*key.source, &*key.identity)).collect();
        let found = self.found.iter().filter(|run| logs.contains(&(run.source, &*run.logs.identity)));
        let jobs = found.map(Job::idle).collect();
        let plan = Plan { jobs, gone: Vec::new() };
        let (hints, torn) = (Hints::new(), BTreeSet::new());
        let shared = Shared::new(self, &look.known, &ids, (&hints, &torn), Idle::Tell(compared))?;
        self.load(&shared, &plan, outcome).map(drop)
    }

    /// Reads all logs of the plan; returns the runs to read anew, and logs that were written over.
    fn load(
        &self,
        shared: &Shared<'_>,
        plan: &Plan,
        outcome: &mut Outcome,
    ) -> anyhow::Result<(Hints, BTreeSet<RunKey>)> {
        let total_bytes = self.bytes_to_read(plan);
        self.progress.start(total_bytes);
        let mut first = Worker::new(shared);
        plan.gone.iter().for_each(|(source, identity)| first.drop_log(source, identity));
        let count = self.worker_count(shared, plan, total_bytes);
        shared.set_active(count);
        let done = std::thread::scope(|scope| {
            let others: Vec<_> =
                (1..count).map(|_| scope.spawn(|| Worker::new(shared).run(&plan.jobs))).collect();
            let mut done = vec![first.run(&plan.jobs)];
            done.extend(others.into_iter().map(|other| match other.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }));
            done
        });
        self.progress.finish();
        gather(done, outcome)
    }

    /// One thread a core, as far as there are logs and bytes enough for each.
    fn worker_count(&self, shared: &Shared<'_>, plan: &Plan, total_bytes: u64) -> usize {
        let limits = self.refresh.limits;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let fitting = || {
            cores().min(limits.flush_points / MIN_SHARE_POINTS).min((total_bytes / MIN_SHARE_BYTES) as usize)
        };
        // Rows of a run that another log takes over must be dropped before new ones are there.
        let is_handed_on = plan.gone.iter().any(|log| shared.is_wanted_elsewhere(log));
        let most = if is_handed_on { 1 } else { limits.threads.unwrap_or_else(fitting) };
        most.min(plan.jobs.len()).max(1)
    }

    fn bytes_to_read(&self, plan: &Plan) -> u64 {
        let left = |(input, from): &(RunInput, Option<InputRecord>)| {
            let size = self.stats.get(&input.path).map_or(0, |stat| stat.size_bytes);
            size.saturating_sub(from.as_ref().map_or(0, |record| record.offset))
        };
        plan.jobs.iter().flat_map(|job| &job.inputs).map(left).sum()
    }
}

/// Adds up what the workers did. Of several errors the one of the first log counts.
fn gather(done: Vec<Done>, outcome: &mut Outcome) -> anyhow::Result<(Hints, BTreeSet<RunKey>)> {
    let (mut notes, mut reread, mut failed) = (Vec::new(), Hints::new(), BTreeMap::new());
    let mut torn = BTreeSet::new();
    for worker in done {
        outcome.read_bytes += worker.read_bytes;
        outcome.written_files += worker.written.file_count;
        outcome.point_count += worker.written.point_count;
        notes.extend(worker.notes);
        reread.extend(worker.reread);
        torn.extend(worker.torn);
        failed.extend(worker.failed);
    }
    // A log is read by one worker, so that its notes keep their order.
    notes.sort_by(|a, b| a.0.cmp(&b.0));
    outcome.notes.extend(notes.into_iter().map(|(path, note)| format!("{path}: {note}")));
    failed.into_values().next().map_or(Ok((reread, torn)), Err)
}
