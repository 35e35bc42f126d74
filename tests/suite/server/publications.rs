//! Observers hear of an upload before it is published, and then how its publication ended.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ftp_server::testing::{Fault, FaultStorage, StorageCall};
use ftp_server::{Event, EventKind, Observer, Rights, Server, StorageErrorKind};
use ftp_tests::at_once::at_once;
use ftp_tests::wait::{patiently, wait_until};

use super::slow_storage::{abort, memory, session, upload};

/// Collects the ends of transfers, and what becomes of announced uploads.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<&'static str>>>);

impl Told {
    fn add(&self, word: &'static str) {
        self.0.lock().expect("nothing panics here").push(word);
    }
}

impl Observer for Told {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::Transferred(transfer) = event.kind {
            self.add(transfer.end.as_str());
        }
    }

    fn before_publication(
        &self,
        _: &Event<'_>,
        _: Option<(u64, u64)>,
    ) -> Option<Box<dyn FnOnce(bool) + Send>> {
        self.add("announced");
        let announced = AnnouncedUpload { told: self.clone(), end: "dropped" };
        Some(Box::new(move |is_made| announced.end(if is_made { "made" } else { "withdrawn" })))
    }
}

/// An announced upload. It says what has become of it when it is dropped.
struct AnnouncedUpload {
    told: Told,
    end: &'static str,
}

impl AnnouncedUpload {
    fn end(mut self, end: &'static str) {
        self.end = end;
    }
}

impl Drop for AnnouncedUpload {
    fn drop(&mut self) {
        self.told.add(self.end);
    }
}

#[test]
fn an_announced_upload_ends_as_its_publication_does_whoever_waits_for_it_dc_45_st_15() {
    let fail = |kind| Some(Fault::Fail(kind));
    let ends: [(Option<Fault>, &[&str]); 4] = [
        (None, &["made", "fin"]),
        (fail(StorageErrorKind::Unsynced), &["made", "fin"]),
        (fail(StorageErrorKind::Denied), &["withdrawn"]),
        (fail(StorageErrorKind::Unknown), &["dropped"]),
    ];
    let acts = [("ABOR", "abor"), ("end of the client", "control-lost"), ("shutdown", "cut")];
    let cases = ends.iter().flat_map(|end| acts.map(|act| (end, act)));
    at_once(8, cases, |((fault, want), (act, end))| {
        patiently(Duration::from_millis(700), |limit| {
            let call = StorageCall::UploadCommit;
            let delay = Fault::Delay(limit);
            let mut storage = FaultStorage::new(memory()).at(call, 1, delay);
            if let Some(fault) = fault {
                storage = storage.at(call, 1, *fault);
            }
            let told = Told::default();
            let builder = Server::builder().config(super::quick()).storage(storage.clone());
            let builder = builder.observer(told.clone()).user("u", "p", Rights::FULL);
            let server = builder.bind("127.0.0.1:0").expect("a server");
            let mut session = session(&server);
            upload(&mut session, "STOR f").close();
            wait_until("the file is being published", || storage.count(call) > 0);
            match act {
                "ABOR" => drop(abort(&mut session)),
                "shutdown" => assert_eq!(server.shutdown(Duration::ZERO).cut, 1),
                _ => drop(session),
            }
            let want = [&["announced", end], *want].concat();
            wait_until("it is told", || *told.0.lock().expect("nothing panics there") == want);
        });
    });
}
