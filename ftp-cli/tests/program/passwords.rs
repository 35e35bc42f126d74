//! The sources of passwords, and who must not see them.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use ftp_tests::at_once::at_once;
use ftp_tests::process::{LIMIT, Running, run, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::scale::count;
use ftp_tests::terminal::Terminal;
use rustix::process::Signal;

use crate::peer::{Act, Peer};
use crate::serve::Served;
use crate::{failed, ftp};

/// Makes a file that only its owner can read.
fn private(root: &TempRoot, name: &str, text: &str) -> String {
    root.write(name, text.as_bytes());
    fs::set_permissions(root.join(name), Permissions::from_mode(0o600)).unwrap();
    root.join(name).to_str().unwrap().to_owned()
}

/// The data that a server sends before it hangs.
fn hanging() -> Peer {
    Peer::start(&[("RETR", Act::SendAndHang("150 data (10 bytes)", b"12345".to_vec()))])
}

#[test]
fn no_process_shows_a_password_during_a_transfer_li_01_hl_01() {
    let here = TempRoot::new();
    let file = private(&here, "password", "geheim\n");
    let peer = hanging();
    let netrc = format!("machine {} login u password geheim\n", peer.address.ip());
    drop(peer);
    let netrc = private(&here, ".netrc", &netrc);
    let home = here.path().to_str().unwrap();
    for (options, input, environment) in [
        (&["--password-file", &file][..], false, None),
        (&["--password-fd", "0"], true, None),
        (&["--password-command", &format!("cat {file}")], false, None),
        (&["--netrc-file", &netrc], false, None),
        (&[], false, Some(("HOME", home))),
        (&[], false, Some(("FTP_PASSWORD", "geheim"))),
    ] {
        let peer = hanging();
        let url = peer.url("x").replace("ftp://", "ftp://u@");
        let local = here.join("got").to_str().unwrap().to_owned();
        let mut get = ftp(&["get", "--trace"]);
        get.args(options).args([&url, &local]).envs(environment);
        let trace = here.join("trace");
        get.stderr(fs::File::create(&trace).unwrap());
        get.stdin(if input { Stdio::piped() } else { Stdio::null() });
        let mut get = Running::start(&mut get);
        if let Some(mut pipe) = get.child.stdin.take() {
            pipe.write_all(b"geheim\nmore\n").unwrap();
        }
        let begun = || fs::read_to_string(&trace).ok().filter(|text| text.contains("< 150"));
        let said = get.wait_until(LIMIT, begun).unwrap();
        assert!(peer.seen().contains("USER u, PASS geheim"), "{options:?}: {}", peer.seen());
        assert!(said.contains("> PASS ****"), "{said}");
        let process = format!("/proc/{}", get.child.id());
        let words = fs::read(format!("{process}/cmdline")).unwrap();
        let around = fs::read(format!("{process}/environ")).unwrap();
        let shows = |bytes: &[u8]| bytes.windows(6).any(|part| part == b"geheim");
        assert!(!shows(&words) && !shows(said.as_bytes()), "{options:?}: {said}");
        // Only its user and root can read the environment, unlike the command line.
        let is_environment = environment.is_some_and(|(name, _)| name == "FTP_PASSWORD");
        assert_eq!(shows(&around), is_environment, "{options:?}");
        if is_environment {
            let mode = fs::metadata(format!("{process}/environ")).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{mode:o}");
        }
    }
}

#[test]
fn standard_input_is_not_both_the_password_and_lines_li_01() {
    let here = TempRoot::new();
    here.mkdir("d");
    let input = b"geheim\nrm x\n";
    for (source, more) in [
        ("--password-fd=0", &["batch", "URL"][..]),
        ("--password-fd=00", &["batch", "URL", "-"]),
        ("--password-fd=3", &["batch", "URL", "/dev/fd/0"]),
        ("--password-file=/dev/stdin", &["batch", "URL"]),
        ("--password-file=/proc/self/fd/0", &["get", "-i", "-"]),
        ("--password-fd=0", &["get", "-i", "/dev/stdin"]),
        ("--password-fd=0", &["put", "-r", "--files-from=-", "d", "URL"]),
        ("--password-fd=0", &["mirror", "--exclude-from=-", "d", "URL"]),
        ("--password-file=/dev/stdin", &["put", "-", "URL"]),
    ] {
        let peer = Peer::start(&[]);
        let url = peer.url("x").replace("ftp://", "ftp://u@");
        let words = more.iter().map(|word| if *word == "URL" { url.as_str() } else { word });
        let program = ftp(&[]).get_program().to_owned();
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$@\" 3<&0", "sh"]).arg(program).args(words).arg(source);
        let ran = run_with(shell.current_dir(here.path()), input, LIMIT);
        failed(&ran, 2, "standard input cannot be both");
        assert_eq!(peer.seen(), "", "{source} {more:?}");
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(!told.contains("geheim") && ran.stdout.is_empty(), "{told}");
    }
    // Data after the line, and lines from elsewhere.
    let script = here.write("script", b"rm x\n");
    for words in [&["put", "-"][..], &["batch"]] {
        let peer = Peer::start(&[
            ("STOR", Act::Take("150 go on", "226 done")),
            ("DELE", Act::Say("250 gone")),
        ]);
        let url = peer.url("x").replace("ftp://", "ftp://u@");
        let mut ftp = ftp(words);
        ftp.args([&url, "--password-fd=0"]).current_dir(here.path());
        if words == ["batch"] {
            ftp.arg(&script);
        }
        run_with(&mut ftp, input, LIMIT).exited(0);
        assert!(peer.seen().contains("PASS geheim"), "{}", peer.seen());
    }
}

