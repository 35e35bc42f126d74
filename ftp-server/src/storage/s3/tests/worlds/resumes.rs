//! An upload over a file that does not end: the store cannot be reached, or the node or its client
//! vanishes. The client resumes it, at this node or at the other one, as curl and lftp do. A success
//! must be the whole new file.

use std::time::Instant;

use super::known::UNRECORDED;
use super::*;
use crate::service::Activity;
use crate::storage::s3::tests::fake::Odd;

/// The contents of uploads: a short and a long one.
const SENT: [&str; 2] = ["A, which is longer than the old content", "LARGE"];

/// Where the client resumes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// At the same node, while the store cannot be reached, and again when it can.
    Same,
    /// At the other node, while the first one cannot reach the store, as if it had been killed.
    Other,
}

/// The client that resumes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Resumes {
    /// `SIZE`, `APPE`
    Curl,
    /// `SIZE`, `REST`, `STOR`
    Lftp,
}

impl Resumes {
    /// Resumes an upload. Returns the replies, and whether the client reports a success.
    fn go_on(self, session: &mut RawSession, sent: &str) -> (String, bool) {
        let whole = bytes_of(sent);
        session.expect("TYPE I", 200);
        let reply = session.ask("SIZE f");
        let text = reply.text();
        let size = text.strip_prefix("213 ").and_then(|size| size.trim().parse::<usize>().ok());
        let Some(size) = size else { return (format!("SIZE {}", reply.code), false) };
        let told = format!("SIZE {size} of {}", whole.len());
        let Some(rest) = whole.get(size..).filter(|rest| !rest.is_empty()) else {
            return (format!("{told}: complete"), true);
        };
        let data = session.passive();
        let command = match self {
            Self::Curl => "APPE f",
            Self::Lftp => {
                session.expect(format!("REST {size}"), 350);
                "STOR f"
            }
        };
        let reply = session.ask(command);
        if reply.code != 150 {
            return (format!("{told}, {command} {}", reply.code), false);
        }
        let _ = data.stream().write_all(rest);
        data.close();
        let code = end(session);
        (format!("{told}, {command} {code}"), code == 226)
    }

    /// Resumes an upload in a new session, and checks what a success leaves.
    fn check(self, fake: &Fake, node: &Node, sent: &str) -> Result<(), String> {
        let mut session = RawSession::login(node.server.local_addr(), "u", "p");
        let (told, is_success) = self.go_on(&mut session, sent);
        let is_whole = fake.content("f").is_some_and(|found| found == bytes_of(sent));
        if is_success && !is_whole { Err(format!("{told}: another file")) } else { Ok(()) }
    }
}

/// Returns a row and its end for each request of an upload.
fn outages(sent: &'static str) -> Vec<(String, Result<(), String>)> {
    let command = Command::over(sent);
    let requests = requests_of(&command);
    let cases = requests.into_iter().flat_map(|request| {
        let after = [false, true].map(Odd::Outage);
        let places =
            after.into_iter().flat_map(|odd| [Place::Same, Place::Other].map(|it| (odd, it)));
        let all =
            places.flat_map(|case| [Resumes::Curl, Resumes::Lftp].map(|client| (case, client)));
        all.map(move |case| (request, case))
    });
    at_once(16, cases.collect::<Vec<_>>(), |((operation, passed), ((odd, place), client))| {
        let (fake, _) = bucket();
        let [mut one, other] = NODES.map(|name| Node::hasty(&fake, name));
        one.warm_up();
        fake.meet(NODES[0], operation, passed, odd);
        one.begin(command.line, command.sent);
        let reply = end(&mut one.session);
        let has_begun = one.session.dialogue().contains("S: 150");
        let size = bytes_of(sent).len();
        let row = format!("{size} bytes | {operation} {passed} | {odd:?} {place:?} | {client:?}");
        let checked = match place {
            // The client has not sent a byte, and there is nothing to resume.
            _ if !has_begun => Ok(()),
            Place::Other => client.check(&fake, &other, sent),
            Place::Same => {
                let checked = client.check(&fake, &one, sent);
                fake.let_go();
                checked.and_then(|()| client.check(&fake, &one, sent))
            }
        };
        fake.let_go();
        (row, checked.map_err(|told| format!("{reply}, then {told}")))
    })
}

/// Returns a row and its end for clients that vanish without a word in the middle of an upload.
fn silences() -> Vec<(String, Result<(), String>)> {
    let cases =
        SENT.into_iter().flat_map(|sent| [Resumes::Curl, Resumes::Lftp].map(|it| (sent, it)));
    at_once(4, cases.collect::<Vec<_>>(), |(sent, client)| {
        let (fake, _) = bucket();
        let [mut one, other] = NODES.map(|name| Node::hasty(&fake, name));
        let whole = bytes_of(sent);
        let first = &whole[..whole.len() - 4];
        let mut data = one.session.passive();
        one.session.expect("STOR f", 150);
        data.write_all(first);
        let received = || {
            one.server.sessions().into_iter().any(|session| {
                matches!(session.activity, Activity::Transfer { bytes, .. } if bytes == first.len() as u64)
            })
        };
        wait_until("the server has the bytes", received);
        // The record may take a moment. Until then the other node tells the old size.
        let since = Instant::now();
        let checked = loop {
            let mut session = RawSession::login(other.server.local_addr(), "u", "p");
            session.expect("TYPE I", 200);
            if session.ask("SIZE f").code != 213 || since.elapsed() > Duration::from_secs(3) {
                break client.check(&fake, &other, sent);
            }
            thread::sleep(Duration::from_millis(50));
        };
        drop(data);
        (format!("{} bytes | silence | {client:?}", whole.len()), checked)
    })
}

#[test]
fn an_upload_that_an_outage_a_kill_or_silence_ends_is_never_resumed_at_the_old_size_fs_15_cm_107() {
    let mut played: Vec<_> = SENT.into_iter().flat_map(outages).collect();
    played.extend(silences());
    compare("resumes", &played, &UNRECORDED);
}
