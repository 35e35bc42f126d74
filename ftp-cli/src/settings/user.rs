//! The keys of a user: those of `[users.NAME]`.

use std::path::PathBuf;

use ftp_server::{PasswordHash, Rights, TlsPolicy, UserLimits};

use super::row::{Keyed, Origins, Row, row};
use crate::values::{show_size, size};

use super::{
    directory, own_count, own_count_shown, policy, policy_word, rate, rights, show_rate,
    shown_directory, shown_rights, yes,
};

/// A user of the file.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) password: Option<PasswordHash>,
    pub(crate) root: PathBuf,
    pub(crate) rights: Rights,
    /// How many bytes may be below the root; 0 for any number.
    pub(crate) quota: u64,
    pub(crate) mkdir_parents: bool,
    pub(crate) mkdir_existing_ok: bool,
    pub(crate) limits: UserLimits,
    /// Beyond what `[tls]` asks for.
    pub(crate) tls: TlsPolicy,
    /// Where all of that is from.
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

impl Keyed for User {
    fn origins(&mut self) -> &mut Origins {
        &mut self.origins
    }
}

macro_rules! key {
    ($($row:tt)*) => { row!(User, $($row)*) };
}

#[rustfmt::skip]
pub(crate) const USER: &[Row<User>] = &[
    key!("password",          "its hash, as ftp-cli passwd prints it; $argon2id$, $6$ or $5$", password,          password,     shown_password),
    key!("root",              "the directory that is / to the user",                          root,              home,         shown_directory),
    key!("rights",            "what the user may do: read, full, drop-box, or a list",        rights,            rights,       shown_rights),
    key!("quota",             "bytes below the root in all; 0: any number",                    quota,             size,         show_size),
    key!("tls",               "off, optional, required: TLS for this user, beyond what [tls] says", tls,           policy, policy_word),
    key!("mkdir_parents",     "true, false: whether STOR makes the directories above a file",     mkdir_parents,     yes,    bool::to_string),
    key!("mkdir_existing_ok", "true, false: whether MKD of a directory that is there is a success", mkdir_existing_ok, yes,    bool::to_string),
    key!("per_user",          "sessions at a time, in place of limits.per_user; 0: any number", limits.sessions,   own_count,    own_count_shown),
    key!("rate_per_session",  "in place of transfer.rate_per_session; 0: any",                limits.rate_per_session, rate,     show_rate),
    key!("rate_per_user",     "in place of transfer.rate_per_user; 0: any",                   limits.rate_per_user,    rate,     show_rate),
];

impl User {
    /// Which of those that have no default were not given.
    pub(super) fn lacks(&self) -> impl Iterator<Item = &'static str> {
        let is_lacking = |key: &&str| self.origins.of(key) == "default";
        NEEDED.iter().copied().filter(is_lacking)
    }

    /// Whether all values are those of another, wherever they are from.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same = |row: &Row<Self>| (row.show)(self) == (row.show)(other);
        self.password == other.password && USER.iter().all(is_same)
    }
}

/// The keys that have no default.
pub(super) const NEEDED: &[&str] = &["password", "root"];

/// Whether a client can send this behind USER.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fn home(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("no directory".to_owned()) } else { directory(text) }
}

/// The hash of a password. The text is never shown: it may be the password itself.
fn password(text: &str) -> Result<Option<PasswordHash>, String> {
    text.parse().map(Some).map_err(|error: ftp_server::PasswordHashError| error.to_string())
}

fn shown_password(password: &Option<PasswordHash>) -> String {
    if password.is_some() { "\"****\"".to_owned() } else { "\"\"".to_owned() }
}