#[test]
fn password_fd_reads_one_line_li_01() {
    let here = TempRoot::new();
    let file = private(&here, "passwords", "first\nsecond\n");
    let data = [("RETR", Act::Send("150 data", b"12345".to_vec(), "226 done"))];
    let program = env!("CARGO_BIN_EXE_ftp-cli");
    let (one, other) = (Peer::start(&data), Peer::start(&data));
    let get = |peer: &Peer| format!("{program} get --password-fd 7 -u u {} -", peer.url("x"));
    let line = format!("exec 7<{file}; {}; {}", get(&one), get(&other));
    let ran = run(Command::new("/bin/sh").args(["-c", &line]));
    assert_eq!(ran.succeeded(), b"1234512345");
    assert!(one.seen().starts_with("USER u, PASS first, "), "{}", one.seen());
    assert!(other.seen().starts_with("USER u, PASS second, "), "{}", other.seen());
    // A descriptor that was not passed on is not read, whatever it is in the process itself. The
    // shell closes what the parent of the tests may have left open.
    for number in ["3", "4", "5", "6", "9"] {
        let get = format!("{program} get --password-fd {number} ftp://u@127.0.0.1/x -");
        let ran =
            run(Command::new("/bin/sh").args(["-c", &format!("exec {number}<&-; exec {get}")]));
        failed(&ran, 3, "no such descriptor was passed");
    }
}

#[test]
fn netrc_supplies_user_password_and_account_li_01_li_03_hl_11() {
    let here = TempRoot::new();
    let home = here.path().to_str().unwrap();
    let data = || ("RETR", Act::Send("150 data", b"12345".to_vec(), "226 done"));
    let peer =
        Peer::start(&[("PASS", Act::Say("332 account")), ("ACCT", Act::Say("230 in")), data()]);
    let text = format!(
        "default login x password wrong\nmachine {}0 login x password wrong\n\
         machine {} login \"u 1\" password \"p \\\"q\" account ledger\n",
        peer.address.ip(),
        peer.address.ip(),
    );
    private(&here, ".netrc", &text);
    let mut get = ftp(&["get", "--trace", &peer.url("x"), "-"]);
    let ran = run(get.env("HOME", home));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.succeeded(), b"12345");
    assert!(peer.seen().starts_with("USER u 1, PASS p \"q, ACCT ledger, "), "{}", peer.seen());
    assert!(said.contains("> ACCT ****") && !said.contains("ledger"), "{said}");

    // An option comes before netrc, and a server that does not ask gets no account.
    for (login, seen) in [("332 account", "ACCT other, "), ("230 in", "TYPE I, ")] {
        let peer = Peer::start(&[("PASS", Act::Say(login)), ("ACCT", Act::Say("230 in")), data()]);
        let mut get = ftp(&["get", "--account", "other", &peer.url("x"), "-"]);
        assert_eq!(run(get.env("HOME", home)).succeeded(), b"12345");
        assert!(peer.seen().contains(&format!("PASS p \"q, {seen}")), "{}", peer.seen());
    }

    let peer = Peer::start(&[("PASS", Act::Say("332 account"))]);
    failed(&run(&mut ftp(&["get", &peer.url("x"), "-"])), 6, "332");
}

