//! The numbers and strings in a value that W&B logged.

use crate::sources::parse::json::{Fields, Json, flatten_but};

/// A leaf of a logged value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Leaf<'a> {
    /// A number, NaN and infinities included.
    Number(f64),
    /// A string.
    Text(&'a str),
}

/// Visits the numbers and strings of a value under `key`; nested names are joined with `.`. Media,
/// lists, booleans and nulls are no metrics and are left out.
pub(super) fn leaves(value: &Json<'_>, key: &str, visit: &mut dyn FnMut(&str, Leaf<'_>)) {
    flatten_but(is_media, key, value, &mut |key, value| match (value.as_metric(), value.as_str()) {
        (Some(number), _) => visit(key, Leaf::Number(number)),
        (None, Some(text)) => visit(key, Leaf::Text(text)),
        (None, None) => {}
    });
}

fn is_media(fields: &Fields<'_>) -> bool {
    fields.iter().any(|(name, _)| name == "_type")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::parse::json::parse_whole;

    fn flat(text: &str) -> Vec<(String, f64)> {
        let mut found = Vec::new();
        leaves(&parse_whole(text.as_bytes()).unwrap(), "", &mut |key, leaf| {
            if let Leaf::Number(value) = leaf {
                found.push((key.to_owned(), value));
            }
        });
        found
    }

    #[test]
    fn tolerates_what_python_writes() {
        let found = flat(
            r#"{"a": NaN, "b": {"c": -Infinity, "d": "NaN"}, "e": 1e400, "f": 12345678901234567890123}"#,
        );
        assert!(found[0].1.is_nan());
        assert_eq!(found[1], ("b.c".into(), f64::NEG_INFINITY));
        assert!(found[2].1.is_nan());
        assert_eq!(found[3].1, f64::INFINITY);
        assert_eq!(found[4].1, 12345678901234567890123.0);
    }

    #[test]
    fn media_and_lists_are_no_metrics() {
        assert_eq!(flat(r#"{"img": {"_type": "image-file", "width": 3}, "l": [1], "b": true}"#), []);
    }
}
