//! The keys of `serve` with their settings, those of the programs included, and contradictions among
//! them. Lists the documentation of all keys.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ftp_proto::HostName;

use super::forms::{
    ADDRESS, ADDRESSES, ARGUMENTS, ATTEMPTS, CLIENTS, CONFINE, COUNT, DIRECTORY_MODE, EVENTS, FILE,
    FILE_MODE, FILES, GROUP, HOSTS, HookEvent, IDLE_TIME, Kind, LEDGER, LINE, LOG, LOG_TARGET,
    LogFormat, LogTarget, METRICS, MODE, NETWORKS, NUMBER, ON_FAILURE, OVERRIDES, OWN_COUNT, OWNER,
    PARTIAL, PATTERNS, PINS, PORTS, PROCESSES, PROGRAM, RATE, REUSE, RIGHTS, ROOT, RUN_AS, SIZE,
    SWITCH, SYNC, TIME, TLS, UMASK, VERSION, WAITING_TIME,
};
use super::hosts::{ANONYMOUS, HOST, HOST_TABLES, Host};
use super::ledger::{LedgerSettings, LedgerUrl};
use super::listen::{Listen, MetricsAddress, Passed, available, has_ipv6};
use super::protection::Protection;
use super::row::{
    Fields, Fixed, Origins, SetOption, Setting, are_same, fields, row, with_defaults,
};
use super::stores::{NOT_PUBLISHED, STORE, STORE_TABLES, StoreSettings, UNCHECKED};
use super::user::{
    DEFAULTS, GROUP_TABLES, GROUPS, Include, NO_SYSTEM_USER, OF_USERS, Table, USER, USER_TABLES,
    User, UserLayers,
};
use crate::daemon::privileges::{FileGroup, RunAs};
use crate::daemon::store_kind::StoreKinds;
use crate::{Limits, LocalConfig, PartialPolicy, ServerConfig, TlsPolicy};
use ftp_proto::text::values;

with_defaults! {
    /// Settings of a server, without the directory and the users on the command line.
    #[derive(Clone, Debug)]
    pub(crate) struct Settings {
        pub(crate) listen: Vec<Listen> = vec![Listen::default()],
        pub(crate) implicit: Vec<Listen>,
        /// Whether to listen on addresses that the computer does not have yet.
        pub(crate) freebind: bool,
        /// Number of additional sockets that a service manager has passed.
        pub(crate) passed: Passed,
        pub(crate) tls: Protection,
        /// Configuration of the server, without the hosts.
        pub(crate) server: ServerConfig =
            ServerConfig::new().limits(Limits::new().per_address(64).min_free(64 * 1024 * 1024)),
        /// Names that `HOST` accepts without choosing a virtual host.
        pub(crate) host_names: Vec<HostName>,
        pub(crate) hosts: BTreeMap<HostName, Host>,
        pub(crate) stores: BTreeMap<String, StoreSettings>,
        /// Kinds of stores that the program has added.
        pub(crate) kinds: StoreKinds,
        pub(crate) ledger: LedgerSettings,
        /// Storage of files in each root directory.
        pub(crate) local: LocalConfig,
        /// Rate limit of a session in bytes per second; `Some(0)`: explicitly unlimited.
        pub(crate) rate_per_session: Option<u64>,
        pub(crate) rate_per_user: Option<u64>,
        /// Anonymous users; enabled if anonymous logins are.
        pub(crate) anonymous: User = User { enabled: false, ..User::default() },
        pub(crate) users: UserLayers,
        /// Time for transfers to finish after a stop is requested.
        pub(crate) shutdown_grace: Duration = Duration::from_secs(30),
        /// User that the process switches to after binding the ports.
        pub(crate) run_as: Option<RunAs>,
        pub(crate) log_format: LogFormat,
        pub(crate) control_socket: Option<PathBuf>,
        pub(crate) control_group: Option<FileGroup>,
        pub(crate) control_mode: u32 = 0o660,
        pub(crate) metrics: Option<MetricsAddress>,
        pub(crate) log_target: LogTarget,
        /// File of the transfer log in xferlog(5) format.
        pub(crate) log_transfers: Option<PathBuf>,
        pub(crate) hooks: HookSettings,
        pub(crate) auth: AuthSettings,
        pub(crate) environment: Environment,
        /// Further files with users.
        pub(crate) include: Option<Include>,
        pub(crate) origins: Origins,
    }
}

