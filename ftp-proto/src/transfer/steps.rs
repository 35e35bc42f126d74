//! The steps of the dialogue before a transfer, and the meaning of replies in it.

use super::passive::PassiveAddress;
use crate::address::NetworkProtocol;
use crate::command::Command;
use crate::error::ParseError;
use crate::verb::Verb;

/// The client's next step in the dialogue before a transfer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SetupStep {
    /// Send this command, and pass its final reply to [`reply`](crate::TransferSetup::reply).
    Send(Command),
    /// Send these commands in one write, and call
    /// [`sent_together`](crate::TransferSetup::sent_together).
    SendTogether(Vec<Command>),
    /// Wait for the final reply to this command, which was sent together with others, and pass it
    /// to [`reply`](crate::TransferSetup::reply).
    Await(Command),
    /// Listen for the server, and call [`listening`](crate::TransferSetup::listening). This
    /// command, `EPRT` or `PORT`, announces the address.
    Listen(Verb),
    /// Begin to connect to the server, and call [`connecting`](crate::TransferSetup::connecting).
    /// If you cannot begin, call [`data_failed`](crate::TransferSetup::data_failed) instead.
    Connect(PassiveAddress),
    /// Use the data connection of the last transfer, and call
    /// [`reusing`](crate::TransferSetup::reusing). If the connection has been closed, set
    /// [`ServerState::is_data_open`](crate::ServerState::is_data_open) to false instead.
    Reuse,
    /// Send the command of the transfer, and call [`sent`](crate::TransferSetup::sent).
    Transfer(Command),
    /// Wait for the replies to the command and for the data connection: see
    /// [`TransferStart`](crate::TransferStart).
    Start,
    /// Abort the transfer, and call [`again`](crate::TransferSetup::again): a command that was sent
    /// together with the transfer's command failed, or the data connection did. See
    /// [`TransferAbort`](crate::TransferAbort).
    Abort,
    /// Give up: the rules leave only this command, `PASV` or `PORT`, but the address is IPv6.
    NoWay(Verb),
}

/// The meaning of a reply in the dialogue before a transfer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SetupEvent {
    /// The dialogue continues.
    Continued,
    /// The server listens at this address.
    Found(PassiveAddress),
    /// `EPSV` failed. From now on, it is sent with this protocol as its argument.
    NamesProtocol(NetworkProtocol, SetupFault),
    /// `EPSV` or `EPRT` failed. From now on, this command, `PASV` or `PORT`, is sent instead.
    FallsBack(Verb, SetupFault),
}

/// Why the dialogue before a transfer failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupFault {
    /// The server refused the command.
    #[error("the server refused the command")]
    Refused,
    /// A 2xx reply to `EPSV` or `PASV` contains no valid port.
    #[error(transparent)]
    Unreadable(ParseError),
    /// A 229 names a protocol other than that of the control connection.
    #[error("the 229 reply names a protocol other than the control connection's")]
    OtherProtocol,
    /// No command waits for a reply now.
    #[error("a reply that no command waits for")]
    OutOfStep,
}
