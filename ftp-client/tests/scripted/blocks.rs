//! Mode B: one data connection for several transfers, with servers that keep it open, close it, or
//! send something else.

use std::io::{Read, Write};
use std::net::TcpStream;

use ftp_client::listing::{ListOptions, ListingForm};
use ftp_client::{Client, ClientBuilder, Error, ErrorKind, Verb};
use ftp_proto::{BlockDecoder, BlockEvent, BlockFault, BlockHeader, BlockMarker};

use crate::peer::{Peer, Server, get, timeouts, was_reset};

pub(crate) fn builder() -> ClientBuilder {
    Client::builder().timeouts(timeouts()).reuse_data(true)
}

/// Returns a file in blocks, with its end.
pub(crate) fn blocks(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    BlockHeader::encode_data(content, &mut out);
    out.extend(BlockHeader::END_OF_FILE.encode());
    out
}

/// Reads one file in blocks; none of the next one may follow.
pub(crate) fn read_file(data: &mut TcpStream) -> Vec<u8> {
    let (mut decoder, mut file, mut piece) = (BlockDecoder::new(), Vec::new(), [0; 4_096]);
    loop {
        let count = data.read(&mut piece).expect("the client sends blocks");
        assert!(count > 0, "the end of the file comes before that of the connection");
        let mut rest = piece.get(..count).unwrap_or_default();
        loop {
            let step = decoder.decode(rest).expect("valid blocks");
            rest = rest.get(step.taken..).unwrap_or_default();
            match step.event {
                Some(BlockEvent::Data(bytes)) => file.extend_from_slice(bytes),
                Some(BlockEvent::EndOfFile) => {
                    assert!(rest.is_empty(), "the client waits for the reply");
                    return file;
                }
                Some(other) => panic!("{other:?} was not expected"),
                None => break,
            }
        }
    }
}

fn features(peer: &mut Peer, feature: &str) {
    peer.answer("FEAT", &format!("211-Features:\r\n {feature}\r\n211 End"));
}

/// The dialogue up to the first data connection.
pub(crate) fn begin(peer: &mut Peer) {
    features(peer, "MODE B");
    peer.answer("TYPE I", "200 ok");
    peer.answer("MODE B", "200 ok");
    peer.epsv();
}

/// Answers a download over an open data connection.
fn send(peer: &mut Peer, data: &mut TcpStream, content: &[u8], end: &str) {
    peer.answer("RETR a", "125 Sending");
    data.write_all(&blocks(content)).expect("the client reads");
    peer.reply(end);
}

/// Answers a download over the first data connection, and keeps it.
fn first(peer: &mut Peer, end: &str) -> TcpStream {
    begin(peer);
    peer.answer("RETR a", "150 Opening (5 bytes)");
    let mut data = peer.data();
    data.write_all(&blocks(b"hello")).expect("the client reads");
    peer.reply(end);
    data
}

fn is_closed(data: &mut TcpStream) -> bool {
    matches!(data.read(&mut [0]), Ok(0) | Err(_))
}

#[test]
fn many_transfers_use_one_data_connection_cl_73() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        let mut data = first(&mut peer, "250 done");
        send(&mut peer, &mut data, b"", "250 done");
        peer.answer("STOR a", "125 Go on");
        assert_eq!(read_file(&mut data), b"hello");
        peer.reply("250 done");
        peer.answer("TYPE A", "200 ok");
        peer.answer("NLST", "125 Here");
        data.write_all(&blocks(b"a\r\nb\r\n")).unwrap();
        peer.reply("250 done");
        // Other commands in between change nothing.
        peer.answer("NOOP", "200 ok");
        peer.answer("TYPE I", "200 ok");
        peer.answer("REST 2", "350 ok");
        send(&mut peer, &mut data, b"llo", "250 done");
        // A refusal before the data keeps the connection.
        peer.answer("RETR a", "550 no such file");
        send(&mut peer, &mut data, b"hello", "250 done");
        peer.answer("QUIT", "221 bye");
        assert!(is_closed(&mut data));
    });
    assert!(client.reuses_data().unwrap());
    assert_eq!(get(&mut client).unwrap(), b"hello");
    assert_eq!(get(&mut client).unwrap(), b"");
    let mut upload = client.store("a").unwrap();
    upload.write_all(b"hello").unwrap();
    assert_eq!(upload.finish().unwrap().bytes, 5);
    let names = client.list_lines("", ListOptions::by(ListingForm::Nlst)).unwrap();
    assert_eq!(names.map(Result::unwrap).collect::<Vec<_>>(), [b"a", b"b"]);
    client.noop().unwrap();
    let mut rest = Vec::new();
    client.retrieve_from("a", 2).unwrap().copy_to(&mut rest).unwrap();
    assert_eq!(rest, b"llo");
    assert!(matches!(get(&mut client), Err(Error::Refused { verb: Verb::Retr, .. })));
    assert_eq!(get(&mut client).unwrap(), b"hello");
    client.quit().unwrap();
    server.end();
}

