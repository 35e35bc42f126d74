//! `--watch` and `--report`.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ftp_server::{Rights, Server};
use ftp_tests::port::OwnPort;
use ftp_tests::process::{Running, run};
use ftp_tests::root::TempRoot;

use super::doctor;
use super::scene::{From, Ours, between};
use crate::peer::{Act, Peer};
use crate::{failed, ftp};

/// Longer than any wait of a passing test.
const LONG: Duration = Duration::from_secs(120);

#[test]
fn a_watch_reports_changes_and_ends_when_the_server_works() {
    let (port, root) = (OwnPort::claim(), TempRoot::new());
    let url = format!("ftp://me:secret@{}/", port.address());
    let mut command = ftp(&["doctor", "--watch=100ms", &url]);
    let mut running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
    let first = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("fail"));
    assert!(first.unwrap().starts_with("fail  connect"));
    let builder = Server::builder().root(root.path()).user("me", "secret", Rights::FULL);
    let _server = builder.bind(port.address()).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let ended = running.wait(Instant::now() + LONG).unwrap();
    assert_eq!(ended.code(), Some(0), "{rest:?}");
    let changed = rest.iter().position(|line| line.starts_with("changed at ")).unwrap();
    let want = format!("ok    connect       {} accepts connections (was fail)", port.address());
    assert_eq!(rest[changed + 1], want);
    assert!(rest.last().unwrap().starts_with("best  ftp-cli ls -l "), "{rest:?}");
    // A round without changes prints nothing.
    assert_eq!(rest.iter().filter(|line| line.starts_with("changed at ")).count(), 1, "{rest:?}");
}

#[test]
fn a_watch_ends_at_a_refused_login_and_at_its_timeout() {
    let ours = Ours::start("127.0.0.1:0");
    let ran = run(&mut doctor(&["--watch=100ms", &format!("ftp://me:wrong@{}/", ours.address())]));
    ran.exited(6);
    let said = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(said.matches("\"name\":\"login\"").count(), 1, "{said}");
    // Nor is a login repeated that is refused after another one.
    let logins = AtomicUsize::new(0);
    let logins = Arc::new(logins);
    let address = between(ours.address(), move |from, line| {
        let is_late = line.starts_with("230 ") && logins.fetch_add(1, Ordering::Relaxed) > 0;
        let is_refused = from == From::Server && is_late;
        Some(if is_refused { "530 not again" } else { line }.to_owned())
    });
    let ran = run(&mut doctor(&["--watch=100ms", &format!("ftp://{address}/")]));
    ran.exited(9);
    assert_eq!(String::from_utf8(ran.stdout).unwrap().matches("\"name\":\"login\"").count(), 1);
    let closed = OwnPort::claim_closed();
    let url = format!("ftp://{}/", closed.address());
    let ran = run(&mut ftp(&["doctor", "--watch=100ms", "--timeout", "1", &url]));
    // The time may end while a connection is attempted.
    assert!([Some(4), Some(10)].contains(&ran.code()), "{ran:?}");
    failed(&run(&mut ftp(&["doctor", "--watch=0", &url])), 2, "--watch: ");
}

#[test]
fn a_report_has_the_findings_and_no_password() {
    let ours = Ours::start("127.0.0.1:0");
    let here = TempRoot::new();
    let path = here.join("report.txt");
    let file = path.to_str().unwrap();
    let url = format!("ftp://me:secret@{}/", ours.address());
    run(&mut doctor(&["--report", file, &url])).exited(0);
    let text = fs::read_to_string(&path).unwrap();
    let first = format!("server    ftp://me@{}/\n", ours.address());
    for part in [
        "Report of ftp-cli doctor\n\ntime      20",
        &first,
        "options   --json --connect-timeout ",
        "result    everything requested works\n",
        "\nFindings\n\nok    resolve ",
        "\nBest command line for this server\n\nftp-cli ls -l ",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains("secret"), "{text}");

    // A server that repeats the password.
    let acts = [("PASS", Act::Say("530 'PASS s3cret' is wrong for s3cret"))];
    let peer = Peer::start_several(vec![Vec::new(), acts.to_vec(), acts.to_vec()]);
    let url = format!("ftp://me:s3cret@{}/", peer.address);
    run(&mut doctor(&["--report", file, &url])).exited(6);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("result    exit code 6: "), "{text}");
    assert!(text.contains("means: "), "{text}");
    assert!(!text.contains("s3cret"), "{text}");

    let ran = run(&mut doctor(&["--report", "/proc/none/report", &url]));
    ran.exited(3);
    let mut said = String::new();
    ran.stderr.as_slice().read_to_string(&mut said).unwrap();
    assert!(said.contains("/proc/none/report: No such file"), "{said}");
}

