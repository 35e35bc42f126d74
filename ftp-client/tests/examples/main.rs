//! The programs in `examples/`, and trees as other programs use them, run with our server.
#![cfg(target_os = "linux")]
#![allow(dead_code, reason = "their main functions are for people who try them")]
#![expect(clippy::unwrap_used, reason = "what tests call panics as they do")]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ftp_client::file::{Checksum, HashAlgorithm};
use ftp_client::{Canceller, Client, Error, Event, FtpUrl, Pool, Retry, get};
use ftp_server::testing::{Fault, FaultStorage, StorageCall};
use ftp_server::{Limits, MemoryStorage, Rights, Server, ServerConfig, StorageErrorKind};
use ftp_tests::content::binary;
use ftp_tests::port::OwnPort;
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::wait::patiently;

#[path = "../../examples/active.rs"]
mod active;
#[path = "../../examples/bar.rs"]
mod bar;
#[path = "../../examples/cancel.rs"]
mod cancel;
#[cfg(feature = "tls")]
#[path = "../../examples/client_test.rs"]
mod client_test;
#[path = "../../examples/download.rs"]
mod download;
#[path = "../../examples/errors.rs"]
mod errors;
#[path = "../../examples/files.rs"]
mod files;
#[path = "../../examples/fxp.rs"]
mod fxp;
#[path = "../../examples/get_put.rs"]
mod get_put;
#[path = "../../examples/list.rs"]
mod list;
#[path = "../../examples/owned.rs"]
mod owned;
#[path = "../../examples/pool.rs"]
mod pool;
#[path = "../../examples/progress.rs"]
mod progress;
#[path = "../../examples/proxy.rs"]
mod proxy;
#[path = "../../examples/queue.rs"]
mod queue;
#[path = "../../examples/resume.rs"]
mod resume;
#[path = "../../examples/sync.rs"]
mod sync;
mod trees;
#[path = "../../examples/upload.rs"]
mod upload;

/// A server, a local directory, and the content of a file.
struct Bench {
    server: OurServer,
    here: TempRoot,
    content: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        Self { server: OurServer::start(), here: TempRoot::new(), content: binary(300_001, 5) }
    }

    /// Returns a bench whose server has the file `a.bin`.
    fn with_a_file() -> Self {
        let bench = Self::new();
        bench.server.root.write("a.bin", &bench.content);
        bench
    }

    fn url(&self, name: &str) -> FtpUrl {
        self.server.url(name).parse().unwrap()
    }

    fn pool(&self) -> Pool<'static> {
        let address = self.server.address.to_string();
        let (user, password) = (self.server.user, self.server.password);
        Pool::new(move || {
            let mut client = Client::builder().connect(&address)?;
            client.login(user, password).map(|()| client)
        })
    }

    fn local(&self, name: &str) -> String {
        self.here.join(name).to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn has_come(&self) {
        assert!(self.here.read("a.bin") == self.content, "another file came");
        assert_eq!(self.here.names(), [b"a.bin"]);
    }

    #[track_caller]
    fn was_sent(&self) {
        assert!(self.server.root.read("a.bin") == self.content, "another file was sent");
    }
}

#[test]
fn download_has_the_whole_file_or_none() {
    let bench = Bench::with_a_file();
    download::download(&bench.url("a.bin"), &bench.local("a.bin")).unwrap();
    bench.has_come();
    assert!(download::download(&bench.url("b.bin"), &bench.local("a.bin")).is_err());
    assert!(bench.here.read("a.bin") == bench.content);
}

#[test]
fn upload_sends_all_bytes_of_a_reader() {
    let bench = Bench::new();
    upload::upload(&bench.url("a.bin"), &mut bench.content.as_slice()).unwrap();
    bench.was_sent();
}

#[test]
fn resume_keeps_only_proved_bytes() {
    let bench = Bench::with_a_file();
    // Without a record, nothing proves the bytes of a shorter file, but a digest proves the whole.
    for (here, kept) in [(0, 0), (1, 0), (200_000, 0), (300_001, 300_001)] {
        bench.here.write("a.bin", &bench.content[..here]);
        let moved = resume::resume(&bench.url("a.bin"), &bench.local("a.bin")).unwrap();
        assert_eq!(moved, u64::try_from(bench.content.len() - kept).unwrap(), "{here}");
        bench.has_come();
    }
    // A longer local file belongs to another file.
    bench.here.write("a.bin", &[0; 400_000]);
    resume::resume(&bench.url("a.bin"), &bench.local("a.bin")).unwrap();
    bench.has_come();
}

