//! DataFusion functions for training curves.
//!
//! Sampling, smoothing and diagnosis of metrics, for any program built on DataFusion:
//!
//! | function | kind |
//! |---|---|
//! | `lttb(step, value, n)`, `minmax_lttb(step, value, n)`, `m4(step, value, buckets)` | aggregate to a list of struct(step, value) |
//! | `sparkline(step, value [, width])` | aggregate to text |
//! | `arg_min(x, y)`, `arg_max(x, y)` (also `min_by`, `max_by`), `first_nan(step, value)` | aggregate |
//! | `nan`, `loss_spike`, `divergence`, `plateau`, `grad_explosion`, `grad_vanishing`, `throughput_drop`, `reward_collapse`, `kl_blowup`, `entropy_collapse`, `length_collapse` `(step, value)` | aggregate to a list of struct |
//! | `overfitting(step, value [, goal])`, `memory_leak(step, value [, capacity])`, `oom_risk(step, value, capacity [, planned_steps])` | the same |
//! | `diagnose(step, loss [, val_loss, grad_norm, lr, throughput, gpu_mem])` | the same, all kinds |
//! | `trend(step, value)`, `forecast(step, value, planned_steps)`, `eta(step, time [, planned_steps])` | aggregate to a struct |
//! | `mann_kendall(step, value)` | aggregate to a double |
//! | `finite(x)`, `t_test_p(t, df)` | scalar |
//! | `ema(value, alpha)`, `robust_ema(value, alpha)`, `roll_median(value, w)`, `roll_mad(value, w)` | window |
//! | `spike_score(value)`, `is_spike(value)`, `grad_ratio(value)`, `phase(loss [, val, lr])` | window |
//! | `history(run, keys [, n [, from, to]])`, `wide(run, keys)` | table, over a long table of metrics |
//!
//! Every function carries its documentation with an example in SQL. Laws that hold for all:
//!
//! - The result does not depend on the order of rows, the size of batches or the number of
//!   partitions. A series aggregate takes the step and sorts by itself; points at the same step
//!   are ordered by value.
//! - Null is missing and passed over. NaN and infinities never win and never vanish unseen; each
//!   function says what it does with them.
//! - A wrong argument is an error while the query is planned (of an aggregate called with `over`, as
//!   it starts to run).
//!
//! The mathematics is in [`kernels`], free of Arrow and SQL.
//!
//! ```
//! # async fn example() -> datafusion::error::Result<()> {
//! let ctx = datafusion::prelude::SessionContext::new();
//! runq_udfs::register_all(&ctx);
//! let curve = "select sparkline(step, value) from (values (1, 3.0), (2, 2.0)) as t(step, value)";
//! ctx.sql(curve).await?.show().await?;
//! # Ok(())
//! # }
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionContext;

mod align;
mod arg_max;
mod arg_min;
mod args;
mod curve;
mod curves;
mod detector;
mod diagnose;
mod docs;
mod ema;
mod extreme;
mod findings;
mod finite;
mod first_nan;
mod history;
mod is_spike;
pub mod kernels;
mod kind_docs;
mod lttb;
mod m4;
mod minmax_lttb;
mod outlook;
mod phase;
mod points;
mod rolling;
mod sampling;
mod series;
mod sparkline;
mod spike_score;
mod steps;
mod t_test_p;
mod ticks;
mod trend;
mod wide;
mod window;

pub use align::ResolveRun;
pub use arg_max::{ArgMax, arg_max_udaf};
pub use arg_min::{ArgMin, arg_min_udaf};
pub use detector::detector_udaf;
pub use diagnose::diagnose_udaf;
pub use ema::{Ema, ema_udwf};
pub use finite::{Finite, finite_udf};
pub use first_nan::{FirstNan, first_nan_udaf};
pub use history::History;
pub use is_spike::{IsSpike, is_spike_udwf};
pub use lttb::{Lttb, lttb_udaf};
pub use m4::{M4, m4_udaf};
pub use minmax_lttb::{MinmaxLttb, minmax_lttb_udaf};
pub use outlook::{eta_udaf, forecast_udaf};
pub use phase::phase_udwf;
pub use rolling::{grad_ratio_udwf, robust_ema_udwf, roll_mad_udwf, roll_median_udwf};
pub use sparkline::{Sparkline, sparkline_udaf};
pub use spike_score::{SpikeScore, spike_score_udwf};
pub use t_test_p::{TTestP, t_test_p_udf};
pub use trend::{mann_kendall_udaf, trend_udaf};
pub use wide::Wide;

/// Every aggregate function of this crate.
pub fn all_udafs() -> Vec<AggregateUDF> {
    let mut all = vec![
        arg_max_udaf(),
        arg_min_udaf(),
        diagnose_udaf(),
        eta_udaf(),
        first_nan_udaf(),
        forecast_udaf(),
        lttb_udaf(),
        m4_udaf(),
        mann_kendall_udaf(),
        minmax_lttb_udaf(),
        sparkline_udaf(),
        trend_udaf(),
    ];
    all.extend(kernels::diagnosis::Kind::ALL.map(detector_udaf));
    all
}

/// Every window function of this crate.
pub fn all_udwfs() -> Vec<WindowUDF> {
    vec![
        ema_udwf(),
        grad_ratio_udwf(),
        is_spike_udwf(),
        phase_udwf(),
        robust_ema_udwf(),
        roll_mad_udwf(),
        roll_median_udwf(),
        spike_score_udwf(),
    ]
}

/// Every scalar function of this crate.
pub fn all_udfs() -> Vec<ScalarUDF> {
    vec![finite_udf(), t_test_p_udf()]
}

/// Registers every aggregate, window and scalar function.
///
/// The table functions need a table: see [`register_table_functions`].
pub fn register_all(ctx: &SessionContext) {
    all_udafs().into_iter().for_each(|function| ctx.register_udaf(function));
    all_udwfs().into_iter().for_each(|function| ctx.register_udwf(function));
    all_udfs().into_iter().for_each(|function| ctx.register_udf(function));
}

/// Registers `history` and `wide` over a long table with columns `run_id`, `key`, `step` and `value`.
///
/// `resolve` turns the user's word for a run into a `run_id`; its errors fail the planning of a query.
pub fn register_table_functions(ctx: &SessionContext, metrics: Arc<dyn TableProvider>, resolve: ResolveRun) {
    let history = History::new(Arc::clone(&metrics), Arc::clone(&resolve));
    ctx.register_udtf(History::NAME, Arc::new(history));
    ctx.register_udtf(Wide::NAME, Arc::new(Wide::new(metrics, resolve)));
}

#[cfg(test)]
mod tests;
