//! The protocol of a control socket: the client sends one request line, and the server sends one
//! answer and closes the connection. The first line of the answer consists of `done` or `refused`,
//! and the length of the text in bytes. The text follows: the output of the command, or the reason
//! for the refusal.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::IpAddr;

/// The longest request line in bytes.
const LONGEST: u64 = 4_096;

const DONE: &str = "done";
const REFUSED: &str = "refused";

/// A request to a running server.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ControlRequest {
    /// Lists the sessions.
    Who(ControlStyle),
    /// Lists the users, with what the server knows about them.
    Users(ControlStyle),
    /// Describes the server.
    Status(ControlStyle),
    /// Ends sessions now.
    Kick(SessionTarget),
    /// Accepts no more connections, and stops after the last session.
    Drain,
    /// Reloads as SIGHUP does, and reports the outcome.
    Reload,
    /// Lifts the ban on this host, or all bans.
    Unban(Option<IpAddr>),
}

/// The format of a result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ControlStyle {
    /// A table or lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The sessions to end.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SessionTarget {
    /// The session with this number.
    Number(u64),
    /// All sessions of a user.
    User(String),
    /// All sessions from a host.
    Address(IpAddr),
}

impl ControlRequest {
    /// Parses a request line without its line feed.
    ///
    /// # Errors
    ///
    /// Returns a message if the line is invalid.
    pub fn parse(line: &str) -> Result<Self, String> {
        let (verb, operand) = line.split_once(' ').unwrap_or((line, ""));
        match (verb, operand) {
            ("who", "") => Ok(Self::Who(ControlStyle::Text)),
            ("who", "json") => Ok(Self::Who(ControlStyle::Json)),
            ("users", "") => Ok(Self::Users(ControlStyle::Text)),
            ("users", "json") => Ok(Self::Users(ControlStyle::Json)),
            ("status", "") => Ok(Self::Status(ControlStyle::Text)),
            ("status", "json") => Ok(Self::Status(ControlStyle::Json)),
            ("kick", target) => SessionTarget::parse(target).map(Self::Kick),
            ("drain", "") => Ok(Self::Drain),
            ("reload", "") => Ok(Self::Reload),
            ("unban", "all") => Ok(Self::Unban(None)),
            ("unban", host) => match host.parse() {
                Ok(address) => Ok(Self::Unban(Some(address))),
                Err(_) => Err(format!("invalid address \"{host}\": expected an IP address or all")),
            },
            _ => Err(format!("unknown request \"{line}\"")),
        }
    }
}

/// The request line.
impl fmt::Display for ControlRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Who(style) => write!(f, "who{style}"),
            Self::Users(style) => write!(f, "users{style}"),
            Self::Status(style) => write!(f, "status{style}"),
            Self::Kick(target) => write!(f, "kick {target}"),
            Self::Drain => f.write_str("drain"),
            Self::Reload => f.write_str("reload"),
            Self::Unban(None) => f.write_str("unban all"),
            Self::Unban(Some(address)) => write!(f, "unban {address}"),
        }
    }
}

impl fmt::Display for ControlStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "",
            Self::Json => " json",
        })
    }
}

impl SessionTarget {
    /// Parses `ID`, `user=NAME` or `address=ADDRESS`.
    ///
    /// # Errors
    ///
    /// Returns a message with the expected form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("invalid session \"{text}\": expected ID, user=NAME or address=ADDRESS");
        match text.split_once('=') {
            Some(("user", name)) if !name.is_empty() && !name.contains('\n') => {
                Ok(Self::User(name.to_owned()))
            }
            Some(("address", address)) => address.parse().map(Self::Address).map_err(|_| wrong()),
            Some(_) => Err(wrong()),
            None => text.parse().map(Self::Number).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for SessionTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::User(name) => write!(f, "user={name}"),
            Self::Address(address) => write!(f, "address={address}"),
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ControlAnswer {
    /// The output of the command, or the reason for the refusal.
    pub outcome: Result<String, String>,
}

impl ControlAnswer {
    /// Returns the output of a command that succeeded.
    pub fn done(text: impl Into<String>) -> Self {
        Self { outcome: Ok(text.into()) }
    }

    /// Returns the reason for a refusal.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self { outcome: Err(reason.into()) }
    }

    /// Writes the answer.
    ///
    /// # Errors
    ///
    /// Returns the errors of `to`.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let (word, text) = match &self.outcome {
            Ok(text) => (DONE, text),
            Err(reason) => (REFUSED, reason),
        };
        to.write_all(format!("{word} {}\n{text}", text.len()).as_bytes())
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    ///
    /// Returns the errors of `from`, and `InvalidData` if the answer is incomplete or does not
    /// follow the protocol.
    pub fn read(mut from: impl Read) -> io::Result<Self> {
        let mut text = String::new();
        from.read_to_string(&mut text)?;
        let (head, text) = text.split_once('\n').unwrap_or_default();
        match head.split_once(' ') {
            Some((word, length)) if length.parse() == Ok(text.len()) => match word {
                DONE => return Ok(Self::done(text)),
                REFUSED => return Ok(Self::refused(text)),
                _ => {}
            },
            _ => {}
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "incomplete answer"))
    }
}

/// Reads a request line.
///
/// # Errors
///
/// Returns the errors of `from`, and `InvalidData` for a line that is too long, incomplete or not
/// UTF-8.
pub(super) fn read_request(from: impl Read) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(from.take(LONGEST)).read_line(&mut line)?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "no request line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_trip_and_malformed_ones_are_refused() {
        let address = "2001:db8::7".parse().unwrap();
        for request in [
            ControlRequest::Who(ControlStyle::Text),
            ControlRequest::Who(ControlStyle::Json),
            ControlRequest::Users(ControlStyle::Text),
            ControlRequest::Users(ControlStyle::Json),
            ControlRequest::Status(ControlStyle::Text),
            ControlRequest::Status(ControlStyle::Json),
            ControlRequest::Kick(SessionTarget::Number(7)),
            ControlRequest::Kick(SessionTarget::User("two words=x".to_owned())),
            ControlRequest::Kick(SessionTarget::Address(address)),
            ControlRequest::Drain,
            ControlRequest::Reload,
            ControlRequest::Unban(None),
            ControlRequest::Unban(Some(address)),
        ] {
            let line = format!("{request}\n");
            assert_eq!(ControlRequest::parse(&read_request(line.as_bytes()).unwrap()), Ok(request));
        }
        for line in ["", "who all", "kick", "kick user=", "kick x=y", "kick -1", "unban", "stop"] {
            assert!(ControlRequest::parse(line).is_err(), "{line}");
        }
        let long = "x".repeat(5_000) + "\n";
        assert!(read_request(long.as_bytes()).is_err());
        assert!(read_request(&b"who"[..]).is_err());
    }

    #[test]
    fn answers_round_trip_and_malformed_ones_are_refused() {
        for answer in [
            ControlAnswer::done(""),
            ControlAnswer::done("a\nb\n"),
            ControlAnswer::refused("no such session"),
        ] {
            let mut bytes = Vec::new();
            answer.write(&mut bytes).unwrap();
            assert_eq!(ControlAnswer::read(bytes.as_slice()).unwrap(), answer);
        }
        for bytes in [&b""[..], b"done", b"done 4\nwho", b"220 hello\r\n"] {
            assert!(ControlAnswer::read(bytes).is_err());
        }
    }
}
