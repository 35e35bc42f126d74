//! `serve --from-vsftpd FILE`: prints the configuration that does what a vsftpd.conf(5) says, and names
//! what it cannot do. With `--users-to DIR`, it writes a file for each local user who may log in.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use ftp_proto::text::toml_text::quoted;
use ftp_server::PasswordHash;
use ftp_server::daemon::Config;

use crate::cmd::control::publish;
use crate::console::output::shown_path;
use crate::console::{Stdio, output};
use crate::exit::{Failure, Result};
use crate::options::Options;

/// What becomes of each key. The file explains its columns.
const KEYS: &str = include_str!("vsftpd.txt");

/// Returns the rows of [`KEYS`]: the key, how it is converted, and the setting or the reason.
fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    KEYS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (key, rest) = line.split_once(' ')?;
        let (how, what) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
        Some((key, how, what.trim_start()))
    })
}

/// The files of the system that say who may log in.
#[derive(Default)]
struct LocalUsers {
    passwd: String,
    shadow: String,
    shells: String,
    /// Names that PAM refuses on Debian.
    ftpusers: String,
    userlist: String,
}

/// The lines of a vsftpd.conf.
#[derive(Clone, Default)]
struct Vsftpd(BTreeMap<String, String>);

impl Vsftpd {
    fn read(&mut self, text: &str) {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once('='));
        self.0
            .extend(pairs.map(|(key, value)| (key.trim().to_owned(), value.trim_end().to_owned())));
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the value of a switch, or vsftpd's default.
    fn is(&self, key: &str, default: bool) -> bool {
        self.get(key).map_or(default, |value| {
            ["YES", "TRUE", "1"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
        })
    }

    /// Returns a value in TOML; `None` for a rate without a limit, or if there is no such form.
    fn value(&self, key: &str, form: &str) -> Option<String> {
        let value = self.get(key)?;
        Some(match form {
            "rate" if value == "0" => return None,
            "text" => quoted(value),
            "switch" => self.is(key, false).to_string(),
            "number" => value.to_owned(),
            "seconds" => quoted(&format!("{value} s")),
            "rate" => quoted(&format!("{value}/s")),
            "mask" => {
                // Only the bits of group and others: a umask with bits of the owner is refused.
                let bits = self.bits(key).map(|bits| format!("{:03o}", bits & 0o077));
                quoted(&bits.unwrap_or_else(|| value.to_owned()))
            }
            _ => return None,
        })
    }

    /// Returns the bits of a mask or mode: as in vsftpd, decimal without a 0 before the number.
    fn bits(&self, key: &str) -> Option<u32> {
        let value = self.get(key)?;
        u32::from_str_radix(value, if value.starts_with('0') { 8 } else { 10 }).ok()
    }

    /// Returns whether anonymous users may store files that other anonymous users cannot download,
    /// which is vsftpd's default.
    fn hides_uploads(&self) -> bool {
        ["write_enable", "anon_upload_enable"].iter().all(|key| self.is(key, false))
            && self.is("anon_world_readable_only", true)
    }

    /// Returns the patterns of names that listings leave out.
    fn hidden(&self) -> Option<String> {
        let values = self.get("hide_file")?.trim_matches(['{', '}']).split(',');
        let patterns: Vec<String> = values.map(quoted).collect();
        Some(format!("[{}]", patterns.join(", ")))
    }

    /// Returns rights: all of a user who may write, or those that the switches of anonymous users add.
    /// Commands and names that are denied are other limits: then users can at most list.
    fn rights(&self, is_anonymous: bool) -> String {
        let is_limited =
            ["cmds_allowed", "cmds_denied", "deny_file"].iter().any(|key| self.get(key).is_some());
        let has = |key| self.get(key).map(|all| all.split(',').any(|it| it == "LIST"));
        let lists = has("cmds_allowed") != Some(false) && has("cmds_denied") != Some(true);
        let writes = |key| self.is("write_enable", false) && self.is(key, false);
        let of_users = !is_anonymous && writes("write_enable");
        let creates = is_anonymous && writes("anon_upload_enable") && !self.hides_uploads();
        let changes = is_anonymous && writes("anon_other_write_enable");
        let all = [
            ("list", lists && self.is("dirlist_enable", true)),
            ("read", self.is("download_enable", true)),
            ("create", creates),
            ("mkdir", of_users || is_anonymous && writes("anon_mkdir_write_enable")),
            ("chmod", of_users && self.is("chmod_enable", true)),
        ];
        let change = [("write", creates), ("append", creates), ("delete", true), ("rename", true)];
        let change = change.into_iter().filter(|(_, may)| of_users || changes && *may);
        let rights = all.into_iter().filter(|(_, may)| *may).chain(change).map(|(right, _)| right);
        listed(&rights.filter(|right| !is_limited || *right == "list").collect::<Vec<_>>())
    }

    /// Returns the keys of a user's table, with values in TOML.
    fn keys(&self) -> Vec<(String, String)> {
        let mut keys = vec![("rights".to_owned(), self.rights(false))];
        let token = self.get("user_sub_token");
        let root = self
            .get("local_root")
            .map(|root| token.map_or(root.to_owned(), |token| root.replace(token, "%u")));
        keys.extend(root.map(|root| ("root".to_owned(), quoted(&root))));
        let of_users =
            rows().filter_map(|(key, how, what)| Some((key, how, what.strip_prefix("user.")?)));
        keys.extend(
            of_users.filter_map(|(key, how, own)| Some((own.to_owned(), self.value(key, how)?))),
        );
        keys.extend(self.hidden().map(|names| ("hide_names".to_owned(), names)));
        let mode = self.bits("file_open_mode");
        let mode = mode.map(|mode| mode & !self.bits("local_umask").unwrap_or(0o077));
        keys.extend(mode.map(|mode| ("file_mode".to_owned(), quoted(&format!("{mode:04o}")))));
        keys
    }
}

/// Why a login does not move: without rights, it would have the default ones.
const NO_RIGHTS: &str = "no right is left; if there is to be such a login, add it by hand";

fn listed(words: &[&str]) -> String {
    format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
}

/// Returns a note about each key that nothing here corresponds to.
fn missing(conf: &Vsftpd) -> impl Iterator<Item = String> {
    conf.0.iter().filter_map(|(key, value)| match rows().find(|(known, ..)| known == key) {
        None => Some(format!("{key}={value}: unknown, so it is left out")),
        Some((_, "-", why)) => Some(format!("{key}={value}: {why}")),
        Some((_, how, why)) => {
            let usual = how.strip_prefix('=')?;
            (!value.eq_ignore_ascii_case(usual)).then(|| format!("{key}={value}: {why}"))
        }
    })
}

/// The settings found so far, by table, and what has no counterpart.
#[derive(Default)]
struct Conversion {
    /// Checks each value.
    config: Config,
    tables: Vec<(String, Vec<String>)>,
    notes: Vec<String>,
}

impl Conversion {
    /// Adds a setting with a value in TOML. An invalid value becomes a note.
    fn set(&mut self, from: &str, key: &str, value: &str) {
        let Some((table, name)) = key.split_once('.') else { return };
        if let Err(wrong) = self.config.set(key, value) {
            return self.notes.push(format!("{from}: {wrong}"));
        }
        let line = format!("{name} = {value}");
        match self.tables.iter_mut().find(|(known, _)| known == table) {
            Some((_, lines)) => lines.push(line),
            None => self.tables.push((table.to_owned(), vec![line])),
        }
    }

