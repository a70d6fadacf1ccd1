//! `runq.toml` beside the logs.

use crate::error::UserError;
use crate::records::Goal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a project sets once for everyone.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `.gitignore`-like patterns of what is no log.
    pub ignore: Vec<String>,
    /// Which way a metric is better: `[goals] my_metric = "max"`.
    pub goals: BTreeMap<String, GoalWord>,
    /// Folders with canned queries besides `.runq/queries`.
    pub queries: Vec<PathBuf>,
}

/// `min` or `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GoalWord {
    /// Smaller is better.
    Min,
    /// Larger is better.
    Max,
}

impl From<GoalWord> for Goal {
    fn from(word: GoalWord) -> Self {
        match word {
            GoalWord::Min => Goal::Min,
            GoalWord::Max => Goal::Max,
        }
    }
}

impl Settings {
    /// Reads `runq.toml` in `root`; without one, the defaults.
    ///
    /// # Errors
    /// When it is no TOML or has a key that means nothing.
    pub fn load(root: &Path) -> Result<Self, UserError> {
        let path = root.join("runq.toml");
        match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound || root.is_file() => {
                Ok(Self::default())
            }
            Err(error) => Err(UserError::failed(format!("cannot read {}: {error}", path.display()))),
            Ok(text) => toml::from_str(&text).map_err(|error| {
                let line = error.message().lines().next().unwrap_or_default().to_string();
                UserError::failed(format!("{}: {line}", path.display()))
                    .hint("known keys: ignore, goals, queries")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn settings_are_read_and_misspelt_keys_are_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Settings::load(folder.path()).unwrap(), Settings::default());
        std::fs::write(folder.path().join("runq.toml"), "ignore = [\"old/\"]\n[goals]\nscore = \"max\"\n")
            .unwrap();
        let settings = Settings::load(folder.path()).unwrap();
        assert_eq!(settings.ignore, ["old/"]);
        assert_eq!(settings.goals["score"], GoalWord::Max);
        std::fs::write(folder.path().join("runq.toml"), "ignored = []\n").unwrap();
        assert!(Settings::load(folder.path()).unwrap_err().message.contains("ignored"));
    }
}
