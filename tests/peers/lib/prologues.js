// How the official libraries make cores with manifests of more than one signer. The caller says by
// `versions.use` which libraries. Each maker gives {cores, grow, close}.
const Autobase = require('autobase')
const Corestore = require('corestore')
const Hypercore = require('hypercore')
const crypto = require('hypercore-crypto')
const caps = require('hypercore/lib/caps')
const multisig = require('hypercore/lib/multisig')

const SETTLED = 500 // ms without a change of any length
const POLL = 50 // ms

function pair (one, other) {
  const a = one.replicate(true)
  const b = other.replicate(false)
  a.pipe(b).pipe(a)
  return [a, b]
}

const held = new Set()
const sessions = []

// Every core of a corestore, of either age. One of corestore 6 lists open cores only: a session holds those that
// an autobase closes sooner or later, since it has gone on to others.
async function everyCore (store) {
  if (!store.list) {
    for (const core of [...store.cores.values()]) {
      await core.ready()
      if (core.closing || held.has(core.id)) continue
      held.add(core.id)
      sessions.push(store.get({ key: core.key }))
    }
    await Promise.all(sessions.map((session) => session.ready()))
    return [...store.cores.values()]
  }
  const found = []
  for await (const discoveryKey of store.list()) {
    const core = store.get({ discoveryKey, active: false })
    await core.ready()
    found.push(core)
  }
  return found
}

const handlers = {
  valueEncoding: 'json',
  ackInterval: 0,
  open: (store) => store.get('view', { valueEncoding: 'json' }),
  apply: async (nodes, view, host) => {
    for (const { value } of nodes) {
      if (value === null) continue
      if (value.add) await host.addWriter(Buffer.from(value.add, 'hex'), { indexer: true })
      else await view.append(value)
    }
  }
}

async function settle (bases) {
  const state = () => bases.map((base) => `${base.view.length} ${base.system.core.length} ${base.local.length}`).join()
  for (let last = '', since = Date.now(); Date.now() - since < SETTLED;) {
    for (const base of bases) await base.update()
    if (state() !== last) {
      last = state()
      since = Date.now()
    }
    await new Promise((resolve) => setTimeout(resolve, POLL))
  }
}

async function autobase (store, folder, { writers, encryptionKey = null }) {
  const stores = [store.namespace('autobase')]
  for (let i = 1; i < writers; i++) stores.push(new Corestore(`${folder}-${i}`))
  const bases = []
  const streams = []
  for (const [i, space] of stores.entries()) {
    const base = new Autobase(space, i ? bases[0].local.key : null, { ...handlers, encryptionKey })
    await base.ready()
    if (i) streams.push(...pair(bases[0], base))
    bases.push(base)
  }
  const converge = async () => {
    for (let round = 0; round < 3; round++) {
      await settle(bases)
      for (const base of bases) if (base.isIndexer !== false) await base.append(null)
    }
    await settle(bases)
  }
  for (const base of bases.slice(1)) {
    await bases[0].append({ add: base.local.key.toString('hex') })
    await converge()
  }
  return {
    cores: () => everyCore(store),
    grow: async (blocks) => {
      for (const [i, block] of blocks.entries()) await bases[i % bases.length].append({ text: block.toString('hex') })
      await converge()
    },
    close: async () => {
      for (const stream of streams) stream.destroy()
      for (const base of bases) await base.close()
      for (const other of stores.slice(1)) await other.close()
    }
  }
}

// An application's blocks are sealed with a key that a seeder never has.
function encrypted (store, folder, options) {
  return autobase(store, folder, { ...options, encryptionKey: Buffer.alloc(32, 7) })
}

async function autopass (store) {
  const Autopass = require('autopass')
  const pass = new Autopass(store.namespace('autopass'), { replicate: false })
  await pass.ready()
  let number = 0
  return {
    cores: () => everyCore(store),
    grow: async (blocks) => {
      for (const block of blocks) await pass.add(`note ${number++}`, block.toString('hex'))
      await settle([pass.base])
    },
    close: () => pass.close()
  }
}

// A core whose first blocks are those of another, by the tree hash in its manifest.
async function source (store, name, count) {
  const core = store.get({ name })
  await core.ready()
  await core.append(Array.from({ length: count }, (_, i) => Buffer.from(`${name} ${i}`)))
  return core
}

async function withPrologue (store, name, keyPairs, { quorum, prologue }) {
  const old = await source(store, `${name} source`, prologue)
  const manifest = {
    version: 1,
    quorum,
    allowPatch: keyPairs.length > 1,
    signers: keyPairs.map(({ publicKey }) => ({ publicKey })),
    prologue: { hash: await old.treeHash(), length: old.length }
  }
  const core = store.get({ key: Hypercore.key(manifest), manifest, keyPair: keyPairs[0], exclusive: true })
  await core.ready()
  await core.core.copyPrologue(old.state || old.core)
  return core
}

async function fixed (store) {
  const core = await withPrologue(store, 'static', [], { quorum: 0, prologue: 11 })
  return { cores: () => [core], grow: async () => {}, close: () => core.close() }
}

async function migrated (store) {
  const keyPair = await store.createKeyPair('migrated')
  const core = await withPrologue(store, 'migrated', [keyPair], { quorum: 1, prologue: 11 })
  return { cores: () => [core], grow: (blocks) => core.append(blocks), close: () => core.close() }
}

// Two of three sign each head.
async function several (store) {
  const keyPairs = [1, 2, 3].map((seed) => crypto.keyPair(Buffer.alloc(32, seed)))
  const core = await withPrologue(store, 'multisig', keyPairs, { quorum: 2, prologue: 11 })
  const draft = store.get({ name: 'multisig source' })
  await draft.ready()
  return {
    cores: () => [core],
    grow: async (blocks) => {
      await draft.append(blocks)
      const signable = caps.treeSignable(core.key, await draft.treeHash(), draft.length, 0)
      const signed = [2, 0].map((signer) => {
        return { signer, signature: crypto.sign(signable, keyPairs[signer].secretKey), patch: 0, nodes: null }
      })
      await core.append(blocks, { signature: multisig.assemble(signed) })
    },
    close: () => core.close()
  }
}

module.exports = { makers: { autobase, encrypted, autopass, static: fixed, migrated, multisig: several } }
