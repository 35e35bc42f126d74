//! Connects and logs in a client as the options say, through a proxy if one applies (`proxies`).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ftp_client::error::Phase;
use ftp_client::{AddressRule, Client, ClientBuilder, Error, Extended, Family, Mode, Timeouts};
use ftp_proto::{AddressClass, FtpUrl, RepresentationType};

use super::credentials::{Credentials, VARIABLE};
use super::proxies::{Chosen, Proxies, Route};
use super::tls_options::{self, TlsOptions};
use crate::cmd::anonymous;
use crate::console::{Cleanup, Messages};
use crate::exit::{Failure, Result};
use crate::options::{Options, values};

/// Connection options, read before anything is done.
#[derive(Clone)]
pub(crate) struct Dialler {
    builder: ClientBuilder,
    protection: TlsOptions,
    proxies: Proxies,
    /// A typed option that no proxy supports.
    needs_direct: Option<&'static str>,
    /// Deadline for the whole run, regardless of the number of connections.
    end: Option<Instant>,
}

impl Dialler {
    /// Reads the options for data connections, TLS and timeouts.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, or for options that contradict each other.
    pub(crate) fn from_options(options: &Options) -> Result<Self> {
        // An option without effect is probably a mistake.
        let (others, needs): (&[_], _) = match mode(options) {
            Mode::Active => (
                &["epsv", "epsv-all", "pipeline", "passive-address"],
                "passive mode; remove --active",
            ),
            Mode::Passive => (&["eprt", "active-ports", "active-address"], "--active"),
        };
        if let Some(long) = options.last_typed(others) {
            return Err(Failure::usage(format!("--{long} needs {needs}")));
        }
        Self::in_both_modes(options)
    }

    /// Reads the options for data connections, TLS and timeouts, for a command that tries passive
    /// and active mode, whatever the options say.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, or for options that contradict each other.
    pub(crate) fn in_both_modes(options: &Options) -> Result<Self> {
        let timeouts = timeouts(options)?;
        let end = options.end()?;
        let words =
            [("auto", Extended::Auto), ("always", Extended::Always), ("never", Extended::Never)];
        let extended = |long| options.parsed(long, |text| values::word(text, &words));
        let epsv = extended("epsv")?;
        let eprt = extended("eprt")?;
        let rule = address_rule(options)?;
        let ports = options.parsed("active-ports", values::ports)?;
        let address = options.parsed("active-address", values::host)?;
        let may_epsv = epsv != Some(Extended::Never);
        if let Some(long) = options.last_typed(&["epsv-all", "pipeline"])
            && !may_epsv
        {
            let never = options.shown("epsv");
            let message = format!("--{long} needs EPSV; remove {never} never");
            return Err(Failure::usage(message));
        }
        let mut builder = Client::builder().timeouts(timeouts).mode(mode(options));
        builder = builder.epsv(epsv.unwrap_or_default()).eprt(eprt.unwrap_or_default());
        builder = builder.epsv_all(options.has("epsv-all") && may_epsv);
        builder = builder.pipeline(options.has("pipeline") && may_epsv);
        builder = builder.compress(options.has("compress")).reuse_data(options.has("reuse-data"));
        builder = builder.passive_address(rule.unwrap_or_default());
        let family = family(options);
        builder = builder.family(family);
        if let Some(address) = bind(options)? {
            if !is_of_family(address, family) {
                let other = if address.is_ipv4() { "-6" } else { "-4" };
                let message = format!("--bind: {address} contradicts {other}; remove one of them");
                return Err(Failure::usage(message));
            }
            builder = builder.bind(address);
        }
        if let Some(ports) = ports {
            builder = builder.active_ports(ports);
        }
        if let Some(address) = address {
            builder = builder.active_address(address);
        }
        let needs_direct = match mode(options) {
            Mode::Active => options.last_typed(&["active"]),
            Mode::Passive => rule
                .filter(|rule| *rule != AddressRule::Peer)
                .and_then(|_| options.last_typed(&["passive-address"])),
        };
        let protection = TlsOptions::from_options(options)?;
        let proxies = Proxies::from_options(options)?;
        Ok(Self { builder, protection, proxies, needs_direct, end })
    }

    /// Returns the dialler for servers that are used together. A TLS option must apply to at least
    /// one of them.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if an option applies to none of the servers, or if URLs contradict the
    /// options. Also returns `Usage` for an invalid variable that names a proxy, and for an FTP
    /// proxy, which makes its own data connections.
    pub(crate) fn for_all(self, urls: &[&FtpUrl]) -> Result<Self> {
        for url in urls {
            if let Route::Through(Chosen { proxy, by }) = self.proxies.way_to(url)?
                && proxy.is_ftp()
            {
                let why =
                    "fxp cannot use an FTP proxy; use a SOCKS5 or HTTP proxy, or --proxy none";
                return Err(Failure::usage(format!("{by}: {why}")));
            }
        }
        Ok(Self { protection: self.protection.for_all(urls)?, ..self })
    }

