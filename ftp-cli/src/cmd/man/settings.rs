//! server.toml(5), generated from the tables of settings.

use std::fmt::Write;

use super::roff::{escaped, item, lines, paragraphs, section, title};
use ftp_server::daemon::{ABOUT, SettingHelp, settings};

/// A configuration to start from.
const EXAMPLE: &str = "\
[listen]
addresses = [\":21\"]

[passive]
ports = \"30000-30099\"

[users.cam1]
password = \"$argon2id$v=19$...\"
root = \"/srv/cams/cam1\"
rights = \"drop-box\"
";

pub(super) fn page() -> String {
    let mut text = title("SERVER.TOML", 5, "File Formats");
    section(&mut text, "NAME");
    text.push_str("server.toml \\- configuration of ftp\\-cli serve\n");
    section(&mut text, "SYNOPSIS");
    text.push_str("\\fBftp\\-cli serve \\-\\-config /etc/ftp\\-cli/server.toml\\fR\n");
    section(&mut text, "DESCRIPTION");
    paragraphs(
        &mut text,
        "The file is in TOML format. Each key below is shown with its default. A file needs only the \
         keys that it changes.",
    );
    paragraphs(&mut text, ABOUT);
    let settings = settings();
    let of = |text: &mut String, table: &str| {
        let settings = settings.iter().filter(|setting| setting.table == table);
        settings.for_each(|setting| key(text, setting));
    };
    for table in tables(&settings) {
        section(&mut text, &format!("[{}]", table.to_uppercase()));
        of(&mut text, table);
    }
    section(&mut text, "[USERS.NAME]");
    paragraphs(
        &mut text,
        "One table per user. The keys password and root are required, unless [defaults] or a group \
         has them.\n\n\
         [defaults] applies to all users, and [groups.NAME] to the users of a group. Both can have \
         any key except groups. If several tables have the same key, the user's own table wins, \
         then the last of the user's groups that has the key, then [defaults].",
    );
    of(&mut text, "users.NAME");
    section(&mut text, "[HOSTS.\"NAME\"]");
    paragraphs(
        &mut text,
        "One table per virtual host, such as [hosts.\"ftp.example.org\"]. Clients choose one with \
         HOST, or by the name in their TLS handshake.",
    );
    of(&mut text, "hosts.NAME");
    section(&mut text, "[STORES.NAME]");
    paragraphs(
        &mut text,
        "One table per object store, for builds with the feature s3. The keys endpoint and bucket \
         are required. A root such as \"store:main/cam1\" means the objects of [stores.main] whose \
         keys begin with cam1/. If the bucket is called files, and no other store has it, \
         \"s3://files/cam1\" means the same.",
    );
    of(&mut text, "stores.NAME");
    section(&mut text, "FILES");
    item(
        &mut text,
        "/etc/ftp-cli/server.toml",
        "The configuration file of the systemd service ftp-cli.",
    );
    section(&mut text, "EXAMPLES");
    let _ = write!(
        text,
        ".PP\nA user for a camera that can only add files:\n.PP\n.nf\n{}.fi\n",
        lines(EXAMPLE)
    );
    section(&mut text, "SEE ALSO");
    text.push_str("ftp\\-cli(1)\n");
    text
}

/// Returns the name of each table once, in order, without those that have a name of their own.
fn tables(settings: &[SettingHelp]) -> Vec<&'static str> {
    let mut tables: Vec<&str> = Vec::new();
    for setting in settings.iter().filter(|setting| !setting.table.ends_with(".NAME")) {
        if !tables.contains(&setting.table) {
            tables.push(setting.table);
        }
    }
    tables
}

/// Writes a key with its default and its meaning.
fn key(text: &mut String, setting: &SettingHelp) {
    let default = escaped(&setting.literal);
    let _ = writeln!(text, ".TP\n\\fB{}\\fR = {default}", escaped(setting.key));
    let _ = write!(text, "{}", lines(&setting.meaning));
    if setting.needs_restart {
        text.push_str("Changes take effect after a restart.\n");
    }
}

#[test]
fn each_key_is_in_the_man_page() {
    let page = page();
    for setting in settings() {
        let title = match setting.table {
            "hosts.NAME" => "HOSTS.\"NAME\"".to_owned(),
            table => table.to_uppercase(),
        };
        let table = page.split(&format!("\n.SH {}\n", escaped(&format!("[{title}]")))).nth(1);
        let keys = table.unwrap_or_else(|| panic!("{title}")).split("\n.SH ").next().unwrap();
        let key = format!("\n\\fB{}\\fR = ", escaped(setting.key));
        assert_eq!(format!("\n{keys}").matches(&key).count(), 1, "{title} {}", setting.key);
        assert!(keys.contains(lines(&setting.meaning).trim_end()), "{title} {}", setting.key);
    }
}
