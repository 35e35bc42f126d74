//! Raw data connections, opened by either side.

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::{DEADLINE, is_timeout, read_before};

/// A listening socket for active mode, which is announced by PORT or EPRT.
#[derive(Debug)]
pub struct RawListener {
    pub(super) listener: TcpListener,
}

impl RawListener {
    /// Returns the address on which the socket listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }

    /// Returns the line that announces the socket: `PORT` (RFC 959 §4.1.2), IPv4 only, or `EPRT`
    /// (RFC 2428 §2).
    #[track_caller]
    #[must_use]
    pub fn announcement(&self, verb: &str) -> String {
        let (host, port) = (self.address().ip(), self.address().port());
        match (verb, host) {
            ("PORT", IpAddr::V4(host)) => {
                let [h1, h2, h3, h4] = host.octets();
                format!("PORT {h1},{h2},{h3},{h4},{},{}", port / 256, port % 256)
            }
            ("EPRT", IpAddr::V4(host)) => format!("EPRT |1|{host}|{port}|"),
            ("EPRT", IpAddr::V6(host)) => format!("EPRT |2|{host}|{port}|"),
            _ => panic!("no {verb} for {host}"),
        }
    }

    /// Waits for the server to connect, until [`DEADLINE`].
    #[track_caller]
    #[must_use]
    pub fn accept(self) -> RawData {
        match accept_before(&self.listener, Instant::now() + DEADLINE) {
            Ok(stream) => RawData { stream },
            Err(error) => panic!("no data connection came: {error}"),
        }
    }
}

/// A data connection.
#[derive(Debug)]
pub struct RawData {
    stream: TcpStream,
}

impl RawData {
    /// Connects to a passive port.
    #[track_caller]
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        match TcpStream::connect_timeout(&address, DEADLINE) {
            Ok(stream) => Self { stream },
            Err(error) => panic!("no data connection to {address}: {error}"),
        }
    }

    /// Connects to a passive port from one of this machine's addresses.
    #[track_caller]
    #[must_use]
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        Self { stream: connect_from(source, address) }
    }

    /// Connects to a passive port from one of this machine's addresses, and asserts that the server
    /// resets the connection.
    #[track_caller]
    pub fn expect_reset_from(source: IpAddr, address: SocketAddr) {
        match try_connect_from(source, address) {
            Ok(stream) => Self { stream }.expect_reset(),
            // The reset can arrive before this side knows that it is connected.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("no connection from {source} to {address}: {error}"),
        }
    }

    /// Takes over an open connection.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        Self { stream }
    }

    /// Returns the socket.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Converts the connection into its socket.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Reads until the server ends the data, and closes.
    #[track_caller]
    #[must_use]
    pub fn read_to_end(mut self) -> Vec<u8> {
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            match read_before(&mut self.stream, &mut buffer, Instant::now() + DEADLINE) {
                Ok(0) => return bytes,
                Ok(count) => bytes.extend(buffer.get(..count).unwrap_or_default()),
                Err(error) => panic!("data broke off after {} bytes: {error}", bytes.len()),
            }
        }
    }

    /// Asserts that the server resets the connection before it sends a byte.
    #[track_caller]
    pub fn expect_reset(mut self) {
        let mut byte = [0];
        match read_before(&mut self.stream, &mut byte, Instant::now() + DEADLINE) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("wanted a reset, got {other:?}"),
        }
    }

    /// Reads exactly `count` bytes and leaves the connection open.
    #[track_caller]
    #[must_use]
    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match read_before(&mut self.stream, rest, Instant::now() + DEADLINE) {
                Ok(0) => panic!("data ended after {filled} of {count} bytes"),
                Ok(more) => filled += more,
                Err(error) => panic!("data broke off after {filled} of {count} bytes: {error}"),
            }
        }
        bytes
    }

    /// Sends all of `bytes`.
    #[track_caller]
    pub fn write_all(&mut self, bytes: &[u8]) {
        self.stream.set_write_timeout(Some(DEADLINE)).expect("a timeout that is not zero");
        if let Err(error) = self.stream.write_all(bytes) {
            panic!("the server did not take {} bytes of data: {error}", bytes.len());
        }
    }

    /// Ends the data properly, by FIN.
    pub fn close(self) {
        // The server may have reset the connection already; its reply then says so.
        let _gone = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the data by RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("SO_LINGER on a TCP socket");
    }
}

/// Connects from `source`.
#[track_caller]
pub(super) fn connect_from(source: IpAddr, address: SocketAddr) -> TcpStream {
    try_connect_from(source, address)
        .unwrap_or_else(|error| panic!("no connection from {source} to {address}: {error}"))
}

fn try_connect_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&address.into(), DEADLINE)?;
    Ok(socket.into())
}

/// Accepts with a timeout: the listener gets a receive timeout, which Linux applies to `accept`
/// too.
fn accept_before(listener: &TcpListener, end: Instant) -> io::Result<TcpStream> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        socket2::SockRef::from(listener).set_read_timeout(Some(left))?;
        match listener.accept() {
            Err(error) if is_timeout(&error) || error.kind() == ErrorKind::Interrupted => {}
            other => return other.map(|(stream, _)| stream),
        }
    }
}
