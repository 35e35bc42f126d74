//! The command line that is best for a server, by what was found.

use super::ways::Way;

/// What the advice is made of.
#[derive(Clone, Debug, Default)]
pub(super) struct Advice {
    /// The URL, without a password.
    pub(super) url: String,
    /// Of `--user`.
    pub(super) user: Option<String>,
    /// The way to data connections; `None` if there is none.
    pub(super) way: Option<Way>,
    /// The family whose addresses alone are good: `-4` or `-6`.
    pub(super) family: Option<&'static str>,
    /// The scheme that is better than the URL's.
    pub(super) scheme: Option<&'static str>,
    /// The key of a certificate that is to be trusted.
    pub(super) pin: Option<String>,
}

impl Advice {
    /// A whole command line, which a shell reads as it is meant.
    pub(super) fn command(&self) -> String {
        let mut words = vec!["ftp-cli".to_owned(), "ls".to_owned(), "-l".to_owned()];
        let mut add = |option: &[&str]| words.extend(option.iter().map(|word| quoted(word)));
        add(self.family.as_slice());
        match self.way {
            Some(Way::Epsv) | None => {}
            Some(Way::Pasv) => add(&["--epsv", "never"]),
            Some(Way::Eprt) => add(&["--active"]),
            Some(Way::Port) => add(&["--active", "--eprt", "never"]),
        }
        if let Some(pin) = &self.pin {
            add(&["--pin", pin]);
        }
        if let Some(user) = &self.user {
            add(&["--user", user]);
        }
        let url = match (self.scheme, self.url.split_once("://")) {
            (Some(scheme), Some((_, rest))) => format!("{scheme}://{rest}"),
            _ => self.url.clone(),
        };
        add(&[&url]);
        words.join(" ")
    }
}

/// A word as a shell has to be given it.
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

    #[test]
    fn the_command_line_has_what_the_server_needs_and_no_more() {
        let url = || "ftp://me@host:2121/".to_owned();
        let plain = || Advice { url: url(), ..Advice::default() };
        for (advice, want) in [
            (plain(), "ftp-cli ls -l ftp://me@host:2121/"),
            (Advice { way: Some(Way::Epsv), ..plain() }, "ftp-cli ls -l ftp://me@host:2121/"),
            (
                Advice { way: Some(Way::Pasv), ..plain() },
                "ftp-cli ls -l --epsv never ftp://me@host:2121/",
            ),
            (
                Advice { way: Some(Way::Eprt), ..plain() },
                "ftp-cli ls -l --active ftp://me@host:2121/",
            ),
            (
                Advice { way: Some(Way::Port), family: Some("-4"), ..plain() },
                "ftp-cli ls -l -4 --active --eprt never ftp://me@host:2121/",
            ),
            (
                Advice { scheme: Some("ftpes"), pin: Some("sha256//a+b=".into()), ..plain() },
                "ftp-cli ls -l --pin sha256//a+b= ftpes://me@host:2121/",
            ),
            (
                Advice { user: Some("a'b c".into()), url: "ftp://[::1]/".into(), ..plain() },
                "ftp-cli ls -l --user 'a'\\''b c' 'ftp://[::1]/'",
            ),
        ] {
            assert_eq!(advice.command(), want);
        }
    }
}
