//! Checks the control socket and the address of the metrics for `--check`.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::{Findings, Unit};
use crate::daemon::DaemonErrorKind;
use crate::daemon::config::{Config, MISSING, MetricsAddress, Settings, is_missing};
use crate::daemon::control::{ControlRequest, ControlStyle};
use crate::daemon::local_socket::is_stale;
use crate::daemon::privileges::is_root;
use ftp_proto::text::values::shown_path;

/// Checks that the process can bind the control socket and the address of the metrics, and that it
/// can give the control socket to `control.group`. `unit` makes directories when the service starts.
/// `bound` are the server's listeners, to which that of the metrics is added.
pub(super) fn check(
    settings: &Settings,
    unit: Option<&Unit>,
    running: Option<&RunningServer>,
    bound: &mut Vec<TcpListener>,
    findings: &mut Findings,
) {
    let is_made = |path: &Path| unit.is_some_and(|unit| unit.makes(path));
    for (key, path) in files(settings).filter(|(_, path)| !is_made(path)) {
        file(key, path, running, findings);
    }
    if let Some(group) =
        settings.control_group.as_ref().filter(|_| settings.control_socket.is_some())
        && !group.is_ours()
    {
        let what_to_do = "add the user to the group, or use another group";
        let words =
            format!("control.group: the server's user is not in group \"{group}\"; {what_to_do}");
        findings.fail(DaemonErrorKind::Local, words);
    }
    if let Some(address) = settings.metrics.as_ref().and_then(MetricsAddress::tcp) {
        let place = format!("metrics.listen: {address}");
        listen(&place, address, settings.freebind, running, bound, findings);
    }
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrInUse
}

/// Returns why the server cannot listen on an address, and what to do. `bound` are its listeners on
/// other addresses.
fn reason(error: &io::Error, address: SocketAddr, bound: &[TcpListener]) -> String {
    let mut others = bound.iter().filter_map(|bound| bound.local_addr().ok());
    let own = others.find(|other| share(*other, address));
    if let Some(own) = own.filter(|_| is_in_use(error)) {
        return format!("these settings also use {own}; use another port");
    }
    let is_it = "; if it is this server, run the check as root";
    let hint = if is_in_use(error) && !is_root() { is_it } else { "" };
    format!("{}{hint}", advice(error))
}