    fn convert(&mut self, conf: &Vsftpd, accounts: &LocalUsers) {
        self.listen(conf);
        if conf.is("ssl_enable", false) {
            self.tls(conf);
        }
        for (key, how, setting) in rows().filter(|(.., what)| !what.starts_with("user.")) {
            if let Some(value) = conf.value(key, how) {
                self.set(key, setting, &value);
            }
        }
        if let Some(low) = conf.get("pasv_min_port").filter(|port| *port != "0") {
            let ports = format!("{low}-{}", conf.get("pasv_max_port").unwrap_or("65535"));
            self.set("pasv_min_port", "passive.ports", &quoted(&ports));
        }
        if !conf.is("hide_ids", true) {
            self.set("hide_ids", "listing.show_ids", "true");
        }
        for (key, setting, value) in [
            ("delete_failed_uploads", "transfer.partial", "discard"),
            ("xferlog_enable", "log.transfers", "/var/log/ftp-cli/xferlog"),
            ("syslog_enable", "log.target", "syslog"),
        ] {
            if conf.is(key, false) {
                self.set(key, setting, &quoted(value));
            }
        }
        if conf.is("anonymous_enable", true) {
            self.anonymous(conf, accounts);
        }
        if conf.is("local_enable", false) {
            let mut local = conf.clone();
            local.0.entry("local_umask".to_owned()).or_insert_with(|| "077".to_owned());
            for (key, value) in local.keys() {
                if value == "[]" {
                    let why = "no right is left; give each user rights of their own";
                    self.notes.push(format!("local_enable: {why}"));
                    continue;
                }
                self.set("local_enable", &format!("defaults.{key}"), &value);
            }
        }
        let mut told = conf.clone();
        if conf.is("anonymous_enable", true) {
            // vsftpd's default, which is rarely in the file.
            told.0.entry("anon_world_readable_only".to_owned()).or_insert_with(|| "YES".to_owned());
        }
        self.notes.extend(missing(&told));
    }

