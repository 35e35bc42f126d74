//! The settings of `serve`, as data: what stands in [`TABLE`] can be set in a file and behind
//! `--set KEY=VALUE`, with these keys, is in `help serve`, in what `--check` prints and in
//! `dist/server.toml`; nothing else is.

mod file;
mod listen;
mod protection;
mod reader;
mod row;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
mod user;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ftp_proto::{HostName, Network, PortRanges};
use ftp_server::{
    ConfinementPolicy, LogFormat, NamePattern, PartialPolicy, PassiveAddress, PassiveOverride,
    Rights, ServerConfig, SyncPolicy, TlsPolicy, UserLimits,
};
use toml::de::DeTable;

use crate::privileges::RunAs;
use crate::values::{self, duration, show, show_size, size, waiting_time, word};

pub(crate) use file::{File, Reading};
pub(crate) use listen::{Listen, available, has_ipv6};
pub(crate) use protection::Protection;
use protection::{
    clients, clients_word, policy, policy_word, reuse, reuse_word, version, version_word,
};
pub(crate) use reader::shown;
use row::{ARGUMENTS, Keyed, row, unquoted};
pub(crate) use row::{Origins, Row};
use user::is_name;
pub(crate) use user::{USER, User};

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
    pub(crate) users: BTreeMap<String, User>,
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
            users: BTreeMap::new(),
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

impl Keyed for Settings {
    fn origins(&mut self) -> &mut Origins {
        &mut self.origins
    }
}

/// How many failed logins of a host can be counted.
const MOST_FAILURES: u32 = 1_000;

const YES: &[(&str, bool)] = &[("true", true), ("false", false)];

const SYNC: &[(&str, SyncPolicy)] = &[
    ("none", SyncPolicy::None),
    ("file", SyncPolicy::File),
    ("file+dir", SyncPolicy::FileAndDirectory),
];

const PARTIAL: &[(&str, PartialPolicy)] = &[
    ("resume", PartialPolicy::Resume),
    ("discard", PartialPolicy::Discard),
    ("publish", PartialPolicy::Publish),
];

macro_rules! setting {
    ($($row:tt)*) => { row!(Settings, $($row)*) };
}

