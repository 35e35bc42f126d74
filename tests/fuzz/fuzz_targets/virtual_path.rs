//! A pathname as the server resolves it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::virtual_path(data));
