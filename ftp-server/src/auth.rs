//! Who may log in, where to, and what for.

use std::fmt;
use std::net::SocketAddr;
use std::ops::BitOr;
use std::sync::Arc;

use ftp_proto::HostName;

use crate::storage::{Capabilities, Storage};

/// What a user may do: a set of rights.
///
/// ```
/// use ftp_server::Rights;
///
/// let inbox = Rights::LIST | Rights::WRITE;
/// assert!(inbox.contains(Rights::WRITE));
/// assert!(!inbox.contains(Rights::READ));
/// assert!(Rights::FULL.contains(inbox));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rights(u16);

impl Rights {
    /// No right at all.
    pub const NONE: Self = Self(0);
    /// See names and facts: LIST, NLST, MLSD, MLST, SIZE, MDTM, STAT, and AVBL.
    pub const LIST: Self = Self(1);
    /// Read files: RETR, HASH.
    pub const RETRIEVE: Self = Self(1 << 1);
    /// Make and replace files, and say when they were modified: STOR, STOU, MFMT.
    pub const WRITE: Self = Self(1 << 2);
    /// Add to files that are there: APPE.
    pub const APPEND: Self = Self(1 << 3);
    /// Remove files and directories: DELE, RMD.
    pub const DELETE: Self = Self(1 << 4);
    /// Rename: RNFR and RNTO.
    pub const RENAME: Self = Self(1 << 5);
    /// Make directories: MKD.
    pub const MKDIR: Self = Self(1 << 6);
    /// Look and read, change nothing.
    pub const READ: Self = Self(Self::LIST.0 | Self::RETRIEVE.0);
    /// Set permission bits: SITE CHMOD, `UNIX.mode` of MFF.
    pub const CHMOD: Self = Self(1 << 7);
    /// Have data connections to and from hosts other than the user's own, within the networks
    /// that the server's settings name: FXP (RFC 959 §5.2, RFC 2577 §3).
    pub const FXP: Self = Self(1 << 15);
    /// All but [`FXP`](Self::FXP).
    pub const FULL: Self = Self((1 << 8) - 1);

    /// Whether all of `rights` are among these.
    #[must_use]
    pub const fn contains(self, rights: Self) -> bool {
        self.0 & rights.0 == rights.0
    }
}

impl BitOr for Rights {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

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
    /// Whose login it is, where that is not the very argument of `USER`, as when a user has several
    /// names or letters in any case: the sessions of a user are counted by it.
    pub name: Option<Vec<u8>>,
    /// Whether many people log in so, as with `anonymous`. What came of a cut upload is then not
    /// kept: nobody knows whose it is.
    pub is_shared: bool,
}

impl Login {
    /// A login with these rights to this storage, and nothing out of the ordinary.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, rights: Rights) -> Self {
        Self { storage, rights, mkdir_existing_ok: false, name: None, is_shared: false }
    }

    /// The same with another answer to MKD of a directory that is there.
    #[must_use]
    pub fn with_mkdir_existing_ok(self, mkdir_existing_ok: bool) -> Self {
        Self { mkdir_existing_ok, ..self }
    }

    /// The same login, of the user of this name whatever the argument of `USER` was.
    #[must_use]
    pub fn with_name(self, name: impl Into<Vec<u8>>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// The same login, of nobody in particular.
    #[must_use]
    pub fn with_shared(self, is_shared: bool) -> Self {
        Self { is_shared, ..self }
    }
}

/// What there is for a user at best: `FEAT` goes by it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offer {
    /// What may be done.
    pub rights: Rights,
    /// What storages can do.
    pub capabilities: Capabilities,
}

impl Offer {
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

/// Decides who may log in. Called on the session's thread; it may block.
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

/// Who logs in without a password.
const ANONYMOUS: &[u8] = b"anonymous";

/// Users known from the start, with plain passwords: for tests, fixtures and throw-away servers.
#[derive(Clone, Default)]
pub struct UserTable {
    users: Vec<User>,
    anonymous: Option<Login>,
}

#[derive(Clone)]
struct User {
    name: Vec<u8>,
    password: Vec<u8>,
    login: Login,
}

impl UserTable {
    /// A table nobody is in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same table with one user more; a name given twice has its last password.
    #[must_use]
    pub fn user(
        mut self,
        name: impl Into<Vec<u8>>,
        password: impl Into<Vec<u8>>,
        login: Login,
    ) -> Self {
        let (name, password) = (name.into(), password.into());
        self.users.retain(|user| user.name != name);
        self.users.push(User { name, password, login });
        self
    }

