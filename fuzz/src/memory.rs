//! How much memory something takes: libFuzzer's `-malloc_limit_mb` needs a sanitizer's hooks, this only an allocator that counts.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The result of `run`, and the most bytes of heap that it had at a time beyond what was there before. Counts all threads.
pub fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let out = run();
    (out, HEAP.peak_usage().saturating_sub(before))
}
