//! Finds logs in a tree: cheap tests first. Only files that a source may claim by their path are
//! opened, and only when nothing is remembered about them.

use super::sidecar;
use super::tree::{TreeFile, Walked};
use crate::records::UNREADABLE;
use crate::sources::{HEAD_BYTES, LogFile, RunLogs, Source, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Sources whose runs take their configuration from files beside the log.
const WITH_SIDECARS: &[&str] = &["jsonl", "csv", "tensorboard", "console", "mmengine", "hf_trainer"];

/// A head with fewer lines than this says little of a file of lines.
const FEW_LINES: usize = 4;

/// How much more is read of such a file: 1 MiB in place of 16 KiB.
const WIDE_FACTOR: usize = 64;

/// What SQLite adds to the name of a database for its write-ahead log.
pub const WRITE_AHEAD: &str = "-wal";

/// How to look for logs.
pub struct Settings<'a> {
    /// More files and folders than this are an error: the root is too wide.
    pub max_entries: u64,
    /// How many first bytes of a candidate are read.
    pub head_bytes: usize,
    /// Patterns as in `.gitignore` of what to leave out; `!pattern` brings back what is pruned.
    pub ignore: Vec<String>,
    /// Sources in the order in which they may claim a file.
    pub sources: &'a [&'a dyn Source],
    /// A folder for copies that judging needs.
    pub scratch: PathBuf,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self {
            max_entries: 200_000,
            head_bytes: HEAD_BYTES,
            ignore: Vec::new(),
            sources: crate::sources::ALL,
            scratch: std::env::temp_dir(),
        }
    }
}

/// A verdict of an earlier discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Source that claimed the file.
    pub source: Option<String>,
    /// What it said.
    pub verdict: Verdict,
}

/// Remembers verdicts. It decides whether they still hold: that a file is a log holds until it
/// shrinks or is replaced; that it is something else, while size and time stay the same.
pub trait Memory {
    /// What is known of the file and still holds.
    fn recall(&self, path: &str, stat: &Stat) -> Option<Remembered>;
}

/// Remembers nothing.
pub struct Forgetful;

impl Memory for Forgetful {
    fn recall(&self, _: &str, _: &Stat) -> Option<Remembered> {
        None
    }
}

/// Size, time and identity of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stat {
    /// Size.
    pub size_bytes: u64,
    /// Time of the last change, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// Device and inode, 0 where the system has none.
    pub file_id: (u64, u64),
}

/// A candidate and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Path relative to the root.
    pub path: String,
    /// Its state when it was judged.
    pub stat: Stat,
    /// Source that claimed it.
    pub source: Option<&'static str>,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the verdict was remembered, so that nothing new is to be stored.
    pub is_remembered: bool,
}

/// The runs of a source.
pub struct Found {
    /// Name of the source.
    pub source: &'static str,
    /// Its runs.
    pub runs: Vec<RunLogs>,
}

/// What lies under a root.
#[derive(Default)]
pub struct Discovery {
    /// Folder that all paths are relative to: the root, or the folder of a root that is a file.
    pub base: PathBuf,
    /// Runs of each source that has some, in the order of the sources.
    pub found: Vec<Found>,
    /// All candidates, by path.
    pub judged: Vec<Judged>,
    /// State of every file that is an input of a run.
    pub stats: BTreeMap<String, Stat>,
    /// Configuration documents attached to runs.
    pub documents: Vec<String>,
    /// Lines about what could not be looked at.
    pub warnings: Vec<String>,
    /// Files and folders seen.
    pub entry_count: u64,
}

/// Judges the files that a walk saw and groups the logs into runs.
pub fn discover(walked: Walked, settings: &Settings<'_>, memory: &dyn Memory) -> Discovery {
    let Walked { tree, base, only, warnings, unreadable: closed } = walked;
    let entry_count = tree.entry_count();
    let judged =
        closed.into_iter().map(|(path, reason)| unreadable(path, Stat::default(), &reason)).collect();
    let discovery = Discovery { base, judged, warnings, entry_count, ..Discovery::default() };
    let mut search = Search { settings, memory, only, discovery, documents: BTreeMap::new() };
    with_write_ahead_logs(tree.files()).into_iter().for_each(|file| search.file(file));
    search.finish()
}

