//! `fxp`: from server to server.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use ftp_proto::{Network, Verb};
use ftp_server::testing::{ProtocolFault, Recorder};
use ftp_server::{PassivePolicy, Rights, Server, ServerBuilder, ServerConfig};
use ftp_tests::folding::{FoldingServer, Kind};
use ftp_tests::process::{LIMIT, Ran, Running, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::wait::at_last;
use socket2::SockRef;

use crate::json::told;
use crate::peer::{Act, Peer};
use crate::{failed, ftp};

/// The addresses of two of our servers, so that neither is taken for the client.
const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);

/// Starts our server for a user who may use FXP with `networks`.
fn ours(host: Ipv4Addr, passive: bool, networks: &str) -> OurServer {
    let fxp_networks = vec![Network::parse(networks.as_bytes()).unwrap()];
    let config = ServerConfig::new()
        .passive(PassivePolicy::new().enabled(passive))
        .fxp_networks(fxp_networks);
    OurServer::at(host, Server::builder().config(config), Rights::FULL | Rights::FXP)
}

fn fxp(options: &[&str], from: &str, to: &str) -> Ran {
    run(ftp(&["fxp"]).args(options).args([from, to]))
}

#[test]
fn a_file_is_not_copied_onto_itself() {
    let server = ours(ONE, true, "127.0.0.0/8");
    server.root.write("file", b"content");
    let url = server.url("file");
    let directory = server.url("");
    for target in [&*url, &*directory, &url.replace("file", "%66ile")] {
        failed(&fxp(&[], &url, target), 2, "source and target are the same file");
    }
    // Other spellings are detected when both servers have reported their directory.
    for path in ["./file", "%2Ffile", "none/../file", "/file"] {
        let target = url.replace("/file", &format!("/{path}"));
        failed(&fxp(&[], &url, &target), 2, "source and target are the same file");
    }
    assert_eq!(server.root.read("file"), b"content");
    fxp(&[], &url, &server.url("copy")).exited(0);
    assert_eq!(server.root.read("copy"), b"content");
}

#[test]
fn a_tree_is_not_copied_into_itself_or_onto_what_contains_it_cl_52() {
    let server = ours(ONE, true, "127.0.0.0/8");
    for name in ["d/x/a", "d/b", "dx/c"] {
        server.root.write(name, name.as_bytes());
    }
    let url = |path| server.url(path);
    for (from, to) in [("d/x", "d"), ("d", "d/copy"), ("d", "none/../d"), ("d", "")] {
        let ran = fxp(&["-r", "--delete"], &url(from), &url(to));
        failed(&ran, 2, "source and target are one directory, or one contains the other");
    }
    assert_eq!(server.root.read("d/x/a"), b"d/x/a");
    assert!(!server.root.join("d/copy").exists());
    fxp(&["-r", "--delete"], &url("d/x"), &url("dx")).exited(0);
    assert!(server.root.join("dx/a").exists() && !server.root.join("dx/c").exists());
}

#[test]
fn a_source_inside_the_target_is_not_deleted_through_another_address_cl_52() {
    let server = ours(ONE, true, "127.0.0.0/8");
    for name in ["d/e/a", "d/b", "f/e/c"] {
        server.root.write(name, name.as_bytes());
    }
    let networks = vec![Network::parse(b"127.0.0.0/8").unwrap()];
    let other = Server::builder()
        .config(ServerConfig::new().fxp_networks(networks))
        .root(server.root.path())
        .user(server.user, server.password, Rights::FULL | Rights::FXP)
        .bind((OTHER, 0))
        .unwrap();
    let to = |path: &str| {
        server.url(path).replace(&server.address.to_string(), &other.local_addr().to_string())
    };
    for target in ["d", ""] {
        let ran = fxp(&["-r", "--delete"], &server.url("d/e"), &to(target));
        failed(&ran, 2, "so it may be the source; nothing was done");
        assert_eq!(server.root.read("d/e/a"), b"d/e/a");
        assert_eq!(server.root.read("d/b"), b"d/b");
    }
    fxp(&["-r", "--delete"], &server.url("d/e"), &to("f")).exited(0);
    assert_eq!(server.root.read("f/a"), b"d/e/a");
    assert!(!server.root.join("f/e").exists());
}

