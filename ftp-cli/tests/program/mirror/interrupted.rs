//! Runs of `mirror` that end early, and the runs after them: no partial file is visible, and
//! received bytes are used.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use ftp_tests::content::binary;
use ftp_tests::process::{LIMIT, Running, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::wait::wait_until;
use rustix::fs::{FlockOperation, flock};

use super::{age, mirror, sent, shown, tree};
use crate::peer::{Act, Peer};
use crate::relay::Relay;
use crate::{failed, ftp};

#[test]
fn a_repeated_mirror_copies_only_what_failed_before() {
    let server = OurServer::start();
    let here = TempRoot::new();
    for number in 0..20 {
        age(&here.write(format!("tree/{number:02}"), &[b'x'; 1_000]), 5);
    }
    // An unreadable file stands for any interruption.
    let (source, url) = (here.join("tree"), server.url("tree"));
    fs::create_dir(server.root.join("tree")).unwrap();
    fs::create_dir(server.root.join("tree/07")).unwrap();
    let ran = mirror(&[], shown(&source), &url);
    failed(&ran, 12, "07: the target has an object of another type with this name");
    failed(&ran, 12, "19 of 20 objects mirrored, 1 failed, 0 not tried");
    fs::remove_dir(server.root.join("tree/07")).unwrap();
    let ran = mirror(&["--trace"], shown(&source), &url);
    ran.exited(0);
    assert_eq!(sent(&ran, "STOR"), 1);
    assert_eq!(tree(&source), tree(&server.root.join("tree")));
}

#[test]
fn a_file_that_changed_while_it_was_sent_is_sent_again_cl_52() {
    let server = OurServer::start();
    server.root.mkdir("tree");
    let here = TempRoot::new();
    let file = here.write("tree/f", b"first");
    let changed = file.clone();
    let relay = Relay::watched(server.address, move |line| {
        if line == "STOR tree/f" {
            fs::write(&changed, b"other").unwrap();
        }
    });
    let source = here.join("tree");
    let mut command = ftp(&["mirror", shown(&source)]);
    command.arg(format!("ftp://{}@{}/tree", server.user, relay.address));
    failed(&run(command.env("FTP_PASSWORD", server.password)), 11, "changed during the upload");
    // It changes again in the second of its upload, which is the time that the server's file got.
    let when = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, b"third").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(when).unwrap();
    mirror(&[], shown(&source), &server.url("tree")).exited(0);
    assert_eq!(tree(&source), tree(&server.root.join("tree")));
}

#[test]
fn a_file_that_changed_before_its_copy_has_a_time_leaves_an_older_copy() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    server.root.mkdir("tree");
    let file = here.write("tree/f", b"first");
    let sent = fs::metadata(&file).unwrap().mtime();
    let (source, relay) = (here.join("tree"), Relay::to(server.address));
    let mut command = ftp(&["mirror", shown(&source)]);
    command.arg(format!("ftp://{}@{}/tree", server.user, relay.address));
    command.env("FTP_PASSWORD", server.password).stderr(Stdio::null()).stdout(Stdio::null());
    let mut running = Running::start(&mut command);
    // All is sent, and the run waits until a change would show.
    wait_until("the end of the upload", || {
        relay.count("STOR") == 1 && server.root.join("tree/f").exists()
    });
    fs::write(&file, b"other").unwrap();
    let status = running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(11));
    assert_eq!(fs::metadata(server.root.join("tree/f")).unwrap().mtime(), sent - 40_007);
}

