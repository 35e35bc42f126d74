//! The proxy for a server.
//!
//! `--proxy` names the proxy for a server, else the variables that curl reads. As in curl,
//! `ftp_proxy` (`ftps_proxy` for ftps://) comes before `all_proxy`. Each name comes before the same
//! name in capitals. An empty variable counts as unset. `no_proxy` lists exceptions, also for
//! `--proxy`. `http_proxy` is not read: in a CGI program, a client can set `HTTP_PROXY` with a
//! `Proxy` header.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;

use ftp_client::{ParseError, ParseErrorKind, Proxy};
use ftp_proto::{FtpUrl, Network, Scheme};

use crate::exit::{Failure, Result};
use crate::options::Options;

pub(super) const PROXY: &str = "--proxy";

/// Values of the option for no proxy at all.
const NO_PROXY: [&str; 2] = ["", "none"];

/// Variables for each scheme, and for all schemes.
const OF_FTP: [&str; 2] = ["ftp_proxy", "FTP_PROXY"];
const OF_FTPS: [&str; 2] = ["ftps_proxy", "FTPS_PROXY"];
const OF_ALL: [&str; 2] = ["all_proxy", "ALL_PROXY"];
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The options and variables that name proxies, read before anything is done.
#[derive(Clone)]
pub(super) struct Proxies {
    ftp: Option<NamedProxy>,
    ftps: Option<NamedProxy>,
    /// The list in `no_proxy`.
    exceptions: String,
}

#[derive(Clone)]
struct NamedProxy {
    by: String,
    value: String,
}

/// The proxy for one server, and what names it: an option, a line of the configuration file, or a
/// variable.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) proxy: Proxy,
    pub(crate) by: String,
}

impl Proxies {
    /// Reads the environment, and `--proxy` from the command line or the configuration file.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value of the option.
    pub(super) fn from_options(options: &Options) -> Result<Self> {
        let option = options.value("proxy").map(|value| (value, options.shown("proxy")));
        Self::read(option, |name| std::env::var_os(name))
    }

    pub(super) fn read(
        option: Option<(&OsStr, String)>,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self> {
        let variable = |names: [&'static str; 2]| {
            names.into_iter().find_map(|by| {
                let value = environment(by).filter(|value| !value.is_empty())?;
                // A value that is not UTF-8 is invalid, but is rejected only if a proxy is needed.
                Some((by, value.to_string_lossy().into_owned()))
            })
        };
        let exceptions = variable(EXCEPTIONS).map_or(String::new(), |(_, list)| list);
        let Some((option, by)) = option else {
            let of = |names| {
                let found = variable(names).or_else(|| variable(OF_ALL));
                found.map(|(by, value)| NamedProxy { by: by.to_owned(), value })
            };
            return Ok(Self { ftp: of(OF_FTP), ftps: of(OF_FTPS), exceptions });
        };
        let value = option.to_string_lossy().into_owned();
        if NO_PROXY.contains(&value.as_str()) {
            return Ok(Self { ftp: None, ftps: None, exceptions });
        }
        let named = NamedProxy { by, value };
        named.parse()?;
        Ok(Self { ftp: Some(named.clone()), ftps: Some(named), exceptions })
    }

    /// Returns the proxy for the server of `url`, if there is one.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if a variable that applies has an invalid value.
    pub(super) fn way_to(&self, url: &FtpUrl) -> Result<Option<Chosen>> {
        let named = if url.scheme() == Scheme::Ftps { &self.ftps } else { &self.ftp };
        let Some(named) = named else { return Ok(None) };
        if is_listed(url.host(), &self.exceptions) {
            return Ok(None);
        }
        Ok(Some(Chosen { proxy: named.parse()?, by: named.by.clone() }))
    }
}

impl NamedProxy {
    fn parse(&self) -> Result<Proxy> {
        self.value.parse().map_err(|error: ParseError| {
            let by = &self.by;
            // The value may hold a password.
            Failure::usage(match error.kind {
                ParseErrorKind::Unsupported => format!(
                    "{by}: https, socks4 and socks4a proxies are not supported; use socks5, socks5h, \
                     http or ftp"
                ),
                _ => format!(
                    "{by}: invalid proxy: {}; expected socks5://[USER:PASSWORD@]HOST[:PORT], or \
                     socks5h, http or ftp",
                    error.kind
                ),
            })
        })
    }
}

impl Chosen {
    /// Returns the end of a message about a proxy; empty if the proxy was typed.
    pub(crate) fn hint(&self) -> String {
        let by = &self.by;
        let is_variable =
            [OF_FTP, OF_FTPS, OF_ALL].as_flattened().iter().any(|variable| variable == by);
        if by == PROXY {
            return String::new();
        }
        let what = if is_variable { "the variable " } else { "" };
        format!("; {what}{by} names this proxy: use --proxy none to connect directly")
    }
}

/// Returns whether a list of exceptions contains a host, by curl's rules. A `*` alone stands for
/// every host. A name, with or without a leading dot, stands for itself and all names below it. An
/// address stands for itself, or for a network if `/` and a number of bits follow. Commas and
/// spaces separate the items.
pub(super) fn is_listed(host: &str, list: &str) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let address: Option<IpAddr> = host.split('%').next().and_then(|host| host.parse().ok());
    let name = host.strip_suffix('.').unwrap_or(host);
    list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).any(|entry| match address {
        Some(address) => is_of_network(address, entry),
        None => {
            let entry = entry.strip_prefix('.').unwrap_or(entry);
            let entry = entry.strip_suffix('.').unwrap_or(entry);
            is_below(name, entry)
        }
    })
}

/// Returns whether `name` is `domain` or a name below it.
fn is_below(name: &str, domain: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let head = name.strip_suffix(&domain.to_ascii_lowercase());
    !domain.is_empty() && head.is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

/// Returns whether `entry` is this address, or a network that contains the address.
fn is_of_network(address: IpAddr, entry: &str) -> bool {
    let entry = match entry.strip_prefix('[') {
        Some(rest) => rest.replacen(']', "", 1),
        None => entry.to_owned(),
    };
    Network::parse(entry.as_bytes()).is_ok_and(|network| network.contains(address))
}