/// Looks up environment variables; by default there are none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Environment(pub(crate) fn(&str) -> Option<OsString>);

impl Default for Environment {
    fn default() -> Self {
        Self(|_| None)
    }
}

impl Environment {
    /// Returns the value of a variable that is set and not empty.
    pub(crate) fn get(self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// Returns the state directory of the service. systemd may name several; the first is used.
    pub(crate) fn state_directory(self) -> Option<PathBuf> {
        let all = self.get("STATE_DIRECTORY")?;
        std::env::split_paths(&all).next().filter(|path| path.is_absolute())
    }
}

// After a key: when its value is fixed until a restart. There is no `server.name`: the greeting has
// only the banner, `HOST` uses `hosts.names`, and no other reply names the server.
#[rustfmt::skip]
pub(crate) static TABLE: &[Setting<Settings>] = &[
    row!(Settings, "listen.addresses" AtStart,       ADDRESSES,    listen,                            "Listen on PORT (this computer only), :PORT (all addresses) or HOST:PORT."),
    row!(Settings, "listen.implicit_tls" AtStart,    ADDRESSES,    implicit,                          "Listen for implicit TLS, usually on :990 (990 alone: this computer only)."),
    row!(Settings, "listen.freebind" AtStart,        SWITCH,       freebind,                          "Listen on addresses that the computer does not have yet."),
    row!(Settings, "tls.certificate",                FILE,         tls.certificate,                   "PEM file of the certificate chain, with the server's own certificate first."),
    row!(Settings, "tls.key",                        FILE,         tls.key,                           "PEM file of the private key, without a passphrase."),
    row!(Settings, "tls.self_signed",                SWITCH,       tls.self_signed,                   "Without tls.certificate, create a self-signed certificate at the first start and use it from then on."),
    row!(Settings, "tls.watch",                      TIME,         tls.watch,                         "Interval for reloading changed certificate files (0: only on reload)."),
    row!(Settings, "tls.control",                    TLS,          tls.control,                       "TLS on the control connection, before login: off, optional or required."),
    row!(Settings, "tls.data",                       TLS,          tls.data,                          "TLS on data connections, for transfers and listings: off, optional or required."),
    row!(Settings, "tls.session_reuse",              REUSE,        tls.session_reuse,                 "TLS session resumption on data connections: off, observe (allow), prefer (warn if missing) or require."),
    row!(Settings, "tls.allow_missing_close_notify", SWITCH,       tls.allow_missing_close_notify,    "Accept TLS uploads that end without close_notify and so may be truncated."),
    row!(Settings, "tls.min_version",                VERSION,      tls.min_version,                   "Oldest accepted TLS version: 1.2 or 1.3."),
    row!(Settings, "tls.client_ca",                  FILE,         tls.client_ca,                     "PEM file of the CAs that issue client certificates."),
    row!(Settings, "tls.client_certificates",        CLIENTS,      tls.client_certificates,           "Client certificates issued by a CA in tls.client_ca: optional or required."),
    row!(Settings, "tls.cert_user",                  SWITCH,       tls.cert_user,                     "Require the login name to be the common name or mail address in the client certificate."),
    row!(Settings, "tls.exempt",                     NETWORKS,     tls.exempt,                        "Networks whose clients need no TLS, even if tls.control or tls.data requires it (empty: none)."),
    row!(Settings, "tls.auth_ssl_alias",             SWITCH,       tls.auth_ssl_alias,                "Accept AUTH SSL and AUTH TLS-P, which turn on TLS for data connections without PROT P."),
    row!(Settings, "tls.sscn_ca",                    FILE,         tls.sscn_ca,                       "PEM file of the CAs that issue other servers' certificates, for FXP under TLS (SSCN)."),
    row!(Settings, "tls.sscn_pins",                  PINS,         tls.sscn_pins,                     "Pins sha256//... of other servers' keys, for FXP under TLS (SSCN)."),
    row!(Settings, "tls.sscn_any",                   SWITCH,       tls.sscn_any,                      "Trust any other server in FXP under TLS (SSCN), whatever its certificate."),
    row!(Settings, "server.banner",                  LINE,         server.banner,                     "Text of the greeting."),
    row!(Settings, "hosts.names",                    HOSTS,        host_names,                        "Host names that the HOST command accepts (empty: any); a new self-signed certificate is also valid for them."),
    row!(Settings, "timeouts.login",                 WAITING_TIME, server.timeouts.login,             "Maximum time from connection to login."),
    row!(Settings, "timeouts.idle",                  IDLE_TIME,    server.timeouts.idle,              "Maximum time without a command after login."),
    row!(Settings, "timeouts.data_connect",          WAITING_TIME, server.timeouts.data_connect,      "Maximum time to open a data connection."),
    row!(Settings, "timeouts.stall",                 WAITING_TIME, server.timeouts.stall,             "Maximum time without progress in a transfer."),
    row!(Settings, "timeouts.tls_handshake",         WAITING_TIME, server.timeouts.tls_handshake,     "Maximum time for a whole TLS handshake."),
    row!(Settings, "timeouts.shutdown_grace",        TIME,         shutdown_grace,                    "Maximum time for transfers to finish after SIGTERM; at most 5 s for stalled transfers."),
    row!(Settings, "limits.sessions" AtStart,        COUNT,        server.limits.sessions,            "Maximum sessions in total, the last eighth for networks without a session (0: derived from the system's limits)."),
    row!(Settings, "limits.per_address",             COUNT,        server.limits.per_address,         "Maximum sessions per IPv4 address or IPv6 /64; loopback is exempt (0: unlimited)."),
    row!(Settings, "limits.per_user",                COUNT,        server.limits.per_user,            "Maximum sessions per user (0: unlimited)."),
    row!(Settings, "limits.login_failures",          ATTEMPTS,     server.logins.failures,            "Failed logins after which the server closes the connection."),
    row!(Settings, "limits.login_delay",             TIME,         server.logins.delay,               "Delay of the reply to the first failed login; doubled for the second, quadrupled for all later ones."),
    row!(Settings, "limits.ban_after",               NUMBER,       server.logins.ban_after,           "Failed logins per IPv4 address or IPv6 /64 within limits.ban_window that lead to a ban (0: no bans); never of loopback."),
    row!(Settings, "limits.ban_window",              WAITING_TIME, server.logins.ban_window,          "Period in which failed logins count towards limits.ban_after."),
    row!(Settings, "limits.ban_for",                 TIME,         server.logins.ban_for,             "Duration of a ban; during the ban, each connection from the address gets 421 (0: no bans)."),
    row!(Settings, "limits.buffers",                 SIZE,         server.limits.buffers,             "Maximum memory for the large buffers of all transfers together, at most an eighth of the memory; when it is used up, further transfers use small buffers."),
    row!(Settings, "limits.min_free",                SIZE,         server.limits.min_free,            "Free disk space below which uploads and MKD fail with 452 (0: no limit)."),
    row!(Settings, "passive.enabled",                SWITCH,       server.passive.enabled,            "Serve PASV and EPSV."),
    row!(Settings, "passive.ports",                  PORTS,        server.passive.ports,              "Ports and port ranges for passive data connections, such as 50000-50099,51000 (empty: any)."),
    row!(Settings, "passive.address",                ADDRESS,      server.passive.address,            "Address or name that PASV announces, such as a NAT router's (empty: the server's own)."),
    row!(Settings, "passive.overrides",              OVERRIDES,    server.passive.overrides,          "Addresses that PASV announces to clients in certain networks"),
    row!(Settings, "active.enabled",                 SWITCH,       server.active,                     "Serve PORT and EPRT."),
    row!(Settings, "active.source_port",             SWITCH,       server.active_source_port,         "Open active data connections from the port one below the listening port (20 for 21), if possible."),
    row!(Settings, "fxp.networks",                   NETWORKS,     server.fxp_networks,               "Networks of the servers that users with the right fxp can copy to and from (FXP) (empty: none)."),
    row!(Settings, "network.allow",                  NETWORKS,     server.allow,                      "Networks that may connect (empty: all)."),
    row!(Settings, "network.deny",                   NETWORKS,     server.deny,                       "Networks that may not connect, even if network.allow contains them."),
    row!(Settings, "network.proxy_protocol",         NETWORKS,     server.proxy_protocol,             "Networks of load balancers that begin each connection with a PROXY header (empty: none)."),
    row!(Settings, "transfer.partial",               PARTIAL,      local.partial,                     "Interrupted uploads: resume keeps them hidden for 12 hours (in TYPE A, it deletes them), publish keeps them under the final name, discard deletes them. In drop boxes, with STOU and of anonymous users, they are always deleted; an interrupted APPE leaves the old file."),
    row!(Settings, "transfer.partial_files",         COUNT,        local.partial_files,               "Maximum interrupted uploads kept per user; the oldest are removed first (0: unlimited)."),
    row!(Settings, "transfer.partial_bytes",         SIZE,         local.partial_bytes,               "Maximum bytes of interrupted uploads kept per user; the oldest are removed first (0: unlimited)."),
    row!(Settings, "transfer.partial_age",           WAITING_TIME, local.partial_age,                 "Time for which the bytes of interrupted uploads are kept."),
    row!(Settings, "transfer.umask",                 UMASK,        local.umask,                       "Umask of new files and directories."),
    row!(Settings, "transfer.overwrite",             SWITCH,       server.overwrite,                  "Let uploads and renames replace existing files."),
    row!(Settings, "transfer.block_mode",            SWITCH,       server.block_mode,                 "Let clients transfer many files over one data connection (MODE B)."),
    row!(Settings, "transfer.compression",           SWITCH,       server.compression,                "Let clients compress transfers and listings (MODE Z)."),
    row!(Settings, "transfer.rate_per_session",      RATE,         rate_per_session,                  "Maximum bytes per second of a session, such as 30 MiB/s (empty: unlimited)."),
    row!(Settings, "transfer.rate_per_user",         RATE,         rate_per_user,                     "Maximum bytes per second of all sessions of a user (empty: unlimited)."),
    row!(Settings, "security.confine",               CONFINE,      local.confine,                     "Landlock confinement of sessions: best-effort, require or off."),
    row!(Settings, "security.run_as" AtStart,        RUN_AS,       run_as,                            "USER or USER:GROUP to switch to after binding the ports (empty: no switch)."),
    row!(Settings, "listing.show_ids",               SWITCH,       server.show_ids,                   "Show owner and group numbers in LIST."),
    row!(Settings, "security.deny_names",            PATTERNS,     server.deny_names,                 "Names such as *.exe that uploads, new directories and renames must not create (empty: none)."),
    row!(Settings, "security.deny_hardlinks",        SWITCH,       local.deny_hardlinks,              "Refuse to read or change files with several hard links (550)."),
    row!(Settings, "security.strict_crlf",           SWITCH,       server.strict_crlf,                "Reject commands that end in LF without CR."),
    row!(Settings, "compatibility.dash_password",    SWITCH,       server.dash_password,              "Strip the leading - that some old clients add to passwords."),
    row!(Settings, "transfer.sync",                  SYNC,         local.sync,                        "Data synced to disk before replies 226, 250 and 257: none, file or file+dir."),
    row!(Settings, "log.format",                     LOG,          log_format,                        "Format of log lines: text or json."),
    row!(Settings, "log.target" AtStart,             LOG_TARGET,   log_target,                        "Target of the event log: stderr, file:/PATH or syslog."),
    row!(Settings, "log.transfers",                  FILE,         log_transfers,                     "File for an additional transfer log in xferlog format, with times in UTC (empty: none)."),
    row!(Settings, "control.socket" AtStart,         FILE,         control_socket,                    "Unix socket for ftp-cli ctl who, kick, reload and other control commands (empty: none)."),
    row!(Settings, "control.group" AtStart,          GROUP,        control_group,                     "Group of the control socket (empty: the server's)."),
    row!(Settings, "control.mode" AtStart,           MODE,         control_mode,                      "Permissions of the control socket."),
    row!(Settings, "metrics.listen" AtStart,         METRICS,      metrics,                           "Address of Prometheus metrics: 127.0.0.1:9121 or unix:/path (empty: none)."),
    row!(Settings, "hooks.stored",                   ARGUMENTS,    hooks.stored,                      "Program to run after each completed upload"),
    row!(Settings, "hooks.check",                    ARGUMENTS,    hooks.check,                       "Program that accepts or refuses each complete upload before the file gets its name"),
    row!(Settings, "hooks.check_timeout",            WAITING_TIME, hooks.check_timeout,               "Time after which an upload that hooks.check has not accepted gets 450, with the wait for a process."),
    row!(Settings, "hooks.check_workers",            PROCESSES,    hooks.check_workers,               "Maximum processes of hooks.check at once; further uploads wait."),
    row!(Settings, "hooks.program",                  FILE,         hooks.program,                     "Program that runs for each event in hooks.events and reads the event as JSON from standard input (empty: none)."),
    row!(Settings, "hooks.events",                   EVENTS,       hooks.events,                      "Events for hooks.program: login, login-failed, logout, stored, cut (upload not completed), retrieved, deleted, renamed, made (directory created)."),
    row!(Settings, "hooks.timeout",                  WAITING_TIME, hooks.timeout,                     "Time after which a hook is killed."),
    row!(Settings, "hooks.processes",                PROCESSES,    hooks.processes,                   "Maximum processes of hooks.program at once."),
    row!(Settings, "hooks.retries",                  NUMBER,       hooks.retries,                     "Maximum retries of hooks.program for each event."),
    row!(Settings, "hooks.retry_delay",              TIME,         hooks.retry_delay,                 "Pause before the first retry of hooks.program; doubled before each further retry, up to 1 min."),
    row!(Settings, "hooks.dead_letters",             FILE,         hooks.dead_letters,                "Directory for events that hooks.program did not handle (empty: failed in hooks.spool; if that is temporary, log these events)."),
    row!(Settings, "hooks.spool" AtFirstUse,         FILE,         hooks.spool,                       "Directory in which events wait for their hooks, also across restarts (empty: in the state directory of systemd, else a temporary one)."),
    row!(Settings, "auth.program",                   PROGRAM,      auth.program,                      "Program that checks the logins of users who are not in the configuration (empty: none)"),
    row!(Settings, "auth.cache",                     TIME,         auth.cache,                        "Time for which the same login is accepted again without running auth.program (0: run it for each login)."),
    row!(Settings, "auth.timeout",                   WAITING_TIME, auth.timeout,                      "Time after which auth.program is killed."),
    row!(Settings, "auth.workers",                   PROCESSES,    auth.workers,                      "Maximum processes of auth.program at once; further logins wait."),
    row!(Settings, "ledger.url" AtStart,             LEDGER,       ledger.url,                        "Ledger that several servers share to count sessions, quotas and bans: store:NAME/PREFIX, redis://HOST or rediss://HOST (empty: none)."),
    row!(Settings, "ledger.password_file" AtStart,   FILE,         ledger.password_file,              "File whose first line is the password of Redis; read before privileges are dropped (empty: none)."),
    row!(Settings, "ledger.ca_file" AtStart,         FILE,         ledger.ca_file,                    "PEM file of the CAs that may issue the certificate of Redis at rediss://HOST (empty: the system's)."),
    row!(Settings, "ledger.on_failure" AtStart,      ON_FAILURE,   ledger.on_failure,                 "While the ledger does not answer: refuse logins (421) and changes (452) that it must count, or allow them."),
    row!(Settings, "ledger.lease" AtStart,           WAITING_TIME, ledger.lease,                      "Time after which the sessions and quota reservations of a dead server end; must be equal on all servers."),
    row!(Settings, "anonymous.enabled",              SWITCH,       anonymous.enabled,                 "Accept anonymous logins."),
    row!(Settings, "anonymous.root",                 ROOT,         anonymous.root,                    "Directory or store:NAME/PREFIX that anonymous users see as /."),
    row!(Settings, "anonymous.rights",               RIGHTS,       anonymous.rights,                  "Rights of anonymous users: read, full, drop-box, or a list of rights"),
    row!(Settings, "anonymous.quota",                SIZE,         anonymous.quota,                   "Maximum bytes below the anonymous root (0: unlimited)."),
    row!(Settings, "anonymous.max_files",            FILES,        anonymous.max_files,               "Maximum files and directories below the anonymous root (0: unlimited)."),
    row!(Settings, "anonymous.owner",                OWNER,        anonymous.owner,                   "User, by name or number, to whom anonymous uploads belong; needs CAP_CHOWN (empty: the server's user)."),
    row!(Settings, "anonymous.group",                GROUP,        anonymous.group,                   "Group, by name or number, of anonymous uploads; needs membership or CAP_CHOWN (empty: the server's, or that of the parent directory)."),
    row!(Settings, "anonymous.hide_names",           PATTERNS,     anonymous.hide_names,              "Names such as *.tmp that listings leave out; commands with such a name still work (empty: none)."),
    row!(Settings, "anonymous.file_mode",            FILE_MODE,    anonymous.file_mode,               "Exact permissions of files that anonymous users store, such as 0640 (empty: those that transfer.umask leaves)."),
    row!(Settings, "anonymous.directory_mode",       DIRECTORY_MODE, anonymous.directory_mode,        "Exact permissions of directories that anonymous users make, such as 0750 (empty: those that transfer.umask leaves)."),
    row!(Settings, "anonymous.per_user",             OWN_COUNT,    anonymous.limits.sessions,         "Maximum anonymous sessions in total (empty: limits.per_user; 0: unlimited)."),
    row!(Settings, "anonymous.rate_per_session",     RATE,         anonymous.limits.rate_per_session, "Maximum bytes per second of an anonymous session (empty: transfer.rate_per_session; 0: unlimited)."),
    row!(Settings, "anonymous.rate_per_user",        RATE,         anonymous.limits.rate_per_user,    "Maximum bytes per second of all anonymous sessions (empty: transfer.rate_per_user; 0: unlimited)."),
];

fields!(Host, Settings, StoreSettings, User);

impl Fixed {
    /// Returns `None` if a reload changes the value of the key.
    pub(crate) fn of(key: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.key == key)?.fixed
    }
}

