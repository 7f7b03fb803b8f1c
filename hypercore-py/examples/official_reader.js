// The official JavaScript reads what write_core.py serves.
//   npm install corestore hyperswarm && node official_reader.js KEY
const os = require('os')
const path = require('path')
const Corestore = require('corestore')
const Hyperswarm = require('hyperswarm')

async function main (key) {
  const bootstrap = process.env.DHT_BOOTSTRAP?.split(' ')
  const store = new Corestore(path.join(os.tmpdir(), `official-reader-${process.pid}`))
  const swarm = new Hyperswarm({ bootstrap })
  swarm.on('connection', (connection) => store.replicate(connection))
  const core = store.get(key)
  await core.ready()
  const found = core.findingPeers()
  swarm.join(core.discoveryKey, { server: false })
  swarm.flush().then(found)
  await core.update()
  for (let i = 0; i < core.length; i++) console.log((await core.get(i)).toString())
  await swarm.destroy()
  await store.close()
}

main(process.argv[2])
