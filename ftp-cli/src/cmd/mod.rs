//! The commands, one file each.

pub(crate) mod batch;
pub(crate) mod chmod;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod fxp;
pub(crate) mod get;
pub(crate) mod help;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod mirror;
pub(crate) mod mkdir;
pub(crate) mod mv;
pub(crate) mod passwd;
pub(crate) mod put;
pub(crate) mod quote;
pub(crate) mod rm;
pub(crate) mod rmdir;
pub(crate) mod serve;
pub(crate) mod stat;
