// Hyperswarm peers that announce and meet, without any content.  --bootstrap HOST:PORT…
//   announce {topic, count}   peers that wait to be found under a topic; {keys}
//   meet {topic, key}         a new peer looks under the topic; resolves with {ms} when it is connected to `key`
// A killed process leaves its peers announced: nobody is there who would take them back.
const DHT = require('hyperdht')
const Hyperswarm = require('hyperswarm')
const { emit, serve, fail, options } = require('./lib/lines')
const { parseBootstrap } = require('./lib/network')

const bootstrap = parseBootstrap(options().bootstrap)
const swarms = []

function make () {
  const swarm = new Hyperswarm({ dht: new DHT({ bootstrap, host: '127.0.0.1' }) })
  swarm.on('connection', (connection) => connection.on('error', () => {}))
  swarms.push(swarm)
  return swarm
}

const commands = {
  async announce ({ topic, count }) {
    const made = Array.from({ length: count }, make)
    await Promise.all(made.map((s) => s.join(Buffer.from(topic, 'hex'), { server: true, client: false }).flushed()))
    return { keys: made.map((swarm) => swarm.keyPair.publicKey.toString('hex')) }
  },

  async meet ({ topic, key }) {
    const swarm = make()
    await swarm.dht.fullyBootstrapped()
    const start = Date.now()
    return new Promise((resolve) => {
      swarm.on('connection', (connection) => {
        if (connection.remotePublicKey.toString('hex') !== key) return
        resolve({ ms: Date.now() - start })
        swarm.destroy({ force: true }).catch(fail)
      })
      swarm.join(Buffer.from(topic, 'hex'), { server: false, client: true })
    })
  }
}

async function close () {
  await Promise.all(swarms.map((swarm) => swarm.destroy({ force: true })))
}

serve(commands, close)
emit('ready')
process.on('unhandledRejection', fail)
