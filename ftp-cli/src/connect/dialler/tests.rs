use std::ffi::{OsStr, OsString};

use ftp_client::error::TlsCause;

use super::proxies::{PROXY, is_listed};
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
        let peer = SocketAddr::new(address.parse().unwrap(), 21);
        assert_eq!(exposed_to(Some(peer), None).is_some(), want, "{address}");
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

/// Returns the proxy and what names it, or how the server is reached without one.
fn way(url: &str, option: Option<&str>, environment: &[(&str, &str)]) -> Result<String, Exit> {
    let find = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let url = FtpUrl::parse(url.as_bytes()).unwrap();
    let option = option.map(|value| (OsStr::new(value), PROXY.to_owned()));
    let way = Proxies::read(option, find).and_then(|all| all.way_to(&url));
    let way = way.map_err(|failure| failure.exit)?;
    Ok(way.map_or("direct".to_owned(), |chosen| format!("{} by {}", chosen.proxy, chosen.by)))
}

#[test]
fn proxy_variables_have_the_precedence_of_curl() {
    let ftp = ("ftp_proxy", "http://a:1");
    let upper = ("FTP_PROXY", "http://b:1");
    let all = ("all_proxy", "socks5h://c:1");
    let upper_all = ("ALL_PROXY", "d:1");
    for (url, environment, want) in [
        ("ftp://h/", &[][..], "direct"),
        ("ftp://h/", &[upper_all, all, upper, ftp], "http://a:1 by ftp_proxy"),
        ("ftpes://h/", &[upper_all, all, upper], "http://b:1 by FTP_PROXY"),
        ("ftp://h/", &[upper_all, all], "socks5h://c:1 by all_proxy"),
        ("ftp://h/", &[upper_all], "http://d:1 by ALL_PROXY"),
        ("ftp://h/", &[("ftp_proxy", ""), upper_all], "http://d:1 by ALL_PROXY"),
        ("ftps://h/", &[ftp, all], "socks5h://c:1 by all_proxy"),
        ("ftps://h/", &[("FTPS_PROXY", "e"), ftp], "http://e:1080 by FTPS_PROXY"),
        ("ftps://h/", &[ftp], "direct"),
        // In a CGI program, any client can set these.
        ("ftp://h/", &[("http_proxy", "f"), ("HTTP_PROXY", "f")], "direct"),
        ("ftp://h.x/", &[ftp, ("no_proxy", "x")], "direct"),
        ("ftp://h.x/", &[ftp, ("no_proxy", ""), ("NO_PROXY", ".x")], "direct"),
        ("ftp://h.x/", &[ftp, ("no_proxy", "y"), ("NO_PROXY", "x")], "http://a:1 by ftp_proxy"),
    ] {
        assert_eq!(way(url, None, environment).unwrap(), want, "{url} {environment:?}");
    }
}

#[test]
fn the_proxy_option_overrides_the_variables() {
    let ftp = [("ftp_proxy", "http://a:1")];
    for (option, want) in [
        ("socks5://u:p@b", Ok("socks5://b:1080 by --proxy")),
        ("none", Ok("direct")),
        ("", Ok("direct")),
        ("https://b", Err(Exit::Usage)),
        ("socks5://", Err(Exit::Usage)),
    ] {
        assert_eq!(way("ftp://h/", Some(option), &ftp), want.map(str::to_owned), "{option}");
    }
    let except = [("no_proxy", "h")];
    assert_eq!(way("ftp://h/", Some("b"), &except).unwrap(), "direct");
    // A variable that does not apply may hold anything.
    let broken = [("ftp_proxy", "gopher://b"), ("no_proxy", "h")];
    assert!(way("ftp://h/", None, &broken).is_ok());
    assert_eq!(way("ftp://i/", None, &broken), Err(Exit::Usage));
}

#[test]
fn a_hint_names_the_source_of_the_proxy() {
    for (by, want) in [
        (PROXY, ""),
        ("all_proxy", "; the variable all_proxy names this proxy: use --proxy none"),
        ("/x/config.toml:2: proxy", "; /x/config.toml:2: proxy names this proxy: use --proxy"),
    ] {
        let chosen = Chosen { proxy: "h".parse().unwrap(), by: by.to_owned() };
        let hint = chosen.hint();
        assert!(hint.starts_with(want) && hint.is_empty() == want.is_empty(), "{hint}");
    }
}

#[test]
fn passwords_stay_out_of_messages() {
    let value = OsStr::new("socks4://u:geheim@h");
    let proxies = Proxies::read(Some((value, PROXY.to_owned())), |_| None);
    assert!(proxies.is_err_and(|failure| !failure.message.contains("geheim")));
}

#[test]
fn no_proxy_is_matched_as_in_curl() {
    for (host, list, want) in [
        ("h", "*", true),
        ("h", "a,*", false),
        ("www.local.com", "local.com", true),
        ("LOCAL.com", "a, Local.COM", true),
        ("www.local.com", ".local.com", true),
        ("local.com", ".local.com", true),
        ("local.com.", "local.com", true),
        ("local.com", "local.com.", true),
        ("www.notlocal.com", "local.com", false),
        ("com", "local.com", false),
        ("h", "a b\th", true),
        ("h", ",, ,", false),
        ("192.168.1.2", "192.168.1.2", true),
        ("192.168.1.2", "192.168.0.0/16", true),
        ("192.169.1.2", "192.168.0.0/16", false),
        ("192.168.1.2", "0.0.0.0/0", true),
        ("192.168.1.2", "192.168.1.2/33", false),
        ("192.168.1.2", "192.168.1.0/x", false),
        ("192.168.1.2", "1.2", false),
        ("2001:db8::1", "2001:db8::/32", true),
        ("2001:db8::1", "[2001:db8::1]", true),
        ("2001:db9::1", "2001:db8::/32", false),
        ("fe80::1%eth0", "fe80::/10", true),
        ("10.0.0.1", "::/0", false),
    ] {
        assert_eq!(is_listed(host, list), want, "{host} {list:?}");
    }
}

