//! Forms of texts: paths, addresses, names, rights, password hashes.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use ftp_proto::PortRanges;

use crate::daemon::config::LedgerUrl;
use crate::daemon::config::forms::{Form, optional, unless_empty};
use crate::daemon::config::kind::Kind;
use crate::daemon::config::root::{Objects, Root, is_bucket};
use crate::daemon::logging::LogTarget;
use crate::daemon::metrics::MetricsAddress;
use crate::daemon::privileges::{FileGroup, RunAs};
use crate::daemon::values;
use crate::{PassiveAddress, PasswordHash, PasswordHashError, Rights};

/// One line of text.
pub(crate) const LINE: Form<String> = Form::new(
    Kind::Text,
    |text| match text.chars().any(char::is_control) {
        true => Err("invalid text: expected one line without control characters".to_owned()),
        false => Ok(text.to_owned()),
    },
    |text| format!("\"{text}\""),
);

/// Path of a file. Empty: none.
pub(crate) const FILE: Form<Option<PathBuf>> = Form::new(
    Kind::Text,
    |text| unless_empty(text, absolute),
    |path| show_path(path.as_deref().unwrap_or("".as_ref())),
);

/// Directory or objects of a store. Empty: none.
pub(crate) const ROOT: Form<Root> = Form::new(Kind::Text, root, show_root);

/// Directory or objects of a store, which must be given.
pub(crate) const HOME: Form<Root> = Form::new(
    Kind::Text,
    |text| if text.is_empty() { Err("expected a directory".to_owned()) } else { root(text) },
    show_root,
);

/// Directory or objects of a store. Empty: another setting applies.
pub(crate) const OWN_ROOT: Form<Option<Root>> = Form::new(
    Kind::Text,
    |text| unless_empty(text, root),
    |root| root.as_ref().map_or_else(|| "\"\"".to_owned(), show_root),
);

fn root(text: &str) -> Result<Root, String> {
    match Objects::parse(text) {
        Some(objects) => objects.map(Root::Objects),
        None => absolute(text).map(Root::Directory),
    }
}

fn show_root(root: &Root) -> String {
    format!("\"{root}\"")
}

/// Place of a ledger. Empty: none.
pub(crate) const LEDGER: Form<LedgerUrl> =
    Form::new(Kind::Text, LedgerUrl::parse, |url| format!("\"{}\"", url.text()));

/// URL of an object store.
pub(crate) const ENDPOINT: Form<String> = Form::new(
    Kind::Text,
    |text| match text.is_empty() || is_endpoint(text) {
        true => Ok(text.to_owned()),
        // The text may contain a password.
        false => Err("invalid endpoint: expected https://HOST or https://HOST:PORT".to_owned()),
    },
    |text| format!("\"{text}\""),
);

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

/// Bucket of an object store.
pub(crate) const BUCKET: Form<String> = Form::new(
    Kind::Text,
    |text| match text.is_empty() || is_bucket(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("invalid bucket \"{text}\": expected letters, digits, -, . and _")),
    },
    |text| format!("\"{text}\""),
);

/// Region of an object store.
pub(crate) const REGION: Form<String> = Form::new(
    Kind::Text,
    |text| match is_bucket(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("invalid region \"{text}\": expected a name such as us-east-1")),
    },
    |text| format!("\"{text}\""),
);

/// Name of an account's key.
pub(crate) const ACCESS_KEY: Form<String> = Form::new(
    Kind::Text,
    |text| match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("invalid access key: expected printable ASCII without spaces".to_owned()),
    },
    |text| format!("\"{text}\""),
);

/// Role of an account.
pub(crate) const ROLE: Form<String> = Form::new(
    Kind::Text,
    |text| match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "invalid role \"{text}\": expected a name such as arn:aws:iam::123456789012:role/ftp"
        )),
    },
    |text| format!("\"{text}\""),
);

/// Reads an absolute path, or an empty one.
fn absolute(text: &str) -> Result<PathBuf, String> {
    match text.is_empty() || text.starts_with('/') {
        true if text.contains('\0') => Err("invalid path: NUL is not allowed".to_owned()),
        true => Ok(text.into()),
        false => Err(format!("invalid path \"{text}\": expected an absolute path")),
    }
}

fn show_path(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// Passive ports. Empty: any port.
pub(crate) const PORTS: Form<Option<PortRanges>> =
    Form::new(Kind::Text, |text| unless_empty(text, values::ports), optional);

/// Address for PASV. Empty: the address of the control connection.
pub(crate) const ADDRESS: Form<Option<PassiveAddress>> =
    Form::new(Kind::Text, |text| unless_empty(text, passive_address), optional);

pub(super) fn passive_address(text: &str) -> Result<PassiveAddress, String> {
    let wrong = |_| format!("invalid address \"{text}\": expected an IPv4 address or a host name");
    PassiveAddress::parse(text.as_bytes()).map_err(wrong)
}

/// User to run as. Empty: the user who starts the server.
pub(crate) const RUN_AS: Form<Option<RunAs>> =
    Form::new(Kind::Text, |text| unless_empty(text, RunAs::parse), optional);

/// Group of a file. Empty: the group of the process.
pub(crate) const GROUP: Form<Option<FileGroup>> =
    Form::new(Kind::Text, |text| unless_empty(text, FileGroup::parse), optional);

/// The target of the log.
pub(crate) const LOG_TARGET: Form<LogTarget> =
    Form::new(Kind::Text, LogTarget::parse, |target| format!("\"{target}\""));

/// Address of the metrics. Empty: none.
pub(crate) const METRICS: Form<Option<MetricsAddress>> =
    Form::new(Kind::Text, |text| unless_empty(text, MetricsAddress::parse), optional);

/// Password hash. No message shows the text, which may be the password itself.
pub(crate) const PASSWORD: Form<Option<PasswordHash>> = Form::new(
    Kind::Text,
    |text| text.parse().map(Some).map_err(|error: PasswordHashError| error.to_string()),
    |hash| if hash.is_some() { "\"****\"".to_owned() } else { "\"\"".to_owned() },
);

/// One word for several rights, or a list of rights, with or without brackets.
pub(crate) const RIGHTS: Form<Rights> = Form::new(
    Kind::Words,
    |text| {
        let list = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let rights = match list {
            Some(list) => Rights::from_words(list.split(',')),
            None => Rights::parse(text),
        };
        rights.map_err(|error| error.to_string())
    },
    |rights| match *rights {
        Rights::FULL => "full".to_owned(),
        Rights::READ => "read".to_owned(),
        Rights::DROP_BOX => "drop-box".to_owned(),
        _ => format!("[{}]", rights.words().collect::<Vec<_>>().join(", ")),
    },
);

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
