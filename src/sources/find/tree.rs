//! The part of a folder tree that may hold logs, and how it is walked again: a folder is listed
//! only when its time moved, a file is looked at by size and time.

use super::discover::{Settings, Stat, WRITE_AHEAD, stat_of};
use super::sidecar;
use crate::error::UserError;
use anyhow::Context;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::{Deserialize, Serialize};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Folders that hold no logs, or copies of them.
const PRUNED: &[&str] = &[
    "node_modules",
    "venv",
    "site-packages",
    "checkpoints",
    "media",
    "artifacts",
    "__pycache__",
    "_sources",
    "target",
];

/// Hidden folders that known formats need.
const HIDDEN: &[&str] =
    &[".wandb", ".exprag", ".neptune", ".guild", ".aim", ".clearml", ".cometml-runs", sidecar::HYDRA];

/// How many entries lie between two calls of `progress`.
const PROGRESS_STRIDE: u64 = 256;

/// A folder that changed less than this before it was listed may change once more without its time
/// moving: file systems keep times to ticks of up to 2 seconds.
const TICK_NS: i64 = 2_000_000_000;

/// What a walk saw, folders in order, each before what it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    folders: Vec<Folder>,
}

/// A folder.
#[derive(Debug, Clone, Eq, Serialize, Deserialize)]
struct Folder {
    /// Index of the folder it lies in; the root lies in itself.
    parent: u32,
    name: String,
    modified_ns: i64,
    /// Tells it from another folder of the same age that was moved to its place.
    inode: u64,
    /// Whether its listing holds for as long as its time stays.
    is_settled: bool,
    /// Entries of any kind in it.
    entry_count: u32,
    /// Files that may be logs or configuration, in order.
    files: Vec<Seen>,
}

impl PartialEq for Folder {
    /// That time passed changes nothing.
    fn eq(&self, other: &Self) -> bool {
        let parts = |folder: &Self| (folder.parent, folder.modified_ns, folder.inode, folder.entry_count);
        parts(self) == parts(other) && self.name == other.name && self.files == other.files
    }
}

/// A file that may be a log or configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    name: String,
    /// `None`: no regular file, or a link to one that is found by itself.
    stat: Option<Stat>,
}

/// A file of a tree.
pub struct TreeFile {
    /// Path relative to the root, `/` separated.
    pub path: String,
    /// Its state.
    pub stat: Stat,
}

impl Tree {
    /// All files that may be logs or configuration.
    pub fn files(&self) -> Vec<TreeFile> {
        let mut paths: Vec<String> = Vec::with_capacity(self.folders.len());
        let mut files = Vec::new();
        for folder in &self.folders {
            let path = paths
                .get(folder.parent as usize)
                .map_or_else(String::new, |parent| join(parent, &folder.name));
            let of_folder = folder.files.iter().filter_map(|seen| Some((&seen.name, seen.stat?)));
            files.extend(of_folder.map(|(name, stat)| TreeFile { path: join(&path, name), stat }));
            paths.push(path);
        }
        files
    }

    /// Folders and files seen, of any kind.
    pub fn entry_count(&self) -> u64 {
        self.folders.iter().map(|folder| u64::from(folder.entry_count)).sum()
    }

    /// Whether more listings hold than in the same tree at an earlier look.
    pub fn is_more_settled(&self, before: &Tree) -> bool {
        let pairs = self.folders.iter().zip(&before.folders);
        pairs.into_iter().any(|(now, then)| now.is_settled && !then.is_settled)
    }

