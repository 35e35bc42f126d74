//! Drives an FTP server for `tests/bench/peers`, and measures loopback without one.
//!
//! ```text
//! load run PORT USER PASSWORD CONNECTIONS LIMIT OPERATION
//! load crowd PORT USER PASSWORD CLIENTS NAME
//! load start PORT COMMAND...
//! load ceiling FILE copy|discard|PATH
//! ```
//!
//! `run` repeats an operation over each connection, LIMIT times in total or for a time such as
//! `1.5s`. It prints the number of operations, the seconds and the bytes. OPERATION is `login`,
//! `noop`, `copy:NAME`, `discard:NAME`, `text:NAME`, `store:NAME:FILE`, `LIST:DIR`, `MLSD:DIR` or
//! `NLST:DIR`. `crowd` lets clients log in at once, get a file ten times and quit; it prints the
//! seconds and the 99th percentile of the logins in ms. `start` prints the ms from exec to the
//! greeting. `ceiling` sends a file with sendfile to a sink, which copies, discards, or writes the
//! data to PATH. It prints the same figures as `run`.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::sendfile;
use rustix::net::{RecvFlags, recv};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const BLOCK: usize = 256 << 10;
/// The longest single wait.
const LIMIT: Duration = Duration::from_secs(60);
/// The number of downloads of each client in a crowd.
const GETS: usize = 10;

/// The use of received bytes.
enum Sink {
    /// They are copied to this process.
    Copy(Vec<u8>),
    /// The kernel drops them.
    Discard(Vec<u8>),
    /// They are copied and written to a file.
    Write(Vec<u8>, File),
}

impl Sink {
    fn copy() -> Self {
        Self::Copy(vec![0; BLOCK])
    }

    fn discard() -> Self {
        Self::Discard(vec![0; 1 << 20])
    }

    /// Reads to the end, and returns the number of bytes.
    fn drain(&mut self, mut data: &TcpStream) -> Result<u64> {
        let mut bytes = 0;
        loop {
            let count = match self {
                Self::Copy(buffer) => data.read(buffer)?,
                Self::Discard(buffer) => recv(data, &mut buffer[..], RecvFlags::TRUNC)?.1,
                Self::Write(buffer, file) => {
                    let count = data.read(buffer)?;
                    file.write_all(&buffer[..count])?;
                    count
                }
            };
            if count == 0 {
                return Ok(bytes);
            }
            bytes += count as u64;
        }
    }
}

/// Sends a whole file, and returns its length.
fn send_file(data: &TcpStream, path: &str) -> Result<u64> {
    let file = File::open(path)?;
    let mut bytes = 0;
    loop {
        match sendfile(data, &file, None, 64 << 20)? {
            0 => break,
            count => bytes += count as u64,
        }
    }
    data.shutdown(Shutdown::Write)?;
    Ok(bytes)
}

fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

struct Session {
    control: BufReader<TcpStream>,
    line: String,
}

impl Session {
    fn login(login: &Login) -> Result<Self> {
        let control = BufReader::new(connect(login.port)?);
        let mut session = Self { control, line: String::new() };
        session.reply('2')?;
        session.say(&format!("USER {}", login.user), '3')?;
        session.say(&format!("PASS {}", login.password), '2')?;
        Ok(session)
    }

    /// Returns the last line of the next reply, which must begin with this digit.
    fn reply(&mut self, wanted: char) -> Result<&str> {
        loop {
            self.line.clear();
            if self.control.read_line(&mut self.line)? == 0 {
                return Err("closed by the server".into());
            }
            let is_last = self.line.as_bytes().get(3) == Some(&b' ');
            if is_last && self.line.as_bytes()[..3].iter().all(u8::is_ascii_digit) {
                break;
            }
        }
        if !self.line.starts_with(wanted) {
            return Err(self.line.trim().into());
        }
        Ok(&self.line)
    }

    fn say(&mut self, command: &str, wanted: char) -> Result<&str> {
        self.control.get_ref().write_all(format!("{command}\r\n").as_bytes())?;
        self.reply(wanted)
    }

    /// Opens a data connection for a command.
    fn begin(&mut self, command: &str) -> Result<TcpStream> {
        let port = self.say("EPSV", '2')?.split('|').nth(3).ok_or("no port")?.parse()?;
        let data = connect(port)?;
        self.say(command, '1')?;
        Ok(data)
    }

    fn download(&mut self, command: &str, sink: &mut Sink) -> Result<u64> {
        let data = self.begin(command)?;
        let bytes = sink.drain(&data)?;
        drop(data);
        self.reply('2')?;
        Ok(bytes)
    }

    fn upload(&mut self, command: &str, path: &str) -> Result<u64> {
        let data = self.begin(command)?;
        let bytes = send_file(&data, path)?;
        drop(data);
        self.reply('2')?;
        Ok(bytes)
    }

    fn quit(mut self) -> Result<()> {
        self.say("QUIT", '2').map(drop)
    }
}

struct Login {
    port: u16,
    user: String,
    password: String,
}

impl Login {
    fn from_words(words: &[&str]) -> Result<Self> {
        let [port, user, password] = words else { return Err("usage".into()) };
        Ok(Self { port: port.parse()?, user: (*user).into(), password: (*password).into() })
    }
}

/// The end of a run.
enum Limit {
    Count(AtomicU64),
    Time(Duration),
}

impl Limit {
    fn parse(word: &str) -> Result<Self> {
        Ok(match word.strip_suffix('s') {
            Some(seconds) => Self::Time(Duration::from_secs_f64(seconds.parse()?)),
            None => Self::Count(AtomicU64::new(word.parse()?)),
        })
    }

