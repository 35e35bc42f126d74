//! Tries each method of data connections over a separate control connection, so that no method
//! disturbs the next. Then judges the outcomes of all methods together.

use std::fmt::Display;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use ftp_client::error::{Phase, TlsError};
use ftp_client::listing::{ListOptions, ListingForm};
use ftp_client::{Client, Error, FirstLook, Mode, Verb};
use ftp_proto::{AddressClass, AddressRule, HostReason, Reply, ReplyCode, Severity};

use super::dial::{Dial, ask, passive_port, side_by_side};
use super::finding::{Check, Diagnosis, Finding, Grade, of_connection};
use super::ports;
use super::seen::{DataMethod, FirstConnectionSeen, MethodOutcome};
use crate::connect::dialler;
use crate::exit::Result;

/// Number of listing lines that prove that data flows.
const ENOUGH: usize = 1_000;

/// Tries all methods in parallel.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, and `Local` or `Usage` for a failure on this computer.
pub(super) fn run(dial: &Dial<'_>, _: &mut Vec<Finding>) -> Result {
    let peer = dial.login_seen().and_then(|login| login.addresses).map(|(_, peer)| peer);
    let ways = DataMethod::ALL.map(|way| (way.check().0, way));
    let mut outcomes = side_by_side(ways, |way| attempt(dial, way, peer))?.into_iter();
    let mut next = || outcomes.next().expect("one outcome for each method");
    let outcomes = [next()?, next()?, next()?, next()?];
    dial.seen.methods.get_or_init(|| outcomes);
    Ok(())
}

/// Judges the methods and the passive ports. Also returns the best method, if one works.
pub(super) fn judge(dial: &Dial<'_>) -> (Vec<Finding>, Option<DataMethod>) {
    let Some(outcomes) = dial.seen.methods.get().cloned() else { return (Vec::new(), None) };
    // With a proxy, no address is known, and active mode does not work.
    let unknown = SocketAddr::from(([0; 4], 0));
    let addresses = dial.login_seen().and_then(|login| login.addresses);
    let (local, peer) = addresses.unwrap_or((unknown, unknown));
    let first = dial.seen.first.get().cloned().unwrap_or_default();
    let wanted = match dial.proxy() {
        Some(_) => Mode::Passive,
        None => dialler::mode(dial.asked.options),
    };
    findings(&MethodsSeen { local, peer, first, outcomes, wanted })
}