    /// The same table, open to `anonymous` and `ftp`, who are one user, with any password
    /// (RFC 1635).
    #[must_use]
    pub fn anonymous(mut self, login: Login) -> Self {
        self.anonymous = Some(login.with_name(ANONYMOUS).with_shared(true));
        self
    }
}

impl Authenticator for UserTable {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        let user = self.users.iter().find(|user| user.name == attempt.user);
        if user.is_none()
            && let Some(login) = &self.anonymous
            && [ANONYMOUS, b"ftp"].iter().any(|name| name.eq_ignore_ascii_case(attempt.user))
        {
            return Ok(login.clone());
        }
        // An unknown user costs the same comparison as a known one.
        let password = user.map_or(&b"\0"[..], |user| &user.password);
        let right = equal_in_constant_time(password, attempt.password);
        user.filter(|_| right).map(|user| user.login.clone()).ok_or(AuthError::Refused)
    }

    fn offer(&self) -> Offer {
        let logins = self.users.iter().map(|user| &user.login).chain(&self.anonymous);
        logins.map(Offer::from).fold(Offer::default(), BitOr::bitor)
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
    use crate::storage::LocalStorage;

    fn table(directory: &std::path::Path) -> UserTable {
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(directory).unwrap());
        let login = |rights| Login::new(Arc::clone(&storage), rights);
        UserTable::new()
            .user("a", "", login(Rights::READ))
            .user("b", "old", login(Rights::READ))
            .user("b", "secret", login(Rights::FULL))
    }

    fn attempt<'a>(user: &'a str, password: &'a str) -> LoginAttempt<'a> {
        let (user, password, peer) =
            (user.as_bytes(), password.as_bytes(), ([127, 0, 0, 1], 1).into());
        LoginAttempt { user, password, account: None, host: None, peer }
    }

    fn try_login(table: &UserTable, user: &str, password: &str) -> Option<Rights> {
        table.login(&attempt(user, password)).ok().map(|login| login.rights)
    }

    #[test]
    fn login_compares_names_and_passwords_exactly() {
        let directory = tempfile::tempdir().unwrap();
        let table = table(directory.path());
        for (user, password, want) in [
            ("b", "secret", Some(Rights::FULL)),
            ("b", "old", None),
            ("b", "secret ", None),
            ("b", "secre", None),
            ("b", "", None),
            ("b", "secret\0", None),
            ("B", "secret", None),
            ("a", "", Some(Rights::READ)),
            ("a", "x", None),
            ("nobody", "", None),
            ("nobody", "\0", None),
            ("anonymous", "me@", None),
        ] {
            assert_eq!(try_login(&table, user, password), want, "{user} {password:?}");
        }
    }

    #[test]
    fn anonymous_needs_no_password_cm_05() {
        let directory = tempfile::tempdir().unwrap();
        let storage = Arc::new(LocalStorage::open(directory.path()).unwrap());
        let login = Login::new(storage, Rights::READ);
        let table = table(directory.path()).anonymous(login);
        for user in ["anonymous", "ftp", "Anonymous", "FTP"] {
            assert_eq!(try_login(&table, user, "any"), Some(Rights::READ), "{user}");
        }
        assert_eq!(try_login(&table, "nobody", "any"), None);
    }

    #[test]
    fn passwords_are_not_shown() {
        assert!(!format!("{:?}", attempt("me", "secret")).contains("secret"));
    }

    #[test]
    fn the_offer_is_what_any_user_may_get_cm_137() {
        let directory = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(directory.path()).unwrap());
        let capabilities = storage.capabilities();
        let login = |rights| Login::new(Arc::clone(&storage), rights);
        assert_eq!(UserTable::new().offer(), Offer::default());
        let table = UserTable::new()
            .user("a", "", login(Rights::LIST))
            .user("b", "", login(Rights::WRITE))
            .anonymous(login(Rights::MKDIR));
        let rights = Rights::LIST | Rights::WRITE | Rights::MKDIR;
        assert_eq!(table.offer(), Offer { rights, capabilities });
    }
}
