//! Builds the best command line for a server from the findings.

use std::sync::atomic::Ordering;

use ftp_client::Proxy;
use ftp_proto::{FtpUrl, Scheme};

use super::addresses::good_family;
use super::dial::Dial;
use super::seen::{DataMethod, PathKind};
use crate::options::Options;

/// Parts of the advised command line.
#[derive(Clone, Debug, Default)]
pub(super) struct Advice {
    /// URL without a password.
    pub(super) url: String,
    /// Method of data connections; `None` if none works.
    pub(super) way: Option<DataMethod>,
    /// Only address family that works: `-4` or `-6`.
    pub(super) family: Option<&'static str>,
    /// Scheme that is better than the URL's.
    pub(super) scheme: Option<&'static str>,
    /// Whether LIST works, but MLSD does not.
    pub(super) needs_list: bool,
    /// Whether the server refuses listings, for example because the user may only upload.
    pub(super) may_not_list: bool,
}

/// Options that are kept: addresses, login and proxy.
const KEPT: &[&str] = &[
    "ipv4",
    "ipv6",
    "user",
    "charset",
    "account",
    "password-file",
    "password-command",
    "netrc-file",
    "no-netrc",
    "no-config",
    "bind",
    "proxy",
];

/// Options that are kept with TLS too.
const OF_TLS: &[&str] = &["ca-file", "pin", "client-cert", "client-key", "tls-data", "insecure"];

/// Options that are kept in active mode too.
const OF_ACTIVE_MODE: &[&str] = &["active-address", "active-ports"];

/// Returns the options that the advised command line must keep. Placeholders stand for secrets, and
/// for the command that prints the password: the line is also in the report for others.
fn kept(options: &Options, is_active: bool, is_secure: bool) -> Vec<String> {
    let mut kept = Vec::new();
    let of = |is_used: bool, longs: &'static [&str]| longs.iter().filter(move |_| is_used);
    let of_mode = of(is_active, OF_ACTIVE_MODE);
    for long in KEPT.iter().chain(of(is_secure, OF_TLS)).chain(of_mode) {
        let values: Vec<_> = match *long {
            "pin" => options.all(long).collect(),
            long => options.value(long).into_iter().collect(),
        };
        if values.is_empty() && options.has(long) {
            kept.push(format!("--{long}"));
        }
        for value in values {
            let value = value.to_string_lossy();
            // A proxy is shown without its password.
            let proxy = value.parse::<Proxy>().ok().filter(|_| *long == "proxy");
            let value = match *long {
                "account" => "ACCOUNT".to_owned(),
                "password-command" => "COMMAND".to_owned(),
                _ => proxy.map_or_else(|| value.into_owned(), |proxy| proxy.to_string()),
            };
            kept.extend([format!("--{long}"), value]);
        }
    }
    kept
}

impl Advice {
    /// Draws the advice from all observations.
    pub(super) fn of(dial: &Dial<'_>) -> Self {
        let url = dial.asked.url;
        let scheme = match dial.seen.offer_works.load(Ordering::Relaxed) {
            true => Some("ftpes"),
            // Requested by --tls.
            false if dial.is_protected() && url.scheme() == Scheme::Ftp => {
                Some(if dial.asked.is_implicit { "ftps" } else { "ftpes" })
            }
            false => None,
        };
        let path = dial.seen.path.get();
        let kind = path.map(|path| &path.kind);
        // The advice is not `put` for the URL of a file, because the upload would replace the file.
        let may_not_list =
            path.is_some_and(|path| path.may_not_list) && kind != Some(&PathKind::File);
        let url = match (kind, url.to_string()) {
            (Some(PathKind::Missing(_)), _) => top(url),
            // `put` needs a slash at the end of a directory's URL; `ls` does not.
            (Some(PathKind::Directory), url) if may_not_list && !url.ends_with('/') => url + "/",
            (_, url) => url,
        };
        Self {
            url,
            way: dial.seen.way.get().copied(),
            family: dial.seen.answers.get().and_then(|answers| good_family(answers)),
            scheme,
            needs_list: path.is_some_and(|path| path.needs_list),
            may_not_list,
        }
    }

    /// Returns the whole command line with the options to keep, if a method of data connections works.
    pub(super) fn line(&self, options: &Options) -> Option<String> {
        let is_active = self.way?.is_active();
        let is_secure = self.scheme.is_some() || !self.url.starts_with("ftp://");
        Some(self.command(&kept(options, is_active, is_secure)))
    }