/// Tries one method.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, and `Local` or `Usage` for a failure on this computer.
fn attempt(dial: &Dial<'_>, way: DataMethod, peer: Option<SocketAddr>) -> Result<MethodOutcome> {
    if dial.proxy().is_some() && way.is_active() {
        return Ok(MethodOutcome::NotTried("active mode does not work through a proxy".to_owned()));
    }
    if dial.is_ipv6() && matches!(way, DataMethod::Pasv | DataMethod::Port) {
        return Ok(MethodOutcome::NotTried(ONLY_IPV4.to_owned()));
    }
    let mut inside = match dial.client(way) {
        Ok(inside) => inside,
        Err(error @ Error::Timeout(Phase::Overall)) => {
            return Ok(MethodOutcome::NotTried(error.to_string()));
        }
        Err(error) => {
            let (diagnosis, why) = of_connection(&error, true)?;
            return Ok(MethodOutcome::Failed(diagnosis, why));
        }
    };
    let client = &mut inside.it;
    let listed = listing(client, "");
    let is_cut = matches!(listed, Err(Error::Tls(TlsError::TruncatedTls)));
    match listed {
        // The listing arrived, but may be truncated.
        Ok(_) | Err(Error::Tls(TlsError::TruncatedTls) | Error::ListingCut(_)) => {
            dial.seen.listed.store(true, Ordering::Relaxed);
            dial.seen.truncated.fetch_or(is_cut, Ordering::Relaxed);
            if let Ok(true) = listed {
                inside.quit();
            }
            Ok(MethodOutcome::Works)
        }
        Err(error @ Error::Cancelled) => Err(error.into()),
        Err(error) => Ok(match outcome(way, error) {
            MethodOutcome::Unanswered => {
                drop(inside);
                // Not done before the listing: some servers do not answer such a command if the port
                // of the one before was not used.
                match dial.client(way).and_then(|mut inside| ask(&mut inside.it, &way.command())) {
                    Err(error @ Error::Cancelled) => return Err(error.into()),
                    Err(Error::Timeout(Phase::Reply(_))) => MethodOutcome::Unanswered,
                    _ => unfinished("LIST gets no reply"),
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
    MethodOutcome::Failed(Diagnosis("final-reply-never"), why.to_owned())
}

/// Why a method is not tried.
const ONLY_IPV4: &str = "the command supports only IPv4; use -4 to try it";

/// Reads a listing. Returns `false` if it has more than `ENOUGH` lines; the rest is not read.
pub(super) fn listing(client: &mut Client, path: &str) -> Result<bool, Error> {
    let lines = client.list_lines(path, ListOptions::by(ListingForm::List))?;
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
    let (_, at) = passive_port(client, way, peer)?;
    let outcome = match FirstLook::connect(at, dial.asked.bind, dial.timeouts().data_connect) {
        Ok(_) => MethodOutcome::Works,
        Err(error) => unreachable(&error, Some(at)),
    };
    let _ = ask(client, "ABOR");
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
        Error::Refused {
            verb: Verb::Epsv | Verb::Pasv | Verb::Eprt | Verb::Port, reply, ..
        } => MethodOutcome::Refused(reply),
        // A 522 reply to a listing concerns TLS (RFC 4217 §10.2).
        Error::Refused { reply, .. } if reply.code().value() == 522 => {
            MethodOutcome::Failed(Diagnosis("data-tls"), reply.to_string())
        }
        error @ (Error::Tls(_) | Error::Timeout(Phase::Handshake)) => {
            MethodOutcome::Failed(Diagnosis("data-tls"), error.to_string())
        }
        Error::Refused { reply, .. } if matches!(reply.code().value(), 425 | 426) => {
            MethodOutcome::GaveUp(reply)
        }
        Error::Refused { reply, .. } => {
            MethodOutcome::NotTried(format!("the listing was refused: {reply}"))
        }
        error @ Error::Timeout(Phase::Overall) => MethodOutcome::NotTried(error.to_string()),
        Error::Timeout(Phase::DataConnect) => MethodOutcome::Unreachable { closed: false, at },
        Error::Timeout(Phase::Stall) => {
            let why = "the data connection opens, but the listing stalls";
            MethodOutcome::Failed(Diagnosis("big-packets-lost"), why.to_owned())
        }
        Error::Timeout(Phase::FinalReply) => {
            unfinished("the listing arrived, but the server's final reply did not")
        }
        // The server does not answer before its connection to the client is open.
        Error::Timeout(_) if way.is_active() => MethodOutcome::Unreachable { closed: false, at },
        Error::Timeout(_) => MethodOutcome::Unanswered,
        Error::Io(error) => unreachable(&error, at),
        Error::Proxy { fault, .. } => {
            let why = format!("the proxy says: {fault}");
            MethodOutcome::Failed(Diagnosis("proxy-blocks-data"), why)
        }
        Error::Unsupported(why) => MethodOutcome::NotTried(why.to_string()),
        // No firewall broke the connection.
        error @ Error::ServiceClosing(_) => {
            MethodOutcome::Failed(Diagnosis("connection-lost"), error.to_string())
        }
        error => MethodOutcome::Broken(error.to_string()),
    }
}

#[derive(Debug)]
struct MethodsSeen {
    local: SocketAddr,
    peer: SocketAddr,
    first: FirstConnectionSeen,
    /// Outcomes in the order of [`DataMethod::ALL`](DataMethod::ALL).
    outcomes: [MethodOutcome; 4],
    /// Mode that the options ask for.
    wanted: Mode,
}

/// Judges all methods. Returns the findings, and the best method if one works.
fn findings(seen: &MethodsSeen) -> (Vec<Finding>, Option<DataMethod>) {
    let [epsv, pasv, eprt, port] = &seen.outcomes;
    let tried = |way, this, other| Tried { seen, way, this, other };
    let mut findings = vec![passive(tried(DataMethod::Epsv, epsv, pasv))];
    findings.extend(announced(seen));
    findings.push(passive(tried(DataMethod::Pasv, pasv, epsv)));
    findings.extend(ports::judge(&seen.first.ports, seen.wanted));
    findings.push(active(tried(DataMethod::Eprt, eprt, port)));
    findings.push(active(tried(DataMethod::Port, port, eprt)));
    // If only some ports fail, one unreachable port does not mean that its command fails.
    let is_partly = seen.first.ports.is_partly();
    let mut works = DataMethod::ALL.into_iter().zip(&seen.outcomes).filter(|(way, outcome)| {
        let by_chance = is_partly && !way.is_active();
        is_good(outcome) || (by_chance && matches!(outcome, MethodOutcome::Unreachable { .. }))
    });
    // Methods of active mode come first with --active, and if passive ports fail at random.
    let wanted = seen.wanted == Mode::Active || is_partly;
    let best = works.clone().find(|(way, _)| way.is_active() == wanted).or_else(|| works.next());
    (findings, best.map(|(way, _)| way))
}

const fn is_good(outcome: &MethodOutcome) -> bool {
    matches!(outcome, MethodOutcome::Works)
}

/// One method that was tried, together with the other method of its mode.
#[derive(Clone, Copy)]
struct Tried<'a> {
    seen: &'a MethodsSeen,
    way: DataMethod,
    this: &'a MethodOutcome,
    other: &'a MethodOutcome,
}

impl Tried<'_> {
    fn other_works(self) -> bool {
        is_good(self.other)
    }

    /// Returns the finding for a problem of this method. The finding is a failure if the user wants
    /// this mode and no command of the mode works, otherwise a warning.
    fn wrong(self, diagnosis: Diagnosis, words: impl Display) -> Finding {
        let is_wanted = (self.seen.wanted == Mode::Active) == self.way.is_active();
        let stops = is_wanted && !self.other_works();
        let grade = if stops { Grade::Fail } else { Grade::Warn };
        self.way.check().wrong(grade, diagnosis, words)
    }
}

fn passive(tried: Tried<'_>) -> Finding {
    let Tried { seen, way, this, other } = tried;
    let (check, name, is_epsv) = (way.check(), way.command(), way == DataMethod::Epsv);
    let other_works = tried.other_works();
    let blocked = match (other_works, is_epsv) {
        // Some ports cannot be reached, so a failure says nothing about the command.
        _ if seen.first.ports.is_partly() => Diagnosis("passive-ports-partly"),
        (true, true) => Diagnosis("epsv-blocked"),
        (true, false) => Diagnosis("pasv-blocked"),
        (false, _) => Diagnosis("passive-blocked"),
    };
    let (diagnosis, words) = match this {
        MethodOutcome::Works => return check.ok(format_args!("data connections with {name} work")),
        MethodOutcome::Unreachable { closed, at } => {
            let what = if *closed { "is rejected" } else { "gets no answer" };
            let at = at.map_or_else(|| "the port".to_owned(), |at| at.to_string());
            let words = format!("{name} is answered, but a connection to {at} {what}");
            match blocked {
                Diagnosis("passive-blocked") if *closed => (Diagnosis("passive-closed"), words),
                _ => (blocked, words),
            }
        }
        // Both commands get no reply, so a firewall that blocks one of them is not the cause.
        MethodOutcome::Unanswered if matches!(other, MethodOutcome::Unanswered) => {
            (Diagnosis("reply-never"), format!("{name} gets no reply"))
        }
        MethodOutcome::Unanswered => (blocked, format!("{name} gets no reply")),
        MethodOutcome::GaveUp(reply) => (blocked, format!("{name}: {GAVE_UP}: {reply}")),
        MethodOutcome::Broken(why) if other_works => (blocked, format!("{name}: {why}")),
        MethodOutcome::Broken(why) => (Diagnosis("connection-lost"), format!("{name}: {why}")),
        MethodOutcome::Failed(diagnosis, why) => (*diagnosis, format!("{name}: {why}")),
        MethodOutcome::Refused(reply) => return passive_refused(tried, reply),
        MethodOutcome::NotTried(why) => {
            return check.skip(format_args!("{name} cannot be tried: {why}"));
        }
    };
    tried.wrong(diagnosis, words)
}

/// Message if the server refuses a transfer with 425 or 426.
const GAVE_UP: &str = "the server aborted the data connection";

/// Returns a finding if the PASV reply announces a host other than that of the control connection.
fn announced(seen: &MethodsSeen) -> Option<Finding> {
    let peer = seen.peer.ip().to_canonical();
    let other = seen.first.ports.hosts.iter().find(|host| host.to_canonical() != peer)?;
    let class = AddressClass::of(*other);
    let reason = AddressRule::Smart.choose(*other, peer).reason;
    let diagnosis = match reason {
        HostReason::Unreachable(_) | HostReason::LocalOnly(_) => Diagnosis("pasv-private-address"),
        _ => Diagnosis("pasv-other-address"),
    };
    Some(Check("pasv").warn(
        diagnosis,
        format_args!(
            "the 227 reply announces {other}, which is {class}, but the server's address is {peer}"
        ),
    ))
}

fn passive_refused(tried: Tried<'_>, reply: &Reply) -> Finding {
    let Tried { way, other, .. } = tried;
    let (check, name, is_epsv) = (way.check(), way.command(), way == DataMethod::Epsv);
    let words = format!("{name} is refused: {reply}");
    match other {
        _ if reply.code() == ReplyCode::NO_DATA_CONNECTION => {
            tried.wrong(Diagnosis("few-ports"), words)
        }
        _ if !is_permanent(reply) => tried.wrong(Diagnosis("passive-failed"), words),
        MethodOutcome::Refused(other) if is_permanent(other) => {
            tried.wrong(Diagnosis("passive-off"), words)
        }
        MethodOutcome::NotTried(_) if is_epsv => tried.wrong(Diagnosis("epsv-unsupported"), words),
        // Only a warning: if PASV fails too, its own finding says so.
        _ if is_epsv => check.warn(Diagnosis("epsv-unsupported"), words),
        _ if tried.other_works() => check.ok(format_args!("{words}; EPSV works")),
        _ => check.skip(words),
    }
}

fn active(tried: Tried<'_>) -> Finding {
    let Tried { seen, way, this, .. } = tried;
    let (check, name, is_eprt) = (way.check(), way.command(), way == DataMethod::Eprt);
    let local = seen.local.ip().to_canonical();
    let outside = outside(seen);
    let diagnosis = match (tried.other_works(), is_eprt) {
        (true, true) => Diagnosis("eprt-blocked"),
        (true, false) => Diagnosis("port-blocked"),
        (false, _) if outside.is_some() => Diagnosis("active-behind-nat"),
        (false, _) => Diagnosis("active-blocked"),
    };
    match (this, outside) {
        (MethodOutcome::Works, Some(outside)) => {
            let diagnosis = Diagnosis("middlebox-rewrites");
            check.warn(diagnosis, format_args!("{name} with {local} works, although {outside}"))
        }
        (MethodOutcome::Works, None) => {
            check.ok(format_args!("the server connected to {local} after {name}"))
        }
        (MethodOutcome::Failed(diagnosis, why), _) => {
            tried.wrong(*diagnosis, format_args!("{name}: {why}"))
        }
        // If the server ignores commands of passive mode too, the missing connection says nothing
        // about active mode.
        (MethodOutcome::Unreachable { .. }, _) if leaves_unanswered(seen) => {
            let seen = "cannot be judged: replies are missing in passive mode too";
            check.skip(format_args!("{name} {seen}"))
        }
        (MethodOutcome::NotTried(why), _) => {
            check.skip(format_args!("{name} cannot be tried: {why}"))
        }
        (MethodOutcome::Refused(reply), _) if tried.other_works() => {
            let other = if is_eprt { "PORT" } else { "EPRT" };
            check.ok(format_args!("{name} is refused: {reply}; {other} works"))
        }
        (MethodOutcome::Refused(reply), Some(outside)) => {
            let words = format!("{name} with {local} is refused: {reply}; {outside}");
            tried.wrong(diagnosis, words)
        }
        (MethodOutcome::Refused(reply), None) => {
            let words = format!("{name} is refused: {reply}");
            match seen.wanted {
                Mode::Active => tried.wrong(Diagnosis("active-off"), words),
                Mode::Passive => check.ok(format_args!("{words}; passive mode does not need it")),
            }
        }
        (outcome, outside) => {
            let how = match outcome {
                MethodOutcome::GaveUp(reply) => format!("{GAVE_UP}: {reply}"),
                MethodOutcome::Broken(why) => why.clone(),
                _ => "no connection from the server".to_owned(),
            };
            let outside = outside.map_or_else(String::new, |outside| format!("; {outside}"));
            tried.wrong(diagnosis, format_args!("{name} with {local}: {how}{outside}"))
        }
    }
}

/// Returns whether EPSV and PASV both got no reply, or a listing in passive mode lacks a reply.
fn leaves_unanswered(seen: &MethodsSeen) -> bool {
    let [epsv, pasv, ..] = &seen.outcomes;
    let is_unfinished =
        |outcome| matches!(outcome, &MethodOutcome::Failed(Diagnosis("final-reply-never"), _));
    is_unfinished(epsv)
        || is_unfinished(pasv)
        || matches!((epsv, pasv), (MethodOutcome::Unanswered, MethodOutcome::Unanswered))
}

/// Returns the evidence for a NAT between client and server, if there is any.
fn outside(seen: &MethodsSeen) -> Option<String> {
    let local = seen.local.ip().to_canonical();
    let peer = seen.peer.ip().to_canonical();
    let class = AddressClass::of(local);
    let is_inner = matches!(class, AddressClass::Private | AddressClass::Shared);
    match seen.first.seen_as {
        Some(outer) => Some(format!("the server sees this computer as {outer}")),
        // IPv6 has private addresses too, but usually no NAT.
        None if is_inner && AddressClass::of(peer) == AddressClass::Public && peer.is_ipv4() => {
            Some(format!("{local} is {class}, and {peer} is public"))
        }
        None => None,
    }
}

fn is_permanent(reply: &Reply) -> bool {
    reply.code().severity() == Severity::Permanent
}

#[cfg(test)]
mod tests;
