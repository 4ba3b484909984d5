//! What befalls the brokers: each site has somebody who starts its broker again, and one who sees to it that it must.

use std::sync::Arc;
use std::time::Duration;

use base::{Offset, StreamId};
use bytes::Bytes;
use judge::What;
use node::{End, Order, Phase};
use parking_lot::Mutex;
use stream::format::SideIndex;
use stream::format::object::{FOOTER_BYTES, Footer};
use stream::wal::block::layout::PAGE;
use tokio::sync::watch;

use crate::broker::Broker;
use crate::checkers::Cause;
use crate::client::Life;
use crate::dice::Dice;
use crate::disk::BadRead;
use crate::faults::Fault;
use crate::host::SimHost;
use crate::net::{Death, Side};
use crate::planted::PLACES;
use crate::process::Process;
use crate::store::Outage;
use crate::weather;
use crate::world::{SITES, Site, World};

/// How long it may take, from when nothing disturbs anybody any more, until everything that is asked of brokers is done: a
/// broker serves, topics are made, every partition takes and serves records, every group has a generation that commits.
const HEALS_WITHIN: Duration = Duration::from_secs(30);

/// How long a broker may take, in a world without faults, to drain.
const DRAINS_WITHIN: Duration = Duration::from_secs(30);

/// And how long it may live on after a panic that must end it.
const ENDS_WITHIN_SECONDS: u32 = 20;

/// Looks at a connection that must break, and between them: a second in all.
const BREAKS_WITHIN_LOOKS: u32 = 10;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A site that is looked after.
#[derive(Clone)]
pub struct Tended {
    site: Site,
    world: World,
    wanted: watch::Sender<bool>,
    /// Whether it may still be harmed.
    harmed: Arc<Mutex<bool>>,
    present: Arc<Mutex<Option<Present>>>,
}

/// The process that runs at a site.
#[derive(Clone)]
struct Present {
    process: Process,
    host: Arc<SimHost>,
    orders: watch::Sender<Order>,
    phases: watch::Receiver<Phase>,
    /// How it will be seen to have died.
    death: Arc<Mutex<Death>>,
}

impl Tended {
    fn new(world: &World, site: &Site) -> Self {
        let tended = Self {
            site: site.clone(),
            world: world.clone(),
            wanted: watch::channel(false).0,
            harmed: Arc::new(Mutex::new(true)),
            present: Arc::default(),
        };
        let looked_after = tended.clone();
        base::task::spawn("site", async move { looked_after.look_after().await });
        tended
    }

    /// Starts the broker, again and again, while it is wanted.
    async fn look_after(self) {
        let (dice, mut wanted) = (self.world.dice.branch(self.site.name), self.wanted.subscribe());
        let mut number = 0;
        loop {
            if wanted.wait_for(|wanted| *wanted).await.is_err() {
                return;
            }
            number += 1;
            let broker = self.world.start(&self.site, number);
            self.one_life(broker, &dice).await;
            // As a supervisor does, or an operator: soon, or after a while.
            let wait = if dice.chance(0.8) { 50..1_000 } else { 1_000..8_000 };
            tokio::time::sleep(dice.time(Duration::from_millis(wait.start)..Duration::from_millis(wait.end))).await;
        }
    }

    async fn one_life(&self, mut broker: Broker, dice: &Dice) {
        let death = Arc::new(Mutex::new(Death::Kill));
        let process = broker.process().clone();
        if *self.harmed.lock() {
            // So that starts and recoveries meet it, too.
            if dice.chance(0.3) {
                arm(broker.host(), dice);
            }
            if dice.chance(0.3) {
                let read = BadRead::next(format!("/{}/wal", self.site.name));
                // Amid the records of a log, which are read in long pieces, or of whichever page before them.
                let read = if dice.chance(0.5) {
                    read.after(dice.below(4)).longer_than(PAGE)
                } else {
                    read.after(dice.below(60))
                };
                self.world.disk.fail_read(read.lasting(lasts(dice)));
            }
        }
        *self.present.lock() = Some(Present {
            process: process.clone(),
            host: broker.host().clone(),
            orders: broker.orders().clone(),
            phases: broker.phases(),
            death: death.clone(),
        });
        let host = broker.host().clone();
        let end = base::select! {
            biased;
            end = broker.over() => end,
            () = self.sees_it_end(&host, &process) => unreachable!("it looks on for as long as it is asked"),
            () = self.sees_connections_break(&host, &process) => unreachable!("likewise"),
        };
        let death = if end.is_some() { Death::Kill } else { *death.lock() };
        match &end {
            Some(end) => self.judge_end(&broker, end),
            None => self.world.ends.died(&process),
        }
        let how = match (&end, death) {
            (Some(_), _) => "is over",
            (None, Death::Kill) => "was killed",
            (None, Death::PowerLoss) => "lost its power",
        };
        self.world.trace.note(process.name(), how);
        self.world.over(&process, death);
        *self.present.lock() = None;
    }