#[test]
fn a_source_inside_the_target_is_not_deleted_as_another_user_cl_52() {
    for no_mlsd in [false, true] {
        for (refuses, code, why) in [
            (vec![], 2, "is the source itself, which lies in the target"),
            (vec![("MKD d/e/ftp-", "550 no")], 12, "nothing shows whether it is the source itself"),
        ] {
            let server = FoldingServer::start(Kind { no_mlsd, refuses, ..Kind::default() });
            let url =
                |user: &str, path: &str| server.url(path).replace("//", &format!("//{user}:x@"));
            // The whole source is extra, or only what lies in it beside a directory of its own name.
            for names in [["d/e/a", "d/e/sub/b"], ["d/e/a", "d/e/e/b"]] {
                names.iter().for_each(|name| server.write(name, b"content"));
                server.write("t/x/old", b"old");
                let ran = fxp(&["-r", "--delete"], &url("one", "d/e"), &url("other", "d"));
                failed(&ran, code, why);
                for name in names {
                    assert!(server.read(name).is_some(), "{name}: {ran:?}");
                }
            }
            let ran = fxp(&["-r", "--delete"], &url("one", "d/e"), &url("other", "t"));
            ran.exited(0);
            assert!(server.read("t/a").is_some() && server.read("t/x/old").is_none(), "{ran:?}");
            let seen = server.seen();
            assert!(!server.files().iter().any(|(name, _)| name.contains("probe")), "{seen:?}");
            // Single files need no test directory.
            assert!(seen.iter().any(|line| line.starts_with("MKD t/x/ftp-cli-probe-")), "{seen:?}");
            server.write("t/sub/old", b"old");
            server.write("d/e/sub/b", b"content");
            let before = server.seen().len();
            fxp(&["-r", "--delete"], &url("one", "d/e"), &url("other", "t")).exited(0);
            assert!(server.read("t/sub/old").is_none());
            assert!(!server.seen()[before..].iter().any(|line| line.contains("probe")));
        }
    }
}

#[test]
fn a_file_with_two_names_survives_a_copy_onto_itself_fx_04() {
    let server = ours(ONE, true, "127.0.0.0/8");
    server.root.write("d/file", b"content");
    fs::hard_link(server.root.join("d/file"), server.root.join("other")).unwrap();
    std::os::unix::fs::symlink("d", server.root.join("alias")).unwrap();
    let url = |path: &str| format!("{}{path}", server.url(""));
    // A complete copy replaces the name.
    for (options, target) in
        [(&["-c"][..], "alias/file"), (&[], "alias/file"), (&[], "other"), (&["--temp"], "other")]
    {
        fxp(options, &url("d/file"), &url(target)).exited(0);
        assert_eq!(server.root.read("d/file"), b"content", "{target}");
        assert_eq!(server.root.read("other"), b"content", "{target}");
    }
    assert_eq!(fs::read_dir(server.root.join("d")).unwrap().count(), 1);
}