#[test]
fn a_server_without_mode_b_gets_mode_s_cl_73() {
    for is_listed in [false, true] {
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            features(&mut peer, if is_listed { "MODE B" } else { "MODE Z" });
            peer.answer("TYPE I", "200 ok");
            if is_listed {
                peer.answer("MODE B", "504 not today");
            }
            for _ in 0..2 {
                peer.epsv();
                peer.answer("RETR a", "150 Opening");
                peer.send_data(b"hello");
                peer.reply("250 done");
            }
        });
        for _ in 0..2 {
            assert_eq!(get(&mut client).unwrap(), b"hello");
        }
        assert!(!client.reuses_data().unwrap());
        server.end();
    }
}

#[test]
fn the_final_reply_decides_whether_the_data_connection_stays_cl_73() {
    // After 226 the server closes it, and after a 250 it may have closed it all the same.
    for (end, closes) in [("226 closing", true), ("226 done", false), ("250 done", true)] {
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            let mut kept = Vec::new();
            for number in 0..3 {
                if number == 0 {
                    begin(&mut peer);
                } else {
                    peer.epsv();
                }
                peer.answer("RETR a", "150 Opening");
                let mut data = peer.data();
                data.write_all(&blocks(b"hello")).unwrap();
                match closes {
                    true => drop(data),
                    false => kept.push(data),
                }
                peer.reply(end);
            }
            peer.answer("NOOP", "200 ok");
            assert!(kept.iter_mut().all(is_closed), "the client has closed them");
        });
        for _ in 0..3 {
            assert_eq!(get(&mut client).unwrap(), b"hello", "{end}");
        }
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn a_lost_data_connection_is_replaced_cl_73() {
    for refusal in ["425 no data connection", "426 gone", "503 PASV first"] {
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            let mut kept = vec![first(&mut peer, "250 done")];
            for command in ["RETR a", "STOR a"] {
                peer.answer(command, refusal);
                peer.epsv();
                peer.answer(command, "150 Opening");
                let mut data = peer.data();
                if command == "RETR a" {
                    data.write_all(&blocks(b"hello")).unwrap();
                } else {
                    assert_eq!(read_file(&mut data), b"hello");
                }
                kept.push(data);
                peer.reply("250 done");
            }
        });
        assert_eq!(get(&mut client).unwrap(), b"hello");
        assert_eq!(get(&mut client).unwrap(), b"hello", "{refusal}");
        let sent = client.store("a").and_then(|upload| upload.copy_from(&mut &b"hello"[..]));
        assert_eq!(sent.unwrap().bytes, 5, "{refusal}");
        server.end();
    }
}

#[test]
fn unrequested_bytes_are_not_taken_for_a_file_cl_73_hc_36() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        begin(&mut peer);
        peer.answer("RETR a", "150 Opening");
        let mut data = peer.data();
        data.write_all(&[blocks(b"hello"), blocks(b"another")].concat()).unwrap();
        peer.reply("250 done");
        peer.epsv();
        peer.answer("RETR a", "150 Opening");
        peer.send_data(&blocks(b"hello"));
        peer.reply("226 done");
    });
    for _ in 0..2 {
        assert_eq!(get(&mut client).unwrap(), b"hello");
    }
    server.end();
}

