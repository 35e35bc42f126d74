//! Turns the options of `serve` into the configuration of a daemon.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use ftp_proto::Escaped;
use ftp_proto::text::toml_text::shown;
use ftp_server::Rights;
use ftp_server::daemon::Config;

use crate::cmd::control::told;
use crate::connect::credentials::{Secret, USER, VARIABLE, read_file};
use crate::console::Messages;
use crate::console::output::shown_path;
use crate::exit::{Failure, Result};
use crate::options::{Options, other_command};

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

type NameAndPassword = (Vec<u8>, Secret);

/// Returns the configuration that follows from the options, the file that they name, and the
/// sockets that were passed to the process. `environment` is the user and the
/// password in the environment. Messages name each error in the file or among the settings.
pub(super) fn config(
    options: &Options,
    environment: [Option<OsString>; 2],
    [plaintext, implicit]: [usize; 2],
    messages: &Messages,
) -> Result<Config> {
    let told = |error| told(error, messages);
    let mut config = match options.value("config") {
        Some(path) => Config::read(path).map_err(told)?,
        None => Config::new(),
    };
    #[cfg(feature = "client")]
    config.add_store_kind("ftp", crate::gateway::OtherServer::default());
    config.environment(|name| std::env::var_os(name));
    config.sockets(plaintext, implicit);
    set(&mut config, options)?;
    share(&mut config, options, environment)?;
    config.validate().map_err(told)?;
    Ok(config)
}

fn set(config: &mut Config, options: &Options) -> Result {
    for (option, key) in OPTIONS.iter().filter(|(option, _)| options.has(option)) {
        let mut values = options.all_parsed(option, |text| Ok(text.to_owned()))?;
        let value = match *option {
            "tls-self-signed" => "true".to_owned(),
            // In quotes, so that blanks at its end remain.
            "tls-cert" | "tls-key" => shown(&absolute(options, option)?),
            "port" => port(&values.pop().unwrap_or_default())?,
            // These options can be repeated.
            "listen" | "listen-tls" => values.join(","),
            // If another option is repeated, its last value wins.
            _ => values.pop().unwrap_or_default(),
        };
        let origin = format!("--{option}");
        let set = config.set_by(&origin, key, &value);
        set.map_err(|wrong| Failure::from(wrong).context(origin))?;
    }
    // With `--listen-tls` alone, the server does not also listen on the default plaintext port.
    if options.has("listen-tls") {
        config.set_default("--listen-tls", "listen.addresses", "")?;
    }
    for assignment in options.all_parsed("set", |text| Ok(text.to_owned()))? {
        let Some((key, value)) = key_and_value(&assignment) else {
            let wrong = format!("--set invalid setting \"{assignment}\": expected KEY=VALUE");
            return Err(Failure::usage(wrong));
        };
        let set = config.set_by("--set", key, value);
        set.map_err(|wrong| Failure::usage(format!("--set {wrong}")))?;
    }
    Ok(())
}

/// Splits `KEY=VALUE` at the first `=` that is not in a name in quotes, as in
/// `users."a=b".root=/srv`.
pub(crate) fn key_and_value(assignment: &str) -> Option<(&str, &str)> {
    let pair = |(at, _)| Some((assignment.get(..at)?, assignment.get(at + 1..)?));
    let is_whole = |key: &str| {
        let name = key.split_once('.').map_or("", |(_, name)| name);
        match name.chars().next() {
            Some('"') => name.replace("\\\"", "").matches('"').count() != 1,
            Some('\'') => name.matches('\'').count() != 1,
            _ => true,
        }
    };
    let mut pairs = assignment.match_indices('=').filter_map(pair);
    pairs.find(|(key, _)| is_whole(key)).or_else(|| assignment.split_once('='))
}

/// Returns `text` if it is a port. The error also names `--listen`, which accepts addresses.
fn port(text: &str) -> Result<String> {
    let is_port = text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    match is_port {
        true => Ok(text.to_owned()),
        false => Err(Failure::usage(format!(
            "--port: invalid port \"{text}\": expected a number up to 65535; to let other computers \
             connect, use --listen :PORT"
        ))),
    }
}

/// Returns the path that an option names; a relative path starts in the current directory.
fn absolute(options: &Options, option: &str) -> Result<String> {
    let path = options.value(option).unwrap_or_default();
    let absolute = std::path::absolute(path);
    let absolute = absolute.map_err(|error| Failure::usage(format!("--{option}: {error}")))?;
    absolute.into_os_string().into_string().map_err(|path| {
        let path = shown_path(path.as_ref());
        Failure::usage(format!("--{option}: invalid path {path}: expected UTF-8"))
    })
}

