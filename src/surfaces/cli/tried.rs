//! `tried key=value ...`: says when a hyperparameter is not there.

use super::args::Values;
use super::ranking::check_config_key;
use super::{canned, session::Session};
use crate::engine::canned::ParamValue;
use crate::error::UserError;
use anyhow::Result;

/// `tried`.
pub async fn run(session: &Session, values: Values) -> Result<()> {
    if let Some(ParamValue::List(settings)) = values.get("settings") {
        for setting in settings {
            let Some((key, _)) = setting.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
                let error = UserError::usage(format!("\"{setting}\" is no key=value"));
                return Err(error.hint("runq tried lr=0.001 batch_size=32").into());
            };
            check_config_key(session, key.trim()).await?;
        }
    }
    canned::run(session, "tried", &values).await
}
