//! Arrow batches become text; knows neither store nor engine.
