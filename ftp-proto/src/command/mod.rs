//! Commands with typed arguments (RFC 959 §4.1 and its extensions), which servers parse and clients
//! encode. Only `encode` makes command lines, so it must refuse CR, LF and NUL (RFC 2640 §3.1).

mod parse;

use std::fmt::{self, Display};

use crate::address::{EpsvArgument, ExtendedAddress, HostName, HostPort};
use crate::bytes::{Pathname, is_line_break};
use crate::fact::Facts;
use crate::line::IAC;
use crate::parameters::{
    AuthMechanism, DeflateLevel, LanguageTag, ProtectionLevel, RestartMarker, Structure,
    TransferMode, TypeCode,
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