const PIN: &str = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

fn protection(line: &str) -> Result<TlsOptions> {
    let (command, options) = options::parse(line.split(' ').map(Into::into)).unwrap();
    options.relate(command.unwrap())?;
    TlsOptions::from_options(&options)
}

#[test]
fn conflicting_tls_options_are_refused() {
    for (line, right) in [
        ("get".to_owned(), true),
        ("get --tls explicit -k".to_owned(), true),
        (format!("get --pin {PIN} --pin {PIN}"), true),
        ("get --client-cert c --client-key k".to_owned(), true),
        ("get --client-cert both".to_owned(), true),
        ("get --client-key k".to_owned(), false),
        ("get --tls perhaps".to_owned(), false),
        ("get --tls-data some".to_owned(), false),
        ("get --pin sha256//short".to_owned(), false),
        (format!("get --pin {PIN} -k"), false),
        (format!("get --pin {PIN} --ca-file f"), false),
        ("get --ca-file f --insecure".to_owned(), false),
        ("get --tls off --ca-file f".to_owned(), false),
    ] {
        assert_eq!(protection(&line).is_ok(), right, "{line}");
    }
}

#[test]
fn a_tls_option_that_contradicts_the_scheme_is_refused_cl_65() {
    let show = |tls: Tls| format!("{tls:?}");
    let explicit = show(Tls::explicit());
    let implicit = show(Tls::implicit());
    let opportunistic = show(Tls::opportunistic());
    for (scheme, option, want) in [
        ("ftp", "", Ok(None)),
        ("ftp", "off", Ok(None)),
        ("ftp", "try", Ok(Some(&opportunistic))),
        ("ftp", "explicit", Ok(Some(&explicit))),
        ("ftp", "implicit", Ok(Some(&implicit))),
        ("ftpes", "", Ok(Some(&explicit))),
        ("ftpes", "explicit", Ok(Some(&explicit))),
        ("ftpes", "off", Err(())),
        ("ftpes", "try", Err(())),
        ("ftpes", "implicit", Err(())),
        ("ftps", "", Ok(Some(&implicit))),
        ("ftps", "implicit", Ok(Some(&implicit))),
        ("ftps", "off", Err(())),
        ("ftps", "try", Err(())),
        ("ftps", "explicit", Err(())),
    ] {
        let line = if option.is_empty() { "get".into() } else { format!("get --tls {option}") };
        let url = FtpUrl::parse(format!("{scheme}://h/a").as_bytes()).unwrap();
        let found = protection(&line).unwrap().of(&url).map_err(|_| ());
        assert_eq!(found.map(|tls| tls.map(show)), want.map(|tls| tls.cloned()), "{url} {line}");
    }
}

#[test]
fn a_failure_of_the_wrong_kind_of_tls_names_the_other_scheme() {
    let refused = || Error::io(std::io::ErrorKind::ConnectionRefused.into());
    let not_tls = || Error::Tls(TlsError::Failed(TlsCause::NotTls(None)));
    let silent = || Error::Timeout(Phase::Greeting);
    for (line, url, error, want) in [
        ("get", "ftps://h:2121/", not_tls(), "ftpes://"),
        ("get --tls implicit", "ftp://h:2121/", not_tls(), "ftpes://"),
        ("get", "ftpes://h/", not_tls(), ""),
        ("get", "ftps://h/", refused(), "ftpes://"),
        ("get", "ftps://h/", Error::Timeout(Phase::Connect), "ftpes://"),
        ("get", "ftps://h:2121/", refused(), ""),
        ("get", "ftp://h/", refused(), ""),
        ("get", "ftp://h:2121/", silent(), "ftps://"),
        ("get", "ftpes://h:990/", silent(), "ftps://"),
        ("get", "ftp://h:990/", Error::Closed, "ftps://"),
        ("get", "ftp://h/", Error::Closed, ""),
    ] {
        let url = FtpUrl::parse(url.as_bytes()).unwrap();
        let is_implicit = protection(line).unwrap().is_implicit(&url);
        let hint = other_scheme(&error, is_implicit, &url);
        assert_eq!(want.is_empty(), hint.is_empty(), "{url}: {hint}");
        assert!(hint.contains(want), "{url}: {hint}");
    }
}

#[test]
fn tls_options_need_tls() {
    let url = |text: &str| FtpUrl::parse(text.as_bytes()).unwrap();
    let clear = url("ftp://h/a");
    let secure = url("ftps://h/a");
    for (line, of_clear) in [
        ("get", true),
        ("get --tls off", true),
        ("get -k", false),
        ("get --tls try -k", true),
        ("get --tls try --ca-file f", false),
        ("get --tls-data clear", false),
    ] {
        let protection = protection(line).unwrap();
        assert_eq!(protection.check(&[&clear]).is_ok(), of_clear, "{line}");
    }
    assert!(protection("fxp -k").unwrap().check(&[&clear, &secure]).is_ok());
}
