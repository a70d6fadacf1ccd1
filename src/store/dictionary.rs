//! Values that repeat, told once.

use super::points::MAX_DICTIONARY;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Values that are looked at before all are.
const SAMPLE: usize = 1024;

/// A sample with fewer repeats comes from values that hardly repeat.
const MIN_SAMPLE_REPEATS: usize = 4;

/// The distinct values of some rows, bit by bit, and which of them each row has.
pub struct Dictionary {
    /// The values, in order of their first row.
    pub values: Vec<u64>,
    /// Which of them each row has.
    pub indices: Vec<u32>,
}

impl Dictionary {
    /// The dictionary of `count` values; `None` where they do not repeat enough.
    pub fn of(values: impl Iterator<Item = u64> + Clone, count: usize) -> Option<Self> {
        let mut sample: Vec<u64> = values.clone().step_by(count.div_ceil(SAMPLE).max(1)).collect();
        let looked_at = sample.len();
        sample.sort_unstable();
        sample.dedup();
        if looked_at - sample.len() < MIN_SAMPLE_REPEATS {
            return None;
        }
        let most = MAX_DICTIONARY.min(count / 3);
        let mut index: HashMap<u64, u32, BuildHasherDefault<BitsHasher>> = HashMap::default();
        let mut dictionary = Self { values: Vec::new(), indices: Vec::with_capacity(count) };
        for bits in values {
            let next = dictionary.values.len() as u32;
            let at = *index.entry(bits).or_insert(next);
            if at == next {
                dictionary.values.push(bits);
                if dictionary.values.len() > most {
                    return None;
                }
            }
            dictionary.indices.push(at);
        }
        Some(dictionary)
    }
}

/// Spreads the bits of one number; whoever writes a log can at most make its own conversion slow.
#[derive(Default)]
struct BitsHasher(u64);

impl Hasher for BitsHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    // The finalizer of MurmurHash3 (Appleby 2011).
    fn write_u64(&mut self, number: u64) {
        let mut hash = self.0 ^ number;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        self.0 = hash ^ (hash >> 33);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_that_repeat_get_a_dictionary() {
        let distinct = |value: fn(u64) -> u64| {
            Dictionary::of((0..5_000).map(value), 5_000).map(|dictionary| dictionary.values.len())
        };
        assert_eq!(distinct(|_| 1), Some(1));
        assert_eq!(distinct(|i| i % 400), Some(400));
        assert_eq!(distinct(|i| i / 2), None);
        assert_eq!(distinct(|i| i), None);
    }
}
