//! Mode B: files in blocks, many over one data connection. The blocks are made and read by a few
//! lines here.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use ftp_server::{LocalStorage, Login, Rights, Server, UserLimits, UserTable};
use ftp_tests::content::{binary, text};
use ftp_tests::raw::{RawData, RawSession};

use super::{Fixture, play, quick};

const END_OF_RECORD: u8 = 128;
const END_OF_FILE: u8 = 64;
const SUSPECT: u8 = 32;
const MARKER: u8 = 16;

fn block(descriptor: u8, data: &[u8]) -> Vec<u8> {
    let count = u16::try_from(data.len()).expect("it fits into a block");
    [&[descriptor], &count.to_be_bytes()[..], data].concat()
}

/// Returns a file in blocks of up to `size` bytes.
pub(super) fn blocks(data: &[u8], size: usize) -> Vec<u8> {
    let mut all: Vec<u8> = data.chunks(size).flat_map(|data| block(0, data)).collect();
    all.extend(block(END_OF_FILE, b""));
    all
}

/// Reads one file; returns it and its restart markers, each with the position at which it came.
#[track_caller]
pub(super) fn read_file(data: &mut dyn Read) -> (Vec<u8>, Vec<(usize, String)>) {
    let (mut file, mut markers) = (Vec::new(), Vec::new());
    loop {
        let mut header = [0; 3];
        data.read_exact(&mut header).expect("a header");
        let [descriptor, high, low] = header;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        data.read_exact(&mut bytes).expect("a block");
        match descriptor {
            0 | END_OF_FILE => file.extend(bytes),
            MARKER => markers.push((file.len(), String::from_utf8(bytes).expect("digits"))),
            _ => panic!("descriptor {descriptor}"),
        }
        if descriptor == END_OF_FILE {
            return (file, markers);
        }
    }
}

/// Returns a session in type image and mode B.
fn in_mode_b(fixture: &Fixture) -> RawSession {
    let mut session = fixture.session();
    play(&mut session, &[("TYPE I", 200), ("MODE B", 200)]);
    session
}

/// Plays a download over an open data connection.
#[track_caller]
fn get(session: &mut RawSession, data: &RawData, command: &str) -> Vec<u8> {
    session.expect(command, 125);
    let (file, _) = read_file(&mut data.stream());
    session.expect_reply(250);
    file
}

/// Plays an upload over an open data connection.
#[track_caller]
fn put(session: &mut RawSession, data: &mut RawData, command: &str, content: &[u8]) {
    session.expect(command, 125);
    data.write_all(&blocks(content, 1_000));
    session.expect_reply(250);
}

/// Opens a data connection with an upload of an empty file.
#[track_caller]
fn open(session: &mut RawSession) -> RawData {
    let data = session.passive();
    session.expect("STOR opened", 150);
    data.stream().write_all(&blocks(b"", 1)).expect("an empty file");
    session.expect_reply(250);
    data
}

#[track_caller]
fn expect_end(data: &RawData) {
    let mut rest = Vec::new();
    let ended = data.stream().read_to_end(&mut rest);
    assert!(rest.is_empty() && ended.is_ok(), "{rest:?} {ended:?}");
}

#[test]
fn mode_b_is_served_unless_the_configuration_forbids_it_cm_34_cm_137() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    assert!(session.expect("FEAT", 211).text().contains("\n MODE B\n"));
    assert!(session.expect("HELP MODE", 214).text().contains("MODE S | B"));
    session.expect("mode b", 200);
    assert!(session.expect("STAT", 211).text().contains("MODE B"));
    session.expect("REIN", 220);
    play(&mut session, &[("USER u", 331), ("PASS p", 230)]);
    assert!(session.expect("STAT", 211).text().contains("MODE S"));

    let fixture = Fixture::configured(quick().block_mode(false));
    let mut session = fixture.session();
    assert!(!session.expect("FEAT", 211).text().contains("MODE"));
    play(&mut session, &[("MODE B", 504), ("MODE S", 200)]);
}

