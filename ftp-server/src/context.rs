//! State that all sessions of a server share, and the `SITE` commands of the embedder.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::{Escaped, Reply};

use crate::auth::{Authenticator, Rights, UserSessions};
use crate::config::ServerConfig;
use crate::data::{Announcer, Buffers, Deflating, PassivePorts};
use crate::ledger::SharedState;
use crate::lock::Lock;
use crate::log::{Observers, Refusal};
use crate::net::admission::{Admission, Bans};
use crate::net::socket;
use crate::service::login_watchdog::Watchdog;
use crate::service::register::Register;
use crate::shares::{Debts, Shares, table};
use crate::storage::VirtualPath;
use crate::testing::Script;
use crate::threads::Relay;
use crate::tls::Acceptor;
use crate::{budget, limits};

/// Settings, authenticator, and the state that sessions share. A session keeps the context that it
/// began with until `REIN`, which gives it the current one.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) config: ServerConfig,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) tls: Option<Arc<Acceptor>>,
    pub(crate) observers: Observers,
    pub(crate) site: Option<Arc<SiteCommands>>,
    /// The script of a test: its recorders and the faults that it injects.
    pub(crate) script: Option<Arc<Script>>,
    pub(crate) admission: Arc<Admission>,
    /// The connections from balancers whose PROXY header has not arrived yet.
    pub(crate) before_headers: Arc<Admission>,
    pub(crate) passive_ports: Arc<PassivePorts>,
    pub(crate) announcer: Arc<Announcer>,
    pub(crate) user_sessions: Arc<UserSessions>,
    pub(crate) shared: Option<SharedState>,
    pub(crate) bans: Arc<Bans>,
    pub(crate) watchdog: Arc<Watchdog>,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) deflating: Arc<Deflating>,
    /// The places for digests in progress.
    pub(crate) digests: Arc<Shares>,
    /// The places for long searches for a restart offset or for matching names.
    pub(crate) searches: Arc<Shares>,
    pub(crate) reads: Arc<Reads>,
    pub(crate) sights: Arc<FirstSights>,
    /// The debts of clients for the processor time of their commands.
    pub(crate) processor: Arc<Debts>,
    /// The relay, which starts a new thread for each session that must leave its own.
    pub(crate) relay: Arc<Relay>,
    pub(crate) register: Arc<Register>,
}

#[derive(Default)]
pub(crate) struct EmbedderHooks {
    pub(crate) observers: Observers,
    pub(crate) site: Option<Arc<SiteCommands>>,
    pub(crate) script: Option<Arc<Script>>,
    pub(crate) shared: Option<SharedState>,
}

/// The context for new sessions.
pub(crate) struct Current(Lock<Arc<Context>>);

impl Context {
    /// Returns a context for tests, with the log as its only observer.
    #[cfg(test)]
    pub(crate) fn new(
        config: ServerConfig,
        authenticator: Arc<dyn Authenticator>,
        admission: Arc<Admission>,
    ) -> Arc<Self> {
        Self::hooked(config, authenticator, None, admission, EmbedderHooks::default())
    }

    pub(crate) fn hooked(
        config: ServerConfig,
        authenticator: Arc<dyn Authenticator>,
        tls: Option<Arc<Acceptor>>,
        admission: Arc<Admission>,
        hooks: EmbedderHooks,
    ) -> Arc<Self> {
        let EmbedderHooks { observers, site, script, shared } = hooks;
        Arc::new(Self {
            passive_ports: PassivePorts::new(config.passive.ports.clone()),
            announcer: Announcer::new(&config),
            bans: Arc::new(Bans::new(&config, shared.clone())),
            watchdog: Arc::default(),
            buffers: buffers(&config),
            config,
            authenticator,
            tls,
            observers,
            site,
            script,
            shared,
            before_headers: admission.before_headers(),
            admission,
            user_sessions: Arc::default(),
            deflating: Arc::default(),
            digests: Shares::new(&table::DIGESTS, limits::HEAVY),
            searches: Shares::new(&table::SEARCHES, limits::HEAVY),
            reads: Arc::default(),
            sights: Arc::default(),
            processor: Debts::of_processors(),
            relay: Arc::default(),
            register: Arc::default(),
        })
    }

