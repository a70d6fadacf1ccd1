//! Masks secrets in text that comes from logs.

/// What stands where a secret stood.
pub const MASK: &str = "***";

const WORDS: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "token",
    "apikey",
    "credential",
    "credentials",
    "accesskey",
    "privatekey",
];

/// Whether a key names a secret. Counts of tokens (`max_tokens`, `tokens_per_batch`) are none.
pub fn is_secret_key(key: &str) -> bool {
    let words = crate::records::goal::words(key.rsplit('.').next().unwrap_or(key));
    let has_word = words.iter().any(|word| WORDS.contains(&word.as_str()));
    let has_pair = words.windows(2).any(|pair| WORDS.contains(&pair.concat().as_str()));
    let names_an_id =
        words.iter().any(|word| matches!(word.as_str(), "id" | "ids" | "type" | "embedding" | "per"));
    (has_word || has_pair) && !names_an_id
}

/// Whether a text is a secret by its own form: the prefixes of well-known services.
pub fn is_secret_text(text: &str) -> bool {
    const PREFIXES: [&str; 9] =
        ["hf_", "sk-", "ghp_", "gho_", "github_pat_", "xoxb-", "xoxp-", "AKIA", "AIza"];
    text.len() >= 20
        && PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// The value of a hyperparameter, masked when its key or its form says it is a secret. Numbers,
/// booleans and null are none.
pub fn mask_value(key: &str, value: &str) -> Option<String> {
    let is_word = value.parse::<f64>().is_err() && !matches!(value, "true" | "false" | "null" | "");
    (is_word && (is_secret_key(key) || is_secret_text(value))).then(|| MASK.to_string())
}

/// A command line with the values of secret arguments masked.
pub fn mask_args(args: &str) -> Option<String> {
    let words = shlex::split(args)?;
    let mut masked = Vec::with_capacity(words.len());
    let mut hide_next = false;
    for word in &words {
        let name = word.trim_start_matches('-');
        masked.push(match name.split_once('=') {
            _ if std::mem::take(&mut hide_next) || is_secret_text(word) => MASK.to_string(),
            Some((key, value)) if mask_value(key, value).is_some() => {
                format!("{}={MASK}", &word[..word.len() - value.len() - 1])
            }
            None if word.starts_with('-') && is_secret_key(name) => {
                hide_next = true;
                word.clone()
            }
            _ => word.clone(),
        });
    }
    if masked == words { None } else { shlex::try_join(masked.iter().map(String::as_str)).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_counts_are_not() {
        assert_eq!(mask_value("wandb.api_key", "abc"), Some(MASK.into()));
        assert_eq!(mask_value("hub_token", "abc"), Some(MASK.into()));
        assert_eq!(mask_value("db.password", "x"), Some(MASK.into()));
        assert_eq!(mask_value("note", "hf_abcdefghijklmnopqrstuvwx"), Some(MASK.into()));
        assert_eq!(mask_value("max_tokens", "4096"), None);
        assert_eq!(mask_value("token", "4096"), None);
        assert_eq!(mask_value("pad_token_id", "x"), None);
        assert_eq!(mask_value("tokenizer", "bpe"), None);
    }

    #[test]
    fn arguments_are_masked() {
        assert_eq!(mask_args("--lr 0.1 --api-key abc x").as_deref(), Some("--lr 0.1 --api-key '***' x"));
        assert_eq!(mask_args("--token=abc --n=1").as_deref(), Some("'--token=***' '--n=1'"));
        assert_eq!(mask_args("--lr=0.1"), None);
    }
}
