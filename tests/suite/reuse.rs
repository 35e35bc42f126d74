//! Mode B between our client and server: many files, listings and parts over one data connection.

use std::io::{Read, Write};

use ftp_client::{Client, Error};
use ftp_server::Server;
use ftp_server::testing::Recorder;
use ftp_tests::compare::assert_same;
use ftp_tests::content::{SIZES, binary};
use ftp_tests::fxp;
use ftp_tests::site::{OurServer, Site};

use crate::interop_fxp::{ONE, OTHER, ours};

#[track_caller]
fn client(site: &Site) -> Client {
    let builder = Client::builder().reuse_data(true);
    let mut client = builder.connect(&site.address.to_string()).expect("a server");
    client.login(site.user, site.password).expect("the user");
    assert!(client.reuses_data().expect("it lists its features"));
    client
}

fn connections(recorder: &Recorder) -> usize {
    recorder.commands().iter().filter(|line| *line == "EPSV").count()
}

#[track_caller]
fn put(client: &mut Client, name: &str, content: &[u8]) {
    let mut upload = client.store(name).expect("a STOR");
    upload.write_all(content).expect("it is sent");
    assert_eq!(upload.finish().expect("250").bytes, content.len() as u64, "{name}");
}

#[track_caller]
fn get(client: &mut Client, name: &str) -> Vec<u8> {
    let mut got = Vec::new();
    client.retrieve(name).expect("a RETR").copy_to(&mut got).expect("250");
    got
}

#[test]
fn files_of_all_sizes_use_one_data_connection_cl_73() {
    let recorder = Recorder::default();
    let server = OurServer::built(Server::builder().recorder(&recorder));
    let mut client = client(&server);
    for (seed, size) in (1..).zip(SIZES.into_iter().chain([65_535, 65_536, 1_000_000])) {
        let content = binary(size, seed);
        put(&mut client, "a", &content);
        assert_same("up", &server.root.read("a"), &content);
        assert_same("down", &get(&mut client, "a"), &content);
        let listed = client.list("").expect("a MLSD").count();
        assert_eq!(listed, 1);
    }
    let content = binary(200_000, 99);
    put(&mut client, "a", &content);
    let mut part = Vec::new();
    client.retrieve_from("a", 150_000).expect("RETR").copy_to(&mut part).expect("250");
    assert_same("a part", &part, &content[150_000..]);
    let error = client.retrieve("missing").unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert_same("after a refusal", &get(&mut client, "a"), &content);
    assert_eq!(connections(&recorder), 1);
    client.quit().expect("221");
}

#[test]
fn each_interrupted_transfer_costs_one_data_connection_cl_74() {
    let recorder = Recorder::default();
    let server = OurServer::built(Server::builder().recorder(&recorder));
    let mut client = client(&server);
    let content = binary(8_000_000, 1);
    server.root.write("a", &content);
    let mut got = vec![0; 100_000];
    client.retrieve("a").expect("RETR").read_exact(&mut got).expect("the beginning");
    client.retrieve_from("a", 100_000).expect("RETR").copy_to(&mut got).expect("250");
    assert_same("down", &got, &content);
    // An upload without its end is not a file.
    let mut upload = client.store("b").expect("STOR");
    upload.write_all(&content[..3_000_000]).expect("the beginning");
    drop(upload);
    client.noop().expect("200");
    assert!(!server.root.names().iter().any(|name| name == b"b"));
    put(&mut client, "b", &content);
    assert_same("up", &server.root.read("b"), &content);
    assert_eq!(connections(&recorder), 3, "each interruption costs one");
}

#[test]
fn planned_downloads_use_one_connection_and_stay_in_step_cl_75() {
    let recorder = Recorder::default();
    let server = OurServer::built(Server::builder().recorder(&recorder));
    let names: Vec<_> = (0..300).map(|number| format!("file-{number}")).collect();
    for (seed, name) in (1..).zip(&names) {
        if !is_missing(seed) {
            server.root.write(name, &binary(1_024, seed));
        }
    }
    let mut client = client(&server);
    for with_time in [true, false] {
        match with_time {
            true => client.plan_downloads_with_time(&names),
            false => client.plan_downloads(&names),
        }
        for name in &names {
            let seed = seed_of(name);
            let download = match with_time {
                true => client.retrieve_with_time(name),
                false => client.retrieve(name),
            };
            if is_missing(seed) {
                assert!(matches!(download, Err(Error::Refused { .. })), "{name} is missing");
                continue;
            }
            let mut got = Vec::new();
            download.expect("a RETR").copy_to(&mut got).expect("250");
            assert_same(name, &got, &binary(1_024, seed));
        }
    }
    assert_eq!(connections(&recorder), 1);
    // Whatever comes instead, the replies stay in step.
    client.plan_downloads(&names);
    assert_same("the first", &get(&mut client, "file-0"), &binary(1_024, 1));
    assert_same("the next", &get(&mut client, "file-1"), &binary(1_024, 2));
    assert_eq!(client.size("file-2").expect("213"), Some(1_024));
    assert_same("another", &get(&mut client, "file-7"), &binary(1_024, 8));
    client.quit().expect("221");
}

/// Returns whether the server lacks the file of this seed.
const fn is_missing(seed: u64) -> bool {
    seed.is_multiple_of(50)
}

/// Returns the seed of the content of a file.
fn seed_of(name: &str) -> u64 {
    name.trim_start_matches("file-").parse::<u64>().expect("a number") + 1
}

#[test]
fn a_server_to_server_copy_uses_mode_s_cl_73() {
    let (one, other) = (ours(ONE, &["127.0.0.12/32"]), ours(OTHER, &["127.0.0.8/29"]));
    let (mut from, mut at) = (client(&one), client(&other));
    let content = binary(100_000, 5);
    for name in ["a", "b"] {
        put(&mut from, name, &content);
        put(&mut at, "before", b"x");
        fxp::copied(&mut from, name, &mut at, name, fxp::to(None)).expect("a copy");
        assert_same(name, &other.root.read(name), &content);
        assert_same(name, &get(&mut at, name), &content);
    }
}
