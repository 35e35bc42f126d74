//! The lines of a reply to `FEAT`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::features(data));
