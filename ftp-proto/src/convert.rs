//! `FromStr` and `TryFrom<&[u8]>` for values that are parsed from bytes.

use std::str::FromStr;

use crate::address::{EpsvArgument, ExtendedAddress, HostName, HostPort, Network, PortRanges};
use crate::command::{Command, RawCommand};
use crate::error::ParseError;
use crate::fact::Facts;
use crate::hash::FileDigest;
use crate::language::LanguageTag;
use crate::parameters::{Structure, TransferMode, TypeCode};
use crate::pathname::Pathname;
use crate::restart::RestartMarker;
use crate::security::{AuthMechanism, ProtectionLevel};
use crate::time_val::TimeVal;
use crate::url::FtpUrl;
use crate::verb::Verb;

/// Implements both traits with the function that parses bytes.
macro_rules! read_by {
    ($($type:ident::$parse:ident,)*) => {$(
        impl FromStr for $type {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                Self::$parse(text.as_bytes())
            }
        }

        impl TryFrom<&[u8]> for $type {
            type Error = ParseError;

            fn try_from(bytes: &[u8]) -> Result<Self, ParseError> {
                Self::$parse(bytes)
            }
        }
    )*};
}

read_by! {
    AuthMechanism::parse,
    Command::parse_line,
    EpsvArgument::parse,
    ExtendedAddress::parse,
    Facts::parse,
    FileDigest::parse,
    FtpUrl::parse,
    HostName::parse,
    HostPort::parse,
    LanguageTag::parse,
    Network::parse,
    Pathname::new,
    PortRanges::parse,
    ProtectionLevel::parse,
    RawCommand::new,
    RestartMarker::parse,
    Structure::parse,
    TimeVal::parse,
    TransferMode::parse,
    TypeCode::parse,
    Verb::parse,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_str_and_try_from_agree_with_parse() {
        let ports: PortRanges = "21,300-400".parse().unwrap();
        assert_eq!(PortRanges::try_from(&b"21,300-400"[..]), Ok(ports));
        assert_eq!("PWD".parse(), Ok(Command::Pwd));
        assert_eq!("".parse::<Pathname>(), Pathname::new(""));
        assert_eq!("x".parse::<TimeVal>(), TimeVal::parse(b"x"));
    }
}
