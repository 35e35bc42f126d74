//! `serve [DIR]`: the server. With no option it serves the current directory, read-only, to
//! anyone on this computer.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ftp_proto::Escaped;
use ftp_server::{EventLog, LogFormat, LogWriter, Rights, Server, ServerBuilder, Xferlog};
use log::Level;

use crate::credentials::{self, Secret, VARIABLE};
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::privileges;
use crate::settings::Settings;
use crate::signals;
use crate::stdio::Stdio;
use crate::target::shown_path;
use crate::trace;

/// Where the server listens unless it is told: this computer only.
const PORT: u16 = 2_121;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let plan = Plan::from_options(options, std::env::var_os(VARIABLE))?;
    let (messages, format) = (stdio.messages.clone(), plan.settings.log_format);
    let quiet = options.is_quiet();
    let queue = messages.queued().map_err(|error| no_thread(&error))?;
    let log = Arc::new(EventLog::new(format, queue).with_sessions(options.is_verbose()));
    trace::start_in(&log, options);
    let say = |level, text: &str| match format {
        _ if quiet => {}
        LogFormat::Text => messages.say(text),
        LogFormat::Json => log.message(level, text),
    };
    if privileges::is_root() && plan.settings.run_as.is_none() {
        let text = "warning: running as root; --set security.run_as=USER gives that up";
        say(Level::Warn, text);
    }
    // Before anybody is told that there is a server to stop.
    let (sender, signal) = mpsc::channel();
    let last_word = messages.clone();
    let mut first = true;
    signals::on_signals(move |signal| {
        if !std::mem::take(&mut first) || sender.send(signal).is_err() {
            signals::end(signal, &last_word);
        }
    })?;
    let (said, grace) = (plan.in_words(), plan.settings.shutdown_grace);
    let transfers = plan.open_transfers()?;
    let mut builder = Server::builder();
    if !quiet {
        builder = builder.observer(Arc::clone(&log));
    }
    if let Some(transfers) = &transfers {
        builder = builder.observer(Xferlog::new(transfers.clone()));
    }
    let server = plan.bind(builder)?;
    let addresses: Vec<String> = server.local_addrs().map(|at| at.to_string()).collect();
    say(Level::Info, &format!("listening on {}", addresses.join(", ")));
    say(Level::Info, &said);
    // An error would mean that the thread of the signals is gone: stop as at a signal.
    let _ = signal.recv();
    let report = server.shutdown(grace);
    if let Some(transfers) = transfers {
        transfers.flush(LAST_LINES);
    }
    let (drained, cut) = (report.drained, report.cut + report.stuck);
    say(Level::Info, &format!("stopped; sessions ended: {drained}, cut: {cut}"));
    Ok(())
}

/// How long the end waits for the log of transfers to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

fn no_thread(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("no thread for the log: {error}"))
}

/// What is to be served, where and to whom.
struct Plan {
    root: PathBuf,
    listen: Vec<SocketAddr>,
    users: Vec<(Vec<u8>, Secret, Rights)>,
    anonymous: Option<Rights>,
    settings: Settings,
}

