//! Attributes of one listed object.

use std::borrow::Cow;
use std::fmt;

use crate::bytes::{self, Escaped};
use crate::fact::{FactType, Facts};
use crate::time_val::TimeVal;

/// One object of a listing.
///
/// A field is `None` if the server sends no value, or a value that cannot be parsed with certainty;
/// nothing is guessed from the name.
///
/// All fields come from the server. A name may contain any byte but LF, and a hostile server may
/// send `../../etc/passwd`: check [`is_safe_name`](Self::is_safe_name) before you use a name in a
/// path.
#[derive(Clone, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// The name, byte for byte, as commands expect it. Leading, inner and trailing SP belong to it;
    /// case and character set are unchanged.
    pub name: Vec<u8>,
    /// The type of the object.
    pub kind: Option<EntryKind>,
    /// Its relation to the listed directory.
    pub role: Role,
    /// Its size in bytes, 0 to 2^64 - 1. For a directory the value depends on the server.
    pub size: Option<u64>,
    /// Whether the server gave a size over 2^64 - 1; if so, `size` is `None`.
    pub size_overflows: bool,
    /// Its modification time.
    pub modified: Option<Modified>,
    /// Its permission bits.
    pub permissions: Option<Permissions>,
    /// Its number of hard links.
    pub links: Option<u64>,
    /// Its owner: a name, or a number in decimal.
    pub owner: Option<Vec<u8>>,
    /// Its group: a name, or a number in decimal.
    pub group: Option<Vec<u8>>,
    /// The target of a symbolic link, as stored in the link.
    pub target: Option<Vec<u8>>,
    /// The server's identifier for the object: two entries of one server with the same identifier
    /// are one object under two names (RFC 3659 §7.5.2).
    pub unique: Option<Vec<u8>>,
}

/// Shows names as text, and what is known.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entry = f.debug_struct("Entry");
        entry.field("name", &Escaped(&self.name)).field("role", &self.role);
        let mut known = |name: &str, value: Option<&dyn fmt::Debug>| {
            if let Some(value) = value {
                entry.field(name, value);
            }
        };
        known("kind", self.kind.as_ref().map(|it| it as _));
        known("size", self.size.as_ref().map(|it| it as _));
        known("size_overflows", self.size_overflows.then_some(&true as _));
        known("modified", self.modified.as_ref().map(|it| it as _));
        known("permissions", self.permissions.as_ref().map(|it| it as _));
        known("links", self.links.as_ref().map(|it| it as _));
        let texts = [&self.owner, &self.group, &self.target, &self.unique];
        for (name, text) in ["owner", "group", "target", "unique"].into_iter().zip(texts) {
            let text = text.as_deref().map(Escaped);
            known(name, text.as_ref().map(|it| it as _));
        }
        entry.finish()
    }
}

/// The type of an object.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, or a Windows junction.
    Link,
    /// A device, FIFO, socket, door or another kind of object.
    Other,
}

/// The relation of an entry to the listed directory.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Role {
    /// An object in the directory.
    #[default]
    Member,
    /// The directory itself, with the name `.` or the fact `type=cdir`. With the fact, the name may
    /// be a whole path (RFC 3659 §7.5.1.2).
    Itself,
    /// The parent directory, with the name `..` or the fact `type=pdir`.
    Parent,
}

/// A modification time and its reliability.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Modified {
    /// The time. Fields finer than the precision are 0.
    pub time: TimeVal,
    /// The finest field that the server gave.
    pub precision: Precision,
    /// Its time zone.
    pub zone: Zone,
}

/// The precision of a time.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Precision {
    /// To the day. `ls -l` uses this precision for times more than half a year ago.
    Day,
    /// To the minute.
    Minute,
    /// To the second or finer.
    Second,
}

/// The time zone of a time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Zone {
    /// UTC: the format requires it, or the line gives the offset from UTC.
    Utc,
    /// Unknown: nearly always the server's own zone. Use MDTM to get the time in UTC.
    Unknown,
}

/// The twelve permission bits of Unix. `Display` writes them like `ls`, such as `rwxr-sr-t`.
///
/// ```
/// use ftp_proto::Permissions;
///
/// assert_eq!(Permissions::new(0o1755).to_string(), "rwxr-xr-t");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Permissions(u16);

impl Permissions {
    /// Returns the lower twelve bits of `mode`: set-user-ID, set-group-ID and sticky, then read,
    /// write and execute for owner, group and others.
    ///
    /// Higher bits, such as the file type, are dropped.
    #[must_use]
    pub const fn new(mode: u16) -> Self {
        Self(mode & 0o7777)
    }

