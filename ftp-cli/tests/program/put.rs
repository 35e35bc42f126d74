//! `put`: completely or aborted.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ftp_server::{Rights, Server};
use ftp_tests::content::binary;
use ftp_tests::process::{LIMIT, Running, run, run_with};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::wait::wait_until;

use crate::peer::{Act, Peer};
use crate::relay::Relay;
use crate::{failed, ftp};

fn file(here: &TempRoot, name: &str, content: &[u8]) -> String {
    here.write(name, content).to_str().unwrap().to_owned()
}

#[test]
fn no_command_sends_or_replaces_a_file_that_its_options_name() {
    let here = TempRoot::new();
    here.write("other", b"other");
    for (words, reads) in [
        (&["put", "--trace=data", "data", "URL"][..], "data"),
        (&["put", "--log-file=data", "./data", "URL"], "data"),
        (&["put", "--password-file=data", "other", "data", "URL"], "data"),
        (&["put", "--netrc-file=data", "linked", "URL"], "data"),
        (&["get", "--log-file=data", "URLa", "data"], ""),
        (&["get", "--trace=new", "URLa", "new"], ""),
        (&["get", "--ca-file=data", "-P", ".", "URLdata"], "data"),
        (&["get", "--lock=data", "URL*", "."], "data"),
        (&["batch", "--log-file=data", "URL", "script"], ""),
        (&["batch", "--trace=data", "URL", "script"], ""),
    ] {
        let data = here.write("data", b"the only copy\n");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o600)).unwrap();
        let _ = fs::remove_file(here.join("linked"));
        let _ = fs::hard_link(&data, here.join("linked"));
        here.write("script", b"put data\nget a data\n");
        let names = b"-rw-r--r-- 1 u u 5 Jan 01  2020 data\r\n";
        let peer = Peer::start(&[("LIST", Act::Send("150 names", names.to_vec(), "226 done"))]);
        let words = words.iter().map(|word| word.replace("URL", &peer.url("")));
        let ran = run(ftp(&[]).args(words.clone()).current_dir(here.path()));
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        let words: Vec<_> = words.collect();
        assert_eq!(ran.code(), Some(2), "{words:?}: {told}");
        assert!(told.contains("is the file of --"), "{words:?}: {told}");
        let seen = peer.seen();
        assert!(!seen.contains("STOR") && !seen.contains("RETR"), "{words:?}: {seen}");
        let left = here.read("data");
        assert!(left.starts_with(b"the only copy\n"), "{words:?}");
        assert!(reads != "data" || left.len() == 14, "{words:?}");
    }
}

#[test]
fn put_queries_nothing_before_stor() {
    let here = TempRoot::new();
    // A file of the same name on this computer could be the local file itself.
    let local = file(&here, "b", b"content");
    let peer = Peer::start(&[("STOR", Act::Take("150 go", "226 done"))]);
    run(&mut ftp(&["put", &local, &peer.url("in/a")])).succeeded();
    let seen = peer.seen();
    let start = "USER anonymous, PASS anonymous@, TYPE I, EPSV, STOR in/a, ";
    assert!(seen.starts_with(start), "{seen}");
}

#[test]
fn the_servers_reply_is_in_the_error_message() {
    let here = TempRoot::new();
    let large = file(&here, "large", &vec![b'x'; 20_000_000]);
    for (stor, code, words) in [
        (Act::Say("553 name not allowed"), 8, "553 name not allowed"),
        (Act::Say("452 full"), 9, "452 full"),
        (Act::Say("532 account"), 8, "532 account"),
        (Act::TakeAndRefuse("150 go", 1_000, "552 quota exceeded"), 8, "552 quota exceeded"),
        (Act::TakeAndRefuse("150 go", 1_000, "426 cut"), 9, "426 cut"),
        (Act::Take("150 go", "451 disk"), 9, "451 disk"),
    ] {
        let peer = Peer::start(&[("STOR", stor)]);
        let ran = run(&mut ftp(&["put", &large, &peer.url("x")]));
        failed(&ran, code, words);
        let named = format!("ftp-cli: {large} to {}: ", peer.url("x"));
        assert!(String::from_utf8_lossy(&ran.stderr).starts_with(&named), "{ran:?}");
    }
}

#[test]
fn a_refused_upload_leaves_nothing_under_a_name_that_only_its_run_knows() {
    let here = TempRoot::new();
    let local = file(&here, "a", b"content");
    for (options, is_removed) in [(&["--temp"][..], true), (&["--temp=*.new"], false), (&[], false)]
    {
        let acts = [("STOR", Act::Take("150 go", "452 full")), ("DELE", Act::Say("250 gone"))];
        let peer = Peer::start(&acts);
        failed(&run(ftp(&["put", &local, &peer.url("x")]).args(options)), 9, "452 full");
        assert_eq!(peer.seen().contains("DELE .in.x."), is_removed, "{}", peer.seen());
        assert_eq!(peer.seen().contains("DELE"), is_removed, "{}", peer.seen());
    }
}

