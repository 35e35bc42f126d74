//! The settings of `serve --set KEY=VALUE`, as data: what stands here can be set, with these
//! keys, and is in `help serve`; nothing else can.

use std::time::Duration;

use ftp_proto::HostName;
use ftp_server::{ServerConfig, SyncPolicy};

use crate::values::{self, duration, show, show_size, size, waiting_time, word};

/// What a server is started with, apart from its users and its files.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) server: ServerConfig,
    /// How long transfers may go on once the server is to stop.
    pub(crate) shutdown_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let min_free = 64 * 1024 * 1024;
        let server = ServerConfig { per_address: 64, min_free, ..ServerConfig::default() };
        Self { server, shutdown_grace: Duration::from_secs(30) }
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
    setting!("timeouts.idle",           "without a command",                               server.idle,           waiting_time, time),
    setting!("timeouts.data_connect",   "to open a data connection",                       server.data_connect,   waiting_time, time),
    setting!("timeouts.stall",          "without a byte in a transfer",                    server.stall,          waiting_time, time),
    setting!("timeouts.shutdown_grace", "for transfers to finish at SIGTERM",              shutdown_grace,        duration,     time),
    setting!("limits.sessions",         "sessions in all; 0: what the system allows",      server.sessions,       count,        usize::to_string),
    setting!("limits.per_address",      "sessions of a host; 0: any number, as loopback",  server.per_address,    count,        usize::to_string),
    setting!("limits.per_user",         "sessions of a user; 0: any number",               server.per_user,       count,        usize::to_string),
    setting!("limits.login_failures",   "wrong passwords before the connection is closed", server.login_failures, attempts,     u32::to_string),
    setting!("limits.min_free",         "space that uploads leave free",                   server.min_free,       size,         show_size),
    setting!("passive.enabled",         "true, false: whether PASV and EPSV are served",   server.passive,        yes,          bool::to_string),
    setting!("active.enabled",          "true, false: whether PORT and EPRT are served",   server.active,         yes,          bool::to_string),
    setting!("transfer.overwrite",      "true, false: whether files may be replaced",      server.overwrite,      yes,          bool::to_string),
    setting!("transfer.sync",           "none, file, file+dir: what is on disk at 226",    server.sync,           sync,         sync_word),
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
        (setting.set)(self, value.trim()).map_err(|wrong| format!("{key}: {wrong}"))
    }
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
    let found = SYNC.iter().find(|(_, known)| known == sync);
    found.map_or_else(String::new, |(word, _)| (*word).to_owned())
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
            let value = shown.trim_matches('"');
            settings.set(&format!("{}={value}", setting.key)).unwrap();
            assert_eq!((setting.show)(&settings), shown, "{}", setting.key);
            assert!(!setting.help.is_empty() && setting.key.contains('.'), "{}", setting.key);
        }
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
            ("active.enabled=false", "false"),
            ("transfer.overwrite=false", "false"),
            ("transfer.sync=none", "none"),
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
            ("limits.sessions=-1", "is not a number"),
            ("limits.sessions=many", "is not a number"),
            ("limits.login_failures=0", "above 0"),
            ("hosts.names=a.example:21", "is not a name of a host"),
            ("limits.min_free=much", "is not a size"),
            ("active.enabled=maybe", "is none of true, false"),
            ("transfer.sync=always", "none, file, file+dir"),
            ("server.banner=a\r\n221 b", "one line"),
        ] {
            let wrong = Settings::default().set(assignment).unwrap_err();
            assert!(wrong.contains(want), "{assignment}: {wrong}");
        }
    }
}