    fn allows_another(&self, began: Instant) -> bool {
        match self {
            Self::Time(time) => began.elapsed() < *time,
            Self::Count(left) => {
                let take = |left: u64| left.checked_sub(1);
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
            }
        }
    }
}

/// Runs one connection; returns the number of operations and of bytes.
fn repeat(
    login: &Login,
    limit: &Limit,
    operation: &str,
    at: u64,
    together: &Barrier,
) -> Result<[u64; 2]> {
    let words: Vec<&str> = operation.split(':').collect();
    let mut sink = if words[0] == "discard" { Sink::discard() } else { Sink::copy() };
    let mut session = if words[0] == "login" { None } else { Some(Session::login(login)) };
    if let Some(Ok(session)) = &mut session {
        session.say(if words[0] == "text" { "TYPE A" } else { "TYPE I" }, '2')?;
    }
    // Also after a failed login: the others wait.
    together.wait();
    let began = Instant::now();
    let mut session = session.transpose()?;
    let mut done = [0, 0];
    while limit.allows_another(began) {
        done[1] += match (&mut session, &words[..]) {
            (None, _) => Session::login(login)?.quit().map(|()| 0)?,
            (Some(session), ["noop"]) => session.say("NOOP", '2').map(|_| 0)?,
            (Some(session), ["copy" | "discard" | "text", name]) => {
                session.download(&format!("RETR {name}"), &mut sink)?
            }
            (Some(session), ["store", name, path]) => {
                session.upload(&format!("STOR {name}-{at}-{}", done[0]), path)?
            }
            (Some(session), [verb, name]) => {
                session.download(&format!("{verb} {name}"), &mut sink)?
            }
            _ => return Err("no such operation".into()),
        };
        done[0] += 1;
    }
    session.map_or(Ok(()), Session::quit)?;
    Ok(done)
}

fn run(login: &Login, connections: u64, limit: &Limit, operation: &str) -> Result<String> {
    let together = Barrier::new(usize::try_from(connections)? + 1);
    let mut sum = [0, 0];
    let seconds = std::thread::scope(|scope| {
        let together = &together;
        let threads: Vec<_> = (0..connections)
            .map(|at| scope.spawn(move || repeat(login, limit, operation, at, together)))
            .collect();
        together.wait();
        let began = Instant::now();
        for thread in threads {
            let [count, bytes] = thread.join().expect("no panic")?;
            sum = [sum[0] + count, sum[1] + bytes];
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(began.elapsed().as_secs_f64())
    })?;
    Ok(format!("{} {seconds:.6} {}", sum[0], sum[1]))
}

fn crowd(login: &Login, clients: usize, name: &str) -> Result<String> {
    let together = Barrier::new(clients + 1);
    let (seconds, mut logins) = std::thread::scope(|scope| {
        let client = || {
            together.wait();
            let began = Instant::now();
            let mut session = Session::login(login)?;
            let login = began.elapsed();
            session.say("TYPE I", '2')?;
            for _ in 0..GETS {
                session.download(&format!("RETR {name}"), &mut Sink::Copy(vec![0; 4_096]))?;
            }
            session.quit()?;
            Ok::<_, Box<dyn Error + Send + Sync>>(login)
        };
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        together.wait();
        let began = Instant::now();
        let logins: Result<Vec<Duration>> =
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        Ok::<_, Box<dyn Error + Send + Sync>>((began.elapsed().as_secs_f64(), logins?))
    })?;
    logins.sort();
    let late = logins[(clients * 99).div_ceil(100) - 1].as_secs_f64() * 1e3;
    Ok(format!("{seconds:.6} {late:.3}"))
}

fn start(port: u16, command: &[&str]) -> Result<String> {
    let mut program = Command::new(command.first().ok_or("no command")?);
    program.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let mut server = program.spawn()?;
    let greeted = loop {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.set_read_timeout(Some(LIMIT))?;
            let mut line = String::new();
            // A process that an ended server started can hold its port for a moment.
            if BufReader::new(stream).read_line(&mut line).is_ok() {
                break line.starts_with("220").then(|| began.elapsed());
            }
        }
        if server.try_wait()?.is_some() || began.elapsed() > LIMIT {
            break None;
        }
    };
    server.kill()?;
    server.wait()?;
    let greeted = greeted.ok_or("the server does not start")?;
    Ok(format!("{:.4}", greeted.as_secs_f64() * 1e3))
}

fn ceiling(file: &str, sink: &str) -> Result<String> {
    let mut sink = match sink {
        "copy" => Sink::copy(),
        "discard" => Sink::discard(),
        path => Sink::Write(vec![0; BLOCK], File::create(path)?),
    };
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let data = connect(listener.local_addr()?.port())?;
    let (peer, _) = listener.accept()?;
    let began = Instant::now();
    let bytes = std::thread::scope(|scope| {
        let sender = scope.spawn(|| send_file(&peer, file));
        let bytes = sink.drain(&data)?;
        sender.join().expect("no panic")?;
        Ok::<_, Box<dyn Error + Send + Sync>>(bytes)
    })?;
    Ok(format!("1 {:.6} {bytes}", began.elapsed().as_secs_f64()))
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let line = match &words[..] {
        ["run", login @ .., connections, limit, operation] => {
            let limit = Limit::parse(limit)?;
            run(&Login::from_words(login)?, connections.parse()?, &limit, operation)?
        }
        ["crowd", login @ .., clients, name] => {
            crowd(&Login::from_words(login)?, clients.parse()?, name)?
        }
        ["start", port, command @ ..] => start(port.parse()?, command)?,
        ["ceiling", file, sink] => ceiling(file, sink)?,
        _ => return Err("usage: load run|crowd|start|ceiling ...".into()),
    };
    println!("{line}");
    Ok(())
}
