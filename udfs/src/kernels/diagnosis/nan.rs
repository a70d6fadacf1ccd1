//! Values that are not finite.

use super::finding::{Episode, Level};
use serde::{Deserialize, Serialize};

/// Finds a loss or gradient norm that is not finite. Its state is a handful of numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NonFinite {
    /// Rows in a row from which on it is an error.
    patience: u64,
    /// The stretch that is open, or was the last: its first row, and its length.
    stretch_step: i64,
    stretch_rows: u64,
    is_open: bool,
    /// The first stretch that was long enough, with the newest row that was not finite.
    broken: Option<Episode>,
    /// Rows of stretches that were too short: steps of the first and the last, count.
    skipped: Option<(i64, i64, u64)>,
}

impl NonFinite {
    /// For a loss, whose first value that is not finite counts.
    pub fn of_loss() -> Self {
        Self::new(1)
    }

    /// For a gradient norm: a loss scaler tries out how large it can be, and skips a row or two.
    pub fn of_grad_norm() -> Self {
        Self::new(3)
    }

    fn new(patience: u64) -> Self {
        Self { patience, stretch_step: 0, stretch_rows: 0, is_open: false, broken: None, skipped: None }
    }

    /// Takes a row.
    pub fn push(&mut self, step: i64, value: f64) {
        if value.is_finite() {
            self.close();
            return;
        }
        if !self.is_open {
            (self.is_open, self.stretch_step, self.stretch_rows) = (true, step, 0);
        }
        self.stretch_rows += 1;
        if self.stretch_rows >= self.patience {
            self.go_on(step, value);
        }
    }

    fn go_on(&mut self, step: i64, value: f64) {
        // Those before it in the same stretch count as well.
        let rows = if self.stretch_rows == self.patience { self.patience } else { 1 };
        let broken = self.broken.get_or_insert(Episode {
            level: Level::Error,
            step: self.stretch_step,
            end_step: None,
            detected_step: step,
            value,
            baseline: f64::NAN,
            score: f64::NAN,
            rows: 0,
        });
        broken.rows += rows;
        broken.end_step = Some(step);
    }

    fn close(&mut self) {
        if self.is_open && self.stretch_rows < self.patience {
            let last = self.stretch_step;
            let (first, _, rows) = self.skipped.unwrap_or((last, last, 0));
            self.skipped = Some((first, last, rows + self.stretch_rows));
        }
        self.is_open = false;
    }

    /// Newest rows that are not finite.
    pub fn trailing_rows(&self) -> u64 {
        if self.is_open { self.stretch_rows } else { 0 }
    }

    /// What there is to say: one error from the first row on, or one line on the rows that were skipped.
    pub fn episode(&self) -> Option<Episode> {
        let is_on = self.is_open && self.stretch_rows >= self.patience;
        let broken =
            self.broken.map(|broken| Episode { end_step: broken.end_step.filter(|_| !is_on), ..broken });
        broken.or_else(|| {
            let (step, last, rows) = self.skipped?;
            Some(Episode {
                level: Level::Info,
                step,
                end_step: Some(last),
                detected_step: step,
                value: f64::INFINITY,
                baseline: f64::NAN,
                score: f64::NAN,
                rows,
            })
        })
    }
}
