//! `--remove-source` and `--temp` when a connection ends, a file changes or another run begins at
//! the worst moment: no byte is lost.

use std::fs::{self, File, FileTimes};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use ftp_tests::at_once::at_once;
use ftp_tests::content::binary;
use ftp_tests::folding::{FoldingServer, Kind};
use ftp_tests::peer::{RealServer, impossible, skipped};
use ftp_tests::process::{LIMIT, Running, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use rustix::fs::statfs;
use rustix::process::{Pid, Signal, kill_process};

use crate::mirror::age;
use crate::peer::{Act, Peer};
use crate::{failed, ftp, in_directory};

/// A disturbance at one command.
enum Meddling {
    /// Both connections end before the server gets the command.
    Drop,
    /// The server executes the command, and its reply is lost with the connection.
    DropReply,
    /// This function runs before the server gets the command.
    Run(Box<dyn Fn() + Send + Sync>),
}

/// Starts a relay to a server. It disturbs the `number`th command `verb`, counted over all
/// connections.
fn meddle(server: &OurServer, verb: &'static str, number: usize, how: Meddling) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, server) = (listener.local_addr().unwrap(), server.address);
    let state = Arc::new((how, AtomicUsize::new(0)));
    // Ends with the test.
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(server) else { return };
            let state = Arc::clone(&state);
            thread::spawn(move || relay(&client, &server, verb, number, &state));
        }
    });
    address
}

fn relay(
    client: &TcpStream,
    server: &TcpStream,
    verb: &str,
    number: usize,
    (how, count): &(Meddling, AtomicUsize),
) {
    let end = || {
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    };
    let is_mute = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut piece = [0; 4096];
            let (mut from, mut to) = (server, client);
            while let Ok(length @ 1..) = from.read(&mut piece) {
                if is_mute.load(Ordering::SeqCst) || to.write_all(&piece[..length]).is_err() {
                    break;
                }
            }
            end();
        });
        let (mut lines, mut to) = (BufReader::new(client), server);
        let mut line = Vec::new();
        while let Ok(1..) = lines.read_until(b'\n', &mut line) {
            let is_it = line.starts_with(verb.as_bytes());
            if is_it && count.fetch_add(1, Ordering::SeqCst) + 1 == number {
                match how {
                    Meddling::Drop => break,
                    Meddling::DropReply => is_mute.store(true, Ordering::SeqCst),
                    Meddling::Run(act) => act(),
                }
            }
            if to.write_all(&line).is_err() {
                break;
            }
            line.clear();
        }
        end();
    });
}

fn url(relay: SocketAddr, name: &str) -> String {
    format!("ftp://user:pass%20word@{relay}/{name}")
}

#[test]
fn option_combinations_that_could_lose_a_file_are_refused() {
    let here = TempRoot::new();
    for name in ["x", "x.part", "t/a"] {
        here.write(name, b"content");
    }
    let url = "ftp://127.0.0.1:1/t/";
    let temporary = "the temporary name";
    let exclude = "exclude each other";
    for (arguments, words) in [
        (&["put", "-c", "--remove-source", "x", url][..], exclude),
        (&["get", "-c", "--remove-source", "ftp://127.0.0.1:1/x"], exclude),
        (&["mirror", "-c", "--remove-source", "t", url], exclude),
        (&["put", "-r", "-c", "--remove-source", "t", url], exclude),
        (&["put", "--newer", "--remove-source", "x", url], exclude),
        (&["put", "--if-changed", "--remove-source", "x", url], exclude),
        (&["put", "--temp=*.part", "x.part", "x", url], temporary),
        (&["fxp", "--temp=.in.*", "ftp://127.0.0.1:1/.in.a", "ftp://127.0.0.1:1/a"], temporary),
        (&["fxp", "--temp=.in.*", "ftp://127.0.0.1:1/d/.in.a", "ftp://localhost:1/d/a"], temporary),
        (&["fxp", "--temp=*.b", "ftp://127.0.0.1:1/a.b", "ftp://127.0.0.1:1/x/a"], temporary),
        (&["put", "--min-size", "10", "-", "ftp://127.0.0.1:1/x"], "--min-size needs files"),
        (&["put", "--max-age", "1h", "-", "ftp://127.0.0.1:1/x"], "--max-age needs files"),
        (&["put", "--if-changed", "-", "ftp://127.0.0.1:1/x"], "--if-changed needs files"),
        (&["put", "-r", "-p", "t", url], "--recursive and --preserve exclude each other"),
        (&["get", "-r", "-p", url], "--recursive and --preserve exclude each other"),
    ] {
        failed(&in_directory(&here, arguments), 2, words);
    }
}

