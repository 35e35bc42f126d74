//! lftp, with TLS by GnuTLS.

use ftp_tests::peer::Peer;
use ftp_tests::process::run;
use ftp_tests::tls::Version;

use super::{Client, Meeting, Resumes, Step, Verb, outcome};

/// It uses APPE only to resume.
pub(super) const LFTP: Client = Client {
    name: "lftp",
    find: || Peer::find("lftp"),
    can_be_active: true,
    appends: false,
    resumes: Resumes::All,
    perform,
};

fn perform(meeting: &Meeting, steps: &[Step]) -> Result<Vec<u8>, String> {
    let priority = match meeting.cell.version {
        Version::V1_2 => "NORMAL:-VERS-ALL:+VERS-TLS1.2",
        Version::V1_3 => "NORMAL:-VERS-ALL:+VERS-TLS1.3",
    };
    let scheme = if meeting.cell.implicit { "ftps" } else { "ftp" };
    let mut script = format!(
        "set net:max-retries 1; set net:reconnect-interval-base 1; set net:timeout 20\n\
         set cmd:fail-exit yes; debug 5\n\
         set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set ftp:ssl-protect-list yes\n\
         set ssl:ca-file {}; set ssl:priority {priority}; set ftp:passive-mode {}\n\
         open -u {},\"{}\" {scheme}://{}\n",
        meeting.ca_file.display(),
        !meeting.cell.active,
        meeting.server.user,
        meeting.server.password,
        meeting.address(),
    );
    for Step { verb, local, remote } in steps {
        script.push_str(&match verb {
            Verb::Put => format!("put {local} -o {remote}\n"),
            Verb::Get => format!("get {remote} -o {local}\n"),
            Verb::List => "recls -l\n".to_owned(),
            Verb::ContinuePut => format!("put -c {local} -o {remote}\n"),
            Verb::ContinueGet => format!("get -c {remote} -o {local}\n"),
            Verb::Append => return Err("lftp appends nothing".to_owned()),
        });
    }
    let script = meeting.home.write("script", script.as_bytes());
    outcome(run(meeting.command().arg("-f").arg(script)))
}
