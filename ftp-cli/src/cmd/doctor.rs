//! `doctor URL`: examines every way to a server, and says what each finding means and what to do
//! about it on which side. It talks to the named server alone, and sends nothing in clear that the
//! URL wants protected.
//!
//! What is looked at is data (`probe`, `ways`, `abilities`, `upload` fill in what was seen), what it
//! means is worked out from that data alone (`reach`, `entrance`, `judge`), and what is said about
//! it stands in one table (`diagnosis`).

mod abilities;
mod advice;
mod certificate;
mod diagnosis;
mod entrance;
mod finding;
mod probe;
mod reach;
mod recognise;
mod report;
mod tls;
mod upload;
mod ways;

use std::cell::Cell;
use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ftp_client::{Client, ClientBuilder, Error, Family, Mode, Phase, Timeouts, Tls};
use ftp_proto::{AddressClass, Escaped, FtpUrl, Scheme};
use log::LevelFilter;

use crate::credentials::{Credentials, Finder};
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::remote::{self, Dialler};
use crate::secure::Protection;
use crate::signals::Cleanup;
use crate::stdio::{Messages, Stdio};
use crate::trace;
use advice::Advice;
use diagnosis::Diagnosis;
use finding::{Check, Finding};
use probe::Answer;
use report::Report;
use ways::{Best, Way};

/// So many addresses of a name are looked at.
const MOST_ADDRESSES: usize = 8;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [url] = options.operands.as_slice() else {
        return Err(Failure::usage("doctor takes one URL: ftp-cli doctor URL"));
    };
    let url = remote::url(url)?;
    let timeouts = remote::timeouts(options)?;
    let dialler = Dialler::in_both_modes(options)?;
    let protection = Protection::from_options(options)?;
    let word = options.value("tls").and_then(OsStr::to_str);
    let tls = protection.of(&url)?;
    // Without TLS in the URL, what the server offers is looked at all the same.
    let secure_url = secured(&url);
    let offered = secure_url.as_ref().and_then(|url| protection.of(url).ok().flatten());
    let credentials = Finder::new(options, &stdio.messages).find(&url)?;
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let cleanup = Cleanup::watch(stdio)?;
    let dial = Dial {
        calm: dialler.clone(),
        dialler: dialler.stopped_by(&cleanup),
        messages: stdio.messages.clone(),
        url: &url,
        secure_url: secure_url.as_ref(),
        offered,
        tls: tls.clone(),
        is_tried: word == Some("try"),
        is_implicit: url.scheme() == Scheme::Ftps || word == Some("implicit"),
        truncated: Cell::new(false),
        credentials: &credentials,
        timeouts,
        wanted: remote::mode(options),
        family: remote::family(options),
        bind: remote::bind(options)?,
        upload: options.value("upload-dir").map(OsStr::as_bytes),
    };
    let mut report = Report::new(stdio, options.is_quiet());
    let mut advice = Advice { url: url.to_string(), ..Advice::default() };
    examine(&dial, &mut report, &mut advice).map_err(|failure| failure.about(&url)).and_then(|()| {
        let command = advice.way.map(|way| {
            advice.kept = advice::kept(options, way);
            advice.command()
        });
        report.end(command.as_deref()).map_err(|failure| failure.about(&url))
    })
}

/// How to reach the server that is examined.
struct Dial<'a> {
    dialler: Dialler,
    /// The same, which no signal cancels: for cleaning up behind one.
    calm: Dialler,
    messages: Messages,
    url: &'a FtpUrl,
    /// How connections are protected, if they are.
    tls: Option<Tls>,
    /// Whether clear text will do where TLS is refused.
    is_tried: bool,
    /// Whether TLS begins with the first byte.
    is_implicit: bool,
    /// How they could be, and the URL for that, if the URL says nothing of TLS.
    offered: Option<Tls>,
    secure_url: Option<&'a FtpUrl>,
    /// Whether data under TLS ended without the end that TLS has.
    truncated: Cell<bool>,
    credentials: &'a Credentials,
    timeouts: Timeouts,
    /// The mode of data connections that the options ask for.
    wanted: Mode,
    family: Family,
    bind: Option<IpAddr>,
    upload: Option<&'a [u8]>,
}

