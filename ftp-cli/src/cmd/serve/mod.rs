//! `serve [DIR]`: runs the server. Without options it serves the current directory, read-only, to
//! anyone on this computer; with `--config`, it reads its settings from a file, which SIGHUP
//! reloads. The server itself is ftp-server's daemon. Prints the URLs that clients type, with this
//! computer's own addresses, and a warning about passwords that cross a network unencrypted.

mod options;
mod vsftpd;

use std::env::{self, VarError};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::{fs, process};

use ftp_server::daemon::{Config, Daemon, DaemonLog, Setup};
use ftp_server::{EventLog, TlsPolicy};
use log::{Level, LevelFilter};
use rustix::io::{FdFlags, fcntl_setfd};
use signal_hook::consts::SIGHUP;
use socket2::{Domain, SockRef, Type};

pub(super) use self::options::key_and_value;
use super::control::{drop_privileges, is_root};
use crate::connect::credentials::{USER, VARIABLE};
use crate::console::output::{counted, plain};
use crate::console::{Messages, Stdio, output, signals};
use crate::exit::{Exit, Failure, Result};
use crate::lock;
use crate::options::Options;
use crate::report::Events;
use crate::system::is_journal;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    if let Some(path) = options.value("from-vsftpd") {
        return vsftpd::run(options, path.as_ref(), stdio);
    }
    let sockets = Sockets::passed()?;
    let environment = [USER, VARIABLE].map(env::var_os);
    let config = options::config(options, environment, sockets.counts(), &stdio.messages)?;
    if options.has("check") {
        output::start(options, &stdio.messages, LevelFilter::Info)?;
        return print_check(&config, options, stdio);
    }
    let log = open_log(&config, options, &stdio.messages)?;
    let announcer = Announcer::new(&config, &log, options, &stdio.messages);
    let announced = announcer.clone();
    let log = Arc::new(log.announcing(move |level, text| announced.say(level, text)));
    output::start_in(log.events(), options);
    if let Some(target) = config.log_target().filter(|_| !options.is_quiet()) {
        stdio.messages.say(format_args!("logging to {target}"));
    }
    let ended = serve(config, sockets, &log, &announcer, &stdio.messages);
    if let Err(failure) = &ended {
        announcer.fail(failure);
    }
    log.flush();
    ended
}

/// Serves until a signal or the control socket stops the daemon.
fn serve(
    config: Config,
    sockets: Sockets,
    log: &Arc<DaemonLog>,
    announcer: &Announcer,
    messages: &Messages,
) -> Result {
    if is_root() && config.run_as().is_none() {
        let text = "warning: running as root; use --set security.run_as=USER to drop privileges";
        announcer.say(Level::Warn, text);
    }
    // Set up before the log announces the server, so that a signal can stop it from then on.
    let served = Arc::new(Mutex::new(Served::default()));
    heed_signals(config.can_reload(), messages, &served)?;
    let (tls, user) = (config.tls_policy(), config.only_user());
    let (has_passwords, announcer) = (config.has_passwords(), announcer.clone());
    let run_as = config.run_as().cloned();
    let setup = Setup::new()
        .log(Arc::clone(log))
        .sockets(sockets.plaintext, sockets.implicit)
        .once_bound(move || drop_privileges(run_as.as_ref()))
        .once_listening(move |plaintext, implicit| {
            let listening = Listening { plaintext, implicit, tls, user, has_passwords };
            let own = own_addresses();
            listening.line(&own).iter().for_each(|line| announcer.say(Level::Info, line));
            listening.warning(&own).iter().for_each(|line| announcer.say(Level::Warn, line));
        });
    let daemon = Arc::new(Daemon::start_with(config, setup)?);
    lock(&served).by(&daemon);
    daemon.join()?;
    Ok(())
}

/// Prints what to correct, and the settings as TOML, each with its origin as a comment.
fn print_check(config: &Config, options: &Options, stdio: &mut Stdio) -> Result {
    let report = config.check(drop_privileges);
    let text = if options.is_verbose() { &report.details } else { &report.text };
    stdio.print_report(&plain(text))?;
    let Some(kind) = report.kind else { return Ok(()) };
    let problems = counted(report.problems, "problem");
    Err(Failure::new(Exit::from(kind), format!("--check: {problems} found")))
}

fn open_log(config: &Config, options: &Options, messages: &Messages) -> Result<DaemonLog> {
    let stderr = || Ok((messages.queued()?, is_journal()));
    let log = DaemonLog::open(config, options.is_verbose(), stderr)?;
    Ok(if options.is_quiet() { log.without_events() } else { log })
}

