//! Whole trees.

use ftp_client::error::ListingCut;
use ftp_client::listing::{Budget, ListOptions, ListingForm, Skipped, Walk, Walked};
use ftp_client::{Client, Entry, Error};

use crate::peer::{Peer, Server};

fn mlsd(peer: &mut Peer, directory: &str, lines: &str) {
    peer.epsv();
    peer.answer(format!("MLSD {directory}").trim_end(), "150 ok");
    peer.send_data(lines.replace('\n', "\r\n").as_bytes());
    peer.reply("226 done");
}

/// One line for each item: paths, and skipped items.
fn lines_of(walked: Walk<'_>) -> Vec<String> {
    let lines = walked.map(|item| match item {
        Ok(Walked::Entry { path, depth, .. }) => {
            format!("{depth} {}", String::from_utf8_lossy(&path))
        }
        Ok(Walked::Skipped { directory, why, .. }) => {
            format!("{}: {why}", String::from_utf8_lossy(&directory))
        }
        Err(error) => format!("! {error}"),
    });
    lines.collect()
}

fn mlsx<'c>(client: &'c mut Client, directory: &str) -> Walk<'c> {
    client.walk(directory).list(ListOptions::by(ListingForm::Mlsd))
}

#[test]
fn a_tree_is_listed_directory_by_directory_ls_48_hc_05_hc_09() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        let all = "type=cdir;unique=1; pub\ntype=pdir;unique=0; /\n\
            type=dir;unique=2; a\ntype=file;size=1; f\ntype=dir; ../etc\ntype=dir; ..\n\
            type=file; x/y\nnonsense\ntype=dir;unique=3; b\ntype=OS.unix=slink:/etc; link\n\
            type=dir; c\rDELE f\n";
        mlsd(&mut peer, "pub", all);
        mlsd(&mut peer, "pub/a", "type=dir; d\n");
        peer.epsv();
        peer.answer("MLSD pub/a/d", "550 not yours");
        mlsd(&mut peer, "pub/b", "type=file; g\n");
        peer.answer("NOOP", "200 ok");
    });
    let want = [
        "pub: not understood: nonsense",
        "0 pub/a",
        "0 pub/f",
        "pub: unsafe name: ../etc",
        "pub: unsafe name: x/y",
        "0 pub/b",
        "0 pub/link",
        "0 pub/c\rDELE f",
        "1 pub/a/d",
        "pub/a/d: not listed: MLSD refused: 550 not yours",
        "1 pub/b/g",
    ];
    let mut got = lines_of(mlsx(&mut client, "pub"));
    // The name that cannot be sent.
    assert!(got.pop().unwrap().starts_with("pub/c\rDELE f: not listed: not sent"));
    assert_eq!(got, want);
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_walk_does_not_follow_directory_loops() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        let top = "type=cdir;unique=1; /\ntype=dir;unique=2; a\ntype=dir;unique=1; self\n";
        mlsd(&mut peer, "", top);
        // Only the listing of the directory itself shows the identifier.
        mlsd(&mut peer, "a", "type=cdir;unique=2; /a\ntype=dir; up\ntype=dir;unique=3; b\n");
        mlsd(&mut peer, "a/up", "type=cdir;unique=1; /\ntype=dir;unique=2; a\n");
        mlsd(&mut peer, "a/b", "type=dir;unique=2; a\n");
    });
    let want = [
        "0 a",
        "0 self",
        "self: contains itself",
        "1 a/up",
        "1 a/b",
        "a/up: contains itself",
        "2 a/b/a",
        "a/b/a: contains itself",
    ];
    assert_eq!(lines_of(mlsx(&mut client, "")), want);
    server.end();
}

#[test]
fn a_walk_identifies_its_first_directory_with_mlst() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        mlsd(&mut peer, "", "type=dir;unique=2; a\ntype=file;unique=3; f\n");
        peer.answer("MLST", "250-Facts:\r\n type=dir;unique=1; /\r\n250 End");
        mlsd(&mut peer, "a", "type=dir;unique=1; up\n");
    });
    let want = ["0 a", "0 f", "1 a/up", "a/up: contains itself"];
    assert_eq!(lines_of(mlsx(&mut client, "")), want);
    server.end();
}

#[test]
fn a_walk_stops_at_its_limits_hc_14() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        for depth in 0..3 {
            mlsd(&mut peer, "d/".repeat(depth).trim_end_matches('/'), "type=dir; d\n");
            // The server may have listed the current directory again.
            if depth == 1 {
                peer.answer("MLST d/d", "250-Facts:\r\n type=dir; d/d\r\n250 End");
            }
        }
        for depth in 0..2 {
            let three = "type=file; a\ntype=file; b\ntype=dir; d\n";
            mlsd(&mut peer, "d/".repeat(depth).trim_end_matches('/'), three);
        }
        peer.allow_abort();
        peer.answer("NOOP", "200 ok");
    });
    // Without unique identifiers, a server can list without end.
    let want = ["0 d", "1 d/d", "2 d/d/d", "d/d/d: too deep"];
    assert_eq!(lines_of(mlsx(&mut client, "").depth(3)), want);
    let limits = Budget::new().entries(5);
    let got = lines_of(mlsx(&mut client, "").limits(limits));
    assert_eq!(&got[..3], ["0 a", "0 b", "0 d"]);
    assert!(got[3].starts_with("! ") && got.len() == 4, "{got:?}");
    client.noop().unwrap();
    server.end();
}

