//! The cache of a root: opening it, bringing it up to date, making anew what is damaged.

use super::Options;
use super::place::Place;
use crate::error::UserError;
use crate::ingest::remembered::Remembered;
use crate::ingest::{Outcome, Progress, Quiet, Refresh};
use crate::records::roles::Rules;
use crate::settings::Settings;
use crate::sources;
use crate::sources::console::Console;
use crate::sources::find::discover;
use crate::store::{Catalog, Damage, DamagedFile, Limits, SqliteCatalog, WriteFailure, layout, sweep};
use anyhow::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How often one refresh begins again because it met damage.
const REPAIRS: usize = 8;

/// What to do about damage.
const ANEW: &str = "leave out --no-refresh: it is made anew from the logs";

/// The cache of a root.
pub struct Cache {
    /// Where it lies.
    pub place: Place,
    ignore: Vec<String>,
    console: Console,
    limits: Limits,
    rules: Rules,
    remembered: Remembered,
    now_ms: Option<i64>,
    read_only: bool,
    /// Opened when first needed, so that a mistyped command leaves nothing behind.
    catalog: Mutex<Option<Arc<dyn Catalog>>>,
}

impl Cache {
    /// The cache of a place; nothing is opened yet.
    ///
    /// # Errors
    /// When a pattern of the settings is wrong.
    pub fn new(place: Place, settings: &Settings, options: &Options) -> Result<Self, UserError> {
        Ok(Self {
            console: Console::new(&settings.console)?,
            place,
            ignore: settings.left_out(),
            limits: options.limits,
            rules: settings.rules(),
            remembered: Remembered::new(options.limits.remembered_points),
            now_ms: options.now_ms,
            read_only: options.read_only,
            catalog: Mutex::default(),
        })
    }

    /// The present, milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        self.now_ms.unwrap_or_else(clock)
    }

    /// The catalog to read; `None` where there is none yet.
    ///
    /// # Errors
    /// When it cannot be read; as a [`Damage`] when it cannot be believed.
    pub fn catalog(&self) -> anyhow::Result<Option<Arc<dyn Catalog>>> {
        let mut open = self.catalog.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            let mut folders = self.place.caches();
            folders.retain(|folder| layout::catalog(folder).exists());
            // One that cannot be written is older than the user's own.
            folders.sort_by_key(|folder| !is_writable(&layout::catalog(folder)));
            if let Some(folder) = folders.first() {
                *open = SqliteCatalog::look(folder)?.map(|catalog| Arc::new(catalog) as Arc<dyn Catalog>);
            }
        }
        Ok(open.clone())
    }

    fn keep(&self, catalog: &Arc<dyn Catalog>) {
        *self.catalog.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(catalog));
    }

    /// Looks for changes under the root and converts what is new. Blocking. One process refreshes
    /// at a time; others wait and then find nothing left to do. What is found damaged is made anew.
    ///
    /// # Errors
    /// When the root cannot be read or the cache cannot be written; it is as it was then.
    pub fn refresh(&self, progress: &dyn Progress) -> anyhow::Result<Outcome> {
        let (folder, _lock) = self.lock()?;
        let (catalog, damage) = SqliteCatalog::open(&folder).map_err(|error| told(error, &folder))?;
        let repair = Repair { damage, ..Repair::new(self, &folder) };
        repair.run(Arc::new(catalog), progress).map_err(|error| told(error, &folder))
    }

    /// Makes anew what was met damaged; returns what there is to say about it.
    ///
    /// # Errors
    /// When nothing may be written, or as [`Cache::refresh`].
    pub fn heal(&self, damage: &Damage) -> anyhow::Result<Vec<String>> {
        let known = self.catalog().ok().flatten();
        if self.read_only {
            return is_past(damage, known.as_deref()).map(|()| Vec::new());
        }
        let (folder, _lock) = self.lock()?;
        let (now, found) = SqliteCatalog::open(&folder).map_err(|error| told(error, &folder))?;
        let mut repair = Repair { damage: found, ..Repair::new(self, &folder) };
        let mut now: Arc<dyn Catalog> = Arc::new(now);
        match damage {
            Damage::File { path, why } => now.mark_damaged(path, why)?,
            Damage::Catalog { .. } if known.as_ref().is_some_and(|known| known.birth() == now.birth()) => {
                now = repair.anew(now.as_ref(), damage.clone())?;
            }
            // Another process made it anew in the meantime.
            Damage::Catalog { .. } => {}
        }
        repair.run(now, &Quiet).map(|outcome| outcome.notes).map_err(|error| told(error, &folder))
    }

    /// Opens a folder for the cache and waits until no other process refreshes it.
    fn lock(&self) -> anyhow::Result<(PathBuf, File)> {
        let mut first = None;
        for folder in self.place.caches() {
            match lock_in(&folder) {
                Ok(lock) => return Ok((folder, lock)),
                Err(error) if WriteFailure::of(&error) == Some(WriteFailure::Denied) => {
                    first.get_or_insert((error, folder));
                }
                Err(error) => return Err(told(error, &folder)),
            }
        }
        let (error, folder) = first.context("there is no place for a cache")?;
        Err(told(error, &folder))
    }

    fn refresh_once(
        &self,
        folder: &Path,
        catalog: &dyn Catalog,
        progress: &dyn Progress,
    ) -> anyhow::Result<Outcome> {
        let sources = sources::with(&self.console);
        let settings = discover::Settings {
            ignore: self.ignore.clone(),
            sources: &sources,
            scratch: layout::tmp(folder),
            ..discover::Settings::default()
        };
        let refresh = Refresh {
            root: &self.place.root,
            cache: folder,
            catalog,
            settings: &settings,
            limits: self.limits,
            rules: &self.rules,
            remembered: &self.remembered,
            now_ms: self.now_ms(),
        };
        refresh.run(progress)
    }
}

