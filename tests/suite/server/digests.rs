//! HASH (draft-bryan-ftpext-hash-02).

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ftp_server::{
    Activity, LocalStorage, Rights, Server, Source, Storage, StorageError, VirtualPath,
    forward_storage,
};
use ftp_tests::raw::RawSession;
use ftp_tests::wait::{patiently, wait_until};

use super::events::address;
use super::{CUT, Fixture, play};

const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// Makes a sparse file of `size` bytes.
fn sparse(fixture: &Fixture, name: &str, size: u64) {
    let file = std::fs::File::create(fixture.path(name)).expect("a file");
    file.set_len(size).expect("a sparse file");
}

#[test]
fn hash_returns_the_digest_of_a_file_cm_126() {
    let fixture = Fixture::with(|builder| builder.user("lister", "p", Rights::LIST));
    fixture.write("a b", "hello");
    fixture.write("empty", "");
    std::fs::create_dir(fixture.path("d")).expect("a directory");
    let mut session = fixture.session();
    // The digest covers the bytes, whatever the type.
    for kind in ["TYPE A", "TYPE I"] {
        session.expect(kind, 200);
        let want = format!("213 SHA-256 0-4 {HELLO} ../a b\r\n");
        assert_eq!(session.expect("HASH ../a b", 213).bytes, want.as_bytes());
    }
    let empty = session.expect("HASH empty", 213).text();
    assert!(empty.starts_with("213 SHA-256 0-0 e3b0c44298fc1c14"), "{empty}");
    play(
        &mut session,
        &[("HASH", 501), ("HASH nowhere", 550), ("HASH d", 553), ("HASH .ftp-upload-0", 550)],
    );
    let mut lister = RawSession::login(fixture.server.local_addr(), "lister", "p");
    lister.expect("HASH a b", 550);
    assert!(!lister.expect("FEAT", 211).text().contains("HASH"), "CM-137");
    for verb in ["XSHA", "XSHA512", "RANG", "COMB", "DSIZ"] {
        session.expect(format!("{verb} a b"), 502);
    }
    lister.expect("XCRC a b", 550);
}

#[test]
fn older_digest_commands_have_a_path_and_perhaps_a_range_cm_127() {
    let fixture = Fixture::new();
    fixture.write("a b", "hello");
    fixture.write("a", "other");
    let mut session = fixture.session();
    let whole = HELLO.to_uppercase();
    for (line, want) in [
        ("XCRC a b", "3610A686"),
        ("XCRC \"a b\"", "3610A686"),
        ("XCRC \"a b\" 1", "7834B20B"),
        ("XCRC \"a b\" 5 5", "00000000"),
        ("XMD5 a b", "5D41402ABC4B2A76B9719D911017C592"),
        ("XSHA1 a b", "AAF4C61DDCC5E8A2DABEDE0F3B482CD9AEA9434D"),
        ("XSHA256 \"a b\" 0 5", &whole),
    ] {
        assert_eq!(session.expect(line, 250).text(), format!("250 {want}"), "{line}");
    }
    play(
        &mut session,
        &[
            // Without quotes, this is another file.
            ("XCRC a 1", 550),
            ("XCRC \"a\" 0 6", 501),
            ("XCRC \"a\" 6", 501),
            ("XCRC \"a\" 3 2", 501),
            ("XCRC", 501),
        ],
    );
}

#[test]
fn opts_hash_chooses_the_algorithm_cm_57_cm_138() {
    let fixture = Fixture::new();
    fixture.write("a", "hello");
    let mut session = fixture.session();
    for (line, want) in
        [("OPTS HASH", "200 SHA-256"), ("OPTS hash sha-1", "200 SHA-1"), ("OPTS HASH", "200 SHA-1")]
    {
        assert_eq!(session.expect(line, 200).text(), want);
    }
    play(&mut session, &[("OPTS HASH MD5", 501), ("OPTS HASH CRC-37", 501), ("OPTS HASH ?", 501)]);
    let digest = session.expect("HASH a", 213).text();
    assert_eq!(digest, "213 SHA-1 0-4 aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d a");
    let features = session.expect("FEAT", 211).text();
    assert!(features.contains(" HASH SHA-256;SHA-512;SHA-1*;"), "{features}");
    session.expect("OPTS HASH SHA-512", 200);
    let digest = session.expect("HASH a", 213).text();
    assert!(digest.starts_with("213 SHA-512 0-4 9b71d224bd62f378"), "{digest}");
    let mut greeted = fixture.greeted();
    greeted.expect("OPTS HASH", 200);
    greeted.expect("HASH a", 530);
}

/// A storage whose file `large` has no bytes ready: its digest ends with its client, or after a
/// minute.
struct Slow(LocalStorage);

struct Unready(Box<dyn Source>);

impl Storage for Slow {
    forward_storage!(self, self.0; capabilities, confine, stat, list, write);
    forward_storage!(self, self.0; unfinished, kept, forget, space);