#[test]
fn the_paths_of_a_walk_count_towards_its_limit_hc_14() {
    // A chain of directories with long names, each with subdirectories that are not walked yet.
    let (name, beside) = ("d".repeat(2_000), 10);
    let (server, mut client) = Server::logged_in(move |mut peer| {
        let mut path = String::new();
        for at in 0..4 {
            let others = (0..beside).map(|at| format!("type=dir; {}{at}\n", "e".repeat(500)));
            mlsd(&mut peer, &path, &format!("type=dir; {name}\n{}", others.collect::<String>()));
            path = format!("{path}/{name}").trim_start_matches('/').to_owned();
            if at == 1 {
                let reply = format!("250-Facts:\r\n type=dir; {path}\r\n250 End");
                peer.answer(&format!("MLST {path}"), &reply);
            }
        }
        peer.allow_abort();
        peer.answer("NOOP", "200 ok");
    });
    let limits = Budget::new().entries(1_000).bytes(35_000);
    let mut walked = mlsx(&mut client, "").limits(limits);
    let end = walked.by_ref().find_map(Result::err).unwrap();
    assert!(matches!(end, Error::ListingCut(ListingCut::TooLong)), "{end}");
    assert!(walked.next().is_none());
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_walk_ends_with_a_refused_start_or_a_421() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.epsv();
        peer.answer("MLSD gone", "550 no such directory");
        mlsd(&mut peer, "", "type=dir; a\ntype=dir; b\n");
        peer.epsv();
        peer.answer("MLSD a", "421 enough");
    });
    assert_eq!(lines_of(mlsx(&mut client, "gone")), ["! MLSD refused: 550 no such directory"]);
    let mut walked = mlsx(&mut client, "");
    assert!(matches!(walked.next(), Some(Ok(Walked::Entry { .. }))));
    assert!(matches!(walked.next(), Some(Ok(Walked::Entry { .. }))));
    assert!(matches!(walked.next(), Some(Err(Error::ServiceClosing(_)))));
    assert!(walked.next().is_none());
    server.end();
}

#[test]
fn a_walk_yields_nothing_after_its_final_error() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        mlsd(&mut peer, "", "type=dir; a\ntype=dir; b\n");
        // The listing of `a` breaks off within a line, and `b` ends the session.
        peer.epsv();
        peer.answer("MLSD a", "150 ok");
        peer.send_data(b"type=file; half");
        peer.reply("226 done");
        peer.epsv();
        peer.answer("MLSD b", "421 enough");
    });
    let mut walked = mlsx(&mut client, "");
    let is_closing = |item: &_| matches!(item, Err(Error::ServiceClosing(_)));
    assert_eq!(
        walked.by_ref().take_while(|item| !is_closing(item)).filter(Result::is_err).count(),
        0
    );
    assert!(walked.next().is_none());
    server.end();
}

#[test]
fn a_list_walk_continues_after_an_interrupted_directory() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        for (directory, lines, last) in [
            (
                "",
                "drwxr-xr-x 2 u g 4096 Jan 2 2020 -a\r\nlrwxrwxrwx 1 u g 1 Jan 2 2020 l -> /\r\n\
                drwxr-xr-x 2 u g 4096 Jan 2 2020 b c\r\n",
                "226 done",
            ),
            ("-a", "-rw-r--r-- 1 u g 5 Jan 2 2020 half\r\n", "426 cut"),
            ("/x/b c", "-rw-r--r-- 1 u g 5 Jan 2 2020 f\r\n", "226 done"),
        ] {
            if directory == "-a" {
                peer.answer("PWD", "257 \"/x\"");
            }
            if !directory.is_empty() {
                peer.answer(&format!("CWD {directory}"), "250 there");
            }
            peer.epsv();
            peer.answer("LIST", "150 ok");
            peer.send_data(lines.as_bytes());
            peer.reply(last);
        }
    });
    let walked: Vec<_> =
        client.walk("").list(ListOptions::by(ListingForm::List)).map(Result::unwrap).collect();
    assert!(matches!(
        &walked[3],
        Walked::Skipped { directory, why: Skipped::Unlisted(Error::Refused { .. }), .. } if directory == b"-a"
    ));
    assert!(matches!(&walked[4], Walked::Entry { path, depth: 1, .. } if path == b"b c/f"));
    assert_eq!(walked.len(), 5);
    server.end();
}