#[test]
fn an_upload_whose_temporary_file_vanished_is_repeated() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    here.write("a", b"content");
    let url = url(meddle(&server, "RNFR", 1, Meddling::Drop), "a");
    let put = ["put", "--temp=.in.*", "--remove-source", "a", &url];
    in_directory(&here, &put).exited(4);
    assert!(here.join("a").exists());
    fs::remove_file(server.root.join(".in.a")).unwrap();
    in_directory(&here, &put).exited(0);
    assert_eq!(server.root.read("a"), b"content");
    assert!(here.names().is_empty(), "{:?}", here.names());
}

#[test]
fn a_temporary_file_of_another_sender_is_not_published() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    here.write("a", b"content");
    let url = url(meddle(&server, "RNTO", 1, Meddling::DropReply), "a");
    let put = ["put", "--temp=.in.*", "--remove-source", "a", &url];
    in_directory(&here, &put).exited(4);
    assert!(here.join("a").exists());
    server.root.write(".in.a", b"par");
    in_directory(&here, &put).exited(0);
    assert_eq!(server.root.read("a"), b"content");
    assert!(here.names().is_empty(), "{:?}", here.names());
    // An old file of that name is not taken for the new one either.
    here.write("b", b"content");
    let relay = meddle(&server, "RNFR", 1, Meddling::Drop);
    let url = self::url(relay, "b");
    let put = ["put", "--temp=.in.*", "--remove-source", "b", &url];
    in_directory(&here, &put).exited(4);
    fs::remove_file(server.root.join(".in.b")).unwrap();
    age(&server.root.write("b", b"another"), 1);
    in_directory(&here, &put).exited(0);
    assert_eq!(server.root.read("b"), b"content");
}

#[test]
fn a_file_is_moved_by_one_run_at_a_time() {
    let (server, here) = (OurServer::start(), Arc::new(TempRoot::new()));
    age(&server.root.write("a", b"content"), 1);
    let direct = server.url("a");
    let place = Arc::clone(&here);
    let again = Meddling::Run(Box::new(move || {
        let ran = in_directory(&place, &["get", "--remove-source", &direct]);
        failed(&ran, 15, "another job is moving this file");
    }));
    let url = url(meddle(&server, "RETR", 1, again), "a");
    in_directory(&here, &["get", "--remove-source", &url]).exited(0);
    assert_eq!(here.read("a"), b"content");
    let place = Arc::clone(&here);
    let direct = server.url("a");
    let again = Meddling::Run(Box::new(move || {
        let ran = in_directory(&place, &["put", "--remove-source", "a", &direct]);
        failed(&ran, 15, "another job is moving this file");
    }));
    let url = self::url(meddle(&server, "STOR", 1, again), "a");
    in_directory(&here, &["put", "--remove-source", "a", &url]).exited(0);
    assert_eq!(server.root.read("a"), b"content");
    assert!(here.names().is_empty(), "{:?}", here.names());
}

