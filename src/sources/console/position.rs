//! Where a row stands in the training: an epoch and a place in it are a step of the run, and what a
//! line says of its place holds for the lines below it.

use super::dialect::{Count, Row};
use super::general::is_place;
use super::names;
use crate::sources::parse::axis;
use crate::sources::parse::json::Json;
use serde::{Deserialize, Serialize};

/// A bare line belongs to a row or a header that is no farther above.
const MAX_LINES_BELOW: u32 = 20;

/// No training has so many epochs.
const MAX_EPOCHS: i64 = 1_000_000;

/// So many names are remembered.
const MAX_NAMES: usize = 64;

/// What the lines so far say of the place of the next one.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// Whether a row told its place.
    has_step: bool,
    /// The place told on a line of its own.
    header: Option<Header>,
    /// The split told on a line of its own.
    split: Option<String>,
    /// Lines since the last row or header.
    lines: u32,
    /// Whether the line above speaks of another step: what it announces is said again.
    is_aside: bool,
    /// The last step that a number at the start of a line told.
    leading: Option<i64>,
    /// Names in the rows of the loop at hand, as hashes.
    names: Vec<u64>,
    /// Whether epochs count from 0.
    from_zero: bool,
    /// Whether batches were counted from 0, and up to their total.
    has_first: bool,
    has_full: bool,
    /// Whether counts of so many count the whole run.
    is_whole: bool,
    /// The loop at hand: its epoch, the step before it, and the last place in it.
    epoch: Option<i64>,
    base: i64,
    done: i64,
    total: Option<i64>,
}

/// A place told on a line of its own.
#[derive(Clone, Serialize, Deserialize)]
struct Header {
    epoch: Option<i64>,
    step: Option<i64>,
    epochs: Option<i64>,
    /// Whether no row told a place of its own since.
    is_last: bool,
}

impl Position {
    /// Notes that a line was printed.
    pub fn pass_line(&mut self) {
        self.lines = self.lines.saturating_add(1);
    }

    /// Gives a row its place; false where it has none, or is no row.
    pub fn settle(&mut self, row: &mut Row<'_>) -> bool {
        let is_said_again = std::mem::take(&mut self.is_aside) && self.lines <= 1;
        if row.place.is_aside {
            (self.is_aside, self.lines) = (true, 0);
            return false;
        }
        if row.place.is_header {
            self.head(row);
            return false;
        }
        if is_said_again && self.goes_back(row) {
            return false;
        }
        if self.is_other_loop(row) {
            return false;
        }
        self.leave_count(row);
        if row.needs_step {
            return self.below(row);
        }
        self.fold(row);
        self.note(row);
        true
    }

    /// Whether the number at the start of a line is below that of the line before.
    fn goes_back(&self, row: &Row<'_>) -> bool {
        row.place.is_leading && whole(row, "iter").zip(self.leading).is_some_and(|(now, last)| now <= last)
    }

    fn head(&mut self, row: &mut Row<'_>) {
        self.lines = 0;
        self.split = row.place.split.map(str::to_string);
        if row.fields.is_empty() {
            return;
        }
        self.leave_count(row);
        self.fold(row);
        let step =
            row.fields.iter().filter(|(key, _)| key != "epoch").find_map(|(_, value)| axis::step_of(value));
        let epoch = whole(row, "epoch");
        if epoch.is_some() || step.is_some() {
            self.header = Some(Header { epoch, step, epochs: row.place.epochs, is_last: true });
        }
    }

    /// A count that is no place in the training: that of a validation.
    fn leave_count(&self, row: &mut Row<'_>) {
        let is_eval = row.place.split.is_some_and(|split| split != "train");
        if let Some(count) = row.place.count.filter(|count| is_eval && self.total != Some(count.total)) {
            row.fields.retain(|(key, _)| key != count.field);
            row.place.count = None;
            row.needs_step = !row.fields.iter().any(|(key, _)| is_place(key));
        }
    }

    /// Whether a row is of another loop than that of training, without a name that says so.
    fn is_other_loop(&self, row: &Row<'_>) -> bool {
        let Some(count) = row.place.count.filter(|_| row.place.split.is_none()) else { return false };
        let epoch = whole(row, "epoch").or(self.header.as_ref().and_then(|header| header.epoch));
        let is_over = self.total.is_some_and(|total| self.done >= total && total != count.total);
        let goes_on = self.total.is_some_and(|total| count.total > total && count.done > self.done);
        count.is_inner && epoch == self.epoch && is_over && !goes_on
    }

    /// A row without a place belongs to the header or the row above it.
    fn below(&mut self, row: &mut Row<'_>) -> bool {
        if row.place.is_bare && self.lines > MAX_LINES_BELOW {
            return false;
        }
        if let Some(split) = self.split.as_deref().filter(|_| row.place.split.is_none()) {
            for (key, _) in &mut row.fields {
                *key = names::of_split(Some(split), key).into_owned().into();
            }
            row.place.is_bare = false;
        }
        if let Some(header) = self.header.as_ref().filter(|header| header.is_last) {
            let step = header.step.map(|step| ("step".into(), Json::Number(step as f64, b"")));
            let epoch = header.epoch.map(|epoch| ("epoch".into(), Json::Number(epoch as f64, b"")));
            row.fields.splice(0..0, epoch.into_iter().chain(step));
            row.needs_step = false;
            self.has_step = true;
            self.lines = 0;
        } else if row.place.is_bare {
            // What the rows above said of their steps is not said anew by a line without a place.
            row.fields.retain(|(key, _)| !self.names.contains(&axis::hash_of(key.as_bytes())));
        }
        self.has_step && !row.fields.is_empty()
    }

