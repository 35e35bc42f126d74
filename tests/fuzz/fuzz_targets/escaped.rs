//! Bytes that are shown to people.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::escaped(data));
