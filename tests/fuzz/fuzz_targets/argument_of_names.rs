//! An argument of a verb that takes a name.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::argument_of_names(data));