/// A refresh that begins again where it meets damage.
struct Repair<'a> {
    cache: &'a Cache,
    folder: &'a Path,
    /// Why the whole cache was made anew.
    damage: Option<Damage>,
    /// Files met damaged, by path.
    files: BTreeMap<String, DamagedFile>,
    /// Runs known before, as far as they could still be read.
    runs: BTreeSet<String>,
}

impl<'a> Repair<'a> {
    fn new(cache: &'a Cache, folder: &'a Path) -> Self {
        Self { cache, folder, damage: None, files: BTreeMap::new(), runs: BTreeSet::new() }
    }

    fn run(mut self, mut catalog: Arc<dyn Catalog>, progress: &dyn Progress) -> anyhow::Result<Outcome> {
        let mut tries = 0;
        loop {
            self.cache.keep(&catalog);
            let error = match self.attempt(catalog.as_ref(), progress) {
                Ok(mut outcome) => {
                    outcome.notes.extend(self.notes(catalog.as_ref())?);
                    return Ok(outcome);
                }
                Err(error) => error,
            };
            tries += 1;
            match Damage::of(&error) {
                Some(Damage::File { path, why }) if tries < REPAIRS => catalog.mark_damaged(&path, &why)?,
                Some(damage) if tries <= REPAIRS => catalog = self.anew(catalog.as_ref(), damage)?,
                _ => {
                    // What was written for nothing holds space; the next refresh tries again.
                    let _ = sweep::orphans(self.folder, catalog.as_ref());
                    return Err(error);
                }
            }
        }
    }

    fn anew(&mut self, old: &dyn Catalog, damage: Damage) -> anyhow::Result<Arc<dyn Catalog>> {
        self.runs.extend(old.runs().unwrap_or_default().into_keys());
        self.damage.get_or_insert(damage);
        self.files.clear();
        Ok(Arc::new(SqliteCatalog::anew(self.folder)?))
    }

