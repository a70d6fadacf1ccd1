//! Sources to records to store: finds what changed under a root, reads just that, commits it.

pub mod flush;
pub mod ids;
pub mod load;
pub mod overlap;
pub mod plan;
pub mod points;
pub mod state;

use crate::sources::RunInput;
use crate::sources::discover::{self, Discovery, Remembered};
use crate::sources::{HEAD_BYTES, Verdict};
use crate::store::{Catalog, Changes, InputRecord, Limits, VerdictRecord};
use flush::Flush;
use ids::RunKey;
use load::{Active, Batch, Loader, Runs};
use plan::{FoundRun, Job, Plan, Stat};
use state::RunState;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Told how a refresh goes on; all methods have empty defaults.
pub trait Progress: Sync {
    /// `found` entries were looked at so far.
    fn scanning(&self, found: u64) {
        let _ = found;
    }
    /// Reading begins: so many bytes are to be read.
    fn start(&self, total_bytes: u64) {
        let _ = total_bytes;
    }
    /// So many bytes were read so far.
    fn advance(&self, read_bytes: u64) {
        let _ = read_bytes;
    }
    /// Done.
    fn finish(&self) {}
}

/// No progress is shown.
pub struct Quiet;
impl Progress for Quiet {}

/// What a refresh did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Logs known after it.
    pub input_count: u64,
    /// Runs known after it.
    pub run_count: u64,
    /// Bytes of logs read by it.
    pub read_bytes: u64,
    /// Points stored by it.
    pub point_count: u64,
    /// Parquet files written by it.
    pub written_files: u64,
    /// Lines for stderr: problems found by this refresh, notes, hints.
    pub notes: Vec<String>,
}

/// Everything a refresh works with.
pub struct Refresh<'a> {
    /// Where to look: a folder or a file.
    pub root: &'a Path,
    /// Cache folder.
    pub cache: &'a Path,
    /// Catalog of the cache.
    pub catalog: &'a dyn Catalog,
    /// How the walk is done.
    pub settings: &'a discover::Settings<'a>,
    /// Sizes.
    pub limits: Limits,
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
}

impl Refresh<'_> {
    /// Finds, plans, loads, commits. Must not run twice at once on one cache.
    ///
    /// # Errors
    /// When the root cannot be read or the cache cannot be written.
    pub fn run(&self, progress: &dyn Progress) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let discovery = self.discover(progress)?;
        let base = discovery.base.clone();
        outcome.notes.extend(discovery.warnings.iter().cloned());
        let stats: BTreeMap<String, Stat> = discovery
            .stats
            .iter()
            .map(|(path, stat)| {
                (path.clone(), Stat { size_bytes: stat.size_bytes, modified_ns: stat.modified_ns })
            })
            .collect();
        let found: Vec<FoundRun> = discovery
            .found
            .into_iter()
            .flat_map(|found| {
                let source = found.source.name();
                found.runs.into_iter().map(move |logs| FoundRun { source, logs })
            })
            .collect();
        // Each pass reads what the one before found out: ids that clash, metrics without steps.
        let mut hints = Hints::new();
        for _ in 0..4 {
            if !self.pass(&base, &found, &stats, &mut hints, progress, &mut outcome)? {
                break;
            }
        }
        self.tidy(&mut outcome)?;
        outcome.input_count = self.catalog.inputs()?.len() as u64;
        outcome.run_count = self.catalog.runs()?.len() as u64;
        Ok(outcome)
    }

    fn discover(&self, progress: &dyn Progress) -> anyhow::Result<Discovery> {
        let known = self.catalog.verdicts()?;
        let memory = Memory(&known);
        let discovery =
            discover::discover(self.root, self.settings, &memory, &mut |found| progress.scanning(found))?;
        let verdicts: Vec<VerdictRecord> =
            discovery.judged.iter().filter(|judged| !judged.is_remembered).map(verdict_record).collect();
        let changed =
            verdicts.into_iter().filter(|verdict| known.get(&verdict.path) != Some(verdict)).collect();
        let there: BTreeSet<&str> = discovery.judged.iter().map(|judged| judged.path.as_str()).collect();
        let gone = known.keys().filter(|path| !there.contains(path.as_str())).cloned().collect();
        let changes =
            Changes { verdicts: changed, gone_verdicts: gone, now_ms: self.now_ms, ..Changes::default() };
        if !changes.is_empty() {
            self.catalog.commit(&changes)?;
        }
        Ok(discovery)
    }

    /// Returns whether another pass is needed.
    fn pass(
        &self,
        base: &Path,
        found: &[FoundRun],
        stats: &BTreeMap<String, Stat>,
        hints: &mut Hints,
        progress: &dyn Progress,
        outcome: &mut Outcome,
    ) -> anyhow::Result<bool> {
        let mut ids = Ids::new(self.catalog, found)?;
        let known = self.catalog.inputs()?;
        let reread: BTreeSet<RunKey> = ids.renamed().into_iter().chain(hints.keys().cloned()).collect();
        let mut same_start = |record: &InputRecord| same_start(base, record);
        let plan = plan::plan(found.to_vec(), stats, &known, &reread, &mut same_start);
        if plan.jobs.is_empty() && plan.gone.is_empty() {
            return Ok(false);
        }
        let mut loading = Loading {
            refresh: self,
            base,
            stats,
            known: &known,
            ids: &mut ids,
            hints,
            batch: Batch::new(self.catalog.next_alert_seq()?),
            progress,
            outcome,
            reread: BTreeMap::new(),
        };
        loading.run(plan)?;
        let reread = std::mem::take(&mut loading.reread);
        let again = !reread.is_empty();
        *hints = reread;
        Ok(again || !Ids::new(self.catalog, found)?.renamed().is_empty())
    }

    /// Compaction and removal of files that no query reads any more.
    fn tidy(&self, outcome: &mut Outcome) -> anyhow::Result<()> {
        if outcome.written_files > 0 {
            outcome.written_files += crate::store::compact::compact(self.catalog, self.limits, self.now_ms)?;
            crate::store::sweep_retired(self.cache, self.catalog, self.now_ms - self.limits.grace_ms)?;
            crate::store::sweep_orphans(self.cache, self.catalog, std::time::Duration::from_secs(24 * 3600))?;
        }
        Ok(())
    }
}

