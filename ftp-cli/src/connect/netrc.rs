//! Parses `.netrc`: users and passwords by host, as in ftp(1) since 4.2BSD.
//!
//! The format has no standard. This parser reads the keywords `machine HOST`, `default`,
//! `login NAME`, `password WORD` and `account WORD`, anywhere on a line. In double quotes, a
//! backslash escapes the next byte, and `\n`, `\r` and `\t` mean LF, CR and tab. The parser skips
//! `macdef NAME` and all lines up to an empty line. A `#` in place of a keyword begins a comment,
//! up to the end of the line. Other words are skipped.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::secret::{self, Secret, read_own};
use crate::display::shown_path;
use crate::options::values;

/// Longest word in bytes; a longer one means the wrong file.
const WORD: usize = 4_096;

/// The entry for a host, or for all other hosts.
#[derive(Default)]
pub(crate) struct NetrcEntry {
    /// `None` for `default`.
    machine: Option<Vec<u8>>,
    pub(crate) login: Option<Vec<u8>>,
    pub(crate) password: Option<Secret>,
    pub(crate) account: Option<Secret>,
}

/// All entries, in order.
pub(crate) struct Netrc {
    entries: Vec<NetrcEntry>,
    /// The position and the reason, if parsing ended early.
    pub(crate) broken: Option<Broken>,
}

/// Error that ends parsing.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Broken {
    /// Line number, from 1.
    pub(crate) line: usize,
    pub(crate) why: &'static str,
}