#[test]
fn a_file_is_copied_in_either_direction_fx_08() {
    let content: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    for (passive, options, target_listens) in [
        (true, &[][..], true),
        (true, &["--listen=source"][..], false),
        (true, &["--listen=target"][..], true),
        (false, &[][..], false),
    ] {
        let (one, other) = (ours(ONE, true, "127.0.0.12"), ours(OTHER, passive, "127.0.0.11"));
        one.root.write("file", &content);
        other.root.write("copy", b"old");
        let ran = fxp(&[options, &["--trace"]].concat(), &one.url("file"), &other.url("copy"));
        ran.exited(0);
        assert!(ran.stdout.is_empty(), "{ran:?}");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("> RETR") && said.contains("> STOR"), "{said}");
        // The source gets its command first, whichever server listens.
        assert!(said.find("> RETR") < said.find("> STOR"), "{said}");
        let connects = said.contains("the source must connect to 127.0.0.12:");
        // An agreement made before the target refused to listen no longer counts.
        assert_eq!(connects, target_listens, "{said}");
        assert!(other.root.read("copy") == content, "{said}");
        // The dialogue contains neither passwords nor unnecessary commands.
        assert!(!said.contains("STAT") && !said.contains("pass word"), "{said}");
        other.assert_only(&[b"copy"]);

        // Into a directory, the file keeps its name.
        other.root.mkdir("pub");
        fxp(options, &one.url("file"), &format!("{}/", other.url("pub"))).exited(0);
        assert!(other.root.read("pub/file") == content);

        // A shorter file is completed; then nothing is left to copy.
        other.root.write("copy", &content[..60_000]);
        let options = [options, &["-c", "-v"]].concat();
        fxp(&options, &one.url("file"), &other.url("copy")).exited(0);
        assert!(other.root.read("copy") == content);
        let ran = fxp(&options, &one.url("file"), &other.url("copy"));
        assert!(String::from_utf8_lossy(&ran.stderr).contains("exists already"), "{ran:?}");
    }
}

#[test]
fn both_refusals_are_reported_with_a_hint_fx_08() {
    let (one, other) = (ours(ONE, true, "127.0.0.13"), ours(OTHER, false, "127.0.0.13"));
    one.root.write("file", b"content");
    other.root.write("copy", b"old");
    let ran = fxp(&[], &one.url("file"), &other.url("copy"));
    failed(&ran, 13, "target: PASV refused: 5");
    failed(&ran, 13, "; with the source listening: target: PORT refused: 5");
    failed(&ran, 13, "fxp.networks");
    failed(&ran, 13, "AllowForeignAddress");
    assert_eq!(other.root.read("copy"), b"old");
}

#[test]
fn each_password_is_sent_only_to_its_server() {
    let (one, other) = (ours(ONE, true, "127.0.0.12"), ours(OTHER, true, "127.0.0.11"));
    one.root.write("file", b"content");
    let url = |server: &OurServer| format!("ftp://user@{}/file", server.address);
    let ran = run(ftp(&["fxp", &url(&one), &url(&other)]).env("FTP_PASSWORD", "pass word"));
    failed(&ran, 6, "one line per user");
    let here = TempRoot::new();
    let file = here.write("passwords", b"pass word\npass word\n");
    fxp(&["--password-file", file.to_str().unwrap()], &url(&one), &url(&other)).exited(0);
    assert_eq!(other.root.read("file"), b"content");
    failed(&fxp(&[], &one.url("file"), &other.url("file").replace("pass", "x")), 6, "530");
}