    /// Returns the settings of the client library for the server of `url`.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the URL or its proxy contradicts an option.
    fn builder_for(&self, url: &FtpUrl, way: &Route) -> Result<ClientBuilder> {
        let tls = self.protection.alone(url)?;
        let mut builder = self.builder();
        if let Route::Through(Chosen { proxy, by }) = way {
            if let Some(option) = self.needs_direct {
                return Err(Failure::usage(format!(
                    "--{option} cannot be used through a proxy ({by}); remove the option, or use --proxy none"
                )));
            }
            if proxy.is_ftp() && tls.is_some() {
                return Err(Failure::usage(format!(
                    "{by}: TLS cannot be used through an FTP proxy; use a SOCKS5 or HTTP proxy, or ftp://"
                )));
            }
            // The configuration file's options for the mode and addresses apply only to direct
            // connections.
            builder = builder.mode(Mode::Passive).passive_address(AddressRule::Peer);
            builder = builder.proxy(proxy.clone());
        }
        Ok(match tls {
            Some(tls) => builder.tls(tls),
            None => builder,
        })
    }

    /// Returns the route to the server of `url`.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the variable that names the proxy has an invalid value.
    pub(crate) fn way_to(&self, url: &FtpUrl) -> Result<Route> {
        self.proxies.way_to(url)
    }

    /// Returns the settings of the client library, without TLS and without a proxy.
    pub(crate) fn builder(&self) -> ClientBuilder {
        self.builder.clone().overall(self.left())
    }

    /// Sets the overall time limit, unless the options have one.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.end.get_or_insert_with(|| Instant::now() + limit);
        self
    }

    /// Returns the remaining time of the run, if it is limited.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.end.map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Announces that a transfer of this type follows each login.
    pub(crate) fn expect_transfer(&mut self, representation: RepresentationType) {
        self.builder = self.builder.clone().first_transfer(representation);
    }

    /// Announces that a listing follows each login, and sets the type of the first transfer.
    pub(crate) fn expect_listing(&mut self, representation: RepresentationType) {
        self.builder = self.builder.clone().first_listing(representation);
    }

    /// Makes signals cancel the client.
    pub(crate) fn stopped_by(mut self, cleanup: &Cleanup) -> Self {
        if let Some(canceller) = cleanup.canceller() {
            self.builder = self.builder.canceller(canceller.clone());
        }
        self
    }

    /// Checks that the URL and its proxy fit the options.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the URL or its proxy contradicts an option, or if the variable of a proxy
    /// is invalid.
    pub(crate) fn check(&self, url: &FtpUrl) -> Result {
        let way = self.way_to(url)?;
        self.builder_for(url, &way).map(drop)
    }

    /// Connects to the server of `url` and logs in with the credentials.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`check`](Self::check) and of the client, without the URL.
    pub(crate) fn connect_as(
        &self,
        credentials: &Credentials,
        options: &Options,
        url: &FtpUrl,
        messages: &Messages,
    ) -> Result<Client> {
        let warns = messages.is_terminal() && !options.is_quiet();
        if credentials.from_url && warns {
            messages.say(format_args!(
                "warning: other users of this computer can see the password in the URL; use {VARIABLE} \
                 or --password-file"
            ));
        }
        if self.left() == Some(Duration::ZERO) {
            return Err(Error::Timeout(Phase::Overall).into());
        }
        let way = self.way_to(url)?;
        if let Route::Excepted { variable, by } = &way {
            let host = url.host();
            let note =
                format!("{variable} lists {host}: connecting without the proxy named by {by}");
            messages.say_if(options.is_verbose(), note);
        }
        let is_plain = self.protection.of(url)?.is_none();
        let mut builder = self.builder_for(url, &way)?.counts(&messages.usage().counts);
        if let Some(account) = &credentials.account {
            builder = builder.account(account.as_bytes());
        }
        let mut client = builder.connect_to(url).map_err(|error| {
            let advice = tls_options::advice(&error, options);
            let is_implicit = self.protection.is_implicit(url);
            let scheme = tls_options::other_scheme(&error, is_implicit, url);
            let proxy = about_proxy(&error, &way);
            let mut failure = Failure::from(&error);
            if is_plain {
                failure = tls_options::without_tls(&error, failure);
            }
            Failure { message: failure.message + advice + scheme + &proxy, ..failure }
        })?;
        tls_options::warn(&client, options, messages);
        if credentials.is_personal
            && client.tls().is_none()
            && let Some(place) = exposed_to(&client, &way)
            && warns
        {
            messages.say(format_args!(
                "warning: the password is sent to {place} unencrypted; use ftpes:// to protect it"
            ));
        }
        let login = client.login(&credentials.user, credentials.password.as_bytes());
        login.map_err(|error| {
            let mut failure = Failure::login(&error);
            if client.tls().is_none() {
                failure = tls_options::without_tls(&error, failure);
            }
            if let Some(why) = credentials.unnamed.filter(|_| failure.is_refused_login()) {
                failure = failure.hinted(&anonymous(why));
            }
            // With an FTP proxy, the refusal may be the proxy's.
            Failure { message: failure.message + &about_proxy(&error, &way), ..failure }
        })?;
        if let Some(why) = credentials.unnamed {
            messages.usage().note_anonymous(why);
        }
        if options.has("compress") && !client.compresses()? {
            let note = "the server does not offer MODE Z: data is not compressed";
            messages.say_if(!options.is_quiet(), note);
        }
        if options.has("reuse-data") && !client.reuses_data()? {
            let note = "the server does not offer MODE B: each file uses its own data connection";
            messages.say_if(!options.is_quiet(), note);
        }
        Ok(client)
    }
}

