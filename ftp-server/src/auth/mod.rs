//! Who may log in, where to, and what for.

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

/// What is known when a login is to be decided.
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
    /// Where the control connection comes from.
    pub peer: SocketAddr,
    /// How the control connection is protected, if it is.
    pub tls: Option<TlsInfo>,
    /// When the session ends without a login: there is no use in taking longer.
    pub deadline: Instant,
}

impl fmt::Debug for LoginAttempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = ftp_proto::Escaped(self.user);
        write!(f, "LoginAttempt({user} from {}, password ****)", self.peer)
    }
}

/// A login that was accepted: what the session works on, and what it may do there.
#[derive(Clone)]
#[non_exhaustive]
pub struct Login {
    /// What is behind `/` for this user.
    pub storage: Arc<dyn Storage>,
    /// What the user may do.
    pub rights: Rights,
    /// Whether MKD of a directory that is there already is answered as if it had been made. Some
    /// devices make the same directory before each upload, and stop at a refusal.
    pub mkdir_existing_ok: bool,
    /// Whether `STOR` makes the directories above a file that are missing, for users who may make
    /// directories.
    pub mkdir_parents: bool,
    /// Whether several people log in so, who are not to meet what others of them left unfinished.
    /// Whoever has no rights but those of a [`DROP_BOX`](Rights::DROP_BOX) is taken for several.
    pub is_shared: bool,
    /// Whose login it is, where that is not the very argument of `USER`, as when a user has several
    /// names or letters in any case: the sessions of a user are counted by it.
    pub name: Option<Vec<u8>>,
    /// How many sessions the user may have, and how fast.
    pub limits: UserLimits,
    /// Whether the user's connections, for control and data, are protected by TLS, beyond what the
    /// server asks for: `Required` refuses a login in clear with 534 once the password was right, and
    /// data in clear with 521; `Off` a login and data under TLS, with 534.
    pub tls: TlsPolicy,
}

/// What one user may have, where that is not what the settings of the server give to all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct UserLimits {
    /// How many sessions at a time; 0 is any number. `None`:
    /// [`per_user`](crate::Limits::per_user).
    pub sessions: Option<usize>,
    /// How many bytes a session moves in a second; 0 is any number. `None`:
    /// [`rate_per_session`](crate::Limits::rate_per_session).
    pub rate_per_session: Option<u64>,
    /// The same for all sessions of the user together; what the first of them brings holds until
    /// the last has ended. `None`: [`rate_per_user`](crate::Limits::rate_per_user).
    pub rate_per_user: Option<u64>,
}

impl UserLimits {
    /// Sets how many sessions the user may have at a time; 0 is any number.
    #[must_use]
    pub const fn sessions(self, sessions: usize) -> Self {
        Self { sessions: Some(sessions), ..self }
    }

    /// Sets how many bytes per second one session may move; 0 is any number.
    #[must_use]
    pub const fn rate_per_session(self, bytes: u64) -> Self {
        Self { rate_per_session: Some(bytes), ..self }
    }

    /// Sets how many bytes per second all sessions of the user may move; 0 is any number.
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
    /// A login with these rights to this storage, and nothing out of the ordinary.
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

    /// The same with another policy of its own about TLS.
    #[must_use]
    pub fn tls(self, tls: TlsPolicy) -> Self {
        Self { tls, ..self }
    }

    /// The same with another answer to MKD of a directory that is there.
    #[must_use]
    pub fn mkdir_existing_ok(self, mkdir_existing_ok: bool) -> Self {
        Self { mkdir_existing_ok, ..self }
    }

    /// The same where `STOR` makes missing directories, or does not.
    #[must_use]
    pub fn mkdir_parents(self, mkdir_parents: bool) -> Self {
        Self { mkdir_parents, ..self }
    }

    /// The same for one person, or for several.
    #[must_use]
    pub fn shared(self, is_shared: bool) -> Self {
        Self { is_shared, ..self }
    }

    /// The same login, of the user of this name whatever the argument of `USER` was.
    #[must_use]
    pub fn name(self, name: impl Into<Vec<u8>>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// The same with limits of its own.
    #[must_use]
    pub fn limits(self, limits: UserLimits) -> Self {
        Self { limits, ..self }
    }
}

/// What there is for a user at best: `FEAT` goes by it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Offer {
    /// What may be done.
    pub rights: Rights,
    /// What storages can do.
    pub capabilities: Capabilities,
}

impl Offer {
    /// These rights, on storages that can do this.
    #[must_use]
    pub const fn new(rights: Rights, capabilities: Capabilities) -> Self {
        Self { rights, capabilities }
    }

    /// Everything.
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

/// Why a login was not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// No such user, or another password: 530. Which of them is nobody's business.
    #[error("login incorrect")]
    Refused,
    /// The user's directory cannot be opened: 530, and an error in the log.
    #[error("home directory not available")]
    NoHome,
    /// An account is wanted beside user and password: 332. Once `ACCT` has brought one, the
    /// login is tried again with it, and this is then a refusal.
    #[error("account needed")]
    NeedAccount,
    /// It cannot be decided now: 451.
    #[error("user database not available")]
    Unavailable,
}

/// Decides who may log in. Called on the session's thread; it may block, but whoever is not let in
/// by [`LoginAttempt::deadline`] gets 421 all the same, and the thread keeps its place among the
/// sessions until this returns. A refusal is answered later the more of them a client has had, and
/// the time is counted from its command: how long this takes tells nothing unless it takes longer.
pub trait Authenticator: Send + Sync {
    /// Accepts or refuses a login.
    ///
    /// # Errors
    ///
    /// [`AuthError`] says which reply is sent.
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError>;

    /// What any user may get here, which `FEAT` tells those who are not logged in yet. As it
    /// stands, everything.
    fn offer(&self) -> Offer {
        Offer::ALL
    }
}

/// For whoever keeps the authenticator, to ask it as well.
impl<T: Authenticator + ?Sized> Authenticator for Arc<T> {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        (**self).login(attempt)
    }

    fn offer(&self) -> Offer {
        (**self).offer()
    }
}

/// Whether `offered` is `password`, in a time that depends on the length of `offered` alone.
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
