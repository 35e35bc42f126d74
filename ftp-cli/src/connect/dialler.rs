//! How to reach a server: a client that is connected and logged in as the options say.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ftp_client::{
    AddressRule, Client, ClientBuilder, Error, Extended, Family, Mode, Phase, Timeouts,
};
use ftp_proto::{AddressClass, FtpUrl};

use super::credentials::{Credentials, VARIABLE};
use super::tls_options::{self, TlsOptions};
use crate::console::messages::Messages;
use crate::console::signals::Cleanup;
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::options::values;

/// How to reach a server, read from the options before anything is done.
#[derive(Clone)]
pub(crate) struct Dialler {
    builder: ClientBuilder,
    protection: TlsOptions,
    /// The end of the time for the whole, whatever number of connections that takes.
    end: Option<Instant>,
}

impl Dialler {
    /// Reads the groups data connection, TLS and time of the options.
    ///
    /// # Errors
    ///
    /// `Usage`: a value that is none.
    pub(crate) fn from_options(options: &Options) -> Result<Self, Failure> {
        // An option that could have no effect was meant otherwise.
        let mode = mode(options);
        if let Some(long) = options.last_of(&["epsv", "epsv-all", "pipeline", "passive-address"])
            && mode == Mode::Active
        {
            let message = format!("--{long} is about passive mode, not --active");
            return Err(Failure::usage(message));
        }
        if let Some(long) = options.last_of(&["eprt", "active-ports", "active-address"])
            && mode == Mode::Passive
        {
            let message = format!("--{long} is about active mode: it needs --active");
            return Err(Failure::usage(message));
        }
        Self::in_both_modes(options)
    }

    /// The same for who tries passive and active mode, whichever the options ask for.
    ///
    /// # Errors
    ///
    /// `Usage`: a value that is none.
    pub(crate) fn in_both_modes(options: &Options) -> Result<Self, Failure> {
        let limit = |long| options.parsed(long, values::waiting_time);
        let timeouts = timeouts(options)?;
        let overall: Option<Duration> = limit("timeout")?;
        let words =
            [("auto", Extended::Auto), ("always", Extended::Always), ("never", Extended::Never)];
        let extended = |long| options.parsed(long, |text| values::word(text, &words));
        let epsv = extended("epsv")?;
        let eprt = extended("eprt")?;
        let rule = address_rule(options)?;
        let ports = options.parsed("active-ports", values::ports)?;
        let address = options.parsed("active-address", values::host)?;
        let epsv_all = options.has("epsv-all");
        let pipeline = options.has("pipeline");
        if let Some(long) = options.last_of(&["epsv-all", "pipeline"])
            && epsv == Some(Extended::Never)
        {
            let message = format!("--{long} and --epsv never contradict each other");
            return Err(Failure::usage(message));
        }
        let mut builder = Client::builder().timeouts(timeouts).mode(mode(options));
        builder = builder.epsv(epsv.unwrap_or_default()).eprt(eprt.unwrap_or_default());
        builder = builder.epsv_all(epsv_all).pipeline(pipeline);
        builder = builder.passive_address(rule.unwrap_or_default());
        let family = family(options);
        builder = builder.family(family);
        if let Some(address) = bind(options)? {
            let of_family = match family {
                Family::V4 => address.is_ipv4(),
                Family::V6 => address.is_ipv6(),
                _ => true,
            };
            if !of_family {
                return Err(Failure::usage(format!("--bind: {address} is of the other family")));
            }
            builder = builder.bind(address);
        }
        if let Some(ports) = ports {
            builder = builder.active_ports(ports);
        }
        if let Some(address) = address {
            builder = builder.active_address(address);
        }
        let end = overall.map(|overall| Instant::now() + overall);
        Ok(Self { builder, protection: TlsOptions::from_options(options)?, end })
    }

