//! Records to record batches.
