//! How many tokens a text costs a language model, without its vocabulary.
//!
//! The text is split as byte-pair encoders do (Radford et al. 2019: words, numbers of up to three digits,
//! signs, blanks), and each piece is counted by its looks. The count is made to be rather too high: a test
//! holds it against real vocabularies.

/// Letters a token of a word covers at least, on average.
const LETTERS_OF_WORD: f64 = 3.0;

/// Letters a token of an id covers at least, on average.
const LETTERS_OF_ID: f64 = 1.7;

/// Digits that may be one token.
const DIGITS: usize = 3;

/// Signs of the same kind that are one token, as in `----`.
const SAME_SIGNS: usize = 4;

/// Tokens of a text, rather too many than too few.
pub fn estimate(text: &str) -> usize {
    let mut tokens = 0;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let kind = Piece::of(first);
        let end = rest.find(|c| !kind.goes_on(first, c)).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(end.max(first.len_utf8()));
        tokens += kind.tokens(piece, behind);
        rest = behind;
    }
    tokens
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Letters,
    Digits,
    Blanks,
    Sign,
    /// Anything beyond ASCII.
    Other,
}

impl Piece {
    fn of(c: char) -> Piece {
        match c {
            c if c.is_ascii_alphabetic() => Piece::Letters,
            c if c.is_ascii_digit() => Piece::Digits,
            c if c.is_ascii_whitespace() => Piece::Blanks,
            c if c.is_ascii() => Piece::Sign,
            _ => Piece::Other,
        }
    }

    /// Whether `c` belongs to the piece that `first` began.
    fn goes_on(self, first: char, c: char) -> bool {
        match self {
            Piece::Sign => c == first,
            _ => Piece::of(c) == self,
        }
    }

    fn tokens(self, piece: &str, behind: &str) -> usize {
        let length = piece.chars().count();
        match self {
            Piece::Letters => letters(piece),
            Piece::Digits => length.div_ceil(DIGITS),
            // A blank belongs to the word behind it.
            Piece::Blanks if piece == " " && behind.starts_with(|c: char| !c.is_ascii_digit()) => 0,
            Piece::Blanks => 1 + piece.matches('\n').count() / 2,
            Piece::Sign => length.div_ceil(SAME_SIGNS),
            Piece::Other => piece.chars().map(other).sum(),
        }
    }
}

fn letters(word: &str) -> usize {
    let length = word.len() as f64;
    let per_token = if is_word(word) { LETTERS_OF_WORD } else { LETTERS_OF_ID };
    // Lengths of words fit.
    (length / per_token).ceil() as usize
}

/// Whether it can be spoken: vowels among the consonants, and no change of case inside.
fn is_word(word: &str) -> bool {
    let is_vowel = |c: &u8| b"aeiouyAEIOUY".contains(c);
    let longest = word.as_bytes().split(is_vowel).map(<[u8]>::len).max().unwrap_or(0);
    let has_vowel = word.bytes().any(|c| is_vowel(&c));
    let inner = word.get(1..).unwrap_or_default();
    let is_one_case =
        inner.bytes().all(|c| c.is_ascii_lowercase()) || word.bytes().all(|c| c.is_ascii_uppercase());
    has_vowel && longest <= 3 && is_one_case
}

/// A vocabulary has common letters whole, and the bytes of everything else.
fn other(c: char) -> usize {
    match c {
        'à'..='ÿ' | 'а'..='я' | 'А'..='Я' => 1,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::estimate;

    #[test]
    fn pieces_are_counted() {
        for (text, tokens) in [
            ("", 0),
            ("loss", 2),
            ("a b", 2),
            ("123456", 2),
            ("0.1234", 4),
            ("a,b\n", 4),
            ("--------", 2),
            ("xkqzvw", 4),
            ("▇", 3),
        ] {
            assert_eq!(estimate(text), tokens, "{text:?}");
        }
    }
}
