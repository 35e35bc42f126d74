//! The text of a 257.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::quoted_pathname(data));
