//! Patterns of names and paths. No RFC defines them; the syntax is that of shells and of gitignore.

use crate::{ParseError, ParseErrorKind};

/// A pattern of names, or of paths of objects in a tree.
///
/// - `*` matches any number of characters, including none; `?` matches one character. In a path,
///   neither matches `/`.
/// - `[abc]` and `[a-z]` match one of these characters, `[!abc]` and `[^abc]` any other one. A `]`
///   as the first member matches itself. `[[:alpha:]]` and the other classes of POSIX match
///   characters of ASCII.
/// - `{a,b}` matches what `a` or `b` matches. An alternative can be empty, and can contain braces.
/// - In a path, `**/` matches any number of directories, and `/**` at the end matches everything
///   below a directory. In a name, `**` is `*`.
/// - `\` makes the next character match itself.
///
/// Each byte of a name that is not UTF-8 counts as one character. Unlike in a shell, `*` and `?`
/// match a leading dot, since FTP listings include names that begin with a dot.
///
/// The number of steps of a match grows at most with the length of the name times that of the
/// pattern, whatever both are.
///
/// ```
/// use ftp_proto::Pattern;
///
/// assert!(Pattern::parse_name(b"*.{jpg,tx?}")?.matches(b"a.txt"));
/// assert!(Pattern::parse_path(b"src/**/*.o")?.matches(b"src/a/b/c.o"));
/// assert!(Pattern::parse_path(b"*.o")?.matches(b"src/a/b/c.o"));
/// assert!(Pattern::parse_name(b"{a,b").is_err());
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    steps: Vec<Step>,
    scope: Scope,
    ignores_case: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scope {
    /// A name, in which `/` is a character like any other: servers send such names, which must be
    /// found to be reported.
    Name,
    LastPart,
    /// A path from the top of the tree.
    Path,
}

/// A step of a match. A match follows all ways through the steps at once, one character of the name
/// after the other, so that it tries no way twice.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Step {
    One(u32),
    Any,
    Many,
    Set(Set),
    /// Continues both with the next step and with this one.
    Fork(usize),
    Jump(usize),
}

/// Added to bytes that are not UTF-8, to tell them from characters.
const RAW: u32 = 1 << 31;
const SLASH: u32 = b'/' as u32;

fn characters(text: &[u8]) -> impl Iterator<Item = u32> {
    text.utf8_chunks().flat_map(|chunk| {
        let raw = chunk.invalid().iter().map(|&byte| RAW | u32::from(byte));
        chunk.valid().chars().map(u32::from).chain(raw)
    })
}

impl Pattern {
    /// Parses a pattern of names. A plain name matches only itself.
    ///
    /// # Errors
    ///
    /// Returns what makes the pattern invalid, and where:
    ///
    /// - `UnexpectedEnd`: a `[` or `{` that is not closed, or a `\` at the end.
    /// - `UnexpectedByte`: a `}` without a `{`, or a `\` before a `/`.
    /// - `Unsupported`: braces without a comma, or `[=` or `[.` in a set.
    /// - `UnknownWord`: a class that POSIX does not have.
    /// - `BadNumber`: a range such as `z-a`.
    pub fn parse_name(pattern: &[u8]) -> Result<Self, ParseError> {
        let all: Vec<u32> = characters(pattern).collect();
        let parser = Parser::new(&all, Scope::Name).read();
        parser.map(Parser::finish).map_err(|fault| error(&all, fault))
    }

    /// Parses a pattern of paths, which have no `/` at the beginning and at the end.
    ///
    /// A pattern without `/` matches the last part of a path, and so names at any depth. A pattern
    /// that contains a `/` or begins with one matches whole paths. A `/` at the end is an error: a
    /// path does not show whether an object is a directory.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`parse_name`](Self::parse_name), and:
    ///
    /// - `UnexpectedEnd`: an empty pattern.
    /// - `UnexpectedByte`: a `/` beside an empty part, or in braces if no `/` is outside braces.
    /// - `Unsupported`: a `**` in a part with other characters, if the pattern has a `/`.
    pub fn parse_path(pattern: &[u8]) -> Result<Self, ParseError> {
        let all: Vec<u32> = characters(pattern).collect();
        Self::path(&all).map_err(|fault| error(&all, fault))
    }

