//! `NLST`, `LIST` and `MLSD`.

mod elsewhere;
mod in_force;

use std::io::Write;
use std::time::Duration;

use ftp_client::error::ListingCut;
use ftp_client::listing::{Budget, ListOptions, ListingForm};
use ftp_client::{Client, Entry, EntryKind, Error, ListLine, Verb};

use crate::peer::{Peer, Server};

const NAMES: ListOptions = ListOptions::by(ListingForm::Nlst);
const LINES: ListOptions = ListOptions::by(ListingForm::List);
const FACTS: ListOptions = ListOptions::by(ListingForm::Mlsd);

/// Answers one listing with this data.
fn listing(peer: &mut Peer, command: &str, data: &[u8]) {
    peer.epsv();
    peer.answer(command, "150 ok");
    peer.send_data(data);
    peer.reply("226 done");
}

/// Answers the commands with which the client first enters a directory for a listing.
fn enter(peer: &mut Peer, directory: &str) {
    peer.answer("PWD", "257 \"/home\"");
    peer.answer(&format!("CWD {directory}"), "250 there");
}

fn features(peer: &mut Peer, lines: &str) {
    peer.answer("FEAT", &format!("211-features\r\n{lines}211 end"));
}

fn gather(client: &mut Client, directory: &str, options: ListOptions) -> Vec<Entry> {
    let listing = client.list_with(directory, options).unwrap().gather(Budget::default());
    let listing = listing.unwrap();
    assert_eq!(listing.unparsed, [&b""[..]; 0]);
    listing.entries
}

fn names(entries: &[Entry]) -> Vec<&[u8]> {
    entries.iter().map(|entry| entry.name.as_slice()).collect()
}

#[test]
fn lines_are_returned_unchanged_as_07_cl_45() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        listing(&mut peer, "NLST", b"a\r\n b \r\n\r\nc\n");
        // The way back is not known, so the name is the argument.
        peer.answer("PWD", "502 no");
        peer.answer("XPWD", "502 no");
        listing(&mut peer, "LIST ./-l", b"total 2\r\n\r\n-rw a\r\n");
        peer.epsv();
        peer.expect("NLST ./-a");
        peer.send_data(b"");
        peer.reply("226 nothing there");
        listing(&mut peer, "MLSD d", b"type=dir; sub\r\nnonsense\r\n");
        peer.epsv();
        peer.answer("NLST /", "550 no files");
        peer.answer("NOOP", "200 ok");
    });
    let lines = |client: &mut Client, directory: &str, options| {
        let lines = client.list_lines(directory, options).unwrap();
        assert_eq!(lines.form(), options.form);
        lines.collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(lines(&mut client, "", NAMES), [&b"a"[..], b" b ", b"c"]);
    assert_eq!(lines(&mut client, "-l", LINES), [&b"total 2"[..], b"", b"-rw a"]);
    assert_eq!(lines(&mut client, "-a", NAMES).len(), 0);
    assert_eq!(lines(&mut client, "d", FACTS), [&b"type=dir; sub"[..], b"nonsense"]);
    assert!(matches!(client.list_lines("/", NAMES), Err(Error::Refused { .. })));
    client.noop().unwrap();
    server.end();
}

#[test]
fn entries_are_read_with_mlsd_if_mlst_is_listed_ls_49() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        features(&mut peer, " MLST type*;size*;\r\n");
        let data = b"type=cdir; /pub\r\ntype=pdir; /\r\ntype=dir;unique=1g; sub\r\n\
            nonsense\r\ntype=file;size=5; a \xff\r\n";
        listing(&mut peer, "MLSD pub", data);
        // MLSD has no such flag.
        listing(&mut peer, "MLSD", b"type=file; .hidden\r\n");
        listing(&mut peer, "LIST -a", b"-rw-r--r-- 1 u g 5 Jan 2 2020 .hidden\r\n");
        // Pure-FTPd lists the current directory for a flag and a path.
        peer.answer("PWD", "257 \"/home\"");
        peer.answer("CWD -d", "250 there");
        listing(&mut peer, "NLST -a", b".\r\n..\r\n.hidden\r\n");
    });
    let mut entries = client.list("pub").unwrap();
    assert_eq!(entries.form(), ListingForm::Mlsd);
    let Some(Ok(ListLine::Entry(entry))) = entries.next() else { panic!("no entry") };
    assert_eq!((entry.kind, entry.name.as_slice()), (Some(EntryKind::Directory), &b"sub"[..]));
    let Some(Ok(ListLine::Unparsed(line))) = entries.next() else { panic!("no line") };
    assert_eq!(line, b"nonsense");
    let Some(Ok(ListLine::Entry(entry))) = entries.next() else { panic!("no entry") };
    assert_eq!((entry.size, entry.name_lossy().as_ref()), (Some(5), "a \u{fffd}"));
    assert!(entries.next().is_none());
    assert!(entries.next().is_none());
    drop(entries);
    for (directory, form) in
        [("", ListingForm::Auto), ("", ListingForm::List), ("-d", ListingForm::Nlst)]
    {
        let options = ListOptions::new().all(true).form(form);
        assert_eq!(names(&gather(&mut client, directory, options)), [b".hidden"], "{form:?}");
    }
    server.end();
}