#[test]
fn a_report_masks_passwords_with_spaces_backslashes_and_few_letters() {
    let here = TempRoot::new();
    let path = here.join("report.txt");
    let file = path.to_str().unwrap();
    let long =
        "215 a long text about this system that ends near the column where lines are wrapped";
    for (password, reply) in [
        ("correct horse battery staple", format!("{long} correct horse battery staple end")),
        ("gehe\\im", "215 gehe\\im end".to_owned()),
        ("abc", "215 abc end".to_owned()),
    ] {
        let acts = vec![("SYST", Act::Say(String::leak(reply)))];
        let peer = Peer::start_several(vec![acts; 30]);
        let url = format!("ftp://me@{}/", peer.address);
        run(doctor(&["--report", file, "--account", "geheim", &url]).env("FTP_PASSWORD", password));
        let text = fs::read_to_string(&path).unwrap();
        let words: Vec<_> = text.split_whitespace().collect();
        assert!(words.windows(2).any(|pair| pair == ["****", "end"]), "{text}");
        for part in password.split(' ').chain(["gehe", "geheim"]) {
            assert!(!words.contains(&part) && !text.contains("gehe"), "{part}: {text}");
        }
    }
}

#[test]
fn the_best_line_shows_no_secret() {
    let ours = Ours::start("127.0.0.1:0");
    let here = TempRoot::new();
    let path = here.join("report.txt");
    let url = format!("ftp://me@{}/", ours.address());
    let file = path.to_str().unwrap();
    let options = ["--account", "geheim", "--password-command", "echo secret", "--report", file];
    let mut command = ftp(&[&["doctor"], &options[..], &[&url]].concat());
    let said = String::from_utf8(run(&mut command).succeeded()).unwrap();
    let best = said.lines().find(|line| line.starts_with("best ")).unwrap();
    assert!(best.contains("--account ACCOUNT --password-command COMMAND"), "{best}");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("--account ACCOUNT --password-command COMMAND"), "{text}");
    assert!(!text.contains("geheim") && !text.contains("secret"), "{text}");
}

/// Runs `doctor --json` in this process, and returns its exit code with its output.
fn embedded(arguments: &[&str]) -> (ExitCode, String) {
    let (output, mut read) = UnixStream::pair().unwrap();
    let stdio = ftp_cli::Stdio::captured(io::empty(), output, io::sink());
    let arguments = ["doctor", "--json", "--no-netrc"].iter().chain(arguments);
    let exit = ftp_cli::run(arguments.map(Into::into), stdio);
    let mut said = String::new();
    read.read_to_string(&mut said).unwrap();
    (exit, said)
}

#[test]
fn an_embedding_program_gets_the_findings() {
    let ours = Ours::start("127.0.0.1:0");
    let (exit, said) = embedded(&[&ours.url()]);
    assert_eq!(exit, 0.into(), "{said}");
    assert!(said.contains(r#""command":"ftp-cli ls -l "#), "{said}");
    let epsv = said.lines().find(|line| line.contains(r#""name":"epsv""#)).unwrap();
    assert!(epsv.contains(r#""result":"ok""#) && !epsv.contains("diagnosis"), "{epsv}");

    let closed = OwnPort::claim_closed();
    let url = format!("ftp://{}/", closed.address());
    let (exit, said) = embedded(&["--timeout", "20", &url]);
    assert_eq!(exit, 4.into(), "{said}");
    let problem = said.lines().find(|line| line.contains(r#""diagnosis":"port-closed""#)).unwrap();
    assert!(problem.contains(r#""side":"server""#), "{problem}");
    assert_eq!(embedded(&["--no-such-option"]).0, 2.into());
}
