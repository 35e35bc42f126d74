//! Encodes a `Command` as a line. Only this module makes command lines, so it must refuse CR, LF
//! and NUL (RFC 2640 §3.1).

use std::fmt::Display;

use super::{Command, OptsArgument, Password, RawCommand, SiteArgument};
use crate::address::EpsvArgument;
use crate::error::{ParseError, ParseErrorKind};
use crate::language::LanguageTag;
use crate::limits;
use crate::line::IAC;
use crate::pathname::{Pathname, is_line_break};

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
pub(super) fn check(line: &[u8]) -> Result<(), ParseError> {
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
mod tests {
    use super::*;
    use crate::address::HostName;
    use crate::fact::Facts;
    use crate::line::{LineDecoder, LineEvent};
    use crate::security::AuthMechanism;
    use crate::verb::Verb;

    #[test]
    fn x_forms_parse_as_the_standard_commands_cl_16() {
        for (line, want) in [
            ("MKD a b", Some("XMKD a b\r\n")),
            ("RMD a", Some("XRMD a\r\n")),
            ("PWD", Some("XPWD\r\n")),
            ("CDUP", Some("XCUP\r\n")),
            ("CWD a", Some("XCWD a\r\n")),
            ("DELE a", None),
        ] {
            let command = Command::parse_line(line.as_bytes()).unwrap();
            let x_form = command.encode_x_form().ok();
            assert_eq!(x_form.as_deref(), want.map(str::as_bytes), "{line}");
            if let Some(x_form) = x_form {
                let x_form = x_form.strip_suffix(b"\r\n").unwrap();
                assert_eq!(Command::parse_line(x_form), Ok(command), "{line}");
            }
        }
    }

    #[test]
    fn encode_round_trips() {
        for line in [
            "USER a b",
            "PASS  ",
            "PASS ",
            "ACCT x",
            "CWD /a",
            "CDUP",
            "QUIT",
            "PORT 127,0,0,1,4,1",
            "PASV",
            "EPRT |2|::1|1024|",
            "EPSV",
            "EPSV 1",
            "EPSV ALL",
            "TYPE A",
            "TYPE I",
            "TYPE A C",
            "TYPE E T",
            "TYPE L 36",
            "STRU F",
            "STRU P",
            "MODE S",
            "MODE Z",
            "RETR a",
            "STOR -",
            "APPE a ",
            "REST 9223372036854775807",
            "RNFR a",
            "RNTO b",
            "ABOR",
            "DELE a",
            "RMD a",
            "MKD \"a\"",
            "PWD",
            "LIST",
            "LIST -a",
            "NLST x",
            "MLSD x",
            "MLST",
            "SIZE a",
            "MDTM a",
            "STAT",
            "STAT a",
            "SYST",
            "HELP",
            "HELP RETR",
            "FEAT",
            "OPTS UTF8 ON",
            "OPTS HASH",
            "OPTS HASH SHA-256",
            "REIN",
            "STOU",
            "STOU a",
            "ALLO 5",
            "ALLO 18446744073709551615 R 80",
            "HOST ftp.example.org",
            "HOST [2001:db8::1]",
            "LANG",
            "LANG en-us",
            "CLNT",
            "CLNT a b ",
            "AUTH TLS",
            "AUTH SSL",
            "AUTH GSSAPI",
            "PBSZ 4294967295",
            "PROT C",
            "PROT P",
            "CCC",
            "MFMT 20240229000000.5  a",
            "MFF Modify=20240229000000;UNIX.mode=0644;  a;b= c",
            "HASH a",
            "AVBL",
            "AVBL a",
            "SITE HELP",
            "SITE HELP CHMOD",
            "SITE CHMOD 644  a",
            "SITE CHMOD 7777 a",
            "SITE UMASK 022",
            "SMNT /x",
            "LPSV",
            "XSHA512 a",
            "OPTS MLST type;",
            "OPTS MLST",
            "NOOP",
        ] {
            let command = Command::parse_line(line.as_bytes()).unwrap();
            let encoded = command.encode().unwrap();
            assert_eq!(encoded, format!("{line}\r\n").as_bytes(), "{line:?}");
        }
    }

    #[test]
    fn a_doubled_iac_round_trips_fr_19() {
        let command = Command::Retr(Pathname::new(&b"a\xff\xffb"[..]).unwrap());
        let encoded = command.encode().unwrap();
        assert_eq!(encoded, b"RETR a\xff\xff\xff\xffb\r\n");
        let mut decoder = LineDecoder::new();
        let _ = decoder.push(&encoded);
        let Some(LineEvent::Line(line)) = decoder.next() else { panic!("one line was pushed") };
        assert_eq!(Command::parse_line(&line), Ok(command));
    }

    #[test]
    fn line_breaks_are_refused_cl_40_cl_41_hc_09() {
        let kind = |result: Result<Vec<u8>, ParseError>| result.map_err(|error| error.kind);
        for text in ["a\r\nDELE b", "a\nb", "a\rb", "a\0b"] {
            let bytes = text.as_bytes().to_vec();
            for command in [
                Command::User(bytes.clone()),
                Command::Pass(Password(bytes.clone())),
                Command::Acct(Password(bytes.clone())),
                Command::Help(Some(bytes.clone())),
                Command::Opts(OptsArgument::Other(bytes.clone())),
                Command::Opts(OptsArgument::Mlst(bytes.clone())),
                Command::Opts(OptsArgument::Hash(Some(text.to_owned()))),
                Command::Site(SiteArgument::Help(bytes.clone())),
                Command::Site(SiteArgument::Other { word: bytes.clone(), argument: vec![] }),
                Command::Site(SiteArgument::Other { word: b"x".into(), argument: bytes.clone() }),
                Command::Clnt(bytes.clone()),
                Command::Known(Verb::Xcrc, bytes.clone()),
                Command::Mff(Facts::new("a").with("Modify", bytes.clone())),
                Command::Mff(Facts::new(bytes.clone()).with("Modify", "1")),
                Command::Auth(AuthMechanism::Other(text.to_owned())),
                Command::Host(HostName::Domain(text.to_owned())),
            ] {
                assert_eq!(kind(command.encode()), Err(ParseErrorKind::LineBreak), "{text:?}");
            }
            let raw = RawCommand::new(format!("SITE {text}")).map_err(|error| error.kind);
            assert_eq!(raw, Err(ParseErrorKind::LineBreak), "{text:?}");
        }
    }

    #[test]
    fn empty_and_long_lines_are_refused() {
        let empty = Command::User(vec![]).encode().map_err(|error| error.kind);
        assert_eq!(empty, Err(ParseErrorKind::UnexpectedEnd));
        let longest = limits::COMMAND_LINE - "RETR ".len();
        let path = |length| Pathname::new(vec![b'a'; length]).unwrap();
        assert!(Command::Retr(path(longest)).encode().is_ok());
        let long = Command::Retr(path(longest + 1)).encode().map_err(|error| error.kind);
        assert_eq!(long, Err(ParseErrorKind::TooLong));
    }

    #[test]
    fn passwords_are_not_shown_li_12() {
        for shown in [
            format!("{:?}", Command::Pass(Password(b"secret".to_vec()))),
            format!("{:?}", RawCommand::new("pass secret").unwrap()),
            format!("{:?}", RawCommand::new("ACCT secret").unwrap()),
        ] {
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn raw_lines_are_sent_as_they_are_li_11() {
        let raw = RawCommand::new(b"site x  \xff ".to_vec()).unwrap();
        assert_eq!(raw.encode().unwrap(), b"site x  \xff\xff \r\n");
        let longest = RawCommand::new(vec![b'x'; 12]).unwrap();
        assert_eq!(longest.encode().map(|line| line.len()), Ok(14));
        let mut line = b"SITE ".to_vec();
        line.resize(limits::COMMAND_LINE, b'x');
        assert_eq!(RawCommand::new(line.clone()).unwrap().encode().unwrap().len(), line.len() + 2);
        line.push(b'x');
        assert!(RawCommand::new(line).unwrap().encode().is_err());
    }

    #[test]
    fn commands_that_would_parse_differently_are_not_encoded() {
        let path = || Pathname::new("a").unwrap();
        let host = |name: &str| Command::Host(HostName::Domain(name.to_owned()));
        let auth = |name: &str| Command::Auth(AuthMechanism::Other(name.to_owned()));
        let opts = |option: &str| Command::Opts(OptsArgument::Other(option.into()));
        for command in [
            Command::Site(SiteArgument::Chmod { mode: 0o100_644, path: path() }),
            Command::Site(SiteArgument::Other { word: vec![], argument: vec![] }),
            Command::Site(SiteArgument::Other { word: vec![], argument: b"x".into() }),
            Command::Site(SiteArgument::Other { word: b"HELP".into(), argument: vec![] }),
            Command::Site(SiteArgument::Other { word: b"a b".into(), argument: vec![] }),
            Command::Site(SiteArgument::Help(b" x".to_vec())),
            auth(""),
            auth("tls"),
            auth("a b"),
            host(""),
            host("h:21"),
            host("192.0.2.1"),
            Command::Mff(Facts::new("a")),
            Command::Mff(Facts::new("").with("a", "b")),
            Command::Mff(Facts::new("x").with("a", "b c")),
            Command::Mff(Facts::new("x").with("a", "b;c")),
            Command::Known(Verb::Retr, b"x".to_vec()),
            Command::Known(Verb::Quit, vec![]),
            opts("MLST x"),
            opts("utf8"),
            opts(""),
            Command::Opts(OptsArgument::Mlst(b" a ".to_vec())),
            Command::Opts(OptsArgument::Mlst(b"a\tb;".to_vec())),
            Command::Opts(OptsArgument::Hash(Some(String::new()))),
            Command::Opts(OptsArgument::Hash(Some("sha-1".to_owned()))),
            Command::Help(Some(vec![])),
            Command::Help(Some(b" x".to_vec())),
            Command::User(vec![b'a'; limits::USER_NAME + 1]),
            Command::Acct(Password(vec![])),
        ] {
            assert!(command.encode().is_err(), "{command:?}");
        }
    }
}
