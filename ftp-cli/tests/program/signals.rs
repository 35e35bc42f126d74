//! The effects of a signal.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ftp_server::{Rights, Server};
use ftp_tests::process::{LIMIT, Running, run};
use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::wait::{at_last, patiently, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use socket2::SockRef;

use crate::peer::{Act, Peer};
use crate::serve::Served;
use crate::streams::without_reader;
use crate::{failed, ftp, ftp_with_hangup};

#[test]
fn a_signal_ends_get_and_leaves_only_a_resumable_part_li_10_hl_10() {
    for (signal, option, code, left) in [
        ("INT", "-q", Some(130), &[][..]),
        ("TERM", "-q", Some(143), &[]),
        ("HUP", "-q", None, &[]),
        ("INT", "-c", Some(130), &[&b"file.part"[..]]),
    ] {
        let here = TempRoot::new();
        let local = here.join("file").to_str().unwrap().to_owned();
        let hang = Act::SendAndHang("150 data (10 bytes)", b"12345".to_vec());
        let peer = Peer::start(&[("RETR", hang)]);
        let arguments = ["get", option, &peer.url("x"), &local];
        let mut get = Running::start(ftp_with_hangup(&arguments).stderr(Stdio::null()));
        let holds = || {
            // Without -c, the file has no name until it is complete.
            let names = here.names();
            let five = |name: &Vec<u8>| here.join(name).metadata().is_ok_and(|m| m.len() == 5);
            let is_begun = option == "-q" && peer.seen().contains("RETR");
            (is_begun || names.iter().any(five)).then_some(())
        };
        get.wait_until(LIMIT, holds).unwrap();
        let id = get.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let status = get.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), code, "{signal}");
        assert_eq!(here.names(), left, "{signal} {option}");
    }
}

#[test]
fn an_interrupted_put_keeps_the_existing_file() {
    let root = TempRoot::new();
    root.write("file", b"old");
    let server = Server::builder().root(root.path()).anonymous(Rights::FULL);
    let server = server.bind("127.0.0.1:0").unwrap();
    let url = format!("ftp://{}/file", server.local_addr());
    let mut put = Running::start(
        ftp(&["put", "--trace", "-", &url]).stdin(Stdio::piped()).stderr(Stdio::piped()),
    );
    let mut input = put.child.stdin.take().unwrap();
    input.write_all(&[b'x'; 1_000_000]).unwrap();
    // The dialogue shows when the upload has begun.
    let mut lines = BufReader::new(put.child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("< 150 ")));
    let id = put.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    let status = put.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(130));
    // After the session has ended, nothing changes any more.
    server.shutdown(LIMIT);
    assert_eq!(root.read("file"), b"old");
    assert_eq!(root.published(), [b"file"]);
}

/// Returns the input of a control connection until the client hung up, and replies to an abort.
fn farewell(control: &TcpStream) -> Vec<u8> {
    let (mut said, mut bytes) = (Vec::new(), [0; 1_024]);
    while let Ok(length @ 1..) = (&*control).read(&mut bytes) {
        let news = &bytes[..length];
        said.extend(news);
        if news.ends_with(b"ABOR\r\n") {
            // A client that was ended does not wait for long.
            let _ = (&*control).write_all(b"426 cut\r\n226 aborted\r\n");
        } else if news.ends_with(b"QUIT\r\n") {
            let _ = (&*control).write_all(b"221 bye\r\n");
        }
    }
    said
}

#[test]
fn a_signal_sends_abor_once_and_then_quit_li_10() {
    const ABOR: &[u8] = b"\xff\xf4\xff\xf2ABOR\r\n";
    // Without an answer to ABOR within a second, a client leaves without QUIT.
    let ends_in_time = |signal: &str, code: i32, arguments: &[&str]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ftp://{}/file", listener.local_addr().unwrap());
        let arguments: Vec<_> =
            arguments.iter().map(|word| if *word == "URL" { &*url } else { word }).collect();
        let mut client = ftp(&arguments);
        client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = Running::start(&mut client);
        let (control, data) = begin(&listener).unwrap();
        SockRef::from(&control).set_out_of_band_inline(true).unwrap();
        let id = client.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let said = farewell(&control);
        let rest = said.strip_prefix(ABOR);
        let is_right = matches!(rest, Some(b"" | b"QUIT\r\n"));
        assert!(is_right, "{arguments:?}: {}", said.escape_ascii());
        let is_in_time = rest == Some(b"QUIT\r\n");
        let status = client.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(code), "{arguments:?}");
        drop(data);
        is_in_time.then_some(())
    };
    for (signal, code, arguments) in [
        ("INT", 130, &["get", "-q", "URL", "-"][..]),
        ("TERM", 143, &["get", "-q", "URL", "-"]),
        ("INT", 130, &["ls", "URL"]),
        ("INT", 130, &["put", "-", "URL"]),
        ("TERM", 143, &["put", "/dev/zero", "URL"]),
    ] {
        at_last(signal, || ends_in_time(signal, code, arguments));
    }
}

