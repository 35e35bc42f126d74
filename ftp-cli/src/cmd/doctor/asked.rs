//! One examination: the settings that it needs, and its result. `--watch` repeats the examination.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ftp_client::{AddressRule, Phase, Timeouts, Tls};
use ftp_proto::{FtpUrl, Scheme};

use super::advice::{self, Advice, Reader};
use super::dial::{self, Dial};
use super::finding::Finding;
use super::places::Places;
use super::report::{Report, Shown};
use super::{examine, proxy, secured};
use crate::connect::credentials::Credentials;
use crate::connect::dialler::{self, Dialler, Route};
use crate::connect::tls_options::TlsOptions;
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::Options;

/// The server to examine, and the settings for each examination.
pub(super) struct Asked<'a> {
    options: &'a Options,
    url: &'a FtpUrl,
    /// URL of the same server with TLS, if `url` does not ask for TLS.
    secure_url: Option<FtpUrl>,
    pub(super) dialler: Dialler,
    tls: Option<Tls>,
    offered: Option<Tls>,
    timeouts: Timeouts,
    rule: AddressRule,
    bind: Option<IpAddr>,
    way: Route,
}

/// The result of one examination.
pub(super) struct Done {
    pub(super) findings: Vec<Finding>,
    /// The best command line for the server, if there is one.
    pub(super) command: Option<String>,
    /// The command line for a report. A placeholder replaces the command that prints the password.
    pub(super) command_to_share: Option<String>,
    pub(super) outcome: Result<(), Failure>,
}

impl<'a> Asked<'a> {
    /// Reads the options about one server.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, or if the URL contradicts an option.
    pub(super) fn new(options: &'a Options, url: &'a FtpUrl) -> Result<Self, Failure> {
        let dialler = Dialler::in_both_modes(options)?;
        let protection = TlsOptions::from_options(options)?;
        // If the URL does not ask for TLS, the server's offer of TLS is examined anyway.
        let secure_url = secured(url);
        let offered = secure_url.as_ref().and_then(|url| protection.of(url).ok().flatten());
        Ok(Self {
            options,
            url,
            tls: protection.of(url)?,
            offered,
            secure_url,
            timeouts: dialler::timeouts(options)?,
            rule: dialler::address_rule(options)?.unwrap_or_default(),
            bind: dialler::bind(options)?,
            way: dialler.way_to(url)?,
            dialler,
        })
    }

    /// Examines the server, and prints the findings that are `shown`.
    ///
    /// # Errors
    ///
    /// Returns a failure that says nothing about the server, such as a signal.
    pub(super) fn examine_once(
        &self,
        credentials: &Credentials,
        cleanup: &Cleanup,
        stdio: &mut Stdio,
        shown: Shown,
    ) -> Result<Done, Failure> {
        let (options, url) = (self.options, self.url);
        let mut dial = self.dial(credentials, cleanup, stdio);
        let mut report = Report::new(stdio, shown);
        report.all(proxy::excepted(&self.way, url.host()))?;
        let mut advice = Advice { url: url.to_string(), ..Advice::default() };
        let unfinished = match examine(&mut dial, &mut report, &mut advice) {
            // The findings so far are worth reporting.
            Err(failure) if failure.phase == Some(Phase::Overall) => Some(failure),
            examined => examined.map_err(|failure| failure.context(url)).map(|()| None)?,
        };
        let mut command = |reader| {
            advice.way.map(|way| {
                advice.kept = advice::kept(options, way, reader);
                advice.command()
            })
        };
        let (command, command_to_share) = (command(Reader::User), command(Reader::Other));
        let outcome = report.outcome().and_then(|()| {
            unfinished.map_or(Ok(()), |mut failure| {
                failure.message.push_str(
                    "; not everything was checked: use --timeout TIME to allow more time (default: 30 s)",
                );
                Err(failure)
            })
        });
        let outcome = outcome.map_err(|failure| failure.context(url));
        Ok(Done { findings: report.into_findings(), command, command_to_share, outcome })
    }

    fn dial<'d>(
        &'d self,
        credentials: &'d Credentials,
        cleanup: &Cleanup,
        stdio: &Stdio,
    ) -> Dial<'d> {
        let options = self.options;
        // A URL that asks for TLS overrides `tls` in a configuration file.
        let is_open = self.url.scheme() == Scheme::Ftp;
        let word = options.value("tls").and_then(OsStr::to_str).filter(|_| is_open);
        // The time limit starts here, after any password prompt.
        let dialler = self.dialler.clone().within(dial::WHOLE);
        Dial {
            calm: dialler.clone(),
            dialler: dialler.stopped_by(cleanup),
            messages: stdio.messages.clone(),
            url: self.url,
            secure_url: self.secure_url.as_ref(),
            offered: self.offered.clone(),
            tls: self.tls.clone(),
            is_tried: word == Some("try"),
            is_implicit: self.url.scheme() == Scheme::Ftps || word == Some("implicit"),
            listed: AtomicBool::new(false),
            truncated: AtomicBool::new(false),
            credentials,
            timeouts: self.timeouts,
            greeted: Duration::ZERO,
            wanted: dialler::mode(options),
            family: dialler::family(options),
            bind: self.bind,
            rule: self.rule,
            proxy: self.way.chosen().cloned(),
            upload: options.value("upload-dir").map(OsStr::as_bytes),
            places: Places::new(),
        }
    }
}
