//! Logins: users, rights and limits.

mod password;
mod rights;
mod slots;
mod table;
mod user_sessions;

pub use password::{PasswordHash, PasswordHashError};
pub use rights::{Rights, UnknownRight};
pub use table::UserTable;
pub(crate) use user_sessions::{UserSession, UserSessions};

use std::fmt;
use std::net::SocketAddr;
use std::ops::BitOr;
use std::sync::Arc;
use std::time::Instant;

use ftp_proto::HostName;

use crate::storage::{Capabilities, Storage};
use crate::tls::{TlsInfo, TlsPolicy};

/// The data by which an [`Authenticator`] decides a login.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct LoginAttempt<'a> {
    /// The argument of `USER`, byte for byte.
    pub user: &'a [u8],
    /// The argument of `PASS`, byte for byte; may be empty.
    pub password: &'a [u8],
    /// The argument of `ACCT`, byte for byte, once [`AuthError::NeedAccount`] has asked for it.
    pub account: Option<&'a [u8]>,
    /// The virtual host that `HOST` has chosen (RFC 7151).
    pub host: Option<&'a HostName>,
    /// The client's end of the control connection.
    pub peer: SocketAddr,
    /// How TLS protects the control connection; `None` in plaintext.
    pub tls: Option<TlsInfo>,
    /// When the session ends without a login; a later decision is useless.
    pub deadline: Instant,
}

impl fmt::Debug for LoginAttempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = ftp_proto::Escaped(self.user);
        write!(f, "LoginAttempt({user} from {}, password ****)", self.peer)
    }
}

/// An accepted login: the storage, and what the user may do there.
#[derive(Clone)]
#[non_exhaustive]
pub struct Login {
    /// The files below the user's `/`.
    pub storage: Arc<dyn Storage>,
    /// What the user may do.
    pub rights: Rights,
    /// Whether `MKD` of an existing directory succeeds (default: `false`). Some devices make the
    /// same directory before each upload and stop if that is refused.
    pub mkdir_existing_ok: bool,
    /// Whether `STOR` makes missing parent directories (default: `false`). The user needs the right
    /// [`MKDIR`](Rights::MKDIR) too.
    pub mkdir_parents: bool,
    /// Whether several people share this login; they do not see or resume each other's partial
    /// uploads. The default is `true` for users who have only the rights of a
    /// [`DROP_BOX`](Rights::DROP_BOX).
    pub is_shared: bool,
    /// The name by which the user's sessions are counted, if it is not the argument of `USER`. Set
    /// it if a user has several names, or may write the name in upper or lower case.
    pub name: Option<Vec<u8>>,
    /// Limits of this user: sessions and rates.
    pub limits: UserLimits,
    /// TLS for the user's control and data connections, in addition to the server's policy. With
    /// `Required`, a plaintext login with the right password fails with 534, and a plaintext
    /// transfer with 521. With `Off`, a login or transfer under TLS fails with 534.
    pub tls: TlsPolicy,
}

/// Limits of one user that replace those of the server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct UserLimits {
    /// Maximum sessions at a time (0: unlimited). `None`: [`per_user`](crate::Limits::per_user).
    pub sessions: Option<usize>,
    /// Bytes per second of each session (0: unlimited). `None`:
    /// [`rate_per_session`](crate::Limits::rate_per_session).
    pub rate_per_session: Option<u64>,
    /// Bytes per second of all sessions of the user together (0: unlimited). The first session's
    /// value holds until the last session has ended. `None`:
    /// [`rate_per_user`](crate::Limits::rate_per_user).
    pub rate_per_user: Option<u64>,
}

impl UserLimits {
    /// Limits the sessions of the user (0: unlimited).
    #[must_use]
    pub const fn sessions(self, sessions: usize) -> Self {
        Self { sessions: Some(sessions), ..self }
    }

    /// Limits each session to N bytes per second (0: unlimited).
    #[must_use]
    pub const fn rate_per_session(self, bytes: u64) -> Self {
        Self { rate_per_session: Some(bytes), ..self }
    }

