//! What the catalog knows of inputs, found by path or by log.

use crate::store::{Catalog, InputRecord};
use std::collections::BTreeSet;

/// All inputs of the catalog, without their state.
#[derive(Debug, Default)]
pub struct Known {
    /// By path, source and identity.
    inputs: Vec<InputRecord>,
    /// Indexes of `inputs` by source, identity and path.
    by_log: Vec<usize>,
}

impl Known {
    /// Loads them.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn load(catalog: &dyn Catalog) -> anyhow::Result<Self> {
        Ok(Self::new(catalog.inputs()?))
    }

    /// Over records in any order.
    pub fn new(mut inputs: Vec<InputRecord>) -> Self {
        inputs.sort_by(|a, b| (&a.path, log_of(a)).cmp(&(&b.path, log_of(b))));
        let mut by_log: Vec<usize> = (0..inputs.len()).collect();
        by_log.sort_by(|a, b| log_of(&inputs[*a]).cmp(&log_of(&inputs[*b])));
        Self { inputs, by_log }
    }

    /// An input by its path; of one that feeds several logs, that of any.
    pub fn at_path(&self, path: &str) -> Option<&InputRecord> {
        let place = self.inputs.partition_point(|input| input.path.as_str() < path);
        self.inputs.get(place).filter(|input| input.path == path)
    }

    /// Inputs of a log, by path.
    pub fn of_log(&self, source: &str, identity: &str) -> Vec<&InputRecord> {
        let log = (source, identity);
        let first = self.by_log.partition_point(|index| log_of(&self.inputs[*index]) < log);
        let inputs = self.by_log[first..].iter().map(|index| &self.inputs[*index]);
        inputs.take_while(|input| log_of(input) == log).collect()
    }

    /// Source and identity of all logs.
    pub fn logs(&self) -> BTreeSet<(&str, &str)> {
        self.inputs.iter().map(log_of).collect()
    }
}

fn log_of(input: &InputRecord) -> (&str, &str) {
    (&input.source, &input.identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_found_by_path_and_by_log() {
        let input = |path: &str, identity: &str| InputRecord {
            path: path.into(),
            source: "jsonl".into(),
            identity: identity.into(),
            ..InputRecord::default()
        };
        let known =
            Known::new(vec![input("c.yaml", "b"), input("a", "a"), input("c.yaml", "a"), input("b", "b")]);
        let paths = |identity| known.of_log("jsonl", identity).iter().map(|i| &*i.path).collect::<Vec<_>>();
        assert_eq!((paths("a"), paths("b"), paths("c")), (vec!["a", "c.yaml"], vec!["b", "c.yaml"], vec![]));
        assert!(known.at_path("c.yaml").is_some() && known.at_path("c").is_none());
        assert_eq!(known.logs().len(), 2);
    }
}