impl Settings {
    /// Returns whether there is an address or a socket with implicit TLS.
    fn has_implicit(&self) -> bool {
        !self.implicit.is_empty() || self.passed.implicit > 0
    }

    pub(crate) fn has_ledger(&self) -> bool {
        self.ledger.url != LedgerUrl::None
    }

    /// Sets a key to a value as in a file, or to plain text. `source` names the source of the value
    /// in messages.
    ///
    /// # Errors
    ///
    /// Returns a message if the key or the value is wrong.
    pub(crate) fn set(&mut self, key: &str, value: &str, source: &str) -> Result<(), String> {
        let key = key.trim();
        if let Some((tables, name, key)) = in_named_table(key) {
            let given = SetOption { key, value, source };
            let name = Kind::Text.given(name).bare();
            return match tables {
                DEFAULTS => self.assign_of_users(Table::Defaults, &given),
                GROUP_TABLES => self.assign_of_users(Table::Group(&name), &given),
                HOST_TABLES => self.assign_of_host(&name, &given),
                STORE_TABLES => self.assign_of_store(&name, &given),
                _ => self.assign_of_users(Table::User(&name), &given),
            };
        }
        let Some(row) = TABLE.iter().find(|row| row.key == key) else {
            let hint = match suggestion(key) {
                none if none.is_empty() => {
                    "; run ftp-cli help serve to list the settings".to_owned()
                }
                hint => hint,
            };
            return Err(format!("unknown setting {key}{hint}"));
        };
        row.assign(self, "", &SetOption { key, value, source })
    }

