//! `doctor URL`: examines all ways to use a server, and reports what each finding means, which side
//! can fix it, and how. Connects only to the named server, and sends nothing unencrypted that the
//! URL wants protected.
//!
//! Each question has a file or a directory (`addresses`, `login`, `tls`, `data_connections`,
//! `packets`, `abilities`, `upload`). Examining records observations as data; `judge` derives the
//! findings from that data alone; `diagnosis` is the table of all texts about them.
//!
//! Independent checks run in parallel, as far as the server accepts several connections (`places`).
//! One deadline covers everything, and no wait takes more than a share of the remaining time
//! (`dial`).

mod abilities;
mod addresses;
mod advice;
mod clock;
mod data_connections;
mod diagnosis;
mod dial;
mod finding;
mod login;
mod object;
mod packets;
mod places;
mod report;
mod side_by_side;
mod tls;
mod upload;
mod way;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::Duration;

use ftp_client::{Client, Error, Family, Phase};
use ftp_proto::{AddressClass, Features, FtpUrl, Scheme};
use log::LevelFilter;

use self::finding::{Check, Finding, lost, not_again};
use self::side_by_side::{joined, start};
use self::way::Way;
use crate::connect::credentials::Finder;
use crate::connect::dialler::{self, Dialler};
use crate::connect::tls_options::TlsOptions;
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::console::trace;
use crate::exit::Failure;
use crate::options::Options;
use crate::options::urls;
use addresses::Answer;
use advice::Advice;
use data_connections::Best;
use diagnosis::Diagnosis;
use dial::Dial;
use object::PathKind;
use packets::Passage;
use places::{Inside, Places};
use report::Report;

/// Number of addresses of a name that are examined.
const MOST_ADDRESSES: usize = 8;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [url] = options.operands.as_slice() else {
        return Err(Failure::usage("doctor takes one URL: ftp-cli doctor URL"));
    };
    let url = urls::parse(url)?;
    let timeouts = dialler::timeouts(options)?;
    let dialler = Dialler::in_both_modes(options)?;
    let protection = TlsOptions::from_options(options)?;
    let word = options.value("tls").and_then(OsStr::to_str);
    let tls = protection.of(&url)?;
    // If the URL does not ask for TLS, the server's offer is examined all the same.
    let secure_url = secured(&url);
    let offered = secure_url.as_ref().and_then(|url| protection.of(url).ok().flatten());
    let credentials = Finder::new(options, &stdio.messages).find(&url)?;
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let cleanup = Cleanup::watch(stdio)?;
    // Starts here, since the user may have been asked for a password.
    let dialler = dialler.within(dial::WHOLE);
    let mut dial = Dial {
        calm: dialler.clone(),
        dialler: dialler.stopped_by(&cleanup),
        messages: stdio.messages.clone(),
        url: &url,
        secure_url: secure_url.as_ref(),
        offered,
        tls: tls.clone(),
        is_tried: word == Some("try"),
        is_implicit: url.scheme() == Scheme::Ftps || word == Some("implicit"),
        listed: AtomicBool::new(false),
        truncated: AtomicBool::new(false),
        credentials: &credentials,
        timeouts,
        greeted: Duration::ZERO,
        wanted: dialler::mode(options),
        family: dialler::family(options),
        bind: dialler::bind(options)?,
        rule: dialler::address_rule(options)?.unwrap_or_default(),
        upload: options.value("upload-dir").map(OsStr::as_bytes),
        places: Places::new(),
    };
    let mut report = Report::new(stdio, options.is_quiet());
    let mut advice = Advice { url: url.to_string(), ..Advice::default() };
    let examined = examine(&mut dial, &mut report, &mut advice);
    let unfinished = match examined {
        // The findings so far are worth reporting.
        Err(failure) if failure.phase == Some(Phase::Overall) => Some(failure),
        examined => examined.map_err(|failure| failure.context(&url)).map(|()| None)?,
    };
    let command = advice.way.map(|way| {
        advice.kept = advice::kept(options, way);
        advice.command()
    });
    report.end(command.as_deref()).map_err(|failure| failure.context(&url))?;
    unfinished.map_or(Ok(()), |mut failure| {
        failure
            .message
            .push_str("; not everything was examined: use --timeout TIME for more (default: 30 s)");
        Err(failure.context(&url))
    })
}

/// Returns whether a URL does not ask for TLS.
fn url_is_plain(url: &FtpUrl) -> bool {
    url.scheme() == Scheme::Ftp
}

