// The oracle's driver of kafkajs with its codec plugins. It knows no assignment without a group: to read is to join one.
'use strict'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const zstd = require('@mongodb-js/zstd')
const { Story, EPOCH, settle, noise, show, records } = require('./story')

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({ compress: encoder => lz4.compressFrame(encoder.buffer), decompress: buffer => lz4.decompressFrame(buffer) })
CompressionCodecs[CompressionTypes.ZSTD] = () => ({ compress: encoder => zstd.compress(encoder.buffer, 3), decompress: buffer => zstd.decompress(buffer) })
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD }
// Lets records with old timestamps live.
const KEEP = [{ name: 'retention.ms', value: '-1' }]

const story = new Story(process.argv.slice(2))
const name = rest => story.name(rest)
const step = (title, run) => story.step(title, run)
const kafka = new Kafka({
  clientId: 'oracle',
  brokers: [story.bootstrap],
  logLevel: logLevel.ERROR,
  logCreator: () => entry => console.error(JSON.stringify(entry)),
  retry: { initialRetryTime: 50, maxRetryTime: 150, retries: 6 },
})
const admin = kafka.admin()

/** What a broker's errors are called, `null` without one. */
async function outcome(promise) {
  try {
    await promise
    return null
  } catch (error) {
    return reason(error)
  }
}

function reason(error) {
  const parts = error.errors ?? error.groups ?? error.partitions
  if (parts) return parts.map(part => reason(part.error ?? part))
  return error.type ?? error.cause?.type ?? error.errorCode ?? `${error.name}: ${error.message}`
}

/** Creates a topic and waits until its leaders know that they are. */
async function create(rest, numPartitions = 1, configEntries = KEEP) {
  await admin.createTopics({ topics: [{ topic: name(rest), numPartitions, replicationFactor: 1, configEntries }], waitForLeaders: false })
  await led(rest, numPartitions)
}

const led = (rest, partitions) =>
  settle(async () => {
    try {
      return (await admin.fetchTopicOffsets(name(rest))).length === partitions
    } catch (error) {
      console.error(error)
      return false
    }
  })

async function configs(rest) {
  const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: name(rest) }] })
  // 1 is a config of the topic itself.
  return Object.fromEntries(resources[0].configEntries.filter(entry => entry.configSource === 1).map(entry => [entry.configName, entry.configValue]))
}

async function topics() {
  await step('cluster', async () => {
    const { brokers, controller, clusterId } = await admin.describeCluster()
    return { brokers: brokers.length, controller_known: brokers.some(broker => broker.nodeId === controller), cluster_id: clusterId !== '' }
  })
  await step('create-topic', () => create('plain', 3, [...KEEP, { name: 'max.message.bytes', value: '1000000' }]))
  for (const [title, topic] of Object.entries({
    existing: { topic: name('plain') },
    slash: { topic: name('a/b') },
    'no-partitions': { topic: name('none'), numPartitions: 0 },
    'many-replicas': { topic: name('replicas'), replicationFactor: 3 },
    'wrong-config': { topic: name('config'), configEntries: [{ name: 'retention.ms', value: 'soon' }] },
    'assignment-to-nobody': { topic: name('nobody'), numPartitions: -1, replicationFactor: -1, replicaAssignment: [{ partition: 0, replicas: [77] }] },
  })) {
    await step(`create-topic-${title}`, async () => {
      try {
        return { created: await admin.createTopics({ topics: [{ numPartitions: 1, replicationFactor: 1, ...topic }], waitForLeaders: false }) }
      } catch (error) {
        return { error: reason(error) }
      }
    })
  }
  await step('create-topic-validate', async () => ({ created: await admin.createTopics({ validateOnly: true, waitForLeaders: false, topics: [{ topic: name('validated'), numPartitions: 1 }] }) }))
  await step('describe-topic', async () => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [name('plain')] })
    const partitions = topics[0].partitions.map(p => ({ partition: p.partitionId, error: p.partitionErrorCode, led: p.leader >= 0, replicas: p.replicas.length, isr: p.isr.length, offline: p.offlineReplicas?.length }))
    return { partitions: partitions.sort((a, b) => a.partition - b.partition) }
  })
  await step('describe-topic-unknown', async () => ({ error: await outcome(admin.fetchTopicMetadata({ topics: [name('nowhere')] })) }))
  await step('describe-configs', async () => ({ set: await configs('plain') }))
  await step('describe-configs-unknown', async () => ({ error: await outcome(configs('nowhere')) }))
  for (const [title, [rest, key, value]] of Object.entries({
    state: ['plain', 'max.message.bytes', '900000'],
    retention: ['plain', 'retention.ms', '-1'],
    wrong: ['plain', 'retention.ms', 'soon'],
    'unknown-topic': ['nowhere', 'retention.ms', '-1'],
  })) {
    await step(`alter-configs-${title}`, async () => {
      const error = await outcome(admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: name(rest), configEntries: [{ name: key, value }] }] }))
      // The controller answers; the broker that describes learns of it a moment later.
      if (error === null) await settle(async () => (await configs(rest))[key] === value)
      return { error, set: error === null ? await configs(rest) : undefined }
    })
  }
  await step('partitions-create', () => create('growing', 2))
  for (const [title, [rest, count]] of Object.entries({ add: ['growing', 4], same: ['growing', 4], reduce: ['growing', 1], 'unknown-topic': ['nowhere', 2] })) {
    await step(`partitions-${title}`, async () => {
      const error = await outcome(admin.createPartitions({ topicPartitions: [{ topic: name(rest), count }] }))
      if (error === null) await led(rest, count)
      return { error }
    })
  }
  await step('list-topics', async () => ({ topics: (await admin.listTopics()).filter(topic => topic.startsWith(story.prefix)).sort() }))
}