#[test]
fn temporary_names_are_removed_only_with_delete() {
    let server = OurServer::start();
    server.root.write("tree/sub/f", b"whole");
    let here = TempRoot::new();
    let kept = here.write("mine/sub/.ftp-cli-part-f", b"to go on with");
    let left = [".ftp-cli-1f-0.tmp", "sub/.ftp-cli-1f-1.tmp"];
    let left = left.map(|name| here.write(format!("mine/{name}"), b"half"));
    // Whoever wrote them: their names prove nothing.
    mirror(&[], &server.url("tree"), shown(&here.join("mine"))).exited(0);
    assert!(left.iter().chain([&kept]).all(|path| path.exists()));
    mirror(&["--delete"], &server.url("tree"), shown(&here.join("mine"))).exited(0);
    assert!(!left.iter().chain([&kept]).any(|path| path.exists()));
    assert_eq!(here.read("mine/sub/f"), b"whole");
}

#[test]
fn a_file_locked_by_another_run_is_not_deleted() {
    let server = OurServer::start();
    server.root.write("tree/f", b"whole");
    let here = TempRoot::new();
    let target = here.join("mine");
    let names = [
        ".ftp-cli-part-g",
        ".ftp-cli-1f-0.tmp",
        ".ftp-cli-0123456789abcdef.lock",
        ".ftp-client-00000000000000ff",
        "g.part",
        "g.part.segment-8",
        "sub/g.part",
    ];
    let paths = names.map(|name| here.write(format!("mine/{name}"), b"half"));
    // The only copy of a file may be among these.
    let moved = here.write("mine/sub/.0123456789abcdef.ftp-cli-taken", b"whole");
    here.write("mine/extra", b"goes");
    let lock = |path: &PathBuf| {
        let file = fs::File::open(path).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        file
    };
    let locked = paths.each_ref().map(lock);
    for more in [&[][..], &["--backup-dir", shown(&here.join("old"))]] {
        let options = [&["--delete"], more].concat();
        let ran = mirror(&options, &server.url("tree"), shown(&target));
        ran.exited(0);
        let said = String::from_utf8_lossy(&ran.stderr);
        let kept = "not deleted: another program may be writing to it";
        assert_eq!(said.matches(kept).count(), names.len(), "{said}");
        assert!(said.contains("not deleted: it belongs to an interrupted move"), "{said}");
        assert!(paths.iter().chain([&moved]).all(|path| path.exists()), "{said}");
        assert!(!target.join("extra").exists());
    }
    for file in locked {
        // A process that another test is just starting may keep a copy for a moment.
        flock(&file, FlockOperation::Unlock).unwrap();
    }
    mirror(&["--delete"], &server.url("tree"), shown(&target)).exited(0);
    assert!(!paths.iter().any(|path| path.exists()));
    assert!(moved.exists());
}

#[test]
fn a_mirror_keeps_the_temporary_file_of_a_running_download() {
    let server = OurServer::start();
    server.root.write("tree/f", b"whole");
    server.root.write("g", &[b'x'; 200_000]);
    let here = TempRoot::new();
    here.write("mine/f", b"old");
    let target = here.join("mine/g");
    let limit = ["--limit-rate", "1k"];
    let mut command = ftp(&["get", "-c", &server.url("g"), "-o", shown(&target)]);
    let command = command.args(limit);
    let mut get = Running::start(command);
    let temporary = || {
        let entries = fs::read_dir(here.join("mine")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name == "g.part").count()
    };
    wait_until("the download to begin", || temporary() == 1);
    let ran = mirror(&["--delete"], &server.url("tree"), shown(&here.join("mine")));
    ran.exited(0);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("not deleted: another program"));
    assert_eq!(temporary(), 1);
    assert!(get.child.try_wait().unwrap().is_none());
}

#[test]
fn a_mirror_to_a_server_keeps_possible_temporary_files() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    here.write("up/f", b"whole");
    let kept = [".ftp-cli-1f-0.tmp", ".ftp-client-00000000000000ff"];
    let kept = kept.map(|name| server.root.write(format!("t/{name}"), b"half"));
    server.root.write("t/g.part", b"goes");
    let ran = mirror(&["--delete"], shown(&here.join("up")), &server.url("t"));
    ran.exited(0);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(said.matches("not deleted: it may be a temporary file").count(), 2, "{said}");
    assert!(kept.iter().all(|path| path.exists()));
    assert!(!server.root.join("t/g.part").exists());
}

