//! Copies between servers under TLS. Both servers wait for a client to begin the handshake (RFC
//! 4217 §7), unless a command makes one of them begin it.

use crate::client::Client;
use crate::control::secure::Secured;
use crate::error::Error;

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
