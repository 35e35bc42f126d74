//! The terminal of a user: redrawn progress, and no control sequences from a server.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ftp_tests::peer::Peer as Tmux;
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::terminal::Terminal;
use ftp_tests::wait::wait_until;

use crate::ftp;
use crate::peer::{Act, Peer};
use crate::signals::begin_with;

/// The announced size: more than is sent before the test ends.
const ANNOUNCED: usize = 1_000_000_000;

/// The name of the file, with a colour sequence and a bell in it.
const NAME: &str = "a%1b[31m%07b";

/// Serves one download slowly until `enough` is set, and then breaks it off.
fn serve(listener: &TcpListener, enough: &AtomicBool) -> std::io::Result<()> {
    let reply = format!("150 go on ({ANNOUNCED} bytes)");
    let (control, mut data) = begin_with(listener, &reply)?;
    while !enough.load(Ordering::SeqCst) {
        data.write_all(&[b'x'; 1_000])?;
        // Otherwise the file would end before the test.
        thread::park_timeout(Duration::from_millis(1));
    }
    drop::<(TcpStream, TcpStream)>((control, data));
    Ok(())
}

/// Runs `get` on a terminal; `watch` looks at it during the data. Returns the rest of the output.
fn watched(options: &[&str], watch: impl FnOnce(&mut Terminal)) -> String {
    let here = TempRoot::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ftp://{}/{NAME}", listener.local_addr().unwrap());
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, &enough));
        let mut terminal =
            Terminal::start(ftp(options).env("NO_COLOR", "1").args([&url]).arg(here.join("x")));
        watch(&mut terminal);
        enough.store(true, Ordering::SeqCst);
        server.join().unwrap().unwrap();
        let (status, shown) = terminal.end();
        assert_eq!(status.code(), Some(4), "{shown:?}");
        shown
    })
}

/// Returns the successive states of one terminal line, without control sequences.
fn states(shown: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut chars = shown.chars();
    while let Some(char) = chars.next() {
        if char == '\x1b' {
            // Skip to the letter that ends a control sequence.
            let end = chars.by_ref().skip(1).find(|char| char.is_ascii_alphabetic());
            // The sequences only clear and move; they never set a colour.
            assert!(matches!(end, Some('K' | 'A' | 'B' | 'C' | 'D' | 'J')), "{end:?}: {shown:?}");
        } else {
            plain.push(char);
        }
    }
    let states = plain.split(['\r', '\n']).map(|line| line.trim_end().to_owned());
    states.filter(|state| !state.is_empty()).collect()
}

#[test]
fn progress_is_redrawn_at_a_limited_rate_li_04() {
    let started = Instant::now();
    let shown = watched(&["get"], |terminal| {
        terminal.expect(" of 953.67 MiB");
        terminal.expect(" of 953.67 MiB");
        terminal.resize(30, 24);
        terminal.expect(" of 953.67 MiB");
        terminal.expect(" of 953.67 MiB");
    });
    // The control characters in the name are escaped.
    assert!(!shown.contains('\x07') && !shown.contains("\x1b[31m"), "{shown:?}");
    let states = states(&shown);
    let (last, drawn) = states.split_last().unwrap();
    assert!(last.starts_with("ftp-cli: ") || states.iter().any(|it| it.starts_with("ftp-cli: ")));
    let most = started.elapsed().as_millis() / 100 + 2;
    assert!(drawn.len() as u128 <= most, "{} times: {shown:?}", drawn.len());
}

#[test]
fn quiet_and_progress_never_show_no_progress_li_04() {
    for options in [&["get", "-q"][..], &["get", "--progress", "never"], &["get", "-vq"]] {
        let shown = watched(options, |terminal| {
            // Longer than the first drawing of progress takes.
            let shown = terminal.shown_within(Duration::from_millis(400));
            assert_eq!(shown, "", "{options:?}");
        });
        assert!(!shown.contains(" of ") && shown.starts_with("ftp-cli: "), "{shown:?}");
    }
    // A pipe shows no progress either.
    let here = TempRoot::new();
    let data = Act::Send("150 data (10 bytes)", vec![b'x'; 10], "226 done");
    let peer = Peer::start(&[("RETR", data)]);
    let ran = run(ftp(&["get", &peer.url("x")]).arg(here.join("x")));
    assert!(ran.stderr.is_empty(), "{ran:?}");
}

