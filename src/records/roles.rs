//! What metrics mean to the diagnosis, by their names over the habits of all trackers.

use super::Goal;
use super::goal::goal_of;
use super::names::ValidationSets;
use super::step_pattern::StepPattern;
use runq_udfs::kernels::diagnosis::{Limits, Role};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Curves of one role that are looked at.
pub const MAX_CURVES: usize = 8;

/// 2^30 bytes.
pub const BYTES_PER_GIB: f64 = (1_u64 << 30) as f64;

/// By what runs are judged, part of `runq.toml`: what metrics mean, and from where on something is wrong.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// Metrics whose role was set, or that are to have none.
    pub roles: BTreeMap<String, Option<Role>>,
    /// Validation sets of the project's own.
    pub validation_sets: ValidationSets,
    /// Names that hold a step: one point is no curve.
    pub per_step: Vec<StepPattern>,
    /// Thresholds.
    pub limits: Limits,
}

impl Rules {
    /// The role of a metric; none where it has none.
    pub fn role(&self, key: &str) -> Option<Role> {
        let is_step = || self.per_step.iter().any(|pattern| pattern.step(key).is_some());
        match self.roles.get(key) {
            Some(role) => *role,
            None if is_step() => None,
            None => role_of(key, &self.validation_sets),
        }
    }

    /// The curves a run with these metrics is judged by, the plainest of each role first, of many the
    /// first eight.
    pub fn curves<'a>(&self, metrics: impl Iterator<Item = (&'a str, Role)>) -> Vec<(Role, String)> {
        let mut curves: Vec<(Role, String)> = metrics.map(|(key, role)| (role, key.to_owned())).collect();
        curves.sort_by_cached_key(|(role, key)| {
            let rank = rank(key, &self.validation_sets);
            (*role, !self.roles.contains_key(key), rank, key.clone())
        });
        let (mut before, mut of_role) = (None, 0);
        curves.retain(|(role, _)| {
            of_role = if before.replace(*role) == Some(*role) { of_role + 1 } else { 1 };
            of_role <= MAX_CURVES
        });
        curves
    }

    /// A number that is another one where these rules, or this program, may judge otherwise.
    pub fn hash(&self) -> i64 {
        let text = format!("{} {self:?}", env!("CARGO_PKG_VERSION"));
        let digest = Sha256::digest(text.as_bytes());
        digest.iter().take(8).fold(0, |hash, byte| hash << 8 | i64::from(*byte))
    }
}

/// What a metric of memory counts, by its name; the best known first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryUnit {
    /// Percent of what there is.
    Share,
    /// Bytes.
    Bytes,
    /// 2^30 bytes.
    Gibibytes,
    /// Nobody knows.
    Unknown,
}

impl MemoryUnit {
    /// That of a metric of memory.
    fn of(key: &str) -> Self {
        let key = key.to_ascii_lowercase();
        // What Trackio logs of a device.
        let is_of_device = key.starts_with("system/gpu/") && key.ends_with("/allocated_memory");
        match () {
            () if key.ends_with("memoryallocated") || key.contains("percent") || key.contains("util") => {
                Self::Share
            }
            () if key.ends_with("bytes") => Self::Bytes,
            () if is_of_device || key.ends_with("_gib") => Self::Gibibytes,
            () => Self::Unknown,
        }
    }

    /// Keeps the metrics of memory in one unit, the best known there is, and tells which.
    pub fn keep_one(curves: &mut Vec<(Role, String)>) -> Option<Self> {
        let unit_of = |(role, key): &(Role, String)| (*role == Role::Memory).then(|| Self::of(key));
        let unit = curves.iter().filter_map(unit_of).min()?;
        curves.retain(|curve| unit_of(curve).is_none_or(|other| other == unit));
        Some(unit)
    }

    /// The memory there is, in this unit.
    pub fn capacity(self, gpu_memory_bytes: Option<u64>) -> Option<f64> {
        match self {
            Self::Share => Some(100.0),
            Self::Bytes => gpu_memory_bytes.map(|bytes| bytes as f64),
            Self::Gibibytes => gpu_memory_bytes.map(|bytes| bytes as f64 / BYTES_PER_GIB),
            Self::Unknown => None,
        }
    }
}

