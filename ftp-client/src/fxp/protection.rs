//! Copies between servers whose data connections are under TLS: both wait for a client to begin
//! the handshake, as RFC 4217 §7 has them do, unless one of them can be told to begin it.

use ftp_proto::{Command, Severity, Verb};

use crate::client::Client;
use crate::control::secure::Secured;
use crate::error::Error;
use crate::trace;

/// Who begins the handshake between the two servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Handshake {
    /// There is none: the data goes in clear.
    None,
    /// The one that connects (`SSCN ON`).
    Active,
    /// The one that listens, which is asked to by `CPSV` in place of `PASV`.
    Passive,
}

/// Has one of the two begin the handshake, where the data connections of both are protected
///. The one that is to listen may do without, if it can be asked to listen by `CPSV`.
pub(super) fn agree(passive: &mut Client, active: &mut Client) -> Result<Handshake, Error> {
    match (is_private(passive), is_private(active)) {
        (false, false) => {
            for client in [passive, active] {
                client.begin_handshakes(false)?;
            }
            return Ok(Handshake::None);
        }
        (true, true) => {}
        _ => {
            return Err(Error::Unsupported(
                "a copy between a server whose data connections TLS protects and one where it \
                 does not; set both to leave data in clear (PROT C)",
            ));
        }
    }
    passive.begin_handshakes(false)?;
    if active.begin_handshakes(true)? {
        return Ok(Handshake::Active);
    }
    if passive.features()?.has("CPSV") {
        return Ok(Handshake::Passive);
    }
    Err(Error::Unsupported(
        "a protected copy between servers neither of which begins the handshake of TLS (SSCN at \
         the one that connects, CPSV at the one that listens); leave data in clear (PROT C)",
    ))
}

/// Whether a copy between the two goes under TLS.
pub(super) fn is_protected(one: &Client, other: &Client) -> bool {
    is_private(one) && is_private(other)
}

fn is_private(client: &Client) -> bool {
    client.secured.as_ref().is_some_and(Secured::is_data_private)
}

impl Client {
    /// Tells the server whether it begins the handshakes of its data connections (`SSCN`), if that
    /// is not in force. False if it does not know how.
    pub(crate) fn begin_handshakes(&mut self, on: bool) -> Result<bool, Error> {
        let in_force = self.secured.as_ref().is_some_and(|secured| secured.server_begins);
        if in_force == on {
            return Ok(true);
        }
        let argument: &[u8] = if on { b"ON" } else { b"OFF" };
        let reply = self.control.request(&Command::Known(Verb::Sscn, argument.to_vec()))?;
        let is_done = reply.code().severity() == Severity::Completion;
        match &mut self.secured {
            Some(secured) if is_done => secured.server_begins = on,
            // It would meet the next data connection as a client does.
            _ if !on => return Err(Error::Refused(Verb::Sscn, reply)),
            _ => trace::note(format_args!("SSCN does not work here")),
        }
        Ok(is_done)
    }
}
