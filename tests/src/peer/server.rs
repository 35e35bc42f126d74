//! Other servers, each on a free loopback port with its own configuration.

use std::fs::{self, File, Permissions, set_permissions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::geteuid;

use super::{Peer, skipped};
use crate::port::{OwnPort, PASSIVE};
use crate::process::{Running, run};
use crate::raw::RawSession;
use crate::root::TempRoot;
use crate::site::Site;

/// The user name, if the server has users.
pub(super) const LOGIN: (&str, &str) = ("user", "pass word");

/// The password of [`LOGIN`] by SHA-512 `crypt`.
const HASH: &str = "$6$saltsalt$cc1KsgmlKYtCcnNH8.sv7Fe8mca8fAso5fHlNrb1VZa5WYQ.L3ChTcx06ID.LoaXZAf9CZNraK43XCp7LxKHl1";

/// The user and group ids of the user nobody.
const NOBODY: u32 = 65_534;

/// How long a server may take until it sends its greeting.
const START: Duration = Duration::from_secs(60);

/// A running server over a temporary directory in which its user has all permissions.
#[derive(Debug)]
pub struct RealServer {
    // Dropped in this order: the process ends before others get its port, and before its
    // directories are removed.
    running: Running,
    _port: OwnPort,
    site: Site,
    _etc: TempRoot,
}

impl RealServer {
    /// Starts Very Secure FTP Daemon for anonymous users, whose login directory is the root. It
    /// runs as the user of the tests, without a system user and privileges. Its absolute paths
    /// therefore start at the machine's root, and only relative ones lead to the served directory.
    #[track_caller]
    #[must_use]
    pub fn vsftpd() -> Option<Self> {
        Self::vsftpd_at(Ipv4Addr::LOCALHOST)
    }

    /// Starts vsftpd on another loopback address.
    #[track_caller]
    #[must_use]
    pub fn vsftpd_at(host: impl Into<IpAddr>) -> Option<Self> {
        Self::vsftpd_without(host, &[])
    }

    /// Starts vsftpd with these settings, which are `YES` by default, set to `NO`.
    #[track_caller]
    #[must_use]
    pub fn vsftpd_without(host: impl Into<IpAddr>, settings: &[&str]) -> Option<Self> {
        let without = |config: &mut String, _: &TempRoot| {
            for setting in settings {
                let (yes, no) = (format!("\n{setting}=YES\n"), format!("\n{setting}=NO\n"));
                assert!(config.contains(&yes), "vsftpd has no {setting} here");
                *config = config.replace(&yes, &no);
            }
        };
        Self::vsftpd_with(host, without, |_, _| {}, greets)
    }

    /// Starts vsftpd with its default settings for listings, so that names that begin with a dot
    /// are hidden. This server never runs as root, who may read every directory.
    #[track_caller]
    #[must_use]
    pub fn vsftpd_unprivileged() -> Option<Self> {
        let change = |config: &mut String, _: &TempRoot| {
            *config = config.replace("force_dot_files=YES\n", "");
        };
        let own = |command: &mut Command, etc: &TempRoot| {
            if geteuid().is_root() {
                // vsftpd requires that its user owns its configuration.
                etc.give_to(NOBODY);
                let config = etc.join("vsftpd.conf");
                chown(config, Some(NOBODY), Some(NOBODY)).expect("an own file");
                command.uid(NOBODY).gid(NOBODY);
            }
        };
        let server = Self::vsftpd_with(Ipv4Addr::LOCALHOST, change, own, greets)?;
        if geteuid().is_root() {
            server.site.root.give_to(NOBODY);
        }
        Some(server)
    }

    /// Starts vsftpd with these additional lines in its configuration, and in this time zone.
    #[track_caller]
    #[must_use]
    pub fn vsftpd_also(lines: &str, zone: &str) -> Option<Self> {
        let change = |config: &mut String, _: &TempRoot| config.push_str(lines);
        let environment = |command: &mut Command, _: &TempRoot| {
            command.env("TZ", zone);
        };
        Self::vsftpd_with(Ipv4Addr::LOCALHOST, change, environment, greets)
    }

    /// Starts vsftpd with a configuration that `change` modifies, and a command that `environment`
    /// modifies.
    #[track_caller]
    pub(crate) fn vsftpd_with(
        host: impl Into<IpAddr>,
        change: impl Fn(&mut String, &TempRoot),
        environment: impl Fn(&mut Command, &TempRoot),
        greets: impl Fn(SocketAddr) -> bool,
    ) -> Option<Self> {
        let vsftpd = Peer::find("vsftpd")?;
        let login = ("anonymous", "tests@example.invalid");
        let command = |address, root: &TempRoot, etc: &TempRoot| {
            let mut config = vsftpd_config(address, root);
            change(&mut config, etc);
            let config = etc.write("vsftpd.conf", config.as_bytes());
            let mut command = vsftpd.command();
            environment(&mut command, etc);
            command.arg(config);
            command
        };
        Some(Self::ready(host, TempRoot::new(), TempRoot::new(), login, command, greets))
    }

    /// Starts ProFTPD on a loopback address, with one user, whose login directory is the root.
    /// ProFTPD runs as root, which the tests require, and its paths are as with vsftpd.
    #[track_caller]
    #[must_use]
    pub fn proftpd_at(host: impl Into<IpAddr>) -> Option<Self> {
        Self::proftpd_fxp(host, true)
    }

    /// Starts ProFTPD with or without connections to third hosts.
    #[track_caller]
    #[must_use]
    pub fn proftpd_fxp(host: impl Into<IpAddr>, allowed: bool) -> Option<Self> {
        let foreign = if allowed { "AllowForeignAddress on\n" } else { "" };
        Self::proftpd_with(host, |_| foreign.to_owned(), greets)
    }

    /// Starts ProFTPD with these additional lines in its configuration.
    #[track_caller]
    #[must_use]
    pub fn proftpd_also(lines: &str) -> Option<Self> {
        Self::proftpd_with(Ipv4Addr::LOCALHOST, |_| lines.to_owned(), greets)
    }

    /// Starts ProFTPD with additional lines that depend on the place of its files.
    #[track_caller]
    pub(crate) fn proftpd_with(
        host: impl Into<IpAddr>,
        more: impl Fn(&TempRoot) -> String,
        greets: impl Fn(SocketAddr) -> bool,
    ) -> Option<Self> {
        let proftpd = Peer::find("proftpd")?;
        if !is_root("proftpd") {
            return None;
        }
        let command = |address, root: &TempRoot, etc: &TempRoot| {
            let passwd = etc.write("passwd", format!("{}:\n", user_entry(0, root)).as_bytes());
            let secret = set_permissions(passwd, Permissions::from_mode(0o600));
            secret.expect("the mode of an own file, which ProFTPD insists on");
            let mut config = proftpd_config(address, etc);
            config.push_str(&more(etc));
            let config = etc.write("proftpd.conf", config.as_bytes());
            let mut command = proftpd.command();
            command.args(["--nodaemon", "--config"]).arg(config);
            command
        };
        Some(Self::ready(host, TempRoot::new(), TempRoot::new(), LOGIN, command, greets))
    }

    /// Starts Pure-FTPd on a loopback address, with one user, who sees the root as `/`. The root
    /// belongs to the user nobody. Pure-FTPd starts as root, so the tests must run as root.
    #[track_caller]
    #[must_use]
    pub fn pure_ftpd_at(host: impl Into<IpAddr>) -> Option<Self> {
        Self::pure_ftpd_fxp(host, true)
    }

    /// Starts Pure-FTPd with or without connections to third hosts.
    #[track_caller]
    #[must_use]
    pub fn pure_ftpd_fxp(host: impl Into<IpAddr>, allowed: bool) -> Option<Self> {
        Self::pure_ftpd_with(host, |command, _| {
            command.args(allowed.then_some("--allowuserfxp"));
        })
    }

    /// Starts Pure-FTPd with these additional arguments.
    #[track_caller]
    #[must_use]
    pub fn pure_ftpd_also(arguments: &[&str]) -> Option<Self> {
        Self::pure_ftpd_with(Ipv4Addr::LOCALHOST, |command, _| {
            command.args(arguments);
        })
    }

    /// Starts Pure-FTPd with additional arguments that depend on the place of its files.
    #[track_caller]
    pub(crate) fn pure_ftpd_with(
        host: impl Into<IpAddr>,
        more: impl Fn(&mut Command, &TempRoot),
    ) -> Option<Self> {
        let (pure_ftpd, pure_pw) = (Peer::find("pure-ftpd")?, Peer::find("pure-pw")?);
        if !is_root("pure-ftpd") {
            return None;
        }
        let (root, etc) = (TempRoot::new(), TempRoot::new());
        root.give_to(NOBODY);
        // The home is the root, and there are no limits.
        let entry = format!("{}/./::::::::::::\n", user_entry(NOBODY, &root));
        let passwd = etc.write("passwd", entry.as_bytes());
        let database = etc.join("passwd.pdb");
        let mut command = pure_pw.command();
        run(command.arg("mkdb").arg(&database).arg("-f").arg(passwd)).succeeded();
        let command = |address: SocketAddr, _: &TempRoot, etc: &TempRoot| {
            let mut command = pure_ftpd.command();
            command.args(["--bind", &format!("{},{}", address.ip(), address.port())]);
            command.args(["--login", &format!("puredb:{}", database.display()), "--noanonymous"]);
            let ports = format!("{}:{}", PASSIVE.start(), PASSIVE.end());
            command.args(["--chrooteveryone", "--dontresolve", "--passiveportrange", &ports]);
            more(&mut command, etc);
            command.args(["--syslogfacility", "none", "--pidfile"]).arg(etc.join("pid"));
            command
        };
        Some(Self::listening(host, root, etc, LOGIN, command))
    }

    /// Starts the command that `command` makes for a free port of `host`, and waits for the
    /// greeting.
    #[track_caller]
    pub(super) fn listening(
        host: impl Into<IpAddr>,
        root: TempRoot,
        etc: TempRoot,
        login: (&'static str, &'static str),
        command: impl Fn(SocketAddr, &TempRoot, &TempRoot) -> Command,
    ) -> Self {
        Self::ready(host, root, etc, login, command, greets)
    }

    /// Starts the command that `command` makes for a free port of `host`, and waits until `greets`
    /// is true.
    #[track_caller]
    pub(crate) fn ready(
        host: impl Into<IpAddr>,
        root: TempRoot,
        etc: TempRoot,
        (user, password): (&'static str, &'static str),
        command: impl Fn(SocketAddr, &TempRoot, &TempRoot) -> Command,
        greets: impl Fn(SocketAddr) -> bool,
    ) -> Self {
        let host = host.into();
        let mut why = String::new();
        // A server that cannot get its port ends at once.
        for _ in 0..5 {
            let port = OwnPort::claim_at(host);
            let address = port.address();
            let mut running = start(&mut command(address, &root, &etc), &etc);
            match running.wait_until(START, || greets(address).then_some(())) {
                Ok(()) => {
                    let site = Site { root, address, user, password };
                    return Self { running, _port: port, site, _etc: etc };
                }
                Err(reason) => why.push_str(&format!("{reason}: {}", said(&etc))),
            }
        }
        panic!("the server does not start: {why}");
    }

    /// Starts Python's pyftpdlib with one user, who sees the root as `/`. The server handles names
    /// as bytes.
    #[track_caller]
    #[must_use]
    pub fn pyftpdlib() -> Option<Self> {
        Self::pyftpdlib_at(Ipv4Addr::LOCALHOST)
    }

    /// Starts pyftpdlib on another loopback address.
    #[track_caller]
    #[must_use]
    pub fn pyftpdlib_at(host: impl Into<IpAddr>) -> Option<Self> {
        let python = Peer::python("pyftpdlib")?;
        Some(Self::script(host, &python, include_str!("pyftpdlib_serve.py")))
    }

    /// Starts pyftpdlib with its default settings: names are UTF-8, and other bytes become U+FFFD.
    #[track_caller]
    #[must_use]
    pub fn pyftpdlib_by_default() -> Option<Self> {
        let python = Peer::python("pyftpdlib")?;
        let script = include_str!("pyftpdlib_serve.py");
        let more = |command: &mut Command, _: &TempRoot| {
            command.arg("by-default");
        };
        Some(Self::script_with(Ipv4Addr::LOCALHOST, &python, script, more, greets))
    }

    /// Starts a script with the arguments HOST PORT ROOT that serves this directory to [`LOGIN`].
    #[track_caller]
    pub(super) fn script(host: impl Into<IpAddr>, interpreter: &Peer, script: &str) -> Self {
        Self::script_with(host, interpreter, script, |_, _| {}, greets)
    }

    /// Starts a script with additional arguments.
    #[track_caller]
    pub(crate) fn script_with(
        host: impl Into<IpAddr>,
        interpreter: &Peer,
        script: &str,
        more: impl Fn(&mut Command, &TempRoot),
        greets: impl Fn(SocketAddr) -> bool,
    ) -> Self {
        let command = |address: SocketAddr, root: &TempRoot, etc: &TempRoot| {
            let mut command = interpreter.command();
            command.arg(etc.write("serve", script.as_bytes()));
            command.args([address.ip().to_string(), address.port().to_string()]).arg(root.path());
            more(&mut command, etc);
            command
        };
        Self::ready(host, TempRoot::new(), TempRoot::new(), LOGIN, command, greets)
    }
}

impl RealServer {
    /// Waits until the server has ended the session that asked for the greeting, so that a limit of
    /// sessions does not count it. The server has a process for each session.
    #[track_caller]
    pub(super) fn without_sessions(mut self) -> Self {
        let id = self.running.child.id();
        let children = format!("/proc/{id}/task/{id}/children");
        let is_alone = || fs::read_to_string(&children).expect("its processes").is_empty();
        self.running.wait_until(START, || is_alone().then_some(())).expect("its session ends");
        self
    }
}

impl Deref for RealServer {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

/// Returns whether a server sends a greeting at `address` yet.
pub(super) fn greets(address: SocketAddr) -> bool {
    RawSession::greeting(address).is_some_and(|reply| reply.code == 220)
}

/// Starts a server that writes its output to a file, since no thread reads a pipe all the time.
#[track_caller]
fn start(command: &mut Command, etc: &TempRoot) -> Running {
    let log = File::create(etc.join("log")).expect("a file in an own directory");
    let again = log.try_clone().expect("a second descriptor");
    Running::start(command.stdin(Stdio::null()).stdout(log).stderr(again))
}

fn said(etc: &TempRoot) -> String {
    String::from_utf8_lossy(&etc.read("log")).into_owned()
}

/// Returns whether `server`, which must start as root, can do so.
#[track_caller]
pub(super) fn is_root(server: &str) -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        skipped(&format!("{server} has to start as root"));
    }
    is_root
}

