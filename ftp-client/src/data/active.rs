//! Active mode: `EPRT` (RFC 2428 §2), else `PORT` (RFC 959 §4.1.2). The client listens on the local
//! address of the control connection, and accepts a connection only from the server's address.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};

use ftp_proto::{AddressClass, PortRanges, Verb};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Config;
use crate::control::ControlConnection;
use crate::error::{Error, Phase, Unsupported};
use crate::net::dial;
use crate::net::wait::Waiter;
use crate::trace;

/// Room for the server's connection and a few others, so that other hosts cannot keep the server
/// out.
const BACKLOG: i32 = 4;

pub(crate) struct Listening {
    pub(crate) listener: TcpListener,
    here: SocketAddr,
    /// The address that is announced to the server.
    pub(crate) told: SocketAddr,
}

pub(crate) fn begin(control: &ControlConnection, config: &Config) -> Result<Listening, Error> {
    let Some((local, _)) = control.addresses() else {
        return Err(Error::Unsupported(Unsupported::ActiveRelayed));
    };
    let (listener, here) = listen(local, config.active_ports.as_ref()).map_err(Error::io)?;
    let told = match &config.active_address {
        Some(name) => announced(name, here.ip(), config, control.waiter())?,
        None => here.ip(),
    };
    Ok(Listening { listener, here, told: SocketAddr::new(told, here.port()) })
}

/// Traces the address that was announced to the server.
pub(crate) fn explain(way: Verb, listening: &Listening) {
    let Listening { here, told, .. } = *listening;
    let host = told.ip();
    let port = told.port();
    let [high, low] = port.to_be_bytes();
    let sum = match way {
        Verb::Port => format!(" = {high}*256+{low}"),
        _ => String::new(),
    };
    if here == told {
        trace::note(format_args!("{way}: this host listens at {host} port {port}{sum}"));
    } else {
        let inside = here.ip();
        trace::note(format_args!(
            "{way}: announcing {host} port {port}{sum}; this host listens at {inside}"
        ));
    }
}

/// Listens on the local address of the control connection, which the server can reach. The port is
/// one of `ports`, or one that the kernel chooses. Also returns the listening address, in the
/// family that the server sees.
fn listen(local: SocketAddr, ports: Option<&PortRanges>) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = match ports {
        None => listen_at(local, 0)?,
        Some(ports) => listen_in(local, ports)?,
    };
    let port = listener.local_addr()?.port();
    Ok((listener, SocketAddr::new(local.ip().to_canonical(), port)))
}

/// Listens on the first free port of `ports`, starting at a random one.
fn listen_in(local: SocketAddr, ports: &PortRanges) -> io::Result<TcpListener> {
    let mut forbidden = 0;
    for port in ports.iter_from(random()) {
        match listen_at(local, port) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            // Ports below 1024 need privileges.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => forbidden += 1,
            result => return result,
        }
    }
    let all = ports.count();
    let (kind, why) = match forbidden {
        0 => (ErrorKind::AddrInUse, "all of them are in use".to_owned()),
        _ if forbidden == all => {
            (ErrorKind::PermissionDenied, "the system forbids all of them".to_owned())
        }
        _ => {
            let used = all - forbidden;
            let why = format!("{used} in use, {forbidden} forbidden by the system");
            (ErrorKind::AddrInUse, why)
        }
    };
    Err(io::Error::new(kind, format!("no free port in {ports}: {why}")))
}

