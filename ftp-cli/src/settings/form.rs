//! The forms that values have: how each is read, and how it is shown.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ftp_proto::{HostName, Network, PortRanges};
use ftp_server::{
    ClientCertificates, ConfinementPolicy, LogFormat, NamePattern, PartialPolicy, PassiveAddress,
    PassiveOverride, PasswordHash, Rights, SessionReuse, SyncPolicy, TlsPolicy, TlsVersion,
};
use toml::de::DeTable;

use super::listen::{self, Listen};
use super::row::{ARGUMENTS, Kind, list_of};
use crate::privileges::RunAs;
use crate::values::{self, duration, show, show_size, size, waiting_time, word};

/// Makes of a list of forms, each with the type, the kind, how it is read and how it is shown, what
/// can be done with a field that has one of them.
macro_rules! forms {
    ($($form:ident($type:ty): $kind:ident, $read:expr, $show:expr;)+) => {
        /// How the text of a value is understood.
        #[derive(Clone, Copy)]
        pub(crate) enum Form { $($form,)+ }

        /// A field to be shown.
        pub(crate) enum Field<'a> { $($form(&'a $type),)+ }

        /// A field to be set.
        pub(crate) enum FieldMut<'a> { $($form(&'a mut $type),)+ }

        impl Form {
            pub(crate) const fn kind(self) -> Kind {
                match self { $(Self::$form => Kind::$kind,)+ }
            }

            /// Says what is wrong with a text, if anything is.
            pub(super) fn check(self, text: &str) -> Result<(), String> {
                match self { $(Self::$form => $read(text).map(drop),)+ }
            }
        }

        impl Field<'_> {
            pub(crate) fn show(self) -> String {
                match self { $(Self::$form(value) => $show(value),)+ }
            }
        }

        impl FieldMut<'_> {
            /// Sets it to what a text says, or says what is wrong with that.
            pub(crate) fn set(self, text: &str) -> Result<(), String> {
                match self { $(Self::$form(value) => *value = $read(text)?,)+ }
                Ok(())
            }
        }
    };
}