    /// Applies one `KEY=VALUE`.
    #[cfg(test)]
    pub(crate) fn assign(&mut self, assignment: &str) -> Result<(), String> {
        let (key, value) = assignment.split_once('=').unwrap();
        self.set(key, value, "--set")
    }

    fn assign_of_users(&mut self, table: Table<'_>, given: &SetOption<'_>) -> Result<(), String> {
        let tables = match table {
            Table::Defaults => "defaults",
            Table::Group(_) => "groups.NAME",
            Table::User(_) => "users.NAME",
        };
        let row = given.row(tables, table.rows()).map_err(|why| match given.key {
            GROUPS => format!("{table}.{GROUPS}: {OF_USERS}"),
            _ => why,
        })?;
        if let Some(wrong) = table.objection() {
            return Err(format!("{table}: {wrong}"));
        }
        let mut keys = self.users.get(table).cloned().unwrap_or_default();
        row.assign(&mut keys, &format!("{table}."), given)?;
        self.users.put(table, keys);
        self.users.resolve();
        Ok(())
    }

    /// Returns all addresses to listen on, in plaintext and with implicit TLS.
    pub(crate) fn all_listen(&self) -> Vec<SocketAddr> {
        available(&[&self.listen[..], &self.implicit].concat(), has_ipv6)
    }

