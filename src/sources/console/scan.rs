//! Finds names and numbers in a printed line: `epoch 3/10 | train loss: 2.5, lr=1e-3 [100/500]`.

use crate::sources::parse::json::parse_number_like;

/// Names of more words are sentences.
const MAX_WORDS: usize = 4;

/// A number with its name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Item<'t> {
    /// The words before it; none for a count in brackets.
    pub key: &'t str,
    /// The word that ended with `:` before the name, such as `Train:`.
    pub label: &'t str,
    /// As written, without its unit.
    pub value: &'t str,
    /// `10` of `3/10`.
    pub total: Option<&'t str>,
    /// Whether `:` or `=` stands between name and number.
    pub is_assigned: bool,
    /// Whether it stands apart: between commas, bars, or the ends of the line.
    pub is_apart: bool,
}

/// What a bar of tqdm shows: the words before it, the count, and the items behind it.
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
    let tail = inner.splitn(3, ", ").nth(2).unwrap_or_default();
    let head = before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
    let is_count = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    (is_count(done) && is_count(total)).then_some(Bar { head, done, total, tail })
}

/// Finds the items of a line.
pub fn items(text: &str) -> Vec<Item<'_>> {
    let mut scan = Scan { text, ..Scan::default() };
    while let Some(c) = scan.rest().chars().next() {
        scan.step(c);
    }
    scan.items
}

#[derive(Default)]
struct Scan<'t> {
    text: &'t str,
    at: usize,
    /// Where the name at hand begins and ends.
    key: Option<(usize, usize)>,
    words: usize,
    label: &'t str,
    is_assigned: bool,
    /// Whether the name at hand began behind a comma, a bar or a number.
    is_fresh: bool,
    /// Whether nothing but white space came since such a place.
    at_start: bool,
    items: Vec<Item<'t>>,
}

