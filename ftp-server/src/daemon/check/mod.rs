//! `--check`: what would not work, what an administrator should know, and the settings with their
//! origins.
//!
//! Follows the steps of `serve`: steps that need root come first, then privileges are dropped, and
//! the rest is checked as the final user. The first failure gives the exit code.

mod exposure;
mod findings;
mod sockets;
mod unit;
mod users;

use std::fs::{self, Metadata};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use ftp_proto::AddressClass;
use ftp_proto::text::values::{counted, shown_path};
use rustix::fs::{Access, access};
use rustix::io::Errno;

pub(super) use self::exposure::exposed;
pub use self::findings::CheckReport;
pub(super) use self::findings::{Findings, joined};
use self::findings::{Severity, first_of};
pub(super) use self::sockets::advice;
use self::sockets::{RunningServer, listen};
use self::unit::Unit;
use self::users::{all_homes, directories, owners, users};
pub(super) use self::users::{all_places, lacks_of_permission, locked_out, unable};
use super::certificate;
use super::config::{Config, LogTarget, Settings, outgoing};
use super::home::why_unconfined;
use super::hooks::{flaw, needs_spool, spool_directory};
use super::logging::SYSLOG;
use super::own_files::{OwnFile, OwnFiles, own_files};
use super::privileges::{RunAs, is_root};
use super::stores::Stores;
use crate::PassiveAddress;
use crate::daemon::{DaemonError, DaemonErrorKind};
use crate::data::passive::{addresses_of, usable};

impl Config {
    /// Checks whether a daemon would work with this configuration. Binds the addresses for a
    /// moment, and tests object stores with test objects. Calls `once_bound` after the steps for
    /// which a daemon needs root, as [`Setup::once_bound`](super::Setup::once_bound) does, with the
    /// user to switch to: that of [`Config::run_as`]. If there is none and the process is root, this
    /// is the user whose group may read the configuration file, as that of a service usually can;
    /// then only the addresses are checked before the switch.
    pub fn check(&self, once_bound: impl FnOnce(Option<&RunAs>) -> io::Result<()>) -> CheckReport {
        check(self, once_bound)
    }

    /// Checks whether the server can use the root and the mounts of a user of the configuration.
    /// `switch` is called as `once_bound` by [`check`](Self::check); if it fails, nothing is checked.
    ///
    /// # Errors
    ///
    /// Returns `Local` with one line for each reason why logins or the user's rights fail.
    pub fn check_user(
        &self,
        name: &str,
        switch: impl FnOnce(Option<&RunAs>) -> io::Result<()>,
    ) -> Result<(), DaemonError> {
        let (service, unit) = service_of(self);
        let mut switched = Ok(());
        let act = || switched = switch(service.as_ref().or(self.run_as()));
        match &unit {
            Some(unit) => unit.switch(act),
            None => act(),
        }
        if switched.is_err() {
            return Ok(());
        }
        let (alone, mut findings) = (self.only(name), Findings::default());
        for line in joined(unit.iter().flat_map(|unit| unit.hidden_homes(&alone))) {
            findings.fail(DaemonErrorKind::Local, line);
        }
        directories(&alone, service.is_some() && unit.is_none(), &mut findings);
        findings.all.retain(|(severity, _)| *severity == Severity::Fail);
        let mut lines: Vec<_> = findings.all.into_iter().map(|(_, words)| words).collect();
        let Some(message) = lines.pop() else { return Ok(()) };
        Err(DaemonError { lines, ..DaemonError::new(DaemonErrorKind::Local, message) })
    }
}

/// Returns the user of the service that uses the configuration, with the groups of its unit.
fn service_of(config: &Config) -> (Option<RunAs>, Option<Unit>) {
    let user = config.service_user();
    let unit = user.as_ref().zip(config.file()).and_then(|(user, file)| Unit::find(user, file));
    let groups = unit.as_ref().map_or_else(Vec::new, Unit::groups);
    (user.map(|user| user.with_groups(groups)), unit)
}

