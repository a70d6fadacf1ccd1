//! Run ids: the producer's own, or a hash of source and path. Never size, time or order.

use super::plan::FoundRun;
use crate::store::Catalog;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Longest id of a producer that is taken for one.
const MAX_ID_BYTES: usize = 256;

/// What names a run across refreshes: source, identity of its logs, name inside the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// Source.
    pub source: String,
    /// Identity within the source.
    pub identity: String,
    /// Name inside a log that holds several runs, else empty.
    pub sub: String,
}

/// 8 characters of a hash of the key (SHA-256, 40 bits, in letters and digits that cannot be
/// mistaken for one another).
pub fn short_hash(key: &RunKey) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut hasher = Sha256::new();
    for part in [&key.source, &key.identity, &key.sub] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let bits = hasher.finalize().iter().take(5).fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    (0..8).map(|i| ALPHABET[(bits >> (35 - 5 * i)) as usize & 31] as char).collect()
}

/// The id of every run. Where two runs have one producer's id, both bear `~` and their hash.
pub fn assign(runs: &BTreeMap<RunKey, Option<String>>) -> BTreeMap<RunKey, String> {
    let mut bearers: BTreeMap<&str, usize> = BTreeMap::new();
    for id in runs.values().flatten() {
        *bearers.entry(id).or_default() += 1;
    }
    let id = |key: &RunKey, producer: &Option<String>| match producer {
        None => short_hash(key),
        Some(id) if bearers.get(id.as_str()) == Some(&1) => id.clone(),
        Some(id) => format!("{id}~{}", short_hash(key)),
    };
    runs.iter().map(|(key, producer)| (key.clone(), id(key, producer))).collect()
}

/// Ids of known runs and of those that turn up.
pub struct Ids {
    /// Runs of the catalog.
    pub known: BTreeMap<RunKey, String>,
    given: Mutex<Given>,
}

/// Ids of runs that are there.
struct Given {
    wanted: BTreeMap<RunKey, String>,
    taken: BTreeSet<String>,
    /// Whether a run turned up that was not known.
    has_new: bool,
}

impl Ids {
    /// Ids as they are and as they must be.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn new(catalog: &dyn Catalog, found: &[FoundRun]) -> anyhow::Result<Self> {
        let known: BTreeMap<RunKey, String> = catalog
            .runs()?
            .into_values()
            .map(|run| (RunKey { source: run.source, identity: run.identity, sub: run.sub }, run.run_id))
            .collect();
        let logs: BTreeMap<(&str, &str), &FoundRun> =
            found.iter().map(|run| ((run.source, run.logs.identity.as_str()), run)).collect();
        let mut producers: BTreeMap<RunKey, Option<String>> = BTreeMap::new();
        for (run, id) in found.iter().filter_map(|run| Some((run, producer_id(run, "")?))) {
            producers.insert(root_key(run), Some(id));
        }
        for key in known.keys() {
            if let Some(run) = logs.get(&(key.source.as_str(), key.identity.as_str())) {
                producers.insert(key.clone(), producer_id(run, &key.sub));
            }
        }
        let wanted = assign(&producers);
        let taken = known.values().chain(wanted.values()).cloned().collect();
        Ok(Self { known, given: Mutex::new(Given { wanted, taken, has_new: false }) })
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a run that is there bears the id.
    pub fn is_wanted(&self, id: &str) -> bool {
        self.given().wanted.values().any(|wanted| wanted == id)
    }

    /// Known runs whose id must change.
    pub fn renamed(&self) -> Vec<RunKey> {
        let given = self.given();
        let differs =
            |(key, id): &(&RunKey, &String)| given.wanted.get(*key).is_some_and(|wanted| wanted != *id);
        self.known.iter().filter(differs).map(|(key, _)| key.clone()).collect()
    }

    /// Known runs of a log, with their ids.
    pub fn of_log(&self, source: &str, identity: &str) -> impl Iterator<Item = (&RunKey, &String)> {
        let first = RunKey { source: source.into(), identity: identity.into(), sub: String::new() };
        let runs = self.known.range(&first..);
        runs.take_while(move |(key, _)| key.source == first.source && key.identity == first.identity)
    }

    /// Whether there may be other runs, or other ids, than those known.
    pub fn have_changed(&self) -> bool {
        self.given().has_new || !self.renamed().is_empty()
    }

    /// Id of a run that is being read; a new one where it is not known. Which of two new runs that
    /// clash is asked for first does not matter: both are renamed by the next pass.
    pub fn id(&self, run: &FoundRun, sub: &str) -> String {
        let key = RunKey { sub: sub.to_string(), ..root_key(run) };
        let mut given = self.given();
        given.has_new |= !self.known.contains_key(&key);
        if let Some(id) = given.wanted.get(&key) {
            return id.clone();
        }
        let id = new_run_id(&key, producer_id(run, sub).as_deref(), |id| given.taken.contains(id));
        given.taken.insert(id.clone());
        given.wanted.insert(key, id.clone());
        id
    }
}

/// The key of a log's own run.
pub fn root_key(run: &FoundRun) -> RunKey {
    RunKey { source: run.source.to_string(), identity: run.logs.identity.clone(), sub: String::new() }
}

/// The producer's id, unless it is too long to be one.
fn producer_id(run: &FoundRun, sub: &str) -> Option<String> {
    let id = if sub.is_empty() { run.logs.producer_id.clone() } else { Some(sub.to_string()) };
    id.filter(|id| id.len() <= MAX_ID_BYTES)
}

/// Id for a run that was not known before: the producer's, unless another run bears it.
fn new_run_id(key: &RunKey, producer_id: Option<&str>, taken: impl Fn(&str) -> bool) -> String {
    match producer_id {
        Some(id) if !taken(id) => id.to_string(),
        Some(id) => format!("{id}~{}", short_hash(key)),
        None => short_hash(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(identity: &str) -> RunKey {
        RunKey { source: "wandb".into(), identity: identity.into(), sub: String::new() }
    }

    #[test]
    fn clashing_ids_bear_their_hash_whatever_the_order() {
        let id = |text: &str| Some(text.to_string());
        let runs = BTreeMap::from([
            (key("a"), id("run1")),
            (key("b"), id("run1")),
            (key("c"), id("x")),
            (key("d"), None),
        ]);
        let ids = assign(&runs);
        assert_eq!(ids[&key("c")], "x");
        assert_eq!(ids[&key("a")], format!("run1~{}", short_hash(&key("a"))));
        assert_eq!(ids[&key("b")], format!("run1~{}", short_hash(&key("b"))));
        assert_eq!(ids[&key("d")].len(), 8);
    }
}