    /// Returns the bits, 0 to `0o7777`.
    #[must_use]
    pub const fn mode(self) -> u16 {
        self.0
    }

    /// Parses the nine letters of `ls`; `None` if one is invalid at its position. Solaris shows
    /// mandatory locking as `l` or `L`, which means set-group-ID without execute.
    pub(super) fn read(letters: &[u8; 9]) -> Option<Self> {
        let mut mode = 0;
        for (at, &letter) in letters.iter().enumerate() {
            let bit = 0o400 >> at;
            let special = 0o4000 >> (at / 3);
            mode |= match (at % 3, letter) {
                (_, b'-') => 0,
                (0, b'r') | (1, b'w') | (2, b'x') => bit,
                (2, b's') if at < 8 => bit | special,
                (2, b'S') if at < 8 => special,
                (2, b'l' | b'L') if at == 5 => special,
                (2, b't') if at == 8 => bit | special,
                (2, b'T') if at == 8 => special,
                _ => return None,
            };
        }
        Some(Self(mode))
    }

    /// Parses three or four octal digits, as in `SITE CHMOD` and the fact `UNIX.mode` of `MFF`;
    /// `None` for anything else.
    #[must_use]
    pub fn parse(digits: &[u8]) -> Option<Self> {
        let is_octal = digits.iter().all(u8::is_ascii_digit);
        if is_octal && matches!(digits.len(), 3 | 4) { Self::read_octal(digits) } else { None }
    }

    /// Parses octal digits, as in the fact `UNIX.mode` of a listing. Some servers include the file
    /// type in this fact, and pyftpdlib puts `0o` before the digits.
    pub(super) fn read_octal(digits: &[u8]) -> Option<Self> {
        let digits = digits.strip_prefix(b"0o").unwrap_or(digits);
        u16::try_from(bytes::octal(digits)? & 0o7777).ok().map(Self)
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for (shift, special) in [(6, 's'), (3, 's'), (0, 't')] {
            let bits = self.0 >> shift;
            f.write_char(if bits & 4 > 0 { 'r' } else { '-' })?;
            f.write_char(if bits & 2 > 0 { 'w' } else { '-' })?;
            f.write_char(match (bits & 1 > 0, self.0 & (0o1000 << (shift / 3)) > 0) {
                (false, false) => '-',
                (true, false) => 'x',
                (true, true) => special,
                (false, true) => special.to_ascii_uppercase(),
            })?;
        }
        Ok(())
    }
}

impl Entry {
    /// Returns an entry with only a name. `.` and `..` get their [`Role`].
    #[must_use]
    pub fn new(name: impl Into<Vec<u8>>) -> Self {
        let name = name.into();
        let role = match name.as_slice() {
            b"." => Role::Itself,
            b".." => Role::Parent,
            _ => Role::Member,
        };
        Self { name, role, ..Self::default() }
    }

    /// Returns whether the server says that the object is a directory. Returns `false` for a link
    /// to a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == Some(EntryKind::Directory)
    }

    /// Returns whether the server says that the object is a file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == Some(EntryKind::File)
    }

    /// Returns whether the server says that the object is a symbolic link or a Windows junction.
    #[must_use]
    pub fn is_link(&self) -> bool {
        self.kind == Some(EntryKind::Link)
    }

    /// Returns the name as text, with U+FFFD for bytes that are not UTF-8.
    ///
    /// In commands, use [`name`](Self::name); on a terminal, use [`Escaped`](crate::Escaped).
    #[must_use]
    pub fn name_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

    /// Returns whether the name refers to an object in the listed directory and nowhere else.
    ///
    /// A safe name is not empty, `.` or `..`, and contains neither `/` nor NUL. Never use any other
    /// name in a local path; the client of CVE-2026-27699 lacked this check. On systems where `\`
    /// separates names, use [`is_portable_name`](Self::is_portable_name).
    #[must_use]
    pub fn is_safe_name(&self) -> bool {
        !matches!(self.name.as_slice(), b"" | b"." | b"..")
            && !self.name.iter().any(|byte| matches!(byte, b'/' | 0))
    }

    /// Returns whether the name is safe and also contains no `\`, a separator on Windows.
    #[must_use]
    pub fn is_portable_name(&self) -> bool {
        self.is_safe_name() && !self.name.contains(&b'\\')
    }

    /// Sets the size from digits; a number over `u64::MAX` sets `size_overflows` instead.
    pub(super) fn set_size(&mut self, digits: &[u8]) {
        self.size = bytes::decimal(digits);
        let digits_only = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        self.size_overflows = self.size.is_none() && digits_only;
    }
}

