// The oracle's driver of kafka-node: message sets of magic 1, the first version of nearly every request, and codecs that
// frame snappy by themselves.
'use strict'

require('./callback-snappy')
const kafka = require('kafka-node')
const { Story, EPOCH, settle, called, noise, show, records } = require('./story')

const CODECS = { none: 0, gzip: 1, snappy: 2 }
// Lets records with old timestamps live.
const KEEP = { 'retention.ms': '-1' }

const story = new Story(process.argv.slice(2))
const name = rest => story.name(rest)
const step = (title, run) => story.step(title, run)
const connection = { kafkaHost: story.bootstrap, clientId: 'oracle', requestTimeout: 10_000 }
const reason = error => (error instanceof Error ? `${error.name}: ${error.message}` : error)

let client, admin, offset

async function connect() {
  const made = new kafka.KafkaClient(connection)
  made.on('error', error => console.error(error))
  await new Promise(resolve => made.once('ready', resolve))
  return made
}

async function outcome(promise) {
  try {
    await promise
    return null
  } catch (error) {
    return reason(error)
  }
}

/** Creates a topic and waits until its leaders know that they are. */
async function create(rest, partitions = 1, configs = KEEP) {
  const failures = await called(done => admin.createTopics([{ topic: name(rest), partitions, replicationFactor: 1, configEntries: Object.entries(configs).map(([name, value]) => ({ name, value })) }], done))
  if (failures.length === 0) {
    await settle(async () => {
      try {
        await called(done => client.refreshMetadata([name(rest)], done))
        const ends = await called(done => offset.fetch(Array.from({ length: partitions }, (_, partition) => ({ topic: name(rest), partition, time: -1 })), done))
        return Object.keys(ends[name(rest)]).length === partitions
      } catch (error) {
        console.error(error)
        return false
      }
    })
  }
  return { failures: failures.map(failure => failure.error) }
}

async function topics() {
  await step('create-topic', () => create('plain', 3, { ...KEEP, 'max.message.bytes': '1000000' }))
  await step('create-topic-existing', () => create('plain'))
  await step('create-topic-slash', () => create('a/b'))
  await step('create-topic-no-partitions', () => create('none', 0))
  await step('create-topic-wrong-config', () => create('config', 1, { 'retention.ms': 'soon' }))
  await step('list-topics', async () => {
    const [brokers, { metadata, clusterMetadata }] = await called(done => admin.listTopics(done))
    const mine = Object.entries(metadata).filter(([topic]) => topic.startsWith(story.prefix))
    return {
      brokers: Object.keys(brokers).length,
      controller_known: clusterMetadata.controllerId in brokers,
      topics: mine.map(([topic, partitions]) => [topic, Object.values(partitions).map(p => [p.partition, p.leader >= 0, p.replicas.length, p.isr.length])]).sort(),
    }
  })
  const described = rest => called(done => admin.describeConfigs({ resources: [{ resourceType: admin.RESOURCE_TYPES.topic, resourceName: name(rest), configNames: [] }], includeSynonyms: false }, done))
  await step('describe-configs', async () => {
    const resources = await described('plain')
    // 1 is a config of the topic itself.
    return { set: resources.map(resource => Object.fromEntries(resource.configEntries.filter(entry => entry.configSource === 1).map(entry => [entry.configName, entry.configValue]))) }
  })
  await step('describe-configs-unknown', async () => ({ error: await outcome(described('nowhere')) }))
}

const producers = new Map()

async function send(payload, requireAcks = 1) {
  if (!producers.has(requireAcks)) producers.set(requireAcks, new kafka.Producer(client, { requireAcks, ackTimeoutMs: 5000 }))
  const producer = producers.get(requireAcks)
  try {
    return { answer: await called(done => producer.send([payload], done)) }
  } catch (error) {
    return { error: reason(error) }
  }
}

/** The end offset of partition 0. */
const end = async rest => (await called(done => offset.fetch([{ topic: name(rest), partition: 0, time: -1 }], done)))[name(rest)][0][0]