#[test]
fn list_finds_all_files_and_directories() {
    let bench = Bench::new();
    bench.server.root.write("a", b"1");
    bench.server.root.write("sub/b", b"22");
    bench.server.root.write("sub/deeper/c", b"");
    bench.server.root.mkdir("empty");
    let mut found = Vec::new();
    list::list(&bench.url(""), &mut found).unwrap();
    let found = String::from_utf8(found).unwrap();
    let mut lines: Vec<_> = found.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a 1", "empty/", "sub/", "sub/b 2", "sub/deeper/", "sub/deeper/c 0"]);
}

#[test]
fn active_downloads_with_given_ports_and_address() {
    let bench = Bench::with_a_file();
    // Instead of a NAT, this bench has a name for the address.
    let free = OwnPort::claim();
    let ports = format!("{},50000-50999", free.number());
    active::download(&bench.url("a.bin"), &bench.local("a.bin"), &ports, "localhost").unwrap();
    bench.has_come();
}

#[test]
fn fxp_copies_between_two_servers() {
    // Both servers are on one host; elsewhere they would have to allow the copy.
    let (source, target) = (Bench::with_a_file(), Bench::new());
    fxp::copy(&source.url("a.bin"), &target.url("a.bin")).unwrap();
    assert!(target.server.root.read("a.bin") == source.content);
}

#[test]
fn bar_fills_and_a_cancelled_download_is_resumed() {
    // The whole download would take a second.
    let config = ServerConfig::new().limits(Limits::new().rate_per_session(300_000));
    let bench = Bench { server: OurServer::with(config), ..Bench::new() };
    bench.server.root.write("a.bin", &bench.content);
    let canceller = Canceller::new().unwrap();
    let (button, shown) = (canceller.clone(), Mutex::new(Vec::new()));
    // The button is pressed as soon as bytes have come.
    let show = |bar: &str| {
        shown.lock().unwrap().push(bar.to_owned());
        button.cancel();
    };
    let url = bench.url("a.bin");
    assert!(!bar::download(&url, &bench.local("a.bin"), canceller, show).unwrap());
    assert!(!bench.here.names().contains(&b"a.bin".to_vec()));
    let show = |bar: &str| shown.lock().unwrap().push(bar.to_owned());
    let again = Canceller::new().unwrap();
    assert!(bar::download(&url, &bench.local("a.bin"), again, show).unwrap());
    bench.has_come();
    let full = format!("[{}] 100 %", "=".repeat(40));
    assert_eq!(shown.into_inner().unwrap().last(), Some(&full));
}

#[test]
fn cancel_ends_a_download_that_takes_too_long() {
    // The download would take minutes.
    let config = ServerConfig::new().limits(Limits::new().rate_per_session(1_000));
    let bench = Bench { server: OurServer::with(config), ..Bench::new() };
    bench.server.root.write("a.bin", &bench.content);
    let url = bench.url("a.bin");
    // The limit counts from the connection on.
    patiently(Duration::from_millis(300), |limit| {
        assert!(!cancel::download(&url, limit).unwrap());
    });
    bench.server.root.write("a.bin", b"short");
    assert!(cancel::download(&url, Duration::from_secs(300)).unwrap());
}

#[test]
fn owned_hashes_while_it_reads_and_is_cancelled_from_another_thread() {
    let bench = Bench::with_a_file();
    let mut file = owned::Hashed::open(&bench.url("a.bin"), Canceller::new().unwrap()).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert!(bytes == bench.content);
    let mut checksum = Checksum::new(HashAlgorithm::Sha256).unwrap();
    checksum.update(&bench.content);
    assert_eq!(file.finish().unwrap(), checksum.finish());

    // The rest would take minutes.
    let config = ServerConfig::new().limits(Limits::new().rate_per_session(1_000));
    let slow = Bench { server: OurServer::with(config), ..Bench::new() };
    slow.server.root.write("a.bin", &slow.content);
    let canceller = Canceller::new().unwrap();
    let mut file = owned::Hashed::open(&slow.url("a.bin"), canceller.clone()).unwrap();
    file.read_exact(&mut [0]).unwrap();
    let other = thread::spawn(move || canceller.cancel());
    let error = io::copy(&mut file, &mut io::sink()).map_err(Error::downcast).unwrap_err();
    assert!(matches!(error, Ok(Error::Cancelled)), "{error:?}");
    assert!(file.finish().is_err());
    other.join().unwrap();
}

