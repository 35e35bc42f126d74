//! Checks who else could read passwords, or the files that users store.

use std::net::SocketAddr;
use std::path::Path;

use super::findings::{Findings, NAMED};
use super::users::{CheckedRoot, all_homes};
use crate::daemon::config::{Config, ConfiguredRoot};
use crate::{Rights, TlsPolicy};
use ftp_proto::text::toml_text::shown;
use ftp_proto::text::values::{counted, shown_path};

/// Adds warnings about passwords in plaintext and about roots that overlap.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    if let Some(address) = in_plaintext(config) {
        let what_to_do = "set tls.control = \"required\", with tls.self_signed = true, or with \
                          tls.certificate and tls.key";
        let why = match config.users_of_file().iter().any(|(_, user)| !is_open(user.tls)) {
            true => ", because the tls of a user is checked only after the password",
            false => "",
        };
        findings.warn(format_args!(
            "{address}: passwords can cross the network in plaintext{why}; {what_to_do}"
        ));
    }
    let settings = &config.settings;
    let is_always = !is_open(settings.tls.control) && settings.tls.exempt.is_empty();
    let users = config.users_of_file().into_iter();
    for (name, _) in users.filter(|(_, user)| is_always && user.tls == TlsPolicy::Off) {
        let why = "tls = \"off\" refuses TLS, and tls.control requires it: logins fail";
        findings.warn(format_args!("user {}: {why}; remove one of them", shown(name)));
    }
    exposed(config).iter().for_each(|line| findings.warn(line));
}

/// Returns an address beyond this computer at which users can send passwords without TLS.
fn in_plaintext(config: &Config) -> Option<SocketAddr> {
    let settings = &config.settings;
    let outside = settings.plaintext().into_iter().find(is_outside);
    outside.filter(|_| config.has_passwords() && is_open(settings.tls.control))
}

/// Returns a line for each way in which more users reach files than the rights suggest.
pub(in crate::daemon) fn exposed(config: &Config) -> Vec<String> {
    open_to_all(config).into_iter().chain(overlaps(config)).collect()
}

/// Returns a line if everybody who reaches an address beyond this computer can replace files.
fn open_to_all(config: &Config) -> Option<String> {
    let changes = [Rights::WRITE, Rights::DELETE, Rights::RENAME];
    let of_settings = config.anonymous().map(|(root, rights)| (root.shown(), rights));
    let quick = config.quick.as_ref();
    let by_options =
        quick.and_then(|quick| Some((shown_path(&quick.root).to_string(), quick.anonymous?)));
    let open = |(_, rights): &(String, Rights)| changes.iter().any(|one| rights.contains(*one));
    let (root, _) = of_settings.into_iter().chain(by_options).find(open)?;
    let address = config.settings.all_listen().into_iter().find(is_outside)?;
    let what_to_do = "use --user or [users.NAME], a drop box, or listen on 127.0.0.1 only";
    Some(format!(
        "{address}: anyone who reaches it can replace or delete the files in {root}; {what_to_do}"
    ))
}

