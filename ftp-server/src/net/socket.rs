//! Options of sockets, and the last reply to a refused client.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use ftp_proto::{Network, Reply};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
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
}
