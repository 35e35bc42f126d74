use ftp_proto::FtpUrl;

use super::*;

#[test]
fn epsv_all_excludes_active_mode_and_pasv_cl_34() {
    let check = |builder: ClientBuilder| {
        let mut config = builder.epsv_all(true).config;
        config.check().map(|()| config.rules.epsv)
    };
    let builder = ClientBuilder::default;
    for extended in [Extended::Auto, Extended::Always] {
        assert_eq!(check(builder().epsv(extended)).unwrap(), Extended::Always);
    }
    assert!(matches!(check(builder().epsv(Extended::Never)), Err(Error::Unsupported(_))));
    assert!(matches!(check(builder().mode(Mode::Active)), Err(Error::Unsupported(_))));
}

#[test]
fn a_connector_excludes_other_passive_addresses_cl_25_hc_33() {
    let check = |rule| {
        let builder =
            ClientBuilder::default().connector(|_, _, _, _| Err(io::ErrorKind::Unsupported.into()));
        builder.passive_address(rule).config.check()
    };
    assert!(check(AddressRule::Peer).is_ok());
    for rule in [AddressRule::Smart, AddressRule::Reply] {
        assert!(matches!(check(rule), Err(Error::Unsupported(_))), "{rule:?}");
    }
}

#[test]
fn pipelining_requires_epsv_cl_14() {
    let check = |builder: ClientBuilder| builder.pipeline(true).config.check();
    let builder = ClientBuilder::default;
    assert!(check(builder().epsv(Extended::Always)).is_ok());
    assert!(check(builder().epsv_all(true)).is_ok());
    assert!(matches!(check(builder().epsv(Extended::Never)), Err(Error::Unsupported(_))));
    assert!(matches!(check(builder().mode(Mode::Active)), Err(Error::Unsupported(_))));
}

#[test]
fn the_url_scheme_selects_the_tls_mode_cl_65() {
    use crate::security::TlsStart;
    let opportunistic = Tls::opportunistic().data_in_clear();
    for (url, settings, want) in [
        ("ftp://h/a", None, None),
        ("ftp://h/a", Some(&opportunistic), Some(TlsStart::Opportunistic)),
        ("ftpes://h/a", None, Some(TlsStart::Explicit)),
        ("ftpes://h/a", Some(&opportunistic), Some(TlsStart::Explicit)),
        ("ftps://h/a", None, Some(TlsStart::Implicit)),
        ("ftps://h/a", Some(&opportunistic), Some(TlsStart::Implicit)),
    ] {
        let url: FtpUrl = url.parse().unwrap();
        let found = for_scheme(url.scheme(), settings.cloned());
        assert_eq!(found.as_ref().map(|tls| tls.start), want, "{url}");
        if let (Some(found), Some(settings)) = (found, settings) {
            assert_eq!(found.data, settings.data, "{url}");
        }
    }
}
