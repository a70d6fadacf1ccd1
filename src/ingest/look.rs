//! Looks for logs with the memory of earlier looks.

use super::Progress;
use super::known::Known;
use super::load;
use crate::records::UNREADABLE;
use crate::sources::find::discover::{self, Discovery, Remembered};
use crate::sources::find::tree::{self, Tree, Walked};
use crate::sources::{HEAD_BYTES, Verdict};
use crate::store::{Catalog, Changes, InputRecord, VerdictRecord};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// One look at a root: what is remembered of it, and which files were found to begin as they did.
pub struct Look {
    /// Folder that all paths are relative to.
    pub base: PathBuf,
    verdicts: BTreeMap<String, VerdictRecord>,
    /// What of the project's settings verdicts depend on.
    settings: String,
    /// Inputs of the catalog.
    pub known: Known,
    starts: RefCell<BTreeMap<String, bool>>,
}

/// What one look leaves for the next one. It is stored once the tables hold all that was seen.
#[derive(Serialize, Deserialize)]
struct Memory {
    /// What the look depended on besides the files.
    settings: String,
    tree: Tree,
}

/// The walk of a look, before anything is judged.
pub struct FirstLook {
    /// What was seen.
    pub walked: Walked,
    /// Whether all is as it was when the tables were last brought up to date.
    pub is_unchanged: bool,
    /// Whether its memory saves work to the next look.
    pub is_worth_keeping: bool,
    settings: String,
}

impl FirstLook {
    /// Walks the root with the memory of the last look.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub fn new(
        root: &Path,
        settings: &discover::Settings<'_>,
        catalog: &dyn Catalog,
        progress: &dyn Progress,
    ) -> anyhow::Result<Self> {
        let words = words(root, settings);
        let stored = catalog.look()?;
        let known = stored.and_then(|bytes| postcard::from_bytes::<Memory>(&bytes).ok());
        let before = known.filter(|memory| memory.settings == words).map(|memory| memory.tree);
        let is_known = before.is_some();
        let before = before.unwrap_or_default();
        let walked = tree::walk(root, settings, &before, &mut |found| progress.scanning(found))?;
        let is_unchanged = is_known && is_complete(&walked) && walked.tree == before;
        let is_worth_keeping = !is_unchanged || walked.tree.is_more_settled(&before);
        Ok(Self { walked, is_unchanged, is_worth_keeping, settings: words })
    }

    /// What the next look needs; `None` where something could not be looked at, so that it is told again.
    ///
    /// # Errors
    /// Never in practice: encoding in memory.
    pub fn memory(&self) -> anyhow::Result<Option<Vec<u8>>> {
        if !is_complete(&self.walked) {
            return Ok(None);
        }
        let memory = Memory { settings: self.settings.clone(), tree: self.walked.tree.clone() };
        Ok(Some(postcard::to_stdvec(&memory)?))
    }
}

/// Whether nothing was passed over.
fn is_complete(walked: &Walked) -> bool {
    walked.warnings.is_empty() && walked.unreadable.is_empty()
}

/// Everything but the files that a look depends on.
fn words(root: &Path, settings: &discover::Settings<'_>) -> String {
    let sources: Vec<&str> = settings.sources.iter().map(|source| source.name()).collect();
    let version = env!("CARGO_PKG_VERSION");
    let own = judged_under(settings);
    format!("{version} {} {sources:?} {} {:?} {own}", root.display(), settings.head_bytes, settings.ignore)
}

/// What of the project's settings the verdicts depend on; empty where nothing is set.
fn judged_under(settings: &discover::Settings<'_>) -> String {
    settings.sources.iter().map(|source| source.settings()).filter(|own| !own.is_empty()).collect()
}

