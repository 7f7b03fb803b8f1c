// Many apps in one process: each dials a blind peer under a key of its own and names its cores, which are those of one store.
//   run: makes the cores, dials, and ends when the blind peer has acknowledged all blocks; {seconds} since the first dial
//   again: closes all connections, dials again, names the unchanged cores; {seconds} until all channels are open
// --server KEY, --clients N, --cores N of each, --blocks N of each, --bootstrap HOST:PORT
const BlindPeerMuxer = require('blind-peer-muxer')
const Corestore = require('corestore')
const DHT = require('hyperdht')
const b4a = require('b4a')
const crypto = require('hypercore-crypto')
const id = require('hypercore-id-encoding')
const { emit, serve, fail, options } = require('./lib/lines')
const { parseBootstrap } = require('./lib/network')

const DIALS = 32 // at a time
const TRIES = 5 // of each dial: on a busy machine a hole is not always punched in time

const given = options()
const number = (name, fallback) => Number(given[name] ? given[name][0] : fallback)
const server = id.decode(given.server[0])
const clients = number('clients', 10)
const dht = new DHT({ bootstrap: parseBootstrap(given.bootstrap), host: '127.0.0.1', firewalled: false, ephemeral: true })
const store = new Corestore(given.storage[0], { active: false })
const keyPairs = Array.from({ length: clients }, () => crypto.keyPair())
const cores = [] // of each client
const sockets = []

async function makeCores () {
  for (let client = 0; client < clients; client++) {
    const own = []
    for (let i = 0; i < number('cores', 10); i++) {
      const core = store.get({ name: `${client}/${i}` })
      await core.append(Array.from({ length: number('blocks', 1) }, () => b4a.alloc(64, client)))
      own.push(core)
    }
    cores.push(own)
  }
}

function dial (client) {
  return new Promise((resolve, reject) => {
    const socket = dht.connect(server, { keyPair: keyPairs[client] })
    socket.on('error', reject)
    sockets.push(socket)
    store.replicate(socket)
    const channel = new BlindPeerMuxer(socket, { onopen: resolve })
    channel.addCores({ cores: cores[client].map((core) => ({ key: core.key, length: core.length })) })
  })
}

async function reach (client) {
  for (let left = TRIES; ; left--) {
    try {
      return await dial(client)
    } catch (err) {
      if (left === 1) throw err
    }
  }
}

async function dialAll () {
  let next = 0
  const work = async () => { while (next < clients) await reach(next++) }
  await Promise.all(Array.from({ length: DIALS }, work))
}

const acknowledged = (core) => core.peers.some((peer) => b4a.equals(peer.remotePublicKey, server) && peer.remoteContiguousLength >= core.length)

serve({
  run: async () => {
    await makeCores()
    const start = Date.now()
    await dialAll()
    for (let left = cores.flat(); left.length;) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      left = left.filter((core) => !acknowledged(core))
      if (Date.now() - start > 1000 * number('timeout', 300)) throw new Error(`${left.length} cores are not acknowledged`)
    }
    return { seconds: (Date.now() - start) / 1000 }
  },
  again: async () => {
    for (const socket of sockets.splice(0)) socket.on('error', () => {}).destroy()
    const start = Date.now()
    await dialAll()
    return { seconds: (Date.now() - start) / 1000 }
  }
}, async () => {
  await dht.destroy()
  await store.close()
})

Promise.resolve(dht.ready && dht.ready()).then(() => emit('ready'), fail)
