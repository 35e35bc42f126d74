//! `serve` without free descriptors or memory, in its own process.

use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::wait_until;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::config::Configured;
use crate::figures::{memory, open_descriptors, wait_for_sweep};
use crate::serve::Served;

/// Limits the descriptors of a process to numbers below this one.
fn limit_descriptors(process: u32, limit: usize) {
    let current = Some(u64::try_from(limit).unwrap());
    let id = Pid::from_raw(i32::try_from(process).unwrap());
    prlimit(id, Resource::Nofile, Rlimit { current, maximum: Some(4_096) }).unwrap();
}

/// Leaves a process this many free descriptors, counting gaps in their numbers.
fn leave_descriptors(process: u32, free: usize) {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let open: Vec<usize> =
        open.map(|fd| fd.file_name().to_str().unwrap().parse().unwrap()).collect();
    let limit = (0..).filter(|number| !open.contains(number)).nth(free).unwrap();
    limit_descriptors(process, limit);
}

/// The system reports a lack of descriptors before a client connects. A client that connects later,
/// when there are some again, is served normally.
#[test]
fn a_client_is_served_once_descriptors_are_free_again_ho_04() {
    let root = TempRoot::new();
    let served = Served::start(&root, &["--user", "u:p"]);
    let process = served.running.child.id();
    wait_for_sweep(process);
    let login = || RawSession::login(served.address, "u", "p");
    let sessions: Vec<_> = (0..8).map(|_| login()).collect();
    let full = open_descriptors(process);
    limit_descriptors(process, full);
    // The waiting accept already has its descriptor; the next one finds none.
    let last = RawSession::connect(served.address);
    wait_until("the end of descriptors", || open_descriptors(process) == full);
    drop(sessions);
    wait_until("the end of the sessions", || open_descriptors(process) < full - 4);
    login().expect_in_step();
    drop(last);
}

#[test]
fn a_session_survives_a_lack_of_descriptors_ho_07_cm_37() {
    let root = TempRoot::new();
    std::fs::write(root.path().join("a"), "a").unwrap();
    let served = Served::start(&root, &["--user", "u:p"]);
    let process = served.running.child.id();
    wait_for_sweep(process);
    let mut session = RawSession::login(served.address, "u", "p");
    let enough = 1_000;
    for _ in 0..3 {
        leave_descriptors(process, 0);
        for line in ["PASV", "EPSV"] {
            session.expect(line, 425);
        }
        for line in ["RETR a", "LIST", "MLSD"] {
            limit_descriptors(process, enough);
            session.expect("PASV", 227);
            leave_descriptors(process, 0);
            session.expect(line, 451);
        }
        // No descriptor, then one for the file, then one for the socket too. Whether the waiting
        // accept holds one depends on the kernel's version.
        let mut codes = Vec::new();
        for more in 0..4 {
            limit_descriptors(process, enough);
            let listener = session.active();
            leave_descriptors(process, more);
            codes.push(match session.ask("RETR a").code {
                150 => session.reply().code,
                refused => refused,
            });
            session.expect_in_step();
            drop(listener);
        }
        codes.dedup();
        assert_eq!(codes, [451, 425, 226]);
        limit_descriptors(process, enough);
        assert_eq!(session.download("RETR a"), b"a");
    }
    let before = open_descriptors(process);
    session.expect("QUIT", 221);
    session.expect_closed();
    wait_until("the end of the session", || open_descriptors(process) < before);
}

/// Returns the hidden bytes of cut uploads that no record names.
fn unnamed_bytes(root: &TempRoot) -> Vec<String> {
    let hidden = root.names().into_iter().filter(|name| name.starts_with(b".ftp-upload-"));
    let (records, bytes): (Vec<_>, Vec<_>) =
        hidden.partition(|name| name.starts_with(b".ftp-upload-record-"));
    let said: String =
        records.iter().map(|name| String::from_utf8(root.read(name)).unwrap()).collect();
    let bytes = bytes.into_iter().map(|name| String::from_utf8(name).unwrap());
    // As records spell them.
    let spelled = |name: &str| name.replace('.', "%2E").replace('-', "%2D");
    bytes.filter(|name| !said.contains(&format!("bytes {}\n", spelled(name)))).collect()
}

