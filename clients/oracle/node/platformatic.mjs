// The oracle's driver of @platformatic/kafka: flexible versions of the protocol and topic ids, from Node. To read is to
// join a group; zstd it has only on Node 22.
import { Admin, Consumer, Producer } from '@platformatic/kafka'

import { Story, EPOCH, settle, noise, show, records } from './story.js'

const CODECS = ['none', 'gzip', 'snappy', 'lz4']
// Lets records with old timestamps live.
const KEEP = { 'retention.ms': '-1' }
// A resource of configs that is a topic.
const TOPIC = 2

const story = new Story(process.argv.slice(2))
const name = rest => story.name(rest)
const step = (title, run) => story.step(title, run)
const common = { clientId: 'oracle', bootstrapBrokers: [story.bootstrap], retries: 0, retryDelay: 100, metadataMaxAge: 100 }
const admin = new Admin(common)

/** What a broker's errors are called and what it said, `null` without one. */
function reason(error) {
  // A range of timestamps moves with the clock.
  if (error.apiId) return { code: error.apiId, message: error.serverErrorMessage?.replace(/\[-?\d+, -?\d+\]/, '[…]') ?? null }
  const parts = error.errors ?? (error.cause && [error.cause])
  return parts?.length ? parts.map(reason).flat() : `${error.code ?? error.name}: ${error.message}`
}

async function outcome(promise) {
  try {
    await promise
    return null
  } catch (error) {
    return reason(error)
  }
}

const create = async (rest, partitions = 1, configs = KEEP, topic = name(rest), more = {}) => {
  const made = await admin.createTopics({ topics: [topic], partitions, replicas: 1, configs: Object.entries(configs).map(([name, value]) => ({ name, value })), ...more })
  await led(rest, partitions < 0 ? 1 : partitions)
  return { partitions: made[0].partitions, replicas: made[0].replicas, has_id: made[0].id !== '00000000-0000-0000-0000-000000000000' }
}

const listed = (rest, partitions, timestamp) =>
  admin.listOffsets({ topics: [{ name: name(rest), partitions: Array.from({ length: partitions }, (_, partitionIndex) => ({ partitionIndex, timestamp: BigInt(timestamp) })) }] })

/** Waits until the leaders of a topic know that they are. */
const led = (rest, partitions) => settle(async () => (await outcome(listed(rest, partitions, -1))) === null)

/** The end offset of partition 0. */
const end = async rest => Number((await listed(rest, 1, -1))[0].partitions[0].offset)

async function configs(rest) {
  const resources = await admin.describeConfigs({ resources: [{ resourceType: TOPIC, resourceName: name(rest) }], includeSynonyms: true, includeDocumentation: true })
  // 1 is a config of the topic itself.
  return Object.fromEntries(resources[0].configs.filter(config => config.configSource === 1).map(config => [config.name, { value: config.value, type: config.configType, synonyms: config.synonyms.map(s => s.source), documented: config.documentation?.length > 0 }]))
}

async function described(rest) {
  const metadata = await admin.metadata({ topics: [name(rest)], forceUpdate: true, autocreateTopics: false })
  const partitions = metadata.topics.get(name(rest)).partitions
  return { partitions: partitions.map(p => ({ led: p.leader >= 0, replicas: p.replicas.length, isr: p.isr.length, offline: p.offlineReplicas.length })) }
}

