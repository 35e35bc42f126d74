//! Commands with typed arguments (RFC 959 §4.1 and its extensions), which servers parse and clients
//! encode. Only `encode` makes command lines, so it must refuse CR, LF and NUL (RFC 2640 §3.1).

use std::fmt::{self, Display};

use crate::address::{EpsvArgument, ExtendedAddress, HostName, HostPort};
use crate::bytes::{self, Pathname, is_line_break, split_once, split_or_all};
use crate::fact::{Facts, is_algorithm_byte};
use crate::line::IAC;
use crate::listing::Permissions;
use crate::parameters::{
    AuthMechanism, DeflateLevel, LanguageTag, ProtectionLevel, RestartMarker, Structure,
    TransferMode, TypeCode, parse_buffer_size,
};
use crate::time_val::TimeVal;
use crate::verb::Verb;
use crate::{ParseError, ParseErrorKind, limits};

/// A password or an account, hidden in `Debug`.
#[derive(Clone, Eq, PartialEq)]
pub struct Password(pub Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// The argument of `OPTS` (RFC 2389 §4).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OptsArgument {
    /// `UTF8 ON`, also accepted as `UTF8`, `UTF-8` and `UTF8 NLST`. UTF-8 names work even without
    /// this option, since this crate treats names as bytes.
    Utf8,
    /// `MLST` and the requested facts, each followed by `;` (RFC 3659 §7.9): the list as received,
    /// which may be empty.
    Mlst(Vec<u8>),
    /// `HASH` with an algorithm for later commands, in upper case, or without one to query the
    /// current algorithm (draft-bryan-ftpext-hash-02 §3.2).
    Hash(Option<String>),
    /// `MODE Z` with the compression level, or without it for the default
    /// (draft-preston-ftpext-deflate §3.4).
    Deflate(Option<DeflateLevel>),
    /// Any other option, as received.
    Other(Vec<u8>),
}

/// The argument of `SITE` (RFC 959 §4.1.3). This crate parses only `HELP` and `CHMOD`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SiteArgument {
    /// `HELP` and its argument.
    Help(Vec<u8>),
    /// `CHMOD mode path`.
    Chmod {
        /// The permission bits, 0 to 0o7777; three or four octal digits on the wire.
        mode: u16,
        /// The file or directory.
        path: Pathname,
    },
    /// Any other word and, after one SP, its argument, both as received.
    Other {
        /// The word, in its original case.
        word: Vec<u8>,
        /// Its argument; empty if there is none.
        argument: Vec<u8>,
    },
}

/// One command: a verb and its typed argument.
///
/// ```
/// use ftp_proto::{Command, HostPort};
///
/// let command = Command::parse_line(b"port 10,0,0,5,195,84")?;
/// let HostPort { host, port } = match command {
///     Command::Port(host_port) => host_port,
///     _ => unreachable!("PORT was sent"),
/// };
/// assert_eq!((host.octets(), port), ([10, 0, 0, 5], 50_004));
/// assert_eq!(command.encode()?, b"PORT 10,0,0,5,195,84\r\n");
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// `USER name`, 1 to 512 bytes.
    User(Vec<u8>),
    /// `PASS password`, any number of bytes.
    Pass(Password),
    /// `ACCT account`, as secret as a password.
    Acct(Password),
    /// `CWD path` and `XCWD`.
    Cwd(Pathname),
    /// `CDUP` and `XCUP`.
    Cdup,
    /// `QUIT`.
    Quit,
    /// `REIN`.
    Rein,
    /// `PORT h1,h2,h3,h4,p1,p2`.
    Port(HostPort),
    /// `PASV`.
    Pasv,
    /// `EPRT |family|address|port|`.
    Eprt(ExtendedAddress),
    /// `EPSV`, `EPSV 1`, `EPSV 2`, `EPSV ALL`.
    Epsv(EpsvArgument),
    /// `TYPE type-code`.
    Type(TypeCode),
    /// `STRU structure-code`.
    Stru(Structure),
    /// `MODE mode-code`.
    Mode(TransferMode),
    /// `RETR path`.
    Retr(Pathname),
    /// `STOR path`.
    Stor(Pathname),
    /// `APPE path`.
    Appe(Pathname),
    /// `STOU [path]`, where the path is only a suggestion.
    Stou(Option<Pathname>),
    /// `ALLO size [R record]`, both in bytes.
    Allo {
        /// The number of bytes to be stored.
        size: u64,
        /// The longest record or page.
        record: Option<u64>,
    },
    /// `REST offset`.
    Rest(RestartMarker),
    /// `RNFR path`.
    Rnfr(Pathname),
    /// `RNTO path`.
    Rnto(Pathname),
    /// `ABOR`.
    Abor,
    /// `DELE path`.
    Dele(Pathname),
    /// `RMD path` and `XRMD`.
    Rmd(Pathname),
    /// `MKD path` and `XMKD`.
    Mkd(Pathname),
    /// `PWD` and `XPWD`.
    Pwd,
    /// `LIST [path]`.
    List(Option<Pathname>),
    /// `NLST [path]`.
    Nlst(Option<Pathname>),
    /// `MLSD [path]`.
    Mlsd(Option<Pathname>),
    /// `MLST [path]`.
    Mlst(Option<Pathname>),
    /// `SIZE path`.
    Size(Pathname),
    /// `MDTM path`.
    Mdtm(Pathname),
    /// `MFMT time path`.
    Mfmt(TimeVal, Pathname),
    /// `MFF fact=value; path`: at least one fact; the path is [`Facts::name`].
    Mff(Facts),
    /// `HASH path`.
    Hash(Pathname),
    /// `AVBL [path]`.
    Avbl(Option<Pathname>),
    /// `SITE word …`.
    Site(SiteArgument),
    /// `STAT [path]`.
    Stat(Option<Pathname>),
    /// `SYST`.
    Syst,
    /// `HELP [verb]`, as received.
    Help(Option<Vec<u8>>),
    /// `FEAT`.
    Feat,
    /// `OPTS option`.
    Opts(OptsArgument),
    /// `HOST hostname`.
    Host(HostName),
    /// `LANG [tag]`.
    Lang(Option<LanguageTag>),
    /// `CLNT name`, which may be empty.
    Clnt(Vec<u8>),
    /// `AUTH mechanism`.
    Auth(AuthMechanism),
    /// `PBSZ size`, in bytes.
    Pbsz(u32),
    /// `PROT prot-code`.
    Prot(ProtectionLevel),
    /// `CCC`.
    Ccc,
    /// `NOOP`.
    Noop,
    /// A known verb without its own variant, such as `LPRT` and `XCRC`, with its argument as
    /// received. Of these commands, the server of this project supports only `SSCN`.
    Known(Verb, Vec<u8>),
}