#[rustfmt::skip]
forms! {
    Switch(bool):                        Switch,       |text| word(text, YES),      bool::to_string;
    Count(usize):                        Number,       count,                       usize::to_string;
    OwnCount(Option<usize>):             NumberOrNone, own_count,                   optional;
    Number(u32):                         Number,       number,                      u32::to_string;
    Attempts(u32):                       Number,       attempts,                    u32::to_string;
    Time(Duration):                      Time,         duration,                    shown_time;
    WaitingTime(Duration):               Time,         waiting_time,                shown_time;
    IdleTime(Duration):                  Time,         idle_time,                   shown_time;
    Size(u64):                           Size,         size,                        show_size;
    Rate(Option<u64>):                   Size,         rate,                        shown_rate;
    Line(String):                        Text,         line,                        shown_line;
    File(Option<PathBuf>):               Text,         file,                        shown_file;
    Directory(PathBuf):                  Text,         directory,                   shown_directory;
    Home(PathBuf):                       Text,         home,                        shown_directory;
    Umask(u32):                          Text,         umask,                       show_umask;
    Ports(Option<PortRanges>):           Text,         ports,                       optional;
    Address(Option<PassiveAddress>):     Text,         address,                     optional;
    RunAs(Option<RunAs>):                Text,         run_as,                      optional;
    Password(Option<PasswordHash>):      Text,         password,                    shown_password;
    Tls(TlsPolicy):                      Text,         |text| word(text, POLICIES), |policy| word_of(policy, POLICIES);
    Reuse(SessionReuse):                 Text,         |text| word(text, REUSE),    |reuse| word_of(reuse, REUSE);
    Version(TlsVersion):                 Text,         |text| word(text, VERSIONS), |version| word_of(version, VERSIONS);
    Clients(ClientCertificates):         Text,         |text| word(text, CLIENTS),  |clients| word_of(clients, CLIENTS);
    Partial(PartialPolicy):              Text,         |text| word(text, PARTIAL),  |partial| word_of(partial, PARTIAL);
    Sync(SyncPolicy):                    Text,         |text| word(text, SYNC),     |sync| word_of(sync, SYNC);
    Confine(ConfinementPolicy):          Text,         |text| word(text, CONFINE),  |policy| word_of(policy, CONFINE);
    Log(LogFormat):                      Text,         |text| word(text, FORMATS),  |format| word_of(format, FORMATS);
    Addresses(Vec<Listen>):              List,         listen::addresses,           listen::shown;
    Hosts(Vec<HostName>):                List,         hosts,                       shown_hosts;
    Networks(Vec<Network>):              List,         networks,                    show_networks;
    Patterns(Vec<NamePattern>):          List,         patterns,                    show_patterns;
    Rights(Rights):                      Words,        rights,                      shown_rights;
    Arguments(Vec<String>):              Arguments,    arguments,                   shown_arguments;
    Overrides(Vec<PassiveOverride>):     Overrides,    overrides,                   show_overrides;
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

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

const CONFINE: &[(&str, ConfinementPolicy)] = &[
    ("best-effort", ConfinementPolicy::BestEffort),
    ("require", ConfinementPolicy::Require),
    ("off", ConfinementPolicy::Off),
];

const POLICIES: &[(&str, TlsPolicy)] = &[
    ("off", TlsPolicy::Off),
    ("optional", TlsPolicy::Optional),
    ("required", TlsPolicy::Required),
];

const REUSE: &[(&str, SessionReuse)] = &[
    ("off", SessionReuse::Off),
    ("observe", SessionReuse::Observe),
    ("prefer", SessionReuse::Prefer),
    ("require", SessionReuse::Require),
];

const VERSIONS: &[(&str, TlsVersion)] = &[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];

const CLIENTS: &[(&str, ClientCertificates)] =
    &[("optional", ClientCertificates::Optional), ("required", ClientCertificates::Required)];

fn line(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err("a greeting is one line without control characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn hosts(text: &str) -> Result<Vec<HostName>, String> {
    each_of(text, |name| {
        HostName::parse(name.as_bytes()).map_err(|_| format!("\"{name}\" is not a name of a host"))
    })
}

fn shown_hosts(hosts: &[HostName]) -> String {
    format!("\"{}\"", joined(hosts, ", "))
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not a number"))
}

/// Nothing, for what is said of all users.
fn own_count(text: &str) -> Result<Option<usize>, String> {
    if text.is_empty() { Ok(None) } else { count(text).map(Some) }
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
    list_of(items.iter().map(String::as_str))
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
    let wrong = |_| format!("invalid rate \"{text}\": expected 500 KiB/s, 30 MiB/s");
    size(text.strip_suffix("/s").unwrap_or(text)).map(Some).map_err(wrong)
}

fn shown_rate(bytes: &Option<u64>) -> String {
    match bytes {
        None => "\"\"".to_owned(),
        Some(0) => "0".to_owned(),
        Some(bytes) => format!("{}/s", show_size(bytes)),
    }
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
    or_quotes(value.as_ref().map_or_else(String::new, ToString::to_string))
}

/// What is shown of nothing.
fn or_quotes(shown: String) -> String {
    if shown.is_empty() { "\"\"".to_owned() } else { shown }
}

/// Items with something between them.
fn joined<T: ToString>(items: &[T], between: &str) -> String {
    let mut text = String::new();
    for (place, item) in items.iter().enumerate() {
        text.push_str(if place > 0 { between } else { "" });
        text.push_str(&item.to_string());
    }
    text
}

/// Reads the items of a list with commas between them.
fn each_of<T>(text: &str, read: fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let mut all = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        all.push(read(item)?);
    }
    Ok(all)
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
    let mut overrides = Vec::new();
    for item in text.split(';').filter(|item| !item.trim().is_empty()) {
        let Some((clients, address)) = item.split_once('=') else {
            return Err(format!("\"{item}\" is not NETWORKS=ADDRESS"));
        };
        let (clients, address) = (networks(clients)?, passive_address(address.trim())?);
        overrides.push(PassiveOverride { clients, address });
    }
    Ok(overrides)
}

fn show_overrides(overrides: &[PassiveOverride]) -> String {
    let show = |o: &PassiveOverride| format!("{}={}", show_networks(&o.clients), o.address);
    let shown: Vec<String> = overrides.iter().map(show).collect();
    or_quotes(shown.join(";"))
}

fn networks(text: &str) -> Result<Vec<Network>, String> {
    each_of(text, |item| {
        let wrong = |_| format!("\"{item}\" is not a network; 10.0.0.0/8 and 192.0.2.1 are");
        Network::parse(item.as_bytes()).map_err(wrong)
    })
}

fn show_networks(networks: &[Network]) -> String {
    or_quotes(joined(networks, ","))
}

fn patterns(text: &str) -> Result<Vec<NamePattern>, String> {
    each_of(text, |item| {
        let wrong = |error| format!("\"{item}\": {error}; such are *.exe and .ht*");
        NamePattern::parse(item.as_bytes()).map_err(wrong)
    })
}

fn show_patterns(patterns: &[NamePattern]) -> String {
    or_quotes(joined(patterns, ","))
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

fn shown_rights(rights: &Rights) -> String {
    match *rights {
        Rights::FULL => "full".to_owned(),
        Rights::READ => "read".to_owned(),
        Rights::DROP_BOX => "drop-box".to_owned(),
        _ => format!("[{}]", rights.words().collect::<Vec<_>>().join(", ")),
    }
}

fn shown_time(time: &Duration) -> String {
    show(*time)
}

fn shown_line(text: &str) -> String {
    format!("\"{text}\"")
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
