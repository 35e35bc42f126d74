//! Uploads over an existing file that are cut by an outage of the store, the end of a server, a
//! reload, or in silence; and the clients that come back. None of them makes a file that begins with
//! the old one and ends with its own bytes.

use std::net::Shutdown;

use ftp_tests::at_once::at_once;
use ftp_tests::raw::{RawData, RawSession};
use ftp_tests::scale::count;
use ftp_tests::wait::wait_until;

use super::fake::Fault;
use super::*;
use crate::auth::Rights;
use crate::server::Server;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cut {
    /// The store cannot be reached for a while. The client comes back when it works again.
    Outage,
    /// The client ends at the same moment, as if the server had lost its network.
    Network,
    /// The server ends, and leaves nothing but what the store has.
    Kill,
    /// The client ends in silence, and comes back at another server.
    OtherServer,
    /// The client ends, and comes back to the same server with other settings of the store.
    Reload,
}

/// What a client does when it comes back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Client {
    /// `SIZE`, and `APPE` of the rest; without a size, the whole file.
    Curl,
    /// `SIZE`, and `REST` and `STOR` of the rest; after 550 or 554 the whole file.
    Lftp,
    /// `REST` and `STOR` from its own count.
    OwnCount,
    /// `APPE` of the rest by a listing.
    Listing,
    /// `STOR` of the whole file.
    Whole,
}

const CUTS: [Cut; 5] = [Cut::Outage, Cut::Network, Cut::Kill, Cut::OtherServer, Cut::Reload];
const CLIENTS: [Client; 5] =
    [Client::Curl, Client::Lftp, Client::OwnCount, Client::Listing, Client::Whole];

/// Lengths of the old file and of the new ones: one request, one part and more, a last part.
const OLD: usize = 1_500_000;
const LENGTHS: [usize; 3] = [2_500_000, PART + 100_000, 2 * PART + 1];

/// Returns the bytes of the new file, which differ from those of the old one at each place.
fn new(length: usize) -> Vec<u8> {
    in_pieces(length, |byte| !byte)
}

fn store(fake: &Fake, process: usize) -> S3Store {
    store_within(Duration::from_millis(400), fake, process)
}

fn store_within(limit: Duration, fake: &Fake, process: usize) -> S3Store {
    let timeouts = S3Timeouts::new().connect(limit).idle(limit).answer(limit);
    let timeouts = timeouts.commit(limit).retries(2 * limit);
    let store = settings(&fake.endpoint()).process(process).timeouts(timeouts);
    store.patience(Duration::from_millis(50)).build().unwrap()
}

fn serve(store: &S3Store) -> Server {
    let builder = Server::builder().storage(store.storage("").unwrap());
    builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").unwrap()
}

fn login(server: &Server) -> RawSession {
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    session
}

/// Sends bytes in a thread: the server may take none.
fn send(data: &RawData, bytes: &[u8], ends: bool) {
    let (mut stream, bytes) = (data.stream().try_clone().unwrap(), bytes.to_vec());
    std::thread::spawn(move || {
        let _ = stream.write_all(&bytes);
        if ends {
            let _ = stream.shutdown(Shutdown::Write);
        }
    });
}

/// Sends an upload command with these bytes. Returns the code of its last reply.
fn upload(session: &mut RawSession, command: &str, bytes: &[u8]) -> u16 {
    let data = session.passive();
    let code = session.ask(command).code;
    if code != 150 {
        return code;
    }
    send(&data, bytes, true);
    session.reply().code
}

fn size(session: &mut RawSession) -> Result<usize, u16> {
    let reply = session.ask("SIZE f");
    let text = reply.text();
    match reply.code {
        213 => Ok(text.trim_end().rsplit(' ').next().unwrap().parse().unwrap()),
        code => Err(code),
    }
}

impl Client {
    /// Tries once more to store the file. Returns the code of the last reply.
    fn tries(self, session: &mut RawSession, bytes: &[u8]) -> u16 {
        let rest = |at: usize| bytes.get(at..).unwrap_or_default().to_vec();
        match self {
            Self::Curl => match size(session) {
                Ok(at) => upload(session, "APPE f", &rest(at)),
                Err(_) => upload(session, "STOR f", bytes),
            },
            Self::Lftp => match size(session) {
                Ok(at) => {
                    session.expect(format!("REST {at}"), 350);
                    upload(session, "STOR f", &rest(at))
                }
                Err(450) => 450,
                Err(_) => upload(session, "STOR f", bytes),
            },
            Self::OwnCount => {
                session.expect(format!("REST {OLD}"), 350);
                match upload(session, "STOR f", &rest(OLD)) {
                    554 => upload(session, "STOR f", bytes),
                    code => code,
                }
            }
            Self::Listing => upload(session, "APPE f", &rest(OLD)),
            Self::Whole => upload(session, "STOR f", bytes),
        }
    }
}

