//! Operations that are tested with every server.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use ftp_client::listing::ListingForm;
use ftp_client::{Error, TimeVal, Verb};
use ftp_proto::EntryKind;
use ftp_tests::content::{SIZES, binary, text};
use ftp_tests::scale;
use ftp_tests::site::Site;

use super::session::Session;
use super::{Ability, Family, Way};

/// Names beside `file`, each with a character that careless programs mishandle. Those of
/// `ftp_tests::names` are for servers that accept any byte.
const NAMES: [&[u8]; 11] = [
    b"two  spaces",
    b" space before",
    b"space behind ",
    b"-dash",
    b"--help",
    b"-a -l",
    "gr\u{fc}\u{df}e \u{65e5}\u{672c}\u{8a9e}".as_bytes(),
    b"caf\xe9 in latin-1",
    b"\"quoted\"",
    b"per%20cent",
    b".hidden",
];

/// The length of the existing part before a resumed transfer, in bytes.
const THERE: usize = 70_000;

const MIXED: &[u8] = b"a\nb\r\nc\rd\n\n\r\ne";

/// 2001-02-03 04:05:06 in UTC.
const TIME: (&[u8], u64) = (b"20010203040506", 981_173_106);

/// The deviation of a server, or the client's error.
type Shown = Result<(), String>;

impl Ability {
    /// Returns all abilities; slow ones only for IPv4.
    pub(super) fn all(family: Family) -> Vec<Self> {
        let ways = [Way::Epsv, Way::Pasv, Way::Eprt, Way::Port, Way::Active];
        let ways = ways.map(Self::By);
        let simple = [
            Self::Sizes,
            Self::Append,
            Self::ResumeDownload,
            Self::ResumeUpload,
            Self::TextUp,
            Self::TextDown,
            Self::MixedUp,
            Self::MixedDown,
            Self::List,
            Self::Names,
            Self::NamesBelow,
            Self::HiddenNames,
            Self::NoEntries,
            Self::NoNames,
            Self::Rename,
            Self::RenameOver,
            Self::Delete,
            Self::MakeAndRemoveDirectory,
            Self::Size,
            Self::Modified,
            Self::SetModified,
            Self::Missing,
            Self::TenInARow,
            Self::Abort,
        ];
        let mut all = [&ways[..], &simple].concat();
        if family == Family::V4 {
            all.extend([Self::Large, Self::ManyEntries]);
            all.extend(NAMES.map(Self::Name));
        }
        all
    }

    /// Tests it in the existing session. After a failure that session is dropped, once the client
    /// proved usable or closed.
    pub(super) fn shown(self, site: &Site, kept: &mut Option<Session>) -> Shown {
        if let Self::By(way) = self {
            let mut session = Session::by(site, way).map_err(said)?;
            let shown = simple_transfers(site, &mut session);
            return ends_well(session, shown);
        }
        let mut session = match kept.take() {
            Some(session) => session,
            None => Session::new(site).map_err(said)?,
        };
        session.is_text(false);
        let shown = self.try_it(site, &mut session);
        if shown.is_err() {
            return ends_well(session, shown);
        }
        *kept = Some(session);
        Ok(())
    }

