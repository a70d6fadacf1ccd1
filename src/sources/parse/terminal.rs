//! What a terminal shows of the raw output of a program.

/// A finished line as a terminal would leave it: what follows the last carriage return, without
/// escapes.
pub(crate) fn shown(line: &str) -> String {
    let (start, end) = last_state(line);
    strip_escapes(line.get(start..end).unwrap_or_default())
}

/// Where the last state of a line stands that was overwritten by carriage returns.
pub(crate) fn last_state(line: &str) -> (usize, usize) {
    let end = line.trim_end_matches('\r').len();
    let start = line[..end].rfind('\r').map_or(0, |at| at + 1);
    (start, end)
}

/// Drops ANSI escapes (colours, cursor moves, titles) and other control characters but tabs.
fn strip_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
        Some(']') => while chars.next().is_some_and(|c| c != '\u{7}' && c != '\u{1b}') {},
        Some('(' | ')' | '#') => {
            chars.next();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_state_and_strips_escapes() {
        assert_eq!(shown("\u{1b}[31mred\u{1b}[0m\t\u{1b}]0;title\u{7}ok"), "red\tok");
        assert_eq!(shown("10%\r\u{1b}[31m 20%\u{1b}[0m\r"), " 20%");
        assert_eq!(shown("\u{1b}(Ba\u{1b}"), "a");
    }
}