fn check(
    config: &Config,
    once_bound: impl FnOnce(Option<&RunAs>) -> io::Result<()>,
) -> CheckReport {
    let mut findings = Findings::default();
    let (service, unit) = service_of(config);
    let seen = unit.as_ref().map(|unit| unit.seen(config));
    let config = seen.as_ref().unwrap_or(config);
    let settings = &config.settings;
    let own = Arc::new(OwnFiles::of(config, &OwnFiles::default()));
    for objection in own.objections(config) {
        findings.fail(DaemonErrorKind::Configuration, objection);
    }
    own.linked(config).iter().for_each(|line| findings.warn(line));
    let running = RunningServer::find(config);
    // Kept to the end, as by the server: no other setting can use these addresses.
    let mut bound = Vec::new();
    addresses(settings, running.as_ref(), &mut bound, &mut findings);
    let mut once_bound = Some(once_bound);
    let mut switch = |user: Option<&RunAs>, findings: &mut Findings| {
        if let Some(Err(error)) = once_bound.take().map(|act| act(user)) {
            let words = format!("security.run_as: {error}");
            findings.fail(DaemonErrorKind::Configuration, words);
        }
    };
    let source = unit.as_ref().and_then(|_| Unit::before_credentials(config));
    if let Some(source) = &source {
        certificate::check(source, &mut findings);
    }
    match (service.clone(), &unit) {
        (Some(user), Some(unit)) => {
            unit.switch(|| switch(Some(&user), &mut findings));
            findings.note(format_args!("checked as user \"{user}\" of {}", unit::NAME));
        }
        (Some(user), None) => {
            switch(Some(&user), &mut findings);
            let why = "whose group may read the configuration file";
            findings.note(format_args!("checked as user \"{user}\", {why}"));
        }
        (None, _) if config.has_file() && config.run_as().is_none() && is_root() => {
            let what_to_do = "if the server runs as another user, add --set security.run_as=USER";
            findings.note(format_args!("checked as root; {what_to_do}"));
        }
        (None, _) => {}
    }
    if source.is_none() {
        certificate::check(config, &mut findings);
    }
    if let Some(unit) = &unit {
        unit.check(config, &mut findings);
    }
    let is_unsure = service.is_some() && unit.is_none();
    logs(settings, &mut findings);
    readable(config, &mut findings);
    sockets::check(settings, unit.as_ref(), running.as_ref(), &mut bound, &mut findings);
    let stores = Stores::open(settings, None);
    config.overridden().iter().for_each(|line| findings.warn(line));
    switch(config.run_as(), &mut findings);
    config.lost().iter().for_each(|line| findings.warn(line));
    match stores {
        Ok(stores) => stores.check(&mut findings),
        Err(failure) => findings.fail(failure.kind, format_args!("{}", failure.message)),
    }
    let is_on_disk = all_homes(config).iter().any(|home| home.root.directory().is_some())
        || !settings.auth.program.is_empty();
    if let Some(why) = why_unconfined(settings.local).filter(|_| is_on_disk) {
        let cure = "use a newer kernel, or \"best-effort\"";
        let words = format!("security.confine: {why}; {cure}");
        findings.fail(DaemonErrorKind::Unsupported, words);
    }
    directories(config, is_unsure, &mut findings);
    users(config, &mut findings);
    exposure::check(config, &mut findings);
    owners(config, is_unsure, &mut findings);
    balancers(settings, &mut findings);
    programs(config, &mut findings);
    if settings.server.passive.enabled {
        ports(settings, running.is_some(), &mut findings);
        too_few_ports(settings, &mut findings);
        announced(settings, &mut findings);
    } else if !settings.server.active {
        let words = "without PASV, EPSV, PORT and EPRT, nothing can be listed or transferred";
        findings.warn(format_args!("passive.enabled and active.enabled are false: {words}"));
    }
    findings.report(config)
}

