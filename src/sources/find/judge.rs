//! Tells logs from data sets by a few sampled rows. Project folders are full of tables and of
//! JSON lines; only those with a step-like axis and numbers that training runs log are logs.

use crate::records::goal;
use crate::sources::parse::axis::{self, Kind, Role};
use crate::sources::parse::json::{Fields, Json, flatten};
use crate::sources::parse::words::split;
use crate::sources::{InputKind, RunLogs, Verdict};
use std::collections::{BTreeMap, HashMap};

/// Words of [`goal`] that tables of other kinds use as well.
const AMBIGUOUS_WORDS: &str = "map return error err success ap precision";

/// Words beside those of [`goal`] that only training logs use.
const TRAINING_WORDS: &str = "lr learning grad gradient gnorm losses train training val valid validation eval entropy kl \
    tokens mfu top miou rew rewards returns momentum wd perplexity elbo logits";

/// Words that hardly anything but a training log uses.
const CORE_WORDS: &str = "loss losses lr nll ppl perplexity grad gnorm bpb bpc mfu elbo";

/// Names of numbers that are no metric: places, prices, labels, counts, bare times.
const DATA_WORDS: &str = "x y z qx qy qz qw lat lon lng latitude longitude alt altitude elevation heading bearing speed bbox open \
    high low close volume price amount balance label labels id ids idx index count class target \
    category rank row line number num n year month day hour minute size width height area age \
    seconds sec s ms us ns time latency throughput duration runtime elapsed fps calories distance status \
    code port bytes ops qps timestamp";

/// Keys of which one shows a data set of texts, images or trajectories.
const SAMPLE_KEYS: &str = "messages conversations conversation instruction prompt input_ids embedding embeddings bbox \
    segmentation image_id observation observations obs next_obs caption question answer chosen \
    rejected";

/// Files of these names are no logs, whatever their content.
const OTHER_FILES: &str = "package.json package-lock.json tokenizer.json tokenizer_config.json special_tokens_map.json \
    added_tokens.json vocab.json vocab.txt merges.txt config.json generation_config.json \
    trainer_state.json all_results.json train_results.json eval_results.json dataset_info.json \
    model.safetensors.index.json pytorch_model.bin.index.json manifest.json composer.json \
    requirements.txt cmakelists.txt license.txt readme.txt run.json cout.txt hparams.json \
    args.json params.json wandb-summary.json wandb-metadata.json";

/// Folders whose files belong to a tracker with a format of its own.
const OTHER_FOLDERS: &str =
    "vis_data .exprag .neptune mlruns .dvc .aim .guild .clearml .wandb dvclive swanlog .hydra .cometml-runs";

/// Stems that say nothing about the run: its folder names it.
const GENERIC_STEMS: &str = "metrics metric log logs train training train_log training_log trainer_log history progress \
    results result events data output stdout stderr console main nohup scalars summary monitor";

/// How the rows were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Objects with keys of their own.
    Objects,
    /// Lines under a header.
    Table,
}

/// Whether a list of words, parted by spaces, holds `word`.
fn is_in(list: &str, word: &str) -> bool {
    list.split(' ').any(|known| known == word)
}

