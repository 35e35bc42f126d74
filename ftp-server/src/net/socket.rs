//! Sockets: their options, the addresses of their ends, which the PROXY header of a load balancer can
//! tell, and the last reply to a refused client.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ftp_proto::{AddressClass, Network, ProxyHeader, ProxyProgress, Reply};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Maximum number of connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1_024;

/// Opens a listening socket. If `free` is set, the computer need not have the address yet. Accepted
/// sockets inherit the options of this socket, which saves system calls in each session.
pub(crate) fn bind(address: SocketAddr, free: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if free {
        match address {
            SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
            SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
        }
    }
    if address.is_ipv6() {
        // `[::]` accepts IPv4 clients too, with mapped addresses.
        socket.set_only_v6(false)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    set_keepalive(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Sets the options that accepted sockets inherit, on a listening socket of the embedder.
pub(crate) fn adopt(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    set_keepalive(&socket)
}

/// Enables keepalive: the first probe after 60 s, then one every 10 s, six in total. Sent bytes may
/// stay unacknowledged for at most 120 s.
pub(crate) fn set_keepalive(socket: &Socket) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(6);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(Duration::from_secs(120)))
}

/// Returns an IPv4-mapped address as IPv4. Returns any other address unchanged, with the scope that
/// a link-local address needs.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Sends a last reply on a connection that the caller then drops.
pub(crate) fn refuse(mut stream: &TcpStream, reply: &Reply) {
    // A new socket has room for one line, and a peer that has disconnected needs no reply. Only the
    // sending side is closed here; dropping the connection closes the rest.
    let _ = stream.set_nonblocking(true);
    let _ = stream.write(&reply.encode());
    let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Write);
}

/// Waits at most for `limit`, less after a signal, and returns whether one of `flags` holds.
///
/// # Errors
///
/// Returns the error of poll(2).
pub(crate) fn is_ready(
    descriptor: &impl AsFd,
    flags: PollFlags,
    limit: Duration,
) -> io::Result<bool> {
    // A limit too long for poll(2) is none.
    let limit = Timespec::try_from(limit).ok();
    match poll(&mut [PollFd::new(descriptor, flags)], limit.as_ref()) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns whether the peer has closed its side, even if bytes before that are unread.
pub(crate) fn is_hung_up(stream: &TcpStream) -> bool {
    is_ready(stream, PollFlags::RDHUP, Duration::ZERO).unwrap_or(false)
}

pub(crate) fn is_in(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

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
        let local = canonical(local);
        Self { peer: canonical(peer), is_unknown: false, reached: local, local }
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
    match is_ready(stream, PollFlags::IN, rest)? || Instant::now() < deadline {
        true => Ok(()),
        false => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
pub(crate) fn expect_keepalive(socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 6);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(120)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_notice_a_dead_peer_st_14_fr_23_fr_31_hf_11() {
        let listener = bind(([127, 0, 0, 1], 0).into(), false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        expect_keepalive(&stream);
        assert!(stream.nodelay().unwrap());
        assert!(SockRef::from(&stream).out_of_band_inline().unwrap());
    }

    #[test]
    fn a_missing_address_can_be_bound_with_freebind() {
        // These addresses are reserved for documentation: no computer has them.
        for address in ["192.0.2.77:0", "[2001:db8::77]:0"] {
            let address: SocketAddr = address.parse().unwrap();
            if address.is_ipv6() && std::net::UdpSocket::bind("[::1]:0").is_err() {
                continue;
            }
            let missing = bind(address, false).unwrap_err();
            assert_eq!(missing.kind(), io::ErrorKind::AddrNotAvailable);
            bind(address, true).unwrap();
        }
    }

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
