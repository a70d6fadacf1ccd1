//! Sources to records to store: finds what changed under a root, reads just that, commits it.

pub mod duplicates;
pub mod flush;
pub mod ids;
pub mod judge;
pub mod known;
pub mod load;
pub mod look;
pub mod overlap;
pub mod pass;
pub mod plan;
pub mod points;
pub mod remembered;
pub mod settle;
pub mod siblings;
pub mod sink;
pub mod state;
pub mod verdict;
pub mod watch;
pub mod worker;

use crate::records::roles::Rules;
use crate::sources::find::discover;
use crate::sources::find::tree::Walked;
use crate::store::{Catalog, Changes, Limits, sweep};
use known::Known;
use look::{FirstLook, Look};
use pass::{Again, Pass};
use plan::{FoundRun, Stat};
use remembered::Remembered;
use std::collections::BTreeMap;
use std::path::Path;

/// Passes of one refresh at most. Each settles all that the one before found out, so that more than
/// three are not needed; what is left is marked in the catalog and read by the next refresh.
const MAX_PASSES: usize = 5;

/// A file that did not change for so long is at rest: 10 minutes.
const REST_MS: i64 = 10 * 60_000;

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
    /// By what runs are judged.
    pub rules: &'a Rules,
    /// What earlier refreshes of this process saw of growing runs.
    pub remembered: &'a Remembered,
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
        self.remembered.begin();
        let first = FirstLook::new(self.root, self.settings, self.catalog, progress)?;
        let mut memory = if first.is_worth_keeping { first.memory()? } else { None };
        let mut compared = None;
        let rules = self.rules.hash();
        let is_judged_so = self.catalog.rules()? == Some(rules);
        // What stands at the end of a log without a line end is read once the log is at rest.
        if !first.is_unchanged || !is_judged_so || self.catalog.has_tail_at_rest(self.rest_ns())? {
            let is_all;
            (is_all, compared) = self.read(first.walked, !is_judged_so, &mut outcome, progress)?;
            memory = memory.filter(|_| is_all);
            self.note_rules(rules, is_judged_so)?;
            duplicates::settle(self)?;
            self.tidy(&mut outcome)?;
        }
        self.remember(memory, compared)?;
        (outcome.input_count, outcome.run_count) = self.catalog.counts()?;
        Ok(outcome)
    }

    /// Notes that all runs were judged by the rules of this hash.
    fn note_rules(&self, rules: i64, is_noted: bool) -> anyhow::Result<()> {
        let changes = Changes { rules: Some(rules), now_ms: self.now_ms, ..Changes::default() };
        if is_noted { Ok(()) } else { self.catalog.commit(&changes) }
    }

    /// Reads what is new in what was seen; where the rules changed, all runs are judged anew. Returns
    /// whether that was all: logs that are written over while they are read are left for the next refresh;
    /// and the number up to which runs were compared with their siblings.
    fn read(
        &self,
        walked: Walked,
        judge_all: bool,
        outcome: &mut Outcome,
        progress: &dyn Progress,
    ) -> anyhow::Result<(bool, Option<i64>)> {
        let mut look = Look::new(&walked.base, self.settings, self.catalog)?;
        let discovery = look.discover(walked, self.settings, self.catalog, self.now_ms)?;
        outcome.notes.extend(discovery.warnings.iter().cloned());
        let stats: BTreeMap<String, Stat> =
            discovery.stats.iter().map(|(path, stat)| (path.clone(), self.stat_of(stat))).collect();
        let found: Vec<FoundRun> = discovery.found.into_iter().flat_map(found_runs).collect();
        // Each pass reads what the one before found out: ids that clash, metrics without steps.
        let mut again = Again::new(judge_all);
        let base = look.base.clone();
        let pass = Pass { refresh: self, base: &base, found: &found, stats: &stats, progress };
        let mut is_read = false;
        for _ in 0..MAX_PASSES {
            is_read = !pass.run(&look, &mut again, outcome)?;
            if is_read {
                break;
            }
            look.known = Known::load(self.catalog)?;
        }
        let (compared, is_compared) = siblings::settle(&pass, &look, judge_all, outcome)?;
        Ok((is_read && is_compared, compared))
    }

    /// What did not change since then is at rest, nanoseconds since 1970.
    fn rest_ns(&self) -> i64 {
        self.now_ms.saturating_sub(REST_MS).saturating_mul(1_000_000)
    }

    fn stat_of(&self, stat: &discover::Stat) -> Stat {
        let is_at_rest = stat.modified_ns < self.rest_ns();
        Stat { size_bytes: stat.size_bytes, modified_ns: stat.modified_ns, is_at_rest }
    }

    /// Keeps what was seen for the next look, now that the tables hold it all, and notes up to where runs
    /// were compared with their siblings.
    fn remember(&self, memory: Option<Vec<u8>>, compared: Option<i64>) -> anyhow::Result<()> {
        let look = if self.catalog.has_unread_inputs()? { None } else { memory };
        let changes = Changes { look, compared, now_ms: self.now_ms, ..Changes::default() };
        if changes.is_empty() { Ok(()) } else { self.catalog.commit(&changes) }
    }

    /// Compaction and removal of files that no query reads any more. What an earlier refresh that was
    /// killed left undone is done too.
    fn tidy(&self, outcome: &mut Outcome) -> anyhow::Result<()> {
        outcome.written_files += crate::store::compact::compact(self.catalog, self.limits, self.now_ms)?;
        sweep::retired(self.cache, self.catalog, self.now_ms - self.limits.grace_ms)?;
        if outcome.written_files > 0 || sweep::has_leftovers(self.cache) {
            sweep::orphans(self.cache, self.catalog)?;
        }
        Ok(())
    }
}

fn found_runs(found: discover::Found) -> impl Iterator<Item = FoundRun> {
    let source = found.source;
    found.runs.into_iter().map(move |logs| FoundRun { source, logs })
}
