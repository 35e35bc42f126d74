//! Combines options, the configuration file and defaults into a plan: the directories to serve, the
//! addresses to listen on, and the users.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ftp_proto::Escaped;
use ftp_server::{Rights, UserLimits};

use super::certificate::Dates;
use super::settings::{File, Passed, Reading, Root, Settings, User, shown};
use super::stores::Stores;
use super::users::Homes;
use crate::connect::credentials::VARIABLE;
use crate::connect::secret::{self, Secret};
use crate::display::shown_path;
use crate::exit::Failure;
use crate::options::Options;

/// Options, each with the setting that it changes.
const OPTIONS: &[(&str, &str)] = &[
    ("listen", "listen.addresses"),
    ("port", "listen.addresses"),
    ("listen-tls", "listen.implicit_tls"),
    ("tls-cert", "tls.certificate"),
    ("tls-key", "tls.key"),
    ("tls-self-signed", "tls.self_signed"),
    ("passive-ports", "passive.ports"),
    ("passive-address", "passive.address"),
];

/// The settings, and the directory and users given on the command line.
pub(super) struct ServePlan {
    pub(super) settings: Settings,
    /// Unchanged by reloads.
    pub(super) quick: Option<Arc<Quick>>,
    /// Whether `--config` names a file. Such a server usually starts at boot, when a disk can be
    /// missing and the clock wrong. It starts nevertheless, and reports these faults.
    pub(super) has_file: bool,
}

/// Directory and users given on the command line.
pub(super) struct Quick {
    pub(super) root: PathBuf,
    pub(super) users: Vec<NameAndPassword>,
    pub(super) rights: Rights,
    /// Rights of anonymous users.
    pub(super) anonymous: Option<Rights>,
}

type NameAndPassword = (Vec<u8>, Arc<Secret>);

/// Reason why there is no plan: a failure, preceded by one line per error in the file or among the
/// settings.
#[derive(Debug)]
pub(super) struct PlanError {
    pub(super) lines: Vec<String>,
    pub(super) failure: Failure,
}

impl From<Failure> for PlanError {
    fn from(failure: Failure) -> Self {
        Self { lines: Vec::new(), failure }
    }
}

impl ServePlan {
    /// Returns the plan that follows from the options, the file that they name, and the sockets
    /// that were passed to the process.
    pub(super) fn new(
        options: &Options,
        environment: Option<OsString>,
        passed: Passed,
    ) -> Result<Self, PlanError> {
        let settings = settings(options, Reading::First, passed)?;
        let quick = Quick::new(options, &settings, environment)?;
        Ok(Self { settings, quick: quick.map(Arc::new), has_file: options.has("config") })
    }

    /// Reads the file again and returns the new plan.
    pub(super) fn again(&self, options: &Options) -> Result<Self, PlanError> {
        let settings = settings(options, Reading::Again, self.settings.passed)?;
        if self.quick.is_none() && !names_users(&settings) {
            return Err(nobody().into());
        }
        Ok(Self { settings, quick: self.quick.clone(), has_file: self.has_file })
    }

    /// Returns the treatment, at startup, of certificates outside their validity periods.
    pub(super) fn dates(&self) -> Dates {
        if self.has_file { Dates::Reported } else { Dates::Required }
    }

    /// Returns the root and the rights of anonymous users in the settings. Returns `None` if
    /// anonymous logins are disabled there, or if options redefine them.
    pub(super) fn anonymous(&self) -> Option<(&Root, Rights)> {
        let anonymous = &self.settings.anonymous;
        let is_elsewhere = self.quick.as_ref().is_some_and(|quick| quick.anonymous.is_some());
        (anonymous.enabled && !is_elsewhere).then_some((&anonymous.root, anonymous.rights))
    }

    /// Returns the users of the file, except for those that options redefine.
    pub(super) fn users_of_file(&self) -> Vec<(&String, &User)> {
        self.settings.users.iter().filter(|(name, _)| !self.is_overridden(name)).collect()
    }

