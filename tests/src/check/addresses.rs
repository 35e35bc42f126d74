//! Addresses of data connections, and names of hosts, ports and languages.

use std::net::{IpAddr, SocketAddrV4};

use ftp_proto::{
    EpsvArgument, ExtendedAddress, HostName, HostPort, LanguageTag, NetworkProtocol,
    NetworkProtocols, PortRanges, ProxyHeader, ProxyProgress, limits,
};

use super::{assert_shown, plain_number};

/// Checks the argument of `PORT`, and the text of a 227.
pub fn host_port(data: &[u8]) {
    if let Ok(tuple) = HostPort::parse(data) {
        let text = tuple.to_string();
        assert_eq!(HostPort::parse(text.as_bytes()), Ok(tuple));
        assert_eq!(HostPort::find(data).ok(), Some(tuple).filter(|tuple| tuple.port != 0));
        assert_eq!(HostPort::from(SocketAddrV4::from(tuple)), tuple);
    }
    let found = HostPort::find(data);
    let without_blanks = without_blanks(data);
    let numbers = plain_run(data).or_else(|| plain_run(&without_blanks));
    let plain =
        numbers.and_then(|numbers| plain_octets(&numbers)).map(|[h1, h2, h3, h4, p1, p2]| {
            HostPort { host: [h1, h2, h3, h4].into(), port: u16::from_be_bytes([p1, p2]) }
        });
    assert_eq!(found.ok(), plain.filter(|tuple| tuple.port != 0));
    if let Ok(tuple) = found {
        let text = format!("Entering Passive Mode ({tuple}).");
        assert_eq!(HostPort::find(text.as_bytes()), Ok(tuple));
    }
}

/// Returns the numbers of the first run of digits and commas with at least six numbers.
fn plain_run(text: &[u8]) -> Option<Vec<&str>> {
    let runs = text.split(|&byte| !byte.is_ascii_digit() && byte != b',');
    let runs = runs.filter_map(|run| std::str::from_utf8(run).ok());
    // One comma separates the numbers; some servers write another after the last number.
    let inner = runs.map(|run| run.trim_start_matches(','));
    let inner = inner.map(|run| run.strip_suffix(',').unwrap_or(run));
    let mut tuples = inner.map(|run| run.split(',').collect::<Vec<_>>());
    tuples.find(|numbers| !numbers.contains(&"") && numbers.len() >= 6)
}

/// Removes each SP after a comma.
fn without_blanks(text: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    for &byte in text {
        if byte != b' ' || kept.last() != Some(&b',') {
            kept.push(byte);
        }
    }
    kept
}

/// Returns the first six numbers, or `None` if one of them is too large.
fn plain_octets(numbers: &[&str]) -> Option<[u8; 6]> {
    let octet = |text: &&str| text.parse().ok().filter(|_: &u8| text.len() <= 3);
    let octets: Option<Vec<u8>> = numbers.iter().take(6).map(octet).collect();
    octets?.try_into().ok()
}

/// Checks the arguments of `EPRT` and `EPSV`, and the text of a 229.
pub fn extended_address(data: &[u8]) {
    if let Ok(address) = ExtendedAddress::parse(data) {
        let text = address.to_string();
        assert_eq!(ExtendedAddress::parse(text.as_bytes()), Ok(address));
        for delimiter in ["!", "~", "g"] {
            let text = text.replace('|', delimiter);
            assert_eq!(ExtendedAddress::parse(text.as_bytes()), Ok(address), "{text}");
        }
        let found = ExtendedAddress::find_port(format!("({text})").as_bytes());
        assert_eq!(found.ok(), Some(address.port).filter(|port| *port != 0));
    }
    let found = ExtendedAddress::find_port(data);
    assert_eq!(found.ok(), plain_port(data));
    if let Ok(argument) = EpsvArgument::parse(data) {
        let text: &[u8] = match argument {
            EpsvArgument::Default => b"",
            EpsvArgument::All => b"ALL",
            EpsvArgument::Protocol(NetworkProtocol::Ipv4) => b"1",
            EpsvArgument::Protocol(NetworkProtocol::Ipv6) => b"2",
        };
        assert_eq!(EpsvArgument::parse(text), Ok(argument));
    }
}

