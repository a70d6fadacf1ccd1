//! The progress bar of a refresh, for those who wait longer than half a second.

use crate::workspace::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_millis(500);

/// Hidden until the wait gets long.
pub struct Bar {
    bar: ProgressBar,
    started: Instant,
    /// Whether it may still have to be shown.
    waits: AtomicBool,
}

impl Bar {
    /// A bar that never shows unless `shows`.
    pub fn new(shows: bool) -> Self {
        Self { bar: ProgressBar::hidden(), started: Instant::now(), waits: AtomicBool::new(shows) }
    }

    fn show_when_late(&self) {
        let is_late = self.started.elapsed() > PATIENCE;
        if is_late && self.waits.swap(false, Ordering::Relaxed) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    fn set_style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }
}

impl Progress for Bar {
    fn scanning(&self, found: u64) {
        if self.bar.position() == 0 {
            self.set_style("looking for logs: {pos} entries");
        }
        self.bar.set_position(found);
        self.show_when_late();
    }

    fn start(&self, total_bytes: u64) {
        self.set_style("reading logs {wide_bar} {bytes} of {total_bytes}, {eta} left");
        self.bar.set_length(total_bytes);
        self.bar.set_position(0);
        self.bar.reset_eta();
        self.show_when_late();
    }

    fn advance(&self, read_bytes: u64) {
        self.bar.set_position(read_bytes);
        self.show_when_late();
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
