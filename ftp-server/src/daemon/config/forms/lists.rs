//! Forms of values with several items.

use std::fmt::{self, Display};

use base64ct::{Base64, Encoding};
use ftp_proto::text::values::{did_you_mean, nearest};
use ftp_proto::{HiddenFile, HostName, Network};

use super::texts::{HOME, PASSIVE_ADDRESS};
use crate::daemon::config::forms::{Form, Kind};
use crate::daemon::config::listen::{Listen, duplicate};
use crate::daemon::config::root::ConfiguredRoot;
use crate::daemon::config::value::{Checked, TomlEntry, TomlValue, ValueContent, all};
use crate::{NamePattern, PassiveAddress, Rights, VirtualPath};

pub(crate) const ADDRESSES: Form<Vec<Listen>> = Form::new(
    Kind::List,
    |value| {
        let listen = each_of(value, Listen::parse)?;
        match duplicate(&listen) {
            Some(why) => Err(value.objection(why)),
            None => Ok(listen),
        }
    },
    shown,
);

pub(crate) const HOSTS: Form<Vec<HostName>> =
    Form::new(Kind::List, |value| each_of(value, host), shown);

/// Names of groups.
pub(crate) const NAMES: Form<Vec<String>> =
    Form::new(Kind::List, |value| each_of(value, name), shown);

/// Like `NAMES`, but an empty list differs from a missing one.
pub(crate) const USERS: Form<Option<Vec<String>>> = Form::new(
    Kind::List,
    |value| NAMES.read(value).map(Some),
    |names| names.as_ref().map_or_else(|| ValueContent::Unset.into(), shown),
);

pub(crate) const NETWORKS: Form<Vec<Network>> =
    Form::new(Kind::List, |value| each_of(value, network), shown);

pub(crate) const PATTERNS: Form<Vec<NamePattern>> =
    Form::new(Kind::List, |value| each_of(value, pattern), shown);

/// Headers, `NAME: VALUE`.
pub(crate) const HEADERS: Form<Vec<String>> =
    Form::new(Kind::List, |value| each_of(value, header), shown);

/// Pins of keys, `sha256//...`.
pub(crate) const PINS: Form<Vec<String>> =
    Form::new(Kind::List, |value| each_of(value, pin), shown);

pub(crate) const EVENTS: Form<Vec<HookEvent>> =
    Form::new(Kind::List, |value| each_of(value, event), shown);

/// An event for `hooks.program`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HookEvent {
    Login,
    LoginFailed,
    /// A user logged out, or a logged-in user's session ended.
    Logout,
    /// A file was received completely.
    Stored,
    /// An upload began and was not completed.
    Cut,
    /// A file was sent completely.
    Retrieved,
    Deleted,
    Renamed,
    /// A directory was made.
    Made,
}

impl HookEvent {
    /// All events, with their words in the configuration.
    pub(crate) const ALL: [(&'static str, Self); 9] = [
        ("login", Self::Login),
        ("login-failed", Self::LoginFailed),
        ("logout", Self::Logout),
        ("stored", Self::Stored),
        ("cut", Self::Cut),
        ("retrieved", Self::Retrieved),
        ("deleted", Self::Deleted),
        ("renamed", Self::Renamed),
        ("made", Self::Made),
    ];

    pub(crate) fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, event)| *event == self);
        found.map_or("", |(word, _)| word)
    }
}

impl Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Program and arguments, `["/path/program", "argument"]`. Empty: none.
pub(crate) const ARGUMENTS: Form<Vec<String>> =
    Form::new(Kind::Arguments, |value| arguments(value, Kind::Arguments), shown);

/// Path of a program, or a list like [`ARGUMENTS`]. Empty: none.
pub(crate) const PROGRAM: Form<Vec<String>> = Form::new(
    Kind::Program,
    |value| match Kind::Program.text(value) {
        Ok("") => Ok(Vec::new()),
        Ok(path) => command(value, vec![path.to_owned()]),
        Err(_) => arguments(value, Kind::Program),
    },
    |items| match items.as_slice() {
        [] => TomlValue::text(""),
        [path] => TomlValue::text(path),
        _ => shown(items),
    },
);

/// One word for several rights, or a list of rights. A text can be a list too, with commas between
/// the rights, and with or without brackets around them.
pub(crate) const RIGHTS: Form<Rights> = Form::new(Kind::Words, rights, |rights| match *rights {
    Rights::FULL => TomlValue::text("full"),
    Rights::READ => TomlValue::text("read"),
    Rights::DROP_BOX => TomlValue::text("drop-box"),
    _ => TomlValue::list(rights.words()),
});

