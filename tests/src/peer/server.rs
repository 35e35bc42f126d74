//! Servers that others wrote, each on a free loopback port with a configuration of its own.

use std::fs::{File, Permissions, set_permissions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::geteuid;

use super::{Peer, skipped};
use crate::process::{Running, run};
use crate::raw::RawSession;
use crate::root::TempRoot;
use crate::site::Site;

/// Who may log in where the server has users.
pub(super) const LOGIN: (&str, &str) = ("user", "pass word");

/// The password of [`LOGIN`] by SHA-512 `crypt`.
const HASH: &str = "$6$saltsalt$cc1KsgmlKYtCcnNH8.sv7Fe8mca8fAso5fHlNrb1VZa5WYQ.L3ChTcx06ID.LoaXZAf9CZNraK43XCp7LxKHl1";

/// The user and group of nobody.
const NOBODY: u32 = 65_534;

/// How long a server may take until it greets.
const START: Duration = Duration::from_secs(20);

/// A running server over a temporary directory that its user may do everything in.
#[derive(Debug)]
pub struct RealServer {
    // Dropped in this order: the process ends before its directories go.
    _running: Running,
    site: Site,
    _etc: TempRoot,
}

impl RealServer {
    /// Very Secure FTP Daemon, serving anonymous, whose first directory is the root. It runs as who
    /// runs the tests, with no system user and no privilege: its names are therefore absolute from
    /// the machine's root, and only relative ones mean the served directory.
    #[track_caller]
    #[must_use]
    pub fn vsftpd() -> Option<Self> {
        Self::vsftpd_at(Ipv4Addr::LOCALHOST)
    }

    /// The same on another loopback address.
    #[track_caller]
    #[must_use]
    pub fn vsftpd_at(host: impl Into<IpAddr>) -> Option<Self> {
        Self::vsftpd_without(host, &[])
    }

    /// The same with these settings, which are `YES` else, set to `NO`.
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

    /// The same as it is configured by default in what is listed, so without names that begin with
    /// a dot, and never as root, who may read every directory.
    #[track_caller]
    #[must_use]
    pub fn vsftpd_unprivileged() -> Option<Self> {
        let change = |config: &mut String, _: &TempRoot| {
            *config = config.replace("force_dot_files=YES\n", "");
        };
        let own = |command: &mut Command, etc: &TempRoot| {
            if geteuid().is_root() {
                // Its configuration has to be its own.
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

    /// The same with these lines more in its configuration, and this time zone.
    #[track_caller]
    #[must_use]
    pub fn vsftpd_also(lines: &str, zone: &str) -> Option<Self> {
        let change = |config: &mut String, _: &TempRoot| config.push_str(lines);
        let environment = |command: &mut Command, _: &TempRoot| {
            command.env("TZ", zone);
        };
        Self::vsftpd_with(Ipv4Addr::LOCALHOST, change, environment, greets)
    }

    /// The same with another configuration, which `change` makes, and another environment.
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

    /// ProFTPD on a loopback address, with one user, whose first directory is the root. It runs as
    /// root, which the tests have to, and its names are as vsftpd's.
    #[track_caller]
    #[must_use]
    pub fn proftpd_at(host: impl Into<IpAddr>) -> Option<Self> {
        Self::proftpd_fxp(host, true)
    }

    /// The same, which connects to third hosts, or does not.
    #[track_caller]
    #[must_use]
    pub fn proftpd_fxp(host: impl Into<IpAddr>, allowed: bool) -> Option<Self> {
        let foreign = if allowed { "AllowForeignAddress on\n" } else { "" };
        Self::proftpd_with(host, |_| foreign.to_owned(), greets)
    }

    /// The same with these lines more in its configuration.
    #[track_caller]
    #[must_use]
    pub fn proftpd_also(lines: &str) -> Option<Self> {
        Self::proftpd_with(Ipv4Addr::LOCALHOST, |_| lines.to_owned(), greets)
    }

    /// The same with lines that know where its files are.
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

    /// Pure-FTPd on a loopback address, with one user, whose root is the root and is owned by
    /// `nobody`. It starts as root, which the tests have to run as.
    #[track_caller]
    #[must_use]
    pub fn pure_ftpd_at(host: impl Into<IpAddr>) -> Option<Self> {
        Self::pure_ftpd_fxp(host, true)
    }

    /// The same, which connects to third hosts, or does not.
    #[track_caller]
    #[must_use]
    pub fn pure_ftpd_fxp(host: impl Into<IpAddr>, allowed: bool) -> Option<Self> {
        Self::pure_ftpd_with(host, |command, _| {
            command.args(allowed.then_some("--allowuserfxp"));
        })
    }

    /// The same with these arguments more.
    #[track_caller]
    #[must_use]
    pub fn pure_ftpd_also(arguments: &[&str]) -> Option<Self> {
        Self::pure_ftpd_with(Ipv4Addr::LOCALHOST, |command, _| {
            command.args(arguments);
        })
    }

    /// The same with arguments that know where its files are.
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
            command.args(["--chrooteveryone", "--dontresolve"]);
            more(&mut command, etc);
            command.args(["--syslogfacility", "none", "--pidfile"]).arg(etc.join("pid"));
            command
        };
        Some(Self::listening(host, root, etc, LOGIN, command))
    }

    /// Starts what `command` makes for a free port of `host`, and waits until it greets.
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

    /// Starts what `command` makes for a free port of `host`, and waits until it `greets`.
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
        // A port that was free may be taken before the server has it: it then ends at once.
        for _ in 0..5 {
            let address = free_address(host);
            let mut running = start(&mut command(address, &root, &etc), &etc);
            match running.wait_until(START, || greets(address).then_some(())) {
                Ok(()) => {
                    let site = Site { root, address, user, password };
                    return Self { _running: running, site, _etc: etc };
                }
                Err(reason) => why.push_str(&format!("{reason}: {}", said(&etc))),
            }
        }
        panic!("the server does not start: {why}");
    }

    /// Python's pyftpdlib with one user, whose root is the root. It is told to take names as bytes.
    #[track_caller]
    #[must_use]
    pub fn pyftpdlib() -> Option<Self> {
        Self::pyftpdlib_at(Ipv4Addr::LOCALHOST)
    }

    /// The same on another loopback address.
    #[track_caller]
    #[must_use]
    pub fn pyftpdlib_at(host: impl Into<IpAddr>) -> Option<Self> {
        let python = Peer::python("pyftpdlib")?;
        Some(Self::script(host, &python, include_str!("pyftpdlib_serve.py")))
    }

    /// The same with its default settings: names are UTF-8, and other bytes become U+FFFD.
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

    /// A script that is given HOST PORT ROOT and serves this directory to [`LOGIN`].
    #[track_caller]
    pub(super) fn script(host: impl Into<IpAddr>, interpreter: &Peer, script: &str) -> Self {
        Self::script_with(host, interpreter, script, |_, _| {}, greets)
    }

    /// The same with more arguments.
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

impl Deref for RealServer {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

/// Whether a server greets at `address` yet.
pub(super) fn greets(address: SocketAddr) -> bool {
    RawSession::greeting(address).is_some_and(|reply| reply.code == 220)
}

/// Starts a server that writes what it has to say to a file: nobody reads a pipe all the time.
#[track_caller]
fn start(command: &mut Command, etc: &TempRoot) -> Running {
    let log = File::create(etc.join("log")).expect("a file in an own directory");
    let again = log.try_clone().expect("a second descriptor");
    Running::start(command.stdin(Stdio::null()).stdout(log).stderr(again))
}

fn said(etc: &TempRoot) -> String {
    String::from_utf8_lossy(&etc.read("log")).into_owned()
}

/// Whether `server`, which has to start as root, can.
#[track_caller]
pub(super) fn is_root(server: &str) -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        skipped(&format!("{server} has to start as root"));
    }
    is_root
}

/// A port that is free now.
fn free_address(host: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

fn vsftpd_config(address: SocketAddr, root: &TempRoot) -> String {
    let (host, port, root) = (address.ip(), address.port(), root.path().display());
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
         pasv_enable=YES\nport_enable=YES\nconnect_from_port_20=NO\n\
         pasv_promiscuous=YES\nport_promiscuous=YES\n"
    )
}

/// What of the line of [`LOGIN`] is the same in `/etc/passwd` and in Pure-FTPd's file: up to the
/// home.
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
