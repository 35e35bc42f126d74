//! Values of every public type of the protocol from a seed: all possible ones, not only the usual.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ftp_proto::{
    AuthMechanism, Command, DeflateLevel, EpsvArgument, ExtendedAddress, Facts, FileDigest,
    FormCode, HostName, HostPort, LanguageTag, NetworkProtocol, OptsArgument, Password, Pathname,
    PortRanges, ProtectionLevel, Reply, ReplyCode, RestartMarker, SiteArgument, Structure, TimeVal,
    TransferMode, TypeCode, Verb,
};
use ftp_tests::random::Random;

/// The number of commands that [`command`] can make.
pub(crate) const COMMANDS: usize = 54;

/// Returns up to 40 bytes, and sometimes 400, of those that `allowed` accepts.
pub(crate) fn bytes(random: &mut Random, allowed: impl Fn(u8) -> bool) -> Vec<u8> {
    const FAVOURITES: &[u8] = b" \"\\/.;=,-|()%@:\xff\xf4\x7f\t\x1baZ09";
    let most = if random.below(20) == 0 { 400 } else { 40 };
    let length = random.below(most);
    let any = |random: &mut Random| match random.below(3) {
        0 => *random.choose(FAVOURITES),
        1 => b'a' + u8::try_from(random.below(26)).unwrap(),
        _ => u8::try_from(random.below(256)).unwrap(),
    };
    (0..length).map(|_| any(random)).filter(|&byte| allowed(byte)).collect()
}

/// Returns bytes that fit into one line.
pub(crate) fn line(random: &mut Random) -> Vec<u8> {
    bytes(random, |byte| !matches!(byte, 0 | b'\r' | b'\n'))
}

/// Returns one or more bytes that fit into one line.
pub(crate) fn some(random: &mut Random) -> Vec<u8> {
    let mut line = line(random);
    line.push(*random.choose(b"x /\xff"));
    line
}

/// Returns one to `most` letters, digits and characters of `more`; a letter comes first.
fn word(random: &mut Random, most: usize, more: &[u8]) -> String {
    let letters = b"abcxyzABCXYZ";
    let all = [letters.as_slice(), b"0189", more].concat();
    let mut word = vec![*random.choose(letters)];
    word.extend((0..random.below(most)).map(|_| *random.choose(&all)));
    String::from_utf8(word).unwrap()
}

pub(crate) fn pathname(random: &mut Random) -> Pathname {
    Pathname::new(some(random)).unwrap()
}

pub(crate) fn number(random: &mut Random) -> u64 {
    let edges = [0, 1, 9, 10, u64::from(u32::MAX), 1 << 32, u64::MAX >> 1, u64::MAX];
    match random.below(3) {
        0 => *random.choose(&edges),
        1 => random.number() >> random.below(64),
        _ => random.number() % 1_000,
    }
}

fn port(random: &mut Random) -> u16 {
    u16::try_from(random.below(65_536)).unwrap()
}

fn ipv6(random: &mut Random) -> Ipv6Addr {
    let bits = u128::from(random.number()) << 64 | u128::from(random.number());
    match random.below(4) {
        0 => Ipv6Addr::from_bits(bits >> random.below(128)),
        1 => Ipv4Addr::from_bits(u32::try_from(bits >> 96).unwrap()).to_ipv6_mapped(),
        2 => Ipv6Addr::from_bits(bits & 0xFFFF << (16 * random.below(8))),
        _ => Ipv6Addr::from_bits(bits),
    }
}

fn ipv4(random: &mut Random) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::try_from(random.below(1 << 32)).unwrap())
}

pub(crate) fn host_port(random: &mut Random) -> HostPort {
    HostPort { host: ipv4(random), port: port(random) }
}

pub(crate) fn extended_address(random: &mut Random) -> ExtendedAddress {
    let address =
        if random.below(2) == 0 { ipv4(random).into() } else { IpAddr::from(ipv6(random)) };
    ExtendedAddress { address, port: port(random) }
}