/// Checks each address to listen on, and adds its listener to `bound`.
fn addresses(
    settings: &Settings,
    running: Option<&RunningServer>,
    bound: &mut Vec<TcpListener>,
    findings: &mut Findings,
) {
    for address in settings.all_listen() {
        let running = running.filter(|running| running.listens_on(address));
        listen(&address.to_string(), address, settings.freebind, running, bound, findings);
    }
}

/// Checks whether all local users can read a secret file, and whether the server's user can read the
/// included files.
fn readable(config: &Config, findings: &mut Findings) {
    for path in config.settings.include.iter().flat_map(|include| &include.files) {
        if let Err(error) = fs::File::open(path) {
            let words = format!("{}: {error}: use chgrp and chmod g+r", shown_path(path));
            findings.fail(DaemonErrorKind::Local, words);
        }
    }
    for OwnFile { path, secret, .. } in own_files(config) {
        let is_open = |metadata: Metadata| metadata.is_file() && metadata.mode() & 0o004 != 0;
        if let Some(what) = secret.filter(|_| path.metadata().is_ok_and(is_open)) {
            let path = shown_path(&path);
            let what_to_do = "use chmod o-r";
            findings.warn(format_args!(
                "{path}: all users of this computer can read {what}; {what_to_do}"
            ));
        }
    }
}

/// Checks that the passive ports suffice for the allowed sessions.
fn too_few_ports(settings: &Settings, findings: &mut Findings) {
    let Some(ports) = &settings.server.passive.ports else { return };
    let ports = ports.count();
    let sessions = settings.server.limits.sessions;
    let words = match sessions {
        0 if ports < FEW_PORTS => "as many sessions as the system allows".to_owned(),
        _ if ports < sessions => format!("{sessions} sessions (limits.sessions)"),
        _ => return,
    };
    let what_to_do = "without a free port, transfers fail with 425; widen the range";
    let ports = counted(ports, "port");
    findings.warn(format_args!("passive.ports: only {ports} for {words}: {what_to_do}"));
}

/// Number of passive ports that suffice if `limits.sessions` is 0. A client may open ten
/// connections or more, and others need ports meanwhile.
const FEW_PORTS: usize = 20;

/// Checks that the logs can be written.
fn logs(settings: &Settings, findings: &mut Findings) {
    if settings.log_target == LogTarget::Syslog {
        match fs::metadata(SYSLOG) {
            Ok(_) => findings.ok(format_args!("log.target: {SYSLOG} exists")),
            Err(error) => {
                let what_to_do = "start a syslog daemon, or use another target";
                let words = format!("log.target: {SYSLOG}: {error}; {what_to_do}");
                findings.fail(DaemonErrorKind::Local, words);
            }
        }
    }
    for (key, path) in log_files(settings) {
        let looked = match access(path, Access::WRITE_OK) {
            // The server creates a missing file.
            Err(Errno::NOENT) => {
                access(path.parent().unwrap_or(path), Access::WRITE_OK | Access::EXEC_OK)
            }
            looked => looked,
        };
        let shown = shown_path(path);
        match looked {
            Ok(()) => findings.ok(format_args!("{key}: {shown} is writable")),
            Err(error) => {
                let what_to_do = match error {
                    Errno::NOENT => "create its directory",
                    _ => "fix the owner or mode, or use another file",
                };
                let words = format!("{key}: cannot write {shown}: {error}; {what_to_do}");
                findings.fail(DaemonErrorKind::Local, words);
            }
        }
    }
}

/// Returns the logs that are files, each with its key.
fn log_files(settings: &Settings) -> impl Iterator<Item = (&'static str, &Path)> {
    let events = settings.log_target.path().map(|path| ("log.target", path));
    let transfers = settings.log_transfers.as_deref().map(|path| ("log.transfers", path));
    events.into_iter().chain(transfers)
}

