//! What a process that goes on keeps of growing runs from one refresh to the next: the points of those it
//! saw need not be read again to go on judging them.

use super::watch::RunWatch;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Runs under watch, as they were left. Nothing is kept by the first refresh, which most processes end after.
#[derive(Debug)]
pub struct Remembered {
    most_points: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Refreshes begun.
    refresh_count: u64,
    point_count: u64,
    runs: HashMap<String, Run>,
}

#[derive(Debug)]
struct Run {
    /// Of the stored state it belongs to: another process may have gone on with the run.
    state_hash: u64,
    /// The refresh that saw it.
    refresh: u64,
    watch: RunWatch,
}

impl Remembered {
    /// Of runs with so many points in all at most.
    pub fn new(most_points: u64) -> Self {
        Self { most_points, kept: Mutex::default() }
    }

    /// A refresh begins. Where room gets scarce, runs that the one before did not see are forgotten.
    pub fn begin(&self) {
        let mut kept = self.kept();
        kept.refresh_count += 1;
        if kept.point_count > self.most_points / 2 {
            let last = kept.refresh_count - 1;
            kept.runs.retain(|_, run| run.refresh >= last);
            kept.point_count = kept.runs.values().map(|run| run.watch.rows()).sum();
        }
    }

    /// Whether there is room for a run of so many points.
    pub fn has_room(&self, points: u64) -> bool {
        let kept = self.kept();
        kept.refresh_count > 1 && kept.point_count.saturating_add(points) <= self.most_points
    }

    /// Keeps a run with the state that was stored of it.
    pub fn put(&self, run_id: &str, state: &[u8], watch: RunWatch) {
        let mut kept = self.kept();
        kept.forget(run_id);
        kept.point_count += watch.rows();
        let run = Run { state_hash: hash(state), refresh: kept.refresh_count, watch };
        kept.runs.insert(run_id.to_owned(), run);
    }

    /// Takes a run out again, if this is still the state that is stored of it.
    pub fn take(&self, run_id: &str, state: &[u8]) -> Option<RunWatch> {
        self.kept().forget(run_id).filter(|run| run.state_hash == hash(state)).map(|run| run.watch)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget(&mut self, run_id: &str) -> Option<Run> {
        let run = self.runs.remove(run_id)?;
        self.point_count -= run.watch.rows();
        Some(run)
    }
}

fn hash(state: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
