//! Words of a project's own, and what they stand for.

use super::runs;
use crate::error::UserError;
use std::collections::BTreeMap;

/// Words of a project's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Names of metrics and runs by the words that stand for them.
    pub aliases: BTreeMap<String, String>,
    /// The metric by which a run is the best when none is named.
    pub primary_metric: Option<String>,
    /// Metrics that are asked for together, by the word for them.
    pub groups: BTreeMap<String, Vec<String>>,
    /// What metrics are called in tables and pictures, by their names.
    pub names: BTreeMap<String, String>,
}

impl Words {
    /// What a word stands for; mostly itself.
    pub fn meant<'w>(&'w self, word: &'w str) -> &'w str {
        self.aliases.get(word).map_or(word, String::as_str)
    }

    /// The only metric that is called so in tables and pictures: what people read there they may type.
    pub(super) fn called(&self, word: &str) -> Option<&str> {
        let mut metrics =
            self.names.iter().filter(|(_, name)| *name == word).map(|(metric, _)| metric.as_str());
        metrics.next().filter(|_| metrics.next().is_none())
    }

    /// What a word for a run stands for, in which `@best` needs a metric.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn run(&self, word: &str) -> Result<String, UserError> {
        match (self.meant(word), &self.primary_metric) {
            (runs::BEST_OF_ALL, Some(metric)) => Ok(format!("{}{metric}", runs::BEST)),
            (runs::BEST_OF_ALL, None) => Err(UserError::usage("@best of which metric?")
                .hint("write @best:METRIC, or set primary_metric in runq.toml")),
            (meant, _) => Ok(meant.to_owned()),
        }
    }
}