    fn listen(&mut self, conf: &Vsftpd) {
        let port = conf.get("listen_port").unwrap_or("21");
        let (four, six) = (conf.is("listen", false), conf.is("listen_ipv6", false));
        if !four && !six {
            self.notes.push("listen: a super-server has started vsftpd; stop that".to_owned());
        }
        let address = match (conf.get("listen_address"), conf.get("listen_address6")) {
            (Some(address), _) if four => format!("{address}:{port}"),
            (_, Some(address)) if six => format!("[{address}]:{port}"),
            _ if four && !six => format!("0.0.0.0:{port}"),
            _ => format!(":{port}"),
        };
        match conf.is("implicit_ssl", false) {
            true => {
                self.set("implicit_ssl", "listen.addresses", "[]");
                self.set("implicit_ssl", "listen.implicit_tls", &listed(&[&address]));
            }
            false => self.set("listen", "listen.addresses", &listed(&[&address])),
        }
    }

    fn tls(&mut self, conf: &Vsftpd) {
        let certificate = conf.get("rsa_cert_file").unwrap_or("/usr/share/ssl/certs/vsftpd.pem");
        let key = conf.get("rsa_private_key_file").unwrap_or(certificate);
        self.set("rsa_cert_file", "tls.certificate", &quoted(certificate));
        self.set("rsa_private_key_file", "tls.key", &quoted(key));
        let has_anonymous = conf.is("anonymous_enable", true);
        for (what, setting) in [("logins", "tls.control"), ("data", "tls.data")] {
            let of_local = format!("force_local_{what}_ssl");
            let is_forced = |who: &str| conf.is(&format!("force_{who}_{what}_ssl"), who == "local");
            let required = match is_forced("local") && (!has_anonymous || is_forced("anon")) {
                true => "\"required\"",
                false => "\"optional\"",
            };
            self.set(&of_local, setting, required);
        }
        if has_anonymous && conf.is("force_local_logins_ssl", true) {
            self.set("force_local_logins_ssl", "defaults.tls", "\"required\"");
        }
        if conf.is("require_ssl_reuse", true) {
            self.set("require_ssl_reuse", "tls.session_reuse", "\"require\"");
        }
        if let Some(authority) = conf.get("ca_certs_file") {
            self.set("ca_certs_file", "tls.client_ca", &quoted(authority));
            let need = if conf.is("require_cert", false) { "required" } else { "optional" };
            self.set("require_cert", "tls.client_certificates", &quoted(need));
        }
    }

