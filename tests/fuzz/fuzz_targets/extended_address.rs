//! `EPRT` and the text of a 229.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::extended_address(data));
