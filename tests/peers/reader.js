// A reader by key: downloads over the swarm and says what it got.  With `announce` it serves what it has, too.
//   --storage DIR --bootstrap HOST:PORT...
// Commands carry the `name` given at `open`:
//   open {key, kind, encryption_key, announce, follow}   without `follow` nothing is downloaded by itself
//   describe   files {version}   entries   blocks {of, start, end}
//   complete {length, fork, blobs}    waits until the core is at least that long (that fork) and every block is here
//   fetch {of, start, end}            downloads a range only
// Events: `append` {name, of, length, fork} when a core grew, `have` {name, of, contiguous} when the newest block is here, `truncate`.
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const Hyperdrive = require('hyperdrive')
const { describe, files, beeEntries, blocks, blobsOf } = require('./lib/describe')
const { emit, serve, fail, options } = require('./lib/lines')
const { Network } = require('./lib/network')

const POLL = 10 // ms

const { storage: [storage], bootstrap } = options()
const store = new Corestore(storage)
const things = new Map()

function thing (name) {
  if (!things.has(name)) throw new Error(`nothing is called ${name}`)
  return things.get(name)
}

function openThing (key, kind, encryptionKey) {
  const space = store.session()
  if (kind === 'drive') {
    const drive = new Hyperdrive(space, key, { encryptionKey })
    return { kind, drive, core: drive.core }
  }
  const core = space.get({ key })
  if (kind === 'core') return { kind, core }
  const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  return { kind, bee, core }
}

function report (name, of, core, follow) {
  core.on('append', () => {
    const { length, fork } = core
    emit('append', { name, of, length, fork })
    if (follow) core.get(length - 1).then(() => emit('have', { name, of, length, fork }), () => {})
  })
  core.on('truncate', (length, fork) => emit('truncate', { name, of, length, fork }))
}

function withBlobs (drive, run) {
  if (drive.blobs) run(drive.blobs.core)
  else drive.once('blobs', (blobs) => run(blobs.core))
}

async function open (network, { name, key, kind, encryption_key: hex, announce = false, follow = true }) {
  const it = openThing(key, kind, hex ? Buffer.from(hex, 'hex') : null)
  things.set(name, it)
  await it.core.ready()
  const follows = (of) => (core) => {
    if (follow) core.download({ start: 0, end: -1 })
    report(name, of, core, follow)
  }
  const joined = network.join(it.core.discoveryKey, { server: announce, client: true })
  follows('core')(it.core)
  if (it.drive) {
    it.drive.ready().catch(fail)
    withBlobs(it.drive, follows('blobs'))
  }
  await joined
  return describe({ core: it.core })
}

async function until (condition) {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, POLL))
}

function whole (core, length, fork) {
  return core.fork >= fork && core.length >= length && core.contiguousLength === core.length
}

async function complete (name, { length = 1, fork = 0, blobs = 0 }) {
  const it = thing(name)
  await until(() => whole(it.core, length, fork))
  if (it.drive) {
    const core = await blobsOf(it)
    await until(() => core.length >= blobs && core.contiguousLength === core.length)
  }
  return describe(it)
}

async function fetchRange (name, { of = 'core', start, end }) {
  const it = thing(name)
  const core = of === 'blobs' ? await blobsOf(it) : it.core
  await until(() => core.length >= end)
  await core.download({ start, end }).done()
  return describe(it)
}

async function main () {
  await store.ready()
  const network = new Network(store, bootstrap)
  serve({
    open: (args) => open(network, args),
    describe: ({ name }) => describe(thing(name)),
    complete: ({ name, ...args }) => complete(name, args),
    fetch: ({ name, ...args }) => fetchRange(name, args),
    files: async ({ name, version }) => ({ files: await files(thing(name).drive, version) }),
    entries: async ({ name }) => ({ entries: await beeEntries(thing(name).bee) }),
    blocks: async ({ name, of = 'core', start, end }) => {
      const it = thing(name)
      return { blocks: await blocks(of === 'blobs' ? await blobsOf(it) : it.core, start, end) }
    }
  }, async () => {
    await network.close()
    await store.close()
  })
  emit('ready', { public_key: network.publicKey })
}

main().catch(fail)
