//! `--check`: what is in force and where it is from, then what will not work and what to do.
//!
//! It goes the way of `serve`: what root is needed for comes first, then root is given up, and the rest
//! is looked at as who will do it. The first that fails gives the exit code.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ftp_proto::{AddressClass, Escaped};
use ftp_server::{PartialPolicy, PassiveAddress, Rights};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::certificate;
use super::findings::Findings;
use super::outgoing::outgoing;
use super::plan::ServePlan;
use super::settings::{Settings, TABLE, USER, User, shown};
use crate::console::output;
use crate::console::stdio::Stdio;
use crate::display::{self, shown_path};
use crate::exit::{Exit, Failure};
use crate::options::Options;

/// Where explanations begin after a value.
const COLUMN: usize = 48;

/// How many ports that cannot be had are named.
const NAMED: usize = 5;

/// Prints all of it: the settings as TOML, with where each is from as its comment, and the findings.
///
/// # Errors
///
/// Some of the findings say `fail`.
pub(super) fn check(plan: &ServePlan, options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let mut findings = Findings::below(effective(plan));
    let settings = &plan.settings;
    certificate::check(settings, &mut findings);
    transfers(settings, &mut findings);
    log_in_reach(plan, &mut findings);
    readable(plan, options, &mut findings);
    addresses(settings, &mut findings);
    plan.overridden().iter().for_each(|line| findings.warn(format_args!("{line}")));
    if let Some(error) = plan.settings.run_as.as_ref().and_then(|user| user.give_up_root().err()) {
        findings.fail(Exit::Usage, format_args!("security.run_as: {error}"));
    }
    plan.lost(options).iter().for_each(|line| findings.warn(format_args!("{line}")));
    directories(plan, &mut findings);
    users(plan, &mut findings);
    rates(settings, &mut findings);
    hook(settings, &mut findings);
    if settings.server.passive.enabled {
        ports(settings, &mut findings);
        too_few_ports(settings, &mut findings);
        announced(settings, &mut findings);
    }
    output::print(&mut stdio.output, display::plain(&findings.text).as_bytes())?;
    match findings.failed {
        None => Ok(()),
        Some((1, exit)) => Err(Failure::new(exit, "--check: 1 line says fail")),
        Some((count, exit)) => Err(Failure::new(exit, format!("--check: {count} lines say fail"))),
    }
}

/// The settings, and who may do what by them.
fn effective(plan: &ServePlan) -> String {
    let mut text = String::new();
    let settings = &plan.settings;
    let mut line = |key: &str, value: &str, origin: &str| {
        let _ = writeln!(text, "{:<COLUMN$} # {origin}", format!("{key} = {value}"));
    };
    for row in TABLE {
        line(row.key, &row.literal(settings), settings.origins.of(row.key));
    }
    for (name, user) in settings.users.iter() {
        for row in USER {
            let key = format!("users.{}.{}", shown(name), row.key);
            line(&key, &row.literal(user), user.origins.of(row.key));
        }
    }
    for words in plan.in_words() {
        let _ = writeln!(text, "# {}", Escaped(words.as_bytes()));
    }
    text.push('\n');
    text
}

/// Whether each address can be listened on.
fn addresses(settings: &Settings, findings: &mut Findings) {
    for address in settings.all_listen() {
        match TcpListener::bind(address) {
            Ok(_) => findings.ok(format_args!("{address} can be listened on")),
            Err(error) => {
                let why = reason(&error);
                findings
                    .fail(Exit::Network, format_args!("{address} cannot be listened on: {why}"));
            }
        }
    }
}

/// Why a port cannot be had, and what to do.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "a program does so already; stop it, or take another port".to_owned()
        }
        ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege; start as root, or take another port".to_owned()
        }
        ErrorKind::AddrNotAvailable => {
            "it is no address of this computer; take one that is, or [::] for all".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Whose directory it is, where, and what they may do there.
type Home<'a> = (String, &'a Path, Rights);

fn all_homes(plan: &ServePlan) -> Vec<Home<'_>> {
    let mut all = Vec::new();
    for (name, user) in plan.users_of_file() {
        all.push((format!("user {}", shown(name)), &*user.root, user.rights));
    }
    if let Some((root, rights)) = plan.anonymous() {
        all.push(("anonymous".to_owned(), root, rights));
    }
    if let Some(quick) = &plan.quick {
        all.push(("DIR".to_owned(), &quick.root, quick.rights));
    }
    all
}