/// Whether what was read of a file still stands in it.
fn same_start(base: &Path, record: &InputRecord) -> bool {
    load::fingerprint(&base.join(&record.path), record.offset).is_ok_and(|now| now == record.fingerprint)
}

struct Memory<'a>(&'a BTreeMap<String, VerdictRecord>);

impl discover::Memory for Memory<'_> {
    /// That a file is a log holds while it grows, once its head was seen whole; that it is something
    /// else, while it is as it was.
    fn recall(&self, path: &str, stat: &discover::Stat) -> Option<Remembered> {
        let known = self.0.get(path)?;
        let same = known.size_bytes == stat.size_bytes && known.modified_ns == stat.modified_ns;
        let grown = known.source.is_some()
            && known.size_bytes >= HEAD_BYTES as u64
            && stat.size_bytes >= known.size_bytes;
        let verdict = match &known.source {
            Some(_) => Verdict::Log { marks: known.text.clone() },
            None => Verdict::Other { reason: known.text.clone() },
        };
        (same || grown).then(|| Remembered { source: known.source.clone(), verdict })
    }
}

fn verdict_record(judged: &discover::Judged) -> VerdictRecord {
    let (source, text) = match &judged.verdict {
        Verdict::Log { marks } => (judged.source.map(str::to_string), marks.clone()),
        Verdict::Other { reason } => (None, reason.clone()),
        // The same bytes cannot tell more; it is judged again when it changes.
        Verdict::TooEarly => (None, "too little content to tell yet".to_string()),
    };
    VerdictRecord {
        path: judged.path.clone(),
        size_bytes: judged.stat.size_bytes,
        modified_ns: judged.stat.modified_ns,
        source,
        text,
    }
}

/// Runs to read again, with what was learned of their metrics.
type Hints = BTreeMap<RunKey, BTreeMap<String, flush::AxisHint>>;

/// Ids of known runs and of those that turn up.
struct Ids {
    known: BTreeMap<RunKey, String>,
    wanted: BTreeMap<RunKey, String>,
    taken: BTreeSet<String>,
}

impl Ids {
    fn new(catalog: &dyn Catalog, found: &[FoundRun]) -> anyhow::Result<Self> {
        let known: BTreeMap<RunKey, String> = catalog
            .runs()?
            .into_values()
            .map(|run| (RunKey { source: run.source, identity: run.identity, sub: run.sub }, run.run_id))
            .collect();
        let logs: BTreeMap<(&str, &str), &FoundRun> =
            found.iter().map(|run| ((run.source, run.logs.identity.as_str()), run)).collect();
        let mut producers: BTreeMap<RunKey, Option<String>> = BTreeMap::new();
        for run in found.iter().filter(|run| run.logs.producer_id.is_some()) {
            producers.insert(root_key(run), run.logs.producer_id.clone());
        }
        for key in known.keys() {
            if let Some(run) = logs.get(&(key.source.as_str(), key.identity.as_str())) {
                producers.insert(key.clone(), producer_id(run, &key.sub));
            }
        }
        let wanted = ids::assign(&producers);
        let taken = known.values().chain(wanted.values()).cloned().collect();
        Ok(Self { known, wanted, taken })
    }

    /// Known runs whose id must change.
    fn renamed(&self) -> Vec<RunKey> {
        let differs =
            |(key, id): &(&RunKey, &String)| self.wanted.get(*key).is_some_and(|wanted| wanted != *id);
        self.known.iter().filter(differs).map(|(key, _)| key.clone()).collect()
    }

