//! `headwater topic`: create, list, describe, alter, delete.

use anyhow::Context;
use clap::{Args, Subcommand};
use wire::Str;
use wire::messages::create_partitions_request::CreatePartitionsTopic;
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest,
};

use super::client::{Cluster, check};
use super::table;
use crate::cli::Bootstrap;

const TIMEOUT_MS: i32 = 30_000;
/// Kafka's number of topic resources.
const TOPIC: i8 = 2;
const SET: i8 = 0;
const DELETE: i8 = 1;

/// Create, list, describe, alter and delete topics
#[derive(Args, Debug)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Create a topic
    Create {
        name: String,
        /// Number of partitions; the broker's default without it
        #[arg(long, short)]
        partitions: Option<i32>,
        /// Topic configuration; may be repeated
        #[arg(long, short, value_name = "KEY=VALUE")]
        config: Vec<String>,
        /// Say whether it could be created, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// List topics
    List {
        /// Internal topics too
        #[arg(long)]
        internal: bool,
    },
    /// Show a topic's partitions and the configuration that differs from the defaults
    Describe { name: String },
    /// Change a topic's configuration or add partitions
    Alter {
        name: String,
        /// Total number of partitions
        #[arg(long, short)]
        partitions: Option<i32>,
        /// Set a key; may be repeated
        #[arg(long, short, value_name = "KEY=VALUE")]
        config: Vec<String>,
        /// Return a key to its default; may be repeated
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
        /// Say whether it could be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete topics with all their records
    Delete { names: Vec<String> },
}

/// Runs the command.
pub fn run(options: Options) -> anyhow::Result<()> {
    let mut cluster = Cluster::connect(&options.bootstrap.address)?;
    match options.action {
        Action::Create { name, partitions, config, dry_run } => {
            create(&mut cluster, &name, partitions, &config, dry_run)
        }
        Action::List { internal } => list(&mut cluster, internal),
        Action::Describe { name } => describe(&mut cluster, &name),
        Action::Alter { name, partitions, config, unset, dry_run } => {
            alter(&mut cluster, &name, partitions, &config, &unset, dry_run)
        }
        Action::Delete { names } => delete(&mut cluster, &names),
    }
}

fn pair(text: &str) -> anyhow::Result<(Str, Str)> {
    let (key, value) = text.split_once('=').with_context(|| format!("{text}: write it as KEY=VALUE"))?;
    Ok((Str::from(key), Str::from(value)))
}

fn create(
    cluster: &mut Cluster,
    name: &str,
    partitions: Option<i32>,
    config: &[String],
    dry_run: bool,
) -> anyhow::Result<()> {
    let mut configs = Vec::new();
    for text in config {
        let (name, value) = pair(text)?;
        configs.push(CreatableTopicConfig { name, value: Some(value), ..Default::default() });
    }
    let topic = CreatableTopic {
        name: Str::from(name),
        num_partitions: partitions.unwrap_or(-1),
        replication_factor: -1,
        configs,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: TIMEOUT_MS,
        validate_only: dry_run,
        ..Default::default()
    };
    let reply = cluster.any().call(&request)?;
    let answer = reply.topics.first().context("the broker answered without the topic")?;
    check(answer.error_code, answer.error_message.as_deref())?;
    let done = if dry_run { "could be created" } else { "created" };
    say!("topic {name} {done} with {} partitions", answer.num_partitions);
    Ok(())
}

fn list(cluster: &mut Cluster, internal: bool) -> anyhow::Result<()> {
    let reply = cluster.metadata(None, false)?;
    let mut rows: Vec<Vec<String>> = reply
        .topics
        .iter()
        .filter(|t| internal || !t.is_internal)
        .map(|t| vec![t.name.as_deref().unwrap_or_default().to_owned(), t.partitions.len().to_string()])
        .collect();
    rows.sort();
    table::print(&["TOPIC", "PARTITIONS"], &rows)
}

fn describe(cluster: &mut Cluster, name: &str) -> anyhow::Result<()> {
    let reply = cluster.metadata(Some(&[name.to_owned()]), false)?;
    let topic = reply.topics.first().context("the broker answered without the topic")?;
    check(topic.error_code, None).with_context(|| format!("topic {name}"))?;
    let mut partitions: Vec<_> = topic.partitions.iter().collect();
    partitions.sort_by_key(|p| p.partition_index);
    let mut offsets = super::consume::end_offsets(cluster, name)?;
    let rows: Vec<Vec<String>> = partitions
        .iter()
        .map(|p| {
            let (start, end) = offsets.remove(&p.partition_index).unwrap_or((-1, -1));
            vec![
                p.partition_index.to_string(),
                p.leader_id.to_string(),
                p.leader_epoch.to_string(),
                start.to_string(),
                end.to_string(),
            ]
        })
        .collect();
    table::print(&["PARTITION", "LEADER", "EPOCH", "START", "END"], &rows)?;
    let resource =
        DescribeConfigsResource { resource_type: TOPIC, resource_name: Str::from(name), ..Default::default() };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let reply = cluster.any().call(&request)?;
    let answer = reply.results.first().context("the broker answered without the configuration")?;
    check(answer.error_code, answer.error_message.as_deref())?;
    // Source 5 is the default.
    let rows: Vec<Vec<String>> = answer
        .configs
        .iter()
        .filter(|c| c.config_source != 5)
        .map(|c| vec![c.name.to_string(), c.value.as_deref().unwrap_or_default().to_owned()])
        .collect();
    if !rows.is_empty() {
        table::print(&["CONFIG", "VALUE"], &rows)?;
    }
    Ok(())
}

fn alter(
    cluster: &mut Cluster,
    name: &str,
    partitions: Option<i32>,
    config: &[String],
    unset: &[String],
    dry_run: bool,
) -> anyhow::Result<()> {
    let mut configs = Vec::new();
    for text in config {
        let (name, value) = pair(text)?;
        configs.push(AlterableConfig { name, config_operation: SET, value: Some(value), ..Default::default() });
    }
    for key in unset {
        configs.push(AlterableConfig { name: Str::from(key.as_str()), config_operation: DELETE, ..Default::default() });
    }
    if !configs.is_empty() {
        let resource = AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: Str::from(name),
            configs,
            ..Default::default()
        };
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: dry_run, ..Default::default() };
        let reply = cluster.any().call(&request)?;
        let answer = reply.responses.first().context("the broker answered without the topic")?;
        check(answer.error_code, answer.error_message.as_deref())?;
    }
    if let Some(count) = partitions {
        let topic = CreatePartitionsTopic { name: Str::from(name), count, assignments: None, ..Default::default() };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: TIMEOUT_MS,
            validate_only: dry_run,
            ..Default::default()
        };
        let reply = cluster.any().call(&request)?;
        let answer = reply.results.first().context("the broker answered without the topic")?;
        check(answer.error_code, answer.error_message.as_deref())?;
    }
    say!("topic {name} {}", if dry_run { "could be altered" } else { "altered" });
    Ok(())
}

fn delete(cluster: &mut Cluster, names: &[String]) -> anyhow::Result<()> {
    let topics =
        names.iter().map(|n| DeleteTopicState { name: Some(Str::from(n.as_str())), ..Default::default() }).collect();
    let request = DeleteTopicsRequest { topics, timeout_ms: TIMEOUT_MS, ..Default::default() };
    let reply = cluster.any().call(&request)?;
    for answer in &reply.responses {
        let name = answer.name.as_deref().unwrap_or_default();
        check(answer.error_code, answer.error_message.as_deref()).with_context(|| format!("topic {name}"))?;
        say!("topic {name} deleted");
    }
    Ok(())
}