/// Words of losses that say nothing by themselves: parts of a policy's, of two rivals', weights.
const NO_LOSS: &[&str] = &[
    "scale",
    "scaler",
    "weight",
    "coef",
    "coeff",
    "actor",
    "critic",
    "policy",
    "pg",
    "vf",
    "value",
    "clipfrac",
    "g",
    "d",
    "gen",
    "disc",
    "generator",
    "discriminator",
    "adv",
    "adversarial",
    "entropy",
    "kl",
    "td",
    "q",
    "alpha",
];
/// Words of statistics that are no mean.
const NO_MEAN: &[&str] =
    &["std", "var", "min", "max", "margin", "margins", "coef", "coeff", "loss", "penalty", "bonus", "beta"];
const REWARDS: &[&str] = &["reward", "rewards", "rew", "return", "returns"];
const SECONDS: &[&str] = &["s", "sec", "second", "seconds", "secs"];

/// The role of a metric by its name; none where it has none.
fn role_of(key: &str, sets: &ValidationSets) -> Option<Role> {
    let words = sets.normal_words(key);
    let has = |word: &str| words.iter().any(|other| other == word);
    let any = |list: &[&str]| list.iter().any(|word| has(word));
    let is_machine = key.starts_with("system/");
    let is_validation = any(&["val", "test"]);
    // Of the other processes of a job only the first counts.
    if words.first().is_some_and(|word| word.starts_with("rank") && word.len() > 4) {
        return None;
    }
    if is_memory(&words) {
        return Some(Role::Memory);
    }
    if is_machine {
        return None;
    }
    if has("lr") {
        return Some(Role::Lr);
    }
    if has("gnorm") || (any(&["grad", "grads", "gradient", "gradients"]) && has("norm")) {
        return (!is_validation).then_some(Role::GradNorm);
    }
    if is_throughput(&words) {
        return (!is_validation).then_some(Role::Throughput);
    }
    policy_role(&words).or_else(|| loss_role(key, &words, is_validation))
}

/// Of an accelerator, or just `memory`.
fn is_memory(words: &[String]) -> bool {
    let has = |word: &str| words.iter().any(|other| other == word);
    let is_device =
        ["gpu", "cuda", "vram", "device", "hbm", "peak", "allocated", "reserved"].into_iter().any(has);
    let is_other = ["cpu", "disk", "proc", "host", "access", "clock", "ram", "swap", "free", "available"]
        .into_iter()
        .any(has);
    let is_memory = ["memory", "mem", "vram"].into_iter().any(has);
    is_memory && !is_other && (is_device || words.len() <= 2)
}

fn is_throughput(words: &[String]) -> bool {
    let is_rate = |pair: &[String]| pair[0] == "per" && SECONDS.contains(&pair[1].as_str());
    let has = |word: &str| words.iter().any(|other| other == word);
    let is_known = ["throughput", "tps", "fps", "wps", "ups", "mfu"].into_iter().any(has);
    let is_short = words.last().is_some_and(|last| last == "s")
        && ["it", "tok", "tokens", "samples", "steps"].into_iter().any(has);
    words.windows(2).any(is_rate) || is_known || is_short
}

fn policy_role(words: &[String]) -> Option<Role> {
    let has = |word: &str| words.iter().any(|other| other == word);
    let any = |list: &[&str]| list.iter().any(|word| has(word));
    if any(NO_MEAN) {
        return None;
    }
    if any(&["kl", "approxkl", "kld"]) {
        return Some(Role::Kl);
    }
    if has("entropy") && !has("cross") {
        return Some(Role::Entropy);
    }
    let is_answer =
        any(&["response", "responses", "completion", "completions", "ep", "episode", "generation"]);
    if any(&["length", "len", "lengths"]) && is_answer {
        return Some(Role::Length);
    }
    any(REWARDS).then_some(Role::Reward)
}

fn loss_role(key: &str, words: &[String], is_validation: bool) -> Option<Role> {
    let is_none = NO_LOSS.iter().any(|word| words.iter().any(|other| other == word));
    match (goal_of(key)?, is_validation) {
        (Goal::Max, true) => Some(Role::ValScore),
        (Goal::Min, _) if is_none => None,
        (Goal::Min, true) => Some(Role::ValLoss),
        (Goal::Min, false) if words.iter().any(|word| word.starts_with("loss") || word.ends_with("loss")) => {
            Some(Role::Loss)
        }
        _ => None,
    }
}

