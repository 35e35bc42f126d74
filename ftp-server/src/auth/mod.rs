//! Logins: users, rights and limits.

mod password;
mod rights;
mod table;

pub use password::{PasswordHash, PasswordHashError};
pub(crate) use rights::{DirectoryRights, all_rights, holds_rules, rights_at, rule_for};
pub use rights::{Rights, UnknownRight};
pub use table::UserTable;
pub(crate) use table::is_anonymous_name;
#[cfg(feature = "daemon")]
pub(crate) use table::{ANONYMOUS, Accounts, Secret};

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use ftp_proto::{HostName, Network, RepresentationType};

use crate::config::NamePattern;
use crate::deadline::Rate;
use crate::lock::Lock;
use crate::net::socket;
use crate::shares::{Share, Shares, table as kinds};
use crate::storage::{Capabilities, Storage, VirtualPath};
use crate::tls::{TlsInfo, TlsPolicy};
use crate::{budget, deadline, limits};

/// The data from which an [`Authenticator`] decides about a login.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct LoginAttempt<'a> {
    /// The argument of `USER`, byte for byte.
    pub user: &'a [u8],
    /// The argument of `PASS`, byte for byte; may be empty. With
    /// [`dash_password`](crate::ServerConfig::dash_password), a leading `-` is removed.
    pub password: &'a [u8],
    /// The argument of `ACCT`, byte for byte, once [`AuthError::NeedAccount`] has asked for it.
    pub account: Option<&'a [u8]>,
    /// The virtual host that the client chose with `HOST` (RFC 7151), or the TLS server name if it
    /// is one of [`ServerConfig::hosts`](crate::ServerConfig::hosts); `None` without either.
    pub host: Option<&'a HostName>,
    /// The client's address on the control connection.
    pub peer: SocketAddr,
    /// How TLS protects the control connection; `None` in plaintext.
    pub tls: Option<TlsInfo>,
    /// The time at which the session ends without a login; a later decision is useless.
    pub deadline: Instant,
    /// The check whether a decision is useless; `None` if the server cannot tell.
    pub(crate) is_client_gone: Option<&'a IsClientGone>,
}

pub(crate) type IsClientGone = dyn Fn() -> bool + Send + Sync;

impl LoginAttempt<'_> {
    /// Returns whether a decision is useless, because the client has closed its connection or the
    /// server ends the session, for example at a shutdown. Returns `false` if the server cannot tell
    /// whether the client has gone, for example because unread commands remain. An authenticator that
    /// waits for another program should call this method from time to time: it makes at most two
    /// system calls.
    #[must_use]
    pub fn is_client_gone(&self) -> bool {
        self.is_client_gone.is_some_and(|is_gone| is_gone())
    }

    /// Runs `work`, such as another program that checks the password, when it is the turn of the
    /// client. At most `at_once` such calls work at a time in this process (at least one). Networks
    /// take turns, so a client that guesses passwords from many addresses does not delay the
    /// others.
    ///
    /// Returns `None` without running `work` if the client gets no turn before the
    /// [`deadline`](Self::deadline), or if it [has gone](Self::is_client_gone).
    pub fn in_turn<T>(&self, at_once: usize, work: impl FnOnce() -> T) -> Option<T> {
        PROGRAMS.set_total(at_once.max(1) as u64);
        let mut share = PROGRAMS.claim(self.peer.ip(), 1);
        self.wait_for(&mut share).then(work)
    }

    /// Waits for the turn of a claim. Returns `false` if it does not come before the deadline, or if
    /// a decision is useless.
    fn wait_for(&self, share: &mut Share) -> bool {
        loop {
            let until = self.deadline.min(deadline::after(Instant::now(), limits::TICK));
            if share.wait(until) {
                return true;
            }
            if until == self.deadline || self.is_client_gone() {
                return false;
            }
        }
    }
}

impl fmt::Debug for LoginAttempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = ftp_proto::Escaped(self.user);
        write!(f, "LoginAttempt({user} from {}, password ****)", self.peer)
    }
}

