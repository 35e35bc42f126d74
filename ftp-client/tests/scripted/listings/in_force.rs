//! What must be in force before a listing, and what servers put around its lines.

use super::*;

const ALL: ListOptions = ListOptions::by(ListingForm::Auto);

#[test]
fn utf8_is_in_force_before_the_first_listing_on_each_connection_cl_01() {
    for (reply, again) in [("200 on", false), ("501 no", false), ("200 on", true)] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            // A single ASCII name needs no question.
            peer.answer("MDTM a", "213 20260102030405");
            features(&mut peer, " MLST type*;size*;modify*;\r\n UTF8\r\n");
            peer.answer("OPTS UTF8 ON", reply);
            listing(&mut peer, "MLSD", "type=file; gr\u{f6}\u{df}e\r\n".as_bytes());
            listing(&mut peer, "MLSD d", b"");
            if again {
                peer.answer("REIN", "220 again");
                features(&mut peer, " UTF8\r\n");
                peer.answer("OPTS UTF8 ON", reply);
                listing(&mut peer, "LIST", b"");
            }
        });
        client.modified("a").unwrap().unwrap();
        assert_eq!(gather(&mut client, "", ALL).len(), 1);
        assert_eq!(gather(&mut client, "d", ALL).len(), 0);
        if again {
            client.quote(&ftp_client::RawCommand::new("REIN").unwrap()).unwrap();
            assert_eq!(gather(&mut client, "", ALL).len(), 0);
        }
        server.end();
    }
}

#[test]
fn facts_that_the_server_sends_only_on_request_are_requested_once_cl_01() {
    for (facts, opts) in [
        ("type*;size*;modify*;perm;UNIX.mode;", None),
        ("type;size;modify;UNIX.mode*;", Some("OPTS MLST type;size;modify;UNIX.mode;")),
        ("Type*;Size;Modify*;Perm*;", Some("OPTS MLST type;size;modify;perm;")),
        ("", None),
    ] {
        for refusal in ["200 MLST OPTS", "501 no"] {
            let (server, mut client) = Server::logged_in(move |mut peer| {
                features(&mut peer, &format!(" MLST {facts}\r\n"));
                if let Some(opts) = opts {
                    peer.answer(opts, refusal);
                }
                listing(&mut peer, "MLSD", b"type=file;size=1; a\r\n");
                listing(&mut peer, "MLSD d", b"");
            });
            assert_eq!(gather(&mut client, "", ALL).len(), 1);
            assert_eq!(gather(&mut client, "d", ALL).len(), 0);
            server.end();
        }
    }
}

#[test]
fn a_path_that_can_mean_another_directory_is_never_the_argument_of_mlsd_ls_49() {
    for directory in ["x[1]y", "a*", "a?", "{a}", "a]", "b\\c", "-d", "d/~e", "Photos [2019]"] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            features(&mut peer, " MLST type*;size*;modify*;\r\n");
            enter(&mut peer, directory);
            listing(&mut peer, "MLSD", b"type=file; a\r\n");
            peer.answer("CWD /home", "250 back");
            listing(&mut peer, "MLSD d", b"");
        });
        assert_eq!(names(&gather(&mut client, directory, ALL)), [b"a"]);
        assert_eq!(gather(&mut client, "d", ALL).len(), 0);
        server.end();
    }
    // A missing directory is refused, and a server without a way back shows nothing.
    let (server, mut client) = Server::logged_in(|mut peer| {
        features(&mut peer, " MLST type*;size*;modify*;\r\n");
        peer.answer("PWD", "257 \"/home\"");
        peer.answer("CWD x[1]", "550 no");
    });
    assert!(matches!(
        client.list_directory("x[1]", ALL),
        Err(Error::Refused { verb: Verb::Cwd, .. })
    ));
    server.end();
    let (server, mut client) = Server::logged_in(|mut peer| {
        features(&mut peer, " MLST type*;size*;modify*;\r\n");
        peer.answer("PWD", "502 no");
        peer.answer("XPWD", "502 no");
    });
    assert!(matches!(client.list("x[1]"), Err(Error::ListingCut(ListingCut::Elsewhere))));
    server.end();
}

