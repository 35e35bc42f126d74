//! Servers that do not tell a fact, or tell it roughly: clients take facts for exact.

use ftp_client::Entry as Found;
use ftp_client::listing::{ListOptions, ListingForm};
use ftp_client::{EntryKind as FoundKind, ListLine, Modified, Precision, TimeVal, Zone};
use ftp_server::{Entries, Metadata};

use super::proof::{UNTOLD, metadata};
use super::*;

/// Returns what a listing of the root shows.
fn listed(client: &mut Client, form: ListingForm) -> Result<Vec<Found>, ftp_client::Error> {
    let lines = client.list_directory("/", ListOptions::by(form))?;
    let found = lines.map(|line| match line {
        Ok(ListLine::Entry(found)) => Ok(found),
        Ok(line) => panic!("{line:?}"),
        Err(error) => Err(error),
    });
    found.collect()
}

fn code(error: &ftp_client::Error) -> Option<u16> {
    error.reply().map(|reply| reply.code().value())
}

/// A storage that tells no times.
struct Timeless(MemoryStorage);

impl Storage for Timeless {
    ftp_server::forward_storage!(self, self.0; capabilities, confine, read, write, unfinished, kept);
    ftp_server::forward_storage!(self, self.0; forget, remove, rmdir, mkdir, rename, set, space);

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Metadata> {
        Ok(self.0.stat(path, ask)?.modified(i64::MAX))
    }