#[test]
fn entries_are_read_with_list_if_mlst_is_not_listed_ls_49_cl_18() {
    for feat in ["500 what", "211 no features", "211-features\r\n SIZE\r\n211 end"] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("FEAT", feat);
            let data = b"total 4\r\n\
                drwxr-xr-x 2 u g 4096 Jan 2 2020 .\r\n\
                drwxr-xr-x 2 u g 4096 Jan 2 2020 sub\r\n\
                lrwxrwxrwx 1 u g 4 Jan 2 2020 x -> /etc\r\n\
                ftpd: .: Permission denied\r\n";
            listing(&mut peer, "LIST", data);
            enter(&mut peer, "pub");
            listing(&mut peer, "LIST", b"01-29-26  09:16AM       <DIR>          a b\r\n");
        });
        let listed = client.list("").unwrap().gather(Budget::default()).unwrap();
        assert_eq!(listed.form, ListingForm::List);
        assert_eq!(names(&listed.entries), [&b"sub"[..], b"x"]);
        assert_eq!(listed.entries[1].target.as_deref(), Some(&b"/etc"[..]));
        assert_eq!(listed.unparsed, [b"ftpd: .: Permission denied"]);
        assert_eq!(names(&gather(&mut client, "pub", ListOptions::default())), [b"a b"]);
        server.end();
    }
}

#[test]
fn dates_without_a_year_are_resolved_by_the_clock_ls_44() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        let data = b"-rw-r--r-- 1 u g 5 Jan 2 10:00 a\r\n-rw-r--r-- 1 u g 5 Dec 30 10:00 b\r\n";
        listing(&mut peer, "LIST", data);
    });
    let entries = gather(&mut client, "", LINES);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    for entry in entries {
        let time = entry.modified.unwrap().time.unix_seconds();
        let age = i64::try_from(now.as_secs()).unwrap() - time;
        assert!((-86_400..=367 * 86_400).contains(&age), "{time}");
    }
    server.end();
}

#[test]
fn listings_fall_back_to_list_if_an_advertised_mlsd_fails_hc_21() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        features(&mut peer, " MLST type*;\r\n");
        peer.epsv();
        // A path that is not a directory does not disable MLSD.
        peer.answer("MLSD file", "501 not a directory");
        listing(&mut peer, "LIST file", b"-rw-r--r-- 1 u g 5 Jan 2 2020 file\r\n");
        peer.epsv();
        peer.answer("MLSD gone", "550 no such directory");
        peer.epsv();
        peer.answer("LIST gone", "550 no such directory");
        peer.epsv();
        peer.answer("MLSD", "500 what");
        listing(&mut peer, "LIST", b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n");
        listing(&mut peer, "LIST", b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n");
    });
    assert_eq!(names(&gather(&mut client, "file", ListOptions::default())), [b"file"]);
    assert!(matches!(client.list("gone"), Err(Error::Refused { verb: Verb::Mlsd, .. })));
    for _ in 0..2 {
        assert_eq!(names(&gather(&mut client, "", ListOptions::default())), [b"a"]);
    }
    server.end();
}

