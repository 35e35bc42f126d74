//! The URLs that clients type, with this computer's own addresses, and a warning about passwords
//! that cross a network unencrypted.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ftp_server::TlsPolicy;

/// Largest number of URLs in a line.
const MOST: usize = 6;

/// Ports that a URL can leave out.
const PORT: u16 = 21;
const IMPLICIT_PORT: u16 = 990;

/// The addresses, TLS policy and users of a server, for URLs and warnings.
pub(super) struct Listening {
    pub(super) plaintext: Vec<SocketAddr>,
    pub(super) implicit: Vec<SocketAddr>,
    /// TLS before the login at the plaintext addresses; `None` without a certificate.
    pub(super) tls: Option<TlsPolicy>,
    /// The user for the URLs, if there is only one.
    pub(super) user: Option<String>,
    pub(super) has_passwords: bool,
}

impl Listening {
    /// Returns the line with the URLs for a computer with the addresses `own`.
    pub(super) fn line(&self, own: &[IpAddr]) -> Option<String> {
        let is_encrypted = matches!(self.tls, Some(TlsPolicy::Optional | TlsPolicy::Required));
        let scheme = if is_encrypted { "ftpes" } else { "ftp" };
        let plaintext = self.plaintext.iter().map(|at| (scheme, PORT, *at));
        let implicit = self.implicit.iter().map(|at| ("ftps", IMPLICIT_PORT, *at));
        let mut urls = Vec::new();
        let mut is_for_others = false;
        for (scheme, usual, at) in plaintext.chain(implicit) {
            for host in hosts(at.ip(), own) {
                is_for_others |= !host.is_loopback();
                let url = self.url(scheme, host, Some(at.port()).filter(|port| *port != usual));
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
        let more = urls.len().saturating_sub(MOST);
        urls.truncate(MOST);
        if urls.is_empty() {
            return None;
        }
        let whose = if is_for_others { "clients" } else { "clients on this computer" };
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Some(format!("{whose} can use {}{more}", urls.join(", ")))
    }

    fn url(&self, scheme: &str, host: IpAddr, port: Option<u16>) -> String {
        let user = self.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
        let host = match host {
            IpAddr::V4(host) => host.to_string(),
            IpAddr::V6(host) => format!("[{host}]"),
        };
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        format!("{scheme}://{user}{host}{port}/")
    }

    /// Returns a warning if passwords can reach this computer unencrypted, as `--check` does. Private
    /// networks have readers, too.
    pub(super) fn warning(&self, own: &[IpAddr]) -> Option<String> {
        if !self.has_passwords || self.tls == Some(TlsPolicy::Required) {
            return None;
        }
        let bound = self.plaintext.iter().map(|at| at.ip().to_canonical());
        let outside = bound.filter(|at| !at.is_loopback()).collect::<Vec<_>>();
        let of_others = outside.iter().flat_map(|at| hosts(*at, own)).find(|at| !at.is_loopback());
        let address = of_others.or_else(|| outside.first().copied())?;
        let what_to_do = match self.tls {
            None => "use --tls-self-signed or --tls-cert, and --set tls.control=required",
            Some(_) => "use --set tls.control=required",
        };
        Some(format!("warning: clients can send passwords unencrypted to {address}; {what_to_do}"))
    }
}

/// Returns the addresses at which a socket bound to `bound` accepts connections.
fn hosts(bound: IpAddr, own: &[IpAddr]) -> Vec<IpAddr> {
    let is_meant = |host: &&IpAddr| match bound {
        IpAddr::V4(_) => host.is_ipv4(),
        // A socket for all IPv6 addresses accepts connections to IPv4 addresses too.
        IpAddr::V6(_) => true,
    };
    match bound.to_canonical() {
        one if !one.is_unspecified() => vec![one],
        _ => match own.iter().filter(is_meant).copied().collect::<Vec<_>>() {
            all if all.is_empty() => vec![Ipv4Addr::LOCALHOST.into()],
            all => all,
        },
    }
}

/// Returns the addresses of this computer that others can use, as far as the system reports them.
pub(super) fn own_addresses() -> Vec<IpAddr> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let mut all: Vec<IpAddr> = ipv4_of(&read("/proc/net/fib_trie"));
    all.extend(ipv6_of(&read("/proc/net/if_inet6")));
    all
}

/// Reads the local addresses of the kernel's IPv4 routes.
fn ipv4_of(routes: &str) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    let mut last = None;
    for line in routes.lines() {
        match line.trim_start().strip_prefix("|-- ") {
            Some(address) => last = address.parse::<Ipv4Addr>().ok(),
            None if line.contains("/32 host LOCAL") => {
                let usable = last.filter(|at| !at.is_loopback() && !at.is_link_local());
                all.extend(usable.map(IpAddr::V4).filter(|at| !all.contains(at)));
            }
            None => {}
        }
    }
    all
}