/// Returns the URL of the same server under TLS; `None` if it asks for TLS already.
fn secured(url: &FtpUrl) -> Option<FtpUrl> {
    let secured = format!("ftpes://{}/", dial::server(url));
    url_is_plain(url).then(|| FtpUrl::parse(secured.as_bytes()).ok()).flatten()
}

/// Runs all checks in order and reports their findings. Ends early if nothing more can be found.
///
/// # Errors
///
/// `Local` for standard output, `Interrupted`, and `Timeout` if the time for the whole is over.
fn examine(
    dial: &mut Dial<'_>,
    report: &mut Report<'_>,
    advice: &mut Advice,
) -> Result<(), Failure> {
    let Some(addresses) = resolved(dial, report)? else { return Ok(()) };
    let answers = answers(dial, addresses)?;
    dial.in_time()?;
    report.all(addresses::judge::addresses(&answers, dial.is_implicit))?;
    advice.family = addresses::judge::good_family(&answers);
    dial.greeted = addresses::judge::slowest(&answers);
    let dial = &*dial;
    if report.has_failed() {
        return Ok(());
    }
    if let Some(tls) = &dial.tls {
        let seen = tls::look(dial, tls)?;
        dial.in_time()?;
        let is_refusal = matches!(seen.outcome, tls::TlsOutcome::Refused(_));
        report.all(tls::judge(&seen, !(dial.is_tried && is_refusal), None))?;
    }
    if report.has_failed() {
        return Ok(());
    }
    let Some(entered) = entered(dial, report, advice)? else { return Ok(()) };
    let is_protected = entered.client.it.tls().is_some();
    if is_protected && url_is_plain(dial.url) {
        // Requested by --tls.
        advice.scheme = Some(if dial.is_implicit { "ftps" } else { "ftpes" });
    }
    let best = moved(dial, entered, report, advice)?;
    dial.in_time()?;
    let Some(Best(way)) = best else { return Ok(()) };
    advice.way = Some(way);
    used(dial, way, is_protected, report, advice)?;
    dial.in_time()
}

/// Takes the first look at all addresses in parallel.
fn answers(
    dial: &Dial<'_>,
    addresses: Vec<SocketAddr>,
) -> Result<Vec<(SocketAddr, Answer)>, Failure> {
    let look = |address| {
        let timeouts = dial.timeouts_of_look();
        (address, addresses::look(address, dial.bind, &timeouts, dial.is_implicit))
    };
    scope(|scope| {
        let all: Vec<_> =
            addresses.into_iter().map(|address| start(scope, move || look(address))).collect();
        all.into_iter().map(|one| one.map(joined)).collect()
    })
}

/// Tries each method of data connections in parallel, and the checks that need no data.
fn moved(
    dial: &Dial<'_>,
    entered: Entered<'_>,
    report: &mut Report<'_>,
    advice: &mut Advice,
) -> Result<Option<Best>, Failure> {
    let Entered { mut client, local, peer, features } = entered;
    // Checks that use only the control connection run first: they are fast.
    let seen_as = data_connections::seen_as(&mut client.it, local, peer);
    let no_such_family = data_connections::no_such_family(&mut client.it, local);
    let (learned, outcomes, passage, tls) = scope(|scope| {
        let outcomes =
            Way::ALL.map(|way| start(scope, move || data_connections::attempt(dial, way, peer)));
        let passage = start(scope, || packets::up(dial));
        let tls = dial.offered.as_ref().filter(|_| dial.tls.is_none());
        let tls = tls.map(|tls| start(scope, || tls::look(dial, tls)));
        let learned = data_connections::ports::ask(dial, &mut client.it, peer);
        dial.places.wait_for_second();
        client.quit();
        let [one, two, three, four] = outcomes.map(|outcome| outcome.and_then(joined));
        let outcomes = [one?, two?, three?, four?];
        let tls = tls.map(|tls| tls.and_then(joined)).transpose()?;
        Ok::<_, Failure>((learned, outcomes, passage.and_then(joined)?, tls))
    })?;
    if let Some(seen) = tls {
        report.all(tls::judge(&seen, false, Some(&features)))?;
        if matches!(seen.outcome, tls::TlsOutcome::Secured) {
            advice.scheme = Some("ftpes");
        }
    }
    let wanted = dial.wanted;
    let seen = data_connections::WaysSeen {
        local,
        peer,
        seen_as,
        ports: learned,
        no_such_family,
        outcomes,
        wanted,
    };
    let (findings, best) = data_connections::judge(&seen);
    report.all(findings)?;
    report.add(packets::judge(&passage))?;
    let (peak, refused) = dial.places.seen();
    report.add(match refused {
        Some(asked) => Finding::warn(
            Check::Parallel,
            Diagnosis::FewConnections,
            format_args!("the server accepted {peak} of {asked} connections at a time"),
        ),
        None if peak < 2 => {
            let seen = format_args!("it is not known whether several connections work at a time");
            Finding::skip(Check::Parallel, seen)
        }
        None => Finding::ok(Check::Parallel, format_args!("{peak} connections at a time work")),
    })?;
    Ok(best)
}

