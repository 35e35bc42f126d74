//! Tries each method of data connections over a separate control connection, so that no method
//! disturbs the next. Then judges the outcomes of all methods together. Also examines the passive
//! ports that the server names: how wide their range is, and whether all of them can be reached.

use std::collections::BTreeSet;
use std::fmt::{Arguments, Display};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ftp_client::error::Phase;
use ftp_client::listing::{ListOptions, ListingForm};
use ftp_client::security::TlsError;
use ftp_client::{Client, Error, Mode, RawCommand, Verb, probe};
use ftp_proto::{
    AddressClass, AddressRule, HostReason, NetworkProtocols, Reply, ReplyCode, Severity,
};

use super::dial::{DataMethod, Dial, refused_again, say};
use super::finding::{Check, Diagnosis, Finding, Grade};
use super::probes::side_by_side;
use crate::connect::dialler;
use crate::exit::Result;
use crate::lock::lock;

/// Number of listing lines that prove that data flows.
const ENOUGH: usize = 1_000;

/// Outcome of trying one method.
#[derive(Clone, Debug)]
pub(super) enum MethodOutcome {
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
pub(super) fn run(dial: &Dial<'_>) -> Result {
    let peer = dial.login_seen().and_then(|login| login.addresses).map(|(_, peer)| peer);
    let ways = DataMethod::ALL.map(|way| (way.command(), way));
    let mut outcomes = side_by_side(ways, |way| attempt(dial, way, peer))?.into_iter();
    let mut next = || outcomes.next().expect("one outcome for each method");
    let outcomes = [next()?, next()?, next()?, next()?];
    dial.seen.methods.get_or_init(|| outcomes);
    Ok(())
}

/// Judges the methods and the passive ports.
pub(super) fn judge(dial: &Dial<'_>) -> Result<Vec<Finding>> {
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
        return through_proxy(outcomes);
    };
    let wanted = dialler::mode(dial.asked.options);
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
fn is_command_answered(dial: &Dial<'_>, way: DataMethod) -> Result<bool> {
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
    let outcome = match probe::connect(at, dial.asked.bind, dial.timeouts().data_connect) {
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
        Error::Proxy { fault, .. } => {
            let why = format!("the proxy says: {fault}");
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

/// All observations about the methods of a server.
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

/// Judges the methods through a proxy, where no address is known. Active mode does not work through
/// a proxy.
fn through_proxy(outcomes: [MethodOutcome; 4]) -> (Vec<Finding>, Option<DataMethod>) {
    let unknown = SocketAddr::from(([0; 4], 0));
    let (mut findings, best) = findings(&MethodsSeen {
        local: unknown,
        peer: unknown,
        first: FirstConnectionSeen::default(),
        outcomes,
        wanted: Mode::Passive,
    });
    // EPRT with an unknown protocol was never sent, so it has no finding.
    findings.retain(|finding| finding.check != Check::Families);
    (findings, best)
}

/// Judges all methods. Returns the findings, and the best method if one works.
fn findings(seen: &MethodsSeen) -> (Vec<Finding>, Option<DataMethod>) {
    let [epsv, pasv, eprt, port] = &seen.outcomes;
    let tried = |check, mode, name, this, other| Tried { seen, check, mode, name, this, other };
    let mut findings = vec![passive(tried(Check::Epsv, Mode::Passive, "EPSV", epsv, pasv))];
    findings.extend(announced(seen));
    findings.push(passive(tried(Check::Pasv, Mode::Passive, "PASV", pasv, epsv)));
    findings.extend(judge_ports(&seen.first.ports, seen.wanted));
    findings.push(active(tried(Check::Eprt, Mode::Active, "EPRT", eprt, port)));
    findings.push(active(tried(Check::Port, Mode::Active, "PORT", port, eprt)));
    findings.push(families(seen.first.no_such_family.as_ref()));
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
    check: Check,
    mode: Mode,
    /// Command of the method.
    name: &'static str,
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
        let stops = self.seen.wanted == self.mode && !self.other_works();
        let grade = if stops { Grade::Fail } else { Grade::Warn };
        self.check.wrong(grade, diagnosis, words)
    }
}

fn passive(tried: Tried<'_>) -> Finding {
    let Tried { seen, check, name, this, other, .. } = tried;
    let is_epsv = check == Check::Epsv;
    let other_works = tried.other_works();
    let blocked = match (other_works, is_epsv) {
        // Some ports cannot be reached, so a failure says nothing about the command.
        _ if seen.first.ports.is_partly() => Diagnosis::PassivePartly,
        (true, true) => Diagnosis::EpsvBlocked,
        (true, false) => Diagnosis::PasvBlocked,
        (false, _) => Diagnosis::PassiveBlocked,
    };
    let (diagnosis, words) = match this {
        MethodOutcome::Works => {
            return check.ok(format_args!("data connections with {name} work"));
        }
        MethodOutcome::Unreachable { closed, at } => {
            let what = if *closed { "is rejected" } else { "gets no answer" };
            let at = at.map_or_else(|| "the port".to_owned(), |at| at.to_string());
            let words = format!("{name} is answered, but a connection to {at} {what}");
            match blocked {
                Diagnosis::PassiveBlocked if *closed => (Diagnosis::PassiveClosed, words),
                _ => (blocked, words),
            }
        }
        // Both commands get no reply, so a firewall that blocks one of them is not the cause.
        MethodOutcome::Unanswered if matches!(other, MethodOutcome::Unanswered) => {
            (Diagnosis::ReplyNever, format!("{name} gets no reply"))
        }
        MethodOutcome::Unanswered => (blocked, format!("{name} gets no reply")),
        MethodOutcome::GaveUp(reply) => (blocked, format!("{name}: {GAVE_UP}: {reply}")),
        MethodOutcome::Broken(why) if other_works => (blocked, format!("{name}: {why}")),
        MethodOutcome::Broken(why) => (Diagnosis::ConnectionLost, format!("{name}: {why}")),
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
        HostReason::Unreachable(_) | HostReason::LocalOnly(_) => Diagnosis::PasvPrivateAddress,
        _ => Diagnosis::PasvOtherAddress,
    };
    Some(Check::Pasv.warn(
        diagnosis,
        format_args!(
            "the 227 reply announces {other}, which is {class}, but the server's address is {peer}"
        ),
    ))
}

/// Judges a refused command of passive mode.
fn passive_refused(tried: Tried<'_>, reply: &Reply) -> Finding {
    let Tried { check, name, other, .. } = tried;
    let is_epsv = check == Check::Epsv;
    let words = format!("{name} is refused: {reply}");
    match other {
        _ if reply.code() == ReplyCode::NO_DATA_CONNECTION => {
            tried.wrong(Diagnosis::FewPorts, words)
        }
        _ if !is_permanent(reply) => tried.wrong(Diagnosis::PassiveFailed, words),
        MethodOutcome::Refused(other) if is_permanent(other) => {
            tried.wrong(Diagnosis::PassiveOff, words)
        }
        MethodOutcome::NotTried(_) if is_epsv => tried.wrong(Diagnosis::EpsvUnsupported, words),
        // Only a warning: if PASV fails too, its own finding says so.
        _ if is_epsv => check.warn(Diagnosis::EpsvUnsupported, words),
        _ if tried.other_works() => check.ok(format_args!("{words}; EPSV works")),
        _ => check.skip(words),
    }
}

fn active(tried: Tried<'_>) -> Finding {
    let Tried { seen, check, name, this, .. } = tried;
    let local = seen.local.ip().to_canonical();
    let outside = outside(seen);
    let wrong = |diagnosis, words: Arguments<'_>| tried.wrong(diagnosis, words);
    let diagnosis = match (tried.other_works(), check) {
        (true, Check::Eprt) => Diagnosis::EprtBlocked,
        (true, _) => Diagnosis::PortBlocked,
        (false, _) if outside.is_some() => Diagnosis::ActiveBehindNat,
        (false, _) => Diagnosis::ActiveBlocked,
    };
    match (this, outside) {
        (MethodOutcome::Works, Some(outside)) => {
            let diagnosis = Diagnosis::MiddleboxRewrites;
            check.warn(diagnosis, format_args!("{name} with {local} works, although {outside}"))
        }
        (MethodOutcome::Works, None) => {
            check.ok(format_args!("the server connected to {local} after {name}"))
        }
        (MethodOutcome::Failed(diagnosis, why), _) => {
            wrong(*diagnosis, format_args!("{name}: {why}"))
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
            let other = if check == Check::Eprt { "PORT" } else { "EPRT" };
            check.ok(format_args!("{name} is refused: {reply}; {other} works"))
        }
        (MethodOutcome::Refused(reply), Some(outside)) => {
            wrong(diagnosis, format_args!("{name} with {local} is refused: {reply}; {outside}"))
        }
        (MethodOutcome::Refused(reply), None) => {
            let words = format!("{name} is refused: {reply}");
            match seen.wanted {
                Mode::Active => wrong(Diagnosis::ActiveOff, format_args!("{words}")),
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
            wrong(diagnosis, format_args!("{name} with {local}: {how}{outside}"))
        }
    }
}

/// Returns whether EPSV and PASV both got no reply, or a listing in passive mode lacks a reply.
fn leaves_unanswered(seen: &MethodsSeen) -> bool {
    let [epsv, pasv, ..] = &seen.outcomes;
    let is_unfinished =
        |outcome| matches!(outcome, &MethodOutcome::Failed(Diagnosis::FinalReplyNever, _));
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

/// Judges the reply to EPRT with a protocol number that does not exist (RFC 2428 §2).
fn families(reply: Option<&Reply>) -> Finding {
    let check = Check::Families;
    let Some(reply) = reply else {
        return check.skip("EPRT with an unknown protocol got no reply");
    };
    let list = NetworkProtocols::find(reply.text())
        .filter(|_| reply.code() == ReplyCode::PROTOCOL_NOT_SUPPORTED);
    match list.map(|list| (list.ipv4, list.ipv6)) {
        Some((true, true)) => check.ok("the 522 reply lists IPv4 and IPv6"),
        Some((true, false)) => check.ok("the 522 reply lists IPv4"),
        Some((false, true)) => check.ok("the 522 reply lists IPv6"),
        _ => {
            let seen = "the reply to EPRT with an unknown protocol lists no supported protocol";
            check.ok(format_args!("{seen}: {reply}"))
        }
    }
}

/// Returns whether a reply is a permanent refusal.
fn is_permanent(reply: &Reply) -> bool {
    reply.code().severity() == Severity::Permanent
}

/// Number of times that the server is asked for a port.
const TRIES: usize = 8;

/// Longest wait for a port: enough for the kernel's second attempt, after 1 s.
const PATIENCE: Duration = Duration::from_millis(1_300);

/// One port that the server named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    /// Whether a connection to the port succeeded.
    pub(super) is_reached: bool,
}

/// Observations about the passive ports.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    /// Hosts of the 227 replies.
    pub(super) hosts: Vec<IpAddr>,
    pub(super) ports: Vec<Port>,
}

impl Ports {
    /// Returns whether only some of the ports can be reached.
    pub(super) fn is_partly(&self) -> bool {
        let of = |is: bool| self.ports.iter().any(|port| port.is_reached == is);
        of(true) && of(false)
    }
}

/// Observations over the first logged-in connection, which need no data.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstConnectionSeen {
    /// Client address that the server reports, if it differs from the local one.
    pub(super) seen_as: Option<IpAddr>,
    /// Reply to EPRT with a protocol number that does not exist.
    pub(super) no_such_family: Option<Reply>,
    pub(super) ports: Ports,
}

/// Examines the ports over the first connection, waits for the second one, and ends the first.
pub(super) fn run_ports(dial: &Dial<'_>) -> Result {
    let Some(login) = dial.login_seen() else { return Ok(()) };
    let Some(mut inside) = lock(&login.client).take() else { return Ok(()) };
    let client = &mut inside.it;
    // This connects to the ports directly, so it is left out with a proxy.
    if let Some((local, peer)) = login.addresses {
        let stat = say(client, "STAT");
        let seen_as = stat.and_then(|stat| address_of_ours(&stat, local.ip(), peer.ip()));
        let no_such_family = say(client, &format!("EPRT |9|{}|9|", local.ip().to_canonical()));
        let ports = ask(dial, client, peer);
        let seen = FirstConnectionSeen { seen_as, no_such_family, ports };
        dial.seen.first.get_or_init(|| seen);
    }
    dial.places.wait_for_second();
    inside.quit();
    Ok(())
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

/// Asks for ports and connects to each. Stops if the server names no port; the checks of the
/// methods find the reason.
fn ask(dial: &Dial<'_>, client: &mut Client, peer: SocketAddr) -> Ports {
    let mut learned = Ports::default();
    let (way, code) = match peer.ip().to_canonical().is_ipv4() {
        true => (DataMethod::Pasv, ReplyCode::PASSIVE),
        false => (DataMethod::Epsv, ReplyCode::EXTENDED_PASSIVE),
    };
    for _ in 0..TRIES {
        let reply = say(client, way.command()).filter(|reply| reply.code() == code);
        let named = reply.and_then(|reply| dial.data_address(way, &reply, peer));
        let Some((host, at)) = named else { break };
        learned.hosts.extend(host);
        let limit = PATIENCE.min(dial.timeouts().data_connect);
        let is_reached = probe::connect(at, dial.asked.bind, limit).is_ok();
        if dial.in_time().is_err() {
            // The time ran out, so it is unknown whether the port can be reached.
            break;
        }
        learned.ports.push(Port { number: at.port(), is_reached });
    }
    learned
}

/// Limit of a narrow range: its lowest and highest ports are less than this apart.
const NARROW: u16 = 16;

/// Ports that Linux chooses from by default.
const KERNELS: RangeInclusive<u16> = 32_768..=60_999;

/// Judges the range of ports that were named.
fn judge_ports(learned: &Ports, wanted: Mode) -> Option<Finding> {
    let check = Check::Ports;
    let numbers: BTreeSet<u16> = learned.ports.iter().map(|port| port.number).collect();
    let tries = learned.ports.len();
    let low = *numbers.first()?;
    let high = *numbers.last()?;
    let words = match numbers.len() {
        1 => format!("{tries} tries: always port {low}"),
        count => format!("{tries} tries: {count} different ports from {low} to {high}"),
    };
    if learned.is_partly() {
        let seen = format!(
            "{words}; reachable: {}; unreachable: {}",
            numbers_of(learned, true),
            numbers_of(learned, false)
        );
        let grade = if wanted == Mode::Passive { Grade::Fail } else { Grade::Warn };
        return Some(check.wrong(grade, Diagnosis::PassivePartly, seen));
    }
    // A kernel chooses from thousands of ports, so it rarely names only two neighbouring ports in
    // all tries. A single port from the kernel's range is not a narrow range: the server may keep
    // one listening socket open.
    let is_chosen = |port: u16| KERNELS.contains(&port);
    let is_narrow = high - low < NARROW && (numbers.len() == 2 || !is_chosen(low));
    let is_few = tries >= 6 && numbers.len() <= 2 && is_narrow;
    Some(match is_few {
        true => check.warn(Diagnosis::FewPorts, words),
        false => check.ok(words),
    })
}

fn numbers_of(learned: &Ports, is_reached: bool) -> String {
    let ports = learned.ports.iter().filter(|port| port.is_reached == is_reached);
    let numbers: BTreeSet<u16> = ports.map(|port| port.number).collect();
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKS: MethodOutcome = MethodOutcome::Works;

    fn reply(code: u16) -> Reply {
        Reply::new(ReplyCode::new(code).unwrap(), "so")
    }

    fn refused(code: u16) -> MethodOutcome {
        MethodOutcome::Refused(reply(code))
    }

    fn silent() -> MethodOutcome {
        MethodOutcome::Unreachable { closed: false, at: None }
    }

    fn unfinished() -> MethodOutcome {
        MethodOutcome::Failed(Diagnosis::FinalReplyNever, "no 226".to_owned())
    }

    fn insecure() -> MethodOutcome {
        MethodOutcome::Failed(Diagnosis::DataTls, "alert".to_owned())
    }

    fn stalled() -> MethodOutcome {
        MethodOutcome::Failed(Diagnosis::BigPacketsLost, "no data".to_owned())
    }

    fn closed() -> MethodOutcome {
        MethodOutcome::Unreachable { closed: true, at: None }
    }

    /// Returns `open` ports that were reached, followed by `closed` ports that were not.
    fn reached(open: u16, closed: u16) -> Vec<Port> {
        let port = |at| Port { number: 50_000 + at, is_reached: at < open };
        (0..open + closed).map(port).collect()
    }

    fn seen(local: &str, peer: &str, outcomes: [MethodOutcome; 4]) -> MethodsSeen {
        MethodsSeen {
            local: format!("{local}:40000").parse().unwrap(),
            peer: format!("{peer}:21").parse().unwrap(),
            first: FirstConnectionSeen {
                ports: Ports { hosts: vec![peer.parse().unwrap()], ports: reached(8, 0) },
                ..FirstConnectionSeen::default()
            },
            outcomes,
            wanted: Mode::Passive,
        }
    }

    /// Returns the names of the problems; `!` precedes those that stop this client.
    fn names(seen: &MethodsSeen) -> Vec<String> {
        let mut names = Vec::new();
        for found in findings(seen).0 {
            let Some(diagnosis) = found.diagnosis else { continue };
            let mark = if found.grade == Grade::Fail { "!" } else { "" };
            let name = format!("{mark}{}", diagnosis.name());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    #[test]
    fn each_pattern_of_data_connection_outcomes_has_its_diagnosis() {
        let outer = "198.51.100.2";
        let server = "203.0.113.9";
        let inner = "192.168.1.2";
        let all = || [WORKS, WORKS, WORKS, WORKS];
        for (local, outcomes, want) in [
            (outer, all(), &[][..]),
            (outer, [silent(), silent(), WORKS, WORKS], &["!passive-blocked"]),
            (outer, [closed(), closed(), WORKS, WORKS], &["!passive-closed"]),
            (outer, [silent(), WORKS, WORKS, WORKS], &["epsv-blocked"]),
            (outer, [MethodOutcome::Unanswered, WORKS, WORKS, WORKS], &["epsv-blocked"]),
            (outer, [MethodOutcome::Broken("x".into()), WORKS, WORKS, WORKS], &["epsv-blocked"]),
            (outer, [WORKS, silent(), WORKS, WORKS], &["pasv-blocked"]),
            (outer, [WORKS, closed(), WORKS, WORKS], &["pasv-blocked"]),
            (outer, [refused(500), WORKS, WORKS, WORKS], &["epsv-unsupported"]),
            (
                outer,
                [refused(502), silent(), WORKS, WORKS],
                &["epsv-unsupported", "!passive-blocked"],
            ),
            (outer, [WORKS, refused(502), WORKS, WORKS], &[]),
            (outer, [refused(502), refused(502), WORKS, WORKS], &["!passive-off"]),
            (outer, [refused(425), refused(425), WORKS, WORKS], &["!few-ports"]),
            (outer, [refused(451), refused(451), WORKS, WORKS], &["!passive-failed"]),
            (outer, [refused(451), WORKS, WORKS, WORKS], &["passive-failed"]),
            (outer, [WORKS, WORKS, refused(500), refused(500)], &[]),
            (outer, [WORKS, WORKS, refused(500), WORKS], &[]),
            (outer, [WORKS, WORKS, silent(), WORKS], &["eprt-blocked"]),
            (outer, [WORKS, WORKS, WORKS, silent()], &["port-blocked"]),
            (inner, [WORKS, WORKS, silent(), WORKS], &["eprt-blocked", "middlebox-rewrites"]),
            (outer, [WORKS, WORKS, silent(), silent()], &["active-blocked"]),
            (
                outer,
                [
                    WORKS,
                    WORKS,
                    MethodOutcome::GaveUp(reply(425)),
                    MethodOutcome::GaveUp(reply(425)),
                ],
                &["active-blocked"],
            ),
            (outer, [insecure(), insecure(), insecure(), insecure()], &["!data-tls", "data-tls"]),
            (inner, [WORKS, WORKS, refused(500), refused(500)], &["active-behind-nat"]),
            (inner, [WORKS, WORKS, silent(), silent()], &["active-behind-nat"]),
            (inner, all(), &["middlebox-rewrites"]),
            (
                outer,
                [unfinished(), unfinished(), unfinished(), unfinished()],
                &["!final-reply-never", "final-reply-never"],
            ),
            (outer, [unfinished(), unfinished(), silent(), silent()], &["!final-reply-never"]),
            (
                outer,
                [MethodOutcome::Unanswered, MethodOutcome::Unanswered, silent(), silent()],
                &["!reply-never"],
            ),
            (
                outer,
                [stalled(), stalled(), stalled(), stalled()],
                &["!big-packets-lost", "big-packets-lost"],
            ),
            (
                inner,
                [silent(), silent(), silent(), silent()],
                &["!passive-blocked", "active-behind-nat"],
            ),
        ] {
            assert_eq!(names(&seen(local, server, outcomes.clone())), want, "{local} {outcomes:?}");
        }
    }

    #[test]
    fn only_active_mode_faults_fail_if_active_mode_is_wanted() {
        let inner = "192.168.1.2";
        let outer = "198.51.100.2";
        let server = "203.0.113.9";
        for (local, outcomes, want) in [
            (outer, [silent(), silent(), WORKS, WORKS], &["passive-blocked"][..]),
            (outer, [WORKS, WORKS, refused(502), refused(502)], &["!active-off"]),
            (outer, [WORKS, WORKS, refused(502), WORKS], &[]),
            (inner, [WORKS, WORKS, refused(500), refused(500)], &["!active-behind-nat"]),
            (outer, [WORKS, WORKS, silent(), silent()], &["!active-blocked"]),
        ] {
            let mut seen = seen(local, server, outcomes);
            seen.wanted = Mode::Active;
            assert_eq!(names(&seen), want, "{:?}", seen.outcomes);
        }
    }

    #[test]
    fn a_partly_reachable_port_range_is_not_blamed_on_a_command() {
        for (outcomes, want, best) in [
            (
                [silent(), WORKS, WORKS, WORKS],
                &["passive-ports-partly", "!passive-ports-partly"][..],
                DataMethod::Eprt,
            ),
            (
                [WORKS, silent(), silent(), silent()],
                &["!passive-ports-partly", "active-blocked", "passive-ports-partly"],
                DataMethod::Epsv,
            ),
            ([WORKS, WORKS, WORKS, WORKS], &["!passive-ports-partly"], DataMethod::Eprt),
            (
                [closed(), closed(), refused(500), WORKS],
                &["!passive-ports-partly"],
                DataMethod::Port,
            ),
        ] {
            let mut seen = seen("198.51.100.2", "203.0.113.9", outcomes);
            seen.first.ports.ports = reached(4, 4);
            let mut found = names(&seen);
            found.sort();
            found.dedup();
            let mut want = want.to_vec();
            want.sort_unstable();
            assert_eq!(found, want, "{:?}", seen.outcomes);
            assert_eq!(findings(&seen).1, Some(best), "{:?}", seen.outcomes);
        }
    }

    #[test]
    fn the_pasv_address_is_compared_with_the_server_address() {
        for (host, peer, want) in [
            ("10.0.0.5", "203.0.113.9", Some("pasv-private-address")),
            ("127.0.0.1", "203.0.113.9", Some("pasv-private-address")),
            ("127.0.0.1", "10.0.0.5", Some("pasv-private-address")),
            ("0.0.0.0", "10.0.0.5", Some("pasv-private-address")),
            ("198.51.100.7", "203.0.113.9", Some("pasv-other-address")),
            ("10.0.0.6", "10.0.0.5", Some("pasv-other-address")),
            ("203.0.113.9", "203.0.113.9", None),
        ] {
            let mut seen = seen("198.51.100.2", peer, [WORKS, WORKS, WORKS, WORKS]);
            seen.first.ports.hosts = vec![host.parse().unwrap()];
            assert_eq!(
                names(&seen),
                want.map(str::to_owned).into_iter().collect::<Vec<_>>(),
                "{host}"
            );
        }
    }

    #[test]
    fn the_best_data_method_is_the_first_that_works_in_the_wanted_mode() {
        let best = |outcomes, wanted| {
            let mut seen = seen("198.51.100.2", "203.0.113.9", outcomes);
            seen.wanted = wanted;
            findings(&seen).1
        };
        for (outcomes, wanted, want) in [
            ([WORKS, WORKS, WORKS, WORKS], Mode::Passive, Some(DataMethod::Epsv)),
            ([WORKS, WORKS, WORKS, WORKS], Mode::Active, Some(DataMethod::Eprt)),
            ([silent(), WORKS, WORKS, WORKS], Mode::Passive, Some(DataMethod::Pasv)),
            ([silent(), silent(), refused(500), WORKS], Mode::Passive, Some(DataMethod::Port)),
            ([WORKS, WORKS, silent(), silent()], Mode::Active, Some(DataMethod::Epsv)),
            ([silent(), silent(), silent(), silent()], Mode::Passive, None),
        ] {
            assert_eq!(best(outcomes, wanted), want);
        }
    }

    #[test]
    fn a_nat_between_private_networks_shows_in_the_address_the_server_sees() {
        let mut seen = seen("192.168.1.2", "10.0.0.5", [WORKS, WORKS, silent(), silent()]);
        assert_eq!(names(&seen), ["active-blocked"]);
        seen.first.seen_as = Some("10.0.0.1".parse().unwrap());
        assert_eq!(names(&seen), ["active-behind-nat"]);
    }

    #[test]
    fn the_protocols_of_a_522_reply_are_parsed_cl_30() {
        for (code, text, want) in [
            (522, "not that one, use (1,2)", "IPv4 and IPv6"),
            (522, "use (1)", "lists IPv4"),
            (522, "use (2)", "lists IPv6"),
            (522, "no", "lists no supported protocol"),
            (501, "use (1,2)", "lists no supported protocol"),
        ] {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), text);
            assert!(families(Some(&reply)).seen.contains(want), "{text}");
        }
    }
}

#[cfg(test)]
mod port_tests {
    use super::*;

    fn of(ports: &[(u16, bool)]) -> Ports {
        let port =
            |(number, is_reached): &(u16, bool)| Port { number: *number, is_reached: *is_reached };
        Ports { hosts: Vec::new(), ports: ports.iter().map(port).collect() }
    }

    fn name(learned: &Ports) -> Option<&'static str> {
        judge_ports(learned, Mode::Passive)?.diagnosis.map(|diagnosis| diagnosis.name())
    }

    #[test]
    fn a_range_of_two_ports_is_few() {
        for (ports, want) in [
            (&[50_000, 50_001, 50_000, 50_001, 50_000, 50_001, 50_000, 50_001][..], true),
            (&[5_000; 8], true),
            (&[50_000; 8], false),
            (&[33_151, 56_357, 33_151, 56_357, 33_151, 56_357, 33_151, 56_357], false),
            (&[50_000, 50_001, 50_002, 50_001, 50_000, 50_001, 50_000, 50_001], false),
            (&[50_000, 50_001], false),
        ] {
            let ports: Vec<_> = ports.iter().map(|port| (*port, true)).collect();
            assert_eq!(name(&of(&ports)), want.then_some("few-ports"), "{ports:?}");
        }
        let one = judge_ports(&of(&[(1_033, true); 8]), Mode::Passive).unwrap();
        assert_eq!(one.seen, "8 tries: always port 1033");
    }

    #[test]
    fn a_partly_reachable_range_is_reported_with_its_ports() {
        let half = of(&[(50_060, false), (50_001, true), (50_070, false), (50_001, true)]);
        assert_eq!(name(&half), Some("passive-ports-partly"));
        let found = judge_ports(&half, Mode::Passive).unwrap();
        assert!(found.seen.contains("reachable: 50001; unreachable: 50060, 50070"), "{found:?}");
        assert_eq!(found.grade, Grade::Fail);
        assert_eq!(judge_ports(&half, Mode::Active).unwrap().grade, Grade::Warn);
        // If none is reached, the findings about the methods say so.
        assert_eq!(name(&of(&[(50_060, false), (50_070, false)])), None);
        assert!(judge_ports(&of(&[]), Mode::Passive).is_none());
    }

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