/// `{ clients = ["NETWORK", ...], address = "ADDRESS" }`.
pub(crate) const OVERRIDES: Form<Vec<(Vec<Network>, PassiveAddress)>> = Form::new(
    Kind::Overrides,
    |value| all(Kind::Overrides.items(value)?.iter().map(passive_override)),
    |overrides| {
        let show = |(clients, address): &(Vec<Network>, PassiveAddress)| {
            let address = TomlValue::text(address.to_string());
            TomlValue::table([("clients", shown(clients)), ("address", address)])
        };
        ValueContent::List(overrides.iter().map(show).collect()).into()
    },
);

fn each_of<T>(value: &TomlValue, read: fn(&str) -> Result<T, String>) -> Checked<Vec<T>> {
    let item = |item: &TomlValue| {
        let text = Kind::Text.text(item)?;
        read(text).map_err(|why| match text.is_empty() || text.contains(',') {
            true => {
                item.objection(format!("invalid item \"{text}\": expected one item per string"))
            }
            false => item.objection(why),
        })
    };
    all(Kind::List.items(value)?.iter().map(item))
}

fn shown<T: Display>(items: &Vec<T>) -> TomlValue {
    TomlValue::list(items)
}

fn host(text: &str) -> Result<HostName, String> {
    let host = HostName::parse(text.trim().as_bytes()).map(HostName::into_canonical);
    host.map_err(|_| format!("invalid host name \"{text}\""))
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected a name".to_owned()) } else { Ok(text.to_owned()) }
}

fn network(text: &str) -> Result<Network, String> {
    let wrong =
        |_| format!("invalid network \"{text}\": expected a value such as 10.0.0.0/8 or 192.0.2.1");
    Network::parse(text.trim().as_bytes()).map_err(wrong)
}

fn pattern(text: &str) -> Result<NamePattern, String> {
    // Blanks at the ends of a name are rarely meant, and would make the pattern match nothing else.
    let text = text.trim();
    let wrong = |_| format!("invalid pattern \"{text}\": expected a pattern such as *.exe or .ht*");
    if text.contains(", ") {
        return Err(format!("invalid pattern \"{text}\": expected one pattern per string"));
    }
    NamePattern::parse(text.as_bytes()).map_err(wrong)
}

fn pin(text: &str) -> Result<String, String> {
    let text = text.trim();
    let digest = text.strip_prefix("sha256//").map(Base64::decode_vec);
    match digest {
        Some(Ok(digest)) if digest.len() == 32 => Ok(text.to_owned()),
        _ => {
            Err(format!("invalid pin \"{text}\": expected sha256// and a SHA-256 digest in base64"))
        }
    }
}

fn header(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((name, value)) => Ok(format!("{}: {}", name.trim(), value.trim())),
        None => Err(format!("invalid header \"{text}\": expected NAME: VALUE")),
    }
}

fn event(text: &str) -> Result<HookEvent, String> {
    let text = text.trim();
    let words = || HookEvent::ALL.iter().map(|(word, _)| *word);
    match HookEvent::ALL.iter().find(|(word, _)| *word == text) {
        Some((_, event)) => Ok(*event),
        None => Err(match nearest(text, words()) {
            Some(near) => format!("unknown event \"{text}\"; did you mean {near}?"),
            None => {
                let words = words().collect::<Vec<_>>().join(", ");
                format!("unknown event \"{text}\": expected {words}")
            }
        }),
    }
}

fn arguments(value: &TomlValue, kind: Kind) -> Checked<Vec<String>> {
    let items = kind.items(value)?.iter();
    command(value, all(items.map(|item| Ok(Kind::Text.text(item)?.to_owned())))?)
}

fn command(value: &TomlValue, command: Vec<String>) -> Checked<Vec<String>> {
    match command.first() {
        Some(program) if !program.starts_with('/') => {
            let why = format!("invalid program \"{program}\": expected an absolute path");
            Err(value.objection(why))
        }
        _ if command.iter().any(|item| item.contains('\0')) => {
            Err(value.objection("invalid argument: NUL is not allowed"))
        }
        _ => Ok(command),
    }
}

fn rights(value: &TomlValue) -> Checked<Rights> {
    let rights = match &value.content {
        ValueContent::List(items) if items.is_empty() => Rights::parse(""),
        ValueContent::List(_) => {
            let word = |word: &str| Rights::from_words([word]).map_err(|why| why.to_string());
            let all = each_of(value, word)?;
            return Ok(all.into_iter().fold(Rights::NONE, |sum, rights| sum | rights));
        }
        _ => {
            let text = Kind::Words.text(value)?;
            match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
                Some(list) => Rights::from_words(list.split(',')),
                None => Rights::parse(text),
            }
        }
    };
    rights.map_err(|why| value.objection(why.to_string()))
}

