//! Patterns of names and paths, beside the simplest matcher: it writes out all alternatives, and
//! tries every way.

#![expect(
    clippy::indexing_slicing,
    reason = "plain lines are easier to trust, and a panic is found"
)]

use ftp_proto::Pattern;

/// Longest pattern and name that are compared: the plain matcher takes exponential time.
const LONGEST: usize = 24;

#[derive(Clone, PartialEq)]
enum Token {
    One(char),
    Any,
    Many,
    /// Members as they are written in pairs, and whether the set is negated.
    Set(Vec<(char, char)>, bool),
    /// `**/`.
    Directories,
    /// `**` at the end.
    Rest,
    Open,
    Comma,
    Close,
}

/// Checks a pattern, and after the first line feed a name.
pub fn pattern(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (pattern, name) = data.split_at(end);
    let name = name.get(1..).unwrap_or_default();
    let parsed = [Pattern::parse_name(pattern), Pattern::parse_path(pattern)];
    for (parsed, in_path) in parsed.iter().zip([false, true]) {
        match parsed {
            Err(error) => assert!(error.at <= pattern.len(), "{error:?}"),
            Ok(parsed) => {
                let found = parsed.matches(name);
                if let Some(want) = plain(pattern, name, in_path) {
                    assert_eq!(found, want, "{:?} in a path: {in_path}", data.escape_ascii());
                }
            }
        }
    }
    let escaped: Vec<u8> = name.iter().flat_map(|&byte| [b'\\', byte]).collect();
    if let (Ok(escaped), true) = (Pattern::parse_name(&escaped), name.is_ascii()) {
        assert!(escaped.matches(name), "an escaped name matches itself");
        assert_eq!(escaped.matches(pattern), name == pattern, "and nothing else");
    }
}

/// Matches as simply as possible; `None` if that takes too long, or if the input has syntax or
/// bytes that are left to tables of tests.
fn plain(pattern: &[u8], name: &[u8], in_path: bool) -> Option<bool> {
    if pattern.len() > LONGEST || name.len() > LONGEST {
        return None;
    }
    let text: Vec<char> = str::from_utf8(pattern).ok()?.chars().collect();
    let name: Vec<char> = str::from_utf8(name).ok()?.chars().collect();
    let of_path = tokens(&text, true)?;
    let is_path =
        in_path && of_path.iter().any(|one| matches!(one, Token::One('/') | Token::Directories));
    let tokens = if is_path { of_path } else { tokens(&text, false)? };
    let many = |one: &&Token| matches!(one, Token::Many | Token::Directories);
    let commas = tokens.iter().filter(|one| **one == Token::Comma).count();
    if tokens.iter().filter(many).count() > 5 || commas > 6 {
        return None;
    }
    let name = match in_path && !is_path {
        true => name.rsplit(|one| *one == '/').next().unwrap_or_default(),
        false => &name,
    };
    let anchored = is_path && text.first() == Some(&'/');
    let tokens = tokens.get(usize::from(anchored)..)?;
    Some(alternatives(tokens).iter().any(|tokens| matches(tokens, name, is_path)))
}

/// Reads a valid pattern.
fn tokens(mut rest: &[char], is_path: bool) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    while let [first, after @ ..] = rest {
        rest = after;
        tokens.push(match (first, after) {
            ('\\', [escaped, after @ ..]) => {
                rest = after;
                Token::One(*escaped)
            }
            ('*', ['*', '/', after @ ..]) if is_path => {
                rest = after;
                Token::Directories
            }
            ('*', ['*', after @ ..]) if is_path => {
                rest = after;
                Token::Rest
            }
            ('*', _) => Token::Many,
            ('?', _) => Token::Any,
            ('{', _) => Token::Open,
            (',', _) => Token::Comma,
            ('}', _) => Token::Close,
            ('[', _) => {
                let set;
                (set, rest) = read_set(after)?;
                set
            }
            _ => Token::One(*first),
        });
    }
    Some(tokens)
}

fn read_set(mut rest: &[char]) -> Option<(Token, &[char])> {
    let is_negated = matches!(rest, ['!' | '^', ..]);
    rest = rest.get(usize::from(is_negated)..)?;
    let mut members = Vec::new();
    let member = |rest: &mut &[char]| -> Option<char> {
        let skipped = usize::from(rest.first() == Some(&'\\'));
        let one = *rest.get(skipped)?;
        *rest = rest.get(skipped + 1..)?;
        Some(one)
    };
    loop {
        match rest {
            [']', after @ ..] if !members.is_empty() => {
                return Some((Token::Set(members, is_negated), after));
            }
            // Classes have a table.
            ['[', ':' | '=' | '.', ..] => return None,
            _ => {}
        }
        let low = member(&mut rest)?;
        let high = match rest {
            ['-', ']', ..] => low,
            ['-', after @ ..] => {
                rest = after;
                member(&mut rest)?
            }
            _ => low,
        };
        members.push((low, high));
    }
}

/// Returns the pattern without braces, once for each alternative.
fn alternatives(tokens: &[Token]) -> Vec<Vec<Token>> {
    let Some(open) = tokens.iter().position(|one| *one == Token::Open) else {
        // A comma outside braces is a character.
        let literal =
            |one: &Token| if *one == Token::Comma { Token::One(',') } else { one.clone() };
        return vec![tokens.iter().map(literal).collect()];
    };
    let (mut depth, mut ends) = (0, vec![open]);
    let mut close = open;
    for (at, one) in tokens.iter().enumerate().skip(open) {
        match one {
            Token::Open => depth += 1,
            Token::Close => depth -= 1,
            Token::Comma if depth == 1 => ends.push(at),
            _ => {}
        }
        if depth == 0 {
            close = at;
            break;
        }
    }
    ends.push(close);
    let each = ends.windows(2).flat_map(|ends| {
        let one = tokens[ends[0] + 1..ends[1]].iter();
        let head = tokens[..open].iter().map(|one| match one {
            Token::Comma => Token::One(','),
            one => one.clone(),
        });
        let all: Vec<Token> =
            head.chain(one.cloned()).chain(tokens[close + 1..].iter().cloned()).collect();
        alternatives(&all)
    });
    each.collect()
}

fn matches(tokens: &[Token], name: &[char], is_path: bool) -> bool {
    let Some((token, after)) = tokens.split_first() else { return name.is_empty() };
    let stops = |one: &char| is_path && *one == '/';
    match token {
        Token::Many => (0..=name.len()).any(|taken| {
            !name[..taken].iter().any(stops) && matches(after, &name[taken..], is_path)
        }),
        Token::Directories => (0..=name.len()).any(|taken| {
            (taken == 0 || name[taken - 1] == '/') && matches(after, &name[taken..], is_path)
        }),
        Token::Rest => name.last().is_some_and(|last| *last != '/'),
        _ => name.split_first().is_some_and(|(first, rest)| {
            let takes = match token {
                Token::One(one) => one == first,
                Token::Set(members, is_negated) => {
                    let has = members.iter().any(|(low, high)| (low..=high).contains(&first));
                    has != *is_negated && !stops(first)
                }
                _ => !stops(first),
            };
            takes && matches(after, rest, is_path)
        }),
    }
}