#[test]
fn an_upload_whose_rename_lost_its_reply_is_done_in_the_next_attempt() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    here.write("a", b"content");
    let url = url(meddle(&server, "RNTO", 1, Meddling::DropReply), "a");
    let put = ["put", "--temp", "--retry", "2", "--retry-delay", "10ms", "a", &url];
    in_directory(&here, &put).exited(0);
    assert_eq!(server.root.read("a"), b"content");
    server.assert_only(&[b"a"]);
}

/// More commands than any run below sends.
const COMMANDS: usize = 20;

#[test]
fn a_client_killed_at_any_of_its_commands_loses_no_file() {
    let content = binary(200_000, 9);
    let commands = [
        "put --temp a URL",
        "put -c a URL",
        "put --remove-source a URL",
        "put --temp --remove-source a URL",
        "get -c URL a",
        "get --remove-source URL a",
    ];
    let cases = commands.iter().flat_map(|it| (1..=COMMANDS).map(move |number| (*it, number)));
    let killed = at_once(8, cases, |(command, number)| {
        let (server, here) = (OurServer::start(), TempRoot::new());
        let (source, target) = match command.starts_with("put") {
            true => (here.write("a", &content), server.root.join("f")),
            false => (server.root.write("f", &content), here.join("a")),
        };
        let child = Arc::new(Mutex::new(None));
        let victim = Arc::clone(&child);
        let kill = Meddling::Run(Box::new(move || {
            kill_process(victim.lock().unwrap().unwrap(), Signal::KILL).unwrap();
        }));
        let url = url(meddle(&server, "", number, kill), "f");
        let words: Vec<_> = command.split(' ').map(|word| word.replace("URL", &url)).collect();
        let mut first = ftp(&[]);
        first.args(&words).current_dir(here.path()).stderr(Stdio::null());
        let mut running = {
            let mut child = child.lock().unwrap();
            let running = Running::start(&mut first);
            *child = Some(Pid::from_child(&running.child));
            running
        };
        let status = running.wait(Instant::now() + LIMIT).expect("it ends in time");
        let was_killed = status.signal() == Some(Signal::KILL.as_raw());
        // The last command only says goodbye.
        let is_over = was_killed && !source.exists();
        let ran = was_killed.then(|| run(ftp(&[]).args(&words).current_dir(here.path())));
        let code = ran.as_ref().map_or(status.code(), |ran| ran.code());
        let what = format!("{command}, killed at command {number}: {status:?}, then {ran:?}");
        let there = fs::read(&target).ok();
        assert!(code == Some(0) || is_over, "{what}");
        assert!(there.as_ref() == Some(&content), "{what}");
        assert_eq!(source.exists(), !command.contains("--remove-source"), "{what}");
        usize::from(was_killed)
    });
    let killed: usize = killed.into_iter().sum();
    println!("{killed} runs were killed");
    assert!(killed > 6 * 8, "{killed}");
}

/// Returns the journal in a directory.
fn journal(here: &Path) -> Option<std::path::PathBuf> {
    let mut paths = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().path());
    paths.find(|path| path.to_string_lossy().ends_with(".ftp-cli-journal"))
}

#[test]
fn a_move_repeats_a_download_without_proof_of_publication() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    age(&server.root.write("a", b"content"), 1);
    let url = url(meddle(&server, "DELE", 1, Meddling::Drop), "a");
    let get = ["get", "--no-clobber", "--remove-source", &url];
    in_directory(&here, &get).exited(4);
    let journal = journal(here.path()).unwrap();
    let text = fs::read_to_string(&journal).unwrap();
    assert!(text.contains("published yes"), "{text}");
    fs::write(&journal, text.replace("published yes\n", "")).unwrap();
    fs::remove_file(here.join("a")).unwrap();
    in_directory(&here, &get).exited(0);
    assert_eq!(here.read("a"), b"content");
    server.assert_only(&[]);
    // If the file was published, --no-clobber and --newer do not prevent the removal.
    for option in ["--no-clobber", "--newer"] {
        age(&server.root.write("b", b"content"), 1);
        let url = self::url(meddle(&server, "DELE", 1, Meddling::Drop), "b");
        let get = ["get", option, "--remove-source", &url];
        in_directory(&here, &get).exited(4);
        assert_eq!(here.read("b"), b"content");
        in_directory(&here, &get).exited(0);
        server.assert_only(&[]);
        fs::remove_file(here.join("b")).unwrap();
    }
    assert_eq!(here.names(), [b"a"]);
}