    /// Returns the user given on the command line, if no other user can log in and the name needs
    /// no escapes in a URL.
    pub(super) fn only_user(&self) -> Option<String> {
        let quick = self.quick.as_ref()?;
        let [(name, _)] = quick.users.as_slice() else { return None };
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
        let is_only = !self.lets_anyone_in() && self.users_of_file().is_empty();
        let name = String::from_utf8(name.clone()).ok()?;
        (is_only && self.settings.auth.program.is_empty() && name.as_bytes().iter().all(is_plain))
            .then_some(name)
    }

    /// Returns whether some users log in with passwords.
    pub(super) fn has_passwords(&self) -> bool {
        self.quick.as_ref().is_some_and(|quick| !quick.users.is_empty())
            || !self.users_of_file().is_empty()
            || !self.settings.auth.program.is_empty()
    }

    fn is_overridden(&self, name: &str) -> bool {
        let mut users = self.quick.iter().flat_map(|quick| &quick.users);
        users.any(|(other, _)| other == name.as_bytes())
    }

    /// Returns a warning for each user of the file whom a `--user` option overrides, and one if
    /// `--anonymous` overrides the file.
    pub(super) fn overridden(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, user) in self.settings.users.iter().filter(|(name, _)| self.is_overridden(name))
        {
            let name = shown(name);
            let origin = user.origins.of("root");
            lines.push(format!("--user {name} overrides users.{name} ({origin})"));
        }
        if self.settings.anonymous.enabled && self.anonymous().is_none() {
            let origin = self.settings.origins.of("anonymous.enabled");
            lines.push(format!("--anonymous overrides [anonymous] ({origin})"));
        }
        lines
    }

    /// Returns warnings about what the process can no longer do. Must be called after dropping
    /// privileges.
    pub(super) fn lost(&self, options: &Options) -> Vec<String> {
        let Some(run_as) = &self.settings.run_as else { return Vec::new() };
        let config = options.value("config").map(|path| ("--config", Path::new(path)));
        let is_denied = |path: &Path| {
            fs::File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        };
        let mut lines = Vec::new();
        let config = config.map(|(what, path)| (what.to_owned(), path));
        for (what, path) in config.into_iter().chain(self.settings.certificate_files()) {
            if is_denied(path) {
                let path = shown_path(path);
                lines.push(format!(
                    "{what}: user \"{run_as}\" cannot read {path}, so the server cannot reload it; \
                     make it group-readable for this user (chgrp, chmod g+r), or restart instead"
                ));
            }
        }
        if self.settings.server.active.source_port {
            let below = |at: SocketAddr| SocketAddr::new(at.ip(), at.port().saturating_sub(1));
            let all = self.settings.all_listen().into_iter().map(below);
            let is_denied = |at: &SocketAddr| {
                TcpListener::bind(at)
                    .is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
            };
            lines.extend(all.into_iter().find(is_denied).map(|at| {
                let port = at.port();
                format!(
                    "active.source_port: user \"{run_as}\" cannot use port {port}, so active data comes from \
                     any port; set net.ipv4.ip_unprivileged_port_start to {port} or less"
                )
            }));
        }
        lines
    }

    pub(super) fn lets_anyone_in(&self) -> bool {
        let by_options = self.quick.as_ref().is_some_and(|quick| quick.anonymous.is_some());
        by_options || self.settings.anonymous.enabled
    }

    /// Returns the users and their homes; roots can name `stores`.
    pub(super) fn homes(&self, stores: &Arc<Stores>) -> Homes {
        let mut homes = Homes::new(self.settings.local, Arc::clone(stores));
        for (name, user) in self.users_of_file() {
            homes = homes.user(name, user);
        }
        if let Some((root, rights)) = self.anonymous() {
            let anonymous = &self.settings.anonymous;
            let config = self.settings.local.with(|config| {
                config.quota = anonymous.quota;
                config.max_files = anonymous.max_files;
            });
            homes = homes.anonymous(root, rights, config, anonymous.limits);
        }
        let Some(quick) = &self.quick else { return homes.at_hosts(&self.settings) };
        let root = Root::from(&*quick.root);
        for (name, password) in &quick.users {
            homes = homes.plain(name, password, &root, self.rights_of_users(quick));
        }
        if let Some(rights) = quick.anonymous {
            let config = self.settings.local;
            homes = homes.anonymous(&root, rights, config, UserLimits::default());
        }
        homes.at_hosts(&self.settings)
    }

    /// Returns the rights of the users given on the command line. The rights include FXP if
    /// networks for FXP are set; anonymous users never get FXP.
    fn rights_of_users(&self, quick: &Quick) -> Rights {
        match self.settings.server.fxp_networks.is_empty() {
            true => quick.rights,
            false => quick.rights | Rights::FXP,
        }
    }

    /// Describes the users, such as `/srv/files: user "a" may read and write; anyone (anonymous)
    /// may read`.
    pub(super) fn in_words(&self) -> Vec<String> {
        let may = |rights: Rights| match rights {
            Rights::FULL => "read and write".to_owned(),
            Rights::READ => "read".to_owned(),
            Rights::DROP_BOX => "add files only".to_owned(),
            rights => rights.words().collect::<Vec<_>>().join(", "),
        };
        let anyone = |rights| format!("anyone (anonymous) may {}", may(rights));
        let mut lines = Vec::new();
        let now = SystemTime::now();
        match self.users_of_file().iter().filter(|(_, user)| user.may_log_in(now)).count() {
            0 => {}
            1 => lines.push("1 user of the configuration file may log in".to_owned()),
            count => lines.push(format!("{count} users of the configuration file may log in")),
        }
        if let Some(program) = self.settings.auth.program.first() {
            let program = shown_path(Path::new(program));
            lines.push(format!("other users may log in if {program} accepts them"));
        }
        let by_file = self.anonymous().into_iter();
        lines.extend(by_file.map(|(root, rights)| format!("{}: {}", root.shown(), anyone(rights))));
        if let Some(quick) = &self.quick {
            let mut who: Vec<String> = Vec::new();
            for (name, _) in &quick.users {
                who.push(format!("user \"{}\" may {}", Escaped(name), may(quick.rights)));
            }
            who.extend(quick.anonymous.map(anyone));
            lines.push(format!("{}: {}", shown_path(&quick.root), who.join("; ")));
        }
        lines
    }
}

