//! Formats the facts about an object for events (`--json`) and users (`stat`, `ls -l`). The fields
//! and their order are those of docs/json.md; unknown ones are omitted.

use std::fmt::{self, Write};

use ftp_proto::text::to_seconds;
use ftp_proto::{Entry, EntryKind, Modified, Precision, TimeVal, Zone};

use crate::console::output::rounded_size;
use crate::report::Object;

/// Returns the `entry` event of `--json` for the object `name`.
pub(crate) fn event(name: &[u8], entry: &Entry) -> Object {
    let mut object = Object::event("entry").name("name", name);
    for (key, value) in fields(entry) {
        object = match value {
            FactValue::Number(number) => object.number(key, number),
            FactValue::Text(text) => object.text(key, &text),
            FactValue::Name(name) => object.name(key, name),
        };
    }
    object
}

/// Returns the facts as lines `key: value`, in raw bytes.
pub(crate) fn lines(name: &[u8], entry: &Entry) -> Vec<Vec<u8>> {
    let line = |key: &str, value: &[u8]| [key.as_bytes(), b": ", value].concat();
    let mut lines = vec![line("name", name)];
    lines.extend(fields(entry).map(|(key, value)| match value {
        FactValue::Number(number) => line(key, number.to_string().as_bytes()),
        FactValue::Text(text) => line(key, text.as_bytes()),
        FactValue::Name(name) => line(key, name),
    }));
    lines
}

enum FactValue<'a> {
    Number(u64),
    Text(String),
    /// Bytes from the server.
    Name(&'a [u8]),
}

/// Returns all known facts except for the name.
fn fields(entry: &Entry) -> impl Iterator<Item = (&'static str, FactValue<'_>)> {
    let kind = entry.kind.map(|kind| match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "dir",
        EntryKind::Link => "link",
        EntryKind::Other => "other",
    });
    let (modified, local) = match entry.modified {
        Some(Modified { time, precision, zone: Zone::Utc }) if precision > Precision::Day => {
            (Some(rfc_3339(time)), None)
        }
        // The time zone is known only to the server, or the time is only a date.
        Some(modified) => (None, Some(as_told(modified))),
        None => (None, None),
    };
    [
        ("type", kind.map(|kind| FactValue::Text(kind.to_owned()))),
        ("size", entry.size.map(FactValue::Number)),
        ("modified", modified.map(FactValue::Text)),
        ("modified_local", local.map(FactValue::Text)),
        ("permissions", entry.permissions.map(|mode| FactValue::Text(mode.to_string()))),
        ("mode", entry.permissions.map(|mode| FactValue::Text(format!("{:04o}", mode.mode())))),
        ("owner", entry.owner.as_deref().map(FactValue::Name)),
        ("group", entry.group.as_deref().map(FactValue::Name)),
        ("target", entry.target.as_deref().map(FactValue::Name)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
}

/// Formats a time in UTC as `2024-02-29T13:45:59Z`, with a fraction if there is one (RFC 3339
/// §5.6).
fn rfc_3339(time: TimeVal) -> String {
    let fraction = match time.nanosecond() {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    format!("{}{fraction}Z", to_seconds(time))
}

/// Formats a server's local time with its precision: `2024-02-29`, `2024-02-29T13:45`.
fn as_told(Modified { time, precision, .. }: Modified) -> String {
    let length = match precision {
        Precision::Day => "2024-02-29".len(),
        Precision::Minute => "2024-02-29T13:45".len(),
        Precision::Second => "2024-02-29T13:45:59".len(),
    };
    let mut told = to_seconds(time);
    told.truncate(length);
    told
}

/// The date of a time, shown as `2024-02-29`.
pub(crate) struct Date(pub(crate) TimeVal);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(time) = self;
        write!(f, "{:04}-{:02}-{:02}", time.year(), time.month(), time.day())
    }
}

/// Returns the columns of `ls -l` before the name: `-rw-r--r-- 1024 2024-02-29 13:45 `. The time is
/// UTC if the server reports UTC (`MLSD`), else the server's local time. An unknown or special type
/// and each unknown permission are `?`, and an unknown size or time is `-`. If `human` is set,
/// sizes have units.
pub(crate) fn columns(entry: &Entry, human: bool) -> String {
    // One allocation for a line with a name: a directory can have a million entries.
    let mut line = String::with_capacity(128);
    write_columns(&mut line, entry, human).expect("a string takes everything");
    line
}

