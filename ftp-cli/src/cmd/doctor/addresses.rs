//! Examines the proxy that the connections go through. Without one, takes a first look at each address
//! of the server, before any FTP command: does it accept connections, and which protocol does it
//! speak? Judges the name lookup and these answers.

use std::collections::HashSet;
use std::fmt::Arguments;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::time::Duration;
use std::{io, thread};

use ftp_client::error::{Phase, ProxyFault};
use ftp_client::{Error, ErrorKind, FirstLook, ServerProtocol};
use ftp_proto::{Escaped, Reply, Severity};

use super::dial::{Asked, Dial, side_by_side};
use super::finding::{Check, Diagnosis, Finding, Grade};
use crate::connect::{Chosen, dialler};
use crate::exit::Result;

/// Looks up the name, unless a proxy does.
///
/// # Errors
///
/// Returns `Timeout` if the time for the whole examination is over.
pub(super) fn resolve(dial: &Dial<'_>, found: &mut Vec<Finding>) -> Result {
    if dial.proxy().is_some() {
        return Ok(());
    }
    let Asked { url, bind, options, .. } = dial.asked;
    let all = look_up(url.host(), url.port(), dial.timeouts().resolve);
    dial.in_time()?;
    let is_wanted = |address: &SocketAddr| {
        bind.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4())
            && dialler::is_of_family(address.ip(), dialler::family(options))
    };
    let (finding, addresses) = wanted(url.host(), &all, is_wanted, MOST_ADDRESSES);
    found.push(finding);
    addresses.map(|addresses| dial.seen.addresses.get_or_init(|| addresses));
    Ok(())
}

/// Takes the first look at all addresses in parallel.
///
/// # Errors
///
/// Returns `Timeout` if the time for the whole examination is over.
pub(super) fn look(dial: &Dial<'_>, found: &mut Vec<Finding>) -> Result {
    let Some(all) = dial.seen.addresses.get() else { return Ok(()) };
    let asked = &dial.asked;
    let answers = side_by_side(all.iter().map(|it| ("address", *it)), |address| {
        (address, FirstLook::at(address, asked.bind, &dial.first_timeouts(), asked.is_implicit))
    })?;
    dial.in_time()?;
    found.extend(addresses(&answers, asked.is_implicit, asked.bind.is_some()));
    dial.seen.answers.get_or_init(|| answers);
    Ok(())
}

/// The addresses of a name, in the system's order, or the system's error; `None` if the lookup takes
/// too long.
type Lookup = Option<io::Result<Vec<SocketAddr>>>;

fn look_up(host: &str, port: u16, limit: Duration) -> Lookup {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Ok(vec![SocketAddr::new(address, port)]));
    }
    let host = host.to_owned();
    let (sender, receiver) = mpsc::sync_channel(1);
    // The system's resolver has no timeout. The thread ends when the lookup does.
    let thread = thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs();
        let mut known = HashSet::new();
        let found = found.map(|found| found.filter(|address| known.insert(*address)).collect());
        let _ = sender.send(found);
    });
    match thread {
        Ok(_) => receiver.recv_timeout(limit).ok(),
        Err(error) => Some(Err(error)),
    }
}

const MOST_ADDRESSES: usize = 8;

/// Time after which a greeting counts as late.
const LATE: Duration = Duration::from_secs(4);

/// Largest number of bytes that a finding quotes from a server that does not speak FTP.
const SHOWN: usize = 60;

