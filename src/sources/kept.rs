//! What trackers keep of the code and of what it ran in, beside a log or at its beginning. Read when it
//! is asked for: no table holds it.

use super::parse::json::{Json, parse, parse_whole};
use super::parse::words::{strings, text_at};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Files beyond this are not read.
const MOST_BYTES: u64 = 8 << 20;
/// Metadata comes among the first records of a transaction log.
const HEAD_BYTES: u64 = 1 << 20;

/// What is known beyond the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The changes of the work tree that were not committed.
    pub patch: Option<PathBuf>,
    /// All changes since a commit that the remote had, where the one that was checked out was not there.
    pub upstream: Option<Upstream>,
    /// The list of packages, where it is a file of its own.
    pub requirements: Option<PathBuf>,
    /// Package and version.
    pub packages: BTreeMap<String, String>,
    /// Version of Python.
    pub python: Option<String>,
    /// Folder the run was started in, on its host.
    pub working_dir: Option<String>,
}

/// The code as the changes since a commit of the remote: those of local commits, and those of no commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// That commit.
    pub commit: String,
    /// The changes.
    pub patch: PathBuf,
}

impl Upstream {
    /// What stands before and behind the commit in the name of W&B's file.
    const NAME: (&str, &str) = ("upstream_diff_", ".patch");

    /// The one in a folder; of several the first by its name.
    fn within(folder: &Path) -> Option<Self> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let one = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            let commit = name.strip_prefix(Self::NAME.0)?.strip_suffix(Self::NAME.1)?;
            let is_hash = commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            let commit = is_hash.then(|| commit.to_owned())?;
            is_filled(&path).then_some(Self { commit, patch: path })
        };
        entries.filter_map(|entry| one(entry.path())).min_by(|a, b| a.patch.cmp(&b.patch))
    }
}

fn is_filled(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.len() > 0)
}

/// What `source` kept of the run at `log`, a file or a folder. What is not there or cannot be read is
/// absent.
pub fn kept(source: &str, log: &Path) -> Kept {
    match source {
        "wandb" => wandb(log),
        "swanlab" => in_files(log, "swanlab-metadata.json"),
        "exprag" => exprag(log),
        "sacred" => sacred(log),
        "guild" => {
            Kept { packages: packages(&text(&log.join(".guild/attrs/pip_freeze"))), ..Kept::default() }
        }
        "clearml" => clearml(log),
        _ => Kept::default(),
    }
}

/// Text of a file; empty where it is too large, or cannot be read.
fn text(path: &Path) -> String {
    let bytes = head(path, MOST_BYTES);
    let is_whole = (bytes.len() as u64) < MOST_BYTES;
    if is_whole { String::from_utf8_lossy(&bytes).into_owned() } else { String::new() }
}

/// W&B: offline the metadata is in the transaction log alone.
fn wandb(log: &Path) -> Kept {
    let kept = in_files(log, "wandb-metadata.json");
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wandb");
    let entries = std::fs::read_dir(log).into_iter().flatten().flatten();
    let found = entries.map(|entry| entry.path()).find(is_log);
    let Some(found) = found.filter(|_| kept.python.is_none() || kept.working_dir.is_none()) else {
        return kept;
    };
    let (python, root) = super::wandb::surroundings(&head(&found, HEAD_BYTES));
    Kept { python: kept.python.or(python), working_dir: kept.working_dir.or(root), ..kept }
}

/// The first bytes of a file; none where it cannot be read.
fn head(path: &Path, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let is_read = File::open(path).is_ok_and(|file| file.take(most).read_to_end(&mut bytes).is_ok());
    if is_read { bytes } else { Vec::new() }
}

/// W&B and SwanLab: `files/` in the folder of the run.
fn in_files(log: &Path, metadata: &str) -> Kept {
    let folder = if log.is_dir() { log } else { log.parent().unwrap_or(log) };
    let files = Some(folder.join("files")).filter(|files| files.is_dir()).unwrap_or(folder.to_path_buf());
    let metadata = text(&files.join(metadata));
    let metadata = parse_whole(metadata.as_bytes()).unwrap_or(Json::Null);
    let filled = |name: &str| Some(files.join(name)).filter(|path| is_filled(path));
    let requirements = filled("requirements.txt");
    Kept {
        patch: filled("diff.patch"),
        upstream: Upstream::within(&files),
        packages: requirements.as_deref().map(|file| packages(&text(file))).unwrap_or_default(),
        requirements,
        python: text_at(&metadata, &["python"]),
        working_dir: text_at(&metadata, &["root"]).or_else(|| text_at(&metadata, &["cwd"])),
    }
}

/// exprag: the first line.
fn exprag(log: &Path) -> Kept {
    let head = head(log, MOST_BYTES);
    let start = parse(&head).map_or(Json::Null, |(start, _)| start);
    Kept { working_dir: text_at(&start, &["value", "process", "cwd"]), ..Kept::default() }
}

