//! `headwater group`: list, describe, reset offsets, delete.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use base::collections::HashMap;
use clap::{Args, Subcommand};
use wire::Str;
use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use wire::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest,
};

use super::client::{Cluster, check};
use super::{consume, table};
use crate::cli::Bootstrap;

/// List, describe, reset and delete consumer groups
#[derive(Args, Debug)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List groups
    List,
    /// Show a group's members, committed offsets and lag
    Describe { group: String },
    /// Move a group's committed offsets of a topic; the group must have no members
    Reset {
        group: String,
        #[arg(long)]
        topic: String,
        /// `earliest`, `latest` or an offset
        #[arg(long)]
        to: String,
        /// Do it; without this, only show what would be done
        #[arg(long)]
        execute: bool,
    },
    /// Delete groups with their offsets
    Delete { groups: Vec<String> },
}

/// Runs the command.
pub fn run(options: Options) -> anyhow::Result<()> {
    let mut cluster = Cluster::connect(&options.bootstrap.address)?;
    match options.action {
        Action::List => list(&mut cluster),
        Action::Describe { group } => describe(&mut cluster, &group),
        Action::Reset { group, topic, to, execute } => reset(&mut cluster, &group, &topic, &to, execute),
        Action::Delete { groups } => delete(&mut cluster, &groups),
    }
}

fn list(cluster: &mut Cluster) -> anyhow::Result<()> {
    let reply = cluster.any().call(&ListGroupsRequest::default())?;
    check(reply.error_code, None)?;
    let mut rows: Vec<Vec<String>> = reply
        .groups
        .iter()
        .map(|g| vec![g.group_id.to_string(), g.group_state.to_string(), g.protocol_type.to_string()])
        .collect();
    rows.sort();
    table::print(&["GROUP", "STATE", "PROTOCOL"], &rows)
}

/// Committed offsets of a group, by topic and partition.
fn committed(cluster: &mut Cluster, group: &str) -> anyhow::Result<BTreeMap<(String, i32), i64>> {
    let request = OffsetFetchRequest {
        group_id: Str::from(group),
        topics: None::<Vec<OffsetFetchRequestTopic>>,
        ..Default::default()
    };
    let reply = cluster.coordinator(group)?.call_up_to(&request, 7)?;
    check(reply.error_code, None)?;
    let mut found = BTreeMap::new();
    for topic in &reply.topics {
        for part in &topic.partitions {
            check(part.error_code, None)?;
            found.insert((topic.name.to_string(), part.partition_index), part.committed_offset);
        }
    }
    Ok(found)
}

fn describe(cluster: &mut Cluster, group: &str) -> anyhow::Result<()> {
    let request = DescribeGroupsRequest { groups: vec![Str::from(group)], ..Default::default() };
    let reply = cluster.coordinator(group)?.call(&request)?;
    let answer = reply.groups.first().context("the broker answered without the group")?;
    check(answer.error_code, answer.error_message.as_deref())?;
    say!("group {group}: {}, {} members", &*answer.group_state, answer.members.len());
    if !answer.members.is_empty() {
        let rows: Vec<Vec<String>> = answer
            .members
            .iter()
            .map(|m| vec![m.member_id.to_string(), m.client_id.to_string(), m.client_host.to_string()])
            .collect();
        table::print(&["MEMBER", "CLIENT", "HOST"], &rows)?;
    }
    let offsets = committed(cluster, group)?;
    let mut ends: HashMap<String, HashMap<i32, (i64, i64)>> = HashMap::default();
    let mut rows = Vec::new();
    for ((topic, partition), offset) in offsets {
        if !ends.contains_key(&topic) {
            let found = consume::end_offsets(cluster, &topic).unwrap_or_default();
            ends.insert(topic.clone(), found);
        }
        let end = ends.get(&topic).and_then(|e| e.get(&partition)).map(|(_, end)| *end);
        let shown = |n: Option<i64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        rows.push(vec![
            topic,
            partition.to_string(),
            offset.to_string(),
            shown(end),
            shown(end.map(|end| (end - offset).max(0))),
        ]);
    }
    table::print(&["TOPIC", "PARTITION", "COMMITTED", "END", "LAG"], &rows)
}

fn reset(cluster: &mut Cluster, group: &str, topic: &str, to: &str, execute: bool) -> anyhow::Result<()> {
    let ends = consume::end_offsets(cluster, topic)?;
    let mut rows = Vec::new();
    let mut partitions = Vec::new();
    for (partition, (start, end)) in ends.into_iter().collect::<BTreeMap<_, _>>() {
        let offset = match to {
            "earliest" => start,
            "latest" => end,
            number => {
                let wanted: i64 = number
                    .parse()
                    .with_context(|| format!("--to {number}: write `earliest`, `latest` or an offset"))?;
                wanted.clamp(start, end)
            }
        };
        rows.push(vec![topic.to_owned(), partition.to_string(), offset.to_string()]);
        partitions.push(OffsetCommitRequestPartition {
            partition_index: partition,
            committed_offset: offset,
            ..Default::default()
        });
    }
    table::print(&["TOPIC", "PARTITION", "NEW OFFSET"], &rows)?;
    if !execute {
        say!("nothing was changed; add --execute to do it");
        return Ok(());
    }
    let request = OffsetCommitRequest {
        group_id: Str::from(group),
        topics: vec![OffsetCommitRequestTopic { name: Str::from(topic), partitions, ..Default::default() }],
        ..Default::default()
    };
    let reply = cluster.coordinator(group)?.call_up_to(&request, 9)?;
    for part in reply.topics.iter().flat_map(|t| &t.partitions) {
        if part.error_code != 0 {
            check(part.error_code, None)
                .with_context(|| format!("{topic}-{}: a group with members cannot be reset", part.partition_index))?;
        }
    }
    Ok(())
}

fn delete(cluster: &mut Cluster, groups: &[String]) -> anyhow::Result<()> {
    if groups.is_empty() {
        bail!("name at least one group");
    }
    for group in groups {
        let request = DeleteGroupsRequest { groups_names: vec![Str::from(group.as_str())], ..Default::default() };
        let reply = cluster.coordinator(group)?.call(&request)?;
        let answer = reply.results.first().context("the broker answered without the group")?;
        check(answer.error_code, None).with_context(|| format!("group {group}"))?;
        say!("group {group} deleted");
    }
    Ok(())
}
