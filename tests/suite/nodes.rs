//! HAProxy before two servers of one bucket, with the configuration of the documentation.

use std::net::IpAddr;
use std::process::Command;

use ftp_server::{Rights, Server};
use ftp_tests::compare::assert_same;
use ftp_tests::content::binary;
use ftp_tests::network::in_own_network;
use ftp_tests::peer::{ObjectStore, Peer};
use ftp_tests::process::run;
use ftp_tests::raw::{RawData, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::scale::is_full;
use ftp_tests::wait::wait_until;

use super::haproxy::{ADDRESSES, Balancer, CLIENTS, Clients, FRONT, SERVERS, config};
use super::stores::{place, storage_at};

const LENGTH: usize = 17 << 20;

/// A server of the bucket, and the clients that logged in to it.
fn node(place: &str, host: &str, ports: &str) -> (Server, Clients) {
    let clients = Clients::default();
    let builder = Server::builder().storage(storage_at(place)).config(config(ports));
    let builder = builder.user("u", "p", Rights::FULL).observer(clients.clone());
    (builder.bind((host, 21)).expect("a server in a network of its own"), clients)
}

/// Returns curl as this client of the balancer.
fn curl(peer: &Peer, client: &str, root: &TempRoot) -> Command {
    let mut command = peer.command();
    command.args(["-q", "-sS", "--interface", client]).current_dir(root.path());
    command
}

#[test]
fn two_servers_share_a_bucket_of_moto_and_one_resumes_uploads_of_the_other() {
    let test = "nodes::two_servers_share_a_bucket_of_moto_and_one_resumes_uploads_of_the_other";
    share_a_bucket(test, ObjectStore::moto);
}

#[test]
fn two_servers_share_a_bucket_of_seaweedfs_and_one_resumes_uploads_of_the_other() {
    let test =
        "nodes::two_servers_share_a_bucket_of_seaweedfs_and_one_resumes_uploads_of_the_other";
    share_a_bucket(test, ObjectStore::seaweedfs);
}

#[test]
fn two_servers_share_a_bucket_of_garage_and_one_resumes_uploads_of_the_other() {
    let test = "nodes::two_servers_share_a_bucket_of_garage_and_one_resumes_uploads_of_the_other";
    share_a_bucket(test, ObjectStore::garage);
}

/// A plain run has Garage, the fastest one.
fn share_a_bucket(test: &str, start: fn() -> Option<ObjectStore>) {
    if !is_full() && !test.contains("garage") {
        return;
    }
    if !in_own_network(test, &ADDRESSES) {
        return;
    }
    let (Some(haproxy), Some(peer)) = (Peer::find("haproxy"), Peer::find("curl")) else { return };
    let Some(store) = start() else { return };
    let mut nodes = SERVERS.map(|(host, ports)| Some(node(&place(&store), host, ports)));
    let _balancer = Balancer::start(&haproxy, "send-proxy-v2");
    let root = TempRoot::new();
    let content = binary(LENGTH, 9);
    root.write("up", &content);
    let url = |name: &str| format!("ftp://u:p@{FRONT}/{name}");
    // What one client stores through its server, each other client reads through the other one.
    for client in CLIENTS {
        run(curl(&peer, client, &root).args(["-T", "up", &url(client)])).succeeded();
        let [first, ..] = CLIENTS;
        let read = run(curl(&peer, client, &root).arg(url(first))).succeeded();
        assert_same(client, &read, &content);
    }
    let served = |clients: &Clients, client: &str| clients.has(client.parse().unwrap());
    for (_, clients) in nodes.iter().flatten() {
        let count = CLIENTS.iter().filter(|client| served(clients, client)).count();
        assert!((1..CLIENTS.len()).contains(&count), "{count} clients at one server");
    }
    // The server of a client ends in the middle of its upload.
    let [client, ..] = CLIENTS;
    let (own, front): (IpAddr, IpAddr) = (client.parse().unwrap(), FRONT.parse().unwrap());
    let mut session = RawSession::login_from(own, (front, 21).into(), "u", "p");
    session.expect("TYPE I", 200);
    let address = session.expect("EPSV", 229).text();
    let port: u16 = address.split('|').nth(3).unwrap().parse().unwrap();
    let mut data = RawData::connect_from(own, (front, port).into());
    session.expect("STOR there", 150);
    data.write_all(&content[..11 << 20]);
    let its_own = |node: &Option<(Server, Clients)>| {
        node.as_ref().is_some_and(|(_, clients)| served(clients, client))
    };
    let mine = nodes.iter().position(its_own).unwrap();
    drop(nodes[mine].take());
    // The client tries again until the balancer has noticed.
    let resumes = || {
        let mut resume = curl(&peer, client, &root);
        run(resume.args(["-v", "-C", "-", "-T", "up", &url("there")])).code() == Some(0)
    };
    wait_until("the upload is resumed by the other server", resumes);
    let read = run(curl(&peer, client, &root).arg(url("there"))).succeeded();
    assert_same("there", &read, &content);
}