#[test]
fn names_that_leave_the_directory_are_flagged_ls_48_hc_05() {
    const UNSAFE: [&str; 5] = ["../x", "/etc/x", "a/../../x", "a/", "a\0b"];
    let (server, mut client) = Server::logged_in(|mut peer| {
        let data = |before: &str| -> Vec<u8> {
            let lines = UNSAFE.iter().chain(&["safe"]).map(|name| format!("{before}{name}\r\n"));
            lines.collect::<String>().into_bytes()
        };
        listing(&mut peer, "MLSD", &data("type=file; "));
        listing(&mut peer, "LIST", &data("-rw-r--r-- 1 u g 5 Jan 2 2020 "));
        listing(&mut peer, "LIST", &data("01-29-26  09:16AM          5 "));
        listing(&mut peer, "LIST", &data("+r,s5,\t"));
        listing(&mut peer, "NLST", &data(""));
    });
    for options in [FACTS, LINES, LINES, LINES, NAMES] {
        let entries = gather(&mut client, "", options);
        assert_eq!(entries.len(), UNSAFE.len() + 1, "{options:?}: {entries:?}");
        for entry in entries {
            // In NLST, the slash of `a/` marks a directory.
            let is_marked = options.form == ListingForm::Nlst && entry.name == b"a";
            let is_safe = entry.name == b"safe" || is_marked;
            assert_eq!(entry.is_safe_name(), is_safe, "{options:?} {entry:?}");
        }
    }
    server.end();
}

#[test]
fn names_of_a_listing_are_checked_before_use_cl_42_hc_09() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        listing(&mut peer, "NLST", b"one\r\nx\rDELE y\r\nx\0y\r\n");
        listing(
            &mut peer,
            "MLSD",
            b"type=file; two\r\ntype=file; x\rDELE y\r\ntype=file; x\0y\r\n",
        );
        // Two of the six names can be sent.
        peer.answer("PWD", "257 \"/\"");
        peer.answer("DELE one", "250 ok");
        peer.answer("CWD one", "250 ok");
        peer.answer("DELE two", "250 ok");
        peer.answer("CWD two", "250 ok");
        peer.answer("NOOP", "200 ok");
    });
    let mut entries = gather(&mut client, "", NAMES);
    entries.extend(gather(&mut client, "", FACTS));
    assert_eq!(entries.len(), 6);
    for Entry { name, .. } in entries {
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
fn collecting_stops_at_its_limit_hc_14() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        for _ in 0..2 {
            peer.epsv();
            peer.answer("NLST", "150 ok");
            let mut data = peer.data();
            while data.write_all(b"another\r\n".repeat(1_000).as_slice()).is_ok() {}
            peer.expect_abort();
            peer.send("426 cut\r\n226 aborted\r\n");
        }
        listing(&mut peer, "NLST", b"a\r\nb\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let default = Budget::default();
    assert_eq!((default.entries, default.bytes), (1_000_000, 104_857_600));
    for limits in [default.entries(1_000), default.bytes(1_000_000)] {
        match client.list_with("", NAMES).unwrap().gather(limits) {
            Err(Error::ListingCut(why)) => assert_eq!(why, ListingCut::TooLong),
            other => panic!("{:?}", other.map(|listing| listing.entries.len())),
        }
    }
    let two = default.entries(2);
    assert_eq!(client.list_with("", NAMES).unwrap().gather(two).unwrap().entries.len(), 2);
    client.noop().unwrap();
    server.end();
}

#[test]
fn an_interrupted_listing_ends_with_an_error_hc_20() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.epsv();
        peer.answer("NLST", "150 ok");
        peer.send_data(b"a\r\nb");
        peer.reply("426 cut");
        peer.answer("NOOP", "200 ok");
    });
    let mut names = client.list_lines("", NAMES).unwrap();
    assert_eq!(names.next().unwrap().unwrap(), b"a");
    // The last line has no line ending, so it is discarded.
    assert!(matches!(names.next(), Some(Err(Error::Refused { .. }))));
    assert!(names.next().is_none());
    drop(names);
    client.noop().unwrap();
    server.end();
}

#[test]
fn an_endless_line_is_a_protocol_error_hc_15() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.epsv();
        peer.answer("LIST", "150 ok");
        let mut data = peer.data();
        while data.write_all(&[b'x'; 10_000]).is_ok() {}
        peer.expect_abort();
        peer.send("426 cut\r\n226 aborted\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let mut lines = client.list_lines("", LINES).unwrap();
    assert!(matches!(lines.next(), Some(Err(Error::Protocol(_)))));
    assert!(lines.next().is_none());
    drop(lines);
    client.noop().unwrap();
    server.end();
}