const messages = () =>
  records().map(({ key, value, headers, timestamp }) => ({ key, value, headers: Object.fromEntries(headers), timestamp: String(timestamp), partition: 0 }))

async function send(topic, options, sent, producing = {}) {
  const producer = kafka.producer({ allowAutoTopicCreation: false, maxInFlightRequests: 1, ...producing })
  await producer.connect()
  try {
    const answers = await producer.send({ topic: name(topic), ...options, messages: sent })
    return { error: null, offsets: (answers ?? []).map(answer => [answer.partition, answer.baseOffset]).sort(([a], [b]) => a - b) }
  } catch (error) {
    return { error: reason(error) }
  } finally {
    await producer.disconnect()
  }
}

/** The end offset of partition 0. */
const end = async rest => Number((await admin.fetchTopicOffsets(name(rest)))[0].high)

async function produce() {
  for (const [codec, compression] of Object.entries(CODECS)) {
    await step(`produce-create-${codec}`, () => create(`codec-${codec}`))
    for (const [title, [acks, idempotent]] of Object.entries({ 'acks-0': [0, false], 'acks-1': [1, false], 'acks-all': [-1, false], idempotent: [-1, true] })) {
      await step(`produce-${codec}-${title}`, async () => {
        const before = await end(`codec-${codec}`)
        const seen = await send(`codec-${codec}`, { acks, compression }, messages(), { idempotent })
        // Nobody says when what needs no acknowledgement is there.
        if (seen.error === null) await settle(async () => (seen.end = await end(`codec-${codec}`)) >= before + 6)
        return seen
      })
    }
  }
  for (const [title, [configEntries, value]] of Object.entries({
    'too-large-for-broker': [KEEP, noise(1_200_000)],
    'too-large-for-topic': [[{ name: 'max.message.bytes', value: '10000' }], noise(12_000)],
    'compacted-without-key': [[{ name: 'cleanup.policy', value: 'compact' }], 'no key'],
  })) {
    await step(`produce-${title}`, async () => {
      await create(title, 1, configEntries)
      return { ...(await send(title, {}, [{ value, partition: 0 }])), end: await end(title) }
    })
  }
  await step('produce-append-time', async () => {
    await create('append-time', 1, [{ name: 'message.timestamp.type', value: 'LogAppendTime' }])
    return send('append-time', {}, messages().slice(0, 2))
  })
  await step('produce-unknown-topic', () => send('nowhere', {}, [{ value: 'lost' }]))
  await step('produce-auto-create', () => send('automatic', {}, [{ value: 'found' }], { allowAutoTopicCreation: true }))
}

