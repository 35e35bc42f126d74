use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::geteuid;

use super::*;
use crate::options::{self, GivenOption};

/// Finds what `find` asks for, with `line` split at spaces, `environment`, and `home`.
fn with<T>(
    line: &str,
    environment: Option<&str>,
    home: Option<&Path>,
    find: impl FnOnce(&mut Finder<'_>, &[FtpUrl]) -> Result<T>,
) -> Result<T, Exit> {
    let (_, options) = options::parse(line.split(' ').map(OsString::from)).unwrap();
    let urls = options.operands.iter().map(|url| FtpUrl::parse(url.as_bytes()).unwrap());
    let urls: Vec<_> = urls.collect();
    let messages = Messages::new(io::sink(), false);
    let mut finder = Finder::new(&options, &messages);
    finder.environment = EnvironmentLogin::of(None, environment.map(OsString::from));
    finder.home = home.map(OsString::from);
    find(&mut finder, &urls).map_err(|failure| failure.exit)
}

/// Returns `user password`, followed by the account if there is one. A leading `!` marks a
/// password from the URL.
fn text(found: &Credentials) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut words = vec![text(&found.user), text(found.password.as_bytes())];
    words.extend(found.account.as_ref().map(|account| text(account.as_bytes())));
    format!("{}{}", if found.from_url { "!" } else { "" }, words.join(" "))
}

/// Returns the login for a command line, which ends with the URL, with a netrc file in the home
/// directory.
fn found(line: &str, environment: Option<&str>) -> Result<String, Exit> {
    let home = tempfile::tempdir().unwrap();
    let netrc = "machine n login m password netted account a\n\
            machine n login o password other\nmachine l login alone\n\
            machine x login anonymous\nmachine y password nobodys";
    let path = home.path().join(".netrc");
    fs::write(&path, netrc).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let line = line.replace("NETRC", path.to_str().unwrap());
    with(&line, environment, Some(home.path()), text_of)
}

#[test]
fn the_most_specific_password_source_wins_li_01() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "filed\r\nsecond line\n").unwrap();
    let file = format!("--password-file {}", file.path().to_str().unwrap());
    for (line, environment, want) in [
        ("get ftp://u@h/x", Some("env"), "u env"),
        ("get ftp://u:p@h/x", Some("env"), "!u p"),
        ("get -u v ftp://u:p@h/x", Some("env"), "v env"),
        ("get -u u ftp://u:p@h/x", Some("env"), "!u p"),
        ("get -u ftp ftp://h/x", None, "ftp anonymous@"),
        ("get FILE ftp://u:p@h/x", Some("env"), "u filed"),
        ("get --password-command false FILE ftp://u:p@h/x", Some("env"), "u filed"),
        ("get FILE --password-command pwd ftp://u@h/x", None, "u /"),
        ("get FILE --account a ftp://u@h/x", None, "u filed a"),
        // netrc comes after all these.
        ("get FILE ftp://m@n/x", Some("env"), "m filed"),
        ("get ftp://m:p@n/x", Some("env"), "!m p"),
        ("get ftp://m@n/x", Some("env"), "m env"),
        ("get ftp://m@n/x", None, "m netted a"),
        ("get --account b ftp://m@n/x", None, "m netted b"),
        ("get -u o ftp://n/x", None, "o other"),
        ("get ftp://N/x", Some("env"), "m netted a"),
        ("get --no-netrc ftp://n/x", None, "anonymous anonymous@"),
        ("get --no-netrc --netrc-file NETRC ftp://n/x", None, "m netted a"),
        ("get --netrc-file NETRC --no-netrc ftp://n/x", None, "anonymous anonymous@"),
        ("get ftp://anonymous@n/x", None, "anonymous anonymous@"),
        ("get ftp://x/x", Some("env"), "anonymous anonymous@"),
        ("get ftp://l/x", Some("env"), "alone env"),
        ("get ftp://u@y/x", None, "u nobodys"),
    ] {
        let line = line.replace("FILE ", &format!("{file} "));
        let found = found(&line, environment);
        match (want, &found) {
            // The directory in which the tests run.
            ("u /", Ok(found)) => assert!(found.starts_with(want), "{found}"),
            _ => assert_eq!(found.as_deref(), Ok(want), "{line}"),
        }
    }
}