/// Returns the port in the third field after the first bracket that has such a field.
fn plain_port(text: &[u8]) -> Option<u16> {
    let brackets = (1..=text.len()).filter(|at| text.get(at - 1) == Some(&b'('));
    brackets.filter_map(|at| plain_port_of(text.split_at(at).1)).next()
}

fn plain_port_of(text: &[u8]) -> Option<u16> {
    let mut behind = text.iter().copied();
    let delimiter = behind.next().filter(|byte| (33..127).contains(byte))?;
    let mut fields = vec![Vec::new()];
    for byte in behind {
        match fields.last_mut() {
            _ if byte == delimiter => fields.push(Vec::new()),
            Some(field) => field.push(byte),
            None => {}
        }
    }
    let port = fields.get(2).filter(|_| fields.len() > 3)?;
    plain_number(port)?.try_into().ok().filter(|port| *port != 0)
}

/// Checks the text of a 522.
pub fn network_protocols(data: &[u8]) {
    let found = NetworkProtocols::find(data);
    let has = |number| plain_list(data).map(|list| list.contains(&Some(number)));
    assert_eq!(found.map(|list| list.contains(NetworkProtocol::Ipv4)), has(1));
    assert_eq!(found.map(|list| list.contains(NetworkProtocol::Ipv6)), has(2));
    if let Some(list) = found.filter(|list| list.ipv4 || list.ipv6) {
        let text = format!("Network protocol not supported, use {list}");
        assert_eq!(NetworkProtocols::find(text.as_bytes()), Some(list));
    }
}

/// Returns the numbers in the first brackets that contain nothing else. A number of 2^64 or more is
/// `None`.
fn plain_list(text: &[u8]) -> Option<Vec<Option<u64>>> {
    let opening = (0..text.len()).filter(|at| text.get(*at) == Some(&b'('));
    let mut lists = opening.filter_map(|open| {
        let rest = text.get(open + 1..)?;
        let list = rest.get(..rest.iter().position(|&byte| byte == b')')?)?;
        let items: Vec<&[u8]> = list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).collect();
        let is_number = |item: &&[u8]| !item.is_empty() && item.iter().all(u8::is_ascii_digit);
        items.iter().all(is_number).then(|| items.into_iter().map(plain_number).collect())
    });
    lists.next()
}

/// Checks a list of ports and ranges.
pub fn port_ranges(data: &[u8]) {
    let parsed = PortRanges::parse(data);
    let plain = plain_ports(data);
    assert_eq!(parsed.is_ok(), plain.is_some(), "{parsed:?}");
    let (Ok(ports), Some(want)) = (parsed, plain) else { return };
    assert!(ports.iter().is_sorted_by(|a, b| a < b), "ascending, and none twice");
    assert!(ports.iter().eq(want.iter().copied()), "{ports}");
    assert_eq!(ports.count(), want.len());
    let text = ports.to_string();
    assert_eq!(PortRanges::parse(text.as_bytes()).as_ref(), Ok(&ports), "{text}");
    for port in [0, 1, 21, 1_024, 65_535].into_iter().chain(ports.iter().take(3)) {
        assert_eq!(ports.contains(port), want.binary_search(&port).is_ok(), "{port}");
    }
    let start = data.iter().map(|&byte| usize::from(byte)).sum::<usize>();
    let mut turned = want;
    turned.rotate_left(start % ports.count());
    assert!(ports.iter_from(start).eq(turned), "{ports} from {start}");
}