#[test]
fn a_failure_has_the_code_of_its_cause_li_06_hc_02() {
    let ours = OurServer::start();
    ours.root.write("file", b"12345");
    let limits = ["--timeout", "55"];
    // The last line alone names both servers.
    let check = |ran: &Ran, peer: &Peer, code, words| match code {
        0 => ran.exited(0),
        _ => {
            failed(ran, code, words);
            failed(ran, code, &format!("ftp://127.0.0.1:{}/x", peer.address.port()));
            failed(ran, code, &format!("ftp://user@127.0.0.1:{}/", ours.address.port()));
            failed(ran, code, " to ftp://");
        }
    };
    let sent = |last| Act::Send("150 data", b"12345".to_vec(), last);
    let hangs = Act::SendAndHang("150 data", b"12345".to_vec());
    for (retr, size, code, words) in [
        (sent("226 done"), "213 5", 0, ""),
        (sent("226 done"), "550 unknown", 0, ""),
        (sent("226 done"), "213 6", 11, "5 of 6"),
        (sent("426 cut"), "", 9, "source: RETR aborted: 426 cut"),
        (sent("551 disk"), "", 8, "source: RETR aborted: 551 disk"),
        (sent("421 bye"), "", 9, "421 bye"),
        (sent("331 what"), "", 7, "331 what"),
        (hangs, "", 10, "timed out"),
        (Act::Say("550 none"), "", 8, "source: RETR refused: 550 none"),
        (Act::Say("425 no way"), "", 13, "source: PORT refused: 502"),
        (Act::Say("425 no way"), "", 13, "; with the source listening: source: RETR refused: 425"),
    ] {
        // The server announces another host, and the client connects to the server itself.
        let limits = if code == 10 { &["--timeout", "8"] } else { &limits };
        let peer = Peer::start(&[("RETR", retr), ("SIZE", Act::Say(size))]);
        check(&fxp(limits, &peer.url("x"), &ours.url("copy")), &peer, code, words);
    }
    for (stor, code, words) in [
        (Act::Take("150 go", "226 there"), 0, ""),
        (Act::Take("150 go", "452 disk full"), 9, "target: STOR aborted: 452 disk full"),
        (Act::Say("553 bad name"), 8, "target: STOR refused: 553 bad name"),
        (Act::Say("425 no way"), 13, "target: STOR refused: 425 no way"),
    ] {
        let peer = Peer::start(&[("STOR", stor), ("MLST", Act::Say("550 none"))]);
        let limits = [&limits[..], &["--listen=target"]].concat();
        check(&fxp(&limits, &ours.url("file"), &peer.url("x")), &peer, code, words);
    }
}

#[test]
fn transient_fxp_failures_are_retried_and_reported_as_json() {
    let ours = OurServer::start();
    let content = b"12345".to_vec();
    let sent = |last| Act::Send("150 data", content.clone(), last);
    let retry = ["--json", "-q", "--retry", "2", "--retry-delay", "1ms"];
    let then = || ("RETR", sent("226 done"));
    let again = "start retry start done summary";
    for (acts, code, want) in [
        (vec![vec![("RETR", Act::Say("450 busy")), then()]], 0, again),
        (vec![vec![("RETR", sent("421 bye"))], vec![then()]], 0, again),
        (vec![vec![("RETR", Act::Say("550 none")), then()]], 8, "start error summary"),
    ] {
        let peer = Peer::start_several(acts);
        let ran = fxp(&retry, &peer.url("x"), &ours.url("copy"));
        let (lines, events) = told(&ran, code);
        assert_eq!(events, want, "{ran:?}");
        for line in &lines[..lines.len() - 1] {
            assert!(line.text("source").ends_with("/x"), "{line:?}");
            assert!(line.text("target").ends_with("/copy"), "{line:?}");
        }
        if code == 0 {
            assert_eq!(ours.root.read("copy"), content, "{ran:?}");
        }
    }
    let (one, other) = (self::ours(ONE, true, "127.0.0.12"), self::ours(OTHER, true, "127.0.0.11"));
    one.root.write("file", &content);
    let copy = || told(&fxp(&["--json", "-c"], &one.url("file"), &other.url("copy")), 0).0;
    let (first, again) = (copy(), copy());
    assert_eq!((first[1].number("bytes"), first[1].text("verified")), (Some(5), "size"));
    assert_eq!((again[1].number("bytes"), again[1].text("verified")), (Some(0), "size"));
    let into = told(&fxp(&["--json"], &one.url("file"), &other.url("")), 0).0;
    assert!(into[1].text("target").ends_with("/file"), "{into:?}");
    one.root.write("t/file", &content);
    let (tree, events) = told(&fxp(&["--json", "-r"], &one.url("t"), &other.url("t")), 0);
    assert_eq!((events.as_str(), tree[0].number("size")), ("start done summary", Some(5)));
}

