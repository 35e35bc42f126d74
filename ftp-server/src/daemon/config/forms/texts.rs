//! Forms of texts: words, paths, addresses, names, rights, password hashes.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use ftp_proto::PortRanges;

use crate::daemon::config::LedgerUrl;
use crate::daemon::config::forms::{Kind, Optional, Scalar};
use crate::daemon::config::listen::MetricsAddress;
use crate::daemon::config::root::{ConfiguredRoot, Objects, is_bucket};
use crate::daemon::privileges::{FileGroup, FileOwner, RunAs};
use crate::{
    ClientCertificates, ConfinementPolicy, PartialPolicy, PassiveAddress, PasswordHash,
    PasswordHashError, RepresentationType, SessionReuse, SyncPolicy, TlsPolicy, TlsVersion,
    WithoutLedger,
};
use ftp_proto::text::values;

/// Returns the form of a text that `read` checks.
const fn string(read: fn(&str) -> Result<String, String>) -> Scalar<String> {
    Scalar::new(Kind::Text, read, String::clone)
}

fn valid(text: &str, is_valid: bool, wrong: impl FnOnce() -> String) -> Result<String, String> {
    if is_valid { Ok(text.to_owned()) } else { Err(wrong()) }
}

pub(crate) const LINE: Scalar<String> = string(|text| {
    let wrong = || "invalid text: expected one line without control characters".to_owned();
    valid(text, !text.chars().any(char::is_control), wrong)
});

/// Path of a file. Empty: none.
pub(crate) const FILE: Optional<PathBuf> =
    Optional::new(Kind::Text, absolute, |path| path.display().to_string());

/// Directory or objects of a store. Empty: none.
pub(crate) const ROOT: Scalar<ConfiguredRoot> =
    Scalar::new(Kind::Text, root, ConfiguredRoot::to_string);

/// Directory or objects of a store, which must be given.
pub(crate) const HOME: Scalar<ConfiguredRoot> = Scalar::new(
    Kind::Text,
    |text| if text.is_empty() { Err("expected a directory".to_owned()) } else { root(text) },
    ConfiguredRoot::to_string,
);

/// Directory or objects of a store. Empty: another setting applies.
pub(crate) const OWN_ROOT: Optional<ConfiguredRoot> = Optional(ROOT);

fn root(text: &str) -> Result<ConfiguredRoot, String> {
    match Objects::parse(text) {
        Some(objects) => objects.map(ConfiguredRoot::Objects),
        None => absolute(text).map(ConfiguredRoot::Directory),
    }
}

/// Place of a ledger. Empty: none.
pub(crate) const LEDGER: Scalar<LedgerUrl> =
    Scalar::new(Kind::Text, LedgerUrl::parse, LedgerUrl::text);

/// URL of an object store.
pub(crate) const ENDPOINT: Scalar<String> = string(|text| {
    // The text may contain a password.
    let wrong = || "invalid endpoint: expected https://HOST or https://HOST:PORT".to_owned();
    valid(text, text.is_empty() || is_endpoint(text), wrong)
});

fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest)) else { return false };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (rest, "443"),
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inner {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_bucket(host),
    };
    is_port && is_host
}

pub(crate) const BUCKET: Scalar<String> = string(|text| {
    let wrong = || format!("invalid bucket \"{text}\": expected letters, digits, -, . and _");
    valid(text, text.is_empty() || is_bucket(text), wrong)
});

pub(crate) const REGION: Scalar<String> = string(|text| {
    let wrong = || format!("invalid region \"{text}\": expected a name such as us-east-1");
    valid(text, is_bucket(text), wrong)
});

/// Name of an account's key.
pub(crate) const ACCESS_KEY: Scalar<String> = string(|text| {
    let wrong = || "invalid access key: expected printable ASCII without spaces".to_owned();
    valid(text, text.bytes().all(|byte| byte.is_ascii_graphic()), wrong)
});