    /// Returns a context of the same server with other settings, users and certificates. Shared
    /// state carries over, unless the settings that it depends on have changed.
    pub(crate) fn with(
        &self,
        config: ServerConfig,
        authenticator: Arc<dyn Authenticator>,
        tls: Option<Arc<Acceptor>>,
    ) -> Arc<Self> {
        let former = &self.config;
        let announces_the_same = config.passive.address == former.passive.address
            && config.passive.overrides == former.passive.overrides;
        let has_the_same_ports = config.passive.ports == former.passive.ports;
        let bans = |config: &ServerConfig| {
            (config.logins.ban_after, config.logins.ban_window, config.logins.ban_for)
        };
        Arc::new(Self {
            // If the PASV addresses are unchanged, the last known address of each name stays in
            // use.
            announcer: match announces_the_same {
                true => Arc::clone(&self.announcer),
                false => Announcer::new(&config),
            },
            passive_ports: match has_the_same_ports {
                true => Arc::clone(&self.passive_ports),
                false => PassivePorts::new(config.passive.ports.clone()),
            },
            bans: match bans(&config) == bans(former) {
                true => Arc::clone(&self.bans),
                false => Arc::new(Bans::new(&config, self.shared.clone())),
            },
            buffers: match config.limits.buffers == former.limits.buffers {
                true => Arc::clone(&self.buffers),
                false => buffers(&config),
            },
            config,
            authenticator,
            tls,
            ..self.clone()
        })
    }

    /// Returns whether the server is shutting down. If so, sessions must end as soon as they can.
    pub(crate) fn is_draining(&self) -> bool {
        self.register.is_draining()
    }

    pub(crate) fn is_denied(&self, peer: IpAddr) -> bool {
        let ServerConfig { allow, deny, .. } = &self.config;
        socket::is_in(deny, peer) || !allow.is_empty() && !socket::is_in(allow, peer)
    }

    /// Returns the reason to refuse connections from `peer` (denied or banned), if there is one.
    pub(crate) fn objection(&self, peer: IpAddr) -> Option<Refusal> {
        if self.is_denied(peer) {
            return Some(Refusal::Denied);
        }
        self.bans.is_banned(peer, Instant::now()).then_some(Refusal::Banned)
    }
}

impl Current {
    pub(crate) fn new(context: Arc<Context>) -> Arc<Self> {
        Arc::new(Self(Lock::new(context)))
    }

    pub(crate) fn get(&self) -> Arc<Context> {
        let context = self.0.lock();
        Arc::clone(&context)
    }

    pub(crate) fn set(&self, context: Arc<Context>) {
        *self.0.lock() = context;
    }
}

fn buffers(config: &ServerConfig) -> Arc<Buffers> {
    let most = budget::memory_in_all().unwrap_or(u64::MAX) / 8;
    Arc::new(Buffers::new(config.limits.buffers.min(most)))
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("config", &self.get().config).finish_non_exhaustive()
    }
}

/// The files that users have read lately, by user and path. An upload that ends without success
/// removes its path. So the files are those that a user has read since.
#[derive(Debug, Default)]
pub(crate) struct Reads(Lock<[HashSet<UserAndPath>; 2]>);

/// The name of a user, which is empty for shared logins, and a path.
type UserAndPath = (Vec<u8>, VirtualPath);

impl Reads {
    fn key(user: Option<&[u8]>, path: &VirtualPath) -> UserAndPath {
        (user.unwrap_or_default().to_vec(), path.clone())
    }

    pub(crate) fn add(&self, user: Option<&[u8]>, path: &VirtualPath) {
        let mut reads = self.0.lock();
        let [newer, older] = &mut *reads;
        if newer.len() >= limits::READS {
            *older = std::mem::take(newer);
        }
        newer.insert(Self::key(user, path));
    }

