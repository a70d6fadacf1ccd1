//! An allocator that ends the process when an input costs more memory than its size allows. The
//! fuzzer's own limits see allocations only with a sanitizer, and do not know the input.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What any input may cost.
const BASE_BYTES: usize = 8 << 20;
/// What each byte of an input may cost besides. A value of one byte becomes a point or a cell with
/// its name, kept by the test's sink.
const BYTES_A_BYTE: usize = 512;

struct Bounded;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

/// Runs `job` under the limit for an input of `size_bytes`.
pub fn bounded(size_bytes: usize, job: impl FnOnce()) {
    LIMIT.store(LIVE.load(Relaxed) + BASE_BYTES + BYTES_A_BYTE * size_bytes, Relaxed);
    job();
    LIMIT.store(usize::MAX, Relaxed);
}

fn take(size: usize) {
    let live = LIVE.fetch_add(size, Relaxed) + size;
    // A backtrace costs more than most inputs.
    if live > LIMIT.load(Relaxed) && !std::thread::panicking() {
        LIMIT.store(usize::MAX, Relaxed);
        eprintln!("an allocation of {size} bytes makes {live}: more than the input allows");
        std::process::abort();
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        take(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}
