use super::*;
use ParseErrorKind::{BadNumber, UnexpectedByte, UnexpectedEnd};

#[test]
fn parse_accepts_host_ports_cm_42() {
    for (text, host, port) in [
        ("127,0,0,1,0,0", [127, 0, 0, 1], 0),
        ("10,0,0,5,195,84", [10, 0, 0, 5], 50_004),
        ("255,255,255,255,255,255", [255; 4], 65_535),
        ("001,02,3,4,5,6", [1, 2, 3, 4], 1_286),
    ] {
        let want = HostPort { host: host.into(), port };
        assert_eq!(HostPort::parse(text.as_bytes()), Ok(want), "{text}");
    }
}

#[test]
fn parse_rejects_invalid_host_ports_cm_42() {
    for (text, at, kind) in [
        ("", 0, BadNumber),
        ("1,2,3,4,5", 10, UnexpectedEnd),
        ("1,2,3,4,5,6,7", 12, UnexpectedByte),
        ("1,2,3,+4,5,6", 6, BadNumber),
        ("1,2,3,-4,5,6", 6, BadNumber),
        ("1,2,3, 4,5,6", 6, BadNumber),
        ("1,2,3,4,5,256", 10, BadNumber),
        ("1,2,,4,5,6", 4, BadNumber),
        ("1.2.3.4.5.6", 0, BadNumber),
        ("(1,2,3,4,5,6)", 0, BadNumber),
        ("1,2,3,4,5,6,", 12, UnexpectedByte),
        ("1,2,3,4,5,0006", 10, BadNumber),
    ] {
        let want = ParseError::new("host-port", at, kind);
        assert_eq!(HostPort::parse(text.as_bytes()), Err(want), "{text}");
    }
}

#[test]
fn find_reads_the_227_texts_of_servers_cl_23() {
    let want = HostPort { host: [10, 0, 0, 5].into(), port: 50_004 };
    for text in [
        "Entering Passive Mode (10,0,0,5,195,84).",
        "Entering Passive Mode 10,0,0,5,195,84",
        "=10,0,0,5,195,84",
        "10,0,0,5,195,84",
        "2 ways, 1 port: 10,0,0,5,195,84 (20 s)",
        "Entering Passive Mode (10,0,0,5,195,84,)",
        "Entering Passive Mode (10, 0, 0, 5, 195, 84)",
        "Entering Passive Mode 10, 0,  0, 5,195, 84.",
        "port 5, 10,0,0,5,195,84",
        "1, 2, 3, 4, 5, 6: 10,0,0,5,195,84",
        "1, ,2,3,4,5,6: 10, 0,0,5,195,84",
    ] {
        assert_eq!(HostPort::find(text.as_bytes()), Ok(want), "{text}");
    }
}

#[test]
fn find_rejects_invalid_host_ports_cl_24_hc_04() {
    let digits = "9".repeat(1 << 20);
    for (text, kind) in [
        ("Entering Passive Mode", UnexpectedEnd),
        ("(10,0,0,5,195)", UnexpectedEnd),
        ("(10,0,0,,195,84)", UnexpectedEnd),
        ("(10,0,0,5,256,84)", BadNumber),
        ("(10,0,0,5,0,0)", BadNumber),
        ("(10,0,0,5,1000000000000000000000000000000,84)", BadNumber),
        (digits.as_str(), UnexpectedEnd),
        ("", UnexpectedEnd),
        ("\0", UnexpectedEnd),
    ] {
        let got = HostPort::find(text.as_bytes()).map_err(|error| error.kind);
        assert_eq!(got, Err(kind), "{text:.60}");
    }
}

#[test]
fn display_round_trips() {
    for port in [0, 1, 255, 256, 50_004, 65_535] {
        let tuple = HostPort { host: [192, 0, 2, 1].into(), port };
        assert_eq!(HostPort::parse(tuple.to_string().as_bytes()), Ok(tuple));
    }
}

