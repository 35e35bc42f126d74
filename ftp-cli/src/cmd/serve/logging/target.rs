//! Parses the target of the event log.

use std::fmt;
use std::path::{Path, PathBuf};

use super::syslog::SyslogFormat;

/// Target of the event log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum LogTarget {
    #[default]
    Stderr,
    File(PathBuf),
    /// The local syslog socket.
    Syslog(SyslogFormat),
}

impl LogTarget {
    /// Parses `stderr`, `file:PATH`, `syslog` or `syslog-5424`.
    ///
    /// # Errors
    ///
    /// Returns a message with the expected values.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("file:")) {
            ("stderr", _) => Ok(Self::Stderr),
            ("syslog", _) => Ok(Self::Syslog(SyslogFormat::Traditional)),
            ("syslog-5424", _) => Ok(Self::Syslog(SyslogFormat::Rfc5424)),
            (_, Some(path)) if path.starts_with('/') && !path.contains('\0') => {
                Ok(Self::File(path.into()))
            }
            _ => Err(format!(
                "invalid target \"{text}\": expected stderr, file:/PATH, syslog or syslog-5424"
            )),
        }
    }

    /// Returns the path of the log, if it is a file.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Stderr | Self::Syslog(_) => None,
        }
    }
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Syslog(SyslogFormat::Traditional) => f.write_str("syslog"),
            Self::Syslog(SyslogFormat::Rfc5424) => f.write_str("syslog-5424"),
        }
    }
}
