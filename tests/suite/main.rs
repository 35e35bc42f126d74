//! One test program: a module for each behaviour that needs more than one crate.

mod server;
