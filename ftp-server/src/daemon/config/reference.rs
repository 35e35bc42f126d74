//! The documentation of all settings, for help texts and manuals.

use super::{FIXED, HOST, Host, STORE, Setting, Settings, StoreSettings, TABLE, USER, User};

/// The documentation of one setting.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SettingHelp {
    /// The table of the key: `limits`, or `users.NAME`, `hosts.NAME`, `stores.NAME`.
    pub table: &'static str,
    /// The key in its table.
    pub key: &'static str,
    /// What the setting does, in a sentence.
    pub help: &'static str,
    /// The format in [`Config::set`](super::Config::set), to append to `help`; empty if the format
    /// is obvious.
    pub hint: &'static str,
    /// The help with the format of the value in a file.
    pub meaning: String,
    /// The default as [`Config::set`](super::Config::set) reads it.
    pub default: String,
    /// The default as a file contains it.
    pub literal: String,
    /// Whether a change takes effect only after a restart.
    pub needs_restart: bool,
}

/// Returns the documentation of all settings, in the order of `dist/server.toml`.
#[must_use]
pub fn settings() -> Vec<SettingHelp> {
    let of_server = TABLE.iter().map(|row| SettingHelp {
        needs_restart: FIXED.contains(&row.key),
        ..help(row, row.table(), &Settings::default())
    });
    let of_users = USER.iter().map(|row| help(row, "users.NAME", &User::default()));
    let of_hosts = HOST.iter().map(|row| help(row, "hosts.NAME", &Host::default()));
    let of_stores = STORE.iter().map(|row| help(row, "stores.NAME", &StoreSettings::default()));
    of_server.chain(of_users).chain(of_hosts).chain(of_stores).collect()
}

fn help<T>(row: &Setting<T>, table: &'static str, defaults: &T) -> SettingHelp {
    SettingHelp {
        table,
        key: row.name(),
        help: row.help,
        hint: row.kind.hint(),
        meaning: row.meaning(),
        default: (row.show)(defaults).bare(),
        literal: (row.show)(defaults).to_string(),
        needs_restart: false,
    }
}