/// Whether the path ends in one of the extensions.
pub fn has_extension(path: &str, extensions: &[&str]) -> bool {
    let name = split(path).1;
    let extension = name.rsplit_once('.').map(|(_, extension)| extension).unwrap_or_default();
    extensions.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// Whether a path alone says that a file is no log of a general kind.
pub fn is_other(path: &str) -> bool {
    let (folders, name) = split(path);
    let name = name.to_ascii_lowercase();
    let in_tracker = |folder: &str| is_in(OTHER_FOLDERS, folder) || is_wandb_run(folder);
    let under_wandb = folders.split('/').any(|folder| folder == "wandb") && name.starts_with("debug");
    is_in(OTHER_FILES, &name)
        || (name.starts_with("tsconfig") && name.ends_with(".json"))
        || name.starts_with("._")
        || under_wandb
        || folders.split('/').any(in_tracker)
}

/// `run-20260102_030405-abc` and `offline-run-...`.
fn is_wandb_run(folder: &str) -> bool {
    let stamp = folder.strip_prefix("offline-").unwrap_or(folder).strip_prefix("run-").unwrap_or_default();
    let digits = |range| stamp.get(range).is_some_and(|text: &str| text.bytes().all(|c| c.is_ascii_digit()));
    digits(0..8)
        && digits(9..15)
        && stamp.get(8..9) == Some("_")
        && stamp.get(15..16) == Some("-")
        && stamp.len() > 16
}

/// A verdict against a file.
pub fn other(reason: &str) -> Verdict {
    Verdict::Other { reason: reason.to_string() }
}

/// A run that is one file.
pub fn one_run(path: &str) -> RunLogs {
    RunLogs { name: Some(name_of(path)), ..RunLogs::of_file(path, InputKind::Log) }
}

/// Whether the stem of a file's name says nothing about the run.
pub fn is_generic(stem: &str) -> bool {
    is_in(GENERIC_STEMS, &stem.to_ascii_lowercase())
}

fn name_of(path: &str) -> String {
    let (folder, name) = split(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let folder = Some(split(folder).1).filter(|folder| !folder.is_empty() && is_generic(stem));
    folder.unwrap_or(stem).to_string()
}

/// Judges sampled rows. `is_cut` says that the file goes on behind them.
pub fn judge(rows: &[Fields<'_>], is_cut: bool, shape: Shape) -> Verdict {
    let survey = Survey::of(rows);
    if survey.records == 0 {
        return if is_cut { other("no rows of metrics") } else { Verdict::TooEarly };
    }
    if let Some(reason) = survey.data_set() {
        return other(reason);
    }
    let Some(axis) = survey.axis() else { return survey.without_axis(shape) };
    let is_weak = axis::is_weak_step(axis) || axis::role_of(axis) == Role::Epoch;
    match () {
        () if !survey.has_metric() => other("no numbers that are metrics"),
        () if is_weak && !survey.has_training_word() => other("a count, but no word of training"),
        () if survey.text_leaves > 0 && !survey.has_training_word() => {
            other("words beside numbers, none of training")
        }
        () if survey.records >= 2 || survey.has_training_word() => Verdict::Log { marks: String::new() },
        () if is_cut => other("a single row"),
        () => Verdict::TooEarly,
    }
}

/// What the sampled rows hold.
#[derive(Default)]
struct Survey {
    /// Rows that are neither configuration nor start or end.
    records: usize,
    has_special: bool,
    numbers: BTreeMap<String, usize>,
    keys: BTreeMap<String, usize>,
    text_bytes: usize,
    text_leaves: usize,
    list_items: usize,
    axes: BTreeMap<String, Steps>,
}

/// Values of a step-like key.
#[derive(Default)]
struct Steps {
    count: usize,
    bad: usize,
    falls: usize,
    distinct: bool,
    /// Last value among the rows of the same keys and the same run.
    last: HashMap<u64, f64>,
}

impl Survey {
    fn of(rows: &[Fields<'_>]) -> Self {
        let mut survey = Survey::default();
        for row in rows {
            if is_special(row) {
                survey.has_special = true;
            } else {
                survey.add(row);
            }
        }
        survey
    }

    fn add(&mut self, row: &Fields<'_>) {
        self.records += 1;
        let group = row_group(row);
        for (key, value) in row {
            *self.keys.entry(key.to_lowercase()).or_default() += 1;
            match axis::role_of(key) {
                Role::Step(_) => {
                    self.steps(key).add(group, axis::step_of(value).map(|step| step as f64), value)
                }
                Role::Epoch => self.steps(key).add(group, axis::epoch_of(value), value),
                Role::Run(_) | Role::Logger => {}
                // Some repeat it in every row.
                Role::Config if matches!(value, Json::Object(_)) => {}
                Role::Time(_) if !matches!(value, Json::Object(_) | Json::Array(_)) => {}
                Role::Kind if value.as_str().is_some_and(|word| axis::kind_of(key, word) == Kind::Split) => {}
                _ => flatten(key, value, &mut |key, value| self.leaf(key, value)),
            }
        }
    }

    fn steps(&mut self, key: &str) -> &mut Steps {
        self.axes.entry(key.to_string()).or_default()
    }

    fn leaf(&mut self, key: &str, value: &Json<'_>) {
        match value {
            Json::String(text) if value.as_metric().is_none() && !axis::is_duration(text) => {
                self.text_leaves += 1;
                self.text_bytes += text.len();
            }
            Json::Array(items) => {
                self.list_items += items.len();
                for item in items {
                    self.text_bytes += weight(item);
                }
            }
            _ if value.as_metric().is_some() => *self.numbers.entry(key.to_string()).or_default() += 1,
            _ => {}
        }
    }

    fn has_core_word(&self) -> bool {
        !self.keys.contains_key("profit") && self.numbers.keys().any(|key| is_core(key))
    }

    fn has_training_word(&self) -> bool {
        self.has_special || self.numbers.keys().any(|key| is_training(key))
    }

    fn has_metric(&self) -> bool {
        self.numbers.keys().any(|key| self.has_special || is_training(key) || !is_data(key))
    }

    /// Why the rows are samples of a data set, if they are.
    fn data_set(&self) -> Option<&'static str> {
        let has = |key: &str| self.keys.contains_key(key);
        let text = self.text_bytes / self.records;
        let is_track = has("lat") && (has("lon") || has("lng")) || has("latitude") && has("longitude");
        let prices = ["open", "high", "low", "close", "volume"].iter().filter(|key| has(key)).count();
        let is_core = self.has_core_word();
        let is_sample = has("prompt") && (has("completion") || has("response"));
        match () {
            () if has("action") && has("reward") && has("done") => Some("a trajectory"),
            () if is_sample => Some("samples of a data set"),
            () if text > 2000 || (text > 200 && !is_core) => Some("rows of text"),
            () if is_core => None,
            () if self.list_items / self.records > 16 => Some("rows of lists"),
            () if is_track => Some("coordinates"),
            () if prices >= 3 => Some("prices"),
            () if SAMPLE_KEYS.split(' ').any(has) => Some("samples of a data set"),
            () => None,
        }
    }

    /// The key that serves as axis.
    fn axis(&self) -> Option<&str> {
        let rank = |key: &str| match axis::role_of(key) {
            Role::Step(rank) => rank,
            _ => u8::MAX,
        };
        let is_training = self.has_training_word();
        let fits = |steps: &&Steps| steps.is_axis() && (steps.distinct || steps.count < 8 || is_training);
        let fitting = self.axes.iter().filter(|(_, steps)| fits(steps));
        fitting.map(|(key, _)| key.as_str()).min_by_key(|key| rank(key))
    }

    /// Rows without an axis are a log only when they are nothing but numbers of training.
    fn without_axis(&self, shape: Shape) -> Verdict {
        let is_label = |key: &String| {
            let words = goal::words(key);
            words.iter().any(|word| ["id", "label", "target", "class", "index"].contains(&word.as_str()))
        };
        let is_numeric = self.text_leaves == 0 && self.list_items == 0 && !self.numbers.keys().any(is_label);
        let is_training = match shape {
            Shape::Objects => self.has_core_word() || (self.axes.is_empty() && self.has_training_word()),
            Shape::Table => self.has_core_word() && !self.numbers.keys().any(|key| is_data(key)),
        };
        let is_result = shape == Shape::Table && self.keys.contains_key("trial");
        match () {
            () if is_result => other("a table of results"),
            () if !is_numeric || !is_training => other("no axis: neither a step nor an epoch"),
            () if self.records < 2 => Verdict::TooEarly,
            () => Verdict::Log { marks: String::new() },
        }
    }
}

impl Steps {
    fn add(&mut self, group: u64, step: Option<f64>, value: &Json<'_>) {
        let Some(step) = step else {
            self.bad += usize::from(!matches!(value, Json::Null));
            return;
        };
        self.count += 1;
        if let Some(last) = self.last.insert(group, step) {
            self.falls += usize::from(step < last);
            self.distinct |= step != last;
        }
    }

    /// Mostly numbers that mostly do not fall.
    fn is_axis(&self) -> bool {
        self.count > self.bad && self.falls <= 1 + self.count / 4
    }
}

/// Rows of the same keys, of the same run, count on their own.
fn row_group(row: &Fields<'_>) -> u64 {
    row.iter().fold(0, |group, (key, value)| {
        let own = match (axis::role_of(key), value) {
            (_, Json::Null) => return group,
            (Role::Run(_) | Role::Kind, Json::String(_) | Json::Number(..)) => {
                axis::hash_of(value.to_text().as_bytes())
            }
            _ => 0,
        };
        group ^ axis::hash_of(key.as_bytes()).wrapping_add(own)
    })
}

/// Rows that hold the configuration, or mark start and end.
fn is_special(row: &Fields<'_>) -> bool {
    let has_step = row.iter().any(|(key, _)| matches!(axis::role_of(key), Role::Step(_) | Role::Epoch));
    row.iter().any(|(key, value)| match axis::role_of(key) {
        Role::Config => !has_step && matches!(value, Json::Object(_)) && row.len() <= 8,
        Role::Kind => {
            value.as_str().is_some_and(|word| !matches!(axis::kind_of(key, word), Kind::Other | Kind::Split))
        }
        _ => false,
    })
}

fn weight(value: &Json<'_>) -> usize {
    match value {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(weight).sum(),
        Json::Object(fields) => fields.iter().map(|(_, value)| weight(value)).sum(),
        _ => 0,
    }
}

/// Whether a name holds a word of training.
pub fn is_training(key: &str) -> bool {
    let words = goal::words(key);
    let known = |word: &str| {
        let bare = word.trim_end_matches(|c: char| c.is_ascii_digit());
        let listed = |list: &[&str]| list.contains(&word) || list.contains(&bare);
        is_in(TRAINING_WORDS, word)
            || is_in(TRAINING_WORDS, bare)
            || (listed(goal::MIN_WORDS) || listed(goal::MAX_WORDS)) && !(is_in(AMBIGUOUS_WORDS, word))
    };
    words.iter().any(|word| known(word))
}

fn is_core(key: &str) -> bool {
    let words = goal::words(key);
    let is_rate = words.iter().any(|word| word == "learning") && words.iter().any(|word| word == "rate");
    is_rate || words.iter().any(|word| is_in(CORE_WORDS, word))
}

fn is_data(key: &str) -> bool {
    let words = goal::words(key);
    words.last().is_none_or(|word| is_in(DATA_WORDS, word))
        || words.iter().any(|word| word == "id" || word == "index")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::csv::Csv;
    use crate::sources::jsonl::Jsonl;
    use crate::sources::{HEAD_BYTES, Source};

    fn verdict(path: &str, text: &str) -> Verdict {
        let source: &dyn Source = if has_extension(path, &["csv", "tsv"]) { &Csv } else { &Jsonl };
        source.sniff(path, &text.as_bytes()[..text.len().min(HEAD_BYTES)])
    }

    /// `line` with the row number in place of `#`.
    fn rows(header: &str, line: &str) -> String {
        let lines = (0..30).map(|i| line.replace('#', &i.to_string()) + "\n");
        header.to_string() + &lines.collect::<String>()
    }

    #[test]
    fn data_sets_are_left_alone() {
        let embedding = format!("{{\"id\": #, \"step\": #, \"embedding\": [{}1]}}", "0.25, ".repeat(64));
        let story =
            format!("{{\"step\": #, \"loss\": 1.5, \"text\": \"{}\"}}", "once upon a time ".repeat(200));
        for (path, header, line) in [
            ("chat.jsonl", "", r##"{"messages": [{"role": "user", "content": "hi #"}], "id": #}"##),
            ("text.jsonl", "", r##"{"text": "one line of a corpus, number #", "epoch": 1, "score": 0.5}"##),
            ("story.jsonl", "", story.as_str()),
            ("sft.jsonl", "", r##"{"step": #, "instruction": "Add # and 2", "output": "4", "score": 0.5}"##),
            ("short.jsonl", "", r##"{"step": #, "action": "click", "duration": 3.5}"##),
            ("coco.json", "", r##"{"id": #, "image_id": 1, "bbox": [1, 2, 3, 4], "area": 12.5},"##),
            ("embed.jsonl", "", embedding.as_str()),
            (
                "access.log",
                "",
                r##"{"time": "2026-01-01T00:00:00Z", "method": "GET", "path": "/#", "status": 200, "duration_ms": 12}"##,
            ),
            ("access.jsonl", "", r##"{"ts": 17600000##, "status": 200, "latency": 0.5, "error": 0}"##),
            ("walk.jsonl", "", r##"{"step": #, "lat": 48.1, "lon": 11.5, "hr": 120}"##),
            ("xy.jsonl", "", r##"{"step": #, "x": 1.5, "y": 2.5, "z": 0.5}"##),
            (
                "env.jsonl",
                "",
                r##"{"step": #, "obs": [1, 2, 3], "action": 1, "done_flag": 0.5, "value": 1}"##,
            ),
            ("random.jsonl", "", r##"{"step": "a#", "value": 1.5}"##),
            ("prices.csv", "date,open,high,low,close,volume\n", "2026-01-01,1.5,2.5,1,2,1000#"),
            ("ticks.csv", "time,price\n", "17600000#,1.5"),
            ("returns.csv", "date,return,close\n", "2026-01-01,0.5,1.5"),
            ("iris.csv", "sepal_length,sepal_width,species\n", "5.1,3.5,setosa"),
            ("cancer.csv", "mean radius,radius error,target\n", "5.1,3.5,1"),
            ("steps.csv", "date,steps,calories\n", "2026-01-01,40#,2000"),
            ("play.csv", "episode,step,obs0,action,reward,done\n", "0,#,0.5,1,1.0,0"),
            ("prm.jsonl", "", r##"{"step": #, "prompt": "x", "completion": "y", "loss": 0.5, "reward": 1}"##),
            ("trials.csv", "trial,lr,val_loss\n", "#,0.1,0.5"),
            ("fraud.csv", "step,type,amount,isFraud\n", "#,PAYMENT,9839.64,0"),
            ("bench.csv", "name,iter,time_ns\n", "sort,#,120.5"),
            ("bench2.csv", "batch,seq_len,latency_ms,throughput\n", "#,512,1.5,300"),
            ("bench3.csv", "n,iter,seconds\n", "100,#,1.5"),
            ("unix.csv", "epoch,temperature\n", "17600000#,21.5"),
            ("shuffled.csv", "id,label,pixel0,pixel1\n", "#,3,0,255"),
        ] {
            let text = rows(header, line);
            let text = if path == "coco.json" { format!("[{text}]") } else { text };
            assert!(
                matches!(verdict(path, &text), Verdict::Other { .. }),
                "{path}: {:?}",
                verdict(path, &text)
            );
        }
    }

    #[test]
    fn falling_numbers_are_no_axis() {
        let lines: String =
            (0..40).map(|i| format!("{{\"step\": {}, \"value\": 1.5}}\n", (i * 17) % 40)).collect();
        assert!(matches!(verdict("a.jsonl", &lines), Verdict::Other { .. }));
    }

    #[test]
    fn logs_are_recognised() {
        for (path, header, line) in [
            ("a.jsonl", "", r##"{"step": #, "loss": 1.5}"##),
            ("a.jsonl", "", r##"{"step": #, "temperature": 1.5}"##),
            ("a.jsonl", "", r##"{"epoch": #, "acc": 0.5, "time": "2026-01-01T00:00:00Z"}"##),
            ("a.jsonl", "", r##"{"it": #, "train": {"loss": 1.5}, "note": "fine"}"##),
            ("a.jsonl", "", r##"{"mode": "train", "step": #, "loss": NaN}"##),
            (
                "a.jsonl",
                "",
                r##"{"current_steps": #, "total_steps": 90, "loss": 1.5, "lr": 0.1, "elapsed_time": "0:00:01", "remaining_time": "1:00:00"}"##,
            ),
            ("a.log", "starting\n", r##"{"step": #, "loss": 1.5}"##),
            (
                "result.json",
                "",
                r##"{"training_iteration": #, "episode_reward_mean": 1.5, "config": {"lr": 0.1, "env": "x"}, "trial_id": "a"}"##,
            ),
            ("a.jsonl", "{\"config\": {\"lr\": 0.1}}\n", r##"{"step": #, "speed": 1.5}"##),
            ("a.csv", "step,value\n", "#,1.5"),
            ("run-train_loss.csv", "Wall time,Step,Value\n", "1795080000.#,#,2.5"),
            ("a.log", "", r##"{"lineno": 4, "process": 12, "step": #, "loss": 1.5}"##),
            ("a.csv", "epoch;train_loss;valid_loss\n", "#;1.5;2"),
            ("summary.csv", "epoch,train_loss,eval_top1\n", "#,1.5,2"),
            ("progress.csv", "time/total_timesteps,rollout/ep_rew_mean\n", "#,1.5"),
            ("a.csv", "loss,acc\n", "1.5,#"),
        ] {
            let text = rows(header, line);
            assert!(
                matches!(verdict(path, &text), Verdict::Log { .. }),
                "{line}: {:?}",
                verdict(path, &text)
            );
        }
        assert!(matches!(verdict("a.jsonl", "{\"step\": 0, \"loss\": 1.5}\n"), Verdict::Log { .. }));
        for early in [
            "",
            "\n",
            "{\"config\": {\"lr\": 1}}\n",
            "{\"step\": 0, \"temp\": 1.5}\n",
            "{\"step\": 0, \"lo",
            "starting\n",
        ] {
            assert_eq!(verdict("a.jsonl", early), Verdict::TooEarly, "{early}");
        }
    }

    #[test]
    fn paths_of_others() {
        for path in [
            "wandb/run-20260102_030405-ab12/files/wandb-events.jsonl",
            "x/offline-run-20260102_030405-ab12/logs/a.log",
            "wandb/debug-internal.log",
            "a/vis_data/scalars.json",
            ".exprag/runs/a.jsonl",
            "mlruns/0/a.json",
            "web/package.json",
            "tsconfig.base.json",
            "a/trainer_state.json",
            "._metrics.jsonl",
        ] {
            assert!(is_other(path), "{path}");
        }
        for path in ["run-1/metrics.jsonl", "runs/run-20260102/log.jsonl", "debug.log", "wandb/metrics.jsonl"]
        {
            assert!(!is_other(path), "{path}");
        }
    }
}
