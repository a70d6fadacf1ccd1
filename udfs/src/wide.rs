//! `wide(run, keys)`: metrics of a run side by side, every row.

use std::sync::{Arc, LazyLock};

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;

use crate::align::{MetricsSource, ResolveRun};
use crate::docs::document;

/// Table function `wide(run, keys)`: `step` and one column a metric, one row for every step at which
/// at least one of the metrics was logged.
///
/// The rules are in [`Wide::documentation`].
#[derive(Debug, Clone)]
pub struct Wide {
    source: MetricsSource,
}

impl Wide {
    /// SQL name of the function.
    pub const NAME: &'static str = "wide";

    /// A function over a long table with columns `run_id`, `key`, `step` and `value`; `resolve` turns the
    /// user's word for a run into a `run_id` while the query is planned.
    pub fn new(metrics: Arc<dyn TableProvider>, resolve: ResolveRun) -> Self {
        Self { source: MetricsSource::new(metrics, resolve) }
    }

    /// Documentation of the function.
    pub fn documentation() -> &'static Documentation {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Gives metrics of a run side by side: `step` (bigint) and one double column a metric, named and ordered as asked, one row for every step at which at least one of them was logged, in order of step, null where a metric was not. A step logged twice shows the greatest value, NaN over all. All arguments are literals; a metric the run does not have is an error.",
                "wide(run, keys)",
                "select step, loss - val_loss as gap from wide('run-a', 'loss,val_loss') where val_loss is not null order by step",
                &[
                    (
                        "run",
                        "The run: whatever the program that offers the table accepts, at least its `run_id`.",
                    ),
                    ("keys", "Metrics, separated by commas; blanks around a name do not count."),
                ],
            )
        });
        &DOCUMENTATION
    }
}

impl TableFunctionImpl for Wide {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        self.source.table(Self::NAME, &args, None)
    }
}