// There is no `server.name`: the greeting is the banner alone (RP-11), `HOST` goes by `hosts.names`
// (CM-23), and no other reply names the server, so that it would change nothing.
#[rustfmt::skip]
pub(crate) const TABLE: &[Row<Settings>] = &[
    setting!("listen.addresses",        "where to listen: PORT, :PORT (all) or HOST:PORT", listen,            listen::addresses, listen::shown),
    setting!("listen.implicit_tls",     "the same, with TLS from the first byte; by custom port 990", implicit,   listen::addresses,  listen::shown),
    setting!("tls.certificate",         "a PEM file: the server's, then those above it",   tls.certificate,       file,         shown_file),
    setting!("tls.key",                 "a PEM file: its private key, without a pass phrase", tls.key,            file,         shown_file),
    setting!("tls.self_signed",         "true, false: make and keep a certificate of our own", tls.self_signed,   yes,          bool::to_string),
    setting!("tls.control",             "off, optional, required: TLS before a login",     tls.control,           policy,       policy_word),
    setting!("tls.data",                "off, optional, required: TLS for transfers",      tls.data,              policy,       policy_word),
    setting!("tls.session_reuse",       "off, observe, prefer, require: data resumes control", tls.session_reuse, reuse, reuse_word),
    setting!("tls.allow_missing_close_notify", "true, false: take uploads that may be cut", tls.allow_missing_close_notify, yes, bool::to_string),
    setting!("tls.min_version",         "1.2, 1.3: the oldest version of TLS",             tls.min_version,       version,      version_word),
    setting!("tls.client_ca",           "a PEM file: who issues clients' certificates",    tls.client_ca,         file,         shown_file),
    setting!("tls.client_certificates", "optional, required: that clients show one", tls.client_certificates, clients, clients_word),
    setting!("tls.cert_user",           "true, false: whether USER has to be the certificate's name", tls.cert_user, yes,        bool::to_string),
    setting!("tls.exempt",              "who may do without TLS where it is required",     tls.exempt,            networks,     show_networks),
    setting!("tls.auth_ssl_alias",      "true, false: whether AUTH SSL is served as AUTH TLS", tls.auth_ssl_alias, yes,         bool::to_string),
    setting!("server.banner",           "text of the greeting",                            server.banner,         line,         |text: &String| format!("\"{text}\"")),
    setting!("hosts.names",             "names that HOST may choose; none: any", server.hosts,       hosts,        |hosts: &Vec<HostName>| format!("\"{}\"", shown_hosts(hosts))),
    setting!("timeouts.login",          "from connecting to being logged in",              server.login,          waiting_time, time),
    setting!("timeouts.idle",           "without a command",                               server.idle,           idle_time,    time),
    setting!("timeouts.data_connect",   "to open a data connection",                       server.data_connect,   waiting_time, time),
    setting!("timeouts.stall",          "without a byte in a transfer",                    server.stall,          waiting_time, time),
    setting!("timeouts.tls_handshake",  "for a TLS handshake in all",                      server.tls_handshake,  waiting_time, time),
    setting!("timeouts.shutdown_grace", "for transfers to finish at SIGTERM",              shutdown_grace,        duration,     time),
    setting!("limits.sessions",         "sessions in all; 0: what the system allows",      server.sessions,       count,        usize::to_string),
    setting!("limits.per_address",      "sessions of a host; 0: any number, as loopback",  server.per_address,    count,        usize::to_string),
    setting!("limits.per_user",         "sessions of a user; 0: any number",               server.per_user,       count,        usize::to_string),
    setting!("limits.login_failures",   "wrong passwords before the connection is closed", server.login_failures, attempts,     u32::to_string),
    setting!("limits.login_delay",      "before a wrong password is answered; then 2, 4 times", server.login_delay, duration,   time),
    setting!("limits.ban_after",        "wrong passwords of a host in ban_window; 0: any number", server.ban_after, number,   u32::to_string),
    setting!("limits.ban_window",       "in which they are counted",                       server.ban_window,     waiting_time, time),
    setting!("limits.ban_for",          "how long the host then gets 421; 0: not at all",  server.ban_for,        duration,     time),
    setting!("limits.buffers",          "memory of all transfers' large buffers together", server.buffers,        size,         show_size),
    setting!("limits.min_free",         "free space below which uploads are 452; 0: none",                   server.min_free,       size,         show_size),
    setting!("passive.enabled",         "true, false: whether PASV and EPSV are served",   server.passive,        yes,          bool::to_string),
    setting!("passive.ports",           "for data connections: 50000-50099,51000",         server.passive_ports,     ports,     optional),
    setting!("passive.address",         "told to clients: the NAT's address, or its name", server.passive_address,   address,   optional),
    setting!("passive.overrides",       "told to clients of some networks",                server.passive_overrides, overrides, show_overrides),
    setting!("active.enabled",          "true, false: whether PORT and EPRT are served",   server.active,         yes,          bool::to_string),
    setting!("active.source_port",      "true, false: from port 20 where we listen on 21", server.active_source_port, yes,      bool::to_string),
    setting!("fxp.networks",            "where users may transfer to and from (FXP)",      server.fxp_networks,   networks,     show_networks),
    setting!("network.allow",           "who may connect, and nobody else",                server.allow,          networks,     show_networks),
    setting!("network.deny",            "who may not, even if allowed",                    server.deny,           networks,     show_networks),
    setting!("transfer.partial",        "resume, discard, publish: what a cut upload leaves", server.partial,      partial,      partial_word),
    setting!("transfer.umask" as Text,  "permission bits that new files do not get: 022",  server.umask,          umask,        show_umask),
    setting!("transfer.overwrite",      "true, false: whether files may be replaced",      server.overwrite,      yes,          bool::to_string),
    setting!("transfer.rate_per_session", "bytes a session moves in a second: 30 MiB/s",   rate_per_session,      rate,         show_rate),
    setting!("transfer.rate_per_user",  "bytes all sessions of a user move in a second",   rate_per_user,         rate,         show_rate),
    setting!("security.confine",        "best-effort, require, off: Landlock for sessions", server.confine,       confine,      confine_word),
    setting!("security.run_as",         "USER or USER:GROUP to be once the ports are bound", run_as,               run_as,       optional),
    setting!("listing.show_ids",        "true, false: numbers of owner and group in LIST", server.show_ids,       yes,          bool::to_string),
    setting!("security.deny_names",     "names not to be made, as *.exe; letters in any case", server.deny_names,     patterns,     show_patterns),
    setting!("security.deny_hardlinks", "true, false: whether files with several names are 550", server.deny_hardlinks, yes,      bool::to_string),
    setting!("security.strict_crlf",    "true, false: whether LF alone ends no command",   server.strict_crlf,    yes,          bool::to_string),
    setting!("compatibility.dash_password", "true, false: take a - off passwords",         server.dash_password,  yes,          bool::to_string),
    setting!("transfer.sync",           "none, file, file+dir: what is on disk at 226",    server.sync,           sync,         sync_word),
    setting!("log.format",              "text, json: lines of logins and transfers",       log_format,            format,       format_word),
    setting!("log.transfers",           "a file for transfers, in the form of xferlog",    log_transfers,         file,         shown_file),
    setting!("hooks.stored",            "a program for each file that is stored", stored_hook, arguments, shown_arguments),
    setting!("hooks.timeout",           "how long it may take before it is killed",        hook_timeout,          waiting_time, time),
    setting!("anonymous.enabled",       "true, false: whether anyone may log in",          anonymous.enabled,     yes,          bool::to_string),
    setting!("anonymous.root",          "the directory that is / to them",                 anonymous.root,        directory,    shown_directory),
    setting!("anonymous.rights",        "what they may do: read, full, drop-box, or a list", anonymous.rights,   rights,       shown_rights),
    setting!("anonymous.quota",         "bytes below that directory in all; 0: any number", anonymous.quota,      size,         show_size),
    setting!("anonymous.per_user",      "sessions of all of them, in place of limits.per_user; 0: any", anonymous.limits.sessions, own_count, own_count_shown),
    setting!("anonymous.rate_per_session", "in place of transfer.rate_per_session; 0: any",  anonymous.limits.rate_per_session, rate, show_rate),
    setting!("anonymous.rate_per_user", "of all of them, in place of transfer.rate_per_user; 0: any", anonymous.limits.rate_per_user, rate, show_rate),
];

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