    /// Tells what only its host knows, and has the end judged.
    fn judge_end(&self, broker: &Broker, end: &End) {
        let (ends, process, host) = (&self.world.ends, broker.process(), broker.host());
        ends.told(process, *broker.orders().borrow());
        // Where a request panics it alone ends; these are passed by tasks of the broker, too.
        let of_broker = ["in-append", "in-producer-load", "in-coordinator-decision"];
        if host.must_end().is_some() || of_broker.iter().any(|place| host.has_panicked_at(place)) {
            ends.befell(process, Cause::Panic);
        }
        if host.was_paused() {
            ends.befell(process, Cause::Pause);
        }
        ends.ended(process, end);
    }

    /// A process that has panicked where nobody can do without the rest must not go on as if nothing were.
    async fn sees_it_end(&self, host: &SimHost, process: &Process) {
        let mut seconds = 0;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let Some(place) = host.must_end().filter(|_| !host.is_paused()) else { continue };
            seconds += 1;
            if seconds == ENDS_WITHIN_SECONDS {
                let words = format_args!("{process:?} panicked at {place}, and lives on");
                self.world.findings.add("vitals", words);
            }
        }
    }

    /// Where a panic may be outlived, the connection of the request that met it breaks: whoever waits for an answer that
    /// nobody gives would see no more than a slow network.
    async fn sees_connections_break(&self, host: &SimHost, process: &Process) {
        loop {
            let (place, task) = host.broken_off().await;
            let Some(link) = self.world.net.served_in(task) else { continue };
            self.world.did(Fault::BrokenRequest, process.name(), format_args!("of {link}, at {place}"));
            let mut looks = 0;
            while looks < BREAKS_WITHIN_LOOKS && self.world.net.is_open(&link, Side::Server) {
                tokio::time::sleep(LOOK_EVERY).await;
                looks += u32::from(!host.is_paused());
            }
            if self.world.net.is_open(&link, Side::Server) {
                let words = format_args!("a request panicked at {place}, and {link} does not break");
                self.world.findings.add("vitals", words);
            }
        }
    }

    fn present(&self) -> Option<Present> {
        self.present.lock().clone()
    }

    fn serves(&self) -> bool {
        self.present().is_some_and(|present| *present.phases.borrow() == Phase::Serving)
    }
}

/// Where the checkpoint of a stream lies in an object.
fn side_of(bytes: &Bytes, stream: StreamId, offset: Offset) -> Option<SideIndex> {
    let footer = bytes.len().checked_sub(FOOTER_BYTES)?;
    let described = Footer::decode(&bytes[footer..], bytes.len() as u64).ok()?;
    let index = described.index(&bytes.slice(described.index_position as usize..footer)).ok()?;
    index.sides.iter().find(|side| side.stream == stream && side.offset == offset).copied()
}

/// For how long reads of a file fail once one has.
fn lasts(dice: &Dice) -> Duration {
    if dice.chance(0.5) { Duration::ZERO } else { dice.time(Duration::from_millis(10)..Duration::from_secs(10)) }
}

/// Lets a panic wait for the process, at one place of all.
fn arm(host: &SimHost, dice: &Dice) {
    let place = dice.pick(PLACES);
    // Some are passed once in a life.
    let passes = if dice.chance(0.5) { 0 } else { dice.below(1 << dice.below(6)) };
    host.panic_at(place.name, passes);
}

/// Both sites, and what befalls them.
pub struct Nemesis {
    world: World,
    dice: Dice,
    /// For what came later: what the others draw stays as it was.
    aside: Dice,
    sites: Vec<Tended>,
    /// The site whose broker is wanted in the end.
    home: usize,
    /// As whom it writes into the history what readers of it must know.
    own: Life,
}

