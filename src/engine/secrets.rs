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

/// The value of a hyperparameter, masked when its key or its form says it is a secret; `None` when
/// nothing is to be masked. Numbers, booleans and null are no secrets.
pub fn mask_value(key: &str, value: &str) -> Option<String> {
    let is_word = value.parse::<f64>().is_err() && !matches!(value, "true" | "false" | "null" | "");
    match () {
        () if !is_word => None,
        () if is_secret_key(key) => Some(MASK.to_string()),
        () if value.starts_with('[') => mask_list(value),
        () => mask_text(value),
    }
}

/// A list of texts is masked as a command line is.
fn mask_list(value: &str) -> Option<String> {
    let words: Vec<String> = serde_json::from_str(value).ok()?;
    serde_json::to_string(&mask_words(&words)?).ok()
}

/// A text with the secrets in it masked: passwords of addresses, bearer tokens, tokens of
/// well-known services.
fn mask_text(text: &str) -> Option<String> {
    let mut masked = String::with_capacity(text.len());
    let mut hide_next = false;
    for part in text.split_inclusive(|c: char| c.is_whitespace() || ",;'\"()".contains(c)) {
        let word = part.trim_end_matches(|c: char| c.is_whitespace() || ",;'\"()".contains(c));
        let end = &part[word.len()..];
        if std::mem::take(&mut hide_next) && !word.is_empty() || is_secret_text(word) {
            masked.push_str(MASK);
        } else {
            masked.push_str(mask_address(word).as_deref().unwrap_or(word));
        }
        hide_next = word.eq_ignore_ascii_case("bearer");
        masked.push_str(end);
    }
    (masked != text).then_some(masked)
}

/// `scheme://user:password@host`, `scheme://token@host` or `key=token`, with the secret masked.
fn mask_address(word: &str) -> Option<String> {
    if let Some((key, _)) = word.split_once('=').filter(|(_, value)| is_secret_text(value)) {
        return Some(format!("{key}={MASK}"));
    }
    let (scheme, rest) = word.split_once("://")?;
    let (login, host) = rest.split_once('@').filter(|(login, _)| !login.contains('/'))?;
    match login.split_once(':') {
        Some((user, _)) => Some(format!("{scheme}://{user}:{MASK}@{host}")),
        None => is_secret_text(login).then(|| format!("{scheme}://{MASK}@{host}")),
    }
}

/// A command line with the values of secret arguments masked.
pub fn mask_args(args: &str) -> Option<String> {
    let words = shlex::split(args)?;
    let masked = mask_words(&words)?;
    shlex::try_join(masked.iter().map(String::as_str)).ok()
}

/// The words of a command line; `None` when none is a secret.
fn mask_words(words: &[String]) -> Option<Vec<String>> {
    let mut masked = Vec::with_capacity(words.len());
    let mut hide_next = false;
    for word in words {
        let name = word.trim_start_matches('-');
        masked.push(match name.split_once('=') {
            _ if std::mem::take(&mut hide_next) => MASK.to_string(),
            Some((key, value)) if mask_value(key, value).is_some() => {
                format!("{}={MASK}", &word[..word.len() - value.len() - 1])
            }
            None if word.starts_with('-') && is_secret_key(name) => {
                hide_next = true;
                word.clone()
            }
            _ => mask_text(word).unwrap_or_else(|| word.clone()),
        });
    }
    (masked != words).then_some(masked)
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
        let masked = |value: &str| mask_value("note", value).unwrap_or_default();
        assert_eq!(masked("postgres://user:pa55w0rd@host/db"), "postgres://user:***@host/db");
        assert_eq!(
            masked("https://ghp_abcdefghijklmnopqrstuvwx@github.com/a/b.git"),
            "https://***@github.com/a/b.git"
        );
        assert_eq!(masked("Bearer abcdefghijkl"), "Bearer ***");
        assert_eq!(masked("[\"--api-key\", \"sk-zzzz\", \"--lr\"]"), "[\"--api-key\",\"***\",\"--lr\"]");
        assert_eq!(masked("use sk-abcdefghijklmnopqrstuvwx, please"), "use ***, please");
        assert_eq!(mask_value("url", "https://host/a@b"), None);
        assert_eq!(mask_value("betas", "[0.9, 0.95]"), None);
    }

    #[test]
    fn arguments_are_masked() {
        assert_eq!(mask_args("--lr 0.1 --api-key abc x").as_deref(), Some("--lr 0.1 --api-key '***' x"));
        assert_eq!(mask_args("--token=abc --n=1").as_deref(), Some("'--token=***' '--n=1'"));
        assert_eq!(mask_args("--lr=0.1"), None);
    }
}
