//! Tries each method of data connections over a separate control connection, so that no method
//! disturbs the next.

mod judge;
pub(crate) mod ports;
mod seen;

pub(super) use judge::{Best, judge, through_proxy};

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;

use ftp_client::{
    Client, ClientBuilder, Error, ListOptions, ListingForm, Phase, RawCommand, TlsError,
};
use ftp_proto::{ExtendedAddress, HostPort, Reply};

use self::seen::MethodOutcome;
pub(super) use self::seen::MethodsSeen;
use super::addresses;
use super::data_method::DataMethod;
use super::diagnosis::Diagnosis;
use super::dial::{Dial, refused_again, say};
use crate::exit::Failure;

/// Number of listing lines that prove that data flows.
const ENOUGH: usize = 1_000;

/// Returns the client address that the server reports, if it differs from the local one.
pub(super) fn seen_as(client: &mut Client, local: SocketAddr, peer: SocketAddr) -> Option<IpAddr> {
    address_of_ours(&say(client, "STAT")?, local.ip(), peer.ip())
}

/// Returns the reply to EPRT with a protocol number that does not exist.
pub(super) fn no_such_family(client: &mut Client, local: SocketAddr) -> Option<Reply> {
    say(client, &format!("EPRT |9|{}|9|", local.ip().to_canonical()))
}

/// Returns the client address that a server names after "connected" in its STAT reply.
fn address_of_ours(stat: &Reply, local: IpAddr, peer: IpAddr) -> Option<IpAddr> {
    let mut lines = stat.lines().map(|line| String::from_utf8_lossy(line).into_owned());
    let line = lines.find(|line| line.to_ascii_lowercase().contains("connected"))?;
    let words = line.split(|char: char| !(char.is_ascii_hexdigit() || ".:".contains(char)));
    let mut found = words.filter_map(|word| {
        let word = word.trim_matches('.');
        word.parse::<IpAddr>().or_else(|_| word.parse::<SocketAddr>().map(|at| at.ip())).ok()
    });
    let known = [local.to_canonical(), peer.to_canonical()];
    let found = found.next()?.to_canonical();
    (!known.contains(&found) && found.is_ipv4() == known.iter().all(IpAddr::is_ipv4))
        .then_some(found)
}

/// Tries a listing over a data connection that resumes no TLS session. Returns the reason if the
/// listing fails, otherwise `None`. The inner error means that the login failed or that the data
/// connection never opened.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, and `Timeout` if the time for the whole examination is
/// over.
pub(super) fn without_resuming(
    dial: &Dial<'_>,
    way: DataMethod,
) -> Result<Result<Option<String>, Error>, Failure> {
    let Some(tls) = &dial.tls else { return Ok(Ok(None)) };
    let change = |builder: ClientBuilder| builder.tls(tls.clone().resume_sessions(false));
    let mut inside = match dial.client_by(way, change) {
        Ok(inside) => inside,
        Err(error) => return Ok(Err(error)),
    };
    match listing(&mut inside.it) {
        Ok(_) | Err(Error::Tls(TlsError::TruncatedTls)) => {
            inside.quit();
            Ok(Ok(None))
        }
        Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => Err(error.into()),
        Err(error) if is_unreached(&error) => Ok(Err(error)),
        Err(error) => Ok(Ok(Some(error.to_string()))),
    }
}

/// Returns whether a data connection timed out before it opened, which has nothing to do with TLS.
pub(super) fn is_unreached(error: &Error) -> bool {
    let is_late = |error: &Error| matches!(error, Error::Timeout(Phase::DataConnect));
    matches!(error, Error::DataConnection(attempts)
        if attempts.iter().any(|attempt| is_late(&attempt.error)))
}

