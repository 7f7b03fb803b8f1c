// An app that uses the official blind-peering client. It is driven by commands on stdin (see lib/lines.js):
//   core {name, key, count, size}   append {name, blocks, count, size, index}   truncate {name, length}
//   drive {name, files: {path: text}}   autobase {name, key, values}   base {name}
//   add {name, announce, priority, referrer, target, pick}   wait {name, timeout}   status   suspend   resume   forget {name}
//   read {key, topic, timeout}   readDrive {key, paths}   readBase {key, count}: as a peer that knows nothing but keys
//   rpc {method, params, admin, keySeed}   raw {cores | type, payload, handshake, wait, keySeed}   dial {keySeed}
//   watch {key, keySeed}   hints   frames   connections
// --server KEY (several), --seed HEX, --gcWait MS, --passive yes, --trace yes, --version 1 or 2, --bootstrap HOST:PORT
const b4a = require('b4a')
const c = require('compact-encoding')
const Corestore = require('corestore')
const DHT = require('hyperdht')
const Hyperdrive = require('hyperdrive')
const Hyperswarm = require('hyperswarm')
const Autobase = require('autobase')
const Protomux = require('protomux')
const ProtomuxRPC = require('protomux-rpc')
const Wakeup = require('protomux-wakeup')
const crypto = require('hypercore-crypto')
const id = require('hypercore-id-encoding')
const { ADMIN_CHANNEL_ID, AddCoreEncoding, AdminQueryTopKEncoding, DeleteCoreEncoding } = require('blind-peer-encodings')
const { emit, serve, fail, options } = require('./lib/lines')
const { parseBootstrap } = require('./lib/network')
const { tap } = require('./lib/tap')
const fs = require('fs')
const os = require('os')
const path = require('path')

const given = options()
const one = (name) => given[name] ? given[name][0] : null
const bootstrap = parseBootstrap(given.bootstrap)
const servers = (given.server || []).map((key) => id.decode(key))
const old = one('version') === '1'
const BlindPeering = require(old ? 'blind-peering-1' : 'blind-peering')

const hex = (buffer) => buffer ? b4a.toString(buffer, 'hex') : null
const unhex = (text) => b4a.from(text, 'hex')
const fill = (n, size = 32) => b4a.alloc(size, n)
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const temporary = () => fs.mkdtempSync(path.join(os.tmpdir(), 'blindclient-'))
const keyPairOf = (seed) => crypto.keyPair(unhex(seed))

function plain (value) {
  if (value === null || value === undefined) return null
  if (b4a.isBuffer(value)) return hex(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]))
  return value
}

// Nodes that count as reachable: two firewalled ones of a small DHT often cannot agree how to punch.
const node = (keyPair) => new DHT({ bootstrap, host: '127.0.0.1', keyPair, firewalled: false, ephemeral: true })
const keyPair = keyPairOf(one('seed') || 'c1'.repeat(32))
const dht = node(keyPair)
const directory = one('storage') || temporary()
const store = new Corestore(directory, { active: !one('passive') })
const wakeup = new Wakeup()
const peering = new BlindPeering(old ? { dht, keyPair, connections: new Set() } : dht, store, {
  keys: servers, wakeup, pick: Number(one('pick') || 2), batchIdleWait: 400, batchMaxWait: 1500,
  gcWait: Number(one('gcWait') || 2000)
})
const things = new Map()
const logs = []
const sockets = []
const dialledAt = []
let watcher = null

const connect = dht.connect.bind(dht)
dht.connect = (key, opts) => {
  const socket = connect(key, opts)
  sockets.push(socket)
  dialledAt.push(Date.now())
  if (one('trace')) {
    const log = []
    logs.push(log)
    tap(socket, log)
  }
  return socket
}

function thing (name) {
  if (!things.has(name)) throw new Error(`nothing is called ${name}`)
  return things.get(name)
}

const view = (core) => ({
  key: hex(core.key),
  length: core.length,
  fork: core.fork,
  contiguous: core.contiguousLength,
  peers: core.peers.map((peer) => ({
    key: hex(peer.remotePublicKey), length: peer.remoteLength, contiguous: peer.remoteContiguousLength
  }))
})

async function append ({ name, blocks = [], count = 0, size = 32, index = 0 }) {
  const it = thing(name)
  if (it.base) {
    for (const value of blocks) await it.base.append({ value })
    return { length: it.base.local.length }
  }
  const core = it.cores[index]
  const list = blocks.map(unhex)
  for (let i = 0; i < count; i++) list.push(fill((core.length + i) & 255, size))
  if (list.length) await core.append(list)
  return { length: core.length }
}

async function makeCore ({ name, key = null, blocks = [], count = 0, size = 32 }) {
  const core = key ? store.get({ key: id.decode(key) }) : store.get({ name })
  await core.ready()
  things.set(name, { cores: [core] })
  if (core.writable) await append({ name, blocks, count, size })
  return view(core)
}