#[test]
fn a_differing_size_after_the_upload_fails() {
    let here = TempRoot::new();
    let local = file(&here, "a", b"content");
    for (size, code) in [("213 7", 0), ("550 no", 0), ("213 6", 11)] {
        let acts = [("STOR", Act::Take("150 go", "226 done")), ("SIZE", Act::Say(size))];
        run(&mut ftp(&["put", &local, &Peer::start(&acts).url("x")])).exited(code);
    }
}

#[test]
fn a_file_modified_during_its_upload_fails() {
    let here = TempRoot::new();
    for (options, code) in [(&[][..], 11), (&["--temp"], 11), (&["--verify", "none"], 0)] {
        let local = file(&here, "a", b"content");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ftp://{}/x", listener.local_addr().unwrap());
        let mut put = ftp(&["put", &local, &url]);
        put.args(options).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut put = Running::start(&mut put);
        let (control, data) = crate::signals::begin_with(&listener, "150 go").unwrap();
        // The file changes during the upload, before the last reply; its length stays.
        let mut got = Vec::new();
        (&data).read_to_end(&mut got).unwrap();
        assert_eq!(got, b"content");
        fs::write(&local, b"CONTENT").unwrap();
        (&control).write_all(b"226 done\r\n").unwrap();
        drop(control);
        let status = put.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(code), "{options:?}");
    }
}

#[test]
fn a_file_that_changes_after_its_last_byte_leaves_an_older_copy() {
    let server = OurServer::start();
    // While it is sent, and before the copy gets its time.
    for at in ["STOR f", "SIZE f"] {
        let here = TempRoot::new();
        let local = file(&here, "f", b"first");
        let sent = fs::metadata(&local).unwrap().mtime();
        let has_changed = AtomicBool::new(false);
        let relay = Relay::watched(server.address, {
            let local = local.clone();
            move |line| {
                if line == at && !has_changed.swap(true, Ordering::SeqCst) {
                    fs::write(&local, b"other").unwrap();
                }
            }
        });
        // Without a file there, its size is asked for only after the upload.
        let _ = fs::remove_file(server.root.join("f"));
        let put = |options: &[&str]| {
            let url = format!("ftp://{}@{}/f", server.user, relay.address);
            let mut put = ftp(&["put", &local, &url]);
            run(put.args(options).env("FTP_PASSWORD", server.password))
        };
        failed(&put(&["--preserve"]), 11, "changed during the upload");
        let stored = fs::metadata(server.root.join("f")).unwrap();
        assert_eq!((at, stored.mtime()), (at, sent - 40_007));
        put(&["--if-changed"]).exited(0);
        assert_eq!(server.root.read("f"), b"other", "{at}");
    }
}

/// The replies of a server that has all bytes of an upload which has no name yet.
fn kept() -> Vec<(&'static str, Act)> {
    vec![("SIZE", Act::Say("213 7")), ("MDTM", Act::Say("550 no")), ("MLST", Act::Say("550 no"))]
}

#[test]
fn a_matching_size_alone_does_not_skip_the_upload() {
    let here = TempRoot::new();
    let local = file(&here, "a", b"content");
    let take = || Act::Take("150 go", "226 done");
    for (acts, code, wanted) in [
        (vec![("STOR", take())], 0, "REST 7, STOR x"),
        // The replies of servers that cannot restart uploads, at different commands.
        (vec![("REST", Act::Say("502 what?")), ("APPE", take())], 0, "REST 7, EPSV, APPE x"),
        (vec![("STOR", Act::Say("451 no")), ("APPE", take())], 0, "REST 7, STOR x, "),
        (vec![("STOR", Act::Say("451 no")), ("APPE", Act::Say("553 no"))], 8, "APPE x"),
        (vec![("STOR", Act::Take("150 go", "552 full"))], 8, "REST 7, STOR x"),
    ] {
        let peer = Peer::start(&[acts, kept()].concat());
        run(&mut ftp(&["put", "-c", "--verify", "none", &local, &peer.url("x")])).exited(code);
        assert!(peer.seen().contains(wanted), "{}", peer.seen());
    }
    // It accepted REST, and still began a new file.
    let acts = [
        ("SIZE", Act::Say("213 7")),
        ("SIZE", Act::Say("213 0")),
        ("MDTM", Act::Say("550 no")),
        ("STOR", take()),
    ];
    let peer = Peer::start(&acts);
    run(&mut ftp(&["put", "-c", "--verify", "none", &local, &peer.url("x")])).exited(11);
    // A file with a time or with facts has its name.
    for proof in [
        ("MDTM", Act::Say("213 29990101000000")),
        ("MLST", Act::Say("250-Begin\r\n type=file;size=7; x\r\n250 End")),
    ] {
        let peer = Peer::start(&[("SIZE", Act::Say("213 7")), proof]);
        run(&mut ftp(&["put", "-c", "--verify", "none", &local, &peer.url("x")])).succeeded();
        assert!(!peer.seen().contains("STOR"), "{}", peer.seen());
    }
}

