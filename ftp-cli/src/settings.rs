//! The settings of `serve`, as data: what stands in [`TABLE`] can be set in a file and behind
//! `--set KEY=VALUE`, with these keys, is in `help serve`, in what `--check` prints and in
//! `dist/server.toml`; nothing else is.

mod file;
mod form;
mod listen;
mod protection;
mod reader;
mod row;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
mod user;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ftp_server::{LogFormat, Rights, ServerConfig, TlsPolicy, UserLimits};

use crate::privileges::RunAs;
use crate::values;

pub(crate) use file::{File, Reading};
pub(crate) use listen::{Listen, available, has_ipv6};
pub(crate) use protection::Protection;
pub(crate) use reader::shown;
pub(crate) use row::{Origins, Row};
use row::{row, unquoted};
use user::is_name;
pub(crate) use user::{USER, User, Users};

/// What a server is started with, apart from the users and the directory that options name.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) listen: Vec<Listen>,
    /// Where TLS comes before the greeting.
    pub(crate) implicit: Vec<Listen>,
    pub(crate) tls: Protection,
    pub(crate) server: ServerConfig,
    /// What a session moves in a second at most, in bytes; `Some(0)`, in so many words, any number.
    pub(crate) rate_per_session: Option<u64>,
    /// The same for all sessions of a user.
    pub(crate) rate_per_user: Option<u64>,
    pub(crate) anonymous: Anonymous,
    /// The users of the file.
    pub(crate) users: Users,
    /// How long transfers may go on once the server is to stop.
    pub(crate) shutdown_grace: Duration,
    /// Whom the process goes on as once it listens.
    pub(crate) run_as: Option<RunAs>,
    pub(crate) log_format: LogFormat,
    /// Where transfers are logged in the form of xferlog(5).
    pub(crate) log_transfers: Option<PathBuf>,
    /// What is started for each file that was stored, with its arguments; empty for nothing.
    pub(crate) stored_hook: Vec<String>,
    /// How long it may take.
    pub(crate) hook_timeout: Duration,
    /// Where all of that is from.
    pub(crate) origins: Origins,
}

/// What anyone may do.
#[derive(Clone, Debug)]
pub(crate) struct Anonymous {
    pub(crate) enabled: bool,
    pub(crate) root: PathBuf,
    pub(crate) rights: Rights,
    pub(crate) quota: u64,
    pub(crate) limits: UserLimits,
}

impl Default for Settings {
    fn default() -> Self {
        let min_free = 64 * 1024 * 1024;
        let server = ServerConfig { per_address: 64, min_free, ..ServerConfig::default() };
        Self {
            listen: vec![Listen::default()],
            implicit: Vec::new(),
            tls: Protection::default(),
            server,
            rate_per_session: None,
            rate_per_user: None,
            anonymous: Anonymous {
                enabled: false,
                root: PathBuf::new(),
                rights: Rights::READ,
                quota: 0,
                limits: UserLimits::default(),
            },
            users: Users::default(),
            shutdown_grace: Duration::from_secs(30),
            run_as: None,
            log_format: LogFormat::default(),
            log_transfers: None,
            stored_hook: Vec::new(),
            hook_timeout: Duration::from_secs(60),
            origins: Origins::default(),
        }
    }
}

macro_rules! setting {
    ($($row:tt)*) => { row!(Settings, $($row)*) };
}