fn vsftpd_config(address: SocketAddr, root: &TempRoot) -> String {
    let (host, port, root) = (address.ip(), address.port(), root.path().display());
    let (first, last) = PASSIVE.into_inner();
    let listen = if host.is_ipv4() {
        format!("listen=YES\nlisten_address={host}")
    } else {
        format!("listen=NO\nlisten_ipv6=YES\nlisten_address6={host}")
    };
    format!(
        "{listen}\nlisten_port={port}\nbackground=NO\n\
         run_as_launching_user=YES\nseccomp_sandbox=NO\nxferlog_enable=NO\n\
         anonymous_enable=YES\nlocal_enable=NO\nanon_root={root}\nanon_umask=022\n\
         anon_world_readable_only=NO\nallow_writeable_chroot=YES\n\
         force_dot_files=YES\nwrite_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\n\
         anon_other_write_enable=YES\nascii_upload_enable=YES\nascii_download_enable=YES\n\
         pasv_enable=YES\npasv_min_port={first}\npasv_max_port={last}\nport_enable=YES\nconnect_from_port_20=NO\n\
         pasv_promiscuous=YES\nport_promiscuous=YES\n"
    )
}

/// The fields in the line of [`LOGIN`], up to the home, that are the same in `/etc/passwd` and in
/// Pure-FTPd's file.
pub(super) fn user_entry(id: u32, root: &TempRoot) -> String {
    let (user, root) = (LOGIN.0, root.path().display());
    format!("{user}:{HASH}:{id}:{id}::{root}")
}

fn proftpd_config(address: SocketAddr, etc: &TempRoot) -> String {
    let (host, port, etc) = (address.ip(), address.port(), etc.path().display());
    let ipv6 = if host.is_ipv6() { "on" } else { "off" };
    format!(
        "ServerType standalone\nDefaultAddress {host}\nSocketBindTight on\nPort {port}\n\
         UseIPv6 {ipv6}\nUseReverseDNS off\nUser root\nGroup root\nRootLogin on\n\
         RequireValidShell off\nUseFtpUsers off\nAuthOrder mod_auth_file.c\n\
         AuthUserFile {etc}/passwd\nPidFile {etc}/pid\nScoreboardFile {etc}/scoreboard\n\
         WtmpLog off\nTransferLog none\nSystemLog none\nDelayEngine off\n\
         AllowOverwrite on\nAllowStoreRestart on\n"
    )
}