/// Returns the settings: defaults, then the file, then options; later values win.
fn settings(options: &Options, reading: Reading, passed: Passed) -> Result<Settings, PlanError> {
    let mut settings = Settings::with(passed);
    let file = options.value("config").map(|path| File::open(path, reading)).transpose()?;
    if let Some(file) = &file {
        file.apply(&mut settings).map_err(|lines| refusal(&file.name, lines))?;
    }
    if options.has("port") && options.has("listen") {
        let message = "--port and --listen contradict each other; use --listen HOST:PORT";
        return Err(Failure::usage(message).into());
    }
    let by_option = |settings: &mut Settings, option: &str, key, value: &str| {
        let origin = format!("--{option}");
        let set = settings.set_by_option(key, value, &origin);
        set.map_err(|wrong| Failure::usage(format!("{origin}: {wrong}")))
    };
    for (option, key) in OPTIONS.iter().filter(|(option, _)| options.has(option)) {
        let texts = options.all(option).map(|value| text(option, value));
        let mut values = texts.collect::<Result<Vec<String>, _>>()?;
        let value = match *option {
            "tls-self-signed" => "true".to_owned(),
            "tls-cert" | "tls-key" => absolute(options, option)?,
            "port" => port(&values.pop().unwrap_or_default())?,
            // These options can be repeated.
            "listen" | "listen-tls" => values.join(","),
            // If another option is repeated, its last value wins.
            _ => values.pop().unwrap_or_default(),
        };
        by_option(&mut settings, option, key, &value)?;
    }
    // With `--listen-tls` alone, the server does not also listen on the default plaintext port.
    let nowhere_else = settings.origins.of("listen.addresses") == "default";
    if options.has("listen-tls") && nowhere_else {
        by_option(&mut settings, "listen-tls", "listen.addresses", "")?;
    }
    for assignment in options.all("set") {
        let set = settings.set(&text("set", assignment)?);
        set.map_err(|wrong| Failure::usage(format!("--set {wrong}")))?;
    }
    match settings.contradictions(file.as_ref().map(File::lines).as_ref()) {
        lines if lines.is_empty() => Ok(settings),
        lines => Err(refusal("settings", lines)),
    }
}

