//! Mode Z between our client and server, and with programs of others: lftp, and ProFTPD's
//! `mod_deflate`.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use ftp_client::listing::{ListOptions, ListingForm};
use ftp_client::{Client, ClientBuilder, FileOptions};
use ftp_server::testing::Recorder;
use ftp_server::{Server, ServerConfig};
use ftp_tests::compare::assert_same;
use ftp_tests::content::{binary, text};
use ftp_tests::peer::{Peer, RealServer};
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};

fn ours(recorder: &Recorder) -> OurServer {
    let config = ServerConfig::new().compression(true);
    OurServer::built(Server::builder().config(config).recorder(recorder))
}

#[track_caller]
fn client(site: &Site, builder: ClientBuilder) -> Client {
    let mut client = builder.compress(true).connect(&site.address.to_string()).expect("a server");
    client.login(site.user, site.password).expect("the user");
    assert!(client.compresses().expect("it lists its features"));
    client
}

/// Moves files and listings in both directions, resumes both, and compares.
#[track_caller]
fn works(site: &Site, mut client: Client, largest: usize) {
    for (seed, size) in (1..).zip([0, 1, largest]) {
        for content in [binary(size, seed), text(size, seed)] {
            let what = format!("{size} bytes");
            let mut upload = client.store("a").expect("a STOR");
            upload.write_all(&content).expect("it is sent");
            assert_eq!(upload.finish().expect("226").bytes, content.len() as u64, "{what}");
            assert_same(&what, &site.root.read("a"), &content);
            let mut got = Vec::new();
            let report = client.retrieve("a").expect("a RETR").copy_to(&mut got).expect("226");
            assert_eq!(report.bytes, content.len() as u64);
            assert_same(&what, &got, &content);
        }
    }
    let content = text(90_000, 7);
    site.root.write("part", &content[..70_000]);
    let mut upload = client.store_from("part", 70_000).expect("a STOR");
    upload.write_all(&content[70_000..]).expect("it is sent");
    upload.finish().expect("226");
    assert_same("a resumed upload", &site.root.read("part"), &content);
    let mut got = Vec::new();
    client.retrieve_from("part", 80_000).expect("a RETR").copy_to(&mut got).expect("226");
    assert_same("a resumed download", &got, &content[80_000..]);
    for form in [ListingForm::List, ListingForm::Nlst] {
        let lines = client.list_lines("", ListOptions::by(form)).expect("a listing");
        let lines: Vec<_> = lines.collect::<Result<_, _>>().expect("a whole listing");
        assert!(lines.iter().any(|line| line.ends_with(b"part")), "{form:?}");
    }
    client.quit().expect("221");
}

#[test]
fn our_client_and_our_server_compress_cm_142_cl_70() {
    for pipeline in [false, true] {
        let recorder = Recorder::default();
        let server = ours(&recorder);
        works(&server, client(&server, Client::builder().pipeline(pipeline)), (1 << 20) + 1);
        let modes = recorder.commands().iter().filter(|line| line.starts_with("MODE ")).count();
        assert_eq!(modes, 1, "MODE Z is sent once for each session");
    }
}

#[test]
fn whole_files_and_parts_are_right_in_mode_z_cl_70() {
    let server = ours(&Recorder::default());
    let mut client = client(&server, Client::builder());
    let local = TempRoot::new();
    let content = text(400_000, 9);
    let source = local.write("source", &content);
    let options = FileOptions::default();
    client.upload_from(&source, "a", &options, &()).expect("an upload");
    assert_same("up", &server.root.read("a"), &content);
    client.download_to("a", local.join("b"), &options, &()).expect("a download");
    assert_same("down", &local.read("b"), &content);
    let mut part = Vec::new();
    client.retrieve_range("a", 1_000, 5_000).expect("RETR").copy_to(&mut part).expect("a part");
    assert_same("a part", &part, &content[1_000..6_000]);
    assert_eq!(client.size("a").expect("a reply"), Some(content.len() as u64));
}

#[test]
fn lftp_compresses_with_our_server_cm_142() {
    let Some(peer) = Peer::find("lftp") else { return };
    let recorder = Recorder::default();
    let server = ours(&recorder);
    let local = TempRoot::new();
    let content = text(200_000, 5);
    local.write("source", &content);
    local.write("empty", b"");
    let script = format!(
        "set cmd:fail-exit yes; set net:max-retries 1; set ftp:use-mode-z yes; set \
         ftp:mode-z-level 9; open -u {},\"{}\" ftp://{}; put source -o there; put empty; ls; get \
         there -o back; get empty -o nothing; put -c source -o there; quit",
        server.user, server.password, server.address
    );
    let mut command: Command = peer.command();
    command.env("HOME", local.path()).current_dir(local.path());
    run(command.args(["-c", &script])).succeeded();
    assert_same("up", &server.root.read("there"), &content);
    assert_same("down", &local.read("back"), &content);
    assert_same("empty", &local.read("nothing"), b"");
    let commands = recorder.commands();
    assert!(commands.iter().any(|line| line == "MODE Z"), "lftp uses it");
}

#[test]
fn proftpd_compresses_with_our_client_cl_70() {
    let Some(peer) = Peer::find("proftpd") else { return };
    let program = PathBuf::from(peer.command().get_program());
    let modules = program.ancestors().nth(2).unwrap_or(&program).join("lib/proftpd");
    if !modules.join("mod_deflate.so").is_file() {
        ftp_tests::peer::skipped("ProFTPD's mod_deflate is not installed");
        return;
    }
    let lines =
        format!("ModulePath {}\nLoadModule mod_deflate.c\nDeflateEngine on\n", modules.display());
    let Some(server) = RealServer::proftpd_also(&lines) else { return };
    // It waits after each few bytes of an upload, and loses some of a large one that compresses well.
    works(&server, client(&server, Client::builder()), 20_001);
}