fn is_outside(address: &SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

fn is_open(policy: TlsPolicy) -> bool {
    policy != TlsPolicy::Required
}

/// Returns one line for each two roots through which more users reach files than the rights suggest:
/// a root of anonymous users that overlaps another one, unless both are read-only, and a drop box in
/// which other users can read or change files.
fn overlaps(config: &Config) -> Vec<String> {
    let homes = all_homes(config);
    let mut lines = Vec::new();
    // Pairs of other homes are nobody's mistake. There may be many thousands of them.
    let is_special = |home: &CheckedRoot| home.is_anonymous || home.rights.is_drop_box();
    for (index, one) in homes.iter().enumerate().filter(|(_, home)| is_special(home)) {
        let others = homes.iter().enumerate();
        for (_, other) in
            others.filter(|(at, other)| *at > index || *at < index && !is_special(other))
        {
            let is_meant = one.shared_by.is_some() && one.shared_by == other.shared_by;
            lines.extend(match (one.is_anonymous, other.is_anonymous) {
                _ if is_meant => None,
                (true, false) => with_anonymous(one, other),
                (false, true) => with_anonymous(other, one),
                (false, false) => in_drop_box(one, other).or_else(|| in_drop_box(other, one)),
                (true, true) => None,
            });
        }
    }
    if let Some(more) = lines.len().checked_sub(NAMED).filter(|more| *more > 0) {
        lines.truncate(NAMED);
        lines.push(format!("{} in addition", counted(more, "similar overlap")));
    }
    lines
}

fn with_anonymous(anonymous: &CheckedRoot, home: &CheckedRoot) -> Option<String> {
    if !anonymous.rights.let_upload() && !home.rights.let_upload() {
        return None;
    }
    let relation = match (holds(&anonymous.root, &home.root), holds(&home.root, &anonymous.root)) {
        (true, true) => "is also the root of",
        (true, false) => "contains the root of",
        (false, true) => "lies in the root of",
        (false, false) => return None,
    };
    let (whose, root) = (&anonymous.whose, anonymous.root.shown());
    let (user, own) = (&home.whose, home.root.shown());
    let why = "anonymous clients and this user share files";
    let what_to_do = "use roots of which neither contains the other";
    Some(format!("{whose}: {root} {relation} {user} ({own}): {why}; {what_to_do}"))
}

/// Returns a warning if one of two users has a drop box in which the other can do more.
fn in_drop_box(hidden: &CheckedRoot, home: &CheckedRoot) -> Option<String> {
    let is_same = || holds(&hidden.root, &home.root) && holds(&home.root, &hidden.root);
    let writes = home.rights.contains(Rights::WRITE) || home.rights.contains(Rights::DELETE);
    if !hidden.rights.is_drop_box() || !writes || !is_same() {
        return None;
    }
    let (whose, root, user) = (&hidden.whose, hidden.root.shown(), &home.whose);
    let why = format!("{user} has the same root, and can replace or delete the files");
    let what_to_do = "use another root, or give the other user only the rights list and read";
    Some(format!("{whose}: {root} is a drop box: {why}; {what_to_do}"))
}

fn holds(outer: &ConfiguredRoot, inner: &ConfiguredRoot) -> bool {
    match (outer, inner) {
        (ConfiguredRoot::Directory(outer), ConfiguredRoot::Directory(inner)) => {
            match (outer.canonicalize(), inner.canonicalize()) {
                (Ok(outer), Ok(inner)) => inner.starts_with(outer),
                _ => inner.starts_with(outer),
            }
        }
        (ConfiguredRoot::Objects(outer), ConfiguredRoot::Objects(inner)) => {
            outer.store == inner.store && Path::new(&inner.prefix).starts_with(&outer.prefix)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";

    fn config(assignments: &[&str]) -> Config {
        let mut config = Config::new();
        for assignment in assignments {
            let (key, value) = assignment.split_once('=').unwrap();
            config.set(key, value).unwrap();
        }
        config
    }

    #[test]
    fn passwords_without_tls_beyond_this_computer_cause_a_warning_li_14() {
        let password = format!("users.a.password={HASH}");
        let user = [&*password, "users.a.root=/srv/a", "tls.self_signed=true"];
        let all = "listen.addresses=:2121";
        for (more, is_open) in [
            (&[all][..], true),
            (&["listen.addresses=192.168.0.9:21"], true),
            (&[all, "tls.control=off"], true),
            (&["listen.addresses=127.0.0.1:1,192.0.2.1:2"], true),
            (&["listen.addresses=2121"], false),
            (&["listen.addresses=[::1]:21"], false),
            (&["listen.addresses=", "listen.implicit_tls=:990"], false),
            (&[all, "tls.control=required"], false),
            // It is checked only after the password.
            (&[all, "users.a.tls=required"], true),
            (&[all, "users.a.tls=required", "auth.program=/bin/true"], true),
        ] {
            let found = in_plaintext(&config(&[&user[..], more].concat()));
            assert_eq!(found.is_some(), is_open, "{more:?}");
        }
        let anyone = ["anonymous.enabled=true", "anonymous.root=/srv", all];
        assert_eq!(in_plaintext(&config(&anyone)), None, "there is no password");
    }

    #[test]
    fn a_share_that_anyone_can_change_causes_a_warning_li_14() {
        for (listen, rights, more, is_open) in [
            (":2121", Rights::FULL, None, true),
            ("192.0.2.1:21", Rights::FULL, None, true),
            ("2121", Rights::FULL, None, false),
            (":2121", Rights::READ, None, false),
            (":2121", Rights::DROP_BOX, None, false),
            (":2121", Rights::READ, Some("anonymous.rights=full"), true),
        ] {
            let mut config = config(&[&format!("listen.addresses={listen}")]);
            match more {
                None => {
                    config.share("/p", rights);
                    config.add_anonymous(rights);
                }
                Some(more) => {
                    for assignment in ["anonymous.root=/p", "anonymous.enabled=true", more] {
                        let (key, value) = assignment.split_once('=').unwrap();
                        config.set(key, value).unwrap();
                    }
                }
            }
            let found = exposed(&config);
            assert_eq!(found.len(), usize::from(is_open), "{listen} {more:?}: {found:?}");
        }
    }

    #[test]
    fn a_user_who_can_never_log_in_because_of_tls_causes_a_warning() {
        let user = [&*format!("users.a.password={HASH}"), "users.a.root=/srv/a", "users.a.tls=off"];
        let required = ["tls.self_signed=true", "tls.control=required"];
        for (more, is_locked_out) in [
            (&[][..], false),
            (&required, true),
            (&[required[0], required[1], "tls.exempt=192.0.2.1"], false),
        ] {
            let mut findings = Findings::default();
            check(&config(&[&user[..], more].concat()), &mut findings);
            let found = findings.all.iter().any(|(_, words)| words.contains("logins fail"));
            assert_eq!(found, is_locked_out, "{more:?}");
        }
    }

    #[test]
    fn roots_through_which_more_users_reach_files_cause_a_warning_li_14() {
        let anonymous = "anonymous.enabled=true";
        for (assignments, want) in [
            (
                &[anonymous, "anonymous.root=/p/a", "users.u.root=/p/a", "users.u.rights=full"][..],
                Some("anonymous: /p/a is also the root of user u (/p/a): "),
            ),
            (
                &[anonymous, "anonymous.root=/p", "users.u.root=/p/a", "users.u.rights=drop-box"],
                Some("anonymous: /p contains the root of user u (/p/a): "),
            ),
            (
                &[anonymous, "anonymous.root=/p/a/b", "users.u.root=/p/a", "users.u.rights=full"],
                Some("anonymous: /p/a/b lies in the root of user u (/p/a): "),
            ),
            (
                &[anonymous, "anonymous.root=/p/a", "anonymous.rights=drop-box", "users.u.root=/p"],
                Some("anonymous: /p/a lies in the root of user u (/p): "),
            ),
            (
                &["anonymous.root=/p", "users.u.root=/p", "users.u.rights=full"],
                None, // Anonymous logins are off.
            ),
            (&[anonymous, "anonymous.root=/p", "users.u.root=/p"], None),
            (
                &[anonymous, "anonymous.root=/p/a", "users.u.root=/p/ab", "users.u.rights=full"],
                None,
            ),
            (
                &[
                    anonymous,
                    "anonymous.root=store:s/a",
                    "users.u.root=store:s/a/b",
                    "users.u.rights=full",
                ],
                Some("anonymous: store:s/a contains the root of user u (store:s/a/b): "),
            ),
            (
                &[
                    anonymous,
                    "anonymous.root=store:s/a",
                    "users.u.root=store:s/ab",
                    "users.u.rights=full",
                ],
                None,
            ),
            (
                &[
                    "users.cam.root=/p",
                    "users.cam.rights=drop-box",
                    "users.u.root=/p/./",
                    "users.u.rights=full",
                ],
                Some("user cam: /p is a drop box: user u has the same root"),
            ),
            (
                &["users.cam.root=/p", "users.cam.rights=drop-box", "users.u.root=/p"],
                None, // This user only collects the files.
            ),
            (
                &[
                    "users.a.root=/p",
                    "users.a.rights=full",
                    "users.b.root=/p",
                    "users.b.rights=full",
                ],
                None,
            ),
            // All users of a host share its root on purpose, which has a warning of its own.
            (
                &[
                    anonymous,
                    "anonymous.root=/p",
                    "users.u.root=/q",
                    "users.u.rights=full",
                    "hosts.h.example.root=/r",
                ],
                None,
            ),
            (
                &[
                    anonymous,
                    "anonymous.root=/p",
                    "users.u.root=/q",
                    "users.u.rights=full",
                    "hosts.h.example.root=/p",
                    "hosts.h.example.users=u",
                ],
                Some("anonymous: /p is also the root of hosts.\"h.example\".root (user u)"),
            ),
        ] {
            let found = overlaps(&config(assignments));
            let found: Vec<&str> = found.iter().map(|line| &**line).collect();
            match want {
                Some(want) => assert!(
                    matches!(&found[..], [line] if line.starts_with(want)),
                    "{assignments:?}: {found:?}"
                ),
                None => assert_eq!(found, [""; 0], "{assignments:?}"),
            }
        }
        // `serve --user u:p --write --anonymous DIR` says itself that both share DIR.
        let mut quick = Config::new();
        quick.share("/p", Rights::FULL);
        quick.add_user("u", "p");
        quick.add_anonymous(Rights::READ);
        assert_eq!(overlaps(&quick), Vec::<String>::new());
    }
}
