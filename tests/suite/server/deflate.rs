//! Mode Z: what it serves, its faults and its limits. Another user of zlib is the other side.

use std::io::{Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use ftp_server::{LocalConfig, LocalStorage, Login, Rights, Server, UserLimits, UserTable};
use ftp_tests::content::{binary, text};
use ftp_tests::raw::RawSession;

use super::{Fixture, play, quick};

pub(super) fn deflated(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).expect("a vector takes it");
    encoder.finish().expect("a vector takes it")
}

#[track_caller]
pub(super) fn inflated(data: &[u8]) -> Vec<u8> {
    let (mut plain, mut decoder) = (Vec::new(), ZlibDecoder::new(data));
    decoder.read_to_end(&mut plain).expect("one whole stream");
    assert_eq!(decoder.total_in(), data.len() as u64, "nothing follows the stream");
    plain
}

fn serving() -> Fixture {
    Fixture::configured(quick().compression(true))
}

/// Returns a session in type image and mode Z.
fn in_mode_z(fixture: &Fixture) -> RawSession {
    let mut session = fixture.session();
    play(&mut session, &[("TYPE I", 200), ("MODE Z", 200)]);
    session
}

/// Sends `data` to `command`, unchanged; returns the final code.
#[track_caller]
fn send(session: &mut RawSession, command: &str, data: &[u8]) -> u16 {
    let stream = session.passive();
    session.expect(command, 150);
    // The server may end it before it has read all.
    let _ = stream.stream().write_all(data);
    stream.close();
    session.reply().code
}

#[test]
fn mode_z_is_served_only_if_the_configuration_allows_it_cm_34_cm_137() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let dialogue = [("MODE Z", 504), ("OPTS MODE Z LEVEL 3", 501), ("STAT", 211)];
    play(&mut session, &dialogue);
    assert!(!session.expect("FEAT", 211).text().contains("MODE Z"));

    let fixture = serving();
    let mut session = fixture.session();
    assert!(session.expect("FEAT", 211).text().contains("\n MODE Z\n"));
    assert!(session.expect("HELP MODE", 214).text().contains("MODE S | B | Z"));
    assert!(session.expect("HELP OPTS", 214).text().contains("MODE Z [LEVEL <n>]"));
    let dialogue = [
        ("mode z", 200),
        ("MODE C", 504),
        ("OPTS MODE Z", 200),
        ("OPTS MODE Z LEVEL 9", 200),
        ("OPTS mode z level 0 engine zlib", 200),
        ("OPTS MODE Z LEVEL 10", 501),
        ("OPTS MODE Z LEVEL", 501),
        ("OPTS MODE Z BLOCKHDR ON", 501),
    ];
    play(&mut session, &dialogue);
    assert!(session.expect("STAT", 211).text().contains("MODE Z"));
    session.expect("REIN", 220);
    play(&mut session, &[("USER u", 331), ("PASS p", 230)]);
    assert!(session.expect("STAT", 211).text().contains("MODE S"));
}

#[test]
fn mode_z_offsets_count_uncompressed_bytes_cm_142() {
    let fixture = serving();
    for level in [0, 1, 6, 9] {
        let mut session = in_mode_z(&fixture);
        session.expect(format!("OPTS MODE Z LEVEL {level}"), 200);
        for content in [Vec::new(), b"x".to_vec(), binary(300_000, 1), text(300_000, 2)] {
            session.upload("STOR a", &deflated(&content));
            assert!(fixture.read("a") == content, "stored");
            let sent = session.download("RETR a");
            assert!(inflated(&sent) == content, "sent");
            if level == 0 {
                assert!(sent.len() > content.len());
            }
            if content.len() < 2 {
                continue;
            }
            session.expect("REST 100000", 350);
            assert!(inflated(&session.download("RETR a")) == content[100_000..], "resumed");
            std::fs::write(fixture.path("a"), &content[..1_000]).expect("a file");
            session.upload("APPE a", &deflated(&content[1_000..]));
            assert!(fixture.read("a") == content, "appended");
            session.expect("REST 5", 350);
            session.upload("STOR a", &deflated(b"67890"));
            assert_eq!(fixture.read("a"), [&content[..5], b"67890"].concat());
        }
        session.expect("MODE S", 200);
        fixture.write("a", "plain");
        assert_eq!(session.download("RETR a"), b"plain");
    }
}