impl Nemesis {
    /// The first site's broker is started.
    pub fn new(world: &World, own: Life) -> Self {
        let sites: Vec<Tended> = SITES.iter().map(|site| Tended::new(world, site)).collect();
        sites[0].wanted.send_replace(true);
        let (dice, aside) = (world.dice.branch("nemesis"), world.dice.branch("nemesis-aside"));
        Self { world: world.clone(), dice, aside, sites, home: 0, own }
    }

    /// Disturbs the world until `until`, by the trace's clock.
    pub async fn rage(&mut self, until: Duration) {
        weather::calm(&self.world);
        self.wait(3_000..8_000).await;
        while self.world.trace.now() < until {
            weather::calm(&self.world);
            if self.dice.chance(0.75) {
                weather::bad(&self.world, &self.dice);
            }
            self.strike().await;
            self.wait(1_000..7_000).await;
        }
    }

    async fn wait(&self, millis: std::ops::Range<u64>) {
        tokio::time::sleep(self.dice.time(Duration::from_millis(millis.start)..Duration::from_millis(millis.end)))
            .await;
    }

    fn home(&self) -> &Tended {
        &self.sites[self.home]
    }

    /// By its machine's clock a broker tells how old records are.
    fn set_clock(&self, present: &Present, by: Duration, back: bool) {
        let clock = present.process.machine();
        self.world.set_clock(clock, by, back);
        self.own.event(What::ClockSet { clock, ahead: self.world.clock_ahead_ms(clock) * 1_000 });
    }

    async fn strike(&mut self) {
        let Some(present) = self.home().present() else { return };
        let name = present.process.name().to_owned();
        match self.aside.below(100) {
            0..8 => return self.rot(&present),
            8..12 => return self.cut_off(&present).await,
            _ => {}
        }
        match self.dice.below(100) {
            // Between any two polls: of a start that has hardly begun as well as of a busy broker.
            0..16 => {
                let polls = 1 << self.dice.below(15);
                present.host.die_in(polls + self.dice.below(polls));
            }
            16..28 => {
                // With the machine in half of the cases: names are forgotten between their change and its sync.
                let (process, world, with_machine) = (present.process, self.world.clone(), self.dice.chance(0.5));
                if self.aside.chance(0.5) {
                    // Much is on its way to a slow disk: what was told too soon is lost.
                    weather::slow_disks(&self.world);
                }
                let dies = move || {
                    if with_machine {
                        *present.death.lock() = Death::PowerLoss;
                        world.faults.did(Fault::PowerLoss);
                        world.trace.note(&name, "power loss: its machine stops");
                    }
                    present.host.die();
                };
                self.world.disk.crash_within(&process, 1 + self.dice.below(200), Arc::new(dies));
            }
            28..38 => {
                *present.death.lock() = Death::PowerLoss;
                self.world.did(Fault::PowerLoss, &name, "its machine stops");
                present.host.die();
            }
            38..48 => self.pause(&present).await,
            48..58 => self.twin().await,
            58..62 => {
                self.world.trace.note(&name, "is told to drain");
                if self.dice.chance(0.3) {
                    present.host.panic_at("in-drain", 0);
                }
                present.orders.send_replace(Order::Drain);
            }
            62..70 => {
                // Back by no more than what clients may be ahead of their broker.
                let (by, back) = match self.dice.below(4) {
                    0 => (Duration::from_secs(1 + self.dice.below(300)), true),
                    1 => (Duration::from_secs(1 + self.dice.below(30)), self.dice.chance(0.5)),
                    // Long enough for every grace to be over.
                    _ => (Duration::from_secs(660 + self.dice.below(600)), false),
                };
                self.world.did(Fault::ClockJump, &name, format_args!("{by:?}{}", if back { " back" } else { "" }));
                self.set_clock(&present, by, back);
                if by > Duration::from_secs(600) {
                    // What waits for time to pass comes next.
                    if self.dice.chance(0.6) {
                        let places = ["after-delete", "after-delete", "in-retention"];
                        present.host.panic_at(places[self.dice.index(places.len())], 0);
                    }
                    self.wait(20_000..45_000).await;
                    // What was trimmed and retired then has its grace before it, and a broker that lives that long.
                    if self.aside.chance(0.8) {
                        let by = Duration::from_secs(660);
                        self.world.did(Fault::ClockJump, &name, format_args!("{by:?}"));
                        self.set_clock(&present, by, false);
                        self.aside_wait(4_000..10_000).await;
                    }
                }
            }
            70..78 => arm(&present.host, &self.dice),
            78..82 => self.rot(&present),
            82..86 => {
                let outage = if self.dice.chance(0.5) { Outage::Refuses } else { Outage::IsSilent };
                self.world.store.set_outage(Some(outage));
                // At times for longer than anybody tries.
                let time = if self.dice.chance(0.3) { 15_000..45_000 } else { 500..8_000 };
                if self.dice.chance(0.3) {
                    present.host.die();
                }
                self.wait(time).await;
                // With what waits for the store half done.
                if self.aside.chance(0.4) {
                    present.host.die();
                }
                self.world.store.set_outage(None);
            }
            86..92 => {
                let (log, home) = (format!("/{}/wal", self.home().site.name), format!("/{}", self.home().site.name));
                match self.dice.below(4) {
                    0 => self.world.disk.fail_write(if self.dice.chance(0.8) { log } else { home }),
                    1 => self.world.disk.fail_sync(home),
                    2 => {
                        let below = if self.aside.chance(0.8) { log } else { home };
                        self.world.disk.fail_read(BadRead::next(below).lasting(lasts(&self.aside)));
                    }
                    _ => {
                        self.world.disk.set_full(true);
                        self.wait(500..8_000).await;
                        self.world.disk.set_full(false);
                    }
                }
            }
            _ => {
                let broker = self.home().site.ip;
                self.world.net.partition(&[broker], &[crate::run::CLIENTS]);
                self.wait(500..6_000).await;
                self.world.net.heal();
            }
        }
    }