#[test]
fn each_attempt_has_the_same_line_although_the_url_has_a_password_li_01() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "filed\nnext\n").unwrap();
    let line = format!("get --password-file {} ftp://u:p@h/x", file.path().to_str().unwrap());
    let found = with(&line, None, None, |finder, urls| {
        Ok([text(&finder.find(&urls[0])?), text(&finder.find(&urls[0])?)])
    });
    assert_eq!(found, Ok(["u filed", "u filed"].map(str::to_owned)));
}

#[test]
fn a_url_without_a_user_means_an_anonymous_login_cl_64() {
    for text in ["ftp://h/x", "h:x"] {
        let find = |finder: &mut Finder<'_>, urls: &[FtpUrl]| finder.find(&urls[0]);
        let found = with(&format!("get {text}"), None, None, find).ok().unwrap();
        assert_eq!(found.user, b"anonymous", "{text}");
        assert_eq!(found.password.as_bytes(), b"anonymous@", "{text}");
        assert!(!found.is_personal && !found.from_url, "{text}");
    }
}

#[test]
fn the_environment_names_a_user_li_01() {
    for (line, user, password, want) in [
        ("ls ftp://h/x", Some("ci"), Some("env"), Ok("ci env")),
        ("ls ftp://ci@h/x", Some("ci"), Some("env"), Ok("ci env")),
        // The password of one user is not sent for another.
        ("ls ftp://u@h/x", Some("ci"), Some("env"), Err(Exit::Login)),
        ("ls -u v ftp://h/x", Some("ci"), Some("env"), Err(Exit::Login)),
        ("ls ftp://u:p@h/x", Some("ci"), Some("env"), Ok("!u p")),
        // The names of anonymous users are no exception, unless the line names the user.
        ("ls ftp://h/x", Some("ftp"), Some("env"), Ok("ftp env")),
        ("ls ftp://h/x", Some("anonymous"), Some("env"), Ok("anonymous env")),
        ("ls ftp://h/x", Some("ftp"), None, Ok("ftp anonymous@")),
        ("ls ftp://anonymous@h/x", Some("ftp"), Some("env"), Ok("anonymous anonymous@")),
        ("ls -u ftp ftp://h/x", Some("ftp"), Some("env"), Ok("ftp anonymous@")),
        // The password goes to one account, and no login becomes anonymous for want of it.
        ("ls ftp://h/x ftp://h/y", Some("ci"), Some("env"), Ok("ci env, ci env")),
        ("ls ftp://h/x ftp://i/x", Some("ci"), Some("env"), Err(Exit::Login)),
        ("ls ftp://u@h/x ftp://i/x", None, Some("env"), Ok("u env, anonymous anonymous@")),
        ("ls ftp://h/x", Some("ci"), None, Err(Exit::Login)),
        ("ls ftp://h/x", None, Some("env"), Err(Exit::Login)),
        // Another source has the password.
        ("ls --password-command pwd ftp://h/x", Some("ci"), None, Ok("ci /")),
    ] {
        let found = with(line, password, None, |finder, urls| {
            finder.environment =
                EnvironmentLogin::of(user.map(OsString::from), password.map(OsString::from));
            let found = urls.iter().map(|url| Ok(text(&finder.find(url)?)));
            Ok(found.collect::<Result<Vec<_>>>()?.join(", "))
        });
        match (want, &found) {
            // The directory in which the tests run.
            (Ok("ci /"), Ok(found)) => assert!(found.starts_with("ci /"), "{found}"),
            _ => assert_eq!(found, want.map(str::to_owned), "{line}"),
        }
    }
}