#[test]
fn mode_z_compresses_listings_and_ascii_files_cm_142() {
    let fixture = serving();
    fixture.write("lines", "1\n2\n");
    let mut session = in_mode_z(&fixture);
    for command in ["LIST", "MLSD", "NLST"] {
        let listing = inflated(&session.download(command));
        assert!(listing.ends_with(b"lines\r\n"), "{command}");
    }
    std::fs::create_dir(fixture.path("empty")).expect("a directory");
    assert_eq!(inflated(&session.download("NLST empty")), b"");
    session.expect("TYPE A", 200);
    assert_eq!(inflated(&session.download("RETR lines")), b"1\r\n2\r\n");
    session.upload("STOR lines", &deflated(b"3\r\n4\r\n"));
    assert_eq!(fixture.read("lines"), b"3\n4\n");
}

#[test]
fn incomplete_and_invalid_deflate_streams_are_never_stored_cm_143_hd_23() {
    let fixture = serving();
    let whole = deflated(&text(5_000, 3));
    let mut wrong = whole.clone();
    *wrong.last_mut().expect("a checksum") ^= 1;
    let cases: [(&str, &[u8], u16); 6] = [
        ("cut", &whole[..whole.len() - 1], 426),
        ("nothing", b"", 426),
        ("another checksum", &wrong, 451),
        ("more", &[whole.as_slice(), b"x"].concat(), 451),
        ("twice", &[whole.as_slice(), &whole].concat(), 451),
        ("plain", b"hello, this is not compressed", 451),
    ];
    fixture.write("old", "old");
    let mut session = in_mode_z(&fixture);
    for (what, data, code) in cases {
        for name in ["new", "old"] {
            assert_eq!(send(&mut session, &format!("STOR {name}"), data), code, "{what}");
        }
        fixture.write("appended", "old");
        assert_eq!(send(&mut session, "APPE appended", data), code, "{what}");
        assert_eq!(fixture.read("appended"), b"old", "{what}");
        session.expect("DELE appended", 250);
        assert_eq!(fixture.published(), ["old"], "{what}");
        assert_eq!(fixture.read("old"), b"old", "{what}");
    }
}

#[test]
fn an_interrupted_upload_is_resumed_and_a_corrupt_one_is_discarded_cm_143() {
    let fixture = serving();
    let content = text(200_000, 4);
    let whole = deflated(&content);
    let mut session = in_mode_z(&fixture);
    assert_eq!(send(&mut session, "STOR a", &whole[..whole.len() / 2]), 426);
    let size = session.expect("SIZE a", 213).text();
    let offset: usize = size.split(' ').nth(1).expect("a size").parse().expect("a number");
    assert!(offset > 0 && offset < content.len(), "{offset}");
    session.expect(format!("REST {offset}"), 350);
    session.upload("STOR a", &deflated(&content[offset..]));
    assert!(fixture.read("a") == content);
    let mut wrong = whole;
    *wrong.last_mut().expect("a checksum") ^= 1;
    assert_eq!(send(&mut session, "STOR b", &wrong), 451);
    session.expect("SIZE b", 550);
    assert_eq!(fixture.published(), ["a"]);
}

#[test]
fn limits_count_decompressed_bytes_cm_54_hd_24() {
    let bomb = deflated(&vec![0; 20_000_000]);
    assert!(bomb.len() < 30_000);
    let root = tempfile::tempdir().expect("a directory");
    let storage = |quota| {
        let config = LocalConfig::new().quota(quota);
        let storage = LocalStorage::open(root.path()).expect("a root");
        Arc::new(storage.configured(config).expect("a storage"))
    };
    let sized = Login::new(storage(0), Rights::FULL);
    let sized = sized.limits(UserLimits::default().file_size(1_000_000));
    let table = UserTable::new()
        .user("sized", "p", sized)
        .user("quota", "p", Login::new(storage(1_000_000), Rights::FULL))
        .user("free", "p", Login::new(storage(0), Rights::FULL));
    let config = quick().compression(true);
    let server = Server::builder().config(config).authenticator(table).bind("127.0.0.1:0");
    let server = server.expect("a server");
    for (user, code) in [("sized", 552), ("quota", 552), ("free", 226)] {
        let mut session = RawSession::login(server.local_addr(), user, "p");
        play(&mut session, &[("TYPE I", 200), ("MODE Z", 200)]);
        assert_eq!(send(&mut session, "STOR bomb", &bomb), code, "{user}");
    }
    let stored = std::fs::metadata(root.path().join("bomb")).expect("the ratio is no error");
    assert_eq!(stored.len(), 20_000_000);
}
