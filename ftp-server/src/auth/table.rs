//! A fixed table of users.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use ftp_proto::Escaped;

use super::{
    AuthError, Authenticator, Login, LoginAttempt, PasswordHash, Rights, SLOTS,
    equal_in_constant_time,
};
use crate::storage::Capabilities;

/// The name of the user who logs in with any password.
pub(crate) const ANONYMOUS: &[u8] = b"anonymous";

/// A fixed table of users, with plaintext passwords (for tests) or with password hashes.
///
/// A login with an unknown name takes as much time as a login of one of the users, so the time does
/// not reveal which names exist. The same unknown name always takes the time of the same user,
/// until the process ends or a user is added or removed.
///
/// The process computes at most four hashes at a time, and client hosts take turns. A login that
/// gets no turn before its [`deadline`](LoginAttempt::deadline) fails with
/// [`AuthError::Unavailable`].
#[derive(Clone, Default)]
pub struct UserTable(Accounts<Login>);

/// What belongs to each user, by name and password. Finding it takes as much time for unknown names
/// as [`UserTable`] promises.
#[derive(Clone)]
pub(crate) struct Accounts<A> {
    users: Vec<TableUser<A>>,
    anonymous: Option<A>,
}

impl<A> Default for Accounts<A> {
    fn default() -> Self {
        Self { users: Vec::new(), anonymous: None }
    }
}

/// The random choice of the user whose password is compared for an unknown name. All tables share
/// it: if each reload chose again, the time for an unknown name would change.
static CHOICE: LazyLock<RandomState> = LazyLock::new(RandomState::new);

#[derive(Clone)]
struct TableUser<A> {
    name: Vec<u8>,
    secret: Secret,
    account: A,
}

/// The stored form of a password.
#[derive(Clone)]
pub(crate) enum Secret {
    Plain(Vec<u8>),
    Hash(PasswordHash),
}

/// Shows the names of the users, without passwords and hashes.
impl fmt::Debug for UserTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> =
            self.0.users.iter().map(|user| Escaped(&user.name).to_string()).collect();
        f.debug_struct("UserTable")
            .field("users", &names)
            .field("anonymous", &self.0.anonymous.is_some())
            .finish_non_exhaustive()
    }
}

impl UserTable {
    /// Returns a table without users.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a user, or replaces the user of this name. The password is compared in constant time
    /// and not hashed, so a login costs almost nothing.
    #[must_use]
    pub fn user(
        self,
        name: impl Into<Vec<u8>>,
        password: impl Into<Vec<u8>>,
        login: Login,
    ) -> Self {
        self.with(name.into(), Secret::Plain(password.into()), login)
    }

    /// Adds a user by password hash, or replaces the user of this name.
    #[must_use]
    pub fn user_with_hash(
        self,
        name: impl Into<Vec<u8>>,
        password: PasswordHash,
        login: Login,
    ) -> Self {
        self.with(name.into(), Secret::Hash(password), login)
    }

    fn with(mut self, name: Vec<u8>, secret: Secret, login: Login) -> Self {
        self.0.add(name, secret, login);
        self
    }

    /// Adds the user `anonymous`, also called `ftp`, who logs in with any password (RFC 1635). The
    /// case of these names does not matter; a user of the table with the same name has priority.
    /// The login is marked as [shared](Login::is_shared).
    #[must_use]
    pub fn anonymous(mut self, login: Login) -> Self {
        self.0.set_anonymous(login.name(ANONYMOUS).shared(true));
        self
    }
}

impl<A> Accounts<A> {
    /// Adds a user, or replaces the user of this name.
    pub(crate) fn add(&mut self, name: Vec<u8>, secret: Secret, account: A) {
        self.users.retain(|user| user.name != name);
        self.users.push(TableUser { name, secret, account });
    }

    pub(crate) fn set_anonymous(&mut self, account: A) {
        self.anonymous = Some(account);
    }

    #[cfg(feature = "daemon")]
    pub(crate) fn get(&self, name: &[u8]) -> Option<&A> {
        self.users.iter().find(|user| user.name == name).map(|user| &user.account)
    }

