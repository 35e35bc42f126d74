//! Parses the lines of a batch: words as in a shell, and the commands that they form.

use crate::console::output::shown;
use crate::exit::{Exit, Failure, Result};
use crate::options::{Command, other_command, values};

/// Command of a line. Names are bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Order {
    Get { remote: Vec<u8>, local: Option<Vec<u8>> },
    Put { local: Vec<u8>, remote: Option<Vec<u8>> },
    Ls { long: bool, all: bool, recursive: bool, path: Vec<u8> },
    Stat(Vec<Vec<u8>>),
    Rm { recursive: bool, force: bool, paths: Vec<Vec<u8>> },
    Mkdir { parents: bool, paths: Vec<Vec<u8>> },
    Rmdir(Vec<Vec<u8>>),
    Mv { from: Vec<u8>, to: Vec<u8> },
    Chmod { mode: Vec<u8>, paths: Vec<Vec<u8>> },
    Cd(Vec<u8>),
    Ascii,
    Binary,
    Quote(Vec<u8>),
    Bye,
}

/// The commands, the usage of each, and its flags.
pub(super) const USAGES: [(&str, &str, &[u8]); 14] = [
    ("get", "get REMOTE [LOCAL]", b""),
    ("put", "put LOCAL [REMOTE]", b""),
    ("ls", "ls [-l] [-a] [-R] [PATH]", b"laR"),
    ("stat", "stat PATH...", b""),
    ("rm", "rm [-r] [-f] PATH...", b"rf"),
    ("mkdir", "mkdir [-p] PATH...", b"p"),
    ("rmdir", "rmdir PATH...", b""),
    ("mv", "mv FROM TO", b""),
    ("chmod", "chmod MODE PATH...", b""),
    ("cd", "cd DIRECTORY", b""),
    ("ascii", "ascii", b""),
    ("binary", "binary", b""),
    ("quote", "quote COMMAND...", b""),
    ("bye", "bye", b""),
];

/// Splits a line into words at blanks, like a shell. `'...'`, `"..."` and `\` quote blanks; `#` at
/// the start of a word begins a comment. Nothing is expanded.
///
/// # Errors
///
/// Returns `Usage` for an unclosed quote or a trailing `\`.
pub(super) fn words(line: &[u8]) -> Result<Vec<Vec<u8>>> {
    let wrong = |what: &str| Err(Failure::item(Exit::Usage, what));
    let mut words = Vec::new();
    let mut word = None::<Vec<u8>>;
    let mut rest = line.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b' ' | b'\t' | b'\r' => words.extend(word.take()),
            b'#' if word.is_none() => break,
            b'\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some(b'\'') => break,
                        Some(byte) => word.push(*byte),
                        None => return wrong("missing closing '"),
                    }
                }
            }
            b'"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some(b'"') => break,
                        Some(b'\\') => match rest.next() {
                            Some(byte @ (b'"' | b'\\' | b'$' | b'`')) => word.push(*byte),
                            Some(byte) => word.extend([b'\\', *byte]),
                            None => return wrong("missing closing \""),
                        },
                        Some(byte) => word.push(*byte),
                        None => return wrong("missing closing \""),
                    }
                }
            }
            b'\\' => match rest.next() {
                Some(byte) => word.get_or_insert_default().push(*byte),
                None => return wrong("missing character after \\"),
            },
            byte => word.get_or_insert_default().push(*byte),
        }
    }
    words.extend(word);
    Ok(words)
}

impl Order {
    /// Returns whether the command may have to enter a directory to find out whether the directory
    /// exists.
    pub(super) const fn may_enter(&self) -> bool {
        matches!(
            self,
            Self::Ls { .. }
                | Self::Stat(_)
                | Self::Rm { .. }
                | Self::Mkdir { parents: true, .. }
                | Self::Chmod { .. }
        )
    }

    /// Returns the paths on the server. One that is missing is empty, as is that of a raw command.
    fn paths(&self) -> Vec<&[u8]> {
        match self {
            Self::Get { remote, .. } => vec![remote],
            Self::Put { remote, .. } => vec![remote.as_deref().unwrap_or_default()],
            Self::Ls { path, .. } | Self::Cd(path) => vec![path],
            Self::Stat(paths)
            | Self::Rm { paths, .. }
            | Self::Mkdir { paths, .. }
            | Self::Rmdir(paths)
            | Self::Chmod { paths, .. } => paths.iter().map(Vec::as_slice).collect(),
            Self::Mv { from, to } => vec![from, to],
            Self::Ascii | Self::Binary | Self::Bye => Vec::new(),
            Self::Quote(_) => vec![b""],
        }
    }

