//! Servers that list another directory than the one that was asked for.

use super::*;

#[test]
fn a_directory_listed_as_itself_is_listed_again_after_cwd() {
    const SUB: &[u8] = b"drwx--x--x 2 u g 4096 Jan 2 2020 sub\r\n";
    const FILE: &[u8] = b"-rw-r--r-- 1 u g 5 Jan 2 2020 sub\r\n";
    let (server, mut client) = Server::logged_in(|mut peer| {
        // With MLSD, a plain path is the argument.
        features(&mut peer, " MLST type*;\r\n");
        // The directory can only be entered.
        listing(&mut peer, "LIST t/sub", SUB);
        enter(&mut peer, "t/sub");
        peer.epsv();
        peer.answer("LIST", "150 ok");
        peer.send_data(b"");
        peer.reply("226 Transfer done (but failed to open directory).");
        // It contains a directory of its own name, and can be listed.
        peer.answer("CWD /home", "250 back");
        listing(&mut peer, "LIST sub", SUB);
        peer.answer("CWD sub", "250 there");
        listing(&mut peer, "LIST", SUB);
        peer.answer("CWD /home", "250 back");
        listing(&mut peer, "LIST gone", b"drwx--x--x 2 u g 4096 Jan 2 2020 gone\r\n");
        peer.answer("CWD gone", "550 no");
        // The line of the directory itself is sufficient proof.
        let data = [&b"drwxr-xr-x 2 u g 4096 Jan 2 2020 .\r\n"[..], SUB].concat();
        listing(&mut peer, "LIST -a t/sub", &data);
        // A file is listed as itself, and is not a directory.
        listing(&mut peer, "LIST sub", FILE);
        listing(&mut peer, "LIST sub", FILE);
        peer.answer("CWD sub", "550 not a directory");
        // NLST can repeat any name, so the name alone proves nothing.
        listing(&mut peer, "NLST sub", b"sub\r\n");
        peer.answer("CWD sub", "550 not a directory");
        // An empty listing proves nothing.
        listing(&mut peer, "LIST empty", b"");
        peer.answer("CWD empty", "250 there");
        listing(&mut peer, "LIST", b"");
        peer.answer("CWD /home", "250 back");
        peer.answer("NOOP", "200 ok");
    });
    client.features().unwrap();
    let end = client.list_with("t/sub", LINES).unwrap_err();
    assert!(matches!(end, Error::ListingCut(ListingCut::Reply(_))), "{end}");
    assert_eq!(names(&gather(&mut client, "sub", LINES)), [b"sub"]);
    assert!(matches!(client.list_with("gone", LINES), Err(Error::Refused { verb: Verb::Cwd, .. })));
    let all = LINES.all(true);
    assert_eq!(names(&gather(&mut client, "t/sub", all)), [b"sub"]);
    assert_eq!(names(&gather(&mut client, "sub", LINES)), [b"sub"]);
    assert!(matches!(client.list_directory("sub", LINES), Err(Error::Refused { .. })));
    assert!(matches!(client.list_with("sub", NAMES), Err(Error::Refused { verb: Verb::Cwd, .. })));
    assert_eq!(gather(&mut client, "empty", LINES).len(), 0);
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_server_that_ignores_the_argument_of_mlsd_is_listed_from_inside() {
    const TOP: &[u8] = b"type=dir; h\r\ntype=file; top\r\n";
    const FILE: &[u8] = b"type=file; x\r\n";
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("FEAT", "211-features\r\n MLST type*;\r\n211 end");
        // The listing shows the first name of the path, so it may be that of the top.
        for (path, shown) in [("h/t", "/h/t"), ("h/u", "/h/u")] {
            if path == "h/t" {
                listing(&mut peer, "MLSD h/t", TOP);
                peer.answer("MLST h/t/h", "550 no");
                peer.answer("PWD", "257 \"/\"");
                peer.answer("CWD h/t", "250 there");
                peer.answer("PWD", &format!("257 \"{shown}\""));
            } else {
                peer.answer("CWD /h/u", "250 there");
            }
            listing(&mut peer, "MLSD", FILE);
            if path == "h/u" {
                // The listing equals the one before.
                peer.answer("PWD", &format!("257 \"{shown}\""));
            }
        }
        peer.answer("CWD /", "250 back");
        peer.answer("NOOP", "200 ok");
    });
    for path in ["h/t", "h/u"] {
        assert_eq!(names(&gather(&mut client, path, ListOptions::default())), [b"x"]);
    }
    client.noop().unwrap();
    server.end();
    // A directory may have a subdirectory of its name, and CWD may be ignored as well.
    for (shown, works) in [(Some("250-F\r\n type=dir; h/h\r\n250 End"), true), (None, false)] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("FEAT", "211-features\r\n MLST type*;\r\n211 end");
            listing(&mut peer, "MLSD h", TOP);
            peer.answer("MLST h/h", shown.unwrap_or("550 no"));
            if shown.is_none() {
                peer.answer("PWD", "257 \"/\"");
                peer.answer("CWD h", "250 fine");
                peer.answer("PWD", "257 \"/\"");
            }
        });
        let listed = client.list("h").and_then(|entries| entries.gather(Budget::default()));
        match listed {
            Ok(listing) => assert!(works && listing.entries.len() == 2),
            Err(error) => {
                let is_elsewhere = matches!(error, Error::ListingCut(ListingCut::Elsewhere));
                assert!(!works && is_elsewhere, "{error}");
            }
        }
        server.end();
    }
}

