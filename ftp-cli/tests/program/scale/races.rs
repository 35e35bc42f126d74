//! Changes during sessions: links that lead out of the root, and clients that vanish.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ftp_tests::random::Random;
use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::scale;
use ftp_tests::wait::wait_until;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::figures::{THREADS_AT_REST, open_descriptors, threads, wait_for_sweep};
use crate::serve::Served;

const SESSIONS: usize = 8;

/// A directory and a link that leads out of the root are swapped repeatedly, while sessions read
/// and write below that name. Landlock is off: this tests path lookup alone.
#[test]
fn swapping_a_directory_for_a_link_never_escapes_the_root_at_scale_hp_03() {
    let outer = TempRoot::new();
    let (root, outside) = (outer.mkdir("root"), outer.mkdir("outside"));
    outer.mkdir("root/d");
    outer.write("root/d/secret", b"inside");
    outer.write("outside/secret", b"outside");
    symlink("../outside", root.join("link")).unwrap();
    let mut serve = crate::ftp(&["serve", "--listen", "0", "--write", "--user", "u:p"]);
    serve.args(["--set", "security.confine=off", "--set", "transfer.sync=none"]).arg(&root);
    let served = Served::of(&mut serve);

    let start = Instant::now();
    let end = start + Duration::from_secs(scale::count(2, 60) as u64);
    let done = AtomicBool::new(false);
    let counts = [const { AtomicUsize::new(0) }; 4];
    let [inside, refused, stored, kept_out] = &counts;
    // On a busy machine, not every outcome has come by then.
    let goes_on = || {
        let lacks_one = counts.iter().any(|count| count.load(Ordering::Relaxed) == 0);
        Instant::now() < end || lacks_one && start.elapsed() < DEADLINE
    };
    std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let (one, two) = (root.join("d"), root.join("link"));
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let sessions = (0..SESSIONS).map(|number| {
            let (address, goes_on) = (served.address, &goes_on);
            scope.spawn(move || {
                let mut session = RawSession::login(address, "u", "p");
                while goes_on() {
                    let data = session.passive();
                    match session.ask("RETR d/secret").code {
                        150 => {
                            assert_eq!(data.read_to_end(), b"inside");
                            session.expect_reply(226);
                            inside.fetch_add(1, Ordering::Relaxed);
                        }
                        code => {
                            assert_eq!(code, 550);
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    let data = session.passive();
                    match session.ask(format!("STOR d/{number}")).code {
                        150 => {
                            // The server may have refused it already; its reply then says so.
                            let _ = data.stream().write_all(b"new");
                            data.close();
                            match session.reply().code {
                                226 => stored.fetch_add(1, Ordering::Relaxed),
                                code => {
                                    assert!(matches!(code, 451 | 550 | 553), "{code}");
                                    kept_out.fetch_add(1, Ordering::Relaxed)
                                }
                            };
                        }
                        code => {
                            assert!(matches!(code, 550 | 553), "{code}");
                            kept_out.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    // The file outside has size 7.
                    let size = session.ask("SIZE d/secret");
                    assert!(size.code == 550 || size.first() == b"6", "{size:?}");
                    for line in
                        ["MKD d/made", "RMD d/made", "DELE d/secret/x", "SITE CHMOD 600 d/secret"]
                    {
                        session.ask(line);
                    }
                    session.ask(format!("DELE d/{number}"));
                }
            })
        });
        let failed = sessions.collect::<Vec<_>>().into_iter().filter_map(|one| one.join().err());
        let failed = failed.count();
        done.store(true, Ordering::Relaxed);
        swapping.join().unwrap();
        assert_eq!(failed, 0, "sessions that saw or said something wrong");
    });
    let counts = counts.map(AtomicUsize::into_inner);
    let [inside, refused, stored, kept_out] = counts;
    println!("read {inside} times, refused {refused}; stored {stored} times, refused {kept_out}");
    assert!(counts.iter().all(|count| *count > 0), "no race: {counts:?}");
    let left = std::fs::read_dir(&outside).unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["secret"]);
    assert_eq!(outer.read("outside/secret"), b"outside");
    let mode = outside.join("secret").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

/// How a client leaves during an upload.
const WAYS: [&str; 3] = ["the end of both connections", "a reset", "silence"];

#[test]
fn vanished_clients_publish_no_file_at_scale_hd_15_hd_16_st_09() {
    let root = TempRoot::new();
    root.write("old", b"old");
    let settings = ["--set", "timeouts.stall=2 s", "--set", "limits.per_address=0"];
    let served = Served::start(&root, &[&["--write", "--user", "u:p"], &settings[..]].concat());
    let process = served.running.child.id();
    wait_for_sweep(process);
    RawSession::login(served.address, "u", "p").expect_in_step();
    let usual = || (open_descriptors(process), threads(process));
    wait_until("the end of a session", || threads(process) == THREADS_AT_REST);
    let before = usual();
    let rounds = scale::count(4, 100);
    // All ways at once, including the silent ones.
    let mut silent = Vec::new();
    for round in 0..rounds {
        for way in WAYS {
            for name in [format!("new{round}"), "old".to_owned()] {
                let mut session = RawSession::login(served.address, "u", "p");
                let data = session.passive();
                session.expect(format!("STOR {name}"), 150);
                // On a busy machine, the server may have ended it already.
                let _ = data.stream().write_all(&vec![b'x'; 1 + round * 1_000]);
                match way {
                    "a reset" => {
                        data.reset();
                        session.reset();
                    }
                    "silence" => silent.push((session, data)),
                    _ => {
                        drop(session);
                        // The server ends the data once it sees that the client is gone. On a busy
                        // machine an immediate end of the data might arrive before the end of the
                        // session, and would complete the file.
                        drop(io::copy(&mut data.into_stream(), &mut io::sink()));
                    }
                }
            }
        }
    }
    println!("{} uploads cut", 2 * rounds * WAYS.len());
    for (mut session, data) in silent {
        session.expect_reply(426);
        drop(data);
    }
    wait_until("the end of all sessions", || usual() == before);
    assert_eq!(root.published(), [b"old"]);
    assert_eq!(root.read("old"), b"old");
}

/// The acceptable replies if the data connection was reset. An upload is never complete then, nor
/// is a download that is larger than the socket buffers.
const RESETS: [(&str, &[u16]); 7] = [
    ("RETR large", &[425, 426]),
    ("STOR new", &[425, 426]),
    ("STOU", &[425, 426]),
    ("APPE old", &[425, 426]),
    ("LIST many", &[226, 425, 426]),
    ("NLST many", &[226, 425, 426]),
    ("MLSD many", &[226, 425, 426]),
];

#[test]
fn resets_during_any_transfer_leave_nothing_at_scale_go_10_hd_15_hd_20() {
    let mut random = Random::new(10);
    let root = TempRoot::new();
    root.write("old", b"old");
    std::fs::File::create(root.join("large")).unwrap().set_len(1 << 28).unwrap();
    root.mkdir("many");
    (0..300).for_each(|number| drop(root.write(format!("many/{number}"), b"")));
    let before_all = root.published();
    let settings = ["--set", "transfer.sync=none", "--set", "transfer.partial=discard"];
    let mut serve = crate::ftp(&["serve", "--listen", "0.0.0.0:0", "--write", "--user", "u:p"]);
    let served = Served::of(serve.args(settings).arg(root.path()));
    let process = served.running.child.id();
    wait_for_sweep(process);
    let mut logins = 0_u8;
    // Each loopback address has its own ports for clients.
    let mut log_in = || {
        logins = logins.wrapping_add(1);
        let address = ([127, 0, 0, logins.max(1)], served.address.port()).into();
        let mut session = RawSession::login(address, "u", "p");
        session.expect("TYPE I", 200);
        session
    };
    let mut session = log_in();
    let before = (open_descriptors(process), threads(process));
    let mut counts = BTreeMap::new();
    for (line, may) in RESETS {
        for _ in 0..scale::count(20, 1_000) {
            let is_upload = matches!(&line[..4], "STOR" | "STOU" | "APPE");
            let mut data = session.passive();
            match random.below(5) {
                // Before the command, or at the same time.
                0 => {
                    data.reset();
                    session.line(line);
                }
                1 => {
                    session.line(line);
                    data.reset();
                }
                // With the control connection, or only that.
                2 => {
                    session.line(line);
                    if random.below(2) == 0 {
                        data.reset();
                        session.reset();
                    } else {
                        session.reset();
                        // If the server saw the end of the data before the reset, the file would be
                        // complete: it must see the reset first, and then ends both.
                        drop(io::copy(&mut data.into_stream(), &mut io::sink()));
                    }
                    session = log_in();
                    // The session before holds the file that `APPE` extends until it has ended.
                    wait_until("its end", || threads(process) == before.1);
                    *counts.entry((line, 0)).or_insert(0) += 1;
                    continue;
                }
                // During the transfer, after a number of bytes.
                _ => {
                    session.expect(line, 150);
                    let bytes = random.below(2_500);
                    match is_upload {
                        true => data.write_all(&vec![b'x'; bytes]),
                        false => drop(data.read_exact(bytes)),
                    }
                    data.reset();
                    let code = session.reply().code;
                    assert!(may.contains(&code), "{line}: {code}");
                    *counts.entry((line, code)).or_insert(0) += 1;
                    continue;
                }
            }
            let code = match session.reply().code {
                150 => session.reply().code,
                code => code,
            };
            assert!(may.contains(&code), "{line}: {code}");
            *counts.entry((line, code)).or_insert(0) += 1;
        }
        session.expect_in_step();
    }
    for ((line, code), count) in counts {
        // There is no reply if the control connection was reset.
        println!(
            "{line}: {count} times {}",
            if code == 0 { "-".to_owned() } else { code.to_string() }
        );
    }
    wait_until("the end of all sessions but one", || {
        (open_descriptors(process), threads(process)) == before
    });
    assert_eq!(root.published(), before_all);
    assert_eq!(root.read("old"), b"old");
    assert!(!session.download("RETR old").is_empty());
}
