//! Batches that the spool's policy gives up, across power cuts.

use super::*;

impl Running {
    /// The spool's policy gives the oldest batch up.
    fn give_up(&mut self) {
        let Some((seq, item)) = self.pending.pop_first() else { return };
        let mut custody = self.custody.lock();
        if self.spool.lock().discard(seq) {
            custody.dropped(&item, Reason::SpoolFull);
            custody.possibly_delivered(&item);
        }
    }

    fn dropped(&self) -> u64 {
        self.custody.lock().accounts().map(|(_, _, terms, _, _)| terms.dropped.get(&Reason::SpoolFull).copied().unwrap_or(0)).sum()
    }
}

fn sending(ids: std::ops::Range<u64>) -> Sending {
    Sending { tenant: "acme", ids }
}

fn drop_and_ship(edge: &mut Running, router: &mut Router) -> Result<(), PowerCut> {
    for _ in 0..3 {
        edge.give_up();
        edge.checkpoint(false)?;
        edge.ship(1, router)?;
        edge.give_up();
        edge.checkpoint(true)?;
    }
    Ok(())
}

/// Wherever the power goes while batches are dropped, each row that was told OK reaches the router once or is counted as dropped once.
#[test]
fn a_dropped_batch_is_counted_once_across_power_cuts() {
    let rows = 100;
    for disk in 0..2 {
        for cut in 1..40 {
            let disks = Disks::new();
            let mut world = World::default();
            let now = start();
            let mut edge = Running::start(&disks, 1 << 20, now).unwrap();
            world.send(&mut edge, &[sending(0..rows)]).unwrap();
            edge.tick(AGE).unwrap();
            let disk = [&disks.inbox, &disks.spool][disk];
            disk.crash_at(disk.operations() + cut);
            let _ = drop_and_ship(&mut edge, &mut world.router);
            drop(edge);
            let mut edge = Running::start(&disks.restart(cut), 1 << 20, now).unwrap();
            edge.read_backlog().unwrap();
            edge.tick(AGE).unwrap();
            edge.ship(usize::MAX, &mut world.router).unwrap();
            edge.assert_balanced();
            let (_, doubled) = world.losses();
            assert_eq!((doubled, world.router.rows.len() as u64 + edge.dropped()), (vec![], rows), "cut {cut}");
        }
    }
}

/// An ack that comes after the batch was dropped changes no count: the spool no longer knows the batch.
#[test]
fn a_late_ack_counts_nothing() {
    let disks = Disks::new();
    let mut edge = Running::start(&disks, 1 << 20, start()).unwrap();
    edge.send(&[sending(0..10)]).unwrap();
    edge.tick(AGE).unwrap();
    let (seq, item) = edge.pending.first_key_value().map(|(seq, item)| (*seq, item.clone())).unwrap();
    edge.give_up();
    if edge.spool.lock().ack(seq) {
        edge.custody.lock().shipped(&item);
    }
    edge.assert_balanced();
    let custody = edge.custody.lock();
    let (_, _, terms, _, _) = custody.accounts().next().unwrap();
    assert_eq!((terms.shipped, terms.dropped[&Reason::SpoolFull], terms.possibly_delivered), (0, 10, 10));
}