impl<'t> Scan<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn step(&mut self, c: char) {
        match c {
            _ if c.is_whitespace() && c != '\t' => self.at += c.len_utf8(),
            ',' | '|' | ';' | '\t' => {
                self.end_key();
                self.at += 1;
            }
            ':' | '=' => self.assign(),
            '[' | '(' | '{' => self.open(c),
            '\'' | '"' | ']' | ')' | '}' => self.at += 1,
            _ if self.is_number() => self.number(),
            _ if c.is_alphabetic() || "_@#/".contains(c) => self.word(),
            _ => {
                self.end_key();
                self.at += c.len_utf8();
            }
        }
    }

    fn end_key(&mut self) {
        (self.key, self.words, self.is_assigned, self.at_start) = (None, 0, false, true);
    }

    fn key_text(&self) -> &'t str {
        self.key.and_then(|(start, end)| self.text.get(start..end)).unwrap_or_default()
    }

    fn assign(&mut self) {
        self.is_assigned = self.key.is_some();
        self.at += 1;
    }

    fn word(&mut self) {
        let rest = self.rest();
        let ends = |c: char| c.is_whitespace() || ",|;:=()[]{}'\"".contains(c);
        let end = rest.find(ends).unwrap_or(rest.len()).max(1);
        if self.is_assigned {
            // `Train: loss 0.5`: what was a name is the label of what follows.
            self.label = self.key_text();
            (self.key, self.words, self.is_assigned, self.at_start) = (None, 0, false, true);
        }
        let (start, _) = self.key.unwrap_or((self.at, self.at));
        if self.key.is_none() {
            self.is_fresh = std::mem::take(&mut self.at_start) || self.at == 0;
        }
        self.at += end;
        self.key = Some((start, self.at));
        self.words += 1;
    }

    /// `[100/500]` is a count, `[3]` a number, `(ms)` a part of the name; `(0.5 avg)` is passed over.
    fn open(&mut self, c: char) {
        let close = match c {
            '[' => ']',
            '(' => ')',
            _ => '}',
        };
        let inner = self.rest().get(1..).and_then(|rest| rest.split_once(close)).map(|(inner, _)| inner);
        let count = inner.filter(|_| c == '[').and_then(count);
        self.at += 1;
        if let (Some((done, total)), Some(inner)) = (count, inner) {
            if total.is_some() || self.key.is_some() {
                self.push(done, total, true);
                self.at += inner.len() + 1;
            }
        } else if c == '('
            && let Some(inner) = inner
        {
            let is_unit = !inner.contains(|c: char| c.is_ascii_digit() || "(:=,".contains(c));
            self.at += inner.len() + 1;
            if let (Some((start, _)), true) = (self.key, is_unit && !self.is_assigned) {
                self.key = Some((start, self.at));
            }
        } else if self.key.is_some() {
            self.end_key();
        }
    }

    fn is_number(&self) -> bool {
        let mut chars = self.rest().chars();
        let first = chars.next().unwrap_or_default();
        let second = chars.next().unwrap_or_default();
        match first {
            '0'..='9' => true,
            '-' | '+' | '.' => {
                second.is_ascii_digit() || (first != '.' && "in".contains(second) && self.is_non_finite())
            }
            'n' | 'N' | 'i' | 'I' => self.key.is_some() && self.is_non_finite(),
            _ => false,
        }
    }

    fn is_non_finite(&self) -> bool {
        let word = self.token().trim_start_matches(['+', '-']).to_ascii_lowercase();
        matches!(word.trim_end_matches('%'), "nan" | "inf" | "infinity")
    }

    /// The characters up to the next end of a number.
    fn token(&self) -> &'t str {
        let rest = self.rest();
        let is_thousands = |at: usize| {
            let digits = rest.get(at + 1..at + 4);
            digits.is_some_and(|digits| digits.bytes().all(|c| c.is_ascii_digit()))
                && !rest.as_bytes().get(at + 4).is_some_and(u8::is_ascii_digit)
                && at > 0
                && rest.as_bytes().get(at - 1).is_some_and(u8::is_ascii_digit)
        };
        let ends = |(at, c): (usize, char)| match c {
            ',' => !is_thousands(at),
            _ => c.is_whitespace() || "|;)]}(['\"".contains(c),
        };
        let end = rest.char_indices().find(|found| ends(*found)).map_or(rest.len(), |(at, _)| at);
        rest.get(..end.max(1)).unwrap_or(rest)
    }

    fn number(&mut self) {
        let token = self.token();
        self.at += token.len();
        let (value, unit) = number(token);
        match unit {
            _ if value.is_empty() => self.end_key(),
            // `iter 10: loss ...`
            ":" => self.push(value, None, true),
            _ if unit.starts_with('/') => match count(token.trim_end_matches(':')) {
                Some((done, total @ Some(_))) => self.push(done, total, true),
                _ if is_unit(unit) => self.push_measured(value),
                _ => self.end_key(),
            },
            _ if is_unit(unit) => self.push_measured(value),
            _ => self.end_key(),
        }
    }

    fn push_measured(&mut self, value: &'t str) {
        let next = self.rest().trim_start_matches(' ');
        let is_end = next.is_empty() || next.starts_with([',', '|', ';', '\t', ']', ')', '-']);
        self.push(value, None, is_end);
    }

    fn push(&mut self, value: &'t str, total: Option<&'t str>, is_end: bool) {
        let (key, is_fresh) = (self.key_text(), self.is_fresh);
        if (self.key.is_some() || total.is_some()) && self.words <= MAX_WORDS {
            let is_apart = is_fresh && is_end;
            let item = Item { key, label: self.label, value, total, is_assigned: self.is_assigned, is_apart };
            self.items.push(item);
        }
        self.end_key();
    }
}

/// Number and unit: `12.30ms`, `5%`, `1,024`; the number is empty where there is none.
fn number(token: &str) -> (&str, &str) {
    if !token.contains(|c: char| c.is_ascii_digit()) {
        let end = token.find(['%', ':']).unwrap_or(token.len());
        return token.split_at(end);
    }
    let bytes = token.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut end = usize::from(bytes.first().is_some_and(|c| b"+-".contains(c)));
    let mut seen_dot = false;
    while digit(end)
        || (!seen_dot && bytes.get(end) == Some(&b'.'))
        || (bytes.get(end) == Some(&b',') && digit(end + 1))
    {
        seen_dot |= bytes.get(end) == Some(&b'.');
        end += 1;
    }
    if bytes.get(end).is_some_and(|c| b"eE".contains(c)) {
        let sign = usize::from(bytes.get(end + 1).is_some_and(|c| b"+-".contains(c)));
        if digit(end + 1 + sign) {
            end += 1 + sign;
            while digit(end) {
                end += 1;
            }
        }
    }
    token.split_at(end)
}

