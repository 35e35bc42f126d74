//! Parses the lines of a batch: words as in a shell, and the commands that they form.

use std::ops::RangeInclusive;

use ftp_proto::Verb;

use crate::console::output::shown;
use crate::exit::{Exit, Failure, Result};
use crate::options::{other_command, values};

/// A command: its name, its usage, its flags, and the numbers of operands that it takes.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct LineCommand(
    pub(super) &'static str,
    pub(super) &'static str,
    &'static [u8],
    RangeInclusive<usize>,
);

const MANY: usize = usize::MAX;

/// The commands of scripts and sessions.
pub(super) static COMMANDS: [LineCommand; 14] = [
    LineCommand("get", "get REMOTE [LOCAL]", b"", 1..=2),
    LineCommand("put", "put LOCAL [REMOTE]", b"", 1..=2),
    LineCommand("ls", "ls [-l] [-a] [-R] [PATH]", b"laR", 0..=1),
    LineCommand("stat", "stat PATH...", b"", 1..=MANY),
    LineCommand("rm", "rm [-r] [-f] PATH...", b"rf", 1..=MANY),
    LineCommand("mkdir", "mkdir [-p] PATH...", b"p", 1..=MANY),
    LineCommand("rmdir", "rmdir PATH...", b"", 1..=MANY),
    LineCommand("mv", "mv FROM TO", b"", 2..=2),
    LineCommand("chmod", "chmod MODE PATH...", b"", 2..=MANY),
    LineCommand("cd", "cd DIRECTORY", b"", 1..=1),
    LineCommand("ascii", "ascii", b"", 0..=0),
    LineCommand("binary", "binary", b"", 0..=0),
    LineCommand("quote", "quote COMMAND...", b"", 1..=MANY),
    LineCommand("bye", "bye", b"", 0..=0),
];

/// The commands of sessions only.
pub(super) static OF_SESSIONS: [LineCommand; 3] = [
    LineCommand("pwd", "pwd", b"", 0..=0),
    LineCommand("lcd", "lcd [DIRECTORY]", b"", 0..=1),
    LineCommand("help", "help", b"", 0..=MANY),
];

/// A command with its flags and operands. Names are bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Order {
    pub(super) name: &'static str,
    flags: Vec<u8>,
    pub(super) operands: Vec<Vec<u8>>,
}

/// Splits a line into words at blanks, like a shell. `'...'`, `"..."` and `\` quote blanks; `#` at
/// the start of a word begins a comment. Nothing is expanded.
///
/// # Errors
///
/// Returns `Usage` for an unclosed quote or a trailing `\`.
fn words(line: &[u8]) -> Result<Vec<Vec<u8>>> {
    let wrong = |what: &str| Err(Failure::item(Exit::Usage, what));
    let mut words = Vec::new();
    let mut word = None::<Vec<u8>>;
    let mut quote = None;
    let mut rest = line.iter().copied();
    while let Some(byte) = rest.next() {
        match (quote, byte) {
            (None, b' ' | b'\t' | b'\r') => {
                words.extend(word.take());
                continue;
            }
            (None, b'#') if word.is_none() => break,
            _ => {}
        }
        let word = word.get_or_insert_default();
        match (quote, byte) {
            (Some(open), byte) if byte == open => quote = None,
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(b'"'), b'\\') => match rest.next() {
                Some(byte @ (b'"' | b'\\' | b'$' | b'`')) => word.push(byte),
                byte => word.extend([b'\\'].into_iter().chain(byte)),
            },
            (None, b'\\') => match rest.next() {
                Some(byte) => word.push(byte),
                None => return wrong("missing character after \\"),
            },
            (_, byte) => word.push(byte),
        }
    }
    match quote {
        Some(b'"') => return wrong("missing closing \""),
        Some(_) => return wrong("missing closing '"),
        None => words.extend(word),
    }
    Ok(words)
}