#[test]
fn progress_of_several_uploads_has_a_total_li_04() {
    let (here, server) = (TempRoot::new(), OurServer::start());
    let files = ["one", "two"].map(|name| here.write(name, &[b'x'; 40_000]));
    for options in [&["--jobs", "1"][..], &["--jobs", "2"]] {
        let mut command = ftp(&["put", "--limit-rate", "60K"]);
        command.args(options).args(&files).arg(server.url(""));
        let mut terminal = Terminal::start(&mut command);
        terminal.expect(" of 78.12 KiB");
        let (status, shown) = terminal.end();
        assert!(status.success(), "{shown:?}");
    }
}

#[test]
fn server_text_is_escaped_on_a_terminal_li_04_hl_08() {
    let hostile = b"a\x1b[2Jb\x07\r\nc\xc2\x9b31m\r\n\xe2\x80\xaetxt.exe\r\n".to_vec();
    let list = || Act::Send("150 names", hostile.clone(), "226 done");
    let peer = Peer::start(&[("NLST", list())]);
    let mut terminal = Terminal::start(&mut ftp(&["ls", "--listing=nlst", &peer.url("")]));
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown:?}");
    for line in [r"a\x1b[2Jb\x07", r"c\u{9b}31m", r"\u{202e}txt.exe"] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown:?}");
    }
    assert!(shown.chars().all(|char| !char.is_control() || "\r\n".contains(char)), "{shown:?}");
    // Only the content of a file that is printed.
    let data = Act::Send("150 data (6 bytes)", b"notes\n".to_vec(), "226 done");
    let peer = Peer::start(&[("RETR", data)]);
    let (_, shown) = Terminal::start(&mut ftp(&["cat", &peer.url("x")])).end();
    assert_eq!(shown, "notes\r\n");
    // A binary file could change what the terminal does.
    for (options, code, want) in [(&["cat"][..], 3, "binary"), (&["cat", "-o", "-"], 0, "\0")] {
        let data = Act::Send("150 data (6 bytes)", b"\x7fELF\0\n".to_vec(), "226 done");
        let peer = Peer::start(&[("RETR", data)]);
        let (status, shown) = Terminal::start(ftp(options).arg(peer.url("x"))).end();
        assert!(status.code() == Some(code) && shown.contains(want), "{shown:?}");
    }
    // Output to a pipe is unchanged.
    let peer = Peer::start(&[("NLST", list())]);
    let out = run(&mut ftp(&["ls", "--listing=nlst", &peer.url("")])).succeeded();
    assert_eq!(out, b"a\x1b[2Jb\x07\nc\xc2\x9b31m\n\xe2\x80\xaetxt.exe\n");

    // A reply in a message, and in a trace.
    let refused = Act::Say("550 \x1b]0;owned\x07\u{202e} no");
    for options in [&["get"][..], &["get", "--trace"]] {
        let peer = Peer::start(&[("RETR", refused.clone())]);
        let mut terminal = Terminal::start(ftp(options).args([&peer.url("x"), "/dev/null"]));
        let (status, shown) = terminal.end();
        assert_eq!(status.code(), Some(8), "{shown:?}");
        assert!(shown.contains(r"\x1b]0;owned\x07\u{202e} no"), "{shown:?}");
        let acts = |char: char| char == '\x1b' || char == '\x07' || char == '\u{202e}';
        assert!(!shown.contains(acts), "{shown:?}");
    }
}

#[test]
fn unusual_terminals_cause_no_panic_hl_13() {
    for (name, value) in
        [("TERM", "dumb"), ("TERM", "no-such-terminal"), ("LANG", "xx_YY.\u{fffd}")]
    {
        let data = Act::Send("150 data (10 bytes)", vec![b'x'; 10], "226 done");
        let peer = Peer::start(&[("RETR", data)]);
        let mut command = ftp(&["get", "--progress", "always", &peer.url("x"), "/dev/null"]);
        let mut terminal = Terminal::start(command.env(name, value));
        let (status, shown) = terminal.end();
        assert!(status.success() && !shown.contains("panicked"), "{name}={value}: {shown:?}");
    }
    // A window without a size.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "stty rows 0 cols 0; exec \"$0\" help", env!("CARGO_BIN_EXE_ftp-cli")]);
    shell.env("PATH", "/usr/bin:/bin").stdout(Stdio::piped());
    let (status, shown) = Terminal::start(&mut shell).end();
    assert!(status.success(), "{shown}");
}

