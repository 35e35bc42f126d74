//! Bytes that are shown to users.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::escaped(data));
