// The oracle's driver of no-kafka: message sets of magic 0, snappy without a frame, and groups with assignments of its own.
// It cannot create topics but by asking for them, so kafkajs lays the table.
'use strict'

require('./callback-snappy')
const NoKafka = require('no-kafka')
const { Kafka, logLevel } = require('kafkajs')
const { Story, settle, noise, show, records } = require('./story')

const CODECS = { none: NoKafka.COMPRESSION_NONE, gzip: NoKafka.COMPRESSION_GZIP, snappy: NoKafka.COMPRESSION_SNAPPY }

const story = new Story(process.argv.slice(2))
const name = rest => story.name(rest)
const step = (title, run) => story.step(title, run)
const common = () => ({ connectionString: story.bootstrap, clientId: 'oracle', idleTimeout: 50, logger: { logFunction: (...words) => console.error(...words) } })
const table = new Kafka({ clientId: 'table', brokers: [story.bootstrap], logLevel: logLevel.ERROR, logCreator: () => entry => console.error(JSON.stringify(entry)), retry: { initialRetryTime: 50 } }).admin()
const reason = error => (error === null || error === undefined ? null : `${error.name}: ${error.code ?? error.message}`)

async function create(rest, numPartitions = 1, configs = {}) {
  await table.createTopics({ topics: [{ topic: name(rest), numPartitions, replicationFactor: 1, configEntries: Object.entries(configs).map(([name, value]) => ({ name, value })) }], waitForLeaders: false })
  // Its leaders have to know that they are.
  await settle(async () => {
    try {
      return (await table.fetchTopicOffsets(name(rest))).length === numPartitions
    } catch (error) {
      console.error(error)
      return false
    }
  })
}

/** The end offset of partition 0. */
const end = async rest => Number((await table.fetchTopicOffsets(name(rest)))[0].high)

async function send(sent, options = {}) {
  const producer = new NoKafka.Producer({ ...common(), retries: { attempts: 10, delay: { min: 100, max: 100 } }, batch: { size: 0, maxWait: 0 }, ...options })
  await producer.init()
  try {
    const answers = await producer.send(sent)
    return { answers: answers.map(answer => [answer.partition ?? null, answer.offset ?? null, reason(answer.error)]).sort(([a], [b]) => a - b) }
  } finally {
    await producer.end()
  }
}

async function produce() {
  const messages = rest => records().map(({ key, value }) => ({ topic: name(rest), partition: 0, message: { key, value } }))
  for (const [codec, number] of Object.entries(CODECS)) {
    await step(`produce-create-${codec}`, () => create(`codec-${codec}`))
    for (const requiredAcks of [0, 1, -1]) {
      await step(`produce-${codec}-acks-${requiredAcks}`, async () => {
        const before = await end(`codec-${codec}`)
        const seen = await send(messages(`codec-${codec}`), { codec: number, requiredAcks })
        // Nobody says when what needs no acknowledgement is there.
        await settle(async () => (seen.end = await end(`codec-${codec}`)) >= before + 6)
        return seen
      })
    }
  }
  for (const [title, [configs, value]] of Object.entries({
    'too-large-for-broker': [{}, noise(1_200_000)],
    'too-large-for-topic': [{ 'max.message.bytes': '10000' }, noise(12_000)],
    'compacted-without-key': [{ 'cleanup.policy': 'compact' }, 'no key'],
  })) {
    await step(`produce-${title}`, async () => {
      await create(title, 1, configs)
      return { ...(await send([{ topic: name(title), partition: 0, message: { value } }])), end: await end(title) }
    })
  }
  await step('produce-auto-create', () => send([{ topic: name('automatic'), partition: 0, message: { value: 'found' } }]))
}

const shown = list => ({ records: list.map(m => ({ partition: m.partition, offset: m.offset, key: show(m.message.key), value: show(m.message.value) })).sort((a, b) => a.partition - b.partition || a.offset - b.offset) })

/** Reads so many messages of a partition by assignment. */
async function read(rest, partition, options, count, more = {}) {
  const consumer = new NoKafka.SimpleConsumer({ ...common(), groupId: name('simple'), ...more })
  const messages = []
  await consumer.init()
  try {
    await consumer.subscribe(name(rest), partition, options, set => void messages.push(...set.map(message => ({ partition, ...message }))))
    await settle(() => messages.length >= count)
    return shown(messages.slice(0, count))
  } finally {
    await consumer.end()
  }
}