#[test]
fn truncated_or_invalid_blocks_fail_the_download_cl_74_hc_36() {
    let marker = |text: &[u8]| {
        let mut out = Vec::new();
        BlockMarker::new(text).unwrap().encode(&mut out);
        out
    };
    let whole = blocks(&b"hello\n".repeat(20_000));
    let inside = [&whole[..9], &marker(b"6"), &whole[9..]].concat();
    let suspect = [&b"\x20\0\x05hello"[..], &BlockHeader::END_OF_FILE.encode()].concat();
    for (what, data, fault) in [
        ("without its end", &whole[..whole.len() - 3], BlockFault::Truncated),
        ("cut in a header", &whole[..whole.len() - 1], BlockFault::Truncated),
        ("cut in a block", &whole[..70_000], BlockFault::Truncated),
        ("nothing", b"", BlockFault::Truncated),
        ("a stream", b"hello", BlockFault::Descriptor(b'h')),
        ("a marker inside a block", &inside, BlockFault::Descriptor(0)),
        ("suspect data", &suspect, BlockFault::Suspect),
    ] {
        let data = data.to_vec();
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            begin(&mut peer);
            peer.answer("RETR a", "150 Opening");
            let mut stream = peer.data();
            // The client may hang up at the fault.
            let _ = stream.write_all(&data);
            drop(stream);
            peer.reply("250 done");
            peer.answer("NOOP", "200 ok");
        });
        let error = get(&mut client).unwrap_err();
        let Error::Blocks(found) = error else { panic!("{what}: {error}") };
        let is_cut = fault == BlockFault::Truncated;
        assert_eq!(found == BlockFault::Truncated, is_cut, "{what}: {found}");
        assert_eq!(error.is_transient(), is_cut, "{what}");
        let kind = if is_cut { ErrorKind::Network } else { ErrorKind::Integrity };
        assert_eq!(error.kind(), kind, "{what}");
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn markers_and_record_ends_are_not_data_cl_74() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        begin(&mut peer);
        peer.answer("RETR a", "150 Opening");
        let mut data = peer.data();
        data.write_all(b"\x80\0\x02he\x10\0\x012\0\0\x02ll\x10\0\x03abc\xc0\0\x01o").unwrap();
        peer.reply("250 done");
        send(&mut peer, &mut data, b"again", "250 done");
    });
    assert_eq!(get(&mut client).unwrap(), b"hello");
    assert_eq!(get(&mut client).unwrap(), b"again");
    server.end();
}

#[test]
fn the_servers_refusal_takes_precedence_over_a_truncated_file_cl_74() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        let mut data = first(&mut peer, "250 done");
        peer.answer("RETR a", "125 Sending");
        data.write_all(b"\0\0\x09half of").unwrap();
        drop(data);
        peer.reply("451 disk trouble");
        peer.epsv();
        peer.answer("RETR a", "150 Opening");
        peer.send_data(&blocks(b"hello"));
        peer.reply("226 done");
    });
    assert_eq!(get(&mut client).unwrap(), b"hello");
    let error = get(&mut client).unwrap_err();
    assert!(
        matches!(&error, Error::Refused { verb: Verb::Retr, reply, .. } if reply.code().value() == 451)
    );
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

#[test]
fn an_upload_succeeds_only_after_its_end_of_file_block_cl_74() {
    let large = b"hello\n".repeat(50_000);
    let want = large.clone();
    let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
        begin(&mut peer);
        peer.answer("STOR a", "150 Go on");
        let mut data = peer.data();
        assert_eq!(read_file(&mut data), b"");
        peer.reply("250 done");
        peer.answer("STOR a", "125 Go on");
        assert!(read_file(&mut data) == want);
        // Replies to markers are preliminary.
        peer.send("110 MARK 5 = 5\r\n250 done\r\n");
        // Confirmed before its end.
        peer.answer("STOR a", "125 Go on");
        peer.reply("250 done");
        peer.answer("NOOP", "200 ok");
        assert!(was_reset(&data), "it is no whole file");
    });
    let mut put = |content: &[u8]| client.store("a")?.copy_from(&mut &*content);
    assert_eq!(put(b"").unwrap().bytes, 0);
    assert_eq!(put(&large).unwrap().bytes, large.len() as u64);
    let mut upload = client.store("a").unwrap();
    upload.write_all(b"hello").unwrap();
    // The reply is there before the end is written.
    while upload.write_all(&large).is_ok() {}
    let error = upload.finish().unwrap_err();
    assert!(matches!(error, Error::Unexpected { verb: Verb::Stor, .. }), "{error}");
    client.noop().unwrap();
    server.end();
}