    /// The folders in each folder, in order.
    fn children(&self) -> Vec<Vec<u32>> {
        let mut children = vec![Vec::new(); self.folders.len()];
        for (index, folder) in (0_u32..).zip(&self.folders).skip(1) {
            if let Some(siblings) = children.get_mut(folder.parent as usize) {
                siblings.push(index);
            }
        }
        children
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") }
}

/// What a walk gives besides the tree.
pub struct Walked {
    /// The tree.
    pub tree: Tree,
    /// Folder that all paths are relative to: the root, or the folder of a root that is a file.
    pub base: PathBuf,
    /// The root, when it is a single file.
    pub only: Option<PathBuf>,
    /// Lines about what was passed over.
    pub warnings: Vec<String>,
    /// Files and folders that could not be looked at, relative to the root, and why.
    pub unreadable: Vec<(String, String)>,
}

/// Walks `root`, a folder or a single file; `before` is what the last walk with the same settings
/// saw. `progress` hears now and then how many entries were seen.
///
/// # Errors
/// When the root cannot be read, holds too much, or a pattern of the settings is wrong.
pub fn walk(
    root: &Path,
    settings: &Settings<'_>,
    before: &Tree,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<Walked> {
    let root = fs::canonicalize(root).with_context(|| format!("cannot open {}", root.display()))?;
    let is_file = root.is_file();
    let base = if is_file { root.parent().unwrap_or(&root).to_path_buf() } else { root.clone() };
    let mut walk = Walk {
        settings,
        ignored: ignored(&base, &settings.ignore)?,
        before,
        children: before.children(),
        walked: Walked {
            tree: Tree::default(),
            base,
            only: is_file.then_some(root),
            warnings: Vec::new(),
            unreadable: Vec::new(),
        },
        entry_count: 0,
    };
    walk.all(progress)?;
    Ok(walk.walked)
}

fn ignored(base: &Path, patterns: &[String]) -> anyhow::Result<Gitignore> {
    let mut builder = GitignoreBuilder::new(base);
    for pattern in patterns {
        builder.add_line(None, pattern).map_err(|error| {
            UserError::failed(format!("bad pattern in ignore: {pattern}: {error}"))
                .hint("write it as in .gitignore")
        })?;
    }
    Ok(builder.build()?)
}

struct Walk<'a> {
    settings: &'a Settings<'a>,
    ignored: Gitignore,
    before: &'a Tree,
    /// Folders in each folder of `before`.
    children: Vec<Vec<u32>>,
    walked: Walked,
    entry_count: u64,
}

/// A folder to visit.
struct Visit {
    parent: u32,
    name: String,
    path: PathBuf,
    /// Path relative to the base.
    relative: String,
    /// Its index in the tree before.
    known: Option<u32>,
}

/// What is in a folder: folders to visit, and names of files to look at.
#[derive(Default)]
struct Listing {
    folders: Vec<(String, Option<u32>)>,
    files: Vec<String>,
    entry_count: u32,
}

impl Walk<'_> {
    fn all(&mut self, progress: &mut dyn FnMut(u64)) -> anyhow::Result<()> {
        let device = device_of(&self.walked.base);
        let known = (!self.before.folders.is_empty()).then_some(0);
        let base = self.walked.base.clone();
        let mut left =
            vec![Visit { parent: 0, name: String::new(), path: base, relative: String::new(), known }];
        while let Some(visit) = left.pop() {
            let told = self.entry_count / PROGRESS_STRIDE;
            let Some(listing) = self.folder(&visit, device)? else { continue };
            let parent = self.walked.tree.folders.len() as u32 - 1;
            // The last one pushed is visited next.
            left.extend(listing.folders.into_iter().rev().map(|(name, known)| Visit {
                parent,
                path: visit.path.join(&name),
                relative: join(&visit.relative, &name),
                name,
                known,
            }));
            if self.entry_count / PROGRESS_STRIDE > told {
                progress(self.entry_count);
            }
        }
        progress(self.entry_count);
        Ok(())
    }

