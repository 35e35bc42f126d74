//! The configuration of a daemon: the settings as data, from a file, from values, and from defaults.
//! Each row of [`TABLE`] can be set in a file and by [`Config::set`]. It appears in `help serve`,
//! `--check` and `dist/server.toml`.

mod accounts;
mod file;
pub(super) mod forms;
mod hosts;
mod ledger;
mod listen;
mod protection;
mod root;
mod row;
mod stores;
mod table;
#[cfg(test)]
mod tests;
mod user;
mod value;

pub(crate) use file::{ConfigReading, File};
pub(super) use forms::Kind;
pub(crate) use forms::{HookEvent, LogFormat, LogTarget, MountPoint};
pub(crate) use hosts::{ANONYMOUS, HOST, Host, key_of};
pub(crate) use ledger::LedgerUrl;
pub(crate) use listen::{
    MISSING, MetricsAddress, Passed, available, has_ipv6, is_missing, outgoing,
};
pub(crate) use protection::Protection;
pub(crate) use root::{ConfiguredRoot, Objects};
use row::Fields;
pub(crate) use row::{Fixed, Setting};
pub(crate) use stores::{STORE, StoreSettings, key_of_store};
pub use table::SettingHelp;
pub(crate) use table::{Environment, HookSettings, Settings, TABLE};
pub(crate) use user::{Include, NOT_A_NAME, Replaced, USER, User, is_name};
pub(super) use value::{Checked, TomlValue};
pub(crate) use value::{TomlEntry, ValueContent, ValueType, json_object};

use std::ffi::OsString;
use std::fmt::{self, Write};
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ftp_proto::Escaped;

use super::DaemonError;
use super::privileges::{RunAs, is_root};
use super::store_kind::StoreKind;
use crate::{Rights, TlsPolicy};
use ftp_proto::text::toml_text::shown;
use ftp_proto::text::values::{counted, shown_path};

/// The configuration of a [`Daemon`](super::Daemon). Values that are set override those of the
/// file, and those override the defaults.
///
/// ```
/// use ftp_server::daemon::Config;
///
/// let mut config = Config::from_toml("[anonymous]\nenabled = true\nroot = \"/srv/files\"\n")?;
/// config.set("listen.addresses", "127.0.0.1:0")?;
/// config.validate()?;
/// let wrong = config.set("limits.session", "10").unwrap_err();
/// assert_eq!(wrong.to_string(), "unknown setting limits.session; did you mean limits.sessions?");
/// # Ok::<(), ftp_server::daemon::DaemonError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub(crate) settings: Settings,
    /// The file, which a reload reads again.
    file: Option<PathBuf>,
    /// Values that were set, in order.
    assignments: Vec<Assignment>,
    /// The directory and users that the program has given. Unchanged by reloads.
    pub(crate) quick: Option<Arc<Quick>>,
    /// Files from which the program has read passwords, each with the option that names it.
    password_files: Vec<(String, PathBuf)>,
}

/// A value of [`Config::set`] or its relatives.
#[derive(Clone, Debug)]
struct Assignment {
    key: String,
    value: String,
    /// The caller's name for the source of the value, such as an option of the command line.
    origin: String,
    /// Whether the file overrides the value.
    is_default: bool,
}

/// A directory and users that the program has given.
#[derive(Clone)]
pub(crate) struct Quick {
    pub(crate) root: PathBuf,
    pub(crate) users: Vec<NameAndPassword>,
    pub(crate) rights: Rights,
    pub(crate) anonymous: Option<Rights>,
}

type NameAndPassword = (Vec<u8>, Vec<u8>);

