#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use tributary_fuzz::{codec_encode, mutate};

fuzz_target!(|data: &[u8]| codec_encode::check(data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::mutate(data, size, max_size, seed, fuzzer_mutate, codec_encode::fresh, mutate::message_behind::<2>)
});