impl Command {
    /// Returns the verb of the command.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::User(_) => Verb::User,
            Self::Pass(_) => Verb::Pass,
            Self::Acct(_) => Verb::Acct,
            Self::Cwd(_) => Verb::Cwd,
            Self::Cdup => Verb::Cdup,
            Self::Quit => Verb::Quit,
            Self::Rein => Verb::Rein,
            Self::Port(_) => Verb::Port,
            Self::Pasv => Verb::Pasv,
            Self::Eprt(_) => Verb::Eprt,
            Self::Epsv(_) => Verb::Epsv,
            Self::Type(_) => Verb::Type,
            Self::Stru(_) => Verb::Stru,
            Self::Mode(_) => Verb::Mode,
            Self::Retr(_) => Verb::Retr,
            Self::Stor(_) => Verb::Stor,
            Self::Appe(_) => Verb::Appe,
            Self::Stou(_) => Verb::Stou,
            Self::Allo { .. } => Verb::Allo,
            Self::Rest(_) => Verb::Rest,
            Self::Rnfr(_) => Verb::Rnfr,
            Self::Rnto(_) => Verb::Rnto,
            Self::Abor => Verb::Abor,
            Self::Dele(_) => Verb::Dele,
            Self::Rmd(_) => Verb::Rmd,
            Self::Mkd(_) => Verb::Mkd,
            Self::Pwd => Verb::Pwd,
            Self::List(_) => Verb::List,
            Self::Nlst(_) => Verb::Nlst,
            Self::Mlsd(_) => Verb::Mlsd,
            Self::Mlst(_) => Verb::Mlst,
            Self::Size(_) => Verb::Size,
            Self::Mdtm(_) => Verb::Mdtm,
            Self::Mfmt(..) => Verb::Mfmt,
            Self::Mff(_) => Verb::Mff,
            Self::Hash(_) => Verb::Hash,
            Self::Avbl(_) => Verb::Avbl,
            Self::Site(_) => Verb::Site,
            Self::Stat(_) => Verb::Stat,
            Self::Syst => Verb::Syst,
            Self::Help(_) => Verb::Help,
            Self::Feat => Verb::Feat,
            Self::Opts(_) => Verb::Opts,
            Self::Host(_) => Verb::Host,
            Self::Lang(_) => Verb::Lang,
            Self::Clnt(_) => Verb::Clnt,
            Self::Auth(_) => Verb::Auth,
            Self::Pbsz(_) => Verb::Pbsz,
            Self::Prot(_) => Verb::Prot,
            Self::Ccc => Verb::Ccc,
            Self::Noop => Verb::Noop,
            Self::Known(verb, _) => *verb,
        }
    }

    /// Parses a whole line from a [`LineDecoder`](crate::LineDecoder).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Verb::split`] and [`Command::parse`].
    pub fn parse_line(line: &[u8]) -> Result<Self, ParseError> {
        let (verb, argument) = Verb::split(line)?;
        Self::parse(verb, argument)
    }
}