// There is no `server.name`: the greeting is the banner alone (RP-11), `HOST` goes by `hosts.names`
// (CM-23), and no other reply names the server, so that it would change nothing.
#[rustfmt::skip]
pub(crate) const TABLE: &[Row<Settings>] = &[
    setting!("listen.addresses",               Addresses,   listen,                            "where to listen: PORT, :PORT (all) or HOST:PORT"),
    setting!("listen.implicit_tls",            Addresses,   implicit,                          "the same, with TLS from the first byte; by custom port 990"),
    setting!("tls.certificate",                File,        tls.certificate,                   "a PEM file: the server's, then those above it"),
    setting!("tls.key",                        File,        tls.key,                           "a PEM file: its private key, without a pass phrase"),
    setting!("tls.self_signed",                Switch,      tls.self_signed,                   "true, false: make and keep a certificate of our own"),
    setting!("tls.control",                    Tls,         tls.control,                       "off, optional, required: TLS before a login"),
    setting!("tls.data",                       Tls,         tls.data,                          "off, optional, required: TLS for transfers"),
    setting!("tls.session_reuse",              Reuse,       tls.session_reuse,                 "off, observe, prefer, require: data resumes control"),
    setting!("tls.allow_missing_close_notify", Switch,      tls.allow_missing_close_notify,    "true, false: take uploads that may be cut"),
    setting!("tls.min_version",                Version,     tls.min_version,                   "1.2, 1.3: the oldest version of TLS"),
    setting!("tls.client_ca",                  File,        tls.client_ca,                     "a PEM file: who issues clients' certificates"),
    setting!("tls.client_certificates",        Clients,     tls.client_certificates,           "optional, required: that clients show one"),
    setting!("tls.cert_user",                  Switch,      tls.cert_user,                     "true, false: whether USER has to be the certificate's name"),
    setting!("tls.exempt",                     Networks,    tls.exempt,                        "who may do without TLS where it is required"),
    setting!("tls.auth_ssl_alias",             Switch,      tls.auth_ssl_alias,                "true, false: whether AUTH SSL is served as AUTH TLS"),
    setting!("server.banner",                  Line,        server.banner,                     "text of the greeting"),
    setting!("hosts.names",                    Hosts,       server.hosts,                      "names that HOST may choose; none: any"),
    setting!("timeouts.login",                 WaitingTime, server.login,                      "from connecting to being logged in"),
    setting!("timeouts.idle",                  IdleTime,    server.idle,                       "without a command"),
    setting!("timeouts.data_connect",          WaitingTime, server.data_connect,               "to open a data connection"),
    setting!("timeouts.stall",                 WaitingTime, server.stall,                      "without a byte in a transfer"),
    setting!("timeouts.tls_handshake",         WaitingTime, server.tls_handshake,              "for a TLS handshake in all"),
    setting!("timeouts.shutdown_grace",        Time,        shutdown_grace,                    "for transfers to finish at SIGTERM; 5 s if one stands still"),
    setting!("limits.sessions",                Count,       server.sessions,                   "sessions in all; 0: what the system allows"),
    setting!("limits.per_address",             Count,       server.per_address,                "sessions of a host; 0: any number, as loopback"),
    setting!("limits.per_user",                Count,       server.per_user,                   "sessions of a user; 0: any number"),
    setting!("limits.login_failures",          Attempts,    server.login_failures,             "wrong passwords before the connection is closed"),
    setting!("limits.login_delay",             Time,        server.login_delay,                "before a wrong password is answered; then 2, 4 times"),
    setting!("limits.ban_after",               Number,      server.ban_after,                  "wrong passwords of a host in ban_window; 0: any number"),
    setting!("limits.ban_window",              WaitingTime, server.ban_window,                 "in which they are counted"),
    setting!("limits.ban_for",                 Time,        server.ban_for,                    "how long the host then gets 421; 0: not at all"),
    setting!("limits.buffers",                 Size,        server.buffers,                    "memory of all transfers' large buffers together"),
    setting!("limits.min_free",                Size,        server.min_free,                   "free space below which uploads and MKD are 452; 0: none"),
    setting!("passive.enabled",                Switch,      server.passive,                    "true, false: whether PASV and EPSV are served"),
    setting!("passive.ports",                  Ports,       server.passive_ports,              "for data connections: 50000-50099,51000"),
    setting!("passive.address",                Address,     server.passive_address,            "told to clients: the NAT's address, or its name"),
    setting!("passive.overrides",              Overrides,   server.passive_overrides,          "told to clients of some networks"),
    setting!("active.enabled",                 Switch,      server.active,                     "true, false: whether PORT and EPRT are served"),
    setting!("active.source_port",             Switch,      server.active_source_port,         "true, false: from port 20 where we listen on 21"),
    setting!("fxp.networks",                   Networks,    server.fxp_networks,               "where users may transfer to and from (FXP)"),
    setting!("network.allow",                  Networks,    server.allow,                      "who may connect, and nobody else"),
    setting!("network.deny",                   Networks,    server.deny,                       "who may not, even if allowed"),
    setting!("transfer.partial",               Partial,     server.partial,                    "resume, discard, publish: what a cut upload leaves"),
    setting!("transfer.partial_files",         Count,       server.partial_files,              "cut uploads kept for a user at most; 0: any number"),
    setting!("transfer.partial_bytes",         Size,        server.partial_bytes,              "bytes kept of a user's cut uploads at most; 0: any number"),
    setting!("transfer.umask",                 Umask,       server.umask,                      "permission bits that new files do not get: 022"),
    setting!("transfer.overwrite",             Switch,      server.overwrite,                  "true, false: whether files may be replaced"),
    setting!("transfer.rate_per_session",      Rate,        rate_per_session,                  "bytes a session moves in a second: 30 MiB/s"),
    setting!("transfer.rate_per_user",         Rate,        rate_per_user,                     "bytes all sessions of a user move in a second"),
    setting!("security.confine",               Confine,     server.confine,                    "best-effort, require, off: Landlock for sessions"),
    setting!("security.run_as",                RunAs,       run_as,                            "USER or USER:GROUP to be once the ports are bound"),
    setting!("listing.show_ids",               Switch,      server.show_ids,                   "true, false: numbers of owner and group in LIST"),
    setting!("security.deny_names",            Patterns,    server.deny_names,                 "names not to be made, as *.exe; letters in any case"),
    setting!("security.deny_hardlinks",        Switch,      server.deny_hardlinks,             "true, false: whether files with several names are 550"),
    setting!("security.strict_crlf",           Switch,      server.strict_crlf,                "true, false: whether LF alone ends no command"),
    setting!("compatibility.dash_password",    Switch,      server.dash_password,              "true, false: take a - off passwords"),
    setting!("transfer.sync",                  Sync,        server.sync,                       "none, file, file+dir: what is on disk at 226 and 250"),
    setting!("log.format",                     Log,         log_format,                        "text, json: lines of logins and transfers"),
    setting!("log.transfers",                  File,        log_transfers,                     "a file for transfers, in the form of xferlog"),
    setting!("hooks.stored",                   Arguments,   stored_hook,                       "a program for each file that is stored"),
    setting!("hooks.timeout",                  WaitingTime, hook_timeout,                      "how long it may take before it is killed"),
    setting!("anonymous.enabled",              Switch,      anonymous.enabled,                 "true, false: whether anyone may log in"),
    setting!("anonymous.root",                 Directory,   anonymous.root,                    "the directory that is / to them"),
    setting!("anonymous.rights",               Rights,      anonymous.rights,                  "what they may do: read, full, drop-box, or a list"),
    setting!("anonymous.quota",                Size,        anonymous.quota,                   "bytes below that directory in all; 0: any number"),
    setting!("anonymous.per_user",             OwnCount,    anonymous.limits.sessions,         "sessions of all of them, in place of limits.per_user; 0: any"),
    setting!("anonymous.rate_per_session",     Rate,        anonymous.limits.rate_per_session, "in place of transfer.rate_per_session; 0: any"),
    setting!("anonymous.rate_per_user",        Rate,        anonymous.limits.rate_per_user,    "of all of them, in place of transfer.rate_per_user; 0: any"),
];