pub(crate) fn time_val(random: &mut Random) -> TimeVal {
    const LENGTH: [usize; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let year = if random.below(2) == 0 { random.below(10_000) } else { 1_970 + random.below(80) };
    let month = random.below(12);
    let leaps = month == 1 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let day = random.below(LENGTH[month] + usize::from(leaps)) + 1;
    let (hour, minute, second) = (random.below(24), random.below(60), random.below(61));
    let fraction = match random.below(3) {
        0 => String::new(),
        1 => format!(".{}", random.below(1_000)),
        _ => format!(".{:09}", random.below(1_000_000_000)),
    };
    let month = month + 1;
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{fraction}");
    TimeVal::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(crate) fn facts(random: &mut Random, fewest: usize) -> Facts {
    let mut facts = Facts::new(some(random));
    for at in 0..fewest + random.below(6) {
        let known = ["type", "Size", "MODIFY", "perm", "unique", "UNIX.mode"];
        let fact =
            if at % 2 == 0 { (*random.choose(&known)).to_owned() } else { word(random, 9, b".") };
        let value = match fact.as_str() {
            "MODIFY" => time_val(random).to_string().into_bytes(),
            "Size" => number(random).to_string().into_bytes(),
            _ => bytes(random, |byte| !matches!(byte, 0 | b'\r' | b'\n' | b'\t' | b';' | b' ')),
        };
        facts = facts.with(&fact, value);
    }
    facts
}

/// Returns a header of a load balancer, of any version and kind, and bytes of its client.
pub(crate) fn proxy_header(random: &mut Random) -> Vec<u8> {
    let mut octets = |count: usize| -> Vec<u8> {
        (0..count).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
    };
    let [source, destination] = [octets(16), octets(16)];
    let ports = octets(4);
    let rest = octets(9);
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    let ipv6 = |octets: &[u8]| Ipv6Addr::from(<[u8; 16]>::try_from(octets).unwrap());
    let ipv4 = |octets: &[u8]| Ipv4Addr::from(<[u8; 4]>::try_from(&octets[..4]).unwrap());
    let line = |words: String| format!("PROXY {words}\r\nUSER x\r\n").into_bytes();
    let (from, to) = (port(0), port(2));
    let binary = |command: u8, family: u8, addresses: &[&[u8]]| {
        let addresses = addresses.concat();
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, &addresses, b"USER x"].concat()
    };
    match random.below(6) {
        0 => line("UNKNOWN".to_owned()),
        1 => line(format!("TCP4 {} {} {from} {to}", ipv4(&source), ipv4(&destination))),
        2 => line(format!("TCP6 {} {} {from} {to}", ipv6(&source), ipv6(&destination))),
        3 => binary(0x20, 0, &[&rest]),
        4 => binary(0x21, 0x11, &[&source[..4], &destination[..4], &ports, &rest]),
        _ => binary(0x21, 0x21, &[&source, &destination, &ports, &rest]),
    }
}

pub(crate) fn port_ranges(random: &mut Random) -> PortRanges {
    let item = |random: &mut Random| {
        let first = random.below(65_535) + 1;
        let last = (first + random.below(300)).min(65_535);
        if random.below(2) == 0 { first.to_string() } else { format!("{first}-{last}") }
    };
    let items: Vec<String> = (0..=random.below(12)).map(|_| item(random)).collect();
    PortRanges::parse(items.join(",").as_bytes()).unwrap()
}

pub(crate) fn host_name(random: &mut Random) -> HostName {
    match random.below(4) {
        0 => HostName::Address(ipv4(random).into()),
        1 => HostName::Address(ipv6(random).into()),
        _ => {
            let labels = (0..=random.below(4)).map(|_| word(random, 30, b"-").to_lowercase() + "1");
            HostName::Domain(labels.collect::<Vec<_>>().join("."))
        }
    }
}

pub(crate) fn language_tag(random: &mut Random) -> LanguageTag {
    let letters = |random: &mut Random| word(random, 7, b"").replace(['0', '1', '8', '9'], "q");
    let mut tag = letters(random);
    for _ in 0..random.below(5) {
        tag = format!("{tag}-{}", word(random, 7, b""));
    }
    LanguageTag::parse(tag.as_bytes()).unwrap()
}

pub(crate) fn auth_mechanism(random: &mut Random) -> AuthMechanism {
    match random.below(3) {
        0 => AuthMechanism::Tls,
        1 => AuthMechanism::TlsWithData,
        _ => AuthMechanism::Other(format!("X{}", word(random, 18, b"-_.").to_uppercase())),
    }
}

pub(crate) fn file_digest(random: &mut Random) -> FileDigest {
    let (one, other) = (number(random), number(random));
    FileDigest {
        algorithm: word(random, 12, b"-_/.,").to_uppercase(),
        first: one.min(other),
        last: one.max(other),
        digest: (0..=random.below(64)).map(|at| u8::try_from(at * 37 % 256).unwrap()).collect(),
        pathname: pathname(random),
    }
}

pub(crate) fn restart_marker(random: &mut Random) -> RestartMarker {
    RestartMarker::new(number(random) >> 1).unwrap()
}

/// Returns a server's reply, of one line or of several.
pub(crate) fn reply(random: &mut Random) -> Reply {
    let code = u16::try_from(100 + random.below(500)).unwrap();
    let code = ReplyCode::new(code).unwrap();
    if random.below(2) == 0 {
        return Reply::new(code, line(random));
    }
    let between: Vec<Vec<u8>> = (0..random.below(5))
        .map(|_| match random.below(3) {
            // Lines that look like the last one must be distinguished from it.
            0 => format!("{code} not the end").into_bytes(),
            1 => code.to_string().into_bytes(),
            _ => line(random),
        })
        .collect();
    Reply::multi_line(code, line(random), between, line(random))
}

/// Returns the command at `index`, below [`COMMANDS`], with an argument of any kind.
pub(crate) fn command(random: &mut Random, index: usize) -> Command {
    let path = pathname(random);
    let wish = Some(path.clone()).filter(|_| random.below(2) == 0);
    match index {
        0 => Command::User(some(random)),
        1 => Command::Pass(Password(line(random))),
        2 => Command::Acct(Password(some(random))),
        3 => Command::Cwd(path),
        4 => Command::Cdup,
        5 => Command::Quit,
        6 => Command::Rein,
        7 => Command::Port(host_port(random)),
        8 => Command::Pasv,
        9 => Command::Eprt(extended_address(random)),
        10 => Command::Epsv(*random.choose(&[
            EpsvArgument::Default,
            EpsvArgument::All,
            EpsvArgument::Protocol(NetworkProtocol::Ipv4),
            EpsvArgument::Protocol(NetworkProtocol::Ipv6),
        ])),
        11 => Command::Type(*random.choose(&[
            TypeCode::Ascii(FormCode::NonPrint),
            TypeCode::Ascii(FormCode::CarriageControl),
            TypeCode::Ebcdic(FormCode::Telnet),
            TypeCode::Image,
            TypeCode::Local(36),
        ])),
        12 => Command::Stru(*random.choose(&[Structure::File, Structure::Record, Structure::Page])),
        13 => Command::Mode(*random.choose(&[
            TransferMode::Stream,
            TransferMode::Block,
            TransferMode::Compressed,
            TransferMode::Deflate,
        ])),
        14 => Command::Retr(path),
        15 => Command::Stor(path),
        16 => Command::Appe(path),
        17 => Command::Stou(wish),
        18 => Command::Allo { size: number(random), record: None },
        19 => Command::Allo { size: number(random), record: Some(number(random)) },
        20 => Command::Rest(restart_marker(random)),
        21 => Command::Rnfr(path),
        22 => Command::Rnto(path),
        23 => Command::Abor,
        24 => Command::Dele(path),
        25 => Command::Rmd(path),
        26 => Command::Mkd(path),
        27 => Command::Pwd,
        28 => Command::List(wish),
        29 => Command::Nlst(wish),
        30 => Command::Mlsd(wish),
        31 => Command::Mlst(wish),
        32 => Command::Size(path),
        33 => Command::Mdtm(path),
        34 => Command::Mfmt(time_val(random), path),
        35 => Command::Mff(facts(random, 1)),
        36 => Command::Hash(path),
        37 => Command::Avbl(wish),
        38 => {
            let mode = u16::try_from(random.below(0o10_000)).unwrap();
            Command::Site(SiteArgument::Chmod { mode, path })
        }
        39 => Command::Site(SiteArgument::Help(some(random).trim_ascii().to_vec())),
        40 => Command::Site(SiteArgument::Other { word: b"X".to_vec(), argument: line(random) }),
        41 => Command::Stat(wish),
        42 => Command::Syst,
        43 => Command::Help(Some(word(random, 12, b"").into_bytes()).filter(|_| wish.is_some())),
        44 => Command::Feat,
        45 => Command::Opts(match random.below(5) {
            0 => OptsArgument::Utf8,
            1 => OptsArgument::Mlst(word(random, 30, b";.-").into()),
            2 => OptsArgument::Hash(Some(word(random, 12, b"-_/.,").to_uppercase())),
            3 => OptsArgument::Deflate(
                u8::try_from(random.below(12)).ok().and_then(DeflateLevel::new),
            ),
            _ => OptsArgument::Other(format!("X{}x", word(random, 30, b" ;=")).into_bytes()),
        }),
        46 => Command::Host(host_name(random)),
        47 => Command::Lang(Some(language_tag(random)).filter(|_| wish.is_some())),
        48 => Command::Clnt(line(random)),
        49 => Command::Auth(auth_mechanism(random)),
        50 => Command::Pbsz(u32::try_from(number(random) >> 32).unwrap()),
        51 => Command::Prot(*random.choose(&[
            ProtectionLevel::Clear,
            ProtectionLevel::Safe,
            ProtectionLevel::Confidential,
            ProtectionLevel::Private,
        ])),
        52 => random.choose(&[Command::Ccc, Command::Noop]).clone(),
        _ => Command::Known(*random.choose(&[Verb::Lprt, Verb::Xcrc, Verb::Smnt]), line(random)),
    }
}

/// Returns a line of `ls -l`, DOS or EPLF, for an object of any name and size.
pub(crate) fn listing_line(random: &mut Random) -> (Vec<u8>, Vec<u8>, u64) {
    let (name, size) = (pathname(random).into_bytes(), number(random));
    // Servers pad columns with SP, so a name cannot begin with one.
    let name = name.trim_ascii_start().to_vec();
    let head = match random.below(3) {
        0 => {
            let (kind, links) = (*random.choose(&["-", "d"]), random.below(200));
            let (owner, group) = (word(random, 8, b"-_"), word(random, 8, b"-_"));
            let dates = ["Feb 29  2024", "Jan  1 00:00", "Dec 31 23:59", "Jul  6 12:30"];
            let date = random.choose(&dates);
            format!("{kind}rwxr-sr-t {links:3} {owner:8} {group:8} {size:8} {date} ")
        }
        1 => {
            let date = *random.choose(&["02-29-24", "13-01-2021", "2024-02-29", "01/02/70"]);
            format!("{date}  12:59PM {size:>20} ")
        }
        _ => format!("+i1,m{},r,s{size},up644,\t", number(random)),
    };
    ([head.as_bytes(), &name].concat(), name, size)
}
