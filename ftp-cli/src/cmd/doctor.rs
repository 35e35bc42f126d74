//! `doctor URL`: examines every way to a server, and says what each finding means and what to do
//! about it on which side. It talks to the named server alone, and sends nothing in clear that the
//! URL wants protected.
//!
//! What is looked at is data (`probe`, `ways`, `abilities`, `upload` fill in what was seen), what it
//! means is worked out from that data alone (`reach`, `entrance`, `judge`), and what is said about
//! it stands in one table (`diagnosis`).

mod abilities;
mod advice;
mod diagnosis;
mod entrance;
mod finding;
mod probe;
mod reach;
mod recognise;
mod report;
mod upload;
mod ways;

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use ftp_client::{Client, ClientBuilder, Error, Family, Mode, Timeouts};
use ftp_proto::{AddressClass, Escaped, FtpUrl, Scheme};
use log::LevelFilter;

use crate::credentials::{Credentials, Finder};
use crate::exit::Failure;
use crate::options::Options;
use crate::remote::{self, Dialler};
use crate::signals::Cleanup;
use crate::stdio::Stdio;
use crate::trace;
use advice::Advice;
use diagnosis::Diagnosis;
use finding::{Check, Finding};
use probe::Answer;
use report::Report;
use ways::Best;

/// So many addresses of a name are looked at.
const MOST_ADDRESSES: usize = 8;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [url] = options.operands.as_slice() else {
        return Err(Failure::usage("doctor takes one URL: ftp-cli doctor URL"));
    };
    let url = remote::url(url)?;
    let timeouts = remote::timeouts(options)?;
    let dialler = Dialler::from_options(options)?;
    let credentials = Finder::new(options, &stdio.messages).find(&url)?;
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let cleanup = Cleanup::watch(stdio)?;
    let with_account = |builder: ClientBuilder| match &credentials.account {
        Some(account) => builder.account(account.as_bytes()),
        None => builder,
    };
    let dial = Dial {
        calm: with_account(dialler.builder()),
        builder: with_account(dialler.stopped_by(&cleanup).builder()),
        url: &url,
        credentials: &credentials,
        timeouts,
        wanted: match options.last_of(&["active", "passive"]) {
            Some("active") => Mode::Active,
            _ => Mode::Passive,
        },
        family: remote::family(options),
        bind: remote::bind(options)?,
        upload: options.value("upload-dir").map(OsStr::as_bytes),
    };
    let mut report = Report::new(stdio, options.is_quiet());
    let mut advice = Advice {
        url: url.to_string(),
        user: options.value("user").map(|user| user.to_string_lossy().into_owned()),
        ..Advice::default()
    };
    examine(&dial, &mut report, &mut advice).map_err(|failure| failure.about(&url)).and_then(|()| {
        let command = advice.way.is_some().then(|| advice.command());
        report.end(command.as_deref()).map_err(|failure| failure.about(&url))
    })
}

/// How to reach the server that is examined.
struct Dial<'a> {
    builder: ClientBuilder,
    /// The same, which no signal cancels: for cleaning up behind one.
    calm: ClientBuilder,
    url: &'a FtpUrl,
    credentials: &'a Credentials,
    timeouts: Timeouts,
    /// The mode of data connections that the options ask for.
    wanted: Mode,
    family: Family,
    bind: Option<IpAddr>,
    upload: Option<&'a [u8]>,
}