/// Uses the facts `type`, `size`, `modify` and `unique` of RFC 3659 §7.5. Also uses `sizd`,
/// `UNIX.mode`, and the owner and group in facts such as `UNIX.owner` and `UNIX.gid`. Many servers
/// send these facts, although no standard defines them. An unreadable fact counts as missing.
impl From<&Facts> for Entry {
    fn from(facts: &Facts) -> Self {
        let mut entry = Self::new(facts.name());
        let mut kind = None;
        let mut size = None;
        let mut directory_size = None;
        let mut modify = None;
        let mut unique = None;
        let mut mode = None;
        let mut owners = [None; 3];
        let mut groups = [None; 3];
        let [owner_name, owner, uid] = &mut owners;
        let [group_name, group, gid] = &mut groups;
        let mut known = [
            ("type", &mut kind),
            ("size", &mut size),
            // For a directory, Pure-FTPd and BSD servers send `sizd` instead of `size`.
            ("sizd", &mut directory_size),
            ("modify", &mut modify),
            ("unique", &mut unique),
            ("unix.mode", &mut mode),
            ("unix.ownername", owner_name),
            ("unix.owner", owner),
            ("unix.uid", uid),
            ("unix.groupname", group_name),
            ("unix.group", group),
            ("unix.gid", gid),
        ];
        for (name, value) in facts.iter() {
            let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
            if let Some((_, slot)) = known.iter_mut().find(|(word, _)| is(word)) {
                // If a fact occurs twice, the first one counts.
                slot.get_or_insert(value);
            }
        }
        if let Some(kind) = kind {
            entry.set_kind(kind);
        }
        if let Some(size) = size.or(directory_size) {
            entry.set_size(size);
        }
        entry.modified = modify.and_then(|time| {
            let time = TimeVal::parse(time).ok()?;
            Some(Modified { time, precision: Precision::Second, zone: Zone::Utc })
        });
        entry.permissions = mode.and_then(Permissions::read_octal);
        let first = |names: [Option<&[u8]>; 3]| {
            let found = names.into_iter().flatten().next();
            found.filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
        };
        entry.unique = unique.filter(|unique| !unique.is_empty()).map(<[u8]>::to_vec);
        entry.owner = first(owners);
        entry.group = first(groups);
        entry
    }
}

impl Entry {
    /// Sets the type from the fact `type` (RFC 3659 §7.5.1).
    fn set_kind(&mut self, fact: &[u8]) {
        match FactType::read(fact) {
            FactType::File => self.kind = Some(EntryKind::File),
            FactType::Directory => self.kind = Some(EntryKind::Directory),
            FactType::CurrentDirectory => {
                self.kind = Some(EntryKind::Directory);
                self.role = Role::Itself;
            }
            FactType::ParentDirectory => {
                self.kind = Some(EntryKind::Directory);
                self.role = Role::Parent;
            }
            FactType::Other => match link_target(fact) {
                Some(target) => {
                    self.kind = Some(EntryKind::Link);
                    self.target = (!target.is_empty()).then(|| target.to_vec());
                }
                None if fact.is_empty() => {}
                None => self.kind = Some(EntryKind::Other),
            },
        }
    }
}

