//! A server that follows a script, right or wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::SystemTime;

use ftp_proto::TimeVal;

/// The reaction of the peer to a command.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Sends this reply.
    Say(&'static str),
    /// Sends the time of the last upload.
    SayTime,
    /// Breaks the control connection.
    Break,
    /// Sends the first reply, the data and its end, then the last reply.
    Send(&'static str, Vec<u8>, &'static str),
    /// Sends the first reply and the data, and then nothing more.
    SendAndHang(&'static str, Vec<u8>),
    /// Sends the first reply and the data, and breaks both connections.
    SendAndBreak(&'static str, Vec<u8>),
    /// Does not accept the data connection, so that it is reset, and sends this reply.
    Reset(&'static str),
    /// Sends the first reply, receives data to its end, sends the last reply.
    Take(&'static str, &'static str),
    /// Sends the first reply, receives data to its end, and breaks the control connection.
    TakeAndBreak(&'static str),
    /// Sends the first reply, receives data to its end, and then sends nothing more.
    TakeAndHang(&'static str),
    /// Sends the first reply, receives this many bytes, ends the data connection, sends the last
    /// reply.
    TakeAndRefuse(&'static str, usize, &'static str),
}

/// A scripted server, for one control connection or several.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// Follows the first of `acts` that matches the beginning of a command line; other commands are
    /// answered as by a plain server. If several acts match the same command, each is used once, in
    /// order.
    pub(crate) fn start(acts: &[(&'static str, Act)]) -> Self {
        Self::start_several(vec![acts.to_vec()])
    }

    /// Starts it for several control connections, one after the other.
    pub(crate) fn start_several(acts: Vec<Vec<(&'static str, Act)>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        // Ends with the connections, or with the test.
        thread::spawn(move || {
            for acts in acts {
                if let Ok((control, _)) = listener.accept() {
                    let _ = serve(&control, acts, &log);
                }
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("ftp://{}/{path}", self.address)
    }

    /// Returns the received command lines, joined by commas.
    pub(crate) fn seen(&self) -> String {
        self.seen.lock().unwrap().join(", ")
    }
}

fn serve(
    mut control: &TcpStream,
    mut acts: Vec<(&'static str, Act)>,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(control);
    let mut data = TcpListener::bind("127.0.0.1:0")?;
    let mut stored = 0;
    control.write_all(b"220 ready\r\n")?;
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        // Telnet commands come before ABOR.
        let start = line.iter().position(u8::is_ascii).unwrap_or_default();
        let line = String::from_utf8_lossy(&line[start..]).trim_end().to_owned();
        log.lock().unwrap().push(line.clone());
        let mut fitting = (0..acts.len()).filter(|at| line.starts_with(acts[*at].0));
        let act = match (fitting.next(), fitting.next()) {
            (Some(at), Some(_)) => acts.remove(at).1,
            (Some(at), None) => acts[at].1.clone(),
            _ => Act::Say(match line.split(' ').next().unwrap_or_default() {
                "USER" => "331 password",
                "PASS" => "230 in",
                "TYPE" | "OPTS" | "CWD" => "200 fine",
                "REST" => "350 go on",
                "ABOR" => "226 aborted",
                "QUIT" => "221 bye",
                verb @ ("EPSV" | "PASV") => {
                    // A new listener each time: an earlier refused connection must not wait in its
                    // queue.
                    data = TcpListener::bind("127.0.0.1:0")?;
                    let port = data.local_addr()?.port();
                    let [high, low] = port.to_be_bytes();
                    let reply = match verb {
                        "EPSV" => format!("229 here (|||{port}|)\r\n"),
                        _ => format!("227 elsewhere (203,0,113,9,{high},{low})\r\n"),
                    };
                    control.write_all(reply.as_bytes())?;
                    continue;
                }
                _ => "502 what?",
            }),
        };
        // In one write: a second small one would wait until the first is acknowledged.
        let mut say = |text: &str| control.write_all(format!("{text}\r\n").as_bytes());
        match act {
            Act::Say(text) => say(text)?,
            Act::Break => return Ok(()),
            Act::SayTime => {
                let time = TimeVal::from_unix_seconds(stored).unwrap();
                say(&format!("213 {time}"))?;
            }
            Act::Send(first, bytes, last) => {
                say(first)?;
                data.accept()?.0.write_all(&bytes)?;
                say(last)?;
            }
            Act::SendAndHang(first, bytes) => {
                say(first)?;
                let mut data = data.accept()?.0;
                data.write_all(&bytes)?;
                // Until the client disconnects.
                let _ = data.read(&mut [0]);
                return Ok(());
            }
            Act::SendAndBreak(first, bytes) => {
                say(first)?;
                data.accept()?.0.write_all(&bytes)?;
                return Ok(());
            }
            Act::Reset(text) => {
                data = TcpListener::bind("127.0.0.1:0")?;
                say(text)?;
            }
            Act::Take(first, last) => {
                say(first)?;
                std::io::copy(&mut data.accept()?.0, &mut std::io::sink())?;
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
                stored = now.as_secs() as i64;
                say(last)?;
            }
            Act::TakeAndBreak(first) => {
                say(first)?;
                std::io::copy(&mut data.accept()?.0, &mut std::io::sink())?;
                return Ok(());
            }
            Act::TakeAndHang(first) => {
                say(first)?;
                std::io::copy(&mut data.accept()?.0, &mut std::io::sink())?;
                // Until the client disconnects.
                let _ = lines.read(&mut [0]);
                return Ok(());
            }
            Act::TakeAndRefuse(first, length, last) => {
                say(first)?;
                let data = data.accept()?.0;
                std::io::copy(&mut (&data).take(length as u64), &mut std::io::sink())?;
                say(last)?;
                drop(data);
            }
        }
    }
}
