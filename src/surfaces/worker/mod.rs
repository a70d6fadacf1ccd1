//! Ad-hoc SQL runs in a process of its own.
//!
//! A statement that needs memory the engine does not count, computes without a pause or overflows
//! the stack ends its process, or must be ended with it. So whoever asks (a command, the prompt)
//! loads no engine for it: it starts itself once more as the worker, which refreshes, plans, runs
//! and prints. The asker holds the deadline, hears Ctrl-C, and turns a death into one line.
//!
//! ```text
//!  asker ── requests ──▶ worker        one line of JSON each, over the worker's stdin, a socket;
//!        ◀── events ────               stdout and stderr are the asker's own
//! ```
//!
//! While a statement runs, the worker's descriptor 2 leads to the socket: what the runtime prints as it
//! dies ("memory allocation of 2000000000 bytes failed") tells the asker why, not the user. When the
//! asker goes away, the socket closes and the worker ends.

#[cfg(unix)]
mod asker;
#[cfg(unix)]
mod death;
#[cfg(not(unix))]
mod here;
#[cfg(unix)]
mod limits;
#[cfg(unix)]
mod serve;

#[cfg(unix)]
pub use asker::Asker;
#[cfg(not(unix))]
pub use here::{Asker, serve};
#[cfg(unix)]
pub use serve::serve;

use super::cli::globals::Globals;
use serde::{Deserialize, Serialize};

/// Names the worker's folder for temporary files, and so makes a process a worker.
const FOLDER_VARIABLE: &str = "RUNQ_WORKER";

/// How the name of that folder begins.
#[cfg(unix)]
const FOLDER_PREFIX: &str = "runq-worker-";

/// Whether this process is a worker.
pub fn is_worker() -> bool {
    cfg!(unix) && std::env::var_os(FOLDER_VARIABLE).is_some()
}

/// A statement to run, with the options of whoever asks.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The statement.
    pub statement: String,
    /// Longest answer in bytes.
    pub max_output_bytes: u64,
    /// Options of the caller.
    pub globals: Globals,
}

/// A value as a line of its own, whatever stood on the line before.
///
/// # Errors
/// When a path in it cannot be written.
#[cfg(unix)]
fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    Ok(format!("\n{}\n", serde_json::to_string(value)?).into_bytes())
}

/// What the worker tells.
#[cfg(unix)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Event {
    /// The cache is up to date and the query begins, with so much memory.
    Begun { memory_bytes: usize },
    /// All is printed, errors too.
    Done { code: u8 },
}
