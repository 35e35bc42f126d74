//! The settings of `serve --set KEY=VALUE`, as data: what stands here can be set, with these
//! keys, and is in `help serve`; nothing else can.

use std::time::Duration;

use ftp_proto::{HostName, Network, PortRanges};
use ftp_server::{
    ConfinementPolicy, NamePattern, PartialPolicy, PassiveAddress, PassiveOverride, ServerConfig,
    SyncPolicy,
};

use crate::privileges::RunAs;
use crate::values::{self, duration, show, show_size, size, waiting_time, word};

/// What a server is started with, apart from its users and its files.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) server: ServerConfig,
    /// How long transfers may go on once the server is to stop.
    pub(crate) shutdown_grace: Duration,
    /// Whom the process goes on as once it listens.
    pub(crate) run_as: Option<RunAs>,
}

impl Default for Settings {
    fn default() -> Self {
        let min_free = 64 * 1024 * 1024;
        let server = ServerConfig { per_address: 64, min_free, ..ServerConfig::default() };
        Self { server, shutdown_grace: Duration::from_secs(30), run_as: None }
    }
}

/// One key: what it is about, how its value is read and shown.
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) help: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
    pub(crate) show: fn(&Settings) -> String,
}

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

/// A row: key, help, the field, how it is read and how it is shown.
macro_rules! setting {
    ($key:literal, $help:literal, $($field:ident).+, $read:expr, $show:expr) => {
        Setting {
            key: $key,
            help: $help,
            set: |settings, text| {
                settings.$($field).+ = $read(text)?;
                Ok(())
            },
            show: |settings| $show(&settings.$($field).+),
        }
    };
}

#[rustfmt::skip]
pub(crate) const TABLE: &[Setting] = &[
    setting!("server.banner",           "text of the greeting",                            server.banner,         line,         |text: &String| format!("\"{text}\"")),
    setting!("hosts.names",             "names that HOST may choose, with commas; none: any", server.hosts,       hosts,        |hosts: &Vec<HostName>| format!("\"{}\"", shown_hosts(hosts))),
    setting!("timeouts.login",          "from connecting to being logged in",              server.login,          waiting_time, time),
    setting!("timeouts.idle",           "without a command",                               server.idle,           idle_time,    time),
    setting!("timeouts.data_connect",   "to open a data connection",                       server.data_connect,   waiting_time, time),
    setting!("timeouts.stall",          "without a byte in a transfer",                    server.stall,          waiting_time, time),
    setting!("timeouts.shutdown_grace", "for transfers to finish at SIGTERM",              shutdown_grace,        duration,     time),
    setting!("limits.sessions",         "sessions in all; 0: what the system allows",      server.sessions,       count,        usize::to_string),
    setting!("limits.per_address",      "sessions of a host; 0: any number, as loopback",  server.per_address,    count,        usize::to_string),
    setting!("limits.per_user",         "sessions of a user; 0: any number",               server.per_user,       count,        usize::to_string),
    setting!("limits.login_failures",   "wrong passwords before the connection is closed", server.login_failures, attempts,     u32::to_string),
    setting!("limits.buffers",          "memory of all transfers' large buffers together", server.buffers,        size,         show_size),
    setting!("limits.min_free",         "space that uploads leave free",                   server.min_free,       size,         show_size),
    setting!("passive.enabled",         "true, false: whether PASV and EPSV are served",   server.passive,        yes,          bool::to_string),
    setting!("passive.ports",           "for data connections: 50000-50099,51000",         server.passive_ports,     ports,     optional),
    setting!("passive.address",         "told to clients: the NAT's address, or its name", server.passive_address,   address,   optional),
    setting!("passive.overrides",       "for some of them: 10.0.0.0/8=10.0.0.5;...",       server.passive_overrides, overrides, show_overrides),
    setting!("active.enabled",          "true, false: whether PORT and EPRT are served",   server.active,         yes,          bool::to_string),
    setting!("active.source_port",      "true, false: from port 20 where we listen on 21", server.active_source_port, yes,      bool::to_string),
    setting!("fxp.networks",            "where users may transfer to and from: 10.0.0.0/8", server.fxp_networks,     networks,  show_networks),
    setting!("transfer.partial",        "resume, discard, publish: what a cut upload leaves", server.partial,      partial,      partial_word),
    setting!("transfer.umask",          "permission bits that new files do not get: 022",  server.umask,          umask,        show_umask),
    setting!("transfer.overwrite",      "true, false: whether files may be replaced",      server.overwrite,      yes,          bool::to_string),
    setting!("security.confine",        "best-effort, require, off: Landlock for sessions", server.confine,       confine,      confine_word),
    setting!("security.run_as",         "USER or USER:GROUP to be once the ports are bound", run_as,               run_as,       optional),
    setting!("listing.show_ids",        "true, false: numbers of owner and group in LIST", server.show_ids,       yes,          bool::to_string),
    setting!("security.deny_names",     "not to be made: *.exe,.ht*; letters in any case", server.deny_names,     patterns,     show_patterns),
    setting!("security.strict_crlf",    "true, false: whether LF alone ends no command",   server.strict_crlf,    yes,          bool::to_string),
    setting!("compatibility.dash_password", "true, false: take a - off passwords",         server.dash_password,  yes,          bool::to_string),
    setting!("transfer.sync",           "none, file, file+dir: what is on disk at 226",    server.sync,           sync,         sync_word),
];