    fn path(all: &[u32]) -> Result<Self, Fault> {
        let name = Parser::new(all, Scope::LastPart).read()?;
        match name.slash {
            None if all.is_empty() => return Err((0, ParseErrorKind::UnexpectedEnd)),
            None => return Ok(name.finish()),
            // The alternatives would have different scopes.
            Some((at, true)) => return Err((at, ParseErrorKind::UnexpectedByte)),
            Some((_, false)) => {}
        }
        let mut parser = Parser::new(all, Scope::Path);
        parser.at = usize::from(all.first() == Some(&SLASH));
        let mut parser = parser.read()?;
        let limits = std::mem::take(&mut parser.limits);
        let path = parser.finish();
        for limit in limits {
            let mut reached = Reached::new(&path);
            reached.add(&path, limit.step, 1, false, &mut || {});
            let is_met = reached.list.iter().all(|&step| match path.steps.get(step) {
                None => limit.is_end,
                Some(Step::One(SLASH)) => false,
                Some(_) => !limit.is_end,
            });
            if !is_met && limit.is_end {
                return Err((limit.at, ParseErrorKind::Unsupported));
            }
            if !is_met {
                return Err((limit.at, ParseErrorKind::UnexpectedByte));
            }
        }
        Ok(path)
    }

    /// Makes the pattern ignore the case of ASCII letters.
    #[must_use]
    pub fn ignoring_case(self) -> Self {
        Self { ignores_case: true, ..self }
    }

    /// Returns whether a name looks like a pattern: it contains `*` or `?`, or it is a valid
    /// pattern with `[..]` or `{..}`.
    #[must_use]
    pub fn is_in(name: &[u8]) -> bool {
        let has = |wanted: &[u8]| name.iter().any(|byte| wanted.contains(byte));
        has(b"*?") || has(b"[{") && Self::parse_name(name).is_ok()
    }

    /// Returns whether the pattern matches all of a name or path.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        self.run(name, &mut || {})
    }

    /// Matches, and calls `count` for each step that it looks at.
    fn run(&self, name: &[u8], count: &mut impl FnMut()) -> bool {
        let name = match self.scope {
            Scope::LastPart => name.rsplit(|&byte| byte == b'/').next().unwrap_or_default(),
            Scope::Name | Scope::Path => name,
        };
        let mut reached = Reached::new(self);
        reached.add(self, 0, 1, true, count);
        let mut now = Vec::new();
        for (character, mark) in characters(name).zip(2..) {
            std::mem::swap(&mut now, &mut reached.list);
            if now.is_empty() {
                return false;
            }
            for at in now.drain(..) {
                match self.steps.get(at) {
                    Some(step) if self.takes(step, character) => {
                        let next = at + usize::from(*step != Step::Many);
                        reached.add(self, next, mark, true, count);
                    }
                    _ => {}
                }
            }
        }
        reached.list.contains(&self.steps.len())
    }

    fn takes(&self, step: &Step, character: u32) -> bool {
        if character == SLASH && self.scope == Scope::Path {
            return *step == Step::One(SLASH);
        }
        let is_letter = u8::try_from(character).is_ok_and(|byte| byte.is_ascii_alphabetic());
        let cases = [character, character ^ (u32::from(self.ignores_case && is_letter) << 5)];
        match step {
            Step::One(this) => cases.contains(this),
            Step::Any | Step::Many => true,
            Step::Set(set) => {
                let has = |&(first, last): &(u32, u32)| {
                    cases.iter().any(|character| (first..=last).contains(character))
                };
                set.ranges.iter().any(has) != set.is_negated
            }
            Step::Fork(_) | Step::Jump(_) => false,
        }
    }
}

/// The steps that a match has reached: those that take a character, and the end.
struct Reached {
    list: Vec<usize>,
    /// For each step and the end, the mark with which it was added last.
    marks: Vec<usize>,
    waiting: Vec<usize>,
}

impl Reached {
    fn new(pattern: &Pattern) -> Self {
        let marks = vec![0; pattern.steps.len() + 1];
        Self { list: Vec::new(), marks, waiting: Vec::new() }
    }

    /// Adds a step and those that follow it without a character, unless they were added with this
    /// mark before. What follows a `*` is added only if `passes_stars` is set.
    fn add(
        &mut self,
        pattern: &Pattern,
        step: usize,
        mark: usize,
        passes_stars: bool,
        count: &mut impl FnMut(),
    ) {
        self.waiting.push(step);
        while let Some(at) = self.waiting.pop() {
            count();
            match self.marks.get_mut(at) {
                Some(last) if *last != mark => *last = mark,
                _ => continue,
            }
            match pattern.steps.get(at) {
                Some(Step::Jump(to)) => self.waiting.push(*to),
                Some(Step::Fork(other)) => self.waiting.extend([*other, at + 1]),
                step => {
                    self.list.push(at);
                    if passes_stars && step == Some(&Step::Many) {
                        self.waiting.push(at + 1);
                    }
                }
            }
        }
    }
}

