//! Our client under TLS: against servers that others wrote, and against ours.

mod ours;
mod peer;
mod real;
mod scripted;
mod session;
