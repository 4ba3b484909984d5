// The driver of kafkajs with its codec plugins; its command line is described in clients/README.md.
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const readline = require('node:readline')
const { Kafka, CompressionCodecs, CompressionTypes, logLevel } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const zstd = require('@mongodb-js/zstd')

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: encoder => zstd.compress(encoder.buffer, 3),
  decompress: buffer => zstd.decompress(buffer),
})

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}
// A batch is sent when it holds this much text; kafkajs itself never cuts what one call is given.
const BATCH_BYTES = 128 * 1024

class Job {
  constructor(words) {
    this.command = words[0]
    this.options = new Map()
    for (let i = 1; i < words.length; i += 2) {
      if (!words[i].startsWith('--') || i + 1 === words.length) throw new Error(`expected --key value, found '${words[i]}'`)
      this.options.set(words[i].slice(2), words[i + 1])
    }
  }

  text(key, otherwise) {
    const value = this.options.get(key) ?? otherwise
    if (value === undefined) throw new Error(`${this.command} needs --${key}`)
    return value
  }

  number(key, otherwise) {
    return Number(this.text(key, otherwise))
  }

  flag(key) {
    return this.text(key, 'false') === 'true'
  }
}

const connect = job =>
  new Kafka({ clientId: 'headwater-node', brokers: job.text('bootstrap').split(','), logLevel: logLevel.ERROR, logCreator: () => entry => console.error(JSON.stringify(entry)) })

/** The lines of a file, as buffers without their line feeds. */
function* linesOf(file) {
  const text = fs.readFileSync(file)
  for (let start = 0; start < text.length; ) {
    let end = text.indexOf(10, start)
    if (end < 0) end = text.length
    yield text.subarray(start, end)
    start = end + 1
  }
}

async function produce(job) {
  const [topic, partitions] = [job.text('topic'), job.number('partitions')]
  const compression = CODECS[job.text('codec', 'none')]
  if (compression === undefined) throw new Error(`no codec is called '${job.text('codec')}'`)
  const acks = { all: -1, '-1': -1, 1: 1, 0: 0 }[job.text('acks', 'all')]
  const log = job.text('log-acks', '')
  const acked = []
  const producer = connect(job).producer({ idempotent: job.flag('idempotent'), maxInFlightRequests: 1, allowAutoTopicCreation: false })
  await producer.connect()
  let [index, bytes, batch] = [0, 0, []]
  const send = async () => {
    if (batch.length === 0) return
    const indexes = Array.from({ length: partitions }, () => [])
    for (let i = 0; i < batch.length; i++) indexes[batch[i].partition].push(index - batch.length + i)
    const answers = await producer.send({ topic, acks, compression, messages: batch, timeout: 10000 })
    for (const answer of answers ?? []) {
      indexes[answer.partition].forEach((line, i) => acked.push(`${answer.partition}\t${BigInt(answer.baseOffset) + BigInt(i)}\t${line}\n`))
    }
    batch = []
    bytes = 0
  }
  try {
    for (const value of linesOf(job.text('file'))) {
      batch.push({ value, partition: index++ % partitions })
      bytes += value.length
      if (bytes >= BATCH_BYTES) await send()
    }
    await send()
  } finally {
    await producer.disconnect()
  }
  if (log !== '') fs.writeFileSync(log, acked.join(''))
  return index
}

/** Where a topic's partitions end now, as kafkajs's admin client sees them. */
async function endsOf(kafka, topics) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    const ends = new Map()
    for (const topic of topics) {
      for (const { partition, high } of await admin.fetchTopicOffsets(topic)) ends.set(`${topic}-${partition}`, Number(high))
    }
    return ends
  } finally {
    await admin.disconnect()
  }
}

async function consume(job) {
  // kafkajs has no consumer without a group: "assign" joins a group nobody else uses and commits nothing.
  const group = job.text('mode') === 'group'
  const groupId = group ? job.text('group') : `assign-${process.pid}-${Date.now()}`
  const [topics, out] = [job.text('topics').split(','), job.text('out')]
  const until = job.text('until')
  const withOffsets = job.flag('with-offsets')
  const want = until === 'end' ? Infinity : Number(until)
  const kafka = connect(job)
  const ends = until === 'end' ? await endsOf(kafka, topics) : null
  fs.mkdirSync(out, { recursive: true })
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100, allowAutoTopicCreation: false, rebalanceTimeout: 10000, retry: { retries: 3, initialRetryTime: 100 } })
  const [files, after] = [new Map(), new Map()]
  let records = 0
  let timer
  const finished = () => (ends === null ? records >= want : [...ends].every(([where, end]) => (after.get(where)?.offset ?? 0) >= end))
  try {
    await consumer.connect()
    await consumer.subscribe({ topics, fromBeginning: true })
    await new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`timed out after ${records} records`)), job.number('timeout', 60) * 1000)
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
      if (finished()) return resolve()
      consumer
        .run({
          autoCommit: false,
          eachBatchAutoResolve: false,
          eachBatch: async ({ batch, resolveOffset }) => {
            const where = `${batch.topic}-${batch.partition}`
            const chunks = []
            for (const { offset, value } of batch.messages) {
              if (records >= want || (ends !== null && Number(offset) >= ends.get(where))) break
              if (withOffsets) chunks.push(Buffer.from(`${offset}\t`))
              chunks.push(value, Buffer.from('\n'))
              after.set(where, { topic: batch.topic, partition: batch.partition, offset: Number(offset) + 1 })
              resolveOffset(offset)
              records++
            }
            if (chunks.length > 0) {
              if (!files.has(where)) files.set(where, fs.openSync(path.join(out, where), 'w'))
              fs.writeSync(files.get(where), Buffer.concat(chunks))
            }
            if (finished()) resolve()
          },
        })
        .catch(reject)
    })
    if (group) await consumer.commitOffsets([...after.values()].map(at => ({ ...at, offset: String(at.offset) })))
  } finally {
    clearTimeout(timer)
    await consumer.disconnect()
    for (const file of files.values()) fs.closeSync(file)
  }
  return records
}

async function answer(words) {
  try {
    const job = new Job(words)
    switch (job.command) {
      case 'codecs':
        return `ok\tcodecs=${Object.keys(CODECS).join(',')}`
      case 'produce':
        return `ok\trecords=${await produce(job)}`
      case 'consume':
        return `ok\trecords=${await consume(job)}`
      default:
        throw new Error(`no command is called '${job.command}'`)
    }
  } catch (error) {
    return `error\t${`${error.name}: ${error.message}`.replace(/\s+/g, ' ')}`
  }
}

async function main() {
  const words = process.argv.slice(2)
  if (words[0] === 'serve') {
    for await (const line of readline.createInterface({ input: process.stdin })) {
      process.stdout.write(`${await answer(line.split('\t'))}\n`)
    }
    process.exit(0)
  }
  const result = await answer(words)
  process.stdout.write(`${result}\n`, () => process.exit(result.startsWith('ok') ? 0 : 1))
}

main()
