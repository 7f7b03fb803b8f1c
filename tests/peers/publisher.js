// A writer: makes drives, bees and cores, serves them on the swarm, changes them on command.
//   --storage DIR --bootstrap HOST:PORT...
// Commands carry the `name` of the thing they are about:
//   make {kind, variant}   join {client, server}   describe   files {version}   blocks {of, start, end}   entries
//   uploads    how often each block of core and blobs was sent to anybody
//   clear {path}  or  {start, end}    blocks of the drive's file, or of the core, are forgotten
//   drive: put {path, seed, size, executable, metadata}   copy {path, from} (a file of this machine)   puts {files}   symlink {path, target}   del {path}   clear {path}   truncate {version}
//   list (a seed list): seed {key, type, description}   edit {key, description}   unseed {key}
//   bee:   insert {entries}   remove {keys}           core: append {blocks: [{seed, size}]}   truncate {length}   clear {start, end}
const fs = require('fs')
const Corestore = require('corestore')
const { content } = require('./lib/content')
const { describe, files, beeEntries, blocks, blobsOf } = require('./lib/describe')
const { emit, serve, fail, options } = require('./lib/lines')
const { make } = require('./lib/make')
const { Network } = require('./lib/network')

const CHUNK = 65536

const { storage: [storage], bootstrap } = options()
const store = new Corestore(storage)
const things = new Map()

function thing (name) {
  if (!things.has(name)) throw new Error(`nothing is called ${name}`)
  return things.get(name)
}

async function putDeduplicated (drive, { path, seed, size, executable, metadata }) {
  const stream = drive.createWriteStream(path, { executable, metadata, dedup: true })
  const bytes = content(seed, size)
  const written = new Promise((resolve, reject) => stream.on('close', resolve).on('error', reject))
  for (let at = 0; at < size; at += CHUNK) stream.write(bytes.subarray(at, at + CHUNK))
  stream.end()
  await written
}

async function put ({ drive, variant }, file) {
  if (variant === 'dedup' && file.size > 0) return putDeduplicated(drive, file)
  const { path, seed, size, executable, metadata } = file
  await drive.put(path, content(seed, size), { executable, metadata })
}

async function putMany ({ drive }, list) {
  const batch = drive.batch()
  for (const { path, seed, size } of list) await batch.put(path, content(seed, size))
  await batch.flush()
}

async function insert (bee, entries) {
  const batch = bee.batch()
  for (const [key, value] of entries) await batch.put(key, value)
  await batch.flush()
}

async function truncate ({ drive, core }, { version, length }) {
  if (drive) await drive.truncate(version)
  else await core.truncate(length)
}

// {core: {index: times}, blobs: {index: times}}, counted from the making on.
async function countUploads (it) {
  it.uploads = { core: {}, blobs: {} }
  const count = (found) => (index) => { found[index] = (found[index] || 0) + 1 }
  it.core.on('upload', count(it.uploads.core))
  const blobs = await blobsOf(it)
  if (blobs) blobs.on('upload', count(it.uploads.blobs))
}

async function main () {
  await store.ready()
  const network = new Network(store, bootstrap)

  const changes = {
    put: (it, file) => put(it, file),
    copy: ({ drive }, { path, from }) => drive.put(path, fs.readFileSync(from)),
    puts: (it, { files }) => putMany(it, files),
    symlink: ({ drive }, { path, target }) => drive.symlink(path, target),
    del: ({ drive }, { path }) => drive.del(path),
    clear: ({ drive }, { path }) => drive.clear(path),
    insert: ({ bee }, { entries }) => insert(bee, entries),
    remove: async ({ bee }, { keys }) => { for (const key of keys) await bee.del(key) },
    append: ({ core }, { blocks }) => core.append(blocks.map(({ seed, size }) => content(seed, size))),
    clear: ({ core }, { start, end }) => core.clear(start, end),
    seed: ({ list }, { key, type, description }) => list.put(key, { type, description }),
    edit: async ({ list }, { key, description }) => list.edit({ key, value: await list.get(key) }, { description }),
    unseed: ({ list }, { key }) => list.del(key),
    clear: ({ drive, core }, { path, start, end }) => drive ? drive.clear(path) : core.clear(start, end),
    truncate
  }
  const commands = {
    make: async ({ name, kind, variant }) => {
      things.set(name, await make(store, { name, kind, variant }))
      await countUploads(thing(name))
      return describe(thing(name))
    },
    join: async ({ name, client = true, server = true }) => {
      await network.join(thing(name).core.discoveryKey, { client, server })
      return {}
    },
    uploads: async ({ name }) => thing(name).uploads,
    describe: ({ name }) => describe(thing(name)),
    files: async ({ name, version }) => ({ files: await files(thing(name).drive, version) }),
    entries: async ({ name }) => ({ entries: await beeEntries(thing(name).bee) }),
    blocks: async ({ name, of = 'core', start, end }) => {
      const it = thing(name)
      return { blocks: await blocks(of === 'blobs' ? await blobsOf(it) : it.core, start, end) }
    }
  }
  for (const [cmd, change] of Object.entries(changes)) {
    commands[cmd] = async ({ name, ...args }) => {
      await change(thing(name), args)
      return describe(thing(name))
    }
  }

  serve(commands, async () => {
    await network.close()
    await store.close()
  })
  emit('ready', { public_key: network.publicKey })
}

main().catch(fail)
