//! Names of metrics that mean the same: people and trackers write `train/loss`, `loss_train`,
//! `Train_Loss` and `training.loss`.

use super::goal::words;

/// Words of a name and the one that stands for them.
const SAME: &[(&[&str], &str)] = &[
    (&["training"], "train"),
    (&["valid", "validation", "eval", "evaluation", "dev"], VAL),
    (&["testing"], "test"),
    (&["accuracy"], "acc"),
    (&["perplexity"], "ppl"),
];

/// The word for validation.
const VAL: &str = "val";

/// Words that tell parts of the data apart.
const SPLITS: &[&str] = &["train", VAL, "test"];

/// The words of a metric's name, each by the one that stands for it: `lr`, `train`, `val`, `test`, `acc`, ...
pub fn normal_words(key: &str) -> impl Iterator<Item = String> {
    joined(words(key)).into_iter().map(known)
}

/// The normal form of a metric's name: the words that tell parts of the data apart, then the others, each
/// in the order of the alphabet, `train/loss`. Names of one form are written differently and mean the same.
pub fn normal_form(key: &str) -> String {
    form_of(normal_words(key))
}

fn form_of(words: impl Iterator<Item = String>) -> String {
    let (mut splits, mut others): (Vec<_>, Vec<_>) = words.partition(|word| SPLITS.contains(&word.as_str()));
    splits.sort_unstable();
    others.sort_unstable();
    let parts = [splits.join("_"), others.join("_")];
    parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
}

/// Validation sets of a project's own, by the words that metrics over them bear in their names.
///
/// Names of two sets do not mean the same, so [`normal_form`] keeps them apart; here both are validation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValidationSets(Vec<Vec<String>>);

impl ValidationSets {
    /// The sets of these names, each of one word or several: `holdout`, `dev_b`.
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| words(name)).filter(|words| !words.is_empty()).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As [`normal_words`], with `val` once for all names of sets.
    pub fn normal_words(&self, key: &str) -> Vec<String> {
        let (words, mut rest) = (words(key), Vec::new());
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let of_set = |set: &&Vec<String>| words.get(at..).is_some_and(|words| words.starts_with(set));
            match self.0.iter().filter(of_set).map(Vec::len).max() {
                Some(length) => at += length,
                None => {
                    rest.push(word.clone());
                    at += 1;
                }
            }
        }
        let is_of_set = rest.len() < words.len();
        let mut normal: Vec<String> = joined(rest).into_iter().map(known).collect();
        if is_of_set && !normal.iter().any(|word| word == VAL) {
            normal.push(VAL.to_owned());
        }
        normal
    }

    /// As [`normal_form`], with `val` for the name of a set: by this, names are told apart by what they are
    /// good for, not which mean the same.
    pub fn normal_form(&self, key: &str) -> String {
        form_of(self.normal_words(key).into_iter())
    }
}

/// What a name means among those there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant<'k> {
    /// One of them: itself, or the only one of its normal form.
    One(&'k str),
    /// Several are written differently and mean the same.
    Several(Vec<&'k str>),
    /// None.
    Nothing,
}

/// Finds the name that `word` means among `known`.
pub fn meant<'k>(word: &str, known: impl Iterator<Item = &'k str> + Clone) -> Meant<'k> {
    if let Some(key) = known.clone().find(|key| *key == word) {
        return Meant::One(key);
    }
    let form = normal_form(word);
    let same: Vec<&str> = known.filter(|key| !form.is_empty() && normal_form(key) == form).collect();
    match same.as_slice() {
        [] => Meant::Nothing,
        [one] => Meant::One(one),
        _ => Meant::Several(same),
    }
}

/// `learning_rate` is one word.
fn joined(words: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        match out.last_mut() {
            Some(last) if last == "learning" && word == "rate" => *last = "lr".to_string(),
            _ => out.push(word),
        }
    }
    out
}

fn known(word: String) -> String {
    let same = SAME.iter().find(|(words, _)| words.contains(&word.as_str()));
    same.map_or(word, |(_, known)| known.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Meant, ValidationSets, meant, normal_form};

    #[test]
    fn names_of_validation_sets_are_validation() {
        let sets = ValidationSets::new(&["holdout".to_owned(), "Test_B".to_owned(), "/".to_owned()]);
        for (form, key) in [
            ("val/loss", "holdout/loss"),
            ("val/loss", "loss_holdout"),
            ("val/loss", "val/holdout_loss"),
            ("val/ppl", "testB.ppl"),
            ("test/loss", "test/loss"),
            ("test/loss_rerun", "test_rerun_loss"),
            ("train/loss", "train/loss"),
            ("lr", "learning_rate"),
            ("val", "holdout"),
        ] {
            assert_eq!(sets.normal_form(key), form, "{key}");
        }
        assert_eq!(normal_form("holdout/loss"), "holdout_loss");
        for key in ["train/train_loss", "val_loss", ""] {
            assert_eq!(ValidationSets::default().normal_form(key), normal_form(key));
        }
    }

    #[test]
    fn a_name_that_is_not_there_means_the_only_one_of_its_form() {
        let known = ["val/loss", "train/loss", "Train_Loss", "lr"];
        let meant = |word| meant(word, known.into_iter());
        assert_eq!(meant("lr"), Meant::One("lr"));
        assert_eq!(meant("val_loss"), Meant::One("val/loss"));
        assert_eq!(meant("train/loss"), Meant::One("train/loss"));
        assert_eq!(meant("loss_train"), Meant::Several(vec!["train/loss", "Train_Loss"]));
        assert_eq!((meant("loss"), meant("/")), (Meant::Nothing, Meant::Nothing));
    }

    #[test]
    fn spellings_of_one_name() {
        for (form, names) in [
            (
                "train/loss",
                ["train/loss", "loss_train", "Train_Loss", "training.loss", "trainLoss"].as_slice(),
            ),
            ("val/loss", &["val_loss", "eval/loss", "validation loss", "loss/valid"]),
            ("val/acc_top5", &["val/acc/top5", "top5_accuracy_eval"]),
            ("lr", &["lr", "learning_rate", "LearningRate"]),
            ("loss", &["loss", "Loss"]),
            ("", &["", "/"]),
        ] {
            for name in names {
                assert_eq!(normal_form(name), form, "{name}");
            }
        }
        assert_ne!(normal_form("train/train_loss"), normal_form("train/loss"));
    }
}