#[test]
fn half_a_login_is_an_error_li_01() {
    const NAME: &str = "to name a user, use ftp://USER@HOST/ or -u";
    let home = tempfile::tempdir().unwrap();
    let netrc = home.path().join(".netrc");
    fs::write(
        &netrc,
        "machine n login m\nmachine w login m password q\nmachine y password z\nmachine v",
    )
    .unwrap();
    fs::set_permissions(&netrc, Permissions::from_mode(0o600)).unwrap();
    // How to name a user after a refused anonymous login; or the failure before a connection; or
    // nothing, for a login with a name and a password, or an anonymous one by choice.
    for (line, user, password, want) in [
        // Nothing but the environment can name a user.
        ("ls ftp://h/", None, None, NAME),
        ("ls ftp://h/", None, Some(""), "no user for h: FTP_PASSWORD is empty; to name a user"),
        ("ls ftp://h/", None, Some("p"), "h: FTP_PASSWORD is set, but FTP_USER is not; to name"),
        ("ls ftp://h/", Some(""), None, "no user for h: FTP_USER is empty; to name"),
        ("ls ftp://h/", Some(""), Some(""), "FTP_USER and FTP_PASSWORD are empty; to name"),
        ("ls ftp://h/", Some(""), Some("p"), "FTP_USER is empty; to name"),
        ("ls --password-file f ftp://h/", Some(""), None, "FTP_USER is empty; to name"),
        ("ls ftp://h/", Some("ci"), None, "no password for user ci at h: set FTP_PASSWORD, or"),
        ("ls ftp://h/", Some("ci"), Some(""), "for user ci at h: set FTP_PASSWORD"),
        ("ls ftp://h/", Some("ci"), Some("p"), ""),
        ("ls ftp://anonymous@h/", None, Some("p"), ""),
        ("ls ftp://anonymous@h/", Some(""), Some(""), ""),
        // netrc has no user for this host.
        (
            "ls ftp://v/",
            None,
            None,
            "no user for v: netrc has an entry for it, but not \"machine v",
        ),
        ("ls ftp://y/", None, None, "not \"machine y login NAME\"; to name a user, use"),
        ("ls --no-netrc ftp://y/", None, None, NAME),
        ("ls ftp://y/", Some("ci"), Some(""), ""),
        // The URL or -u names a user.
        ("ls ftp://u@h/", None, None, "no password for user u at h: set FTP_PASSWORD, or"),
        ("ls -u u ftp://h/", None, None, "no password for user u at h: set FTP_PASSWORD, or"),
        ("ls --user= ftp://h/", None, None, "--user: the name is empty"),
        ("ls --user= ftp://u:p@h/", None, Some("p"), "--user: the name is empty"),
        ("ls ftp://u@h/", None, Some(""), "for user u at h: set FTP_PASSWORD"),
        ("ls ftp://u@h/", None, Some("p"), ""),
        ("ls ftp://u@h/", Some(""), None, "no password for user u at h: set FTP_PASSWORD, or"),
        ("ls ftp://u@h/", Some(""), Some("p"), ""),
        ("ls ftp://u@h/", Some("ci"), None, "no password for user u at h: set FTP_PASSWORD, or"),
        ("ls ftp://u@h/", Some("ci"), Some(""), "u at h: set FTP_PASSWORD"),
        ("ls ftp://u@y/", None, None, ""),
        ("ls ftp://anonymous@h/", Some("ci"), Some(""), ""),
        // The URL has a password.
        ("ls ftp://u:p@h/", Some("ci"), Some(""), ""),
        ("ls -u v ftp://u:p@h/", None, None, "no password for user v at h: set FTP_PASSWORD, or"),
        // netrc names a user.
        ("ls ftp://n/", None, None, "m at n: set FTP_PASSWORD"),
        ("ls ftp://n/", None, Some("p"), ""),
        ("ls ftp://w/", None, Some(""), ""),
        ("ls ftp://w/", Some("ci"), Some(""), "ci at w: set FTP_PASSWORD"),
        ("ls --no-netrc ftp://w/", None, None, NAME),
        // A copy between servers has no -u, and takes no user from the environment.
        ("fxp ftp://h/ ftp://w/", None, None, "to name a user, use ftp://USER@HOST/"),
        ("fxp ftp://h/ ftp://w/", None, Some("p"), "no user for h: FTP_PASSWORD is set, but FTP_U"),
        ("fxp ftp://w/ ftp://h/", None, Some("p"), "no user for h: FTP_PASSWORD is set, but FTP_U"),
        (
            "fxp ftp://h/ ftp://w/",
            Some("ci"),
            Some(""),
            "h: copies between servers do not use FTP_U",
        ),
        ("fxp ftp://h/ ftp://w/", Some("ci"), Some("p"), "h: copies between servers do not use FT"),
        ("fxp ftp://h/ ftp://u@i/", Some("ci"), Some("p"), "at i: use --password-file"),
        ("fxp ftp://u@h/ ftp://i/", None, Some("p"), ""),
        ("fxp ftp://u@h/ ftp://w/", Some("ci"), Some(""), "u at h: set FTP_PASSWORD"),
    ] {
        let output = tempfile::NamedTempFile::new().unwrap();
        let messages = Messages::new(output.reopen().unwrap(), false);
        let (_, options) = options::parse(line.split(' ').map(OsString::from)).unwrap();
        let mut finder = Finder::new(&options, &messages);
        finder.environment =
            EnvironmentLogin::of(user.map(OsString::from), password.map(OsString::from));
        finder.home = Some(home.path().into());
        let urls = options.operands.iter().map(|url| FtpUrl::parse(url.as_bytes()).unwrap());
        let found = match urls.collect::<Vec<_>>().as_slice() {
            [url] => finder.find(url),
            [one, other] => finder.find_both([one, other]).map(|[found, _]| found),
            urls => unreachable!("{urls:?}"),
        };
        let context = format!("{line} {user:?} {password:?}");
        match found {
            Ok(found) => assert_eq!(found.unnamed.unwrap_or_default(), want, "{context}"),
            Err(failure) => {
                assert_eq!(failure.exit, Exit::Login, "{context}");
                assert!(failure.message.contains(want), "{context}: {}", failure.message);
                assert!(!want.is_empty(), "{context}: {}", failure.message);
            }
        }
        assert_eq!(fs::read_to_string(output.path()).unwrap(), "", "{context}");
    }
}