#[test]
fn a_server_that_ignores_the_argument_of_list_is_listed_from_inside() {
    const TOP: &[u8] = b"drwxr-xr-x 2 u g 4096 Jan 2 2020 my dir\r\n";
    const FILE: &[u8] = b"-rw-r--r-- 1 u g 5 Jan 2 2020 f\r\n";
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("FEAT", "500 what");
        listing(&mut peer, "LIST", TOP);
        enter(&mut peer, "my dir");
        listing(&mut peer, "LIST", FILE);
        // The client stays there as long as it only lists.
        listing(&mut peer, "LIST", FILE);
        peer.answer("CWD /home/my dir/sub", "250 there");
        listing(&mut peer, "NLST", b"one\r\n");
        peer.answer("CWD /a*", "550 no");
        peer.answer("CWD /home", "250 back");
        // For a file, the argument is needed; another listing is not that of the file.
        listing(&mut peer, "LIST", TOP);
        peer.answer("CWD f", "550 not a directory");
        listing(&mut peer, "LIST f", FILE);
        for other in [TOP, b"", b"total 0\r\n"] {
            peer.answer("CWD g", "550 not a directory");
            peer.epsv();
            peer.answer("LIST g", "150 ok");
            // The client may not wait for the end of what it does not want.
            peer.reply("226 done");
            peer.send_data(other);
        }
        peer.answer("CWD there", "250 ok");
        listing(&mut peer, "LIST", FILE);
        peer.answer("CWD /home", "250 back");
        // After a transfer, only a 257 proves that the next reply answers the next command.
        peer.answer("PWD", "257 \"/home\"");
        peer.answer("DELE f", "250 gone");
        // The caller's own CWD moves both.
        peer.answer("CWD there", "250 ok");
        peer.answer("PWD", "257 \"/home/there\"");
        peer.answer("CWD d", "250 ok");
        listing(&mut peer, "LIST", FILE);
        peer.answer("QUIT", "221 bye");
    });
    let auto = ListOptions::default();
    assert_eq!(names(&gather(&mut client, "", auto)), [b"my dir"]);
    for _ in 0..2 {
        assert_eq!(names(&gather(&mut client, "my dir", auto)), [b"f"]);
    }
    assert_eq!(names(&gather(&mut client, "my dir/sub", NAMES)), [b"one"]);
    assert!(!client.has_moved());
    assert!(matches!(
        client.list_directory("/a*", auto),
        Err(Error::Refused { verb: Verb::Cwd, .. })
    ));
    assert_eq!(names(&gather(&mut client, "", auto)), [b"my dir"]);
    assert_eq!(names(&gather(&mut client, "f", auto)), [b"f"]);
    for _ in 0..3 {
        assert!(matches!(client.list_with("g", auto), Err(Error::Refused { verb: Verb::Cwd, .. })));
    }
    assert_eq!(gather(&mut client, "there", auto).len(), 1);
    assert!(client.is_ready());
    client.delete("f").unwrap();
    client.cwd("there").unwrap();
    assert_eq!(gather(&mut client, "d", auto).len(), 1);
    client.quit().unwrap();
    server.end();
}

#[test]
fn a_directory_listed_like_the_one_before_is_not_believed() {
    const TOP: &[u8] = b"drwxr-xr-x 2 u g 4096 Jan 2 2020 t\r\n";
    let (server, mut client) = Server::logged_in(|mut peer| {
        listing(&mut peer, "LIST", TOP);
        enter(&mut peer, "t");
        listing(&mut peer, "LIST", TOP);
        // The server has not moved.
        peer.answer("PWD", "257 \"/home\"");
        peer.answer("CWD /home/u", "250 ok");
        listing(&mut peer, "LIST", TOP);
        peer.answer("PWD", "257 \"/home/u\"");
        peer.answer("CWD /home", "250 back");
        peer.answer("NOOP", "200 ok");
    });
    assert_eq!(counted(&mut client, "", LINES).0, 1);
    let (_, end) = counted(&mut client, "t", LINES);
    assert!(matches!(end, Some(Error::ListingCut(ListingCut::Elsewhere))), "{end:?}");
    assert!(matches!(counted(&mut client, "u", LINES), (1, None)));
    client.noop().unwrap();
    server.end();
    // Without PWD, the listing of the directory above is the suspicious one.
    let (server, mut client) = Server::logged_in(|mut peer| {
        listing(&mut peer, "LIST", TOP);
        peer.answer("PWD", "502 no");
        peer.answer("XPWD", "502 no");
        for command in ["LIST t/t", "LIST t", "LIST u"] {
            listing(&mut peer, command, b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n");
        }
        listing(&mut peer, "LIST u/x", b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n");
    });
    for (directory, is_believed) in
        [("", true), ("t/t", true), ("t", true), ("u", true), ("u/x", false)]
    {
        let (_, end) = counted(&mut client, directory, LINES);
        assert_eq!(end.is_none(), is_believed, "{directory}: {end:?}");
    }
    server.end();
}