/// Adds the directory and users given on the command line. If neither the options nor the file name
/// users, anyone can log in anonymously; with `--config`, this requires DIR.
fn share(
    config: &mut Config,
    options: &Options,
    [user, password]: [Option<OsString>; 2],
) -> Result {
    let has_login = user.is_some() && password.is_some();
    let users = users(options, password)?;
    let has_users = !users.is_empty() || options.has("anonymous");
    let operands = options.operands.as_slice();
    if !has_users && config.names_users() {
        let is_idle = !operands.is_empty() || options.has("write") || options.has("drop-box");
        let of_nobody = "DIR, --write and --drop-box need --user or --anonymous";
        return if is_idle { Err(Failure::usage(of_nobody)) } else { Ok(()) };
    }
    // The login of a container must not open the directory to everyone. A password alone is that of
    // other commands.
    if !has_users && has_login {
        let message = format!(
            "{USER} and {VARIABLE} are set, but no --user; to let anyone log in, use --anonymous"
        );
        return Err(Failure::usage(message));
    }
    let root = match operands {
        // The check of the configuration reports that no user can log in.
        [] if !has_users && options.has("config") => return Ok(()),
        [] => PathBuf::from("."),
        [root] => PathBuf::from(root),
        _ => return Err(Failure::usage("serve takes one DIR: ftp-cli serve [OPTION]... [DIR]")),
    };
    let rights = match (options.has("drop-box"), options.has("write")) {
        (true, _) => Rights::DROP_BOX,
        (false, true) => Rights::FULL,
        (false, false) => Rights::READ,
    };
    if let Some(path) = options.value("password-file") {
        config.add_password_file("--password-file", path);
    }
    let anonymous = match (users.is_empty(), options.has("anonymous")) {
        (true, _) => Some(rights),
        // A drop box must not be readable by everyone.
        (false, true) if rights == Rights::DROP_BOX => Some(rights),
        // If there are users, only they may write.
        (false, true) => Some(Rights::READ),
        (false, false) => None,
    };
    let root = root.canonicalize().map_err(|error| {
        let word = other_command(&root.to_string_lossy(), Some("serve"));
        let hint = word.map_or_else(String::new, |line| format!("; {line}"));
        Failure::local(shown_path(&root), &error).hinted(&hint)
    })?;
    let is_directory = root.metadata().map(|metadata| metadata.is_dir());
    if !is_directory.map_err(|error| Failure::local(shown_path(&root), &error))? {
        return Err(Failure::local(shown_path(&root), &ErrorKind::NotADirectory.into()));
    }
    config.share(root, rights);
    for (name, password) in users {
        config.add_user(name, password.as_bytes());
    }
    anonymous.into_iter().for_each(|rights| config.add_anonymous(rights));
    Ok(())
}

