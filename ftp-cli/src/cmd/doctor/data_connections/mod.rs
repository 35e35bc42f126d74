//! Tries each method of data connections over a separate control connection, so that no method
//! disturbs the next.

mod judge;
pub(super) mod ports;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use ftp_client::{Client, Error, ListOptions, ListingForm, Phase, RawCommand, TlsError, Verb};
use ftp_proto::Reply;

use self::judge::MethodsSeen;
use super::addresses;
use super::diagnosis::Diagnosis;
use super::dial::{DataMethod, Dial, refused_again, say};
use super::finding::Finding;
use super::probes::side_by_side;
use crate::connect::dialler;
use crate::exit::Failure;

/// Number of listing lines that prove that data flows.
const ENOUGH: usize = 1_000;

/// Outcome of trying one method.
#[derive(Clone, Debug)]
pub(in crate::cmd::doctor) enum MethodOutcome {
    /// Data arrived.
    Works,
    /// The server refused the command.
    Refused(Reply),
    /// The command got no reply.
    Unanswered,
    /// The connection was rejected if `closed`; otherwise it timed out or failed.
    Unreachable { closed: bool, at: Option<SocketAddr> },
    /// The server gave up on the connection (425, 426).
    GaveUp(Reply),
    /// The method cannot be tried, for this reason.
    NotTried(String),
    /// The control connection broke, for this reason.
    Broken(String),
    /// A problem that the other methods do not explain.
    Failed(Diagnosis, String),
}

/// Tries all methods in parallel.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, and `Local` or `Usage` for a failure on this computer.
pub(super) fn run(dial: &Dial<'_>) -> Result<(), Failure> {
    let peer = dial.login_seen().and_then(|login| login.addresses).map(|(_, peer)| peer);
    let ways = DataMethod::ALL.map(|way| (way.command(), way));
    let mut outcomes = side_by_side(ways, |way| attempt(dial, way, peer))?.into_iter();
    let mut next = || outcomes.next().expect("one outcome for each method");
    let outcomes = [next()?, next()?, next()?, next()?];
    dial.seen.methods.get_or_init(|| outcomes);
    Ok(())
}

/// Judges the methods and the passive ports.
pub(super) fn judge(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    Ok(judged(dial).0)
}

/// Returns the best method, if one works.
pub(super) fn best(dial: &Dial<'_>) -> Option<DataMethod> {
    judged(dial).1
}

fn judged(dial: &Dial<'_>) -> (Vec<Finding>, Option<DataMethod>) {
    let Some(outcomes) = dial.seen.methods.get().cloned() else { return (Vec::new(), None) };
    let addresses = dial.login_seen().and_then(|login| login.addresses);
    let Some(((local, peer), first)) = addresses.zip(dial.seen.first.get().cloned()) else {
        return judge::through_proxy(outcomes);
    };
    let wanted = dialler::mode(dial.asked.options);
    judge::judge(&MethodsSeen { local, peer, first, outcomes, wanted })
}

/// Tries one method.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, and `Local` or `Usage` for a failure on this computer.
fn attempt(
    dial: &Dial<'_>,
    way: DataMethod,
    peer: Option<SocketAddr>,
) -> Result<MethodOutcome, Failure> {
    if dial.proxy().is_some() && way.is_active() {
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
            return Ok(MethodOutcome::Failed(diagnosis, why));
        }
    };
    let client = &mut inside.it;
    match listing(client) {
        Ok(is_whole) => {
            dial.seen.listed.store(true, Ordering::Relaxed);
            if is_whole {
                inside.quit();
            }
            Ok(MethodOutcome::Works)
        }
        // The listing arrived, but may be truncated.
        Err(Error::Tls(TlsError::TruncatedTls)) => {
            dial.seen.listed.store(true, Ordering::Relaxed);
            dial.seen.truncated.store(true, Ordering::Relaxed);
            Ok(MethodOutcome::Works)
        }
        Err(Error::ListingCut(_)) => {
            dial.seen.listed.store(true, Ordering::Relaxed);
            Ok(MethodOutcome::Works)
        }
        Err(error @ Error::Cancelled) => Err(error.into()),
        Err(error) => Ok(match outcome(way, error) {
            MethodOutcome::Unanswered => {
                drop(inside);
                match is_command_answered(dial, way)? {
                    true => unfinished("LIST gets no reply"),
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

/// Returns the outcome of a transfer that did not start or did not end; the text names the missing
/// reply.
fn unfinished(why: &str) -> MethodOutcome {
    MethodOutcome::Failed(Diagnosis::FinalReplyNever, why.to_owned())
}

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
pub(super) fn listing(client: &mut Client) -> Result<bool, Error> {
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
    let (_, at) = dial.data_address(way, &reply, peer)?;
    let outcome = match addresses::connect(at, dial.asked.bind, dial.timeouts().data_connect) {
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
        Error::Refused(Verb::Epsv | Verb::Pasv | Verb::Eprt | Verb::Port, reply) => {
            MethodOutcome::Refused(reply)
        }
        // A 522 reply to a listing concerns TLS (RFC 4217 §10.2).
        Error::Refused(_, reply) if reply.code().value() == 522 => {
            MethodOutcome::Failed(Diagnosis::DataTls, reply.to_string())
        }
        error @ (Error::Tls(_) | Error::Timeout(Phase::Handshake)) => {
            MethodOutcome::Failed(Diagnosis::DataTls, error.to_string())
        }
        Error::Refused(_, reply) if matches!(reply.code().value(), 425 | 426) => {
            MethodOutcome::GaveUp(reply)
        }
        Error::Refused(_, reply) => {
            MethodOutcome::NotTried(format!("the listing was refused: {reply}"))
        }
        error @ Error::Timeout(Phase::Overall) => MethodOutcome::NotTried(error.to_string()),
        Error::Timeout(Phase::DataConnect) => MethodOutcome::Unreachable { closed: false, at },
        Error::Timeout(Phase::Stall) => {
            let why = "the data connection opens, but the listing stalls";
            MethodOutcome::Failed(Diagnosis::BigPacketsLost, why.to_owned())
        }
        Error::Timeout(Phase::FinalReply) => {
            unfinished("the listing arrived, but the server's final reply did not")
        }
        // The server does not answer before its connection to the client is open.
        Error::Timeout(_) if way.is_active() => MethodOutcome::Unreachable { closed: false, at },
        Error::Timeout(_) => MethodOutcome::Unanswered,
        Error::Io(error) => unreachable(&error, at),
        Error::Proxy(error) => {
            let why = format!("the proxy says: {}", error.fault);
            MethodOutcome::Failed(Diagnosis::ProxyBlocksData, why)
        }
        Error::Unsupported(why) => MethodOutcome::NotTried(why.to_owned()),
        // No firewall broke the connection.
        error @ Error::ServiceClosing(_) => {
            MethodOutcome::Failed(Diagnosis::ConnectionLost, error.to_string())
        }
        error => MethodOutcome::Broken(error.to_string()),
    }
}
