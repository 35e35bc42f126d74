//! What the unit of a service forbids the server, for a check that runs as root outside of the unit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities};

use super::findings::{Findings, joined};
use super::users::{all_homes, let_change};
use crate::ConfinementPolicy;
use crate::daemon::config::{Config, Environment, MountPoint};
use crate::daemon::own_files::{in_full, is_written, own_files};
use crate::daemon::privileges::{FileGroup, RunAs};
use crate::daemon::programs::{self as process, Stuck};
use crate::daemon::{DaemonErrorKind, PATIENCE};
use ftp_proto::text::toml_text::shown;
use ftp_proto::text::values::shown_path;

/// The unit of the package.
pub(super) const NAME: &str = "ftp-cli.service";

/// Where systemd puts the credentials of the unit, and from where it usually takes them.
const CREDENTIALS: [&str; 2] = ["/run/credentials/ftp-cli.service", "/etc/credstore"];

/// The properties whose directories the server may write to, and where the directories are.
const WRITABLE: [(&str, &str); 5] = [
    ("ReadWritePaths", "/"),
    ("StateDirectory", "/var/lib"),
    ("CacheDirectory", "/var/cache"),
    ("LogsDirectory", "/var/log"),
    ("RuntimeDirectory", "/run"),
];

/// The properties of the unit, as systemd shows them.
pub(super) struct Unit(BTreeMap<String, String>);

impl Unit {
    /// Asks systemd for the unit, if it starts a server as `user` with the configuration file.
    pub(super) fn find(user: &RunAs, file: &Path) -> Option<Self> {
        let mut systemctl = process::command("systemctl");
        systemctl.args(["show", NAME]).stdout(Stdio::piped()).stderr(Stdio::null());
        let told = process::ask(&mut systemctl, PATIENCE, &|| false, &Stuck::new()).ok()?;
        let unit = Self::parse(&String::from_utf8_lossy(&told));
        let starts = unit.words("ExecStart").any(|word| Path::new(word) == file);
        (starts && unit.get("User") == user.to_string()).then_some(unit)
    }

    fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value)
    }

    fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name).split_ascii_whitespace()
    }

    /// Returns the groups that the server has besides those of its user.
    pub(super) fn groups(&self) -> Vec<u32> {
        let known = self.words("SupplementaryGroups").filter_map(|it| FileGroup::parse(it).ok());
        known.map(|group| group.id()).collect()
    }

    /// Returns whether the unit makes the directory of a socket.
    pub(super) fn makes(&self, socket: &Path) -> bool {
        self.deepest("RuntimeDirectory", socket).is_some()
    }

    /// Calls `switch`, which switches to the user of the unit, and has the unit's capabilities then.
    pub(super) fn switch(&self, switch: impl FnOnce()) {
        // Without capabilities, the check finds less to be permitted than the server does.
        let _ = set_keep_capabilities(true);
        switch();
        let known = self.words("AmbientCapabilities").filter_map(|name| {
            CapabilitySet::from_name(&name.strip_prefix("cap_")?.to_ascii_uppercase())
        });
        let all = known.fold(CapabilitySet::empty(), |all, one| all | one);
        let inheritable = CapabilitySet::empty();
        let _ =
            set_capabilities(None, CapabilitySets { effective: all, permitted: all, inheritable });
    }

    /// Returns the configuration with the state directory that the unit gives the server.
    pub(super) fn seen(&self, config: &Config) -> Config {
        let mut seen = config.clone();
        if self.words("StateDirectory").next() == Some("ftp-cli") {
            seen.settings.environment = Environment(|name| match name {
                "STATE_DIRECTORY" => Some("/var/lib/ftp-cli".into()),
                _ => std::env::var_os(name),
            });
        }
        seen
    }

    /// Returns the configuration with the files that systemd copies to the credentials of the unit
    /// when the service starts, if there are no copies now. Only root can read these files.
    pub(super) fn before_credentials(config: &Config) -> Option<Config> {
        let mut source = config.clone();
        let tls = &mut source.settings.tls;
        let mut is_any = false;
        for path in [&mut tls.certificate, &mut tls.key].into_iter().flatten() {
            let name = path.strip_prefix(CREDENTIALS[0]).ok().filter(|_| !path.exists());
            if let Some(stored) = name.map(|name| Path::new(CREDENTIALS[1]).join(name)) {
                *path = stored;
                is_any = true;
            }
        }
        is_any.then_some(source)
    }

    /// Checks that the unit lets the server use what the settings name.
    pub(super) fn check(&self, config: &Config, findings: &mut Findings) {
        let start = self.get("ExecStart");
        let is_set = |key: &str| config.settings.origins.of(key) != "default";
        let is_replaced = |key: &str| start.contains(&format!(" {key}="));
        let all = own_files(config);
        let of_server = all.iter().filter(|file| is_set(&file.key) && !is_replaced(&file.key));
        let of_server =
            of_server.filter_map(|file| self.line(&file.key, &file.path, is_written(file)));
        for line in joined(of_server.chain(self.hidden_homes(config))) {
            findings.fail(DaemonErrorKind::Local, line);
        }
        if self.get("RestrictSUIDSGID") == "yes" {
            let words = format!(
                "{NAME}: RestrictSUIDSGID=yes forbids openat2, which confines \
                sessions, and the set-group-ID bit of directories; remove it"
            );
            match config.settings.local.confine {
                ConfinementPolicy::Require => findings.fail(DaemonErrorKind::Unsupported, words),
                _ => findings.warn(words),
            }
        }
    }

    /// Returns the roots and mounts that the unit keeps from the server, each with the reason.
    pub(super) fn hidden_homes(&self, config: &Config) -> Vec<(String, String)> {
        let homes = all_homes(config);
        let homes = homes.iter().filter_map(|home| {
            let is_changed = home.is_made || let_change(home.rights);
            self.line(&home.whose, home.root.directory()?, is_changed)
        });
        let users = config.users_of_file();
        let mounts = users.iter().flat_map(|(name, user)| {
            user.mounts.iter().filter_map(move |MountPoint { path, root }| {
                let whose = format!("user {}: mounts: \"{path}\"", shown(name));
                self.line(&whose, root.directory()?, let_change(user.rights_below(path)))
            })
        });
        homes.chain(mounts).collect()
    }

    /// Returns why the server cannot use a path, and whose it is.
    fn line(&self, whose: &str, path: &Path, is_changed: bool) -> Option<(String, String)> {
        let why = self.obstacle(&in_full(path), is_changed)?;
        Some((why, format!("{whose}: {}", shown_path(path))))
    }

    /// Returns why the server cannot use a path, and what to do.
    fn obstacle(&self, path: &Path, is_changed: bool) -> Option<String> {
        let lies_in =
            |places: &[&'static str]| places.iter().find(|place| path.starts_with(place)).copied();
        let cure = "in a drop-in (systemctl edit ftp-cli)";
        if ["BindPaths", "BindReadOnlyPaths"].iter().any(|it| self.deepest(it, path).is_some()) {
            return None;
        }
        let home = lies_in(&["/home", "/root", "/run/user"]);
        let of_home = self.get("ProtectHome");
        if let Some(place) = home.filter(|_| ["yes", "tmpfs"].contains(&of_home)) {
            return Some(format!(
                "{NAME} hides {place} from the server: set ProtectHome=no {cure}, or use another place"
            ));
        }
        let private = lies_in(&["/tmp", "/var/tmp"])
            .filter(|_| ["yes", "disconnected"].contains(&self.get("PrivateTmp")));
        if let Some(place) = private {
            return Some(format!(
                "{NAME} gives the server a {place} of its own: use another place"
            ));
        }
        if self.deepest("InaccessiblePaths", path).is_some() {
            return Some(format!(
                "InaccessiblePaths of {NAME} hides it from the server: use another place"
            ));
        }
        let system: &[&str] = match self.get("ProtectSystem") {
            "strict" => &["/"],
            "full" => &["/usr", "/boot", "/efi", "/etc"],
            "yes" => &["/usr", "/boot", "/efi"],
            _ => &[],
        };
        let of_system = lies_in(system).map(PathBuf::from);
        let of_home = home.filter(|_| of_home == "read-only").map(PathBuf::from);
        let closed = of_system.max(of_home).max(self.deepest("ReadOnlyPaths", path));
        let own = lies_in(&["/dev", "/proc", "/sys"]).map(PathBuf::from);
        let open = WRITABLE.iter().filter_map(|(name, _)| self.deepest(name, path)).max().max(own);
        // Of two that contain the path, the deeper one is the greater one.
        closed.filter(|closed| is_changed && open.is_none_or(|open| open < *closed)).map(|_| {
            format!("{NAME} makes it read-only for the server: add ReadWritePaths= with its directory {cure}, or use another place")
        })
    }

    /// Returns the deepest directory of a property that contains the path.
    fn deepest(&self, name: &str, path: &Path) -> Option<PathBuf> {
        let place =
            WRITABLE.iter().find(|(other, _)| *other == name).map_or("/", |(_, place)| place);
        let all = self.words(name).map(|word| {
            // A prefix says that the directory may be missing; a suffix is a link, or where it is from.
            let word = word.trim_start_matches(['-', '+']);
            let inside = name.starts_with("Bind").then(|| word.split(':').nth(1)).flatten();
            Path::new(place).join(inside.unwrap_or_else(|| word.split(':').next().unwrap_or(word)))
        });
        all.filter(|one| path.starts_with(one)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_the_unit_hides_or_protects_is_named_with_the_line_to_add_li_14() {
        let strict = "ProtectSystem=strict\nProtectHome=yes\nPrivateTmp=yes\nReadWritePaths=-/srv\n\
                      StateDirectory=ftp-cli\nLogsDirectory=ftp-cli\nRuntimeDirectory=ftp-cli\n";
        for (lines, path, is_changed, want) in [
            (strict, "/home/anna", false, Some("ProtectHome=no")),
            (strict, "/root/key", false, Some("hides /root")),
            (strict, "/tmp/anna", true, Some("a /tmp of its own")),
            (strict, "/var/www", true, Some("ReadWritePaths=")),
            (strict, "/var/www", false, None),
            (strict, "/srv/anna", true, None),
            (strict, "/srvx", true, Some("ReadWritePaths=")),
            (strict, "/var/log/ftp-cli/log", true, None),
            (strict, "/var/log/log", true, Some("ReadWritePaths=")),
            (strict, "/run/ftp-cli/socket", true, None),
            ("ProtectSystem=strict\nProtectHome=no\nReadWritePaths=/home", "/home/a", true, None),
            ("ProtectHome=read-only\n", "/home/a", false, None),
            ("ProtectHome=read-only\n", "/home/a", true, Some("ReadWritePaths=")),
            ("ProtectHome=tmpfs\nBindPaths=/home/a", "/home/a/b", true, None),
            ("ProtectHome=tmpfs\nBindPaths=/disk:/home/a:rbind", "/home/a/b", true, None),
            ("ProtectSystem=full\n", "/etc/x", true, Some("ReadWritePaths=")),
            ("ProtectSystem=full\n", "/var/x", true, None),
            (
                "ReadWritePaths=/srv\nReadOnlyPaths=/srv/a\n",
                "/srv/a/b",
                true,
                Some("ReadWritePaths="),
            ),
            ("InaccessiblePaths=/srv/a\n", "/srv/a/b", false, Some("hides it")),
            ("", "/home/anna", true, None),
        ] {
            let found = Unit::parse(lines).obstacle(Path::new(path), is_changed);
            assert_eq!(found.is_some(), want.is_some(), "{lines}{path}: {found:?}");
            assert!(found.is_none_or(|found| found.contains(want.unwrap())), "{path}");
        }
    }
}