/// Letters that say what is counted: `ms`, `%`, `it/s`, `K`. Digits make it something else.
fn is_unit(unit: &str) -> bool {
    let unit = unit.trim_end_matches(['.', ':']);
    unit.len() <= 12 && unit.chars().all(|c| c.is_alphabetic() || "%/µ".contains(c)) && !unit.starts_with('/')
}

/// `100/500`, with spaces and a percentage; `3`.
fn count(text: &str) -> Option<(&str, Option<&str>)> {
    let is_count =
        |text: &str| !text.is_empty() && text.len() <= 18 && text.bytes().all(|c| c.is_ascii_digit());
    let text = text.trim();
    if is_count(text) {
        return Some((text, None));
    }
    let (done, total) = text.split_once('/')?;
    let total = total.trim_start();
    let total = total.split([' ', '(']).next()?;
    let done = done.trim_end();
    (is_count(done) && is_count(total)).then_some((done, Some(total)))
}

/// The number of an item, thousands and the factor `K`, `M`, `G` left out of account.
pub fn value(text: &str) -> Option<f64> {
    if text.contains(',') { parse_number_like(&text.replace(',', "")) } else { parse_number_like(text) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        let show = |item: &Item<'_>| {
            let total = item.total.map_or(String::new(), |total| format!("/{total}"));
            let label = if item.label.is_empty() { String::new() } else { format!("{}:", item.label) };
            let sign = if item.is_assigned {
                "="
            } else if item.is_apart {
                " "
            } else {
                "~"
            };
            format!("{label}{}{sign}{}{total}", item.key, item.value)
        };
        items(text).iter().map(show).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn items_of_a_line() {
        for (line, wanted) in [
            (
                "epoch 3/10 | train loss: 2.5, lr=1e-3 [100/500]",
                "epoch 3/10; train loss=2.5; lr=1e-3;  100/500",
            ),
            ("step    10 | loss: 6.5 | lr 3.0e-4 | dt: 120.3ms | tok/sec: 4232.5", {
                "step 10; loss=6.5; lr 3.0e-4; dt=120.3; tok/sec=4232.5"
            }),
            ("iter 10: loss nan, time 12.30ms, mfu -100.00%", "iter 10; loss nan; time 12.30; mfu -100.00"),
            ("Train Epoch: 1 [640/60000 (1%)]\tLoss: 2.300", "Train Epoch=1;  640/60000; Loss=2.300"),
            ("Epoch: [3][ 10/5005]  Time  0.5 ( 1.2)  Loss 6.9e+00 (7.0e+00) Acc@1 0.39 (0.2)", {
                "Epoch=3;  10/5005; Time~0.5; Loss~6.9e+00; Acc@1~0.39"
            }),
            ("Train: loss 0.5 acc 0.9 | Val: loss 0.6", "Train:loss~0.5; Train:acc 0.9; Val:loss 0.6"),
            ("tokens: 16,384, a=1,2", "tokens=16,384; a=1"),
            ("2024-01-02 took 00:12:03 v1.2.3 10.0.0.1 0x1f", ""),
            ("GET /a?step=1&loss=2 HTTP/1.1", ""),
            ("elapsed time per iteration (ms): 12.5", "elapsed time per iteration (ms)=12.5"),
            ("'loss': -inf, \"acc\": .5", "loss=-inf; acc=.5"),
            ("this is a long sentence about loss 3", ""),
            ("[3] x", ""),
        ] {
            assert_eq!(shown(line), wanted, "{line}");
        }
    }

    #[test]
    fn bars_of_progress() {
        let line = "Epoch 3:  45%|████▌     | 450/1000 [00:12<00:15, 35.2it/s, loss=0.52, lr=1e-4]";
        let wanted = Bar { head: "Epoch 3:", done: "450", total: "1000", tail: "loss=0.52, lr=1e-4" };
        assert_eq!(bar(line), Some(wanted));
        assert_eq!(bar(" 10%|# | 1/10 [00:01<?, ?it/s]").unwrap().tail, "");
        for line in ["10%", "10%|", "10%|#| x/y [", "50%|a|b"] {
            assert_eq!(bar(line), None);
        }
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in "\\PC*", code in "[a-c:=,|\\[\\]()0-9./% é-]*") {
            for text in [text, code] {
                items(&text);
                bar(&text);
            }
        }
    }
}