const CONFINE: &[(&str, ConfinementPolicy)] = &[
    ("best-effort", ConfinementPolicy::BestEffort),
    ("require", ConfinementPolicy::Require),
    ("off", ConfinementPolicy::Off),
];

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
        let key = key.trim();
        let Some(setting) = TABLE.iter().find(|setting| setting.key == key) else {
            let hint = match values::nearest(key, TABLE.iter().map(|setting| setting.key)) {
                Some(near) => format!("did you mean {near}?"),
                None => "ftp-cli help serve lists the settings".to_owned(),
            };
            return Err(format!("unknown setting {key}; {hint}"));
        };
        (setting.set)(self, unquoted(value.trim())).map_err(|wrong| format!("{key}: {wrong}"))
    }
}

/// A value without the quotes around it, with which values that may be empty are shown.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
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

fn word_of<T: PartialEq>(value: &T, words: &[(&str, T)]) -> String {
    let found = words.iter().find(|(_, known)| known == value);
    found.map_or_else(String::new, |(word, _)| (*word).to_owned())
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
    let ports = || PortRanges::parse(text.as_bytes());
    let wrong = |error| format!("\"{text}\": {error}; ports are 50000-50099,51000");
    if text.is_empty() { Ok(None) } else { ports().map(Some).map_err(wrong) }
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

fn time(time: &Duration) -> String {
    show(*time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_what_it_shows() {
        for setting in TABLE {
            let mut settings = Settings::default();
            let shown = (setting.show)(&settings);
            for value in [&*shown, unquoted(&shown)] {
                settings.set(&format!("{}={value}", setting.key)).unwrap();
                assert_eq!((setting.show)(&settings), shown, "{}", setting.key);
            }
            assert!(!setting.help.is_empty() && setting.key.contains('.'), "{}", setting.key);
        }
    }

    #[test]
    fn what_is_shown_in_quotes_can_be_typed_so() {
        for (assignment, banner) in [
            ("server.banner=Hello there", "Hello there"),
            ("server.banner=\"Hello there\"", "Hello there"),
            ("server.banner=\" indented \"", " indented "),
            ("server.banner=\"\"a\" and \"b\"\"", "\"a\" and \"b\""),
            ("server.banner=\"", "\""),
            ("server.banner=\"half", "\"half"),
            ("server.banner=\"\"", ""),
        ] {
            let mut settings = Settings::default();
            settings.set(assignment).unwrap();
            assert_eq!(settings.server.banner, banner, "{assignment}");
            let shown = TABLE.iter().find(|setting| setting.key == "server.banner").unwrap().show;
            settings.set(&format!("server.banner={}", shown(&settings))).unwrap();
            assert_eq!(settings.server.banner, banner, "{assignment}");
        }
        let mut settings = Settings::default();
        settings.set("hosts.names=\"a.example, b.example\"").unwrap();
        assert_eq!(settings.server.hosts.len(), 2);
        settings.set("hosts.names=\"\"").unwrap();
        assert_eq!(settings.server.hosts, []);
    }

    #[test]
    fn set_reaches_its_own_field() {
        for (assignment, want) in [
            ("timeouts.idle=5 min", "5 min"),
            (" timeouts.stall = 90s ", "90 s"),
            ("timeouts.shutdown_grace=0", "0 s"),
            ("limits.sessions=10", "10"),
            ("limits.per_address=0", "0"),
            ("limits.login_failures=1", "1"),
            ("hosts.names=A.example, [2001:db8::1]", "\"a.example, [2001:db8::1]\""),
            ("limits.per_user=2", "2"),
            ("limits.min_free=1 GiB", "1 GiB"),
            ("passive.enabled=false", "false"),
            ("passive.ports=50000-50099, 51000", "50000-50099,51000"),
            ("passive.address=192.0.2.1", "192.0.2.1"),
            ("passive.address=ftp.example.org", "ftp.example.org"),
            (
                "passive.overrides=10.0.0.0/8, 192.168.0.0/16 = 10.0.0.5; 127.0.0.1=localhost",
                "10.0.0.0/8,192.168.0.0/16=10.0.0.5;127.0.0.1/32=localhost",
            ),
            ("active.enabled=false", "false"),
            ("active.source_port=true", "true"),
            ("fxp.networks=192.0.2.0/24, 2001:db8::/32", "192.0.2.0/24,2001:db8::/32"),
            ("transfer.overwrite=false", "false"),
            ("transfer.sync=none", "none"),
            ("security.run_as=nobody", "nobody"),
            ("security.run_as=1:2", "1:2"),
            ("security.confine=require", "require"),
            ("listing.show_ids=true", "true"),
            ("security.deny_names=*.EXE, .ht*", "*.EXE,.ht*"),
            ("compatibility.dash_password=true", "true"),
            ("security.strict_crlf=true", "true"),
            ("limits.buffers=1 MiB", "1 MiB"),
            ("transfer.partial=discard", "discard"),
            ("transfer.umask=77", "077"),
            ("server.banner=a = b", "\"a = b\""),
        ] {
            let (default, mut settings) = (Settings::default(), Settings::default());
            settings.set(assignment).unwrap();
            let key = assignment.split('=').next().unwrap().trim();
            for setting in TABLE {
                let shown = (setting.show)(&settings);
                if setting.key == key {
                    assert_eq!(shown, want, "{assignment}");
                } else {
                    assert_eq!(shown, (setting.show)(&default), "{} by {key}", setting.key);
                }
            }
        }
    }

    #[test]
    fn set_refuses() {
        for (assignment, want) in [
            ("limits.session=1", "did you mean limits.sessions?"),
            ("colour=red", "help serve lists"),
            ("timeouts.idle", "is not KEY=VALUE"),
            ("timeouts.idle=0", "more than 0"),
            ("timeouts.idle=soon", "is not a time"),
            ("timeouts.idle=9s", "less than 10 s"),
            ("timeouts.idle=25 h", "more than 24 h"),
            ("passive.ports=5000-4000", "number out of range at byte 0"),
            ("passive.address=2001:db8::1", "neither an IPv4 address"),
            ("passive.overrides=10.0.0.5", "is not NETWORKS=ADDRESS"),
            ("passive.overrides=x=10.0.0.5", "is not a network"),
            ("fxp.networks=all", "is not a network"),
            ("limits.sessions=-1", "is not a number"),
            ("limits.sessions=many", "is not a number"),
            ("limits.login_failures=0", "above 0"),
            ("hosts.names=a.example:21", "is not a name of a host"),
            ("limits.min_free=much", "is not a size"),
            ("active.enabled=maybe", "is none of true, false"),
            ("security.run_as=nobody at all", "there is no user"),
            ("security.run_as=nobody:at all", "there is no group"),
            ("security.run_as=root", "root"),
            ("security.deny_names=a,b/*", "pattern of names: unexpected byte at byte 1"),
            ("transfer.sync=always", "none, file, file+dir"),
            ("security.confine=maybe", "best-effort, require, off"),
            ("transfer.partial=keep", "resume, discard, publish"),
            ("transfer.umask=1000", "in octal digits"),
            ("transfer.umask=u=rw", "in octal digits"),
            ("transfer.umask=+22", "in octal digits"),
            ("server.banner=a\r\n221 b", "one line"),
        ] {
            let wrong = Settings::default().set(assignment).unwrap_err();
            assert!(wrong.contains(want), "{assignment}: {wrong}");
        }
    }
}
