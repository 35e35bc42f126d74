//! From a host name to a connected socket, in a bounded time.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::error::{Error, Phase};
use crate::stream::{Deadline, Stream};
use crate::trace;

/// Connects to the first address of `host` that answers. `limit` is for all of it.
pub(crate) fn connect(
    host: &str,
    port: u16,
    limit: Duration,
    overall: Option<Deadline>,
) -> Result<Stream, Error> {
    let resolving = Deadline::after(limit, Phase::Resolve).or(overall);
    let deadline = Deadline::after(limit, Phase::Connect).or(overall);
    let addresses = resolve(host, port, resolving)?;
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        // An address that does not answer must not use up the time of those behind it.
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.remaining()? / left;
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(socket) => {
                trace::note(format_args!("connected to {address}"));
                return Stream::new(socket).map_err(Error::Io);
            }
            Err(error) => {
                trace::note(format_args!("cannot connect to {address}: {error}"));
                failures.push((*address, error));
            }
        }
    }
    let timed_out = |(_, error): &(_, io::Error)| error.kind() == ErrorKind::TimedOut;
    if failures.iter().all(timed_out) {
        deadline.remaining()?;
        return Err(Error::Timeout(Phase::Connect));
    }
    let kind = failures.last().map_or(ErrorKind::NotFound, |(_, error)| error.kind());
    let reasons: Vec<String> =
        failures.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    Err(Error::Io(io::Error::new(kind, format!("cannot connect to {}", reasons.join("; ")))))
}

/// The addresses of a name, at least one. The system's resolver knows no limit of time, so it is
/// asked in a thread that is left to itself when the time is over.
fn resolve(host: &str, port: u16, deadline: Deadline) -> Result<Vec<SocketAddr>, Error> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |error: io::Error| {
        Error::Io(io::Error::new(error.kind(), format!("cannot find {bare:?}: {error}")))
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    let name = bare.to_owned();
    thread::Builder::new()
        .name("ftp resolver".to_owned())
        .spawn(move || {
            let addresses = (name.as_str(), port).to_socket_addrs();
            // Nobody listens any more once the time is over.
            let _ = sender.send(addresses.map(Iterator::collect::<Vec<_>>));
        })
        .map_err(failed)?;
    let Ok(result) = receiver.recv_timeout(deadline.remaining()?) else {
        deadline.remaining()?;
        return Err(Error::Timeout(Phase::Resolve));
    };
    let addresses = result.map_err(failed)?;
    if addresses.is_empty() {
        return Err(failed(io::Error::new(ErrorKind::NotFound, "it has no address")));
    }
    Ok(addresses)
}
