//! The threads on which queries run, apart from those that wait for them: a query that computes
//! without a pause keeps no clock and no signal from being heard.

use anyhow::Context;
use std::sync::OnceLock;
use tokio::runtime::{Builder, Handle, Runtime};

/// Name of the threads that queries run on.
pub const THREAD_NAME: &str = "runq-query";

/// Plans nest deeply; so do the calls that walk them.
const STACK_BYTES: usize = 16 << 20;

/// Threads that wait for files. Each has a stack of the same size, so there are few.
const BLOCKING_THREADS: usize = 8;

/// What the stacks take of the memory of the process, most of it never touched.
pub fn stacks_bytes() -> usize {
    let computing = std::thread::available_parallelism().map_or(1, usize::from);
    (computing + BLOCKING_THREADS) * STACK_BYTES
}

/// Where queries run; made when first needed, ended with the process.
///
/// # Errors
/// When no thread can be started.
pub fn handle() -> anyhow::Result<&'static Handle> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if RUNTIME.get().is_none() {
        let runtime = Builder::new_multi_thread()
            .thread_name(THREAD_NAME)
            .thread_stack_size(STACK_BYTES)
            .max_blocking_threads(BLOCKING_THREADS)
            .enable_all()
            .build()
            .context("cannot start the threads of the engine")?;
        // Two threads may have made one; the one that is kept serves both.
        if let Err(other) = RUNTIME.set(runtime) {
            other.shutdown_background();
        }
    }
    RUNTIME.get().map(Runtime::handle).context("cannot start the threads of the engine")
}