/// Sacred: `run.json` lists `name==version`.
fn sacred(log: &Path) -> Kept {
    let folder = if log.is_dir() { log } else { log.parent().unwrap_or(log) };
    let document = text(&folder.join("run.json"));
    let document = parse_whole(document.as_bytes()).unwrap_or(Json::Null);
    let experiment = document.get("experiment");
    let dependencies = strings(experiment.and_then(|experiment| experiment.get("dependencies")));
    Kept {
        packages: packages(&dependencies.join("\n")),
        python: text_at(&document, &["host", "python_version"]),
        working_dir: text_at(&document, &["experiment", "base_dir"]),
        ..Kept::default()
    }
}

/// ClearML offline: `task.json` holds the script's requirements.
fn clearml(log: &Path) -> Kept {
    let folder = if log.is_dir() { log } else { log.parent().unwrap_or(log) };
    let document = text(&folder.join("task.json"));
    let document = parse_whole(document.as_bytes()).unwrap_or(Json::Null);
    let pip = text_at(&document, &["script", "requirements", "pip"]).unwrap_or_default();
    Kept {
        packages: packages(&pip),
        working_dir: text_at(&document, &["script", "working_dir"]),
        ..Kept::default()
    }
}

/// `name==version` lines, as `pip freeze` prints them; other lines name no version.
fn packages(text: &str) -> BTreeMap<String, String> {
    let package = |line: &str| {
        let line = line.split(" #").next().unwrap_or_default().trim();
        // An item of a list in YAML.
        let line = line.strip_prefix("- ").unwrap_or(line);
        let (name, version) = line.split_once("==").or_else(|| line.split_once(" @ "))?;
        let (name, version) = (name.trim(), version.trim_start_matches('=').trim());
        let is_named = !name.is_empty() && !name.starts_with(['#', '-']) && !version.is_empty();
        is_named.then(|| (name.to_owned(), version.to_owned()))
    };
    text.lines().filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        folder
    }

    #[test]
    fn packages_are_lines_of_pip() {
        let text = "# made by hand\nnumpy==2.1.0\ntorch==2.15.0+cu130 # gpu\n-e git+https://h/x\nown @ file:///x\n\nbare\n";
        let found: Vec<_> = packages(text).into_iter().map(|(name, version)| name + " " + &version).collect();
        assert_eq!(found, ["numpy 2.1.0", "own file:///x", "torch 2.15.0+cu130"]);
    }

    #[test]
    fn wandb_keeps_a_patch_and_requirements() {
        let folder = written(&[
            ("run-1/files/diff.patch", "diff"),
            ("run-1/files/requirements.txt", "numpy==1\n"),
            ("run-1/files/wandb-metadata.json", r#"{"python": "3.12.1", "root": "/home/x"}"#),
        ]);
        let run = folder.path().join("run-1");
        let kept = kept("wandb", &run);
        assert_eq!(kept.patch, Some(run.join("files/diff.patch")));
        assert_eq!((kept.python.as_deref(), kept.working_dir.as_deref()), (Some("3.12.1"), Some("/home/x")));
        assert_eq!(kept.packages["numpy"], "1");
    }

    #[test]
    fn wandb_tells_offline_in_its_log() {
        let root = crate::sources::testing::samples("wandb");
        let kept = kept("wandb", &root.join("tiny-lm/wandb/offline-run-20261120_175106-pubclean1"));
        assert!(kept.python.is_some_and(|python| python.contains("3.")), "no Python");
    }

    #[test]
    fn other_trackers_tell_less() {
        let start = "{\"kind\":\"run_start\",\"value\":{\"process\":{\"cwd\":\"/w\"}}}\n{}\n";
        let json = r#"{"experiment": {"dependencies": ["numpy==2"], "base_dir": "/b"}, "host": {"python_version": "3.11"}}"#;
        let task = r#"{"script": {"requirements": {"pip": "torch==2.0\n"}, "working_dir": "."}}"#;
        let folder = written(&[
            ("a.jsonl", start),
            ("1/run.json", json),
            ("g/.guild/attrs/pip_freeze", "- a==1\n- b==2\n"),
            ("c/task.json", task),
        ]);
        let at = |name: &str| folder.path().join(name);
        assert_eq!(kept("exprag", &at("a.jsonl")).working_dir.as_deref(), Some("/w"));
        let sacred = kept("sacred", &at("1"));
        assert_eq!((sacred.packages["numpy"].as_str(), sacred.python.as_deref()), ("2", Some("3.11")));
        assert_eq!(kept("guild", &at("g")).packages["b"], "2");
        assert_eq!(kept("clearml", &at("c")).packages["torch"], "2.0");
        for source in ["wandb", "exprag", "sacred", "guild", "clearml", "csv"] {
            assert_eq!(kept(source, &at("nothing")), Kept::default(), "{source}");
        }
    }
}
