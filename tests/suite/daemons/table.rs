//! The servers, and what each lacks: with the client's message, or with the wrong bytes that were
//! found.

use std::net::IpAddr;
use std::time::Duration;

use ftp_server::{LoginPolicy, Rights, Server, ServerConfig};
use ftp_tests::peer::RealServer;
use ftp_tests::scale::is_full;
use ftp_tests::site::OurServer;

use super::Ability::{
    Abort, Append, By, Missing, MixedDown, MixedUp, Modified, Name, RenameOver, ResumeDownload,
    ResumeUpload, SetModified, Size, TextDown, TextUp,
};
use super::Family::{V4, V6};
use super::Way::{Active, Eprt, Port};
use super::{Daemon, Lack, Running, lack};

#[test]
fn ours() {
    let start = |host: IpAddr| {
        let config = ServerConfig::new().logins(LoginPolicy::new().delay(Duration::ZERO));
        let builder = Server::builder().config(config);
        Some(Running::Ours(OurServer::at(host, builder, Rights::FULL)))
    };
    Daemon { start: &start, lacks: &[] }.works_with_our_client();
}

#[test]
fn vsftpd() {
    theirs(|host| RealServer::vsftpd_at(host), &[lack(SetModified, "MFMT refused: 500")]);
}

#[test]
fn proftpd() {
    theirs(|host| RealServer::proftpd_at(host), &[]);
}

