//! Metrics that are logged under a name for each step, `loss_step_0`, `loss_step_1`, and are one curve.

/// Stands for the step in a pattern.
const PLACE: &str = "{i}";

/// Signs between the parts of a name.
const SEPARATORS: [char; 6] = ['_', '/', '.', '-', ':', ' '];

/// The names of one metric, as in `loss_step_{i}`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct StepPattern {
    before: String,
    after: String,
}

impl TryFrom<String> for StepPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(PLACE).collect();
        let pattern = match parts.as_slice() {
            [before, after] => Self { before: (*before).to_owned(), after: (*after).to_owned() },
            _ => {
                return Err(format!(
                    "\"{text}\" is no pattern of names: write {PLACE} once, as in loss_step_{PLACE}"
                ));
            }
        };
        match pattern.metric().is_empty() {
            true => Err(format!("\"{text}\" leaves no name of a metric without {PLACE}")),
            false => Ok(pattern),
        }
    }
}

impl StepPattern {
    /// The metric they are: the pattern without the step and the signs before it.
    pub fn metric(&self) -> String {
        match self.before.trim_end_matches(SEPARATORS) {
            "" => self.after.trim_start_matches(SEPARATORS).to_owned(),
            before => format!("{before}{}", self.after),
        }
    }

    /// The step in a name, where it is one of these.
    pub fn step(&self, key: &str) -> Option<i64> {
        let digits = key.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        // A sign is no part of a number there.
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::StepPattern;

    fn pattern(text: &str) -> StepPattern {
        StepPattern::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn names_hold_their_step() {
        for (text, metric, key, step) in [
            ("loss_step_{i}", "loss_step", "loss_step_12", Some(12)),
            ("loss_step_{i}", "loss_step", "loss_step_007", Some(7)),
            ("loss_step_{i}", "loss_step", "loss_step_", None),
            ("loss_step_{i}", "loss_step", "loss_step_1a", None),
            ("loss_step_{i}", "loss_step", "loss_step_-1", None),
            ("loss_step_{i}", "loss_step", "loss_step_99999999999999999999", None),
            ("layer.{i}/grad_norm", "layer/grad_norm", "layer.3/grad_norm", Some(3)),
            ("layer.{i}/grad_norm", "layer/grad_norm", "layer.3/grad", None),
            ("{i}/loss", "loss", "5/loss", Some(5)),
        ] {
            assert_eq!(pattern(text).metric(), metric, "{text}");
            assert_eq!(pattern(text).step(key), step, "{text} {key}");
        }
    }

    #[test]
    fn a_pattern_has_one_place_for_the_step() {
        for wrong in ["loss", "", "{i}", "_{i}/", "a{i}b{i}", "loss_{n}"] {
            assert!(StepPattern::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