/// Leaves out the passwords.
impl fmt::Debug for Quick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users = self.users.iter().map(|(name, _)| Escaped(name).to_string());
        f.debug_struct("Quick")
            .field("root", &self.root)
            .field("users", &users.collect::<Vec<_>>())
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file in the format of `dist/server.toml`. A reload of the daemon reads the file
    /// again. With a file, a daemon also starts if a user's directory is missing or a certificate
    /// has expired, because it may start at boot, before a disk is mounted and the clock is set; it
    /// reports such faults in the log.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be read. Returns `Configuration` if it is too large, not
    /// UTF-8, or has errors; then [`DaemonError::lines`] has one line for each.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DaemonError> {
        Self::read_replaced(path.as_ref(), None)
    }

    fn read_replaced(path: &Path, replaced: Option<Replaced<'_>>) -> Result<Self, DaemonError> {
        let mut config = Self { file: Some(path.to_owned()), ..Self::default() };
        let file = File::open(path.as_os_str(), ConfigReading::First)?;
        file.apply_all(&mut config.settings, replaced)?;
        Ok(config)
    }

    /// Reads a text in the format of `dist/server.toml`.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if the text has errors; then [`DaemonError::lines`] has one line for
    /// each.
    pub fn from_toml(text: &str) -> Result<Self, DaemonError> {
        let mut config = Self::default();
        File::of_text("configuration", text.to_owned()).apply_all(&mut config.settings, None)?;
        Ok(config)
    }

    /// Reads the file again, and sets the same values again.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read`](Self::read) and [`validate`](Self::validate), and `Local` if
    /// the file is no longer a regular file.
    pub fn again(&self) -> Result<Self, DaemonError> {
        let (file, quick) = (self.file.clone(), self.quick.clone());
        let Settings { environment, kinds, .. } = &self.settings;
        let settings =
            Settings { environment: *environment, kinds: kinds.clone(), ..Settings::default() };
        let password_files = self.password_files.clone();
        let mut config = Self { settings, file, quick, password_files, ..Self::default() };
        if let Some(path) = &self.file {
            let file = File::open(path.as_os_str(), ConfigReading::Again)?;
            file.apply_all(&mut config.settings, None)?;
        }
        config.expect_sockets(self.settings.passed);
        for assignment in &self.assignments {
            let origin = &assignment.origin;
            let named = |error: DaemonError| {
                DaemonError::configuration(format!("{origin}: {}", error.message))
            };
            config.assign(assignment.clone()).map_err(named)?;
        }
        config.validate()?;
        Ok(config)
    }

    /// Sets a value, such as `set("limits.sessions", "100")`. The value is in TOML, as in a file, or
    /// plain text without quotes, with commas between the items of a list. The last value of a key
    /// wins.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if the key is unknown or the value invalid.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), DaemonError> {
        self.set_by("set", key, value)
    }

    /// Sets a value that the command-line option `origin` has given; messages name the option.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if the key is unknown or the value invalid.
    pub fn set_by(&mut self, origin: &str, key: &str, value: &str) -> Result<(), DaemonError> {
        let (key, value, origin) = (key.to_owned(), value.to_owned(), origin.to_owned());
        self.assign(Assignment { key, value, origin, is_default: false })
    }

    /// Sets a value like [`set_by`](Self::set_by), unless the file has the key.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if the key is unknown or the value invalid.
    pub fn set_default(&mut self, origin: &str, key: &str, value: &str) -> Result<(), DaemonError> {
        let (key, value, origin) = (key.to_owned(), value.to_owned(), origin.to_owned());
        self.assign(Assignment { key, value, origin, is_default: true })
    }

    fn assign(&mut self, assignment: Assignment) -> Result<(), DaemonError> {
        let Assignment { key, value, origin, is_default } = &assignment;
        if !is_default || self.settings.origins.of(key) == "default" {
            self.settings.set(key, value, origin).map_err(DaemonError::configuration)?;
        }
        self.assignments.push(assignment);
        Ok(())
    }

    /// Lets the daemon look up the variables `STATE_DIRECTORY`, `XDG_STATE_HOME` and `HOME` (for the
    /// self-signed certificate; the first also for events), `TMPDIR` (for events), `NOTIFY_SOCKET`,
    /// `WATCHDOG_PID` and `WATCHDOG_USEC` (of systemd), and `AWS_*` (keys of object stores). By
    /// default, the daemon uses no environment variable.
    pub fn environment(&mut self, variable: fn(&str) -> Option<OsString>) {
        self.settings.environment = Environment(variable);
    }

    /// Adds a kind of `[stores.NAME]`, whose tables have `kind = "NAME"`. A table with the key `url`
    /// and without `kind` has the kind `ftp`.
    pub fn add_store_kind(&mut self, name: &str, kind: impl StoreKind + 'static) {
        self.settings.kinds.0.insert(name.to_owned(), Arc::new(kind));
    }

    /// Announces the sockets that [`Setup::sockets`](super::Setup::sockets) will pass: their number
    /// without and with implicit TLS. With sockets, there is no default address.
    pub fn sockets(&mut self, plaintext: usize, implicit: usize) {
        self.expect_sockets(Passed { plaintext, implicit });
    }

    fn expect_sockets(&mut self, passed: Passed) {
        self.settings.passed = passed;
        if passed != Passed::default() && self.settings.origins.of("listen.addresses") == "default"
        {
            self.settings.listen.clear();
        }
    }

    /// Serves one more directory, to the users of [`add_user`](Self::add_user) and
    /// [`add_anonymous`](Self::add_anonymous), who get these rights.
    pub fn share(&mut self, directory: impl Into<PathBuf>, rights: Rights) {
        let root = directory.into();
        self.quick = Some(Arc::new(Quick { root, users: Vec::new(), rights, anonymous: None }));
    }

    /// Adds a user of the shared directory. Without a shared directory, does nothing.
    pub fn add_user(&mut self, name: impl Into<Vec<u8>>, password: impl Into<Vec<u8>>) {
        if let Some(quick) = &mut self.quick {
            Arc::make_mut(quick).users.push((name.into(), password.into()));
        }
    }

    /// Adds anonymous logins to the shared directory. Without a shared directory, does nothing.
    pub fn add_anonymous(&mut self, rights: Rights) {
        if let Some(quick) = &mut self.quick {
            Arc::make_mut(quick).anonymous = Some(rights);
        }
    }

    /// Names a file from which the program has read a password, and the option that names the file. A
    /// daemon refuses roots that contain the file; [`check`](Self::check) also warns if other users
    /// of the computer can read it.
    pub fn add_password_file(&mut self, origin: &str, path: impl Into<PathBuf>) {
        self.password_files.push((origin.to_owned(), path.into()));
    }

    pub(crate) fn password_files(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.password_files.iter().map(|(origin, path)| (&**origin, &**path))
    }

    /// Returns whether the settings name users, `auth.program`, or anonymous logins.
    #[must_use]
    pub fn names_users(&self) -> bool {
        let settings = &self.settings;
        let asks = !settings.auth.program.is_empty();
        settings.anonymous.enabled || asks || !settings.users.is_empty()
    }

    /// Returns the user to switch to once the addresses are bound. The daemon itself does not
    /// switch: [`Setup::once_bound`](super::Setup::once_bound) does.
    #[must_use]
    pub fn run_as(&self) -> Option<&RunAs> {
        self.settings.run_as.as_ref()
    }

    /// Returns the user as whom a service manager probably starts the server, if this process is root
    /// and `security.run_as` is empty: the user whose group may read the configuration file.
    pub(crate) fn service_user(&self) -> Option<RunAs> {
        if self.run_as().is_some() || !is_root() {
            return None;
        }
        let found = fs::metadata(self.file()?).ok().filter(|found| found.mode() & 0o040 != 0)?;
        RunAs::of_group(found.gid())
    }

    /// Returns the configuration with a user of the file as the only one who can log in.
    pub(super) fn only(&self, name: &str) -> Self {
        let mut only = Self { quick: None, ..self.clone() };
        only.settings.users.keep_only(name);
        only.settings.hosts = Default::default();
        only.settings.anonymous.enabled = false;
        only
    }

    /// Returns whether a reload can change anything: there is a configuration file, a certificate or
    /// a log file.
    #[must_use]
    pub fn can_reload(&self) -> bool {
        self.has_file()
            || self.settings.tls.certificate.is_some()
            || self.settings.log_transfers.is_some()
            || self.settings.log_target.path().is_some()
    }

    /// Returns the TLS policy of control connections; `None` without a certificate.
    #[must_use]
    pub fn tls_policy(&self) -> Option<TlsPolicy> {
        self.settings.tls.is_on().then_some(self.settings.tls.control)
    }

    /// Returns whether the server uses the self-signed certificate that it creates.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.settings.tls.self_signed
    }

    /// Returns the target of the event log; `None` for standard error.
    #[must_use]
    pub fn log_target(&self) -> Option<String> {
        let target = &self.settings.log_target;
        (*target != LogTarget::Stderr).then(|| target.to_string())
    }

    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns the root and the rights of anonymous users in the settings. Returns `None` if
    /// anonymous logins are disabled there, or if options redefine them.
    pub(crate) fn anonymous(&self) -> Option<(&ConfiguredRoot, Rights)> {
        let anonymous = &self.settings.anonymous;
        let is_elsewhere = self.quick.as_ref().is_some_and(|quick| quick.anonymous.is_some());
        (anonymous.enabled && !is_elsewhere).then_some((&anonymous.root, anonymous.rights))
    }

    /// Returns the users of the file, except for those that options redefine.
    pub(crate) fn users_of_file(&self) -> Vec<(&String, &User)> {
        self.settings.users.iter().filter(|(name, _)| !self.is_overridden(name)).collect()
    }

    /// Returns the user given on the command line, if no other user can log in and the name needs
    /// no escapes in a URL.
    #[must_use]
    pub fn only_user(&self) -> Option<String> {
        let quick = self.quick.as_ref()?;
        let [(name, _)] = quick.users.as_slice() else { return None };
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
        let is_only = !self.lets_anyone_in() && self.users_of_file().is_empty();
        let name = String::from_utf8(name.clone()).ok()?;
        (is_only && self.settings.auth.program.is_empty() && name.as_bytes().iter().all(is_plain))
            .then_some(name)
    }

    /// Returns whether some users log in with passwords.
    #[must_use]
    pub fn has_passwords(&self) -> bool {
        self.quick.as_ref().is_some_and(|quick| !quick.users.is_empty())
            || !self.users_of_file().is_empty()
            || !self.settings.auth.program.is_empty()
    }

    fn is_overridden(&self, name: &str) -> bool {
        let mut users = self.quick.iter().flat_map(|quick| &quick.users);
        users.any(|(other, _)| other == name.as_bytes())
    }

    /// Returns a warning for each user of the file whom a `--user` option overrides, and one if
    /// `--anonymous` overrides the file.
    pub(crate) fn overridden(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, user) in self.settings.users.iter().filter(|(name, _)| self.is_overridden(name))
        {
            let name = shown(name);
            let origin = user.origins.of("root");
            lines.push(format!("--user {name} overrides users.{name} ({origin})"));
        }
        if self.settings.anonymous.enabled && self.anonymous().is_none() {
            let origin = self.settings.origins.of("anonymous.enabled");
            lines.push(format!("--anonymous overrides [anonymous] ({origin})"));
        }
        lines
    }

    /// Returns warnings about what the process can no longer do. Must be called after dropping
    /// privileges.
    pub(crate) fn lost(&self) -> Vec<String> {
        let Some(run_as) = &self.settings.run_as else { return Vec::new() };
        let is_denied = |path: &Path| {
            fs::File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        };
        let mut lines = Vec::new();
        let included = self.settings.include.iter().flat_map(|include| &include.files);
        let config = self.file().into_iter().chain(included.map(PathBuf::as_path));
        let config = config.map(|path| ("--config".to_owned(), path));
        for (what, path) in config.into_iter().chain(self.settings.certificate_files()) {
            if is_denied(path) {
                let path = shown_path(path);
                lines.push(format!(
                    "{what}: user \"{run_as}\" cannot read {path}, so the server cannot reload it; \
                     make it group-readable for this user (chgrp, chmod g+r), or restart instead"
                ));
            }
        }
        if self.settings.server.active_source_port {
            let below = |at: SocketAddr| SocketAddr::new(at.ip(), at.port().saturating_sub(1));
            let all = self.settings.all_listen().into_iter().map(below);
            let is_denied = |at: &SocketAddr| {
                TcpListener::bind(at)
                    .is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
            };
            lines.extend(all.into_iter().find(is_denied).map(|at| {
                let port = at.port();
                format!(
                    "active.source_port: user \"{run_as}\" cannot use port {port}, so active data comes from \
                     any port; set net.ipv4.ip_unprivileged_port_start to {port} or less"
                )
            }));
        }
        lines
    }

    pub(crate) fn lets_anyone_in(&self) -> bool {
        let by_options = self.quick.as_ref().is_some_and(|quick| quick.anonymous.is_some());
        by_options || self.settings.anonymous.enabled
    }

    /// Returns the rights of the users given on the command line. The rights include FXP if
    /// networks for FXP are set; anonymous users never get FXP.
    pub(in crate::daemon) fn rights_of_users(&self, quick: &Quick) -> Rights {
        match self.settings.server.fxp_networks.is_empty() {
            true => quick.rights,
            false => quick.rights | Rights::FXP,
        }
    }

    /// Describes the users, such as `/srv/files: user "a" may read and write; anyone (anonymous)
    /// may read`.
    pub(crate) fn in_words(&self) -> Vec<String> {
        let may = |rights: Rights| match rights {
            Rights::FULL => "read and write".to_owned(),
            Rights::READ => "read".to_owned(),
            Rights::DROP_BOX => "add files only".to_owned(),
            rights => rights.words().collect::<Vec<_>>().join(", "),
        };
        let anyone = |rights| format!("anyone (anonymous) may {}", may(rights));
        let mut lines = Vec::new();
        let now = SystemTime::now();
        let users = self.users_of_file().iter().filter(|(_, user)| user.may_log_in(now)).count();
        if users > 0 {
            let users = counted(users, "user");
            lines.push(format!("{users} of the configuration file may log in"));
        }
        if let Some(program) = self.settings.auth.program.first() {
            let program = shown_path(Path::new(program));
            lines.push(format!("other users may log in if {program} accepts them"));
        }
        let by_file = self.anonymous().into_iter();
        lines.extend(by_file.map(|(root, rights)| format!("{}: {}", root.shown(), anyone(rights))));
        if let Some(quick) = &self.quick {
            let mut who: Vec<String> = Vec::new();
            for (name, _) in &quick.users {
                who.push(format!("user \"{}\" may {}", Escaped(name), may(quick.rights)));
            }
            who.extend(quick.anonymous.map(anyone));
            lines.push(format!("{}: {}", shown_path(&quick.root), who.join("; ")));
        }
        lines
    }
}