    fn anonymous(&mut self, conf: &Vsftpd, accounts: &LocalUsers) {
        let rights = conf.rights(true);
        if rights == "[]" {
            return self.notes.push(format!("anonymous_enable: {NO_RIGHTS}"));
        }
        let user = conf.get("ftp_username").unwrap_or("ftp");
        let home =
            accounts.users().find(|account| account.name == user).map(|account| account.home);
        let root = conf.get("anon_root").or(home).unwrap_or("/srv/ftp");
        self.set("anonymous_enable", "anonymous.enabled", "true");
        self.set("anon_root", "anonymous.root", &quoted(root));
        self.set("anon_upload_enable", "anonymous.rights", &rights);
        if let Some(names) = conf.hidden() {
            self.set("hide_file", "anonymous.hide_names", &names);
        }
        if conf.hides_uploads() {
            let why = "anonymous users could download what others upload; for uploads only, use \
                       anonymous.rights = \"drop-box\"; to allow both, add create";
            self.notes.push(format!("anon_upload_enable=YES: {why}"));
        }
        let umask = conf.bits("anon_umask").unwrap_or(0o077);
        let mut file_mode = conf.bits("file_open_mode").unwrap_or(0o666) & !umask;
        if conf.is("chown_uploads", false) {
            file_mode = conf.bits("chown_upload_mode").unwrap_or(0o600);
            let owner = quoted(conf.get("chown_username").unwrap_or("root"));
            self.set("chown_uploads", "anonymous.owner", &owner);
        }
        for (key, mode) in [("file_mode", file_mode), ("directory_mode", 0o777 & !(umask & 0o077))]
        {
            self.set("anon_umask", &format!("anonymous.{key}"), &quoted(&format!("{mode:04o}")));
        }
    }

    /// Returns the configuration, with notes as comments.
    fn text(&self, include: Option<&Path>) -> String {
        let note = |note: &String| format!("# {note}\n");
        let mut text: String = self.notes.iter().map(note).collect();
        if let Some(directory) = include {
            let pattern = directory.join("*.toml").to_string_lossy().into_owned();
            text += &format!("\ninclude = {}\n", quoted(&pattern));
        }
        for (table, lines) in &self.tables {
            text += &format!("\n[{table}]\n{}\n", lines.join("\n"));
        }
        text
    }
}

/// A line of passwd(5).
struct LocalUser<'a> {
    name: &'a str,
    id: u32,
    home: &'a str,
    shell: &'a str,
}

impl LocalUsers {
    fn read(conf: &Vsftpd) -> io::Result<Self> {
        let or_none = |path: &str| match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            read => read,
        };
        Ok(Self {
            passwd: fs::read_to_string("/etc/passwd")?,
            shadow: String::new(),
            shells: or_none("/etc/shells")?,
            ftpusers: or_none("/etc/ftpusers")?,
            userlist: match conf.is("userlist_enable", false) {
                true => fs::read_to_string(
                    conf.get("userlist_file").unwrap_or("/etc/vsftpd.user_list"),
                )?,
                false => String::new(),
            },
        })
    }

    fn users(&self) -> impl Iterator<Item = LocalUser<'_>> {
        self.passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, id, _, _, home, shell] = fields.as_slice() else { return None };
            Some(LocalUser { name, id: id.parse().ok()?, home, shell })
        })
    }

    /// Returns the users whom vsftpd lets in.
    fn logins(&self, conf: &Vsftpd) -> impl Iterator<Item = LocalUser<'_>> {
        let in_list = |list: &str, name: &str| list.lines().any(|line| line.trim() == name);
        let (lists, denies) = (conf.is("userlist_enable", false), conf.is("userlist_deny", true));
        self.users().filter(move |account| {
            let has_shell = self.shells.is_empty() || in_list(&self.shells, account.shell);
            let is_listed = in_list(&self.userlist, account.name);
            account.id != 0
                && (!lists || is_listed != denies)
                && has_shell
                && !in_list(&self.ftpusers, account.name)
        })
    }

    fn hash(&self, name: &str) -> Option<&str> {
        self.shadow_field(name, 1)
    }

    /// Returns the day on which an account expires, at which PAM refuses it.
    fn expiry(&self, name: &str) -> Option<&str> {
        self.shadow_field(name, 7).filter(|day| !day.is_empty())
    }

    fn shadow_field(&self, name: &str, number: usize) -> Option<&str> {
        let mut lines = self.shadow.lines().map(|line| line.split(':'));
        lines.find(|fields| fields.clone().next() == Some(name))?.nth(number)
    }
}

