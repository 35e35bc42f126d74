//! Users and hosts that reloads have removed. Connections from before a reload can still log in as
//! these users and at these hosts, until their login times out.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use ftp_proto::HostName;

use super::users::{Homes, is_anonymous_name};

/// Interval between checks for logins over connections from before a reload.
pub(super) const CHECK: Duration = Duration::from_secs(1);

/// Longest time that a removed user or host is remembered; short enough not to overflow a clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The users and hosts that reloads have removed, kept while connections from before a reload can
/// still log in. This value holds only names: even after many reloads, it keeps no directories open
/// and no copies of the configuration.
#[derive(Debug, Default)]
pub(super) struct FormerUsers {
    /// The time until which connections from before a reload can log in.
    until: Option<Instant>,
    users: BTreeMap<Vec<u8>, Removed>,
    anonymous: Option<Removed>,
    hosts: HashMap<HostName, Removed>,
}

/// The last reload that removed a user or a host.
#[derive(Clone, Copy, Debug)]
struct Removed {
    /// The time until which sessions from before the reload can log in as this user, or at this
    /// host.
    until: Instant,
    /// Number of the last session that began before the reload.
    last: u64,
}

impl FormerUsers {
    /// Records a reload that replaced the users `former` with `current`. `last` is the number of
    /// the last session from before the reload, and `login` is the login timeout of such sessions.
    pub(super) fn add(&mut self, former: &Homes, current: &Homes, last: u64, login: Duration) {
        let now = Instant::now();
        self.users.retain(|_, removed| now < removed.until);
        self.hosts.retain(|_, removed| now < removed.until);
        let until = now + login.min(LONGEST) + CHECK;
        // Connections from before an earlier reload may have more time left.
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

    /// Returns whether this session began before a reload that removed its user. In a later
    /// session, the same name may be that of an anonymous login or of a user of `auth.program`.
    pub(super) fn has(&self, number: u64, name: &[u8]) -> bool {
        let anonymous = self.anonymous.filter(|_| is_anonymous_name(name));
        let user = self.users.get(name).copied();
        user.into_iter().chain(anonymous).any(|removed| number <= removed.last)
    }

    /// Returns whether this session began before a reload that removed its host. Later sessions at
    /// this host may continue: its name is an address of the server, which clients can always name.
    pub(super) fn has_host(&self, number: u64, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|removed| number <= removed.last)
    }
}