/// Plays a server until a transfer has begun; returns its control and its data connection.
fn begin(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    begin_with(listener, "150 go on")
}

/// The same with this reply to the transfer command.
pub(crate) fn begin_with(
    listener: &TcpListener,
    first: &str,
) -> io::Result<(TcpStream, TcpStream)> {
    let (control, _) = listener.accept()?;
    control.set_read_timeout(Some(DEADLINE))?;
    (&control).write_all(b"220 ProFTPD, which keeps each byte of a name\r\n")?;
    let data = TcpListener::bind("127.0.0.1:0")?;
    let port = data.local_addr()?.port();
    for line in BufReader::new(&control).lines() {
        let reply = match line?.split(' ').next() {
            Some("USER") => "331 password".to_owned(),
            Some("PASS") => "230 in".to_owned(),
            Some("TYPE") => "200 ok".to_owned(),
            Some("EPSV") => format!("229 (|||{port}|)"),
            Some("FEAT") => "502 what?".to_owned(),
            Some("PWD") => "257 \"/\"".to_owned(),
            Some("CWD") => "250 there".to_owned(),
            _ => first.to_owned(),
        };
        (&control).write_all(format!("{reply}\r\n").as_bytes())?;
        if reply.starts_with("150") {
            break;
        }
    }
    let (data, _) = data.accept()?;
    data.set_read_timeout(Some(DEADLINE))?;
    Ok((control, data))
}

/// Plays the server of one upload until some of the data has arrived; returns how the data
/// connection then ended.
fn end_of_upload(listener: &TcpListener) -> io::Result<usize> {
    let (_control, mut data) = begin(listener)?;
    let mut bytes = [0; 10_000];
    data.read_exact(&mut bytes)?;
    loop {
        match data.read(&mut bytes)? {
            0 => return Ok(0),
            _more => {}
        }
    }
}

#[test]
fn a_killed_put_resets_the_data_connection() {
    for signal in ["KILL", "INT"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ftp://{}/file", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || end_of_upload(&listener));
        let mut put = Running::start(
            ftp(&["put", "--trace", "-", &url]).stdin(Stdio::piped()).stderr(Stdio::piped()),
        );
        let mut input = put.child.stdin.take().unwrap();
        input.write_all(&[b'x'; 10_000]).unwrap();
        let mut lines = BufReader::new(put.child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("< 150 ")));
        // The pipe is empty only when the program has read its content, and then sent it.
        input.write_all(&[b'x'; 70_000]).unwrap();
        let id = put.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        put.wait(Instant::now() + LIMIT).expect("it ends");
        let ended = server.join().unwrap().expect_err("a server would take it for the whole file");
        assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset, "{signal}: {ended}");
    }
}

#[test]
fn an_ignored_sighup_does_not_end_get() {
    let here = TempRoot::new();
    let local = here.join("file").to_str().unwrap().to_owned();
    let hang = Act::SendAndHang("150 data (10 bytes)", b"12345".to_vec());
    let peer = Peer::start(&[("RETR", hang)]);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ftp-cli")]);
    shell.args(["get", "-c", &peer.url("x"), &local]).stderr(Stdio::null());
    let mut get = Running::start(&mut shell);
    let holds = || here.join("file.part").metadata().is_ok_and(|m| m.len() == 5).then_some(());
    get.wait_until(LIMIT, holds).unwrap();
    let id = get.child.id().to_string();
    for signal in ["HUP", "TERM"] {
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }
    // Of two pending signals the lower number is handled first, so an effective HUP would have
    // ended the process.
    let status = get.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(143));
}

#[test]
fn a_signal_ends_ls_even_if_stderr_blocks_hl_10() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ftp://{}/", listener.local_addr().unwrap());
    let (_unread, full) = io::pipe().unwrap();
    let fill = full.try_clone().unwrap();
    rustix::io::ioctl_fionbio(&fill, true).unwrap();
    while (&fill).write(&[b'x'; 4_096]).is_ok() {}
    rustix::io::ioctl_fionbio(&fill, false).unwrap();
    let mut ls = Running::start(ftp(&["ls", "--trace", &url]).stderr(full));
    // Its first message says that it is connected.
    let _control = listener.accept().unwrap();
    let id = ls.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    let status = ls.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(130));
}

