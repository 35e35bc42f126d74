//! Python's `FTP_TLS`, with TLS by OpenSSL. It resumes no session by itself: `ftplib.py` makes it
//! resume that of its control connection, as is usual.

use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, run_with};

use super::{Client, Meeting, Resumes, Step, outcome};

pub(super) const FTPLIB: Client = Client {
    name: "ftplib",
    find: || Peer::python("ftplib, ssl"),
    can_be_active: true,
    appends: true,
    resumes: Resumes::All,
    perform: |meeting, steps| perform(meeting, "resume", steps),
};

/// Unmodified.
pub(super) const FTPLIB_AS_IT_IS: Client = Client {
    name: "ftplib as it is",
    resumes: Resumes::Nothing,
    perform: |meeting, steps| perform(meeting, "as it is", steps),
    ..FTPLIB
};

fn perform(meeting: &Meeting, sessions: &str, steps: &[Step]) -> Result<Vec<u8>, String> {
    let script = meeting.home.write("script.py", include_bytes!("ftplib.py"));
    let (mut command, cell, at) = (meeting.command(), meeting.cell, meeting.address());
    command.arg(script).args([at.ip().to_string(), at.port().to_string()]);
    command.args([meeting.server.user, meeting.server.password]);
    command.arg(&meeting.ca_file).arg(cell.version.name());
    command.arg(if cell.implicit { "implicit" } else { "explicit" });
    command.arg(if cell.active { "active" } else { "passive" }).arg(sessions);
    let line = |Step { verb, local, remote }: &Step| format!("{verb:?}\t{local}\t{remote}\n");
    let lines: String = steps.iter().map(line).collect();
    outcome(run_with(&mut command, lines.as_bytes(), LIMIT))
}
