//! Random histories that are right: clients of a log that does what it should, at every moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use judge::{Client, History, Key, Moment, Outcome, Start, Value, What};

/// Numbers from a seed (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Default)]
struct Log {
    records: Vec<(i64, Value)>,
    end: i64,
    start: i64,
    committed: Option<i64>,
}

struct Model {
    dice: Dice,
    history: History,
    now: u64,
    logs: BTreeMap<Key, Log>,
    clients: u32,
    values: u64,
    commits: u64,
    /// Of the group.
    generation: i32,
    /// Requests of which the client knows nothing any more, and which may still take effect.
    late: Vec<(Key, Late)>,
}

enum Late {
    /// Of an idempotent producer: in the order of sending.
    Record(Client, Value),
    /// For a generation: once that is over it is refused.
    Commit(i32, i64),
}

struct Producer {
    client: Client,
    in_flight: Vec<(Key, Value)>,
}

struct Reader {
    client: Client,
    wants: i64,
}

pub fn key(partition: i32) -> Key {
    Key { topic: Arc::from("a"), partition }
}

/// The history of a seed, read to its end.
pub fn history(seed: u64) -> History {
    let logs = (0..2).map(|partition| (key(partition), Log::default())).collect();
    let (history, late) = (History::default(), Vec::new());
    let mut model =
        Model { dice: Dice(seed), history, now: 0, logs, clients: 0, values: 0, commits: 0, generation: 1, late };
    let mut producers: Vec<Producer> =
        (0..3).map(|_| Producer { client: model.client(), in_flight: Vec::new() }).collect();
    let mut readers: Vec<(Key, Reader)> =
        (0..4).map(|number| model.reader(key(number % 2), Start::At(0), None)).collect();
    let mut members: Vec<(Key, Reader)> =
        (0..2).map(|number| model.reader(key(number), Start::At(0), Some("g"))).collect();
    for _ in 0..200 {
        match model.dice.below(12) {
            0..4 => {
                let number = model.dice.below(3) as usize;
                model.produce(&mut producers[number]);
            }
            4..6 => {
                let number = model.dice.below(4) as usize;
                model.poll(&mut readers[number]);
            }
            6..8 => {
                let number = model.dice.below(2) as usize;
                model.poll(&mut members[number]);
                model.commit(&members[number]);
            }
            8 => {
                let number = model.dice.below(2) as usize;
                model.rebalance(&mut members, number);
            }
            9 => model.ask(),
            10 => model.land(),
            _ => model.trim(),
        }
    }
    model.finish();
    model.history
}

impl Model {
    fn client(&mut self) -> Client {
        self.clients += 1;
        Client(self.clients)
    }

    fn tell(&mut self, client: Client, what: What) {
        self.now += self.dice.below(500);
        self.history.push(Moment(self.now), client, what);
    }

    fn log(&mut self, key: &Key) -> &mut Log {
        self.logs.get_mut(key).unwrap()
    }

    fn append(&mut self, key: &Key, value: Value) -> i64 {
        let gap = i64::from(self.dice.chance(10));
        let log = self.log(key);
        let offset = log.end + gap;
        log.records.push((offset, value));
        log.end = offset + 1;
        offset
    }

    fn produce(&mut self, producer: &mut Producer) {
        if producer.in_flight.len() < 2 && self.dice.chance(60) {
            self.values += 1;
            let (key, value) = (key(self.dice.below(2) as i32), Value(self.values));
            self.tell(producer.client, What::SendBegan { key: key.clone(), value, idempotent: true });
            producer.in_flight.push((key, value));
            return;
        }
        if producer.in_flight.is_empty() {
            return;
        }
        let (key, value) = producer.in_flight.remove(0);
        let (client, why) = (producer.client, Arc::from("chance"));
        match self.dice.below(10) {
            0 => {
                // It goes, and whatever it had begun may show at any time.
                if self.dice.chance(50) {
                    self.tell(client, What::SendEnded { value, outcome: Outcome::Unknown(why) });
                }
                self.tell(client, What::Gone);
                producer.in_flight.insert(0, (key, value));
                self.late.extend(producer.in_flight.drain(..).map(|(key, value)| (key, Late::Record(client, value))));
                producer.client = self.client();
            }
            1 => self.tell(client, What::SendEnded { value, outcome: Outcome::Failed(why) }),
            answer => {
                let offset = self.append(&key, value);
                let offset = (answer > 2).then_some(offset);
                self.tell(client, What::SendEnded { value, outcome: Outcome::Done(offset) });
            }
        }
    }

    fn reader(&mut self, key: Key, start: Start, group: Option<&str>) -> (Key, Reader) {
        let client = self.client();
        let wants = self.assign(client, &key, start, group);
        (key, Reader { client, wants })
    }