/// A kill before the complete file got its name, and an edit before the next run.
#[test]
fn a_move_that_goes_on_compares_a_target_that_has_changed_since_again() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    age(&server.root.write("a", b"content"), 1);
    let url = url(meddle(&server, "DELE", 1, Meddling::Drop), "a");
    let get = ["get", "--newer", "--remove-source", &url];
    in_directory(&here, &get).exited(4);
    let journal = journal(here.path()).unwrap();
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replace("published yes\n", "")).unwrap();
    let taken = journal.to_string_lossy().replace("journal", "taken");
    fs::rename(here.join("a"), taken).unwrap();
    here.write("a", b"edited");
    in_directory(&here, &get).exited(0);
    assert_eq!(here.read("a"), b"edited");
    assert_eq!(here.names(), [b"a"]);
    assert_eq!(server.root.read("a"), b"content");
}

#[test]
fn a_remote_file_rewritten_within_its_second_is_not_removed() {
    let server = Arc::new(OurServer::start());
    let here = TempRoot::new();
    server.root.write("a", b"OLD1");
    let far = server.root.join("a");
    // The third MLST is sent after the download.
    let rewrite = Meddling::Run(Box::new(move || fs::write(&far, b"NEW2").unwrap()));
    let url = url(meddle(&server, "MLST", 3, rewrite), "a");
    in_directory(&here, &["get", "--remove-source", &url]).exited(11);
    assert_eq!(server.root.read("a"), b"NEW2");
}

#[test]
fn a_local_file_written_during_its_upload_is_not_removed() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let near = here.write("a", b"AAAA");
    let rewrite = Meddling::Run(Box::new(move || {
        let time = fs::metadata(&near).unwrap().modified().unwrap();
        let mut file = File::options().write(true).open(&near).unwrap();
        file.write_all(b"BBBB").unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }));
    let url = url(meddle(&server, "SIZE", 2, rewrite), "a");
    in_directory(&here, &["put", "--remove-source", "a", &url]).exited(11);
    assert_eq!((here.read("a"), server.root.read("a")), (b"BBBB".to_vec(), b"AAAA".to_vec()));
}

/// Changes the first byte of `a` through memory, and again after each line of its input.
const WRITER: &str = "import mmap, sys
with open('a', 'r+b') as file, mmap.mmap(file.fileno(), 0) as memory:
    while True:
        memory[0] += 1
        print('written', flush=True)
        if not sys.stdin.readline():
            break
";

#[test]
fn a_source_that_is_written_through_memory_is_not_removed() {
    written_through_memory("put", "a");
    written_through_memory("mirror", ".");
}

/// Moves a file to which a program writes through memory meanwhile.
fn written_through_memory(command: &str, source: &str) {
    let (server, here) = (OurServer::start(), TempRoot::on_disk());
    // That of tmpfs, where no time shows such a write.
    if statfs(here.path()).unwrap().f_type == 0x0102_1994 {
        return impossible("the temporary files are in memory");
    }
    here.write("a", &[1; 10_000]);
    let mut writer = Command::new("python3");
    writer.args(["-c", WRITER]).current_dir(here.path());
    let Ok(mut writer) = writer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        return skipped("no python3");
    };
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "written");
    let pipes = Mutex::new((writer.stdin.take().unwrap(), lines));
    let again = Meddling::Run(Box::new(move || {
        let (input, lines) = &mut *pipes.lock().unwrap();
        input.write_all(b"\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "written");
    }));
    let url = url(meddle(&server, "SIZE", 2, again), if source == "a" { "a" } else { "" });
    in_directory(&here, &[command, "--remove-source", source, &url]).exited(11);
    assert_eq!((here.read("a")[0], server.root.read("a")[0]), (3, 2), "{command}");
    let _ = writer.kill();
    writer.wait().unwrap();
}