    /// Returns all addresses for connections without implicit TLS.
    pub(crate) fn plaintext(&self) -> Vec<SocketAddr> {
        available(&self.listen, has_ipv6)
    }

    pub(crate) fn server(&self) -> ServerConfig {
        let limits = self.server.limits.rate_per_session(self.rate_per_session.unwrap_or(0));
        let limits = limits.rate_per_user(self.rate_per_user.unwrap_or(0));
        self.server.clone().limits(limits).hosts(self.virtual_hosts())
    }

    /// Returns all contradictions, each with its origin.
    pub(crate) fn contradictions(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut add = |key: &str, why: &str| {
            wrong.push(format!("{}: {key}: {why}", self.origins.place(key)));
        };
        if self.anonymous.enabled && self.anonymous.root.is_empty() {
            add("anonymous.enabled", "needs anonymous.root");
        }
        if self.listen.is_empty() && self.implicit.is_empty() && self.passed == Passed::default() {
            add("listen.addresses", "expected at least one address");
        }
        let is_in_clear = |one: &&Listen| {
            one.address.port() != 0 && self.listen.iter().any(|other| other.address == one.address)
        };
        if let Some(both) = self.implicit.iter().find(is_in_clear) {
            let why = format!("\"{both}\" is also in listen.addresses; use another port");
            add("listen.implicit_tls", &why);
        }
        let tls =
            self.tls.contradictions(self.has_implicit(), !self.server.fxp_networks.is_empty());
        for (key, why) in tls.into_iter().chain(self.hooks.contradictions()) {
            add(key, &why);
        }
        if self.local.partial == PartialPolicy::Publish && !self.stores.is_empty() {
            add("transfer.partial", NOT_PUBLISHED);
        }
        if self.local.partial == PartialPolicy::Publish && self.hooks.has_check() {
            add("transfer.partial", UNCHECKED);
        }
        for key in self.anonymous.strangers() {
            add(&format!("anonymous.{key}"), "%u is possible only for users with names");
        }
        if self.control_group.as_ref().is_some_and(FileGroup::is_unknown) {
            add("control.group", "%u is possible only for users");
        }
        for (key, why) in self.objections_to_stores(&self.anonymous) {
            add(&format!("anonymous.{key}"), &why);
        }
        if let Some((key, why)) =
            self.ledger.contradiction(|objects| self.objection_to_ledger(objects))
        {
            add(key, &why);
        }
        wrong.extend(self.contradictions_of_stores());
        wrong.extend(self.contradictions_of_users());
        wrong.extend(self.contradictions_of_hosts());
        wrong
    }