async function makeDrive ({ name, files = {} }) {
  const drive = new Hyperdrive(store.namespace(name))
  await drive.ready()
  for (const [where, text] of Object.entries(files)) await drive.put(where, b4a.from(text))
  const blobs = await drive.getBlobs()
  things.set(name, { drive, cores: [drive.core, blobs.core] })
  return { key: hex(drive.key), cores: [drive.core, blobs.core].map(view) }
}

const openBase = (from, key, waker) => new Autobase(from, key ? id.decode(key) : null, {
  open: (inner) => inner.get('view', { valueEncoding: 'json' }),
  apply: async (nodes, list, host) => {
    for (const { value } of nodes) {
      if (value.add) await host.addWriter(unhex(value.add), { indexer: true })
      else await list.append(value)
    }
  },
  valueEncoding: 'json',
  ackInterval: 10,
  wakeup: waker
})

async function makeBase ({ name, key = null, values = [] }) {
  const base = openBase(store.namespace(name), key, wakeup)
  await base.ready()
  things.set(name, { base, cores: [] })
  for (const value of values) await base.append({ value })
  return describeBase({ name })
}

async function describeBase ({ name }) {
  const { base } = thing(name)
  return {
    key: hex(base.key),
    local: hex(base.local.key),
    length: base.view.length,
    wakeup: hex(base.wakeupCapability.key),
    writers: [...base.activeWriters].map((w) => ({ key: hex(w.core.key), length: w.core.length })),
    views: [...base.views()].map((v) => ({ key: hex(v.key), length: v.signedLength }))
  }
}

async function add ({ name, announce, priority, referrer, target, pick }) {
  const it = thing(name)
  const opts = { announce, priority, referrer: referrer && id.decode(referrer), target: target && id.decode(target), pick }
  for (const key of Object.keys(opts)) if (opts[key] === undefined) delete opts[key]
  if (it.base) await (peering.addAutobase || peering.addAutobaseBackground).call(peering, it.base, opts)
  else for (const core of it.cores) await (old ? peering.addCore(core, core.key, opts) : peering.addCore(core, opts))
  return status()
}

async function status () {
  const all = peering.blindPeers || peering.blindPeersByKey || new Map()
  return {
    servers: [...all.values()].map((peer) => ({
      key: hex(peer.remotePublicKey), connected: peer.connected, connects: peer.connects
    }))
  }
}

// Resolves when a server has acknowledged every block of every core of `name`.
async function wait ({ name, server = null, timeout = 30000 }) {
  const it = thing(name)
  const cores = it.base ? [...it.base.activeWriters].map((w) => w.core) : it.cores
  const keys = server ? [server] : servers.map(hex)
  const has = (core) => core.peers.some((p) => keys.includes(hex(p.remotePublicKey)) && p.remoteContiguousLength >= core.length)
  for (const end = Date.now() + timeout; ;) {
    if (cores.every((core) => core.length === 0 || has(core))) return { cores: cores.map(view) }
    if (Date.now() > end) throw new Error('timeout: ' + JSON.stringify(cores.map(view)))
    await sleep(20)
  }
}

// A peer with an empty store, connected to a server by its key, or to whom it finds on a topic.
async function foreign (work, { topic = null, server = 0 } = {}) {
  const kp = crypto.keyPair()
  const swarm = new Hyperswarm({ dht: node(kp), keyPair: kp })
  const empty = new Corestore(temporary())
  const waker = new Wakeup()
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    empty.replicate(connection)
    waker.addStream(connection)
  })
  if (topic) swarm.join(topic, { server: false, client: true })
  else swarm.joinPeer(servers[server])
  try {
    return await work(empty, waker)
  } finally {
    await swarm.destroy()
    await empty.close()
  }
}

const read = ({ key, topic = false, server = 0, timeout = 10000 }) => foreign(async (empty) => {
  const core = empty.get({ key: id.decode(key) })
  await core.ready()
  const end = Date.now() + timeout
  while (core.length === 0 && Date.now() < end) { await core.update({ wait: false }); await sleep(50) }
  const range = core.download({ start: 0, end: core.length })
  await Promise.race([range.done(), sleep(Math.max(0, end - Date.now()))])
  let have = 0
  for (let i = 0; i < core.length; i++) if (await core.has(i)) have++
  const complete = core.length > 0 && have === core.length
  return { length: core.length, fork: core.fork, have, complete, treeHash: complete ? hex(await core.treeHash()) : null }
}, { topic: topic && crypto.discoveryKey(id.decode(key)), server })

const readDrive = ({ key, paths }) => foreign(async (empty) => {
  const drive = new Hyperdrive(empty, id.decode(key))
  await drive.ready()
  for (const end = Date.now() + 10000; drive.version <= 1 && Date.now() < end;) { await drive.update({ wait: false }); await sleep(50) }
  const files = {}
  for (const where of paths) {
    const content = await drive.get(where, { timeout: 10000 })
    files[where] = content && b4a.toString(content)
  }
  return { files }
})