    /// The same for what is reached together: an option about TLS need not be about all of it.
    ///
    /// # Errors
    ///
    /// `Usage` if it is about nothing, and for URLs that contradict the options.
    pub(crate) fn for_all(self, urls: &[&FtpUrl]) -> Result<Self, Failure> {
        Ok(Self { protection: self.protection.for_all(urls)?, ..self })
    }

    /// The same as settings of the client library, for the server of `url`.
    ///
    /// # Errors
    ///
    /// `Usage` if the URL contradicts an option.
    fn builder_for(&self, url: &FtpUrl) -> Result<ClientBuilder, Failure> {
        let tls = self.protection.alone(url)?;
        let builder = self.builder();
        Ok(match tls {
            Some(tls) => builder.tls(tls),
            None => builder,
        })
    }

    /// The same without TLS.
    pub(crate) fn builder(&self) -> ClientBuilder {
        self.builder.clone().overall(self.left())
    }

    /// The same, with `limit` for the whole unless the options have one.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.end.get_or_insert_with(|| Instant::now() + limit);
        self
    }

    /// What is left of the time for the whole, if that has a limit.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.end.map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Lets a signal cancel the client.
    pub(crate) fn stopped_by(mut self, cleanup: &Cleanup) -> Self {
        if let Some(canceller) = cleanup.canceller() {
            self.builder = self.builder.canceller(canceller.clone());
        }
        self
    }

    /// Connects to the server of `url` and logs in as whoever that is.
    ///
    /// # Errors
    ///
    /// What the client says.
    pub(crate) fn connect_as(
        &self,
        credentials: &Credentials,
        options: &Options,
        url: &FtpUrl,
        messages: &Messages,
    ) -> Result<Client, Failure> {
        if credentials.from_url && messages.is_terminal() && !options.is_quiet() {
            messages.say(format_args!(
                "warning: other users of this computer can see a password in a URL; \
                 {VARIABLE} and --password-file keep it from them"
            ));
        }
        let named = |failure: Failure| failure.about_url(url);
        if self.left() == Some(Duration::ZERO) {
            return Err(named(Error::Timeout(Phase::Overall).into()));
        }
        let mut builder = self.builder_for(url)?;
        if let Some(account) = &credentials.account {
            builder = builder.account(account.as_bytes());
        }
        let mut client = builder.connect_to(url).map_err(|error| {
            let advice = tls_options::advice(&error, options);
            let mut failure = named(error.into());
            failure.message.push_str(advice);
            failure
        })?;
        tls_options::tell(&client, options, messages);
        if credentials.is_personal
            && client.tls().is_none()
            && let Some(address) = client.peer_addr().map(|peer| peer.ip())
            && is_public(address)
            && messages.is_terminal()
            && !options.is_quiet()
        {
            messages.say(format_args!(
                "warning: the password goes to {address} in clear text; ftpes:// would protect it"
            ));
        }
        let login = client.login(&credentials.user, credentials.password.as_bytes());
        login.map_err(|error| named(Failure::login(&error)))?;
        Ok(client)
    }
}

/// The limits of time.
///
/// # Errors
///
/// `Usage`: a value that is none.
pub(crate) fn timeouts(options: &Options) -> Result<Timeouts, Failure> {
    let default = Timeouts::default();
    let limit = |long| options.parsed(long, values::waiting_time);
    let connect = limit("connect-timeout")?;
    let reply = limit("reply-timeout")?;
    Ok(Timeouts {
        resolve: connect.unwrap_or(default.resolve),
        connect: connect.unwrap_or(default.connect),
        data_connect: connect.unwrap_or(default.data_connect),
        handshake: connect.unwrap_or(default.handshake),
        greeting: reply.unwrap_or(default.greeting),
        reply: reply.unwrap_or(default.reply),
        stall: limit("stall-timeout")?.unwrap_or(default.stall),
        final_reply: limit("final-timeout")?.unwrap_or(default.final_reply),
    })
}