#[test]
fn a_walk_lists_hidden_files_and_ends_with_a_truncation_error() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("FEAT", "500 what");
        for (directory, lines, last) in [
            (
                "",
                "drwxr-xr-x 2 u g 4096 Jan 2 2020 .\r\ndrwxr-xr-x 2 u g 4096 Jan 2 2020 .d\r\n\
                 drwxr-xr-x 2 u g 4096 Jan 2 2020 e\r\n",
                "226 done",
            ),
            (
                ".d",
                "-rw-r--r-- 1 u g 5 Jan 2 2020 one\r\n-rw-r--r-- 1 u g 5 Jan 2 2020 two\r\n",
                "226 Output truncated to 2 matches",
            ),
            ("/x/e", "-rw-r--r-- 1 u g 5 Jan 2 2020 three\r\n", "226 done"),
        ] {
            if directory == ".d" {
                peer.answer("PWD", "257 \"/x\"");
            }
            if !directory.is_empty() {
                peer.answer(&format!("CWD {directory}"), "250 there");
            }
            peer.epsv();
            peer.answer("LIST -a", "150 ok");
            peer.send_data(lines.as_bytes());
            peer.reply(last);
        }
    });
    let mut paths = Vec::new();
    let mut walked = client.walk("");
    let end = loop {
        match walked.next().unwrap() {
            Ok(Walked::Entry { path, .. }) => paths.push(String::from_utf8(path).unwrap()),
            Ok(Walked::Skipped { directory, why: Skipped::Cut(_), .. }) => {
                assert_eq!(directory, b".d");
            }
            Ok(walked) => panic!("{walked:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(end, Error::ListingCut(_)), "{end}");
    assert!(walked.next().is_none());
    assert_eq!(paths, [".d", "e", ".d/one", ".d/two", "e/three"]);
    server.end();
}

#[test]
fn a_walk_asks_what_an_object_of_unknown_type_is() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("FEAT", "211-have\r\n MLST size*;\r\n211 end");
        mlsd(
            &mut peer,
            "",
            "size=1; d\nsize=1; f\nsize=1; x\r\ntype=file; g\nsize=1; m\nsize=1; t\n",
        );
        // Neither the listing nor MLST tells the type: CWD does.
        peer.answer("MLST d", "250-it\r\n size=1; d\r\n250 end");
        peer.answer("PWD", "257 \"/\"");
        peer.answer("CWD d", "250 in");
        peer.answer("CWD /", "250 back");
        peer.answer("MLST f", "250-it\r\n type=file; f\r\n250 end");
        peer.answer("MLST m", "250-it\r\n type=dir; m\r\n250 end");
        // What the server does not want to tell is no directory, and ends nothing.
        peer.answer("MLST t", "450 busy");
        mlsd(&mut peer, "d", "size=1; below\n");
        peer.answer("MLST d/below", "550 what");
        peer.answer("PWD", "500 what");
        peer.answer("XPWD", "500 what");
        mlsd(&mut peer, "m", "");
        peer.answer("NOOP", "200 ok");
    });
    let walked: Vec<_> = client.walk("").map(Result::unwrap).collect();
    let shown: Vec<_> = walked
        .iter()
        .filter_map(|walked| match walked {
            Walked::Entry { path, entry, .. } => {
                Some((String::from_utf8_lossy(path).into_owned(), entry.is_dir()))
            }
            _ => None,
        })
        .collect();
    let want = [("d", true), ("f", false), ("x\r", false), ("g", false), ("m", true), ("t", false)];
    let want = want.into_iter().chain([("d/below", false)]);
    assert!(shown.iter().map(|(path, is_dir)| (path.as_str(), *is_dir)).eq(want), "{shown:?}");
    client.noop().unwrap();
    server.end();
}

#[test]
fn one_number_bounds_the_names_of_a_walk_and_of_its_caller_hc_14() {
    let lines: String = (0..100).map(|at| format!("type=dir; {at}\n")).collect();
    let weight = 100 * Budget::weight_of(&Entry::new("10"));
    // The bytes for the walk, those that the caller holds, and whether that is too much.
    for (bytes, held, want) in [
        (3 * weight, 0, None),
        (3 * weight, 2 * weight, Some(99)),
        // The listing fits, but not together with the subdirectories to be walked.
        (weight + 1_000, 0, Some(99)),
        (weight / 2, 0, Some(0)),
    ] {
        let lines = lines.clone();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            mlsd(&mut peer, "", &lines);
            peer.drain();
        });
        let limits = Budget::new().bytes(bytes);
        let mut walk = mlsx(&mut client, "").limits(limits);
        walk.budget().hold(held).unwrap();
        let mut ended = None;
        for seen in 0..100 {
            if let Err(error) = walk.next().unwrap() {
                assert!(matches!(error, Error::ListingCut(ListingCut::TooLong)), "{error}");
                ended = Some(seen);
                break;
            }
        }
        assert_eq!(ended.is_some(), want.is_some(), "{bytes} {held}");
        assert!(ended <= want, "{bytes} {held}: {ended:?}");
        drop(client);
        server.end();
    }
}
