//! Verb and argument to `Command`.

use super::{Command, OptsArgument, Password};
use crate::error::{ParseError, ParseErrorKind};
use crate::extended_address::{EpsvArgument, ExtendedAddress};
use crate::host_port::HostPort;
use crate::limits;
use crate::parameters::{RepresentationType, Structure, TransferMode};
use crate::pathname::Pathname;
use crate::restart::RestartMarker;
use crate::verb::Verb;

impl Command {
    /// Reads the argument of `verb`. An empty argument is no argument.
    ///
    /// SP around the argument is ignored for verbs that take numbers and keywords, and belongs
    /// to names and passwords. What `NOOP` and `QUIT` are given is ignored.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a value that is defined but not implemented (a server answers 504),
    /// `UnsupportedProtocol` for an address family (522), `UnknownWord` at 0 of `verb` for one
    /// this crate has no `Command` for (502); every other kind is an argument that is not
    /// what the verb takes (501).
    pub fn parse(verb: Verb, argument: &[u8]) -> Result<Self, ParseError> {
        let trimmed = trim_spaces(argument);
        Ok(match verb {
            Verb::User => Self::User(user_name(argument)?),
            Verb::Pass => Self::Pass(Password(no_line_break("password", argument)?)),
            Verb::Acct => Self::Acct(some("account", argument)?),
            Verb::Cwd => Self::Cwd(Pathname::try_from(argument)?),
            Verb::Cdup => none(argument, Self::Cdup)?,
            Verb::Quit => Self::Quit,
            Verb::Port => Self::Port(HostPort::parse(trimmed)?),
            Verb::Pasv => none(argument, Self::Pasv)?,
            Verb::Eprt => Self::Eprt(ExtendedAddress::parse(trimmed)?),
            Verb::Epsv => Self::Epsv(EpsvArgument::parse(trimmed)?),
            Verb::Type => Self::Type(RepresentationType::parse(trimmed)?),
            Verb::Stru => Self::Stru(Structure::parse(trimmed)?),
            Verb::Mode => Self::Mode(TransferMode::parse(trimmed)?),
            Verb::Retr => Self::Retr(Pathname::try_from(argument)?),
            Verb::Stor => Self::Stor(Pathname::try_from(argument)?),
            Verb::Appe => Self::Appe(Pathname::try_from(argument)?),
            Verb::Rest => Self::Rest(RestartMarker::parse(trimmed)?),
            Verb::Rnfr => Self::Rnfr(Pathname::try_from(argument)?),
            Verb::Rnto => Self::Rnto(Pathname::try_from(argument)?),
            Verb::Abor => none(argument, Self::Abor)?,
            Verb::Dele => Self::Dele(Pathname::try_from(argument)?),
            Verb::Rmd => Self::Rmd(Pathname::try_from(argument)?),
            Verb::Mkd => Self::Mkd(Pathname::try_from(argument)?),
            Verb::Pwd => none(argument, Self::Pwd)?,
            Verb::List => Self::List(optional(argument)?),
            Verb::Nlst => Self::Nlst(optional(argument)?),
            Verb::Mlsd => Self::Mlsd(optional(argument)?),
            Verb::Mlst => Self::Mlst(optional(argument)?),
            Verb::Size => Self::Size(Pathname::try_from(argument)?),
            Verb::Mdtm => Self::Mdtm(Pathname::try_from(argument)?),
            Verb::Stat => Self::Stat(optional(argument)?),
            Verb::Syst => none(argument, Self::Syst)?,
            Verb::Help if trimmed.is_empty() => Self::Help(None),
            Verb::Help => Self::Help(Some(some("verb", trimmed)?)),
            Verb::Feat => none(argument, Self::Feat)?,
            Verb::Opts => Self::Opts(opts(trimmed)?),
            Verb::Noop => Self::Noop,
            _ => return Err(ParseError::new("verb", 0, ParseErrorKind::UnknownWord)),
        })
    }
}

fn trim_spaces(argument: &[u8]) -> &[u8] {
    let start = argument.iter().position(|&byte| byte != b' ').unwrap_or(argument.len());
    let end = argument.iter().rposition(|&byte| byte != b' ').map_or(start, |last| last + 1);
    argument.get(start..end).unwrap_or_default()
}

fn user_name(argument: &[u8]) -> Result<Vec<u8>, ParseError> {
    if argument.len() > limits::USER_NAME {
        return Err(ParseError::new("user name", limits::USER_NAME, ParseErrorKind::TooLong));
    }
    some("user name", argument)
}

/// One byte or more, none of them a line break.
fn some(what: &'static str, argument: &[u8]) -> Result<Vec<u8>, ParseError> {
    if argument.is_empty() {
        return Err(ParseError::new(what, 0, ParseErrorKind::UnexpectedEnd));
    }
    no_line_break(what, argument)
}

fn no_line_break(what: &'static str, argument: &[u8]) -> Result<Vec<u8>, ParseError> {
    super::encode::check(argument)
        .map_err(|error| ParseError { what, ..error })
        .map(|()| argument.to_vec())
}