/// Column of the comments after values.
const COLUMN: usize = 48;

#[derive(Clone, Copy, Eq, PartialEq)]
enum ListedValues {
    /// Those of all keys. A table from which users inherit has only the keys that are set there.
    All,
    Set,
    /// Those that were set to another value than the default.
    Changed,
}

impl Config {
    /// Returns the values that differ from the defaults as TOML, each with its origin as a comment.
    pub(in crate::daemon) fn changed(&self) -> String {
        self.values(ListedValues::Changed)
    }

    fn values(&self, listed: ListedValues) -> String {
        let mut text = String::new();
        let settings = &self.settings;
        list(&mut text, "", TABLE, settings, listed);
        let inherited = if listed == ListedValues::All { ListedValues::Set } else { listed };
        for (table, user) in settings.users.tables() {
            list(&mut text, &format!("{table}."), USER, user, inherited);
        }
        let whole = settings.users.iter().map(|(name, user)| (user::Table::User(name), user));
        let users: Vec<_> = match listed {
            ListedValues::All => whole.collect(),
            _ => settings.users.own_tables().collect(),
        };
        for (table, user) in users {
            list(&mut text, &format!("{table}."), USER, user, listed);
        }
        for (name, host) in settings.hosts.iter() {
            list(&mut text, &key_of(name, ""), HOST, host, listed);
        }
        for (name, store) in settings.stores.iter() {
            let table = format!("{}.", key_of_store(name, ""));
            let of_own = if store.is_own() && listed == ListedValues::All {
                ListedValues::Set
            } else {
                listed
            };
            list(&mut text, &table, STORE, store, of_own);
            list_given(&mut text, name, store);
        }
        text
    }
}