    /// Adds a folder to the tree; `None` where it cannot be read or lies on another file system.
    fn folder(&mut self, visit: &Visit, device: u64) -> anyhow::Result<Option<Listing>> {
        let metadata = match fs::symlink_metadata(&visit.path) {
            Ok(metadata) if metadata.is_dir() && device_in(&metadata) == device => metadata,
            Ok(_) => return Ok(None),
            Err(error) => {
                self.note_unreadable(&visit.relative, &error);
                return Ok(None);
            }
        };
        let Stat { modified_ns, file_id: (_, inode), .. } = stat_of(&metadata);
        let known = visit.known.and_then(|known| Some((known, self.before.folders.get(known as usize)?)));
        let is_same = |folder: &Folder| (folder.modified_ns, folder.inode) == (modified_ns, inode);
        let same = known.filter(|(_, folder)| folder.is_settled && is_same(folder));
        let is_settled = now_ns().saturating_sub(modified_ns) > TICK_NS;
        let listing = match same {
            Some((index, folder)) => self.remembered(index, folder),
            None => match self.listed(visit) {
                Ok(listing) => listing,
                Err(error) => {
                    self.note_unreadable(&visit.relative, &error);
                    return Ok(None);
                }
            },
        };
        self.count(&listing)?;
        let files = listing.files.iter().map(|name| self.seen(visit, name)).collect();
        let (parent, name, entry_count) = (visit.parent, visit.name.clone(), listing.entry_count);
        let folder = Folder { parent, name, modified_ns, inode, is_settled, entry_count, files };
        self.walked.tree.folders.push(folder);
        Ok(Some(listing))
    }

    fn count(&mut self, listing: &Listing) -> Result<(), UserError> {
        self.entry_count += u64::from(listing.entry_count);
        let limit = self.settings.max_entries;
        if self.entry_count <= limit || self.walked.only.is_some() {
            return Ok(());
        }
        let base = self.walked.base.display();
        Err(UserError::failed(format!("more than {limit} files and folders under {base}"))
            .hint("give a narrower root with -C DIR, or leave folders out with ignore in runq.toml"))
    }

    fn remembered(&self, index: u32, folder: &Folder) -> Listing {
        let children = self.children.get(index as usize).map(Vec::as_slice).unwrap_or_default();
        let named =
            |index: &u32| Some((self.before.folders.get(*index as usize)?.name.clone(), Some(*index)));
        Listing {
            folders: children.iter().filter_map(named).collect(),
            files: folder.files.iter().map(|seen| seen.name.clone()).collect(),
            entry_count: folder.entry_count,
        }
    }

