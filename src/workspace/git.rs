//! Looks into git repositories with the `git` that is installed. Only commands that read are run: without
//! hooks, pager, the repository's own programs (for differences, filters, file system monitors), locks or
//! network, and with a copy of the index, which git refreshes as it reads.

use crate::error::UserError;
use anyhow::Context;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// How often git is started again on a machine that has no room for a process.
const TRIES: usize = 5;

/// How long is waited before.
const PATIENCE: Duration = Duration::from_millis(100);

/// A repository with a work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its uppermost folder.
    pub top: PathBuf,
}

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// There is no `git` to look with.
    NoGit,
    /// No repository, or none that git wants to read; why, where that is worth telling.
    Nothing(Option<String>),
    /// A repository.
    Repository(Repository),
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its path in the repository.
    pub path: String,
    /// Lines that only the second state has; `None` for a binary file.
    pub added: Option<u64>,
    /// Lines that only the first state has.
    pub deleted: Option<u64>,
}

/// A commit, or the files as they lie there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// This commit.
    Commit(String),
    /// The work tree.
    Now,
}

/// Whether a word from a log is the hash of a commit, and no option of git.
pub fn is_hash(word: &str) -> bool {
    (7..=64).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The repository that `folder` lies in.
pub fn look(folder: &Path) -> Looked {
    let output = match answered(git(folder).args(["rev-parse", "--show-toplevel"])) {
        Err(error) if error.kind() == ErrorKind::NotFound && folder.is_dir() => return Looked::NoGit,
        Err(error) if error.kind() == ErrorKind::NotFound => return Looked::Nothing(None),
        Err(error) => return Looked::Nothing(Some(format!("cannot run git: {error}"))),
        Ok(output) => output,
    };
    if output.status.success() {
        return Looked::Repository(Repository {
            top: PathBuf::from(text(&output.stdout).trim_end_matches('\n')),
        });
    }
    let refused =
        text(&output.stderr).lines().find(|line| line.contains("dubious ownership")).map(str::to_owned);
    Looked::Nothing(refused)
}

/// The command, as it may look into a repository of anybody.
fn git(folder: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["--no-pager", "--no-optional-locks", "--literal-pathspecs"]);
    for setting in ["core.fsmonitor=false", "core.hooksPath=/dev/null", "protocol.allow=never"] {
        git.args(["-c", setting]);
    }
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS"] {
        git.env_remove(name);
    }
    git.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_NO_LAZY_FETCH", "1").env("GIT_TERMINAL_PROMPT", "0");
    git.env("LC_ALL", "C").stdin(Stdio::null());
    git
}

