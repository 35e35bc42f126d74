//! The clients, and how to run each.

use std::process::Command;

use ftp_tests::names::percent;
use ftp_tests::peer::Peer;
use ftp_tests::process::run;

use super::{Client, Meeting, Step, Verb, Way};

/// NetBSD's `ftp`, also part of macOS and the other BSDs.
pub(super) const TNFTP: Client = Client {
    find: || Peer::find("tnftp"),
    ways: &[Way::Passive, Way::Extended, Way::Active],
    does: Verb::ALL,
    perform: |meeting, way, steps| {
        let mut command = meeting.command();
        command.args([if way == Way::Active { "-A" } else { "-p" }, "-i", "-n"]);
        // EPSV is on by default.
        let toggled = if way == Way::Passive { "epsv4\n" } else { "" };
        bsd(meeting, command.args([meeting.host(), meeting.port()]), toggled, steps)
    },
};

/// GNU's `ftp`.
pub(super) const INETUTILS: Client = Client {
    find: || Peer::find("inetutils-ftp"),
    ways: &[Way::Passive, Way::Extended, Way::Active],
    does: Verb::ALL,
    perform: |meeting, way, steps| {
        let mut command = meeting.command();
        command.args([if way == Way::Active { "-A" } else { "-p" }, "-i", "-n"]);
        // EPSV is off by default.
        let toggled = if way == Way::Extended { "epsv4\n" } else { "" };
        bsd(meeting, command.args([meeting.host(), meeting.port()]), toggled, steps)
    },
};

/// A session in the command language of 4.2BSD's `ftp`.
fn bsd(meeting: &Meeting, command: &mut Command, settings: &str, steps: &[Step]) -> Vec<u8> {
    let opening =
        format!("user {} \"{}\"\n{settings}", meeting.server.user, meeting.server.password);
    Meeting::typed(command, &opening, steps, |Step { verb, from, to }| match verb {
        Verb::Put => format!("binary\nput \"{from}\" \"{to}\""),
        Verb::Get => format!("binary\nget \"{from}\" \"{to}\""),
        Verb::PutText => format!("ascii\nput \"{from}\" \"{to}\""),
        Verb::GetText => format!("ascii\nget \"{from}\" \"{to}\""),
        Verb::ContinuePut => {
            format!("binary\nrestart {}\nput \"{from}\" \"{to}\"", Meeting::THERE)
        }
        Verb::ContinueGet => format!("binary\nreget \"{from}\" \"{to}\""),
        Verb::List => format!("dir \"{from}\""),
        Verb::Names => format!("nlist \"{from}\""),
        Verb::MakeDirectory => format!("mkdir \"{from}\""),
        Verb::RemoveDirectory => format!("rmdir \"{from}\""),
        Verb::Delete => format!("delete \"{from}\""),
        Verb::Rename => format!("rename \"{from}\" \"{to}\""),
    })
}

/// NcFTP's shell. It prints MLSD listings in its own format.
pub(super) const NCFTP: Client = Client {
    find: || Peer::find("ncftp"),
    ways: &[Way::Passive, Way::Active],
    does: Verb::ALL,
    perform: |meeting, way, steps| {
        let opening = format!(
            "set confirm-close no\nset auto-resume yes\nset auto-ascii no\nset passive {}\nopen -u {} -p \"{}\" -P {} {}",
            if way == Way::Active { "off" } else { "on" },
            meeting.server.user,
            meeting.server.password,
            meeting.port(),
            meeting.host(),
        );
        let mut command = meeting.command();
        Meeting::typed(command.env("TERM", "dumb"), &opening, steps, |step| {
            let Step { verb, from, to } = step;
            match verb {
                Verb::Put => format!("binary\nput -f -z \"{from}\" \"{to}\""),
                Verb::Get => format!("binary\nget -f -z \"{from}\" \"{to}\""),
                Verb::PutText => format!("ascii\nput -f -z \"{from}\" \"{to}\""),
                Verb::GetText => format!("ascii\nget -f -z \"{from}\" \"{to}\""),
                Verb::ContinuePut => format!("binary\nput -z \"{from}\" \"{to}\""),
                Verb::ContinueGet => format!("binary\nget -z \"{from}\" \"{to}\""),
                Verb::List => format!("ls -l \"{from}\""),
                Verb::Names => format!("ls -1 \"{from}\""),
                Verb::MakeDirectory => format!("mkdir \"{from}\""),
                Verb::RemoveDirectory => format!("rmdir \"{from}\""),
                Verb::Delete => format!("rm \"{from}\""),
                Verb::Rename => format!("rename \"{from}\" \"{to}\""),
            }
        })
    },
};