/// Returns `text` if it is a port. The error also names `--listen`, which accepts addresses.
fn port(text: &str) -> Result<String, Failure> {
    let is_port = text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    match is_port {
        true => Ok(text.to_owned()),
        false => Err(Failure::usage(format!(
            "--port: invalid port \"{text}\": expected a number up to 65535; to let other computers \
             connect, use --listen :PORT"
        ))),
    }
}

/// Returns the value of an option as text. Fails unless the value is UTF-8.
fn text(option: &str, value: &OsStr) -> Result<String, Failure> {
    value.to_str().map(str::to_owned).ok_or_else(|| {
        let value = shown_path(value.as_ref());
        Failure::usage(format!("--{option}: invalid value {value}: expected UTF-8"))
    })
}

/// Returns the path that an option names; a relative path starts in the current directory.
fn absolute(options: &Options, option: &str) -> Result<String, Failure> {
    let path = options.value(option).unwrap_or_default();
    let absolute = std::path::absolute(path);
    let absolute = absolute.map_err(|error| Failure::usage(format!("--{option}: {error}")))?;
    absolute.into_os_string().into_string().map_err(|path| {
        let path = shown_path(path.as_ref());
        Failure::usage(format!("--{option}: invalid path {path}: expected UTF-8"))
    })
}

fn refusal(name: &str, lines: Vec<String>) -> PlanError {
    let errors =
        if lines.len() == 1 { "1 error".to_owned() } else { format!("{} errors", lines.len()) };
    PlanError { failure: Failure::usage(format!("{name}: {errors}")), lines }
}

fn names_users(settings: &Settings) -> bool {
    let asks = !settings.auth.program.is_empty();
    settings.anonymous.enabled || asks || !settings.users.is_empty()
}

fn nobody() -> Failure {
    Failure::usage(
        "no user can log in: add [users.NAME], auth.program or anonymous.enabled = true to the file, or use --user \
         or DIR",
    )
}

impl Quick {
    /// Reads the directory and users given on the command line. If neither the options nor the file
    /// name users, anyone can log in anonymously; with `--config`, this requires DIR.
    fn new(
        options: &Options,
        settings: &Settings,
        environment: Option<OsString>,
    ) -> Result<Option<Self>, Failure> {
        if options.has("drop-box") && options.has("write") {
            return Err(Failure::usage(
                "--drop-box and --write exclude each other; use --config for different rights of each user",
            ));
        }
        let has_users = options.has("user") || options.has("anonymous");
        if !has_users && names_users(settings) {
            let is_idle = !options.operands.is_empty()
                || ["write", "drop-box"].iter().any(|option| options.has(option));
            let of_nobody = "DIR, --write and --drop-box need --user or --anonymous";
            return if is_idle { Err(Failure::usage(of_nobody)) } else { Ok(None) };
        }
        let root = match options.operands.as_slice() {
            [] if !has_users && options.has("config") => return Err(nobody()),
            [] => PathBuf::from("."),
            [root] => PathBuf::from(root),
            _ => {
                return Err(Failure::usage("serve takes one DIR: ftp-cli serve [OPTION]... [DIR]"));
            }
        };
        let rights = match (options.has("drop-box"), options.has("write")) {
            (true, _) => Rights::DROP_BOX,
            (false, true) => Rights::FULL,
            (false, false) => Rights::READ,
        };
        let users = users(options, environment)?;
        let anonymous = match (users.is_empty(), options.has("anonymous")) {
            (true, _) => Some(rights),
            // A drop box must not be readable by everyone.
            (false, true) if rights == Rights::DROP_BOX => Some(rights),
            // If there are users, only they may write.
            (false, true) => Some(Rights::READ),
            (false, false) => None,
        };
        let root =
            root.canonicalize().map_err(|error| Failure::local(shown_path(&root), &error))?;
        if !root.is_dir() {
            return Err(Failure::local(shown_path(&root), &ErrorKind::NotADirectory.into()));
        }
        Ok(Some(Self { root, users, rights, anonymous }))
    }
}