/// Returns the target in `OS.unix=slink:target`, empty if there is none; `None` if the object is
/// not a link. RFC 3659 §7.5.1.5 does not fix the word `slink`; some servers send `symlink`.
fn link_target(kind: &[u8]) -> Option<&[u8]> {
    let without = |text: &'_ [u8], prefix: &[u8]| {
        let head = text.get(..prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then_some(prefix.len())
    };
    let word = kind.get(without(kind, b"OS.unix=")?..)?;
    let length = without(word, b"slink").or_else(|| without(word, b"symlink"))?;
    match word.get(length..)? {
        [] => Some(&[]),
        [b':', target @ ..] => Some(target),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_names_as_text() {
        let facts = Facts::parse(b"type=file;size=5;unix.owner=0; a\xff\"b").unwrap();
        let entry = Entry::from(&facts);
        let want = r#"Entry { name: "a\xff"b", role: Member, kind: File, size: 5, owner: "0" }"#;
        assert_eq!(format!("{entry:?}"), want);
        let listed = super::super::ListLine::Unparsed(b"total".to_vec());
        assert_eq!(format!("{listed:?}"), r#"Unparsed("total")"#);
    }

    #[test]
    fn permissions_are_parsed_and_displayed() {
        for (letters, mode) in [
            ("---------", 0),
            ("rwxrwxrwx", 0o777),
            ("rw-r--r-T", 0o1644),
            ("rwxr-xr-t", 0o1755),
            ("rwSr-Sr--", 0o6644),
            ("rwsr-sr--", 0o6754),
        ] {
            let read = Permissions::read(letters.as_bytes().try_into().unwrap());
            assert_eq!(read, Some(Permissions::new(mode)), "{letters}");
            assert_eq!(Permissions::new(mode).to_string(), letters);
        }
        assert_eq!(Permissions::read(b"rw-r-Lr--"), Some(Permissions(0o2644)));
        for letters in [b"xrwr-xr-x", b"rwtr-xr-x", b"rwxr-xr-s", b"rwxr-xr-?", b"rwlr--r--"] {
            assert_eq!(Permissions::read(letters), None);
        }
        for mode in 0..=0o7777 {
            let letters = Permissions::new(mode).to_string();
            let read = Permissions::read(letters.as_bytes().try_into().unwrap());
            assert_eq!(read.map(Permissions::mode), Some(mode), "{letters}");
        }
    }

    #[test]
    fn octal_permissions_are_bounded() {
        for (digits, want) in [
            ("0755", Some(0o755)),
            ("00", Some(0)),
            ("0100644", Some(0o644)),
            ("0o640", Some(0o640)),
            ("0o", None),
            ("", None),
            ("8", None),
            ("-1", None),
            ("77777777777", None),
        ] {
            let got = Permissions::read_octal(digits.as_bytes()).map(Permissions::mode);
            assert_eq!(got, want, "{digits}");
        }
        assert_eq!(Permissions::parse(b"0o64"), None);
    }

    #[test]
    fn names_that_leave_the_directory_are_unsafe_ls_48_hc_05() {
        for (name, safe, portable) in [
            ("a", true, true),
            (" ", true, true),
            ("...", true, true),
            ("..x", true, true),
            ("", false, false),
            (".", false, false),
            ("..", false, false),
            ("../x", false, false),
            ("/etc/x", false, false),
            ("a/../../x", false, false),
            ("a/", false, false),
            ("a\0b", false, false),
            ("..\\x", true, false),
        ] {
            let entry = Entry::new(name);
            let got = (entry.is_safe_name(), entry.is_portable_name());
            assert_eq!(got, (safe, portable), "{name:?}");
        }
    }

    #[test]
    fn sizes_beyond_64_bits_are_flagged_ls_45_hc_16() {
        for (digits, size, overflows) in [
            ("0", Some(0), false),
            ("18446744073709551615", Some(u64::MAX), false),
            ("18446744073709551616", None, true),
            ("99999999999999999999999999", None, true),
            ("-1", None, false),
            ("", None, false),
        ] {
            let mut entry = Entry::new("x");
            entry.set_size(digits.as_bytes());
            assert_eq!((entry.size, entry.size_overflows), (size, overflows), "{digits}");
            let facts = Facts::new("x").with("size", digits);
            assert_eq!(Entry::from(&facts), entry, "{digits}");
        }
    }

    #[test]
    fn names_are_bytes_with_a_lossy_text_form_cl_44() {
        let facts = Facts::parse(b"type=file;Unique=fd01g7;unique=x; a\xff\xc3\xa9").unwrap();
        let entry = Entry::from(&facts);
        assert_eq!(entry.name, b"a\xff\xc3\xa9");
        assert_eq!(entry.name_lossy(), "a\u{fffd}\u{e9}");
        assert_eq!(entry.unique.as_deref(), Some(&b"fd01g7"[..]));
        assert_eq!(Entry::from(&Facts::new("x").with("unique", "")).unique, None);
    }

    #[test]
    fn other_facts_are_ignored_ls_46() {
        let facts = Facts::new("x")
            .with("perm", "5")
            .with("create", "20240229123456")
            .with("UNIX.uuu", "u")
            .with("UNIX.link", "0644")
            .with("UNIX.atime", "a")
            .with("UNIX.groupnumb", "g");
        assert_eq!(Entry::from(&facts), Entry::new("x"));
    }
}