    pub(crate) fn has(&self, user: Option<&[u8]>, path: &VirtualPath) -> bool {
        let key = Self::key(user, path);
        self.0.lock().iter().any(|reads| reads.contains(&key))
    }

    /// Forgets that a user has read a file, because an upload to it did not end with success.
    pub(crate) fn remove(&self, user: Option<&[u8]>, path: &VirtualPath) {
        let key = Self::key(user, path);
        for reads in &mut *self.0.lock() {
            reads.remove(&key);
        }
    }
}

/// When this process first saw the records of unfinished uploads to which users append, with their
/// numbers. Wall clocks are set, also by hours.
#[derive(Debug, Default)]
pub(crate) struct FirstSights(Lock<[HashMap<UserAndPath, (u64, Instant)>; 2]>);

impl FirstSights {
    /// Returns how long ago the record with this number was first seen; zero the first time.
    pub(crate) fn age(&self, user: Option<&[u8]>, path: &VirtualPath, number: u64) -> Duration {
        let key = Reads::key(user, path);
        let mut all = self.0.lock();
        if let Some((_, seen)) =
            all.iter().find_map(|seen| seen.get(&key)).filter(|(seen, _)| *seen == number)
        {
            return seen.elapsed();
        }
        let [newer, older] = &mut *all;
        if newer.len() >= limits::READS {
            *older = std::mem::take(newer);
        }
        newer.insert(key, (number, Instant::now()));
        Duration::ZERO
    }

    /// Forgets the record of a path, because an upload there begins: it leaves another one if it is
    /// cut, perhaps with the same number.
    pub(crate) fn remove(&self, user: Option<&[u8]>, path: &VirtualPath) {
        let key = Reads::key(user, path);
        for seen in &mut *self.0.lock() {
            seen.remove(&key);
        }
    }

    /// Pretends that all were seen earlier. Returns `false` if the system runs for a shorter time.
    #[cfg(test)]
    pub(crate) fn seem_older(&self, age: Duration) -> bool {
        let mut all = self.0.lock();
        let mut seen = all.iter_mut().flat_map(HashMap::values_mut);
        seen.all(|(_, seen)| seen.checked_sub(age).map(|earlier| *seen = earlier).is_some())
    }
}

/// A logged-in user's `SITE` command that the server does not handle itself.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct SiteRequest<'a> {
    /// The word after `SITE`, byte for byte. By convention, its case does not matter.
    pub word: &'a [u8],
    /// The text after the word and a space, byte for byte; may be empty.
    pub argument: &'a [u8],
    /// The argument of `USER`, byte for byte.
    pub user: &'a [u8],
    /// Rights of the user, except in [`Login::directories`](crate::Login::directories). The server
    /// has not checked any right for this command.
    pub rights: Rights,
    /// The client's address on the control connection.
    pub peer: SocketAddr,
}

impl std::fmt::Debug for SiteRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The argument is not shown, because it may be a password, as in `SITE PSWD`.
        write!(
            f,
            "SiteRequest({} of {} from {})",
            Escaped(self.word),
            Escaped(self.user),
            self.peer
        )
    }
}

pub(crate) type SiteCommands = dyn Fn(&SiteRequest<'_>) -> Option<Reply> + Send + Sync;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_that_begins_ends_the_sight_of_the_record_before() {
        const HOUR: Duration = Duration::from_hours(1);
        let (sights, user, path) = (FirstSights::default(), Some(&b"u"[..]), "/f".into());
        assert_eq!(sights.age(user, &path, 0), Duration::ZERO);
        if !sights.seem_older(HOUR) {
            return println!("skipped: the system runs for less than an hour");
        }
        assert!(sights.age(user, &path, 0) >= HOUR);
        // A storage that a reload has opened counts from zero again.
        sights.remove(user, &path);
        assert_eq!(sights.age(user, &path, 0), Duration::ZERO);
        assert_eq!(sights.age(user, &path, 1), Duration::ZERO);
    }
}