    /// Returns the whole command line, quoted for a shell. `kept` has the options of the command line
    /// that the advice must keep, each with its value.
    fn command(&self, kept: &[String]) -> String {
        let mut words = vec!["ftp-cli".to_owned()];
        let mut add = |option: &[&str]| words.extend(option.iter().map(|word| quoted(word)));
        add(if self.may_not_list { &["put"] } else { &["ls", "-l"] });
        add(self.family.as_slice());
        match self.way {
            Some(DataMethod::Epsv) | None => {}
            Some(DataMethod::Pasv) => add(&["--epsv", "never"]),
            Some(DataMethod::Eprt) => add(&["--active"]),
            Some(DataMethod::Port) => add(&["--active", "--eprt", "never"]),
        }
        if self.needs_list {
            add(&["--listing", "list"]);
        }
        kept.iter().for_each(|word| add(&[word]));
        let url = match (self.scheme, self.url.split_once("://")) {
            (Some(scheme), Some((_, rest))) => format!("{scheme}://{rest}"),
            _ => self.url.clone(),
        };
        if self.may_not_list {
            add(&["FILE"]);
        }
        add(&[&url]);
        words.join(" ")
    }
}

/// Returns the URL without its path.
fn top(url: &FtpUrl) -> String {
    let parts: Vec<String> = url.to_string().split('/').take(3).map(str::to_owned).collect();
    parts.join("/") + "/"
}

/// Returns a word quoted for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:@%+=,[]".contains(char);
    if !word.is_empty() && word.chars().all(|char| is_plain(char) && !"[]".contains(char)) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    #[test]
    fn the_advised_command_has_only_the_needed_options() {
        let url = || "ftp://me@host:2121/".to_owned();
        let plain = || Advice { url: url(), ..Advice::default() };
        for (advice, want) in [
            (plain(), "ftp-cli ls -l ftp://me@host:2121/"),
            (
                Advice { way: Some(DataMethod::Epsv), ..plain() },
                "ftp-cli ls -l ftp://me@host:2121/",
            ),
            (
                Advice { way: Some(DataMethod::Pasv), ..plain() },
                "ftp-cli ls -l --epsv never ftp://me@host:2121/",
            ),
            (
                Advice { way: Some(DataMethod::Eprt), ..plain() },
                "ftp-cli ls -l --active ftp://me@host:2121/",
            ),
            (
                Advice { way: Some(DataMethod::Port), family: Some("-4"), ..plain() },
                "ftp-cli ls -l -4 --active --eprt never ftp://me@host:2121/",
            ),
            (
                Advice { needs_list: true, ..plain() },
                "ftp-cli ls -l --listing list ftp://me@host:2121/",
            ),
            (Advice { may_not_list: true, ..plain() }, "ftp-cli put FILE ftp://me@host:2121/"),
            (Advice { scheme: Some("ftpes"), ..plain() }, "ftp-cli ls -l ftpes://me@host:2121/"),
        ] {
            assert_eq!(advice.command(&[]), want);
        }
        let advice = Advice { url: "ftp://[::1]/".into(), ..plain() };
        let want = "ftp-cli ls -l 'a'\\''b c' 'ftp://[::1]/'";
        assert_eq!(advice.command(&["a'b c".to_owned()]), want);
    }

    #[test]
    fn the_advised_command_keeps_the_needed_options_of_the_user() {
        let line = "doctor -k --pin sha256//a= --user x --pin sha256//b= --user me --json \
                    --active-ports 300-400 --timeout 5 --tls-data clear -4";
        let (_, options) = options::parse(line.split_whitespace().map(Into::into)).unwrap();
        let tls = "--pin sha256//a= --pin sha256//b= --tls-data clear --insecure";
        for (is_active, is_secure, want) in [
            (false, false, "--ipv4 --user me".to_owned()),
            (false, true, format!("--ipv4 --user me {tls}")),
            (true, true, format!("--ipv4 --user me {tls} --active-ports 300-400")),
        ] {
            assert_eq!(kept(&options, is_active, is_secure).join(" "), want);
        }
    }

    #[test]
    fn placeholders_stand_for_secrets() {
        let line = ["doctor", "--account", "geheim", "--password-command", "echo geheim"];
        let (_, options) = options::parse(line.map(Into::into)).unwrap();
        let want = ["--account", "ACCOUNT", "--password-command", "COMMAND"];
        assert_eq!(kept(&options, false, false), want);
    }
}