#[test]
fn an_endless_listing_can_be_dropped_early_hc_14() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.epsv();
        peer.answer("NLST", "150 ok");
        let mut data = peer.data();
        while data.write_all(b"another\r\n".repeat(1_000).as_slice()).is_ok() {}
        peer.expect_abort();
        peer.send("426 cut\r\n226 aborted\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let names = client.list_lines("", NAMES).unwrap().take(10_000);
    assert!(names.into_iter().all(|name| name.unwrap() == b"another"));
    client.noop().unwrap();
    server.end();
}

#[test]
fn lines_do_not_depend_on_chunking() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.epsv();
        peer.answer("NLST", "150 ok");
        let mut data = peer.data();
        data.set_nodelay(true).unwrap();
        for byte in b"a\r\nbc\r\nd\n" {
            data.write_all(&[*byte]).unwrap();
        }
        drop(data);
        peer.reply("226 done");
    });
    let names: Result<Vec<_>, _> = client.list_lines("", NAMES).unwrap().collect();
    assert_eq!(names.unwrap(), [&b"a"[..], b"bc", b"d"]);
    server.end();
}

/// Returns the entries of a listing, and how it ended.
fn counted(client: &mut Client, directory: &str, options: ListOptions) -> (usize, Option<Error>) {
    match client.list_with(directory, options) {
        Err(error) => (0, Some(error)),
        Ok(entries) => {
            let (mut count, mut end) = (0, None);
            for listed in entries {
                match listed {
                    Ok(_) => count += 1,
                    Err(error) => end = Some(error),
                }
            }
            (count, end)
        }
    }
}

#[test]
fn a_listing_reported_as_truncated_ends_with_an_error() {
    const SAID: &str = "226-Options: -l \r\n226 Output truncated to 2 matches";
    let (server, mut client) = Server::logged_in(|mut peer| {
        for (command, line) in [
            ("LIST", "-rw-r--r-- 1 u g 5 Jan 2 2020 "),
            ("MLSD", "type=file; "),
            ("NLST", ""),
            ("LIST d", "-rw-r--r-- 1 u g 5 Jan 2 2020 "),
        ] {
            let (command, directory) = command.split_once(' ').unwrap_or((command, ""));
            if !directory.is_empty() {
                enter(&mut peer, directory);
            }
            peer.epsv();
            peer.answer(command, "150 ok");
            peer.send_data(format!("{line}a\r\n{line}b\r\n").as_bytes());
            peer.reply(SAID);
        }
        peer.answer("CWD /home/no/d", "250 there");
        peer.epsv();
        peer.answer("LIST", "150 ok");
        peer.send_data(b"");
        peer.reply("226 Transfer done (but failed to open directory).");
        peer.answer("CWD /home", "250 back");
        peer.answer("NOOP", "200 ok");
    });
    for (directory, options) in [("", LINES), ("", FACTS), ("", NAMES), ("d", LINES)] {
        let (count, end) = counted(&mut client, directory, options);
        let Some(Error::ListingCut(ListingCut::Reply(reply))) = end else { panic!("{end:?}") };
        assert_eq!((count, reply.text()), (2, &b"Output truncated to 2 matches"[..]));
    }
    let (count, end) = counted(&mut client, "no/d", LINES);
    assert!(count == 0 && matches!(end, Some(Error::ListingCut(_))), "{end:?}");
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_listing_truncated_in_its_last_line_ends_with_an_error() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        listing(&mut peer, "MLSD", b"type=file; a\r\ntype=file; ot");
        listing(&mut peer, "LIST", b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n-rw-r--r-- 1 u g 5 Jan");
        enter(&mut peer, "d");
        listing(&mut peer, "NLST", b"d/a\r\nd/ot\r");
        peer.answer("CWD /home", "250 back");
        peer.answer("NOOP", "200 ok");
    });
    for (directory, options) in [("", FACTS), ("", LINES), ("d", NAMES)] {
        let (count, end) = counted(&mut client, directory, options);
        assert_eq!(count, 1, "{options:?}");
        assert!(matches!(end, Some(Error::ListingCut(ListingCut::LineEnd))), "{end:?}");
    }
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_listing_whose_data_connection_is_reset_ends_with_an_error() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        for first in ["150 ok", "226 done"] {
            peer.epsv();
            peer.answer("MLSD", first);
            if first.starts_with("150") {
                let data = peer.data();
                socket2::SockRef::from(&data).set_linger(Some(Duration::ZERO)).unwrap();
                drop(data);
                peer.reply("226 done");
            } else {
                // A connection that was not accepted is reset.
                peer.listen();
            }
        }
        // An orderly end also counts without a 150.
        peer.epsv();
        peer.expect("MLSD");
        peer.send_data(b"");
        peer.reply("226 nothing there");
        peer.answer("NOOP", "200 ok");
    });
    for _ in 0..2 {
        let (count, end) = counted(&mut client, "", FACTS);
        assert!(count == 0 && matches!(end, Some(Error::Io(_))), "{end:?}");
    }
    assert!(matches!(counted(&mut client, "", FACTS), (0, None)));
    client.noop().unwrap();
    server.end();
}