/// A database changes with its write-ahead log: their states become one.
fn with_write_ahead_logs(files: Vec<TreeFile>) -> Vec<TreeFile> {
    let is_log = |file: &TreeFile| file.path.ends_with(WRITE_AHEAD);
    let (logs, mut files): (Vec<_>, Vec<_>) = files.into_iter().partition(is_log);
    let logs: BTreeMap<String, Stat> = logs.into_iter().map(|log| (log.path, log.stat)).collect();
    for file in files.iter_mut().filter(|_| !logs.is_empty()) {
        if let Some(log) = logs.get(&format!("{}{WRITE_AHEAD}", file.path)) {
            file.stat.size_bytes += log.size_bytes;
            file.stat.modified_ns = file.stat.modified_ns.max(log.modified_ns);
        }
    }
    files
}

struct Search<'s> {
    settings: &'s Settings<'s>,
    memory: &'s dyn Memory,
    /// The root, when it is a single file.
    only: Option<PathBuf>,
    discovery: Discovery,
    /// Configuration files seen.
    documents: BTreeMap<String, Stat>,
}

impl Search<'_> {
    fn file(&mut self, TreeFile { path, stat }: TreeFile) {
        let file = self.discovery.base.join(&path);
        let may_be_log = self.only.as_ref().is_none_or(|only| *only == file);
        if sidecar::is_config(&path) {
            self.documents.insert(path.clone(), stat);
        }
        if may_be_log && self.settings.sources.iter().any(|source| source.may_claim(&path)) {
            self.judge(&file, path, stat);
        }
    }

    fn judge(&mut self, file: &Path, path: String, stat: Stat) {
        let remembered = self.memory.recall(&path, &stat).and_then(|remembered| self.remembered(remembered));
        let is_remembered = remembered.is_some();
        let (source, verdict) = match remembered {
            Some(known) => known,
            None => match self.look_into(file, &path) {
                Ok(known) => known,
                // What went away since it was seen is simply not there.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
                Err(error) => {
                    self.discovery.judged.push(unreadable(path, stat, &error.to_string()));
                    return;
                }
            },
        };
        self.discovery.judged.push(Judged { path, stat, source, verdict, is_remembered });
    }

    /// Judges a file by its first bytes; by more of them where those are too few to tell.
    fn look_into(&self, file: &Path, path: &str) -> std::io::Result<(Option<&'static str>, Verdict)> {
        let head = self.head_of(file)?;
        let known = self.sniff(path, &head, file);
        if known.1 != Verdict::TooEarly || head.len() != self.settings.head_bytes {
            return Ok(known);
        }
        Ok(self.sniff(path, &head_of(file, self.settings.head_bytes * WIDE_FACTOR)?, file))
    }

    /// The first bytes of a file; of one with long lines as many as hold a few of them.
    fn head_of(&self, file: &Path) -> std::io::Result<Vec<u8>> {
        let head = head_of(file, self.settings.head_bytes)?;
        let lines = memchr::memchr_iter(b'\n', &head).take(FEW_LINES).count();
        let is_wide = head.len() == self.settings.head_bytes && lines < FEW_LINES;
        if is_wide { head_of(file, self.settings.head_bytes * WIDE_FACTOR) } else { Ok(head) }
    }

    /// A remembered verdict, unless its source is gone or nothing was decided.
    fn remembered(&self, remembered: Remembered) -> Option<(Option<&'static str>, Verdict)> {
        let known =
            |name: &str| self.settings.sources.iter().map(|source| source.name()).find(|own| *own == name);
        match (remembered.verdict, remembered.source) {
            (Verdict::TooEarly, _) => None,
            (verdict @ Verdict::Log { .. }, Some(name)) => Some((Some(known(&name)?), verdict)),
            (Verdict::Log { .. }, None) => None,
            (verdict, _) => Some((None, verdict)),
        }
    }

    /// Asks the sources in their order. The first that says log has it; one that cannot tell yet
    /// keeps the file open for the next time.
    fn sniff(&self, path: &str, head: &[u8], file: &Path) -> (Option<&'static str>, Verdict) {
        let mut is_early = false;
        let mut reasons = Vec::new();
        for source in self.settings.sources.iter().filter(|source| source.may_claim(path)) {
            match source.sniff_file(path, head, file, &self.settings.scratch) {
                verdict @ Verdict::Log { .. } => return (Some(source.name()), verdict),
                Verdict::TooEarly => is_early = true,
                Verdict::Other { reason } => reasons.push(format!("{}: {reason}", source.name())),
            }
        }
        match is_early {
            true => (None, Verdict::TooEarly),
            false => (None, Verdict::Other { reason: reasons.join("; ") }),
        }
    }

    fn finish(mut self) -> Discovery {
        self.discovery.judged.sort_by(|a, b| a.path.cmp(&b.path));
        let documents: Vec<String> = self.documents.keys().cloned().collect();
        for source in self.settings.sources {
            let mut runs = source.group(&self.files_of(source.name()));
            if WITH_SIDECARS.contains(&source.name()) {
                sidecar::attach(&mut runs, &documents);
            }
            if !runs.is_empty() {
                self.discovery.found.push(Found { source: source.name(), runs });
            }
        }
        self.note_inputs();
        self.discovery
    }

    fn files_of(&self, source: &str) -> Vec<LogFile> {
        let claimed = self.discovery.judged.iter().filter(|judged| judged.source == Some(source));
        claimed
            .filter_map(|judged| match &judged.verdict {
                Verdict::Log { marks } => Some(LogFile {
                    path: judged.path.clone(),
                    size_bytes: judged.stat.size_bytes,
                    marks: marks.clone(),
                }),
                _ => None,
            })
            .collect()
    }

    /// Gathers the state of all inputs.
    fn note_inputs(&mut self) {
        let discovery = &mut self.discovery;
        let runs = discovery.found.iter().flat_map(|found| &found.runs);
        let paths: BTreeSet<&String> = runs.flat_map(|run| &run.inputs).map(|input| &input.path).collect();
        let claimed = discovery.judged.iter().map(|judged| (judged.path.as_str(), judged.stat));
        let known: BTreeMap<&str, Stat> =
            self.documents.iter().map(|(path, stat)| (path.as_str(), *stat)).chain(claimed).collect();
        for path in paths {
            let on_disk = || fs::metadata(discovery.base.join(path)).ok().map(|metadata| stat_of(&metadata));
            if let Some(stat) = known.get(path.as_str()).copied().or_else(on_disk) {
                discovery.stats.insert(path.clone(), stat);
            }
            if self.documents.contains_key(path) {
                discovery.documents.push(path.clone());
            }
        }
    }
}

