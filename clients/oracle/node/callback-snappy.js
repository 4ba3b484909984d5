// Clients of old want a snappy that calls back; the one that installs without a compiler promises. Load this before them.
'use strict'

const snappy = require('snappy')

const calling = promising => (buffer, callback) => {
  promising(buffer, { asBuffer: true }).then(done => callback(null, done), callback)
}
snappy.compress = calling(snappy.compress)
snappy.uncompress = calling(snappy.uncompress)