const CONFINE: &[(&str, ConfinementPolicy)] = &[
    ("best-effort", ConfinementPolicy::BestEffort),
    ("require", ConfinementPolicy::Require),
    ("off", ConfinementPolicy::Off),
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
        let user = self.users.entry(name.to_owned()).or_default();
        (row.set)(user, value).map_err(|wrong| format!("users.{}.{key}: {wrong}", shown(name)))?;
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
        (row.set)(self, text).map_err(|wrong| format!("{}: {wrong}", row.key))?;
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
        for (name, user) in &self.users {
            if user.tls == TlsPolicy::Required
                && let Some(needed) = self.tls.lacks_for_users(!self.implicit.is_empty())
            {
                let place = place(&user.origins, "tls");
                wrong.push(format!("{place}: users.{}.tls: needs {needed}", shown(name)));
            }
        }
        for (name, user) in &self.users {
            // Only a user of --set may be so.
            for lack in user.lacks() {
                wrong.push(format!("--set: users.{}: has no {lack}", shown(name)));
            }
        }
        wrong
    }

    /// The keys of the values that differ from those of another; `users` for any of those.
    pub(crate) fn changes(&self, other: &Self) -> Vec<&'static str> {
        let differs = |row: &&Row<Self>| (row.show)(self) != (row.show)(other);
        let mut changes: Vec<_> = TABLE.iter().filter(differs).map(|row| row.key).collect();
        let users = self.users.iter().zip(&other.users);
        let is_same =
            |((name, user), (other_name, other)): ((&String, &User), (&String, &User))| {
                name == other_name && user.is_same(other)
            };
        if self.users.len() != other.users.len() || !users.into_iter().all(is_same) {
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

fn line(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err("a greeting is one line without control characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn hosts(text: &str) -> Result<Vec<HostName>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let host = |name: &str| {
        HostName::parse(name.as_bytes()).map_err(|_| format!("\"{name}\" is not a name of a host"))
    };
    names.map(host).collect()
}

fn shown_hosts(hosts: &[HostName]) -> String {
    let names: Vec<String> = hosts.iter().map(HostName::to_string).collect();
    names.join(", ")
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not a number"))
}

/// Nothing, for what is said of all users.
fn own_count(text: &str) -> Result<Option<usize>, String> {
    if text.is_empty() { Ok(None) } else { count(text).map(Some) }
}

fn own_count_shown(count: &Option<usize>) -> String {
    optional(count)
}

fn number(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number) if number <= MOST_FAILURES => Ok(number),
        _ => Err(format!("\"{text}\" is not a number from 0 to {MOST_FAILURES}")),
    }
}

