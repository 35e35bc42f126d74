//! Generates `dist/server.toml`, which lists every key with its default.

use std::fmt::Write;

use super::super::{
    Config, ConfigReading, Fields, File, HOST, Host, STORE, Setting, Settings, StoreSettings,
    TABLE, USER, User,
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/server.toml");

const HEAD: &str =
    "Configuration of ftp-cli serve --config server.toml: every key with its default.";

const USERS: &str = "
# [defaults] applies to all users, and [groups.NAME] to the users of a group. Both can have any key
# of [users.NAME] except groups. If several tables have the same key, the user's own table wins,
# then the last of the user's groups that has the key, then [defaults].
#[defaults]
#rights = \"read\"

#[groups.cameras]
#rights = \"drop-box\"

# One table per user. This user is called cam1.
#[users.cam1]
";

const OF_HOST: &str = "
# One table per virtual host. Clients choose one with HOST, or by the name in their TLS handshake.
#[hosts.\"ftp.example.org\"]
";

const OF_STORE: &str = "
# One table per object store, for builds with the feature s3. A root such as \"store:main/cam1\"
# means the objects of this store whose keys begin with cam1/. If only this store has the bucket
# files, \"s3://files/cam1\" means the same.
#[stores.main]
";

/// Example values for keys without a default.
const OF_USERS: &[(&str, &str)] =
    &[("password", "\"$6$saltsalt$HASH\""), ("root", "\"/srv/cams/cam1\"")];
const OF_HOSTS: &[(&str, &str)] = &[("users", "[\"cam1\"]")];
const OF_STORES: &[(&str, &str)] =
    &[("endpoint", "\"https://s3.example.org\""), ("bucket", "\"files\"")];

/// Returns the file, generated from the tables.
pub(in crate::daemon::config) fn sample() -> String {
    let mut text = comment(&format!("{HEAD}\n\n{}", Config::ABOUT));
    let settings = Settings::default();
    let mut tables: Vec<&str> = Vec::new();
    for table in TABLE.iter().map(Setting::table) {
        if tables.contains(&table) {
            continue;
        }
        tables.push(table);
        let _ = write!(text, "\n[{table}]\n");
        for row in TABLE.iter().filter(|row| row.table() == table) {
            let _ = writeln!(
                text,
                "{}{} = {}",
                comment(&row.meaning()),
                row.name(),
                (row.show)(&settings)
            );
        }
    }
    text.push_str(USERS);
    list(&mut text, USER, &User::default(), OF_USERS);
    text.push_str(OF_HOST);
    list(&mut text, HOST, &Host::default(), OF_HOSTS);
    text.push_str(OF_STORE);
    list(&mut text, STORE, &StoreSettings::default(), OF_STORES);
    text
}

/// Adds a comment for each key, with an example or its default.
fn list<T>(text: &mut String, rows: &[Setting<T>], defaults: &T, examples: &[(&str, &str)]) {
    for row in rows {
        let example = examples.iter().find(|(key, _)| *key == row.key);
        let default = || (row.show)(defaults).to_string();
        let value = example.map_or_else(default, |(_, value)| (*value).to_owned());
        let _ = writeln!(text, "{}#{} = {value}", comment(&row.meaning()), row.key);
    }
}

/// Checks that the sample has every key, with its default unless there is an example.
fn check<T: Fields>(rows: &[Setting<T>], found: &T, defaults: &T, examples: &[(&str, &str)]) {
    for row in rows {
        assert_ne!(
            found.origins().of(row.key),
            "default",
            "{} is missing from the sample",
            row.key
        );
        if !examples.iter().any(|(key, _)| *key == row.key) {
            assert_eq!((row.show)(found), (row.show)(defaults), "{}", row.key);
        }
    }
}

fn comment(lines: &str) -> String {
    let mark = |line: &str| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") };
    lines.lines().map(mark).collect()
}

#[test]
fn the_sample_configuration_is_up_to_date() {
    if std::env::var_os("FTP_WRITE_DOCS").is_some() {
        // Replaces the file in one step, because other tests may be reading it.
        let new = format!("{PATH}.new");
        std::fs::write(&new, sample()).unwrap();
        std::fs::rename(new, PATH).unwrap();
    }
    let found = std::fs::read_to_string(PATH).unwrap();
    assert_eq!(
        found,
        sample(),
        "to update dist/server.toml, run: FTP_WRITE_DOCS=1 cargo test -p ftp-server --features daemon --lib sample"
    );
}

#[test]
fn the_sample_names_every_key_with_its_default() {
    let file = File::open(PATH.as_ref(), ConfigReading::First).unwrap();
    let mut settings = Settings::default();
    file.apply(&mut settings).unwrap();
    for row in TABLE {
        assert_eq!((row.show)(&settings), (row.show)(&Settings::default()), "{}", row.key);
        assert!(
            settings.origins.of(row.key).starts_with(PATH),
            "{} is missing from the sample",
            row.key
        );
    }
    assert!(settings.users.is_empty());
}

#[test]
fn the_user_of_the_sample_has_every_key_with_its_default() {
    // A line with a key begins with `#` and the key; a blank after the `#` begins an explanation.
    let is_key = |rest: &str| rest.starts_with(|char: char| char == '[' || char.is_alphabetic());
    let line = |line: &str| line.strip_prefix('#').filter(|rest| is_key(rest)).map(str::to_owned);
    let found = std::fs::read_to_string(PATH).unwrap();
    let text: Vec<String> =
        found.lines().map(|text| line(text).unwrap_or_else(|| text.to_owned())).collect();
    let hash = crate::PasswordHash::new(b"secret").unwrap().to_string();
    let text = text.join("\n").replace("$6$saltsalt$HASH", &hash);
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), text).unwrap();
    let mut settings = Settings::default();
    let file = File::open(path.path().as_ref(), ConfigReading::First).unwrap();
    file.apply(&mut settings).unwrap();
    let (name, host) = settings.hosts.iter().next().unwrap();
    assert_eq!(name.to_string(), "ftp.example.org");
    check(HOST, host, &Host::default(), OF_HOSTS);
    let (_, store) = settings.stores.iter().find(|(name, _)| *name == "main").unwrap();
    check(STORE, store, &StoreSettings::default(), OF_STORES);
    let (_, user) = settings.users.iter().find(|(name, _)| *name == "cam1").unwrap();
    check(USER, user, &User::default(), OF_USERS);
}
