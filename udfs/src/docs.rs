//! Documentation of the functions, in the form DataFusion prints.

use datafusion::logical_expr::{DocSection, Documentation};

/// Section under which the functions are documented.
const SECTION: DocSection = DocSection {
    include: true,
    label: "Training Curve Functions",
    description: Some("Sampling, smoothing and diagnosis of the metrics of training runs."),
};

/// Puts together the documentation of a function; `example` is one statement, ready to run.
pub(crate) fn document(
    description: &str,
    syntax: &str,
    example: &str,
    arguments: &[(&str, &str)],
) -> Documentation {
    let documentation = Documentation::builder(SECTION, description, syntax).with_sql_example(example);
    let documentation =
        arguments.iter().fold(documentation, |built, (name, text)| built.with_argument(*name, *text));
    documentation.build()
}

/// What every series aggregate says about its step.
pub(crate) const STEP: &str = "Where the point lies: an integer, a float or a timestamp; the result has it as bigint, double or that timestamp. Rows without a step, or with a NaN or infinite one, are left out.";

/// What every series aggregate says about its value.
pub(crate) const VALUE: &str = "The number logged there, as double. Null is a missing point and left out. The function sorts by step itself; points at the same step are ordered by value, NaN last.";

/// What every function with a planned length says about it.
pub(crate) const PLANNED_STEPS: &str = "The step at which the run is to end: a number, also a column, whose greatest value counts. Null is unknown.";
