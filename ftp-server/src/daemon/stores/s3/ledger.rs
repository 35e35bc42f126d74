//! The ledger of the configuration. A reload can change only the ledger's access keys.

use std::sync::Arc;
use std::time::Duration;

use super::{AccountKeys, ObjectStores, Store, builder, first_line, pem};
use crate::daemon::check::Findings;
use crate::daemon::config::{LedgerUrl, Settings};
use crate::daemon::logging::LOG;
use crate::daemon::{DaemonError, DaemonErrorKind};
use crate::{
    Ledger, LedgerError, LocalConfig, RedisLedger, S3Ledger, S3Store, S3Timeouts, SharedState,
    Storage, WithoutLedger, percent,
};
use ftp_proto::text::values::in_full;

/// Effect of `on_failure = "allow"`, for messages.
const NOT_KEPT: &str = "limits across servers are not enforced";

#[derive(Clone)]
pub(super) struct OpenLedger {
    pub(super) state: SharedState,
    /// `None` for a ledger in Redis.
    client: Option<LedgerClient>,
    without: WithoutLedger,
}

/// The client of a ledger in an object store. It has short timeouts, because sessions wait for the
/// ledger.
#[derive(Clone)]
struct LedgerClient {
    client: S3Store,
    store: String,
    /// The keys that the client was made with.
    keys: AccountKeys,
}

impl OpenLedger {
    /// Reads the password, looks up the address and starts the ledger's thread. Sends nothing yet,
    /// except the request for the first keys of a role.
    ///
    /// # Errors
    ///
    /// Returns `Local` if a file cannot be read, and `Usage` if the password is unusable. Returns
    /// `Network` if the ledger cannot be opened, and `Internal` if a thread cannot be started.
    pub(super) fn open(
        settings: &Settings,
        stores: &ObjectStores,
    ) -> Result<Option<Self>, DaemonError> {
        let ledger = &settings.ledger;
        let failed =
            |why: String| DaemonError::new(DaemonErrorKind::Network, format!("ledger.url: {why}"));
        let start = |opened: Arc<dyn Ledger>| {
            let state = SharedState::start(opened, ledger.lease, ledger.on_failure);
            state.map_err(|error| DaemonError::no_thread("the ledger", &error))
        };
        let (state, client) = match &ledger.url {
            LedgerUrl::None => return Ok(None),
            LedgerUrl::Objects(objects) => {
                let store = stores.get(objects);
                let store = store.ok_or_else(|| failed(format!("{objects}: no such store")))?;
                let client = client(store);
                let client = client?.build().map_err(|error| failed(in_full(&error)))?;
                let opened = S3Ledger::new(&client, &objects.prefix);
                let opened = opened.map_err(|error| failed(in_full(&error)))?;
                let (store, keys) = (store.name.clone(), store.keys.clone());
                (start(Arc::new(opened))?, Some(LedgerClient { client, store, keys }))
            }
            LedgerUrl::Redis(url) => {
                let url = match &ledger.password_file {
                    Some(path) => with_password(url, &first_line("ledger.password_file", path)?),
                    None => url.clone(),
                };
                let ca = ledger.ca_file.as_ref();
                let ca = ca.map(|path| pem("ledger.ca_file", path)).transpose()?;
                let opened = RedisLedger::new(&url, ca.as_deref());
                (start(Arc::new(opened.map_err(|error| failed(in_full(&error)))?))?, None)
            }
        };
        Ok(Some(Self { state, client, without: ledger.on_failure }))
    }

    /// Tests the ledger at startup. If the ledger does not answer, logs a warning or fails,
    /// depending on `ledger.on_failure`.
    ///
    /// # Errors
    ///
    /// Returns `Network` if the server cannot start, or `Unsupported` if the ledger lacks an
    /// ability.
    pub(super) fn prove(&self) -> Result<(), DaemonError> {
        match self.state.prove() {
            Ok(()) => Ok(()),
            Err(error) if self.goes_on_without(&error) => {
                log::warn!(target: LOG, "ledger.url: {error}; {NOT_KEPT}");
                Ok(())
            }
            Err(error) => Err(DaemonError::new(kind(&error), format!("ledger.url: {error}"))),
        }
    }

    /// Tests the ledger for `--check`.
    pub(super) fn check(&self, findings: &mut Findings) {
        match self.state.prove() {
            Ok(()) => findings.ok("ledger.url: the ledger answers and is suitable"),
            Err(error) if self.goes_on_without(&error) => {
                findings.warn(format_args!("ledger.url: {error}; {NOT_KEPT}"));
            }
            Err(error) => findings.fail(kind(&error), format_args!("ledger.url: {error}")),
        }
    }

    /// Returns whether the server continues without the ledger after this error. An unsuitable
    /// ledger would never enforce the limits.
    fn goes_on_without(&self, error: &LedgerError) -> bool {
        self.without == WithoutLedger::Allow && matches!(error, LedgerError::Away { .. })
    }

    /// Gives the ledger's client the present access keys of the store. A client with a role renews
    /// its keys itself, and a changed role needs a restart.
    pub(super) fn use_keys(&self, stores: &ObjectStores) {
        let Some(LedgerClient { client, store, keys }) = &self.client else { return };
        let Some(Store { keys: new, .. }) = stores.stores.get(store) else { return };
        match (keys, new) {
            (AccountKeys::Known { .. }, AccountKeys::Known { .. }) => new.give_to(client),
            _ if keys == new => {}
            _ => log::warn!(
                target: LOG,
                "ledger.url: the ledger still uses the former keys or role of store {store}; \
                 restart the server to change them"
            ),
        }
    }

    /// Returns a storage with the limits of `config` on bytes and files. The limits apply to the
    /// account on all servers together.
    pub(super) fn limit(
        &self,
        storage: impl Storage + 'static,
        account: &str,
        config: LocalConfig,
    ) -> Arc<dyn Storage> {
        let mut quota = self.state.quota(storage, account);
        if config.quota > 0 {
            quota = quota.max_bytes(config.quota);
        }
        if config.max_files > 0 {
            quota = quota.max_files(config.max_files);
        }
        Arc::new(quota)
    }
}

/// Returns the settings of the ledger's client.
fn client(store: &Store) -> Result<crate::S3StoreBuilder, DaemonError> {
    const WAIT: Duration = Duration::from_secs(5);
    let timeouts = S3Timeouts::new().connect(WAIT).idle(WAIT).answer(WAIT).retries(2 * WAIT);
    Ok(builder(&store.name, &store.settings, &store.keys)?.timeouts(timeouts))
}

const fn kind(error: &LedgerError) -> DaemonErrorKind {
    match error {
        LedgerError::Unfit { .. } => DaemonErrorKind::Unsupported,
        _ => DaemonErrorKind::Network,
    }
}

/// Returns the URL of Redis with the password, which is percent-encoded.
fn with_password(url: &str, password: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let encoded = percent::encoded(password.as_bytes(), |_| false);
    format!("{scheme}://{user}:{encoded}@{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_encoded() {
        for (url, want) in [
            ("redis://h", "redis://:%61%40@h"),
            ("rediss://ann@h:7/3", "rediss://ann:%61%40@h:7/3"),
        ] {
            assert_eq!(with_password(url, "a@"), want);
            assert!(RedisLedger::is_url(want));
        }
    }
}
