//! The values that keys accept, and how they are shown.

pub(super) mod sample;

use std::collections::BTreeSet;

use super::forms::Kind;
use super::row::{Origin, SetOption};
use super::*;

#[test]
fn every_setting_parses_the_value_it_shows() {
    for setting in TABLE {
        let mut settings = Settings::default();
        let shown = (setting.show)(&settings);
        for value in [shown.to_string(), shown.bare()] {
            settings.assign(&format!("{}={value}", setting.key)).unwrap();
            assert_eq!((setting.show)(&settings), shown, "{}", setting.key);
        }
        assert!(!setting.help.is_empty() && setting.key.contains('.'), "{}", setting.key);
    }
}

#[test]
fn the_explanation_names_the_settings_that_need_a_restart() {
    let is_fixed = |row: &&Setting<Settings>| row.fixed.is_some();
    let is_whole =
        |table: &str| TABLE.iter().filter(|row| row.table() == table).all(|row| is_fixed(&row));
    let word = |row: &Setting<Settings>| match is_whole(row.table()) {
        true => format!("[{}]", row.table()),
        false => row.key.to_owned(),
    };
    let want: BTreeSet<String> = TABLE.iter().filter(is_fixed).map(word).collect();
    let (_, rest) = Config::ABOUT.split_once("Changes to ").unwrap();
    let (named, _) = rest.split_once(" need a restart").unwrap();
    let words = named.split([',', ' ', '\n']).filter(|word| !matches!(*word, "" | "and"));
    assert_eq!(words.map(str::to_owned).collect::<BTreeSet<_>>(), want);
}

#[test]
fn quoted_values_are_accepted_as_shown() {
    for (assignment, banner) in [
        ("server.banner=Hello there", "Hello there"),
        ("server.banner=\"Hello there\"", "Hello there"),
        ("server.banner=\" indented \"", " indented "),
        ("server.banner=\"\"a\" and \"b\"\"", "\"a\" and \"b\""),
        ("server.banner=\"", "\""),
        ("server.banner=\"half", "\"half"),
        ("server.banner=\"\"", ""),
    ] {
        let mut settings = Settings::default();
        settings.assign(assignment).unwrap();
        assert_eq!(settings.server.banner, banner, "{assignment}");
        let shown = TABLE.iter().find(|setting| setting.key == "server.banner").unwrap();
        settings.set("server.banner", &(shown.show)(&settings).to_string(), "--set").unwrap();
        assert_eq!(settings.server.banner, banner, "{assignment}");
    }
    let mut settings = Settings::default();
    settings.assign("hosts.names=\"a.example, b.example\"").unwrap();
    assert_eq!(settings.host_names.len(), 2);
    settings.assign("hosts.names=\"\"").unwrap();
    assert_eq!(settings.host_names, []);
}