impl Plan {
    fn from_options(options: &Options, environment: Option<OsString>) -> Result<Self, Failure> {
        let root = match options.operands.as_slice() {
            [] => PathBuf::from("."),
            [root] => PathBuf::from(root),
            _ => {
                return Err(Failure::usage("serve takes one DIR: ftp-cli serve [OPTION]... [DIR]"));
            }
        };
        let mut settings = Settings::default();
        for (option, key) in
            [("passive-ports", "passive.ports"), ("passive-address", "passive.address")]
        {
            if let Some(value) = options.value(option) {
                let set = settings.set(&format!("{key}={}", value.to_string_lossy()));
                set.map_err(|wrong| Failure::usage(format!("--{option}: {wrong}")))?;
            }
        }
        for assignment in options.all("set") {
            let set = settings.set(&assignment.to_string_lossy());
            set.map_err(|wrong| Failure::usage(format!("--set {wrong}")))?;
        }
        let mut listen = Vec::new();
        for address in options.all("listen") {
            listen.push(address_of(&address.to_string_lossy())?);
        }
        if listen.is_empty() {
            listen.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        let write = options.has("write");
        let rights = if write { Rights::FULL } else { Rights::READ };
        // Who names networks for it means the users that are named too, never just anyone.
        let fxp = !settings.server.fxp_networks.is_empty();
        let of_users = if fxp { rights | Rights::FXP } else { rights };
        let users = users(options, of_users, environment)?;
        let anonymous = match (users.is_empty(), options.has("anonymous")) {
            (true, _) => Some(rights),
            // Who has users wants them to write, not anyone.
            (false, true) => Some(Rights::READ),
            (false, false) => None,
        };
        let root =
            root.canonicalize().map_err(|error| Failure::local(shown_path(&root), &error))?;
        if !root.is_dir() {
            return Err(Failure::local(shown_path(&root), &ErrorKind::NotADirectory.into()));
        }
        Ok(Self { root, listen, users, anonymous, settings })
    }

    /// `/srv/files: user "a" may read and write; anyone (anonymous) may read`.
    fn in_words(&self) -> String {
        let may = |rights: Rights| match rights.contains(Rights::FULL) {
            true => "read and write",
            false => "read",
        };
        let mut who: Vec<String> = Vec::new();
        for (name, _, rights) in &self.users {
            who.push(format!("user \"{}\" may {}", Escaped(name), may(*rights)));
        }
        who.extend(self.anonymous.map(|rights| format!("anyone (anonymous) may {}", may(rights))));
        format!("{}: {}", shown_path(&self.root), who.join("; "))
    }

    /// Opens the log of transfers, if there is to be one, to add to it.
    fn open_transfers(&self) -> Result<Option<LogWriter>, Failure> {
        let Some(path) = &self.settings.log_transfers else { return Ok(None) };
        let file = File::options().append(true).create(true).mode(0o640).open(path);
        let file = file.map_err(|error| Failure::local(shown_path(path), &error))?;
        LogWriter::start(shown_path(path), file).map(Some).map_err(|error| no_thread(&error))
    }

    fn bind(self, builder: ServerBuilder) -> Result<Server, Failure> {
        let Self { root, mut listen, users, anonymous, settings } = self;
        without_ipv6(&mut listen);
        let mut builder = builder.root(root).config(settings.server);
        if let Some(run_as) = settings.run_as {
            builder = builder.once_bound(move || run_as.give_up_root());
        }
        for (name, password, rights) in users {
            builder = builder.user(name, password.as_bytes(), rights);
        }
        if let Some(rights) = anonymous {
            builder = builder.anonymous(rights);
        }
        builder.bind_all(&listen).map_err(|error| cannot_start(&error))
    }
}

/// An address that cannot be had is a matter of the network, a directory one of this computer.
fn cannot_start(error: &ftp_server::Error) -> Failure {
    let exit = match error {
        ftp_server::Error::Bind { .. } | ftp_server::Error::Address(_) => Exit::Network,
        ftp_server::Error::Root { .. } | ftp_server::Error::Confinement { .. } => Exit::Local,
        ftp_server::Error::OnceBound(_) => Exit::Usage,
        _ => Exit::Internal,
    };
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    Failure::new(exit, message)
}

/// `2121` on this computer only, `:2121` on all addresses, or `HOST:2121`.
fn address_of(text: &str) -> Result<SocketAddr, Failure> {
    let wrong = |why: &str| Failure::usage(format!("--listen {text}: {why}"));
    let port = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u16>().map_err(|_| wrong("not a port, which is at most 65535")),
        false => Err(wrong("PORT, :PORT or HOST:PORT is expected")),
    };
    match text.rsplit_once(':') {
        None => Ok((Ipv4Addr::LOCALHOST, port(text)?).into()),
        Some(("", digits)) => Ok((Ipv6Addr::UNSPECIFIED, port(digits)?).into()),
        Some((_, digits)) => {
            port(digits)?;
            let found = text.to_socket_addrs().map_err(|error| wrong(&error.to_string()))?.next();
            found.ok_or_else(|| wrong("the name has no address"))
        }
    }
}

/// `[::]` means all addresses, which on a system without IPv6 are those of IPv4.
fn without_ipv6(listen: &mut [SocketAddr]) {
    let all = |address: &SocketAddr| address.ip() == Ipv6Addr::UNSPECIFIED;
    if listen.iter().any(all) && std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_err() {
        log::warn!(target: "ftp_server", "no IPv6 here: listening on 0.0.0.0 instead of [::]");
        for address in listen.iter_mut().filter(|address| all(address)) {
            address.set_ip(Ipv4Addr::UNSPECIFIED.into());
        }
    }
}

