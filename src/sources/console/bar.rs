//! Bars of progress as tqdm draws them.

/// What a bar shows: the words before it, the count, and the items behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar<'t> {
    /// Before the percentage.
    pub head: &'t str,
    /// Done so far.
    pub done: &'t str,
    /// Of so many.
    pub total: &'t str,
    /// In the brackets, behind time and rate.
    pub tail: &'t str,
}

/// Reads `Epoch 3:  45%|####  | 450/1000 [00:12<00:15, 35.2it/s, loss=0.52]`.
pub fn bar(line: &str) -> Option<Bar<'_>> {
    let (before, rest) = line.split_once("%|")?;
    let (_, rest) = rest.split_once('|')?;
    let (count, rest) = rest.split_once('[')?;
    let (done, total) = count.trim().split_once('/')?;
    let inner = rest.rsplit_once(']').map_or(rest, |(inner, _)| inner);
    // Behind the time come the rate, if it is told, and what the script shows.
    let mut tail = inner.split_once(", ").map(|(_, tail)| tail).unwrap_or_default();
    if !tail.split(", ").next().is_some_and(|first| first.contains('=')) {
        tail = tail.split_once(", ").map(|(_, tail)| tail).unwrap_or_default();
    }
    let head = before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
    let is_count = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    (is_count(done) && is_count(total)).then_some(Bar { head, done, total, tail })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn bars_of_progress() {
        let line = "Epoch 3:  45%|████▌     | 450/1000 [00:12<00:15, 35.2it/s, loss=0.52, lr=1e-4]";
        let wanted = Bar { head: "Epoch 3:", done: "450", total: "1000", tail: "loss=0.52, lr=1e-4" };
        assert_eq!(bar(line), Some(wanted));
        assert_eq!(bar(" 10%|# | 1/10 [00:01<?, ?it/s]").unwrap().tail, "");
        assert_eq!(bar("1%|| 1/9 [00:01<00:02, v_num=0, loss=2]").unwrap().tail, "v_num=0, loss=2");
        for line in ["10%", "10%|", "10%|#| x/y [", "50%|a|b"] {
            assert_eq!(bar(line), None);
        }
    }
}
