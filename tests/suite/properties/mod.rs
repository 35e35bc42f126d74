//! Properties of every value of the protocol: written and parsed, it is the same, and no bytes,
//! however broken, violate an invariant of [`ftp_tests::check`].

mod make;

use ftp_proto::{
    AuthMechanism, BlockHeader, Command, DeflateEncoder, DeflateLevel, Escaped, ExtendedAddress,
    Facts, FileDigest, HostName, HostPort, LanguageTag, LineDecoder, LineEvent, ListLine, Pathname,
    Pattern, PortRanges, ProtectionLevel, ReplyDecoder, RestartMarker, TimeVal, Verb,
};
use ftp_tests::check;
use ftp_tests::random::Random;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The number of values of each type, and of broken forms of each.
const VALUES: usize = 400;

/// Returns `input` with a few bytes changed, doubled, moved, removed or inserted.
fn broken(random: &mut Random, input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        let byte = *random.choose(b"\0\r\n\xff\xf4\xfd \"\\;=,.-|()%@:/09aZ\x1b\xc2\x9b\xe2");
        match random.below(5) {
            0 => bytes.insert(at, byte),
            1 if at < bytes.len() => bytes[at] = byte,
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            _ => {
                let piece = bytes[at..(at + 8).min(bytes.len())].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

/// Makes values, and checks their written form, whole and broken.
fn each(seed: u64, mut make: impl FnMut(&mut Random) -> Vec<u8>, check: impl Fn(&[u8])) {
    let mut random = Random::new(seed);
    for _ in 0..VALUES {
        let written = make(&mut random);
        check(&written);
        check(&broken(&mut random, &written));
        check(&broken(&mut random, &written));
    }
}

#[test]
fn patterns_match_what_the_simplest_matcher_matches() {
    const PIECES: [&str; 32] = [
        "a",
        "b",
        "a",
        "/",
        "/",
        ".",
        "*",
        "*",
        "?",
        "**",
        "**/",
        "/**",
        "/**/",
        "[ab]",
        "[!a]",
        "[^/]",
        "[a-c]",
        "[]b]",
        "[\\]]",
        "\\*",
        "\\{",
        "{a,b}",
        "{,a}",
        "{a,b/}",
        "{**/,}",
        "{,/**}",
        "{a{,b},*}",
        "{",
        ",",
        "}",
        "\u{e9}",
        "[\u{e9}a]",
    ];
    let mut random = Random::new(29);
    let (mut valid, mut matched) = (0, 0);
    for _ in 0..VALUES * 200 {
        let pieces = |random: &mut Random, pieces: &[&str], most: usize| -> String {
            (0..random.below(most)).map(|_| *random.choose(pieces)).collect()
        };
        let pattern = pieces(&mut random, &PIECES, 6);
        let name = pieces(&mut random, &["a", "b", "a", "/", "/", ".", "*", "{", "\u{e9}"], 7);
        check::pattern(format!("{pattern}\n{name}").as_bytes());
        if let Ok(pattern) = Pattern::parse_path(pattern.as_bytes()) {
            valid += 1;
            matched += usize::from(pattern.matches(name.as_bytes()));
        }
    }
    assert!(valid > VALUES * 50 && matched > VALUES, "{valid} valid, {matched} matched");
}

#[test]
fn commands_read_back() {
    let mut random = Random::new(1);
    let mut verbs = Vec::new();
    for round in 0..VALUES / 8 {
        for index in 0..make::COMMANDS {
            let command = make::command(&mut random, index);
            let sent = command.encode().unwrap_or_else(|error| panic!("{command:?}: {error}"));
            let mut decoder = LineDecoder::strict();
            assert_eq!(decoder.push(&sent), sent.len());
            let Some(LineEvent::Line(line)) = decoder.next() else { panic!("{command:?}") };
            assert_eq!(Command::parse_line(&line).as_ref(), Ok(&command), "round {round}");
            check::command_line(&sent);
            check::command_line(&broken(&mut random, &sent));
            verbs.push(command.verb());
        }
    }
    let is_made = |verb: &&Verb| verbs.contains(verb);
    let missing: Vec<_> = Verb::KNOWN.iter().filter(|verb| !is_made(verb)).collect();
    let untyped = |verb: &Verb| matches!(Command::parse(*verb, b""), Ok(Command::Known(..)));
    assert!(missing.iter().all(|verb| untyped(verb)), "{missing:?} were not made");
}

#[test]
fn replies_read_back() {
    let make = |random: &mut Random| {
        let reply = make::reply(random);
        let mut decoder = ReplyDecoder::new();
        let _ = decoder.push(&reply.encode());
        assert_eq!(decoder.next().as_ref(), Ok(&Some(reply.clone())));
        assert!(decoder.is_clear());
        reply.encode()
    };
    each(2, make, check::reply);
    each(3, make, check::features);
}

#[test]
fn addresses_read_back() {
    let tuple = |random: &mut Random| {
        let tuple = make::host_port(random);
        assert_eq!(HostPort::parse(tuple.to_string().as_bytes()), Ok(tuple));
        tuple.to_string().into_bytes()
    };
    each(4, tuple, check::host_port);
    let address = |random: &mut Random| {
        let address = make::extended_address(random);
        assert_eq!(ExtendedAddress::parse(address.to_string().as_bytes()), Ok(address));
        address.to_string().into_bytes()
    };
    each(5, address, check::extended_address);
    each(6, |random| format!("(1,{})", random.below(4)).into_bytes(), check::network_protocols);
    let ports = |random: &mut Random| {
        let ports = make::port_ranges(random);
        assert_eq!(PortRanges::parse(ports.to_string().as_bytes()).as_ref(), Ok(&ports));
        ports.to_string().into_bytes()
    };
    each(7, ports, check::port_ranges);
    each(60, make::proxy_header, check::proxy_header);
}

#[test]
fn names_read_back() {
    let quoted = |random: &mut Random| {
        let path = Pathname::new(make::some(random)).unwrap();
        let is_plain = !path.as_bytes().iter().any(u8::is_ascii_control);
        let read = Pathname::parse_quoted(&path.quoted()).ok();
        assert_eq!(read.as_ref(), Some(&path).filter(|_| is_plain));
        path.quoted()
    };
    each(8, quoted, check::quoted_pathname);
    each(9, |random| make::bytes(random, |_| true), check::escaped);
    let two = |random: &mut Random| [make::some(random), make::some(random)].join(&0);
    each(10, two, check::virtual_path);
    let host = |random: &mut Random| {
        let host = make::host_name(random);
        assert_eq!(HostName::parse(host.to_string().as_bytes()).as_ref(), Ok(&host));
        host.to_string().into_bytes()
    };
    each(11, host, check::host_name);
    let tag = |random: &mut Random| {
        let tag = make::language_tag(random);
        assert_eq!(LanguageTag::parse(tag.as_str().as_bytes()).as_ref(), Ok(&tag));
        tag.to_string().into_bytes()
    };
    each(12, tag, check::language_tag);
}

#[test]
fn urls_read_back() {
    let make = |random: &mut Random| {
        let percent = |bytes: &[u8]| ftp_tests::names::percent(bytes);
        let (user, word, path) = (make::some(random), make::line(random), make::line(random));
        let login = [percent(&user), format!("{}:{}", percent(&user), percent(&word))];
        let (login, host) = (random.choose(&login).clone(), make::host_name(random));
        let port = ["", ":21", ":990", ":65535"][random.below(4)];
        let scheme = ["ftp", "ftpes", "FTPS"][random.below(3)];
        let kind = ["", ";type=a", ";type=i", ";TYPE=D"][random.below(4)];
        let url = format!("{scheme}://{login}@{host}{port}/{}{kind}", percent(&path));
        let read = ftp_proto::FtpUrl::parse(url.as_bytes());
        let read = read.unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!((read.user(), read.path()), (Some(user.as_slice()), path.as_slice()), "{url}");
        url.into_bytes()
    };
    each(13, make, check::url);
    let short = |random: &mut Random| {
        let (host, path) = (make::host_name(random), make::line(random));
        [format!("50%@{host}:./").as_bytes(), &path].concat()
    };
    each(14, short, check::url);
}

#[test]
fn values_read_back() {
    let facts = |random: &mut Random| {
        let (facts, mut line) = (make::facts(random, 0), Vec::new());
        facts.encode(&mut line);
        assert_eq!(Facts::parse(&line), Ok(facts));
        line
    };
    each(15, facts, check::facts);
    let digest = |random: &mut Random| {
        let digest = make::file_digest(random);
        assert_eq!(FileDigest::parse(&digest.encode()).as_ref(), Ok(&digest));
        digest.encode()
    };
    each(16, digest, check::file_digest);
    let time = |random: &mut Random| {
        let time = make::time_val(random);
        assert_eq!(TimeVal::parse(time.to_string().as_bytes()), Ok(time));
        time.to_string().into_bytes()
    };
    each(17, time, check::time_val);
    let mut random = Random::new(18);
    for _ in 0..VALUES {
        let marker = make::restart_marker(&mut random);
        assert_eq!(RestartMarker::parse(marker.to_string().as_bytes()), Ok(marker));
        let mechanism = make::auth_mechanism(&mut random);
        assert_eq!(AuthMechanism::parse(mechanism.to_string().as_bytes()), Ok(mechanism));
    }
    use ProtectionLevel::{Clear, Confidential, Private, Safe};
    for level in [Clear, Safe, Confidential, Private] {
        assert_eq!(ProtectionLevel::parse(level.as_str().as_bytes()), Ok(level));
    }
}

#[test]
fn text_reads_back_go_02() {
    each(19, |random| make::bytes(random, |_| true), check::ascii);
    let lines = |random: &mut Random| {
        let line = |random: &mut Random| [make::line(random), b"\r\n".to_vec()].concat();
        [line(random), line(random), line(random)].concat()
    };
    each(20, lines, check::ascii);
    each(21, lines, check::command_line);
    each(22, lines, check::reply);
}

#[test]
fn compressed_data_round_trips_in_any_chunking() {
    each(61, |random| make::bytes(random, |_| true), check::deflate);
    // Most of a stream is right.
    let broken = |random: &mut Random| {
        let text = make::bytes(random, |byte| byte.is_ascii_lowercase());
        let mut sent = Vec::new();
        let mut encoder = DeflateEncoder::new(DeflateLevel::default());
        encoder.encode(&text, &mut sent);
        encoder.finish(&mut sent);
        let at = random.below(sent.len());
        sent[at] ^= 1 << random.below(8);
        sent
    };
    each(62, broken, check::deflate);
}

#[test]
fn blocks_round_trip_in_any_chunking_go_02() {
    each(63, |random| make::bytes(random, |_| true), check::block);
    // Blocks of every kind, some of them invalid.
    let blocks = |random: &mut Random| {
        let mut sent = Vec::new();
        for _ in 0..random.below(8) {
            let text = make::bytes(random, |byte| byte.is_ascii_digit());
            let [_, high, low] = BlockHeader::data(u16::try_from(text.len()).unwrap()).encode();
            let descriptor = [0, 0, 64, 16, 16, 80, 128, 32, 1][random.below(9)];
            sent.extend([descriptor, high, low]);
            sent.extend(text);
        }
        sent
    };
    each(64, blocks, check::block);
}

#[test]
fn arguments_of_any_bytes_read_back() {
    let make = |random: &mut Random| {
        let verb = u8::try_from(random.below(Verb::KNOWN.len())).unwrap();
        [&[verb], make::bytes(random, |_| true).as_slice()].concat()
    };
    each(23, make, check::argument);
    each(24, make, check::argument_of_names);
    each(25, make, check::argument_of_numbers);
    each(26, make, check::argument_of_words);
}

#[test]
fn listings_with_arbitrary_content_are_parsed() {
    let reference = TimeVal::parse(b"20260701120000").unwrap();
    let line = |random: &mut Random| {
        let (line, name, size) = make::listing_line(random);
        if !name.is_empty() {
            let text = Escaped(&line);
            match ListLine::parse(&line, reference) {
                Some(ListLine::Entry(entry)) => {
                    // `ls -p` adds a slash to the name of a directory.
                    let shown = match entry.is_dir() {
                        true if name.len() > 1 => name.strip_suffix(b"/").unwrap_or(&name).to_vec(),
                        _ => name,
                    };
                    assert_eq!((entry.name, entry.size), (shown, Some(size)), "{text}");
                }
                other => panic!("{text} is {other:?}"),
            }
        }
        line
    };
    let lines = |random: &mut Random| {
        let lines: Vec<_> = (0..=random.below(4)).map(|_| line(random)).collect();
        lines.join(b"\r\n".as_slice())
    };
    each(28, lines, check::listing);
    each(29, lines, check::listing_eplf);
    let names = |random: &mut Random| {
        let mut line = Vec::new();
        make::facts(random, 0).encode(&mut line);
        [make::line(random), line].join(&0)
    };
    each(30, names, check::listing_names);
}

#[test]
fn times_match_an_independent_calendar() {
    let mut random = Random::new(27);
    for _ in 0..20_000 {
        let seconds = i64::try_from(random.below(315_000_000_000)).unwrap() - 62_200_000_000;
        let Some(time) = TimeVal::from_unix_seconds(seconds) else {
            assert!(!(-62_167_219_200..=253_402_300_799).contains(&seconds), "{seconds}");
            continue;
        };
        let date = DateTime::new(
            i16::try_from(time.year()).unwrap(),
            i8::try_from(time.month()).unwrap(),
            i8::try_from(time.day()).unwrap(),
            i8::try_from(time.hour()).unwrap(),
            i8::try_from(time.minute()).unwrap(),
            i8::try_from(time.second()).unwrap(),
            0,
        )
        .unwrap();
        // Its instants end a day before its calendar, because of time zones.
        if let Ok(timestamp) = Timestamp::from_second(seconds) {
            assert_eq!(timestamp.to_zoned(TimeZone::UTC).datetime(), date, "{time}");
        }
        assert_eq!(time.unix_seconds(), seconds);
        let next = TimeVal::from_unix_seconds(seconds + 86_400);
        let tomorrow = date.date().tomorrow().ok().map(|date| date.day());
        let days = next.map(|next| i8::try_from(next.day()).unwrap());
        assert_eq!(days, tomorrow, "the day behind {time}");
    }
    for _ in 0..VALUES {
        let time = make::time_val(&mut random);
        let (date, clock) = (time.to_string(), time.second().min(59));
        let date = format!("{}T{}{clock:02}", &date[..8], &date[8..12]);
        let zoned = date.parse::<DateTime>().unwrap().to_zoned(TimeZone::UTC);
        let Ok(zoned) = zoned else { continue };
        let leap = i64::from(time.second()) - i64::from(clock);
        assert_eq!(zoned.timestamp().as_second() + leap, time.unix_seconds(), "{time}");
    }
}
