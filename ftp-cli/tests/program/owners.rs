//! `owner`, `group`, `file_mode` and `directory_mode` of users: what the server may give, and what it
//! says if it may not.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use ftp_tests::peer::Peer;
use ftp_tests::process::run;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;

use crate::config::{Configured, log_until};
use crate::failed;
use crate::privileges::{is_root, world_executable_copy};
use crate::serve::Served;
use crate::system_calls::Injection;

const SERVER: &str = "1234";
const OWNER: u32 = 2_000;
const GROUP: u32 = 33;

/// Returns owner, group and mode.
fn rights(root: &TempRoot, name: &str) -> (u32, u32, u32) {
    let found = std::fs::metadata(root.join(name)).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

/// The program as a user without privileges, except these of `setpriv`.
fn serve(setpriv: &Peer, program: &Path, configured: &Configured, extra: &[&str]) -> Command {
    let mut command = setpriv.command();
    command.args(["--reuid", SERVER, "--regid", SERVER]).args(extra).arg(program);
    command.args(["serve", "--config", "server.toml", "--listen", "127.0.0.1:0"]);
    command.current_dir(configured.here.path());
    command
}

#[test]
fn the_server_gives_files_away_with_cap_chown_alone_or_does_not_start_fs_21() {
    let Some(setpriv) = Peer::find("setpriv").filter(|_| is_root()) else { return };
    let user = "[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n";
    let both = format!("[defaults]\nowner = \"{OWNER}\"\ngroup = \"{GROUP}\"\n{user}");
    let modes = "file_mode = \"0640\"\ndirectory_mode = \"0750\"\n";
    let configured = Configured::new(&format!("{both}{modes}"));
    let program = world_executable_copy(&configured.here);
    let all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(configured.root.path(), all).unwrap();
    let none = &["--clear-groups"][..];
    let member = &["--groups", "33"][..];
    let chown = &["--clear-groups", "--inh-caps=+chown", "--ambient-caps=+chown"][..];
    let whole = ["chown", "fowner", "dac_override"].map(|name| format!("+{name}")).join(",");
    let whole = [format!("--inh-caps={whole}"), format!("--ambient-caps={whole}")];
    let whole = ["--clear-groups", &whole[0], &whole[1]];

    // Neither the start nor the check is silent.
    let of_owner = "user u: owner \"2000\": the server's user cannot give files to another user; \
        give it CAP_CHOWN";
    let of_group = "user u: group \"33\": the server's user cannot give files to this group; make it \
        a member of the group, or give it CAP_CHOWN";
    let check = |extra: &[&str]| {
        let ran = run(serve(&setpriv, &program, &configured, extra).arg("--check"));
        (ran.code(), String::from_utf8(ran.stdout).unwrap())
    };
    for (extra, says, not) in [
        (none, &[of_owner, of_group][..], &[][..]),
        (member, &[of_owner], &[of_group]),
        (chown, &[], &[of_owner, of_group]),
    ] {
        let (code, said) = check(extra);
        assert_eq!(code, Some(if says.is_empty() { 0 } else { 2 }), "{said}");
        let fails = |line: &&str| said.lines().any(|it| it.starts_with(&format!("fail  {line}")));
        assert!(says.iter().all(fails), "{said}");
        assert!(!not.iter().any(|line| said.contains(*line)), "{said}");
        if !says.is_empty() {
            failed(&run(&mut serve(&setpriv, &program, &configured, extra)), 2, says[0]);
        }
    }
    let lack = "warn  user u: owner \"2000\": the files will belong to the owner, so the server's \
        user cannot use new directories, read new files, append to them, set their times (MFMT), change \
        their mode (SITE CHMOD), unless an ACL permits it";
    assert!(check(chown).1.contains(lack), "{}", check(chown).1);
    assert!(!check(&whole).1.contains("warn  user u: owner"), "{}", check(&whole).1);

    // A new root would be closed to the owner of what it holds.
    let missing = ["--set", "users.u.root=/no/home", "--set", "users.u.create_home=true"];
    let said = run(serve(&setpriv, &program, &configured, chown).arg("--check").args(missing));
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("warn  user u: create_home: the new root belongs to"), "{said}");
    // No capability survives the switch to another user.
    let mut as_nobody = configured.command(&["--check", "--set", "security.run_as=nobody"]);
    let said = String::from_utf8(run(&mut as_nobody).stdout).unwrap();
    assert!(said.contains("another user; leave security.run_as empty"), "{said}");

    // What users store.
    let root = &configured.root;
    for (extra, may_use) in [(chown, false), (&whole[..], true)] {
        let served = Served::of(&mut serve(&setpriv, &program, &configured, extra));
        assert_eq!(served.said().contains("unless an ACL permits it"), !may_use);
        let mut session = RawSession::login(served.address, "u", "p");
        session.expect("TYPE I", 200);
        for line in ["STOR f", "STOR f", "APPE g"] {
            session.upload(line, b"content");
        }
        // A client that lost its connection resumes its upload.
        let mut data = session.passive();
        session.expect("STOR h", 150);
        data.write_all(b"cont");
        data.reset();
        assert!(matches!(session.reply().code, 426 | 451));
        let told = session.expect("SIZE h", 213).text();
        let kept: usize = told.split(' ').nth(1).unwrap().parse().unwrap();
        session.expect(format!("REST {kept}"), 350);
        session.upload("STOR h", &b"content"[kept..]);
        assert_eq!(root.read("h"), b"content");
        session.expect("MKD d", 257);
        for (name, mode) in [("f", 0o640), ("g", 0o640), ("h", 0o640), ("d", 0o750)] {
            assert_eq!(rights(root, name), (OWNER, GROUP, mode), "{name}");
        }
        let code = |code| if may_use { code } else { 550 };
        session.expect("MFMT 20200101000000 f", code(213));
        session.expect("SITE CHMOD 600 f", code(200));
        match may_use {
            true => assert_eq!(session.download("RETR f"), b"content"),
            false => {
                session.passive();
                session.expect("RETR f", 550);
            }
        }
        session.expect("RNFR f", 350);
        session.expect("RNTO e", 250);
        for line in ["DELE e", "DELE g", "DELE h", "RMD d"] {
            session.expect(line, 250);
        }
    }

    // A member of the group, without capabilities.
    configured.write(&format!("{user}group = \"{GROUP}\"\nfile_mode = \"0660\"\n"));
    let served = Served::of(&mut serve(&setpriv, &program, &configured, member));
    let mut session = RawSession::login(served.address, "u", "p");
    session.upload("STOR f", b"content");
    session.expect("MFMT 20200101000000 f", 213);
    assert_eq!(rights(root, "f"), (1_234, GROUP, 0o660));
    // A reload to what the server may not do changes nothing.
    configured.write(&both);
    served.signal("HUP");
    log_until(&served, of_owner);
    session.upload("STOR f", b"more");
    assert_eq!(rights(root, "f"), (1_234, GROUP, 0o660));
}