    /// The owner of a log reaches the store no more, beside one that takes its log over.
    async fn cut_off(&mut self, present: &Present) {
        let outage = if self.aside.chance(0.5) { Outage::Refuses } else { Outage::IsSilent };
        self.world.store.cut_off(Some((present.process.machine(), outage)));
        self.aside_wait(0..4_000).await;
        self.twin().await;
        self.world.store.cut_off(None);
    }

    async fn aside_wait(&self, millis: std::ops::Range<u64>) {
        let time = self.aside.time(Duration::from_millis(millis.start)..Duration::from_millis(millis.end));
        tokio::time::sleep(time).await;
    }

    /// Checkpoints of producers rot in the store, and mostly the broker has to read them next.
    fn rot(&self, present: &Present) {
        let image = self.world.metadata.image();
        for (stream, state) in image.catalogue.streams() {
            let Some(checkpoint) = state.checkpoint else { continue };
            if state.start > Offset(0) {
                // Who wrote what is trimmed is told by nothing else: a right broker has to forget them.
                continue;
            }
            let key = checkpoint.object.key();
            let Some(side) = self.world.store.object(&key).and_then(|bytes| side_of(&bytes, stream, checkpoint.offset))
            else {
                continue;
            };
            let offset = side.position as usize + self.dice.index((side.length as usize).max(1));
            self.world.store.damage(&key, offset);
            self.world.did(Fault::RottenCheckpoint, "store", format_args!("of stream {stream} in {key}"));
        }
        // Often with batches on their way to the disk or back: their senders repeat them to whoever has lost the state.
        if self.aside.chance(0.6) {
            let host = present.host.clone();
            let calls = 1 + self.aside.below(20);
            self.world.disk.crash_within(&present.process, calls, Arc::new(move || host.die()));
        } else if self.dice.chance(0.7) {
            present.host.die();
        }
    }

    /// The process stands still for a while; a twin may take over meanwhile.
    async fn pause(&mut self, present: &Present) {
        let is_amid = self.aside.chance(0.5);
        if is_amid {
            self.pause_amid_write(present).await;
        }
        self.world.did(Fault::Pause, present.process.name(), "stands still");
        present.host.pause();
        if is_amid || self.dice.chance(0.5) {
            if is_amid || self.dice.chance(0.7) {
                // It goes on at the worst moment: while the other one reads its log.
                let (host, log) = (present.host.clone(), format!("/{}/wal", self.home().site.name));
                self.world.disk.when_visited(log, &present.process, Arc::new(move || host.go_on()));
            }
            self.twin().await;
        } else {
            self.wait(100..20_000).await;
        }
        self.world.trace.note(present.process.name(), "goes on");
        present.host.go_on();
    }

