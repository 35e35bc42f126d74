//! Connects and logs in a client as the options say: through a proxy if one applies, and with TLS if
//! the URL or the options ask for it.

mod proxies;

pub(crate) use proxies::Chosen;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ftp_client::error::{Phase, TlsError};
use ftp_client::{
    AddressRule, Charset, Client, ClientBuilder, Error, Extended, Mode, NetworkProtocol,
    ParseError, ParseErrorKind, Timeouts, Tls,
};
use ftp_proto::{AddressClass, FtpUrl, Scheme};

use super::credentials::{Credentials, VARIABLE, anonymous_hint};
use crate::console::output::shown;
use crate::console::{Cleanup, Messages};
use crate::exit::{Exit, Failure, Result};
use crate::options::{Options, configured, values};
use proxies::Proxies;

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
                format!("passive mode; remove {}", options.shown("active")),
            ),
            Mode::Passive => (&["eprt", "active-ports", "active-address"], "--active".to_owned()),
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
        let is_never = epsv == Some(Extended::Never);
        if let Some(long) = options.last_typed(&["epsv-all", "pipeline"])
            && is_never
        {
            let never = options.shown("epsv");
            let message = format!("--{long} needs EPSV; remove {never} never");
            return Err(Failure::usage(message));
        }
        let mut builder = Client::builder().timeouts(timeouts).mode(mode(options));
        let may_epsv = !is_never && mode(options) == Mode::Passive;
        builder = builder.epsv(epsv.unwrap_or_default()).eprt(eprt.unwrap_or_default());
        builder = builder.epsv_all(options.has("epsv-all") && may_epsv);
        builder = builder.pipeline(options.has("pipeline") && may_epsv);
        builder = builder.compress(options.has("compress")).reuse_data(options.has("reuse-data"));
        builder = builder.passive_address(rule.unwrap_or_default());
        if let Some(charset) = options.parsed("charset", charset)? {
            builder = builder.charset(charset);
        }
        let family = family(options);
        builder = builder.family(family);
        if let Some(address) = bind(options)? {
            if !is_of_family(address, family) {
                let other = if address.is_ipv4() { "ipv6" } else { "ipv4" };
                let [bind, other] = ["bind", other].map(|long| options.shown(long));
                let message = format!("{bind}: {address} contradicts {other}; remove one of them");
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
            if let Some(Chosen { proxy, by }) = self.proxies.way_to(url)?
                && proxy.is_ftp()
            {
                let why =
                    "fxp cannot use an FTP proxy; use a SOCKS5 or HTTP proxy, or --proxy none";
                return Err(Failure::usage(format!("{by}: {why}")));
            }
        }
        self.protection.check(urls)?;
        Ok(Self { protection: TlsOptions { how: None, ..self.protection }, ..self })
    }

    /// Returns the settings of the client library for the server of `url`.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the URL or its proxy contradicts an option.
    fn builder_for(&self, url: &FtpUrl, way: Option<&Chosen>) -> Result<ClientBuilder> {
        self.protection.check(&[url])?;
        let tls = self.protection.of(url)?;
        let mut builder = self.builder();
        if let Some(Chosen { proxy, by }) = way {
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

    /// Returns the proxy for the server of `url`, if there is one.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the variable that names the proxy has an invalid value.
    pub(crate) fn way_to(&self, url: &FtpUrl) -> Result<Option<Chosen>> {
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

    pub(crate) fn left(&self) -> Option<Duration> {
        self.end.map(|end| end.saturating_duration_since(Instant::now()))
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
        self.builder_for(url, way.as_ref()).map(drop)
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
            let warning = format!(
                "warning: other users of this computer can see the password in the URL; use {VARIABLE} \
                 or --password-file"
            );
            messages.say_once(true, warning);
        }
        if self.left() == Some(Duration::ZERO) {
            return Err(Error::Timeout(Phase::Overall).into());
        }
        let way = self.way_to(url)?;
        let way = way.as_ref();
        let is_plain = self.protection.of(url)?.is_none();
        let mut builder = self.builder_for(url, way)?.counts(&messages.usage.counts);
        if let Some(account) = &credentials.account {
            builder = builder.account(account.as_bytes());
        }
        let mut client = builder.connect_to(url).map_err(|error| {
            let advice = advice(&error, options);
            let is_implicit = self.protection.is_implicit(url);
            let scheme = other_scheme(&error, is_implicit, url);
            let proxy = about_proxy(&error, way);
            let failure = refused(&error, is_plain, Failure::from(&error));
            Failure { message: failure.message + advice + scheme + &proxy, ..failure }
        })?;
        warn_about_tls(&client, options, messages);
        if credentials.is_personal
            && client.tls().is_none()
            && let Some(place) = exposed_to(client.peer_addr(), way)
            && warns
        {
            let warning = format!(
                "warning: the password is sent to {place} unencrypted; use ftpes:// to protect it"
            );
            messages.say_once(true, warning);
        }
        let login = client.login(&credentials.user, credentials.password.as_bytes());
        login.map_err(|error| {
            let mut failure = refused(&error, client.tls().is_none(), Failure::login(&error));
            if let Some(why) = credentials.unnamed.filter(|_| failure.is_refused_login()) {
                failure = failure.hinted(&anonymous_hint(why));
            }
            if credentials.from_netrc && failure.is_refused_login() {
                let user = shown(&credentials.user);
                failure = failure.hinted(&format!("; user {user} is from netrc"));
            }
            // With an FTP proxy, the refusal may be the proxy's.
            Failure { message: failure.message + &about_proxy(&error, way), ..failure }
        })?;
        if let Some(why) = credentials.unnamed {
            let _ = messages.usage.anonymous.set(why);
        }
        if options.has("compress") && !client.compresses()? {
            let note = "the server does not offer MODE Z: data is not compressed";
            messages.say_once(!options.is_quiet(), note);
        }
        if options.has("reuse-data") && !client.reuses_data()? {
            let note = "the server does not offer MODE B: each file uses its own data connection";
            messages.say_once(!options.is_quiet(), note);
        }
        Ok(client)
    }
}

/// Returns the end of a message about a failed proxy: the proxy, unless the error names it, and the
/// option or variable that sets it.
fn about_proxy(error: &Error, way: Option<&Chosen>) -> String {
    match (error, way) {
        (Error::Timeout(Phase::Proxy), Some(chosen)) => {
            format!(" {}{}", chosen.proxy, chosen.hint())
        }
        (Error::Proxy { .. }, Some(chosen)) => chosen.hint(),
        _ => String::new(),
    }
}

fn charset(name: &str) -> Result<Charset, String> {
    let examples = "a name such as windows-1252, iso-8859-2, koi8-r, shift_jis or utf-8";
    name.parse().map_err(|error: ParseError| {
        let why = match error.kind {
            ParseErrorKind::Unsupported => "no server can read commands in it: ",
            _ => "",
        };
        format!("invalid NAME \"{name}\": {why}expected {examples}")
    })
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

pub(crate) fn family(options: &Options) -> Option<NetworkProtocol> {
    match options.last_of(&["ipv4", "ipv6"]) {
        Some("ipv4") => Some(NetworkProtocol::Ipv4),
        Some(_) => Some(NetworkProtocol::Ipv6),
        None => None,
    }
}

pub(crate) const fn is_of_family(address: IpAddr, family: Option<NetworkProtocol>) -> bool {
    match family {
        Some(NetworkProtocol::Ipv4) => address.is_ipv4(),
        Some(NetworkProtocol::Ipv6) => address.is_ipv6(),
        None => true,
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
/// a public address. A provider's shared network counts as public.
pub(crate) fn exposed_to(peer: Option<SocketAddr>, way: Option<&Chosen>) -> Option<String> {
    match (way, peer.map(|peer| peer.ip())) {
        (Some(chosen), _) => Some(chosen.proxy.to_string()),
        (_, Some(peer)) => {
            let class = AddressClass::of(peer);
            matches!(class, AddressClass::Public | AddressClass::Shared).then(|| peer.to_string())
        }
        _ => None,
    }
}

const IMPLICIT: u16 = 990;

const NEEDS_TLS: &[&str] = &["ca-file", "client-cert", "client-key", "insecure", "pin", "tls-data"];

/// Meaning of `--tls` for servers whose URL does not ask for TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TlsStart {
    Off,
    Try,
    Explicit,
    Implicit,
}

const STARTS: &[(&str, TlsStart)] = &[
    ("off", TlsStart::Off),
    ("try", TlsStart::Try),
    ("explicit", TlsStart::Explicit),
    ("implicit", TlsStart::Implicit),
];

/// TLS options, read before anything is done.
#[derive(Clone)]
pub(crate) struct TlsOptions {
    start: Option<TlsStart>,
    /// Whether `--tls` is typed. If it comes from the configuration file, a URL whose scheme has
    /// TLS overrides it.
    is_typed: bool,
    pins: Vec<String>,
    ca_file: Option<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
    insecure: bool,
    clear_data: bool,
    /// A typed option that has no effect without TLS.
    how: Option<&'static str>,
    /// An option that proves one side to the other, as messages show it.
    proof: Option<String>,
    /// One that the configuration file has for this host, or a pin: without TLS, nothing checks it.
    configured: Option<String>,
}

impl TlsOptions {
    /// Reads the options of the group TLS.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, or for contradicting options.
    pub(crate) fn from_options(options: &Options) -> Result<Self> {
        let start = options.parsed("tls", |text| values::word(text, STARTS))?;
        let data = [("private", false), ("clear", true)];
        let clear_data = options.parsed("tls-data", |text| values::word(text, &data))?;
        let path = |long| options.value(long).map(PathBuf::from);
        let client = match (path("client-cert"), path("client-key")) {
            // The certificate and the key can be in one file.
            (Some(certificate), key) => {
                let key = key.unwrap_or_else(|| certificate.clone());
                Some((certificate, key))
            }
            (None, None) => None,
            (None, Some(_)) => {
                let key = options.shown("client-key");
                return Err(Failure::usage(format!("{key} needs --client-cert")));
            }
        };
        let pins = options.all_parsed("pin", |pin| match Tls::explicit().pin(pin) {
            Ok(_) => Ok(pin.to_owned()),
            Err(_) => {
                let form = "expected sha256// and 44 characters of base64";
                Err(format!("invalid pin \"{pin}\": {form}"))
            }
        })?;
        let proofs = ["pin", "ca-file", "client-cert"].into_iter().filter(|it| options.has(it));
        let is_configured = |long: &&str| {
            options.last_typed(&[long]).is_none()
                && (*long == "pin" || configured::is_of_host(options, long))
        };
        let found = Self {
            proof: proofs.clone().next().map(|long| options.shown(long)),
            configured: proofs.clone().find(is_configured).map(|long| options.shown(long)),
            start,
            is_typed: options.last_typed(&["tls"]).is_some(),
            pins,
            ca_file: path("ca-file"),
            client,
            insecure: options.has("insecure"),
            clear_data: clear_data.unwrap_or(false),
            how: options.last_typed(NEEDS_TLS),
        };
        match (found.how, found.start) {
            (Some(how), Some(TlsStart::Off)) if found.is_typed => {
                Err(Failure::usage(format!("--{how} needs TLS; remove --tls off")))
            }
            _ => Ok(found),
        }
    }

    /// Returns the TLS settings for the server of `url`, or `None` for plaintext.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the URL contradicts the options.
    pub(crate) fn of(&self, url: &FtpUrl) -> Result<Option<Tls>> {
        let contradicts = |scheme: &str, word| {
            Err(Failure::usage(format!(
                "{scheme}:// and --tls {word} contradict each other; remove --tls, or use ftp://"
            )))
        };
        let start = self.start.filter(|_| self.is_typed || url.scheme() == Scheme::Ftp);
        let tls = match (url.scheme(), start) {
            (Scheme::Ftp, None | Some(TlsStart::Off)) => match &self.configured {
                // Without TLS, the password would go to whatever answers.
                Some(proof) if !(self.is_typed && start == Some(TlsStart::Off)) => {
                    return Err(Failure::usage(format!(
                        "{proof} needs TLS: use ftpes:// or ftps://, or set tls = \"explicit\" for this \
                         host; to do without, use --tls off"
                    )));
                }
                _ => return Ok(None),
            },
            (Scheme::Ftp, Some(TlsStart::Try)) => match &self.proof {
                None => Tls::opportunistic(),
                // Whoever names the right server must not reach one that only refuses TLS.
                Some(proof) => {
                    let message = format!("{proof} needs TLS; use --tls explicit, not try");
                    return Err(Failure::usage(message));
                }
            },
            (Scheme::Ftpes, None | Some(TlsStart::Explicit))
            | (Scheme::Ftp, Some(TlsStart::Explicit)) => Tls::explicit(),
            (Scheme::Ftps, None | Some(TlsStart::Implicit))
            | (Scheme::Ftp, Some(TlsStart::Implicit)) => Tls::implicit(),
            (scheme, Some(start)) => {
                let scheme = if scheme == Scheme::Ftps { "ftps" } else { "ftpes" };
                let word = STARTS.iter().find(|(_, known)| *known == start);
                return contradicts(scheme, word.map_or("", |(word, _)| *word));
            }
        };
        let mut tls = tls.accept_invalid_certificates(self.insecure);
        for pin in &self.pins {
            tls = tls.pin(pin).map_err(|error| Failure::usage(format!("--pin: {error}")))?;
        }
        if let Some(file) = &self.ca_file {
            tls = tls.ca_file(file);
        }
        if let Some((certificate, key)) = &self.client {
            tls = tls.client_certificate(certificate, key);
        }
        Ok(Some(if self.clear_data { tls.data_in_clear() } else { tls }))
    }

    /// Returns whether TLS begins with the first byte on connections to the server of `url`.
    pub(crate) fn is_implicit(&self, url: &FtpUrl) -> bool {
        match url.scheme() {
            Scheme::Ftps => true,
            Scheme::Ftp => self.start == Some(TlsStart::Implicit),
            Scheme::Ftpes => false,
        }
    }

    /// Checks that each TLS option applies to at least one of the servers.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an option that applies to none of them, or a URL that contradicts the
    /// options.
    fn check(&self, urls: &[&FtpUrl]) -> Result {
        let mut is_of_use = false;
        for url in urls {
            is_of_use |= self.of(url)?.is_some();
        }
        match self.how {
            Some(how) if !is_of_use => {
                Err(Failure::usage(format!("--{how} needs TLS: use ftpes://, ftps:// or --tls")))
            }
            _ => Ok(()),
        }
    }
}

/// Warns about missing or unverified TLS before the login.
fn warn_about_tls(client: &Client, options: &Options, messages: &Messages) {
    let is_shown = !options.is_quiet();
    if let Some(reply) = client.tls_refusal() {
        let warning = format!("warning: the server refuses TLS ({reply}): continuing unencrypted");
        messages.say_once(is_shown, warning);
    }
    if options.has("insecure") && client.tls().is_some() {
        let warning = "warning: --insecure: anyone on the network path can impersonate the server";
        messages.say_once(is_shown, warning);
    }
}

/// Returns a hint that names another scheme, if a connection failed before the login in a way that
/// the wrong kind of TLS would explain.
fn other_scheme(error: &Error, is_implicit: bool, url: &FtpUrl) -> &'static str {
    let is_default_port = url.scheme() == Scheme::Ftps && url.port() == IMPLICIT;
    match error {
        _ if is_implicit => match error {
            Error::Tls(TlsError::Failed(_)) => {
                "; if this port is not for implicit TLS, use ftpes:// (explicit TLS) or ftp://"
            }
            Error::Io(_) | Error::Timeout(Phase::Connect) if is_default_port => {
                "; ftps:// is implicit TLS on port 990: for explicit TLS on port 21, use ftpes://"
            }
            _ => "",
        },
        Error::Timeout(Phase::Greeting) => "; if this port is for implicit TLS, use ftps://",
        Error::Protocol(_) | Error::Closed if url.port() == IMPLICIT => {
            "; port 990 is for implicit TLS: use ftps://"
        }
        _ => "",
    }
}

/// Returns the failure before or at a login. If the server demands TLS and the connection `is_plain`,
/// the failure is permanent, whatever the code of the reply, and its message names the option.
fn refused(error: &Error, is_plain: bool, failure: Failure) -> Failure {
    // The message of a 534 names the option already.
    let needs_hint = is_plain && failure.exit != Exit::Tls && error.demands_tls();
    if needs_hint { failure.demanding_tls() } else { failure }
}

/// Returns a hint if `--tls try` did not fall back to plaintext, because the server's refusal does
/// not prove that the server lacks TLS. For example, a server that requires a login first gives the
/// same reply to every command.
fn advice(error: &Error, options: &Options) -> &'static str {
    let tries = options.value("tls").is_some_and(|start| start == "try");
    match error {
        Error::Tls(TlsError::Refused(_)) if tries => "; use --tls off to continue unencrypted",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