#[test]
fn a_world_readable_netrc_is_an_error_only_if_it_is_used_li_02_hl_02() {
    let here = TempRoot::new();
    let path = private(&here, ".netrc", "machine 127.0.0.1 login u password geheim\n");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let home = here.path().to_str().unwrap();
    let data = [("RETR", Act::Send("150 data", b"12345".to_vec(), "226 done"))];
    for (options, login) in [
        (&["--no-netrc"][..], ""),
        (&["--netrc-file", "/dev/null"], ""),
        (&[], "u:p@"),
        (&["-u", "other", "--password-command", "echo p"], ""),
    ] {
        if options.contains(&"/dev/null") {
            // Not a regular file: it could be endless.
            let ran = run(ftp(&["get", "ftp://127.0.0.1:1/x", "-"]).args(options));
            failed(&ran, 3, "/dev/null: not a regular file");
            continue;
        }
        let peer = Peer::start(&data);
        let url = peer.url("x").replace("ftp://", &format!("ftp://{login}"));
        let mut get = ftp(&["get", &url, "-"]);
        assert_eq!(run(get.args(options).env("HOME", home)).succeeded(), b"12345", "{options:?}");
        assert!(!peer.seen().contains("geheim"), "{}", peer.seen());
    }
    let peer = Peer::start(&data);
    let ran = run(ftp(&["get", &peer.url("x"), "-"]).env("HOME", home));
    failed(&ran, 3, "mode 0644");
    assert!(!String::from_utf8_lossy(&ran.stderr).contains("geheim"), "{ran:?}");
    assert_eq!(peer.seen(), "", "nothing was sent");
}

#[test]
fn no_environment_causes_a_panic_hl_13() {
    let huge = "/x".repeat(60_000);
    for (name, value) in [
        ("HOME", ""),
        ("HOME", "relative"),
        ("HOME", huge.as_str()),
        ("HOME", "/dev/null"),
        ("LANG", "xx_YY.\u{1b}[2J"),
        ("LC_ALL", ""),
        ("TERM", huge.as_str()),
        ("COLUMNS", "-1"),
        ("FTP_PASSWORD", huge.as_str()),
        ("TZ", ":/dev/zero"),
        ("RUST_LOG", "%%%"),
    ] {
        let peer = Peer::start(&[("RETR", Act::Send("150 data", b"12345".to_vec(), "226 done"))]);
        // A password alone is half a login.
        let url = peer.url("x").replace("ftp://", "ftp://anonymous@");
        let mut get = ftp(&["get", &url, "-"]);
        assert_eq!(run(get.env(name, value)).succeeded(), b"12345", "{name}={value:.20}");
    }
    let peer = Peer::start(&[("RETR", Act::Send("150 data", b"12345".to_vec(), "226 done"))]);
    let mut get = Command::new(env!("CARGO_BIN_EXE_ftp-cli"));
    get.env_clear().args(["get", &peer.url("x"), "-"]);
    assert_eq!(run(&mut get).succeeded(), b"12345", "no environment at all");
}