    /// Returns whether the command depends on the current directory. A raw command counts as
    /// relative.
    pub(super) fn is_relative(&self) -> bool {
        self.paths().iter().any(|path| !path.starts_with(b"/"))
    }

    /// Returns whether a name may have been meant as a pattern.
    pub(super) fn has_pattern(&self) -> bool {
        let is_pattern = |path: &[u8]| path.contains(&b'*');
        matches!(self, Self::Put { local, .. } if is_pattern(local))
            || self.paths().into_iter().any(is_pattern)
    }

    /// Parses a line. Returns `None` if the line is empty or a comment.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the line is invalid.
    pub(super) fn parse(line: &[u8]) -> Result<Option<Self>> {
        let mut words = words(line)?.into_iter();
        let Some(name) = words.next() else { return Ok(None) };
        let name = String::from_utf8_lossy(&name).into_owned();
        let known = if matches!(name.as_str(), "exit" | "quit" | "close") { "bye" } else { &name };
        let Some((name, usage, flags)) = USAGES.iter().find(|(it, ..)| *it == known) else {
            if crate::options::may_hold_password(name.as_bytes()) {
                let message = "unknown command (not shown: it may hold a password)";
                return Err(Failure::item(Exit::Usage, message));
            }
            let name = shown(name.as_bytes());
            // Short words are near to many.
            let known = USAGES.iter().map(|(known, ..)| *known);
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
        let mut words = LineWords { flags: Vec::new(), words: words.collect() };
        if *name != "quote" && words.words.iter().any(|word| crate::options::is_url(word)) {
            return Err(Failure::item(Exit::Usage, "expected a path on the server, not a URL"));
        }
        if *name != "quote" {
            words.take_flags(name, usage, flags)?;
        }
        let order = words.order(name);
        order.map(Some).ok_or_else(|| Failure::item(Exit::Usage, format!("expected {usage}")))
    }
}

/// Returns the directory that a raw command enters, or `None` if it does not change the directory.
pub(super) fn leads_to(command: &[u8]) -> Option<&[u8]> {
    let verb = command.split(|byte| *byte == b' ').next().unwrap_or_default();
    let argument = command.get(verb.len() + 1..).unwrap_or_default();
    match verb.to_ascii_uppercase().as_slice() {
        b"CWD" | b"XCWD" => Some(argument),
        b"CDUP" | b"XCUP" => Some(b".."),
        _ => None,
    }
}

/// Returns whether a line, even an invalid one, asks for another directory on the server or here.
pub(super) fn enters(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    match text.strip_prefix(b"quote ") {
        Some(command) => leads_to(command.trim_ascii_start()).is_some(),
        None => text.starts_with(b"cd") || text.starts_with(b"lcd"),
    }
}

/// Words after the name of a command.
struct LineWords {
    flags: Vec<u8>,
    words: Vec<Vec<u8>>,
}

impl LineWords {
    /// Moves the flags at the front of `words`, which are in `known`, to `flags`. The first `--` ends
    /// the flags. A single `-` is an operand.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for another word that begins with `-`: a name on the server or here would be
    /// what an option was meant for. A flag after an operand may be a name that a script inserted.
    fn take_flags(&mut self, name: &str, usage: &str, known: &[u8]) -> Result {
        let end = self.words.iter().position(|word| word == b"--");
        let names = end.map_or(Vec::new(), |end| self.words.split_off(end));
        let is_flag = |word: &Vec<u8>| {
            matches!(word.as_slice(), [b'-', flags @ ..]
                if !flags.is_empty() && flags.iter().all(|flag| known.contains(flag)))
        };
        while self.words.first().is_some_and(is_flag) {
            self.flags.extend(self.words.remove(0));
        }
        let is_odd = |word: &&Vec<u8>| word.len() > 1 && word.starts_with(b"-") || *word == b"&";
        if let Some(word) = self.words.iter().find(is_odd) {
            let fault = if is_flag(word) { "misplaced" } else { "unknown" };
            let option = String::from_utf8_lossy(word);
            let option = option.trim_start_matches('-').split('=').next().unwrap_or_default();
            let is_known = |command: Command| {
                !is_flag(word) && command.rows().any(|row| row.is_called(option))
            };
            let shown = shown(word);
            let hint = if is_known(Command::Batch) {
                format!("start batch with {shown}")
            } else if Command::find(name.as_ref()).is_ok_and(is_known) {
                format!("use, outside of batch: ftp-cli {name} {shown}")
            } else {
                format!("expected {usage}")
            };
            let message =
                format!("{name}: {fault} option {shown}; {hint}; as a name, use ./{shown}");
            return Err(Failure::item(Exit::Usage, message));
        }
        self.words.extend(names.into_iter().skip(1));
        Ok(())
    }

