// The official simple-seeder, driven as a library.   --storage DIR --bootstrap HOST:PORT...
//   add {key, kind}    status {key}
//   add_all {keys, kind}    all at once, without waiting for anything
//   complete {keys}         waits until every block of each of them is here; a drive has blobs
const Corestore = require('corestore')
const SimpleSeeder = require('simple-seeder/lib/simple-seeder')
const { state } = require('./lib/describe')
const { emit, serve, fail, options } = require('./lib/lines')
const { Network } = require('./lib/network')

const { storage: [storage], bootstrap } = options()

const POLL = 50 // ms

function whole (core) {
  return core.length > 0 && core.contiguousLength === core.length
}

function complete ({ type, instance }) {
  if (type !== 'drive') return whole(instance.core || instance)
  return whole(instance.core) && !!instance.blobs && whole(instance.blobs.core)
}

async function untilComplete (seeder, keys) {
  let left = keys
  for (;;) {
    left = left.filter((key) => !seeder.has(key) || !complete(seeder.get(key)))
    if (left.length === 0) return {}
    await new Promise((resolve) => setTimeout(resolve, POLL))
  }
}

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
    add_all: async ({ keys, kind }) => {
      for (const key of keys) seeder.add(key, { type: kind }).catch(fail)
      return {}
    },
    complete: ({ keys }) => untilComplete(seeder, keys),
    status: ({ key }) => status(seeder.get(key))
  }, async () => {
    await network.close()
    await seeder.destroy()
  })
  emit('ready', { public_key: network.publicKey })
}

main().catch(fail)
