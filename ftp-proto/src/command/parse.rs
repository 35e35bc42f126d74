//! Parses a verb and its argument into a `Command`.

use super::{Command, OptsArgument, Password, SiteArgument};
use crate::address::{EpsvArgument, ExtendedAddress, HostName, HostPort};
use crate::bytes::{self, Pathname, split_once, split_or_all};
use crate::fact::Facts;
use crate::language::LanguageTag;
use crate::listing::Permissions;
use crate::parameters::{DeflateLevel, RestartMarker, Structure, TransferMode, TypeCode};
use crate::security::{self, AuthMechanism, ProtectionLevel};
use crate::time_val::TimeVal;
use crate::verb::Verb;
use crate::{ParseError, ParseErrorKind, hash, limits};

impl Command {
    /// Parses the argument of `verb`; an empty argument counts as missing.
    ///
    /// SP around numbers and keywords is ignored; in names and passwords it is significant.
    /// Arguments of `NOOP` and `QUIT` are ignored.
    ///
    /// # Errors
    ///
    /// - `Unsupported` for a well-formed value that is not supported (a server answers 504).
    /// - `UnsupportedProtocol` for an unknown address family (522).
    /// - `UnknownWord` at byte 0 of `verb` for [`Verb::Other`] (500).
    /// - Any other error for an invalid argument (501).
    pub fn parse(verb: Verb, argument: &[u8]) -> Result<Self, ParseError> {
        let trimmed = || trim_spaces(argument);
        Ok(match verb {
            Verb::User => Self::User(user_name(argument)?),
            Verb::Pass => Self::Pass(Password(no_line_break("password", argument)?)),
            Verb::Acct => Self::Acct(Password(some("account", argument)?)),
            Verb::Cwd => Self::Cwd(Pathname::try_from(argument)?),
            Verb::Cdup => none(argument, Self::Cdup)?,
            Verb::Quit => Self::Quit,
            Verb::Rein => none(argument, Self::Rein)?,
            Verb::Port => Self::Port(HostPort::parse(trimmed())?),
            Verb::Pasv => none(argument, Self::Pasv)?,
            Verb::Eprt => Self::Eprt(ExtendedAddress::parse(trimmed())?),
            Verb::Epsv => Self::Epsv(EpsvArgument::parse(trimmed())?),
            Verb::Type => Self::Type(TypeCode::parse(trimmed())?),
            Verb::Stru => Self::Stru(Structure::parse(trimmed())?),
            Verb::Mode => Self::Mode(TransferMode::parse(trimmed())?),
            Verb::Retr => Self::Retr(Pathname::try_from(argument)?),
            Verb::Stor => Self::Stor(Pathname::try_from(argument)?),
            Verb::Appe => Self::Appe(Pathname::try_from(argument)?),
            Verb::Stou => Self::Stou(optional(argument)?),
            Verb::Allo => allo(trimmed())?,
            Verb::Rest => Self::Rest(RestartMarker::parse(trimmed())?),
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
            Verb::Mfmt => mfmt(argument)?,
            Verb::Mff => mff(argument)?,
            Verb::Hash => Self::Hash(Pathname::try_from(argument)?),
            Verb::Avbl => Self::Avbl(optional(argument)?),
            Verb::Site => Self::Site(site(argument)?),
            Verb::Stat => Self::Stat(optional(argument)?),
            Verb::Syst => none(argument, Self::Syst)?,
            Verb::Help if trimmed().is_empty() => Self::Help(None),
            Verb::Help => Self::Help(Some(some("verb", trimmed())?)),
            Verb::Feat => none(argument, Self::Feat)?,
            Verb::Opts => Self::Opts(opts(trimmed())?),
            Verb::Host => Self::Host(HostName::parse(trimmed())?),
            Verb::Lang if trimmed().is_empty() => Self::Lang(None),
            Verb::Lang => Self::Lang(Some(LanguageTag::parse(trimmed())?)),
            Verb::Clnt => Self::Clnt(no_line_break("client name", argument)?),
            Verb::Auth => Self::Auth(AuthMechanism::parse(trimmed())?),
            Verb::Pbsz => Self::Pbsz(security::parse_buffer_size(trimmed())?),
            Verb::Prot => Self::Prot(ProtectionLevel::parse(trimmed())?),
            Verb::Ccc => none(argument, Self::Ccc)?,
            Verb::Noop => Self::Noop,
            Verb::Smnt
            | Verb::Adat
            | Verb::Mic
            | Verb::Conf
            | Verb::Enc
            | Verb::Lprt
            | Verb::Lpsv
            | Verb::Mfct
            | Verb::Rang
            | Verb::Csid
            | Verb::Rmda
            | Verb::Dsiz
            | Verb::Comb
            | Verb::Pret
            | Verb::Sscn
            | Verb::Cpsv
            | Verb::Xcrc
            | Verb::Xmd5
            | Verb::Xsha
            | Verb::Xsha1
            | Verb::Xsha256
            | Verb::Xsha512 => Self::Known(verb, no_line_break("argument", argument)?),
            Verb::Other(_) => return Err(ParseError::new("verb", 0, ParseErrorKind::UnknownWord)),
        })
    }
}

