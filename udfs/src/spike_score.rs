//! `spike_score(value)`: how unlikely a row is as the next of a loss.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Documentation, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
};

use crate::args::{check_count, value_type};
use crate::docs::document;
use crate::kernels::spike::SpikeDetector;
use crate::window::{numbers, result_field};

const NAME: &str = "spike_score";

/// Window function `spike_score(value)` to a double in each row, in robust standard deviations.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SpikeScore {
    signature: Signature,
}

impl Default for SpikeScore {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The function for registration.
pub fn spike_score_udwf() -> WindowUDF {
    WindowUDF::from(SpikeScore::default())
}

impl WindowUDFImpl for SpikeScore {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        check_count(NAME, types, &[1])?;
        types.iter().map(|given| value_type(NAME, given)).collect()
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(SpikeScoreEvaluator))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(result_field(&args, DataType::Float64))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Gives the distance of each row above the median of the last 48 accepted rows before it, in robust standard deviations (`loss_spike` opens an episode above 5.5). Rows of an open episode are measured against the rows before it. Null for the first 20 rows, for null, NaN and infinite values, and where the run has no scale (all zero). A frame is not looked at.",
                "spike_score(value) over (partition by run_id, key order by step)",
                "select run_id, step, spike_score(value) over (partition by run_id, key order by step) as score from metrics where key = 'loss' order by score desc nulls last, run_id, step limit 5",
                &[("value", "A loss, as double.")],
            )
        });
        Some(&DOCUMENTATION)
    }
}

#[derive(Debug)]
struct SpikeScoreEvaluator;

impl PartitionEvaluator for SpikeScoreEvaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], _num_rows: usize) -> Result<ArrayRef> {
        let values = numbers(NAME, values)?;
        let mut detector = SpikeDetector::new();
        let scores = values.iter().zip(0..).map(|(value, row)| {
            let score = detector.score(value?);
            detector.push(row, value?);
            score
        });
        Ok(Arc::new(scores.collect::<Float64Array>()))
    }
}
