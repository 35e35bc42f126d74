//! A line of a reply to `LIST` in the form EPLF.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::listing_eplf(data));
