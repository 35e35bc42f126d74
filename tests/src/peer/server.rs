//! Servers that others wrote, each on a free loopback port with a configuration of its own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Deref;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Peer;
use crate::process::Running;
use crate::raw::RawSession;
use crate::root::TempRoot;
use crate::site::Site;

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
        let vsftpd = Peer::find("vsftpd")?;
        let (root, etc) = (TempRoot::new(), TempRoot::new());
        let mut why = String::new();
        // A port that was free may be taken before vsftpd has it: it then ends at once.
        for _ in 0..5 {
            let address = free_address();
            let config = etc.write("vsftpd.conf", vsftpd_config(address, &root).as_bytes());
            let mut command = vsftpd.command();
            let mut running = start(command.arg(config), &etc);
            let greets = || {
                let greeting = RawSession::greeting(address)?;
                greeting.first().starts_with(b"(vsFTPd").then_some(())
            };
            match running.wait_until(START, greets) {
                Ok(()) => {
                    let (user, password) = ("anonymous", "tests@example.invalid");
                    let site = Site { root, address, user, password };
                    return Some(Self { _running: running, site, _etc: etc });
                }
                Err(reason) => why.push_str(&format!("{reason}: {}", said(&etc))),
            }
        }
        panic!("vsftpd does not start: {why}");
    }

    /// Python's pyftpdlib with one user, whose root is the root. It is told to take names as bytes.
    #[track_caller]
    #[must_use]
    pub fn pyftpdlib() -> Option<Self> {
        let python = Peer::python("pyftpdlib")?;
        let (root, etc) = (TempRoot::new(), TempRoot::new());
        let script = etc.write("serve.py", include_bytes!("pyftpdlib_serve.py"));
        let port_file = etc.join("port");
        let mut command = python.command();
        command.arg(script).arg(root.path()).arg(&port_file);
        let mut running = start(&mut command, &etc);
        let announces = || std::fs::read_to_string(&port_file).ok()?.trim().parse().ok();
        let port: u16 = running.wait_until(START, announces).unwrap_or_else(|why| {
            panic!("pyftpdlib does not start: {why}: {}", said(&etc));
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (user, password) = ("user", "pass word");
        let site = Site { root, address, user, password };
        Some(Self { _running: running, site, _etc: etc })
    }
}

impl Deref for RealServer {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
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

/// A port that is free now.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

fn vsftpd_config(address: SocketAddr, root: &TempRoot) -> String {
    let (host, port, root) = (address.ip(), address.port(), root.path().display());
    format!(
        "listen=YES\nlisten_address={host}\nlisten_port={port}\nbackground=NO\n\
         run_as_launching_user=YES\nseccomp_sandbox=NO\nxferlog_enable=NO\n\
         anonymous_enable=YES\nlocal_enable=NO\nanon_root={root}\nanon_umask=022\n\
         anon_world_readable_only=NO\nallow_writeable_chroot=YES\n\
         force_dot_files=YES\nwrite_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\n\
         anon_other_write_enable=YES\nascii_upload_enable=YES\nascii_download_enable=YES\n\
         pasv_enable=YES\nport_enable=YES\nconnect_from_port_20=NO\n"
    )
}
