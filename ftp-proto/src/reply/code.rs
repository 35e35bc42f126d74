//! Reply codes: three digits (RFC 959 §4.2).

use std::fmt;

/// A reply code, 100 to 599. Codes that no RFC defines are accepted, since clients act on the first
/// digit (RFC 1123 §4.1.2.11).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReplyCode(u16);

/// The meaning of the first digit of a reply code (RFC 959 §4.2.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Severity {
    /// 1xx, positive preliminary: the command has begun, and another reply follows.
    Preliminary,
    /// 2xx, positive completion: the command succeeded.
    Completion,
    /// 3xx, positive intermediate: another command must follow.
    Intermediate,
    /// 4xx, transient negative: the command failed, but may succeed later.
    Transient,
    /// 5xx, permanent negative: the command failed, and the same command will fail again.
    Permanent,
}

impl ReplyCode {
    /// Returns the reply code with this number, 100 to 599; `None` for any other number.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if matches!(code, 100..=599) { Some(Self(code)) } else { None }
    }

    /// Parses the three digits at the beginning of `line`; `None` if there is no such code.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let digits = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        Self::new(digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
    }

    /// Returns the number, 100 to 599.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Returns the meaning of the first digit.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self.0 / 100 {
            1 => Severity::Preliminary,
            2 => Severity::Completion,
            3 => Severity::Intermediate,
            4 => Severity::Transient,
            _ => Severity::Permanent,
        }
    }
}

/// The codes that this toolkit sends or checks by name.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $code:literal,)*) => {
        impl ReplyCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*
        }
    };
}

codes! {
    /// 110: restart marker reply, whose text is `MARK yyyy = mmmm`.
    RESTART_MARKER 110,
    /// 125: data connection already open, transfer starting.
    DATA_CONNECTION_OPEN 125,
    /// 150: file status okay, about to open the data connection.
    ABOUT_TO_OPEN_DATA 150,
    /// 200: command okay.
    OKAY 200,
    /// 202: command superfluous at this site.
    SUPERFLUOUS 202,
    /// 211: system status, and FEAT.
    SYSTEM_STATUS 211,
    /// 212: directory status.
    DIRECTORY_STATUS 212,
    /// 213: file status, and SIZE, MDTM.
    FILE_STATUS 213,
    /// 214: help.
    HELP 214,
    /// 215: system name.
    SYSTEM_NAME 215,
    /// 220: service ready.
    SERVICE_READY 220,
    /// 221: service closing the control connection after QUIT.
    CLOSING 221,
    /// 225: data connection open, but no transfer in progress, so nothing was aborted.
    NOTHING_TO_ABORT 225,
    /// 226: closing the data connection, action successful.
    TRANSFER_COMPLETE 226,
    /// 227: entering passive mode.
    PASSIVE 227,
    /// 229: entering extended passive mode (RFC 2428 §3).
    EXTENDED_PASSIVE 229,
    /// 230: logged in.
    LOGGED_IN 230,
    /// 234: the security mechanism is accepted, and the handshake follows (RFC 4217 §4).
    SECURITY_ACCEPTED 234,
    /// 250: file action okay.
    FILE_ACTION_OKAY 250,
    /// 257: pathname.
    PATHNAME 257,
    /// 331: user name okay, need password.
    NEED_PASSWORD 331,
    /// 332: need account.
    NEED_ACCOUNT 332,
    /// 350: file action pending further information.
    PENDING 350,
    /// 421: service not available, closing the control connection.
    SERVICE_CLOSING 421,
    /// 425: cannot open data connection.
    NO_DATA_CONNECTION 425,
    /// 426: connection closed, transfer aborted.
    TRANSFER_ABORTED 426,
    /// 450: file unavailable, busy.
    FILE_BUSY 450,
    /// 451: local error in processing.
    LOCAL_ERROR 451,
    /// 452: insufficient storage space.
    NO_SPACE 452,
    /// 500: syntax error, command unrecognized.
    UNKNOWN_COMMAND 500,
    /// 501: syntax error in arguments.
    BAD_ARGUMENT 501,
    /// 502: command not implemented.
    NOT_IMPLEMENTED 502,
    /// 503: bad sequence of commands.
    BAD_SEQUENCE 503,
    /// 504: command not implemented for that parameter.
    PARAMETER_NOT_IMPLEMENTED 504,
    /// 521: the data connection cannot be opened with this `PROT` setting (RFC 4217 §10.2).
    DATA_PROTECTION_NEEDED 521,
    /// 522: network protocol not supported (RFC 2428 §2); after a 150, the data connection could
    /// not be protected (RFC 4217 §10.2).
    PROTOCOL_NOT_SUPPORTED 522,
    /// 530: not logged in.
    NOT_LOGGED_IN 530,
    /// 533: command protection level denied for policy reasons (RFC 2228 §5.1).
    PROTECTION_DENIED 533,
    /// 534: request denied for policy reasons (RFC 2228 §5.1).
    DENIED_BY_POLICY 534,
    /// 536: level of data protection not supported by the security mechanism (RFC 2228 §5.1).
    PROTECTION_NOT_SUPPORTED 536,
    /// 550: file unavailable: not found, no access.
    FILE_UNAVAILABLE 550,
    /// 552: exceeded storage allocation.
    OVER_QUOTA 552,
    /// 553: file name not allowed.
    NAME_NOT_ALLOWED 553,
    /// 554: invalid REST parameter (RFC 1123 §4.1.3.4).
    BAD_RESTART 554,
    /// 555: type or structure mismatch (RFC 1123 §4.1.3.4).
    TYPE_MISMATCH 555,
    /// 556: refused by policy, such as a digest of a very large file (draft-bryan-ftpext-hash-02
    /// §3.5).
    AGAINST_POLICY 556,
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_three_digits_rp_21() {
        for (line, want) in [
            ("220 x", Some(220)),
            ("599", Some(599)),
            ("2201", Some(220)),
            ("099", None),
            ("600", None),
            ("22", None),
            ("2 0", None),
            ("", None),
            ("abc", None),
        ] {
            assert_eq!(ReplyCode::parse(line.as_bytes()).map(ReplyCode::value), want, "{line}");
        }
    }

    #[test]
    fn the_first_digit_determines_the_severity() {
        for (code, severity) in [
            (150, Severity::Preliminary),
            (200, Severity::Completion),
            (331, Severity::Intermediate),
            (425, Severity::Transient),
            (511, Severity::Permanent),
            (599, Severity::Permanent),
        ] {
            let code = ReplyCode::new(code).unwrap();
            assert_eq!(code.severity(), severity, "{code}");
        }
    }
}
