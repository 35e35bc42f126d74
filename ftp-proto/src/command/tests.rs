use super::*;
use crate::address::NetworkProtocol;
use crate::line::{LineDecoder, LineEvent};
use crate::parameters::FormCode;
use ParseErrorKind::{
    BadNumber, LineBreak, TooLong, UnexpectedByte, UnexpectedEnd, UnknownWord, Unsupported,
    UnsupportedProtocol,
};

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
            assert_eq!(kind(command.encode()), Err(LineBreak), "{text:?}");
        }
        let raw = RawCommand::new(format!("SITE {text}")).map_err(|error| error.kind);
        assert_eq!(raw, Err(LineBreak), "{text:?}");
    }
}

#[test]
fn empty_and_long_lines_are_refused() {
    let empty = Command::User(vec![]).encode().map_err(|error| error.kind);
    assert_eq!(empty, Err(UnexpectedEnd));
    let longest = limits::COMMAND_LINE - "RETR ".len();
    let path = |length| Pathname::new(vec![b'a'; length]).unwrap();
    assert!(Command::Retr(path(longest)).encode().is_ok());
    let long = Command::Retr(path(longest + 1)).encode().map_err(|error| error.kind);
    assert_eq!(long, Err(TooLong));
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