fn write_columns(line: &mut String, entry: &Entry, human: bool) -> fmt::Result {
    line.push(match entry.kind {
        Some(EntryKind::File) => '-',
        Some(EntryKind::Directory) => 'd',
        Some(EntryKind::Link) => 'l',
        _ => '?',
    });
    match entry.permissions {
        Some(mode) => write!(line, "{mode}")?,
        None => line.push_str("?????????"),
    }
    match entry.size {
        Some(size) if human => write!(line, " {:>12}", rounded_size(size))?,
        Some(size) => write!(line, " {size:>12}")?,
        None => write!(line, " {:>12}", "-")?,
    }
    match entry.modified {
        Some(Modified { time, precision: Precision::Day, .. }) => {
            write!(line, "  {}        ", Date(time))
        }
        Some(Modified { time, .. }) => {
            write!(line, "  {} {:02}:{:02}  ", Date(time), time.hour(), time.minute())
        }
        None => write!(line, "  {:<16}  ", "-"),
    }
}

#[cfg(test)]
mod tests {
    use ftp_proto::{Facts, ListLine};

    use super::*;

    fn of_facts(facts: &str) -> Entry {
        Entry::from(&Facts::parse(facts.as_bytes()).unwrap())
    }

    fn of_line(line: &[u8]) -> Entry {
        let now = TimeVal::new(2024, 6, 1, 0, 0, 0).unwrap();
        let Some(ListLine::Entry(entry)) = ListLine::parse(line, now) else { panic!() };
        entry
    }

    #[test]
    fn columns_show_only_known_facts() {
        for (facts, want) in [
            (
                "type=file;size=1024;modify=20240229134559;UNIX.mode=0644; x",
                "-rw-r--r--         1024  2024-02-29 13:45  ",
            ),
            ("type=dir;UNIX.mode=100755; x", "drwxr-xr-x            -  -                 "),
            ("Type=OS.unix=slink:/etc; x", "l?????????            -  -                 "),
            (" x", "??????????            -  -                 "),
            ("type=file;UNIX.mode=worse; x", "-?????????            -  -                 "),
        ] {
            assert_eq!(columns(&of_facts(facts), false), want, "{facts}");
        }
        let entry = of_line(b"lrwxrwxrwx 1 u g 7 Feb 29 2020 x -> /etc");
        assert_eq!(columns(&entry, false), "lrwxrwxrwx            7  2020-02-29        ");
        let large = of_facts("type=file;size=1536; x");
        assert_eq!(columns(&large, true), "-?????????      1.5 KiB  -                 ");
    }

    #[test]
    fn text_and_json_show_the_same_known_facts() {
        let facts = "type=file;size=1024;modify=20240229134559.25;UNIX.mode=0644;UNIX.owner=u; x";
        let line = b"lrwxrwxrwx 1 u g\xff 7 May 29 12:30 x -> e\xff";
        let old = b"-rw-r--r-- 1 u g 7 Feb 29 2020 x";
        for (entry, want) in [
            (
                of_facts(facts),
                r#""type":"file","size":1024,"modified":"2024-02-29T13:45:59.25Z","permissions":"rw-r--r--","mode":"0644","owner":"u"}"#,
            ),
            (
                of_line(line),
                concat!(
                    r#""type":"link","size":7,"modified_local":"2024-05-29T12:30","permissions":"rwxrwxrwx","mode":"0777","owner":"u","#,
                    "\"group\":\"g\u{fffd}\",\"group_b64\":\"Z/8=\",\"target\":\"e\u{fffd}\",\"target_b64\":\"Zf8=\"}"
                ),
            ),
            (
                of_line(old),
                r#""type":"file","size":7,"modified_local":"2020-02-29","permissions":"rw-r--r--","mode":"0644","owner":"u","group":"g"}"#,
            ),
            (of_facts(" x"), "}"),
        ] {
            let line = event(b"n", &entry).into_line();
            let start = r#"{"v":1,"event":"entry","name":"n""#;
            let want =
                if want == "}" { format!("{start}}}\n") } else { format!("{start},{want}\n") };
            assert_eq!(line, want);
            let keys: Vec<_> = lines(b"n", &entry)
                .into_iter()
                .map(|line| String::from_utf8_lossy(&line).split(": ").next().unwrap().to_owned())
                .collect();
            for key in &keys {
                assert!(line.contains(&format!("\"{key}\":")), "{key} in {line}");
            }
            let count = line.matches("\":").count() - line.matches("_b64").count();
            assert_eq!(keys.len() + 2, count, "{line}");
        }
        assert_eq!(lines(b"a\xff", &of_facts("size=5; x")), [&b"name: a\xff"[..], b"size: 5"]);
    }
}