/// Checks how many passive ports are available; without a range, names the kernel's range.
fn ports(settings: &Settings, is_running: bool, findings: &mut Findings) {
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
        (_, true) => findings.ok(format_args!("passive.ports: {all} of {all} ports are available")),
        // The running server uses ports for its transfers.
        (_, false) if is_running => findings.note(format_args!(
            "passive.ports: {free} of {all} ports are available while the server runs"
        )),
        (0, false) => findings.fail(
            DaemonErrorKind::Network,
            format_args!("passive.ports: 0 of {all} ports are available: {named}; use other ports"),
        ),
        _ => {
            findings.warn(format_args!(
                "passive.ports: {free} of {all} ports are available; not available: {named}"
            ));
        }
    }
}

/// Reports the ports that a firewall or NAT must open if no range is set.
fn any_port(settings: &Settings, findings: &mut Findings) {
    if settings.all_listen().iter().all(|at| at.ip().to_canonical().is_loopback()) {
        return;
    }
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let Some((low, high)) = range.trim().split_once(char::is_whitespace) else { return };
    let low = low.trim();
    let high = high.trim();
    let why = "a firewall or NAT must open all of these ports; set a smaller range";
    findings.note(format_args!(
        "passive.ports: not set, so the kernel's range applies, {low} to {high}: {why}"
    ));
}

/// Checks that outside clients can reach the address that PASV announces.
fn announced(settings: &Settings, findings: &mut Findings) {
    let first = |found| usable(found).next();
    match &settings.server.passive.address {
        Some(PassiveAddress::Address(address)) => {
            reach(*address, "passive.address", true, findings);
        }
        Some(PassiveAddress::Name(name)) => match addresses_of(name).map(first) {
            Ok(Some(address)) => {
                reach(address, &format!("passive.address {name}"), true, findings);
            }
            Ok(None) => findings.fail(
                DaemonErrorKind::Network,
                format_args!("passive.address: {name} has no IPv4 address; use a name that has one"),
            ),
            Err(error) => findings.fail(
                DaemonErrorKind::Network,
                format_args!(
                    "passive.address: cannot resolve {name}: {error}; check the name and the resolver"
                ),
            ),
        },
        None => {
            let hosts = settings.all_listen().into_iter().map(|at| at.ip().to_canonical());
            let outside: Vec<IpAddr> = hosts.filter(|host| !host.is_loopback()).collect();
            match outside.iter().copied().find_map(local) {
                Some(address) => reach(address, "PASV", false, findings),
                None if outside.is_empty() => {
                    findings.ok("PASV announces a loopback address, as the server listens on");
                }
                None if outside.iter().any(IpAddr::is_unspecified) => {
                    findings.note(format_args!(
                        "PASV announces the address that a client has reached; without a default \
                         route, this check cannot tell which that is"
                    ));
                }
                None => findings.note(format_args!(
                    "PASV fails for other computers: the server has only loopback IPv4 addresses"
                )),
            }
        }
    }
}

/// Checks that outside clients can reach an address; `whose` names in messages what announces it.
/// If the settings give it, a private address is meant for clients in the same network.
fn reach(address: Ipv4Addr, whose: &str, is_given: bool, findings: &mut Findings) {
    if AddressClass::of(address.into()) == AddressClass::Public {
        return findings.ok(format_args!("{whose} announces {address}, which is public"));
    }
    let is_of_nobody = address.is_unspecified() || address.is_multicast() || address.is_broadcast();
    if is_given && !address.is_loopback() && !is_of_nobody {
        return findings.ok(format_args!("{whose} announces {address}, which is not public"));
    }
    let what_to_do = "set passive.address to the public address or name of the NAT; if no client \
                      is there, set it to this computer's address or name";
    findings.warn(format_args!(
        "{whose} announces {address}, which no client on the internet can reach; {what_to_do}"
    ));
}

