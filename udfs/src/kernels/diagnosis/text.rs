//! A finding in words: what, by how much, where, since when; and what to do.

use super::finding::{Finding, Kind};

impl Finding {
    /// What happened to the metric `key`, in one sentence with its numbers.
    pub fn message(&self, key: &str) -> String {
        let (step, value, baseline) = (self.step, digits(self.value), digits(self.baseline));
        let rise = percent(self.value / self.baseline - 1.0);
        let until = self.end_step.map_or("still on".to_owned(), |end| format!("until step {end}"));
        match self.kind {
            Kind::Nan if self.level < super::Level::Warn => {
                format!(
                    "{key} not finite in {} single rows from step {step} on: the loss scaler skipped them",
                    self.rows
                )
            }
            Kind::Nan => format!("{key} not finite from step {step} on, {} rows, {until}", self.rows),
            Kind::LossSpike if self.level < super::Level::Warn => format!(
                "{key} up to {value} in {} from step {step} on, level {baseline} (z {}): hard batches",
                if self.rows == 1 {
                    "one row".to_owned()
                } else {
                    format!("{} rows now and then", self.rows)
                },
                digits(self.score),
            ),
            Kind::LossSpike => format!(
                "{key} spike at step {step}: {value}, level {baseline} before (z {}), {}",
                digits(self.score),
                self.end_step.map_or("still up".to_owned(), |_| format!("back after {} rows", self.rows))
            ),
            Kind::Divergence => format!("{key} rises since step {step}: {value} after {baseline} at best"),
            Kind::Plateau => {
                format!(
                    "{key} flat at {value} since step {step}: gain {} in the newest 30 %",
                    percent(self.score)
                )
            }
            Kind::Overfitting => {
                format!("{key} worse since its best {baseline} at step {step}: {value} now ({rise})")
            }
            Kind::GradExplosion => format!(
                "{key} {}x its level at step {step}: {value} after {baseline}, {} rows, {until}",
                digits(self.value / self.baseline),
                self.rows
            ),
            Kind::GradVanishing => {
                format!("{key} vanished at step {step}: {value} after {baseline}, {until}")
            }
            Kind::ThroughputDrop => {
                format!("{key} {rise} since step {step}: {value} after {baseline}, {until}")
            }
            Kind::MemoryLeak | Kind::OomRisk => {
                format!("{key} grows since step {step}: from {baseline} to {value}")
            }
            Kind::RewardCollapse => format!("{key} fell since step {step}: {value} after {baseline} at best"),
            Kind::KlBlowup => format!("{key} {value} since step {step}, {baseline} early on"),
            Kind::EntropyCollapse | Kind::LengthCollapse => {
                format!("{key} down to {value} since step {step}, {baseline} early on")
            }
            Kind::Resume => {
                format!("resumed at step {step}: rows logged before from there on are superseded")
            }
            Kind::BehindSiblings => format!(
                "{key} behind its siblings since step {step}: {value}, their median {baseline} ({rise})"
            ),
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> String {
        let step = self.step;
        match self.kind {
            Kind::Nan => format!(
                "go back to a checkpoint before step {step}; look for overflow, a zero division or bad data there"
            ),
            Kind::LossSpike if self.level < super::Level::Warn => {
                "nothing; in repeated runs they are at the same place of the data".to_owned()
            }
            Kind::LossSpike => format!(
                "check the batches near step {step}; if spikes repeat, lower lr or clip gradients at 1.0"
            ),
            Kind::Divergence => format!(
                "restart from the last checkpoint before step {step}, skip 200 to 500 batches or lower lr"
            ),
            Kind::Plateau => "stop, or lower lr; more of the same gains nothing".to_owned(),
            Kind::Overfitting => format!("keep the checkpoint of step {step}; stop, or regularise"),
            Kind::GradExplosion => format!("clip gradients, look at the data near step {step}, lower lr"),
            Kind::GradVanishing => {
                "look for dead units, saturated outputs, a loss that is detached, or underflow".to_owned()
            }
            Kind::ThroughputDrop => {
                "look at the data loader, other jobs on the machine, and thermal limits".to_owned()
            }
            Kind::MemoryLeak => {
                "look for tensors that are kept with their graph, such as losses in a list".to_owned()
            }
            Kind::OomRisk => "save a checkpoint; it will run out of memory before it ends".to_owned(),
            Kind::RewardCollapse => {
                format!("go back to a checkpoint before step {step}; lower lr or raise the KL penalty")
            }
            Kind::KlBlowup => {
                format!("go back to a checkpoint before step {step}; raise the KL penalty or clip updates")
            }
            Kind::EntropyCollapse => "raise the entropy bonus or the temperature".to_owned(),
            Kind::LengthCollapse => "look at the reward of short answers; normalise it by length".to_owned(),
            Kind::Resume => "nothing".to_owned(),
            Kind::BehindSiblings => "stop it if it is part of a sweep; compare its configuration".to_owned(),
        }
    }
}

/// Three significant digits, whole numbers in full.
pub fn digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let exponent = value.abs().log10().floor() as i32;
    match exponent {
        -4..=2 => format!("{value:.*}", usize::try_from(2 - exponent).unwrap_or(0)),
        3..=5 => format!("{value:.0}"),
        _ => format!("{value:.2e}"),
    }
}

/// A share as a percentage with its sign.
pub fn percent(share: f64) -> String {
    let decimals = if share.abs() < 0.1 { 1 } else { 0 };
    format!("{:+.decimals$} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let shown = [2.0312, 8.31, 61.4, 1234.5, 0.000_123_4, 1.5e-7, 2.5e9, 0.0, -41.25].map(digits);
        assert_eq!(shown, ["2.03", "8.31", "61.4", "1234", "0.000123", "1.50e-7", "2.50e9", "0", "-41.2"]);
        assert_eq!([-0.4, 0.0213, 1.5].map(percent), ["-40 %", "+2.1 %", "+150 %"]);
    }
}
