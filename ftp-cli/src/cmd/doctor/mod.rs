//! `doctor URL`: examines all ways to use a server, and reports what each problem means, which side
//! can fix it, and how. Connects only to the named server or the proxy. If the URL asks for TLS,
//! sends nothing secret unencrypted.
//!
//! Each group of checks has a file or a directory (`addresses`, `login`, `tls`, `data_connections`,
//! `packets`, `abilities`, `upload`). First the checks record observations as data. Then `judge`
//! derives the findings from this data alone. `diagnosis` has the table of all problems.
//!
//! Independent checks run in parallel, as far as the server accepts several connections (`places`).
//! One deadline covers everything, and no long wait takes more than a share of the remaining time
//! (`dial`).

mod abilities;
mod addresses;
mod advice;
mod asked;
mod clock;
mod data_connections;
mod data_method;
mod diagnosis;
mod dial;
mod entry;
mod finding;
mod login;
mod object;
mod packets;
mod places;
mod proxy;
mod report;
mod report_file;
mod side_by_side;
mod tls;
mod upload;
mod watch;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread::scope;
use std::time::Duration;

use ftp_client::Family;
use ftp_proto::{FtpUrl, Scheme};
use log::LevelFilter;

use self::data_method::DataMethod;
use self::finding::{Check, Finding, lost, not_again};
use self::side_by_side::{joined, start};
use crate::connect::credentials::Finder;
use crate::console::output;
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::{Options, urls};
use addresses::Answer;
use advice::Advice;
use asked::Asked;
use data_connections::Best;
use diagnosis::Diagnosis;
use dial::Dial;
use entry::Entered;
use object::PathKind;
use packets::LargeTransfer;
use report::{Report, Shown};

/// Largest number of addresses to examine.
const MOST_ADDRESSES: usize = 8;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [url] = options.operands.as_slice() else {
        return Err(Failure::usage("doctor takes one URL: ftp-cli doctor URL"));
    };
    let url = urls::parse(url)?;
    let asked = Asked::new(options, &url)?;
    let interval = watch::interval(options)?;
    let credentials = Finder::new(options, &stdio.messages).find(&url)?;
    output::start(options, &stdio.messages, LevelFilter::Warn)?;
    let cleanup = Cleanup::watch(stdio)?;
    let mut before: Option<Vec<Finding>> = None;
    loop {
        let shown = match &before {
            Some(_) => Shown::Nothing,
            None if options.is_quiet() => Shown::Problems,
            None => Shown::All,
        };
        let done = asked.examine_once(&credentials, &cleanup, stdio, shown)?;
        if let Some(before) = &before {
            watch::tell(before, &done.findings, options.is_quiet(), stdio)?;
        }
        // The best command line is the last line of the output, after the changes.
        if let Some(command) = &done.command
            && (before.is_none() || done.outcome.is_ok())
        {
            report::best(command, stdio)?;
        }
        if let Some(path) = options.value("report") {
            report_file::write(path, options, &url, &credentials, &done)?;
        }
        match interval {
            Some(interval) if watch::may_pass(&done.outcome) => {
                watch::pause(interval, asked.dialler.left(), &cleanup)?;
                if asked.dialler.left() == Some(Duration::ZERO) {
                    return done.outcome;
                }
            }
            _ => return done.outcome,
        }
        before = Some(done.findings);
    }
}

fn url_is_plain(url: &FtpUrl) -> bool {
    url.scheme() == Scheme::Ftp
}

/// Returns the URL of the same server with TLS, or `None` if `url` asks for TLS already.
fn secured(url: &FtpUrl) -> Option<FtpUrl> {
    let secured = format!("ftpes://{}/", dial::server(url));
    url_is_plain(url).then(|| FtpUrl::parse(secured.as_bytes()).ok()).flatten()
}

