// What the oracle's Node drivers share: the command line, steps with deadlines, observations as JSON lines on standard
// output, and the records that every driver produces. Clients know nothing of each other; each has a program of its own.
'use strict'

const crypto = require('node:crypto')
const { setTimeout: sleep } = require('node:timers/promises')

// The timestamp that those of records count from. Topics whose records have it keep them forever.
const EPOCH = 1_700_000_000_000
// Most steps take milliseconds.
const STEP_MS_MAX = 15_000

class Story {
  constructor(words) {
    const options = new Map()
    for (let i = 0; i < words.length; i += 2) options.set(words[i], words[i + 1])
    this.bootstrap = options.get('--bootstrap')
    this.prefix = options.get('--prefix')
    if (options.size !== 2 || this.bootstrap === undefined || this.prefix === undefined) {
      console.error('usage: DRIVER --bootstrap HOST:PORT --prefix P')
      process.exit(2)
    }
    // What a client throws beside every promise shows as a step that does not end, and here.
    process.on('uncaughtException', error => console.error('uncaught', error))
    process.on('unhandledRejection', error => console.error('unhandled', error))
  }

  /** A topic or group of this run. */
  name(rest) {
    return `${this.prefix}-${rest}`
  }

  /** Runs one step and prints what it has seen, the error that nobody expected, or that its time was up. */
  async step(name, run) {
    const began = Date.now()
    const limit = new AbortController()
    let seen
    try {
      const late = sleep(STEP_MS_MAX, { unexpected: 'timeout' }, { signal: limit.signal })
      late.catch(() => {})
      seen = { ...(await Promise.race([run(), late])) }
    } catch (error) {
      seen = { unexpected: `${error?.name}: ${error?.message}` }
      console.error(error)
    }
    limit.abort()
    console.log(JSON.stringify(sorted({ ...seen, step: name })))
    console.error(`${name}: ${Date.now() - began} ms`)
  }

  /** Whatever clients left open does not keep the program. */
  end() {
    process.stdout.write('', () => process.exit(0))
  }
}

function sorted(value) {
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map(sorted)
  if (value === null || typeof value !== 'object') return value
  const entries = value instanceof Map ? [...value].map(([key, of]) => [String(key), of]) : Object.entries(value)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, of]) => [key, sorted(of)]))
}

/** Asks until the answer is yes: Kafka itself spreads metadata and ends groups asynchronously. */
async function settle(ask) {
  for (const end = Date.now() + STEP_MS_MAX; Date.now() < end; await sleep(25)) if (await ask()) return
  throw new Error('it did not settle')
}

/** Calls back like Node's own functions once did. */
const called = call => new Promise((resolve, reject) => call((error, result) => (error ? reject(error) : resolve(result))))

/** Compresses well. */
const text = length => 'a broker whose disk is an object store; '.repeat(length / 40 + 1).slice(0, length)

/** Does not compress. */
function noise(length) {
  const blocks = []
  let block = crypto.createHash('sha256').digest()
  for (let made = 0; made < length; made += block.length) {
    blocks.push(block)
    block = crypto.createHash('sha256').update(block).digest()
  }
  return Buffer.concat(blocks).subarray(0, length)
}

/** Tells bytes apart in an observation: null, short text, other short bytes in hex, long ones by length and digest. */
function show(bytes) {
  if (bytes === null || bytes === undefined) return null
  const buffer = Buffer.from(bytes)
  if (buffer.length > 64) return `${buffer.length} bytes, sha256 ${crypto.createHash('sha256').update(buffer).digest('hex').slice(0, 16)}`
  const string = buffer.toString('utf8')
  return Buffer.from(string).equals(buffer) && !string.includes('\0') ? string : `0x${buffer.toString('hex')}`
}

/** The kinds of keys, values and headers that a broker must carry unchanged. */
function records() {
  const kinds = [
    { key: null, value: Buffer.from('no key') },
    { key: Buffer.alloc(0), value: Buffer.alloc(0) },
    { key: Buffer.from('no value'), value: null },
    { key: Buffer.from([0, 1, 0xfe, 0xff]), value: Buffer.from([0xff, 0]), headers: [['first', '1'], ['empty', ''], ['bytes', Buffer.from([0xff])]] },
    { key: Buffer.from('large'), value: Buffer.from(text(300_000)) },
    { key: Buffer.from('schlüssel'), value: Buffer.from('wert €'), headers: [['kopf ü', 'ß']] },
  ]
  return kinds.map((kind, i) => ({ headers: [], ...kind, timestamp: EPOCH + i * 1000 }))
}

module.exports = { Story, EPOCH, settle, sleep, called, text, noise, show, records }
