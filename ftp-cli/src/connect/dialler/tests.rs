use super::*;
use crate::options;

#[test]
fn private_addresses_are_not_public_li_13() {
    for (address, want) in [
        ("127.0.0.1", false),
        ("10.1.2.3", false),
        ("192.168.1.1", false),
        ("169.254.1.1", false),
        ("::ffff:10.0.0.1", false),
        ("::1", false),
        ("fe80::1", false),
        ("fd00::1", false),
        ("198.41.0.4", true),
        ("2001:503:ba3e::2:30", true),
        ("::ffff:198.41.0.4", true),
    ] {
        assert_eq!(is_public(address.parse().unwrap()), want, "{address}");
    }
}

#[test]
fn options_without_effect_on_the_connection_are_refused() {
    for (line, right) in [
        ("get", true),
        ("get --active --eprt never", true),
        ("get --epsv never --connect-timeout 5 --timeout 5min", true),
        ("get --active --passive --epsv always", true),
        ("get -4 -6 --bind ::1", true),
        ("get --bind 127.0.0.1", true),
        ("get -6 --bind 127.0.0.1", false),
        ("get --bind localhost", false),
        ("get --epsv-all --epsv always --passive-address smart", true),
        ("get --active --active-ports 21,300-400 --active-address ftp.example.org", true),
        ("get --active --active-address 203.0.113.7", true),
        ("get --passive-address reply --epsv never", true),
        ("get --pipeline --epsv-all", true),
        ("get --pipeline --epsv never", false),
        ("ls --pipeline --active", false),
        ("get --eprt never", false),
        ("get --epsv-all --epsv never", false),
        ("get --active --epsv-all", false),
        ("get --active --passive-address peer", false),
        ("get --passive-address trust", false),
        ("get --active-ports 300-400", false),
        ("get --active-address 203.0.113.7", false),
        ("get --active --active-ports 400-300", false),
        ("get --active --active-ports=", false),
        ("get --active --active-address=", false),
        ("get --active --epsv auto", false),
        ("get --epsv perhaps", false),
        ("get --stall-timeout 0", false),
        ("get --timeout soon", false),
    ] {
        let (_, options) = options::parse(line.split(' ').map(Into::into)).unwrap();
        assert_eq!(Dialler::from_options(&options).is_ok(), right, "{line}");
    }
}
