//! A session in the state of a cell, and its replies.

use std::fs;
use std::io::Read;
use std::net::Shutdown;

use ftp_tests::raw::{DEADLINE, NoReply, RawData, RawListener, RawSession};
use ftp_tests::tls::TlsClient;

use super::table::unescape;
use super::{Field, Servers};

/// A session in the state of a cell.
pub(super) struct Scene {
    session: RawSession,
    user: String,
    data: Option<Data>,
    /// An upload runs over `data`.
    is_busy: bool,
    /// The server shuts down meanwhile.
    pub(super) is_draining: bool,
    client: TlsClient,
}

enum Data {
    Connected(RawData),
    Protected(RawData),
    Listening(RawListener),
}

impl Scene {
    /// Brings a session into that state; `None` if that is impossible on this machine.
    pub(super) fn set(field: &Field, servers: &Servers, state: &str) -> Option<Self> {
        let address = match state {
            "V6" => servers.ipv6.as_ref()?.local_addr(),
            "TG" | "TP" | "OG" | "OP" => servers.tls.local_addr(),
            _ => servers.ipv4.local_addr(),
        };
        let kind = match state {
            "RO" => "reader",
            "A" => "accounted",
            _ => "user",
        };
        let (user, root) = field.user(kind);
        let mut scene = Self {
            session: RawSession::greeted(address),
            user,
            data: None,
            is_busy: false,
            is_draining: false,
            client: servers.client.clone(),
        };
        if matches!(state, "TG" | "TP") {
            scene.session.start_tls(&scene.client);
        }
        let Self { session, user, data, is_busy, .. } = &mut scene;
        let steps: &[(&str, u16)] = match state {
            "TP" => &[("PBSZ 0", 200), ("PROT P", 200)],
            "G" | "TG" | "OG" | "U" | "A" | "L" | "PV" | "OP" | "PT" | "V6" | "RO" | "TR" => &[],
            "EA" => &[("EPSV ALL", 200)],
            "RN" => &[("RNFR file", 350)],
            "RS" | "PR" => &[("TYPE I", 200), ("REST 2", 350)],
            "PA" => &[("REST 2", 350)],
            "GO" => &[("MKD gone", 257), ("CWD gone", 250)],
            _ => panic!("no such state: {state}"),
        };
        if matches!(state, "G" | "TG" | "OG") {
            return Some(scene);
        }
        session.expect(format!("USER {user}"), 331);
        if state == "U" {
            return Some(scene);
        }
        session.expect("PASS p", if state == "A" { 332 } else { 230 });
        for (line, code) in steps {
            session.expect(line, *code);
        }
        match state {
            "PV" | "OP" | "PR" | "PA" | "RO" | "TR" => {
                *data = Some(Data::Connected(session.passive()));
            }
            "TP" => *data = Some(Data::Protected(session.passive())),
            "V6" => *data = Some(Data::Connected(session.extended_passive())),
            "PT" => *data = Some(Data::Listening(session.active())),
            "GO" => {
                fs::remove_dir(root.join("gone")).unwrap();
                *data = Some(Data::Connected(session.passive()));
            }
            _ => {}
        }
        if state == "TR" {
            session.expect("STOR up", 150);
            *is_busy = true;
        }
        Some(scene)
    }

    /// Ends the login with this line, and logs in again.
    pub(super) fn begin_again(&mut self, end: &str) {
        match end {
            "AUTH TLS" => drop(self.session.start_tls(&self.client)),
            _ => drop(self.session.expect(end, 220)),
        }
        self.log_in();
    }

    pub(super) fn log_in(&mut self) {
        self.session.expect(format!("USER {}", self.user), 331);
        self.session.expect("PASS p", 230);
    }

    /// Returns the replies to lines that depend on what earlier commands have set.
    pub(super) fn shown(&mut self) -> String {
        let lines = [
            "STAT",
            "FEAT",
            "OPTS HASH",
            "PWD",
            "RNTO x",
            "PROT P",
            "RETR file",
            "PORT 127,0,0,1,200,1",
        ];
        let shown: String = lines.map(|line| self.session.ask(line).text()).concat();
        shown.replace(&self.user, "{user}")
    }

    /// Sends the lines of a row and records the codes.
    pub(super) fn ask(&mut self, text: &str) -> String {
        let mut heard = Heard::default();
        for (at, command) in text.split(" // ").enumerate() {
            if heard.is_over {
                break;
            }
            let line = unescape(&command.replace("{user}", &self.user));
            self.session.line(&line);
            if at == 0 && self.is_busy {
                // DC-47: these are answered during the transfer, all others after it.
                let is_urgent = matches!(line.trim_ascii_end(), b"ABOR" | b"STAT");
                if is_urgent {
                    self.last_reply(&mut heard);
                } else if self.is_draining {
                    // The reply to this shows that the line before it waits.
                    self.session.expect("STAT", 211);
                }
                self.end_data();
                if !is_urgent {
                    self.last_reply(&mut heard);
                }
            }
            self.last_reply(&mut heard);
        }
        // Any further reply would be one too many.
        while !heard.is_over {
            if self.session.try_send("NOOP\r\n").is_err() {
                heard.is_over = true;
            }
            match self.session.try_reply() {
                Ok(reply) if reply.code == 200 => break,
                other => heard.note(other.map(|reply| reply.code)),
            }
        }
        heard.text
    }

    /// Reads up to the last reply of one command, with the data that a 1yz announces.
    fn last_reply(&mut self, heard: &mut Heard) {
        while !heard.is_over {
            let code = self.session.try_reply().map(|reply| reply.code);
            heard.note(code.clone());
            match code {
                Ok(100..=199) => self.end_data(),
                _ => return,
            }
        }
    }

    /// Ends the data on this side, and reads the server's data.
    fn end_data(&mut self) {
        let data = match self.data.take() {
            Some(Data::Connected(data)) => data,
            Some(Data::Protected(data)) => {
                // The server's reply shows the result.
                if let Ok(mut data) = self.client.connect(data.into_stream()) {
                    let _ = data.finish();
                    data.read_to_its_end();
                }
                return;
            }
            Some(Data::Listening(listener)) => listener.accept(),
            None => return,
        };
        let mut stream = data.stream();
        // Both fail if the server has closed the connection, which its reply shows.
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.set_read_timeout(Some(DEADLINE));
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

/// The codes of a cell, in the notation of the table.
#[derive(Default)]
struct Heard {
    text: String,
    is_over: bool,
}

impl Heard {
    fn note(&mut self, reply: Result<u16, NoReply>) {
        match reply {
            Ok(code) => {
                if !self.text.is_empty() {
                    self.text.push('+');
                }
                self.text.push_str(&code.to_string());
            }
            Err(why) => {
                self.text.push_str(match why {
                    NoReply::Closed => ".",
                    NoReply::Late(_) => " and silence",
                    NoReply::Cut(_) | NoReply::Malformed(_) => " and no reply",
                });
                self.is_over = true;
            }
        }
    }
}
