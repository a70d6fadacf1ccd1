//! Which event files make up a run. A run is a directory; directories that hold only a part of the
//! run above them (Keras' `train` and `validation`, `add_scalars`, `add_hparams`) are folded into it.

use crate::sources::parse::words::split;
use crate::sources::{InputKind, LogFile, RunInput, RunLogs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What grouping needs of a file's content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Marks {
    /// The head holds the start of a session of the plugin `hparams`.
    pub hparams: bool,
    /// The first tags, up to eight.
    pub tags: BTreeSet<String>,
}

/// What a reader must know of a file's place in its run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    /// Which file of its line it is.
    pub segment: i32,
    /// Name for the only metric of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Prefix for the names of all metrics.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

impl Role {
    /// Whether the file belongs to a run of another directory under changed names.
    pub(super) fn is_renamed(&self) -> bool {
        self.key.is_some() || !self.prefix.is_empty()
    }
}

/// A directory that directly holds event files.
#[derive(Default)]
struct Directory<'a> {
    files: Vec<&'a str>,
    tags: BTreeSet<String>,
    only_hparams: bool,
}

type Directories<'a> = BTreeMap<&'a str, Directory<'a>>;

/// Groups files into runs.
pub(super) fn group(files: &[LogFile]) -> Vec<RunLogs> {
    let directories = directories(files);
    let mut runs: BTreeMap<&str, Vec<RunInput>> = BTreeMap::new();
    for (path, directory) in &directories {
        let (home, role) = home(path, &directories);
        let inputs = directory.files.iter().zip(0..).map(|(file, segment)| RunInput {
            path: (*file).to_owned(),
            kind: InputKind::Log,
            role: serde_json::to_string(&Role { segment, ..role.clone() }).unwrap_or_default(),
            segment,
        });
        runs.entry(home).or_default().extend(inputs);
    }
    runs.into_iter().map(|(path, inputs)| run_logs(path, inputs)).collect()
}

fn directories(files: &[LogFile]) -> Directories<'_> {
    let mut found = Directories::new();
    for file in files {
        let marks: Marks = serde_json::from_str(&file.marks).unwrap_or_default();
        let entry = found.entry(split(&file.path).0).or_default();
        entry.only_hparams = marks.hparams && (entry.files.is_empty() || entry.only_hparams);
        entry.files.push(&file.path);
        entry.tags.extend(marks.tags);
    }
    for directory in found.values_mut() {
        directory.files.sort_by_cached_key(|path| order(split(path).1));
    }
    found
}

fn run_logs(path: &str, inputs: Vec<RunInput>) -> RunLogs {
    let path = if path.is_empty() { "." } else { path };
    RunLogs { name: Some(path.to_owned()), ..RunLogs::of_inputs(path, inputs) }
}

/// The directory of the run that `path` belongs to, and the names its metrics have there.
fn home<'a>(path: &'a str, all: &Directories<'_>) -> (&'a str, Role) {
    let (mut path, mut role) = (path, Role::default());
    while let Some((parent, fold)) = fold(path, all) {
        role = Role {
            segment: 0,
            prefix: format!("{}{}", fold.prefix, role.prefix),
            key: match role.key {
                Some(key) => Some(format!("{}{key}", fold.prefix)),
                None => fold.key,
            },
        };
        path = parent;
    }
    (path, role)
}

/// Whether a directory is a part of one above it.
fn fold<'a>(path: &'a str, all: &Directories<'_>) -> Option<(&'a str, Role)> {
    if path.is_empty() {
        return None;
    }
    fold_scalars(path, all).or_else(|| fold_keras(path, all)).or_else(|| fold_hparams(path, all))
}