impl Order {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags.contains(&flag)
    }

    /// Returns whether the command may have to enter a directory to find out whether the directory
    /// exists.
    pub(super) fn may_enter(&self) -> bool {
        matches!(self.name, "ls" | "stat" | "rm" | "chmod")
            || self.name == "mkdir" && self.has(b'p')
    }

    /// Returns the paths on the server. One that is missing is empty, as is that of a raw command.
    fn paths(&self) -> Vec<&[u8]> {
        let mut operands = self.operands.iter().map(Vec::as_slice);
        match self.name {
            "get" => operands.take(1).collect(),
            "put" => vec![operands.nth(1).unwrap_or_default()],
            "ls" => vec![operands.next().unwrap_or_default()],
            "chmod" => operands.skip(1).collect(),
            "quote" => vec![b""],
            _ => operands.collect(),
        }
    }

    /// Returns whether the command depends on the current directory. A raw command counts as
    /// relative.
    pub(super) fn is_relative(&self) -> bool {
        self.paths().iter().any(|path| !path.starts_with(b"/"))
    }

    /// Returns whether a name may have been meant as a pattern.
    pub(super) fn has_pattern(&self) -> bool {
        let local = self.operands.first().filter(|_| self.name == "put").map(Vec::as_slice);
        self.paths().into_iter().chain(local).any(|path| path.contains(&b'*'))
    }

    /// Parses a line of a script, or of a session, which has `more` commands. Returns `None` if the
    /// line is empty or a comment.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the line is invalid.
    pub(super) fn parse(line: &[u8], more: &'static [LineCommand]) -> Result<Option<Self>> {
        let mut words = words(line)?.into_iter();
        let Some(name) = words.next() else { return Ok(None) };
        let name = String::from_utf8_lossy(&name).into_owned();
        let known = match name.as_str() {
            "exit" | "quit" | "close" => "bye",
            "?" | "h" => "help",
            name => name,
        };
        let mut commands = COMMANDS.iter().chain(more);
        let Some(LineCommand(name, usage, flags, counts)) = commands.find(|it| it.0 == known)
        else {
            if crate::options::may_hold_password(name.as_bytes()) {
                let message = "unknown command (not shown: it may hold a password)";
                return Err(Failure::item(Exit::Usage, message));
            }
            let name = shown(name.as_bytes());
            // Short words are near to many.
            let known = COMMANDS.iter().map(|command| command.0);
            let known = known.filter(|known| name.starts_with(known.split_at(1).0));
            let is_local = name.starts_with('!');
            let instead = other_command(if is_local { "pwd" } else { &name }, Some("batch"));
            let hint = match (instead, values::nearest(&name, known)) {
                (Some(hint), _) => hint,
                (None, Some(near)) => format!("did you mean {near}?"),
                (None, None) => "ftp-cli help batch lists the commands".to_owned(),
            };
            return Err(Failure::item(Exit::Usage, format!("unknown command {name}; {hint}")));
        };
        let mut order = Self { name, flags: Vec::new(), operands: words.collect() };
        if *name != "quote" {
            if order.operands.iter().any(|word| crate::options::is_url(word)) {
                let message = "expected a path on the server, not a URL";
                return Err(Failure::item(Exit::Usage, message));
            }
            order.take_flags(usage, flags)?;
        }
        if order.operands.iter().any(Vec::is_empty) || !counts.contains(&order.operands.len()) {
            return Err(Failure::item(Exit::Usage, format!("expected {usage}")));
        }
        Ok(Some(order))
    }

    /// Moves the flags at the front of the operands, which are in `known`, to `flags`. The first `--` ends
    /// the flags. A single `-` is an operand.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for another word that begins with `-`: a name on the server or here would be
    /// what an option was meant for. A flag after an operand may be a name that a script inserted.
    fn take_flags(&mut self, usage: &str, known: &[u8]) -> Result {
        let end = self.operands.iter().position(|word| word == b"--");
        let names = end.map_or(Vec::new(), |end| self.operands.split_off(end));
        let is_flag = |word: &Vec<u8>| {
            matches!(word.as_slice(), [b'-', flags @ ..]
                if !flags.is_empty() && flags.iter().all(|flag| known.contains(flag)))
        };
        while self.operands.first().is_some_and(is_flag) {
            self.flags.extend(self.operands.remove(0));
        }
        let is_odd = |word: &&Vec<u8>| word.len() > 1 && word.starts_with(b"-") || *word == b"&";
        if let Some(word) = self.operands.iter().find(is_odd) {
            let fault = if is_flag(word) { "misplaced" } else { "unknown" };
            let (name, shown) = (self.name, shown(word));
            let message = format!(
                "{name}: {fault} option {shown}; expected {usage}; as a name, use ./{shown}"
            );
            return Err(Failure::item(Exit::Usage, message));
        }
        self.operands.extend(names.into_iter().skip(1));
        Ok(())
    }
}

