//! The lines that MMEngine and mmcv 1.x print: `Epoch(train)  [1][ 50/1000]  lr: 1.0000e-02  ...`.

/// A line of progress or of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress<'l> {
    /// What was at work.
    pub mode: Mode,
    /// The epoch, 1-based, in loops that count epochs.
    pub epoch: Option<i64>,
    /// The iteration: inside the epoch where there is one.
    pub iter: i64,
    /// Iterations of the epoch; of the run where there is no epoch.
    pub total: Option<i64>,
    /// Names and values.
    pub items: Vec<(&'l str, &'l str)>,
}

/// What was at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Training.
    Train,
    /// Validation.
    Val,
    /// Test.
    Test,
}

impl Progress<'_> {
    /// The training step, where the line tells one.
    pub fn step(&self) -> Option<i64> {
        match (self.mode, self.epoch) {
            (Mode::Train, None) => Some(self.iter),
            (Mode::Train, Some(epoch)) => {
                Some(epoch.checked_sub(1)?.checked_mul(self.total?)?.checked_add(self.iter)?)
            }
            _ => None,
        }
    }

    /// Whether the line tells how far validation is, and no results.
    pub fn is_underway(&self) -> bool {
        self.mode != Mode::Train && self.items.iter().any(|(key, _)| *key == "eta")
    }

    /// Names and numbers. Those of tests bear their prefix.
    pub fn metrics(&self) -> impl Iterator<Item = (String, f64, &str)> {
        let prefix = if self.mode == Mode::Test { "test/" } else { "" };
        self.items.iter().filter(|(key, _)| *key != "eta").filter_map(move |(key, value)| {
            let prefix = if key.starts_with("test/") { "" } else { prefix };
            let number = crate::sources::parse::json::parse_number_like(value)?;
            Some((format!("{prefix}{key}"), number, *value))
        })
    }
}

/// Reads a message without the time and the logger before it.
pub fn progress(message: &str) -> Option<Progress<'_>> {
    let (is_epoch, rest) = match message.strip_prefix("Epoch") {
        Some(rest) => (true, rest),
        None => (false, message.strip_prefix("Iter")?),
    };
    let (mode, rest) = mode(rest)?;
    let (first, rest) = bracket(rest)?;
    let second = bracket(rest);
    let (epoch, (counts, rest)) = match second {
        Some(second) if is_epoch => (Some(first.trim().parse().ok()?), second),
        _ if is_epoch && mode == Mode::Train => return None,
        _ => (None, (first, rest)),
    };
    let (iter, total) = match counts.split_once('/') {
        Some((iter, total)) => (iter, Some(total.trim().parse().ok()?)),
        None => (counts, None),
    };
    let iter = iter.trim().parse().ok()?;
    let items = items(rest);
    (!items.is_empty()).then_some(Progress { mode, epoch, iter, total, items })
}

fn mode(text: &str) -> Option<(Mode, &str)> {
    for (word, mode) in [("(train)", Mode::Train), ("(val)", Mode::Val), ("(test)", Mode::Test)] {
        if let Some(rest) = text.strip_prefix(word) {
            return Some((mode, rest));
        }
    }
    text.starts_with([' ', '[']).then_some((Mode::Train, text))
}

fn bracket(text: &str) -> Option<(&str, &str)> {
    text.trim_start().strip_prefix('[')?.split_once(']')
}

/// `name: value`, between white space or commas; a value may be `1 day, 2:03:04`.
fn items(text: &str) -> Vec<(&str, &str)> {
    let mut items = Vec::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let Some(key) = word.strip_suffix(':').filter(|key| !key.is_empty()) else { continue };
        let Some(value) = words.next() else { break };
        items.push((key, value.trim_end_matches(',')));
    }
    items
}

/// Whether a line begins as these loggers begin theirs: `<time> - <name> - <LEVEL> - `.
pub fn is_prefixed(line: &str) -> bool {
    let parts: Vec<&str> = line.splitn(4, " - ").collect();
    let is_level = |word: &&str| ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"].contains(word);
    parts.len() == 4
        && parts.get(2).is_some_and(is_level)
        && crate::sources::parse::prefix::split(line).time.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn lines_of_all_versions() {
        for (line, step, epoch, count, underway) in [
            (
                "Epoch(train)  [2][ 50/1000]  lr: 1.0000e-02  eta: 0:10:20  loss: nan",
                Some(1050),
                Some(2),
                2,
                false,
            ),
            (
                "Epoch(train) [1][50/1000]  base_lr: 1e-2 lr: 2e-2  eta: 1 day, 2:03:04  loss: 1",
                Some(50),
                Some(1),
                3,
                false,
            ),
            (
                "Epoch(val)  [1][ 5/20]    eta: 0:00:00  time: 0.0029  data_time: 0.0003",
                None,
                Some(1),
                2,
                true,
            ),
            ("Epoch(val) [1][20/20]    coco/bbox_mAP: 0.3450  time: 0.0011", None, Some(1), 2, false),
            ("Epoch(test) [1000/1000]    acc: 0.5", None, None, 1, false),
            ("Iter(train) [  50/30000]  lr: 1e-2  loss: 1", Some(50), None, 2, false),
            (
                "Epoch [3][50/100]\tlr: 2.000e-02, eta: 1:02:03, time: 0.5, loss: 1.2",
                Some(250),
                Some(3),
                3,
                false,
            ),
            ("Epoch(val) [3][20]\tbbox_mAP: 0.3, bbox_mAP_copypaste: 0.1 0.2", None, Some(3), 2, false),
            ("Iter [50/30000]\tlr: 1e-2, loss: 1", Some(50), None, 2, false),
        ] {
            let found = progress(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((found.step(), found.epoch), (step, epoch), "{line}");
            assert_eq!((found.metrics().count(), found.is_underway()), (count, underway), "{line}");
        }
        for line in [
            "Epoch 3/10",
            "Epoch(train)",
            "Epoch(train) [1]",
            "Iteration 3",
            "Epoch [x][1/2] a: 1",
            "Iter [1/2]",
        ] {
            assert_eq!(progress(line), None, "{line}");
        }
        let far = format!("Epoch(train) [{}][1/{}] a: 1", i64::MAX, i64::MAX);
        assert_eq!(progress(&far).unwrap().step(), None);
    }
}
