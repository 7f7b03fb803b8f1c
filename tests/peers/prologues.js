// Cores whose manifest is more than one signer (autobase, encrypted, autopass, static, migrated, multisig), written or read.
//   --storage DIR --hypercore 10.38|11.37|11.39 --bootstrap HOST:PORT...
// Commands carry the `name` of the thing they are about:
//   make {kind, writers}   kind: autobase, encrypted (an autobase), autopass, static, migrated, multisig
//   grow {blocks}          append to it; what has several writers converges
//   cores                  every core that a peer may ask for: {cores: [{key, length, prologue}]}
//   blocks {key}           digests of the blocks of one of them
//   join                   announce all of them
//   read {keys}            get these cores from the swarm, as a reader that knows nothing but the keys
const { emit, serve, fail, options } = require('./lib/lines')
const { storage: [storage], bootstrap, hypercore: [version] } = options()

require('./lib/versions').use(version)
const Corestore = require('corestore')
const { content } = require('./lib/content')
const { blocks } = require('./lib/describe')
const { Network } = require('./lib/network')
const { makers } = require('./lib/prologues')

const store = new Corestore(storage)
const things = new Map()

function thing (name) {
  if (!things.has(name)) throw new Error(`nothing is called ${name}`)
  return things.get(name)
}

async function describe (name) {
  const cores = []
  for (const core of await thing(name).cores()) {
    await core.ready()
    const prologue = core.manifest?.prologue?.length || 0
    if (core.length > 0) cores.push({ key: core.key.toString('hex'), length: core.length, prologue, quorum: core.manifest?.quorum || 1 })
  }
  return { cores }
}

async function find (name, key) {
  for (const core of await thing(name).cores()) if (core.key.toString('hex') === key) return core
  throw new Error(`no core ${key}`)
}

async function main () {
  await store.ready()
  const network = new Network(store, bootstrap)
  serve({
    make: async ({ name, kind, writers = 1 }) => {
      things.set(name, await makers[kind](store, `${storage}-${name}`, { writers }))
      return describe(name)
    },
    grow: async ({ name, blocks = 1 }) => {
      const it = thing(name)
      it.grown = (it.grown || 0) + 1
      await it.grow(Array.from({ length: blocks }, (_, i) => content(`${name} ${it.grown} ${i}`, 100)))
      return describe(name)
    },
    cores: ({ name }) => describe(name),
    blocks: async ({ name, key }) => ({ blocks: await blocks(await find(name, key)) }),
    join: async ({ name }) => {
      for (const core of await thing(name).cores()) await network.join(core.discoveryKey, { client: false })
      return {}
    },
    read: async ({ name, keys }) => {
      const cores = keys.map((key) => store.get({ key: Buffer.from(key, 'hex') }))
      things.set(name, { cores: () => cores, close: () => {} })
      for (const core of cores) {
        await core.ready()
        core.download({ start: 0, end: -1 })
        network.join(core.discoveryKey, { server: false }).catch(fail)
      }
      return {}
    }
  }, async () => {
    await network.close()
    for (const it of things.values()) await it.close()
    await store.close()
  })
  emit('ready', { public_key: network.publicKey })
}

main().catch(fail)
