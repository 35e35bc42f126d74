//! `openssl s_client`: it knows nothing of FTP except `-starttls ftp`, so the dialogue is here, and
//! it only does the TLS. It cannot listen: passive mode only.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use ftp_tests::peer::Peer;
use ftp_tests::process::Running;
use ftp_tests::tls::Version;

use super::{Client, Meeting, Resumes, Step, Verb};

/// The longest wait for a reply, or for the end of a transfer.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) const S_CLIENT: Client = Client {
    name: "openssl s_client",
    find: || Peer::find("openssl"),
    can_be_active: false,
    appends: true,
    resumes: Resumes::All,
    perform,
};

fn perform(meeting: &Meeting, steps: &[Step]) -> Result<Vec<u8>, String> {
    let mut control = Control::connect(meeting)?;
    let mut listed = Vec::new();
    for Step { verb, local, remote } in steps {
        let local = meeting.local.join(local);
        let read = || fs::read(&local).map_err(|error| format!("{}: {error}", local.display()));
        match verb {
            Verb::Put => control.send(&format!("STOR {remote}"), None, &read()?)?,
            Verb::Append => control.send(&format!("APPE {remote}"), None, &read()?)?,
            Verb::ContinuePut => {
                let rest = read()?.split_off(super::THERE);
                control.send(&format!("STOR {remote}"), Some(super::THERE), &rest)?;
            }
            Verb::List => listed.extend(control.take("LIST", None)?),
            Verb::Get => {
                let bytes = control.take(&format!("RETR {remote}"), None)?;
                fs::write(&local, bytes).map_err(|error| error.to_string())?;
            }
            Verb::ContinueGet => {
                let there = read()?;
                let rest = control.take(&format!("RETR {remote}"), Some(there.len()))?;
                fs::write(&local, [there, rest].concat()).map_err(|error| error.to_string())?;
            }
        }
    }
    control.ask("QUIT", "221")?;
    Ok(listed)
}

/// The control connection.
struct Control<'a> {
    meeting: &'a Meeting,
    _running: Running,
    input: ChildStdin,
    lines: Receiver<String>,
    /// The file to which s_client writes the session to resume.
    session: PathBuf,
}

impl<'a> Control<'a> {
    fn connect(meeting: &'a Meeting) -> Result<Self, String> {
        let session = meeting.home.join("session");
        let mut command = s_client(meeting, &meeting.address().to_string());
        command.arg("-sess_out").arg(&session);
        if !meeting.cell.implicit {
            command.args(["-starttls", "ftp"]);
        }
        let mut running = Running::start(&mut command);
        let input = running.child.stdin.take().expect("a pipe was asked for");
        let output = running.child.stdout.take().expect("a pipe was asked for");
        let (sender, lines) = mpsc::channel();
        // The thread ends with the process, which ends when this value is dropped.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut control = Self { meeting, _running: running, input, lines, session };
        if meeting.cell.implicit {
            control.expect("220")?;
        }
        control.ask(&format!("USER {}", meeting.server.user), "331")?;
        control.ask(&format!("PASS {}", meeting.server.password), "230")?;
        control.ask("PBSZ 0", "200")?;
        control.ask("PROT P", "200")?;
        control.ask("TYPE I", "200")?;
        Ok(control)
    }

    /// Sends a command and asserts the code.
    fn ask(&mut self, command: &str, code: &str) -> Result<String, String> {
        let sent = self.input.write_all(format!("{command}\r\n").as_bytes());
        sent.map_err(|error| format!("{command}: {error}"))?;
        self.expect(code).map_err(|wrong| format!("{command}: {wrong}"))
    }

    /// Returns the last line of the next reply, which must have this code.
    fn expect(&mut self, code: &str) -> Result<String, String> {
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).map_err(|error| error.to_string())?;
            let line = line.trim_end().to_owned();
            match line.as_bytes() {
                [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b' ', ..] if line.starts_with(code) => {
                    return Ok(line);
                }
                [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b' ', ..] => return Err(line),
                // A line that is not the last.
                _ => {}
            }
        }
    }

    /// Sends EPSV, and returns the command line for the data connection.
    fn open(&mut self) -> Result<Command, String> {
        let reply = self.ask("EPSV", "229")?;
        let port = reply.split('|').nth(3).ok_or_else(|| reply.clone())?;
        let mut command =
            s_client(self.meeting, &format!("{}:{port}", self.meeting.address().ip()));
        if self.session.exists() {
            command.arg("-sess_in").arg(&self.session);
        }
        Ok(command)
    }

    /// Sends `command`, after `REST` if there is an offset.
    fn begin(&mut self, command: &str, rest: Option<usize>) -> Result<(), String> {
        if let Some(rest) = rest {
            self.ask(&format!("REST {rest}"), "350")?;
        }
        self.ask(command, "150").map(drop)
    }

    /// Downloads a file.
    fn take(&mut self, command: &str, rest: Option<usize>) -> Result<Vec<u8>, String> {
        let mut data = self.open()?;
        self.begin(command, rest)?;
        let mut data = Running::start(&mut data);
        let mut output = data.child.stdout.take().expect("a pipe was asked for");
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        self.expect("226")?;
        Ok(bytes)
    }

    /// Uploads a file. s_client sends close_notify at the end of its input.
    fn send(&mut self, command: &str, rest: Option<usize>, bytes: &[u8]) -> Result<(), String> {
        let mut data = self.open()?;
        self.begin(command, rest)?;
        let mut data = Running::start(data.arg("-no_ign_eof"));
        let mut input = data.child.stdin.take().expect("a pipe was asked for");
        let sent = input.write_all(bytes);
        drop(input);
        sent.map_err(|error| format!("{command}: {error}"))?;
        self.expect("226").map(drop)
    }
}

fn s_client(meeting: &Meeting, address: &str) -> Command {
    let mut command = meeting.command();
    command.args(["s_client", "-connect", address, "-quiet", "-nocommands", "-alpn", "ftp"]);
    command.args(["-verify_return_error", "-CAfile"]).arg(&meeting.ca_file);
    command.arg(match meeting.cell.version {
        Version::V1_2 => "-tls1_2",
        Version::V1_3 => "-tls1_3",
    });
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}