    fn order(&mut self, name: &str) -> Option<Order> {
        let has = |flag| self.flags.contains(&flag);
        let words = std::mem::take(&mut self.words);
        if words.iter().any(Vec::is_empty) {
            return None;
        }
        let some = !words.is_empty();
        Some(match (name, words.as_slice()) {
            ("get", [remote, local @ ..]) if local.len() < 2 => {
                Order::Get { remote: remote.clone(), local: local.first().cloned() }
            }
            ("put", [local, remote @ ..]) if remote.len() < 2 => {
                Order::Put { local: local.clone(), remote: remote.first().cloned() }
            }
            ("ls", [] | [_]) => Order::Ls {
                long: has(b'l'),
                all: has(b'a'),
                recursive: has(b'R'),
                path: words.into_iter().next().unwrap_or_default(),
            },
            ("stat", _) if some => Order::Stat(words),
            ("rm", _) if some => Order::Rm { recursive: has(b'r'), force: has(b'f'), paths: words },
            ("mkdir", _) if some => Order::Mkdir { parents: has(b'p'), paths: words },
            ("rmdir", _) if some => Order::Rmdir(words),
            ("mv", [from, to]) => Order::Mv { from: from.clone(), to: to.clone() },
            ("chmod", [mode, paths @ ..]) if !paths.is_empty() => {
                Order::Chmod { mode: mode.clone(), paths: paths.to_vec() }
            }
            ("cd", [path]) => Order::Cd(path.clone()),
            ("ascii", []) => Order::Ascii,
            ("binary", []) => Order::Binary,
            ("bye", []) => Order::Bye,
            ("quote", _) if some => Order::Quote(words.join(&b' ')),
            _ => return None,
        })
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
        let bytes = |text: &str| text.as_bytes().to_vec();
        for (line, want) in [
            ("get a", Order::Get { remote: bytes("a"), local: None }),
            ("get ./-x 'l m'", Order::Get { remote: bytes("./-x"), local: Some(bytes("l m")) }),
            ("put a b/", Order::Put { local: bytes("a"), remote: Some(bytes("b/")) }),
            ("ls", Order::Ls { long: false, all: false, recursive: false, path: Vec::new() }),
            ("ls -la d", Order::Ls { long: true, all: true, recursive: false, path: bytes("d") }),
            (
                "ls -- -l",
                Order::Ls { long: false, all: false, recursive: false, path: bytes("-l") },
            ),
            (
                "rm -r -f a b",
                Order::Rm { recursive: true, force: true, paths: vec![bytes("a"), bytes("b")] },
            ),
            ("mkdir -p a/b", Order::Mkdir { parents: true, paths: vec![bytes("a/b")] }),
            ("mv a b", Order::Mv { from: bytes("a"), to: bytes("b") }),
            ("chmod 644 a", Order::Chmod { mode: bytes("644"), paths: vec![bytes("a")] }),
            ("cd ..", Order::Cd(bytes(".."))),
            ("ascii # now", Order::Ascii),
            ("quote SITE CHMOD 644 'a b'", Order::Quote(bytes("SITE CHMOD 644 a b"))),
            ("get a -", Order::Get { remote: bytes("a"), local: Some(bytes("-")) }),
            ("get -- -c -d", Order::Get { remote: bytes("-c"), local: Some(bytes("-d")) }),
            (
                "rm a -- -r",
                Order::Rm { recursive: false, force: false, paths: vec![bytes("a"), bytes("-r")] },
            ),
            ("quote SITE -x --", Order::Quote(bytes("SITE -x --"))),
            ("quit", Order::Bye),
            ("quote 'SITE  X'", Order::Quote(bytes("SITE  X"))),
        ] {
            assert_eq!(Order::parse(line.as_bytes()).ok(), Some(Some(want)), "{line}");
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
            ("get -c a", "get: unknown option -c; start batch with -c; as a name, use ./-c"),
            ("get a -c", "get: unknown option -c; start batch with -c"),
            ("get -r a", "use, outside of batch: ftp-cli get -r"),
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
            let message = Order::parse(line.as_bytes()).unwrap_err().message;
            assert!(message.contains(words), "{line}: {message}");
        }
    }
}
