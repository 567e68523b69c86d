#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use tributary_fuzz::{chunk, mutate};

fuzz_target!(|data: &[u8]| chunk::check(data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::mutate(data, size, max_size, seed, fuzzer_mutate, chunk::fresh, mutate::none)
});
