//! A program between the server and the store that answers with its own pages: a proxy, a captive
//! portal or a block page. Nothing that it says counts, neither a success nor a permanent refusal.

use ftp_tests::at_once::at_once;
use ftp_tests::raw::{RawReply, RawSession};

use super::fake::{Fault, Page};
use super::*;
use crate::auth::Rights;
use crate::ledger::{Ledger as _, LedgerError};
use crate::server::Server;

/// Returns the pages. Each `is_late` one comes after the store has executed the request.
fn pages() -> impl Iterator<Item = Fault> {
    [200, 404, 204, 403, 302, 503].into_iter().flat_map(|status| {
        let services = [Page::Json(false), Page::Json(true), Page::Text];
        let kinds = [Page::Html, Page::Empty, Page::Cut, Page::Tagged].into_iter().chain(services);
        let (skipped, most) = match status {
            200 => (0, 7),
            404 => (0, 4),
            204 => (1, 1),
            _ => (0, 1),
        };
        let kinds = kinds.skip(skipped).take(most);
        kinds.flat_map(move |page| {
            // Only these show whether the store is asked what it has done.
            let late = [false, true].into_iter();
            let late = late.filter(move |late| !late || page == Page::Html);
            late.map(move |is_late| Fault::Page { status, page, is_late })
        })
    })
}

/// Serves a store; a request is repeated for this time.
fn serve(fake: &Fake, retries: Duration) -> Server {
    let timeouts = S3Timeouts::new().retries(retries);
    let store = settings(&fake.endpoint()).timeouts(timeouts).build().unwrap();
    let builder = Server::builder().storage(store.storage("").unwrap());
    builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").unwrap()
}

/// A session, and what it does with a store whose responses are not all the store's.
struct Doubter<'a> {
    fake: &'a Fake,
    session: RawSession,
    what: String,
}

impl Doubter<'_> {
    /// Returns whether a command succeeded. If it did not, its failure must be temporary.
    fn is_done(&self, reply: &RawReply) -> bool {
        let (code, what) = (reply.code, &self.what);
        assert!(code < 500, "{what}: {}", self.session.dialogue());
        (200..400).contains(&code)
    }

    fn is_true(&self, command: &str, is_true: bool) {
        assert!(is_true, "{}: {command}: {}", self.what, self.session.dialogue());
    }

    fn store(&mut self, command: &str, sent: &[u8], whole: &[u8]) {
        let data = self.session.passive();
        let reply = self.session.ask(command);
        if reply.code == 150 {
            // The server may refuse the rest.
            let _ = std::io::Write::write_all(&mut data.stream(), sent);
            data.close();
            let reply = self.session.reply();
            if self.is_done(&reply) {
                let (_, key) = command.split_once(' ').unwrap();
                self.is_true(command, self.fake.content(key).is_some_and(|found| found == whole));
            }
        } else {
            self.is_done(&reply);
        }
    }

    fn fetch(&mut self, command: &str, is_right: impl FnOnce(&[u8]) -> bool) {
        let data = self.session.passive();
        let reply = self.session.ask(command);
        if reply.code == 150 {
            let found = data.read_to_end();
            let reply = self.session.reply();
            if self.is_done(&reply) {
                self.is_true(command, is_right(&found));
            }
        } else {
            self.is_done(&reply);
        }
    }

    fn change(&mut self, command: &str, is_made: impl FnOnce(&Fake) -> bool) {
        let reply = self.session.ask(command);
        if self.is_done(&reply) {
            self.is_true(command, is_made(self.fake));
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let reply = self.session.ask(format!("RNFR {from}"));
        if self.is_done(&reply) {
            self.change(&format!("RNTO {to}"), |fake| {
                fake.content(from).is_none() && fake.content(to).is_some()
            });
        }
    }
}

