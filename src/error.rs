//! Errors a person can act on. Everything else travels as [`anyhow::Error`] with context.

use std::fmt;
use std::time::Duration;

/// What kind of failure it is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Failed, or not found: exit code 1.
    Failed,
    /// Wrong use: exit code 2.
    Usage,
    /// A condition that was to be told by the exit code holds: 3.
    Condition,
    /// The user pressed Ctrl-C: exit code 130.
    Interrupted,
}

/// A message and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserError {
    /// Decides the exit code.
    pub kind: Kind,
    /// What happened and where; one line.
    pub message: String,
    /// What to do, when there is something.
    pub hint: Option<String>,
}

impl UserError {
    /// Something failed or was not found.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, message: message.into(), hint: None }
    }

    /// The command was used wrongly.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, message: message.into(), hint: None }
    }

    /// What was asked to be told by the exit code holds.
    pub fn condition(message: impl Into<String>) -> Self {
        Self { kind: Kind::Condition, message: message.into(), hint: None }
    }

    /// The user stopped it.
    pub fn interrupted() -> Self {
        Self { kind: Kind::Interrupted, message: "interrupted".into(), hint: None }
    }

    /// A query that is not answered in its time.
    pub fn too_late(timeout: Duration) -> Self {
        Self::failed(format!("the query took longer than {} s", timeout.as_secs_f64()))
            .hint("raise --timeout, or ask for less")
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the nearest of `names` to what was `wanted`; where none is near, the list, called `what`.
    pub fn nearest_of(self, wanted: &str, names: &[&str], what: &str) -> Self {
        let near = nearest(wanted, names.iter().copied(), 3);
        let quoted: Vec<String> = near.iter().map(|name| format!("\"{name}\"")).collect();
        match (quoted.split_last(), names.is_empty()) {
            (Some((last, [])), _) => self.hint(format!("did you mean {last}?")),
            (Some((last, others)), _) => self.hint(format!("did you mean {} or {last}?", others.join(", "))),
            (None, false) => self.hint(format!("{what}: {}", names.join(", "))),
            (None, true) => self,
        }
    }

    /// Exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Condition => 3,
            Kind::Interrupted => 130,
        }
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UserError {}

/// The names among `known` that look most like `wanted`, best first, at most `n`.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>, n: usize) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|name| (likeness(&wanted, &name.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.6)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    scored.into_iter().take(n).map(|(_, name)| name).collect()
}

fn likeness(wanted: &str, name: &str) -> f64 {
    // Names from logs have any length, and the comparison takes time by the square of it.
    let letters = |s: &str| s.chars().take(200).filter(|c| c.is_alphanumeric()).collect::<String>();
    let (a, b) = (letters(wanted), letters(name));
    let contained = !a.is_empty() && (b.contains(&a) || a.contains(&b)) && b.len() >= 2;
    strsim::jaro_winkler(&a, &b).max(if contained { 0.85 } else { 0.0 })
}