#[test]
fn an_upload_without_a_final_reply_is_confirmed_by_a_retry() {
    let here = TempRoot::new();
    let local = file(&here, "a", b"content");
    for (lost, limit) in
        [(Act::TakeAndBreak("150 go"), "20"), (Act::TakeAndHang("150 go"), "250ms")]
    {
        // On a busy machine, the reply to another attempt may be late too.
        let mut scripts = vec![
            [
                kept(),
                vec![
                    ("RETR", Act::Send("150 data", b"content".to_vec(), "226 done")),
                    ("STOR", Act::Take("150 go", "226 done"))
                ]
            ]
            .concat();
            9
        ];
        scripts.insert(0, vec![("SIZE", Act::Say("550 no")), ("STOR", lost)]);
        let peer = Peer::start_several(scripts);
        let mut put = ftp(&["put", "-c", "--retry", "8", "--retry-delay", "0"]);
        let ran = run(put.args(["--final-timeout", limit, &local, &peer.url("x")]));
        ran.succeeded();
        let seen = peer.seen();
        assert!(seen.contains("REST 7, STOR x, "), "{seen}");
        assert!(seen.matches("STOR x").count() >= 2, "{seen}");
    }
}

#[test]
fn the_remaining_files_are_sent_after_a_failure() {
    let here = TempRoot::new();
    let server = OurServer::start();
    let (a, b) = (file(&here, "a", b"1"), file(&here, "b", b"2"));
    let missing = here.join("missing").to_str().unwrap().to_owned();
    let ran = run(&mut ftp(&["put", &a, &missing, &b, &server.url("")]));
    failed(&ran, 12, "2 of 3 files sent, 1 failed, 0 not tried");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("missing: "), "{ran:?}");
    server.assert_only(&[b"a", b"b"]);

    // If the disk is full, no further file is tried.
    let c = file(&here, "c", b"3");
    let acts = [("STOR a", Act::Take("150 go", "226 done")), ("STOR", Act::Say("452 full"))];
    let peer = Peer::start(&acts);
    let ran = run(&mut ftp(&["put", &a, &b, &c, &peer.url("")]));
    failed(&ran, 12, "452 full; 1 of 3 files sent, 1 failed, 1 not tried");
}

#[test]
fn standard_input_append_and_resume() {
    let here = TempRoot::new();
    let server = OurServer::start();
    let url = server.url("file");
    run_with(&mut ftp(&["put", "-", &url]), b"one", LIMIT).succeeded();
    run_with(&mut ftp(&["put", "--append", "-", &url]), b"two", LIMIT).succeeded();
    assert_eq!(server.root.read("file"), b"onetwo");
    let local = file(&here, "local", b"onetwothree");
    run(&mut ftp(&["put", "-c", &local, &url])).succeeded();
    assert_eq!(server.root.read("file"), b"onetwothree");
    let short = file(&here, "short", b"one");
    failed(&run(&mut ftp(&["put", "-c", &short, &url])), 11, "longer");
    assert_eq!(server.root.read("file"), b"onetwothree");
}

#[test]
fn a_read_error_aborts_and_keeps_the_old_file_li_09() {
    let server = OurServer::start();
    server.root.write("file", b"old");
    // It can be opened, but the first read fails.
    let ran = run(&mut ftp(&["put", "/proc/self/mem", &server.url("file")]));
    failed(&ran, 3, "/proc/self/mem");
    assert_eq!(server.root.read("file"), b"old");
    server.assert_only(&[b"file"]);
    let directory = fs::File::open("/").unwrap();
    let status = ftp(&["put", "-", &server.url("file")]).stdin(directory).status().unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(server.root.read("file"), b"old");
}

#[test]
fn type_options_override_the_type_of_the_url() {
    let here = TempRoot::new();
    let local = file(&here, "a", b"x\n");
    for (option, suffix, kind) in
        [("-a", "", "TYPE A"), ("-b", ";type=a", "TYPE I"), ("-q", ";type=A", "TYPE A")]
    {
        let peer = Peer::start(&[("STOR", Act::Take("150 go", "226 done"))]);
        let url = peer.url(&format!("x{suffix}"));
        run(&mut ftp(&["put", option, &local, &url])).succeeded();
        assert!(peer.seen().contains(kind), "{option} {suffix}: {}", peer.seen());
    }
}