/// Reads each `--user NAME[:PASSWORD]`. A user without a password gets the password from
/// `--password-file`, or else from `environment`.
fn users(options: &Options, environment: Option<OsString>) -> Result<Vec<NameAndPassword>> {
    let mut elsewhere = match options.value("password-file") {
        Some(file) => Some(read_file(file)?),
        None => environment
            .filter(|password| !password.is_empty())
            .map(|password| Secret::new(password.into_vec())),
    };
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
                    return Err(Failure::usage(format!(
                        "{option}: missing password after the colon"
                    )));
                }
                password.is_sendable(&option)?;
                password
            }
            None => {
                let password = elsewhere.take().ok_or_else(|| {
                    Failure::usage(format!(
                        "no password for user {shown}: set {VARIABLE} or use --password-file; each holds \
                         the password of one user"
                    ))
                })?;
                password.is_sendable(VARIABLE)?;
                password
            }
        };
        users.push((name.to_vec(), password));
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

    fn plan(line: &str, environment: Option<&str>) -> Result<Config> {
        let (_, options) = options::parse(line.split(' ').map(OsString::from))?;
        options.relate(options::Command::Serve)?;
        let environment = [Some("u".into()), environment.map(OsString::from)];
        config(&options, environment, [0; 2], &Messages::new(std::io::sink(), false))
    }

    fn users_in(config: &Config) -> String {
        let shown = config.to_string();
        let words: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("# ")).collect();
        words.join("\n")
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
            assert_eq!(users_in(&plan), want, "{line}");
            assert!(plan.to_string().contains("listen.addresses = [\"127.0.0.1:2121\"]"), "{plan}");
        }
    }

    #[test]
    fn serve_options_set_their_settings() {
        let line = "serve --passive-ports 50000-50009 --passive-address 192.0.2.1 \
                    --listen 21 --listen :22 --set limits.per_user=1 /";
        let shown = plan(line, None).unwrap().to_string();
        for (key, value, origin) in [
            ("passive.ports", "\"50000-50009\"", "--passive-ports"),
            ("passive.address", "\"192.0.2.1\"", "--passive-address"),
            ("listen.addresses", "[\"21\", \":22\"]", "--listen"),
            ("limits.per_user", "1", "--set"),
            ("limits.sessions", "0", "default"),
        ] {
            let line = shown.lines().find(|line| line.starts_with(&format!("{key} = ")));
            let (found, of) = line.unwrap().split_once(" # ").unwrap();
            assert_eq!((found.trim_end(), of), (&*format!("{key} = {value}"), origin), "{shown}");
        }
    }

    #[test]
    fn paths_of_options_are_taken_byte_for_byte() {
        for path in ["/ a, b;=c ", "/\"a\"", "/'a'", "/[\"a\"]", "/a\\n\u{e9}\n"] {
            let options = ["serve", "--tls-cert", path, "--tls-key", path, "/"].map(OsString::from);
            let (_, options) = options::parse(options).unwrap();
            let messages = Messages::new(std::io::sink(), false);
            let config = config(&options, [None, None], [0; 2], &messages).unwrap();
            let line = format!("tls.certificate = {}", shown(path));
            assert!(config.to_string().contains(&line), "{config}");
        }
    }

    #[test]
    fn a_name_in_quotes_can_contain_an_equals_sign() {
        for (assignment, want) in [
            ("a.b=c=d", Some(("a.b", "c=d"))),
            ("users.\"a=b\".root=/x", Some(("users.\"a=b\".root", "/x"))),
            ("users.\"a\\\"=b\".root=/x", Some(("users.\"a\\\"=b\".root", "/x"))),
            ("users.a\"b.root=/x", Some(("users.a\"b.root", "/x"))),
            ("users.a\"b.root=/x\"=y", Some(("users.a\"b.root", "/x\"=y"))),
            ("users.'a=b'.root=/x", Some(("users.'a=b'.root", "/x"))),
            ("users.o'b.root=/x'=y", Some(("users.o'b.root", "/x'=y"))),
            ("users.'b.root=/x", Some(("users.'b.root", "/x"))),
            ("server.banner=\"a=b\"", Some(("server.banner", "\"a=b\""))),
            ("a", None),
        ] {
            assert_eq!(key_and_value(assignment), want, "{assignment}");
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
            (
                "serve --set anonymous.enabled=true --set anonymous.root=/ \
                 --password-file /etc/hostname",
                Exit::Usage,
                "--password-file needs a --user without",
            ),
            ("serve --set limits.session=1 /", Exit::Usage, "limits.sessions"),
            ("serve --set timeouts.idle /", Exit::Usage, "expected KEY=VALUE"),
            ("serve --listen nowhere /", Exit::Usage, "PORT"),
            ("serve --passive-ports 9-8 /", Exit::Usage, "--passive-ports: passive.ports: "),
            ("serve --passive-address ::1 /", Exit::Usage, "--passive-address: "),
            ("serve /proc/none/x", Exit::Local, "/proc/none/x"),
            ("serve /dev/null", Exit::Local, "/dev/null"),
            ("serve stop", Exit::Local, "; use: ftp-cli ctl drain"),
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
        let Err(failure) = plan("serve -u a /", Some("")) else { panic!("an empty password") };
        assert!(failure.message.contains("a: set FTP_PASSWORD"), "{}", failure.message);
    }

    #[test]
    fn a_password_without_a_user_opens_nothing_to_everyone_li_01() {
        for password in ["", "p"] {
            let Err(failure) = plan("serve --write /", Some(password)) else { panic!("anonymous") };
            assert_eq!(failure.exit, Exit::Usage);
            assert!(
                failure.message.contains("FTP_PASSWORD are set, but no"),
                "{}",
                failure.message
            );
            assert!(plan("serve --anonymous /", Some(password)).is_ok());
        }
    }
}
