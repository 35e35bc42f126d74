//! curl, with TLS by OpenSSL.

use std::net::Ipv4Addr;

use ftp_server::SessionReuse;
use ftp_tests::names::percent;
use ftp_tests::peer::{Peer, RealServer};
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::tls::{Authority, Kind, Secured, Version};

use super::{Cell, Client, Meeting, Resumes, Step, Verb, outcome};

pub(super) const CURL: Client = Client {
    name: "curl",
    find: || Peer::find("curl"),
    can_be_active: true,
    appends: true,
    resumes: Resumes::NotBehindUploads,
    perform,
};

fn perform(meeting: &Meeting, steps: &[Step]) -> Result<Vec<u8>, String> {
    let mut command = meeting.command();
    for (number, Step { verb, local, remote }) in steps.iter().enumerate() {
        // Each step has its own options, and all share one connection.
        command.args((number > 0).then_some("--next"));
        command.args(["--disable", "--silent", "--show-error", "--verbose", "--fail-early"]);
        command.args(["--max-time", "30", "--ssl-reqd", "--cacert"]).arg(&meeting.ca_file);
        command.args(match meeting.cell.version {
            Version::V1_2 => ["--tlsv1.2", "--tls-max", "1.2"],
            Version::V1_3 => ["--tlsv1.3", "--tls-max", "1.3"],
        });
        command.args(if meeting.cell.active { &["--ftp-port", "-"][..] } else { &[] });
        let url = meeting.url(remote);
        match verb {
            Verb::Put => command.args(["-T", local, &url]),
            Verb::Get => command.args(["-o", local, &url]),
            Verb::List => command.arg(meeting.url("")),
            Verb::Append => command.args(["--append", "-T", local, &url]),
            Verb::ContinuePut => command.args(["-C", "-", "-T", local, &url]),
            Verb::ContinueGet => command.args(["-C", "-", "-o", local, &url]),
        };
    }
    outcome(run(&mut command))
}

impl Meeting {
    /// Returns the URL of a name in the root, including the login.
    fn url(&self, name: &str) -> String {
        let scheme = if self.cell.implicit { "ftps" } else { "ftp" };
        let (user, password) = (self.server.user, percent(self.server.password.as_bytes()));
        format!("{scheme}://{user}:{password}@{}/{name}", self.address())
    }
}

/// curl fails in active mode with every server, so this is not a fault of ours.
#[test]
fn curl_fails_in_active_mode_under_tls() {
    let Some(peer) = Peer::find("curl") else { return };
    let authority = Authority::new();
    let (home, pair) = (TempRoot::new(), authority.issue(Kind::Good));
    let ca_file = authority.write(&home, "ca.pem");
    let local = home.write("up", b"content");
    let start = [RealServer::vsftpd_tls, RealServer::pure_ftpd_tls];
    for server in start.iter().filter_map(|start| start(Ipv4Addr::LOCALHOST, Secured::by(&pair))) {
        let put = |way: &[&str]| {
            let mut command = peer.command();
            command.args(["--disable", "--silent", "--show-error", "--ssl-reqd", "--cacert"]);
            command.arg(&ca_file).args(["--max-time", "20"]).args(way);
            run(command.arg("-T").arg(&local).arg(server.url("there")))
        };
        put(&[]).succeeded();
        let ran = put(&["--ftp-port", "-"]);
        assert_ne!(ran.code(), Some(0), "{ran:?}");
    }
}

/// curl starts TLS on the data connection before it reads the reply. If the server reset that
/// connection, curl would try PASV, and report "Bad PASV/EPSV response".
#[test]
fn curl_reports_why_a_transfer_was_refused_st_06() {
    let authority = Authority::new();
    for version in [Version::V1_2, Version::V1_3] {
        let cell = Cell { implicit: false, active: false, version, reuse: SessionReuse::Observe };
        let Some(meeting) = Meeting::new(&CURL, cell, &authority) else { return };
        meeting.server.root.mkdir("directory");
        meeting.local.write("up", b"content");
        let refused = [
            (Verb::Put, "up", "directory", "curl: (25)"),
            (Verb::Get, "down", "missing", "curl: (78)"),
        ];
        for (verb, local, remote, code) in refused {
            let step = Step { verb, local: local.to_owned(), remote: remote.to_owned() };
            let said = perform(&meeting, &[step]).expect_err(remote);
            assert!(said.contains(code), "{version:?}: {said}");
        }
    }
}
