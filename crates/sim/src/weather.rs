//! How bad the world is for a while: plans of faults, drawn anew every few seconds.

use std::ops::Range;
use std::time::Duration;

use crate::dice::Dice;
use crate::disk::DiskPlan;
use crate::net::NetPlan;
use crate::store::StorePlan;
use crate::world::World;

fn millis(range: Range<u64>) -> Range<Duration> {
    Duration::from_millis(range.start)..Duration::from_millis(range.end)
}

fn micros(range: Range<u64>) -> Range<Duration> {
    Duration::from_micros(range.start)..Duration::from_micros(range.end)
}

/// How late an effect may come at most.
pub const LATE_MAX: Duration = Duration::from_secs(15);

/// Nothing fails, and everything takes its time.
pub fn calm(world: &World) {
    world.store.set_plan(calm_store());
    world.store.set_outage(None);
    world.store.cut_off(None);
    world.net.set_plan(calm_net());
    world.net.heal();
    world.disk.set_plan(calm_disk());
}

fn calm_store() -> StorePlan {
    StorePlan { latency: millis(2..20), bytes_per_second: 50 << 20, ..StorePlan::default() }
}

fn calm_net() -> NetPlan {
    NetPlan { latency: micros(100..2_000), partial_write: 0.05, ..NetPlan::default() }
}

fn calm_disk() -> DiskPlan {
    DiskPlan { latency: micros(50..2_000), ..DiskPlan::default() }
}

/// Disks on which there is always something under way.
pub fn slow_disks(world: &World) {
    world.disk.set_plan(DiskPlan { latency: millis(3..60), ..calm_disk() });
}

/// A share of what can go wrong goes wrong for a while.
pub fn bad(world: &World, dice: &Dice) {
    let often =
        |dice: &Dice, most: f64| if dice.chance(0.4) { most * (1 + dice.below(100)) as f64 / 100.0 } else { 0.0 };
    if dice.chance(0.7) {
        world.store.set_plan(StorePlan {
            latency: if dice.chance(0.2) { millis(20..400) } else { millis(2..40) },
            stalled: often(dice, 0.01),
            stall: millis(1_000..20_000),
            unavailable: often(dice, 0.2),
            lost_request: often(dice, 0.05),
            lost_reply: often(dice, 0.1),
            late_effect: often(dice, 0.05),
            late_by: Duration::from_millis(100)..LATE_MAX,
            damaged_write: often(dice, 0.02),
            short_read: often(dice, 0.1),
            damaged_read: often(dice, 0.05),
            ..calm_store()
        });
    }
    if dice.chance(0.5) {
        world.net.set_plan(NetPlan {
            slow: often(dice, 0.1),
            slow_by: millis(5..500),
            stalled: often(dice, 0.005),
            stall: millis(500..10_000),
            reset: often(dice, 0.01),
            refused: often(dice, 0.1),
            refuse: millis(100..3_000),
            partial_write: 0.2,
            ..calm_net()
        });
    }
    if dice.chance(0.5) {
        let latency = if dice.chance(0.4) { millis(2..30) } else { calm_disk().latency };
        world.disk.set_plan(DiskPlan { latency, slow: often(dice, 0.05), slow_by: millis(5..300) });
    }
}
