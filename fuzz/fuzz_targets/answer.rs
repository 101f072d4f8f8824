#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| karez_fuzzed::answer(data));
