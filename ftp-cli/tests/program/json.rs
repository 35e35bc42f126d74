//! `--json`: each line is as `docs/json.md` says.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use ftp_tests::process::{LIMIT, Ran, Running, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::wait::at_last;

use crate::ftp;
use crate::peer::{Act, Peer};

const TEN: &str = "150 data (10 bytes)";

/// A value of a flat object.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Number(String),
    True,
}

/// One line, its fields in order.
#[derive(Debug)]
pub(crate) struct Line(Vec<(String, Value)>);

impl Line {
    /// Parses a flat object (RFC 8259), or panics.
    fn parse(line: &str) -> Self {
        let mut rest = line.strip_prefix('{').unwrap_or_else(|| panic!("no object: {line}"));
        let mut fields = Vec::new();
        loop {
            let (key, behind) = string(rest);
            let behind = behind.strip_prefix(':').unwrap_or_else(|| panic!("no colon: {line}"));
            let (value, behind) = match behind.chars().next() {
                Some('"') => {
                    let (text, behind) = string(behind);
                    (Value::Text(text), behind)
                }
                Some('t') => (Value::True, behind.strip_prefix("true").unwrap()),
                _ => {
                    let is_part = |char: char| char.is_ascii_digit() || char == '.';
                    let end = behind.find(|char| !is_part(char)).unwrap();
                    assert!(behind[..end].parse::<f64>().is_ok(), "{line}");
                    (Value::Number(behind[..end].to_owned()), &behind[end..])
                }
            };
            assert!(fields.iter().all(|(other, _)| *other != key), "{key} twice in {line}");
            fields.push((key, value));
            match behind.strip_prefix(',') {
                Some(behind) => rest = behind,
                None => {
                    assert_eq!(behind, "}", "{line}");
                    return Self(fields);
                }
            }
        }
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        match self.get(key) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        match self.get(key) {
            Some(Value::Number(number)) => number.parse().ok(),
            _ => None,
        }
    }
}

/// Parses a text in quotes, and returns it with the rest of the input.
fn string(text: &str) -> (String, &str) {
    let mut read = String::new();
    let mut chars = text.char_indices();
    assert_eq!(chars.next().map(|(_, char)| char), Some('"'), "{text}");
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (read, &text[at + 1..]),
            '\\' => match chars.next().unwrap().1 {
                'u' => {
                    let digits: String = (0..4).map(|_| chars.next().unwrap().1).collect();
                    read.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                }
                other => read.push(other),
            },
            char => {
                assert!(!char.is_control(), "{text}");
                read.push(char);
            }
        }
    }
    panic!("no end: {text}");
}

/// Returns the table of the document: field, events, type.
fn schema() -> Vec<(String, String, String)> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
    let text = fs::read_to_string(document).unwrap();
    let table = text.split("| field | in | type | meaning |").nth(1).unwrap();
    let table = table.split("\n\n").next().unwrap();
    let mut rows = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for field in cells[1].split(", ") {
            let field = field.trim_matches('`').to_owned();
            rows.push((field, cells[2].to_owned(), cells[3].to_owned()));
        }
    }
    rows
}

/// Returns the lines of a run, each checked against the document.
#[track_caller]
fn lines(output: &[u8]) -> Vec<Line> {
    let schema = schema();
    let text = std::str::from_utf8(output).unwrap();
    let lines: Vec<Line> = text.lines().map(Line::parse).collect();
    for line in &lines {
        let event = line.text("event");
        assert_eq!(line.0[0], ("v".to_owned(), Value::Number("1".to_owned())), "{line:?}");
        assert_eq!(line.0[1].0, "event", "{line:?}");
        for (key, value) in &line.0 {
            let bytes = ["name_b64", "source_b64", "target_b64"].contains(&key.as_str());
            let name = if bytes { &key[..key.len() - 4] } else { key };
            let is_row = |(field, events, kind): &&(String, String, String)| {
                let fits = events == "all" || events.split(' ').any(|word| word == event);
                let kind_fits = match value {
                    Value::Text(_) => kind == "text",
                    Value::Number(_) => kind == "number",
                    Value::True => kind == "true",
                };
                field == name && fits && kind_fits
            };
            assert!(schema.iter().find(is_row).is_some(), "{event} has no {key}: {line:?}");
        }
    }
    let summaries = lines.iter().filter(|line| line.text("event") == "summary").count();
    assert_eq!((summaries, lines.last().unwrap().text("event")), (1, "summary"), "{text}");
    lines
}