#[test]
fn transient_failures_are_retried_on_request() {
    let listing = b"type=file;size=4;modify=20200101000000; f\r\n".to_vec();
    for (options, code) in [(&[][..], 9), (&["--retry", "1", "--retry-delay", "0"], 0)] {
        let peer = Peer::start(&[
            ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end")),
            ("MLSD", Act::Send("150 list", listing.clone(), "226 done")),
            ("RETR", Act::Say("450 busy")),
            ("RETR", Act::Send("150 data", b"four".to_vec(), "226 done")),
        ]);
        let here = TempRoot::new();
        let target = here.join("mine");
        mirror(options, &peer.url("t"), shown(&target)).exited(code);
        assert_eq!(target.join("f").exists(), code == 0);
        // No incomplete file is left either.
        assert_eq!(fs::read_dir(target).unwrap().count(), usize::from(code == 0));
    }
    // A listing too, before anything was done.
    let peer = Peer::start(&[
        ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end")),
        ("MLSD", Act::Say("450 busy")),
        ("MLSD", Act::Send("150 list", listing, "226 done")),
        ("RETR", Act::Send("150 data", b"four".to_vec(), "226 done")),
    ]);
    let here = TempRoot::new();
    let options = ["--retry", "1", "--retry-delay", "0"];
    mirror(&options, &peer.url("t"), shown(&here.join("mine"))).exited(0);
    assert_eq!(here.read("mine/f"), b"four");
}

#[test]
fn an_interrupted_download_keeps_the_old_file_and_all_others_hl_04() {
    let listing = concat!(
        "type=file;size=4;modify=20200101000000; a\r\n",
        "type=file;size=4;modify=20200101000000; b\r\n",
    );
    for (retr, words) in [
        (Act::Send("150 data", b"fo".to_vec(), "226 done"), "2 of 4 bytes"),
        (Act::Send("150 data (4 bytes)", b"fo".to_vec(), "226 done"), "2 of 4"),
        (Act::Send("150 data", b"four".to_vec(), "426 cut"), "426 cut"),
        (Act::Say("550 no"), "550 no"),
    ] {
        let peer = Peer::start(&[
            ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end")),
            ("MLSD", Act::Send("150 list", listing.into(), "226 done")),
            ("RETR t/a", retr),
            ("RETR t/b", Act::Send("150 data", b"four".to_vec(), "226 done")),
        ]);
        let here = TempRoot::new();
        here.write("mine/a", b"the old one");
        here.write("mine/kept", b"mine");
        let ran = mirror(&["--delete"], &peer.url("t"), shown(&here.join("mine")));
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains(words) && ran.code() != Some(0), "{ran:?}");
        assert_eq!(here.read("mine/a"), b"the old one");
        assert_eq!(here.read("mine/kept"), b"mine");
        let names: Vec<_> = fs::read_dir(here.join("mine")).unwrap().collect();
        assert!(names.len() <= 3, "{names:?}");
    }
}