    /// Limits all sessions of the user together to N bytes per second (0: unlimited).
    #[must_use]
    pub const fn rate_per_user(self, bytes: u64) -> Self {
        Self { rate_per_user: Some(bytes), ..self }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rights, mkdir_existing_ok, mkdir_parents, is_shared, name, limits, tls, .. } =
            self;
        let mut shown = f.debug_struct("Login");
        shown.field("rights", rights).field("mkdir_existing_ok", mkdir_existing_ok);
        shown.field("mkdir_parents", mkdir_parents).field("is_shared", is_shared);
        let name = name.as_deref().map(ftp_proto::Escaped);
        shown.field("name", &name).field("limits", limits).field("tls", tls).finish_non_exhaustive()
    }
}

impl Login {
    /// Returns a login with these rights to this storage, and defaults otherwise.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, rights: Rights) -> Self {
        Self {
            storage,
            rights,
            mkdir_existing_ok: false,
            mkdir_parents: false,
            is_shared: rights.is_drop_box(),
            name: None,
            limits: UserLimits::default(),
            tls: TlsPolicy::default(),
        }
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

    /// Sets whether `STOR` makes missing parent directories.
    #[must_use]
    pub fn mkdir_parents(self, mkdir_parents: bool) -> Self {
        Self { mkdir_parents, ..self }
    }

    /// Sets whether several people share this login.
    #[must_use]
    pub fn shared(self, is_shared: bool) -> Self {
        Self { is_shared, ..self }
    }

    /// Sets the name by which the user's sessions are counted.
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

/// The most that any user gets; `FEAT` is built from it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Offer {
    /// Rights that some user has.
    pub rights: Rights,
    /// Features that some storage has.
    pub capabilities: Capabilities,
}

impl Offer {
    /// Returns an offer of these rights on storages with these capabilities.
    #[must_use]
    pub const fn new(rights: Rights, capabilities: Capabilities) -> Self {
        Self { rights, capabilities }
    }

    /// All rights and capabilities.
    pub const ALL: Self = Self { rights: Rights::FULL, capabilities: Capabilities::ALL };
}

impl From<&Login> for Offer {
    fn from(login: &Login) -> Self {
        Self { rights: login.rights, capabilities: login.storage.capabilities() }
    }
}

impl BitOr for Offer {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        let capabilities = self.capabilities | other.capabilities;
        Self { rights: self.rights | other.rights, capabilities }
    }
}

/// Reason why a login was refused; it determines the reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Unknown user, or wrong password: 530. The client does not learn which.
    #[error("login incorrect")]
    Refused,
    /// The user's directory cannot be opened: 530, and an error in the log.
    #[error("home directory not available")]
    NoHome,
    /// The user needs an account: 332. After `ACCT` the login is tried again with the account; the
    /// same error is then a refusal.
    #[error("account needed")]
    NeedAccount,
    /// The decision is impossible at the moment: 451.
    #[error("user database not available")]
    Unavailable,
}

/// Decides who may log in.
///
/// The session's thread calls it, so it may block. A client without a decision by
/// [`LoginAttempt::deadline`] gets 421, but the thread keeps its place among the sessions until the
/// call returns. The server delays each refusal, longer for each further one of the same
/// connection. The delay counts from the command, so the time of a call reveals nothing unless it
/// exceeds the delay.
pub trait Authenticator: Send + Sync {
    /// Accepts or refuses a login.
    ///
    /// # Errors
    ///
    /// Returns the [`AuthError`] whose reply the client gets.
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError>;

    /// Returns the most that any user gets. `FEAT` shows it before login (default: everything).
    fn offer(&self) -> Offer {
        Offer::ALL
    }
}

/// Forwards to the authenticator inside, so that the caller can keep a handle.
impl<T: Authenticator + ?Sized> Authenticator for Arc<T> {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        (**self).login(attempt)
    }

    fn offer(&self) -> Offer {
        (**self).offer()
    }
}

/// Compares a password in a time that depends only on the length of `offered`.
fn equal_in_constant_time(password: &[u8], offered: &[u8]) -> bool {
    let padded = password.iter().copied().chain(std::iter::repeat(0));
    let difference = offered
        .iter()
        .zip(padded)
        .fold(0, |sum, (left, right)| std::hint::black_box(sum | (left ^ right)));
    difference == 0 && password.len() == offered.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let peer = ([127, 0, 0, 1], 1).into();
        let attempt = LoginAttempt {
            user: b"me",
            password: b"secret",
            account: None,
            host: None,
            peer,
            tls: None,
            deadline: Instant::now(),
        };
        assert!(!format!("{attempt:?}").contains("secret"));
    }
}