/// Returns the address that outside clients connect to, if the server listens on `host`.
fn local(host: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V4(host) = host else {
        return host.is_unspecified().then(outgoing).flatten();
    };
    if host.is_unspecified() { outgoing() } else { Some(host) }
}

/// Reports what load balancers must send, and warns if they cannot know this server's passive
/// ports.
fn balancers(settings: &Settings, findings: &mut Findings) {
    let networks: Vec<String> =
        settings.server.proxy_protocol.iter().map(ToString::to_string).collect();
    if networks.is_empty() {
        return;
    }
    let all = networks.join(", ");
    findings.ok(format_args!(
        "network.proxy_protocol: each connection from {all} must begin with a PROXY header; connections from other addresses must not"
    ));
    for network in networks.iter().filter(|network| network.ends_with("/0")) {
        let why = "any client can forge its address; list only the addresses of the balancers";
        findings
            .warn(format_args!("network.proxy_protocol: {network} contains all addresses: {why}"));
    }
    if settings.server.passive.enabled && settings.server.passive.ports.is_none() {
        let what_to_do = "set a different range for each server, and forward it with PROXY headers";
        findings.warn(format_args!(
            "passive.ports: a balancer can forward only ports that it knows; {what_to_do}"
        ));
    }
}

/// Checks that the operator's programs can be started, and that the server can write dead letters.
fn programs(config: &Config, findings: &mut Findings) {
    let (settings, hooks) = (&config.settings, &config.settings.hooks);
    let program = |key: &str, path: Option<&Path>, findings: &mut Findings| {
        if let Some(path) = path {
            findings.check_access(key, path, Needed::Program);
        }
    };
    program("hooks.stored", hooks.stored.first().map(Path::new), findings);
    program("hooks.check", hooks.check.first().map(Path::new), findings);
    program("hooks.program", hooks.program.as_deref(), findings);
    if let Some(path) = &hooks.dead_letters {
        findings.check_access("hooks.dead_letters", path, Needed::Directory);
    }
    if needs_spool(settings) {
        if let Some(why) = flaw(settings) {
            findings.fail(DaemonErrorKind::Configuration, why);
        }
        match spool_directory(settings) {
            Some(path) if path.exists() => {
                findings.check_access("hooks.spool", &path, Needed::Directory);
            }
            Some(path) => findings
                .ok(format_args!("hooks.spool: the first start will create {}", shown_path(&path))),
            None => {}
        }
    }
    program("auth.program", settings.auth.program.first().map(Path::new), findings);
}

#[derive(Clone, Copy)]
enum Needed {
    Program,
    /// A directory to read, too, because the server counts the files.
    Directory,
}