impl Dial<'_> {
    /// What is left of the time for the whole counts from now.
    fn builder(&self) -> ClientBuilder {
        self.complete(self.dialler.builder())
    }

    fn complete(&self, builder: ClientBuilder) -> ClientBuilder {
        let builder = match &self.credentials.account {
            Some(account) => builder.account(account.as_bytes()),
            None => builder,
        };
        self.tls.iter().cloned().fold(builder, ClientBuilder::tls)
    }

    /// # Errors
    ///
    /// `Timeout` once the time for the whole is over: what fails then tells nothing of the server.
    fn in_time(&self) -> Result<(), Failure> {
        match self.dialler.left() {
            Some(Duration::ZERO) => Err(Error::Timeout(Phase::Overall).into()),
            _ => Ok(()),
        }
    }

    /// The limits of time, each no longer than what is left of that for the whole.
    fn timeouts(&self) -> Timeouts {
        let most = self.dialler.left().unwrap_or(Duration::MAX);
        let Timeouts { resolve, connect, data_connect, greeting, .. } = self.timeouts;
        Timeouts {
            resolve: resolve.min(most),
            connect: connect.min(most),
            data_connect: data_connect.min(most),
            greeting: greeting.min(most),
            ..self.timeouts
        }
    }

    /// Connects, without logging in.
    fn connect(&self) -> Result<Client, Error> {
        self.builder().connect_to(self.url)
    }

    fn login(&self, client: &mut Client) -> Result<(), Error> {
        client.login(&self.credentials.user, self.credentials.password.as_bytes())
    }

    /// Connects and logs in, which has worked before, for one way to data connections.
    ///
    /// # Errors
    ///
    /// What the client says.
    fn client(&self, way: Way) -> Result<Client, Failure> {
        self.client_by(self.builder(), way)
    }

    /// The same with other settings. What is tried may never be answered: not longer than two data
    /// connections may take is waited for a reply.
    ///
    /// # Errors
    ///
    /// What the client says.
    fn client_by(&self, builder: ClientBuilder, way: Way) -> Result<Client, Failure> {
        let reply = self.timeouts.reply.min(self.timeouts.data_connect * 2);
        let timeouts = Timeouts { reply, ..self.timeouts };
        self.in_time()?;
        let mut client = way.alone(builder.timeouts(timeouts)).connect_to(self.url)?;
        self.login(&mut client).map_err(|error| Failure::login(&error))?;
        Ok(client)
    }

    /// The same with the settings of the options, for `limit` in all, whatever was cancelled.
    ///
    /// # Errors
    ///
    /// What the client says.
    fn undisturbed(&self, limit: Duration) -> Result<Client, Error> {
        let builder = self.complete(self.calm.builder()).overall(Some(limit));
        let mut client = builder.connect_to(self.url)?;
        self.login(&mut client)?;
        Ok(client)
    }

    /// The URL by which TLS is looked at.
    fn secure_url(&self) -> &FtpUrl {
        self.secure_url.filter(|_| self.tls.is_none()).unwrap_or(self.url)
    }

    fn user(&self) -> Escaped<'_> {
        Escaped(&self.credentials.user)
    }
}

/// Whether a URL says nothing of TLS.
fn url_is_plain(url: &FtpUrl) -> bool {
    url.scheme() == Scheme::Ftp
}

/// The URL of the same server under TLS; `None` if it is one already.
fn secured(url: &FtpUrl) -> Option<FtpUrl> {
    let host =
        if url.host().contains(':') { format!("[{}]", url.host()) } else { url.host().into() };
    let secured = format!("ftpes://{host}:{}/", url.port());
    url_is_plain(url).then(|| FtpUrl::parse(secured.as_bytes()).ok()).flatten()
}

