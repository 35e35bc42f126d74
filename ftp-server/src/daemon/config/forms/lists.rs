//! Forms of values with several items.

use base64ct::{Base64, Encoding};
use ftp_proto::{HostName, Network};
use toml::de::DeTable;

use super::texts::passive_address;
use crate::daemon::config::forms::{Form, or_quotes};
use crate::daemon::config::kind::{self, Kind};
use crate::daemon::config::listen::{self, Listen};
use crate::daemon::hooks::HookEvent;
use crate::daemon::toml_text::list_of;
use crate::daemon::values::nearest;
use crate::{NamePattern, PassiveOverride};

pub(crate) const ADDRESSES: Form<Vec<Listen>> =
    Form::new(Kind::List, listen::addresses, |addresses| listen::shown(addresses));

pub(crate) const HOSTS: Form<Vec<HostName>> =
    Form::new(Kind::List, hosts, |hosts| format!("\"{}\"", joined(hosts, ", ")));

/// Names of groups.
pub(crate) const NAMES: Form<Vec<String>> = Form::new(
    Kind::List,
    |text| each_of(text, |name| Ok(name.to_owned())),
    |names| or_quotes(names.join(",")),
);

/// Like `NAMES`, but an empty list differs from a missing one.
pub(crate) const USERS: Form<Option<Vec<String>>> = Form::new(
    Kind::List,
    |text| (NAMES.read)(text).map(Some),
    |names| names.as_ref().map_or_else(|| or_quotes(String::new()), NAMES.show),
);

pub(crate) const NETWORKS: Form<Vec<Network>> =
    Form::new(Kind::List, networks, |networks| show_networks(networks));

pub(crate) const PATTERNS: Form<Vec<NamePattern>> =
    Form::new(Kind::List, patterns, |patterns| or_quotes(joined(patterns, ",")));

/// Pins of keys, `sha256//...`.
pub(crate) const PINS: Form<Vec<String>> =
    Form::new(Kind::List, |text| each_of(text, pin), |pins| or_quotes(pins.join(",")));

pub(crate) const EVENTS: Form<Vec<HookEvent>> =
    Form::new(Kind::List, events, |events| or_quotes(joined(events, ",")));

/// Program and arguments, `["/path/program", "argument"]` as in TOML. Empty or `[]`: none.
pub(crate) const ARGUMENTS: Form<Vec<String>> =
    Form::new(Kind::Arguments, arguments, |items| list_of(items.iter().map(String::as_str)));

/// Path of a program, or a list like [`ARGUMENTS`]. Empty: none.
pub(crate) const PROGRAM: Form<Vec<String>> =
    Form::new(Kind::Program, program, |items| match items.as_slice() {
        [] => or_quotes(String::new()),
        [path] => format!("\"{path}\""),
        _ => list_of(items.iter().map(String::as_str)),
    });

/// `NETWORK[,NETWORK]...=ADDRESS`, separated by `;`.
pub(crate) const OVERRIDES: Form<Vec<PassiveOverride>> =
    Form::new(Kind::Overrides, overrides, |overrides| show_overrides(overrides));

/// Reads the items of a comma-separated list.
fn each_of<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(read).collect()
}

fn joined<T: ToString>(items: &[T], between: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(between)
}

fn hosts(text: &str) -> Result<Vec<HostName>, String> {
    each_of(text, |name| {
        let host = HostName::parse(name.as_bytes()).map(HostName::into_canonical);
        host.map_err(|_| format!("invalid host name \"{name}\""))
    })
}

fn networks(text: &str) -> Result<Vec<Network>, String> {
    each_of(text, |item| {
        let wrong = |_| {
            format!("invalid network \"{item}\": expected a value such as 10.0.0.0/8 or 192.0.2.1")
        };
        Network::parse(item.as_bytes()).map_err(wrong)
    })
}

fn show_networks(networks: &[Network]) -> String {
    or_quotes(joined(networks, ","))
}

fn patterns(text: &str) -> Result<Vec<NamePattern>, String> {
    each_of(text, |item| {
        let wrong =
            |_| format!("invalid pattern \"{item}\": expected a pattern such as *.exe or .ht*");
        NamePattern::parse(item.as_bytes()).map_err(wrong)
    })
}

fn pin(item: &str) -> Result<String, String> {
    let digest = item.strip_prefix("sha256//").map(Base64::decode_vec);
    match digest {
        Some(Ok(digest)) if digest.len() == 32 => Ok(item.to_owned()),
        _ => {
            Err(format!("invalid pin \"{item}\": expected sha256// and a SHA-256 digest in base64"))
        }
    }
}

fn events(text: &str) -> Result<Vec<HookEvent>, String> {
    let words = || HookEvent::ALL.iter().map(|(word, _)| *word);
    each_of(text, |item| match HookEvent::ALL.iter().find(|(word, _)| *word == item) {
        Some((_, event)) => Ok(*event),
        None => Err(match nearest(item, words()) {
            Some(near) => format!("unknown event \"{item}\"; did you mean {near}?"),
            None => {
                let words = words().collect::<Vec<_>>().join(", ");
                format!("unknown event \"{item}\": expected {words}")
            }
        }),
    })
}

fn arguments(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let items = strings(text)
        .ok_or_else(|| format!("invalid command \"{text}\": expected {}", kind::ARGUMENTS))?;
    match items.first() {
        Some(program) if !program.starts_with('/') => {
            Err(format!("invalid program \"{program}\": expected an absolute path"))
        }
        _ if items.iter().any(|item| item.contains('\0')) => {
            Err("invalid argument: NUL is not allowed".to_owned())
        }
        _ => Ok(items),
    }
}

fn program(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() || text.starts_with('[') {
        return arguments(text);
    }
    if text.contains('\0') {
        return Err("invalid program: NUL is not allowed".to_owned());
    }
    match text.starts_with('/') {
        true => Ok(vec![text.to_owned()]),
        false => Err(format!("invalid program \"{text}\": expected an absolute path")),
    }
}

/// Returns the strings of a TOML array if the text is a single array.
fn strings(text: &str) -> Option<Vec<String>> {
    let line = format!("items = {text}");
    let table = DeTable::parse(&line).ok()?;
    if table.get_ref().len() != 1 {
        return None;
    }
    let items = table.get_ref().get("items")?.get_ref().as_array()?;
    items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
}

fn overrides(text: &str) -> Result<Vec<PassiveOverride>, String> {
    let mut overrides = Vec::new();
    for item in text.split(';').filter(|item| !item.trim().is_empty()) {
        let Some((clients, address)) = item.split_once('=') else {
            return Err(format!("invalid override \"{item}\": expected NETWORKS=ADDRESS"));
        };
        overrides.push(PassiveOverride {
            clients: networks(clients)?,
            address: passive_address(address.trim())?,
        });
    }
    Ok(overrides)
}

fn show_overrides(overrides: &[PassiveOverride]) -> String {
    let show = |o: &PassiveOverride| format!("{}={}", show_networks(&o.clients), o.address);
    or_quotes(overrides.iter().map(show).collect::<Vec<_>>().join(";"))
}
