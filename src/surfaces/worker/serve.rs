//! The worker itself: reads requests, answers, tells when it is done.

use super::limits::{self, Limited};
use super::{Event, FOLDER_PREFIX, FOLDER_VARIABLE, Request};
use crate::error::UserError;
use crate::surfaces::cli::session::Session;
use crate::surfaces::cli::{statement, user_error};
use crate::surfaces::terminal::keep_stderr;
use crate::workspace::{Workspace, stacks_bytes};
use anyhow::{Context, Result};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, channel};

/// How long a statement goes on when nobody waits for it any more.
const ABANDONED: Duration = Duration::from_millis(500);

/// Answers requests until the asker goes away.
///
/// # Errors
/// When this is no worker, for its stdin is no socket.
pub async fn serve() -> Result<u8> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.peer_addr().map_err(|_| {
        UserError::usage(format!("{FOLDER_VARIABLE} is set, which runq sets for itself")).hint("unset it")
    })?;
    // Ctrl-C reaches the asker too, who decides.
    let _interrupts = signal(SignalKind::interrupt())?;
    keep_stderr()?;
    limits::settle();
    let mut requests = requests()?;
    let mut worker = Worker { socket, session: None, most_data_bytes: None };
    while let Some(request) = requests.recv().await {
        let code = worker.answer(request).await;
        worker.tell(&Event::Done { code })?;
    }
    // The asker does so too, unless it was killed.
    remove_folder();
    Ok(0)
}

struct Worker {
    socket: UnixStream,
    session: Option<Session>,
    /// Decided once: what one query leaves to the allocator the next one uses.
    most_data_bytes: Option<u64>,
}

impl Worker {
    /// The exit code. Errors are printed.
    async fn answer(&mut self, request: Request) -> u8 {
        let terminal = request.globals.terminal();
        match self.run(request).await {
            Ok(()) => 0,
            Err(error) => {
                let error = user_error(&error);
                terminal.error(&error);
                error.exit_code()
            }
        }
    }

    async fn run(&mut self, request: Request) -> Result<()> {
        let Request { statement: text, max_output_bytes, globals } = request;
        let workspace = match self.session.take() {
            Some(session) => session.workspace,
            None => Session::new(Workspace::open(globals.options())?, globals.clone()).workspace,
        };
        let terminal = globals.terminal();
        let session = self.session.insert(Session { workspace, globals, terminal }).clone();
        session.refresh().await?;
        let memory_bytes = session.workspace.memory_bytes();
        self.tell(&Event::Begun { memory_bytes })?;
        if self.most_data_bytes.is_none() {
            self.most_data_bytes = limits::most_data_bytes(stacks_bytes(), memory_bytes);
        }
        let _limited =
            Limited::begin(self.most_data_bytes, &self.socket).context("cannot limit the memory")?;
        statement(&session, &text, max_output_bytes).await
    }

    fn tell(&mut self, event: &Event) -> Result<()> {
        self.socket.write_all(&super::line(event)?).context("nobody listens any more")
    }
}

/// Requests as they come. When they end while a statement runs, the process ends.
fn requests() -> Result<Receiver<Request>> {
    let (sender, receiver) = channel(1);
    let reading = move || {
        let lines = io::stdin().lines().map_while(Result::ok);
        for line in lines.filter(|line| !line.is_empty()) {
            let Ok(request) = serde_json::from_str(&line) else { break };
            if sender.blocking_send(request).is_err() {
                break;
            }
        }
        drop(sender);
        std::thread::sleep(ABANDONED);
        remove_folder();
        std::process::exit(1);
    };
    std::thread::Builder::new()
        .name("runq-requests".to_owned())
        .spawn(reading)
        .context("cannot start a thread")?;
    Ok(receiver)
}

/// Removes the temporary files.
fn remove_folder() {
    let Some(folder) = std::env::var_os(FOLDER_VARIABLE) else { return };
    let folder = Path::new(&folder);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with(FOLDER_PREFIX) {
        let _ = std::fs::remove_dir_all(folder);
    }
}