/// `add_scalars(group, {name: value})` makes a directory with the only tag `group` per name:
/// `<run>/<group>_<name>` (torch) or `<run>/<group>/<name>` (tensorboardX).
fn fold_scalars<'a>(path: &'a str, all: &Directories<'_>) -> Option<(&'a str, Role)> {
    let tags = &all.get(path)?.tags;
    let group = tags.first().filter(|_| tags.len() == 1)?;
    let torch = format!("{}_", group.replace('/', "_"));
    let mut above = path;
    while !above.is_empty() {
        above = split(above).0;
        if !all.contains_key(above) {
            continue;
        }
        let rest = path.strip_prefix(above)?.trim_start_matches('/');
        let name = rest.strip_prefix(&torch);
        let name = name.or_else(|| rest.strip_prefix(group.as_str())?.strip_prefix('/'));
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let key = Some(format!("{group}/{name}"));
            return Some((above, Role { key, ..Role::default() }));
        }
    }
    None
}

/// Keras' TensorBoard callback writes to `train` and `validation` beside each other.
fn fold_keras<'a>(path: &'a str, all: &Directories<'_>) -> Option<(&'a str, Role)> {
    let (parent, name) = split(path);
    let other = match name {
        "train" => "validation",
        "validation" => "train",
        _ => return None,
    };
    let sibling = if parent.is_empty() { other.to_owned() } else { format!("{parent}/{other}") };
    let role = Role { prefix: format!("{name}/"), ..Role::default() };
    all.contains_key(sibling.as_str()).then_some((parent, role))
}

/// `add_hparams` writes hyperparameters and final metrics to a directory of its own.
fn fold_hparams<'a>(path: &'a str, all: &Directories<'_>) -> Option<(&'a str, Role)> {
    let parent = split(path).0;
    let folded = all.get(path)?.only_hparams && all.contains_key(parent);
    folded.then(|| (parent, Role::default()))
}

/// Key that puts the files of a directory in order: by name, but process and counter by number.
fn order(name: &str) -> (String, u64, u64, String) {
    match parts(name) {
        Some(parts) => (parts.before, parts.pid, parts.counter, name.to_owned()),
        None => (name.to_owned(), 0, 0, name.to_owned()),
    }
}

/// Host in the name of an event file, `events.out.tfevents.<seconds>.<host>[.<pid>.<counter>]`.
pub(super) fn host(name: &str) -> Option<String> {
    let (_, rest) = name.split_once("tfevents.")?;
    let (seconds, host) = rest.split_once('.')?;
    let cut = parts(name).map(|parts| parts.host_end).unwrap_or(name.len());
    let end = host.len().checked_sub(name.len() - cut)?;
    let host = host.get(..end).filter(|host| !host.is_empty())?;
    seconds.bytes().all(|byte| byte.is_ascii_digit()).then(|| host.to_owned())
}

/// The numbers at the end of a name.
struct Parts {
    /// What stands before them.
    before: String,
    pid: u64,
    counter: u64,
    /// Where the host ends.
    host_end: usize,
}

/// Finds the last two numbers that follow each other; the second one may bear a suffix.
fn parts(name: &str) -> Option<Parts> {
    let (head, _) = name.split_once("tfevents.")?;
    let names: Vec<&str> = name.split('.').collect();
    // `<seconds>` and at least one word of the host stand before process and counter.
    let least = head.matches('.').count() + 3;
    for at in (least..names.len().saturating_sub(1)).rev() {
        let digits = names[at + 1].bytes().take_while(u8::is_ascii_digit).count();
        let counter = names[at + 1].get(..digits).and_then(|text| text.parse().ok());
        if let (Ok(pid), Some(counter)) = (names[at].parse(), counter) {
            let before = names.get(..at)?.join(".");
            return Some(Parts { host_end: before.len(), before, pid, counter });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_order_of_names() {
        let host = |rest: &str| host(&format!("events.out.tfevents.{rest}"));
        assert_eq!(host("1795197393.demo-host.3445.0").as_deref(), Some("demo-host"));
        assert_eq!(host("1795197393.demo-host").as_deref(), Some("demo-host"));
        assert_eq!(host("1795197393.a.b.c.3445.0.v2").as_deref(), Some("a.b.c"));
        assert_eq!(host("1795197393.10.0.0.5.3445.12.resumed").as_deref(), Some("10.0.0.5"));
        assert_eq!(host("odd"), None);
        let name = |pid: &str| order(&format!("events.out.tfevents.17.h.{pid}"));
        assert!(name("9.2") < name("9.10") && name("9.10") < name("10.0.v2"));
    }
}