    fn attempt(&mut self, catalog: &dyn Catalog, progress: &dyn Progress) -> anyhow::Result<Outcome> {
        let snapshot = catalog.snapshot()?;
        for file in snapshot.files.iter().filter(|file| file.damage().is_none()) {
            if let Some(why) = file.sums.look(&self.folder.join(&file.path)) {
                catalog.mark_damaged(&file.path, &why)?;
            }
        }
        for file in catalog.damaged()? {
            self.runs.extend(file.runs.iter().cloned());
            self.files.entry(file.path.clone()).or_insert(file);
        }
        let outcome = self.cache.refresh_once(self.folder, catalog, progress)?;
        // All runs of a damaged file are read anew, and then it is retired.
        match catalog.damaged()?.is_empty() {
            true => Ok(outcome),
            false => Err(Damage::catalog("is damaged (it lists files of no run)").into()),
        }
    }

    /// One line about what was damaged; one about what is lost with logs that are gone.
    fn notes(&self, catalog: &dyn Catalog) -> anyhow::Result<Vec<String>> {
        let mut files = self.files.values();
        let anew: BTreeSet<&String> = self.files.values().flat_map(|file| &file.runs).collect();
        let runs = counted(anew.len(), "run");
        let mut notes = Vec::new();
        match (&self.damage, files.next(), files.len()) {
            (Some(damage), ..) => notes.push(format!("{damage}: the cache was made anew from the logs")),
            (None, Some(file), 0) => {
                notes.push(format!("{}: {runs} read anew from the logs", damage_of(file)))
            }
            (None, Some(file), more) => notes
                .push(format!("{}, and {more} more files: {runs} read anew from the logs", damage_of(file))),
            (None, None, _) => return Ok(notes),
        }
        let known = catalog.runs()?;
        let lost: Vec<&str> =
            self.runs.iter().filter(|run| !known.contains_key(*run)).map(String::as_str).collect();
        if !lost.is_empty() {
            let shown = lost.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            let count = counted(lost.len(), "run");
            notes.push(format!("{count} could not be made anew, the logs are gone: {shown}"));
        }
        Ok(notes)
    }
}

/// Whether the damage is that of a file which other processes have replaced since; else it is told.
fn is_past(damage: &Damage, catalog: Option<&dyn Catalog>) -> anyhow::Result<()> {
    let is_live = |path: &str| -> anyhow::Result<bool> {
        let snapshot = catalog.map(Catalog::snapshot).transpose()?;
        Ok(snapshot.is_some_and(|snapshot| snapshot.files.iter().any(|file| file.path == path)))
    };
    match damage {
        Damage::File { path, .. } if !is_live(path)? => Ok(()),
        damage => Err(UserError::failed(damage.to_string()).hint(ANEW).into()),
    }
}

fn damage_of(file: &DamagedFile) -> Damage {
    Damage::File { path: file.path.clone(), why: file.why.clone() }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn lock_in(folder: &Path) -> anyhow::Result<File> {
    layout::create(folder)?;
    let path = layout::lock(folder);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let lock = lock.with_context(|| format!("cannot create {}", path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(lock)
}

fn is_writable(path: &Path) -> bool {
    OpenOptions::new().write(true).open(path).is_ok()
}

/// What a person can act on, where a cache cannot be written.
fn told(error: anyhow::Error, folder: &Path) -> anyhow::Error {
    let Some(failure) = WriteFailure::of(&error) else { return error };
    let elsewhere = "keep the cache elsewhere with --cache DIR";
    let (cause, hint) = match failure {
        WriteFailure::Full => ("there is no room left", format!("free some space there, or {elsewhere}")),
        WriteFailure::Denied => ("that is not allowed", elsewhere.to_string()),
    };
    let (folder, detail) = (folder.display(), error.root_cause());
    let message = format!("cannot write the cache in {folder}: {cause} ({detail}); it is as it was");
    UserError::failed(message).hint(hint).into()
}