#[test]
fn names_that_carry_the_path_of_their_directory_lose_it() {
    let data =
        b"-rw-r--r-- 1 u g 5 Jan 2 2020 lib/a\r\n-rw-r--r-- 1 u g 5 Jan 2 2020 /home/lib/b\r\n\
        drwxr-xr-x 2 u g 5 Jan 2 2020 c/\r\n-rw-r--r-- 1 u g 5 Jan 2 2020 /other/d\r\n\
        drwxr-xr-x 2 u g 5 Jan 2 2020 lib/.\r\n";
    let (server, mut client) = Server::logged_in(|mut peer| {
        enter(&mut peer, "lib");
        listing(&mut peer, "LIST", data);
    });
    let entries = gather(&mut client, "lib", LINES);
    assert_eq!(names(&entries), [&b"a"[..], b"b", b"c", b"/other/d"]);
    assert_eq!(entries.iter().filter(|entry| entry.is_safe_name()).count(), 3);
    server.end();
}

#[test]
fn refused_commands_of_listings_fall_back_to_list() {
    const A: &[u8] = b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n";
    // Each of these means for the whole connection that MLSD cannot be used.
    for refusal in ["500 what", "502 no", "503 not now", "504 not so"] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            features(&mut peer, " MLST type*;\r\n");
            peer.epsv();
            peer.answer("MLSD", refusal);
            listing(&mut peer, "LIST", A);
            enter(&mut peer, "d");
            listing(&mut peer, "LIST", A);
            peer.answer("PWD", "257 \"/home/d\"");
        });
        for directory in ["", "d"] {
            assert_eq!(gather(&mut client, directory, ListOptions::default()).len(), 1);
        }
        server.end();
    }
    let (server, mut client) = Server::logged_in(|mut peer| {
        features(&mut peer, " MLST type*;\r\n");
        // 550 is not remembered before LIST shows the directory.
        peer.epsv();
        peer.answer("MLSD gone", "550 no");
        listing(&mut peer, "LIST gone", b"");
        peer.epsv();
        peer.answer("MLSD d", "550 no");
        // Afterwards, the directory is listed from inside.
        listing(&mut peer, "LIST d", A);
        peer.allow_abort();
        enter(&mut peer, "d");
        listing(&mut peer, "LIST", A);
        peer.answer("CWD /home/e", "250 there");
        listing(&mut peer, "LIST", b"");
        // NLST that wants an argument, and NLST of an empty directory.
        peer.answer("CWD /home", "250 back");
        peer.epsv();
        peer.answer("NLST", "550 no files");
        listing(&mut peer, "LIST", b"total 0\r\n");
        peer.epsv();
        peer.answer("NLST", "501 needs an argument");
        listing(&mut peer, "LIST", A);
        listing(&mut peer, "LIST", A);
    });
    let auto = ListOptions::default();
    assert!(matches!(client.list("gone"), Err(Error::Refused { verb: Verb::Mlsd, .. })));
    assert_eq!(names(&gather(&mut client, "d", auto)), [b"a"]);
    assert_eq!(gather(&mut client, "e", auto).len(), 0);
    assert_eq!(gather(&mut client, "", NAMES).len(), 0);
    for _ in 0..2 {
        assert_eq!(names(&gather(&mut client, "", NAMES)), [b"a"]);
    }
    server.end();
}

#[test]
fn only_a_211_reply_to_feat_lists_features() {
    for reply in ["331 what", "332 what", "350 what", "200-x\r\n MLST\r\n200 x", "450 no", "500 no"]
    {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("FEAT", reply);
            listing(&mut peer, "LIST", b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n");
        });
        assert_eq!(names(&gather(&mut client, "", ListOptions::default())), [b"a"], "{reply}");
        server.end();
    }
}

