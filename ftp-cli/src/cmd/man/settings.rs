//! server.toml(5), generated from the tables of settings.

use std::fmt::Write;

use super::roff::{escaped, item, lines, paragraphs, section, title};
use crate::cmd::serve::settings::{
    ABOUT, FIXED, HOST, Host, STORE, Setting, Settings, StoreSettings, TABLE, USER, User,
};

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
    let defaults = Settings::default();
    for table in tables() {
        section(&mut text, &format!("[{}]", table.to_uppercase()));
        for row in TABLE.iter().filter(|row| row.table() == table) {
            key(&mut text, row, &defaults);
        }
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
    for row in USER {
        key(&mut text, row, &User::default());
    }
    section(&mut text, "[HOSTS.\"NAME\"]");
    paragraphs(
        &mut text,
        "One table per virtual host, such as [hosts.\"ftp.example.org\"]. Clients choose one with \
         HOST, or by the name in their TLS handshake.",
    );
    for row in HOST {
        key(&mut text, row, &Host::default());
    }
    section(&mut text, "[STORES.NAME]");
    paragraphs(
        &mut text,
        "One table per object store, for builds with the feature s3. The keys endpoint and bucket \
         are required. A root such as \"store:main/cam1\" means the objects of [stores.main] whose \
         keys begin with cam1/. If the bucket is called files, and no other store has it, \
         \"s3://files/cam1\" means the same.",
    );
    for row in STORE {
        key(&mut text, row, &StoreSettings::default());
    }
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

/// Returns the name of each table once, in order.
fn tables() -> Vec<&'static str> {
    let mut tables: Vec<&str> = Vec::new();
    for table in TABLE.iter().map(Setting::table) {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables
}

/// Writes a key with its default and its meaning.
fn key<T>(text: &mut String, row: &Setting<T>, defaults: &T) {
    let key = row.key.strip_prefix(row.table()).unwrap_or(row.key).trim_start_matches('.');
    let _ = writeln!(text, ".TP\n\\fB{}\\fR = {}", escaped(key), escaped(&row.literal(defaults)));
    let _ = write!(text, "{}", lines(&row.meaning()));
    if FIXED.contains(&row.key) {
        text.push_str("Changes take effect after a restart.\n");
    }
}

#[test]
fn each_key_is_in_the_man_page() {
    let page = page();
    for row in TABLE {
        let (table, key) = row.key.split_once('.').unwrap();
        let table = page.split(&format!("\n.SH [{}]\n", table.to_uppercase())).nth(1).unwrap();
        let keys = table.split("\n.SH ").next().unwrap();
        let key = format!("\n\\fB{}\\fR = ", escaped(key));
        assert_eq!(format!("\n{keys}").matches(&key).count(), 1, "{}", row.key);
        assert!(keys.contains(lines(&row.meaning()).trim_end()), "{}", row.key);
    }
    let hosts = page.split("\n.SH [HOSTS.").nth(1).unwrap();
    for row in HOST {
        assert!(hosts.contains(&format!("\n\\fB{}\\fR = ", escaped(row.key))), "{}", row.key);
    }
    let stores = page.split("\n.SH [STORES.").nth(1).unwrap();
    for row in STORE {
        assert!(stores.contains(&format!("\n\\fB{}\\fR = ", escaped(row.key))), "{}", row.key);
    }
    for row in USER {
        assert!(page.contains(&format!("\n\\fB{}\\fR = ", escaped(row.key))), "{}", row.key);
    }
}
