// What a replica holds, as digests that another replica can be compared with.
const { createHash } = require('crypto')
const { sha256 } = require('./content')

async function blobsOf (thing) {
  return thing.drive ? (await thing.drive.getBlobs())?.core || null : null
}

function state (core) {
  if (core === null) return null
  return {
    key: core.key.toString('hex'),
    length: core.length,
    fork: core.fork,
    byte_length: core.byteLength + core.length * core.padding, // as stored
    contiguous: core.contiguousLength,
    peers: core.peers.length
  }
}

async function describe (thing) {
  await thing.core.ready()
  return {
    key: thing.core.key.toString('hex'),
    discovery_key: thing.core.discoveryKey.toString('hex'),
    encryption_key: thing.drive?.encryptionKey?.toString('hex') || null,
    core: state(thing.core),
    blobs: state(await blobsOf(thing))
  }
}

async function digestOfFile (drive, path) {
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of drive.createReadStream(path)) {
    hash.update(chunk)
    size += chunk.length
  }
  return { sha256: hash.digest('hex'), size }
}

// {path: {sha256, size, executable, linkname, metadata}} of the whole drive, every byte read.
async function files (drive, version) {
  const view = version === undefined ? drive : drive.checkout(version)
  const found = {}
  for await (const { key, value } of view.list('/')) {
    const { executable, linkname, metadata, blob } = value
    const read = blob ? await digestOfFile(view, key) : { sha256: null, size: null }
    found[key] = { executable, linkname, metadata, ...read }
  }
  if (view !== drive) await view.close()
  return found
}

async function beeEntries (bee) {
  const found = []
  for await (const { key, value } of bee.createReadStream()) found.push([key, value])
  return found
}

// sha256 of each stored block as it lies in the merkle tree (ciphertext, when there is encryption).
async function blocks (core, start = 0, end = core.length) {
  const found = []
  for (let i = start; i < end; i++) found.push(sha256(await core.get(i, { raw: true })))
  return found
}

module.exports = { blobsOf, state, describe, files, beeEntries, blocks }
