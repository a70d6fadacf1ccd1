//! What the worker takes from itself: memory while a query runs, and the place of its last words.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use nix::unistd::dup2_stderr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// What a process needs beside its data: buffers of the allocator, of files, of decompression.
const ALLOWANCE_BYTES: u64 = 64 << 20;

/// Once, when the worker starts.
pub fn settle() {
    // An image of a dead process would be as large as its memory.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // Where memory is short on the whole machine, this process shall go, not the training beside it.
    if cfg!(target_os = "linux") {
        let _ = fs::write("/proc/self/oom_score_adj", "1000");
        let _ = fs::write("/proc/self/comm", "runq-sql");
    }
}

/// The most data a worker may have: what it has now, what the threads of the engine take, and the memory of a
/// query. `None` where the system does not tell or limit data.
pub fn most_data_bytes(stacks_bytes: usize, memory_bytes: usize) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"))?;
    let now_kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let parts = [now_kib << 10, stacks_bytes as u64, memory_bytes as u64, ALLOWANCE_BYTES];
    Some(parts.iter().fold(0_u64, |sum, part| sum.saturating_add(*part)))
}

/// While it lives, data is limited and descriptor 2 leads to where the asker listens.
///
/// Data, not address space: allocators and threads reserve far more than they use.
pub struct Limited {
    stderr: OwnedFd,
    data: Option<(rlim_t, rlim_t)>,
}

impl Limited {
    /// Begins.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn begin(most_data_bytes: Option<u64>, last_words: impl AsFd) -> io::Result<Limited> {
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        let data = match most_data_bytes {
            Some(bytes) => Some(limit_data(bytes)?),
            None => None,
        };
        dup2_stderr(last_words)?;
        Ok(Limited { stderr, data })
    }
}

/// Lowers the limit, and returns it as it was.
fn limit_data(bytes: u64) -> io::Result<(rlim_t, rlim_t)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_DATA)?;
    let least = if soft == RLIM_INFINITY { bytes } else { bytes.min(soft) };
    setrlimit(Resource::RLIMIT_DATA, least, hard)?;
    Ok((soft, hard))
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = dup2_stderr(&self.stderr);
        if let Some((soft, hard)) = self.data {
            let _ = setrlimit(Resource::RLIMIT_DATA, soft, hard);
        }
    }
}