    fn try_it(self, site: &Site, session: &mut Session) -> Shown {
        match self {
            Self::By(_) => unreachable!("it has a session of its own"),
            Self::Sizes => sizes(site, session),
            Self::Large => large(site, session),
            Self::Append => {
                let content = binary(2 * THERE, 1);
                site.root.write("file", &content[..THERE]);
                session.append(b"file", &content[THERE..]).map_err(said)?;
                same("appended", &site.root.read("file"), &content)
            }
            Self::ResumeDownload => {
                let content = binary(2 * THERE, 2);
                site.root.write("file", &content);
                let rest = session.get_from(b"file", THERE as u64).map_err(said)?;
                same("the rest", &rest, &content[THERE..])?;
                same("the whole behind it", &session.get(b"file").map_err(said)?, &content)
            }
            Self::ResumeUpload => {
                let content = binary(2 * THERE, 3);
                site.root.write("file", &content[..THERE]);
                session.put_from(b"file", THERE as u64, &content[THERE..]).map_err(said)?;
                same("the whole", &site.root.read("file"), &content)
            }
            Self::TextUp => {
                let content = text(100_000, 4);
                session.is_text(true);
                session.put(b"file", &content).map_err(said)?;
                same("stored", &site.root.read("file"), &content)
            }
            Self::TextDown => {
                let content = text(100_000, 5);
                site.root.write("file", &content);
                session.is_text(true);
                same("got", &session.get(b"file").map_err(said)?, &content)
            }
            Self::MixedUp => {
                session.is_text(true);
                session.put(b"file", MIXED).map_err(said)?;
                same("stored", &site.root.read("file"), b"a\nb\nc\rd\n\n\ne")
            }
            Self::MixedDown => {
                site.root.write("file", MIXED);
                session.is_text(true);
                same("got", &session.get(b"file").map_err(said)?, b"a\nb\nc\rd\n\n\ne")
            }
            Self::List => list(site, session),
            Self::Names => {
                plant(site, session)?;
                let names = sorted(session.names(b"").map_err(said)?);
                equal("names", shown(&names), shown(&["directory", "file"]))
            }
            Self::NamesBelow => {
                plant(site, session)?;
                let names = session.names(b"directory").map_err(said)?;
                equal("names", shown(&names), shown(&[b"below"]))
            }
            Self::HiddenNames => hidden_names(site, session),
            Self::NoEntries => {
                session.mkdir(b"directory").map_err(said)?;
                equal("entries", session.list(b"directory").map_err(said)?, vec![])
            }
            Self::NoNames => {
                session.mkdir(b"directory").map_err(said)?;
                equal("names", session.names(b"directory").map_err(said)?, vec![])
            }
            Self::ManyEntries => many_entries(site, session),
            Self::Rename => {
                site.root.write("file", b"content");
                session.rename(b"file", b"other").map_err(said)?;
                only(site, &[b"other"])?;
                same("renamed", &site.root.read("other"), b"content")
            }
            Self::RenameOver => {
                site.root.write("file", b"content");
                site.root.write("other", b"old");
                session.rename(b"file", b"other").map_err(said)?;
                only(site, &[b"other"])?;
                same("renamed", &site.root.read("other"), b"content")
            }
            Self::Delete => {
                site.root.write("file", b"content");
                session.delete(b"file").map_err(said)?;
                only(site, &[])
            }
            Self::MakeAndRemoveDirectory => {
                session.mkdir(b"directory").map_err(said)?;
                session.put(b"directory/file", b"content").map_err(said)?;
                same("below it", &site.root.read("directory/file"), b"content")?;
                if session.rmdir(b"directory").is_ok() {
                    return Err("a directory that is not empty was removed".into());
                }
                session.delete(b"directory/file").map_err(said)?;
                session.rmdir(b"directory").map_err(said)?;
                only(site, &[])
            }
            Self::Size => {
                site.root.write("file", &binary(1_000, 1));
                equal("size", session.size(b"file").map_err(said)?, Some(1_000))
            }
            Self::Modified => {
                let path = site.root.write("file", b"content");
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(TIME.1);
                File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
                equal("time", session.modified(b"file").map_err(said)?, Some(time_val()))
            }
            Self::SetModified => {
                let path = site.root.write("file", b"content");
                session.set_modified(b"file", time_val()).map_err(said)?;
                let time = path.metadata().unwrap().modified().unwrap();
                let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
                equal("time", since.as_secs(), TIME.1)
            }
            Self::Missing => missing(site, session),
            Self::TenInARow => ten_in_a_row(site, session),
            Self::Abort => abort(site, session),
            Self::Name(name) => a_name(site, session, name),
        }
    }
}

