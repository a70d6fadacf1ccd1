//! `is_spike(value)`: flags the rows of loss spikes.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanArray, Float64Array};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Documentation, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
};

use crate::args::{check_count, value_type};
use crate::docs::document;
use crate::kernels::spike::SpikeDetector;
use crate::window::{finite_rows, numbers, result_field};

const NAME: &str = "is_spike";

/// Window function `is_spike(value)` to a flag in each row.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct IsSpike {
    signature: Signature,
}

impl Default for IsSpike {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The function for registration.
pub fn is_spike_udwf() -> WindowUDF {
    WindowUDF::from(IsSpike::default())
}

impl WindowUDFImpl for IsSpike {
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
        Ok(Box::new(IsSpikeEvaluator))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(result_field(&args, DataType::Boolean))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Flags the rows of a loss spike, from the row that opened it to the last elevated one: the episodes `loss_spike` lists, of every level, and those in a rise that does not come back, which `loss_spike` leaves to `divergence`. Null for null, NaN and infinite values, which are no part of any episode. Whether a rise is a spike shows only afterwards, so the whole partition is looked at, never a frame.",
                "is_spike(value) over (partition by run_id, key order by step)",
                "select * from (select run_id, step, value, is_spike(value) over (partition by run_id, key order by step) as spike from metrics where key = 'loss') where spike order by run_id, step",
                &[("value", "A loss, as double.")],
            )
        });
        Some(&DOCUMENTATION)
    }
}

#[derive(Debug)]
struct IsSpikeEvaluator;

impl PartitionEvaluator for IsSpikeEvaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], _num_rows: usize) -> Result<ArrayRef> {
        let flags = flag_spikes(numbers(NAME, values)?);
        Ok(Arc::new(BooleanArray::from(flags)))
    }
}

/// A flag for each finite row; the rows serve as steps of the detector.
fn flag_spikes(values: &Float64Array) -> Vec<Option<bool>> {
    let mut flags = vec![None; values.len()];
    let mut detector = SpikeDetector::new();
    let mut events = Vec::new();
    let mut ordinals = Vec::with_capacity(values.len());
    for (row, value) in finite_rows(values) {
        flags[row] = Some(false);
        ordinals.push(row);
        events.extend(detector.push(row as i64, value));
    }
    events.extend(detector.finish());
    for event in events {
        let episode = event.first_row as usize..=event.last_row as usize;
        for &row in ordinals.get(episode).unwrap_or_default() {
            flags[row] = Some(true);
        }
    }
    flags
}
