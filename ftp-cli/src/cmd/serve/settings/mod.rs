//! The settings of `serve` as data. Each row of [`TABLE`] can be set in a file and by `--set
//! KEY=VALUE`. It appears in `help serve`, `--check` and `dist/server.toml`.

mod answer;
mod auth;
mod file;
mod form;
mod forms;
mod hooks;
mod hosts;
mod kind;
mod layers;
mod ledger;
mod ledger_url;
mod lines;
mod listen;
mod origins;
mod protection;
mod reader;
mod root;
mod row;
#[cfg(test)]
mod sample;
mod stores;
mod table;
#[cfg(test)]
mod tests;
mod toml_text;
mod user;

pub(crate) use file::{File, Reading};
pub(crate) use forms::{Expiry, MountPoint};
pub(crate) use hooks::HookSettings;
pub(crate) use hosts::{ANONYMOUS, HOST, Host, key_of};
pub(crate) use ledger_url::LedgerUrl;
pub(crate) use lines::Lines;
pub(crate) use listen::{MISSING, Passed, available, has_ipv6, is_missing};
pub(crate) use protection::Protection;
pub(crate) use root::{Objects, Root};
pub(crate) use row::Setting;
pub(crate) use stores::{STORE, StoreSettings, key_of_store};
pub(crate) use table::{FIXED, Settings, TABLE};
pub(crate) use toml_text::{quoted, shown};
pub(crate) use user::{USER, User, is_name};

/// Explanation of values, precedence and reload, for `dist/server.toml` and the man page.
pub(crate) const ABOUT: &str = "\
Times have a unit (\"250 ms\", \"30 s\", \"5 min\", \"2 h\") or are numbers of seconds. Sizes have a
unit (\"4 KiB\", \"64 MiB\", \"1 GiB\") or are numbers of bytes. Paths are absolute.

Command-line options, --set KEY=VALUE included, override this file. ftp-cli serve --check prints
each value with its origin, and settings that will not work. SIGHUP reloads the file; the user that
the server runs as must be able to read it. A valid file applies to new sessions; a file with
errors changes nothing. Changes to [listen], [control], [metrics], [ledger], limits.sessions,
log.target and security.run_as need a restart.
";
