//! Failed logins and bans of hosts, which all servers of a ledger count together.

use std::net::IpAddr;
use std::time::Duration;

use super::LedgerError;
use super::record::{Later, Time};
use super::shared::{SharedState, unique};

/// The one record of all hosts: a host that fails only once must not leave its own record forever.
const RECORD: &str = "hosts";

/// When a host is banned, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BanPolicy {
    /// Number of failed logins that lead to a ban.
    pub(crate) after: usize,
    /// How long a failed login counts.
    pub(crate) window: Duration,
    /// How long a ban lasts.
    pub(crate) lasting: Duration,
}

impl SharedState {
    /// Counts a failed login. Returns how long the host is banned from now on; `None` if it is not.
    ///
    /// # Errors
    ///
    /// Returns the error of the ledger.
    pub(crate) fn fail(
        &self,
        host: IpAddr,
        policy: BanPolicy,
    ) -> Result<Option<Duration>, LedgerError> {
        let id = unique()?;
        let ends = (millis(policy.window), millis(policy.lasting));
        self.inner.change(RECORD, |record, (now, _)| {
            let until = record.fail(&host.to_string(), &id, policy.after, (now, ends))?;
            Some(Duration::from_millis(until.saturating_sub(now)))
        })
    }

    /// Returns how long a host is still banned; `None` if it is not.
    ///
    /// # Errors
    ///
    /// Returns the error of the ledger.
    pub(crate) fn ban_of(&self, host: IpAddr) -> Result<Option<Duration>, LedgerError> {
        self.inner.change(RECORD, |record, (now, _)| {
            let until = record.ban_of(&host.to_string(), now)?;
            Some(Duration::from_millis(until.saturating_sub(now)))
        })
    }

    /// Makes the ledger forget the failed logins and the ban of a host, without waiting for it.
    pub(crate) fn forgive(&self, host: IpAddr) {
        self.inner.later(RECORD, Later::Forgive { host: host.to_string() });
    }
}

fn millis(time: Duration) -> Time {
    Time::try_from(time.as_millis()).unwrap_or(Time::MAX)
}