#[test]
fn a_retry_resumes_the_bytes_of_the_same_run() {
    let half = || Act::Send("150 data", b"123".to_vec(), "426 cut");
    let facts = |time| [("SIZE", Act::Say("213 5")), ("MDTM", Act::Say(time))];
    // The target takes the end of the data for the end of the file. Without a time, nothing shows
    // that the source's file is still the same.
    for (time, rest, seen, moved) in
        [("213 20260101000000", "45", "REST 3, RETR x", 2), ("502 what", "12345", "RETR x", 5)]
    {
        let ours = OurServer::start();
        let last = Act::Send("150 data", rest.as_bytes().to_vec(), "226 done");
        let [size, time] = facts(time);
        // What is at the target is compared with the source first.
        let compared = ("RETR", Act::Send("150 data", b"123".to_vec(), "226 done"));
        let compared = (moved < 5).then_some(compared);
        let acts = [("RETR", half())].into_iter().chain(compared);
        let acts: Vec<_> = acts.chain([("RETR", last), size, time]).collect();
        let source = Peer::start(&acts);
        let options = ["--json", "--retry", "2", "--retry-delay", "1ms"];
        let ran = fxp(&options, &source.url("x"), &ours.url("copy"));
        let (lines, events) = told(&ran, 0);
        assert_eq!(events, "start retry start done summary", "{ran:?}");
        assert_eq!(lines[3].number("bytes"), Some(moved));
        assert_eq!(ours.root.read("copy"), b"12345");
        let last = source.seen().rsplit_once("PORT").unwrap().1.to_owned();
        assert!(last.contains(seen) && last.contains("REST") == seen.contains("REST"), "{last}");
    }
}

#[test]
fn a_source_that_sends_half_of_the_file_is_not_said_to_have_sent_it() {
    let ours = OurServer::start();
    let half = || b"123".to_vec();
    for act in [
        Act::Send("150 data", half(), "426 cut"),
        Act::Send("150 data", half(), "451 reset"),
        Act::SendAndBreak("150 data", half()),
    ] {
        let source = Peer::start(&[("RETR", act), ("SIZE", Act::Say("213 5"))]);
        let ran = fxp(&[], &source.url("x"), &ours.url("copy"));
        assert!(!ran.status.unwrap().success());
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("source: ") && !said.contains("the source confirmed"), "{said}");
        assert!(!said.contains("whole file"), "{said}");
    }
}

#[test]
fn a_complete_copy_is_not_copied_again_if_its_rename_is_cut() {
    let ours = OurServer::start();
    ours.root.write("file", b"12345");
    let facts = |size| [("SIZE", Act::Say(size)), ("MDTM", Act::Say("213 20260101000000"))];
    let none = || ("SIZE copy", Act::Say("550 none"));
    let [size, time] = facts("213 5");
    let stor = ("STOR", Act::Take("150 go", "226 there"));
    let begun = ("RNFR", Act::Say("350 ready"));
    let lost = ("RNTO", Act::Say("421 bye"));
    let first = vec![
        none(),
        stor,
        begun,
        lost,
        ("SIZE .in.copy", size.1.clone()),
        ("MDTM .in.copy", time.1.clone()),
        ("MDTM copy", Act::Say("550 none")),
    ];
    let second = vec![
        ("SIZE copy", size.1.clone()),
        ("MDTM copy", time.1.clone()),
        ("SIZE .in.copy", Act::Say("550 none")),
        ("MDTM .in.copy", Act::Say("550 none")),
    ];
    let target = Peer::start_several(vec![first, second]);
    let options = ["--temp=.in.*", "--retry", "2", "--retry-delay", "1ms"];
    fxp(&options, &ours.url("file"), &target.url("copy")).exited(0);
    assert_eq!(target.seen().matches("STOR").count(), 1, "{}", target.seen());
    assert_eq!(target.seen().matches("RNTO").count(), 1, "{}", target.seen());
}