#[test]
fn errors_report_the_position() {
    for (text, at) in [("ab 1,2,3,4,5,256", 3), ("1,2 ab 1,2,3,4,0,0", 7), ("none", 4)] {
        let got = HostPort::find(text.as_bytes()).map_err(|error| error.at);
        assert_eq!(got, Err(at), "{text}");
    }
}

mod rfc_2428 {
    use super::super::*;
    use ParseErrorKind::{
        BadNumber, UnexpectedByte, UnexpectedEnd, UnknownWord, UnsupportedProtocol,
    };

    #[test]
    fn parse_accepts_extended_addresses_cm_47() {
        let v4 = IpAddr::from([132, 235, 1, 2]);
        let v6: IpAddr = "1080::8:800:200c:417a".parse().unwrap();
        for (text, address, port) in [
            ("|1|132.235.1.2|6275|", v4, 6275),
            ("|2|1080::8:800:200C:417A|5282|", v6, 5282),
            ("!1!132.235.1.2!6275!", v4, 6275),
            ("~2~1080::8:800:200C:417A~65535~", v6, 65_535),
            ("a1a132.235.1.2a0a", v4, 0),
        ] {
            let want = ExtendedAddress { address, port };
            assert_eq!(ExtendedAddress::parse(text.as_bytes()), Ok(want), "{text}");
        }
    }

    #[test]
    fn parse_rejects_invalid_extended_addresses_cm_48_cm_49() {
        for (text, kind) in [
            ("", UnexpectedEnd),
            (" 1 132.235.1.2 6275 ", UnexpectedByte),
            ("\u{7f}1\u{7f}132.235.1.2\u{7f}6275\u{7f}", UnexpectedByte),
            ("|1|132.235.1.2|6275", UnexpectedEnd),
            ("|1|132.235.1.2|", UnexpectedEnd),
            ("|1|132.235.1.2|6275|x", UnexpectedByte),
            ("|1|132.235.1.2|6275||", UnexpectedByte),
            (".1.132.235.1.2.6275.", UnexpectedByte),
            ("|3|132.235.1.2|6275|", UnsupportedProtocol),
            ("|0|132.235.1.2|6275|", UnsupportedProtocol),
            ("|99999999999999999999999|x|1|", UnsupportedProtocol),
            ("||132.235.1.2|6275|", BadNumber),
            ("|x|132.235.1.2|6275|", BadNumber),
            ("|1||6275|", BadNumber),
            ("|1|::1|6275|", BadNumber),
            ("|2|132.235.1.2|6275|", BadNumber),
            ("|2|fe80::1%eth0|6275|", BadNumber),
            ("|1|132.235.1.2||", BadNumber),
            ("|1|132.235.1.2|65536|", BadNumber),
            ("|1|132.235.1.2|-1|", BadNumber),
            ("|1|132.235.1.2|+1|", BadNumber),
            ("|2|::\u{e9}|1|", BadNumber),
        ] {
            let got = ExtendedAddress::parse(text.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, Err(kind), "{text}");
        }
    }

