//! Forms of values, grouped by their syntax.

mod lists;
mod numbers;
mod texts;
mod words;

pub(crate) use lists::{ADDRESSES, ARGUMENTS, HOSTS, NETWORKS, OVERRIDES, PATTERNS};
pub(crate) use numbers::{
    ATTEMPTS, COUNT, IDLE_TIME, MODE, NUMBER, OWN_COUNT, RATE, SIZE, TIME, UMASK, WAITING_TIME,
};
pub(crate) use texts::{
    ADDRESS, DIRECTORY, FILE, GROUP, HOME, LINE, METRICS, PASSWORD, PORTS, RIGHTS, RUN_AS,
};
pub(crate) use words::{CLIENTS, CONFINE, LOG, PARTIAL, REUSE, SWITCH, SYNC, TLS, VERSION};