fn unreadable(path: String, stat: Stat, reason: &str) -> Judged {
    let verdict = Verdict::Other { reason: format!("{UNREADABLE}{reason}") };
    Judged { path, stat, source: None, verdict, is_remembered: false }
}

fn head_of(path: &Path, bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(bytes as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// State of a file from its metadata.
pub fn stat_of(metadata: &Metadata) -> Stat {
    let modified = metadata.modified().ok();
    let modified_ns = match modified.map(|time| time.duration_since(UNIX_EPOCH)) {
        Some(Ok(after)) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Some(Err(before)) => -i64::try_from(before.duration().as_nanos()).unwrap_or(i64::MAX),
        None => 0,
    };
    Stat { size_bytes: metadata.len(), modified_ns, file_id: file_id(metadata) }
}

#[cfg(unix)]
fn file_id(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn file_id(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::error::UserError;
    use crate::sources::find::tree::{Tree, walk};
    use std::cell::RefCell;

    const LOG: &str = "{\"step\": 0, \"loss\": 2.5}\n{\"step\": 1, \"loss\": 2}\n";

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, if path.extension().unwrap() == "yaml" { "lr: 0.1\n" } else { LOG }).unwrap();
        }
        folder
    }

    fn seen(root: &Path, settings: &Settings<'_>) -> anyhow::Result<Walked> {
        walk(root, settings, &Tree::default(), &mut |_| {})
    }

    fn find(root: &Path, settings: &Settings<'_>) -> Discovery {
        discover(seen(root, settings).unwrap(), settings, &Forgetful)
    }

    fn logs(discovery: &Discovery) -> Vec<&str> {
        discovery
            .judged
            .iter()
            .filter(|judged| judged.source.is_some())
            .map(|judged| judged.path.as_str())
            .collect()
    }

    #[test]
    fn real_logs_and_their_documents() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let counts_of = [
            ("jsonl", vec![("jsonl", 19), ("console", 2)], 7),
            ("lightning", vec![("tensorboard", 6), ("csv", 12)], 18),
            ("ultralytics", vec![("csv", 5)], 5),
        ];
        for (folder, wanted, documents) in counts_of {
            let found = find(&root.join(folder), &Settings::default());
            let runs: Vec<_> = found.found.iter().flat_map(|found| &found.runs).collect();
            let counts: Vec<_> = found.found.iter().map(|found| (found.source, found.runs.len())).collect();
            assert_eq!(counts, wanted);
            assert_eq!(found.documents.len(), documents, "{folder}");
            assert!(
                runs.iter().flat_map(|run| &run.inputs).all(|input| found.stats[&input.path].size_bytes > 0)
            );
            let in_order = |found: &Found| found.runs.windows(2).all(|pair| pair[0].path < pair[1].path);
            assert!(found.found.iter().all(in_order));
            assert!(found.warnings.is_empty());
        }
    }

    #[test]
    fn prunes_and_ignores() {
        let root = tree(&[
            "a/metrics.jsonl",
            "a/.git/x.jsonl",
            "a/.hidden/x.jsonl",
            ".exprag2/x.jsonl",
            "node_modules/x.jsonl",
            "checkpoints/x.jsonl",
            "artifacts/x.jsonl",
            "b/plugins/profile/x.jsonl",
            "profile/x.jsonl",
            "old/x.jsonl",
            "tmp.jsonl",
            "x.bin",
        ]);
        let mut settings = Settings::default();
        assert_eq!(
            logs(&find(root.path(), &settings)),
            ["a/metrics.jsonl", "old/x.jsonl", "profile/x.jsonl", "tmp.jsonl"]
        );
        settings.ignore = vec!["old/".into(), "/tmp*".into(), "!artifacts/".into()];
        assert_eq!(
            logs(&find(root.path(), &settings)),
            ["a/metrics.jsonl", "artifacts/x.jsonl", "profile/x.jsonl"]
        );
        settings.ignore = vec!["a{".into()];
        assert!(seen(root.path(), &settings).is_err());
    }

    #[test]
    fn a_root_of_one_file() {
        let root = tree(&["a/x.jsonl", "a/y.jsonl", "a/config.yaml", "a/b/z.jsonl"]);
        let found = find(&root.path().join("a/x.jsonl"), &Settings { max_entries: 1, ..Settings::default() });
        assert_eq!(logs(&found), ["x.jsonl"]);
        assert_eq!(found.documents, ["config.yaml"]);
        assert_eq!(found.base, fs::canonicalize(root.path().join("a")).unwrap());
        assert!(seen(&root.path().join("none"), &Settings::default()).is_err());
    }

    #[test]
    fn too_many_entries_are_an_error_with_a_hint() {
        let root = tree(&["a.jsonl", "b.jsonl", "c.jsonl"]);
        let settings = Settings { max_entries: 2, ..Settings::default() };
        let error = seen(root.path(), &settings).err().unwrap();
        let error = error.downcast::<UserError>().unwrap();
        assert!(error.hint.unwrap().contains("-C"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_read_once() {
        use std::os::unix::fs::symlink;
        let outside = tree(&["far.jsonl", "folder/x.jsonl"]);
        let root = tree(&["a/log.jsonl"]);
        let at = |name: &str| root.path().join(name);
        symlink(at("a"), at("latest")).unwrap();
        symlink(root.path(), at("a/loop")).unwrap();
        symlink(at("a/log.jsonl"), at("again.jsonl")).unwrap();
        symlink(at("nowhere"), at("dangling.jsonl")).unwrap();
        symlink(outside.path().join("far.jsonl"), at("far.jsonl")).unwrap();
        symlink(outside.path().join("folder"), at("folder")).unwrap();
        let found = find(root.path(), &Settings::default());
        assert_eq!(logs(&found), ["a/log.jsonl", "far.jsonl"]);
        assert!(found.warnings.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_text_are_told() {
        use std::os::unix::ffi::OsStrExt;
        let root = tree(&["a.jsonl"]);
        let name = std::ffi::OsStr::from_bytes(b"b\xff.jsonl");
        fs::write(root.path().join(name), LOG).unwrap();
        let found = find(root.path(), &Settings::default());
        assert_eq!(logs(&found), ["a.jsonl"]);
        assert_eq!(found.warnings.len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_read_is_told() {
        use std::os::unix::fs::PermissionsExt;
        let root = tree(&["a.jsonl", "closed/b.jsonl"]);
        let closed = root.path().join("closed");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        // The superuser reads everything: nothing is closed to it.
        let is_superuser = fs::read_dir(&closed).is_ok();
        let found = find(root.path(), &Settings::default());
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(found.warnings.len(), usize::from(!is_superuser));
        assert_eq!(logs(&found)[0], "a.jsonl");
    }

    /// Remembers one verdict for every file and counts how often it is asked.
    struct Always(Remembered, RefCell<Vec<String>>);

    impl Memory for Always {
        fn recall(&self, path: &str, _: &Stat) -> Option<Remembered> {
            self.1.borrow_mut().push(path.to_string());
            Some(self.0.clone())
        }
    }

    #[test]
    fn verdicts_are_remembered() {
        let root = tree(&["a.jsonl", "b.csv", "c.bin"]);
        let recall = |source: Option<&str>, verdict: Verdict| {
            let memory = Always(Remembered { source: source.map(String::from), verdict }, RefCell::default());
            let settings = Settings::default();
            let found = discover(seen(root.path(), &settings).unwrap(), &settings, &memory);
            assert_eq!(memory.1.into_inner(), ["a.jsonl", "b.csv"]);
            let remembered = found.judged.iter().filter(|judged| judged.is_remembered).count();
            (remembered, found.found.iter().map(|found| found.runs.len()).sum::<usize>())
        };
        let log = Verdict::Log { marks: String::new() };
        assert_eq!(recall(Some("jsonl"), log.clone()), (2, 2));
        assert_eq!(recall(Some("gone"), log), (0, 1));
        assert_eq!(recall(None, Verdict::Other { reason: "x".into() }), (2, 0));
        assert_eq!(recall(None, Verdict::TooEarly), (0, 1));
    }

    #[test]
    fn progress_is_told() {
        let root = tree(&["a.jsonl"]);
        for i in 0..300 {
            fs::write(root.path().join(format!("{i}.bin")), "").unwrap();
        }
        let mut told = Vec::new();
        walk(root.path(), &Settings::default(), &Tree::default(), &mut |count| told.push(count)).unwrap();
        assert_eq!(told, [301, 301]);
    }
}
