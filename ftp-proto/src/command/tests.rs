use super::*;
use crate::address::HostName;
use crate::fact::Facts;
use crate::line::{LineDecoder, LineEvent};
use crate::security::AuthMechanism;
use crate::verb::Verb;

#[test]
fn debug_hides_only_secrets_li_12() {
    for (line, want) in [
        ("PASS geheim", "Command(PASS ****)"),
        ("ACCT geheim", "Command(ACCT ****)"),
        ("user me", "Command(USER me)"),
        ("XCRC a\x1b", "Command(XCRC a\\x1b)"),
        ("OPTS x y", "Command(OPTS x y)"),
    ] {
        assert_eq!(format!("{:?}", Command::parse_line(line.as_bytes()).unwrap()), want);
    }
    for (line, want) in [
        ("PASS geheim", "RawCommand(PASS ****)"),
        ("acct geheim", "RawCommand(ACCT ****)"),
        ("site a\x1b", "RawCommand(site a\\x1b)"),
    ] {
        assert_eq!(format!("{:?}", RawCommand::new(line).unwrap()), want);
    }
}

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
