//! What both stores of MLflow share: tags and the words for how a run ended.

use crate::records::{End, RunFacts};
use crate::sources::parse::words::filled;

/// Tags of MLflow's own that state a fact.
pub(super) const STATING: [&str; 9] = [
    "mlflow.runName",
    "mlflow.user",
    "mlflow.source.name",
    "mlflow.source.git.commit",
    "mlflow.source.git.branch",
    "mlflow.source.git.repoURL",
    "mlflow.parentRunId",
    "mlflow.note.content",
    "mlflow.source.git.repoUrl",
];

/// The fact that a tag of MLflow's own states.
pub(super) fn facts_of(key: &str, value: &str) -> Option<RunFacts> {
    let value = filled(value.trim());
    let none = RunFacts::default();
    Some(match key {
        "mlflow.runName" => RunFacts { name: value, ..none },
        "mlflow.user" => RunFacts { user_name: value, ..none },
        "mlflow.source.name" => RunFacts { program: value, ..none },
        "mlflow.source.git.commit" => RunFacts { git_commit: value, ..none },
        "mlflow.source.git.branch" => RunFacts { git_branch: value, ..none },
        "mlflow.source.git.repoURL" | "mlflow.source.git.repoUrl" => RunFacts { git_remote: value, ..none },
        "mlflow.parentRunId" => RunFacts { parent_run_id: value, ..none },
        "mlflow.note.content" => RunFacts { notes: value, ..none },
        _ => return None,
    })
}

/// Whether a tag is the user's own.
pub(super) fn is_of_user(key: &str) -> bool {
    !key.starts_with("mlflow.")
}

/// A tag of the user as one text: `key=value`, or the key where the value says no more.
pub(super) fn user_tag(key: &str, value: &str) -> String {
    match value.trim() {
        value if value.is_empty() || value.eq_ignore_ascii_case("true") => key.to_owned(),
        value => format!("{key}={value}"),
    }
}

/// The state of a run by MLflow's word or number for it. A run that goes on has no end.
pub(super) fn end_of(status: &str) -> RunFacts {
    let (end, word) = match status {
        "FINISHED" | "3" => (End::Finished, "FINISHED"),
        "FAILED" | "4" => (End::Failed, "FAILED"),
        "KILLED" | "5" => (End::Failed, "KILLED"),
        _ => return RunFacts::default(),
    };
    RunFacts { end: Some(end), state_detail: Some(word.to_owned()), ..RunFacts::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stating_tag_states_something() {
        assert!(
            STATING.iter().all(|key| facts_of(key, "x").is_some_and(|facts| facts != RunFacts::default()))
        );
        assert_eq!(facts_of("mlflow.autologging", "x"), None);
        assert_eq!(user_tag("team", "lm"), "team=lm");
        assert_eq!((user_tag("baseline", "True"), user_tag("a", "")), ("baseline".into(), "a".into()));
        assert_eq!(end_of("5").state_detail.as_deref(), Some("KILLED"));
        assert_eq!(end_of("RUNNING"), RunFacts::default());
    }
}
