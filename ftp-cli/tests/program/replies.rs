//! Servers that send one reply too many: no command acts in a wrong directory or on a wrong file,
//! and no upload counts that was not confirmed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ftp_tests::process::{LIMIT, run, run_with};
use ftp_tests::root::TempRoot;

use crate::peer::{Act, Peer};
use crate::{failed, ftp};

/// What the server does beside the protocol.
#[derive(Clone, Copy, Debug)]
struct Odd {
    /// Sent after the end of each upload, each after a delay in ms.
    after_upload: &'static [(u64, &'static str)],
    after_login: &'static [(u64, &'static str)],
    /// Commands that are answered twice, up to this login.
    doubles: &'static [&'static str],
    last_double: usize,
    /// Sent before each final reply.
    keeps_alive: &'static str,
    knows_size: bool,
    /// The command that is carried out once without a reply: the connection is lost.
    loses: &'static str,
}

const PLAIN: Odd = Odd {
    after_upload: &[],
    after_login: &[],
    doubles: &[],
    last_double: usize::MAX,
    keeps_alive: "",
    knows_size: true,
    loses: "",
};

/// The server's files and directories, and the paths that it deleted.
#[derive(Debug, Default)]
struct World {
    files: BTreeSet<String>,
    directories: BTreeSet<String>,
    deleted: Vec<String>,
    logins: usize,
    uploads: usize,
    has_lost: bool,
}

struct Server {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
}

impl Server {
    /// Starts a server with the files `/a`, `/b`, `/d/a` and `/d/b`.
    fn start(odd: Odd) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let files = ["/a", "/b", "/d/a", "/d/b"].map(str::to_owned).into();
        let directories = ["/d"].map(str::to_owned).into();
        let world = World { files, directories, ..World::default() };
        let world = Arc::new(Mutex::new(world));
        let of_thread = Arc::clone(&world);
        // Ends with the test.
        thread::spawn(move || {
            for control in listener.incoming().flatten() {
                let world = Arc::clone(&of_thread);
                thread::spawn(move || drop(serve(&control, odd, &world)));
            }
        });
        Self { address, world }
    }

    fn url(&self, path: &str) -> String {
        format!("ftp://{}/{path}", self.address)
    }
}