#[test]
fn an_interrupted_file_is_resumed_with_continue() {
    let (here, server) = (TempRoot::new(), OurServer::start());
    let target = here.join("mine");
    let whole = binary(1_000_000, 7);
    let interrupted = || {
        let _ = fs::remove_dir_all(&target);
        age(&server.root.write("t/f", &whole), 5);
        let cut = ["-c", "--limit-rate", "200K", "--timeout", "3s"];
        mirror(&cut, &server.url("t"), shown(&target)).exited(10);
        let part = target.join(".ftp-cli-part-f.part");
        let kept = fs::metadata(&part).unwrap().len();
        assert!(!target.join("f").exists() && kept > 65_536, "{kept}");
    };
    interrupted();
    let ran = mirror(&["-c", "--trace", "--delete"], &server.url("t"), shown(&target));
    ran.exited(0);
    assert_eq!(sent(&ran, "REST"), 1, "{ran:?}");
    assert_eq!(fs::read(target.join("f")).unwrap(), whole);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);

    // A new file needs no question that the listing answers.
    for (form, times) in [("mlsd", 0), ("list", 1)] {
        let new = here.join(form);
        let options = ["-c", "--trace", "--listing", form];
        let ran = mirror(&options, &server.url("t"), shown(&new));
        ran.exited(0);
        assert_eq!((sent(&ran, "SIZE"), sent(&ran, "MDTM")), (0, times), "{ran:?}");
        assert_eq!(tree(&new), tree(&server.root.join("t")));
    }

    // The bytes of another host's file are not joined, although size and time are equal.
    interrupted();
    let (other, second) = (whole.iter().map(|byte| !byte).collect::<Vec<_>>(), OurServer::start());
    let time = fs::metadata(server.root.join("t/f")).unwrap().modified().unwrap();
    let file = second.root.write("t/f", &other);
    fs::File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
    let ran = mirror(&["-c", "--trace"], &second.url("t"), shown(&target));
    ran.exited(0);
    assert_eq!(sent(&ran, "REST"), 0, "{ran:?}");
    assert_eq!(fs::read(target.join("f")).unwrap(), other);

    // A partial file of another program is left alone.
    fs::remove_dir_all(&target).unwrap();
    let foreign = here.write("mine/.ftp-cli-part-f.part", b"foreign");
    mirror(&["-c"], &server.url("t"), shown(&target)).exited(0);
    assert_eq!(fs::read(target.join("f")).unwrap(), whole);
    assert_eq!(fs::read(foreign).unwrap(), b"foreign");

    // An upload of a file whose beginning the server has, by its digest.
    let whole = vec![b'x'; 100_000];
    age(&here.write("up/g", &whole), 5);
    server.root.write("up/g", &whole[..70_000]);
    let up = || mirror(&["-c", "--trace"], shown(&here.join("up")), &server.url("up"));
    let ran = up();
    ran.exited(0);
    assert_eq!((sent(&ran, "APPE"), sent(&ran, "STOR")), (1, 0), "{ran:?}");
    assert_eq!(server.root.read("up/g"), whole);
    // Other bytes are replaced from byte 0, however new they are.
    server.root.write("up/g", &vec![b'y'; 70_000]);
    let ran = up();
    ran.exited(0);
    assert_eq!((sent(&ran, "APPE"), sent(&ran, "STOR")), (0, 1), "{ran:?}");
    assert_eq!(server.root.read("up/g"), whole);
}

#[test]
fn an_interrupted_upload_is_resumed_with_and_without_a_temporary_name_as_09() {
    let (here, server) = (TempRoot::new(), OurServer::start());
    let whole = binary(2_000_000, 9);
    age(&here.write("up/sub/file", &whole), 5);
    let up = here.join("up");
    for (number, temp) in [&[][..], &["--temp"]].into_iter().enumerate() {
        let url = server.url(format!("t{number}"));
        let run = |options: &[&str]| mirror(&[&["-c"], temp, options].concat(), shown(&up), &url);
        let cut = run(&["--limit-rate", "200K", "--timeout", "4s"]);
        assert_ne!(cut.code(), Some(0), "{temp:?} {cut:?}");
        let ran = run(&["--trace"]);
        ran.exited(0);
        let said = String::from_utf8_lossy(&ran.stderr);
        let all = " 1.9 MiB in ";
        assert!(!said.contains(all) && said.contains("1 file copied"), "{temp:?} {said}");
        assert_eq!(server.root.read(format!("t{number}/sub/file")), whole, "{temp:?}");
        assert_eq!(tree(&server.root.join(format!("t{number}"))), tree(&up), "{temp:?}");
    }
}
