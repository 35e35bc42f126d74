//! `ls`: names and long listings.

use ftp_tests::process::run;
use ftp_tests::site::OurServer;

use crate::peer::{Act, Peer};
use crate::{failed, ftp};

const FEAT: Act = Act::Say("211-features\r\n MLST type*;\r\n211 end");

#[test]
fn names_and_facts_of_our_server() {
    let server = OurServer::start();
    server.root.write("a b", b"12345");
    server.root.mkdir("d");
    server.root.write("d/\u{e9}", b"");
    let names = |path: &str| {
        let out = run(&mut ftp(&["ls", &format!("{}{path}", server.url(""))])).succeeded();
        let mut names: Vec<String> =
            String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(names(""), ["a b", "d"]);
    assert_eq!(names("d"), ["\u{e9}"]);
    assert_eq!(names("d/"), ["\u{e9}"]);
    assert_eq!(names("%2Fd"), ["\u{e9}"]);
    let long = run(&mut ftp(&["ls", "-l", &server.url("")])).succeeded();
    let long = String::from_utf8(long).unwrap();
    let line = |name| long.lines().find(|line| line.ends_with(name)).unwrap();
    assert!(line("  a b").starts_with("-rw"), "{long}");
    assert!(line("  a b").contains(" 5  20"), "{long}");
    assert!(line("  d").starts_with("drwx"), "{long}");
    failed(&run(&mut ftp(&["ls", &server.url("missing")])), 8, "550");
}

#[test]
fn bytes_reach_a_pipe_as_they_are_and_the_order_stays_li_05_ls_49() {
    let list = |lines: &[u8]| Act::Send("150 names", lines.to_vec(), "226 done");
    for (arguments, acts, want) in [
        (
            &["ls"][..],
            vec![("NLST", list(b"b\r\n./a\r\nx/c\x1b\xff\r\n.\r\n..\r\n"))],
            &b"b\na\nc\x1b\xff\n"[..],
        ),
        (
            &["ls"],
            vec![("FEAT", FEAT), ("MLSD", list(b"type=cdir; .\r\ntype=dir; b\r\n a\r\n"))],
            b"b\na\n",
        ),
        (
            &["ls", "--listing", "list", "-a"],
            vec![
                ("FEAT", FEAT),
                ("LIST -a x", list(b"-rw-r--r-- 1 u g 5 Jan 2 2020 .x\r\nl--------- 1 u g 5 Jan 2 2020 y -> z\r\n")),
            ],
            b".x\ny\n",
        ),
        (&["ls", "-a"], vec![("NLST -a x", list(b"x/.a\r\n"))], b".a\n"),
        (
            &["ls", "-l"],
            vec![("FEAT", FEAT), ("MLSD", list(b"type=OS.unix=slink:/etc; a\r\n"))],
            b"l?????????            -  -                 a -> /etc\n",
        ),
        // What is not understood is shown as it came.
        (
            &["ls", "-l"],
            vec![("LIST", list(b"total 1\r\n-rw x  \r\n-rw-r--r-- 1 u g 5 Jan 2 2020 y \r\n"))],
            b"-rw x  \n-rw-r--r--            5  2020-01-02        y \n",
        ),
        // MLSD does not list a file, LIST does.
        (
            &["ls"],
            vec![
                ("FEAT", FEAT),
                ("MLSD", Act::Say("501 a file")),
                ("LIST", list(b"-rw-r--r-- 1 u g 5 Jan 2 2020 x\r\n")),
            ],
            b"x\n",
        ),
    ] {
        let peer = Peer::start(&acts);
        let ran = run(ftp(arguments).arg(peer.url("x")));
        assert_eq!(ran.succeeded(), want, "{acts:?}");
    }
}

#[test]
fn a_listing_that_is_cut_is_no_success() {
    for (nlst, code) in [
        (Act::Send("150 names", b"a\r\n".to_vec(), "426 cut"), 9),
        (Act::SendAndBreak("150 names", b"a\r\n".to_vec()), 4),
        (Act::Say("530 no"), 8),
    ] {
        let peer = Peer::start(&[("NLST", nlst)]);
        run(&mut ftp(&["ls", &peer.url("")])).exited(code);
    }
    let lines = Act::Send(
        "150 facts",
        b"type=file; a\r\nnonsense\r\ntype=file; b\r\n".to_vec(),
        "226 done",
    );
    let peer = Peer::start(&[("FEAT", FEAT), ("MLSD", lines)]);
    let ran = run(&mut ftp(&["ls", &peer.url("")]));
    ran.exited(7);
    assert_eq!(ran.stdout, b"a\nb\n", "{ran:?}");
}

#[test]
fn a_directory_that_is_refused_whole_is_entered_cl_60() {
    let acts = [
        ("NLST a/b", Act::Say("550 no")),
        ("NLST b", Act::Send("150 names", b"c\r\n".to_vec(), "226 done")),
    ];
    let peer = Peer::start(&acts);
    assert_eq!(run(&mut ftp(&["ls", &peer.url("a/b/")])).succeeded(), b"c\n");
    assert!(peer.seen().contains("CWD a, "), "{}", peer.seen());

    let peer = Peer::start(&[("NLST a/x/b", Act::Say("550 no")), acts[1].clone()]);
    assert_eq!(run(&mut ftp(&["ls", &peer.url("a%2Fx/b//")])).succeeded(), b"c\n");
    assert!(peer.seen().contains("CWD a/x, "), "{}", peer.seen());
}

#[test]
fn a_directory_that_is_not_there_is_not_an_empty_one() {
    let empty = || Act::Send("150 names", Vec::new(), "226 done");
    for (cwd, code) in [("250 there", 0), ("550 no such directory", 8)] {
        for (option, verb) in [("-q", "NLST"), ("-l", "LIST")] {
            let peer = Peer::start(&[(verb, empty()), ("CWD", Act::Say(cwd))]);
            let ran = run(&mut ftp(&["ls", option, &peer.url("a/")]));
            ran.exited(code);
            assert!(ran.stdout.is_empty(), "{ran:?}");
            assert!(peer.seen().contains("CWD a"), "{}", peer.seen());
        }
    }
}
