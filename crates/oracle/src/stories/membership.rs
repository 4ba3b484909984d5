//! What stories about groups say often: a member joins, syncs, beats, leaves.

use serde_json::{Value, json};

use crate::story::{Asked, Author};

/// How long a request that waits at the broker is given to arrive there before another connection goes on.
const ARRIVES_MS: u64 = 150;

/// A member of the group `@g` and how it joins.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The label of its joins: later steps refer to the answer to the last of them.
    pub name: &'static str,
    /// Its connection.
    pub connection: usize,
    /// Of a static member.
    pub instance: Option<&'static str>,
    /// Such as `consumer`.
    pub protocol_type: &'static str,
    /// Names, and metadata in hexadecimal text.
    pub protocols: &'static [(&'static str, &'static str)],
    /// The session's timeout.
    pub session_ms: i32,
    /// The rebalance's timeout.
    pub rebalance_ms: i32,
}

/// The first member of most stories.
pub const ONE: Member = Member::new("one", 1);
/// The second.
pub const TWO: Member = Member::new("two", 2);
/// The third.
pub const THREE: Member = Member::new("three", 3);

impl Member {
    /// A dynamic consumer that has time.
    pub const fn new(name: &'static str, connection: usize) -> Self {
        Self {
            name,
            connection,
            instance: None,
            protocol_type: "consumer",
            protocols: &[("range", "%t")],
            session_ms: 60_000,
            rebalance_ms: 60_000,
        }
    }

    /// As a static member.
    pub const fn is(self, instance: &'static str) -> Self {
        Self { instance: Some(instance), ..self }
    }

    /// With other protocols.
    pub const fn speaks(self, protocols: &'static [(&'static str, &'static str)]) -> Self {
        Self { protocols, ..self }
    }

    /// Its id, as the broker gave it.
    pub fn id(&self) -> String {
        format!("${}/member_id", self.name)
    }

    /// The generation that it joined last.
    pub fn generation(&self) -> String {
        format!("${}/generation_id", self.name)
    }

    /// What it joins with.
    pub fn body(&self, id: &str) -> Value {
        let protocols: Vec<Value> =
            self.protocols.iter().map(|(name, metadata)| json!({ "name": name, "metadata": metadata })).collect();
        json!({
            "group_id": "@g", "session_timeout_ms": self.session_ms, "rebalance_timeout_ms": self.rebalance_ms,
            "member_id": id, "group_instance_id": self.instance, "protocol_type": self.protocol_type,
            "protocols": protocols, "reason": "for a reason",
        })
    }

    fn lowest(&self) -> i16 {
        match (self.instance, self.rebalance_ms) {
            (Some(_), _) => 5,
            (None, 60_000) => 0,
            // Version 0 takes the session's.
            (None, _) => 1,
        }
    }

    /// It joins anew: twice if it is sent back for an id.
    pub fn join(&self, author: &mut Author<'_>) {
        self.joins_anew(author, false);
    }

    /// As [`Member::join`]; the answer is [awaited](Author::await_answer) by its name. The join has reached the broker.
    pub fn join_only(&self, author: &mut Author<'_>) {
        self.joins_anew(author, true);
        author.sleep_ms(ARRIVES_MS);
    }

    fn joins_anew(&self, author: &mut Author<'_>, only: bool) {
        let low = self.lowest();
        let versions = author.versions("join_group", low, i16::MAX);
        let version = author.random.pick(&versions).copied().unwrap_or(low);
        let mut id = String::new();
        if version >= 4 && self.instance.is_none() {
            author.ask_in("join_group", version, version, self.body("")).on(self.connection).label(self.name);
            id = self.id();
        }
        let join = author.ask_in("join_group", version, version, self.body(&id)).on(self.connection).label(self.name);
        if only {
            join.send_only();
        }
    }

    /// It joins again, as who it is.
    pub fn rejoin<'s>(&self, author: &'s mut Author<'_>) -> Asked<'s> {
        let body = self.body(&self.id());
        author.ask_in("join_group", self.lowest(), i16::MAX, body).on(self.connection).label(self.name)
    }

    /// As [`Member::rejoin`]; the answer is awaited by its name. The join has reached the broker.
    pub fn rejoin_only(&self, author: &mut Author<'_>) {
        self.rejoin(author).send_only();
        author.sleep_ms(ARRIVES_MS);
    }