/// Shows the settings as TOML, each with its origin as a comment, and a summary of the users.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.values(ListedValues::All))?;
        let mut words = self.in_words().into_iter();
        words.try_for_each(|words| writeln!(f, "# {}", Escaped(words.as_bytes())))
    }
}

/// Adds a line for each key, with `table` before the key and the origin as a comment. A key that
/// only a missing line can express gets no line.
fn list<T: Fields + Default + 'static>(
    text: &mut String,
    table: &str,
    rows: &'static [Setting<T>],
    fields: &T,
    listed: ListedValues,
) {
    let default = T::default();
    for row in rows {
        let value = (row.show)(fields);
        let is_listed = match listed {
            ListedValues::All => true,
            _ if fields.origins().get(row.key).is_none() => false,
            ListedValues::Set => true,
            ListedValues::Changed => value != (row.show)(&default),
        };
        if is_listed && value.content != ValueContent::Unset {
            let line = format!("{table}{} = {value}", row.key);
            let _ = writeln!(text, "{line:<COLUMN$} # {}", fields.origins().of(row.key));
        }
    }
}

/// Adds a line for each value of a store whose kind the program has added.
fn list_given(text: &mut String, name: &str, store: &StoreSettings) {
    for (key, value, origin) in store.given() {
        let line = format!("{} = {value}", key_of_store(name, key));
        let _ = writeln!(text, "{line:<COLUMN$} # {origin}");
    }
}