/// Tries one method.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, and `Local` or `Usage` for a failure on this computer.
pub(super) fn attempt(
    dial: &Dial<'_>,
    way: DataMethod,
    peer: Option<SocketAddr>,
) -> Result<MethodOutcome, Failure> {
    if dial.proxy.is_some() && way.is_active() {
        return Ok(MethodOutcome::NotTried("active mode does not work through a proxy".to_owned()));
    }
    let is_ipv6 = peer.is_some_and(|peer| peer.ip().to_canonical().is_ipv6());
    if matches!(way, DataMethod::Pasv | DataMethod::Port) && is_ipv6 {
        return Ok(MethodOutcome::NotTried(
            "the command supports only IPv4, but the control connection uses IPv6".to_owned(),
        ));
    }
    let mut inside = match dial.client(way) {
        Ok(inside) => inside,
        Err(error @ Error::Timeout(Phase::Overall)) => {
            return Ok(MethodOutcome::NotTried(error.to_string()));
        }
        Err(error) => {
            let (diagnosis, why) = refused_again(&error)?;
            return Ok(MethodOutcome::NotAgain(diagnosis, why));
        }
    };
    let client = &mut inside.it;
    match listing(client) {
        Ok(is_whole) => {
            dial.listed.store(true, Ordering::Relaxed);
            if is_whole {
                inside.quit();
            }
            Ok(MethodOutcome::Works)
        }
        // The listing arrived, but may be truncated.
        Err(Error::Tls(TlsError::TruncatedTls)) => {
            dial.listed.store(true, Ordering::Relaxed);
            dial.truncated.store(true, Ordering::Relaxed);
            Ok(MethodOutcome::Works)
        }
        Err(Error::ListingCut(_)) => {
            dial.listed.store(true, Ordering::Relaxed);
            Ok(MethodOutcome::Works)
        }
        Err(error @ Error::Cancelled) => Err(error.into()),
        Err(error) => Ok(match outcome(way, error) {
            MethodOutcome::Unfinished(NO_REPLY) if !way.is_active() => {
                drop(inside);
                match is_command_answered(dial, way)? {
                    true => MethodOutcome::Unfinished(NO_REPLY),
                    false => MethodOutcome::Unanswered,
                }
            }
            // A user who may not list files may still transfer them.
            MethodOutcome::NotTried(why) if !way.is_active() => {
                let connected = peer.and_then(|peer| connects(dial, client, way, peer));
                connected.unwrap_or(MethodOutcome::NotTried(why))
            }
            outcome => outcome,
        }),
    }
}

/// Text for a listing whose commands got no reply.
const NO_REPLY: &str = "LIST gets no reply";

/// Sends the command of a passive method over a new control connection, to tell an unanswered
/// command from an unanswered listing. This is not done before the listing: some servers do not
/// answer such a command if the port of the one before was not used.
///
/// # Errors
///
/// Returns `Interrupted` after a signal.
fn is_command_answered(dial: &Dial<'_>, way: DataMethod) -> Result<bool, Failure> {
    let command = RawCommand::new(way.command()).map_err(Error::Argument)?;
    let asked = dial.client(way).and_then(|mut inside| inside.it.quote(&command));
    match asked {
        Err(error @ Error::Cancelled) => Err(error.into()),
        Err(Error::Timeout(Phase::Reply(_))) => Ok(false),
        _ => Ok(true),
    }
}