#[test]
fn errors_distinguish_a_retry_from_a_question() {
    let bench = Bench::with_a_file();
    let action = |url: &str| errors::action(&get(url, &mut Vec::new()).unwrap_err());
    let is_asked = |action: errors::Action| matches!(action, errors::Action::Ask(_));
    assert!(is_asked(action(&bench.server.url("b.bin"))));
    assert!(is_asked(action(&format!("ftp://user:wrong@{}/a.bin", bench.server.address))));
    assert!(is_asked(action("ftp://localhost/a%0ab")));
    let closed = OwnPort::claim_closed();
    assert_eq!(action(&format!("ftp://{}/a.bin", closed.address())), errors::Action::TryAgain);
    // The server has no certificate.
    assert!(is_asked(action(&format!("ftpes://{}/a.bin", bench.server.address))));
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = get(&bench.server.url("a.bin"), &mut Full).unwrap_err();
    assert!(matches!(error, Error::Local(_)));
    assert!(is_asked(errors::action(&error)));
}

#[test]
fn progress_is_shown_to_the_end() {
    let bench = Bench::new();
    bench.here.write("a.bin", &bench.content);
    let shown = Mutex::new(Vec::new());
    let show = |done, all| shown.lock().unwrap().push((done, all));
    progress::upload(&bench.local("a.bin"), &bench.url("a.bin"), show).unwrap();
    bench.was_sent();
    let (shown, all) = (shown.into_inner().unwrap(), u64::try_from(bench.content.len()).unwrap());
    assert_eq!(shown.last(), Some(&(all, all)));
    assert!(shown.len() > 1 && shown.is_sorted());
}

#[test]
fn queue_leaves_a_part_that_it_did_not_write() {
    let bench = Bench::with_a_file();
    bench.server.root.write("b.bin", b"another");
    bench.here.write("a.bin.part", &bench.content[..100_000]);
    let queue = Retry::new(Client::builder(), bench.server.address.to_string())
        .login(bench.server.user, bench.server.password);
    let names = ["a.bin".to_owned(), "b.bin".to_owned()];
    queue::download(queue, &names, bench.here.path()).unwrap();
    assert_eq!(bench.here.names(), [&b"a.bin"[..], b"a.bin.part", b"b.bin"]);
    assert!(bench.here.read("a.bin") == bench.content);
    assert_eq!(bench.here.read("b.bin"), b"another");
    assert_eq!(bench.here.read("a.bin.part").len(), 100_000);
}

#[test]
fn queue_shows_why_and_when_the_next_attempt_follows() {
    let bench = Bench::with_a_file();
    // The first download is told to try again.
    let storage = FaultStorage::new(MemoryStorage::new());
    let storage = storage.at(StorageCall::Read, 1, Fault::Fail(StorageErrorKind::Busy));
    let server = Server::builder().storage(storage).user("u", "p", Rights::FULL);
    let server = server.bind("127.0.0.1:0").unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&said);
    let pause = Duration::from_millis(1);
    let mut queue = Retry::new(Client::builder(), server.local_addr().to_string())
        .login("u", "p")
        .pauses(pause, pause)
        .observer(move |event: Event<'_>| {
            if let Event::Retry { .. } = event {
                told.lock().unwrap().push(format!("{event:?}"));
            }
        });
    queue.run(|client| client.store("a.bin")?.finish().map(drop)).unwrap();
    queue::download(queue, &["a.bin".to_owned()], bench.here.path()).unwrap();
    let said = said.lock().unwrap();
    assert!(matches!(&said[..], [only] if only.contains("attempt: 2") && only.contains("450")));
}