/// All checks in order; what is found goes to `report`. Ends early where nothing more can be found.
///
/// # Errors
///
/// `Local` for standard output, `Interrupted`, and `Timeout` if the time for the whole is over.
fn examine(dial: &Dial<'_>, report: &mut Report<'_>, advice: &mut Advice) -> Result<(), Failure> {
    let Some(addresses) = resolved(dial, report)? else { return Ok(()) };
    let implicit = dial.is_implicit;
    let look = |address: &SocketAddr| {
        (*address, probe::look(*address, dial.bind, &dial.timeouts(), implicit))
    };
    let answers: Vec<(SocketAddr, Answer)> = addresses.iter().map(look).collect();
    dial.in_time()?;
    report.all(reach::addresses(&answers, implicit))?;
    advice.family = reach::good_family(&answers);
    if report.has_failed() {
        return Ok(());
    }
    if let Some(tls) = dial.tls.as_ref().or(dial.offered.as_ref()) {
        let seen = tls::look(dial, tls)?;
        dial.in_time()?;
        let is_refusal = matches!(seen.outcome, tls::Outcome::Refused(_));
        let demands = dial.tls.is_some() && !(dial.is_tried && is_refusal);
        report.all(tls::judge(&seen, demands))?;
        if matches!(seen.outcome, tls::Outcome::Secured) && dial.tls.is_none() {
            advice.scheme = Some("ftpes");
        }
    }
    if report.has_failed() {
        return Ok(());
    }
    let Some((mut client, local, peer)) = entered(dial, report)? else { return Ok(()) };
    let is_protected = client.tls().is_some();
    if is_protected && url_is_plain(dial.url) {
        // What was asked for by --tls.
        advice.scheme = Some(if dial.is_implicit { "ftps" } else { "ftpes" });
    }
    let learned = ways::ask(&mut client, local, peer);
    let _ = client.quit();
    dial.in_time()?;
    let seen = ways::examine(dial, learned, (local, peer))?;
    let (findings, best) = ways::judge(&seen);
    report.all(findings)?;
    let Some(Best(way)) = best else { return Ok(()) };
    advice.way = Some(way);
    if is_protected {
        match tls_on_data(dial, way) {
            Ok(findings) => report.all(findings)?,
            Err(failure) => return report.add(not_again(Check::Reuse, failure)?),
        }
    }
    let mut client = match dial.client(way) {
        Ok(client) => client,
        Err(failure) => return report.add(not_again(Check::List, failure)?),
    };
    match abilities::look(&mut client) {
        Ok(seen) => report.all(abilities::judge(&seen))?,
        Err(error) => {
            dial.in_time()?;
            report.add(lost(Check::List, error)?)?;
        }
    }
    let _ = client.quit();
    match dial.upload {
        Some(directory) => match upload::examine(dial, way, directory) {
            Ok(seen) => report.all(upload::judge(&seen)),
            Err(failure) => report.add(not_again(Check::Put, failure)?),
        },
        None => report.add(Finding::skip(
            Check::Put,
            format_args!("uploads and the clock are looked at with --upload-dir DIR only"),
        )),
    }
}

/// The addresses of the server, those of the wanted family.
fn resolved(dial: &Dial<'_>, report: &mut Report<'_>) -> Result<Option<Vec<SocketAddr>>, Failure> {
    let (host, port) = (dial.url.host(), dial.url.port());
    let found = probe::resolve(host, port, dial.timeouts().resolve);
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
    let (finding, addresses) = reach::resolved(host, found, is_wanted, MOST_ADDRESSES);
    report.add(finding)?;
    Ok(addresses)
}

