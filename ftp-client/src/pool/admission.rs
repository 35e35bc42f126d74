//! How many connections a server accepts: the state of a pool, without I/O.

use super::patience::{Attempted, Recovery};

/// What the connections of a pool show about the server.
///
/// Servers refuse a connection beyond their limit in many ways: 421, 530 as the greeting or after
/// `PASS`, or a reset. A refusal means a limit only if the server accepts another connection.
/// Therefore only one caller makes the first connection, while the others wait for the result. If
/// all connections are lost, nothing is known any more, so that a network failure does not shrink a
/// pool for good.
#[derive(Debug)]
pub(super) struct Admission<E> {
    /// The number of connections that the caller wants.
    size: usize,
    /// The number of connections that the server accepts, as far as known.
    limit: usize,
    /// The connections that are lent or idle.
    open: usize,
    /// The connections that are being made.
    dialling: usize,
    /// The last refusal of one more connection.
    fewer: Option<E>,
    /// The reason why no more connections are made.
    shut: Option<E>,
}

/// What a caller without a connection does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// It makes a connection, and reports the result.
    Dial,
    /// It waits until another caller reports its result.
    Wait,
    /// All connections are lent: it waits until one is idle.
    Full,
}

impl<E: Attempted> Admission<E> {
    pub(super) const fn new() -> Self {
        Self { size: 1, limit: 1, open: 0, dialling: 0, fewer: None, shut: None }
    }

    pub(super) fn resize(&mut self, size: usize) {
        self.size = size.max(1);
        self.limit = self.size;
    }

    /// Returns the failure after which no connection is used any more.
    pub(super) fn refusal(&self) -> Option<E> {
        self.shut.as_ref().map(Attempted::again)
    }

    pub(super) fn shut(&mut self, why: Option<E>) {
        self.shut = why;
    }

    /// Returns why the server accepts no more connections, if it refused one.
    pub(super) fn fewer(&self) -> Option<E> {
        self.fewer.as_ref().map(Attempted::again)
    }

    /// Returns the turn of a caller when no connection is idle.
    pub(super) fn turn(&mut self) -> Turn {
        if self.open == 0 && self.dialling > 0 {
            return Turn::Wait;
        }
        if self.open + self.dialling >= self.limit {
            return Turn::Full;
        }
        self.dialling += 1;
        Turn::Dial
    }

    pub(super) fn accepted(&mut self) {
        self.dialling = self.dialling.saturating_sub(1);
        self.open += 1;
        // Another caller may have been refused in the meantime.
        self.limit = self.limit.max(self.open);
    }

    /// Records a refused connection. Returns whether it is a limit of the server: the caller then
    /// waits for one of the accepted connections.
    pub(super) fn refused(&mut self, failure: &E) -> bool {
        self.dialling = self.dialling.saturating_sub(1);
        if self.open > 0 {
            self.limit = self.open;
            self.fewer = Some(failure.again());
            return true;
        }
        if failure.recovery() == Recovery::Impossible {
            // A wrong password is tried once, not by every caller.
            self.shut = Some(failure.again());
        }
        false
    }

    pub(super) fn lost(&mut self) {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            self.limit = self.size;
            self.fewer = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_refusal_beside_an_accepted_connection_means_fewer_connections() {
        let mut doors = Admission::<Error>::new();
        doors.resize(4);
        // The others wait for the result of the first connection.
        assert_eq!([doors.turn(), doors.turn()], [Turn::Dial, Turn::Wait]);
        // A failure before any success is the failure of its caller.
        assert!(!doors.refused(&Error::Closed));
        assert_eq!(doors.turn(), Turn::Dial);
        doors.accepted();
        assert_eq!([doors.turn(), doors.turn()], [Turn::Dial, Turn::Dial]);
        assert!(doors.refused(&Error::Cancelled));
        assert!(doors.refusal().is_none());
        assert!(matches!(doors.fewer(), Some(Error::Cancelled)));
        assert_eq!(doors.turn(), Turn::Full);
        // One of the connections that were being made is accepted after all.
        doors.accepted();
        assert_eq!(doors.turn(), Turn::Full);
        // A lost connection can be replaced, but the limit stays.
        doors.lost();
        assert_eq!([doors.turn(), doors.turn()], [Turn::Dial, Turn::Full]);
        doors.accepted();
        // Without any connection, nothing is known.
        doors.lost();
        doors.lost();
        assert_eq!(doors.turn(), Turn::Dial);
        doors.accepted();
        assert_eq!([doors.turn(), doors.turn(), doors.turn()], [Turn::Dial; 3]);
        assert_eq!(doors.turn(), Turn::Full);
        assert!(doors.fewer().is_none());
    }

    #[test]
    fn a_wrong_password_is_tried_once_and_not_by_every_caller() {
        let mut doors = Admission::<Error>::new();
        assert_eq!(doors.turn(), Turn::Dial);
        assert!(!doors.refused(&Error::Cancelled));
        assert!(matches!(doors.refusal(), Some(Error::Cancelled)));
    }

    /// All rows of eight events, for servers and pools of up to three connections: the pool never
    /// has more connections than wanted, a caller never waits for nothing, and a server that
    /// accepts n connections is asked for more only once while one is open.
    #[test]
    fn all_rows_of_events_keep_the_limits() {
        for size in 1..4 {
            for accepts in 0..4 {
                for row in 0..3_u32.pow(8) {
                    let mut doors = Admission::<Error>::new();
                    doors.resize(size);
                    let (mut open, mut dialling, mut refusals) = (0, 0, 0);
                    for at in 0..8 {
                        match row / 3_u32.pow(at) % 3 {
                            0 => match doors.turn() {
                                Turn::Dial => dialling += 1,
                                Turn::Wait => assert!(dialling > 0, "waits for nothing"),
                                Turn::Full => assert!(open > 0, "waits for nothing"),
                            },
                            1 if dialling > 0 => {
                                dialling -= 1;
                                if open < accepts {
                                    doors.accepted();
                                    open += 1;
                                } else {
                                    assert_eq!(doors.refused(&Error::Closed), open > 0);
                                    refusals += usize::from(open > 0);
                                }
                            }
                            2 if open > 0 => {
                                doors.lost();
                                open -= 1;
                                refusals = if open == 0 { 0 } else { refusals };
                            }
                            _ => {}
                        }
                        assert!(open + dialling <= size, "{size} {accepts} {row}");
                        assert!(refusals < size, "{size} {accepts} {row}");
                    }
                }
            }
        }
    }
}
