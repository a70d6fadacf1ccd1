//! Run ids: the producer's own, or a hash of source and path. Never size, time or order.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

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