/// Starts `get` as `u` from a peer, on a terminal.
fn asked(peer: &Peer, options: &[&str]) -> Terminal {
    let url = peer.url("x").replace("ftp://", "ftp://u@");
    let mut get = ftp(&["get", &url, "-"]);
    let mut terminal = Terminal::start(get.args(options));
    terminal.expect("Password for u at 127.0.0.1: ");
    assert!(!terminal.echoes());
    terminal
}

#[test]
fn the_password_prompt_echoes_nothing_li_01() {
    let data = [("RETR", Act::Send("150 data", b"12345".to_vec(), "226 done"))];
    let peer = Peer::start(&data);
    let mut terminal = asked(&peer, &["-q"]);
    terminal.type_in("geheim\n");
    let (status, shown) = terminal.end();
    assert!(status.success() && shown.ends_with("12345"), "{shown:?}");
    assert!(!shown.contains("geheim"), "{shown:?}");
    assert!(peer.seen().starts_with("USER u, PASS geheim, "), "{}", peer.seen());
    assert!(terminal.echoes());

    // An empty input is not a password, and nothing was sent.
    for typed in ["\n", "\x04"] {
        let peer = Peer::start(&data);
        let mut terminal = asked(&peer, &[]);
        terminal.type_in(typed);
        let (status, shown) = terminal.end();
        assert_eq!(status.code(), Some(6), "{shown:?}");
        assert!(terminal.echoes() && peer.seen().is_empty(), "{}", peer.seen());
    }
}

#[test]
fn all_passwords_are_asked_before_the_first_transfer() {
    let peers = ["12345", "67890"].map(|data| {
        Peer::start(&[("RETR", Act::Send("150 data", data.as_bytes().to_vec(), "226 done"))])
    });
    let urls = [("me", "x"), ("you", "y")];
    let urls = [0, 1].map(|at| {
        let (user, name) = urls[at];
        peers[at].url(name).replace("ftp://", &format!("ftp://{user}@"))
    });
    let here = TempRoot::new();
    let mut get = ftp(&["get", &urls[0], &urls[1], "-P"]);
    let mut terminal = Terminal::start(get.arg(here.path()));
    for user in ["me", "you"] {
        terminal.expect(&format!("Password for {user} at 127.0.0.1: "));
        assert!(peers.iter().all(|peer| peer.seen().is_empty()));
        terminal.type_in("geheim\n");
    }
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown}");
    assert_eq!((here.read("x"), here.read("y")), (b"12345".to_vec(), b"67890".to_vec()));
}

#[test]
fn a_line_break_in_the_environment_is_named_before_a_connection() {
    let peer = Peer::start(&[]);
    let url = peer.url("x");
    for (user, password, words) in [
        (
            "me",
            "secret\n",
            "FTP_PASSWORD: invalid password: it contains LF, which FTP cannot send; remove it",
        ),
        ("me\n", "secret", "FTP_USER: contains a line break; remove it"),
    ] {
        let mut get = ftp(&["get", &url, "-"]);
        failed(&run(get.env("FTP_USER", user).env("FTP_PASSWORD", password)), 2, words);
    }
    assert_eq!(peer.seen(), "");
}

#[test]
fn a_refused_user_of_netrc_is_named() {
    let here = TempRoot::new();
    private(&here, ".netrc", "machine 127.0.0.1 login me password p\n");
    let peer = Peer::start(&[("PASS", Act::Say("530 Login incorrect"))]);
    let mut ls = ftp(&["ls", &peer.url("")]);
    let ran = run(ls.env("HOME", here.path()));
    failed(&ran, 6, "530 Login incorrect; user me is from netrc");
}

#[test]
fn data_on_standard_input_is_not_the_password_li_01() {
    let here = TempRoot::new();
    here.write("data", b"not the password\n");
    let peer = Peer::start(&[("STOR", Act::Take("150 go on", "226 done"))]);
    let url = peer.url("x").replace("ftp://", "ftp://u@");
    // The shell redirects the standard input of the program.
    let line = format!(
        "exec {} put -q - {url} <{}",
        env!("CARGO_BIN_EXE_ftp-cli"),
        here.join("data").display()
    );
    let mut terminal = Terminal::start(Command::new("/bin/sh").args(["-c", &line]));
    terminal.expect("Password for u at 127.0.0.1: ");
    terminal.type_in("geheim\n");
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown}");
    assert!(peer.seen().starts_with("USER u, PASS geheim, "), "{}", peer.seen());
}