/// An accepted login: the storage, rights, limits and settings of the user.
#[derive(Clone)]
#[non_exhaustive]
pub struct Login {
    /// The files below the user's `/`.
    pub storage: Arc<dyn Storage>,
    /// Rights of the user, except in [`directories`](Self::directories).
    pub rights: Rights,
    /// Separate rights for certain directories and everything below them; the longest matching path
    /// wins (default: empty). With [`Rights::NONE`] even `CWD` fails. For [`FXP`](Rights::FXP),
    /// only [`rights`](Self::rights) counts.
    ///
    /// These directories, and those that contain them, cannot be renamed or removed. A rename into,
    /// out of or between these directories needs `RENAME` for both names, `DELETE` for the old
    /// name, and `CREATE` for the new one. If a directory is renamed, the new name also needs
    /// `MKDIR`. If the new name has `LIST` or `RETRIEVE`, the old name needs that right too.
    ///
    /// The rights depend on the path that the client names. If a symbolic link elsewhere leads into
    /// the directory, the rights of the link's own location apply to paths through the link.
    pub directories: Vec<(VirtualPath, Rights)>,
    pub(crate) hide_names: Arc<Vec<NamePattern>>,
    /// Whether `MKD` of an existing directory succeeds (default: `false`). Some devices create the
    /// same directory before each upload, and stop if the server refuses.
    pub mkdir_existing_ok: bool,
    /// Whether `STOR` and `APPE` create missing parent directories, except after a `REST` offset
    /// (default: `false`). The user needs the right [`MKDIR`](Rights::MKDIR) too.
    pub mkdir_parents: bool,
    /// Whether several users share this login (default: `false`). If so, the server keeps no
    /// partial uploads, and interrupted uploads cannot be resumed. The same applies to every login
    /// in directories where the user can neither replace files nor append, such as a
    /// [`DROP_BOX`](Rights::DROP_BOX).
    pub is_shared: bool,
    /// The name under which the server counts the user's sessions and keeps the user's partial
    /// uploads. `None`: the argument of `USER`. Set it if the user can log in under several names,
    /// or in upper and lower case.
    pub name: Option<Vec<u8>>,
    /// Limits on the user's sessions, rates and file sizes.
    pub limits: UserLimits,
    /// Whether the user may log in (default: `true`). See [`objection`](Self::objection).
    pub enabled: bool,
    /// The first moment at which the user may no longer log in (default: `None`, never). Sessions
    /// that are logged in continue. See [`objection`](Self::objection).
    pub expires: Option<SystemTime>,
    /// Networks that the user may log in from (default: empty, any). See
    /// [`objection`](Self::objection).
    pub networks: Vec<Network>,
    /// Idle timeout of the user's sessions. `None`: [`Timeouts::idle`](crate::Timeouts::idle).
    pub idle: Option<Duration>,
    /// Whether `STOR` and `RNTO` may replace a file, and whether `STOR` and `APPE` may replace the
    /// end of a file after a `REST` offset. `None`:
    /// [`ServerConfig::overwrite`](crate::ServerConfig::overwrite).
    pub overwrite: Option<bool>,
    /// The representation type of a session before its first `TYPE` (default: ASCII, as in RFC
    /// 959). Some devices send pictures without `TYPE`; type ASCII would change them.
    pub representation: RepresentationType,
    /// TLS policy of the user's control and data connections; the server's policy applies too. With
    /// `Required`, a plaintext login with the right password fails with 534, and a plaintext
    /// transfer with 521. With `Off`, a login under TLS fails with 534.
    pub tls: TlsPolicy,
    /// The function that returns the path on disk of a file, for
    /// [`Event::local_path`](crate::Event::local_path) (default: `None`). The path may be outdated:
    /// a parent directory may have been renamed since the login.
    pub local_paths: Option<Arc<LocalPaths>>,
}

/// A function that returns the path on disk of a file; `None` for an object of a store.
pub(crate) type LocalPaths = dyn Fn(&VirtualPath) -> Option<PathBuf> + Send + Sync;

