//! `NetrcEntry`: users and passwords by host, from the text of a `.netrc`.

/// Longest word in bytes; a longer one means the wrong file.
const WORD: usize = 4_096;

/// The entry for a host in a `.netrc`, or for all other hosts: a user and a password, as in ftp(1)
/// since 4.2BSD. Its `Debug` leaves out the password and the account.
///
/// The format has no standard. This parser reads the keywords `machine HOST`, `default`,
/// `login NAME`, `password WORD` and `account WORD`, anywhere on a line. A value is on the line of
/// its keyword, because an empty one would take the next keyword. In double quotes, a
/// backslash escapes the next byte, and `\n`, `\r` and `\t` mean LF, CR and tab. The parser skips
/// `macdef NAME` and all lines up to an empty line. A `#` in place of a keyword begins a comment,
/// up to the end of the line. Other words are skipped.
///
/// ```
/// use ftp_client::NetrcEntry;
///
/// let text = b"machine ftp.example.org login me password secret";
/// let entry = NetrcEntry::find(text, "ftp.example.org", None)?.unwrap();
/// assert_eq!(entry.login.as_deref(), Some(&b"me"[..]));
/// assert_eq!(entry.password.as_deref(), Some(&b"secret"[..]));
/// # Ok::<(), ftp_client::BrokenNetrc>(())
/// ```
#[derive(Default)]
pub struct NetrcEntry {
    /// `None` for `default`.
    machine: Option<Vec<u8>>,
    /// The user, as bytes of any encoding.
    pub login: Option<Vec<u8>>,
    /// The password; any bytes, so it need not be one that FTP can send.
    pub password: Option<Vec<u8>>,
    /// The account for servers that ask for one.
    pub account: Option<Vec<u8>>,
}

/// The error that ended the parsing of a `.netrc`. `Display` writes the line and the reason, to follow
/// the name of the file and a colon.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{line}: {fault}")]
pub struct BrokenNetrc {
    /// Line number, from 1.
    pub line: usize,
    fault: NetrcFault,
}

#[derive(Debug, Eq, PartialEq, thiserror::Error)]
enum NetrcFault {
    #[error("missing value")]
    NoValue,
    #[error("expected \"machine HOST\" before it")]
    NoMachine,
    #[error("missing closing quote")]
    NoQuote,
    #[error("word too long")]
    LongWord,
}

impl NetrcEntry {
    /// Returns the entry of `user` at `host` in the text of a file, or of any user if `user` is
    /// `None`.
    ///
    /// A host matches only if it is equal, except for case. An entry of another user never matches,
    /// and an entry without a login matches each named user. The first match with a password wins,
    /// otherwise the first match. An entry `default`, wherever it is, counts only if no machine
    /// matches. If `user` is `None`, a machine with a login precedes; one without it shows that the
    /// file means `host`, but names no user, as `machine HOST:PORT` does.
    ///
    /// # Errors
    ///
    /// Returns the error that ended parsing, if no machine before it matches. An entry that the error
    /// cut before its login does not match.
    pub fn find(text: &[u8], host: &str, user: Option<&[u8]>) -> Result<Option<Self>, BrokenNetrc> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let (mut words, mut entries) = (NetrcWords { rest: text, line: 1 }, Vec::new());
        let read = words.entries(&mut entries);
        if read.is_err() {
            // The value that could not be read may be its login.
            entries.pop_if(|entry| entry.login.is_none());
        }
        let rank = |entry: &Self| {
            let is_login = user.is_some() || entry.login.is_some();
            (entry.machine.is_some(), is_login, entry.password.is_some())
        };
        let mut found: Option<Self> = None;
        for mut entry in entries {
            if let Some(machine) = &entry.machine {
                let Some((name, rest)) = machine.split_at_checked(host.len()) else { continue };
                match rest {
                    _ if !name.eq_ignore_ascii_case(host.as_bytes()) => continue,
                    [] => {}
                    // An IPv6 address can be longer, and is another host then.
                    [b':', port @ ..]
                        if user.is_none()
                            && !host.contains(':')
                            && port.iter().all(u8::is_ascii_digit) =>
                    {
                        entry.login = None;
                    }
                    _ => continue,
                }
            }
            let is_of_user =
                user.is_none_or(|user| entry.login.as_ref().is_none_or(|login| login == user));
            if is_of_user && found.as_ref().is_none_or(|old| rank(old) < rank(&entry)) {
                found = Some(entry);
            }
        }
        match (found, read) {
            (Some(entry), Err(_)) if entry.machine.is_some() => Ok(Some(entry)),
            // The host's own entry may follow a matching `default`.
            (_, Err(fault)) => Err(BrokenNetrc { line: words.line, fault }),
            (found, Ok(())) => Ok(found),
        }
    }
}

ftp_proto::debug_fields!(NetrcEntry { machine, login }..);

struct NetrcWords<'a> {
    rest: &'a [u8],
    line: usize,
}

