//! `demo`: the first command that a new user tries.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use ftp_tests::process::{LIMIT, Running, run};
use ftp_tests::root::TempRoot;

use crate::ftp;

#[test]
fn demo_shows_the_dialogue_with_verbose_and_cleans_up() {
    let temporary = TempRoot::new();
    let ran = run(ftp(&["demo", "-v"]).env("TMPDIR", temporary.path()));
    assert!(ran.stderr.is_empty(), "{ran:?}");
    let text = String::from_utf8(ran.succeeded()).unwrap();
    for want in [
        "> PASV\n",
        "= 227: 127.0.0.1 port ",
        "*256+",
        "> EPSV\n",
        "> MLSD\n",
        "> PORT ",
        "> EPRT ",
        "ok   put LICENSE-MIT: ",
        "ok   get LICENSE-MIT: ",
        "ok   list: 16 MiB.bin (16777216), LICENSE-MIT (",
        "ok   get 16 MiB.bin from byte 8388608: ",
        "ok   put half.bin from byte 8388608: ",
        "ok   copy 16 MiB.bin to copied.bin: ",
        "ok   copy 16 MiB.bin to reverse.bin: ",
        "ok   the temporary directory is removed",
    ] {
        assert!(text.contains(want), "no {want} in {text}");
    }
    assert_eq!(text.matches("> REST 8388608\n").count(), 2, "{text}");
    // It depends on the build whether TLS is shown.
    let is_shown = text.contains("ok   the control connection uses TLS")
        && text.contains("> AUTH TLS\n")
        && text.contains("ok   a login without TLS is refused before the password is sent");
    assert!(is_shown || text.contains("\nTLS: skipped"), "{text}");
    assert!(text.ends_with(" checks passed\n"), "{text}");
    assert!(text.lines().count() < 380, "{text}");
    assert!(temporary.names().is_empty());

    let brief = run(ftp(&["demo"]).env("TMPDIR", temporary.path())).succeeded();
    let brief = String::from_utf8(brief).unwrap();
    let checks = |text: &str| text.lines().filter(|line| line.starts_with("ok   ")).count();
    assert_eq!(checks(&brief), checks(&text), "{brief}");
    assert!(!brief.contains("> ") && brief.lines().count() < 50, "{brief}");

    let quiet = run(ftp(&["demo", "-q"]).env("TMPDIR", temporary.path())).succeeded();
    assert_eq!(String::from_utf8(quiet).unwrap().lines().count(), 1);
}

#[test]
fn the_library_can_run_the_demo() {
    let stdio = ftp_cli::Stdio::captured(io::empty(), io::sink(), io::sink());
    assert_eq!(ftp_cli::run(["demo".into(), "-q".into()], stdio), 0.into());
}

/// Returns the reply to PASS of the server at `address`.
fn log_in(address: &str, password: &str) -> String {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(&stream, "USER demo\r\nPASS {password}\r\n").unwrap();
    let mut replies = BufReader::new(stream).lines().map(Result::unwrap);
    replies.find(|line| !line.starts_with("220") && !line.starts_with("331")).unwrap()
}

#[test]
fn the_demo_password_is_not_the_directory_name() {
    let temporary = TempRoot::new();
    // The demo stops in its middle, because nothing reads its output to the end.
    let (output, input) = UnixStream::pair().unwrap();
    socket2::SockRef::from(&input).set_send_buffer_size(1).unwrap();
    let mut command = ftp(&["demo"]);
    command.env("TMPDIR", temporary.path()).stdout(OwnedFd::from(input));
    let demo = Running::start(&mut command);
    drop(command);
    let mut said = BufReader::new(output);
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let (address, _) = line.strip_prefix("a server on ").unwrap().split_once(',').unwrap();
    let names = temporary.names();
    let [name] = &names[..] else { panic!("{names:?}") };
    let name = str::from_utf8(name).unwrap();
    for password in [name, temporary.join(name).to_str().unwrap()] {
        let reply = log_in(address, password);
        assert!(reply.starts_with("530 "), "{password}: {reply}");
    }
    drop(demo);
}