/// Limits of one user. A limit that is not `None` replaces the server's limit of the same kind.
///
/// ```
/// use ftp_server::UserLimits;
///
/// // At most 2 sessions, uploads of 1 MiB/s each, and files of 1 GiB.
/// let limits = UserLimits::new().sessions(2).rate_up(1 << 20).file_size(1 << 30);
/// assert_eq!(limits.rate_down, 0);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UserLimits {
    /// Maximum sessions at a time (0: unlimited). `None`: [`per_user`](crate::Limits::per_user).
    pub sessions: Option<usize>,
    /// Bytes per second of each session, both directions together (0: unlimited). `None`:
    /// [`rate_per_session`](crate::Limits::rate_per_session).
    pub rate_per_session: Option<u64>,
    /// Bytes per second of all sessions of the user together (0: unlimited). The value of the
    /// user's first session applies until the user's last session has ended. `None`:
    /// [`rate_per_user`](crate::Limits::rate_per_user).
    pub rate_per_user: Option<u64>,
    /// Bytes per second that each session may upload (default: 0, unlimited). `rate_per_session`
    /// and `rate_per_user` apply too.
    pub rate_up: u64,
    /// Bytes per second of files and listings that each session may download (default: 0,
    /// unlimited). `rate_per_session` and `rate_per_user` apply too.
    pub rate_down: u64,
    /// Maximum size of a file that the user stores, in bytes, including the old content that `APPE`
    /// or `REST` keeps (default: 0, unlimited). `ALLO` with a larger size fails with 552. An upload
    /// that exceeds the limit fails with 552, and the old file stays.
    pub file_size: u64,
}

ftp_proto::settings! {
    UserLimits {
        sessions: impl Into<Option<usize>> = None,
        rate_per_session: impl Into<Option<u64>> = None,
        rate_per_user: impl Into<Option<u64>> = None,
        rate_up: u64 = 0,
        rate_down: u64 = 0,
        file_size: u64 = 0,
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Login");
        shown.field("rights", &self.rights).field("directories", &self.directories);
        shown.field("mkdir_existing_ok", &self.mkdir_existing_ok);
        shown.field("mkdir_parents", &self.mkdir_parents).field("is_shared", &self.is_shared);
        let name = self.name.as_deref().map(ftp_proto::Escaped);
        shown.field("name", &name).field("limits", &self.limits).field("tls", &self.tls);
        shown.field("enabled", &self.enabled).field("expires", &self.expires);
        shown.field("networks", &self.networks).field("idle", &self.idle);
        shown.field("overwrite", &self.overwrite).field("representation", &self.representation);
        shown.finish_non_exhaustive()
    }
}