impl Dial<'_> {
    /// Connects, without logging in.
    fn connect(&self) -> Result<Client, Error> {
        self.builder.clone().connect_to(self.url)
    }

    fn login(&self, client: &mut Client) -> Result<(), Error> {
        client.login(&self.credentials.user, self.credentials.password.as_bytes())
    }

    /// Connects with other settings and logs in, which has worked before. What is tried may never
    /// be answered: not longer than two data connections may take is waited for a reply.
    ///
    /// # Errors
    ///
    /// What the client says.
    fn client(
        &self,
        change: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Client, Failure> {
        let reply = self.timeouts.reply.min(self.timeouts.data_connect * 2);
        let timeouts = Timeouts { reply, ..self.timeouts };
        let builder = change(self.builder.clone().timeouts(timeouts));
        let mut client = builder.connect_to(self.url)?;
        self.login(&mut client).map_err(|error| Failure::login(&error))?;
        Ok(client)
    }

    /// The same with the settings of the options, for `limit` in all, whatever was cancelled.
    ///
    /// # Errors
    ///
    /// What the client says.
    fn undisturbed(&self, limit: Duration) -> Result<Client, Error> {
        let mut client = self.calm.clone().overall(Some(limit)).connect_to(self.url)?;
        self.login(&mut client)?;
        Ok(client)
    }

    fn user(&self) -> String {
        Escaped(&self.credentials.user).to_string()
    }
}

/// All checks in order; what is found goes to `report`. Ends early where nothing more can be found.
///
/// # Errors
///
/// `Local` for standard output, `Interrupted`.
fn examine(dial: &Dial<'_>, report: &mut Report<'_>, advice: &mut Advice) -> Result<(), Failure> {
    let Some(addresses) = resolved(dial, report)? else { return Ok(()) };
    let implicit = dial.url.scheme() == Scheme::Ftps;
    let look = |address: &SocketAddr| {
        (*address, probe::look(*address, dial.bind, &dial.timeouts, implicit))
    };
    let answers: Vec<(SocketAddr, Answer)> = addresses.iter().map(look).collect();
    report.all(reach::addresses(&answers, implicit))?;
    advice.family = reach::good_family(&answers);
    if report.has_failed() {
        return Ok(());
    }
    let Some((mut client, local, peer)) = entered(dial, report)? else { return Ok(()) };
    let learned = ways::ask(&mut client, local, peer);
    let _ = client.quit();
    let seen = ways::examine(dial, learned, (local, peer))?;
    let (findings, best) = ways::judge(&seen);
    report.all(findings)?;
    let Some(Best(way)) = best else { return Ok(()) };
    advice.way = Some(way);
    let mut client = dial.client(|builder| way.alone(builder))?;
    match abilities::look(&mut client) {
        Ok(seen) => report.all(abilities::judge(&seen))?,
        Err(error) => report.add(lost(Check::List, error)?)?,
    }
    let _ = client.quit();
    match dial.upload {
        Some(directory) => report.all(upload::judge(&upload::examine(dial, way, directory)?)),
        None => report.add(Finding::skip(
            Check::Put,
            "uploads and the clock are looked at with --upload-dir DIR only",
        )),
    }
}

/// The addresses of the server, those of the wanted family.
fn resolved(dial: &Dial<'_>, report: &mut Report<'_>) -> Result<Option<Vec<SocketAddr>>, Failure> {
    let (host, port) = (dial.url.host(), dial.url.port());
    let found = probe::resolve(host, port, dial.timeouts.resolve);
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
    let in_clear = dial.url.scheme() == Scheme::Ftp;
    let is_public = AddressClass::of(peer.ip()) == AddressClass::Public;
    if dial.credentials.is_personal && in_clear && is_public {
        let seen = format!("the password of {} goes to {} in clear", dial.user(), peer.ip());
        report.add(Finding::warn(Check::Login, Diagnosis::ClearPassword, seen))?;
    }
    match dial.login(&mut client) {
        Ok(()) => report.add(Finding::ok(Check::Login, format!("logged in as {}", dial.user())))?,
        Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
        Err(error) => {
            report.add(entrance::refused(&dial.user(), &error, in_clear))?;
            return Ok(None);
        }
    }
    if !tells {
        report.add(entrance::features(&client.features().unwrap_or_default()))?;
        report.add(entrance::system(&client.system()))?;
    }
    Ok(Some((client, local, peer)))
}

/// The connection broke, or was never made, where it worked before.
fn lost(check: Check, error: Error) -> Result<Finding, Failure> {
    match error {
        Error::Cancelled => Err(error.into()),
        error => Ok(Finding::fail(check, Diagnosis::ConnectionLost, error.to_string())),
    }
}
