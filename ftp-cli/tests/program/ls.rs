//! `ls`: names and long listings.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use ftp_tests::at_once::at_once;
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::scale::count;
use ftp_tests::site::OurServer;
use ftp_tests::terminal::Terminal;

use crate::peer::{Act, Peer};
use crate::{failed, ftp};

const FEAT: Act = Act::Say("211-features\r\n MLST type*;\r\n211 end");

#[test]
fn ls_prints_names_and_facts() {
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
fn a_pipe_gets_names_unchanged_and_in_server_order_li_05_ls_49() {
    let list = |lines: &[u8]| Act::Send("150 names", lines.to_vec(), "226 done");
    for (arguments, acts, want) in [
        (
            &["ls", "--sort", "none"][..],
            vec![("NLST", list(b"b\r\n./a\r\nx/c\x1b\xff\r\n.\r\n..\r\n"))],
            &b"b\na\nc\x1b\xff\n"[..],
        ),
        (
            &["ls", "--sort", "none"],
            vec![("FEAT", FEAT), ("MLSD", list(b"type=cdir; .\r\ntype=dir; b\r\n a\r\n"))],
            b"b\na\n",
        ),
        (&["ls"], vec![("NLST", list(b"b\r\nc\r\na\r\n"))], b"a\nb\nc\n"),
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
        // A line in an unknown format is shown unchanged.
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
fn an_interrupted_or_malformed_listing_fails() {
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
fn a_refused_directory_path_is_retried_after_cwd_cl_60() {
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
fn a_missing_directory_is_not_listed_as_empty() {
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

#[test]
fn a_pattern_lists_a_name_with_a_dot_only_if_it_begins_with_one() {
    let server = OurServer::start();
    for name in ["a", ".env", "d/b", "d/.c"] {
        server.root.write(name, b"x");
    }
    for (pattern, all, tree) in
        [("*", "a\nd\n", "a\nd\nd/b\n"), (".*", ".env\n", ".env\nd/.c\n"), ("[.]*", "", "")]
    {
        for (options, want) in [("-g", all), ("-ga", all), ("-gR", tree)] {
            let ran = run(&mut ftp(&["ls", options, &server.url(pattern)]));
            let shown = String::from_utf8(ran.succeeded()).unwrap();
            assert_eq!(shown, want, "{options} {pattern}");
        }
    }
    failed(&run(&mut ftp(&["ls", &format!("{}[.]*", server.url(""))])), 8, "no name matches");
}

#[test]
fn a_tree_is_listed_and_filtered_by_patterns() {
    let server = OurServer::start();
    server.root.mkdir("d/e");
    server.root.write("d/a.txt", b"1");
    server.root.write("d/e/b.txt", b"12");
    server.root.write("d/e/c.bin", b"123");
    let sorted = |arguments: &[&str], url: &str| {
        let out = run(ftp(arguments).arg(url)).succeeded();
        let mut lines: Vec<String> =
            String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let root = server.url("");
    assert_eq!(sorted(&["ls", "-R"], &root), ["d", "d/a.txt", "d/e", "d/e/b.txt", "d/e/c.bin"]);
    assert_eq!(sorted(&["ls", "-R"], &format!("{root}d/")), ["a.txt", "e", "e/b.txt", "e/c.bin"]);
    assert_eq!(sorted(&["ls", "-R"], &format!("{root}%2F")).len(), 5);
    assert_eq!(sorted(&["ls", "-Rg"], &format!("{root}d/*.txt")), ["a.txt", "e/b.txt"]);
    assert_eq!(sorted(&["ls", "-g"], &format!("{root}d/*.txt")), ["a.txt"]);
    assert_eq!(sorted(&["ls", "-g"], &format!("{root}d/e/[bc].%3F%3F%3F")), ["b.txt", "c.bin"]);
    assert_eq!(sorted(&["ls", "-g"], &format!("{root}d/x*")), [""; 0]);
    failed(&run(&mut ftp(&["ls", "-g", &format!("{root}missing/*")])), 8, "550");
    failed(&run(&mut ftp(&["ls", "-R", &format!("{root}missing")])), 8, "550");
    failed(&run(&mut ftp(&["ls", "-g", &root])), 2, "needs a pattern");
    let braces = format!("{root}d/*.%7Btxt,bin%7D");
    assert_eq!(sorted(&["ls", "-R"], &braces), ["a.txt", "e/b.txt", "e/c.bin"]);
    assert_eq!(run(ftp(&["get", "-o", "-"]).arg(&braces)).succeeded(), b"1");
    let invalid = format!("{root}d/*.%7Btxt%7D");
    for arguments in [&["ls", "-g"][..], &["ls"], &["get", "-o", "-"], &["rm"], &["rm", "-g"]] {
        failed(&run(ftp(arguments).arg(&invalid)), 2, "braces without a comma");
    }
    failed(
        &run(&mut ftp(&["ls", "-R", "--listing", "nlst", &root])),
        2,
        "cannot be combined with -R",
    );
}

#[test]
fn an_incompletely_listed_tree_exits_as_partial_li_06() {
    let list = |lines: &[u8]| Act::Send("150 list", lines.to_vec(), "226 done");
    let peer = Peer::start(&[
        ("FEAT", FEAT),
        ("MLSD x/d", Act::Say("550 not yours")),
        ("MLSD x/e", list(b"type=file; f\r\nnonsense\r\n")),
        ("MLSD x", list(b"type=dir; d\r\ntype=dir; e\r\ntype=dir; ../g\r\n")),
    ]);
    let ran = run(&mut ftp(&["ls", "-R", &peer.url("x")]));
    ran.exited(12);
    assert_eq!(ran.stdout, b"d\ne\ne/f\n", "{ran:?}");
    let said = String::from_utf8_lossy(&ran.stderr);
    for words in
        ["x/d: not listed", "550 not yours", "not understood: nonsense", "unsafe name: ../g"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!peer.seen().contains("../g"), "{}", peer.seen());
}

#[test]
fn json_lists_all_known_facts_and_exact_names_li_05_hl_08() {
    let list = |lines: &[u8]| Act::Send("150 list", lines.to_vec(), "226 done");
    let lines =
        b"-rw-r--r-- 1 u g 5 Jan 2 2020 -rf\r\nlrwxrwxrwx 1 u g 5 Jan 2 2020 y\xff -> z\r\n\
        -rw-r--r-- 1 u g 5 Jan 2 2020 \x1b[2J\r\n";
    let peer = Peer::start(&[("LIST", list(lines))]);
    let ran = run(&mut ftp(&["ls", "--json", "--sort", "none", &peer.url("")]));
    let json = ran.succeeded();
    let json = String::from_utf8(json).unwrap();
    let lines: Vec<&str> = json.lines().collect();
    assert_eq!(lines.len(), 5, "{json}");
    let entry = concat!(
        r#"{"v":1,"event":"entry","name":"-rf","type":"file","size":5,"modified_local":"2020-01-02","#,
        r#""permissions":"rw-r--r--","mode":"0644","owner":"u","group":"g","time":"#
    );
    assert!(lines[0].starts_with(entry), "{json}");
    let link = "\"name\":\"y\u{fffd}\",\"name_b64\":\"ef8=\",\"type\":\"link\"";
    assert!(lines[1].contains(link) && lines[1].contains("\"target\":\"z\""), "{json}");
    assert!(lines[2].contains(r#""name":"\u001b[2J""#), "{json}");
    assert!(lines[3].contains(r#""event":"done""#), "{json}");
    assert!(lines[4].starts_with(r#"{"v":1,"event":"summary","exit":0"#), "{json}");

    // A line in an unknown format would be missing.
    let peer = Peer::start(&[("LIST", list(b"nonsense\r\n"))]);
    let ran = run(&mut ftp(&["ls", "--json", &peer.url("")]));
    ran.exited(7);
    let peer = Peer::start(&[("FEAT", FEAT), ("MLSD", Act::Say("550 no"))]);
    let ran = run(&mut ftp(&["ls", "--json", &peer.url("x")]));
    ran.exited(8);
    let json = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(json.contains(r#""event":"error","kind":"refused","exit":8"#), "{json}");
    assert!(json.contains(r#""code":550"#), "{json}");
}

#[test]
fn a_terminal_gets_escaped_names_or_raw_names_on_request_li_04_li_05_hl_08() {
    let names = b"-x\r\na\x1b]0;title\x07\r\n\xc2\x9b2J\r\nb\xe2\x80\xaec\r\nd\xff\r\n\x7f\r\n";
    let start = |option: &[&str]| {
        let nlst = Act::Send("150 names", names.to_vec(), "226 done");
        let peer = Peer::start(&[("NLST", nlst)]);
        let mut terminal =
            Terminal::start(ftp(&["ls", "-q", "--sort=none"]).args(option).arg(peer.url("")));
        let (status, shown) = terminal.end();
        assert!(status.success(), "{shown:?}");
        shown.replace("\r\n", "\n")
    };
    let escaped = start(&[]);
    assert!(
        !escaped.contains(['\x1b', '\x07', '\u{9b}', '\u{202e}', '\x7f', '\u{fffd}']),
        "{escaped:?}"
    );
    assert!(escaped.starts_with("-x\na\\x1b]0;title\\x07\n"), "{escaped:?}");
    let raw = start(&["--raw-names"]);
    assert!(raw.contains("\x1b]0;title\x07\n\u{9b}2J\nb\u{202e}c\nd\u{fffd}\n\x7f\n"), "{raw:?}");
}

#[test]
fn a_partly_printed_listing_is_not_retried() {
    let cut = Act::Send("150 list", b"a\r\nb\r\n".to_vec(), "426 cut");
    let whole = Act::Send("150 list", b"a\r\nb\r\n".to_vec(), "226 done");
    let empty = Act::Send("150 list", Vec::new(), "426 cut");
    // To sort a listing, the program holds it until its end.
    for (first, order, code) in
        [(cut.clone(), "none", 9), (cut, "name", 0), (empty.clone(), "none", 0), (empty, "name", 0)]
    {
        let want = "a\nb\n";
        let peer = Peer::start(&[("NLST", first), ("NLST", whole.clone())]);
        let retry = ["ls", "--sort", order, "--retry", "3", "--retry-delay", "0s"];
        let ran = run(ftp(&retry).arg(peer.url("")));
        ran.exited(code);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), want, "{}", peer.seen());
    }
}

/// The reply to `PWD` of a server whose directories can be entered for a listing.
const PWD: (&str, Act) = ("PWD", Act::Say("257 \"/\""));

#[test]
fn a_directory_is_listed_without_an_argument_after_cwd() {
    let file = b"-rw-r--r-- 1 u g 5 Jan 2 2020 f\r\n";
    for (arguments, verb, data, want) in [
        (&["ls"][..], "NLST", &b"f\r\n"[..], "f\n"),
        (&["ls", "-l"], "LIST", file, "-rw-r--r--            5  2020-01-02        f\n"),
        (&["ls", "--listing", "list"], "LIST", file, "f\n"),
        (&["ls", "-R"], "LIST", file, "f\n"),
    ] {
        let peer = Peer::start(&[PWD, (verb, Act::Send("150 list", data.to_vec(), "226 done"))]);
        let ran = run(ftp(arguments).arg(peer.url("my%20dir")));
        assert_eq!(String::from_utf8_lossy(&ran.succeeded()), want, "{arguments:?}");
        let seen = peer.seen();
        // `-R` asks for hidden names first.
        let is_bare = !seen.contains("LIST my") && !seen.contains("LIST -a my");
        assert!(seen.contains("PWD, CWD my dir, EPSV, ") && is_bare, "{seen}");
        // The session ends where it is.
        assert_eq!(seen.matches("CWD").count(), 1, "{seen}");
    }
}

#[test]
fn directories_that_a_server_marks_are_listed_without_the_mark() {
    let facts = b"type=dir; sub/\r\ntype=file; a\r\n".to_vec();
    let feat = ("FEAT", Act::Say("211-x\r\n MLST type*;\r\n211 end"));
    for acts in [
        vec![("NLST", Act::Send("150 names", b"sub/\r\na\r\n".to_vec(), "226 done"))],
        vec![feat, ("MLSD", Act::Send("150 names", facts, "226 done"))],
    ] {
        let peer = Peer::start(&acts);
        let listed = run(&mut ftp(&["ls", &peer.url("")])).succeeded();
        assert_eq!(String::from_utf8(listed).unwrap(), "a\nsub\n");
    }
}

#[test]
fn a_missing_name_that_nlst_repeats_is_not_listed() {
    let acts = |pwd| {
        [
            ("PWD", Act::Say(pwd)),
            ("CWD", Act::Say("550 no such directory")),
            ("NLST gone", Act::Send("150 names", b"gone\r\n".to_vec(), "226 done")),
            ("NLST", Act::Send("150 names", b"a\r\n".to_vec(), "226 done")),
            ("LIST", Act::Send("150 names", b"total 0\r\n".to_vec(), "226 done")),
        ]
    };
    for (pwd, code) in [("257 \"/\"", 8), ("502 no", 11)] {
        let peer = Peer::start(&acts(pwd));
        let ran = run(&mut ftp(&["ls", &peer.url("gone")]));
        ran.exited(code);
        assert!(ran.stdout.is_empty(), "{ran:?} {}", peer.seen());
    }
    // A file is still listed.
    let mut acts = acts("257 \"/\"").to_vec();
    acts.insert(0, ("SIZE gone", Act::Say("213 5")));
    let peer = Peer::start(&acts);
    assert_eq!(run(&mut ftp(&["ls", &peer.url("gone")])).succeeded(), b"gone\n");
}

#[test]
fn ls_uses_list_if_nlst_wants_an_argument() {
    let lines = b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n".to_vec();
    for refusal in ["501 argument needed", "550 no files", "502 unknown"] {
        let peer = Peer::start(&[
            ("NLST", Act::Say(refusal)),
            ("LIST", Act::Send("150 list", lines.clone(), "226 done")),
        ]);
        assert_eq!(run(&mut ftp(&["ls", &peer.url("")])).succeeded(), b"a\n", "{refusal}");
    }
}

#[test]
fn a_line_that_cannot_be_parsed_is_not_shown_as_a_name() {
    let lines = b"-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n.: Permission denied\r\n".to_vec();
    let peer = Peer::start(&[
        ("NLST", Act::Say("550 No files found.")),
        ("LIST", Act::Send("150 list", lines, "226 done")),
    ]);
    let ran = run(&mut ftp(&["ls", &peer.url("")]));
    ran.exited(7);
    assert_eq!(ran.stdout, b"a\n", "{ran:?}");
}

#[test]
fn a_total_in_another_language_is_not_an_entry() {
    let lines = "samtals 8\r\n-rw-r--r-- 1 u g 5 Jan 2 2020 a\r\n".as_bytes().to_vec();
    let peer = Peer::start(&[("LIST", Act::Send("150 list", lines, "226 done"))]);
    let json = run(&mut ftp(&["ls", "--json", &peer.url("")])).succeeded();
    assert!(String::from_utf8_lossy(&json).starts_with(r#"{"v":1,"event":"entry","name":"a""#));
}

#[test]
fn the_names_of_hostile_listings_take_bounded_memory_at_scale() {
    let lines = |kind: &str, count: usize| -> Vec<u8> {
        let line = |at: usize| format!("type={kind};size=5;modify=20200102030405; n{at}\r\n");
        (0..count).map(line).collect::<String>().into_bytes()
    };
    // Listings that nearly take the memory for one tree, or more. A plain run has the first one.
    let cases: [(&[&str], &str, usize, &[i32]); 7] = [
        (&["ls", "-t"], "file", 350_000, &[0]),
        (&["ls", "-R"], "dir", 250_000, &[11, 12]),
        // The peer hangs up when a listing is aborted.
        (&["rm", "-r", "--no-links"], "dir", 150_000, &[4, 11, 12]),
        (&["ls", "-S", "-r"], "file", 500_000, &[11]),
        (&["ls", "-R"], "dir", 370_000, &[11]),
        (&["ls", "-R", "-t"], "file", 350_000, &[11]),
        (&["ls", "-R", "-S"], "dir", 150_000, &[11, 12]),
    ];
    at_once(2, &cases[..count(1, cases.len())], |(command, kind, count, want)| {
        let list = lines(kind, *count);
        let peer = Peer::start(&[
            ("FEAT", Act::Say("211-features\r\n MLST type*;size*;modify*;\r\n211 end")),
            ("PWD", Act::Say("257 \"/\"")),
            ("MLST", Act::Say("250-it\r\n type=dir; t\r\n250 end")),
            ("MLSD", Act::Send("150 list", list, "226 done")),
            ("LIST", Act::Send("150 list", Vec::new(), "226 done")),
            ("DELE", Act::Say("550 is a directory")),
            ("RMD", Act::Say("550 not empty")),
        ]);
        let here = TempRoot::new();
        let said = File::create(here.join("said")).unwrap();
        let mut ftp = ftp(command);
        ftp.arg(peer.url("t")).stdout(Stdio::null()).stderr(said);
        let (code, peak) = peak_of(&mut ftp);
        let said = String::from_utf8_lossy(&here.read("said")).into_owned();
        let case = format!("{command:?} {kind} {count}: {code:?}, {peak} KiB, {said:.500}");
        assert!(want.contains(&code.unwrap_or(-1)), "{case}");
        assert!((1..150 << 10).contains(&peak), "{case}");
    });
}

/// Returns the exit code of a program, and its largest resident memory in KiB.
pub(crate) fn peak_of(program: &mut Command) -> (Option<i32>, u64) {
    let mut child = program.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        // It never falls, but the first one may still be that of the tests' program: `exec` lets
        // `spawn` return a moment before the process has its own memory.
        peak = line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(peak);
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code(), peak);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn du_adds_up_all_files_of_a_tree() {
    let server = OurServer::start();
    server.root.write("t/a", &[b'x'; 1_000]);
    server.root.write("t/d/.hidden", &[b'x'; 500]);
    server.root.write("t/d/e/empty", b"");
    let (tree, file) = (server.url("t"), server.url("t/a"));
    let out = run(&mut ftp(&["du", &tree, &file])).succeeded();
    let shown = |url: &str| url.replace(":pass%20word", "");
    let want = format!("1500\t{}\n1000\t{}\n", shown(&tree), shown(&file));
    assert_eq!(String::from_utf8(out).unwrap(), want);
    let out = run(&mut ftp(&["du", "-h", &tree])).succeeded();
    assert!(out.starts_with(b"1.5 KiB\t"), "{}", String::from_utf8_lossy(&out));
    let out = String::from_utf8(run(&mut ftp(&["du", "--json", &tree])).succeeded()).unwrap();
    assert!(out.contains(r#""size":1500,"files":3,"directories":3"#), "{out}");
    failed(&run(&mut ftp(&["du", &server.url("missing")])), 8, "550");
}

#[test]
fn du_fails_if_something_is_not_counted() {
    let lines = |lines: &[u8]| Act::Send("150 list", lines.to_vec(), "226 done");
    let peer = Peer::start(&[
        ("FEAT", FEAT),
        ("MLST", Act::Say("250-the\r\n type=dir; t\r\n250 end")),
        ("MLSD", lines(b"type=file;size=7; a\r\ntype=dir; d\r\n")),
        ("MLSD", Act::Say("550 no")),
        ("LIST", Act::Say("550 no")),
    ]);
    failed(&run(&mut ftp(&["du", &peer.url("t")])), 12, "at least 7");
}

#[test]
fn stat_shows_the_digest_of_the_server() {
    let server = OurServer::start();
    server.root.write("f", b"abc");
    server.root.mkdir("d");
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let out = run(&mut ftp(&["stat", "--hash", &server.url("f")])).succeeded();
    let out = String::from_utf8(out).unwrap();
    assert!(out.ends_with(&format!("algorithm: SHA-256\nhash: {sum}\n")), "{out}");
    let out = run(&mut ftp(&["stat", "--hash", "--json", &server.url("f")])).succeeded();
    let want = format!(r#""algorithm":"SHA-256","hash":"{sum}""#);
    assert!(String::from_utf8_lossy(&out).contains(&want), "{}", String::from_utf8_lossy(&out));
    failed(&run(&mut ftp(&["stat", "--hash", &server.url("d")])), 8, "a directory has no digest");
    let peer = Peer::start(&[
        ("FEAT", FEAT),
        ("MLST", Act::Say("250-the\r\n type=file;size=7; f\r\n250 end")),
    ]);
    failed(&run(&mut ftp(&["stat", "--hash", &peer.url("f")])), 14, "");
}