/// Returns the finding about the name lookup, and the first `most` addresses of the wanted family.
fn wanted(
    host: &str,
    found: &Lookup,
    is_wanted: impl Fn(&SocketAddr) -> bool,
    most: usize,
) -> (Finding, Option<Vec<SocketAddr>>) {
    let host = Escaped(host.as_bytes());
    let fail = |diagnosis, seen: Arguments<'_>| (Check("resolve").fail(diagnosis, seen), None);
    let all = match found {
        None => return fail(Diagnosis("name-unanswered"), format_args!("{host}: no answer")),
        Some(Err(error)) => {
            return fail(Diagnosis("name-unknown"), format_args!("{host}: {error}"));
        }
        Some(Ok(all)) if all.is_empty() => {
            return fail(Diagnosis("name-unknown"), format_args!("{host} has no address"));
        }
        Some(Ok(all)) => all,
    };
    let shown: Vec<String> = all.iter().take(most).map(|at| at.ip().to_string()).collect();
    let shown = shown.join(", ");
    let mut wanted: Vec<SocketAddr> = all.iter().copied().filter(is_wanted).collect();
    if wanted.is_empty() {
        return fail(Diagnosis("no-address-of-family"), format_args!("{host} has only {shown}"));
    }
    wanted.truncate(most);
    let finding = match all.len() {
        1 => Check("resolve").ok(format_args!("{host} has the address {shown}")),
        count => Check("resolve").ok(format_args!("{host} has {count} addresses: {shown}")),
    };
    (finding, Some(wanted))
}

/// Returns `-4` or `-6` if the server has addresses of both families, but only this family works.
pub(super) fn good_family(answers: &[(SocketAddr, FirstLook)]) -> Option<&'static str> {
    // Whether an address of the family works; `None` if there is no such address.
    let is_good = |is_ipv4| {
        let of = answers.iter().filter(|(address, _)| address.is_ipv4() == is_ipv4);
        let are_good = of.map(|(_, answer)| {
            use ServerProtocol::{Ftp, Tls};
            matches!(answer, FirstLook::Talks { talker: Ftp(_) | Tls, .. })
        });
        are_good.max()
    };
    match (is_good(true), is_good(false)) {
        (Some(true), Some(false)) => Some("-4"),
        (Some(false), Some(true)) => Some("-6"),
        _ => None,
    }
}

/// Judges the addresses of a server. If at least one address works, problems of the others are only
/// warnings.
fn addresses(answers: &[(SocketAddr, FirstLook)], implicit: bool, is_bound: bool) -> Vec<Finding> {
    let judged = answers.iter().map(|(address, answer)| one(*address, answer, implicit, is_bound));
    let judged: Vec<Vec<Finding>> = judged.collect();
    let is_good =
        |findings: &Vec<Finding>| findings.iter().all(|finding| finding.grade != Grade::Fail);
    if !judged.iter().any(is_good) || judged.iter().all(is_good) {
        return judged.into_iter().flatten().collect();
    }
    let softened = judged.into_iter().flatten().map(|finding| match finding.diagnosis {
        Some(_) if finding.grade == Grade::Fail => {
            Finding { grade: Grade::Warn, diagnosis: Some(Diagnosis("address-dead")), ..finding }
        }
        _ => finding,
    });
    softened.collect()
}

fn one(address: SocketAddr, answer: &FirstLook, implicit: bool, is_bound: bool) -> Vec<Finding> {
    let connected = Check("connect").ok(format_args!("{address} accepts connections"));
    let unspoken =
        |diagnosis, why: &str| Check("greeting").fail(diagnosis, format_args!("{address} {why}"));
    match answer {
        FirstLook::Failed(kind, why) => {
            let diagnosis = match kind {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                    Diagnosis("port-closed")
                }
                // Without `--bind`, this computer has no address of the family, as with IPv6 off.
                io::ErrorKind::AddrNotAvailable if is_bound => Diagnosis("local-address-missing"),
                _ => Diagnosis("host-unreachable"),
            };
            vec![Check("connect").fail(diagnosis, format_args!("{address}: {why}"))]
        }
        FirstLook::Unanswered => {
            let why = format!("{address} does not answer");
            vec![Check("connect").fail(Diagnosis("host-silent"), why)]
        }
        FirstLook::Closed => {
            let why = "closed the connection without a greeting";
            vec![connected, unspoken(Diagnosis("closed-unspoken"), why)]
        }
        FirstLook::Silent(time) => {
            let why = format!("sent nothing for {:.0} s", time.as_secs_f64());
            vec![connected, unspoken(Diagnosis("greeting-never"), &why)]
        }
        FirstLook::Talks { talker: ServerProtocol::Ftp(reply), after, .. } if !implicit => vec![
            connected,
            Check("protocol").ok(format_args!("{address} speaks FTP")),
            greeting(address, reply, *after),
        ],
        FirstLook::Talks { talker, first, asked, .. } => {
            vec![connected, protocol(address, talker, first, implicit, *asked)]
        }
    }
}