#[test]
fn an_interrupted_upload_sends_no_end_of_file_cl_74() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        let data = first(&mut peer, "250 done");
        peer.answer("STOR a", "125 Go on");
        peer.expect_abort();
        peer.send("426 cut\r\n226 aborted\r\n");
        assert!(was_reset(&data));
        peer.answer("NOOP", "200 ok");
    });
    assert_eq!(get(&mut client).unwrap(), b"hello");
    let mut upload = client.store("a").unwrap();
    upload.write_all(&b"hello\n".repeat(20_000)).unwrap();
    drop(upload);
    client.noop().unwrap();
    server.end();
}

/// The names of planned downloads.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn plan(client: &mut Client, with_time: bool) {
    match with_time {
        true => client.plan_downloads_with_time(NAMES),
        false => client.plan_downloads(NAMES),
    }
}

fn fetch(client: &mut Client, name: &str) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    client.retrieve(name)?.copy_to(&mut out).map(|_| out)
}

#[test]
fn planned_downloads_are_requested_together_cl_75() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        let mut data = first(&mut peer, "250 done");
        peer.expect_together(&["RETR b", "RETR c", "RETR d"]);
        // Data and replies of several files arrive at once.
        data.write_all(&[blocks(b"bb"), blocks(b"ddd")].concat()).unwrap();
        peer.send("125 b\r\n250 b\r\n550 no such file\r\n125 d\r\n250 d\r\n");
        peer.answer("NOOP", "200 ok");
        // With their times.
        let asked = ["RETR a", "MDTM b", "RETR b", "MDTM c", "RETR c", "MDTM d", "RETR d"];
        peer.expect("MDTM a");
        peer.reply("213 20200102030405");
        peer.expect_together(&asked);
        let all: Vec<u8> = NAMES.iter().flat_map(|name| blocks(name.as_bytes())).collect();
        data.write_all(&all).unwrap();
        let each = "213 20200102030405\r\n125 ok\r\n250 ok\r\n".repeat(4);
        peer.send(each.split_once("\r\n").unwrap().1);
        peer.answer("NOOP", "200 ok");
    });
    plan(&mut client, false);
    assert_eq!(fetch(&mut client, "a").unwrap(), b"hello");
    assert_eq!(fetch(&mut client, "b").unwrap(), b"bb");
    assert!(client.make_ready().is_ok() && client.is_settled());
    let error = fetch(&mut client, "c").unwrap_err();
    assert_eq!(error.to_string(), "RETR refused: 550 no such file");
    assert_eq!(fetch(&mut client, "d").unwrap(), b"ddd");
    client.noop().unwrap();
    plan(&mut client, true);
    for name in NAMES {
        let download = client.retrieve_with_time(name).unwrap();
        assert!(download.modified().is_some(), "{name}");
        let mut out = Vec::new();
        download.copy_to(&mut out).unwrap();
        assert_eq!(out, name.as_bytes());
    }
    client.noop().unwrap();
    server.end();
}

