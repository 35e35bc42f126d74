//! The words of a line and their positions, the names of months, and the characters that East Asian
//! locales put after the numbers of a date.

/// The words of a line: runs of bytes other than SP and TAB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a> {
    line: &'a [u8],
    at: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Word<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) start: usize,
}

impl Word<'_> {
    pub(super) fn end(&self) -> usize {
        self.start + self.bytes.len()
    }

    pub(super) fn is_digits(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_digit)
    }
}

impl<'a> Words<'a> {
    pub(super) const fn new(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }

    /// Returns the words of the same line, starting at offset `at`.
    pub(super) const fn from(self, at: usize) -> Self {
        Self { at, ..self }
    }

    pub(super) fn peek(mut self) -> Option<Word<'a>> {
        self.next()
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let rest = self.line.get(self.at..)?;
        let start = self.at + rest.iter().position(|byte| !is_blank(byte))?;
        let rest = self.line.get(start..)?;
        let length = rest.iter().position(is_blank).unwrap_or(rest.len());
        self.at = start + length;
        Some(Word { bytes: rest.get(..length)?, start })
    }
}

pub(super) fn split_digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.split_at(length)
}

/// Parses a number of at most `most` digits that fill all of `digits`.
pub(super) fn short(digits: &[u8], most: usize) -> Option<u16> {
    if digits.len() > most { None } else { crate::bytes::decimal(digits)?.try_into().ok() }
}

/// The characters that follow the number of the year, month or day, in Chinese and Japanese (UTF-8,
/// GBK, EUC-JP, Shift-JIS) and Korean (UTF-8, EUC-KR).
pub(super) const YEAR_MARKS: [&[u8]; 6] =
    [b"\xe5\xb9\xb4", b"\xc4\xea", b"\xc7\xaf", b"\x94N", b"\xeb\x85\x84", b"\xb3\xe2"];
pub(super) const MONTH_MARKS: [&[u8]; 6] =
    [b"\xe6\x9c\x88", b"\xd4\xc2", b"\xb7\xee", b"\x8c\x8e", b"\xec\x9b\x94", b"\xbf\xf9"];
pub(super) const DAY_MARKS: [&[u8]; 6] =
    [b"\xe6\x97\xa5", b"\xc8\xd5", b"\xc6\xfc", b"\x93\xfa", b"\xec\x9d\xbc", b"\xc0\xcf"];

pub(super) fn is_mark(suffix: &[u8], marks: &[&[u8]]) -> bool {
    marks.contains(&suffix)
}

/// Returns the number of the month with this name, in English or another language of known servers.
/// ASCII case is ignored, and `.`, `,` or `.,` may follow. Returns 0 if the name means different
/// months in different languages: the date is recognised, but its value is unknown. Returns `None`
/// if the word is not such a name.
pub(super) fn month(word: &[u8]) -> Option<u16> {
    let name = word.strip_suffix(b",").unwrap_or(word);
    let name = name.strip_suffix(b".").unwrap_or(name);
    if let [a, b, c] = *name {
        let month = match [a, b, c].map(|byte| byte.to_ascii_lowercase()) {
            [b'j', b'a', b'n'] => 1,
            [b'f', b'e', b'b'] => 2,
            [b'm', b'a', b'r'] => 3,
            [b'a', b'p', b'r'] => 4,
            [b'm', b'a', b'y'] => 5,
            [b'j', b'u', b'n'] => 6,
            [b'j', b'u', b'l'] => 7,
            [b'a', b'u', b'g'] => 8,
            [b's', b'e', b'p'] => 9,
            [b'o', b'c', b't'] => 10,
            [b'n', b'o', b'v'] => 11,
            [b'd', b'e', b'c'] => 12,
            _ => 0,
        };
        if month > 0 {
            return Some(month);
        }
    }
    let first = name.first()?.to_ascii_lowercase();
    if !(3..=18).contains(&name.len()) || (first.is_ascii() && !INITIALS.contains(&first)) {
        return None;
    }
    let is_name = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
    if AMBIGUOUS.iter().any(is_name) {
        return Some(0);
    }
    let at = MONTHS.iter().position(|names| names.iter().any(is_name));
    u16::try_from(at?).ok().map(|at| at + 1)
}

/// The ASCII first letters of the names below: a quick check that avoids the search for most words.
const INITIALS: &[u8] = b"acdefgjklmnopsw";

/// July and November in Polish, June and October in Croatian.
const AMBIGUOUS: [&str; 2] = ["lip", "lis"];

/// Names of months, except the English ones of three letters: English, German, French, Italian,
/// Spanish, Portuguese, Dutch, Scandinavian, Polish, Hungarian, Russian, in UTF-8.
#[rustfmt::skip]
const MONTHS: [&[&str]; 12] = [
    &["january", "januar", "jän", "janv", "janvier", "gen", "ene", "sty", "янв", "января"],
    &["february", "februar", "fév", "févr", "fevr", "fev", "février", "lut", "фев", "февраля"],
    &["march", "mär", "mrz", "märz", "mars", "mrt", "márc", "мар", "марта"],
    &["april", "avr", "avril", "abr", "kwi", "ápr", "апр", "апреля"],
    &["mai", "mag", "mei", "maj", "máj", "май", "мая"],
    &["june", "juni", "juin", "giu", "cze", "jún", "июн", "июня"],
    &["july", "juli", "juil", "juillet", "lug", "júl", "июл", "июля"],
    &["august", "aoû", "août", "aout", "ago", "sie", "авг", "августа"],
    &["september", "sept", "septembre", "set", "wrz", "szept", "сен", "сентября"],
    &["october", "oktober", "octobre", "okt", "ott", "out", "paź", "окт", "октября"],
    &["november", "novembre", "ноя", "ноября"],
    &["december", "dezember", "décembre", "dez", "déc", "dic", "des", "gru", "дек", "декабря"],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ambiguous_month_name_is_month_0() {
        for name in AMBIGUOUS {
            assert_eq!(month(name.as_bytes()), Some(0), "{name}");
        }
    }

    #[test]
    fn every_month_name_stands_for_one_month() {
        for (at, names) in MONTHS.iter().enumerate() {
            for name in *names {
                let want = u16::try_from(at + 1).unwrap();
                assert_eq!(month(name.as_bytes()), Some(want), "{name}");
                assert_eq!(month(format!("{name}.,").as_bytes()), Some(want), "{name}");
            }
        }
    }
}