#[test]
fn each_user_has_a_separate_move_journal() {
    let ten = || Act::Send("150 data (10 bytes)", vec![b'x'; 10], "226 done");
    let acts = |reply| {
        let (size, time) = (Act::Say("213 10"), Act::Say("213 20260101000000"));
        vec![("RETR", ten()), ("SIZE", size), ("MDTM", time), ("DELE", Act::Say(reply))]
    };
    let peer = Peer::start_several(vec![acts("450 busy"), acts("250 gone")]);
    let here = TempRoot::new();
    let get = |user: &str| {
        let mut command = ftp(&["get", "--remove-source", "-u", user, &peer.url("x")]);
        run(command.env("FTP_PASSWORD", "secret").current_dir(here.path()))
    };
    get("one").exited(9);
    fs::remove_file(here.join("x")).unwrap();
    get("other").exited(0);
    assert_eq!(here.read("x"), [b'x'; 10], "{}", peer.seen());
}

#[test]
fn a_refused_final_name_leaves_no_temporary_file() {
    let here = TempRoot::new();
    here.write("t/a", b"content");
    for command in [
        &["put", "--temp", "t/a", "TO/a"][..],
        &["mirror", "--temp", "t", "TO"],
        &["fxp", "--temp", "FROM/a", "TO/a"],
        &["fxp", "-r", "--temp", "FROM", "TO"],
    ] {
        let server = OurServer::start();
        server.root.write("from/a", b"content");
        server.root.mkdir("to");
        let taken = server.root.join("to/a");
        let take = move || fs::create_dir(&taken).unwrap();
        let relay = meddle(&server, "RNTO", 1, Meddling::Run(Box::new(take)));
        let (from, to) = (server.url("from"), url(relay, "to"));
        let words = command.iter().map(|word| word.replace("FROM", &from).replace("TO", &to));
        let ran = run(ftp(&[]).args(words).current_dir(here.path()));
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_ne!(ran.code(), Some(0), "{command:?} {ran:?}");
        assert!(said.contains("not renamed: "), "{command:?} {ran:?}");
        assert!(said.contains("the temporary file was removed"), "{command:?} {ran:?}");
        assert_eq!(fs::read_dir(server.root.join("to")).unwrap().count(), 1, "{command:?} {ran:?}");
    }
}

#[test]
fn a_file_is_not_downloaded_onto_itself() {
    let server = OurServer::start();
    let file = server.root.write("f", b"the only copy");
    let file = file.to_str().unwrap();
    for option in ["--remove-source", "--in-place"] {
        let ran = run(&mut ftp(&["get", "-p", option, &server.url("f"), file]));
        failed(&ran, 2, "may be the same file");
        assert_eq!(server.root.read("f"), b"the only copy", "{option}");
    }
    // A download that creates its target creates no source.
    let none = server.root.join("none");
    let ran = run(&mut ftp(&["get", "--in-place", &server.url("none"), none.to_str().unwrap()]));
    failed(&ran, 8, "none");
    assert!(!none.exists());
    // Another file is replaced as usual.
    let here = TempRoot::new();
    let other = here.write("f", b"old bytes");
    run(&mut ftp(&["get", "--remove-source", &server.url("f"), other.to_str().unwrap()])).exited(0);
    assert_eq!((here.read("f"), server.root.names().len()), (b"the only copy".to_vec(), 0));
}