pub(crate) const ROLE: Scalar<String> = string(|text| {
    let form = "a name such as arn:aws:iam::123456789012:role/ftp";
    let wrong = || format!("invalid role \"{text}\": expected {form}");
    valid(text, text.bytes().all(|byte| byte.is_ascii_graphic()), wrong)
});

/// Reads an absolute path, or an empty one.
fn absolute(text: &str) -> Result<PathBuf, String> {
    match text.is_empty() || text.starts_with('/') {
        true if text.contains('\0') => Err("invalid path: NUL is not allowed".to_owned()),
        true => Ok(text.into()),
        false => Err(format!("invalid path \"{text}\": expected an absolute path")),
    }
}

/// Passive ports. Empty: any port.
pub(crate) const PORTS: Optional<PortRanges> =
    Optional::new(Kind::Text, values::ports, PortRanges::to_string);

/// Address for PASV. Empty: the address of the control connection.
pub(crate) const ADDRESS: Optional<PassiveAddress> = Optional(PASSIVE_ADDRESS);

pub(super) const PASSIVE_ADDRESS: Scalar<PassiveAddress> = Scalar::new(
    Kind::Text,
    |text| {
        let wrong =
            |_| format!("invalid address \"{text}\": expected an IPv4 address or a host name");
        PassiveAddress::parse(text.as_bytes()).map_err(wrong)
    },
    PassiveAddress::to_string,
);

/// User to run as. Empty: the user who starts the server.
pub(crate) const RUN_AS: Optional<RunAs> =
    Optional::new(Kind::Text, RunAs::parse, RunAs::to_string);

/// Owner of files. Empty: the user of the process.
pub(crate) const OWNER: Optional<FileOwner> =
    Optional::new(Kind::Text, FileOwner::parse, FileOwner::to_string);

/// Group of files. Empty: the group of the process.
pub(crate) const GROUP: Optional<FileGroup> =
    Optional::new(Kind::Text, FileGroup::parse, FileGroup::to_string);

pub(crate) const LOG_TARGET: Scalar<LogTarget> =
    Scalar::new(Kind::Text, LogTarget::parse, LogTarget::to_string);

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum LogTarget {
    #[default]
    Stderr,
    File(PathBuf),
    /// The local syslog socket.
    Syslog,
}

impl LogTarget {
    /// Parses `stderr`, `file:PATH` or `syslog`.
    ///
    /// # Errors
    ///
    /// Returns a message with the expected values.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("file:")) {
            ("stderr", _) => Ok(Self::Stderr),
            ("syslog", _) => Ok(Self::Syslog),
            (_, Some(path)) if values::is_absolute(path) => Ok(Self::File(path.into())),
            _ => Err(format!("invalid target \"{text}\": expected stderr, file:/PATH or syslog")),
        }
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Stderr | Self::Syslog => None,
        }
    }
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Syslog => f.write_str("syslog"),
        }
    }
}

/// Address of the metrics. Empty: none.
pub(crate) const METRICS: Optional<MetricsAddress> =
    Optional::new(Kind::Text, MetricsAddress::parse, MetricsAddress::to_string);

/// Password hash. No message shows the text, which may be the password itself.
pub(crate) const PASSWORD: Scalar<Option<PasswordHash>> = Scalar::new(
    Kind::Text,
    |text| {
        let advised = |error: PasswordHashError| format!("{error}; make one with `ftp-cli passwd`");
        text.parse().map(Some).map_err(advised)
    },
    |hash| if hash.is_some() { "****".to_owned() } else { String::new() },
);

/// A type with one word per value.
trait Words: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

const fn one_of<T: Words>(kind: Kind) -> Scalar<T> {
    let read = |text: &str| values::word(text, T::WORDS);
    let show = |value: &T| {
        let found = T::WORDS.iter().find(|(_, known)| known == value);
        found.map_or_else(String::new, |(word, _)| (*word).to_owned())
    };
    Scalar::new(kind, read, show)
}