#[test]
fn each_server_gets_its_own_password() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "first\nsecond\n").unwrap();
    let file = format!("--password-file {}", file.path().to_str().unwrap());
    let both = |line: &str, environment: Option<&str>| {
        let line = line.replace("FILE", &file);
        with(&line, environment, None, |finder, urls| {
            let found = finder.find_both([&urls[0], &urls[1]])?;
            Ok(found.map(|one| String::from_utf8(one.password.as_bytes().to_vec()).unwrap()))
        })
    };
    for (line, environment, want) in [
        ("fxp ftp://u:p@h/x ftp://v:q@g/x", Some("env"), Ok(["p", "q"])),
        ("fxp ftp://h/x ftp://v:q@g/x", None, Ok(["anonymous@", "q"])),
        ("fxp ftp://h/x ftp://v:q@g/x", Some("env"), Err(Exit::Login)),
        ("fxp ftp://h/x ftp://v@g/x", Some("env"), Ok(["anonymous@", "env"])),
        ("fxp ftp://u@h/x ftp://v:q@g/x", Some("env"), Ok(["env", "q"])),
        ("fxp ftp://u@h/x ftp://u@H/y", Some("env"), Ok(["env", "env"])),
        ("fxp ftp://u@h/x ftp://u@h:22/y", Some("env"), Err(Exit::Login)),
        ("fxp ftp://u@h/x ftp://v@g/x", Some("env"), Err(Exit::Login)),
        ("fxp ftp://u@h/x ftp://v:q@g/x", None, Err(Exit::Login)),
        ("fxp FILE ftp://u@h/x ftp://v@g/x", Some("env"), Ok(["first", "second"])),
        ("fxp FILE ftp://u@h/x ftp://u@h/y", None, Ok(["first", "first"])),
        ("fxp FILE ftp://u:p@h/x ftp://v@g/x", None, Ok(["p", "first"])),
        ("fxp FILE ftp://u:p@h/x ftp://g/x", None, Err(Exit::Usage)),
        ("fxp --password-command id ftp://u:p@h/x ftp://g/x", None, Err(Exit::Usage)),
    ] {
        let want = want.map(|texts| texts.map(str::to_owned));
        assert_eq!(both(line, environment), want, "{line}");
    }
}

