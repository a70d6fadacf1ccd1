//! Looks for logs with the memory of earlier looks.

use super::Progress;
use super::load;
use crate::sources::discover::{self, Discovery, Remembered};
use crate::sources::{HEAD_BYTES, Verdict};
use crate::store::{Catalog, Changes, InputRecord, VerdictRecord};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One look at a root: what is remembered of it, and which files were found to begin as they did.
pub struct Look {
    root: PathBuf,
    /// Folder that all paths are relative to.
    pub base: PathBuf,
    verdicts: BTreeMap<String, VerdictRecord>,
    inputs: BTreeMap<String, InputRecord>,
    starts: RefCell<BTreeMap<String, bool>>,
}

impl Look {
    /// Loads what is remembered.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn new(root: &Path, catalog: &dyn Catalog) -> anyhow::Result<Self> {
        let base = if root.is_file() { root.parent().unwrap_or(root) } else { root };
        let inputs = catalog.inputs()?.into_iter().map(|input| (input.path.clone(), input)).collect();
        Ok(Self {
            root: root.to_path_buf(),
            base: base.to_path_buf(),
            verdicts: catalog.verdicts()?,
            inputs,
            starts: RefCell::default(),
        })
    }

    /// Walks the root and stores the new verdicts.
    ///
    /// # Errors
    /// When the root cannot be read or the catalog not be written.
    pub fn discover(
        &self,
        settings: &discover::Settings<'_>,
        catalog: &dyn Catalog,
        now_ms: i64,
        progress: &dyn Progress,
    ) -> anyhow::Result<Discovery> {
        let discovery =
            discover::discover(&self.root, settings, self, &mut |found| progress.scanning(found))?;
        let new = discovery.judged.iter().filter(|judged| !judged.is_remembered).map(verdict_record);
        let verdicts = new.filter(|verdict| self.verdicts.get(&verdict.path) != Some(verdict)).collect();
        let there: BTreeSet<&str> = discovery.judged.iter().map(|judged| judged.path.as_str()).collect();
        let gone_verdicts =
            self.verdicts.keys().filter(|path| !there.contains(path.as_str())).cloned().collect();
        let changes = Changes { verdicts, gone_verdicts, now_ms, ..Changes::default() };
        if !changes.is_empty() {
            catalog.commit(&changes)?;
        }
        Ok(discovery)
    }

    /// Whether what was read of a file still stands in it. Each file is looked at once.
    pub fn same_start(&self, record: &InputRecord) -> bool {
        let look = || load::fingerprint(&self.base.join(&record.path), record.offset);
        let mut starts = self.starts.borrow_mut();
        *starts
            .entry(record.path.clone())
            .or_insert_with(|| look().is_ok_and(|now| now == record.fingerprint))
    }
}

impl discover::Memory for Look {
    /// That a file is a log holds while it grows, once its head was seen whole; that it is something
    /// else, while it is as it was.
    fn recall(&self, path: &str, stat: &discover::Stat) -> Option<Remembered> {
        let known = self.verdicts.get(path)?;
        let same = known.size_bytes == stat.size_bytes && known.modified_ns == stat.modified_ns;
        let grown = || {
            let head_was_whole = known.size_bytes >= HEAD_BYTES as u64 && stat.size_bytes >= known.size_bytes;
            let unmoved = |input: &InputRecord| {
                (input.size_bytes, input.modified_ns) == (stat.size_bytes, stat.modified_ns)
                    || self.same_start(input)
            };
            known.source.is_some() && head_was_whole && self.inputs.get(path).is_none_or(unmoved)
        };
        let verdict = match &known.source {
            Some(_) => Verdict::Log { marks: known.text.clone() },
            None => Verdict::Other { reason: known.text.clone() },
        };
        (same || grown()).then(|| Remembered { source: known.source.clone(), verdict })
    }
}

fn verdict_record(judged: &discover::Judged) -> VerdictRecord {
    let (source, text) = match &judged.verdict {
        Verdict::Log { marks } => (judged.source.map(str::to_string), marks.clone()),
        Verdict::Other { reason } => (None, reason.clone()),
        // The same bytes cannot tell more; it is judged again when it changes.
        Verdict::TooEarly => (None, "too little content to tell yet".to_string()),
    };
    VerdictRecord {
        path: judged.path.clone(),
        size_bytes: judged.stat.size_bytes,
        modified_ns: judged.stat.modified_ns,
        source,
        text,
    }
}
