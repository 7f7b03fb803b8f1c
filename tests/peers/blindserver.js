// The official blind-peer as a counterpart of ours. It is driven by commands on stdin (see lib/lines.js):
//   record {key}   digest
// --storage DIR, --seed HEX of a new storage, --trust KEY (several), --bootstrap HOST:PORT
// Its events `add-new-core` and `core-downloaded` are printed.
const b4a = require('b4a')
const BlindPeer = require('blind-peer')
const BlindPeerDB = require('blind-peer/lib/db.js')
const DHT = require('hyperdht')
const Hyperswarm = require('hyperswarm')
const RocksDB = require('rocksdb-native')
const { emit, serve, fail, options } = require('./lib/lines')
const { parseBootstrap } = require('./lib/network')

const given = options()
const hex = (buffer) => buffer ? b4a.toString(buffer, 'hex') : null
const unhex = (text) => b4a.from(text, 'hex')

// The key pair of a storage, which is made of that seed if it is new.
async function keyPairOf (storage, seed) {
  const rocks = new RocksDB(storage)
  const db = new BlindPeerDB(rocks.session(), { swarming: seed, encryption: null })
  await db.ready()
  const keyPair = db.swarmingKeyPair
  await db.close()
  await rocks.close()
  return keyPair
}

async function main () {
  const keyPair = await keyPairOf(given.storage[0], given.seed ? unhex(given.seed[0]) : null)
  // A node that counts as reachable: two firewalled ones of a small DHT often cannot agree how to punch.
  const dht = new DHT({ bootstrap: parseBootstrap(given.bootstrap), host: '127.0.0.1', keyPair, firewalled: false, ephemeral: true })
  const swarm = new Hyperswarm({ dht, keyPair, maxPeers: 4096 })
  const peer = new BlindPeer(given.storage[0], { swarm, trustedPubKeys: given.trust || [] })
  peer.on('add-new-core', (record) => emit('add-new-core', { key: hex(record.key) }))
  peer.on('core-downloaded', (core) => emit('core-downloaded', { key: hex(core.key), length: core.length }))
  await peer.listen()
  await swarm.flush()
  serve({
    record: async ({ key }) => {
      const record = await peer.db.getCoreRecord(unhex(key))
      return { record: record && { ...record, key: hex(record.key), referrer: hex(record.referrer) } }
    },
    digest: async () => ({ ...peer.digest, ...peer.stats, memory: process.memoryUsage().rss, cpu: process.cpuUsage() })
  }, async () => {
    await peer.close()
    await swarm.destroy()
  })
  emit('ready', { public_key: hex(keyPair.publicKey) })
}

main().catch(fail)
