// One official UDX stream, plain or under a secret stream, told what to do by JSON lines on stdin.
// Run with NODE_PATH naming the official packages. First argument: {id, secure, initiator, keepAlive}
const { createHash } = require('crypto')
const UDX = require('udx-native')
const SecretStream = require('@hyperswarm/secret-stream')

const options = JSON.parse(process.argv[2])
const udx = new UDX()
const socket = udx.createSocket()
socket.bind(0, '127.0.0.1')
const raw = udx.createStream(options.id, { firewall: () => false })
const say = (event) => process.stdout.write(JSON.stringify(event) + '\n')

let stream = raw
let received = 0
let hash = createHash('sha256')

function watch () {
  stream.on('data', (data) => {
    received += data.length
    hash.update(data)
    if (options.echo) stream.write(data)
  })
  stream.on('end', () => {
    say({ event: 'end', bytes: received, hash: hash.digest('hex') })
    if (options.echo || options.endBack) stream.end()
  })
  stream.on('error', (error) => say({ event: 'error', code: error.code || error.message }))
  stream.on('close', () => say({ event: 'close', received }))
  raw.on('message', (data) => { if (!options.secure) say({ event: 'message', hex: Buffer.from(data).toString('hex') }) })
  if (options.secure) {
    stream.on('message', (data) => say({ event: 'message', hex: Buffer.from(data).toString('hex') }))
    stream.on('open', () => say({ event: 'open', remotePublicKey: stream.remotePublicKey.toString('hex'), hash: stream.handshakeHash.toString('hex') }))
  }
}

// Repeatable bytes: block n is the digest of n, over and over.
function block (n, size) {
  const digest = createHash('sha256').update(String(n)).digest()
  return Buffer.concat(Array(Math.ceil(size / 32)).fill(digest)).subarray(0, size)
}

async function send ({ blocks, size, end }) {
  for (let n = 0; n < blocks; n++) {
    if (!stream.write(block(n, size))) await new Promise((resolve) => stream.once('drain', resolve))
  }
  if (end) stream.end()
  say({ event: 'written' })
}

const commands = {
  connect ({ port, id }) {
    raw.connect(socket, id, port, '127.0.0.1')
    if (options.secure) {
      stream = new SecretStream(!!options.initiator, raw)
      if (options.keepAlive) stream.setKeepAlive(options.keepAlive)
    } else if (options.keepAlive) {
      raw.setKeepalive(options.keepAlive)
    }
    watch()
  },
  send,
  end () { stream.end() },
  destroy () { stream.destroy() },
  message ({ hex }) { (options.secure ? stream : raw).trySend(Buffer.from(hex, 'hex')) },
  stats () {
    say({ event: 'stats', mtu: raw.mtu, received, retransmits: raw.retransmits, timeouts: raw.rtoCount })
  }
}

let line = ''
process.stdin.on('data', (data) => {
  line += data
  let end
  while ((end = line.indexOf('\n')) >= 0) {
    const command = JSON.parse(line.slice(0, end))
    line = line.slice(end + 1)
    commands[command.cmd](command)
  }
})
process.stdin.on('end', () => process.exit(0))
say({ event: 'ready', port: socket.address().port })