    #[test]
    fn find_port_reads_the_port_of_a_229_reply_cl_28_hc_03() {
        for (text, want) in [
            ("Entering Extended Passive Mode (|||6446|)", Ok(6446)),
            ("ok (!!!1!) (|||2|)", Ok(1)),
            ("(|1|10.0.0.1|8021|)", Ok(8021)),
            ("(|||6446|", Ok(6446)),
            ("(|||6446)", Err(UnexpectedEnd)),
            ("|||6446|", Err(UnexpectedEnd)),
            ("(", Err(UnexpectedEnd)),
            ("( 1 )", Err(UnexpectedByte)),
            ("(|||0|)", Err(BadNumber)),
            ("(|||65536|)", Err(BadNumber)),
            ("(||||)", Err(BadNumber)),
            ("(|||x|)", Err(BadNumber)),
            ("(10,0,0,1,2,3)", Err(UnexpectedEnd)),
        ] {
            let got = ExtendedAddress::find_port(text.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn text_in_brackets_before_the_tuple_is_skipped_cl_28() {
        for text in [
            "Entering Extended Passive Mode (EPSV) (|||50004|)",
            "Extended Passive Mode (IPv6 only) (|2||50004|).",
            "Mode (a|b|c|d) (|||50004|)",
            "Mode ((|||50004|))",
            "( (|||50004|)",
        ] {
            assert_eq!(ExtendedAddress::find_port(text.as_bytes()), Ok(50_004), "{text}");
        }
        let named = ExtendedAddress::find_protocol(b"Mode (EPSV) (|2||50004|)");
        assert_eq!(named, Some(NetworkProtocol::Ipv6));
        // If no tuple is valid, the error is that of the first tuple.
        let error = ExtendedAddress::find_port(b"Mode (EPSV) (|||0|)").unwrap_err();
        assert_eq!(error.kind, UnexpectedEnd);
    }

    #[test]
    fn find_protocol_reads_the_protocol_of_a_229_reply_cl_28() {
        for (text, want) in [
            ("ok (|||6446|)", None),
            ("ok (|1|10.0.0.1|6446|)", Some(NetworkProtocol::Ipv4)),
            ("ok (!2!!6446!)", Some(NetworkProtocol::Ipv6)),
            ("ok (|3||6446|)", None),
            ("ok (|x||6446|)", None),
            ("ok (", None),
            ("ok", None),
        ] {
            assert_eq!(ExtendedAddress::find_protocol(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn display_round_trips() {
        for address in ["192.0.2.1:0", "[2001:db8::1]:50004", "[::ffff:10.0.0.1]:1"] {
            let address = ExtendedAddress::from(address.parse::<SocketAddr>().unwrap());
            assert_eq!(ExtendedAddress::parse(address.to_string().as_bytes()), Ok(address));
        }
    }

    #[test]
    fn errors_report_the_position() {
        for (text, at) in [
            ("|1|132.235.1.2|6275|xy|", 20),
            ("|12|1|6275||", 11),
            ("|1|132.235.1|6275|", 3),
            ("|1|132.235.1.2|6x|", 15),
            ("|1|132.235.1.2|62", 17),
            ("|x|1.2.3.4|1|", 1),
        ] {
            let got = ExtendedAddress::parse(text.as_bytes()).map_err(|error| error.at);
            assert_eq!(got, Err(at), "{text}");
        }
    }

    #[test]
    fn epsv_arguments_are_parsed_cm_39_to_cm_41() {
        for (text, want) in [
            ("", Ok(EpsvArgument::Default)),
            ("1", Ok(EpsvArgument::Protocol(NetworkProtocol::Ipv4))),
            ("2", Ok(EpsvArgument::Protocol(NetworkProtocol::Ipv6))),
            ("aLl", Ok(EpsvArgument::All)),
            ("3", Err(UnsupportedProtocol)),
            ("99999999999999999999999", Err(UnsupportedProtocol)),
            ("ALLO", Err(UnknownWord)),
            ("-1", Err(UnknownWord)),
        ] {
            let got = EpsvArgument::parse(text.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn protocol_lists_cl_30_hc_30() {
        let list = |ipv4, ipv6| Some(NetworkProtocols { ipv4, ipv6 });
        for (text, want) in [
            ("use (1,2)", list(true, true)),
            ("use (2)", list(false, true)),
            ("(1)", list(true, false)),
            ("( 2 , 1 ) or none", list(true, true)),
            ("(3,4)", list(false, false)),
            ("(2,99999999999999999999999)", list(false, true)),
            ("(02)", list(false, true)),
            ("(a) use (1)", list(true, false)),
            ("((1))", list(true, false)),
            ("", None),
            ("(", None),
            ("(1", None),
            ("1)", None),
            ("()", None),
            ("(1,,2)", None),
            ("(1,)", None),
            ("(-1)", None),
            ("(1;2)", None),
        ] {
            assert_eq!(NetworkProtocols::find(text.as_bytes()), want, "{text}");
        }
        for (ipv4, ipv6) in [(true, true), (true, false), (false, true)] {
            let list = NetworkProtocols { ipv4, ipv6 };
            assert_eq!(NetworkProtocols::find(list.to_string().as_bytes()), Some(list));
        }
        assert_eq!(NetworkProtocols::default().to_string(), "()");
    }

    #[test]
    fn mapped_addresses_are_ipv4_dc_10() {
        for (address, want) in [
            ("::ffff:10.0.0.1", NetworkProtocol::Ipv4),
            ("10.0.0.1", NetworkProtocol::Ipv4),
            ("2001:db8::1", NetworkProtocol::Ipv6),
        ] {
            assert_eq!(NetworkProtocol::of(address.parse().unwrap()), want, "{address}");
        }
    }

    #[test]
    fn contains_finds_only_listed_protocols() {
        for (text, ipv4, ipv6) in [("(1)", true, false), ("(2,7)", false, true)] {
            let list = NetworkProtocols::find(text.as_bytes()).unwrap();
            assert_eq!(list.contains(NetworkProtocol::Ipv4), ipv4, "{text}");
            assert_eq!(list.contains(NetworkProtocol::Ipv6), ipv6, "{text}");
        }
    }
}

mod rules {
    use super::super::*;
    use AddressClass::{LinkLocal, Loopback, Multicast, Private, Public, Shared, Unspecified};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn address_rules_choose_the_host_cl_25_cl_26_cl_27_hc_01() {
        use AddressRule::{Peer, Reply, Smart};
        use HostReason::{LocalOnly, PeerRule, Plausible, ReplyRule, Same, Unreachable};
        for (rule, announced, peer, host, reason) in [
            (Peer, "10.0.0.5", "203.0.113.7", "203.0.113.7", PeerRule),
            (Peer, "198.51.100.1", "203.0.113.7", "203.0.113.7", PeerRule),
            (Peer, "203.0.113.7", "::ffff:203.0.113.7", "203.0.113.7", Same),
            (Reply, "198.51.100.1", "203.0.113.7", "198.51.100.1", ReplyRule),
            (Reply, "0.0.0.0", "203.0.113.7", "0.0.0.0", ReplyRule),
            (Smart, "10.0.0.5", "203.0.113.7", "203.0.113.7", Unreachable(Private)),
            (Smart, "100.64.1.1", "203.0.113.7", "203.0.113.7", Unreachable(Shared)),
            (Smart, "127.0.0.1", "203.0.113.7", "203.0.113.7", Unreachable(Loopback)),
            (Smart, "169.254.169.254", "203.0.113.7", "203.0.113.7", Unreachable(LinkLocal)),
            (Smart, "0.0.0.0", "10.0.0.1", "10.0.0.1", Unreachable(Unspecified)),
            (Smart, "224.0.0.1", "10.0.0.1", "10.0.0.1", Unreachable(Multicast)),
            (Smart, "198.51.100.1", "203.0.113.7", "198.51.100.1", Plausible),
            (Smart, "198.51.100.1", "10.0.0.1", "198.51.100.1", Plausible),
            (Smart, "10.0.0.5", "10.0.0.1", "10.0.0.5", Plausible),
            (Smart, "10.0.0.5", "100.64.0.1", "10.0.0.5", Plausible),
            (Smart, "127.0.0.1", "10.0.0.1", "10.0.0.1", LocalOnly(Loopback)),
            (Smart, "127.0.0.53", "100.64.0.1", "100.64.0.1", LocalOnly(Loopback)),
            (Smart, "127.0.0.1", "169.254.0.9", "169.254.0.9", LocalOnly(Loopback)),
            (Smart, "::1", "fd00::1", "fd00::1", LocalOnly(Loopback)),
            (Smart, "::ffff:127.0.0.1", "192.168.1.1", "192.168.1.1", LocalOnly(Loopback)),
            (Smart, "127.0.0.2", "127.0.0.1", "127.0.0.2", Plausible),
            (Smart, "127.0.0.1", "::1", "127.0.0.1", Plausible),
            (Smart, "169.254.169.254", "10.0.0.1", "10.0.0.1", LocalOnly(LinkLocal)),
            (Smart, "169.254.169.254", "127.0.0.1", "127.0.0.1", LocalOnly(LinkLocal)),
            (Smart, "fe80::1", "fd00::1", "fd00::1", LocalOnly(LinkLocal)),
            (Smart, "169.254.1.2", "169.254.0.9", "169.254.1.2", Plausible),
            (Smart, "169.254.1.2", "fe80::9", "169.254.1.2", Plausible),
            (Smart, "10.0.0.5", "127.0.0.1", "10.0.0.5", Plausible),
            (Reply, "127.0.0.1", "10.0.0.1", "127.0.0.1", ReplyRule),
            (Smart, "203.0.113.7", "203.0.113.7", "203.0.113.7", Same),
        ] {
            let chosen = rule.choose(address(announced), address(peer));
            let want = ChosenHost { host: address(host), reason };
            assert_eq!(chosen, want, "{rule:?} {announced} {peer}");
        }
    }

    #[test]
    fn reasons_are_sentences() {
        for (reason, want) in [
            (HostReason::Same, "the host of the control connection"),
            (HostReason::PeerRule, "the host of the control connection is always used"),
            (HostReason::ReplyRule, "the announced host is always used"),
            (HostReason::Plausible, "the announced host is plausible"),
            (HostReason::Unreachable(Shared), "shared, but the server's address is public"),
            (HostReason::Unreachable(Multicast), "multicast, which is not a host"),
            (HostReason::LocalOnly(Loopback), "loopback, but the server's address is not"),
            (HostReason::LocalOnly(LinkLocal), "link-local, but the server's address is not"),
        ] {
            assert_eq!(reason.to_string(), want);
        }
    }

    #[test]
    fn address_classes_follow_the_rfc_ranges() {
        for (text, want) in [
            ("0.0.0.0", Unspecified),
            ("0.255.255.255", Unspecified),
            ("1.0.0.0", Public),
            ("9.255.255.255", Public),
            ("10.0.0.0", Private),
            ("10.255.255.255", Private),
            ("11.0.0.0", Public),
            ("100.63.255.255", Public),
            ("100.64.0.0", Shared),
            ("100.127.255.255", Shared),
            ("100.128.0.0", Public),
            ("126.255.255.255", Public),
            ("127.0.0.1", Loopback),
            ("128.0.0.0", Public),
            ("169.253.255.255", Public),
            ("169.254.0.0", LinkLocal),
            ("169.255.0.0", Public),
            ("172.15.255.255", Public),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Public),
            ("192.167.255.255", Public),
            ("192.168.0.0", Private),
            ("192.169.0.0", Public),
            ("223.255.255.255", Public),
            ("224.0.0.1", Multicast),
            ("239.255.255.255", Multicast),
            ("255.255.255.254", Public),
            ("255.255.255.255", Multicast),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::2", Public),
            ("fbff::1", Public),
            ("fc00::1", Private),
            ("fdff::1", Private),
            ("fe7f::1", Public),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("ff02::1", Multicast),
            ("2001:db8::1", Public),
            ("::ffff:10.0.0.1", Private),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:8.8.8.8", Public),
        ] {
            assert_eq!(AddressClass::of(address(text)), want, "{text}");
        }
    }

    #[test]
    fn classes_have_names() {
        for (class, want) in [
            (Public, "public"),
            (Private, "private"),
            (Loopback, "loopback"),
            (LinkLocal, "link-local"),
            (Unspecified, "unspecified"),
        ] {
            assert_eq!(class.to_string(), want);
        }
    }
}