const readBase = ({ key, count, timeout = 20000 }) => foreign(async (empty, waker) => {
  const base = openBase(empty, key, waker)
  await base.ready()
  const end = Date.now() + timeout
  while (base.view.length < count && Date.now() < end) { await base.update(); await sleep(50) }
  const values = []
  for (let i = 0; i < base.view.length; i++) values.push(await base.view.get(i))
  await base.close()
  return { values }
})

// protomux-rpc, as operators and clients before 2.0 speak it; under another key than the client, whose connection would end.
async function rpc ({ method, params = {}, admin = false, timeout = 20000, keySeed = 'd1'.repeat(32) }) {
  const encodings = { 'add-core': AddCoreEncoding, 'delete-core': DeleteCoreEncoding, 'query-top-k': AdminQueryTopKEncoding }
  const socket = connect(servers[0], { keyPair: keyPairOf(keySeed) })
  socket.on('error', () => {})
  store.replicate(socket)
  const channel = new ProtomuxRPC(socket, { id: admin ? ADMIN_CHANNEL_ID : servers[0], valueEncoding: c.none })
  try {
    await channel.fullyOpened()
    const value = Object.fromEntries(Object.entries(params).map(([k, v]) => [k, ['key', 'referrer'].includes(k) && v ? id.decode(v) : v]))
    const result = await channel.request(method, method === 'query-top-k' ? null : value, { ...encodings[method], timeout })
    return { value: plain(result) }
  } catch (err) {
    return { failed: { code: err.code || null, message: err.message, cause: err.cause ? err.cause.message : null } }
  } finally {
    channel.destroy()
    socket.destroy()
  }
}

// Any payload of any message type on a fresh channel; reports whether the server kept the connection.
async function raw ({ cores = null, type = 0, payload = null, handshake = null, waitMs = 500, keySeed = 'd2'.repeat(32) }) {
  const socket = connect(servers[0], { keyPair: keyPairOf(keySeed) })
  let closed = false
  socket.on('error', () => {})
  socket.on('close', () => { closed = true })
  store.replicate(socket)
  const answers = []
  const messages = Array.from({ length: 16 }, (_, i) => ({ encoding: c.raw, onmessage: (m) => answers.push({ type: i, payload: hex(m) }) }))
  const channel = Protomux.from(socket).createChannel({ protocol: 'blind-peer', handshake: handshake === null ? null : c.raw, messages })
  channel.open(handshake === null ? undefined : unhex(handshake))
  const opened = await Promise.race([channel.fullyOpened(), sleep(5000).then(() => false)])
  for (const one of payload === null ? [] : [].concat(payload)) channel.messages[type].send(unhex(one))
  await sleep(waitMs)
  const result = { opened, closed, answers }
  socket.destroy()
  return result
}

async function dial ({ keySeed, waitMs = 300 }) {
  const socket = connect(servers[0], { keyPair: keyPairOf(keySeed) })
  socket.on('error', () => {})
  let closed = false
  socket.on('close', () => { closed = true })
  const opened = await Promise.race([socket.opened, sleep(8000).then(() => false)])
  Protomux.from(socket).createChannel({ protocol: 'blind-peer' }).open()
  await sleep(waitMs)
  return { opened, closed }
}

async function watch ({ key, keySeed = 'd3'.repeat(32) }) {
  const socket = connect(servers[0], { keyPair: keyPairOf(keySeed) })
  socket.on('error', () => {})
  const own = new Wakeup()
  const hints = []
  own.session(id.decode(key), { onannounce: (list) => hints.push(...plain(list)) })
  own.addStream(socket)
  await socket.opened
  watcher = { hints, close: () => { own.destroy(); socket.destroy() } }
  return {}
}

async function forget ({ name }) {
  const it = thing(name)
  if (it.base) await it.base.close()
  else if (it.drive) await it.drive.close()
  else await it.cores[0].close()
  things.delete(name)
  return {}
}

serve({
  core: makeCore, append, drive: makeDrive, autobase: makeBase, base: describeBase, add, wait, status, read, readDrive, readBase, rpc, raw, dial, watch, forget,
  truncate: async ({ name, length }) => { await thing(name).cores[0].truncate(length); return view(thing(name).cores[0]) },
  look: async ({ name }) => ({ cores: thing(name).cores.map(view) }),
  suspend: async () => { await peering.suspend(); return status() },
  resume: async () => { await peering.resume(); return status() },
  hints: async () => ({ hints: watcher.hints.splice(0) }),
  frames: async () => ({ connections: logs }),
  connections: async () => ({ dialled: sockets.length, dialledAt, open: sockets.filter((socket) => !socket.destroyed && socket.connected).length })
}, async () => {
  if (watcher) watcher.close()
  await peering.close()
  for (const { base } of things.values()) if (base) await base.close()
  wakeup.destroy()
  await dht.destroy()
  await store.close()
})

Promise.resolve(dht.ready && dht.ready()).then(() => emit('ready', { public_key: hex(keyPair.publicKey) }), fail)
