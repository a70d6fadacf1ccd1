//! Functions whose answer, or whose work, may be far larger than their arguments: each call is
//! bounded, and one beyond the bound is refused before it begins.
//!
//! Everything else that grows is stopped by the memory of the process (`surfaces::worker`). These
//! make gigabytes of one literal, or compute for minutes without a pause.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::prelude::SessionContext;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Text a call may make for one batch of rows, in bytes.
const MAX_TEXT: u64 = 64 << 20;

/// Pairs of characters a call may compare for one batch of rows: about a second of work.
const MAX_PAIRS: u64 = 500_000_000;

/// What a call makes or does.
struct Bound {
    name: &'static str,
    /// Of one row, from the sizes of its first two arguments: the length of a text, an integer itself.
    cost: fn(u64, u64) -> u64,
    most: u64,
    unit: &'static str,
}

const BOUNDS: [Bound; 4] = [
    Bound { name: "levenshtein", cost: u64::saturating_mul, most: MAX_PAIRS, unit: "pairs of characters" },
    Bound { name: "lpad", cost: |_, length| length, most: MAX_TEXT, unit: "bytes" },
    Bound { name: "repeat", cost: u64::saturating_mul, most: MAX_TEXT, unit: "bytes" },
    Bound { name: "rpad", cost: |_, length| length, most: MAX_TEXT, unit: "bytes" },
];

/// Puts bounded functions in the place of the engine's.
pub fn register_all(ctx: &SessionContext) {
    for bound in &BOUNDS {
        let found = ctx.state_ref().read().scalar_functions().get(bound.name).cloned();
        if let Some(function) = found {
            ctx.register_udf(ScalarUDF::new_from_impl(Bounded {
                inner: Arc::clone(function.inner()),
                bound,
            }));
        }
    }
}

/// The engine's function behind its bound.
struct Bounded {
    inner: Arc<dyn ScalarUDFImpl>,
    bound: &'static Bound,
}

impl Bounded {
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let [first, second, ..] = args.args.as_slice() else { return Ok(()) };
        let (first, second) = (Sizes::of(first)?, Sizes::of(second)?);
        let rows = match (&first, &second) {
            (Sizes::One(_), Sizes::One(_)) => 1,
            _ => args.number_rows,
        };
        let Bound { name, cost, most, unit } = self.bound;
        let total = (0..rows).fold(0_u64, |sum, row| sum.saturating_add(cost(first.at(row), second.at(row))));
        match total > *most {
            true => exec_err!("{name}() would come to {total} {unit}, more than {most}"),
            false => Ok(()),
        }
    }
}

/// Sizes of the values of an argument.
enum Sizes {
    One(u64),
    Each(ArrayRef),
}

impl Sizes {
    fn of(value: &ColumnarValue) -> Result<Sizes> {
        Ok(match value {
            ColumnarValue::Scalar(scalar) => Sizes::One(Sizes::Each(sizes(&scalar.to_array()?)?).at(0)),
            ColumnarValue::Array(array) => Sizes::Each(sizes(array)?),
        })
    }

    /// Of a row; null has none, and less than nothing is nothing.
    fn at(&self, row: usize) -> u64 {
        match self {
            Sizes::One(size) => *size,
            Sizes::Each(sizes) if sizes.is_null(row) => 0,
            Sizes::Each(sizes) => u64::try_from(sizes.as_primitive::<Int64Type>().value(row)).unwrap_or(0),
        }
    }
}

/// Integers as they are, texts by their length in bytes.
fn sizes(array: &ArrayRef) -> Result<ArrayRef> {
    let is_text = matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let numbers = if is_text { length(array)? } else { Arc::clone(array) };
    Ok(cast(&numbers, &DataType::Int64)?)
}

impl fmt::Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.bound.name)
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.bound.name == other.bound.name
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bound.name.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner.invoke_with_args(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    async fn answer(sql: &str) -> Result<String> {
        let ctx = SessionContext::new();
        register_all(&ctx);
        let batches = ctx.sql(sql).await?.collect().await?;
        Ok(datafusion::arrow::util::display::array_value_to_string(batches[0].column(0), 0)?)
    }

    #[tokio::test]
    async fn small_calls_answer_as_before() {
        for (sql, want) in [
            ("select repeat('ab', 3)", "ababab"),
            ("select repeat('ab', -1)", ""),
            ("select lpad('7', 3, '0')", "007"),
            ("select rpad('7', 3)", "7  "),
            ("select levenshtein('kitten', 'sitting')", "3"),
            ("select levenshtein(a, 'b') from (values ('a'), (null)) as t(a)", "1"),
            ("select repeat(a, n) from (values ('a', 2), ('b', null)) as t(a, n)", "aa"),
        ] {
            assert_eq!(answer(sql).await.unwrap(), want, "{sql}");
        }
    }

    #[tokio::test]
    async fn large_ones_are_refused_before_they_begin() {
        for sql in [
            "select length(repeat('x', 2000000000))",
            "select length(lpad('x', 2000000000, 'y'))",
            "select length(rpad('x', 9223372036854775807))",
            "select length(repeat(a, 1000000)) from (values (repeat('x', 70)), ('y')) as t(a)",
            "select length(repeat('x', n)) from (values (60000000), (60000000)) as t(n)",
            "select levenshtein(repeat('a', 200000), repeat('b', 200000))",
        ] {
            let error = answer(sql).await.expect_err(sql).strip_backtrace();
            assert!(error.contains("() would come to "), "{sql}: {error}");
        }
    }
}
