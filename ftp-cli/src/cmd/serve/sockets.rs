//! Takes the listening sockets of a service manager (socket activation, sd_listen_fds(3)).

use std::env::{self, VarError};
use std::net::TcpListener;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::process;

use rustix::io::{FdFlags, fcntl_setfd};
use socket2::{Domain, SockRef, Type};

use crate::exit::{Failure, Result};

/// Maximum number of sockets.
const MOST: u32 = 1_000;

/// Listening sockets that the process inherited.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Sockets with a plaintext greeting: those called `control` or `unknown`, or without a name.
    pub(super) plaintext: Vec<TcpListener>,
    /// Sockets with implicit TLS: those called `implicit`.
    pub(super) implicit: Vec<TcpListener>,
}

impl Sockets {
    /// Takes the sockets that the environment describes. Call it once, before the process opens
    /// anything that stays open.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if a variable has an invalid value, or a descriptor is not a listening TCP
    /// socket.
    pub(super) fn passed() -> Result<Self> {
        let variable = |name: &str| match env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(Failure::usage(format!("invalid {name}"))),
        };
        let process = variable("LISTEN_PID")?;
        if process.as_deref() != Some(&process::id().to_string()) {
            // The sockets belong to another process, which passed on its environment.
            return Ok(Self::default());
        }
        let Some(count) = variable("LISTEN_FDS")? else { return Ok(Self::default()) };
        let names = variable("LISTEN_FDNAMES")?;
        let kinds = kinds(&count, names.as_deref()).map_err(Failure::usage)?;
        let sockets = sd_listen_fds::get();
        let sockets = sockets.map_err(|error| Failure::usage(format!("LISTEN_FDS: {error}")))?;
        let mut passed = Self::default();
        let mut wrong = None;
        for (number, (socket, kind)) in (3..).zip(sockets.into_iter().zip(kinds)) {
            match listener(socket.1.into_std()) {
                Ok(socket) if kind == Kind::Implicit => passed.implicit.push(socket),
                Ok(socket) => passed.plaintext.push(socket),
                Err(why) => wrong = wrong.or(Some((number, why))),
            }
        }
        let Some((number, why)) = wrong else { return Ok(passed) };
        Err(Failure::usage(format!("LISTEN_FDS: descriptor {number}: {why}")))
    }
}

/// Use of a socket, by its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Control,
    Implicit,
}

/// Returns the use of each of `count` sockets. A socket without a name, or with the name `unknown`
/// (sd_listen_fds(3)), is for control connections.
fn kinds(count: &str, names: Option<&str>) -> Result<Vec<Kind>, String> {
    let number = count.parse::<u32>().ok().filter(|number| *number <= MOST);
    let number =
        number.ok_or_else(|| format!("invalid LISTEN_FDS \"{count}\": expected 0-{MOST}"))?;
    let number = number as usize;
    let Some(names) = names.filter(|names| !names.is_empty()) else {
        return Ok(vec![Kind::Control; number]);
    };
    let kind = |name: &str| match name {
        "control" | "unknown" | "" => Ok(Kind::Control),
        "implicit" => Ok(Kind::Implicit),
        other => Err(format!(
            "invalid LISTEN_FDNAMES \"{names}\": expected control or implicit, not \"{other}\"; set \
             FileDescriptorName= in the socket unit"
        )),
    };
    let kinds: Vec<Kind> = names.split(':').map(kind).collect::<Result<_, _>>()?;
    match kinds.len() == number {
        true => Ok(kinds),
        false => Err(format!(
            "invalid LISTEN_FDNAMES \"{names}\": expected one name per socket (sockets: {number})"
        )),
    }
}

/// Returns the socket if it listens, and marks it close-on-exec.
fn listener(socket: OwnedFd) -> Result<TcpListener, String> {
    let expected = "expected a listening TCP socket";
    if let Err(error) = fcntl_setfd(socket.as_fd(), FdFlags::CLOEXEC) {
        // The descriptor is not open, so it must not be closed: its number may soon belong to
        // another file.
        let _ = socket.into_raw_fd();
        return Err(format!("{expected}: {error}"));
    }
    let known = SockRef::from(&socket);
    let is_internet = known.domain().is_ok_and(|it| it == Domain::IPV4 || it == Domain::IPV6);
    let is_stream = known.r#type().is_ok_and(|it| it == Type::STREAM);
    if is_internet && is_stream && known.is_listener().unwrap_or(false) {
        return Ok(socket.into());
    }
    Err(format!("{expected}; set ListenStream= and Accept=no in the socket unit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_names_select_the_kind_of_socket() {
        use Kind::{Control, Implicit};
        for (count, names, want) in [
            ("0", None, Ok(&[][..])),
            ("2", None, Ok(&[Control, Control])),
            ("1", Some(""), Ok(&[Control])),
            ("1", Some("unknown"), Ok(&[Control])),
            ("2", Some("implicit:control"), Ok(&[Implicit, Control])),
            ("2", Some("implicit:"), Ok(&[Implicit, Control])),
            ("1", Some("implicit:control"), Err("expected one name per socket (sockets: 1)")),
            ("1", Some("x.socket"), Err("not \"x.socket\"; set FileDescriptorName=")),
            ("x", None, Err("invalid LISTEN_FDS \"x\"")),
            ("-1", None, Err("invalid LISTEN_FDS \"-1\"")),
            ("4000000000", None, Err("expected 0-1000")),
        ] {
            match (kinds(count, names), want) {
                (Ok(found), Ok(want)) => assert_eq!(found, want, "{count} {names:?}"),
                (Err(found), Err(want)) => assert!(found.contains(want), "{found}"),
                (found, want) => panic!("{count} {names:?}: {found:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn only_listening_sockets_are_taken() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        for wrong in [OwnedFd::from(client), datagrams.into(), file.into()] {
            let why = listener(wrong).unwrap_err();
            assert!(why.starts_with("expected a listening TCP socket"), "{why}");
        }
        listener(server.into()).unwrap();
    }
}