#[test]
fn an_unreadable_standard_input_is_not_an_empty_file_li_09() {
    let server = OurServer::start();
    server.root.write("file", b"old");
    let url = server.url("file");
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "exec \"$0\" put - \"$1\" 0>/dev/null", env!("CARGO_BIN_EXE_ftp-cli"), &url]);
    failed(&run(&mut shell), 3, "standard input");
    assert_eq!(server.root.read("file"), b"old");
}

#[test]
fn further_files_are_sent_in_the_directory_already_entered_cl_60() {
    let here = TempRoot::new();
    let (a, b) = (file(&here, "a", b"1"), file(&here, "b", b"2"));
    let acts = [("STOR d/e/", Act::Say("550 no")), ("STOR", Act::Take("150 go", "226 done"))];
    let peer = Peer::start(&acts);
    run(&mut ftp(&["put", &a, &b, &peer.url("d/e/")])).succeeded();
    let seen = peer.seen();
    assert!(seen.contains("STOR d/e/a, CWD d, CWD e, EPSV, STOR a, "), "{seen}");
    assert!(!seen.contains("STOR d/e/b") && seen.contains(", STOR b"), "{seen}");

    // From inside a directory, the same names would lead to another place.
    let acts = [("STOR b", Act::Say("550 no")), acts[0].clone(), acts[1].clone()];
    let peer = Peer::start(&acts);
    failed(&run(&mut ftp(&["put", &a, &b, &peer.url("d%2Fe/")])), 12, "1 of 2 files sent");
    let seen = peer.seen();
    assert!(seen.contains("STOR d/e/a, CWD d/e, EPSV, STOR a, "), "{seen}");
    assert!(!seen.contains("STOR d/e/b"), "{seen}");
    // The client does not wait for long after its last command.
    wait_until("the QUIT", || peer.seen().ends_with("EPSV, STOR b, QUIT"));

    // From inside `d`, the path `d/e/b` would be another place.
    let peer = Peer::start(&[("STOR", Act::Say("550 no")), ("CWD e", Act::Say("550 no"))]);
    let ran = run(&mut ftp(&["put", &a, &b, &peer.url("d/e/")]));
    failed(&ran, 8, "1 failed, 1 not tried");
}

/// Cuts an upload over a file, lets `change` do something to the server's directory, and resumes by
/// `put -c`. Returns what it says; the file must be whole.
fn resumed_after(change: impl FnOnce(&TempRoot)) -> String {
    let (root, here) = (TempRoot::new(), TempRoot::new());
    let server = Server::builder().root(root.path()).user("u", "p", Rights::FULL);
    let server = server.bind("127.0.0.1:0").unwrap();
    let new = binary(120_000, 1);
    let local = file(&here, "new", &new);
    root.write("f", &binary(15_000, 2));
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    let mut data = session.passive();
    session.expect("STOR f", 150);
    data.write_all(&new[..50_000]);
    let arrived = |name| root.read(name).len() == 50_000;
    wait_until("the bytes are there", || root.names_without_records().into_iter().any(arrived));
    data.reset();
    session.expect_reply(426);
    change(&root);
    let url = format!("ftp://u:p@{}/f", server.local_addr());
    let ran = run(&mut ftp(&["put", "-c", "-v", &local, &url]));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    ran.succeeded();
    assert!(root.read("f") == new, "{said}");
    assert_eq!(root.names(), [b"f"], "{said}");
    said
}

#[test]
fn kept_bytes_are_resumed_only_if_their_digest_proves_them_fs_15_as_09() {
    let said = resumed_after(|_| {});
    assert!(said.contains("resumed after 48.8 KiB"), "{said}");
    // The disk has damaged them.
    let said = resumed_after(|root| {
        let is_bytes = |name: &Vec<u8>| root.read(name).len() == 50_000;
        let name = root.names_without_records().into_iter().find(is_bytes).unwrap();
        let mut bytes = root.read(&name);
        bytes[100] ^= 1;
        fs::write(root.join(name), bytes).unwrap();
    });
    assert!(said.contains("another digest: uploading from the start"), "{said}");
}

#[test]
fn a_file_whose_record_the_disk_has_lost_is_sent_from_the_start_fs_15_as_09() {
    let said = resumed_after(|root| {
        let hidden = root.names().into_iter().filter(|name| name != b"f");
        hidden.for_each(|name| fs::remove_file(root.join(name)).unwrap());
    });
    assert!(said.contains("another digest: uploading from the start"), "{said}");
}
