//! Forms of values, grouped by their syntax.

mod dates;
mod directories;
mod lists;
mod mounts;
mod numbers;
mod texts;
mod words;

pub(crate) use dates::{EXPIRY, Expiry};
pub(crate) use directories::{DIRECTORIES, directory_path, directory_rights};
pub(crate) use lists::{
    ADDRESSES, ARGUMENTS, EVENTS, HOSTS, NAMES, NETWORKS, OVERRIDES, PATTERNS, PINS, PROGRAM, USERS,
};
pub(crate) use mounts::{MOUNTS, MountPoint, mount_path, mounted_root};
pub(crate) use numbers::{
    ATTEMPTS, COUNT, FILES, IDLE_TIME, MODE, NUMBER, OWN_COUNT, OWN_IDLE_TIME, OWN_UMASK,
    PROCESSES, RATE, SIZE, SPEED, TIME, UMASK, WAITING_TIME,
};
pub(crate) use texts::{
    ACCESS_KEY, ADDRESS, BUCKET, ENDPOINT, FILE, GROUP, HOME, LEDGER, LINE, LOG_TARGET, METRICS,
    OWN_ROOT, PASSWORD, PORTS, REGION, RIGHTS, ROLE, ROOT, RUN_AS,
};
pub(crate) use words::{
    CLIENTS, CONFINE, LOG, ON_FAILURE, OWN_PARTIAL, OWN_SWITCH, OWN_SYNC, PARTIAL, REUSE, SWITCH,
    SYNC, TLS, TYPE, VERSION,
};