/// Values of `--set`, and the same values in TOML.
const VALUES: &[(&str, &str)] = &[
    ("timeouts.idle=5 min", "\"5 min\""),
    (" timeouts.stall = 90s ", "\"90 s\""),
    ("timeouts.shutdown_grace=0", "\"0 s\""),
    ("limits.sessions=10", "10"),
    ("limits.per_address=0", "0"),
    ("limits.login_failures=1", "1"),
    ("hosts.names=A.example, [2001:db8::1]", "[\"a.example\", \"[2001:db8::1]\"]"),
    ("limits.per_user=2", "2"),
    ("limits.login_delay=0", "\"0 s\""),
    ("limits.ban_after=5", "5"),
    ("limits.ban_window=1 h", "\"1 h\""),
    ("limits.ban_for=0", "\"0 s\""),
    ("network.allow=192.0.2.0/24, 2001:db8::/32", "[\"192.0.2.0/24\", \"2001:db8::/32\"]"),
    ("network.deny=192.0.2.1", "[\"192.0.2.1/32\"]"),
    ("network.proxy_protocol=192.0.2.1, ::1", "[\"192.0.2.1/32\", \"::1/128\"]"),
    ("limits.min_free=1 GiB", "\"1 GiB\""),
    ("passive.enabled=false", "false"),
    ("passive.ports=50000-50099, 51000", "\"50000-50099,51000\""),
    ("passive.address=192.0.2.1", "\"192.0.2.1\""),
    ("passive.address=ftp.example.org", "\"ftp.example.org\""),
    (
        "passive.overrides=[{ clients = ['10.0.0.0/8', '192.168.0.0/16'], address = '10.0.0.5' }, { clients = ['127.0.0.1'], address = 'localhost' }]",
        "[{ clients = [\"10.0.0.0/8\", \"192.168.0.0/16\"], address = \"10.0.0.5\" }, { clients = [\"127.0.0.1/32\"], address = \"localhost\" }]",
    ),
    ("active.enabled=false", "false"),
    ("active.source_port=true", "true"),
    ("fxp.networks=192.0.2.0/24, 2001:db8::/32", "[\"192.0.2.0/24\", \"2001:db8::/32\"]"),
    ("transfer.overwrite=false", "false"),
    ("transfer.rate_per_session=30 MiB/s", "\"30 MiB/s\""),
    ("transfer.rate_per_user=1000", "\"1000/s\""),
    ("transfer.rate_per_user=0", "\"0\""),
    ("transfer.sync=none", "\"none\""),
    ("security.run_as=nobody", "\"nobody\""),
    ("security.run_as=1:2", "\"1:2\""),
    ("security.confine=require", "\"require\""),
    ("listing.show_ids=true", "true"),
    ("security.deny_names=*.EXE, .ht*", "[\"*.EXE\", \".ht*\"]"),
    ("security.deny_names=[\" *.a,b \", '.ht*']", "[\"*.a,b\", \".ht*\"]"),
    ("compatibility.dash_password=true", "true"),
    ("security.strict_crlf=true", "true"),
    ("log.format=json", "\"json\""),
    ("log.transfers=/var/log/x y", "\"/var/log/x y\""),
    ("limits.buffers=1 MiB", "\"1 MiB\""),
    ("transfer.partial=discard", "\"discard\""),
    ("transfer.umask=77", "\"077\""),
    ("server.banner=a = b", "\"a = b\""),
    ("listen.addresses=:2121, 127.0.0.1:21", "[\":2121\", \"127.0.0.1:21\"]"),
    ("listen.addresses=", "[]"),
    ("listen.freebind=true", "true"),
    ("listen.implicit_tls=:990,[::1]:991", "[\":990\", \"[::1]:991\"]"),
    ("tls.certificate=/etc/ftp/cert.pem", "\"/etc/ftp/cert.pem\""),
    ("tls.key=/etc/ftp/key.pem", "\"/etc/ftp/key.pem\""),
    ("tls.self_signed=true", "true"),
    ("timeouts.tls_handshake=3", "\"3 s\""),
    ("tls.control=required", "\"required\""),
    ("tls.data=off", "\"off\""),
    ("tls.session_reuse=require", "\"require\""),
    ("tls.allow_missing_close_notify=true", "true"),
    ("tls.min_version=1.3", "\"1.3\""),
    ("tls.client_ca=/etc/ftp/ca.pem", "\"/etc/ftp/ca.pem\""),
    ("tls.client_certificates=required", "\"required\""),
    ("tls.cert_user=true", "true"),
    ("tls.exempt=10.0.0.0/8,127.0.0.1", "[\"10.0.0.0/8\", \"127.0.0.1/32\"]"),
    ("tls.auth_ssl_alias=true", "true"),
    ("tls.sscn_ca=/etc/ftp/ca.pem", "\"/etc/ftp/ca.pem\""),
    (
        "tls.sscn_pins=sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "[\"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]",
    ),
    ("tls.sscn_any=true", "true"),
    ("anonymous.enabled=true", "true"),
    ("anonymous.root=/srv/a b", "\"/srv/a b\""),
    ("anonymous.rights=list,write , mkdir", "[\"list\", \"write\", \"mkdir\"]"),
    ("anonymous.rights=drop-box", "\"drop-box\""),
    ("anonymous.rights=[read]", "[\"read\"]"),
    ("anonymous.owner=nobody", "\"nobody\""),
    ("anonymous.group=34", "\"34\""),
    ("anonymous.file_mode=660", "\"0660\""),
    ("anonymous.directory_mode=0770", "\"0770\""),
    ("anonymous.per_user=5", "5"),
    ("hooks.stored=[\"/bin/a\", 'b, \"c\" $(d)']", "[\"/bin/a\", \"b, \\\"c\\\" $(d)\"]"),
    ("hooks.check=[\"/bin/a\", \"-\"]", "[\"/bin/a\", \"-\"]"),
    ("hooks.check_timeout=5", "\"5 s\""),
    ("hooks.check_workers=1", "1"),
    ("hooks.timeout=5 min", "\"5 min\""),
    ("hooks.program=/usr/local/bin/x y", "\"/usr/local/bin/x y\""),
    ("hooks.events=stored, login-failed", "[\"stored\", \"login-failed\"]"),
    ("hooks.processes=64", "64"),
    ("hooks.retries=0", "0"),
    ("hooks.retry_delay=100 ms", "\"100 ms\""),
    ("hooks.dead_letters=/var/lib/x", "\"/var/lib/x\""),
    ("hooks.spool=/var/lib/y", "\"/var/lib/y\""),
    ("anonymous.rate_per_session=0", "\"0\""),
    ("anonymous.rate_per_user=1 MiB/s", "\"1 MiB/s\""),
    ("tls.watch=0", "\"0 s\""),
    ("timeouts.login=5", "\"5 s\""),
    ("timeouts.data_connect=5", "\"5 s\""),
    ("transfer.partial_files=0", "0"),
    ("transfer.partial_bytes=0", "\"0\""),
    ("transfer.partial_age=1 h", "\"1 h\""),
    ("transfer.block_mode=false", "false"),
    ("transfer.compression=true", "true"),
    ("security.deny_hardlinks=true", "true"),
    ("log.target=file:/var/log/\u{e9}, x", "\"file:/var/log/\u{e9}, x\""),
    ("control.socket=/run/x", "\"/run/x\""),
    ("control.group=1", "\"1\""),
    ("control.mode=600", "\"0600\""),
    ("metrics.listen=unix:/run/x;y", "\"unix:/run/x;y\""),
    ("auth.program=/usr/bin/a, b", "\"/usr/bin/a, b\""),
    ("auth.program=[\"/a\", \"b,c\"]", "[\"/a\", \"b,c\"]"),
    ("auth.cache=0", "\"0 s\""),
    ("auth.timeout=1", "\"1 s\""),
    ("auth.workers=1", "1"),
    ("ledger.url=redis://u@h", "\"redis://u@h\""),
    ("ledger.password_file=/p", "\"/p\""),
    ("ledger.ca_file=/c", "\"/c\""),
    ("ledger.on_failure=allow", "\"allow\""),
    ("ledger.lease=5", "\"5 s\""),
    ("anonymous.hide_names=*.tmp", "[\"*.tmp\"]"),
    ("anonymous.quota=1 MiB", "\"1 MiB\""),
    ("anonymous.max_files=1", "1"),
];

#[test]
fn set_changes_the_named_setting() {
    for (assignment, want) in VALUES {
        let (default, mut settings) = (Settings::default(), Settings::default());
        settings.assign(assignment).unwrap();
        let key = assignment.split('=').next().unwrap().trim();
        for setting in TABLE {
            let shown = (setting.show)(&settings);
            if setting.key == key {
                assert_eq!(shown.to_string(), *want, "{assignment}");
            } else {
                assert_eq!(shown, (setting.show)(&default), "{} by {key}", setting.key);
            }
        }
    }
}

#[test]
fn a_stray_key_is_followed_by_the_table_that_has_it() {
    let text = "[users.a]\nbanner = 1\nper_address = 1\nquoat = 1\n[transfer]\nroot = 1\n";
    let wrong = Config::from_toml(text).unwrap_err();
    let wants = [
        "users.a.banner: unknown key; did you mean server.banner?",
        "users.a.per_address: unknown key; did you mean limits.per_address?",
        "users.a.quoat: unknown key; did you mean quota?",
        "transfer.root: unknown key; root belongs into [users.NAME], [groups.NAME] or [defaults]",
    ];
    for want in wants {
        assert!(wrong.lines().iter().any(|line| line.ends_with(want)), "{want}: {wrong:?}");
    }
}

#[test]
fn set_refuses_invalid_settings() {
    for (assignment, want) in [
        ("limits.session=1", "did you mean limits.sessions?"),
        ("idle=1", "did you mean timeouts.idle?"),
        ("listen.address=1", "did you mean listen.addresses?"),
        ("transfer.owner=x", "owner belongs into [users.NAME], [groups.NAME] or [defaults]"),
        ("timeout.idle=1", "did you mean timeouts.idle?"),
        ("colour=red", "run ftp-cli help serve to list the settings"),
        ("timeouts.idle=0", "greater than 0"),
        ("timeouts.idle=soon", "invalid time"),
        ("timeouts.idle=9s", "at least 10 s"),
        ("timeouts.idle=25 h", "at most 24 h"),
        ("passive.ports=5000-4000", "\"5000-4000\": first port above the last"),
        ("users.a.pasword=x", "unknown setting users.NAME.pasword; did you mean password?"),
        ("users.a.colour=x", "expected groups, password, root, create_home"),
        ("defaults.groups=x", "defaults.groups: only users have groups"),
        ("groups.a.groups=x", "groups.a.groups: only users have groups"),
        ("defaults.quota=much", "defaults.quota: invalid size"),
        ("groups.a b.quota=1", "groups.\"a b\": invalid group name"),
        ("groups.a.quotas=1", "unknown setting groups.NAME.quotas; did you mean quota?"),
        ("hosts.a.banners=1", "unknown setting hosts.NAME.banners; did you mean banner?"),
        ("users.a.password=geheim", "users.a.password: not a password hash"),
        ("users.a b.root=srv", "users.\"a b\".root: invalid path \"srv\""),
        ("users..root=/srv", "users.\"\": invalid user name"),
        ("passive.ports=5000, 70000", "invalid port range \"70000\""),
        ("passive.address=2001:db8::1", "expected an IPv4 address"),
        ("passive.overrides=10.0.0.5", "expected [{ clients = "),
        ("passive.overrides=[{ clients = ['x'], address = '10.0.0.5' }]", "invalid network"),
        ("fxp.networks=all", "invalid network"),
        ("limits.sessions=-1", "invalid number"),
        ("limits.sessions=many", "invalid number"),
        ("limits.login_failures=0", "expected 1 to"),
        ("transfer.rate_per_user=fast", "invalid rate"),
        ("transfer.rate_per_user=3 MiB/h", "invalid rate"),
        ("limits.ban_after=1001", "expected 0 to 1000"),
        ("limits.ban_window=0", "greater than 0"),
        ("network.deny=all", "invalid network"),
        ("network.proxy_protocol=haproxy", "invalid network"),
        ("hosts.names=a.example:21", "invalid host name"),
        ("limits.min_free=much", "invalid size"),
        ("active.enabled=maybe", "expected true, false"),
        ("security.run_as=nobody at all", "unknown user"),
        ("security.run_as=nobody:at all", "unknown group"),
        ("security.run_as=root", "root"),
        ("security.deny_names=a,b/*", "invalid pattern \"b/*\": expected"),
        ("security.deny_names=[\"*.exe, *.bat\"]", "expected one item per string"),
        ("transfer.sync=always", "none, file, file+dir"),
        ("log.format=xml", "text, json"),
        ("log.transfers=/a\0b", "NUL is not allowed"),
        ("log.transfers=xferlog", "expected an absolute path"),
        ("security.confine=maybe", "best-effort, require, off"),
        ("transfer.partial=keep", "resume, discard, publish"),
        ("transfer.umask=1000", "expected 000 to 077 in octal"),
        ("transfer.umask=u=rw", "expected 000 to 077 in octal"),
        ("transfer.umask=+22", "expected 000 to 077 in octal"),
        ("transfer.umask=777", "with which the owner can read, write and enter"),
        ("users.a.umask=0100", "invalid umask \"0100\": expected 000 to 077 in octal"),
        ("groups.a.umask=200", "invalid umask \"200\": expected 000 to 077 in octal"),
        ("defaults.umask=400", "invalid umask \"400\": expected 000 to 077 in octal"),
        ("control.group=4294967295", "unknown group \"4294967295\""),
        ("security.run_as=4294967295:1", "unknown user \"4294967295\""),
        ("users.a.owner=nobody at all", "users.a.owner: unknown user \"nobody at all\""),
        ("defaults.owner=-1", "unknown user \"-1\""),
        ("groups.a.group=4294967295", "unknown group \"4294967295\""),
        ("users.a.file_mode=0440", "expected 0600 to 0777 in octal, with which the owner can read"),
        ("users.a.file_mode=4755", "invalid mode \"4755\": expected 0600 to 0777 in octal"),
        ("users.a.file_mode=rw", "expected 0600 to 0777 in octal"),
        ("users.a.directory_mode=2770", "invalid mode \"2770\": expected 0700 to 0777 in octal"),
        ("users.a.directory_mode=0660", "with which the owner can read, write and enter"),
        ("server.banner=a\r\n221 b", "one line"),
        ("anonymous.root=srv", "expected an absolute path"),
        ("anonymous.rights=", "unknown right \"\""),
        ("anonymous.per_user=any", "invalid number"),
        ("hooks.stored=/bin/a b", "expected a list such as [\"/path/program\", \"argument\"]"),
        ("hooks.stored=[5]", "expected a string in quotes, found a number"),
        ("hooks.stored=[]\nb = 5", "expected a list such as [\"/path/program\", \"argument\"]"),
        ("hooks.stored=[\"a\"]", "invalid program \"a\""),
        ("hooks.stored=[\"/a\", \"\\u0000\"]", "NUL is not allowed"),
        ("hooks.check=[\"a\"]", "invalid program \"a\""),
        ("hooks.check_timeout=0", "greater than 0"),
        ("hooks.check_workers=65", "expected 1 to 64"),
        ("hooks.timeout=0", "greater than 0"),
        ("hooks.program=notify", "expected an absolute path"),
        ("hooks.events=store", "unknown event \"store\"; did you mean stored?"),
        ("hooks.events=login,x-y-z", "expected login, login-failed, logout, stored, cut,"),
        ("hooks.processes=0", "expected 1 to 64"),
        ("hooks.processes=65", "expected 1 to 64"),
        ("hooks.retries=-1", "expected 0 to 1000"),
        ("hooks.dead_letters=letters", "expected an absolute path"),
        ("anonymous.rate_per_user=1 MiB/h", "invalid rate"),
        ("anonymous.rights=read, fly", "unknown right \"fly\""),
        ("anonymous.rights=[full]", "unknown right \"full\""),
    ] {
        let wrong = Settings::default().assign(assignment).unwrap_err();
        assert!(wrong.contains(want), "{assignment}: {wrong}");
    }
}

/// Values of the keys in tables with a name. The name of the user is odd.
const OF_TABLES: &[&str] = &[
    "groups.g.rights=read",
    "groups.h.quota=5",
    "USER.groups=g,h",
    "USER.password=$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
    "USER.root=/srv/\u{e9} \"a\"",
    "USER.create_home=true",
    "USER.rights=[list, write]",
    "USER.directories={ '/a,;=\"[ \u{e9}' = [], \"/b\" = \"full\" }",
    "USER.mounts={ '/a,;=\"[ \u{e9}' = '/b,;=\"[ \u{e9}' }",
    "USER.hide_names=*.tmp, .x",
    "USER.quota=1 GiB",
    "USER.max_files=7",
    "USER.tls=required",
    "USER.mkdir_parents=true",
    "USER.mkdir_existing_ok=true",
    "USER.type=image",
    "USER.per_user=0",
    "USER.rate_per_session=0",
    "USER.rate_per_user=1",
    "USER.rate_up=1 MiB/s",
    "USER.rate_down=1",
    "USER.file_size=1",
    "USER.enabled=false",
    "USER.expires=2026-12-31T18:00:00+01:00",
    "USER.networks=192.0.2.1",
    "USER.idle_timeout=60",
    "USER.umask=77",
    "USER.owner=nobody",
    "USER.group=0",
    "USER.file_mode=600",
    "USER.directory_mode=777",
    "USER.overwrite=false",
    "USER.partial=publish",
    "USER.sync=none",
    "users.plain.root=/",
    "HOST.certificate=/c",
    "HOST.key=/k",
    "HOST.banner=a, \"b\"",
    "HOST.root=store:main/%u",
    "HOST.users=",
    "hosts.other.banner=x",
    "STORE.endpoint=https://h",
    "STORE.bucket=b",
    "STORE.region=r",
    "STORE.access_key=a",
    "STORE.secret_key_file=/s",
    "STORE.session_token_file=/t",
    "STORE.role_arn=r",
    "STORE.instance_keys=true",
    "STORE.web_identity_token_file=/w",
    "STORE.sts_endpoint=https://h",
    "STORE.path_style=false",
    "STORE.ca_file=/c",
    "STORE.part_size=5 MiB",
    "STORE.memory=16 MiB",
    "STORE.lease=5",
    "STORE.late=7",
    "STORE.rename_directories=1",
    "STORE.keep_times=true",
    "STORE.kind=s3",
    "STORE.checksums=false",
    "STORE.object_headers=x-amz-acl: private",
];

const NAMED_TABLES: &[(&str, &str)] = &[
    ("USER.", "users.\"a,;=\\\"[ \u{e9}\"."),
    ("HOST.", "hosts.\"a.example\"."),
    ("STORE.", "stores.main."),
];

#[test]
fn a_file_and_set_read_each_value_that_check_prints() {
    let mut config = Config::new();
    for assignment in VALUES.iter().map(|(assignment, _)| assignment).chain(OF_TABLES) {
        let (key, value) = assignment.split_once('=').unwrap();
        let named = NAMED_TABLES.iter().find(|(short, _)| key.starts_with(short));
        let key = named.map_or(key.to_owned(), |(short, table)| key.replacen(short, table, 1));
        config.settings.set(&key, value, "--set").unwrap();
    }
    let values = |config: &Config| -> Vec<(String, String)> {
        let printed = config.to_string();
        let values = printed.lines().filter(|line| !line.starts_with('#'));
        values
            .map(|line| line.rsplit_once(" # ").unwrap())
            .map(|(value, origin)| (value.trim().to_owned(), origin.to_owned()))
            .collect()
    };
    let printed = values(&config);
    // The plain user and the other host have default values.
    let is_other = |value: &str| value.starts_with("users.plain") || value.contains(".other.");
    for (value, origin) in &printed {
        assert!(origin.starts_with("--set") || is_other(value), "no value of {value}");
    }
    for (rows, table) in
        [(USER.len(), "users.\"a"), (HOST.len(), "hosts.\"a"), (STORE.len(), "stores.")]
    {
        let found = printed.iter().filter(|(value, _)| value.starts_with(table)).count();
        assert_eq!(found, rows, "{table}");
    }
    // All users may log in at the other host, which only a missing line expresses.
    let host = || printed.iter().filter(|(value, _)| value.starts_with("hosts.other."));
    assert!(host().count() == HOST.len() - 1 && host().all(|(line, _)| !line.contains(".users")));

    let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
    let lines: Vec<String> = printed
        .iter()
        .map(|(line, _)| line.replace("****", hash))
        .filter(|line| !line.starts_with("users.plain.password"))
        .collect();
    let plain = "users.plain.password = \"HASH\"\n".replace("HASH", hash);
    let read = Config::from_toml(&(plain + &lines.join("\n"))).unwrap();
    config.settings.set("users.plain.password", hash, "--set").unwrap();
    assert_eq!(config.settings.changes(&read.settings), Vec::<&str>::new());
    let mut set = Config::new();
    for line in &lines {
        let (key, value) = line.split_once(" = ").unwrap();
        set.settings.set(key, value, "--set").unwrap();
    }
    set.settings.set("users.plain.password", hash, "--set").unwrap();
    assert_eq!(config.settings.changes(&set.settings), Vec::<&str>::new());
}

#[test]
fn keys_that_only_users_of_a_program_inherit_are_changes_of_users() {
    let settings = |text: &str| Config::from_toml(text).unwrap().settings;
    let former = settings("[auth]\nprogram = [\"/bin/true\"]\n[groups.a]\n");
    for other in ["[defaults]\nroot = \"/x\"\n[groups.a]\n", "[groups.a]\nroot = \"/x\"\n", ""] {
        let other = settings(&format!("[auth]\nprogram = [\"/bin/true\"]\n{other}"));
        assert_eq!(former.changes(&other), ["users"]);
    }
}

/// Reads a value of each row from a file and from `--set`, and returns the keys that accept it.
fn accepting<T: Default + Fields>(
    rows: &'static [Setting<T>],
    value: impl Fn(Kind) -> String,
) -> Vec<&'static str> {
    let accepts = |row: &&Setting<T>| {
        let text = value(row.kind);
        let parsed = TomlValue::from(&toml::de::DeValue::parse(&text).unwrap());
        let read = |value: &TomlValue| {
            let mut values = T::default();
            let set = row.set(&mut values, value, Origin::new("x".to_owned(), None));
            set.is_ok().then(|| (row.show)(&values))
        };
        let shown = read(&parsed);
        let mut values = T::default();
        let given = |value| SetOption { key: row.key, value, source: "--set" };
        let set = row.assign(&mut values, "", &given(&text));
        assert_eq!(set.is_ok(), shown.is_some(), "{}={text}: {set:?}", row.key);
        let Some(shown) = shown else { return false };
        assert_eq!((row.show)(&values), shown, "{}={text}", row.key);
        assert_eq!(read(&shown).as_ref(), Some(&shown), "{}={shown}", row.key);
        row.assign(&mut values, "", &given(&shown.to_string())).unwrap();
        assert_eq!((row.show)(&values), shown, "{}={shown}", row.key);
        true
    };
    rows.iter().filter(accepts).map(|row| row.key).collect()
}