#[test]
fn listings_are_sent_as_text() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("SIZE a", "213 5");
        peer.epsv_after_type("A");
        peer.answer("LIST", "150 ok");
        peer.send_data(b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n");
        peer.reply("226 done");
        peer.answer("TYPE I", "200 ok");
        peer.answer("SIZE a", "213 5");
        // A server without type ASCII lists all the same.
        peer.answer("TYPE A", "504 only I");
        listing(&mut peer, "LIST", b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n");
    });
    for _ in 0..2 {
        assert_eq!(client.size("a").unwrap(), Some(5));
        assert_eq!(names(&gather(&mut client, "", LINES)), [b"a"]);
    }
    server.end();
}

#[test]
fn list_a_is_used_only_if_the_server_supports_it() {
    const A: &[u8] = b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n";
    let all = LINES.all(true);
    let (server, mut client) = Server::logged_in(|mut peer| {
        // The server takes the flag for a name: it lists nothing, later refuses, and does not get
        // the flag again.
        enter(&mut peer, "d");
        listing(&mut peer, "LIST -a", b"");
        listing(&mut peer, "LIST", A);
        peer.epsv();
        peer.answer("LIST -a", "550 -a: no such file or directory");
        listing(&mut peer, "LIST", A);
        listing(&mut peer, "LIST", A);
        peer.answer("CWD /home", "250 back");
        peer.answer("NOOP", "200 ok");
    });
    for _ in 0..3 {
        let listed = client.list_with("d", all).unwrap();
        let listed = listed.gather(Budget::default()).unwrap();
        assert_eq!((names(&listed.entries), listed.shows_hidden), (vec![&b"a"[..]], false));
    }
    client.noop().unwrap();
    server.end();
    for (lines, hidden) in [
        (&b"drwxr-xr-x 2 u g 4096 Jan 2 2020 .\r\n"[..], true),
        (b"-rw-r--r-- 1 u g 5 Jan 2 2020 .a\r\n", true),
        (b"01-29-26  09:16AM       <DIR>          a b\r\n", true),
        (A, false),
    ] {
        let (server, mut client) =
            Server::logged_in(|mut peer| listing(&mut peer, "LIST -a", lines));
        let listed = client.list_with("", all).unwrap().gather(Budget::default()).unwrap();
        assert_eq!(listed.shows_hidden, hidden);
        server.end();
    }
}

#[test]
fn a_directory_that_mlsd_and_cwd_refuse_costs_no_data_connection_ls_49() {
    const A: &[u8] = b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n";
    let (server, mut client) = Server::logged_in(|mut peer| {
        features(&mut peer, " MLST type*;\r\n");
        peer.epsv();
        peer.answer("MLSD gone", "550 no");
        peer.answer("PWD", "257 \"/home\"");
        peer.answer("CWD gone", "550 no");
        // What CWD enters is listed from inside.
        peer.epsv();
        peer.answer("MLSD d", "550 no");
        peer.answer("CWD d", "250 there");
        listing(&mut peer, "LIST -a", A);
        peer.answer("CWD /home", "250 back");
        peer.answer("NOOP", "200 ok");
    });
    let all = ListOptions::new().all(true).form(ListingForm::Auto);
    let refused = client.list_directory("gone", all).map(drop);
    assert!(matches!(refused, Err(Error::Refused { verb: Verb::Mlsd, .. })), "{refused:?}");
    let listed = client.list_directory("d", all).unwrap().gather(Budget::default()).unwrap();
    assert_eq!(names(&listed.entries), [b"a"]);
    client.noop().unwrap();
    server.end();
}

#[test]
fn an_empty_directory_whose_mlsd_is_refused_with_501_is_listed_from_inside_ls_49() {
    for (code, is_listed) in [(501, true), (550, false)] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            features(&mut peer, " MLST type*;\r\n");
            peer.epsv();
            peer.answer("MLSD d", &format!("{code} not a directory"));
            peer.answer("PWD", "257 \"/home\"");
            peer.answer("CWD d", "250 there");
            listing(&mut peer, "LIST", b"");
            peer.answer("CWD /home", "250 back");
            peer.answer("NOOP", "200 ok");
        });
        let listed = client.list_directory("d", ListOptions::default());
        let listed = listed.and_then(|entries| entries.gather(Budget::default()));
        match is_listed {
            true => assert!(listed.unwrap().entries.is_empty()),
            false => assert!(matches!(listed, Err(Error::Refused { verb: Verb::Mlsd, .. }))),
        }
        client.noop().unwrap();
        server.end();
    }
}
