// Records the channels and messages of both sides of a Noise stream, in plain text: one object each.
const b4a = require('b4a')
const c = require('compact-encoding')

const CONTROL = { 1: 'open', 2: 'reject', 3: 'close' }

function start (buffer) { return { buffer, start: 0, end: buffer.byteLength } }

// Splits one message of the stream into protomux frames. `channels` has the sender's numbers.
function frames (buffer, channels) {
  const out = []
  const one = (local, bytes) => {
    const state = start(bytes)
    if (local === 0) return control(state)
    const type = c.uint.decode(state)
    const channel = channels.get(local)
    out.push({ op: 'message', channel: channel ? channel.protocol : null, id: channel ? channel.id : null, type })
  }
  const control = (state) => {
    const op = c.uint.decode(state)
    const local = c.uint.decode(state)
    if (op === 0) return batch(state, local)
    if (op === 1) {
      const protocol = c.string.decode(state)
      const id = c.optionalBuffer.decode(state)
      channels.set(local, { protocol, id: id && b4a.toString(id, 'hex') })
    }
    const channel = op === 2 ? null : channels.get(local)
    out.push({ op: CONTROL[op], channel: channel ? channel.protocol : null, id: channel ? channel.id : null })
  }
  const batch = (state, local) => {
    while (state.start < state.end) {
      const size = c.uint.decode(state)
      if (size === 0) { local = c.uint.decode(state); continue }
      one(local, state.buffer.subarray(state.start, state.start + size))
      state.start += size
    }
  }
  const state = start(buffer)
  const local = c.uint.decode(state)
  one(local, buffer.subarray(state.start))
  return out
}

function tap (stream, log) {
  const numbers = { client: new Map(), server: new Map() }
  const push = (from, buffer) => {
    try { for (const frame of frames(buffer, numbers[from])) log.push({ from, ...frame }) } catch (err) { log.push({ from, op: 'undecodable' }) }
  }
  const write = stream.write
  stream.write = function (buffer) { push('client', b4a.from(buffer)); return write.call(this, buffer) }
  stream.on('data', (buffer) => push('server', b4a.from(buffer)))
  stream.on('close', () => log.push({ op: 'closed' }))
}

module.exports = { tap }
