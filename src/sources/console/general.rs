//! Lines of hand-made loops: names and numbers behind a step or an epoch, and bars of tqdm.

use super::bar::{self, Bar};
use super::dialect::{Count, Dialect, Row};
use super::scan::{self, Item, Piece};
use super::{names, value};
use crate::sources::find::judge::is_training;
use crate::sources::parse::axis;
use crate::sources::parse::json::Json;
use std::borrow::Cow;

pub static DIALECT: Dialect = Dialect {
    name: "general",
    read,
    samples: &[
        ("step 10: loss=2.5, lr=1e-3", r#"{"step": 10, "loss": 2.5, "lr": 0.001}"#),
        (
            "Epoch 3/10 | train loss: 0.5 | val_acc: 0.75",
            r#"{"epoch": 3, "train loss": 0.5, "val_acc": 0.75}"#,
        ),
        ("Epoch [3/10], Step [100/500], Loss: 0.5", r#"{"epoch": 3, "step": 100, "Loss": 0.5}"#),
        ("Train Epoch: 1 [640/60000 (1%)]\tLoss: 2.300", r#"{"epoch": 1, "iter": 640, "train/Loss": 2.3}"#),
        ("[100/5000] loss: 2.5 eta: 0:01:02", r#"{"iter": 100, "loss": 2.5}"#),
        ("global step 1,024 loss 2.5 took 3 s", r#"{"global_step": 1024, "loss": 2.5}"#),
        ("step:7 - actor/loss:0.5 - critic/kl:nan", r#"{"step": 7, "actor/loss": 0.5, "critic/kl": NaN}"#),
        ("Validation: epoch 3 loss 0.4", r#"{"epoch": 3, "validation/loss": 0.4}"#),
        ("Epoch 3:  45%|####  | 450/1000 [00:12<00:15, 35.2it/s, loss=0.52, v_num=0]", {
            r#"{"epoch": 3, "iter": 450, "loss": 0.52}"#
        }),
        ("Test set: Average loss: 0.0512, Accuracy: 9830/10000 (98%)", {
            r#"{"test/Average loss": 0.0512, "test/Accuracy": 0.983}"#
        }),
    ],
};

fn read(line: &str) -> Option<Row<'_>> {
    let mut draft = Draft::default();
    match bar::bar(line) {
        Some(bar) => draft.bar(bar),
        None => draft.add(&scan::pieces(line)),
    }
    draft.is_mark = line.starts_with("* ");
    draft.finish()
}

/// The row of a line, as far as it is read.
#[derive(Default)]
struct Draft<'l> {
    row: Row<'l>,
    /// The split that was named last.
    split: Option<&'static str>,
    /// Splits that were named, metrics that were read before the last of them.
    splits: usize,
    before_split: usize,
    /// A count without a name, which is an epoch where another follows.
    unnamed: Option<Count>,
    /// The number at the start of the line that tells the step, if nothing else does.
    leading: Option<i64>,
    /// Whether other words stand on the line.
    has_words: bool,
    /// Whether the line begins with a star, as those of validation in PyTorch's examples do.
    is_mark: bool,
    /// The place that may be followed by `of 10`.
    last_place: Option<&'static str>,
    metrics: usize,
}

impl<'l> Draft<'l> {
    fn bar(&mut self, bar: Bar<'l>) {
        let head = scan::pieces(bar.head);
        self.add(&head);
        self.leading = None;
        let words = bar.head.to_ascii_lowercase();
        let is_epochs = head.iter().all(|piece| matches!(piece, Piece::Words(_))) && words.contains("epoch");
        let count = whole(bar.done).zip(whole(bar.total));
        if let Some((done, total)) = count.filter(|_| !self.has_place("step")) {
            let is_inner = !words.split([' ', ':']).any(|word| word == "steps");
            match is_epochs {
                true => self.epoch(done, Some(total)),
                false => self.unnamed_count(Count { field: "iter", done, total, is_inner }),
            }
        }
        self.add(&scan::pieces(bar.tail));
    }

    fn add(&mut self, pieces: &[Piece<'l>]) {
        for (at, piece) in pieces.iter().enumerate() {
            let next = pieces.get(at + 1);
            let goes_on = match piece {
                Piece::Words(words) => self.words(words),
                Piece::Item(item) => self.item(item, next, at == 0),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Words without a number; false where they say that the rest is about something else.
    fn words(&mut self, words: &'l str) -> bool {
        self.last_place = None;
        if let Some(split) = names::split_of_words(words) {
            self.name_split(split);
            return true;
        }
        self.has_words = true;
        self.row.place.is_aside |= self.is_aside(words);
        !self.row.place.is_aside
    }

    /// Whether the rest of the line is about something else: the best of all, or what is kept.
    fn is_aside(&self, words: &str) -> bool {
        self.row.fields.is_empty() && self.leading.is_none() && names::is_best(words)
            || names::is_aside(words)
    }

    fn name_split(&mut self, split: &'static str) {
        (self.split, self.before_split) = (Some(split), self.metrics);
        self.splits += 1;
    }

    /// A number with its name; false as for [`words`](Self::words).
    fn item(&mut self, item: &Item<'l>, next: Option<&Piece<'l>>, is_first: bool) -> bool {
        if self.is_aside(item.key) {
            (self.has_words, self.row.place.is_aside) = (true, true);
            return false;
        }
        if let Some(place) = self.last_place.take().filter(|_| item.key.eq_ignore_ascii_case("of")) {
            self.total_of(place, item);
            return true;
        }
        if item.key.is_empty() {
            self.nameless(item, is_first);
        } else if let Some(split) = names::split_of(item.key).filter(|_| is_head(item, next)) {
            self.name_split(split);
            match (whole_of(item), total_of(item)) {
                (Some(done), Some(total)) => {
                    self.unnamed_count(Count { field: "iter", done, total, is_inner: true });
                }
                (Some(epoch), None) => self.epoch(epoch, None),
                _ => {}
            }
        } else if let Some(field) = names::place_of(item.key) {
            self.place(field, item);
        } else {
            self.metric(item);
        }
        true
    }

    /// A count in brackets, or the number at the start of the line.
    fn nameless(&mut self, item: &Item<'l>, is_first: bool) {
        match (whole_of(item), total_of(item)) {
            (Some(done), Some(total)) => {
                self.unnamed_count(Count { field: "iter", done, total, is_inner: true });
            }
            (done, None) if is_first => self.leading = done,
            _ => {}
        }
    }

    /// `[0/300][250/1251]`: of two counts without a name the first is of epochs.
    fn unnamed_count(&mut self, count: Count) {
        if let Some(first) = self.unnamed.take().filter(|_| !self.has_place("epoch")) {
            self.row.fields.retain(|(key, _)| key != first.field);
            self.row.place.count = None;
            self.epoch(first.done, Some(first.total));
        }
        if self.row.place.count.is_none() && !self.has_place(count.field) {
            self.unnamed = Some(count);
            self.row.count(count.field, count.done);
            self.row.place.count = Some(count);
        }
    }

    fn epoch(&mut self, epoch: i64, epochs: Option<i64>) {
        if !self.has_place("epoch") {
            self.row.count("epoch", epoch);
            self.row.place.epochs = epochs;
        }
    }

    fn has_place(&self, field: &str) -> bool {
        self.row.fields.iter().any(|(key, _)| key == field)
    }

    fn place(&mut self, field: &'static str, item: &Item<'l>) {
        if let Some(split) = item.key.split_whitespace().next().and_then(names::split_of) {
            self.name_split(split);
        }
        let Some(number) = value::place(item.value, item.unit).filter(|number| number.is_finite()) else {
            return;
        };
        if self.has_place(field) {
            return;
        }
        self.row.fields.push((field.into(), Json::Number(number, b"")));
        self.last_place = Some(field);
        if item.total.is_some() {
            self.total_of(field, &Item { value: item.total.unwrap_or_default(), ..*item });
        }
    }

    /// Of how many the place is one: `3/10`, `3 of 10`.
    fn total_of(&mut self, field: &'static str, total: &Item<'l>) {
        let done = self.row.fields.iter().find(|(key, _)| key == field);
        let done = done.and_then(|(_, value)| axis::step_of(value));
        let (Some(done), Some(total)) = (done, whole(total.value)) else { return };
        match field {
            "epoch" => self.row.place.epochs = Some(total),
            _ if self.row.place.count.is_none() || field == "global_step" => {
                self.row.place.count = Some(Count { field, done, total, is_inner: field == "batch" });
            }
            _ => {}
        }
    }

    fn metric(&mut self, item: &Item<'l>) {
        let has_place = !self.row.fields.is_empty() || self.leading.is_some();
        let is_metric = item.is_assigned || is_training(item.key) || item.is_apart && has_place;
        if !is_metric || !names::is_metric_name(item.key) {
            self.has_words |= !item.is_assigned;
            return;
        }
        let number = match total_of(item) {
            // `Accuracy: 9830/10000`.
            Some(total) if is_share(item.key) && total > 0 => {
                whole_of(item).map(|done| done as f64 / total as f64)
            }
            Some(_) => None,
            None => value::number(item.key, item.value, item.unit),
        };
        if let Some(number) = number {
            let key = spaced(names::of_split(self.split, item.key));
            self.row.fields.push((key, Json::Number(number, b"")));
            self.metrics += 1;
        }
    }

    fn finish(mut self) -> Option<Row<'l>> {
        self.row.place.split = self.split;
        if self.splits == 1 && self.before_split > 0 && self.before_split == self.metrics {
            // `step 100 loss 2.4 (eval)`: said behind the metrics of the whole line.
            for (key, _) in self.row.fields.iter_mut().filter(|(key, _)| !is_place(key)) {
                *key = names::of_split(self.split, key).into_owned().into();
            }
        }
        let has_place = self.row.fields.iter().any(|(key, _)| is_place(key));
        self.row.place.is_aside &= !has_place && self.metrics == 0;
        match (has_place, self.metrics > 0) {
            (false, false) if self.row.place.is_aside => Some(self.row),
            (_, false) => self.header(has_place),
            (true, true) => Some(self.row),
            (false, true) => self.without_place(),
        }
    }

    /// `Epoch 3/10:`; a step or a split only when nothing else stands on the line.
    fn header(mut self, has_place: bool) -> Option<Row<'l>> {
        let is_alone = !self.has_words && self.leading.is_none() && self.unnamed.is_none();
        let is_header = match has_place {
            true => is_alone || self.has_place("epoch"),
            false => is_alone && self.split.is_some(),
        };
        self.row.place.is_header = true;
        is_header.then_some(self.row)
    }

    /// Metrics without a place: of a split, or nothing else on the line.
    fn without_place(mut self) -> Option<Row<'l>> {
        let has_training = || self.row.fields.iter().any(|(key, _)| is_training(key));
        if let Some(step) = self.leading.filter(|_| !self.has_words && has_training()) {
            self.row.fields.insert(0, ("iter".into(), Json::Number(step as f64, b"")));
            self.row.place.is_leading = true;
            return Some(self.row);
        }
        self.inherit_split();
        self.row.needs_step = true;
        let is_result = |key: &str| axis::has_split(key) && is_training(key);
        let is_told = self.row.fields.iter().any(|(key, _)| is_result(key));
        self.row.place.is_bare = !is_told;
        (is_told || !self.has_words && has_training_word(&self.row)).then_some(self.row)
    }

    /// `train Loss: 2.5 Acc: 0.5` on a line of its own: the split is said once.
    fn inherit_split(&mut self) {
        let split = match self.row.fields.first() {
            _ if self.split.is_some() => return,
            Some(_) if self.is_mark => Some("val"),
            Some((key, _)) => key.split_once(' ').and_then(|(word, _)| names::split_of(word)),
            None => None,
        };
        let is_once = !self.row.fields.iter().skip(1).any(|(key, _)| axis::has_split(key));
        let Some(split) = split.filter(|_| self.is_mark || is_once && self.row.fields.len() > 1) else {
            return;
        };
        for (key, _) in &mut self.row.fields {
            let bare = key.split_once(' ').filter(|(word, _)| names::split_of(word).is_some());
            *key = format!("{split}/{}", bare.map_or(key.as_ref(), |(_, bare)| bare)).into();
        }
        self.row.place.split = Some(split);
    }
}

fn has_training_word(row: &Row<'_>) -> bool {
    row.fields.iter().any(|(key, _)| is_training(key))
}

/// Whether a field tells the place of a row.
pub fn is_place(key: &str) -> bool {
    matches!(axis::role_of(key), axis::Role::Step(_) | axis::Role::Epoch)
}

/// `Train: 4 [250/1251]`, `Test: [48/195]`: the name of a split before counts.
fn is_head(item: &Item<'_>, next: Option<&Piece<'_>>) -> bool {
    let is_count = |piece: &&Piece<'_>| matches!(piece, Piece::Item(item) if item.key.is_empty() && item.total.is_some());
    item.total.is_some() || whole_of(item).is_some() && next.filter(is_count).is_some()
}

/// Whether a name is one of a share, so that a count of so many is one.
fn is_share(key: &str) -> bool {
    let words = crate::records::goal::words(key);
    words.last().is_some_and(|word| word.starts_with("acc") || word == "top1" || word == "top5")
}

fn whole_of(item: &Item<'_>) -> Option<i64> {
    whole(item.value).filter(|_| item.unit.is_empty())
}

fn total_of(item: &Item<'_>) -> Option<i64> {
    item.total.and_then(whole)
}

fn whole(text: &str) -> Option<i64> {
    text.replace(',', "").parse().ok().filter(|number| *number >= 0)
}

/// With one space where several were printed to align.
fn spaced(key: Cow<'_, str>) -> Cow<'_, str> {
    match key.contains("  ") {
        true => key.split_whitespace().collect::<Vec<_>>().join(" ").into(),
        false => key,
    }
}