/// A client that is logged in, with its own address and the server's.
fn entered(
    dial: &Dial<'_>,
    report: &mut Report<'_>,
) -> Result<Option<(Client, SocketAddr, SocketAddr)>, Failure> {
    let mut client = match dial.connect() {
        Ok(client) => client,
        Err(error) => {
            dial.in_time()?;
            report.add(lost(Check::Connect, error)?)?;
            return Ok(None);
        }
    };
    let addresses = client.local_addr().zip(client.peer_addr());
    let Some((local, peer)) = addresses else { return Ok(None) };
    // Some tell only who is logged in.
    let features = client.features().unwrap_or_default();
    let tells = features.iter().next().is_some();
    if tells {
        report.add(entrance::features(&features))?;
        report.add(entrance::system(&client.system()))?;
    }
    let in_clear = client.tls().is_none();
    let is_public = AddressClass::of(peer.ip()) == AddressClass::Public;
    if dial.credentials.is_personal && in_clear && is_public {
        report.add(Finding::warn(
            Check::Login,
            Diagnosis::ClearPassword,
            format_args!("the password of {} goes to {} in clear", dial.user(), peer.ip()),
        ))?;
    }
    match dial.login(&mut client) {
        Ok(()) => {
            report.add(Finding::ok(Check::Login, format_args!("logged in as {}", dial.user())))?;
            if !in_clear {
                let seen = format_args!("the server took PBSZ and PROT");
                report.add(Finding::ok(Check::Protection, seen))?;
            }
        }
        Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
        Err(error) => {
            dial.in_time()?;
            report.add(entrance::refused(dial.user(), &error, in_clear))?;
            return Ok(None);
        }
    }
    if !tells {
        report.add(entrance::features(&client.features().unwrap_or_default()))?;
        report.add(entrance::system(&client.system()))?;
    }
    Ok(Some((client, local, peer)))
}

/// What TLS on data connections is like, by the way that works.
fn tls_on_data(dial: &Dial<'_>, way: Way) -> Result<[Finding; 2], Failure> {
    let reuse = match ways::without_resuming(dial, way)? {
        None => {
            Finding::ok(Check::Reuse, format_args!("data connections need not continue a session"))
        }
        Some(why) => Finding::warn(
            Check::Reuse,
            Diagnosis::ReuseDemanded,
            format_args!("a data connection that continues no session fails: {why}"),
        ),
    };
    let end = match dial.truncated.get() {
        false => Finding::ok(Check::CloseNotify, format_args!("the end of data is marked")),
        true => Finding::fail(
            Check::CloseNotify,
            Diagnosis::NoCloseNotify,
            format_args!("a listing ended without close_notify"),
        ),
    };
    Ok([reuse, end])
}

/// The time here, in seconds of Unix: what times of files and certificates are compared with.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The connection broke, or was never made, where it worked before.
fn lost(check: Check, error: Error) -> Result<Finding, Failure> {
    match error {
        Error::Cancelled => Err(error.into()),
        error => Ok(Finding::fail(check, Diagnosis::ConnectionLost, format_args!("{error}"))),
    }
}

/// A login failed that worked before.
///
/// # Errors
///
/// The failure itself, where it tells nothing of the server.
fn not_again(check: Check, failure: Failure) -> Result<Finding, Failure> {
    let (diagnosis, why) = refused_again(failure)?;
    Ok(Finding::fail(check, diagnosis, format_args!("{why}")))
}

/// The same as what is wrong, and the words that were seen.
fn refused_again(failure: Failure) -> Result<(Diagnosis, String), Failure> {
    match failure.exit {
        Exit::Interrupted | Exit::Local | Exit::Usage => Err(failure),
        _ if failure.phase == Some(Phase::Overall) => Err(failure),
        Exit::Login | Exit::Temporary | Exit::Refused => {
            Ok((Diagnosis::LoginAgain, failure.into_message()))
        }
        _ => Ok((Diagnosis::ConnectionLost, failure.into_message())),
    }
}
