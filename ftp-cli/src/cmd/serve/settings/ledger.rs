//! The keys of `[ledger]`.

use std::path::PathBuf;
use std::time::Duration;

use ftp_server::WithoutLedger;

use super::ledger_url::LedgerUrl;
use super::lines::Lines;
use super::table::Settings;

/// Whether this build can share state.
const IS_BUILT: bool = cfg!(feature = "s3");

/// Message for a build that cannot share state.
const OTHER_BUILD: &str =
    "this build cannot share state between servers; use a build with --features s3";

/// The ledger that servers share.
#[derive(Clone, Debug)]
pub(crate) struct LedgerSettings {
    pub(crate) url: LedgerUrl,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) on_failure: WithoutLedger,
    pub(crate) lease: Duration,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            url: LedgerUrl::None,
            password_file: None,
            on_failure: WithoutLedger::Refuse,
            lease: Duration::from_secs(60),
        }
    }
}

/// Message with the form of a Redis URL.
const REDIS: &str = "expected redis://[USER@]HOST[:PORT][/DATABASE]";

/// Returns whether the URL, which names no password, is valid.
#[cfg(feature = "s3")]
fn is_redis(url: &str) -> bool {
    ftp_server::RedisLedger::is_url(&url.replacen('@', ":@", 1))
}

/// Never called: a build without `s3` has already rejected the ledger.
#[cfg(not(feature = "s3"))]
fn is_redis(_url: &str) -> bool {
    true
}

impl Settings {
    /// Returns whether there is a ledger, which quotas in object stores need.
    pub(crate) fn has_ledger(&self) -> bool {
        self.ledger.url != LedgerUrl::None
    }

    /// Returns the contradictions in the keys of the ledger, each with its origin.
    pub(super) fn contradictions_of_ledger(&self, lines: Option<&Lines<'_>>) -> Vec<String> {
        let LedgerSettings { url, password_file, .. } = &self.ledger;
        let wrong = match url {
            LedgerUrl::None if password_file.is_some() => {
                Some(("ledger.password_file", "needs ledger.url".to_owned()))
            }
            LedgerUrl::None => None,
            _ if !IS_BUILT => Some(("ledger.url", OTHER_BUILD.to_owned())),
            LedgerUrl::Objects(objects) => match self.stores.of(objects) {
                Err(why) => Some(("ledger.url", why)),
                Ok(_) if password_file.is_some() => {
                    Some(("ledger.password_file", "needs a ledger in Redis".to_owned()))
                }
                Ok(_) => None,
            },
            LedgerUrl::Redis(url) if !is_redis(url) => {
                Some(("ledger.url", format!("invalid ledger \"{url}\": {REDIS}")))
            }
            LedgerUrl::Redis(url) if url.contains('@') && password_file.is_none() => {
                let why = "a user name in the Redis URL needs ledger.password_file";
                Some(("ledger.url", why.to_owned()))
            }
            LedgerUrl::Redis(_) => None,
        };
        let place = |(key, why)| format!("{}: {key}: {why}", self.origins.place(key, lines));
        wrong.map(place).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_need_each_other_are_required_together() {
        let found = |assignments: &[&str]| {
            let mut settings = Settings::default();
            assignments.iter().for_each(|assignment| settings.set(assignment).unwrap());
            settings.contradictions_of_ledger(None).join("\n")
        };
        assert_eq!(found(&[]), "");
        assert_eq!(
            found(&["ledger.password_file=/p"]),
            "--set: ledger.password_file: needs ledger.url"
        );
        let redis = ["ledger.url=redis://h", "ledger.password_file=/p"];
        let store = ["ledger.url=store:main", "ledger.password_file=/p"];
        if IS_BUILT {
            assert_eq!(found(&redis), "");
            assert_eq!(found(&store), "--set: ledger.url: unknown store \"main\"");
            let user = "--set: ledger.url: a user name in the Redis URL needs ledger.password_file";
            assert_eq!(found(&["ledger.url=redis://u@h"]), user);
            assert_eq!(found(&["ledger.url=redis://u@h", redis[1]]), "");
            for wrong in ["redis://", "redis://h:x", "redis://u@h/x"] {
                let want = format!("--set: ledger.url: invalid ledger \"{wrong}\": {REDIS}");
                assert_eq!(found(&[&format!("ledger.url={wrong}"), redis[1]]), want);
            }
        } else {
            assert_eq!(found(&redis), format!("--set: ledger.url: {OTHER_BUILD}"));
        }
    }
}