/// Runs all checks, and reports their findings in order. Ends early if nothing more can be found.
///
/// # Errors
///
/// Returns the failure of standard output, `Interrupted` after a signal, or `Timeout` if the time
/// for the whole examination is over. Also returns failures on this computer, such as an unreadable
/// CA file.
fn examine(
    dial: &mut Dial<'_>,
    report: &mut Report<'_>,
    advice: &mut Advice,
) -> Result<(), Failure> {
    if let Some(local) = dial.bind.filter(|local| addresses::is_missing(*local)) {
        return report.add(addresses::judge::no_local_address(local));
    }
    match &dial.proxy {
        Some(chosen) => report.add(proxy::look(dial, chosen)?)?,
        None => first_look(dial, report, advice)?,
    }
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
    let Some(entered) = entry::enter(dial, report, advice)? else { return Ok(()) };
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

/// Looks up the name, and takes a first look at all addresses.
fn first_look(
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
    Ok(())
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

/// Tries all methods of data connections, and runs the checks that need no data, in parallel.
fn moved(
    dial: &Dial<'_>,
    entered: Entered<'_>,
    report: &mut Report<'_>,
    advice: &mut Advice,
) -> Result<Option<Best>, Failure> {
    let Entered { mut client, addresses, features } = entered;
    // Checks that use only the control connection run first: they are fast.
    let it = &mut client.it;
    let seen_as = addresses.and_then(|(local, peer)| data_connections::seen_as(it, local, peer));
    let no_such_family =
        addresses.and_then(|(local, _)| data_connections::no_such_family(it, local));
    let peer = addresses.map(|(_, peer)| peer);
    let (learned, outcomes, passage, tls) = scope(|scope| {
        let outcomes = DataMethod::ALL
            .map(|way| start(scope, move || data_connections::attempt(dial, way, peer)));
        let passage = start(scope, || packets::up(dial));
        let tls = dial.offered.as_ref().filter(|_| dial.tls.is_none());
        let tls = tls.map(|tls| start(scope, || tls::look(dial, tls)));
        // This check connects to the ports directly, so it is left out with a proxy.
        let learned = peer.map(|peer| data_connections::ports::ask(dial, &mut client.it, peer));
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
    let (findings, best) = match (addresses, learned) {
        (Some((local, peer)), Some(ports)) => {
            data_connections::judge(&data_connections::MethodsSeen {
                local,
                peer,
                seen_as,
                ports,
                no_such_family,
                outcomes,
                wanted: dial.wanted,
            })
        }
        _ => data_connections::through_proxy(outcomes),
    };
    report.all(findings)?;
    report.add(packets::judge(&passage))?;
    report.add(connections_at_a_time(dial))?;
    Ok(best)
}

/// Returns the finding about the number of connections that the server has accepted at a time.
fn connections_at_a_time(dial: &Dial<'_>) -> Finding {
    let (peak, refused) = dial.places.seen();
    match refused {
        Some(asked) => Finding::warn(
            Check::Parallel,
            Diagnosis::FewConnections,
            format_args!("the server accepted only {peak} of {asked} connections at a time"),
        ),
        None if peak < 2 => {
            let seen = format_args!("cannot tell whether several connections at a time work");
            Finding::skip(Check::Parallel, seen)
        }
        None => Finding::ok(Check::Parallel, format_args!("{peak} connections at a time work")),
    }
}

/// Runs the checks that need a working data connection, in parallel, with the best method.
fn used(
    dial: &Dial<'_>,
    way: DataMethod,
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
    let listed = listed.map(|PathSeen { object, may_not_list, findings }| {
        // The advice is not `put` for the URL of a file, because the upload would replace the file.
        advice.may_not_list = may_not_list && object != Some(PathKind::File);
        match object {
            Some(PathKind::Missing(_)) => advice.url = top(dial.url),
            // `put` needs a slash at the end of a directory's URL; `ls` does not.
            Some(PathKind::Directory) if may_not_list && !advice.url.ends_with('/') => {
                advice.url.push('/');
            }
            _ => {}
        }
        findings
    });
    let upload = upload.unwrap_or_else(|| {
        let seen = format_args!("uploads and the clock are checked only with --upload-dir DIR");
        Ok(vec![Finding::skip(Check::Put, seen)])
    });
    // The findings of one check are reported even if another check fails.
    let mut failed = None;
    for findings in [reuse, listed, upload] {
        match findings {
            Ok(findings) => report.all(findings)?,
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Observations at the path of the URL.
struct PathSeen {
    /// Kind of object at the path; `None` if the login failed or the connection was lost.
    object: Option<PathKind>,
    /// Whether the server refuses listings there.
    may_not_list: bool,
    findings: Vec<Finding>,
}

/// Examines the path of the URL, the listings there, and a large transfer.
fn listed(dial: &Dial<'_>, way: DataMethod) -> Result<PathSeen, Failure> {
    let ended = |object, findings| Ok(PathSeen { object, may_not_list: false, findings });
    let mut inside = match dial.client(way) {
        Ok(inside) => inside,
        Err(error) => return ended(None, vec![not_again(Check::List, &error)?]),
    };
    let client = &mut inside.it;
    let path = object::path(dial.url);
    let object = match object::look(client, &path) {
        Ok(object) => object,
        Err(error) => return ended(None, vec![lost(Check::Path, &error)?]),
    };
    let mut findings = vec![object::judge(&path, &object)];
    let directory = if object == PathKind::Directory { path.as_slice() } else { b"" };
    let seen = match abilities::look(client, directory) {
        Ok(seen) => seen,
        Err(error) => {
            findings.push(lost(Check::List, &error)?);
            return ended(Some(object), findings);
        }
    };
    findings.extend(abilities::judge(&seen));
    let large = match object {
        PathKind::File => Some(path),
        _ => abilities::large(client, directory, &seen),
    };
    let passage = match large {
        Some(path) => packets::down(client, &path)?,
        None => LargeTransfer::Unknown(format!(
            "no file of at least {} bytes to download: name one in the URL, or use --upload-dir",
            packets::LEAST
        )),
    };
    if dial.upload.is_none() || !matches!(passage, LargeTransfer::Unknown(_)) {
        findings.push(packets::judge(&passage));
    }
    if !matches!(passage, LargeTransfer::Stalled(_)) {
        inside.quit();
    }
    Ok(PathSeen { object: Some(object), may_not_list: seen.may_not_list(), findings })
}

/// Returns the URL without its path.
fn top(url: &FtpUrl) -> String {
    let whole = url.to_string();
    let host = whole.find("://").map_or(0, |at| at + 3);
    let end = whole.get(host..).and_then(|rest| rest.find('/'));
    end.and_then(|end| whole.get(..=host + end)).unwrap_or(&whole).to_owned()
}

/// Returns the server's addresses of the wanted family.
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

/// Examines TLS on data connections, with the method that works.
fn tls_on_data(dial: &Dial<'_>, way: DataMethod) -> Result<Vec<Finding>, Failure> {
    // TLS on a data connection begins with a transfer, and a listing is the only transfer that
    // needs no file.
    if !dial.listed.load(Ordering::Relaxed) {
        let skip = |check| Finding::skip(check, format_args!("this user cannot list files"));
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