#[test]
fn a_file_is_known_as_the_servers_own_although_the_server_tells_local_time() {
    let zone = "Pacific/Honolulu";
    let Some(server) = RealServer::vsftpd_also("use_localtime=YES\n", zone) else { return };
    let file = server.root.write("t/f", b"the only copy");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let (file, url) = (file.to_str().unwrap(), server.url("t/f"));
    for arguments in [
        &["put", file, &url][..],
        &["put", "--append", file, &url],
        &["put", "--remove-source", file, &url],
        &["get", "--in-place", &url, file],
        &["get", "--remove-source", &url, file],
    ] {
        let ran = run(&mut ftp(arguments));
        failed(&ran, 2, "the same file");
        assert_eq!(server.root.read("t/f"), b"the only copy", "{arguments:?}");
    }
}

#[test]
fn a_moved_file_keeps_the_permissions_of_the_file_it_replaces_but_no_set_user_id() {
    let server = OurServer::start();
    server.root.write("f", b"new and private");
    let here = TempRoot::new();
    let path = here.write("f", b"old");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4600)).unwrap();
    let get = ["get", "--remove-source", &server.url("f"), path.to_str().unwrap()];
    run(&mut ftp(&get)).exited(0);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(here.read("f"), b"new and private");
}

/// Pairs of names of which some servers store only one, and two that eight characters do not tell
/// apart.
const PAIRS: [(&str, &str); 5] = [
    ("A", "a"),
    ("caf\u{e9}", "cafe\u{301}"),
    ("v1", "v1."),
    (".B", ".b"),
    ("abcdefghi", "abcdefghj"),
];

/// Writes the files of all pairs, which end in `end`; all have the same size.
fn write_pairs(here: &TempRoot, end: &str) -> Vec<&'static str> {
    for (at, (one, other)) in PAIRS.iter().enumerate() {
        here.write(one, format!("one {at}{end}").as_bytes());
        here.write(other, format!("two {at}{end}").as_bytes());
    }
    PAIRS.iter().flat_map(|(one, other)| [*one, *other]).collect()
}

#[test]
fn a_server_that_takes_two_names_for_one_costs_no_source() {
    let refuse = ["MLSD", "LIST", "NLST"].map(|verb| (verb, "550 not shown")).to_vec();
    let cannot_list =
        ("no case, no lists", Kind { no_case: true, refuses: refuse, ..Kind::default() });
    // A name that lacks is looked for again after 2 s.
    at_once(10, Kind::folding().into_iter().chain([cannot_list]), |(what, kind)| {
        for options in [&[][..], &["--temp"], &["-j", "4"], &["--temp", "-j", "4"]] {
            let (here, server) = (TempRoot::new(), FoldingServer::start(kind.clone()));
            server.mkdir("t");
            let names = write_pairs(&here, "");
            let mut put = ftp(&["put", "--remove-source"]);
            let put = put.args(options).args(&names).arg(server.url("t/"));
            let ran = run(put.current_dir(here.path()));
            // At least one pair has one name.
            assert_eq!(ran.code(), Some(12), "{what} {options:?}: {ran:?}");
            let there: Vec<String> = server.files().into_iter().map(|it| it.1).collect();
            for (at, (one, other)) in PAIRS.iter().enumerate() {
                for (name, side) in [(one, "one"), (other, "two")] {
                    let is_safe =
                        here.join(name).exists() || there.contains(&format!("{side} {at}"));
                    assert!(is_safe, "{what} {options:?} lost {name}: {ran:?}");
                }
            }
        }
    });
}