async function topics() {
  await step('cluster', async () => {
    const metadata = await admin.metadata({ topics: [] })
    return { brokers: metadata.brokers.size, controller_known: metadata.brokers.has(metadata.controllerId), cluster_id: metadata.id !== '' }
  })
  await step('create-topic', () => create('plain', 3, { ...KEEP, 'max.message.bytes': '1000000' }))
  for (const [title, [topic, partitions, options]] of Object.entries({
    existing: [name('plain'), 1, {}],
    slash: [name('a/b'), 1, {}],
    'many-replicas': [name('replicas'), 1, { replicas: 3 }],
    'wrong-config': [name('config'), 1, { configs: [{ name: 'retention.ms', value: 'soon' }] }],
    'assignment-to-nobody': [name('nobody'), -1, { replicas: -1, assignments: [{ partition: 0, brokers: [77] }] }],
  })) {
    await step(`create-topic-${title}`, async () => ({ error: await outcome(create('plain', partitions, {}, topic, options)) }))
  }
  await step('describe-topic', () => described('plain'))
  await step('describe-topic-unknown', async () => ({ error: await outcome(described('nowhere')) }))
  await step('describe-configs', async () => ({ set: await configs('plain') }))
  await step('describe-configs-unknown', async () => ({ error: await outcome(configs('nowhere')) }))
  // Set, delete, append, subtract.
  for (const [title, [rest, key, configOperation, value, then]] of Object.entries({
    set: ['plain', 'segment.bytes', 0, '10000000', '10000000'],
    append: ['plain', 'cleanup.policy', 2, 'compact', 'delete,compact'],
    subtract: ['plain', 'cleanup.policy', 3, 'compact', 'delete'],
    delete: ['plain', 'cleanup.policy', 1, undefined, undefined],
    wrong: ['plain', 'segment.bytes', 0, 'many', undefined],
    'unknown-topic': ['nowhere', 'segment.bytes', 0, '10000000', undefined],
  })) {
    await step(`alter-configs-${title}`, async () => {
      const error = await outcome(admin.incrementalAlterConfigs({ resources: [{ resourceType: TOPIC, resourceName: name(rest), configs: [{ name: key, configOperation, ...(value === undefined ? {} : { value }) }] }] }))
      // The controller answers; the broker that describes learns of it a moment later.
      if (error === null) await settle(async () => (await configs(rest))[key]?.value === then)
      return { error, set: error === null ? await configs(rest) : undefined }
    })
  }
  await step('alter-configs-state', async () => {
    const error = await outcome(admin.alterConfigs({ resources: [{ resourceType: TOPIC, resourceName: name('plain'), configs: [{ name: 'retention.ms', value: '-1' }] }] }))
    await settle(async () => Object.keys(await configs('plain')).length === 1)
    return { error, set: await configs('plain') }
  })
  await step('partitions-create', () => create('growing', 2))
  for (const [title, [rest, count]] of Object.entries({ add: ['growing', 4], same: ['growing', 4], reduce: ['growing', 1], 'unknown-topic': ['nowhere', 2] })) {
    await step(`partitions-${title}`, async () => {
      const error = await outcome(admin.createPartitions({ topics: [{ name: name(rest), count }] }))
      if (error === null) await led(rest, count)
      return { error }
    })
  }
  await step('list-topics', async () => ({ topics: (await admin.listTopics()).filter(topic => topic.startsWith(story.prefix)).sort() }))
}

async function send(rest, sent, options = {}) {
  const producer = new Producer({ ...common, autocreateTopics: false, ...options })
  try {
    const { offsets } = await producer.send({ messages: sent.map(message => ({ partition: 0, ...message, topic: name(rest) })) })
    return { error: null, offsets: (offsets ?? []).map(({ partition, offset }) => [partition, offset]).sort(([a], [b]) => a - b) }
  } catch (error) {
    return { error: reason(error) }
  } finally {
    await producer.close()
  }
}

const messages = () =>
  records().map(({ key, value, headers, timestamp }) => ({ key: key ?? undefined, value: value ?? undefined, timestamp: BigInt(timestamp), headers: new Map(headers.map(([key, value]) => [Buffer.from(key), Buffer.from(value)])) }))

async function produce() {
  for (const compression of CODECS) {
    await step(`produce-create-${compression}`, () => create(`codec-${compression}`))
    for (const [title, options] of Object.entries({ 'acks-0': { acks: 0 }, 'acks-1': { acks: 1 }, 'acks-all': { acks: -1 }, idempotent: { acks: -1, idempotent: true } })) {
      await step(`produce-${compression}-${title}`, async () => {
        const before = await end(`codec-${compression}`)
        const seen = await send(`codec-${compression}`, messages(), { compression, ...options })
        // Nobody says when what needs no acknowledgement is there.
        if (seen.error === null) await settle(async () => (seen.end = await end(`codec-${compression}`)) >= before + 6)
        return seen
      })
    }
  }
  for (const [title, [configs, value]] of Object.entries({
    'too-large-for-broker': [KEEP, noise(1_200_000)],
    'too-large-for-topic': [{ 'max.message.bytes': '10000' }, noise(12_000)],
    'compacted-without-key': [{ 'cleanup.policy': 'compact' }, Buffer.from('no key')],
    'timestamp-too-late': [{ 'message.timestamp.after.max.ms': '3600000' }, Buffer.from('late')],
  })) {
    await step(`produce-${title}`, async () => {
      await create(title, 1, configs)
      return { ...(await send(title, [{ value, timestamp: title === 'timestamp-too-late' ? 4_000_000_000_000n : undefined }])), end: await end(title) }
    })
  }
  await step('produce-unknown-topic', () => send('nowhere', [{ value: Buffer.from('lost') }]))
  await step('produce-auto-create', () => send('automatic', [{ value: Buffer.from('found') }], { autocreateTopics: true, retries: 20 }))
}