    pub(crate) const fn anonymous(&self) -> Option<&A> {
        self.anonymous.as_ref()
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = (&[u8], &A)> {
        self.users.iter().map(|user| (&*user.name, &user.account))
    }

    /// Returns the account of a login.
    ///
    /// # Errors
    ///
    /// Returns `Refused` for an unknown name or a wrong password, `NoAnonymous` for a name of anonymous
    /// logins if they are off, or `Unavailable` if the password cannot be checked now.
    pub(crate) fn find(&self, attempt: &LoginAttempt<'_>) -> Result<&A, AuthError> {
        let user = self.users.iter().find(|user| user.name == attempt.user);
        let is_anonymous = user.is_none() && is_anonymous_name(attempt.user);
        if let Some(account) = self.anonymous.as_ref().filter(|_| is_anonymous) {
            return Ok(account);
        }
        let refused = if is_anonymous { AuthError::NoAnonymous } else { AuthError::Refused };
        // An account without a hash costs as much as an unknown name.
        let own = user.filter(|user| user.secret.takes_time());
        let compared = own.or_else(|| self.stand_in(attempt.user)).ok_or(refused)?;
        let is_right = compared.secret.is(attempt)?;
        own.filter(|_| is_right).map(|user| &user.account).ok_or(refused)
    }

    /// Returns the user whose hash is computed for the unknown name, so that timing does not reveal
    /// which names exist; `None` if the table is empty.
    fn stand_in(&self, name: &[u8]) -> Option<&TableUser<A>> {
        let users = || self.users.iter().filter(|user| user.secret.takes_time());
        let count = u64::try_from(users().count()).ok()?;
        let chosen = CHOICE.hash_one(name).checked_rem(count)?;
        users().nth(usize::try_from(chosen).ok()?)
    }
}

/// Returns whether this is a name of anonymous logins. A user with such a name takes precedence.
pub(crate) fn is_anonymous_name(name: &[u8]) -> bool {
    [ANONYMOUS, b"ftp"].iter().any(|it| name.eq_ignore_ascii_case(it))
}

impl Secret {
    fn takes_time(&self) -> bool {
        !matches!(self, Self::Hash(hash) if !hash.takes_time())
    }

    fn is(&self, attempt: &LoginAttempt<'_>) -> Result<bool, AuthError> {
        let hash = match self {
            Self::Plain(password) => {
                return Ok(equal_in_constant_time(password, attempt.password));
            }
            Self::Hash(hash) => hash,
        };
        let verify = || hash.verify(attempt.password);
        match SLOTS.run(attempt, hash.memory(), verify) {
            Some(Ok(is_right)) => Ok(is_right),
            Some(Err(error)) => {
                log::error!("cannot verify the password of a login: {error}");
                Err(AuthError::Unavailable)
            }
            None if attempt.is_client_gone() => Err(AuthError::Unavailable),
            None => {
                log::warn!(
                    "too many logins at a time: one timed out before its password was checked"
                );
                Err(AuthError::Unavailable)
            }
        }
    }
}

impl Authenticator for UserTable {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        self.0.find(attempt).cloned()
    }

