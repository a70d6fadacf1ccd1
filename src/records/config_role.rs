//! Which hyperparameters do not say how a run trains: its seed, and what only tells runs apart.

use super::goal::words;

/// What such a hyperparameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigRole {
    /// The seed of the random numbers.
    Seed,
    /// A name, a folder, a time or a place of the run.
    Label,
}

/// Names of seeds that do not hold the word.
const SEEDS: &[&str] = &["random_state", "rng_state"];

/// Last parts of the names of labels.
const LABELS: &[&str] = &[
    "checkpoint_dir",
    "ckpt_dir",
    "created_at",
    "exp_id",
    "exp_name",
    "experiment_id",
    "experiment_name",
    "host",
    "hostname",
    "job_id",
    "job_name",
    "log_dir",
    "log_file",
    "logdir",
    "logging_dir",
    "master_port",
    "out_dir",
    "output_dir",
    "output_path",
    "outputdir",
    "pid",
    "run_dir",
    "run_id",
    "run_name",
    "save_dir",
    "save_path",
    "slurm_job_id",
    "start_time",
    "timestamp",
    "trial_id",
    "trial_name",
    "work_dir",
    "working_dir",
];

/// Labels where nothing stands before them: `model.name` says how a run trains.
const TOP_LABELS: &[&str] = &["date", "id", "name", "notes", "path", "port", "tags", "time", "uuid"];

impl ConfigRole {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ConfigRole::Seed => "seed",
            ConfigRole::Label => "label",
        }
    }

    /// The role of a hyperparameter by its name; `None` for one that says how a run trains.
    pub fn of(key: &str) -> Option<ConfigRole> {
        let last = words(key.rsplit('.').next().unwrap_or(key));
        let name = last.join("_");
        let is_in = |list: &[&str]| list.contains(&name.as_str());
        match () {
            () if last.iter().any(|word| word == "seed") || is_in(SEEDS) => Some(ConfigRole::Seed),
            () if is_in(LABELS) || key.starts_with('_') => Some(ConfigRole::Label),
            () if is_in(TOP_LABELS) && !key.contains('.') => Some(ConfigRole::Label),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ConfigRole;

    #[test]
    fn names_tell_what_does_not_shape_a_training() {
        for (role, keys) in [
            (Some("seed"), ["seed", "data.seed", "random_seed", "dataSeed", "cfg.random_state"].as_slice()),
            (Some("label"), &["name", "output_dir", "trainer.logging_dir", "run-name", "_wandb.t"]),
            (None, &["lr", "model.name", "dataset.path", "use_seedable_sampler", "optim.id", ""]),
        ] {
            for key in keys {
                assert_eq!(ConfigRole::of(key).map(ConfigRole::as_str), role, "{key}");
            }
        }
    }
}
