//! `history(run, 'loss,val_loss' [, n])`: metrics of a run side by side, sampled.

use std::sync::{Arc, LazyLock};

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;

use crate::align::{MetricsSource, ResolveRun};
use crate::docs::document;

/// Rows given unless the query says how many.
const DEFAULT_ROWS: usize = 500;

/// Table function `history(run, keys [, n [, from, to]])`: `step` and one column a metric in exactly
/// `min(n, steps of the union)` rows.
///
/// The rules are in [`History::documentation`].
#[derive(Debug, Clone)]
pub struct History {
    source: MetricsSource,
}

impl History {
    /// SQL name of the function.
    pub const NAME: &'static str = "history";

    /// A function over a long table with columns `run_id`, `key`, `step` and `value`; `resolve` turns the
    /// user's word for a run into a `run_id` while the query is planned.
    pub fn new(metrics: Arc<dyn TableProvider>, resolve: ResolveRun) -> Self {
        Self { source: MetricsSource::new(metrics, resolve) }
    }

    /// Documentation of the function.
    pub fn documentation() -> &'static Documentation {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Gives metrics of a run side by side: `step` (bigint) and one double column a metric, named and ordered as asked, in exactly `n` rows, or every row where the metrics have together no more steps. Every row shows all metrics logged at that step, null where one was not. Forced in are, as far as `n` reaches: the first and the last step, then by turns over the metrics the lowest and the highest value of each, the first NaN or infinity, the first and the last point. What is left of `n` is shared evenly among the metrics and sampled by LTTB over their finite points (Steinarsson 2013); places left over because metrics chose the same step are filled evenly. A step logged twice shows the greatest value, NaN over all. Points that stand out of those around them are forced in too, the highest first, in up to half of what is left then. All arguments are literals; a metric the run does not have is an error, unless steps are given.",
                "history(run, keys [, n [, from, to]])",
                "select * from history('run-a', 'loss,val_loss', 20) order by step",
                &[
                    (
                        "run",
                        "The run: whatever the program that offers the table accepts, at least its `run_id`.",
                    ),
                    (
                        "keys",
                        "Metrics, separated by commas; blanks around a name do not count. A name that holds a comma stands in double quotes. A list of texts, each a name as it stands, serves too.",
                    ),
                    ("n", "Most rows to give, at least 1, null for all; by default 500."),
                    ("from", "First step to look at; null for the first there is."),
                    ("to", "Last step to look at; null for the last there is."),
                ],
            )
        });
        &DOCUMENTATION
    }
}

impl TableFunctionImpl for History {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        self.source.table(Self::NAME, &args, Some(DEFAULT_ROWS))
    }
}