    /// Where disks are so slow that there is always a write under way, the process stands still amid one.
    async fn pause_amid_write(&self, present: &Present) {
        // And all else lets the other one start at once.
        weather::calm(&self.world);
        weather::slow_disks(&self.world);
        let (host, log) = (present.host.clone(), format!("/{}/wal", self.home().site.name));
        self.world.disk.when_writing(log, &present.process, Arc::new(move || host.pause()));
        for _ in 0..40 {
            if present.host.is_paused() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.world.disk.spare_writes();
    }

    /// A broker of the same id starts at the other site, which goes on alone in the end.
    async fn twin(&mut self) {
        let other = 1 - self.home;
        self.world.did(Fault::Twin, self.sites[other].site.name, "is wanted, too");
        if self.dice.chance(0.6) {
            // Whoever takes over meets what the other has under way.
            weather::slow_disks(&self.world);
        }
        self.sites[other].wanted.send_replace(true);
        self.wait(1_000..15_000).await;
        // Whoever is not wanted any more ends by itself, or is told to go.
        let stays = if self.dice.chance(0.7) { other } else { self.home };
        let goes = 1 - stays;
        self.sites[goes].wanted.send_replace(false);
        if let Some(present) = self.sites[goes].present() {
            match self.dice.below(3) {
                0 => present.host.die(),
                1 => {
                    present.orders.send_replace(Order::Drain);
                }
                // A zombie that lives on for as long as it can.
                _ => {}
            }
        }
        self.home = stays;
    }

    /// Ends all disturbance. Returns when one broker serves alone: until when, by the trace's clock, all else has to be done.
    ///
    /// # Errors
    /// When none serves in time.
    pub async fn heal(&mut self) -> anyhow::Result<Duration> {
        weather::calm(&self.world);
        self.world.disk.mend();
        self.world.trace.note("world", "heals");
        for (number, tended) in self.sites.iter().enumerate() {
            tended.wanted.send_replace(number == self.home);
            *tended.harmed.lock() = false;
            if let Some(present) = tended.present() {
                present.host.spare();
                present.host.go_on();
                self.world.disk.spare(&present.process);
                if number != self.home {
                    present.host.die();
                } else if present.host.has_panicked_at("in-append") {
                    // A partition whose append broke off is closed until a restart, and its broker says so.
                    self.world.trace.note(present.process.name(), "is stopped by its operator");
                    present.host.die();
                }
            }
        }
        // What was sent before may still have its effect, that of a dead process on its successor among them.
        tokio::time::sleep(weather::LATE_MAX).await;
        self.world.trace.note("world", "is healed");
        let by = self.world.trace.now() + HEALS_WITHIN;
        while !self.home().serves() {
            if self.world.trace.now() > by {
                let phase = self.home().present().map(|present| present.phases.borrow().clone());
                anyhow::bail!("no broker serves {HEALS_WITHIN:?} after the last fault; the last is {phase:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(by)
    }

    /// Drains the last broker.
    ///
    /// # Errors
    /// When it does not end in time, in order.
    pub async fn drain(&mut self) -> anyhow::Result<()> {
        let mut how = self.drains().await?;
        if how.starts_with("another process took this broker's place") {
            // A twin that has died since, as this one learns by its next word to the metadata. Its successor drains.
            self.heal().await?;
            how = self.drains().await?;
        }
        anyhow::ensure!(how.starts_with("drained"), "the drain of the last broker came to {how:?}");
        Ok(())
    }

    /// Tells the last broker to drain; answers how it ended.
    async fn drains(&self) -> anyhow::Result<String> {
        self.home().wanted.send_replace(false);
        let Some(present) = self.home().present() else { anyhow::bail!("the last broker is not there any more") };
        present.orders.send_replace(Order::Drain);
        let mut phases = present.phases;
        let ended =
            tokio::time::timeout(DRAINS_WITHIN, phases.wait_for(|phase| matches!(phase, Phase::Ended(_)))).await;
        match ended {
            Ok(Ok(phase)) => match &*phase {
                Phase::Ended(how) => Ok(how.clone()),
                other => anyhow::bail!("the drain of the last broker came to {other:?}"),
            },
            Ok(Err(_)) => anyhow::bail!("the last broker died as it drained"),
            Err(_) => anyhow::bail!("the last broker has not drained {DRAINS_WITHIN:?} after it was told to"),
        }
    }
}