/** A member of a group that takes so many messages. */
class Member {
  constructor(group, options = {}) {
    this.messages = []
    this.consumer = new Consumer({ ...common, groupId: name(group), autocommit: false, maxWaitTime: 200, sessionTimeout: 10_000, rebalanceTimeout: 10_000, heartbeatInterval: 200, retries: 10, ...options })
  }

  async join(topics, options = {}) {
    this.stream = await this.consumer.consume({ topics, mode: 'committed', fallbackMode: 'earliest', ...options })
    this.stream.on('data', message => this.messages.push(message))
    this.stream.on('error', error => (this.failure = error))
    return this
  }

  async take(count) {
    await settle(() => this.failure || this.messages.length >= count)
    if (this.failure) throw this.failure
    return this.messages.slice(0, count)
  }

  holds(topic) {
    return [...(this.consumer.assignments ?? []).filter(held => held.topic === topic).flatMap(held => held.partitions)].sort()
  }

  async leave() {
    if (!this.left) await this.consumer.close(true)
    this.left = true
  }
}

const shown = list => ({
  records: list
    .map(m => ({ partition: m.partition, offset: Number(m.offset), key: show(m.key), value: show(m.value), timestamp: m.timestamp, headers: Object.fromEntries([...m.headers].map(([key, value]) => [show(key), show(value)])) }))
    .sort((a, b) => a.partition - b.partition || a.offset - b.offset),
})

async function read(rest, count, options = {}, group = `read-${rest}`) {
  const member = new Member(group)
  try {
    await member.join([name(rest)], options)
    return shown(await member.take(count))
  } catch (error) {
    return { error: reason(error) }
  } finally {
    await member.leave()
  }
}

const from = offset => ({ mode: 'manual', offsets: [{ topic: name('queue'), partition: 0, offset }] })

async function consume() {
  await step('group-coordinator', async () => {
    // The first group of a cluster finds no coordinator until the topic of offsets is there.
    await settle(async () => (await outcome(admin.describeGroups({ groups: [name('readers')] }))) === null)
  })
  for (const codec of CODECS) await step(`consume-${codec}`, () => read(`codec-${codec}`, 24))
  await step('consume-prepare', () => send('plain', Array.from({ length: 30 }, (_, i) => ({ value: Buffer.from(String.fromCharCode(97 + i)), partition: i % 3, timestamp: BigInt(EPOCH + i * 1000) }))))
  await step('consume-all-partitions', () => read('plain', 30, { mode: 'earliest' }))
  await step('seek-prepare', async () => {
    await create('queue')
    return send('queue', Array.from({ length: 10 }, (_, i) => ({ value: Buffer.from(String(i)), timestamp: BigInt(EPOCH + i * 1000) })))
  })
  await step('seek-offset', () => read('queue', 6, from(4n), 'seek-4'))
  await step('seek-out-of-range', () => read('queue', 1, { ...from(1000n), fallbackMode: 'fail' }, 'seek-1000'))
}

async function offsets() {
  for (const [title, time] of Object.entries({ earliest: -2, latest: -1, 'largest-timestamp': -3, 'before-first': EPOCH - 1, exact: EPOCH + 6000, between: EPOCH + 6001, last: EPOCH + 29_000, 'after-last': EPOCH + 29_001 })) {
    await step(`offsets-${title}`, async () => {
      const partitions = (await listed('plain', 3, time))[0].partitions
      return { offsets: partitions.map(p => [p.partitionIndex, p.offset, p.timestamp]).sort(([a], [b]) => a - b) }
    })
  }
  await step('offsets-unknown', async () => ({ error: await outcome(listed('nowhere', 1, -1)) }))
  for (const [title, partition] of Object.entries({ some: { partition: 1, offset: 4n }, all: { partition: 2, offset: -1n }, 'too-far': { partition: 1, offset: 11n }, 'unknown-partition': { partition: 9, offset: 1n } })) {
    await step(`delete-records-${title}`, async () => {
      try {
        const deleted = await admin.deleteRecords({ topics: [{ name: name('plain'), partitions: [partition] }] })
        return { low_watermark: deleted[0].partitions[0].lowWatermark }
      } catch (error) {
        return { error: reason(error) }
      }
    })
  }
  await step('describe-log-dirs', async () => {
    const brokers = await admin.describeLogDirs({ topics: [{ name: name('plain'), partitions: [0, 1, 2] }] })
    return { partitions: brokers.flatMap(broker => broker.results.flatMap(dir => dir.topics.flatMap(topic => topic.partitions.map(p => p.partitionIndex)))).sort() }
  })
}

