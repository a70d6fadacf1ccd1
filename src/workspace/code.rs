//! The code a run was made with: what its log says, what the tracker kept beside it, and the repository
//! around that holds it. Nothing is written anywhere.

use super::Workspace;
use super::git::{self, Looked, Repository};
use crate::engine::canned::quoted;
use crate::engine::compute;
use crate::engine::secrets::MASK;
use crate::sources::kept::{self, Kept, Upstream};
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Characters of a run's id in the name of a folder.
const ID_CHARS: usize = 24;

/// The code of a run.
#[derive(Debug, Clone)]
pub struct Code {
    /// The run.
    pub run_id: String,
    /// Its tracker.
    pub source: String,
    /// Commit, as the log has it.
    pub commit: Option<String>,
    /// Branch, as the log has it.
    pub branch: Option<String>,
    /// Remote, as the log has it; a secret in it is masked.
    pub remote: Option<String>,
    /// Whether there were changes that were not committed.
    pub dirty: Option<bool>,
    /// The command line, without the interpreter.
    pub command: Option<String>,
    /// Host it ran on.
    pub host: Option<String>,
    /// What the tracker kept beside the log.
    pub kept: Kept,
    /// Where the code is.
    pub place: Place,
}

/// Where the code of a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The log names no commit.
    Unknown,
    /// There is no `git` to look with.
    NoGit,
    /// Neither around the logs nor around the working folder is a repository; why, where git says more.
    NoRepository(Option<String>),
    /// This one is around, and does not hold the commit.
    Lacking(Repository),
    /// This one holds the commit.
    Held(Repository),
}

/// How to get at the code, in commands to be run by a person, and what to know of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restore {
    /// Commands, in order.
    pub commands: Vec<String>,
    /// What they do not say.
    pub notes: Vec<String>,
}

/// A commit to check out, and the changes to put on top.
#[derive(Debug, Clone, Copy)]
struct Start<'c> {
    commit: &'c str,
    patch: Option<&'c Path>,
}

impl Start<'_> {
    fn apply(&self, folder: &Path, restore: &mut Restore) {
        if let Some(patch) = self.patch {
            let words: [&OsStr; 5] =
                ["git".as_ref(), "-C".as_ref(), folder.as_ref(), "apply".as_ref(), patch.as_ref()];
            restore.commands.push(git::shell(&words));
        }
    }
}

impl Workspace {
    /// The code of the run with this id.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub async fn code(&self, run_id: &str) -> anyhow::Result<Code> {
        let facts = self.facts_of(run_id).await?;
        let root = self.root().to_path_buf();
        let run_id = run_id.to_owned();
        Ok(compute::handle()?.spawn_blocking(move || code_of(run_id, facts, &root)).await?)
    }

    async fn facts_of(&self, run_id: &str) -> anyhow::Result<Facts> {
        let columns = COLUMNS.join(", ");
        let sql = format!("select {columns} from runs where run_id = {}", quoted(run_id));
        let mut facts = Facts::new();
        let mut stream = self.sql(&sql).await?.stream;
        while let Some(batch) = stream.try_next().await? {
            for (name, column) in COLUMNS.iter().zip(batch.columns()).filter(|_| batch.num_rows() > 0) {
                let column = cast(column, &DataType::Utf8)?;
                let texts = column.as_string::<i32>();
                facts.extend(texts.is_valid(0).then(|| (*name, texts.value(0).to_owned())));
            }
        }
        Ok(facts)
    }
}

/// Columns of `runs` that tell of the code.
const COLUMNS: [&str; 9] =
    ["source", "path", "git_commit", "git_branch", "git_remote", "git_dirty", "program", "args", "host"];

/// What the tables tell, by column.
type Facts = BTreeMap<&'static str, String>;

fn code_of(run_id: String, mut facts: Facts, root: &Path) -> Code {
    let folder = if root.is_file() { root.parent().unwrap_or(root) } else { root };
    let log = folder.join(facts.get("path").map_or("", String::as_str));
    let source = facts.remove("source").unwrap_or_default();
    let kept = kept::kept(&source, &log);
    let commit = facts.remove("git_commit").filter(|commit| !commit.is_empty());
    let around = [log.parent().unwrap_or(folder).to_path_buf(), folder.to_path_buf()];
    let here = std::env::current_dir().ok();
    let recorded = kept.working_dir.as_ref().map(PathBuf::from).filter(|folder| folder.is_absolute());
    let around: Vec<PathBuf> = around.into_iter().chain(here).chain(recorded).collect();
    let place = place(commit.as_deref(), &around);
    let logged_dirty = facts.remove("git_dirty").and_then(|word| word.parse().ok());
    let command = [facts.remove("program"), facts.remove("args")];
    let command = command.into_iter().flatten().collect::<Vec<_>>().join(" ");
    Code {
        run_id,
        source,
        commit,
        branch: facts.remove("git_branch"),
        remote: facts.remove("git_remote"),
        dirty: logged_dirty.or(kept.patch.is_some().then_some(true)),
        command: Some(command).filter(|command| !command.is_empty()),
        host: facts.remove("host"),
        kept,
        place,
    }
}

/// The first repository that holds the commit; else the first there is.
fn place(commit: Option<&str>, around: &[PathBuf]) -> Place {
    let Some(commit) = commit else { return Place::Unknown };
    let (mut lacking, mut why) = (None, None);
    for folder in around {
        match git::look(folder) {
            Looked::NoGit => return Place::NoGit,
            Looked::Nothing(told) => why = why.or(told),
            Looked::Repository(repository) if repository.has(commit) => return Place::Held(repository),
            Looked::Repository(repository) => lacking = lacking.or(Some(repository)),
        }
    }
    lacking.map_or(Place::NoRepository(why), Place::Lacking)
}

