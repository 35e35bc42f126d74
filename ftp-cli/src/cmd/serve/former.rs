//! Users and hosts that reloads have removed. Connections from before a reload can still log in as
//! these users and at these hosts, until their login times out.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use ftp_proto::HostName;

use super::users::{Homes, is_anonymous_name};

/// How often logins over these connections are checked.
pub(super) const CHECK: Duration = Duration::from_secs(1);

/// Longest time that a removed user or host is remembered, which no clock overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The users and hosts of all reloads whose connections can still log in. It holds names only:
/// reloads in a row cost neither open directories nor copies of the configuration.
#[derive(Debug, Default)]
pub(super) struct FormerUsers {
    /// Until then, connections from before a reload can log in.
    until: Option<Instant>,
    users: BTreeMap<Vec<u8>, Removed>,
    anonymous: Option<Removed>,
    hosts: HashMap<HostName, Removed>,
}

/// The last reload that removed a user or a host.
#[derive(Clone, Copy, Debug)]
struct Removed {
    /// Until then, sessions from before the reload can log in there.
    until: Instant,
    /// Number of the last of these sessions.
    last: u64,
}

impl FormerUsers {
    /// Notes a reload from `former` to `current` users. `last` is the number of the last session
    /// from before it, and `login` the time that this session has for its login.
    pub(super) fn add(&mut self, former: &Homes, current: &Homes, last: u64, login: Duration) {
        let now = Instant::now();
        self.users.retain(|_, removed| now < removed.until);
        self.hosts.retain(|_, removed| now < removed.until);
        let until = now + login.min(LONGEST) + CHECK;
        // Connections from before an earlier reload may have longer.
        let until = self.until.map_or(until, |earlier| earlier.max(until));
        self.until = Some(until);
        let removed = Removed { until, last };
        for name in former.user_names().filter(|name| !current.names_user(name)) {
            self.users.insert(name.to_vec(), removed);
        }
        if former.has_anonymous() && !current.has_anonymous() {
            self.anonymous = Some(removed);
        }
        for host in former.host_names().filter(|host| !current.names_host(host)) {
            self.hosts.insert(host.clone(), removed);
        }
    }

    /// Returns whether connections from before a reload can still log in.
    pub(super) fn can_log_in(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    /// Returns whether this session is from before a reload that removed its user. A later session
    /// of the same name may be an anonymous login, or one of the program.
    pub(super) fn has(&self, number: u64, name: &[u8]) -> bool {
        let anonymous = self.anonymous.filter(|_| is_anonymous_name(name));
        let user = self.users.get(name).copied();
        user.into_iter().chain(anonymous).any(|removed| number <= removed.last)
    }

    /// Returns whether this session is from before a reload that removed its host. A later one is at
    /// the server's own address, which clients can always name.
    pub(super) fn has_host(&self, number: u64, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|removed| number <= removed.last)
    }
}