/// Prints the configuration, and writes the users to `--users-to`.
///
/// # Errors
///
/// Returns `Local` if a file cannot be read or written.
pub(super) fn run(options: &Options, path: &Path, stdio: &mut Stdio) -> Result {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| Failure::local(shown_path(&path), &error)
    };
    let mut conf = Vsftpd::default();
    conf.read(&fs::read_to_string(path).map_err(failed(path))?);
    let mut accounts = LocalUsers::read(&conf).map_err(failed(Path::new("/etc")))?;
    let mut conversion = Conversion::default();
    conversion.convert(&conf, &accounts);
    let directory = options.value("users-to").map(std::path::absolute).transpose();
    let directory = directory.map_err(|error| Failure::usage(format!("--users-to: {error}")))?;
    if let Some(directory) = directory.as_deref().filter(|_| conf.is("local_enable", false)) {
        let shadow = Path::new("/etc/shadow");
        accounts.shadow = fs::read_to_string(shadow).map_err(failed(shadow))?;
        let made = DirBuilder::new().mode(0o750).recursive(true).create(directory);
        let like = made.and_then(|()| fs::metadata(directory)).map_err(failed(directory))?;
        for account in accounts.logins(&conf) {
            let name = account.name;
            if let Some(day) = accounts.expiry(name) {
                let why =
                    format!("expires on day {day} after 1970-01-01; add it by hand, with expires");
                conversion.notes.push(format!("user {name}: {why}"));
                continue;
            }
            let table = own_file(&conf, name).and_then(|own| {
                let notes = missing(&own).chain(of_all(&own));
                conversion.notes.extend(notes.map(|note| format!("user {name}: {note}")));
                user_table(&conf, own, &account, accounts.hash(name))
            });
            let (text, path) = match table {
                Ok(text) => (text, directory.join(format!("{name}.toml"))),
                Err(why) => {
                    conversion.notes.push(format!("user {name}: {why}"));
                    continue;
                }
            };
            if path.exists() {
                conversion.notes.push(format!("user {name}: {} exists; kept", shown_path(&path)));
                continue;
            }
            publish(&path, &text, &like).map_err(failed(&path))?;
        }
        File::open(directory).and_then(|opened| opened.sync_all()).map_err(failed(directory))?;
    } else if conf.is("local_enable", false) {
        conversion
            .notes
            .push("local_enable: add --users-to DIR, or use ftp-cli user add".to_owned());
    }
    conversion.notes.iter().for_each(|note| stdio.messages.line(note));
    output::print(&mut stdio.output, conversion.text(directory.as_deref()).as_bytes())
}