impl Code {
    /// Whether the commit is one that the tracker made of changes that were not committed: exprag's branch
    /// `run/ID`, on top of the commit that was checked out.
    pub fn is_snapshot(&self) -> bool {
        self.source == "exprag" && self.branch.as_deref() == Some(&format!("run/{}", self.run_id))
    }

    /// The repository that holds the commit, with it.
    pub fn held(&self) -> Option<(&Repository, &str)> {
        match (&self.place, &self.commit) {
            (Place::Held(repository), Some(commit)) => Some((repository, commit)),
            _ => None,
        }
    }

    /// How to get at the code.
    pub fn restore(&self) -> Restore {
        let mut restore = Restore::default();
        match (&self.commit, &self.place) {
            (None, _) => restore.notes.push("the log names no commit".to_owned()),
            (Some(commit), _) if !git::is_hash(commit) => {
                restore.notes.push("what the log names as the commit is no hash".to_owned());
            }
            (Some(commit), Place::Held(repository)) => {
                let patch = self.kept.patch.as_deref();
                self.add_worktree(repository, Start { commit, patch }, &mut restore);
            }
            (Some(commit), Place::Lacking(repository)) => self.fetch(repository, commit, &mut restore),
            (Some(commit), place) => self.clone_it(place, commit, &mut restore),
        }
        self.tell_of_changes(&mut restore);
        restore
    }

    /// The folder for the code beside another, and how a command in that one names it.
    fn beside(&self, top: &Path) -> PathBuf {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let id: String = self.run_id.chars().filter(is_plain).take(ID_CHARS).collect();
        let name = format!("run-{}", id.trim_matches('-'));
        let is_here = std::env::current_dir().is_ok_and(|here| here == top);
        match top.parent().filter(|_| !is_here) {
            Some(parent) => parent.join(name),
            None => Path::new("..").join(name),
        }
    }

    /// From where a repository without the commit gets to the code: one that the remote had, where the tracker
    /// kept the changes since; the commit itself may never have been there.
    fn start<'c>(&'c self, commit: &'c str, restore: &mut Restore) -> Start<'c> {
        match &self.kept.upstream {
            Some(Upstream { commit, patch }) => {
                restore.notes.push(format!(
                    "when the run began, the remote did not have its commit: the patch holds all changes since {commit}"
                ));
                Start { commit, patch: Some(patch) }
            }
            None => Start { commit, patch: self.kept.patch.as_deref() },
        }
    }

    fn add_worktree(&self, repository: &Repository, start: Start<'_>, restore: &mut Restore) {
        let folder = self.beside(&repository.top);
        let words: [&OsStr; 5] = [
            "worktree".as_ref(),
            "add".as_ref(),
            "--detach".as_ref(),
            folder.as_ref(),
            start.commit.as_ref(),
        ];
        restore.commands.push(repository.command(&words));
        start.apply(&folder, restore);
    }

    fn fetch(&self, repository: &Repository, commit: &str, restore: &mut Restore) {
        let top = repository.top.display();
        restore.notes.push(format!("the repository {top} does not hold the commit"));
        let start = self.start(commit, restore);
        if start.commit != commit && repository.has(start.commit) {
            return self.add_worktree(repository, start, restore);
        }
        let remote = self.usable_remote().or_else(|| repository.remotes().into_iter().next());
        let Some(remote) = remote else { return restore.notes.extend(self.where_it_was()) };
        let words: [&OsStr; 3] = ["fetch".as_ref(), remote.as_ref(), start.commit.as_ref()];
        restore.commands.push(repository.command(&words));
        self.add_worktree(repository, start, restore);
    }

    fn clone_it(&self, place: &Place, commit: &str, restore: &mut Restore) {
        restore.notes.push(match place {
            Place::NoGit => "git is not installed here: this is what the logs say".to_owned(),
            Place::NoRepository(Some(why)) => why.clone(),
            _ => "no repository is around the logs or the working folder".to_owned(),
        });
        let Some(remote) = self.usable_remote() else { return restore.notes.extend(self.where_it_was()) };
        let (folder, start) = (self.beside(Path::new("")), self.start(commit, restore));
        let clone: [&OsStr; 4] = ["git".as_ref(), "clone".as_ref(), remote.as_ref(), folder.as_ref()];
        let check_out: [&OsStr; 6] = [
            "git".as_ref(),
            "-C".as_ref(),
            folder.as_ref(),
            "checkout".as_ref(),
            "--detach".as_ref(),
            start.commit.as_ref(),
        ];
        restore.commands.extend([git::shell(&clone), git::shell(&check_out)]);
        start.apply(&folder, restore);
    }

    /// The remote, unless a part of it is masked, or git would take it for an option.
    fn usable_remote(&self) -> Option<String> {
        self.remote.clone().filter(|remote| !remote.contains(MASK) && !remote.starts_with('-'))
    }

    fn where_it_was(&self) -> Option<String> {
        let folder = self.kept.working_dir.as_deref()?;
        let host = self.host.as_ref().map_or_else(String::new, |host| format!(" on {host}"));
        Some(format!("no remote is known: the run was started in {folder}{host}"))
    }

    fn tell_of_changes(&self, restore: &mut Restore) {
        let note = match (self.dirty, &self.kept.patch) {
            _ if self.is_snapshot() => {
                "the commit is a snapshot that exprag made: changes that were not committed are in it, and its first parent is the commit they were made on"
            }
            (Some(true), None) if self.held().is_some() || self.kept.upstream.is_none() => {
                "there were changes that were not committed, and the tracker kept none of them"
            }
            _ => return,
        };
        restore.notes.push(note.to_owned());
    }
}
