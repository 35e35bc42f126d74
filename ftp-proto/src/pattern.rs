//! Name patterns with `*`, `?` and `[..]` in the argument of `LIST` and `NLST`. No RFC defines
//! them. They are a simple form of shell patterns: they match names in one directory, and matching
//! takes polynomial time.

/// A pattern that matches the names in one directory as bytes.
///
/// - `*` matches any number of bytes, including none; `?` matches one byte.
/// - `[abc]` and `[a-z]` match one of these bytes, `[!abc]` and `[^abc]` any other byte. A `]` as
///   the first member of a set matches itself, as does an unclosed `[`.
/// - Everything else matches itself, including `\`, `{a,b}`, `~` and two or more `*` in sequence.
///
/// Unlike in a shell, `*` and `?` match a leading dot, since FTP listings include names that begin
/// with a dot.
///
/// ```
/// use ftp_proto::Pattern;
///
/// assert!(Pattern::of(b"*.tx?").matches(b"a.txt"));
/// assert!(!Pattern::of(b"[a-c]*").matches(b"d"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern(Vec<Token>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Token {
    Byte(u8),
    One,
    Many,
    Set(Set),
}

impl Pattern {
    /// Parses the last component of a path; `None` if it is a plain name.
    #[must_use]
    pub fn parse(component: &[u8]) -> Option<Self> {
        let pattern = Self::of(component);
        let is_pattern = pattern.0.iter().any(|token| !matches!(token, Token::Byte(_)));
        is_pattern.then_some(pattern)
    }

    /// Parses a pattern; a plain name matches only itself.
    #[must_use]
    pub fn of(component: &[u8]) -> Self {
        let mut tokens = Vec::with_capacity(component.len());
        let mut rest = component;
        // If one set is unclosed, so are all later ones: searching for the end of each would take
        // quadratic time.
        let mut sets_close = true;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'*' => {
                    let more = after.iter().take_while(|&&byte| byte == b'*').count();
                    if more == 0 {
                        tokens.push(Token::Many);
                    } else {
                        tokens.extend(std::iter::repeat_n(Token::Byte(b'*'), more + 1));
                        (_, rest) = after.split_at(more);
                    }
                }
                b'?' => tokens.push(Token::One),
                b'[' if sets_close => match Set::parse(after) {
                    Some((set, after)) => {
                        tokens.push(Token::Set(set));
                        rest = after;
                    }
                    None => {
                        tokens.push(Token::Byte(b'['));
                        sets_close = false;
                    }
                },
                _ => tokens.push(Token::Byte(byte)),
            }
        }
        Self(tokens)
    }

    /// Returns whether the pattern matches all of `name`.
    ///
    /// After a mismatch, only the last `*` needs to take one more byte: whatever an earlier `*`
    /// could take, the last one can take too. The number of steps grows at most with the length of
    /// the name times that of the pattern.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let mut tokens = self.0.as_slice();
        let mut rest = name;
        // The tokens after the last `*`, and the bytes that it has not taken yet.
        let mut retry: Option<(&[Token], &[u8])> = None;
        loop {
            match (tokens.split_first(), rest.split_first()) {
                (Some((Token::Many, after)), _) => {
                    retry = Some((after, rest));
                    tokens = after;
                }
                (Some((token, after)), Some((&byte, others))) if token.matches(byte) => {
                    tokens = after;
                    rest = others;
                }
                (None, None) => return true,
                _ => {
                    let Some((after, [_taken, others @ ..])) = retry else { return false };
                    retry = Some((after, others));
                    tokens = after;
                    rest = others;
                }
            }
        }
    }
}

impl Token {
    fn matches(&self, byte: u8) -> bool {
        match self {
            Self::Byte(this) => *this == byte,
            Self::One | Self::Many => true,
            Self::Set(set) => set.has(byte),
        }
    }
}

/// A set of byte values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Set {
    low: u128,
    high: u128,
}

impl Set {
    /// Parses the text after a `[`; returns the set and the text after its `]`, or `None` without a
    /// `]`.
    fn parse(input: &[u8]) -> Option<(Self, &[u8])> {
        let negated = matches!(input, [b'!' | b'^', ..]);
        let members = input.get(usize::from(negated)..)?;
        // The first member may be a `]`.
        let end = members.iter().skip(1).position(|&byte| byte == b']')? + 1;
        let (mut members, from_bracket) = members.split_at(end);
        let after = from_bracket.strip_prefix(b"]")?;
        let mut set = Self { low: 0, high: 0 };
        loop {
            members = match members {
                [] => break,
                &[first, b'-', last, ref others @ ..] => {
                    (first..=last).for_each(|byte| set.add(byte));
                    others
                }
                &[byte, ref others @ ..] => {
                    set.add(byte);
                    others
                }
            };
        }
        if negated {
            set = Self { low: !set.low, high: !set.high };
        }
        Some((set, after))
    }

    const fn add(&mut self, byte: u8) {
        let half = if byte < 128 { &mut self.low } else { &mut self.high };
        *half |= 1 << (byte % 128);
    }