/// Whether the directories of users are there for what each may do.
fn directories(plan: &ServePlan, findings: &mut Findings) {
    let run_as = plan.settings.run_as.as_ref();
    let who = run_as.map_or_else(|| "the user of the server".to_owned(), ToString::to_string);
    let mut good = 0;
    for (whose, root, rights) in all_homes(plan) {
        match lack(root, rights, &who) {
            None => good += 1,
            Some(lack) => {
                let words = format_args!("{whose}: {}: {lack}", shown_path(root));
                findings.fail(Exit::Local, words);
            }
        }
    }
    if good > 0 {
        findings.ok(format_args!("directories that can be used as rights say: {good}"));
    }
}

/// What cannot be done in a directory by `who` the server runs as, though the user has the right to
/// it.
fn lack(root: &Path, rights: Rights, who: &str) -> Option<String> {
    match root.metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Some("is no directory; logins are refused until it is one".to_owned()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Some(format!("cannot be read; give {who} the permission, there and above"));
        }
        Err(error) => {
            return Some(format!("{error}; logins are refused until it is there"));
        }
    }
    let may = |access_to| access(root, access_to | Access::EXEC_OK).is_ok();
    let has = |one: &Rights| rights.contains(*one);
    let reads = [Rights::LIST, Rights::RETRIEVE].iter().any(has);
    if reads && !may(Access::READ_OK) {
        return Some(format!("cannot be read; give {who} the permission, there and above"));
    }
    let changes = [Rights::CREATE, Rights::DELETE, Rights::RENAME, Rights::MKDIR].iter().any(has);
    if changes && !may(Access::WRITE_OK) {
        return Some(format!(
            "cannot be written to; give {who} the permission, or take the right away"
        ));
    }
    None
}

/// What users are promised and will not get.
fn users(plan: &ServePlan, findings: &mut Findings) {
    let users = plan.users_of_file();
    for (name, user) in users.iter().filter(|(_, user)| !user.rights.contains(Rights::MKDIR)) {
        let name = shown(name);
        if user.mkdir_parents {
            let why = "mkdir_parents makes nothing without the right mkdir; add it to the rights";
            findings.warn(format_args!("user {name}: {why}"));
        }
        if user.mkdir_existing_ok {
            let why =
                "mkdir_existing_ok means MKD, which needs the right mkdir; add it to the rights";
            findings.warn(format_args!("user {name}: {why}"));
        }
    }
    let is_anonymous =
        |name: &str| ["anonymous", "ftp"].iter().any(|other| other.eq_ignore_ascii_case(name));
    for (name, _) in users.iter().filter(|(name, _)| plan.lets_anyone_in() && is_anonymous(name)) {
        let why = "anyone gets in by this name in other letters, without a password, to what is \
                   anonymous; rename the user";
        findings.warn(format_args!("user {}: {why}", shown(name)));
    }
    if plan.settings.local.partial == PartialPolicy::Resume {
        shared_roots(&users, findings);
    }
}

/// Users of one directory who upload there: none of them can go on with what another left.
fn shared_roots(users: &[(&String, &User)], findings: &mut Findings) {
    let mut roots: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    // A drop box keeps nothing of a cut upload.
    for (name, user) in users.iter().filter(|(_, user)| user.rights.contains(Rights::WRITE)) {
        let root = user.root.canonicalize().unwrap_or_else(|_| user.root.clone());
        roots.entry(root).or_default().push(shown(name));
    }
    for (root, names) in roots.iter().filter(|(_, names)| names.len() > 1) {
        let names = first_of(names);
        let root = shown_path(root);
        let why = "what a cut upload left, only the user whose it was can go on with";
        findings.warn(format_args!("users {names}: all have {root}; {why} (transfer.partial)"));
    }
}

/// As many of them as are named.
fn first_of(all: &[String]) -> String {
    match all.get(..NAMED) {
        Some(first) if all.len() > NAMED => format!("{}, ...", first.join(", ")),
        _ => all.join(", "),
    }
}

