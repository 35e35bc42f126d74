//! Connections that a load balancer forwards: their PROXY header, and the addresses of their ends.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use ftp_proto::{AddressClass, ProxyHeader, ProxyProgress};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::socket;

/// The addresses of a control connection; IPv4-mapped addresses appear as IPv4.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// The client's end.
    pub(crate) peer: SocketAddr,
    /// Whether the client is unknown, so that `peer` is the address of the balancer.
    pub(crate) is_unknown: bool,
    /// The address that the client connected to: this server's or the balancer's.
    pub(crate) reached: SocketAddr,
    /// The server's own address, which data connections use too.
    pub(crate) local: SocketAddr,
}

impl Ends {
    pub(crate) fn direct(peer: SocketAddr, local: SocketAddr) -> Self {
        let local = socket::canonical(local);
        Self { peer: socket::canonical(peer), is_unknown: false, reached: local, local }
    }

    /// Returns the addresses of a connection that came from a balancer with this header.
    ///
    /// # Errors
    ///
    /// Returns the error of [`client_of`] if the header names an invalid client.
    pub(crate) fn of(header: ProxyHeader, from: SocketAddr, local: SocketAddr) -> io::Result<Self> {
        let direct = Self::direct(from, local);
        Ok(match header {
            ProxyHeader::Client { destination, .. } => {
                Self { peer: client_of(header, from)?, reached: destination, ..direct }
            }
            ProxyHeader::Local => direct,
            ProxyHeader::Unknown => Self { is_unknown: true, ..direct },
        })
    }
}

/// Returns the client's address for a connection that came from the balancer `from` with this
/// header.
///
/// # Errors
///
/// Returns `InvalidData` if the header names an address that no client can have: unspecified,
/// multicast, or loopback from a balancer on another computer. A loopback address in that header
/// means the balancer's computer, but here it would stand for this computer.
pub(crate) fn client_of(header: ProxyHeader, from: SocketAddr) -> io::Result<SocketAddr> {
    let ProxyHeader::Client { source, .. } = header else { return Ok(from) };
    let is_host = match AddressClass::of(source.ip()) {
        AddressClass::Unspecified | AddressClass::Multicast => false,
        AddressClass::Loopback => from.ip().to_canonical().is_loopback(),
        _ => true,
    };
    let why = || format!("the PROXY header names {source}, which cannot be a client's address");
    if is_host { Ok(source) } else { Err(io::Error::new(io::ErrorKind::InvalidData, why())) }
}

/// Reads a header, and no byte after it. Calls `until_readable` when no bytes are available.
///
/// # Errors
///
/// Returns:
///
/// - the error of `until_readable` if it fails;
/// - `InvalidData` if the bytes are not a header;
/// - `ConnectionAborted` if the connection ends or is reset before the first byte;
/// - `UnexpectedEof` if the connection ends inside the header;
/// - the error of recv(2) if it fails otherwise.
pub(crate) fn receive_header<E: From<io::Error>>(
    stream: &TcpStream,
    mut until_readable: impl FnMut() -> Result<(), E>,
) -> Result<ProxyHeader, E> {
    let mut header = Vec::new();
    loop {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let count = match ProxyHeader::parse(&header).map_err(invalid)? {
            ProxyProgress::Whole(header, _) => return Ok(header),
            ProxyProgress::Needs(count) => count,
        };
        let before = header.len();
        header.resize(before + count, 0);
        let room = header.get_mut(before..).unwrap_or_default();
        let received = recv(stream, room, RecvFlags::DONTWAIT);
        header.truncate(before + received.map_or(0, |(count, _)| count));
        match received {
            Ok((0, _)) | Err(Errno::CONNRESET) if before == 0 => {
                return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
            }
            Ok((0, _)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => until_readable()?,
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

/// Waits until `stream` is readable. A signal can end the wait early.
///
/// # Errors
///
/// Returns `TimedOut` if `deadline` passes, or the error of poll(2) if it fails.
pub(crate) fn wait_for_input(stream: &TcpStream, deadline: Instant) -> io::Result<()> {
    let rest = deadline.saturating_duration_since(Instant::now());
    match socket::is_ready(stream, PollFlags::IN, rest)? || Instant::now() < deadline {
        true => Ok(()),
        false => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_header_with_a_local_or_special_source_is_rejected() {
        for (source, balancer, is_client) in [
            ("192.0.2.7", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("2001:db8::7", "10.0.0.1", true),
            ("fe80::7", "fe80::1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("::1", "127.0.0.1", true),
            ("127.0.0.1", "::ffff:127.0.0.2", true),
            ("127.0.0.1", "10.0.0.1", false),
            ("::1", "10.0.0.1", false),
            ("0.0.0.0", "127.0.0.1", false),
            ("::", "127.0.0.1", false),
            ("224.0.0.1", "10.0.0.1", false),
            ("255.255.255.255", "10.0.0.1", false),
            ("ff02::1", "10.0.0.1", false),
        ] {
            let at = |host: &str| SocketAddr::new(host.parse().unwrap(), 50_000);
            let header = ProxyHeader::Client { source: at(source), destination: at("192.0.2.1") };
            let client = client_of(header, at(balancer));
            assert_eq!(client.is_ok(), is_client, "{source} through {balancer}");
            assert!(client.is_err() || client.unwrap() == at(source));
            for header in [ProxyHeader::Local, ProxyHeader::Unknown] {
                assert_eq!(client_of(header, at(balancer)).unwrap(), at(balancer));
            }
        }
    }
}