fn plain_ports(text: &[u8]) -> Option<Vec<u16>> {
    let items: Vec<&[u8]> = text.split(|&byte| byte == b',').collect();
    let mut ports = Vec::new();
    for item in items.iter().take(limits::PORT_RANGES + 1) {
        let ends: Vec<&[u8]> = item.split(|&byte| byte == b'-').collect();
        let (first, last) = match ends.as_slice() {
            [port] => (*port, *port),
            [first, last] => (*first, *last),
            _ => return None,
        };
        let port = |digits: &[u8]| plain_number(digits.trim_ascii())?.try_into().ok();
        let (first, last): (u16, u16) = (port(first)?, port(last)?);
        if first == 0 || first > last {
            return None;
        }
        // The count never exceeds the number of ports, however often a range is repeated.
        ports.extend(first..=last);
        ports.sort_unstable();
        ports.dedup();
    }
    Some(ports).filter(|_| items.len() <= limits::PORT_RANGES)
}

/// Checks the argument of `HOST`.
pub fn host_name(data: &[u8]) {
    let Ok(host) = HostName::parse(data) else { return };
    let text = host.to_string();
    assert_eq!(HostName::parse(text.as_bytes()).as_ref(), Ok(&host));
    assert_shown(&text);
    assert!(text.len() <= 253, "{text}");
    match host {
        HostName::Domain(name) => {
            assert_eq!(name.as_bytes(), data.to_ascii_lowercase());
            assert!(name.split('.').all(|label| (1..=63).contains(&label.len())), "{name}");
        }
        HostName::Address(address) => assert_eq!(data.starts_with(b"["), address.is_ipv6()),
    }
}

/// Checks the argument of `LANG`.
pub fn language_tag(data: &[u8]) {
    let Ok(tag) = LanguageTag::parse(data) else { return };
    assert_eq!(LanguageTag::parse(tag.as_str().as_bytes()).as_ref(), Ok(&tag));
    assert_eq!(tag.as_str().as_bytes(), data.to_ascii_lowercase());
    assert!(tag.as_str().len() <= limits::LANGUAGE_TAG);
    assert!(tag.as_str().starts_with(tag.primary()) && (1..=8).contains(&tag.primary().len()));
    assert_eq!(tag.to_string(), tag.as_str());
}

/// Checks the header of a load balancer. A reader that reads only the requested bytes must not read
/// bytes of the client, and the result must match the header.
pub fn proxy_header(data: &[u8]) {
    let whole = ProxyHeader::parse(data);
    for taken in 0..data.len().min(limits::PROXY_HEADER + 1) {
        let beginning = ProxyHeader::parse(data.get(..taken).unwrap_or_default());
        match (beginning, whole) {
            (Ok(ProxyProgress::Needs(count)), Ok(ProxyProgress::Whole(_, length))) => {
                assert!(count > 0 && taken + count <= length, "{taken} and {count} of {length}");
            }
            (Ok(ProxyProgress::Needs(count)), _) => assert!(count > 0),
            _ => assert_eq!(beginning, whole, "after {taken}"),
        }
    }
    let Ok(ProxyProgress::Whole(header, length)) = whole else {
        assert!(whole.is_err() || data.len() < limits::PROXY_HEADER, "{whole:?}");
        return;
    };
    let ProxyHeader::Client { source, destination } = header else { return };
    assert!([source, destination].iter().all(|end| end.ip() == end.ip().to_canonical()));
    if data.starts_with(b"PROXY ") {
        assert!(length <= limits::PROXY_LINE);
        let line = data.get(..length).and_then(|line| std::str::from_utf8(line).ok());
        let words: Vec<&str> = line.unwrap_or_default().split_ascii_whitespace().collect();
        let [_, _, client, front, from, to] = words.as_slice() else { panic!("{words:?}") };
        let same = |text: &str, host: IpAddr| {
            text.parse().is_ok_and(|told: IpAddr| told.to_canonical() == host)
        };
        assert!(same(client, source.ip()) && same(front, destination.ip()), "{words:?}");
        assert_eq!([*from, *to], [source.port().to_string(), destination.port().to_string()]);
    } else {
        let ports = if data.get(13) == Some(&0x11) { 24 } else { 48 };
        let told = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
        assert_eq!(data.get(ports..ports + 4), Some(&*told));
    }
}