    const fn has(self, byte: u8) -> bool {
        let half = if byte < 128 { self.low } else { self.high };
        half >> (byte % 128) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_a_shell_does_ls_27() {
        for (pattern, yes, no) in [
            ("*", &["a", "", ".hidden", "a b", "*"][..], &[][..]),
            ("?", &["a", ".", "?"], &["", "ab"]),
            ("*.txt", &["a.txt", ".txt", "a.txt.txt"], &["a.txt ", "a.tx", "atxt", ""]),
            ("a*", &["a", "ab"], &["b", "ba", "A", ""]),
            ("a*b*c", &["abc", "aXbXc", "abbcc", "abcbc"], &["acb", "ab", "abcX"]),
            ("*a?", &["ab", "aab", "xaa"], &["a", "ba", "axx"]),
            ("[abc]", &["a", "b", "c"], &["d", "", "ab", "[abc]"]),
            ("[a-c]x", &["ax", "bx", "cx"], &["dx", "-x", "x"]),
            ("[!a-c]", &["d", "!", "]", "-"], &["a", "b", ""]),
            ("[^a]", &["b", "^"], &["a"]),
            ("[a^]", &["a", "^"], &["b"]),
            ("[a!]", &["a", "!"], &["b"]),
            ("[]]", &["]"], &["[", "[]]"]),
            ("[]a]", &["]", "a"], &["["]),
            ("[!]]", &["a", "["], &["]"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("[-a]", &["a", "-"], &["b"]),
            ("[--/]", &["-", ".", "/"], &["0", ","]),
            ("[c-a]", &[], &["a", "b", "c", "-"]),
            ("[a-c-e]", &["a", "b", "c", "-", "e"], &["d"]),
            ("[[]", &["["], &["]"]),
            ("[[:alpha:]]", &["[]", "a]", ":]"], &["b", "a"]),
            ("[*?]", &["*", "?"], &["a"]),
            ("?[", &["a[", "[["], &["a", "["]),
            ("*[", &["[", "a["], &["a", ""]),
            ("[a]*[b]", &["ab", "aXb"], &["a", "b", "ba"]),
            ("\\*", &["\\", "\\a"], &["*", "a"]),
            ("{a,b}*", &["{a,b}", "{a,b}x"], &["a", "b", "ax"]),
            ("~*", &["~", "~root"], &["root"]),
        ] {
            let parsed = Pattern::parse(pattern.as_bytes()).unwrap();
            for name in yes {
                assert!(parsed.matches(name.as_bytes()), "{pattern} {name}");
            }
            for name in no {
                assert!(!parsed.matches(name.as_bytes()), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn plain_names_are_not_patterns_ls_28() {
        for name in
            ["", "name", "a b", "{a,b}", "~", "\\", "[", "[[[[[", "[]", "[!]", "a]", "**", "a***"]
        {
            assert_eq!(Pattern::parse(name.as_bytes()), None, "{name}");
        }
        let doubled = Pattern::parse(b"**/?").unwrap();
        assert!(doubled.matches(b"**/a"));
        assert!(!doubled.matches(b"b/a"));
    }

    #[test]
    fn patterns_match_bytes_and_not_characters() {
        let one = Pattern::parse(b"?").unwrap();
        assert!(one.matches(b"\xff"));
        assert!(!one.matches("\u{e9}".as_bytes()));
        assert!(Pattern::parse(b"[\x80-\xff]*").unwrap().matches("\u{e9}".as_bytes()));
        assert!(Pattern::parse(b"[\0-\xff]").unwrap().matches(b"\0"));
    }

    #[test]
    fn pattern_bombs_match_in_bounded_time_hp_13() {
        let name = [b'a'; 255];
        let begun = std::time::Instant::now();
        for pattern in [
            "a*".repeat(7) + "b",
            "a*".repeat(127) + "b",
            "*a".repeat(127) + "b",
            "*?".repeat(127) + "b",
            "?*".repeat(127) + "b",
            "[a-z]*".repeat(42) + "b",
            "*".to_owned() + &"a".repeat(126) + "b",
        ] {
            let pattern = Pattern::parse(pattern.as_bytes()).unwrap();
            for _ in 0..10 {
                assert!(!pattern.matches(&name));
            }
        }
        for pattern in ["[".repeat(4_000) + "*", "[!".repeat(2_000) + "?"] {
            assert!(!Pattern::parse(pattern.as_bytes()).unwrap().matches(&name));
        }
        assert!(begun.elapsed().as_secs() < 5, "this is not linear");
    }

    /// Compares with the simplest possible matcher, over all short patterns and names.
    #[test]
    fn agrees_with_an_exhaustive_matcher() {
        fn plain(pattern: &[u8], name: &[u8]) -> bool {
            match (pattern.split_first(), name.split_first()) {
                (None, None) => true,
                (Some((b'*', after)), _) => {
                    (0..=name.len()).any(|taken| plain(after, &name[taken..]))
                }
                (Some((&token, after)), Some((&byte, rest))) => {
                    (token == b'?' || token == byte) && plain(after, rest)
                }
                _ => false,
            }
        }
        let words = |alphabet: &[u8], longest: u32| {
            let mut words = vec![Vec::new()];
            for length in 1..=longest {
                for number in 0..alphabet.len().pow(length) {
                    let digit =
                        |place| alphabet[number / alphabet.len().pow(place) % alphabet.len()];
                    words.push((0..length).map(digit).collect());
                }
            }
            words
        };
        let names = words(b"ab", 5);
        for pattern in words(b"ab*?", 5) {
            if pattern.windows(2).any(|two| two == b"**") {
                continue;
            }
            let Some(parsed) = Pattern::parse(&pattern) else { continue };
            for name in &names {
                assert_eq!(parsed.matches(name), plain(&pattern, name), "{pattern:?} {name:?}");
            }
        }
    }
}