#[test]
fn moves_of_similar_names_all_arrive_on_a_server_that_keeps_names() {
    let late = Kind { lists_late: 1, ..Kind::default() };
    let hides = Kind { no_mlsd: true, hides_dots: true, ..Kind::default() };
    let lists = Kind { no_mlsd: true, ..Kind::default() };
    at_once(4, [Kind::default(), lists, late, hides], |kind| {
        let is_blind = kind.hides_dots;
        for options in [&[][..], &["--temp"], &["-j", "4"]] {
            let (here, server) = (TempRoot::new(), FoldingServer::start(kind.clone()));
            server.mkdir("t");
            // This server gives all files one time: only the size shows that a file is new.
            for night in ["", " again"] {
                let mut names = write_pairs(&here, night);
                // Nothing shows whether hidden names are two.
                names.retain(|name| !is_blind || !name.starts_with('.'));
                let url = server.url("t/");
                let mut put = ftp(&["put", "--remove-source"]);
                let ran = run(put.args(options).args(&names).arg(url).current_dir(here.path()));
                ran.exited(0);
                for name in names {
                    assert!(!here.join(name).exists(), "{kind:?} {options:?} {night} {name}");
                    let content = server.read(&format!("t/{name}"));
                    assert!(content.is_some(), "{kind:?} {options:?} {night} {name}");
                }
            }
        }
    });
}

#[test]
fn of_two_uploads_to_one_file_the_second_is_not_sent() {
    let kind = Kind { no_case: true, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.mkdir("t");
    here.write("README", b"one");
    here.write("Readme", b"two");
    let ran = in_directory(&here, &["put", "README", "Readme", &server.url("t/")]);
    failed(&ran, 12, "not uploaded: the server stores it as the same file as t/README");
    assert_eq!(server.read("t/README").unwrap(), b"one");
    // A file that was there keeps its spelling: the second name, or a third one.
    for old in ["Readme", "ReadMe"] {
        let server = FoldingServer::start(Kind { no_case: true, ..Kind::default() });
        server.mkdir("t");
        server.write(&format!("t/{old}"), b"old");
        let ran = in_directory(&here, &["put", "README", "Readme", &server.url("t/")]);
        failed(&ran, 12, "not uploaded: the server stores it as the same file as t/README");
        assert_eq!(server.read("t/README").unwrap(), b"one");
    }
    // A server that does not tell gets both, and the failure says so.
    let refuses = ["SIZE", "MDTM", "MLST", "CWD"].map(|verb| (verb, "502 what?")).to_vec();
    let server = FoldingServer::start(Kind { refuses, ..Kind::default() });
    server.mkdir("t");
    let ran = in_directory(&here, &["put", "README", "Readme", &server.url("t/")]);
    failed(&ran, 12, "may be the same file as t/README");
    assert_eq!(server.files().len(), 2);
}

#[test]
fn where_a_listing_is_refused_the_size_suffices_for_a_move() {
    let refuses = ["MLSD", "LIST", "NLST"].map(|verb| (verb, "550 not shown")).to_vec();
    let (here, server) =
        (TempRoot::new(), FoldingServer::start(Kind { refuses, ..Kind::default() }));
    server.mkdir("t");
    here.write("a", b"one");
    here.write("b", b"two!");
    in_directory(&here, &["put", "--remove-source", "a", "b", &server.url("t/")]).exited(0);
    assert_eq!((here.names().len(), server.files().len()), (0, 2));
}

#[test]
fn a_name_that_the_server_cuts_short_keeps_all_sources_of_its_directory() {
    let kind = Kind { cuts: Some(8), ..Kind::default() };
    for options in [&[][..], &["--temp"]] {
        for other in ["short", "abcdefgh"] {
            let (here, server) = (TempRoot::new(), FoldingServer::start(kind.clone()));
            server.mkdir("t");
            here.write(other, b"two");
            here.write("abcdefghi", b"three");
            let url = server.url("t/");
            let mut put = ftp(&["put", "--remove-source"]);
            let put = put.args(options).args([other, "abcdefghi", &url]);
            let ran = run(put.current_dir(here.path()));
            failed(&ran, 12, "not removed: the server does not list t/abcdefgh");
            assert_eq!((here.read(other), here.names().len()), (b"two".to_vec(), 2));
        }
    }
}
