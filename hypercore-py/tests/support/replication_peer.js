// Official hypercores whose secret streams are bridged, decrypted, to a test in another process.
//
// usage: node replication_peer.js <directory>        (NODE_PATH names the official packages)
//
// stdin: one JSON command a line, {id, cmd, ...}; stdout: {reply: id, ...} or {event, ...} a line; the first is
// {event: 'ready', port}. On the TCP port each connection begins with a line {core, initiator} (or {store}) of the test; the
// answer is a line {initiator, handshakeHash, key}, then both sides send messages as u32le length + bytes.
const net = require('net')
const path = require('path')
const crypto = require('crypto')
const readline = require('readline')
const Hypercore = require('hypercore')
const Corestore = require('corestore')
const NoiseStream = require('@hyperswarm/secret-stream')

console.log = console.error // the packages print to it now and then

const root = process.argv[2]
const cores = new Map()
const stores = new Map()
const streams = new Set()
const print = (message) => process.stdout.write(JSON.stringify(message) + '\n')
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// Block `index` of content `salt` has `size` bytes (or, without, 1 to 23); the test computes the same ones.
function block (salt, index, size) {
  const length = size === undefined ? (index * 7) % 23 + 1 : size
  const seed = crypto.createHash('sha256').update(`${salt}:${index}`).digest()
  const out = Buffer.alloc(length)
  for (let at = 0; at < length; at += 32) seed.copy(out, at, 0, Math.min(32, length - at))
  return out
}

const commands = {
  async open ({ name, seed, key, compat, linger, sparse, inflight }) {
    const options = {}
    if (seed !== undefined) options.keyPair = { ...keyPair(seed) }
    if (compat) options.compat = true
    if (linger !== undefined) options.notDownloadingLinger = linger
    const core = new Hypercore(path.join(root, name), key ? Buffer.from(key, 'hex') : null, options)
    await core.ready()
    core.on('conflict', (length, fork) => print({ event: 'conflict', name, length, fork }))
    core.on('verification-error', (error) => print({ event: 'verification-error', name, error: error.message }))
    cores.set(name, core)
    if (!sparse) core.download({ start: 0, end: -1 })
    return { key: core.key.toString('hex') }
  },
  async append ({ name, salt, count, size }) {
    const core = cores.get(name)
    for (let at = 0; at < count;) {
      const batch = []
      for (; batch.length < 256 && at < count; at++) batch.push(block(salt, core.length + batch.length, size))
      await core.append(batch)
    }
    return { length: core.length }
  },
  async truncate ({ name, length, fork }) {
    await cores.get(name).truncate(length, { fork })
  },
  async clear ({ name, start, end }) {
    await cores.get(name).clear(start, end)
  },
  async get ({ name, index, timeout }) {
    return { block: (await cores.get(name).get(index, { timeout: timeout || 10000 })).toString('hex') }
  },
  async begin ({ name, start, end }) {
    for (let index = start; index < end; index++) cores.get(name).get(index).catch(() => {})
  },
  async seek ({ name, bytes }) {
    const [index, offset] = await cores.get(name).seek(bytes, { timeout: 10000 })
    return { index, offset }
  },
  async update ({ name }) {
    return { updated: await cores.get(name).update({ wait: true }) }
  },
  async active ({ name, active }) {
    cores.get(name).setActive(active)
  },
  async status ({ name }) {
    return status(cores.get(name))
  },
  async wait ({ name, length, fork, contiguous, timeout }) {
    const core = cores.get(name)
    const until = Date.now() + (timeout || 20000)
    const there = () =>
      core.length === length && (fork === undefined || core.fork === fork) &&
      core.contiguousLength === (contiguous === undefined ? length : contiguous)
    while (!there()) {
      if (Date.now() > until) throw new Error('not in time: ' + JSON.stringify(await status(core)))
      await sleep(5)
    }
    return status(core)
  },
  async content ({ name }) {
    const core = cores.get(name)
    const hash = crypto.createHash('sha256')
    for (let i = 0; i < core.length; i++) hash.update(await core.get(i, { wait: false }))
    return { sha256: hash.digest('hex') }
  },
  async store ({ name, seeds, count, salt }) {
    const store = new Corestore(path.join(root, name))
    await store.ready()
    stores.set(name, store)
    const keys = []
    for (const seed of seeds || []) {
      const core = store.get({ keyPair: keyPair(seed) })
      await core.ready()
      const batch = []
      for (let i = 0; i < count; i++) batch.push(block(salt + seed, i))
      if (batch.length) await core.append(batch)
      cores.set(`${name}/${seed}`, core)
      keys.push(core.key.toString('hex'))
    }
    return { keys }
  },
  async fetch ({ name, keys }) {
    const store = stores.get(name)
    for (const key of keys) {
      const core = store.get(Buffer.from(key, 'hex'))
      await core.ready()
      core.download({ start: 0, end: -1 })
      cores.set(`${name}/${key}`, core)
    }
  },
  async close ({ name }) {
    await (cores.get(name) || stores.get(name)).close()
    cores.delete(name)
  },
  async stop () {
    setTimeout(() => process.exit(0), 10)
  }
}

