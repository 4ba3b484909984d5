//! What is asked, of which judges, and how often: all of it, or a part.

use std::path::Path;

use anyhow::Result;
use testkit::{Clients, KafkaVersion};

use crate::campaign::{Campaign, Outcome, timed};
use crate::catalogue::Catalogue;
use crate::generate::{APIS, chunk};
use crate::pair::{Ends, Pair};
use crate::plant::Plant;
use crate::stories::{self, Written, expiry};
use crate::story::Story;

/// A judge as it is called: `4.4`.
pub fn name_of(judge: KafkaVersion) -> &'static str {
    match judge {
        KafkaVersion::V4_4 => "4.4",
        KafkaVersion::V3_9 => "3.9",
    }
}

/// The judge that is called so.
pub fn judge_named(name: &str) -> Option<KafkaVersion> {
    [KafkaVersion::V4_4, KafkaVersion::V3_9].into_iter().find(|judge| name_of(*judge) == name)
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which Kafka judges, the newest first: versions that it speaks are not asked of older ones.
    pub judges: Vec<KafkaVersion>,
    /// Chunks of generated requests for each API and judge.
    pub chunks: u64,
    /// Seeds of each story.
    pub seeds: u64,
    /// The first seed.
    pub from: u64,
    /// Only stories, and APIs of generated requests, whose name holds this.
    pub only: String,
    /// Whether brokers are restarted and what lasts is asked again, twice: after they have drained, and, with stories of other
    /// seeds, after they were killed; and whether what brokers forget by themselves is waited for.
    pub restarts: bool,
    /// Stories that are told at a time.
    pub threads: usize,
    /// Whether findings are made small.
    pub shrinks: bool,
    /// What is falsified.
    pub plant: Option<Plant>,
}

impl Plan {
    /// Asks it of every judge beside the broker `binary`, in a directory of its own; `then` has each pair at the end.
    ///
    /// # Errors
    /// When the harness fails; that something differs is no error.
    pub fn run(
        &self,
        catalogue: &Catalogue,
        binary: &Path,
        directory: &Path,
        mut then: impl FnMut(&Pair<'_>) -> Result<()>,
    ) -> Result<Outcome> {
        let clients = Clients::installed_parts(&["java"])?;
        let mut outcome = Outcome::default();
        let mut newer = None;
        for judge in self.judges.iter().copied() {
            let start = |part: &str, more: &[_]| {
                let home = directory.join(name_of(judge)).join(part);
                let mut pair = timed(&format!("{}: start", name_of(judge)), || {
                    Pair::start(catalogue, &clients, judge, binary, &home, more)
                })?;
                if let Some(newer) = &newer {
                    pair.leaves_to(newer);
                }
                anyhow::Ok(pair)
            };
            let mut pair = start("most", &[])?;
            let spoken = pair.spoken().clone();
            let mut campaign = self.campaign(&mut pair);
            self.tell(&mut campaign)?;
            outcome.add(campaign.finish());
            then(&pair)?;
            drop(pair);
            let expiry = expiry::STORIES.iter().any(|story| story.name.contains(&self.only));
            if self.restarts && expiry {
                let mut pair = start("expiry", &expiry::CONFIGURATION)?;
                let campaign = self.campaign(&mut pair);
                let stories = self.written(expiry::STORIES, campaign.pair, 0);
                timed(&format!("{}: expiry", name_of(judge)), || campaign.tell(&stories, false))?;
                outcome.add(campaign.finish());
            }
            newer.get_or_insert(spoken);
        }
        Ok(outcome)
    }

    fn campaign<'p, 'c>(&self, pair: &'p mut Pair<'c>) -> Campaign<'p, 'c> {
        let mut campaign = Campaign::new(pair, self.plant);
        campaign.shrinks = self.shrinks;
        campaign.threads = self.threads;
        campaign
    }

    fn tell(&self, campaign: &mut Campaign<'_, '_>) -> Result<()> {
        let judge = name_of(campaign.pair.judge);
        campaign.make_ready(false)?;
        for (round, ends) in [Ends::Drained, Ends::Killed].into_iter().enumerate() {
            // Each round has seeds of its own.
            let stories = self.written(&stories::all(), campaign.pair, round as u64 * 1000);
            timed(&format!("{judge}: stories"), || campaign.tell(&stories, self.restarts))?;
            if stories.is_empty() || !self.restarts {
                break;
            }
            timed(&format!("{judge}: {ends:?}, and what lasts"), || campaign.restart(ends))?;
        }
        let mut chunks = Vec::new();
        for api in APIS.iter().filter(|api| api.contains(&self.only)) {
            let key = campaign.pair.catalogue.named(api)?.key;
            let Some(bounds) = campaign.pair.own(key) else { continue };
            for seed in self.from..self.from + self.chunks {
                chunks.extend(chunk(campaign.pair.catalogue, campaign.pair, api, bounds, seed));
            }
        }
        timed(&format!("{judge}: cases"), || campaign.tell(&chunks, false))
    }

    fn written(&self, of: &[Written], pair: &Pair<'_>, seeds_from: u64) -> Vec<Story> {
        let named = of.iter().filter(|story| story.name.contains(&self.only));
        let seeds = self.from + seeds_from..self.from + seeds_from + self.seeds;
        let each = named.flat_map(|story| seeds.clone().map(move |seed| (story, seed)));
        each.filter_map(|(story, seed)| story.written(pair, seed)).collect()
    }
}