    fn offer(&self) -> (Rights, Capabilities) {
        let logins = self.0.users().map(|(_, login)| login).chain(self.0.anonymous());
        logins.map(Login::offer).fold(Default::default(), |(rights, abilities), more| {
            (rights | more.0, abilities | more.1)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::{LocalStorage, Storage};

    fn table(directory: &std::path::Path) -> UserTable {
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(directory).unwrap());
        let login = |rights| Login::new(Arc::clone(&storage), rights);
        UserTable::new()
            .user("a", "", login(Rights::READ))
            .user("b", "old", login(Rights::READ))
            .user("b", "secret", login(Rights::FULL))
    }

    fn attempt<'a>(user: &'a str, password: &'a str) -> LoginAttempt<'a> {
        let user = user.as_bytes();
        let password = password.as_bytes();
        let peer = ([127, 0, 0, 1], 1).into();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        LoginAttempt {
            user,
            password,
            account: None,
            host: None,
            peer,
            tls: None,
            deadline,
            is_client_gone: None,
        }
    }

    fn try_login(table: &UserTable, user: &str, password: &str) -> Option<Rights> {
        table.login(&attempt(user, password)).ok().map(|login| login.rights)
    }

    #[test]
    fn debug_shows_names_and_no_passwords() {
        let directory = std::env::temp_dir();
        let shown = format!("{:?}", table(&directory));
        assert!(shown.contains("\"b\"") && !shown.contains("old"), "{shown}");
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
    fn users_can_have_password_hashes_hs_31() {
        let directory = tempfile::tempdir().unwrap();
        let login =
            Login::new(Arc::new(LocalStorage::open(directory.path()).unwrap()), Rights::FULL);
        let hash = PasswordHash::new(b"hashed").unwrap();
        let table = table(directory.path())
            .user_with_hash("c", hash.clone(), login.clone())
            .user_with_hash("a", hash, login);
        for (user, password, want) in [
            ("a", "hashed", Some(Rights::FULL)),
            ("a", "", None),
            ("b", "secret", Some(Rights::FULL)),
            ("b", "hashed", None),
            ("c", "hashed", Some(Rights::FULL)),
            ("c", "Hashed", None),
        ] {
            assert_eq!(try_login(&table, user, password), want, "{user} {password:?}");
        }
        // An unknown name is refused even with the password of the user whose hash is compared. A
        // table with the same users makes the same choice.
        let mut reloaded = UserTable::new();
        for TableUser { name, secret, account: login } in table.0.users.clone() {
            reloaded = reloaded.with(name, secret, login);
        }
        let mut stand_ins = std::collections::BTreeSet::new();
        for number in 0..64 {
            let name = format!("unknown{number}");
            let stand_in = table.0.stand_in(name.as_bytes()).unwrap();
            assert_eq!(stand_in.name, table.0.stand_in(name.as_bytes()).unwrap().name);
            assert_eq!(stand_in.name, reloaded.0.stand_in(name.as_bytes()).unwrap().name);
            if stand_ins.insert(stand_in.name.clone()) {
                for password in ["hashed", "secret"] {
                    assert_eq!(try_login(&table, &name, password), None);
                }
            }
        }
        assert_eq!(stand_ins.len(), 3, "an unknown name costs what any known one may");
        assert!(UserTable::new().0.stand_in(b"x").is_none());
    }

    #[test]
    fn an_account_without_a_hash_takes_the_time_of_another_hs_31_hs_39() {
        let directory = tempfile::tempdir().unwrap();
        let storage = Arc::new(LocalStorage::open(directory.path()).unwrap());
        let login = Login::new(storage, Rights::FULL);
        let locked = || "*".parse().unwrap();
        let alone = UserTable::new().user_with_hash("l", locked(), login.clone());
        assert!(alone.0.stand_in(b"l").is_none());
        assert_eq!(try_login(&alone, "l", ""), None);
        let both = alone.user_with_hash("u", PasswordHash::new(b"p").unwrap(), login);
        assert_eq!(both.0.stand_in(b"l").unwrap().name, b"u");
        assert_eq!(both.0.stand_in(b"x").unwrap().name, b"u");
        // The password of the user whose hash is computed does not open the locked account.
        assert_eq!(try_login(&both, "l", "p"), None);
        assert_eq!(try_login(&both, "u", "p"), Some(Rights::FULL));
    }

    #[test]
    fn a_login_after_its_deadline_is_not_verified_hs_32() {
        let directory = tempfile::tempdir().unwrap();
        let storage = Arc::new(LocalStorage::open(directory.path()).unwrap());
        let hash = PasswordHash::new(b"p").unwrap();
        let login = Login::new(storage, Rights::FULL);
        let table = UserTable::new().user_with_hash("u", hash, login);
        // Takes all memory, so that no other test gets a slot at the same time.
        let refused = SLOTS.run(&attempt("u", "p"), u64::MAX / 2, || {
            let deadline = std::time::Instant::now();
            ["u", "unknown"]
                .map(|user| table.login(&LoginAttempt { deadline, ..attempt(user, "p") }).err())
        });
        assert_eq!(refused, Some([Some(AuthError::Unavailable); 2]));
        assert_eq!(try_login(&table, "u", "p"), Some(Rights::FULL));
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
        assert!(table.login(&attempt("ftp", "")).unwrap().is_shared);
        assert!(!table.login(&attempt("a", "")).unwrap().is_shared);
    }

    #[test]
    fn only_a_name_of_anonymous_logins_that_is_no_user_guesses_no_password_hs_28() {
        let directory = tempfile::tempdir().unwrap();
        let storage = Arc::new(LocalStorage::open(directory.path()).unwrap());
        let with_ftp = table(directory.path()).user("ftp", "p", Login::new(storage, Rights::FULL));
        let without = table(directory.path());
        for (table, name, want) in [
            (&without, "anonymous", AuthError::NoAnonymous),
            (&without, "FTP", AuthError::NoAnonymous),
            (&without, "a", AuthError::Refused),
            (&without, "unknown", AuthError::Refused),
            (&with_ftp, "ftp", AuthError::Refused),
            (&with_ftp, "FTP", AuthError::NoAnonymous),
            (&UserTable::new(), "ftp", AuthError::NoAnonymous),
        ] {
            assert_eq!(table.login(&attempt(name, "wrong")).err(), Some(want), "{name}");
        }
    }

    #[test]
    fn the_offer_is_the_union_of_all_users_rights_cm_137() {
        let directory = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(directory.path()).unwrap());
        let capabilities = storage.capabilities();
        let login = |rights| Login::new(Arc::clone(&storage), rights);
        assert_eq!(UserTable::new().offer(), (Rights::NONE, Capabilities::NONE));
        let table = UserTable::new()
            .user("a", "", login(Rights::LIST))
            .user("b", "", login(Rights::WRITE))
            .anonymous(login(Rights::MKDIR));
        let rights = Rights::LIST | Rights::WRITE | Rights::MKDIR;
        assert_eq!(table.offer(), (rights, capabilities));
    }
}