/// The same for the files of a tree, and for bytes that an earlier attempt has sent.
#[test]
fn a_tree_remembers_the_earlier_attempts_of_its_copies() {
    let cut = ProtocolFault::Abort { after: 5 };
    for (at, verb, fault, stores, rests) in
        [(OTHER, Verb::Rnto, ProtocolFault::Close, 1, 0), (ONE, Verb::Retr, cut, 2, 1)]
    {
        let recorder = Recorder::new();
        let start = |host, builder: ServerBuilder| {
            let networks = vec![Network::parse(b"127.0.0.0/8").unwrap()];
            let builder = builder.config(ServerConfig::new().fxp_networks(networks));
            let builder = if host == at { builder.fault(verb, 1, fault) } else { builder };
            OurServer::at(host, builder, Rights::FULL | Rights::FXP)
        };
        let one = start(ONE, Server::builder());
        let other = start(OTHER, Server::builder().recorder(&recorder));
        one.root.write("t/file", b"1234567890");
        let options = ["-r", "--temp=.in.*", "--retry", "2", "--retry-delay", "1ms"];
        fxp(&options, &one.url("t"), &other.url("t")).exited(0);
        assert_eq!(other.root.read("t/file"), b"1234567890");
        let sent = recorder.commands();
        let count = |verb: &str| sent.iter().filter(|line| line.starts_with(verb)).count();
        assert_eq!((count("STOR"), count("REST")), (stores, rests), "{sent:?}");
    }
}

#[test]
fn a_refused_path_is_retried_one_directory_at_a_time_cl_60() {
    let ours = OurServer::start();
    ours.root.write("file", b"12345");
    let source = Peer::start(&[
        ("RETR x/a", Act::Say("550 none")),
        ("RETR a", Act::Send("150 data", b"12345".to_vec(), "226 done")),
    ]);
    fxp(&[], &source.url("x/a"), &ours.url("copy")).exited(0);
    let again = "PASV, RETR x/a, CWD x, PORT 127,0,0,1,";
    assert!(source.seen().contains(again), "{}", source.seen());
    assert_eq!(ours.root.read("copy"), b"12345");
    let target = Peer::start(&[
        ("STOR x/.in.b", Act::Say("550 none")),
        ("STOR .in.b", Act::Take("150 go", "226 there")),
        ("RNFR", Act::Say("350 ready")),
        ("RNTO b", Act::Say("250 done")),
    ]);
    fxp(&[], &ours.url("file"), &target.url("x/b")).exited(0);
    assert!(target.seen().contains("CWD x, PASV, STOR .in.b."), "{}", target.seen());
}

/// Starts a server that begins each transfer, signals that, and never ends it unless it is aborted.
/// Returns the last two lines that it received.
fn endless(begun: mpsc::Sender<()>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut control, _) = listener.accept().unwrap();
        SockRef::from(&control).set_out_of_band_inline(true).unwrap();
        control.set_read_timeout(Some(LIMIT)).unwrap();
        let mut lines = BufReader::new(control.try_clone().unwrap());
        control.write_all(b"220 ready\r\n").unwrap();
        let mut said = Vec::new();
        loop {
            let mut line = Vec::new();
            if !matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
                return said.split_off(said.len() - 2);
            }
            let line = line.trim_ascii_end().escape_ascii().to_string();
            let reply = match line.split(' ').next().unwrap() {
                "USER" => "230 in",
                "PASV" => "227 here (127,0,0,1,200,1)",
                "STOR" | "RETR" => "150 go",
                "\\xff\\xf4\\xff\\xf2ABOR" => "426 cut\r\n226 aborted",
                "QUIT" => "221 bye",
                _ => "200 ok",
            };
            // A client that was ended does not wait for long.
            let _ = control.write_all(format!("{reply}\r\n").as_bytes());
            if reply == "150 go" {
                begun.send(()).unwrap();
            }
            said.push(line);
        }
    });
    (address, server)
}