#[test]
fn many_transfers_share_one_data_connection_cm_144() {
    let fixture = Fixture::new();
    let mut session = in_mode_b(&fixture);
    let mut data = open(&mut session);
    for (index, length) in [0, 1, 999, 1_000, 70_000, 300_000].into_iter().enumerate() {
        let content = binary(length, 7);
        let name = format!("f{index}");
        put(&mut session, &mut data, &format!("STOR {name}"), &content);
        assert!(fixture.read(&name) == content, "{name}");
        assert!(get(&mut session, &data, &format!("RETR {name}")) == content, "{name}");
        if length > 500 {
            session.expect("REST 500", 350);
            assert!(get(&mut session, &data, &format!("RETR {name}")) == content[500..]);
        }
    }
    put(&mut session, &mut data, "APPE f1", b"more");
    assert_eq!(fixture.read("f1"), [binary(1, 7), b"more".to_vec()].concat());
    session.expect("REST 2", 350);
    put(&mut session, &mut data, "STOR f1", b"!");
    assert_eq!(fixture.read("f1").get(1..), Some(&b"m!"[..]));
    let reply = session.expect("STOU", 125).text();
    data.write_all(&blocks(b"unique", 3));
    session.expect_reply(250);
    let name = reply.split("FILE: ").nth(1).expect("a name").trim_end().to_owned();
    assert_eq!(fixture.read(&name), b"unique");
    for command in ["LIST", "MLSD", "NLST"] {
        let listing = get(&mut session, &data, command);
        assert!(String::from_utf8(listing).expect("text").contains("f5\r\n"), "{command}");
    }
    // A refused download leaves the connection open.
    play(&mut session, &[("RETR missing", 550), ("LIST missing", 550)]);
    session.expect("TYPE A", 200);
    put(&mut session, &mut data, "STOR lines", b"1\r\n2\r\n");
    assert_eq!(fixture.read("lines"), b"1\n2\n");
    assert_eq!(get(&mut session, &data, "RETR lines"), b"1\r\n2\r\n");
    assert!(session.expect("STAT", 211).text().contains("Data connection open"));
    session.expect("QUIT", 221);
    expect_end(&data);
}

#[test]
fn commands_and_uploads_can_be_pipelined_cm_144() {
    let fixture = Fixture::new();
    let mut session = in_mode_b(&fixture);
    let files: Vec<Vec<u8>> = (0..40).map(|index| binary(index * 100, 8)).collect();
    let mut data = open(&mut session);
    let all: Vec<u8> = files.iter().flat_map(|file| blocks(file, 64)).collect();
    data.write_all(&all);
    let lines = |verb| (0..40).map(|index| format!("{verb} {index}\r\n")).collect::<String>();
    session.send(lines("STOR"));
    for (index, file) in files.iter().enumerate() {
        session.expect_reply(125);
        session.expect_reply(250);
        assert!(fixture.read(&index.to_string()) == *file, "{index}");
    }
    session.send(lines("RETR"));
    for file in &files {
        session.expect_reply(125);
        assert!(read_file(&mut data.stream()).0 == *file);
        session.expect_reply(250);
    }
    // A missing one does not end the others.
    session.send("RETR 1\r\nRETR missing\r\nRETR 2\r\n");
    for code in [125, 250, 550, 125, 250] {
        session.expect_reply(code);
    }
    assert!(read_file(&mut data.stream()).0 == files[1]);
    assert!(read_file(&mut data.stream()).0 == files[2]);
    // The client ends the connection together with its last file.
    data.write_all(&blocks(b"last", 9));
    data.stream().shutdown(Shutdown::Write).expect("an end");
    session.expect("STOR last", 125);
    session.expect_reply(226);
    assert_eq!(fixture.read("last"), b"last");
    session.expect("RETR last", 425);
    expect_end(&data);
}

#[test]
fn the_data_connection_closes_when_it_cannot_be_reused_cm_145() {
    let fixture = Fixture::new();
    fixture.write("a", "a");
    for (command, code) in [
        ("MODE S", 200),
        ("PASV", 227),
        ("EPSV", 229),
        ("PORT 127,0,0,1,200,1", 200),
        ("REIN", 220),
        ("ABOR", 226),
        ("QUIT", 221),
        // Its data may be on the way.
        ("STOR missing/a", 550),
        ("APPE", 501),
        ("UPLOAD a", 500),
    ] {
        let mut session = in_mode_b(&fixture);
        let data = open(&mut session);
        play(&mut session, &[("NOOP", 200), ("MODE B", 200)]);
        session.expect(command, code);
        expect_end(&data);
    }
    let mut session = in_mode_b(&fixture);
    open(&mut session).close();
    session.expect("ABOR", 226);
    session.expect("ABOR", 225);
    // A connection that the client has closed.
    open(&mut session).close();
    session.expect("RETR a", 425);
    session.expect("RETR a", 425);
    open(&mut session).close();
    session.expect("STOR b", 425);
    let data = open(&mut session);
    assert_eq!(get(&mut session, &data, "RETR a"), b"a");
}

#[test]
fn only_an_end_of_file_block_ends_an_upload_cm_145_hd_25() {
    let fixture = Fixture::new();
    let content = text(20_000, 9);
    let whole = blocks(&content, 1_000);
    let mut session = in_mode_b(&fixture);
    for cut in [0, 2, 3, 500, whole.len() - 3, whole.len() - 1] {
        let mut data = open(&mut session);
        session.expect("STOR a", 125);
        data.write_all(&whole[..cut]);
        data.close();
        let reply = session.expect_reply(426).text();
        assert!(reply.contains("end-of-file block"), "{reply}");
        assert_eq!(fixture.published(), ["opened"], "{cut}");
    }
    // What came is kept, and can be resumed.
    let size = session.expect("SIZE a", 213).text();
    // The server reports a byte less, so that no client takes the part for the file.
    assert_eq!(size, "213 19999");
    session.expect("REST 19000", 350);
    let data = session.passive();
    session.expect("STOR a", 150);
    data.stream().write_all(&blocks(&content[19_000..], 65_535)).expect("the rest");
    session.expect_reply(250);
    assert!(fixture.read("a") == content);
    // ABOR ends the transfer and the connection.
    session.expect("STOR b", 125);
    data.stream().write_all(&whole[..5_000]).expect("a part");
    session.line("ABOR");
    session.expect_reply(426);
    session.expect_reply(226);
    // By a reset, if the server has not read all.
    let ended = data.stream().read(&mut [0]);
    assert!(!ended.is_ok_and(|count| count > 0), "data after the end");
    session.expect("RETR a", 425);
}