    /// Remembers a row that told its place.
    fn note(&mut self, row: &Row<'_>) {
        (self.has_step, self.lines, self.split) = (true, 0, None);
        if row.place.is_leading {
            self.leading = whole(row, "iter");
        }
        if let Some(header) = &mut self.header {
            header.is_last = false;
            let epoch = whole(row, "epoch");
            if epoch.is_some() && epoch != header.epoch {
                self.header = None;
            }
        }
        if row.place.count.is_some() {
            self.names.clear();
        }
        for (key, _) in row.fields.iter().filter(|(key, _)| !is_place(key)) {
            let name = axis::hash_of(key.as_bytes());
            if self.names.len() < MAX_NAMES && !self.names.contains(&name) {
                self.names.push(name);
            }
        }
    }

    /// Turns an epoch and a count of so many into a step of the run.
    fn fold(&mut self, row: &mut Row<'_>) {
        let Some(count) = row.place.count else { return };
        let has_other = |field: &str| count.field != field && row.fields.iter().any(|(key, _)| key == field);
        if has_other("global_step") || has_other("step") {
            if count.is_inner {
                row.fields.retain(|(key, _)| key != count.field);
            }
            return;
        }
        if count.total <= 0 || count.done > count.total {
            return;
        }
        let header = self.header.clone();
        let epochs = row.place.epochs.or(header.as_ref().and_then(|header| header.epochs));
        let has_epoch = row.fields.iter().any(|(key, _)| key == "epoch");
        let epoch = if has_epoch { whole(row, "epoch") } else { header.and_then(|header| header.epoch) };
        let step = match epoch.filter(|_| count.field != "global_step") {
            Some(epoch) => self.step_of_epoch(row, epoch, epochs, count),
            // A part of an epoch: the count is one of the run.
            None if has_epoch => count.done,
            None if count.is_inner => self.step_of_cycle(row, count),
            None => {
                row.planned_steps = Some(count.total);
                count.done
            }
        };
        self.enter(count);
        set(row, count.field, step);
        if let (false, Some(epoch)) = (has_epoch, epoch) {
            row.fields.insert(0, ("epoch".into(), Json::Number(epoch as f64, b"")));
        }
    }

    fn step_of_epoch(&mut self, row: &mut Row<'_>, epoch: i64, epochs: Option<i64>, count: Count) -> i64 {
        let step = self.step_in(epoch, count);
        row.planned_steps = if self.is_whole { Some(count.total) } else { planned(epochs, count) };
        step
    }

    fn enter(&mut self, count: Count) {
        self.has_first |= count.done == 0;
        self.has_full |= count.done == count.total;
        (self.done, self.total) = (count.done, Some(count.total));
    }

    /// The step of a place in an epoch. Counts from 0 up to the total have one step more.
    fn step_in(&mut self, epoch: i64, count: Count) -> i64 {
        self.from_zero |= epoch == 0;
        let extra = i64::from(self.has_first && self.has_full);
        let epochs_before = epoch - i64::from(!self.from_zero);
        match (self.epoch, self.total) {
            (Some(before), _) if before == epoch => {}
            (Some(before), Some(total)) if epoch > before => {
                self.is_whole = !count.is_inner && count.done > self.done;
                self.base =
                    self.base.saturating_add((epoch - before).saturating_mul(total.saturating_add(extra)));
            }
            _ => self.base = epochs_before.saturating_mul(count.total.saturating_add(extra)),
        }
        self.epoch = Some(epoch);
        if self.is_whole { count.done } else { self.base.saturating_add(count.done) }
    }

    /// The step of a count that begins anew where nothing tells the epoch.
    fn step_of_cycle(&mut self, row: &Row<'_>, count: Count) -> i64 {
        let known = |key: &str| self.names.contains(&axis::hash_of(key.as_bytes()));
        let is_again =
            count.done < self.done || row.fields.iter().any(|(key, _)| !is_place(key) && known(key));
        if let Some(total) = self.total.filter(|total| self.done >= *total && is_again) {
            let extra = i64::from(self.has_first && self.has_full);
            self.base = self.base.saturating_add(total).saturating_add(extra);
        }
        self.base.saturating_add(count.done)
    }
}

/// The steps of all epochs.
fn planned(epochs: Option<i64>, count: Count) -> Option<i64> {
    epochs?.checked_mul(count.total)
}

/// The whole number in a field that may be an epoch.
fn whole(row: &Row<'_>, field: &str) -> Option<i64> {
    let (_, value) = row.fields.iter().find(|(key, _)| key == field)?;
    axis::step_of(value).filter(|number| (0..MAX_EPOCHS).contains(number))
}

fn set(row: &mut Row<'_>, field: &str, step: i64) {
    for (key, value) in &mut row.fields {
        if key == field {
            *value = Json::Number(step as f64, b"");
        }
    }
}
