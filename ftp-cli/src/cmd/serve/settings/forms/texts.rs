//! Forms of texts: paths, addresses, names, rights, password hashes.

use std::path::{Path, PathBuf};

use ftp_proto::PortRanges;
use ftp_server::{PassiveAddress, PasswordHash, PasswordHashError, Rights};

use crate::cmd::serve::logging::LogTarget;
use crate::cmd::serve::metrics::MetricsAddress;
use crate::cmd::serve::privileges::{FileGroup, RunAs};
use crate::cmd::serve::settings::form::{Form, optional, unless_empty};
use crate::cmd::serve::settings::kind::Kind;
use crate::options::values;

/// One line.
pub(crate) const LINE: Form<String> = Form::new(
    Kind::Text,
    |text| match text.chars().any(char::is_control) {
        true => Err("invalid greeting: expected one line without control characters".to_owned()),
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

/// Empty: none.
pub(crate) const DIRECTORY: Form<PathBuf> = Form::new(Kind::Text, absolute, |path| show_path(path));

/// Directory that must be given.
pub(crate) const HOME: Form<PathBuf> = Form::new(
    Kind::Text,
    |text| if text.is_empty() { Err("expected a directory".to_owned()) } else { absolute(text) },
    |path| show_path(path),
);

/// Reads an absolute path, or nothing.
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

/// Empty: any port.
pub(crate) const PORTS: Form<Option<PortRanges>> =
    Form::new(Kind::Text, |text| unless_empty(text, values::ports), optional);

/// Empty: the address of the control connection.
pub(crate) const ADDRESS: Form<Option<PassiveAddress>> =
    Form::new(Kind::Text, |text| unless_empty(text, passive_address), optional);

pub(super) fn passive_address(text: &str) -> Result<PassiveAddress, String> {
    let wrong = |_| format!("invalid address \"{text}\": expected an IPv4 address or a host name");
    PassiveAddress::parse(text.as_bytes()).map_err(wrong)
}

/// Empty: the user who starts the server.
pub(crate) const RUN_AS: Form<Option<RunAs>> =
    Form::new(Kind::Text, |text| unless_empty(text, RunAs::parse), optional);

/// Group of a file. Empty: the process's own.
pub(crate) const GROUP: Form<Option<FileGroup>> =
    Form::new(Kind::Text, |text| unless_empty(text, FileGroup::parse), optional);

/// Where the log goes.
pub(crate) const LOG_TARGET: Form<LogTarget> =
    Form::new(Kind::Text, LogTarget::parse, |target| format!("\"{target}\""));

/// Address of the metrics. Empty: none.
pub(crate) const METRICS: Form<Option<MetricsAddress>> =
    Form::new(Kind::Text, |text| unless_empty(text, MetricsAddress::parse), optional);

/// Password hash. No message shows the text: it may be the password itself.
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