/// Returns a server with a file that takes more than a second at the rate of the tests, and a small
/// one.
fn slow_site() -> OurServer {
    let server = OurServer::start();
    server.root.write("big", &[b'x'; 100_000]);
    server.root.write("small", b"small");
    server
}

#[test]
fn nothing_is_written_beside_the_progress_line_li_04() {
    let (server, here) = (slow_site(), TempRoot::new());
    let script = format!("get big {0}/one\nls -l\nget big {0}/two\nls -l\n", here.path().display());
    let script = here.write("script", script.as_bytes());
    let (top, big) = (server.url(""), server.url("big"));
    let script = script.to_str().unwrap();
    let target = here.join("three");
    let target = target.to_str().unwrap();
    for (arguments, beside) in [
        (&["batch", "--limit-rate", "80K", &top, script][..], "-rw"),
        (&["get", "--json", "--limit-rate", "80K", &big, target], "{\"v\""),
    ] {
        let mut terminal = Terminal::start(&mut ftp(arguments));
        terminal.expect(" of 97.66 KiB");
        let (status, shown) = terminal.end();
        assert!(status.success(), "{shown}");
        let states = states(&shown);
        let are_both = |state: &&String| state.contains(beside) && state.contains(" left");
        assert_eq!(states.iter().find(are_both), None, "{shown:?}");
        // Each file begins with numbers of its own.
        let sums = |state: &&String| state.contains("195.31 KiB");
        assert_eq!(states.iter().find(sums), None, "{shown:?}");
        assert!(!states.last().unwrap().contains(" left"), "{shown:?}");
    }
}

#[test]
fn a_dumb_terminal_gets_no_control_sequences_li_04() {
    let (server, here) = (slow_site(), TempRoot::new());
    let mut get = ftp(&["get", "--limit-rate", "80K", &server.url("big")]);
    let mut terminal = Terminal::start(get.arg(here.join("x")).env("TERM", "dumb"));
    let (status, shown) = terminal.end();
    assert!(status.success() && !shown.contains('\x1b') && !shown.contains(" left"), "{shown:?}");
}

#[test]
fn errors_warnings_and_grades_have_colours_li_04() {
    let server = OurServer::start();
    let (url, missing) = (server.url(""), server.url("missing"));
    let red = "\x1b[31mftp-cli:\x1b[0m ";
    for (arguments, words) in [
        (&["get", &missing, "/dev/null"][..], red),
        (&["ls", &url], "\x1b[33mftp-cli: warning:\x1b[0m other users"),
        (&["doctor", &url], "\x1b[32mok\x1b[0m    connect"),
        (&["doctor", "ftp://127.0.0.1:1/"], "\x1b[31mfail\x1b[0m  connect"),
    ] {
        for (name, value, has) in
            [("NO_COLOR", "", true), ("NO_COLOR", "1", false), ("TERM", "dumb", false)]
        {
            let mut command = ftp(arguments);
            let (_, shown) = Terminal::start(command.env("NO_COLOR", "").env(name, value)).end();
            assert_eq!(shown.contains(words), has, "{arguments:?} {name}={value}: {shown:?}");
            assert!(has || !shown.contains("\x1b["), "{arguments:?} {name}={value}: {shown:?}");
        }
    }
}

#[test]
fn a_warning_comes_once_in_a_run() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let names = ["a", "b", "c", "d"];
    let urls = names.map(|name| {
        server.root.write(name, &[b'x'; 10_000]);
        server.url(name)
    });
    let mut get = ftp(&["get", "-j", "4", "--limit-rate", "20K", "-P"]);
    let (status, shown) = Terminal::start(get.arg(here.path()).args(urls)).end();
    assert!(status.success(), "{shown}");
    assert_eq!(shown.matches("can see the password in the URL").count(), 1, "{shown}");
}

