//! One examination: the settings that it needs, and its result. `--watch` repeats the examination.

use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;

use ftp_client::{AddressRule, Phase, Timeouts, Tls};
use ftp_proto::{FtpUrl, Scheme};

use super::advice::{self, Advice, Reader};
use super::dial::{self, Dial};
use super::finding::Finding;
use super::places::Places;
use super::probes::{Seen, examine};
use super::proxy;
use super::report::{Report, Shown};
use crate::connect::credentials::Credentials;
use crate::connect::dialler::{self, Dialler};
use crate::connect::proxies::Route;
use crate::connect::tls_options::TlsOptions;
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::Options;

/// The server to examine, and the settings for each examination.
pub(super) struct Asked<'a> {
    pub(super) options: &'a Options,
    pub(super) url: &'a FtpUrl,
    /// URL of the same server with TLS, if `url` does not ask for TLS.
    pub(super) secure_url: Option<FtpUrl>,
    pub(super) dialler: Dialler,
    /// TLS settings of connections, if the URL or the options ask for TLS.
    pub(super) tls: Option<Tls>,
    /// Whether plaintext is acceptable if the server refuses TLS.
    pub(super) is_tried: bool,
    /// Whether TLS begins with the first byte.
    pub(super) is_implicit: bool,
    /// TLS settings to probe with, if the URL does not ask for TLS.
    pub(super) offered: Option<Tls>,
    pub(super) timeouts: Timeouts,
    pub(super) rule: AddressRule,
    pub(super) bind: Option<IpAddr>,
    pub(super) route: Route,
    /// The directory for test uploads.
    pub(super) upload: Option<&'a [u8]>,
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
        // A URL that asks for TLS overrides `tls` in a configuration file.
        let is_open = url.scheme() == Scheme::Ftp;
        Ok(Self {
            options,
            url,
            tls: protection.of(url)?,
            is_tried: is_open && options.value("tls").is_some_and(|tls| tls == "try"),
            is_implicit: protection.is_implicit(url),
            offered,
            secure_url,
            timeouts: dialler::timeouts(options)?,
            rule: dialler::address_rule(options)?.unwrap_or_default(),
            bind: dialler::bind(options)?,
            route: dialler.way_to(url)?,
            upload: options.value("upload-dir").map(OsStrExt::as_bytes),
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
        let places = Places::new();
        // The time limit starts here, after any password prompt.
        let dialler = self.dialler.clone().within(dial::WHOLE);
        let dial = Dial {
            asked: self,
            credentials,
            calm: dialler.clone(),
            dialler: dialler.stopped_by(cleanup),
            messages: stdio.messages.clone(),
            places: &places,
            seen: Seen::default(),
        };
        let mut report = Report::new(stdio, shown);
        report.all(proxy::excepted(&self.route, url.host()))?;
        let unfinished = match examine(&dial, &mut report) {
            // The findings so far are worth reporting.
            Err(failure) if failure.phase == Some(Phase::Overall) => Some(failure),
            examined => examined.map_err(|failure| failure.context(url)).map(|()| None)?,
        };
        let advice = Advice::of(&dial);
        let command = |reader| Some(advice.command(&advice::kept(options, advice.way?, reader)));
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
}

/// Returns the URL of the same server with TLS, or `None` if `url` asks for TLS already.
fn secured(url: &FtpUrl) -> Option<FtpUrl> {
    let secured = format!("ftpes://{}/", dial::server(url));
    (url.scheme() == Scheme::Ftp).then(|| FtpUrl::parse(secured.as_bytes()).ok()).flatten()
}