/// Writes what the daemon announces: to standard error, or to its log.
#[derive(Clone)]
struct Announcer {
    messages: Messages,
    events: Arc<EventLog>,
    is_stderr: bool,
    is_quiet: bool,
}

impl Announcer {
    fn new(config: &Config, log: &DaemonLog, options: &Options, messages: &Messages) -> Self {
        Self {
            messages: messages.clone(),
            events: Arc::clone(log.events()),
            is_stderr: config.log_target().is_none(),
            is_quiet: options.is_quiet(),
        }
    }

    /// Logs a message about the server in the format of the log, unless `--quiet` is given.
    fn say(&self, level: Level, text: &str) {
        match self.events.is_json() {
            _ if self.is_quiet => {}
            false if self.is_stderr && !is_journal() => self.messages.say(text),
            _ => self.events.message(level, self.messages.plain(text)),
        }
    }

    /// Logs why the server ends, unless the log is standard error, where the program prints the
    /// reason anyway.
    fn fail(&self, failure: &Failure) {
        if !self.is_stderr {
            self.events.message(Level::Error, self.messages.plain(&failure.message));
        }
    }
}

/// The daemon, and what signals have asked of it before it was started.
#[derive(Default)]
struct Served {
    daemon: Option<Arc<Daemon>>,
    asked: Vec<fn(&Daemon)>,
}

impl Served {
    fn by(&mut self, daemon: &Arc<Daemon>) {
        self.asked.drain(..).for_each(|request| request(daemon));
        self.daemon = Some(Arc::clone(daemon));
    }

    fn ask(&mut self, request: fn(&Daemon)) {
        match &self.daemon {
            Some(daemon) => request(daemon),
            None => self.asked.push(request),
        }
    }
}

/// Handles signals in a thread. The first signal requests a stop. The second aborts transfers and
/// stops waiting for hooks. The third exits at once, and so does the second while the server is
/// still starting. With `hears_hangup`, SIGHUP requests a reload instead; without it, there is
/// nothing to reload, and SIGHUP means that the terminal was closed.
fn heed_signals(hears_hangup: bool, messages: &Messages, served: &Arc<Mutex<Served>>) -> Result {
    let messages = messages.clone();
    let served = Arc::clone(served);
    let mut count = 0_u32;
    signals::on_signals(hears_hangup, move |signal| {
        let mut served = lock(&served);
        if hears_hangup && signal == SIGHUP {
            return served.ask(Daemon::reload);
        }
        count = count.saturating_add(1);
        match (count, &served.daemon) {
            (1, _) => served.ask(Daemon::stop),
            (2, Some(daemon)) => daemon.cut_short(),
            _ => signals::end(signal, &messages, &Events::default()),
        }
    })
}

/// Maximum number of sockets.
const MOST_SOCKETS: u32 = 1_000;

/// Listening sockets of a service manager (socket activation, sd_listen_fds(3)).
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Sockets with a plaintext greeting: those called `control` or `unknown`, or without a name.
    pub(super) plaintext: Vec<TcpListener>,
    /// Sockets with implicit TLS: those called `implicit`.
    pub(super) implicit: Vec<TcpListener>,
}

impl Sockets {
    fn counts(&self) -> [usize; 2] {
        [self.plaintext.len(), self.implicit.len()]
    }

    /// Takes the sockets that the environment describes. Call it once, before the process opens
    /// anything that stays open.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if a variable has an invalid value, or a descriptor is not a listening TCP
    /// socket.
    pub(super) fn passed() -> Result<Self> {
        if env::var("LISTEN_PID").ok() != Some(process::id().to_string()) {
            // The sockets belong to another process, which passed on its environment.
            return Ok(Self::default());
        }
        let count = env::var_os("LISTEN_FDS").unwrap_or_default();
        let count = count.to_string_lossy();
        // sd-listen-fds reserves memory for each socket.
        if !count.parse::<u32>().is_ok_and(|count| count <= MOST_SOCKETS) {
            let wrong = format!("invalid LISTEN_FDS \"{count}\": expected 0-{MOST_SOCKETS}");
            return Err(Failure::usage(wrong));
        }
        // sd-listen-fds takes such names for none.
        if matches!(env::var("LISTEN_FDNAMES"), Err(VarError::NotUnicode(_))) {
            return Err(Failure::usage("invalid LISTEN_FDNAMES: expected one name per socket"));
        }
        let sockets = sd_listen_fds::get();
        let sockets = sockets.map_err(|error| Failure::usage(format!("LISTEN_FDS: {error}")))?;
        let has_names = sockets.iter().any(|(name, _)| name.is_some());
        let (mut passed, mut wrong) = (Self::default(), None);
        for (number, (name, socket)) in (3..).zip(sockets) {
            let is_implicit = is_implicit(name.as_deref(), has_names);
            // Each is looked at: one that is not open must not be closed.
            match (listener(socket.into_std()), is_implicit) {
                (Ok(socket), Ok(true)) => passed.implicit.push(socket),
                (Ok(socket), Ok(false)) => passed.plaintext.push(socket),
                (Err(why), _) => {
                    wrong = wrong.or(Some(format!("LISTEN_FDS: descriptor {number}: {why}")));
                }
                (_, Err(why)) => wrong = wrong.or(Some(why)),
            }
        }
        wrong.map_or(Ok(passed), |why| Err(Failure::usage(why)))
    }
}