impl Login {
    /// Returns a login with these rights to this storage, and default settings otherwise.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, rights: Rights) -> Self {
        Self {
            storage,
            rights,
            directories: Vec::new(),
            hide_names: Arc::default(),
            mkdir_existing_ok: false,
            mkdir_parents: false,
            is_shared: false,
            name: None,
            limits: UserLimits::default(),
            tls: TlsPolicy::default(),
            enabled: true,
            expires: None,
            networks: Vec::new(),
            idle: None,
            overwrite: None,
            representation: RepresentationType::default(),
            local_paths: None,
        }
    }

    /// Returns the reason to refuse a login of this user from `peer` at the time `now`, even with
    /// the right password. A user can be disabled, expired, or limited to other networks. Returns
    /// `None` if there is no reason.
    ///
    /// The server calls this method after the [`Authenticator`] has accepted the login. To the
    /// client, the refusal looks like that of a wrong password: it has the same reply and delay,
    /// and counts as a failed login. Only the log shows the difference.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::{Duration, SystemTime};
    ///
    /// use ftp_proto::Network;
    /// use ftp_server::{AuthError, Login, MemoryStorage, Rights};
    ///
    /// let now = SystemTime::now();
    /// let guest = Login::new(Arc::new(MemoryStorage::new()), Rights::READ)
    ///     .expires(now + Duration::from_secs(3600))
    ///     .networks([Network::parse(b"192.0.2.0/24")?]);
    /// let inside = [192, 0, 2, 7].into();
    /// let later = now + Duration::from_secs(3600);
    /// assert_eq!(guest.objection(inside, now), None);
    /// assert_eq!(guest.objection(inside, later), Some(AuthError::Expired));
    /// assert_eq!(guest.objection([10, 0, 0, 1].into(), now), Some(AuthError::Network));
    /// # Ok::<(), ftp_proto::ParseError>(())
    /// ```
    #[must_use]
    pub fn objection(&self, peer: IpAddr, now: SystemTime) -> Option<AuthError> {
        if !self.enabled {
            return Some(AuthError::Disabled);
        }
        if self.expires.is_some_and(|expires| now >= expires) {
            return Some(AuthError::Expired);
        }
        let is_inside = self.networks.is_empty() || socket::is_in(&self.networks, peer);
        (!is_inside).then_some(AuthError::Network)
    }

    /// Returns the rights of the user, in any directory, and the abilities of the storage.
    #[must_use]
    pub fn offer(&self) -> (Rights, Capabilities) {
        (all_rights(self.rights, &self.directories), self.storage.capabilities())
    }

    /// Sets whether the user may log in.
    #[must_use]
    pub fn enabled(self, enabled: bool) -> Self {
        Self { enabled, ..self }
    }

    /// Sets the first moment at which the user may no longer log in.
    #[must_use]
    pub fn expires(self, expires: SystemTime) -> Self {
        Self { expires: Some(expires), ..self }
    }

    /// Sets the networks that the user may log in from.
    #[must_use]
    pub fn networks(self, networks: impl Into<Vec<Network>>) -> Self {
        Self { networks: networks.into(), ..self }
    }

    /// Sets the idle timeout of the user's sessions.
    #[must_use]
    pub fn idle(self, idle: Duration) -> Self {
        Self { idle: Some(idle), ..self }
    }

    /// Sets whether `STOR` and `RNTO` may replace a file, and whether `STOR` and `APPE` may replace
    /// the end of a file after a `REST` offset.
    #[must_use]
    pub fn overwrite(self, overwrite: bool) -> Self {
        Self { overwrite: Some(overwrite), ..self }
    }

    /// Sets the representation type of a session before its first `TYPE`.
    #[must_use]
    pub fn representation(self, representation: RepresentationType) -> Self {
        Self { representation, ..self }
    }

    /// Sets separate rights for a directory and everything below it.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ftp_server::{Login, MemoryStorage, Rights};
    ///
    /// // Clients can upload new files to `/incoming`, and can read the files elsewhere.
    /// let login = Login::new(Arc::new(MemoryStorage::new()), Rights::READ)
    ///     .directory("/incoming", Rights::DROP_BOX);
    /// assert_eq!(login.directories.len(), 1);
    /// ```
    #[must_use]
    pub fn directory(mut self, path: impl Into<VirtualPath>, rights: Rights) -> Self {
        self.directories.push((path.into(), rights));
        self
    }

    /// Sets the TLS policy of the user.
    #[must_use]
    pub fn tls(self, tls: TlsPolicy) -> Self {
        Self { tls, ..self }
    }

    /// Sets whether `MKD` of an existing directory succeeds.
    #[must_use]
    pub fn mkdir_existing_ok(self, mkdir_existing_ok: bool) -> Self {
        Self { mkdir_existing_ok, ..self }
    }

    /// Sets whether `STOR` and `APPE` create missing parent directories.
    #[must_use]
    pub fn mkdir_parents(self, mkdir_parents: bool) -> Self {
        Self { mkdir_parents, ..self }
    }

    /// Sets whether several users share this login.
    #[must_use]
    pub fn shared(self, is_shared: bool) -> Self {
        Self { is_shared, ..self }
    }

    /// Sets the name under which the server counts the user's sessions and keeps the user's partial
    /// uploads.
    #[must_use]
    pub fn name(self, name: impl Into<Vec<u8>>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Sets the limits of the user.
    #[must_use]
    pub fn limits(self, limits: UserLimits) -> Self {
        Self { limits, ..self }
    }
}