impl Netrc {
    /// Parses a whole file. An error ends the parsing; earlier entries count.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut words = NetrcWords { rest: values::without_mark(text), line: 1 };
        let mut this = Self { entries: Vec::new(), broken: None };
        if let Err(why) = this.read(&mut words) {
            this.broken = Some(Broken { line: words.line, why });
        }
        this
    }

    fn read(&mut self, words: &mut NetrcWords<'_>) -> Result<(), &'static str> {
        while let Some(word) = words.keyword()? {
            match word.as_slice() {
                b"machine" => {
                    let machine = Some(words.value()?);
                    self.entries.push(NetrcEntry { machine, ..NetrcEntry::default() });
                }
                b"default" => self.entries.push(NetrcEntry::default()),
                b"macdef" => {
                    words.value()?;
                    words.skip_macro();
                }
                b"login" | b"password" | b"account" => {
                    let value = words.value()?;
                    // Before the first host, a value belongs to no entry.
                    let Some(entry) = self.entries.last_mut() else { continue };
                    match word.as_slice() {
                        b"login" => entry.login = Some(value),
                        b"password" => entry.password = Some(Secret::new(value)),
                        _ => entry.account = Some(Secret::new(value)),
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the entry of `user` at `host`, or of any user if `user` is `None`.
    ///
    /// A host matches only if it is equal, except for case. An entry of another user never matches,
    /// and an entry without a login matches each named user. The first match with a password wins,
    /// otherwise the first match. An entry `default`, wherever it is, counts only if no machine
    /// matches.
    pub(crate) fn find(self, host: &str, user: Option<&[u8]>) -> Option<NetrcEntry> {
        let is_of_user = |entry: &NetrcEntry| match (&entry.login, user) {
            (Some(login), Some(user)) => login == user,
            (login, user) => login.is_some() || user.is_some(),
        };
        let (mut of_machine, mut of_all): (Option<NetrcEntry>, Option<NetrcEntry>) = (None, None);
        for entry in self.entries.into_iter().filter(is_of_user) {
            let found = match &entry.machine {
                Some(machine) if !machine.eq_ignore_ascii_case(host.as_bytes()) => continue,
                Some(_) => &mut of_machine,
                None => &mut of_all,
            };
            let is_better = |old: &NetrcEntry| old.password.is_none() && entry.password.is_some();
            if found.as_ref().is_none_or(is_better) {
                *found = Some(entry);
            }
        }
        of_machine.or(of_all)
    }
}

/// Words of a file.
struct NetrcWords<'a> {
    rest: &'a [u8],
    line: usize,
}

impl NetrcWords<'_> {
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
    fn keyword(&mut self) -> Result<Option<Vec<u8>>, &'static str> {
        loop {
            self.skip_blanks();
            match self.rest.first() {
                None => return Ok(None),
                Some(b'#') => while self.take().is_some_and(|byte| byte != b'\n') {},
                Some(_) => return self.word().map(Some),
            }
        }
    }

    /// Returns the value of a keyword.
    fn value(&mut self) -> Result<Vec<u8>, &'static str> {
        self.skip_blanks();
        match self.rest {
            [] => Err("missing value at the end of the file"),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Vec<u8>, &'static str> {
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
                None | Some(b'\n') if is_quoted => return Err("missing closing quote"),
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
                    None => return Err("missing closing quote"),
                },
                (byte, _) => byte,
            });
            if word.len() > WORD {
                return Err("word too long");
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

/// The content of a netrc file.
pub(crate) struct Loaded {
    pub(crate) netrc: Netrc,
    /// Name for messages.
    pub(crate) name: String,
    /// Reason not to use the file's passwords, if there is one.
    pub(crate) unfit: Option<String>,
}

/// Reads a file.
///
/// # Errors
///
/// Returns the errors of [`read_own`].
pub(crate) fn load(path: &Path) -> io::Result<Loaded> {
    let (metadata, text) = read_own(path)?;
    let netrc = Netrc::parse(&text);
    let unfit = unfit(&metadata, geteuid().as_raw());
    Ok(Loaded { netrc, name: shown_path(path), unfit })
}

/// Returns why `user` should not trust the passwords in a file, if another user except root owns
/// it, or others can access it.
pub(crate) fn unfit(metadata: &Metadata, user: u32) -> Option<String> {
    secret::unfit(metadata, user, (0o077, "accessible to", 0o600))
}

/// Returns the path of `.netrc` in the directory `home`, if `home` is absolute.
pub(crate) fn in_home(home: &OsStr) -> Option<PathBuf> {
    let home = Path::new(home);
    // A relative path would name a file that the current directory's owner controls.
    home.is_absolute().then(|| home.join(".netrc"))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::super::secret::LARGEST;
    use super::*;

    /// Returns the found entry as `login password account`, with `-` for each missing part.
    fn found(text: &str, host: &str, user: Option<&str>) -> Option<String> {
        let entry = Netrc::parse(text.as_bytes()).find(host, user.map(str::as_bytes))?;
        let text = |bytes: Option<&[u8]>| {
            bytes.map_or("-".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let secret = |secret: &Option<Secret>| text(secret.as_ref().map(Secret::as_bytes));
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
            ("login x password y machine h login u", Some("u - -")),
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
            // No user is named: an anonymous login does not get the password.
            ("g", None, Some("c of-c -")),
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
        ] {
            let broken = Netrc::parse(text.as_bytes()).broken.unwrap();
            assert!(broken.line == line && broken.why.contains(why), "{text:.60?}: {broken:?}");
            assert_eq!(found(text, "h", None).as_deref(), Some("u p -"), "{text:.60?}");
        }
        assert!(Netrc::parse(b"machine h login u password p").broken.is_none());
    }

    #[test]
    fn a_netrc_that_others_can_access_is_refused_li_02_hl_02() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("netrc");
        fs::write(&path, "machine h login u password p").unwrap();
        symlink("netrc", root.path().join("link")).unwrap();
        for (mode, is_fit) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
            (0o644, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            for name in ["netrc", "link"] {
                let loaded = load(&root.path().join(name)).unwrap();
                assert_eq!(loaded.unfit.is_none(), is_fit, "{mode:o} {name}");
            }
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert!(unfit(&metadata, metadata.uid()).is_none());
        let other = metadata.uid() + 1;
        assert_eq!(unfit(&metadata, other).is_some(), metadata.uid() != 0, "root's may be read");
    }

    #[test]
    fn a_netrc_of_another_user_is_refused_li_02_hl_02() {
        if geteuid().as_raw() != 0 {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::chown(file.path(), Some(12_345), None).unwrap();
        let loaded = load(file.path()).unwrap();
        assert!(loaded.unfit.is_some_and(|why| why.contains("12345")));
    }

    #[test]
    fn endless_or_oversized_netrc_files_are_not_read_hl_02() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, at("fifo"), FileType::Fifo, mode, 0).unwrap();
        fs::create_dir(at("directory")).unwrap();
        File::create(at("sparse")).unwrap().set_len(1 << 30).unwrap();
        File::create(at("most")).unwrap().set_len(LARGEST).unwrap();
        File::create(at("more")).unwrap().set_len(LARGEST + 1).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for name in ["fifo", "directory", "sparse", "more", "zero", "loop", "none"] {
            assert!(load(&at(name)).is_err(), "{name}");
        }
        assert!(load(&at("most")).unwrap().netrc.broken.is_some());
    }

    #[test]
    fn only_an_absolute_home_yields_a_netrc_path_hl_13() {
        let huge = "/x".repeat(100_000);
        for (home, want) in [
            ("/h", Some("/h/.netrc")),
            ("", None),
            ("h", None),
            (".", None),
            ("/", Some("/.netrc")),
        ] {
            assert_eq!(in_home(OsStr::new(home)).as_deref(), want.map(Path::new), "{home:?}");
        }
        assert!(load(&in_home(OsStr::new(&huge)).unwrap()).is_err());
    }
}
