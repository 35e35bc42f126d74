//! Patterns of names, `*`, `?` and `[..]`, as the argument of `LIST` and `NLST` may hold one. No
//! RFC defines them: they are those of a shell, without what would cost more than its length.

/// A pattern for names in one directory, on bytes.
///
/// - `*` is any bytes, none too; `?` is any one byte.
/// - `[abc]`, `[a-z]` is any one of these bytes, `[!abc]` or `[^abc]` any other. A `]` that comes
///   first is itself. A `[` that is never closed is itself.
/// - Everything else is itself: `\`, `{a,b}`, `~`, and `**` too, which elsewhere means any
///   depth and has no place here.
///
/// Unlike a shell's, `*` and `?` match the dot that a name begins with: names with dots are
/// listed anyway.
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
    /// Reads the last component of a path; `None` if it is only a name.
    #[must_use]
    pub fn parse(component: &[u8]) -> Option<Self> {
        let pattern = Self::of(component);
        let is_pattern = pattern.0.iter().any(|token| !matches!(token, Token::Byte(_)));
        is_pattern.then_some(pattern)
    }

    /// Reads a pattern; a name is one that matches only itself.
    #[must_use]
    pub fn of(component: &[u8]) -> Self {
        let mut tokens = Vec::with_capacity(component.len());
        let mut rest = component;
        // Once a set is not closed no later one is: looking again each time would be quadratic.
        let mut sets_close = true;
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            match byte {
                b'*' => {
                    let more = behind.iter().take_while(|&&byte| byte == b'*').count();
                    if more == 0 {
                        tokens.push(Token::Many);
                    } else {
                        tokens.extend(std::iter::repeat_n(Token::Byte(b'*'), more + 1));
                        (_, rest) = behind.split_at(more);
                    }
                }
                b'?' => tokens.push(Token::One),
                b'[' if sets_close => match Set::parse(behind) {
                    Some((set, behind)) => {
                        tokens.push(Token::Set(set));
                        rest = behind;
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

    /// Whether the pattern matches all of `name`.
    ///
    /// When something behind a `*` fails, only the last `*` has to take one byte more: whatever
    /// an earlier one could do instead, it can do too. So this takes at most as many steps as
    /// the lengths of name and pattern multiplied, whatever the pattern.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let mut tokens = self.0.as_slice();
        let mut rest = name;
        // Behind the last `*`, and what it has not taken yet.
        let mut retry: Option<(&[Token], &[u8])> = None;
        loop {
            match (tokens.split_first(), rest.split_first()) {
                (Some((Token::Many, behind)), _) => {
                    retry = Some((behind, rest));
                    tokens = behind;
                }
                (Some((token, behind)), Some((&byte, others))) if token.matches(byte) => {
                    tokens = behind;
                    rest = others;
                }
                (None, None) => return true,
                _ => {
                    let Some((behind, [_taken, others @ ..])) = retry else { return false };
                    retry = Some((behind, others));
                    tokens = behind;
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

/// Some of the 256 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Set {
    low: u128,
    high: u128,
}

impl Set {
    /// Reads what is behind a `[`; gives what is behind its `]`, if there is one.
    fn parse(input: &[u8]) -> Option<(Self, &[u8])> {
        let negated = matches!(input, [b'!' | b'^', ..]);
        let members = input.get(usize::from(negated)..)?;
        // The first member may be a `]`.
        let end = members.iter().skip(1).position(|&byte| byte == b']')? + 1;
        let (mut members, from_bracket) = members.split_at(end);
        let behind = from_bracket.strip_prefix(b"]")?;
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
        Some((set, behind))
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
    fn what_is_only_a_name_ls_28() {
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
    fn bytes_and_not_characters() {
        let one = Pattern::parse(b"?").unwrap();
        assert!(one.matches(b"\xff"));
        assert!(!one.matches("\u{e9}".as_bytes()));
        assert!(Pattern::parse(b"[\x80-\xff]*").unwrap().matches("\u{e9}".as_bytes()));
        assert!(Pattern::parse(b"[\0-\xff]").unwrap().matches(b"\0"));
    }

    #[test]
    fn bombs_cost_no_more_than_their_length_hp_13() {
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

    /// Against the plainest matcher there is, over all short patterns and names.
    #[test]
    fn agrees_with_a_matcher_that_tries_everything() {
        fn plain(pattern: &[u8], name: &[u8]) -> bool {
            match (pattern.split_first(), name.split_first()) {
                (None, None) => true,
                (Some((b'*', behind)), _) => {
                    (0..=name.len()).any(|taken| plain(behind, &name[taken..]))
                }
                (Some((&token, behind)), Some((&byte, rest))) => {
                    (token == b'?' || token == byte) && plain(behind, rest)
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