/// Reads a listing. Returns `false` if it has more than `ENOUGH` lines; the rest is not read.
fn listing(client: &mut Client) -> Result<bool, Error> {
    let lines = client.list_lines("", ListOptions::by(ListingForm::List))?;
    for (count, line) in lines.enumerate() {
        line?;
        if count >= ENOUGH {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Connects to the port that the server names, and closes the connection.
fn connects(
    dial: &Dial<'_>,
    client: &mut Client,
    way: DataMethod,
    peer: SocketAddr,
) -> Option<MethodOutcome> {
    let reply = say(client, way.command())?;
    let at = match way {
        DataMethod::Epsv => {
            dial.data_address(None, ExtendedAddress::find_port(reply.text()).ok()?, peer)
        }
        _ => {
            let found = HostPort::find(reply.text()).ok()?;
            dial.data_address(Some(found.host.into()), found.port, peer)
        }
    };
    let outcome = match addresses::connect(at, dial.bind, dial.timeouts().data_connect) {
        Ok(_) => MethodOutcome::Works,
        Err(error) => unreachable(&error, Some(at)),
    };
    say(client, "ABOR");
    Some(outcome)
}

fn unreachable(error: &std::io::Error, at: Option<SocketAddr>) -> MethodOutcome {
    let closed = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset);
    MethodOutcome::Unreachable { closed, at }
}

fn outcome(way: DataMethod, error: Error) -> MethodOutcome {
    let (error, at) = match error {
        Error::DataConnection(mut attempts) => match attempts.pop() {
            Some(last) => (last.error, last.address),
            None => (Error::DataConnection(attempts), None),
        },
        error => (error, None),
    };
    match error {
        Error::Refused(verb, reply) if is_way(verb) => MethodOutcome::Refused(reply),
        // A 522 reply to a listing concerns TLS (RFC 4217 §10.2).
        Error::Refused(_, reply) if reply.code().value() == 522 => {
            MethodOutcome::Insecure(reply.to_string())
        }
        Error::Tls(error) => MethodOutcome::Insecure(error.to_string()),
        Error::Timeout(phase @ Phase::Handshake) => {
            MethodOutcome::Insecure(Error::Timeout(phase).to_string())
        }
        Error::Refused(_, reply) if matches!(reply.code().value(), 425 | 426) => {
            MethodOutcome::GaveUp(reply)
        }
        Error::Refused(_, reply) => {
            MethodOutcome::NotTried(format!("the listing was refused: {reply}"))
        }
        error @ Error::Timeout(Phase::Overall) => MethodOutcome::NotTried(error.to_string()),
        Error::Timeout(Phase::DataConnect) => MethodOutcome::Unreachable { closed: false, at },
        Error::Timeout(Phase::Stall) => MethodOutcome::Stalled,
        Error::Timeout(Phase::FinalReply) => {
            MethodOutcome::Unfinished("the listing arrived, but the server's final reply did not")
        }
        // The server does not answer before its connection to the client is open.
        Error::Timeout(_) if way.is_active() => MethodOutcome::Unreachable { closed: false, at },
        Error::Timeout(_) => MethodOutcome::Unfinished(NO_REPLY),
        Error::Io(error) => unreachable(&error, at),
        Error::Proxy(error) => MethodOutcome::Proxy(error.fault.to_string()),
        Error::Unsupported(why) => MethodOutcome::NotTried(why.to_owned()),
        // No firewall broke the connection.
        error @ Error::ServiceClosing(_) => {
            MethodOutcome::NotAgain(Diagnosis::ConnectionLost, error.to_string())
        }
        error => MethodOutcome::Broken(error.to_string()),
    }
}

const fn is_way(verb: ftp_client::Verb) -> bool {
    use ftp_client::Verb;
    matches!(verb, Verb::Epsv | Verb::Pasv | Verb::Eprt | Verb::Port)
}

#[cfg(test)]
mod tests {
    use ftp_proto::ReplyCode;

    use super::*;

    #[test]
    fn the_client_address_is_read_from_the_stat_reply() {
        let local = IpAddr::from([192, 168, 1, 2]);
        let peer = IpAddr::from([203, 0, 113, 9]);
        for (text, want) in [
            ("     Connected to 203.0.113.1", Some("203.0.113.1")),
            ("     Connected to ::ffff:203.0.113.1", Some("203.0.113.1")),
            (" Connected from 203.0.113.1", Some("203.0.113.1")),
            ("Connected from gw.example.org (203.0.113.1)", Some("203.0.113.1")),
            ("Connected from 203.0.113.1:40000.", Some("203.0.113.1")),
            ("Connected from 192.168.1.2", None),
            ("Connected to 203.0.113.9", None),
            ("Connected from 2001:db8::1", None),
            ("Version 1.2.3.4", None),
            ("Connected", None),
        ] {
            let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Status:", [text], "End");
            let found = address_of_ours(&reply, local, peer);
            assert_eq!(found, want.map(|want| want.parse().unwrap()), "{text}");
        }
    }
}
