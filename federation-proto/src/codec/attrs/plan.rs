//! Decides, once all rows of a batch are in, which shapes stand in columns.

use super::encode::{AttrRow, NONE, Used};
use super::shapes::Shapes;
use crate::codec::streams::Streams;

/// Up to this many columns a batch keeps them all; beyond, shapes that have a column with few values go back to wire bytes.
const FREE_COLUMNS: usize = 48;
/// Values below which a column costs more than the keys it saves.
const MIN_VALUES: u32 = 4;

/// Which shapes stand in columns in this batch, and under which numbers.
pub(super) struct Plan {
    /// Final number of each shape, 0 = wire bytes.
    numbers: Vec<u32>,
    /// Columns of each shape: shape `s` (from 1) has `paths[ends[s - 1]..ends[s]]`.
    paths: Vec<u32>,
    ends: Vec<usize>,
    /// The columns in use, in the order in which they are written.
    pub(super) columns: Vec<u32>,
    /// First place of each column's values among all values, by column.
    pub(super) starts: Vec<usize>,
    values: usize,
}

impl Plan {
    pub(super) fn new(shapes: &Shapes, used: &[Used]) -> Self {
        let columns = shapes.keys().len();
        let mut plan = Plan {
            numbers: vec![0; used.len() + 1],
            paths: Vec::new(),
            ends: vec![0],
            columns: Vec::new(),
            starts: vec![0; columns],
            values: 0,
        };
        let mut counts = vec![0u32; columns];
        for shape in used {
            let start = plan.paths.len();
            shapes.path(shape.node, &mut plan.paths);
            plan.ends.push(plan.paths.len());
            plan.paths[start..].iter().for_each(|&column| counts[column as usize] += shape.rows);
        }
        let crowded = counts.iter().filter(|&&count| count > 0).count() > FREE_COLUMNS;
        plan.keep(used, crowded.then_some(counts));
        plan
    }

    /// Numbers the shapes that stand in columns, and lays out the columns they need.
    fn keep(&mut self, used: &[Used], counts: Option<Vec<u32>>) {
        let mut kept = 0;
        let mut totals = vec![0usize; self.starts.len()];
        for (index, shape) in used.iter().enumerate() {
            let path = &self.paths[self.ends[index]..self.ends[index + 1]];
            let pays = |column: &u32| counts.as_ref().is_none_or(|counts| counts[*column as usize] >= MIN_VALUES);
            if shape.rows == 0 || !path.iter().all(pays) {
                continue;
            }
            kept += 1;
            self.numbers[index + 1] = kept;
            for &column in path {
                if totals[column as usize] == 0 {
                    self.columns.push(column);
                }
                totals[column as usize] += shape.rows as usize;
            }
        }
        for &column in &self.columns {
            self.starts[column as usize] = self.values;
            self.values += totals[column as usize];
        }
    }

    /// The row's shape, 0 = wire bytes.
    pub(super) fn number(&self, row: AttrRow) -> u32 {
        if row.tail == NONE { self.numbers[row.shape as usize] } else { 0 }
    }

    /// The columns of a shape of this batch.
    pub(super) fn path(&self, shape: u32) -> &[u32] {
        &self.paths[self.ends[shape as usize - 1]..self.ends[shape as usize]]
    }

    /// Values of all columns.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    /// Writes keys and shapes.
    pub(super) fn emit_structure(&self, shapes: &Shapes, out: &mut Streams) {
        let mut dense = vec![0u64; self.starts.len()];
        out.number(self.columns.len() as u64);
        for (number, &column) in self.columns.iter().enumerate() {
            dense[column as usize] = number as u64;
            let key = &shapes.keys()[column as usize];
            out.number(key.of as u64);
            out.name(&key.name);
        }
        let kept = (1..self.numbers.len()).filter(|&shape| self.numbers[shape] != 0);
        out.number(kept.clone().count() as u64);
        for shape in kept {
            let path = self.path(shape as u32);
            out.number(path.len() as u64);
            path.iter().for_each(|&column| out.number(dense[column as usize]));
        }
    }
}
