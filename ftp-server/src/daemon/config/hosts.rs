//! The keys of a virtual host in `[hosts."NAME"]`.

use std::path::{Path, PathBuf};

use ftp_proto::HostName;

use super::forms::{FILE, LINE, OWN_ROOT, USERS};
use super::root::ConfiguredRoot;
use super::row::{Origins, SetOption, Setting, row};
use super::stores::NOT_CHECKED;
use super::table::Settings;
use super::user::User;
use crate::VirtualHost;
use ftp_proto::text::toml_text::shown;
use ftp_proto::text::values::did_you_mean;

/// Name of the table that contains the hosts and `hosts.names`.
pub(super) const HOST_TABLES: &str = "hosts";

/// The name that stands for anonymous logins in a host's list of users.
pub(crate) const ANONYMOUS: &str = "anonymous";

#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// PEM files of the certificate and its key.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Text of the reply to `HOST`, and of the greeting under implicit TLS; empty for the default
    /// texts.
    pub(crate) banner: String,
    /// Root of all users at this host, in which `%u` stands for the user's name; `None` for each
    /// user's own root.
    pub(crate) root: Option<ConfiguredRoot>,
    /// Users who may log in; `None` for all.
    pub(crate) users: Option<Vec<String>>,
    pub(crate) origins: Origins,
}

#[rustfmt::skip]
pub(crate) static HOST: &[Setting<Host>] = &[
    row!(Host, "certificate", FILE,  certificate, "PEM file of the host's certificate chain (empty: tls.certificate)."),
    row!(Host, "key",         FILE,  key,         "PEM file of the private key of the host's certificate."),
    row!(Host, "banner",      LINE,  banner,      "Text of the reply to HOST (empty: Host accepted), and of the greeting under implicit TLS (empty: server.banner)."),
    row!(Host, "root",        OWN_ROOT, root,     "Directory or store:NAME/PREFIX that all users see as / at this host; %u is the user's name (empty: each user's root)."),
    row!(Host, "users",       USERS, users,       "Users who may log in at this host; anonymous stands for anonymous logins (empty: none; without this key: all)."),
];

impl Host {
    pub(crate) fn admits(&self, user: &str) -> bool {
        self.users.as_ref().is_none_or(|users| users.iter().any(|other| other == user))
    }

    /// Returns the root of a user at this host, or `None` if the host has no root. Returns an error
    /// if the user's name cannot be part of a path.
    pub(crate) fn root_of(&self, user: &str) -> Result<Option<ConfiguredRoot>, UnsafeName> {
        self.root.as_ref().map(|root| root.with_name(user).ok_or(UnsafeName)).transpose()
    }
}

/// The error for a name that cannot be part of a path.
#[derive(Debug)]
pub(crate) struct UnsafeName;

/// Reads the name of a table.
///
/// # Errors
///
/// Returns a message about an invalid name.
pub(super) fn host_name(text: &str) -> Result<HostName, String> {
    HostName::parse(text.as_bytes()).map(HostName::into_canonical).map_err(|_| {
        "invalid host name: expected a name such as ftp.example.org, without * and port; or an \
         address such as 192.0.2.1 or [2001:db8::1]"
            .to_owned()
    })
}

/// Returns the key of a host in the settings, such as `hosts."ftp.example.org".root`.
pub(crate) fn key_of(name: &HostName, key: &str) -> String {
    format!("{HOST_TABLES}.{}.{key}", shown(&name.to_string()))
}

impl Settings {
    pub(super) fn assign_of_host(
        &mut self,
        name: &str,
        given: &SetOption<'_>,
    ) -> Result<(), String> {
        let row = given.row("hosts.NAME", HOST.iter())?;
        let name =
            host_name(name).map_err(|why| format!("{HOST_TABLES}.{}: {why}", shown(name)))?;
        let mut host = self.hosts.get(&name).cloned().unwrap_or_default();
        row.assign(&mut host, &key_of(&name, ""), given)?;
        self.hosts.insert(name, host);
        Ok(())
    }

    /// Returns all hosts for the server: those with a table, and those in `hosts.names`.
    pub(super) fn virtual_hosts(&self) -> Vec<VirtualHost> {
        let of_tables = self.hosts.iter().map(|(name, host)| {
            let banner = Some(host.banner.clone()).filter(|banner| !banner.is_empty());
            let mut found = VirtualHost::new(name.clone());
            found.banner = banner;
            found
        });
        let others = self.host_names.iter().filter(|name| !self.hosts.contains_key(name));
        of_tables.chain(others.cloned().map(VirtualHost::new)).collect()
    }

    /// Returns all files that TLS loads, each with its settings key.
    pub(crate) fn certificate_files(&self) -> Vec<(String, &Path)> {
        let own = self.tls.files().into_iter().map(|(key, path)| (key.to_owned(), path));
        let of_hosts = self.hosts.iter().flat_map(|(name, host)| {
            let files =
                [("certificate", host.certificate.as_deref()), ("key", host.key.as_deref())];
            files.into_iter().filter_map(move |(key, path)| Some((key_of(name, key), path?)))
        });
        own.chain(of_hosts).collect()
    }

    /// Returns the contradictions in the keys of hosts, each with its origin.
    pub(super) fn contradictions_of_hosts(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, host) in &self.hosts {
            let mut add = |key: &str, why: String| {
                let place = host.origins.place(key);
                wrong.push(format!("{place}: {}: {why}", key_of(name, key)));
            };
            match (&host.certificate, &host.key) {
                (Some(_), None) => add("certificate", format!("needs {}", key_of(name, "key"))),
                (None, Some(_)) => add("key", format!("needs {}", key_of(name, "certificate"))),
                (Some(_), Some(_)) if !self.tls.is_on() => {
                    add("certificate", format!("needs {}", super::protection::CERTIFICATE));
                }
                _ => {}
            }
            if let Some(why) = host.root.as_ref().and_then(|root| self.objection_to_root(root)) {
                add("root", why);
            }
            for user in host.users.iter().flatten() {
                if let Some(unknown) = self.objection_to_user(user) {
                    add("users", unknown);
                }
            }
            let users = self.users.iter().map(|(user, _)| user).filter(|user| host.admits(user));
            for user in users.filter(|user| host.root_of(user).is_err()) {
                let user = shown(user);
                add("root", format!("the name of user {user} cannot replace %u"));
            }
            let Some(root) = host.root.as_ref().filter(|root| root.objects().is_some()) else {
                continue;
            };
            for (user, settings) in self.users.iter().filter(|(user, _)| host.admits(user)) {
                if self.hooks.has_check() {
                    add("root", NOT_CHECKED.to_owned());
                }
                let there = User { root: root.clone(), ..settings.clone() };
                // Other checks report what is wrong with the root itself and with mounts.
                for (key, why) in self.objections_to_stores(&there) {
                    if !matches!(key, "root" | "mounts") {
                        add("root", format!("{key} of user {}: {why}", shown(user)));
                    }
                }
            }
        }
        wrong
    }

    /// Returns a message if there is no user of this name; it suggests a similar name.
    fn objection_to_user(&self, user: &str) -> Option<String> {
        // `auth.program` may accept the user.
        if !self.auth.program.is_empty() {
            return None;
        }
        let names = || self.users.iter().map(|(name, _)| name.as_str()).chain([ANONYMOUS]);
        let is_known = names().any(|name| name == user);
        (!is_known).then(|| format!("unknown user \"{user}\"{}", did_you_mean(user, names())))
    }
}