#[test]
fn a_password_prompt_needs_a_terminal_on_stderr_li_01() {
    let peer = Peer::start(&[]);
    let url = peer.url("x").replace("ftp://", "ftp://u@");
    let mut terminal = Terminal::start_with(&mut ftp(&["get", &url, "-"]), |command, terminal| {
        command.stdout(terminal("standard output")).stderr(Stdio::piped());
    });
    let (status, shown) = terminal.end();
    assert_eq!((status.code(), shown.as_str()), (Some(6), ""));
    assert_eq!(peer.seen(), "");
}

#[test]
fn every_signal_restores_the_terminal_echo_hl_10() {
    for (signal, code, killed) in [
        (Signal::INT, Some(130), None),
        (Signal::TERM, Some(143), None),
        (Signal::HUP, None, Some(Signal::HUP)),
        (Signal::QUIT, None, Some(Signal::QUIT)),
        (Signal::ALARM, None, Some(Signal::ALARM)),
        (Signal::USR1, None, Some(Signal::USR1)),
        (Signal::USR2, None, Some(Signal::USR2)),
        (Signal::XCPU, None, Some(Signal::XCPU)),
        (Signal::VTALARM, None, Some(Signal::VTALARM)),
        (Signal::PROF, None, Some(Signal::PROF)),
        (Signal::ABORT, None, Some(Signal::ABORT)),
    ] {
        let peer = Peer::start(&[]);
        let mut terminal = asked(&peer, &[]);
        terminal.type_in("geh");
        terminal.signal(signal);
        let (status, shown) = terminal.end();
        assert_eq!(status.code(), code, "{signal:?}: {shown:?}");
        assert_eq!(status.signal(), killed.map(|signal| signal.as_raw()), "{signal:?}: {shown:?}");
        assert!(terminal.echoes(), "{signal:?}");
        assert!(!shown.contains("geh") && peer.seen().is_empty(), "{shown:?}");
    }
    // All ways to end a program on a terminal; also while `passwd` asks, which has no transfer.
    let mut terminal = asked(&Peer::start(&[]), &[]);
    terminal.type_in("geh\x03");
    assert_eq!(terminal.end().0.code(), Some(130));
    assert!(terminal.echoes());
    let mut terminal = Terminal::start(&mut ftp(&["passwd"]));
    terminal.expect("Password: ");
    assert!(!terminal.echoes());
    terminal.type_in("geh\x03");
    assert_eq!(terminal.end().0.code(), Some(130));
    assert!(terminal.echoes());
}

#[test]
fn a_stopped_and_continued_prompt_is_repeated_hl_10() {
    let peer = Peer::start(&[("RETR", Act::Send("150 data", b"12345".to_vec(), "226 done"))]);
    let mut terminal = asked(&peer, &["-q"]);
    terminal.type_in("lost\x1a");
    terminal.is_stopped();
    assert!(terminal.echoes());
    terminal.signal(Signal::CONT);
    terminal.expect("Password for u at 127.0.0.1: ");
    assert!(!terminal.echoes());
    terminal.type_in("geheim\n");
    let (status, shown) = terminal.end();
    assert!(status.success() && shown.ends_with("12345"), "{shown:?}");
    assert!(peer.seen().starts_with("USER u, PASS geheim, "), "{}", peer.seen());
    assert!(terminal.echoes());
}