/// What a running server keeps as it is, whatever is read anew.
pub(crate) const FIXED: &[&str] =
    &["listen.addresses", "listen.implicit_tls", "limits.sessions", "security.run_as"];

impl Settings {
    /// Applies one `KEY=VALUE`.
    ///
    /// # Errors
    ///
    /// A sentence: the form, the key with what may be meant, or the value is wrong.
    pub(crate) fn set(&mut self, assignment: &str) -> Result<(), String> {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(format!("\"{assignment}\" is not KEY=VALUE"));
        };
        let (key, value) = (key.trim(), unquoted(value.trim()));
        if let Some((name, key)) = key.strip_prefix("users.").and_then(|key| key.rsplit_once('.')) {
            return self.set_user(unquoted(name), key, value);
        }
        let Some(row) = TABLE.iter().find(|row| row.key == key) else {
            let hint = match suggestion(key) {
                Some(near) => format!("did you mean {near}?"),
                None => "ftp-cli help serve lists the settings".to_owned(),
            };
            return Err(format!("unknown setting {key}; {hint}"));
        };
        self.set_row(row, value, "--set")
    }

    fn set_user(&mut self, name: &str, key: &str, value: &str) -> Result<(), String> {
        let Some(row) = USER.iter().find(|row| row.key == key) else {
            let keys: Vec<&str> = USER.iter().map(|row| row.key).collect();
            return Err(format!("unknown setting users.NAME.{key}; there are {}", keys.join(", ")));
        };
        if !is_name(name) {
            return Err(format!("users.NAME: {} is no name that a client can send", shown(name)));
        }
        let user = self.users.with(name);
        row.set(user, value).map_err(|wrong| format!("users.{}.{key}: {wrong}", shown(name)))?;
        user.origins.note(row.key, "--set", None);
        Ok(())
    }

    /// Applies the value of the option `origin`.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the value.
    pub(crate) fn set_by_option(
        &mut self,
        key: &str,
        value: &str,
        origin: &str,
    ) -> Result<(), String> {
        match TABLE.iter().find(|row| row.key == key) {
            Some(row) => self.set_row(row, value, origin),
            None => Err(format!("there is no setting {key}")),
        }
    }

    fn set_row(&mut self, row: &Row<Self>, text: &str, origin: &str) -> Result<(), String> {
        row.set(self, text).map_err(|wrong| format!("{}: {wrong}", row.key))?;
        self.origins.note(row.key, origin, None);
        Ok(())
    }

    /// All that is listened on, in clear and with TLS from the start.
    pub(crate) fn all_listen(&self) -> Vec<SocketAddr> {
        available(&[&self.listen[..], &self.implicit].concat(), has_ipv6)
    }

    /// What the server is told.
    pub(crate) fn server(&self) -> ServerConfig {
        let rate_per_session = self.rate_per_session.unwrap_or(0);
        let rate_per_user = self.rate_per_user.unwrap_or(0);
        ServerConfig { rate_per_session, rate_per_user, ..self.server.clone() }
    }

    /// What contradicts itself, behind where it was said; `file` is the one that was read.
    pub(crate) fn contradictions(&self, file: Option<&File>) -> Vec<String> {
        let mut wrong = Vec::new();
        let place = |origins: &Origins, key: &str| {
            let place = file.zip(origins.at(key)).map(|(file, at)| file.place(at));
            place.unwrap_or_else(|| origins.of(key).to_owned())
        };
        if self.anonymous.enabled && self.anonymous.root == Path::new("") {
            let place = place(&self.origins, "anonymous.enabled");
            wrong.push(format!("{place}: anonymous.enabled: needs anonymous.root"));
        }
        if self.listen.is_empty() && self.implicit.is_empty() {
            let place = place(&self.origins, "listen.addresses");
            wrong.push(format!("{place}: listen.addresses: no address to listen on"));
        }
        let is_in_clear = |one: &&Listen| {
            one.address.port() != 0 && self.listen.iter().any(|other| other.address == one.address)
        };
        if let Some(both) = self.implicit.iter().find(is_in_clear) {
            let place = place(&self.origins, "listen.implicit_tls");
            let why = "is in listen.addresses, too; a port greets in one way";
            wrong.push(format!("{place}: listen.implicit_tls: \"{both}\" {why}"));
        }
        for (key, why) in self.tls.contradictions(!self.implicit.is_empty()) {
            wrong.push(format!("{}: {key}: {why}", place(&self.origins, key)));
        }
        for (name, user) in self.users.iter() {
            if user.tls == TlsPolicy::Required
                && let Some(needed) = self.tls.lacks_for_users(!self.implicit.is_empty())
            {
                let place = place(&user.origins, "tls");
                wrong.push(format!("{place}: users.{}.tls: needs {needed}", shown(name)));
            }
        }
        for (name, user) in self.users.iter() {
            // Only a user of --set may be so.
            for lack in user.lacks() {
                wrong.push(format!("--set: users.{}: has no {lack}", shown(name)));
            }
        }
        wrong
    }

    /// The keys of the values that differ from those of another; `users` for any of those.
    pub(crate) fn changes(&self, other: &Self) -> Vec<&'static str> {
        let differs = |row: &&Row<Self>| row.show(self) != row.show(other);
        let mut changes: Vec<_> = TABLE.iter().filter(differs).map(|row| row.key).collect();
        if !self.users.is_same(&other.users) {
            changes.push("users");
        }
        changes
    }
}

/// The key that may be meant: one that is written nearly so, or that ends in this word.
fn suggestion(key: &str) -> Option<&'static str> {
    let keys = || TABLE.iter().map(|row| row.key);
    let last = key.rsplit('.').next().unwrap_or_default();
    let is_last = |known: &&str| known.rsplit('.').next() == Some(last);
    values::nearest(key, keys()).or_else(|| keys().find(is_last))
}
