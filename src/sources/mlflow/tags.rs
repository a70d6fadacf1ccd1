//! What both stores of MLflow share: tags and the words for how a run ended.

use crate::records::{End, RunFacts};
use crate::sources::parse::words::filled;

/// What a tag states: a fact for some of MLflow's own, a tag for those of the user.
pub(super) fn facts_of(key: &str, value: &str) -> RunFacts {
    let none = RunFacts::default();
    if is_of_user(key) {
        return RunFacts { tags: Some(vec![user_tag(key, value)]), ..none };
    }
    let value = filled(value.trim());
    match key {
        "mlflow.runName" => RunFacts { name: value, ..none },
        "mlflow.user" => RunFacts { user_name: value, ..none },
        "mlflow.source.name" => RunFacts { program: value, ..none },
        "mlflow.source.git.commit" => RunFacts { git_commit: value, ..none },
        "mlflow.source.git.branch" => RunFacts { git_branch: value, ..none },
        "mlflow.source.git.repoURL" => RunFacts { git_remote: value, ..none },
        "mlflow.parentRunId" => RunFacts { parent_run_id: value, ..none },
        "mlflow.note.content" => RunFacts { notes: value, ..none },
        _ => none,
    }
}

/// Whether a tag of MLflow's own states a fact.
pub(super) fn is_stating(key: &str) -> bool {
    facts_of(key, "x") != RunFacts::default()
}

/// Whether a tag is the user's own.
fn is_of_user(key: &str) -> bool {
    !key.starts_with("mlflow.")
}

/// A tag of the user as one text: `key=value`, or the key where the value says no more.
fn user_tag(key: &str, value: &str) -> String {
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
    fn tags_state_facts() {
        assert!(is_stating("mlflow.user") && !is_stating("mlflow.autologging"));
        assert_eq!(facts_of("team", "lm").tags, Some(vec!["team=lm".to_owned()]));
        assert_eq!((user_tag("baseline", "True"), user_tag("a", "")), ("baseline".into(), "a".into()));
        assert_eq!(end_of("5").state_detail.as_deref(), Some("KILLED"));
        assert_eq!(end_of("RUNNING"), RunFacts::default());
    }
}
