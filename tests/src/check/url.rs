//! URLs from users and scripts.

use ftp_proto::{FtpUrl, RepresentationType, Scheme};

use super::{assert_shown, breaks_lines};
use crate::names::percent;

/// Checks a URL or its short form.
pub fn url(data: &[u8]) {
    let url = match FtpUrl::parse(data) {
        Ok(url) => url,
        Err(error) => {
            assert!(error.at <= data.len(), "{error}, of {}", data.len());
            return;
        }
    };
    assert!(!url.host().is_empty() && url.port() > 0);
    let (user, password) = (url.user().unwrap_or_default(), url.password().unwrap_or_default());
    for part in [user, password, url.host().as_bytes(), url.path()] {
        assert!(!part.iter().copied().any(breaks_lines), "{part:?}");
    }
    assert_shown(&url.to_string());
    assert_eq!(format!("{url:?}"), format!("FtpUrl({url})"));
    assert_url_round_trip(&url);
    assert_eq!(url.parts().collect::<Vec<_>>().join(&b'/'), url.path());
    reads_back(&url);
}

/// Checks that `Display` writes ASCII that parses to the same URL, except for the password.
fn assert_url_round_trip(url: &FtpUrl) {
    let shown = url.to_string();
    assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()), "{shown}");
    let again = FtpUrl::parse(shown.as_bytes()).unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert_eq!(again.to_string(), shown);
    assert_eq!(again.password(), None, "{shown}");
    if url.password().is_none() {
        assert_eq!(&again, url);
    }
    assert_same_url(&again, url);
}

fn scheme(url: &FtpUrl) -> &'static str {
    match url.scheme() {
        Scheme::Ftp => "ftp://",
        Scheme::Ftpes => "ftpes://",
        Scheme::Ftps => "ftps://",
    }
}

/// Checks that the URL with every part percent-encoded parses to the same URL.
fn reads_back(url: &FtpUrl) {
    let mut text = scheme(url).as_bytes().to_vec();
    let mut put = |part: &[u8]| text.extend_from_slice(part);
    if let Some(user) = url.user() {
        put(percent(user).as_bytes());
        if let Some(password) = url.password() {
            put(b":");
            put(percent(password).as_bytes());
        }
        put(b"@");
    }
    match url.host().split_once('%') {
        Some((host, zone)) => put(format!("[{host}%25{}]", percent(zone.as_bytes())).as_bytes()),
        None if url.host().contains(':') => put(format!("[{}]", url.host()).as_bytes()),
        None => put(url.host().as_bytes()),
    }
    put(format!(":{}", url.port()).as_bytes());
    for part in url.parts() {
        put(format!("/{}", percent(part)).as_bytes());
    }
    put(match url.representation() {
        Some(RepresentationType::Ascii) => b";type=a",
        Some(RepresentationType::Image) => b";type=i",
        None if url.is_directory() => b";type=d",
        None => b"",
    });
    let again = FtpUrl::parse(&text).unwrap_or_else(|error| panic!("{url}: {error}"));
    assert_eq!(again.password(), url.password());
    assert_same_url(&again, url);
}

fn assert_same_url(again: &FtpUrl, url: &FtpUrl) {
    assert_eq!(again.scheme(), url.scheme());
    assert_eq!(again.user(), url.user());
    assert_eq!((again.host(), again.port()), (url.host(), url.port()));
    assert_eq!((again.path(), again.representation()), (url.path(), url.representation()));
    assert!(again.parts().eq(url.parts()));
    assert_eq!(again.is_directory(), url.is_directory());
}