    fn assign(&mut self, client: Client, key: &Key, start: Start, group: Option<&str>) -> i64 {
        let generation = group.map(|_| self.generation);
        self.tell(client, What::Assigned { keys: vec![(key.clone(), start)], group: group.map(Arc::from), generation });
        let (Start::At(wants) | Start::Committed(wants)) = start;
        wants
    }

    /// Another takes over from one member; all begin another generation, from what is committed.
    fn rebalance(&mut self, members: &mut [(Key, Reader)], changed: usize) {
        self.generation += 1;
        for (number, (key, reader)) in members.iter_mut().enumerate() {
            let without = if number == changed { 0 } else { reader.wants };
            if number == changed {
                reader.client = self.client();
            }
            let start = self.logs[key].committed.map_or(Start::At(without), Start::Committed);
            reader.wants = self.assign(reader.client, key, start, Some("g"));
        }
    }

    fn poll(&mut self, (key, reader): &mut (Key, Reader)) {
        let many = 1 + self.dice.below(5) as usize;
        let log = self.log(key);
        if reader.wants < log.start {
            reader.wants = log.start;
            let what = What::Reset { key: key.clone(), to: reader.wants };
            return self.tell(reader.client, what);
        }
        let records: Vec<_> =
            log.records.iter().copied().filter(|&(offset, _)| offset >= reader.wants).take(many).collect();
        let (high_watermark, log_start) = (log.end, log.start);
        reader.wants = records.last().map_or(reader.wants, |&(last, _)| last + 1);
        let what = What::Polled {
            key: key.clone(),
            records,
            garbage: Vec::new(),
            high_watermark,
            log_start,
            connection: Some(u64::from(reader.client.0)),
        };
        self.tell(reader.client, what);
    }

    fn commit(&mut self, (key, reader): &(Key, Reader)) {
        self.commits += 1;
        let (group, number, offset) = (Arc::from("g"), self.commits, reader.wants);
        self.tell(
            reader.client,
            What::CommitBegan { group, key: key.clone(), offset, number, generation: Some(self.generation) },
        );
        let outcome = match self.dice.below(10) {
            0 => Outcome::Failed(Arc::from("chance")),
            1 => {
                self.late.push((key.clone(), Late::Commit(self.generation, offset)));
                Outcome::Unknown(Arc::from("chance"))
            }
            _ => {
                self.log(key).committed = Some(offset);
                Outcome::Done(())
            }
        };
        self.tell(reader.client, What::CommitEnded { number, outcome });
    }

    fn ask(&mut self) {
        let (client, key) = (self.client(), key(self.dice.below(2) as i32));
        self.tell(client, What::OffsetsBegan { key: key.clone() });
        let (earliest, latest) = (Some(self.log(&key).start), Some(self.log(&key).end));
        self.tell(client, What::OffsetsEnded { key: key.clone(), earliest, latest });
        let group = || Arc::from("g");
        self.tell(client, What::CommittedBegan { group: group(), key: key.clone() });
        let offset = self.log(&key).committed;
        self.tell(client, What::CommittedEnded { group: group(), key, offset });
    }

    fn land(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let mut number = self.dice.below(self.late.len() as u64) as usize;
        if let (key, Late::Record(client, _)) = &self.late[number] {
            let is_its = |(of, late): &(Key, Late)| of == key && matches!(late, Late::Record(by, _) if by == client);
            number = self.late.iter().position(is_its).unwrap();
        }
        let (key, late) = self.late.remove(number);
        match late {
            Late::Record(_, value) => {
                self.append(&key, value);
            }
            Late::Commit(generation, offset) if generation == self.generation => {
                self.log(&key).committed = Some(offset);
            }
            Late::Commit(..) => {}
        }
    }

    fn trim(&mut self) {
        if !self.dice.chance(20) {
            return;
        }
        let (client, key) = (self.client(), key(self.dice.below(2) as i32));
        let (start, end) = (self.log(&key).start, self.log(&key).end);
        let before = start + self.dice.below((end - start) as u64 / 3 + 1) as i64;
        self.tell(client, What::TrimBegan { key: key.clone(), before });
        let outcome = if self.dice.chance(20) {
            Outcome::Unknown(Arc::from("chance"))
        } else {
            let log = self.log(&key);
            log.start = log.start.max(before);
            log.records.retain(|&(offset, _)| offset >= before);
            Outcome::Done(log.start)
        };
        self.tell(client, What::TrimEnded { key, outcome });
    }

    fn finish(&mut self) {
        let client = self.client();
        self.tell(client, What::Healed);
        for key in [key(0), key(1)] {
            let (from, end) = (self.log(&key).start, self.log(&key).end);
            let mut reader = self.reader(key.clone(), Start::At(from), None);
            while self.log(&key).records.last().is_some_and(|&(last, _)| last >= reader.1.wants) {
                self.poll(&mut reader);
            }
            self.tell(reader.1.client, What::ReadWhole { key, from, end });
        }
    }
}