    fn contradictions_of_users(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, user) in self.users.iter() {
            let table = Table::User(name);
            // Only users that were set by value can be incomplete.
            for lack in user.lacks() {
                wrong.push(format!("{}: {table}: {lack} is missing", user.origins.first()));
            }
            for (key, why) in self.objections(user) {
                wrong.push(format!("{}: {table}.{key}: {why}", user.origins.place(key)));
            }
        }
        wrong
    }

    /// Returns the keys of a user that contradict other settings, each with the reason.
    pub(super) fn objections(&self, user: &User) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        if user.tls == TlsPolicy::Required
            && let Some(needed) = self.tls.lacks_for_users(self.has_implicit())
        {
            wrong.push(("tls", format!("needs {needed}")));
        }
        if let Some(key) = user.nameless() {
            let why = "this name cannot replace %u: it contains /, begins with ., or makes an \
                       invalid prefix; rename the user or remove %u";
            wrong.push((key, why.to_owned()));
        }
        let unknown = user.groups.iter().filter_map(|group| self.users.objection_to_group(group));
        wrong.extend(unknown.map(|unknown| (GROUPS, unknown)));
        wrong.extend(user.strangers().map(|key| (key, NO_SYSTEM_USER.to_owned())));
        wrong.extend(self.objections_to_stores(user));
        wrong
    }

    /// Returns the keys whose values differ. They include `users`, `hosts` and `stores` if the
    /// tables of that name differ, and `users` if what users inherit differs.
    pub(crate) fn changes(&self, other: &Self) -> Vec<&'static str> {
        let differs = |row: &&Setting<Self>| (row.show)(self) != (row.show)(other);
        let mut changes: Vec<_> = TABLE.iter().filter(differs).map(|row| row.key).collect();
        // Unlike other values, a password is not shown.
        let users = self.users.iter().map(|(name, user)| ((name, &user.password), user));
        let others = other.users.iter().map(|(name, user)| ((name, &user.password), user));
        let is_same = [
            (
                "users",
                are_same(USER, users, others)
                    && are_same(USER, self.users.tables(), other.users.tables()),
            ),
            ("hosts", are_same(HOST, self.hosts.iter(), other.hosts.iter())),
            ("stores", self.has_same_stores(other)),
        ];
        changes.extend(is_same.iter().filter(|(_, is_same)| !is_same).map(|(tables, _)| *tables));
        changes
    }
}