/// Reason why a login was not accepted; it determines the reply. Once a connection has had
/// [`LoginPolicy::failures`](crate::LoginPolicy::failures) failed logins, the reply is 421 instead
/// of 530. Logs contain the word in parentheses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Unknown user, wrong password or wrong account (`credentials`): 530. The client does not learn
    /// which of them.
    #[error("login incorrect")]
    Refused,
    /// A name of anonymous logins, `anonymous` or `ftp`, while they are off and no user has this name
    /// (`anonymous`). The reply is that of [`Refused`](Self::Refused). The attempt guesses no password, so
    /// it does not count towards a [ban](crate::LoginPolicy::ban_after).
    #[error("anonymous logins are off")]
    NoAnonymous,
    /// The user may not log in at this virtual host (`host`). The reply is that of
    /// [`Refused`](Self::Refused); only the log shows the difference.
    #[error("not a user of this virtual host")]
    OtherHost,
    /// The user's directory cannot be opened (`no-home`): 530. The failure does not count towards a
    /// [ban](crate::LoginPolicy::ban_after).
    #[error("home directory not available")]
    NoHome,
    /// The user needs an account: 332. After `ACCT`, the server calls the authenticator again with
    /// the account. If that call returns this error too, the reply is that of
    /// [`Refused`](Self::Refused).
    #[error("account needed")]
    NeedAccount,
    /// The user has too many sessions, or has tried too often (`too-many`): 421, and the connection
    /// closes. The attempt does not count as a failed login.
    #[error("too many sessions or attempts")]
    TooMany,
    /// The login cannot be checked at the moment, or the server could not count the user's sessions
    /// on other servers (`unavailable`): 451, after
    /// [`LoginPolicy::delay`](crate::LoginPolicy::delay). The attempt does not count as a failed
    /// login.
    #[error("user database not available")]
    Unavailable,
    /// The client has shown no certificate of this user (`certificate`), which
    /// [`Tls::cert_user`](crate::Tls::cert_user) requires. This and the next reasons are those of
    /// the server; from an [`Authenticator`], their reply is that of [`Refused`](Self::Refused).
    #[error("no certificate of this user")]
    Certificate,
    /// The user may log in only under TLS, or only in plaintext ([`Login::tls`]) (`protection`).
    #[error("not with this protection")]
    Protection,
    /// Too many logins failed from this host (`banned`).
    #[error("too many failed logins")]
    Banned,
    /// The password was right, but the user is disabled ([`Login::enabled`]) (`disabled`).
    #[error("user disabled")]
    Disabled,
    /// The password was right, but the user has expired ([`Login::expires`]) (`expired`).
    #[error("user expired")]
    Expired,
    /// The password was right, but the user may not log in from this address
    /// ([`Login::networks`]) (`network`).
    #[error("not from this address")]
    Network,
}

impl AuthError {
    /// Returns the word that logs contain.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused | Self::NeedAccount => "credentials",
            Self::NoAnonymous => "anonymous",
            Self::OtherHost => "host",
            Self::NoHome => "no-home",
            Self::TooMany => "too-many",
            Self::Unavailable => "unavailable",
            Self::Certificate => "certificate",
            Self::Protection => "protection",
            Self::Banned => "banned",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Network => "network",
        }
    }
}

/// The authority that decides who may log in.
///
/// The session's thread calls [`login`](Self::login), which may block. If there is no decision by
/// [`LoginAttempt::deadline`], the client gets 421, but the session counts towards the session
/// limits until the call returns. The server delays each refusal by
/// [`LoginPolicy::delay`](crate::LoginPolicy::delay) or a multiple of it. The delay starts when the
/// command arrives, so the duration of a call reveals nothing unless it exceeds the delay.
pub trait Authenticator: Send + Sync {
    /// Accepts or refuses a login.
    ///
    /// # Errors
    ///
    /// Returns an [`AuthError`] if the login is refused or needs an account. The error determines
    /// the reply.
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError>;

    /// Returns the rights that at least one user has, and the abilities that at least one storage
    /// has (default: all rights except [`FXP`](Rights::FXP), and all abilities). Before login, they
    /// determine the replies to `FEAT` and `HELP`. See [`Login::offer`].
    fn offer(&self) -> (Rights, Capabilities) {
        (Rights::FULL, Capabilities::ALL)
    }
}

/// Forwards to the inner authenticator, so the caller can keep a handle to it.
impl<T: Authenticator + ?Sized> Authenticator for Arc<T> {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        (**self).login(attempt)
    }

    fn offer(&self) -> (Rights, Capabilities) {
        (**self).offer()
    }
}