/// Whether everybody on this computer can read what should be secret.
fn readable(plan: &ServePlan, options: &Options, findings: &mut Findings) {
    let config = options.value("config").filter(|_| !plan.settings.users.is_empty());
    let key = plan.settings.tls.key.as_deref().map(Path::as_os_str);
    for (path, what) in [
        (config, "the hashes of passwords"),
        (options.value("password-file"), "a password"),
        (key, "the private key"),
    ] {
        let Some(path) = path.map(Path::new) else { continue };
        let is_open = |metadata: Metadata| metadata.is_file() && metadata.mode() & 0o004 != 0;
        if path.metadata().is_ok_and(is_open) {
            let path = shown_path(path);
            let what_to_do = "take that away by chmod o-r";
            findings.warn(format_args!(
                "{path}: its mode lets all users of this computer read {what}; {what_to_do}"
            ));
        }
    }
}

/// A rate of 0 may be meant to stop everything.
fn rates(settings: &Settings, findings: &mut Findings) {
    for (key, rate) in [
        ("transfer.rate_per_session", settings.rate_per_session),
        ("transfer.rate_per_user", settings.rate_per_user),
    ] {
        if rate == Some(0) {
            findings.warn(format_args!("{key}: 0 is no limit; to say so, leave it empty"));
        }
    }
}

/// Whether more sessions may be than can have a data connection.
fn too_few_ports(settings: &Settings, findings: &mut Findings) {
    let Some(ports) = &settings.server.passive.ports else { return };
    let ports = ports.count();
    let sessions = settings.server.limits.sessions;
    let words = match sessions {
        0 if ports < FEW_PORTS => "as many sessions as the system allows".to_owned(),
        _ if ports < sessions => format!("{sessions} sessions (limits.sessions)"),
        _ => return,
    };
    let what_to_do = "who finds none gets 425; widen the range";
    findings.warn(format_args!(
        "passive.ports: {ports} for {words}, one for each transfer; {what_to_do}"
    ));
}

/// Fewer passive ports than this are few for a server whose sessions nobody has limited: one
/// client opens ten connections and more, and gets half of the ports at most.
const FEW_PORTS: usize = 20;

/// Whether the log of transfers can be added to.
fn transfers(settings: &Settings, findings: &mut Findings) {
    let Some(path) = settings.log_transfers.as_deref() else { return };
    let looked = match access(path, Access::WRITE_OK) {
        // It is made then.
        Err(Errno::NOENT) => {
            access(path.parent().unwrap_or(path), Access::WRITE_OK | Access::EXEC_OK)
        }
        looked => looked,
    };
    let shown = shown_path(path);
    match looked {
        Ok(()) => findings.ok(format_args!("log.transfers: {shown} can be written")),
        Err(error) => {
            let what_to_do =
                "give the user who starts the server the permission, or name another file";
            let words =
                format_args!("log.transfers: {shown} cannot be written: {error}; {what_to_do}");
            findings.fail(Exit::Local, words);
        }
    }
}

/// Whether a user's directory holds the log of transfers.
fn log_in_reach(plan: &ServePlan, findings: &mut Findings) {
    let Some(path) = plan.settings.log_transfers.as_deref() else { return };
    let in_full = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let log = match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(log), ..) => log,
        (Err(_), Some(parent), Some(name)) => in_full(parent).join(name),
        (Err(_), ..) => path.to_owned(),
    };
    // A link to it can be changed where the link is.
    let places = [log, path.parent().map_or_else(PathBuf::new, in_full)];
    let holds = |root: &Path| {
        let root = in_full(root);
        places.iter().any(|place| place.starts_with(&root))
    };
    let mut roots = all_homes(plan);
    roots.retain(|(_, root, _)| holds(root));
    let Some((_, root, _)) = roots.first() else { return };
    let more = if roots.iter().any(|(_, other, _)| other != root) { " and others" } else { "" };
    let log = shown_path(path);
    let root = shown_path(root);
    let what_to_do = "whose users could read or change it; name a file elsewhere";
    findings.warn(format_args!("log.transfers: {log} is in {root}{more}, {what_to_do}"));
}

/// Whether the program for stored files can be started.
fn hook(settings: &Settings, findings: &mut Findings) {
    let Some(program) = settings.stored_hook.first().map(Path::new) else { return };
    let shown = shown_path(program);
    match access(program, Access::EXEC_OK) {
        Ok(()) if program.is_file() => {
            findings.ok(format_args!("hooks.stored: {shown} can be started"));
        }
        Ok(()) => {
            findings
                .fail(Exit::Local, format_args!("hooks.stored: {shown} is no program; name one"));
        }
        Err(error) => {
            let what_to_do = "name another program, or give the user of the server the permission";
            let words =
                format_args!("hooks.stored: {shown} cannot be started: {error}; {what_to_do}");
            findings.fail(Exit::Local, words);
        }
    }
}

