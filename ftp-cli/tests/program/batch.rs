//! `batch`: a queue of commands over one control connection.

use std::io::Write;
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::process::{Command, Stdio};

use ftp_tests::folding::{FoldingServer, Kind};
use ftp_tests::peer::RealServer;
use ftp_tests::process::{LIMIT, Ran, Running, run, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};

use crate::peer::{Act, Peer};
use crate::{failed, ftp};

/// Returns `batch` in its own directory.
fn batch(here: &TempRoot, arguments: &[&str]) -> Command {
    let mut batch = ftp(&["batch"]);
    batch.args(arguments).current_dir(here.path());
    batch
}

fn said(ran: &Ran) -> String {
    String::from_utf8_lossy(&ran.stderr).into_owned()
}

#[test]
fn batch_commands_work_with_every_server() {
    let host = Ipv4Addr::LOCALHOST;
    let mut servers: Vec<(&str, Box<dyn Deref<Target = Site>>)> =
        vec![("ours", Box::new(OurServer::start()))];
    for (name, server) in [
        ("vsftpd", RealServer::vsftpd_at(host)),
        ("proftpd", RealServer::proftpd_at(host)),
        ("pure-ftpd", RealServer::pure_ftpd_at(host)),
        ("pyftpdlib", RealServer::pyftpdlib_at(host)),
    ] {
        if let Some(server) = server {
            servers.push((name, Box::new(server)));
        }
    }
    for (name, site) in servers {
        let site = &**site;
        let here = TempRoot::new();
        here.write("one", b"1\n2\n");
        here.write("two words", b"22");
        let script = "# a queue\n\
            mkdir -p 'd e/f'\n\
            cd \"d e\"\n\
            put one\n\
            put 'two words' f/\n\
            put one f/text   # again\n\
            get f/two\\ words back\n\
            ascii\n\
            put one lines\n\
            binary\n\
            ls f\n\
            mv one f/three\n\
            stat f/three\n\
            rm -f missing f/text\n\
            quote NOOP\n\
            cd ..\n\
            get 'd e/f/three'\n";
        here.write("script", script.as_bytes());
        let ran = run(&mut batch(&here, &["--trace", &site.url(""), "script"]));
        let (told, shown) = (said(&ran), String::from_utf8_lossy(&ran.stdout).into_owned());
        assert_eq!(ran.code(), Some(0), "{name}: {ran:?}");
        assert!(told.contains("16 lines done, 0 failed, 0 not tried"), "{name}: {told}");
        assert_eq!(told.matches("> USER").count(), 1, "{name}: {told}");
        for line in ["two words\n", "text\n", "name: f/three\ntype: file\nsize: 4\n"] {
            assert!(shown.contains(line), "{name}: {shown}");
        }
        assert_eq!(here.read("back"), b"22", "{name}");
        assert_eq!(here.read("three"), b"1\n2\n", "{name}");
        assert_eq!(site.root.read("d e/lines"), b"1\n2\n", "{name}");
        assert!(!site.root.join("d e/f/text").exists(), "{name}");
        let ran = run_with(&mut batch(&here, &["-q", &site.url("")]), b"rm -r 'd e/'\n", LIMIT);
        assert_eq!((ran.code(), said(&ran).as_str()), (Some(0), ""), "{name}: {ran:?}");
        site.assert_only(&[]);
    }
}