/// Returns whether two passwords or hashes are equal. The time depends only on the length of
/// `offered`.
fn equal_in_constant_time(password: &[u8], offered: &[u8]) -> bool {
    let padded = password.iter().copied().chain(std::iter::repeat(0));
    let difference = offered
        .iter()
        .zip(padded)
        .fold(0, |sum, (left, right)| std::hint::black_box(sum | (left ^ right)));
    difference == 0 && password.len() == offered.len()
}

/// The slots of this process, shared by all its servers. A hash occupies a processor and up to 256 MiB
/// of memory for a moment, and any client can make the server compute one.
static SLOTS: LazyLock<Slots> = LazyLock::new(|| {
    Slots::new(budget::processors().min(limits::HASHES), budget::memory_in_all().unwrap_or(0) / 16)
});

/// The turns of the programs that authenticators of this process start; each occupies a process.
static PROGRAMS: LazyLock<Arc<Shares>> = LazyLock::new(|| Shares::new(&kinds::PROGRAMS, 1));

/// The slots for a limited number of hashes at a time, which use a limited memory together.
#[derive(Debug)]
struct Slots {
    /// The memory, in bytes.
    shares: Arc<Shares>,
    /// The least that a hash claims, so that their number is limited too.
    least: u64,
}

impl Slots {
    /// Returns slots for at most `most` hashes at a time, which use at most `memory` bytes.
    fn new(most: usize, memory: u64) -> Self {
        let most = u64::try_from(most).unwrap_or(u64::MAX).max(1);
        let least = memory.checked_div(most).unwrap_or_default().max(1);
        Self { shares: Shares::new(&kinds::HASHES, least.saturating_mul(most)), least }
    }

    /// Runs `work` in a slot with `memory` bytes, when it is the turn of the client of `attempt`.
    ///
    /// Returns `None` without running `work` if the client gets no slot by the deadline, or if it has
    /// gone. Work that needs more memory than the limit of all slots runs alone.
    fn run<T>(
        &self,
        attempt: &LoginAttempt<'_>,
        memory: u64,
        work: impl FnOnce() -> T,
    ) -> Option<T> {
        let mut share = self.shares.claim(attempt.peer.ip(), memory.max(self.least));
        attempt.wait_for(&mut share).then(work)
    }
}

/// The sessions of each user. All are counted, since a limit may be set while they last.
#[derive(Debug, Default)]
pub(crate) struct UserSessions {
    users: Lock<HashMap<Vec<u8>, Common>>,
}

#[derive(Debug, Default)]
struct Common {
    sessions: usize,
    rate: Option<Arc<Rate>>,
}

/// One counted session of a user; dropping it removes the session from the count.
#[derive(Debug)]
pub(crate) struct UserSession {
    registry: Arc<UserSessions>,
    user: Vec<u8>,
    rate: Option<Arc<Rate>>,
}

impl UserSessions {
    /// Counts one more session, or returns `None` if the user already has `limit` sessions (0:
    /// unlimited). `bytes_per_second` (0: unlimited) is the rate of all sessions of the user
    /// together. If the user's limit has changed since the last login, sessions from now on share
    /// the new limit, and earlier ones keep theirs. Names are compared byte for byte: the
    /// authenticator decides which names mean the same user.
    pub(crate) fn enter(
        self: &Arc<Self>,
        user: &[u8],
        limit: usize,
        bytes_per_second: u64,
    ) -> Option<UserSession> {
        let user = user.to_vec();
        let mut users = self.users.lock();
        let common = users.entry(user.clone()).or_default();
        if limit > 0 && common.sessions >= limit {
            return None;
        }
        common.sessions += 1;
        if common.rate.as_ref().map_or(0, |rate| rate.per_second()) != bytes_per_second {
            common.rate = Rate::new(bytes_per_second);
        }
        let rate = common.rate.clone();
        drop(users);
        Some(UserSession { registry: Arc::clone(self), user, rate })
    }
}

impl UserSession {
    /// Returns the rate that this session shares with the other sessions of its user.
    pub(crate) fn rate(&self) -> Option<Arc<Rate>> {
        self.rate.clone()
    }
}

impl Drop for UserSession {
    fn drop(&mut self) {
        let mut users = self.registry.users.lock();
        if let Some(common) = users.get_mut(&self.user) {
            common.sessions -= 1;
            if common.sessions == 0 {
                users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests;