/// Who listens for data connections.
pub(crate) fn mode(options: &Options) -> Mode {
    match options.last_of(&["active", "passive"]) {
        Some("active") => Mode::Active,
        _ => Mode::Passive,
    }
}

/// Which addresses of the server are wanted.
pub(crate) fn family(options: &Options) -> Family {
    match options.last_of(&["ipv4", "ipv6"]) {
        Some("ipv4") => Family::V4,
        Some(_) => Family::V6,
        None => Family::Any,
    }
}

/// The address of this host that connections are made from.
///
/// # Errors
///
/// `Usage`: a value that is none.
pub(crate) fn bind(options: &Options) -> Result<Option<IpAddr>, Failure> {
    options.parsed("bind", |text| {
        text.parse().map_err(|_| format!("\"{text}\" is not an IP address of this host"))
    })
}

/// Says good-bye after what was done. After a failure the closing of the connection is enough,
/// unless a signal made it: then a transfer may be left, and is aborted first.
pub(crate) fn quit(client: Client, failure: Option<&Failure>) {
    if failure.is_none_or(|failure| failure.exit == Exit::Interrupted) {
        // What was done is done: a server that does not say good-bye changes nothing.
        let _ = client.quit();
    }
}

/// Which host of a 227 reply is taken, by the options.
///
/// # Errors
///
/// `Usage`: a value that is none.
pub(crate) fn address_rule(options: &Options) -> Result<Option<AddressRule>, Failure> {
    let rules =
        [("peer", AddressRule::Peer), ("smart", AddressRule::Smart), ("reply", AddressRule::Reply)];
    options.parsed("passive-address", |text| values::word(text, &rules))
}

/// Whether the way to an address can lead through other people's networks. A provider's shared
/// network is one of them.
fn is_public(address: IpAddr) -> bool {
    matches!(AddressClass::of(address), AddressClass::Public | AddressClass::Shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    #[test]
    fn is_public_knows_what_stays_in_the_house_li_13() {
        for (address, want) in [
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("192.168.1.1", false),
            ("169.254.1.1", false),
            ("::ffff:10.0.0.1", false),
            ("::1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("198.41.0.4", true),
            ("2001:503:ba3e::2:30", true),
            ("::ffff:198.41.0.4", true),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), want, "{address}");
        }
    }

    #[test]
    fn dialler_refuses_what_it_could_only_ignore() {
        for (line, right) in [
            ("get", true),
            ("get --active --eprt never", true),
            ("get --epsv never --connect-timeout 5 --timeout 5min", true),
            ("get --active --passive --epsv always", true),
            ("get -4 -6 --bind ::1", true),
            ("get --bind 127.0.0.1", true),
            ("get -6 --bind 127.0.0.1", false),
            ("get --bind localhost", false),
            ("get --epsv-all --epsv always --passive-address smart", true),
            ("get --active --active-ports 21,300-400 --active-address ftp.example.org", true),
            ("get --active --active-address 203.0.113.7", true),
            ("get --passive-address reply --epsv never", true),
            ("get --pipeline --epsv-all", true),
            ("get --pipeline --epsv never", false),
            ("ls --pipeline --active", false),
            ("get --eprt never", false),
            ("get --epsv-all --epsv never", false),
            ("get --active --epsv-all", false),
            ("get --active --passive-address peer", false),
            ("get --passive-address trust", false),
            ("get --active-ports 300-400", false),
            ("get --active-address 203.0.113.7", false),
            ("get --active --active-ports 400-300", false),
            ("get --active --active-ports=", false),
            ("get --active --active-address=", false),
            ("get --active --epsv auto", false),
            ("get --epsv perhaps", false),
            ("get --stall-timeout 0", false),
            ("get --timeout soon", false),
        ] {
            let (_, options) = options::parse(line.split(' ').map(Into::into)).unwrap();
            assert_eq!(Dialler::from_options(&options).is_ok(), right, "{line}");
        }
    }
}