async function produce() {
  const messages = records().map(({ key, value }) => new kafka.KeyedMessage(key, value))
  for (const [codec, attributes] of Object.entries(CODECS)) {
    await step(`produce-create-${codec}`, () => create(`codec-${codec}`))
    for (const acks of [0, 1, -1]) {
      await step(`produce-${codec}-acks-${acks}`, async () => {
        const before = await end(`codec-${codec}`)
        const seen = await send({ topic: name(`codec-${codec}`), partition: 0, attributes, timestamp: EPOCH, messages }, acks)
        // Nobody says when what needs no acknowledgement is there.
        await settle(async () => (seen.end = await end(`codec-${codec}`)) >= before + messages.length)
        return seen
      })
    }
  }
  for (const [title, [configs, value]] of Object.entries({
    'too-large-for-broker': [KEEP, noise(1_200_000)],
    'too-large-for-topic': [{ 'max.message.bytes': '10000' }, noise(12_000)],
    'compacted-without-key': [{ 'cleanup.policy': 'compact' }, 'no key'],
  })) {
    await step(`produce-${title}`, async () => {
      await create(title, 1, configs)
      return { ...(await send({ topic: name(title), messages: [value] })), end: await end(title) }
    })
  }
  // To ask for the topic is to create it, and the client asks again.
  await step('produce-auto-create', async () => {
    let seen
    await settle(async () => (seen = await send({ topic: name('automatic'), messages: ['found'] })).error === undefined)
    return seen
  })
}

const shown = list => ({
  records: list
    .map(m => ({ partition: m.partition, offset: m.offset, key: show(m.key), value: show(m.value), timestamp: m.timestamp?.getTime() }))
    .sort((a, b) => a.partition - b.partition || a.offset - b.offset),
})

/** Reads so many messages of partitions by assignment. */
async function read(payloads, count, options = {}) {
  const consumer = new kafka.Consumer(await connect(), payloads, { autoCommit: false, fromOffset: true, encoding: 'buffer', keyEncoding: 'buffer', fetchMaxWaitMs: 200, groupId: name('simple'), ...options })
  const [messages, failures] = [[], []]
  consumer.on('message', message => messages.push(message))
  consumer.on('error', error => failures.push(reason(error)))
  consumer.on('offsetOutOfRange', ({ partition }) => failures.push(['out of range', partition]))
  try {
    await settle(() => messages.length >= count || failures.length > 0)
    return failures.length > 0 ? { failure: failures[0] } : shown(messages.slice(0, count))
  } finally {
    await called(done => consumer.close(done))
  }
}

async function consume() {
  for (const codec of Object.keys(CODECS)) await step(`consume-${codec}`, () => read([{ topic: name(`codec-${codec}`), partition: 0, offset: 0 }], 18))
  await step('consume-prepare', async () => {
    const answers = []
    for (let i = 0; i < 30; i++) answers.push(await send({ topic: name('plain'), partition: i % 3, timestamp: EPOCH + i * 1000, messages: [String.fromCharCode(97 + i)] }))
    return { answers: answers.map(({ answer }) => answer[name('plain')]) }
  })
  await step('consume-all-partitions', () => read([0, 1, 2].map(partition => ({ topic: name('plain'), partition, offset: 0 })), 30))
  await step('consume-from-offset', () => read([{ topic: name('plain'), partition: 1, offset: 4 }], 6))
  await step('consume-small-fetches', () => read([{ topic: name('plain'), partition: 1, offset: 0 }], 10, { fetchMaxBytes: 100 }))
  await step('consume-out-of-range', () => read([{ topic: name('plain'), partition: 0, offset: 1000 }], 1))
}

async function offsets() {
  // Version 0 lists where segments begin that are older than a time. What no segment is older than, this client reads wrong
  // unless it is the last of the answer.
  for (const [title, [time, maxNum, partitions]] of Object.entries({ earliest: [-2, 1, 3], latest: [-1, 1, 3], 'latest-many': [-1, 10, 3], past: [1, 10, 1], future: [4_000_000_000_000, 10, 3] })) {
    await step(`offsets-${title}`, async () => ({ offsets: await called(done => offset.fetch(Array.from({ length: partitions }, (_, partition) => ({ topic: name('plain'), partition, time, maxNum })), done)) }))
  }
  await step('offsets-of-all', async () => ({
    latest: await called(done => offset.fetchLatestOffsets([name('plain')], done)),
    earliest: await called(done => offset.fetchEarliestOffsets([name('plain')], done)),
  }))
}

