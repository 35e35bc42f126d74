//! One request of one node that the store carries out at another moment, twice or never, or that
//! another program answers. A node is known by its access key.

use ftp_tests::wait::wait_until;

use super::http::{Answer, Asked, Connection};
use super::{Fake, Shared, answer};

/// What becomes of a request. It is held until [`let_go`](Fake::let_go), unless it says otherwise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum Odd {
    /// It is carried out at once, and answered late.
    LateAnswer,
    /// It is carried out and answered late, as a request of a node that was stopped.
    LateWork,
    /// The source of a copy is read at once, and the copy is made and answered late.
    SlowCopy,
    /// It is carried out at once, and the connection is lost.
    LostAnswer,
    /// The store restarts, and has never received it.
    Restart,
    /// The connection is lost, and [`settle`](Fake::settle) carries it out.
    Adrift,
    /// It is carried out and answered, and `settle` carries it out again. Is not held.
    Twice,
    /// Another program answers. If the flag is set, after the store has carried it out.
    Other(Stranger, bool),
    /// It is lost, and so is each later request of the node, until `let_go`. Is not held. If the
    /// flag is set, the store has carried out the first one.
    Outage(bool),
}

/// A program between the node and the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum Stranger {
    /// A blocker that answers everything with 204.
    NoContent,
    /// A web framework that sends nothing, with a weak tag.
    Nothing,
    /// A web framework that sends JSON, with a weak tag.
    Json,
    /// A web server that sends a file, with a strong tag.
    Text,
    /// A gateway that does not know the request, in the words of S3.
    Gateway,
}

impl Stranger {
    fn answer(self) -> Answer {
        match self {
            Self::NoContent => Answer::page(204, ""),
            Self::Nothing => Answer::page(200, "").with("etag", "W/\"0-2jmj7l5rSw0yVb\""),
            Self::Json => Answer::page(200, "{\"ok\":true}")
                .with("content-type", "application/json; charset=utf-8")
                .with("etag", "W/\"b-Ai2R8hgEarLmHKwesT1qcY913ys\""),
            Self::Text => Answer::page(200, "It works!\n")
                .with("content-type", "text/plain")
                .with("etag", "\"66f1c3a0-a\""),
            Self::Gateway => Answer::page(501, "<Error><Code>NotImplemented</Code></Error>"),
        }
    }
}

/// The request that meets a fault, and what the store knows of all nodes.
#[derive(Default)]
pub(super) struct OddRequests {
    /// Each request, by its node and operation.
    seen: Vec<(String, &'static str)>,
    /// The node, the operation, the number of its requests that pass before, and the fault.
    plan: Option<(&'static str, &'static str, u64, Odd)>,
    is_met: bool,
    is_let_go: bool,
    adrift: Vec<(&'static str, Asked)>,
}

impl Fake {
    pub(in super::super) fn requests_of(&self, node: &str) -> Vec<&'static str> {
        let odd = self.shared.odd.lock();
        odd.seen.iter().filter(|(own, _)| own == node).map(|(_, operation)| *operation).collect()
    }

    /// Lets a request of a node meet a fault, after `passed` requests for the same operation.
    pub(in super::super) fn meet(
        &self,
        node: &'static str,
        operation: &'static str,
        passed: u64,
        odd: Odd,
    ) {
        self.shared.odd.lock().plan = Some((node, operation, passed, odd));
    }

    pub(in super::super) fn is_met(&self) -> bool {
        self.shared.odd.lock().is_met
    }

    /// Lets the held request go on, and ends an outage.
    pub(in super::super) fn let_go(&self) {
        self.shared.odd.lock().is_let_go = true;
    }

    /// Carries out the requests that were under way all the time.
    pub(in super::super) fn settle(&self) {
        let adrift = std::mem::take(&mut self.shared.odd.lock().adrift);
        for (operation, asked) in adrift {
            answer(&self.shared, operation, &asked);
        }
    }
}

impl Shared {
    /// Notes a request, and returns its fault.
    pub(super) fn odd(&self, operation: &'static str, asked: &Asked) -> Option<Odd> {
        let node = asked.keys().map_or("", |(key, _)| key);
        let mut odd = self.odd.lock();
        odd.seen.push((node.to_owned(), operation));
        let (is_met, is_let_go) = (odd.is_met, odd.is_let_go);
        let (its_node, its_operation, left, fault) = odd.plan.as_mut()?;
        if *its_node != node {
            return None;
        }
        if is_met {
            return Some(Odd::Outage(false))
                .filter(|_| matches!(fault, Odd::Outage(_)) && !is_let_go);
        }
        if *its_operation != operation {
            return None;
        }
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let fault = *fault;
        odd.is_met = true;
        Some(fault)
    }

    fn is_held(&self) {
        wait_until("the request goes on", || self.odd.lock().is_let_go);
    }
}

impl Odd {
    /// Serves a request that meets this fault. Returns the connection, unless it is lost.
    pub(super) fn serve(
        self,
        shared: &Shared,
        mut connection: Connection,
        operation: &'static str,
        asked: Asked,
    ) -> Option<Connection> {
        let work = || answer(shared, operation, &asked);
        let came = match self {
            Self::LateAnswer | Self::LostAnswer | Self::Twice | Self::Outage(true) => Some(work()),
            Self::Other(_, true) => Some(work()),
            _ => None,
        };
        let read = (self == Self::SlowCopy).then(|| shared.state.lock().read_source(&asked));
        if !matches!(self, Self::Twice | Self::Outage(_)) {
            shared.is_held();
        }
        let came = match self {
            Self::LateWork => work(),
            Self::SlowCopy => shared.state.lock().end_copy(&asked, read?),
            Self::LateAnswer | Self::Twice => came?,
            Self::Other(stranger, _) => stranger.answer(),
            Self::LostAnswer | Self::Restart | Self::Adrift | Self::Outage(_) => {
                connection.reset();
                if self == Self::Adrift {
                    shared.odd.lock().adrift.push((operation, asked));
                }
                return None;
            }
        };
        let is_done = connection.answer(&asked, &came);
        if self == Self::Twice {
            shared.odd.lock().adrift.push((operation, asked));
        }
        is_done.then_some(connection)
    }
}