fn serve(mut control: &TcpStream, odd: Odd, world: &Mutex<World>) -> std::io::Result<()> {
    let mut lines = BufReader::new(control);
    let mut data = TcpListener::bind("127.0.0.1:0")?;
    let (mut cwd, mut renamed) = (String::from("/"), String::new());
    control.write_all(b"220 ready\r\n")?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let path = if argument.starts_with('/') {
            argument.trim_end_matches('/').to_owned()
        } else {
            format!("{cwd}{argument}")
        };
        let mut extra: &[(u64, &str)] = &[];
        let mut now = world.lock().unwrap();
        let done = |is_done: bool, yes: &str| {
            if is_done { yes.to_owned() } else { "550 no".to_owned() }
        };
        let reply = match verb {
            "USER" => "331 password".to_owned(),
            "PASS" => {
                now.logins += 1;
                extra = odd.after_login;
                "230 in".to_owned()
            }
            "TYPE" | "NOOP" => "200 ok".to_owned(),
            "EPSV" => {
                data = TcpListener::bind("127.0.0.1:0")?;
                format!("229 (|||{}|)", data.local_addr()?.port())
            }
            "SIZE" if !odd.knows_size => "550 no".to_owned(),
            "SIZE" => done(now.files.contains(&path), "213 3"),
            "PWD" => format!(
                "257 \"{}\"",
                cwd.strip_suffix('/').filter(|at| !at.is_empty()).unwrap_or("/")
            ),
            "CWD" => {
                let path = if path.is_empty() { "/".to_owned() } else { path };
                let is_there = path == "/" || now.directories.contains(&path);
                if is_there {
                    cwd = if path == "/" { path } else { format!("{path}/") };
                }
                done(is_there, "250 changed")
            }
            "MKD" => done(now.directories.insert(path.clone()), &format!("257 \"{path}\"")),
            "RMD" => done(now.directories.remove(&path), "250 removed"),
            "DELE" => {
                let is_done = now.files.remove(&path);
                now.deleted.push(path);
                done(is_done, "250 gone")
            }
            "RNFR" => {
                let is_there = now.files.contains(&path);
                renamed = path;
                done(is_there, "350 go on")
            }
            "SITE" => {
                let name = argument.rsplit(' ').next().unwrap_or_default();
                done(now.files.contains(&format!("{cwd}{name}")), "200 set")
            }
            "RNTO" => {
                let is_done = now.files.remove(&renamed) && now.files.insert(path);
                done(is_done, "250 moved")
            }
            "STOR" => {
                control.write_all(b"150 go on\r\n")?;
                let _ = data.accept()?.0.read_to_end(&mut Vec::new());
                now.files.insert(path);
                now.uploads += 1;
                extra = odd.after_upload;
                "226 done".to_owned()
            }
            "MDTM" => done(now.files.contains(&path), "213 20200102030405"),
            "LIST" => {
                let name = argument.trim_start_matches("-a").trim();
                let directory = if name.is_empty() { cwd.clone() } else { format!("/{name}/") };
                let inside = |path: &&String| {
                    path.strip_prefix(&directory).is_some_and(|name| !name.contains('/'))
                };
                control.write_all(b"150 go on\r\n")?;
                let mut data = data.accept()?.0;
                for (mode, paths) in [("d", &now.directories), ("-", &now.files)] {
                    for path in paths.iter().filter(inside) {
                        let name = path.strip_prefix(&directory).unwrap();
                        let line = format!("{mode}rw-r--r-- 1 u g 3 Jan 2 2020 {name}\r\n");
                        data.write_all(line.as_bytes())?;
                    }
                }
                "226 done".to_owned()
            }
            "QUIT" => "221 bye".to_owned(),
            _ => "502 what?".to_owned(),
        };
        if verb == odd.loses && !std::mem::replace(&mut now.has_lost, true) {
            return Ok(());
        }
        let doubles = odd.doubles.contains(&verb) && now.logins <= odd.last_double;
        drop(now);
        if !odd.keeps_alive.is_empty() {
            control.write_all(format!("{}\r\n", odd.keeps_alive).as_bytes())?;
        }
        let again = if doubles { format!("{reply}\r\n") } else { String::new() };
        control.write_all(format!("{reply}\r\n{again}").as_bytes())?;
        for (delay, line) in extra {
            thread::sleep(Duration::from_millis(*delay));
            control.write_all(format!("{line}\r\n").as_bytes())?;
        }
    }
}

const EXTRA: [&[(u64, &str)]; 10] = [
    &[(0, "250 done")],
    &[(5, "250 done")],
    &[(50, "250 done")],
    &[(200, "250 done")],
    &[(300, "250 done")],
    &[(30, "226 Quota: 1 of 2 files")],
    &[(30, "226 once"), (30, "226 twice")],
    &[(0, "451 not stored")],
    &[(30, "451 not stored")],
    &[(300, "550 not stored")],
];

/// The odd servers, and whether all that the client asks for can still be confirmed.
fn servers() -> Vec<(Odd, bool)> {
    let late = EXTRA.iter().enumerate().flat_map(|(at, after_upload)| {
        [true, false].map(|knows_size| (Odd { after_upload, knows_size, ..PLAIN }, at < 6))
    });
    let doubled =
        [&["DELE"][..], &["CWD"], &["STOR"], &["MKD"], &["RNTO"], &["DELE", "CWD", "PWD"]];
    let doubled = doubled.map(|doubles| (Odd { doubles, ..PLAIN }, true));
    let other = [
        Odd { keeps_alive: "150 still here", ..PLAIN },
        Odd { after_login: &[(0, "230 Welcome")], ..PLAIN },
        Odd { after_login: &[(30, "230 Welcome")], ..PLAIN },
        PLAIN,
    ];
    late.chain(doubled).chain(other.map(|odd| (odd, true))).collect()
}