fn trim_spaces(argument: &[u8]) -> &[u8] {
    let mut trimmed = argument;
    while let [b' ', rest @ ..] | [rest @ .., b' '] = trimmed {
        trimmed = rest;
    }
    trimmed
}

fn user_name(argument: &[u8]) -> Result<Vec<u8>, ParseError> {
    if argument.len() > limits::USER_NAME {
        return Err(ParseError::new("user name", limits::USER_NAME, ParseErrorKind::TooLong));
    }
    some("user name", argument)
}

/// Parses one byte or more, without line breaks.
fn some(what: &'static str, argument: &[u8]) -> Result<Vec<u8>, ParseError> {
    if argument.is_empty() {
        return Err(ParseError::new(what, 0, ParseErrorKind::UnexpectedEnd));
    }
    no_line_break(what, argument)
}

fn no_line_break(what: &'static str, argument: &[u8]) -> Result<Vec<u8>, ParseError> {
    super::check(argument).map_err(|error| ParseError { what, ..error }).map(|()| argument.to_vec())
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

/// Parses `n` or `n R m` (RFC 959 §5.3.2).
fn allo(argument: &[u8]) -> Result<Command, ParseError> {
    let error = |at, kind| ParseError::new("ALLO argument", at, kind);
    let end = error(argument.len(), ParseErrorKind::UnexpectedEnd);
    let mut words = argument.split(|&byte| byte == b' ');
    let mut number = |at| {
        let digits = words.next().filter(|digits| !digits.is_empty()).ok_or(end)?;
        let value = bytes::decimal(digits).ok_or(error(at, ParseErrorKind::BadNumber))?;
        Ok((value, at + digits.len() + 1, words.next()))
    };
    let (size, at, record) = number(0)?;
    let record = match record {
        None => None,
        Some(b"R" | b"r") => match number(at + 2)? {
            (record, _, None) => Some(record),
            (_, at, Some(_)) => return Err(error(at, ParseErrorKind::UnexpectedByte)),
        },
        Some(_) => return Err(error(at, ParseErrorKind::UnexpectedByte)),
    };
    Ok(Command::Allo { size, record })
}

/// Parses a time, one SP and a pathname (draft-somers-ftp-mfxx-04 §3).
fn mfmt(argument: &[u8]) -> Result<Command, ParseError> {
    let end = ParseError::new("MFMT argument", argument.len(), ParseErrorKind::UnexpectedEnd);
    let (time, path) = split_once(argument, b' ').ok_or(end)?;
    Ok(Command::Mfmt(TimeVal::parse(time)?, Pathname::try_from(path)?))
}

/// Parses one or more facts, each with `=` and `;`, then one SP and a pathname
/// (draft-somers-ftp-mfxx-04 §5).
fn mff(argument: &[u8]) -> Result<Command, ParseError> {
    super::check(argument)?;
    let (facts, _path) = split_or_all(argument, b' ');
    let is_fact = |fact: &[u8]| fact.contains(&b'=');
    if !facts.strip_suffix(b";").is_some_and(|facts| facts.split(|&byte| byte == b';').all(is_fact))
    {
        return Err(ParseError::new("MFF argument", 0, ParseErrorKind::UnexpectedByte));
    }
    Ok(Command::Mff(Facts::parse(argument)?))
}

/// Parses a site-specific word and its argument. Spaces before the word are skipped, since users
/// type them and a word is never empty.
fn site(argument: &[u8]) -> Result<SiteArgument, ParseError> {
    let argument = some("SITE argument", argument.trim_ascii_start())?;
    let (word, rest) = split_or_all(&argument, b' ');
    match word.to_ascii_uppercase().as_slice() {
        b"HELP" => Ok(SiteArgument::Help(rest.trim_ascii().to_vec())),
        b"CHMOD" => {
            let at = argument.len();
            let end = ParseError::new("CHMOD argument", at, ParseErrorKind::UnexpectedEnd);
            let (mode, path) = split_once(rest, b' ').ok_or(end)?;
            let wrong = ParseError::new("file mode", 6, ParseErrorKind::BadNumber);
            let mode = Permissions::parse(mode).ok_or(wrong)?.mode();
            Ok(SiteArgument::Chmod { mode, path: Pathname::try_from(path)? })
        }
        _ => Ok(SiteArgument::Other { word: word.to_vec(), argument: rest.to_vec() }),
    }
}

fn opts(argument: &[u8]) -> Result<OptsArgument, ParseError> {
    let option = some("option", argument)?;
    if let Some(list) = text_after(b"MLST", &option) {
        // Names of facts contain no space. RFC 3659 §7.9.1 shows a server that refuses a list with
        // a space.
        if let Some(at) = list.iter().position(|byte| !byte.is_ascii_graphic()) {
            return Err(ParseError::new("list of facts", at, ParseErrorKind::UnexpectedByte));
        }
        return Ok(OptsArgument::Mlst(list.to_vec()));
    }
    if let Some(name) = text_after(b"HASH", &option) {
        if let Some(at) = name.iter().position(|&byte| !hash::is_name_byte(byte)) {
            return Err(ParseError::new("hashname", at, ParseErrorKind::UnexpectedByte));
        }
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        return Ok(OptsArgument::Hash(Some(name).filter(|name| !name.is_empty())));
    }
    if let Some(parameters) = text_after(b"MODE Z", &option) {
        return deflate(parameters).map(OptsArgument::Deflate);
    }
    Ok(match option.to_ascii_uppercase().as_slice() {
        b"UTF8" | b"UTF-8" | b"UTF8 ON" | b"UTF8 NLST" => OptsArgument::Utf8,
        _ => OptsArgument::Other(option),
    })
}

/// Reads the parameters of `OPTS MODE Z`: pairs of a name and a value. Only the level can be
/// chosen.
fn deflate(parameters: &[u8]) -> Result<Option<DeflateLevel>, ParseError> {
    let error = |kind| ParseError::new("parameters of MODE Z", 0, kind);
    let words: Vec<_> = parameters.split(|byte| *byte == b' ').filter(|w| !w.is_empty()).collect();
    let mut level = None;
    for pair in words.chunks(2) {
        let &[name, value] = pair else { return Err(error(ParseErrorKind::UnexpectedEnd)) };
        match (name.to_ascii_uppercase().as_slice(), value) {
            (b"LEVEL", [digit @ b'0'..=b'9']) => level = DeflateLevel::new(digit - b'0'),
            (b"LEVEL", _) => return Err(error(ParseErrorKind::BadNumber)),
            (b"ENGINE", value) if value.eq_ignore_ascii_case(b"ZLIB") => {}
            (b"METHOD", b"8") => {}
            _ => return Err(error(ParseErrorKind::UnknownWord)),
        }
    }
    Ok(level)
}

/// Returns the text after `word` and SP, which may be empty; `None` if the option begins with
/// another word. Ignores the case of the word.
fn text_after<'a>(word: &[u8], option: &'a [u8]) -> Option<&'a [u8]> {
    let (head, rest) = option.split_at_checked(word.len())?;
    let matches = head.eq_ignore_ascii_case(word) && matches!(rest.first(), None | Some(b' '));
    matches.then(|| trim_spaces(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::NetworkProtocol;
    use crate::parameters::FormCode;
    use ParseErrorKind::{
        BadNumber, LineBreak, TooLong, UnexpectedByte, UnexpectedEnd, UnknownWord, Unsupported,
        UnsupportedProtocol,
    };

    fn path(text: &str) -> Pathname {
        Pathname::new(text).unwrap()
    }

    fn other_site(word: &str, argument: &str) -> SiteArgument {
        SiteArgument::Other { word: word.into(), argument: argument.into() }
    }

    #[test]
    fn parse_accepts_valid_commands() {
        for (line, want) in [
            ("user anonymous", Command::User(b"anonymous".to_vec())),
            ("USER  a ", Command::User(b" a ".to_vec())),
            ("PASS  a b ", Command::Pass(Password(b" a b ".to_vec()))),
            ("PASS", Command::Pass(Password(vec![]))),
            ("PASS ", Command::Pass(Password(vec![]))),
            ("acct x", Command::Acct(Password(b"x".to_vec()))),
            ("xcwd  a", Command::Cwd(path(" a"))),
            ("CDUP ", Command::Cdup),
            ("QUIT now", Command::Quit),
            ("NOOP x", Command::Noop),
            ("TYPE  I ", Command::Type(TypeCode::Image)),
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
            ("OPTS MODE Z", Command::Opts(OptsArgument::Deflate(None))),
            ("OPTS mode z level 9", Command::Opts(OptsArgument::Deflate(DeflateLevel::new(9)))),
            (
                "OPTS MODE Z ENGINE ZLIB METHOD 8 LEVEL 0",
                Command::Opts(OptsArgument::Deflate(DeflateLevel::new(0))),
            ),
            ("OPTS MODE Y", Command::Opts(OptsArgument::Other(b"MODE Y".to_vec()))),
            ("OPTS MLSTX", Command::Opts(OptsArgument::Other(b"MLSTX".to_vec()))),
            ("rein ", Command::Rein),
            ("STOU", Command::Stou(None)),
            ("STOU a b", Command::Stou(Some(path("a b")))),
            ("ALLO  5 ", Command::Allo { size: 5, record: None }),
            ("allo 5 r 80", Command::Allo { size: 5, record: Some(80) }),
            ("LANG ", Command::Lang(None)),
            ("CLNT", Command::Clnt(vec![])),
            ("CLNT a b ", Command::Clnt(b"a b ".to_vec())),
            ("auth tls", Command::Auth(AuthMechanism::Tls)),
            ("PBSZ 0", Command::Pbsz(0)),
            ("PROT p", Command::Prot(ProtectionLevel::Private)),
            ("CCC", Command::Ccc),
            ("HASH  a", Command::Hash(path(" a"))),
            ("AVBL", Command::Avbl(None)),
            ("SITE help", Command::Site(SiteArgument::Help(vec![]))),
            ("SITE HELP CHMOD x", Command::Site(SiteArgument::Help(b"CHMOD x".to_vec()))),
            (
                "site chmod 4755  a b",
                Command::Site(SiteArgument::Chmod { mode: 0o4755, path: path(" a b") }),
            ),
            ("SITE UMASK 022", Command::Site(other_site("UMASK", "022"))),
            ("SITE Umask", Command::Site(other_site("Umask", ""))),
            ("SITE  x  y ", Command::Site(other_site("x", " y "))),
            ("TYPE E", Command::Type(TypeCode::Ebcdic(FormCode::NonPrint))),
            ("MODE z", Command::Mode(TransferMode::Deflate)),
            ("STRU R", Command::Stru(Structure::Record)),
            ("OPTS HASH", Command::Opts(OptsArgument::Hash(None))),
            ("OPTS hash sha-1", Command::Opts(OptsArgument::Hash(Some("SHA-1".to_owned())))),
            ("SMNT /x", Command::Known(Verb::Smnt, b"/x".to_vec())),
            ("XCRC", Command::Known(Verb::Xcrc, vec![])),
            ("OPTS UTF8 OFF", Command::Opts(OptsArgument::Other(b"UTF8 OFF".to_vec()))),
        ] {
            assert_eq!(Command::parse_line(line.as_bytes()), Ok(want), "{line:?}");
        }
    }

    #[test]
    fn parse_rejects_invalid_input() {
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
            ("TYPE L 256", Unsupported),
            ("TYPE X", UnknownWord),
            ("MODE X", UnknownWord),
            ("STRU X", UnknownWord),
            ("EPRT |3|x|1|", UnsupportedProtocol),
            ("EPSV 3", UnsupportedProtocol),
            ("REST -1", BadNumber),
            ("OPTS", UnexpectedEnd),
            ("XYZZY", UnknownWord),
            ("ALLO", UnexpectedEnd),
            ("ALLO x", BadNumber),
            ("ALLO -1", BadNumber),
            ("ALLO 18446744073709551616", BadNumber),
            ("ALLO 5 R", UnexpectedEnd),
            ("ALLO 5 R ", UnexpectedEnd),
            ("ALLO 5 S 5", UnexpectedByte),
            ("ALLO 5 R x", BadNumber),
            ("ALLO 5 R 5 5", UnexpectedByte),
            ("ALLO 5  R 5", UnexpectedByte),
            ("REIN x", UnexpectedByte),
            ("CCC x", UnexpectedByte),
            ("HOST", UnexpectedEnd),
            ("HOST h:21", UnexpectedByte),
            ("LANG e_n", UnexpectedByte),
            ("AUTH", UnexpectedEnd),
            ("PBSZ", UnexpectedEnd),
            ("PBSZ 4294967296", BadNumber),
            ("PROT X", Unsupported),
            ("PROT", UnexpectedEnd),
            ("MFMT 20240229000000", UnexpectedEnd),
            ("MFMT 20240229000000 ", UnexpectedEnd),
            ("MFMT 20230229000000 a", BadNumber),
            ("MFMT 2024022900000 a", UnexpectedEnd),
            ("MFF", UnexpectedByte),
            ("MFF  a", UnexpectedByte),
            ("MFF junk; a", UnexpectedByte),
            ("MFF a=b;junk; a", UnexpectedByte),
            ("MFF a=b;;c=d; a", UnexpectedByte),
            ("MFF a=b c", UnexpectedByte),
            ("MFF a=b c; d", UnexpectedByte),
            ("MFF Modify=20240229000000;", UnexpectedEnd),
            ("MFF a=b; x\ry", LineBreak),
            ("HASH", UnexpectedEnd),
            ("SITE", UnexpectedEnd),
            ("SITE  ", UnexpectedEnd),
            ("SITE CHMOD", UnexpectedEnd),
            ("SITE CHMOD 644", UnexpectedEnd),
            ("SITE CHMOD 644 ", UnexpectedEnd),
            ("SITE CHMOD 64 a", BadNumber),
            ("SITE CHMOD 00644 a", BadNumber),
            ("SITE CHMOD 684 a", BadNumber),
            ("SITE CHMOD u+x a", BadNumber),
            ("OPTS HASH SHA+1", UnexpectedByte),
            ("OPTS MLST unique type;", UnexpectedByte),
            ("OPTS MLST fish\tcakes;", UnexpectedByte),
        ] {
            let got = Command::parse_line(line.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, Err(kind), "{line:?}");
        }
    }

    #[test]
    fn errors_report_the_object_and_the_position() {
        for (line, what, at) in [
            ("ALLO 12 x", "ALLO argument", 3),
            ("ALLO 12 R x", "ALLO argument", 5),
            ("ALLO 12 R 345 6", "ALLO argument", 9),
            ("ALLO x", "ALLO argument", 0),
            ("ALLO 1 R", "ALLO argument", 3),
            ("CLNT a\rb", "client name", 1),
            ("ACCT a\rb", "account", 1),
            ("SITE CHMOD 64", "CHMOD argument", 8),
            ("OPTS HASH a b", "hashname", 1),
            ("OPTS MLST fish cakes;", "list of facts", 4),
        ] {
            let error = Command::parse_line(line.as_bytes()).unwrap_err();
            assert_eq!((error.what, error.at), (what, at), "{line:?}");
        }
    }

    #[test]
    fn the_longest_user_name_cm_01_cm_02() {
        let line = format!("USER {}", "a".repeat(limits::USER_NAME));
        assert!(Command::parse_line(line.as_bytes()).is_ok());
        assert!(Command::parse_line(format!("{line}a").as_bytes()).is_err());
    }
}