/// A section of the configuration file can name a password without a user, and copies between servers do
/// not use its user.
#[test]
fn a_password_of_the_configuration_gives_way_to_other_logins_li_01() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    };
    write(".netrc", "machine n login m password netted\n");
    let file = write("password", "first\n");
    let refused = Err((Exit::Usage, "f:2:1: password-file in [hosts]: no user for h; to name"));
    for (line, user, want) in [
        ("ls ftp://h/", None, refused),
        ("ls ftp://u@h/", None, Ok("u first")),
        ("ls -u u ftp://n/", None, Ok("u first")),
        ("ls ftp://n/", None, Ok("m netted")),
        ("ls ftp://h/", Some("e"), Ok("e env")),
        ("fxp ftp://n/a ftp://n/b", None, Ok("m netted, m netted")),
        ("fxp ftp://n/a ftp://u@n/b", None, Ok("m netted, u first")),
        ("fxp ftp://u@h/a ftp://h/b", None, refused),
        ("fxp ftp://h/a ftp://h/b", None, refused),
    ] {
        let (_, mut options) = options::parse(line.split(' ').map(OsString::from)).unwrap();
        options.precede_by(vec![GivenOption {
            long: "password-file",
            value: Some(file.clone().into()),
            origin: Some("f:2:1".into()),
        }]);
        let messages = Messages::new(io::sink(), false);
        let mut finder = Finder::new(&options, &messages);
        finder.environment =
            EnvironmentLogin::of(user.map(OsString::from), user.map(|_| "env".into()));
        finder.home = Some(home.path().into());
        let urls = options.operands.iter().map(|url| FtpUrl::parse(url.as_bytes()).unwrap());
        let found = match urls.collect::<Vec<_>>().as_slice() {
            [url] => finder.find(url).map(|found| text(&found)),
            [one, other] => {
                finder.find_both([one, other]).map(|found| found.each_ref().map(text).join(", "))
            }
            urls => unreachable!("{urls:?}"),
        };
        match (found, want) {
            (Err(failure), Err((exit, why))) => {
                assert_eq!(failure.exit, exit, "{line}");
                assert!(failure.message.starts_with(why), "{line}: {}", failure.message);
            }
            (found, want) => {
                let found = found.map_err(|failure| failure.message);
                assert_eq!(found.as_deref(), Ok(want.unwrap()), "{line}");
            }
        }
    }
}