#[test]
fn get_into_a_closed_pipe_does_not_wait_for_the_server_hl_10() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ftp://{}/file", listener.local_addr().unwrap());
    let mut get = ftp(&["get", &url, "-"]);
    let mut get = Running::start(get.stdout(without_reader()).stderr(Stdio::null()));
    let (control, mut data) = begin(&listener).unwrap();
    data.write_all(b"some of it").unwrap();
    // Later messages of the client get no answer.
    let status = get.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.signal(), Some(13));
    drop((control, data));
}

#[test]
fn exceeding_the_file_size_limit_is_an_error_and_ends_no_server_hf_03() {
    let (here, served) = (TempRoot::new(), TempRoot::new());
    served.write("file", &[b'x'; 1_000_000]);
    // In blocks of 512 or 1,024 bytes.
    let limited = |arguments: &[&str]| {
        let mut shell = Command::new("/bin/sh");
        let line = "ulimit -f 100; exec \"$0\" \"$@\"";
        shell.args(["-c", line, env!("CARGO_BIN_EXE_ftp-cli")]).args(arguments);
        shell
    };
    let mut serve =
        limited(&["serve", "--listen", "0", "--write", served.path().to_str().unwrap()]);
    let mut serve = Running::start(serve.stderr(Stdio::piped()));
    let mut lines = BufReader::new(serve.child.stderr.take().unwrap()).lines();
    let said =
        lines.by_ref().map(Result::unwrap).find(|line| line.contains("listening on")).unwrap();
    let url = format!("ftp://{}/file", said.rsplit(' ').next().unwrap());
    let local = here.join("file").to_str().unwrap().to_owned();
    run(&mut limited(&["get", &url, &local])).exited(3);
    assert!(here.names().is_empty());
    run(&mut ftp(&["get", &url, &local])).succeeded();
    failed(&run(&mut ftp(&["put", &local, &format!("{url}2")])), 8, "552");
    run(&mut ftp(&["get", &url, "/dev/null"])).succeeded();
    wait_until("only one file", || served.names_without_records() == [b"file"]);
}

#[test]
fn get_that_was_stopped_takes_what_arrived_meanwhile_cl_12() {
    patiently(Duration::from_secs(1), |stall| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ftp://{}/file", listener.local_addr().unwrap());
        let mut get =
            ftp(&["get", "-q", "--stall-timeout", &stall.as_secs().to_string(), &url, "-"]);
        let mut get = Running::start(get.stdout(Stdio::piped()).stderr(Stdio::null()));
        let (control, mut data) = begin_with(&listener, "150 go on (10 bytes)").unwrap();
        data.write_all(b"12345").unwrap();
        let mut output = get.child.stdout.take().unwrap();
        output.read_exact(&mut [0; 5]).unwrap();
        let process = Pid::from_child(&get.child);
        kill_process(process, Signal::STOP).unwrap();
        data.write_all(b"67890").unwrap();
        // The time of the stall begins before the process is stopped.
        let end = Instant::now() + stall;
        while Instant::now() < end {
            std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
        }
        kill_process(process, Signal::CONT).unwrap();
        let mut rest = [0; 5];
        output.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"67890");
        drop(data);
        (&control).write_all(b"226 done\r\n").unwrap();
        // The last reply is to QUIT.
        drop(control);
        let status = get.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(0));
    });
}

/// When a stopped process continues, its waiting system calls are interrupted: waits for a command,
/// for data, for room.
#[test]
fn a_stopped_and_continued_server_loses_no_data_fs_20_hf_10() {
    let root = TempRoot::new();
    let content = ftp_tests::content::binary(8 << 20, 1);
    root.write("down", &content);
    let served = Served::start(&root, &["--user", "u:p", "--write"]);
    let process = Pid::from_child(&served.running.child);
    let address = served.address;
    let transfers = std::thread::spawn(move || {
        let mut session = RawSession::login(address, "u", "p");
        session.expect("TYPE I", 200);
        for _ in 0..20 {
            assert_eq!(session.download("RETR down"), content);
            session.upload("STOR up", &content);
            session.expect_in_step();
        }
        content
    });
    let mut times = 0;
    while !transfers.is_finished() {
        kill_process(process, Signal::STOP).unwrap();
        std::thread::park_timeout(Duration::from_millis(2));
        kill_process(process, Signal::CONT).unwrap();
        std::thread::park_timeout(Duration::from_millis(3));
        times += 1;
    }
    let content = transfers.join().unwrap();
    assert!(times >= 20, "it was stopped {times} times");
    assert_eq!(root.read("up"), content);
}
