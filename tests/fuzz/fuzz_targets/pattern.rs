//! A pattern, and on the next line a name.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::pattern(data));
