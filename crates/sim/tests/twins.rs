//! Two runs of one seed are the same.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::time::Duration;

use base::Clock;
use base::net::Network;
use base::net::memory::MemoryNetwork;
use node::{LogPlace, Segments};
use sim::broker::{Broker, Ports, Settings, dice_of};
use sim::dice::Dice;
use sim::faults::Faults;
use sim::host::{Planted, SimHost};
use sim::process::Process;
use sim::trace::{self, Trace};

fn once(seed: u64) -> (u64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let trace = Trace::new(None);
        trace::hook_panics();
        trace::begin(&trace);
        let dice = Dice::new(seed);
        let process = Process::new("broker", 1);
        let host = SimHost::new(&process, dice_of(&process, &dice), &Faults::default(), &trace, &Planted::default());
        let ports = Ports {
            network: Network::from_source(std::sync::Arc::new(MemoryNetwork::default())),
            files: base::file::Files::system(),
            stores: blob::Stores::system(),
            clock: Clock::runtime(1_700_000_000_000),
        };
        let settings = Settings {
            id: 1,
            address: "10.0.0.1:9092".parse().unwrap(),
            log: LogPlace::Memory,
            home: None,
            segments: Segments::default(),
            snapshots: meta::SnapshotPolicy::default(),
            store: "memory://".to_owned(),
            keys: Vec::new(),
        };
        let mut broker = Broker::start(&process, &host, &settings, &ports, &trace);
        tokio::time::sleep(Duration::from_secs(10)).await;
        eprintln!("{:?}", broker.phase());
        broker.order(node::Order::Drain);
        let end = broker.over().await;
        eprintln!("{end:?}");
        for line in trace.last(100) {
            eprintln!("{line}");
        }
        eprintln!("{:?}", trace::end());
        trace.digest()
    })
}

#[test]
fn two_runs_of_a_seed_have_the_same_trace() {
    assert_eq!(once(1), once(1));
}
