//! Which runs a file may hold rows of: exact enough to leave out the other files, at 4 bytes a run.
//! Ids of runs say nothing of their time, so that bounds on them rule out no file.

use super::words;
use std::sync::Arc;

/// Hashes (CRC-32) of the ids of the runs in a file, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members(Arc<[u32]>);

impl Members {
    /// Of these runs.
    pub fn of<'a>(run_ids: impl IntoIterator<Item = &'a String>) -> Self {
        let mut hashes: Vec<u32> = run_ids.into_iter().map(|id| hash(id)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self(hashes.into())
    }

    /// As the catalog keeps them.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(words::from_bytes(bytes))
    }

    /// The inverse of [`Members::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        words::to_bytes(&self.0)
    }

    /// Whether there may be rows of a run; where not, there are none.
    pub fn may_hold(&self, run_id: &str) -> bool {
        self.0.binary_search(&hash(run_id)).is_ok()
    }
}

fn hash(run_id: &str) -> u32 {
    crc32fast::hash(run_id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_known_again() {
        let ids: Vec<String> = (0..1000).map(|i| format!("run{i}")).collect();
        let members = Members::from_bytes(&Members::of(&ids).to_bytes());
        assert!(ids.iter().all(|id| members.may_hold(id)));
        assert!((1000..2000).filter(|i| members.may_hold(&format!("run{i}"))).count() < 3);
        assert!(!Members::default().may_hold("run1"));
    }
}
