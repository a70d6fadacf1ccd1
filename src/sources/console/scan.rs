//! Parts a printed line into names with numbers, and other words:
//! `epoch 3/10 | train loss: 2.5, lr=1e-3 [100/500]`.

use super::{names, value};
use crate::sources::parse::python::NUMBER_TYPES;

/// Names of more words are sentences.
const MAX_WORDS: usize = 4;

/// A part of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Piece<'t> {
    /// A number with its name.
    Item(Item<'t>),
    /// Words without a number.
    Words(&'t str),
}

/// A number with its name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Item<'t> {
    /// The words before it; none for a count in brackets, and for a number at the start of the line.
    pub key: &'t str,
    /// As written, without its unit.
    pub value: &'t str,
    /// Its unit, as written.
    pub unit: &'t str,
    /// `10` of `3/10`.
    pub total: Option<&'t str>,
    /// Whether `:` or `=` stands between name and number.
    pub is_assigned: bool,
    /// Whether it stands apart: between commas, bars, or the ends of the line.
    pub is_apart: bool,
}

/// Parts a line.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut scan = Scan { text, ..Scan::default() };
    while let Some(c) = scan.rest().chars().next() {
        scan.step(c);
    }
    scan.end_key();
    scan.pieces
}

#[derive(Default)]
struct Scan<'t> {
    text: &'t str,
    at: usize,
    /// Where the name at hand begins and ends.
    key: Option<(usize, usize)>,
    words: usize,
    is_assigned: bool,
    /// Whether the name at hand began behind a comma, a bar or a number.
    is_fresh: bool,
    /// Whether nothing but white space came since such a place.
    at_start: bool,
    pieces: Vec<Piece<'t>>,
}

