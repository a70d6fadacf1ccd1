//! What went wrong in a run, where, how sure, and what to do.
//!
//! A run is a handful of curves, each with a [`Role`]. Every detector takes the rows of its curve one
//! at a time, in ascending order of step, keeps a bounded state, and says what it found as
//! [`Finding`]s. Nothing here knows what a log is.

mod finding;
mod run;

pub use finding::{Finding, Kind, Level};
pub use run::{Curve, Role, Run};
