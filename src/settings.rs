//! `runq.toml` beside the logs.

use crate::error::UserError;
use crate::records::Goal;
use crate::records::names::ValidationSets;
use crate::records::roles::Rules;
use crate::records::step_pattern::StepPattern;
use crate::report::number::NumberFormat;
use crate::report::people::Looks;
use crate::sources::console::{self, Console};
use runq_udfs::kernels::diagnosis::{Limits, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

mod template;

pub use template::template;

/// What a project sets once for everyone.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folders below the root in which logs are looked for; without one, in all of it.
    pub roots: Vec<PathBuf>,
    /// `.gitignore`-like patterns of what is no log.
    pub ignore: Vec<String>,
    /// Which way a metric is better: `[goals] my_metric = "max"`.
    pub goals: BTreeMap<String, GoalWord>,
    /// The metric that is shown where none is asked for, and by which `@best` is the best run.
    pub primary_metric: Option<String>,
    /// Words that stand for a metric or a run: `[aliases] vl = "val/loss"`.
    pub aliases: BTreeMap<String, String>,
    /// Metrics that are asked for together: `[groups] losses = ["train/loss", "val/loss"]`, then `-k losses`.
    pub groups: BTreeMap<String, Vec<String>>,
    /// What metrics are called in tables and pictures: `[names] "val/loss" = "validation loss"`.
    pub names: BTreeMap<String, String>,
    /// How their numbers are written there: `[formats] "val/acc" = ".1%"`.
    pub formats: BTreeMap<String, NumberFormat>,
    /// Words in the names of metrics that tell of validation, besides those everybody uses.
    pub validation_sets: Vec<String>,
    /// Names of metrics that hold a step, `loss_step_{i}`: those of a pattern are one metric.
    pub per_step: Vec<StepPattern>,
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

    /// Patterns of what is no log: all but `roots`, and what `ignore` says.
    pub fn left_out(&self) -> Vec<String> {
        let mut patterns = Vec::new();
        let is_part =
            |root: &&PathBuf| self.roots.iter().any(|other| other != *root && root.starts_with(other));
        for root in self.roots.iter().filter(|root| !is_part(root)) {
            let mut folder = String::from("/");
            for part in root.components() {
                if let Component::Normal(name) = part {
                    let name = escaped(&name.to_string_lossy());
                    let pair = [format!("{folder}*"), format!("!{folder}{name}/")];
                    folder = format!("{folder}{name}/");
                    patterns.extend(pair);
                }
            }
        }
        // The last pattern that matches counts: what leaves out a folder stands before what brings back.
        let depth = |pattern: &str| pattern.trim_end_matches('/').matches('/').count();
        patterns.sort_by_cached_key(|pattern| (depth(pattern), pattern.starts_with('!'), pattern.clone()));
        patterns.dedup();
        patterns.extend(self.ignore.iter().cloned());
        patterns
    }

    /// By what runs are judged.
    pub fn rules(&self) -> Rules {
        let roles = self.roles.iter().map(|(key, word)| (key.clone(), word.0)).collect();
        Rules {
            roles,
            validation_sets: self.validation_sets(),
            per_step: self.per_step.clone(),
            limits: self.thresholds.clone(),
        }
    }

    /// Validation sets of the project's own.
    pub fn validation_sets(&self) -> ValidationSets {
        ValidationSets::new(&self.validation_sets)
    }

    /// How people see metrics.
    pub fn looks(&self) -> Looks {
        Looks { names: self.names.clone(), formats: self.formats.clone() }
    }

    fn parse(text: &str) -> Result<Self, UserError> {
        let settings: Self = toml::from_str(text).map_err(|error| wrong(text, &error))?;
        let is_below = |root: &PathBuf| {
            root.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        };
        if let Some(root) = settings.roots.iter().find(|root| !is_below(root)) {
            let message = format!("{} in roots is no folder below the root", root.display());
            return Err(UserError::failed(message).hint("logs elsewhere have a root of their own: -C DIR"));
        }
        settings.check_names()?;
        Console::new(&settings.console)?;
        Ok(settings)
    }

    /// Names that mean nothing, or two things.
    fn check_names(&self) -> Result<(), UserError> {
        let is_nothing = |name: &&String| ValidationSets::new(std::slice::from_ref(name)).is_empty();
        if let Some(name) = self.validation_sets.iter().find(is_nothing) {
            let message = format!("\"{name}\" in validation_sets is no word of a name");
            return Err(UserError::failed(message));
        }
        let mut metrics = BTreeSet::new();
        match self.per_step.iter().map(StepPattern::metric).find(|metric| !metrics.insert(metric.clone())) {
            Some(metric) => Err(UserError::failed(format!("two patterns of per_step are \"{metric}\""))),
            None => Ok(()),
        }
    }
}

/// What is wrong with the text, and in which line.
fn wrong(text: &str, error: &toml::de::Error) -> UserError {
    let message = error.message().lines().next().unwrap_or_default();
    let before = error.span().and_then(|span| text.get(..span.start));
    let line =
        before.map_or_else(String::new, |before| format!("line {}: ", before.matches('\n').count() + 1));
    let told = UserError::failed(format!("{line}{message}"));
    match message.starts_with("unknown field") {
        true => told.hint(format!("known keys: {}", KEYS.join(", "))),
        false => told,
    }
}

/// A name as a pattern that means just it.
fn escaped(name: &str) -> String {
    let escape = |c: char| if "*?[]{}\\!# ".contains(c) { format!("\\{c}") } else { c.to_string() };
    name.chars().map(escape).collect()
}

/// What may be set.
const KEYS: [&str; 14] = [
    "roots",
    "ignore",
    "primary_metric",
    "goals",
    "aliases",
    "groups",
    "names",
    "formats",
    "validation_sets",
    "per_step",
    "queries",
    "console.patterns",
    "roles",
    "thresholds",
];

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
    fn roots_leave_out_all_else() {
        let patterns = |text: &str| Settings::parse(text).map(|settings| settings.left_out());
        assert_eq!(patterns("ignore = [\"old/\"]").unwrap(), ["old/"]);
        assert_eq!(
            patterns("roots = [\"a/b\", \"./a/c\", \"x*\"]\nignore = [\"old/\"]").unwrap(),
            ["/*", "!/a/", "!/x\\*/", "/a/*", "!/a/b/", "!/a/c/", "old/"]
        );
        for wrong in ["../a", "/a"] {
            let error = patterns(&format!("roots = [\"{wrong}\"]")).unwrap_err();
            assert_eq!(error.message, format!("{wrong} in roots is no folder below the root"));
        }
    }

    #[test]
    fn the_template_names_every_setting_and_sets_none() {
        let text = template();
        assert_eq!(Settings::parse(&text).unwrap(), Settings::default());
        let settings =
            |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).map(str::to_owned);
        let uncommented: Vec<String> =
            text.lines().map(|line| settings(line).unwrap_or_else(|| line.to_owned())).collect();
        let all = Settings::parse(&uncommented.join("\n")).unwrap();
        assert_eq!(all.thresholds, Limits::default());
        for key in KEYS {
            let (table, name) = key.split_once('.').unwrap_or(("", key));
            let is_there = uncommented.iter().any(|line| {
                line.starts_with(&format!("{name} = "))
                    || line.starts_with(&format!("[{key}"))
                    || line.starts_with(&format!("[[{table}.{name}"))
            });
            assert!(is_there, "{key}");
        }
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