impl Look {
    /// Loads what is remembered.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn new(
        base: &Path,
        settings: &discover::Settings<'_>,
        catalog: &dyn Catalog,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            settings: judged_under(settings),
            base: base.to_path_buf(),
            verdicts: catalog.verdicts()?,
            known: Known::load(catalog)?,
            starts: RefCell::default(),
        })
    }

    /// Judges what was seen and stores the new verdicts.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn discover(
        &self,
        walked: Walked,
        settings: &discover::Settings<'_>,
        catalog: &dyn Catalog,
        now_ms: i64,
    ) -> anyhow::Result<Discovery> {
        let mut discovery = discover::discover(walked, settings, self);
        let new = discovery
            .judged
            .iter()
            .filter(|judged| !judged.is_remembered)
            .map(|judged| verdict_record(judged, &self.settings));
        let verdicts: Vec<VerdictRecord> =
            new.filter(|verdict| self.verdicts.get(&verdict.path) != Some(verdict)).collect();
        let unreadable = verdicts.iter().filter(|verdict| verdict.text.starts_with(UNREADABLE));
        discovery.warnings.extend(unreadable.map(|verdict| format!("{}: {}", verdict.path, verdict.text)));
        let there: BTreeSet<&str> = discovery.judged.iter().map(|judged| judged.path.as_str()).collect();
        let gone_verdicts =
            self.verdicts.keys().filter(|path| !there.contains(path.as_str())).cloned().collect();
        let changes = Changes { verdicts, gone_verdicts, now_ms, ..Changes::default() };
        if !changes.is_empty() {
            catalog.commit(&changes)?;
        }
        Ok(discovery)
    }

    /// Whether what was read of a file still stands in it, as far as can be told: a file that cannot be
    /// read keeps what was read of it. Each file is looked at once.
    pub fn same_start(&self, record: &InputRecord) -> bool {
        let look = || load::fingerprint(&self.base.join(&record.path), record.offset);
        let mut starts = self.starts.borrow_mut();
        *starts.entry(record.path.clone()).or_insert_with(|| match look() {
            Ok(now) => now == record.fingerprint,
            Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof),
        })
    }
}

impl discover::Memory for Look {
    /// That a file is a log holds while it grows, once its head was seen whole; that it is something
    /// else, while it is as it was.
    fn recall(&self, path: &str, stat: &discover::Stat) -> Option<Remembered> {
        let holds =
            |known: &&VerdictRecord| known.settings == self.settings && !known.text.starts_with(UNREADABLE);
        let known = self.verdicts.get(path).filter(holds)?;
        let same = known.size_bytes == stat.size_bytes && known.modified_ns == stat.modified_ns;
        let grown = || {
            let head_was_whole = known.size_bytes >= HEAD_BYTES as u64 && stat.size_bytes >= known.size_bytes;
            let unmoved = |input: &InputRecord| {
                (input.size_bytes, input.modified_ns) == (stat.size_bytes, stat.modified_ns)
                    || self.same_start(input)
            };
            known.source.is_some() && head_was_whole && self.known.at_path(path).is_none_or(unmoved)
        };
        let verdict = match &known.source {
            Some(_) => Verdict::Log { marks: known.text.clone() },
            None => Verdict::Other { reason: known.text.clone() },
        };
        (same || grown()).then(|| Remembered { source: known.source.clone(), verdict })
    }
}

fn verdict_record(judged: &discover::Judged, settings: &str) -> VerdictRecord {
    let (source, text) = match &judged.verdict {
        Verdict::Log { marks } => (judged.source.map(str::to_string), marks.clone()),
        Verdict::Other { reason } => (None, reason.clone()),
        // The same bytes cannot tell more; it is judged again when it changes.
        Verdict::TooEarly => {
            (None, "nothing so far that tells what it is; it is judged again when it changes".to_string())
        }
    };
    VerdictRecord {
        path: judged.path.clone(),
        size_bytes: judged.stat.size_bytes,
        modified_ns: judged.stat.modified_ns,
        source,
        text,
        settings: settings.to_string(),
    }
}