/// Sends all commands to a server whose store answers an operation, or if it is empty, every one,
/// with a page.
fn doubt(operation: &'static str, count: u64, fault: Fault, large: &[u8]) {
    let fake = Fake::start();
    for key in ["f", "of", "gone", "from", "d/x"] {
        fake.store(key, b"bytes");
    }
    fake.store("e/", b"");
    let parts = ["UploadPart", "UploadPartCopy", "CreateMultipartUpload", "ListParts", ""];
    let parts = [&parts[..], &["CompleteMultipartUpload", "AbortMultipartUpload"]].concat();
    let is_of_parts = parts.contains(&operation);
    // Only the steps with parts need a file that consists of parts.
    fake.store("large", if is_of_parts { large } else { b"larger" });
    let retries = if count == 1 { Duration::from_secs(12) } else { Duration::from_millis(1) };
    let server = serve(&fake, retries);
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    let what = format!("{operation} {count} {fault:?}");
    let mut doubter = Doubter { fake: &fake, session, what };
    let steps: &[&dyn Fn(&mut Doubter<'_>)] = match is_of_parts {
        true => &[
            &|it| it.store("STOR big", large, large),
            &|it| it.store("STOR of", large, large),
            &|it| it.store("APPE large", b"more", &[large, b"more"].concat()),
            &|it| {
                let _data = it.session.passive();
                it.session.line("STOR cut");
                if it.session.reply().code == 150 {
                    it.session.line("ABOR");
                    while !matches!(it.session.reply().code, 226 | 225) {}
                }
            },
            &|it| it.fetch("RETR large", |found| found.len() >= large.len()),
        ],
        false => &[
            &|it| it.store("STOR new", b"some", b"some"),
            &|it| it.store("STOR of", b"other", b"other"),
            &|it| it.store("APPE f", b"more", b"bytesmore"),
            &|it| it.change("SIZE gone", |_| true),
            &|it| it.change("MDTM gone", |_| true),
            &|it| it.fetch("RETR gone", |found| found == b"bytes"),
            &|it| it.change("MKD m", |fake| fake.content("m/").is_some()),
            &|it| it.change("CWD d", |_| true),
            &|it| it.change("CWD /", |_| true),
            &|it| it.fetch("MLSD d", |found| found.ends_with(b" x\r\n")),
            &|it| it.fetch("NLST", |found| found.windows(5).any(|name| name == b"from\r")),
            &|it| it.change("DELE gone", |fake| fake.content("gone").is_none()),
            &|it| it.change("RMD e", |fake| fake.content("e/").is_none()),
            &|it| it.rename("from", "to"),
        ],
    };
    for step in steps {
        match operation {
            "" => OPERATIONS.concat().iter().for_each(|name| fake.fail(name, 0, count, fault)),
            _ => fake.fail(operation, 0, count, fault),
        }
        step(&mut doubter);
        fake.works();
        let size = doubter.session.ask("SIZE /large").text();
        let told = size.strip_prefix("213 ").and_then(|size| size.trim().parse().ok());
        doubter.is_true("SIZE large", told.is_none() || told == fake.size("large"));
    }
}

#[test]
fn a_page_of_another_program_is_neither_a_success_nor_a_refusal() {
    let large = content(PART + 9);
    let operations = OPERATIONS.concat().into_iter().chain([""]);
    let all = operations.flat_map(|operation| pages().map(move |page| (operation, page)));
    let all = all.flat_map(|(operation, page)| {
        // A single page is overcome by another attempt, which takes time.
        let once = matches!(page, Fault::Page { status: 200 | 404, page: Page::Html, .. });
        [99, 1]
            .into_iter()
            .filter(move |count| *count == 99 || once)
            .map(move |count| (operation, page, count))
    });
    // A plain run has each kind of page for some operations.
    let every = ftp_tests::scale::count(4, 1);
    at_once(32, all.step_by(every).collect::<Vec<_>>(), |(operation, page, count)| {
        doubt(operation, count, page, &large);
    });
}

#[test]
fn a_page_is_no_file_even_if_it_is_the_first_response_of_the_store() {
    for page in [Page::Html, Page::Tagged, Page::Json(false), Page::Text] {
        for operation in ["GetObject", "HeadObject"] {
            let fake = Fake::start();
            fake.store("f", b"bytes");
            fake.fail(operation, 0, 1, Fault::Page { status: 200, page, is_late: false });
            let storage = on(&fake);
            assert_eq!(storage.stat(&path("f"), Ask::Facts).unwrap().size, 5, "{page:?}");
            assert_eq!(read(&storage, "f").unwrap(), b"bytes", "{page:?}");
        }
    }
}

#[test]
fn a_store_whose_responses_have_no_request_id_is_asked_again() {
    let fake = Fake::start();
    fake.hide_ids();
    let storage = on(&fake).rename_trees(9).keep_times(true);
    let large = content(PART + 9);
    for bytes in [b"bytes", &large[..]] {
        put(&storage, "f", WriteMode::Replace, bytes).unwrap();
        assert!(read(&storage, "f").unwrap() == bytes);
    }
    put(&storage, "f", WriteMode::Append, b"more").unwrap();
    storage.set(&path("f"), Change::Modified(9)).unwrap();
    storage.mkdir(&path("d")).unwrap();
    storage.rename(&path("f"), &path("d/f"), false).unwrap();
    storage.rename(&path("d"), &path("e"), false).unwrap();
    assert_eq!(fake.content("e/f").unwrap().len(), PART + 13);
    let upload = storage.inner.client.create_upload("f", &[]).unwrap();
    storage.inner.client.abort_upload(&upload).unwrap();
    assert_eq!(fake.uploads(), 0);
    storage.remove(&path("e/f")).unwrap();
    storage.rmdir(&path("e")).unwrap();
    assert_eq!(fake.keys(""), [""; 0]);
    // A removal that this store has not made is none.
    fake.store("f", b"bytes");
    fake.fail(
        "DeleteObject",
        0,
        99,
        Fault::Page { status: 204, page: Page::Empty, is_late: false },
    );
    assert_eq!(kind(storage.remove(&path("f"))), Some(Kind::Io));
}

#[test]
fn a_page_of_another_program_is_no_record_of_a_ledger() {
    for fault in pages() {
        let fake = Fake::start();
        let timeouts = S3Timeouts::new().retries(Duration::from_millis(1));
        let store = settings(&fake.endpoint()).timeouts(timeouts).build().unwrap();
        let ledger = S3Ledger::open(&store, "").unwrap();
        assert!(ledger.replace("r", None, b"1").unwrap());
        let version = ledger.read("r").unwrap().version;
        fake.fail("GetObject", 0, 99, fault);
        let error = ledger.read("r").unwrap_err();
        assert!(matches!(error, LedgerError::Away { .. }), "{fault:?} {error}");
        fake.works();
        fake.fail("PutObject", 0, 99, fault);
        match ledger.replace("r", version.as_deref(), b"2") {
            Ok(is_stored) => assert!(is_stored, "{fault:?}"),
            Err(error) => assert!(matches!(error, LedgerError::Away { .. }), "{fault:?} {error}"),
        }
        let is_late = matches!(fault, Fault::Page { is_late: true, .. });
        fake.works();
        let found = ledger.read("r").unwrap().content;
        assert_eq!(found, if is_late { b"2" } else { b"1" }, "{fault:?}");
    }
}