async function group(rest) {
  const groups = await admin.describeGroups({ groups: [name(rest)] })
  const found = groups.get(name(rest))
  return {
    state: found.state,
    type: found.protocolType,
    protocol: found.protocol,
    members: [...found.members.values()].map(member => ({ client_id: member.clientId, instance: member.groupInstanceId, assigned: [...(member.assignments?.values() ?? [])].map(held => [held.topic, held.partitions.length]) })),
  }
}

async function committed(rest) {
  const found = await admin.listConsumerGroupOffsets({ groups: [{ groupId: name(rest), topics: [{ name: name('queue'), partitionIndexes: [0, 9] }] }] })
  return { offsets: found[0].topics.flatMap(topic => topic.partitions.map(p => [topic.name, p.partitionIndex, p.committedOffset, p.metadata])) }
}

const emptied = rest => settle(async () => (await group(rest)).members.length === 0)
const deleteGroup = rest => outcome(admin.deleteGroups({ groups: [name(rest)] }))
const alter = (rest, offset) => outcome(admin.alterConsumerGroupOffsets({ groupId: name(rest), topics: [{ name: name('queue'), partitionOffsets: [{ partition: 0, offset }] }] }))
const commit = (member, offset) => member.consumer.commit({ offsets: [{ topic: name('queue'), partition: 0, offset, leaderEpoch: -1 }] })

async function groups() {
  await step('group-describe-unknown', async () => ({ error: await outcome(group('readers')) }))
  await step('group-offsets-unknown', () => committed('readers'))
  await step('group-delete-unknown', async () => ({ error: await deleteGroup('readers') }))
  await step('group-first-half', async () => {
    const member = new Member('readers')
    try {
      await member.join([name('queue')])
      const seen = shown(await member.take(5))
      await commit(member, 5n)
      const lag = await member.consumer.getLag({ topics: [name('queue')] })
      return { ...seen, lag, during: await group('readers'), delete_during: await deleteGroup('readers'), alter_during: await alter('readers', 1n) }
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
    const member = new Member('readers')
    try {
      await member.join([name('queue')])
      const seen = shown(await member.take(5))
      await commit(member, 10n)
      return seen
    } finally {
      await member.leave()
    }
  })
  await step('group-list', async () => {
    await emptied('readers')
    const groups = [...(await admin.listGroups()).values()].filter(({ id }) => id.startsWith(story.prefix))
    return { groups: groups.map(({ id, state, protocolType, groupType }) => [id, state, protocolType, groupType]).sort() }
  })
  await step('group-alter-offsets', async () => ({ error: await alter('readers', 3n), then: await committed('readers') }))
  await step('group-delete-offsets', async () => ({
    error: await outcome(admin.deleteConsumerGroupOffsets({ groupId: name('readers'), topics: [{ name: name('queue'), partitionIndexes: [0] }] })),
    then: await committed('readers'),
  }))
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
  await step('static-member', async () => {
    const member = new Member('static', { groupInstanceId: 'instance-1' })
    try {
      await member.join([name('shared')])
      await settle(() => member.holds(name('shared')).length === 4)
      return { held: member.holds(name('shared')), during: await group('static') }
    } finally {
      await member.leave()
    }
  })
}

async function deletions() {
  await step('group-delete', async () => {
    await emptied('readers')
    return { error: await deleteGroup('readers'), then: await outcome(group('readers')) }
  })
  for (const rest of ['plain', 'nowhere']) {
    await step(`delete-topic-${rest}`, async () => {
      const error = await outcome(admin.deleteTopics({ topics: [name(rest)] }))
      await settle(async () => !(await admin.listTopics()).includes(name(rest)))
      return { error, then: await outcome(described(rest)) }
    })
  }
}

await topics()
await produce()
await consume()
await offsets()
await groups()
await deletions()
story.end()