/// How many of the passive ports can be had; without a range, which ports the kernel gives.
fn ports(settings: &Settings, findings: &mut Findings) {
    let Some(ranges) = settings.server.passive.ports.as_ref() else {
        return any_port(settings, findings);
    };
    let Some(host) = settings.all_listen().first().map(SocketAddr::ip) else { return };
    let mut taken = Vec::new();
    for port in ranges.iter() {
        if let Err(error) = TcpListener::bind((host, port)) {
            taken.push(format!("{port} ({})", error.kind()));
        }
    }
    let all = ranges.count();
    let free = ranges.count() - taken.len();
    let named = first_of(&taken);
    match (free, taken.is_empty()) {
        (_, true) => findings.ok(format_args!("passive.ports: {all} of {all} can be had")),
        (0, false) => findings.fail(
            Exit::Network,
            format_args!("passive.ports: none of {all} can be had, not {named}: take others"),
        ),
        (_, false) => {
            findings.warn(format_args!("passive.ports: {free} of {all} can be had, not {named}"));
        }
    }
}

/// What a firewall or NAT has to let in where no range of passive ports is set.
fn any_port(settings: &Settings, findings: &mut Findings) {
    if settings.all_listen().iter().all(|at| at.ip().to_canonical().is_loopback()) {
        return;
    }
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let Some((low, high)) = range.trim().split_once(char::is_whitespace) else { return };
    let low = low.trim();
    let high = high.trim();
    let why = "a firewall or NAT in front has to let all of these in; with a range, that alone";
    findings.ok(format_args!("passive.ports: any of the kernel's, {low} to {high}: {why}"));
}

/// Whether clients from outside can reach what PASV announces.
fn announced(settings: &Settings, findings: &mut Findings) {
    match &settings.server.passive.address {
        Some(PassiveAddress::Address(address)) => reach(*address, "passive.address", findings),
        Some(PassiveAddress::Name(name)) => match look_up(name) {
            Ok(Some(address)) => reach(address, &format!("passive.address {name}"), findings),
            Ok(None) => findings.fail(
                Exit::Network,
                format_args!("passive.address: {name} has no IPv4 address; take a name that has"),
            ),
            Err(error) => findings.fail(
                Exit::Network,
                format_args!(
                    "passive.address: {name} cannot be looked up ({error}); check the name and the \
                     resolver"
                ),
            ),
        },
        None => {
            let hosts = settings.all_listen().into_iter().map(|at| at.ip().to_canonical());
            match hosts.filter(|host| !host.is_loopback()).find_map(local) {
                Some(address) => reach(address, "PASV", findings),
                None => findings
                    .ok(format_args!("PASV is for clients of this computer, or there is no IPv4")),
            }
        }
    }
}

/// Whether clients from outside can reach an address, which is `whose`.
fn reach(address: Ipv4Addr, whose: &str, findings: &mut Findings) {
    if AddressClass::of(address.into()) == AddressClass::Public {
        return findings.ok(format_args!("{whose} announces {address}, which is public"));
    }
    let what_to_do = "set passive.address to the public address of the NAT, or to its name";
    findings.warn(format_args!(
        "{whose} announces {address}, which no client on the internet can reach; {what_to_do}"
    ));
}

fn look_up(name: &str) -> io::Result<Option<Ipv4Addr>> {
    let found = (name, 0).to_socket_addrs()?.map(|address| address.ip().to_canonical());
    Ok(found.into_iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }))
}