#[test]
fn odd_names_work_in_a_file_in_set_and_as_printed() {
    for odd in [
        "a,b",
        "a;b",
        "a=b",
        "a\"b",
        "[a]",
        "[\"a\"]",
        "{a}",
        "a b",
        "\u{e9}\u{65e5}",
        "'a'",
        "\\n",
        "a#b",
        "5",
        "true",
    ] {
        let text = |start: &str| TomlValue::text(format!("{start}{odd}"));
        let value = |kind: Kind| {
            match kind {
                Kind::List | Kind::Words => TomlValue::list([odd]),
                Kind::Arguments | Kind::Program => TomlValue::list([&format!("/{odd}"), odd]),
                Kind::Directories => {
                    TomlValue::table([(format!("/{odd}"), TomlValue::text("read"))])
                }
                Kind::Mounts => TomlValue::table([(format!("/{odd}"), text("/"))]),
                _ => text("/"),
            }
            .to_string()
        };
        let paths = [
            "tls.certificate",
            "tls.key",
            "tls.client_ca",
            "tls.sscn_ca",
            "server.banner",
            "security.deny_names",
            "log.transfers",
            "control.socket",
            "hooks.stored",
            "hooks.program",
            "hooks.dead_letters",
            "auth.program",
            "ledger.password_file",
            "ledger.ca_file",
            "anonymous.root",
        ];
        let found = accepting(TABLE, value);
        let missing: Vec<_> = paths.into_iter().filter(|key| !found.contains(key)).collect();
        // This is no pattern: its braces have no comma.
        let refused = if odd == "{a}" { &["security.deny_names"][..] } else { &[] };
        assert_eq!(missing, refused, "{odd}");
        let found = accepting(USER, value);
        let names = ["groups", "root", "directories", "mounts", "hide_names"];
        let known = if odd == "{a}" { &names[..4] } else { &names[..] };
        assert_eq!(found, known, "{odd}");
        let found = accepting(HOST, value);
        assert_eq!(found, ["certificate", "key", "banner", "root", "users"], "{odd}");
        let found = accepting(STORE, value);
        let files = ["secret_key_file", "session_token_file", "web_identity_token_file", "ca_file"];
        assert!(files.iter().all(|key| found.contains(key)), "{odd}: {found:?}");
    }
}

/// `tests/config/broken.txt` has a wrong value of each key, with the place and the message.
#[test]
fn every_setting_has_an_invalid_value_in_the_broken_files() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ftp-cli/tests/config/broken.txt");
    let text = fs::read_to_string(path).unwrap();
    // A line is `! FILE:LINE:COLUMN: KEY: MESSAGE`.
    let refused: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("! ")?.split(": ").nth(1)).collect();
    let is_refused = |table: &str, key: &str| {
        let end = format!(".{key}");
        refused.iter().any(|refused| refused.starts_with(table) && refused.ends_with(&end))
    };
    for row in TABLE {
        assert!(refused.contains(&row.key), "{}", row.key);
    }
    for row in USER {
        let is_refused = ["users.", "groups.", "defaults."].map(|table| is_refused(table, row.key));
        assert!(is_refused.contains(&true), "users.NAME.{}", row.key);
    }
    for row in HOST {
        assert!(is_refused("hosts.\"", row.key), "hosts.\"NAME\".{}", row.key);
    }
    for row in STORE {
        assert!(is_refused("stores.", row.key), "stores.NAME.{}", row.key);
    }
}