/// Returns whether a socket of this name is for implicit TLS. One without a name, or with the name `unknown`
/// (sd_listen_fds(3)), is for control connections, unless others have names.
fn is_implicit(name: Option<&str>, has_names: bool) -> Result<bool, String> {
    match name {
        Some("control" | "unknown" | "") => Ok(false),
        Some("implicit") => Ok(true),
        None if has_names => Err("invalid LISTEN_FDNAMES: expected one name per socket".to_owned()),
        None => Ok(false),
        Some(other) => Err(format!(
            "invalid LISTEN_FDNAMES: expected control or implicit, not \"{other}\"; set \
             FileDescriptorName= in the socket unit"
        )),
    }
}

/// Returns the socket if it listens, and marks it close-on-exec.
fn listener(socket: OwnedFd) -> Result<TcpListener, String> {
    let expected = "expected a listening TCP socket";
    if let Err(error) = fcntl_setfd(socket.as_fd(), FdFlags::CLOEXEC) {
        // The descriptor is not open, so it must not be closed: its number may soon belong to
        // another file.
        let _ = socket.into_raw_fd();
        return Err(format!("{expected}: {error}"));
    }
    let known = SockRef::from(&socket);
    let is_internet = known.domain().is_ok_and(|it| it == Domain::IPV4 || it == Domain::IPV6);
    let is_stream = known.r#type().is_ok_and(|it| it == Type::STREAM);
    if is_internet && is_stream && known.is_listener().unwrap_or(false) {
        return Ok(socket.into());
    }
    Err(format!("{expected}; set ListenStream= and Accept=no in the socket unit"))
}

/// Largest number of URLs in a line.
const MOST: usize = 6;

/// Ports that a URL can leave out.
const PORT: u16 = 21;
const IMPLICIT_PORT: u16 = 990;

/// The addresses, TLS policy and users of a server, for URLs and warnings.
struct Listening {
    plaintext: Vec<SocketAddr>,
    implicit: Vec<SocketAddr>,
    /// TLS before the login at the plaintext addresses; `None` without a certificate.
    tls: Option<TlsPolicy>,
    /// The user for the URLs, if there is only one.
    user: Option<String>,
    has_passwords: bool,
}

