//! The wider field from the other side: our client against servers that others wrote, and against
//! ours. What is asked of all of them is the same and stands in `abilities`; which server lacks
//! what, and what the client then says, stands in `table`. `session` alone knows the client's
//! methods.

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

/// A server, and what it cannot do; all else it has to do.
struct Daemon<'a> {
    /// On this loopback address. `None`, having said so, if it is not installed.
    start: &'a (dyn Fn(IpAddr) -> Option<Running> + Sync),
    lacks: &'a [Lack],
}

/// What a server cannot do, or does in its own way.
struct Lack {
    what: Ability,
    on: Family,
    /// A part of the client's message, or of the difference from what it did.
    says: &'static str,
    /// The same, where the order of two replies decides which message it is.
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

/// In which family of addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Family {
    Both,
    V4,
    V6,
}

/// How a data connection is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Epsv,
    Pasv,
    Eprt,
    Port,
    /// `EPRT`, else `PORT`.
    Active,
}

/// What is asked of a server; what is there then is compared byte by byte. Where no [`Way`] is named, it is the one that the
/// client takes by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ability {
    /// An upload, a download and a list.
    By(Way),
    /// Nothing, a byte and 1 MiB and a byte, each uploaded and downloaded.
    Sizes,
    /// 64 MiB there and back.
    Large,
    Append,
    ResumeDownload,
    ResumeUpload,
    /// Lines that end in LF here are uploaded, and have LF there.
    TextUp,
    /// The reverse.
    TextDown,
    /// Lines that end in LF, CR LF and CR are uploaded: CR LF is LF there.
    MixedUp,
    /// The same are downloaded: CR LF is LF here.
    MixedDown,
    /// Names, kinds and sizes.
    List,
    /// Names alone.
    Names,
    /// Those of another directory than the working directory.
    NamesBelow,
    /// All that is in a tree, which names that begin with a dot are in.
    HiddenNames,
    /// 3,000 entries.
    ManyEntries,
    /// An empty directory.
    NoEntries,
    NoNames,
    Rename,
    /// A file that is there is replaced.
    RenameOver,
    Delete,
    MakeAndRemoveDirectory,
    Size,
    Modified,
    SetModified,
    /// What is not there is refused, and the client can go on.
    Missing,
    TenInARow,
    /// A download is left in the middle, and the client goes on.
    Abort,
    /// A file with such a name is uploaded, downloaded, listed in both forms, renamed and deleted.
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

/// What the client does not even ask for.
const IPV4_ALONE: [Lack; 2] = [
    lack(Ability::By(Way::Pasv), "not supported: PASV carries IPv4 addresses only").on(Family::V6),
    lack(Ability::By(Way::Port), "not supported: PORT carries IPv4 addresses only").on(Family::V6),
];

/// All that is not as the table says it.
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
    fn meets_our_client(&self) {
        let families = [Family::V4, Family::V6];
        let differences = at_once(2, families, |family| differences(self, family)).concat();
        assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    }
}