/// Whatever fails for a lack of descriptors: kept bytes stay with their record, or go with it. No walk
/// would come soon for others.
#[test]
fn a_lack_of_descriptors_leaves_no_bytes_that_no_record_names_fs_14_fs_15() {
    const KEPT: usize = 300_000;
    let root = TempRoot::new();
    let served = Served::start(&root, &["--write", "--user", "u:p"]);
    let process = served.running.child.id();
    wait_for_sweep(process);
    for (old, line) in [
        (None, "STOR f"),
        (Some(b"old"), "STOR f"),
        (None, "REST"),
        (Some(b"old"), "REST"),
        (None, "DELE f"),
        (Some(b"old"), "RNTO f"),
    ] {
        let mut codes = Vec::new();
        for free in 0..6 {
            let case = format!("{line} over {old:?}, {free} free");
            for name in root.names() {
                std::fs::remove_file(root.join(name)).unwrap();
            }
            if let Some(old) = old {
                root.write("f", old);
            }
            root.write("other", b"other");
            let mut session = RawSession::login(served.address, "u", "p");
            session.expect("TYPE I", 200);
            let mut data = session.passive();
            session.expect("STOR f", 150);
            data.write_all(&[b'x'; KEPT]);
            // Sent bytes may be lost in a reset, so they must have arrived.
            let received = |name: &Vec<u8>| root.read(name).len() == KEPT;
            wait_until("the bytes", || root.names().iter().any(received));
            data.reset();
            session.expect_reply(426);
            let line = match line {
                "REST" => {
                    session.expect(format!("REST {}", KEPT / 2), 350);
                    "STOR f"
                }
                "RNTO f" => {
                    session.expect("RNFR other", 350);
                    "RNTO f"
                }
                line => line,
            };
            let data = line.starts_with("STOR").then(|| session.passive());
            leave_descriptors(process, free);
            let code = match session.ask(line).code {
                150 => {
                    drop(data);
                    session.reply().code
                }
                code => code,
            };
            limit_descriptors(process, 1_000);
            session.expect_in_step();
            assert_eq!(unnamed_bytes(&root), [""; 0], "{case}: {code}");
            codes.push(code);
        }
        // It fails without descriptors, and not with some.
        assert!(codes[0] >= 400 || !line.starts_with("STOR"), "{line} {codes:?}");
        assert!(codes[5] < 400, "{line} {codes:?}");
    }
}

/// The upload becomes its own record, unless another program has put something else under its name: a link
/// to a file of others, or what can only be opened with a partner.
#[test]
fn a_cut_upload_leaves_a_record_without_descriptors_and_writes_to_no_other_file_fs_15() {
    let root = TempRoot::new();
    let served = Served::start(&root, &["--write", "--user", "u:p"]);
    let process = served.running.child.id();
    wait_for_sweep(process);
    for planted in [None, Some("a link"), Some("a FIFO")] {
        let others = TempRoot::new();
        let precious = others.write("precious", b"of others");
        for name in root.names() {
            std::fs::remove_file(root.join(name)).unwrap();
        }
        let mut session = RawSession::login(served.address, "u", "p");
        session.expect("TYPE I", 200);
        let mut data = session.passive();
        session.expect("STOR f", 150);
        data.write_all(b"the first bytes");
        wait_until("the bytes", || root.names().iter().any(|name| !root.read(name).is_empty()));
        let hidden = root.join(&root.names()[0]);
        match planted {
            None => {}
            Some("a link") => {
                std::fs::remove_file(&hidden).unwrap();
                std::fs::hard_link(&precious, &hidden).unwrap();
            }
            Some(_) => {
                std::fs::remove_file(&hidden).unwrap();
                rustix::fs::mkfifoat(rustix::fs::CWD, &hidden, rustix::fs::Mode::RUSR).unwrap();
            }
        }
        leave_descriptors(process, 0);
        data.reset();
        session.expect_reply(426);
        limit_descriptors(process, 1_000);
        assert_eq!(std::fs::read(&precious).unwrap(), b"of others", "{planted:?}");
        if planted.is_none() {
            session.passive();
            session.expect("APPE f", 450);
        }
        session.upload("STOR f", b"whole");
        assert_eq!(root.read("f"), b"whole");
    }
}

/// Returns the size of a process's address space in bytes.
fn address_space(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    let pages: u64 = status.split(' ').next().unwrap().parse().unwrap();
    pages * u64::try_from(rustix::param::page_size()).unwrap()
}

#[test]
fn a_client_is_refused_with_421_if_no_thread_can_start_ho_02() {
    let root = TempRoot::new();
    let served = Served::start(&root, &["--user", "u:p"]);
    let process = served.running.child.id();
    wait_for_sweep(process);
    let mut session = RawSession::login(served.address, "u", "p");
    // Room for what a session needs at times, but not for another stack.
    let id = Pid::from_raw(i32::try_from(process).unwrap());
    let limit = |current| prlimit(id, Resource::As, Rlimit { current, maximum: None }).unwrap();
    limit(Some(address_space(process) + 128 * 1_024));
    for _ in 0..5 {
        let mut refused = RawSession::connect(served.address);
        assert_eq!(refused.reply().bytes, b"421 Too many connections\r\n");
        refused.expect_closed();
    }
    session.expect_in_step();
    limit(None);
    RawSession::login(served.address, "u", "p").expect_in_step();
}

