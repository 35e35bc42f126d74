//! The keys of a user in `[users.NAME]`.

use std::path::PathBuf;

use ftp_server::{PasswordHash, Rights, TlsPolicy, UserLimits};

use super::forms::{HOME, OWN_COUNT, PASSWORD, RATE, RIGHTS, SIZE, SWITCH, TLS};
use super::origins::Origins;
use super::row::{Setting, row};

/// A user of the file.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) password: Option<PasswordHash>,
    pub(crate) root: PathBuf,
    pub(crate) rights: Rights,
    /// Largest number of bytes below the root; 0 for unlimited.
    pub(crate) quota: u64,
    pub(crate) mkdir_parents: bool,
    pub(crate) mkdir_existing_ok: bool,
    pub(crate) limits: UserLimits,
    /// TLS policy in addition to `[tls]`.
    pub(crate) tls: TlsPolicy,
    /// Origins of all values.
    pub(crate) origins: Origins,
}

impl Default for User {
    fn default() -> Self {
        Self {
            password: None,
            root: PathBuf::new(),
            rights: Rights::READ,
            quota: 0,
            mkdir_parents: false,
            mkdir_existing_ok: false,
            limits: UserLimits::default(),
            tls: TlsPolicy::default(),
            origins: Origins::default(),
        }
    }
}

/// Users of a file, sorted by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Users(Vec<(String, User)>);

impl Users {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &User)> {
        self.0.iter().map(|(name, user)| (name, user))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the user of this name; a new one with defaults if it is missing.
    pub(super) fn with(&mut self, name: &str) -> &mut User {
        let place = self.0.partition_point(|(other, _)| other.as_str() < name);
        if self.0.get(place).is_none_or(|(other, _)| other != name) {
            self.0.insert(place, (name.to_owned(), User::default()));
        }
        let (_, user) = self.0.get_mut(place).expect("it was there, or was just put there");
        user
    }

    /// Returns whether all users and their values are equal, whatever their origins.
    pub(super) fn is_same(&self, others: &Self) -> bool {
        let is_same = |((name, user), (other_name, other)): (&(String, User), &(String, User))| {
            name == other_name && user.is_same(other)
        };
        self.0.len() == others.0.len() && self.0.iter().zip(&others.0).all(is_same)
    }
}

#[rustfmt::skip]
pub(crate) const USER: &[Setting<User>] = &[
    row!(User, "password",                       PASSWORD,     password,                          "Password hash from ftp-cli passwd ($argon2id$, $6$ or $5$)."),
    row!(User, "root",                           HOME,         root,                              "Directory that the user sees as /."),
    row!(User, "rights",                         RIGHTS,       rights,                            "Rights of the user: read, full, drop-box, or a list"),
    row!(User, "quota",                          SIZE,         quota,                             "Bytes below the root (0: unlimited)."),
    row!(User, "tls",                            TLS,          tls,                               "TLS for this user, in addition to [tls]: off, optional or required."),
    row!(User, "mkdir_parents",                  SWITCH,       mkdir_parents,                     "Let STOR create missing parent directories."),
    row!(User, "mkdir_existing_ok",              SWITCH,       mkdir_existing_ok,                 "Answer MKD of an existing directory with success."),
    row!(User, "per_user",                       OWN_COUNT,    limits.sessions,                   "Sessions at a time (empty: limits.per_user; 0: unlimited)."),
    row!(User, "rate_per_session",               RATE,         limits.rate_per_session,           "Bytes per second of a session (empty: as [transfer]; 0: unlimited)."),
    row!(User, "rate_per_user",                  RATE,         limits.rate_per_user,              "Bytes per second of all sessions (empty: as [transfer]; 0: unlimited)."),
];

impl User {
    /// Returns the required keys that were not given.
    pub(super) fn lacks(&self) -> impl Iterator<Item = &'static str> {
        let is_lacking = |key: &&str| self.origins.of(key) == "default";
        NEEDED.iter().copied().filter(is_lacking)
    }

    /// Returns whether all values are equal, whatever their origins.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same = |row: &Setting<Self>| (row.show)(self) == (row.show)(other);
        self.password == other.password && USER.iter().all(is_same)
    }
}

/// Keys without a default.
pub(super) const NEEDED: &[&str] = &["password", "root"];

/// Returns whether a client can send this as the argument of USER.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}