/// Returns the lines of a run that ended with `code`, and the names of their events.
#[track_caller]
pub(crate) fn told(ran: &Ran, code: u64) -> (Vec<Line>, String) {
    ran.exited(i32::try_from(code).unwrap());
    let lines = lines(&ran.stdout);
    let events: Vec<&str> = lines.iter().map(|line| line.text("event")).collect();
    let summary = lines.last().unwrap();
    assert_eq!(summary.number("exit"), Some(code));
    assert_eq!(summary.get("kind").is_some(), code != 0);
    let counted = |event: &str, skipped: bool| {
        let is =
            |line: &&Line| line.text("event") == event && line.get("skipped").is_some() == skipped;
        Some(lines.iter().filter(is).count() as u64)
    };
    assert_eq!(summary.number("done"), counted("done", false));
    assert_eq!(summary.number("skipped"), counted("done", true));
    assert_eq!(summary.number("failed"), counted("error", false));
    let events = events.join(" ");
    (lines, events)
}

#[test]
fn a_download_emits_events_from_start_to_summary() {
    let server = OurServer::start();
    server.root.write("file", &[b'x'; 1_000]);
    let here = TempRoot::new();
    let new = here.join("new").to_str().unwrap().to_owned();
    let ran = run(&mut ftp(&["get", "--json", &server.url("file"), &new]));
    let (lines, events) = told(&ran, 0);
    assert_eq!(events, "start done summary");
    assert!(ran.stderr.is_empty(), "{ran:?}");
    assert_eq!(lines[0].text("target"), new);
    assert!(!lines[0].text("source").contains("word"), "{lines:?}");
    assert_eq!((lines[1].number("bytes"), lines[1].text("verified")), (Some(1_000), "size"));
    assert_eq!(lines[2].number("bytes"), Some(1_000));

    let ran = run(&mut ftp(&["get", "--json", "-n", &server.url("file"), &new]));
    assert_eq!(told(&ran, 0).1, "done summary");

    // Slow enough for two progress events, and from an offset on. A pause of the machine may take
    // the time of an event, or of the bytes before it.
    let options = ["--limit-rate", "250", "-c", "-q"];
    at_last("two progress events with bytes", || {
        let _ = fs::remove_file(&new);
        run(ftp(&["get", "--timeout", "1500ms", &server.url("file"), &new]).args(options));
        let kept = fs::metadata(here.join("new.part")).ok()?.len();
        let mut get = ftp(&["get", "--json", &server.url("file"), &new]);
        let (lines, events) = told(&run(get.args(options)), 0);
        assert_eq!((lines[0].number("offset"), lines[0].number("size")), (Some(kept), Some(1_000)));
        let bytes: Vec<_> = lines.iter().filter_map(|line| line.number("bytes")).collect();
        let moves = bytes[0] >= kept && bytes[0] < bytes[1];
        (moves && events.starts_with("start progress progress")).then_some(())
    });
}