#[test]
fn a_password_in_a_url_causes_one_warning_on_a_terminal_li_01() {
    let data = [("RETR", Act::Send("150 data", b"12345".to_vec(), "226 done"))];
    for (options, count) in [(&["get"][..], 1), (&["get", "-q"], 0)] {
        let peer = Peer::start(&data);
        let url = peer.url("x").replace("ftp://", "ftp://u:geheim@");
        let mut terminal = Terminal::start(ftp(options).args([&url, "-"]));
        let (status, shown) = terminal.end();
        assert!(status.success(), "{shown}");
        assert_eq!(shown.matches("the password in the URL").count(), count, "{shown}");
        assert!(!shown.contains("geheim"), "{shown}");
    }
    let peer = Peer::start(&data);
    let url = peer.url("x").replace("ftp://", "ftp://u:geheim@");
    let ran = run(&mut ftp(&["get", &url, "-"]));
    assert!(ran.stderr.is_empty(), "not where nobody reads it: {ran:?}");
}

#[test]
fn passwd_asks_twice_on_a_terminal() {
    let mut terminal = Terminal::start(&mut ftp(&["passwd"]));
    terminal.expect("Password: ");
    assert!(!terminal.echoes());
    terminal.type_in("geheim\n");
    terminal.expect("Again: ");
    assert!(!terminal.echoes());
    terminal.type_in("geheim\n");
    let (status, shown) = terminal.end();
    assert!(status.success() && shown.contains("$argon2id$"), "{shown}");
    assert!(!shown.contains("geheim") && terminal.echoes(), "{shown}");
}

/// Asserts that no output of a run contains a password.
#[track_caller]
fn hides(ran: &ftp_tests::process::Ran) {
    for bytes in [&ran.stdout, &ran.stderr] {
        assert!(!String::from_utf8_lossy(bytes).contains("geheim"), "{ran:?}");
    }
}

#[test]
fn a_misplaced_password_is_neither_sent_nor_shown_hl_01() {
    let here = TempRoot::new();
    let script = here.write("script", b"get ftp://u:geheim@h/x\n");
    let script = script.to_str().unwrap();
    let peer = Peer::start(&[]);
    let url = &peer.url("x");
    let local = here.join("local").to_str().unwrap().to_owned();
    for arguments in [
        &["get", "-u", "me:geheim", url, &local][..],
        &["get", "-u", "me,geheim", url, &local],
        &["ls", "--json", "--user=me:geheim", url],
        &["--user", "me:geheim", "doctor", url],
        &["ftp://u:geheim@h/x"],
        &["-q", "u:geheim@h/x"],
        &["http://u:geheim@h/x"],
        &["get", "u:geheim@h/x", &local],
        &["get", "--json", "ftp:/u:geheim@h/x", &local],
        &["get", url, "u:geheim@h/x"],
        &["put", "--json", "ftp://u:geheim@h/x", url],
        &["mirror", "u:geheim@h/x", &local],
        &["rm", "u:geheim@h/x"],
        &["batch", url, script],
    ] {
        let mut ftp = ftp(arguments);
        let ran = run(ftp.env("FTP_PASSWORD", "other").current_dir(here.path()));
        ran.exited(2);
        hides(&ran);
    }
    let message = "--password-file";
    failed(&run(&mut ftp(&["get", "-u", "me:geheim", url, &local])), 2, message);
    failed(&run(&mut ftp(&["ftp://u:geheim@h/x"])), 2, "ftp-cli get ftp://u@h/x");
    let mut batch = ftp(&["batch", &url.replace("/x", "/")]);
    let lines = b"get ftp://u:geheim@h/x\nu:geheim@h\nput ftp://u:geheim@h/x\n";
    let ran = run_with(&mut batch, lines, LIMIT);
    ran.exited(2);
    hides(&ran);
    // Local files can have such names as long as no code takes them for URLs.
    let odd = here.write("10:30@home", b"content");
    let peer = Peer::start(&[("STOR", Act::Take("150 go", "226 done"))]);
    run(&mut ftp(&["put", odd.to_str().unwrap(), &peer.url("x")])).succeeded();
    assert!(!peer.seen().contains("geheim"), "{}", peer.seen());
}