async function group(rest) {
  const found = (await called(done => admin.describeGroups([name(rest)], done)))[name(rest)]
  return { error: found.error, state: found.state, type: found.protocolType, protocol: found.protocol, members: found.members.map(m => [m.clientId, m.memberMetadata.subscription, Object.entries(m.memberAssignment.partitions ?? {}).map(([topic, held]) => [topic, held.length])]) }
}

/** A member of a group that takes so many messages. */
class Member {
  constructor(rest, topic, protocol = 'roundrobin') {
    this.messages = []
    this.consumer = new kafka.ConsumerGroup({ ...connection, id: 'oracle', groupId: name(rest), sessionTimeout: 10_000, heartbeatInterval: 200, protocol: [protocol], fromOffset: 'earliest', outOfRangeOffset: 'earliest', commitOffsetsOnFirstJoin: false, autoCommit: false, encoding: 'buffer', keyEncoding: 'buffer', fetchMaxWaitMs: 200 }, name(topic))
    this.consumer.on('message', message => this.messages.push(message))
    this.consumer.on('error', error => console.error(error))
    this.joined = false
    this.consumer.on('rebalancing', () => (this.joined = false))
    this.consumer.on('rebalanced', () => (this.joined = true))
  }

  async take(count) {
    await settle(() => this.messages.length >= count)
    return this.messages.slice(0, count)
  }

  holds() {
    return this.joined ? this.consumer.topicPayloads.map(payload => payload.partition).sort() : []
  }

  commit(offset, metadata) {
    return called(done => this.consumer.sendOffsetCommitRequest([{ topic: name('queue'), partition: 0, offset, metadata }], done))
  }

  async leave() {
    if (!this.left) await called(done => this.consumer.close(done))
    this.left = true
  }
}

async function groups() {
  await step('group-prepare', async () => {
    await create('queue')
    await create('shared', 4)
    // The first group of a cluster finds no coordinator until the topic of offsets is there and read.
    await settle(async () => {
      try {
        return !(await group('readers')).error
      } catch (error) {
        console.error(error)
        return false
      }
    })
    return send({ topic: name('queue'), timestamp: EPOCH, messages: Array.from({ length: 10 }, (_, i) => String(i)) })
  })
  const committed = () => called(done => offset.fetchCommits(name('readers'), [{ topic: name('queue'), partition: 0 }], done))
  await step('group-describe-unknown', () => group('readers'))
  await step('group-offsets-unknown', async () => ({ offsets: await committed() }))
  await step('group-first-half', async () => {
    const member = new Member('readers', 'queue')
    try {
      const seen = shown(await member.take(5))
      return { ...seen, committed: await member.commit(5, 'half'), during: await group('readers') }
    } finally {
      await member.leave()
    }
  })
  await step('group-empty', () => group('readers'))
  await step('group-offsets', async () => ({ offsets: await committed() }))
  await step('group-second-half', async () => {
    const member = new Member('readers', 'queue', 'range')
    try {
      const seen = shown(await member.take(5))
      return { ...seen, committed: await member.commit(10, ''), during: await group('readers') }
    } finally {
      await member.leave()
    }
  })
  await step('group-offsets-after', async () => ({ offsets: await committed() }))
  await step('group-list', async () => {
    const groups = await called(done => admin.listGroups(done))
    return { groups: Object.entries(groups).filter(([id]) => id.startsWith(story.prefix)).sort() }
  })
  for (const protocol of ['roundrobin', 'range']) {
    await step(`rebalance-${protocol}`, async () => {
      const one = new Member(`by-${protocol}`, 'shared', protocol)
      let two
      try {
        await settle(() => one.holds().length === 4)
        const alone = one.holds()
        two = new Member(`by-${protocol}`, 'shared', protocol)
        await settle(() => one.holds().length === 2 && two.holds().length === 2)
        const together = [...one.holds(), ...two.holds()].sort()
        const during = await group(`by-${protocol}`)
        await one.leave()
        await settle(() => two.holds().length === 4)
        return { alone, together, during, left: two.holds() }
      } finally {
        await one.leave()
        await two?.leave()
      }
    })
  }
}

async function main() {
  client = await connect()
  admin = new kafka.Admin(client)
  offset = new kafka.Offset(client)
  await topics()
  await produce()
  await consume()
  await offsets()
  await groups()
  story.end()
}

main()