/** A member of a group that takes so many messages. */
class Member {
  constructor(group, options = {}) {
    this.group = group
    this.held = {}
    this.messages = []
    this.consumer = kafka.consumer({ groupId: name(group), sessionTimeout: 10_000, heartbeatInterval: 200, maxWaitTimeInMs: 200, allowAutoTopicCreation: false, ...options })
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => (this.held = payload.memberAssignment))
    this.consumer.on(this.consumer.events.REBALANCING, () => (this.held = {}))
    this.consumer.on(this.consumer.events.CRASH, ({ payload }) => console.error('crash', payload.error))
  }

  async join(topics, fromBeginning = true) {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics, fromBeginning })
    await this.consumer.run({ autoCommit: false, eachMessage: async ({ topic, partition, message }) => void this.messages.push({ topic, partition, ...message }) })
    return this
  }

  async take(count) {
    await settle(() => this.messages.length >= count)
    return this.messages.slice(0, count)
  }

  holds(topic) {
    return [...(this.held[topic] ?? [])].sort()
  }

  leave() {
    return this.consumer.disconnect()
  }
}

const shown = list => ({
  records: list
    .map(m => ({
      partition: m.partition,
      offset: Number(m.offset),
      key: show(m.key),
      value: show(m.value),
      timestamp: Number(m.timestamp),
      timestamp_type: m.batchContext?.timestampType,
      headers: Object.fromEntries(Object.entries(m.headers ?? {}).map(([key, value]) => [key, show(value)])),
    }))
    .sort((a, b) => a.partition - b.partition || a.offset - b.offset),
})

/** Reads so many messages of a topic in a group of its own. */
async function read(rest, count, { fromBeginning = true, seek = undefined, group = `read-${rest}`, ...options } = {}) {
  const member = new Member(group, options)
  try {
    await member.join([name(rest)], fromBeginning)
    if (seek !== undefined) member.consumer.seek({ topic: name(rest), partition: 0, offset: String(seek) })
    return shown(await member.take(count))
  } finally {
    await member.leave()
  }
}

async function consume() {
  await step('group-coordinator', async () => {
    // The first group of a cluster finds no coordinator until the topic of offsets is there.
    await settle(async () => (await outcome(admin.describeGroups([name('readers')]))) === null)
  })
  for (const codec of Object.keys(CODECS)) await step(`consume-${codec}`, () => read(`codec-${codec}`, 24))
  await step('consume-append-time', async () => {
    const { records } = await read('append-time', 2)
    return { recent: records.map(record => Math.abs(Date.now() - record.timestamp) < 3_600_000) }
  })
  await step('consume-prepare', () =>
    send('plain', {}, Array.from({ length: 30 }, (_, i) => ({ value: String.fromCharCode(97 + i), partition: i % 3, timestamp: String(EPOCH + i * 1000) }))),
  )
  await step('consume-all-partitions', () => read('plain', 30))
  await step('consume-small-fetches', () => read('codec-none', 24, { maxBytes: 1000, maxBytesPerPartition: 100, group: 'small' }))
  await step('consume-read-uncommitted', () => read('codec-none', 24, { readUncommitted: true, group: 'uncommitted' }))
  await step('seek-prepare', async () => {
    await create('queue')
    return send('queue', {}, Array.from({ length: 10 }, (_, i) => ({ value: String(i), timestamp: String(EPOCH + i * 1000) })))
  })
  // It reads before it seeks, so there is nothing to read where it begins.
  await step('seek-offset', () => read('queue', 6, { seek: 4, fromBeginning: false, group: 'seek-4' }))
  await step('seek-out-of-range', () => read('queue', 10, { seek: 1000, group: 'seek-1000' }))
}

const byPartition = list => [...list].sort((a, b) => a.partition - b.partition)

async function offsets() {
  await step('offsets', async () => ({ offsets: byPartition(await admin.fetchTopicOffsets(name('plain'))) }))
  for (const [title, time] of Object.entries({ 'before-first': -1, exact: 6000, between: 6001, last: 29_000, 'after-last': 29_001 })) {
    await step(`offsets-${title}`, async () => ({ offsets: byPartition(await admin.fetchTopicOffsetsByTimestamp(name('plain'), EPOCH + time)) }))
  }
  await step('offsets-unknown', async () => ({ error: await outcome(admin.fetchTopicOffsets(name('nowhere'))) }))
  for (const [title, partitions] of Object.entries({ some: [{ partition: 1, offset: '4' }, { partition: 2, offset: '-1' }], 'too-far': [{ partition: 1, offset: '11' }], 'unknown-partition': [{ partition: 9, offset: '1' }] })) {
    await step(`delete-records-${title}`, async () => ({
      error: await outcome(admin.deleteTopicRecords({ topic: name('plain'), partitions })),
      offsets: byPartition(await admin.fetchTopicOffsets(name('plain'))),
    }))
  }
}

