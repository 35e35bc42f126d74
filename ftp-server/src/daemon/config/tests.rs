//! The values that keys accept, and how they are shown.

use super::*;
use crate::daemon::toml_text::unquoted;

#[test]
fn every_setting_parses_the_value_it_shows() {
    for setting in TABLE {
        let mut settings = Settings::default();
        let shown = (setting.show)(&settings);
        for value in [&*shown, unquoted(&shown)] {
            settings.assign(&format!("{}={value}", setting.key)).unwrap();
            assert_eq!((setting.show)(&settings), shown, "{}", setting.key);
        }
        assert!(!setting.help.is_empty() && setting.key.contains('.'), "{}", setting.key);
    }
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
        settings.set("server.banner", &(shown.show)(&settings), "--set").unwrap();
        assert_eq!(settings.server.banner, banner, "{assignment}");
    }
    let mut settings = Settings::default();
    settings.assign("hosts.names=\"a.example, b.example\"").unwrap();
    assert_eq!(settings.host_names.len(), 2);
    settings.assign("hosts.names=\"\"").unwrap();
    assert_eq!(settings.host_names, []);
}

#[test]
fn set_changes_the_named_setting() {
    for (assignment, want) in [
        ("timeouts.idle=5 min", "5 min"),
        (" timeouts.stall = 90s ", "90 s"),
        ("timeouts.shutdown_grace=0", "0 s"),
        ("limits.sessions=10", "10"),
        ("limits.per_address=0", "0"),
        ("limits.login_failures=1", "1"),
        ("hosts.names=A.example, [2001:db8::1]", "\"a.example, [2001:db8::1]\""),
        ("limits.per_user=2", "2"),
        ("limits.login_delay=0", "0 s"),
        ("limits.ban_after=5", "5"),
        ("limits.ban_window=1 h", "1 h"),
        ("limits.ban_for=0", "0 s"),
        ("network.allow=192.0.2.0/24, 2001:db8::/32", "192.0.2.0/24,2001:db8::/32"),
        ("network.deny=192.0.2.1", "192.0.2.1/32"),
        ("network.proxy_protocol=192.0.2.1, ::1", "192.0.2.1/32,::1/128"),
        ("limits.min_free=1 GiB", "1 GiB"),
        ("passive.enabled=false", "false"),
        ("passive.ports=50000-50099, 51000", "50000-50099,51000"),
        ("passive.address=192.0.2.1", "192.0.2.1"),
        ("passive.address=ftp.example.org", "ftp.example.org"),
        (
            "passive.overrides=10.0.0.0/8, 192.168.0.0/16 = 10.0.0.5; 127.0.0.1=localhost",
            "10.0.0.0/8,192.168.0.0/16=10.0.0.5;127.0.0.1/32=localhost",
        ),
        ("active.enabled=false", "false"),
        ("active.source_port=true", "true"),
        ("fxp.networks=192.0.2.0/24, 2001:db8::/32", "192.0.2.0/24,2001:db8::/32"),
        ("transfer.overwrite=false", "false"),
        ("transfer.rate_per_session=30 MiB/s", "30 MiB/s"),
        ("transfer.rate_per_user=1000", "1000/s"),
        ("transfer.rate_per_user=0", "0"),
        ("transfer.sync=none", "none"),
        ("security.run_as=nobody", "nobody"),
        ("security.run_as=1:2", "1:2"),
        ("security.confine=require", "require"),
        ("listing.show_ids=true", "true"),
        ("security.deny_names=*.EXE, .ht*", "*.EXE,.ht*"),
        ("compatibility.dash_password=true", "true"),
        ("security.strict_crlf=true", "true"),
        ("log.format=json", "json"),
        ("log.transfers=/var/log/x y", "\"/var/log/x y\""),
        ("limits.buffers=1 MiB", "1 MiB"),
        ("transfer.partial=discard", "discard"),
        ("transfer.umask=77", "077"),
        ("server.banner=a = b", "\"a = b\""),
        ("listen.addresses=:2121, 127.0.0.1:21", ":2121, 127.0.0.1:21"),
        ("listen.addresses=", "\"\""),
        ("listen.freebind=true", "true"),
        ("listen.implicit_tls=:990,[::1]:991", ":990, [::1]:991"),
        ("tls.certificate=/etc/ftp/cert.pem", "\"/etc/ftp/cert.pem\""),
        ("tls.key=/etc/ftp/key.pem", "\"/etc/ftp/key.pem\""),
        ("tls.self_signed=true", "true"),
        ("timeouts.tls_handshake=3", "3 s"),
        ("tls.control=required", "required"),
        ("tls.data=off", "off"),
        ("tls.session_reuse=require", "require"),
        ("tls.allow_missing_close_notify=true", "true"),
        ("tls.min_version=1.3", "1.3"),
        ("tls.client_ca=/etc/ftp/ca.pem", "\"/etc/ftp/ca.pem\""),
        ("tls.client_certificates=required", "required"),
        ("tls.cert_user=true", "true"),
        ("tls.exempt=10.0.0.0/8,127.0.0.1", "10.0.0.0/8,127.0.0.1/32"),
        ("tls.auth_ssl_alias=true", "true"),
        ("tls.sscn_ca=/etc/ftp/ca.pem", "\"/etc/ftp/ca.pem\""),
        (
            "tls.sscn_pins=sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ),
        ("tls.sscn_any=true", "true"),
        ("anonymous.enabled=true", "true"),
        ("anonymous.root=/srv/a b", "\"/srv/a b\""),
        ("anonymous.rights=list,write , mkdir", "[list, write, mkdir]"),
        ("anonymous.rights=drop-box", "drop-box"),
        ("anonymous.rights=[read]", "[read]"),
        ("anonymous.per_user=5", "5"),
        ("hooks.stored=[\"/bin/a\", 'b, \"c\" $(d)']", "[\"/bin/a\", \"b, \\\"c\\\" $(d)\"]"),
        ("hooks.timeout=5 min", "5 min"),
        ("hooks.program=/usr/local/bin/x y", "\"/usr/local/bin/x y\""),
        ("hooks.events=stored, login-failed", "stored,login-failed"),
        ("hooks.processes=64", "64"),
        ("hooks.retries=0", "0"),
        ("hooks.retry_delay=100 ms", "100 ms"),
        ("hooks.dead_letters=/var/lib/x", "\"/var/lib/x\""),
        ("hooks.spool=/var/lib/x", "\"/var/lib/x\""),
        ("anonymous.rate_per_session=0", "0"),
        ("anonymous.rate_per_user=1 MiB/s", "1 MiB/s"),
    ] {
        let (default, mut settings) = (Settings::default(), Settings::default());
        settings.assign(assignment).unwrap();
        let key = assignment.split('=').next().unwrap().trim();
        for setting in TABLE {
            let shown = (setting.show)(&settings);
            if setting.key == key {
                assert_eq!(shown, want, "{assignment}");
            } else {
                assert_eq!(shown, (setting.show)(&default), "{} by {key}", setting.key);
            }
        }
    }
}

#[test]
fn set_refuses_invalid_settings() {
    for (assignment, want) in [
        ("limits.session=1", "did you mean limits.sessions?"),
        ("idle=1", "did you mean timeouts.idle?"),
        ("colour=red", "run ftp-cli help serve to list the settings"),
        ("timeouts.idle=0", "greater than 0"),
        ("timeouts.idle=soon", "invalid time"),
        ("timeouts.idle=9s", "at least 10 s"),
        ("timeouts.idle=25 h", "at most 24 h"),
        ("passive.ports=5000-4000", "\"5000-4000\": first port above the last"),
        ("users.a.pasword=x", "expected groups, password, root, create_home"),
        (
            "defaults.groups=x",
            "unknown setting defaults.groups: expected password, root, create_home",
        ),
        ("defaults.quota=much", "defaults.quota: invalid size"),
        ("groups.a b.quota=1", "groups.\"a b\": invalid group name"),
        ("groups.a.quotas=1", "unknown setting groups.NAME.quotas: expected password"),
        ("users.a.password=geheim", "users.a.password: not a password hash"),
        ("users.a b.root=srv", "users.\"a b\".root: invalid path \"srv\""),
        ("users..root=/srv", "users.\"\": invalid user name"),
        ("passive.ports=5000, 70000", "invalid port range \"70000\""),
        ("passive.address=2001:db8::1", "expected an IPv4 address"),
        ("passive.overrides=10.0.0.5", "expected NETWORKS=ADDRESS"),
        ("passive.overrides=x=10.0.0.5", "invalid network"),
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
        ("transfer.sync=always", "none, file, file+dir"),
        ("log.format=xml", "text, json"),
        ("log.transfers=/a\0b", "NUL is not allowed"),
        ("log.transfers=xferlog", "expected an absolute path"),
        ("security.confine=maybe", "best-effort, require, off"),
        ("transfer.partial=keep", "resume, discard, publish"),
        ("transfer.umask=1000", "expected 000 to 777 in octal"),
        ("transfer.umask=u=rw", "expected 000 to 777 in octal"),
        ("transfer.umask=+22", "expected 000 to 777 in octal"),
        ("server.banner=a\r\n221 b", "one line"),
        ("anonymous.root=srv", "expected an absolute path"),
        ("anonymous.rights=", "unknown right \"\""),
        ("anonymous.per_user=any", "invalid number"),
        ("hooks.stored=/bin/a b", "expected [\"/path/program\", \"argument\"]"),
        ("hooks.stored=[5]", "expected [\"/path/program\", \"argument\"]"),
        ("hooks.stored=[]\nb = 5", "expected [\"/path/program\", \"argument\"]"),
        ("hooks.stored=[\"a\"]", "invalid program \"a\""),
        ("hooks.stored=[\"/a\", \"\\u0000\"]", "NUL is not allowed"),
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