/// A request of an upload: its operation, and the number of requests for it before.
type Request = (&'static str, u64);

/// Returns the requests of an upload that has its note after the first MiB.
fn requests(length: usize) -> Vec<Request> {
    let fake = Fake::start();
    fake.store("f", &content(OLD));
    // Nothing fails here, but a busy machine delays an answer.
    let server = serve(&store_within(Duration::from_secs(60), &fake, PROCESSES));
    let before: Vec<_> = OPERATIONS.concat().into_iter().map(|it| (it, fake.count(it))).collect();
    assert_eq!(slow_upload(&fake, &mut login(&server), &new(length), true), Some(226));
    wait_until("the note is removed", || fake.keys(".ftp-server/partial/").is_empty());
    let each = before.into_iter().flat_map(|(operation, count)| {
        (0..fake.count(operation) - count).map(move |at| (operation, at))
    });
    each.collect()
}

/// Stores a file. Waits for the note after more than the first MiB. Returns the code of the last
/// reply: 0 if the connection ends, `None` if the client has sent no byte.
fn slow_upload(fake: &Fake, session: &mut RawSession, bytes: &[u8], ends: bool) -> Option<u16> {
    let data = session.passive();
    session.line("STOR f");
    if session.try_reply().ok()?.code != 150 {
        return None;
    }
    send(&data, &bytes[..1_100_000], false);
    wait_until("the note is requested", || fake.count("PutObject") > 0);
    send(&data, &bytes[1_100_000..], ends);
    if !ends {
        // It stays open.
        std::mem::forget(data);
    }
    Some(session.try_reply().map_or(0, |reply| reply.code))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Point {
    /// Before the 150: as on a disk, this leaves nothing, since the client has sent no byte.
    BeforeData,
    /// Before the note was written, of which no other server can know.
    BeforeNote,
    Checked,
}

/// Cuts an upload at a request, and lets the client come back.
fn cut(length: usize, cut: Cut, client: Client, (operation, at): Request, process: usize) -> Point {
    let what = format!("{length} {cut:?} {client:?} {operation} {at}");
    let (fake, old, bytes) = (Fake::start(), content(OLD), new(length));
    fake.store("f", &old);
    let here = store(&fake, process);
    let server = serve(&here);
    let is_outage = matches!(cut, Cut::Outage | Cut::Network | Cut::Reload);
    fake.fail(operation, at, if is_outage { 9_999 } else { 1 }, Fault::Reset);
    let mut session = login(&server);
    let ending = session.stream().try_clone().unwrap();
    let is_silent = cut == Cut::OtherServer;
    let code = std::thread::scope(|scope| {
        let noted = || !fake.keys(".ftp-server/partial/").is_empty();
        let uploading = scope.spawn(|| slow_upload(&fake, &mut session, &bytes, !is_silent));
        wait_until(&what, || {
            fake.count(operation) > at || uploading.is_finished() || is_silent && noted()
        });
        if is_outage {
            OPERATIONS.concat().into_iter().for_each(|it| fake.fail(it, 0, 9_999, Fault::Reset));
        }
        match cut {
            Cut::Outage => {}
            Cut::Kill => {
                here.set_credentials("dead", "dead", None);
                here.inner.memory.records.lock().clear();
                here.inner.memory.pending.lock().clear();
                let _ = ending.shutdown(Shutdown::Both);
            }
            // The server does not hear of this.
            Cut::OtherServer => ending.shutdown(Shutdown::Read).unwrap(),
            _ => drop(ending.shutdown(Shutdown::Both)),
        }
        uploading.join().unwrap()
    });
    fake.works();
    let Some(code) = code else { return Point::BeforeData };
    let is_there = |bytes: &[u8]| fake.content("f").as_deref() == Some(bytes);
    let is_noted = !fake.keys(".ftp-server/partial/").is_empty();
    let is_elsewhere = matches!(cut, Cut::Kill | Cut::OtherServer);
    if is_elsewhere && !is_noted && !is_there(&bytes) {
        return Point::BeforeNote;
    }
    let there = match cut {
        Cut::Kill | Cut::OtherServer => store(&fake, process + 1),
        Cut::Reload => store(&fake, process),
        _ => here.clone(),
    };
    let other = serve(&there);
    let mut code = (code == 226).then_some(code);
    for tries in 0.. {
        let now = fake.content("f").unwrap();
        let is_mixed = now != old && now.starts_with(&old);
        assert!(!is_mixed, "{what}: mixed bytes after {tries} tries");
        if code == Some(226) {
            // A client that asks nothing may append to its own file, which was stored meanwhile.
            let is_own = now == bytes || client == Client::Listing && now.starts_with(&bytes);
            assert!(is_own, "{what}: 226 for other bytes");
            break;
        }
        // The client takes an equal size for success, and one that never ends begins again.
        if tries == 6 || is_there(&bytes) && client != Client::Whole {
            break;
        }
        if tries > 0 {
            fake.age_below(".ftp-server/", 100);
            std::thread::sleep(Duration::from_millis(10));
        }
        code = Some(client.tries(&mut login(&other), &bytes));
    }
    Point::Checked
}

/// The first number of the processes of these tests.
const PROCESSES: usize = 1_000_000;

#[test]
fn no_client_mixes_an_old_file_with_the_end_of_its_own_whatever_cuts_the_upload_fs_13_fs_15() {
    let cases = LENGTHS.into_iter().flat_map(|length| {
        let requests = requests(length);
        CUTS.into_iter().flat_map(move |cut| {
            let requests = requests.clone();
            CLIENTS.into_iter().flat_map(move |client| {
                requests.clone().into_iter().map(move |request| (length, cut, client, request))
            })
        })
    });
    let cases: Vec<_> = cases.enumerate().collect();
    // A plain run has each request, cut and client, because a prime is no multiple of their number.
    let some: Vec<_> = cases.into_iter().step_by(count(17, 1)).collect();
    let number = some.len();
    let points = at_once(8, some, |(number, (length, way, client, request))| {
        cut(length, way, client, request, PROCESSES + 2 + 2 * number)
    });
    let at = |point| points.iter().filter(|other| **other == point).count();
    let [refused, open, checked] = [Point::BeforeData, Point::BeforeNote, Point::Checked].map(at);
    println!(
        "{number} cases: {refused} before the data, {open} before the note, {checked} checked"
    );
    assert!(checked > number / 2 && open < number / 10, "{open}, {checked} of {number}");
}

/// Returns the records of the user's upload, as another server sees it.
fn unfinished(store: &S3Store) -> Option<Unfinished> {
    store.storage("").unwrap().unfinished(&path("f"), Some(USER)).unwrap()
}

/// Begins an upload over an old file, and sends some bytes.
fn begin(store: &S3Store, fake: &Fake, length: usize) -> Box<dyn Upload> {
    fake.store("f", b"old");
    let storage = store.storage("").unwrap();
    let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(USER)).unwrap();
    upload.write_all(&new(length)).unwrap();
    upload
}

const NOTES: &str = ".ftp-server/partial/";

#[test]
fn an_upload_over_a_file_is_noted_after_a_second_or_a_mebibyte_fs_15() {
    for length in [10, 1 << 20] {
        let fake = Fake::start();
        let (here, there) = (store_at(&fake), store_at(&fake));
        let upload = begin(&here, &fake, length);
        assert_eq!(unfinished(&here).map(|found| found.is_running), Some(true));
        wait_until("the note is there", || !fake.keys(NOTES).is_empty());
        assert_eq!(unfinished(&there).map(|found| found.is_running), Some(true));
        // The server is killed.
        std::mem::forget(upload);
        here.inner.memory.records.lock().clear();
        fake.age_below(NOTES, 100);
        let found = unfinished(&there).unwrap();
        assert_eq!((found.is_running, found.kept), (false, 0), "{length}");
    }
    // A new file has nothing to be mixed with.
    let fake = Fake::start();
    let storage = on(&fake);
    let mut upload = storage.write(&path("f"), WriteMode::Create, Keep::Bytes(USER)).unwrap();
    upload.write_all(&new(1 << 20)).unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    upload.commit().unwrap();
    assert_eq!(fake.count("PutObject"), 1);
}

#[test]
fn a_record_that_the_store_does_not_accept_outlives_its_session_and_a_reload_fs_15() {
    let fake = Fake::start();
    let limit = Duration::from_millis(200);
    let settings = |process| {
        let timeouts = S3Timeouts::new().connect(limit).idle(limit).answer(limit).retries(limit);
        settings(&fake.endpoint()).process(process).timeouts(timeouts)
    };
    let here = settings(PROCESSES).patience(Duration::ZERO).build().unwrap();
    let upload = begin(&here, &fake, 10);
    for operation in ["HeadObject", "PutObject"] {
        fake.fail(operation, 0, 9_999, Fault::Refuse(503, "SlowDown"));
    }
    upload.abort(StreamEnd::Cut);
    drop(here);
    let memory = || settings(PROCESSES).build().unwrap();
    let reloaded = memory();
    wait_until("it is remembered", || !reloaded.inner.memory.pending.lock().is_empty());
    assert_eq!(unfinished(&reloaded).map(|found| found.is_running), Some(true));
    // Another upload of the user may begin, and be stored.
    fake.works();
    wait_until("the record is written", || !fake.keys(NOTES).is_empty());
    wait_until("it is forgotten", || reloaded.inner.memory.pending.lock().is_empty());
    for store in [&reloaded, &store_at(&fake)] {
        let found = unfinished(store).unwrap();
        assert_eq!((found.is_running, found.kept), (false, 0));
    }
    put(&reloaded.storage("").unwrap(), "f", WriteMode::Replace, b"new").unwrap();
    assert_eq!((unfinished(&reloaded), fake.keys(NOTES)), (None, Vec::new()));
}

#[test]
fn only_what_a_server_stored_ends_a_record_however_the_object_changes_fs_15() {
    let fake = Fake::start();
    let (here, there) = (store_at(&fake), store_at(&fake));
    let other = there.storage("").unwrap().keep_times(true);
    let kept = || unfinished(&there).map(|found| found.kept);
    let cut = || {
        begin(&here, &fake, 10).abort(StreamEnd::Cut);
        assert_eq!(kept(), Some(10));
    };
    let ends: [(&str, &dyn Fn()); 5] = [
        ("STOR", &|| put_by(&other, "f")),
        ("DELE", &|| other.remove(&path("f")).unwrap()),
        ("RNFR", &|| other.rename(&path("f"), &path("g"), true).unwrap()),
        ("RNTO", &|| {
            put_by(&other, "h");
            other.rename(&path("h"), &path("f"), true).unwrap();
        }),
        ("removal by another program", &|| fake.remove("f")),
    ];
    let changes: [(&str, &dyn Fn()); 4] = [
        ("nothing", &|| {}),
        ("another program", &|| fake.store("f", b"of another program")),
        ("MFMT", &|| assert!(other.set(&path("f"), Change::Modified(1_000)).is_ok())),
        ("APPE", &|| {
            let mut upload =
                other.write(&path("f"), WriteMode::Append, Keep::Bytes(b"bob")).unwrap();
            upload.write_all(b"more").unwrap();
            upload.commit().unwrap();
        }),
    ];
    for (end, ends) in ends {
        for (change, changes) in changes {
            cut();
            changes();
            let want = if change == "nothing" { 10 } else { 0 };
            assert_eq!(kept(), Some(want), "{change}");
            fake.age_below(NOTES, 13 * 3_600);
            assert_eq!(kept(), Some(0), "{change}");
            there.sweep().unwrap();
            assert_eq!(kept(), Some(0), "{change}");
            ends();
            // A file that another program has put there since is not the one of the server.
            let is_proved = end != "STOR" || matches!(change, "nothing" | "MFMT" | "APPE");
            assert_eq!(kept(), if is_proved { None } else { Some(0) }, "{change}, {end}");
            let _ = other.remove(&path("f"));
            assert_eq!(kept(), None);
        }
    }
}

/// Stores a file of another user.
fn put_by(storage: &S3Storage, name: &str) {
    let mut upload = storage.write(&path(name), WriteMode::Replace, Keep::Bytes(b"bob")).unwrap();
    upload.write_all(b"by bob").unwrap();
    upload.commit().unwrap();
}
