//! A whole session of the client, with bytes from a server.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ftp_client::listing::{Budget, ListOptions, ListingForm, Walked};
use ftp_client::{Client, Error, Role, Timeouts};
use ftp_proto::{Command, LineDecoder, LineEvent};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;

use super::assert_shown;

/// The address of the scripted server. Other ports that it names have no listener.
const HOST: &str = "127.77.0.1";

/// Timeout of each phase of the client; the server closes at once when its script ends.
const PHASE: Duration = Duration::from_millis(20);

/// How long the server waits for a command before it continues with its script.
const PATIENCE: Duration = Duration::from_micros(400);

/// The longest duration of a session.
const END: Duration = Duration::from_secs(10);

/// The data connections of all sessions of this process, and the content for the next one.
struct DataServer {
    address: SocketAddr,
    content: Arc<Mutex<Vec<u8>>>,
}

fn data_server() -> &'static DataServer {
    static SERVER: OnceLock<DataServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let listener = TcpListener::bind((HOST, 0)).expect("a port of loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let content = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&content);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let content = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
                thread::spawn(move || exchange_data(stream, &content));
            }
        });
        DataServer { address, content }
    })
}

/// Sends all content, then reads to the end.
fn exchange_data(mut stream: TcpStream, content: &[u8]) {
    let _timeouts = stream.set_read_timeout(Some(PHASE));
    let sent = stream.write_all(content).and(stream.shutdown(Shutdown::Write));
    let mut buffer = [0; 4_096];
    while sent.is_ok() && matches!(stream.read(&mut buffer), Ok(1..)) {}
}

/// Checks the client against a server's bytes, in parts separated by NUL: the content of data
/// connections, the greeting, the reply to the first command, to the second, and so on. On the
/// control connection `@P` stands for the port of the data connections and `@T` for their
/// host-port.
///
/// The client must not panic or hang, must send only commands, must not print terminal control
/// characters, and must report a download as complete only if it is.
///
/// # Panics
///
/// Panics if one of these rules is broken, or if no loopback connection can be made.
pub fn client_dialogue(data: &[u8]) {
    let begin = Instant::now();
    let data_server = data_server();
    let address = data_server.address;
    let mut parts = data.split(|&byte| byte == 0);
    let content = parts.next().unwrap_or_default().to_vec();
    data_server.content.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&content);
    let [high, low] = address.port().to_be_bytes();
    let tuple = format!("{},{high},{low}", HOST.replace('.', ","));
    let part = |part: &[u8]| {
        let part = replaced(part, b"@P", address.port().to_string().as_bytes());
        replaced(&part, b"@T", tuple.as_bytes())
    };
    let script: Vec<Vec<u8>> = parts.map(part).collect();
    let control = TcpListener::bind((HOST, 0)).expect("a port of loopback");
    // ABOR comes with an urgent byte, which would otherwise be removed from the stream.
    SockRef::from(&control).set_out_of_band_inline(true).expect("SO_OOBINLINE on a TCP socket");
    let port = control.local_addr().expect("a bound socket has an address").port();
    let server = thread::spawn(move || serve(&control, &script));
    drive(port, content.len(), &content);
    let said = server.join().expect("the script does not fail");
    assert_commands(&said);
    assert!(begin.elapsed() < END, "the session took {:?}", begin.elapsed());
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        out.extend_from_slice(to);
        rest = rest.get(at + from.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// Sends each part of the script after a command, and returns the received commands.
fn serve(listener: &TcpListener, script: &[Vec<u8>]) -> Vec<u8> {
    let mut said = Vec::new();
    let Ok((stream, _)) = listener.accept() else { return said };
    let _timeouts = (stream.set_nodelay(true), stream.set_read_timeout(Some(PHASE)));
    let mut lines = BufReader::new(&stream);
    for (index, part) in script.iter().enumerate() {
        if index > 0 {
            let is_due = !lines.buffer().is_empty() || is_readable(&stream);
            match is_due.then(|| lines.read_until(b'\n', &mut said)) {
                Some(Ok(0)) => return said,
                Some(Err(error)) if !is_timeout(error.kind()) => return said,
                _ => {}
            }
        }
        if (&stream).write_all(part).is_err() {
            return said;
        }
    }
    let _gone = stream.shutdown(Shutdown::Write);
    let _timeouts = stream.set_read_timeout(Some(END));
    let _reset = lines.read_to_end(&mut said);
    said
}

/// Waits for [`PATIENCE`]; a socket timeout would be rounded up to many times that.
fn is_readable(stream: &TcpStream) -> bool {
    let patience = Timespec::try_from(PATIENCE).expect("a short time");
    let ready = poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&patience));
    ready.is_ok_and(|count| count > 0)
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Asserts that the client sent only commands.
fn assert_commands(said: &[u8]) {
    let mut decoder = LineDecoder::strict();
    let _ = decoder.push(said);
    let events = std::iter::from_fn(|| decoder.next().map(LineEvent::into_owned));
    for event in events.filter(|event| !matches!(event, LineEvent::Answer(_))) {
        let LineEvent::Line(line) = &event else { panic!("the client sent {event:?}") };
        let command = Command::parse_line(line);
        assert!(command.is_ok(), "the client sent {:?}", line.escape_ascii().to_string());
    }
}