async function status (core) {
  const bits = []
  for (let i = 0; i < Math.min(core.length, 100000); i++) if (core.core.bitfield.get(i)) bits.push(i)
  return {
    length: core.length, fork: core.fork, contiguous: core.contiguousLength, have: bits.length,
    remote: core.remoteContiguousLength, peers: core.peers.length
  }
}

function keyPair (seed) {
  return require('hypercore-crypto').keyPair(Buffer.alloc(32, seed))
}

function bridge (socket) {
  let buffered = []
  let size = 0
  let noise = null
  socket.setNoDelay(true)
  socket.on('error', () => {})
  const take = (n) => {
    if (buffered.length > 1) buffered = [Buffer.concat(buffered)]
    const whole = buffered[0]
    buffered = [whole.subarray(n)]
    size -= n
    return whole.subarray(0, n)
  }
  let wanted = 0
  const pump = () => {
    while (size >= (wanted || 4)) {
      if (!wanted) wanted = take(4).readUInt32LE(0)
      if (size < wanted) return
      const message = take(wanted)
      wanted = 0
      if (message.length) {
        // a stream that is full is left alone until it has drained, so that the test meets back-pressure
        if (!noise.write(Buffer.from(message))) { socket.pause(); noise.once('drain', () => socket.resume()) }
      }
    }
  }
  socket.on('data', (data) => {
    buffered.push(data)
    size += data.length
    if (noise) {
      if (noise.handshakeHash) pump()
      return
    }
    const whole = Buffer.concat(buffered)
    const line = whole.indexOf(10)
    if (line === -1) return
    const hello = JSON.parse(whole.subarray(0, line).toString())
    buffered = [whole.subarray(line + 1)]
    size = buffered[0].length
    noise = new NoiseStream(hello.initiator)
    const core = hello.core ? cores.get(hello.core) : stores.get(hello.store)
    const stream = core.replicate(!hello.initiator, { keepAlive: false })
    const peer = stream.noiseStream || stream
    streams.add(peer)
    noise.on('error', () => {})
    stream.on('error', () => {})
    peer.on('error', (error) => print({ event: 'destroyed', name: hello.core || hello.store, error: error.message }))
    peer.on('close', () => streams.delete(peer))
    noise.rawStream.pipe(stream).pipe(noise.rawStream)
    noise.on('data', (message) => {
      const head = Buffer.alloc(4)
      head.writeUInt32LE(message.length, 0)
      socket.write(head)
      if (!socket.write(message)) { noise.pause(); socket.once('drain', () => noise.resume()) }
    })
    noise.on('close', () => socket.destroy())
    socket.on('close', () => noise.destroy())
    const go = () => {
      socket.write(JSON.stringify({ initiator: hello.initiator, handshakeHash: noise.handshakeHash.toString('hex') }) + '\n')
      pump()
    }
    if (noise.handshakeHash) go()
    else noise.once('handshake', go)
  })
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, cmd, ...args } = JSON.parse(line)
  try {
    print({ reply: id, ...(await commands[cmd](args)) })
  } catch (error) {
    print({ reply: id, error: error.message })
  }
}).on('close', () => process.exit(0))

const server = net.createServer(bridge)
server.listen(0, '127.0.0.1', () => print({ event: 'ready', port: server.address().port }))