#[test]
fn pure_ftpd() {
    theirs(
        |host| RealServer::pure_ftpd_at(host),
        &[
            // It removes every CR, and sends CR CR LF for CR LF.
            lack(MixedUp, r#"got "a\nb\ncd\n\n\ne""#),
            lack(MixedDown, r#"got "a\nb\r\nc\rd"#),
            lack(Name(b" space before"), r#"the root: ["_space before"]"#),
            lack(
                Name(b"space behind "),
                "the server may replace its control characters or final blank",
            ),
        ],
    );
}

#[test]
fn pyftpdlib() {
    theirs(|host| RealServer::pyftpdlib_at(host), &[]);
}

#[test]
fn inetutils_ftpd() {
    theirs(
        |host| RealServer::inetutils_at(host),
        &[
            // CR CR LF for CR LF.
            lack(MixedDown, r#"got "a\nb\r\nc\rd"#),
            lack(SetModified, "MFMT refused: 500 'MFMT"),
        ],
    );
}

#[test]
fn busybox() {
    theirs(
        |host| RealServer::busybox_at(host),
        &[
            lack(By(Eprt), "no data connection: EPRT refused: 500 Unknown command"),
            // There is no other command.
            lack(By(Active), "no data connection: EPRT refused: 500 Unknown command").on(V6),
            // It accepts TYPE A, and leaves every byte unchanged.
            lack(TextUp, AS_SENT),
            lack(MixedUp, MIXED_AS_SENT),
            lack(SetModified, "MFMT refused: 500 Unknown command"),
            // Its `ls` prints non-ASCII characters as `?`.
            lack(Name(GREETINGS), r#"entries: ["gr????e ?????????"]"#),
            lack(Name(LATIN_1), r#"entries: ["caf? in latin-1"]"#),
        ],
    );
}

#[test]
fn twisted() {
    each_night(
        |host| RealServer::twisted_at(host),
        &[
            lack(Append, "APPE refused: 502 Command 'APPE' not implemented"),
            lack(ResumeDownload, "REST refused: 502 Command 'REST' not implemented"),
            lack(ResumeUpload, "REST refused: 502 Command 'REST' not implemented"),
            // It accepts TYPE A, and every transfer then fails: it mistakes bytes for a string.
            lack(TextUp, "STOR refused: 426 Transfer aborted."),
            lack(TextDown, "RETR refused: 550 Requested action not taken: internal server error"),
            lack(MixedUp, "STOR refused: 426 Transfer aborted."),
            lack(MixedDown, "RETR refused: 550 Requested action not taken: internal server error"),
            lack(SetModified, "MFMT refused: 502 Command 'MFMT' not implemented"),
            lack(Missing, "MKD of what is not there works"),
            // It reads bytes as ISO 8859-1, and writes UTF-8 to the file system.
            lack(Name(GREETINGS), r#"the root: ["gr\\xc3\\x83\\xc2\\xbc"#),
            lack(Name(LATIN_1), r#"the root: ["caf\\xc3\\xa9 in latin-1"]"#),
        ],
    );
}

#[test]
fn aioftp() {
    each_night(
        |host| RealServer::aioftp_at(host),
        &[
            lack(By(Eprt), "no data connection: EPRT refused: 502 'eprt' not implemented"),
            lack(By(Port), "no data connection: PORT refused: 502 'port' not implemented").on(V4),
            lack(
                By(Active),
                "no data connection: EPRT refused: 502 'eprt' not implemented; \
                 PORT refused: 502 'port' not implemented",
            )
            .on(V4),
            lack(By(Active), "no data connection: EPRT refused: 502 'eprt' not implemented").on(V6),
            // It accepts TYPE A, and leaves every byte unchanged.
            lack(TextUp, AS_SENT),
            lack(MixedUp, MIXED_AS_SENT),
            lack(RenameOver, "RNTO refused: 550 path already exists"),
            // A 502 means unknown, which is not an error.
            lack(Size, "size: None"),
            lack(Modified, "time: None"),
            lack(SetModified, "MFMT refused: 502 'mfmt' not implemented"),
            lack(Missing, "MKD of what is not there works"),
            // The Telnet signal before ABOR is not UTF-8, so it closes the connection.
            lack(Abort, "the control connection is closed"),
            lack(Name(LATIN_1), "the control connection is closed"),
            // It removes spaces at the ends of lines.
            lack(Name(b"space behind "), r#"the root: ["space behind"]"#),
        ],
    );
}

#[test]
fn ftp_srv() {
    each_night(
        |host| RealServer::ftp_srv_at(host),
        &[
            // It empties the file first, and confirms a file that begins with zeros.
            lack(
                ResumeUpload,
                r#"the whole: 140000 bytes instead of 140000, different from byte 0"#,
            ),
            // It accepts TYPE A, and leaves every byte unchanged.
            lack(TextUp, AS_SENT),
            lack(MixedUp, MIXED_AS_SENT),
            lack(SetModified, "MFMT refused: 502 Command not allowed: MFMT"),
            lack(Missing, "MKD of what is not there works"),
            // It takes the Telnet signal before ABOR for a separate command, and sends an extra
            // reply. If that reply is late, it looks like the reply to the next command.
            lack(Abort, "the server sent an unexpected reply").or("protocol error"),
            // It removes flags from all arguments.
            lack(Name(b"-a -l"), "refused: 550 Cannot read properties of null"),
            lack(Name(LATIN_1), r#"the root: ["caf\\xef\\xbf\\xbd in latin-1"]"#),
            lack(Name(b"\"quoted\""), r#"the root: ["quoted"]"#),
        ],
    );
}

const GREETINGS: &[u8] = "gr\u{fc}\u{df}e \u{65e5}\u{672c}\u{8a9e}".as_bytes();
const LATIN_1: &[u8] = b"caf\xe9 in latin-1";

/// The lines of `TextUp` with CR LF at their ends.
const AS_SENT: &str = "stored: 101659 bytes instead of 100000";
const MIXED_AS_SENT: &str = r#"got "a\r\nb\r\nc\rd\r\n\r\n\r\ne""#;

/// Tests a server of which few are in use, and which takes long, in full runs only.
#[track_caller]
fn each_night(start: fn(IpAddr) -> Option<RealServer>, lacks: &[Lack]) {
    if is_full() {
        theirs(start, lacks);
    }
}

#[track_caller]
fn theirs(start: fn(IpAddr) -> Option<RealServer>, lacks: &[Lack]) {
    let start = |host: IpAddr| start(host).map(Running::Theirs);
    Daemon { start: &start, lacks }.works_with_our_client();
}
