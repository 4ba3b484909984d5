//! Large replies to small requests, and clients that do not take them.

use std::time::Duration;

use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::*;

use crate::support::{Client, Live, start};

const TOPICS: usize = 1_000;
/// Some six kilobytes for each of them.
const REPLY: usize = 6_000 * TOPICS;
/// The broker's `OTHER_REPLY_MEMORY_BYTES`.
const LIMIT: usize = 256 << 20;
/// What a test machine may take for all of it.
const PATIENCE: Duration = Duration::from_secs(120);

fn held(live: &Live) -> usize {
    let page = live.metrics.render();
    let line = page.lines().find(|line| line.starts_with("headwater_reply_memory_bytes ")).unwrap().to_owned();
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as usize
}

async fn eventually(what: &str, test: impl Fn() -> bool) {
    let waiting = async {
        while !test() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Nobody knows beforehand how large these replies become, for there was none yet.
#[tokio::test(flavor = "multi_thread")]
async fn replies_that_nobody_takes_slow_down_who_asks_and_hold_no_more_than_their_memory() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let name = |n: usize| format!("topic-{n}");
    let topic = |n| CreatableTopic {
        name: name(n).as_str().into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: (0..TOPICS).map(topic).collect(), ..Default::default() };
    assert!(client.call(4, &request).await.topics.iter().all(|topic| topic.error_code == 0));
    let resource = |n| DescribeConfigsResource {
        resource_type: 2,
        resource_name: name(n).as_str().into(),
        configuration_keys: None,
        ..Default::default()
    };
    let describe = DescribeConfigsRequest {
        resources: (0..TOPICS).map(resource).collect(),
        include_synonyms: true,
        include_documentation: true,
        ..Default::default()
    };
    let mut silent = Vec::new();
    for _ in 0..LIMIT / REPLY + 32 {
        let mut client = Client::connect(&live).await;
        client.send(4, &describe).await;
        silent.push(client);
    }
    let held = || {
        let held = held(&live);
        assert!(held <= LIMIT, "{held} bytes");
        held
    };
    // While it is made a reply takes several times its size, which the next one has to wait for.
    eventually("the memory is used up", || held() > LIMIT - 8 * REPLY).await;
    // Who keeps a group alive does not wait.
    let heartbeat = HeartbeatRequest { group_id: "g".into(), member_id: "m".into(), ..Default::default() };
    let at_once = tokio::time::timeout(Duration::from_secs(4), client.call(4, &heartbeat));
    at_once.await.expect("a heartbeat is answered whatever others hold");
    // Everybody else waits until the silent ones are cut off, and no longer.
    let asked = client.send(9, &MetadataRequest { topics: Some(Vec::new()), ..Default::default() }).await;
    assert_eq!(client.reply::<MetadataRequest>(9, asked).await.brokers.len(), 1);
    eventually("the silent ones are cut off", || {
        held();
        live.metrics.render().contains("headwater_connections_refused_total{reason=\"stalled_reply\"}")
    })
    .await;
    held();
}
