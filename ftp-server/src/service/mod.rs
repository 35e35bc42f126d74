//! What serves a session: its loop, its control connection and its transfers; and what others know
//! and do of sessions that run.

mod control;
pub(crate) mod login_watchdog;
pub(crate) mod register;
pub(crate) mod relay;
mod run;
mod script;
pub(crate) mod session_handle;
pub(crate) mod session_list;
mod transfer;
mod transfer_watch;

pub(crate) use run::{Greeting, run};
pub use session_list::{Activity, SessionInfo};
