//! What went wrong in a run, where, how sure, and what to do.
//!
//! A run is a handful of curves, each with a [`Role`]. Every detector takes the rows of its curve one
//! at a time, in ascending order of step, keeps a bounded state, and says what it found as
//! [`Finding`]s. Nothing here knows what a log is.

mod advice;
mod columns;
mod divergence;
mod eta;
mod explain;
mod finding;
mod forecast;
mod gradient;
pub mod limits;
mod memory;
mod monitor;
mod nan;
mod outline;
mod overfitting;
mod pace;
mod phase;
mod plateau;
mod policy;
mod recent;
pub mod robust;
mod rolling;
mod run;
mod schedule;
mod siblings;
pub mod text;
mod throughput;
mod trace;
mod trend;
mod watch;

#[cfg(test)]
mod sittings;
#[cfg(test)]
mod tests;

pub use advice::StopAdvice;
pub use eta::{Eta, Left};
pub use finding::{Episode, Finding, Kind, Level};
pub use forecast::Forecast;
pub use gradient::Bursts;
pub use limits::Limits;
pub use monitor::{Judgement, Monitor};
pub use outline::Outline;
pub use pace::Pace;
pub use phase::{Phase, Transition, phases};
pub use rolling::Rolling;
pub use run::{Curve, Facts, Role, Run};
pub use siblings::behind_siblings;
pub use trace::Trace;
pub use trend::{Trend, rise_score};
pub use watch::Watch;