/// Judges the protocol of a server that does not greet with FTP as expected.
fn protocol(
    address: SocketAddr,
    talker: &ServerProtocol,
    first: &[u8],
    implicit: bool,
    asked: bool,
) -> Finding {
    let fail = |diagnosis, seen: Arguments<'_>| Check("protocol").fail(diagnosis, seen);
    let said = Escaped(first.get(..SHOWN).unwrap_or(first).trim_ascii_end());
    let other = |diagnosis, what| fail(diagnosis, format_args!("{address} speaks {what}: {said}"));
    match talker {
        ServerProtocol::Ftp(reply) => fail(
            Diagnosis("plain-on-tls-port"),
            format_args!("{address} greets unencrypted: {reply}"),
        ),
        ServerProtocol::Tls if implicit => {
            Check("protocol").ok(format_args!("{address} starts with TLS"))
        }
        ServerProtocol::Tls => {
            fail(Diagnosis("tls-on-plain-port"), format_args!("{address} expects TLS first"))
        }
        ServerProtocol::Ssh => other(Diagnosis("ssh-on-port"), "SSH"),
        ServerProtocol::Http => other(Diagnosis("http-on-port"), "HTTP"),
        ServerProtocol::Mail(name) => other(Diagnosis("other-protocol"), name),
        // The greeting started like FTP, but did not end.
        ServerProtocol::Unfinished if !asked => Check("greeting").fail(
            Diagnosis("greeting-never"),
            format_args!("{address} sent an incomplete greeting: {said}"),
        ),
        _ => other(Diagnosis("other-protocol"), "another protocol"),
    }
}

fn greeting(address: SocketAddr, reply: &Reply, after: Duration) -> Finding {
    let seen = format!("{address} greets after {:.1} s: {reply}", after.as_secs_f64());
    match reply.code().severity() {
        Severity::Completion | Severity::Preliminary if after >= LATE => {
            Check("greeting").warn(Diagnosis("greeting-late"), seen)
        }
        Severity::Completion | Severity::Preliminary => Check("greeting").ok(seen),
        _ if Error::Greeting(reply.clone()).kind() == ErrorKind::Refused => {
            Check("greeting").fail(Diagnosis("greeting-denied"), seen)
        }
        _ => Check("greeting").fail(Diagnosis("greeting-refused"), seen),
    }
}

/// Connects through the proxy once. The next probes find failures beyond the proxy.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, or `Timeout` if the time for the whole examination is
/// over.
pub(super) fn try_proxy(dial: &Dial<'_>, found: &mut Vec<Finding>) -> Result {
    let Some(chosen) = dial.proxy() else { return Ok(()) };
    let connected = dial.connect();
    dial.in_time()?;
    let error = match connected {
        Ok(inside) => {
            inside.quit();
            None
        }
        Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
        Err(error) => Some(error),
    };
    found.push(first_connection(chosen, error.as_ref(), dial.asked.bind.is_some()));
    Ok(())
}

/// Judges the first connection through a proxy.
fn first_connection(chosen: &Chosen, error: Option<&Error>, is_bound: bool) -> Finding {
    let Chosen { proxy, by } = chosen;
    let fail = |diagnosis, why: &dyn std::fmt::Display| {
        Check("proxy").fail(diagnosis, format_args!("{proxy}, named by {by}: {why}"))
    };
    match error {
        Some(error @ Error::Timeout(Phase::Proxy)) => fail(Diagnosis("proxy-silent"), error),
        Some(Error::Proxy { fault, .. }) => {
            let diagnosis = match fault {
                ProxyFault::Unreachable(error)
                    if is_bound && error.kind() == io::ErrorKind::AddrNotAvailable =>
                {
                    Diagnosis("local-address-missing")
                }
                ProxyFault::Unreachable(_) => Diagnosis("proxy-unreachable"),
                ProxyFault::LoginRequired
                | ProxyFault::LoginUnsupported
                | ProxyFault::LoginRefused(_) => Diagnosis("proxy-login"),
                ProxyFault::Refused { .. } => Diagnosis("proxy-refuses"),
                _ => Diagnosis("not-a-proxy"),
            };
            fail(diagnosis, fault)
        }
        _ => Check("proxy").ok(format_args!("connections go through {proxy}, named by {by}")),
    }
}

