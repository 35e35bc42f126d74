//! Formats of entries on the wire: `LIST` lines, facts of `MLSD` and `MLST` (RFC 3659 §7), and
//! flags in arguments. This module handles only bytes, and uses neither sockets nor storage.

use ftp_proto::TimeVal;

use crate::storage::{Entry, EntryKind, Metadata};

/// Maximum age in seconds at which `LIST` shows the time of day instead of the year: 180 days.
const RECENT: i64 = 180 * 86_400;

/// Writes one `LIST` line with CR LF. It has the nine fields of `ls -l` that every client reads:
/// mode, links, owner, group, size, month, day, time or year, name.
///
/// `now` is in seconds since 1970-01-01T00:00:00Z. For times after `now`, or more than 180 days
/// before it, the year replaces the time of day; both are UTC. A time without a four-digit year
/// appears as the beginning of 1970.
///
/// Owner and group appear as `ftp`. With `show_ids`, they appear as numbers if the storage has
/// them. Their names are not looked up, because a lookup could block, or read files that the
/// session may not see. The line of a symbolic link begins with `l`. If the storage follows the link,
/// the line has the size and time of what it leads to, and ends with the text of the link if clients
/// may see it. Lines of FIFOs, sockets and devices all begin with `s`, because FTP cannot use any of them.
///
/// ```text
/// -rw-r--r--   1 ftp ftp       1234 Mar 05 14:03 name
/// drwxr-xr-x   2 ftp ftp       4096 Mar 05  2019 name
/// lrwxrwxrwx   1 ftp ftp       1234 Mar 05 14:03 name -> text
/// ```
pub(crate) fn list_line(entry: &Entry, now: i64, show_ids: bool, out: &mut Vec<u8>) {
    let Entry { name, metadata, link } = entry;
    let Metadata { kind, size, modified, ids, .. } = *metadata;
    let (letter, mode, links) = match kind {
        _ if link.is_some() => (b'l', 0o777, 1),
        EntryKind::File => (b'-', metadata.mode, metadata.links),
        EntryKind::Directory => (b'd', metadata.mode, metadata.links),
        EntryKind::Symlink => (b'l', metadata.mode, metadata.links),
        EntryKind::Special => (b's', metadata.mode, metadata.links),
    };
    out.push(letter);
    permissions(mode, out);
    out.push(b' ');
    number::<10>(links, 3, b' ', out);
    match ids.filter(|_| show_ids) {
        Some((owner, group)) => {
            out.push(b' ');
            number::<10>(owner.into(), 1, b' ', out);
            out.push(b' ');
            number::<10>(group.into(), 1, b' ', out);
            out.push(b' ');
        }
        None => out.extend_from_slice(b" ftp ftp "),
    }
    number::<10>(size, 10, b' ', out);
    out.push(b' ');
    let known = TimeVal::from_unix_seconds(modified);
    if let Some(time) = known.or_else(|| TimeVal::from_unix_seconds(0)) {
        let month = MONTHS.get(usize::from(time.month()).wrapping_sub(1)).unwrap_or(&"Jan");
        out.extend_from_slice(month.as_bytes());
        out.push(b' ');
        number::<10>(time.day().into(), 2, b'0', out);
        out.push(b' ');
        let is_recent = modified <= now && now.saturating_sub(modified) <= RECENT;
        if known.is_some() && is_recent {
            number::<10>(time.hour().into(), 2, b'0', out);
            out.push(b':');
            number::<10>(time.minute().into(), 2, b'0', out);
        } else {
            number::<10>(time.year().into(), 5, b' ', out);
        }
        out.push(b' ');
    }
    out.extend_from_slice(name);
    if let Some(text) = link.as_ref().filter(|text| !text.is_empty() && !has_line_break(text)) {
        out.extend_from_slice(b" -> ");
        out.extend_from_slice(text);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes a number, with `fill` in front of it if it has fewer than `width` digits. A directory can
/// have a million entries, and `write!` would take half of the processor time of its listing.
fn number<const BASE: u64>(number: u64, width: usize, fill: u8, out: &mut Vec<u8>) {
    // The largest number has 22 digits in base 8.
    let mut text = [fill; 22];
    let mut rest = number;
    let mut start = text.len();
    for byte in text.iter_mut().rev() {
        let digit = u8::try_from(rest % BASE).unwrap_or_default();
        *byte = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        start -= 1;
        rest /= BASE;
        if rest == 0 {
            break;
        }
    }
    let start = start.min(text.len().saturating_sub(width));
    out.extend_from_slice(text.get(start..).unwrap_or_default());
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Writes the nine letters of the mode, with the set-id and sticky bits in place of an `x`, as `ls`
/// does.
fn permissions(mode: u32, out: &mut Vec<u8>) {
    for (shift, special, letter) in [(6, 0o4000, b's'), (3, 0o2000, b's'), (0, 0o1000, b't')] {
        let bits = mode >> shift;
        let execute = bits & 1 != 0;
        out.push(if bits & 4 != 0 { b'r' } else { b'-' });
        out.push(if bits & 2 != 0 { b'w' } else { b'-' });
        out.push(match (mode & special != 0, execute) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => b'x',
            (false, false) => b'-',
        });
    }
}

/// A fact of `MLSD` and `MLST`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fact {
    Type,
    /// Size in bytes, for files only.
    Size,
    Modify,
    /// Commands that the user may use on the object.
    Perm,
    /// Identity of the object, which does not depend on its name.
    Unique,
    UnixMode,
}

/// All facts with their names, in the order in which entries show them.
const FACTS: [(Fact, &str); 6] = [
    (Fact::Type, "type"),
    (Fact::Size, "size"),
    (Fact::Modify, "modify"),
    (Fact::Perm, "perm"),
    (Fact::Unique, "unique"),
    (Fact::UnixMode, "UNIX.mode"),
];

/// The facts that are shown: all, until `OPTS MLST` selects some (RFC 3659 §7.9).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FactSelection(u8);

impl Default for FactSelection {
    fn default() -> Self {
        Self(u8::MAX)
    }
}

impl FactSelection {
    /// Reads the argument of `OPTS MLST`: names that each end with `;`, in upper or lower case.
    /// Unknown names are ignored; an empty list selects no facts.
    pub(crate) fn parse(list: &[u8]) -> Self {
        let names = list.split(|&byte| byte == b';');
        Self(names.fold(0, |bits, name| {
            let is_it = |(_, known): &&(_, &str)| name.eq_ignore_ascii_case(known.as_bytes());
            FACTS.iter().find(is_it).map_or(bits, |&(fact, _)| bits | Self::bit(fact))
        }))
    }

    const fn bit(fact: Fact) -> u8 {
        1 << fact as u8
    }

    pub(crate) const fn has(self, fact: Fact) -> bool {
        self.0 & Self::bit(fact) != 0
    }

    /// Returns the name of every fact in order, with whether the fact is shown, for the replies to
    /// `FEAT` and `OPTS MLST`.
    pub(crate) fn names(self) -> impl Iterator<Item = (&'static str, bool)> {
        FACTS.iter().map(move |&(fact, name)| (name, self.has(fact)))
    }
}

/// Writes one entry of `MLSD` or `MLST` without line ending: the selected facts, one SP, and
/// the name. For `MLST`, the caller puts another SP before the entry.
///
/// `perm` has the letters of RFC 3659 §7.5.5 that the user's rights allow. `size` appears for files
/// only, and `modify` only for times in the years 1970 to 9999. A symbolic link to a directory, and one
/// that leads nowhere or out of the root, has the type `OS.unix=slink`; FIFOs, sockets and devices have
/// `OS.unix=special`. A link to a file is a file: NcFTP leaves out other types, without a word. The type
/// of a link shows its text, unless a `;` or SP in it could end the fact or all facts.
pub(crate) fn mlsx_facts(entry: &Entry, perm: &str, selection: FactSelection, out: &mut Vec<u8>) {
    let Entry { name, metadata, link } = entry;
    let Metadata { kind, size, modified, mode, identity: (device, inode), .. } = *metadata;
    if selection.has(Fact::Type) {
        let link = link.as_ref().filter(|_| kind == EntryKind::Directory);
        out.extend_from_slice(match kind {
            EntryKind::File => &b"type=file"[..],
            EntryKind::Directory if link.is_none() => b"type=dir",
            EntryKind::Directory | EntryKind::Symlink => b"type=OS.unix=slink",
            EntryKind::Special => b"type=OS.unix=special",
        });
        let ends = |byte: &u8| matches!(byte, b';' | b' ' | b'\r' | b'\n' | 0);
        if let Some(text) = link.filter(|text| !text.is_empty() && !text.iter().any(ends)) {
            out.push(b':');
            out.extend_from_slice(text);
        }
        out.push(b';');
    }
    if selection.has(Fact::Size) && kind == EntryKind::File {
        out.extend_from_slice(b"size=");
        number::<10>(size, 1, b'0', out);
        out.push(b';');
    }
    if selection.has(Fact::Modify)
        && let Some(time) = TimeVal::from_unix_seconds(modified).filter(|time| time.year() >= 1970)
    {
        out.extend_from_slice(b"modify=");
        number::<10>(time.year().into(), 4, b'0', out);
        for part in [time.month(), time.day(), time.hour(), time.minute(), time.second()] {
            number::<10>(part.into(), 2, b'0', out);
        }
        out.push(b';');
    }
    if selection.has(Fact::Perm) {
        out.extend_from_slice(b"perm=");
        out.extend_from_slice(perm.as_bytes());
        out.push(b';');
    }
    if selection.has(Fact::Unique) && (device, inode) != (0, 0) {
        // The letter separates the device and the inode.
        out.extend_from_slice(b"unique=");
        number::<16>(device, 1, b'0', out);
        out.push(b'g');
        number::<16>(inode, 1, b'0', out);
        out.push(b';');
    }
    if selection.has(Fact::UnixMode) {
        out.extend_from_slice(b"UNIX.mode=");
        number::<8>((mode & 0o7777).into(), 4, b'0', out);
        out.push(b';');
    }
    out.push(b' ');
    out.extend_from_slice(name);
}

/// Returns whether a name holds CR, LF or NUL and is therefore left out of listings (RFC 3659
/// §2.2).
pub(crate) fn has_line_break(name: &[u8]) -> bool {
    name.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// Returns the argument of `LIST`, `NLST` or `STAT` without its first word if that word holds flags
/// for `ls`, such as `-al`. A word of flags is `-` and 1 to 8 characters, each a letter or `1`,
/// followed by SP or the end of the argument. If a name looks like flags, clients must put `./` before
/// it, as in `./-x`.
pub(crate) fn strip_flags(argument: &[u8]) -> &[u8] {
    let space = argument.iter().position(|&byte| byte == b' ').unwrap_or(argument.len());
    let Some((word, rest)) = argument.split_at_checked(space) else { return argument };
    match word.split_first() {
        Some((b'-', flags))
            if (1..=8).contains(&flags.len())
                && flags.iter().all(|flag| flag.is_ascii_alphabetic() || *flag == b'1') =>
        {
            rest.get(1..).unwrap_or_default()
        }
        _ => argument,
    }
}

/// Removes all leading words of flags; [`strip_flags`] removes only the first word.
pub(crate) fn strip_all_flags(mut argument: &[u8]) -> &[u8] {
    loop {
        let rest = strip_flags(argument);
        if rest.len() == argument.len() {
            return argument;
        }
        argument = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-03-05T14:03:09Z.
    const NOW: i64 = 1_709_647_389;

    const FILE: Metadata =
        Metadata::file(1_234).modified(NOW).owner(1000, 4_294_967_294).identity(0xfd01, 0x2a);

    fn line(name: &[u8], metadata: Metadata) -> String {
        through(None, name, metadata)
    }

    fn through(link: Option<&[u8]>, name: &[u8], metadata: Metadata) -> String {
        let mut out = Vec::new();
        let entry = Entry::new(name, metadata).through(link.map(<[u8]>::to_vec));
        list_line(&entry, NOW, false, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn list_shows_numeric_owner_and_group_or_ftp_ls_21() {
        for (ids, want) in [(FILE.ids, "1000 4294967294"), (None, "ftp ftp")] {
            let mut out = Vec::new();
            list_line(&Entry::new("name", Metadata { ids, ..FILE }), NOW, true, &mut out);
            let want = format!("-rw-r--r--   1 {want}       1234 Mar 05 14:03 name\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    #[test]
    fn list_lines_of_every_entry_kind_ls_20_ls_21_ls_22() {
        for (metadata, want) in [
            (FILE, "-rw-r--r--   1 ftp ftp       1234 Mar 05 14:03 name\r\n"),
            (
                Metadata {
                    kind: EntryKind::Directory,
                    mode: 0o755,
                    links: 12,
                    size: 4_096,
                    ..FILE
                },
                "drwxr-xr-x  12 ftp ftp       4096 Mar 05 14:03 name\r\n",
            ),
            (
                Metadata { kind: EntryKind::Symlink, mode: 0o777, ..FILE },
                "lrwxrwxrwx   1 ftp ftp       1234 Mar 05 14:03 name\r\n",
            ),
            (
                Metadata { kind: EntryKind::Special, mode: 0, size: 0, ..FILE },
                "s---------   1 ftp ftp          0 Mar 05 14:03 name\r\n",
            ),
            (
                Metadata { size: u64::MAX, links: u64::MAX, ..FILE },
                "-rw-r--r-- 18446744073709551615 ftp ftp 18446744073709551615 Mar 05 14:03 name\r\n",
            ),
        ] {
            assert_eq!(line(b"name", metadata), want);
        }
        assert!(line(b" -> a\"", FILE).ends_with(" 14:03  -> a\"\r\n"));
    }

    #[test]
    fn numbers_are_padded_and_never_truncated() {
        for (value, width, fill, want) in [
            (0, 1, b'0', ["0", "0", "0"]),
            (0, 3, b' ', ["  0", "  0", "  0"]),
            (42, 4, b'0', ["0042", "002a", "0052"]),
            (
                u64::MAX,
                3,
                b' ',
                ["18446744073709551615", "ffffffffffffffff", "1777777777777777777777"],
            ),
        ] {
            let mut found = [const { Vec::new() }; 3];
            let [decimal, hexadecimal, octal] = &mut found;
            number::<10>(value, width, fill, decimal);
            number::<16>(value, width, fill, hexadecimal);
            number::<8>(value, width, fill, octal);
            assert_eq!(found.map(|text| String::from_utf8(text).unwrap()), want);
        }
    }

    #[test]
    fn permissions_as_ls_writes_them() {
        for (mode, want) in [
            (0o000, "---------"),
            (0o777, "rwxrwxrwx"),
            (0o124, "--x-w-r--"),
            (0o4755, "rwsr-xr-x"),
            (0o4644, "rwSr--r--"),
            (0o2755, "rwxr-sr-x"),
            (0o2745, "rwxr-Sr-x"),
            (0o1777, "rwxrwxrwt"),
            (0o1776, "rwxrwxrwT"),
            (0o7000, "--S--S--T"),
        ] {
            let mut out = Vec::new();
            permissions(mode, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{mode:o}");
        }
    }

    #[test]
    fn times_and_years_ls_20() {
        const DAY: i64 = 86_400;
        for (modified, want) in [
            (NOW, "Mar 05 14:03"),
            (NOW - 1, "Mar 05 14:03"),
            (NOW + 1, "Mar 05  2024"),
            (NOW + 400 * DAY, "Apr 09  2025"),
            (NOW - 180 * DAY, "Sep 07 14:03"),
            (NOW - 180 * DAY - 1, "Sep 07  2023"),
            (1_551_794_580, "Mar 05  2019"),
            (1_709_164_800, "Feb 29 00:00"),
            (0, "Jan 01  1970"),
            (-1, "Dec 31  1969"),
            (253_402_300_799, "Dec 31  9999"),
            (253_402_300_800, "Jan 01  1970"),
            (i64::MIN, "Jan 01  1970"),
            (i64::MAX, "Jan 01  1970"),
        ] {
            let line = line(b"n", Metadata { modified, ..FILE });
            assert_eq!(line.get(34..46), Some(want), "{modified} {line}");
        }
        for now in [i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            list_line(&Entry::new("n", FILE), now, false, &mut out);
            assert!(String::from_utf8(out).unwrap().contains("Mar 05  2024"));
        }
    }

    fn facts(metadata: Metadata, selection: FactSelection) -> String {
        let mut out = Vec::new();
        mlsx_facts(&Entry::new(" a;b= c", metadata), "adfrw", selection, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn facts_of_every_kind_ls_01_ls_03_ls_06_ls_07_ls_08_ls_13() {
        let all = FactSelection::default();
        let tail = "modify=20240305140309;perm=adfrw;unique=fd01g2a;UNIX.mode=0644;  a;b= c";
        for (kind, want) in [
            (EntryKind::File, "type=file;size=1234;"),
            (EntryKind::Directory, "type=dir;"),
            (EntryKind::Symlink, "type=OS.unix=slink;"),
            (EntryKind::Special, "type=OS.unix=special;"),
        ] {
            let line = facts(Metadata { kind, ..FILE }, all);
            assert_eq!(line, format!("{want}{tail}"));
            let read = ftp_proto::Facts::parse(line.as_bytes()).unwrap();
            assert_eq!(read.name(), b" a;b= c");
        }
    }

    #[test]
    fn a_link_is_told_from_the_directory_to_which_it_leads_ls_13_ls_22() {
        for (text, shown, told) in [
            (&b"d/f"[..], " -> d/f", ":d/f"),
            (b"", "", ""),
            (b"a b;c", " -> a b;c", ""),
            (b"a;", " -> a;", ""),
            (b"a\r\nx", "", ""),
        ] {
            for kind in [EntryKind::File, EntryKind::Directory] {
                let metadata = Metadata { kind, mode: 0o640, links: 7, ..FILE };
                let line = through(Some(text), b"name", metadata);
                let want =
                    format!("lrwxrwxrwx   1 ftp ftp       1234 Mar 05 14:03 name{shown}\r\n");
                assert_eq!(line, want);
                let entry = Entry::new("name", metadata).through(Some(text.to_vec()));
                let mut out = Vec::new();
                mlsx_facts(&entry, "", FactSelection::parse(b"type;"), &mut out);
                let want = match kind {
                    EntryKind::Directory => format!("type=OS.unix=slink{told}; name"),
                    _ => "type=file; name".to_owned(),
                };
                assert_eq!(String::from_utf8(out).unwrap(), want);
            }
        }
    }

    #[test]
    fn modify_is_left_out_beyond_four_digit_years_ls_06() {
        let only = FactSelection::parse(b"modify;");
        for (modified, want) in [
            (0, "modify=19700101000000;  a;b= c"),
            (-1, "  a;b= c"),
            (i64::MIN, "  a;b= c"),
            (253_402_300_799, "modify=99991231235959;  a;b= c"),
            (253_402_300_800, "  a;b= c"),
        ] {
            assert_eq!(facts(Metadata { modified, ..FILE }, only), want);
        }
    }

    #[test]
    fn unique_keeps_device_and_inode_apart_ls_08() {
        let only = FactSelection::parse(b"unique;");
        let unique = |identity| facts(Metadata { identity, ..FILE }, only);
        assert_ne!(unique((0x1, 0x11)), unique((0x11, 0x1)));
        assert_eq!(unique((u64::MAX, 0)), "unique=ffffffffffffffffg0;  a;b= c");
    }

    #[test]
    fn selected_facts_keep_the_order_of_the_server_ls_02_cm_56_cm_138() {
        for (list, want) in [
            (&b"type;size;"[..], "type=file;size=1234;  a;b= c"),
            (b"SIZE;Type;", "type=file;size=1234;  a;b= c"),
            (b"unix.mode;nonsense;perm", "perm=adfrw;UNIX.mode=0644;  a;b= c"),
            (b"types;;siz;", "  a;b= c"),
            (b"", "  a;b= c"),
        ] {
            assert_eq!(facts(FILE, FactSelection::parse(list)), want);
        }
        let all: Vec<_> = FactSelection::default().names().collect();
        let names = ["type", "size", "modify", "perm", "unique", "UNIX.mode"];
        assert_eq!(all, names.map(|name| (name, true)));
        let some = FactSelection::parse(b"perm;size;").names();
        let some: Vec<_> = some.filter(|(_, told)| *told).map(|(name, _)| name).collect();
        assert_eq!(some, ["size", "perm"]);
        assert!(!FactSelection::parse(b"size;").has(Fact::Type));
    }

    #[test]
    fn names_that_break_lines_ls_23_hp_11() {
        for (name, want) in [
            (&b"a\rb"[..], true),
            (b"a\n", true),
            (b"\0", true),
            (b"\r\n", true),
            (b"a b\t\x1b\xff\x0b\x0c", false),
            ("\u{2028}\u{85}".as_bytes(), false),
            (b"", false),
        ] {
            assert_eq!(has_line_break(name), want, "{name:?}");
        }
    }

    #[test]
    fn flags_are_dropped_ls_25_ls_26() {
        for (argument, want) in [
            ("-la", ""),
            ("-1", ""),
            ("-a1F", ""),
            ("-R", ""),
            ("-abcdefgh", ""),
            ("-la ", ""),
            ("-la dir", "dir"),
            ("-la  dir ", " dir "),
            ("-la -x", "-x"),
            ("-R /", "/"),
            ("", ""),
            ("dir", "dir"),
            ("dir -la", "dir -la"),
            ("-", "-"),
            ("- a", "- a"),
            ("--help", "--help"),
            ("-2", "-2"),
            ("-l.txt", "-l.txt"),
            ("-abcdefghi", "-abcdefghi"),
            ("-\u{e9}", "-\u{e9}"),
            ("-l\tdir", "-l\tdir"),
            ("./-x", "./-x"),
            (" -l", " -l"),
        ] {
            assert_eq!(strip_flags(argument.as_bytes()), want.as_bytes(), "{argument:?}");
        }
        for (argument, want) in
            [("-l -a", ""), ("-l -a -1 dir", "dir"), ("-l --a", "--a"), ("-l  -a", " -a"), ("", "")]
        {
            assert_eq!(strip_all_flags(argument.as_bytes()), want.as_bytes(), "{argument:?}");
        }
        let many = "-a ".repeat(2_700);
        assert_eq!(strip_all_flags(many.as_bytes()), b"");
    }
}
