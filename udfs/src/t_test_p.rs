//! `t_test_p(t, df)`: how often chance alone gives such a value of Student's t.

use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::args::{check_count, number_type};
use crate::docs::document;
use crate::kernels::student::two_sided_p;

const NAME: &str = "t_test_p";

/// Scalar function `t_test_p(t, df)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TTestP {
    signature: Signature,
}

impl Default for TTestP {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The function for registration.
pub fn t_test_p_udf() -> ScalarUDF {
    ScalarUDF::from(TTestP::default())
}

impl ScalarUDFImpl for TTestP {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        check_count(NAME, types, &[2])?;
        let names = ["t", "df"];
        names.iter().zip(types).map(|(name, given)| number_type(NAME, name, given)).collect()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [t, degrees] = [&arrays[0], &arrays[1]].map(|array| array.as_primitive::<Float64Type>());
        let p = t.iter().zip(degrees.iter()).map(|(t, degrees)| two_sided_p(t?, degrees?));
        Ok(ColumnarValue::Array(Arc::new(p.collect::<Float64Array>())))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Two-sided p-value of Student's t: how often chance alone gives a value as far from zero. Null where t is NaN or df is not above zero.",
                "t_test_p(t, df)",
                "select t_test_p(2.776, 4) as about_five_per_cent",
                &[
                    ("t", "The value of t: a difference divided by its standard error."),
                    ("df", "Degrees of freedom; need not be whole (Welch)."),
                ],
            )
        });
        Some(&DOCUMENTATION)
    }
}
