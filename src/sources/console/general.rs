//! Lines of hand-made loops: names and numbers behind a step or an epoch, and bars of tqdm.

use super::dialect::{Dialect, Row};
use super::scan::{self, Item};
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
        ("Test set: Average loss: 0.0512, Accuracy: 9830/10000 (98%)", r#"{"test/Average loss": 0.0512}"#),
    ],
};

/// Words that count training, as the last word of a name.
const STEP_WORDS: &[&str] =
    &["step", "steps", "iter", "iteration", "it", "global_step", "batch", "update", "epoch"];

/// Words that may stand before them.
const STEP_LABELS: &[&str] =
    &["train", "training", "val", "valid", "validation", "eval", "test", "global", "current"];

/// Numbers that are no metrics.
const NOT_METRICS: &[&str] = &["v_num", "eta", "elapsed", "remaining", "pid", "port", "line", "seed"];

fn read(line: &str) -> Option<Row<'_>> {
    let mut row = Row::default();
    match scan::bar(line) {
        Some(bar) => {
            let head = scan::items(bar.head);
            add_all(&mut row, &head);
            if !row.fields.iter().any(|(key, _)| key == "iter" || key == "step") {
                let epochs = head.is_empty() && bar.head.to_ascii_lowercase().contains("epoch");
                row.number(if epochs { "epoch" } else { "iter" }, bar.done);
                row.planned_steps = if epochs { None } else { bar.total.parse().ok() };
            }
            add_all(&mut row, &scan::items(bar.tail));
        }
        None => add_all(&mut row, &scan::items(line)),
    }
    let is_place = |key: &str| matches!(axis::role_of(key), axis::Role::Step(_) | axis::Role::Epoch);
    let places = row.fields.iter().filter(|(key, _)| is_place(key)).count();
    if row.fields.iter().any(|(key, _)| key == "epoch") {
        // What is counted begins anew in each epoch.
        row.planned_steps = None;
    }
    row.needs_step = places == 0;
    let metrics = || row.fields.iter().map(|(key, _)| key.as_ref()).filter(|key| !is_place(key));
    // Without a step only what is said of a split is told apart from settings.
    let is_result = |key: &str| axis::has_split(key) && is_training(key);
    let fits = if places == 0 { metrics().any(is_result) } else { metrics().next().is_some() };
    fits.then_some(row)
}

fn add_all<'l>(row: &mut Row<'l>, items: &[Item<'l>]) {
    let mut split = "";
    for item in items {
        let label = item.label.split_whitespace().next().unwrap_or_default();
        if is_split(label) {
            split = label;
        }
        match place(item) {
            Some(key) => {
                let own = item.key.split_whitespace().next().unwrap_or_default();
                split = if is_split(own) { own } else { split };
                add_place(row, key, item);
            }
            None => add_metric(row, split, item),
        }
    }
}

fn is_split(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    ["train", "training", "val", "valid", "validation", "eval", "test"].contains(&word.as_str())
}

/// The name under which an item tells the place of the row.
fn place(item: &Item<'_>) -> Option<&'static str> {
    if item.key.is_empty() {
        return item.total.map(|_| "iter");
    }
    let key = item.key.to_ascii_lowercase();
    let mut words = key.split([' ', '_']).rev();
    let last = words.next()?;
    let known = STEP_WORDS.iter().find(|word| **word == last || **word == key)?;
    let is_global = key.ends_with("global step") || key.ends_with("global_step");
    words.all(|word| STEP_LABELS.contains(&word)).then_some(if is_global { "global_step" } else { known })
}

fn add_place<'l>(row: &mut Row<'l>, key: &'static str, item: &Item<'l>) {
    let Some(number) = scan::value(item.value).filter(|number| number.is_finite()) else { return };
    if row.fields.iter().any(|(known, _)| known == key) {
        return;
    }
    row.fields.push((key.into(), Json::Number(number, b"")));
    if key != "epoch" {
        row.planned_steps = row.planned_steps.or(item.total.and_then(|total| total.parse().ok()));
    }
}

fn add_metric<'l>(row: &mut Row<'l>, split: &str, item: &Item<'l>) {
    let is_metric = item.is_assigned || is_training(item.key) || item.is_apart && !row.fields.is_empty();
    let Some(number) = scan::value(item.value).filter(|_| is_metric && item.total.is_none()) else { return };
    if NOT_METRICS.contains(&item.key.to_ascii_lowercase().as_str()) {
        return;
    }
    let key: Cow<'l, str> = match split {
        "" => item.key.into(),
        _ if axis::has_split(item.key) => item.key.into(),
        split => format!("{}/{}", split.to_ascii_lowercase(), item.key).into(),
    };
    row.fields.push((key, Json::Number(number, b"")));
}