#[cfg(test)]
mod tests {
    use ftp_proto::ReplyCode;

    use super::*;

    fn talks(talker: ServerProtocol, first: &[u8], seconds: u64, asked: bool) -> FirstLook {
        let after = Duration::from_secs(seconds);
        FirstLook::Talks { talker, first: first.to_vec(), after, asked }
    }

    /// An FTP server that greets with this reply.
    fn greets(reply: &str, seconds: u64, asked: bool) -> FirstLook {
        let (code, text) = reply.split_once(' ').unwrap();
        let code = ReplyCode::new(code.parse().unwrap()).unwrap();
        let talker = ServerProtocol::Ftp(Reply::new(code, text));
        talks(talker, format!("{reply}\r\n").as_bytes(), seconds, asked)
    }

    fn names(answers: &[FirstLook], implicit: bool) -> Vec<&'static str> {
        let address = |at: usize| SocketAddr::from(([192, 0, 2, 1], u16::try_from(at).unwrap()));
        let answers: Vec<_> =
            answers.iter().enumerate().map(|(at, answer)| (address(at), answer.clone())).collect();
        let findings = addresses(&answers, implicit, false);
        findings.iter().filter_map(|found| Some(found.diagnosis?.0)).collect()
    }

    #[test]
    fn each_answer_has_its_diagnosis() {
        use ServerProtocol::{Http, Mail, Ssh, Tls, Unfinished, Unknown};
        let refused = FirstLook::Failed(io::ErrorKind::ConnectionRefused, "refused".into());
        let no_route = FirstLook::Failed(io::ErrorKind::HostUnreachable, "no route".into());
        let no_address = FirstLook::Failed(io::ErrorKind::AddrNotAvailable, "no address".into());
        let silent = || FirstLook::Silent(Duration::from_secs(60));
        for (answer, implicit, want) in [
            (greets("220 ready", 0, false), false, None),
            (greets("120 soon", 0, false), false, None),
            (greets("220 ready", 9, false), false, Some("greeting-late")),
            (greets("220 ready", 0, true), true, Some("plain-on-tls-port")),
            (talks(Tls, b"\x15\x03\x03\0\x02\x02\x28", 0, true), true, None),
            (talks(Tls, b"\x15\x03\x03\0\x02\x02\x28", 0, true), false, Some("tls-on-plain-port")),
            (talks(Ssh, b"SSH-2.0-x\r\n", 0, false), false, Some("ssh-on-port")),
            (talks(Ssh, b"SSH-2.0-x\r\n", 0, true), true, Some("ssh-on-port")),
            (talks(Http, b"HTTP/1.1 400 x\r\n", 5, true), false, Some("http-on-port")),
            (talks(Mail("SMTP"), b"220 x ESMTP\r\n", 0, false), false, Some("other-protocol")),
            (talks(Unknown, b"what?", 0, false), false, Some("other-protocol")),
            (talks(Unfinished, b"220-never", 60, false), false, Some("greeting-never")),
            (greets("421 full", 0, false), false, Some("greeting-refused")),
            (greets("500 no", 0, false), false, Some("greeting-denied")),
            (greets("530 too many users", 0, false), false, Some("greeting-refused")),
            (FirstLook::Closed, false, Some("closed-unspoken")),
            (silent(), false, Some("greeting-never")),
            (refused, false, Some("port-closed")),
            (no_route, false, Some("host-unreachable")),
            // Without --bind.
            (no_address, false, Some("host-unreachable")),
            (FirstLook::Unanswered, false, Some("host-silent")),
        ] {
            let found = names(std::slice::from_ref(&answer), implicit);
            assert_eq!(found, want.into_iter().collect::<Vec<_>>(), "{answer:?}");
        }
    }

    #[test]
    fn one_good_address_makes_the_others_a_warning() {
        let good = greets("220 ready", 0, false);
        assert_eq!(names(&[FirstLook::Unanswered, good.clone()], false), ["address-dead"]);
        assert_eq!(names(&[good.clone(), good], false), [""; 0]);
        let all = [FirstLook::Unanswered, FirstLook::Closed];
        assert_eq!(names(&all, false), ["host-silent", "closed-unspoken"]);
    }

    #[test]
    fn a_name_must_have_an_address_of_the_wanted_family() {
        let four: SocketAddr = "192.0.2.1:21".parse().unwrap();
        let six: SocketAddr = "[2001:db8::1]:21".parse().unwrap();
        for (found, want) in [
            (None, Err("name-unanswered")),
            (Some(Err(io::Error::other("Name or service not known"))), Err("name-unknown")),
            (Some(Ok(vec![])), Err("name-unknown")),
            (Some(Ok(vec![six])), Err("no-address-of-family")),
            (Some(Ok(vec![six, four])), Ok(vec![four])),
            (Some(Ok(vec![four; 20])), Ok(vec![four; 8])),
        ] {
            let (finding, wanted) = wanted("host", &found, SocketAddr::is_ipv4, 8);
            let name = finding.diagnosis.map(|diagnosis| diagnosis.0);
            assert_eq!(wanted.ok_or_else(|| name.unwrap()), want);
        }
    }

    #[test]
    fn the_only_working_address_family_is_recommended() {
        let good = greets("220 ready", 0, false);
        let four = "192.0.2.1:21".parse().unwrap();
        let six = "[2001:db8::1]:21".parse().unwrap();
        for (of_four, of_six, want) in [
            (Some(good.clone()), Some(FirstLook::Unanswered), Some("-4")),
            (Some(FirstLook::Closed), Some(good.clone()), Some("-6")),
            (Some(good.clone()), Some(good.clone()), None),
            (Some(good), None, None),
            (Some(FirstLook::Unanswered), Some(FirstLook::Unanswered), None),
        ] {
            let answers: Vec<(SocketAddr, FirstLook)> = [(four, of_four), (six, of_six)]
                .into_iter()
                .filter_map(|(at, of)| Some((at, of?)))
                .collect();
            assert_eq!(good_family(&answers), want, "{answers:?}");
        }
    }

    #[test]
    fn server_text_is_shown_escaped_li_04() {
        let answer = talks(ServerProtocol::Unknown, b"\x1b[2J\x1b]0;owned\x07", 0, false);
        let found = addresses(&[(SocketAddr::from(([192, 0, 2, 1], 21)), answer)], false, false);
        assert_eq!(found[1].grade, Grade::Fail);
        assert!(found[1].seen.contains("\\x1b[2J") && !found[1].seen.contains('\x1b'));
    }
}

#[cfg(test)]
mod proxy_tests {
    use super::*;

    #[test]
    fn proxy_failures_are_distinguished_from_server_failures() {
        let chosen =
            Chosen { proxy: "socks5://u:geheim@h".parse().unwrap(), by: "all_proxy".to_owned() };
        let found = first_connection(&chosen, Some(&Error::Timeout(Phase::Proxy)), false);
        assert_eq!(found.diagnosis, Some(Diagnosis("proxy-silent")));
        assert!(!found.seen.contains("geheim"), "{found:?}");
        // The next checks judge the server itself.
        for error in [None, Some(&Error::Closed), Some(&Error::Timeout(Phase::Greeting))] {
            let found = first_connection(&chosen, error, false);
            assert_eq!(found.seen, "connections go through socks5://h:1080, named by all_proxy");
            assert_eq!(found.diagnosis, None);
        }
    }
}
