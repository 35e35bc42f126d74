//! The parser of commands.

use super::{Command, OptsArgument, Password, SiteArgument, check};
use crate::address::{EpsvArgument, ExtendedAddress, HostName, HostPort};
use crate::bytes::{self, Pathname, split_once, split_or_all};
use crate::fact::{Facts, is_algorithm_byte};
use crate::listing::Permissions;
use crate::parameters::{
    AuthMechanism, DeflateLevel, LanguageTag, ProtectionLevel, RestartMarker, Structure,
    TransferMode, TypeCode, parse_buffer_size,
};
use crate::time_val::TimeVal;
use crate::verb::Verb;
use crate::{ParseError, ParseErrorKind, limits};

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
            Verb::Pbsz => Self::Pbsz(parse_buffer_size(trimmed())?),
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
    check(argument).map_err(|error| ParseError { what, ..error }).map(|()| argument.to_vec())
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
    check(argument)?;
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
        if let Some(at) = name.iter().position(|&byte| !is_algorithm_byte(byte)) {
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