#[test]
fn a_batch_never_acts_in_a_wrong_directory_cl_13() {
    let here = TempRoot::new();
    here.write("one", b"abc");
    thread::scope(|threads| {
        for (odd, _) in servers() {
            for verify in ["none", "size"] {
                let here = &here;
                threads.spawn(move || {
                    let server = Server::start(odd);
                    let script = format!("{verify}-{}", server.address.port());
                    let script = here.write(&script, b"put one one\ncd missing\nrm b\n");
                    let mut batch = ftp(&["batch", "--verify", verify]);
                    let ran = run(batch.arg(server.url("")).arg(script).current_dir(here.path()));
                    let world = server.world.lock().unwrap();
                    assert!(world.deleted.is_empty(), "{odd:?} {ran:?} {world:?}");
                    assert_ne!(ran.code(), Some(0), "{odd:?}");
                });
            }
        }
    });
}

#[test]
fn what_a_batch_confirms_was_done_cl_13() {
    let here = TempRoot::new();
    here.write("one", b"abc");
    thread::scope(|threads| {
        for (odd, is_confirmable) in servers() {
            for verify in ["none", "size"] {
                let here = &here;
                threads.spawn(move || {
                    let server = Server::start(odd);
                    let script = format!("{verify}-{}", server.address.port());
                    let lines =
                        b"put one one\ncd d\nrm a\nput one two\nrm b\nmkdir m\nmv two three\n";
                    let script = here.write(&script, lines);
                    let mut batch = ftp(&["batch", "--verify", verify]);
                    let ran = run(batch.arg(server.url("")).arg(script).current_dir(here.path()));
                    let world = server.world.lock().unwrap();
                    let is_right = world.deleted.iter().all(|path| path.starts_with("/d/"));
                    assert!(is_right, "{odd:?} {ran:?} {world:?}");
                    if ran.code() == Some(0) {
                        let files: Vec<_> = world.files.iter().map(String::as_str).collect();
                        assert_eq!(files, ["/a", "/b", "/d/three", "/one"], "{odd:?} {ran:?}");
                        assert!(world.directories.contains("/d/m"), "{odd:?} {ran:?}");
                    }
                    let is_well = odd.doubles.is_empty() && is_confirmable;
                    let can_verify = verify == "none" || odd.knows_size;
                    if is_well && can_verify {
                        assert_eq!(ran.code(), Some(0), "{odd:?} {verify} {ran:?}");
                    }
                    if !is_confirmable {
                        assert_ne!(ran.code(), Some(0), "{odd:?} {verify} {ran:?}");
                    }
                });
            }
        }
    });
}

#[test]
fn a_put_that_is_refused_after_its_226_fails_cl_13() {
    let here = TempRoot::new();
    let one = here.write("one", b"abc");
    thread::scope(|threads| {
        for (odd, is_confirmable) in servers() {
            for options in [&[][..], &["--verify", "none"], &["--temp"]] {
                let one = &one;
                threads.spawn(move || {
                    let server = Server::start(odd);
                    let ran = run(ftp(&["put"]).args(options).arg(one).arg(server.url("x")));
                    let world = server.world.lock().unwrap();
                    assert!(
                        world.deleted.iter().all(|path| path.contains(".in.")),
                        "{odd:?} {ran:?}"
                    );
                    let is_done = world.files.contains("/x");
                    assert!(is_done || ran.code() != Some(0), "{odd:?} {options:?} {ran:?}");
                    if is_confirmable && odd.doubles.is_empty() {
                        assert_eq!(ran.code(), Some(0), "{odd:?} {options:?} {ran:?}");
                    }
                    // Before the rename, a new connection can prove the upload by its size.
                    let may_prove = options == ["--temp"] && odd.knows_size;
                    if !is_confirmable && !may_prove {
                        assert_ne!(ran.code(), Some(0), "{odd:?} {options:?} {ran:?}");
                    }
                });
            }
        }
    });
}

#[test]
fn an_upload_in_doubt_is_sent_again_before_its_rename_cl_13() {
    let here = TempRoot::new();
    let one = here.write("one", b"abc");
    // The second reply to SIZE says that the replies are out of step, and nothing says since when.
    let odd = Odd { doubles: &["SIZE"], last_double: 1, knows_size: false, ..PLAIN };
    let server = Server::start(odd);
    let ran = run(ftp(&["put", "--temp"]).arg(&one).arg(server.url("x")));
    let world = server.world.lock().unwrap();
    assert_eq!((ran.code(), world.uploads, world.logins), (Some(0), 2, 2), "{ran:?}");
    assert!(world.files.contains("/x"), "{ran:?}");
}