#[test]
fn a_password_in_a_reply_is_masked_li_12_hl_11() {
    let here = TempRoot::new();
    let file = private(&here, "password", "geheim\n");
    for (acts, options) in [
        (vec![("PASS", Act::Say("530-PASS geheim\r\n530 'PASS geheim': no"))], &[][..]),
        (vec![("PASS", Act::Say("421 geheim"))], &[]),
        (vec![("PASS", Act::Say("geheim"))], &[]),
        (
            vec![("PASS", Act::Say("332 ok")), ("ACCT", Act::Say("530 geheim?"))],
            &["--account", "geheim"],
        ),
    ] {
        for command in [&["ls", "--json", "--trace"][..], &["doctor", "--trace"]] {
            // doctor logs in more than once.
            let peer = Peer::start_several(vec![acts.clone(); 8]);
            let url = peer.url("").replace("ftp://", "ftp://u@");
            let mut ftp = ftp(command);
            ftp.args(["--password-file", &file, "--timeout", "50", &url]).args(options);
            let ran = run(&mut ftp);
            assert_ne!(ran.code(), Some(0), "{ran:?}");
            assert!(peer.seen().contains("PASS geheim"), "{}", peer.seen());
            hides(&ran);
        }
    }
    let peer = Peer::start(&[("PASS geheim", Act::Say("230 geheim"))]);
    let ran = run(&mut ftp(&["quote", "--trace", &peer.url(""), "PASS geheim"]));
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "230 ****\n");
    hides(&ran);
    let echo = Act::Say("500 'SITE PSWD old geheim': unknown (geheim, old)");
    let peer = Peer::start(&[("SITE", echo)]);
    let ran = run(&mut ftp(&["quote", "--trace", "-v", &peer.url(""), "SITE PSWD old geheim"]));
    let said = "500 'SITE PSWD ****': unknown (****, ****)";
    assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("{said}\n"));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("> SITE PSWD ****"), "{ran:?}");
    hides(&ran);
}

#[test]
fn a_byte_order_mark_is_not_part_of_a_text_li_01_li_03() {
    let here = TempRoot::new();
    let mark = "\u{feff}";
    let password = private(&here, "password", &format!("{mark}p\r\n"));
    let netrc = private(&here, "netrc", &format!("{mark}machine 127.0.0.1 login u password p\n"));
    let batch = private(&here, "batch", &format!("{mark}quote NOOP\n"));
    let list = |url: &str| private(&here, "list", &format!("{mark}{url}\n"));
    for (user, arguments) in [
        ("u@", &["ls", "--password-file", &password, "URL"][..]),
        ("u@", &["ls", "--password-command", &format!("cat {password}"), "URL"]),
        ("", &["ls", "--netrc-file", &netrc, "URL"]),
        ("u:p@", &["batch", "URL", &batch]),
        ("u:p@", &["batch", "URL"]),
        ("u:p@", &["get", "-i", "LIST", "-o", "-"]),
    ] {
        let file = || Act::Send("150 go", b"x\r\n".to_vec(), "226 done");
        let acts = [
            ("PASS p", Act::Say("230 in")),
            ("PASS", Act::Say("530 no")),
            ("NOOP", Act::Say("200 ok")),
        ];
        let acts = acts.into_iter().chain(["NLST", "MLSD", "LIST", "RETR"].map(|it| (it, file())));
        let peer = Peer::start(&acts.collect::<Vec<_>>());
        let url = peer.url("").replace("ftp://", &format!("ftp://{user}"));
        let listed = list(&format!("{url}x"));
        let words: Vec<&str> = arguments
            .iter()
            .map(|word| match *word {
                "URL" => &*url,
                "LIST" => &*listed,
                word => word,
            })
            .collect();
        let input = format!("{mark}quote NOOP\n");
        let ran = run_with(&mut ftp(&words), input.as_bytes(), LIMIT);
        assert_eq!(ran.code(), Some(0), "{ran:?} {}", peer.seen());
    }
}