/// Reads each `--user NAME[:PASSWORD]`; one without a password gets that of `--password-file`,
/// or else `environment`.
fn users(
    options: &Options,
    rights: Rights,
    environment: Option<OsString>,
) -> Result<Vec<(Vec<u8>, Secret, Rights)>, Failure> {
    let mut elsewhere = match options.value("password-file") {
        Some(file) => Some(credentials::read_file(file)?),
        None => environment
            .filter(|password| !password.is_empty())
            .map(|password| Secret::new(password.into_vec())),
    };
    let mut users: Vec<(Vec<u8>, Secret, Rights)> = Vec::new();
    for user in options.all("user").map(OsStr::as_bytes) {
        let mut parts = user.splitn(2, |byte| *byte == b':');
        let name = parts.next().unwrap_or_default();
        let shown = Escaped(name);
        if name.is_empty() {
            return Err(Failure::usage("--user needs a name: --user NAME[:PASSWORD]"));
        }
        if users.iter().any(|(other, ..)| other == name) {
            return Err(Failure::usage(format!("--user {shown} is there twice")));
        }
        let password = match parts.next().map(Secret::new) {
            Some(password) => password,
            None => elsewhere.take().ok_or_else(|| {
                Failure::usage(format!(
                    "no password for user {shown}: put it into {VARIABLE}, or name \
                     --password-file; each gives one to one user"
                ))
            })?,
        };
        users.push((name.to_vec(), password, rights));
    }
    if options.has("password-file") && elsewhere.is_some() {
        return Err(Failure::usage("--password-file needs a --user without a password"));
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    fn plan(line: &str, environment: Option<&str>) -> Result<Plan, Failure> {
        let (_, options) = options::parse(line.split(' ').map(OsString::from))?;
        Plan::from_options(&options, environment.map(OsString::from))
    }

    #[test]
    fn address_of_reads_every_form() {
        for (text, want) in [
            ("2121", Some("127.0.0.1:2121")),
            (":2121", Some("[::]:2121")),
            ("127.0.0.1:0", Some("127.0.0.1:0")),
            ("[::]:2121", Some("[::]:2121")),
            ("[::1]:21", Some("[::1]:21")),
            ("", None),
            (":", None),
            ("65536", None),
            ("127.0.0.1", None),
            ("::1", None),
            ("+21", None),
            ("x y:21", None),
        ] {
            let want: Option<SocketAddr> = want.map(|text| text.parse().unwrap());
            let found = address_of(text);
            // `::1` might be read as host `:`, port 1: it must not become an address.
            assert_eq!(found.as_ref().ok(), want.as_ref(), "{text}");
            assert!(found.is_ok() || found.unwrap_err().exit == Exit::Usage, "{text}");
        }
    }

    #[test]
    fn in_words_says_who_may_do_what() {
        for (line, environment, want) in [
            ("serve /", None, "/: anyone (anonymous) may read"),
            ("serve --write /", None, "/: anyone (anonymous) may read and write"),
            ("serve -u a:p /", None, "/: user \"a\" may read"),
            (
                "serve -u a:p --user b --write /",
                Some("x"),
                "/: user \"a\" may read and write; user \"b\" may read and write",
            ),
            (
                "serve --anonymous --write -u a:p:q /",
                None,
                "/: user \"a\" may read and write; anyone (anonymous) may read",
            ),
        ] {
            let plan = plan(line, environment).unwrap();
            assert_eq!(plan.in_words(), want, "{line}");
            assert_eq!(plan.listen, ["127.0.0.1:2121".parse().unwrap()]);
        }
        let colon = plan("serve -u a:p:q /", None).unwrap();
        assert_eq!(colon.users[0].1.as_bytes(), b"p:q");
    }

    #[test]
    fn named_users_and_nobody_else_have_fxp_where_networks_are_named_dc_30() {
        for (line, users, anyone) in [
            ("serve --anonymous -u a:p /", false, false),
            ("serve --anonymous -u a:p --set fxp.networks=192.0.2.0/24 /", true, false),
            ("serve --write --set fxp.networks=192.0.2.0/24 /", false, false),
        ] {
            let plan = plan(line, None).unwrap();
            let may = |rights: &Rights| rights.contains(Rights::FXP);
            assert_eq!(plan.users.iter().any(|(_, _, rights)| may(rights)), users, "{line}");
            assert_eq!(plan.anonymous.iter().any(may), anyone, "{line}");
        }
    }

    #[test]
    fn options_of_the_data_connection_reach_the_settings() {
        let line = "serve --passive-ports 50000-50009 --passive-address 192.0.2.1 /";
        let server = plan(line, None).unwrap().settings.server;
        assert_eq!(server.passive_ports.map(|ports| ports.count()), Some(10));
        assert_eq!(server.passive_address.map(|a| a.to_string()).as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn from_options_refuses() {
        for (line, exit, want) in [
            ("serve -u a /", Exit::Usage, "no password for user a"),
            ("serve -u :x /", Exit::Usage, "needs a name"),
            ("serve -u a:x -u a:y /", Exit::Usage, "twice"),
            ("serve -u a:x --password-file /etc/hostname /", Exit::Usage, "without a password"),
            ("serve --password-file /nonexistent/x -u a /", Exit::Local, "/nonexistent/x"),
            ("serve --set limits.session=1 /", Exit::Usage, "limits.sessions"),
            ("serve --listen nowhere /", Exit::Usage, "PORT"),
            ("serve --passive-ports 9-8 /", Exit::Usage, "--passive-ports: passive.ports: "),
            ("serve --passive-address ::1 /", Exit::Usage, "--passive-address: "),
            ("serve /nonexistent/x", Exit::Local, "/nonexistent/x"),
            ("serve /dev/null", Exit::Local, "/dev/null"),
            ("serve a b", Exit::Usage, "one DIR"),
        ] {
            let Err(failure) = plan(line, None) else { panic!("{line}") };
            assert_eq!(failure.exit, exit, "{line}: {}", failure.message);
            assert!(failure.message.contains(want), "{line}: {}", failure.message);
        }
    }
}