/// Returns why a server cannot listen on an address, and what to do.
pub(in crate::daemon) fn advice(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "another program uses this port; stop it, or use another port".to_owned()
        }
        ErrorKind::PermissionDenied => {
            "ports below 1024 need root, or CAP_NET_BIND_SERVICE from a systemd unit; run it as root, or use another port".to_owned()
        }
        ErrorKind::AddrNotAvailable => {
            "not an address of this computer; use one that is, [::] for all, or listen.freebind".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Returns the Unix sockets, each with its key.
pub(super) fn files(settings: &Settings) -> impl Iterator<Item = (&'static str, &Path)> {
    let control = settings.control_socket.as_deref().map(|path| ("control.socket", path));
    let metrics = settings.metrics.as_ref().and_then(MetricsAddress::path);
    control.into_iter().chain(metrics.map(|path| ("metrics.listen", path)))
}

fn file(key: &str, path: &Path, running: Option<&RunningServer>, findings: &mut Findings) {
    let shown = shown_path(path);
    if let Err(error) = is_stale(path) {
        if let Some(running) = running.filter(|_| is_in_use(&error)) {
            return running.report(&format!("{key}: {shown}"), findings);
        }
        let words = format!("{key}: {shown}: {error}; use another path");
        return findings.fail(DaemonErrorKind::Local, words);
    }
    let mut fail = |why: &str, what_to_do: &str| {
        findings.fail(DaemonErrorKind::Local, format_args!("{key}: {shown}: {why}; {what_to_do}"));
    };
    // The server creates the socket's file, and replaces the file of a server that has ended.
    match access(path.parent().unwrap_or(path), Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => findings.ok(format_args!("{key}: {shown} can be created")),
        Err(Errno::NOENT) => {
            fail("its directory is missing", "create the directory, or use another path");
        }
        Err(error) => fail(&error.to_string(), "fix the owner or mode of its directory"),
    }
}

/// Checks that the server can listen on an address, and adds its listener to `bound`. Messages begin
/// with `place`; `running` is the server that may listen there now.
pub(super) fn listen(
    place: &str,
    address: SocketAddr,
    freebind: bool,
    running: Option<&RunningServer>,
    bound: &mut Vec<TcpListener>,
    findings: &mut Findings,
) {
    match TcpListener::bind(address) {
        Ok(listener) => {
            findings.ok(format_args!("{place}: can listen"));
            bound.push(listener);
        }
        Err(_) if freebind && is_missing(address) => {
            findings.warn(format_args!("{place}: {MISSING}"));
        }
        Err(error) => match running.filter(|_| is_in_use(&error)) {
            Some(running) => running.report(place, findings),
            None => {
                let why = reason(&error, address, bound);
                let words = format!("{place}: cannot listen: {why}");
                findings.fail(DaemonErrorKind::Network, words);
            }
        },
    }
}

/// Time limit for the answer of the running server.
const LIMIT: Duration = Duration::from_secs(1);

/// A server that uses the configuration now.
pub(super) struct RunningServer {
    process: String,
    /// Whether the server uses another configuration file.
    is_other_file: bool,
    addresses: Vec<SocketAddr>,
}

impl RunningServer {
    /// Asks the control socket; without an answer, looks for a process that listens and has the
    /// configuration file as an argument, or else for one of this program that listens on one of the
    /// addresses. A process of another user is found only by root.
    pub(super) fn find(config: &Config) -> Option<Self> {
        let file = config.file().and_then(|file| file.canonicalize().ok());
        let wanted = config.settings.all_listen();
        let is_meant = |server: &Self| {
            !server.is_other_file || wanted.iter().any(|address| server.listens_on(*address))
        };
        let by_process = || {
            let all = Self::all(file.as_deref()).into_iter();
            all.filter(is_meant).min_by_key(|server| server.is_other_file)
        };
        Self::by_socket(&config.settings).or_else(by_process)
    }

    fn by_socket(settings: &Settings) -> Option<Self> {
        let path = settings.control_socket.as_deref()?;
        let answer = ControlRequest::Status(ControlStyle::Text).ask(path, LIMIT).ok()?;
        let text = answer.outcome.ok()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let addresses = field("addresses: ")?.split(' ').filter_map(|it| it.parse().ok());
        let process = field("process: ")?.to_owned();
        Some(Self { process, is_other_file: false, addresses: addresses.collect() })
    }

    /// Returns the listening processes that have the file as an argument, and those of this program.
    fn all(file: Option<&Path>) -> Vec<Self> {
        let listening: Vec<(String, SocketAddr)> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .filter_map(|path| fs::File::open(path).ok())
            // After a header, the listening ones are the first: a busy host has thousands of others.
            .flat_map(|file| BufReader::new(file).lines().skip(1).map_while(listener))
            .collect();
        let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let servers = processes.filter_map(|entry| {
            let is_other_file = !file.is_some_and(|file| names_file(&entry.path(), file));
            if is_other_file && !serves(&entry.path()) {
                return None;
            }
            let process = entry.file_name().into_string().ok()?;
            let open = fs::read_dir(entry.path().join("fd")).ok()?.filter_map(Result::ok);
            let open: Vec<_> = open.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
            let is_its = |(socket, _): &&(String, SocketAddr)| {
                open.iter().any(|link| link.as_os_str() == socket.as_str())
            };
            let addresses: Vec<_> = listening.iter().filter(is_its).map(|(_, at)| *at).collect();
            (!addresses.is_empty()).then_some(Self { process, is_other_file, addresses })
        });
        servers.collect()
    }

    fn report(&self, place: &str, findings: &mut Findings) {
        let words = format!("{place}: the running server (process {}) listens here", self.process);
        match self.is_other_file {
            true => findings.note(format_args!("{words}, with another file")),
            false => findings.ok(words),
        }
    }

    /// Returns whether the server listens on an address, or on all addresses with the same port.
    pub(super) fn listens_on(&self, address: SocketAddr) -> bool {
        self.addresses.iter().any(|own| share(*own, address))
    }
}

/// Returns whether two addresses have the same port, and the same host unless one of them is for all
/// hosts.
fn share(one: SocketAddr, other: SocketAddr) -> bool {
    let host = |address: SocketAddr| address.ip().to_canonical();
    let is_any = |address| host(address).is_unspecified();
    one.port() == other.port() && (host(one) == host(other) || is_any(one) || is_any(other))
}

fn arguments(process: &Path) -> Vec<u8> {
    fs::read(process.join("cmdline")).unwrap_or_default()
}

/// Returns whether a process is this program, and serves.
fn serves(process: &Path) -> bool {
    let name = |process: &Path| fs::read(process.join("comm")).ok();
    let is_this = name(process).is_some_and(|it| name(Path::new("/proc/self")) == Some(it));
    is_this && arguments(process).split(|&byte| byte == 0).any(|argument| argument == b"serve")
}

/// Returns whether a process has the configuration file as an argument.
fn names_file(process: &Path, file: &Path) -> bool {
    arguments(process).split(|&byte| byte == 0).any(|argument| {
        let value = argument.strip_prefix(b"--config=").unwrap_or(argument);
        let named = process.join("cwd").join(OsStr::from_bytes(value));
        !value.is_empty() && named.canonicalize().is_ok_and(|named| named == file)
    })
}

/// Reads a line of `/proc/net/tcp` or `/proc/net/tcp6` (proc_pid_net(5)): a listening socket as
/// `/proc/PID/fd` shows it, with its address. The kernel writes addresses as numbers in the byte
/// order of the machine.
fn listener(line: io::Result<String>) -> Option<(String, SocketAddr)> {
    const LISTEN: &str = "0A";
    let line = line.ok()?;
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, state, inode) = (*fields.get(1)?, *fields.get(3)?, *fields.get(9)?);
    let (host, port) = address.split_once(':').filter(|_| state == LISTEN)?;
    let words = host
        .as_bytes()
        .chunks(8)
        .map(|word| Some(u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes()));
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let host = match <[u8; 4]>::try_from(&*bytes) {
        Ok(octets) => IpAddr::from(octets),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(&*bytes).ok()?),
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((format!("socket:[{inode}]"), SocketAddr::new(host, port)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::findings::Severity;
    use super::*;

    fn found(assignments: &[String]) -> Vec<String> {
        let mut settings = Settings::default();
        assignments.iter().for_each(|assignment| settings.assign(assignment).unwrap());
        let mut findings = Findings::default();
        check(&settings, None, None, &mut Vec::new(), &mut findings);
        findings.lines(Severity::Fail..=Severity::Ok).lines().map(str::to_owned).collect()
    }

    #[test]
    fn sockets_that_cannot_be_created_are_reported() {
        let here = tempfile::tempdir().unwrap();
        let path = |name: &str| here.path().join(name).display().to_string();
        assert!(found(&[]).is_empty());
        fs::write(path("file"), "content").unwrap();
        let live = UnixListener::bind(path("live")).unwrap();
        drop(UnixListener::bind(path("stale")).unwrap());
        for key in ["control.socket=", "metrics.listen=unix:"] {
            for (name, want) in [
                ("new", "ok    KEY: PATH can be created"),
                ("stale", "ok    KEY: PATH can be created"),
                ("live", "fail  KEY: PATH: another server listens there; use another path"),
                ("file", "fail  KEY: PATH: not a socket; use another path"),
                (
                    "none/socket",
                    "fail  KEY: PATH: its directory is missing; create the directory, or use \
                     another path",
                ),
                (
                    &"long".repeat(30),
                    "fail  KEY: PATH: too long for the path of a socket; use another path",
                ),
            ] {
                let (word, _) = key.split_once('=').unwrap();
                let want = want.replace("KEY", word).replace("PATH", &path(name));
                assert_eq!(found(&[format!("{key}{}", path(name))]), [want]);
            }
        }
        drop(live);
        assert!(!Path::new(&path("new")).exists() && Path::new(&path("stale")).exists());
    }

    #[test]
    fn a_metrics_address_in_use_or_missing_is_reported() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = |address: &str| format!("metrics.listen={address}");
        let at = |assignments: &[String]| found(assignments).pop().unwrap();
        let line = at(&[listen(&taken.local_addr().unwrap().to_string())]);
        assert!(line.starts_with("fail  metrics.listen: 127.0.0.1:"), "{line}");
        assert!(line.contains("another program uses this port"), "{line}");
        assert!(at(&[listen("127.0.0.1:0")]).starts_with("ok "));
        // Reserved for documentation: no computer has it.
        let missing = listen("192.0.2.77:9121");
        let line = at(std::slice::from_ref(&missing));
        assert!(line.starts_with("fail ") && line.contains("listen.freebind"), "{line}");
        assert!(at(&["listen.freebind=true".to_owned(), missing]).starts_with("warn "));
    }

    #[test]
    fn a_control_group_without_the_user_is_reported() {
        let socket = |more: &str| {
            let here = tempfile::tempdir().unwrap();
            found(&[format!("control.socket={}/socket", here.path().display()), more.to_owned()])
        };
        let own = rustix::process::getegid().as_raw();
        assert_eq!(socket(&format!("control.group={own}")).len(), 1);
        // Root may give files to any group.
        let is_root = rustix::process::geteuid().is_root();
        assert_eq!(socket("control.group=54321").len(), if is_root { 1 } else { 2 });
    }
}