#[test]
fn a_session_at_a_terminal_has_a_prompt() {
    let (server, here) = (slow_site(), TempRoot::new());
    server.root.write("pub/f", b"content");
    let mut terminal = Terminal::start(&mut ftp(&["batch", &server.url("")]));
    terminal.expect("help lists the commands, bye ends the session");
    terminal.expect("ftp-cli 127.0.0.1:/> ");
    for (line, shown) in [
        (format!("lcd {}", here.path().display()), "local directory: "),
        ("cd pub".to_owned(), "ftp-cli 127.0.0.1:/pub> "),
        ("pwd".to_owned(), "/pub\r\n"),
        ("get f".to_owned(), "f -> f: 7 B"),
        ("!echo $((40 + 2)) >number; cat number".to_owned(), "42\r\n"),
        ("dir".to_owned(), "unknown command dir; use: ls -l"),
        ("get missing".to_owned(), "ftp-cli: missing: RETR refused: 550"),
        ("cd nowhere".to_owned(), "CWD refused: 550"),
        // A failed cd is seen before the next line, which still counts.
        ("ls".to_owned(), "f\r\n"),
        // The whole text, and the prompt.
        ("help".to_owned(), "    help\r\nftp-cli 127.0.0.1:/pub> "),
        // Ctrl-C discards the line.
        ("get f other\x03".to_owned(), "^C\r\nftp-cli 127.0.0.1:/pub> "),
        ("?".to_owned(), "bye"),
    ] {
        terminal.type_in(&line);
        terminal.type_in(if line.ends_with('\x03') { "" } else { "\n" });
        terminal.expect(shown);
    }
    terminal.type_in("bye\n");
    let (status, shown) = terminal.end();
    // Who typed the lines has seen the failures.
    assert!(status.success() && !shown.contains("failed"), "{shown}");
    assert_eq!(here.read("f"), b"content");
    assert!(!here.join("other").exists());

    // The end of the input ends a session too; without a failure, nothing is counted.
    let mut terminal = Terminal::start(&mut ftp(&["batch", &server.url("pub")]));
    terminal.expect("ftp-cli 127.0.0.1:/pub> ");
    terminal.type_in("\x04");
    let (status, shown) = terminal.end();
    assert!(status.success() && !shown.contains("done"), "{shown}");
    // The first connection decides whether there is a session.
    let (status, shown) = Terminal::start(&mut ftp(&["batch", "ftp://127.0.0.1:1/"])).end();
    assert_eq!(status.code(), Some(4), "{shown}");
}

#[test]
fn lines_pasted_with_a_failed_cd_do_not_run() {
    let server = slow_site();
    server.root.write("cache/f", b"content");
    let mut terminal = Terminal::start(&mut ftp(&["batch", &server.url("")]));
    terminal.expect("ftp-cli 127.0.0.1:/> ");
    for failing in ["cd nowhere", "cd no where", "lcd /nowhere", "quote CWD nowhere"] {
        terminal.type_in(&format!("{failing}\nrm -r cache\n"));
        terminal.expect("the lines typed after it are discarded");
        terminal.expect("ftp-cli 127.0.0.1:/> ");
        // A line that is typed later runs.
        terminal.type_in("ls cache\n");
        terminal.expect("f\r\n");
    }
    terminal.type_in("bye\n");
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown}");
    assert!(server.root.join("cache/f").exists());
}

#[test]
fn ctrl_c_ends_a_transfer_of_a_session_and_the_next_line_runs_li_10() {
    let (server, here) = (slow_site(), TempRoot::new());
    server.root.mkdir("pub");
    let mut terminal = Terminal::start(&mut ftp(&["batch", "--limit-rate", "2K", &server.url("")]));
    for (line, shown) in [
        (format!("lcd {}\ncd pub\n", here.path().display()), "127.0.0.1:/pub> "),
        ("get ../big\n".to_owned(), " of 97.66 KiB"),
        ("\x03".to_owned(), "partial file removed; use -c to keep it and resume"),
        (String::new(), "127.0.0.1:/pub> "),
        // In the same directory, over another connection.
        ("pwd\nget ../small\n".to_owned(), "../small -> small: 5 B"),
    ] {
        terminal.type_in(&line);
        terminal.expect(shown);
    }
    assert_eq!(here.names(), [b"small"]);
    // Ctrl-Z and fg: the terminal's shell has written its own lines meanwhile. The line that was being
    // typed is gone.
    terminal.expect("127.0.0.1:/pub> ");
    terminal.type_in("half a line ");
    terminal.expect("half a line ");
    terminal.signal(rustix::process::Signal::CONT);
    terminal.expect("127.0.0.1:/pub> ");
    terminal.type_in("!echo $((40 + 1))\n");
    terminal.expect("41");
    terminal.expect("127.0.0.1:/pub> ");
    // A program in the foreground gets Ctrl-C for itself.
    terminal.type_in("!sleep 98.7653 || echo $((40 + 2))\n");
    terminal.expect("echo");
    wait_until("the program of the session", || {
        let all = run(Command::new("ps").args(["-eo", "args"])).succeeded();
        String::from_utf8_lossy(&all).lines().any(|line| line == "sleep 98.7653")
    });
    terminal.type_in("\x03");
    terminal.expect("127.0.0.1:/pub> ");
    terminal.type_in("get ../big\n");
    terminal.expect(" of 97.66 KiB");
    // SIGTERM ends the session, and leaves no temporary file either.
    terminal.signal(rustix::process::Signal::TERM);
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(143), "{shown}");
    assert_eq!(here.names(), [b"small"]);
}

