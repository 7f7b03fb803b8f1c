// How the official libraries make each kind of thing a farm seeds.
const Hyperbee = require('hyperbee')
const Hyperblobs = require('hyperblobs')
const Hyperdrive = require('hyperdrive')
const SeedBee = require('seedbee')
const { createHash } = require('crypto')

const DRIVE_ENCODINGS = { keyEncoding: 'utf-8', valueEncoding: 'json' }

// A core whose key is its writer's public key, as every core was before manifests.
async function compatCore (store, name) {
  const keyPair = await store.createKeyPair(name)
  return store.get({ key: keyPair.publicKey, keyPair, exclusive: true })
}

// Its contents are encrypted as before manifests, and only the encrypted header names the blobs core.
async function compatEncryptedCore (store, name, key) {
  const keyPair = await store.createKeyPair(name)
  return store.get({ key: keyPair.publicKey, keyPair, exclusive: true, encryption: { key } })
}

async function versionedCore (store, name, version) {
  const keyPair = await store.createKeyPair(name)
  return store.get({ keyPair, manifest: { version, signers: [{ publicKey: keyPair.publicKey }] }, exclusive: true })
}

function encryptionKey (name) {
  return createHash('sha256').update('encryption of ' + name).digest()
}

async function driveOver (store, core, blobs) {
  const db = new Hyperbee(core, { ...DRIVE_ENCODINGS, metadata: { contentFeed: null } })
  const drive = new Hyperdrive(store, { _db: db })
  await drive.ready()
  if (blobs) {
    await blobs.ready()
    await drive.blobs.core.close()
    drive.blobs = new Hyperblobs(blobs)
    db.metadata.contentFeed = blobs.key
  }
  return drive
}

const drives = {
  plain: async (store) => new Hyperdrive(store),
  dedup: async (store) => new Hyperdrive(store),
  encrypted: async (store, name) => new Hyperdrive(store, { encryptionKey: encryptionKey(name) }),
  compat: async (store) => driveOver(store, await compatCore(store, 'db'), await compatCore(store, 'blobs')),
  'compat-encrypted': async (store, name) => {
    const key = encryptionKey(name)
    return driveOver(store, await compatEncryptedCore(store, 'db', key), await compatEncryptedCore(store, 'blobs', key))
  },
  v0: async (store) => driveOver(store, await versionedCore(store, 'db', 0))
}

const cores = {
  plain: async (store) => store.get({ name: 'core' }),
  encrypted: async (store, name) => store.get({ name: 'core', encryption: { key: encryptionKey(name) } }),
  compat: (store) => compatCore(store, 'core'),
  v0: (store) => versionedCore(store, 'core', 0),
  v2: (store) => versionedCore(store, 'core', 2)
}

// Makes {kind, variant} in a namespace of its own; gives {kind, variant, drive | bee | list | core}.
async function make (store, { name, kind, variant = 'plain' }) {
  const space = store.namespace(name)
  if (kind === 'drive') {
    const drive = await drives[variant](space, name)
    await drive.ready()
    return { kind, variant, drive, core: drive.core }
  }
  const core = await cores[variant](space, name)
  await core.ready()
  if (kind === 'core') return { kind, variant, core }
  if (kind === 'list') {
    const list = new SeedBee(core)
    await list.ready()
    return { kind, variant, list, core }
  }
  if (kind !== 'bee') throw new Error(`no kind ${kind}`)
  const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  await bee.ready()
  return { kind, variant, bee, core }
}

module.exports = { make }
