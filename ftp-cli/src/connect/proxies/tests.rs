use super::*;
use crate::exit::Exit;

/// Returns the proxy and what names it, or how the server is reached without one.
fn way(url: &str, option: Option<&str>, environment: &[(&str, &str)]) -> Result<String, Exit> {
    let find = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let url = FtpUrl::parse(url.as_bytes()).unwrap();
    let option = option.map(|value| (OsStr::new(value), OPTION.to_owned()));
    let way = Proxies::read(option, find).and_then(|all| all.way_to(&url));
    match way.map_err(|failure| failure.exit)? {
        Route::Direct => Ok("direct".to_owned()),
        Route::Excepted { variable, by } => Ok(format!("{variable}, not {by}")),
        Route::Through(chosen) => Ok(format!("{} by {}", chosen.proxy, chosen.by)),
    }
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
        ("ftp://h.x/", &[ftp, ("no_proxy", "x")], "no_proxy, not ftp_proxy"),
        ("ftp://h.x/", &[ftp, ("no_proxy", ""), ("NO_PROXY", ".x")], "NO_PROXY, not ftp_proxy"),
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
    assert_eq!(way("ftp://h/", Some("b"), &except).unwrap(), "no_proxy, not --proxy");
    // A variable that does not apply may hold anything.
    let broken = [("ftp_proxy", "gopher://b"), ("no_proxy", "h")];
    assert!(way("ftp://h/", None, &broken).is_ok());
    assert_eq!(way("ftp://i/", None, &broken), Err(Exit::Usage));
}

#[test]
fn a_hint_names_the_source_of_the_proxy() {
    for (by, want) in [
        (OPTION, ""),
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
    let proxies = Proxies::read(Some((value, OPTION.to_owned())), |_| None);
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
