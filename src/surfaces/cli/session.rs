//! An open workspace with the options of the caller.

use super::globals::Globals;
use super::progress::Bar;
use crate::engine::canned::{Canned, built_in};
use crate::error::UserError;
use crate::surfaces::terminal::Terminal;
use crate::workspace::{Outcome, Workspace};
use anyhow::{Result, anyhow};
use std::sync::Arc;

/// What every command works with.
#[derive(Clone)]
pub struct Session {
    /// The logs and their cache.
    pub workspace: Arc<Workspace>,
    /// Options of the caller.
    pub globals: Globals,
    /// Where the caller reads.
    pub terminal: Terminal,
}

impl Session {
    /// Looks for changes, unless told not to, and says what could not be read.
    pub async fn refresh(&self) -> Result<Option<Outcome>> {
        match self.globals.no_refresh {
            true => Ok(None),
            false => self.refresh_now().await.map(Some),
        }
    }

    /// Looks for changes and says what could not be read.
    pub async fn refresh_now(&self) -> Result<Outcome> {
        let workspace = Arc::clone(&self.workspace);
        let bar = Bar::new(self.terminal.shows_progress());
        let outcome = self.blocking(move || workspace.refresh(&bar)).await?;
        outcome.notes.iter().for_each(|note| self.terminal.warning(note));
        Ok(outcome)
    }

    /// Runs blocking work aside, so that Ctrl-C is heard.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        tokio::task::spawn_blocking(work).await.map_err(|_| anyhow!("the refresh crashed; this is a bug"))?
    }

    /// The same workspace with the options of one command inside the session.
    pub fn with_options_of(&self, matches: &clap::ArgMatches) -> Result<Session> {
        let mut session = self.clone();
        session.globals = Globals::of(matches)?.within(&self.globals);
        Ok(session)
    }

    /// The canned queries.
    pub fn queries(&self) -> &[Canned] {
        match self.workspace.queries() {
            [] => built_in(),
            queries => queries,
        }
    }

    /// Refuses `--show-sql` where no single statement answers.
    pub fn refuse_show_sql(&self, command: &str) -> Result<()> {
        match self.globals.show_sql {
            true => {
                Err(UserError::usage(format!("{command} is not answered by SQL, --show-sql has no meaning"))
                    .into())
            }
            false => Ok(()),
        }
    }
}