#[test]
fn ctrl_c_says_what_it_has_removed() {
    let (server, here) = (slow_site(), TempRoot::new());
    for (option, hint) in [("-c", false), ("-p", true)] {
        let mut get = ftp(&["get", option, "--limit-rate", "2K", &server.url("big")]);
        let mut terminal = Terminal::start(get.arg(here.join("x")));
        terminal.expect(" of 97.66 KiB");
        terminal.type_in("\x03");
        let (status, shown) = terminal.end();
        assert_eq!(status.code(), Some(130), "{shown}");
        let words = "interrupted; partial file removed; use -c to keep it and resume";
        assert!(shown.contains("interrupted") && shown.contains(words) == hint, "{shown}");
    }
}

/// A separate tmux, which ends with this value: it shows the screen, not the bytes that were sent.
struct Screen {
    tmux: Tmux,
    socket: std::path::PathBuf,
}

impl Screen {
    fn run(&self, arguments: &[&str]) -> String {
        let mut tmux = self.tmux.command();
        tmux.arg("-S").arg(&self.socket).args(["-f", "/dev/null"]).args(arguments);
        String::from_utf8(run(&mut tmux).succeeded()).unwrap()
    }

    /// Waits until the screen is as `wanted` says.
    fn shows(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let screen = self.run(&["capture-pane", "-p"]);
            if wanted(&screen) {
                return screen;
            }
            assert!(Instant::now() < end, "{what}: {screen}");
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

#[test]
fn progress_adapts_to_a_resized_window_li_04() {
    let Some(tmux) = Tmux::find("tmux") else { return };
    let here = TempRoot::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ftp://{}/{NAME}", listener.local_addr().unwrap());
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, &enough));
        let screen = Screen { tmux, socket: here.join("socket") };
        let local = here.join("x");
        let line = format!(
            "echo before; {} get '{url}' {}; echo after; read wait",
            env!("CARGO_BIN_EXE_ftp-cli"),
            local.to_str().unwrap()
        );
        screen.run(&["new-session", "-d", "-x", "30", "-y", "12", &line]);
        let position = |screen: &str| {
            let line = screen.lines().rev().find(|line| line.contains("iB of 953.67 MiB"));
            line.map(str::to_owned)
        };
        for columns in ["30", "80", "70", "100", "72"] {
            screen.run(&["resize-window", "-x", columns, "-y", "12"]);
            // It continues there on a separate line.
            let first = screen.shows("progress", |screen| position(screen).is_some());
            let second = screen.shows("more progress", |screen| {
                // A window that was just changed shows the former line too, until the next one.
                let is_only_one = screen.matches("953.67 MiB").count() == 1;
                is_only_one && position(screen) != position(&first)
            });
            if columns == "30" {
                // Text without room is omitted, not wrapped.
                let lines: Vec<&str> = second.lines().filter(|line| !line.is_empty()).collect();
                assert_eq!(lines.len(), 2, "{second}");
                assert!(lines[1].starts_with('a') && lines[1].contains("\u{2026}  "), "{second}");
            }
        }
        enough.store(true, Ordering::SeqCst);
        server.join().unwrap().unwrap();
        let last = screen.shows("the end", |screen| screen.contains("after"));
        assert!(last.starts_with("before\nftp-cli: "), "{last}");
        assert!(!last.contains("of 953.67 MiB"), "{last}");
    });
}
