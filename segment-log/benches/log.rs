//! How fast a log takes records to disk, and how fast it opens again.

fn main() {
    divan::main();
}