/// A command line as the user entered it, with an unparsed argument.
///
/// ```
/// use ftp_proto::RawCommand;
///
/// let command = RawCommand::new("SITE CHMOD 644 a.txt")?;
/// assert_eq!(command.encode()?, b"SITE CHMOD 644 a.txt\r\n");
/// assert!(RawCommand::new("NOOP\r\nDELE a.txt").is_err());
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct RawCommand {
    verb: Verb,
    line: Vec<u8>,
}

impl RawCommand {
    /// Creates a command from a line without its line ending.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Verb::split`], and `LineBreak` for CR, LF or NUL anywhere.
    pub fn new(line: impl Into<Vec<u8>>) -> Result<Self, ParseError> {
        let line = line.into();
        check(&line)?;
        let (verb, _argument) = Verb::split(&line)?;
        Ok(Self { verb, line })
    }

    /// Returns the verb of the line.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        self.verb
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_line(f, "Command", self.verb(), &self.line())
    }
}

impl fmt::Debug for RawCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_line(f, "RawCommand", self.verb, &self.line)
    }
}

/// Shows a line as text, without a password.
fn show_line(f: &mut fmt::Formatter<'_>, name: &str, verb: Verb, line: &[u8]) -> fmt::Result {
    match verb {
        Verb::Pass | Verb::Acct => write!(f, "{name}({verb} ****)"),
        _ => write!(f, "{name}({})", crate::Escaped(line)),
    }
}

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

/// The initial capacity of a line, in bytes, which suffices for most lines.
const USUAL_LINE: usize = 64;

impl Command {
    /// Encodes the line, with CR LF and with 0xFF doubled (RFC 854).
    ///
    /// # Errors
    ///
    /// - `LineBreak` for CR, LF or NUL in the argument.
    /// - `TooLong` for a line over [`limits::COMMAND_LINE`].
    /// - The error of [`Command::parse`] for an argument that [`Command::parse`] refuses, such as
    ///   `UnexpectedEnd` for an empty name.
    /// - `UnexpectedByte` for an argument that would be parsed as a different one, such as a `;`
    ///   inside a fact.
    pub fn encode(&self) -> Result<Vec<u8>, ParseError> {
        let line = self.line();
        check(&line)?;
        // A line that a server would parse as another command must not be sent.
        match Self::parse_line(&line)? {
            same if same == *self => finish(line),
            _ => Err(ParseError::new("argument", 0, ParseErrorKind::UnexpectedByte)),
        }
    }

    /// Returns the line without its line ending, unchecked.
    fn line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(USUAL_LINE);
        line.extend_from_slice(self.verb().as_str().as_bytes());
        match self {
            Self::User(bytes) | Self::Acct(Password(bytes)) | Self::Pass(Password(bytes)) => {
                put(&mut line, bytes);
            }
            Self::Site(argument) => put_site(&mut line, argument),
            Self::Opts(argument) => put_opts(&mut line, argument),
            Self::Clnt(bytes) | Self::Known(_, bytes) => put_some(&mut line, bytes),
            Self::Cwd(path)
            | Self::Retr(path)
            | Self::Stor(path)
            | Self::Appe(path)
            | Self::Rnfr(path)
            | Self::Rnto(path)
            | Self::Dele(path)
            | Self::Rmd(path)
            | Self::Mkd(path)
            | Self::Hash(path)
            | Self::Size(path)
            | Self::Mdtm(path) => put(&mut line, path.as_bytes()),
            Self::List(path)
            | Self::Nlst(path)
            | Self::Mlsd(path)
            | Self::Mlst(path)
            | Self::Stou(path)
            | Self::Avbl(path)
            | Self::Stat(path) => {
                put_some(&mut line, path.as_ref().map_or(b"", Pathname::as_bytes));
            }
            Self::Help(verb) => {
                if let Some(verb) = verb {
                    put(&mut line, verb);
                }
            }
            Self::Port(host_port) => show(&mut line, host_port),
            Self::Eprt(address) => show(&mut line, address),
            Self::Rest(marker) => show(&mut line, marker),
            Self::Allo { size, record } => {
                show(&mut line, size);
                if let Some(record) = record {
                    put(&mut line, b"R");
                    show(&mut line, record);
                }
            }
            Self::Host(host) => show(&mut line, host),
            Self::Lang(tag) => {
                put_some(&mut line, tag.as_ref().map_or("", LanguageTag::as_str).as_bytes());
            }
            Self::Auth(mechanism) => show(&mut line, mechanism),
            Self::Pbsz(size) => show(&mut line, size),
            Self::Prot(level) => put(&mut line, level.as_str().as_bytes()),
            Self::Mfmt(time, path) => {
                show(&mut line, time);
                put(&mut line, path.as_bytes());
            }
            Self::Mff(facts) => {
                line.push(b' ');
                facts.encode(&mut line);
            }
            Self::Epsv(EpsvArgument::Protocol(protocol)) => show(&mut line, &protocol.number()),
            Self::Epsv(EpsvArgument::All) => put(&mut line, b"ALL"),
            Self::Type(code) => show(&mut line, code),
            Self::Stru(structure) => put(&mut line, structure.as_str().as_bytes()),
            Self::Mode(mode) => put(&mut line, mode.as_str().as_bytes()),
            Self::Epsv(EpsvArgument::Default)
            | Self::Cdup
            | Self::Quit
            | Self::Pasv
            | Self::Abor
            | Self::Pwd
            | Self::Syst
            | Self::Feat
            | Self::Rein
            | Self::Ccc
            | Self::Noop => {}
        }
        line
    }

    /// Encodes the line with the X form of the verb, from RFC 775: `XMKD`, `XRMD`, `XPWD`, `XCUP`
    /// or `XCWD`.
    ///
    /// Some old servers know only these forms (RFC 1123 §4.1.3.1).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`encode`](Self::encode), and `Unsupported` for a verb without an X
    /// form.
    pub fn encode_x_form(&self) -> Result<Vec<u8>, ParseError> {
        let mut line = self.encode()?;
        let x_form: &[u8] = match self {
            Self::Mkd(_) => b"XMKD",
            Self::Rmd(_) => b"XRMD",
            Self::Pwd => b"XPWD",
            Self::Cdup => b"XCUP",
            Self::Cwd(_) => b"XCWD",
            _ => return Err(ParseError::new("X form", 0, ParseErrorKind::Unsupported)),
        };
        let argument = line.split_off(self.verb().as_str().len());
        Ok([x_form, &argument].concat())
    }
}

