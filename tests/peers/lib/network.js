// A hyperswarm that knows only the given bootstrap nodes, on 127.0.0.1 unless they are elsewhere.
const DHT = require('hyperdht')
const Hyperswarm = require('hyperswarm')
const { emit } = require('./lines')

const LOOPBACK = '127.0.0.1'
const RESCAN_EVERY = 1000 // ms; hyperswarm itself looks again only every ten minutes

function parseBootstrap (list) {
  return (list || []).map((text) => {
    const [host, port] = text.split(':')
    return { host, port: Number(port) }
  })
}

class Network {
  constructor (store, bootstrap, keyPair) {
    this.store = store
    this.topics = new Map()
    const nodes = parseBootstrap(bootstrap)
    const away = nodes.length > 0 && nodes.every(({ host }) => host !== LOOPBACK)
    const dht = new DHT({ bootstrap: nodes, host: away ? '0.0.0.0' : LOOPBACK })
    this.swarm = new Hyperswarm({ dht, keyPair })
    this.swarm.on('connection', (connection, info) => {
      const peer = info.publicKey.toString('hex')
      connection.on('error', (err) => emit('connection-error', { peer, message: err.message }))
      connection.on('close', () => emit('peer', { peer, state: 'close' }))
      store.replicate(connection)
      emit('peer', { peer, state: 'open' })
    })
    // A test that waits in vain asks what the swarm does (json_process.py)
    process.on('SIGUSR2', () => process.stderr.write(JSON.stringify(this.state()) + '\n'))
  }

  // What of hyperswarm decides whether a peer is dialled, and how far the dials are.
  state () {
    const { dht, connections, connecting, peers, _queue: queue, _allConnections: all, _discovery: topics } = this.swarm
    const short = (key) => key.toString('hex').slice(0, 8)
    return {
      firewalled: dht.firewalled,
      address: dht.remoteAddress(),
      connecting,
      queued: queue.length,
      peers: [...peers.values()].map((peer) => ({
        peer: short(peer.publicKey), attempts: peer.attempts, queued: peer.queued, waiting: peer.waiting, banned: peer.banned
      })),
      connections: [...all].map((connection) => ({
        peer: short(connection.remotePublicKey),
        open: connections.has(connection),
        stream: !!connection.rawStream,
        read: connection.rawBytesRead,
        written: connection.rawBytesWritten
      })),
      topics: [...topics.values()].map(({ topic, _refreshes: lookups, _activeQuery: query }) => ({
        topic: short(topic), lookups, active: !!query
      }))
    }
  }

  get publicKey () {
    return this.swarm.keyPair.publicKey.toString('hex')
  }

  // Resolves when the announce is out; a client keeps looking while it is connected to nobody.
  async join (topic, { server = true, client = true } = {}) {
    const name = topic.toString('hex')
    if (this.topics.has(name)) return
    const discovery = this.swarm.join(topic, { server, client })
    const timer = client
      ? setInterval(() => { if (this.swarm.connections.size === 0) discovery.refresh().catch(() => {}) }, RESCAN_EVERY)
      : null
    this.topics.set(name, { discovery, timer })
    if (server) await discovery.flushed()
  }

  async close () {
    for (const { timer } of this.topics.values()) clearInterval(timer)
    await this.swarm.destroy()
  }
}

module.exports = { Network, parseBootstrap }
