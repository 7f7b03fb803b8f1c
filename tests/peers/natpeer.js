// Official DHT nodes on one host of a lab of networks, each under a name. They echo what is sent to them.
//   --bootstrap HOST:PORT …   --open yes: there is no NAT
const DHT = require('hyperdht')
const BlindRelay = require('blind-relay')
const { emit, serve, fail, options } = require('./lib/lines')
const { parseBootstrap } = require('./lib/network')

const nodes = new Map()
const PORT = 49737
let bootstrap = []
let strangersReachUs = false

async function open (name) {
  if (!nodes.has(name)) nodes.set(name, new DHT({ bootstrap }))
  const node = nodes.get(name)
  await node.fullyBootstrapped()
  // Whether strangers reach it: it asks them while it walks the DHT, but the walk through a few nodes next door is over
  // before they have answered. Where they do not, asking again takes it four seconds.
  if (strangersReachUs) await node._updateNetworkState(true)
  return node
}

function echo (socket) {
  socket.on('error', () => {})
  socket.on('data', (data) => socket.write(data))
  socket.on('end', () => socket.end())
}

const commands = {
  // Nodes that others rely on, each on an address of its own; the first is everybody's bootstrap node.
  async found ({ hosts }) {
    for (const host of hosts) {
      const first = nodes.size === 0
      const node = first
        ? DHT.bootstrapper(PORT, host, { host })
        : new DHT({ ephemeral: false, firewalled: false, bootstrap, host, port: PORT })
      nodes.set(host, node)
      await node.fullyBootstrapped()
      if (first) bootstrap = [{ host, port: PORT }]
    }
    return { bootstrap: bootstrap.map(({ host, port }) => `${host}:${port}`) }
  },

  // With `relay`, clients are told to meet it at that blind relay.
  async serve ({ name, relay = null }) {
    const node = await open(name)
    const server = node.createServer({ relayThrough: relay && Buffer.from(relay, 'hex') }, echo)
    await server.listen(node.defaultKeyPair)
    return { key: node.defaultKeyPair.publicKey.toString('hex') }
  },

  // A blind relay: it passes on what those send to each other who name the same token.
  async relay ({ name }) {
    const node = await open(name)
    const relay = new BlindRelay.Server({ createStream: (opts) => node.createRawStream({ ...opts, framed: true }) })
    const server = node.createServer((socket) => {
      socket.on('error', () => {})
      relay.accept(socket, { id: socket.remotePublicKey }).on('error', () => {})
    })
    await server.listen(node.defaultKeyPair)
    return { key: node.defaultKeyPair.publicKey.toString('hex') }
  },

  async open ({ name }) {
    const node = await open(name)
    const { host, port, firewalled } = node
    return { host, port, firewalled }
  },

  // Resolves with how it went: {ms, host, port} of a connection over which `size` bytes went and came back, or
  // {failed}. `relay` is a blind relay to meet at.
  async connect ({ name, key, relay = null, size = 50000, seconds = 60 }) {
    const node = await open(name)
    const start = Date.now()
    const socket = node.connect(Buffer.from(key, 'hex'), { relayThrough: relay && Buffer.from(relay, 'hex') })
    const chunk = Buffer.alloc(size, 7)
    let ms = 0
    let received = 0
    return new Promise((resolve) => {
      const give = (result) => {
        clearTimeout(timer)
        socket.destroy()
        resolve(result)
      }
      const timer = setTimeout(() => give({ failed: `nothing in ${seconds} s` }), seconds * 1000)
      socket.on('error', (err) => give({ failed: err.code || err.message }))
      socket.on('open', () => {
        ms = Date.now() - start
        socket.write(chunk)
      })
      socket.on('data', (data) => {
        received += data.length
        if (received < size) return
        give({ ms, host: socket.rawStream.remoteHost, port: socket.rawStream.remotePort })
      })
    })
  }
}

async function close () {
  for (const node of nodes.values()) await node.destroy({ force: true })
}

const given = options()
bootstrap = parseBootstrap(given.bootstrap)
strangersReachUs = given.open !== undefined
serve(commands, close)
emit('ready')
process.on('unhandledRejection', fail)