fn listen_at(mut local: SocketAddr, port: u16) -> io::Result<TcpListener> {
    local.set_port(port);
    let socket = Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP))?;
    if port != 0 {
        // A connection of an earlier upload may still occupy this port. SO_REUSEADDR does not allow
        // taking the port of another listener.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&local.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Returns an unpredictable number, so that an attacker cannot predict the next port. It is the hash
/// of nothing with a random key; no hash tells the key.
fn random() -> usize {
    // On 32 bits, the lower half is enough for all ports.
    (RandomState::new().build_hasher().finish() & u64::from(u32::MAX))
        .try_into()
        .unwrap_or_default()
}

/// Returns the current address of `name` in the family of `local`. With an address of the other
/// family, the server's connection could not be distinguished from those of other hosts.
fn announced(name: &str, local: IpAddr, config: &Config, waiter: &Waiter) -> Result<IpAddr, Error> {
    let failed = |kind, why: &str| {
        let text = format!("cannot announce the address {name:?}: {why}");
        Error::io(io::Error::new(kind, text))
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let addresses = match bare.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, 0)],
        Err(_) => match dial::look_up(bare, 0, config, waiter) {
            Ok(found) => found.map_err(|error| failed(error.kind(), &error.to_string()))?,
            Err(Error::Timeout(Phase::Resolve)) => {
                return Err(failed(ErrorKind::TimedOut, "the lookup took too long"));
            }
            Err(error) => return Err(error),
        },
    };
    let mut hosts = addresses.iter().map(|address| address.ip().to_canonical());
    let host = hosts.find(|host| host.is_ipv4() == local.is_ipv4()).ok_or_else(|| {
        let family = if local.is_ipv4() { "IPv4" } else { "IPv6" };
        let why = format!("no {family} address, but the control connection uses {family}");
        failed(ErrorKind::AddrNotAvailable, &why)
    })?;
    match AddressClass::of(host) {
        class @ (AddressClass::Unspecified | AddressClass::Multicast) => {
            Err(failed(ErrorKind::InvalidInput, &format!("{host} is {class}, not a host")))
        }
        _ => Ok(host),
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::TcpStream;

    use ftp_tests::port::OwnPorts;
    use ftp_tests::wait::wait_until;

    use super::*;
    use crate::data::accept;

    #[test]
    fn active_mode_accepts_only_the_server_cl_32_hc_27() {
        let local = SocketAddr::from(([127, 0, 0, 1], 21));
        let (listener, address) = listen(local, None).unwrap();
        assert!(address.ip().is_loopback() && address.port() != 0);
        listener.set_nonblocking(false).unwrap();
        let _stranger = TcpStream::connect(address).unwrap();
        assert!(accept(&listener, Some(IpAddr::from([127, 0, 0, 2]))).unwrap().is_err());
        let _server = TcpStream::connect(address).unwrap();
        assert!(accept(&listener, Some(IpAddr::from([127, 0, 0, 1]))).unwrap().is_ok());
        let _mapped = TcpStream::connect(address).unwrap();
        let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]);
        assert!(accept(&listener, Some(mapped)).unwrap().is_ok());
    }

    #[test]
    fn each_active_port_is_tried_and_reused_cl_33() {
        let local = SocketAddr::from(([127, 0, 0, 1], 21));
        let own = OwnPorts::claim(4);
        let (ports, mut taken) = (own.ranges(), own.take(4));
        let error = listen(local, Some(&ports)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let want = format!("no free port in {ports}: all of them are in use");
        assert_eq!(error.to_string(), want);
        let free = taken.pop().unwrap().local_addr().unwrap();
        wait_until("the port is free", || listen(local, Some(&ports)).is_ok());
        for _ in 0..8 {
            let (listener, address) = listen(local, Some(&ports)).unwrap();
            assert_eq!(address, free);
            // This side closes the connection first, so the port stays occupied for a while.
            let peer = TcpStream::connect(address).unwrap();
            drop(listener.accept());
            drop(peer);
        }
        taken.clear();
        let held: Vec<_> =
            (0..4).map(|_| listen(local, Some(&ports)).unwrap()).map(|(held, _)| held).collect();
        assert!(listen(local, Some(&ports)).is_err(), "{} are held", held.len());
    }

    #[test]
    fn the_first_active_port_is_random_cl_33() {
        let local = SocketAddr::from(([127, 0, 0, 1], 21));
        let own = OwnPorts::claim(8);
        let ports = own.ranges();
        let first = listen(local, Some(&ports)).unwrap().1;
        let another = || listen(local, Some(&ports)).unwrap().1 != first;
        // The chance that all are equal is 1 in 2^120.
        assert!((0..40).any(|_| another()));
    }

    #[test]
    fn the_announced_address_matches_the_control_connection_family_cl_33() {
        let config = Config::default();
        let waiter = Waiter::default();
        let four = IpAddr::from([127, 0, 0, 1]);
        let six = IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
        for (name, local, want) in [
            ("203.0.113.7", four, Ok("203.0.113.7")),
            ("::ffff:203.0.113.7", four, Ok("203.0.113.7")),
            ("localhost", four, Ok("127.0.0.1")),
            ("2001:db8::7", six, Ok("2001:db8::7")),
            ("[2001:db8::7]", six, Ok("2001:db8::7")),
            ("2001:db8::7", four, Err("no IPv4 address")),
            ("203.0.113.7", six, Err("no IPv6 address")),
            ("0.0.0.0", four, Err("0.0.0.0 is unspecified, not a host")),
            ("ff02::1", six, Err("ff02::1 is multicast, not a host")),
            ("", four, Err("cannot announce the address \"\": ")),
        ] {
            let got = announced(name, local, &config, &waiter);
            match want {
                Ok(want) => assert_eq!(got.unwrap().to_string(), want, "{name}"),
                Err(want) => {
                    let error = got.unwrap_err().to_string();
                    assert!(error.contains(want), "{name}: {error}");
                }
            }
        }
    }
}