fn attempts(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("\"{text}\" is not a number above 0")),
        Ok(number) => Ok(number),
    }
}

fn yes(text: &str) -> Result<bool, String> {
    word(text, YES)
}

fn sync(text: &str) -> Result<SyncPolicy, String> {
    word(text, SYNC)
}

fn sync_word(sync: &SyncPolicy) -> String {
    word_of(sync, SYNC)
}

fn confine(text: &str) -> Result<ConfinementPolicy, String> {
    word(text, CONFINE)
}

fn confine_word(policy: &ConfinementPolicy) -> String {
    word_of(policy, CONFINE)
}

fn format(text: &str) -> Result<LogFormat, String> {
    word(text, FORMATS)
}

fn format_word(format: &LogFormat) -> String {
    word_of(format, FORMATS)
}

/// Nothing, for no file.
fn file(text: &str) -> Result<Option<PathBuf>, String> {
    directory(text).map(|path| Some(path).filter(|path| !path.as_os_str().is_empty()))
}

fn shown_file(path: &Option<PathBuf>) -> String {
    shown_directory(path.as_deref().unwrap_or("".as_ref()))
}

/// `["/path/program", "argument"]`, as TOML has it; nothing, or `[]`, for none.
fn arguments(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let line = format!("items = {text}");
    let items = DeTable::parse(&line).ok().filter(|table| table.get_ref().len() == 1);
    let items = items.as_ref().and_then(|table| table.get_ref().get("items")?.get_ref().as_array());
    let items = items.and_then(|items| items.iter().map(|item| item.get_ref().as_str()).collect());
    let wrong = || format!("\"{text}\" is not {ARGUMENTS}");
    let items: Vec<&str> = items.ok_or_else(wrong)?;
    match items.first() {
        Some(program) if !program.starts_with('/') => {
            Err(format!("\"{program}\" does not begin with /"))
        }
        _ if items.iter().any(|item| item.contains('\0')) => {
            Err("an argument has no NUL".to_owned())
        }
        _ => Ok(items.into_iter().map(str::to_owned).collect()),
    }
}

fn shown_arguments(items: &[String]) -> String {
    row::list_of(items.iter().map(String::as_str))
}

fn word_of<T: PartialEq>(value: &T, words: &[(&str, T)]) -> String {
    let found = words.iter().find(|(_, known)| known == value);
    found.map_or_else(String::new, |(word, _)| (*word).to_owned())
}

/// A size a second; nothing where none is said, 0 for no limit.
fn rate(text: &str) -> Result<Option<u64>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| format!("\"{text}\" is not a rate; 500 KiB/s, 30 MiB/s are");
    size(text.strip_suffix("/s").unwrap_or(text)).map(Some).map_err(wrong)
}

fn show_rate(bytes: &Option<u64>) -> String {
    match bytes {
        None => "\"\"".to_owned(),
        Some(0) => "0".to_owned(),
        Some(bytes) => format!("{}/s", show_size(bytes)),
    }
}

fn partial(text: &str) -> Result<PartialPolicy, String> {
    word(text, PARTIAL)
}

fn partial_word(partial: &PartialPolicy) -> String {
    let found = PARTIAL.iter().find(|(_, known)| known == partial);
    found.map_or_else(String::new, |(word, _)| (*word).to_owned())
}

/// Three octal digits at most, as everywhere.
fn umask(text: &str) -> Result<u32, String> {
    let is_octal = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let bits = u32::from_str_radix(text, 8).ok().filter(|bits| is_octal && *bits <= 0o777);
    bits.ok_or_else(|| format!("\"{text}\" is not a mask from 000 to 777, in octal digits"))
}

fn show_umask(umask: &u32) -> String {
    format!("{umask:03o}")
}