/// NcFTP's upload program.
pub(super) const NCFTPPUT: Client = Client {
    find: || Peer::find("ncftpput"),
    ways: &[Way::Passive, Way::Active],
    does: &[Verb::Put, Verb::PutText, Verb::ContinuePut],
    perform: ncftp_copy,
};

/// NcFTP's download program.
pub(super) const NCFTPGET: Client = Client {
    find: || Peer::find("ncftpget"),
    ways: &[Way::Passive, Way::Active],
    does: &[Verb::Get, Verb::GetText, Verb::ContinueGet],
    perform: ncftp_copy,
};

fn ncftp_copy(meeting: &Meeting, way: Way, steps: &[Step]) -> Vec<u8> {
    meeting.one_by_one(steps, |command, Step { verb, from, to }| {
        ncftp_login(meeting, way, command).arg("-V");
        command.args(match verb {
            Verb::PutText | Verb::GetText => &["-Z", "-a"][..],
            // With sendfile, ncftpput sends the whole file after its REST.
            Verb::ContinuePut => &["-z", "-s"],
            Verb::ContinueGet => &["-z"],
            _ => &["-Z"],
        });
        command.args(["-C", &meeting.host(), from, to]);
    })
}

/// NcFTP's listing program.
pub(super) const NCFTPLS: Client = Client {
    find: || Peer::find("ncftpls"),
    ways: &[Way::Passive, Way::Active],
    does: &[Verb::List, Verb::Names],
    perform: |meeting, way, steps| {
        meeting.one_by_one(steps, |command, Step { verb, from, .. }| {
            ncftp_login(meeting, way, command);
            command.arg(if *verb == Verb::List { "-l" } else { "-1" });
            command.arg(format!("ftp://{}/{from}/", meeting.host()));
        })
    },
};

pub(super) fn ncftp_login<'a>(
    meeting: &Meeting,
    way: Way,
    command: &'a mut Command,
) -> &'a mut Command {
    let Meeting { server, .. } = meeting;
    command.args(["-u", server.user, "-p", server.password, "-P", &meeting.port()]);
    command.arg(if way == Way::Active { "-E" } else { "-F" })
}

/// GNU Wget, which only downloads; in ASCII it keeps the line endings of the wire.
pub(super) const WGET: Client = Client {
    find: || Peer::find("wget"),
    ways: &[Way::Passive, Way::Active],
    does: &[Verb::Get, Verb::ContinueGet],
    perform: |meeting, way, steps| {
        meeting.one_by_one(steps, |command, Step { verb, from, to }| {
            command.args(["--no-config", "--no-verbose", "--tries=1", "-O", to]);
            command.args((way == Way::Active).then_some("--no-passive-ftp"));
            command.args((*verb == Verb::ContinueGet).then_some("--continue"));
            // Its URLs need the `/` of a path unescaped.
            let path: Vec<_> = from.split('/').map(|name| percent(name.as_bytes())).collect();
            command.arg(format!("{}{}", meeting.server.url(""), path.join("/")));
        })
    },
};

