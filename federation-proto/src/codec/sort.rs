//! Stable counting sorts over dense codes: rows that resemble one another come to stand together, for a few nanoseconds each.

/// The order of a batch's rows, refined key by key, the least significant key first.
#[derive(Debug, Default)]
pub(crate) struct Order {
    rows: Vec<u32>,
    spare: Vec<u32>,
    counts: Vec<u32>,
}

impl Order {
    /// The order of arrival.
    pub(crate) fn begin(&mut self, rows: usize) {
        self.rows.clear();
        self.rows.extend(0..rows as u32);
        self.spare.clear();
        self.spare.resize(rows, 0);
    }

    /// Sorts by `key`, whose values are below `keys`; rows of equal keys keep their order.
    pub(crate) fn sort_by(&mut self, keys: usize, key: impl Fn(usize) -> u32) {
        if keys <= 1 {
            return;
        }
        self.counts.clear();
        self.counts.resize(keys + 1, 0);
        for &row in &self.rows {
            self.counts[key(row as usize) as usize + 1] += 1;
        }
        for at in 0..keys {
            self.counts[at + 1] += self.counts[at];
        }
        for &row in &self.rows {
            let place = &mut self.counts[key(row as usize) as usize];
            self.spare[*place as usize] = row;
            *place += 1;
        }
        std::mem::swap(&mut self.rows, &mut self.spare);
    }

    /// The rows, in this order.
    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }
}