#[test]
fn planned_names_in_utf8_are_requested_once_the_server_reads_utf8_cl_75() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        peer.answer("FEAT", "211-Features:\r\n MODE B\r\n UTF8\r\n211 End");
        peer.answer("TYPE I", "200 ok");
        peer.answer("MODE B", "200 ok");
        peer.epsv();
        peer.answer("RETR a", "150 Opening");
        let mut data = peer.data();
        data.write_all(&blocks(b"a")).unwrap();
        peer.reply("250 a");
        peer.expect("RETR b");
        data.write_all(&blocks(b"b")).unwrap();
        peer.send("125 b\r\n250 b\r\n");
        peer.answer("OPTS UTF8 ON", "200 ok");
        peer.answer("RETR \u{e9}", "125 first");
        data.write_all(&blocks("\u{e9}".as_bytes())).unwrap();
        peer.reply("250 first");
        peer.expect_together(&["RETR \u{ea}", "RETR c"]);
        data.write_all(&[blocks("\u{ea}".as_bytes()), blocks(b"c")].concat()).unwrap();
        peer.send("125 second\r\n250 second\r\n125 c\r\n250 c\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let names = ["a", "b", "\u{e9}", "\u{ea}", "c"];
    client.plan_downloads(names);
    for name in names {
        assert_eq!(fetch(&mut client, name).unwrap(), name.as_bytes());
    }
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_changed_plan_drops_the_requested_files_cl_75() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        let mut data = first(&mut peer, "250 done");
        peer.expect_together(&["RETR b", "RETR c", "RETR d"]);
        data.write_all(&blocks(b"bb")).unwrap();
        peer.send("125 b\r\n250 b\r\n125 c\r\n");
        assert!(is_closed(&mut data));
        peer.send("426 c\r\n425 d\r\n");
        peer.answer("SIZE b", "213 2");
        peer.epsv();
        peer.answer("RETR d", "150 Opening");
        peer.send_data(&blocks(b"dd"));
        peer.reply("226 done");
    });
    plan(&mut client, false);
    assert_eq!(fetch(&mut client, "a").unwrap(), b"hello");
    assert_eq!(fetch(&mut client, "b").unwrap(), b"bb");
    assert_eq!(client.size("b").unwrap(), Some(2));
    assert_eq!(fetch(&mut client, "d").unwrap(), b"dd");
    server.end();
}

#[test]
fn requested_files_are_requested_again_over_another_connection_cl_75() {
    // The server closes the data connection after a file, in its middle, or before it.
    for case in ["226", "cut", "250"] {
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            let mut data = first(&mut peer, "250 done");
            peer.expect_together(&["RETR b", "RETR c", "RETR d"]);
            let (sent, replies) = match case {
                "226" => (blocks(b"bb"), "125 b\r\n226 b\r\n425 c\r\n425 d\r\n"),
                "250" => (blocks(b"bb"), "125 b\r\n250 b\r\n425 c\r\n425 d\r\n"),
                _ => (b"\0\0\x02b".to_vec(), "125 b\r\n451 b\r\n425 c\r\n425 d\r\n"),
            };
            data.write_all(&sent).unwrap();
            drop(data);
            peer.send(replies);
            for name in ["c", "d"] {
                peer.epsv();
                peer.answer(&format!("RETR {name}"), "150 Opening");
                peer.send_data(&blocks(name.as_bytes()));
                peer.reply("226 done");
            }
            peer.answer("NOOP", "200 ok");
        });
        plan(&mut client, false);
        assert_eq!(fetch(&mut client, "a").unwrap(), b"hello");
        let b = fetch(&mut client, "b");
        match case {
            "cut" => assert!(matches!(b, Err(Error::Refused { verb: Verb::Retr, .. })), "{b:?}"),
            _ => assert_eq!(b.unwrap(), b"bb", "{case}"),
        }
        for name in ["c", "d"] {
            assert_eq!(fetch(&mut client, name).unwrap(), name.as_bytes(), "{case}");
        }
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn without_mode_b_a_plan_changes_nothing_cl_75() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        features(&mut peer, "SIZE");
        peer.answer("TYPE I", "200 ok");
        for name in NAMES {
            peer.epsv();
            peer.answer(&format!("RETR {name}"), "150 Opening");
            peer.send_data(name.as_bytes());
            peer.reply("250 done");
        }
    });
    plan(&mut client, false);
    for name in NAMES {
        assert_eq!(fetch(&mut client, name).unwrap(), name.as_bytes());
    }
    server.end();
}