#[test]
fn a_name_that_begins_with_a_tilde_is_not_the_directory_of_a_user_cl_45() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("MDTM ./~$x.docx", "213 20260102030405");
        peer.answer("DELE ./~/z", "250 gone");
        features(&mut peer, " MLST type*;size*;modify*;\r\n");
        enter(&mut peer, "./~");
        listing(&mut peer, "MLSD", b"type=file; z\r\n");
    });
    client.modified("~$x.docx").unwrap().unwrap();
    client.delete("~/z").unwrap();
    assert_eq!(names(&gather(&mut client, "~", ALL)), [b"z"]);
    server.end();
}

/// vsftpd sets the time of `x` then. It takes what begins with a digit and has eight bytes for a date.
#[test]
fn a_question_for_the_time_of_a_name_that_begins_with_a_digit_changes_no_other_file_cl_45() {
    let names = ["20200101 x", "20200101123456 x", "20200101123456.5 d/x", "2fotos_1 x", "1 x"];
    let (server, mut client) = Server::logged_in(move |mut peer| {
        for name in names {
            peer.answer(&format!("MDTM ./{name}"), "213 20260102030405");
        }
        peer.answer("MDTM 20200101123456.log", "213 20260102030405");
        peer.answer("MDTM d/20200101 x", "213 20260102030405");
    });
    for name in names.into_iter().chain(["20200101123456.log", "d/20200101 x"]) {
        client.modified(name).unwrap().unwrap();
    }
    server.end();
}

#[test]
fn what_servers_put_around_lines_is_no_part_of_a_name_ls_42() {
    for (data, want) in [
        (&b"250-Begin\r\ntype=file; a\r\n250 End.\r\n"[..], &[&b"a"[..]][..]),
        (b"\xef\xbb\xbftype=file; a\r\ntype=file; b\r\n", &[b"a", b"b"]),
        (b"type=file; a\r\r\ntype=file; b\r\r\n", &[b"a", b"b"]),
        (b"type=file; a\r\ntype=file; b\r\r\n", &[b"a", b"b\r"]),
        (b"type=file; a\0\r\n", &[b"a"]),
        (b"type=file; ./a\r\ntype=file; d/b\r\ntype=cdir; d\r\n", &[b"a", b"b"]),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            features(&mut peer, " MLST type*;size*;modify*;\r\n");
            listing(&mut peer, "MLSD d", data);
        });
        assert_eq!(names(&gather(&mut client, "d", ALL)), want, "{}", data.escape_ascii());
        server.end();
    }
    // Only a frame of both lines counts.
    let (server, mut client) = Server::logged_in(|mut peer| {
        listing(&mut peer, "MLSD", b"type=file; a\r\n250 End.\r\n");
    });
    let listed = client.list_with("", FACTS).unwrap().gather(Budget::default()).unwrap();
    assert_eq!(listed.unparsed.len(), 1);
    server.end();
}

#[test]
fn a_refusal_for_want_of_files_is_an_empty_directory_if_cwd_enters_it_ls_49() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        features(&mut peer, " UTF8\r\n");
        peer.answer("OPTS UTF8 ON", "200 on");
        enter(&mut peer, "d");
        peer.epsv();
        peer.answer("LIST", "550 No files found");
        peer.answer("CWD /home/e", "250 there");
        peer.epsv();
        peer.answer("LIST", "550 Permission denied");
    });
    assert_eq!(gather(&mut client, "d", ALL).len(), 0);
    assert!(matches!(
        client.list_directory("e", ALL),
        Err(Error::Refused { verb: Verb::List, .. })
    ));
    server.end();
}