    /// What it syncs with.
    pub fn sync_body(&self, assignments: &[(&Member, &str)]) -> Value {
        let assignments: Vec<Value> = assignments
            .iter()
            .map(|(member, bytes)| json!({ "member_id": member.id(), "assignment": bytes }))
            .collect();
        json!({
            "group_id": "@g", "generation_id": self.generation(), "member_id": self.id(),
            "group_instance_id": self.instance, "protocol_type": self.protocol_type,
            "protocol_name": format!("${}/protocol_name", self.name), "assignments": assignments,
        })
    }

    /// It syncs; a leader with assignments.
    pub fn sync<'s>(&self, author: &'s mut Author<'_>, assignments: &[(&Member, &str)]) -> Asked<'s> {
        author.ask("sync_group", self.sync_body(assignments)).on(self.connection)
    }

    /// A follower syncs, and waits; the answer is awaited by this label. The request has reached the broker.
    pub fn sync_only(&self, author: &mut Author<'_>, label: &str) {
        self.sync(author, &[]).label(label).send_only();
        author.sleep_ms(ARRIVES_MS);
    }

    /// What it beats with, in the generation that is given.
    pub fn beat_body(&self, generation: &Value) -> Value {
        json!({
            "group_id": "@g", "generation_id": generation, "member_id": self.id(), "group_instance_id": self.instance,
        })
    }

    /// It beats.
    pub fn beat<'s>(&self, author: &'s mut Author<'_>) -> Asked<'s> {
        self.beat_of(author, &json!(self.generation()))
    }

    /// It beats in a generation.
    pub fn beat_of<'s>(&self, author: &'s mut Author<'_>, generation: &Value) -> Asked<'s> {
        author.ask("heartbeat", self.beat_body(generation)).on(self.connection)
    }

    /// It leaves by its id.
    pub fn leave<'s>(&self, author: &'s mut Author<'_>) -> Asked<'s> {
        let body = json!({
            "group_id": "@g", "member_id": self.id(),
            "members": [{ "member_id": self.id(), "group_instance_id": self.instance, "reason": "tired" }],
        });
        author.ask("leave_group", body).on(self.connection)
    }

    /// It commits an offset of the topic `@t`.
    pub fn commit<'s>(&self, author: &'s mut Author<'_>, partition: i32, offset: i64) -> Asked<'s> {
        let body = json!({
            "group_id": "@g", "generation_id_or_member_epoch": self.generation(), "member_id": self.id(),
            "group_instance_id": self.instance,
            "topics": [{ "name": "@t", "topic_id": "#t", "partitions": [
                { "partition_index": partition, "committed_offset": offset, "committed_metadata": "of a member" },
            ] }],
        });
        author.ask_in("offset_commit", 1, i16::MAX, body).on(self.connection)
    }
}

/// The coordinator of `@g` is there.
pub fn coordinated(author: &mut Author<'_>) {
    author.ask_in("find_coordinator", 1, 3, json!({ "key": "@g", "key_type": 0 })).settled();
    author.ask_in("describe_groups", 0, 5, json!({ "groups": ["@g"] })).settled();
}

/// A group of members whose leader is the first: all have joined and synced.
pub fn stable(author: &mut Author<'_>, members: &[Member]) {
    coordinated(author);
    gathered(author, members);
    assigned(author, members);
}

/// Members join: the first alone, then the others, for whom it joins again. None has synced.
pub fn gathered(author: &mut Author<'_>, members: &[Member]) {
    let [first, rest @ ..] = members else { return };
    first.join(author);
    if rest.is_empty() {
        return;
    }
    first.sync(author, &[(first, "01")]);
    for member in rest {
        member.join_only(author);
    }
    first.rejoin(author).send_only();
    for member in rest {
        author.await_answer(member.name);
    }
    author.await_answer(first.name);
}

/// All sync, the leader first, which is the first.
pub fn assigned(author: &mut Author<'_>, members: &[Member]) {
    const SHARES: [&str; 4] = ["0a", "0b0b", "", "0c0c0c"];
    let [first, rest @ ..] = members else { return };
    let shares: Vec<(&Member, &str)> = members.iter().zip(SHARES).collect();
    first.sync(author, &shares);
    for member in rest {
        member.sync(author, &[]);
    }
}

/// What describe says of `@g`.
pub fn described<'s>(author: &'s mut Author<'_>) -> Asked<'s> {
    author.ask("describe_groups", json!({ "groups": ["@g"], "include_authorized_operations": false }))
}
