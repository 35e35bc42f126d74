//! An argument of a verb that takes one of some words.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::argument_of_words(data));