/// Returns the form of a word that can be empty. Empty: the value for all users.
const fn own<T: Words>(kind: Kind) -> Optional<T> {
    Optional(one_of(kind))
}

pub(crate) const OWN_SWITCH: Optional<bool> = own(Kind::SwitchOrNone);
pub(crate) const OWN_PARTIAL: Optional<PartialPolicy> = own(Kind::Text);
pub(crate) const OWN_SYNC: Optional<SyncPolicy> = own(Kind::Text);
pub(crate) const SWITCH: Scalar<bool> = one_of(Kind::Switch);
pub(crate) const TLS: Scalar<TlsPolicy> = one_of(Kind::Text);
pub(crate) const TYPE: Scalar<RepresentationType> = one_of(Kind::Text);
pub(crate) const REUSE: Scalar<SessionReuse> = one_of(Kind::Text);
pub(crate) const VERSION: Scalar<TlsVersion> = one_of(Kind::Text);
pub(crate) const CLIENTS: Scalar<ClientCertificates> = one_of(Kind::Text);
pub(crate) const PARTIAL: Scalar<PartialPolicy> = one_of(Kind::Text);
pub(crate) const SYNC: Scalar<SyncPolicy> = one_of(Kind::Text);
pub(crate) const CONFINE: Scalar<ConfinementPolicy> = one_of(Kind::Text);
pub(crate) const ON_FAILURE: Scalar<WithoutLedger> = one_of(Kind::Text);
pub(crate) const LOG: Scalar<LogFormat> = one_of(Kind::Text);

impl Words for bool {
    const WORDS: &[(&str, Self)] = &[("true", true), ("false", false)];
}

impl Words for TlsPolicy {
    const WORDS: &[(&str, Self)] =
        &[("off", Self::Off), ("optional", Self::Optional), ("required", Self::Required)];
}

impl Words for RepresentationType {
    const WORDS: &[(&str, Self)] = &[("ascii", Self::Ascii), ("image", Self::Image)];
}

impl Words for SessionReuse {
    const WORDS: &[(&str, Self)] = &[
        ("off", Self::Off),
        ("observe", Self::Observe),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
    ];
}

impl Words for TlsVersion {
    const WORDS: &[(&str, Self)] = &[("1.2", Self::V1_2), ("1.3", Self::V1_3)];
}

impl Words for ClientCertificates {
    const WORDS: &[(&str, Self)] = &[("optional", Self::Optional), ("required", Self::Required)];
}

impl Words for PartialPolicy {
    const WORDS: &[(&str, Self)] =
        &[("resume", Self::Resume), ("discard", Self::Discard), ("publish", Self::Publish)];
}

impl Words for WithoutLedger {
    const WORDS: &[(&str, Self)] = &[("refuse", Self::Refuse), ("allow", Self::Allow)];
}

impl Words for SyncPolicy {
    const WORDS: &[(&str, Self)] =
        &[("none", Self::None), ("file", Self::File), ("file+dir", Self::FileAndDirectory)];
}

impl Words for ConfinementPolicy {
    const WORDS: &[(&str, Self)] =
        &[("best-effort", Self::BestEffort), ("require", Self::Require), ("off", Self::Off)];
}

impl Words for LogFormat {
    const WORDS: &[(&str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_a_host_and_no_credentials() {
        for good in [
            "https://s3.eu-central-1.amazonaws.com",
            "http://127.0.0.1:8333",
            "http://[::1]:8333/",
            "https://[2001:db8::1]",
        ] {
            assert_eq!((ENDPOINT.read)(good).as_deref(), Ok(good));
        }
        for wrong in [
            "s3.example",
            "ftp://s3.example",
            "https://",
            "https://key:secret@s3.example",
            "https://s3.example/bucket",
            "https://s3.example:",
            "https://s3.example:x",
            "https://s3.example:70000",
            "https://[::x]",
        ] {
            let why = (ENDPOINT.read)(wrong).unwrap_err();
            assert!(!why.contains("secret") && why.contains("expected https://HOST"), "{why}");
        }
    }
}