#[test]
fn an_insecure_netrc_fails_only_if_it_would_be_used_li_02_hl_02() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(".netrc");
    let text = "machine h login u password p\nmachine g login v\nmachine \"";
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let option = format!("--netrc-file {}", path.to_str().unwrap());
    for (line, want) in [
        ("get ftp://u@h/x", Err(Exit::Local)),
        ("get ftp://h/x", Err(Exit::Local)),
        ("get OPTION ftp://h/x", Err(Exit::Local)),
        ("get --no-netrc ftp://h/x", Ok("anonymous anonymous@")),
        ("get ftp://u:q@h/x", Ok("!u q")),
        ("get ftp://v@g/x", Ok("v env")),
        ("get ftp://g/x", Ok("v env")),
        // What follows the fault may name its user.
        ("get ftp://i/x", Err(Exit::Login)),
        ("get ftp://ftp@i/x", Ok("ftp anonymous@")),
        ("get OPTION ftp://i/x", Err(Exit::Usage)),
        ("get --netrc-file /proc/none/f ftp://i/x", Err(Exit::Local)),
        ("get --netrc-file / ftp://i/x", Err(Exit::Local)),
    ] {
        // Hints at the environment variable only if netrc does not come first.
        let environment = line.contains("g/x").then_some("env");
        let line = line.replace("OPTION", &option);
        let found = with(&line, environment, Some(home.path()), text_of);
        assert_eq!(found, want.map(str::to_owned), "{line}");
    }
}

#[test]
fn an_unreadable_netrc_does_not_become_an_anonymous_login_li_01() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(".netrc");
    let logins = || {
        ["ftp://h/x", "ftp://ftp@h/x"]
            .map(|url| with(&format!("get {url}"), None, Some(home.path()), text_of))
    };
    let anonymous = ["anonymous", "ftp"].map(|user| Ok(format!("{user} anonymous@")));
    assert_eq!(logins(), anonymous);
    let refused = [Err(Exit::Local), anonymous[1].clone()];
    symlink("missing", &path).unwrap();
    assert_eq!(logins(), refused);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(logins(), refused);
    fs::remove_dir(&path).unwrap();
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(logins(), refused);
}

fn text_of(finder: &mut Finder<'_>, urls: &[FtpUrl]) -> Result<String> {
    Ok(text(&finder.find(&urls[0])?))
}

#[test]
fn an_invalid_home_is_not_an_error_hl_13() {
    let huge = "/x".repeat(100_000);
    for home in ["", ".", "relative/x", "/proc/none", "/dev/null", "/proc/self/mem", &huge] {
        let found = with("get ftp://h/x", None, Some(Path::new(home)), text_of);
        assert_eq!(found.as_deref(), Ok("anonymous anonymous@"), "{home:.40}");
    }
}

#[test]
fn missing_or_unreadable_passwords_are_refused() {
    assert_eq!(found("get ftp://u@h/x", Some("")), Err(Exit::Login), "set, and empty");
    for (line, want) in [
        ("get ftp://u@h/x", Exit::Login),
        ("get -u v ftp://u:p@h/x", Exit::Login),
        ("get --password-file /dev/null ftp://h/x", Exit::Usage),
        ("get --password-file /dev/null ftp://u@h/x", Exit::Login),
        ("get --password-command true ftp://u@h/x", Exit::Login),
        ("get --password-file /dev/zero ftp://u@h/x", Exit::Login),
        ("get --password-file /proc/none/f ftp://u@h/x", Exit::Local),
        ("get --password-fd 0 ftp://h/x", Exit::Usage),
        ("get --password-command false ftp://u@h/x", Exit::Login),
    ] {
        assert_eq!(found(line, None), Err(want), "{line}");
    }
}

fn lines(option: &str, value: &str, count: usize) -> Result<Vec<String>, Exit> {
    let line = ["get", option, value].map(Into::into);
    let (_, options) = options::parse(line).ok().unwrap();
    let mut given = PasswordSource::open(&options).map_err(|failure| failure.exit)?.unwrap();
    let text = |secret: Secret| String::from_utf8_lossy(secret.as_bytes()).into_owned();
    (0..count)
        .map(|_| read_line(&mut given.input, &given.name).map(text).map_err(|failure| failure.exit))
        .collect()
}