impl Listening {
    /// Returns the line with the URLs for a computer with the addresses `own`.
    fn line(&self, own: &[IpAddr]) -> Option<String> {
        let is_encrypted = matches!(self.tls, Some(TlsPolicy::Optional | TlsPolicy::Required));
        let scheme = if is_encrypted { "ftpes" } else { "ftp" };
        let plaintext = self.plaintext.iter().map(|at| (scheme, PORT, *at));
        let implicit = self.implicit.iter().map(|at| ("ftps", IMPLICIT_PORT, *at));
        let mut urls = Vec::new();
        let mut is_for_others = false;
        for (scheme, usual, at) in plaintext.chain(implicit) {
            for host in hosts(at.ip(), own) {
                is_for_others |= !host.is_loopback();
                let url = self.url(scheme, host, Some(at.port()).filter(|port| *port != usual));
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
        let more = urls.len().saturating_sub(MOST);
        urls.truncate(MOST);
        if urls.is_empty() {
            return None;
        }
        let whose = if is_for_others { "clients" } else { "clients on this computer" };
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Some(format!("{whose} can use {}{more}", urls.join(", ")))
    }

    fn url(&self, scheme: &str, host: IpAddr, port: Option<u16>) -> String {
        let user = self.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
        let host = match host {
            IpAddr::V4(host) => host.to_string(),
            IpAddr::V6(host) => format!("[{host}]"),
        };
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        format!("{scheme}://{user}{host}{port}/")
    }

    /// Returns a warning if passwords can reach this computer unencrypted, as `--check` does. Private
    /// networks have readers, too.
    fn warning(&self, own: &[IpAddr]) -> Option<String> {
        if !self.has_passwords || self.tls == Some(TlsPolicy::Required) {
            return None;
        }
        let bound = self.plaintext.iter().map(|at| at.ip().to_canonical());
        let outside = bound.filter(|at| !at.is_loopback()).collect::<Vec<_>>();
        let of_others = outside.iter().flat_map(|at| hosts(*at, own)).find(|at| !at.is_loopback());
        let address = of_others.or_else(|| outside.first().copied())?;
        let what_to_do = match self.tls {
            None => "use --tls-self-signed or --tls-cert, and --set tls.control=required",
            Some(_) => "use --set tls.control=required",
        };
        Some(format!("warning: clients can send passwords unencrypted to {address}; {what_to_do}"))
    }
}

/// Returns the addresses at which a socket bound to `bound` accepts connections.
fn hosts(bound: IpAddr, own: &[IpAddr]) -> Vec<IpAddr> {
    let is_meant = |host: &&IpAddr| match bound {
        IpAddr::V4(_) => host.is_ipv4(),
        // A socket for all IPv6 addresses accepts connections to IPv4 addresses too.
        IpAddr::V6(_) => true,
    };
    match bound.to_canonical() {
        one if !one.is_unspecified() => vec![one],
        _ => match own.iter().filter(is_meant).copied().collect::<Vec<_>>() {
            all if all.is_empty() => vec![Ipv4Addr::LOCALHOST.into()],
            all => all,
        },
    }
}

/// Returns the addresses of this computer that others can use, as far as the system reports them.
fn own_addresses() -> Vec<IpAddr> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let mut all: Vec<IpAddr> = ipv4_of(&read("/proc/net/fib_trie"));
    all.extend(ipv6_of(&read("/proc/net/if_inet6")));
    all
}

/// Reads the local addresses of the kernel's IPv4 routes.
fn ipv4_of(routes: &str) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    let mut last = None;
    for line in routes.lines() {
        match line.trim_start().strip_prefix("|-- ") {
            Some(address) => last = address.parse::<Ipv4Addr>().ok(),
            None if line.contains("/32 host LOCAL") => {
                let usable = last.filter(|at| !at.is_loopback() && !at.is_link_local());
                all.extend(usable.map(IpAddr::V4).filter(|at| !all.contains(at)));
            }
            None => {}
        }
    }
    all
}