impl NetrcWords<'_> {
    fn entries(&mut self, entries: &mut Vec<NetrcEntry>) -> Result<(), NetrcFault> {
        while let Some(word) = self.keyword()? {
            match word.as_slice() {
                b"machine" => {
                    let machine = Some(self.value()?);
                    entries.push(NetrcEntry { machine, ..NetrcEntry::default() });
                }
                b"default" => entries.push(NetrcEntry::default()),
                b"macdef" => {
                    self.value()?;
                    self.skip_macro();
                }
                b"login" | b"password" | b"account" => {
                    let value = self.value()?;
                    let entry = entries.last_mut().ok_or(NetrcFault::NoMachine)?;
                    match word.as_slice() {
                        b"login" => entry.login = Some(value).filter(|login| !login.is_empty()),
                        b"password" => entry.password = Some(value),
                        _ => entry.account = Some(value),
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line += usize::from(*first == b'\n');
        Some(*first)
    }

    fn skip_blanks(&mut self) {
        while self.rest.first().is_some_and(u8::is_ascii_whitespace) {
            self.take();
        }
    }

    /// Returns the next keyword, skipping comments.
    fn keyword(&mut self) -> Result<Option<Vec<u8>>, NetrcFault> {
        loop {
            self.skip_blanks();
            match self.rest.first() {
                None => return Ok(None),
                Some(b'#') => while self.take().is_some_and(|byte| byte != b'\n') {},
                Some(_) => return self.word().map(Some),
            }
        }
    }

    fn value(&mut self) -> Result<Vec<u8>, NetrcFault> {
        while let [b' ' | b'\t' | b'\r', ..] = self.rest {
            self.take();
        }
        match self.rest {
            [] | [b'\n', ..] => Err(NetrcFault::NoValue),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Vec<u8>, NetrcFault> {
        let mut word = Vec::new();
        let is_quoted = self.rest.first() == Some(&b'"');
        if is_quoted {
            self.take();
        }
        loop {
            let byte = match self.rest.first() {
                Some(b'"') if is_quoted => {
                    self.take();
                    return Ok(word);
                }
                None | Some(b'\n') if is_quoted => return Err(NetrcFault::NoQuote),
                None => return Ok(word),
                Some(byte) if !is_quoted && byte.is_ascii_whitespace() => return Ok(word),
                Some(_) => self.take().unwrap_or_default(),
            };
            word.push(match (byte, is_quoted) {
                (b'\\', true) => match self.take() {
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(byte) => byte,
                    None => return Err(NetrcFault::NoQuote),
                },
                (byte, _) => byte,
            });
            if word.len() > WORD {
                return Err(NetrcFault::LongWord);
            }
        }
    }

    /// Skips to the next empty line.
    fn skip_macro(&mut self) {
        // An empty rest of the line with the name does not end the macro.
        let mut is_first = true;
        for line in self.rest.split_inclusive(|byte| *byte == b'\n') {
            let is_empty = line.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
            self.rest = self.rest.get(line.len()..).unwrap_or_default();
            self.line += usize::from(line.ends_with(b"\n"));
            if is_empty && !is_first {
                return;
            }
            is_first = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the found entry as `login password account`, with `-` for each missing part.
    fn found(text: &str, host: &str, user: Option<&str>) -> Option<String> {
        let found = NetrcEntry::find(text.as_bytes(), host, user.map(str::as_bytes));
        let entry = found.ok().flatten()?;
        let text = |bytes: Option<&[u8]>| {
            bytes.map_or("-".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let secret = |secret: &Option<Vec<u8>>| text(secret.as_deref());
        let password = secret(&entry.password);
        let account = secret(&entry.account);
        Some(format!("{} {password} {account}", text(entry.login.as_deref())))
    }

    #[test]
    fn netrc_words_are_parsed_and_skipped_li_03() {
        for (text, want) in [
            ("machine h login u password p", Some("u p -")),
            ("\u{feff}machine h login u password p", Some("u p -")),
            ("machine h\n\tlogin u\r\n\tpassword p\r\n\taccount a\r\n", Some("u p a")),
            ("machine h password \"a b\" login \"u\"", Some("u a b -")),
            (r#"machine h login u password "a\"b\\c\td""#, Some("u a\"b\\c\td -")),
            // As in curl and wget, a backslash outside quotes is an ordinary character.
            (r"machine h login u password a\b", Some("u a\\b -")),
            ("machine h login u password a\"b", Some("u a\"b -")),
            ("machine h login u password \"\"", Some("u  -")),
            ("machine h login u password #1 # login x\n account a", Some("u #1 a")),
            ("# machine h login x password y\nmachine h login u password p", Some("u p -")),
            (
                "macdef m\nmachine h login x password y\n\nmachine h login u password p",
                Some("u p -"),
            ),
            ("macdef m rest\ncd x\n\r\nmachine h login u password p", Some("u p -")),
            ("machine h login u\nmacdef init\npassword x\n\npassword p", Some("u p -")),
            ("macdef init\nmachine h login x password y\n", None),
            ("machine h port 21 login u password p", Some("u p -")),
            ("login x password y machine h login u", None),
            // Each of these is about the host, and names no user.
            ("machine h username u pass p", Some("- - -")),
            ("machine h account a", Some("- - a")),
            ("machine h login \"\" password p", Some("- p -")),
            ("machine h:21 login u password p", Some("- p -")),
            ("default user u", Some("- - -")),
            ("machine g\ndefault login c", Some("c - -")),
            // An empty value does not take the next line.
            ("machine h login u password \nmachine g login v password q", Some("u - -")),
            ("machine h login \r\npassword q", None),
            ("machine h: login u\nmachine h login v", Some("v - -")),
            ("machine h.example:21 login u\nmachine hh login u", None),
            ("machine h login u password p machine", Some("u p -")),
            ("machine h login u password", Some("u - -")),
            ("", None),
            ("\u{feff}\0\0\n", None),
        ] {
            assert_eq!(found(text, "h", None).as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn hosts_are_matched_exactly_li_03_hl_03() {
        let file = "default login anonymous password guest\n\
            machine Host.Example login u password p\n\
            machine host.example.evil login e password evil\n\
            machine host login short password short\n\
            machine host.example. login dot password dot\n\
            machine fd00::1 login six password six";
        for (host, want) in [
            ("host.example", "u p -"),
            ("HOST.example", "u p -"),
            ("host.example.", "dot dot -"),
            ("host", "short short -"),
            ("hos", "anonymous guest -"),
            ("host.exampl", "anonymous guest -"),
            ("xhost.example", "anonymous guest -"),
            ("FD00::1", "six six -"),
            ("", "anonymous guest -"),
        ] {
            assert_eq!(found(file, host, None).as_deref(), Some(want), "{host}");
        }
    }

    #[test]
    fn default_stands_for_no_host_that_the_file_names_li_01_li_03() {
        const DEFAULT: &str = "default login anonymous password me@x";
        for (line, user, want) in [
            ("machine h password p", None, Some("- p -")),
            ("machine h:2121 login bob password p", None, Some("- p -")),
            ("machine h account a", None, Some("- - a")),
            ("machine h password p", Some("anonymous"), Some("- p -")),
            ("machine h login u password p", None, Some("u p -")),
            ("machine h:21 login u\nmachine h login v", None, Some("v - -")),
            ("machine g password p", None, Some("anonymous me@x -")),
            ("machine h login bob", Some("anonymous"), Some("anonymous me@x -")),
        ] {
            for text in [format!("{line}\n{DEFAULT}"), format!("{DEFAULT}\n{line}")] {
                assert_eq!(found(&text, "h", user).as_deref(), want, "{user:?}: {text}");
            }
        }
        // What could not be read may be the host, or its login.
        for line in ["machine h login", "machine h password p login", "machine", "machine \"h"] {
            for text in [format!("{line}\n{DEFAULT}"), format!("{DEFAULT}\n{line}")] {
                for user in [None, Some(&b"anonymous"[..])] {
                    assert!(NetrcEntry::find(text.as_bytes(), "h", user).is_err(), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_netrc_password_is_used_only_for_its_login_hl_03() {
        let file = "machine h login a\n\
            machine h login b password of-b\n\
            machine h login a password of-a\n\
            machine g password of-anyone\n\
            default login c password of-c";
        for (host, user, want) in [
            ("h", Some("a"), Some("a of-a -")),
            ("h", Some("b"), Some("b of-b -")),
            ("h", None, Some("b of-b -")),
            ("h", Some("B"), None),
            ("h", Some("c"), Some("c of-c -")),
            ("g", Some("x"), Some("- of-anyone -")),
            // No user is named, and the default is for other hosts.
            ("g", None, Some("- of-anyone -")),
            ("h:1", Some("a"), None),
            ("x", Some("a"), None),
        ] {
            assert_eq!(found(file, host, user).as_deref(), want, "{user:?} at {host}");
        }
        // A login without a password does not take the password of the next one.
        let file = "machine h login a machine g login b password of-b";
        assert_eq!(found(file, "h", None).as_deref(), Some("a - -"));
    }

    #[test]
    fn netrc_errors_are_reported_with_their_line_hl_02() {
        let long = format!("machine h login u password p\nmachine {}", "x".repeat(5_000));
        for (text, line, why) in [
            (long.as_str(), 2, "too long"),
            ("machine h login u password p\n\nmachine \"g", 3, "closing quote"),
            ("machine h login u password p machine \"g\nx\"", 1, "closing quote"),
            ("machine h login u password p machine \"g\\", 1, "closing quote"),
            ("machine h login u password p\nmachine", 2, "missing value"),
            ("machine h login u password p\nmachine g login\nv", 2, "missing value"),
        ] {
            let broken = NetrcEntry::find(text.as_bytes(), "other", None).unwrap_err();
            assert!(
                broken.line == line && broken.to_string().contains(why),
                "{text:.60?}: {broken:?}"
            );
            assert_eq!(found(text, "h", None).as_deref(), Some("u p -"), "{text:.60?}");
        }
        assert!(NetrcEntry::find(b"machine h login u password p", "other", None).is_ok());
    }
}