/// Returns what the user's own file in `user_config_dir` says.
fn own_file(conf: &Vsftpd, name: &str) -> Result<Vsftpd, String> {
    let mut own = Vsftpd::default();
    if let Some(directory) = conf.get("user_config_dir") {
        match fs::read_to_string(Path::new(directory).join(name)) {
            Ok(text) => own.read(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{directory}: {error}")),
        }
    }
    Ok(own)
}

/// Returns a note about each key of a user's own file that is a setting of all users here.
fn of_all(own: &Vsftpd) -> impl Iterator<Item = String> {
    let set = rows().filter(|(key, how, what)| {
        let is_own = *how == "own" || what.starts_with("user.");
        own.get(key).is_some() && !is_own && *how != "-" && !how.starts_with('=')
    });
    set.map(|(key, ..)| format!("{key}: only all users can have this"))
}

/// Returns the file of a local user, with the keys that the user's `own` file changes.
fn user_table(
    conf: &Vsftpd,
    own: Vsftpd,
    account: &LocalUser<'_>,
    hash: Option<&str>,
) -> Result<String, String> {
    let hash = hash.ok_or("has no line in /etc/shadow")?;
    let hash: PasswordHash =
        hash.parse().map_err(|error| format!("{error}; make one with `ftp-cli passwd`"))?;
    let mut all = conf.clone();
    all.0.extend(own.0);
    if all.rights(false) == "[]" {
        return Err(NO_RIGHTS.to_owned());
    }
    let of_all = conf.keys();
    let mut keys: Vec<_> = all.keys().into_iter().filter(|key| !of_all.contains(key)).collect();
    if all.get("local_root").is_none() {
        let home = account.home.split("/./").next().unwrap_or(account.home);
        keys.push(("root".to_owned(), quoted(home)));
    }
    Config::table_of_user(account.name, &hash, &keys).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(text: &str, users: &LocalUsers) -> Conversion {
        let (mut conf, mut conversion) = (Vsftpd::default(), Conversion::default());
        conf.read(text);
        conversion.convert(&conf, users);
        conversion
    }

    #[test]
    fn each_key_with_a_setting_sets_it() {
        for (key, how, setting) in rows().filter(|(_, how, _)| how.len() > 3 && *how != "covered") {
            let value = match how {
                "text" if key == "pasv_address" => "192.0.2.1",
                "text" => "Hello",
                "switch" => "YES",
                "mask" => "027",
                how if how.starts_with('=') => continue,
                _ => "60",
            };
            let conversion = converted(
                &format!(
                    "listen=YES\nlocal_enable=YES\nanon_world_readable_only=NO\n{key}={value}\n"
                ),
                &LocalUsers::default(),
            );
            assert_eq!(conversion.notes, [""; 0], "{key}");
            let table = setting.split('.').next().unwrap().replace("user", "defaults");
            let text = conversion.text(None);
            assert!(text.contains(&format!("[{table}]")), "{key}: {text}");
            let name = setting.split('.').nth(1).unwrap();
            assert!(text.contains(&format!("\n{name} = ")), "{key}: {text}");
            Config::from_toml(&text).unwrap();
        }
        let known: Vec<_> = rows().collect();
        assert!(
            known.len() > 120
                && known.is_sorted()
                && known.iter().all(|(_, how, why)| *how == "covered" || !why.is_empty())
        );
    }

    #[test]
    fn anonymous_users_keep_their_rights_and_modes() {
        let passwd = "ftp:x:104:111::/srv/pub:/usr/sbin/nologin\n".to_owned();
        let users = LocalUsers { passwd, ..LocalUsers::default() };
        let text = converted("listen=YES\n", &users).text(None);
        assert!(text.contains("root = \"/srv/pub\"\nrights = [\"list\", \"read\"]\n"), "{text}");
        assert!(text.contains("file_mode = \"0600\"\ndirectory_mode = \"0700\"\n"), "{text}");
        // What anonymous users upload stays hidden from the others, as it is by default. A mask
        // without a 0 before it is decimal.
        let more = "listen=YES\nwrite_enable=YES\nanon_upload_enable=YES\nanon_umask=63\n";
        let text = converted(more, &users).text(None);
        assert!(text.contains("# anon_upload_enable=YES: ") && !text.contains("\"create\""));
        assert!(text.contains("file_mode = \"0600\"\ndirectory_mode = \"0700\"\n"), "{text}");
        let more =
            "listen=YES\nwrite_enable=YES\nanon_upload_enable=YES\nanon_other_write_enable=YES\n";
        let text = converted(more, &users).text(None);
        assert!(text.contains("rights = [\"list\", \"read\", \"delete\", \"rename\"]"), "{text}");
        assert!(text.contains("# anon_world_readable_only=YES: "), "{text}");
        let more = "listen=YES\nwrite_enable=YES\nanon_upload_enable=YES\nanon_umask=022\nssl_enable=YES\n\
                    anon_world_readable_only=NO\n";
        let text = converted(more, &users).text(None);
        assert!(text.contains("rights = [\"list\", \"read\", \"create\"]"), "{text}");
        assert!(
            text.contains("file_mode = \"0644\"") && text.contains("control = \"optional\""),
            "{text}"
        );
        // Nobody executes what is uploaded, but the owner must be able to enter directories.
        let text = converted("listen=YES\nlocal_enable=YES\nlocal_umask=0133\n", &users).text(None);
        assert!(text.contains("umask = \"033\""), "{text}");
    }

    #[test]
    fn only_users_whom_vsftpd_lets_in_move_with_their_hashes() {
        let users = LocalUsers {
            passwd: "root:x:0:0::/root:/bin/sh\nanna:x:1000:1::/home/anna:/bin/sh\nbob:x:1001:1::/home/bob/./ftp:/bin/sh\n\
                     noshell:x:1002:1::/:/bin/none\nbanned:x:1003:1::/:/bin/sh\n"
                .to_owned(),
            shadow: "anna:$6$saltsalt$bad:1::::::\nbob:!:1::::::\n".to_owned(),
            shells: "/bin/sh\n".to_owned(),
            ftpusers: "banned\n".to_owned(),
            userlist: "anna\nroot\n".to_owned(),
        };
        let names = |text: &str| {
            let mut conf = Vsftpd::default();
            conf.read(text);
            users.logins(&conf).map(|user| user.name.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["anna", "bob"]);
        assert_eq!(names("userlist_enable=YES\n"), ["bob"]);
        assert_eq!(names("userlist_enable=YES\nuserlist_deny=NO\n"), ["anna"]);
        let conf = Vsftpd::default();
        let all: Vec<_> = users.users().collect();
        assert_eq!(
            user_table(&conf, Vsftpd::default(), &all[2], users.hash("bob")).unwrap(),
            "[users.bob]\npassword = \"!\"\nroot = \"/home/bob\"\n"
        );
        assert!(
            user_table(&conf, Vsftpd::default(), &all[1], users.hash("anna"))
                .unwrap_err()
                .contains("malformed")
        );
        assert!(user_table(&conf, Vsftpd::default(), &all[1], None).is_err());
    }

    #[test]
    fn what_a_users_own_file_forbids_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let text = "cmds_denied=DELE\nidle_session_timeout=9\nlocal_max_rate=5\nfile_open_mode=0640\n\
             force_local_data_ssl=YES\nwrite_enable=YES\n";
        fs::write(directory.path().join("bob"), text).unwrap();
        let mut conf = Vsftpd::default();
        conf.read(&format!("user_config_dir={}\n", directory.path().display()));
        let own = own_file(&conf, "bob").unwrap();
        let notes: Vec<_> = missing(&own).chain(of_all(&own)).collect();
        assert!(notes[0].starts_with("cmds_denied=DELE: "), "{notes:?}");
        let why = "only all users can have this";
        let of_all = ["force_local_data_ssl", "idle_session_timeout"];
        assert_eq!(notes[1..], of_all.map(|key| format!("{key}: {why}")));
        let bob = LocalUser { name: "bob", id: 1, home: "/b", shell: "" };
        let table = user_table(&conf, own, &bob, Some("!")).unwrap();
        assert!(table.contains("rights = [\"list\"]\nrate_per_session = \"5/s\"\n"), "{table}");
        assert!(table.contains("file_mode = \"0600\"\n"), "{table}");
        assert!(own_file(&conf, "anna").unwrap().0.is_empty());
        for text in [
            "cmds_denied=NLST,LIST\n",
            "cmds_allowed=STOR\n",
            "dirlist_enable=NO\ncmds_denied=DELE\n",
        ] {
            let mut conf = Vsftpd::default();
            conf.read(&format!("write_enable=YES\n{text}"));
            let table = user_table(&conf, Vsftpd::default(), &bob, Some("!"));
            assert_eq!(table.unwrap_err(), NO_RIGHTS, "{text}");
            let text = converted(text, &LocalUsers::default()).text(None);
            assert!(
                !text.contains("[anonymous]") && text.contains("# anonymous_enable: "),
                "{text}"
            );
        }
    }
}
