//! The client of a transfer: borrowed, owned, or lent by a pool.

use std::borrow::{Borrow, BorrowMut};
use std::ops::{Deref, DerefMut};

use crate::client::Client;

/// A client that a transfer holds until its end.
#[derive(Debug)]
pub(super) struct Held<C>(Option<C>);

impl<C> Held<C> {
    pub(super) const fn new(client: C) -> Self {
        Self(Some(client))
    }

    /// Gives the client back. The transfer must not use it any more.
    pub(super) const fn take(&mut self) -> Option<C> {
        self.0.take()
    }

    pub(super) const fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

const THERE: &str = "the client is given back only at the end";

impl<C: Borrow<Client>> Deref for Held<C> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.0.as_ref().expect(THERE).borrow()
    }
}

impl<C: BorrowMut<Client>> DerefMut for Held<C> {
    fn deref_mut(&mut self) -> &mut Client {
        self.0.as_mut().expect(THERE).borrow_mut()
    }
}
