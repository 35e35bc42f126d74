//! Failed logins and bans of hosts, counted across all servers that use the same ledger.

use std::net::IpAddr;
use std::time::Duration;

use super::LedgerError;
use super::record::{Later, Time};
use super::shared::{SharedState, digest, unique};

/// Returns the name of the record of a host, one of 256. With a record for each host, a host that
/// failed once would leave a record forever. With one for all, each login would read the failures
/// of all hosts.
fn record_of(host: IpAddr) -> String {
    let digest = digest(host.to_string().as_bytes());
    format!("hosts/{}", digest.get(..2).unwrap_or_default())
}

/// The conditions of a ban, and its duration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BanPolicy {
    /// Number of failed logins that lead to a ban.
    pub(crate) after: usize,
    /// Time for which a failed login counts.
    pub(crate) window: Duration,
    /// Duration of a ban.
    pub(crate) lasting: Duration,
}

impl SharedState {
    /// Counts a failed login of a host. Returns the remaining time of the host's ban; `None` if the
    /// host is not banned.
    ///
    /// # Errors
    ///
    /// Returns the error of the ledger if the record cannot be read or replaced.
    pub(crate) fn fail(
        &self,
        host: IpAddr,
        policy: BanPolicy,
    ) -> Result<Option<Duration>, LedgerError> {
        let id = unique()?;
        let ends = (millis(policy.window), millis(policy.lasting));
        self.inner.change(&record_of(host), |record, (now, _)| {
            let until = record.fail(&host.to_string(), &id, policy.after, (now, ends))?;
            Some(Duration::from_millis(until.saturating_sub(now)))
        })
    }

    /// Returns the remaining time of a host's ban; `None` if the host is not banned.
    ///
    /// # Errors
    ///
    /// Returns the error of the ledger if the record cannot be read or replaced.
    pub(crate) fn ban_of(&self, host: IpAddr) -> Result<Option<Duration>, LedgerError> {
        self.inner.change(&record_of(host), |record, (now, _)| {
            let until = record.ban_of(&host.to_string(), now)?;
            Some(Duration::from_millis(until.saturating_sub(now)))
        })
    }

    /// Removes the failed logins and the ban of a host from the ledger, without waiting for the
    /// ledger.
    pub(crate) fn forgive(&self, host: IpAddr) {
        self.inner.later(&record_of(host), Later::Forgive { host: host.to_string() });
    }
}

fn millis(time: Duration) -> Time {
    Time::try_from(time.as_millis()).unwrap_or(Time::MAX)
}
