//! Copies between servers under TLS. Both servers wait for a client to begin the handshake (RFC
//! 4217 §7), unless a command makes one of them begin it.

use ftp_proto::{Command, Severity, Verb};

use crate::client::Client;
use crate::control::secure::Secured;
use crate::error::Error;
use crate::trace;

/// Which server begins the TLS handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Handshake {
    /// Neither: the data is unencrypted.
    None,
    /// The connecting server (`SSCN ON`).
    Active,
    /// The listening server, which gets `CPSV` in place of `PASV`.
    Passive,
}

/// Makes one of the two servers begin the handshake, if both protect their data connections. Fails
/// if only one server protects them, or if neither can begin the handshake.
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
                "a copy between a server with protected data connections and one without; \
                 use unencrypted data (PROT C) on both",
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
        "a protected copy if the connecting server lacks SSCN and the listening one lacks CPSV; \
         use unencrypted data (PROT C)",
    ))
}

/// Returns whether a copy between the two servers uses TLS.
pub(super) fn is_protected(one: &Client, other: &Client) -> bool {
    is_private(one) && is_private(other)
}

fn is_private(client: &Client) -> bool {
    client.secured.as_ref().is_some_and(Secured::is_data_private)
}

impl Client {
    /// Sets with `SSCN` whether the server begins the handshakes of its data connections, unless
    /// the setting is already in force. Returns `false` if the server refuses to begin them.
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
            // Otherwise the server would act as the TLS client on the next data connection.
            _ if !on => return Err(Error::Refused(Verb::Sscn, reply)),
            _ => trace::note(format_args!("SSCN does not work")),
        }
        Ok(is_done)
    }
}
