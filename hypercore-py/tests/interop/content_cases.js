// Random bees and drives by the official writers, with what the official readers see in them.
// Usage: node content_cases.js DIRECTORY SEED. One JSON object per line on stdout; buffers are hex.
const path = require('path')
const { createHash } = require('crypto')
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const Hyperdrive = require('hyperdrive')
const c = require('compact-encoding')
const { manifest } = require('hypercore/lib/messages')
const { Header } = require('hyperbee/lib/messages')

const [directory, seed] = process.argv.slice(2)
const random = mulberry32(Number(seed))
let stores = 0

const below = (n) => Math.floor(random() * n)
const pick = (list) => list[below(list.length)]
const hex = (buffer) => buffer === null ? null : buffer.toString('hex')
const sha = (buffer) => createHash('sha256').update(buffer).digest('hex')
const out = (value) => process.stdout.write(JSON.stringify(value) + '\n')

main().then(() => process.stdout.write('', () => process.exit(0)), (error) => { console.error(error); process.exit(1) })

async function main () {
  for (const shape of [
    { steps: 40, keys: 12, batches: 0.1, deletes: 0.4 },
    { steps: 300, keys: 60, batches: 0.05, deletes: 0.45 },
    { steps: 60, keys: 400, batches: 0.6, deletes: 0.2 },
    { steps: 40, keys: 150, batches: 0.8, deletes: 0.55 },
    { steps: 600, keys: 4000, batches: 0.02, deletes: 0.05 }
  ]) await bee(shape)
  await drive('plain', async (store) => new Hyperdrive(store))
  await drive('encrypted', async (store) => new Hyperdrive(store, { encryptionKey: Buffer.alloc(32, 0xee) }))
  await drive('compat', compatDrive)
}

async function newStore () {
  const store = new Corestore(path.join(directory, String(stores++)), { primaryKey: bytes(32), unsafe: true })
  await store.ready()
  return store
}

async function dump (core) {
  const blocks = []
  for (let i = 0; i < core.length; i++) blocks.push(hex(await core.get(i, { raw: true })))
  return { key: hex(core.key), manifest: hex(c.encode(manifest, core.manifest)), fork: core.fork, blocks }
}

// --- bees

async function bee ({ steps, keys, batches, deletes }) {
  const store = await newStore()
  const bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'binary', valueEncoding: 'binary' })
  await bee.ready()
  const log = []
  const versions = new Set([1])
  for (let i = 0; i < steps; i++) {
    const ops = []
    for (let j = random() < batches ? 1 + below(40) : 1; j > 0; j--) ops.push(randomOp(keys, deletes))
    const target = ops.length > 1 ? bee.batch() : bee
    for (const [op, key, value] of ops) {
      if (op === 'put') await target.put(key, value)
      else await target.del(key)
    }
    if (target !== bee) await target.flush()
    log.push(ops.map(([op, key, value]) => [op, hex(key), value === undefined ? null : hex(value)]))
    if (random() < 0.1) versions.add(bee.version)
  }
  const checkouts = {}
  for (const version of versions) checkouts[version] = await listing(bee.checkout(version))
  const ranges = []
  for (let i = 0; i < 60; i++) {
    const range = randomRange(keys)
    const encoded = Object.fromEntries(Object.entries(range).map(([k, v]) => [k, Buffer.isBuffer(v) ? hex(v) : v]))
    ranges.push({ range: encoded, found: await listing(bee, range) })
  }
  out({ type: 'bee', log, core: await dump(bee.core), listing: await listing(bee), checkouts, ranges })
}

function randomOp (keys, deletes) {
  const key = randomKey(keys)
  if (random() < deletes) return ['del', key]
  return ['put', key, random() < 0.05 ? null : bytes(below(random() < 0.05 ? 3000 : 20))]
}

function randomKey (keys) {
  return Buffer.from('k' + below(keys).toString(pick([10, 36])))
}

function randomRange (keys) {
  const range = {}
  const low = pick(['gt', 'gte', null])
  const high = pick(['lt', 'lte', null])
  if (low) range[low] = randomKey(keys)
  if (high) range[high] = randomKey(keys)
  if (random() < 0.5) range.reverse = true
  if (random() < 0.3) range.limit = below(20)
  return range
}

async function listing (bee, range) {
  const found = []
  for await (const { seq, key, value } of bee.createReadStream(range)) found.push([seq, hex(key), hex(value)])
  return found
}

// --- drives

const NAMES = ['a', 'b', 'c.txt', 'ü', '日本', 'x y', "q'\"", 'a-b', 'a0', '🎉', '%2f', 'C', 'long'.repeat(50)]
const SIZES = [0, 1, 2, 100, 65535, 65536, 65537, 131072, 200001, 400000]

