//! Whoever asks: starts the worker, keeps it, and ends it.

use super::death::Death;
use super::{Event, FOLDER_PREFIX, FOLDER_VARIABLE, Request};
use crate::error::UserError;
use crate::surfaces::cli::output::temporary_name;
use anyhow::{Context, Result};
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};

/// How long a worker may take to tell that its time is over, or to go when it is let go.
const GRACE: Duration = Duration::from_secs(1);

/// Asks a worker, which it starts when there is none.
#[derive(Debug, Default)]
pub struct Asker {
    idle: Mutex<Option<Worker>>,
}

impl Asker {
    /// Has a statement run, and its answer or its error printed; the exit code. When the future is
    /// dropped, the worker is ended at once.
    ///
    /// # Errors
    /// When the worker cannot be started, dies, or does not end in time.
    pub async fn ask(&self, request: &Request) -> Result<u8> {
        let mut worker = match self.kept() {
            Some(worker) => worker,
            None => Worker::start().context("cannot start the process that runs the query")?,
        };
        let (code, is_late) = worker.run(request).await?;
        // What ran out of time may still be computing.
        if !is_late {
            *self.lock() = Some(worker);
        }
        Ok(code)
    }

    /// Lets the worker go.
    pub async fn finish(&self) {
        if let Some(worker) = self.kept() {
            worker.finish().await;
        }
    }

    fn kept(&self) -> Option<Worker> {
        let mut worker = self.lock().take()?;
        worker.is_alive().then_some(worker)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that runs statements, one after the other. Ended when dropped.
#[derive(Debug)]
struct Worker {
    child: Child,
    socket: UnixStream,
    lines: UnboundedReceiver<String>,
    /// Its temporary files: one that is killed removes none.
    _folder: TempDir,
    /// A file that takes its name when the answer is complete.
    unfinished: Option<PathBuf>,
}

impl Worker {
    fn start() -> io::Result<Worker> {
        let mut folder = tempfile::Builder::new();
        folder.prefix(FOLDER_PREFIX);
        // Where the disk is full there may be room in memory: the cache still answers.
        let folder = folder.tempdir().or_else(|error| folder.tempdir_in("/dev/shm").map_err(|_| error))?;
        let (socket, theirs) = UnixStream::pair()?;
        let mut command = Command::new(program()?);
        command.arg0("runq").env(FOLDER_VARIABLE, folder.path()).env("TMPDIR", folder.path());
        let child = command.stdin(OwnedFd::from(theirs)).spawn()?;
        let (sender, lines) = unbounded_channel();
        let ours = socket.try_clone()?;
        std::thread::Builder::new().name("runq-events".to_owned()).spawn(move || listen(ours, &sender))?;
        Ok(Worker { child, socket, lines, _folder: folder, unfinished: None })
    }

    /// The exit code, and whether the time was over.
    async fn run(&mut self, request: &Request) -> Result<(u8, bool)> {
        let output = request.globals.output.as_deref();
        self.unfinished = output.map(|file| temporary_name(file, self.child.id()));
        // One that is dead already tells so by the end of its lines.
        let _ = self.socket.write_all(&super::line(request)?);
        let mut death = Death::default();
        let mut deadline = None;
        while let Some(line) = self.next_line(deadline, request.globals.timeout).await? {
            match serde_json::from_str(&line) {
                Ok(Event::Begun { memory_bytes }) => {
                    death = Death::of(memory_bytes);
                    deadline = request.globals.timeout.map(|timeout| Instant::now() + timeout);
                }
                Ok(Event::Done { code }) => {
                    return Ok((code, deadline.is_some_and(|deadline| Instant::now() >= deadline)));
                }
                Err(_) => death.hear(line),
            }
        }
        let status = self.child.wait().context("the process that ran the query is gone")?;
        Err(death.explained(status).into())
    }

    async fn next_line(
        &mut self,
        deadline: Option<Instant>,
        timeout: Option<Duration>,
    ) -> Result<Option<String>> {
        let (Some(deadline), Some(timeout)) = (deadline, timeout) else {
            return Ok(self.lines.recv().await);
        };
        let line = timeout_at(deadline + GRACE, self.lines.recv()).await;
        Ok(line.map_err(|_| UserError::too_late(timeout))?)
    }

    fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it is gone; it goes when nothing can be asked of it any more.
    async fn finish(mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
        while let Ok(Some(_)) = timeout_at(Instant::now() + GRACE, self.lines.recv()).await {}
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Neither fails but for one that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(file) = &self.unfinished {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// This very program, even where an update has put another in its place.
fn program() -> io::Result<PathBuf> {
    match cfg!(target_os = "linux") {
        true => Ok(PathBuf::from("/proc/self/exe")),
        false => std::env::current_exe(),
    }
}

/// Hands on the lines of the worker until it is gone.
fn listen(socket: UnixStream, lines: &UnboundedSender<String>) {
    let mut reader = BufReader::new(socket);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        line.clear();
        if !text.is_empty() && lines.send(text).is_err() {
            return;
        }
    }
}
