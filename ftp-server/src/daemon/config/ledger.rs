//! The keys of `[ledger]`.

use std::path::PathBuf;
use std::time::Duration;

use super::root::{IS_BUILT, Objects};
use super::row::with_defaults;
use crate::WithoutLedger;

const OTHER_BUILD: &str =
    "this build cannot share state between servers; use a build with --features s3";

with_defaults! {
    #[derive(Clone, Debug)]
    pub(crate) struct LedgerSettings {
        pub(crate) url: LedgerUrl,
        pub(crate) password_file: Option<PathBuf>,
        pub(crate) ca_file: Option<PathBuf>,
        pub(crate) on_failure: WithoutLedger,
        pub(crate) lease: Duration = Duration::from_secs(60),
    }
}

const REDIS: &str = "expected redis[s]://[USER@]HOST[:PORT][/DATABASE]";

/// Returns whether the URL, which names no password, is valid.
#[cfg(all(feature = "s3", feature = "redis"))]
fn is_redis(url: &str) -> bool {
    crate::RedisLedger::is_url(&url.replacen('@', ":@", 1))
}

/// Never called: a build without `s3` has already rejected the ledger.
#[cfg(not(all(feature = "s3", feature = "redis")))]
fn is_redis(_url: &str) -> bool {
    true
}

impl LedgerSettings {
    /// Returns a contradiction in the keys of the ledger: the wrong key, and the reason.
    /// `objection_to` returns why no store has these objects, if none has them.
    pub(super) fn contradiction(
        &self,
        objection_to: impl FnOnce(&Objects) -> Option<String>,
    ) -> Option<(&'static str, String)> {
        let Self { url, password_file, ca_file, .. } = self;
        let is_tls = matches!(url, LedgerUrl::Redis(url) if url.starts_with("rediss:"));
        match url {
            _ if ca_file.is_some() && !is_tls => {
                Some(("ledger.ca_file", "needs ledger.url = \"rediss://HOST\"".to_owned()))
            }
            LedgerUrl::None if password_file.is_some() => {
                Some(("ledger.password_file", "needs ledger.url".to_owned()))
            }
            LedgerUrl::None => None,
            _ if !IS_BUILT => Some(("ledger.url", OTHER_BUILD.to_owned())),
            LedgerUrl::Objects(objects) => match objection_to(objects) {
                Some(why) => Some(("ledger.url", why)),
                None if password_file.is_some() => {
                    Some(("ledger.password_file", "needs a ledger in Redis".to_owned()))
                }
                None => None,
            },
            LedgerUrl::Redis(url) if !is_redis(url) => {
                Some(("ledger.url", format!("invalid ledger \"{url}\": {REDIS}")))
            }
            LedgerUrl::Redis(url) if url.contains('@') && password_file.is_none() => {
                let why = "a user name in the Redis URL needs ledger.password_file";
                Some(("ledger.url", why.to_owned()))
            }
            LedgerUrl::Redis(_) => None,
        }
    }
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum LedgerUrl {
    /// This server shares nothing.
    #[default]
    None,
    Objects(Objects),
    /// The URL of a Redis server, without a password.
    Redis(String),
}

impl LedgerUrl {
    /// Reads a URL. An empty text means no ledger.
    ///
    /// # Errors
    ///
    /// Returns a message if the text does not name a ledger, or contains a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let schemes = ["redis://", "rediss://"];
        if let Some(rest) = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)) {
            let login = rest.rsplit_once('@').map_or("", |(login, _)| login);
            // Other users may be able to read the settings, so the password is in its own file.
            return match login.contains(':') {
                true => Err("invalid ledger: use ledger.password_file for the password".to_owned()),
                false => Ok(Self::Redis(text.to_owned())),
            };
        }
        match Objects::parse(text) {
            _ if text.is_empty() => Ok(Self::None),
            Some(objects) => objects.map(Self::Objects),
            None => Err(format!(
                "invalid ledger \"{text}\": expected store:NAME/PREFIX, redis://HOST or rediss://HOST"
            )),
        }
    }

    /// Returns the text in the form that [`parse`](Self::parse) reads.
    pub(super) fn text(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Objects(objects) => objects.to_string(),
            Self::Redis(url) => url.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::config::Settings;

    #[test]
    fn settings_that_need_each_other_are_required_together() {
        let found = |assignments: &[&str]| {
            let mut settings = Settings::default();
            assignments.iter().for_each(|assignment| settings.assign(assignment).unwrap());
            settings.contradictions().join("\n")
        };
        assert_eq!(found(&[]), "");
        assert_eq!(
            found(&["ledger.password_file=/p"]),
            "--set: ledger.password_file: needs ledger.url"
        );
        let wrong = "--set: ledger.ca_file: needs ledger.url = \"rediss://HOST\"";
        assert_eq!(found(&["ledger.url=redis://h", "ledger.ca_file=/c"]), wrong);
        let redis = ["ledger.url=redis://h", "ledger.password_file=/p"];
        let store = ["ledger.url=store:main", "ledger.password_file=/p"];
        if IS_BUILT {
            assert_eq!(found(&redis), "");
            assert_eq!(found(&["ledger.url=rediss://h", "ledger.ca_file=/c"]), "");
            assert_eq!(found(&store), "--set: ledger.url: unknown store \"main\"");
            let user = "--set: ledger.url: a user name in the Redis URL needs ledger.password_file";
            assert_eq!(found(&["ledger.url=redis://u@h"]), user);
            assert_eq!(found(&["ledger.url=redis://u@h", redis[1]]), "");
            for wrong in ["redis://", "redis://h:x", "rediss://u@h/x"] {
                let want = format!("--set: ledger.url: invalid ledger \"{wrong}\": {REDIS}");
                assert_eq!(found(&[&format!("ledger.url={wrong}"), redis[1]]), want);
            }
        } else {
            assert_eq!(found(&redis), format!("--set: ledger.url: {OTHER_BUILD}"));
        }
    }
}

#[cfg(test)]
mod tests_of_ledger_url {
    use super::*;

    #[test]
    fn ledger_urls_name_a_store_or_redis() {
        for text in
            ["", "store:main/state", "s3://files", "redis://h", "rediss://h", "redis://u@[::1]:7/3"]
        {
            assert_eq!(LedgerUrl::parse(text).unwrap().text(), text);
        }
        for (text, want) in [
            ("redis://:secret@h", "use ledger.password_file"),
            ("rediss://u:secret@h", "use ledger.password_file"),
            ("redisss://h", "expected store:NAME/PREFIX, redis://HOST or rediss://HOST"),
            ("/srv", "expected store:NAME/PREFIX, redis://HOST"),
            ("store:main//x", "invalid prefix"),
        ] {
            let why = LedgerUrl::parse(text).unwrap_err();
            assert!(why.contains(want) && !why.contains("secret"), "{why}");
        }
    }
}