async function consume() {
  for (const codec of Object.keys(CODECS)) await step(`consume-${codec}`, () => read(`codec-${codec}`, 0, { time: NoKafka.EARLIEST_OFFSET }, 18))
  await step('consume-prepare', async () => {
    await create('plain', 3)
    return send(Array.from({ length: 30 }, (_, i) => ({ topic: name('plain'), partition: i % 3, message: { value: String.fromCharCode(97 + i) } })))
  })
  await step('consume-from-offset', () => read('plain', 1, { offset: 4 }, 6))
  await step('consume-out-of-range-earliest', () => read('plain', 0, { offset: 1000 }, 10, { recoveryOffset: NoKafka.EARLIEST_OFFSET }))
  for (const [title, time] of Object.entries({ earliest: NoKafka.EARLIEST_OFFSET, latest: NoKafka.LATEST_OFFSET, future: 4_000_000_000_000 })) {
    await step(`offset-${title}`, async () => {
      const consumer = new NoKafka.SimpleConsumer(common())
      await consumer.init()
      try {
        return { offsets: await Promise.all([0, 1, 2].map(partition => consumer.offset(name('plain'), partition, time))) }
      } finally {
        await consumer.end()
      }
    })
  }
}

let admin

async function group(rest) {
  const found = await admin.describeGroup(name(rest))
  return { error: reason(found.error), state: found.state, type: found.protocolType, protocol: found.protocol, members: found.members.map(m => [m.clientId, m.version, m.subscriptions, m.memberAssignment?.partitionAssignment?.map(held => [held.topic, held.partitions.length])]) }
}

/** A member of a group that takes so many messages. */
class Member {
  constructor(rest, topic, strategy = new NoKafka.DefaultAssignmentStrategy(), metadata = undefined) {
    this.messages = []
    this.strategy = { subscriptions: [name(topic)], strategy, metadata, handler: (set, _, partition) => void this.messages.push(...set.map(message => ({ partition, ...message }))) }
    this.consumer = new NoKafka.GroupConsumer({ ...common(), groupId: name(rest), sessionTimeout: 10_000, heartbeatTimeout: 200, startingOffset: NoKafka.EARLIEST_OFFSET })
  }

  async join() {
    await this.consumer.init(this.strategy)
    return this
  }

  async take(count) {
    await settle(() => this.messages.length >= count)
    return this.messages.slice(0, count)
  }

  holds() {
    return Object.values(this.consumer.subscriptions).map(held => held.partition).sort()
  }

  async leave() {
    if (!this.left) await this.consumer.end()
    this.left = true
  }
}

async function groups() {
  await step('group-prepare', async () => {
    await create('queue')
    await create('shared', 4)
    // The first group of a cluster finds no coordinator until the topic of offsets is there.
    await settle(async () => {
      try {
        return reason((await admin.describeGroup(name('readers'))).error) === null
      } catch (error) {
        console.error(error)
        return false
      }
    })
    return send(Array.from({ length: 10 }, (_, i) => ({ topic: name('queue'), partition: 0, message: { value: String(i) } })))
  })
  await step('group-describe-unknown', () => group('readers'))
  for (const [title, [offset, metadata]] of Object.entries({ first: [4, 'half'], second: [9, undefined] })) {
    await step(`group-${title}-half`, async () => {
      const member = await new Member('readers', 'queue').join()
      try {
        const seen = shown(await member.take(5))
        const committed = await member.consumer.commitOffset({ topic: name('queue'), partition: 0, offset, metadata })
        const fetched = await member.consumer.fetchOffset({ topic: name('queue'), partition: 0 })
        return { ...seen, committed: committed.map(c => reason(c.error)), fetched: fetched.map(f => [f.partition, f.offset, f.metadata, reason(f.error)]), during: await group('readers') }
      } finally {
        await member.leave()
      }
    })
  }
  await step('group-empty', () => group('readers'))
  await step('group-lag', async () => ({ lag: await admin.fetchConsumerLag(name('readers'), [{ topicName: name('queue'), partitions: [0] }]) }))
  await step('group-list', async () => {
    const groups = await admin.listGroups()
    return { groups: groups.filter(({ groupId }) => groupId.startsWith(story.prefix)).map(({ groupId, protocolType }) => [groupId, protocolType]).sort() }
  })
  // The consistent strategy goes by the topic's name, which is another in each run.
  for (const Strategy of [NoKafka.DefaultAssignmentStrategy, NoKafka.WeightedRoundRobinAssignmentStrategy]) {
    await step(`rebalance-${Strategy.name}`, async () => {
      const made = id => new Member(`by-${Strategy.name}`, 'shared', new Strategy(), { id, weight: 10 })
      const [one, two] = [made('one'), made('two')]
      try {
        await one.join()
        await settle(() => one.holds().length === 4)
        const alone = one.holds()
        await two.join()
        await settle(() => one.holds().length === 2 && two.holds().length === 2)
        const together = [...one.holds(), ...two.holds()].sort()
        const during = await group(`by-${Strategy.name}`)
        await one.leave()
        await settle(() => two.holds().length === 4)
        return { alone, together, during, left: two.holds() }
      } finally {
        await one.leave()
        await two.leave()
      }
    })
  }
}

async function main() {
  await table.connect()
  admin = new NoKafka.GroupAdmin(common())
  await admin.init()
  await produce()
  await consume()
  await groups()
  story.end()
}

main()