/// How surely a metric is the one of its role: the plainest name first.
fn rank(key: &str, sets: &ValidationSets) -> (usize, usize) {
    let plain =
        ["train/loss", "loss", "train/loss_total", "loss_total", "val/loss", "val/loss_total", "val/acc"];
    let form = sets.normal_form(key);
    let place = plain.iter().position(|name| *name == form).unwrap_or(plain.len());
    (place, key.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn roles_by_the_habits_of_trackers() {
        for (role, keys) in [
            (
                Some(Role::Loss),
                [
                    "loss",
                    "train/loss",
                    "loss_train",
                    "train_loss",
                    "Loss/train",
                    "lm loss",
                    "training.loss",
                    "loss_ce",
                    "train/box_loss",
                ]
                .as_slice(),
            ),
            (
                Some(Role::ValLoss),
                &["val_loss", "eval_loss", "validation/loss", "val/ppl", "test/loss", "eval/loss"],
            ),
            (Some(Role::ValScore), &["val/acc", "eval_accuracy", "val/f1", "test.accuracy"]),
            (Some(Role::GradNorm), &["grad_norm", "train/grad_norm", "grad norm", "gnorm", "gradient_norm"]),
            (
                Some(Role::Lr),
                &["lr", "optim/lr", "learning_rate", "lr-Adam", "train/learning_rate", "LearningRate"],
            ),
            (
                Some(Role::Throughput),
                &[
                    "it_per_sec",
                    "tokens_per_second",
                    "throughput",
                    "samples_per_s",
                    "train/tok/s",
                    "fps",
                    "mfu",
                ],
            ),
            (
                Some(Role::Memory),
                &["system/gpu.0.memoryAllocated", "gpu_mem", "memory", "GPU_mem", "max_memory_allocated"],
            ),
            (Some(Role::Reward), &["reward", "train/reward", "rollout/ep_rew_mean", "rewards/mean"]),
            (Some(Role::Kl), &["kl", "objective/kl", "train/approx_kl"]),
            (Some(Role::Entropy), &["entropy", "policy/entropy"]),
            (Some(Role::Length), &["completions/mean_length", "response_length", "rollout/ep_len_mean"]),
            (
                None,
                &[
                    "epoch",
                    "step",
                    "loss_scale",
                    "acc",
                    "policy_loss",
                    "g_loss",
                    "loss/discriminator",
                    "entropy_coef",
                    "system/cpu",
                    "system/gpu.0.powerWatts",
                    "rank1/loss",
                    "reward_std",
                    "time",
                    "",
                    "eval/samples_per_second",
                    "system/memory_percent",
                ],
            ),
        ] {
            for key in keys {
                assert_eq!(role_of(key, &ValidationSets::default()), role, "{key}");
            }
        }
    }

    #[test]
    fn validation_sets_of_a_project_have_roles() {
        let sets = ValidationSets::new(&["holdout".to_owned()]);
        let rules = Rules { validation_sets: sets, ..Rules::default() };
        assert_ne!(rules.hash(), Rules::default().hash());
        for (key, usual, role) in [
            ("holdout/loss", Some(Role::Loss), Some(Role::ValLoss)),
            ("holdout_acc", None, Some(Role::ValScore)),
            ("grad_norm_holdout", Some(Role::GradNorm), None),
            ("train/loss", Some(Role::Loss), Some(Role::Loss)),
        ] {
            assert_eq!((Rules::default().role(key), rules.role(key)), (usual, role), "{key}");
        }
    }

    #[test]
    fn memory_is_looked_at_in_one_unit() {
        for (keys, kept, capacity) in [
            (["system/gpu.0.memoryAllocated", "system/gpu.0.memoryAllocatedBytes"], 1, Some(100.0)),
            (["system/gpu.0.memoryAllocatedBytes", "gpu_mem"], 1, Some(80.0 * BYTES_PER_GIB)),
            (["system/gpu/0/allocated_memory", "system/gpu/1/allocated_memory"], 2, Some(80.0)),
            (["gpu_mem", "max_memory"], 2, None),
        ] {
            let mut curves: Vec<(Role, String)> = keys.map(|key| (Role::Memory, key.to_owned())).into();
            let unit = MemoryUnit::keep_one(&mut curves).unwrap();
            assert_eq!((curves.len(), unit.capacity(Some(80 << 30))), (kept, capacity), "{keys:?}");
        }
        assert_eq!(MemoryUnit::keep_one(&mut vec![(Role::Loss, "loss".to_owned())]), None);
    }

    #[test]
    fn the_plainest_name_comes_first() {
        let mut keys = ["loss_ce", "train/loss", "train/box_loss"];
        keys.sort_by_key(|key| rank(key, &ValidationSets::default()));
        assert_eq!(keys, ["train/loss", "loss_ce", "train/box_loss"]);
    }
}