#[test]
fn failures_and_retries_report_code_kind_and_phase() {
    let here = TempRoot::new();
    let new = here.join("new").to_str().unwrap().to_owned();
    for (retr, exit, kind, code, phase) in [
        (Act::Say("550 no such file"), 8, "refused", Some(550), ""),
        (Act::Say("450 busy"), 9, "temporary", Some(450), ""),
        (Act::Say("425 no way"), 13, "data", Some(425), ""),
        (Act::SendAndHang(TEN, Vec::new()), 10, "timeout", None, "stall"),
        (Act::Send(TEN, vec![b'x'; 9], "226 done"), 11, "integrity", None, ""),
    ] {
        let peer = Peer::start(&[("RETR", retr)]);
        let stall = if kind == "timeout" { "300ms" } else { "60" };
        let arguments = ["get", "--json", "--stall-timeout", stall, &peer.url("x"), &new];
        let ran = run(&mut ftp(&arguments));
        let (lines, events) = told(&ran, exit);
        assert!(events.ends_with("error summary"), "{events}");
        let error = &lines[lines.len() - 2];
        assert_eq!((error.text("kind"), error.number("exit")), (kind, Some(exit)));
        assert_eq!((error.number("code"), error.text("phase")), (code, phase), "{error:?}");
        assert!(error.text("source").ends_with("/x") && error.text("target") == new, "{error:?}");
        // The messages for users are unchanged.
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains(error.text("message")), "{said}");
    }
    let acts =
        [("RETR", Act::Say("450 busy")), ("RETR", Act::Send(TEN, vec![b'x'; 10], "226 done"))];
    let peer = Peer::start(&acts);
    let arguments = ["get", "--json", "--retry", "2", "--retry-delay", "1ms", &peer.url("x"), &new];
    let (lines, events) = told(&run(&mut ftp(&arguments)), 0);
    assert_eq!(events, "retry start done summary");
    assert_eq!((lines[0].number("attempt"), lines[0].number("code")), (Some(2), Some(450)));
}

#[test]
fn each_item_has_separate_events_and_its_exact_name_hl_08_li_05() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let server = OurServer::start();
    let here = TempRoot::new();
    let odd = here.write(b"a\xff\"\x1b", b"1");
    let (missing, plain) = (here.join("missing"), here.write("plain", b"22"));
    let url = server.url("");
    let mut put = ftp(&["put", "--json", "-q"]);
    let ran = run(put.args([odd.as_os_str(), missing.as_ref(), plain.as_ref(), OsStr::new(&url)]));
    let (lines, events) = told(&ran, 12);
    assert_eq!(events, "start done error start done summary");
    let base64 = lines[1].text("source_b64");
    assert!(base64.len() > 10 && base64.len() % 4 == 0, "{lines:?}");
    assert!(lines[1].text("source").ends_with("a\u{fffd}\"\x1b"), "{lines:?}");
    assert_eq!(lines[2].text("kind"), "local");
    assert!(lines[2].text("source").ends_with("missing"));
    assert_eq!(lines[4].text("target"), format!("{}plain", shown(&url)));
    assert_eq!(lines[5].text("kind"), "partial");
    assert_eq!(server.root.names(), [OsStr::from_bytes(b"a\xff\"\x1b").as_bytes(), b"plain"]);
}

/// Returns a URL as messages show it, without its password.
fn shown(url: &str) -> String {
    let (before, host) = url.split_once('@').unwrap();
    let user = before.rsplit_once(':').unwrap().0;
    format!("{user}@{host}")
}

#[test]
fn a_name_chosen_by_the_server_is_reported() {
    let server = OurServer::start();
    let here = TempRoot::new();
    let file = here.write("file", b"content").to_str().unwrap().to_owned();
    let ran = run(&mut ftp(&["put", "--json", "--unique", &file, &server.url("")]));
    let (lines, events) = told(&ran, 0);
    assert_eq!(events, "start done summary");
    assert_eq!(server.root.names(), [lines[1].text("name").as_bytes()]);
}

#[test]
fn json_lines_go_to_stderr_when_data_goes_to_stdout() {
    let server = OurServer::start();
    server.root.write("file", b"data");
    let ran = run(&mut ftp(&["get", "--json", &server.url("file"), "-"]));
    assert_eq!(ran.stdout, b"data");
    let lines = lines(&ran.stderr);
    assert_eq!(lines[0].text("target"), "-");
    assert_eq!(lines[1].text("event"), "done");
}