#[test]
fn removals_answered_twice_are_told_apart_cl_13() {
    let server = Server::start(Odd { doubles: &["DELE"], ..PLAIN });
    let ran = run(ftp(&["rm"]).args([server.url("a"), server.url("none"), server.url("b")]));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.code(), Some(12), "{ran:?}");
    assert!(said.contains("none: DELE refused: 550"), "{said}");
    assert!(said.contains("2 of 3 objects removed, 1 failed"), "{said}");
    assert!(server.world.lock().unwrap().files.iter().all(|file| file.starts_with("/d/")));
}

#[test]
fn a_mirror_deletes_extras_whose_removals_are_answered_twice_cl_13_cl_78() {
    let here = TempRoot::new();
    here.write("site/c", b"abc");
    let server = Server::start(Odd { doubles: &["DELE"], ..PLAIN });
    let ran = run(ftp(&["mirror", "--delete"]).arg(here.join("site")).arg(server.url("d")));
    let world = server.world.lock().unwrap();
    assert_eq!(ran.code(), Some(0), "{ran:?} {world:?}");
    assert!(world.files.iter().map(String::as_str).eq(["/a", "/b", "/d/c"]), "{ran:?} {world:?}");
}

#[test]
fn a_run_reconnects_at_most_three_times_cl_13() {
    let server = Server::start(Odd { doubles: &["DELE"], ..PLAIN });
    let urls: Vec<_> = ["a", "b", "d/a", "d/b", "x", "y"].map(|path| server.url(path)).into();
    let ran = run(ftp(&["rm"]).args(&urls));
    assert_ne!(ran.code(), Some(0), "{ran:?}");
    assert!(server.world.lock().unwrap().logins <= 4, "{ran:?}");
}

#[test]
fn a_mirror_survives_one_reply_too_many_cl_13() {
    let here = TempRoot::new();
    here.mkdir("site/sub");
    for name in ["site/1", "site/2", "site/3", "site/sub/4"] {
        here.write(name, b"abc");
    }
    thread::scope(|threads| {
        for after_upload in EXTRA {
            let here = &here;
            threads.spawn(move || {
                let server = Server::start(Odd { after_upload, ..PLAIN });
                let site = here.join("site");
                let ran = run(ftp(&["mirror", "--create-dirs"]).arg(site).arg(server.url("new")));
                let world = server.world.lock().unwrap();
                assert!(world.deleted.is_empty(), "{after_upload:?} {ran:?} {world:?}");
                let stored = world.files.iter().filter(|file| file.starts_with("/new/")).count();
                if ran.code() == Some(0) {
                    assert_eq!(stored, 4, "{after_upload:?} {ran:?} {world:?}");
                }
                if after_upload.len() == 1 && after_upload[0].1.starts_with('2') {
                    assert_eq!(ran.code(), Some(0), "{after_upload:?} {ran:?} {world:?}");
                }
            });
        }
    });
}