impl RawCommand {
    /// Encodes the line, with CR LF and with 0xFF doubled (RFC 854).
    ///
    /// # Errors
    ///
    /// Returns `TooLong` for a line over [`limits::COMMAND_LINE`].
    pub fn encode(&self) -> Result<Vec<u8>, ParseError> {
        finish(self.line.clone())
    }
}

/// Rejects bytes that would end or break the line.
fn check(line: &[u8]) -> Result<(), ParseError> {
    match line.iter().position(|&byte| is_line_break(byte)) {
        Some(at) => Err(ParseError::new("command line", at, ParseErrorKind::LineBreak)),
        None => Ok(()),
    }
}

fn put_site(line: &mut Vec<u8>, argument: &SiteArgument) {
    match argument {
        SiteArgument::Help(word) => {
            put(line, b"HELP");
            put_some(line, word);
        }
        SiteArgument::Chmod { mode, path } => {
            show(line, &format_args!("CHMOD {mode:03o}"));
            put(line, path.as_bytes());
        }
        SiteArgument::Other { word, argument } => {
            put(line, word);
            put_some(line, argument);
        }
    }
}

fn put_opts(line: &mut Vec<u8>, argument: &OptsArgument) {
    match argument {
        OptsArgument::Utf8 => put(line, b"UTF8 ON"),
        OptsArgument::Mlst(list) => {
            put(line, b"MLST");
            put_some(line, list);
        }
        OptsArgument::Hash(name) => {
            put(line, b"HASH");
            if let Some(name) = name {
                put(line, name.as_bytes());
            }
        }
        OptsArgument::Deflate(level) => {
            put(line, b"MODE Z");
            if let Some(level) = level {
                put(line, format!("LEVEL {}", level.value()).as_bytes());
            }
        }
        OptsArgument::Other(bytes) => put(line, bytes),
    }
}

/// Appends SP and a word of the argument.
fn put(line: &mut Vec<u8>, word: &[u8]) {
    line.push(b' ');
    line.extend_from_slice(word);
}

/// Appends SP and a word of the argument, unless the word is empty.
fn put_some(line: &mut Vec<u8>, word: &[u8]) {
    if !word.is_empty() {
        put(line, word);
    }
}

/// Appends SP and the text of a word of the argument.
fn show(line: &mut Vec<u8>, word: &dyn Display) {
    put(line, word.to_string().as_bytes());
}

/// Completes a line that passed [`check`].
fn finish(mut line: Vec<u8>) -> Result<Vec<u8>, ParseError> {
    if line.len() > limits::COMMAND_LINE {
        let at = limits::COMMAND_LINE;
        return Err(ParseError::new("command line", at, ParseErrorKind::TooLong));
    }
    if line.contains(&IAC) {
        line = double_iac(&line);
    }
    line.extend_from_slice(b"\r\n");
    Ok(line)
}

fn double_iac(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in line {
        if byte == IAC {
            out.push(IAC);
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests;