#[test]
fn a_failed_line_is_reported_and_the_batch_continues_li_06() {
    let server = OurServer::start();
    let here = TempRoot::new();
    here.write("a", b"1");
    let script = b"get missing\nput nowhere\nput a\nfrobnicate\nls 'unclosed\nquote SITE NOTHING\n\
        quote RETR a\nrm a x\ncd nowhere\nascii\n";
    let ran = run_with(&mut batch(&here, &[&server.url("")]), script, LIMIT);
    failed_with_replies(&ran, 12);
    let told = said(&ran);
    for words in [
        "line 1: missing: RETR refused: 550",
        "line 2: nowhere: ",
        "line 4: unknown command frobnicate",
        "line 5: missing closing '",
        "line 6: SITE refused: 50",
        "line 7: ",
        "line 8: x: DELE refused: 550",
        "line 9: nowhere: CWD refused: 550",
        "2 lines done, 8 failed, 0 not tried",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    server.assert_only(&[]);
    assert_eq!(here.names(), [b"a"]);

    // No line succeeded: the exit code is that of the last failure.
    let ran = run_with(&mut batch(&here, &[&server.url("")]), b"get missing\n", LIMIT);
    failed(&ran, 8, "0 lines done, 1 failed");
    let script = here.write("script", b"put a\nget missing\nput a b\nput a c\n");
    let arguments = ["--stop-on-error", &server.url(""), script.to_str().unwrap()];
    failed(&run(&mut batch(&here, &arguments)), 12, "1 line done, 1 failed, 2 not tried");
    server.assert_only(&[b"a"]);
}

#[test]
fn a_word_with_a_dash_is_no_name_and_bye_ends_the_batch() {
    let server = OurServer::start();
    server.root.write("a", b"1");
    server.root.write("-c", b"dash");
    server.root.mkdir("d");
    server.root.write("d/x", b"x");
    let here = TempRoot::new();
    let script =
        b"get a -c\nget -c a\nget -r d\nstat --hash a\nrm d -r\nget a &\nget *.iso\nput *.txt\n\
        get ./-c got\nget a\nquit\nrm a\n";
    let ran = run_with(&mut batch(&here, &[&server.url("")]), script, LIMIT);
    failed_with_replies(&ran, 12);
    let told = said(&ran);
    for words in [
        "line 1: get: unknown option -c; expected get REMOTE [LOCAL]; as a name, use ./-c",
        "line 2: get: unknown option -c; expected",
        "line 3: get: unknown option -r; expected",
        "line 4: stat: unknown option --hash; expected",
        "line 5: rm: misplaced option -r",
        "line 6: get: unknown option &",
        "line 7: *.iso: RETR refused: 550",
        "line 8: *.txt: ",
        "2 lines done, 8 failed, 0 not tried",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(told.matches("; batch expands no patterns").count(), 2, "{told}");
    assert_eq!(here.names(), [b"a".as_slice(), b"got"]);
    assert!(server.root.join("a").exists() && server.root.join("d/x").exists());

    let script = here.write("script", b"ls d\nbye\nrm a\n");
    let ran = run(&mut batch(&here, &[&server.url(""), script.to_str().unwrap()]));
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    assert!(said(&ran).contains("1 line done, 0 failed, 1 not tried"), "{ran:?}");
    assert!(server.root.join("a").exists());
}

#[test]
fn relative_paths_are_skipped_after_a_failed_cd() {
    let server = OurServer::start();
    let here = TempRoot::new();
    here.write("a", b"1");
    for name in ["keep", "there", "gone"] {
        server.root.write(name, b"old");
    }
    server.root.mkdir("d");
    server.root.write("d/a", b"d");
    for wrong in ["cd nowhere", "cd nowhere else", "cd 'nowhere", "lcd nowhere"] {
        let script = format!(
            "{wrong}\nrm keep\nput a there\nput a\nget keep\nmv keep /k\ncd ..\nquote DELE keep\nls\n\
             rm -f /gone keep\nrm -f /gone\nput a /new\nbinary\ncd /d\nget a got\nrm a\n"
        );
        let ran = run_with(&mut batch(&here, &[&server.url("")]), script.as_bytes(), LIMIT);
        failed(&ran, 12, "6 lines done, 10 failed");
        let words = "line 2: skipped: line 1 did not change the directory";
        assert!(said(&ran).contains(words), "{ran:?}");
        for name in ["keep", "there"] {
            assert_eq!(server.root.read(name), b"old", "{wrong} {name}: {ran:?}");
        }
        assert_eq!(server.root.read("new"), b"1", "{wrong}");
        assert_eq!((here.read("got"), here.names().len()), (b"d".to_vec(), 2), "{wrong}");
        assert!(!server.root.join("d/a").exists() && !server.root.join("a").exists(), "{wrong}");
        server.root.write("d/a", b"d");
    }
}

#[test]
fn a_cwd_sent_by_quote_counts_as_cd() {
    let here = TempRoot::new();
    // A new connection after a broken one enters the same directory.
    for (raw, led) in [("CWD d e", "CWD d e, "), ("xcwd /d", "CWD /d, "), ("CDUP", "CWD .., ")] {
        let broken = Act::SendAndBreak("150 data (10 bytes)", b"12345".to_vec());
        let first =
            vec![("RETR", broken), ("xcwd", Act::Say("250 in")), ("CDUP", Act::Say("250 up"))];
        let peer = Peer::start_several(vec![first, vec![("MKD", Act::Say("257 \"x\" made"))]]);
        let script = format!("quote {raw}\nget a\nmkdir x\n");
        let ran = run_with(&mut batch(&here, &[&peer.url("")]), script.as_bytes(), LIMIT);
        ran.exited(12);
        let seen = peer.seen();
        let (_, second) = seen.rsplit_once("USER").unwrap();
        assert!(second.contains(led) && second.contains("MKD x"), "{seen}");
    }
    let peer = Peer::start(&[("CWD", Act::Say("550 no")), ("DELE", Act::Say("250 gone"))]);
    let script = b"quote CWD d\nrm a\n";
    let ran = run_with(&mut batch(&here, &[&peer.url("")]), script, LIMIT);
    ran.exited(8);
    assert!(!peer.seen().contains("DELE"), "{}", peer.seen());
}

#[test]
fn all_failures_of_a_line_are_reported_in_order_li_06() {
    let server = OurServer::start();
    let here = TempRoot::new();
    server.root.write("there", b"");
    let script = b"rm one two there three\n";
    let ran = run_with(&mut batch(&here, &["--json", &server.url("")]), script, LIMIT);
    failed_with_replies(&ran, 8);
    let (told, json) = (said(&ran), String::from_utf8_lossy(&ran.stdout).into_owned());
    let mut at = 0;
    for name in ["one", "two", "three"] {
        let words = format!("line 1: {name}: DELE refused: 550");
        let found = told.find(&words);
        assert!(found >= Some(at) && json.contains(&words), "{words}: {told} {json}");
        at = found.unwrap();
    }
    assert_eq!(json.matches("\"event\":\"error\"").count(), 3, "{json}");
    assert!(json.contains("\"done\":1,\"failed\":3"), "{json}");
    assert!(!server.root.join("there").exists());
}

/// As `failed`, for a run that prints replies.
#[track_caller]
fn failed_with_replies(ran: &Ran, code: i32) {
    ran.exited(code);
}

#[test]
fn a_batch_file_with_an_invalid_line_runs_nothing() {
    let here = TempRoot::new();
    for (text, words) in [
        ("put a\n\nbogus x\n", "script:3: unknown command bogus"),
        ("put a\nget\n", "script:2: expected get REMOTE [LOCAL]"),
        ("put 'a", "script:1: missing closing '"),
    ] {
        here.write("script", text.as_bytes());
        let peer = Peer::start(&[]);
        failed(&run(&mut batch(&here, &[&peer.url(""), "script"])), 2, words);
        assert_eq!(peer.seen(), "");
    }
    failed(&run(&mut batch(&here, &["ftp://127.0.0.1/", "nothing"])), 3, "nothing: ");
    failed(&run(&mut batch(&here, &["ftp://127.0.0.1/", "/dev/zero"])), 3, "/dev/zero: ");
    failed(&run(&mut batch(&here, &[])), 2, "batch takes a URL");
}

#[test]
fn lines_from_a_pipe_run_as_they_arrive() {
    let server = OurServer::start();
    let here = TempRoot::new();
    let mut batch = batch(&here, &["-q", &server.url("")]);
    let mut batch = Running::start(batch.stdin(Stdio::piped()).stderr(Stdio::null()));
    let mut input = batch.child.stdin.take().unwrap();
    for name in ["one", "two"] {
        writeln!(input, "mkdir {name}").unwrap();
        let made = || server.root.join(name).is_dir().then_some(());
        batch.wait_until(LIMIT, made).unwrap();
    }
    drop(input);
    assert!(batch.wait(std::time::Instant::now() + LIMIT).unwrap().success());
}

#[test]
fn no_upload_follows_after_the_server_is_full() {
    let here = TempRoot::new();
    here.write("a", b"1");
    for (code, reply) in [(452, "452 no space"), (552, "552 over quota")] {
        let peer = Peer::start(&[
            ("STOR b", Act::Say(reply)),
            ("STOR", Act::Take("150 go on", "226 done")),
            ("MKD", Act::Say("257 \"d\" made")),
        ]);
        let script = b"put a\nput a b\nput a c\nmkdir d\n";
        let ran = run_with(&mut batch(&here, &[&peer.url("")]), script, LIMIT);
        failed(&ran, 12, "2 lines done, 2 failed");
        let seen = peer.seen();
        assert!(!seen.contains("STOR c") && seen.contains("MKD d"), "{seen}");
        assert!(said(&ran).contains(&format!("refused: {code}")), "{ran:?}");
        assert!(said(&ran).contains("line 3: skipped"), "{ran:?}");
    }
}

#[test]
fn a_lost_connection_fails_only_one_line() {
    // Our server ends an idle session.
    let server = OurServer::start();
    server.root.mkdir("d/e");
    let here = TempRoot::new();
    let url = format!("{}d/", server.url(""));
    let mut batch = batch(&here, &["--trace=trace", &url]);
    let mut batch = Running::start(batch.stdin(Stdio::piped()).stderr(Stdio::null()));
    let mut input = batch.child.stdin.take().unwrap();
    writeln!(input, "cd e\nmkdir one").unwrap();
    let made = |name: &str| server.root.join(name).is_dir().then_some(());
    batch.wait_until(LIMIT, || made("d/e/one")).unwrap();
    for session in server.server.sessions() {
        assert!(server.server.dismiss(session.number));
    }
    let gone = || (server.server.sessions().is_empty()).then_some(());
    batch.wait_until(LIMIT, gone).unwrap();
    writeln!(input, "mkdir two").unwrap();
    batch.wait_until(LIMIT, || made("d/e/two")).unwrap();
    drop(input);
    assert!(batch.wait(std::time::Instant::now() + LIMIT).unwrap().success());

    // During a transfer.
    let peer =
        Peer::start(&[("RETR", Act::SendAndBreak("150 data (10 bytes)", b"12345".to_vec()))]);
    let ran = run_with(&mut self::batch(&here, &[&peer.url("")]), b"get a\nget b\n", LIMIT);
    ran.exited(4);
    assert!(said(&ran).contains("line 1: ") && said(&ran).contains("line 2: "), "{ran:?}");
    assert!(!here.join("a").exists() && !here.join("b").exists());
}

#[test]
fn batch_json_has_an_event_per_line_and_no_password_li_12() {
    let server = OurServer::start();
    let here = TempRoot::new();
    here.write("a", b"123");
    let script = b"put a\nget missing\nrm a\nquote PASS geheim\nmkdir 'd\xff'\n";
    let ran = run_with(&mut batch(&here, &["--json", "--trace", &server.url("")]), script, LIMIT);
    ran.exited(12);
    let json = String::from_utf8(ran.stdout.clone()).unwrap();
    for words in [
        r#""event":"done","source":"a","target":"a","line":1,"bytes":3"#,
        r#""event":"error","kind":"refused","exit":8,"message":"line 2: "#,
        r#""event":"done","name":"a","line":3"#,
        "\"name\":\"d\u{fffd}\",\"name_b64\":\"ZP8=\",\"line\":5",
        r#""event":"summary","exit":12,"kind":"partial""#,
    ] {
        assert!(json.contains(words), "{words}: {json}");
    }
    assert!(!json.contains("geheim") && !said(&ran).contains("geheim"), "{json} {ran:?}");
    assert!(server.root.join(b"d\xff").is_dir());
}

#[test]
fn batch_json_has_unescaped_names_hl_08() {
    let server = OurServer::start();
    let here = TempRoot::new();
    here.write(b"\\e\xff", b"123");
    let script = b"put '\\e\xff'\nget '\\e\xff' new\n";
    let ran = run_with(&mut batch(&here, &["--json", &server.url("")]), script, LIMIT);
    ran.exited(0);
    let json = String::from_utf8(ran.stdout.clone()).unwrap();
    let name = |key| format!("\"{key}\":\"\\\\e\u{fffd}\",\"{key}_b64\":\"XGX/\"");
    let (source, target) = (name("source"), name("target"));
    for words in
        [format!("{source},{target},\"line\":1"), format!("{source},\"target\":\"new\",\"line\":2")]
    {
        assert!(json.contains(&words), "{words}: {json}");
    }
}

#[test]
fn transfer_options_apply_to_batch_lines() {
    let server = OurServer::start();
    let here = TempRoot::new();
    here.write("a", b"new");
    server.root.write("a", b"old");
    let lines = b"put a\nget a b\n";
    let ran = run_with(&mut batch(&here, &["-n", &server.url("")]), lines, LIMIT);
    ran.exited(0);
    assert_eq!(server.root.read("a"), b"old");
    assert_eq!(here.read("b"), b"old");
    let verify = ["--verify", "size", &server.url("")];
    let ran = run_with(&mut batch(&here, &verify), b"ascii\nput a\n", LIMIT);
    failed(&ran, 12, "ascii cannot be combined");
    let ran =
        run_with(&mut batch(&here, &["--create-dirs", &server.url("")]), b"put a x/y/z\n", LIMIT);
    ran.exited(0);
    assert_eq!(server.root.read("x/y/z"), b"new");
}

#[test]
fn listing_a_directory_does_not_change_into_it() {
    let here = TempRoot::new();
    let empty = || Act::Send("150 list", Vec::new(), "226 done");
    let acts = |pwd: &'static str| {
        [
            ("PWD", Act::Say(pwd)),
            ("SYST", Act::Say("215 UNIX")),
            ("NLST", empty()),
            ("LIST", empty()),
            ("MKD", Act::Say("257 \"x\" made")),
        ]
    };
    // If the server reports the directory, `batch` returns to it; otherwise it connects again.
    let peer = Peer::start(&acts("257 \"/home\""));
    let ran = run_with(&mut batch(&here, &[&peer.url("")]), b"ls d\nstat d\nmkdir x\n", LIMIT);
    ran.exited(0);
    let seen = peer.seen();
    assert_eq!(seen.matches("CWD d, CWD /home").count(), 2, "{seen}");
    assert!(seen.find("MKD x") > seen.rfind("CWD /home"), "{seen}");

    // The peer accepts one connection.
    let peer = Peer::start(&acts("550 no"));
    let ran = run_with(&mut batch(&here, &[&peer.url("")]), b"ls d\nmkdir x\n", LIMIT);
    failed(&ran, 12, "1 line done, 1 failed");
    assert!(!peer.seen().contains("MKD"), "{}", peer.seen());
}

#[test]
fn an_upload_does_not_replace_another_one_of_the_same_batch() {
    for (kind, code) in [(Kind { no_case: true, ..Kind::default() }, 12), (Kind::default(), 0)] {
        let (server, here) = (FoldingServer::start(kind), TempRoot::new());
        here.write("README", b"one");
        here.write("Readme", b"two");
        let mut batch = batch(&here, &[&server.url("")]);
        let ran = run_with(&mut batch, b"put README\nput Readme\nput README\n", LIMIT);
        assert_eq!(ran.code(), Some(code), "{ran:?}");
        assert_eq!(server.read("README").as_deref(), Some(&b"one"[..]));
        let words = "the server stores it as the same file as README";
        assert_eq!(said(&ran).contains(words), code != 0, "{ran:?}");
    }
}

#[test]
fn an_upload_does_not_replace_another_one_of_another_line_of_the_batch() {
    for (lines, one) in [
        ("put README\ncd .\nput Readme\n", "README"),
        ("put README\nquote CWD .\nput Readme\n", "README"),
        ("put README d/README\ncd d\nput Readme\n", "d/README"),
        ("put README /README\nput Readme\n", "README"),
        ("put README\nput Readme /d/../Readme\n", "README"),
        ("put README d/README\nput Readme /d/Readme\n", "d/README"),
        ("put README /d/README\ncd /d\nput Readme\n", "d/README"),
        ("put README D/f\nput Readme d/f\n", "D/f"),
        ("put README D/f\ncd d\nput Readme f\n", "D/f"),
        ("cd D\nput README f\ncd ../d\nput Readme f\n", "D/f"),
        ("cd /D\nput README f\ncd ../d\nput Readme f\n", "D/f"),
        ("put README\nput Readme ../Readme\n", "README"),
        ("put README ../README\nput Readme\n", "README"),
    ] {
        // Whether the server takes both for one file, and tells the current directory.
        for (no_case, tells) in [(true, true), (true, false), (false, true), (false, false)] {
            for options in [&[][..], &["-n"]] {
                let refuses = if tells { vec![] } else { vec![("PWD", "550 no")] };
                let kind = Kind { no_case, refuses, ..Kind::default() };
                let (server, here) = (FoldingServer::start(kind), TempRoot::new());
                here.write("README", b"one");
                here.write("Readme", b"two");
                server.mkdir("D");
                server.mkdir("d");
                let url = server.url("");
                let arguments = [options, &[&*url]].concat();
                let ran = run_with(&mut batch(&here, &arguments), lines.as_bytes(), LIMIT);
                let what = format!("{lines} {no_case} {tells} {options:?}: {ran:?}");
                assert_eq!(ran.code(), Some(if no_case { 12 } else { 0 }), "{what}");
                if !no_case || tells {
                    assert_eq!(server.read(one).as_deref(), Some(&b"one"[..]), "{what}");
                }
                let words = ["stores it as the same file", "may be the same file"];
                let told = words.map(|words| said(&ran).contains(words));
                assert_eq!(told.contains(&true), no_case, "{what}");
            }
        }
    }
}

#[test]
fn lines_of_a_batch_that_write_different_files_do_not_fail() {
    for (lines, needs_directory) in [
        ("cd /d\nput a f\ncd /e\nput a f\ncd g\nput a f\n", false),
        ("cd /d/h\nput a f\nput a F\nput a f\ncd ../../e\nput a f\n", false),
        ("put a d/f\nput a e/f\nput a d/f\n", false),
        ("cd d\nput a f\nput a ../f\nput a F\n", true),
        ("cd d\nput a f\ncd ../e\nput a f\nput a /f\n", true),
    ] {
        for tells in [true, false] {
            let refuses = if tells { vec![] } else { vec![("PWD", "550 no")] };
            let kind = Kind { refuses, ..Kind::default() };
            let (server, here) = (FoldingServer::start(kind), TempRoot::new());
            for path in ["d/h/x", "e/g/x"] {
                server.write(path, b"x");
            }
            here.write("a", b"one");
            for run in 0..2 {
                let ran = run_with(&mut batch(&here, &[&server.url("")]), lines.as_bytes(), LIMIT);
                // What the first run has stored may be what the second one has written before.
                let may_fail = run == 1 && needs_directory && !tells;
                let code = if may_fail { 12 } else { 0 };
                assert_eq!(ran.code(), Some(code), "{lines} {tells} {run}: {ran:?}");
            }
        }
    }
}

#[test]
fn an_upload_whose_directory_is_unknown_costs_the_same_after_many_others() {
    let kind = Kind { refuses: vec![("PWD", "550 no")], ..Kind::default() };
    let (server, here) = (FoldingServer::start(kind), TempRoot::new());
    here.write("a", b"one");
    let mut lines = String::new();
    for number in 0..40 {
        server.mkdir(&format!("d{number}"));
        lines.push_str(&format!("cd d{number}\nput a\nput a /d{number}/b\ncd ..\n"));
    }
    let ran = run_with(&mut batch(&here, &[&server.url("")]), lines.as_bytes(), LIMIT);
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    let seen = server.seen();
    let at = |name: &str| seen.iter().position(|line| *line == format!("CWD {name}")).unwrap();
    let cost = |from: &str, to: &str| at(to) - at(from);
    assert_eq!(cost("d10", "d11"), cost("d38", "d39"), "{seen:?}");
}

#[test]
fn only_a_batch_that_may_write_one_file_twice_asks_for_the_directory() {
    for (lines, asked) in [
        ("put a\nput b\nput a\nput a e/a\nput a /e/c\n", 0),
        ("put a\nput b\ncd e\nget b\ncd /d\nget c\n", 1),
        ("put a\nput a /e/a\nput b\nput b /e/b\n", 1),
        ("cd /d\nput a /d/a\ncd /e\nput a /e/a\n", 0),
    ] {
        let (server, here) = (FoldingServer::start(Kind::default()), TempRoot::new());
        for path in ["e/b", "d/c"] {
            server.write(path, b"x");
        }
        here.write("a", b"one");
        here.write("b", b"two");
        let ran = run_with(&mut batch(&here, &[&server.url("")]), lines.as_bytes(), LIMIT);
        assert_eq!(ran.code(), Some(0), "{ran:?}");
        let seen = server.seen();
        let count = seen.iter().filter(|line| *line == "PWD").count();
        assert_eq!(count, asked, "{lines}: {seen:?}");
    }
}

#[test]
fn what_quote_has_set_is_not_lost_with_a_connection() {
    let here = TempRoot::new();
    here.write("a", b"1");
    let taken = || ("STOR", Act::Take("150 go on", "226 done"));
    for (raw, name, ends) in [
        ("quote USER bob\nquote PASS x\n", "line 1: quote USER: ", true),
        ("quote SITE UMASK 077\n", "line 1: quote SITE: ", true),
        ("quote OPTS\ncd /\n", "line 1: quote OPTS: ", true),
        ("quote NOOP\nquote site chmod 600 b\n", "", false),
    ] {
        let first = vec![
            ("NOOP", Act::Say("200 fine")),
            ("SITE", Act::Say("200 fine")),
            ("RETR", Act::SendAndBreak("150 data (10 bytes)", b"12345".to_vec())),
        ];
        let peer = Peer::start_several(vec![first, vec![taken()], vec![taken()]]);
        let script = format!("{raw}get b\nput a\nput a b\n");
        let url = peer.url("");
        let ran = run_with(
            &mut batch(&here, &["--retry=1", "--retry-delay=0", &url]),
            script.as_bytes(),
            LIMIT,
        );
        let stored = peer.seen().matches("STOR").count();
        // The retry of `get` is refused there, and the next line ends the batch.
        let want = if ends { (12, 0) } else { (12, 2) };
        assert_eq!((ran.code(), stored), (Some(want.0), want.1), "{raw}: {ran:?}");
        let told = said(&ran);
        assert_eq!(
            told.matches("a lost connection ended its effect").count(),
            if ends { 2 } else { 0 }
        );
        assert!(told.contains(name), "{told}");
    }
    // Nothing tells whether the command was carried out.
    let peer = Peer::start_several(vec![vec![("SITE", Act::Say("421 bye"))], vec![taken()]]);
    let script = b"quote SITE UMASK 077\nput a\n";
    let ran = run_with(&mut batch(&here, &[&peer.url("")]), script, LIMIT);
    assert!(said(&ran).contains("ended its effect") && !peer.seen().contains("STOR"), "{ran:?}");
}