/// Reads each `--user NAME[:PASSWORD]`. A user without a password gets the password from
/// `--password-file`, or else from `environment`.
fn users(
    options: &Options,
    environment: Option<OsString>,
) -> Result<Vec<NameAndPassword>, Failure> {
    let mut elsewhere = match options.value("password-file") {
        Some(file) => Some(secret::read_file(file)?),
        None => environment
            .filter(|password| !password.is_empty())
            .map(|password| Secret::new(password.into_vec())),
    };
    if let Some(password) = &elsewhere {
        password.is_sendable(VARIABLE)?;
    }
    let mut users: Vec<NameAndPassword> = Vec::new();
    for user in options.all("user").map(OsStr::as_bytes) {
        let mut parts = user.splitn(2, |byte| *byte == b':');
        let name = parts.next().unwrap_or_default();
        let shown = Escaped(name);
        if name.is_empty() {
            return Err(Failure::usage("--user needs a name: --user NAME[:PASSWORD]"));
        }
        if users.iter().any(|(other, ..)| other == name) {
            return Err(Failure::usage(format!("--user {shown}: given twice")));
        }
        let password = match parts.next().map(Secret::new) {
            Some(password) => {
                let option = format!("--user {shown}");
                if password.as_bytes().is_empty() {
                    return Err(Failure::usage(format!("{option}: missing password after the colon")));
                }
                password.is_sendable(&option)?;
                password
            }
            None => elsewhere.take().ok_or_else(|| {
                Failure::usage(format!(
                    "no password for user {shown}: set {VARIABLE} or use --password-file; each holds the \
                     password of one user"
                ))
            })?,
        };
        users.push((name.to_vec(), Arc::new(password)));
    }
    if options.has("password-file") && elsewhere.is_some() {
        return Err(Failure::usage("--password-file needs a --user without a password"));
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::options;

    fn plan(line: &str, environment: Option<&str>) -> Result<ServePlan, Failure> {
        let (_, options) = options::parse(line.split(' ').map(OsString::from))?;
        let environment = environment.map(OsString::from);
        ServePlan::new(&options, environment, Passed::default()).map_err(|refusal| refusal.failure)
    }

    #[test]
    fn the_plan_states_the_rights_of_each_user() {
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
            ("serve --drop-box /", None, "/: anyone (anonymous) may add files only"),
            ("serve --drop-box -u a:p /", None, "/: user \"a\" may add files only"),
            (
                "serve --drop-box --anonymous -u a:p /",
                None,
                "/: user \"a\" may add files only; anyone (anonymous) may add files only",
            ),
            (
                "serve --set anonymous.enabled=true --set anonymous.root=/srv",
                None,
                "/srv: anyone (anonymous) may read",
            ),
            (
                "serve --set anonymous.enabled=true --set anonymous.root=/srv -u a:p /",
                None,
                "/srv: anyone (anonymous) may read\n/: user \"a\" may read",
            ),
            (
                "serve --set anonymous.enabled=true --set anonymous.root=/srv --anonymous /",
                None,
                "/: anyone (anonymous) may read",
            ),
            (
                "serve --set anonymous.enabled=true --set anonymous.root=/srv \
                 --set anonymous.rights=list,write",
                None,
                "/srv: anyone (anonymous) may list, write",
            ),
        ] {
            let plan = plan(line, environment).unwrap();
            assert_eq!(plan.in_words().join("\n"), want, "{line}");
            assert_eq!(plan.settings.listen[0].address, "127.0.0.1:2121".parse().unwrap());
        }
        let colon = plan("serve -u a:p:q /", None).unwrap();
        assert_eq!(colon.quick.unwrap().users[0].1.as_bytes(), b"p:q");
    }

    #[test]
    fn only_named_users_have_fxp_and_only_with_fxp_networks_dc_30() {
        for (line, users, anyone) in [
            ("serve --anonymous -u a:p /", false, false),
            ("serve --anonymous -u a:p --set fxp.networks=192.0.2.0/24 /", true, false),
            ("serve --write --set fxp.networks=192.0.2.0/24 /", true, false),
        ] {
            let plan = plan(line, None).unwrap();
            let quick = plan.quick.as_ref().unwrap();
            assert_eq!(plan.rights_of_users(quick).contains(Rights::FXP), users, "{line}");
            assert_eq!(quick.anonymous.unwrap().contains(Rights::FXP), anyone, "{line}");
        }
    }

    #[test]
    fn serve_options_set_their_settings() {
        let line = "serve --passive-ports 50000-50009 --passive-address 192.0.2.1 \
                    --listen 21 --listen :22 --set limits.per_user=1 /";
        let settings = plan(line, None).unwrap().settings;
        assert_eq!(settings.server.passive.ports.map(|ports| ports.count()), Some(10));
        assert_eq!(settings.server.passive.address.unwrap().to_string(), "192.0.2.1");
        assert_eq!(settings.listen.len(), 2);
        for (key, want) in [
            ("passive.ports", "--passive-ports"),
            ("passive.address", "--passive-address"),
            ("listen.addresses", "--listen"),
            ("limits.per_user", "--set"),
            ("limits.sessions", "default"),
        ] {
            assert_eq!(settings.origins.of(key), want);
        }
    }

    #[test]
    fn invalid_serve_arguments_are_refused() {
        for (line, exit, want) in [
            ("serve -u a /", Exit::Usage, "no password for user a"),
            ("serve -u :x /", Exit::Usage, "needs a name"),
            ("serve -u a:x -u a:y /", Exit::Usage, "twice"),
            ("serve -u a:x --password-file /etc/hostname /", Exit::Usage, "without a password"),
            ("serve --password-file /proc/none/x -u a /", Exit::Local, "/proc/none/x"),
            ("serve --set limits.session=1 /", Exit::Usage, "limits.sessions"),
            ("serve --listen nowhere /", Exit::Usage, "PORT"),
            ("serve --passive-ports 9-8 /", Exit::Usage, "--passive-ports: passive.ports: "),
            ("serve --passive-address ::1 /", Exit::Usage, "--passive-address: "),
            ("serve /proc/none/x", Exit::Local, "/proc/none/x"),
            ("serve /dev/null", Exit::Local, "/dev/null"),
            ("serve a b", Exit::Usage, "one DIR"),
            ("serve --config /dev/null", Exit::Usage, "no user can log in"),
            ("serve --config /dev/zero", Exit::Usage, "/dev/zero: too large"),
            ("serve --config /", Exit::Local, "/: Is a directory"),
            ("serve --config /proc/none/x", Exit::Local, "/proc/none/x"),
            ("serve --set anonymous.enabled=true", Exit::Usage, "settings: 1 error"),
            (
                "serve --set anonymous.enabled=true --set anonymous.root=/ /",
                Exit::Usage,
                "DIR, --write and --drop-box need --user",
            ),
            ("serve --drop-box --write /", Exit::Usage, "exclude each other"),
            ("serve --drop-box --write --anonymous -u a:p /", Exit::Usage, "exclude each other"),
            (
                "serve --set anonymous.enabled=true --set anonymous.root=/ --drop-box",
                Exit::Usage,
                "DIR, --write and --drop-box need --user",
            ),
        ] {
            let Err(failure) = plan(line, None) else { panic!("{line}") };
            assert_eq!(failure.exit, exit, "{line}: {}", failure.message);
            assert!(failure.message.contains(want), "{line}: {}", failure.message);
        }
    }
}