#[test]
fn restart_markers_are_offsets_in_the_file_cm_146() {
    let fixture = Fixture::new();
    let content = binary((5 << 20) / 2, 10);
    std::fs::write(fixture.path("a"), &content).expect("a file");
    let mut session = in_mode_b(&fixture);
    let data = open(&mut session);
    for offset in [0, 1_000] {
        session.expect(format!("REST {offset}"), 350);
        session.expect("RETR a", 125);
        let (file, markers) = read_file(&mut data.stream());
        session.expect_reply(250);
        assert!(file == content[offset..]);
        assert_eq!(markers.len(), 2, "{markers:?}");
        for (at, marker) in markers {
            assert_eq!(marker, (offset + at).to_string());
        }
    }
    // The server tells the sender of an upload what its markers are here.
    session.expect("REST 10", 350);
    session.expect("STOR a", 125);
    let upload = [block(0, b"12345"), block(MARKER, b"mine"), blocks(b"67890", 9)].concat();
    data.stream().write_all(&upload).expect("an upload");
    assert_eq!(session.expect_reply(110).text(), "110 MARK mine = 15");
    session.expect_reply(250);
    assert!(fixture.read("a") == [&content[..10], b"1234567890"].concat());
    let upload = [block(0, b"ab"), block(MARKER | END_OF_FILE, b"!~")].concat();
    session.expect("APPE a", 125);
    data.stream().write_all(&upload).expect("an upload");
    assert_eq!(session.expect_reply(110).text(), "110 MARK !~ = 22");
    session.expect_reply(250);
}

#[test]
fn invalid_blocks_are_refused_and_nothing_is_stored_cm_145_hd_25() {
    let fixture = Fixture::new();
    let mut session = in_mode_b(&fixture);
    let end = block(END_OF_FILE, b"");
    let long = [b'x'; 65];
    for (what, data, text) in [
        ("plain text", b"hello, this is not in blocks".to_vec(), "in valid blocks"),
        ("unknown bit", block(8, b""), "in valid blocks"),
        ("marker without text", block(MARKER, b""), "in valid blocks"),
        ("marker with space", block(MARKER, b"a b"), "in valid blocks"),
        ("long marker", block(MARKER, &long), "in valid blocks"),
        ("empty blocks", block(0, b"").repeat(2_000), "in valid blocks"),
        ("endless markers", block(MARKER, b"m").repeat(2_000), "in valid blocks"),
        ("record", block(END_OF_RECORD, b"a"), "Records"),
        ("suspect", block(SUSPECT, b"a"), "suspected"),
    ] {
        let stream = open(&mut session);
        session.expect("STOR a", 125);
        // The server may end it before it has read all.
        let _ = stream.stream().write_all(&[block(0, b"first"), data, end.clone()].concat());
        let mut reply = session.reply();
        while reply.code == 110 {
            reply = session.reply();
        }
        assert_eq!(reply.code, 451, "{what}");
        assert!(reply.text().contains(text), "{what}: {}", reply.text());
        session.expect("RETR opened", 425);
        assert_eq!(fixture.published(), ["opened"], "{what}");
    }
}

#[test]
fn size_limits_apply_to_uploads_in_block_mode_cm_54_cm_145() {
    let fixture = Fixture::with(|builder| builder);
    let storage = LocalStorage::open(fixture.path("")).expect("a root");
    let login = Login::new(Arc::new(storage), Rights::FULL);
    let login = login.limits(UserLimits::default().file_size(100_000));
    let server = Server::builder()
        .config(quick())
        .authenticator(UserTable::new().user("u", "p", login))
        .bind("127.0.0.1:0")
        .expect("a server");
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    play(&mut session, &[("TYPE I", 200), ("MODE B", 200)]);
    let mut data = open(&mut session);
    put(&mut session, &mut data, "STOR a", &binary(100_000, 1));
    session.expect("STOR b", 125);
    // The server may end it before it has read all.
    let _ = data.stream().write_all(&blocks(&binary(200_000, 1), 65_535));
    session.expect_reply(552);
    session.expect("RETR a", 425);
    assert_eq!(fixture.published(), ["a", "opened"]);
}