impl Findings {
    fn check_access(&mut self, key: &str, path: &Path, needed: Needed) {
        let shown = shown_path(path);
        let (rights, is_it, good, bad, cannot, cure) = match needed {
            Needed::Program => (
                Access::EXEC_OK,
                path.is_file(),
                "executable",
                "not a program; use an executable file",
                "start",
                "fix its owner or mode, or use another program",
            ),
            Needed::Directory => (
                Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
                path.is_dir(),
                "readable and writable",
                "not a directory; use a directory",
                "read and write",
                "create it, or fix its owner or mode",
            ),
        };
        match access(path, rights) {
            Ok(()) if is_it => self.ok(format_args!("{key}: {shown} is {good}")),
            Ok(()) => self.fail(DaemonErrorKind::Local, format!("{key}: {shown} is {bad}")),
            Err(error) => {
                let words = format!("{key}: cannot {cannot} {shown}: {error}; {cure}");
                self.fail(DaemonErrorKind::Local, words);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use ftp_tests::wait::wait_until;

    use super::findings::Severity;
    use super::*;

    fn settings(assignments: &[&str]) -> Settings {
        let mut settings = Settings::default();
        assignments.iter().for_each(|assignment| settings.assign(assignment).unwrap());
        settings
    }

    /// Returns the findings, each with its kind and its sentence.
    fn found(look: impl FnOnce(&mut Findings)) -> Vec<(String, String)> {
        let mut findings = Findings::default();
        look(&mut findings);
        let word = |severity: Severity| format!("{severity:?}").to_lowercase();
        findings.all.into_iter().map(|(severity, words)| (word(severity), words)).collect()
    }

    #[test]
    fn an_address_in_use_is_reported() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let both = format!("listen.addresses={address},127.0.0.1:0,192.0.2.1:2121");
        let found =
            found(|findings| addresses(&settings(&[&both]), None, &mut Vec::new(), findings));
        let kinds: Vec<_> = found.iter().map(|(kind, _)| &**kind).collect();
        assert_eq!(kinds, ["fail", "ok", "fail"], "{found:?}");
        assert!(found[0].1.contains("another program uses this port"), "{found:?}");
        assert!(found[2].1.contains("not an address of this computer"), "{found:?}");
    }

    #[test]
    fn an_address_that_two_settings_use_is_reported() {
        // Below the ports that the kernel gives to other tests meanwhile.
        let is_free = |port: &u16| TcpListener::bind(("0.0.0.0", *port)).is_ok();
        let free = (20_000..30_000).find(is_free).unwrap();
        for (assignments, place) in [
            (&["listen.addresses=0.0.0.0:PORT,127.0.0.1:PORT"][..], "127.0.0.1:PORT: cannot"),
            (
                &["listen.addresses=127.0.0.1:PORT", "listen.implicit_tls=0.0.0.0:PORT"],
                "0.0.0.0:PORT: cannot",
            ),
            (
                &["listen.addresses=0.0.0.0:PORT", "metrics.listen=127.0.0.1:PORT"],
                "metrics.listen: 127.0.0.1:PORT: cannot",
            ),
            (
                &["metrics.listen=0.0.0.0:PORT", "listen.addresses=0", "passive.ports=PORT"],
                "passive.ports: 0 of 1 ports",
            ),
            (
                &["listen.addresses=0.0.0.0:PORT", "passive.ports=PORT"],
                "passive.ports: 0 of 1 ports",
            ),
        ] {
            let with_port = |text: &str| text.replace("PORT", &free.to_string());
            let assignments: Vec<_> = assignments.iter().map(|it| with_port(it)).collect();
            let settings = settings(&assignments.iter().map(|it| &**it).collect::<Vec<_>>());
            let all = found(|findings| {
                let mut bound = Vec::new();
                addresses(&settings, None, &mut bound, findings);
                sockets::check(&settings, None, None, &mut bound, findings);
                ports(&settings, false, findings);
            });
            let wrong: Vec<_> = all.iter().filter(|(kind, _)| kind == "fail").collect();
            assert!(wrong.len() == 1 && wrong[0].1.starts_with(&with_port(place)), "{all:?}");
            let is_own = wrong[0].1.ends_with("; use another port");
            assert!(is_own || place.starts_with("passive"), "{all:?}");
        }
    }

    #[test]
    fn available_passive_ports_are_counted() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let at = |assignment: &str| {
            found(|findings| ports(&settings(&[assignment]), false, findings))
                .pop()
                .unwrap_or_default()
        };
        let (kind, words) = at(&format!("passive.ports={port}"));
        assert_eq!(kind, "fail");
        assert!(words.contains(&format!("0 of 1 ports are available: {port}")), "{words}");
        drop(taken);
        let free = ("ok".into(), "passive.ports: 1 of 1 ports are available".into());
        wait_until("the port is free", || at(&format!("passive.ports={port}")) == free);
        assert_eq!(at("listen.addresses=127.0.0.1:21").0, "");
        let (kind, words) = at("listen.addresses=192.168.0.9:21");
        assert!(kind == "note" && words.contains("must open all of these ports"), "{kind} {words}");
    }

    #[test]
    fn an_unreachable_announced_address_is_reported() {
        for (assignments, want, words) in [
            (&["passive.address=10.0.0.5"][..], "ok", "10.0.0.5, which is not public"),
            (&["passive.address=8.8.8.8"], "ok", "8.8.8.8, which is public"),
            (&["passive.address=localhost"], "warn", "localhost announces 127.0.0.1"),
            (&["passive.address=0.0.0.0"], "warn", "0.0.0.0, which no client"),
            (&["passive.address=224.0.0.1"], "warn", "224.0.0.1, which no client"),
            (&["passive.address=255.255.255.255"], "warn", "255.255.255.255, which no client"),
            (&["passive.address=x.invalid"], "fail", "x.invalid"),
            (&["listen.addresses=127.0.0.1:21,[::1]:21"], "ok", "a loopback address"),
            (&["listen.addresses=127.0.0.1:21,[2001:db8::1]:21"], "note", "fails for other"),
            (&["listen.addresses=192.168.0.9:21"], "warn", "PASV announces 192.168.0.9"),
            (&["listen.addresses=8.8.8.8:21"], "ok", "PASV announces 8.8.8.8"),
        ] {
            let found = &found(|findings| announced(&settings(assignments), findings))[0];
            assert_eq!(found.0, want, "{found:?}");
            assert!(found.1.contains(words), "{found:?}");
        }
    }

    #[test]
    fn a_log_file_must_be_writable() {
        let root = tempfile::tempdir().unwrap();
        let looked = |settings: &Settings| found(|findings| logs(settings, findings));
        let at = |path: &Path| {
            let path = path.display();
            let keys = [format!("log.transfers={path}"), format!("log.target=file:{path}")];
            let [transfers, target] = keys.map(|set| looked(&settings(&[&set])).remove(0));
            assert_eq!(transfers.0, target.0);
            assert_eq!(transfers.1.replace("log.transfers", "log.target"), target.1);
            transfers
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
    fn proxy_protocol_from_everywhere_or_without_ports_is_reported() {
        let found =
            |assignments: &[&str]| found(|findings| balancers(&settings(assignments), findings));
        let kinds = |assignments: &[&str]| -> Vec<String> {
            found(assignments).into_iter().map(|(kind, _)| kind).collect()
        };
        let one = "network.proxy_protocol=10.0.0.1";
        let ports = "passive.ports=50000-50099";
        assert!(kinds(&[ports]).is_empty());
        assert_eq!(kinds(&[one, ports]), ["ok"]);
        assert_eq!(kinds(&[one, "passive.enabled=false"]), ["ok"]);
        assert_eq!(kinds(&[one]), ["ok", "warn"]);
        let everywhere = "network.proxy_protocol=10.0.0.1,0.0.0.0/0,::/0";
        assert_eq!(kinds(&[everywhere, ports]), ["ok", "warn", "warn"]);
        let words = &found(&[one, ports])[0].1;
        assert!(words.contains("each connection from 10.0.0.1/32 must begin"), "{words}");
    }

    #[test]
    fn a_directory_must_be_readable_and_writable() {
        let here = tempfile::tempdir().unwrap();
        let is_root = rustix::process::geteuid().is_root();
        for (mode, is_enough) in [(0o700, true), (0o300, is_root), (0o500, is_root)] {
            set_permissions(here.path(), Permissions::from_mode(mode)).unwrap();
            let mut findings = Findings::default();
            findings.check_access("hooks.dead_letters", here.path(), Needed::Directory);
            assert_eq!(findings.kind.is_none(), is_enough, "{mode:o}: {:?}", findings.all);
        }
        set_permissions(here.path(), Permissions::from_mode(0o700)).unwrap();
        let mut findings = Findings::default();
        findings.check_access(
            "hooks.dead_letters",
            &here.path().join("missing"),
            Needed::Directory,
        );
        assert!(findings.all[0].1.contains("cannot read and write "), "{:?}", findings.all);
    }
}
