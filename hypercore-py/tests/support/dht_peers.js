// Official DHT nodes and swarms, driven by JSON lines on stdin: {id, cmd, ...} is answered by {id, ...}.
// Events are lines without an id. Started with the number of nodes of the testnet to make, or with host:port of one.
const createTestnet = require('hyperdht/testnet')
const DHT = require('hyperdht')
const Hyperswarm = require('hyperswarm')

const objects = new Map()
let bootstrap = null
let testnet = null

const print = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const key = (hex) => Buffer.from(hex, 'hex')
const hex = (buffer) => buffer.toString('hex')

function echo (socket) {
  socket.on('error', () => {})
  socket.on('data', (data) => socket.write(data))
  socket.on('end', () => socket.end())
}

const commands = {
  async node ({ name, seed }) {
    const node = new DHT({ bootstrap, host: '127.0.0.1', quickFirewall: false, keyPair: DHT.keyPair(key(seed)) })
    objects.set(name, node)
    await node.fullyBootstrapped()
    return { publicKey: hex(node.defaultKeyPair.publicKey), ephemeral: node.ephemeral }
  },
  async listen ({ name, refuse }) {
    const node = objects.get(name)
    const server = node.createServer({ firewall: (pk) => hex(pk) === refuse })
    server.on('connection', (socket) => {
      print({ event: 'connection', name, publicKey: hex(socket.remotePublicKey) })
      socket.on('close', () => print({ event: 'close', name, publicKey: hex(socket.remotePublicKey) }))
      echo(socket)
    })
    await server.listen(node.defaultKeyPair)
    objects.set(name + '.server', server)
    return { publicKey: hex(server.publicKey), relays: server.relayAddresses }
  },
  async unlisten ({ name }) {
    await objects.get(name + '.server').close()
    return {}
  },
  connect ({ name, publicKey, opts = {}, size = 0 }) {
    const socket = objects.get(name).connect(key(publicKey), opts)
    const start = Date.now()
    let received = 0
    return new Promise((resolve) => {
      socket.on('error', (error) => resolve({ error: error.code || error.message }))
      socket.on('open', () => {
        const chunk = Buffer.alloc(Math.min(size, 60000), 7)
        for (let sent = 0; sent < size; sent += chunk.length) socket.write(chunk.subarray(0, Math.min(chunk.length, size - sent)))
        if (!size) socket.end()
      })
      socket.on('data', (data) => { received += data.length; if (received === size) socket.end() })
      socket.on('close', () => socket.rawStream && resolve({ received, ms: Date.now() - start, host: socket.rawStream.remoteHost, port: socket.rawStream.remotePort, remoteKey: hex(socket.remotePublicKey) }))
    })
  },
  async lookup ({ name, topic }) {
    const found = new Map()
    for await (const { peers } of objects.get(name).lookup(key(topic))) {
      for (const peer of peers) found.set(hex(peer.publicKey), peer.relayAddresses.length)
    }
    return { peers: Object.fromEntries(found) }
  },
  async findPeer ({ name, publicKey }) {
    let nodes = 0
    for await (const found of objects.get(name).findPeer(key(publicKey))) if (found.peer) nodes++
    return { nodes }
  },
  async announce ({ name, topic }) {
    const node = objects.get(name)
    await node.announce(key(topic), node.defaultKeyPair, []).finished()
    return {}
  },
  async mutablePut ({ name, value, seq }) {
    const node = objects.get(name)
    await node.mutablePut(node.defaultKeyPair, Buffer.from(value), { seq })
    return { publicKey: hex(node.defaultKeyPair.publicKey) }
  },
  async mutableGet ({ name, publicKey }) {
    const found = await objects.get(name).mutableGet(key(publicKey))
    return { value: found && found.value.toString(), seq: found && found.seq }
  },
  async immutablePut ({ name, value }) {
    const { hash } = await objects.get(name).immutablePut(Buffer.from(value))
    return { hash: hex(hash) }
  },
  async immutableGet ({ name, hash }) {
    const found = await objects.get(name).immutableGet(key(hash))
    return { value: found && found.value.toString() }
  },
  async swarm ({ name, seed }) {
    const swarm = new Hyperswarm({ bootstrap, keyPair: DHT.keyPair(key(seed)), port: 0 })
    objects.set(name, swarm)
    swarm.on('connection', (socket, info) => {
      const publicKey = hex(socket.remotePublicKey)
      print({ event: 'connection', name, publicKey, client: info.client })
      socket.on('close', () => print({ event: 'close', name, publicKey }))
      echo(socket)
      socket.write('hello from ' + name)
    })
    return { publicKey: hex(swarm.keyPair.publicKey) }
  },
  async join ({ name, topic, server = true, client = true }) {
    const swarm = objects.get(name)
    await swarm.join(key(topic), { server, client }).flushed()
    return {}
  },
  async flush ({ name }) {
    await objects.get(name).flush()
    return {}
  },
  async leave ({ name, topic }) {
    await objects.get(name).leave(key(topic))
    return {}
  },
  connections ({ name }) {
    return { keys: [...objects.get(name).connections].map((socket) => hex(socket.remotePublicKey)) }
  },
  async destroy ({ name, force }) {
    await objects.get(name).destroy({ force })
    objects.delete(name)
    return {}
  }
}

async function main () {
  const [where] = process.argv.slice(2)
  if (where.includes(':')) {
    const [host, port] = where.split(':')
    bootstrap = [{ host, port: Number(port) }]
  } else {
    testnet = await createTestnet(Number(where))
    bootstrap = testnet.bootstrap
  }
  print({ event: 'ready', bootstrap: bootstrap.map(({ host, port }) => `${host}:${port}`) })
  const lines = require('readline').createInterface({ input: process.stdin })
  lines.on('line', async (line) => {
    const { id, cmd, ...options } = JSON.parse(line)
    try {
      print({ id, ...(await commands[cmd](options)) })
    } catch (error) {
      print({ id, error: error.code || error.stack })
    }
  })
  lines.on('close', () => process.exit(0))
}

main()