    fn list(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Entries> {
        let entries = self.0.list(path, ask)?;
        Ok(Entries::new(entries.map(|entry| {
            let mut entry = entry?;
            entry.metadata.modified = i64::MAX;
            Ok(entry)
        })))
    }
}

/// It was 1970: `put --newer` replaced a newer file, and `--min-age` removed one that was being written.
#[test]
fn a_time_that_is_not_told_is_no_time() {
    let files = MemoryStorage::new();
    files.put("/a", "a").unwrap();
    let other = Server::builder().storage(Timeless(files)).user("u", "p", Rights::FULL);
    let other = other.bind("127.0.0.1:0").unwrap();
    let front = Front::of(other.local_addr(), ("u", "p"), "");
    let mut client = front.client();
    assert_eq!(client.modified("/a").unwrap(), None);
    assert_eq!(client.stat("/a").unwrap().unwrap().modified, None);
    assert_eq!(listed(&mut client, ListingForm::Mlsd).unwrap()[0].modified, None);
    // What the reply to the change tells counts.
    let time = TimeVal::from_unix_seconds(1_000_000).unwrap();
    assert_eq!(client.set_modified("/a", time).unwrap(), Some(time));
}

#[test]
fn a_size_that_mlsd_does_not_tell_is_asked_for() {
    let address = old_server_with("MLST type*;\r\n SIZE\r\n MDTM", |data, control| {
        send(data, control, b"type=file; a\r\ntype=file; b\r\n");
    });
    let front = Front::of(address, ("u", "p"), "");
    let mut client = front.client();
    let sizes = listed(&mut client, ListingForm::Mlsd).unwrap();
    assert_eq!(sizes.iter().map(|found| found.size).collect::<Vec<_>>(), [Some(5), Some(5)]);
    // Nothing is removed there, and the size or time that another question tells is no other file.
    for name in ["/a", "/sized"] {
        assert_eq!(code(&client.delete(name).unwrap_err()), Some(451), "{name}");
    }
}

#[test]
fn a_listing_with_a_file_whose_size_is_not_told_fails() {
    for name in ["busy", "untold"] {
        let address = old_server_with("MLST type*;\r\n SIZE\r\n MDTM", move |data, control| {
            let lines = format!("type=file;size=5; a\r\ntype=file; {name}\r\n");
            send(data, control, lines.as_bytes());
        });
        let front = Front::of(address, ("u", "p"), "");
        let refused = listed(&mut front.client(), ListingForm::Mlsd).unwrap_err();
        assert_eq!(code(&refused), Some(451), "{name}: {refused}");
        // Names need no facts.
        assert_eq!(listed(&mut front.client(), ListingForm::Nlst).unwrap().len(), 2);
    }
}

/// Only `LIST` may show it: there, clients expect neither seconds nor a zone.
#[test]
fn a_time_of_list_is_no_time_of_mlsd() {
    let address = old_server(|data, control| {
        let lines = b"-rw-r--r-- 1 u u 5 Jan 1 2025 a\r\n-rw-r--r-- 1 u u 5 Jan 1 2025 b\r\n";
        send(data, control, lines);
    });
    let front = Front::of(address, ("u", "p"), "");
    let mut client = front.client();
    assert_eq!(listed(&mut client, ListingForm::Mlsd).unwrap()[0].modified, None);
    let told = listed(&mut client, ListingForm::List).unwrap()[0].modified.unwrap();
    assert_eq!(
        (told.time.to_string().as_str(), told.precision),
        ("20250101000000", Precision::Day)
    );
    assert_eq!(client.modified("/a").unwrap().unwrap().to_string(), "20260101000000");
}

#[test]
fn a_time_that_mlst_does_not_tell_is_asked_for() {
    let address = old_server_with("MLST type*;\r\n SIZE\r\n MDTM", |_, _| ());
    let found = Front::of(address, ("u", "p"), "").client().stat("/a").unwrap().unwrap();
    assert_eq!(found.modified.unwrap().time.to_string(), "20260101000000");
}

#[test]
fn only_seconds_in_utc_are_a_time() {
    let time = TimeVal::from_unix_seconds(1_000_000).unwrap();
    for (precision, zone, want) in [
        (Precision::Second, Zone::Utc, 1_000_000),
        (Precision::Minute, Zone::Utc, UNTOLD),
        (Precision::Day, Zone::Unknown, UNTOLD),
        (Precision::Second, Zone::Unknown, UNTOLD),
    ] {
        let mut found = Found::new(b"a");
        (found.kind, found.size) = (Some(FoundKind::File), Some(5));
        found.modified = Some(Modified { time, precision, zone });
        assert_eq!(metadata(&found).unwrap().modified, want, "{precision:?} {zone:?}");
    }
}

/// Returns a server with a directory of links to files, the last one of this name.
fn server_of_links(count: usize, last: &'static str) -> SocketAddr {
    old_server(move |data, control| {
        let link =
            |name: String| format!("lrwxrwxrwx 1 u u 4 Jan 1 2025 {name} -> store/{name}\r\n");
        let all = (1..count).map(|number| link(format!("l{number}")));
        let lines: String = all.chain([link(last.to_owned())]).collect();
        send(data, control, lines.as_bytes());
    })
}

/// The 101st file and those after it were links, which a copy leaves out.
#[test]
fn all_links_of_a_directory_are_shown_by_one_rule() {
    for (count, last, is_shown) in
        [(101, "l", true), (1_001, "l", false), (2, "busy", false), (2, "untold", false)]
    {
        let front = Front::of(server_of_links(count, last), ("u", "p"), "");
        match listed(&mut front.client(), ListingForm::Mlsd) {
            Ok(found) => {
                let files = found.iter().filter(|found| found.is_file() && found.size == Some(5));
                assert_eq!(files.count(), count);
                assert!(is_shown, "{count} {last}");
            }
            Err(refused) => {
                assert_eq!(code(&refused), Some(451));
                assert!(!is_shown, "{count} {last}: {refused}");
            }
        }
        assert_eq!(listed(&mut front.client(), ListingForm::Nlst).unwrap().len(), count);
    }
}

/// `rm -r` enters a directory that no listing shows as a link.
#[test]
fn a_link_to_a_directory_is_one_also_without_its_text() {
    let address = old_server_with("MLST type*;\r\n SIZE\r\n MDTM", |data, control| {
        send(data, control, b"type=OS.unix=symlink; dir\r\ntype=file;size=5; a\r\n");
    });
    let front = Front::of(address, ("u", "p"), "");
    for form in [ListingForm::Mlsd, ListingForm::List] {
        let found = listed(&mut front.client(), form).unwrap();
        assert!(found.iter().any(|found| found.name == b"dir" && found.is_link()), "{found:?}");
    }
}