impl<'t> Scan<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn behind(&self, count: usize) -> &'t str {
        self.rest().get(count..).unwrap_or_default()
    }

    fn step(&mut self, c: char) {
        match c {
            _ if c.is_whitespace() && c != '\t' => self.at += c.len_utf8(),
            ':' | '=' | '：' => {
                self.is_assigned = self.key.is_some();
                self.at += c.len_utf8();
            }
            '[' | '(' | '{' => self.open(c),
            '\'' | '"' => self.at += 1,
            '±' => self.pass_number(c.len_utf8()),
            '#' if self.behind(1).starts_with(|c: char| c.is_ascii_digit()) => self.at += 1,
            '/' if !self.behind(1).starts_with(char::is_alphanumeric) => self.pass_number(1),
            _ if self.is_number() => self.number(),
            _ if c.is_alphabetic() || "_@#/".contains(c) => self.word(),
            _ => {
                self.end_key();
                self.at += c.len_utf8();
            }
        }
    }

    /// Ends the name at hand: without a number it is other words.
    fn end_key(&mut self) {
        if self.key.is_some() {
            self.pieces.push(Piece::Words(self.key_text()));
        }
        self.drop_key();
    }

    fn drop_key(&mut self) {
        (self.key, self.words, self.is_assigned, self.at_start) = (None, 0, false, true);
    }

    fn key_text(&self) -> &'t str {
        self.key.and_then(|(start, end)| self.text.get(start..end)).unwrap_or_default()
    }

    /// Passes a sign, and the number behind it that is a second value or an error.
    fn pass_number(&mut self, sign: usize) {
        self.at += sign;
        let rest = self.rest();
        let number = rest.trim_start_matches(' ');
        let digits = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        self.at += if digits > 0 { rest.len() - number.len() + digits } else { 0 };
        self.end_key();
    }

    fn word(&mut self) {
        let rest = self.rest();
        let ends = |c: char| c.is_whitespace() || ",|;:=()[]{}'\"：│".contains(c);
        let end = rest.find(ends).unwrap_or(rest.len()).max(1);
        let word = rest.get(..end).unwrap_or(rest);
        if self.is_assigned {
            if self.wrapped(word) || self.value_word(word) {
                return;
            }
            // `Train: loss 0.5`: what was a name stands before the next.
            self.end_key();
        }
        let (start, _) = self.key.unwrap_or((self.at, self.at));
        if self.key.is_none() {
            self.is_fresh = std::mem::take(&mut self.at_start) || self.at == 0;
        }
        self.at += end;
        self.key = Some((start, self.at));
        self.words += 1;
        if word.len() > 4 && word.ends_with('.') {
            self.end_key();
        }
    }

    /// `tensor(0.5123, device='cuda:0')`, `np.float64(0.5)`.
    fn wrapped(&mut self, word: &str) -> bool {
        let name = word.rsplit('.').next().unwrap_or(word);
        let inner = self.behind(word.len()).strip_prefix('(').filter(|_| NUMBER_TYPES.contains(&name));
        let Some((inner, close)) = inner.and_then(|rest| Some((rest, closing(rest, '(', ')')?))) else {
            return false;
        };
        let number = inner.get(..close).unwrap_or_default().trim_start_matches(['[', ' ']);
        let end = number.find([',', ' ', ']', ')']).unwrap_or(number.len());
        let (text, unit) = value::split(number.get(..end).unwrap_or(number));
        self.at += word.len() + close + 2;
        if unit.is_empty() && !text.is_empty() {
            self.push(text, "", None, true)
        } else {
            self.drop_key()
        }
        true
    }

    /// `loss=None`, `val: n/a`, `phase=val`: a word in place of a number.
    fn value_word(&mut self, word: &'t str) -> bool {
        let is_none = ["none", "n/a", "na", "null", "true", "false", "-", "--"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(word));
        let is_value = is_none || self.text.get(..self.at).is_some_and(|text| text.ends_with('='));
        if is_value {
            let key = self.key_text();
            self.at += word.len();
            self.drop_key();
            if ["phase", "split", "mode", "stage"].iter().any(|known| known.eq_ignore_ascii_case(key)) {
                self.pieces.push(Piece::Words(word));
            }
        }
        is_value
    }

    fn open(&mut self, c: char) {
        let rest = self.behind(1);
        let close = match c {
            '[' => rest.find(']'),
            '(' => closing(rest, '(', ')'),
            _ => None,
        };
        let inner = close.and_then(|close| rest.get(..close));
        self.at += 1;
        match (c, inner) {
            ('[', Some(inner)) => self.bracket(inner),
            ('(', Some(inner)) => self.parenthesis(inner),
            _ => self.end_key(),
        }
    }

    /// `[100/500]` is a count, `[3]` a number, `[1,  2000]` at the start an epoch and a batch.
    fn bracket(&mut self, inner: &'t str) {
        let is_first = self.pieces.is_empty() && self.key.is_none();
        let pass = inner.len() + 1;
        if let Some((done, total)) = count(inner)
            && (total.is_some() || self.key.is_some() || is_first)
        {
            self.push(done, "", total, true);
            self.at += pass;
        } else if let Some((epoch, batch)) = inner.split_once(',').filter(|_| is_first)
            && let (Some((epoch, None)), Some((batch, None))) = (count(epoch), count(batch))
        {
            self.push_as("epoch", epoch);
            self.push_as("batch", batch);
            self.at += pass;
        } else if self.key.is_some() && value::split(inner).1.is_empty() && inner.contains('.') {
            // A list of one number.
            self.push(inner, "", None, true);
            self.at += pass;
        } else {
            self.end_key();
        }
    }

    /// `(ms)` is a part of the name, `(step 300)` told as if it stood free, `(eval)` a word;
    /// `(0.5 avg)` is passed over.
    fn parenthesis(&mut self, inner: &'t str) {
        let is_free = self.key.is_none() || self.is_assigned;
        let first = inner.split([' ', ':', '=']).next().unwrap_or_default();
        if is_free && names::place_of(first).is_some() && inner.contains(|c: char| c.is_ascii_digit()) {
            return self.end_key();
        }
        self.at += inner.len() + 1;
        let is_unit = !inner.contains(|c: char| c.is_ascii_digit() || ":=,".contains(c));
        if let (Some((start, _)), true) = (self.key, is_unit && !is_free) {
            self.key = Some((start, self.at));
        } else if names::split_of(inner).is_some() {
            self.end_key();
            self.pieces.push(Piece::Words(inner));
        }
    }

    fn is_number(&self) -> bool {
        let mut chars = self.rest().chars();
        let first = chars.next().unwrap_or_default();
        let second = chars.next().unwrap_or_default();
        match first {
            '0'..='9' => true,
            '∞' => self.key.is_some(),
            '−' => second.is_ascii_digit() || second == '∞',
            '-' | '+' | '.' => {
                second.is_ascii_digit()
                    || (first != '.' && "in".contains(second) && self.is_non_finite())
                    || (first == '-' && (second == '.' || second == '∞'))
            }
            // `number of nan iterations`.
            'n' | 'N' | 'i' | 'I' => {
                self.key.is_some() && !self.key_text().ends_with(" of") && self.is_non_finite()
            }
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
        let bytes = rest.as_bytes();
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let ends = |(at, c): (usize, char)| match c {
            // Of thousands, or a decimal comma.
            ',' => !(at > 0 && digit(at - 1) && digit(at + 1)),
            _ => c.is_whitespace() || "|;)]}(['\"±│".contains(c),
        };
        let end = rest.char_indices().find(|found| ends(*found)).map_or(rest.len(), |(at, _)| at);
        rest.get(..end.max(1)).unwrap_or(rest)
    }

    fn number(&mut self) {
        if let Some(len) = value::duration_len(self.rest()).filter(|_| self.key.is_some()) {
            let text = self.rest().get(..len).unwrap_or_default();
            self.at += len;
            return self.push(text, "", None, true);
        }
        let token = self.token();
        let (number, unit) = value::split(token);
        self.at += token.len();
        match unit {
            _ if number.is_empty() => self.end_key(),
            // `iter 10: loss ...`
            ":" => self.push(number, "", None, true),
            _ if unit.starts_with('/') => self.fraction(token, number, unit),
            _ if unit.starts_with("+-") || unit.starts_with("+/-") => self.push(number, "", None, true),
            _ if value::is_unit(unit) => self.push_measured(number, unit),
            _ => self.end_key(),
        }
    }

    /// `3/10`, `10/  500`, and `epoch=0/step=10`.
    fn fraction(&mut self, token: &'t str, number: &'t str, unit: &'t str) {
        let start = self.at - token.len();
        let next = self.rest().trim_start_matches(' ');
        let digits = next.find(|c: char| !c.is_ascii_digit()).unwrap_or(next.len());
        if unit == "/" && digits > 0 {
            self.at = self.text.len() - next.len() + digits;
        }
        let whole = self.text.get(start..self.at).unwrap_or(token);
        match count(whole.trim_end_matches([':', '.'])) {
            Some((done, total @ Some(_))) => self.push_count(done, total),
            _ if unit[1..].starts_with(char::is_alphabetic) && unit.contains('=') => {
                self.at = start + number.len() + 1;
                self.push(number, "", None, true);
            }
            _ => self.end_key(),
        }
    }

    /// A count, unless what stands behind it counts no steps.
    fn push_count(&mut self, done: &'t str, total: Option<&'t str>) {
        let next = self.rest().trim_start_matches(' ');
        let end = next.find(|c: char| c.is_whitespace() || ",|;:".contains(c)).unwrap_or(next.len());
        let word = next.get(..end).unwrap_or_default();
        if self.key.is_none() && word.contains('/') {
            self.end_key();
        } else {
            self.push(done, "", total, true);
        }
        if names::is_counted(word) {
            self.at = self.text.len() - next.len() + end;
        }
    }

    fn push_measured(&mut self, number: &'t str, unit: &'t str) {
        let next = self.rest().trim_start_matches(' ');
        let end = next.find(|c: char| !c.is_alphabetic() && c != '/').unwrap_or(next.len());
        let word = next.get(..end).unwrap_or_default();
        let behind = next.get(end..).unwrap_or_default().trim_start_matches(' ');
        let signless = behind.strip_prefix(['-', '+', '.']).unwrap_or(behind);
        // `loss 0.5 min 0.1`: the word is the next name.
        let is_name =
            behind.starts_with(['_', '=', ':']) || signless.starts_with(|c: char| c.is_ascii_digit());
        let is_unit = unit.is_empty() && !is_name && value::is_apart_unit(word, self.key_text());
        if is_unit {
            self.at = self.text.len() - next.len() + end;
        }
        let next = self.rest().trim_start_matches(' ');
        let is_end = next.is_empty() || next.starts_with([',', '|', ';', '\t', ']', ')', '-', '±', '│']);
        self.push(number, if is_unit { word } else { unit }, None, is_end);
    }

    /// `100 | loss 2.5`, `[100] loss=2.5`: a number at the start that stands apart.
    fn is_leading(&self, value: &str, is_end: bool) -> bool {
        let start = (value.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let before = self.text.get(..start).unwrap_or_default().trim();
        is_end && self.key.is_none() && (before.is_empty() || before == "[")
    }

    fn push(&mut self, value: &'t str, unit: &'t str, total: Option<&'t str>, is_end: bool) {
        let (key, is_fresh) = (self.key_text(), self.is_fresh);
        let is_named = self.key.is_some() && self.words <= MAX_WORDS;
        if is_named || self.key.is_none() && (total.is_some() || self.is_leading(value, is_end)) {
            let is_apart = is_fresh && is_end;
            let item = Item { key, value, unit, total, is_assigned: self.is_assigned, is_apart };
            self.pieces.push(Piece::Item(item));
            self.drop_key();
        } else {
            self.end_key();
        }
    }

    fn push_as(&mut self, key: &'static str, value: &'t str) {
        let item = Item { key, value, unit: "", total: None, is_assigned: true, is_apart: true };
        self.pieces.push(Piece::Item(item));
    }
}

/// Where the bracket closes that was opened before `text`.
fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            _ if c == open => depth += 1,
            _ if c == close && depth == 0 => return Some(at),
            _ if c == close => depth -= 1,
            _ => {}
        }
    }
    None
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        let show = |piece: &Piece<'_>| {
            let item = match piece {
                Piece::Words(words) => return format!("<{words}>"),
                Piece::Item(item) => item,
            };
            let total = item.total.map_or(String::new(), |total| format!("/{total}"));
            let sign = if item.is_assigned {
                "="
            } else if item.is_apart {
                " "
            } else {
                "~"
            };
            format!("{}{sign}{}{}{total}", item.key, item.value, item.unit)
        };
        pieces(text).iter().map(show).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn items_of_a_line() {
        for (line, wanted) in [
            (
                "epoch 3/10 | train loss: 2.5, lr=1e-3 [100/500]",
                "epoch 3/10; train loss=2.5; lr=1e-3;  100/500",
            ),
            ("step    10 | loss: 6.5 | lr 3.0e-4 | dt: 120.3ms | tok/sec: 4232.5", {
                "step 10; loss=6.5; lr 3.0e-4; dt=120.3ms; tok/sec=4232.5"
            }),
            (
                "iter 10: loss nan, time 12.30ms, mfu -100.00%",
                "iter 10; loss nan; time 12.30ms; mfu -100.00%",
            ),
            ("Train Epoch: 1 [640/60000 (1%)]\tLoss: 2.300", "Train Epoch=1;  640/60000; Loss=2.300"),
            ("Epoch: [3][ 10/5005]  Time  0.5 ( 1.2)  Loss 6.9e+00 (7.0e+00) Acc@1 0.39 (0.2)", {
                "Epoch=3;  10/5005; Time~0.5; Loss~6.9e+00; Acc@1~0.39"
            }),
            ("Train: loss 0.5 acc 0.9 | Val: loss 0.6", "<Train>; loss~0.5; acc 0.9; <Val>; loss 0.6"),
            ("tokens: 16,384, a=1,2", "tokens=16,384; a=1,2"),
            ("2024-01-02 took 00:12:03 v1.2.3 10.0.0.1 0x1f", "<took>; <v1.2.3>"),
            ("GET /a?step=1&loss=2 HTTP/1.1", "<GET /a?step>; <HTTP/1.1>"),
            ("elapsed time per iteration (ms): 12.5", "elapsed time per iteration (ms)=12.5"),
            ("'loss': -inf, \"acc\": .5", "loss=-inf; acc=.5"),
            ("this is a long sentence about loss 3", "<this is a long sentence about loss>"),
            ("x [3]", "x 3"),
            ("10.0.0.1 - - [19/Nov/2026:12:00:10 +0000] \"GET /train/1\"", "<GET /train/1>"),
            ("number of nan iterations:   0", "number of nan iterations=0"),
            ("mem: 12.3 GB, time 45 ms (step)", "mem=12.3GB; time~45ms"),
            ("loss 0.5 min 0.1 max 3 s, total time 5 min", "loss~0.5; min~0.1; max 3s; total time 5min"),
            ("time: 1m 3s eta 2min", "time=1m 3s; eta 2min"),
            ("loss=tensor(0.5, device='cuda:0') x=np.float64(.5) y=None z=1", "loss=0.5; x=.5; z=1"),
            ("reward 21±3.2, r 0.5+-0.1 q −0.5", "reward 21; r 0.5; q −0.5"),
            ("Epoch #3 (step 300): loss 2", "Epoch~3; step 300; loss 2"),
            ("D(G(z)): 0.14 / 0.09 b: 12/ 13/ 2; 12/12 tok/s", "D(G(z))=0.14; b=12/13; <tok/s>"),
            ("[1,  2000] loss: 1.5", "epoch=1; batch=2000; loss=1.5"),
            ("100 | loss 2.5 | 7 | x 1", "~100; loss 2.5; x 1"),
            ("epoch=0/step=10, return=[3.0]", "epoch=0; step=10; return=3.0"),
            ("200/ 2983 batches | loss 5", "~200/2983; loss 5"),
            (
                "Epoch 1 finished. train loss 2, phase: val, x",
                "Epoch~1; <finished.>; train loss 2; <phase>; <val>; <x>",
            ),
        ] {
            assert_eq!(shown(line), wanted, "{line}");
        }
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in "\\PC*", code in "[a-c:=,|\\[\\]()0-9./% é±−∞-]*") {
            for text in [text, code] {
                pieces(&text);
                super::super::bar::bar(&text);
            }
        }
    }
}