    fn listed(&mut self, visit: &Visit) -> std::io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in fs::read_dir(&visit.path)? {
            let entry = entry?;
            listing.entry_count += 1;
            let Some(name) = entry.file_name().to_str().map(str::to_string) else {
                let shown = entry.path();
                self.walked.warnings.push(format!("skipped {}: its name is no UTF-8", shown.display()));
                continue;
            };
            if entry.file_type()?.is_dir() {
                listing.folders.push((name, None));
            } else {
                listing.files.push(name);
            }
        }
        listing.folders.sort_unstable();
        listing.files.sort_unstable();
        self.leave_out(visit, &mut listing);
        Ok(listing)
    }

    /// Keeps the folders that may hold logs and the files that may be logs or configuration.
    fn leave_out(&self, visit: &Visit, listing: &mut Listing) {
        if self.walked.only.is_some() {
            listing.folders.clear();
        }
        let sources = self.settings.sources;
        let own: Vec<&str> = sources
            .iter()
            .flat_map(|source| source.keeps_apart(&visit.name, &listing.files))
            .copied()
            .collect();
        listing.folders.retain(|(name, _)| !own.contains(&name.as_str()) && !self.is_pruned(visit, name));
        let children = self.known_children(visit);
        for (name, known) in &mut listing.folders {
            let place = children.binary_search_by_key(&name.as_str(), |(child, _)| child);
            *known = place.ok().and_then(|place| Some(children.get(place)?.1));
        }
        listing.files.retain(|name| self.is_wanted(visit, name));
    }

    /// By name, in order.
    fn known_children(&self, visit: &Visit) -> Vec<(&str, u32)> {
        let children = visit.known.and_then(|known| self.children.get(known as usize));
        let named = |index: &u32| Some((self.before.folders.get(*index as usize)?.name.as_str(), *index));
        children.into_iter().flatten().filter_map(named).collect()
    }

    fn is_pruned(&self, visit: &Visit, name: &str) -> bool {
        match self.ignored.matched(visit.path.join(name), true) {
            Match::Ignore(_) => true,
            Match::Whitelist(_) => false,
            Match::None => {
                let is_hidden = name.starts_with('.') && !HIDDEN.contains(&name);
                is_hidden || PRUNED.contains(&name) || name == "profile" && visit.name == "plugins"
            }
        }
    }

    fn is_wanted(&self, visit: &Visit, name: &str) -> bool {
        // A database and its write-ahead log are wanted together.
        let name = name.strip_suffix(WRITE_AHEAD).unwrap_or(name);
        let path = visit.path.join(name);
        let is_root = self.walked.only.as_deref() == Some(&path);
        if self.ignored.matched(&path, false).is_ignore() && !is_root {
            return false;
        }
        let relative = join(&visit.relative, name);
        let may_be_log = self.walked.only.is_none() || is_root;
        sidecar::is_config(&relative)
            || may_be_log && self.settings.sources.iter().any(|source| source.may_claim(&relative))
    }

    fn seen(&mut self, visit: &Visit, name: &str) -> Seen {
        let stat = match self.metadata(&visit.path.join(name)) {
            Ok(metadata) => metadata.map(|metadata| stat_of(&metadata)),
            Err(error) => {
                self.note_unreadable(&join(&visit.relative, name), &error);
                None
            }
        };
        Seen { name: name.to_string(), stat }
    }

    /// State of a regular file. Symbolic links count only when they lead out of the root: what is
    /// inside is found by itself.
    fn metadata(&self, path: &Path) -> std::io::Result<Option<Metadata>> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.file_type().is_symlink() {
            return Ok(metadata.is_file().then_some(metadata));
        }
        let Ok(target) = fs::canonicalize(path) else { return Ok(None) };
        let metadata = fs::metadata(&target)?;
        Ok((metadata.is_file() && !target.starts_with(&self.walked.base)).then_some(metadata))
    }

    /// What went away meanwhile is simply not there.
    fn note_unreadable(&mut self, relative: &str, error: &std::io::Error) {
        if error.kind() != std::io::ErrorKind::NotFound {
            let path = if relative.is_empty() { "." } else { relative };
            self.walked.unreadable.push((path.to_string(), error.to_string()));
        }
    }
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn device_of(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| device_in(&metadata))
}