fn none(argument: &[u8], command: Command) -> Result<Command, ParseError> {
    if argument.is_empty() {
        Ok(command)
    } else {
        Err(ParseError::new("argument", 0, ParseErrorKind::UnexpectedByte))
    }
}

fn optional(argument: &[u8]) -> Result<Option<Pathname>, ParseError> {
    if argument.is_empty() { Ok(None) } else { Pathname::try_from(argument).map(Some) }
}

fn opts(argument: &[u8]) -> Result<OptsArgument, ParseError> {
    let option = some("option", argument)?;
    let (word, list) = option.split_at_checked(4).unwrap_or((&option, &[]));
    if word.eq_ignore_ascii_case(b"MLST") && matches!(list.first(), None | Some(b' ')) {
        return Ok(OptsArgument::Mlst(trim_spaces(list).to_vec()));
    }
    Ok(match option.to_ascii_uppercase().as_slice() {
        b"UTF8" | b"UTF-8" | b"UTF8 ON" | b"UTF8 NLST" => OptsArgument::Utf8,
        _ => OptsArgument::Other(option),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extended_address::NetworkProtocol;
    use ParseErrorKind::{
        BadNumber, LineBreak, TooLong, UnexpectedByte, UnexpectedEnd, UnknownWord, Unsupported,
        UnsupportedProtocol,
    };

    fn path(text: &str) -> Pathname {
        Pathname::new(text).unwrap()
    }

    #[test]
    fn parse_reads() {
        for (line, want) in [
            ("user anonymous", Command::User(b"anonymous".to_vec())),
            ("USER  a ", Command::User(b" a ".to_vec())),
            ("PASS  a b ", Command::Pass(Password(b" a b ".to_vec()))),
            ("PASS", Command::Pass(Password(vec![]))),
            ("PASS ", Command::Pass(Password(vec![]))),
            ("acct x", Command::Acct(b"x".to_vec())),
            ("xcwd  a", Command::Cwd(path(" a"))),
            ("CDUP ", Command::Cdup),
            ("QUIT now", Command::Quit),
            ("NOOP x", Command::Noop),
            ("TYPE  I ", Command::Type(RepresentationType::Image)),
            ("REST  5 ", Command::Rest(RestartMarker::new(5).unwrap())),
            ("EPSV 2 ", Command::Epsv(EpsvArgument::Protocol(NetworkProtocol::Ipv6))),
            ("EPSV ", Command::Epsv(EpsvArgument::Default)),
            ("LIST", Command::List(None)),
            ("MLSD ", Command::Mlsd(None)),
            ("MLSD  ", Command::Mlsd(Some(path(" ")))),
            ("STAT a b", Command::Stat(Some(path("a b")))),
            ("HELP", Command::Help(None)),
            ("HELP  retr ", Command::Help(Some(b"retr".to_vec()))),
            ("OPTS utf8 on", Command::Opts(OptsArgument::Utf8)),
            ("OPTS mlst Type;size;", Command::Opts(OptsArgument::Mlst(b"Type;size;".to_vec()))),
            ("OPTS MLST", Command::Opts(OptsArgument::Mlst(vec![]))),
            ("OPTS MLSTX", Command::Opts(OptsArgument::Other(b"MLSTX".to_vec()))),
            ("OPTS UTF8 OFF", Command::Opts(OptsArgument::Other(b"UTF8 OFF".to_vec()))),
        ] {
            assert_eq!(Command::parse_line(line.as_bytes()), Ok(want), "{line:?}");
        }
    }

    #[test]
    fn parse_refuses() {
        let long = format!("USER {}", "a".repeat(513));
        for (line, kind) in [
            ("USER", UnexpectedEnd),
            ("USER ", UnexpectedEnd),
            (long.as_str(), TooLong),
            ("ACCT", UnexpectedEnd),
            ("CDUP x", UnexpectedByte),
            ("PASV x", UnexpectedByte),
            ("PASV  ", UnexpectedByte),
            ("PWD x", UnexpectedByte),
            ("ABOR x", UnexpectedByte),
            ("SYST x", UnexpectedByte),
            ("FEAT x", UnexpectedByte),
            ("RETR", UnexpectedEnd),
            ("STOR ", UnexpectedEnd),
            ("RETR a\rb", LineBreak),
            ("PASS a\nb", LineBreak),
            ("PORT 1,2,3,4,5", UnexpectedEnd),
            ("TYPE E", Unsupported),
            ("MODE Z", Unsupported),
            ("STRU R", Unsupported),
            ("EPRT |3|x|1|", UnsupportedProtocol),
            ("EPSV 3", UnsupportedProtocol),
            ("REST -1", BadNumber),
            ("OPTS", UnexpectedEnd),
            ("XYZZY", UnknownWord),
            ("SMNT x", UnknownWord),
        ] {
            let got = Command::parse_line(line.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, Err(kind), "{line:?}");
        }
    }
}
