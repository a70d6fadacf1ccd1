//! `runq.toml` as it is written for a project: every setting, with what it does and its default.

use runq_udfs::kernels::diagnosis::{Kind, Limits, Role};
use std::collections::BTreeSet;
use std::fmt::Write;

const HEAD: &str = r##"# Settings of runq for the logs in this folder and below.
# Lines that begin with # and a blank are words. The others are settings, at their default or as an example:
# take the # away, and change them. A key that means nothing is an error.

# Folders below this one in which logs are looked for. Default: all of it.
#roots = ["logs", "outputs"]

# What is no log, as in .gitignore. !pattern brings back what is left out by itself.
#ignore = ["old/", "*.bak"]

# The metric that runs and history show where none is asked for; @best is the best run by it.
#primary_metric = "val/loss"

# Words in the names of metrics that tell of validation, besides val, eval, dev and test: those come first where
# no metric is asked for, and are what the diagnosis knows as validation (holdout/loss, loss_dev_b).
#validation_sets = ["holdout"]

# Names of metrics that hold a step. All names of a pattern are one metric, here loss_step, with {i} as its step.
#per_step = ["loss_step_{i}"]

# More folders with queries (*.sql) that are commands, besides .runq/queries.
#queries = ["queries"]

# Which way a metric is better, min or max, where neither the tracker nor its name tells (runq best --explain).
#[goals]
#my_score = "max"

# Words that stand for a metric or a run.
#[aliases]
#vl = "val/loss"
#baseline = "@best:val/loss"

# Metrics that are asked for together: runq history -k losses.
#[groups]
#losses = ["train/loss", "val/loss"]

# What metrics are called in tables and pictures. Programs and agents get the names that were logged.
#[names]
#"val/loss" = "validation loss"

# How their numbers are written there: .4f, .3e, .4g (significant digits) or .1%. Programs get every digit.
#[formats]
#lr = ".2e"
#"val/acc" = ".1%"

# Lines of a console that no known dialect reads. Groups step, epoch, time, split and run have their meaning,
# each other named group is a metric; the sample must match.
#[[console.patterns]]
#name = "mine"
#pattern = '<(?P<step>\d+)> L=(?P<loss>\S+)'
#sample = "<3> L=2.5"

"##;

/// The text of a `runq.toml` in which everything is commented out.
pub fn template() -> String {
    let mut text = String::from(HEAD);
    let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "# What a metric means to the diagnosis, where its name does not tell: none, or one of\n# {}.\n#[roles]\n#my_metric = \"none\"\n",
        roles.join(", ")
    );
    text.push_str("# From where on something is wrong.\n");
    let (defaults, mut told) = (Limits::default(), BTreeSet::new());
    for (name, limits) in Kind::every().map(|kind| kind.limits(&defaults)) {
        // Some kinds share theirs.
        if limits.is_empty() || !told.insert(name) {
            continue;
        }
        let _ = writeln!(text, "\n#[thresholds.{name}]");
        for limit in limits {
            let _ = writeln!(text, "# {}\n#{} = {:?}", limit.meaning, limit.name, limit.value);
        }
    }
    text
}
