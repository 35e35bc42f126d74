//! The texts of the commands that use the control socket of a running server.

use super::table::Entry;

pub(super) const WHO: Entry = Entry {
    name: "who",
    usage: "[OPTION]...",
    summary: "List the sessions of a running server",
    about: "\
Asks the server for its sessions through its control socket (setting
control.socket). Lists the sessions, oldest first, with number, user, virtual
host, address, start time, TLS version, idle time and running transfer.",
    operands: &[],
    examples: &[("who", "List all sessions"), ("who --json", "List all sessions as JSON lines")],
};

pub(super) const STATUS: Entry = Entry {
    name: "status",
    usage: "[OPTION]...",
    summary: "Show the state of a running server",
    about: "\
Prints the version, process ID, start time and addresses of the server, the
numbers of sessions, transfers and bans, and the total transfer rate. Also
prints whether the server is draining.",
    operands: &[],
    examples: &[("status", "Show the state of the server")],
};

pub(super) const KICK: Entry = Entry {
    name: "kick",
    usage: "[OPTION]... ID|user=NAME|address=ADDRESS",
    summary: "End sessions of a running server",
    about: "\
Ends the session with the number ID, all sessions of a user, or all sessions
from an address. The server aborts a running transfer with 426, and closes each
session with 421. To find ID, use who.",
    operands: &[],
    examples: &[
        ("kick 17", "End session 17"),
        ("kick user=scanner", "End all sessions of a user"),
        ("kick address=192.0.2.7", "End all sessions from an address"),
    ],
};

pub(super) const DRAIN: Entry = Entry {
    name: "drain",
    usage: "[OPTION]...",
    summary: "Stop a server after its last session",
    about: "\
Makes the server accept no more connections, and stop when the last session has
ended by itself. To end sessions earlier, use kick. To stop the server without
waiting for idle sessions, send SIGTERM; transfers still finish within
timeouts.shutdown_grace.",
    operands: &[],
    examples: &[("drain", "Stop the server without interrupting anyone")],
};

pub(super) const RELOAD: Entry = Entry {
    name: "reload",
    usage: "[OPTION]...",
    summary: "Reload the configuration of a server",
    about: "\
Like SIGHUP, makes the server read the configuration file, the users and the
certificates again, and reopen the logs. Prints what has changed. If the file
has an error, the configuration stays as it was, and the exit status is 8.
Sessions of removed and disabled users end after their current transfer.",
    operands: &[],
    examples: &[("reload", "Apply the changed configuration file")],
};

pub(super) const UNBAN: Entry = Entry {
    name: "unban",
    usage: "[OPTION]... ADDRESS|all",
    summary: "Lift the ban on a host",
    about: "\
Lifts the ban on a host with too many failed logins, or all bans. For IPv6, a
ban applies to a /64 network. If several servers share a ledger, run unban on
each server.",
    operands: &[],
    examples: &[("unban 192.0.2.7", "Let this host connect again")],
};