/// The address that a client from outside comes to, if the server listens on `host`.
fn local(host: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V4(host) = host else {
        return host.is_unspecified().then(outgoing).flatten();
    };
    if host.is_unspecified() { outgoing() } else { Some(host) }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn settings(assignments: &[&str]) -> Settings {
        let mut settings = Settings::default();
        assignments.iter().for_each(|assignment| settings.set(assignment).unwrap());
        settings
    }

    /// What was found: of which kind it is, and the sentence.
    fn found(look: impl FnOnce(&mut Findings)) -> Vec<(String, String)> {
        let mut findings = Findings::below(String::new());
        look(&mut findings);
        let lines = findings.text.lines().map(|line| line.split_once(' ').unwrap());
        lines.map(|(kind, words)| (kind.to_owned(), words.trim().to_owned())).collect()
    }

    #[test]
    fn an_address_that_is_taken_is_found() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let both = format!("listen.addresses={address},127.0.0.1:0,192.0.2.1:2121");
        let found = found(|findings| addresses(&settings(&[&both]), findings));
        let kinds: Vec<_> = found.iter().map(|(kind, _)| &**kind).collect();
        assert_eq!(kinds, ["fail", "ok", "fail"], "{found:?}");
        assert!(found[0].1.contains("a program does so already"), "{found:?}");
        assert!(found[2].1.contains("no address of this computer"), "{found:?}");
    }

    #[test]
    fn ports_that_are_taken_are_counted() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let at = |assignment: &str| {
            found(|findings| ports(&settings(&[assignment]), findings)).pop().unwrap_or_default()
        };
        let (kind, words) = at(&format!("passive.ports={port}"));
        assert_eq!(kind, "fail");
        assert!(words.contains(&format!("none of 1 can be had, not {port}")), "{words}");
        drop(taken);
        let (kind, words) = at(&format!("passive.ports={port}"));
        assert_eq!((&*kind, &*words), ("ok", "passive.ports: 1 of 1 can be had"));
        assert_eq!(at("listen.addresses=127.0.0.1:21").0, "");
        let (kind, words) = at("listen.addresses=192.168.0.9:21");
        assert!(kind == "ok" && words.contains("has to let all of these in"), "{kind} {words}");
    }

    #[test]
    fn an_address_that_nobody_outside_can_reach_is_found() {
        for (assignments, want, words) in [
            (&["passive.address=10.0.0.5"][..], "warn", "10.0.0.5, which no client"),
            (&["passive.address=8.8.8.8"], "ok", "8.8.8.8, which is public"),
            (&["passive.address=localhost"], "warn", "localhost announces 127.0.0.1"),
            (&["passive.address=x.invalid"], "fail", "x.invalid"),
            (&["listen.addresses=127.0.0.1:21,[::1]:21"], "ok", "of this computer"),
            (&["listen.addresses=192.168.0.9:21"], "warn", "PASV announces 192.168.0.9"),
            (&["listen.addresses=8.8.8.8:21"], "ok", "PASV announces 8.8.8.8"),
        ] {
            let found = &found(|findings| announced(&settings(assignments), findings))[0];
            assert_eq!(found.0, want, "{found:?}");
            assert!(found.1.contains(words), "{found:?}");
        }
    }

    #[test]
    fn a_log_of_transfers_must_be_one_that_can_be_written() {
        let root = tempfile::tempdir().unwrap();
        let looked = |settings: &Settings| found(|findings| transfers(settings, findings));
        let at = |path: &Path| {
            let found = looked(&settings(&[&format!("log.transfers={}", path.display())]));
            found.into_iter().next().unwrap()
        };
        assert!(looked(&settings(&[])).is_empty());
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path(), &root.path().join("new")] {
            let found = at(path);
            assert_eq!(found.0, "ok", "{found:?}");
        }
        assert!(!root.path().join("new").exists(), "to look makes nothing");
        let found = at(&root.path().join("none/new"));
        assert_eq!(found.0, "fail", "{found:?}");
        assert!(found.1.contains("No such file"), "{found:?}");
    }

    #[test]
    fn a_directory_must_be_there_and_allow_what_rights_say() {
        let root = tempfile::tempdir().unwrap();
        let lack = |path: &Path, rights| lack(path, rights, "it");
        assert_eq!(lack(root.path(), Rights::FULL), None);
        let missing = lack(&root.path().join("x"), Rights::READ).unwrap();
        assert!(missing.contains("until it is there"), "{missing}");
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(lack(file.path(), Rights::READ).unwrap().contains("no directory"));
        // To root it may make no difference.
        fs::set_permissions(root.path(), Permissions::from_mode(0o500)).unwrap();
        let is_writable = fs::write(root.path().join("x"), "").is_ok();
        let lack_of = |rights| lack(root.path(), rights);
        assert_eq!(lack_of(Rights::WRITE).is_none(), is_writable);
        assert!(is_writable || lack_of(Rights::MKDIR).unwrap().contains("cannot be written to"));
        assert_eq!(lack_of(Rights::READ), None);
    }
}