fn device_in(metadata: &Metadata) -> u64 {
    stat_of(metadata).file_id.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;
    use std::fs::File;
    use std::time::Duration;

    /// What may happen to a tree: a file written, a file or folder removed, a folder renamed.
    #[derive(Debug, Clone)]
    enum Event {
        Write(usize, usize, usize),
        Remove(usize, usize),
        RemoveFolder(usize),
        Rename(usize, usize),
    }

    const FOLDERS: [&str; 6] = ["a", "a/run-1", "a/run-1/files", "b", "b/c", "node_modules"];
    const FILES: [&str; 4] = ["x.jsonl", "run-1.wandb", "config.yaml", "x.bin"];

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let folder = 0..FOLDERS.len();
        let event = prop_oneof![
            4 => (folder.clone(), 0..FILES.len(), 1_usize..50).prop_map(|(d, f, n)| Event::Write(d, f, n)),
            2 => (folder.clone(), 0..FILES.len()).prop_map(|(d, f)| Event::Remove(d, f)),
            1 => folder.clone().prop_map(Event::RemoveFolder),
            1 => (folder.clone(), folder).prop_map(|(from, to)| Event::Rename(from, to)),
        ];
        proptest::collection::vec(event, 1..12)
    }

    /// Makes it happen, where it can.
    fn happen(root: &Path, event: &Event) {
        let (folder, file) = (|i: usize| root.join(FOLDERS[i]), |i: usize| FILES[i]);
        let _ = match event {
            Event::Write(d, f, n) => fs::create_dir_all(folder(*d))
                .and_then(|()| fs::write(folder(*d).join(file(*f)), "x".repeat(*n))),
            Event::Remove(d, f) => fs::remove_file(folder(*d).join(file(*f))),
            Event::RemoveFolder(d) => fs::remove_dir_all(folder(*d)),
            Event::Rename(from, to) => fs::rename(folder(*from), folder(*to)),
        };
    }

    /// Times of folders, long past and never twice the same for a folder that changed.
    fn age(root: &Path, changed_from: SystemTime, at_s: u64) {
        for entry in
            walkdir::WalkDir::new(root).into_iter().flatten().filter(|entry| entry.file_type().is_dir())
        {
            if entry.metadata().unwrap().modified().unwrap() >= changed_from {
                let old = UNIX_EPOCH + Duration::from_secs(at_s);
                File::open(entry.path()).unwrap().set_modified(old).unwrap();
            }
        }
    }

    fn seen(root: &Path, before: &Tree) -> Tree {
        walk(root, &Settings::default(), before, &mut |_| {}).unwrap().tree
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn a_walk_with_memory_sees_what_one_without_sees(rounds in proptest::collection::vec(events(), 1..6)) {
            let root = tempfile::tempdir().unwrap();
            let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            let mut memory = Tree::default();
            for (round, events) in (0_u64..).zip(&rounds) {
                events.iter().for_each(|event| happen(root.path(), event));
                age(root.path(), long_ago, 1_000 + round);
                memory = seen(root.path(), &memory);
                prop_assert_eq!(&memory, &seen(root.path(), &Tree::default()));
            }
        }
    }

    #[test]
    fn a_folder_is_listed_again_when_its_time_moved_and_only_then() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(root.path().join(name), "{}").unwrap();
        let files = |tree: &Tree| tree.files().into_iter().map(|file| file.path).collect::<Vec<_>>();
        write("a.jsonl");
        let fresh = seen(root.path(), &Tree::default());
        assert!(!fresh.folders[0].is_settled, "it may change once more without its time moving");
        age(root.path(), UNIX_EPOCH, 1_000);
        let settled = seen(root.path(), &fresh);
        assert!(settled.is_more_settled(&fresh) && settled.folders[0].is_settled);
        write("b.jsonl");
        age(root.path(), UNIX_EPOCH, 1_000);
        assert_eq!(files(&seen(root.path(), &settled)), ["a.jsonl"], "a time set back hides a change");
        age(root.path(), UNIX_EPOCH, 2_000);
        assert_eq!(files(&seen(root.path(), &settled)), ["a.jsonl", "b.jsonl"]);
    }

    #[test]
    fn a_folder_of_the_same_age_in_place_of_another_is_listed() {
        let root = tempfile::tempdir().unwrap();
        let events = [Event::Write(0, 0, 1), Event::Write(4, 1, 1)];
        events.iter().for_each(|event| happen(root.path(), event));
        age(root.path(), UNIX_EPOCH, 1_000);
        let memory = seen(root.path(), &Tree::default());
        [Event::RemoveFolder(4), Event::Rename(0, 4)].iter().for_each(|event| happen(root.path(), event));
        let files: Vec<_> = seen(root.path(), &memory).files().into_iter().map(|file| file.path).collect();
        assert_eq!(files, ["b/c/x.jsonl"]);
    }

    #[test]
    fn folders_of_a_run_are_left_alone_once_its_log_is_there() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("wandb/run-20261120_120000-a");
        fs::create_dir_all(run.join("files")).unwrap();
        fs::write(run.join("files/wandb-history.jsonl"), "{}").unwrap();
        let count = || seen(root.path(), &Tree::default()).files().len();
        assert_eq!(count(), 1);
        fs::write(run.join("run-a.wandb"), "").unwrap();
        fs::write(run.join("files/more.jsonl"), "{}").unwrap();
        assert_eq!(count(), 1);
    }
}