    fn read(&self, path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        let source = self.0.read(path)?;
        let is_slow = path.name() == Some(b"large");
        Ok(if is_slow { Box::new(Unready(source)) } else { source })
    }
}

impl Read for Unready {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Source for Unready {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn seek_to(&mut self, offset: u64) -> Result<(), StorageError> {
        self.0.seek_to(offset)
    }

    fn ready(&mut self) -> Result<bool, StorageError> {
        Ok(false)
    }
}

/// Returns a server with the files `small` and `large`.
fn slow() -> Fixture {
    let root = tempfile::tempdir().expect("a directory");
    let storage = Slow(LocalStorage::open(root.path()).expect("a storage"));
    let builder = Server::builder().config(super::quick()).storage(storage);
    let builder = builder.user("u", "p", Rights::FULL).user("reader", "p", Rights::READ);
    let fixture = Fixture { root, server: builder.bind("127.0.0.1:0").expect("a server") };
    fixture.write("small", "hello");
    fixture.write("large", "hello");
    fixture
}

/// Returns a session with a running digest of `large`.
fn digesting(server: &Server, from: [u8; 4]) -> RawSession {
    let mut busy = RawSession::login_from(from.into(), server.local_addr(), "u", "p");
    busy.line("HASH large");
    let own = address(&busy);
    wait_until("the digest runs", || {
        let sessions = server.sessions();
        let of_busy = sessions.into_iter().find(|session| session.peer == own);
        of_busy.is_some_and(|busy| matches!(busy.activity, Activity::Transfer { .. }))
    });
    busy
}

#[test]
fn oversized_and_excess_digests_are_refused_cm_126_hs_37() {
    let fixture = slow();
    sparse(&fixture, "vast", 100 << 30);
    let mut session = fixture.session();
    for _ in 0..100 {
        session.expect("HASH vast", 556);
    }
    let address = fixture.server.local_addr();
    let mut busy: Vec<_> =
        [[127, 0, 0, 1], [127, 0, 0, 2]].map(|from| digesting(&fixture.server, from)).into();
    session.expect("HASH small", 450);
    session.expect("NOOP", 200);
    // Both give way to a host that holds no place.
    let mut third = RawSession::login_from([127, 0, 0, 3].into(), address, "u", "p");
    let begun = Instant::now();
    third.expect("HASH small", 213);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    // One digest is aborted by its client, the other loses its client.
    let mut aborted = busy.pop().expect("two of them");
    aborted.expect("ABOR", 426);
    aborted.expect_reply(226);
    aborted.expect("HASH small", 213);
    drop(busy);
    let begun = Instant::now();
    let _second = digesting(&fixture.server, [127, 0, 0, 2]);
    wait_until("the digest ends with its session", || {
        let code = session.ask("HASH small").code;
        assert!([213, 450].contains(&code), "{code}");
        code == 213
    });
    // Any digest ends after a minute.
    assert!(begun.elapsed() < Duration::from_secs(50), "a digest outlives its session");
}

#[test]
fn one_host_cannot_use_every_digest_slot_cm_126_hs_37() {
    let fixture = slow();
    let address = fixture.server.local_addr();
    let mut busy = digesting(&fixture.server, [127, 0, 0, 1]);
    let mut same = fixture.session();
    same.expect("HASH small", 450);
    let mut other = RawSession::login_from([127, 0, 0, 2].into(), address, "reader", "p");
    other.expect("HASH small", 213);
    busy.expect("ABOR", 426);
    busy.expect_reply(226);
    same.expect("HASH small", 213);
}

#[test]
fn an_aborted_hash_closes_the_passive_listener_dc_43() {
    let fixture = slow();
    let mut session = fixture.session();
    session.expect("PASV", 227);
    session.send("HASH large\r\nSTAT\r\nABOR\r\n");
    // FR-26: STAT waits, because no transfer is running that it could report at once.
    for code in [426, 226, 211] {
        session.expect_reply(code);
    }
    session.expect("ABOR", 225);
}

#[test]
fn pipelined_commands_wait_for_a_hash_cm_126_dc_47() {
    let fixture = Fixture::new();
    fixture.write("a", vec![0; 1 << 20]);
    let mut session = fixture.session();
    session.send("HASH a\r\nPWD\r\nHASH nowhere\r\nNOOP\r\n");
    for code in [213, 257, 550, 200] {
        session.expect_reply(code);
    }
    session.expect_in_step();
}

#[test]
fn a_shutdown_ends_a_running_hash_st_13() {
    patiently(CUT, |_| {
        let Fixture { root: _root, server } = slow();
        let mut session = digesting(&server, [127, 0, 0, 1]);
        let report = server.shutdown(Duration::ZERO);
        assert_eq!(report.cut + report.stuck, 1);
        session.expect_reply(426);
        session.expect_reply(421);
        session.expect_closed();
    });
}