fn passive_override(item: &TomlValue) -> Checked<(Vec<Network>, PassiveAddress)> {
    if !item.is_table() {
        let why = format!("{} in the list", Kind::Overrides.mistyped(item));
        return Err(item.objection(why));
    }
    let (mut clients, mut address) = (Vec::new(), None);
    all(item.entries().iter().map(|entry| {
        match &*entry.name {
            "clients" => clients = entry.read(|value| NETWORKS.read(value))?,
            "address" => address = Some(entry.read(|value| PASSIVE_ADDRESS.read(value))?),
            name => {
                let near = did_you_mean(name, ["clients", "address"].into_iter());
                return Err(entry.objection(format!("unknown key{near}")));
            }
        }
        Ok(())
    }))?;
    match address {
        Some(address) if !clients.is_empty() => Ok((clients, address)),
        _ => {
            let wanted = Kind::Overrides.wanted();
            let why = format!("clients or address is missing: expected {wanted}");
            Err(item.objection(why))
        }
    }
}

/// `{ "/DIRECTORY" = RIGHTS }`. The rights have the form of [`RIGHTS`] or are `[]`.
pub(crate) const DIRECTORIES: Form<Vec<(VirtualPath, Rights)>> = Form::new(
    Kind::Directories,
    |value| by_path(value, Kind::Directories, "directory", path_below, of_rule),
    |rules| {
        TomlValue::table(rules.iter().map(|(path, rights)| (text_of(path), RIGHTS.show(rights))))
    },
);

/// Reads the rights to a directory; unlike those of a user, they can be empty.
fn of_rule(value: &TomlValue) -> Checked<Rights> {
    match &value.content {
        ValueContent::List(items) if items.is_empty() => Ok(Rights::NONE),
        ValueContent::Single(_, text) if text == "[]" => Ok(Rights::NONE),
        _ => RIGHTS.read(value),
    }
}

/// Reads a table with a path in each entry, and sorts the items by path. `what` describes the
/// paths in messages.
fn by_path<T>(
    value: &TomlValue,
    kind: Kind,
    what: &str,
    path: fn(&str) -> Result<VirtualPath, &'static str>,
    read: fn(&TomlValue) -> Checked<T>,
) -> Checked<Vec<(VirtualPath, T)>> {
    let item = |entry: &TomlEntry| {
        let wrong = |why| entry.objection(format!("invalid {what} \"{}\": {why}", entry.name));
        Ok((path(&entry.name).map_err(wrong)?, entry.read(read)?))
    };
    let mut items = all(kind.entries(value)?.iter().map(item))?;
    items.sort_unstable_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
    match items.iter().zip(items.iter().skip(1)).find(|((one, _), (other, _))| one == other) {
        Some(((path, _), _)) => {
            Err(value.objection(format!("{what} \"{}\" is named twice", text_of(path))))
        }
        None => Ok(items),
    }
}

fn text_of(path: &VirtualPath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}

/// Reads an absolute path of a directory below the root.
///
/// # Errors
///
/// Returns what is expected instead.
fn path_below(text: &str) -> Result<VirtualPath, &'static str> {
    let path = VirtualPath::from(text);
    let is_same = path.as_bytes() == text.trim_end_matches('/').as_bytes();
    if path.is_root() || !is_same || text.chars().any(char::is_control) {
        Err("expected a path such as /incoming or /a/b")
    } else if text.trim_end_matches('/').ends_with(char::is_whitespace) {
        Err("remove the space at the end")
    } else if text.contains("%u") {
        Err("%u stands for the user's name only in roots and mount targets")
    } else {
        Ok(path)
    }
}

/// A directory on disk or objects of a store, with its path in the user's tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MountPoint {
    pub(crate) path: VirtualPath,
    /// The mounted root, with the user's name in place of `%u` if the name can be part of a path.
    pub(crate) root: ConfiguredRoot,
}

/// `{ "/PATH" = "/DIRECTORY" }`.
pub(crate) const MOUNTS: Form<Vec<MountPoint>> = Form::new(
    Kind::Mounts,
    |value| {
        let read = |value: &TomlValue| HOME.read(value);
        let mounts = by_path(value, Kind::Mounts, "mount point", mount_path, read)?;
        Ok(mounts.into_iter().map(|(path, root)| MountPoint { path, root }).collect())
    },
    |mounts| {
        TomlValue::table(mounts.iter().map(|mount| (text_of(&mount.path), HOME.show(&mount.root))))
    },
);

