//! Searches before a transfer, which keep a processor busy.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ftp_server::{
    Ask, AuthError, Authenticator, Capabilities, Confine, Entries, Entry, EntryKind, Keep, Login,
    LoginAttempt, Metadata, Rights, RoomFor, Server, Source, Space, Storage, StorageError,
    StorageErrorKind, Unfinished, Upload, VirtualPath, WriteMode,
};
use ftp_tests::raw::{DEADLINE, RawSession};

/// The number of reads for a session.
type Reads = Arc<AtomicU64>;

/// A storage with one endless file, and a directory without a match for any pattern.
struct Endless(Reads);

fn metadata(kind: EntryKind) -> Metadata {
    Metadata::new(kind).size(1 << 60).mode(0o644)
}

impl Storage for Endless {
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn confine(&self) -> Confine<'_> {
        Confine::Neutral
    }

    fn unfinished(
        &self,
        _: &VirtualPath,
        _: Option<&[u8]>,
    ) -> Result<Option<Unfinished>, StorageError> {
        Ok(None)
    }

    fn kept(&self, _: &VirtualPath, _: Option<&[u8]>) -> Result<Box<dyn Source>, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }

    fn forget(
        &self,
        _: &VirtualPath,
        _: Option<&[u8]>,
    ) -> Result<Option<Unfinished>, StorageError> {
        Ok(None)
    }

    fn space(&self, _: &VirtualPath, _: RoomFor) -> Result<Space, StorageError> {
        Ok(Space::default())
    }

    fn stat(&self, path: &VirtualPath, _: Ask) -> Result<Metadata, StorageError> {
        if path.name().is_some_and(|name| name.starts_with(b"*")) {
            return Err(StorageErrorKind::NotFound.into());
        }
        let is_root = path.name().is_none();
        Ok(metadata(if is_root { EntryKind::Directory } else { EntryKind::File }))
    }

    fn list(&self, _path: &VirtualPath, _: Ask) -> Result<Entries, StorageError> {
        let reads = Arc::clone(&self.0);
        Ok(Entries::new((0_u64..).map(move |_| {
            reads.fetch_add(1, Ordering::SeqCst);
            Ok(Entry::new("hay", metadata(EntryKind::File)))
        })))
    }

    fn read(&self, _path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        Ok(Box::new(EndlessFile(Arc::clone(&self.0))))
    }

    fn write(
        &self,
        _: &VirtualPath,
        _: WriteMode,
        _: Keep<'_>,
    ) -> Result<Box<dyn Upload>, StorageError> {
        Err(StorageErrorKind::Denied.into())
    }
}

struct EndlessFile(Reads);

impl Read for EndlessFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.fetch_add(1, Ordering::SeqCst);
        buffer.fill(b'x');
        Ok(buffer.len())
    }
}

impl Source for EndlessFile {
    fn size(&self) -> u64 {
        1 << 60
    }

    fn seek_to(&mut self, _offset: u64) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Each user has a storage with its number.
struct Users(Vec<Reads>);

impl Authenticator for Users {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        let number: usize = std::str::from_utf8(attempt.user).unwrap().parse().unwrap();
        Ok(Login::new(Arc::new(Endless(Arc::clone(&self.0[number]))), Rights::FULL))
    }
}

#[test]
fn the_sessions_of_a_client_search_one_at_a_time_cm_101_ls_27_hs_37() {
    let reads: Vec<Reads> = (0..6).map(|_| Reads::default()).collect();
    let builder = Server::builder().config(super::quick()).authenticator(Users(reads.clone()));
    let server = builder.bind("127.0.0.1:0").expect("a server");
    let begin = |number: usize, line: &str| {
        let mut session = RawSession::login(server.local_addr(), &number.to_string(), "p");
        session.expect("TYPE A", 200);
        session.expect("PASV", 227);
        if line.starts_with("RETR") {
            session.expect(format!("REST {}", 1_u64 << 58), 350);
        }
        session.line(line);
        session
    };
    let now = |number: usize| reads[number].load(Ordering::SeqCst);
    let lines = ["RETR f", "LIST *.txt", "NLST *.txt", "STAT *.txt", "RETR f", "LIST *.txt"];
    let mut sessions: Vec<_> =
        lines.iter().enumerate().map(|(number, line)| begin(number, line)).collect();
    let end = Instant::now() + DEADLINE;
    let wait = || {
        assert!(Instant::now() < end, "{:?}", (0..6).map(now).collect::<Vec<_>>());
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    };
    let alone = |left: &[usize]| loop {
        // The searches that progress while another one makes a hundred reads. A search that needs
        // no turn progresses in each of the twenty waits, even on a busy computer.
        let before: Vec<_> = left.iter().map(|number| now(*number)).collect();
        let since = |at: usize| now(left[at]) - before[at];
        (0..20).for_each(|_| wait());
        while !(0..left.len()).any(|at| since(at) > 100) {
            wait();
        }
        let busy: Vec<_> = (0..left.len()).filter(|at| since(*at) > 0).collect();
        if let [at] = busy[..] {
            return left[at];
        }
        wait();
    };
    // All begin, and one progresses. When it ends, another one does.
    let mut left: Vec<_> = (0..6).collect();
    while left.len() > 1 {
        let number = alone(&left);
        let session = &mut sessions[number];
        session.send("ABOR\r\n");
        session.expect_reply(426);
        session.expect_reply(226);
        session.expect_in_step();
        left.retain(|other| *other != number);
    }
    assert_eq!(alone(&left), left[0]);
}