#[test]
fn a_file_that_cannot_get_its_owner_is_not_stored_fs_21() {
    let Some(strace) = Peer::find("strace").filter(|_| is_root()) else { return };
    let notes = TempRoot::new();
    let configured = Configured::new(
        "[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\nowner = \"2000\"\n\
         mkdir_parents = true\n",
    );
    let root = &configured.root;
    let served = configured.serve();
    let mut session = RawSession::login(served.address, "u", "p");
    session.expect("TYPE I", 200);
    session.upload("STOR old", b"old");
    for (error, store, mkdir) in [("EDQUOT", 552, 552), ("EPERM", 451, 550), ("EINVAL", 451, 550)] {
        let what = ["--trace=fchown".to_owned(), format!("--inject=fchown:error={error}")];
        let output = notes.path().join("trace");
        let injection = Injection::start(&strace, served.running.child.id(), output, &what);
        for line in ["STOR old", "STOR new", "APPE other"] {
            let mut data = session.passive();
            session.expect(line, 150);
            data.write_all(b"content");
            data.close();
            session.expect_reply(store);
        }
        session.expect("MKD d", mkdir);
        session.passive();
        session.expect("STOR a/b/f", mkdir);
        assert!(injection.stop() >= 5, "{error}");
        assert_eq!(
            (root.names_without_records(), root.read("old")),
            (vec![b"old".to_vec()], b"old".to_vec())
        );
        if error != "EDQUOT" {
            log_until(&served, "old: cannot set the owner in the settings: ");
        }
    }
    session.upload("STOR a/b/f", b"content");
    assert_eq!(
        (rights(root, "a").0, rights(root, "a/b").0, rights(root, "a/b/f").0),
        (OWNER, OWNER, OWNER)
    );
}