#[test]
fn a_signal_aborts_the_transfer_on_both_servers_li_10() {
    const ABOR: &str = "\\xff\\xf4\\xff\\xf2ABOR";
    // Without an answer to ABOR within a second, a client leaves without QUIT.
    let ends_in_time = |signal: &str, code: i32| {
        let (sender, begun) = mpsc::channel();
        let (source, target) = (endless(sender.clone()), endless(sender));
        let (from, to) = (format!("ftp://{}/x", source.0), format!("ftp://{}/y", target.0));
        let mut fxp = Running::start(ftp(&["fxp", "-q", &from, &to]).stderr(Stdio::null()));
        for _ in 0..2 {
            begun.recv_timeout(LIMIT).unwrap();
        }
        let id = fxp.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let status = fxp.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(code), "{signal}");
        [source, target].map(|(_, server)| {
            let said = server.join().unwrap();
            assert_eq!(said.iter().filter(|line| *line == ABOR).count(), 1, "{signal}: {said:?}");
            said == [ABOR, "QUIT"]
        })
    };
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        at_last(signal, || (ends_in_time(signal, code) == [true, true]).then_some(()));
    }
}

/// A file that the listing of the target lacks may exist all the same.
#[test]
fn a_file_that_the_target_does_not_list_is_replaced_only_by_a_complete_copy_fx_04() {
    for keeps_targets in [false, true] {
        let source = ours(ONE, true, "127.0.0.0/8");
        let target =
            FoldingServer::start(Kind { cuts_at: Some(1), keeps_targets, ..Kind::default() });
        for name in ["a", "b"] {
            source.root.write(format!("t/{name}"), b"new");
            target.write(&format!("t/{name}"), b"old content");
        }
        fxp(&["-r", "-j1"], &source.url("t"), &target.url("t")).exited(0);
        let seen = target.seen();
        let stored: Vec<_> = seen.iter().filter_map(|line| line.strip_prefix("STOR ")).collect();
        assert_eq!(stored.len(), 2, "{seen:?}");
        assert!(stored.iter().all(|path| path.starts_with("t/.in.")), "{seen:?}");
        let names: Vec<_> = target.files().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"], "{seen:?}");
        for name in names {
            assert_eq!(target.read(&format!("t/{name}")).unwrap(), b"new", "{seen:?}");
        }
        // The old file of a server that keeps names never has one of a temporary file.
        let aside = seen.iter().filter(|line| line.starts_with("RNTO ") && line.contains(".old."));
        assert_eq!(aside.count(), if keeps_targets { 2 } else { 0 }, "{seen:?}");
    }
}

#[test]
fn an_old_file_that_cannot_be_removed_is_named_fx_04() {
    let refuses = vec![("DELE ", "550 no")];
    let source = ours(ONE, true, "127.0.0.0/8");
    let kind = Kind { cuts_at: Some(1), keeps_targets: true, refuses, ..Kind::default() };
    let target = FoldingServer::start(kind);
    for name in ["a", "b"] {
        source.root.write(format!("t/{name}"), b"new");
        target.write(&format!("t/{name}"), b"old content");
    }
    let ran = fxp(&["--json"], &source.url("t/b"), &target.url("t/b"));
    ran.exited(0);
    for said in [&ran.stdout, &ran.stderr] {
        let said = String::from_utf8_lossy(said);
        assert!(said.contains("the old file may still be there, as "), "{said}");
        assert!(said.contains("b.old."), "{said}");
    }
}

#[test]
fn a_temporary_name_hides_an_incomplete_copy() {
    let (one, other) = (ours(ONE, true, "127.0.0.12"), ours(OTHER, true, "127.0.0.11"));
    one.root.write("t/d/file", b"content");
    let from = format!("{}t/d/file", one.url(""));
    let ran = fxp(&["--temp", "--trace"], &from, &other.url("copy"));
    ran.exited(0);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("> STOR .in.copy.") && said.contains("> RNTO copy"), "{said}");
    assert_eq!(other.root.read("copy"), b"content");
    other.assert_only(&[b"copy"]);
    let ran = fxp(&["-r", "--temp=*.part", "--trace"], &one.url("t"), &other.url("t"));
    ran.exited(0);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("> STOR t/d/file.part"), "{ran:?}");
    assert_eq!(other.root.read("t/d/file"), b"content");
    assert!(!other.root.join("t/d/file.part").exists());
    failed(&fxp(&["--temp", "-c"], &from, &other.url("x")), 2, "exclude each other");
}