#[test]
fn files_copies_files_and_trees_both_ways() {
    let bench = Bench::with_a_file();
    let run =
        |action, local, path| files::run(action, &bench.local(local), &bench.url(path)).unwrap();
    assert_eq!(run("get", "b.bin", "a.bin"), "300001 bytes, 0 from an earlier run");
    assert_eq!(run("put", "b.bin", "c.bin"), "300001 bytes, 0 from an earlier run");
    assert_eq!(bench.server.root.read("c.bin"), bench.content);
    bench.server.root.write("tree/b.bin", &bench.content);
    assert_eq!(run("down", "copy", "tree"), "1 files copied");
    assert_eq!(run("up", "copy", "second"), "1 files copied");
    assert_eq!(bench.server.root.read("second/b.bin"), bench.content);
}

#[test]
fn sync_makes_a_directory_of_a_server_equal_to_a_local_one() {
    let bench = Bench::new();
    bench.here.write("site/index.html", b"new");
    bench.here.write("site/img/logo.png", &bench.content);
    bench.server.root.write("www/index.html", b"old one");
    bench.server.root.write("www/old/page.html", b"gone");
    let done = sync::upload_site(&bench.local("site"), &bench.pool().size(4), "www").unwrap();
    assert_eq!((done.copied, done.removed, done.failed), (2, 2, 0));
    assert_eq!(bench.server.root.read("www/index.html"), b"new");
    assert_eq!(bench.server.root.read("www/img/logo.png"), bench.content);
    assert!(!bench.server.root.join("www/old").exists());
}

#[test]
fn pool_downloads_over_as_many_connections_as_the_server_accepts() {
    for most in [1, 2, 9] {
        let config = ServerConfig::new().limits(Limits::new().per_user(most));
        let bench = Bench { server: OurServer::with(config), ..Bench::new() };
        let names: Vec<String> = (0..20).map(|number| format!("f{number}")).collect();
        for name in &names {
            bench.server.root.write(name, name.as_bytes());
        }
        pool::download(&bench.pool().size(4), &names, bench.here.path()).unwrap();
        for name in &names {
            assert_eq!(bench.here.read(name), name.as_bytes());
        }
    }
}

#[test]
fn proxy_carries_every_connection() {
    let bench = Bench::with_a_file();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    // One control and one data connection.
    let proxy = thread::spawn(move || {
        let relays: Vec<_> = (0..2).map(|_| relay(listener.accept().unwrap().0)).collect();
        relays.into_iter().flatten().for_each(|thread| thread.join().unwrap());
    });
    // A name that only the proxy knows.
    let url = bench.server.url("a.bin").replace("127.0.0.1", "inside.invalid");
    proxy::download(at.parse().unwrap(), &url.parse().unwrap(), &bench.local("a.bin")).unwrap();
    bench.has_come();
    proxy.join().unwrap();
}

/// Does what one `CONNECT` asks for.
fn relay(client: TcpStream) -> [thread::JoinHandle<()>; 2] {
    let mut client = BufReader::new(client);
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    let port = line.strip_prefix("CONNECT inside.invalid:").unwrap();
    let port: u16 = port.strip_suffix(" HTTP/1.1\r\n").unwrap().parse().unwrap();
    while line != "\r\n" {
        line.clear();
        client.read_line(&mut line).unwrap();
    }
    let mut client = client.into_inner();
    let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
    let pump = |mut from: TcpStream, mut to: TcpStream| {
        thread::spawn(move || {
            // Each side sees how the other one ends.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        })
    };
    [pump(client.try_clone().unwrap(), server.try_clone().unwrap()), pump(server, client)]
}

#[test]
fn get_put_copies_through_memory() {
    let source = Bench::with_a_file();
    let target = Bench::new();
    let moved = get_put::copy(&source.server.url("a.bin"), &target.server.url("a.bin")).unwrap();
    assert_eq!(moved, u64::try_from(source.content.len()).unwrap());
    assert!(target.server.root.read("a.bin") == source.content);
}

#[cfg(feature = "tls")]
#[test]
fn client_test_passes() {
    client_test::a_report_arrives_whole_though_the_first_upload_is_cut().unwrap();
}

#[test]
fn every_example_has_a_test() {
    let source = include_str!("main.rs");
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let test = format!("fn {}_", name.strip_suffix(".rs").unwrap());
        assert!(source.contains(&test), "{name} has no test");
    }
}