/// What the command says. A machine that can start no process at this instant is asked again.
fn answered(command: &mut Command) -> std::io::Result<Output> {
    for _ in 0..TRIES {
        match command.output() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PATIENCE),
            result => return result,
        }
    }
    command.output()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Repository {
    fn ask(&self, words: &[&str]) -> Option<String> {
        let output = answered(git(&self.top).args(words)).ok()?;
        output.status.success().then(|| text(&output.stdout).trim_end().to_owned())
    }

    /// Whether it holds the commit.
    pub fn has(&self, commit: &str) -> bool {
        is_hash(commit) && self.ask(&["cat-file", "-e", &format!("{commit}^{{commit}}")]).is_some()
    }

    /// The first parent of a commit.
    pub fn parent(&self, commit: &str) -> Option<String> {
        let parent = format!("{commit}^");
        is_hash(commit)
            .then(|| self.ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &parent]))?
    }

    /// The commit that is checked out.
    pub fn head(&self) -> Option<String> {
        self.ask(&["rev-parse", "--verify", "--quiet", "HEAD"])
    }

    /// Names of its remotes.
    pub fn remotes(&self) -> Vec<String> {
        self.ask(&["remote"]).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Files that differ between two states.
    ///
    /// # Errors
    /// When git cannot tell.
    pub fn changed(&self, a: &str, b: &State) -> anyhow::Result<Vec<Changed>> {
        let output = self.diff(a, b, &["--numstat", "-z"])?;
        let mut files = Vec::new();
        for line in text(&output.stdout).split('\0').filter(|line| !line.is_empty()) {
            let mut parts = line.splitn(3, '\t');
            let mut count = || parts.next().and_then(|count| count.parse().ok());
            let (added, deleted) = (count(), count());
            files.extend(parts.next().map(|path| Changed { path: path.to_owned(), added, deleted }));
        }
        Ok(files)
    }

    /// The difference between two states, as git writes it.
    ///
    /// # Errors
    /// When git cannot tell.
    pub fn difference(&self, a: &str, b: &State) -> anyhow::Result<String> {
        Ok(text(&self.diff(a, b, &["--patch"])?.stdout))
    }

    fn diff(&self, a: &str, b: &State, form: &[&str]) -> anyhow::Result<Output> {
        let mut command = git(&self.top);
        let own_index = self.copy_of_index()?;
        self.without_filters(&mut command);
        command.env("GIT_INDEX_FILE", own_index.path().join("index"));
        command.args(["diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames"]);
        command.args(["--submodule=short", "--ignore-submodules=dirty"]).args(form).arg(a);
        if let State::Commit(b) = b {
            command.arg(b);
        }
        let output = answered(command.arg("--")).context("cannot run git")?;
        match output.status.success() {
            true => Ok(output),
            false => {
                let why = text(&output.stderr).lines().next().unwrap_or_default().to_owned();
                Err(UserError::failed(format!("git diff in {}: {why}", self.top.display())).into())
            }
        }
    }

    /// A folder with a copy of the index: git writes down in it what it learns of the files.
    fn copy_of_index(&self) -> anyhow::Result<tempfile::TempDir> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let path = self.ask(&["rev-parse", "--git-path", "index"]).unwrap_or_default();
        let index = self.top.join(path);
        if index.is_file() {
            let copied = copy_with_time(&index, &folder.path().join("index"));
            copied.with_context(|| format!("cannot copy {}", index.display()))?;
        }
        Ok(folder)
    }

    /// Has the command run no filter that the repository itself declares; those of the user are trusted.
    fn without_filters(&self, command: &mut Command) {
        let listing = ["config", "-z", "--show-scope", "--name-only", "--get-regexp", "^filter[.]"];
        let listed = self.ask(&listing).unwrap_or_default();
        let words: Vec<&str> = listed.split('\0').collect();
        let own = words.chunks(2).filter(|pair| matches!(pair, ["local" | "worktree", _]));
        let names: BTreeSet<&str> = own
            .filter_map(|pair| pair.get(1)?.strip_prefix("filter.")?.rsplit_once('.'))
            .map(|(name, _)| name)
            .collect();
        let settings = names.into_iter().flat_map(|name| {
            let set = move |key: &str, value: &'static str| (format!("filter.{name}.{key}"), value);
            [set("clean", ""), set("smudge", ""), set("process", ""), set("required", "false")]
        });
        let mut count = 0;
        for (key, value) in settings {
            command
                .env(format!("GIT_CONFIG_KEY_{count}"), key)
                .env(format!("GIT_CONFIG_VALUE_{count}"), value);
            count += 1;
        }
        command.env("GIT_CONFIG_COUNT", count.to_string());
    }

    /// The command that shows the difference, to be run by a person.
    pub fn diff_command(&self, a: &str, b: &State) -> String {
        let mut words: Vec<&OsStr> = vec!["diff".as_ref(), a.as_ref()];
        if let State::Commit(b) = b {
            words.push(b.as_ref());
        }
        self.command(&words)
    }

    /// A command in this repository, to be run by a person in the working folder.
    pub fn command(&self, words: &[&OsStr]) -> String {
        let here = std::env::current_dir().ok().and_then(|here| here.canonicalize().ok());
        let is_here = here.is_some() && here == self.top.canonicalize().ok();
        let mut all: Vec<&OsStr> = vec!["git".as_ref()];
        if !is_here {
            all.extend(["-C".as_ref(), self.top.as_os_str()]);
        }
        all.extend(words);
        shell(&all)
    }
}

/// Copies a file with its time, by which git tells what may have changed since.
fn copy_with_time(from: &Path, to: &Path) -> std::io::Result<()> {
    let modified = from.metadata()?.modified()?;
    std::fs::copy(from, to)?;
    File::options().write(true).open(to)?.set_modified(modified)
}

/// Words as a shell takes them.
pub fn shell(words: &[&OsStr]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let quoter = shlex::Quoter::new().allow_nul(true);
    quoter.join(words.iter().map(AsRef::as_ref)).unwrap_or_else(|_| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_no_option_and_no_name() {
        for (word, is_one) in [
            ("808e79e47ad18f46644202a23940b06076630972", true),
            ("808e79e", true),
            ("808e79", false),
            ("--output=/etc/passwd", false),
            ("HEAD", false),
            ("main", false),
            ("", false),
        ] {
            assert_eq!(is_hash(word), is_one, "{word}");
        }
    }
}