/// The index of a character in a pattern, and what is wrong there.
type Fault = (usize, ParseErrorKind);

fn error(all: &[u32], (at, kind): Fault) -> ParseError {
    let length = |&one: &u32| char::from_u32(one).map_or(1, char::len_utf8);
    ParseError::new("pattern", all.iter().take(at).map(length).sum(), kind)
}

struct Parser<'p> {
    all: &'p [u32],
    at: usize,
    scope: Scope,
    steps: Vec<Step>,
    /// Index of a `/`, and whether it is in braces: the first one outside braces, if there is one.
    slash: Option<(usize, bool)>,
    limits: Vec<Limit>,
}

/// A limit to what can follow in a pattern of paths, for the character `at`.
struct Limit {
    at: usize,
    step: usize,
    /// Only the end can follow; otherwise, only a part that is not empty.
    is_end: bool,
}

struct Braces {
    at: usize,
    fork: usize,
    /// The jumps to the end, one from each alternative except the last.
    jumps: Vec<usize>,
    begins_part: bool,
}

impl<'p> Parser<'p> {
    fn new(all: &'p [u32], scope: Scope) -> Self {
        let limits = vec![Limit { at: 0, step: 0, is_end: false }];
        Self { all, at: 0, scope, steps: Vec::new(), slash: None, limits }
    }

    fn finish(self) -> Pattern {
        Pattern { steps: self.steps, scope: self.scope, ignores_case: false }
    }

    /// Returns the character that is `ahead` characters after the next one.
    fn peek(&self, ahead: usize) -> Option<char> {
        self.all.get(self.at + ahead).and_then(|&one| char::from_u32(one))
    }

    fn next(&mut self) -> Option<u32> {
        let next = self.all.get(self.at).copied();
        self.at += usize::from(next.is_some());
        next
    }

    /// Reads the character after a `\`.
    fn escaped(&mut self) -> Result<u32, Fault> {
        let begin = self.at - 1;
        match self.next() {
            None => Err((begin, ParseErrorKind::UnexpectedEnd)),
            Some(SLASH) => Err((begin, ParseErrorKind::UnexpectedByte)),
            Some(character) => Ok(character),
        }
    }

    fn patch(&mut self, at: usize, step: Step) {
        if let Some(patched) = self.steps.get_mut(at) {
            *patched = step;
        }
    }

    fn read(mut self) -> Result<Self, Fault> {
        let mut open: Vec<Braces> = Vec::new();
        let mut begins_part = true;
        while let Some(character) = self.next() {
            let (begin, next) = (self.at - 1, self.steps.len());
            let began_part = std::mem::take(&mut begins_part);
            match (char::from_u32(character), open.last_mut()) {
                (Some('\\'), _) => {
                    let escaped = self.escaped()?;
                    self.steps.push(Step::One(escaped));
                }
                (Some('?'), _) => self.steps.push(Step::Any),
                (Some('*'), _) => begins_part = self.stars(began_part)?,
                (Some('['), _) => {
                    let set = self.set()?;
                    self.steps.push(Step::Set(set));
                }
                (Some('{'), _) => {
                    begins_part = began_part;
                    open.push(Braces { at: begin, fork: next, jumps: Vec::new(), begins_part });
                    self.steps.push(Step::Fork(0));
                }
                (Some(','), Some(braces)) => {
                    begins_part = braces.begins_part;
                    braces.jumps.push(next);
                    let fork = std::mem::replace(&mut braces.fork, next + 1);
                    self.patch(fork, Step::Fork(next + 1));
                    self.steps.extend([Step::Jump(0), Step::Fork(0)]);
                }
                (Some('}'), Some(braces)) => {
                    if braces.jumps.is_empty() {
                        return Err((braces.at, ParseErrorKind::Unsupported));
                    }
                    self.patch(braces.fork, Step::Jump(braces.fork + 1));
                    for &jump in &braces.jumps {
                        self.patch(jump, Step::Jump(next));
                    }
                    open.pop();
                }
                (Some('}'), None) => return Err((begin, ParseErrorKind::UnexpectedByte)),
                (Some('/'), braces) => {
                    if self.slash.is_none_or(|(_, in_braces)| in_braces) {
                        self.slash = Some((begin, braces.is_some()));
                    }
                    begins_part = true;
                    self.steps.push(Step::One(SLASH));
                    self.limits.push(Limit { at: begin, step: next + 1, is_end: false });
                }
                _ => self.steps.push(Step::One(character)),
            }
        }
        match open.last() {
            Some(braces) => Err((braces.at, ParseErrorKind::UnexpectedEnd)),
            None => Ok(self),
        }
    }