/// Reads the global addresses in the kernel's list of IPv6 addresses. Each line has 32 hexadecimal
/// digits, the interface, the prefix length and the scope, which is 0 for a global address.
fn ipv6_of(list: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let digits = fields.next().filter(|digits| digits.len() == 32)?;
        let scope = fields.nth(2)?;
        let bits = u128::from_str_radix(digits, 16).ok().filter(|_| scope == "00")?;
        Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
    };
    list.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 192.168.1.0/24 2 0 1
        |-- 192.168.1.5
           /32 host LOCAL
        |-- 192.168.1.255
           /32 link BROADCAST
Local:
        |-- 127.0.0.1
           /32 host LOCAL
        |-- 192.168.1.5
           /32 host LOCAL
        |-- 198.41.0.4
           /32 host LOCAL
";

    const LIST: &str = "\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000005 02 40 00 80     eth0
fe800000000000000000000000000005 02 40 20 80     eth0
broken
";

    fn own() -> Vec<IpAddr> {
        [ipv4_of(ROUTES), ipv6_of(LIST)].concat()
    }

    fn listening(plaintext: &[&str], implicit: &[&str], tls: Option<TlsPolicy>) -> Listening {
        let addresses = |all: &[&str]| all.iter().map(|at| at.parse().unwrap()).collect();
        let (plaintext, implicit) = (addresses(plaintext), addresses(implicit));
        Listening { plaintext, implicit, tls, user: None, has_passwords: true }
    }

    #[test]
    fn addresses_are_read_from_the_kernels_lists() {
        let shown: Vec<String> = own().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.168.1.5", "198.41.0.4", "2001:db8::5"]);
        assert!(ipv4_of("").is_empty());
        // Whatever this machine has, no loopback address is among them.
        assert!(!own_addresses().iter().any(IpAddr::is_loopback));
    }

    #[test]
    fn urls_are_those_that_clients_can_type() {
        for (listening, want) in [
            (
                listening(&["127.0.0.1:2121"], &[], None),
                "clients on this computer can use ftp://127.0.0.1:2121/",
            ),
            (listening(&["[::1]:21"], &[], None), "clients on this computer can use ftp://[::1]/"),
            (
                listening(&["0.0.0.0:2121"], &[], Some(TlsPolicy::Optional)),
                "clients can use ftpes://192.168.1.5:2121/, ftpes://198.41.0.4:2121/",
            ),
            (
                listening(&["[::]:21"], &["0.0.0.0:990"], Some(TlsPolicy::Off)),
                "clients can use ftp://192.168.1.5/, ftp://198.41.0.4/, ftp://[2001:db8::5]/, \
                 ftps://192.168.1.5/, ftps://198.41.0.4/",
            ),
            (
                Listening {
                    user: Some("me".to_owned()),
                    ..listening(&["192.168.1.5:21"], &[], None)
                },
                "clients can use ftp://me@192.168.1.5/",
            ),
            (
                listening(&["0.0.0.0:1", "0.0.0.0:2", "[::]:3", "[::]:4"], &[], None),
                "clients can use ftp://192.168.1.5:1/, ftp://198.41.0.4:1/, ftp://192.168.1.5:2/, \
                 ftp://198.41.0.4:2/, ftp://192.168.1.5:3/, ftp://198.41.0.4:3/ and 4 more",
            ),
        ] {
            assert_eq!(listening.line(&own()).as_deref(), Some(want));
        }
        let nowhere = listening(&["0.0.0.0:2121"], &[], None);
        let want = "clients on this computer can use ftp://127.0.0.1:2121/";
        assert_eq!(nowhere.line(&[]).as_deref(), Some(want));
        assert_eq!(listening(&[], &[], None).line(&own()), None);
    }

    #[test]
    fn plaintext_passwords_beyond_this_computer_cause_a_warning_li_14() {
        let on_all = |tls| listening(&["0.0.0.0:21"], &[], tls);
        let required = "; use --set tls.control=required";
        let private = "unencrypted to 192.168.1.5; ";
        for (listening, want) in [
            (on_all(None), Some("192.168.1.5; use --tls-self-signed")),
            (on_all(Some(TlsPolicy::Optional)), Some(required)),
            (on_all(Some(TlsPolicy::Off)), Some(required)),
            (on_all(Some(TlsPolicy::Required)), None),
            (listening(&["192.168.1.5:21"], &[], None), Some(private)),
            (listening(&["[::ffff:192.168.1.5]:21"], &[], None), Some(private)),
            (listening(&["127.0.0.1:1", "[2001:db8::5]:2"], &[], None), Some("to 2001:db8::5; ")),
            (listening(&["127.0.0.1:21"], &[], None), None),
            (listening(&["[::ffff:127.0.0.1]:21"], &[], None), None),
            (listening(&[], &["198.41.0.4:990"], Some(TlsPolicy::Optional)), None),
            (Listening { has_passwords: false, ..on_all(None) }, None),
        ] {
            let warning = listening.warning(&own());
            assert_eq!(warning.is_some(), want.is_some(), "{warning:?}");
            if let (Some(warning), Some(want)) = (warning, want) {
                assert!(warning.contains(want), "{warning}");
            }
        }
        // The network may come up later.
        let warning = on_all(None).warning(&[]);
        assert!(warning.is_some_and(|warning| warning.contains("unencrypted to 0.0.0.0; ")));
    }
}