with_defaults! {
    /// The program that checks the logins of users who are not in the configuration.
    #[derive(Clone, Debug)]
    pub(crate) struct AuthSettings {
        /// Program that checks a login, with its arguments; empty for none.
        pub(crate) program: Vec<String>,
        /// Time for which an accepted password is remembered, so that the program does not run again.
        pub(crate) cache: Duration = Duration::from_secs(60),
        /// Timeout of one process.
        pub(crate) timeout: Duration = Duration::from_secs(5),
        /// Largest number of simultaneous processes.
        pub(crate) workers: usize = 4,
    }
}

with_defaults! {
    #[derive(Clone, Debug)]
    pub(crate) struct HookSettings {
        /// Program to run after each completed upload, with its arguments; empty for none.
        pub(crate) stored: Vec<String>,
        /// Program that accepts or refuses each complete upload, with its arguments; empty for none.
        pub(crate) check: Vec<String>,
        /// Time for which an upload waits for `check`.
        pub(crate) check_timeout: Duration = Duration::from_secs(15),
        pub(crate) check_workers: usize = 4,
        /// Timeout of one process of either other program.
        pub(crate) timeout: Duration = Duration::from_secs(60),
        /// Program that gets events as JSON.
        pub(crate) program: Option<PathBuf>,
        /// Events that `program` gets.
        pub(crate) events: Vec<HookEvent>,
        /// Largest number of simultaneous processes of `program`.
        pub(crate) processes: usize = 4,
        pub(crate) retries: u32 = 3,
        /// Pause before the first retry of `program`.
        pub(crate) retry_delay: Duration = Duration::from_secs(1),
        /// Directory for events that `program` did not handle.
        pub(crate) dead_letters: Option<PathBuf>,
        /// Directory of the queued events.
        pub(crate) spool: Option<PathBuf>,
    }
}

