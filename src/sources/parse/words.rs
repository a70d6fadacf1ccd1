//! From words of a log to facts of a run.

use super::axis;
use super::json::Json;
use crate::records::{RunFacts, TimeMs};

/// The text, unless empty.
pub(crate) fn filled(text: impl AsRef<str>) -> Option<String> {
    Some(text.as_ref()).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Arguments as one shell-quoted text; `None` when there are none.
pub(crate) fn quoted<'a>(args: impl Iterator<Item = &'a str>) -> Option<String> {
    let args: Vec<&str> = args.collect();
    if args.is_empty() {
        return None;
    }
    let quoter = shlex::Quoter::new().allow_nul(true);
    quoter.join(args.iter().copied()).ok().or_else(|| Some(args.join(" ")))
}

/// Script and arguments of a command line: `python train.py --lr 1` runs `train.py`.
pub(crate) fn command(argv: &[&str]) -> RunFacts {
    let name = |word: &str| word.rsplit(['/', '\\']).next().unwrap_or(word).to_ascii_lowercase();
    let is_python = argv.first().is_some_and(|word| name(word).starts_with("python"));
    let at = usize::from(is_python && argv.get(1).is_some_and(|word| !word.starts_with('-')));
    RunFacts {
        program: argv.get(at).and_then(filled),
        args: quoted(argv.iter().skip(at + 1).copied()),
        ..RunFacts::default()
    }
}

/// A string of an object that is reached by these keys, unless empty.
pub(crate) fn text_at(value: &Json<'_>, keys: &[&str]) -> Option<String> {
    at(value, keys)?.as_str().and_then(filled)
}

/// A time of an object that is reached by these keys.
pub(crate) fn time_at(value: &Json<'_>, keys: &[&str]) -> Option<TimeMs> {
    axis::time_of(at(value, keys)?)
}

/// A value of an object that is reached by these keys.
pub(crate) fn at<'j, 'a>(value: &'j Json<'a>, keys: &[&str]) -> Option<&'j Json<'a>> {
    keys.iter().try_fold(value, |value, key| value.get(key))
}

/// The strings of an array.
pub(crate) fn strings<'j>(value: Option<&'j Json<'_>>) -> Vec<&'j str> {
    match value {
        Some(Json::Array(items)) => items.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Folder and last name of a path.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// A path inside a folder, which may be the root.
pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_the_program() {
        let parts = |argv: &[&str]| {
            let facts = command(argv);
            (facts.program.unwrap_or_default(), facts.args.unwrap_or_default())
        };
        assert_eq!(parts(&["/usr/bin/python3", "train.py", "a b"]), ("train.py".into(), "'a b'".into()));
        assert_eq!(parts(&["python", "-m", "x"]), ("python".into(), "-m x".into()));
        assert_eq!(parts(&["train.py"]), ("train.py".into(), String::new()));
        assert_eq!(parts(&[]), (String::new(), String::new()));
    }
}