    fn id(&mut self, run: &FoundRun, sub: &str) -> String {
        let key = RunKey { sub: sub.to_string(), ..root_key(run) };
        if let Some(id) = self.wanted.get(&key) {
            return id.clone();
        }
        let id = load::new_run_id(&key, producer_id(run, sub).as_deref(), |id| self.taken.contains(id));
        self.taken.insert(id.clone());
        self.wanted.insert(key, id.clone());
        id
    }
}

fn root_key(run: &FoundRun) -> RunKey {
    RunKey { source: run.source.to_string(), identity: run.logs.identity.clone(), sub: String::new() }
}

fn producer_id(run: &FoundRun, sub: &str) -> Option<String> {
    if sub.is_empty() { run.logs.producer_id.clone() } else { Some(sub.to_string()) }
}

/// A pass at work.
struct Loading<'a> {
    refresh: &'a Refresh<'a>,
    base: &'a Path,
    stats: &'a BTreeMap<String, Stat>,
    known: &'a [InputRecord],
    ids: &'a mut Ids,
    hints: &'a Hints,
    batch: Batch,
    progress: &'a dyn Progress,
    outcome: &'a mut Outcome,
    reread: Hints,
}

impl Loading<'_> {
    fn run(&mut self, plan: Plan) -> anyhow::Result<()> {
        self.progress.start(self.bytes_to_read(&plan));
        for (source, identity) in &plan.gone {
            self.drop_log(source, identity);
        }
        for job in &plan.jobs {
            self.job(job)?;
        }
        self.commit(None)?;
        self.progress.finish();
        Ok(())
    }

    fn bytes_to_read(&self, plan: &Plan) -> u64 {
        let left = |(input, from): &(RunInput, Option<InputRecord>)| {
            let size = self.stats.get(&input.path).map_or(0, |stat| stat.size_bytes);
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
        let refresh = self.refresh;
        let Some(source) = refresh.settings.sources.iter().find(|source| source.name() == job.run.source)
        else {
            return Ok(());
        };
        if job.reset {
            self.drop_log(job.run.source, &job.run.logs.identity);
        }
        let loader = Loader { root: self.base, source: *source, job, read_bytes: refresh.limits.read_bytes };
        let documents_first = |kind| usize::from(kind == crate::sources::InputKind::Log);
        let mut inputs: Vec<_> = job.inputs.iter().collect();
        inputs.sort_by_key(|(input, _)| documents_first(input.kind));
        for (input, from) in inputs {
            self.input(&loader, input, from.clone())?;
        }
        Ok(())
    }

    fn input(
        &mut self,
        loader: &Loader<'_>,
        input: &RunInput,
        from: Option<InputRecord>,
    ) -> anyhow::Result<()> {
        let Some(stat) = self.stats.get(&input.path).copied() else { return Ok(()) };
        let run = &loader.job.run;
        let mut record = from.unwrap_or_else(|| InputRecord {
            path: input.path.clone(),
            source: run.source.to_string(),
            identity: run.logs.identity.clone(),
            segment: input.segment,
            role: input.role.clone(),
            ..InputRecord::default()
        });
        let mut slice_bytes = self.refresh.limits.slice_bytes;
        loop {
            let before = record.offset;
            let mut opener = Opener {
                catalog: self.refresh.catalog,
                ids: self.ids,
                fresh: loader.job.reset,
                hints: self.hints,
            };
            let slice = loader.slice(input, stat, &mut record, &mut self.batch, &mut opener, slice_bytes)?;
            self.outcome.read_bytes += slice.read_bytes;
            self.progress.advance(self.outcome.read_bytes);
            self.batch
                .inputs
                .retain(|known| (&known.path, &known.identity) != (&record.path, &record.identity));
            self.batch.inputs.push(record.clone());
            if slice.done {
                break;
            }
            // A record larger than the slice: look further until it fits.
            slice_bytes = if record.offset == before { slice_bytes.saturating_mul(2) } else { slice_bytes };
            if self.batch.len() >= self.refresh.limits.flush_points {
                self.commit(Some((run.source, &run.logs.identity)))?;
            }
        }
        if self.batch.len() >= self.refresh.limits.flush_points {
            self.commit(Some((run.source, &run.logs.identity)))?;
        }
        Ok(())
    }

    fn commit(&mut self, current: Option<(&str, &str)>) -> anyhow::Result<()> {
        self.note_problems();
        let refresh = self.refresh;
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
        self.reread.append(&mut self.batch.reread);
        Ok(())
    }

    /// One line for each input with new problems.
    fn note_problems(&mut self) {
        let mut counts: BTreeMap<&str, (u64, String)> = BTreeMap::new();
        for (path, problem) in &self.batch.problems {
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
        let stored = match self.fresh {
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
