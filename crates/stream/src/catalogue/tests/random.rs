//! Random histories: every invariant after every batch, and replay makes the same image.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Create,
    Commit { pick: usize, back: u64, length: u64, checkpoint: bool },
    Trim { pick: usize, ahead: u64 },
    Delete { pick: usize },
    Restart { drain: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Create),
        8 => (any::<usize>(), 0..4u64, 1..20u64, any::<bool>())
            .prop_map(|(pick, back, length, checkpoint)| Step::Commit { pick, back, length, checkpoint }),
        3 => (any::<usize>(), 0..30u64).prop_map(|(pick, ahead)| Step::Trim { pick, ahead }),
        1 => any::<usize>().prop_map(|pick| Step::Delete { pick }),
        1 => any::<bool>().prop_map(|drain| Step::Restart { drain }),
    ]
}

struct World {
    catalogue: Catalogue,
    me: Incarnation,
    log: Vec<MetadataRecord>,
    objects: u64,
}

impl World {
    fn take<T>(&mut self, decision: Decision<T>) -> T {
        self.log.extend(decision.records.iter().cloned());
        take(&mut self.catalogue, decision)
    }

    fn register(&mut self, id: Incarnation) {
        let record = BrokerRecord { broker_id: id.broker.0, broker_epoch: id.epoch.0, ..Default::default() };
        self.take(Decision { records: vec![record.into()], response: () });
        (self.me, self.objects) = (id, 0);
    }

    fn run(&mut self, step: &Step) {
        let ids: Vec<StreamId> = self.catalogue.streams().map(|(id, _)| id).collect();
        let chosen = |pick: usize| ids.get(pick % ids.len().max(1)).copied();
        match *step {
            Step::Create => {
                let made = self.catalogue.create_streams(2, self.me);
                self.take(made);
            }
            Step::Commit { pick, back, length, checkpoint } => {
                let Some(stream) = chosen(pick) else { return };
                let state = self.catalogue.stream(stream).unwrap().clone();
                let start = state.end.0.saturating_sub(back);
                let mut new = object(self.objects, vec![range(stream, state.epoch.0, start, start + length)]);
                if checkpoint {
                    let offset = state.end.max(Offset(start + length));
                    new.checkpoints.push(NewCheckpoint { stream, epoch: state.epoch, offset });
                }
                self.objects += 1;
                let sequence = self.catalogue.writer(self.me.broker).unwrap().next_commit;
                let decision = self.catalogue.commit(&request(self.me, sequence, vec![new]), NOW);
                self.take(decision).unwrap();
            }
            Step::Trim { pick, ahead } => {
                let Some(stream) = chosen(pick) else { return };
                let state = self.catalogue.stream(stream).unwrap();
                let request =
                    TrimRequest { stream, epoch: state.epoch, start: state.start + ahead, state: StateBelow::NotKept };
                let decision = self.catalogue.trim(&[request], NOW);
                self.take(decision);
            }
            Step::Delete { pick } => {
                let Some(stream) = chosen(pick) else { return };
                let decision = self.catalogue.delete_streams(&[stream]);
                self.take(decision);
                let decision = self.catalogue.retire(NOW);
                self.take(decision);
            }
            Step::Restart { drain } => {
                let (old, next) = (self.me, broker(1, self.me.epoch.0 + 1));
                if drain {
                    let step = self.catalogue.drained(old, WalPosition(1 << 40));
                    self.take(step).unwrap();
                }
                self.register(next);
                if !drain {
                    let step = self.catalogue.fence_incarnation(old);
                    self.take(step).unwrap();
                    let step = self.catalogue.assign(old, next);
                    self.take(step).unwrap();
                    let step = self.catalogue.recovered(old, next, WalPosition(1 << 40));
                    self.take(step).unwrap();
                }
                let step = self.catalogue.open_incarnation(next, wal());
                self.take(step).unwrap();
                let step = self.catalogue.adopt_orphans(next, 100);
                self.take(step);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn every_history_keeps_the_invariants_and_replays_to_the_same_image(steps in prop::collection::vec(step(), 1..60)) {
        let mut world =
            World { catalogue: Catalogue::new(), me: broker(1, 0), log: Vec::new(), objects: 0 };
        world.register(broker(1, 0));
        let open = world.catalogue.open_incarnation(world.me, wal());
        world.take(open).unwrap();
        for step in &steps {
            world.run(step);
            check(&world.catalogue);
        }
        let mut again = Catalogue::new();
        for record in &world.log {
            again.apply(record).unwrap();
        }
        prop_assert_eq!(again, world.catalogue);
    }
}
