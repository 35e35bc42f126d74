//! Applies the TLS options to servers.

use std::ffi::OsStr;
use std::path::PathBuf;

use ftp_client::error::Phase;
use ftp_client::security::TlsError;
use ftp_client::{Client, Error, Tls};
use ftp_proto::{FtpUrl, Scheme};

use crate::console::Messages;
use crate::exit::{Exit, Failure, Result};
use crate::options::{Options, values};

/// Port for implicit TLS.
const IMPLICIT: u16 = 990;

/// Options that need TLS.
const HOW: &[&str] = &["ca-file", "client-cert", "client-key", "insecure", "pin", "tls-data"];

/// Meaning of `--tls` for servers whose URL does not ask for TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TlsStart {
    Off,
    Try,
    Explicit,
    Implicit,
}

const STARTS: &[(&str, TlsStart)] = &[
    ("off", TlsStart::Off),
    ("try", TlsStart::Try),
    ("explicit", TlsStart::Explicit),
    ("implicit", TlsStart::Implicit),
];

/// TLS options, read before anything is done.
#[derive(Clone)]
pub(crate) struct TlsOptions {
    start: Option<TlsStart>,
    /// Whether `--tls` is typed. If it comes from the configuration file, a URL whose scheme has
    /// TLS overrides it.
    is_typed: bool,
    pins: Vec<String>,
    ca_file: Option<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
    insecure: bool,
    clear_data: bool,
    /// A typed option that has no effect without TLS.
    how: Option<&'static str>,
}

impl TlsOptions {
    /// Reads the options of the group TLS.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, or for contradicting options.
    pub(crate) fn from_options(options: &Options) -> Result<Self> {
        let start = options.parsed("tls", |text| values::word(text, STARTS))?;
        let data = [("private", false), ("clear", true)];
        let clear_data = options.parsed("tls-data", |text| values::word(text, &data))?;
        let path = |long| options.value(long).map(PathBuf::from);
        let client = match (path("client-cert"), path("client-key")) {
            // The certificate and the key can be in one file.
            (Some(certificate), key) => {
                let key = key.unwrap_or_else(|| certificate.clone());
                Some((certificate, key))
            }
            (None, None) => None,
            (None, Some(_)) => {
                let key = options.shown("client-key");
                return Err(Failure::usage(format!("{key} needs --client-cert")));
            }
        };
        let mut pins = Vec::new();
        for pin in options.all("pin").map(OsStr::to_string_lossy) {
            if Tls::explicit().pin(&pin).is_err() {
                let form = "expected sha256// and 44 characters of base64";
                return Err(Failure::usage(format!("--pin: invalid pin \"{pin}\": {form}")));
            }
            pins.push(pin.into_owned());
        }
        let found = Self {
            start,
            is_typed: options.last_typed(&["tls"]).is_some(),
            pins,
            ca_file: path("ca-file"),
            client,
            insecure: options.has("insecure"),
            clear_data: clear_data.unwrap_or(false),
            how: options.last_typed(HOW),
        };
        for both in [["insecure", "pin"], ["insecure", "ca-file"], ["pin", "ca-file"]] {
            if both.iter().all(|long| options.has(long)) {
                let [one, other] = both.map(|long| options.shown(long));
                let message =
                    format!("{one} and {other} contradict each other; remove one of them");
                return Err(Failure::usage(message));
            }
        }
        match (found.how, found.start) {
            (Some(how), Some(TlsStart::Off)) if found.is_typed => {
                Err(Failure::usage(format!("--{how} needs TLS; remove --tls off")))
            }
            _ => Ok(found),
        }
    }

    /// Returns the TLS settings for the server of `url`, or `None` for plaintext.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the URL contradicts the options.
    pub(crate) fn of(&self, url: &FtpUrl) -> Result<Option<Tls>> {
        let contradicts = |scheme: &str, word| {
            Err(Failure::usage(format!(
                "{scheme}:// and --tls {word} contradict each other; remove --tls, or use ftp://"
            )))
        };
        let start = self.start.filter(|_| self.is_typed || url.scheme() == Scheme::Ftp);
        let tls = match (url.scheme(), start) {
            (Scheme::Ftp, None | Some(TlsStart::Off)) => return Ok(None),
            (Scheme::Ftp, Some(TlsStart::Try)) => Tls::opportunistic(),
            (Scheme::Ftpes, None | Some(TlsStart::Explicit))
            | (Scheme::Ftp, Some(TlsStart::Explicit)) => Tls::explicit(),
            (Scheme::Ftps, None | Some(TlsStart::Implicit))
            | (Scheme::Ftp, Some(TlsStart::Implicit)) => Tls::implicit(),
            (scheme, Some(start)) => {
                let scheme = if scheme == Scheme::Ftps { "ftps" } else { "ftpes" };
                let word = STARTS.iter().find(|(_, known)| *known == start);
                return contradicts(scheme, word.map_or("", |(word, _)| *word));
            }
        };
        let mut tls = tls.accept_invalid_certificates(self.insecure);
        for pin in &self.pins {
            tls = tls.pin(pin).map_err(|error| Failure::usage(format!("--pin: {error}")))?;
        }
        if let Some(file) = &self.ca_file {
            tls = tls.ca_file(file);
        }
        if let Some((certificate, key)) = &self.client {
            tls = tls.client_certificate(certificate, key);
        }
        Ok(Some(if self.clear_data { tls.data_in_clear() } else { tls }))
    }

