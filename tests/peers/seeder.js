// The official simple-seeder, driven as a library.   --storage DIR --bootstrap HOST:PORT...
//   add {key, kind}    status {key}
const Corestore = require('corestore')
const SimpleSeeder = require('simple-seeder/lib/simple-seeder')
const { state } = require('./lib/describe')
const { emit, serve, fail, options } = require('./lib/lines')
const { Network } = require('./lib/network')

const { storage: [storage], bootstrap } = options()

function status ({ type, instance }) {
  if (type === 'drive') return { core: state(instance.core), blobs: instance.blobs ? state(instance.blobs.core) : null }
  return { core: state(instance.core || instance), blobs: null }
}

async function main () {
  const store = new Corestore(storage)
  await store.ready()
  const network = new Network(store, bootstrap, await store.createKeyPair('simple-seeder-swarm'))
  const seeder = new SimpleSeeder(store, network.swarm)
  serve({
    add: async ({ key, kind }) => {
      const info = await seeder.add(key, { type: kind })
      await info.discovery.flushed()
      return status(info)
    },
    status: ({ key }) => status(seeder.get(key))
  }, async () => {
    await network.close()
    await seeder.destroy()
  })
  emit('ready', { public_key: network.publicKey })
}

main().catch(fail)
