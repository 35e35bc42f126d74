//! `NLST`, `LIST` and `MLSD`.

use std::io::Write;

use ftp_client::{Error, FactType};

use crate::peer::Server;

#[test]
fn names_lines_and_entries_as_07() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.epsv();
        peer.answer("NLST", "150 ok");
        peer.send_data(b"a\r\n b \n\r\nc");
        peer.reply("226 done");
        peer.epsv();
        peer.answer("LIST ./-l", "150 ok");
        peer.send_data(b"total 2\r\n\r\n-rw a\r\n");
        peer.reply("226 done");
        peer.epsv();
        peer.expect("NLST ./-a");
        peer.send_data(b"");
        peer.reply("226 nothing there");
        peer.epsv();
        peer.answer("MLSD -d", "150 ok");
        peer.send_data(b"type=dir; sub\r\nnonsense\r\ntype=file;size=5; a b\r\n");
        peer.reply("226 done");
        peer.epsv();
        peer.answer("NLST /", "550 no files");
        peer.answer("NOOP", "200 ok");
    });
    let names: Result<Vec<_>, _> = client.names(None).unwrap().collect();
    assert_eq!(names.unwrap(), [&b"a"[..], b" b ", b"c"]);
    let lines: Result<Vec<_>, _> = client.list(Some(b"-l")).unwrap().collect();
    assert_eq!(lines.unwrap(), [&b"total 2"[..], b"", b"-rw a"]);
    assert_eq!(client.names(Some(b"-a")).unwrap().count(), 0);
    let mut entries = client.entries(Some(b"-d")).unwrap();
    let entry = entries.next().unwrap().unwrap();
    assert_eq!((entry.kind(), entry.name()), (Some(FactType::Directory), &b"sub"[..]));
    assert!(matches!(entries.next(), Some(Err(Error::Protocol(_)))));
    let entry = entries.next().unwrap().unwrap();
    assert_eq!((entry.size(), entry.name()), (Some(5), &b"a b"[..]));
    assert!(entries.next().is_none());
    assert!(entries.next().is_none());
    drop(entries);
    assert!(matches!(client.names(Some(b"/")), Err(Error::Refused(..))));
    client.noop().unwrap();
    server.end();
}

#[test]
fn names_of_a_listing_are_checked_before_use_cl_42_hc_09() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.epsv();
        peer.answer("NLST", "150 ok");
        peer.send_data(b"one\r\nx\rDELE y\r\nx\0y\r\n");
        peer.reply("226 done");
        peer.epsv();
        peer.answer("MLSD", "150 ok");
        peer.send_data(b"type=file; two\r\ntype=file; x\rDELE y\r\ntype=file; x\0y\r\n");
        peer.reply("226 done");
        // Of six names, two are sent.
        peer.answer("DELE one", "250 ok");
        peer.answer("CWD one", "250 ok");
        peer.answer("DELE two", "250 ok");
        peer.answer("CWD two", "250 ok");
        peer.answer("NOOP", "200 ok");
    });
    let names: Result<Vec<_>, _> = client.names(None).unwrap().collect();
    let mut names = names.unwrap();
    for entry in client.entries(None).unwrap() {
        names.push(entry.unwrap().name().to_vec());
    }
    assert_eq!(names.len(), 6);
    for name in names {
        let is_plain = name.is_ascii() && name.iter().all(u8::is_ascii_lowercase);
        for result in [client.delete(&name), client.cwd(&name)] {
            match result {
                Ok(()) => assert!(is_plain, "{name:?} was sent"),
                Err(Error::Argument(_)) => assert!(!is_plain, "{name:?} was not sent"),
                Err(error) => panic!("{name:?}: {error}"),
            }
        }
    }
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_cut_listing_ends_with_an_error_hc_20() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.epsv();
        peer.answer("NLST", "150 ok");
        peer.send_data(b"a\r\nb");
        peer.reply("426 cut");
        peer.answer("NOOP", "200 ok");
    });
    let mut names = client.names(None).unwrap();
    assert_eq!(names.next().unwrap().unwrap(), b"a");
    assert_eq!(names.next().unwrap().unwrap(), b"b");
    assert!(matches!(names.next(), Some(Err(Error::Refused(..)))));
    assert!(names.next().is_none());
    drop(names);
    client.noop().unwrap();
    server.end();
}

#[test]
fn an_endless_line_ends_hc_15() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.epsv();
        peer.answer("LIST", "150 ok");
        let mut data = peer.data();
        while data.write_all(&[b'x'; 10_000]).is_ok() {}
        peer.expect_abort();
        peer.send("426 cut\r\n226 aborted\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let mut lines = client.list(None).unwrap();
    assert!(matches!(lines.next(), Some(Err(Error::Protocol(_)))));
    assert!(lines.next().is_none());
    drop(lines);
    client.noop().unwrap();
    server.end();
}

#[test]
fn an_endless_listing_is_left_early_hc_14() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.epsv();
        peer.answer("NLST", "150 ok");
        let mut data = peer.data();
        while data.write_all(b"another\r\n".repeat(1_000).as_slice()).is_ok() {}
        peer.expect_abort();
        peer.send("426 cut\r\n226 aborted\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let names = client.names(None).unwrap().take(10_000);
    assert!(names.into_iter().all(|name| name.unwrap() == b"another"));
    client.noop().unwrap();
    server.end();
}

#[test]
fn lines_do_not_depend_on_how_they_are_cut() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.epsv();
        peer.answer("NLST", "150 ok");
        let mut data = peer.data();
        data.set_nodelay(true).unwrap();
        for byte in b"a\r\nbc\r\nd" {
            data.write_all(&[*byte]).unwrap();
        }
        drop(data);
        peer.reply("226 done");
    });
    let names: Result<Vec<_>, _> = client.names(None).unwrap().collect();
    assert_eq!(names.unwrap(), [&b"a"[..], b"bc", b"d"]);
    server.end();
}
