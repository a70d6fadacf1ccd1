//! Which way a metric is better, from its name: the one table of words.

use super::Goal;

/// Words that mean smaller is better.
pub const MIN_WORDS: &[&str] = &[
    "loss",
    "error",
    "err",
    "mae",
    "mse",
    "rmse",
    "mape",
    "nll",
    "ppl",
    "perplexity",
    "bpb",
    "bpc",
    "wer",
    "cer",
    "fid",
];

/// Words that mean larger is better.
pub const MAX_WORDS: &[&str] = &[
    "acc",
    "accuracy",
    "f1",
    "auc",
    "ap",
    "map",
    "iou",
    "dice",
    "bleu",
    "rouge",
    "psnr",
    "ssim",
    "recall",
    "precision",
    "r2",
    "ndcg",
    "mrr",
    "reward",
    "rew",
    "return",
    "success",
];

/// A name that ends in one of these has no goal, whatever comes before (`loss_scale`, `loss/weight`).
pub const NEITHER_WORDS: &[&str] = &["scale", "weight", "lr", "time"];

/// The goal of a metric by its name: whole words split at non-letters, the last known word decides.
///
/// Digits stay with the letters before them, so that `f1`, `r2` and `top5_acc` read as people mean
/// them. `None` when no word is known or the last word says it is no objective.
pub fn goal_of(key: &str) -> Option<Goal> {
    let words = words(key);
    if words.last().is_some_and(|word| NEITHER_WORDS.contains(&word.as_str())) {
        return None;
    }
    words.iter().rev().find_map(|word| {
        let is_in = |list: &[&str]| list.contains(&word.as_str()) || list.contains(&without_digits(word));
        match () {
            () if is_in(MIN_WORDS) => Some(Goal::Min),
            () if is_in(MAX_WORDS) => Some(Goal::Max),
            () => None,
        }
    })
}

fn without_digits(word: &str) -> &str {
    word.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Splits at everything that is neither letter nor digit, and where lower case turns to upper.
pub fn words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous = ' ';
    for c in key.chars() {
        let hump = previous.is_lowercase() && c.is_uppercase();
        if (!c.is_alphanumeric() || hump) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().map(|word| word.extend(c.to_lowercase())).unwrap_or_default();
        }
        previous = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_goal() {
        for (key, goal) in [
            ("val_loss", Some(Goal::Min)),
            ("val/acc", Some(Goal::Max)),
            ("eval.acc.top1", Some(Goal::Max)),
            ("metrics/mAP50(B)", Some(Goal::Max)),
            ("valLoss", Some(Goal::Min)),
            ("lr", None),
            ("loss_scale", None),
            ("loss/weight", None),
            ("grad_norm", None),
            ("f1", Some(Goal::Max)),
            ("R2", Some(Goal::Max)),
            ("Loss/train", Some(Goal::Min)),
            ("acc_loss", Some(Goal::Min)),
            ("", None),
        ] {
            assert_eq!(goal_of(key), goal, "{key}");
        }
    }
}
