//! Running sessions: their loop, control connection and transfers, and the register through which
//! other threads see and end them.

mod away;
mod control;
pub(crate) mod login_watchdog;
pub(crate) mod register;
mod run;
pub(crate) mod session_handle;
pub(crate) mod session_list;
mod transfer;
mod transfer_watch;

pub(crate) use away::{Away, LateObserver, LateTeller};
pub(crate) use run::{Greeting, Relay, run};
pub use session_list::{Activity, SessionInfo};