    /// Returns whether TLS begins with the first byte on connections to the server of `url`.
    pub(crate) fn is_implicit(&self, url: &FtpUrl) -> bool {
        match url.scheme() {
            Scheme::Ftps => true,
            Scheme::Ftp => self.start == Some(TlsStart::Implicit),
            Scheme::Ftpes => false,
        }
    }

    /// Checks that each TLS option applies to at least one of the servers.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an option that applies to none of them, or a URL that contradicts the
    /// options.
    fn check(&self, urls: &[&FtpUrl]) -> Result {
        let mut is_of_use = false;
        for url in urls {
            is_of_use |= self.of(url)?.is_some();
        }
        match self.how {
            Some(how) if !is_of_use => {
                Err(Failure::usage(format!("--{how} needs TLS: use ftpes://, ftps:// or --tls")))
            }
            _ => Ok(()),
        }
    }

    /// Checks the options against all these URLs together.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if an option applies to none of the URLs, or a URL contradicts the options.
    pub(crate) fn for_all(mut self, urls: &[&FtpUrl]) -> Result<Self> {
        self.check(urls)?;
        self.how = None;
        Ok(self)
    }

    /// Returns the TLS settings for the server of `url`, as if it were the only URL.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`of`](Self::of) and [`for_all`](Self::for_all).
    pub(crate) fn alone(&self, url: &FtpUrl) -> Result<Option<Tls>> {
        self.check(&[url])?;
        self.of(url)
    }
}

/// Warns about missing or unverified TLS before the login.
pub(crate) fn warn(client: &Client, options: &Options, messages: &Messages) {
    if let Some(reply) = client.tls_refusal()
        && !options.is_quiet()
    {
        messages
            .say(format_args!("warning: the server refuses TLS ({reply}): continuing unencrypted"));
    }
    if options.has("insecure") && client.tls().is_some() && !options.is_quiet() {
        messages.say(format_args!(
            "warning: --insecure: anyone on the network path can impersonate the server"
        ));
    }
}

/// Returns a hint that names another scheme, if a connection failed before the login in a way that
/// the wrong kind of TLS would explain.
pub(crate) fn other_scheme(error: &Error, is_implicit: bool, url: &FtpUrl) -> &'static str {
    let is_default_port = url.scheme() == Scheme::Ftps && url.port() == IMPLICIT;
    match error {
        _ if is_implicit => match error {
            Error::Tls(TlsError::Failed(_)) => {
                "; if this port is not for implicit TLS, use ftpes:// (explicit TLS) or ftp://"
            }
            Error::Io(_) | Error::Timeout(Phase::Connect) if is_default_port => {
                "; ftps:// is implicit TLS on port 990: for explicit TLS on port 21, use ftpes://"
            }
            _ => "",
        },
        Error::Timeout(Phase::Greeting) => "; if this port is for implicit TLS, use ftps://",
        Error::Protocol(_) | Error::Closed if url.port() == IMPLICIT => {
            "; port 990 is for implicit TLS: use ftps://"
        }
        _ => "",
    }
}

/// Returns the failure before or at a login, for a connection without TLS. If the server demands
/// TLS, the failure is permanent, whatever the code of the reply, and its message names the option.
pub(crate) fn without_tls(error: &Error, failure: Failure) -> Failure {
    // The message of a 534 names the option already.
    if failure.exit == Exit::Tls || !error.demands_tls() {
        return failure;
    }
    let message = failure.message + "; the server requires TLS: use ftpes:// or --tls explicit";
    Failure { exit: Exit::Tls, message, fatal: true, ..failure }.never_retried()
}

/// Returns a hint if `--tls try` did not fall back to plaintext, because the server's refusal does
/// not prove that the server lacks TLS. For example, a server that requires a login first gives the
/// same reply to every command.
pub(crate) fn advice(error: &Error, options: &Options) -> &'static str {
    let tries = options.value("tls").is_some_and(|start| start == "try");
    match error {
        Error::Tls(TlsError::Refused(_)) if tries => "; use --tls off to continue unencrypted",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    const PIN: &str = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn protection(line: &str) -> Result<TlsOptions> {
        let (_, options) = options::parse(line.split(' ').map(Into::into)).unwrap();
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
            assert_eq!(
                found.map(|tls| tls.map(show)),
                want.map(|tls| tls.cloned()),
                "{url} {line}"
            );
        }
    }

    #[test]
    fn a_failure_of_the_wrong_kind_of_tls_names_the_other_scheme() {
        let refused = || Error::Io(std::io::ErrorKind::ConnectionRefused.into());
        let not_tls = || Error::Tls(TlsError::Failed("not valid TLS".into()));
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
            ("get --tls-data clear", false),
        ] {
            let protection = protection(line).unwrap();
            assert_eq!(protection.for_all(&[&clear]).is_ok(), of_clear, "{line}");
        }
        let both = protection("fxp -k").unwrap().for_all(&[&clear, &secure]).unwrap();
        assert!(both.for_all(&[&clear]).is_ok());
    }
}