impl Config {
    /// Explanation of values, precedence and reload, as in `dist/server.toml`.
    pub const ABOUT: &str = "\
Times have a unit (\"250 ms\", \"30 s\", \"5 min\", \"2 h\") or are numbers of seconds. Sizes have a
unit (\"4 KiB\", \"64 MiB\", \"1 GiB\") or are numbers of bytes. Paths are absolute.

Command-line options, --set KEY=VALUE included, override this file. --set takes values as in this
file, or without quotes and with commas between the items of a list. ftp-cli serve --check prints
settings that will not work, and with -v each value with its origin. SIGHUP reloads the file; the
user that the server runs as must be able to read it. A valid file applies to new sessions; a file
with errors changes nothing. Changes to [listen], [control], [metrics], [ledger], hooks.spool,
limits.sessions, log.target and security.run_as need a restart.

At the top, include = \"users.d/*.toml\" reads tables [users.NAME] from further files, sorted by
name. The files are relative to this one; an error in one of them is an error of the configuration.

No root may contain a file that the server itself uses, such as this file, tls.key or a log.
";
}

#[cfg(test)]
mod tests_of_values {
    use super::*;
    use crate::daemon::DaemonErrorKind;

    #[test]
    fn only_named_users_have_fxp_and_only_with_fxp_networks_dc_30() {
        for (networks, users) in [("", false), ("192.0.2.0/24", true)] {
            let mut config = Config::new();
            config.set("fxp.networks", networks).unwrap();
            config.share("/", Rights::FULL);
            config.add_user("a", "p");
            config.add_anonymous(Rights::FULL);
            let quick = config.quick.as_ref().unwrap();
            assert_eq!(config.rights_of_users(quick).contains(Rights::FXP), users, "{networks}");
            assert!(!quick.anonymous.unwrap().contains(Rights::FXP), "{networks}");
        }
    }

    #[test]
    fn values_override_the_file_and_the_file_overrides_defaults_of_the_program() {
        let file =
            "[limits]\nsessions = 5\nper_user = 6\n[anonymous]\nenabled = true\nroot = \"/\"\n";
        let mut config = Config::from_toml(file).unwrap();
        config.set_default("--a", "limits.sessions", "1").unwrap();
        config.set_default("--b", "limits.per_address", "2").unwrap();
        config.set("limits.per_user", "3").unwrap();
        let origins = &config.settings.origins;
        let of = |key| origins.of(key).to_owned();
        assert_eq!(of("limits.sessions"), "configuration:2");
        assert_eq!((of("limits.per_address"), of("limits.per_user")), ("--b".into(), "set".into()));
        let wrong = config.set("users.anna.root", "srv").unwrap_err();
        assert_eq!(wrong.kind(), DaemonErrorKind::Configuration);
        config.set("users.anna.root", "/srv").unwrap();
        let wrong = config.validate().unwrap_err();
        assert_eq!(wrong.to_string(), "settings: 1 error");
        assert_eq!(wrong.lines(), ["set: users.anna: password is missing"]);
    }
}