#[test]
fn a_password_command_yields_its_first_lines_li_01() {
    for (command, want) in [
        ("echo one; echo two", Ok(vec!["one", "two"])),
        ("printf 'one\\r\\ntwo'", Ok(vec!["one", "two"])),
        ("echo one; exit 3", Err(Exit::Login)),
        ("echo one; kill $$", Err(Exit::Login)),
        ("exec no-such-program-at-all 2>/dev/null", Err(Exit::Login)),
        ("true", Err(Exit::Usage)),
        ("echo one", Err(Exit::Usage)),
        ("cat", Err(Exit::Usage)),
        ("yes", Err(Exit::Usage)),
        ("trap '' PIPE; while :; do echo one || :; done 2>/dev/null", Err(Exit::Usage)),
        ("tr '\\0' x </dev/zero", Err(Exit::Usage)),
    ] {
        let want = want.map(|lines| lines.into_iter().map(str::to_owned).collect());
        assert_eq!(lines("--password-command", command, 2), want, "{command}");
    }
}

#[test]
fn a_password_descriptor_must_be_inherited_li_01() {
    // Test processes did not inherit this descriptor, or must not read it.
    let own = File::open("/dev/zero").unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&own).to_string();
    for (number, want) in [
        (number.as_str(), Exit::Local),
        ("1000000", Exit::Local),
        ("-1", Exit::Usage),
        ("", Exit::Usage),
        ("stdin", Exit::Usage),
        ("4294967296", Exit::Usage),
    ] {
        assert_eq!(lines("--password-fd", number, 1), Err(want), "{number}");
    }
}

#[test]
fn a_netrc_that_others_can_access_is_refused_li_02_hl_02() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("netrc");
    fs::write(&path, "machine h login u password p").unwrap();
    symlink("netrc", root.path().join("link")).unwrap();
    for (mode, is_fit) in [
        (0o600, true),
        (0o400, true),
        (0o640, false),
        (0o604, false),
        (0o620, false),
        (0o644, false),
    ] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        for name in ["netrc", "link"] {
            let (metadata, _) = read_own(&root.path().join(name)).unwrap();
            assert_eq!(unfit_secret(&metadata).is_none(), is_fit, "{mode:o} {name}");
        }
    }
}

#[test]
fn a_netrc_of_another_user_is_refused_li_02_hl_02() {
    if geteuid().as_raw() != 0 {
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::os::unix::fs::chown(file.path(), Some(12_345), None).unwrap();
    let (metadata, _) = read_own(file.path()).unwrap();
    assert!(unfit_secret(&metadata).is_some_and(|why| why.contains("12345")));
}

#[test]
fn endless_or_oversized_netrc_files_are_not_read_hl_02() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, at("fifo"), FileType::Fifo, mode, 0).unwrap();
    fs::create_dir(at("directory")).unwrap();
    File::create(at("sparse")).unwrap().set_len(1 << 30).unwrap();
    File::create(at("most")).unwrap().set_len(LARGEST).unwrap();
    File::create(at("more")).unwrap().set_len(LARGEST + 1).unwrap();
    symlink("/dev/zero", at("zero")).unwrap();
    symlink("loop", at("loop")).unwrap();
    for name in ["fifo", "directory", "sparse", "more", "zero", "loop", "none"] {
        assert!(read_own(&at(name)).is_err(), "{name}");
    }
    let (_, most) = read_own(&at("most")).unwrap();
    assert!(NetrcEntry::find(&most, "h", None).is_err());
}

#[test]
fn only_an_absolute_home_yields_a_netrc_path_hl_13() {
    let huge = "/x".repeat(100_000);
    for (home, want) in
        [("/h", Some("/h/.netrc")), ("", None), ("h", None), (".", None), ("/", Some("/.netrc"))]
    {
        assert_eq!(netrc_in_home(OsStr::new(home)).as_deref(), want.map(Path::new), "{home:?}");
    }
    assert!(read_own(&netrc_in_home(OsStr::new(&huge)).unwrap()).is_err());
}