#[test]
fn a_world_readable_password_file_causes_a_warning() {
    let here = TempRoot::new();
    let file = private(&here, "password", "geheim\n");
    for (mode, options, warns) in
        [(0o600, &[][..], false), (0o644, &[], true), (0o640, &["-q"], false)]
    {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let peer = Peer::start(&[("RETR", Act::Send("150 go", b"x".to_vec(), "226 done"))]);
        let url = peer.url("x").replace("ftp://", "ftp://u@");
        let mut get = ftp(&["get", "--password-file", &file, &url, "-"]);
        let ran = run(get.args(options));
        ran.exited(0);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(said.contains("chmod 600"), warns, "{mode:o}: {said}");
    }
}

/// Each command with each number of operands, and each option that takes a value.
fn places() -> Vec<Vec<String>> {
    let good = "ftp://127.0.0.1:1/y";
    let owned = |place: &[&str]| place.iter().map(|word| (*word).to_owned()).collect();
    let help = |words: &[&str]| String::from_utf8(run(&mut ftp(words)).stdout).unwrap();
    let summary = help(&["help"]);
    let lines = summary.lines().filter_map(|line| line.strip_prefix("  "));
    let commands: Vec<&str> = lines
        .filter_map(|line| line.split_once(' ').map(|(name, _)| name))
        .filter(|name| name.len() > 1 && name.bytes().all(|byte| byte.is_ascii_lowercase()))
        .collect();
    assert!(commands.contains(&"get") && commands.contains(&"serve"), "{summary}");
    let mut places: Vec<Vec<String>> = Vec::new();
    for command in commands.into_iter().filter(|name| *name != "demo") {
        for operands in [
            &["@"][..],
            &[good, "@"],
            &["@", good],
            &["l", "@"],
            &["@", "l"],
            &[good, "l", "@"],
            &["--", "@", "@", "@"],
        ] {
            places.push(owned(&[&[command], operands].concat()));
        }
        let options = help(&["help", command]);
        let words = options.split(|char: char| !char.is_ascii_alphanumeric() && char != '-');
        let options: BTreeSet<&str> = words.filter(|word| word.starts_with("--")).collect();
        for option in options.into_iter().filter(|option| option.len() > 3) {
            places.push(owned(&[command, &format!("{option}=@"), good, "l"]));
        }
    }
    places.extend([&["@"][..], &["-x@", "get", good], &["get", "-x@", good]].map(owned));
    places
}

#[test]
fn no_operand_or_option_value_with_a_password_is_echoed_at_scale() {
    let forms = ["u:geheim@127.0.0.1/x", "http://u:geheim@h/x", "ftp://u:geheim@127.0.0.1:1/x"];
    let here = TempRoot::new();
    // A plain run puts one form in each fourth place, in turn.
    at_once(4, places().iter().enumerate().step_by(count(4, 1)), |(at, place)| {
        for form in forms.iter().cycle().skip(at).take(count(1, forms.len())) {
            let words: Vec<String> = place.iter().map(|word| word.replace('@', form)).collect();
            let mut ftp = ftp(&words.iter().map(String::as_str).collect::<Vec<_>>());
            hides(&run(ftp.current_dir(here.path())));
        }
    });
    // The same with --json.
    for words in [
        &["put", "--json", "u:geheim@h", "ftp://127.0.0.1:1/y"],
        &["get", "--json", "--jobs=u:geheim@h", "ftp://127.0.0.1:1/y"],
    ] {
        hides(&run(ftp(words).current_dir(here.path())));
    }
}

#[test]
fn a_password_command_runs_with_signals_unblocked() {
    let (root, here) = (TempRoot::new(), TempRoot::new());
    let served = Served::start(&root, &["--user", "u:p"]);
    let mask = here.join("mask");
    let command = format!("grep SigBlk /proc/self/status >{}; echo p", mask.display());
    let url = served.url("u@", "");
    run(&mut ftp(&["ls", "--password-command", &command, &url])).succeeded();
    let mask = fs::read_to_string(mask).unwrap();
    let blocked = mask.split_whitespace().nth(1).unwrap();
    let blocked = u64::from_str_radix(blocked, 16).unwrap();
    // SIGHUP, SIGINT and SIGTERM.
    for signal in [1, 2, 15] {
        assert_eq!(blocked >> (signal - 1) & 1, 0, "{mask}");
    }
}
