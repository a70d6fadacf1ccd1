//! Queries that are commands: those of runq, and those of the user's own.

use crate::engine::canned::{self, Canned};
use anyhow::anyhow;
use std::path::PathBuf;

/// Judges a query by what it would be called: names may be taken already. What is wrong begins with its
/// place in the file, as in `:3: why`.
pub type Admits = fn(&Canned) -> Result<(), String>;

/// Canned queries: the built-in ones, then the user's; a file that is wrong is a note.
pub fn load(folders: &[PathBuf], admits: Option<Admits>) -> (Vec<Canned>, Vec<String>) {
    let mut queries = canned::built_in().to_vec();
    let mut notes = Vec::new();
    for folder in folders {
        let files = canned::load_each(folder).unwrap_or_else(|error| {
            notes.push(format!("{error:#}"));
            Vec::new()
        });
        for (file, query) in files {
            let admitted = query.and_then(|query| match admits.map(|admits| admits(&query)) {
                Some(Err(why)) => Err(anyhow!("{}{why}", file.display())),
                _ => Ok(query),
            });
            match admitted {
                Ok(query) if queries.iter().any(|known| known.built_in && known.is_called(&query.name)) => {
                    notes.push(format!(
                        "{}: runq has a command \"{}\" of its own",
                        file.display(),
                        query.name
                    ));
                }
                Ok(query) => {
                    queries.retain(|known| known.name != query.name);
                    queries.push(query);
                }
                Err(error) => notes.push(format!("{error:#}")),
            }
        }
    }
    (queries, notes)
}
