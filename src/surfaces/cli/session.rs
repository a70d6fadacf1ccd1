//! An open workspace with the options of the caller.

use super::globals::Globals;
use super::progress::Bar;
use super::user_error;
use crate::engine::canned::{Canned, built_in};
use crate::error::{Kind, UserError};
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
    /// What the workspace notices while it answers goes to stderr.
    pub fn new(workspace: Workspace, globals: Globals) -> Session {
        let terminal = globals.terminal();
        let workspace = workspace.on_note(move |note| terminal.warning(note));
        Session { workspace: Arc::new(workspace), globals, terminal }
    }

    /// Looks for changes, unless told not to, and says what could not be read. Where that fails (a
    /// full disk, a cache of somebody else) and there is an earlier state, that one answers.
    pub async fn refresh(&self) -> Result<Option<Outcome>> {
        if self.globals.no_refresh {
            return Ok(None);
        }
        match self.refresh_now().await {
            Ok(outcome) => Ok(Some(outcome)),
            Err(error) => self.earlier_state(error).map(|()| None),
        }
    }

    /// Says of what time the answer is; the error where there is nothing to answer from.
    fn earlier_state(&self, error: anyhow::Error) -> Result<()> {
        let told = user_error(&error);
        match self.workspace.as_of().filter(|_| told.kind == Kind::Failed) {
            Some(time) => {
                let time = time.format("%Y-%m-%d %H:%M:%S UTC");
                let hint = told.hint.map_or_else(String::new, |hint| format!(" ({hint})"));
                self.terminal.warning(&format!("{}{hint}; this answer is as of {time}", told.message));
                Ok(())
            }
            None => Err(error),
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
    pub fn with_options_of(&self, matches: &clap::ArgMatches, words: &[String]) -> Result<Session> {
        let mut session = self.clone();
        session.globals = Globals::of(matches)?.within(&self.globals).with_words(words.iter().cloned());
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