// A drive whose keys are the writer's public keys, as all were before manifests
async function compatDrive (store) {
  const [db, blobs] = await Promise.all(['db', 'blobs'].map(async (name) => {
    const keyPair = await store.createKeyPair(name)
    const core = store.get({ key: keyPair.publicKey, keyPair, exclusive: true })
    await core.ready()
    return core
  }))
  const metadata = { contentFeed: blobs.key }
  const bee = new Hyperbee(db, { keyEncoding: 'utf-8', valueEncoding: 'json', metadata })
  await bee.ready()
  await db.append(Header.encode({ protocol: 'hyperbee', metadata }))
  return new Hyperdrive(store, db.key, { _db: bee })
}

async function drive (name, create) {
  const store = await newStore()
  const drive = await create(store)
  await drive.ready()
  const log = []
  const versions = new Set()
  const folders = new Set(['/'])
  for (let i = 0; i < 90; i++) {
    const target = random() < 0.15 ? drive.batch() : drive
    const ops = []
    for (let j = target === drive ? 1 : 1 + below(12); j > 0; j--) ops.push(await randomFileOp(target, target === drive))
    if (target !== drive) await target.flush()
    log.push(ops)
    for (const { path: file } of ops) {
      for (let at = file.lastIndexOf('/'); at > 0; at = file.lastIndexOf('/', at - 1)) folders.add(file.slice(0, at))
    }
    if (random() < 0.06) versions.add(drive.version)
  }
  const checkouts = {}
  for (const version of versions) checkouts[version] = await files(drive.checkout(version), false)
  const readdirs = {}
  const lists = {}
  for (const folder of folders) {
    readdirs[folder] = []
    for await (const child of drive.readdir(folder)) readdirs[folder].push(child)
    lists[folder] = []
    for await (const { key } of drive.list(folder)) lists[folder].push(key)
  }
  const found = await files(drive, true)
  out({
    type: 'drive',
    name,
    log,
    encryptionKey: hex(drive.encryptionKey),
    db: await dump(drive.core),
    blobs: await dump((await drive.getBlobs()).core),
    version: drive.version,
    files: found,
    checkouts,
    readdirs,
    lists,
    ranges: await ranges(drive, found)
  })
}

async function randomFileOp (drive, mayDeduplicate) {
  const file = '/' + Array.from({ length: 1 + below(4) }, () => pick(NAMES)).join('/')
  const kind = random()
  if (kind < 0.12) {
    const target = pick([pick(NAMES), '/' + pick(NAMES), '../' + pick(NAMES), './' + pick(NAMES), '../../../../..', file])
    await drive.symlink(file, target)
    return { op: 'link', path: file, target }
  }
  if (kind < 0.3) {
    await drive.del(file)
    return { op: 'del', path: file }
  }
  const executable = random() < 0.3
  const metadata = random() < 0.3 ? pick([{ mtime: below(1e9), tags: ['ü', 'b'] }, 'text', 7, [null, true]]) : null
  if (kind < 0.45 && mayDeduplicate) {
    const chunks = Array.from({ length: 1 + below(7) }, () => Buffer.alloc(1 + below(3000), below(4)))
    await deduplicated(drive, file, chunks, { executable, metadata })
    return { op: 'dedup', path: file, chunks: chunks.map(hex), executable, metadata }
  }
  // Content that the other side can make as well, without carrying it over
  const size = random() < 0.7 ? below(3000) : pick(SIZES)
  const fill = below(256)
  await drive.put(file, Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8) + fill) & 255)), { executable, metadata })
  return { op: 'put', path: file, size, fill, executable, metadata }
}

function deduplicated (drive, file, chunks, options) {
  return new Promise((resolve, reject) => {
    const stream = drive.createWriteStream(file, { ...options, dedup: true })
    stream.on('close', resolve)
    stream.on('error', reject)
    for (const chunk of chunks) stream.write(chunk)
    stream.end()
  })
}

async function files (drive, withContent) {
  const found = []
  for await (const { seq, key, value } of drive.list('/')) {
    const file = { seq, path: key, executable: value.executable, linkname: value.linkname, metadata: value.metadata }
    if (withContent && value.blob) {
      const content = await read(drive, key)
      Object.assign(file, { size: content.length, sha256: sha(content) })
    }
    if (withContent && value.linkname) {
      try {
        const target = await drive.entry(key, { follow: true })
        file.target = target === null ? null : target.key
      } catch {
        file.target = 'error'
      }
    }
    found.push(file)
  }
  return found
}

async function ranges (drive, found) {
  const ranges = []
  for (const { path: file, size } of found) {
    if (!size) continue
    for (let i = 0; i < 3; i++) {
      const start = below(size)
      const length = 1 + below(size - start)
      ranges.push({ path: file, start, length, sha256: sha(await read(drive, file, { start, length })) })
    }
  }
  return ranges
}

async function read (drive, file, range) {
  const chunks = []
  for await (const chunk of drive.createReadStream(file, range)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

// --- randomness that a seed reproduces

function bytes (size) {
  return Buffer.from(Array.from({ length: size }, () => below(256)))
}

function mulberry32 (state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
