//! Where the system has no sockets to pass on, statements run in the process of whoever asks, under
//! the limits of the engine alone.

use super::Request;
use crate::error::UserError;
use crate::surfaces::cli::session::Session;
use crate::surfaces::cli::statement;
use crate::workspace::Workspace;
use anyhow::Result;

/// Answers itself.
#[derive(Debug, Default)]
pub struct Asker;

impl Asker {
    /// Runs a statement and prints its answer; the exit code.
    ///
    /// # Errors
    /// When it fails.
    pub async fn ask(&self, request: &Request) -> Result<u8> {
        let globals = request.globals.clone();
        let session = Session::new(Workspace::open(globals.options())?, globals);
        session.refresh().await?;
        statement(&session, &request.statement, request.max_output_bytes).await.map(|()| 0)
    }

    /// There is nobody to let go.
    pub async fn finish(&self) {}
}

/// There are no workers.
///
/// # Errors
/// Always.
pub async fn serve() -> Result<u8> {
    Err(UserError::usage("this system has no workers").into())
}
