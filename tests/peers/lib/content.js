// Content that both sides can recompute: SHAKE-128 of a seed string, as long as asked.
const { createHash } = require('crypto')

function content (seed, size) {
  if (size === 0) return Buffer.alloc(0)
  return createHash('shake128', { outputLength: size }).update(seed).digest()
}

function sha256 (bytes) {
  return createHash('sha256').update(bytes).digest('hex')
}

module.exports = { content, sha256 }