/// Returns the failure of an ability, if the client is then usable or closed, and does not hang.
fn ends_well(mut session: Session, shown: Shown) -> Shown {
    match session.noop() {
        Err(Error::Closed | Error::ServiceClosing(_)) => return shown,
        Err(error @ Error::Timeout(_)) => {
            return Err(format!("{shown:?}, and behind it the client waits: {error}"));
        }
        Ok(()) | Err(_) => {}
    }
    match session.quit() {
        Ok(()) => shown,
        Err(error) => Err(format!("{shown:?}, and behind it QUIT: {error}")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn said(error: Error) -> String {
    error.to_string()
}

/// Compares two files, and reports the first difference.
fn same(what: &str, got: &[u8], want: &[u8]) -> Shown {
    if got == want {
        return Ok(());
    }
    let at = got.iter().zip(want).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| {
        let near = &bytes[at.saturating_sub(8)..(at + 16).min(bytes.len())];
        format!("\"{}\"", near.escape_ascii())
    };
    Err(format!(
        "{what}: {} bytes instead of {}, different from byte {at} on: got {}, want {}",
        got.len(),
        want.len(),
        around(got),
        around(want)
    ))
}

#[expect(clippy::needless_pass_by_value, reason = "they are made for it")]
fn equal<T: std::fmt::Debug + PartialEq>(what: &str, got: T, want: T) -> Shown {
    if got == want { Ok(()) } else { Err(format!("{what}: {got:?} instead of {want:?}")) }
}

fn only(site: &Site, names: &[&[u8]]) -> Shown {
    equal("the root", shown(&site.root.names()), shown(names))
}

/// Returns readable names.
fn shown(names: &[impl AsRef<[u8]>]) -> Vec<String> {
    names.iter().map(|name| name.as_ref().escape_ascii().to_string()).collect()
}

fn sorted(mut names: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    names.sort();
    names
}

fn time_val() -> TimeVal {
    TimeVal::parse(TIME.0).expect("a time")
}

fn simple_transfers(site: &Site, session: &mut Session) -> Shown {
    let (up, down) = (binary(100_000, 1), binary(100_000, 2));
    session.put(b"file", &up).map_err(said)?;
    same("stored", &site.root.read("file"), &up)?;
    site.root.write("file", &down);
    same("got", &session.get(b"file").map_err(said)?, &down)?;
    let entries = session.list(b"").map_err(said)?;
    let names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
    equal("names", shown(&names), shown(&[b"file"]))
}

fn sizes(site: &Site, session: &mut Session) -> Shown {
    for (seed, size) in (1..).zip(SIZES) {
        let (up, down) = (binary(size, seed), binary(size, seed + 1_000));
        session.put(b"file", &up).map_err(said)?;
        same("stored", &site.root.read("file"), &up)?;
        site.root.write("file", &down);
        same("got", &session.get(b"file").map_err(said)?, &down)?;
    }
    Ok(())
}

fn large(site: &Site, session: &mut Session) -> Shown {
    static CONTENT: OnceLock<Vec<u8>> = OnceLock::new();
    // Each MiB has its number: equal ones would hide a missing one.
    let content = CONTENT.get_or_init(|| {
        let mebibyte = binary((1 << 20) - 8, 7);
        let numbers = (0..64_u64).map(u64::to_le_bytes);
        numbers.map(|number| [&number[..], &mebibyte].concat()).collect::<Vec<_>>().concat()
    });
    session.put(b"file", content).map_err(said)?;
    same("stored", &site.root.read("file"), content)?;
    same("got", &session.get(b"file").map_err(said)?, content)
}

/// Makes a file of 1,000 bytes, and a directory with an empty file in it.
fn plant(site: &Site, session: &mut Session) -> Shown {
    site.root.write("file", &binary(1_000, 1));
    session.mkdir(b"directory").map_err(said)?;
    session.put(b"directory/below", b"").map_err(said)
}

fn list(site: &Site, session: &mut Session) -> Shown {
    plant(site, session)?;
    let mut entries = session.list(b"").map_err(said)?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let found: Vec<_> = entries
        .into_iter()
        .map(|entry| (entry.name, entry.kind, entry.size.filter(|&size| size == 1_000)))
        .collect();
    let want = vec![
        (b"directory".to_vec(), Some(EntryKind::Directory), None),
        (b"file".to_vec(), Some(EntryKind::File), Some(1_000)),
    ];
    equal("entries", found, want)?;
    let below = session.list(b"directory").map_err(said)?;
    let below: Vec<_> = below.into_iter().map(|entry| (entry.name, entry.size)).collect();
    equal("entries below", below, vec![(b"below".to_vec(), Some(0))])
}

fn hidden_names(site: &Site, session: &mut Session) -> Shown {
    plant(site, session)?;
    session.put(b"directory/.hidden", b"").map_err(said)?;
    let want = shown(&[&b"directory"[..], b"directory/.hidden", b"directory/below", b"file"]);
    for form in [ListingForm::Auto, ListingForm::List] {
        let paths = sorted(session.walk(form).map_err(said)?);
        equal("paths", shown(&paths), want.clone())?;
    }
    Ok(())
}

fn many_entries(site: &Site, session: &mut Session) -> Shown {
    let want: Vec<Vec<u8>> =
        (0..scale::count(1_200, 3_000)).map(|at| format!("entry {at:04}").into()).collect();
    let directory = site.root.mkdir("many");
    for name in &want {
        File::create(directory.join(OsStr::from_bytes(name))).unwrap();
    }
    let entries = session.list(b"many").map_err(said)?;
    let files = entries.iter().filter(|entry| entry.kind == Some(EntryKind::File)).count();
    equal("files", files, want.len())?;
    let names = match session.names(b"many") {
        // A missing NLST is reported by `Names`.
        Err(Error::Refused { verb: Verb::Nlst, .. }) => want.clone(),
        names => names.map_err(said)?,
    };
    for found in [entries.into_iter().map(|entry| entry.name).collect(), names] {
        if sorted(found) != want {
            return Err("entries or names are not these".into());
        }
    }
    Ok(())
}

fn missing(site: &Site, session: &mut Session) -> Shown {
    site.root.write("file", b"content");
    let results = [
        ("RETR", session.get(b"missing").map(drop)),
        ("DELE", session.delete(b"missing")),
        ("RNFR", session.rename(b"missing", b"other")),
        ("RMD", session.rmdir(b"missing")),
        ("MKD", session.mkdir(b"no/such/directory")),
        ("STOR", session.put(b"no/such/file", b"content")),
    ];
    for (what, result) in results {
        match result {
            Err(Error::Refused { verb, .. }) if verb.to_string() == what => {}
            // Some servers look for the file only at RNTO.
            Err(Error::Refused { verb: Verb::Rnto, .. }) if what == "RNFR" => {}
            Err(error) => return Err(format!("{what}: {error}")),
            Ok(()) => return Err(format!("{what} of what is not there works")),
        }
    }
    same("what is there", &session.get(b"file").map_err(said)?, b"content")
}

fn ten_in_a_row(site: &Site, session: &mut Session) -> Shown {
    for at in 0..10 {
        let (name, content) = (format!("file {at}"), binary(5_000, at));
        if at % 2 == 0 {
            session.put(name.as_bytes(), &content).map_err(said)?;
        } else {
            site.root.write(&name, &content);
            same(&name, &session.get(name.as_bytes()).map_err(said)?, &content)?;
        }
        same(&name, &site.root.read(&name), &content)?;
    }
    Ok(())
}

fn abort(site: &Site, session: &mut Session) -> Shown {
    // More than all buffers hold, so that the server is still sending.
    let content = binary(16 << 20, 1);
    site.root.write("file", &content);
    site.root.write("other", b"content");
    let start = session.get_and_abort(b"file", 100_000).map_err(said)?;
    same("the start", &start, &content[..100_000])?;
    same("behind it", &session.get(b"other").map_err(said)?, b"content")?;
    same("the whole", &session.get(b"file").map_err(said)?, &content)
}

fn a_name(site: &Site, session: &mut Session, name: &[u8]) -> Shown {
    session.put(name, b"content").map_err(said)?;
    only(site, &[name])?;
    same("stored", &site.root.read(name), b"content")?;
    same("got", &session.get(name).map_err(said)?, b"content")?;
    // Some servers hide names that begin with a dot.
    if !name.starts_with(b".") {
        let entries = session.list(b"").map_err(said)?;
        let names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
        equal("entries", shown(&names), shown(&[name]))?;
        match session.names(b"") {
            // A missing NLST is reported by `Names`.
            Err(Error::Refused { verb: Verb::Nlst, .. }) => {}
            names => equal("names", shown(&names.map_err(said)?), shown(&[name]))?,
        }
    }
    session.rename(name, b"plain").map_err(said)?;
    only(site, &[b"plain"])?;
    session.rename(b"plain", name).map_err(said)?;
    only(site, &[name])?;
    session.delete(name).map_err(said)?;
    only(site, &[])
}
