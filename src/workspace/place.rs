//! Where logs and cache lie.

use super::Options;
use crate::error::UserError;
use anyhow::Context;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Where logs and cache lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder (or file) whose logs are read.
    pub root: PathBuf,
    /// Where the cache lies, unless it cannot be written there.
    pub cache: PathBuf,
    /// Whether the cache was asked for there and nowhere else.
    is_given: bool,
    /// Part of the root that was asked for, `/` separated.
    pub below: Option<String>,
}

impl Place {
    /// Finds them.
    ///
    /// # Errors
    /// When the root is not there.
    pub fn find(options: &Options) -> anyhow::Result<Place> {
        let asked = match &options.root {
            Some(root) => root.clone(),
            None => std::env::current_dir().context("the working folder is gone")?,
        };
        let asked = std::fs::canonicalize(&asked)
            .map_err(|error| UserError::failed(format!("cannot read {}: {error}", asked.display())))?;
        let root = nearest_root(&asked).unwrap_or_else(|| asked.clone());
        let below = asked.strip_prefix(&root).ok().map(|path| path.to_string_lossy().replace('\\', "/"));
        let cache = match &options.cache {
            Some(cache) => std::path::absolute(cache)?,
            None if root.is_file() => user_cache(&root)?,
            None => root.join(".runq"),
        };
        let below = below.filter(|below| !below.is_empty());
        Ok(Place { root, cache, is_given: options.cache.is_some(), below })
    }

    /// Folders for the cache, best first. Where the root cannot be written, the cache is in the
    /// user's cache folder.
    pub fn caches(&self) -> Vec<PathBuf> {
        let own = if self.is_given { None } else { user_cache(&self.root).ok() };
        let mut caches = vec![self.cache.clone()];
        caches.extend(own.filter(|own| *own != self.cache));
        caches
    }
}

/// The nearest folder upwards, itself included, with a cache or settings.
fn nearest_root(from: &Path) -> Option<PathBuf> {
    let is_root = |folder: &&Path| {
        let cache = folder.join(".runq");
        // A cache that lost its catalog still marks the root.
        cache.join("catalog.sqlite").is_file()
            || cache.join("tmp").is_dir()
            || cache.join("queries").is_dir()
            || folder.join("runq.toml").is_file()
    };
    from.ancestors().find(is_root).map(Path::to_path_buf)
}

/// A folder of the user's cache for a root that has none of its own.
fn user_cache(root: &Path) -> anyhow::Result<PathBuf> {
    let base = dirs::cache_dir()
        .ok_or_else(|| UserError::failed("no cache folder is known").hint("give one with --cache"))?;
    let hash = Sha256::digest(root.to_string_lossy().as_bytes());
    let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(base.join("runq").join(name))
}