#[test]
fn a_command_whose_reply_was_lost_is_judged_by_what_the_server_shows() {
    // The command, what is lost, the exit code and words with --retry, and the files afterwards.
    let files = ["/a", "/b", "/d/a", "/d/b"];
    for (command, loses, exit, words, gone, come) in [
        (&["rm", "a"][..], "DELE", 0, "", "/a", ""),
        (&["rm", "none"], "", 8, "DELE refused: 550", "", ""),
        (&["rm", "-r", "a"], "DELE", 0, "", "/a", ""),
        (&["rmdir", "e"], "RMD", 0, "", "", ""),
        (&["rm", "-r", "e/"], "RMD", 0, "", "", ""),
        (&["mkdir", "m"], "MKD", 8, "perhaps made by an earlier attempt", "", ""),
        (&["mkdir", "e"], "", 8, "MKD refused: 550", "", ""),
        (&["mkdir", "-p", "m"], "MKD", 0, "", "", ""),
        (&["mkdir", "-p", "m/n"], "MKD", 0, "", "", ""),
        (&["mv", "a", "c"], "RNTO", 0, "", "/a", "/c"),
        (&["mv", "-n", "-v", "a", "c"], "RNTO", 0, "a: moved", "/a", "/c"),
        (&["mv", "-n", "a", "b"], "", 0, "b: exists", "", ""),
        // Both had the same size and time before.
        (&["mv", "a", "b"], "RNTO", 11, "may have renamed it, or still do so", "/a", ""),
        (&["mv", "a", "c"], "RNFR", 0, "", "/a", "/c"),
    ] {
        for retry in [true, false] {
            let server = Server::start(Odd { loses, ..PLAIN });
            server.world.lock().unwrap().directories.insert("/e".to_owned());
            let mut ftp = ftp(&command[..1]);
            let mut at = 0;
            for word in &command[1..] {
                if word.starts_with('-') {
                    ftp.arg(word);
                    continue;
                }
                at += 1;
                // The second path of mv is not a URL.
                let url = if at == 1 { server.url(word) } else { (*word).to_owned() };
                ftp.arg(url);
            }
            if retry {
                ftp.args(["--retry", "1", "--retry-delay", "0s"]);
            }
            let ran = run(&mut ftp);
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            let world = server.world.lock().unwrap();
            let case = format!("{command:?} {loses} {retry}: {ran:?} {world:?}");
            if retry || loses.is_empty() {
                assert_eq!(ran.code(), Some(exit), "{case}");
                assert!(said.contains(words), "{case}");
            } else {
                assert_eq!(ran.code(), Some(4), "{case}");
            }
            if retry {
                let mut want: Vec<_> = files.into_iter().filter(|file| *file != gone).collect();
                want.extend(Some(come).filter(|come| !come.is_empty()));
                want.sort_unstable();
                assert!(world.files.iter().eq(&want), "{case}");
            }
        }
    }
}

#[test]
fn a_removed_name_is_no_pattern_in_the_next_attempt() {
    let server = Server::start(Odd { loses: "DELE", ..PLAIN });
    server.world.lock().unwrap().files.insert("/[ab]".to_owned());
    let url = format!("{}[ab]", server.url(""));
    run(ftp(&["rm", "--retry", "1", "--retry-delay", "0s"]).arg(&url)).exited(0);
    // A script that runs twice removes no other file either, if it escapes the name.
    let url = format!("{}%5Bab%5D", server.url(""));
    failed(&run(ftp(&["rm"]).arg(&url)), 8, "DELE refused: 550");
    let world = server.world.lock().unwrap();
    assert!(world.files.iter().eq(["/a", "/b", "/d/a", "/d/b"]), "{world:?}");
}

#[test]
fn a_later_attempt_removes_nothing_that_came_after_the_first_one() {
    let server = Server::start(Odd { loses: "DELE", ..PLAIN });
    let world = Arc::clone(&server.world);
    let another = thread::spawn(move || {
        while world.lock().unwrap().files.contains("/d/a") {
            thread::sleep(Duration::from_millis(10));
        }
        world.lock().unwrap().files.insert("/d/c".to_owned());
    });
    let ran = run(ftp(&["rm", "--retry", "1", "--retry-delay", "1s"]).arg(server.url("d/*")));
    another.join().unwrap();
    ran.exited(0);
    let world = server.world.lock().unwrap();
    assert!(world.files.iter().eq(["/a", "/b", "/d/c"]), "{ran:?} {world:?}");
}