/// Examines everything beyond moving bytes in parallel, with the best method.
fn used(
    dial: &Dial<'_>,
    way: Way,
    is_protected: bool,
    report: &mut Report<'_>,
    advice: &mut Advice,
) -> Result<(), Failure> {
    let (reuse, listed, upload) = scope(|scope| {
        let reuse = is_protected.then(|| start(scope, || tls_on_data(dial, way)));
        let upload = dial
            .upload
            .map(|directory| start(scope, move || upload::examine(dial, way, directory)));
        let listed = start(scope, || listed(dial, way)).and_then(joined);
        let reuse = reuse.map_or(Ok(Vec::new()), |reuse| reuse.and_then(joined));
        (reuse, listed, upload.map(|upload| upload.and_then(joined)))
    });
    let listed = listed.map(|(object, findings)| {
        if matches!(object, Some(PathKind::Missing(_))) {
            advice.url = top(dial.url);
        }
        findings
    });
    let upload = upload.unwrap_or_else(|| {
        let seen = format_args!("uploads and the clock are examined only with --upload-dir DIR");
        Ok(vec![Finding::skip(Check::Put, seen)])
    });
    // Findings of one check are reported whatever happens to the others.
    let mut failed = None;
    for findings in [reuse, listed, upload] {
        match findings {
            Ok(findings) => report.all(findings)?,
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Examines the path of the URL, the listings there, and a large transfer.
fn listed(dial: &Dial<'_>, way: Way) -> Result<(Option<PathKind>, Vec<Finding>), Failure> {
    let mut inside = match dial.client(way) {
        Ok(inside) => inside,
        Err(error) => return Ok((None, vec![not_again(Check::List, &error)?])),
    };
    let client = &mut inside.it;
    let path = object::path(dial.url);
    let object = match object::look(client, &path) {
        Ok(object) => object,
        Err(error) => return Ok((None, vec![lost(Check::Path, &error)?])),
    };
    let mut findings = vec![object::judge(&path, &object)];
    let directory = if object == PathKind::Directory { path.as_slice() } else { b"" };
    let seen = match abilities::look(client, directory) {
        Ok(seen) => seen,
        Err(error) => {
            findings.push(lost(Check::List, &error)?);
            return Ok((Some(object), findings));
        }
    };
    findings.extend(abilities::judge(&seen));
    let large = match object {
        PathKind::File => Some(path),
        _ => abilities::large(client, directory, &seen),
    };
    let passage = match large {
        Some(path) => packets::down(client, &path)?,
        None => Passage::Unknown(format!(
            "no file of at least {} bytes to read: name one in the URL, or use --upload-dir",
            packets::LEAST
        )),
    };
    if dial.upload.is_none() || !matches!(passage, Passage::Unknown(_)) {
        findings.push(packets::judge(&passage));
    }
    if !matches!(passage, Passage::Stalled(_)) {
        inside.quit();
    }
    Ok((Some(object), findings))
}

/// Returns the URL without its path.
fn top(url: &FtpUrl) -> String {
    let whole = url.to_string();
    let host = whole.find("://").map_or(0, |at| at + 3);
    let end = whole.get(host..).and_then(|rest| rest.find('/'));
    end.and_then(|end| whole.get(..=host + end)).unwrap_or(&whole).to_owned()
}

/// Returns the addresses of the server, of the wanted family.
fn resolved(dial: &Dial<'_>, report: &mut Report<'_>) -> Result<Option<Vec<SocketAddr>>, Failure> {
    let host = dial.url.host();
    let port = dial.url.port();
    let found = addresses::resolve(host, port, dial.timeouts().resolve);
    dial.in_time()?;
    let is_wanted = |address: &SocketAddr| {
        let of_bind = dial.bind.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4());
        of_bind
            && match dial.family {
                Family::V4 => address.is_ipv4(),
                Family::V6 => address.is_ipv6(),
                _ => true,
            }
    };
    let (finding, addresses) = addresses::judge::resolved(host, found, is_wanted, MOST_ADDRESSES);
    report.add(finding)?;
    Ok(addresses)
}

/// A logged-in client, with the local address and the server's.
struct Entered<'a> {
    client: Inside<'a, Client>,
    local: SocketAddr,
    peer: SocketAddr,
    features: Features,
}

fn entered<'a>(
    dial: &'a Dial<'_>,
    report: &mut Report<'_>,
    advice: &mut Advice,
) -> Result<Option<Entered<'a>>, Failure> {
    let mut inside = match dial.connect() {
        Ok(inside) => inside,
        Err(error) => {
            dial.in_time()?;
            report.add(match &error {
                // The server accepted a connection a moment ago.
                Error::ServiceClosing(_) | Error::Greeting(_) => not_again(Check::Connect, &error)?,
                error => lost(Check::Connect, error)?,
            })?;
            return Ok(None);
        }
    };
    let client = &mut inside.it;
    let addresses = client.local_addr().zip(client.peer_addr());
    let Some((local, peer)) = addresses else { return Ok(None) };
    // Some servers list features only after the login.
    let mut features = client.features().unwrap_or_default();
    let tells = features.iter().next().is_some();
    if tells {
        report.add(login::features(&features))?;
        report.add(login::system(&client.system()))?;
    }
    let in_clear = client.tls().is_none();
    let is_public = AddressClass::of(peer.ip()) == AddressClass::Public;
    if dial.credentials.is_personal && in_clear && is_public {
        report.add(Finding::warn(
            Check::Login,
            Diagnosis::ClearPassword,
            format_args!("the password of {} is sent to {} unencrypted", dial.user(), peer.ip()),
        ))?;
    }
    match dial.login(client) {
        Ok(()) => {
            report.add(Finding::ok(Check::Login, format_args!("logged in as {}", dial.user())))?;
            if !in_clear {
                let seen = format_args!("the server accepted PBSZ and PROT");
                report.add(Finding::ok(Check::Protection, seen))?;
            }
        }
        Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
        Err(error) => {
            dial.in_time()?;
            drop(inside);
            let tls = offered(dial, report, advice, &features)?;
            report.add(login::refused(dial.user(), &error, in_clear.then_some(tls)))?;
            return Ok(None);
        }
    }
    if !tells {
        features = client.features().unwrap_or_default();
        report.add(login::features(&features))?;
        report.add(login::system(&client.system()))?;
    }
    Ok(Some(Entered { client: inside, local, peer, features }))
}

