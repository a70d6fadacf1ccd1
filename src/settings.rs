//! `runq.toml` beside the logs.

use crate::error::UserError;
use crate::records::Goal;
use crate::records::roles::Rules;
use crate::sources::console::{self, Console};
use runq_udfs::kernels::diagnosis::{Limits, Role};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a project sets once for everyone.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `.gitignore`-like patterns of what is no log.
    pub ignore: Vec<String>,
    /// Which way a metric is better: `[goals] my_metric = "max"`.
    pub goals: BTreeMap<String, GoalWord>,
    /// Folders with canned queries besides `.runq/queries`.
    pub queries: Vec<PathBuf>,
    /// Patterns for printed logs: `[[console.patterns]]`.
    pub console: console::custom::Settings,
    /// What metrics mean to the diagnosis: `[roles] my_metric = "loss"`, or `"none"`.
    pub roles: BTreeMap<String, RoleWord>,
    /// From where on something is wrong: `[thresholds.plateau] gain = 0.005`.
    pub thresholds: Limits,
}

/// A role as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleWord(pub Option<Role>);

impl<'de> serde::Deserialize<'de> for RoleWord {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        let role = Role::ALL.into_iter().find(|role| role.as_str() == word);
        match role {
            None if word != "none" => {
                let known: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
                let message = format!("no role \"{word}\": known are {}, none", known.join(", "));
                Err(serde::de::Error::custom(message))
            }
            role => Ok(Self(role)),
        }
    }
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
    /// When it is no TOML, has a key that means nothing, or a pattern that does not match its sample.
    pub fn load(root: &Path) -> Result<Self, UserError> {
        let path = root.join("runq.toml");
        match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound || root.is_file() => {
                Ok(Self::default())
            }
            Err(error) => Err(UserError::failed(format!("cannot read {}: {error}", path.display()))),
            Ok(text) => Self::parse(&text).map_err(|error| UserError {
                message: format!("{}: {}", path.display(), error.message),
                ..error
            }),
        }
    }

    /// By what runs are judged.
    pub fn rules(&self) -> Rules {
        let roles = self.roles.iter().map(|(key, word)| (key.clone(), word.0)).collect();
        Rules { roles, limits: self.thresholds.clone() }
    }

    fn parse(text: &str) -> Result<Self, UserError> {
        let settings: Self = toml::from_str(text).map_err(|error| {
            let line = error.message().lines().next().unwrap_or_default().to_string();
            UserError::failed(line)
                .hint("known keys: ignore, goals, queries, console.patterns, roles, thresholds")
        })?;
        Console::new(&settings.console)?;
        Ok(settings)
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

    #[test]
    fn patterns_are_tried_on_their_samples() {
        let folder = tempfile::tempdir().unwrap();
        let load = |sample: &str| {
            let text = format!(
                "[[console.patterns]]\nname = \"mine\"\npattern = '<(?P<step>\\d+)> L=(?P<loss>\\S+)'\nsample = \"{sample}\"\n"
            );
            std::fs::write(folder.path().join("runq.toml"), text).unwrap();
            Settings::load(folder.path())
        };
        assert_eq!(load("<3> L=2.5").unwrap().console.patterns[0].name, "mine");
        let message = load("3 L=2.5").unwrap_err().message;
        assert!(
            message.contains("runq.toml: console pattern \"mine\": its sample does not match"),
            "{message}"
        );
        std::fs::write(folder.path().join("runq.toml"), "[[console.patterns]]\nname = \"x\"\n").unwrap();
        assert!(Settings::load(folder.path()).unwrap_err().message.contains("pattern"));
    }
}
