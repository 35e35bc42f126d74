//! Our client with servers of other projects and with ours. `abilities` holds the operations, the
//! same for all; `table` lists what each server lacks, and the client's message then. Only
//! `session` uses the client's methods.

mod abilities;
mod session;
mod table;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;

use ftp_tests::at_once::at_once;
use ftp_tests::peer::RealServer;
use ftp_tests::site::{OurServer, Site};

use self::session::Session;

/// A server and the abilities that it lacks; all others must work.
struct Daemon<'a> {
    /// Starts it on this loopback address. Reports and returns `None` if it is not installed.
    start: &'a (dyn Fn(IpAddr) -> Option<Running> + Sync),
    lacks: &'a [Lack],
}

/// An ability that a server lacks, or has in a different form.
struct Lack {
    what: Ability,
    on: Family,
    /// A part of the client's message, or of the difference in the result.
    says: &'static str,
    /// An alternative message, if the order of two replies decides.
    or: Option<&'static str>,
}

const fn lack(what: Ability, says: &'static str) -> Lack {
    Lack { what, on: Family::Both, says, or: None }
}

impl Lack {
    const fn on(self, on: Family) -> Self {
        Self { on, ..self }
    }

    const fn or(self, says: &'static str) -> Self {
        Self { or: Some(says), ..self }
    }

    fn is_said(&self, why: &str) -> bool {
        why.contains(self.says) || self.or.is_some_and(|says| why.contains(says))
    }
}

/// The address family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Family {
    Both,
    V4,
    V6,
}

/// The command of a data connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Epsv,
    Pasv,
    Eprt,
    Port,
    /// `EPRT`, else `PORT`.
    Active,
}

/// An operation that is tested with a server; results are compared byte by byte. Without a [`Way`],
/// the client chooses the kind of data connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ability {
    /// An upload, a download and a listing.
    By(Way),
    /// Sizes of 0 bytes, 1 byte and 1 MiB + 1 byte, each in both directions.
    Sizes,
    /// 64 MiB in both directions.
    Large,
    Append,
    ResumeDownload,
    ResumeUpload,
    /// An upload of lines that end in LF, which must have LF on the server.
    TextUp,
    /// The same as a download.
    TextDown,
    /// An upload of lines that end in LF, CR LF and CR: CR LF must become LF.
    MixedUp,
    /// A download of these: CR LF must become LF.
    MixedDown,
    /// Names, types and sizes.
    List,
    /// Names only.
    Names,
    /// The names of another directory than the current one.
    NamesBelow,
    /// A whole tree, including names that begin with a dot.
    HiddenNames,
    /// Entries that take more than one buffer.
    ManyEntries,
    /// An empty directory.
    NoEntries,
    NoNames,
    Rename,
    /// An upload replaces an existing file.
    RenameOver,
    Delete,
    MakeAndRemoveDirectory,
    Size,
    Modified,
    SetModified,
    /// Operations on missing objects are refused, and the client remains usable.
    Missing,
    TenInARow,
    /// A download is dropped in the middle, and the client remains usable.
    Abort,
    /// A file of such a name is uploaded, downloaded, listed in both forms, renamed and deleted.
    Name(&'static [u8]),
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "Name({})", name.escape_ascii()),
            other => write!(f, "{other:?}"),
        }
    }
}

/// A server that ends when this is dropped.
enum Running {
    Theirs(RealServer),
    Ours(OurServer),
}

impl Deref for Running {
    type Target = Site;

    fn deref(&self) -> &Site {
        match self {
            Self::Theirs(server) => server,
            Self::Ours(server) => server,
        }
    }
}

/// Operations that the client does not even try.
const IPV4_ALONE: [Lack; 2] = [
    lack(Ability::By(Way::Pasv), "not supported: PASV carries IPv4 addresses only").on(Family::V6),
    lack(Ability::By(Way::Port), "not supported: PORT carries IPv4 addresses only").on(Family::V6),
];

/// Returns all differences from the table.
fn differences(daemon: &Daemon<'_>, family: Family) -> Vec<String> {
    let mut differences = Vec::new();
    let host = match family {
        Family::V6 => IpAddr::from(Ipv6Addr::LOCALHOST),
        _ => IpAddr::from(Ipv4Addr::LOCALHOST),
    };
    let Some(site) = (daemon.start)(host) else { return differences };
    let mut session = None;
    for ability in Ability::all(family) {
        site.clear();
        let mut lacks = daemon.lacks.iter().chain(&IPV4_ALONE);
        let lack =
            lacks.find(|lack| lack.what == ability && [Family::Both, family].contains(&lack.on));
        let came = ability.shown(&site, &mut session);
        let difference = match (lack, came) {
            (None, Ok(())) => continue,
            (None, Err(why)) => why,
            (Some(lack), Err(why)) if lack.is_said(&why) => continue,
            (Some(lack), Err(why)) => format!("{why}\n    instead of: {}", lack.says),
            (Some(lack), Ok(())) => format!("works, instead of: {}", lack.says),
        };
        differences.push(format!("{family:?} {ability}: {difference}"));
    }
    if let Some(Err(error)) = session.map(Session::quit) {
        differences.push(format!("{family:?} QUIT: {error}"));
    }
    differences
}

impl Daemon<'_> {
    #[track_caller]
    fn works_with_our_client(&self) {
        let families = [Family::V4, Family::V6];
        let differences = at_once(2, families, |family| differences(self, family)).concat();
        assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    }
}
