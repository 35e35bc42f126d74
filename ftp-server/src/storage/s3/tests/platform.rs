//! Temporary keys that a fake platform offers: EC2, ECS and EKS Pod Identity.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use ftp_tests::wait::wait_until;

use super::super::encode::now;
use super::super::issued_keys::{Issuer, KeySource, Platform, first};
use super::fake::iso;
use super::*;
use crate::lock::Lock;

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// What the platform answers: the beginning of the request, a header that it must have, the status
/// and the body.
type Rule = (&'static str, &'static str, u16, String);

/// A platform, and the requests that it got. It ends with the process of the tests.
fn platform(rules: Vec<Rule>) -> (SocketAddr, Arc<Lock<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Lock::new(Vec::new()));
    let requests = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let lines: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            let Some(first) = lines.first() else { continue };
            requests.lock().push(first.strip_suffix(" HTTP/1.1").unwrap().to_owned());
            let is_met = |(request, field, ..): &&Rule| {
                let is_field = |line: &String| line.eq_ignore_ascii_case(field);
                *first == format!("{request} HTTP/1.1")
                    && (field.is_empty() || lines.iter().any(is_field))
            };
            let (status, body) = match rules.iter().find(is_met) {
                Some((_, _, status, body)) => (*status, &**body),
                None => (401, ""),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n");
            let _ =
                (&stream).write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes());
        }
    });
    (address, asked)
}

fn keys(more: &str) -> String {
    let end = iso(now() + 3_600);
    format!(
        "{{\"Code\" : \"Success\", \"AccessKeyId\": \"ASIA1\", \"SecretAccessKey\": \"s/+\", \"Token\": \
         \"tok==\", \"Expiration\": \"{end}\"{more}}}"
    )
}

/// The rules of an instance whose role offers this text.
fn instance(offer: String) -> Vec<Rule> {
    let token = "x-aws-ec2-metadata-token: secret";
    vec![
        (
            "PUT /latest/api/token",
            "x-aws-ec2-metadata-token-ttl-seconds: 60",
            200,
            "secret".to_owned(),
        ),
        ("GET /latest/meta-data/iam/security-credentials/", token, 200, "ftp-role\n".to_owned()),
        ("GET /latest/meta-data/iam/security-credentials/ftp-role", token, 200, offer),
    ]
}

fn reason(platform: Platform) -> String {
    let source = KeySource::Platform(platform);
    let issuer = Issuer::new(&source, "us-east-1", S3Timeouts::default(), None).unwrap();
    first(&issuer).0.unwrap_err()
}

#[test]
fn an_instance_gets_its_keys_by_imdsv2_only() {
    let fake = Fake::start();
    let (address, asked) = platform(instance(keys("")));
    let endpoint = format!("http://{address}");
    let store = settings(&fake.endpoint()).instance_keys(&*endpoint).build().unwrap();
    let shown = format!("{store:?}");
    assert!(shown.contains("ASIA1") && shown.contains("session_token: Some"), "{shown}");
    let storage = store.storage("").unwrap();
    put(&storage, "f", WriteMode::Create, b"one").unwrap();
    assert_eq!(fake.last_keys(), Some(("ASIA1".to_owned(), Some("tok==".to_owned()))));
    let role = format!("GET {ROLES}ftp-role");
    let once = ["PUT /latest/api/token", &format!("GET {ROLES}"), &role];
    assert_eq!(*asked.lock(), once);
    // When the store refuses the keys, also in its test, they are requested again.
    fake.fail("PutObject", 0, 2, fake::Fault::Refuse(400, "ExpiredToken"));
    assert!(put(&storage, "f", WriteMode::Replace, b"two").is_err());
    wait_until("new keys", || asked.lock().len() == 6);

    // A service of version 1 only is not asked for keys, with which anyone could have called it.
    let (address, asked) = platform(vec![("GET /", "", 200, keys(""))]);
    let why = reason(Platform::Instance(format!("http://{address}")));
    assert_eq!(why, "GetCredentials: the platform responds with 401");
    assert_eq!(*asked.lock(), ["PUT /latest/api/token"]);
}

#[test]
fn an_instance_without_usable_keys_is_explained_in_time() {
    let mut without_role = instance(keys(""));
    without_role[1].2 = 404;
    let end = iso(now());
    for (rules, want) in [
        (without_role, "the instance has no role"),
        (instance("<html>".to_owned()), "AccessKeyId is missing"),
        (instance("{\"AccessKeyId\": 5}".to_owned()), "AccessKeyId is missing"),
        (instance(keys("").replace("\"Token\"", "\"token\"")), "Token is missing"),
        (instance(keys("").replace("s/+", "s/\\n")), "not printable ASCII"),
        (instance(keys(", \"Expiration\": \"soon\"")), "Expiration is malformed"),
        (instance(keys(&format!(", \"Expiration\": \"{end}\""))), ""),
    ] {
        let (address, _) = platform(rules);
        let source = KeySource::Platform(Platform::Instance(format!("http://{address}")));
        let issuer = Issuer::new(&source, "us-east-1", S3Timeouts::default(), None).unwrap();
        match first(&issuer).0 {
            Err(why) => assert!(why.contains(want), "{want}: {why}"),
            // Keys that are about to expire are used, and renewed after half a minute.
            Ok(_) => assert_eq!(want, ""),
        }
    }
    // A packet filter, or a hop limit that is too low for a container, swallows the request.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let why = reason(Platform::Instance(endpoint));
    assert!(why.starts_with("GetCredentials: no response from the platform: timeout"), "{why}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn a_container_gets_its_keys_with_the_token_of_its_file() {
    let fake = Fake::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "abc\n").unwrap();
    let rule = |token| ("GET /v1/credentials?x=1", token, 200, keys(", \"RoleArn\": \"r\""));
    let (address, asked) = platform(vec![rule("authorization: abc")]);
    let uri = format!("http://{address}/v1/credentials?x=1");
    let store = settings(&fake.endpoint()).container_keys(&*uri, Some(file.clone()));
    let storage = store.build().unwrap().storage("").unwrap();
    put(&storage, "f", WriteMode::Create, b"one").unwrap();
    assert_eq!(*asked.lock(), ["GET /v1/credentials?x=1"]);
    // The platform replaces the token, so each request reads it again.
    std::fs::write(&file, "other").unwrap();
    let container = |uri: &str, file| Platform::Container(uri.to_owned(), file);
    assert!(reason(container(&uri, Some(file.clone()))).contains("401"));
    std::fs::remove_file(&file).unwrap();
    assert!(reason(container(&uri, Some(file.clone()))).contains("cannot read the token: No such"));
    // The token is sent only to the platform, or over TLS.
    for (uri, is_good) in [
        ("http://169.254.170.23/v1/credentials", true),
        ("http://[fd00:ec2::23]/v1/credentials", true),
        ("https://keys.example/v1", true),
        ("/v2/credentials/id", true),
        ("http://169.254.170.234/v1", false),
        ("http://192.0.2.1/v1", false),
        ("http://127.0.0.1.example.org/v1", false),
        ("http://127.0.0.1@192.0.2.1/", false),
        ("ftp://127.0.0.1/", false),
        ("", false),
    ] {
        let platform = container(uri, None);
        let refused = match platform.connect() {
            Err(S3Error::Unresolved { .. }) | Ok(_) => false,
            Err(_) => true,
        };
        assert_eq!(!refused, is_good, "{uri}");
    }
}
