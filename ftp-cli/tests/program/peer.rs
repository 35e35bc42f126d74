//! A server that does what a test tells it, right or wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the peer does when a command comes.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Says this.
    Say(&'static str),
    /// Says the first, sends the data, ends the data connection, says the last.
    Send(&'static str, Vec<u8>, &'static str),
    /// Says the first, sends the data, and then nothing more.
    SendAndHang(&'static str, Vec<u8>),
    /// Says the first, sends the data, and breaks both connections.
    SendAndBreak(&'static str, Vec<u8>),
    /// Takes no data connection, so that it is reset, and says this.
    Reset(&'static str),
    /// Says the first, takes data to its end, says the last.
    Take(&'static str, &'static str),
    /// Says the first, takes data to its end, and breaks the control connection.
    TakeAndBreak(&'static str),
    /// Says the first, takes data to its end, and then says nothing more.
    TakeAndHang(&'static str),
    /// Says the first, takes this many bytes, ends the data connection, says the last.
    TakeAndRefuse(&'static str, usize, &'static str),
}

/// Such a server, for one control connection or several.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// Acts by the first of `acts` whose beginning of a command line fits; what is not there is
    /// answered as a plain server would. An act is used up when it was the first of several for
    /// the same command.
    pub(crate) fn start(acts: &[(&'static str, Act)]) -> Self {
        Self::start_several(vec![acts.to_vec()])
    }

    /// The same for several control connections, one after the other.
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

    /// The command lines that came, joined by a comma.
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
    control.write_all(b"220 ready\r\n")?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
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
                    // A new one each time: nobody waits at it who was refused before.
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
        // In one write: the second of two small ones waits for the first to be acknowledged.
        let mut say = |text: &str| control.write_all(format!("{text}\r\n").as_bytes());
        match act {
            Act::Say(text) => say(text)?,
            Act::Send(first, bytes, last) => {
                say(first)?;
                data.accept()?.0.write_all(&bytes)?;
                say(last)?;
            }
            Act::SendAndHang(first, bytes) => {
                say(first)?;
                let mut data = data.accept()?.0;
                data.write_all(&bytes)?;
                // Until the client goes.
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
                // Until the client goes.
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