/// Most failed allocations abort the process, so the server stops accepting sessions in time.
#[test]
fn a_limited_address_space_refuses_sessions_with_421_ho_02_ho_03() {
    let root = TempRoot::new();
    root.write("file", &[b'x'; 100_000]);
    // The C library must not use up the space before the sessions do.
    for (mib, least) in [(60_u64, 8), (100, 80), (200, 300)] {
        let limit = format!("ulimit -v {}; exec \"$0\" \"$@\"", mib * 1_024);
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args([
            "-c",
            &limit,
            env!("CARGO_BIN_EXE_ftp-cli"),
            "serve",
            "--listen",
            "127.0.0.1:0",
        ]);
        let served = Served::of(shell.args(["--user", "u:p"]).arg(root.path()));
        assert!(served.said().contains("limited by RLIMIT_AS"), "{}", served.said());
        let process = served.running.child.id();
        let mut sessions: Vec<_> =
            (0..1_000).map_while(|_| RawSession::try_login(served.address, "u", "p")).collect();
        assert!(sessions.len() >= least, "{mib} MiB: {} sessions", sessions.len());
        for _ in 0..20 {
            let mut refused = RawSession::connect(served.address);
            assert_eq!(refused.reply().bytes, b"421 Too many connections\r\n");
            refused.expect_closed();
        }
        // Each may use what a session needs at times.
        let busy: Vec<_> = sessions
            .iter_mut()
            .map(|session| {
                let data = session.passive();
                session.expect("RETR file", 150);
                data
            })
            .collect();
        for (session, data) in sessions.iter_mut().zip(busy) {
            assert_eq!(data.read_to_end().len(), 100_000);
            session.expect_reply(226);
        }
        assert!(address_space(process) < mib << 20);
        println!("{mib} MiB: {} sessions in {} MiB", sessions.len(), address_space(process) >> 20);
        // The C library keeps stacks and memory for the next threads.
        sessions.truncate(sessions.len() / 2);
        wait_until("a place", || RawSession::try_login(served.address, "u", "p").is_some());
    }
}

/// No buffer of 256 KiB is available: transfers take longer or fail, and the server continues.
#[test]
fn transfers_survive_a_lack_of_memory_hf_09() {
    let root = TempRoot::new();
    let large: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    root.write("large", &large);
    let served = Served::start(&root, &["--write", "--user", "u:p"]);
    let process = served.running.child.id();
    wait_for_sweep(process);
    let mut session = RawSession::login(served.address, "u", "p");
    session.expect("TYPE I", 200);
    // The first use of each code path costs memory that is not measured here.
    session.upload("STOR small", b"x");
    assert_eq!(session.download("RETR small"), b"x");
    assert!(!session.download("MLSD").is_empty());
    // Limits writable memory, from which every allocation comes.
    let id = Pid::from_raw(i32::try_from(process).unwrap());
    let limit = |current| prlimit(id, Resource::Data, Rlimit { current, maximum: None }).unwrap();
    limit(Some(memory(process, "VmData:") * 1_024 + 128 * 1_024));
    session.upload("STOR new", &large);
    assert!(root.read("new") == large);
    session.upload("APPE new", &large);
    let got = session.download("RETR large");
    assert!(got == large, "{} bytes", got.len());
    session.expect("TYPE A", 200);
    assert!(session.download("RETR large").len() >= large.len());
    session.upload("STOR text", &large);
    assert!(!session.download("LIST").is_empty());
    session.expect("TYPE I", 200);
    session.expect("REST 5", 350);
    session.upload("STOR large", b"rest");
    assert_eq!(root.read("large"), [&large[..5], b"rest"].concat());
    let code = session.ask("HASH new").code;
    assert!(matches!(code, 213 | 556), "{code}");
    session.expect_in_step();
    limit(None);
    session.upload("STOR new", &large);
    RawSession::login(served.address, "u", "p").expect_in_step();
}

/// A tree of many directories takes one descriptor for each.
#[test]
fn a_mounted_directory_takes_one_descriptor() {
    const MOUNTS: usize = 40;
    let configured = Configured::new("");
    let mut text = USER.to_owned();
    for number in 0..MOUNTS {
        configured.here.mkdir(format!("m{number}"));
        let directory = configured.here.join(format!("m{number}"));
        text += &format!("\"/{number}\" = \"{}\"\n", directory.display());
    }
    configured.write(&text);
    let served = configured.serve();
    let process = served.running.child.id();
    wait_for_sweep(process);
    let before = open_descriptors(process);
    let mut session = RawSession::login(served.address, "u", "p");
    session.expect_in_step();
    let taken = open_descriptors(process) - before;
    assert!((MOUNTS..MOUNTS + 8).contains(&taken), "{taken}");
}

const USER: &str = "
[users.u]
password = \"HASH\"
root = \"ROOT\"
rights = \"full\"
[users.u.mounts]
";