async function group(rest) {
  const { groups } = await admin.describeGroups([name(rest)])
  return { error: groups[0].errorCode, state: groups[0].state, type: groups[0].protocolType, protocol: groups[0].protocol, members: groups[0].members.map(member => member.clientId) }
}

const committed = async rest => ({ offsets: await admin.fetchOffsets({ groupId: name(rest), topics: [name('queue')] }) })
const emptied = rest => settle(async () => (await group(rest)).members.length === 0)
const deleteGroup = rest => outcome(admin.deleteGroups([name(rest)]))

let reset

async function groups() {
  await step('group-describe-unknown', () => group('readers'))
  await step('group-offsets-unknown', () => committed('readers'))
  await step('group-delete-unknown', async () => ({ error: await deleteGroup('readers') }))
  await step('group-first-half', async () => {
    const member = await new Member('readers').join([name('queue')])
    try {
      const seen = shown(await member.take(5))
      await member.consumer.commitOffsets([{ topic: name('queue'), partition: 0, offset: '5', metadata: 'half' }])
      return { ...seen, during: await group('readers'), delete_during: await deleteGroup('readers'), alter_during: await outcome(admin.setOffsets({ groupId: name('readers'), topic: name('queue'), partitions: [{ partition: 0, offset: '1' }] })) }
    } finally {
      await member.leave()
    }
  })
  await step('group-empty', async () => {
    await emptied('readers')
    return group('readers')
  })
  await step('group-offsets', () => committed('readers'))
  await step('group-second-half', async () => {
    const member = await new Member('readers').join([name('queue')])
    try {
      const seen = shown(await member.take(5))
      await member.consumer.commitOffsets([{ topic: name('queue'), partition: 0, offset: '10' }])
      return seen
    } finally {
      await member.leave()
    }
  })
  await step('group-list', async () => {
    await emptied('readers')
    const { groups } = await admin.listGroups()
    return { groups: groups.filter(({ groupId }) => groupId.startsWith(story.prefix)).map(({ groupId, protocolType }) => [groupId, protocolType]).sort() }
  })
  // It takes kafkajs five seconds, its longest fetch, in which there is time for all else.
  reset = emptied('readers').then(() => admin.resetOffsets({ groupId: name('readers'), topic: name('queue'), earliest: true }))
  await step('rebalance', async () => {
    await create('shared', 4)
    const [one, two] = [new Member('pair'), new Member('pair')]
    try {
      await one.join([name('shared')])
      await settle(() => one.holds(name('shared')).length === 4)
      const alone = one.holds(name('shared'))
      await two.join([name('shared')])
      await settle(() => one.holds(name('shared')).length === 2 && two.holds(name('shared')).length === 2)
      const together = [...one.holds(name('shared')), ...two.holds(name('shared'))].sort()
      const during = await group('pair')
      await one.leave()
      await settle(() => two.holds(name('shared')).length === 4)
      return { alone, together, during, left: two.holds(name('shared')) }
    } finally {
      await Promise.all([one.leave(), two.leave()])
    }
  })
  await step('pattern-subscription', async () => {
    await Promise.all([create('pattern-a', 2), create('pattern-b', 2)])
    const member = new Member('by-pattern')
    try {
      await member.join([new RegExp(`^${story.prefix}-pattern-.*`)])
      await settle(() => member.holds(name('pattern-a')).length + member.holds(name('pattern-b')).length === 4)
      return { a: member.holds(name('pattern-a')), b: member.holds(name('pattern-b')) }
    } finally {
      await member.leave()
    }
  })
}

async function deletions() {
  for (const rest of ['plain', 'nowhere']) {
    await step(`delete-topic-${rest}`, async () => {
      const error = await outcome(admin.deleteTopics({ topics: [name(rest)] }))
      await settle(async () => (await outcome(admin.fetchTopicMetadata({ topics: [name(rest)] }))) !== null)
      return { error, then: await outcome(admin.fetchTopicMetadata({ topics: [name(rest)] })) }
    })
  }
  await step('group-reset-offsets', async () => {
    await reset
    return committed('readers')
  })
  await step('group-delete', async () => {
    await emptied('readers')
    return { error: await deleteGroup('readers'), then: await group('readers') }
  })
}

async function main() {
  await admin.connect()
  await topics()
  await produce()
  await consume()
  await offsets()
  await groups()
  await deletions()
  story.end()
}

main()