/// Reads the global addresses in the kernel's list of IPv6 addresses. Each line has 32 hexadecimal
/// digits, the interface, the prefix length and the scope, which is 0 for a global address.
fn ipv6_of(list: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let digits = fields.next().filter(|digits| digits.len() == 32)?;
        let scope = fields.nth(2)?;
        let bits = u128::from_str_radix(digits, 16).ok().filter(|_| scope == "00")?;
        Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
    };
    list.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_names_select_the_kind_of_socket() {
        for (name, has_names, want) in [
            (None, false, Ok(false)),
            (None, true, Err("expected one name per socket")),
            (Some(""), true, Ok(false)),
            (Some("unknown"), true, Ok(false)),
            (Some("control"), true, Ok(false)),
            (Some("implicit"), true, Ok(true)),
            (Some("x.socket"), true, Err("not \"x.socket\"; set FileDescriptorName=")),
        ] {
            match (is_implicit(name, has_names), want) {
                (Ok(found), Ok(want)) => assert_eq!(found, want, "{name:?}"),
                (Err(found), Err(want)) => assert!(found.contains(want), "{found}"),
                (found, want) => panic!("{name:?}: {found:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn only_listening_sockets_are_taken() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        for wrong in [OwnedFd::from(client), datagrams.into(), file.into()] {
            let why = listener(wrong).unwrap_err();
            assert!(why.starts_with("expected a listening TCP socket"), "{why}");
        }
        listener(server.into()).unwrap();
    }

    const ROUTES: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 192.168.1.0/24 2 0 1
        |-- 192.168.1.5
           /32 host LOCAL
        |-- 192.168.1.255
           /32 link BROADCAST
Local:
        |-- 127.0.0.1
           /32 host LOCAL
        |-- 192.168.1.5
           /32 host LOCAL
        |-- 198.41.0.4
           /32 host LOCAL
";

    const LIST: &str = "\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000005 02 40 00 80     eth0
fe800000000000000000000000000005 02 40 20 80     eth0
broken
";

    fn own() -> Vec<IpAddr> {
        [ipv4_of(ROUTES), ipv6_of(LIST)].concat()
    }

    fn listening(plaintext: &[&str], implicit: &[&str], tls: Option<TlsPolicy>) -> Listening {
        let addresses = |all: &[&str]| all.iter().map(|at| at.parse().unwrap()).collect();
        let (plaintext, implicit) = (addresses(plaintext), addresses(implicit));
        Listening { plaintext, implicit, tls, user: None, has_passwords: true }
    }

    #[test]
    fn addresses_are_read_from_the_kernels_lists() {
        let shown: Vec<String> = own().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.168.1.5", "198.41.0.4", "2001:db8::5"]);
        assert!(ipv4_of("").is_empty());
        // Whatever this machine has, no loopback address is among them.
        assert!(!own_addresses().iter().any(IpAddr::is_loopback));
    }

    #[test]
    fn urls_are_those_that_clients_can_type() {
        for (listening, want) in [
            (
                listening(&["127.0.0.1:2121"], &[], None),
                "clients on this computer can use ftp://127.0.0.1:2121/",
            ),
            (listening(&["[::1]:21"], &[], None), "clients on this computer can use ftp://[::1]/"),
            (
                listening(&["0.0.0.0:2121"], &[], Some(TlsPolicy::Optional)),
                "clients can use ftpes://192.168.1.5:2121/, ftpes://198.41.0.4:2121/",
            ),
            (
                listening(&["[::]:21"], &["0.0.0.0:990"], Some(TlsPolicy::Off)),
                "clients can use ftp://192.168.1.5/, ftp://198.41.0.4/, ftp://[2001:db8::5]/, \
                 ftps://192.168.1.5/, ftps://198.41.0.4/",
            ),
            (
                Listening {
                    user: Some("me".to_owned()),
                    ..listening(&["192.168.1.5:21"], &[], None)
                },
                "clients can use ftp://me@192.168.1.5/",
            ),
            (
                listening(&["0.0.0.0:1", "0.0.0.0:2", "[::]:3", "[::]:4"], &[], None),
                "clients can use ftp://192.168.1.5:1/, ftp://198.41.0.4:1/, ftp://192.168.1.5:2/, \
                 ftp://198.41.0.4:2/, ftp://192.168.1.5:3/, ftp://198.41.0.4:3/ and 4 more",
            ),
        ] {
            assert_eq!(listening.line(&own()).as_deref(), Some(want));
        }
        let nowhere = listening(&["0.0.0.0:2121"], &[], None);
        let want = "clients on this computer can use ftp://127.0.0.1:2121/";
        assert_eq!(nowhere.line(&[]).as_deref(), Some(want));
        assert_eq!(listening(&[], &[], None).line(&own()), None);
    }

    #[test]
    fn plaintext_passwords_beyond_this_computer_cause_a_warning_li_14() {
        let on_all = |tls| listening(&["0.0.0.0:21"], &[], tls);
        let required = "; use --set tls.control=required";
        let private = "unencrypted to 192.168.1.5; ";
        for (listening, want) in [
            (on_all(None), Some("192.168.1.5; use --tls-self-signed")),
            (on_all(Some(TlsPolicy::Optional)), Some(required)),
            (on_all(Some(TlsPolicy::Off)), Some(required)),
            (on_all(Some(TlsPolicy::Required)), None),
            (listening(&["192.168.1.5:21"], &[], None), Some(private)),
            (listening(&["[::ffff:192.168.1.5]:21"], &[], None), Some(private)),
            (listening(&["127.0.0.1:1", "[2001:db8::5]:2"], &[], None), Some("to 2001:db8::5; ")),
            (listening(&["127.0.0.1:21"], &[], None), None),
            (listening(&["[::ffff:127.0.0.1]:21"], &[], None), None),
            (listening(&[], &["198.41.0.4:990"], Some(TlsPolicy::Optional)), None),
            (Listening { has_passwords: false, ..on_all(None) }, None),
        ] {
            let warning = listening.warning(&own());
            assert_eq!(warning.is_some(), want.is_some(), "{warning:?}");
            if let (Some(warning), Some(want)) = (warning, want) {
                assert!(warning.contains(want), "{warning}");
            }
        }
        // The network may come up later.
        let warning = on_all(None).warning(&[]);
        assert!(warning.is_some_and(|warning| warning.contains("unencrypted to 0.0.0.0; ")));
    }
}