#[test]
fn a_failed_write_of_json_lines_is_a_local_error() {
    let server = OurServer::start();
    server.root.write("file", b"data");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut get = ftp(&["get", "--json", &server.url("file"), "/dev/null"]);
    let status = get.stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_signal_is_reported_in_error_and_summary_li_10() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let here = TempRoot::new();
        let new = here.join("new").to_str().unwrap().to_owned();
        let hang = Act::SendAndHang(TEN, b"12345".to_vec());
        let peer = Peer::start(&[("RETR", hang)]);
        let mut get = ftp(&["get", "--json", &peer.url("x"), &new]);
        let mut get = Running::start(get.stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut lines_of = BufReader::new(get.child.stdout.take().unwrap()).lines();
        let mut output = lines_of.next().unwrap().unwrap();
        assert!(output.contains("\"start\""), "{output}");
        let id = get.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let status = get.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(code));
        for line in lines_of {
            output.push('\n');
            output.push_str(&line.unwrap());
        }
        // If the signal takes long, there is progress before it.
        let mut lines = lines(output.as_bytes());
        lines.retain(|line| line.text("event") != "progress");
        let [_, error, summary] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((error.text("event"), error.text("kind")), ("error", "cancelled"));
        assert_eq!(summary.number("exit").map(i32::try_from), Some(Ok(code)));
    }
}

#[test]
fn the_json_documentation_names_every_kind_and_event() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
    let text = fs::read_to_string(document).unwrap();
    for word in "start progress retry entry check done error summary internal usage local network \
                 tls login protocol refused temporary timeout integrity partial data unsupported \
                 cancelled"
        .split_ascii_whitespace()
    {
        assert!(text.contains(&format!("`{word}`")), "{word}");
    }
}

/// Asserts the events of each command, in success and in failure.
#[test]
fn every_command_emits_the_documented_events() {
    let server = OurServer::start();
    let here = TempRoot::new();
    fs::create_dir_all(here.join("tree/sub")).unwrap();
    fs::write(here.join("tree/a"), "one").unwrap();
    fs::write(here.join("tree/sub/b"), "two").unwrap();
    fs::write(here.join("queue"), "ls\nquote NOOP\nget missing\nput tree/a a\n").unwrap();
    let (root, up) = (server.url(""), server.url("up/"));
    let at = |name: &str| server.url(name);
    let (file, other, missing) = (at("up/a"), at("up/c"), at("missing"));
    let made = at("new");
    for (arguments, exit, want) in [
        (&["mirror", "--dry-run", "tree", &up][..], 0, "entry entry entry entry summary"),
        (&["mirror", "tree", &up], 0, ""),
        (&["mirror", "tree", &up], 0, "summary"),
        (&["mirror", &up, "copy"], 0, ""),
        (&["mirror", "--delete", "empty", &up], 3, "error summary"),
        (&["ls", "-lR", &root], 0, "entry entry entry entry done summary"),
        (&["ls", &missing], 8, "error summary"),
        (&["stat", &file, &missing], 12, "entry done error summary"),
        (&["chmod", "600", &file], 0, "done summary"),
        (&["chmod", "600", &missing], 8, "error summary"),
        (&["mv", &file, &other], 0, "done summary"),
        (&["mv", &missing, &other], 8, "error summary"),
        (&["mkdir", &made], 0, "done summary"),
        (&["mkdir", &made], 8, "error summary"),
        (&["rmdir", &made, &made], 12, "done error summary"),
        (&["quote", &root, "NOOP", "SITE HELP"], 0, "done done summary"),
        (&["quote", &root, "DELE missing"], 8, "error summary"),
        (&["batch", &root, "queue"], 12, "entry done done error start done summary"),
        (&["doctor", "--upload-dir", "/", &root], 0, ""),
        (&["rm", &missing], 8, "error summary"),
        (&["rm", "-r", &up], 0, ""),
    ] {
        let mut command = ftp(arguments);
        let ran = run(command.args(["--json", "-q"]).current_dir(here.path()));
        let (lines, events) = told(&ran, exit);
        if !want.is_empty() {
            assert_eq!(events, want, "{arguments:?}: {lines:#?}");
        }
        if arguments[0] == "mirror" && want.is_empty() {
            let verified = lines.iter().filter(|line| line.get("verified").is_some());
            let verified: Vec<_> = verified.map(|line| line.text("verified")).collect();
            assert_eq!(verified, ["size"; 2], "{arguments:?}: {lines:#?}");
        }
        let secret = lines.iter().any(|line| format!("{line:?}").contains("word@"));
        assert!(!secret, "{arguments:?}: {lines:#?}");
    }
}