/// rclone, which treats a server as a disk.
pub(super) const RCLONE: Client = Client {
    find: || Peer::find("rclone"),
    ways: &[Way::Passive, Way::Extended],
    does: &[
        Verb::Put,
        Verb::Get,
        Verb::List,
        Verb::Names,
        Verb::MakeDirectory,
        Verb::RemoveDirectory,
        Verb::Delete,
        Verb::Rename,
    ],
    perform: |meeting, way, steps| {
        let remote = rclone_remote(meeting, way);
        meeting.one_by_one(steps, |command, Step { verb, from, to }| {
            rclone_options(command);
            match verb {
                Verb::Get => command.args(["copyto", &format!("{remote}{from}"), to]),
                Verb::List => command.args(["lsl", &format!("{remote}{from}")]),
                Verb::Names => command.args(["lsf", &format!("{remote}{from}")]),
                Verb::MakeDirectory => command.args(["mkdir", &format!("{remote}{from}")]),
                Verb::RemoveDirectory => command.args(["rmdir", &format!("{remote}{from}")]),
                Verb::Delete => command.args(["deletefile", &format!("{remote}{from}")]),
                Verb::Rename => {
                    command.args(["moveto", &format!("{remote}{from}"), &format!("{remote}{to}")])
                }
                _ => command.args(["copyto", from, &format!("{remote}{to}")]),
            };
        })
    },
};

/// The prefix of a path on our server.
pub(super) fn rclone_remote(meeting: &Meeting, way: Way) -> String {
    let mut obscure = meeting.command();
    let hidden = run(obscure.args(["obscure", meeting.server.password])).succeeded();
    let hidden = String::from_utf8(hidden).expect("it is ASCII");
    let (host, port, user) = (meeting.host(), meeting.port(), meeting.server.user);
    let disabled = way == Way::Passive;
    let pass = hidden.trim();
    format!(":ftp,host={host},port={port},user={user},pass={pass},disable_epsv={disabled}:")
}

/// No configuration, and no retries.
pub(super) fn rclone_options(command: &mut Command) {
    command.args(["--config=", "--retries=1", "--low-level-retries=1"]);
}

/// Perl's Net::FTP.
pub(super) const NET_FTP: Client = Client {
    find: || Peer::that_runs("Perl's Net::FTP", "perl", "use Net::FTP;"),
    ways: &[Way::Passive, Way::Active],
    does: Verb::ALL,
    perform: |meeting, way, steps| meeting.scripted(include_str!("net_ftp.pl"), way, steps),
};

/// PHP's functions.
pub(super) const PHP: Client = Client {
    find: || {
        Peer::that_runs("PHP's FTP", "php", "<?php exit(function_exists('ftp_connect') ? 0 : 1);")
    },
    ways: &[Way::Passive, Way::Active],
    does: Verb::ALL,
    perform: |meeting, way, steps| meeting.scripted(include_str!("ftp.php"), way, steps),
};

/// Node's basic-ftp. EPSV, then PASV; no active mode, no ASCII.
pub(super) const BASIC_FTP: Client = Client {
    find: || Peer::that_runs("Node's basic-ftp", "node", "require('basic-ftp')"),
    ways: &[Way::Passive, Way::Extended],
    does: &[
        Verb::Put,
        Verb::Get,
        Verb::ContinuePut,
        Verb::ContinueGet,
        Verb::List,
        Verb::Names,
        Verb::MakeDirectory,
        Verb::RemoveDirectory,
        Verb::Delete,
        Verb::Rename,
    ],
    perform: |meeting, way, steps| meeting.scripted(include_str!("basic_ftp.js"), way, steps),
};

/// Tcllib's ftp.
pub(super) const TCL: Client = Client {
    find: || {
        let check = "if {[catch {package require ftp}]} {exit 1}";
        Peer::that_runs("Tcl's ftp", "tclsh", check)
    },
    ways: &[Way::Passive, Way::Active],
    does: Verb::ALL,
    perform: |meeting, way, steps| meeting.scripted(include_str!("ftp.tcl"), way, steps),
};