#[test]
fn a_batch_repeats_commands_whose_reply_was_lost() {
    // The lines, what is lost, the exit code and words with --retry, and the files afterwards.
    let files = ["/a", "/b", "/d/a", "/d/b"];
    for (lines, loses, exit, words, gone, come) in [
        ("rm a", "DELE", 0, "", "/a", ""),
        ("rm none", "", 8, "DELE refused: 550", "", ""),
        ("rm -r e/", "RMD", 0, "", "", ""),
        ("rmdir e", "RMD", 0, "", "", ""),
        ("mkdir m", "MKD", 8, "perhaps made by an earlier attempt", "", ""),
        ("mkdir -p m/n", "MKD", 0, "", "", ""),
        ("mv a c", "RNTO", 0, "", "/a", "/c"),
        ("mv a c", "RNFR", 0, "", "/a", "/c"),
        // Both had the same size and time before.
        ("mv a b", "RNTO", 11, "may have renamed it, or still do so", "/a", ""),
        ("chmod 600 a", "SITE", 0, "", "", ""),
        ("stat a", "MDTM", 0, "", "", ""),
        // The new connection is in the directory where the lost one was.
        ("cd d\nrm a", "CWD", 0, "", "/d/a", ""),
        ("cd d\nrm a", "DELE", 0, "", "/d/a", ""),
        ("cd d\nmv a c", "RNTO", 0, "", "/d/a", "/d/c"),
        ("cd none\nrm a", "", 8, "CWD refused: 550", "", ""),
    ] {
        for retry in [true, false] {
            let server = Server::start(Odd { loses, ..PLAIN });
            server.world.lock().unwrap().directories.insert("/e".to_owned());
            let mut ftp = ftp(&["batch", &server.url("")]);
            if retry {
                ftp.args(["--retry", "1", "--retry-delay", "0s"]);
            }
            let ran = run_with(&mut ftp, format!("{lines}\n").as_bytes(), LIMIT);
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            let world = server.world.lock().unwrap();
            let case = format!("{lines:?} {loses} {retry}: {ran:?} {world:?}");
            if retry || loses.is_empty() {
                assert_eq!(ran.code(), Some(exit), "{case}");
                assert!(said.contains(words), "{case}");
                let mut want: Vec<_> = files.into_iter().filter(|file| *file != gone).collect();
                want.extend(Some(come).filter(|come| !come.is_empty()));
                want.sort_unstable();
                assert!(world.files.iter().eq(&want), "{case}");
            } else {
                assert!(matches!(ran.code(), Some(4 | 8 | 12)), "{case}");
            }
        }
    }
}

#[test]
fn a_batch_waits_for_its_server_as_often_as_retry_says() {
    let full = || vec![("PASS", Act::Say("421 too many users"))];
    let peer = Peer::start_several(vec![full(), full(), vec![("DELE", Act::Say("250 gone"))]]);
    let ran = run_with(
        ftp(&["batch", "--retry", "2", "--retry-delay", "0s"]).arg(peer.url("")),
        b"rm a\n",
        LIMIT,
    );
    ran.exited(0);
    assert!(peer.seen().contains("DELE a"), "{}", peer.seen());
    // A directory that cannot be entered again: nothing runs elsewhere.
    let first = vec![("DELE", Act::Say("421 bye")), ("CWD", Act::Say("250 in"))];
    let second = || vec![("CWD", Act::Say("450 busy")), ("DELE", Act::Say("250 gone"))];
    let peer = Peer::start_several(vec![first, second(), second(), second()]);
    let ran = run_with(
        ftp(&["batch", "--retry", "1", "--retry-delay", "0s"]).arg(peer.url("")),
        b"cd d\nrm a\nrm b\n",
        LIMIT,
    );
    ran.exited(12);
    assert_eq!(peer.seen().matches("DELE").count(), 1, "{}", peer.seen());
}

#[test]
fn a_server_with_too_many_clients_is_tried_again_cl_09() {
    let full = "530 Sorry, the maximum number of clients (1) from your host are already connected.";
    let acts = |pass: &'static str| vec![("PASS", Act::Say(pass)), ("MKD", Act::Say("257 made"))];
    for (pass, retries, exit) in
        [(full, true, 0), (full, false, 9), ("530 Login incorrect", true, 6), ("230 in", false, 0)]
    {
        let peer = Peer::start_several(vec![acts(pass), acts("230 in")]);
        let retry = ["--retry", "1", "--retry-delay", "0s"];
        let options = if retries { &retry[..] } else { &[] };
        let ran = run(ftp(&["mkdir"]).args(options).arg(peer.url("x")));
        assert_eq!(ran.code(), Some(exit), "{pass} {retries}: {ran:?}");
    }
}
