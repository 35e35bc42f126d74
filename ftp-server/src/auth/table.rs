//! Users known from the start.

use std::ops::BitOr;

use super::{AuthError, Authenticator, Login, LoginAttempt, Offer};

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
        self.anonymous = Some(login.with_name(ANONYMOUS));
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
    use std::sync::Arc;

    use super::*;
    use crate::auth::Rights;
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