impl HookSettings {
    pub(crate) fn has_check(&self) -> bool {
        !self.check.is_empty()
    }

    /// Returns a contradiction, if there is one: the wrong key, and what it needs.
    pub(super) fn contradictions(&self) -> Option<(&'static str, String)> {
        match (&self.program, self.events.is_empty()) {
            (Some(_), true) => Some(("hooks.program", "needs hooks.events".to_owned())),
            (None, false) => Some(("hooks.events", "needs hooks.program".to_owned())),
            (None, true) if self.dead_letters.is_some() => {
                Some(("hooks.dead_letters", "needs hooks.program".to_owned()))
            }
            _ => None,
        }
    }
}

/// Splits a key such as `users.NAME.KEY` into the tables, the name, which may be in quotes, and the
/// key.
fn in_named_table(key: &str) -> Option<(&str, &str, &str)> {
    let (tables, rest) = key.split_once('.')?;
    if tables == DEFAULTS {
        return Some((tables, "", rest));
    }
    let (name, key) = rest.rsplit_once('.')?;
    let is_named = [GROUP_TABLES, USER_TABLES, HOST_TABLES, STORE_TABLES].contains(&tables);
    is_named.then_some((tables, name, key))
}

/// Returns a hint to the key that the user may have meant: a similar key of the same section, a key
/// with the same last word, a key of users, or a similar key. Returns nothing if there is none.
pub(super) fn suggestion(key: &str) -> String {
    let (section, last) = key.rsplit_once('.').unwrap_or(("", key));
    let rows = || TABLE.iter();
    let here = rows().filter(|row| row.table() == section);
    let near = values::nearest(last, here.map(Setting::name));
    let near =
        near.and_then(|near| rows().find(|row| row.table() == section && row.name() == near));
    let is_same = |row: &&Setting<Settings>| row.name() == last && row.table() != ANONYMOUS;
    if let Some(row) = near.or_else(|| rows().find(is_same)) {
        return format!("; did you mean {}?", row.key);
    }
    match USER.iter().any(|row| row.key == last) {
        true => format!("; {last} belongs into [users.NAME], [groups.NAME] or [defaults]"),
        false => values::did_you_mean(key, rows().map(|row| row.key)),
    }
}

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

impl SettingHelp {
    /// Returns the documentation of all settings, in the order of `dist/server.toml`.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let of_server = TABLE.iter().map(|row| help(row, row.table(), &Settings::default()));
        let of_users = USER.iter().map(|row| help(row, "users.NAME", &User::default()));
        let of_hosts = HOST.iter().map(|row| help(row, "hosts.NAME", &Host::default()));
        let of_stores = STORE.iter().map(|row| help(row, "stores.NAME", &StoreSettings::default()));
        of_server.chain(of_users).chain(of_hosts).chain(of_stores).collect()
    }
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
        needs_restart: row.fixed.is_some(),
    }
}
