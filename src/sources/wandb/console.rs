//! Console output from raw `write()` fragments: joined per stream into lines, progress bars
//! resolved to their last state.

use crate::sources::parse::terminal::{last_state, shown};
use serde::{Deserialize, Serialize};

/// Longest unfinished line that is remembered; a longer one is given out in pieces.
const MAX_BYTES: usize = 64 * 1024;

/// The unfinished line of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Pending(String);

impl Pending {
    /// Adds a fragment and gives out every line that ends in it.
    pub(super) fn push(&mut self, fragment: &str, line: &mut dyn FnMut(String)) {
        let mut rest = fragment;
        while let Some((head, tail)) = rest.split_once('\n') {
            self.0.push_str(head);
            line(shown(&std::mem::take(&mut self.0)));
            rest = tail;
        }
        self.0.push_str(rest);
        if self.0.contains('\r') {
            self.0.drain(..last_state(&self.0).0);
        }
        if self.0.len() > MAX_BYTES {
            line(shown(&std::mem::take(&mut self.0)));
        }
    }

    /// Gives out what is left, when nothing more will follow.
    pub(super) fn finish(&mut self, line: &mut dyn FnMut(String)) {
        if !self.0.is_empty() {
            line(shown(&std::mem::take(&mut self.0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(fragments: &[&str]) -> Vec<String> {
        let mut pending = Pending::default();
        let mut found = Vec::new();
        for fragment in fragments {
            pending.push(fragment, &mut |line| found.push(line));
        }
        pending.finish(&mut |line| found.push(line));
        found
    }

    #[test]
    fn joins_fragments_and_keeps_the_last_state_of_a_progress_bar() {
        assert_eq!(lines(&["a", "b", "\n", "", "c\nd"]), ["ab", "c", "d"]);
        assert_eq!(lines(&["\r 10%", "\r 50%", "\r100%", "\n"]), ["100%"]);
        assert_eq!(lines(&["half\r", "\n", "x\r\n"]), ["half", "x"]);
    }

    #[test]
    fn an_endless_line_is_given_out_in_pieces() {
        let long = "x".repeat(MAX_BYTES + 1);
        assert_eq!(lines(&[&long, "y\n"]), [long.as_str(), "y"]);
    }
}
