//! Servers that are libraries, each with a script around it, and servers that BusyBox's `tcpsvd`
//! starts for each connection.

use std::fs::{Permissions, set_permissions};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::server::{LOGIN, RealServer, greets, is_root, user_entry};
use super::{Peer, skipped};
use crate::process::run;
use crate::root::TempRoot;

/// BusyBox with the two applets, under the name that `.ci/run` uses: Debian's BusyBox has neither.
const BUSYBOX: &str = "busybox-ftpd";

/// The lines of `/etc/passwd` besides the user: PAM and the resolver look for these.
const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";

impl RealServer {
    /// Starts Python's Twisted with one user, who sees the root as `/`.
    #[track_caller]
    #[must_use]
    pub fn twisted_at(host: impl Into<IpAddr>) -> Option<Self> {
        let python = Peer::python("twisted.protocols.ftp")?;
        Some(Self::script(host, &python, include_str!("twisted_serve.py")))
    }

    /// Starts vsftpd with a limit of one connection per host.
    #[track_caller]
    #[must_use]
    pub fn vsftpd_of_one(host: impl Into<IpAddr>) -> Option<Self> {
        let change = |config: &mut String, _: &TempRoot| config.push_str("max_per_ip=1\n");
        Self::vsftpd_with(host, change, |_, _| {}, greets).map(Self::without_sessions)
    }

    /// Starts ProFTPD with a limit of one client per host.
    #[track_caller]
    #[must_use]
    pub fn proftpd_of_one(host: impl Into<IpAddr>) -> Option<Self> {
        let limit = |_: &TempRoot| "MaxClientsPerHost 1\n".to_owned();
        Self::proftpd_with(host, limit, greets).map(Self::without_sessions)
    }

    /// Starts Python's aioftp with one user, who sees the root as `/`.
    #[track_caller]
    #[must_use]
    pub fn aioftp_at(host: impl Into<IpAddr>) -> Option<Self> {
        let python = Peer::python("aioftp")?;
        Some(Self::script(host, &python, include_str!("aioftp_serve.py")))
    }

    /// Starts Node's ftp-srv with one user, who sees the root as `/`.
    #[track_caller]
    #[must_use]
    pub fn ftp_srv_at(host: impl Into<IpAddr>) -> Option<Self> {
        let node = Peer::that_runs("Node's ftp-srv", "node", "require('ftp-srv')")?;
        Some(Self::script(host, &node, include_str!("ftp_srv_serve.js")))
    }

    /// Starts BusyBox's `ftpd`, which asks for no password. The root is its `/` if `ftpd` starts as
    /// root, which the tests require.
    #[track_caller]
    #[must_use]
    pub fn busybox_at(host: impl Into<IpAddr>) -> Option<Self> {
        let busybox = Peer::find(BUSYBOX)?;
        if !is_root("BusyBox's ftpd") {
            return None;
        }
        let command = |address, root: &TempRoot, _: &TempRoot| {
            let mut command = busybox.command();
            serve_each(&mut command, address);
            command.args([BUSYBOX, "ftpd", "-w", "-A"]).arg(root.path());
            command
        };
        Some(Self::listening(host, TempRoot::new(), TempRoot::new(), LOGIN, command))
    }

    /// Starts GNU inetutils' `ftpd` with one user, whose login directory is the root. The users of
    /// `ftpd` are those of the machine, so it gets its own `/etc/passwd`, which requires root.
    /// Paths are as with vsftpd.
    #[track_caller]
    #[must_use]
    pub fn inetutils_at(host: impl Into<IpAddr>) -> Option<Self> {
        let (ftpd, busybox) = (Peer::find("inetutils-ftpd")?, Peer::find(BUSYBOX)?);
        let unshare = Peer::find("unshare")?;
        if !is_root("inetutils' ftpd") {
            return None;
        }
        let own_mounts = |script: &str| {
            let mut command = unshare.command();
            command.args(["--mount", "--", "sh", "-c", script]);
            command
        };
        if run(&mut own_mounts("mount --bind /etc /etc")).code() != Some(0) {
            skipped("it cannot have mounts of its own");
            return None;
        }
        let command = |address, root: &TempRoot, etc: &TempRoot| {
            let users = format!("{PASSWD}{}:/bin/sh\n", user_entry(0, root));
            let passwd = etc.write("passwd", users.as_bytes());
            set_permissions(&passwd, Permissions::from_mode(0o600)).expect("an own file");
            let mut command = own_mounts("mount --bind \"$0\" /etc/passwd && exec \"$@\"");
            command.arg(passwd).arg(busybox.command().get_program());
            serve_each(&mut command, address);
            command.arg(ftpd.command().get_program()).args(["--auth=default"]);
            command
        };
        Some(Self::listening(host, TempRoot::new(), TempRoot::new(), LOGIN, command))
    }
}

/// Returns the start of a BusyBox command line: the command after it gets each connection to
/// `address` as standard input and output.
fn serve_each(command: &mut Command, address: SocketAddr) {
    // Without lookups of host names, which `-h` would enable.
    command.arg("tcpsvd").args([address.ip().to_string(), address.port().to_string()]);
}