/// One action of a client; its second argument is the content of data connections.
type Step = fn(&mut Client, &[u8]) -> Result<(), Error>;

/// Performs some actions of a client one after the other; the length of the data chooses the first
/// action.
fn drive(port: u16, first: usize, content: &[u8]) {
    let timeouts = Timeouts::new()
        .resolve(PHASE)
        .connect(PHASE)
        .greeting(PHASE)
        .handshake(PHASE)
        .reply(PHASE)
        .data_connect(PHASE)
        .stall(PHASE)
        .final_reply(PHASE);
    let builder = Client::builder().timeouts(timeouts).overall(Some(END / 4));
    let Some(mut client) = told(builder.connect(&format!("{HOST}:{port}"))) else { return };
    assert_shown(&client.welcome().to_string());
    let mut steps: [Step; 16] = [
        |client, content| {
            let mut download = client.retrieve("a")?;
            let mut bytes = Vec::new();
            let read = download.read_to_end(&mut bytes);
            match (read.map_err(Error::downcast), download.finish()) {
                (Ok(_), Ok(report)) => {
                    assert_eq!(bytes, content, "a download that is whole");
                    assert_shown(&format!("{report:?}"));
                    Ok(())
                }
                (Err(Ok(error)), _) | (_, Err(error)) => Err(error),
                (Err(Err(error)), _) => panic!("an error that is not the client's: {error}"),
            }
        },
        |client, _| list(client, "", ListingForm::Mlsd),
        |client, _| list(client, "d", ListingForm::List),
        |client, _| list(client, "", ListingForm::Nlst),
        |client, _| list(client, "", ListingForm::Auto),
        |client, _| {
            for walked in client.walk("").depth(3) {
                if let Walked::Skipped { why, .. } = walked? {
                    assert_shown(&why.to_string());
                }
            }
            Ok(())
        },
        |client, _| {
            let stat = client.stat("a")?;
            assert_shown(&format!("{stat:?}"));
            client.hash("a", None).map(|digest| assert_shown(&digest.to_string()))
        },
        |client, content| {
            let mut download = client.retrieve_range("a", 1, 3)?;
            let mut bytes = Vec::new();
            let _kept = download.read_to_end(&mut bytes);
            assert!(bytes.len() <= 3 && content.starts_with(&bytes));
            let report = download.finish()?;
            assert_eq!((report.bytes, bytes.len()), (3, 3));
            Ok(())
        },
        |client, _| {
            let mut upload = client.store_unique("")?;
            let _kept = upload.write_all(b"some text\n");
            assert_shown(&format!("{:?}", upload.finish()?.unique_name));
            Ok(())
        },
        |client, _| client.retrieve_from("a", 2).map(drop).and(client.rmdir("d")),
        |client, _| {
            let mut upload = client.store("b")?;
            let _kept = upload.write_all(b"some text\n");
            upload.finish().map(drop)
        },
        |client, _| client.pwd().and_then(|path| client.cwd(path)),
        |client, _| client.mkdir("d").map(drop).and(client.rename("d", "e")),
        |client, _| client.features().map(drop).and(client.system().map(drop)),
        |client, _| client.size("a").map(drop).and(client.modified("a").map(drop)),
        |client, _| client.retrieve_from("a", 3).map(drop).and(client.noop()),
    ];
    told(client.login("user", "word"));
    let turn = first % steps.len();
    steps.rotate_left(turn);
    // All steps would take several times as long, and find little more.
    for step in steps.into_iter().take(4) {
        told(step(&mut client, content));
    }
    told(client.quit());
}

fn list(client: &mut Client, directory: &str, form: ListingForm) -> Result<(), Error> {
    let options = ListOptions::by(form);
    let listing = client.list_with(directory, options)?.gather(Budget::default())?;
    assert!(listing.entries.iter().all(|entry| entry.role == Role::Member));
    assert_shown(&format!("{listing:?}"));
    Ok(())
}

fn told<T>(result: Result<T, Error>) -> Option<T> {
    result.inspect_err(|error| assert_shown(&error.to_string())).ok()
}