/// Examines whether TLS is offered if the URL does not ask for it, and reports it.
fn offered(
    dial: &Dial<'_>,
    report: &mut Report<'_>,
    advice: &mut Advice,
    features: &Features,
) -> Result<login::Offer, Failure> {
    let Some(tls) = dial.offered.as_ref().filter(|_| dial.tls.is_none()) else {
        return Ok(login::Offer::Unknown);
    };
    let seen = tls::look(dial, tls)?;
    report.all(tls::judge(&seen, false, Some(features)))?;
    if matches!(seen.outcome, tls::TlsOutcome::Secured) {
        advice.scheme = Some("ftpes");
    }
    Ok(match seen.outcome {
        tls::TlsOutcome::Refused(_) => login::Offer::Refused,
        _ => login::Offer::Unknown,
    })
}

/// Examines TLS on data connections, with the method that works.
fn tls_on_data(dial: &Dial<'_>, way: Way) -> Result<Vec<Finding>, Failure> {
    // TLS on data connections begins with a transfer, and only listings change nothing there.
    if !dial.listed.load(Ordering::Relaxed) {
        let skip = |check| Finding::skip(check, format_args!("this user may not list files"));
        return Ok(vec![skip(Check::Reuse), skip(Check::CloseNotify)]);
    }
    let reuse = match data_connections::without_resuming(dial, way)? {
        Ok(None) => Finding::ok(
            Check::Reuse,
            format_args!("data connections need not resume a TLS session"),
        ),
        Ok(Some(why)) => Finding::warn(
            Check::Reuse,
            Diagnosis::ReuseDemanded,
            format_args!("a data connection that does not resume a TLS session fails: {why}"),
        ),
        Err(error) if data_connections::is_unreached(&error) => {
            Finding::skip(Check::Reuse, format_args!("{error}"))
        }
        Err(error) => return Ok(vec![not_again(Check::Reuse, &error)?]),
    };
    let end = match dial.truncated.load(Ordering::Relaxed) {
        false => Finding::ok(Check::CloseNotify, format_args!("data ends with close_notify")),
        true => Finding::fail(
            Check::CloseNotify,
            Diagnosis::NoCloseNotify,
            format_args!("a listing ended without close_notify"),
        ),
    };
    Ok(vec![reuse, end])
}