/// Nothing, for what is up to the system.
fn optional<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| "\"\"".to_owned(), ToString::to_string)
}

fn ports(text: &str) -> Result<Option<PortRanges>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    values::ports(text).map(Some)
}

fn run_as(text: &str) -> Result<Option<RunAs>, String> {
    if text.is_empty() { Ok(None) } else { RunAs::parse(text).map(Some) }
}

fn address(text: &str) -> Result<Option<PassiveAddress>, String> {
    if text.is_empty() { Ok(None) } else { passive_address(text).map(Some) }
}

fn passive_address(text: &str) -> Result<PassiveAddress, String> {
    let wrong = |_| format!("\"{text}\" is neither an IPv4 address nor a host name");
    PassiveAddress::parse(text.as_bytes()).map_err(wrong)
}

/// `NETWORK[,NETWORK]...=ADDRESS`, and more of them behind `;`.
fn overrides(text: &str) -> Result<Vec<PassiveOverride>, String> {
    let items = text.split(';').filter(|item| !item.trim().is_empty());
    let items = items.map(|item| match item.split_once('=') {
        Some((clients, address)) => Ok(PassiveOverride {
            clients: networks(clients)?,
            address: passive_address(address.trim())?,
        }),
        None => Err(format!("\"{item}\" is not NETWORKS=ADDRESS")),
    });
    items.collect()
}

fn show_overrides(overrides: &[PassiveOverride]) -> String {
    let show = |o: &PassiveOverride| format!("{}={}", show_networks(&o.clients), o.address);
    let shown: Vec<String> = overrides.iter().map(show).collect();
    if shown.is_empty() { "\"\"".to_owned() } else { shown.join(";") }
}

fn networks(text: &str) -> Result<Vec<Network>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let items = items.map(|item| {
        let wrong = |_| format!("\"{item}\" is not a network; 10.0.0.0/8 and 192.0.2.1 are");
        Network::parse(item.as_bytes()).map_err(wrong)
    });
    items.collect()
}

fn show_networks(networks: &[Network]) -> String {
    let shown: Vec<String> = networks.iter().map(Network::to_string).collect();
    if shown.is_empty() { "\"\"".to_owned() } else { shown.join(",") }
}

fn patterns(text: &str) -> Result<Vec<NamePattern>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let items = items.map(|item| {
        let wrong = |error| format!("\"{item}\": {error}; such are *.exe and .ht*");
        NamePattern::parse(item.as_bytes()).map_err(wrong)
    });
    items.collect()
}

fn show_patterns(patterns: &[NamePattern]) -> String {
    let shown: Vec<String> = patterns.iter().map(NamePattern::to_string).collect();
    if shown.is_empty() { "\"\"".to_owned() } else { shown.join(",") }
}

/// RFC 1123 §4.1.3.2 wants at least five minutes; a session that may be idle for more than a day
/// is one that is forgotten.
fn idle_time(text: &str) -> Result<Duration, String> {
    match waiting_time(text)? {
        time if time < Duration::from_secs(10) => Err("less than 10 s".to_owned()),
        time if time > Duration::from_secs(86_400) => Err("more than 24 h".to_owned()),
        time => Ok(time),
    }
}

/// A path that does not depend on where the server was started. Empty: none.
fn directory(text: &str) -> Result<PathBuf, String> {
    match text.is_empty() || text.starts_with('/') {
        true if text.contains('\0') => Err("a path has no NUL".to_owned()),
        true => Ok(text.into()),
        false => Err(format!("\"{text}\" does not begin with /")),
    }
}

fn shown_directory(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// One word for several rights, or those that are meant, in brackets or not.
fn rights(text: &str) -> Result<Rights, String> {
    let list = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let rights = match list {
        Some(list) => Rights::from_words(list.split(',')),
        None => Rights::parse(text),
    };
    rights.map_err(|error| error.to_string())
}

pub(crate) fn shown_rights(rights: &Rights) -> String {
    match *rights {
        Rights::FULL => "full".to_owned(),
        Rights::READ => "read".to_owned(),
        Rights::DROP_BOX => "drop-box".to_owned(),
        _ => format!("[{}]", rights.words().collect::<Vec<_>>().join(", ")),
    }
}

fn time(time: &Duration) -> String {
    show(*time)
}
