//! Documentation of the functions named after the kinds of findings.

use std::sync::LazyLock;

use datafusion::logical_expr::Documentation;

use crate::docs::{PLANNED_STEPS, STEP, VALUE, document};
use crate::kernels::diagnosis::Kind;

/// What all of them say of their result.
const RESULT: &str = "The list has, in order of step: `step` (the onset), `end_step` (the last row of it, null while it goes on), `detected_step` (the row at which the rule first held), `level` (`info`, `warn` or `error`), `value`, `baseline`, `score` and `rows` (rows it lasted). A healthy, short or empty curve has the empty list.";

/// What those say that look at finite values alone.
const FINITE: &str = "NaN and infinities are left out.";

/// Documentation of the function of a kind.
pub(crate) fn documentation(kind: Kind) -> &'static Documentation {
    static ALL: LazyLock<[Documentation; Kind::ALL.len()]> = LazyLock::new(|| RULES.map(build));
    &ALL[kind as usize]
}

fn build((kind, rule): (Kind, &str)) -> Documentation {
    let name = kind.as_str();
    let finite = if kind == Kind::Nan { "" } else { FINITE };
    let description = [rule, RESULT, finite].join(" ");
    let extra = extra_arguments(kind);
    let names: Vec<&str> = extra.iter().map(|(name, _)| *name).collect();
    let syntax = match (kind, names.as_slice()) {
        (Kind::OomRisk, _) => format!("{name}(step, value, capacity [, planned_steps])"),
        (_, []) => format!("{name}(step, value)"),
        (_, names) => format!("{name}(step, value [, {}])", names.join(", ")),
    };
    let call = match kind {
        Kind::Overfitting => format!("{name}(step, value, 'min')"),
        Kind::OomRisk => format!("{name}(step, value, 80)"),
        _ => format!("{name}(step, value)"),
    };
    let key = key(kind);
    let example = format!(
        "select run_id, {call} as found from metrics where key = '{key}' group by run_id order by run_id"
    );
    let arguments = [&[("step", STEP), ("value", VALUE)], extra].concat();
    document(description.trim_end(), &syntax, &example, &arguments)
}

/// The metric of the example.
fn key(kind: Kind) -> &'static str {
    match kind {
        Kind::GradExplosion | Kind::GradVanishing => "grad_norm",
        Kind::ThroughputDrop => "throughput",
        Kind::MemoryLeak | Kind::OomRisk => "gpu_mem",
        Kind::RewardCollapse => "reward",
        Kind::KlBlowup => "kl",
        Kind::EntropyCollapse => "entropy",
        Kind::LengthCollapse => "length",
        Kind::Overfitting => "val_loss",
        _ => "loss",
    }
}

const CAPACITY: (&str, &str) = (
    "capacity",
    "Memory of the accelerator, in the unit of the value: a number, also a column, whose greatest value counts. Null is unknown.",
);

fn extra_arguments(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Overfitting => {
            &[("goal", "Which way the metric is better: the literal 'min' or 'max', by default 'min'.")]
        }
        Kind::MemoryLeak => &[CAPACITY],
        Kind::OomRisk => &[CAPACITY, ("planned_steps", PLANNED_STEPS)],
        _ => &[],
    }
}

/// What fires, and what value, baseline and score then are; in the order of [`Kind::ALL`].
const RULES: [(Kind, &str); Kind::ALL.len()] = [
    (
        Kind::Nan,
        "Finds where a loss stopped being a number: the first NaN or infinity is an error, and the only finding. It goes on where the newest row is still none.",
    ),
    (
        Kind::LossSpike,
        "Finds rises of a loss that come back. A row opens an episode when it is over 5.5 robust standard deviations and over 9 % above the median of the accepted rows before it; 3 rows back near the level close it. `value` is the peak, `baseline` the median before it, `score` the peak in robust standard deviations. An error is a peak above twice the level; one row less than 60 % above it, a hard batch, and few rows that recur are facts (`info`). A rise that lasts over 30 rows and 6 % of the rows so far is a new level, not a spike, and what belongs to a divergence is left to it. Restarts of the learning rate are known to `diagnose` only.",
    ),
    (
        Kind::Divergence,
        "Finds a rise of a loss that does not come back: its newest level is over 10 % and over 3 standard deviations of the noise above its best, has stayed there, and does not fall. `value` is the level now, `baseline` the best before, `score` the rise in units of what is needed. Always an error.",
    ),
    (
        Kind::Plateau,
        "Finds a loss from which nothing worth the compute is gained any more: the newest 30 % of its rows gained less than about 1 %, and are calm enough to know. `value` is the level now, `baseline` that at the onset, `score` the gain as a share. It wants 50 rows, and is silent while the loss diverges.",
    ),
    (
        Kind::Overfitting,
        "Finds a validation metric that got worse since its best and goes on to. `step` is that of the best, which is the checkpoint to keep; `value` is the level now, `baseline` the best, `score` the rise in units of what is needed. An error from a fifth on. It wants 8 points. Whether the training loss rose as well is known to `diagnose` only.",
    ),
    (
        Kind::GradExplosion,
        "Finds bursts of a gradient norm: over 8 times, and over 5 robust standard deviations of the logarithm above, the median of the last 96 accepted rows; where there is none, a norm that grew to 12 times its lowest. `value` is the peak, `baseline` the median before it, `score` the peak in standard deviations (of slow growth, the ratio). An error when it is over 100 times or does not come back. The first 12 rows are left out.",
    ),
    (
        Kind::GradVanishing,
        "Finds a gradient norm that is as good as zero: 8 rows below a thousandth of its early level. `value` is the norm, `baseline` the early level, `score` their ratio. Always an error.",
    ),
    (
        Kind::ThroughputDrop,
        "Finds a throughput that fell for longer than a checkpoint or an evaluation takes: over 22 % below the median of the last 200 healthy rows, for at least 8 rows. `value` is the throughput in it, `baseline` that before it, `score` the share that was lost. An error from a half on.",
    ),
    (
        Kind::MemoryLeak,
        "Finds memory that grows steadily: flat, then a line, whose growth is over 4.5 % of the capacity (of the largest value where that is not known), even, and without one great step. `value` is the level now, `baseline` that before the growth, `score` the share of the variance that the line explains. Memory that is full but steady is healthy.",
    ),
    (
        Kind::OomRisk,
        "Finds memory that grows steadily, as `memory_leak` does, and is at 90 % of the capacity, or will be full before the planned end where that is given. `value` is the level now, `baseline` that before the growth, `score` the share of the variance that the line explains. Always an error.",
    ),
    (
        Kind::RewardCollapse,
        "Finds a reward that lost over 45 % of what it had gained, and has not come back. `value` is the reward now, `baseline` its best. Always an error.",
    ),
    (
        Kind::KlBlowup,
        "Finds a policy that ran away from its reference: a divergence over 0.5 and over 3.5 times its early level, up to the newest row. `value` is the divergence now, `baseline` the early level. Always an error.",
    ),
    (
        Kind::EntropyCollapse,
        "Finds a policy that always does the same: an entropy below 22 % of that of the first fifth of the rows, up to the newest row. `value` is the entropy now, `baseline` the early level. Always an error.",
    ),
    (
        Kind::LengthCollapse,
        "Finds answers that became short: a length below 40 % of that of the first quarter of the rows, up to the newest row. `value` is the length now, `baseline` the early level. Always an error.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_rule() {
        assert_eq!(RULES.map(|(kind, _)| kind), Kind::ALL);
        assert!(Kind::ALL.iter().enumerate().all(|(place, kind)| *kind as usize == place));
    }
}