/// Returns the directory that a raw command enters, or `None` if it does not change the directory.
pub(crate) fn leads_to(command: &[u8]) -> Option<&[u8]> {
    let verb = command.split(|byte| *byte == b' ').next().unwrap_or_default();
    let argument = command.get(verb.len() + 1..).unwrap_or_default();
    match verb.to_ascii_uppercase().as_slice() {
        b"CWD" | b"XCWD" => Some(argument),
        b"CDUP" | b"XCUP" => Some(b".."),
        _ => None,
    }
}

/// Returns whether a raw command may set what ends with the connection, such as the user or the umask.
/// False for those that only ask, and for those whose effect stays on the server.
pub(crate) fn may_set(command: &[u8]) -> bool {
    let Ok((verb, argument)) = Verb::split(command) else { return true };
    let word = argument.split(|byte| *byte == b' ').next();
    let word = word.unwrap_or_default().to_ascii_uppercase();
    let stays = verb == Verb::Site && matches!(word.as_slice(), b"CHMOD" | b"HELP");
    !(verb.keeps_session() || stays)
}

/// Returns whether a line, even an invalid one, asks for another directory on the server or here.
pub(super) fn enters(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    match text.strip_prefix(b"quote ") {
        Some(command) => leads_to(command.trim_ascii_start()).is_some(),
        None => text.starts_with(b"cd") || text.starts_with(b"lcd"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_in_a_shell() {
        for (line, want) in [
            ("", Ok(&[][..])),
            ("  \t\r", Ok(&[])),
            ("# all of it", Ok(&[])),
            ("a b\tc", Ok(&["a", "b", "c"])),
            ("a # b", Ok(&["a"])),
            ("a#b c", Ok(&["a#b", "c"])),
            ("'a b' \"c d\"", Ok(&["a b", "c d"])),
            ("a' 'b\"c\"", Ok(&["a bc"])),
            (r"a\ b \# \\", Ok(&["a b", "#", "\\"])),
            (r#""a\"b\\c\d$x""#, Ok(&["a\"b\\c\\d$x"])),
            (r"'a\b'", Ok(&[r"a\b"])),
            ("''", Ok(&[""])),
            ("*.txt $HOME ~", Ok(&["*.txt", "$HOME", "~"])),
            ("'a", Err("missing closing '")),
            ("\"a", Err("missing closing \"")),
            ("\"a\\", Err("missing closing \"")),
            ("a \\", Err("missing character after")),
        ] {
            match (words(line.as_bytes()), want) {
                (Ok(words), Ok(want)) => {
                    let want: Vec<&[u8]> = want.iter().map(|word| word.as_bytes()).collect();
                    assert_eq!(words, want, "{line}");
                }
                (Err(failure), Err(want)) => assert!(failure.message.contains(want), "{line}"),
                (Ok(words), Err(_)) => panic!("{line}: {words:?}"),
                (Err(failure), Ok(_)) => panic!("{line}: {}", failure.message),
            }
        }
        assert_eq!(words(b"\xff '\xfe '").unwrap(), [&b"\xff"[..], b"\xfe "]);
    }

    #[test]
    fn lines_parse_to_orders_or_fail_with_the_usage() {
        for (line, name, flags, operands) in [
            ("get a", "get", "", &["a"][..]),
            ("get ./-x 'l m'", "get", "", &["./-x", "l m"]),
            ("put a b/", "put", "", &["a", "b/"]),
            ("ls", "ls", "", &[]),
            ("ls -la d", "ls", "la", &["d"]),
            ("ls -- -l", "ls", "", &["-l"]),
            ("rm -r -f a b", "rm", "rf", &["a", "b"]),
            ("mkdir -p a/b", "mkdir", "p", &["a/b"]),
            ("mv a b", "mv", "", &["a", "b"]),
            ("chmod 644 a", "chmod", "", &["644", "a"]),
            ("cd ..", "cd", "", &[".."]),
            ("ascii # now", "ascii", "", &[]),
            ("quote SITE CHMOD 644 'a b'", "quote", "", &["SITE", "CHMOD", "644", "a b"]),
            ("get a -", "get", "", &["a", "-"]),
            ("get -- -c -d", "get", "", &["-c", "-d"]),
            ("rm a -- -r", "rm", "", &["a", "-r"]),
            ("quote SITE -x --", "quote", "", &["SITE", "-x", "--"]),
            ("quit", "bye", "", &[]),
            ("quote 'SITE  X'", "quote", "", &["SITE  X"]),
        ] {
            let order = Order::parse(line.as_bytes(), &[]).unwrap().unwrap();
            assert_eq!(order.name, name, "{line}");
            let known = COMMANDS.iter().find(|command| command.0 == name).unwrap().2;
            assert!(
                known.iter().all(|it| order.has(*it) == flags.as_bytes().contains(it)),
                "{line}"
            );
            let operands: Vec<_> = operands.iter().map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(order.operands, operands, "{line}");
        }
        for (line, name, count) in [("pwd", "pwd", 0), ("lcd a", "lcd", 1), ("? get", "help", 1)] {
            let order = Order::parse(line.as_bytes(), &OF_SESSIONS).unwrap().unwrap();
            assert_eq!((order.name, order.operands.len()), (name, count));
        }
        for (line, words) in [
            ("get", "get REMOTE [LOCAL]"),
            ("get a b c", "get REMOTE [LOCAL]"),
            ("get ''", "get REMOTE [LOCAL]"),
            ("rm", "rm [-r] [-f] PATH..."),
            (
                "rm -x a",
                "rm: unknown option -x; expected rm [-r] [-f] PATH...; as a name, use ./-x",
            ),
            (
                "rm a -r",
                "rm: misplaced option -r; expected rm [-r] [-f] PATH...; as a name, use ./-r",
            ),
            (
                "get a -c",
                "get: unknown option -c; expected get REMOTE [LOCAL]; as a name, use ./-c",
            ),
            ("get a &", "unknown option &; expected get REMOTE [LOCAL]"),
            ("chmod -w a", "chmod: unknown option -w; "),
            ("cd -P", "cd: unknown option -P; "),
            ("quit now", "expected bye"),
            ("del a", "use: rm PATH..."),
            ("mget *.txt", "ftp-cli mget URL"),
            ("pwd", "only a session at a terminal"),
            ("!id", "only a session at a terminal"),
            ("id", "help batch"),
            ("ls - a", "ls [-l] [-a] [-R] [PATH]"),
            ("ascii now", "ascii"),
            ("gte a", "did you mean get?"),
            ("frobnicate", "help batch"),
            ("\u{1b}[2J", "\\x1b[2J"),
        ] {
            let message = Order::parse(line.as_bytes(), &[]).unwrap_err().message;
            assert!(message.contains(words), "{line}: {message}");
        }
    }
}