fn mount_path(text: &str) -> Result<VirtualPath, &'static str> {
    match path_below(text) {
        _ if VirtualPath::from(text).is_root() => Err("set the directory of / with the key root"),
        _ if text.split('/').any(|name| name.as_bytes().starts_with(HiddenFile::UPLOAD)) => {
            Err("names that begin with .ftp-upload- are not allowed")
        }
        Ok(path) if path.is_too_long() => Err("too long"),
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_rules_have_a_literal_path_and_any_rights() {
        let read = |text: &str| DIRECTORIES.assigned(text);
        for (text, path, rights) in [
            ("{ '/in' = 'read' }", "/in", Rights::READ),
            (" { '/a b/c/' = ['list', 'create'] }", "/a b/c", Rights::LIST | Rights::CREATE),
            ("{ '/private' = [] }", "/private", Rights::NONE),
            ("{ '/a;b' = \"read\" }", "/a;b", Rights::READ),
            ("{ '/a=b, \"[\u{e9}' = [] }", "/a=b, \"[\u{e9}", Rights::NONE),
            ("{ \"/a\" = \"[]\" }", "/a", Rights::NONE),
        ] {
            let rules = [(path.into(), rights)];
            assert_eq!(read(text).as_deref(), Ok(&rules[..]), "{text}");
            let shown = DIRECTORIES.show(&rules.to_vec());
            assert_eq!(DIRECTORIES.read(&shown).as_deref(), Ok(&rules[..]));
            assert_eq!(read(&shown.to_string()).as_deref(), Ok(&rules[..]));
        }
        for (text, want) in [
            ("{ '/in ' = 'read' }", "invalid directory \"/in \": remove the space at the end"),
            ("{ '/in /' = 'read' }", "invalid directory \"/in /\": remove the space at the end"),
            (
                "{ '/in\u{a0}' = 'read' }",
                "invalid directory \"/in\u{a0}\": remove the space at the end",
            ),
            (
                "{ '/%u' = 'read' }",
                "invalid directory \"/%u\": %u stands for the user's name only in roots and mount targets",
            ),
            (
                "/in=read",
                "expected a table such as { \"/incoming\" = \"drop-box\" }, found a string",
            ),
        ] {
            assert_eq!(read(text), Err(want.to_owned()));
        }
        assert!(read("{ '/in' = '' }").unwrap_err().starts_with("unknown right \"\""));
    }

    #[test]
    fn mounts_have_a_path_in_the_tree_and_one_on_disk() {
        let read = |text: &str| MOUNTS.assigned(text);
        for (text, path, root) in [
            ("{ '/pub' = '/srv/pub' }", "/pub", "/srv/pub"),
            (" { '/a b/c/' = '/srv/%u=x' }", "/a b/c", "/srv/%u=x"),
            ("{ '/pub' = 'store:main/a=b' }", "/pub", "store:main/a=b"),
            ("{ '/a=b;c' = '/srv;d, \"[\u{e9}' }", "/a=b;c", "/srv;d, \"[\u{e9}"),
        ] {
            let mounts = [MountPoint {
                path: path.into(),
                root: HOME.read(&TomlValue::text(root)).unwrap(),
            }];
            assert_eq!(read(text).as_deref(), Ok(&mounts[..]), "{text}");
            let shown = MOUNTS.show(&mounts.to_vec());
            assert_eq!(MOUNTS.read(&shown).as_deref(), Ok(&mounts[..]));
            assert_eq!(read(&shown.to_string()).as_deref(), Ok(&mounts[..]));
        }
        let paths = "{ '/b' = '/b', '/a/c' = '/c', '/a' = '/a' }";
        let paths: Vec<_> = read(paths).unwrap().into_iter().map(|mount| mount.path).collect();
        assert_eq!(paths, ["/a", "/a/c", "/b"].map(VirtualPath::from));
        for (text, want) in [
            ("/pub=/srv", "expected a table such as { \"/pub\" = \"/srv/pub\" }, found a string"),
            ("{ '/pub' = 'srv' }", "invalid path \"srv\": expected an absolute path"),
            ("{ '/pub' = '' }", "expected a directory"),
            (
                "{ '/' = '/srv' }",
                "invalid mount point \"/\": set the directory of / with the key root",
            ),
            (
                "{ '/a/..' = '/srv' }",
                "invalid mount point \"/a/..\": set the directory of / with the key root",
            ),
            (
                "{ 'pub' = '/srv' }",
                "invalid mount point \"pub\": expected a path such as /incoming or /a/b",
            ),
            ("{ '/a' = '/b', '/a/' = '/c' }", "mount point \"/a\" is named twice"),
        ] {
            assert_eq!(read(text), Err(want.to_owned()), "{text}");
        }
        for text in ["/.ftp-upload-x", "/a/.ftp-upload-/b"] {
            assert!(
                mount_path(text).is_err_and(|why| why.starts_with("names that begin with")),
                "{text}"
            );
        }
        assert!(mount_path("/.ftp").is_ok());
        assert_eq!(mount_path(&"/a".repeat(200)), Err("too long"));
    }
}