/// Returns the end of a message about a failed proxy: the proxy, unless the error names it, and the
/// option or variable that sets it.
fn about_proxy(error: &Error, way: &Route) -> String {
    match (error, way) {
        (Error::Timeout(Phase::Proxy), Route::Through(chosen)) => {
            format!(" {}{}", chosen.proxy, chosen.hint())
        }
        (Error::Proxy { .. }, Route::Through(chosen)) => chosen.hint(),
        _ => String::new(),
    }
}

/// Reads the timeouts.
///
/// # Errors
///
/// Returns `Usage` for an invalid value.
pub(crate) fn timeouts(options: &Options) -> Result<Timeouts> {
    let default = Timeouts::default();
    let limit = |long| options.parsed(long, values::waiting_time);
    let connect = limit("connect-timeout")?;
    let reply = limit("reply-timeout")?;
    Ok(Timeouts::new()
        .resolve(connect.unwrap_or(default.resolve))
        .connect(connect.unwrap_or(default.connect))
        .data_connect(connect.unwrap_or(default.data_connect))
        .handshake(connect.unwrap_or(default.handshake))
        .greeting(reply.unwrap_or(default.greeting))
        .reply(reply.unwrap_or(default.reply))
        .stall(limit("stall-timeout")?.unwrap_or(default.stall))
        .final_reply(limit("final-timeout")?.unwrap_or(default.final_reply)))
}

/// Reads the mode of data connections.
pub(crate) fn mode(options: &Options) -> Mode {
    match options.last_of(&["active", "passive"]) {
        Some("active") => Mode::Active,
        _ => Mode::Passive,
    }
}

/// Returns the number of data connections that can be open at once: in active mode, each needs a
/// port of `--active-ports`.
///
/// # Errors
///
/// Returns `Usage` for an invalid value.
pub(crate) fn most_data_connections(options: &Options) -> Result<usize> {
    let ports = options.parsed("active-ports", values::ports)?;
    let ports = ports.filter(|_| mode(options) == Mode::Active);
    Ok(ports.map_or(usize::MAX, |ports| ports.count()))
}

/// Reads the wanted address family.
pub(crate) fn family(options: &Options) -> Family {
    match options.last_of(&["ipv4", "ipv6"]) {
        Some("ipv4") => Family::V4,
        Some(_) => Family::V6,
        None => Family::Any,
    }
}

/// Returns whether an address is of this family.
pub(crate) const fn is_of_family(address: IpAddr, family: Family) -> bool {
    match family {
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
        _ => true,
    }
}

/// Reads the local address for connections.
///
/// # Errors
///
/// Returns `Usage` for an invalid value.
pub(crate) fn bind(options: &Options) -> Result<Option<IpAddr>> {
    options.parsed("bind", |text| {
        text.parse()
            .map_err(|_| format!("invalid address \"{text}\": expected an IP address of this host"))
    })
}

/// Reads `--passive-address`, the rule for the address in 227 replies.
///
/// # Errors
///
/// Returns `Usage` for an invalid value.
pub(crate) fn address_rule(options: &Options) -> Result<Option<AddressRule>> {
    let rules =
        [("peer", AddressRule::Peer), ("smart", AddressRule::Smart), ("reply", AddressRule::Reply)];
    options.parsed("passive-address", |text| values::word(text, &rules))
}

/// Returns where others can read a password that is sent unencrypted: at a proxy, or on the path to
/// a public address.
fn exposed_to(client: &Client, way: &Route) -> Option<String> {
    match (way, client.peer_addr()) {
        (Route::Through(chosen), _) => Some(chosen.proxy.to_string()),
        (_, peer) => {
            peer.map(|peer| peer.ip()).filter(|at| is_public(*at)).map(|at| at.to_string())
        }
    }
}

/// Returns whether the path to an address can cross public networks. A provider's shared network
/// counts as public.
fn is_public(address: IpAddr) -> bool {
    matches!(AddressClass::of(address), AddressClass::Public | AddressClass::Shared)
}

#[cfg(test)]
mod tests;