    /// Reads the stars after the first one; returns whether a part begins after them.
    fn stars(&mut self, began_part: bool) -> Result<bool, Fault> {
        let (begin, next) = (self.at - 1, self.steps.len());
        while self.peek(0) == Some('*') {
            self.at += 1;
        }
        let count = self.at - begin;
        if count == 1 || self.scope != Scope::Path {
            self.steps.push(Step::Many);
            return Ok(false);
        }
        if count > 2 || !began_part {
            return Err((begin, ParseErrorKind::Unsupported));
        }
        // Any number of names with a `/` after each.
        self.steps.extend([Step::Fork(next + 4), Step::Many, Step::One(SLASH), Step::Jump(next)]);
        let begins_part = self.peek(0) == Some('/');
        if begins_part {
            self.at += 1;
        } else {
            self.steps.extend([Step::Any, Step::Many]);
        }
        self.limits.push(Limit { at: begin, step: self.steps.len(), is_end: !begins_part });
        Ok(begins_part)
    }

    /// Reads a set after its `[`.
    fn set(&mut self) -> Result<Set, Fault> {
        let begin = self.at - 1;
        let is_negated = matches!(self.peek(0), Some('!' | '^'));
        self.at += usize::from(is_negated);
        let mut set = Set { ranges: Vec::new(), is_negated };
        let first = self.at;
        loop {
            let at = self.at;
            match (self.peek(0), self.peek(1)) {
                (Some(']'), _) if at > first => {
                    self.at += 1;
                    return Ok(set);
                }
                (Some('['), Some('=' | '.')) => return Err((at, ParseErrorKind::Unsupported)),
                (Some('['), Some(':')) if self.class(&mut set)? => continue,
                _ => {}
            }
            let low = self.member(begin)?;
            let is_last = self.at + 1 >= self.all.len() || self.peek(1) == Some(']');
            let is_range = self.peek(0) == Some('-') && !is_last;
            self.at += usize::from(is_range);
            let high = if is_range { self.member(begin)? } else { low };
            if low > high {
                return Err((at, ParseErrorKind::BadNumber));
            }
            set.ranges.push((low, high));
        }
    }

    fn member(&mut self, begin: usize) -> Result<u32, Fault> {
        match self.next() {
            None => Err((begin, ParseErrorKind::UnexpectedEnd)),
            Some(character) if character == u32::from('\\') => self.escaped(),
            Some(character) => Ok(character),
        }
    }

    /// Reads `[:class:]`; returns whether there is one.
    fn class(&mut self, set: &mut Set) -> Result<bool, Fault> {
        let name = self.all.get(self.at + 2..).unwrap_or_default();
        let is_letter = |&one: &u32| char::from_u32(one).is_some_and(|c| c.is_ascii_alphabetic());
        let length = name.iter().take_while(|one| is_letter(one)).count();
        if (self.peek(length + 2), self.peek(length + 3)) != (Some(':'), Some(']')) {
            return Ok(false);
        }
        let is_it = |(class, _): &&(&str, &[u8])| {
            class.len() == length
                && class.bytes().map(u32::from).eq(name.iter().take(length).copied())
        };
        let (_, ends) = CLASSES.iter().find(is_it).ok_or((self.at, ParseErrorKind::UnknownWord))?;
        set.ranges.extend(ends.chunks_exact(2).filter_map(|ends| match *ends {
            [low, high] => Some((u32::from(low), u32::from(high))),
            _ => None,
        }));
        self.at += length + 4;
        Ok(true)
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Set {
    ranges: Vec<(u32, u32)>,
    is_negated: bool,
}

/// The classes of POSIX, with the ends of their ranges in ASCII.
const CLASSES: [(&str, &[u8]); 12] = [
    ("alnum", b"09AZaz"),
    ("alpha", b"AZaz"),
    ("blank", b"  \t\t"),
    ("cntrl", b"\0\x1f\x7f\x7f"),
    ("digit", b"09"),
    ("graph", b"!~"),
    ("lower", b"az"),
    ("print", b" ~"),
    ("punct", b"!/:@[`{~"),
    ("space", b"  \t\r"),
    ("upper", b"AZ"),
    ("xdigit", b"09AFaf"),
];

#[cfg(test)]
mod tests;
